//! Tokens that are of no use to a thief: bound to a key of the client (DPoP) or to its certificate, and software whose only proof that is.

use base64_simd::URL_SAFE_NO_PAD as BASE64;
use safeguard_tests::client::{Client, Connection};
use safeguard_tests::configuration::Setup;
use safeguard_tests::keycloak;
use safeguard_tests::pki::Identity;
use safeguard_tests::proof::Holder;
use safeguard_tests::realm::Realm;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::stream::Answer;
use safeguard_tests::tokens::{physician, sign, with};
use safeguard_tests::upstream::Upstream;
use safeguard_tests::wait::eventually;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

async fn sidecar(more: &str) -> (Upstream, Sidecar) {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let setup = Setup::new(&upstream.url()).extended(more);
    (upstream, Sidecar::start(setup).await)
}

fn bound(holder: &Holder) -> String {
    let confirmation = json!({"cnf": {"jkt": holder.thumbprint()}});
    sign(&with(physician("dr.bound"), &confirmation))
}

async fn ping_with(sidecar: &Sidecar, headers: &[(&str, &str)]) -> Answer {
    let mut all = vec![
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
    ];
    all.extend(headers);
    let mut connection = sidecar.connect().await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    let answer = connection
        .send("POST", "/mcp", &all, bytes::Bytes::from(ping))
        .await;
    answer.expect("an answer")
}

/// The challenge says why.
async fn refused(sidecar: &Sidecar, headers: &[(&str, &str)], why: &str) -> Answer {
    let answer = ping_with(sidecar, headers).await;
    assert_eq!(answer.status, 401, "{why}");
    let challenge = answer.header("www-authenticate");
    assert!(challenge.contains(why), "{why}: {challenge}");
    answer
}

#[tokio::test]
async fn a_token_bound_to_a_key_serves_only_beside_a_fresh_proof_by_that_key() {
    let (upstream, sidecar) = sidecar("").await;
    let url = sidecar.url();
    let (holder, thief) = (Holder::default(), Holder::default());
    let token = bound(&holder);
    let (bearer, authorization) = (format!("Bearer {token}"), format!("DPoP {token}"));

    let answer = refused(&sidecar, &[("authorization", &bearer)], "send it as DPoP").await;
    let challenges = answer.header("www-authenticate").to_owned();
    assert!(
        challenges.contains("DPoP error=\"invalid_token\""),
        "{challenges}"
    );
    assert!(challenges.contains("algs=\"ES256"), "{challenges}");
    sidecar
        .event("failed_login_attempt", |event| {
            event["reason"] == "proof_required"
        })
        .await;
    let proof = holder.proof("POST", &url, Some(&token));
    let presented = [("authorization", authorization.as_str()), ("dpop", &proof)];
    let answer = ping_with(&sidecar, &presented).await;
    assert_eq!(answer.status, 200, "{}", answer.header("www-authenticate"));
    refused(&sidecar, &presented, "was used before").await;

    for (proof, reason) in [
        (thief.proof("POST", &url, Some(&token)), "by another key"),
        (
            holder.proof("GET", &url, Some(&token)),
            "for another request",
        ),
        (
            holder.proof("POST", "https://evil.example.com/mcp", Some(&token)),
            "for another request",
        ),
        (
            holder.proof("POST", &url, Some("other")),
            "for another token",
        ),
        (holder.proof("POST", &url, None), "is not a signed token"),
        (String::from("x"), "is not a signed token"),
    ] {
        let presented = [("authorization", authorization.as_str()), ("dpop", &proof)];
        refused(&sidecar, &presented, reason).await;
    }
    let unbound = sign(&physician("dr.loose"));
    let as_dpop = format!("DPoP {unbound}");
    let proof = holder.proof("POST", &url, Some(&unbound));
    let presented = [("authorization", as_dpop.as_str()), ("dpop", &proof)];
    refused(&sidecar, &presented, "is not bound to a key").await;
    assert_eq!(
        upstream.messages("ping").len(),
        1,
        "nothing refused went up"
    );
}

#[tokio::test]
async fn where_keys_are_required_a_token_without_one_is_refused_and_a_nonce_is_asked_for_and_given()
{
    let (_upstream, sidecar) =
        sidecar("authentication:\n  bound_tokens: { dpop: required, nonce: true }\n").await;
    let loose = format!("Bearer {}", sign(&physician("dr.loose")));
    refused(
        &sidecar,
        &[("authorization", &loose)],
        "is not bound to a key",
    )
    .await;

    let (holder, url) = (Holder::default(), sidecar.url());
    let token = bound(&holder);
    let authorization = format!("DPoP {token}");
    let proof = holder.proof("POST", &url, Some(&token));
    let presented = [("authorization", authorization.as_str()), ("dpop", &proof)];
    let answer = refused(&sidecar, &presented, "needs the nonce").await;
    assert!(
        answer
            .header("www-authenticate")
            .contains("error=\"use_dpop_nonce\"")
    );
    let nonce = answer.header("dpop-nonce").to_owned();
    assert!(!nonce.is_empty());
    let proof = holder.proof_with("POST", &url, Some(&token), &json!({"nonce": nonce}));
    let presented = [("authorization", authorization.as_str()), ("dpop", &proof)];
    assert_eq!(ping_with(&sidecar, &presented).await.status, 200);
}

#[tokio::test]
async fn a_token_of_keycloak_that_is_bound_to_a_key_calls_with_a_proof_for_each_request() {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url()).with_keycloak()).await;
    let holder = Holder::default();
    let token = keycloak::bound_token("nurse.joy", "joy-secret-for-totp", &holder).await;
    let mut client = Client::new(sidecar.connect().await, &token);
    client.holder = Some((holder, sidecar.url()));
    client.initialize().await;
    client.succeed("list_departments", &json!({})).await;
    client.holder = None;
    let answer = client
        .post(&json!({"jsonrpc": "2.0", "id": 9, "method": "ping"}))
        .await;
    assert_eq!(answer.status, 401, "without a proof it is of no use");
}

/// What `cnf` has for a certificate (RFC 8705 §3.1).
fn thumbprint(identity: &Identity) -> String {
    BASE64.encode_to_string(Sha256::digest(&identity.chain[0]))
}

/// A token of software: no login, no second factor, perhaps a certificate.
fn software(subject: &str, certificate: Option<&Identity>) -> Value {
    let confirmation = certificate.map(|identity| json!({"x5t#S256": thumbprint(identity)}));
    let claims = with(
        physician(subject),
        &json!({"sid": null, "auth_time": null, "amr": null, "roles": ["billing", "physician"], "purpose_of_use": null}),
    );
    match confirmation {
        Some(confirmation) => with(claims, &json!({"cnf": confirmation})),
        None => claims,
    }
}

#[tokio::test]
async fn software_without_a_person_calls_with_its_certificate_in_place_of_a_second_factor() {
    let upstream = Upstream::answering(
        json!({"content": [], "structuredContent": {"patients": [{"patient_id": "p-1", "ssn": "123-45-6789"}]}}),
    )
    .await;
    let nightly = "clients:\n  nightly-sync: { certificate: sync.healthcare.example.com, service: true, roles: [billing] }\n";
    let setup = Setup::new(&upstream.url()).extended(nightly);
    let (sync, web) = (
        setup.authority.client("sync.healthcare.example.com"),
        setup.authority.client("web.healthcare.example.com"),
    );
    let sidecar = Sidecar::start(setup).await;

    // Two at once: the cap of sessions is for persons.
    let token = sign(&software("nightly", Some(&sync)));
    let other = sign(&software("nightly", Some(&sync)));
    let mut first = sidecar.client_as(&sync, &token).await;
    let mut second = sidecar.client_as(&sync, &other).await;
    for client in [&mut first, &mut second] {
        let found = client.succeed("find_patient", &json!({})).await;
        assert_eq!(
            found["structuredContent"]["patients"][0]["ssn"], "***-**-6789",
            "billing's view, not the physician's"
        );
    }
    let read = sidecar
        .event("phi_read", |event| event["outcome"] == "success")
        .await;
    assert_eq!(read["subject"]["roles"], json!(["billing"]));
    assert_eq!(read["purpose"], "HPAYMT");

    // Elsewhere, unbound, or bound to another certificate it is nobody.
    for (identity, token) in [
        (&web, sign(&software("nightly", Some(&web)))),
        (&sync, sign(&software("nightly", None))),
        (&sync, sign(&software("nightly", Some(&web)))),
    ] {
        let connection = Connection::open(&sidecar.target(), sidecar.tls(identity)).await;
        let mut client = Client::new(connection.expect("a connection"), &token);
        let answer = client
            .post(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}))
            .await;
        assert_eq!(answer.status, 401);
    }
    // And a person is nobody here.
    let mut person = sidecar.client_as(&sync, &sign(&physician("dr.lost"))).await;
    assert!(person.names("tools/list", "tools").await.is_empty());
    assert_eq!(person.refused("find_patient", &json!({})).await, -32050);
    sidecar
        .event("phi_access_denied", |event| {
            event["reason"] == "service_mismatch"
        })
        .await;
}

#[tokio::test]
async fn a_token_that_serves_once_serves_once() {
    let (upstream, sidecar) = sidecar("authentication:\n  jwt: { once: true }\n").await;
    let token = format!("Bearer {}", sign(&physician("dr.once")));
    let presented = [("authorization", token.as_str())];
    assert_eq!(ping_with(&sidecar, &presented).await.status, 200);
    refused(&sidecar, &presented, "the token was used before").await;
    let nameless = with(physician("dr.once"), &json!({"jti": null}));
    let nameless = format!("Bearer {}", sign(&nameless));
    refused(
        &sidecar,
        &[("authorization", &nameless)],
        "lacks the claim jti",
    )
    .await;
    assert_eq!(upstream.messages("ping").len(), 1);
}

#[tokio::test]
async fn a_name_that_several_people_share_is_nobody() {
    let (_upstream, sidecar) = sidecar("").await;
    for claims in [
        physician("Shared"),
        with(physician("b7f1"), &json!({"preferred_username": "admin"})),
    ] {
        let token = format!("Bearer {}", sign(&claims));
        refused(
            &sidecar,
            &[("authorization", &token)],
            "several people share",
        )
        .await;
    }
}

#[tokio::test]
async fn a_token_that_keycloak_has_revoked_is_refused_within_the_period_and_without_an_answer_none_is_taken()
 {
    let realm = Realm::create().await;
    let upstream = Upstream::answering(json!({"content": []})).await;
    let asked =
        "keycloak:\n  introspection: { enabled: true, cache_seconds: 1 }\n  when_down: serve\n";
    let sidecar = Sidecar::start(realm.setup(&upstream.url(), asked)).await;
    realm.person("rita.revoked").await;
    realm.person("otto.other").await;
    let token = realm.token("rita.revoked").await;
    let bearer = format!("Bearer {token}");
    let presented = [("authorization", bearer.as_str())];
    let answer = ping_with(&sidecar, &presented).await;
    assert_eq!(answer.status, 200, "{}", answer.header("www-authenticate"));
    realm.revoke(&token).await;
    eventually("the revoked token is refused", || async {
        let answer = ping_with(&sidecar, &presented).await;
        let challenge = answer.header("www-authenticate").to_owned();
        (answer.status == 401 && challenge.contains("the token was revoked")).then_some(())
    })
    .await;

    let bearer = format!("Bearer {}", realm.token("otto.other").await);
    let presented = [("authorization", bearer.as_str())];
    assert_eq!(ping_with(&sidecar, &presented).await.status, 200);
    realm.relay.cut();
    eventually("nobody is taken without an answer", || async {
        (ping_with(&sidecar, &presented).await.status == 503).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_shows_no_certificate_is_let_in_where_the_policy_says_so_and_with_a_bound_key_alone() {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let clients = "profile: development\nclients:\n  desktop: { without_certificate: true, at_most: care_agent, dpop: true }\n";
    let mut setup = Setup::new(&upstream.url()).extended(clients);
    setup.replace(
        "tls.yaml",
        "verify_client_cert: true",
        "verify_client_cert: false",
    );
    let sidecar = Sidecar::start(setup).await;
    let (url, holder) = (sidecar.url(), Holder::default());
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "list_departments", "arguments": {}}});
    let ask = async |token: &str, proof: Option<&str>| {
        let tls = sidecar
            .setup
            .authority
            .client_config(None, &[&rustls::version::TLS13]);
        let mut connection = Connection::open(&sidecar.target(), tls)
            .await
            .expect("a connection without a certificate");
        let mut headers = vec![
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
            ("authorization", token),
        ];
        headers.extend(proof.map(|proof| ("dpop", proof)));
        let sent = connection.send("POST", "/mcp", &headers, list.to_string());
        sent.await.expect("an answer")
    };
    let loose = format!("Bearer {}", sign(&physician("dr.loose")));
    let refused = ask(&loose, None).await;
    assert_eq!(refused.status, 401);
    let challenge = refused.header("www-authenticate");
    assert!(challenge.contains("is not bound to a key"), "{challenge}");

    let token = bound(&holder);
    let proof = holder.proof("POST", &url, Some(&token));
    let taken = ask(&format!("DPoP {token}"), Some(&proof)).await;
    assert_eq!(taken.status, 200);
    // The same person with a certificate needs no key.
    let mut web = sidecar.client(&sign(&physician("dr.web"))).await;
    web.succeed("list_departments", &json!({})).await;
}
