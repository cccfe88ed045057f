//! The tamper matrix as a table: what somebody without the keys can do to a log, judged with the ring's key and with the public key alone. Each case is found, and
//! names the first bad event. He knows the format: checksums, and where he cares to, hashes and numbers are right.

use super::*;
use crate::checkpoint::VerifierKey;
use crate::record::fingerprint;

/// Events of the log below, which has 15 records: checkpoints are 4, 9 and the last, the end marker.
const EVENTS: usize = 12;

fn whole() -> Log {
    let log = Log::empty(1 << 20);
    log.run(EVENTS, 4, true);
    log
}

fn public() -> Vec<VerifierKey> {
    keys().verifier_keys()
}

fn judged(log: &Log, anchors: &Anchors) -> Report {
    directory(&log.spool, &public(), anchors, |_| {}).unwrap()
}

/// The frames of the one segment.
fn frames(log: &Log) -> Vec<Vec<u8>> {
    let (bytes, borders) = (fs::read(log.segment(0)).unwrap(), log.borders(0));
    borders
        .windows(2)
        .map(|pair| bytes[pair[0]..pair[1]].to_vec())
        .collect()
}

fn json(frame: &[u8]) -> Vec<u8> {
    claimed(frame).unwrap().to_vec()
}

/// A frame with another content, its length and checksum right, its MAC the old one.
fn reframed(frame: &[u8], content: &[u8]) -> Vec<u8> {
    let record = Record::parse(content).unwrap();
    let mut body = frame[8..17].to_vec();
    body.extend_from_slice(&record.seq().to_be_bytes());
    body.extend_from_slice(record.prev());
    body.extend_from_slice(content);
    body.extend_from_slice(&frame[frame.len() - 32..]);
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&length), &body).to_be_bytes();
    [&length[..], &checksum, &body].concat()
}

fn replaced(frame: &[u8], from: &str, to: &str) -> Vec<u8> {
    let content = String::from_utf8(json(frame)).unwrap();
    assert!(content.contains(from), "{content}");
    reframed(frame, content.replacen(from, to, 1).as_bytes())
}

fn edited(frame: &[u8]) -> Vec<u8> {
    replaced(frame, "\"success\"", "\"failure\"")
}

/// Every record from `at` on holds the hash of the one before it, and its number.
fn rechained(mut frames: Vec<Vec<u8>>, at: usize) -> Vec<Vec<u8>> {
    for n in at..frames.len() {
        let before = fingerprint(&json(&frames[n - 1]));
        let mut value: serde_json::Value = serde_json::from_slice(&json(&frames[n])).unwrap();
        value["prev"] = crate::keys::hex(&before).into();
        value["seq"] = n.into();
        frames[n] = reframed(&frames[n], &serde_json::to_vec(&value).unwrap());
    }
    frames
}

type Change = fn(Vec<Vec<u8>>) -> Vec<Vec<u8>>;

/// What was done; the last record before and the one that lies there, by number; the same without the ring's key.
type Case = (
    &'static str,
    Change,
    (Option<u64>, Option<u64>),
    (Option<u64>, Option<u64>),
);

const MATRIX: &[Case] = &[
    (
        "edit",
        |mut frames| {
            frames[6] = edited(&frames[6]);
            frames
        },
        (Some(5), Some(6)),
        (Some(5), Some(6)),
    ),
    (
        "edit of the last record before a checkpoint",
        |mut frames| {
            frames[8] = edited(&frames[8]);
            frames
        },
        (Some(7), Some(8)),
        (Some(7), Some(8)),
    ),
    (
        "edit of a checkpoint",
        |mut frames| {
            frames[9] = replaced(&frames[9], "\"epoch\":1", "\"epoch\":2");
            frames
        },
        (Some(8), Some(9)),
        (Some(8), Some(9)),
    ),
    (
        "edit of the end marker",
        |mut frames| {
            frames[14] = replaced(
                &frames[14],
                "\"severity\":\"notice\"",
                "\"severity\":\"warning\"",
            );
            frames
        },
        (Some(13), Some(14)),
        (Some(13), Some(14)),
    ),
    (
        "edit, and every hash after it made anew",
        |mut frames| {
            frames[6] = edited(&frames[6]);
            rechained(frames, 7)
        },
        (Some(5), Some(6)),
        // Between two checkpoints nothing tells which: the checkpoint names them all.
        (Some(8), Some(9)),
    ),
    (
        "delete",
        |mut frames| {
            frames.remove(6);
            frames
        },
        (Some(5), Some(7)),
        (Some(5), Some(7)),
    ),
    (
        "delete, and every number and hash after it made anew",
        |mut frames| {
            frames.remove(6);
            rechained(frames, 6)
        },
        (Some(5), Some(6)),
        (Some(7), Some(8)),
    ),
    (
        "delete of the first",
        |mut frames| {
            frames.remove(0);
            frames
        },
        (None, Some(1)),
        // A copy may begin anywhere; its first checkpoint holds only from there.
        (None, None),
    ),
    (
        "insert",
        |mut frames| {
            let forged = edited(&frames[6]);
            frames.insert(7, forged);
            frames
        },
        (Some(6), Some(6)),
        (Some(6), Some(6)),
    ),
    (
        "insert, and every number and hash after it made anew",
        |mut frames| {
            let forged = edited(&frames[6]);
            frames.insert(7, forged);
            rechained(frames, 7)
        },
        (Some(6), Some(7)),
        (Some(9), Some(10)),
    ),
    (
        "swap",
        |mut frames| {
            frames.swap(6, 7);
            frames
        },
        (Some(5), Some(7)),
        (Some(5), Some(7)),
    ),
    (
        "replay",
        |mut frames| {
            let again = frames[2..8].to_vec();
            frames.splice(8..8, again);
            frames
        },
        (Some(7), Some(2)),
        (Some(7), Some(2)),
    ),
    (
        "truncate inside a record",
        |mut frames| {
            frames.truncate(8);
            frames[7].truncate(100);
            frames
        },
        (Some(6), None),
        (None, None),
    ),
    (
        "truncate",
        |mut frames| {
            frames.truncate(8);
            frames
        },
        (Some(7), None),
        (None, None),
    ),
];

#[test]
fn each_case_is_found_and_names_the_first_bad_event_with_the_ring_and_with_the_public_key() {
    for (what, change, ring, public) in MATRIX {
        let log = whole();
        let records = log.records();
        assert_eq!(records.len(), 15);
        let anchors = Anchors::of(&records);
        fs::write(log.segment(0), change(frames(&log)).concat()).unwrap();
        let named = |report: &Report| {
            let problem = report.problem.as_ref();
            (
                problem.and_then(|p| p.after.as_ref()).map(|p| p.seq),
                problem.and_then(|p| p.claims.as_ref()).map(|p| p.seq),
            )
        };
        let report = log.report();
        assert!(!report.whole(), "{what}");
        assert_eq!(named(&report), *ring, "{what}: {:?}", report.problem);
        let report = judged(&log, &Anchors::default());
        assert_eq!(named(&report), *public, "{what}: {:?}", report.problem);
        // What the copy alone can't tell is told by an anchor.
        if report.whole() {
            assert!(!report.notices.is_empty(), "{what}");
            let anchored = judged(&log, &anchors);
            let is_middle = matches!(report.notices[..], [Notice::Middle(_), ..]);
            assert!(!anchored.whole() || is_middle, "{what}");
        }
    }
}

#[test]
fn what_was_made_anew_names_every_record_that_may_have_been_changed() {
    let log = whole();
    let mut frames = frames(&log);
    frames[6] = edited(&frames[6]);
    fs::write(log.segment(0), rechained(frames, 7).concat()).unwrap();
    let problem = judged(&log, &Anchors::default()).problem.unwrap();
    assert_eq!(
        problem.what,
        Fault::Checkpoint {
            what: CheckpointFault::Signature,
            first: 5,
            at: 9
        }
    );
}

#[test]
fn without_any_checkpoint_nothing_is_proved_and_an_anchor_finds_what_was_changed() {
    let log = whole();
    let anchors = Anchors::of(&log.records());
    let mut frames = frames(&log);
    frames[6] = edited(&frames[6]);
    let kept = frames.into_iter().filter(|frame| {
        !String::from_utf8(json(frame))
            .unwrap()
            .contains("signature")
    });
    let forged = rechained(kept.collect(), 1);
    fs::write(log.segment(0), forged.concat()).unwrap();
    let alone = judged(&log, &Anchors::default());
    assert_eq!(alone.problem.map(|p| p.what), Some(Fault::Unsigned));
    let anchored = judged(&log, &anchors).problem.unwrap().what;
    assert!(
        matches!(anchored, Fault::NotTheAnchors { size: 9, .. }),
        "{anchored}"
    );
}

fn copied(log: &Log) -> Log {
    let copy = Log::empty(log.segment_bytes);
    for (from, to) in [(&log.spool, &copy.spool), (&log.state, &copy.state)] {
        fs::create_dir(to).unwrap();
        for file in fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    copy
}

#[test]
fn a_snapshot_that_was_restored_with_its_head_verifies_and_an_anchor_finds_it() {
    let log = whole();
    let old = copied(&log);
    log.run(6, 2, true);
    let anchors = Anchors::of(&log.records());
    assert!(old.report().whole() && judged(&old, &Anchors::default()).whole());
    for report in [
        anchored(&old.spool, &old.state, &keys(), &anchors, |_| {}).unwrap(),
        judged(&old, &anchors),
    ] {
        let what = report.problem.unwrap().what;
        assert!(matches!(what, Fault::BehindAnchor { has: 0, .. }), "{what}");
    }
    let held = anchored(&log.spool, &log.state, &keys(), &anchors, |_| {}).unwrap();
    assert!(held.whole());
    assert_eq!(held.anchors, anchors.count());
}

#[test]
fn a_log_that_went_on_in_two_places_has_two_names_and_each_is_found_against_the_others_anchors() {
    let log = whole();
    let fork = copied(&log);
    log.run(6, 2, true);
    fork.run(6, 2, true);
    let last = |log: &Log| log.records().last().unwrap().chain().to_owned();
    // No sink takes the events of one for those of the other.
    assert_ne!(last(&log), last(&fork));
    for (one, other) in [(&log, &fork), (&fork, &log)] {
        let anchors = Anchors::of(&other.records());
        let report = anchored(&one.spool, &one.state, &keys(), &anchors, |_| {}).unwrap();
        assert!(!report.whole());
    }
}

#[test]
fn two_writers_on_one_log_are_found_at_the_first_record_of_the_second() {
    let log = whole();
    let fork = copied(&log);
    log.run(6, 2, true);
    fork.run(6, 2, true);
    let (ours, theirs) = (frames(&log), frames(&fork));
    let mixed: Vec<_> = (0..ours.len())
        .flat_map(|n| match n {
            0..15 => vec![ours[n].clone()],
            _ => vec![ours[n].clone(), theirs[n].clone()],
        })
        .collect();
    fs::write(log.segment(0), mixed.concat()).unwrap();
    for problem in [
        log.report().problem.unwrap(),
        judged(&log, &Anchors::default()).problem.unwrap(),
    ] {
        assert_eq!(problem.what, Fault::Record(WalkError::Prev));
        let claims = problem.claims.unwrap();
        assert_eq!(
            claims.chain,
            Record::parse(&json(&theirs[15])).unwrap().chain()
        );
        assert_eq!(claims.seq, 0);
    }
}

#[test]
fn an_export_is_judged_as_the_segments_are_and_names_the_line() {
    let log = whole();
    let text = |frames: &[Vec<u8>]| {
        let lines = frames
            .iter()
            .map(|frame| [json(frame), b"\n".to_vec()].concat());
        lines.collect::<Vec<_>>().concat()
    };
    let judge = |bytes: &[u8]| {
        let mut input = bytes;
        lines(&mut input, &public(), &Anchors::default(), |_| {}).unwrap()
    };
    let mut frames = frames(&log);
    let report = judge(&text(&frames));
    // The checkpoints of these logs were made in 1970.
    let [Notice::ClockBack(3, place)] = &report.notices[..] else {
        panic!("{report:?}")
    };
    assert!(report.whole() && place.seq == 4);
    assert_eq!((report.records, report.checkpoints), (15, 3));
    frames[6] = edited(&frames[6]);
    let problem = judge(&text(&frames)).problem.unwrap();
    assert_eq!(
        (problem.line, problem.what.clone()),
        (Some(7), Fault::Changed)
    );
    assert!(problem.to_string().starts_with("line 7: "), "{problem}");
    frames.remove(6);
    let problem = judge(&text(&frames)).problem.unwrap();
    assert_eq!((problem.line, problem.missing()), (Some(7), Some((6, 6))));
    assert_eq!(judge(b"{}\n").problem.unwrap().line, Some(1));
}

#[test]
fn clocks_that_jump_runs_without_an_end_and_calls_without_an_outcome_are_told() {
    use crate::event::{Event, Outcome, Place as Put, Rendered, Stamp};
    let (exchange, lost, stray) = (1, 2, 3);
    let second = |n: i64| n * 1_000_000;
    let started =
        || Event::new(EventName::AuditStarted, Outcome::Success).detail("heartbeat_seconds", 300);
    let call = |name, exchange| Event {
        exchange: Some(uuid::Uuid::from_u128(exchange)),
        ..Event::new(name, Outcome::Success)
    };
    let events = [
        ("a", 0, started()),
        ("a", 1, call(EventName::PhiAccessGranted, exchange)),
        ("a", 2, call(EventName::PhiAccessGranted, lost)),
        ("a", 3, call(EventName::PhiRead, exchange)),
        ("a", 4, call(EventName::PhiRead, exchange)),
        ("a", 5, call(EventName::PhiUpdate, stray)),
        ("a", 3, Event::new(EventName::UserLogin, Outcome::Success)),
        ("b", 9, started()),
    ];
    let ring = keys();
    let anchors = Anchors::default();
    let mut cover = Cover::new(Trust::Ring(&ring), &anchors);
    let (mut prev, mut seq, mut run) = ([0; 32], 0, "a");
    for (chain, time, event) in events {
        seq = if run == chain { seq } else { 0 };
        run = chain;
        let stamp = Stamp {
            uid: uuid::Uuid::from_u128(u128::from(seq)),
            micros: second(time),
            stranger: false,
        };
        let put = Put {
            chain,
            pod: b"\"p\"",
            seq,
            prev: &prev,
        };
        let mut out = Vec::new();
        Rendered::of(&event, stamp).append(&put, &mut out);
        let record = Record::parse(&out).unwrap();
        cover.see(&record).unwrap();
        (prev, seq) = (record.hash(), seq + 1);
    }
    cover.finish().unwrap();
    let mut report = Report::default();
    cover.fill(&mut report);
    let told: Vec<_> = report
        .notices
        .iter()
        .map(|notice| match notice {
            Notice::NoEndMarker => ("no end", 0, 0),
            Notice::Unended(runs, places) => ("unended", *runs, places.0.seq),
            Notice::ClockBack(times, place) => ("back", *times, place.seq),
            Notice::NoOutcome(times, place) => ("no outcome", *times, place.seq),
            Notice::NoIntent(times, place) => ("no intent", *times, place.seq),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            ("no end", 0, 0),
            ("unended", 1, 6),
            ("back", 1, 6),
            ("no outcome", 1, 2),
            ("no intent", 1, 5)
        ]
    );
}

#[test]
fn who_took_the_keys_of_a_later_moment_cannot_make_an_earlier_checkpoint() {
    use crate::checkpoint::{Here, Sealer};
    use crate::event::{Event, Outcome, Rendered, Stamp};
    let stamp = |n| Stamp {
        uid: uuid::Uuid::from_u128(n),
        micros: 1,
        stranger: false,
    };
    let ring = keys();
    let key = ring.sealing(0).unwrap();
    // All that the running process holds: the signing key, and a later key of the ratchet.
    let mut ratchet = key.ratchet("c").unwrap();
    let forged = |ratchet| {
        let mut out = Vec::new();
        let place = |seq, prev| crate::event::Place {
            chain: "c",
            pod: b"\"p\"",
            seq,
            prev,
        };
        let started = Event::new(EventName::AuditStarted, Outcome::Success);
        Rendered::of(&started, stamp(1)).append(&place(0, &[0; 32]), &mut out);
        let first = Record::parse(&out).unwrap();
        let mut tree = crate::tree::Tree::default();
        tree.append(first.hash());
        let here = Here {
            chain: "c",
            size: 1,
            root: tree.root(),
            event: EventName::AuditCheckpoint,
            stamp: stamp(2),
            last: first.hash(),
        };
        out.clear();
        let sealer = Sealer::new(key.signer().unwrap(), ratchet);
        sealer
            .seal(&here)
            .append(&place(1, &first.hash()), &mut out);
        [first, Record::parse(&out).unwrap()]
    };
    let judge = |trust: Trust<'_>, records: &[Record]| {
        let anchors = Anchors::default();
        let mut cover = Cover::new(trust, &anchors);
        records.iter().try_for_each(|record| cover.see(record))
    };
    let fault = |what| {
        Err(Fault::Checkpoint {
            what,
            first: 0,
            at: 1,
        })
    };
    let honest = forged(key.ratchet("c").unwrap());
    assert_eq!(judge(Trust::Ring(&ring), &honest), Ok(()));
    ratchet.step();
    assert_eq!(
        judge(Trust::Ring(&ring), &forged(ratchet)),
        fault(CheckpointFault::Epoch)
    );
    let other = AuditKeys::new(vec![crate::AuditKey::new("aud-1", 0, [9; 32])]).unwrap();
    let ratchet = other.sealing(0).unwrap().ratchet("c").unwrap();
    let remade = forged(ratchet);
    assert_eq!(
        judge(Trust::Ring(&ring), &remade),
        fault(CheckpointFault::Mac)
    );
    let trusted = public();
    assert_eq!(judge(Trust::Public(&trusted), &remade), Ok(()));
    assert_eq!(
        judge(Trust::Public(&other.verifier_keys()), &remade),
        fault(CheckpointFault::UnknownKey)
    );
}
