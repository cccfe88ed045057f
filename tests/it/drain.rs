//! The end of the process: what was begun is finished, the trail is closed, and then it is gone.

use std::sync::Mutex;

use safeguard_tests::configuration::Setup;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::spool;
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, structured, tools_of_the_policy};
use safeguard_tests::wait::eventually;
use serde_json::json;
use tokio::sync::mpsc;

#[tokio::test]
async fn a_call_that_was_begun_is_finished_and_recorded_before_the_end() {
    let (events, receiver) = mpsc::unbounded_channel();
    let receiver = Mutex::new(Some(receiver));
    let upstream = Upstream::start(tools_of_the_policy(), move |request: &Recorded| {
        (request.message()["method"] == "tools/call")
            .then(|| receiver.lock().expect("no panic").take().map(Reply::Events))
            .flatten()
    })
    .await;
    let mut sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.drain"))).await;
    let call = client.request_message(
        "tools/call",
        &json!({"name": "find_patient", "arguments": {}}),
    );
    let answer = client.post(&call).await.expect_status(200).await;

    sidecar.signal("TERM");
    let admin = sidecar.admin();
    eventually("readiness that fails", || async {
        let answer =
            safeguard_tests::client::plain_answer(&admin, "GET", "/readyz", &[], Vec::new()).await;
        answer.is_none_or(|(status, _)| status != 200).then_some(())
    })
    .await;
    let result =
        json!({"jsonrpc": "2.0", "id": call["id"], "result": structured(&json!({"patients": []}))});
    events
        .send(format!("event: message\ndata: {result}\n\n"))
        .expect("the upstream still waits");
    drop(events);
    let answered = answer.message(&mut Vec::new()).await;
    assert_eq!(
        answered["result"]["structuredContent"],
        json!({"patients": []})
    );

    assert!(sidecar.ended().await.success(), "{}", sidecar.log());
    let names = spool::names(&sidecar.setup.spool());
    assert!(
        names.contains(&"phi_read".to_owned()),
        "the outcome is recorded: {names:?}"
    );
    assert_eq!(names.last().map(String::as_str), Some("audit_stopped"));
}

#[tokio::test]
async fn an_idle_sidecar_ends_at_once_and_well() {
    let upstream = Upstream::answering(json!({})).await;
    let mut sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    assert!(sidecar.stop().await.success(), "{}", sidecar.log());
}

#[tokio::test]
async fn the_drain_command_ends_a_sidecar_and_waits_for_its_end() {
    let upstream = Upstream::answering(json!({})).await;
    let mut sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let config = sidecar.setup.config();
    let config = safeguard_tests::sidecar::path_text(&config);
    let drained = sidecar.command(&["drain", "--config", config]).await;
    let words = String::from_utf8_lossy(&drained.stderr).into_owned();
    assert_eq!(drained.status.code(), Some(0), "{words}");
    let names = spool::names(&sidecar.setup.spool());
    assert_eq!(names.last().map(String::as_str), Some("audit_stopped"));
    assert!(sidecar.ended().await.success(), "{}", sidecar.log());
    let again = sidecar.command(&["drain", "--config", config]).await;
    assert_eq!(again.status.code(), Some(69), "nobody is left to end");
}

#[tokio::test]
async fn a_killed_sidecars_socket_is_replaced_and_its_log_level_changes_while_it_runs() {
    let upstream = Upstream::answering(json!({})).await;
    let mut sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    sidecar.kill().await;
    sidecar.launch_again();
    sidecar.ready().await;
    let config = sidecar.setup.config();
    let config = safeguard_tests::sidecar::path_text(&config);
    let changed = sidecar
        .command(&["log-level", "off", "--config", config])
        .await;
    let words = String::from_utf8_lossy(&changed.stderr).into_owned();
    assert_eq!(changed.status.code(), Some(0), "{words}");
    let event = sidecar
        .event("configuration_change", |event| {
            event["reason"] == "log_level_changed"
        })
        .await;
    assert!(
        event["subject"]["sub"]
            .as_str()
            .is_some_and(|sub| sub.starts_with("uid:")),
        "{event}"
    );
    assert!(sidecar.stop().await.success());
    let last_run = sidecar.log();
    let last_run = last_run.rsplit("is ready").next().unwrap_or_default();
    assert!(!last_run.contains("draining"), "off is off: {last_run}");
}
