use super::*;
use crate::envelope::{Format, Opener, Sealer, Wrap, looks_sealed, sealed_with};
use crate::key::decode_hex;
use crate::ring::RingKey;
use serde_json::Value;
use std::sync::Arc;

fn ring(id: &str, key: KeyMaterial) -> Arc<KeyRing> {
    let key = RingKey {
        id: id.into(),
        from_unix: 0,
        key,
    };
    Arc::new(KeyRing::new(vec![key]).unwrap())
}

fn plain_ring() -> Arc<KeyRing> {
    ring("k", KeyMaterial::from_raw(&[7; 32]).unwrap())
}

fn sealed(ring: &KeyRing, bound: Bound<'_>, json: &str) -> String {
    let mut out = Vec::new();
    let held = ring.sealing(0).unwrap();
    seal(held, "clinic", bound, json.as_bytes(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn opened(ring: &KeyRing, bound: Bound<'_>, token: &str) -> Result<String, OpenError> {
    let bytes = open(ring, "clinic", bound, token)?;
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

/// A JWE whose header is this text, sealed as a writer with the key would.
fn with_header(ring: &KeyRing, header: &str) -> String {
    let keys = ring.sealing(0).unwrap().jwe().unwrap();
    let (content_key, iv) = ([3; KEY_BYTES], [5; NONCE_BYTES]);
    let mut wrapped = content_key;
    let tag = keys
        .wrap
        .encrypt_inout_detached(&Nonce::from(iv), &[], wrapped.as_mut_slice().into())
        .unwrap();
    let header = header
        .replace("KID", &Kid::of("k").to_string())
        .replace("IV", &URL.encode_to_string(iv))
        .replace("TAG", &URL.encode_to_string(tag));
    let header = URL.encode_to_string(header);
    let mut body = b"\"x\"".to_vec();
    let tag = Aes256Gcm::new((&content_key).into())
        .encrypt_inout_detached(
            &Nonce::from(iv),
            header.as_bytes(),
            body.as_mut_slice().into(),
        )
        .unwrap();
    let parts = [&wrapped[..], &iv, &body, &tag].map(|part| URL.encode_to_string(part));
    format!("{header}.{}", parts.join("."))
}

const HEADER: &str = r#"{"alg":"A256GCMKW","enc":"A256GCM","kid":"KID","iv":"IV","tag":"TAG","domain":"clinic","field":"ssn"}"#;

#[test]
fn every_vector_is_reproduced_byte_for_byte_and_opens_where_it_belongs() {
    let lines = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/vectors/jwe.jsonl"
    ));
    assert_eq!(lines.lines().count(), 48);
    for line in lines.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| case[name].as_str().unwrap();
        let bytes = |name: &str| decode_hex(text(name)).unwrap();
        let ring = self::ring(
            text("key_id"),
            KeyMaterial::from_base64(text("key")).unwrap(),
        );
        let fresh = Fresh {
            content_key: Zeroizing::new(bytes("content_key_hex").as_slice().try_into().unwrap()),
            wrap_iv: bytes("wrap_iv_hex").as_slice().try_into().unwrap(),
            iv: bytes("iv_hex").as_slice().try_into().unwrap(),
        };
        let bound = Bound::new(text("field"), case["patient"].as_str());
        let mut out = Vec::new();
        let held = ring.sealing(0).unwrap();
        let plaintext = text("plaintext").as_bytes();
        seal_with(held, text("domain"), bound, plaintext, fresh, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), text("token"));
        let value = open(&ring, text("domain"), bound, text("token")).unwrap();
        assert_eq!(value.as_slice(), plaintext);
        assert_eq!(kid(text("token")), Some(held.kid()));
        assert!(open(&ring, "elsewhere", bound, text("token")).is_err());
    }
}

#[test]
fn a_value_opens_only_in_its_field_its_domain_and_for_its_patient() {
    let ring = plain_ring();
    let bounds = [
        Bound::new("ssn", None),
        Bound::new("diagnosis", None),
        Bound::new("ssn", Some("")),
        Bound::new("ssn", Some("p")),
        Bound::new("ssn", Some("q")),
    ];
    for (at, bound) in bounds.iter().enumerate() {
        let token = sealed(&ring, *bound, "\"943-71-5820\"");
        for (tried, other) in bounds.iter().enumerate() {
            assert_eq!(opened(&ring, *other, &token).is_ok(), at == tried);
        }
        assert!(open(&ring, "other", *bound, &token).is_err());
        let stranger = self::ring("k", KeyMaterial::from_raw(&[8; 32]).unwrap());
        assert!(opened(&stranger, *bound, &token).is_err());
    }
}

#[test]
fn no_character_of_a_token_can_be_changed_or_left_out() {
    let ring = plain_ring();
    let bound = Bound::new("ssn", Some("p"));
    let token = sealed(&ring, bound, "\"x\"");
    for at in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        for byte in [b'A', b'B', b'.', b'=', b' ', b'-'] {
            if changed[at] == byte {
                continue;
            }
            let before = std::mem::replace(&mut changed[at], byte);
            let text = std::str::from_utf8(&changed).unwrap();
            assert!(opened(&ring, bound, text).is_err(), "{at} {byte}");
            changed[at] = before;
        }
        changed.remove(at);
        let text = std::str::from_utf8(&changed).unwrap();
        assert!(opened(&ring, bound, text).is_err(), "{at} left out");
    }
    for text in [
        format!("{token}."),
        format!("{token}.A"),
        format!("{token}="),
        format!(" {token}"),
        format!("{token}\n"),
        token.rsplit_once('.').unwrap().0.to_owned(),
        token.replace('.', ".."),
        String::new(),
        "....".to_owned(),
        "eyJ....".to_owned(),
    ] {
        assert!(opened(&ring, bound, &text).is_err(), "{text}");
    }
}

#[test]
fn any_flipped_bit_is_refused() {
    let ring = plain_ring();
    let bound = Bound::new("ssn", Some("p"));
    let token = sealed(&ring, bound, "\"943-71-5820\"");
    let parts: Vec<Vec<u8>> = token
        .split('.')
        .map(|part| URL.decode_to_vec(part).unwrap())
        .collect();
    for at in 0..parts.len() {
        for bit in 0..parts[at].len() * 8 {
            let mut changed = parts.clone();
            changed[at][bit / 8] ^= 1 << (bit % 8);
            let text: Vec<String> = changed
                .iter()
                .map(|part| URL.encode_to_string(part))
                .collect();
            assert!(opened(&ring, bound, &text.join(".")).is_err(), "{at} {bit}");
        }
    }
}

#[test]
fn only_the_pinned_algorithms_are_taken_and_nothing_that_changes_their_meaning() {
    let ring = plain_ring();
    let bound = Bound::new("ssn", None);
    assert_eq!(
        opened(&ring, bound, &with_header(&ring, HEADER)).unwrap(),
        "\"x\""
    );
    // Members in another order, white space, escapes, and members of no meaning here are a foreign writer's right.
    for header in [
        r#"{"field":"ssn","domain":"clinic","tag":"TAG","iv":"IV","kid":"KID","enc":"A256GCM","alg":"A256GCMKW"}"#,
        r#"{"alg" : "A256GCMKW", "enc":"A256GCM","kid":"KID","iv":"IV","tag":"TAG","domain":"clin\u0069c","field":"ssn","typ":"JWE","x":{"a":[1]}}"#,
    ] {
        assert!(opened(&ring, bound, &with_header(&ring, header)).is_ok());
    }
    let without = |member: &str| HEADER.replace(member, "\"q\"");
    let with = |more: &str| HEADER.replace("{\"alg\"", &format!("{{{more},\"alg\""));
    for header in [
        HEADER.replace("A256GCMKW", "dir"),
        HEADER.replace("A256GCMKW", "A128GCMKW"),
        HEADER.replace("A256GCMKW", "RSA1_5"),
        HEADER.replace("A256GCMKW", "PBES2-HS256+A128KW"),
        HEADER.replace("A256GCMKW", "a256gcmkw"),
        HEADER.replace("A256GCMKW", "none"),
        HEADER.replace("\"A256GCM\"", "\"A128GCM\""),
        HEADER.replace("\"A256GCM\"", "\"A256CBC-HS512\""),
        HEADER.replace("\"A256GCM\"", "null"),
        with(r#""zip":"DEF""#),
        with(r#""zip":null"#),
        with(r#""crit":[]"#),
        with(r#""crit":["domain"]"#),
        with(r#""crit":["exp"],"exp":1"#),
        with(r#""alg":"A256GCMKW""#),
        with(r#""field":"other""#),
        with(r#""\u0066ield":"other""#),
        with(r#""patient":"AAAAAAAAAAAAAAAAAAAAAA""#),
        with(r#""patient":null"#),
        with(r#""patient":7"#),
        without("\"kid\""),
        without("\"iv\""),
        without("\"tag\""),
        without("\"domain\""),
        without("\"field\""),
        HEADER.replace("KID", "KID0"),
        HEADER.replace("KID", "KI"),
        HEADER.replace("\"KID\"", "7"),
        HEADER.replace("\"IV\"", "\"AAAA\""),
        HEADER.replace("\"TAG\"", "\"AAAA\""),
        HEADER.replace("\"TAG\"", "\"TAG=\""),
        format!("{HEADER} x"),
        format!("[{HEADER}]"),
        HEADER.replace("ssn", "\\ud800"),
        String::new(),
        "null".to_owned(),
    ] {
        assert!(
            opened(&ring, bound, &with_header(&ring, &header)).is_err(),
            "{header}"
        );
    }
}

#[test]
fn what_is_too_long_is_neither_sealed_nor_read() {
    let ring = plain_ring();
    let field = "f".repeat(HEADER_BYTES_MAX);
    let held = ring.sealing(0).unwrap();
    let mut out = Vec::new();
    assert!(seal(held, "d", Bound::new(&field, None), b"1", &mut out).is_err());
    let large = vec![b'1'; VALUE_BYTES_MAX + 1];
    assert!(seal(held, "d", Bound::new("f", None), &large, &mut out).is_err());
    assert!(out.is_empty());
    let long = HEADER.replace("ssn", &field);
    assert!(opened(&ring, Bound::new(&field, None), &with_header(&ring, &long)).is_err());
}

#[test]
fn two_jwes_of_one_value_share_nothing_but_kid_domain_and_field() {
    let ring = plain_ring();
    let bound = Bound::new("ssn", Some("p"));
    let header = |token: String| {
        let head = token.split('.').next().unwrap().to_owned();
        serde_json::from_slice::<Value>(&URL.decode_to_vec(head).unwrap()).unwrap()
    };
    let [a, b] = [(); 2].map(|()| header(sealed(&ring, bound, "1")));
    for name in ["alg", "enc", "kid", "domain", "field"] {
        assert_eq!(a[name], b[name]);
    }
    for name in ["iv", "tag", "patient"] {
        assert_ne!(a[name], b[name]);
    }
}

#[test]
fn sealer_and_opener_take_the_format_and_tell_it_from_strangers_tokens() {
    let ring = plain_ring();
    let mut out = Vec::new();
    let mut sealer = Sealer::new(&ring, "clinic", Format::Jwe, Wrap::String, 0).unwrap();
    sealer.seal("ssn", None, b"[1, 2]", &mut out).unwrap();
    let token = String::from_utf8(out).unwrap().replace('"', "");
    assert!(looks_sealed(&token));
    assert_eq!(sealed_with(&token), Some(Kid::of("k")));
    let opener = Opener::new(Arc::clone(&ring), "clinic");
    assert_eq!(opener.open(&token, "ssn", None).unwrap().expose(), "[1, 2]");
    assert_eq!(
        ring.keys()
            .map(|held| held.operations().total())
            .sum::<u64>(),
        2
    );
    // A JWS, and a JWE of somebody else's.
    for text in [
        "eyJhbGciOiJIUzI1NiJ9.e30.AAAA".to_owned(),
        with_header(&ring, &HEADER.replace("A256GCMKW", "RSA-OAEP")),
        "eyJ".to_owned(),
    ] {
        assert!(!looks_sealed(&text) && sealed_with(&text).is_none());
        assert!(!opener.is_well_formed(&text));
    }
}

#[test]
fn no_two_ring_keys_share_a_key_encryption_key_and_it_is_not_the_ring_key() {
    let ring = plain_ring();
    let held = ring.sealing(0).unwrap();
    let key = key_encryption_key(held).unwrap();
    assert_ne!(key.expose(), held.material().expose());
    let other = self::ring("l", KeyMaterial::from_raw(&[7; 32]).unwrap());
    let other = key_encryption_key(other.sealing(0).unwrap()).unwrap();
    assert_ne!(key.expose(), other.expose());
}
