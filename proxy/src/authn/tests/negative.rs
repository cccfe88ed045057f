//! The negative set: each way in which a token can be made to mislead, and the reason for which it is refused.

use serde_json::{Value, json};

use super::double::{Provider, Signer};
use super::*;

struct Lab {
    provider: Arc<Provider>,
    rsa: Signer,
    ec: Signer,
    authenticator: Authenticator,
}

impl Lab {
    async fn start() -> Self {
        let (rsa, ec) = (Signer::rsa(), Signer::ec());
        let provider = Provider::start(&[rsa.jwk("rsa"), ec.jwk("ec")]).await;
        let settings = settings(Some(local_settings()), Some(provider.settings()));
        Self {
            authenticator: Authenticator::new(settings).unwrap(),
            provider,
            rsa,
            ec,
        }
    }

    fn claims(&self) -> Value {
        with(
            &user_claims(),
            &json!({"iss": self.provider.issuer(), "aud": "https://agents.example.com/mcp",
                    "typ": "Bearer", "azp": "agent", "realm_access": {"roles": ["physician"]}}),
        )
    }

    fn header(changes: &Value) -> String {
        with(
            &json!({"alg": "RS256", "typ": "JWT", "kid": "rsa"}),
            changes,
        )
        .to_string()
    }

    async fn code(&self, token: &str) -> &'static str {
        code(&self.authenticator, token, NOW).await
    }

    /// A token that the provider's own RSA key signed, so that nothing but the change is wrong.
    async fn signed(&self, header: &str, payload: &str) -> &'static str {
        self.code(&self.rsa.sign(header, payload)).await
    }

    async fn with_header(&self, changes: Value) -> &'static str {
        let payload = self.claims().to_string();
        self.signed(&Self::header(&changes), &payload).await
    }

    async fn with_claims(&self, changes: Value) -> &'static str {
        let payload = with(&self.claims(), &changes).to_string();
        self.signed(&Self::header(&json!({})), &payload).await
    }

    /// The payload with one member's text replaced by what no serializer would write.
    async fn with_text(&self, name: &str, text: &str) -> &'static str {
        let whole = with(&self.claims(), &json!({name: "@"})).to_string();
        let payload = whole.replace(&format!("\"{name}\":\"@\""), &format!("\"{name}\":{text}"));
        assert_ne!(whole, payload);
        self.signed(&Self::header(&json!({})), &payload).await
    }
}

#[tokio::test]
async fn the_set_starts_from_a_token_that_is_taken() {
    let lab = Lab::start().await;
    assert_eq!(lab.with_header(json!({})).await, "ok");
    let ec = lab.ec.token("ec", &lab.claims());
    assert_eq!(lab.code(&ec).await, "ok");
}

#[tokio::test]
async fn headers_that_choose_their_own_rules_are_refused() {
    let lab = Lab::start().await;
    let own = lab.rsa.jwk("rsa");
    for (changes, reason) in [
        (json!({"alg": "none"}), "algorithm_refused"),
        (json!({"alg": "None"}), "algorithm_refused"),
        (json!({"alg": "nOnE"}), "algorithm_refused"),
        (json!({"alg": ""}), "algorithm_refused"),
        (json!({"alg": null}), "algorithm_refused"),
        (json!({"alg": ["RS256"]}), "algorithm_refused"),
        (json!({"alg": "rs256"}), "algorithm_refused"),
        (json!({"alg": "RS1"}), "algorithm_refused"),
        (json!({"alg": "HS384"}), "algorithm_refused"),
        (json!({"alg": "HS256"}), "algorithm_refused"),
        (json!({"alg": "ES256"}), "algorithm_refused"),
        (json!({"alg": "PS256"}), "algorithm_refused"),
        (json!({"kid": "ec"}), "algorithm_refused"),
        (json!({"kid": null}), "unknown_key"),
        (json!({"kid": ""}), "unknown_key"),
        (json!({"kid": 1}), "unknown_key"),
        (json!({"kid": "RSA"}), "unknown_key"),
        (json!({"kid": "rsa\u{0}"}), "unknown_key"),
        (json!({"kid": "../../../../dev/null"}), "unknown_key"),
        (json!({"kid": "rsa' OR '1'='1"}), "unknown_key"),
        (json!({"kid": "| id"}), "unknown_key"),
        (json!({"kid": "k".repeat(257)}), "unknown_key"),
        (json!({"kid": "k".repeat(9000)}), "unknown_key"),
        (json!({"jwk": own}), "embedded_key"),
        (json!({"jku": "https://evil.example/jwks"}), "embedded_key"),
        (json!({"x5u": "https://evil.example/x"}), "embedded_key"),
        (json!({"x5c": ["AAAA"]}), "embedded_key"),
        (json!({"crit": []}), "extension_refused"),
        (json!({"crit": ["exp"], "exp": NOW}), "extension_refused"),
        (json!({"crit": ["made-up"]}), "extension_refused"),
        (json!({"b64": false, "crit": ["b64"]}), "extension_refused"),
        (json!({"b64": true}), "extension_refused"),
        (json!({"zip": "DEF"}), "extension_refused"),
        (json!({"enc": "A256GCM"}), "extension_refused"),
        (json!({"cty": "JWT"}), "extension_refused"),
        (json!({"typ": "logout+jwt"}), "token_type_refused"),
        (json!({"typ": "dpop+jwt"}), "token_type_refused"),
        (json!({"typ": "Refresh"}), "token_type_refused"),
        (json!({"typ": 1}), "token_type_refused"),
        (json!({"typ": null}), "token_type_refused"),
    ] {
        let shown = changes.to_string();
        assert_eq!(lab.with_header(changes).await, reason, "{shown}");
    }
}

#[tokio::test]
async fn a_public_key_signs_nothing() {
    let lab = Lab::start().await;
    let payload = lab.claims().to_string();
    for kid in ["rsa", "ec"] {
        let header = json!({"alg": "HS256", "typ": "JWT", "kid": kid}).to_string();
        for signer in [&lab.rsa, &lab.ec] {
            let token = hs256(&signer.public_bytes(), &header, &payload);
            assert_eq!(lab.code(&token).await, "algorithm_refused");
        }
    }
    // As a local token it is one that the secret did not sign.
    let local = json!({"iss": "mcp-server-prod", "aud": "healthcare-agents"});
    let payload = with(&lab.claims(), &local).to_string();
    let header = json!({"alg": "HS256", "typ": "JWT"}).to_string();
    let token = hs256(&lab.rsa.public_bytes(), &header, &payload);
    assert_eq!(lab.code(&token).await, "bad_signature");
    assert_eq!(
        lab.code(&lab.rsa.token("rsa", &with(&lab.claims(), &local)))
            .await,
        "algorithm_refused"
    );
}

#[tokio::test]
async fn claims_that_are_not_what_they_must_be_are_refused() {
    let lab = Lab::start().await;
    let issuer = lab.provider.issuer();
    let upper = issuer.to_uppercase();
    let homoglyph = issuer.replacen('a', "\u{430}", 1);
    for (changes, reason) in [
        (json!({"iss": format!("{issuer}/")}), "unknown_issuer"),
        (json!({"iss": upper}), "unknown_issuer"),
        (json!({"iss": homoglyph}), "unknown_issuer"),
        (json!({"iss": format!("{issuer}\u{0}")}), "unknown_issuer"),
        (json!({"iss": format!("{issuer}\u{301}")}), "unknown_issuer"),
        (
            json!({"iss": format!("{issuer}\u{200b}")}),
            "unknown_issuer",
        ),
        (json!({"iss": format!(" {issuer}")}), "unknown_issuer"),
        (json!({"iss": [issuer]}), "claim_invalid"),
        (json!({"iss": null}), "claim_missing"),
        (json!({"typ": "ID"}), "token_type_refused"),
        (json!({"typ": "Refresh"}), "token_type_refused"),
        (json!({"typ": "Logout"}), "token_type_refused"),
        (json!({"typ": "bearer"}), "token_type_refused"),
        (json!({"typ": null}), "token_type_refused"),
        (json!({"aud": null}), "claim_missing"),
        (json!({"aud": []}), "wrong_audience"),
        (json!({"aud": ""}), "wrong_audience"),
        (json!({"aud": 1}), "claim_invalid"),
        (json!({"aud": {"a": 1}}), "claim_invalid"),
        (
            json!({"aud": ["https://agents.example.com/mcp", 1]}),
            "claim_invalid",
        ),
        (
            json!({"aud": [["https://agents.example.com/mcp"]]}),
            "claim_invalid",
        ),
        (
            json!({"aud": "https://agents.example.com"}),
            "wrong_audience",
        ),
        (
            json!({"aud": "https://agents.example.com/mcp/x"}),
            "wrong_audience",
        ),
        (
            json!({"aud": "https://AGENTS.example.com/mcp"}),
            "wrong_audience",
        ),
        (json!({"exp": null}), "claim_missing"),
        (json!({"exp": "1800000600"}), "claim_invalid"),
        (json!({"exp": -1}), "claim_invalid"),
        (json!({"exp": true}), "claim_invalid"),
        (json!({"exp": [NOW + 60]}), "claim_invalid"),
        (json!({"exp": 1e300}), "claim_invalid"),
        (json!({"exp": NOW}), "token_expired"),
        (json!({"exp": 0}), "token_expired"),
        (json!({"nbf": NOW + 6}), "token_not_yet_valid"),
        (json!({"nbf": "now"}), "claim_invalid"),
        (json!({"iat": NOW + 6}), "token_from_the_future"),
        (json!({"iat": null}), "claim_missing"),
        (json!({"auth_time": NOW + 6}), "token_from_the_future"),
        (json!({"auth_time": "yesterday"}), "claim_invalid"),
        (json!({"sub": null}), "claim_missing"),
        (json!({"sub": ""}), "claim_invalid"),
        (json!({"sub": " dr-lee"}), "claim_invalid"),
        (json!({"sub": "dr-lee\u{0}"}), "claim_invalid"),
        (json!({"sub": "s".repeat(256)}), "claim_invalid"),
        (json!({"sub": 7}), "claim_invalid"),
        (json!({"amr": "otp"}), "claim_invalid"),
        (json!({"amr": []}), "second_factor_missing"),
        (json!({"realm_access": "physician"}), "claim_invalid"),
        (
            json!({"realm_access": {"roles": "physician"}}),
            "claim_invalid",
        ),
        (json!({"jti": 1}), "claim_invalid"),
    ] {
        let shown = changes.to_string();
        assert_eq!(lab.with_claims(changes).await, reason, "{shown}");
    }
}

#[tokio::test]
async fn json_that_two_parsers_could_read_in_two_ways_is_refused() {
    let lab = Lab::start().await;
    for (name, text, reason) in [
        ("exp", "1e400", "not_a_token"),
        ("exp", "-1e400", "not_a_token"),
        ("exp", "99999999999999999999999999", "claim_invalid"),
        ("exp", "NaN", "not_a_token"),
        ("exp", "Infinity", "not_a_token"),
        ("exp", "0x6b49d200", "not_a_token"),
        ("exp", "01800000600", "not_a_token"),
        ("sub", "\"a\",\"sub\":\"b\"", "duplicate_member"),
        ("sub", "\"a\",\"s\\u0075b\":\"b\"", "duplicate_member"),
        ("extra", "{\"a\":1,\"a\":2}", "duplicate_member"),
        ("extra", "\"\\ud800\"", "not_a_token"),
        ("extra", "'a'", "not_a_token"),
        ("extra", "1,", "not_a_token"),
        ("extra", "1/**/", "not_a_token"),
    ] {
        assert_eq!(lab.with_text(name, text).await, reason, "{name} {text}");
    }
    let payload = lab.claims().to_string();
    let good = Lab::header(&json!({}));
    let twice = good.replace("{", r#"{"alg":"none","#);
    assert_eq!(lab.signed(&twice, &payload).await, "duplicate_member");
    let kids = good.replace("{", r#"{"kid":"ec","#);
    assert_eq!(lab.signed(&kids, &payload).await, "duplicate_member");
    for (header, payload) in [
        (format!("\u{feff}{good}"), payload.clone()),
        (good.clone(), format!("\u{feff}{payload}")),
        (good.clone(), format!("{payload}{{}}")),
        (good.clone(), format!("[{payload}]")),
        (good.clone(), "null".to_owned()),
        (good.clone(), String::new()),
        (good.clone(), "[".repeat(4000)),
        (String::new(), payload.clone()),
        ("[]".to_owned(), payload.clone()),
    ] {
        assert_eq!(lab.signed(&header, &payload).await, "not_a_token");
    }
}

#[tokio::test]
async fn a_token_in_another_form_is_refused() {
    let lab = Lab::start().await;
    let good = lab.rsa.token("rsa", &lab.claims());
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else {
        panic!("three parts");
    };
    let cut = |text: &str| {
        let mut text = text.to_owned();
        text.pop();
        text
    };
    let nested = lab
        .rsa
        .sign(&Lab::header(&json!({})), &format!("\"{good}\""));
    for (token, reason) in [
        (format!("{header}.{payload}"), "not_a_token"),
        (format!("{header}.{payload}.{signature}."), "not_a_token"),
        (format!("{header}.{payload}.{signature}.a.b"), "not_a_token"),
        (format!(".{payload}.{signature}"), "not_a_token"),
        (format!("{header}..{signature}"), "not_a_token"),
        (format!("{header}.{payload}."), "bad_signature"),
        (format!("{header}.{payload}.AAAA"), "bad_signature"),
        (
            format!("{header}.{payload}.{}", b64([0; 64])),
            "bad_signature",
        ),
        (
            format!("{header}.{payload}.{}", b64([0; 256])),
            "bad_signature",
        ),
        (format!("{header}=.{payload}.{signature}"), "not_a_token"),
        (format!("{header}.{payload}==.{signature}"), "not_a_token"),
        (format!("{header}.{payload}.{signature}="), "not_a_token"),
        (format!("{header}.{payload}.+{signature}"), "not_a_token"),
        (format!("{header}.{payload}.{signature}/"), "not_a_token"),
        (
            format!("{header}. {payload}.{signature}"),
            "header_malformed",
        ),
        (
            format!("{header}.{payload}.{signature}\n"),
            "header_malformed",
        ),
        (nested, "not_a_token"),
    ] {
        assert_eq!(lab.code(&token).await, reason, "{token}");
    }
    for token in [
        format!("{}.{payload}.{signature}", cut(header)),
        format!("{header}.{}.{signature}", cut(payload)),
        format!("{header}.{payload}.{}", cut(signature)),
    ] {
        let reason = lab.code(&token).await;
        assert!(
            matches!(reason, "not_a_token" | "bad_signature"),
            "{reason}"
        );
    }
    // The last character of 256 bytes has four bits that mean nothing: other ones are another spelling of the same bytes.
    let last = signature.chars().last().unwrap();
    for other in ('A'..='Z').filter(|c| *c != last) {
        let spelled = format!("{header}.{payload}.{}{other}", cut(signature));
        let reason = lab.code(&spelled).await;
        assert!(
            matches!(reason, "not_a_token" | "bad_signature"),
            "{other}: {reason}"
        );
    }
    assert_eq!(lab.code(&good).await, "ok");
}
