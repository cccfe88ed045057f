//! The directory of enrolments: one sealed file a person, named by a hash of issuer and subject.
//!
//! ```text
//! <person>.factor        see `seal`
//! new/<person>.<uuid>    a file that is being written
//! lock                   held (flock) by whoever changes a file
//! ```
//!
//! A change reads, writes beside, makes durable and renames, under a lock that two processes share (one that drains, and the
//! next): so a code serves once whichever it comes to, and a process that dies leaves the old file or the new one. What does
//! not open is refused and left as it is.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, OFlags, flock};
use thiserror::Error;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::record::Record;
use super::seal::Seal;

/// People who may be enrolled.
pub const PEOPLE_MAX: usize = 100_000;
/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// How long another process's change is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// How often it is looked whether it is done.
const LOCK_POLL: Duration = Duration::from_millis(5);
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const NEW: &str = "new";
const LOCK: &str = "lock";
const ENDING: &str = "factor";
/// What a file's name is a hash of, before issuer and subject.
const NAMED: &[u8] = b"safeguard second factors of";
/// Characters of it: SHA-256 in hexadecimal digits.
const NAME_CHARS: usize = 64;

/// Why the store did not give or do it. Names files by hashes; never a person or a secret.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The disk, or what it is mounted from.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// The directory is open to others.
    #[error("{0} is open to others or another's: chmod 700, and chown it to the sidecar's user")]
    Permissions(PathBuf),
    /// A file that no key of `keys.audit` opens.
    #[error(
        "{0} is not an enrolment that a key of keys.audit opens: bring it back from a copy, or the key; it is never overwritten"
    )]
    Damaged(PathBuf),
    /// No key seals now.
    #[error("no key of keys.audit seals")]
    NoKey,
    /// Another process holds the lock.
    #[error("{0} is held by another process for too long")]
    Locked(PathBuf),
    /// [`PEOPLE_MAX`].
    #[error("{0} holds as many enrolments as it may")]
    Full(PathBuf),
}

/// Whose file: the hash of issuer and subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonId {
    name: String,
    /// Issuer and subject, where they are known: else only a file that is there serves.
    who: Option<(String, String)>,
}

impl PersonId {
    /// The person of this subject at this issuer.
    pub fn new(issuer: &str, subject: &str) -> Self {
        let parts = [NAMED, issuer.as_bytes(), subject.as_bytes()];
        Self {
            name: crate::session::digest(&parts),
            who: Some((issuer.to_owned(), subject.to_owned())),
        }
    }

    /// The person whose file has this name; none for what is no name of a file.
    pub fn named(name: &str) -> Option<Self> {
        let is_name = name.len() == NAME_CHARS
            && name.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        is_name.then(|| Self {
            name: name.to_owned(),
            who: None,
        })
    }

    /// The file's name, without its ending.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A record with the text that it stood in.
type Kept = (Record, Zeroizing<Vec<u8>>);

/// The directory. Every function waits for the disk.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    seal: Seal,
    /// Of this process, so that its own threads need not poll for the file's lock.
    turn: Mutex<()>,
}

impl Store {
    /// Opens the directory, which is made if it is not there.
    ///
    /// # Errors
    /// It can't be made, or is open to others.
    pub fn open(directory: &Path, seal: Seal) -> Result<Self, StoreError> {
        for path in [directory.to_owned(), directory.join(NEW)] {
            match DirBuilder::new().mode(DIRECTORY_MODE).create(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(at(&path, error));
                }
                Ok(()) | Err(_) => {}
            }
            let found = fs::symlink_metadata(&path).map_err(|error| at(&path, error))?;
            let own = rustix::process::geteuid().as_raw();
            if !found.is_dir() || found.mode() & 0o077 != 0 || found.uid() != own {
                return Err(StoreError::Permissions(path));
            }
        }
        let store = Self {
            directory: directory.to_owned(),
            seal,
            turn: Mutex::new(()),
        };
        store.sync()?;
        Ok(store)
    }

    /// Gives a person's record to `change`, and keeps what it made of it; the file of an empty one goes.
    ///
    /// # Errors
    /// Nothing was changed, as far as this process can tell.
    pub fn change<T>(
        &self,
        person: &PersonId,
        change: impl FnOnce(&mut Record) -> T,
    ) -> Result<T, StoreError> {
        let _turn = self.turn.lock();
        let _lock = self.lock()?;
        let (mut record, had) = match (self.read(&person.name)?, &person.who) {
            (Some((record, text)), _) => (record, Some(text)),
            (None, who) => (new_record(who.as_ref()), None),
        };
        let done = change(&mut record);
        if record.is_empty() || (had.is_none() && person.who.is_none()) {
            if had.is_some() {
                self.remove(&person.name)?;
            }
            return Ok(done);
        }
        let text = text(&record)?;
        if had.as_deref() != Some(&*text) {
            self.write(&person.name, &text, had.is_none())?;
        }
        Ok(done)
    }

    /// Shows every record to `look`, in the order of the files' names.
    ///
    /// # Errors
    /// The first file that can't be read.
    pub fn look(&self, mut look: impl FnMut(&Record)) -> Result<(), StoreError> {
        let entries = fs::read_dir(&self.directory).map_err(|error| at(&self.directory, error))?;
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| Some(name.strip_suffix(ENDING)?.strip_suffix('.')?.to_owned()))
            .collect();
        names.sort_unstable();
        for name in names {
            if let Some((record, _)) = self.read(&name)? {
                look(&record);
            }
        }
        Ok(())
    }

    fn read(&self, name: &str) -> Result<Option<Kept>, StoreError> {
        let path = self.path(name);
        let Some(bytes) = read(&path)? else {
            return Ok(None);
        };
        let text = self.seal.open(name, &bytes);
        let record = text.and_then(|text| {
            let record: Record = serde_json::from_slice(&text).ok()?;
            Some((record, text))
        });
        record.map(Some).ok_or(StoreError::Damaged(path))
    }

    fn write(&self, name: &str, text: &[u8], is_new: bool) -> Result<(), StoreError> {
        if is_new && self.count()? >= PEOPLE_MAX {
            return Err(StoreError::Full(self.directory.clone()));
        }
        let sealed = self.seal.seal(name, text).ok_or(StoreError::NoKey)?;
        let new = self.directory.join(NEW);
        let new = new.join(format!("{name}.{}", Uuid::new_v4()));
        let path = self.path(name);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&new)
            .and_then(|mut file| file.write_all(&sealed).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&new, &path));
        if let Err(error) = written {
            // What is not whole has no name that counts.
            let _ = fs::remove_file(&new);
            return Err(at(&path, error));
        }
        self.sync()
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name);
        fs::remove_file(&path).map_err(|error| at(&path, error))?;
        self.sync()
    }

    /// The lock of the directory, which goes with the file.
    fn lock(&self) -> Result<File, StoreError> {
        let path = self.directory.join(LOCK);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(|error| at(&path, error))?;
        let until = Instant::now() + LOCK_WAIT;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(at(&path, error.into())),
            }
            if Instant::now() >= until {
                return Err(StoreError::Locked(path));
            }
            std::thread::sleep(LOCK_POLL);
        }
    }

    fn count(&self) -> Result<usize, StoreError> {
        let entries = fs::read_dir(&self.directory).map_err(|error| at(&self.directory, error))?;
        Ok(entries.count())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.{ENDING}"))
    }

    fn sync(&self) -> Result<(), StoreError> {
        let synced = File::open(&self.directory).and_then(|directory| directory.sync_all());
        synced.map_err(|error| at(&self.directory, error))
    }
}

fn new_record(who: Option<&(String, String)>) -> Record {
    let (issuer, subject) = who.cloned().unwrap_or_default();
    Record::of(issuer, subject)
}

fn text(record: &Record) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let text = serde_json::to_vec(record).map(Zeroizing::new);
    // A record is plain data.
    text.map_err(|_| StoreError::NoKey)
}

fn at(path: &Path, error: io::Error) -> StoreError {
    StoreError::Io {
        path: path.to_owned(),
        error,
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let nofollow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(nofollow)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(path, error)),
    };
    let mut bytes = Vec::new();
    let had = file.take(FILE_BYTES_MAX).read_to_end(&mut bytes);
    had.map_err(|error| at(path, error))?;
    Ok(Some(bytes))
}
