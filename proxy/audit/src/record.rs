//! A record read back from the log: its bytes, and the members that a reader asks for.
//!
//! The bytes stay whole and are shared; of the members only the places are kept. So a record that the committer has just
//! written costs delivery no second reading ([`Record::written`]), and one from the disk a single pass without a tree.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
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

/// The content of a text or a list in a record's bytes, without quotes or brackets. At 0 stands the record's brace, so that means absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    length: u32,
}

impl Span {
    /// A frame's bound keeps both in 32 bits; what would not fit counts as absent, and is then read from the whole event.
    pub(crate) fn from(start: usize, length: usize) -> Self {
        match (u32::try_from(start), u32::try_from(length)) {
            (Ok(start), Ok(length)) => Self { start, length },
            _ => Self::default(),
        }
    }

    fn present(self) -> bool {
        self.start > 0
    }

    /// The same content after `by` more bytes.
    pub(crate) fn shifted(self, by: usize) -> Self {
        if self.present() {
            Self::from(self.start as usize + by, self.length as usize)
        } else {
            self
        }
    }

    fn range(self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.length as usize
    }
}

/// Where the members stand that sinks have columns for, or that every verification reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Members {
    pub(crate) chain: Span,
    pub(crate) configuration: Span,
    pub(crate) exchange: Span,
    pub(crate) outcome: Span,
    pub(crate) patients: Span,
    pub(crate) purpose: Span,
    pub(crate) severity: Span,
    pub(crate) client: Span,
    pub(crate) sub: Span,
    pub(crate) time: Span,
    pub(crate) tool: Span,
}

/// What every record has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) name: EventName,
    pub(crate) seq: u64,
    pub(crate) uid: Uuid,
    pub(crate) prev: [u8; 32],
    pub(crate) micros: i64,
    pub(crate) members: Members,
}

/// One event in its place, as the log has it.
#[derive(Debug, Clone)]
pub struct Record {
    bytes: Bytes,
    hash: [u8; 32],
    facts: Facts,
    /// The whole event, once somebody asks for it.
    value: OnceLock<Box<Value>>,
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Record {
    /// Reads canonical bytes.
    ///
    /// # Errors
    /// Not JSON, or without the members that every record has.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        Self::hashed(bytes, fingerprint(bytes))
    }

    /// The same of bytes whose hash is known.
    pub(crate) fn hashed(bytes: &[u8], hash: [u8; 32]) -> Result<Self, RecordError> {
        let facts = read(bytes)?;
        Ok(Self::written(Bytes::copy_from_slice(bytes), hash, facts))
    }

    /// A record that this process wrote, and so knows.
    pub(crate) fn written(bytes: Bytes, hash: [u8; 32], facts: Facts) -> Self {
        Self {
            bytes,
            hash,
            facts,
            value: OnceLock::new(),
        }
    }

    /// The canonical bytes (RFC 8785).
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of `0x00` and the bytes: the leaf hash of RFC 6962, which the next record holds as `prev`.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    pub(crate) fn hash_bytes(&self) -> &[u8; 32] {
        &self.hash
    }

    /// The whole event.
    #[must_use]
    pub fn value(&self) -> &Value {
        self.value.get_or_init(|| {
            // The bytes were read before, or written here: they are JSON.
            Box::new(serde_json::from_slice(&self.bytes).unwrap_or_default())
        })
    }

    /// What happened.
    #[must_use]
    pub fn name(&self) -> EventName {
        self.facts.name
    }

    /// The run that wrote it: the instance and its boot counter.
    #[must_use]
    pub fn chain(&self) -> &str {
        self.text(&["chain"]).unwrap_or_default()
    }

    /// Its number within the chain, from 0.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.facts.seq
    }

    /// Its name everywhere.
    #[must_use]
    pub fn uid(&self) -> Uuid {
        self.facts.uid
    }

    /// The hash of the record before it, over the borders of chains.
    #[must_use]
    pub fn prev(&self) -> &[u8; 32] {
        &self.facts.prev
    }

    /// A text member by its path, as `["subject", "sub"]`.
    #[must_use]
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        let members = &self.facts.members;
        let span = match path {
            ["chain"] => members.chain,
            ["configuration"] => members.configuration,
            ["exchange"] => members.exchange,
            ["outcome"] => members.outcome,
            ["purpose"] => members.purpose,
            ["severity"] => members.severity,
            ["subject", "client"] => members.client,
            ["subject", "sub"] => members.sub,
            ["time"] => members.time,
            ["mcp", "tool"] => members.tool,
            _ => return self.found(path),
        };
        if !span.present() {
            return None;
        }
        let content = self.bytes.get(span.range()).unwrap_or_default();
        if content.contains(&b'\\') {
            return self.found(path);
        }
        std::str::from_utf8(content).ok()
    }

    /// A text member in the whole event.
    fn found(&self, path: &[&str]) -> Option<&str> {
        path.iter()
            .try_fold(self.value(), |value, name| value.get(name))
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
        self.facts.micros
    }

    /// Whose records.
    #[must_use]
    pub fn patients(&self) -> Vec<Pseudonym> {
        self.patient_words().filter_map(Pseudonym::parse).collect()
    }

    /// The same as words with a space between them.
    pub(crate) fn patients_text(&self) -> Cow<'_, str> {
        let mut words = self.patient_words();
        let first = words.next().unwrap_or_default();
        words.fold(Cow::Borrowed(first), |text, word| {
            let mut text = text.into_owned();
            text.push(' ');
            text.push_str(word);
            Cow::Owned(text)
        })
    }

    /// The patients as they stand there: hexadecimal digits, which need no escape.
    fn patient_words(&self) -> impl Iterator<Item = &str> {
        let content = self.bytes.get(self.facts.members.patients.range());
        let list = content.and_then(|list| std::str::from_utf8(list).ok());
        list.unwrap_or_default()
            .split(',')
            .map(|word| word.trim().trim_matches('"'))
            .filter(|word| Pseudonym::parse(word).is_some())
    }
}

/// The members of a record as JSON text.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    chain: Option<&'a RawValue>,
    #[serde(borrow)]
    configuration: Option<&'a RawValue>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    exchange: Option<&'a RawValue>,
    #[serde(borrow)]
    mcp: Option<&'a RawValue>,
    #[serde(borrow)]
    outcome: Option<&'a RawValue>,
    #[serde(borrow)]
    patients: Option<&'a RawValue>,
    #[serde(borrow)]
    prev: Option<&'a RawValue>,
    #[serde(borrow)]
    purpose: Option<&'a RawValue>,
    #[serde(borrow)]
    seq: Option<&'a RawValue>,
    #[serde(borrow)]
    severity: Option<&'a RawValue>,
    #[serde(borrow)]
    subject: Option<&'a RawValue>,
    #[serde(borrow)]
    time: Option<&'a RawValue>,
    #[serde(borrow)]
    uid: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct RawSubject<'a> {
    #[serde(borrow)]
    client: Option<&'a RawValue>,
    #[serde(borrow)]
    sub: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct RawMcp<'a> {
    #[serde(borrow)]
    tool: Option<&'a RawValue>,
}

/// What a record's bytes say.
fn read(bytes: &[u8]) -> Result<Facts, RecordError> {
    let raw: Raw<'_> = object(bytes).ok_or(RecordError::NotJson)?;
    let name = required(raw.event, "event")?;
    let name = EventName::parse(&name).ok_or(RecordError::Member("event"))?;
    required(raw.chain, "chain")?;
    let seq = raw.seq.and_then(|seq| serde_json::from_str(seq.get()).ok());
    let seq = seq.ok_or(RecordError::Member("seq"))?;
    let uid = Uuid::parse_str(&required(raw.uid, "uid")?);
    let prev = unhex::<32>(&required(raw.prev, "prev")?);
    let time = OffsetDateTime::parse(&required(raw.time, "time")?, &Rfc3339)
        .map_err(|_| RecordError::Member("time"))?;
    let micros = i64::try_from(time.unix_timestamp_nanos() / 1000);
    let subject: RawSubject<'_> = object(inner(raw.subject)).unwrap_or_default();
    let mcp: RawMcp<'_> = object(inner(raw.mcp)).unwrap_or_default();
    let text = |value| span(bytes, value, '"');
    Ok(Facts {
        name,
        seq,
        uid: uid.map_err(|_| RecordError::Member("uid"))?,
        prev: prev.ok_or(RecordError::Member("prev"))?,
        micros: micros.map_err(|_| RecordError::Member("time"))?,
        members: Members {
            chain: text(raw.chain),
            configuration: text(raw.configuration),
            exchange: text(raw.exchange),
            outcome: text(raw.outcome),
            patients: span(bytes, raw.patients, '['),
            purpose: text(raw.purpose),
            severity: text(raw.severity),
            client: text(subject.client),
            sub: text(subject.sub),
            time: text(raw.time),
            tool: text(mcp.tool),
        },
    })
}

/// A text that every record has.
fn required<'a>(
    value: Option<&'a RawValue>,
    name: &'static str,
) -> Result<Cow<'a, str>, RecordError> {
    value.and_then(decoded).ok_or(RecordError::Member(name))
}

/// The JSON text of a member, empty where it is absent.
fn inner(value: Option<&RawValue>) -> &[u8] {
    value.map_or_else(Default::default, |value| value.get().as_bytes())
}

/// Only an object: serde's structures take a list as well.
fn object<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    bytes
        .starts_with(b"{")
        .then(|| serde_json::from_slice(bytes).ok())
        .flatten()
}

/// A text without its escapes.
fn decoded(raw: &RawValue) -> Option<Cow<'_, str>> {
    match raw.get().strip_prefix('"')?.strip_suffix('"')? {
        plain if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
        _escaped => serde_json::from_str(raw.get()).ok().map(Cow::Owned),
    }
}

/// Where a value that begins with `opening` stands in the bytes it was read from.
fn span(bytes: &[u8], raw: Option<&RawValue>, opening: char) -> Span {
    let Some(text) = raw.map(RawValue::get).filter(|t| t.starts_with(opening)) else {
        return Span::default();
    };
    let start = text.as_ptr().addr().wrapping_sub(bytes.as_ptr().addr());
    Span::from(start.saturating_add(1), text.len().saturating_sub(2))
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
mod tests;
