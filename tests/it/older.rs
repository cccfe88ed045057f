//! Servers of the transport HTTP+SSE of 2024-11-05: a stream, a path to post to, and answers that come on the stream.

use std::sync::{Arc, Mutex};

use safeguard_tests::client::Client;
use safeguard_tests::clinic::Server;
use safeguard_tests::configuration::Setup;
use safeguard_tests::front::Front;
use safeguard_tests::sdk::Sdk;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::stream::Answer;
use safeguard_tests::tokens::{claims, physician, sign};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, structured, tools_of_the_policy};
use safeguard_tests::wait::eventually;
use serde_json::{Value, json};
use tokio::sync::mpsc;

const OLDER: &str = "upstream:\n  transport: sse\n";
const RULES: &str = "tools:
  echo: { operation: none, roles: any, patient: none }
  get-sum: { operation: none, roles: any, patient: none }
  search_patients: { operation: search, roles: [physician], patient: none }
";

/// An older server that names `endpoint`, and answers every post on its newest stream with what `answer` makes of it.
async fn server(
    endpoint: &'static str,
    answer: impl Fn(&Value) -> Value + Send + Sync + 'static,
) -> Upstream {
    let stream: Arc<Mutex<Option<mpsc::UnboundedSender<String>>>> = Arc::default();
    Upstream::start(tools_of_the_policy(), move |request: &Recorded| {
        let mut stream = stream.lock().expect("no test panicked here");
        if request.method == "GET" {
            let (sender, receiver) = mpsc::unbounded_channel();
            sender
                .send(format!("event: endpoint\ndata: {endpoint}\n\n"))
                .expect("a receiver");
            *stream = Some(sender);
            return Some(Reply::Events(receiver));
        }
        let message = request.message();
        if message.get("id").is_some() {
            let answer = answer(&message);
            let sent = stream
                .as_ref()
                .map(|stream| stream.send(format!("event: message\ndata: {answer}\n\n")));
            drop(sent);
        }
        Some(Reply::Body(202, "text/plain", b"Accepted".to_vec()))
    })
    .await
}

fn result(message: &Value, result: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": message["id"], "result": result})
}

fn with_a_patient(message: &Value) -> Value {
    let patients = json!({"patients": [{"patient_id": "p-1", "ssn": "123-45-6789"}]});
    result(message, &structured(&patients))
}

fn setup(upstream: &Upstream) -> Setup {
    Setup::new(&format!("http://{}/sse", upstream.address)).extended(OLDER)
}

/// A client's stream, and the path that its first event names.
async fn open(sidecar: &Sidecar, token: &str) -> (Client, Answer, String) {
    let mut client = Client::new(sidecar.connect().await, token);
    let mut stream = client.listen().await.expect_status(200).await;
    assert_eq!(
        stream.header("mcp-session-id"),
        "",
        "this transport has no such header"
    );
    let path = stream.event().await.expect("the first event").data;
    (Client::new(sidecar.connect().await, token), stream, path)
}

async fn post(client: &mut Client, path: &str, message: &Value) -> u16 {
    let token = format!("Bearer {}", client.token);
    let headers = [
        ("authorization", token.as_str()),
        ("content-type", "application/json"),
    ];
    let sent = client
        .connection
        .send("POST", path, &headers, message.to_string())
        .await;
    sent.expect("an answer").status
}

fn call(id: u64, tool: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": {}}})
}

#[tokio::test]
async fn answers_come_on_the_stream_and_are_shown_by_the_callers_view() {
    let upstream = server("/messages/?session_id=inner", with_a_patient).await;
    let sidecar = Sidecar::start(setup(&upstream)).await;
    for (role, shown) in [("physician", "123-45-6789"), ("nurse", "*******6789")] {
        let token = sign(&claims(&format!("{role}.older"), role, "TREAT"));
        let (mut client, mut stream, path) = open(&sidecar, &token).await;
        assert!(path.starts_with("/mcp?session_id="), "{path}");
        assert!(
            !path.contains("inner") && !path.contains("messages"),
            "the server's own path stays inside: {path}"
        );
        assert_eq!(
            post(&mut client, &path, &call(7, "find_patient")).await,
            202
        );
        let answer = stream.event().await.expect("the answer").json();
        assert_eq!(answer["id"], 7);
        let patient = &answer["result"]["structuredContent"]["patients"][0];
        let ssn = patient["ssn"].as_str().unwrap_or_default();
        assert!(ssn.ends_with(&shown[shown.len() - 4..]), "{role}: {answer}");
        assert_eq!(
            ssn == "123-45-6789",
            role == "physician",
            "{role}: {answer}"
        );
        sidecar
            .event("phi_read", |event| event["outcome"] == "success")
            .await;
    }
    let posted = upstream.requests();
    let mut posted = posted.iter().filter(|request| request.method == "POST");
    assert!(posted.all(|request| request.path == "/messages/?session_id=inner"));
}

#[tokio::test]
async fn a_refusal_is_told_on_the_stream_and_nothing_of_it_goes_up() {
    let upstream = server("/messages/", with_a_patient).await;
    let sidecar = Sidecar::start(setup(&upstream)).await;
    let (mut client, mut stream, path) = open(&sidecar, &sign(&physician("dr.older"))).await;
    assert_eq!(post(&mut client, &path, &call(3, "maintenance")).await, 202);
    let told = stream.event().await.expect("the refusal").json();
    assert_eq!(
        (&told["id"], &told["error"]["code"]),
        (&json!(3), &json!(-32050))
    );
    assert!(upstream.messages("tools/call").is_empty());
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_or_that_may_not_be_released_stays_inside() {
    let upstream = server("/messages/", |message| match message["id"].as_u64() {
        Some(1) => json!({"jsonrpc": "2.0", "id": 99, "result": {"ssn": "123-45-6789"}}),
        Some(2) => json!({"jsonrpc": "2.0", "id": 2, "result": {"structuredContent": {"record": {"data": {}}}, "content": []}}),
        _ => with_a_patient(message),
    })
    .await;
    let sidecar = Sidecar::start(setup(&upstream)).await;
    let (mut client, mut stream, path) = open(&sidecar, &sign(&physician("dr.nobody"))).await;
    assert_eq!(
        post(&mut client, &path, &call(1, "find_patient")).await,
        202
    );
    let read = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "read_record", "arguments": {"patient_id": "p-1"}}});
    assert_eq!(post(&mut client, &path, &read).await, 202);
    let told = stream.event().await.expect("the refusal").json();
    assert_eq!(
        (&told["id"], &told["error"]["code"]),
        (&json!(2), &json!(-32051)),
        "{told}"
    );
    sidecar.event("integrity_violation", |_| true).await;
}

#[tokio::test]
async fn a_session_is_its_principals_alone_and_ends_with_its_stream() {
    let upstream = server("/messages/", with_a_patient).await;
    let sidecar = Sidecar::start(setup(&upstream)).await;
    let (mut owner, mut stream, path) = open(&sidecar, &sign(&physician("dr.owner"))).await;
    let mut thief = Client::new(sidecar.connect().await, &sign(&physician("dr.thief")));
    assert_eq!(post(&mut thief, &path, &call(1, "find_patient")).await, 404);
    assert_eq!(
        post(
            &mut thief,
            "/mcp?session_id=guess",
            &call(1, "find_patient")
        )
        .await,
        404
    );
    assert_eq!(
        post(&mut thief, "/mcp", &call(1, "find_patient")).await,
        405
    );
    assert!(upstream.messages("tools/call").is_empty());
    assert_eq!(post(&mut owner, &path, &call(1, "find_patient")).await, 202);
    assert_eq!(stream.event().await.expect("the answer").json()["id"], 1);
    drop(stream);
    eventually("the session's end", || async {
        let mut again = Client::new(sidecar.connect().await, &owner.token);
        (post(&mut again, &path, &call(2, "find_patient")).await == 404).then_some(())
    })
    .await;
    assert_eq!(owner.end().await.status, 405, "there is no DELETE");
}

#[tokio::test]
async fn a_server_that_names_a_place_elsewhere_is_not_listened_to() {
    for endpoint in [
        "http://evil.example.com/messages/",
        "//evil.example.com/m",
        "messages",
        "not a path",
    ] {
        let upstream = server(endpoint, with_a_patient).await;
        let sidecar = Sidecar::start(setup(&upstream)).await;
        let mut client = Client::new(sidecar.connect().await, &sign(&physician("dr.elsewhere")));
        let mut stream = client.listen().await;
        assert!(
            stream.event().await.is_none(),
            "{endpoint}: the stream ends before its first event"
        );
    }
}

/// A real server of the older transport, with every real client of it, each a person of its own.
async fn real(server: Server, steps: &[Value], judge: impl Fn(Sdk, &[Value])) {
    let setup = Setup::new(&server.older_url())
        .extended(OLDER)
        .extended(RULES);
    let sidecar = Sidecar::start(setup).await;
    for sdk in Sdk::OLDER {
        let token = sign(&physician(&format!("dr.real.{sdk:?}")));
        let front = Front::start(&sidecar, &token).await;
        judge(sdk, &sdk.run_older_at(&front.url(), steps).await);
        front.assert_no_fault(&format!("{sdk:?} over SSE"));
    }
}

/// The inspector tells no code.
fn is_denied(sdk: Sdk, answer: &Value) -> bool {
    let code = &answer["error"]["code"];
    *code == -32050 || (sdk == Sdk::Inspector && answer["error"].is_object())
}

fn lists_only(answer: &Value, names: &[&str]) -> bool {
    let tools = answer["result"]["tools"].as_array().expect("a list");
    tools
        .iter()
        .all(|tool| names.iter().any(|name| tool["name"] == *name))
}

#[tokio::test]
async fn the_everything_server_over_sse_works_as_the_policy_says() {
    let steps = [
        json!({"op": "tools"}),
        json!({"op": "call", "name": "echo", "arguments": {"message": "hello"}}),
        json!({"op": "call", "name": "get-env", "arguments": {}}),
        json!({"op": "call", "name": "get-sum", "arguments": {"a": 2, "b": 3}}),
    ];
    let judge = |sdk, answers: &[Value]| {
        assert!(
            lists_only(&answers[0], &["echo", "get-sum"]),
            "{sdk:?}: {}",
            answers[0]
        );
        assert_eq!(
            answers[1]["result"]["content"][0]["text"], "Echo: hello",
            "{sdk:?}"
        );
        assert!(is_denied(sdk, &answers[2]), "{sdk:?}: {}", answers[2]);
        assert!(
            answers[3]["result"].to_string().contains('5'),
            "{sdk:?}: {}",
            answers[3]
        );
    };
    real(Server::npm_everything_older().await, &steps, judge).await;
}

#[tokio::test]
async fn fhir_mcp_over_sse_works_as_the_policy_says() {
    let steps = [
        json!({"op": "tools"}),
        json!({"op": "call", "name": "search_patients", "arguments": {"limit": 2}}),
        json!({"op": "call", "name": "create_clinical_note", "arguments": {}}),
    ];
    let judge = |sdk, answers: &[Value]| {
        assert!(
            lists_only(&answers[0], &["search_patients"]),
            "{sdk:?}: {}",
            answers[0]
        );
        let failed = &answers[1]["result"]["isError"];
        assert!(
            answers[1]["result"].is_object() && failed != true,
            "{sdk:?}: {}",
            answers[1]
        );
        assert!(is_denied(sdk, &answers[2]), "{sdk:?}: {}", answers[2]);
    };
    real(Server::fhir_older().await, &steps, judge).await;
}

#[tokio::test]
async fn a_question_that_is_denied_is_answered_where_the_server_is_posted_to() {
    let upstream = server("/messages/?session_id=inner", |message| match &message["error"] {
        Value::Null => json!({"jsonrpc": "2.0", "id": 9, "method": "elicitation/create", "params": {"message": "Who?"}}),
        _ => result(&json!({"id": 7}), &structured(&json!({"patients": []}))),
    })
    .await;
    let sidecar = Sidecar::start(setup(&upstream)).await;
    let token = sign(&physician("dr.older.asked"));
    let (mut client, mut stream, path) = open(&sidecar, &token).await;
    assert_eq!(
        post(&mut client, &path, &call(7, "find_patient")).await,
        202
    );
    // The server goes on once it knows that nobody answers.
    let answer = stream.event().await.expect("the answer").json();
    assert_eq!(answer["id"], 7);
    let told = upstream
        .requests()
        .pop()
        .expect("an answer in the client's place");
    assert_eq!(told.path, "/messages/?session_id=inner");
    assert_eq!(told.header("mcp-session-id"), None);
    assert_eq!(told.message()["error"]["code"], -32601);
}

#[tokio::test]
async fn an_emergency_is_begun_and_ended_on_the_stream_and_its_tools_are_listed_there() {
    let section =
        "emergency: { roles: [nurse], grants: { view: physician, tools: [read_record] } }\n";
    let upstream = server("/messages/", |message| {
        result(message, &json!({"tools": []}))
    });
    let upstream = upstream.await;
    let sidecar = Sidecar::start(setup(&upstream).extended(section)).await;
    let token = sign(&claims("nurse.older.still", "nurse", "TREAT"));
    let (mut client, mut stream, path) = open(&sidecar, &token).await;
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    assert_eq!(post(&mut client, &path, &list).await, 202);
    let listed = stream.event().await.expect("the list").json();
    let names = listed["result"]["tools"].as_array().expect("tools").iter();
    let names: Vec<_> = names.map(|tool| tool["name"].clone()).collect();
    assert_eq!(
        names,
        ["safeguard_emergency_start", "safeguard_emergency_stop"]
    );
    let mut start = call(2, "safeguard_emergency_start");
    start["params"]["arguments"] = json!({"patient": "p-1", "reason": "collapsed in the corridor"});
    for message in [start, call(3, "safeguard_emergency_stop")] {
        assert_eq!(post(&mut client, &path, &message).await, 202);
        let answer = stream.event().await.expect("the answer").json();
        assert_eq!(answer["id"], message["id"]);
        assert_eq!(answer["result"]["isError"], false, "{answer}");
    }
    assert!(!upstream.everything().contains("safeguard_emergency"));
}
