//! Who gets a connection at all: TLS 1.3, a certificate of ours that is good now, a name that is allowed.

use std::sync::Arc;

use rustls::{ClientConfig, HandshakeKind, NamedGroup};
use safeguard_tests::client::{Client, Connection, Failure, open_tls};
use safeguard_tests::configuration::{Setup, WEB};
use safeguard_tests::pki::{Authority, Validity};
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::stream::Answer;
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::upstream::Upstream;
use safeguard_tests::wait::eventually;
use serde_json::json;

/// One ordinary request over a new connection. In TLS 1.3 a client learns that its certificate is refused only here.
async fn attempt(sidecar: &Sidecar, config: ClientConfig) -> Result<Answer, Failure> {
    let connection = Connection::open(&sidecar.target(), config).await?;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    Client::new(connection, &sign(&physician("dr.handshake")))
        .exchange("POST", ping.into())
        .await
}

async fn assert_refused(sidecar: &Sidecar, config: ClientConfig, what: &str) {
    assert!(
        attempt(sidecar, config).await.is_err(),
        "{what} is refused at the handshake"
    );
}

#[tokio::test]
async fn only_a_good_certificate_over_tls_1_3_gets_in() {
    let upstream = Upstream::answering(json!({})).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let authority = &sidecar.setup.authority;
    let tls13 = &[&rustls::version::TLS13];

    assert_refused(
        &sidecar,
        authority.client_config(Some(&sidecar.web), &[&rustls::version::TLS12]),
        "TLS 1.2",
    )
    .await;
    assert_refused(
        &sidecar,
        authority.client_config(None, tls13),
        "a client without a certificate",
    )
    .await;

    let foreign = Authority::new("foreign").client(WEB);
    assert_refused(
        &sidecar,
        authority.client_config(Some(&foreign), tls13),
        "a certificate of a foreign CA",
    )
    .await;

    let usage = rcgen::ExtendedKeyUsagePurpose::ClientAuth;
    let expired = authority.issue(&[WEB], usage.clone(), Validity::Expired);
    assert_refused(
        &sidecar,
        authority.client_config(Some(&expired), tls13),
        "an expired certificate",
    )
    .await;
    let future = authority.issue(&[WEB], usage, Validity::Future);
    assert_refused(
        &sidecar,
        authority.client_config(Some(&future), tls13),
        "a certificate of tomorrow",
    )
    .await;

    for name in [
        "web.example.com",
        "healthcare.example.com",
        "a.b.healthcare.example.com",
        "webhealthcare.example.com",
    ] {
        let other = authority.client(name);
        assert_refused(&sidecar, authority.client_config(Some(&other), tls13), name).await;
    }

    let server = authority.server(&[WEB]);
    assert_refused(
        &sidecar,
        authority.client_config(Some(&server), tls13),
        "a server's certificate in a client's place",
    )
    .await;

    assert_eq!(
        upstream.everything(),
        "",
        "nothing of all that reached the upstream"
    );
    let answer = attempt(&sidecar, sidecar.tls(&sidecar.web))
        .await
        .expect("a good client gets in");
    assert_eq!(answer.status, 200);
    let refused = sidecar.metric("safeguard_tls_handshakes_total", &[]).await;
    assert!(
        refused >= 11.0,
        "every handshake is counted, but only {refused} are"
    );
}

#[tokio::test]
async fn a_refused_handshake_is_audited() {
    let upstream = Upstream::answering(json!({})).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    assert_refused(
        &sidecar,
        sidecar
            .setup
            .authority
            .client_config(None, &[&rustls::version::TLS13]),
        "no certificate",
    )
    .await;
    sidecar
        .event("node_authentication_failed", |event| {
            event["source"] == "127.0.0.1"
        })
        .await;
}

#[tokio::test]
async fn a_handshake_is_never_resumed() {
    let upstream = Upstream::answering(json!({})).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    // One store of sessions for both connections, as a client that would resume has it.
    let mut config = sidecar.tls(&sidecar.web);
    config.resumption = rustls::client::Resumption::in_memory_sessions(8);
    for _ in 0..2 {
        let mut tls = open_tls(&sidecar.target(), config.clone(), &["http/1.1"])
            .await
            .expect("a connection");
        // A ticket would arrive with the first answer.
        let head = format!(
            "GET /nowhere HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            sidecar.target().host
        );
        crate::framing::exchange(&mut tls, head.as_bytes()).await;
        assert_eq!(tls.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[tokio::test]
async fn the_post_quantum_hybrid_is_offered_and_the_first_suite_is_taken() {
    let upstream = Upstream::answering(json!({})).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let tls = open_tls(&sidecar.target(), sidecar.tls(&sidecar.web), &["http/1.1"])
        .await
        .expect("a connection");
    let connection = tls.get_ref().1;
    assert_eq!(
        connection
            .negotiated_key_exchange_group()
            .map(|group| group.name()),
        Some(NamedGroup::X25519MLKEM768)
    );
    assert_eq!(
        connection
            .negotiated_cipher_suite()
            .map(|suite| suite.suite()),
        Some(rustls::CipherSuite::TLS13_AES_256_GCM_SHA384)
    );
}

#[tokio::test]
async fn http_2_is_spoken_as_well() {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let connection = Connection::open_http2(&sidecar.target(), sidecar.tls(&sidecar.web))
        .await
        .expect("a connection");
    let mut client = Client::new(connection, &sign(&physician("dr.two")));
    client.initialize().await;
    client.succeed("list_departments", &json!({})).await;
}

#[tokio::test]
async fn a_certificate_revoked_meanwhile_is_refused_at_the_next_request_on_an_open_connection() {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let setup = Setup::new(&upstream.url());
    let list = setup.folder.path().join("tls/revoked.pem");
    std::fs::write(&list, setup.authority.revocation_list(&[])).expect("a file");
    let sidecar =
        Sidecar::start(setup.extended(&format!("tls:\n  crl_file: {}\n", list.display()))).await;

    let mut client = sidecar.client(&sign(&physician("dr.revoked"))).await;
    let mut agent = sidecar
        .client_as(&sidecar.agent, &sign(&physician("dr.stays")))
        .await;
    client.succeed("list_departments", &json!({})).await;

    std::fs::write(
        &list,
        sidecar.setup.authority.revocation_list(&[&sidecar.web]),
    )
    .expect("a file");
    sidecar.signal("HUP");
    eventually("the revoked certificate is refused", || async {
        let again = attempt(&sidecar, sidecar.tls(&sidecar.web)).await;
        again.is_err().then_some(())
    })
    .await;
    assert_open_connection_is_refused(&mut client).await;
    agent.succeed("list_departments", &json!({})).await;
}

/// On the connection that stood all the while.
async fn assert_open_connection_is_refused(client: &mut Client) {
    let token = format!("Bearer {}", client.token);
    let headers = [
        ("authorization", token.as_str()),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    let answer = client.connection.send("POST", "/mcp", &headers, ping).await;
    let answer = answer.expect("an answer on the open connection");
    assert_eq!(answer.status, 401, "the open connection is refused too");
    assert!(answer.header("www-authenticate").starts_with("Bearer"));
}

#[tokio::test]
async fn a_ca_removed_meanwhile_is_refused_on_an_open_connection() {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let setup = Setup::new(&upstream.url());
    let second = Authority::new("second");
    let both = format!("{}{}", setup.authority.pem, second.pem);
    let server = setup.authority.server(&["localhost"]);
    setup.write_tls(&server, &both);
    let sidecar = Sidecar::start(setup).await;

    let identity = second.client(WEB);
    let config = mixed(&sidecar, &identity);
    let mut client = Client::new(
        Connection::open(&sidecar.target(), config)
            .await
            .expect("a connection"),
        &sign(&physician("dr.second")),
    );
    client.initialize().await;
    client.succeed("list_departments", &json!({})).await;

    sidecar
        .setup
        .write_tls(&server, &sidecar.setup.authority.pem);
    sidecar.signal("HUP");
    eventually("the removed CA is refused", || async {
        attempt(&sidecar, mixed(&sidecar, &identity))
            .await
            .is_err()
            .then_some(())
    })
    .await;
    assert_open_connection_is_refused(&mut client).await;
}

/// Trusts the sidecar's authority, shows a certificate of another.
fn mixed(sidecar: &Sidecar, identity: &safeguard_tests::pki::Identity) -> ClientConfig {
    sidecar
        .setup
        .authority
        .client_config(Some(identity), &[&rustls::version::TLS13])
}

#[tokio::test]
async fn a_handshake_that_never_comes_is_given_up() {
    let upstream = Upstream::answering(json!({})).await;
    let sidecar = Arc::new(Sidecar::start(Setup::new(&upstream.url())).await);
    let mut socket = tokio::net::TcpStream::connect(sidecar.target().address)
        .await
        .expect("a socket");
    let mut end = Vec::new();
    let closed = tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut end);
    safeguard_tests::wait::within("the end of a silent connection", closed)
        .await
        .ok();
}
