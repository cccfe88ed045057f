//! Files read whole, once, within a bound, with what tells whether they changed meanwhile.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Largest file that is read, in bytes. A bundle of 64 CAs is about 100 KiB; 1 MiB of CRL holds
/// some 25,000 revoked certificates.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The operating system said no.
    #[error("can't read {}: {source}; check that it exists and that this user may read it", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory, pipe, socket or device.
    #[error("{} is no regular file; name a file", .0.display())]
    NotAFile(PathBuf),
    /// Larger than [`FILE_BYTES_MAX`].
    #[error("{} is larger than {FILE_BYTES_MAX} bytes; split or shorten it", .0.display())]
    TooLarge(PathBuf),
}

/// What a file system says about a file; equal as long as the file was not replaced or written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stat {
    fn of(meta: &Metadata) -> Stat {
        Stat {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Looks at `path` now, through symbolic links. None if there is nothing to see.
    pub(crate) fn now(path: &Path) -> Option<Stat> {
        fs::metadata(path).ok().map(|meta| Stat::of(&meta))
    }

    /// Whole seconds since 1970 of the last change of content or inode.
    pub(crate) fn changed_unix(&self) -> i64 {
        self.changed.0.max(self.modified.0)
    }
}

/// A file's content and who may read it.
pub(crate) struct Content {
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    pub(crate) stat: Stat,
    /// Permission bits, as `chmod` takes them.
    pub(crate) mode: u32,
    /// The owner's user id.
    pub(crate) owner: u32,
}

/// Reads `path` whole.
pub(crate) fn read(path: &Path) -> Result<Content, ReadError> {
    let unreadable = |source| ReadError::Unreadable {
        path: path.to_owned(),
        source,
    };
    // Looked at before it is opened: opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(ReadError::NotAFile(path.to_owned()));
    }
    let file = File::open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return Err(ReadError::NotAFile(path.to_owned()));
    }
    if meta.size() > FILE_BYTES_MAX {
        return Err(ReadError::TooLarge(path.to_owned()));
    }
    // Room for all at once: a vector that grows would leave copies of a key behind.
    let room = usize::try_from(meta.size())
        .unwrap_or_default()
        .saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(ReadError::TooLarge(path.to_owned()));
    }
    Ok(Content {
        bytes,
        stat: Stat::of(&meta),
        mode: meta.mode() & 0o7777,
        owner: meta.uid(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beyond_the_bound_and_a_directory_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big.pem");
        File::create(&path)
            .unwrap()
            .set_len(FILE_BYTES_MAX + 1)
            .unwrap();
        assert!(matches!(read(&path), Err(ReadError::TooLarge(_))));
        File::create(&path)
            .unwrap()
            .set_len(FILE_BYTES_MAX)
            .unwrap();
        assert_eq!(
            read(&path).map(|c| c.bytes.len() as u64).ok(),
            Some(FILE_BYTES_MAX)
        );
        assert!(matches!(read(dir.path()), Err(ReadError::NotAFile(_))));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("/nowhere/key.pem")).err().unwrap();
        assert!(error.to_string().contains("/nowhere/key.pem"), "{error}");
    }
}
