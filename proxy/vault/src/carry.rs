//! Tokens that an agent carries in place of a value it may not see (view `token`): `sgt1.` and opaque text.
//!
//! Built like an `hs1` envelope (see `aead`), but derived under another label: an envelope never redeems as a token,
//! nor a token as an envelope. A token is bound to domain and field, so it can't be moved into another field, and
//! where the policy says so to patient and login session ([`Binding`]). It holds the time of its issue, sealed.

use crate::aead::{Bound, OpenContext, SealContext, TOKEN};
use crate::cache::DERIVED_KEYS_MAX;
use crate::envelope::SealError;
use crate::json;
use crate::plaintext::{OpenError, Plaintext};
use crate::ring::KeyRing;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// Tokens issued under one salt before a new key is derived. Nonces are random; far below the 2^32 that NIST
/// SP 800-38D §8.3 allows.
pub const TOKENS_PER_SALT_MAX: u32 = 1 << 16;

/// How far ahead of the clock a token's time may be, in seconds: the clocks of replicas differ.
pub const AHEAD_SECONDS_MAX: i64 = 60;

/// What a token is bound to besides domain and field. A token redeems only under the very binding it was issued with:
/// one that is bound to a patient does not redeem without a patient, nor the other way round.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Binding<'a> {
    /// Whose value it is.
    pub patient: Option<&'a str>,
    /// The login session it was issued in: any bytes that name it.
    pub session: Option<&'a [u8]>,
}

impl fmt::Debug for Binding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding")
            .field("patient", &self.patient.is_some())
            .field("session", &self.session.is_some())
            .finish()
    }
}

impl<'a> Binding<'a> {
    fn in_field(self, field: &'a str) -> Bound<'a> {
        Bound {
            field,
            patient: self.patient,
            session: self.session,
        }
    }
}

/// Why a token does not redeem. Both are refused alike; the audit log may tell them apart.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum RedeemError {
    /// It was not issued here for that field, domain and binding, or was changed, or its key is gone.
    #[error("token does not redeem")]
    Forged,
    /// It is genuine, and outside its time: older than it may be, or dated more than [`AHEAD_SECONDS_MAX`] ahead.
    #[error("token is outside its time")]
    Expired,
}

impl From<OpenError> for RedeemError {
    fn from(_: OpenError) -> Self {
        Self::Forged
    }
}

/// Issues and redeems the tokens of one domain. Shared by threads.
pub struct Carrier {
    reader: OpenContext,
    current: Mutex<Option<Current>>,
}

/// The derived key that issues now.
struct Current {
    key_id: String,
    context: SealContext,
    issued: u32,
}

/// A token's value and when the token was issued.
#[derive(Debug)]
pub struct Redeemed {
    /// The value's JSON text.
    pub value: Plaintext,
    /// Unix time in seconds.
    pub issued_unix: i64,
}

impl Carrier {
    /// A carrier for `domain`, with the keys of `ring`.
    pub fn new(ring: Arc<KeyRing>, domain: &str) -> Self {
        Self {
            reader: OpenContext::new(&TOKEN, ring, domain, DERIVED_KEYS_MAX),
            current: Mutex::new(None),
        }
    }

    /// A token for a value (its JSON text) of `field` under a binding, dated `now_unix` (Unix time in seconds).
    ///
    /// # Errors
    /// [`SealError`] as for [`crate::Sealer::seal`].
    pub fn issue(
        &self,
        field: &str,
        binding: Binding<'_>,
        plaintext_json: &[u8],
        now_unix: i64,
    ) -> Result<String, SealError> {
        json::check(plaintext_json)?;
        let held = self
            .reader
            .ring()
            .sealing(now_unix)
            .ok_or(SealError::NoSealingKey)?;
        let mut slot = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = slot
            .take()
            .filter(|it| it.key_id == held.id() && it.issued < TOKENS_PER_SALT_MAX);
        let mut current = match kept {
            Some(current) => current,
            None => Current {
                key_id: held.id().to_owned(),
                context: SealContext::new(&TOKEN, held, self.reader.domain())?,
                issued: 0,
            },
        };
        current.issued += 1;
        let parts = [&now_unix.to_be_bytes()[..], plaintext_json];
        let mut token = Vec::new();
        let bound = binding.in_field(field);
        current.context.seal(bound, &parts, &mut token)?;
        *slot = Some(current);
        // Base64 is ASCII: nothing is ever replaced.
        Ok(String::from_utf8_lossy(&token).into_owned())
    }

    /// The value behind a token that stands in `field`, at `now_unix` (Unix time in seconds). It may be `lasts`
    /// seconds old; without, of any age.
    ///
    /// # Errors
    /// [`RedeemError`].
    pub fn redeem(
        &self,
        token: &str,
        field: &str,
        binding: Binding<'_>,
        now_unix: i64,
        lasts: Option<u32>,
    ) -> Result<Redeemed, RedeemError> {
        let bytes = self.reader.open(token, binding.in_field(field))?;
        let (issued, value) = bytes.split_first_chunk().ok_or(RedeemError::Forged)?;
        let issued_unix = i64::from_be_bytes(*issued);
        // Differences that overflow are outside any bound, and saturate to where that shows.
        let age = now_unix.saturating_sub(issued_unix);
        if age < -AHEAD_SECONDS_MAX || lasts.is_some_and(|lasts| age > i64::from(lasts)) {
            return Err(RedeemError::Expired);
        }
        Ok(Redeemed {
            value: Plaintext::from_authenticated(Zeroizing::new(value.to_vec()))?,
            issued_unix,
        })
    }
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carrier")
            .field("ring", self.reader.ring())
            .finish_non_exhaustive()
    }
}

/// Whether a text begins like a token of an agent.
pub fn looks_carried(text: &str) -> bool {
    text.starts_with(TOKEN.prefix)
}

#[cfg(test)]
mod tests;
