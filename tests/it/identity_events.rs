//! Keycloak's own events in the trail: each once, whoever is changed is out, and what can't be read is told.

use std::collections::BTreeMap;

use safeguard_tests::client::Client;
use safeguard_tests::realm::Realm;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::upstream::Upstream;
use safeguard_tests::wait::eventually;
use serde_json::{Value, json};

const READ: &str = "keycloak:\n  events:\n    enabled: true\n    interval_seconds: 1\n";

async fn reading(realm: &Realm) -> (Upstream, Sidecar) {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let sidecar = Sidecar::start(realm.setup(&upstream.url(), READ)).await;
    (upstream, sidecar)
}

/// How often each event of Keycloak's that `matches` stands in the trail.
fn counts(sidecar: &Sidecar, matches: impl Fn(&Value) -> bool) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in sidecar.events() {
        if let Some(id) = event["details"]["identity_event"].as_str()
            && matches(&event)
        {
            *counts.entry(id.to_owned()).or_default() += 1;
        }
    }
    counts
}

async fn ping(sidecar: &Sidecar, token: &str) -> u16 {
    let mut client = Client::new(sidecar.connect().await, token);
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    client.post(&ping).await.status
}

async fn is_read(sidecar: &Sidecar) {
    eventually("a first look at the events", || async {
        let read = sidecar
            .metric("safeguard_identity_events_reads_total", &["ok"])
            .await;
        (read > 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_an_administrator_does_at_keycloak_is_in_the_trail_once_each_and_names_nobody() {
    let realm = Realm::create().await;
    let (_upstream, sidecar) = reading(&realm).await;
    let person = realm.person("jane.audited").await;
    let password = json!({"type": "password", "value": "another-one", "temporary": false});
    let at = |rest: &str| format!("users/{person}{rest}");
    realm.change("PUT", &at("/reset-password"), password).await;
    realm
        .change("PUT", &at(""), json!({"enabled": false}))
        .await;
    realm.change("DELETE", &at(""), json!(null)).await;
    for name in [
        "user_created",
        "role_assigned",
        "password_reset",
        "permission_change",
        "user_deleted",
    ] {
        let about = |event: &Value| event["details"]["target"] == person.as_str();
        let event = sidecar.event(name, about).await;
        assert_eq!(event["details"]["origin"], "identity_provider");
        assert!(event["subject"]["sub"].is_string(), "who did it: {event}");
    }
    let found = counts(&sidecar, |event| {
        event["details"]["target"] == person.as_str()
    });
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found.values().all(|count| *count == 1), "{found:?}");
    let all = sidecar
        .events()
        .iter()
        .map(Value::to_string)
        .collect::<String>();
    for value in ["jane.audited", "clinic.example", "Family", "another-one"] {
        assert!(!all.contains(value), "{value} is in the trail");
    }
}

#[tokio::test]
async fn logins_elsewhere_are_told_and_logins_here_are_told_once() {
    let realm = Realm::create().await;
    let (_upstream, sidecar) = reading(&realm).await;
    let elsewhere = realm.person("login.elsewhere").await;
    let of = |event: &Value| event["subject"]["sub"] == elsewhere.as_str();
    assert_ne!(realm.log_in("login.elsewhere", "wrong").await.0, 200);
    let failed = sidecar.event("failed_login_attempt", of).await;
    assert_eq!(failed["reason"], "invalid_user_credentials");
    let _token = realm.token("login.elsewhere").await;
    let login = sidecar.event("user_login", of).await;
    assert_eq!(login["details"]["origin"], "identity_provider");
    assert!(login["session"].is_string(), "{login}");
}

#[tokio::test]
async fn whoever_is_disabled_at_keycloak_is_out() {
    let realm = Realm::create().await;
    let (_upstream, sidecar) = reading(&realm).await;
    let person = realm.person("to.be.disabled").await;
    let token = realm.token("to.be.disabled").await;
    assert_eq!(ping(&sidecar, &token).await, 200);
    let path = format!("users/{person}");
    realm.change("PUT", &path, json!({"enabled": false})).await;
    eventually("the end of the session", || async {
        (ping(&sidecar, &token).await == 401).then_some(())
    })
    .await;
    let of = |event: &Value| event["subject"]["sub"] == person.as_str();
    let logout = sidecar.event("user_logout", of).await;
    assert_eq!(logout["reason"], "identity_provider");
}

#[tokio::test]
async fn a_reader_that_is_killed_in_the_middle_tells_each_event_once() {
    let realm = Realm::create().await;
    let (_upstream, mut sidecar) = reading(&realm).await;
    is_read(&sidecar).await;
    let mut people = Vec::new();
    for number in 0..12 {
        people.push(realm.person(&format!("killed.{number}")).await);
        if number % 4 == 1 {
            sidecar.kill().await;
            sidecar = Sidecar::start(sidecar.setup).await;
        }
    }
    for person in &people {
        let about = |event: &Value| event["details"]["target"] == person.as_str();
        sidecar.event("role_assigned", about).await;
    }
    let about = |event: &Value| event["details"]["target"].is_string();
    let found = counts(&sidecar, about);
    assert_eq!(found.len(), 24, "created and given a role");
    assert!(found.values().all(|count| *count == 1), "{found:?}");
}

#[tokio::test]
async fn a_cursor_that_is_torn_or_gone_is_made_again_from_the_log() {
    let realm = Realm::create().await;
    let (_upstream, mut sidecar) = reading(&realm).await;
    let first = realm.person("before.the.tear").await;
    let about = |who: &str, event: &Value| event["details"]["target"] == who;
    sidecar
        .event("role_assigned", |event| about(&first, event))
        .await;
    let cursor = sidecar
        .setup
        .folder
        .path()
        .join("spool-state/identity-events.json");
    for (name, content) in [("torn", Some("{\"version\":1,\"us")), ("gone", None)] {
        assert!(sidecar.stop().await.success());
        match content {
            Some(content) => std::fs::write(&cursor, content).expect("a file"),
            None => std::fs::remove_file(&cursor).expect("a file"),
        }
        let meanwhile = realm.person(&format!("while.{name}")).await;
        sidecar = Sidecar::start(sidecar.setup).await;
        sidecar
            .event("role_assigned", |event| about(&meanwhile, event))
            .await;
    }
    let found = counts(&sidecar, |event| event["details"]["target"].is_string());
    assert!(found.values().all(|count| *count == 1), "{found:?}");
    assert_eq!(found.len(), 6);
}

#[tokio::test]
async fn without_the_role_the_sidecar_says_what_to_do_and_serves_on() {
    let realm = Realm::without_role().await;
    let (_upstream, mut sidecar) = reading(&realm).await;
    eventually("the refusal in the metrics", || async {
        let refused = sidecar
            .metric("safeguard_identity_events_reads_total", &["forbidden"])
            .await;
        (refused > 0.0).then_some(())
    })
    .await;
    assert!(sidecar.log().contains("view-events"), "{}", sidecar.log());
    sidecar.ready().await;
}
