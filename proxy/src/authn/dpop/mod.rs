//! Proof of possession (DPoP, RFC 9449): a token that is bound to a key serves only beside a proof that this key signed
//! for this very request.
//!
//! The token's part is remembered with the token; the proof is judged anew with every request.

mod nonce;
mod proof;
mod replay;

pub use nonce::NONCE_SECONDS;
pub use proof::{PROOF_BYTES_MAX, PROOF_SECONDS_MAX};
pub use replay::PROOFS_MAX;

use http::{HeaderMap, HeaderName, Uri};

use super::authenticated::Authenticated;
use super::error::AuthnError;
use nonce::Nonces;
use proof::Proof;
pub(super) use replay::{Replays, id as replay_id};

/// The header that carries a proof (RFC 9449 §4.1).
static DPOP: HeaderName = HeaderName::from_static("dpop");
/// What a proof may be signed with.
pub const PROOF_ALGORITHMS: &str = "ES256 EdDSA PS256 RS256";

/// Whether tokens must be bound to their holder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Demand {
    /// A token that is not bound is refused.
    Required,
    /// A binding that is there is checked.
    #[default]
    Accepted,
    /// A binding that is there is not looked at.
    Ignored,
}

/// `authentication.bound_tokens`
#[derive(Debug, Clone, Default)]
pub struct BindingSettings {
    /// To a key (RFC 9449).
    pub dpop: Demand,
    /// To the client's certificate (RFC 8705 §3).
    pub certificate: Demand,
    /// Whether a proof must carry a nonce of ours (RFC 9449 §9).
    pub nonce: bool,
}

impl BindingSettings {
    /// A principal without the bindings that nobody is to look at.
    pub(super) fn looked_at(&self, mut who: Authenticated) -> Authenticated {
        if self.dpop == Demand::Ignored {
            who.key = None;
        }
        if self.certificate == Demand::Ignored {
            who.certificate = None;
        }
        who
    }
}

/// Why a proof does not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// None is there, or the token came as a bearer token.
    #[error("the token is bound to a key: send it as DPoP, with one proof")]
    Missing,
    /// The token is not bound to a key, and must be, or came as if it were.
    #[error("the token is not bound to a key, so that no proof can be for it")]
    Unbound,
    /// No signed JSON web token of the type `dpop+jwt`.
    #[error("the dpop proof is not a signed token of the type dpop+jwt")]
    Malformed,
    /// An algorithm that proofs may not have.
    #[error("the dpop proof's algorithm is not one of ES256, EdDSA, PS256 and RS256")]
    Algorithm,
    /// No usable public key, or a private one.
    #[error("the dpop proof's key is not a public key of its algorithm")]
    Key,
    /// Signed, but not by the key that it brings.
    #[error("the dpop proof's signature does not verify")]
    Signature,
    /// Another key than that of the token.
    #[error("the dpop proof is by another key than the token's")]
    OtherKey,
    /// `htm` or `htu` is of another request.
    #[error("the dpop proof is for another request")]
    OtherRequest,
    /// `ath` is of another token.
    #[error("the dpop proof is for another token")]
    OtherToken,
    /// `iat` is too old, or ahead.
    #[error("the dpop proof is too old, or from the future")]
    Stale,
    /// Its `jti` was seen before.
    #[error("the dpop proof was used before")]
    Replayed,
    /// No nonce, or an old one.
    #[error("the dpop proof needs the nonce that comes with this answer")]
    Nonce,
    /// More proofs in their time than are remembered.
    #[error("too many dpop proofs at once")]
    Full,
}

impl ProofError {
    /// The stable snake_case word.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "proof_required",
            Self::Unbound => "proof_unbound",
            Self::Malformed => "proof_malformed",
            Self::Algorithm => "proof_algorithm_refused",
            Self::Key => "proof_key_refused",
            Self::Signature => "proof_bad_signature",
            Self::OtherKey => "proof_other_key",
            Self::OtherRequest => "proof_other_request",
            Self::OtherToken => "proof_other_token",
            Self::Stale => "proof_stale",
            Self::Replayed => "proof_replayed",
            Self::Nonce => "proof_nonce",
            Self::Full => "proofs_full",
        }
    }
}

/// What a proof must be for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'r> {
    /// The request's method.
    pub method: &'r str,
    /// The request's path, without a query.
    pub path: &'r str,
}

/// The `DPoP` header of a request.
#[derive(Clone, Copy)]
pub enum ProofHeader<'h> {
    /// None.
    Absent,
    /// One.
    One(&'h str),
    /// Several, or one that is no text.
    Bad,
}

impl<'h> ProofHeader<'h> {
    /// As the request has it. Two of them are refused (RFC 9449 §4.3).
    pub fn from_headers(headers: &'h HeaderMap) -> Self {
        let mut values = headers.get_all(&DPOP).iter();
        match (values.next(), values.next()) {
            (None, _) => Self::Absent,
            (Some(one), None) => one.to_str().map_or(Self::Bad, Self::One),
            _ => Self::Bad,
        }
    }
}

impl std::fmt::Debug for ProofHeader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProofHeader(..)")
    }
}

/// A token's key and text, as a proof names them.
#[derive(Clone, Copy)]
pub(super) struct Bound<'t> {
    /// `cnf.jkt`: the SHA-256 thumbprint of the key (RFC 7638).
    pub(super) key: &'t [u8; 32],
    /// SHA-256 of the token.
    pub(super) token: &'t [u8; 32],
}

/// Judges proofs. One for the process.
pub(super) struct Proofs {
    /// `listen.public_url`, whose scheme and authority `htu` must have.
    public: Option<Uri>,
    skew: i64,
    nonces: Option<Nonces>,
    replays: Replays,
}

impl Proofs {
    pub(super) fn new(public_url: &str, skew: i64, nonce: bool) -> Self {
        Self {
            public: public_url.parse().ok(),
            skew,
            nonces: nonce.then(Nonces::new),
            replays: Replays::new(PROOF_SECONDS_MAX.saturating_add(skew)),
        }
    }

    /// The nonce that proofs must carry now.
    pub(super) fn nonce(&self, now: i64) -> Option<String> {
        self.nonces.as_ref().map(|nonces| nonces.at(now))
    }

    /// Judges one proof (RFC 9449 §4.3), and remembers it.
    pub(super) fn judge(
        &self,
        header: ProofHeader<'_>,
        bound: Bound<'_>,
        asked: Asked<'_>,
        now: i64,
    ) -> Result<(), AuthnError> {
        self.judged(header, bound, asked, now)
            .map_err(AuthnError::Proof)
    }

    fn judged(
        &self,
        header: ProofHeader<'_>,
        bound: Bound<'_>,
        asked: Asked<'_>,
        now: i64,
    ) -> Result<(), ProofError> {
        let text = match header {
            ProofHeader::Absent => return Err(ProofError::Missing),
            ProofHeader::Bad => return Err(ProofError::Malformed),
            ProofHeader::One(text) => text,
        };
        let proof = Proof::parse(text)?;
        if proof.thumbprint() != bound.key {
            return Err(ProofError::OtherKey);
        }
        if !proof.is_for(self.public.as_ref(), asked) {
            return Err(ProofError::OtherRequest);
        }
        if !proof.is_with(bound.token) {
            return Err(ProofError::OtherToken);
        }
        let age = now.saturating_sub(proof.issued_at());
        if age > PROOF_SECONDS_MAX || age < -self.skew {
            return Err(ProofError::Stale);
        }
        if let Some(nonces) = &self.nonces {
            let known = proof.nonce().is_some_and(|nonce| nonces.knows(nonce, now));
            known.then_some(()).ok_or(ProofError::Nonce)?;
        }
        self.replays.take(proof.id(), proof.issued_at(), now)
    }
}
