//! JWS compact form (RFC 7515 §7.1), read strictly and before anything is trusted.
//!
//! What is refused here is refused for every issuer: extensions (`crit`, RFC 8725 §3.10), keys that the token
//! brings itself, `none`, and every algorithm that no key here could have.

use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use super::error::AuthnError;
use super::json;

/// Header members that nothing here supports.
const EXTENSIONS: [&str; 5] = ["crit", "b64", "zip", "enc", "cty"];
/// Header members with which a token would bring its own key. Hints (`x5t`) are ignored.
const KEYS: [&str; 4] = ["jwk", "jku", "x5u", "x5c"];
/// The longest key id, in bytes.
const KID_BYTES_MAX: usize = 256;

/// What the header's `typ` says (RFC 7519 §5.1, RFC 9068 §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typ {
    Absent,
    Jwt,
    AccessToken,
    Logout,
}

/// A token taken apart. Nothing in it is to be trusted before [`Jws::verify`].
pub(super) struct Jws<'t> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    pub(super) typ: Typ,
    pub(super) header: Map<String, Value>,
    pub(super) payload: Map<String, Value>,
    signed: &'t str,
    signature: Vec<u8>,
}

/// The three parts of anything in compact form.
pub(super) struct Parts<'t> {
    pub(super) header: Map<String, Value>,
    pub(super) payload: Map<String, Value>,
    signed: &'t str,
    signature: Vec<u8>,
}

impl<'t> Parts<'t> {
    /// Takes a token apart, whatever it is for.
    pub(super) fn of(token: &'t str) -> Result<Self, AuthnError> {
        Self::judged(token, |_| Ok(()))
    }

    /// The header is judged before anything else is decoded.
    fn judged(
        token: &'t str,
        judge: impl Fn(&Map<String, Value>) -> Result<(), AuthnError>,
    ) -> Result<Self, AuthnError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(AuthnError::NotAToken)?;
        let (header, payload) = signed.split_once('.').ok_or(AuthnError::NotAToken)?;
        if payload.contains('.') {
            return Err(AuthnError::NotAToken);
        }
        let header = json::object(&decode(header)?)?;
        judge(&header)?;
        Ok(Self {
            header,
            payload: json::object(&decode(payload)?)?,
            signed,
            signature: decode(signature)?,
        })
    }
}

/// Checks a signature under a key that was made for the algorithm.
pub(super) fn verify(
    parts: &Parts<'_>,
    algorithm: Algorithm,
    key: &DecodingKey,
) -> Result<(), AuthnError> {
    signed_by(parts.signed, &parts.signature, algorithm, key)
}

fn signed_by(
    signed: &str,
    signature: &Vec<u8>,
    algorithm: Algorithm,
    key: &DecodingKey,
) -> Result<(), AuthnError> {
    (DEFAULT_PROVIDER.verifier_factory)(&algorithm, key)
        .map_err(|_| AuthnError::AlgorithmRefused)?
        .verify(signed.as_bytes(), signature)
        .map_err(|_| AuthnError::BadSignature)
}

impl<'t> Jws<'t> {
    /// Takes a token apart.
    pub(super) fn parse(token: &'t str) -> Result<Self, AuthnError> {
        let parts = Parts::judged(token, |header| {
            refuse_members(header, &EXTENSIONS, &AuthnError::ExtensionRefused)?;
            refuse_members(header, &KEYS, &AuthnError::EmbeddedKey)?;
            algorithm(header)?;
            typ(header).map(drop)
        })?;
        Ok(Self {
            algorithm: algorithm(&parts.header)?,
            kid: kid(&parts.header)?,
            typ: typ(&parts.header)?,
            header: parts.header,
            payload: parts.payload,
            signed: parts.signed,
            signature: parts.signature,
        })
    }

    /// `iss` as it stands: good for choosing the verifier, which then demands it.
    pub(super) fn issuer(&self) -> Result<&str, AuthnError> {
        match self.payload.get("iss") {
            Some(Value::String(issuer)) => Ok(issuer),
            Some(_) => Err(AuthnError::ClaimInvalid("iss")),
            None => Err(AuthnError::ClaimMissing("iss")),
        }
    }

    /// Checks the signature under a key that was made for the header's algorithm.
    /// Symmetric signatures are compared in constant time.
    pub(super) fn verify(&self, key: &DecodingKey) -> Result<(), AuthnError> {
        signed_by(self.signed, &self.signature, self.algorithm, key)
    }
}

/// Base64url without padding; whitespace, other alphabets and stray trailing bits are refused.
fn decode(part: &str) -> Result<Vec<u8>, AuthnError> {
    base64_simd::URL_SAFE_NO_PAD
        .decode_to_vec(part)
        .map_err(|_| AuthnError::NotAToken)
}

fn refuse_members(
    header: &Map<String, Value>,
    names: &[&str],
    error: &AuthnError,
) -> Result<(), AuthnError> {
    if names.iter().any(|name| header.contains_key(*name)) {
        return Err(error.clone());
    }
    Ok(())
}

fn algorithm(header: &Map<String, Value>) -> Result<Algorithm, AuthnError> {
    match header.get("alg").and_then(Value::as_str) {
        Some("HS256") => Ok(Algorithm::HS256),
        Some("RS256") => Ok(Algorithm::RS256),
        Some("ES256") => Ok(Algorithm::ES256),
        Some("EdDSA") => Ok(Algorithm::EdDSA),
        _ => Err(AuthnError::AlgorithmRefused),
    }
}

fn kid(header: &Map<String, Value>) -> Result<Option<String>, AuthnError> {
    match header.get("kid") {
        None => Ok(None),
        Some(Value::String(kid)) if (1..=KID_BYTES_MAX).contains(&kid.len()) => {
            Ok(Some(kid.clone()))
        }
        Some(_) => Err(AuthnError::UnknownKey),
    }
}

fn typ(header: &Map<String, Value>) -> Result<Typ, AuthnError> {
    let text = match header.get("typ") {
        None => return Ok(Typ::Absent),
        Some(Value::String(text)) => text.to_ascii_lowercase(),
        Some(_) => return Err(AuthnError::TypeRefused),
    };
    match text.strip_prefix("application/").unwrap_or(&text) {
        "jwt" => Ok(Typ::Jwt),
        "at+jwt" => Ok(Typ::AccessToken),
        // OpenID Connect Back-Channel Logout 1.0 §2.4: never an access token.
        "logout+jwt" => Ok(Typ::Logout),
        _ => Err(AuthnError::TypeRefused),
    }
}
