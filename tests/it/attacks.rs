//! What an attacker with a certificate and a token tries at the protocol: ambiguity, confusion of requests, floods.

use safeguard_tests::client::{Client, open_tls};
use safeguard_tests::configuration::Setup;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, structured, tools_of_the_policy};
use safeguard_tests::wait::eventually;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::framing::exchange;

/// A sidecar in front of an upstream that gives each caller back the department that it asked for.
pub struct Scene {
    pub upstream: Upstream,
    pub sidecar: Sidecar,
    pub token: String,
}

impl Scene {
    pub async fn start() -> Self {
        Self::with("").await
    }

    async fn with(yaml: &str) -> Self {
        let upstream = Upstream::start(tools_of_the_policy(), |request: &Recorded| {
            let message = request.message();
            (message["method"] == "tools/call").then(|| {
                let asked = &message["params"]["arguments"]["department"];
                Reply::Result(structured(&json!({"patients": [], "department": asked})))
            })
        })
        .await;
        let mut setup = Setup::new(&upstream.url());
        if !yaml.is_empty() {
            setup = setup.extended(yaml);
        }
        Self {
            upstream,
            sidecar: Sidecar::start(setup).await,
            token: sign(&physician("dr.attack")),
        }
    }

    pub async fn tls(&self, protocol: &str) -> TlsStream<TcpStream> {
        open_tls(
            &self.sidecar.target(),
            self.sidecar.tls(&self.sidecar.web),
            &[protocol],
        )
        .await
        .expect("a connection")
    }

    /// A POST of `body` in any framing: the caller gives the lines that say it.
    fn request(&self, target: &str, lines: &str, body: &str) -> String {
        format!(
            "POST {target} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n{lines}\r\n{body}",
            self.sidecar.target().host
        )
    }

    fn bearer(&self) -> String {
        format!("authorization: Bearer {}\r\n", self.token)
    }

    async fn send(&self, request: &str) -> (u16, String) {
        exchange(&mut self.tls("http/1.1").await, request.as_bytes()).await
    }

    pub fn assert_nothing_went_up(&self) {
        assert_eq!(
            self.upstream.everything(),
            "",
            "nothing reached the upstream"
        );
    }

    pub async fn assert_nothing_is_under_way(&self) {
        eventually("no request under way", || async {
            let under_way = self
                .sidecar
                .metric("safeguard_inflight_requests", &[])
                .await;
            (under_way == 0.0).then_some(())
        })
        .await;
    }

    pub async fn assert_others_are_served(&self) {
        let mut other = self.sidecar.client(&sign(&physician("dr.other"))).await;
        other
            .succeed("find_patient", &json!({"department": "x"}))
            .await;
    }
}

pub fn call(id: &str, department: &str) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "find_patient", "arguments": {"department": department}}})
        .to_string()
}

fn lengths(body: &str) -> String {
    format!("content-length: {}\r\n", body.len())
}

#[tokio::test]
async fn a_header_that_two_parsers_could_read_in_two_ways_is_refused() {
    let scene = Scene::start().await;
    let body = call("a", "cardiology");
    let other = format!(
        "authorization: Bearer {}\r\n",
        sign(&physician("dr.second"))
    );
    let good = scene.bearer();
    for (what, lines) in [
        ("two tokens", format!("{good}{other}")),
        ("the same token twice", format!("{good}{good}")),
        ("an obsolete fold", format!("{good}x-folded: a\r\n b\r\n")),
        ("a fold in the token", good.replacen(' ', "\r\n ", 1)),
        ("a NUL in a value", format!("{good}x-nul: a\0b\r\n")),
        ("a NUL in a name", format!("{good}x\0nul: a\r\n")),
        ("a bare CR in a value", format!("{good}x-cr: a\rb\r\n")),
        ("a space before the colon", format!("{good}x-space : a\r\n")),
        ("a line without a colon", format!("{good}nonsense\r\n")),
        (
            "a bare line feed in the token",
            good.replacen(' ', "\n ", 1),
        ),
        ("an upgrade", format!("{good}upgrade: h2c\r\n")),
        (
            "two revisions",
            format!(
                "{good}mcp-protocol-version: 2025-11-25\r\nmcp-protocol-version: 2025-06-18\r\n"
            ),
        ),
        (
            "two sessions",
            format!("{good}mcp-session-id: a\r\nmcp-session-id: b\r\n"),
        ),
    ] {
        let lines = format!("{lines}{}connection: close\r\n", lengths(&body));
        let (status, answer) = scene.send(&scene.request("/mcp", &lines, &body)).await;
        assert_eq!(status, 400, "{what}: {answer}");
    }
    scene.assert_nothing_went_up();
}

#[tokio::test]
async fn the_authority_is_ours_wherever_it_stands() {
    let scene = Scene::start().await;
    let body = call("a", "cardiology");
    let lines = format!("{}{}connection: close\r\n", scene.bearer(), lengths(&body));
    let ours = scene.sidecar.target().host;
    for (target, host, expected) in [
        (
            "https://evil.example.com/mcp".to_owned(),
            "evil.example.com",
            403,
        ),
        (
            format!("https://{ours}.evil.example.com/mcp"),
            &format!("{ours}.evil.example.com"),
            403,
        ),
        // An authority that is not the Host's is ambiguous, whichever of them is ours.
        ("https://evil.example.com/mcp".to_owned(), &ours, 400),
        (format!("https://{ours}/mcp"), "evil.example.com", 400),
        (format!("https://{ours}@evil.example.com/mcp"), &ours, 400),
        (format!("https://evil.example.com@{ours}/mcp"), &ours, 400),
        (format!("//{ours}/mcp"), &ours, 404),
    ] {
        let request = scene.request(&target, &lines, &body).replacen(
            &format!("host: {ours}"),
            &format!("host: {host}"),
            1,
        );
        let (status, answer) = scene.send(&request).await;
        assert_eq!(status, expected, "{target}, {host}: {answer}");
    }
    scene.assert_nothing_went_up();
    let target = format!("https://{ours}/mcp");
    let (status, answer) = scene.send(&scene.request(&target, &lines, &body)).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn trailers_and_extensions_of_chunks_say_nothing() {
    let scene = Scene::start().await;
    let body = call("a", "cardiology");
    let (first, second) = body.split_at(20);
    let chunks = format!(
        "{:x};ext=\"{}\"\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n",
        first.len(),
        "sgt1.",
        second.len()
    );
    let trailers = format!(
        "authorization: Bearer {}\r\ncontent-length: 3\r\nmcp-session-id: other\r\nx-ssn: 123-45-6789\r\n\r\n",
        sign(&physician("dr.trailer"))
    );
    let lines = format!(
        "{}transfer-encoding: chunked\r\nconnection: close\r\n",
        scene.bearer()
    );
    let (status, answer) = scene
        .send(&scene.request("/mcp", &lines, &format!("{chunks}{trailers}")))
        .await;
    assert_eq!(status, 200, "{answer}");
    let arrived = scene.upstream.requests();
    assert_eq!(arrived.len(), 1);
    assert_eq!(arrived[0].message()["id"], "a");
    assert!(arrived[0].header("transfer-encoding").is_none());
    for planted in ["123-45-6789", "dr.trailer", "mcp-session-id"] {
        assert!(!scene.upstream.everything().contains(planted), "{planted}");
    }
    let login = scene.sidecar.event("user_login", |_| true).await;
    assert_eq!(login["subject"]["sub"], "dr.attack");
}

#[tokio::test]
async fn a_chunk_whose_size_is_no_hexadecimal_number_is_refused() {
    let scene = Scene::start().await;
    let body = call("a", "cardiology");
    let length = body.len();
    let lines = format!(
        "{}transfer-encoding: chunked\r\nconnection: close\r\n",
        scene.bearer()
    );
    for size in [
        format!("0x{length:x}"),
        format!("+{length:x}"),
        format!("-{length:x}"),
        format!("fffffffffffffffff{length:x}"),
        String::new(),
    ] {
        let body = format!("{size}\r\n{body}\r\n0\r\n\r\n");
        let (status, answer) = scene.send(&scene.request("/mcp", &lines, &body)).await;
        assert_eq!(status, 400, "{size:?}: {answer}");
    }
    scene.assert_nothing_went_up();
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order_as_their_own_or_never_begun() {
    let scene = Scene::start().await;
    let mut bytes = String::new();
    for number in 0..8 {
        let body = call(&format!("id-{number}"), &format!("department-{number}"));
        let token = sign(&physician(&format!("dr.pipeline.{number}")));
        let end = if number == 7 {
            "connection: close\r\n"
        } else {
            ""
        };
        let lines = format!("authorization: Bearer {token}\r\n{}{end}", lengths(&body));
        bytes.push_str(&scene.request("/mcp", &lines, &body));
    }
    let (_, answers) = scene.send(&bytes).await;
    let answers: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).collect();
    // Whoever does not wait for an answer may find the connection closed behind it; what had no answer had no effect either.
    assert!(!answers.is_empty());
    let known = scene.upstream.messages("tools/call");
    assert_eq!(known.len(), answers.len(), "{answers:?}");
    for (number, answer) in answers.iter().enumerate() {
        assert!(answer.starts_with("200 "), "{answer}");
        assert!(answer.contains(&format!("\"id-{number}\"")), "{answer}");
        assert!(answer.contains(&format!("department-{number}")), "{answer}");
        assert_eq!(known[number]["id"], format!("id-{number}"));
    }
    let subjects: Vec<_> = scene
        .sidecar
        .events()
        .into_iter()
        .filter(|event| event["event"] == "phi_read")
        .map(|event| event["subject"]["sub"].clone())
        .collect();
    let expected: Vec<_> = (0..answers.len())
        .map(|number| json!(format!("dr.pipeline.{number}")))
        .collect();
    assert_eq!(subjects, expected, "each is recorded as its own caller's");
}

#[tokio::test]
async fn a_request_behind_a_refused_one_is_judged_by_itself() {
    let scene = Scene::start().await;
    let body = call("inner", "cardiology");
    let inner = scene.request(
        "/mcp",
        &format!("{}{}connection: close\r\n", scene.bearer(), lengths(&body)),
        &body,
    );
    // The body of a refused request looks like a request with a token: it must never be one.
    let outer = format!(
        "POST /mcp HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{inner}",
        scene.sidecar.target().host,
        inner.len()
    );
    let (status, answer) = exchange(
        &mut scene.tls("http/1.1").await,
        format!(
            "{outer}GET /mcp HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            scene.sidecar.target().host
        )
        .as_bytes(),
    )
    .await;
    assert_eq!(status, 401, "{answer}");
    assert!(!answer.contains(" 200 "), "{answer}");
    scene.assert_nothing_went_up();
}

#[tokio::test]
async fn a_foreign_mcp_session_opens_no_stream_and_starts_nothing() {
    let scene = Scene::start().await;
    let owner = scene.sidecar.client(&sign(&physician("dr.owner"))).await;
    let mut thief = scene.sidecar.client(&sign(&physician("dr.thief"))).await;
    thief.session.clone_from(&owner.session);
    let known = scene.upstream.requests().len();
    assert_eq!(thief.listen().await.status, 404, "its stream");
    let call = thief.request_message(
        "tools/call",
        &json!({"name": "find_patient", "arguments": {}}),
    );
    assert_eq!(thief.post(&call).await.status, 404, "a call in it");
    let initialize = thief.request_message("initialize", &json!({"protocolVersion": "2025-11-25"}));
    assert_eq!(
        thief.post(&initialize).await.status,
        404,
        "a new beginning in it"
    );
    assert_eq!(scene.upstream.requests().len(), known);
}

#[tokio::test]
async fn a_cached_token_ends_with_its_session_on_every_connection() {
    let scene = Scene::start().await;
    let mut first = scene.sidecar.client(&sign(&physician("dr.twice"))).await;
    let mut beside = scene.sidecar.another(&first).await;
    // One MCP session: no id of a request stands twice in it.
    let _taken = beside.request_message("ping", &json!({}));
    // Verified, and remembered as such, on both.
    first.succeed("list_departments", &json!({})).await;
    beside.succeed("list_departments", &json!({})).await;
    let _second: Client = scene.sidecar.client(&sign(&physician("dr.twice"))).await;
    let known = scene.upstream.requests().len();
    for client in [&mut first, &mut beside] {
        let call = client.request_message(
            "tools/call",
            &json!({"name": "find_patient", "arguments": {}}),
        );
        assert_eq!(client.post(&call).await.status, 401);
    }
    assert_eq!(scene.upstream.requests().len(), known);
}
