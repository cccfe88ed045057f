//! Clients that call without end, connect again whenever their connection is gone, and remember what was answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::ClientConfig;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::client::{Client, Connection, Target};
use crate::sidecar::Sidecar;
use crate::tokens::{physician, sign};
use crate::wait::within;

/// Between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(10);

/// A running load.
#[derive(Debug)]
pub struct Load {
    done: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
    answers: mpsc::UnboundedReceiver<String>,
    answered: BTreeSet<String>,
}

impl Load {
    /// Starts so many clients of the software `chart-web`, each a physician of its own.
    #[must_use]
    pub fn start(sidecar: &Sidecar, clients: usize) -> Self {
        let (sender, answers) = mpsc::unbounded_channel();
        let done = Arc::new(AtomicBool::new(false));
        let start = |number| {
            tokio::spawn(call_on(
                number,
                sidecar.target(),
                sidecar.tls(&sidecar.web),
                sender.clone(),
                Arc::clone(&done),
            ))
        };
        Self {
            clients: (0..clients).map(start).collect(),
            done,
            answers,
            answered: BTreeSet::new(),
        }
    }

    /// Waits for so many more answers.
    pub async fn answers(&mut self, count: usize) {
        for _ in 0..count {
            let id = within("an answer under load", self.answers.recv())
                .await
                .expect("a client that calls");
            self.answered.insert(id);
        }
    }

    /// Ends it; the ids of all calls that were answered.
    ///
    /// # Panics
    /// If a client met an answer that was not right.
    pub async fn stop(mut self) -> BTreeSet<String> {
        self.end().await
    }

    /// Ends it, as [`Self::stop`] does.
    ///
    /// # Panics
    /// If a client met an answer that was not right.
    pub async fn end(&mut self) -> BTreeSet<String> {
        self.done.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            within("the end of a client", client)
                .await
                .expect("a client that met only right answers");
        }
        while let Some(id) = self.answers.recv().await {
            self.answered.insert(id);
        }
        std::mem::take(&mut self.answered)
    }
}

async fn call_on(
    number: usize,
    target: Target,
    tls: ClientConfig,
    answered: mpsc::UnboundedSender<String>,
    done: Arc<AtomicBool>,
) {
    let mut ticks = tokio::time::interval(AGAIN);
    // Unlike the ids of any other load.
    let run = uuid::Uuid::new_v4();
    let mut call = 0_u64;
    while !done.load(Ordering::Relaxed) {
        ticks.tick().await;
        let Ok(connection) = Connection::open(&target, tls.clone()).await else {
            continue;
        };
        // A new login each time, so that a long load outlives its sessions.
        let mut client = Client::new(connection, &sign(&physician(&format!("dr.load.{number}"))));
        while !done.load(Ordering::Relaxed) {
            call += 1;
            let id = format!("{run}-{call}");
            match one_call(&mut client, &id).await {
                Some(()) => answered.send(id).expect("the test listens"),
                None => break,
            }
        }
    }
}

/// One call; `None` if the sidecar or its session went away before the whole answer.
async fn one_call(client: &mut Client, id: &str) -> Option<()> {
    let message = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": {"name": "find_patient", "arguments": {"ssn": "123-45-6789"}}});
    let answer = client
        .exchange("POST", message.to_string().into())
        .await
        .ok()?;
    if answer.status != 200 {
        return None;
    }
    let body: Value = serde_json::from_slice(&answer.try_bytes().await?).expect("JSON");
    assert_eq!(body["id"], id);
    assert!(body.get("result").is_some(), "{body}");
    Some(())
}

/// Asserts that each answered call has its intent and its outcome exactly once among `events`, and that no event is there twice.
///
/// # Panics
/// If not.
pub fn assert_recorded_once(events: &[Value], answered: &BTreeSet<String>) {
    let mut uids = BTreeSet::new();
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for event in events {
        assert!(
            uids.insert(event["uid"].as_str().expect("a uid")),
            "there twice: {event}"
        );
        let id = event["mcp"]["id"]
            .as_str()
            .unwrap_or_default()
            .trim_matches('"')
            .trim_start_matches("s:");
        *counts
            .entry((event["event"].as_str().expect("a name"), id))
            .or_default() += 1;
    }
    for id in answered {
        for name in ["phi_access_granted", "phi_read"] {
            assert_eq!(
                counts.get(&(name, id.as_str())),
                Some(&1),
                "{name} of {id}, once"
            );
        }
    }
}
