//! Local HS256 tokens, for development and the demo. Production logins come from the identity provider.

use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Map, Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::bearer::TOKEN_BYTES_MAX;
use super::settings::LocalSettings;

const HEADER: &[u8] = br#"{"alg":"HS256","typ":"JWT"}"#;
/// Claims that the mint writes itself.
const OWN: [&str; 12] = [
    "iss",
    "sub",
    "aud",
    "iat",
    "nbf",
    "exp",
    "auth_time",
    "jti",
    "sid",
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

/// Makes a token that [`Authenticator`](super::Authenticator) with the same settings verifies.
///
/// # Errors
/// [`MintError`].
pub fn mint(
    settings: &LocalSettings,
    request: &MintRequest,
) -> Result<Zeroizing<String>, MintError> {
    let claims = claims(settings, request)?;
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
