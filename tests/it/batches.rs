//! JSON-RPC batches: refused, but of 2025-03-26 where the configuration lets them through; then each element is judged by itself.

use safeguard_tests::client::Client;
use safeguard_tests::clinic::Server;
use safeguard_tests::configuration::Setup;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::tokens::{claims, physician, sign};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, structured, tools_of_the_policy};
use serde_json::{Value, json};
use tokio::sync::mpsc;

const ALLOWED: &str = "upstream:\n  batches: allow\n";

fn call(id: u64, tool: &str, arguments: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
}

fn answer(request: &Value) -> Value {
    let patients = json!({"patients": [{"patient_id": "p-1", "ssn": "123-45-6789"}]});
    json!({"jsonrpc": "2.0", "id": request["id"], "result": structured(&patients)})
}

/// A server that takes batches: as JSON; with `lost`, without the answer to the last; with `events`, as a stream.
async fn server(how: &'static str) -> Upstream {
    Upstream::start(tools_of_the_policy(), move |request: &Recorded| {
        let batch = request.message();
        let requests: Vec<_> = batch
            .as_array()?
            .iter()
            .filter(|one| one.get("id").is_some())
            .collect();
        if requests.is_empty() {
            return Some(Reply::Body(202, "text/plain", Vec::new()));
        }
        let mut answers: Vec<Value> = requests.into_iter().rev().map(answer).collect();
        answers.push(json!({"jsonrpc": "2.0", "id": 4711, "result": {"ssn": "123-45-6789"}}));
        if how == "lost" {
            answers.remove(0);
        }
        if how != "events" {
            let body = Value::from(answers).to_string().into_bytes();
            return Some(Reply::Body(200, "application/json", body));
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        let (first, rest) = answers.split_first().expect("answers");
        for data in [first.clone(), Value::from(rest)] {
            sender
                .send(format!("data: {data}\n\n"))
                .expect("a receiver");
        }
        Some(Reply::Events(receiver))
    })
    .await
}

/// Posts a body as a client of a revision; status and messages of the answer.
async fn post(client: &mut Client, revision: Option<&str>, body: &str) -> (u16, Vec<Value>) {
    let token = format!("Bearer {}", client.token);
    let mut headers = vec![
        ("authorization", token.as_str()),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    headers.extend(revision.map(|revision| ("mcp-protocol-version", revision)));
    let session = client.session.clone().unwrap_or_default();
    if !session.is_empty() {
        headers.push(("mcp-session-id", &session));
    }
    let sent = client
        .connection
        .send("POST", "/mcp", &headers, body.to_owned())
        .await;
    let mut answer = sent.expect("an answer");
    let status = answer.status;
    let mut messages = Vec::new();
    if answer.header("content-type") == "text/event-stream" {
        while let Some(event) = answer.event().await {
            messages.push(event.json());
        }
    } else {
        let body = answer.bytes().await;
        messages.extend(serde_json::from_slice::<Value>(&body).ok());
    }
    let flat = messages.into_iter().flat_map(|message| match message {
        Value::Array(several) => several,
        one => vec![one],
    });
    (status, flat.collect())
}

fn of(messages: &[Value], id: u64) -> &Value {
    let mut found = messages.iter().filter(|message| message["id"] == id);
    let first = found
        .next()
        .unwrap_or_else(|| panic!("an answer to {id}: {messages:?}"));
    assert!(found.next().is_none(), "one answer to {id}: {messages:?}");
    first
}

#[tokio::test]
async fn a_batch_is_refused_unless_it_is_let_through_and_of_its_revision() {
    let batch = json!([call(1, "find_patient", &json!({}))]).to_string();
    for (more, revisions) in [
        (
            "",
            [None, Some("2025-03-26"), Some("2025-11-25")].as_slice(),
        ),
        (ALLOWED, [Some("2025-06-18"), Some("2025-11-25")].as_slice()),
    ] {
        let upstream = server("json").await;
        let mut setup = Setup::new(&upstream.url());
        if !more.is_empty() {
            setup = setup.extended(more);
        }
        let sidecar = Sidecar::start(setup).await;
        for revision in revisions {
            let mut client = Client::new(sidecar.connect().await, &sign(&physician("dr.smuggler")));
            let (status, messages) = post(&mut client, *revision, &batch).await;
            assert_eq!(status, 400, "{revision:?}");
            assert_eq!(messages[0]["error"]["code"], -32600);
        }
        assert_eq!(upstream.everything(), "");
    }
}

#[tokio::test]
async fn each_element_is_decided_rewritten_recorded_and_settled_by_itself() {
    for how in ["json", "events"] {
        let upstream = server(how).await;
        let sidecar = Sidecar::start(Setup::new(&upstream.url()).extended(ALLOWED)).await;
        let mut client = sidecar
            .client(&sign(&claims("agent.batch", "nurse", "TREAT")))
            .await;
        let batch = json!([
            call(1, "find_patient", &json!({"department": "cardiology"})),
            call(2, "maintenance", &json!({})),
            call(3, "find_patient", &json!({"ssn": "123-45-6789"})),
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            call(5, "find_patient", &json!({})),
            {"jsonrpc": "2.0", "id": 6, "method": "initialize", "params": {}},
            7,
        ]);
        let (status, messages) = post(&mut client, Some("2025-03-26"), &batch.to_string()).await;
        assert_eq!(status, 200, "{how}");
        for id in [1, 5] {
            let answer = of(&messages, id);
            let ssn = &answer["result"]["structuredContent"]["patients"][0]["ssn"];
            assert!(ssn != "123-45-6789", "shown by the nurse's view: {answer}");
            assert!(answer["result"].is_object(), "{how}: {answer}");
        }
        assert_eq!(of(&messages, 2)["error"]["code"], -32050);
        assert!(
            of(&messages, 3)["error"]["code"].is_number(),
            "no PHI that she may not reveal"
        );
        assert_eq!(of(&messages, 6)["error"]["code"], -32600);
        assert!(
            messages.iter().all(|message| message["id"] != 4711),
            "what nobody asked for stays inside"
        );
        let up = upstream.requests().into_iter().map(|one| one.message());
        let up = up.filter(Value::is_array).collect::<Vec<_>>();
        let ids: Vec<_> = up[0]
            .as_array()
            .expect("a batch")
            .iter()
            .map(|one| one["id"].clone())
            .collect();
        assert_eq!(
            (up.len(), ids),
            (1, vec![json!(1), Value::Null, json!(5)]),
            "only what is permitted goes up"
        );
        assert!(!upstream.everything().contains("123-45-6789"));
        for id in ["1", "5"] {
            sidecar
                .event("phi_access_granted", |event| event["mcp"]["id"] == id)
                .await;
            sidecar
                .event("phi_read", |event| {
                    event["mcp"]["id"] == id && event["outcome"] == "success"
                })
                .await;
        }
        sidecar
            .event("phi_access_denied", |event| event["mcp"]["id"] == "2")
            .await;
        // The ids are free again.
        let (_, messages) = post(&mut client, Some("2025-03-26"), &batch.to_string()).await;
        assert!(of(&messages, 1)["result"].is_object());
    }
}

#[tokio::test]
async fn an_element_whose_answer_is_lost_is_answered_and_recorded_as_the_upstreams_failure() {
    let upstream = server("lost").await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url()).extended(ALLOWED)).await;
    let mut client = Client::new(sidecar.connect().await, &sign(&physician("dr.lost")));
    let batch = json!([
        call(1, "find_patient", &json!({})),
        call(2, "find_patient", &json!({}))
    ]);
    let (status, messages) = post(&mut client, None, &batch.to_string()).await;
    assert_eq!(status, 200);
    assert!(of(&messages, 1)["result"].is_object());
    assert_eq!(of(&messages, 2)["error"]["code"], -32054);
    sidecar
        .event("phi_read", |event| {
            event["mcp"]["id"] == "2" && event["outcome"] == "failure"
        })
        .await;
}

#[tokio::test]
async fn a_batch_without_end_without_elements_or_with_one_id_twice_is_refused_whole() {
    let upstream = server("json").await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url()).extended(ALLOWED)).await;
    let many: Vec<Value> = (0..65)
        .map(|id| call(id, "list_departments", &json!({})))
        .collect();
    let twice = [
        call(1, "find_patient", &json!({})),
        call(1, "find_patient", &json!({})),
    ];
    for batch in [Value::from(many), json!([]), json!(twice)] {
        let mut client = Client::new(sidecar.connect().await, &sign(&physician("dr.many")));
        let (status, _) = post(&mut client, None, &batch.to_string()).await;
        assert_eq!(status, 400);
    }
    assert_eq!(upstream.everything(), "");
    let reached = sidecar
        .metric("safeguard_limits_reached_total", &["batch_elements"])
        .await;
    assert!(reached >= 1.0);
    let only = json!([call(1, "maintenance", &json!({}))]).to_string();
    let mut client = Client::new(sidecar.connect().await, &sign(&physician("dr.none")));
    let (status, messages) = post(&mut client, None, &only).await;
    assert_eq!(
        (status, &of(&messages, 1)["error"]["code"]),
        (200, &json!(-32050))
    );
    assert_eq!(
        upstream.everything(),
        "",
        "nothing permitted: nothing goes up"
    );
}

#[tokio::test]
async fn a_batch_works_with_a_real_server_of_its_revision() {
    let server = Server::npm_everything().await;
    let rules = "tools:\n  echo: { operation: none, roles: any, patient: none }\n";
    let setup = Setup::new(&server.url()).extended(ALLOWED).extended(rules);
    let sidecar = Sidecar::start(setup).await;
    let mut client = sidecar.client(&sign(&physician("dr.real"))).await;
    let batch = json!([
        call(11, "echo", &json!({"message": "one"})),
        call(12, "get-env", &json!({})),
        call(13, "echo", &json!({"message": "two"})),
    ]);
    let (status, messages) = post(&mut client, Some("2025-03-26"), &batch.to_string()).await;
    assert_eq!(status, 200, "{messages:?}");
    assert_eq!(
        of(&messages, 11)["result"]["content"][0]["text"],
        "Echo: one"
    );
    assert_eq!(of(&messages, 12)["error"]["code"], -32050);
    assert_eq!(
        of(&messages, 13)["result"]["content"][0]["text"],
        "Echo: two"
    );
}

#[tokio::test]
async fn an_emergency_begun_in_a_batch_holds_for_what_comes_after_it_alone_and_goes_up_nowhere() {
    let section =
        "emergency: { roles: [nurse], grants: { view: physician, tools: [find_patient] } }\n";
    let upstream = server("json").await;
    let setup = Setup::new(&upstream.url()).extended(ALLOWED);
    let sidecar = Sidecar::start(setup.extended(section)).await;
    let token = sign(&claims("nurse.batch", "nurse", "TREAT"));
    let mut client = Client::new(sidecar.connect().await, &token);
    let wish = json!({"patient": "p-1", "reason": "collapsed in the corridor"});
    let batch = json!([
        call(1, "safeguard_emergency_start", &wish),
        call(2, "find_patient", &json!({})),
    ]);
    let (status, messages) = post(&mut client, None, &batch.to_string()).await;
    assert_eq!(status, 200);
    assert_eq!(of(&messages, 1)["result"]["isError"], false);
    let patient = &of(&messages, 2)["result"]["structuredContent"]["patients"][0];
    assert_eq!(patient["ssn"], "***-**-6789", "it was judged before");
    assert!(!upstream.everything().contains("safeguard_emergency"));
    let alone = json!([call(3, "safeguard_emergency_stop", &json!({}))]);
    let (status, messages) = post(&mut client, None, &alone.to_string()).await;
    assert_eq!(
        (status, &of(&messages, 3)["result"]["isError"]),
        (200, &json!(false))
    );
}
