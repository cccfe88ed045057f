//! A client that comes back for what it missed (`Last-Event-ID`): it gets the answer by the views of the call that it is
//! the answer to, as often as it asks, and nobody else gets it.

use safeguard_tests::client::Client;
use safeguard_tests::configuration::Setup;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::stream::Answer;
use safeguard_tests::tokens::{claims, sign};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, structured};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::patients::{VALUES, assert_no_value};

/// A stream that ends after these events.
fn events(texts: &[String]) -> Reply {
    let (sender, receiver) = mpsc::unbounded_channel();
    for text in texts {
        sender.send(text.clone()).expect("a receiver");
    }
    Reply::Events(receiver)
}

/// An upstream that breaks the stream of every call off and answers on any GET, resumed or not.
async fn interrupted() -> Upstream {
    crate::methods::upstream(|request: &Recorded| {
        let message = request.message();
        if request.method == "GET" {
            let patients = json!({ "patients": [{ "patient_id": "p-1", "ssn": VALUES[0] }] });
            let answer = json!({ "jsonrpc": "2.0", "id": 2, "result": structured(&patients) });
            return Some(events(&[format!(
                "id: 2\nevent: message\ndata: {answer}\n\n"
            )]));
        }
        (message["method"] == "tools/call").then(|| events(&["id: 1\ndata: \n\n".to_owned()]))
    })
    .await
}

async fn nurse(sidecar: &Sidecar, subject: &str) -> Client {
    sidecar
        .client(&sign(&claims(subject, "nurse", "TREAT")))
        .await
}

/// Calls, and loses the stream before the answer.
async fn lose_the_answer(client: &mut Client) -> Value {
    let call = client.request_message(
        "tools/call",
        &json!({ "name": "find_patient", "arguments": {} }),
    );
    let mut stream = client.post(&call).await.expect_status(200).await;
    assert_eq!(stream.event().await.map(|event| event.data), None);
    call["id"].clone()
}

/// Opens the server's stream, resumed behind an event or anew.
async fn listen(sidecar: &Sidecar, client: &Client, session: &str, from: Option<&str>) -> Answer {
    let authorization = format!("Bearer {}", client.token);
    let mut headers = vec![
        ("authorization", authorization.as_str()),
        ("accept", "text/event-stream"),
        ("mcp-session-id", session),
        ("mcp-protocol-version", "2025-11-25"),
    ];
    headers.extend(from.map(|id| ("last-event-id", id)));
    let mut connection = sidecar.connect().await;
    let sent = connection.send("GET", "/mcp", &headers, Vec::new()).await;
    sent.expect("an answer")
}

fn session(client: &Client) -> String {
    client.session.clone().expect("a session")
}

#[tokio::test]
async fn an_answer_that_was_missed_comes_by_the_views_of_its_call_and_again() {
    let upstream = interrupted().await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut client = nurse(&sidecar, "nurse.resume").await;
    let id = lose_the_answer(&mut client).await;
    for _ in 0..2 {
        let mut stream = listen(&sidecar, &client, &session(&client), Some("1")).await;
        let answer = stream.event().await.expect("the answer").json();
        assert_eq!(answer["id"], id);
        let patient = &answer["result"]["structuredContent"]["patients"][0];
        assert_eq!(patient["ssn"], "***-**-6789");
        assert_no_value(&answer.to_string(), "the answer");
    }
    let reads = || {
        let events = sidecar.events();
        events
            .iter()
            .filter(|event| event["event"] == "phi_read")
            .count()
    };
    sidecar.event("phi_read", |_| reads() == 2).await;
}

#[tokio::test]
async fn what_was_missed_is_nobody_elses_and_comes_on_no_stream_that_was_not_resumed() {
    let upstream = interrupted().await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut client = nurse(&sidecar, "nurse.own").await;
    let other = nurse(&sidecar, "nurse.other").await;
    lose_the_answer(&mut client).await;
    let stolen = listen(&sidecar, &other, &session(&client), Some("1")).await;
    assert_eq!(stolen.status, 404);
    // In its own session the other one was given no such event, whatever the server's store would say.
    let stolen = listen(&sidecar, &other, &session(&other), Some("1")).await;
    assert_eq!(stolen.status, 404);
    let asked = |request: &Recorded| request.method == "GET";
    assert!(
        !upstream.requests().iter().any(asked),
        "the server was not asked"
    );
    let mut anew = listen(&sidecar, &client, &session(&client), None).await;
    assert_eq!(anew.event().await, None);
}

#[tokio::test]
async fn what_was_missed_is_not_shown_by_another_policy_than_it_was_judged_by() {
    let upstream = interrupted().await;
    let mut sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut client = nurse(&sidecar, "nurse.policy").await;
    lose_the_answer(&mut client).await;
    sidecar.setup.replace(
        "policy.yaml",
        "mask: { ssn: last4 } }   # a field",
        "}   # a field",
    );
    sidecar.setup.write();
    sidecar.signal("HUP");
    sidecar.event("permission_change", |_| true).await;
    let mut stream = listen(&sidecar, &client, &session(&client), Some("1")).await;
    let answer = stream.event().await.expect("a refusal").json();
    assert_eq!(answer["error"]["code"], -32050);
    sidecar
        .event("phi_read", |event| event["reason"] == "policy_changed")
        .await;
}
