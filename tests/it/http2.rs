//! What a hostile client tries with HTTP/2: streams without end, headers that unpack, resets.

use bytes::Bytes;
use safeguard_tests::client::{Connection, open_tls};
use safeguard_tests::configuration::Setup;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, tools_of_the_policy};
use safeguard_tests::wait::{eventually, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::attacks::{Scene, call};

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn a_token_given_twice_over_http_2_is_refused() {
    let scene = Scene::start().await;
    let config = scene.sidecar.tls(&scene.sidecar.web);
    let mut two = Connection::open_http2(&scene.sidecar.target(), config)
        .await
        .expect("a connection");
    let (first, second) = (
        format!("Bearer {}", scene.token),
        format!("Bearer {}", sign(&physician("dr.second"))),
    );
    let headers = [
        ("authorization", first.as_str()),
        ("authorization", &second),
        ("content-type", "application/json"),
    ];
    let answer = two.send("POST", "/mcp", &headers, call("a", "x")).await;
    assert_eq!(answer.expect("an answer").status, 400);
    scene.assert_nothing_went_up();
}

#[tokio::test]
async fn a_connection_gets_no_more_http_2_streams_than_its_bound() {
    let upstream = Upstream::start(tools_of_the_policy(), |request: &Recorded| {
        (request.message()["method"] == "tools/call").then_some(Reply::Silence)
    })
    .await;
    let setup = Setup::new(&upstream.url()).extended("upstream:\n  timeout_seconds: 5\n");
    let sidecar = Sidecar::start(setup).await;
    let (sender, connection) = http_2(&sidecar).await;
    let driver = tokio::spawn(connection);
    let token = sign(&physician("dr.many"));
    let mut answers = Vec::new();
    for number in 0..200 {
        let sender = sender.clone();
        let (token, host) = (token.clone(), sidecar.target().host);
        answers.push(tokio::spawn(async move {
            let mut sender = sender.ready().await.expect("room for a stream");
            let body = call(&number.to_string(), "x");
            let (answer, mut stream) = sender
                .send_request(post(&host, &token), false)
                .expect("a stream");
            stream.send_data(body.into(), true).expect("a body");
            match answer.await {
                Ok(answer) => answer.status().as_u16(),
                // Sent before the client had read how many it may open.
                Err(error) if error.reason() == Some(h2::Reason::REFUSED_STREAM) => 504,
                Err(error) => panic!("neither answered nor refused: {error}"),
            }
        }));
    }
    eventually("as many calls as the bound lets through", || async {
        (upstream.messages("tools/call").len() == 128).then_some(())
    })
    .await;
    assert_eq!(
        sidecar.metric("safeguard_inflight_requests", &[]).await,
        128.0
    );
    assert_eq!(upstream.messages("tools/call").len(), 128);
    for answer in answers {
        assert_eq!(within("an answer", answer).await.expect("a task"), 504);
    }
    driver.abort();
}

#[tokio::test]
async fn a_header_that_unpacks_to_megabytes_is_refused_in_flat_memory() {
    let scene = Scene::start().await;
    let before = scene.sidecar.memory();
    let (sender, connection) = http_2(&scene.sidecar).await;
    let driver = tokio::spawn(connection);
    let value = "a".repeat(3000);
    for _ in 0..20 {
        let mut request = post(&scene.sidecar.target().host, &scene.token);
        for _ in 0..3000 {
            // After the first, each is one byte on the wire.
            request
                .headers_mut()
                .append("x-bomb", value.parse().expect("a value"));
        }
        let Ok(mut sender) = sender.clone().ready().await else {
            break;
        };
        let (answer, _stream) = sender.send_request(request, true).expect("a stream");
        match within("an answer", answer).await {
            Ok(answer) => assert_eq!(answer.status().as_u16(), 431),
            Err(_reset) => {}
        }
    }
    let grown = scene.sidecar.memory().saturating_sub(before);
    assert!(grown < 32 * MIB, "it grew by {grown} bytes");
    scene.assert_nothing_went_up();
    scene.assert_others_are_served().await;
    driver.abort();
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_without_end_cost_the_attacker_its_connection() {
    let scene = Scene::start().await;
    let before = scene.sidecar.memory();
    let (sender, connection) = http_2(&scene.sidecar).await;
    let driver = tokio::spawn(connection);
    for _ in 0..20_000 {
        let Ok(mut sender) = sender.clone().ready().await else {
            break;
        };
        let request = post(&scene.sidecar.target().host, &scene.token);
        let Ok((_answer, mut stream)) = sender.send_request(request, false) else {
            break;
        };
        stream.send_reset(h2::Reason::CANCEL);
    }
    let ended = within("the end of the connection", driver).await;
    assert!(ended.expect("a task").is_err());
    let grown = scene.sidecar.memory().saturating_sub(before);
    assert!(grown < 32 * MIB, "it grew by {grown} bytes");
    scene.assert_nothing_went_up();
    scene.assert_nothing_is_under_way().await;
    scene.assert_others_are_served().await;
}

#[tokio::test]
async fn whole_requests_that_are_reset_without_end_leave_nothing_behind() {
    let scene = Scene::start().await;
    let (sender, connection) = http_2(&scene.sidecar).await;
    let driver = tokio::spawn(connection);
    let before = scene.sidecar.memory();
    for number in 0..2000 {
        let Ok(mut sender) = sender.clone().ready().await else {
            break;
        };
        let request = post(&scene.sidecar.target().host, &scene.token);
        let Ok((answer, mut stream)) = sender.send_request(request, false) else {
            break;
        };
        let body = call(&number.to_string(), "x");
        if stream.send_data(body.into(), true).is_err() {
            break;
        }
        // On its way before it is taken back.
        tokio::task::yield_now().await;
        drop((answer, stream));
    }
    scene.assert_nothing_is_under_way().await;
    let grown = scene.sidecar.memory().saturating_sub(before);
    assert!(grown < 32 * MIB, "it grew by {grown} bytes");
    // Whatever went up has its intent and its outcome.
    let known = scene.upstream.messages("tools/call").len();
    eventually("an outcome for each call", || async {
        let events = scene.sidecar.events();
        let count = |name: &str| events.iter().filter(|event| event["event"] == name).count();
        (count("phi_access_granted") >= known && count("phi_read") == count("phi_access_granted"))
            .then_some(())
    })
    .await;
    scene.assert_others_are_served().await;
    driver.abort();
}

#[tokio::test]
async fn headers_continued_without_end_cost_the_attacker_its_connection() {
    let scene = Scene::start().await;
    let mut tls = scene.tls("h2").await;
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len())
            .expect("a small frame")
            .to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    // HEADERS without END_HEADERS, then CONTINUATION after CONTINUATION.
    bytes.extend(frame(1, 0, 1, &[0x83]));
    tls.write_all(&bytes).await.expect("a preface");
    let continued = frame(9, 0, 1, &[0x82; 64]).repeat(64);
    for _ in 0..1000 {
        if tls.write_all(&continued).await.is_err() {
            break;
        }
    }
    let mut heard = Vec::new();
    let _unclean = within("the end of the connection", tls.read_to_end(&mut heard)).await;
    scene.assert_nothing_went_up();
    scene.assert_others_are_served().await;
}

/// HTTP/2 by hand.
async fn http_2(
    sidecar: &Sidecar,
) -> (
    h2::client::SendRequest<Bytes>,
    h2::client::Connection<TlsStream<TcpStream>, Bytes>,
) {
    let tls = open_tls(&sidecar.target(), sidecar.tls(&sidecar.web), &["h2"])
        .await
        .expect("a connection");
    h2::client::handshake(tls).await.expect("HTTP/2")
}

fn post(host: &str, token: &str) -> http::Request<()> {
    http::Request::builder()
        .method("POST")
        .uri(format!("https://{host}/mcp"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .body(())
        .expect("a request")
}
