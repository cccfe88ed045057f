//! The spool: an append-only log on disk that an event reaches before the PHI it speaks of goes anywhere.
//!
//! # What it promises
//! 1. **Acknowledged is durable.** [`crate::Pending::durable`] answers only after the record went through `fdatasync`. Power may fail the instant after.
//! 2. **Nothing up to the head changes unseen.** One flipped byte, a removed record, a swapped pair, a replayed or deleted segment, a tail
//!    cut below the head: [`crate::verify`] finds each, and opening refuses the last segment that doesn't hold. The head covers every
//!    acknowledged record as long as the machine runs, also when the process is killed; after a power failure it may lack those of the last moments (see *The head*).
//! 3. **What can't be recorded is refused at once**, never silently dropped: a full queue, a full disk, an I/O error, a closed spool.
//! 4. **It mends itself.** When space returns or the disk answers again, the torn tail is cut and writing goes on.
//!
//! # The log
//! The spool directory holds segments and nothing else: `00000000000000000000.log`, numbered without gaps, each a row of frames (see `frame`).
//! Every byte belongs to a frame, there is no header, no padding and no preallocation, so `audit verify` covers every byte. Each record holds the SHA-256 of the one before it
//! (`prev`, over the borders of segments and of runs) and each frame an HMAC, so the records form one chain from the first to the last. A *run* of the process
//! numbers its records from 0 under a chain name of its own, instance and boot counter; its first record is `audit_started`, which holds
//! the last hash of the run before, and after a clean end its last is `audit_stopped`, the end marker.
//!
//! # The head
//! A hash chain can't see that its end was cut off. The head can: it says how far the log is durable, with the last hash, under a MAC, in the
//! *state* directory (locks and cursors live there too), in three slots (see `head`). It is *written* after the log's `fdatasync` and before the
//! acknowledgement, and *synced* by the committer behind the waiters' backs: a second after the first record that no synced head covers, with the commit
//! that makes 1,024 of them, before a new segment, before segments are let go, and at both ends of a run. So
//! - it never claims a record that is not durable: no crash looks like tampering;
//! - **when the process dies**, even by SIGKILL, the page cache keeps what was written: the head covers every acknowledged record, and a cut of one byte is found;
//! - **when the power fails**, the head may be as old as its last sync. No acknowledged record is lost: those behind the head are whole and chained, verifying takes them with a
//!   notice, and opening puts the head behind them. What is lost is one proof for at most that window, a second or 1,023 records and a batch: that *these last records* were not cut off
//!   between the failure and the next start. A log shorter than even that head is tampering as ever, and the sinks may have the records too.
//!
//! A head with a sync of its own in every commit would close that window, and cost every request a second wait for the disk and about 100 µs of CPU a batch.
//! A log that is rolled back *together with* its head verifies; only a copy elsewhere can show that. This is why there are sinks.
//!
//! # Checkpoints
//! A MAC convinces only who has the key, and whoever has it can forge. So each record is also a leaf of the run's Merkle tree (see `tree`), whose head the committer signs: a
//! *checkpoint* (see `checkpoint`) is the first record of the commit that comes a second after the first record without one, or when 1,024 wait for one, or alone
//! when nothing has happened for as long as [`SpoolSettings::heartbeat`] says. The end marker is one too. Checkpoints are records like all others, so every sink gets them: wherever
//! one of them is kept, the log up to it can't be changed or rolled back unseen. Their MAC has a key that is erased with each of them, so who takes the keys out of
//! the running process can't make those of before.
//!
//! # Group commit
//! One thread owns the files. It takes whatever waits in a bounded queue (see `queue`), chains what others have rendered, appends it with one write, syncs once, writes the head,
//! and answers each waiter through a oneshot of its own (a shared condition would wake a herd). Under load one sync serves hundreds of requests; that saves CPU as much as time.
//! What arrives during one sync is the next batch. Where several wait it is put off a little for the others (`GATHER_MAX`), never where one waits alone.
//! What was committed stays in memory for a while (see `recent`), so that delivery needs not read it back.
//!
//! # When the disk fails
//! *The log's* write or sync fails: what stands behind the head is nobody's; the waiters are refused, and before the next write the segment is reopened and cut to the head.
//! (After a failed `fsync` the kernel may call lost pages clean, so the same bytes are never synced twice; they are cut and written anew.) The log calls itself sound again
//! only when the disk took a probe, so readiness does not come and go on a full disk.
//! *The head's* write fails: the records are durable but unproved; the waiters are refused, yet the records stay: a head that got through
//! after all must find them. An intent recorded for a call that was then refused is true, and harmless. *The head's* sync fails: those who wait next are refused
//! until a head that was written anew went through, so the window above never grows.
//!
//! # After a crash
//! Opening makes the head durable that it found, checks the head's segment against it, keeps whole records behind it (they were written in order, under the key,
//! and were perhaps acknowledged and delivered) after writing them anew, as a sync may have failed on them in a process that died before it cut them, cuts a torn one, and begins a new run under a head that covers all of it. Anything short of the head is refused as tampering: the two directories
//! are evidence, to be moved aside by a person. A record behind the head that no crash can have left (its checksum holds, its MAC does not) is not cut, but refused.
//!
//! # Space
//! `max_bytes` bounds the log, health warns from 80 %, and the last 64 KiB are the trail's own. By default nothing is ever deleted, as the log is the
//! only copy that the chain's head proves; with [`Retention::Delivered`] whole segments go once every sink has taken them.
//! Peers who proved nothing have a share of their own ([`SpoolSettings::strangers_percent`]) and pass a limiter before the queue, so they can fill neither.

use std::path::PathBuf;
use std::time::Duration;

mod cadence;
mod committer;
pub(crate) mod disk;
mod frame;
mod head;
mod limiter;
mod queue;
mod recent;
mod store;
mod walk;

#[cfg(test)]
pub(crate) mod model;

pub(crate) use cadence::Cadence;
pub(crate) use committer::{Committer, Shared, SinkState, lock};
pub use frame::FrameError;
pub(crate) use frame::{FRAME_BYTES_MAX, claimed, decode_unproved};
pub use head::Position;
pub(crate) use head::{Head, SLOT_BYTES};
pub(crate) use limiter::Limiter;
pub(crate) use queue::{Job, Queue, Reader, Waiter};
#[cfg(test)]
pub(crate) use recent::RECENT_BYTES_MAX;
pub(crate) use recent::{Committed, Recent};
pub(crate) use store::{Entry, Fate, Origin, Refused, Store};
pub use walk::WalkError;
pub(crate) use walk::{Walk, content};

/// When segments are deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Never: the spool refuses when it is full.
    Everything,
    /// As soon as every sink that was started has taken all of a segment; without a sink, never.
    Delivered,
}

/// Where the spool lives and how large it may grow.
#[derive(Debug, Clone)]
pub struct SpoolSettings {
    /// Holds the log and nothing else; made 0700.
    pub directory: PathBuf,
    /// Holds the head, the lock and the sinks' cursors; made 0700. Never inside `directory`.
    pub state_directory: PathBuf,
    /// Bytes from which the next commit starts a new segment (default 16 MiB); a batch is never split.
    pub segment_bytes: u64,
    /// Bytes of the whole log (default 4 GiB).
    pub max_bytes: u64,
    /// Percent of `max_bytes` that unauthenticated peers may cause (default 10).
    pub strangers_percent: u8,
    /// How long the further events of an unauthenticated peer are counted before they are written as one (default 60 s).
    pub strangers_window: Duration,
    /// Events that may wait for the disk; one more is refused at once (default 16,384).
    pub queue_max: usize,
    /// When segments go.
    pub retention: Retention,
    /// The longest time without a checkpoint while nothing happens (default 5 min).
    pub heartbeat: Duration,
    /// This process's name in every record: the pod's or the host's.
    pub pod: String,
    /// The program's version, for `audit_started`.
    pub version: String,
}

impl SpoolSettings {
    /// The defaults, for these two directories.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>, state_directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            state_directory: state_directory.into(),
            segment_bytes: 16 << 20,
            max_bytes: 4 << 30,
            strangers_percent: 10,
            strangers_window: Duration::from_mins(1),
            queue_max: 16_384,
            retention: Retention::Everything,
            heartbeat: Duration::from_mins(5),
            pod: "local".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Bytes that unauthenticated peers may cause.
    pub(crate) fn strangers_max_bytes(&self) -> u64 {
        self.max_bytes / 100 * u64::from(self.strangers_percent.min(100))
    }
}

/// The spool can't be opened. Nothing that touches PHI may go on.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Reading or writing one of the two directories.
    #[error("the audit spool: {0}")]
    Io(#[from] std::io::Error),
    /// The state directory lies where only the log may be.
    #[error(
        "the state directory lies inside the spool directory: give `state.directory` another place"
    )]
    Nested,
    /// The lock in the state directory is held.
    #[error(
        "another process uses this audit spool: give each its own `audit_logging.spool.directory`"
    )]
    Locked,
    /// A log without a head that a key of the ring wrote.
    #[error(
        "the audit log has no valid head in the state directory: wrong `keys.audit`, or the head was removed; run `audit verify`, then move both directories aside as evidence"
    )]
    HeadMissing,
    /// The log is shorter than its head says, or a segment is missing.
    #[error(
        "the audit log lacks what its head proves, at segment {segment} byte {offset}: run `audit verify`, then move both directories aside as evidence"
    )]
    Tampered {
        /// The segment's number.
        segment: u64,
        /// Where in it.
        offset: u64,
    },
    /// A record before the head does not hold.
    #[error(
        "the audit log is damaged at segment {segment} byte {offset}: {error}; run `audit verify`, then move both directories aside as evidence"
    )]
    Damaged {
        /// The segment's number.
        segment: u64,
        /// Where the bad record starts.
        offset: u64,
        /// What is wrong with it.
        error: WalkError,
    },
    /// A file that is no part of the log.
    #[error("the spool directory holds `{0}`, which is no part of the log: move it elsewhere")]
    Foreign(String),
    /// The first key of the ring is another one.
    #[error(
        "the first key of `keys.audit` is not the one that names patients in this log: put the old one first again and new keys behind it"
    )]
    PseudonymKeyChanged,
    /// No key to write with.
    #[error(transparent)]
    Key(#[from] crate::keys::KeyError),
    /// The ring has served a run of this process already.
    #[error("this audit key ring has begun a run already: read `keys.audit` anew for another")]
    KeysSpent,
    /// The first record of the run could not be written.
    #[error("the audit spool takes no record: {0}")]
    NotDurable(#[from] crate::trail::NotDurable),
    /// The committer's thread could not be started.
    #[error("the audit thread can't be started: {0}")]
    Thread(std::io::Error),
}
