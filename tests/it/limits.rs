//! Patterns of tools, whose records an answer may hold and how many, and who receives an export: from outside.

use safeguard_tests::configuration::Setup;
use safeguard_tests::sidecar::{Sidecar, path_text};
use safeguard_tests::tokens::{physician, sign, with};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, structured};
use serde_json::{Value, json};

use crate::patients::assert_no_value;

/// The code of everything that the policy denies.
const DENIED: i64 = -32050;
const SSN: &str = "123-45-6789";

/// A laboratory's server, which lists one of the tools that it has.
async fn laboratory() -> Upstream {
    let tools = json!([{ "name": "lab_results", "inputSchema": { "type": "object" } }]);
    Upstream::start(tools, |request: &Recorded| {
        let message = request.message();
        let patient = |id: &str| json!({ "patient_id": id, "ssn": SSN });
        let all = json!({ "patients": [patient("p-1"), patient("p-2"), patient("p-3")] });
        (message["method"] == "tools/call").then(|| Reply::Result(structured(&all)))
    })
    .await
}

async fn sidecar(upstream: &Upstream, rule: &str) -> Sidecar {
    let tool = format!("\n  {rule}\nresources:\n");
    Sidecar::start(Setup::new(&upstream.url()).with_policy("\nresources:\n", &tool)).await
}

fn of(event: &Value, name: &str) -> bool {
    event["event"] == name && event["mcp"]["method"] == "tools/call"
}

#[tokio::test]
async fn a_tool_that_fits_a_pattern_is_named_in_the_trail_only_as_its_server_or_the_policy_does() {
    let upstream = laboratory().await;
    let rule = "lab_*: { operation: read, roles: [physician], patient: \"result.patients[*].patient_id\" }";
    let sidecar = sidecar(&upstream, rule).await;
    let mut client = sidecar.client(&sign(&physician("dr.pattern"))).await;
    client.succeed("lab_unlisted", &json!({})).await;
    assert_eq!(client.names("tools/list", "tools").await, ["lab_results"]);
    client.succeed("lab_results", &json!({})).await;
    assert_eq!(client.refused("lab_Jane Doe", &json!({})).await, DENIED);
    let read: Vec<Value> = sidecar
        .events()
        .into_iter()
        .filter(|event| of(event, "phi_read"))
        .collect();
    let named: Vec<&Value> = read.iter().map(|event| &event["mcp"]["tool"]).collect();
    assert_eq!(named, ["lab_*", "lab_results"]);
    let metric = sidecar.metric(
        "safeguard_requests_total",
        &["tool=\"lab_*\"", "outcome=\"ok\""],
    );
    assert!((metric.await - 2.0).abs() < f64::EPSILON);
    let trail = Value::from(sidecar.events()).to_string();
    assert!(!trail.contains("lab_unlisted") && !trail.contains("Jane"));
}

#[tokio::test]
async fn what_is_another_patients_never_leaves_and_the_trail_counts_it() {
    let upstream = laboratory().await;
    let rule = "portal: { operation: search, roles: [physician], patient: \"result.patients[*].patient_id\", only_patients: claims.patient, max_patients: 1 }";
    let sidecar = sidecar(&upstream, rule).await;
    let token = |patients: Value| {
        sign(&with(
            physician("dr.portal"),
            &json!({ "patient": patients }),
        ))
    };
    let mut client = sidecar.client(&token(json!("p-2"))).await;
    let seen = client.succeed("portal", &json!({})).await;
    assert_eq!(
        seen["structuredContent"],
        json!({ "patients": [{ "patient_id": "p-2", "ssn": SSN }] })
    );
    let text = seen.to_string();
    assert!(!text.contains("p-1") && !text.contains("p-3"));
    let outcome = sidecar
        .event("phi_read", |event| of(event, "phi_read"))
        .await;
    assert_eq!(outcome["details"]["dropped_of_other_patients"], 2);
    assert_eq!(outcome["patients"].as_array().map(Vec::len), Some(1));

    let mut client = sidecar.client(&token(json!(["p-1", "p-3"]))).await;
    assert_eq!(client.refused("portal", &json!({})).await, DENIED);
    let denied = |event: &Value| event["reason"] == "too_many_patients";
    sidecar.event("phi_access_denied", denied).await;
    let mut nobody = sidecar.client(&sign(&physician("dr.nobody"))).await;
    let calls = upstream.messages("tools/call").len();
    assert_eq!(nobody.refused("portal", &json!({})).await, DENIED);
    assert_eq!(
        upstream.messages("tools/call").len(),
        calls,
        "nothing goes up without a claim"
    );
}

#[tokio::test]
async fn who_receives_an_export_is_on_record_before_it_leaves() {
    let upstream = laboratory().await;
    let rule = "hand_out: { operation: export, roles: [physician], patient: args.patient_id, recipient: args.recipient }";
    let sidecar = sidecar(&upstream, rule).await;
    let mut client = sidecar.client(&sign(&physician("dr.export"))).await;
    let export = json!({ "patient_id": "p-1", "recipient": "State Cancer Registry" });
    client.succeed("hand_out", &export).await;
    for name in ["phi_access_granted", "phi_export"] {
        let event = sidecar.event(name, |event| of(event, name)).await;
        assert_eq!(event["details"]["recipient"], "State Cancer Registry");
    }
    let calls = upstream.messages("tools/call").len();
    let untold = client
        .refused("hand_out", &json!({ "patient_id": "p-1" }))
        .await;
    assert_eq!(untold, DENIED);
    assert_eq!(upstream.messages("tools/call").len(), calls);

    // What the patient may ask for in the next six years (45 CFR 164.528).
    let config = sidecar.setup.config();
    let asked = [
        "audit",
        "disclosures",
        "--config",
        path_text(&config),
        "--format",
        "csv",
        "--patient",
    ];
    let accounting = |patient: &'static str, more: &'static [&'static str]| {
        let (sidecar, arguments) = (&sidecar, [&asked[..], &[patient], more].concat());
        async move {
            let output = sidecar.command(&arguments).await;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert!(output.status.success(), "{}", text(&output.stderr));
            (text(&output.stdout), text(&output.stderr))
        }
    };
    let (listed, told) = accounting("p-1", &[]).await;
    assert_eq!(
        listed.lines().count(),
        1,
        "for treatment no accounting is owed: {listed}"
    );
    assert!(told.contains("notice: 1 for treatment"), "{told}");
    let (listed, _) = accounting("p-1", &["--all"]).await;
    assert!(listed.contains(",State Cancer Registry,"), "{listed}");
    assert!(listed.contains(",TREAT,hand_out,dr.export,"), "{listed}");
    let (other, _) = accounting("p-2", &["--all"]).await;
    assert_eq!(
        other.lines().count(),
        1,
        "nothing of another patient: {other}"
    );
    let access = sidecar.event("audit_log_accessed", |_| true).await;
    assert!(
        access["details"]["query"]
            .as_str()
            .is_some_and(|query| query.contains("disclosures"))
    );
    assert_no_value(&Value::from(sidecar.events()).to_string(), "the trail");
}
