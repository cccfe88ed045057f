//! Sealing and opening the PHI values of a body, as `hs1` or Fernet, as an object or as a string.

use crate::aead::{ENVELOPE, OpenContext, SealContext, TooLong, kid_of};
use crate::cache::DERIVED_KEYS_MAX;
use crate::canonical::CanonicalError;
use crate::fernet;
use crate::json::{Document, is_plain_string};
use crate::plaintext::{OpenError, Plaintext};
use crate::python;
use crate::ring::{Held, KeyRing, Kid};
use std::fmt;
use std::sync::Arc;

/// Most values that one [`Sealer`] seals. Their nonces are random, so a salt must not serve for ever; a body has
/// far fewer values.
pub const VALUES_PER_SEALER_MAX: u32 = 1 << 24;

/// What all Fernet tokens begin with: version 0x80 and the zeros that head a time of this epoch.
pub(crate) const FERNET_PREFIX: &str = "gAAAA";

/// How a value is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `hs1`: AES-256-GCM, bound to domain, field and perhaps patient.
    Native,
    /// Fernet, as the Python class writes it: bound to nothing but the key.
    Fernet,
}

/// How a sealed value stands in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrap {
    /// `{"_encrypted":true,"_value":"…"}`
    Object,
    /// The token alone, as a string.
    String,
}

/// Why a value can't be sealed. Never holds the value.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum SealError {
    /// Every key of the ring is of the future.
    #[error("no key of the ring seals yet: set the `from` date of one of them to the past")]
    NoSealingKey,
    /// Domain, field name, patient or value is too long.
    #[error("domain, field, patient or value is too long to be sealed")]
    TooLong,
    /// The sealer was used for [`VALUES_PER_SEALER_MAX`] values.
    #[error("too many values for one body: at most {VALUES_PER_SEALER_MAX} are sealed")]
    TooManyValues,
    /// The value is no JSON text that may be sealed.
    #[error("value to be sealed is refused: {0}")]
    Value(#[from] CanonicalError),
}

impl From<TooLong> for SealError {
    fn from(_: TooLong) -> Self {
        Self::TooLong
    }
}

/// Seals the values of one body: one salt and one derivation for all of them, a nonce for each.
#[derive(Debug)]
pub struct Sealer<'r> {
    held: &'r Held,
    wrap: Wrap,
    cipher: Cipher,
    sealed: u32,
}

#[derive(Debug)]
enum Cipher {
    Native(Box<SealContext>),
    Fernet { now_unix: u64 },
}

impl<'r> Sealer<'r> {
    /// Takes the key of `ring` that seals at `now_unix` (Unix time in seconds, also the time in a Fernet token).
    ///
    /// # Errors
    /// [`SealError::NoSealingKey`], or [`SealError::TooLong`] for the domain.
    pub fn new(
        ring: &'r KeyRing,
        domain: &str,
        format: Format,
        wrap: Wrap,
        now_unix: i64,
    ) -> Result<Self, SealError> {
        let held = ring.sealing(now_unix).ok_or(SealError::NoSealingKey)?;
        let cipher = match format {
            Format::Native => Cipher::Native(Box::new(SealContext::new(&ENVELOPE, held, domain)?)),
            Format::Fernet => Cipher::Fernet {
                now_unix: u64::try_from(now_unix).unwrap_or(0),
            },
        };
        Ok(Self {
            held,
            wrap,
            cipher,
            sealed: 0,
        })
    }

    /// The id of the key that seals.
    pub fn key_id(&self) -> &'r str {
        self.held.id()
    }

    /// Appends the sealed form of a value to `out`: an object or a string, as JSON without white space.
    ///
    /// `plaintext_json` is the value's JSON text; it is kept as it stands (`hs1`), or as `json.dumps` writes it
    /// (Fernet). On an error `out` is as it was.
    ///
    /// # Errors
    /// [`SealError`]; among them a text that is no JSON, that nests too deep, or that has a lone surrogate, a float
    /// that overflows or an integer above 4,300 digits.
    pub fn seal(
        &mut self,
        field: &str,
        patient: Option<&str>,
        plaintext_json: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        if self.sealed == VALUES_PER_SEALER_MAX {
            return Err(SealError::TooManyValues);
        }
        let before = out.len();
        let (opening, closing): (&[u8], &[u8]) = match self.wrap {
            Wrap::Object => (br#"{"_encrypted":true,"_value":""#, br#""}"#),
            Wrap::String => (b"\"", b"\""),
        };
        out.extend_from_slice(opening);
        if let Err(error) = self.token(field, patient, plaintext_json, out) {
            out.truncate(before);
            return Err(error);
        }
        out.extend_from_slice(closing);
        self.sealed += 1;
        Ok(())
    }

    fn token(
        &mut self,
        field: &str,
        patient: Option<&str>,
        plaintext_json: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        match &mut self.cipher {
            Cipher::Native(context) => {
                // Only whether it is JSON matters: it is sealed as it stands.
                if !is_plain_string(plaintext_json) {
                    Document::parse(plaintext_json)?;
                }
                context.seal(field, patient, &[plaintext_json], out)?
            }
            Cipher::Fernet { now_unix } => {
                let inside = python::dumps_document(&Document::parse(plaintext_json)?);
                self.held.fernet().encrypt_into(&inside, *now_unix, out);
            }
        }
        Ok(())
    }
}

/// Opens the sealed values of a domain; `hs1` and Fernet are told apart by what they begin with. Shared by threads.
pub struct Opener {
    native: OpenContext,
}

impl Opener {
    /// An opener that keeps [`DERIVED_KEYS_MAX`] derived keys.
    pub fn new(ring: Arc<KeyRing>, domain: &str) -> Self {
        Self::with_cache(ring, domain, DERIVED_KEYS_MAX)
    }

    /// An opener that keeps `derived_keys_max` derived keys (0: none).
    pub fn with_cache(ring: Arc<KeyRing>, domain: &str, derived_keys_max: usize) -> Self {
        Self {
            native: OpenContext::new(&ENVELOPE, ring, domain, derived_keys_max),
        }
    }

    /// Opens a token (the string inside an envelope, or the string form).
    ///
    /// A Fernet token is bound to no field and no patient: any key of the ring opens it anywhere.
    ///
    /// # Errors
    /// [`OpenError`], the same for every reason.
    pub fn open(
        &self,
        token: &str,
        field: &str,
        patient: Option<&str>,
    ) -> Result<Plaintext, OpenError> {
        let bytes = if token.starts_with(FERNET_PREFIX) {
            let keys = self.native.ring().keys().map(Held::fernet);
            fernet::decrypt_any(keys, token).map_err(|_| OpenError)?
        } else {
            self.native.open(token, field, patient)?
        };
        Plaintext::from_authenticated(bytes)
    }

    /// Whether `text` is laid out as a sealed value of either format; whether it opens is another matter.
    pub fn is_well_formed(&self, text: &str) -> bool {
        self.native.parses(text) || fernet::is_well_formed(text)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener")
            .field("ring", self.native.ring())
            .finish_non_exhaustive()
    }
}

/// Whether a text begins like a sealed value: `hs1.`, or a Fernet token's `gAAAA`.
pub fn looks_sealed(token: &str) -> bool {
    token.starts_with(ENVELOPE.prefix) || token.starts_with(FERNET_PREFIX)
}

/// The kid that an `hs1` token names, to tell an operator which key is missing. `None` for anything else (Fernet
/// tokens name no key). Nothing about the token is verified.
pub fn sealed_with(token: &str) -> Option<Kid> {
    kid_of(&ENVELOPE, token)
}

#[cfg(test)]
mod tests;
