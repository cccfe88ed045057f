//! Several identity providers: each one's people by its own keys, with no more roles than it may grant.

use safeguard_tests::client::{Client, plain_request};
use safeguard_tests::configuration::Setup;
use safeguard_tests::realm::Realm;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::upstream::Upstream;
use safeguard_tests::wait::eventually;
use safeguard_tests::{keycloak, real};
use serde_json::{Value, json};

/// The policy denied it.
const DENIED: i64 = -32050;

/// A sidecar that takes tokens of the imported realm, of `clinic`, whose people may be physicians, and of `lab`, whose people
/// may be nothing but nurses.
async fn sidecar(upstream: &Upstream, clinic: &Realm, lab: &Realm) -> Sidecar {
    let authorities = real::ca();
    let authorities = authorities.display();
    let issuer = |name: &str, realm: &Realm, role: &str| {
        format!(
            "    {name}:\n      issuer: {}\n      roles: [{role}]\n      audiences: [\"{}\"]\n      ca_file: {authorities}\n      keys_refresh_seconds: 1\n",
            issuer(realm),
            keycloak::AUDIENCE,
        )
    };
    let more = format!(
        "identity:\n  issuers:\n{}{}",
        issuer("clinic", clinic, "physician"),
        issuer("lab", lab, "nurse")
    );
    let setup = Setup::new(&upstream.url()).with_keycloak().extended(&more);
    Sidecar::start(setup).await
}

fn issuer(realm: &Realm) -> String {
    format!(
        "https://localhost:{}/realms/{}",
        realm.relay.port, realm.name
    )
}

async fn ping(sidecar: &Sidecar, token: &str) -> u16 {
    let mut client = Client::new(sidecar.connect().await, token);
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    client.post(&ping).await.status
}

#[tokio::test]
async fn each_issuers_people_have_the_roles_that_it_may_grant_and_one_that_is_away_stops_no_other()
{
    let (clinic, lab) = tokio::join!(Realm::create(), Realm::create());
    let patients = json!({"content": [], "structuredContent": {"departments": ["cardiology"]}});
    let upstream = Upstream::answering(patients).await;
    let sidecar = sidecar(&upstream, &clinic, &lab).await;
    tokio::join!(clinic.person("dr.clinic"), lab.person("dr.lab"));

    let mut physician = sidecar.client(&clinic.token("dr.clinic").await).await;
    physician.succeed("list_departments", &json!({})).await;
    let event = sidecar
        .event("user_login", |event| {
            event["subject"]["iss"] == issuer(&clinic).as_str()
        })
        .await;
    assert_eq!(event["subject"]["roles"], json!(["physician"]), "{event}");

    // Its realm says that this is a physician; the configuration says that it has none.
    let mut stranger = sidecar.client(&lab.token("dr.lab").await).await;
    assert_eq!(
        stranger.refused("list_departments", &json!({})).await,
        DENIED
    );

    let documents = metadata(&sidecar).await;
    let servers = documents["authorization_servers"].as_array();
    let servers = servers.expect("issuers");
    assert_eq!(servers.len(), 3, "{documents}");
    assert!(servers.contains(&json!(issuer(&clinic))), "{documents}");

    lab.relay.cut();
    let path = "/readyz?verbose";
    eventually("readiness that names who is away", || async {
        let (status, body) = plain_request(&sidecar.admin(), "GET", path, &[], Vec::new()).await;
        let words = String::from_utf8_lossy(&body).into_owned();
        let told = words.contains(&format!("{} does not answer", issuer(&lab)));
        (status == 200 && told).then_some(())
    })
    .await;
    let token = keycloak::token("nurse.joy", Some("joy-secret-for-totp")).await;
    assert_eq!(ping(&sidecar, &token).await, 200, "of another provider");
    clinic.person("comes.later").await;
    let token = clinic.token("comes.later").await;
    assert_eq!(ping(&sidecar, &token).await, 200, "of another provider");
}

async fn metadata(sidecar: &Sidecar) -> Value {
    let path = "/.well-known/oauth-protected-resource";
    let sent = sidecar.connect().await.send("GET", path, &[], "").await;
    let answer = sent.expect("an answer").expect_status(200).await;
    answer.json().await
}
