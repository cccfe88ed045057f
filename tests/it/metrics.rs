//! What dashboards and probes hold on to.

use safeguard_tests::client::plain_request;
use safeguard_tests::configuration::Setup;
use safeguard_tests::sidecar::{Sidecar, metric_reaches};
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::upstream::{Upstream, structured};
use safeguard_tests::wait::eventually;
use serde_json::json;

/// The families that this slice has.
const FAMILIES: [&str; 25] = [
    "build_info",
    "config_info",
    "config_last_reload_successful",
    "config_last_reload_success_timestamp_seconds",
    "requests_total",
    "request_duration_seconds",
    "proxy_overhead_seconds",
    "upstream_duration_seconds",
    "inflight_requests",
    "sse_streams",
    "authentications_total",
    "sessions_active",
    "phi_fields_total",
    "key_info",
    "key_operations_total",
    "audit_events_total",
    "audit_spool_bytes",
    "audit_spool_records",
    "audit_last_checkpoint_timestamp_seconds",
    "tls_handshakes_total",
    "certificate_expiry_timestamp_seconds",
    "mfa_challenges_total",
    "integrity_checks_total",
    "audit_sink_events_total",
    "audit_oldest_unsent_age_seconds",
];

#[tokio::test]
async fn the_metrics_of_the_contract_are_served_with_closed_label_values() {
    let record = json!({"patients": [{"patient_id": "p-1", "ssn": "123-45-6789"}]});
    let upstream = Upstream::answering(structured(&record)).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.metrics"))).await;
    client
        .succeed("find_patient", &json!({"ssn": "123-45-6789"}))
        .await;
    client.refused("tool_that_nobody_named", &json!({})).await;
    client.request("method/that/nobody/named", &json!({})).await;
    metric_reaches(
        &sidecar,
        "safeguard_requests_total",
        &["tool=\"find_patient\""],
        1.0,
    )
    .await;
    metric_reaches(
        &sidecar,
        "safeguard_audit_events_total",
        &["event=\"phi_read\""],
        1.0,
    )
    .await;
    metric_reaches(
        &sidecar,
        "safeguard_phi_fields_total",
        &["action=\"sealed\""],
        1.0,
    )
    .await;

    let text = sidecar.metrics().await;
    let missing: Vec<_> = FAMILIES
        .into_iter()
        .filter(|name| !text.contains(&format!("# TYPE safeguard_{name} ")))
        .collect();
    // A family with labels exists once it has a sample: these have none in a run without a sink, a challenge and a record.
    let may_wait = [
        "mfa_challenges_total",
        "integrity_checks_total",
        "audit_sink_events_total",
        "audit_oldest_unsent_age_seconds",
        "audit_last_checkpoint_timestamp_seconds",
    ];
    assert!(
        missing.iter().all(|name| may_wait.contains(name)),
        "missing: {missing:?}"
    );
    assert!(
        !text.contains("tool_that_nobody_named") && !text.contains("nobody/named"),
        "what a client makes up is `other`"
    );
    assert!(!text.contains("dr.metrics") && !text.contains("123-45-6789"));
}

#[tokio::test]
async fn probes_answer_and_nothing_else_does() {
    let upstream = Upstream::answering(json!({})).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let admin = sidecar.admin();
    for (method, path, expected) in [
        ("GET", "/livez", 200),
        ("GET", "/readyz", 200),
        ("GET", "/readyz?verbose", 200),
        ("GET", "/metrics", 200),
        ("GET", "/", 404),
        ("GET", "/mcp", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/livez", 405),
    ] {
        let (status, _) = plain_request(&admin, method, path, &[], Vec::new()).await;
        assert_eq!(status, expected, "{method} {path}");
    }
}

#[tokio::test]
async fn what_a_key_has_done_is_counted_on_over_a_reload() {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let mut sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.wear"))).await;
    let name = "safeguard_key_operations_total";
    let worn = async |sidecar: &Sidecar, least: f64| {
        eventually("the counted operations", || async {
            let count = sidecar.metric(name, &[]).await;
            (count >= least).then_some(count)
        })
        .await
    };
    // The synthetic patient wears the key as well.
    let before = worn(&sidecar, 1.0).await;
    let ssn = json!({"ssn": "123-45-6789"});
    client.succeed("find_patient", &ssn).await;
    let after = worn(&sidecar, before + 1.0).await;
    sidecar.setup.replace(
        "policy.yaml",
        "medications: { group: clinical }",
        "medications: { group: clinical, also: [meds] }",
    );
    sidecar.setup.write();
    sidecar.signal("HUP");
    sidecar.event("configuration_change", |_| true).await;
    client.succeed("find_patient", &ssn).await;
    worn(&sidecar, after + 1.0).await;
}
