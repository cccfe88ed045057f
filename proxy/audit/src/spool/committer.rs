//! The one thread that owns the files: takes what waits, commits it together, answers each waiter.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use crate::catalogue::EventName;
use crate::event::Event;
use crate::metrics::SinkMetrics;
use crate::trail::{NotDurable, Receipt, now_micros};

use super::disk::Disk;
use super::{
    Cadence, Entry, Fate, Job, Limiter, Origin, Position, Queue, Reader, Recent, Refused,
    Retention, SpoolSettings, Store,
};

/// Records of one group commit.
const BATCH_RECORDS_MAX: usize = 4096;
/// How long the thread waits for work before it looks after windows, repairs, the head and closing.
const TICK: Duration = Duration::from_millis(500);
/// Records that the head covers before its file is synced: the commit that reaches it is the last before the sync.
const HEAD_SYNC_RECORDS: u64 = 1024;
/// Time for which the head covers a record before its file is synced.
const HEAD_SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// How long a sync may be put off for company: while fewer wait than waited for the last one (and more than one did), or while nobody waits at all.
const GATHER_MAX: Duration = Duration::from_millis(1);

/// What the thread and the handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Arc<SpoolSettings>,
    pub(crate) limiter: Mutex<Limiter>,
    pub(crate) closing: Mutex<Option<oneshot::Sender<bool>>>,
    pub(crate) events: Vec<AtomicU64>,
    pub(crate) refused: AtomicU64,
    pub(crate) standing: Mutex<Standing>,
    pub(crate) sinks: Mutex<BTreeMap<String, SinkState>>,
    pub(crate) durable: watch::Sender<Position>,
    pub(crate) recent: Mutex<Recent>,
}

/// How the log stands after the last commit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    pub(crate) checkpoint_micros: i64,
    pub(crate) sound: bool,
    pub(crate) full: bool,
    pub(crate) closed: bool,
    pub(crate) base: u64,
    pub(crate) base_prev: [u8; 32],
}

/// A sink as the rest sees it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SinkState {
    pub(crate) metrics: SinkMetrics,
    pub(crate) cursor: Position,
}

/// Takes a lock whatever happened to its last holder: what these guard is whole after every statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(settings: Arc<SpoolSettings>, position: Position) -> Self {
        Self {
            limiter: Mutex::new(Limiter::new(settings.strangers_window)),
            closing: Mutex::new(None),
            events: EventName::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            refused: AtomicU64::new(0),
            standing: Mutex::new(Standing::default()),
            sinks: Mutex::new(BTreeMap::new()),
            durable: watch::Sender::new(position),
            recent: Mutex::new(Recent::default()),
            settings,
        }
    }
}

/// The thread's own side.
pub(crate) struct Committer<D> {
    store: Store<D>,
    shared: Arc<Shared>,
    queue: Reader,
    /// Since when there are records that only a head in the page cache covers.
    uncovered_since: Option<Instant>,
    cadence: Cadence,
    /// How many waited for the last commit.
    company: usize,
    /// Kept from commit to commit for their room.
    jobs: Vec<Job>,
    fates: Vec<Fate>,
}

impl<D: Disk> Committer<D> {
    pub(crate) fn new(store: Store<D>, shared: Arc<Shared>, queue: Arc<Queue>) -> Self {
        let cadence = Cadence::new(shared.settings.heartbeat, Instant::now());
        Self {
            store,
            shared,
            cadence,
            queue: Reader(queue),
            uncovered_since: None,
            company: 0,
            jobs: Vec::new(),
            fates: Vec::new(),
        }
    }

    /// Writes the run's first record. It holds what the run before left: its last hash as `prev`, and whether it ended cleanly.
    pub(crate) fn begin(&mut self, event: Event<'_>) -> Result<(), NotDurable> {
        let recovered = i64::try_from(self.store.recovered()).unwrap_or(i64::MAX);
        let event = event.detail("recovered_records", recovered);
        let written = self.own(&event);
        self.cover();
        match written {
            true => Ok(()),
            false => Err(NotDurable::Failed),
        }
    }

    /// Runs until every handle is gone or one asks to close.
    pub(crate) fn run(mut self) {
        loop {
            self.queue.0.sleep(0, self.patience());
            self.gather();
            // Looked at before the queue is emptied: what came before the last handle went is written.
            let gone = self.queue.0.abandoned();
            self.take();
            self.tend();
            let closing = lock(&self.shared.closing).take();
            if closing.is_some() || gone {
                return self.end(closing);
            }
        }
    }

    /// Lets more come before a sync where that saves one: others who waited the last time are about to come back, or nobody waits yet.
    /// Whoever waits alone is never held up.
    fn gather(&self) {
        let (jobs, waiters) = self.queue.0.company();
        let enough = if waiters == 0 { 1 } else { self.company };
        if jobs > 0 && waiters < enough {
            self.queue.0.sleep(enough, GATHER_MAX);
        }
    }

    /// Commits what waits.
    fn take(&mut self) -> usize {
        let mut jobs = std::mem::take(&mut self.jobs);
        self.queue.0.take(&mut jobs, BATCH_RECORDS_MAX);
        let taken = jobs.len();
        if taken > 0 {
            self.company = jobs.iter().filter(|job| job.waiter.is_some()).count();
            self.commit(&mut jobs);
        }
        jobs.clear();
        self.jobs = jobs;
        taken
    }

    fn commit(&mut self, jobs: &mut [Job]) {
        let mut fates = std::mem::take(&mut self.fates);
        fates.clear();
        let entries = jobs.iter().map(|job| &job.entry);
        let began = Instant::now();
        let due = self.cadence.wait(began).is_zero();
        if due {
            self.store.want_checkpoint();
        }
        let (records, (checkpoints, _)) = (self.store.run_records(), self.store.checkpoints());
        self.store.commit(entries, now_micros(), &mut fates);
        let made = self.store.checkpoints().0 - checkpoints;
        if due {
            self.cadence.checked(made > 0, began);
        }
        let written = self.store.run_records() - records;
        self.cadence.saw(written - made, began);
        self.counted(EventName::AuditCheckpoint, made);
        self.hand_over();
        let full = fates.iter().any(|fate| matches!(fate, Err(Refused::Full)));
        self.publish(full);
        for (fate, job) in fates.iter().zip(jobs) {
            self.count(*fate, &job.entry);
            if let Some(waiter) = job.waiter.take() {
                // Nobody waits any more: the record stands all the same.
                let _nobody = waiter.send(self.answer(*fate, &job.entry));
            }
        }
        self.fates = fates;
    }

    /// Gives what was written to the deliveries, if there are any.
    fn hand_over(&mut self) {
        if !lock(&self.shared.recent).wanted() {
            return;
        }
        if let Some(committed) = self.store.committed() {
            let gone = lock(&self.shared.recent).push(committed);
            drop(gone);
        }
    }

    fn counted(&self, name: EventName, records: u64) {
        if let Some(counter) = self.shared.events.get(name.index()) {
            counter.fetch_add(records, Ordering::Relaxed);
        }
    }

    fn count(&self, fate: Fate, entry: &Entry) {
        let counter = match fate {
            Ok(_) => self.shared.events.get(entry.rendered.name().index()),
            Err(_) => Some(&self.shared.refused),
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn answer(&self, fate: Fate, entry: &Entry) -> Result<Receipt, NotDurable> {
        match fate {
            Ok(seq) => Ok(Receipt {
                uid: entry.rendered.stamp().uid,
                chain: Arc::clone(self.store.chain()),
                seq,
            }),
            Err(Refused::Full) => Err(NotDurable::SpoolFull),
            Err(Refused::StrangersFull) => Err(NotDurable::StrangersFull),
            Err(Refused::Broken) => Err(NotDurable::Failed),
        }
    }

    /// Until the next look at what time brings about.
    fn patience(&self) -> Duration {
        let checkpoint = self.cadence.wait(Instant::now());
        let rest = match self.uncovered_since {
            Some(since) if self.store.sound() => {
                HEAD_SYNC_INTERVAL.saturating_sub(since.elapsed()).min(TICK)
            }
            _ => TICK,
        };
        rest.min(checkpoint)
    }

    /// Syncs the head where it is due: behind the waiters' backs, who have their answers.
    fn cover(&mut self) {
        let uncovered = self.store.uncovered();
        let since = match (uncovered, self.uncovered_since) {
            (0, _) => None,
            (_, Some(since)) => Some(since),
            (_, None) => Some(Instant::now()),
        };
        let late = since.is_some_and(|since| since.elapsed() >= HEAD_SYNC_INTERVAL);
        self.uncovered_since = since;
        if !self.store.sound() || !(late || uncovered >= HEAD_SYNC_RECORDS) {
            return;
        }
        match self.store.sync_head() {
            Ok(()) => self.uncovered_since = None,
            Err(_told_by_health) => self.publish(false),
        }
    }

    /// Windows, repairs, the head, segments to let go.
    fn tend(&mut self) {
        let counts = {
            let mut limiter = lock(&self.shared.limiter);
            if limiter.ends().is_some_and(|end| end <= Instant::now()) {
                limiter.close_window()
            } else {
                Vec::new()
            }
        };
        self.strangers(counts);
        if self.cadence.wait(Instant::now()).is_zero() {
            self.commit(&mut []);
        }
        self.cover();
        let was_sound = self.store.sound();
        let repaired = self.store.repair(now_micros()).is_ok() && !was_sound;
        if repaired || self.release() {
            self.publish(false);
        }
    }

    fn strangers(&mut self, counts: Vec<Event<'_>>) {
        let mut jobs: Vec<_> = counts
            .iter()
            .map(|event| Job {
                entry: Entry::now(event, Origin::Stranger),
                waiter: None,
            })
            .collect();
        if !jobs.is_empty() {
            self.commit(&mut jobs);
        }
    }

    /// Lets delivered segments go where the retention says so.
    fn release(&mut self) -> bool {
        if self.shared.settings.retention != Retention::Delivered {
            return false;
        }
        let keep = lock(&self.shared.sinks)
            .values()
            .map(|sink| sink.cursor.segment)
            .min();
        let Some(keep) = keep.filter(|keep| *keep > self.store.head().base) else {
            return false;
        };
        self.store.release(keep, now_micros()).is_ok()
    }

    /// Writes an event of the trail itself.
    fn own(&mut self, event: &Event<'_>) -> bool {
        let (waiter, mut answer) = oneshot::channel();
        let mut job = [Job {
            entry: Entry::now(event, Origin::Trail),
            waiter: Some(waiter),
        }];
        self.commit(&mut job);
        matches!(answer.try_recv(), Ok(Ok(_)))
    }

    fn mark_end(&mut self) -> bool {
        let marked = self.store.mark_end(now_micros());
        self.hand_over();
        self.counted(EventName::AuditStopped, u64::from(marked));
        marked
    }

    /// The end marker, after everything that still waits; without a request to close (all handles dropped) the log ends as it does in a crash.
    fn end(mut self, closing: Option<oneshot::Sender<bool>>) {
        // First nothing more may come, so that whatever was taken in is written before the end marker.
        self.queue.0.end();
        while self.take() > 0 {}
        let counts = lock(&self.shared.limiter).close_window();
        self.strangers(counts);
        let Some(answer) = closing else { return };
        let clean = self.mark_end() && self.store.close(now_micros()).is_ok();
        self.publish(false);
        lock(&self.shared.standing).closed = true;
        // The lock ends with the store, before anybody hears of it.
        drop(self.store);
        let _nobody = answer.send(clean);
    }

    /// Tells readers how far the log is durable.
    pub(crate) fn publish(&self, full: bool) {
        let head = self.store.head();
        let mut standing = lock(&self.shared.standing);
        *standing = Standing {
            bytes: self.store.bytes(),
            records: head.records,
            checkpoint_micros: self.store.checkpoints().1,
            sound: self.store.sound(),
            full: full || (standing.full && standing.bytes == self.store.bytes()),
            closed: false,
            base: head.base,
            base_prev: head.base_prev,
        };
        drop(standing);
        if self.store.sound() {
            self.shared.durable.send_replace(head.end);
        }
    }
}

impl<D> std::fmt::Debug for Committer<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committer")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
