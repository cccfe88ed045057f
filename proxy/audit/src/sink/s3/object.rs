//! One object: events of one chain and one day as lines, compressed, sealed, and named by what is in it.
//!
//! `dt=2026-11-23/chain=<chain>/<first>-<last>-<digest>.ndjson.zst[.sealed]`, numbers of 20 digits so that names order as events do; the digest is the
//! first 16 bytes of SHA-256 over the object's bytes. The same events give the same bytes and so the same name, as the seal is deterministic
//! (`0x02 ‖ key id 8 ‖ salt 24 ‖ ciphertext ‖ tag 16`, the salt a MAC over the content): sent twice they make one object. Nobody without the key can know the name beforehand.

use std::io::Read as _;

use sha2::{Digest, Sha256};

use super::super::seal::{OpenPayloadError, open_object, seal_object};
use crate::canonical::push_hex;
use crate::keys::{AuditKeys, Derived, hex};
use crate::record::Record;

/// Fast, and within some percent of what costs twice the time.
const LEVEL: i32 = 3;
/// Digits of the digest in a name: 16 bytes.
const DIGEST_DIGITS: usize = 32;
/// Digits of a number in a name: any 64-bit number.
const NUMBER_DIGITS: usize = 20;
const PLAIN: &str = ".ndjson.zst";
const SEALED: &str = ".ndjson.zst.sealed";

/// The events can't be made an object.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("an audit object can't be made")]
pub(super) struct MakeError;

/// An object, ready to be put.
#[derive(Debug)]
pub(super) struct Object {
    /// Its name behind the prefix.
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    /// SHA-256 of the bytes.
    pub(super) digest: [u8; 32],
}

impl Object {
    /// Of records of one chain and one day, in their order; sealed if there is a key. Takes the processor for some 10 ms a MiB.
    pub(super) fn of(records: &[Record], key: Option<&Derived>) -> Result<Self, MakeError> {
        let (first, last) = records.first().zip(records.last()).ok_or(MakeError)?;
        let length = records.iter().map(|record| record.bytes().len() + 1);
        let mut lines = Vec::with_capacity(length.sum());
        for record in records {
            lines.extend_from_slice(record.bytes());
            lines.push(b'\n');
        }
        let packed = zstd::bulk::compress(&lines, LEVEL).map_err(|_| MakeError)?;
        let place = Place {
            day: day(first).to_owned(),
            chain: first.chain().to_owned(),
            first: first.seq(),
            last: last.seq(),
        };
        let bytes = match key {
            Some(key) => seal_object(key, place.aad().as_bytes(), packed).map_err(|_| MakeError)?,
            None => packed,
        };
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        Ok(Self {
            name: place.name(&digest, key.is_some()),
            bytes,
            digest,
        })
    }
}

/// The day of a record, `2026-11-23`.
pub(super) fn day(record: &Record) -> &str {
    record.time().get(..10).unwrap_or_default()
}

/// What an object's name says of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Of its events, `2026-11-23`.
    pub(super) day: String,
    pub(super) chain: String,
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Place {
    fn aad(&self) -> String {
        format!(
            "{}|{}|{}|{}",
            self.day,
            escaped(&self.chain),
            self.first,
            self.last
        )
    }

    fn name(&self, digest: &[u8; 32], sealed: bool) -> String {
        format!(
            "dt={}/chain={}/{:020}-{:020}-{}{}",
            self.day,
            escaped(&self.chain),
            self.first,
            self.last,
            hex(digest).get(..DIGEST_DIGITS).unwrap_or_default(),
            if sealed { SEALED } else { PLAIN }
        )
    }
}

/// A name read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) place: Place,
    digest: String,
    pub(super) sealed: bool,
}

impl Named {
    /// Of a name behind the prefix; none if it is no object of ours.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (day, rest) = name.strip_prefix("dt=")?.split_once("/chain=")?;
        let (chain, rest) = rest.split_once('/')?;
        let (rest, sealed) = match rest.strip_suffix(SEALED) {
            Some(rest) => (rest, true),
            None => (rest.strip_suffix(PLAIN)?, false),
        };
        let mut parts = rest.split('-');
        let (first, last, digest) = (parts.next()?, parts.next()?, parts.next()?);
        let is_number = |text: &str| text.len() == NUMBER_DIGITS;
        let whole =
            parts.next().is_none() && [first, last].into_iter().all(is_number) && day.len() == 10;
        let named = Self {
            place: Place {
                day: day.to_owned(),
                chain: unescaped(chain)?,
                first: first.parse().ok()?,
                last: last.parse().ok()?,
            },
            digest: digest.to_owned(),
            sealed,
        };
        (whole && digest.len() == DIGEST_DIGITS).then_some(named)
    }
}

/// What is wrong with an object that was fetched.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub(super) enum ObjectError {
    #[error("its bytes are not those that its name says: it was changed")]
    Changed,
    #[error("it was sealed with a key that is not in the ring `keys.audit`")]
    UnknownKey,
    #[error("it does not open under its name: it was changed or moved")]
    Sealed,
    #[error("it can't be unpacked, or is larger than any that the sidecar makes")]
    Packed,
    #[error("it holds a line that is no record")]
    Record,
    #[error("it holds other events than its name says")]
    Content,
}

impl From<OpenPayloadError> for ObjectError {
    fn from(error: OpenPayloadError) -> Self {
        match error {
            OpenPayloadError::UnknownKey => Self::UnknownKey,
            OpenPayloadError::Invalid => Self::Sealed,
        }
    }
}

/// The records of an object, if it is what its name says.
pub(super) fn open(
    named: &Named,
    bytes: &[u8],
    keys: &AuditKeys,
    lines_bytes_max: usize,
) -> Result<Vec<Record>, ObjectError> {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    if hex(&digest).get(..DIGEST_DIGITS) != Some(named.digest.as_str()) {
        return Err(ObjectError::Changed);
    }
    let packed = match named.sealed {
        true => open_object(keys, named.place.aad().as_bytes(), bytes)?,
        false => bytes.to_vec(),
    };
    let lines = unpacked(&packed, lines_bytes_max)?;
    let mut records: Vec<Record> = Vec::new();
    for line in lines.split(|byte| *byte == b'\n') {
        if line.is_empty() {
            continue;
        }
        let record = Record::parse(line).map_err(|_| ObjectError::Record)?;
        let follows = records.last().is_none_or(|last| last.seq() < record.seq());
        let is_here = record.chain() == named.place.chain && day(&record) == named.place.day;
        if !is_here || !follows {
            return Err(ObjectError::Content);
        }
        records.push(record);
    }
    let ends = records.first().zip(records.last());
    let told = ends.map(|(first, last)| (first.seq(), last.seq()));
    if told != Some((named.place.first, named.place.last)) {
        return Err(ObjectError::Content);
    }
    Ok(records)
}

fn unpacked(packed: &[u8], max: usize) -> Result<Vec<u8>, ObjectError> {
    let mut decoder = zstd::Decoder::new(packed).map_err(|_| ObjectError::Packed)?;
    // A frame that wants more memory than an object has is none of ours.
    decoder
        .window_log_max(27)
        .map_err(|_| ObjectError::Packed)?;
    let mut lines = Vec::new();
    decoder
        .take(max as u64 + 1)
        .read_to_end(&mut lines)
        .map_err(|_| ObjectError::Packed)?;
    if lines.len() > max {
        return Err(ObjectError::Packed);
    }
    Ok(lines)
}

/// A chain's name as part of an object's: letters, digits, `-` and `.` as they are, each other byte as `_` and its two digits.
fn escaped(chain: &str) -> String {
    let mut name = Vec::with_capacity(chain.len());
    for byte in chain.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.') {
            name.push(byte);
        } else {
            name.push(b'_');
            push_hex(&mut name, &[byte]);
        }
    }
    String::from_utf8(name).unwrap_or_default()
}

fn unescaped(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut parts = name.split('_');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{
        canonical,
        tests::{full, place},
    };
    use crate::keys::AuditKey;

    const MAX: usize = 1 << 20;

    fn keys() -> AuditKeys {
        AuditKeys::new(vec![AuditKey::new("a", 0, [1; 32])]).unwrap()
    }

    fn records() -> Vec<Record> {
        [3, 4, 7]
            .map(|seq| Record::parse(&canonical(&full(), &place(seq, &[0; 32]))).unwrap())
            .to_vec()
    }

    #[test]
    fn the_same_events_make_the_same_object_and_others_another() {
        let keys = keys();
        let key = keys.sealing(0).unwrap();
        let of = |records: &[Record]| Object::of(records, Some(key)).unwrap();
        let object = of(&records());
        assert_eq!(object.bytes, of(&records()).bytes);
        assert_eq!(object.name, of(&records()).name);
        assert_ne!(object.name, of(&records()[..2]).name);
        let other = AuditKeys::new(vec![AuditKey::new("a", 0, [2; 32])]).unwrap();
        let by_other = Object::of(&records(), Some(other.sealing(0).unwrap())).unwrap();
        assert_ne!(object.name, by_other.name, "the name needs the key");
        assert!(!String::from_utf8_lossy(&object.bytes).contains("alice"));
    }

    #[test]
    fn an_object_opens_under_its_own_name_only_and_unchanged() {
        let keys = keys();
        for key in [None, Some(keys.sealing(0).unwrap())] {
            let object = Object::of(&records(), key).unwrap();
            let named = Named::parse(&object.name).unwrap();
            let read = open(&named, &object.bytes, &keys, MAX).unwrap();
            assert_eq!(read, records());
            let too_large = open(&named, &object.bytes, &keys, 100);
            assert_eq!(too_large, Err(ObjectError::Packed));
            for at in 0..object.bytes.len() {
                let mut bad = object.bytes.clone();
                bad[at] ^= 1;
                assert_eq!(
                    open(&named, &bad, &keys, MAX),
                    Err(ObjectError::Changed),
                    "{at}"
                );
            }
            let mut moved = named.clone();
            moved.place.last = 8;
            let expected = match key {
                Some(_) => ObjectError::Sealed,
                None => ObjectError::Content,
            };
            assert_eq!(open(&moved, &object.bytes, &keys, MAX), Err(expected));
        }
    }

    #[test]
    fn names_order_as_numbers_do_and_are_read_back() {
        let digest = [0xab; 32];
        let place = |chain: &str, first| Place {
            day: "2026-11-23".into(),
            chain: chain.into(),
            first,
            last: u64::MAX,
        };
        for chain in ["pod-1.17", "a/b c_d", "ü&%"] {
            let name = place(chain, 5).name(&digest, true);
            let letters = |c: char| c.is_ascii_alphanumeric() || "=/-._".contains(c);
            assert!(name.chars().all(letters), "{name}");
            assert_eq!(Named::parse(&name).unwrap().place, place(chain, 5));
        }
        assert!(place("a", 9).name(&digest, true) < place("a", 10).name(&digest, true));
        for foreign in [
            "x",
            "dt=2026/chain=a/1-2-3.ndjson.zst",
            "dt=2026-11-23/chain=a/",
        ] {
            assert_eq!(Named::parse(foreign), None, "{foreign}");
        }
    }
}
