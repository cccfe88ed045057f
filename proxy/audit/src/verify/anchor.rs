//! Anchors: checkpoints that were kept elsewhere, against which a log is compared.

use std::collections::{BTreeMap, BTreeSet};

use super::cover::Trust;
use super::finding::Fault;
use crate::checkpoint::{NOTE_BYTES_MAX, SignedCheckpoint};
use crate::record::Record;

/// The text holds no anchor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// A line or note that can't be read.
    #[error("line {0} is neither a record of the audit log nor the beginning of a checkpoint")]
    Line(usize),
    /// No checkpoint at all.
    #[error("there is no checkpoint in it")]
    None,
}

/// Checkpoints by run and size.
#[derive(Debug, Clone, Default)]
pub struct Anchors {
    by_chain: BTreeMap<String, BTreeMap<u64, Vec<SignedCheckpoint>>>,
    count: u64,
}

impl Anchors {
    /// Reads checkpoints from a text: notes one after the other, or records a line as `audit query --format jsonl` and the sinks have them (what is no checkpoint among
    /// them is passed over), or both.
    ///
    /// # Errors
    /// Something else stands there, or nothing.
    pub fn read(text: &str) -> Result<Self, AnchorError> {
        let mut anchors = Self::default();
        let mut lines = text.lines().enumerate().peekable();
        while let Some((number, line)) = lines.next() {
            if line.trim().is_empty() {
                continue;
            }
            let bad = || AnchorError::Line(number + 1);
            if line.starts_with('{') {
                let record = Record::parse(line.as_bytes()).map_err(|_| bad())?;
                match SignedCheckpoint::of(&record) {
                    Some(checkpoint) => anchors.add(checkpoint.map_err(|_| bad())?),
                    None => continue,
                }
                continue;
            }
            let mut note = format!("{line}\n");
            let mut signed = false;
            while let Some((_, next)) = lines.peek() {
                signed |= next.starts_with('\u{2014}');
                if (signed && !next.starts_with('\u{2014}')) || note.len() > NOTE_BYTES_MAX {
                    break;
                }
                note.push_str(next);
                note.push('\n');
                lines.next();
            }
            anchors.add(SignedCheckpoint::parse(&note).map_err(|_| bad())?);
        }
        (anchors.count > 0)
            .then_some(anchors)
            .ok_or(AnchorError::None)
    }

    /// The checkpoints that these records hold.
    #[must_use]
    pub fn of<'r>(records: impl IntoIterator<Item = &'r Record>) -> Self {
        let mut anchors = Self::default();
        let found = records.into_iter().filter_map(SignedCheckpoint::of);
        found.flatten().for_each(|found| anchors.add(found));
        anchors
    }

    fn add(&mut self, anchor: SignedCheckpoint) {
        let run = self.by_chain.entry(anchor.checkpoint.chain.clone());
        let place = run.or_default().entry(anchor.checkpoint.size).or_default();
        if !place.contains(&anchor) {
            place.push(anchor);
            self.count += 1;
        }
    }

    /// Takes the others in.
    pub fn extend(&mut self, others: Self) {
        let others = others
            .by_chain
            .into_values()
            .flat_map(BTreeMap::into_values);
        others.flatten().for_each(|anchor| self.add(anchor));
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Those that the run must agree with at this size.
    pub(crate) fn at(&self, chain: &str, size: u64) -> &[SignedCheckpoint] {
        let run = self.by_chain.get(chain);
        run.and_then(|run| run.get(&size))
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// The first one of a run that is larger than what the log has of it.
    pub(crate) fn beyond(&self, chain: &str, has: u64) -> Option<&SignedCheckpoint> {
        let mut larger = self.by_chain.get(chain)?.range(has.checked_add(1)?..);
        larger.next()?.1.first()
    }

    /// The first one of a run that is not among these, and how many there are.
    pub(crate) fn elsewhere(&self, seen: &BTreeSet<String>) -> (Option<&SignedCheckpoint>, u64) {
        let runs = || self.by_chain.iter().filter(|(run, _)| !seen.contains(*run));
        let first = runs().find_map(|(_, run)| run.values().next()?.first());
        let count = runs().map(|(_, run)| run.values().map(Vec::len).sum::<usize>());
        (first, count.sum::<usize>() as u64)
    }

    /// An anchor that nobody trusted signed.
    pub(crate) fn foreign(&self, trust: &Trust<'_>) -> Option<Fault> {
        let all = self.by_chain.values().flat_map(BTreeMap::values).flatten();
        let mut foreign = all.filter(|anchor| !trust.signed(anchor));
        foreign.next().map(|anchor| Fault::ForeignAnchor {
            chain: anchor.checkpoint.chain.clone(),
            time: anchor.checkpoint.time.clone(),
        })
    }
}
