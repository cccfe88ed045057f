//! One proof, taken apart and verified under the key that it brings (RFC 9449 §4.2).

use http::Uri;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::replay::ProofId;
use super::{Asked, ProofError};
use crate::authn::jws::{self, Parts};

/// The longest proof that is looked at, in bytes.
pub const PROOF_BYTES_MAX: usize = 8 * 1024;
/// How old a proof may be, in seconds.
pub const PROOF_SECONDS_MAX: i64 = 60;
/// The longest `jti`, `htu` or member of a key, in bytes: an RSA modulus of 8,192 bits fits.
const MEMBER_BYTES_MAX: usize = 2048;
/// The last second of the year 9999.
const TIME_MAX: f64 = 253_402_300_799.0;
/// Members of private and symmetric keys (RFC 7518 §6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/// Header members beside those of a proof that nothing here supports.
const REFUSED: [&str; 8] = ["crit", "b64", "zip", "enc", "cty", "jku", "x5u", "x5c"];

/// A proof whose signature verified under its own key.
pub(super) struct Proof {
    payload: Map<String, Value>,
    thumbprint: [u8; 32],
    issued_at: i64,
}

impl Proof {
    /// Reads and verifies a proof.
    pub(super) fn parse(text: &str) -> Result<Self, ProofError> {
        if text.len() > PROOF_BYTES_MAX {
            return Err(ProofError::Malformed);
        }
        let parts = Parts::of(text).map_err(|_| ProofError::Malformed)?;
        let header = &parts.header;
        if REFUSED.iter().any(|name| header.contains_key(*name)) || !is_proof(header) {
            return Err(ProofError::Malformed);
        }
        let algorithm = match header.get("alg").and_then(Value::as_str) {
            Some("ES256") => Algorithm::ES256,
            Some("EdDSA" | "Ed25519") => Algorithm::EdDSA,
            Some("PS256") => Algorithm::PS256,
            Some("RS256") => Algorithm::RS256,
            _ => return Err(ProofError::Algorithm),
        };
        let jwk = header.get("jwk").and_then(Value::as_object);
        let (key, thumbprint) = key(jwk.ok_or(ProofError::Key)?, algorithm)?;
        jws::verify(&parts, algorithm, &key).map_err(|_| ProofError::Signature)?;
        let payload = parts.payload;
        let issued_at = time(&payload).ok_or(ProofError::Malformed)?;
        for name in ["jti", "htm", "htu", "ath"] {
            word(&payload, name).ok_or(ProofError::Malformed)?;
        }
        Ok(Self {
            payload,
            thumbprint,
            issued_at,
        })
    }

    /// The key's thumbprint (RFC 7638).
    pub(super) fn thumbprint(&self) -> &[u8; 32] {
        &self.thumbprint
    }

    /// `iat`, in Unix seconds.
    pub(super) fn issued_at(&self) -> i64 {
        self.issued_at
    }

    /// `nonce`.
    pub(super) fn nonce(&self) -> Option<&str> {
        word(&self.payload, "nonce")
    }

    /// Whether it is for a request to the resource at `public`. Query and fragment don't count (RFC 9449 §4.3).
    pub(super) fn is_for(&self, public: Option<&Uri>, asked: Asked<'_>) -> bool {
        let uri = word(&self.payload, "htu").and_then(|htu| htu.parse::<Uri>().ok());
        let (Some(uri), Some(public)) = (uri, public) else {
            return false;
        };
        let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
        let path = |path: &str| path.trim_end_matches('/').to_owned();
        word(&self.payload, "htm") == Some(asked.method)
            && uri.scheme_str() == public.scheme_str()
            && host(&uri) == host(public)
            && port(&uri) == port(public)
            && !uri.authority().is_some_and(|of| of.as_str().contains('@'))
            && path(uri.path()) == path(asked.path)
    }

    /// Whether it is for the token with this SHA-256.
    pub(super) fn is_with(&self, token: &[u8; 32]) -> bool {
        word(&self.payload, "ath")
            .and_then(|ath| base64_simd::URL_SAFE_NO_PAD.decode_to_vec(ath).ok())
            .is_some_and(|ath| ath == token)
    }

    /// What it is remembered by: its key and its `jti`.
    pub(super) fn id(&self) -> ProofId {
        let jti = word(&self.payload, "jti").unwrap_or_default();
        let hash = Sha256::new()
            .chain_update(self.thumbprint)
            .chain_update(jti)
            .finalize();
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(hash.iter()) {
            *to = *from;
        }
        id
    }
}

fn is_proof(header: &Map<String, Value>) -> bool {
    let typ = header.get("typ").and_then(Value::as_str);
    typ.is_some_and(|typ| {
        let typ = typ.to_ascii_lowercase();
        typ.strip_prefix("application/").unwrap_or(&typ) == "dpop+jwt"
    })
}

fn word<'p>(members: &'p Map<String, Value>, name: &str) -> Option<&'p str> {
    let text = members.get(name)?.as_str()?;
    ((1..=MEMBER_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control))
        .then_some(text)
}

fn time(payload: &Map<String, Value>) -> Option<i64> {
    let seconds = payload.get("iat")?.as_f64()?;
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    (0.0..=TIME_MAX)
        .contains(&seconds)
        .then_some(seconds as i64)
}

fn port(uri: &Uri) -> Option<u16> {
    uri.port_u16().or_else(|| match uri.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    })
}

/// The key and its thumbprint: SHA-256 of the required members in the order of their names (RFC 7638 §3).
fn key(
    jwk: &Map<String, Value>,
    algorithm: Algorithm,
) -> Result<(DecodingKey, [u8; 32]), ProofError> {
    if PRIVATE.iter().any(|name| jwk.contains_key(*name)) {
        return Err(ProofError::Key);
    }
    let part = |name: &str| -> Result<&str, ProofError> {
        let text = word(jwk, name).ok_or(ProofError::Key)?;
        // One key has one spelling, which JSON need not escape: else it would have several thumbprints.
        base64_simd::URL_SAFE_NO_PAD
            .decode_to_vec(text)
            .map(|_| text)
            .map_err(|_| ProofError::Key)
    };
    let kind = (word(jwk, "kty"), word(jwk, "crv"));
    let (key, canonical) = match (algorithm, kind) {
        (Algorithm::ES256, (Some("EC"), Some("P-256"))) => {
            let (x, y) = (part("x")?, part("y")?);
            let key = DecodingKey::from_ec_components(x, y);
            let text = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
            (key, text)
        }
        (Algorithm::EdDSA, (Some("OKP"), Some("Ed25519"))) => {
            let x = part("x")?;
            let key = DecodingKey::from_ed_components(x);
            (key, format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#))
        }
        (Algorithm::PS256 | Algorithm::RS256, (Some("RSA"), _)) => {
            let (n, e) = (part("n")?, part("e")?);
            let key = DecodingKey::from_rsa_components(n, e);
            (key, format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#))
        }
        _ => return Err(ProofError::Key),
    };
    let key = key.map_err(|_| ProofError::Key)?;
    Ok((key, Sha256::digest(canonical.as_bytes()).into()))
}
