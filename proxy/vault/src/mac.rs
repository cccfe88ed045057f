//! The record MACs: the seed's (`integrity_hash`, HMAC-SHA256 over the canonical form of a record's data, in lower-case
//! hexadecimal), and the second version (`integrity_v2`, [`RecordV2`]), which also binds whose record it is, which
//! version, by whom and when.

mod v2;

pub use v2::{RecordV2, VerifyError, looks_v2};

use crate::ring::{Entry, KeyState, Kid};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Block length of SHA-256 in bytes: RFC 2104 pads shorter keys to it with zeros and hashes longer ones.
const BLOCK_BYTES: usize = 64;
/// Length of the MAC in hexadecimal digits.
const HEX_DIGITS: usize = 64;

/// An HMAC state that the key has been fed into, cloned for each text.
pub(crate) fn keyed(key: &[u8]) -> Hmac<Sha256> {
    let mut block = Zeroizing::new([0; BLOCK_BYTES]);
    let hashed: Zeroizing<[u8; 32]>;
    let short = if key.len() > BLOCK_BYTES {
        hashed = Zeroizing::new(Sha256::digest(key).into());
        hashed.as_slice()
    } else {
        key
    };
    for (to, from) in block.iter_mut().zip(short) {
        *to = *from;
    }
    Hmac::new((&*block).into())
}

/// One version of the key of record MACs. `Debug` shows nothing of it.
pub struct RecordMac {
    seed: Hmac<Sha256>,
    /// Under a key of its own, derived from the same one.
    second: Hmac<Sha256>,
}

impl RecordMac {
    /// Takes a key of any length, as Python's `hmac.new` does.
    pub fn new(key: &[u8]) -> Self {
        Self {
            seed: keyed(key),
            second: v2::derived(key),
        }
    }

    /// The MAC of a canonical form (see [`crate::canonical`]): 64 lower-case hexadecimal digits.
    pub fn hex(&self, canonical: &[u8]) -> String {
        let mut hex = String::with_capacity(HEX_DIGITS);
        hex.push_str(std::str::from_utf8(&self.digits(canonical)).unwrap_or_default());
        hex
    }

    /// Whether `hex` is the MAC of a canonical form, compared in constant time. Capital digits don't match, as in
    /// Python.
    pub fn verify(&self, canonical: &[u8], hex: &str) -> bool {
        self.digits(canonical)
            .as_slice()
            .ct_eq(hex.as_bytes())
            .into()
    }

    fn digits(&self, canonical: &[u8]) -> [u8; HEX_DIGITS] {
        let mac: [u8; 32] = self
            .seed
            .clone()
            .chain_update(canonical)
            .finalize()
            .into_bytes()
            .into();
        let mut digits = [0; HEX_DIGITS];
        let (pairs, _) = digits.as_chunks_mut::<2>();
        for ([high, low], byte) in pairs.iter_mut().zip(mac) {
            *high = digit(byte >> 4);
            *low = digit(byte & 15);
        }
        digits
    }
}

impl fmt::Debug for RecordMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordMac(..)")
    }
}

/// The lower-case hexadecimal digit of 0..=15, without a table or a branch on the value.
fn digit(nibble: u8) -> u8 {
    b'0' + nibble + (nibble / 10) * (b'a' - b'0' - 10)
}

/// A version of the key and from when on it computes.
#[derive(Debug)]
pub struct RingMac {
    /// Its name in the configuration.
    pub id: String,
    /// It computes from this moment on (Unix time in seconds); it verifies at any time.
    pub from_unix: i64,
    /// The keyed state.
    pub mac: RecordMac,
}

/// Versions of the key of record MACs: the newest active one whose date is reached computes, any of them verifies.
#[derive(Debug)]
pub struct RecordMacRing {
    newest_first: Vec<HeldMac>,
}

#[derive(Debug)]
struct HeldMac {
    mac: RingMac,
    kid: Kid,
    state: KeyState,
}

impl RecordMacRing {
    /// Sorts the versions, all of them active; an empty ring computes and verifies nothing.
    pub fn new(macs: Vec<RingMac>) -> Self {
        Self::with_states(macs.into_iter().map(Entry::Active).collect())
    }

    /// Sorts the versions. Those that are for decryption only verify; destroyed ones are as good as unknown.
    pub fn with_states(entries: Vec<Entry<RingMac>>) -> Self {
        let held = |mac: RingMac, state| HeldMac {
            kid: Kid::of(&mac.id),
            mac,
            state,
        };
        let mut newest_first: Vec<HeldMac> = entries
            .into_iter()
            .filter_map(|entry| match entry {
                Entry::Active(mac) => Some(held(mac, KeyState::Active)),
                Entry::DecryptOnly(mac) => Some(held(mac, KeyState::DecryptOnly)),
                Entry::Destroyed { .. } => None,
            })
            .collect();
        newest_first
            .sort_by(|a, b| (b.mac.from_unix, &b.mac.id).cmp(&(a.mac.from_unix, &a.mac.id)));
        Self { newest_first }
    }

    /// The version that computes now. `None` while every active one is of the future.
    pub fn sealing(&self, now_unix: i64) -> Option<&RingMac> {
        self.held(now_unix).map(|it| &it.mac)
    }

    fn held(&self, now_unix: i64) -> Option<&HeldMac> {
        let active = |it: &&HeldMac| it.state == KeyState::Active && it.mac.from_unix <= now_unix;
        self.newest_first.iter().find(active)
    }

    /// The MAC under the version that computes now. `None` while every one is of the future.
    pub fn hex(&self, canonical: &[u8], now_unix: i64) -> Option<String> {
        self.sealing(now_unix).map(|it| it.mac.hex(canonical))
    }

    /// Whether `hex` is the MAC of a canonical form under any version. Every version is tried, whichever matches.
    pub fn verify(&self, canonical: &[u8], hex: &str) -> bool {
        self.newest_first
            .iter()
            .fold(false, |found, it| it.mac.mac.verify(canonical, hex) | found)
    }

    /// The second version's MAC of a record under the key that computes now. `None` while every one is of the future.
    pub fn seal_v2(&self, record: &RecordV2<'_>, now_unix: i64) -> Option<String> {
        let it = self.held(now_unix)?;
        Some(v2::text(&it.mac.mac.second, it.kid, record))
    }

    /// Whether `text` is the second version's MAC of a record.
    ///
    /// # Errors
    /// [`VerifyError`]: of a key that is not in the ring, or of another record.
    pub fn verify_v2(&self, record: &RecordV2<'_>, text: &str) -> Result<(), VerifyError> {
        let (kid, mac) = v2::read(text).ok_or(VerifyError::Mismatch)?;
        let held = self.newest_first.iter().find(|it| it.kid == kid);
        let held = held.ok_or(VerifyError::UnknownKey)?;
        let expected = v2::mac(&held.mac.mac.second, kid, record);
        if bool::from(expected.ct_eq(&mac)) {
            Ok(())
        } else {
            Err(VerifyError::Mismatch)
        }
    }
}

#[cfg(test)]
mod tests;
