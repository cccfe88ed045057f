//! Which of some files changed since the last look.
//!
//! Polling, not file system events: Kubernetes replaces a volume by renaming a symbolic link
//! (`..data`) beside the files, which watchers of the files themselves don't see, and network file
//! systems send no events at all. A look costs one `stat` a file; content is read and hashed only
//! when that differs, so that a `touch` or a rewrite with equal content is no change.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::read::{self, Stat};

/// Time stamps have a granularity: a file written twice within it may show equal stamps. A file
/// changed less than this many seconds ago is therefore hashed again at the next look.
const SETTLED_AFTER_SECONDS: i64 = 2;

/// What a file held at the last look.
#[derive(Debug, PartialEq, Eq, Clone)]
enum Seen {
    /// Hash of the content.
    Content([u8; 32]),
    /// Missing, unreadable or too large; the reader will say which.
    Nothing,
}

#[derive(Debug)]
struct Watched {
    path: PathBuf,
    stat: Option<Stat>,
    settled: bool,
    seen: Seen,
}

/// A set of files, and what they held when last looked at. Serves any file: certificates, keys,
/// policies.
#[derive(Debug)]
pub struct Watch {
    files: Vec<Watched>,
}

impl Watch {
    /// Looks at the files for the first time. Make it *before* loading them: what changes between
    /// the two is then loaded again at the first [`Watch::poll`], rather than missed.
    pub fn new<P: Into<PathBuf>>(paths: impl IntoIterator<Item = P>) -> Watch {
        let files = paths
            .into_iter()
            .map(|path| {
                let mut file = Watched {
                    path: path.into(),
                    stat: None,
                    settled: false,
                    seen: Seen::Nothing,
                };
                file.look();
                file
            })
            .collect();
        Watch { files }
    }

    /// Looks again. Returns the files whose content differs from the last look (changed, come or
    /// gone). Blocking file reads of up to [`crate::FILE_BYTES_MAX`] each.
    pub fn poll(&mut self) -> Vec<PathBuf> {
        self.files
            .iter_mut()
            .filter_map(|file| file.look().then(|| file.path.clone()))
            .collect()
    }

    /// The files, in the order given.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }
}

impl Watched {
    /// True if the content is another than before.
    fn look(&mut self) -> bool {
        let stat = Stat::now(&self.path);
        if self.settled && stat == self.stat {
            return false;
        }
        let (seen, stat) = match read::read(&self.path) {
            Ok(content) => (
                Seen::Content(Sha256::digest(content.bytes.as_slice()).into()),
                Some(content.stat),
            ),
            Err(_) => (Seen::Nothing, stat),
        };
        // What can't be read may become readable without any stamp changing: never settled.
        self.settled = seen != Seen::Nothing
            && stat
                .as_ref()
                .is_some_and(|s| now_unix() - s.changed_unix() > SETTLED_AFTER_SECONDS);
        self.stat = stat;
        let changed = seen != self.seen;
        self.seen = seen;
        changed
    }
}

/// Seconds since 1970 by the system's clock.
pub(crate) fn now_unix() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_changed_content_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&a, "one").unwrap();
        let mut watch = Watch::new([&a, &b]);
        assert!(watch.poll().is_empty());
        fs::write(&a, "one").unwrap();
        assert!(watch.poll().is_empty(), "rewritten with equal content");
        fs::write(&a, "two").unwrap();
        assert_eq!(
            watch.poll(),
            std::slice::from_ref(&a),
            "same size, perhaps the same stamp"
        );
        fs::write(&b, "come").unwrap();
        assert_eq!(watch.poll(), std::slice::from_ref(&b));
        fs::remove_file(&a).unwrap();
        assert_eq!(watch.poll(), [a]);
        assert!(watch.poll().is_empty());
    }

    #[test]
    fn a_swapped_kubernetes_volume_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        for (version, text) in [("..1", "old"), ("..2", "new")] {
            fs::create_dir(dir.path().join(version)).unwrap();
            fs::write(dir.path().join(version).join("tls.crt"), text).unwrap();
        }
        symlink("..1", dir.path().join("..data")).unwrap();
        let file = dir.path().join("tls.crt");
        symlink("..data/tls.crt", &file).unwrap();
        let mut watch = Watch::new([&file]);
        assert!(watch.poll().is_empty());
        symlink("..2", dir.path().join("..data_tmp")).unwrap();
        fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
        assert_eq!(watch.poll(), [file]);
    }
}
