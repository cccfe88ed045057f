//! The few operations that the spool asks of a file system: behind a trait, so that tests can crash at each of them.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::head::{SLOT_BYTES, SLOTS};

/// What ends a segment's name.
pub(crate) const SUFFIX: &str = ".log";
const DIGITS: usize = 20;
const LOCK: &str = "lock";
const HEAD: &str = "head";

/// The name of a segment: its number in twenty digits, so that names sort as numbers do.
pub(crate) fn segment_name(segment: u64) -> String {
    format!("{segment:0DIGITS$}{SUFFIX}")
}

/// The number of a segment's name.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let number = digits.parse().ok()?;
    (segment_name(number) == name).then_some(number)
}

/// What the spool asks of a file system.
pub(crate) trait Disk: Send {
    /// Names and lengths of everything in the spool directory.
    fn list(&mut self) -> io::Result<Vec<(String, u64)>>;
    /// A whole segment.
    fn read(&mut self, segment: u64) -> io::Result<Vec<u8>>;
    /// A new, empty segment, durable in its directory.
    fn create(&mut self, segment: u64) -> io::Result<()>;
    /// Bytes at the end of a segment, not durable yet.
    fn append(&mut self, segment: u64, bytes: &[u8]) -> io::Result<()>;
    /// Writes bytes over the same ones, so that the next sync writes them to the medium whatever the kernel believes is there.
    fn rewrite(&mut self, segment: u64, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes a segment's bytes durable.
    fn sync(&mut self, segment: u64) -> io::Result<()>;
    /// Cuts a segment, durably.
    fn truncate(&mut self, segment: u64, length: u64) -> io::Result<()>;
    /// Deletes a segment.
    fn remove(&mut self, segment: u64) -> io::Result<()>;
    /// The head file, empty if there is none.
    fn read_head(&mut self) -> io::Result<Vec<u8>>;
    /// Writes a slot of the head file: it outlives the process, and not yet a power failure.
    fn write_head(&mut self, slot: usize, bytes: &[u8]) -> io::Result<()>;
    /// Makes the head file durable.
    fn sync_head(&mut self) -> io::Result<()>;
}

/// The real one. Its lock on the state directory ends with it.
#[derive(Debug)]
pub(crate) struct Directory {
    spool: PathBuf,
    state: PathBuf,
    _lock: File,
    head: File,
    open: Option<(u64, File)>,
}

impl Directory {
    /// Makes both directories where they are absent (0700) and takes the lock; `Ok(None)`: another process holds it.
    pub(crate) fn open(spool: &Path, state: &Path) -> io::Result<Option<Self>> {
        private_directory(spool)?;
        private_directory(state)?;
        let lock = private_file()
            .create(true)
            .truncate(false)
            .open(state.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
        let head = private_file()
            .create(true)
            .truncate(false)
            .open(state.join(HEAD))?;
        sync_directory(state)?;
        Ok(Some(Self {
            spool: spool.to_owned(),
            state: state.to_owned(),
            _lock: lock,
            head,
            open: None,
        }))
    }

    fn path(&self, segment: u64) -> PathBuf {
        self.spool.join(segment_name(segment))
    }

    fn file(&mut self, segment: u64) -> io::Result<&mut File> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != segment) {
            let mut file = private_file().open(self.path(segment))?;
            file.seek(SeekFrom::End(0))?;
            self.open = Some((segment, file));
        }
        self.open
            .as_mut()
            .map(|(_, file)| file)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for Directory {
    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        list(&self.spool)
    }

    fn read(&mut self, segment: u64) -> io::Result<Vec<u8>> {
        fs::read(self.path(segment))
    }

    fn create(&mut self, segment: u64) -> io::Result<()> {
        // An empty one may be left of an attempt whose directory could not be synced.
        let file = private_file()
            .create(true)
            .truncate(false)
            .open(self.path(segment))?;
        if file.metadata()?.len() != 0 {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        sync_directory(&self.spool)?;
        self.open = Some((segment, file));
        Ok(())
    }

    fn append(&mut self, segment: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(segment)?.write_all(bytes)
    }

    fn rewrite(&mut self, segment: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(segment)?.write_all_at(bytes, offset)
    }

    fn sync(&mut self, segment: u64) -> io::Result<()> {
        self.file(segment)?.sync_data()
    }

    fn truncate(&mut self, segment: u64, length: u64) -> io::Result<()> {
        // A file handle that has seen an error may not report it again: a fresh one is honest about what it does.
        self.open = None;
        let file = self.file(segment)?;
        file.set_len(length)?;
        file.seek(SeekFrom::Start(length))?;
        file.sync_all()
    }

    fn remove(&mut self, segment: u64) -> io::Result<()> {
        fs::remove_file(self.path(segment))?;
        sync_directory(&self.spool)
    }

    fn read_head(&mut self) -> io::Result<Vec<u8>> {
        read_head(&self.state)
    }

    fn write_head(&mut self, slot: usize, bytes: &[u8]) -> io::Result<()> {
        self.head.write_all_at(bytes, (slot * SLOT_BYTES) as u64)
    }

    fn sync_head(&mut self) -> io::Result<()> {
        self.head.sync_data()
    }
}

/// Names and lengths of everything in a directory, sorted.
pub(crate) fn list(directory: &Path) -> io::Result<Vec<(String, u64)>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        names.push((
            entry.file_name().to_string_lossy().into_owned(),
            entry.metadata()?.len(),
        ));
    }
    names.sort();
    Ok(names)
}

/// The head file of a state directory, empty if there is none.
pub(crate) fn read_head(state: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match File::open(state.join(HEAD)) {
        Ok(file) => file
            .take((SLOTS * SLOT_BYTES) as u64)
            .read_to_end(&mut bytes)
            .map(|_| bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(bytes),
        Err(error) => Err(error),
    }
}

/// Makes entries of a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Opens for reading and writing; what it creates is the owner's alone.
pub(crate) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// A directory for the owner alone; one that is open to others is closed to them.
fn private_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    if fs::metadata(directory)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_segments_are_one_for_one() {
        assert_eq!(segment_number(&segment_name(42)), Some(42));
        assert_eq!(segment_number(&segment_name(u64::MAX)), Some(u64::MAX));
        for foreign in [
            "42.log",
            "+0000000000000000042.log",
            "00000000000000000042.log.old",
            "head",
        ] {
            assert_eq!(segment_number(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn directories_are_the_owners_alone_and_taken_once() {
        let root = tempfile::tempdir().unwrap();
        let (spool, state) = (root.path().join("a/spool"), root.path().join("a/state"));
        let first = Directory::open(&spool, &state).unwrap();
        assert!(first.is_some());
        for directory in [&spool, &state] {
            assert_eq!(
                fs::metadata(directory).unwrap().permissions().mode() & 0o777,
                0o700
            );
        }
        assert!(Directory::open(&spool, &state).unwrap().is_none());
        drop(first);
        assert!(Directory::open(&spool, &state).unwrap().is_some());
        assert!(list(&spool).unwrap().is_empty());
    }
}
