//! The provider's keys over time: rotation, its limit, staleness, a provider that is down or lies.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::double::{Mood, Provider, Signer};
use super::*;

const NO_WAIT: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(86_400);

fn token(provider: &Provider, signer: &Signer, kid: &str) -> String {
    let claims: Value = with(
        &user_claims(),
        &json!({"iss": provider.issuer(), "aud": "https://agents.example.com/mcp", "typ": "Bearer"}),
    );
    signer.token(kid, &claims)
}

fn authenticator(
    provider: &Provider,
    min_interval: Duration,
    stale_max: Duration,
) -> Authenticator {
    let mut keycloak = provider.settings();
    keycloak.refresh_min_interval = min_interval;
    keycloak.keys_stale_max = stale_max;
    Authenticator::new(settings(None, Some(keycloak))).unwrap()
}

/// Moves the monotonic clock; it runs on afterwards, as sockets need it.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_rotated_key_is_taken_without_restart_and_a_withdrawn_one_no_more() {
    let (old, new) = (Signer::ec(), Signer::ec());
    let provider = Provider::start(&[old.jwk("old")]).await;
    let authenticator = authenticator(&provider, NO_WAIT, LONG);
    let with_old = token(&provider, &old, "old");
    let with_new = token(&provider, &new, "new");
    assert_eq!(code(&authenticator, &with_old, NOW).await, "ok");
    assert_eq!(code(&authenticator, &with_new, NOW).await, "unknown_key");
    provider.publish(&[old.jwk("old"), new.jwk("new")]);
    assert_eq!(code(&authenticator, &with_new, NOW).await, "ok");
    assert_eq!(code(&authenticator, &with_old, NOW).await, "ok");
    provider.publish(&[new.jwk("new")]);
    assert_eq!(
        code(&authenticator, &token(&provider, &old, "made-up"), NOW).await,
        "unknown_key"
    );
    let cached = code(&authenticator, &with_old, NOW).await;
    assert_eq!(cached, "unknown_key", "a cached token goes with its key");
}

#[tokio::test]
async fn a_key_that_changed_under_its_id_invalidates_the_cache() {
    let (first, second) = (Signer::ed(), Signer::ed());
    let provider = Provider::start(&[first.jwk("k")]).await;
    let authenticator = authenticator(&provider, NO_WAIT, LONG);
    let cached = token(&provider, &first, "k");
    assert_eq!(code(&authenticator, &cached, NOW).await, "ok");
    provider.publish(&[second.jwk("k")]);
    assert_eq!(
        code(&authenticator, &token(&provider, &first, "other"), NOW).await,
        "unknown_key"
    );
    assert_eq!(code(&authenticator, &cached, NOW).await, "bad_signature");
}

#[tokio::test]
async fn a_refresh_that_brings_the_same_keys_keeps_the_cache() {
    let signer = Signer::ed();
    let provider = Provider::start(&[signer.jwk("k")]).await;
    let authenticator = authenticator(&provider, NO_WAIT, LONG);
    let token_text = token(&provider, &signer, "k");
    let first = ask(&authenticator, &token_text, NOW).await.unwrap();
    code(&authenticator, &token(&provider, &signer, "other"), NOW).await;
    assert_eq!(provider.fetches(), 2);
    let second = ask(&authenticator, &token_text, NOW).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second));
}

#[tokio::test]
async fn made_up_key_ids_cost_the_provider_one_fetch_per_interval() {
    let signer = Signer::ed();
    let provider = Provider::start(&[signer.jwk("k")]).await;
    let authenticator = authenticator(&provider, LONG, LONG);
    for n in 0..50 {
        let made_up = token(&provider, &signer, &format!("made-up-{n}"));
        assert_eq!(code(&authenticator, &made_up, NOW).await, "unknown_key");
    }
    assert_eq!(provider.fetches(), 1);
    assert_eq!(
        code(&authenticator, &token(&provider, &signer, "k"), NOW).await,
        "ok"
    );
}

#[tokio::test]
async fn many_who_need_the_first_keys_share_one_fetch() {
    let signer = Signer::ed();
    let provider = Provider::start(&[signer.jwk("k")]).await;
    let authenticator = Arc::new(authenticator(&provider, NO_WAIT, LONG));
    let token_text = token(&provider, &signer, "k");
    let asking: Vec<_> = (0..32)
        .map(|_| {
            let (authenticator, token) = (Arc::clone(&authenticator), token_text.clone());
            tokio::spawn(async move { code(&authenticator, &token, NOW).await })
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.await.unwrap(), "ok");
    }
    assert_eq!(provider.fetches(), 1);
}

#[tokio::test]
async fn while_the_provider_was_never_reached_its_tokens_are_refused_and_then_taken() {
    let signer = Signer::ed();
    let provider = Provider::start(&[signer.jwk("k")]).await;
    provider.feel(Mood::Down);
    let authenticator = authenticator(&provider, NO_WAIT, LONG);
    let token = token(&provider, &signer, "k");
    let refused = ask(&authenticator, &token, NOW).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.fault()),
        ("keys_unavailable", Fault::IdentityProvider)
    );
    assert!(!provider_keys(&authenticator).0);
    assert_eq!(provider_keys(&authenticator).1, None);
    provider.feel(Mood::Good);
    assert_eq!(code(&authenticator, &token, NOW).await, "ok");
    assert!(provider_keys(&authenticator).0);
    assert!(provider_keys(&authenticator).1.is_some());
}

#[tokio::test]
async fn known_keys_serve_while_the_provider_is_down() {
    let signer = Signer::ed();
    let provider = Provider::start(&[signer.jwk("k")]).await;
    let authenticator = authenticator(&provider, NO_WAIT, LONG);
    assert_eq!(
        code(&authenticator, &token(&provider, &signer, "k"), NOW).await,
        "ok"
    );
    provider.feel(Mood::Down);
    assert_eq!(
        code(&authenticator, &token(&provider, &signer, "new"), NOW).await,
        "unknown_key"
    );
    assert_eq!(
        code(&authenticator, &token(&provider, &signer, "k"), NOW).await,
        "ok"
    );
}

#[tokio::test]
async fn keys_that_are_too_old_serve_nobody_not_even_a_cached_token() {
    let signer = Signer::ed();
    let provider = Provider::start(&[signer.jwk("k")]).await;
    let stale_max = Duration::from_secs(3600);
    let authenticator = authenticator(&provider, NO_WAIT, stale_max);
    let token = token(&provider, &signer, "k");
    assert_eq!(code(&authenticator, &token, NOW).await, "ok");
    provider.feel(Mood::Down);
    pass(stale_max - Duration::from_secs(60)).await;
    assert_eq!(code(&authenticator, &token, NOW).await, "ok");
    pass(Duration::from_secs(60)).await;
    assert!(!provider_keys(&authenticator).0);
    assert_eq!(code(&authenticator, &token, NOW).await, "keys_unavailable");
    provider.feel(Mood::Good);
    assert_eq!(code(&authenticator, &token, NOW).await, "ok");
}

#[tokio::test]
async fn answers_that_are_not_the_providers_documents_bring_no_keys() {
    let signer = Signer::ed();
    let provider = Provider::start(&[signer.jwk("k")]).await;
    let authenticator = authenticator(&provider, NO_WAIT, LONG);
    let token = token(&provider, &signer, "k");
    for mood in [
        Mood::OtherIssuer,
        Mood::Redirects,
        Mood::EndlessBody,
        Mood::NoJson,
    ] {
        provider.feel(mood);
        assert_eq!(code(&authenticator, &token, NOW).await, "keys_unavailable");
    }
    provider.feel(Mood::Good);
    provider.publish(&[]);
    assert_eq!(code(&authenticator, &token, NOW).await, "keys_unavailable");
    let many: Vec<Value> = (0..65).map(|n| signer.jwk(&format!("k{n}"))).collect();
    provider.publish(&many);
    assert_eq!(code(&authenticator, &token, NOW).await, "keys_unavailable");
}

#[tokio::test]
async fn the_background_task_fetches_keys_before_anyone_asks() {
    let signer = Signer::ed();
    let provider = Provider::start(&[signer.jwk("k")]).await;
    let authenticator = Arc::new(authenticator(&provider, NO_WAIT, LONG));
    let keeping = Arc::clone(&authenticator);
    let task = tokio::spawn(async move { keeping.keep_keys_fresh().await });
    while !provider_keys(&authenticator).0 {
        tokio::task::yield_now().await;
    }
    task.abort();
    assert_eq!(
        code(&authenticator, &token(&provider, &signer, "k"), NOW).await,
        "ok"
    );
    assert_eq!(provider.fetches(), 1);
}

/// A CA, and a TLS server that it vouches for as `localhost`.
fn lab_tls() -> (String, tokio_rustls::TlsAcceptor) {
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], private)
        .unwrap();
    (
        ca_certificate.pem(),
        tokio_rustls::TlsAcceptor::from(Arc::new(config)),
    )
}

#[tokio::test]
async fn over_tls_only_a_provider_under_the_configured_ca_is_believed() {
    let signer = Signer::ed();
    let (ca, acceptor) = lab_tls();
    let (foreign_ca, _) = lab_tls();
    let provider = Provider::start_tls(acceptor, &[signer.jwk("k")]).await;
    let token = token(&provider, &signer, "k");
    let folder = tempfile::tempdir().unwrap();
    for (name, pem, expected) in [
        ("foreign", foreign_ca, "keys_unavailable"),
        ("own", ca, "ok"),
    ] {
        let file = folder.path().join(name);
        std::fs::write(&file, pem).unwrap();
        let mut keycloak = provider.settings();
        keycloak.ca_file = Some(file);
        let authenticator = Authenticator::new(settings(None, Some(keycloak))).unwrap();
        assert_eq!(code(&authenticator, &token, NOW).await, expected, "{name}");
    }
}
