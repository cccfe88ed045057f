//! The second version of the record MAC.
//!
//! ```text
//! "iv2." ‖ base64url(0x02 ‖ kid 8 ‖ MAC 32)                                                   no padding
//! MAC = HMAC-SHA256(derived key, 0x02 ‖ kid ‖ L(domain) ‖ patient ‖ version ‖ L(created_by) ‖ L(created_at) ‖ data)
//! derived key 32 = HKDF-SHA256(key, no salt, "iv2")
//! patient = 0x00, or 0x01 ‖ L(patient)      version = i64 big-endian      L = u64 big-endian length, then the bytes
//! data = the canonical form of what is covered ([`crate::canonical`]), up to the end
//! ```

use super::keyed;
use crate::ring::Kid;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;
use zeroize::Zeroizing;

const PREFIX: &str = "iv2.";
const LABEL: &[u8] = b"iv2";
const VERSION: u8 = 2;
const MAC_BYTES: usize = 32;
/// Version, kid and MAC.
const BYTES: usize = 1 + Kid::BYTES + MAC_BYTES;

/// What the second version covers. A record can't be moved to another patient or domain, nor given another version,
/// author or time, without its MAC failing. (That it is the newest version, only whoever keeps the versions can tell.)
#[derive(Clone, Copy)]
pub struct RecordV2<'a> {
    /// Who shares sealed values, as the policy says.
    pub domain: &'a str,
    /// Whose record it is; `None` where the rule names no patient, which is another thing than an empty name.
    pub patient: Option<&'a str>,
    /// The record's `version`.
    pub version: i64,
    /// The record's `created_by`: the subject.
    pub created_by: &'a str,
    /// The record's `created_at`, as it stands in the record.
    pub created_at: &'a str,
    /// The canonical form of what is covered.
    pub data: &'a [u8],
}

impl fmt::Debug for RecordV2<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordV2(..)")
    }
}

/// Why a second version's MAC does not verify.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum VerifyError {
    /// It names a key that the ring does not hold (or no longer): nothing is known about the record.
    #[error("record mac is of a key that is not in the ring")]
    UnknownKey,
    /// It is not the MAC of this record, or no such MAC at all.
    #[error("record mac does not match")]
    Mismatch,
}

/// Whether a text begins like a MAC of the second version.
pub fn looks_v2(text: &str) -> bool {
    text.starts_with(PREFIX)
}

pub(super) fn derived(key: &[u8]) -> Hmac<Sha256> {
    let mut okm = Zeroizing::new([0; 32]);
    // HKDF gives up to 255 hashes, so one never fails; were it to, the extracted key is still no other use's key.
    let (extracted, hkdf) = Hkdf::<Sha256>::extract(None, key);
    let extracted = Zeroizing::new(extracted);
    match hkdf.expand(LABEL, okm.as_mut_slice()) {
        Ok(()) => keyed(okm.as_slice()),
        Err(_) => keyed(extracted.as_slice()),
    }
}

pub(super) fn mac(key: &Hmac<Sha256>, kid: Kid, record: &RecordV2<'_>) -> [u8; MAC_BYTES] {
    let mut mac = key.clone();
    mac.update(&[VERSION]);
    mac.update(&kid.0);
    push(&mut mac, record.domain);
    match record.patient {
        None => mac.update(&[0]),
        Some(patient) => {
            mac.update(&[1]);
            push(&mut mac, patient);
        }
    }
    mac.update(&record.version.to_be_bytes());
    push(&mut mac, record.created_by);
    push(&mut mac, record.created_at);
    mac.update(record.data);
    mac.finalize().into_bytes().into()
}

fn push(mac: &mut Hmac<Sha256>, text: &str) {
    mac.update(&(text.len() as u64).to_be_bytes());
    mac.update(text.as_bytes());
}

pub(super) fn text(key: &Hmac<Sha256>, kid: Kid, record: &RecordV2<'_>) -> String {
    let mut raw = [0; BYTES];
    let mac = mac(key, kid, record);
    let parts = [VERSION].into_iter().chain(kid.0).chain(mac);
    for (to, from) in raw.iter_mut().zip(parts) {
        *to = from;
    }
    let mut text = String::from(PREFIX);
    base64_simd::URL_SAFE_NO_PAD.encode_append(raw, &mut text);
    text
}

/// The kid and the MAC of a text that is laid out as one.
pub(super) fn read(text: &str) -> Option<(Kid, [u8; MAC_BYTES])> {
    let body = text.strip_prefix(PREFIX)?;
    let raw = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(body).ok()?;
    let raw: [u8; BYTES] = raw.try_into().ok()?;
    let (version, rest) = raw.split_first()?;
    let (kid, rest) = rest.split_first_chunk()?;
    let mac = rest.first_chunk()?;
    (*version == VERSION).then_some((Kid(*kid), *mac))
}
