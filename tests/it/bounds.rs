//! Each bound acts, is counted, and lets go again: what was refused before is served once there is room.

use std::fmt::Write as _;
use std::sync::Mutex;

use safeguard_tests::client::{Client, Connection, open_tls};
use safeguard_tests::configuration::Setup;
use safeguard_tests::sidecar::{Sidecar, metric_reaches};
use safeguard_tests::stream::Answer;
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, structured, tools_of_the_policy};
use safeguard_tests::wait::{eventually, within};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;

const LIMITS: &str = "safeguard_limits_reached_total";
const REQUESTS: &str = "safeguard_requests_total";
const UPSTREAM: i64 = -32054;

/// A sidecar in front of `upstream` with some of `listen.limits` set.
async fn limited(upstream: &Upstream, limits: &str) -> Sidecar {
    let yaml = format!("listen:\n  limits: {{ {limits} }}\n");
    Sidecar::start(Setup::new(&upstream.url()).extended(&yaml)).await
}

async fn good() -> Upstream {
    Upstream::answering(structured(&json!({"patients": []}))).await
}

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

fn search(client: &mut Client) -> Value {
    let call = json!({"name": "find_patient", "arguments": {}});
    client.request_message("tools/call", &call)
}

/// Waits until so many were counted: a request is counted behind its answer. One more would be one too many.
async fn counted(sidecar: &Sidecar, metric: &str, label: &str, count: f64) {
    metric_reaches(sidecar, metric, &[label], count).await;
    assert_eq!(sidecar.metric(metric, &[label]).await, count, "{label}");
}

async fn limits(sidecar: &Sidecar, limit: &str, count: f64) {
    counted(sidecar, LIMITS, &format!("limit=\"{limit}\""), count).await;
}

async fn outcomes(sidecar: &Sidecar, outcome: &str, count: f64) {
    counted(sidecar, REQUESTS, &format!("outcome=\"{outcome}\""), count).await;
}

#[tokio::test]
async fn a_connection_over_the_bound_waits_until_another_is_closed() {
    let upstream = good().await;
    let sidecar = limited(&upstream, "connections_max: 1").await;
    let mut first = sidecar.client(&sign(&physician("dr.first"))).await;
    let target = sidecar.target();
    let second = open_tls(&target, sidecar.tls(&sidecar.web), &["http/1.1"]);
    tokio::pin!(second);
    metric_reaches(&sidecar, LIMITS, &["limit=\"connections\""], 1.0).await;
    tokio::select! {
        biased;
        opened = &mut second => panic!("nobody is let in beside the first: {:?}", opened.is_ok()),
        () = async { first.succeed("list_departments", &json!({})).await; } => {}
    }
    drop(first);
    within("the place of the first", second)
        .await
        .expect("a connection");
}

#[tokio::test]
async fn an_aged_connection_hears_its_end_with_an_answer_and_an_idle_one_is_closed() {
    let upstream = good().await;
    let sidecar = limited(&upstream, "connection_age_seconds: 1").await;
    let mut idle = sidecar.connect().await;
    let mut two = Connection::open_http2(&sidecar.target(), sidecar.tls(&sidecar.web))
        .await
        .expect("a connection");
    metric_reaches(&sidecar, LIMITS, &["limit=\"connection_age\""], 2.0).await;
    within("HTTP/1.1: closed", idle.closed()).await;
    within("HTTP/2: told to go away", two.closed()).await;
    let mut next = sidecar.client(&sign(&physician("dr.next"))).await;
    next.succeed("list_departments", &json!({})).await;
}

#[tokio::test]
async fn a_call_outlives_its_connections_age_and_is_answered_with_the_end_of_the_connection() {
    let (events, receiver) = mpsc::unbounded_channel();
    let upstream = once(Reply::Events(receiver)).await;
    let sidecar = limited(&upstream, "connection_age_seconds: 3").await;
    let mut client = sidecar.client(&sign(&physician("dr.long"))).await;
    let call = search(&mut client);
    let mut answer = client.post(&call).await.expect_status(200).await;
    metric_reaches(&sidecar, LIMITS, &["limit=\"connection_age\""], 1.0).await;
    let result =
        json!({"jsonrpc": "2.0", "id": call["id"], "result": structured(&json!({"patients": []}))});
    events
        .send(format!("data: {result}\n\n"))
        .expect("an open stream");
    let answered = answer.event().await.expect("the answer").json();
    assert_eq!(answered["result"], result["result"]);
    drop(events);
    assert_eq!(answer.event().await, None);
    within("the end of the connection", client.connection.closed()).await;
}

#[tokio::test]
async fn a_stream_is_cut_at_twice_the_age_of_its_connection() {
    let (_events, receiver) = mpsc::unbounded_channel();
    let upstream = once(Reply::Events(receiver)).await;
    let sidecar = limited(&upstream, "connection_age_seconds: 1").await;
    let mut client = sidecar.client(&sign(&physician("dr.endless"))).await;
    let call = search(&mut client);
    let mut answer = client.post(&call).await.expect_status(200).await;
    assert_eq!(answer.event().await, None, "cut without an answer");
    metric_reaches(&sidecar, LIMITS, &["limit=\"connection_age_cut\""], 1.0).await;
}

#[tokio::test]
async fn a_peer_that_begins_nothing_after_its_handshake_is_given_up() {
    let upstream = good().await;
    let sidecar = limited(&upstream, "header_seconds: 1").await;
    for protocol in ["h2", "http/1.1"] {
        let mut silent = open_tls(&sidecar.target(), sidecar.tls(&sidecar.web), &[protocol])
            .await
            .expect("a connection");
        let mut heard = Vec::new();
        let end = silent.read_to_end(&mut heard);
        let _unclean = within("the end of a silent connection", end).await;
    }
}

/// A client past its handshake, which makes more than one request: each waits for the one before.
async fn initialized(sidecar: &Sidecar, subject: &str) -> Client {
    let mut client = Client::new(sidecar.connect().await, &sign(&physician(subject)));
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let hello = client.request_message("initialize", &hello);
    let answer = client.post(&hello).await.expect_status(200).await;
    client.session = Some(answer.header("mcp-session-id").to_owned());
    let _ = answer.bytes().await;
    idle(sidecar).await;
    client
}

/// Waits until no request is under way: an answer may be read a moment before its place is free again.
async fn idle(sidecar: &Sidecar) {
    eventually("no request under way", || async {
        let inflight = sidecar.metric("safeguard_inflight_requests", &[]).await;
        (inflight == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_request_over_the_bound_is_told_to_come_back_and_is_served_later() {
    let upstream = once(Reply::Silence).await;
    let yaml = "listen:\n  limits: { requests_max: 1 }\nupstream:\n  timeout_seconds: 2\n";
    let sidecar = Sidecar::start(Setup::new(&upstream.url()).extended(yaml)).await;
    let mut first = initialized(&sidecar, "dr.first").await;
    let mut second = initialized(&sidecar, "dr.second").await;
    let call = search(&mut first);
    let working = tokio::spawn(async move { first.post(&call).await.status });
    eventually("the first call at the upstream", || async {
        (!upstream.messages("tools/call").is_empty()).then_some(())
    })
    .await;
    let call = search(&mut second);
    let busy = second.post(&call).await;
    assert_eq!(busy.status, 503);
    assert_eq!(busy.header("retry-after"), "5");
    limits(&sidecar, "requests", 1.0).await;
    assert_eq!(upstream.messages("tools/call").len(), 1, "it stays here");
    assert_eq!(
        within("the first call", working).await.expect("a task"),
        504
    );
    idle(&sidecar).await;
    second.succeed("find_patient", &json!({})).await;
}

#[tokio::test]
async fn a_stream_over_the_bound_of_its_session_is_refused_until_another_ends() {
    let open = Mutex::new(Vec::new());
    let upstream = Upstream::start(tools_of_the_policy(), move |request: &Recorded| {
        (request.method == "GET").then(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            open.lock().expect("no panic").push(sender);
            Reply::Events(receiver)
        })
    })
    .await;
    let sidecar = limited(&upstream, "streams_per_session_max: 2").await;
    let client = sidecar.client(&sign(&physician("dr.streams"))).await;
    let mut connections = Vec::new();
    for _ in 0..2 {
        let mut one = sidecar.another(&client).await;
        let stream = one.listen().await.expect_status(200).await;
        connections.push((one, stream));
    }
    let mut third = sidecar.another(&client).await;
    assert_eq!(third.listen().await.status, 503);
    limits(&sidecar, "streams_per_session", 1.0).await;
    let other = sidecar.client(&sign(&physician("dr.other"))).await;
    let stream = sidecar.another(&other).await.listen().await;
    stream.expect_status(200).await;

    connections.pop();
    let stream = eventually("a place for a stream", || async {
        let stream = sidecar.another(&client).await.listen().await;
        (stream.status == 200).then_some(stream)
    })
    .await;
    drop::<Answer>(stream);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let upstream = good().await;
    let sidecar = limited(&upstream, "body_seconds: 1").await;
    let mut client = sidecar.client(&sign(&physician("dr.slow"))).await;
    let known = upstream.requests().len();
    let mut tls = open_tls(&sidecar.target(), sidecar.tls(&sidecar.web), &["http/1.1"])
        .await
        .expect("a connection");
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{{\"jsonrpc\"",
        sidecar.target().host,
        client.token
    );
    tls.write_all(head.as_bytes()).await.expect("a head");
    let mut answer = Vec::new();
    let _unclean = within("an answer", tls.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    outcomes(&sidecar, "too_slow", 1.0).await;
    assert_eq!(upstream.requests().len(), known, "nothing went up");
    client.succeed("find_patient", &json!({})).await;
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_and_one_at_the_bound_is_served() {
    let upstream = good().await;
    let sidecar = limited(&upstream, "body_bytes_max: 2048").await;
    let mut client = sidecar.client(&sign(&physician("dr.large"))).await;
    let known = upstream.requests().len();
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    let answer = client.post_bytes(format!("{ping:2049}")).await;
    assert_eq!(answer.status, 413);
    outcomes(&sidecar, "too_large", 1.0).await;
    assert_eq!(upstream.requests().len(), known, "nothing went up");
    client
        .post_bytes(format!("{ping:2048}"))
        .await
        .expect_status(200)
        .await;
}

#[tokio::test]
async fn headers_over_their_bounds_are_refused_over_either_http_and_those_at_them_pass() {
    let upstream = good().await;
    let sidecar = limited(&upstream, "header_seconds: 10").await;
    let mut client = sidecar.client(&sign(&physician("dr.headers"))).await;
    let known = upstream.requests().len();
    let long = "a".repeat(32 * 1024);
    let names: Vec<String> = (0..100).map(|number| format!("x-{number}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "a")).collect();
    for (what, headers) in [("bytes", vec![("x-long", long.as_str())]), ("count", many)] {
        let answer = client.connection.send("POST", "/mcp", &headers, "{}").await;
        assert_eq!(answer.expect("an answer").status, 413, "{what}, HTTP/1.1");
    }
    outcomes(&sidecar, "too_large", 2.0).await;

    let mut two = Connection::open_http2(&sidecar.target(), sidecar.tls(&sidecar.web))
        .await
        .expect("a connection");
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "a")).collect();
    // The codec has answered before anybody of ours could.
    for (what, headers, status) in [
        ("bytes", vec![("x-long", long.as_str())], 431),
        ("count", many, 413),
    ] {
        let answer = two.send("POST", "/mcp", &headers, "{}").await;
        assert_eq!(answer.expect("an answer").status, status, "{what}, HTTP/2");
    }
    assert_eq!(upstream.requests().len(), known, "nothing went up");
    let mut again = Client::new(two, &client.token);
    again.session.clone_from(&client.session);
    again.succeed("list_departments", &json!({})).await;
    client.succeed("list_departments", &json!({})).await;
}

#[tokio::test]
async fn a_header_block_beyond_what_is_parsed_is_refused() {
    let upstream = good().await;
    let sidecar = limited(&upstream, "header_seconds: 10").await;
    let mut tls = open_tls(&sidecar.target(), sidecar.tls(&sidecar.web), &["http/1.1"])
        .await
        .expect("a connection");
    let mut head = format!("POST /mcp HTTP/1.1\r\nhost: {}\r\n", sidecar.target().host);
    for number in 0..300 {
        write!(head, "x-{number}: a\r\n").expect("a text");
    }
    head.push_str("content-length: 0\r\n\r\n");
    tls.write_all(head.as_bytes()).await.expect("a head");
    let mut answer = Vec::new();
    let _unclean = within("an answer", tls.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(upstream.everything(), "");
}

#[tokio::test]
async fn an_answer_over_the_bound_is_not_released_and_one_below_it_is() {
    let large = json!({"patients": [{"patient_id": "a".repeat(4096)}]});
    let upstream = once(Reply::Result(structured(&large))).await;
    let sidecar = limited(&upstream, "answer_bytes_max: 4096").await;
    let mut client = sidecar.client(&sign(&physician("dr.answer"))).await;
    let call = search(&mut client);
    let answer = client.post(&call).await.expect_status(502).await;
    assert_eq!(answer.json().await["error"]["code"], UPSTREAM);
    outcomes(&sidecar, "upstream", 1.0).await;
    sidecar
        .event("phi_read", |event| {
            event["reason"] == "upstream_answer_too_large"
        })
        .await;
    client.succeed("find_patient", &json!({})).await;
}

#[tokio::test]
async fn an_event_over_the_bound_ends_its_stream_with_an_error() {
    let (events, receiver) = mpsc::unbounded_channel();
    let upstream = once(Reply::Events(receiver)).await;
    let sidecar = limited(&upstream, "sse_event_bytes_max: 4096").await;
    let mut client = sidecar.client(&sign(&physician("dr.event"))).await;
    let call = search(&mut client);
    let answer = client.post(&call).await.expect_status(200).await;
    // A line that never ends.
    events
        .send(format!("data: {}", "a".repeat(8192)))
        .expect("an open stream");
    let error = answer.message(&mut Vec::new()).await;
    assert_eq!(error["error"]["code"], UPSTREAM);
    assert_eq!(error["id"], call["id"]);
    limits(&sidecar, "event_bytes", 1.0).await;
    sidecar
        .event("phi_read", |event| {
            event["reason"] == "upstream_answer_too_large"
        })
        .await;
    client.succeed("find_patient", &json!({})).await;
}

/// A port whose queue of connections is full, so that the next one is neither taken nor refused.
async fn full_port() -> (tokio::net::TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind("127.0.0.1:0".parse().expect("an address"))
        .expect("a port");
    let listener = socket.listen(1).expect("a listener");
    let address = listener.local_addr().expect("its address");
    let mut waiting = Vec::new();
    let patience = std::time::Duration::from_millis(500);
    while let Ok(connected) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
        waiting.push(connected.expect("a connection"));
    }
    (listener, waiting)
}

#[tokio::test]
async fn an_upstream_that_does_not_accept_is_given_up() {
    let (listener, waiting) = full_port().await;
    let address = listener.local_addr().expect("its address");
    let setup = Setup::new(&format!("http://{address}/mcp"))
        .extended("upstream:\n  connect_timeout_seconds: 3\n");
    let sidecar = Sidecar::start(setup).await;
    let mut client = Client::new(sidecar.connect().await, &sign(&physician("dr.connect")));
    let call = search(&mut client);
    let answer = client.post(&call).await.expect_status(502).await;
    assert_eq!(answer.json().await["error"]["code"], UPSTREAM);
    outcomes(&sidecar, "upstream", 1.0).await;
    sidecar
        .event("phi_read", |event| {
            event["reason"] == "upstream_unreachable"
        })
        .await;
    drop(waiting);
}

#[tokio::test]
async fn an_upstream_that_does_not_begin_its_answer_is_given_up() {
    let upstream = once(Reply::Silence).await;
    let sidecar =
        Sidecar::start(Setup::new(&upstream.url()).extended("upstream:\n  timeout_seconds: 3\n"))
            .await;
    let mut client = sidecar.client(&sign(&physician("dr.begin"))).await;
    let call = search(&mut client);
    let answer = client.post(&call).await.expect_status(504).await;
    assert_eq!(answer.json().await["error"]["code"], UPSTREAM);
    outcomes(&sidecar, "upstream", 1.0).await;
    sidecar
        .event("phi_read", |event| event["reason"] == "upstream_too_slow")
        .await;
    client.succeed("find_patient", &json!({})).await;
}

#[tokio::test]
async fn an_upstream_that_does_not_end_its_answer_is_given_up_even_if_it_goes_on_by_the_byte() {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n";
    for (what, step) in [("silent", 3600_u64), ("a byte at a time", 100)] {
        let upstream = once(Reply::Drip(head.as_bytes().to_vec(), step)).await;
        let sidecar = Sidecar::start(
            Setup::new(&upstream.url()).extended("upstream:\n  timeout_seconds: 3\n"),
        )
        .await;
        let mut client = sidecar.client(&sign(&physician("dr.drip"))).await;
        let call = search(&mut client);
        let answer = client.post(&call).await.expect_status(504).await;
        assert_eq!(answer.json().await["error"]["code"], UPSTREAM, "{what}");
        outcomes(&sidecar, "upstream", 1.0).await;
        sidecar
            .event("phi_read", |event| event["reason"] == "upstream_too_slow")
            .await;
        client.succeed("find_patient", &json!({})).await;
    }
}
