//! Whose token is taken: Keycloak's with a second factor, local ones as configured, and no other.

use safeguard_tests::client::{Client, Connection};
use safeguard_tests::configuration::Setup;
use safeguard_tests::keycloak;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::stream::Answer;
use safeguard_tests::tokens::{SECRET, now, physician, sign, sign_as, with};
use safeguard_tests::upstream::Upstream;
use safeguard_tests::wait::eventually;
use serde_json::{Value, json};

async fn ping(sidecar: &Sidecar, token: &str) -> Answer {
    let mut client = Client::new(sidecar.connect().await, token);
    client
        .post(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}))
        .await
}

/// The parameters of a challenge: `name="value"`.
fn parameter<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    let rest = challenge.split_once(&format!("{name}=\""))?.1;
    rest.split('"').next()
}

async fn with_keycloak() -> (Upstream, Sidecar) {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url()).with_keycloak()).await;
    (upstream, sidecar)
}

#[tokio::test]
async fn a_token_of_keycloak_is_taken_with_a_one_time_code_and_challenged_without() {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let levels = "authentication:\n  mfa:\n    acr: [mfa]\n";
    let sidecar =
        Sidecar::start(Setup::new(&upstream.url()).with_keycloak().extended(levels)).await;
    let token = keycloak::token("nurse.joy", Some("joy-secret-for-totp")).await;
    let mut nurse = sidecar.client(&token).await;
    nurse.succeed("list_departments", &json!({})).await;

    let one_factor = keycloak::token("dr.onefactor", None).await;
    let answer = ping(&sidecar, &one_factor).await;
    assert_eq!(answer.status, 401);
    let challenge = answer.header("www-authenticate").to_owned();
    assert!(challenge.starts_with("Bearer "), "{challenge}");
    assert_eq!(
        parameter(&challenge, "error"),
        Some("insufficient_user_authentication"),
        "RFC 9470: {challenge}"
    );
    assert_eq!(
        parameter(&challenge, "acr_values"),
        Some("mfa"),
        "RFC 9470: {challenge}"
    );
    sidecar.event("mfa_challenge", |_| true).await;
}

#[tokio::test]
async fn a_token_of_keycloak_for_another_audience_is_refused() {
    let (upstream, sidecar) = with_keycloak().await;
    let token = keycloak::token_for(
        "other-application",
        "billing.bob",
        Some("bob-secret-for-totp"),
    )
    .await;
    let answer = ping(&sidecar, &token).await;
    assert_eq!(answer.status, 401);
    assert_eq!(
        parameter(answer.header("www-authenticate"), "error"),
        Some("invalid_token")
    );
    assert_eq!(upstream.everything(), "");
    sidecar.event("failed_login_attempt", |_| true).await;
}

#[tokio::test]
async fn software_without_a_person_is_refused() {
    let (_upstream, sidecar) = with_keycloak().await;
    let answer = ping(&sidecar, &keycloak::service_token().await).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn keys_rotate_without_a_restart() {
    let (_upstream, sidecar) = with_keycloak().await;
    let before = keycloak::token("dr.grey", Some("grey-secret-for-totp")).await;
    assert_eq!(ping(&sidecar, &before).await.status, 200);
    keycloak::rotate_keys().await;
    let after = keycloak::token("dr.rotated", Some("rotated-secret-totp")).await;
    assert_ne!(
        before.split('.').next(),
        after.split('.').next(),
        "another key id"
    );
    // Keys are fetched at most once in a while, so that strangers cannot make the sidecar ask.
    eventually("the new key", || async {
        (ping(&sidecar, &after).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn unknown_key_ids_do_not_make_the_sidecar_ask_keycloak_each_time() {
    let (_upstream, sidecar) = with_keycloak().await;
    let token = keycloak::token("dr.known", Some("known-secret-for-totp")).await;
    assert_eq!(ping(&sidecar, &token).await.status, 200);
    let refreshed = sidecar
        .metric("safeguard_jwks_last_refresh_timestamp_seconds", &[])
        .await;
    assert!(refreshed > 0.0, "the keys were fetched");
    let issuer = format!(
        "{}/realms/healthcare",
        safeguard_tests::real::variable("SAFEGUARD_KEYCLOAK_URL")
    );
    let claims = with(
        physician("dr.flood"),
        &json!({"iss": issuer, "aud": keycloak::AUDIENCE}),
    );
    for number in 0..50 {
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": format!("unknown-{number}")});
        assert_eq!(
            ping(&sidecar, &sign_as(&header, &claims, SECRET))
                .await
                .status,
            401
        );
    }

    assert_eq!(
        ping(&sidecar, &token).await.status,
        200,
        "the known keys still serve"
    );
}

#[tokio::test]
async fn a_local_token_is_taken_only_as_configured() {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let good = || physician("dr.local");
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let changed = |changes: Value| sign(&with(good(), &changes));
    for (what, token) in [
        ("another issuer", changed(json!({"iss": "mcp-server-test"}))),
        ("no issuer", changed(json!({"iss": null}))),
        ("another audience", changed(json!({"aud": "others"}))),
        ("no audience", changed(json!({"aud": null}))),
        ("no subject", changed(json!({"sub": null}))),
        ("an empty subject", changed(json!({"sub": ""}))),
        (
            "an hour past its end",
            changed(json!({"exp": now() - 3600, "iat": now() - 7200})),
        ),
        ("no end", changed(json!({"exp": null}))),
        (
            "a life longer than configured",
            changed(json!({"exp": now() + 86_400})),
        ),
        ("not valid yet", changed(json!({"nbf": now() + 3600}))),
        ("an end that is text", changed(json!({"exp": "tomorrow"}))),
        (
            "another secret",
            sign_as(
                &header,
                &good(),
                "another-secret-of-the-same-length-0123456789",
            ),
        ),
        (
            "no algorithm",
            sign_as(&json!({"alg": "none", "typ": "JWT"}), &good(), SECRET),
        ),
        (
            "another algorithm",
            sign_as(&json!({"alg": "HS384", "typ": "JWT"}), &good(), SECRET),
        ),
        (
            "a critical extension",
            sign_as(
                &json!({"alg": "HS256", "crit": ["b64"], "b64": false}),
                &good(),
                SECRET,
            ),
        ),
        (
            "no signature",
            format!(
                "{}.",
                sign(&good()).rsplit_once('.').expect("three parts").0
            ),
        ),
        ("no token at all", String::new()),
        ("two parts", "a.b".to_owned()),
        ("words", "not-a-token".to_owned()),
    ] {
        let answer = ping(&sidecar, &token).await;
        assert_eq!(answer.status, 401, "{what}");
        let challenge = answer.header("www-authenticate").to_owned();
        assert!(challenge.starts_with("Bearer"), "{what}: {challenge}");
        assert!(
            parameter(&challenge, "resource_metadata")
                .is_some_and(|url| url.contains("/.well-known/oauth-protected-resource")),
            "{what}: {challenge}"
        );
        let body = String::from_utf8_lossy(&answer.bytes().await).into_owned();
        assert!(
            token.is_empty() || !body.contains(&token),
            "{what}: the answer does not repeat the token"
        );
    }
    let one_factor = ping(&sidecar, &changed(json!({"amr": ["pwd"]}))).await;
    assert_eq!(one_factor.status, 401);
    assert_eq!(
        parameter(one_factor.header("www-authenticate"), "error"),
        Some("insufficient_user_authentication")
    );

    assert_eq!(
        upstream.everything(),
        "",
        "nothing of all that reached the upstream"
    );
    assert_eq!(ping(&sidecar, &sign(&good())).await.status, 200);
    sidecar
        .event("user_login", |event| event["subject"]["sub"] == "dr.local")
        .await;
}

#[tokio::test]
async fn no_token_is_challenged_without_an_error_and_is_no_failed_login() {
    let upstream = Upstream::answering(json!({})).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut connection = sidecar.connect().await;
    let answer = connection
        .send(
            "POST",
            "/mcp",
            &[("content-type", "application/json")],
            "{}",
        )
        .await
        .expect("an answer");
    assert_eq!(answer.status, 401);
    assert!(
        answer
            .header("www-authenticate")
            .contains("resource_metadata=")
    );
    let in_query = format!("/mcp?access_token={}", sign(&physician("dr.query")));
    let answer = sidecar
        .connect()
        .await
        .send(
            "POST",
            &in_query,
            &[("content-type", "application/json")],
            "{}",
        )
        .await
        .expect("an answer");
    assert_eq!(answer.status, 400, "a token never stands in an address");
    assert_eq!(upstream.everything(), "");
}

#[tokio::test]
async fn the_metadata_of_the_resource_say_where_tokens_come_from() {
    let (_upstream, sidecar) = with_keycloak().await;
    for path in [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
    ] {
        let answer = sidecar
            .connect()
            .await
            .send("GET", path, &[], "")
            .await
            .expect("an answer")
            .expect_status(200)
            .await;
        let metadata = answer.json().await;
        assert_eq!(metadata["resource"], sidecar.url(), "RFC 9728 §2");
        let issuer = format!(
            "{}/realms/healthcare",
            safeguard_tests::real::variable("SAFEGUARD_KEYCLOAK_URL")
        );
        assert!(
            metadata["authorization_servers"]
                .as_array()
                .expect("a list")
                .contains(&json!(issuer))
        );
        assert_eq!(metadata["bearer_methods_supported"], json!(["header"]));
    }
}

#[tokio::test]
async fn the_upstream_never_sees_the_token_nor_the_clients_own_headers_of_trust() {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let token = sign(&physician("dr.secret"));
    let connection = Connection::open(&sidecar.target(), sidecar.tls(&sidecar.web))
        .await
        .expect("a connection");
    let mut client = Client::new(connection, &token);
    client.initialize().await;
    client.succeed("list_departments", &json!({})).await;
    let headers = [
        ("authorization", &*format!("Bearer {token}")),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("cookie", "session=cookie-of-the-client"),
        ("proxy-authorization", "Basic cHJveHk6c2VjcmV0"),
    ];
    client
        .connection
        .send(
            "POST",
            "/mcp",
            &headers,
            json!({"jsonrpc": "2.0", "id": 9, "method": "ping"}).to_string(),
        )
        .await
        .expect("an answer");
    for request in upstream.requests() {
        let authority = upstream.address.to_string();
        assert_eq!(
            request.header("host"),
            Some(authority.as_str()),
            "the host is the upstream's"
        );
        for name in ["authorization", "cookie", "proxy-authorization", "origin"] {
            assert_eq!(request.header(name), None, "{name} is not forwarded");
        }
    }
    assert!(!upstream.everything().contains(&token));
}
