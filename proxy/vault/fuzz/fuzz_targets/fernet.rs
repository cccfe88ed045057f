//! Fernet: no text but an encoder's own decrypts, and any bytes come back as they were.
#![no_main]

use libfuzzer_sys::fuzz_target;
use safeguard_vault::KeyMaterial;
use safeguard_vault::fernet::FernetKey;
use std::sync::LazyLock;

static KEY: LazyLock<FernetKey> = LazyLock::new(|| FernetKey::new(&KeyMaterial::from_raw(&[7; 32]).expect("32 bytes")));

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(KEY.decrypt(text).is_err());
    }
    let token = KEY.encrypt(data, 1);
    assert_eq!(KEY.decrypt(&token).expect("what was encrypted decrypts").as_slice(), data);
    let position = data.first().map_or(0, |byte| usize::from(*byte)) % token.len();
    let mut changed = token.into_bytes();
    changed[position] = if changed[position] == b'A' { b'B' } else { b'A' };
    assert!(KEY.decrypt(std::str::from_utf8(&changed).expect("ascii")).is_err());
});
