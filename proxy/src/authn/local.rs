//! The verifier of local tokens, and the secrets that it tries: the one in force and, for a while, the one before it.
//!
//! A token does not say which secret signed it. Both are tried, the newer first: that is one more HMAC for the tokens of a
//! rotation's window, and nothing in any header tells about a secret. New tokens are signed by the newer alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use jsonwebtoken::{Algorithm, DecodingKey};

use super::authenticated::Authenticated;
use super::claims::{self, Clock};
use super::error::AuthnError;
use super::jws::Jws;
use super::settings::{LocalSettings, SecondFactorSettings};

/// Verifies local tokens. A rotation swaps what it verifies with.
pub(super) struct Local {
    keyed: ArcSwap<Keyed>,
    generations: AtomicU64,
}

/// Settings with their keys made.
struct Keyed {
    settings: LocalSettings,
    current: DecodingKey,
    previous: Option<(DecodingKey, i64)>,
    generation: u64,
}

/// Which secrets verified a token, and until when they may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByLocal {
    generation: u64,
    until: i64,
}

impl Keyed {
    fn new(settings: LocalSettings, generation: u64) -> Self {
        let key = |secret: &super::Secret| DecodingKey::from_secret(secret.expose());
        let previous = settings.previous.as_ref();
        Self {
            current: key(&settings.secret),
            previous: previous.map(|old| (key(&old.secret), old.until_unix)),
            settings,
            generation,
        }
    }

    /// Until when the secret serves that signed this token.
    fn signed(&self, jws: &Jws<'_>, now: i64) -> Result<i64, AuthnError> {
        let refused = match jws.verify(&self.current) {
            Ok(()) => return Ok(i64::MAX),
            Err(refused) => refused,
        };
        match &self.previous {
            Some((key, until)) if now < *until => jws.verify(key).map(|()| *until),
            _ => Err(refused),
        }
    }
}

impl Local {
    pub(super) fn new(settings: LocalSettings) -> Self {
        Self {
            keyed: ArcSwap::from_pointee(Keyed::new(settings, 0)),
            generations: AtomicU64::new(0),
        }
    }

    pub(super) fn is_issuer(&self, issuer: &str) -> bool {
        self.keyed.load().settings.issuer == issuer
    }

    /// What new tokens are made with.
    pub(super) fn with_settings<T>(&self, make: impl FnOnce(&LocalSettings) -> T) -> T {
        make(&self.keyed.load().settings)
    }

    /// The longest life of a token, in seconds.
    pub(super) fn expiration(&self) -> i64 {
        i64::from(self.keyed.load().settings.expiration_max)
    }

    pub(super) fn verify(
        &self,
        jws: Jws<'_>,
        digest: [u8; 32],
        factors: &SecondFactorSettings,
        clock: Clock,
    ) -> Result<(Authenticated, ByLocal), AuthnError> {
        if jws.algorithm != Algorithm::HS256 {
            return Err(AuthnError::AlgorithmRefused);
        }
        let keyed = self.keyed.load();
        let until = keyed.signed(&jws, clock.now)?;
        let generation = keyed.generation;
        let who = claims::local(jws, digest, &keyed.settings, factors, clock)?;
        Ok((who, ByLocal { generation, until }))
    }

    /// Whether what verified a token then would verify it now.
    pub(super) fn still_verifies(&self, by: ByLocal, now: i64) -> bool {
        by.generation == self.keyed.load().generation && now < by.until
    }

    /// Takes other secrets; false where they are the same.
    pub(super) fn rotate(&self, settings: LocalSettings) -> bool {
        if self.keyed.load().settings.has_secrets_of(&settings) {
            return false;
        }
        let generation = self.generations.fetch_add(1, Ordering::Relaxed) + 1;
        self.keyed.store(Arc::new(Keyed::new(settings, generation)));
        true
    }
}
