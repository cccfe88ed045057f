//! Fifty ends without warning, under load: nothing that a client was answered is lost, nothing is there twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use safeguard_tests::client::{Client, Connection, Target};
use safeguard_tests::configuration::Setup;
use safeguard_tests::database::Database;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::upstream::{Upstream, structured};
use safeguard_tests::wait::{eventually, within};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::audit::{query, verify};

/// How often the sidecar is killed.
const KILLS: usize = 50;
/// Clients that call at once.
const CLIENTS: usize = 4;
/// Answers between two kills, so that every life of the sidecar has done something.
const ANSWERS: usize = 20;

/// One client that calls until it's told to stop, connects again whenever the connection is gone, and says which ids were answered.
async fn load(
    number: usize,
    target: Target,
    tls: rustls::ClientConfig,
    answered: mpsc::UnboundedSender<String>,
    done: Arc<AtomicBool>,
) {
    let token = sign(&physician(&format!("dr.load.{number}")));
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(10));
    let mut call = 0_u64;
    while !done.load(Ordering::Relaxed) {
        ticks.tick().await;
        let Ok(connection) = Connection::open(&target, tls.clone()).await else {
            continue;
        };
        let mut client = Client::new(connection, &token);
        while !done.load(Ordering::Relaxed) {
            call += 1;
            let id = format!("call-{number}-{call}");
            let message = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "find_patient", "arguments": {"ssn": "123-45-6789"}}});
            let Ok(answer) = client.exchange("POST", message.to_string().into()).await else {
                break;
            };
            if answer.status != 200 {
                break;
            }
            // An answer counts once it is whole.
            let Some(body) = answer.try_bytes().await else {
                break;
            };
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(body["id"], id);
            assert!(body.get("result").is_some(), "{body}");
            answered.send(id).expect("the test listens");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_minus_nine_loses_and_doubles_nothing() {
    let database = Database::create().await;
    let patients = json!({"patients": [{"patient_id": "p-1", "ssn": "123-45-6789"}]});
    let upstream = Upstream::answering(structured(&patients)).await;
    let mut sidecar = Sidecar::start(Setup::new(&upstream.url()).with_database(&database)).await;

    let (sender, mut receiver) = mpsc::unbounded_channel();
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            tokio::spawn(load(
                number,
                sidecar.target(),
                sidecar.tls(&sidecar.web),
                sender.clone(),
                Arc::clone(&done),
            ))
        })
        .collect();
    drop(sender);
    let mut answered = BTreeSet::new();
    for _ in 0..KILLS {
        for _ in 0..ANSWERS {
            answered.insert(
                within("an answer", receiver.recv())
                    .await
                    .expect("a client that calls"),
            );
        }
        sidecar.kill().await;
        sidecar.launch_again();
        sidecar.ready().await;
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        within("the end of a client", client)
            .await
            .expect("a client that did not fail");
    }
    while let Some(id) = receiver.recv().await {
        answered.insert(id);
    }

    // Whatever is in the spool arrives.
    let in_spool: Vec<_> = sidecar.events();
    let whole = i64::try_from(
        in_spool
            .iter()
            .filter(|event| event["event"] == "phi_read")
            .count(),
    )
    .expect("a small number");
    eventually("all outcomes in PostgreSQL", || async {
        (database.count("phi_read").await >= whole).then_some(())
    })
    .await;
    assert!(sidecar.stop().await.success(), "{}", sidecar.log());

    let mut intents: BTreeMap<String, usize> = BTreeMap::new();
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    let mut uids = BTreeSet::new();
    let rows = query(&sidecar, &["--from", "postgresql"]).await;
    for event in &rows {
        assert!(
            uids.insert(event["uid"].as_str().expect("a uid").to_owned()),
            "{event} is there twice"
        );
        let id = event["mcp"]["id"]
            .as_str()
            .unwrap_or_default()
            .trim_matches('"')
            .to_owned();
        match event["event"].as_str() {
            Some("phi_access_granted") => *intents.entry(id).or_default() += 1,
            Some("phi_read") => *outcomes.entry(id).or_default() += 1,
            _ => {}
        }
    }
    for id in &answered {
        assert_eq!(
            intents.get(id),
            Some(&1),
            "the intent of {id} is there exactly once"
        );
        assert_eq!(
            outcomes.get(id),
            Some(&1),
            "the outcome of {id} is there exactly once"
        );
    }
    assert!(
        answered.len() >= KILLS * ANSWERS,
        "{} answers",
        answered.len()
    );
    let (code, words) = verify(&sidecar).await;
    assert_eq!(code, Some(0), "{words}");
}
