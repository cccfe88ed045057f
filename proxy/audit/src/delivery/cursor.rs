//! A sink's place in the log, kept like the head: two slots written in turn, under a MAC.
//!
//! A lost cursor costs sending everything again, never an event; the MAC keeps somebody from moving it over events that the sink then never gets.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::keys::{AuditKeys, KID_BYTES};
use crate::spool::disk::{private_file, sync_directory};
use crate::spool::{Position, SLOT_BYTES};
use crate::trail::now_micros;

const BODY_BYTES: usize = 8 + 8 + 8 + 32 + KID_BYTES;
const MAC_BYTES: usize = 32;

/// Everything before it is in the sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) at: Position,
    /// The hash of the record before it.
    pub(crate) hash: [u8; 32],
    pub(crate) counter: u64,
}

/// The file of one sink in the state directory.
#[derive(Debug)]
pub(crate) struct CursorFile {
    file: File,
    purpose: String,
}

impl CursorFile {
    pub(crate) fn open(state: &Path, sink: &str) -> io::Result<Self> {
        let name: String = sink
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || c == '-' {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        let file = private_file()
            .create(true)
            .truncate(false)
            .open(state.join(format!("{name}.cursor")))?;
        // Two deliveries on one cursor would each skip what the other sent.
        file.try_lock().map_err(|_| {
            io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!(
                    "the cursor of the sink `{sink}` is in use: give each output a name of its own"
                ),
            )
        })?;
        sync_directory(state)?;
        Ok(Self {
            file,
            purpose: format!("cursor {sink}"),
        })
    }

    /// The newer valid slot.
    pub(crate) fn read(&mut self, keys: &AuditKeys) -> io::Result<Option<Cursor>> {
        let mut found = None;
        for slot in 0..2_u64 {
            let mut bytes = [0; BODY_BYTES + MAC_BYTES];
            match self
                .file
                .read_exact_at(&mut bytes, slot * SLOT_BYTES as u64)
            {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
                Err(error) => return Err(error),
            }
            found = found
                .into_iter()
                .chain(self.decode(&bytes, keys))
                .max_by_key(|cursor| cursor.counter);
        }
        Ok(found)
    }

    fn decode(&self, bytes: &[u8], keys: &AuditKeys) -> Option<Cursor> {
        let (body, tag) = bytes.split_at_checked(BODY_BYTES)?;
        let (counter, rest) = body.split_first_chunk::<8>()?;
        let (segment, rest) = rest.split_first_chunk::<8>()?;
        let (offset, rest) = rest.split_first_chunk::<8>()?;
        let (hash, rest) = rest.split_first_chunk::<32>()?;
        let (kid, _) = rest.split_first_chunk::<KID_BYTES>()?;
        let at = Position {
            segment: u64::from_be_bytes(*segment),
            offset: u64::from_be_bytes(*offset),
        };
        let cursor = Cursor {
            at,
            hash: *hash,
            counter: u64::from_be_bytes(*counter),
        };
        keys.find(kid)?
            .head_holds(&self.purpose, body, tag)
            .then_some(cursor)
    }

    /// Durable when it returns.
    pub(crate) fn write(&mut self, cursor: &Cursor, keys: &AuditKeys) -> io::Result<()> {
        let key = keys
            .sealing(now_micros() / 1_000_000)
            .map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(BODY_BYTES + MAC_BYTES);
        bytes.extend_from_slice(&cursor.counter.to_be_bytes());
        bytes.extend_from_slice(&cursor.at.segment.to_be_bytes());
        bytes.extend_from_slice(&cursor.at.offset.to_be_bytes());
        bytes.extend_from_slice(&cursor.hash);
        bytes.extend_from_slice(&key.kid);
        let tag = key.head_tag(&self.purpose, &bytes);
        bytes.extend_from_slice(&tag);
        self.file
            .write_all_at(&bytes, cursor.counter % 2 * SLOT_BYTES as u64)?;
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::AuditKey;

    #[test]
    fn two_deliveries_never_share_a_cursor() {
        let state = tempfile::tempdir().unwrap();
        let first = CursorFile::open(state.path(), "postgresql").unwrap();
        assert!(CursorFile::open(state.path(), "postgresql").is_err());
        assert!(CursorFile::open(state.path(), "siem").is_ok());
        drop(first);
        assert!(CursorFile::open(state.path(), "postgresql").is_ok());
    }

    #[test]
    fn the_newest_cursor_reads_back_and_a_forged_one_does_not() {
        let state = tempfile::tempdir().unwrap();
        let keys = AuditKeys::new(vec![AuditKey::new("a", 0, [1; 32])]).unwrap();
        let cursor = |counter| Cursor {
            at: Position {
                segment: counter,
                offset: 7,
            },
            hash: [3; 32],
            counter,
        };
        let mut file = CursorFile::open(state.path(), "postgresql").unwrap();
        assert_eq!(file.read(&keys).unwrap(), None);
        for counter in 1..=3 {
            file.write(&cursor(counter), &keys).unwrap();
            assert_eq!(file.read(&keys).unwrap(), Some(cursor(counter)));
        }
        file.file
            .write_all_at(&[9], SLOT_BYTES as u64 + 30)
            .unwrap();
        assert_eq!(file.read(&keys).unwrap(), Some(cursor(2)));
        assert_eq!(
            CursorFile::open(state.path(), "siem")
                .unwrap()
                .read(&keys)
                .unwrap(),
            None
        );
    }
}
