//! Connections to the upstream between two requests.
//!
//! The one used last is used next, so that as few as possible are held. Each worker has a shelf of its own: a
//! connection is woken by the worker that opened it, and another would have to be woken across threads.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pingora::protocols::Stream;

use super::stream::UpstreamStream;
use crate::workers;

/// How long an unused connection is kept. Shorter than the five seconds after which the common Python and Node
/// servers close theirs, so that a request rarely meets a connection that is just being closed.
const IDLE_MAX: Duration = Duration::from_secs(4);
/// Unused connections of one worker; one more is closed.
const SHELF_CONNECTIONS_MAX: usize = 128;

/// An unused connection and since when it is one.
struct Idle {
    stream: Box<UpstreamStream>,
    since: Instant,
}

pub(super) struct Pool {
    shelves: Box<[Mutex<Vec<Idle>>]>,
}

impl Pool {
    pub(super) fn new() -> Self {
        Self {
            shelves: (0..workers::count()).map(|_| Mutex::default()).collect(),
        }
    }

    /// An unused connection that still stands.
    pub(super) fn take(&self) -> Option<Stream> {
        let shelf = self.shelves.get(workers::current())?;
        let mut shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(mut idle) = shelf.pop() {
            if idle.since.elapsed() >= IDLE_MAX {
                // Those below are older still.
                shelf.clear();
            } else if idle.stream.is_silent() {
                return Some(idle.stream);
            }
        }
        None
    }

    pub(super) fn put(&self, stream: Stream) {
        let shelf = self.shelves.get(workers::current());
        let (Some(shelf), Ok(stream)) = (shelf, stream.into_any().downcast::<UpstreamStream>())
        else {
            return;
        };
        let mut shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
        if shelf.len() < SHELF_CONNECTIONS_MAX {
            let since = Instant::now();
            shelf.push(Idle { stream, since });
        }
    }

    /// Closes all: what they were opened with holds no more.
    pub(super) fn clear(&self) {
        for shelf in &self.shelves {
            shelf.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// Closes what has been unused for too long.
    pub(super) fn sweep(&self) {
        for shelf in &self.shelves {
            let mut shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
            shelf.retain(|idle| idle.since.elapsed() < IDLE_MAX);
        }
    }
}
