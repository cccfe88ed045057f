//! A record read back from the log: its bytes, and the members that a reader asks for.

use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::catalogue::EventName;
use crate::keys::{Pseudonym, unhex};

/// The bytes are no record of this trail.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum RecordError {
    /// No JSON object.
    #[error("the record is no JSON object")]
    NotJson,
    /// A member that every record has is absent or of the wrong kind.
    #[error("the record has no valid `{0}`")]
    Member(&'static str),
}

/// One event in its place, as the log has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    bytes: Vec<u8>,
    value: Value,
    name: EventName,
    chain: String,
    seq: u64,
    uid: Uuid,
    prev: [u8; 32],
    micros: i64,
}

impl Record {
    /// Reads canonical bytes.
    ///
    /// # Errors
    /// Not JSON, or without the members that every record has.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let value: Value = serde_json::from_slice(bytes).map_err(|_| RecordError::NotJson)?;
        let text = |name: &'static str| {
            value
                .get(name)
                .and_then(Value::as_str)
                .ok_or(RecordError::Member(name))
        };
        let name = EventName::parse(text("event")?).ok_or(RecordError::Member("event"))?;
        let chain = text("chain")?.to_owned();
        let seq = value
            .get("seq")
            .and_then(Value::as_u64)
            .ok_or(RecordError::Member("seq"))?;
        let uid = Uuid::parse_str(text("uid")?).map_err(|_| RecordError::Member("uid"))?;
        let prev = unhex::<32>(text("prev")?).ok_or(RecordError::Member("prev"))?;
        let time = OffsetDateTime::parse(text("time")?, &Rfc3339)
            .map_err(|_| RecordError::Member("time"))?;
        let micros = i64::try_from(time.unix_timestamp_nanos() / 1000)
            .map_err(|_| RecordError::Member("time"))?;
        Ok(Self {
            bytes: bytes.to_vec(),
            value,
            name,
            chain,
            seq,
            uid,
            prev,
            micros,
        })
    }

    /// The canonical bytes (RFC 8785).
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of `0x00` and the bytes: the leaf hash of RFC 6962, which the next record holds as `prev`.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        fingerprint(&self.bytes)
    }

    /// The whole event.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// What happened.
    #[must_use]
    pub fn name(&self) -> EventName {
        self.name
    }

    /// The run that wrote it: the instance and its boot counter.
    #[must_use]
    pub fn chain(&self) -> &str {
        &self.chain
    }

    /// Its number within the chain, from 0.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Its name everywhere.
    #[must_use]
    pub fn uid(&self) -> Uuid {
        self.uid
    }

    /// The hash of the record before it, over the borders of chains.
    #[must_use]
    pub fn prev(&self) -> &[u8; 32] {
        &self.prev
    }

    /// A text member by its path, as `["subject", "sub"]`.
    #[must_use]
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        path.iter()
            .try_fold(&self.value, |value, name| value.get(name))
            .and_then(Value::as_str)
    }

    /// When, UTC as RFC 3339 with six digits; texts of this one form order as times do.
    #[must_use]
    pub fn time(&self) -> &str {
        self.text(&["time"]).unwrap_or_default()
    }

    /// When, in microseconds since 1970.
    #[must_use]
    pub fn micros(&self) -> i64 {
        self.micros
    }

    /// Whose records.
    #[must_use]
    pub fn patients(&self) -> Vec<Pseudonym> {
        let list = self.value.get("patients").and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .filter_map(Pseudonym::parse)
            .collect()
    }
}

/// The leaf hash of RFC 6962 over a record's canonical bytes.
pub(crate) fn fingerprint(bytes: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update([0])
        .chain_update(bytes)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{
        canonical,
        tests::{full, place},
    };

    #[test]
    fn a_written_event_reads_back() {
        let bytes = canonical(&full(), &place(3, &[9; 32]));
        let record = Record::parse(&bytes).unwrap();
        assert_eq!(
            (record.name(), record.seq(), record.chain(), record.prev()),
            (EventName::PhiRead, 3, "c-1", &[9; 32])
        );
        assert_eq!(record.text(&["subject", "sub"]), Some("alice"));
        assert_eq!(record.patients(), full().patients);
        assert_eq!(record.bytes(), bytes);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        assert_eq!(Record::parse(b"["), Err(RecordError::NotJson));
        assert_eq!(Record::parse(b"{}"), Err(RecordError::Member("event")));
        let missing = br#"{"event":"phi_read","chain":"c","seq":-1}"#;
        assert_eq!(Record::parse(missing), Err(RecordError::Member("seq")));
    }
}
