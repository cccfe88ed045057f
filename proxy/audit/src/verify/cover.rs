//! What the checkpoints cover: follows the records of each run in order, rebuilds its tree, and holds each checkpoint and
//! each anchor against it. Also tells what is worth knowing: runs without an end, clocks that jump, silences, intents without an outcome.

use std::collections::BTreeSet;

use super::Report;
use super::anchor::Anchors;
use super::finding::{Fault, Notice, Place};
use super::pairs::{Pairs, note};
use crate::catalogue::EventName;
use crate::checkpoint::{SignedCheckpoint, VerifierKey};
use crate::keys::{AuditKeys, Ratchet};
use crate::record::Record;
use crate::tree::Tree;

/// By how much a record may be older than the one before: they are stamped by many threads, and put in order by one.
const CLOCK_BACK_MICROS: i64 = 1_000_000;
/// What a silence may be longer than two heartbeats.
const SILENCE_SLACK_MICROS: i64 = 10_000_000;

/// What does not hold of a checkpoint.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum CheckpointFault {
    /// It lacks a part.
    #[error("it can't be read")]
    Unreadable,
    /// Nobody trusted signed it.
    #[error("it is signed with a key that is not trusted here")]
    UnknownKey,
    /// It or what is before it was changed.
    #[error("its signature does not match, so it or one of them was changed")]
    Signature,
    /// Another tree.
    #[error("its root is not that of the tree over them, so one of them was changed")]
    Root,
    /// The event around it.
    #[error("its event says more or less than what is signed")]
    Event,
    /// One is missing, or there is one too many.
    #[error("its number among the checkpoints of the run is not the next one")]
    Epoch,
    /// The MAC whose key is erased.
    #[error(
        "its forward-secure MAC does not match: it was made anew by somebody who had the keys of a later moment"
    )]
    Mac,
}

/// Whose signature counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trust<'a> {
    /// That of the ring's keys; their MACs are checked too.
    Ring(&'a AuditKeys),
    /// That of these.
    Public(&'a [VerifierKey]),
}

impl Trust<'_> {
    pub(crate) fn signed(&self, checkpoint: &SignedCheckpoint) -> bool {
        match self {
            Self::Ring(keys) => keys.signer_of(checkpoint).is_some(),
            Self::Public(keys) => keys.iter().any(|key| checkpoint.holds(key)),
        }
    }

    fn known(&self, checkpoint: &SignedCheckpoint) -> bool {
        match self {
            Self::Ring(keys) => keys.verifier_keys().iter().any(|key| checkpoint.is_of(key)),
            Self::Public(keys) => keys.iter().any(|key| checkpoint.is_of(key)),
        }
    }
}

/// The run that is read.
#[derive(Debug)]
struct Run {
    chain: String,
    /// None: it began before the copy.
    tree: Option<Tree>,
    /// Records up to the last one that was read.
    size: u64,
    last: Place,
    last_hash: [u8; 32],
    micros: i64,
    pod: Vec<u8>,
    /// The next checkpoint's, once it is known.
    epoch: Option<u64>,
    ratchet: Option<Ratchet>,
    /// The first record that no checkpoint covers.
    uncovered: u64,
    /// The longest time without a checkpoint, microseconds; none in runs that don't say.
    silence_max: Option<i64>,
    checkpoint_micros: i64,
}

/// Follows the records of a log.
#[derive(Debug)]
pub(crate) struct Cover<'a> {
    trust: Trust<'a>,
    anchors: &'a Anchors,
    seen: BTreeSet<String>,
    run: Option<Run>,
    records: u64,
    chains: u64,
    checkpoints: u64,
    anchored: u64,
    checkpoint: Option<Place>,
    /// Records behind the last checkpoint that holds.
    behind: u64,
    pairs: Pairs,
    middle: Option<Place>,
    unended: Option<(u64, Box<(Place, Place)>)>,
    clock_back: Option<(u64, Place)>,
    silence: Option<(u64, i64, Place)>,
}

impl<'a> Cover<'a> {
    pub(crate) fn new(trust: Trust<'a>, anchors: &'a Anchors) -> Self {
        Self {
            trust,
            anchors,
            seen: BTreeSet::new(),
            run: None,
            records: 0,
            chains: 0,
            checkpoints: 0,
            anchored: 0,
            checkpoint: None,
            behind: 0,
            pairs: Pairs::default(),
            middle: None,
            unended: None,
            clock_back: None,
            silence: None,
        }
    }

    /// The next record, whose place in the chain is known to be right.
    pub(crate) fn see(&mut self, record: &Record) -> Result<(), Fault> {
        let same = matches!(&self.run, Some(run) if run.chain == record.chain());
        if !same {
            self.end_run()?;
            self.mark_unended(record);
            self.begin_run(record);
        }
        let mut run = self.run.take();
        let judged = match &mut run {
            Some(run) => self.judge(run, record),
            None => Ok(()),
        };
        self.run = run;
        judged?;
        self.pairs.see(record);
        self.records += 1;
        Ok(())
    }

    fn begin_run(&mut self, record: &Record) {
        self.chains += 1;
        self.seen.insert(record.chain().to_owned());
        let place = Place::of(record);
        let is_first = record.seq() == 0;
        if self.records == 0 && (!is_first || *record.prev() != [0; 32]) {
            self.middle = Some(place.clone());
        }
        self.pairs.begin(!is_first);
        let value = record.value();
        let heartbeat = value
            .pointer("/details/heartbeat_seconds")
            .and_then(serde_json::Value::as_i64);
        self.run = Some(Run {
            chain: record.chain().to_owned(),
            tree: is_first.then(Tree::default),
            size: record.seq(),
            last: place,
            last_hash: *record.prev(),
            micros: record.micros(),
            pod: value
                .get("pod")
                .and_then(|pod| serde_json::to_vec(pod).ok())
                .unwrap_or_default(),
            epoch: is_first.then_some(0),
            ratchet: None,
            uncovered: record.seq(),
            silence_max: heartbeat.map(|seconds| {
                seconds
                    .saturating_mul(2_000_000)
                    .saturating_add(SILENCE_SLACK_MICROS)
            }),
            checkpoint_micros: record.micros(),
        });
    }

    fn mark_unended(&mut self, next: &Record) {
        let Some(run) = &self.run else { return };
        if run.last.event != EventName::AuditStopped {
            match &mut self.unended {
                Some((runs, _)) => *runs += 1,
                None => {
                    self.unended = Some((1, Box::new((run.last.clone(), Place::of(next)))));
                }
            }
        }
    }

    fn judge(&mut self, run: &mut Run, record: &Record) -> Result<(), Fault> {
        self.hold_anchors(run)?;
        let place = Place::of(record);
        if record.micros() < run.micros.saturating_sub(CLOCK_BACK_MICROS) {
            note(&mut self.clock_back, || place.clone());
        }
        run.micros = record.micros();
        self.behind += 1;
        if let Some(read) = SignedCheckpoint::of(record) {
            let checked = read
                .map_err(|_| CheckpointFault::Unreadable)
                .and_then(|checkpoint| self.check(run, record, &checkpoint));
            checked.map_err(|what| Fault::Checkpoint {
                what,
                first: run.uncovered,
                at: record.seq(),
            })?;
            self.covered(run, record, &place);
        }
        if let Some(tree) = &mut run.tree {
            tree.append(record.hash());
        }
        run.size = record.seq().saturating_add(1);
        run.last_hash = record.hash();
        run.last = place;
        Ok(())
    }

    fn check(
        &self,
        run: &mut Run,
        record: &Record,
        checkpoint: &SignedCheckpoint,
    ) -> Result<(), CheckpointFault> {
        if !self.trust.signed(checkpoint) {
            return Err(match self.trust.known(checkpoint) {
                true => CheckpointFault::Signature,
                false => CheckpointFault::UnknownKey,
            });
        }
        let said = &checkpoint.checkpoint;
        if run
            .tree
            .as_ref()
            .is_some_and(|tree| tree.root() != said.root)
        {
            return Err(CheckpointFault::Root);
        }
        if !checkpoint.is_whole(record, &run.pod) {
            return Err(CheckpointFault::Event);
        }
        if run.epoch.is_some_and(|epoch| epoch != said.epoch) || said.epoch > said.size {
            return Err(CheckpointFault::Epoch);
        }
        run.epoch = said.epoch.checked_add(1);
        if let Trust::Ring(keys) = self.trust
            && !mac_holds(run, keys, checkpoint)
        {
            return Err(CheckpointFault::Mac);
        }
        Ok(())
    }

    /// A checkpoint holds: all before it does.
    fn covered(&mut self, run: &mut Run, record: &Record, place: &Place) {
        let silence = record.micros().saturating_sub(run.checkpoint_micros);
        if run.silence_max.is_some_and(|max| silence > max) {
            match &mut self.silence {
                Some((times, _, _)) => *times += 1,
                None => self.silence = Some((1, silence / 1_000_000, place.clone())),
            }
        }
        run.checkpoint_micros = record.micros();
        run.uncovered = record.seq().saturating_add(1);
        self.checkpoint = Some(place.clone());
        self.checkpoints += 1;
        self.behind = 0;
    }

    /// The anchors of the size that the run has now.
    fn hold_anchors(&mut self, run: &Run) -> Result<(), Fault> {
        for anchor in self.anchors.at(&run.chain, run.size) {
            let said = &anchor.checkpoint;
            let root = run
                .tree
                .as_ref()
                .is_none_or(|tree| tree.root() == said.root);
            if !root || said.last != run.last_hash {
                return Err(Fault::NotTheAnchors {
                    chain: run.chain.clone(),
                    size: said.size,
                    time: said.time.clone(),
                });
            }
            self.anchored += 1;
        }
        Ok(())
    }

    fn end_run(&mut self) -> Result<(), Fault> {
        let Some(run) = self.run.take() else {
            return Ok(());
        };
        self.hold_anchors(&run)?;
        if let Some(anchor) = self.anchors.beyond(&run.chain, run.size) {
            return Err(behind(anchor, run.size));
        }
        self.run = Some(run);
        Ok(())
    }

    /// There is no further record.
    pub(crate) fn finish(&mut self) -> Result<(), Fault> {
        if let Some(fault) = self.anchors.foreign(&self.trust) {
            return Err(fault);
        }
        self.end_run()?;
        // What the copy does not reach back to can't be judged.
        match self.anchors.elsewhere(&self.seen) {
            (Some(anchor), _) if self.middle.is_none() => Err(behind(anchor, 0)),
            _ => Ok(()),
        }
    }

    /// Whether the last record can be believed to be the end marker: without the ring's key only if it is signed.
    fn is_end_proved(&self) -> bool {
        matches!(self.trust, Trust::Ring(_)) || self.behind == 0
    }

    /// Says what was seen so far.
    pub(crate) fn fill(&mut self, report: &mut Report) {
        report.records = self.records;
        report.chains = self.chains;
        report.checkpoints = self.checkpoints;
        report.anchors = self.anchored;
        report.checkpoint = self.checkpoint.clone();
        report.last = self.run.as_ref().map(|run| run.last.clone());
        let notices = &mut report.notices;
        match &report.last {
            _ if self.records == 0 => notices.push(Notice::Empty),
            Some(last) if last.event == EventName::AuditStopped && self.is_end_proved() => {}
            _ => notices.push(Notice::NoEndMarker),
        }
        if matches!(self.trust, Trust::Public(_)) && self.behind > 0 {
            notices.push(Notice::BehindCheckpoint(self.behind));
        }
        let (_, before) = self.anchors.elsewhere(&self.seen);
        let further = [
            self.middle
                .clone()
                .filter(|_| matches!(self.trust, Trust::Public(_)))
                .map(Notice::Middle),
            self.unended
                .take()
                .map(|(runs, places)| Notice::Unended(runs, places)),
            self.clock_back
                .take()
                .map(|(times, place)| Notice::ClockBack(times, place)),
            self.silence
                .take()
                .map(|(times, seconds, place)| Notice::Silence(times, seconds, place)),
            (before > 0).then_some(Notice::AnchorsBefore(before)),
        ];
        notices.extend(further.into_iter().flatten());
        self.pairs.notices(notices);
    }
}

fn behind(anchor: &SignedCheckpoint, has: u64) -> Fault {
    let said = &anchor.checkpoint;
    Fault::BehindAnchor {
        chain: said.chain.clone(),
        size: said.size,
        has,
        time: said.time.clone(),
    }
}

/// Whether the forward-secure MAC holds. In a process that has begun a run of its own nobody can tell.
fn mac_holds(run: &mut Run, keys: &AuditKeys, checkpoint: &SignedCheckpoint) -> bool {
    if run.ratchet.is_none() {
        let key = keys.signer_of(checkpoint);
        run.ratchet = key.and_then(|key| key.ratchet(&run.chain));
    }
    let Some(ratchet) = &mut run.ratchet else {
        return true;
    };
    while ratchet.epoch() < checkpoint.checkpoint.epoch {
        ratchet.step();
    }
    checkpoint.checkpoint.mac_holds(ratchet)
}
