use super::*;
use crate::envelope::Opener;
use crate::json::Document;
use crate::key::decode_hex;
use crate::python;
use crate::record;
use crate::ring::{KeyRing, RingKey};
use serde_json::Value;
use std::sync::Arc;

const SPEC_KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
const SPEC_TOKEN: &str = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";

fn key(text: &str) -> FernetKey {
    FernetKey::new(&KeyMaterial::from_base64(text).unwrap())
}

/// A token of the given parts with a right MAC, whatever its content.
fn signed(head: &[u8]) -> String {
    let secret = KeyMaterial::from_base64(SPEC_KEY).unwrap();
    let (signing, _) = halves(secret.expose());
    let mac = crate::mac::keyed(&*signing)
        .chain_update(head)
        .finalize()
        .into_bytes();
    base64_simd::URL_SAFE.encode_to_string([head, &mac].concat())
}

#[test]
fn the_token_of_the_specification_is_reproduced_and_read() {
    let (key, mut out) = (key(SPEC_KEY), Vec::new());
    let iv: [u8; 16] = std::array::from_fn(|i| u8::try_from(i).unwrap());
    key.encrypt_with_iv(b"hello", 499_162_800, &iv, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), SPEC_TOKEN);
    assert_eq!(key.decrypt(SPEC_TOKEN).unwrap().as_slice(), b"hello");
}

#[test]
fn the_python_class_s_records_open_to_their_values_and_their_texts() {
    let lines = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/vectors/fernet_fields.jsonl"
    ));
    let mut values = 0;
    for line in lines.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let (record, sealed) = (
            case["record"].as_str().unwrap(),
            case["encrypted"].as_str().unwrap(),
        );
        let secret = KeyMaterial::from_base64(case["key"].as_str().unwrap()).unwrap();
        let fernet = FernetKey::new(&secret);
        let clear: Value = serde_json::from_str(record).unwrap();
        let envelopes: Value = serde_json::from_str(sealed).unwrap();
        let document = Document::parse(record.as_bytes()).unwrap();
        for member in document
            .children(0)
            .map(|index| document.node(index).unwrap())
        {
            let name = std::str::from_utf8(document.characters(member.name)).unwrap();
            if let Some(token) = envelopes[name].get("_value") {
                let inside = fernet.decrypt(token.as_str().unwrap()).unwrap();
                let dumped = python::dumps(document.token(member).as_bytes()).unwrap();
                assert_eq!(inside.as_slice(), dumped.as_slice(), "{name} of {record}");
                values += 1;
            }
        }
        let ring = KeyRing::new(vec![RingKey {
            id: "k".into(),
            from_unix: 0,
            key: secret,
        }])
        .unwrap();
        let opened =
            record::open(sealed.as_bytes(), None, &Opener::new(Arc::new(ring), "")).unwrap();
        let opened: Value = serde_json::from_slice(&opened).unwrap();
        assert_eq!(opened, clear);
    }
    assert!(values > 100, "{values}");
}

#[test]
fn lengths_around_a_block_decrypt_and_have_the_length_of_the_specification() {
    let key = key(SPEC_KEY);
    for length in 0..70 {
        let plaintext = vec![7; length];
        let token = key.encrypt(&plaintext, 1_800_000_000);
        assert!(token.starts_with("gAAAA"));
        assert_eq!(token.len(), (57 + 16 * (length / 16 + 1)).div_ceil(3) * 4);
        assert_eq!(key.decrypt(&token).unwrap().as_slice(), plaintext);
    }
}

#[test]
fn any_flipped_bit_and_any_other_key_is_refused() {
    let key = key(SPEC_KEY);
    let raw = base64_simd::URL_SAFE.decode_to_vec(SPEC_TOKEN).unwrap();
    for bit in 0..raw.len() * 8 {
        let mut changed = raw.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            key.decrypt(&base64_simd::URL_SAFE.encode_to_string(changed))
                .err(),
            Some(FernetError),
            "bit {bit}"
        );
    }
    let other = FernetKey::new(&KeyMaterial::from_raw(&[1; 32]).unwrap());
    assert_eq!(other.decrypt(SPEC_TOKEN).err(), Some(FernetError));
    assert_eq!(
        decrypt_any([&other, &key], SPEC_TOKEN, Reading::Strict)
            .unwrap()
            .as_slice(),
        b"hello"
    );
    assert_eq!(
        decrypt_any([], SPEC_TOKEN, Reading::Strict).err(),
        Some(FernetError)
    );
}

#[test]
fn what_python_s_lax_decoder_takes_is_refused() {
    let key = key(SPEC_KEY);
    let standard = SPEC_TOKEN.replace('-', "+").replace('_', "/");
    let stripped = SPEC_TOKEN.trim_end_matches('=');
    for token in [
        standard,
        stripped.to_owned(),
        format!("{stripped}="),
        format!("{SPEC_TOKEN}="),
        format!("{SPEC_TOKEN}\n"),
        format!(" {SPEC_TOKEN}"),
        SPEC_TOKEN.replacen("AAE", "AA E", 1),
        SPEC_TOKEN.replacen("AAE", "AA!E", 1),
        SPEC_TOKEN.replace("DA==", "DB=="),
        SPEC_TOKEN.replace("gAAA", "gAA="),
        format!("{SPEC_TOKEN}{SPEC_TOKEN}"),
        String::new(),
        "gAAAA".to_owned(),
    ] {
        assert!(key.decrypt(&token).is_err(), "{token}");
    }
}

#[test]
fn malformed_content_under_a_right_mac_is_refused() {
    let key = key(SPEC_KEY);
    let raw = base64_simd::URL_SAFE.decode_to_vec(SPEC_TOKEN).unwrap();
    let head = &raw[..raw.len() - 32];
    assert!(key.decrypt(&signed(head)).is_ok());
    let with = |at: usize, value: u8| {
        let mut changed = head.to_vec();
        changed[at] = value;
        changed
    };
    // Another version; no block; half a block; bad padding (the IV's last byte turns the padding length around).
    for changed in [
        with(0, 0x81),
        head[..25].to_vec(),
        head[..33].to_vec(),
        with(24, 0x0f ^ 0x0b),
        with(24, 0x0f ^ 0x0b ^ 0x11),
        head[..8].to_vec(),
        Vec::new(),
    ] {
        assert!(key.decrypt(&signed(&changed)).is_err(), "{changed:?}");
    }
    // Any date is taken: stored values don't expire.
    for date in [[0; 8], [0xff; 8]] {
        assert!(
            key.decrypt(&signed(&[&[0x80], &date[..], &head[9..]].concat()))
                .is_ok()
        );
    }
}

#[test]
fn the_halves_of_a_key_are_signing_then_encryption() {
    let bytes = decode_hex(&"01".repeat(16)).unwrap();
    let (signing, encryption) = halves(&[&bytes[..], &[2; 16]].concat().try_into().unwrap());
    assert_eq!((*signing, *encryption), ([1; 16], [2; 16]));
}

#[test]
fn debug_shows_nothing_of_the_key() {
    assert_eq!(
        format!("{:?} {FernetError}", key(SPEC_KEY)),
        "FernetKey(..) fernet token does not decrypt"
    );
}

#[test]
fn damaged_tokens_are_read_leniently_as_python_reads_them() {
    let lines = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/vectors/fernet_lenient.jsonl"
    ));
    let (mut lenient_only, mut refused) = (0, 0);
    for line in lines.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let (key, token) = (
            key(case["key"].as_str().unwrap()),
            case["token"].as_str().unwrap(),
        );
        let inside = decrypt_any([&key], token, Reading::Lenient);
        let inside = inside.map(|it| String::from_utf8(it.to_vec()).unwrap());
        assert_eq!(inside.ok().as_deref(), case["inside"].as_str(), "{token:?}");
        lenient_only += u32::from(!case["inside"].is_null() && key.decrypt(token).is_err());
        refused += u32::from(case["inside"].is_null());
    }
    assert!(
        lenient_only > 30 && refused > 30,
        "{lenient_only} {refused}"
    );
}

#[test]
fn an_opener_reads_leniently_only_where_it_is_told_to() {
    let secret = KeyMaterial::from_base64(SPEC_KEY).unwrap();
    let token = FernetKey::new(&secret).encrypt(b"\"x\"", 1);
    let ring = RingKey {
        id: "k".into(),
        from_unix: 0,
        key: secret,
    };
    let ring = Arc::new(KeyRing::new(vec![ring]).unwrap());
    let strict = Opener::new(Arc::clone(&ring), "d");
    let lenient = Opener::new(Arc::clone(&ring), "d").reading_fernet(Reading::Lenient);
    for damaged in [format!(" {token}\n"), token.replace('A', "A ")] {
        assert!(strict.open(&damaged, "f", None).is_err() && !strict.is_well_formed(&damaged));
        assert!(lenient.is_well_formed(&damaged));
        let opened = lenient.open(&damaged, "f", None).unwrap();
        assert_eq!(opened.expose(), "\"x\"");
    }
    assert!(lenient.open(&token, "f", None).is_ok() && strict.open(&token, "f", None).is_ok());
    let operations = ring.sealing(0).unwrap().operations();
    assert_eq!((operations.sealed(), operations.opened()), (0, 4));
}
