//! From the spool to a sink: reads behind a durable cursor of its own, sends in batches, moves the cursor once the sink has committed.
//!
//! What this process has just committed comes from memory (`Recent`): it was hashed and signed here a moment ago, and its place in the chain is proved by the hash that the cursor
//! holds. Whatever isn't there, after a start or when the sink has fallen behind, is read from the log, with its checksum, MAC and order verified.
//!
//! A crash between the sink's commit and the cursor sends a batch again; the sink knows its rows by chain and number, so each event is there exactly once.
//! A sink that fails is tried again with a bounded backoff, for ever; the spool keeps its events meanwhile. An event that a sink will never take is set aside with a `sink_failed`
//! of its own, and the others go on.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::catalogue::EventName;
use crate::event::{Event, Outcome};
use crate::keys::AuditKeys;
use crate::record::Record;
use crate::sink::{Sink, SinkError, Taken};
use crate::spool::disk::segment_name;
use crate::spool::{FRAME_BYTES_MAX, Position, Recent, Shared, SinkState, Walk, lock};
use crate::trail::Trail;

mod cursor;

use cursor::{Cursor, CursorFile};

/// Bytes of the log read at once: room for several of the largest frames.
const READ_BYTES: usize = 4 * (FRAME_BYTES_MAX + 8);

/// Which events go to the outputs. `integrity_violation` and whatever the seed document does not list always go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    chosen: Vec<bool>,
}

impl Selection {
    /// Those of `names`, and what always goes.
    #[must_use]
    pub fn new(names: &[EventName]) -> Self {
        Self {
            chosen: EventName::ALL
                .iter()
                .map(|event| !event.seed() || names.contains(event))
                .collect(),
        }
    }

    /// Every event.
    #[must_use]
    pub fn everything() -> Self {
        Self::new(EventName::ALL)
    }

    /// Whether it goes to the outputs.
    #[must_use]
    pub fn includes(&self, event: EventName) -> bool {
        self.chosen.get(event.index()).copied().unwrap_or(true)
    }
}

/// How a sink is served.
#[derive(Debug, Clone)]
pub struct DeliverySettings {
    /// Which events go.
    pub selection: Selection,
    /// Events of a batch (default 2048).
    pub batch_max: usize,
    /// Bytes of a batch, beyond which nothing more is added to it (default 16 MiB).
    pub batch_bytes_max: usize,
    /// Least time between two batches that were not full: gathers events, so that a batch costs one commit (default 100 ms).
    pub linger: Duration,
    /// First wait after a failure; doubles (default 250 ms).
    pub backoff_min: Duration,
    /// Longest wait after a failure (default 30 s).
    pub backoff_max: Duration,
}

impl Default for DeliverySettings {
    fn default() -> Self {
        Self {
            selection: Selection::everything(),
            batch_max: 2048,
            batch_bytes_max: 16 * 1024 * 1024,
            linger: Duration::from_millis(100),
            backoff_min: Duration::from_millis(250),
            backoff_max: Duration::from_secs(30),
        }
    }
}

/// A sink and its place in the log.
#[derive(Debug)]
pub struct Delivery<S> {
    trail: Trail,
    sink: S,
    settings: DeliverySettings,
    file: CursorFile,
    cursor: Cursor,
    healthy: bool,
    _reader: Reader,
}

/// As long as one stands, what is committed is kept in memory for a while.
#[derive(Debug)]
struct Reader(Arc<Shared>);

impl Reader {
    fn of(trail: &Trail) -> Self {
        lock(&trail.shared().recent).join();
        Self(Arc::clone(trail.shared()))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        lock(&self.0.recent).leave();
    }
}

/// Why a round ended without progress.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setback {
    code: String,
    what: String,
}

impl<S: Sink> Delivery<S> {
    /// Finds the sink's place in the log and registers it, so that nothing that it lacks is deleted. Call it before the first event of note.
    ///
    /// # Errors
    /// The cursor's file can't be opened, or another delivery of this name is at work.
    pub fn new(trail: &Trail, sink: S, settings: DeliverySettings) -> io::Result<Self> {
        let state = &trail.shared().settings.state_directory;
        let mut file = CursorFile::open(state, sink.name())?;
        let standing = lock(&trail.shared().standing).clone();
        let start = Cursor {
            at: Position {
                segment: standing.base,
                offset: 0,
            },
            hash: standing.base_prev,
            counter: 0,
        };
        let stored = file.read(trail.keys())?;
        let durable = *trail.durable().borrow();
        let ahead = stored
            .as_ref()
            .is_some_and(|cursor| !continues(trail, cursor, durable));
        let cursor = stored
            .filter(|cursor| !ahead && cursor.at.segment >= standing.base)
            .unwrap_or(start);
        let delivery = Self {
            trail: trail.clone(),
            sink,
            settings,
            file,
            cursor,
            healthy: true,
            _reader: Reader::of(trail),
        };
        delivery.register();
        if ahead {
            // The sink has more than the log: the log was rolled back together with its head.
            delivery.report(
                delivery
                    .event(EventName::SinkFailed, Outcome::Failure)
                    .reason("log_behind_sink"),
            );
        }
        Ok(delivery)
    }

    /// Serves the sink until `stop` resolves; then goes on as long as there are durable events and the sink takes them.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut stopping = false;
        let mut durable = self.trail.durable();
        let mut wait = self.settings.backoff_min;
        loop {
            let end = *durable.borrow_and_update();
            if self.cursor.at >= end {
                if stopping {
                    return;
                }
                tokio::select! {
                    () = &mut stop => stopping = true,
                    changed = durable.changed() => if changed.is_err() { return },
                }
                continue;
            }
            let round = self.round(end).await;
            let pause = match round {
                Ok(full) => {
                    wait = self.settings.backoff_min;
                    if full {
                        Duration::ZERO
                    } else {
                        self.settings.linger
                    }
                }
                Err(setback) => {
                    self.fell(&setback);
                    if stopping {
                        return;
                    }
                    let pause = jittered(wait);
                    wait = (wait * 2).min(self.settings.backoff_max);
                    pause
                }
            };
            if !stopping && !pause.is_zero() {
                stopping = tokio::time::timeout(pause, &mut stop).await.is_ok();
            }
        }
    }

    /// One batch: read, send, report what was refused, move the cursor. `Ok(true)`: it was full.
    async fn round(&mut self, end: Position) -> Result<bool, Setback> {
        let batch = self.read(end).await?;
        let total = batch.records.len();
        let is_full = Bounds::of(&self.settings).are_reached(&batch.records);
        let mut selected = batch.records;
        selected.retain(|record| self.settings.selection.includes(record.name()));
        self.oldest(selected.first());
        let unselected = (total - selected.len()) as u64;
        let taken = if selected.is_empty() {
            Taken::default()
        } else {
            self.sink.take(&selected).await?
        };
        self.set_aside(&selected, &taken).await?;
        self.file
            .write(&batch.after, self.trail.keys())
            .map_err(|error| Setback::new("cursor", &error))?;
        self.cursor = batch.after;
        self.rose(&taken, unselected);
        self.forget();
        Ok(is_full)
    }

    /// The next batch: from memory if it goes on there, else from the log.
    async fn read(&self, end: Position) -> Result<Batch, Setback> {
        if let Some(batch) = recall(
            &self.trail.shared().recent,
            &self.cursor,
            Bounds::of(&self.settings),
        ) {
            return Ok(batch);
        }
        let batch = self.read_back(end).await?;
        let read = batch.records.len() as u64;
        self.with_state(|state| state.metrics.read_back += read);
        Ok(batch)
    }

    async fn read_back(&self, end: Position) -> Result<Batch, Setback> {
        let directory = self.trail.shared().settings.directory.clone();
        let (keys, cursor, max) = (
            Arc::clone(self.trail.keys()),
            self.cursor.clone(),
            Bounds::of(&self.settings),
        );
        let reading =
            tokio::task::spawn_blocking(move || read_batch(&directory, &keys, &cursor, end, max));
        reading
            .await
            .map_err(|error| Setback::new("log_unreadable", &error))?
    }

    /// Writes an event for each one that the sink refused, durably, before the cursor leaves them behind.
    async fn set_aside(&self, selected: &[Record], taken: &Taken) -> Result<(), Setback> {
        for (place, code) in &taken.refused {
            let Some(record) = selected.get(*place) else {
                continue;
            };
            // A refusal of such a report is not reported again: that would never end.
            if record.name() == EventName::SinkFailed {
                continue;
            }
            let event = self
                .event(EventName::SinkFailed, Outcome::Failure)
                .reason("event_refused")
                .detail("code", code.as_str())
                .detail("refused_uid", record.uid().to_string())
                .detail("refused_chain", record.chain())
                .detail(
                    "refused_seq",
                    i64::try_from(record.seq()).unwrap_or(i64::MAX),
                );
            self.trail
                .record_own(&event)
                .durable()
                .await
                .map_err(|error| Setback::new("not_durable", &error))?;
        }
        Ok(())
    }

    fn event(&self, name: EventName, outcome: Outcome) -> Event<'_> {
        Event::new(name, outcome).detail("sink", self.sink.name())
    }

    /// Nobody waits: the log line of a sink's state must not hold up its events.
    fn report(&self, event: Event<'_>) {
        drop(self.trail.record_own(&event));
    }

    fn fell(&mut self, setback: &Setback) {
        self.with_state(|state| {
            state.metrics.failures += 1;
            state.metrics.healthy = false;
        });
        if std::mem::replace(&mut self.healthy, false) {
            self.report(
                self.event(EventName::SinkFailed, Outcome::Failure)
                    .reason(setback.code.as_str())
                    .detail("what", setback.what.as_str()),
            );
        }
    }

    fn rose(&mut self, taken: &Taken, unselected: u64) {
        let at = self.cursor.at;
        self.with_state(|state| {
            state.metrics.delivered += taken.new + taken.duplicates;
            state.metrics.duplicates += taken.duplicates;
            state.metrics.set_aside += taken.refused.len() as u64;
            state.metrics.unselected += unselected;
            state.metrics.healthy = true;
            state.metrics.oldest_unsent_micros = None;
            state.cursor = at;
        });
        if !std::mem::replace(&mut self.healthy, true) {
            self.report(self.event(EventName::SinkRecovered, Outcome::Success));
        }
    }

    /// Lets go from memory what every sink has.
    fn forget(&self) {
        let shared = self.trail.shared();
        let all = lock(&shared.sinks).values().map(|sink| sink.cursor).min();
        if let Some(all) = all {
            let gone = lock(&shared.recent).forget(all);
            drop(gone);
        }
    }

    fn oldest(&self, record: Option<&Record>) {
        let micros = record.map(Record::micros);
        self.with_state(|state| state.metrics.oldest_unsent_micros = micros);
    }

    fn register(&self) {
        let at = self.cursor.at;
        self.with_state(|state| {
            state.cursor = at;
            state.metrics.healthy = true;
        });
    }

    fn with_state(&self, change: impl FnOnce(&mut SinkState)) {
        let mut sinks = lock(&self.trail.shared().sinks);
        change(sinks.entry(self.sink.name().to_owned()).or_default());
    }
}

impl Setback {
    fn new(code: &str, what: &impl ToString) -> Self {
        Self {
            code: code.to_owned(),
            what: what.to_string(),
        }
    }
}

impl From<SinkError> for Setback {
    fn from(error: SinkError) -> Self {
        Self {
            code: error.code,
            what: error.what,
        }
    }
}

/// How long a batch may grow.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    records: usize,
    bytes: usize,
}

impl Bounds {
    fn of(settings: &DeliverySettings) -> Self {
        Self {
            records: settings.batch_max,
            bytes: settings.batch_bytes_max,
        }
    }

    fn are_reached(self, records: &[Record]) -> bool {
        records.len() >= self.records
            || records.iter().map(|r| r.bytes().len()).sum::<usize>() >= self.bytes
    }
}

struct Batch {
    records: Vec<Record>,
    after: Cursor,
}

/// Whether the log goes on where the cursor stands; a log that was rolled back is shorter, or has grown another way since.
fn continues(trail: &Trail, cursor: &Cursor, durable: Position) -> bool {
    let directory = &trail.shared().settings.directory;
    let one = Bounds {
        records: 1,
        bytes: usize::MAX,
    };
    let next = |end| read_batch(directory, trail.keys(), cursor, end, one);
    cursor.at <= durable
        && next(durable)
            .err()
            .is_none_or(|setback| setback.code != "log_damaged")
}

/// Up to `max` records that follow the cursor in memory; none if the one right behind it is not there.
fn recall(recent: &Mutex<Recent>, cursor: &Cursor, max: Bounds) -> Option<Batch> {
    let commits = lock(recent).behind(cursor.at, max.records);
    let mut after = cursor.clone();
    let (mut records, mut bytes) = (Vec::new(), 0);
    let all = commits.iter().flat_map(|commit| &commit.records);
    for (record, behind) in all.skip_while(|(_, behind)| *behind <= cursor.at) {
        // Commits that went to the disk only leave a gap: what follows it does not follow the cursor.
        if *record.prev() != after.hash || records.len() >= max.records || bytes >= max.bytes {
            break;
        }
        bytes += record.bytes().len();
        (after.at, after.hash) = (*behind, record.hash());
        records.push(record.clone());
    }
    after.counter += 1;
    (!records.is_empty()).then_some(Batch { records, after })
}

/// Reads up to `max` records behind the cursor and before `end`, verified.
fn read_batch(
    directory: &Path,
    keys: &AuditKeys,
    cursor: &Cursor,
    end: Position,
    max: Bounds,
) -> Result<Batch, Setback> {
    let mut after = cursor.clone();
    let mut records = Vec::new();
    while !max.are_reached(&records) && after.at < end {
        let limit = if after.at.segment == end.segment {
            end.offset
        } else {
            u64::MAX
        };
        let path: PathBuf = directory.join(segment_name(after.at.segment));
        let bytes = read_at(&path, after.at.offset, limit)
            .map_err(|error| Setback::new("log_unreadable", &error))?;
        if bytes.is_empty() {
            after.at = Position {
                segment: after.at.segment + 1,
                offset: 0,
            };
            continue;
        }
        take_frames(&bytes, keys, &mut after, &mut records, max)?;
    }
    after.counter = cursor.counter + 1;
    Ok(Batch { records, after })
}

fn take_frames(
    bytes: &[u8],
    keys: &AuditKeys,
    after: &mut Cursor,
    records: &mut Vec<Record>,
    max: Bounds,
) -> Result<(), Setback> {
    let mut walk = Walk::new(after.hash, true);
    let mut offset = 0;
    let mut bytes_left = records.iter().fold(max.bytes, |left, record| {
        left.saturating_sub(record.bytes().len())
    });
    while records.len() < max.records && bytes_left > 0 {
        let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) else {
            break;
        };
        match walk.next(rest, keys) {
            Ok((frame, record)) => {
                offset += frame.length;
                bytes_left = bytes_left.saturating_sub(record.bytes().len());
                records.push(record);
            }
            // The read ended inside a frame: the next one starts there.
            Err(error) if offset > 0 && error == crate::spool::FrameError::Torn.into() => break,
            Err(error) => return Err(Setback::new("log_damaged", &error)),
        }
    }
    after.at.offset += offset as u64;
    after.hash = walk.hash();
    Ok(())
}

fn read_at(path: &Path, offset: u64, limit: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_sub(offset).min(READ_BYTES as u64))
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Between half and all of `wait`, so that many sidecars don't knock together.
fn jittered(wait: Duration) -> Duration {
    let share = rand::random::<u8>();
    wait / 2 + wait / 2 * u32::from(share) / 255
}

#[cfg(test)]
mod tests;
