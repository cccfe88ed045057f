//! The review queue: one sealed file in the state directory, `emergencies.sealed`.
//!
//! `HEAD ‖ base64url(key's id ‖ nonce ‖ JSON list of records ‖ tag) ‖ "\n"`, as `factor::seal` writes it, under keys derived from
//! `keys.audit`: no record is read, changed or taken out without them. A change is written beside, made durable and renamed
//! over the old file, so that a process that dies leaves one of the two. An older file put back would bring an older queue;
//! the audit trail, which has every beginning, end and review, tells.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use thiserror::Error;
use zeroize::Zeroizing;

use super::record::{End, Record};
use crate::clock;
use crate::factor::seal::{Kind, Seal};

/// Emergencies that are kept. Reviewed ones make room, the oldest first; while all wait for a review, none begins.
pub const QUEUE_MAX: usize = 1_000;
/// What the file is sealed as.
pub const SEALED: Kind = Kind {
    head: "safeguard emergencies 1\n",
    salt: b"safeguard emergencies seal v1",
};
/// The file in the state directory.
const FILE: &str = "emergencies.sealed";
const NEW: &str = "emergencies.new";
/// The largest file that is read, in bytes: every record at its longest.
const FILE_BYTES_MAX: u64 = 8 << 20;
const FILE_MODE: u32 = 0o600;

/// Why the queue can't be read or written.
#[derive(Debug, Error)]
pub enum QueueError {
    /// The disk.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// A file that no key opens.
    #[error(
        "{0} is no review queue that a key of keys.audit opens: bring it back from a copy, or the key; or move it away, and review by the audit log"
    )]
    Damaged(PathBuf),
    /// No key seals.
    #[error("no key of keys.audit seals the review queue of emergencies")]
    NoKey,
    /// [`QUEUE_MAX`].
    #[error("{QUEUE_MAX} emergencies wait for a review: review them first")]
    Full,
}

/// The queue, and its file.
#[derive(Debug)]
pub(super) struct Queue {
    directory: PathBuf,
    seal: Seal,
    records: Vec<Record>,
    left_open: Vec<Record>,
}

impl Queue {
    pub(super) fn open(directory: &Path, seal: Seal) -> Result<Self, QueueError> {
        let mut queue = Self {
            directory: directory.to_owned(),
            records: Vec::new(),
            left_open: Vec::new(),
            seal,
        };
        queue.records = queue.read()?;
        let now = clock::now_unix();
        if queue.records.iter().any(|record| record.ended.is_none()) {
            queue.left_open = queue.change(|records| {
                let open = records.iter_mut().filter(|record| record.ended.is_none());
                let ended = open.map(|record| {
                    record.end(End::Restart, now);
                    record.clone()
                });
                ended.collect()
            })?;
        }
        Ok(queue)
    }

    pub(super) fn records(&self) -> &[Record] {
        &self.records
    }

    /// What was open when the file was opened, once.
    pub(super) fn take_left_open(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.left_open)
    }

    /// Changes the records; kept only if the file is durable.
    pub(super) fn change<T>(
        &mut self,
        change: impl FnOnce(&mut Vec<Record>) -> T,
    ) -> Result<T, QueueError> {
        let mut records = self.records.clone();
        let done = change(&mut records);
        while records.len() > QUEUE_MAX {
            let reviewed = records.iter().position(|record| record.review.is_some());
            records.remove(reviewed.ok_or(QueueError::Full)?);
        }
        self.write(&records)?;
        self.records = records;
        Ok(done)
    }

    fn read(&self) -> Result<Vec<Record>, QueueError> {
        let path = self.directory.join(FILE);
        let nofollow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(nofollow)
            .open(&path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(at(&path, error)),
        };
        let mut bytes = Vec::new();
        let had = file.take(FILE_BYTES_MAX).read_to_end(&mut bytes);
        had.map_err(|error| at(&path, error))?;
        let text = self.seal.open(FILE, &bytes);
        let records = text.and_then(|text| serde_json::from_slice(&text).ok());
        records.ok_or(QueueError::Damaged(path))
    }

    fn write(&self, records: &[Record]) -> Result<(), QueueError> {
        let text = serde_json::to_vec(records).map(Zeroizing::new);
        let sealed = text.ok().and_then(|text| self.seal.seal(FILE, &text));
        let sealed = sealed.ok_or(QueueError::NoKey)?;
        let (new, path) = (self.directory.join(NEW), self.directory.join(FILE));
        // One process has the state, and one change is made at a time: what lies there is left by one that died.
        let _left = fs::remove_file(&new);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&new)
            .and_then(|mut file| file.write_all(&sealed).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&new, &path))
            .and_then(|()| File::open(&self.directory)?.sync_all());
        written.map_err(|error| at(&path, error))
    }
}

fn at(path: &Path, error: io::Error) -> QueueError {
    QueueError::Io {
        path: path.to_owned(),
        error,
    }
}
