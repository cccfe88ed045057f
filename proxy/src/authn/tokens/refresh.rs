//! A refresh token's text, its hash, its successor, and what it is worth to its family.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::families::{Family, FamilyId, Shown};

/// For how long after a turn the secret before it is answered with its successor again, in seconds: as long as a client
/// waits for an answer that got lost before it tries again, and no longer.
pub const GRACE_SECONDS: i64 = 10;
/// What a refresh token begins with.
const PREFIX: &str = "sgr1.";
const SECRET_BYTES: usize = 32;
const HASH_LABEL: &[u8] = b"safeguard refresh token v1";
const KEY_LABEL: &[u8] = b"safeguard refresh token successor v1";

/// A refresh token as a client holds it: wiped on drop, never shown.
pub struct RefreshToken {
    id: FamilyId,
    secret: Zeroizing<[u8; SECRET_BYTES]>,
}

impl std::fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RefreshToken(..)")
    }
}

/// The system has no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system has no random bytes")]
pub struct NoRandomness;

/// The keys that make a secret's successor: of the `JWT_SECRET` in force first, then of the one before it, so that a turn
/// just before a rotation can still be answered again.
pub struct SuccessorKeys(Vec<Zeroizing<[u8; 32]>>);

impl std::fmt::Debug for SuccessorKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SuccessorKeys(..)")
    }
}

impl SuccessorKeys {
    /// Derived from the secrets of local tokens, which all replicas share, the one in force first.
    pub(in crate::authn) fn derive<'s>(secrets: impl Iterator<Item = &'s [u8]>) -> Self {
        Self(
            secrets
                .filter_map(|secret| mac(secret, &[KEY_LABEL]))
                .collect(),
        )
    }
}

/// HMAC-SHA256 of the parts, one behind the other.
pub(super) fn mac(key: &[u8], parts: &[&[u8]]) -> Option<Zeroizing<[u8; 32]>> {
    // HMAC takes a key of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    for part in parts {
        mac.update(part);
    }
    Some(Zeroizing::new(mac.finalize().into_bytes().into()))
}

impl RefreshToken {
    /// The first of a new family.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn first() -> Result<Self, NoRandomness> {
        let mut id = FamilyId::default();
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        aws_lc_rs::rand::fill(&mut id).map_err(|_| NoRandomness)?;
        aws_lc_rs::rand::fill(secret.as_mut()).map_err(|_| NoRandomness)?;
        Ok(Self { id, secret })
    }

    /// Reads a token's text; none for what is no refresh token of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(PREFIX)?;
        let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(encoded).ok()?;
        let bytes = Zeroizing::new(bytes);
        let (id, secret) = bytes.split_first_chunk()?;
        Some(Self {
            id: *id,
            secret: Zeroizing::new(<[u8; SECRET_BYTES]>::try_from(secret).ok()?),
        })
    }

    /// Its text, for the client.
    pub fn text(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new([&self.id[..], &self.secret[..]].concat());
        let encoded = Zeroizing::new(base64_simd::URL_SAFE_NO_PAD.encode_to_string(&*bytes));
        Zeroizing::new([PREFIX, &encoded].concat())
    }

    /// Which family it is of.
    pub fn family(&self) -> &FamilyId {
        &self.id
    }

    /// What is kept of it.
    pub fn hash(&self) -> [u8; 32] {
        let hash = Sha256::new().chain_update(HASH_LABEL);
        let hash = hash.chain_update(self.id).chain_update(*self.secret);
        hash.finalize().into()
    }

    /// What it turns into.
    fn successor(&self, key: &[u8; 32]) -> Option<Self> {
        let secret = mac(key, &[&self.id, &self.secret[..]])?;
        Some(Self {
            id: self.id,
            secret,
        })
    }
}

/// Why a refresh token is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// No such family: never was, ended, expired, or forgotten by a restart.
    #[error("the refresh token is not known")]
    Unknown,
    /// Its family is too old. It has ended now.
    #[error("the refresh token has expired")]
    Expired,
    /// The client shows another certificate than the one that it was issued to. Nothing changed.
    #[error("the refresh token is bound to another client certificate")]
    Foreign,
    /// It was used before. Its family has ended; the session is to end too.
    #[error("the refresh token was used before")]
    Reused(Box<Family>),
    /// Where families are kept is out of reach, or the process can't make keys.
    #[error("refresh tokens can't be judged now")]
    Unavailable,
}

impl Unusable {
    /// A stable snake_case word, for audit and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "refresh_token_unknown",
            Self::Expired => "refresh_token_expired",
            Self::Foreign => "certificate_mismatch",
            Self::Reused(_) => "refresh_token_reused",
            Self::Unavailable => "refresh_store_unavailable",
        }
    }
}

/// What a token is worth to its family.
pub(super) enum Worth {
    /// The family's newest: using it turns the family to this.
    Newest(RefreshToken),
    /// The one before the newest, within its grace: the newest once more.
    Again(RefreshToken),
    /// Bound to another certificate.
    Foreign,
    /// Too old.
    Expired,
    /// Used before.
    Reused,
}

/// Judges a token by its family; none where no key can be made.
pub(super) fn judge(token: &RefreshToken, family: &Family, shown: Shown<'_>) -> Option<Worth> {
    if family.certificate.as_ref() != shown.certificate {
        return Some(Worth::Foreign);
    }
    if shown.now >= family.ends_at {
        return Some(Worth::Expired);
    }
    let hash = token.hash();
    let keys = shown.keys.0.iter();
    let mut successors = keys.filter_map(|key| token.successor(key));
    if hash == family.current {
        return successors.next().map(Worth::Newest);
    }
    // A clock that went back since the turn makes the age negative: the turn was just now.
    let is_fresh = shown.now.saturating_sub(family.turned_at) <= GRACE_SECONDS;
    let was_lost = family.previous == Some(hash) && shown.certificate.is_some() && is_fresh;
    let again = successors.find(|next| was_lost && next.hash() == family.current);
    Some(again.map_or(Worth::Reused, Worth::Again))
}
