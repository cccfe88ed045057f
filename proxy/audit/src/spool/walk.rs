//! Following the chain from record to record: the one place that says what order means.

use crate::keys::AuditKeys;
use crate::record::{Record, RecordError};

use super::frame::{Frame, FrameError, decode};

/// Why a record is not the one that belongs in its place.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum WalkError {
    /// The frame itself.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Its content.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It does not follow the record before it.
    #[error("it does not follow the record before it: something was removed, moved or put in")]
    Prev,
    /// Its number is not the next one of its chain.
    #[error("its number is not the next of its chain")]
    Seq,
    /// The frame and the record in it disagree.
    #[error("its frame and its content disagree")]
    Disagree,
}

impl WalkError {
    /// Whether a write that a crash cut short can look like this. A frame whose checksum holds was written whole, by whoever wrote it.
    pub(crate) fn torn(&self) -> bool {
        !matches!(
            self,
            Self::Frame(FrameError::UnknownKey | FrameError::Mac | FrameError::Flags)
        )
    }
}

/// Where the chain stands.
#[derive(Debug, Clone)]
pub(crate) struct Walk {
    prev: [u8; 32],
    /// The chain and number of the last record; none before the first.
    last: Option<(String, u64)>,
    /// The log starts in the middle of a chain, after older segments were let go.
    middle: bool,
    /// No record yet, and any may come.
    any: bool,
}

impl Walk {
    /// Starts behind the record whose hash is `prev`.
    pub(crate) fn new(prev: [u8; 32], middle: bool) -> Self {
        Self {
            prev,
            last: None,
            middle,
            any: false,
        }
    }

    /// Starts wherever the first record says that it follows: a rest of segments that are being let go.
    pub(crate) fn from_any() -> Self {
        Self {
            prev: [0; 32],
            last: None,
            middle: true,
            any: true,
        }
    }

    /// Whether the last record is the one with this hash.
    pub(crate) fn stands_at(&self, hash: &[u8; 32]) -> bool {
        self.any || self.prev == *hash
    }

    /// The hash of the last record.
    pub(crate) fn hash(&self) -> [u8; 32] {
        self.prev
    }

    /// Reads the frame at the start of `bytes` as the next record.
    pub(crate) fn next<'a>(
        &mut self,
        bytes: &'a [u8],
        keys: &AuditKeys,
    ) -> Result<(Frame<'a>, Record), WalkError> {
        let frame = decode(bytes, keys)?;
        if frame.prev != self.prev && !self.any {
            return Err(WalkError::Prev);
        }
        let record = content(&frame)?;
        self.follow(&record)?;
        Ok((frame, record))
    }

    /// Takes a record as the next.
    pub(crate) fn follow(&mut self, record: &Record) -> Result<(), WalkError> {
        if *record.prev() != self.prev && !self.any {
            return Err(WalkError::Prev);
        }
        let same_chain = matches!(&self.last, Some((chain, _)) if chain == record.chain());
        let expected = match &self.last {
            Some((_, seq)) if same_chain => seq.checked_add(1),
            None if self.middle => Some(record.seq()),
            _ => Some(0),
        };
        if expected != Some(record.seq()) {
            return Err(WalkError::Seq);
        }
        self.prev = record.hash();
        self.any = false;
        match &mut self.last {
            Some((_, seq)) if same_chain => *seq = record.seq(),
            last => *last = Some((record.chain().to_owned(), record.seq())),
        }
        Ok(())
    }
}

/// The record in a frame, which must agree with it.
pub(crate) fn content(frame: &Frame<'_>) -> Result<Record, WalkError> {
    let record = Record::hashed(frame.json, frame.hash)?;
    let agree = *record.prev() == frame.prev && record.seq() == frame.seq;
    agree.then_some(record).ok_or(WalkError::Disagree)
}
