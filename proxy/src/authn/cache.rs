//! Tokens that were verified already, by the SHA-256 of their text. Refusals are not remembered.
//!
//! A hit saves the signature, nothing else: expiry, the second factor and the keys' generation
//! are asked again on every use.

use std::sync::Arc;

use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::authenticated::Authenticated;
use super::local::ByLocal;

/// SHA-256 of a token.
pub(super) type TokenDigest = [u8; 32];

/// The keys that verified a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VerifiedBy {
    /// The secrets of local tokens.
    Local(ByLocal),
    /// The generation of the provider's key set.
    Provider(u64),
}

/// A verified token.
#[derive(Clone)]
pub(super) struct Verified {
    pub(super) who: Arc<Authenticated>,
    pub(super) by: VerifiedBy,
}

/// The bounded memory. When it is full, the tokens used least make room.
pub(super) struct TokenCache(Cache<TokenDigest, Verified>);

impl TokenCache {
    pub(super) fn new(tokens_max: usize) -> Self {
        Self(Cache::new(tokens_max.max(1)))
    }

    pub(super) fn get(&self, digest: &TokenDigest) -> Option<Verified> {
        self.0.get(digest)
    }

    pub(super) fn put(&self, digest: TokenDigest, verified: Verified) {
        self.0.insert(digest, verified);
    }

    pub(super) fn remove(&self, digest: &TokenDigest) {
        self.0.remove(digest);
    }
}

/// The key of a token.
pub(super) fn digest(token: &str) -> TokenDigest {
    Sha256::digest(token.as_bytes()).into()
}
