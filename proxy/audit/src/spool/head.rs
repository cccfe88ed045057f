//! The durable head: how far the log is known to be on disk.
//!
//! It lives in the state directory, not beside the log, in three slots: a write goes to the one that neither holds now nor is known to be on the
//! medium ([`Slots`]). So a write cut in two by the end of the process leaves the head before it, and whatever a power failure does to the writes since
//! the last sync, that sync's head is left. Each slot carries a MAC; the valid one with the highest counter holds. The file never grows, so
//! that its sync costs no journal commit.

use crate::keys::{AuditKeys, KID_BYTES, hex};

/// Bytes between the starts of two slots: a page, so that no sector holds parts of both.
pub(crate) const SLOT_BYTES: usize = 4096;
/// The one that holds, the one that is on the medium, and one to write.
pub(crate) const SLOTS: usize = 3;
const MAGIC: &[u8; 8] = b"SGHEAD01";
const BODY_BYTES: usize = 8 + 8 + 16 + 8 * 8 + 32 + 32 + 8 + 8 + 1 + KID_BYTES;
const MAC: usize = 32;
/// Bytes of a head in its slot.
pub(crate) const HEAD_BYTES: usize = BODY_BYTES + MAC;

/// A point in the log: behind this many bytes of this segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// The segment's number.
    pub segment: u64,
    /// Bytes of it.
    pub offset: u64,
}

/// What a slot says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Head {
    /// Which slot is newest.
    pub(crate) counter: u64,
    /// This spool, at random on creation.
    pub(crate) instance: [u8; 16],
    /// Runs of it so far.
    pub(crate) boot: u64,
    /// The run that is under way, at random; zeros in heads of versions that had none. Two copies of one spool that go on apart are told apart by it.
    pub(crate) run: [u8; 8],
    /// Segments from here to `base` are being deleted and may be there or not.
    pub(crate) floor: u64,
    /// The first segment that must be there.
    pub(crate) base: u64,
    /// Everything before it was durable when this was written.
    pub(crate) end: Position,
    /// Records in the retained log.
    pub(crate) records: u64,
    /// Bytes of the retained log that unauthenticated peers caused.
    pub(crate) stranger_bytes: u64,
    /// The `prev` of the first record in `base`.
    pub(crate) base_prev: [u8; 32],
    /// The hash of the last durable record.
    pub(crate) hash: [u8; 32],
    /// When it was written, microseconds since 1970.
    pub(crate) micros: i64,
    /// Proof that pseudonyms still come from the same key.
    pub(crate) pseudonym_check: [u8; 8],
    /// The last run ended with its end marker.
    pub(crate) closed: bool,
}

impl Head {
    /// The chain of a run of this spool.
    pub(crate) fn chain(&self) -> String {
        let instance = uuid::Uuid::from_bytes(self.instance);
        format!("{instance}-{}-{}", self.boot, hex(&self.run))
    }

    /// A slot's bytes under the key that seals now.
    pub(crate) fn encode(
        &self,
        keys: &AuditKeys,
        now_unix: i64,
    ) -> Result<Vec<u8>, crate::keys::KeyError> {
        let key = keys.sealing(now_unix)?;
        let mut out = Vec::with_capacity(HEAD_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.counter.to_be_bytes());
        out.extend_from_slice(&self.instance);
        let numbers = [
            self.boot,
            self.floor,
            self.base,
            self.end.segment,
            self.end.offset,
            self.records,
            self.stranger_bytes,
        ];
        numbers
            .iter()
            .for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
        out.extend_from_slice(&self.micros.to_be_bytes());
        out.extend_from_slice(&self.base_prev);
        out.extend_from_slice(&self.hash);
        out.extend_from_slice(&self.pseudonym_check);
        out.extend_from_slice(&self.run);
        out.push(u8::from(self.closed));
        out.extend_from_slice(&key.kid);
        let tag = key.head_tag("head", &out);
        out.extend_from_slice(&tag);
        Ok(out)
    }

    /// The newest valid head of the file's bytes.
    pub(crate) fn decode(file: &[u8], keys: &AuditKeys) -> Option<Self> {
        Self::newest(file, keys).map(|(_, head)| head)
    }

    /// The newest valid head and its slot.
    pub(crate) fn newest(file: &[u8], keys: &AuditKeys) -> Option<(usize, Self)> {
        (0..SLOTS)
            .filter_map(|slot| Some((slot, decode_slot(file.get(slot * SLOT_BYTES..)?, keys)?)))
            .max_by_key(|(_, head)| head.counter)
    }
}

/// Which slots must not be written over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Slots {
    /// Holds now.
    newest: usize,
    /// Went through the last sync.
    durable: usize,
}

impl Slots {
    /// After a sync of the file whose newest head is in this slot.
    pub(crate) fn synced_at(newest: usize) -> Self {
        Self {
            newest,
            durable: newest,
        }
    }

    /// The slot that the next write goes to.
    pub(crate) fn next(self) -> usize {
        (0..SLOTS)
            .find(|slot| *slot != self.newest && *slot != self.durable)
            .unwrap_or_default()
    }

    /// The write to `slot` went through.
    pub(crate) fn written(&mut self, slot: usize) {
        self.newest = slot;
    }

    /// A sync behind the last write went through.
    pub(crate) fn synced(&mut self) {
        self.durable = self.newest;
    }
}

fn decode_slot(slot: &[u8], keys: &AuditKeys) -> Option<Head> {
    let body = slot.get(..BODY_BYTES)?;
    let tag = slot.get(BODY_BYTES..HEAD_BYTES)?;
    let mut reader = Reader(body);
    if reader.take::<8>()? != *MAGIC {
        return None;
    }
    let head = Head {
        counter: reader.number()?,
        instance: reader.take()?,
        boot: reader.number()?,
        floor: reader.number()?,
        base: reader.number()?,
        end: Position {
            segment: reader.number()?,
            offset: reader.number()?,
        },
        records: reader.number()?,
        stranger_bytes: reader.number()?,
        micros: i64::from_be_bytes(reader.take()?),
        base_prev: reader.take()?,
        hash: reader.take()?,
        pseudonym_check: reader.take()?,
        run: reader.take()?,
        closed: reader.take::<1>()? == [1],
    };
    let kid = reader.take::<KID_BYTES>()?;
    keys.find(&kid)?
        .head_holds("head", body, tag)
        .then_some(head)
}

/// Reads fixed-width fields from the front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::AuditKey;

    fn keys() -> AuditKeys {
        AuditKeys::new(vec![AuditKey::new("a", 0, [1; 32])]).unwrap()
    }

    fn head(counter: u64) -> Head {
        let end = Position {
            segment: 5,
            offset: 6,
        };
        Head {
            counter,
            instance: [1; 16],
            boot: 2,
            run: [13; 8],
            floor: 3,
            base: 4,
            end,
            records: 7,
            stranger_bytes: 8,
            base_prev: [9; 32],
            hash: [10; 32],
            micros: -11,
            pseudonym_check: [12; 8],
            closed: true,
        }
    }

    fn file(slots: [&Head; SLOTS]) -> Vec<u8> {
        let mut file = vec![0; SLOT_BYTES * SLOTS];
        for (slot, head) in slots.iter().enumerate() {
            let bytes = head.encode(&keys(), 0).unwrap();
            assert_eq!(bytes.len(), HEAD_BYTES);
            file[slot * SLOT_BYTES..][..bytes.len()].copy_from_slice(&bytes);
        }
        file
    }

    #[test]
    fn the_newest_slot_holds() {
        for (counters, newest) in [([3, 1, 2], 0), ([1, 3, 2], 1), ([2, 1, 3], 2)] {
            let [a, b, c] = counters.map(head);
            assert_eq!(
                Head::newest(&file([&a, &b, &c]), &keys()),
                Some((newest, head(3)))
            );
        }
    }

    #[test]
    fn a_torn_or_forged_slot_leaves_the_older_one() {
        let whole = file([&head(2), &head(3), &head(1)]);
        for at in SLOT_BYTES..SLOT_BYTES + HEAD_BYTES {
            let mut torn = whole.clone();
            torn[at] ^= 1;
            assert_eq!(Head::decode(&torn, &keys()), Some(head(2)), "byte {at}");
            torn.truncate(at);
            assert_eq!(Head::decode(&torn, &keys()), Some(head(2)), "cut at {at}");
        }
        assert_eq!(Head::decode(&[], &keys()), None);
    }

    #[test]
    fn no_write_goes_over_the_head_that_holds_or_the_one_on_the_medium() {
        let mut slots = Slots::synced_at(1);
        for step in 0..50 {
            let next = slots.next();
            assert!(next < SLOTS && next != slots.newest && next != slots.durable);
            slots.written(next);
            if step % 7 == 0 {
                slots.synced();
                assert_eq!(slots.durable, next);
            }
        }
    }
}
