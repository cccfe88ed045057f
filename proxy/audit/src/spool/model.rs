//! A disk that forgets: what was not synced may be gone after a crash, wholly, partly or garbled, and any operation may be the one that a crash cuts in two.
//! Random runs of the store on it are compared with the promise: what was acknowledged is there, and the log verifies at every instant. Two crashes are told apart: where the process
//! died, the head covers all that was acknowledged; where the power failed, all that its last sync covered.

use std::collections::BTreeMap;
use std::io;
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
    /// What a reader sees; begins with `durable`.
    seen: Vec<u8>,
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
        if self.full > 0 {
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
        self.full = 0;
        if crash == Crash::Process {
            return;
        }
        for slot in 0..SLOTS {
            self.lose(slot);
        }
        for segment in self.files.keys().copied().collect::<Vec<_>>() {
            let mut file = self.files[&segment].clone();
            let kept = file.durable.len() + self.random(file.seen.len() - file.durable.len() + 1);
            let garbled = kept > file.durable.len() && self.random(3) == 0;
            file.seen.truncate(kept);
            if garbled {
                file.seen[kept - 1] ^= 0x55;
            }
            file.durable.clone_from(&file.seen);
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
        lock(&self.0).full = operations;
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
        sim.files
            .get_mut(&segment)
            .unwrap()
            .seen
            .extend_from_slice(&bytes[..kept]);
        if whole { Ok(()) } else { Err(sim.cut()) }
    }

    fn sync(&mut self, segment: u64) -> io::Result<()> {
        let mut sim = lock(&self.0);
        let whole = sim.step()?;
        if whole || sim.random(2) == 0 {
            let file = sim.files.get_mut(&segment).unwrap();
            file.durable.clone_from(&file.seen);
        }
        if whole { Ok(()) } else { Err(sim.cut()) }
    }

    fn truncate(&mut self, segment: u64, length: u64) -> io::Result<()> {
        let mut sim = lock(&self.0);
        let whole = sim.step()?;
        if whole || sim.random(2) == 0 {
            let file = sim.files.get_mut(&segment).unwrap();
            let length = usize::try_from(length).unwrap();
            assert!(length <= file.seen.len(), "grown by truncation");
            file.seen.truncate(length);
            file.durable.clone_from(&file.seen);
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
    Reopen,
    CrashAfter(usize, Crash),
    NoSpaceFor(usize),
    Release(u64),
    Close,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        6 => (1..4_usize).prop_map(Action::Commit),
        2 => Just(Action::SyncHead),
        1 => Just(Action::Reopen),
        3 => (0..8_usize, prop_oneof![Just(Crash::Process), Just(Crash::Power)])
            .prop_map(|(operations, crash)| Action::CrashAfter(operations, crash)),
        2 => (1..5_usize).prop_map(Action::NoSpaceFor),
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
            proved: None,
            crash: Crash::Process,
            since_open: Crash::Process,
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Commit(records) => self.commit(*records),
            Action::SyncHead => self.sync_head(),
            Action::Reopen => self.store = None,
            Action::CrashAfter(operations, crash) => {
                lock(&self.disk.0).power = Some(*operations);
                self.crash = *crash;
            }
            Action::NoSpaceFor(operations) => self.disk.fill(*operations),
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

    fn release(&mut self, segments: u64) {
        let Some(store) = self.open() else { return };
        let keep = (store.head().base + segments).min(store.head().end.segment);
        // Whether or not it comes to pass, these are free to go.
        drop(store.release(keep, 0));
        self.acknowledged.retain(|(_, segment)| *segment >= keep);
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
