//! The directory of wrapped keys: one file a patient, named by the pseudonym, and a tombstone where a key was.
//!
//! ```text
//! <pseudonym>.key         "safeguard patient key 1\n" ‖ hsk1… ‖ "\n"
//! <pseudonym>.shredded    the signed receipt of its destruction
//! new/<pseudonym>.<uuid>  a file that is being written
//! ```
//!
//! Several replicas share the directory without a lock. A file is written whole beside it, made durable, and then
//! linked to its name: a link never replaces, so of two replicas that make one patient's key at once one is told that
//! there is one already, and takes that. A process that dies in between leaves no key or a whole one. What does not
//! read whole is refused and left as it is: it may be a damaged key whose values exist.
//!
//! A tombstone is durable before the key goes, and beats a key that lies beside it: whoever finds both finishes what
//! was begun. So a key made in the moment of a destruction does not outlive it, nor does one that comes back with an
//! old copy of the directory.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use safeguard_audit::Pseudonym;
use safeguard_vault::patient_keys::{PatientKey, Wrapper};
use safeguard_vault::ring::KeyRing;
use sha2::{Digest, Sha256};
use thiserror::Error;
use uuid::Uuid;

/// What a file of a key begins with.
const HEAD: &str = "safeguard patient key 1\n";
/// The largest file that is read, in bytes: a wrapped key takes some 200, a receipt below 2,000.
const FILE_BYTES_MAX: u64 = 16 * 1024;
/// Only its owner enters the directory.
const DIRECTORY_MODE: u32 = 0o700;
/// Only its owner reads a key.
const FILE_MODE: u32 = 0o600;
/// Where files are written before they get their name.
pub(super) const NEW: &str = "new";
/// The ending of a key's file.
pub(super) const KEY: &str = "key";
/// The ending of a tombstone.
pub(super) const SHREDDED: &str = "shredded";

/// Why the store did not give or do it. Names files, by pseudonyms; never a patient or a key.
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
    /// A key's file that is none, or that no key of `keys.phi` opens.
    #[error(
        "{0} is not a whole key that a key of keys.phi opens: bring it back from a copy, or the key of keys.phi; it is never overwritten"
    )]
    Damaged(PathBuf),
    /// There is no key to destroy.
    #[error("this patient has no key")]
    NoKey,
    /// No random bytes, or no key of `keys.phi` seals.
    #[error("no key can be made for the patient: {0}")]
    NoNewKey(String),
    /// The receipt can't be signed.
    #[error("the receipt can't be signed: {0}")]
    NoReceipt(String),
    /// The disk did not answer in time.
    #[error("the directory of the patients' keys did not answer in time")]
    TooSlow,
}

/// What the store holds of a patient.
#[derive(Debug)]
pub enum Stored {
    /// Nothing.
    Absent,
    /// A key.
    Key(Box<PatientKey>),
    /// A tombstone.
    Destroyed,
}

/// What is said of a key that is about to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// Its id.
    pub key_id: String,
    /// SHA-256 of its wrapped form.
    pub wrapped_sha256: [u8; 32],
}

/// A directory of wrapped keys. Every function waits for the disk.
pub struct Store {
    directory: PathBuf,
    wrapper: Wrapper,
    pub(super) ring: Arc<KeyRing>,
    domain: String,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// The keys in a directory, wrapped under `ring` for the values of `domain`. Nothing is opened yet.
    #[must_use]
    pub fn new(directory: &Path, ring: Arc<KeyRing>, domain: &str) -> Self {
        Self {
            directory: directory.to_owned(),
            wrapper: Wrapper::new(Arc::clone(&ring), domain),
            ring,
            domain: domain.to_owned(),
        }
    }

    /// Who shares sealed values.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Makes the directory if it is not there, and looks whether it is its owner's alone.
    ///
    /// # Errors
    /// It can't be made, or is open to others.
    pub fn prepare(&self) -> Result<(), StoreError> {
        for path in [self.directory.clone(), self.directory.join(NEW)] {
            let made = DirBuilder::new().mode(DIRECTORY_MODE).create(&path);
            match made {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(StoreError::Io { path, error });
                }
                Ok(()) | Err(_) => {}
            }
            let found = fs::symlink_metadata(&path).map_err(|error| at(&path, error))?;
            let own = rustix::process::geteuid().as_raw();
            let private = found.is_dir() && found.mode() & 0o077 == 0 && found.uid() == own;
            if !private {
                return Err(StoreError::Permissions(path));
            }
        }
        self.sync()
    }

    /// What there is of a patient. A key is given only once its file is known to be durable.
    ///
    /// # Errors
    /// It can't be said.
    pub fn load(&self, who: Pseudonym) -> Result<Stored, StoreError> {
        if self.is_destroyed(who)? {
            // Whoever began it may have died before the end.
            self.erase(who)?;
            return Ok(Stored::Destroyed);
        }
        let path = self.path(who, KEY);
        let Some(text) = read(&path, true)? else {
            return Ok(Stored::Absent);
        };
        let key = self.key(who, &text);
        // A tombstone that came meanwhile says why the file is not whole any more.
        if self.is_destroyed(who)? {
            self.erase(who)?;
            return Ok(Stored::Destroyed);
        }
        let key = key.ok_or(StoreError::Damaged(path))?;
        self.sync()?;
        Ok(Stored::Key(Box::new(key)))
    }

    /// Whether a key that is known still stands.
    ///
    /// # Errors
    /// It can't be said.
    pub fn stands(&self, who: Pseudonym) -> Result<bool, StoreError> {
        Ok(!self.is_destroyed(who)? && exists(&self.path(who, KEY))?)
    }

    /// What there is of a patient, or a new key for one of whom there is nothing.
    ///
    /// # Errors
    /// No key could be made durable.
    pub fn create(&self, who: Pseudonym, now_unix: i64) -> Result<Stored, StoreError> {
        match self.load(who)? {
            Stored::Absent => {}
            known => return Ok(known),
        }
        let name = who.to_string();
        let key = PatientKey::generate(&self.domain, &name)
            .map_err(|error| StoreError::NoNewKey(error.to_string()))?;
        let text = self.text(&name, &key, now_unix)?;
        // Whose key it became, the next look tells: this one's, or the one of a replica that was faster.
        self.publish(who, KEY, text.as_bytes())?;
        self.load(who)
    }

    /// Destroys a patient's key, and leaves the text of `receipt` in its place: the tombstone. Gives that text, also
    /// where the key was destroyed before; what was begun then is finished.
    ///
    /// # Errors
    /// There is no key, or something is left of it.
    pub fn destroy(
        &self,
        who: Pseudonym,
        receipt: impl FnOnce(&Gone) -> Result<String, StoreError>,
    ) -> Result<String, StoreError> {
        if !self.is_destroyed(who)? {
            let path = self.path(who, KEY);
            let text = read(&path, false)?.ok_or(StoreError::NoKey)?;
            let key = self.key(who, &text).ok_or(StoreError::Damaged(path))?;
            let wrapped = unframed(&text).unwrap_or_default();
            let receipt = receipt(&Gone {
                key_id: key.id().to_owned(),
                wrapped_sha256: Sha256::digest(wrapped.as_bytes()).into(),
            })?;
            self.publish(who, SHREDDED, receipt.as_bytes())?;
        }
        self.sync()?;
        self.erase(who)?;
        let path = self.path(who, SHREDDED);
        let left = read(&path, false)?;
        let left = left.and_then(|bytes| String::from_utf8(bytes).ok());
        left.ok_or(StoreError::Damaged(path))
    }

    /// Whether a tombstone stands. What can't be looked at is an error, never a no.
    pub(super) fn is_destroyed(&self, who: Pseudonym) -> Result<bool, StoreError> {
        exists(&self.path(who, SHREDDED))
    }

    /// Overwrites and removes every file that holds a wrapped form of this patient's key.
    pub(super) fn erase(&self, who: Pseudonym) -> Result<(), StoreError> {
        let mut files = vec![self.path(who, KEY)];
        // A process that died while it wrote may have left a second name of the same file.
        let new = self.directory.join(NEW);
        let prefix = format!("{who}.");
        for entry in fs::read_dir(&new).map_err(|error| at(&new, error))? {
            let entry = entry.map_err(|error| at(&new, error))?;
            if entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(prefix.as_bytes())
            {
                files.push(entry.path());
            }
        }
        let mut erased = false;
        for path in files {
            erased |= erase(&path)?;
        }
        match erased {
            true => self.sync(),
            false => Ok(()),
        }
    }

    pub(super) fn path(&self, who: Pseudonym, ending: &str) -> PathBuf {
        self.directory.join(format!("{who}.{ending}"))
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The text of a key's file.
    pub(super) fn text(
        &self,
        name: &str,
        key: &PatientKey,
        now_unix: i64,
    ) -> Result<String, StoreError> {
        let wrapped = self.wrapper.wrap(name, key, now_unix);
        let wrapped = wrapped.map_err(|error| StoreError::NoNewKey(error.to_string()))?;
        Ok(format!("{HEAD}{wrapped}\n"))
    }

    /// The key that a file's text holds.
    pub(super) fn key(&self, who: Pseudonym, text: &[u8]) -> Option<PatientKey> {
        let wrapped = unframed(text)?;
        self.wrapper.unwrap(&who.to_string(), wrapped).ok()
    }

    /// Writes a file whole, makes it durable and gives it its name, unless that is taken.
    fn publish(&self, who: Pseudonym, ending: &str, text: &[u8]) -> Result<(), StoreError> {
        let new = self.write(who, text)?;
        let path = self.path(who, ending);
        let linked = fs::hard_link(&new, &path);
        let removed = fs::remove_file(&new);
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(at(&path, error)),
            Ok(()) | Err(_) => removed.map_err(|error| at(&new, error)),
        }
    }

    /// A new file with this text, durable.
    pub(super) fn write(&self, who: Pseudonym, text: &[u8]) -> Result<PathBuf, StoreError> {
        let path = self
            .directory
            .join(NEW)
            .join(format!("{who}.{}", Uuid::new_v4()));
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&path)
            .and_then(|mut file| file.write_all(text).and_then(|()| file.sync_all()));
        match written {
            Ok(()) => Ok(path),
            Err(error) => {
                // A file that is not whole has no name that counts.
                let _ = fs::remove_file(&path);
                Err(at(&path, error))
            }
        }
    }

    /// Makes the names in the directory durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let synced = File::open(&self.directory).and_then(|directory| directory.sync_all());
        synced.map_err(|error| at(&self.directory, error))
    }
}

/// The wrapped key in a file's text; none where the file is not whole.
pub(super) fn unframed(text: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(text).ok()?;
    text.strip_prefix(HEAD)?.strip_suffix('\n')
}

pub(super) fn at(path: &Path, error: io::Error) -> StoreError {
    StoreError::Io {
        path: path.to_owned(),
        error,
    }
}

fn exists(path: &Path) -> Result<bool, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(at(path, error)),
    }
}

/// A file's bytes, at most so many, and durable if that is asked for; none where there is no file.
pub(super) fn read(path: &Path, durable: bool) -> Result<Option<Vec<u8>>, StoreError> {
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
    let had = (&file).take(FILE_BYTES_MAX).read_to_end(&mut bytes);
    let had = had.and_then(|_| if durable { file.sync_all() } else { Ok(()) });
    had.map_err(|error| at(path, error))?;
    Ok(Some(bytes))
}

/// Overwrites a file in its place, then removes it; says whether there was one.
fn erase(path: &Path) -> Result<bool, StoreError> {
    let nofollow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let opened = OpenOptions::new()
        .write(true)
        .custom_flags(nofollow)
        .open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(at(path, error)),
    };
    let length = file.metadata().map_err(|error| at(path, error))?.len();
    let zeros = vec![0; usize::try_from(length.min(FILE_BYTES_MAX)).unwrap_or(0)];
    let erased = file.write_all(&zeros).and_then(|()| file.sync_all());
    erased.map_err(|error| at(path, error))?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path, error)),
        Ok(()) | Err(_) => Ok(true),
    }
}
