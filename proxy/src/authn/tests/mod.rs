//! The whole way from a token's text to a principal or a refusal.

mod double;
mod dpop;
mod issuers;
mod keycloak;
mod local;
mod negative;
mod rotation;

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

/// Noon of a day in 2027, in Unix seconds.
const NOW: i64 = 1_800_000_000;
const SECRET: &[u8] = b"a local secret of 32 bytes or so";

fn b64(bytes: impl AsRef<[u8]>) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
}

/// Takes a header and a payload as text, so that what no serializer would write can be written.
fn signing_input(header: &str, payload: &str) -> String {
    format!("{}.{}", b64(header), b64(payload))
}

fn hs256(secret: &[u8], header: &str, payload: &str) -> String {
    let input = signing_input(header, payload);
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    let signature = aws_lc_rs::hmac::sign(&key, input.as_bytes());
    format!("{input}.{}", b64(signature))
}

/// `base` with the members of `changes`; a null there removes the member.
fn with(base: &Value, changes: &Value) -> Value {
    let mut merged = base.as_object().unwrap().clone();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            merged.remove(name);
        } else {
            merged.insert(name.clone(), value.clone());
        }
    }
    Value::Object(merged)
}

fn second_factor() -> SecondFactorSettings {
    SecondFactorSettings {
        required: true,
        totp: true,
        webauthn: true,
        acr_values: vec!["mfa".to_owned()],
    }
}

fn local_settings() -> LocalSettings {
    LocalSettings {
        secret: Secret::new(SECRET.to_vec()),
        previous: None,
        issuer: "mcp-server-prod".to_owned(),
        audience: "healthcare-agents".to_owned(),
        expiration_max: 3600,
        once: false,
    }
}

fn settings(local: Option<LocalSettings>, keycloak: Option<ProviderSettings>) -> AuthnSettings {
    AuthnSettings {
        local,
        providers: keycloak.into_iter().collect(),
        second_factor: second_factor(),
        binding: BindingSettings::default(),
        shared_subjects: Vec::new(),
        public_url: "https://agents.example.com/mcp".to_owned(),
        clock_skew_seconds: 5,
        cached_tokens_max: 64,
    }
}

/// Whether the tokens of the one provider could be verified now, and when its keys were had.
fn provider_keys(authenticator: &Authenticator) -> (bool, Option<i64>) {
    let one = authenticator.providers().next();
    one.map_or((false, None), |one| (one.has_keys, one.refreshed_at))
}

async fn ask(
    authenticator: &Authenticator,
    token: &str,
    now: i64,
) -> Result<Arc<Authenticated>, AuthnError> {
    authenticator
        .authenticate(&BearerToken::from_bytes(token.as_bytes())?, now)
        .await
}

async fn code(authenticator: &Authenticator, token: &str, now: i64) -> &'static str {
    ask(authenticator, token, now)
        .await
        .map_or_else(|error| error.code(), |_| "ok")
}

#[test]
fn settings_that_let_nobody_or_too_many_in_are_refused() {
    let refused = |settings| Authenticator::new(settings).unwrap_err().to_string();
    assert!(refused(settings(None, None)).contains("nobody could log in"));
    let short = LocalSettings {
        secret: Secret::new(vec![1; 31]),
        ..local_settings()
    };
    assert!(refused(settings(Some(short), None)).contains("shorter than 32"));
    for url in [
        "http://auth.example.com",
        "ftp://127.0.0.1",
        "auth.example.com",
        "https://u:p@h",
    ] {
        let keycloak = ProviderSettings::new(url, "r", "https://a/mcp");
        assert!(
            refused(settings(None, Some(keycloak))).contains("https"),
            "{url}"
        );
    }
    let mut same = local_settings();
    same.issuer = "https://auth.example.com/realms/r".to_owned();
    let keycloak = ProviderSettings::new("https://auth.example.com/", "r", "https://a/mcp");
    assert!(refused(settings(Some(same), Some(keycloak))).contains("one issuer"));
    let mut unprovable = settings(Some(local_settings()), None);
    unprovable.second_factor = SecondFactorSettings {
        required: true,
        ..SecondFactorSettings::default()
    };
    assert!(refused(unprovable).contains("second factor"));
    let mut ca = ProviderSettings::new("https://auth.example.com", "r", "https://a/mcp");
    ca.ca_file = Some("/nonexistent/ca.pem".into());
    assert!(refused(settings(None, Some(ca))).contains("ca.pem"));
}

#[tokio::test]
async fn nothing_printed_holds_a_secret_or_a_token() {
    let canary = "canary-canary-canary-canary-canary";
    let mut local = local_settings();
    local.secret = Secret::new(canary.as_bytes().to_vec());
    let request = MintRequest {
        subject: canary.to_owned(),
        amr: vec!["otp".to_owned()],
        now: NOW,
        ..MintRequest::default()
    };
    let token = mint(&local, &request).unwrap();
    let signature = token.rsplit('.').next().unwrap().to_owned();
    let settings = settings(Some(local), None);
    let mut printed = format!("{settings:?}");
    let authenticator = Authenticator::new(settings).unwrap();
    let who = ask(&authenticator, &token, NOW).await.unwrap();
    let late = ask(&authenticator, &token, NOW + 3600).await.unwrap_err();
    let forged = format!("{}x", token.as_str());
    let bad = ask(&authenticator, &forged, NOW).await.unwrap_err();
    printed += &format!("{who:?} {late:?} {late} {bad:?} {bad} {authenticator:?}");
    printed += &format!("{:?}", AuthnError::SecondFactorMissing(who));
    let inspection = inspect(&authenticator, &token, NOW).await;
    printed += &format!("{inspection:?}");
    assert!(!printed.contains("canary"), "{printed}");
    let shown = inspection.to_string();
    assert!(shown.contains("accepted") && !shown.contains(&signature));
}

fn user_claims() -> Value {
    json!({"sub": "dr-lee", "iat": NOW - 10, "exp": NOW + 600, "auth_time": NOW - 20, "sid": "s-1",
           "jti": "j-1", "amr": ["pwd", "otp"]})
}
