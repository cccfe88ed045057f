//! Searchable values: nothing opens that was not sealed; what was sealed opens to a form that is sealed alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use safeguard_vault::ring::{KeyRing, RingKey};
use safeguard_vault::search::{Normalize, Searcher};
use safeguard_vault::{KeyMaterial, Opener};
use std::sync::{Arc, LazyLock};

static RING: LazyLock<Arc<KeyRing>> = LazyLock::new(|| {
    let key = KeyMaterial::from_raw(&[7; 32]).expect("32 bytes");
    Arc::new(KeyRing::new(vec![RingKey { id: "k".to_owned(), from_unix: 0, key }]).expect("one key"))
});

fuzz_target!(|data: &[u8]| {
    let (opener, searcher) = (Opener::new(Arc::clone(&RING), "d"), Searcher::new(Arc::clone(&RING), "d"));
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(opener.open(&format!("hsx1.{text}"), "f", None).is_err());
    }
    for normalize in Normalize::ALL {
        let Ok(token) = searcher.seal("f", data, normalize) else { continue };
        let opened = opener.open(&token, "f", None).expect("what was sealed opens");
        let again = searcher.seal("f", opened.expose().as_bytes(), normalize);
        assert_eq!(again.as_deref(), Ok(token.as_str()));
        assert!(opener.open(&token, "g", None).is_err());
    }
});
