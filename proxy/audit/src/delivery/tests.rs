//! Delivery against a sink in memory that fails as told.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::*;
use crate::event::Outcome;
use crate::spool::model::keys;
use crate::spool::{Retention, SpoolSettings};

/// What a sink has, and how it behaves.
#[derive(Debug, Default)]
struct Shelf {
    rows: BTreeMap<Uuid, Record>,
    failures: usize,
    refuses: Option<EventName>,
    largest: usize,
}

#[derive(Debug, Clone, Default)]
struct Memory(Arc<Mutex<Shelf>>);

impl Sink for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    async fn take(&mut self, batch: &[Record]) -> Result<Taken, SinkError> {
        let mut shelf = lock(&self.0);
        if shelf.failures > 0 {
            shelf.failures -= 1;
            return Err(SinkError {
                code: "unreachable".into(),
                what: "away".into(),
            });
        }
        shelf.largest = shelf.largest.max(batch.len());
        let mut taken = Taken::default();
        for (place, record) in batch.iter().enumerate() {
            if shelf.refuses == Some(record.name()) {
                taken.refused.push((place, "22000".into()));
            } else if shelf.rows.insert(record.uid(), record.clone()).is_none() {
                taken.new += 1;
            } else {
                taken.duplicates += 1;
            }
        }
        Ok(taken)
    }
}

struct Place {
    root: tempfile::TempDir,
    sink: Memory,
    retention: Retention,
}

impl Place {
    fn new() -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
            sink: Memory::default(),
            retention: Retention::Everything,
        }
    }

    fn open(&self) -> Trail {
        let mut settings = SpoolSettings::new(
            self.root.path().join("spool"),
            self.root.path().join("state"),
        );
        settings.segment_bytes = 2000;
        settings.retention = self.retention;
        Trail::open(settings, keys()).unwrap()
    }

    fn delivery(&self, trail: &Trail) -> Delivery<Memory> {
        let settings = DeliverySettings {
            batch_max: 16,
            linger: Duration::ZERO,
            backoff_min: Duration::from_millis(1),
            ..DeliverySettings::default()
        };
        Delivery::new(trail, self.sink.clone(), settings).unwrap()
    }

    /// Delivers everything that is durable.
    async fn drain(&self, trail: &Trail) {
        self.delivery(trail).run(std::future::ready(())).await;
    }

    fn count(&self, name: EventName) -> usize {
        lock(&self.sink.0)
            .rows
            .values()
            .filter(|record| record.name() == name)
            .count()
    }

    fn cursor(&self) -> std::path::PathBuf {
        self.root.path().join("state/memory.cursor")
    }
}

async fn record(trail: &Trail, name: EventName, times: usize) {
    let waiting: Vec<_> = (0..times)
        .map(|_| trail.record(Event::new(name, Outcome::Success)))
        .collect();
    for pending in waiting {
        pending.durable().await.unwrap();
    }
}

#[tokio::test]
async fn each_event_arrives_once_over_restarts_and_a_lost_cursor() {
    let place = Place::new();
    let trail = place.open();
    record(&trail, EventName::PhiRead, 40).await;
    place.drain(&trail).await;
    assert_eq!(place.count(EventName::PhiRead), 40);
    assert!(lock(&place.sink.0).largest <= 16);
    trail.close().await.unwrap();
    drop(trail);
    std::fs::remove_file(place.cursor()).unwrap();
    let trail = place.open();
    record(&trail, EventName::PhiRead, 5).await;
    place.drain(&trail).await;
    assert_eq!(place.count(EventName::PhiRead), 45);
    assert_eq!(
        (
            place.count(EventName::AuditStarted),
            place.count(EventName::AuditStopped)
        ),
        (2, 1)
    );
    let sink = trail.metrics().sinks.remove(0).1;
    assert_eq!((sink.delivered, sink.duplicates), (48, 41));
    assert_eq!(sink.oldest_unsent_age_micros, None);
}

#[tokio::test]
async fn a_kept_cursor_sends_nothing_twice() {
    let place = Place::new();
    let trail = place.open();
    record(&trail, EventName::PhiRead, 20).await;
    place.drain(&trail).await;
    place.drain(&trail).await;
    assert_eq!(trail.metrics().sinks[0].1.duplicates, 0);
}

#[tokio::test]
async fn a_sink_that_comes_back_gets_all_and_both_turns_are_recorded_once() {
    let place = Place::new();
    lock(&place.sink.0).failures = 3;
    let trail = place.open();
    record(&trail, EventName::PhiRead, 10).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let delivery = place.delivery(&trail);
    let running = tokio::spawn(delivery.run(async move { drop(stopped.await) }));
    let mut durable = trail.durable();
    while place.count(EventName::SinkRecovered) == 0 {
        // Every change of the log may be the event that is waited for; the batch that carries it follows it.
        let _changed = tokio::time::timeout(Duration::from_millis(20), durable.changed()).await;
    }
    stop.send(()).unwrap();
    running.await.unwrap();
    assert_eq!(
        (
            place.count(EventName::PhiRead),
            place.count(EventName::SinkFailed),
            place.count(EventName::SinkRecovered)
        ),
        (10, 1, 1)
    );
    assert_eq!(trail.metrics().sinks[0].1.failures, 3);
}

#[tokio::test]
async fn an_event_that_the_sink_refuses_is_set_aside_and_named() {
    let place = Place::new();
    lock(&place.sink.0).refuses = Some(EventName::PhiDelete);
    let trail = place.open();
    record(&trail, EventName::PhiRead, 3).await;
    record(&trail, EventName::PhiDelete, 1).await;
    record(&trail, EventName::PhiRead, 3).await;
    place.drain(&trail).await;
    place.drain(&trail).await;
    assert_eq!(
        (
            place.count(EventName::PhiRead),
            place.count(EventName::PhiDelete),
            place.count(EventName::SinkFailed)
        ),
        (6, 0, 1)
    );
    let shelf = lock(&place.sink.0);
    let report = shelf
        .rows
        .values()
        .find(|record| record.name() == EventName::SinkFailed)
        .unwrap();
    assert_eq!(report.text(&["reason"]), Some("event_refused"));
    assert_eq!(report.value()["details"]["refused_seq"], 4);
}

#[tokio::test]
async fn a_sink_that_refuses_its_own_reports_does_not_go_in_circles() {
    let place = Place::new();
    lock(&place.sink.0).refuses = Some(EventName::SinkFailed);
    let trail = place.open();
    trail
        .record(Event::new(EventName::SinkFailed, Outcome::Failure))
        .durable()
        .await
        .unwrap();
    place.drain(&trail).await;
    assert_eq!(trail.metrics().spool_records, 2);
}

#[tokio::test]
async fn what_is_not_selected_stays_in_the_spool_and_the_added_events_always_go() {
    let place = Place::new();
    let trail = place.open();
    record(&trail, EventName::PhiRead, 2).await;
    record(&trail, EventName::UserLogin, 2).await;
    record(&trail, EventName::IntegrityViolation, 1).await;
    let settings = DeliverySettings {
        selection: Selection::new(&[EventName::UserLogin]),
        ..DeliverySettings::default()
    };
    Delivery::new(&trail, place.sink.clone(), settings)
        .unwrap()
        .run(std::future::ready(()))
        .await;
    assert_eq!(
        (
            place.count(EventName::PhiRead),
            place.count(EventName::UserLogin),
            place.count(EventName::IntegrityViolation)
        ),
        (0, 2, 1)
    );
    assert_eq!(place.count(EventName::AuditStarted), 1);
    assert_eq!(trail.metrics().sinks[0].1.unselected, 2);
}

#[tokio::test]
async fn delivered_segments_go_only_where_the_retention_says_so_and_the_rest_verifies() {
    for (retention, gone) in [(Retention::Everything, false), (Retention::Delivered, true)] {
        let mut place = Place::new();
        place.retention = retention;
        let trail = place.open();
        for _ in 0..40 {
            record(&trail, EventName::PhiRead, 1).await;
        }
        place.drain(&trail).await;
        trail.close().await.unwrap();
        let (spool, state) = (
            place.root.path().join("spool"),
            place.root.path().join("state"),
        );
        assert_eq!(!spool.join(segment_name(0)).exists(), gone);
        assert!(
            crate::verify::spool(&spool, &state, &keys())
                .unwrap()
                .whole()
        );
        drop(trail);
        let trail = place.open();
        place.drain(&trail).await;
        assert_eq!(
            (
                place.count(EventName::PhiRead),
                place.count(EventName::AuditStopped)
            ),
            (40, 1)
        );
    }
}

#[tokio::test]
async fn a_log_that_was_rolled_back_behind_its_sink_is_reported() {
    // Shorter than the cursor, and grown past it by now.
    for records in [0, 90] {
        rolled_back(records).await;
    }
}

async fn rolled_back(records: usize) {
    let place = Place::new();
    let trail = place.open();
    record(&trail, EventName::PhiRead, 40).await;
    place.drain(&trail).await;
    drop(trail);
    std::fs::remove_dir_all(place.root.path().join("spool")).unwrap();
    std::fs::remove_file(place.root.path().join("state/head")).unwrap();
    let trail = place.open();
    record(&trail, EventName::PhiRead, records).await;
    place.drain(&trail).await;
    trail.close().await.unwrap();
    place.drain(&trail).await;
    let shelf = lock(&place.sink.0);
    let report = shelf
        .rows
        .values()
        .find(|record| record.name() == EventName::SinkFailed)
        .unwrap();
    assert_eq!(report.text(&["reason"]), Some("log_behind_sink"));
}

/// How many events the sink got from the disk.
fn read_back(trail: &Trail) -> u64 {
    trail.metrics().sinks[0].1.read_back
}

#[tokio::test]
async fn what_is_committed_while_a_delivery_stands_needs_no_second_reading_and_is_the_same() {
    let place = Place::new();
    let trail = place.open();
    let delivery = place.delivery(&trail);
    // Segments of 2000 bytes: what is kept goes over their borders.
    for _ in 0..20 {
        record(&trail, EventName::PhiRead, 2).await;
    }
    assert!(trail.metrics().recent_bytes > 0);
    delivery.run(std::future::ready(())).await;
    // The first event of the run was written before anybody asked, so the first batch is the disk's.
    assert_eq!(read_back(&trail), 16);
    assert_eq!(trail.metrics().recent_bytes, 0);
    let settings = Arc::clone(&trail.shared().settings);
    let answer = crate::query::spool(
        &settings.directory,
        &settings.state_directory,
        trail.keys(),
        &crate::query::Query::default(),
    )
    .unwrap();
    assert_eq!(answer.records.len(), 41);
    let shelf = lock(&place.sink.0);
    assert_eq!(shelf.rows.len(), 41);
    for read in &answer.records {
        let sent = &shelf.rows[&read.uid()];
        assert_eq!(
            (sent, sent.hash(), sent.prev(), sent.seq(), sent.chain()),
            (read, read.hash(), read.prev(), read.seq(), read.chain())
        );
        assert_eq!((sent.micros(), sent.name()), (read.micros(), read.name()));
        for path in ["outcome", "severity", "time"] {
            assert_eq!(sent.text(&[path]), read.text(&[path]));
        }
    }
}

#[tokio::test]
async fn memory_is_kept_for_deliveries_alone_and_lets_the_oldest_go() {
    let place = Place::new();
    let trail = place.open();
    record(&trail, EventName::PhiRead, 5).await;
    assert_eq!(trail.metrics().recent_bytes, 0);
    let delivery = place.delivery(&trail);
    let long = "x".repeat(256);
    let mut event = Event::new(EventName::PhiRead, Outcome::Success);
    event.fields = vec![
        crate::FieldTouched {
            name: long.as_str().into(),
            action: crate::FieldAction::Opened,
            count: 1,
        };
        256
    ];
    // 300 times some 75 KB are more than is kept.
    for _ in 0..300 {
        drop(trail.record(event.clone()));
    }
    trail.record(event).durable().await.unwrap();
    let kept = usize::try_from(trail.metrics().recent_bytes).unwrap();
    assert!(kept > 0 && kept <= crate::spool::RECENT_BYTES_MAX, "{kept}");
    delivery.run(std::future::ready(())).await;
    assert_eq!(place.count(EventName::PhiRead), 306);
    assert!(
        (7..307).contains(&read_back(&trail)),
        "the oldest from the disk, the rest from memory"
    );
    record(&trail, EventName::PhiRead, 1).await;
    assert_eq!(trail.metrics().recent_bytes, 0);
}

#[tokio::test]
async fn what_does_not_follow_the_cursor_is_not_taken_from_memory() {
    let place = Place::new();
    let trail = place.open();
    let delivery = place.delivery(&trail);
    record(&trail, EventName::PhiRead, 3).await;
    let recent = &trail.shared().recent;
    let first = lock(recent).behind(Position::default(), 1).remove(0);
    let (record, behind) = &first.records[0];
    let at_first = Cursor {
        at: Position {
            segment: 0,
            offset: behind.offset - 1,
        },
        hash: *record.prev(),
        counter: 0,
    };
    let whole = recall(recent, &at_first, records(100)).unwrap();
    assert_eq!((whole.records.len(), whole.after.counter), (3, 1));
    assert_eq!(whole.after.hash, whole.records[2].hash());
    assert_eq!(
        recall(recent, &at_first, records(2)).unwrap().records.len(),
        2
    );
    let elsewhere = Cursor {
        hash: [1; 32],
        ..at_first
    };
    assert!(recall(recent, &elsewhere, records(100)).is_none());
    assert!(recall(recent, &whole.after, records(100)).is_none());
    drop(delivery);
}

fn records(records: usize) -> Bounds {
    Bounds {
        records,
        bytes: usize::MAX,
    }
}
