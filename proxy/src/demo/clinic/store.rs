//! The records on disk, each as the bytes that arrived.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde_json::value::RawValue;

/// Records by patient id, in raw JSON.
pub(crate) type Records = BTreeMap<String, Box<RawValue>>;

/// The file of records. Read anew for every call: whoever changes the file changes what is answered.
pub(crate) struct Store {
    path: PathBuf,
}

impl Store {
    pub(crate) fn new(path: PathBuf) -> Store {
        Store { path }
    }

    /// Every record; none while the file does not exist.
    pub(crate) fn load(&self) -> io::Result<Records> {
        match fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Records::new()),
            Err(error) => Err(error),
        }
    }

    /// Puts a record in place of the patient's earlier one.
    pub(crate) fn put(&self, patient: &str, record: &RawValue) -> io::Result<()> {
        let mut records = self.load()?;
        records.insert(patient.to_owned(), record.to_owned());
        self.save(&records)
    }

    /// Deletes the patient's record; whether there was one.
    pub(crate) fn delete(&self, patient: &str) -> io::Result<bool> {
        let mut records = self.load()?;
        let existed = records.remove(patient).is_some();
        if existed {
            self.save(&records)?;
        }
        Ok(existed)
    }

    /// Replaces the file whole, so that a reader sees the old records or the new ones.
    fn save(&self, records: &Records) -> io::Result<()> {
        let next = self.path.with_extension("next");
        fs::write(&next, serde_json::to_vec(records)?)?;
        fs::rename(&next, &self.path)
    }
}
