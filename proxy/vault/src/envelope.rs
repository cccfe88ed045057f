//! Sealing and opening the PHI values of a body, as `hs1`, Fernet or JWE, as an object or as a string. Searchable
//! values ([`crate::search`]) are sealed elsewhere and opened here.

use crate::aead::{Bound, ENVELOPE, OpenContext, Scratch, SealContext, TooLong, kid_of};
use crate::cache::DERIVED_KEYS_MAX;
use crate::canonical::CanonicalError;
use crate::fernet::{self, Reading};
use crate::json;
use crate::plaintext::{OpenError, Plaintext};
use crate::ring::{Held, KeyRing, Kid};
use crate::{jwe, python, search};
use std::fmt;
use std::sync::Arc;

/// Most values that one [`Sealer`] seals. Their nonces are random, so a salt must not serve for ever; a body has
/// far fewer values.
pub const VALUES_PER_SEALER_MAX: u32 = 1 << 24;

/// How a value is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `hs1`: AES-256-GCM, bound to domain, field and perhaps patient.
    Native,
    /// Fernet, as the Python class writes it: bound to nothing but the key.
    Fernet,
    /// JWE in compact form, bound as `hs1` is; domain and field can be read in its header ([`crate::jwe`]).
    Jwe,
}

/// How a sealed value stands in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrap {
    /// `{"_encrypted":true,"_value":"…"}`
    Object,
    /// The token alone, as a string.
    String,
}

impl Wrap {
    /// Appends what `token` appends, in its wrapping. On an error `out` is as it was.
    pub(crate) fn around<E>(
        self,
        out: &mut Vec<u8>,
        token: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = out.len();
        let (opening, closing): (&[u8], &[u8]) = match self {
            Self::Object => (br#"{"_encrypted":true,"_value":""#, br#""}"#),
            Self::String => (b"\"", b"\""),
        };
        out.extend_from_slice(opening);
        if let Err(error) = token(out) {
            out.truncate(before);
            return Err(error);
        }
        out.extend_from_slice(closing);
        Ok(())
    }
}

/// Why a value can't be sealed. Never holds the value.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum SealError {
    /// Every active key of the ring is of the future.
    #[error("no key of the ring seals: set the `from` date of an active one to the past")]
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
    Jwe { domain: Box<str> },
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
            Format::Jwe => Cipher::Jwe {
                domain: domain.into(),
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
    /// `plaintext_json` is the value's JSON text; it is kept as it stands (`hs1`, JWE), or as `json.dumps` writes it
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
        self.wrap
            .around(out, |out| self.token(field, patient, plaintext_json, out))?;
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
                json::check(plaintext_json)?;
                context.seal(Bound::new(field, patient), &[plaintext_json], out)?
            }
            Cipher::Fernet { now_unix } => {
                let inside = python::dumps(plaintext_json)?;
                self.held.fernet().encrypt_into(&inside, *now_unix, out);
                self.held.operations().count_sealed();
            }
            Cipher::Jwe { domain } => {
                // Only whether it is JSON matters: it is sealed as it stands.
                json::check(plaintext_json)?;
                jwe::seal(
                    self.held,
                    domain,
                    Bound::new(field, patient),
                    plaintext_json,
                    out,
                )?;
            }
        }
        Ok(())
    }
}

/// Opens the sealed values of a domain; the formats are told apart by what they begin with. Shared by threads.
pub struct Opener {
    native: OpenContext,
    fernet: Reading,
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
            fernet: Reading::Strict,
        }
    }

    /// How Fernet tokens are read from now on; strictly unless said otherwise.
    #[must_use]
    pub fn reading_fernet(mut self, reading: Reading) -> Self {
        self.fernet = reading;
        self
    }

    /// Opens a token (the string inside an envelope, or the string form).
    ///
    /// A Fernet token is bound to no field and no patient: any key of the ring opens it anywhere. A searchable value
    /// is bound to its field, to no patient.
    ///
    /// # Errors
    /// [`OpenError`], the same for every reason but that the key was destroyed.
    pub fn open(
        &self,
        token: &str,
        field: &str,
        patient: Option<&str>,
    ) -> Result<Plaintext, OpenError> {
        let mut room = OpenRoom::default();
        self.open_bytes(token, field, patient, &mut room.0)?;
        Plaintext::from_authenticated(room.0.raw)
    }

    /// As [`Opener::open`], into `room`, which is reused: an `hs1` value then costs no allocation.
    ///
    /// # Errors
    /// [`OpenError`] as for [`Opener::open`].
    pub fn open_in<'r>(
        &self,
        token: &str,
        field: &str,
        patient: Option<&str>,
        room: &'r mut OpenRoom,
    ) -> Result<&'r str, OpenError> {
        self.open_bytes(token, field, patient, &mut room.0)?;
        json::check(&room.0.raw).map_err(|_| OpenError::Refused)?;
        std::str::from_utf8(&room.0.raw).map_err(|_| OpenError::Refused)
    }

    fn open_bytes(
        &self,
        token: &str,
        field: &str,
        patient: Option<&str>,
        room: &mut Scratch,
    ) -> Result<(), OpenError> {
        let (ring, domain) = (self.native.ring(), self.native.domain());
        let bound = Bound::new(field, patient);
        room.raw = match Kind::of(token, self.fernet) {
            Some(Kind::Native) => return self.native.open_in(token, bound, room),
            Some(Kind::Fernet) => fernet::open(ring, token, self.fernet),
            Some(Kind::Jwe) => jwe::open(ring, domain, bound, token),
            Some(Kind::Search) => search::open(ring, domain, field, token),
            None => Err(OpenError::Refused),
        }?;
        Ok(())
    }

    /// Whether `text` is laid out as a sealed value of any format; whether it opens is another matter.
    pub fn is_well_formed(&self, text: &str) -> bool {
        match Kind::of(text, self.fernet) {
            Some(Kind::Native) => self.native.parses(text),
            Some(Kind::Fernet) => fernet::is_well_formed(text, self.fernet),
            Some(Kind::Jwe) => jwe::kid(text).is_some(),
            Some(Kind::Search) => search::kid(text).is_some(),
            None => false,
        }
    }
}

/// What values are opened in, one after the other ([`Opener::open_in`]). Wiped when dropped; `Debug` shows nothing of it.
#[derive(Default)]
pub struct OpenRoom(Scratch);

impl fmt::Debug for OpenRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenRoom(..)")
    }
}

/// The formats that an opener reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Native,
    Fernet,
    Jwe,
    Search,
}

impl Kind {
    /// By what a text begins with.
    fn of(text: &str, reading: Reading) -> Option<Self> {
        if text.starts_with(ENVELOPE.prefix) {
            Some(Self::Native)
        } else if text.starts_with(search::PREFIX) {
            Some(Self::Search)
        } else if text.starts_with(jwe::PREFIX) {
            Some(Self::Jwe)
        } else if fernet::begins(text, reading) {
            Some(Self::Fernet)
        } else {
            None
        }
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener")
            .field("ring", self.native.ring())
            .finish_non_exhaustive()
    }
}

/// Whether a text begins like a sealed value: `hs1.`, `hsx1.`, a Fernet token's `gAAAA`, or the header of a JWE that
/// names a key as ours do. Of a JWE, which has no prefix of its own, the header is read.
pub fn looks_sealed(token: &str) -> bool {
    match Kind::of(token, Reading::Strict) {
        Some(Kind::Jwe) => jwe::kid(token).is_some(),
        kind => kind.is_some(),
    }
}

/// The kid that a token names, to tell an operator which key is missing. `None` for anything else (Fernet tokens name
/// no key). Nothing about the token is verified.
pub fn sealed_with(token: &str) -> Option<Kid> {
    match Kind::of(token, Reading::Strict)? {
        Kind::Native => kid_of(&ENVELOPE, token),
        Kind::Jwe => jwe::kid(token),
        Kind::Search => search::kid(token),
        Kind::Fernet => None,
    }
}

#[cfg(test)]
mod tests;
