//! The bytes of an `hs1` value: AES-256-GCM under a key derived from a ring key and a random salt, with the key
//! committed to.
//!
//! ```text
//! 0x01 ‖ kid 8 ‖ salt 24 ‖ nonce 12 ‖ commit 16 ‖ ciphertext ‖ tag 16
//! key 32 ‖ commit 16 = HKDF-SHA256(ring key, salt, label ‖ kid)
//! AAD = 0x01 ‖ kid ‖ salt ‖ commit ‖ L(domain) ‖ L(field) [‖ L(patient)]    L = u32 big-endian length, then the bytes
//! ```
//!
//! The commitment ties a value to one key of the ring (GCM alone does not), and is compared in constant time before
//! anything is decrypted. The label keeps kinds of values apart: an envelope never opens as a token of an agent.

use crate::cache::DerivedCache;
use crate::key::KeyMaterial;
use crate::plaintext::OpenError;
use crate::ring::{Held, KeyRing, Kid};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use hkdf::Hkdf;
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
}

/// What an upstream stores.
pub(crate) const ENVELOPE: Scheme = Scheme {
    prefix: "hs1.",
    label: b"hs1",
};
/// What an agent carries.
pub(crate) const TOKEN: Scheme = Scheme {
    prefix: "sgt1.",
    label: b"sgt1",
};

/// Something that a value is bound to is longer than [`CONTEXT_BYTES_MAX`], or the cipher refused the value's length.
#[derive(Debug)]
pub(crate) struct TooLong;

/// A derived key, expanded, with its commitment. The cipher wipes its key schedule when dropped.
pub(crate) struct Derived {
    cipher: Aes256Gcm,
    commit: [u8; COMMIT_BYTES],
}

impl Derived {
    pub(crate) fn new(
        scheme: &Scheme,
        key: &KeyMaterial,
        kid: Kid,
        salt: &[u8; SALT_BYTES],
    ) -> Result<Self, TooLong> {
        let mut okm = Zeroizing::new([0u8; 48]);
        let hkdf = Hkdf::<Sha256>::new(Some(salt), key.expose());
        // 48 bytes are far below HKDF's limit of 255 hashes, so this never fails.
        hkdf.expand_multi_info(&[scheme.label, &kid.0], okm.as_mut_slice())
            .map_err(|_| TooLong)?;
        let (key, commit) = okm.split_first_chunk::<32>().ok_or(TooLong)?;
        let cipher = Aes256Gcm::new(key.into());
        Ok(Self {
            cipher,
            commit: *commit.first_chunk().ok_or(TooLong)?,
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
        let derived = Derived::new(scheme, held.material(), held.kid(), salt)?;
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
        field: &str,
        patient: Option<&str>,
        plaintext: &[&[u8]],
        out: &mut Vec<u8>,
    ) -> Result<(), TooLong> {
        let mut nonce = [0; NONCE_BYTES];
        rand::rng().fill_bytes(&mut nonce);
        self.seal_with_nonce(&nonce, field, patient, plaintext, out)
    }

    pub(crate) fn seal_with_nonce(
        &mut self,
        nonce: &[u8; NONCE_BYTES],
        field: &str,
        patient: Option<&str>,
        plaintext: &[&[u8]],
        out: &mut Vec<u8>,
    ) -> Result<(), TooLong> {
        self.aad.truncate(self.bound);
        end_aad(&mut self.aad, field, patient)?;
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
        field: &str,
        patient: Option<&str>,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        // Opened in place, and wiped with its whole capacity when dropped.
        let mut raw = Zeroizing::new(decode(self.scheme, text).ok_or(OpenError)?);
        let parts = Parts::split(&raw).ok_or(OpenError)?;
        let derived = self.derived(&parts)?;
        let mut aad = Vec::with_capacity(HEAD_BYTES + COMMIT_BYTES + self.domain.len() + 128);
        begin_aad(&mut aad, parts.head, parts.commit, &self.domain).map_err(|_| OpenError)?;
        end_aad(&mut aad, field, patient).map_err(|_| OpenError)?;
        let (nonce, tag) = (Nonce::from(*parts.nonce), Tag::from(*parts.tag));
        let length = parts.ciphertext.len();
        raw.copy_within(BODY_AT..BODY_AT + length, 0);
        raw.truncate(length);
        let opened =
            derived
                .cipher
                .decrypt_inout_detached(&nonce, &aad, raw.as_mut_slice().into(), &tag);
        opened.map(|()| raw).map_err(|_| OpenError)
    }

    /// The derived key that the value commits to. Only a key whose commitment matched is kept: whoever has no key
    /// can't push others out of the cache.
    fn derived(&self, parts: &Parts<'_>) -> Result<Arc<Derived>, OpenError> {
        let cached = self.cache.get(parts.head);
        let found = match &cached {
            Some(derived) => Arc::clone(derived),
            None => {
                let held = self.ring.by_kid(parts.kid).ok_or(OpenError)?;
                let derived = Derived::new(self.scheme, held.material(), held.kid(), parts.salt);
                Arc::new(derived.map_err(|_| OpenError)?)
            }
        };
        if !bool::from(found.commit.ct_eq(parts.commit)) {
            return Err(OpenError);
        }
        if cached.is_none() {
            self.cache.put(*parts.head, &found);
        }
        Ok(found)
    }
}

/// The kid of a sealed value's text, for a reader that wants to tell which key is missing. It is not authenticated.
pub(crate) fn kid_of(scheme: &Scheme, text: &str) -> Option<Kid> {
    let raw = decode(scheme, text)?;
    Parts::split(&raw).map(|parts| Kid(*parts.kid))
}

fn decode(scheme: &Scheme, text: &str) -> Option<Vec<u8>> {
    base64_simd::URL_SAFE_NO_PAD
        .decode_to_vec(text.strip_prefix(scheme.prefix)?)
        .ok()
}

/// A sealed value taken apart.
struct Parts<'a> {
    /// Version, kid and salt as they stand: they begin the AAD, and name the derived key.
    head: &'a [u8; HEAD_BYTES],
    kid: &'a [u8; Kid::BYTES],
    salt: &'a [u8; SALT_BYTES],
    nonce: &'a [u8; NONCE_BYTES],
    commit: &'a [u8; COMMIT_BYTES],
    ciphertext: &'a [u8],
    tag: &'a [u8; TAG_BYTES],
}

impl<'a> Parts<'a> {
    fn split(raw: &'a [u8]) -> Option<Self> {
        let (head, rest) = raw.split_first_chunk::<HEAD_BYTES>()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (commit, rest) = rest.split_first_chunk()?;
        let (ciphertext, tag) = rest.split_last_chunk()?;
        let (version, named) = head.split_first()?;
        let (kid, salt) = named.split_first_chunk()?;
        let salt = salt.first_chunk()?;
        (*version == VERSION).then_some(Self {
            head,
            kid,
            salt,
            nonce,
            commit,
            ciphertext,
            tag,
        })
    }
}

fn head(kid: Kid, salt: &[u8; SALT_BYTES]) -> [u8; HEAD_BYTES] {
    let mut head = [VERSION; HEAD_BYTES];
    for (to, from) in head.iter_mut().skip(1).zip(kid.0.iter().chain(salt)) {
        *to = *from;
    }
    head
}

fn begin_aad(aad: &mut Vec<u8>, head: &[u8], commit: &[u8], domain: &str) -> Result<(), TooLong> {
    aad.extend_from_slice(head);
    aad.extend_from_slice(commit);
    push_bound(aad, domain)
}

fn end_aad(aad: &mut Vec<u8>, field: &str, patient: Option<&str>) -> Result<(), TooLong> {
    push_bound(aad, field)?;
    patient.map_or(Ok(()), |patient| push_bound(aad, patient))
}

fn push_bound(aad: &mut Vec<u8>, text: &str) -> Result<(), TooLong> {
    if text.len() > CONTEXT_BYTES_MAX {
        return Err(TooLong);
    }
    let length = u32::try_from(text.len()).map_err(|_| TooLong)?;
    aad.extend_from_slice(&length.to_be_bytes());
    aad.extend_from_slice(text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::RingKey;

    fn ring() -> Arc<KeyRing> {
        let key = KeyMaterial::from_raw(&[1; 32]).unwrap();
        Arc::new(
            KeyRing::new(vec![RingKey {
                id: "k".into(),
                from_unix: 0,
                key,
            }])
            .unwrap(),
        )
    }

    #[test]
    fn only_values_that_commit_to_a_key_enter_the_cache() {
        let (ring, mut token) = (ring(), Vec::new());
        let open = OpenContext::new(&ENVELOPE, Arc::clone(&ring), "d", 8);
        let held = ring.sealing(0).unwrap();
        for salt in 0..5 {
            let forged = [head(held.kid(), &[salt; SALT_BYTES]).as_slice(), &[0; 60]].concat();
            let text = format!(
                "hs1.{}",
                base64_simd::URL_SAFE_NO_PAD.encode_to_string(forged)
            );
            assert!(open.parses(&text) && open.open(&text, "f", None).is_err());
        }
        assert_eq!(open.cache.len(), 0);
        SealContext::new(&ENVELOPE, held, "d")
            .unwrap()
            .seal("f", None, &[b"1"], &mut token)
            .unwrap();
        let token = String::from_utf8(token).unwrap();
        assert!(open.open(&token, "f", None).is_ok() && open.open(&token, "f", None).is_ok());
        assert_eq!(open.cache.len(), 1);
    }

    #[test]
    fn schemes_derive_different_keys_from_one_key_and_salt() {
        let ring = ring();
        let held = ring.sealing(0).unwrap();
        let derive = |scheme, salt| {
            Derived::new(scheme, held.material(), held.kid(), salt)
                .unwrap()
                .commit
        };
        assert_ne!(derive(&ENVELOPE, &[0; 24]), derive(&TOKEN, &[0; 24]));
        assert_ne!(derive(&ENVELOPE, &[0; 24]), derive(&ENVELOPE, &[1; 24]));
    }

    #[test]
    fn debug_shows_nothing_of_derived_keys() {
        let ring = ring();
        let context = SealContext::new(&ENVELOPE, ring.sealing(0).unwrap(), "d").unwrap();
        assert_eq!(
            format!("{context:?} {:?}", context.derived),
            "SealContext(..) Derived(..)"
        );
    }
}
