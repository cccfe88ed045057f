//! The bytes of an `hs1` value: AES-256-GCM under a key derived from a ring key and a random salt, with the key
//! committed to.
//!
//! ```text
//! 0x01 ‖ kid 8 ‖ salt 24 ‖ nonce 12 ‖ commit 16 ‖ ciphertext ‖ tag 16
//! key 32 ‖ commit 16 = HKDF-SHA256(ring key, salt, label ‖ kid)
//! AAD = 0x01 ‖ kid ‖ salt ‖ commit ‖ L(domain) ‖ L(field) [‖ L(patient)]    L = u32 big-endian length, then the bytes
//! ```
//!
//! Tokens of agents and wrapped keys of patients have the same build, but for the end of the AAD: behind the field
//! stands a byte that says what follows (bit 0: L(patient), bit 1: L(session)), so that nothing bound to one thing
//! can pass for something bound to another, or to nothing.
//!
//! The commitment ties a value to one key of the ring (GCM alone does not), and is compared in constant time before
//! anything is decrypted. The label keeps kinds of values apart: an envelope never opens as a token of an agent.

mod layout;

pub(crate) use layout::push_bound;

use crate::cache::DerivedCache;
use crate::plaintext::OpenError;
use crate::ring::{Held, KeyRing, Kid, Operations};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use hkdf::Hkdf;
use layout::{Parts, begin_aad, decode, decode_into, end_aad, head};
use rand::Rng;
use sha2::Sha256;
use std::fmt;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Longest domain, field name or patient id in bytes that a value is bound to.
pub const CONTEXT_BYTES_MAX: usize = 64 * 1024;

pub(crate) const SALT_BYTES: usize = 24;
pub(crate) const NONCE_BYTES: usize = 12;
const VERSION: u8 = 1;
const COMMIT_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
const HEAD_BYTES: usize = 1 + Kid::BYTES + SALT_BYTES;
/// Where the ciphertext begins.
const BODY_AT: usize = HEAD_BYTES + NONCE_BYTES + COMMIT_BYTES;

/// A kind of sealed value: what its text begins with, and the label of its derivation.
#[derive(Debug)]
pub(crate) struct Scheme {
    pub(crate) prefix: &'static str,
    label: &'static [u8],
    /// Whether the AAD says what the value is bound to besides its field.
    flagged: bool,
}

/// What an upstream stores.
pub(crate) const ENVELOPE: Scheme = Scheme {
    prefix: "hs1.",
    label: b"hs1",
    flagged: false,
};
/// What an agent carries.
pub(crate) const TOKEN: Scheme = Scheme {
    prefix: "sgt1.",
    label: b"sgt1",
    flagged: true,
};
/// The data key of a patient, wrapped.
pub(crate) const WRAPPED_KEY: Scheme = Scheme {
    prefix: "hsk1.",
    label: b"hsk1",
    flagged: true,
};

/// What a value is bound to besides its domain.
#[derive(Clone, Copy, Default)]
pub(crate) struct Bound<'a> {
    pub(crate) field: &'a str,
    pub(crate) patient: Option<&'a str>,
    /// Only where the scheme is flagged.
    pub(crate) session: Option<&'a [u8]>,
}

impl<'a> Bound<'a> {
    pub(crate) fn new(field: &'a str, patient: Option<&'a str>) -> Self {
        Self {
            field,
            patient,
            session: None,
        }
    }
}

/// Something that a value is bound to is longer than [`CONTEXT_BYTES_MAX`], or the cipher refused the value's length.
#[derive(Debug)]
pub(crate) struct TooLong;

/// A derived key, expanded, with its commitment. The cipher wipes its key schedule when dropped.
pub(crate) struct Derived {
    cipher: Aes256Gcm,
    commit: [u8; COMMIT_BYTES],
    /// Of the ring key that it is derived from.
    operations: Arc<Operations>,
}

impl Derived {
    pub(crate) fn new(
        scheme: &Scheme,
        held: &Held,
        salt: &[u8; SALT_BYTES],
    ) -> Result<Self, TooLong> {
        let mut okm = Zeroizing::new([0u8; 48]);
        let hkdf = Hkdf::<Sha256>::new(Some(salt), held.material().expose());
        // 48 bytes are far below HKDF's limit of 255 hashes, so this never fails.
        hkdf.expand_multi_info(&[scheme.label, &held.kid().0], okm.as_mut_slice())
            .map_err(|_| TooLong)?;
        let (key, commit) = okm.split_first_chunk::<32>().ok_or(TooLong)?;
        let cipher = Aes256Gcm::new(key.into());
        Ok(Self {
            cipher,
            commit: *commit.first_chunk().ok_or(TooLong)?,
            operations: Arc::clone(held.counter()),
        })
    }
}

impl fmt::Debug for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Derived(..)")
    }
}

/// Seals values under one salt: one derivation, then a nonce a value.
pub(crate) struct SealContext {
    scheme: &'static Scheme,
    derived: Derived,
    head: [u8; HEAD_BYTES],
    /// The AAD so far (up to the domain, `bound` bytes), then what is particular to a value.
    aad: Vec<u8>,
    bound: usize,
    scratch: Zeroizing<Vec<u8>>,
}

impl SealContext {
    pub(crate) fn new(scheme: &'static Scheme, held: &Held, domain: &str) -> Result<Self, TooLong> {
        let mut salt = [0; SALT_BYTES];
        rand::rng().fill_bytes(&mut salt);
        Self::with_salt(scheme, held, domain, &salt)
    }

    pub(crate) fn with_salt(
        scheme: &'static Scheme,
        held: &Held,
        domain: &str,
        salt: &[u8; SALT_BYTES],
    ) -> Result<Self, TooLong> {
        let derived = Derived::new(scheme, held, salt)?;
        let head = head(held.kid(), salt);
        let mut aad = Vec::with_capacity(HEAD_BYTES + COMMIT_BYTES + domain.len() + 64);
        begin_aad(&mut aad, &head, &derived.commit, domain)?;
        let bound = aad.len();
        Ok(Self {
            scheme,
            derived,
            head,
            aad,
            bound,
            scratch: Zeroizing::new(Vec::new()),
        })
    }

    /// Appends the token of `plaintext` (given in parts) to `out`, under a random nonce.
    pub(crate) fn seal(
        &mut self,
        bound: Bound<'_>,
        plaintext: &[&[u8]],
        out: &mut Vec<u8>,
    ) -> Result<(), TooLong> {
        let mut nonce = [0; NONCE_BYTES];
        rand::rng().fill_bytes(&mut nonce);
        self.seal_with_nonce(&nonce, bound, plaintext, out)
    }

    pub(crate) fn seal_with_nonce(
        &mut self,
        nonce: &[u8; NONCE_BYTES],
        bound: Bound<'_>,
        plaintext: &[&[u8]],
        out: &mut Vec<u8>,
    ) -> Result<(), TooLong> {
        self.aad.truncate(self.bound);
        end_aad(self.scheme, &mut self.aad, bound)?;
        let length: usize = plaintext.iter().map(|part| part.len()).sum();
        // Room for all at once: a growing buffer would leave copies of the plaintext behind.
        self.scratch.clear();
        self.scratch.reserve(BODY_AT + length + TAG_BYTES);
        for part in [&self.head[..], nonce, &self.derived.commit]
            .iter()
            .chain(plaintext)
        {
            self.scratch.extend_from_slice(part);
        }
        let (_, body) = self.scratch.split_at_mut(BODY_AT);
        let nonce = Nonce::from(*nonce);
        let tag = self
            .derived
            .cipher
            .encrypt_inout_detached(&nonce, &self.aad, body.into());
        self.scratch.extend_from_slice(&tag.map_err(|_| TooLong)?);
        self.derived.operations.count_sealed();
        out.extend_from_slice(self.scheme.prefix.as_bytes());
        base64_simd::URL_SAFE_NO_PAD.encode_append(self.scratch.as_slice(), out);
        Ok(())
    }
}

impl fmt::Debug for SealContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealContext(..)")
    }
}

/// Opens values of one scheme in one domain.
#[derive(Debug)]
pub(crate) struct OpenContext {
    scheme: &'static Scheme,
    ring: Arc<KeyRing>,
    domain: String,
    cache: DerivedCache,
}

impl OpenContext {
    pub(crate) fn new(
        scheme: &'static Scheme,
        ring: Arc<KeyRing>,
        domain: &str,
        cached: usize,
    ) -> Self {
        Self {
            scheme,
            ring,
            domain: domain.to_owned(),
            cache: DerivedCache::new(cached),
        }
    }

    pub(crate) fn ring(&self) -> &KeyRing {
        &self.ring
    }

    pub(crate) fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether `text` is of this scheme and laid out as a sealed value (its authenticity is not looked at).
    pub(crate) fn parses(&self, text: &str) -> bool {
        decode(self.scheme, text).is_some_and(|raw| Parts::split(&raw).is_some())
    }

    /// The authenticated plaintext inside `text`.
    pub(crate) fn open(
        &self,
        text: &str,
        bound: Bound<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let mut scratch = Scratch::default();
        self.open_in(text, bound, &mut scratch)?;
        Ok(scratch.raw)
    }

    /// Leaves the authenticated plaintext inside `text` in `scratch`; on an error nothing of use.
    pub(crate) fn open_in(
        &self,
        text: &str,
        bound: Bound<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), OpenError> {
        let Scratch { raw, aad } = scratch;
        decode_into(self.scheme, text, raw).ok_or(OpenError::Refused)?;
        let parts = Parts::split(raw).ok_or(OpenError::Refused)?;
        let derived = self.derived(&parts)?;
        aad.clear();
        aad.reserve(HEAD_BYTES + COMMIT_BYTES + self.domain.len() + 128);
        begin_aad(aad, parts.head, parts.commit, &self.domain).map_err(|_| OpenError::Refused)?;
        end_aad(self.scheme, aad, bound).map_err(|_| OpenError::Refused)?;
        let (nonce, tag) = (Nonce::from(*parts.nonce), Tag::from(*parts.tag));
        let length = parts.ciphertext.len();
        derived.operations.count_opened();
        raw.copy_within(BODY_AT..BODY_AT + length, 0);
        raw.truncate(length);
        let opened =
            derived
                .cipher
                .decrypt_inout_detached(&nonce, aad, raw.as_mut_slice().into(), &tag);
        opened.map_err(|_| OpenError::Refused)
    }

    /// The derived key that the value commits to. Only a key whose commitment matched is kept: whoever has no key
    /// can't push others out of the cache.
    fn derived(&self, parts: &Parts<'_>) -> Result<Arc<Derived>, OpenError> {
        let cached = self.cache.get(parts.head);
        let found = match &cached {
            Some(derived) => Arc::clone(derived),
            None => {
                let held = self.ring.opening(parts.kid)?;
                let derived = Derived::new(self.scheme, held, parts.salt);
                Arc::new(derived.map_err(|_| OpenError::Refused)?)
            }
        };
        if !bool::from(found.commit.ct_eq(parts.commit)) {
            return Err(OpenError::Refused);
        }
        if cached.is_none() {
            self.cache.put(*parts.head, &found);
        }
        Ok(found)
    }
}

/// What opening works in, kept from value to value so that nothing is allocated for one. Wiped when dropped.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) raw: Zeroizing<Vec<u8>>,
    aad: Vec<u8>,
}

/// The kid of a sealed value's text, for a reader that wants to tell which key is missing. It is not authenticated.
pub(crate) fn kid_of(scheme: &Scheme, text: &str) -> Option<Kid> {
    let raw = decode(scheme, text)?;
    Parts::split(&raw).map(|parts| Kid(*parts.kid))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wycheproof;
