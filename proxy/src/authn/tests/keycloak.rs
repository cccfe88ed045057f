//! Keycloak's tokens: algorithms, keys, types, audiences.

use std::sync::Arc;

use serde_json::{Value, json};

use super::double::{Provider, Signer};
use super::*;

fn claims(provider: &Provider) -> Value {
    with(
        &user_claims(),
        &json!({"iss": provider.issuer(), "aud": ["account", "https://agents.example.com/mcp/"],
                "typ": "Bearer", "azp": "mcp-server", "realm_access": {"roles": ["physician"]}}),
    )
}

struct Lab {
    provider: Arc<Provider>,
    rsa: Signer,
    authenticator: Authenticator,
}

impl Lab {
    async fn start() -> Self {
        let rsa = Signer::rsa();
        let provider = Provider::start(&[rsa.jwk("rsa")]).await;
        let mut keycloak = provider.settings();
        keycloak.audiences = vec!["healthcare-agents".to_owned()];
        let settings = settings(Some(local_settings()), Some(keycloak));
        Self {
            authenticator: Authenticator::new(settings).unwrap(),
            provider,
            rsa,
        }
    }

    async fn with_claims(&self, changes: Value) -> &'static str {
        let claims = with(&claims(&self.provider), &changes);
        code(&self.authenticator, &self.rsa.token("rsa", &claims), NOW).await
    }

    async fn with_header(&self, header: Value) -> &'static str {
        let payload = claims(&self.provider).to_string();
        let token = self.rsa.sign(&header.to_string(), &payload);
        code(&self.authenticator, &token, NOW).await
    }
}

#[tokio::test]
async fn each_algorithm_verifies_under_its_own_key_only() {
    let signers = [
        ("rsa", Signer::rsa()),
        ("ec", Signer::ec()),
        ("ed", Signer::ed()),
    ];
    let keys: Vec<_> = signers
        .iter()
        .map(|(kid, signer)| signer.jwk(kid))
        .collect();
    let provider = Provider::start(&keys).await;
    let authenticator = Authenticator::new(settings(None, Some(provider.settings()))).unwrap();
    let claims = claims(&provider);
    for (kid, signer) in &signers {
        let who = ask(&authenticator, &signer.token(kid, &claims), NOW)
            .await
            .unwrap();
        assert_eq!(
            (who.kind(), who.roles()),
            (Kind::Keycloak, &["physician".to_owned()][..])
        );
        for (other, _) in signers.iter().filter(|(other, _)| other != kid) {
            let crossed = signer.token(other, &claims);
            assert_eq!(
                code(&authenticator, &crossed, NOW).await,
                "algorithm_refused"
            );
        }
        let stranger = match *kid {
            "rsa" => Signer::rsa(),
            "ec" => Signer::ec(),
            _ => Signer::ed(),
        };
        let forged = stranger.token(kid, &claims);
        assert_eq!(code(&authenticator, &forged, NOW).await, "bad_signature");
    }
    assert_eq!(provider.fetches(), 1);
}

#[tokio::test]
async fn a_public_key_is_no_hmac_secret() {
    let lab = Lab::start().await;
    let payload = claims(&lab.provider).to_string();
    for secret in [
        lab.rsa.public_bytes(),
        lab.rsa.jwk("rsa")["n"].to_string().into_bytes(),
    ] {
        let header = json!({"alg": "HS256", "typ": "JWT", "kid": "rsa"}).to_string();
        let token = hs256(&secret, &header, &payload);
        assert_eq!(
            code(&lab.authenticator, &token, NOW).await,
            "algorithm_refused"
        );
    }
    let header = json!({"alg": "none", "typ": "JWT", "kid": "rsa"}).to_string();
    let unsigned = format!("{}.", signing_input(&header, &payload));
    assert_eq!(
        code(&lab.authenticator, &unsigned, NOW).await,
        "algorithm_refused"
    );
}

#[tokio::test]
async fn a_local_token_cannot_speak_for_the_provider_nor_the_other_way() {
    let lab = Lab::start().await;
    let header = json!({"alg": "HS256", "typ": "JWT", "kid": "rsa"}).to_string();
    let token = hs256(SECRET, &header, &claims(&lab.provider).to_string());
    assert_eq!(
        code(&lab.authenticator, &token, NOW).await,
        "algorithm_refused"
    );
    let as_local = json!({"iss": "mcp-server-prod", "aud": "healthcare-agents"});
    assert_eq!(lab.with_claims(as_local).await, "algorithm_refused");
}

#[tokio::test]
async fn kids_choose_among_published_keys_and_nothing_else() {
    let lab = Lab::start().await;
    for kid in [
        json!("other"),
        json!("RSA"),
        json!("rsa "),
        json!("../rsa"),
        json!(""),
        json!(["rsa"]),
    ] {
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": kid});
        assert_eq!(lab.with_header(header).await, "unknown_key", "{kid}");
    }
    let none = json!({"alg": "RS256", "typ": "JWT"});
    assert_eq!(lab.with_header(none).await, "unknown_key");
    let long = json!({"alg": "RS256", "typ": "JWT", "kid": "x".repeat(300)});
    assert_eq!(lab.with_header(long).await, "unknown_key");
    let embedded = json!({"alg": "RS256", "typ": "JWT", "kid": "rsa", "jwk": lab.rsa.jwk("rsa")});
    assert_eq!(lab.with_header(embedded).await, "embedded_key");
    let hinted = json!({"alg": "RS256", "typ": "JWT", "kid": "rsa", "x5t": "abc"});
    assert_eq!(lab.with_header(hinted).await, "ok");
}

#[tokio::test]
async fn only_access_tokens_are_taken() {
    let lab = Lab::start().await;
    for typ in [
        json!("ID"),
        json!("Refresh"),
        json!("Logout"),
        json!("bearer"),
        json!(null),
    ] {
        let refused = lab.with_claims(json!({"typ": typ})).await;
        assert_eq!(refused, "token_type_refused", "{typ}");
    }
    for (typ, expected) in [
        ("logout+jwt", "token_type_refused"),
        ("at+jwt", "ok"),
        ("jwt", "ok"),
    ] {
        let header = json!({"alg": "RS256", "typ": typ, "kid": "rsa"});
        assert_eq!(lab.with_header(header).await, expected, "{typ}");
    }
    let untyped = json!({"alg": "RS256", "kid": "rsa"});
    assert_eq!(lab.with_header(untyped).await, "token_type_refused");
}

#[tokio::test]
async fn the_audience_is_this_resource_or_a_configured_one() {
    let lab = Lab::start().await;
    for aud in [
        json!("https://agents.example.com/mcp"),
        json!("https://agents.example.com/mcp/"),
        json!(["account", "healthcare-agents"]),
    ] {
        assert_eq!(lab.with_claims(json!({"aud": aud})).await, "ok", "{aud}");
    }
    for aud in [
        json!("account"),
        json!("https://agents.example.com"),
        json!("https://agents.example.com/MCP"),
        json!("http://agents.example.com/mcp"),
        json!("healthcare-agents/"),
        json!(""),
        json!("/"),
    ] {
        assert_eq!(
            lab.with_claims(json!({"aud": aud})).await,
            "wrong_audience",
            "{aud}"
        );
    }
}

#[tokio::test]
async fn software_without_a_person_is_refused_whatever_its_acr() {
    let lab = Lab::start().await;
    let client = json!({"amr": [], "sid": null, "auth_time": null, "acr": "mfa"});
    assert_eq!(lab.with_claims(client).await, "no_person");
    let with_session =
        json!({"amr": [], "acr": "mfa", "preferred_username": "service-account-mcp-server"});
    assert_eq!(lab.with_claims(with_session).await, "no_person");
    let person = json!({"amr": [], "acr": "mfa", "preferred_username": "dr-lee"});
    assert_eq!(lab.with_claims(person).await, "ok");
    let direct_grant = json!({"auth_time": null, "acr": "pwd", "amr": ["pwd", "otp"]});
    assert_eq!(lab.with_claims(direct_grant).await, "ok");
    let password_only = json!({"auth_time": null, "acr": "pwd", "amr": ["pwd"]});
    assert_eq!(
        lab.with_claims(password_only).await,
        "second_factor_missing"
    );
}

#[tokio::test]
async fn roles_come_from_the_one_configured_claim() {
    let lab = Lab::start().await;
    let rsa = &lab.rsa;
    let elsewhere = with(
        &claims(&lab.provider),
        &json!({"realm_access": null, "roles": ["physician"]}),
    );
    let who = ask(&lab.authenticator, &rsa.token("rsa", &elsewhere), NOW)
        .await
        .unwrap();
    assert!(who.roles().is_empty());
    for wrong in [
        json!("physician"),
        json!({"roles": "physician"}),
        json!({"roles": [{}]}),
    ] {
        assert_eq!(
            lab.with_claims(json!({"realm_access": wrong})).await,
            "claim_invalid"
        );
    }
}

#[tokio::test]
async fn an_issuer_that_only_looks_the_same_is_another() {
    let lab = Lab::start().await;
    let issuer = lab.provider.issuer();
    for other in [
        format!("{issuer}/"),
        issuer.to_uppercase(),
        issuer.replace("healthcare", "health\u{441}are"),
        issuer.replace("http:", "https:"),
        format!("{issuer}\u{0}"),
    ] {
        assert_eq!(
            lab.with_claims(json!({"iss": other})).await,
            "unknown_issuer",
            "{other}"
        );
    }
}

#[tokio::test]
async fn keys_that_are_not_for_signing_are_not_used() {
    let (enc, private, unnamed, other) = (Signer::rsa(), Signer::ec(), Signer::ed(), Signer::ed());
    let usable = Signer::ec();
    let changed = |jwk: Value, changes: Value| with(&jwk, &changes);
    let provider = Provider::start(&[
        changed(enc.jwk("enc"), json!({"use": "enc", "alg": "RSA-OAEP"})),
        changed(private.jwk("private"), json!({"d": "AAAA"})),
        changed(unnamed.jwk("x"), json!({"kid": null})),
        changed(other.jwk("no-use"), json!({"use": null})),
        json!({"kty": "oct", "k": b64("secret"), "kid": "oct", "use": "sig", "alg": "HS256"}),
        json!({"kty": "new", "kid": "new", "use": "sig"}),
        usable.jwk("usable"),
    ])
    .await;
    let authenticator = Authenticator::new(settings(None, Some(provider.settings()))).unwrap();
    let claims = claims(&provider);
    assert_eq!(
        code(&authenticator, &usable.token("usable", &claims), NOW).await,
        "ok"
    );
    for (kid, signer) in [
        ("enc", &enc),
        ("private", &private),
        ("x", &unnamed),
        ("no-use", &other),
    ] {
        let token = signer.token(kid, &claims);
        assert_eq!(
            code(&authenticator, &token, NOW).await,
            "unknown_key",
            "{kid}"
        );
    }
}
