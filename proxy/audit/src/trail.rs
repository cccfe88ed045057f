//! The handle that the rest of the program holds: record an event, wait until it is durable, look at its health.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rand::Rng;
use tokio::sync::{oneshot, watch};
use uuid::{Builder, Uuid};

use crate::catalogue::EventName;
use crate::event::{Event, Outcome, Rendered, Stamp};
use crate::keys::{AuditKeys, Pseudonym, hex};
use crate::metrics::Metrics;
use crate::spool::disk::{Directory, Disk};
use crate::spool::{
    Committer, Entry, Job, OpenError, Origin, Position, Queue, Shared, SpoolSettings, Store,
    Waiter, lock,
};

/// Percent of `max_bytes` from which the spool says that it fills up.
const NEARLY_FULL_PERCENT: u64 = 80;

/// The event is not durable, so what it speaks of must not happen.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum NotDurable {
    /// More events wait for the disk than the queue holds.
    #[error("the audit queue is full")]
    QueueFull,
    /// The log has reached `audit_logging.spool.max_bytes`.
    #[error("the audit spool is full: raise `audit_logging.spool.max_bytes` or archive it")]
    SpoolFull,
    /// The share of unauthenticated peers is used up.
    #[error("the audit spool's share for unauthenticated peers is full")]
    StrangersFull,
    /// The disk refused.
    #[error("the audit spool can't be written")]
    Failed,
    /// The trail was closed.
    #[error("the audit trail is closed")]
    Closed,
}

/// Proof that an event is on disk, and that the head covers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub(crate) uid: Uuid,
    pub(crate) chain: Arc<str>,
    pub(crate) seq: u64,
}

impl Receipt {
    /// The event's name everywhere.
    #[must_use]
    pub fn uid(&self) -> Uuid {
        self.uid
    }

    /// The chain that it stands in.
    #[must_use]
    pub fn chain(&self) -> &str {
        &self.chain
    }

    /// Its number there.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }
}

/// An event on its way to the disk. Dropping it does not take the event back.
#[derive(Debug)]
pub struct Pending {
    uid: Uuid,
    answer: Result<oneshot::Receiver<Result<Receipt, NotDurable>>, NotDurable>,
}

impl Pending {
    /// The event's name, known before it is durable.
    #[must_use]
    pub fn uid(&self) -> Uuid {
        self.uid
    }

    /// Waits for the disk.
    ///
    /// # Errors
    /// The event is not durable, and nothing will make it so.
    pub async fn durable(self) -> Result<Receipt, NotDurable> {
        // A thread that went away without an answer has not made it durable.
        self.answer?.await.unwrap_or(Err(NotDurable::Closed))
    }
}

/// How the spool stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpoolState {
    /// Events become durable.
    Sound,
    /// They still do, but the log has passed 80 % of its bytes: act now.
    NearlyFull,
    /// The log has reached its bytes.
    Full,
    /// The disk refuses; it is tried again with every event and every half second.
    Failed,
    /// Closed for good.
    Closed,
}

/// The spool's state and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// How it stands.
    pub state: SpoolState,
    /// Bytes of the log.
    pub bytes: u64,
    /// Bytes that it may have.
    pub max_bytes: u64,
}

impl Health {
    /// Whether PHI may go on.
    #[must_use]
    pub fn ready(&self) -> bool {
        matches!(self.state, SpoolState::Sound | SpoolState::NearlyFull)
    }
}

/// The audit trail. Clones are handles to the same one; the last one that goes waits for the disk.
#[derive(Clone)]
pub struct Trail {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    keys: Arc<AuditKeys>,
    chain: Arc<str>,
    queue: Arc<Queue>,
    /// Only `Drop` takes it.
    thread: Option<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.abandon();
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by its own thread; there is nothing to add to it here.
            let _ended = thread.join();
        }
    }
}

impl Trail {
    /// Opens the spool, mends what a crash left, and writes the first record of this run.
    ///
    /// # Errors
    /// See [`OpenError`]: held by another process, tampered with, no key, no disk.
    pub fn open(settings: SpoolSettings, keys: AuditKeys) -> Result<Self, OpenError> {
        if settings.state_directory.starts_with(&settings.directory) {
            return Err(OpenError::Nested);
        }
        let disk = Directory::open(&settings.directory, &settings.state_directory)?
            .ok_or(OpenError::Locked)?;
        Self::open_on(disk, settings, keys)
    }

    pub(crate) fn open_on<D: Disk + 'static>(
        disk: D,
        settings: SpoolSettings,
        keys: AuditKeys,
    ) -> Result<Self, OpenError> {
        let (settings, keys) = (Arc::new(settings), Arc::new(keys));
        let store = Store::open(disk, Arc::clone(&keys), Arc::clone(&settings), now_micros())?;
        keys.forget_beginnings();
        let chain = Arc::clone(store.chain());
        let heartbeat = i64::try_from(settings.heartbeat.as_secs()).unwrap_or(i64::MAX);
        let started = Event::new(EventName::AuditStarted, Outcome::Success)
            .detail("version", settings.version.as_str())
            .detail("key", keys.sealing(now_micros() / 1_000_000)?.id.as_str())
            .detail("heartbeat_seconds", heartbeat)
            .detail("after", hex(&store.head().hash));
        let shared = Arc::new(Shared::new(Arc::clone(&settings), store.head().end));
        let queue = Arc::new(Queue::new(settings.queue_max));
        let mut committer = Committer::new(store, Arc::clone(&shared), Arc::clone(&queue));
        committer.begin(started)?;
        let thread = std::thread::Builder::new()
            .name("audit-spool".to_owned())
            .spawn(move || committer.run())
            .map_err(OpenError::Thread)?;
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                keys,
                chain,
                queue,
                thread: Some(thread),
            }),
        })
    }

    /// Puts an event on its way; what touches PHI waits for [`Pending::durable`].
    #[must_use = "an event whose receipt nobody waits for may not be durable"]
    pub fn record(&self, event: Event<'_>) -> Pending {
        self.send(&event, Origin::Known)
    }

    /// Puts an event on its way that nobody waits for; it stands before all that is recorded after it.
    ///
    /// # Errors
    /// It could not even be put on its way: the queue is full, or the trail closed.
    pub fn note(&self, event: Event<'_>) -> Result<(), NotDurable> {
        self.put(Entry::now(&event, Origin::Known), None)
    }

    /// The same for what a peer caused who proved nothing: limited per source and overall, with a budget of its own, or counted, to be written as one number when the window ends.
    ///
    /// # Errors
    /// See [`Trail::note`].
    pub fn note_unauthenticated(&self, event: Event<'_>) -> Result<(), NotDurable> {
        let admitted = lock(&self.inner.shared.limiter).admit(event, Instant::now());
        admitted.map_or(Ok(()), |event| {
            self.put(Entry::now(&event, Origin::Stranger), None)
        })
    }

    /// The same, to be waited for. `None`: counted.
    #[must_use = "an event whose receipt nobody waits for may not be durable"]
    pub fn record_unauthenticated(&self, event: Event<'_>) -> Option<Pending> {
        let event = lock(&self.inner.shared.limiter).admit(event, Instant::now())?;
        Some(self.send(&event, Origin::Stranger))
    }

    /// An event of the trail itself, which may use the reserve.
    pub(crate) fn record_own(&self, event: &Event<'_>) -> Pending {
        self.send(event, Origin::Trail)
    }

    fn send(&self, event: &Event<'_>, origin: Origin) -> Pending {
        let entry = Entry::now(event, origin);
        let uid = entry.rendered.stamp().uid;
        let (waiter, answer) = oneshot::channel();
        Pending {
            uid,
            answer: self.put(entry, Some(waiter)).map(|()| answer),
        }
    }

    fn put(&self, entry: Entry, waiter: Option<Waiter>) -> Result<(), NotDurable> {
        let put = self.inner.queue.put(Job { entry, waiter });
        if put.is_err() {
            self.inner.shared.refused.fetch_add(1, Ordering::Relaxed);
        }
        put
    }

    /// Ends the run: whatever waits, then `audit_stopped` as the end marker. Later events are refused.
    ///
    /// # Errors
    /// The end marker is not durable, or the trail was closed before.
    pub async fn close(&self) -> Result<(), NotDurable> {
        let (asked, answer) = oneshot::channel();
        *lock(&self.inner.shared.closing) = Some(asked);
        if !self.inner.queue.call() {
            return Err(NotDurable::Closed);
        }
        match answer.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(NotDurable::Failed),
            Err(_gone) => Err(NotDurable::Closed),
        }
    }

    /// How the spool stands now.
    #[must_use]
    pub fn health(&self) -> Health {
        let standing = lock(&self.inner.shared.standing).clone();
        let max_bytes = self.inner.shared.settings.max_bytes;
        let state = match () {
            // A thread that is gone without having closed can't make anything durable either.
            () if standing.closed
                || self
                    .inner
                    .thread
                    .as_ref()
                    .is_none_or(JoinHandle::is_finished) =>
            {
                SpoolState::Closed
            }
            () if !standing.sound => SpoolState::Failed,
            () if standing.full => SpoolState::Full,
            () if standing.bytes >= max_bytes / 100 * NEARLY_FULL_PERCENT => SpoolState::NearlyFull,
            () => SpoolState::Sound,
        };
        Health {
            state,
            bytes: standing.bytes,
            max_bytes,
        }
    }

    /// The patient's stand-in for events.
    #[must_use]
    pub fn pseudonym(&self, patient: &str) -> Pseudonym {
        self.inner.keys.pseudonym(patient)
    }

    /// The seed of what signs receipts at `now_unix` (Unix time in seconds).
    ///
    /// # Errors
    /// No audit key is in force.
    pub fn receipt_seed(&self, now_unix: i64) -> Result<crate::ReceiptSeed, crate::KeyError> {
        self.inner.keys.receipt_seed(now_unix)
    }

    /// The chain of this run.
    #[must_use]
    pub fn chain(&self) -> &str {
        &self.inner.chain
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let shared = &self.inner.shared;
        let standing = lock(&shared.standing).clone();
        let now = now_micros();
        let recent_bytes = lock(&shared.recent).bytes() as u64;
        let sinks = lock(&shared.sinks);
        Metrics {
            events: EventName::ALL
                .iter()
                .zip(&shared.events)
                .map(|(name, count)| (*name, count.load(Ordering::Relaxed)))
                .collect(),
            refused: shared.refused.load(Ordering::Relaxed),
            spool_bytes: standing.bytes,
            spool_records: standing.records,
            recent_bytes,
            last_checkpoint_micros: standing.checkpoint_micros,
            sinks: sinks
                .iter()
                .map(|(name, sink)| (name.clone(), sink.metrics.aged(now)))
                .collect(),
        }
    }

    /// How far the log is durable, and news of it.
    pub(crate) fn durable(&self) -> watch::Receiver<Position> {
        self.inner.shared.durable.subscribe()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    pub(crate) fn keys(&self) -> &Arc<AuditKeys> {
        &self.inner.keys
    }
}

impl std::fmt::Debug for Trail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trail")
            .field("chain", &self.inner.chain)
            .finish_non_exhaustive()
    }
}

impl Entry {
    /// An event that happens now, written out here, on the thread of whoever records it.
    pub(crate) fn now(event: &Event<'_>, origin: Origin) -> Self {
        let micros = now_micros();
        let stamp = Stamp {
            uid: uid(micros),
            micros,
            stranger: origin == Origin::Stranger,
        };
        Self {
            rendered: Rendered::of(event, stamp),
            origin,
        }
    }
}

/// A UUIDv7 (RFC 9562) of this time: milliseconds, then 12 bits of the rest of the microseconds (method 3), so that names sort by time, then 62 random bits of the thread's
/// generator, a CSPRNG that asks the kernel for a seed only now and then.
pub(crate) fn uid(micros: i64) -> Uuid {
    let micros = micros.unsigned_abs();
    let mut rest = [0; 10];
    rand::rng().fill_bytes(&mut rest);
    let fraction = u16::try_from(micros % 1000 * 4096 / 1000).unwrap_or(0);
    if let Some(first) = rest.first_chunk_mut::<2>() {
        *first = fraction.to_be_bytes();
    }
    Builder::from_unix_timestamp_millis(micros / 1000, &rest).into_uuid()
}

/// Microseconds since 1970.
pub(crate) fn now_micros() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
