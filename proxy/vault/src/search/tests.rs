use super::*;
use crate::envelope::{Format, Opener, Sealer, looks_sealed, sealed_with};
use crate::ring::{Entry, RingKey};
use serde_json::Value;

const SSN: &[u8] = b"\"943-71-5820\"";

fn key(id: &str, from_unix: i64, byte: u8) -> RingKey {
    RingKey {
        id: id.into(),
        from_unix,
        key: KeyMaterial::from_raw(&[byte; 32]).unwrap(),
    }
}

fn ring() -> Arc<KeyRing> {
    Arc::new(KeyRing::new(vec![key("a", 0, 1), key("b", 100, 2)]).unwrap())
}

fn token(field: &str, json: &str, normalize: Normalize) -> Result<String, SearchError> {
    Searcher::new(ring(), "clinic").seal(field, json.as_bytes(), normalize)
}

#[test]
fn every_vector_is_reproduced_and_opens_to_its_normalized_value() {
    let lines = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/vectors/hsx1.jsonl"
    ));
    assert_eq!(lines.lines().count(), 48);
    for line in lines.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| case[name].as_str().unwrap();
        let ring = RingKey {
            id: text("key_id").into(),
            from_unix: 0,
            key: KeyMaterial::from_base64(text("key")).unwrap(),
        };
        let ring = Arc::new(KeyRing::new(vec![ring]).unwrap());
        let normalize = Normalize::ALL
            .into_iter()
            .find(|it| it.word() == text("normalize"))
            .unwrap();
        let searcher = Searcher::new(Arc::clone(&ring), text("domain"));
        let sealed = searcher
            .seal(text("field"), text("value").as_bytes(), normalize)
            .unwrap();
        assert_eq!(sealed, text("token"));
        let opener = Opener::new(Arc::clone(&ring), text("domain"));
        let opened = opener.open(&sealed, text("field"), None).unwrap();
        assert_eq!(opened.expose(), text("normalized"));
        let elsewhere = Opener::new(ring, "elsewhere");
        assert!(elsewhere.open(&sealed, text("field"), None).is_err());
        assert!(opener.open(&sealed, "another", None).is_err());
    }
}

#[test]
fn equal_values_have_equal_tokens_and_others_have_not() {
    let digits = |field, json| token(field, json, Normalize::Digits).unwrap();
    let sealed = digits("ssn", "\"943-71-5820\"");
    assert!(sealed.starts_with("hsx1.") && looks_sealed(&sealed));
    assert_eq!(sealed_with(&sealed), Some(Kid::of("a")));
    for same in [
        "\"943715820\"",
        "\"943 71 5820\"",
        "\"\\u0039\\u00343-71-5820\"",
    ] {
        assert_eq!(digits("ssn", same), sealed);
    }
    for (field, other) in [
        ("ssn", "\"943-71-5821\""),
        ("ssn", "943715820"),
        ("mrn", "\"943-71-5820\""),
        ("ssn", "\"0943715820\""),
    ] {
        let other = digits(field, other);
        // Not even the blind index is the same.
        assert_ne!(other.get(17..41), sealed.get(17..41));
    }
    let elsewhere = Searcher::new(ring(), "other");
    assert_ne!(
        elsewhere.seal("ssn", SSN, Normalize::Digits).unwrap(),
        sealed
    );
}

#[test]
fn the_head_is_a_whole_number_of_characters() {
    let of = |json| token("f", json, Normalize::Exact).unwrap();
    let (long, short) = (of("\"a longer value\""), of("\"b\""));
    let head = |token: &str| {
        let head = token.get(5..41).unwrap().to_owned();
        URL_DECODE(&head)
    };
    assert_eq!((head(&long).len(), head(&short).len()), (27, 27));
    assert_eq!(head(&long)[..9], head(&short)[..9]);
}

const URL_DECODE: fn(&str) -> Vec<u8> =
    |text| base64_simd::URL_SAFE_NO_PAD.decode_to_vec(text).unwrap();

#[test]
fn the_oldest_active_key_seals_whatever_the_time_and_every_key_opens() {
    let sealed = |entries| {
        let ring = Arc::new(KeyRing::with_states(entries).unwrap());
        let token = Searcher::new(Arc::clone(&ring), "d").seal("f", SSN, Normalize::Exact);
        (ring, token)
    };
    let (_, old) = sealed(vec![Entry::Active(key("a", 0, 1))]);
    let old = old.unwrap();
    let (ring, same) = sealed(vec![
        Entry::Active(key("b", 100, 2)),
        Entry::Active(key("a", 0, 1)),
    ]);
    assert_eq!(same.unwrap(), old);
    assert!(Opener::new(ring, "d").open(&old, "f", None).is_ok());
    let (ring, moved) = sealed(vec![
        Entry::Active(key("b", 100, 2)),
        Entry::DecryptOnly(key("a", 0, 1)),
    ]);
    assert_eq!(sealed_with(&moved.unwrap()), Some(Kid::of("b")));
    assert!(Opener::new(ring, "d").open(&old, "f", None).is_ok());
    let (ring, _) = sealed(vec![
        Entry::Active(key("b", 100, 2)),
        Entry::Destroyed { id: "a".into() },
    ]);
    assert_eq!(
        Opener::new(ring, "d").open(&old, "f", None).err(),
        Some(OpenError::Destroyed)
    );
    let (_, none) = sealed(vec![Entry::DecryptOnly(key("a", 0, 1))]);
    assert_eq!(none.err(), Some(SearchError::NoActiveKey));
}

#[test]
fn any_flipped_bit_and_any_other_key_is_refused() {
    let ring = ring();
    let opener = Opener::new(Arc::clone(&ring), "clinic");
    let sealed = token("ssn", "\"943-71-5820\"", Normalize::Exact).unwrap();
    assert!(opener.open(&sealed, "ssn", Some("any patient")).is_ok());
    let raw = URL_DECODE(sealed.strip_prefix(PREFIX).unwrap());
    for bit in 0..raw.len() * 8 {
        let mut changed = raw.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let text = base64_simd::URL_SAFE_NO_PAD.encode_to_string(changed);
        assert!(opener.open(&format!("hsx1.{text}"), "ssn", None).is_err());
    }
    for length in 0..raw.len() {
        let text = base64_simd::URL_SAFE_NO_PAD.encode_to_string(&raw[..length]);
        assert!(opener.open(&format!("hsx1.{text}"), "ssn", None).is_err());
    }
    let stranger = KeyRing::new(vec![key("a", 0, 9)]).unwrap();
    let stranger = Opener::new(Arc::new(stranger), "clinic");
    assert!(stranger.open(&sealed, "ssn", None).is_err());
}

#[test]
fn a_value_whose_index_is_not_its_own_is_refused_though_its_tag_is_right() {
    let ring = ring();
    let keys = ring.first().unwrap().search().unwrap();
    let (index, mut aad, mut body) = ([7; INDEX_BYTES], Vec::new(), b"\"x\"".to_vec());
    let head = make_head(Kid::of("a"), &index);
    let context = begin_aad(&mut aad, "clinic", "ssn").unwrap();
    aad.extend_from_slice(&head);
    aad.rotate_left(context);
    let tag = keys
        .cipher
        .encrypt_inout_detached(&nonce(&index), &aad, body.as_mut_slice().into())
        .unwrap();
    let raw = [&head[..], &body, &tag].concat();
    let text = base64_simd::URL_SAFE_NO_PAD.encode_to_string(raw);
    let opener = Opener::new(ring, "clinic");
    assert_eq!(
        opener.open(&format!("hsx1.{text}"), "ssn", None).err(),
        Some(OpenError::Refused)
    );
}

#[test]
fn a_searchable_value_is_no_envelope_and_an_envelope_is_not_searchable() {
    let ring = ring();
    let opener = Opener::new(Arc::clone(&ring), "clinic");
    let sealed = token("ssn", "\"x\"", Normalize::Exact).unwrap();
    let mut out = Vec::new();
    Sealer::new(&ring, "clinic", Format::Native, Wrap::String, 0)
        .unwrap()
        .seal("ssn", None, b"\"x\"", &mut out)
        .unwrap();
    let envelope = String::from_utf8(out).unwrap().replace('"', "");
    for text in [
        sealed.replacen("hsx1.", "hs1.", 1),
        envelope.replacen("hs1.", "hsx1.", 1),
    ] {
        assert!(opener.open(&text, "ssn", None).is_err());
    }
}

#[test]
fn what_is_sealed_into_a_document_stands_as_the_sealer_s_values_do() {
    let searcher = Searcher::new(ring(), "clinic");
    let sealed = searcher.seal("ssn", SSN, Normalize::Digits).unwrap();
    let into = |wrap| {
        let mut out = b"x".to_vec();
        let done = searcher.seal_into("ssn", SSN, Normalize::Digits, wrap, &mut out);
        done.unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(into(Wrap::String), format!("x\"{sealed}\""));
    assert_eq!(
        into(Wrap::Object),
        format!(r#"x{{"_encrypted":true,"_value":"{sealed}"}}"#)
    );
    let mut out = b"x".to_vec();
    for bad in ["null", "\"a\"", "\"\"", "[1]", "x", ""] {
        let json = bad.as_bytes();
        assert!(
            searcher
                .seal_into("ssn", json, Normalize::Digits, Wrap::Object, &mut out)
                .is_err()
        );
    }
    assert_eq!(out, b"x");
}

#[test]
fn what_is_too_long_is_not_made_searchable() {
    let long = format!("\"{}\"", "a".repeat(SEARCH_VALUE_BYTES_MAX));
    assert_eq!(
        token("f", &long, Normalize::Exact).err(),
        Some(SearchError::TooLong)
    );
    let field = "f".repeat(crate::CONTEXT_BYTES_MAX + 1);
    assert_eq!(
        token(&field, "\"a\"", Normalize::Exact).err(),
        Some(SearchError::TooLong)
    );
    // A character of one byte that is written as an escape of six: the widest growth.
    let widest = |length| format!("\"{}\"", "\u{7f}".repeat(length));
    let fits = (SEARCH_VALUE_BYTES_MAX - 2) / 6;
    assert!(token("f", &widest(fits), Normalize::Exact).is_ok());
    for length in [fits + 1, SEARCH_VALUE_BYTES_MAX - 2] {
        assert_eq!(
            token("f", &widest(length), Normalize::Exact).err(),
            Some(SearchError::TooLong)
        );
    }
}

#[test]
fn operations_of_the_key_are_counted() {
    let ring = ring();
    let searcher = Searcher::new(Arc::clone(&ring), "clinic");
    let sealed = searcher.seal("ssn", SSN, Normalize::Digits).unwrap();
    let opener = Opener::new(Arc::clone(&ring), "clinic");
    opener.open(&sealed, "ssn", None).unwrap();
    assert!(opener.open(&sealed, "other", None).is_err());
    let operations = ring.first().unwrap().operations();
    assert_eq!((operations.sealed(), operations.opened()), (1, 2));
}

#[test]
fn debug_and_errors_show_neither_key_nor_value() {
    let searcher = Searcher::new(ring(), "clinic");
    let keys = searcher.ring.first().unwrap().search().unwrap();
    let error = searcher.seal("ssn", b"\"943-71", Normalize::Digits);
    let shown = format!("{searcher:?} {keys:?} {:?}", error.err());
    assert!(shown.contains("SearchKeys(..)") && !shown.contains("943") && !shown.contains("1, 1"));
}
