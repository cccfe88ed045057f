//! JWE: whatever header, nothing opens that was not sealed; and what was sealed opens for its field and patient only.
#![no_main]

use libfuzzer_sys::fuzz_target;
use safeguard_vault::ring::{KeyRing, RingKey};
use safeguard_vault::{Format, KeyMaterial, Opener, Sealer, Wrap, looks_sealed, sealed_with};
use std::sync::{Arc, LazyLock};

static RING: LazyLock<Arc<KeyRing>> = LazyLock::new(|| {
    let key = KeyMaterial::from_raw(&[7; 32]).expect("32 bytes");
    Arc::new(KeyRing::new(vec![RingKey { id: "k".to_owned(), from_unix: 0, key }]).expect("one key"))
});

/// The parts behind a header, of the right lengths.
const REST: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA";

fuzz_target!(|data: &[u8]| {
    let opener = Opener::new(Arc::clone(&RING), "d");
    let header = base64_simd::URL_SAFE_NO_PAD.encode_to_string(data);
    let mut texts = vec![format!("{header}.{REST}")];
    if let Ok(text) = std::str::from_utf8(data) {
        texts.push(text.to_owned());
        texts.push(format!("eyJ{text}"));
    }
    for text in texts {
        assert!(opener.open(&text, "f", None).is_err());
        assert_eq!(looks_sealed(&text) && text.starts_with("eyJ"), text.starts_with("eyJ") && sealed_with(&text).is_some());
    }
    let (field, json) = data.split_at(data.len() / 4);
    let Ok(field) = std::str::from_utf8(field) else { return };
    let mut sealer = Sealer::new(&RING, "d", Format::Jwe, Wrap::String, 1).expect("a key that seals");
    let mut out = Vec::new();
    if sealer.seal(field, Some(field), json, &mut out).is_ok() {
        let token = std::str::from_utf8(&out).expect("ascii").trim_matches('"');
        let opened = opener.open(token, field, Some(field)).expect("what was sealed opens");
        assert_eq!(opened.expose().as_bytes(), json);
        assert!(opener.open(token, field, None).is_err() && opener.open(token, &format!("{field}x"), Some(field)).is_err());
    }
});
