//! The output `s3` against a real MinIO: every event exactly once over outages and crashes, locked and encrypted as Amazon's own client sees it, and read back by
//! `audit query` and `audit verify`.

use std::collections::BTreeMap;

use safeguard_tests::client::Client;
use safeguard_tests::configuration::{KEYS, Setup};
use safeguard_tests::relay::Relay;
use safeguard_tests::sidecar::{Sidecar, command, metric_reaches, path_text};
use safeguard_tests::spool;
use safeguard_tests::store::{BUCKET, SECRET, Store};
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::upstream::{Upstream, structured};
use safeguard_tests::wait::eventually;
use serde_json::{Value, json};

use crate::patients::assert_no_value;

const SENT: &str = "safeguard_audit_sink_events_total";
/// What was there already when it was put again.
const REPEATED: [&str; 2] = ["sink=\"s3\"", "result=\"duplicate\""];

/// Attempts at losing one.
const ANSWERS_LOST_MAX: usize = 10;

async fn upstream() -> Upstream {
    let patients = json!({"patients": [{"patient_id": "p-1", "ssn": "123-45-6789"}]});
    Upstream::answering(structured(&patients)).await
}

async fn client(sidecar: &Sidecar) -> Client {
    sidecar.client(&sign(&physician("dr.store"))).await
}

async fn finds(client: &mut Client, times: usize) {
    for _ in 0..times {
        client.succeed("find_patient", &json!({})).await;
    }
}

/// Chain and number of events.
fn numbers(events: &[Value]) -> BTreeMap<(String, u64), usize> {
    let mut numbers = BTreeMap::new();
    for event in events {
        let chain = event["chain"].as_str().expect("a chain").to_owned();
        *numbers
            .entry((chain, event["seq"].as_u64().expect("a number")))
            .or_default() += 1;
    }
    numbers
}

async fn audit(setup: &Setup, arguments: &[&str]) -> (i32, String, String) {
    let config = setup.write();
    let mut all = vec!["audit"];
    all.extend(arguments);
    all.extend(["--config", path_text(&config)]);
    let output = command(setup, &all).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().expect("a code"),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// The events that the bucket gives back.
async fn stored(setup: &Setup) -> Vec<Value> {
    let (code, out, err) = audit(
        setup,
        &[
            "query", "--from", "s3", "--format", "jsonl", "--limit", "100000",
        ],
    )
    .await;
    assert_eq!(code, 0, "{err}");
    out.lines()
        .map(|line| serde_json::from_str(line).expect("an event"))
        .collect()
}

/// Waits until the bucket has all that the spool has.
async fn delivered(sidecar: &Sidecar) -> Vec<Value> {
    let expected = numbers(&spool::events(&sidecar.setup.spool()));
    eventually("every event of the spool in the bucket", || async {
        let events = stored(&sidecar.setup).await;
        let there = numbers(&events);
        expected
            .keys()
            .all(|place| there.contains_key(place))
            .then_some(events)
    })
    .await
}

/// Waits for it: behind it the sink has asked about the bucket, and puts.
async fn first_object(store: &Store) {
    eventually("the first object", || async {
        (!store.versions().await.is_empty()).then_some(())
    })
    .await;
}

/// That the bucket verifies, and what it says.
async fn assert_whole(setup: &Setup) -> String {
    let (code, out, err) = audit(setup, &["verify", "--from", "s3"]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("whole: "), "{out}");
    format!("{out}{err}")
}

fn assert_secret_nowhere(sidecar: &Sidecar) {
    let log = sidecar.log();
    assert!(!log.contains(SECRET) && !log.contains(KEYS[2].1), "{log}");
    let events = Value::from(spool::events(&sidecar.setup.spool())).to_string();
    assert!(!events.contains(SECRET), "{events}");
    assert_no_value(&log, "the log");
}

#[tokio::test]
async fn each_event_is_in_one_locked_and_encrypted_object_over_an_outage_and_a_killed_sidecar() {
    let upstream = upstream().await;
    let mut setup = Setup::new(&upstream.url());
    setup.set("RUST_LOG", "trace");
    let mut store = Store::of(&mut setup);
    store.up_with_bucket().await;
    let mut sidecar = Sidecar::start(setup).await;
    let mut agent = client(&sidecar).await;
    finds(&mut agent, 3).await;
    delivered(&sidecar).await;
    store.down();
    finds(&mut agent, 10).await;
    sidecar
        .event("sink_failed", |event| event["details"]["sink"] == "s3")
        .await;
    sidecar.kill().await;
    store.up().await;
    sidecar.launch_again();
    sidecar.ready().await;
    let events = delivered(&sidecar).await;
    assert!(numbers(&events).values().all(|times| *times == 1));
    let words = assert_whole(&sidecar.setup).await;
    assert!(!words.contains("two objects"), "{words}");
    let versions = store.versions().await;
    for version in &versions {
        assert_eq!(
            (&version["marker"], &version["sse"], &version["mode"]),
            (&json!(false), &json!("AES256"), &json!("GOVERNANCE")),
            "{version}"
        );
        assert!(version["checksum"].is_string(), "{version}");
        let until = version["until"].as_str().expect("a date");
        assert!(
            until[..4].parse::<i32>().expect("a year") >= 2032,
            "{version}"
        );
    }
    let kept = Setup::contents(&store.data());
    assert_no_value(&kept, "the store");
    assert!(!kept.contains("dr.store"), "events are sealed");
    assert_secret_nowhere(&sidecar);
}

/// Kills the sidecar while the answer to a put never comes: the object is there, the sidecar does not know it, and puts it
/// again. An answer that was on its way when the relay went deaf may have been heard: then another one is lost.
async fn lose_an_answer(sidecar: &mut Sidecar, agent: &mut Client, store: &Store, relay: &Relay) {
    for _ in 0..ANSWERS_LOST_MAX {
        finds(agent, 5).await;
        let before = store.versions().await.len();
        relay.deafen();
        finds(agent, 5).await;
        eventually("an object whose answer is lost", || async {
            (store.versions().await.len() > before).then_some(())
        })
        .await;
        sidecar.kill().await;
        relay.mend();
        sidecar.launch_again();
        sidecar.ready().await;
        *agent = client(sidecar).await;
        metric_reaches(sidecar, SENT, &["sink=\"s3\""], 1.0).await;
        if sidecar.metric(SENT, &REPEATED).await >= 1.0 {
            return;
        }
    }
    // Each of them was heard: what the caller asserts of objects and events holds all the same.
    println!("no answer of {ANSWERS_LOST_MAX} was lost");
}

#[tokio::test]
async fn a_sidecar_killed_in_the_middle_of_an_upload_leaves_no_second_object() {
    let upstream = upstream().await;
    let mut setup = Setup::new(&upstream.url());
    let mut store = Store::of(&mut setup);
    store.up_with_bucket().await;
    let relay = Relay::start(store.port()).await;
    store.output(&mut setup, &format!("https://localhost:{}", relay.port), "");
    let mut sidecar = Sidecar::start(setup).await;
    let mut agent = client(&sidecar).await;
    first_object(&store).await;
    for _ in 0..3 {
        lose_an_answer(&mut sidecar, &mut agent, &store, &relay).await;
    }
    let events = delivered(&sidecar).await;
    assert!(numbers(&events).values().all(|times| *times == 1));
    let words = assert_whole(&sidecar.setup).await;
    assert!(!words.contains("two objects"), "{words}");
}

#[tokio::test]
async fn a_bucket_without_object_lock_keeps_the_sidecar_from_starting() {
    let upstream = upstream().await;
    let mut setup = Setup::new(&upstream.url());
    let mut store = Store::of(&mut setup);
    store.up().await;
    store.ask(&["make"]).await;
    let config = setup.write();
    let run = command(&setup, &["run", "--config", path_text(&config)]).await;
    let words = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(78), "{words}");
    assert!(
        words.contains(BUCKET) && words.contains("no Object Lock"),
        "{words}"
    );
    let check = command(
        &setup,
        &["check", "--online", "--config", path_text(&config)],
    )
    .await;
    let words = String::from_utf8_lossy(&check.stderr).into_owned()
        + &String::from_utf8_lossy(&check.stdout);
    assert!(
        words.contains("error[unlocked]") && words.contains("no Object Lock"),
        "{words}"
    );
    store.output(&mut setup, &store.endpoint(), "      object_lock: none\n");
    let sidecar = Sidecar::start(setup).await;
    let mut agent = client(&sidecar).await;
    finds(&mut agent, 1).await;
    delivered(&sidecar).await;
    assert_whole(&sidecar.setup).await;
}

#[tokio::test]
async fn a_store_that_cannot_encrypt_or_refuses_the_credentials_gets_nothing_and_loses_nothing() {
    let upstream = upstream().await;
    let mut setup = Setup::new(&upstream.url());
    let mut store = Store::of(&mut setup).without_encryption();
    store.up_with_bucket().await;
    setup.set("AWS_SECRET_ACCESS_KEY", "canary-wrong-secret");
    let mut sidecar = Sidecar::start(setup).await;
    let mut agent = client(&sidecar).await;
    finds(&mut agent, 2).await;
    sidecar
        .event("sink_failed", |event| {
            event["reason"] == "SignatureDoesNotMatch"
        })
        .await;
    assert!(!sidecar.log().contains("canary-wrong-secret"));
    assert_eq!(sidecar.stop().await.code(), Some(0));
    sidecar.setup.set("AWS_SECRET_ACCESS_KEY", SECRET);
    sidecar.launch_again();
    sidecar.ready().await;
    sidecar
        .event("sink_failed", |event| {
            event["details"]["sink"] == "s3" && event["reason"] != "SignatureDoesNotMatch"
        })
        .await;
    assert_eq!(store.versions().await, Vec::<Value>::new());
    store.down();
    let mut store = store.with_encryption();
    store.up().await;
    let events = delivered(&sidecar).await;
    assert!(numbers(&events).values().all(|times| *times == 1));
    assert_secret_nowhere(&sidecar);
}

#[tokio::test]
async fn what_is_deleted_replaced_or_missing_in_the_bucket_is_named() {
    let upstream = upstream().await;
    let mut setup = Setup::new(&upstream.url());
    let mut store = Store::of(&mut setup);
    store.up_with_bucket().await;
    let sidecar = Sidecar::start(setup).await;
    let mut agent = client(&sidecar).await;
    let mut count = 0;
    while count < 4 {
        finds(&mut agent, 1).await;
        delivered(&sidecar).await;
        count = store.versions().await.len();
    }
    assert_whole(&sidecar.setup).await;
    let versions = store.versions().await;
    let place = |at: usize| {
        let text = |member: &str| versions[at][member].as_str().expect("a text").to_owned();
        (text("name"), text("version"))
    };
    store.ask(&["delete", &place(0).0]).await;
    let found = verified(&sidecar.setup).await;
    assert!(
        found.contains(&format!("{}: somebody deleted it", place(0).0)),
        "{found}"
    );
    store.ask(&["replace", &place(1).0]).await;
    let found = verified(&sidecar.setup).await;
    assert!(
        found.contains(&place(1).0) && found.contains("it was changed"),
        "{found}"
    );
    let (name, version) = place(2);
    store.ask(&["delete", &name, &version]).await;
    let found = verified(&sidecar.setup).await;
    assert!(found.contains("missing: numbers "), "{found}");
    assert!(found.contains("3 problems"), "{found}");
    // What was deleted by a marker and what was put over is read all the same.
    let (_, out, err) = audit(
        &sidecar.setup,
        &["query", "--from", "s3", "--event", "audit_started"],
    )
    .await;
    assert!(out.contains("audit_started"), "{out}{err}");
}

/// What `audit verify` finds, which is something.
async fn verified(setup: &Setup) -> String {
    let (code, out, err) = audit(setup, &["verify", "--from", "s3"]).await;
    assert_eq!(code, 1, "{out}{err}");
    err
}

/// The one piece of JSON in the documentation that holds a word, for the bucket of the tests.
fn documented(word: &str) -> String {
    let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
    let text = std::fs::read_to_string(manual).expect("the manual");
    let pieces: Vec<&str> = text
        .split("```json\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .filter(|piece| piece.contains(word))
        .collect();
    assert_eq!(pieces.len(), 1, "one piece with {word}");
    pieces[0].replace("hipaa-audit-logs", BUCKET)
}

/// Lets the process and its commands be a role with a policy.
async fn become_role(setup: &mut Setup, store: &Store, policy: &str) {
    let credentials = store.ask(&["role", policy]).await;
    let names = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ];
    assert_eq!(credentials.lines().count(), names.len());
    for (name, value) in names.into_iter().zip(credentials.lines()) {
        setup.set(name, value);
    }
}

#[tokio::test]
async fn the_role_and_the_lifecycle_of_the_manual_are_enough_and_no_more_is_possible() {
    let upstream = upstream().await;
    let mut setup = Setup::new(&upstream.url());
    let mut store = Store::of(&mut setup);
    store.up_with_bucket().await;
    let relay = Relay::start(store.port()).await;
    let endpoint = format!("https://localhost:{}", relay.port);
    let kms = "      encryption: aws:kms\n      kms_key_id: tests\n";
    store.output(&mut setup, &endpoint, kms);
    let config = setup.write();
    let online = async |setup: &Setup| {
        let check = command(
            setup,
            &["check", "--online", "--config", path_text(&config)],
        )
        .await;
        String::from_utf8_lossy(&check.stdout).into_owned()
            + &String::from_utf8_lossy(&check.stderr)
    };
    let words = online(&setup).await;
    assert!(words.contains("the bucket has no lifecycle"), "{words}");
    store
        .ask(&["lifecycle", &documented("NoncurrentVersionExpiration")])
        .await;
    let policy = documented("s3:PutObjectRetention");
    become_role(&mut setup, &store, &policy).await;
    let words = online(&setup).await;
    assert!(
        !words.contains("audit_logging.output[s3]") && !words.contains("unlocked"),
        "{words}"
    );
    let mut sidecar = Sidecar::start(setup).await;
    let mut agent = client(&sidecar).await;
    finds(&mut agent, 3).await;
    first_object(&store).await;
    // An object whose answer is lost comes again, and the role may not look at it.
    lose_an_answer(&mut sidecar, &mut agent, &store, &relay).await;
    let (code, _, words) = audit(&sidecar.setup, &["query", "--from", "s3"]).await;
    assert!(
        code != 0 && words.contains("AccessDenied"),
        "the role reads nothing: {words}"
    );
    let reader = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":["s3:ListBucketVersions","s3:GetObject","s3:GetObjectVersion"],"Resource":["arn:aws:s3:::{BUCKET}","arn:aws:s3:::{BUCKET}/audit/*"]}}]}}"#
    );
    become_role(&mut sidecar.setup, &store, &reader).await;
    let events = delivered(&sidecar).await;
    assert!(numbers(&events).values().all(|times| *times == 1));
    let words = assert_whole(&sidecar.setup).await;
    assert!(!words.contains("two objects"), "{words}");
    for version in store.versions().await {
        assert_eq!(version["sse"], "aws:kms", "{version}");
    }
}

#[tokio::test]
async fn a_new_certificate_and_authority_of_the_store_need_no_restart() {
    let upstream = upstream().await;
    let mut setup = Setup::new(&upstream.url());
    let mut store = Store::of(&mut setup);
    store.up_with_bucket().await;
    let sidecar = Sidecar::start(setup).await;
    let mut agent = client(&sidecar).await;
    finds(&mut agent, 1).await;
    delivered(&sidecar).await;
    store.down();
    let authority = store.renew_certificate();
    let known = std::fs::read_to_string(store.ca_file()).expect("a file");
    store.up().await;
    finds(&mut agent, 2).await;
    sidecar
        .event("sink_failed", |event| event["details"]["sink"] == "s3")
        .await;
    std::fs::write(store.ca_file(), known + &authority).expect("a file");
    delivered(&sidecar).await;
    sidecar
        .event("sink_recovered", |event| event["details"]["sink"] == "s3")
        .await;
}
