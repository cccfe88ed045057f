//! People of local tokens, who came past the real verification.

use std::sync::Arc;

use safeguard::authn::{
    Authenticated, Authenticator, AuthnSettings, BearerToken, LocalSettings, MintRequest, Secret,
    mint,
};
use serde_json::{Map, Value};

fn local() -> LocalSettings {
    LocalSettings {
        secret: Secret::new(b"test-only-secret-of-local-tokens-0123456789".to_vec()),
        previous: None,
        issuer: "mcp-server-prod".to_owned(),
        audience: "healthcare-agents".to_owned(),
        expiration_max: 3600,
        once: false,
    }
}

/// What takes their tokens.
pub(crate) fn authenticator() -> Authenticator {
    Authenticator::new(AuthnSettings::local_only(local())).unwrap()
}

/// A physician's login at `at`, in a session of its own, with further claims.
pub(crate) async fn login(
    authenticator: &Authenticator,
    subject: &str,
    claims: Map<String, Value>,
    at: i64,
) -> Arc<Authenticated> {
    let request = MintRequest {
        subject: subject.to_owned(),
        roles: vec!["physician".to_owned()],
        amr: vec!["pwd".to_owned(), "otp".to_owned()],
        purpose: Some("TREAT".to_owned()),
        claims,
        expires_seconds: None,
        now: at,
    };
    let token = mint(&local(), &request).unwrap();
    let token = BearerToken::from_bytes(token.as_bytes()).unwrap();
    authenticator.authenticate(&token, at).await.unwrap()
}
