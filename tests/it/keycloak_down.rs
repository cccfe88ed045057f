//! Keycloak out of reach: known sessions go on for a bounded time, new ones wait as the policy says, and nobody has to mend it.

use safeguard_tests::client::{Client, plain_request};
use safeguard_tests::realm::Realm;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::upstream::Upstream;
use safeguard_tests::wait::eventually;
use serde_json::json;

async fn ping(sidecar: &Sidecar, token: &str) -> u16 {
    let mut client = Client::new(sidecar.connect().await, token);
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    client.post(&ping).await.status
}

async fn sidecar(realm: &Realm, more: &str) -> (Upstream, Sidecar) {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let keys = format!("keycloak:\n  keys_refresh_seconds: 1\n{more}");
    let sidecar = Sidecar::start(realm.setup(&upstream.url(), &keys)).await;
    (upstream, sidecar)
}

async fn provider_is(up: bool, sidecar: &Sidecar) {
    eventually("the metric of the provider", || async {
        let told = sidecar.metric("safeguard_identity_provider_up", &[]).await;
        ((told > 0.5) == up).then_some(())
    })
    .await;
}

async fn readiness(sidecar: &Sidecar) -> (u16, String) {
    let path = "/readyz?verbose";
    let (status, body) = plain_request(&sidecar.admin(), "GET", path, &[], Vec::new()).await;
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn while_keycloak_is_away_sessions_go_on_new_ones_wait_and_recovery_needs_no_hand() {
    let realm = Realm::create().await;
    let (_upstream, sidecar) = sidecar(&realm, "").await;
    realm.person("here.before").await;
    realm.person("comes.later").await;
    realm.person("after.rotation").await;
    let known = realm.token("here.before").await;
    let new = realm.token("comes.later").await;
    assert_eq!(ping(&sidecar, &known).await, 200);

    realm.relay.cut();
    provider_is(false, &sidecar).await;
    assert_eq!(ping(&sidecar, &known).await, 200, "a session that goes on");
    assert_eq!(ping(&sidecar, &new).await, 503, "a login that is new");
    let (status, words) = readiness(&sidecar).await;
    assert_eq!(status, 200, "{words}");
    assert!(words.contains("[!] identity_provider"), "{words}");
    realm.rotate_keys().await;
    let rotated = realm.token("after.rotation").await;
    assert_eq!(
        ping(&sidecar, &rotated).await,
        503,
        "by a key that is not known"
    );

    realm.relay.mend();
    provider_is(true, &sidecar).await;
    for token in [&known, &new, &rotated] {
        eventually("a session again", || async {
            (ping(&sidecar, token).await == 200).then_some(())
        })
        .await;
    }
    let (_, words) = readiness(&sidecar).await;
    assert!(words.contains("[+] identity_provider"), "{words}");
}

#[tokio::test]
async fn where_the_policy_says_so_new_sessions_are_served_by_known_keys() {
    let realm = Realm::create().await;
    let (_upstream, sidecar) = sidecar(&realm, "  when_down: serve\n").await;
    realm.person("first.here").await;
    realm.person("served.new").await;
    assert_eq!(ping(&sidecar, &realm.token("first.here").await).await, 200);
    let new = realm.token("served.new").await;
    realm.relay.cut();
    provider_is(false, &sidecar).await;
    assert_eq!(ping(&sidecar, &new).await, 200);
}

#[tokio::test]
async fn keys_that_are_too_old_serve_nobody() {
    let realm = Realm::create().await;
    let bound = "  when_down: serve\n  keys_stale_max_seconds: 3\n";
    let (_upstream, sidecar) = sidecar(&realm, bound).await;
    realm.person("too.old").await;
    let token = realm.token("too.old").await;
    assert_eq!(ping(&sidecar, &token).await, 200);
    realm.relay.cut();
    eventually("the end of what the keys are good for", || async {
        (ping(&sidecar, &token).await == 503).then_some(())
    })
    .await;
    realm.relay.mend();
    eventually("the keys again", || async {
        (ping(&sidecar, &token).await == 200).then_some(())
    })
    .await;
}
