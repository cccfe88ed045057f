//! Values planted wherever a client or an upstream can put them: none comes out of a log, a metric, a probe or the trail.

use safeguard_tests::client::{open_tls, plain_request};
use safeguard_tests::configuration::{KEYS, Setup};
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::tokens::{SECRET, physician, sign, sign_as, with};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, structured, tools_of_the_policy};
use safeguard_tests::wait::eventually;
use serde_json::json;

use crate::framing::exchange;

/// A name, a number and a record number that exist nowhere else.
const PLANTED: [&str; 3] = ["Zebediah Quillfeather", "987-65-4321", "MRN-CANARY-77"];

#[tokio::test]
async fn nothing_planted_comes_out_of_logs_metrics_probes_or_the_trail() {
    let [name, ssn, mrn] = PLANTED;
    let answers = json!({"patients": [{"patient_id": mrn, "ssn": ssn, "status": "active", "note": name}], "record": {"data": {"ssn": ssn}}});
    let upstream = Upstream::start(tools_of_the_policy(), move |request: &Recorded| {
        let message = request.message();
        (message["method"] == "tools/call").then(|| match message["params"]["name"].as_str() {
            Some("export_records") => {
                Reply::Error(json!({"code": -32000, "message": format!("no {name}"), "data": ssn}))
            }
            Some("delete_record") => {
                Reply::Body(500, "text/html", format!("panic: {ssn}").into_bytes())
            }
            _ => Reply::Result(structured(&answers)),
        })
    })
    .await;
    let mut setup = Setup::new(&upstream.url());
    for (variable, value) in [("RUST_LOG", "trace"), ("SAFEGUARD_LOG", "trace")] {
        setup.set(variable, value);
    }
    let mut sidecar = Sidecar::start(setup).await;
    let token = sign(&physician("dr.canary"));
    let mut client = sidecar.client(&token).await;
    client
        .call(
            "find_patient",
            &json!({"ssn": ssn, "diagnosis": name, "note": name, "deep": {"mrn": mrn}}),
        )
        .await;
    client
        .call("read_record", &json!({"patient_id": mrn}))
        .await;
    client.call("store_record", &json!({"patient_id": mrn, "department": "cardiology", "record": {"data": {"ssn": ssn}}})).await;
    client.call("export_records", &json!({"ssn": ssn})).await;
    client.call(name, &json!({name: ssn})).await;
    client.request(&format!("method/{ssn}"), &json!({})).await;
    client
        .request(
            "resources/read",
            &json!({"uri": format!("patient://{mrn}/summary")}),
        )
        .await;
    let delete = client.request_message(
        "tools/call",
        &json!({"name": "delete_record", "arguments": {"patient_id": mrn}}),
    );
    client.post(&delete).await.bytes().await;
    for broken in [
        format!("{{\"ssn\":\"{ssn}\""),
        format!("[\"{ssn}\"]"),
        format!("{{\"jsonrpc\":\"{ssn}\",\"id\":1,\"method\":\"{name}\"}}"),
    ] {
        let answer = client.post_bytes(broken).await.bytes().await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            PLANTED.iter().all(|planted| !answer.contains(planted)),
            "{answer}"
        );
    }
    let odd = format!("/mcp?patient={ssn}");
    let _refused = sidecar
        .connect()
        .await
        .send(
            "POST",
            &odd,
            &[
                ("x-patient", ssn),
                ("authorization", &format!("Bearer {token}")),
            ],
            "{}",
        )
        .await;
    let expired = sign(&with(physician(name), &json!({"exp": 1})));
    let forged = sign_as(
        &json!({"alg": "HS256"}),
        &physician("dr.forged"),
        "another-secret-0123456789-0123456789",
    );
    for bad in [&expired, &forged] {
        let _refused = sidecar
            .connect()
            .await
            .send(
                "POST",
                "/mcp",
                &[("authorization", &format!("Bearer {bad}"))],
                "{}",
            )
            .await;
    }
    for head in [
        format!("POST /mcp HTTP/1.1\r\n{name}\r\nauthorization: Bearer {token}\r\n\r\n"),
        format!("POST /mcp HTTP/1.1\r\nhost: {ssn}\r\ncontent-length: {ssn}\r\n\r\n"),
        format!("{ssn} {name} {mrn}\r\n\r\n"),
    ] {
        let tls = sidecar.tls(&sidecar.web);
        let mut raw = open_tls(&sidecar.target(), tls, &["http/1.1"])
            .await
            .expect("a connection");
        let (status, _) = exchange(&mut raw, head.as_bytes()).await;
        assert_eq!(status, 400, "{head}");
    }
    let metrics = sidecar.metrics().await;
    let (_, ready) =
        plain_request(&sidecar.admin(), "GET", "/readyz?verbose", &[], Vec::new()).await;
    sidecar.stop().await;

    let spool = Setup::contents(&sidecar.setup.spool());
    let places = [
        ("the log", sidecar.log()),
        ("the metrics", metrics),
        ("a probe", String::from_utf8_lossy(&ready).into_owned()),
        ("the spool", spool),
    ];
    let keys = KEYS.iter().map(|(_, key)| *key);
    let secrets = [SECRET, &token, &expired, &forged];
    for (place, text) in places {
        // The subject of a refused token is a claim of nobody's.
        for planted in PLANTED.into_iter().chain(keys.clone()).chain(secrets) {
            assert!(!text.contains(planted), "{place} holds {planted:?}");
        }
    }
}

#[tokio::test]
async fn the_synthetic_patient_goes_through_at_start_and_after_a_reload() {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let mut sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let ran = async |sidecar: &Sidecar| {
        sidecar
            .metric("safeguard_canary_runs_total", &["result=\"ok\""])
            .await
    };
    assert!(ran(&sidecar).await >= 1.0, "before the first connection");
    let (_, ready) =
        plain_request(&sidecar.admin(), "GET", "/readyz?verbose", &[], Vec::new()).await;
    let ready = String::from_utf8_lossy(&ready).into_owned();
    assert!(ready.contains("[+] canary:"), "{ready}");

    sidecar.setup.replace(
        "policy.yaml",
        "physician:  { purposes: [TREAT], reveal: [identity, clinical] }",
        "physician:  { purposes: [TREAT], reveal: [identity] }",
    );
    sidecar.setup.write();
    sidecar.signal("HUP");
    eventually("a run with the new policy", || async {
        (ran(&sidecar).await >= 2.0).then_some(())
    })
    .await;
    let text = sidecar.metrics().await;
    assert!(
        !text.contains("result=\"leak\"") && !text.contains("result=\"broken\""),
        "{text}"
    );
    assert!(
        upstream.requests().is_empty(),
        "nothing of it leaves the process"
    );
}
