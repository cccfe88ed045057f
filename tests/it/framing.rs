//! Bytes that no client should send: each gets a clear answer, costs no memory, and nothing of it goes up.

use std::fmt::Write as _;

use safeguard_tests::client::open_tls;
use safeguard_tests::configuration::Setup;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::upstream::Upstream;
use safeguard_tests::wait::within;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const MIB: u64 = 1024 * 1024;

/// A sidecar in front of a recorder that must stay empty.
struct Scene {
    upstream: Upstream,
    sidecar: Sidecar,
    token: String,
}

impl Scene {
    async fn start() -> Self {
        let upstream = Upstream::answering(json!({"content": []})).await;
        let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
        Self {
            upstream,
            sidecar,
            token: sign(&physician("dr.hostile")),
        }
    }

    async fn tls(&self) -> TlsStream<TcpStream> {
        open_tls(
            &self.sidecar.target(),
            self.sidecar.tls(&self.sidecar.web),
            &["http/1.1"],
        )
        .await
        .expect("a connection")
    }

    /// The head of a POST with a good token, with more header lines.
    fn head(&self, more: &str) -> String {
        let host = &self.sidecar.target().host;
        format!(
            "POST /mcp HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\naccept: application/json, text/event-stream\r\n{more}\r\n",
            self.token
        )
    }

    /// Posts a body with the right framing; status and answer.
    async fn post(&self, content_type: &str, body: &[u8]) -> (u16, String) {
        let mut tls = self.tls().await;
        let head = self.head(&format!(
            "content-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n",
            body.len()
        ));
        exchange(&mut tls, &[head.as_bytes(), body].concat()).await
    }

    fn assert_nothing_went_up(&self) {
        assert_eq!(
            self.upstream.everything(),
            "",
            "nothing reached the upstream"
        );
    }
}

/// Writes bytes, as far as they are taken, and reads until the peer closes; status and the text of the answer.
pub async fn exchange(tls: &mut TlsStream<TcpStream>, bytes: &[u8]) -> (u16, String) {
    let _closed_early = tls.write_all(bytes).await;
    read_answer(tls).await
}

async fn read_answer(tls: &mut TlsStream<TcpStream>) -> (u16, String) {
    let mut answer = Vec::new();
    // A peer that closes without close_notify has still answered.
    let _unclean = within("the end of the answer", tls.read_to_end(&mut answer)).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    (status, text)
}

/// The JSON-RPC error code in the body of an answer.
fn code(answer: &str) -> i64 {
    let body = answer
        .find('{')
        .map(|start| answer[start..].trim_end_matches("\r\n0\r\n\r\n"))
        .unwrap_or_default();
    let body = body.rfind('}').map(|end| &body[..=end]).unwrap_or_default();
    let message: Value =
        serde_json::from_str(body).unwrap_or_else(|_| panic!("a JSON-RPC error: {answer}"));
    message["error"]["code"]
        .as_i64()
        .unwrap_or_else(|| panic!("a code: {message}"))
}

fn call(arguments: &str) -> Vec<u8> {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"find_patient","arguments":{arguments}}}}}"#).into_bytes()
}

#[tokio::test]
async fn a_body_that_is_no_good_message_is_refused_and_goes_nowhere() {
    let scene = Scene::start().await;
    let mut cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("a truncated body", br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"na"#.to_vec()),
        ("a byte order mark", [b"\xef\xbb\xbf".as_slice(), &call("{}")].concat()),
        ("two values", [call("{}"), call("{}")].concat()),
        ("text that is no UTF-8", call("{\"department\":\"\u{1}\"}").into_iter().map(|byte| if byte == 1 { 0xff } else { byte }).collect()),
        ("a control character", call("{\"department\":\"\u{1}\"}")),
        ("a batch", [b"[".as_slice(), &call("{}"), b"]"].concat()),
        ("an empty batch", b"[]".to_vec()),
        ("a scalar", b"17".to_vec()),
        ("another version of JSON-RPC", br#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#.to_vec()),
        ("no version of JSON-RPC", br#"{"id":1,"method":"ping"}"#.to_vec()),
        ("two methods", br#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#.to_vec()),
        ("two methods, one escaped", br#"{"jsonrpc":"2.0","id":1,"method":"ping","m\u0065thod":"tools/call"}"#.to_vec()),
        ("two names in params", br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_departments","name":"export_records"}}"#.to_vec()),
        ("params that are an array", br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["find_patient"]}"#.to_vec()),
        ("an id that is an object", br#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#.to_vec()),
        ("an id that is null", br#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#.to_vec()),
        ("a method and a result", br#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#.to_vec()),
    ];
    let depth = 100_000;
    cases.push((
        "100,000 arrays deep",
        call(&format!(
            "{{\"a\":{}{}}}",
            "[".repeat(depth),
            "]".repeat(depth)
        )),
    ));
    cases.push((
        "100,000 objects deep",
        call(&format!(
            "{}1{}",
            "{\"a\":".repeat(depth),
            "}".repeat(depth)
        )),
    ));
    for (what, body) in cases {
        let json_text = serde_json::from_slice::<Value>(&body).is_ok();
        let (status, answer) = scene.post("application/json", &body).await;
        assert_eq!(status, 400, "{what}: {answer}");
        // JSON-RPC 2.0 §5.1: what is no JSON text, and what is JSON but no request.
        let expected = if json_text { -32600 } else { -32700 };
        assert_eq!(code(&answer), expected, "{what}: {answer}");
    }
    scene.assert_nothing_went_up();
}

#[tokio::test]
async fn a_body_of_another_content_type_is_refused() {
    let scene = Scene::start().await;
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "multipart/form-data; boundary=x",
    ] {
        let (status, answer) = scene.post(content_type, &call("{}")).await;
        assert_eq!(status, 415, "{content_type}: {answer}");
    }
    scene.assert_nothing_went_up();
}

#[tokio::test]
async fn ambiguous_framing_is_refused() {
    let scene = Scene::start().await;
    let body = String::from_utf8(call("{}")).expect("UTF-8");
    let length = body.len();
    let chunked = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    let json = "content-type: application/json\r\n";
    for (what, lines, body) in [
        (
            "Content-Length with Transfer-Encoding",
            format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"),
            &chunked,
        ),
        (
            "Transfer-Encoding with Content-Length",
            "transfer-encoding: chunked\r\ncontent-length: 4\r\n".to_owned(),
            &chunked,
        ),
        (
            "two lengths that differ",
            format!("content-length: {length}\r\ncontent-length: 4\r\n"),
            &body,
        ),
        (
            "a length that is no number",
            "content-length: 0x10\r\n".to_owned(),
            &body,
        ),
        (
            "a negative length",
            "content-length: -1\r\n".to_owned(),
            &body,
        ),
        (
            "an encoding that is not chunked",
            "transfer-encoding: gzip, identity\r\n".to_owned(),
            &body,
        ),
        (
            "a chunked that is not the last",
            "transfer-encoding: chunked, identity\r\n".to_owned(),
            &chunked,
        ),
    ] {
        let mut tls = scene.tls().await;
        let (status, answer) = exchange(
            &mut tls,
            format!("{}{body}", scene.head(&format!("{json}{lines}"))).as_bytes(),
        )
        .await;
        assert_eq!(status, 400, "{what}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{what}: {answer}");
    }
    scene.assert_nothing_went_up();
}

#[tokio::test]
async fn headers_without_measure_are_refused() {
    let scene = Scene::start().await;
    let long = format!("x-long: {}\r\n", "a".repeat(2 * 1024 * 1024));
    let mut many = String::new();
    for number in 0..5000 {
        write!(many, "x-{number}: a\r\n").expect("a text");
    }
    for (what, lines) in [("a long header", long), ("many headers", many)] {
        let mut tls = scene.tls().await;
        let (status, answer) = exchange(&mut tls, scene.head(&lines).as_bytes()).await;
        assert_eq!(status, 400, "{what}: {answer}");
    }
    scene.assert_nothing_went_up();
}

#[tokio::test]
async fn a_head_that_is_no_http_is_refused() {
    let scene = Scene::start().await;
    for head in [
        "POST /mcp HTTP/1.1\r\nno colon in this line\r\n\r\n",
        "POST /mcp HTTP/1.1\r\nhost: a\r\n folded: b\r\n\r\n",
        "POST /mcp HTTP/1.1\r\nx-zero: a\0b\r\n\r\n",
        "\x16\x03\x01 HTTP/1.1\r\n\r\n",
    ] {
        let mut tls = scene.tls().await;
        let (status, answer) = exchange(&mut tls, head.as_bytes()).await;
        assert_eq!(status, 400, "{head:?}: {answer}");
    }
    scene.assert_nothing_went_up();
}

#[tokio::test]
async fn a_client_that_waits_for_it_is_told_to_go_on_with_its_body() {
    let scene = Scene::start().await;
    let mut tls = scene.tls().await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let head = scene.head(&format!(
        "content-type: application/json\r\nexpect: 100-continue\r\ncontent-length: {}\r\nconnection: close\r\n",
        body.len()
    ));
    tls.write_all(head.as_bytes()).await.expect("a head");
    let mut told = [0_u8; 256];
    let length = within("the word to go on", tls.read(&mut told)).await;
    let told = String::from_utf8_lossy(&told[..length.expect("an answer")]).into_owned();
    assert!(told.starts_with("HTTP/1.1 100 "), "{told}");
    let (status, answer) = exchange(&mut tls, body.as_bytes()).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn a_header_a_byte_at_a_time_is_given_up_with_408() {
    let scene = Scene::start().await;
    let mut tls = scene.tls().await;
    let head = scene.head("content-length: 2\r\n");
    let mut ticks = tokio::time::interval(std::time::Duration::from_secs(1));
    // A byte a second would take minutes: the deadline for the whole header comes first.
    let drip = async {
        let mut answer = [0_u8; 1024];
        for byte in head.bytes() {
            tokio::select! {
                heard = tls.read(&mut answer) => {
                    let length = heard.expect("the connection breaks without an answer");
                    return String::from_utf8_lossy(&answer[..length]).into_owned();
                }
                _ = ticks.tick() => {}
            }
            tls.write_all(&[byte]).await.expect("a byte of the header");
            tls.flush().await.expect("a byte of the header");
        }
        panic!("the whole header was taken");
    };
    let answer = within("the deadline of the header", drip).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    scene.assert_nothing_went_up();
}

#[tokio::test]
async fn a_body_of_one_gib_is_refused_in_flat_memory() {
    let scene = Scene::start().await;
    let before = scene.sidecar.memory();
    let json = "content-type: application/json\r\nconnection: close\r\n";

    let mut tls = scene.tls().await;
    let declared = scene.head(&format!("{json}content-length: {}\r\n", 1024 * MIB));
    let (status, answer) = exchange(&mut tls, declared.as_bytes()).await;
    assert_eq!(status, 413, "a declared length: {answer}");

    let mut tls = scene.tls().await;
    tls.write_all(
        scene
            .head(&format!("{json}transfer-encoding: chunked\r\n"))
            .as_bytes(),
    )
    .await
    .expect("a head");
    let mebibyte = usize::try_from(MIB).expect("a small number");
    let chunk = format!("{mebibyte:x}\r\n{}\r\n", " ".repeat(mebibyte));
    for _ in 0..1024 {
        if tls.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    let (status, answer) = read_answer(&mut tls).await;
    // A client that goes on writing may find the connection reset before it has read the answer.
    assert!(
        status == 413 || answer.is_empty(),
        "an undeclared length: {answer}"
    );

    let grown = scene.sidecar.memory().saturating_sub(before);
    assert!(
        grown < 64 * MIB,
        "memory stays flat, but it grew by {grown} bytes"
    );
    scene.assert_nothing_went_up();
}

#[tokio::test]
async fn a_foreign_host_or_origin_or_path_is_refused() {
    let scene = Scene::start().await;
    let body = String::from_utf8(call("{}")).expect("UTF-8");
    let ours = scene.sidecar.target().host;
    let post = |path: &str, host: &str, more: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n{more}content-length: {}\r\nconnection: close\r\n\r\n{body}",
            scene.token,
            body.len()
        )
    };
    for (what, request, expected) in [
        (
            "a foreign host",
            post("/mcp", "evil.example.com", ""),
            &[403][..],
        ),
        (
            "the upstream's own host",
            post("/mcp", &scene.upstream.address.to_string(), ""),
            &[403],
        ),
        (
            "a foreign origin",
            post("/mcp", &ours, "origin: https://evil.example.com\r\n"),
            &[403],
        ),
        (
            "the origin of an opaque page",
            post("/mcp", &ours, "origin: null\r\n"),
            &[403],
        ),
        ("another path", post("/other", &ours, ""), &[404]),
        ("a path above", post("/mcp/../admin", &ours, ""), &[404]),
        ("the path in capitals", post("/MCP", &ours, ""), &[404]),
        (
            "two hosts",
            post("/mcp", &ours, "host: evil.example.com\r\n"),
            &[400],
        ),
    ] {
        let mut tls = scene.tls().await;
        let (status, answer) = exchange(&mut tls, request.as_bytes()).await;
        assert!(expected.contains(&status), "{what}: {answer}");
    }
    scene.assert_nothing_went_up();
}

#[tokio::test]
async fn a_method_that_is_not_of_mcp_is_refused() {
    let scene = Scene::start().await;
    for method in ["PUT", "PATCH", "TRACE", "CONNECT"] {
        let mut tls = scene.tls().await;
        let head = scene
            .head("connection: close\r\n")
            .replacen("POST", method, 1);
        let (status, answer) = exchange(&mut tls, head.as_bytes()).await;
        assert_eq!(status, 405, "{method}: {answer}");
        assert!(
            answer.contains("\r\nallow: POST, GET, DELETE\r\n")
                || answer.contains("\r\nAllow: POST, GET, DELETE\r\n"),
            "{answer}"
        );
    }
    scene.assert_nothing_went_up();
}
