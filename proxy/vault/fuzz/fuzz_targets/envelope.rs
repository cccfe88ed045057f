//! Envelopes and records: nothing opens that was not sealed, and what was sealed opens.
#![no_main]

use libfuzzer_sys::fuzz_target;
use safeguard_vault::ring::{KeyRing, RingKey};
use safeguard_vault::{Format, KeyMaterial, Opener, Sealer, Wrap, record};
use std::sync::{Arc, LazyLock};

static RING: LazyLock<Arc<KeyRing>> = LazyLock::new(|| {
    let key = KeyMaterial::from_raw(&[7; 32]).expect("32 bytes");
    Arc::new(KeyRing::new(vec![RingKey { id: "k".to_owned(), from_unix: 0, key }]).expect("one key"))
});

fuzz_target!(|data: &[u8]| {
    let opener = Opener::new(Arc::clone(&RING), "d");
    if let Ok(text) = std::str::from_utf8(data) {
        for token in [text.to_owned(), format!("hs1.{text}"), format!("gAAAA{text}")] {
            assert!(opener.open(&token, "f", None).is_err());
        }
    }
    let _ = record::open(data, None, &opener);
    let mut sealer = Sealer::new(&RING, "d", Format::Native, Wrap::String, 1).expect("a key that seals");
    let mut out = Vec::new();
    if sealer.seal("f", Some("p"), data, &mut out).is_ok() {
        let token = std::str::from_utf8(&out).expect("ascii").trim_matches('"');
        let opened = opener.open(token, "f", Some("p")).expect("what was sealed opens");
        assert_eq!(opened.expose().as_bytes(), data);
    }
});
