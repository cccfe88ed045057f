use super::*;
use crate::aead::ENVELOPE;
use crate::envelope::{Format, Opener, Sealer, Wrap, looks_sealed};
use crate::key::KeyMaterial;
use crate::ring::RingKey;

fn ring() -> Arc<KeyRing> {
    let key = |id: &str, from_unix, byte| RingKey {
        id: id.into(),
        from_unix,
        key: KeyMaterial::from_raw(&[byte; 32]).unwrap(),
    };
    Arc::new(KeyRing::new(vec![key("a", 0, 1), key("b", 100, 2)]).unwrap())
}

#[test]
fn a_token_redeems_to_its_value_and_its_time_in_its_own_field_and_domain() {
    let carrier = Carrier::new(ring(), "clinic");
    let token = carrier.issue("ssn", b"\"123-45-6789\"", 77).unwrap();
    assert!(looks_carried(&token) && !looks_sealed(&token));
    let redeemed = carrier.redeem_dated(&token, "ssn").unwrap();
    assert_eq!(
        (redeemed.value.expose(), redeemed.issued_unix),
        ("\"123-45-6789\"", 77)
    );
    assert_eq!(
        Carrier::new(ring(), "clinic")
            .redeem(&token, "ssn")
            .unwrap()
            .expose(),
        "\"123-45-6789\""
    );
    assert!(carrier.redeem(&token, "diagnosis").is_err());
    assert!(Carrier::new(ring(), "other").redeem(&token, "ssn").is_err());
}

#[test]
fn two_tokens_of_one_value_differ() {
    let carrier = Carrier::new(ring(), "clinic");
    assert_ne!(
        carrier.issue("ssn", b"1", 0).unwrap(),
        carrier.issue("ssn", b"1", 0).unwrap()
    );
}

#[test]
fn tokens_of_every_key_redeem_after_a_rotation() {
    let carrier = Carrier::new(ring(), "clinic");
    for now in [0, 99, 100, 101, 50] {
        let token = carrier.issue("ssn", b"1", now).unwrap();
        assert_eq!(
            carrier.redeem_dated(&token, "ssn").unwrap().issued_unix,
            now
        );
    }
    assert_eq!(
        carrier.issue("ssn", b"1", -1).err(),
        Some(SealError::NoSealingKey)
    );
}

#[test]
fn an_envelope_is_never_a_token_and_a_token_never_an_envelope() {
    let (ring, mut out) = (ring(), Vec::new());
    let mut sealer = Sealer::new(&ring, "clinic", Format::Native, Wrap::String, 0).unwrap();
    // A plaintext that begins with eight bytes more than JSON, as a token's does.
    sealer.seal("ssn", None, b"        1", &mut out).unwrap();
    let envelope = String::from_utf8(out).unwrap().replace('"', "");
    let carrier = Carrier::new(Arc::clone(&ring), "clinic");
    let opener = Opener::new(Arc::clone(&ring), "clinic");
    assert!(opener.open(&envelope, "ssn", None).is_ok());
    for text in [envelope.clone(), envelope.replacen("hs1.", "sgt1.", 1)] {
        assert!(carrier.redeem(&text, "ssn").is_err());
    }
    let token = carrier.issue("ssn", b"1", 0).unwrap();
    for text in [token.clone(), token.replacen("sgt1.", "hs1.", 1)] {
        assert!(opener.open(&text, "ssn", None).is_err());
    }
    let raw = OpenContext::new(&ENVELOPE, ring, "clinic", 0);
    assert!(
        raw.open(&token.replacen("sgt1.", "hs1.", 1), "ssn", None)
            .is_err()
    );
}

#[test]
fn a_changed_token_is_refused_at_every_character() {
    let carrier = Carrier::new(ring(), "clinic");
    let token = carrier.issue("ssn", b"\"x\"", 1).unwrap();
    for at in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert!(
            carrier
                .redeem(std::str::from_utf8(&changed).unwrap(), "ssn")
                .is_err(),
            "{at}"
        );
    }
    assert!(carrier.redeem("sgt1.", "ssn").is_err());
}

#[test]
fn a_salt_serves_a_bounded_number_of_tokens() {
    let carrier = Carrier::new(ring(), "clinic");
    let salt = |token: String| token.get(17..49).map(str::to_owned);
    let first = salt(carrier.issue("f", b"1", 0).unwrap());
    assert_eq!(salt(carrier.issue("f", b"1", 0).unwrap()), first);
    carrier.current.lock().unwrap().as_mut().unwrap().issued = TOKENS_PER_SALT_MAX;
    assert_ne!(salt(carrier.issue("f", b"1", 0).unwrap()), first);
}

#[test]
fn what_is_no_json_is_not_carried_and_debug_shows_no_key() {
    let carrier = Carrier::new(ring(), "clinic");
    assert!(matches!(
        carrier.issue("f", b"123-45", 0),
        Err(SealError::Value(_))
    ));
    let shown = format!("{carrier:?}");
    assert!(
        shown.contains("KeyMaterial(..)") && !shown.contains("1, 1"),
        "{shown}"
    );
}
