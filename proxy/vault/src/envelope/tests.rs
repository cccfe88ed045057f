use super::*;
use crate::key::{KeyMaterial, decode_hex};
use crate::ring::{Entry, RingKey};
use serde_json::Value;

const NOW: i64 = 1_800_000_000;

fn ring(keys: &[(&str, i64, u8)]) -> Arc<KeyRing> {
    let key = |(id, from_unix, byte): &(&str, i64, u8)| RingKey {
        id: (*id).to_owned(),
        from_unix: *from_unix,
        key: KeyMaterial::from_raw(&[*byte; 32]).unwrap(),
    };
    Arc::new(KeyRing::new(keys.iter().map(key).collect()).unwrap())
}

fn token(ring: &KeyRing, format: Format, field: &str, patient: Option<&str>, json: &str) -> String {
    let mut out = Vec::new();
    let mut sealer = Sealer::new(ring, "clinic", format, Wrap::String, NOW).unwrap();
    sealer
        .seal(field, patient, json.as_bytes(), &mut out)
        .unwrap();
    serde_json::from_slice(&out).unwrap()
}

fn raw(token: &str) -> Vec<u8> {
    base64_simd::URL_SAFE_NO_PAD
        .decode_to_vec(token.strip_prefix("hs1.").unwrap())
        .unwrap()
}

fn text(raw: &[u8]) -> String {
    format!("hs1.{}", base64_simd::URL_SAFE_NO_PAD.encode_to_string(raw))
}

struct Vector(Value);

impl Vector {
    fn all() -> Vec<Self> {
        let lines = include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/fixtures/vectors/hs1.jsonl"
        ));
        lines
            .lines()
            .map(|line| Self(serde_json::from_str(line).unwrap()))
            .collect()
    }

    fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap()
    }

    fn patient(&self) -> Option<&str> {
        self.0["patient"].as_str()
    }

    fn bytes<const N: usize>(&self, name: &str) -> [u8; N] {
        decode_hex(self.text(name))
            .unwrap()
            .as_slice()
            .try_into()
            .unwrap()
    }

    fn ring(&self) -> Arc<KeyRing> {
        let key = KeyMaterial::from_base64(self.text("key")).unwrap();
        Arc::new(
            KeyRing::new(vec![RingKey {
                id: self.text("key_id").into(),
                from_unix: 0,
                key,
            }])
            .unwrap(),
        )
    }
}

#[test]
fn every_vector_is_reproduced_byte_for_byte_from_its_salt_and_nonce() {
    let vectors = Vector::all();
    assert_eq!(vectors.len(), 60);
    for vector in vectors {
        let ring = vector.ring();
        let (held, salt) = (ring.sealing(NOW).unwrap(), vector.bytes("salt_hex"));
        let mut context =
            SealContext::with_salt(&ENVELOPE, held, vector.text("domain"), &salt).unwrap();
        let (nonce, plaintext) = (vector.bytes("nonce_hex"), vector.text("plaintext"));
        let mut out = Vec::new();
        let parts = [plaintext.as_bytes()];
        context
            .seal_with_nonce(
                &nonce,
                Bound::new(vector.text("field"), vector.patient()),
                &parts,
                &mut out,
            )
            .unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), vector.text("token"));
    }
}

#[test]
fn every_vector_opens_to_its_plaintext_and_only_where_it_belongs() {
    for vector in Vector::all() {
        let (token, field, patient) =
            (vector.text("token"), vector.text("field"), vector.patient());
        let opener = Opener::new(vector.ring(), vector.text("domain"));
        assert_eq!(
            opener.open(token, field, patient).unwrap().expose(),
            vector.text("plaintext")
        );
        assert_eq!(sealed_with(token), Some(Kid::of(vector.text("key_id"))));
        let other = if patient.is_none() { Some("") } else { None };
        assert!(opener.open(token, field, other).is_err());
        assert!(opener.open(token, field, Some("p-2")).is_err());
        assert!(opener.open(token, "diagnosis", patient).is_err());
        let elsewhere = Opener::new(vector.ring(), "elsewhere");
        assert!(elsewhere.open(token, field, patient).is_err());
    }
}

#[test]
fn what_is_sealed_opens_to_the_same_text_in_both_formats_and_wraps() {
    let ring = ring(&[("k", 0, 1)]);
    let opener = Opener::new(Arc::clone(&ring), "clinic");
    for json in [
        "\"123-45-6789\"",
        "0",
        "null",
        "false",
        "\"\"",
        "[]",
        "{}",
        "7.10",
        " [1, {\"a\":\"é\"}]\n",
        "12345678901234567890.120",
    ] {
        for (format, wrap) in [
            (Format::Native, Wrap::Object),
            (Format::Native, Wrap::String),
            (Format::Fernet, Wrap::Object),
            (Format::Fernet, Wrap::String),
        ] {
            let mut sealer = Sealer::new(&ring, "clinic", format, wrap, NOW).unwrap();
            let mut out = b"x".to_vec();
            sealer
                .seal("ssn", Some("p"), json.as_bytes(), &mut out)
                .unwrap();
            let sealed: Value = serde_json::from_slice(&out[1..]).unwrap();
            let token = if wrap == Wrap::Object {
                &sealed["_value"]
            } else {
                &sealed
            };
            if wrap == Wrap::Object {
                assert!(
                    out.starts_with(br#"x{"_encrypted":true,"_value":""#)
                        && out.ends_with(br#""}"#)
                );
            }
            let token = token.as_str().unwrap();
            assert!(looks_sealed(token) && opener.is_well_formed(token));
            let opened = opener.open(token, "ssn", Some("p")).unwrap();
            let expected = match format {
                Format::Native | Format::Jwe => json.to_owned(),
                Format::Fernet => {
                    String::from_utf8(python::dumps(json.as_bytes()).unwrap().to_vec()).unwrap()
                }
            };
            assert_eq!(opened.expose(), expected);
        }
    }
}

#[test]
fn values_of_every_length_open_again() {
    let ring = ring(&[("k", 0, 1)]);
    let opener = Opener::new(Arc::clone(&ring), "clinic");
    for length in (0..200).chain([4096, 1 << 20]) {
        let json = format!("\"{}\"", "a".repeat(length));
        for format in [Format::Native, Format::Fernet, Format::Jwe] {
            let token = token(&ring, format, "f", None, &json);
            assert_eq!(opener.open(&token, "f", None).unwrap().expose(), json);
        }
    }
}

#[test]
fn any_flipped_bit_is_refused() {
    let ring = ring(&[("k", 0, 1)]);
    let opener = Opener::new(Arc::clone(&ring), "clinic");
    let raw = raw(&token(
        &ring,
        Format::Native,
        "ssn",
        Some("p"),
        "\"123-45-6789\"",
    ));
    assert!(opener.open(&text(&raw), "ssn", Some("p")).is_ok());
    for bit in 0..raw.len() * 8 {
        let mut changed = raw.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            opener.open(&text(&changed), "ssn", Some("p")).err(),
            Some(OpenError::Refused),
            "bit {bit}"
        );
    }
}

#[test]
fn a_token_has_one_text_only() {
    let ring = ring(&[("k", 0, 1)]);
    let opener = Opener::new(Arc::clone(&ring), "clinic");
    // 77 bytes and a plaintext of one: two characters at the end carry four unused bits.
    let token = token(&ring, Format::Native, "f", None, "10");
    assert_eq!(raw(&token).len() % 3, 1);
    assert!(opener.open(&token, "f", None).is_ok());
    let (body, last) = token.split_at(token.len() - 1);
    for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars() {
        assert_eq!(
            opener.open(&format!("{body}{other}"), "f", None).is_ok(),
            last.starts_with(other),
            "{other}"
        );
    }
    for changed in [
        format!("{token}="),
        format!("{token}=="),
        format!("{token}\n"),
        format!(" {token}"),
        format!("{token}A"),
        token.replacen("hs1.", "HS1.", 1),
        token.replacen("hs1.", "", 1),
        token.replacen("hs1.", "hs1..", 1),
    ] {
        assert!(opener.open(&changed, "f", None).is_err(), "{changed}");
    }
}

#[test]
fn truncated_and_extended_tokens_are_refused() {
    let ring = ring(&[("k", 0, 1)]);
    let opener = Opener::new(Arc::clone(&ring), "clinic");
    let raw = raw(&token(&ring, Format::Native, "f", None, "\"x\""));
    for length in 0..raw.len() {
        assert!(opener.open(&text(&raw[..length]), "f", None).is_err());
        assert!(
            opener
                .open(&text(&raw[raw.len() - length..]), "f", None)
                .is_err()
        );
    }
    for extra in [&[0][..], &[0; 16], &raw] {
        assert!(
            opener
                .open(&text(&[&raw, extra].concat()), "f", None)
                .is_err()
        );
    }
    assert!(opener.open("hs1.", "f", None).is_err());
    assert!(opener.open("", "f", None).is_err());
}

#[test]
fn what_a_value_is_bound_to_cannot_be_shifted_between_its_parts() {
    let ring = ring(&[("k", 0, 1)]);
    let token = token(&ring, Format::Native, "ab", Some("c"), "1");
    let opener = Opener::new(Arc::clone(&ring), "clinic");
    for (field, patient) in [
        ("a", Some("bc")),
        ("abc", Some("")),
        ("abc", None),
        ("ab", Some("")),
        ("", Some("abc")),
        ("AB", Some("c")),
    ] {
        assert!(opener.open(&token, field, patient).is_err());
    }
    assert!(
        Opener::new(Arc::clone(&ring), "clinica")
            .open(&token, "b", Some("c"))
            .is_err()
    );
    assert!(opener.open(&token, "ab", Some("c")).is_ok());
}

#[test]
fn every_key_of_the_ring_opens_and_a_dropped_key_no_longer_does() {
    let (old, both, new) = (
        ring(&[("a", 0, 1)]),
        ring(&[("a", 0, 1), ("b", 1, 2)]),
        ring(&[("b", 1, 2)]),
    );
    for format in [Format::Native, Format::Fernet, Format::Jwe] {
        let written = [
            token(&old, format, "f", None, "1"),
            token(&both, format, "f", None, "1"),
        ];
        let opens = |ring: &Arc<KeyRing>| {
            let opener = Opener::new(Arc::clone(ring), "clinic");
            [0, 1].map(|i| opener.open(&written[i], "f", None).is_ok())
        };
        assert_eq!(
            [opens(&old), opens(&both), opens(&new)],
            [[true, false], [true, true], [false, true]]
        );
    }
    assert_eq!(
        Sealer::new(&both, "", Format::Native, Wrap::String, NOW)
            .unwrap()
            .key_id(),
        "b"
    );
}

#[test]
fn a_key_with_the_same_id_and_other_bytes_does_not_open() {
    let token = token(&ring(&[("k", 0, 1)]), Format::Native, "f", None, "1");
    assert!(
        Opener::new(ring(&[("k", 0, 2)]), "clinic")
            .open(&token, "f", None)
            .is_err()
    );
}

#[test]
fn one_body_has_one_salt_and_a_nonce_a_value() {
    let ring = ring(&[("k", 0, 1)]);
    let mut sealer = Sealer::new(&ring, "clinic", Format::Native, Wrap::String, NOW).unwrap();
    let mut seal = || {
        let mut out = Vec::new();
        sealer.seal("f", None, b"1", &mut out).unwrap();
        raw(&serde_json::from_slice::<String>(&out).unwrap())
    };
    let (first, second) = (seal(), seal());
    assert_eq!(first[..33], second[..33]);
    assert_ne!(first[33..45], second[33..45]);
    assert_eq!(first[45..61], second[45..61]);
    assert_ne!(first[61..], second[61..]);
    assert_ne!(
        raw(&token(&ring, Format::Native, "f", None, "1"))[9..33],
        first[9..33]
    );
}

#[test]
fn the_cache_of_derived_keys_changes_no_answer_at_any_bound() {
    let ring = ring(&[("k", 0, 1)]);
    let tokens: Vec<String> = (0..20)
        .map(|i| token(&ring, Format::Native, "f", None, &i.to_string()))
        .collect();
    for bound in [0, 1, 3, 1024] {
        let opener = Opener::with_cache(Arc::clone(&ring), "clinic", bound);
        for _ in 0..2 {
            for (i, token) in tokens.iter().enumerate() {
                assert_eq!(
                    opener.open(token, "f", None).unwrap().expose(),
                    i.to_string()
                );
                assert!(opener.open(token, "g", None).is_err());
            }
        }
    }
}

#[test]
fn what_may_not_be_sealed_is_refused_and_leaves_the_output_as_it_was() {
    let ring = ring(&[("k", 100, 1)]);
    for format in [Format::Native, Format::Fernet, Format::Jwe] {
        let early = Sealer::new(&ring, "d", format, Wrap::Object, 99).err();
        assert_eq!(early, Some(SealError::NoSealingKey));
        let mut sealer = Sealer::new(&ring, "d", format, Wrap::Object, 100).unwrap();
        let mut out = b"before".to_vec();
        for bad in ["", "a", "\"\\ud800\"", "1e400", "NaN", "1,2"] {
            assert!(
                matches!(
                    sealer.seal("f", None, bad.as_bytes(), &mut out),
                    Err(SealError::Value(_))
                ),
                "{bad}"
            );
        }
        assert_eq!(out, b"before");
    }
    let long = "x".repeat(crate::CONTEXT_BYTES_MAX + 1);
    assert_eq!(
        Sealer::new(&ring, &long, Format::Native, Wrap::Object, 100).err(),
        Some(SealError::TooLong)
    );
    let mut sealer = Sealer::new(&ring, "d", Format::Native, Wrap::Object, 100).unwrap();
    let mut out = Vec::new();
    assert_eq!(
        sealer.seal(&long, None, b"1", &mut out),
        Err(SealError::TooLong)
    );
    assert_eq!(
        sealer.seal("f", Some(&long), b"1", &mut out),
        Err(SealError::TooLong)
    );
    assert!(out.is_empty());
    sealer.seal("f", None, b"1", &mut out).unwrap();
    let token = serde_json::from_slice::<Value>(&out).unwrap()["_value"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        Opener::new(Arc::clone(&ring), "d")
            .open(&token, "f", None)
            .is_ok()
    );
}

#[test]
fn nothing_secret_is_shown_by_debug_or_in_an_error() {
    let ring = ring(&[("k", 0, 0x41)]);
    let mut sealer = Sealer::new(&ring, "clinic", Format::Native, Wrap::String, NOW).unwrap();
    let error = sealer
        .seal("ssn", Some("p-1"), b"\"123-45-6789", &mut Vec::new())
        .unwrap_err();
    let opener = Opener::new(Arc::clone(&ring), "clinic");
    let shown = format!("{error} {error:?} {sealer:?} {opener:?} {ring:?}");
    for secret in ["123-45", "p-1", "AAAA", "65, 65", "0x41", "4141"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn an_opener_is_shared_by_threads() {
    let ring = ring(&[("k", 0, 1)]);
    let tokens: Vec<String> = (0..50)
        .map(|i| token(&ring, Format::Native, "f", None, &i.to_string()))
        .collect();
    let opener = Opener::with_cache(Arc::clone(&ring), "clinic", 7);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (i, token) in tokens.iter().enumerate() {
                    assert_eq!(
                        opener.open(token, "f", None).unwrap().expose(),
                        i.to_string()
                    );
                }
            });
        }
    });
}

#[test]
fn a_decrypt_only_key_opens_every_format_and_a_destroyed_one_is_told_where_it_is_named() {
    let key = |id: &str, byte| RingKey {
        id: id.to_owned(),
        from_unix: 0,
        key: KeyMaterial::from_raw(&[byte; 32]).unwrap(),
    };
    let before = ring(&[("old", 0, 1)]);
    let states = |old| {
        let ring = KeyRing::with_states(vec![Entry::Active(key("new", 2)), old]);
        Opener::new(Arc::new(ring.unwrap()), "clinic")
    };
    let kept = states(Entry::DecryptOnly(key("old", 1)));
    let gone = states(Entry::Destroyed { id: "old".into() });
    for (format, refused) in [
        (Format::Native, OpenError::Destroyed),
        (Format::Jwe, OpenError::Destroyed),
        // A Fernet token names no key.
        (Format::Fernet, OpenError::Refused),
    ] {
        let token = token(&before, format, "ssn", Some("p"), "1");
        assert_eq!(kept.open(&token, "ssn", Some("p")).unwrap().expose(), "1");
        let opened = gone.open(&token, "ssn", Some("p"));
        assert_eq!(opened.err(), Some(refused), "{format:?}");
    }
}

#[test]
fn each_value_sealed_and_each_opening_tried_is_counted_for_its_key() {
    let ring = ring(&[("k", 0, 1)]);
    let opener = Opener::new(Arc::clone(&ring), "clinic");
    let mut expected = 0;
    for format in [Format::Native, Format::Jwe, Format::Fernet] {
        let token = token(&ring, format, "ssn", None, "1");
        opener.open(&token, "ssn", None).unwrap();
        expected += 1;
        let operations = ring.sealing(NOW).unwrap().operations();
        assert_eq!(
            (operations.sealed(), operations.opened()),
            (expected, expected),
            "{format:?}"
        );
    }
    let token = token(&ring, Format::Native, "ssn", None, "1");
    assert!(opener.open(&token, "other", None).is_err());
    let operations = ring.sealing(NOW).unwrap().operations();
    assert_eq!((operations.opened(), operations.total()), (4, 8));
}
