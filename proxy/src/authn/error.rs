//! Why a caller isn't let in, and whose fault that is.

use std::sync::Arc;

use super::authenticated::Authenticated;
use super::dpop::ProofError;

/// Who has to act so that the same request succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The caller: another token, or a fresh login.
    Caller,
    /// The identity provider, or the network to it.
    IdentityProvider,
}

/// A refusal. Its text and its [`code`](AuthnError::code) are safe for callers, logs, metrics and audit:
/// they are fixed words that hold nothing of the token.
#[derive(Clone, thiserror::Error)]
pub enum AuthnError {
    /// No `Authorization` header.
    #[error("no bearer token: send one in the authorization header")]
    Missing,
    /// More than one `Authorization` header: which one counts would be a guess.
    #[error("more than one authorization header: send exactly one")]
    SeveralCredentials,
    /// A scheme that isn't `Bearer`.
    #[error("the authorization scheme is not bearer")]
    SchemeRefused,
    /// The header's value is no `Bearer` followed by one token of RFC 6750 §2.1.
    #[error("the authorization header is not one bearer token")]
    HeaderMalformed,
    /// Longer than [`TOKEN_BYTES_MAX`](super::TOKEN_BYTES_MAX).
    #[error(
        "the token is longer than the limit of {} bytes",
        super::TOKEN_BYTES_MAX
    )]
    TooLarge,
    /// Not three parts of strict base64url that hold JSON objects.
    #[error("the token is not a signed json web token in compact form")]
    NotAToken,
    /// A member stands twice in the header or the payload.
    #[error("the token names a member twice")]
    DuplicateMember,
    /// `crit`, `b64`, `zip`, `enc` or `cty`: extensions that nothing here needs.
    #[error("the token's header asks for an extension that is not supported")]
    ExtensionRefused,
    /// `jwk`, `jku`, `x5u` or `x5c`: a token doesn't bring its own key.
    #[error("the token's header brings or points to a key of its own")]
    EmbeddedKey,
    /// `none`, or an algorithm that the issuer's keys don't allow.
    #[error("the token's algorithm is not one that its issuer's keys allow")]
    AlgorithmRefused,
    /// Not an access token: an ID, refresh or logout token.
    #[error("the token is not an access token")]
    TypeRefused,
    /// `iss` is none of the configured issuers.
    #[error("the token's issuer is not trusted")]
    UnknownIssuer,
    /// No current key of the issuer has the token's `kid` and algorithm.
    #[error("the token's key is not among its issuer's keys")]
    UnknownKey,
    /// The signature doesn't verify.
    #[error("the token's signature does not verify")]
    BadSignature,
    /// `aud` doesn't name this resource.
    #[error("the token's audience does not name this resource")]
    WrongAudience,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is ahead.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat` or `auth_time` is ahead of this clock by more than the allowed skew.
    #[error("the token claims to be from the future")]
    FromTheFuture,
    /// A claim that must be there isn't.
    #[error("the token lacks the claim {0}")]
    ClaimMissing(&'static str),
    /// A claim has the wrong type or is out of range.
    #[error("the token's claim {0} is not usable")]
    ClaimInvalid(&'static str),
    /// A local token that lives longer than `authentication.jwt.expiration`.
    #[error("the token's lifetime is longer than allowed")]
    LifetimeTooLong,
    /// The proof of possession (RFC 9449) is missing or bad: a token that is bound to a key is no bearer token.
    #[error("{0}")]
    Proof(ProofError),
    /// Not bound to a client certificate (RFC 8705 §3), where every token must be.
    #[error("the token is not bound to the client certificate, and must be")]
    CertificateUnbound,
    /// No `sid`, no `auth_time` and no `amr`: software without a person, whose client is not marked `service` or whose
    /// token is not bound to its certificate.
    #[error("the token is not from a login of a person")]
    NoPerson,
    /// The provider says that it is not good any more.
    #[error("the token was revoked")]
    Revoked,
    /// The provider gave no answer to whether it is.
    #[error("the identity provider does not say whether the token is still good")]
    IntrospectionUnavailable,
    /// A name that several people share, of which nobody can say who it was.
    #[error("the token's subject is a name that several people share")]
    SharedSubject,
    /// A local token that may be used once, and was.
    #[error("the token was used before")]
    UsedBefore,
    /// Valid, but without a proof of a second factor. Holds who it was, for the audit event.
    #[error("the login has no proof of a second factor")]
    SecondFactorMissing(Arc<Authenticated>),
    /// The issuer's keys were never fetched, or are older than the staleness limit.
    #[error("the identity provider's keys are not available")]
    KeysUnavailable,
}

impl AuthnError {
    /// The reason as a stable snake_case word: audit's `reason`, the metric's label.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "token_missing",
            Self::SeveralCredentials => "several_credentials",
            Self::SchemeRefused => "scheme_refused",
            Self::HeaderMalformed => "header_malformed",
            Self::TooLarge => "token_too_large",
            Self::NotAToken => "not_a_token",
            Self::DuplicateMember => "duplicate_member",
            Self::ExtensionRefused => "extension_refused",
            Self::EmbeddedKey => "embedded_key",
            Self::AlgorithmRefused => "algorithm_refused",
            Self::TypeRefused => "token_type_refused",
            Self::UnknownIssuer => "unknown_issuer",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::WrongAudience => "wrong_audience",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::FromTheFuture => "token_from_the_future",
            Self::ClaimMissing(_) => "claim_missing",
            Self::ClaimInvalid(_) => "claim_invalid",
            Self::LifetimeTooLong => "lifetime_too_long",
            Self::Proof(error) => error.code(),
            Self::CertificateUnbound => "certificate_unbound",
            Self::NoPerson => "no_person",
            Self::Revoked => "token_revoked",
            Self::IntrospectionUnavailable => "introspection_unavailable",
            Self::SharedSubject => "shared_subject",
            Self::UsedBefore => "token_used_before",
            Self::SecondFactorMissing(_) => "second_factor_missing",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }

    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            Self::KeysUnavailable | Self::IntrospectionUnavailable => Fault::IdentityProvider,
            _ => Fault::Caller,
        }
    }

    /// Whether a credential was presented: only then is the refusal a `failed_login_attempt`.
    pub fn presented(&self) -> bool {
        !matches!(self, Self::Missing)
    }

    /// The principal, where the token was good and only the second factor was not.
    pub fn principal(&self) -> Option<&Arc<Authenticated>> {
        match self {
            Self::SecondFactorMissing(who) => Some(who),
            _ => None,
        }
    }
}

impl std::fmt::Debug for AuthnError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ClaimMissing(claim) | Self::ClaimInvalid(claim) => {
                write!(f, "AuthnError({}: {claim})", self.code())
            }
            _ => write!(f, "AuthnError({})", self.code()),
        }
    }
}
