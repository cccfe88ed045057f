use super::*;

fn ring() -> RecordMacRing {
    let version = |id: &str, from_unix| RingMac {
        id: id.into(),
        from_unix,
        mac: RecordMac::new(id.as_bytes()),
    };
    RecordMacRing::new(vec![version("old", 10), version("new", 20)])
}

#[test]
fn rfc_4231_case_2_is_reproduced() {
    let hex = RecordMac::new(b"Jefe").hex(b"what do ya want for nothing?");
    assert_eq!(
        hex,
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}

#[test]
fn rfc_4231_case_6_with_a_key_longer_than_a_block_is_reproduced() {
    let hex =
        RecordMac::new(&[0xaa; 131]).hex(b"Test Using Larger Than Block-Size Key - Hash Key First");
    assert_eq!(
        hex,
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
    );
}

#[test]
fn only_the_exact_hash_verifies() {
    let mac = RecordMac::new(b"k");
    let hex = mac.hex(b"{}");
    assert!(mac.verify(b"{}", &hex));
    let short = hex.get(..63).unwrap();
    let last = if hex.ends_with('0') { '1' } else { '0' };
    let changed = format!("{short}{last}");
    for wrong in [
        "",
        short,
        &format!("{hex}0"),
        &hex.to_uppercase(),
        &format!(" {hex}"),
        &changed,
    ] {
        assert!(!mac.verify(b"{}", wrong), "{wrong}");
    }
    assert!(!mac.verify(b"{} ", &hex));
    assert!(!RecordMac::new(b"l").verify(b"{}", &hex));
}

#[test]
fn the_newest_version_computes_and_every_version_verifies() {
    let ring = ring();
    let (old, new) = (
        RecordMac::new(b"old").hex(b"{}"),
        RecordMac::new(b"new").hex(b"{}"),
    );
    assert_eq!(ring.hex(b"{}", 9), None);
    assert_eq!(ring.hex(b"{}", 19), Some(old.clone()));
    assert_eq!(ring.hex(b"{}", 20), Some(new.clone()));
    assert!(ring.verify(b"{}", &old) && ring.verify(b"{}", &new));
    assert!(!ring.verify(b"{}", &RecordMac::new(b"other").hex(b"{}")));
    assert!(!RecordMacRing::new(Vec::new()).verify(b"{}", &old));
}

#[test]
fn debug_shows_nothing_of_the_key() {
    assert_eq!(format!("{:?}", RecordMac::new(b"secret")), "RecordMac(..)");
    assert!(!format!("{:?}", ring()).contains("Hmac"));
}

const RECORD: RecordV2<'_> = RecordV2 {
    domain: "clinic",
    patient: Some("p-1"),
    version: 7,
    created_by: "dr-1",
    created_at: "2026-11-23T05:06:07.000000",
    data: br#"{"a": 1}"#,
};

#[test]
fn every_vector_of_the_second_version_is_reproduced_and_verifies() {
    let lines = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/vectors/iv2.jsonl"
    ));
    assert_eq!(lines.lines().count(), 48);
    for line in lines.lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| case[name].as_str().unwrap();
        let ring = RecordMacRing::new(vec![RingMac {
            id: text("key_id").into(),
            from_unix: 0,
            mac: RecordMac::new(&crate::decode_base64(text("key")).unwrap()),
        }]);
        let record = RecordV2 {
            domain: text("domain"),
            patient: case["patient"].as_str(),
            version: case["version"].as_i64().unwrap(),
            created_by: text("created_by"),
            created_at: text("created_at"),
            data: text("data").as_bytes(),
        };
        assert_eq!(ring.seal_v2(&record, 0).as_deref(), Some(text("mac")));
        assert_eq!(ring.verify_v2(&record, text("mac")), Ok(()));
    }
}

#[test]
fn nothing_that_the_second_version_covers_can_be_changed() {
    let ring = ring();
    let mac = ring.seal_v2(&RECORD, 20).unwrap();
    assert!(looks_v2(&mac) && mac.len() == 59);
    assert_eq!(ring.verify_v2(&RECORD, &mac), Ok(()));
    for changed in [
        RecordV2 {
            domain: "other",
            ..RECORD
        },
        RecordV2 {
            patient: None,
            ..RECORD
        },
        RecordV2 {
            patient: Some(""),
            ..RECORD
        },
        RecordV2 {
            patient: Some("p-2"),
            ..RECORD
        },
        RecordV2 {
            version: 6,
            ..RECORD
        },
        RecordV2 {
            version: -7,
            ..RECORD
        },
        RecordV2 {
            created_by: "dr-2",
            ..RECORD
        },
        RecordV2 {
            created_at: "2026-11-23T05:06:07.000001",
            ..RECORD
        },
        RecordV2 {
            data: br#"{"a": 2}"#,
            ..RECORD
        },
        RecordV2 {
            data: b"",
            ..RECORD
        },
        // What one part loses its neighbour gains.
        RecordV2 {
            domain: "clini",
            patient: Some("cp-1"),
            ..RECORD
        },
        RecordV2 {
            created_by: "dr-",
            created_at: "12026-11-23T05:06:07.000000",
            ..RECORD
        },
        RecordV2 {
            created_at: "2026-11-23T05:06:07.000000{",
            data: br#""a": 1}"#,
            ..RECORD
        },
    ] {
        assert_eq!(ring.verify_v2(&changed, &mac), Err(VerifyError::Mismatch));
    }
}

#[test]
fn a_mac_of_an_unknown_key_is_told_from_one_that_does_not_match() {
    let ring = ring();
    let mac = ring.seal_v2(&RECORD, 19).unwrap();
    assert_ne!(ring.seal_v2(&RECORD, 20).unwrap(), mac);
    assert_eq!(ring.seal_v2(&RECORD, 9), None);
    assert_eq!(ring.verify_v2(&RECORD, &mac), Ok(()));
    let new = || RingMac {
        id: "new".into(),
        from_unix: 20,
        mac: RecordMac::new(b"new"),
    };
    let alone = RecordMacRing::new(vec![new()]);
    assert_eq!(alone.verify_v2(&RECORD, &mac), Err(VerifyError::UnknownKey));
    let destroyed = Entry::Destroyed { id: "old".into() };
    let gone = RecordMacRing::with_states(vec![Entry::Active(new()), destroyed]);
    assert_eq!(gone.verify_v2(&RECORD, &mac), Err(VerifyError::UnknownKey));
    // The key's name on another key.
    let renamed = RecordMacRing::new(vec![RingMac {
        id: "old".into(),
        ..new()
    }]);
    assert_eq!(renamed.verify_v2(&RECORD, &mac), Err(VerifyError::Mismatch));
}

#[test]
fn a_decrypt_only_key_verifies_and_does_not_compute() {
    let version = |id: &str, from_unix| RingMac {
        id: id.into(),
        from_unix,
        mac: RecordMac::new(id.as_bytes()),
    };
    let ring = RecordMacRing::with_states(vec![
        Entry::DecryptOnly(version("new", 20)),
        Entry::Active(version("old", 10)),
    ]);
    assert_eq!(ring.sealing(30).map(|it| it.id.as_str()), Some("old"));
    let new = RecordMacRing::new(vec![version("new", 20)]);
    let (hex, v2) = (
        new.hex(b"{}", 30).unwrap(),
        new.seal_v2(&RECORD, 30).unwrap(),
    );
    assert!(ring.verify(b"{}", &hex));
    assert_eq!(ring.verify_v2(&RECORD, &v2), Ok(()));
}

#[test]
fn any_flipped_bit_and_any_other_text_is_no_mac_of_the_second_version() {
    let ring = ring();
    let mac = ring.seal_v2(&RECORD, 20).unwrap();
    let raw = base64_simd::URL_SAFE_NO_PAD
        .decode_to_vec(mac.strip_prefix("iv2.").unwrap())
        .unwrap();
    for bit in 0..raw.len() * 8 {
        let mut changed = raw.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let text = base64_simd::URL_SAFE_NO_PAD.encode_to_string(changed);
        let expected = if (8..72).contains(&bit) {
            VerifyError::UnknownKey
        } else {
            VerifyError::Mismatch
        };
        assert_eq!(
            ring.verify_v2(&RECORD, &format!("iv2.{text}")),
            Err(expected),
            "{bit}"
        );
    }
    for text in [
        String::new(),
        "iv2.".to_owned(),
        mac.replacen("iv2.", "iv1.", 1),
        format!("{mac}A"),
        format!("{mac}="),
        format!(" {mac}"),
        mac.get(..58).unwrap().to_owned(),
        RecordMac::new(b"new").hex(RECORD.data),
    ] {
        assert_eq!(
            ring.verify_v2(&RECORD, &text),
            Err(VerifyError::Mismatch),
            "{text}"
        );
    }
}

#[test]
fn the_two_versions_are_macs_under_different_keys() {
    let mac = RecordMac::new(b"k");
    let same = |key: &Hmac<Sha256>| key.clone().chain_update(b"x").finalize().into_bytes();
    assert_ne!(same(&mac.seed), same(&mac.second));
    assert_eq!(format!("{RECORD:?}"), "RecordV2(..)");
}
