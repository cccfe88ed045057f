//! An upstream that breaks the rules of HTTP or of MCP harms its own answers only: nobody else's, and no one's time or memory.

use std::sync::Mutex;

use safeguard_tests::client::Client;
use safeguard_tests::configuration::Setup;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, structured, tools_of_the_policy};
use safeguard_tests::wait::{eventually, within};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const UPSTREAM: i64 = -32054;
const MIB: u64 = 1024 * 1024;

/// What is wrong with an answer, and how it is written around a body.
type Written = (&'static str, fn(&str) -> String);

/// An upstream that answers the first call of a tool as told, and every one after it well.
async fn once(reply: impl FnOnce(&Recorded) -> Reply + Send + 'static) -> Upstream {
    let reply = Mutex::new(Some(reply));
    Upstream::start(tools_of_the_policy(), move |request: &Recorded| {
        (request.message()["method"] == "tools/call").then(|| {
            let first = reply.lock().expect("no panic").take();
            first.map_or_else(
                || Reply::Result(structured(&json!({"patients": [], "department": "good"}))),
                |reply| reply(request),
            )
        })
    })
    .await
}

fn search(client: &mut Client) -> Value {
    let call = json!({"name": "find_patient", "arguments": {}});
    client.request_message("tools/call", &call)
}

fn answer(id: &Value, department: &str) -> String {
    let content = structured(&json!({"patients": [], "department": department}));
    json!({"jsonrpc": "2.0", "id": id, "result": content}).to_string()
}

fn ok(lines: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{lines}\r\n{body}")
}

fn sized(body: &str) -> String {
    ok(&format!("content-length: {}\r\n", body.len()), body)
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

fn department(answer: &Value) -> &Value {
    &answer["result"]["structuredContent"]["department"]
}

#[tokio::test]
async fn an_answer_sent_ahead_is_nobodys() {
    for (what, framing) in [("at once", 0), ("behind chunks", 1)] {
        let upstream = once(move |request| {
            let id = &request.message()["id"];
            let first = answer(id, "first");
            let first = match framing {
                0 => sized(&first),
                _ => ok("transfer-encoding: chunked\r\n", &chunked(&first)),
            };
            // The next caller's first request has this id, as every client counts the same way.
            Reply::Open(format!("{first}{}", sized(&answer(id, "planted"))).into_bytes())
        })
        .await;
        let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
        let mut first = sidecar.client(&sign(&physician("dr.first"))).await;
        let mut second = sidecar.client(&sign(&physician("dr.second"))).await;
        let call = search(&mut first);
        let answered = first
            .post(&call)
            .await
            .expect_status(200)
            .await
            .json()
            .await;
        assert_eq!(department(&answered), "first", "{what}");
        let call = search(&mut second);
        let answered = second
            .post(&call)
            .await
            .expect_status(200)
            .await
            .json()
            .await;
        assert_eq!(department(&answered), "good", "{what}");
    }
}

#[tokio::test]
async fn lengths_that_contradict_each_other_are_no_answer() {
    let cases: [Written; 4] = [
        ("two lengths", |body| {
            ok(
                &format!("content-length: {}\r\ncontent-length: 4\r\n", body.len()),
                body,
            )
        }),
        ("two lengths in one line", |body| {
            ok(&format!("content-length: {}, 4\r\n", body.len()), body)
        }),
        ("a length that is no number", |body| {
            ok("content-length: 0x10\r\n", body)
        }),
        ("chunks of no size", |body| {
            ok(
                "transfer-encoding: chunked\r\n",
                &format!("zz\r\n{body}\r\n0\r\n\r\n"),
            )
        }),
    ];
    for (what, write) in cases {
        let upstream = once(move |request| {
            Reply::Open(write(&answer(&request.message()["id"], "x")).into_bytes())
        })
        .await;
        let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
        let mut client = sidecar.client(&sign(&physician("dr.lengths"))).await;
        let call = search(&mut client);
        let refused = client.post(&call).await;
        assert_eq!(refused.status, 502, "{what}");
        assert_eq!(refused.json().await["error"]["code"], UPSTREAM, "{what}");
        client.succeed("find_patient", &json!({})).await;
    }
}

#[tokio::test]
async fn a_length_beside_chunks_leaves_nothing_for_the_next_caller() {
    let upstream = once(|request| {
        let id = &request.message()["id"];
        let lines = "content-length: 5\r\ntransfer-encoding: chunked\r\n";
        let first = ok(lines, &chunked(&answer(id, "first")));
        Reply::Open(format!("{first}{}", sized(&answer(id, "planted"))).into_bytes())
    })
    .await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut first = sidecar.client(&sign(&physician("dr.first"))).await;
    let mut second = sidecar.client(&sign(&physician("dr.second"))).await;
    let call = search(&mut first);
    first.post(&call).await.bytes().await;
    let call = search(&mut second);
    let answered = second
        .post(&call)
        .await
        .expect_status(200)
        .await
        .json()
        .await;
    assert_eq!(department(&answered), "good");
}

#[tokio::test]
async fn an_announcement_is_no_answer_and_no_header_of_one_comes_down() {
    for (what, announced, expected) in [
        ("100", "HTTP/1.1 100 Continue\r\n\r\n", 200),
        (
            "103",
            "HTTP/1.1 103 Early Hints\r\nlink: </123-45-6789>\r\n\r\n",
            200,
        ),
        (
            "two of them",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n",
            200,
        ),
        (
            "101",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
            502,
        ),
    ] {
        let upstream = once(move |request| {
            let body = sized(&answer(&request.message()["id"], "first"));
            Reply::Open(format!("{announced}{body}").into_bytes())
        })
        .await;
        let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
        let mut client = sidecar.client(&sign(&physician("dr.early"))).await;
        let call = search(&mut client);
        let answered = client.post(&call).await;
        assert_eq!(answered.status, expected, "{what}");
        assert_eq!(answered.header("link"), "", "{what}");
        client.succeed("find_patient", &json!({})).await;
    }
}

#[tokio::test]
async fn only_the_headers_of_the_transport_come_down() {
    let upstream = once(|request| {
        let body = answer(&request.message()["id"], "first");
        let lines = format!(
            "content-length: {}\r\nset-cookie: ssn=123-45-6789\r\nlocation: http://127.0.0.1/\r\nx-patient: 123-45-6789\r\nserver: clinic/123-45-6789\r\naccess-control-allow-origin: *\r\nwww-authenticate: Basic\r\ncache-control: public\r\nx-split: a\r\n b: c\r\n",
            body.len()
        );
        Reply::Open(ok(&lines, &body).into_bytes())
    })
    .await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.headers"))).await;
    let call = search(&mut client);
    let answered = client.post(&call).await.expect_status(200).await;
    let names: Vec<&str> = answered
        .headers
        .keys()
        .map(http::HeaderName::as_str)
        .collect();
    let known = [
        "content-type",
        "cache-control",
        "content-length",
        "date",
        "connection",
    ];
    assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
    assert_eq!(answered.header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_session_id_that_is_no_visible_ascii_never_comes_down() {
    for id in ["a b", "a\tset-cookie: b", "\u{e9}", "", &"a".repeat(300)] {
        let id = id.to_owned();
        let upstream = Upstream::start(tools_of_the_policy(), move |request: &Recorded| {
            let message = request.message();
            (message["method"] == "initialize").then(|| {
                let body = json!({"jsonrpc": "2.0", "id": message["id"], "result": {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}}).to_string();
                let lines = format!("content-length: {}\r\nmcp-session-id: {id}\r\n", body.len());
                Reply::Open(ok(&lines, &body).into_bytes())
            })
        })
        .await;
        let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
        let mut client = Client::new(sidecar.connect().await, &sign(&physician("dr.session")));
        let initialize = client.request_message("initialize", &json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}));
        let answered = client.post(&initialize).await;
        assert_eq!(answered.status, 502);
        assert_eq!(answered.header("mcp-session-id"), "");
    }
}

#[tokio::test]
async fn an_answer_cut_off_in_its_body_is_not_released() {
    let cases: [Written; 3] = [
        ("before its length", |body| {
            ok(&format!("content-length: {}\r\n", body.len() + 1), body)
        }),
        ("before its last chunk", |body| {
            ok(
                "transfer-encoding: chunked\r\n",
                &format!("{:x}\r\n{body}\r\n", body.len()),
            )
        }),
        ("within a chunk", |body| {
            ok(
                "transfer-encoding: chunked\r\n",
                &format!("{:x}\r\n{body}", body.len() + 10),
            )
        }),
    ];
    for (what, write) in cases {
        let upstream = once(move |request| {
            Reply::Raw(write(&answer(&request.message()["id"], "x")).into_bytes())
        })
        .await;
        let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
        let mut client = sidecar.client(&sign(&physician("dr.cut"))).await;
        let call = client.request_message(
            "tools/call",
            &json!({"name": "delete_record", "arguments": {"patient_id": "p-1"}}),
        );
        let refused = client.post(&call).await;
        assert_eq!(refused.status, 502, "{what}");
        assert_eq!(refused.json().await["error"]["code"], UPSTREAM, "{what}");
        client.succeed("find_patient", &json!({})).await;
    }
}

#[tokio::test]
async fn an_upstream_that_answers_before_it_has_read_is_answered_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let early = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let mut some = [0_u8; 1024];
        let _head = socket.read(&mut some).await.expect("a head");
        let body = answer(&json!("early"), "early");
        socket
            .write_all(sized(&body).as_bytes())
            .await
            .expect("an answer");
        socket
    });
    let setup = Setup::new(&format!("http://{address}/mcp")).extended(
        "upstream:\n  timeout_seconds: 3\nlisten:\n  limits: { body_bytes_max: 33554432 }\n",
    );
    let sidecar = Sidecar::start(setup).await;
    let mut client = Client::new(sidecar.connect().await, &sign(&physician("dr.early")));
    // More than the sockets between them hold.
    let call = json!({"jsonrpc": "2.0", "id": "early", "method": "tools/call",
        "params": {"name": "find_patient", "arguments": {"department": "a".repeat(24 * 1024 * 1024)}}});
    let answered = client.post(&call).await;
    assert_eq!(answered.status, 504);
    assert_eq!(answered.json().await["error"]["code"], UPSTREAM);
    let socket = within("the early answer", early).await.expect("a task");
    drop(socket);
    let outcome = sidecar.event("phi_read", |_| true).await;
    assert_eq!(outcome["outcome"], "failure");
}

#[tokio::test]
async fn an_upstream_whose_head_never_ends_is_given_up() {
    let dripping = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-drip: ";
    let upstream = once(move |_| Reply::Drip(dripping.into(), 100)).await;
    let sidecar =
        Sidecar::start(Setup::new(&upstream.url()).extended("upstream:\n  timeout_seconds: 3\n"))
            .await;
    let mut client = sidecar.client(&sign(&physician("dr.drip"))).await;
    let call = search(&mut client);
    let refused = client.post(&call).await;
    assert_eq!(refused.status, 504);
    client.succeed("find_patient", &json!({})).await;
}

#[tokio::test]
async fn a_streams_answer_to_another_request_is_dropped_and_one_answer_is_enough() {
    let (events, receiver) = mpsc::unbounded_channel();
    let receiver = Mutex::new(Some(receiver));
    let upstream =
        once(move |_| Reply::Events(receiver.lock().expect("no panic").take().expect("once")))
            .await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.ids"))).await;
    let call = search(&mut client);
    let mut stream = client.post(&call).await.expect_status(200).await;
    let id = call["id"].as_u64().expect("a number");
    for (id, department) in [
        (json!(id + 1), "another's"),
        (json!(id.to_string()), "of the same look"),
        (json!(null), "nobody's"),
        (json!(id), "mine"),
        (json!(id), "mine again"),
    ] {
        let event = format!("data: {}\n\n", answer(&id, department));
        events.send(event).expect("an open stream");
    }
    drop(events);
    let first = stream.event().await.expect("an answer").json();
    assert_eq!(department(&first), "mine");
    assert_eq!(stream.event().await, None);
    let dropped = sidecar
        .metric("safeguard_limits_reached_total", &["answer_to_nothing"])
        .await;
    assert_eq!(dropped, 3.0);
}

#[tokio::test]
async fn a_stream_without_end_costs_no_memory() {
    let (events, receiver) = mpsc::unbounded_channel();
    let receiver = Mutex::new(Some(receiver));
    let upstream =
        once(move |_| Reply::Events(receiver.lock().expect("no panic").take().expect("once")))
            .await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.endless"))).await;
    let call = search(&mut client);
    let before = sidecar.memory();
    let stream = client.post(&call).await.expect_status(200).await;
    let comment = format!(": {}\n\n", "a".repeat(16 * 1024));
    let nobodys = format!(
        "data: {}\n\n",
        answer(&json!("nobody"), &"a".repeat(16 * 1024))
    );
    for _ in 0..2048 {
        events.send(comment.clone()).expect("an open stream");
        events.send(nobodys.clone()).expect("an open stream");
    }
    events
        .send(format!("data: {}\n\n", answer(&call["id"], "at last")))
        .expect("an open stream");
    let mut others = Vec::new();
    let answered = within("the answer", stream.message(&mut others)).await;
    assert_eq!(department(&answered), "at last");
    let grown = sidecar.memory().saturating_sub(before);
    assert!(grown < 32 * MIB, "it grew by {grown} bytes");
    drop(events);
    eventually("no stream open", || async {
        (sidecar.metric("safeguard_sse_streams", &[]).await == 0.0).then_some(())
    })
    .await;
}
