//! Streams that break: resumed at a real server with its own event ids; and clients that die in a call.

use safeguard_tests::client::{Client, REVISION};
use safeguard_tests::clinic::Server;
use safeguard_tests::configuration::Setup;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::stream::Answer;
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::wait::{eventually, within};
use serde_json::{Value, json};

const POLICY: &str = "tools:
  trigger-long-running-operation: { operation: none, roles: any, patient: none }
";

async fn server_and_sidecar() -> (Server, Sidecar) {
    let server = Server::npm_everything().await;
    let sidecar = Sidecar::start(Setup::new(&server.url()).extended(POLICY)).await;
    (server, sidecar)
}

/// Asks for what came after an event.
async fn resume(client: &mut Client, session: &str, event: &str) -> Answer {
    let authorization = format!("Bearer {}", client.token);
    let headers = [
        ("authorization", authorization.as_str()),
        ("accept", "text/event-stream"),
        ("mcp-session-id", session),
        ("mcp-protocol-version", REVISION),
        ("last-event-id", event),
    ];
    let sent = client.connection.send("GET", "/mcp", &headers, "").await;
    sent.expect("an answer")
}

/// A call that takes a while and says how far it is.
fn long(client: &mut Client, seconds: u32) -> Value {
    client.request_message(
        "tools/call",
        &json!({"name": "trigger-long-running-operation",
            "arguments": {"duration": seconds, "steps": seconds * 4}, "_meta": {"progressToken": "far"}}),
    )
}

async fn all_streams_end(sidecar: &Sidecar) {
    eventually("the end of all streams", || async {
        let open = sidecar.metric("safeguard_sse_streams", &[]).await;
        let working = sidecar.metric("safeguard_inflight_requests", &[]).await;
        (open < 1.0 && working < 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_real_servers_stream_that_broke_is_resumed_up_to_its_answer() {
    let (_server, sidecar) = server_and_sidecar().await;
    let mut client = sidecar.client(&sign(&physician("dr.resume"))).await;
    let mut again = sidecar.another(&client).await;
    let session = client.session.clone().expect("a session");
    let call = long(&mut client, 2);
    let mut stream = client.post(&call).await.expect_status(200).await;
    let heard = stream.event().await.expect("progress");
    drop((stream, client));
    all_streams_end(&sidecar).await;
    // This server brings again what happened until it is asked. A call that began later and takes longer is over: so is this one.
    let mut later = sidecar.client(&sign(&physician("dr.later"))).await;
    let meanwhile = long(&mut later, 3);
    let stream = later.post(&meanwhile).await.expect_status(200).await;
    stream.message(&mut later.others).await;

    let id = heard.id.clone().expect("an event with an id");
    let resumed = resume(&mut again, &session, &id).await;
    let mut resumed = resumed.expect_status(200).await;
    let mut steps = vec![heard.json()["params"]["progress"].clone()];
    // Keep-alives come without end: the whole is awaited, not each event.
    let answer = within("the answer", async {
        loop {
            let message = resumed.event().await.expect("an event").json();
            if message.get("method").is_none() {
                return message;
            }
            steps.push(message["params"]["progress"].clone());
        }
    })
    .await;
    assert_eq!(answer["id"], call["id"]);
    assert!(answer.to_string().contains("completed"), "{answer}");
    let all: Vec<_> = (1..=8).map(Value::from).collect();
    assert_eq!(steps, all, "nothing twice, nothing lost");
}

#[tokio::test]
async fn a_client_that_dies_in_a_call_leaves_nothing_behind() {
    let (_server, sidecar) = server_and_sidecar().await;
    for number in 0..5 {
        let token = sign(&physician(&format!("dr.dies.{number}")));
        let mut client = sidecar.client(&token).await;
        let call = long(&mut client, 20);
        let mut stream = client.post(&call).await.expect_status(200).await;
        let progress = stream.event().await.expect("progress").json();
        assert_eq!(progress["method"], "notifications/progress");
    }
    all_streams_end(&sidecar).await;
    let mut next = sidecar.client(&sign(&physician("dr.next"))).await;
    assert!(!next.names("tools/list", "tools").await.is_empty());
}
