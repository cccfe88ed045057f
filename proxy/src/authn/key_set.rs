//! A provider's signing keys, each with the one algorithm that it may verify (RFC 8725 §3.1).

use jsonwebtoken::{Algorithm, DecodingKey};
use openidconnect::core::CoreJsonWebKeySet;
use serde_json::Value;

use super::error::AuthnError;
use super::fetch::FetchError;

/// The most keys that a key set may have.
const KEYS_MAX: usize = 64;

/// Keys of one fetch that differed from the one before.
pub(super) struct KeySet {
    keys: Vec<Key>,
}

struct Key {
    kid: String,
    algorithm: Algorithm,
    key: DecodingKey,
    /// The key as published: what tells two fetches apart.
    published: Value,
}

impl KeySet {
    /// Takes the usable keys: `use` is `sig`, with a `kid`, RSA, P-256 or Ed25519, and no private part.
    /// Others are left out, as RFC 7517 §5 asks.
    pub(super) fn of(published: &CoreJsonWebKeySet) -> Result<Self, FetchError> {
        if published.keys().len() > KEYS_MAX {
            return Err(FetchError::Unexpected);
        }
        let mut keys: Vec<Key> = published
            .keys()
            .iter()
            .filter_map(|key| Key::of(serde_json::to_value(key).ok()?))
            .collect();
        if keys.is_empty() {
            return Err(FetchError::NoKeys);
        }
        keys.sort_by(|a, b| a.kid.cmp(&b.kid));
        Ok(Self { keys })
    }

    /// The key with this id, if it is for this algorithm.
    pub(super) fn find(&self, kid: &str, algorithm: Algorithm) -> Result<&DecodingKey, AuthnError> {
        let mut named = self.keys.iter().filter(|key| key.kid == kid).peekable();
        if named.peek().is_none() {
            return Err(AuthnError::UnknownKey);
        }
        named
            .find(|key| key.algorithm == algorithm)
            .map(|key| &key.key)
            .ok_or(AuthnError::AlgorithmRefused)
    }

    /// Whether two fetches brought the same keys.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.keys.len() == other.keys.len()
            && self
                .keys
                .iter()
                .zip(&other.keys)
                .all(|(a, b)| a.published == b.published)
    }
}

impl Key {
    fn of(published: Value) -> Option<Self> {
        let text = |name: &str| published.get(name).and_then(Value::as_str);
        if text("use") != Some("sig") || text("d").is_some() || text("k").is_some() {
            return None;
        }
        let algorithm = match (text("kty")?, text("crv")) {
            ("RSA", _) => Algorithm::RS256,
            ("EC", Some("P-256")) => Algorithm::ES256,
            ("OKP", Some("Ed25519")) => Algorithm::EdDSA,
            _ => return None,
        };
        let named = match algorithm {
            Algorithm::RS256 => "RS256",
            Algorithm::ES256 => "ES256",
            _ => "EdDSA",
        };
        if text("alg").is_some_and(|alg| alg != named) {
            return None;
        }
        let kid = text("kid").filter(|kid| !kid.is_empty())?.to_owned();
        let key = match algorithm {
            Algorithm::RS256 => DecodingKey::from_rsa_components(text("n")?, text("e")?),
            Algorithm::ES256 => DecodingKey::from_ec_components(text("x")?, text("y")?),
            _ => DecodingKey::from_ed_components(text("x")?),
        };
        Some(Self {
            kid,
            algorithm,
            key: key.ok()?,
            published,
        })
    }
}
