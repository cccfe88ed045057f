//! A data key for each patient, so that one patient's values can be made unreadable for good (crypto-shredding):
//! destroy every copy of the wrapped key, and nothing that was sealed under it ever opens again, backups included.
//!
//! Here is what needs no store: drawing a key, wrapping it under the ring and unwrapping it, its name in sealed values,
//! and the receipt of its destruction. Where wrapped keys are kept, and that they are gone, is the caller's part.
//!
//! ```text
//! "hsk1." ‖ base64url(0x01 ‖ kid ‖ salt ‖ nonce ‖ commit ‖ ciphertext ‖ tag)    as `hs1`, under the label "hsk1"
//! AAD ends with L(domain) ‖ L(pseudonym) ‖ 0x00; the plaintext is the 32 bytes of the key
//! key id = "patient-" ‖ hexadecimal of the first 16 bytes of
//!     HMAC-SHA256(key, "hsk1 id" ‖ L(domain) ‖ L(pseudonym))
//! ```
//!
//! The frame of `hs1` rather than RFC 3394 or 5649: those bind nothing to the key they wrap, so that one patient's
//! wrapped key could be put in the place of another's; and one frame less to get wrong. The key id is a function of
//! the key: two keys of one patient (before and after a shredding) have different names, and the name commits to the
//! key. A pseudonym is used, never a patient id: names and wrapped keys may lie in a store and in a log.

use crate::aead::{Bound, OpenContext, SealContext, WRAPPED_KEY, kid_of, push_bound};
use crate::envelope::SealError;
use crate::json::quote;
use crate::key::{KEY_BYTES, KeyMaterial, NoEntropy, random_key};
use crate::mac::keyed;
use crate::plaintext::OpenError;
use crate::ring::{KeyRing, Kid, RingError, RingKey};
use hmac::Mac;
use std::fmt;
use std::sync::Arc;

const ID_PREFIX: &str = "patient-";
const ID_LABEL: &[u8] = b"hsk1 id";
const ID_BYTES: usize = 16;

/// The data key of one patient in one domain. Wiped when dropped; `Debug` shows its name only.
pub struct PatientKey {
    id: String,
    key: KeyMaterial,
}

impl PatientKey {
    /// A new key from the operating system's random source.
    ///
    /// # Errors
    /// [`NewKeyError`].
    pub fn generate(domain: &str, pseudonym: &str) -> Result<Self, NewKeyError> {
        Self::named(random_key()?, domain, pseudonym).ok_or(NewKeyError::TooLong)
    }

    fn named(key: KeyMaterial, domain: &str, pseudonym: &str) -> Option<Self> {
        let mut context = ID_LABEL.to_vec();
        push_bound(&mut context, domain).ok()?;
        push_bound(&mut context, pseudonym).ok()?;
        let mac = keyed(key.expose()).chain_update(&context);
        let mac: [u8; 32] = mac.finalize().into_bytes().into();
        let mut id = String::from(ID_PREFIX);
        for byte in mac.iter().take(ID_BYTES) {
            id.push_str(&format!("{byte:02x}"));
        }
        Some(Self { id, key })
    }

    /// The key's id: what a ring calls it. It says nothing about patient or key to whoever has neither.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How values that are sealed under it name it ([`crate::sealed_with`]): what a store looks it up by.
    pub fn kid(&self) -> Kid {
        Kid::of(&self.id)
    }

    /// A ring of this key alone, active from the beginning, to seal and open the patient's values with.
    ///
    /// # Errors
    /// [`RingError`], which does not occur for one key.
    pub fn into_ring(self) -> Result<KeyRing, RingError> {
        KeyRing::new(vec![RingKey {
            id: self.id,
            from_unix: 0,
            key: self.key,
        }])
    }
}

impl fmt::Debug for PatientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PatientKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Why there is no new key.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum NewKeyError {
    /// No random bytes.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    /// Domain or pseudonym is too long.
    #[error("domain or pseudonym is too long for a patient's key")]
    TooLong,
}

/// Wraps and unwraps the keys of patients in one domain, under the keys of a ring. Shared by threads.
#[derive(Debug)]
pub struct Wrapper {
    reader: OpenContext,
}

impl Wrapper {
    /// A wrapper for `domain`, with the keys of `ring`.
    pub fn new(ring: Arc<KeyRing>, domain: &str) -> Self {
        // A wrapped key is opened once and then kept by the caller: derived keys are not.
        Self {
            reader: OpenContext::new(&WRAPPED_KEY, ring, domain, 0),
        }
    }

    /// The wrapped form of a patient's key: text, for a store. Under the key of the ring that seals at `now_unix`
    /// (Unix time in seconds).
    ///
    /// # Errors
    /// [`SealError::NoSealingKey`] or [`SealError::TooLong`].
    pub fn wrap(
        &self,
        pseudonym: &str,
        key: &PatientKey,
        now_unix: i64,
    ) -> Result<String, SealError> {
        let held = self.reader.ring().sealing(now_unix);
        let held = held.ok_or(SealError::NoSealingKey)?;
        let mut context = SealContext::new(&WRAPPED_KEY, held, self.reader.domain())?;
        let mut text = Vec::new();
        let bound = Bound::new(pseudonym, None);
        context.seal(bound, &[key.key.expose()], &mut text)?;
        // Base64 is ASCII: nothing is ever replaced.
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// The key of a patient out of its wrapped form.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn unwrap(&self, pseudonym: &str, wrapped: &str) -> Result<PatientKey, OpenError> {
        let bytes = self.reader.open(wrapped, Bound::new(pseudonym, None))?;
        let key = KeyMaterial::from_raw(&bytes).map_err(|_| OpenError::Refused)?;
        PatientKey::named(key, self.reader.domain(), pseudonym).ok_or(OpenError::Refused)
    }
}

/// The kid of the ring's key that a patient's key is wrapped under, to find those that a rotation has to wrap anew.
/// Nothing about the text is verified.
pub fn wrapped_with(wrapped: &str) -> Option<Kid> {
    kid_of(&WRAPPED_KEY, wrapped)
}

/// What a receipt of a destroyed key says. It holds no secret and no patient id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShredReceipt<'a> {
    /// Who shares sealed values, as the policy says.
    pub domain: &'a str,
    /// The patient's pseudonym.
    pub pseudonym: &'a str,
    /// The id of the key that is gone ([`PatientKey::id`]).
    pub key_id: &'a str,
    /// SHA-256 of the wrapped form that was destroyed: which bytes a backup must not have.
    pub wrapped_sha256: [u8; KEY_BYTES],
    /// When, in microseconds since 1970, UTC.
    pub shredded_unix_micros: i64,
    /// Who asked for it: the subject.
    pub by: &'a str,
    /// Why, in the operator's words.
    pub reason: &'a str,
}

impl ShredReceipt<'_> {
    /// What stands in every receipt as `receipt`: the version of its form.
    pub const FORM: &'static str = "safeguard-shred-1";

    /// The receipt as JSON in canonical form ([`crate::canonical`]): what is stored, and what the caller signs.
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        // In the order of the canonical form: by name.
        let texts = [
            ("by", self.by),
            ("domain", self.domain),
            ("key_id", self.key_id),
            ("kid", &Kid::of(self.key_id).to_string()),
            ("pseudonym", self.pseudonym),
            ("reason", self.reason),
            ("receipt", Self::FORM),
        ];
        out.push(b'{');
        for (name, text) in texts {
            quote(name, &mut out);
            out.extend_from_slice(b": ");
            quote(text, &mut out);
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(b"\"shredded_unix_micros\": ");
        out.extend_from_slice(self.shredded_unix_micros.to_string().as_bytes());
        out.extend_from_slice(b", \"wrapped_sha256\": \"");
        for byte in self.wrapped_sha256 {
            out.extend_from_slice(format!("{byte:02x}").as_bytes());
        }
        out.extend_from_slice(b"\"}");
        out
    }
}

#[cfg(test)]
mod tests;
