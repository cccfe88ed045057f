//! The audit spool as it lies on disk: segments of frames, each `length u32 │ checksum u32 │ flags, key, seq, prev │ JSON │ MAC`.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// What stands before the JSON of a frame: length, checksum, flags, key id, sequence number, the hash before.
const BEFORE: usize = 4 + 4 + 1 + 8 + 8 + 32;
/// The MAC behind it.
const BEHIND: usize = 32;

/// The segments, oldest first.
#[must_use]
pub fn segments(spool: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(spool).into_iter().flatten();
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
}

/// The whole frames of a segment, each with its length and checksum.
#[must_use]
pub fn frames(segment: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(segment).expect("a segment");
    let mut rest = bytes.as_slice();
    let mut frames = Vec::new();
    while let Some((length, _)) = rest.split_first_chunk::<4>() {
        let whole = 8 + usize::try_from(u32::from_be_bytes(*length)).expect("a small number");
        if rest.len() < whole {
            break;
        }
        frames.push(rest[..whole].to_vec());
        rest = &rest[whole..];
    }
    frames
}

/// The bytes of all records of the spool, in their order.
#[must_use]
pub fn records(spool: &Path) -> Vec<Vec<u8>> {
    let frames = segments(spool)
        .into_iter()
        .flat_map(|segment| frames(&segment));
    frames
        .map(|frame| frame[BEFORE..frame.len() - BEHIND].to_vec())
        .collect()
}

/// All events of the spool, in their order.
#[must_use]
pub fn events(spool: &Path) -> Vec<Value> {
    let event = |bytes: Vec<u8>| serde_json::from_slice(&bytes).expect("a record is JSON");
    records(spool).into_iter().map(event).collect()
}

/// The names of the events, in their order.
#[must_use]
pub fn names(spool: &Path) -> Vec<String> {
    events(spool)
        .iter()
        .map(|event| event["event"].as_str().expect("a name").to_owned())
        .collect()
}
