//! Notes, keys and the events that hold them.

use super::*;
use crate::keys::{AuditKey, AuditKeys};

const POD: &[u8] = b"\"pod-0\"";

fn ring() -> AuditKeys {
    AuditKeys::new(vec![
        AuditKey::new("aud 1+x", 0, [1; 32]),
        AuditKey::new("aud-2", i64::MAX, [2; 32]),
    ])
    .unwrap()
}

fn record(event: EventName) -> Record {
    let keys = ring();
    let key = keys.sealing(0).unwrap();
    let sealer = Sealer::new(key.signer().unwrap(), key.ratchet("c-1").unwrap());
    let here = Here {
        chain: "c-1",
        size: 7,
        root: [3; 32],
        event,
        stamp: Stamp {
            uid: Uuid::nil(),
            micros: 1_763_850_142_000_001,
            stranger: false,
        },
        last: [4; 32],
    };
    let place = Place {
        chain: "c-1",
        pod: POD,
        seq: 7,
        prev: &[4; 32],
    };
    let mut out = Vec::new();
    sealer.seal(&here).append(&place, &mut out);
    Record::parse(&out).unwrap()
}

fn signed(event: EventName) -> SignedCheckpoint {
    SignedCheckpoint::of(&record(event)).unwrap().unwrap()
}

#[test]
fn a_record_a_note_and_back_are_one_checkpoint() {
    for event in [EventName::AuditCheckpoint, EventName::AuditStopped] {
        let signed = signed(event);
        assert_eq!(
            SignedCheckpoint::parse(&signed.note()).as_ref(),
            Ok(&signed)
        );
        let [key, other] = <[VerifierKey; 2]>::try_from(ring().verifier_keys()).unwrap();
        assert!(signed.holds(&key) && !signed.holds(&other));
        assert!(signed.is_whole(&record(event), POD));
        assert!(!signed.is_whole(&record(event), b"\"pod-1\""));
        assert!(
            signed
                .checkpoint
                .mac_holds(&ring().sealing(0).unwrap().ratchet("c-1").unwrap())
        );
    }
    let note = signed(EventName::AuditCheckpoint).note();
    let lines: Vec<_> = note.lines().collect();
    assert_eq!(lines[..2], ["safeguard/audit/c-1", "7"]);
    assert!(lines[3].ends_with(" 2025-11-22T22:22:22.000001Z"), "{note}");
    assert!(
        lines[7].starts_with("\u{2014} safeguard/audit/key/aud_1_x "),
        "{note}"
    );
}

#[test]
fn every_change_of_a_note_is_found() {
    let note = signed(EventName::AuditCheckpoint).note();
    let key = &ring().verifier_keys()[0];
    let letters: Vec<char> = note.chars().collect();
    for at in 0..letters.len() {
        for other in ['0', 'A', '\n', ' '] {
            let mut changed = letters.clone();
            changed[at] = other;
            let read = SignedCheckpoint::parse(&changed.iter().collect::<String>());
            assert!(
                changed == letters || read.is_err() || !read.unwrap().holds(key),
                "letter {at}"
            );
        }
    }
    assert!(SignedCheckpoint::parse(&"x".repeat(NOTE_BYTES_MAX + 1)).is_err());
}

#[test]
fn the_signature_of_a_witness_does_no_harm() {
    let signed = signed(EventName::AuditCheckpoint);
    let (text, own) = signed
        .note()
        .split_once("\n\n")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let noted = format!("{text}\n\n\u{2014} witness.example AAAA\n{own}");
    assert_eq!(SignedCheckpoint::parse(&noted), Ok(signed));
}

#[test]
fn a_public_key_is_text_and_back_and_its_hash_is_checked() {
    for key in ring().verifier_keys() {
        let text = key.to_string();
        assert_eq!(VerifierKey::parse(&text).as_ref(), Ok(&key));
        assert_eq!(text.split('+').next(), Some(key.name()));
        let renamed = text.replacen("/key/", "/key/x", 1);
        assert_eq!(VerifierKey::parse(&renamed), Err(NoteError::Key));
    }
    assert!(VerifierKey::parse("safeguard/audit/key/a+00000000+AQ==").is_err());
}
