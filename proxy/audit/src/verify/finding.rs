//! What verifying can find: what is wrong, with the place of the first bad record, and what is only worth knowing.

use std::fmt;

use uuid::Uuid;

use super::cover::CheckpointFault;
use crate::catalogue::EventName;
use crate::record::Record;
use crate::spool::disk::segment_name;
use crate::spool::{Position, WalkError};

/// A record by its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its uid.
    pub uid: Uuid,
    /// Its chain.
    pub chain: String,
    /// Its number there.
    pub seq: u64,
    /// Its event.
    pub event: EventName,
    /// When.
    pub time: String,
}

impl Place {
    pub(crate) fn of(record: &Record) -> Self {
        Self {
            uid: record.uid(),
            chain: record.chain().to_owned(),
            seq: record.seq(),
            event: record.name(),
            time: record.time().to_owned(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} of {} ({}, uid {})",
            self.event.as_str(),
            self.seq,
            self.chain,
            self.time,
            self.uid
        )
    }
}

/// The first thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: the start of the bad record, or where something is missing.
    pub at: Position,
    /// Where in an export: the line, from 1.
    pub line: Option<u64>,
    /// The last record that is whole; the bad one is the next.
    pub after: Option<Place>,
    /// What lies in the bad one's place, by its own words, which nothing proves; none where there is nothing that can be read.
    pub claims: Option<Place>,
    /// What is wrong.
    pub what: Fault,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what)?,
            None => write!(
                f,
                "{} byte {}: {}",
                segment_name(self.at.segment),
                self.at.offset,
                self.what
            )?,
        }
        match (&self.claims, self.missing()) {
            (Some(place), Some((first, last))) => write!(
                f,
                "; the records {first} to {last} are missing before what lies there, which says that it is {place}"
            )?,
            (Some(place), None) => write!(f, "; what lies there says that it is {place}")?,
            (None, _) if matches!(self.what, Fault::Record(_)) => {
                f.write_str("; what lies there can't be read")?;
            }
            (None, _) => {}
        }
        match &self.after {
            Some(place) => write!(f, "; the last whole record is {place}"),
            None => f.write_str("; no record before it is whole"),
        }
    }
}

impl Problem {
    /// The first and the last number that are missing before the bad record, if it is of the same run as the one before.
    #[must_use]
    pub fn missing(&self) -> Option<(u64, u64)> {
        let (after, claims) = (self.after.as_ref()?, self.claims.as_ref()?);
        let first = after.seq.checked_add(1)?;
        let last = claims.seq.checked_sub(1)?;
        (after.chain == claims.chain && first <= last).then_some((first, last))
    }
}

/// What can be wrong with a log.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum Fault {
    /// A record.
    #[error("the next record is bad: {0}")]
    Record(#[from] WalkError),
    /// The log is shorter than its head.
    #[error("the log ends before its durable head: records were cut off")]
    Cut,
    /// A segment's file is not there.
    #[error("a segment is missing")]
    Missing,
    /// A file that is no part of the log.
    #[error("`{0}` is no part of the log")]
    Foreign(String),
    /// The records hold, but they are not those that the head proves.
    #[error("the records are not those that the head proves: the log was replaced or rolled back")]
    NotTheHeads,
    /// A checkpoint that does not hold over the records before it.
    #[error(
        "the checkpoint {at} of its run does not hold over the records {first} to {at}: {what}"
    )]
    Checkpoint {
        /// What does not hold.
        what: CheckpointFault,
        /// The first record of the run that no checkpoint before holds.
        first: u64,
        /// The checkpoint's own number.
        at: u64,
    },
    /// Nothing in the copy is signed.
    #[error("it holds no checkpoint, so nothing proves any of it without the key `keys.audit`")]
    Unsigned,
    /// A record that its successor knows otherwise.
    #[error("it was changed: the next record holds another hash of it")]
    Changed,
    /// An anchor that this log can't have been made from.
    #[error(
        "the anchor of {time} says that the run {chain} had {size} records, and the log has {has}: it was cut off or rolled back"
    )]
    BehindAnchor {
        /// The run.
        chain: String,
        /// Its records by the anchor.
        size: u64,
        /// Its records in the log.
        has: u64,
        /// When the anchor was made.
        time: String,
    },
    /// An anchor over other records.
    #[error(
        "the anchor of {time} was made over other records: the first {size} of the run {chain} were changed, or the log went on in two places"
    )]
    NotTheAnchors {
        /// The run.
        chain: String,
        /// Its records by the anchor.
        size: u64,
        /// When the anchor was made.
        time: String,
    },
    /// An anchor that nobody trusted signed.
    #[error(
        "the anchor of {time} for the run {chain} is not signed with a key that is trusted here"
    )]
    ForeignAnchor {
        /// The run.
        chain: String,
        /// When it says that it was made.
        time: String,
    },
    /// No head that a key of the ring wrote.
    #[error(
        "there is no valid head in the state directory: removed, changed, or written with other keys than `keys.audit`"
    )]
    NoHead,
}

/// Worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Whole records behind the durable head: a commit was under way, or the power failed before the head was synced.
    BehindHead(u64),
    /// Bytes of a record that was being written.
    Torn(u64),
    /// The last run has no `audit_stopped`: it crashed, or still runs.
    NoEndMarker,
    /// There is no record.
    Empty,
    /// So many runs before the last one have no end marker; the last record of the first of them, and the first of the next run.
    Unended(u64, Box<(Place, Place)>),
    /// So many records behind the last checkpoint, which no signature covers yet.
    BehindCheckpoint(u64),
    /// The copy begins in the middle of the log, with this record.
    Middle(Place),
    /// So many times the clock went back by more than a second; the first record after the first time.
    ClockBack(u64, Place),
    /// So many times no checkpoint came for more than two heartbeats; the first of those silences, in seconds, and the checkpoint that ended it.
    Silence(u64, i64, Place),
    /// So many intents without an outcome; the first.
    NoOutcome(u64, Place),
    /// So many outcomes without an intent; the first.
    NoIntent(u64, Place),
    /// So many anchors of runs that this copy does not reach back to.
    AnchorsBefore(u64),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BehindHead(records) => write!(
                f,
                "{records} whole records behind the durable head: a commit was under way, or the power failed before the head was synced; the next start covers them"
            ),
            Self::Torn(bytes) => {
                write!(f, "{bytes} bytes of a torn record behind the durable head")
            }
            Self::NoEndMarker => {
                f.write_str("no end marker: the last run still runs or did not end cleanly")
            }
            Self::Empty => f.write_str("the log holds no record"),
            Self::Unended(runs, places) => write!(
                f,
                "{runs} earlier runs have no end marker: the first ends with {}, and the next began with {}",
                places.0, places.1
            ),
            Self::BehindCheckpoint(records) => write!(
                f,
                "{records} records behind the last checkpoint: no signature covers them yet"
            ),
            Self::Middle(place) => write!(
                f,
                "it begins in the middle of the log, with {place}: what was before is not judged"
            ),
            Self::ClockBack(times, place) => write!(
                f,
                "{times} times the clock went back by more than a second, first before {place}"
            ),
            Self::Silence(times, seconds, place) => write!(
                f,
                "{times} times no checkpoint came for more than two heartbeats, first {seconds} seconds before {place}: the clock jumped, the process stood still, or the spool took nothing"
            ),
            Self::NoOutcome(intents, place) => write!(
                f,
                "{intents} intents without an outcome, the first is {place}: the call may have happened"
            ),
            Self::NoIntent(outcomes, place) => {
                write!(
                    f,
                    "{outcomes} outcomes without an intent, the first is {place}"
                )
            }
            Self::AnchorsBefore(anchors) => write!(
                f,
                "{anchors} anchors are of runs that this copy does not reach back to"
            ),
        }
    }
}
