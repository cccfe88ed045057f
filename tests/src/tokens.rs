//! Local HS256 tokens, made here byte by byte and not by the product, so that each claim can be wrong on purpose.

use base64_simd::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// What `${JWT_SECRET}` is in every test.
pub const SECRET: &str = "test-only-secret-of-local-tokens-0123456789";

/// Seconds since the epoch.
#[must_use]
pub fn now() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}

/// The claims of a physician of cardiology with a second factor, as `auth.yaml` and `policy.yaml` want them.
#[must_use]
pub fn physician(subject: &str) -> Value {
    claims(subject, "physician", "TREAT")
}

/// The claims of a person with one role and a second factor.
#[must_use]
pub fn claims(subject: &str, role: &str, purpose: &str) -> Value {
    json!({
        "iss": "mcp-server-prod", "aud": "healthcare-agents", "sub": subject, "jti": uuid::Uuid::new_v4(), "sid": uuid::Uuid::new_v4(),
        "iat": now(), "nbf": now() - 1, "exp": now() + 1800, "auth_time": now(), "amr": ["pwd", "otp"],
        "roles": [role], "purpose_of_use": purpose, "department": "cardiology",
    })
}

/// `claims` with `changes` laid over them; a null takes a claim away.
#[must_use]
pub fn with(mut claims: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().expect("an object of claims") {
        let members = claims.as_object_mut().expect("an object of claims");
        if value.is_null() {
            members.remove(name)
        } else {
            members.insert(name.clone(), value.clone())
        };
    }
    claims
}

/// The token of `claims`, signed with [`SECRET`].
#[must_use]
pub fn sign(claims: &Value) -> String {
    sign_as(&json!({"alg": "HS256", "typ": "JWT"}), claims, SECRET)
}

/// A token with any header, signed with any secret.
#[must_use]
pub fn sign_as(header: &Value, claims: &Value, secret: &str) -> String {
    let signed = format!(
        "{}.{}",
        BASE64.encode_to_string(header.to_string()),
        BASE64.encode_to_string(claims.to_string())
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length");
    mac.update(signed.as_bytes());
    let signature = BASE64.encode_to_string(mac.finalize().into_bytes());
    format!("{signed}.{signature}")
}
