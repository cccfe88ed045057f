//! The log and its head as one thing: open and repair, commit a batch, let old segments go. No threads, no clock of its own.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::canonical::Writer;
use crate::catalogue::EventName;
use crate::checkpoint::{Here, Sealer};
use crate::event::{Place, Rendered, Stamp};
use crate::keys::{AuditKeys, Derived, KeyError};
use crate::record::{Facts, Record};
use crate::trail::uid;
use crate::tree::Tree;

use super::disk::{Disk, segment_number};
use super::frame::{Encoded, encode};
use super::head::{HEAD_BYTES, Head, Position, SLOT_BYTES, Slots};
use super::walk::{Walk, WalkError};
use super::{Committed, OpenError, SpoolSettings};

/// What a frame has besides the event's own text and the names of chain and pod: its head, its MAC, `prev`, `seq`.
const FRAME_ROOM_BYTES: usize = 256;
/// Bytes of `max_bytes` that only the trail's own events may use, so that it can always say that it stopped.
const RESERVE_BYTES: u64 = 64 * 1024;
/// Bytes that the disk must take after a failed write before the log calls itself sound again: cutting a tail proves nothing about room for the next one.
const PROBE_BYTES: usize = 16 * 1024;
/// Bytes of the buffer that stay for the next batch.
const BATCH_BYTES_KEPT: usize = 1 << 20;

/// An event on its way to the disk.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) rendered: Rendered,
    pub(crate) origin: Origin,
}

/// Whose budget an event uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A principal's.
    Known,
    /// That of peers who proved nothing.
    Stranger,
    /// The trail itself, which may use the reserve.
    Trail,
}

/// Why an entry is not on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    StrangersFull,
    Broken,
}

/// Whether an entry is on disk: its number in the run's chain.
pub(crate) type Fate = Result<u64, Refused>;

/// What a failed write left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    None,
    /// Bytes behind the head that nobody may trust: cut them before going on.
    Tail,
    /// The log is whole and durable, its head is not written, or was due to be durable and is not: write and sync it before going on.
    Head,
}

pub(crate) struct Store<D> {
    disk: D,
    keys: Arc<AuditKeys>,
    settings: Arc<SpoolSettings>,
    head: Head,
    slots: Slots,
    /// Records that the head covers and no durable head does.
    uncovered: u64,
    chain: Arc<str>,
    /// The pod's name as JSON text.
    pod: Vec<u8>,
    batch: Batch,
    next_seq: u64,
    /// Bytes of the retained log up to the head.
    bytes: u64,
    damage: Damage,
    /// Records behind the head that opening took in.
    recovered: u64,
    /// Over the run's durable records.
    tree: Tree,
    sealer: Sealer,
    /// The checkpoint that the next commit begins with.
    wanted: Option<EventName>,
    /// The run's durable checkpoints, and when the last of them was made (Unix microseconds).
    checkpoints: u64,
    checkpoint_micros: i64,
}

impl<D: Disk> Store<D> {
    /// Opens the log, checks what stands before the head's end in its last segment, keeps whole records behind it, cuts a torn one, and begins a run.
    pub(crate) fn open(
        mut disk: D,
        keys: Arc<AuditKeys>,
        settings: Arc<SpoolSettings>,
        micros: i64,
    ) -> Result<Self, OpenError> {
        let names = disk.list()?;
        let file = disk.read_head()?;
        let (slot, head) = match Head::newest(&file, &keys) {
            Some(newest) => {
                harden(&mut disk, &file, newest.0)?;
                newest
            }
            // A crash before the very first head leaves at most an empty segment.
            None if names.iter().all(|(_, length)| *length == 0) => {
                let head = Head {
                    instance: *Uuid::new_v4().as_bytes(),
                    pseudonym_check: keys.pseudonym_check(),
                    ..Head::default()
                };
                (0, head)
            }
            None => return Err(OpenError::HeadMissing),
        };
        if head.pseudonym_check != keys.pseudonym_check() {
            return Err(OpenError::PseudonymKeyChanged);
        }
        let head = Head {
            boot: head.boot + 1,
            run: getrandom::u64().map_err(io::Error::other)?.to_be_bytes(),
            ..head
        };
        let chain: Arc<str> = Arc::from(head.chain().as_str());
        let sealer = sealer(&keys, micros, &chain)?;
        let mut pod = Writer::default();
        pod.text(&settings.pod);
        let pod = pod.finish();
        let mut store = Self {
            disk,
            keys,
            settings,
            head,
            slots: Slots::synced_at(slot),
            uncovered: 0,
            chain,
            pod,
            batch: Batch::default(),
            next_seq: 0,
            bytes: 0,
            damage: Damage::None,
            recovered: 0,
            tree: Tree::default(),
            sealer,
            wanted: None,
            checkpoints: 0,
            checkpoint_micros: 0,
        };
        store.check_segments(&names)?;
        store.recover(micros)?;
        Ok(store)
    }

    /// Every segment from the base to the head's must be there, and nothing else but the one after it.
    fn check_segments(&mut self, names: &[(String, u64)]) -> Result<(), OpenError> {
        let mut expected = self.head.base;
        let last = self.head.end.segment;
        for (name, length) in names {
            let number = segment_number(name).ok_or_else(|| OpenError::Foreign(name.clone()))?;
            if (self.head.floor..self.head.base).contains(&number) {
                self.disk.remove(number)?;
                continue;
            }
            let whole = number != last || *length >= self.head.end.offset;
            if number != expected || number > last.saturating_add(1) || !whole {
                return Err(OpenError::Tampered {
                    segment: number.min(expected),
                    offset: *length,
                });
            }
            expected = expected.saturating_add(1);
            self.bytes += length;
        }
        if expected <= last && !(expected == last && self.head.end.offset == 0) {
            return Err(OpenError::Tampered {
                segment: expected,
                offset: 0,
            });
        }
        if expected <= last {
            self.disk.create(last)?;
        }
        self.head.floor = self.head.base;
        Ok(())
    }

    /// Takes in whole records behind the head, cuts the rest, and writes the head of the new run.
    fn recover(&mut self, micros: i64) -> Result<(), OpenError> {
        let before = self.head.end;
        let length = self.take_in(before.segment, before.offset)?;
        let next = before.segment.saturating_add(1);
        let has_next = self
            .disk
            .list()?
            .iter()
            .any(|(name, _)| segment_number(name) == Some(next));
        if has_next {
            if length != before.offset {
                return Err(OpenError::Tampered {
                    segment: before.segment,
                    offset: before.offset,
                });
            }
            self.head.end = Position {
                segment: next,
                offset: 0,
            };
            self.take_in(next, 0)?;
        }
        self.head.closed = false;
        self.write_head(micros).map_err(|error| match error {
            HeadError::Io(error) => OpenError::Io(error),
            HeadError::Key(error) => OpenError::Key(error),
        })?;
        self.sync_head().map_err(OpenError::Io)
    }

    /// Checks a segment up to `durable`, moves the head over whole records behind it, cuts a torn one; the segment's bytes before the cut.
    fn take_in(&mut self, segment: u64, durable: u64) -> Result<u64, OpenError> {
        let bytes = self.disk.read(segment)?;
        let whole = bytes.len() as u64;
        let checked = check_start(&bytes, durable, self.head.hash, &self.keys);
        let mut walk = checked.map_err(|(offset, error)| OpenError::Damaged {
            segment,
            offset,
            error,
        })?;
        let mut offset = durable;
        while let Some(rest) = usize::try_from(offset)
            .ok()
            .and_then(|at| bytes.get(at..))
            .filter(|rest| !rest.is_empty())
        {
            let frame = match walk.next(rest, &self.keys) {
                Ok((frame, _)) => frame,
                Err(error) if error.torn() => break,
                // Perhaps acknowledged, under a key that is gone from the ring: not to be cut.
                Err(error) => {
                    return Err(OpenError::Damaged {
                        segment,
                        offset,
                        error,
                    });
                }
            };
            offset += frame.length as u64;
            self.head.records += 1;
            self.recovered += 1;
            self.head.stranger_bytes += if frame.stranger {
                frame.length as u64
            } else {
                0
            };
        }
        if offset < whole {
            self.disk.truncate(segment, offset)?;
            self.bytes = self.bytes.saturating_sub(whole - offset);
        }
        self.rewrite_behind(segment, &bytes, durable, offset)?;
        self.disk.sync(segment)?;
        self.head.end = Position { segment, offset };
        self.head.hash = walk.hash();
        Ok(whole)
    }

    /// Writes whole records behind the head anew before they are synced and believed: they may be of a commit whose sync failed in a process that died before it cut them,
    /// and then the kernel calls them clean although the medium does not have them.
    fn rewrite_behind(&mut self, segment: u64, bytes: &[u8], from: u64, to: u64) -> io::Result<()> {
        let range = usize::try_from(from).ok().zip(usize::try_from(to).ok());
        match range.and_then(|(from, to)| bytes.get(from..to)) {
            Some(behind) if !behind.is_empty() => self.disk.rewrite(segment, from, behind),
            _ => Ok(()),
        }
    }

    /// Writes a batch with one append and one sync, then the head, which a process that dies leaves behind whole; [`Store::sync_head`] keeps it over a
    /// power failure. Each entry's fate, in order, goes to `fates`.
    pub(crate) fn commit<'e>(
        &mut self,
        entries: impl Iterator<Item = &'e Entry> + Clone,
        micros: i64,
        fates: &mut Vec<Fate>,
    ) {
        let mut batch = std::mem::take(&mut self.batch);
        batch.begin(self.head.hash, self.next_seq);
        // Deliveries take the buffer away: the next one is got at its size, not by doubling.
        let room = entries.clone().map(|entry| self.frame_bytes(entry)).sum();
        batch.buffer.reserve(room);
        let ready = self.repair(micros).is_ok();
        match self.keys.sealing(micros / 1_000_000) {
            Ok(key) if ready => {
                self.begin_with_checkpoint(key, micros, &mut batch);
                fates.extend(entries.map(|entry| self.render(entry, key, &mut batch)));
            }
            _ => fates.extend(entries.map(|_| Err(Refused::Broken))),
        }
        if batch.seq > self.next_seq && self.write(&batch, micros).is_err() {
            batch.placed.clear();
            for fate in fates {
                *fate = fate.and(Err(Refused::Broken));
            }
        }
        self.batch = batch;
        // One that found no room is asked for again when it is due again.
        self.wanted = None;
    }

    /// The next commit begins with a checkpoint over all that is durable before it.
    pub(crate) fn want_checkpoint(&mut self) {
        self.wanted = Some(EventName::AuditCheckpoint);
    }

    /// Commits the end marker, which is the run's last checkpoint; whether it is durable.
    pub(crate) fn mark_end(&mut self, micros: i64) -> bool {
        let before = self.checkpoints;
        self.wanted = Some(EventName::AuditStopped);
        self.commit(std::iter::empty(), micros, &mut Vec::new());
        self.checkpoints > before
    }

    /// Puts the wanted checkpoint in front. Where there is no room for it the events come first: its absence is seen.
    fn begin_with_checkpoint(&self, key: &Derived, micros: i64, batch: &mut Batch) {
        let Some(event) = self.wanted else { return };
        let here = Here {
            chain: &self.chain,
            size: self.tree.size(),
            root: self.tree.root(),
            event,
            stamp: Stamp {
                uid: uid(micros),
                micros,
                stranger: false,
            },
            last: self.head.hash,
        };
        let origin = match event {
            EventName::AuditStopped => Origin::Trail,
            // The last room belongs to the end marker, and to what is said of sinks.
            _ => Origin::Known,
        };
        let entry = Entry {
            rendered: self.sealer.seal(&here),
            origin,
        };
        batch.checkpoint = self.render(&entry, key, batch).is_ok().then_some(micros);
    }

    /// What the last commit wrote, for whoever wants it without reading it back; once.
    pub(crate) fn committed(&mut self) -> Option<Committed> {
        let placed = std::mem::take(&mut self.batch.placed);
        if placed.is_empty() {
            return None;
        }
        let frames = Bytes::from(std::mem::take(&mut self.batch.buffer));
        let Position { segment, offset } = self.head.end;
        let start = offset.saturating_sub(frames.len() as u64);
        let records = placed.into_iter().map(|placed| {
            let json = frames.slice(placed.json);
            let behind = Position {
                segment,
                offset: start + placed.end,
            };
            (Record::written(json, placed.hash, placed.facts), behind)
        });
        Some(Committed {
            records: records.collect(),
            end: self.head.end,
            bytes: frames.len(),
        })
    }

    /// Bytes of an entry's frame, or a few more.
    fn frame_bytes(&self, entry: &Entry) -> usize {
        entry.rendered.length() + self.chain.len() + self.pod.len() + FRAME_ROOM_BYTES
    }

    fn render(&self, entry: &Entry, key: &Derived, batch: &mut Batch) -> Fate {
        let stranger = entry.origin == Origin::Stranger;
        let (start, seq, prev) = (batch.buffer.len(), batch.seq, batch.hash);
        let place = Place {
            chain: &self.chain,
            pod: &self.pod,
            seq,
            prev: &prev,
        };
        let encoded = encode(&mut batch.buffer, key, stranger, (seq, &prev), |out| {
            entry.rendered.append(&place, out)
        });
        let Some(Encoded {
            json,
            hash,
            rendered: members,
        }) = encoded
        else {
            return Err(Refused::Full);
        };
        let end = batch.buffer.len();
        let length = (end - start) as u64;
        if let Err(refused) = self.admit(entry.origin, length, batch) {
            batch.buffer.truncate(start);
            return Err(refused);
        }
        let stamp = entry.rendered.stamp();
        batch.placed.push(Placed {
            json,
            end: end as u64,
            hash,
            facts: Facts {
                name: entry.rendered.name(),
                seq,
                uid: stamp.uid,
                prev,
                micros: stamp.micros,
                members,
            },
        });
        batch.hash = hash;
        batch.seq += 1;
        batch.strangers += if stranger { length } else { 0 };
        Ok(seq)
    }

    /// Whether the budgets have room for a frame that ends the batch.
    fn admit(&self, origin: Origin, length: u64, batch: &Batch) -> Result<(), Refused> {
        let after = self.bytes + batch.buffer.len() as u64;
        let limit = match origin {
            Origin::Trail => self.settings.max_bytes,
            Origin::Known | Origin::Stranger => self
                .settings
                .max_bytes
                .saturating_sub(RESERVE_BYTES.min(self.settings.max_bytes / 8)),
        };
        if after > limit {
            return Err(Refused::Full);
        }
        let strangers = self.head.stranger_bytes + batch.strangers + length;
        if origin == Origin::Stranger && strangers > self.settings.strangers_max_bytes() {
            return Err(Refused::StrangersFull);
        }
        Ok(())
    }

    fn write(&mut self, batch: &Batch, micros: i64) -> io::Result<()> {
        if self.head.end.offset >= self.settings.segment_bytes {
            let next = self.head.end.segment + 1;
            // A durable head stands in the last segment or at the end of the one before it: opening looks no further back.
            self.sync_head()?;
            self.disk.create(next)?;
            self.head.end = Position {
                segment: next,
                offset: 0,
            };
        }
        let segment = self.head.end.segment;
        let written = self
            .disk
            .append(segment, &batch.buffer)
            .and_then(|()| self.disk.sync(segment));
        if let Err(error) = written {
            self.damage = Damage::Tail;
            return Err(error);
        }
        let length = batch.buffer.len() as u64;
        self.bytes += length;
        self.next_seq = batch.seq;
        self.head.end.offset += length;
        self.head.hash = batch.hash;
        let leaves = batch.placed.iter();
        leaves.for_each(|placed| self.tree.append(placed.hash));
        if let Some(micros) = batch.checkpoint {
            self.sealer.step();
            self.checkpoints += 1;
            self.checkpoint_micros = micros;
        }
        let records = batch.placed.len() as u64;
        self.head.records += records;
        self.head.stranger_bytes += batch.strangers;
        self.uncovered += records;
        // From here the records are durable; without a head that proves them nobody hears so.
        self.damage = Damage::Head;
        self.write_head(micros)
            .map_err(|error| io::Error::other(error.to_string()))?;
        self.damage = Damage::None;
        Ok(())
    }

    /// Mends what a failed write left, if the disk lets it.
    pub(crate) fn repair(&mut self, micros: i64) -> io::Result<()> {
        match self.damage {
            Damage::None => return Ok(()),
            Damage::Tail => self.probe()?,
            // Written anew before it is synced: after a failed sync the kernel may call the lost page clean.
            Damage::Head => self.durable_head(micros)?,
        }
        self.damage = Damage::None;
        Ok(())
    }

    /// Cuts the tail, and tries with bytes that no reader takes for a record whether the disk takes any.
    fn probe(&mut self) -> io::Result<()> {
        let Position { segment, offset } = self.head.end;
        self.disk.truncate(segment, offset)?;
        self.disk.append(segment, &[0; PROBE_BYTES])?;
        self.disk.sync(segment)?;
        self.disk.truncate(segment, offset)
    }

    /// Makes the head of a sound log durable. Where that fails the head is to be written anew, and until then nothing more is acknowledged.
    pub(crate) fn sync_head(&mut self) -> io::Result<()> {
        if self.damage != Damage::None {
            return Err(io::Error::other("the log is not mended yet"));
        }
        self.damage = Damage::Head;
        self.disk.sync_head()?;
        self.slots.synced();
        self.uncovered = 0;
        self.damage = Damage::None;
        Ok(())
    }

    fn durable_head(&mut self, micros: i64) -> io::Result<()> {
        self.damage = Damage::Head;
        self.write_head(micros)
            .map_err(|error| io::Error::other(error.to_string()))?;
        self.damage = Damage::None;
        self.sync_head()
    }

    /// Says in the head that the run ended with its end marker.
    pub(crate) fn close(&mut self, micros: i64) -> io::Result<()> {
        self.repair(micros)?;
        self.head.closed = true;
        self.durable_head(micros)
    }

    /// Deletes whole segments before `keep`, never the last one. The head tells first, so that a crash between leaves nothing unexplained.
    pub(crate) fn release(&mut self, keep: u64, micros: i64) -> io::Result<()> {
        self.repair(micros)?;
        let base = keep.min(self.head.end.segment);
        if base <= self.head.base {
            return if self.head.floor < self.head.base {
                self.sweep()
            } else {
                Ok(())
            };
        }
        let mut after = self.head.clone();
        let mut prev = after.base_prev;
        for segment in self.head.base..base {
            let bytes = self.disk.read(segment)?;
            let mut walk = Walk::new(prev, true);
            let (mut at, mut strangers, mut records) = (0, 0, 0);
            while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
                let (frame, _) = walk
                    .next(rest, &self.keys)
                    .map_err(|error| io::Error::other(error.to_string()))?;
                at += frame.length;
                records += 1;
                strangers += if frame.stranger {
                    frame.length as u64
                } else {
                    0
                };
            }
            prev = walk.hash();
            after.stranger_bytes = after.stranger_bytes.saturating_sub(strangers);
            after.records = after.records.saturating_sub(records);
        }
        (after.base, after.base_prev) = (base, prev);
        self.head = after;
        self.durable_head(micros)?;
        self.sweep()
    }

    /// Deletes what the head lets go, with what an earlier attempt could not delete. Only when all is gone the floor rises, so the head always explains what lies there.
    fn sweep(&mut self) -> io::Result<()> {
        for (name, length) in self.disk.list()? {
            let going = segment_number(&name)
                .filter(|number| (self.head.floor..self.head.base).contains(number));
            if let Some(segment) = going {
                self.disk.remove(segment)?;
                self.bytes = self.bytes.saturating_sub(length);
            }
        }
        self.head.floor = self.head.base;
        Ok(())
    }

    fn write_head(&mut self, micros: i64) -> Result<(), HeadError> {
        let mut head = self.head.clone();
        head.counter += 1;
        head.micros = micros;
        let bytes = head
            .encode(&self.keys, micros / 1_000_000)
            .map_err(HeadError::Key)?;
        // Counter and slot move only with success: a second attempt goes to the same slot and never tears one that holds.
        let slot = self.slots.next();
        self.disk.write_head(slot, &bytes).map_err(HeadError::Io)?;
        self.slots.written(slot);
        self.head = head;
        Ok(())
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    pub(crate) fn chain(&self) -> &Arc<str> {
        &self.chain
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The run's durable checkpoints, and when the last of them was made (Unix microseconds; 0: none yet).
    pub(crate) fn checkpoints(&self) -> (u64, i64) {
        (self.checkpoints, self.checkpoint_micros)
    }

    /// The run's durable records.
    pub(crate) fn run_records(&self) -> u64 {
        self.tree.size()
    }

    /// Records that a power failure now would leave behind the durable head.
    pub(crate) fn uncovered(&self) -> u64 {
        self.uncovered
    }

    /// Records behind the head that opening took in.
    pub(crate) fn recovered(&self) -> u64 {
        self.recovered
    }

    pub(crate) fn sound(&self) -> bool {
        self.damage == Damage::None
    }
}

impl<D> std::fmt::Debug for Store<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("head", &self.head)
            .field("damage", &self.damage)
            .finish_non_exhaustive()
    }
}

/// What one commit writes. It stays with the store, so that its buffers are not built anew for each.
#[derive(Default)]
struct Batch {
    buffer: Vec<u8>,
    hash: [u8; 32],
    seq: u64,
    strangers: u64,
    placed: Vec<Placed>,
    /// It begins with a checkpoint, made at this time.
    checkpoint: Option<i64>,
}

/// A record in a batch's buffer.
struct Placed {
    json: Range<usize>,
    /// Behind its frame.
    end: u64,
    hash: [u8; 32],
    facts: Facts,
}

impl Batch {
    fn begin(&mut self, hash: [u8; 32], seq: u64) {
        self.buffer.clear();
        // A batch as large as this is rare; its room is not kept for the next.
        self.buffer.shrink_to(BATCH_BYTES_KEPT);
        self.placed.clear();
        (self.hash, self.seq, self.strangers) = (hash, seq, 0);
        self.checkpoint = None;
    }
}

#[derive(Debug, thiserror::Error)]
enum HeadError {
    #[error(transparent)]
    Io(io::Error),
    #[error(transparent)]
    Key(KeyError),
}

/// What makes the checkpoints of a run: of the key that seals when it begins.
fn sealer(keys: &AuditKeys, micros: i64, chain: &str) -> Result<Sealer, OpenError> {
    let key = keys.sealing(micros / 1_000_000)?;
    let parts = key.signer().zip(key.ratchet(chain));
    let (signer, ratchet) = parts.ok_or(OpenError::KeysSpent)?;
    Ok(Sealer::new(signer, ratchet))
}

/// Makes the head that opening found durable, before anything is built on it or another slot is written: a run that was killed left it to the page cache.
/// Its bytes are written again first, as after a sync that failed the kernel may call the lost page clean.
fn harden(disk: &mut impl Disk, file: &[u8], slot: usize) -> io::Result<()> {
    let start = slot * SLOT_BYTES;
    if let Some(bytes) = file.get(start..start + HEAD_BYTES) {
        disk.write_head(slot, bytes)?;
    }
    disk.sync_head()
}

/// Walks the durable start of a segment, which must end with the record whose hash is `hash`; stands behind it.
fn check_start(
    bytes: &[u8],
    durable: u64,
    hash: [u8; 32],
    keys: &AuditKeys,
) -> Result<Walk, (u64, WalkError)> {
    if durable == 0 {
        return Ok(Walk::new(hash, true));
    }
    let durable = usize::try_from(durable).unwrap_or(usize::MAX);
    let start = bytes.get(..durable).ok_or((
        bytes.len() as u64,
        WalkError::Frame(super::FrameError::Torn),
    ))?;
    let mut walk = Walk::from_any();
    let mut at = 0;
    while let Some(rest) = start.get(at..).filter(|rest| !rest.is_empty()) {
        let (frame, _) = walk.next(rest, keys).map_err(|error| (at as u64, error))?;
        at += frame.length;
    }
    if !walk.stands_at(&hash) {
        return Err((at as u64, WalkError::Prev));
    }
    Ok(walk)
}
