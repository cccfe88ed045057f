//! Where events wait for the one thread that writes: a bounded list under one lock, changed hands as a whole.
//!
//! A sender wakes the thread only when it sleeps *and* what it waits for has come. So a thread that gathers company for a sync
//! is not woken by each event, and one that is at work is not woken at all.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::trail::{NotDurable, Receipt};

use super::{Entry, lock};

/// Who waits for a receipt.
pub(crate) type Waiter = oneshot::Sender<Result<Receipt, NotDurable>>;

/// An event that waits for the disk.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) entry: Entry,
    /// None: nobody waits.
    pub(crate) waiter: Option<Waiter>,
}

/// The list.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    news: Condvar,
    jobs_max: usize,
}

#[derive(Debug, Default)]
struct State {
    jobs: Vec<Job>,
    /// Jobs in the list that came with a waiter.
    waiters: usize,
    /// The thread sleeps until so many waiters are there; 0: until any job is.
    asleep_until: Option<usize>,
    /// Somebody asks the thread to look up.
    called: bool,
    /// No handle is left.
    abandoned: bool,
    /// No thread is left.
    ended: bool,
}

impl State {
    fn due(&self, waiters: usize) -> bool {
        let enough = match waiters {
            0 => !self.jobs.is_empty(),
            enough => self.waiters >= enough,
        };
        enough || self.called || self.abandoned
    }
}

impl Queue {
    /// A list for at most so many jobs.
    pub(crate) fn new(jobs_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            news: Condvar::new(),
            jobs_max,
        }
    }

    /// Puts a job on its way, or says at once why not.
    pub(crate) fn put(&self, job: Job) -> Result<(), NotDurable> {
        let mut state = lock(&self.state);
        if state.ended {
            return Err(NotDurable::Closed);
        }
        if state.jobs.len() >= self.jobs_max {
            return Err(NotDurable::QueueFull);
        }
        state.waiters += usize::from(job.waiter.is_some());
        state.jobs.push(job);
        self.wake(state);
        Ok(())
    }

    /// Has the thread look up; false: it is gone.
    pub(crate) fn call(&self) -> bool {
        let mut state = lock(&self.state);
        state.called = true;
        let there = !state.ended;
        self.wake(state);
        there
    }

    /// The last handle goes.
    pub(crate) fn abandon(&self) {
        let mut state = lock(&self.state);
        state.abandoned = true;
        self.wake(state);
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let due = state.asleep_until.is_some_and(|waiters| state.due(waiters));
        if due {
            state.asleep_until = None;
            drop(state);
            self.news.notify_one();
        }
    }

    /// Sleeps until `waiters` are there (0: any job), somebody calls, or for so long. For the one thread.
    pub(crate) fn sleep(&self, waiters: usize, at_most: Duration) {
        let until = Instant::now() + at_most;
        let mut state = lock(&self.state);
        while !state.due(waiters) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state.asleep_until = Some(waiters);
            (state, _) = self
                .news
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.asleep_until = None;
        state.called = false;
    }

    /// How many jobs there are, and how many of them somebody waits for.
    pub(crate) fn company(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.jobs.len(), state.waiters)
    }

    /// Takes up to `max` jobs into `jobs`, which is empty. Usually the two lists change places, so neither is built anew.
    pub(crate) fn take(&self, jobs: &mut Vec<Job>, max: usize) {
        let mut state = lock(&self.state);
        if state.jobs.len() <= max && jobs.is_empty() {
            std::mem::swap(jobs, &mut state.jobs);
            state.waiters = 0;
        } else {
            let count = max.min(state.jobs.len());
            jobs.extend(state.jobs.drain(..count));
            state.waiters = state.jobs.iter().filter(|job| job.waiter.is_some()).count();
        }
    }

    /// Takes no job any more; those that are there stay.
    pub(crate) fn end(&self) {
        lock(&self.state).ended = true;
    }

    /// Whether no handle is left.
    pub(crate) fn abandoned(&self) -> bool {
        lock(&self.state).abandoned
    }
}

/// The thread's end of the list: when it goes, whatever happened, nobody waits in vain.
#[derive(Debug)]
pub(crate) struct Reader(pub(crate) Arc<Queue>);

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.ended = true;
        let unheard = std::mem::take(&mut state.jobs);
        drop(state);
        // Each waiter hears that its other end is gone.
        drop(unheard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::EventName;
    use crate::event::{Event, Outcome};
    use crate::spool::Origin;

    fn job(waiter: Option<Waiter>) -> Job {
        let event = Event::new(EventName::PhiRead, Outcome::Success);
        Job {
            entry: Entry::now(&event, Origin::Known),
            waiter,
        }
    }

    fn waited() -> Job {
        job(Some(oneshot::channel().0))
    }

    #[test]
    fn one_more_than_fits_is_refused_and_what_was_taken_makes_room() {
        let queue = Queue::new(2);
        assert!(queue.put(job(None)).is_ok() && queue.put(waited()).is_ok());
        assert_eq!(queue.put(waited()), Err(NotDurable::QueueFull));
        let mut jobs = Vec::new();
        queue.take(&mut jobs, 1);
        assert_eq!((jobs.len(), queue.company()), (1, (1, 1)));
        assert!(queue.put(waited()).is_ok());
        jobs.clear();
        queue.take(&mut jobs, 5);
        assert_eq!((jobs.len(), queue.company()), (2, (0, 0)));
    }

    #[test]
    fn a_thread_that_gathers_sleeps_on_until_enough_wait() {
        let queue = Arc::new(Queue::new(100));
        std::thread::scope(|scope| {
            let gatherer = scope.spawn(|| {
                queue.sleep(2, Duration::from_secs(3600));
                queue.company()
            });
            for _ in 0..10 {
                queue.put(job(None)).unwrap();
            }
            queue.put(waited()).unwrap();
            queue.put(waited()).unwrap();
            let (jobs, waiters) = gatherer.join().unwrap();
            assert_eq!((jobs, waiters), (12, 2));
        });
    }

    #[test]
    fn what_was_taken_in_before_the_end_is_still_there() {
        let queue = Queue::new(9);
        queue.put(job(None)).unwrap();
        queue.end();
        assert_eq!(queue.put(job(None)), Err(NotDurable::Closed));
        assert!(!queue.call());
        assert_eq!(queue.company(), (1, 0));
    }

    #[test]
    fn a_call_ends_any_sleep() {
        let queue = Queue::new(1);
        assert!(queue.call());
        queue.sleep(7, Duration::from_secs(3600));
        queue.abandon();
        queue.sleep(7, Duration::from_secs(3600));
        assert!(queue.abandoned());
    }

    #[tokio::test]
    async fn whoever_waits_hears_that_the_thread_is_gone() {
        let queue = Arc::new(Queue::new(9));
        let reader = Reader(Arc::clone(&queue));
        let (waiter, answer) = oneshot::channel();
        queue.put(job(Some(waiter))).unwrap();
        drop(reader);
        assert!(answer.await.is_err());
        assert_eq!(queue.put(waited()), Err(NotDurable::Closed));
        assert!(!queue.call());
    }
}
