//! The tamper matrix: every change up to the durable head is found, nothing behind it is held against the log.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::catalogue::EventName;
use crate::spool::disk::{Directory, Disk};
use crate::spool::model::keys;
use crate::spool::{SpoolSettings, Store};

mod matrix;

pub(crate) struct Log {
    _root: tempfile::TempDir,
    pub(crate) spool: PathBuf,
    pub(crate) state: PathBuf,
    segment_bytes: u64,
}

impl Log {
    /// A closed log of `commits` records, each committed alone, in small segments.
    fn new(commits: u64) -> Self {
        let log = Self::empty(1000);
        log.write(commits);
        log
    }

    fn empty(segment_bytes: u64) -> Self {
        let root = tempfile::tempdir().unwrap();
        Self {
            spool: root.path().join("spool"),
            state: root.path().join("state"),
            _root: root,
            segment_bytes,
        }
    }

    /// A closed log of one run with so many events, a checkpoint after every few, and its end marker, in small segments.
    pub(crate) fn checked(events: usize, every: usize) -> Self {
        let log = Self::empty(1500);
        log.run(events, every, true);
        log
    }

    /// One more run.
    fn run(&self, events: usize, every: usize, end: bool) {
        let mut store = self.store();
        for n in 0..events {
            if n > 0 && n % every == 0 {
                store.want_checkpoint();
            }
            let name = match n {
                0 => EventName::AuditStarted,
                _ => EventName::PhiRead,
            };
            assert!(store.commit_one(name).is_ok());
        }
        if end {
            assert!(store.mark_end(2));
            store.close(2).unwrap();
        }
    }

    /// The records, whatever is wrong with the log.
    pub(crate) fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        walk(&self.spool, &self.state, &keys(), |record| {
            records.push(record.clone());
        })
        .unwrap();
        records
    }

    pub(crate) fn flip_last_byte(&self, segment: u64) {
        let mut bytes = fs::read(self.segment(segment)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(self.segment(segment), bytes).unwrap();
    }

    fn store(&self) -> Store<Directory> {
        let disk = Directory::open(&self.spool, &self.state).unwrap().unwrap();
        let mut settings = SpoolSettings::new(&self.spool, &self.state);
        settings.segment_bytes = self.segment_bytes;
        Store::open(disk, Arc::new(keys()), Arc::new(settings), 1).unwrap()
    }

    fn write(&self, commits: u64) {
        let mut store = self.store();
        for n in 0..commits {
            let name = if n + 1 == commits {
                EventName::AuditStopped
            } else {
                EventName::PhiRead
            };
            assert!(store.commit_one(name).is_ok());
        }
        store.close(2).unwrap();
    }

    fn report(&self) -> Report {
        spool(&self.spool, &self.state, &keys()).unwrap()
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.spool.join(segment_name(number))
    }

    fn fault(&self) -> Fault {
        self.report()
            .problem
            .expect("the change must be found")
            .what
    }

    /// The frames' borders in a segment.
    fn borders(&self, number: u64) -> Vec<usize> {
        let bytes = fs::read(self.segment(number)).unwrap();
        let mut borders = vec![0];
        while let Some(rest) = bytes
            .get(borders[borders.len() - 1]..)
            .filter(|rest| !rest.is_empty())
        {
            let length = u32::from_be_bytes(*rest.first_chunk().unwrap()) as usize;
            borders.push(borders[borders.len() - 1] + 8 + length);
        }
        borders
    }
}

#[test]
fn a_clean_log_is_whole_and_has_no_notice() {
    let report = Log::new(9).report();
    assert!(report.whole());
    assert_eq!(
        (report.records, report.chains, report.notices.len()),
        (9, 1, 0)
    );
    assert!(report.segments > 2);
}

#[test]
fn a_second_run_is_one_chain_with_the_first() {
    let log = Log::new(4);
    log.write(4);
    let report = log.report();
    assert!(report.whole());
    assert_eq!((report.records, report.chains), (8, 2));
}

#[test]
fn every_flipped_byte_of_every_segment_is_found() {
    let log = Log::new(5);
    for number in 0..log.report().segments {
        let whole = fs::read(log.segment(number)).unwrap();
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 0x20;
            fs::write(log.segment(number), &bad).unwrap();
            assert!(!log.report().whole(), "segment {number} byte {at}");
        }
        fs::write(log.segment(number), &whole).unwrap();
    }
    assert!(log.report().whole());
}

#[test]
fn the_first_bad_record_is_named_by_the_one_before_it() {
    let log = Log::new(5);
    let borders = log.borders(0);
    let mut bytes = fs::read(log.segment(0)).unwrap();
    bytes[borders[1] + 60] ^= 1;
    fs::write(log.segment(0), &bytes).unwrap();
    let problem = log.report().problem.unwrap();
    assert_eq!(
        problem.at,
        Position {
            segment: 0,
            offset: borders[1] as u64
        }
    );
    assert_eq!(problem.after.as_ref().map(|place| place.seq), Some(0));
    assert!(problem.to_string().contains("phi_read 0 of"), "{problem}");
}

#[test]
fn the_first_bad_record_is_named_by_what_lies_in_its_place() {
    let log = Log::new(6);
    let (whole, borders) = (fs::read(log.segment(0)).unwrap(), log.borders(0));
    let mut flipped = whole.clone();
    // In the MAC: the content can still be read, and names the event that was changed.
    flipped[borders[2] - 1] ^= 1;
    fs::write(log.segment(0), &flipped).unwrap();
    let problem = log.report().problem.unwrap();
    assert_eq!(problem.claims.as_ref().map(|place| place.seq), Some(1));
    assert!(
        problem.to_string().contains("says that it is phi_read 1"),
        "{problem}"
    );
    // The record that took a removed one's place.
    fs::write(log.segment(0), &whole[borders[1]..]).unwrap();
    let problem = log.report().problem.unwrap();
    assert_eq!(problem.claims.map(|place| place.seq), Some(1));
    // What is no JSON any more names nothing.
    let mut broken = whole;
    broken[8 + 49] = b'[';
    fs::write(log.segment(0), &broken).unwrap();
    let problem = log.report().problem.unwrap();
    assert!(problem.claims.is_none());
    assert!(problem.to_string().contains("can't be read"), "{problem}");
}

#[test]
fn a_record_behind_the_head_that_no_crash_can_have_left_is_found_and_not_cut() {
    let log = Log::new(3);
    let rotated = || {
        AuditKeys::new(vec![
            crate::AuditKey::new("aud-1", 0, [1; 32]),
            crate::AuditKey::new("aud-2", 0, [2; 32]),
        ])
        .unwrap()
    };
    let open = |keys| {
        let disk = Directory::open(&log.spool, &log.state).unwrap().unwrap();
        let settings = SpoolSettings::new(&log.spool, &log.state);
        Store::open(disk, Arc::new(keys), Arc::new(settings), 1)
    };
    let old_head = fs::read(log.state.join("head")).unwrap();
    let mut store = open(rotated()).unwrap();
    assert!(store.commit_one(EventName::PhiRead).is_ok());
    drop(store);
    // As after a power failure, and then without the key that wrote the last record.
    fs::write(log.state.join("head"), old_head).unwrap();
    assert!(spool(&log.spool, &log.state, &rotated()).unwrap().whole());
    let unknown = WalkError::Frame(crate::spool::FrameError::UnknownKey);
    assert_eq!(log.fault(), Fault::Record(unknown));
    assert!(matches!(
        open(keys()),
        Err(crate::OpenError::Damaged { error, .. }) if error == unknown
    ));
    assert!(open(rotated()).is_ok());
}

#[test]
fn a_removed_record_and_a_swapped_pair_are_found() {
    let log = Log::new(6);
    let (whole, borders) = (fs::read(log.segment(0)).unwrap(), log.borders(0));
    assert!(borders.len() >= 3);
    let (first, second) = (&whole[..borders[1]], &whole[borders[1]..borders[2]]);
    let rest = &whole[borders[2]..];
    for bad in [
        [second, rest].concat(),
        [first, rest].concat(),
        [second, first, rest].concat(),
        [first, first, second, rest].concat(),
    ] {
        fs::write(log.segment(0), bad).unwrap();
        assert_eq!(log.fault(), Fault::Record(WalkError::Prev));
    }
}

#[test]
fn a_tail_cut_at_any_byte_below_the_head_is_found() {
    let log = Log::new(6);
    let last = log.report().segments - 1;
    let whole = fs::read(log.segment(last)).unwrap();
    for length in 0..whole.len() {
        fs::write(log.segment(last), &whole[..length]).unwrap();
        assert_eq!(log.fault(), Fault::Cut, "cut to {length}");
    }
}

#[test]
fn removed_segments_are_found_at_the_front_in_the_middle_and_at_the_end() {
    for number in [0, 1, 2] {
        let log = Log::new(7);
        assert_eq!(log.report().segments, 3);
        fs::remove_file(log.segment(number)).unwrap();
        assert_eq!(log.fault(), Fault::Missing);
    }
    let log = Log::new(7);
    fs::remove_dir_all(&log.spool).unwrap();
    fs::create_dir(&log.spool).unwrap();
    assert_eq!(log.fault(), Fault::Missing);
}

#[test]
fn a_replayed_segment_and_a_strange_file_are_found() {
    let log = Log::new(7);
    let old = fs::read(log.segment(0)).unwrap();
    let replaced = fs::read(log.segment(1)).unwrap();
    fs::write(log.segment(1), &old).unwrap();
    assert_eq!(log.fault(), Fault::Record(WalkError::Prev));
    fs::write(log.segment(1), replaced).unwrap();
    assert!(log.report().whole());
    fs::write(log.spool.join("notes.txt"), "x").unwrap();
    assert_eq!(log.fault(), Fault::Foreign("notes.txt".to_owned()));
}

#[test]
fn an_older_log_under_a_newer_head_and_the_reverse() {
    let log = Log::new(3);
    let copy = |from: &Path, to: &Path| {
        let _absent = fs::remove_dir_all(to);
        fs::create_dir(to).unwrap();
        for (name, _) in list(from).unwrap() {
            fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    };
    let (old_spool, old_state) = (
        log._root.path().join("old-spool"),
        log._root.path().join("old-state"),
    );
    copy(&log.spool, &old_spool);
    copy(&log.state, &old_state);
    log.write(3);
    let rolled_back = spool(&old_spool, &log.state, &keys()).unwrap();
    assert!(!rolled_back.whole());
    // An older head proves less, and what it proves is there: the head is what must be kept from going back.
    let behind = spool(&log.spool, &old_state, &keys()).unwrap();
    assert!(behind.notices.contains(&Notice::BehindHead(3)));
}

#[test]
fn another_logs_head_and_a_missing_one_are_found() {
    let (log, other) = (Log::new(6), Log::new(6));
    fs::copy(other.state.join("head"), log.state.join("head")).unwrap();
    assert!(matches!(log.fault(), Fault::NotTheHeads | Fault::Cut));
    fs::remove_file(log.state.join("head")).unwrap();
    assert_eq!(log.fault(), Fault::NoHead);
}

#[test]
fn wrong_keys_find_no_head() {
    let log = Log::new(3);
    let other = AuditKeys::new(vec![crate::AuditKey::new("aud-1", 0, [2; 32])]).unwrap();
    assert_eq!(
        spool(&log.spool, &log.state, &other)
            .unwrap()
            .problem
            .map(|p| p.what),
        Some(Fault::NoHead)
    );
}

#[test]
fn what_a_crash_leaves_behind_the_head_is_a_notice() {
    let log = Log::new(3);
    let last = log.report().segments - 1;
    let mut bytes = fs::read(log.segment(last)).unwrap();
    bytes.extend_from_slice(&[0, 0, 2, 0, 9, 9]);
    fs::write(log.segment(last), &bytes).unwrap();
    let report = log.report();
    assert!(report.whole());
    assert_eq!(report.notices, [Notice::Torn(6)]);
    // The next run cuts it and goes on.
    log.write(3);
    let report = log.report();
    assert!(report.whole() && report.notices.is_empty(), "{report:?}");
    assert_eq!(report.records, 6);
}

#[test]
fn a_log_without_end_marker_is_whole_with_a_notice() {
    let log = Log::new(3);
    let mut store = log.store();
    assert!(store.commit_one(EventName::PhiRead).is_ok());
    drop(store);
    let report = log.report();
    assert!(report.whole());
    assert_eq!(report.notices, [Notice::NoEndMarker]);
}

#[test]
fn opening_refuses_a_log_that_is_short_of_its_head() {
    let log = Log::new(7);
    let last = log.report().segments - 1;
    let bytes = fs::read(log.segment(last)).unwrap();
    fs::write(log.segment(last), &bytes[..bytes.len() - 1]).unwrap();
    let disk = Directory::open(&log.spool, &log.state).unwrap().unwrap();
    let settings = Arc::new(SpoolSettings::new(&log.spool, &log.state));
    let opened = Store::open(disk, Arc::new(keys()), settings, 1);
    assert!(matches!(opened, Err(crate::OpenError::Tampered { segment, .. }) if segment == last));
}

#[test]
fn opening_refuses_a_log_whose_head_was_removed_or_whose_patients_key_changed() {
    let log = Log::new(3);
    let settings = Arc::new(SpoolSettings::new(&log.spool, &log.state));
    let open = |keys| {
        let disk = Directory::open(&log.spool, &log.state).unwrap().unwrap();
        Store::open(disk, Arc::new(keys), Arc::clone(&settings), 1).err()
    };
    let swapped = AuditKeys::new(vec![
        crate::AuditKey::new("aud-2", 0, [2; 32]),
        crate::AuditKey::new("aud-1", 0, [1; 32]),
    ])
    .unwrap();
    assert!(matches!(
        open(swapped),
        Some(crate::OpenError::PseudonymKeyChanged)
    ));
    fs::remove_file(log.state.join("head")).unwrap();
    assert!(matches!(open(keys()), Some(crate::OpenError::HeadMissing)));
}

#[test]
fn segments_that_were_let_go_leave_a_log_that_verifies() {
    let log = Log::new(9);
    let mut store = log.store();
    store.release(2, 1).unwrap();
    assert!(store.commit_one(EventName::AuditStopped).is_ok());
    drop(store);
    assert!(!log.segment(0).exists() && !log.segment(1).exists());
    let report = log.report();
    assert!(report.whole(), "{:?}", report.problem);
    fs::remove_file(log.segment(2)).unwrap();
    assert_eq!(log.fault(), Fault::Missing);
}

#[test]
fn a_key_that_was_rotated_still_verifies_what_it_wrote() {
    let log = Log::new(3);
    let rotated = || {
        AuditKeys::new(vec![
            crate::AuditKey::new("aud-1", 0, [1; 32]),
            crate::AuditKey::new("aud-2", 0, [2; 32]),
        ])
        .unwrap()
    };
    let disk = Directory::open(&log.spool, &log.state).unwrap().unwrap();
    let mut store = Store::open(
        disk,
        Arc::new(rotated()),
        Arc::new(SpoolSettings::new(&log.spool, &log.state)),
        1,
    )
    .unwrap();
    assert!(store.commit_one(EventName::KeyRotated).is_ok());
    drop(store);
    assert!(spool(&log.spool, &log.state, &rotated()).unwrap().whole());
    assert!(
        !log.report().whole(),
        "without the new key its records prove nothing"
    );
    let _listed = Directory::open(&log.spool, &log.state)
        .unwrap()
        .unwrap()
        .list()
        .unwrap();
}
