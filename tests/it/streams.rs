//! Answers as streams: each event goes on when it comes, and what an upstream does wrong stays with the sidecar.

use std::sync::Mutex;

use safeguard_tests::configuration::Setup;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, structured, tools_of_the_policy};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::patients::{VALUES, assert_no_value};

/// An upstream that answers the first call of a tool as told, and every one after it well.
async fn once(reply: Reply) -> Upstream {
    let reply = Mutex::new(Some(reply));
    Upstream::start(tools_of_the_policy(), move |request: &Recorded| {
        let good = || Reply::Result(structured(&json!({"patients": []})));
        (request.message()["method"] == "tools/call")
            .then(|| reply.lock().expect("no panic").take().unwrap_or_else(good))
    })
    .await
}

fn event(message: &Value) -> String {
    format!("event: message\nid: {}\ndata: {message}\n\n", uuid())
}

fn uuid() -> String {
    safeguard_tests::tokens::physician("")["jti"]
        .as_str()
        .expect("an id")
        .to_owned()
}

#[tokio::test]
async fn an_event_goes_on_before_the_next_one_comes() {
    let (events, receiver) = mpsc::unbounded_channel();
    let upstream = once(Reply::Events(receiver)).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.stream"))).await;
    let call = client.request_message(
        "tools/call",
        &json!({"name": "find_patient", "arguments": {}, "_meta": {"progressToken": 7}}),
    );

    // The head comes before any event does.
    let mut answer = client.post(&call).await.expect_status(200).await;
    assert!(
        answer
            .header("content-type")
            .starts_with("text/event-stream")
    );
    for step in 1..=3 {
        let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 7, "progress": step, "total": 3}});
        events.send(event(&progress)).expect("an open stream");
        let arrived = answer.event().await.expect("the event at once").json();
        assert_eq!(
            arrived["params"]["progress"], step,
            "while the upstream waits with the next one"
        );
    }
    let patients =
        json!({"patients": [{"patient_id": "p-1", "ssn": VALUES[0], "status": "active"}]});
    events
        .send(event(
            &json!({"jsonrpc": "2.0", "id": call["id"], "result": structured(&patients)}),
        ))
        .expect("an open stream");
    let result = answer.event().await.expect("the answer").json();
    assert_eq!(
        result["result"]["structuredContent"]["patients"][0]["ssn"], VALUES[0],
        "a physician sees it"
    );
    drop(events);
    assert_eq!(
        answer.event().await,
        None,
        "the stream ends with the upstream's"
    );
}

#[tokio::test]
async fn the_servers_own_stream_is_rewritten_too() {
    let (events, receiver) = mpsc::unbounded_channel();
    let receiver = Mutex::new(Some(receiver));
    let upstream = Upstream::start(tools_of_the_policy(), move |request: &Recorded| {
        (request.method == "GET")
            .then(|| receiver.lock().expect("no panic").take().map(Reply::Events))
            .flatten()
    })
    .await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let client = sidecar.client(&sign(&physician("dr.listener"))).await;
    let mut stream = sidecar
        .another(&client)
        .await
        .listen()
        .await
        .expect_status(200)
        .await;
    events
        .send(event(
            &json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}),
        ))
        .expect("an open stream");
    assert_eq!(
        stream.event().await.expect("a notification").json()["method"],
        "notifications/tools/list_changed"
    );

    // A log message belongs to no call, so no view reveals anything in it.
    let log = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": {"ssn": VALUES[0], "note": VALUES[3]}}});
    events.send(event(&log)).expect("an open stream");
    events
        .send(event(
            &json!({"jsonrpc": "2.0", "method": "notifications/prompts/list_changed"}),
        ))
        .expect("an open stream");
    loop {
        let arrived = stream.event().await.expect("an event");
        assert_no_value(&arrived.data, "the stream");
        if arrived.json()["method"] == "notifications/prompts/list_changed" {
            break;
        }
    }
}

#[tokio::test]
async fn an_upstream_that_breaks_is_answered_for() {
    let partial = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":1";
    let redirect = "HTTP/1.1 307 Temporary\r\nlocation: http://127.0.0.1:9/elsewhere\r\ncontent-length: 0\r\n\r\n";
    let leak = format!("panicked at patient {}", VALUES[0]);
    // A deletion: whatever may have happened, it is not tried again.
    for (what, reply) in [
        (
            "bytes that are no HTTP",
            Reply::Raw(b"\x00\x01garbage\r\n\r\n".to_vec()),
        ),
        ("a closed connection", Reply::Raw(Vec::new())),
        ("half an answer", Reply::Raw(partial.as_bytes().to_vec())),
        ("a redirect", Reply::Raw(redirect.as_bytes().to_vec())),
        (
            "an error page",
            Reply::Body(500, "text/html", leak.clone().into_bytes()),
        ),
        (
            "JSON that is none",
            Reply::Body(200, "application/json", b"{\"jsonrpc\":".to_vec()),
        ),
        (
            "JSON that is no JSON-RPC",
            Reply::Body(200, "application/json", b"{\"result\":{}}".to_vec()),
        ),
        (
            "the answer to another request",
            Reply::Body(
                200,
                "application/json",
                br#"{"jsonrpc":"2.0","id":424242,"result":{}}"#.to_vec(),
            ),
        ),
        (
            "a batch",
            Reply::Body(200, "application/json", b"[]".to_vec()),
        ),
        ("text", Reply::Body(200, "text/plain", leak.into_bytes())),
        ("an answer too large", Reply::Endless(256 * 1024 * 1024)),
    ] {
        let upstream = once(reply).await;
        let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
        let mut client = sidecar.client(&sign(&physician("dr.broken"))).await;
        let call = client.request_message(
            "tools/call",
            &json!({"name": "delete_record", "arguments": {"patient_id": "p-1"}}),
        );
        let answer = client.post(&call).await;
        assert_eq!(answer.status, 502, "{what}");
        assert_eq!(answer.header("location"), "", "{what}");
        let body = String::from_utf8(answer.bytes().await.to_vec()).expect("UTF-8");
        assert_no_value(&body, what);
        let message: Value = serde_json::from_str(&body).expect("a JSON-RPC error");
        assert_eq!(message["error"]["code"], -32054, "{what}");
        assert_eq!(message["id"], call["id"], "{what}");
        client.succeed("find_patient", &json!({})).await;
        assert!(
            sidecar.memory() < 512 * 1024 * 1024,
            "{what}: memory stays flat"
        );
    }
}

#[tokio::test]
async fn an_upstream_that_is_silent_is_given_up() {
    let upstream = once(Reply::Silence).await;
    let sidecar =
        Sidecar::start(Setup::new(&upstream.url()).extended("upstream:\n  timeout_seconds: 3\n"))
            .await;
    let mut client = sidecar.client(&sign(&physician("dr.patient"))).await;
    let call = client.request_message(
        "tools/call",
        &json!({"name": "find_patient", "arguments": {}}),
    );
    let answer = client
        .post(&call)
        .await
        .expect_status(504)
        .await
        .json()
        .await;
    assert_eq!(answer["error"]["code"], -32054);
    client.succeed("find_patient", &json!({})).await;
}

#[tokio::test]
async fn an_upstream_that_is_down_is_answered_for() {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.down"))).await;
    drop(upstream);
    let call = client.request_message(
        "tools/call",
        &json!({"name": "find_patient", "arguments": {}}),
    );
    let answer = client.post(&call).await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.json().await["error"]["code"], -32054);
}

#[tokio::test]
async fn a_newer_revision_is_answered_so_that_clients_fall_back() {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let token = format!("Bearer {}", sign(&physician("dr.modern")));
    let headers = [
        ("authorization", token.as_str()),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "server/discover"),
    ];
    let discover = json!({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}});
    let answer = sidecar
        .connect()
        .await
        .send("POST", "/mcp", &headers, discover.to_string())
        .await
        .expect("an answer");
    assert_eq!(answer.status, 400);
    assert!(answer.header("content-type").starts_with("text/plain"));
    let body = answer.bytes().await;
    assert!(
        serde_json::from_slice::<Value>(&body).is_err(),
        "no JSON-RPC message, which clients would take for an answer of that era"
    );
    assert_eq!(
        upstream.everything(),
        "",
        "the upstream, which may not survive it, never hears of it"
    );
}
