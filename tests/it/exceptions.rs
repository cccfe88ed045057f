//! `exceptions`: an accepted risk holds for its rule until its day, is told before, and is strict again after it.

use safeguard_tests::configuration::Setup;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, structured, tools_of_the_policy};
use serde_json::json;

use crate::patients::VALUES;

fn answers(request: &Recorded) -> Option<Reply> {
    let called = request.message()["method"] == "tools/call";
    called.then(|| Reply::Result(structured(&json!({"patients": []}))))
}

/// What a server is called with, under an exception until a day.
async fn called_until(until: &str) -> (Sidecar, String) {
    let upstream = Upstream::start(tools_of_the_policy(), answers).await;
    let section = format!(
        "exceptions:\n  - {{ allow: storage_clear, for: tools.find_patient, because: the lab's facade, approved_by: ciso, until: {until} }}\n"
    );
    let sidecar = Sidecar::start(Setup::new(&upstream.url()).extended(&section)).await;
    let mut client = sidecar.client(&sign(&physician("dr.search"))).await;
    let arguments = json!({"ssn": VALUES[0]});
    client.succeed("find_patient", &arguments).await;
    (sidecar, upstream.everything())
}

#[tokio::test]
async fn an_exception_lets_arguments_up_in_clear_until_its_day_and_is_a_metric() {
    let (sidecar, up) = called_until("2999-12-31").await;
    assert!(up.contains(VALUES[0]));
    let ends = sidecar.metric(
        "safeguard_exception_expiry_timestamp_seconds",
        &["tools.find_patient", "storage_clear"],
    );
    assert_eq!(ends.await, 32_503_680_000.0);
}

#[tokio::test]
async fn an_exception_whose_day_is_over_is_strict_and_told() {
    let (sidecar, up) = called_until("2025-01-31").await;
    assert!(!up.contains(VALUES[0]), "sealed again");
    let told = sidecar.event("configuration_change", |event| {
        event["reason"] == "exception_over"
    });
    let told = told.await;
    assert_eq!(told["details"]["for"], "tools.find_patient");
    assert_eq!(told["details"]["approved_by"], "ciso");
}
