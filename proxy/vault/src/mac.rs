//! The record MAC (`integrity_hash`): HMAC-SHA256 over a record's canonical form, in lower-case hexadecimal.

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
pub struct RecordMac(Hmac<Sha256>);

impl RecordMac {
    /// Takes a key of any length, as Python's `hmac.new` does.
    pub fn new(key: &[u8]) -> Self {
        Self(keyed(key))
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
            .0
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

/// Versions of the key of record MACs: the newest one whose date is reached computes, any of them verifies.
#[derive(Debug)]
pub struct RecordMacRing {
    newest_first: Vec<RingMac>,
}

impl RecordMacRing {
    /// Sorts the versions; an empty ring computes and verifies nothing.
    pub fn new(mut macs: Vec<RingMac>) -> Self {
        macs.sort_by(|a, b| (b.from_unix, &b.id).cmp(&(a.from_unix, &a.id)));
        Self { newest_first: macs }
    }

    /// The version that computes now. `None` while every one is of the future.
    pub fn sealing(&self, now_unix: i64) -> Option<&RingMac> {
        self.newest_first.iter().find(|it| it.from_unix <= now_unix)
    }

    /// The MAC under the version that computes now. `None` while every one is of the future.
    pub fn hex(&self, canonical: &[u8], now_unix: i64) -> Option<String> {
        self.sealing(now_unix).map(|it| it.mac.hex(canonical))
    }

    /// Whether `hex` is the MAC of a canonical form under any version. Every version is tried, whichever matches.
    pub fn verify(&self, canonical: &[u8], hex: &str) -> bool {
        self.newest_first
            .iter()
            .fold(false, |found, it| it.mac.verify(canonical, hex) | found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> RecordMacRing {
        let version = |id: &str, from_unix| RingMac {
            id: id.into(),
            from_unix,
            mac: RecordMac::new(id.as_bytes()),
        };
        RecordMacRing::new(vec![version("old", 10), version("new", 20)])
    }

    #[test]
    fn rfc_4231_case_2_is_reproduced() {
        let hex = RecordMac::new(b"Jefe").hex(b"what do ya want for nothing?");
        assert_eq!(
            hex,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn rfc_4231_case_6_with_a_key_longer_than_a_block_is_reproduced() {
        let hex = RecordMac::new(&[0xaa; 131])
            .hex(b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(
            hex,
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn only_the_exact_hash_verifies() {
        let mac = RecordMac::new(b"k");
        let hex = mac.hex(b"{}");
        assert!(mac.verify(b"{}", &hex));
        let short = hex.get(..63).unwrap();
        let last = if hex.ends_with('0') { '1' } else { '0' };
        let changed = format!("{short}{last}");
        for wrong in [
            "",
            short,
            &format!("{hex}0"),
            &hex.to_uppercase(),
            &format!(" {hex}"),
            &changed,
        ] {
            assert!(!mac.verify(b"{}", wrong), "{wrong}");
        }
        assert!(!mac.verify(b"{} ", &hex));
        assert!(!RecordMac::new(b"l").verify(b"{}", &hex));
    }

    #[test]
    fn the_newest_version_computes_and_every_version_verifies() {
        let ring = ring();
        let (old, new) = (
            RecordMac::new(b"old").hex(b"{}"),
            RecordMac::new(b"new").hex(b"{}"),
        );
        assert_eq!(ring.hex(b"{}", 9), None);
        assert_eq!(ring.hex(b"{}", 19), Some(old.clone()));
        assert_eq!(ring.hex(b"{}", 20), Some(new.clone()));
        assert!(ring.verify(b"{}", &old) && ring.verify(b"{}", &new));
        assert!(!ring.verify(b"{}", &RecordMac::new(b"other").hex(b"{}")));
        assert!(!RecordMacRing::new(Vec::new()).verify(b"{}", &old));
    }

    #[test]
    fn debug_shows_nothing_of_the_key() {
        assert_eq!(format!("{:?}", RecordMac::new(b"secret")), "RecordMac(..)");
        assert!(!format!("{:?}", ring()).contains("Hmac"));
    }
}
