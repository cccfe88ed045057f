//! Tokens that an agent carries in place of a value it may not see (view `token`): `sgt1.` and opaque text.
//!
//! Built like an `hs1` envelope (see `aead`), but derived under another label: an envelope never redeems as a token,
//! nor a token as an envelope. A token is bound to domain and field, so it can't be moved into another field, and it
//! holds the time of its issue.

use crate::aead::{OpenContext, SealContext, TOKEN};
use crate::cache::DERIVED_KEYS_MAX;
use crate::envelope::SealError;
use crate::json::Document;
use crate::plaintext::{OpenError, Plaintext};
use crate::ring::KeyRing;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// Tokens issued under one salt before a new key is derived. Nonces are random; far below the 2^32 that NIST
/// SP 800-38D §8.3 allows.
pub const TOKENS_PER_SALT_MAX: u32 = 1 << 16;

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

    /// A token for a value (its JSON text) of `field`, dated `now_unix` (Unix time in seconds).
    ///
    /// # Errors
    /// [`SealError`] as for [`crate::Sealer::seal`].
    pub fn issue(
        &self,
        field: &str,
        plaintext_json: &[u8],
        now_unix: i64,
    ) -> Result<String, SealError> {
        let document = Document::parse(plaintext_json)?;
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
        let parts = [&now_unix.to_be_bytes()[..], document.text().as_bytes()];
        let mut token = Vec::new();
        current.context.seal(field, None, &parts, &mut token)?;
        *slot = Some(current);
        // Base64 is ASCII: nothing is ever replaced.
        Ok(String::from_utf8_lossy(&token).into_owned())
    }

    /// The value behind a token that stands in `field`.
    ///
    /// # Errors
    /// [`OpenError`], the same for every reason.
    pub fn redeem(&self, token: &str, field: &str) -> Result<Plaintext, OpenError> {
        self.redeem_dated(token, field)
            .map(|redeemed| redeemed.value)
    }

    /// As [`Carrier::redeem`], with the time of issue for a caller that limits the age of tokens.
    ///
    /// # Errors
    /// [`OpenError`], the same for every reason.
    pub fn redeem_dated(&self, token: &str, field: &str) -> Result<Redeemed, OpenError> {
        let bytes = self.reader.open(token, field, None)?;
        let (issued, value) = bytes.split_first_chunk().ok_or(OpenError)?;
        Ok(Redeemed {
            value: Plaintext::from_authenticated(Zeroizing::new(value.to_vec()))?,
            issued_unix: i64::from_be_bytes(*issued),
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
