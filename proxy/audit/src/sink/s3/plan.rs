//! Where objects were cut, kept beside the cursor: what is sent again after a crash must be cut as it was, or the same events would stand in two objects.
//!
//! A batch that is read again is longer, for more events have come meanwhile. The plan says after which records of it an object ended, written before the first of
//! them is sent. It needs no MAC: any cut is right, and a plan that is lost or changed costs an object that repeats events, never an event.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::keys::{Kid, hex, unhex};
use crate::record::Record;
use crate::spool::disk::{private_file, sync_directory};

/// Cuts of one plan: as many as a batch has records at most, and few in fact.
const CUTS_MAX: usize = 1024;
/// Bytes of the file's longest form.
const BYTES_MAX: u64 = 128 * 1024;

/// The plan of one batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// The hash of the batch's first record.
    first: [u8; 32],
    /// The key that seals its objects; none: they are not sealed.
    pub(super) key: Option<Kid>,
    /// The hashes of the records behind which an object ended.
    cuts: Vec<[u8; 32]>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    first: String,
    key: Option<String>,
    cuts: Vec<String>,
}

impl Plan {
    /// Of a batch that begins with this record.
    pub(super) fn beginning(first: &Record, key: Option<Kid>) -> Self {
        Self {
            first: first.hash(),
            key,
            cuts: Vec::new(),
        }
    }

    pub(super) fn begins(&self, first: &Record) -> bool {
        self.first == first.hash()
    }

    /// Whether an object ends behind this record.
    pub(super) fn cuts(&self, record: &Record) -> bool {
        self.cuts.contains(&record.hash())
    }

    /// Puts a cut behind a record; false where there is one.
    pub(super) fn cut(&mut self, record: &Record) -> bool {
        let is_new = !self.cuts(record) && self.cuts.len() < CUTS_MAX;
        if is_new {
            self.cuts.push(record.hash());
        }
        is_new
    }
}

/// Its file.
#[derive(Debug, Clone)]
pub(super) struct PlanFile {
    state: PathBuf,
    name: &'static str,
}

impl PlanFile {
    pub(super) fn new(state: &Path) -> Self {
        Self {
            state: state.to_owned(),
            name: "s3.plan",
        }
    }

    /// The plan, if there is one that can be read.
    pub(super) fn read(&self) -> Option<Plan> {
        let path = self.state.join(self.name);
        if std::fs::metadata(&path).ok()?.len() > BYTES_MAX {
            return None;
        }
        let written: Written = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        let cuts = written.cuts.iter().take(CUTS_MAX);
        Some(Plan {
            first: unhex(&written.first)?,
            key: match written.key {
                Some(key) => Some(unhex(&key)?),
                None => None,
            },
            cuts: cuts.map(|cut| unhex(cut)).collect::<Option<_>>()?,
        })
    }

    /// Durable when it returns.
    pub(super) fn write(&self, plan: &Plan) -> io::Result<()> {
        let written = Written {
            first: hex(&plan.first),
            key: plan.key.map(|key| hex(&key)),
            cuts: plan.cuts.iter().map(|cut| hex(cut)).collect(),
        };
        let part = self.state.join(format!("{}.part", self.name));
        let mut file = private_file().create(true).truncate(true).open(&part)?;
        serde_json::to_writer(&mut file, &written)?;
        file.flush()?;
        file.sync_all()?;
        std::fs::rename(part, self.state.join(self.name))?;
        sync_directory(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{
        canonical,
        tests::{full, place},
    };

    #[test]
    fn a_plan_is_read_back_and_a_broken_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = PlanFile::new(folder.path());
        assert_eq!(file.read(), None);
        let records =
            [3, 4, 7].map(|seq| Record::parse(&canonical(&full(), &place(seq, &[0; 32]))).unwrap());
        let mut plan = Plan::beginning(&records[0], Some([7; 8]));
        assert!(plan.cut(&records[1]) && !plan.cut(&records[1]));
        file.write(&plan).unwrap();
        let read = file.read().unwrap();
        assert_eq!(read, plan);
        assert!(read.begins(&records[0]) && !read.begins(&records[1]));
        assert!(read.cuts(&records[1]) && !read.cuts(&records[2]));
        std::fs::write(folder.path().join("s3.plan"), b"{\"first\":1}").unwrap();
        assert_eq!(file.read(), None);
    }
}
