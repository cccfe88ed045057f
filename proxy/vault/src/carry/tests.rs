use super::*;
use crate::aead::{Bound, ENVELOPE};
use crate::envelope::{Format, Opener, Sealer, Wrap, looks_sealed};
use crate::key::KeyMaterial;
use crate::ring::{Entry, RingKey};

const NONE: Binding<'static> = Binding {
    patient: None,
    session: None,
};

/// Whether a text is refused as forged in a field, whatever its age.
fn refused(carrier: &Carrier, text: &str, field: &str) -> bool {
    carrier.redeem(text, field, NONE, 77, None).err() == Some(RedeemError::Forged)
}

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
    let token = carrier.issue("ssn", NONE, b"\"123-45-6789\"", 77).unwrap();
    assert!(looks_carried(&token) && !looks_sealed(&token));
    let redeemed = carrier.redeem(&token, "ssn", NONE, 77, None).unwrap();
    assert_eq!(
        (redeemed.value.expose(), redeemed.issued_unix),
        ("\"123-45-6789\"", 77)
    );
    assert_eq!(
        Carrier::new(ring(), "clinic")
            .redeem(&token, "ssn", NONE, 77, None)
            .unwrap()
            .value
            .expose(),
        "\"123-45-6789\""
    );
    assert!(refused(&carrier, &token, "diagnosis"));
    assert!(refused(&Carrier::new(ring(), "other"), &token, "ssn"));
}

#[test]
fn two_tokens_of_one_value_differ() {
    let carrier = Carrier::new(ring(), "clinic");
    assert_ne!(
        carrier.issue("ssn", NONE, b"1", 0).unwrap(),
        carrier.issue("ssn", NONE, b"1", 0).unwrap()
    );
}

#[test]
fn tokens_of_every_key_redeem_after_a_rotation() {
    let carrier = Carrier::new(ring(), "clinic");
    for now in [0, 99, 100, 101, 50] {
        let token = carrier.issue("ssn", NONE, b"1", now).unwrap();
        assert_eq!(
            carrier
                .redeem(&token, "ssn", NONE, 77, None)
                .unwrap()
                .issued_unix,
            now
        );
    }
    assert_eq!(
        carrier.issue("ssn", NONE, b"1", -1).err(),
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
        assert!(refused(&carrier, &text, "ssn"));
    }
    let token = carrier.issue("ssn", NONE, b"1", 0).unwrap();
    for text in [token.clone(), token.replacen("sgt1.", "hs1.", 1)] {
        assert!(opener.open(&text, "ssn", None).is_err());
    }
    let raw = OpenContext::new(&ENVELOPE, ring, "clinic", 0);
    assert!(
        raw.open(&token.replacen("sgt1.", "hs1.", 1), Bound::new("ssn", None))
            .is_err()
    );
}

#[test]
fn a_changed_token_is_refused_at_every_character() {
    let carrier = Carrier::new(ring(), "clinic");
    let token = carrier.issue("ssn", NONE, b"\"x\"", 1).unwrap();
    for at in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert!(
            refused(&carrier, std::str::from_utf8(&changed).unwrap(), "ssn"),
            "{at}"
        );
    }
    assert!(refused(&carrier, "sgt1.", "ssn"));
}

#[test]
fn a_salt_serves_a_bounded_number_of_tokens() {
    let carrier = Carrier::new(ring(), "clinic");
    let salt = |token: String| token.get(17..49).map(str::to_owned);
    let first = salt(carrier.issue("f", NONE, b"1", 0).unwrap());
    assert_eq!(salt(carrier.issue("f", NONE, b"1", 0).unwrap()), first);
    carrier.current.lock().unwrap().as_mut().unwrap().issued = TOKENS_PER_SALT_MAX;
    assert_ne!(salt(carrier.issue("f", NONE, b"1", 0).unwrap()), first);
}

#[test]
fn what_is_no_json_is_not_carried_and_debug_shows_no_key() {
    let carrier = Carrier::new(ring(), "clinic");
    assert!(matches!(
        carrier.issue("f", NONE, b"123-45", 0),
        Err(SealError::Value(_))
    ));
    let shown = format!("{carrier:?}");
    assert!(
        shown.contains("KeyMaterial(..)") && !shown.contains("1, 1"),
        "{shown}"
    );
}

#[test]
fn a_token_redeems_only_under_the_binding_it_was_issued_with() {
    let carrier = Carrier::new(ring(), "clinic");
    let bind = |patient, session| Binding { patient, session };
    let bindings = [
        NONE,
        bind(Some("p"), None),
        bind(Some(""), None),
        bind(Some("q"), None),
        bind(None, Some(&b"p"[..])),
        bind(None, Some(&b""[..])),
        bind(Some("p"), Some(&b"p"[..])),
        bind(Some("p"), Some(&b""[..])),
        bind(Some(""), Some(&b"p"[..])),
        // Lengths that would look like the parts behind them, were they not counted.
        bind(Some("p\0\0\0\u{1}p"), None),
        bind(None, Some(&b"p\0\0\0\x01p"[..])),
    ];
    for issued in bindings {
        let token = carrier.issue("ssn", issued, b"1", 7).unwrap();
        for tried in bindings {
            let redeemed = carrier.redeem(&token, "ssn", tried, 7, Some(1));
            if tried == issued {
                assert_eq!(redeemed.unwrap().value.expose(), "1");
            } else {
                assert_eq!(redeemed.err(), Some(RedeemError::Forged));
            }
        }
    }
}

#[test]
fn a_field_s_name_cannot_pass_for_a_binding() {
    let carrier = Carrier::new(ring(), "clinic");
    let bound = Binding {
        patient: Some("p"),
        session: None,
    };
    let token = carrier.issue("f", bound, b"1", 7).unwrap();
    for field in ["f\u{1}\0\0\0\u{1}p", "f\0", "f\u{1}"] {
        assert!(refused(&carrier, &token, field));
        let other = carrier.issue(field, NONE, b"1", 7).unwrap();
        assert!(carrier.redeem(&other, "f", bound, 7, None).is_err());
    }
}

#[test]
fn a_token_redeems_within_its_time_only() {
    let carrier = Carrier::new(ring(), "clinic");
    let token = carrier.issue("f", NONE, b"1", 1000).unwrap();
    let at = |now, lasts| carrier.redeem(&token, "f", NONE, now, lasts).err();
    for (now, lasts) in [
        (1000, Some(0)),
        (1000 + 28_800, Some(28_800)),
        (940, Some(0)),
        (940, None),
        (i64::MAX, None),
    ] {
        assert_eq!(at(now, lasts), None, "{now} {lasts:?}");
    }
    for (now, lasts) in [
        (1001, Some(0)),
        (1000 + 28_801, Some(28_800)),
        (i64::MAX, Some(u32::MAX)),
        (939, None),
        (939, Some(u32::MAX)),
        (i64::MIN, None),
    ] {
        assert_eq!(
            at(now, lasts),
            Some(RedeemError::Expired),
            "{now} {lasts:?}"
        );
    }
    // Of what is forged the age is never looked at.
    assert_eq!(
        carrier.redeem(&token, "g", NONE, i64::MAX, Some(0)).err(),
        Some(RedeemError::Forged)
    );
}

#[test]
fn tokens_of_a_decrypt_only_key_redeem_and_of_a_destroyed_one_do_not() {
    let key = |id: &str, byte| RingKey {
        id: id.into(),
        from_unix: 0,
        key: KeyMaterial::from_raw(&[byte; 32]).unwrap(),
    };
    let states = |entries| Arc::new(KeyRing::with_states(entries).unwrap());
    let before = Carrier::new(states(vec![Entry::Active(key("a", 1))]), "d");
    let token = before.issue("f", NONE, b"1", 0).unwrap();
    let after = states(vec![
        Entry::DecryptOnly(key("a", 1)),
        Entry::Active(key("b", 2)),
    ]);
    assert!(
        Carrier::new(after, "d")
            .redeem(&token, "f", NONE, 0, None)
            .is_ok()
    );
    let gone = states(vec![
        Entry::Destroyed { id: "a".into() },
        Entry::Active(key("b", 2)),
    ]);
    assert_eq!(
        Carrier::new(gone, "d")
            .redeem(&token, "f", NONE, 0, None)
            .err(),
        Some(RedeemError::Forged)
    );
}

#[test]
fn debug_of_a_binding_shows_neither_patient_nor_session() {
    let binding = Binding {
        patient: Some("p-1"),
        session: Some(b"AAAA"),
    };
    assert_eq!(
        format!("{binding:?}"),
        "Binding { patient: true, session: true }"
    );
}

#[test]
fn every_vector_redeems_under_its_binding() {
    let lines = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/vectors/sgt1.jsonl"
    ));
    assert_eq!(lines.lines().count(), 48);
    for line in lines.lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| case[name].as_str().unwrap();
        let ring = RingKey {
            id: text("key_id").into(),
            from_unix: 0,
            key: KeyMaterial::from_base64(text("key")).unwrap(),
        };
        let ring = Arc::new(KeyRing::new(vec![ring]).unwrap());
        let carrier = Carrier::new(ring, text("domain"));
        let session = case["session"].as_str().map(crate::decode_hex);
        let session = session.transpose().unwrap();
        let binding = Binding {
            patient: case["patient"].as_str(),
            session: session.as_ref().map(|bytes| bytes.as_slice()),
        };
        let issued = case["issued"].as_i64().unwrap();
        let redeemed = carrier
            .redeem(text("token"), text("field"), binding, issued, Some(0))
            .unwrap();
        assert_eq!(redeemed.value.expose(), text("plaintext"));
        assert_eq!(redeemed.issued_unix, issued);
    }
}
