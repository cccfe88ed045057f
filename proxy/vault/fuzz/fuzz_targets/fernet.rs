//! Fernet: no text but an encoder's own decrypts (read leniently: no other content), and any bytes come back as they
//! were, leniently also from a token with junk in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use safeguard_vault::KeyMaterial;
use safeguard_vault::fernet::{FernetKey, Reading, decrypt_any};
use std::sync::LazyLock;

static KEY: LazyLock<FernetKey> = LazyLock::new(|| FernetKey::new(&KeyMaterial::from_raw(&[7; 32]).expect("32 bytes")));

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(KEY.decrypt(text).is_err());
        assert!(decrypt_any([&*KEY], text, Reading::Lenient).is_err());
    }
    let token = KEY.encrypt(data, 1);
    assert_eq!(KEY.decrypt(&token).expect("what was encrypted decrypts").as_slice(), data);
    let position = data.first().map_or(0, |byte| usize::from(*byte)) % token.len();
    let (front, back) = token.split_at(position);
    let junk: String = String::from_utf8_lossy(data).chars().filter(|c| !c.is_ascii_alphanumeric() && !"+/-_=".contains(*c)).collect();
    let read = decrypt_any([&*KEY], &format!("{front}{junk}{back}"), Reading::Lenient);
    assert_eq!(read.expect("junk is skipped").as_slice(), data);
    let mut changed = token.into_bytes();
    changed[position] = if changed[position] == b'A' { b'B' } else { b'A' };
    assert!(KEY.decrypt(std::str::from_utf8(&changed).expect("ascii")).is_err());
});
