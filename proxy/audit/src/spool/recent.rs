//! What was committed a moment ago, kept for delivery, so that it needs neither the disk nor a second look.
//!
//! Only what is durable and under the head comes here. A delivery finds its place by the hash that its cursor holds, so what it gets is what follows there in
//! the chain, or nothing; then it reads the log. The log is the truth and this is a shortcut: everything here may be lost at any time.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Position;
use crate::record::Record;

/// Bytes of frames that are kept at the most; the oldest go first. Delivery that falls further behind reads the log.
pub(crate) const RECENT_BYTES_MAX: usize = 16 << 20;

/// One group commit.
#[derive(Debug)]
pub(crate) struct Committed {
    /// Behind its last frame.
    pub(crate) end: Position,
    /// Bytes of its frames.
    pub(crate) bytes: usize,
    /// Its records, each with the position behind it.
    pub(crate) records: Vec<(Record, Position)>,
}

/// The last commits, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    commits: VecDeque<Arc<Committed>>,
    bytes: usize,
    /// Deliveries that may ask.
    readers: usize,
}

impl Recent {
    /// One more delivery wants what is committed from now on.
    pub(crate) fn join(&mut self) {
        self.readers += 1;
    }

    /// A delivery is gone.
    pub(crate) fn leave(&mut self) {
        self.readers = self.readers.saturating_sub(1);
        if self.readers == 0 {
            *self = Self::default();
        }
    }

    /// Whether anybody will ask.
    pub(crate) fn wanted(&self) -> bool {
        self.readers > 0
    }

    /// Bytes that are kept.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps a commit; what then is too much comes back, to be dropped where nobody waits.
    pub(crate) fn push(&mut self, committed: Committed) -> Vec<Arc<Committed>> {
        self.bytes += committed.bytes;
        self.commits.push_back(Arc::new(committed));
        let mut gone = Vec::new();
        while self.bytes > RECENT_BYTES_MAX {
            let Some(oldest) = self.commits.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(oldest.bytes);
            gone.push(oldest);
        }
        gone
    }

    /// Lets go what every sink has; it comes back, to be dropped outside the lock.
    pub(crate) fn forget(&mut self, before: Position) -> Vec<Arc<Committed>> {
        let count = self.commits.partition_point(|commit| commit.end <= before);
        let gone: Vec<_> = self.commits.drain(..count).collect();
        let bytes: usize = gone.iter().map(|commit| commit.bytes).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
        gone
    }

    /// The commits behind a position, as far as they reach, with about so many records.
    pub(crate) fn behind(&self, at: Position, records: usize) -> Vec<Arc<Committed>> {
        let first = self.commits.partition_point(|commit| commit.end <= at);
        let mut left = records;
        let mut found = Vec::new();
        for commit in self.commits.iter().skip(first) {
            if left == 0 {
                break;
            }
            left = left.saturating_sub(commit.records.len());
            found.push(Arc::clone(commit));
        }
        found
    }
}
