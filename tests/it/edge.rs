//! The sidecar's two edges: upstreams of every shape, and browsers.

use std::io::Write as _;

use safeguard_tests::client::{Client, Connection};
use safeguard_tests::clinic::{Clinic, Server};
use safeguard_tests::configuration::Setup;
use safeguard_tests::detour::{self, TlsFront};
use safeguard_tests::pki::Authority;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::stream::Answer;
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, structured, tools_of_the_policy};
use safeguard_tests::wait::eventually;
use serde_json::{Value, json};

use crate::patients::{data, to_store};

const MIB: usize = 1024 * 1024;

/// A recorder that answers as bytes say, and else as usual.
async fn raw(answer: impl Fn(&Recorded) -> Option<Vec<u8>> + Send + Sync + 'static) -> Upstream {
    Upstream::start(tools_of_the_policy(), move |request: &Recorded| {
        answer(request).map(Reply::Open)
    })
    .await
}

/// A client before its handshake.
async fn unsaid(sidecar: &Sidecar, who: &str) -> Client {
    Client::new(sidecar.connect().await, &sign(&physician(who)))
}

fn redirect(status: u16, location: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n")
        .into_bytes()
}

#[tokio::test]
async fn a_redirect_over_a_slash_is_followed_once_and_then_known() {
    let upstream = raw(|request| {
        let location = format!("http://{}/mcp/", request.header("host")?);
        (request.path == "/mcp").then(|| redirect(307, &location))
    })
    .await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.slash"))).await;
    assert!(!client.names("tools/list", "tools").await.is_empty());
    let paths: Vec<String> = upstream
        .requests()
        .into_iter()
        .map(|one| one.path)
        .collect();
    assert_eq!(paths[..2], ["/mcp", "/mcp/"]);
    assert!(paths[2..].iter().all(|path| path == "/mcp/"), "{paths:?}");
    for message in upstream.messages("initialize") {
        assert_eq!(message["method"], "initialize", "the body goes along");
    }
}

#[tokio::test]
async fn a_client_may_write_the_endpoint_with_a_slash() {
    let upstream = Upstream::answering(json!({})).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.slash"))).await;
    let token = format!("Bearer {}", client.token);
    let headers = [
        ("authorization", token.as_str()),
        ("content-type", "application/json"),
    ];
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    let answer = client
        .connection
        .send("POST", "/mcp/", &headers, ping)
        .await;
    assert_eq!(answer.expect("an answer").status, 200);
    assert!(upstream.requests().iter().all(|one| one.path == "/mcp"));
}

#[tokio::test]
async fn a_redirect_to_anywhere_else_is_refused_and_its_address_stays_inside() {
    for (status, location) in [
        (307, "http://10.9.8.7/mcp/"),
        (307, "/elsewhere/"),
        (302, "/mcp/"),
        (308, "https://evil.example.com/mcp/"),
    ] {
        let upstream = raw(move |request| {
            (request.message()["method"] != "initialize").then(|| redirect(status, location))
        })
        .await;
        let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
        let mut client = unsaid(&sidecar, "dr.elsewhere").await;
        let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
        let answer = client.post(&ping).await;
        assert_eq!(answer.status, 502, "{location}");
        assert_eq!(answer.header("location"), "");
        let text = String::from_utf8_lossy(&answer.bytes().await).into_owned();
        assert!(
            !text.contains("10.9.8.7") && !text.contains("elsewhere"),
            "{text}"
        );
        let pings = upstream.messages("ping").len();
        assert_eq!(pings, 1, "the body went nowhere else");
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).expect("a buffer");
    encoder.finish().expect("a buffer")
}

/// A whole answer with an encoding.
fn encoded(media: &str, coding: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {media}\r\ncontent-encoding: {coding}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn answer_to(request: &Recorded, result: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": request.message()["id"], "result": result}).to_string()
}

#[tokio::test]
async fn an_answer_compressed_all_the_same_is_decoded_and_judged() {
    let content = json!({"patients": [{"patient_id": "p-1", "ssn": "123-45-6789"}]});
    let upstream = raw(move |request| {
        let message = request.message();
        let tool = message["params"]["arguments"]["department"]
            .as_str()?
            .to_owned();
        let answer = answer_to(request, &structured(&content));
        Some(match tool.as_str() {
            "whole" => encoded("application/json", "gzip", &gzip(answer.as_bytes())),
            _ => {
                let event = format!("event: message\ndata: {answer}\n\n");
                encoded("text/event-stream", "gzip", &gzip(event.as_bytes()))
            }
        })
    })
    .await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut nurse = sidecar.client(&sign(&physician("dr.packed"))).await;
    for how in ["whole", "events"] {
        let result = nurse
            .succeed("find_patient", &json!({"department": how}))
            .await;
        assert_eq!(
            result["structuredContent"]["patients"][0]["ssn"],
            "123-45-6789"
        );
    }
    let asked = upstream.requests();
    assert!(
        asked
            .iter()
            .all(|request| request.header("accept-encoding") == Some("identity")),
        "identity is asked for"
    );
}

#[tokio::test]
async fn a_bomb_an_unknown_coding_and_a_false_one_are_refused_and_harm_nobody() {
    let upstream = raw(|request| {
        let message = request.message();
        let body = answer_to(request, &structured(&json!({})));
        Some(
            match message["params"]["arguments"]["department"].as_str()? {
                "bomb" => encoded("application/json", "gzip", &gzip(&vec![b' '; 256 * MIB])),
                "stream" => encoded("text/event-stream", "gzip", &gzip(&vec![b'a'; 256 * MIB])),
                "two" => encoded("application/json", "gzip, br", body.as_bytes()),
                "deflate" => encoded("application/json", "deflate", body.as_bytes()),
                _ => encoded("application/json", "zstd", body.as_bytes()),
            },
        )
    })
    .await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.bomb"))).await;
    for how in ["bomb", "two", "deflate", "false"] {
        let message = client.request_message(
            "tools/call",
            &json!({"name": "find_patient", "arguments": {"department": how}}),
        );
        let answer = client.post(&message).await.expect_status(502).await;
        let answer = answer.message(&mut client.others).await;
        assert_eq!(answer["error"]["code"], -32054, "{how}: {answer}");
    }
    let code = client
        .refused("find_patient", &json!({"department": "stream"}))
        .await;
    assert_eq!(code, -32054);
    let memory = sidecar.memory();
    assert!(memory < 200 * 1024 * 1024, "memory stays bounded: {memory}");
}

#[tokio::test]
async fn an_encoded_request_is_refused_before_it_is_read() {
    let upstream = Upstream::answering(json!({})).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let token = format!("Bearer {}", sign(&physician("dr.encoded")));
    let body = gzip(
        json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})
            .to_string()
            .as_bytes(),
    );
    for coding in ["gzip", "br", "zstd", "deflate", "identity, gzip"] {
        let headers = [
            ("authorization", token.as_str()),
            ("content-type", "application/json"),
            ("content-encoding", coding),
        ];
        let mut connection = sidecar.connect().await;
        let answer = connection
            .send("POST", "/mcp", &headers, body.clone())
            .await;
        assert_eq!(answer.expect("an answer").status, 415, "{coding}");
    }
    assert_eq!(upstream.everything(), "");
}

const PAGE: &str = "https://inspector.example.com";

fn with_cors(upstream: &Upstream, more: &str) -> Setup {
    let yaml = format!("listen:\n  cors:\n    origins: [\"{PAGE}\"]\n{more}");
    Setup::new(&upstream.url()).extended(&yaml)
}

async fn preflight(connection: &mut Connection, path: &str, origin: &str) -> Answer {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "authorization,content-type,mcp-session-id,x-patient",
        ),
    ];
    let answer = connection.send("OPTIONS", path, &headers, "").await;
    answer.expect("an answer")
}

#[tokio::test]
async fn a_page_of_a_named_origin_may_call_and_read_what_it_needs() {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let sidecar = Sidecar::start(with_cors(&upstream, "")).await;
    let mut connection = sidecar.connect().await;
    let answer = preflight(&mut connection, "/mcp", PAGE).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), PAGE);
    assert_eq!(
        answer.header("access-control-allow-headers"),
        "authorization, content-type, mcp-session-id"
    );
    assert!(
        answer
            .header("access-control-allow-methods")
            .contains("DELETE")
    );
    assert_eq!(answer.header("vary"), "Origin");

    let refused = connection
        .send("POST", "/mcp", &[("origin", PAGE)], "")
        .await
        .expect("an answer");
    assert_eq!(refused.status, 401);
    assert_eq!(
        refused.header("access-control-allow-origin"),
        PAGE,
        "the challenge can be read"
    );
    assert!(
        refused
            .header("access-control-expose-headers")
            .contains("WWW-Authenticate")
    );
    let metadata = "/.well-known/oauth-protected-resource/mcp";
    let metadata = connection
        .send("GET", metadata, &[("origin", PAGE)], "")
        .await
        .expect("an answer");
    assert_eq!(metadata.status, 200);
    assert_eq!(metadata.header("access-control-allow-origin"), PAGE);

    let token = format!("Bearer {}", sign(&physician("dr.page")));
    let headers = [
        ("authorization", token.as_str()),
        ("content-type", "application/json"),
        ("origin", PAGE),
    ];
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "page", "version": "1"}}});
    let answer = connection
        .send("POST", "/mcp", &headers, hello.to_string())
        .await
        .expect("an answer");
    assert_eq!(answer.status, 200);
    assert!(!answer.header("mcp-session-id").is_empty());
    assert!(
        answer
            .header("access-control-expose-headers")
            .contains("Mcp-Session-Id")
    );
    assert!(
        upstream
            .requests()
            .iter()
            .all(|request| request.header("origin").is_none())
    );
}

#[tokio::test]
async fn a_page_of_any_other_origin_may_nothing() {
    let upstream = Upstream::answering(json!({})).await;
    for setup in [with_cors(&upstream, ""), Setup::new(&upstream.url())] {
        let sidecar = Sidecar::start(setup).await;
        for origin in [
            "https://evil.example.com",
            "null",
            "http://inspector.example.com",
        ] {
            let mut connection = sidecar.connect().await;
            let answer = preflight(&mut connection, "/mcp", origin).await;
            assert_eq!(answer.status, 403, "{origin}");
            assert_eq!(answer.header("access-control-allow-origin"), "");
        }
        let mut connection = sidecar.connect().await;
        let own = format!("https://localhost:{}", sidecar.setup.port);
        assert_eq!(preflight(&mut connection, "/mcp", &own).await.status, 405);
    }
    assert_eq!(upstream.everything(), "");
}

#[tokio::test]
async fn without_a_certificate_a_preflight_passes_where_that_is_said_and_nothing_else_does() {
    let upstream = Upstream::answering(json!({})).await;
    let sidecar = Sidecar::start(with_cors(
        &upstream,
        "    preflight_without_certificate: true\n",
    ))
    .await;
    let bare = || {
        sidecar
            .setup
            .authority
            .client_config(None, &[&rustls::version::TLS13])
    };
    let mut connection = Connection::open(&sidecar.target(), bare())
        .await
        .expect("a handshake");
    assert_eq!(preflight(&mut connection, "/mcp", PAGE).await.status, 204);
    let token = format!("Bearer {}", sign(&physician("dr.bare")));
    let headers = [
        ("authorization", token.as_str()),
        ("content-type", "application/json"),
        ("origin", PAGE),
    ];
    for method in ["POST", "GET", "DELETE"] {
        let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
        let answer = connection
            .send(method, "/mcp", &headers, ping)
            .await
            .expect("an answer");
        assert_eq!(answer.status, 401, "{method}");
    }
    sidecar
        .event("node_authentication_failed", |event| {
            event["reason"] == "no_certificate"
        })
        .await;
    let mut good = sidecar.client(&sign(&physician("dr.page"))).await;
    assert_eq!(good.request("ping", &json!({})).await["result"], json!({}));
    assert_eq!(upstream.messages("ping").len(), 1);
    let foreign = Authority::new("foreign").client(safeguard_tests::configuration::WEB);
    let foreign = sidecar
        .setup
        .authority
        .client_config(Some(&foreign), &[&rustls::version::TLS13]);
    let refused = async {
        let mut connection = Connection::open(&sidecar.target(), foreign).await?;
        connection.send("OPTIONS", "/mcp", &[], "").await
    };
    assert!(
        refused.await.is_err(),
        "a certificate that is shown must be good"
    );
}

/// A record goes in and comes out again, whatever stands between.
async fn stores_and_reads(sidecar: &Sidecar) {
    let mut client = sidecar.client(&sign(&physician("dr.shape"))).await;
    client.succeed("store_record", &to_store("p-1")).await;
    let read = client
        .succeed("read_record", &json!({"patient_id": "p-1"}))
        .await;
    assert_eq!(read["structuredContent"]["record"]["data"], data());
}

#[tokio::test]
async fn a_server_behind_a_unix_socket_is_served() {
    let clinic = Clinic::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("mcp.sock");
    detour::unix(&socket, clinic.server.address);
    let setup = Setup::new(&format!("unix:{}:/mcp", socket.display()));
    let sidecar = Sidecar::start(setup).await;
    stores_and_reads(&sidecar).await;
}

#[tokio::test]
async fn a_server_behind_a_path_prefix_is_served() {
    let upstream = raw(|request| (request.path != "/team/a/mcp").then(|| redirect(302, "/"))).await;
    let url = format!("http://{}/team/a/mcp", upstream.address);
    let sidecar = Sidecar::start(Setup::new(&url)).await;
    let mut client = sidecar.client(&sign(&physician("dr.prefix"))).await;
    assert!(!client.names("tools/list", "tools").await.is_empty());
}

/// `upstream.tls` with the files in a folder.
fn upstream_tls(folder: &std::path::Path, more: &str) -> String {
    let folder = folder.display();
    format!(
        "upstream:\n  tls:\n    ca_file: {folder}/upstream-ca.pem\n    certificate: {folder}/sidecar.pem\n    key: {folder}/sidecar.key\n{more}"
    )
}

#[tokio::test]
async fn a_server_over_tls_is_served_and_a_renewed_certificate_is_shown_without_a_restart() {
    let clinic = Clinic::start().await;
    let authority = Authority::new("upstream");
    let server = authority.server(&["clinic.internal", "localhost"]);
    let front = TlsFront::start(&authority, &server, clinic.server.address).await;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("upstream-ca.pem"), &authority.pem).expect("a file");
    let first = authority.client("sidecar.internal");
    first.write(folder.path(), "sidecar");
    let more = upstream_tls(folder.path(), "    server_name: clinic.internal\n");
    let setup = Setup::new(&format!("https://127.0.0.1:{}/mcp", front.port)).extended(&more);
    let sidecar = Sidecar::start(setup).await;
    stores_and_reads(&sidecar).await;
    assert!(front.shown().iter().all(|shown| *shown == first.chain[0]));

    let second = authority.client("sidecar.internal");
    second.write(folder.path(), "sidecar");
    sidecar
        .event("configuration_change", |event| {
            event["details"]["changed"] == "upstream"
        })
        .await;
    stores_and_reads(&sidecar).await;
    eventually("the new certificate", || async {
        front.shown().contains(&second.chain[0]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_not_who_it_should_be_gets_nothing() {
    let upstream = Upstream::answering(json!({})).await;
    let authority = Authority::new("upstream");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("upstream-ca.pem"), &authority.pem).expect("a file");
    authority
        .client("sidecar.internal")
        .write(folder.path(), "sidecar");
    let foreign = Authority::new("foreign");
    for (issuer, name) in [(&authority, "other.internal"), (&foreign, "localhost")] {
        let front = TlsFront::start(&authority, &issuer.server(&[name]), upstream.address).await;
        let setup = Setup::new(&format!("https://localhost:{}/mcp", front.port));
        let sidecar = Sidecar::start(setup.extended(&upstream_tls(folder.path(), ""))).await;
        let mut client = unsaid(&sidecar, "dr.false").await;
        let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
        assert_eq!(client.post(&ping).await.status, 502, "{name}");
    }
    assert_eq!(upstream.everything(), "");
}

#[tokio::test]
async fn a_server_of_standard_input_and_output_works_behind_a_bridge() {
    let server = Server::bridged().await;
    let rules = "tools:\n  echo: { operation: none, roles: any, patient: none }\n";
    let sidecar = Sidecar::start(Setup::new(&server.url()).extended(rules)).await;
    let mut client = sidecar.client(&sign(&physician("dr.bridge"))).await;
    assert_eq!(client.names("tools/list", "tools").await, ["echo"]);
    let echoed = client.succeed("echo", &json!({"message": "hello"})).await;
    assert_eq!(echoed["content"][0]["text"], "Echo: hello");
    assert_eq!(client.refused("get-env", &json!({})).await, -32050);
}
