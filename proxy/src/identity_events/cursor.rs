//! How far the events have been read, in a file of the state directory: durable before and after each batch.
//!
//! Before a batch is recorded its ids are written as *pending*, after it as *seen*. A crash between leaves them pending, and the
//! next start looks into the log which of them stand there. A file that can't be read, or none, is made again from the log.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::source::List;

/// The file's name in `state.directory`.
const FILE_NAME: &str = "identity-events.json";
/// How long after its own time an event may still appear in Keycloak's list, in milliseconds: its transaction commits later.
pub(super) const OVERLAP_MS: i64 = 60_000;
/// Ids that are remembered of one list. Were there more within the overlap, it would be as much shorter.
pub(super) const SEEN_MAX: usize = 20_000;
/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Where one list stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// Unix milliseconds: everything before is done.
    pub(super) from_ms: i64,
    /// What is done from then on, each with its time.
    pub(super) seen: BTreeMap<String, i64>,
}

impl Place {
    /// One more is done.
    pub(super) fn done(&mut self, id: String, at_ms: i64) {
        self.seen.insert(id, at_ms);
    }

    /// The list was read up to this time.
    pub(super) fn advance(&mut self, read_ms: i64) {
        self.from_ms = self.from_ms.max(read_ms.saturating_sub(OVERLAP_MS));
        if self.seen.len() > SEEN_MAX {
            let mut times: Vec<i64> = self.seen.values().copied().collect();
            times.sort_unstable();
            let surplus = times.len() - SEEN_MAX;
            if let Some(last) = times.get(surplus.saturating_sub(1)) {
                self.from_ms = self.from_ms.max(last.saturating_add(1));
            }
        }
        let from_ms = self.from_ms;
        self.seen.retain(|_, at_ms| *at_ms >= from_ms);
    }
}

/// Both lists, and the batch under way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cursor {
    version: u8,
    user: Place,
    admin: Place,
    /// Ids and times of what is being recorded.
    pub(super) pending: BTreeMap<String, i64>,
}

impl Cursor {
    /// Both lists from a time on, but for what is in the log already.
    pub(super) fn starting(from_ms: i64, recorded: &BTreeMap<String, i64>) -> Self {
        let later = recorded.iter().filter(|(_, at_ms)| **at_ms >= from_ms);
        let place = Place {
            from_ms,
            seen: later.map(|(id, at_ms)| (id.clone(), *at_ms)).collect(),
        };
        Self {
            version: 1,
            user: place.clone(),
            admin: place,
            pending: BTreeMap::new(),
        }
    }

    pub(super) fn of(&mut self, list: List) -> &mut Place {
        match list {
            List::User => &mut self.user,
            List::Admin => &mut self.admin,
        }
    }

    /// What was pending at a crash is done where it stands in the log, and else as if it had never been begun.
    pub(super) fn settle(&mut self, recorded: &BTreeSet<String>) {
        for (id, at_ms) in std::mem::take(&mut self.pending) {
            if recorded.contains(&id) {
                // Whichever list it is of: ids are unique.
                self.user.done(id.clone(), at_ms);
                self.admin.done(id, at_ms);
            }
        }
    }
}

/// The file.
#[derive(Debug)]
pub(super) struct CursorFile {
    directory: PathBuf,
}

impl CursorFile {
    pub(super) fn new(state: &Path) -> Self {
        Self {
            directory: state.to_owned(),
        }
    }

    /// What was written last; none where there is none that can be believed.
    pub(super) fn read(&self) -> io::Result<Option<Cursor>> {
        let path = self.directory.join(FILE_NAME);
        let bytes = match std::fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
            Ok(file) if file.len() > FILE_BYTES_MAX => Vec::new(),
            Ok(_) => std::fs::read(&path)?,
        };
        let cursor = serde_json::from_slice::<Cursor>(&bytes).ok();
        let cursor = cursor.filter(|cursor| cursor.version == 1);
        if cursor.is_none() {
            log::warn!(
                "{}: not a cursor of identity events; it is made again from the audit log",
                path.display()
            );
        }
        Ok(cursor)
    }

    /// Durable when it returns; the old one or the new one is there, whatever happens.
    pub(super) fn write(&self, cursor: &Cursor) -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".identity-events")
            .tempfile_in(&self.directory)?;
        file.write_all(&serde_json::to_vec(cursor)?)?;
        file.as_file().sync_all()?;
        file.persist(self.directory.join(FILE_NAME))
            .map_err(|error| error.error)?;
        std::fs::File::open(&self.directory)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(ids: &[(&str, i64)]) -> BTreeMap<String, i64> {
        ids.iter().map(|(id, at)| ((*id).to_owned(), *at)).collect()
    }

    #[test]
    fn what_was_written_reads_back_and_what_is_torn_does_not() {
        let state = tempfile::tempdir().unwrap();
        let file = CursorFile::new(state.path());
        assert_eq!(file.read().unwrap(), None);
        let cursor = Cursor::starting(5, &seen(&[("a", 7), ("b", 4)]));
        file.write(&cursor).unwrap();
        assert_eq!(file.read().unwrap(), Some(cursor));
        let path = state.path().join(FILE_NAME);
        let half = std::fs::read(&path).unwrap();
        std::fs::write(&path, &half[..half.len() / 2]).unwrap();
        assert_eq!(file.read().unwrap(), None, "torn");
        std::fs::write(&path, r#"{"version":2}"#).unwrap();
        assert_eq!(file.read().unwrap(), None, "another version's");
    }

    #[test]
    fn after_a_crash_what_stands_in_the_log_is_done_and_the_rest_is_not() {
        let mut cursor = Cursor::starting(0, &BTreeMap::new());
        cursor.pending = seen(&[("recorded", 10), ("lost", 11)]);
        cursor.settle(&BTreeSet::from(["recorded".to_owned()]));
        assert!(cursor.pending.is_empty());
        for list in [List::User, List::Admin] {
            assert_eq!(cursor.of(list).seen, seen(&[("recorded", 10)]));
        }
    }

    #[test]
    fn an_event_that_commits_late_is_within_the_overlap() {
        let mut place = Place::default();
        place.done("early".to_owned(), 1_000);
        place.done("late".to_owned(), OVERLAP_MS + 2_000);
        place.advance(OVERLAP_MS + 2_000);
        assert_eq!(place.from_ms, 2_000);
        assert_eq!(place.seen, seen(&[("late", OVERLAP_MS + 2_000)]));
        place.advance(0);
        assert_eq!(place.from_ms, 2_000, "never back");
    }

    #[test]
    fn more_events_than_are_remembered_shorten_the_overlap_and_forget_none_behind_it() {
        let mut place = Place::default();
        for number in 0..SEEN_MAX + 10 {
            place.done(number.to_string(), i64::try_from(number).unwrap());
        }
        place.advance(0);
        assert_eq!(place.from_ms, 10);
        assert_eq!(place.seen.len(), SEEN_MAX);
    }
}
