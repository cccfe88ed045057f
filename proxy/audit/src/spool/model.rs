//! A disk that forgets: what was not synced may be gone after a crash, wholly, partly or garbled, and any operation may be the one that a crash cuts in two.
//! Random runs of the store on it are compared with the promise: what was acknowledged is there, and the log verifies at every instant. Two crashes are told apart: where the process
//! died, the head covers all that was acknowledged; where the power failed, all that its last sync covered.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use uuid::Uuid;

use super::disk::{Disk, segment_name};
use super::head::{Head, SLOT_BYTES, SLOTS};
use super::{Entry, Fate, Origin, SpoolSettings, Store, lock};
use crate::catalogue::EventName;
use crate::event::{Event, Outcome};
use crate::keys::{AuditKey, AuditKeys};
use crate::verify;

pub(crate) fn keys() -> AuditKeys {
    AuditKeys::new(vec![AuditKey::new("aud-1", 0, [1; 32])]).unwrap()
}

#[derive(Debug, Default, Clone)]
struct SimFile {
    durable: Vec<u8>,
    /// What a reader sees.
    seen: Vec<u8>,
    /// From here to there a failed sync called bytes clean that it did not write: no later sync writes them.
    lost: Vec<Range<usize>>,
}

impl SimFile {
    /// What is on the medium once a sync went through: all that was seen, but where an earlier one lost it.
    fn sync(&mut self) {
        let before = std::mem::replace(&mut self.durable, self.seen.clone());
        for lost in &self.lost {
            for at in lost.clone() {
                if let Some(byte) = self.durable.get_mut(at) {
                    *byte = before.get(at).copied().unwrap_or(0);
                }
            }
        }
    }

    /// A sync that failed: what it was to write is called clean, and may be anywhere or nowhere.
    fn fail_to_sync(&mut self) {
        if self.durable.len() < self.seen.len() {
            self.lost.push(self.durable.len()..self.seen.len());
        }
    }

    /// Bytes that are written anew are dirty anew.
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        self.seen.resize(self.seen.len().max(end), 0);
        self.seen[offset..end].copy_from_slice(bytes);
        self.lost = std::mem::take(&mut self.lost)
            .into_iter()
            .flat_map(|lost| {
                [
                    lost.start..lost.end.min(offset),
                    lost.start.max(end)..lost.end,
                ]
            })
            .filter(|lost| !lost.is_empty())
            .collect();
    }

    fn cut(&mut self, length: usize) {
        assert!(length <= self.seen.len(), "grown by truncation");
        self.seen.truncate(length);
        self.durable.truncate(length);
        for lost in &mut self.lost {
            lost.end = lost.end.min(length);
        }
        self.lost.retain(|lost| !lost.is_empty());
        self.sync();
    }
}

/// A slot of the head file: it is written over in place, so what is on the medium may be any version since the last sync, or parts of two.
#[derive(Debug, Default, Clone)]
struct SimSlot {
    durable: Vec<u8>,
    /// Written since, oldest first; a reader sees the last.
    written: Vec<Vec<u8>>,
    /// The next sync writes it; a failed sync calls it clean all the same.
    dirty: bool,
}

impl SimSlot {
    fn seen(&self) -> &[u8] {
        self.written.last().unwrap_or(&self.durable)
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut after = self.seen().to_vec();
        after.resize(SLOT_BYTES, 0);
        after[..bytes.len()].copy_from_slice(bytes);
        self.written.push(after);
        self.dirty = true;
    }

    fn sync(&mut self) {
        if std::mem::take(&mut self.dirty) {
            self.durable = self.seen().to_vec();
            self.written.clear();
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crash {
    /// The process died; the kernel has all that was written.
    Process,
    /// The power failed: what was not synced is there, gone, or garbled.
    Power,
}

#[derive(Debug, Default)]
struct Sim {
    files: BTreeMap<u64, SimFile>,
    head: [SimSlot; SLOTS],
    /// Operations until the power fails.
    power: Option<usize>,
    dead: bool,
    /// Operations that fail with "no space" before the disk works again.
    full: usize,
    /// Operations that work before those.
    full_after: usize,
    random: u64,
}

impl Sim {
    fn random(&mut self, below: usize) -> usize {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.random >> 33).unwrap() % below.max(1)
    }

    /// Whether the operation happens: wholly, or cut in two by the crash.
    fn step(&mut self) -> io::Result<bool> {
        if self.dead {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.full_after > 0 {
            self.full_after -= 1;
        } else if self.full > 0 {
            self.full -= 1;
            // A failing write may still leave something behind.
            return if self.random(2) == 0 {
                Err(io::ErrorKind::StorageFull.into())
            } else {
                Ok(false)
            };
        }
        match &mut self.power {
            Some(0) => {
                self.dead = true;
                Ok(false)
            }
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None => Ok(true),
        }
    }

    fn cut(&self) -> io::Error {
        if self.dead {
            io::ErrorKind::BrokenPipe.into()
        } else {
            io::ErrorKind::StorageFull.into()
        }
    }

    /// What is on the disk when the process starts again: all of it where only the process died, else what was durable and some of the rest.
    fn restart(&mut self, crash: Crash) {
        self.dead = false;
        self.power = None;
        (self.full, self.full_after) = (0, 0);
        if crash == Crash::Process {
            return;
        }
        for slot in 0..SLOTS {
            self.lose(slot);
        }
        for segment in self.files.keys().copied().collect::<Vec<_>>() {
            let mut file = self.files[&segment].clone();
            let durable = file.durable.len();
            let kept = durable + self.random(file.seen.len().saturating_sub(durable) + 1);
            let garbled = kept > durable && self.random(3) == 0;
            let mut left = file.durable;
            left.extend(
                file.seen
                    .drain(durable.min(file.seen.len())..kept.min(file.seen.len())),
            );
            if garbled && let Some(last) = left.last_mut() {
                *last ^= 0x55;
            }
            let seen = left.clone();
            let file = SimFile {
                durable: left,
                seen,
                lost: Vec::new(),
            };
            self.files.insert(segment, file);
        }
    }
}

impl Sim {
    /// A slot after a power failure: one of its versions, or the start of one before the rest of another.
    fn lose(&mut self, slot: usize) {
        let mut versions = vec![self.head[slot].durable.clone()];
        versions.append(&mut self.head[slot].written);
        let mut left = versions[self.random(versions.len())].clone();
        if versions.len() > 1 && self.random(2) == 0 {
            let other = versions[self.random(versions.len())].clone();
            let cut = self.random(256).min(other.len());
            left.resize(SLOT_BYTES, 0);
            left[..cut].copy_from_slice(&other[..cut]);
        }
        self.head[slot] = SimSlot {
            durable: left,
            ..SimSlot::default()
        };
    }

    /// The head file as a reader sees it.
    fn head_file(&self) -> Vec<u8> {
        let mut file = vec![0; SLOTS * SLOT_BYTES];
        for (slot, place) in self.head.iter().zip(file.chunks_exact_mut(SLOT_BYTES)) {
            place[..slot.seen().len()].copy_from_slice(slot.seen());
        }
        file
    }
}

/// Handles to one simulated disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimDisk(Arc<Mutex<Sim>>);

impl SimDisk {
    /// The next so many operations find no space.
    pub(crate) fn fill(&self, operations: usize) {
        self.fill_after(0, operations);
    }

    /// The same after so many that do.
    fn fill_after(&self, working: usize, operations: usize) {
        let mut sim = lock(&self.0);
        (sim.full_after, sim.full) = (working, operations);
    }

    /// Records that a power failure now would leave under the head, however bad it is.
    pub(crate) fn records_under_durable_head(&self, keys: &AuditKeys) -> u64 {
        let sim = lock(&self.0);
        let mut file = vec![0; SLOTS * SLOT_BYTES];
        for (slot, place) in sim.head.iter().zip(file.chunks_exact_mut(SLOT_BYTES)) {
            place[..slot.durable.len()].copy_from_slice(&slot.durable);
        }
        Head::decode(&file, keys).map_or(0, |head| head.records)
    }

    /// Nothing happens on this disk until the guard goes.
    pub(crate) fn hold(&self) -> impl Drop + '_ {
        lock(&self.0)
    }

    /// Writes what a reader would see now to real directories.
    fn materialize(&self, spool: &Path, state: &Path) {
        let sim = lock(&self.0);
        for (segment, file) in &sim.files {
            std::fs::write(spool.join(segment_name(*segment)), &file.seen).unwrap();
        }
        std::fs::write(state.join("head"), sim.head_file()).unwrap();
    }
}

impl Disk for SimDisk {
    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        let sim = lock(&self.0);
        Ok(sim
            .files
            .iter()
            .map(|(segment, file)| (segment_name(*segment), file.seen.len() as u64))
            .collect())
    }

    fn read(&mut self, segment: u64) -> io::Result<Vec<u8>> {
        lock(&self.0)
            .files
            .get(&segment)
            .map(|file| file.seen.clone())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&mut self, segment: u64) -> io::Result<()> {
        let mut sim = lock(&self.0);
        let whole = sim.step()?;
        if whole || sim.random(2) == 0 {
            let file = sim.files.entry(segment).or_default();
            assert!(file.seen.is_empty(), "created over a segment");
        }
        if whole { Ok(()) } else { Err(sim.cut()) }
    }

    fn append(&mut self, segment: u64, bytes: &[u8]) -> io::Result<()> {
        let mut sim = lock(&self.0);
        let whole = sim.step()?;
        let kept = if whole {
            bytes.len()
        } else {
            sim.random(bytes.len() + 1)
        };
        let file = sim.files.get_mut(&segment).unwrap();
        file.write(file.seen.len(), &bytes[..kept]);
        if whole { Ok(()) } else { Err(sim.cut()) }
    }

    fn rewrite(&mut self, segment: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut sim = lock(&self.0);
        let whole = sim.step()?;
        let kept = if whole {
            bytes.len()
        } else {
            sim.random(bytes.len() + 1)
        };
        let file = sim.files.get_mut(&segment).unwrap();
        let offset = usize::try_from(offset).unwrap();
        assert_eq!(file.seen[offset..][..bytes.len()], *bytes, "written over");
        file.write(offset, &bytes[..kept]);
        if whole { Ok(()) } else { Err(sim.cut()) }
    }

    fn sync(&mut self, segment: u64) -> io::Result<()> {
        let mut sim = lock(&self.0);
        let whole = sim.step()?;
        let reached = whole || sim.random(2) == 0;
        // Where the process died the kernel goes on; where the power failed it does not matter any more.
        let dead = sim.dead;
        let file = sim.files.get_mut(&segment).unwrap();
        if reached {
            file.sync();
        } else if !dead {
            file.fail_to_sync();
        }
        if whole { Ok(()) } else { Err(sim.cut()) }
    }

    fn truncate(&mut self, segment: u64, length: u64) -> io::Result<()> {
        let mut sim = lock(&self.0);
        let whole = sim.step()?;
        if whole || sim.random(2) == 0 {
            let file = sim.files.get_mut(&segment).unwrap();
            file.cut(usize::try_from(length).unwrap());
        }
        if whole { Ok(()) } else { Err(sim.cut()) }
    }

    fn remove(&mut self, segment: u64) -> io::Result<()> {
        let mut sim = lock(&self.0);
        let whole = sim.step()?;
        if whole || sim.random(2) == 0 {
            sim.files.remove(&segment);
        }
        if whole { Ok(()) } else { Err(sim.cut()) }
    }

    fn read_head(&mut self) -> io::Result<Vec<u8>> {
        Ok(lock(&self.0).head_file())
    }

    fn write_head(&mut self, slot: usize, bytes: &[u8]) -> io::Result<()> {
        let mut sim = lock(&self.0);
        let whole = sim.step()?;
        let kept = if whole {
            bytes.len()
        } else {
            sim.random(bytes.len() + 1)
        };
        sim.head[slot].write(&bytes[..kept]);
        if whole { Ok(()) } else { Err(sim.cut()) }
    }

    fn sync_head(&mut self) -> io::Result<()> {
        let mut sim = lock(&self.0);
        let whole = sim.step()?;
        for slot in 0..SLOTS {
            let reached = whole || sim.random(2) == 0;
            let place = &mut sim.head[slot];
            if reached {
                place.sync();
            }
            place.dirty = false;
        }
        if whole { Ok(()) } else { Err(sim.cut()) }
    }
}

impl<D: Disk> Store<D> {
    /// Commits an event of this name alone.
    pub(crate) fn commit_one(&mut self, name: EventName) -> Fate {
        let entry = Entry::now(&Event::new(name, Outcome::Success), Origin::Known);
        let mut fates = Vec::new();
        self.commit(std::iter::once(&entry), 1, &mut fates);
        fates[0]
    }
}

#[derive(Debug, Clone)]
enum Action {
    Commit(usize),
    /// What the committer does when the cadence says so.
    SyncHead,
    /// A commit that begins with a checkpoint.
    Checkpoint,
    /// The end marker.
    End,
    Reopen,
    CrashAfter(usize, Crash),
    /// Some operations work, the next ones don't: so a sync can fail behind a write that did not.
    NoSpace(usize, usize),
    Release(u64),
    Close,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        6 => (1..4_usize).prop_map(Action::Commit),
        2 => Just(Action::SyncHead),
        3 => Just(Action::Checkpoint),
        1 => Just(Action::End),
        1 => Just(Action::Reopen),
        3 => (0..8_usize, prop_oneof![Just(Crash::Process), Just(Crash::Power)])
            .prop_map(|(operations, crash)| Action::CrashAfter(operations, crash)),
        3 => (0..3_usize, 1..5_usize).prop_map(|(working, failing)| Action::NoSpace(working, failing)),
        1 => (0..3_u64).prop_map(Action::Release),
        1 => Just(Action::Close),
    ];
    proptest::collection::vec(action, 1..40)
}

struct Run {
    disk: SimDisk,
    store: Option<Store<SimDisk>>,
    keys: Arc<AuditKeys>,
    settings: Arc<SpoolSettings>,
    /// Acknowledged, in order, with the segment that each is in.
    acknowledged: Vec<(Uuid, u64)>,
    /// The checkpoints that the store calls durable, by the segment that each is in.
    checkpoints: Vec<u64>,
    /// The newest that a head covers which went through a sync.
    proved: Option<Uuid>,
    /// How the run that is under way will end.
    crash: Crash,
    /// What has happened since the store last opened.
    since_open: Crash,
}

impl Run {
    fn new(random: u64) -> Self {
        let disk = SimDisk::default();
        lock(&disk.0).random = random;
        let mut settings = SpoolSettings::new("unused", "unused");
        settings.segment_bytes = 1500;
        Self {
            disk,
            store: None,
            keys: Arc::new(keys()),
            settings: Arc::new(settings),
            acknowledged: Vec::new(),
            checkpoints: Vec::new(),
            proved: None,
            crash: Crash::Process,
            since_open: Crash::Process,
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Commit(records) => self.commit(*records),
            Action::SyncHead => self.sync_head(),
            Action::Checkpoint => self.checkpoint(),
            Action::End => self.end(),
            Action::Reopen => self.store = None,
            Action::CrashAfter(operations, crash) => {
                lock(&self.disk.0).power = Some(*operations);
                self.crash = *crash;
            }
            Action::NoSpace(working, failing) => self.disk.fill_after(*working, *failing),
            Action::Release(segments) => self.release(*segments),
            Action::Close => drop(self.store.as_mut().map(|store| store.close(1))),
        }
        if lock(&self.disk.0).dead {
            self.check();
            self.restart(self.crash);
        }
    }

    fn restart(&mut self, crash: Crash) {
        self.store = None;
        lock(&self.disk.0).restart(crash);
        if crash == Crash::Power {
            self.since_open = crash;
        }
        self.check();
    }

    fn sync_head(&mut self) {
        let Some(store) = self.open() else { return };
        if store.sync_head().is_ok() {
            assert_eq!(store.uncovered(), 0);
            self.prove();
        }
    }

    fn prove(&mut self) {
        self.proved = self.acknowledged.last().map(|(uid, _)| *uid);
    }

    fn open(&mut self) -> Option<&mut Store<SimDisk>> {
        if self.store.is_none() {
            match Store::open(
                self.disk.clone(),
                Arc::clone(&self.keys),
                Arc::clone(&self.settings),
                0,
            ) {
                Ok(store) => {
                    self.store = Some(store);
                    self.since_open = Crash::Process;
                    self.prove();
                }
                Err(super::OpenError::Io(_)) => {}
                Err(other) => panic!("a crash must never look like tampering: {other}"),
            }
        }
        self.store.as_mut()
    }

    fn commit(&mut self, records: usize) {
        let event = Event::new(EventName::PhiRead, Outcome::Success);
        let entries: Vec<_> = (0..records)
            .map(|_| Entry::now(&event, Origin::Known))
            .collect();
        let Some(store) = self.open() else { return };
        let mut fates = Vec::new();
        store.commit(entries.iter(), 0, &mut fates);
        let segment = store.head().end.segment;
        self.acknowledged.extend(
            entries
                .iter()
                .zip(fates)
                .filter(|(_, fate)| fate.is_ok())
                .map(|(entry, _)| (entry.rendered.stamp().uid, segment)),
        );
    }

    fn checkpoint(&mut self) {
        let Some(store) = self.open() else { return };
        let before = store.checkpoints().0;
        store.want_checkpoint();
        self.commit(1);
        self.note_checkpoint(before);
    }

    fn end(&mut self) {
        let Some(store) = self.open() else { return };
        let before = store.checkpoints().0;
        if store.mark_end(0) {
            self.note_checkpoint(before);
        }
    }

    fn note_checkpoint(&mut self, before: u64) {
        let Some(store) = &self.store else { return };
        if store.checkpoints().0 > before && store.sound() {
            self.checkpoints.push(store.head().end.segment);
        }
    }

    fn release(&mut self, segments: u64) {
        let Some(store) = self.open() else { return };
        let keep = (store.head().base + segments).min(store.head().end.segment);
        // Whether or not it comes to pass, these are free to go.
        drop(store.release(keep, 0));
        self.acknowledged.retain(|(_, segment)| *segment >= keep);
        self.checkpoints.retain(|segment| *segment >= keep);
    }

    /// The log as it lies there verifies and has what was acknowledged, in order. As long as the kernel lived, the head covers all of that;
    /// after a power failure it covers what it covered when it was last synced.
    fn check(&self) {
        let root = tempfile::tempdir().unwrap();
        let (spool, state) = (root.path().join("spool"), root.path().join("state"));
        std::fs::create_dir(&spool).unwrap();
        std::fs::create_dir(&state).unwrap();
        self.disk.materialize(&spool, &state);
        let mut records = Vec::new();
        let report = verify::walk(&spool, &state, &self.keys, |record| {
            records.push(record.uid())
        })
        .unwrap();
        let first_head = self.acknowledged.is_empty()
            && report
                .problem
                .as_ref()
                .is_some_and(|p| p.what == verify::Fault::NoHead);
        assert!(report.whole() || first_head, "{:?}", report.problem);
        let mut present = records.iter();
        for (uid, _) in &self.acknowledged {
            assert!(
                present.any(|record| record == uid),
                "{uid} was acknowledged and is gone"
            );
        }
        assert!(
            report.checkpoints >= self.checkpoints.len() as u64 || first_head,
            "a durable checkpoint is gone, or does not hold"
        );
        let must = match self.since_open {
            Crash::Process => self.acknowledged.last().map(|(uid, _)| *uid),
            Crash::Power => self.proved,
        };
        let place = must.and_then(|uid| records.iter().position(|record| *record == uid));
        if let Some(place) = place {
            let behind = report.notices.iter().find_map(|notice| match notice {
                verify::Notice::BehindHead(records) => Some(usize::try_from(*records).unwrap()),
                _ => None,
            });
            assert!(
                place < records.len() - behind.unwrap_or(0),
                "{:?}: the head does not cover what it must",
                self.since_open
            );
            self.find_cut(&spool, &state);
        }
    }

    /// A byte less than the head covers is found.
    fn find_cut(&self, spool: &Path, state: &Path) {
        let file = std::fs::read(state.join("head")).unwrap();
        let end = Head::decode(&file, &self.keys).unwrap().end;
        if end.offset > 0 {
            let path = spool.join(segment_name(end.segment));
            let bytes = std::fs::read(&path).unwrap();
            let short = usize::try_from(end.offset).unwrap() - 1;
            std::fs::write(path, &bytes[..short]).unwrap();
            let report = verify::spool(spool, state, &self.keys).unwrap();
            assert_eq!(report.problem.map(|p| p.what), Some(verify::Fault::Cut));
        }
    }
}

/// What is hard to come by at random: a sync of the head or of the log fails, the process dies before it has mended that, and the power fails soon after the next start.
fn mishaps() -> impl Strategy<Value = Vec<Action>> {
    let failing_sync = prop_oneof![
        Just(vec![Action::NoSpace(0, 1), Action::SyncHead]),
        Just(vec![Action::NoSpace(1, 1), Action::Commit(2)]),
    ];
    let dying = (0..2_usize).prop_map(|operations| Action::CrashAfter(operations, Crash::Process));
    let failing = (0..10_usize).prop_map(|operations| Action::CrashAfter(operations, Crash::Power));
    let round = (failing_sync, dying, failing).prop_map(|(mut actions, dying, failing)| {
        actions.splice(
            0..0,
            [Action::Commit(1), Action::SyncHead, Action::Commit(1)],
        );
        actions.extend([dying, Action::Commit(1)]);
        actions.extend([
            failing,
            Action::Commit(1),
            Action::Commit(1),
            Action::SyncHead,
        ]);
        actions
    });
    proptest::collection::vec(round, 1..4).prop_map(|rounds| rounds.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_survives_any_crash_and_the_log_always_verifies(random in any::<u64>(), actions in actions(), last in prop_oneof![Just(Crash::Process), Just(Crash::Power)]) {
        let mut run = Run::new(random);
        for action in &actions {
            run.act(action);
        }
        run.check();
        run.restart(last);
        run.commit(1);
        run.check();
        prop_assert!(!run.acknowledged.is_empty(), "a disk that works again takes records again");
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_failed_sync_then_a_killed_process_then_a_power_failure_lose_nothing(random in any::<u64>(), actions in mishaps()) {
        let mut run = Run::new(random);
        for action in &actions {
            run.act(action);
        }
        run.restart(Crash::Power);
        run.commit(1);
        run.check();
    }
}
