//! The handle over real and simulated disks.

use super::*;
use crate::event::Detail;
use crate::spool::model::{SimDisk, keys};
use crate::verify;

fn event() -> Event<'static> {
    Event::new(EventName::PhiAccessGranted, Outcome::Success)
}

struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
        }
    }

    fn settings(&self) -> SpoolSettings {
        SpoolSettings::new(
            self.root.path().join("spool"),
            self.root.path().join("state"),
        )
    }

    fn open(&self) -> Trail {
        Trail::open(self.settings(), keys()).unwrap()
    }

    fn report(&self) -> verify::Report {
        let settings = self.settings();
        verify::spool(&settings.directory, &settings.state_directory, &keys()).unwrap()
    }
}

#[tokio::test]
async fn a_run_begins_with_its_genesis_and_ends_with_its_marker() {
    let place = Place::new();
    let trail = place.open();
    let receipt = trail.record(event()).durable().await.unwrap();
    assert_eq!((receipt.seq(), receipt.chain()), (1, trail.chain()));
    trail.close().await.unwrap();
    assert_eq!(
        trail.record(event()).durable().await,
        Err(NotDurable::Closed)
    );
    assert_eq!(trail.health().state, SpoolState::Closed);
    let report = place.report();
    assert!(report.whole() && report.notices.is_empty(), "{report:?}");
    assert_eq!(
        (report.records, report.last.unwrap().event),
        (3, EventName::AuditStopped)
    );
}

#[tokio::test]
async fn a_checkpoint_follows_1024_records_and_comes_when_nothing_happens_and_the_gauge_tells() {
    let place = Place::new();
    let mut settings = place.settings();
    settings.heartbeat = std::time::Duration::from_millis(20);
    let trail = Trail::open(settings, keys()).unwrap();
    let checkpoints = || {
        let metrics = trail.metrics();
        let mut events = metrics.events.iter();
        let made = events.find(|(name, _)| *name == EventName::AuditCheckpoint);
        (made.unwrap().1, metrics.last_checkpoint_micros)
    };
    let opened = now_micros();
    let (mut ago, mut beats) = (0, 0);
    while beats < 3 {
        tokio::task::yield_now().await;
        let (made, when) = checkpoints();
        beats = beats.max(made);
        ago = when;
    }
    assert!((opened - 1_000_000..=now_micros()).contains(&ago));
    trail.close().await.unwrap();
    let report = place.report();
    assert!(report.whole() && report.notices.is_empty(), "{report:?}");
    // The end marker is one too.
    assert!(report.checkpoints > 3);

    let place = Place::new();
    let trail = place.open();
    let waiting: Vec<_> = (0..3000).map(|_| trail.record(event())).collect();
    for pending in waiting {
        pending.durable().await.unwrap();
    }
    trail.record(event()).durable().await.unwrap();
    trail.close().await.unwrap();
    let report = place.report();
    assert!(report.whole() && report.checkpoints >= 2, "{report:?}");
}

#[tokio::test]
async fn a_closed_spool_opens_again_as_a_new_chain() {
    let place = Place::new();
    let first = place.open();
    first.close().await.unwrap();
    let second = place.open();
    assert_ne!(first.chain(), second.chain());
    drop(second);
    assert_eq!(place.report().chains, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_waiters_all_get_their_own_receipt() {
    let place = Place::new();
    let trail = place.open();
    let waiting: Vec<_> = (0..1000).map(|_| trail.record(event())).collect();
    let mut seen = std::collections::BTreeSet::new();
    for pending in waiting {
        let uid = pending.uid();
        let receipt = pending.durable().await.unwrap();
        assert_eq!(receipt.uid(), uid);
        assert!(seen.insert(receipt.seq()));
    }
    let metrics = trail.metrics();
    // With the genesis, and at most a few checkpoints.
    assert!((1001..1010).contains(&metrics.spool_records));
    let granted = metrics
        .events
        .iter()
        .find(|(name, _)| *name == EventName::PhiAccessGranted);
    assert_eq!(granted.unwrap().1, 1000);
}

#[tokio::test]
async fn dropping_a_pending_does_not_take_the_event_back() {
    let place = Place::new();
    let trail = place.open();
    drop(trail.record(event()));
    trail.close().await.unwrap();
    assert_eq!(place.report().records, 3);
}

#[test]
fn a_second_process_on_one_spool_is_refused() {
    let place = Place::new();
    let _first = place.open();
    assert!(matches!(
        Trail::open(place.settings(), keys()),
        Err(OpenError::Locked)
    ));
}

#[test]
fn a_state_directory_inside_the_spool_is_refused() {
    let place = Place::new();
    let mut settings = place.settings();
    settings.state_directory = settings.directory.join("state");
    assert!(matches!(
        Trail::open(settings, keys()),
        Err(OpenError::Nested)
    ));
}

#[tokio::test]
async fn a_disk_without_space_refuses_and_recovers_by_itself() {
    let place = Place::new();
    let disk = SimDisk::default();
    let trail = Trail::open_on(disk.clone(), place.settings(), keys()).unwrap();
    disk.fill(usize::MAX);
    assert_eq!(
        trail.record(event()).durable().await,
        Err(NotDurable::Failed)
    );
    assert_eq!(trail.health().state, SpoolState::Failed);
    assert!(!trail.health().ready());
    disk.fill(0);
    let receipt = trail.record(event()).durable().await.unwrap();
    assert_eq!(receipt.seq(), 1, "the refused event left no gap");
    assert!(trail.health().ready());
    assert_eq!(trail.metrics().refused, 1);
}

#[tokio::test]
async fn the_head_is_synced_by_count_and_by_time_and_not_with_every_commit() {
    let place = Place::new();
    let disk = SimDisk::default();
    let begun = Instant::now();
    let trail = Trail::open_on(disk.clone(), place.settings(), keys()).unwrap();
    let covered = || disk.records_under_durable_head(&keys());
    trail.record(event()).durable().await.unwrap();
    // On a machine so slow that it became due meanwhile there is nothing to see.
    let soon = covered() == 0 || begun.elapsed() >= std::time::Duration::from_secs(1);
    assert!(soon, "an acknowledgement does not wait for the head's sync");
    let waiting: Vec<_> = (0..1100).map(|_| trail.record(event())).collect();
    for pending in waiting {
        pending.durable().await.unwrap();
    }
    // This commit comes after the sync that the ones before it made due.
    trail.record(event()).durable().await.unwrap();
    assert!(covered() >= 1024, "{}", covered());
    // The rest is covered without any further event.
    let mut look = tokio::time::interval(std::time::Duration::from_millis(20));
    while covered() < 1103 {
        look.tick().await;
    }
}

#[tokio::test]
async fn a_full_spool_refuses_known_peers_but_still_ends_with_its_marker() {
    let place = Place::new();
    let mut settings = place.settings();
    settings.max_bytes = 40_000;
    let trail = Trail::open(settings, keys()).unwrap();
    let mut nearly = false;
    while trail.record(event()).durable().await.is_ok() {
        nearly |= trail.health().state == SpoolState::NearlyFull;
    }
    assert!(nearly, "80 % is told before the end");
    assert_eq!(
        trail.record(event()).durable().await,
        Err(NotDurable::SpoolFull)
    );
    assert_eq!(trail.health().state, SpoolState::Full);
    trail.close().await.unwrap();
    let report = place.report();
    assert!(report.whole() && report.notices.is_empty(), "{report:?}");
}

#[tokio::test]
async fn strangers_fill_their_share_and_no_more() {
    let place = Place::new();
    let mut settings = place.settings();
    settings.max_bytes = 100_000;
    settings.strangers_percent = 5;
    let trail = Trail::open(settings, keys()).unwrap();
    let mut refused = 0;
    for n in 0..200_u32 {
        let mut failed = Event::new(EventName::FailedLoginAttempt, Outcome::Denied);
        failed.source = Some(std::net::Ipv4Addr::from(n << 8).into());
        let pending = trail
            .record_unauthenticated(failed)
            .expect("each source is new");
        refused += u32::from(pending.durable().await == Err(NotDurable::StrangersFull));
    }
    assert!((150..200).contains(&refused), "{refused}");
    assert!(trail.record(event()).durable().await.is_ok());
    drop(trail);
    // The share is remembered over a restart.
    let mut settings = place.settings();
    settings.max_bytes = 100_000;
    settings.strangers_percent = 5;
    let trail = Trail::open(settings, keys()).unwrap();
    let mut failed = Event::new(EventName::FailedLoginAttempt, Outcome::Denied);
    failed.source = Some(std::net::Ipv4Addr::from(u32::MAX).into());
    let again = trail.record_unauthenticated(failed).unwrap();
    assert_eq!(again.durable().await, Err(NotDurable::StrangersFull));
}

#[tokio::test]
async fn what_a_stranger_repeats_is_written_as_one_count() {
    let place = Place::new();
    let trail = place.open();
    let failed = || {
        Event::new(EventName::NodeAuthenticationFailed, Outcome::Denied).reason("no_certificate")
    };
    assert!(trail.record_unauthenticated(failed()).is_some());
    for _ in 0..50 {
        assert!(trail.record_unauthenticated(failed()).is_none());
    }
    trail.close().await.unwrap();
    let settings = place.settings();
    let query = crate::query::Query {
        events: vec![EventName::NodeAuthenticationFailed],
        ..Default::default()
    };
    let answer = crate::query::spool(
        &settings.directory,
        &settings.state_directory,
        &keys(),
        &query,
    )
    .unwrap();
    assert_eq!(answer.records.len(), 2);
    assert_eq!(answer.records[1].value()["details"]["count"], 50);
    assert_eq!(answer.records[1].text(&["peer"]), Some("unauthenticated"));
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let place = Place::new();
    let mut settings = place.settings();
    settings.queue_max = 4;
    let disk = SimDisk::default();
    let trail = Trail::open_on(disk.clone(), settings, keys()).unwrap();
    let held = disk.hold();
    let waiting: Vec<_> = (0..20_000).map(|_| trail.record(event())).collect();
    let full = waiting
        .iter()
        .filter(|pending| pending.answer.as_ref().err() == Some(&NotDurable::QueueFull))
        .count();
    assert!(full >= waiting.len() - 4 - 4096 - 4, "{full}");
    drop(held);
    for pending in waiting {
        assert!(matches!(
            pending.durable().await,
            Ok(_) | Err(NotDurable::QueueFull)
        ));
    }
}

#[tokio::test]
async fn no_debug_or_error_text_shows_a_key() {
    let place = Place::new();
    let trail = place.open();
    let pending = trail.record(event().detail("note", Detail::Integer(1)));
    for shown in [
        format!("{trail:?}"),
        format!("{pending:?}"),
        format!("{:?}", trail.keys()),
    ] {
        assert!(
            !shown.contains("1, 1, 1, 1") && !shown.contains("01010101"),
            "{shown}"
        );
    }
    drop(pending);
}

#[test]
fn names_of_events_are_version_7_and_sort_by_the_microsecond() {
    let start = 1_763_850_142_000_000;
    let names: Vec<_> = (start..start + 3000).map(uid).collect();
    assert!(names.is_sorted());
    assert_ne!(uid(start), uid(start));
    for (micros, name) in (start..).zip(&names) {
        assert_eq!(name.get_version_num(), 7);
        let (seconds, nanos) = name.get_timestamp().unwrap().to_unix();
        let millis = seconds * 1000 + u64::from(nanos) / 1_000_000;
        assert_eq!(millis, micros.unsigned_abs() / 1000);
    }
}

#[tokio::test]
async fn what_nobody_waits_for_is_durable_before_what_follows_it() {
    let place = Place::new();
    let trail = place.open();
    for round in 0..5_u64 {
        trail.note(event()).unwrap();
        let receipt = trail.record(event()).durable().await.unwrap();
        assert_eq!(receipt.seq(), round * 2 + 2);
    }
    trail.close().await.unwrap();
    assert_eq!(trail.note(event()), Err(NotDurable::Closed));
    assert_eq!(place.report().records, 12);
    assert_eq!(trail.metrics().refused, 1);
}
