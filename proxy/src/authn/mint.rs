//! Local HS256 tokens: for development and the demo from the command line, and for logins at the identity provider.

use std::sync::Arc;

use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Map, Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::authenticated::Authenticated;
use super::bearer::TOKEN_BYTES_MAX;
use super::error::AuthnError;
use super::settings::LocalSettings;
use super::tokens::Carried;

const HEADER: &[u8] = br#"{"alg":"HS256","typ":"JWT"}"#;
/// Claims that the mint writes itself.
const OWN: [&str; 13] = [
    "iss",
    "sub",
    "aud",
    "iat",
    "nbf",
    "exp",
    "auth_time",
    "jti",
    "sid",
    "login",
    "typ",
    "roles",
    "amr",
];

/// What a new token says.
#[derive(Debug, Clone, Default)]
pub struct MintRequest {
    /// `sub`.
    pub subject: String,
    /// `roles`.
    pub roles: Vec<String>,
    /// `amr`, left out when empty.
    pub amr: Vec<String>,
    /// `purpose_of_use`.
    pub purpose: Option<String>,
    /// Further claims.
    pub claims: Map<String, Value>,
    /// The lifetime in seconds; `expiration_max` without it.
    pub expires_seconds: Option<u32>,
    /// Unix seconds: `iat` and `auth_time`.
    pub now: i64,
}

/// Why no token was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The subject is empty or too long.
    #[error("the subject must have 1 to 255 bytes")]
    Subject,
    /// Zero, or longer than `authentication.jwt.expiration`.
    #[error("the lifetime must be 1 to {0} seconds, as authentication.jwt.expiration says")]
    Lifetime(u32),
    /// A further claim that the mint writes itself.
    #[error("the claim {0} is set by its own option or by the mint")]
    OwnClaim(String),
    /// The token would be refused for its size.
    #[error("the token would be longer than {TOKEN_BYTES_MAX} bytes")]
    TooLarge,
    /// The signature could not be made.
    #[error("the token cannot be signed")]
    Signing,
}

/// A token that was made, and who it is.
pub struct Issued {
    /// The token.
    pub token: Zeroizing<String>,
    /// The principal that it is verified as.
    pub who: Arc<Authenticated>,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issued(..)")
    }
}

/// Why a login has no local token.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotIssued {
    /// `authentication.jwt.enabled` is false.
    #[error("local tokens are neither taken nor made here")]
    Off,
    /// It can't be made.
    #[error(transparent)]
    Unmade(MintError),
    /// It would be refused.
    #[error(transparent)]
    Refused(AuthnError),
}

/// Makes a token that [`Authenticator`](super::Authenticator) with the same settings verifies.
///
/// # Errors
/// [`MintError`].
pub fn mint(
    settings: &LocalSettings,
    request: &MintRequest,
) -> Result<Zeroizing<String>, MintError> {
    sign(settings, claims(settings, request)?)
}

/// Makes the token of a login at the identity provider, which ends at `expires_at` (Unix seconds).
///
/// # Errors
/// [`MintError::TooLarge`] for a login that says too much, [`MintError::Lifetime`], [`MintError::Signing`].
pub(super) fn issue(
    settings: &LocalSettings,
    carried: &Carried,
    expires_at: i64,
    now: i64,
) -> Result<Zeroizing<String>, MintError> {
    let lifetime = expires_at.saturating_sub(now);
    if !(1..=i64::from(settings.expiration_max)).contains(&lifetime) {
        return Err(MintError::Lifetime(settings.expiration_max));
    }
    let mut claims = carried.0.clone();
    let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    set("iss", json!(settings.issuer));
    set("aud", json!(settings.audience));
    set("iat", json!(now));
    set("exp", json!(expires_at));
    set("jti", json!(Uuid::new_v4().to_string()));
    sign(settings, claims)
}

fn sign(
    settings: &LocalSettings,
    claims: Map<String, Value>,
) -> Result<Zeroizing<String>, MintError> {
    let payload = Value::Object(claims).to_string();
    let encode = |bytes: &[u8]| base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes);
    let mut token = Zeroizing::new(format!("{}.{}", encode(HEADER), encode(payload.as_bytes())));
    let key = EncodingKey::from_secret(settings.secret.expose());
    let signature = (DEFAULT_PROVIDER.signer_factory)(&Algorithm::HS256, &key)
        .map_err(|_| MintError::Signing)?
        .try_sign(token.as_bytes())
        .map_err(|_| MintError::Signing)?;
    token.push('.');
    token.push_str(&encode(&signature));
    if token.len() > TOKEN_BYTES_MAX {
        return Err(MintError::TooLarge);
    }
    Ok(token)
}

fn claims(
    settings: &LocalSettings,
    request: &MintRequest,
) -> Result<Map<String, Value>, MintError> {
    if !(1..=255).contains(&request.subject.len()) {
        return Err(MintError::Subject);
    }
    let lifetime = request.expires_seconds.unwrap_or(settings.expiration_max);
    if lifetime == 0 || lifetime > settings.expiration_max {
        return Err(MintError::Lifetime(settings.expiration_max));
    }
    let mut claims = request.claims.clone();
    if let Some(own) = claims.keys().find(|name| OWN.contains(&name.as_str())) {
        return Err(MintError::OwnClaim(own.clone()));
    }
    let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    set("iss", json!(settings.issuer));
    set("aud", json!(settings.audience));
    set("sub", json!(request.subject));
    set("roles", json!(request.roles));
    set("iat", json!(request.now));
    set("auth_time", json!(request.now));
    set(
        "exp",
        json!(request.now.saturating_add(i64::from(lifetime))),
    );
    set("jti", json!(Uuid::new_v4().to_string()));
    set("sid", json!(Uuid::new_v4().to_string()));
    if !request.amr.is_empty() {
        set("amr", json!(request.amr));
    }
    if let Some(purpose) = &request.purpose {
        set("purpose_of_use", json!(purpose));
    }
    Ok(claims)
}
