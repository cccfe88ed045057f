//! One record on disk.
//!
//! ```text
//! length u32 │ CRC-32C u32 │ flags u8 │ key id 8 │ seq u64 │ prev 32 │ canonical JSON … │ HMAC-SHA256 32      (big-endian)
//! ```
//! `length` counts what stands behind the checksum; the checksum covers length and the rest; the MAC covers flags to `prev` and the record's hash, the one that the next
//! record holds as `prev`: the content is hashed once for both.
//! The checksum tells a torn write from a forged one, the MAC proves who wrote it, `prev` where it belongs.

use std::ops::Range;

use crate::keys::{AuditKeys, Derived, KID_BYTES, Kid};
use crate::record::fingerprint;

/// Bytes of the largest frame; a length above it is no length. An event's own bounds keep it far below.
pub(crate) const FRAME_BYTES_MAX: usize = 1 << 20;
const PREFIX: usize = 8;
const MAC: usize = 32;
const FIXED: usize = 1 + KID_BYTES + 8 + 32;
const STRANGER: u8 = 1;

/// What is wrong with a frame.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum FrameError {
    /// The log ends inside it.
    #[error("the log ends inside a record")]
    Torn,
    /// Its length is no length of a record.
    #[error("its length is impossible")]
    Length,
    /// Its bytes are not those that were written.
    #[error("its checksum does not match")]
    Checksum,
    /// No key of the ring wrote it.
    #[error("it was written with a key that is not in the ring `keys.audit`")]
    UnknownKey,
    /// Its MAC is not the key's.
    #[error("its MAC does not match")]
    Mac,
    /// A flag that no version knows.
    #[error("it has an unknown flag")]
    Flags,
}

/// A frame whose checksum and MAC hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) stranger: bool,
    pub(crate) seq: u64,
    pub(crate) prev: [u8; 32],
    pub(crate) json: &'a [u8],
    /// The hash of the record.
    pub(crate) hash: [u8; 32],
    /// Bytes of the whole frame.
    pub(crate) length: usize,
}

/// Appends the frame of a record that `render` appends; the record's place and hash. A record that is too long for a frame leaves `out` as it was.
pub(crate) fn encode<T>(
    out: &mut Vec<u8>,
    key: &Derived,
    stranger: bool,
    (seq, prev): (u64, &[u8; 32]),
    render: impl FnOnce(&mut Vec<u8>) -> T,
) -> Option<Encoded<T>> {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX]);
    out.push(if stranger { STRANGER } else { 0 });
    out.extend_from_slice(&key.kid);
    out.extend_from_slice(&seq.to_be_bytes());
    out.extend_from_slice(prev);
    let json = out.len();
    let rendered = render(out);
    let end = out.len();
    let length = u32::try_from(end + MAC - start - PREFIX).ok();
    let Some(length) = length.filter(|length| *length as usize <= FRAME_BYTES_MAX) else {
        out.truncate(start);
        return None;
    };
    let hash = fingerprint(out.get(json..).unwrap_or_default());
    let tag = key.frame_tag(out.get(start + PREFIX..json).unwrap_or_default(), &hash);
    out.extend_from_slice(&tag);
    let length = length.to_be_bytes();
    let body = out.get(start + PREFIX..).unwrap_or_default();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&length), body).to_be_bytes();
    if let Some((l, c)) = out
        .get_mut(start..start + PREFIX)
        .and_then(|prefix| prefix.split_at_mut_checked(4))
    {
        l.copy_from_slice(&length);
        c.copy_from_slice(&checksum);
    }
    Some(Encoded {
        json: json..end,
        hash,
        rendered,
    })
}

/// What [`encode`] has appended.
#[derive(Debug)]
pub(crate) struct Encoded<T> {
    /// Where the record stands.
    pub(crate) json: Range<usize>,
    pub(crate) hash: [u8; 32],
    /// What rendering it gave.
    pub(crate) rendered: T,
}

/// The frame at the start of `bytes`, which must not be empty.
pub(crate) fn decode<'a>(bytes: &'a [u8], keys: &AuditKeys) -> Result<Frame<'a>, FrameError> {
    read(bytes, |kid, header, hash, tag| {
        let key = keys.find(kid).ok_or(FrameError::UnknownKey)?;
        let holds = key.frame_holds(header, hash, tag);
        holds.then_some(()).ok_or(FrameError::Mac)
    })
}

/// The same for a reader without the key: everything but the MAC.
pub(crate) fn decode_unproved(bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    read(bytes, |_, _, _, _| Ok(()))
}

fn read(
    bytes: &[u8],
    prove: impl FnOnce(&Kid, &[u8], &[u8; 32], &[u8]) -> Result<(), FrameError>,
) -> Result<Frame<'_>, FrameError> {
    let (prefix, rest) = bytes
        .split_first_chunk::<PREFIX>()
        .ok_or(FrameError::Torn)?;
    let [l0, l1, l2, l3, c0, c1, c2, c3] = *prefix;
    let length_bytes = [l0, l1, l2, l3];
    let length = u32::from_be_bytes(length_bytes) as usize;
    if !(FIXED + MAC..=FRAME_BYTES_MAX).contains(&length) {
        return Err(FrameError::Length);
    }
    let body = rest.get(..length).ok_or(FrameError::Torn)?;
    if crc32c::crc32c_append(crc32c::crc32c(&length_bytes), body)
        != u32::from_be_bytes([c0, c1, c2, c3])
    {
        return Err(FrameError::Checksum);
    }
    let (signed, tag) = body.split_last_chunk::<MAC>().ok_or(FrameError::Length)?;
    let (header, json) = signed.split_at_checked(FIXED).ok_or(FrameError::Length)?;
    let fields = split(header).ok_or(FrameError::Length)?;
    let hash = fingerprint(json);
    prove(&fields.kid, header, &hash, tag)?;
    if fields.flags & !STRANGER != 0 {
        return Err(FrameError::Flags);
    }
    let stranger = fields.flags & STRANGER != 0;
    Ok(Frame {
        stranger,
        seq: fields.seq,
        prev: fields.prev,
        json,
        hash,
        length: PREFIX + length,
    })
}

/// The content of the frame at the start of `bytes` whatever is wrong with it: what it claims, proved by nothing.
pub(crate) fn claimed(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let body = rest
        .get(PREFIX - 4..)?
        .get(..u32::from_be_bytes(*length) as usize)?;
    body.get(FIXED..body.len().checked_sub(MAC)?)
}

struct Fields {
    flags: u8,
    kid: Kid,
    seq: u64,
    prev: [u8; 32],
}

fn split(header: &[u8]) -> Option<Fields> {
    let (flags, rest) = header.split_first()?;
    let (kid, rest) = rest.split_first_chunk::<KID_BYTES>()?;
    let (seq, rest) = rest.split_first_chunk::<8>()?;
    let (prev, _end) = rest.split_first_chunk::<32>()?;
    Some(Fields {
        flags: *flags,
        kid: *kid,
        seq: u64::from_be_bytes(*seq),
        prev: *prev,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::AuditKey;

    fn keys(byte: u8) -> AuditKeys {
        AuditKeys::new(vec![AuditKey::new("a", 0, [byte; 32])]).unwrap()
    }

    fn written(keys: &AuditKeys) -> Vec<u8> {
        let mut out = Vec::new();
        encode(
            &mut out,
            keys.sealing(0).unwrap(),
            true,
            (5, &[7; 32]),
            |out| out.extend_from_slice(b"{}"),
        )
        .unwrap();
        out
    }

    #[test]
    fn what_is_written_reads_back() {
        let keys = keys(1);
        let bytes = written(&keys);
        let frame = decode(&bytes, &keys).unwrap();
        assert_eq!(
            frame,
            Frame {
                stranger: true,
                seq: 5,
                prev: [7; 32],
                json: b"{}",
                hash: fingerprint(b"{}"),
                length: bytes.len()
            }
        );
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let keys = keys(1);
        let bytes = written(&keys);
        for at in 0..bytes.len() {
            assert_eq!(
                decode(&bytes[..at], &keys).err(),
                Some(FrameError::Torn),
                "cut at {at}"
            );
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                assert!(decode(&bad, &keys).is_err(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_a_frame_leaves_nothing_behind() {
        let keys = keys(1);
        let mut out = b"before".to_vec();
        let sealing = keys.sealing(0).unwrap();
        for (bytes, fits) in [
            (FRAME_BYTES_MAX - FIXED - MAC + 1, false),
            (FRAME_BYTES_MAX - FIXED - MAC, true),
        ] {
            let encoded = encode(&mut out, sealing, false, (0, &[0; 32]), |out| {
                out.resize(out.len() + bytes, b' ');
            });
            assert_eq!(encoded.is_some(), fits);
            assert_eq!(out == b"before", !fits);
        }
        assert!(decode(&out[6..], &keys).is_ok());
    }

    #[test]
    fn a_frame_of_another_key_is_refused() {
        assert_eq!(
            decode(&written(&keys(2)), &keys(1)).err(),
            Some(FrameError::Mac)
        );
        let other = AuditKeys::new(vec![AuditKey::new("b", 0, [1; 32])]).unwrap();
        assert_eq!(
            decode(&written(&keys(1)), &other).err(),
            Some(FrameError::UnknownKey)
        );
    }
}
