//! Emergency access, break-glass (45 CFR 164.312(a)(2)(ii)): begun by a person through the sidecar's own tool, ended by time,
//! logout or the person, reviewed by somebody else.
//!
//! What one permits is the policy's to say (`decide::emergency`); here are only the facts. `tools` is what the client sees,
//! `record` what is kept of one, `queue` the file that keeps it until it is reviewed, `told` the events. Who calls the tools is
//! answered in `exchange::emergency`; who reviews, in `control::emergencies`.
//!
//! Promises (docs/decisions/0031-emergency-access.md):
//! - nobody sees more before the queue and the event `emergency_access_start` are both durable;
//! - an emergency is of one login session of one person, for one patient, and counts from its start to its end by this clock;
//! - what a process that died left open is ended by the next one before it serves;
//! - one that nobody reviewed in time alerts again, once, whatever restarts.

mod queue;
mod record;
#[cfg(test)]
mod tests;
mod told;
pub mod tools;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use safeguard_policy::principal::ActiveEmergency;
use tokio::sync::watch;
use zeroize::Zeroizing;

pub use queue::{QUEUE_MAX, QueueError, SEALED};
pub use record::{End, Record, Review, Verdict, WORDS_BYTES_MAX};
pub use told::Begun;

use crate::clock;
use crate::events::Recorder;
use crate::exchange::Caller;
use crate::factor::seal::Seal;
use crate::session::InSession;
use queue::Queue;

/// How long the disk is waited for.
const WAIT: Duration = Duration::from_secs(8);

/// An emergency that has begun: what the requests of its session share.
pub struct Active {
    /// Its id, as events and the queue have it.
    pub id: String,
    /// Its end, in seconds since the epoch.
    pub until_unix: i64,
    patient: Zeroizing<String>,
    session: InSession,
    ended: watch::Sender<bool>,
}

impl fmt::Debug for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Active({})", self.id)
    }
}

impl Active {
    /// What the policy may know of it.
    pub fn fact(&self) -> ActiveEmergency<'_> {
        ActiveEmergency {
            patient: &self.patient,
            until_unix: self.until_unix,
        }
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        *self.ended.borrow() || clock::now_unix() >= self.until_unix
    }

    /// Resolves when it is over. Cancel-safe.
    pub async fn over(&self) {
        let mut told = self.ended.subscribe();
        while !self.is_over() {
            let left = self.until_unix.saturating_sub(clock::now_unix());
            let left = Duration::from_secs(u64::try_from(left).unwrap_or(0));
            tokio::select! {
                changed = told.changed() => if changed.is_err() {
                    return;
                },
                () = tokio::time::sleep(left) => {}
            }
        }
    }
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The queue can't be read or written.
    #[error(transparent)]
    Queue(QueueError),
    /// The disk does not answer.
    #[error("the review queue of emergencies does not answer")]
    TooSlow,
    /// The event could not be made durable.
    #[error("the audit log can't record it durably")]
    Audit,
    /// It can't be done, in words for whoever asked.
    #[error("{0}")]
    No(&'static str),
}

/// The room. One for the process.
#[derive(Debug)]
pub struct Emergencies {
    queue: Arc<Mutex<Queue>>,
    /// By the hashed id of the login session.
    active: RwLock<HashMap<String, Arc<Active>>>,
}

/// What is asked for.
pub struct Wish {
    /// The one patient.
    pub patient: Zeroizing<String>,
    /// Why, in the person's words.
    pub reason: Zeroizing<String>,
    /// How long, in seconds.
    pub lasts_seconds: u32,
    /// Until when it must be reviewed, in seconds.
    pub review_within_seconds: u32,
}

impl fmt::Debug for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wish(..)")
    }
}

impl Emergencies {
    /// Opens the queue in the state directory, and ends what a process before this one left open.
    ///
    /// # Errors
    /// The file is no queue that these keys open, or can't be read or written.
    pub fn open(state: &Path, seal: Seal) -> Result<Self, QueueError> {
        Ok(Self {
            queue: Arc::new(Mutex::new(Queue::open(state, seal)?)),
            active: RwLock::default(),
        })
    }

    /// The emergency of a login session, if it goes on.
    pub fn of(&self, session: &str) -> Option<Arc<Active>> {
        let active = self.active.read();
        let found = active.get(session)?;
        (!found.is_over()).then(|| Arc::clone(found))
    }

    /// Begins one for the caller, and ends the one that its session had. It counts once this has returned.
    ///
    /// # Errors
    /// Nothing has begun.
    pub async fn begin(
        &self,
        recorder: &Recorder,
        caller: &Caller,
        hash: [u8; 32],
        wish: Wish,
    ) -> Result<Arc<Active>, Refused> {
        let session = caller.session.hashed_id();
        self.end_of(recorder, session, End::Replaced).await?;
        let record = Record::begun(caller, &wish, clock::now_unix());
        let (id, until_unix) = (record.id.clone(), record.until_unix);
        let kept = record.clone();
        self.change(move |records| records.push(kept)).await?;
        let begun = Begun {
            record: &record,
            caller,
            hash,
        };
        if recorder.emergency_began(&begun).durable().await.is_err() {
            // It has not happened: there is nothing to review.
            let gone = id.clone();
            let _kept = self
                .change(move |all| all.retain(|one| one.id != gone))
                .await;
            return Err(Refused::Audit);
        }
        let active = Arc::new(Active {
            id,
            until_unix,
            patient: wish.patient,
            session: caller.session.clone(),
            ended: watch::Sender::new(false),
        });
        let mut table = self.active.write();
        table.insert(session.to_owned(), Arc::clone(&active));
        Ok(active)
    }

    /// Ends the emergency of a session; false where there is none. It counts for nothing from the first moment on.
    ///
    /// # Errors
    /// That it ended is not durable; the next process says it again.
    pub async fn end_of(
        &self,
        recorder: &Recorder,
        session: &str,
        why: End,
    ) -> Result<bool, Refused> {
        let Some(active) = self.active.write().remove(session) else {
            return Ok(false);
        };
        active.ended.send_replace(true);
        let now = clock::now_unix();
        let id = active.id.clone();
        let ended = self.change(move |records| {
            let record = records.iter_mut().find(|record| record.id == id)?;
            record.end(why, now);
            Some(record.clone())
        });
        if let Some(record) = ended.await? {
            recorder.emergency_ended(&record);
        }
        Ok(true)
    }

    /// Ends what ran out or lost its session, and tells what nobody reviewed in time.
    pub async fn sweep(&self, recorder: &Recorder) {
        let over: Vec<(String, End)> = {
            let active = self.active.read();
            let ended = active.iter().filter_map(|(session, active)| {
                let why = match active.is_over() {
                    true => End::Expired,
                    false if active.session.is_over().is_some() => End::SessionEnded,
                    false => return None,
                };
                Some((session.clone(), why))
            });
            ended.collect()
        };
        for (session, why) in over {
            if let Err(error) = self.end_of(recorder, &session, why).await {
                log::error!("the end of an emergency: {error}");
            }
        }
        let now = clock::now_unix();
        self.end_forgotten(recorder, now).await;
        self.alert(recorder, now).await;
    }

    /// Ends what the disk did not take at its time: nothing of it counts any more, and it waits for its review.
    async fn end_forgotten(&self, recorder: &Recorder, now_unix: i64) {
        let is_forgotten =
            move |record: &Record| record.ended.is_none() && now_unix >= record.until_unix;
        if !self.queue.lock().records().iter().any(is_forgotten) {
            return;
        }
        let ended = self.change(move |records| {
            let forgotten = records.iter_mut().filter(|record| is_forgotten(record));
            let ended = forgotten.map(|record| {
                record.end(End::Expired, now_unix);
                record.clone()
            });
            ended.collect::<Vec<_>>()
        });
        for record in ended.await.unwrap_or_default() {
            recorder.emergency_ended(&record);
        }
    }

    /// Tells the ends of what the process before this one left open.
    pub fn tell_left_open(&self, recorder: &Recorder) {
        for record in self.queue.lock().take_left_open() {
            recorder.emergency_ended(&record);
        }
    }

    async fn alert(&self, recorder: &Recorder, now_unix: i64) {
        let is_due = |record: &Record| record.is_overdue(now_unix) && !record.alerted;
        let due: Vec<Record> = {
            let queue = self.queue.lock();
            queue
                .records()
                .iter()
                .filter(|one| is_due(one))
                .cloned()
                .collect()
        };
        for record in due {
            // Told before it is noted: a process that dies between tells it twice rather than never.
            if recorder.emergency_overdue(&record).durable().await.is_err() {
                return;
            }
            let noted = self.change(move |records| {
                if let Some(one) = records.iter_mut().find(|one| one.id == record.id) {
                    one.alerted = true;
                }
            });
            if let Err(error) = noted.await {
                log::error!("an emergency that nobody reviewed: {error}");
                return;
            }
        }
    }

    /// Reviews one that is over; gives it as it stands then.
    ///
    /// # Errors
    /// There is none, it goes on, it was reviewed, or whoever reviews it is who used it.
    pub async fn review(&self, id: &str, review: Review) -> Result<Record, Refused> {
        let id = id.to_owned();
        let done = self.change(move |records| {
            let found = records.iter_mut().find(|record| record.id == id);
            let record = found.ok_or(Refused::No("no emergency has this id"))?;
            record.review(review)?;
            Ok(record.clone())
        });
        done.await?
    }

    /// All that are kept, oldest first.
    pub fn all(&self) -> Vec<Record> {
        self.queue.lock().records().to_vec()
    }

    /// How many go on, wait for a review, and wait for too long.
    pub fn counts(&self, now_unix: i64) -> (usize, usize, usize) {
        let queue = self.queue.lock();
        let waiting = queue.records().iter().filter(|one| one.review.is_none());
        let (mut pending, mut overdue) = (0, 0);
        for record in waiting {
            pending += 1;
            overdue += usize::from(record.is_overdue(now_unix));
        }
        let active = self.active.read();
        let active = active.values().filter(|active| !active.is_over()).count();
        (active, pending, overdue)
    }

    /// Changes the queue; durable once this has returned.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Vec<Record>) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let queue = Arc::clone(&self.queue);
        let work = tokio::task::spawn_blocking(move || queue.lock().change(change));
        match tokio::time::timeout(WAIT, work).await {
            Ok(Ok(done)) => done.map_err(Refused::Queue),
            Ok(Err(_)) | Err(_) => Err(Refused::TooSlow),
        }
    }
}
