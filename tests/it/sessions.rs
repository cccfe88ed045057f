//! Login sessions and MCP sessions: how many, how long, whose.

use std::sync::Mutex;

use safeguard_tests::client::Client;
use safeguard_tests::clinic::free_port;
use safeguard_tests::configuration::Setup;
use safeguard_tests::realm::Realm;
use safeguard_tests::sidecar::{Sidecar, path_text};
use safeguard_tests::stream::Answer;
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, tools_of_the_policy};
use safeguard_tests::wait::{eventually, within};
use serde_json::json;
use tokio::sync::mpsc;

/// An upstream whose GET streams stay open and silent.
async fn listening() -> Upstream {
    let open = Mutex::new(Vec::new());
    Upstream::start(tools_of_the_policy(), move |request: &Recorded| {
        (request.method == "GET").then(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            sender.send("event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n".to_owned()).expect("a receiver");
            // It never ends by itself.
            open.lock().expect("no panic").push(sender);
            Reply::Events(receiver)
        })
    })
    .await
}

/// A stream of this client's on another connection, after its first event.
async fn open_stream(sidecar: &Sidecar, client: &Client) -> Answer {
    let mut other = sidecar.another(client).await;
    let mut stream = other.listen().await.expect_status(200).await;
    assert!(stream.event().await.is_some(), "the stream is open");
    stream
}

async fn is_refused(client: &mut Client) -> bool {
    let ping = client.request_message("ping", &json!({}));
    client.post(&ping).await.status == 401
}

#[tokio::test]
async fn an_open_stream_ends_when_its_certificate_is_revoked() {
    let upstream = listening().await;
    let setup = Setup::new(&upstream.url());
    let list = setup.folder.path().join("tls/revoked.pem");
    std::fs::write(&list, setup.authority.revocation_list(&[])).expect("a file");
    let crl = format!("tls:\n  crl_file: {}\n", list.display());
    let sidecar = Sidecar::start(setup.extended(&crl)).await;
    let first = sidecar.client(&sign(&physician("dr.revoked"))).await;
    let mut stream = open_stream(&sidecar, &first).await;

    let revoked = sidecar.setup.authority.revocation_list(&[&sidecar.web]);
    std::fs::write(&list, revoked).expect("a file");
    sidecar.signal("HUP");
    assert_eq!(stream.event().await, None, "the stream ends");
}

#[tokio::test]
async fn an_open_stream_outlives_new_certificates_and_ends_with_its_policy() {
    const CHANGED: &str = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n";
    let (events, receiver) = mpsc::unbounded_channel();
    let receiver = Mutex::new(Some(receiver));
    let upstream = Upstream::start(tools_of_the_policy(), move |request: &Recorded| {
        let mut receiver = receiver.lock().expect("no panic");
        (request.method == "GET").then(|| Reply::Events(receiver.take().expect("one stream")))
    })
    .await;
    events.send(CHANGED.to_owned()).expect("a receiver");
    let mut sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let first = sidecar.client(&sign(&physician("dr.renewed"))).await;
    let mut stream = open_stream(&sidecar, &first).await;

    let renewed = sidecar.setup.authority.server(&["localhost"]);
    sidecar
        .setup
        .write_tls(&renewed, &sidecar.setup.authority.pem);
    sidecar.signal("HUP");
    let reloaded = |event: &serde_json::Value| event["reason"] == "certificates_reloaded";
    sidecar.event("configuration_change", reloaded).await;
    events.send(CHANGED.to_owned()).expect("a receiver");
    assert!(
        stream.event().await.is_some(),
        "the peer is trusted as before"
    );

    let names = "not_phi: [patient_id, department, status]";
    sidecar
        .setup
        .replace("policy.yaml", names, "not_phi: [patient_id, status]");
    sidecar.setup.write();
    sidecar.signal("HUP");
    assert_eq!(
        stream.event().await,
        None,
        "what was decided is not carried on"
    );
}

#[tokio::test]
async fn a_second_login_ends_the_first_and_its_open_streams() {
    let upstream = listening().await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut first = sidecar.client(&sign(&physician("dr.twice"))).await;
    let mut stream = open_stream(&sidecar, &first).await;

    let mut second = sidecar.client(&sign(&physician("dr.twice"))).await;
    assert_eq!(
        stream.event().await,
        None,
        "the first session's stream ends"
    );
    assert!(
        is_refused(&mut first).await,
        "the first session's token is refused"
    );
    assert!(!is_refused(&mut second).await, "the second session goes on");
    sidecar
        .event("user_logout", |event| event["subject"]["sub"] == "dr.twice")
        .await;
}

#[tokio::test]
async fn a_session_ends_at_its_absolute_limit_on_open_streams_too() {
    let upstream = listening().await;
    let mut setup = Setup::new(&upstream.url()).with_keycloak();
    setup.replace(
        "keycloak.yaml",
        "session_timeout: 900",
        "session_timeout: 10",
    );
    setup.replace("keycloak.yaml", "idle_timeout: 300", "idle_timeout: 10");
    let sidecar = Sidecar::start(setup).await;
    let mut client = sidecar.client(&sign(&physician("dr.late"))).await;
    let mut stream = open_stream(&sidecar, &client).await;
    while stream.event().await.is_some() {}
    assert!(is_refused(&mut client).await, "the session is over");
    sidecar
        .event("user_logout", |event| event["subject"]["sub"] == "dr.late")
        .await;
}

#[tokio::test]
async fn a_silent_session_ends() {
    let upstream = listening().await;
    let mut setup = Setup::new(&upstream.url()).with_keycloak();
    setup.replace("keycloak.yaml", "idle_timeout: 300", "idle_timeout: 1");
    let sidecar = Sidecar::start(setup).await;
    // One request alone: a second one on a busy machine may already find the session ended.
    let mut client = Client::new(sidecar.connect().await, &sign(&physician("dr.idle")));
    assert!(!is_refused(&mut client).await, "the session begins");
    sidecar
        .event("user_logout", |event| event["subject"]["sub"] == "dr.idle")
        .await;
    assert!(is_refused(&mut client).await, "the session is over");
}

#[tokio::test]
async fn an_mcp_session_belongs_to_its_principal() {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut owner = sidecar.client(&sign(&physician("dr.owner"))).await;
    let session = owner.session.clone().expect("the recorder gives sessions");
    let mut thief = sidecar.client(&sign(&physician("dr.thief"))).await;
    let known = upstream.requests().len();

    thief.session = Some(session);
    let ping = thief.request_message("ping", &json!({}));
    assert_eq!(thief.post(&ping).await.status, 404, "another's session");
    thief.session = Some("made-up".to_owned());
    assert_eq!(
        thief.post(&ping).await.status,
        404,
        "a session that never was"
    );
    assert_eq!(thief.end().await.status, 404, "nor can it be ended");
    assert_eq!(
        upstream.requests().len(),
        known,
        "the upstream heard nothing of it"
    );

    owner.succeed("list_departments", &json!({})).await;
    assert_eq!(owner.end().await.status, 200);
    let ping = owner.request_message("ping", &json!({}));
    assert_eq!(
        owner.post(&ping).await.status,
        404,
        "a session that was ended"
    );
}

#[tokio::test]
async fn the_count_of_sessions_is_told() {
    let upstream = Upstream::answering(json!({"content": []})).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    for user in ["dr.a", "dr.b", "dr.c"] {
        sidecar.client(&sign(&physician(user))).await;
    }
    eventually("three sessions", || async {
        (sidecar.metric("safeguard_sessions_active", &[]).await >= 3.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_administrator_sees_sessions_and_ends_a_users_with_their_open_streams() {
    let upstream = listening().await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let config = sidecar.setup.config();
    let config = path_text(&config);
    let unseen = sign(&physician("dr.ended"));
    let mut ended = sidecar.client(&sign(&physician("dr.ended"))).await;
    let mut other = sidecar.client(&sign(&physician("dr.spared"))).await;
    let mut stream = open_stream(&sidecar, &ended).await;

    let listed = sidecar
        .command(&["sessions", "list", "--config", config])
        .await;
    let text = String::from_utf8(listed.stdout).expect("UTF-8");
    assert!(
        text.contains("dr.ended") && text.contains("dr.spared"),
        "{text}"
    );
    let command = ["sessions", "end", "--user", "dr.ended", "--config", config];
    let done = sidecar.command(&command).await;
    assert_eq!(String::from_utf8_lossy(&done.stdout), "1 ended\n");
    assert_eq!(stream.event().await, None, "the stream ends");
    assert!(is_refused(&mut ended).await, "the session is over");
    let mut late = Client::new(sidecar.connect().await, &unseen);
    assert!(
        is_refused(&mut late).await,
        "a login of before that nobody has seen"
    );
    assert!(!is_refused(&mut other).await, "another user goes on");
    sidecar
        .event("session_terminated", |event| {
            event["subject"]["sub"] == "dr.ended"
        })
        .await;
    let asked = |event: &serde_json::Value| event["reason"] == "sessions_ended";
    sidecar.event("configuration_change", asked).await;

    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let path = "/auth/backchannel-logout";
    let mut connection = sidecar.connect().await;
    let forged = connection
        .send("POST", path, &headers, "logout_token=e30.e30.e30")
        .await
        .expect("an answer");
    assert_eq!(forged.status, 400, "no logout token");
    assert_eq!(forged.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn a_logout_at_keycloak_ends_the_session_and_its_open_streams() {
    let realm = Realm::create().await;
    let upstream = listening().await;
    let port = free_port();
    let account =
        format!("listen:\n  account:\n    address: 127.0.0.1:{port}\n    hosts: [localhost]\n");
    let setup = realm.setup(&upstream.url(), &account);
    let sidecar = Sidecar::start(setup.trusted_by_keycloak()).await;
    let url = format!("https://localhost:{port}/auth/backchannel-logout");
    let (leaves, stays) = tokio::join!(realm.person("dr.leaves"), realm.person("dr.stays"));
    realm.tells_logouts_to(&url).await;
    let mut staying = sidecar.client(&realm.token("dr.stays").await).await;
    let mut leaving = sidecar.client(&realm.token("dr.leaves").await).await;
    let mut stream = open_stream(&sidecar, &leaving).await;

    realm.log_out(&leaves).await;
    let end = within("the stream's end", stream.event()).await;
    assert!(end.is_none(), "the stream of who was logged out ends");
    assert!(is_refused(&mut leaving).await);
    assert!(!is_refused(&mut staying).await);
    let event = sidecar
        .event("user_logout", |event| event["reason"] == "logout")
        .await;
    assert_eq!(event["subject"]["sub"], leaves.as_str(), "{event}");
    assert_ne!(leaves, stays);
}
