//! A crowd that does nothing: MCP sessions that stay idle, and streams that stay open; what it costs in memory.

use std::fmt;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::client::{Client, Connection};
use crate::sidecar::Sidecar;
use crate::stream::Answer;
use crate::tokens::{physician, sign};
use crate::upstream::{Recorded, Reply, Upstream, tools_of_the_policy};
use crate::wait::eventually;

/// Sessions that are opened: as many as a sidecar keeps.
pub const SESSIONS: usize = 10_000;
/// Streams that are open at once, each on a connection of its own.
pub const STREAMS: usize = 1_000;
/// What a session of a person who is logged in may cost, in bytes.
pub const SESSION_BYTES_MAX: u64 = 8 * 1024;
/// What an open stream may cost, its two connections and TLS included, in bytes.
pub const STREAM_BYTES_MAX: u64 = 192 * 1024;

/// Connections that open sessions at once.
const DOORS: usize = 8;

/// Memory of the sidecar, in bytes, as the crowd grew.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    empty: u64,
    seated: u64,
    listening: u64,
    gone: u64,
}

impl Report {
    fn session(&self) -> u64 {
        self.seated.saturating_sub(self.empty) / SESSIONS as u64
    }

    fn stream(&self) -> u64 {
        self.listening.saturating_sub(self.seated) / STREAMS as u64
    }

    /// Whether both cost what they may.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.session() <= SESSION_BYTES_MAX && self.stream() <= STREAM_BYTES_MAX
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = |bytes: u64| bytes / 1024;
        writeln!(f, "nobody yet: {} KiB", kib(self.empty))?;
        writeln!(
            f,
            "{SESSIONS} idle sessions: {} KiB, {} bytes each (bound {SESSION_BYTES_MAX})",
            kib(self.seated),
            self.session()
        )?;
        writeln!(
            f,
            "{STREAMS} open streams more: {} KiB, {} bytes each (bound {STREAM_BYTES_MAX})",
            kib(self.listening),
            self.stream()
        )?;
        writeln!(f, "streams closed: {} KiB", kib(self.gone))?;
        let words = if self.is_bounded() {
            "bounded"
        } else {
            "NOT BOUNDED"
        };
        write!(f, "{words}")
    }
}

/// The ends of the upstream's streams.
type Ends = Arc<Mutex<Vec<mpsc::UnboundedSender<String>>>>;

/// An MCP server that opens a stream for whoever asks, and its end of each.
pub async fn listening_upstream() -> (Upstream, Ends) {
    let ends = Ends::default();
    let kept = Arc::clone(&ends);
    let upstream = Upstream::start(tools_of_the_policy(), move |request: &Recorded| {
        (request.method == "GET").then(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            kept.lock().expect("no panic").push(sender);
            Reply::Events(receiver)
        })
    })
    .await;
    (upstream, ends)
}

/// Seats the crowd, lets a part of it listen, tells each of these one thing, and sends them home.
///
/// # Panics
/// If a session or a stream is refused, or does not hear.
pub async fn gather(sidecar: &Sidecar, ends: &Ends) -> Report {
    let empty = sidecar.memory();
    let seats = seat(sidecar).await;
    let seated = sidecar.memory();
    let mut streams = listen(sidecar, seats).await;
    let listening = sidecar.memory();
    tell(ends, &mut streams).await;
    drop(streams);
    eventually("the end of all streams", || async {
        (sidecar.metric("safeguard_sse_streams", &[]).await < 1.0).then_some(())
    })
    .await;
    Report {
        empty,
        seated,
        listening,
        gone: sidecar.memory(),
    }
}

/// A token and its MCP session.
type Seat = (String, String);

async fn seat(sidecar: &Sidecar) -> Vec<Seat> {
    let mut doors = JoinSet::new();
    for door in 0..DOORS {
        let (target, tls) = (sidecar.target(), sidecar.tls(&sidecar.web));
        doors.spawn(async move {
            let mut seats = Vec::new();
            let opened = Connection::open(&target, tls).await;
            let mut connection = opened.expect("a connection");
            for number in (door..SESSIONS).step_by(DOORS) {
                let token = sign(&physician(&format!("dr.crowd.{number}")));
                let mut client = Client::new(connection, &token);
                client.initialize().await;
                seats.push((token, client.session.expect("an MCP session")));
                connection = client.connection;
            }
            seats
        });
    }
    doors.join_all().await.into_iter().flatten().collect()
}

async fn listen(sidecar: &Sidecar, seats: Vec<Seat>) -> Vec<(Answer, Connection)> {
    let mut streams = Vec::new();
    for (token, session) in seats.into_iter().take(STREAMS) {
        let mut client = Client::new(sidecar.connect().await, &token);
        client.session = Some(session);
        let answer = client.listen().await.expect_status(200).await;
        streams.push((answer, client.connection));
    }
    streams
}

async fn tell(ends: &Ends, streams: &mut [(Answer, Connection)]) {
    let news = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
    let event = format!("data: {news}\n\n");
    let ends = std::mem::take(&mut *ends.lock().expect("no panic"));
    assert_eq!(
        ends.len(),
        streams.len(),
        "a stream of the server's for each"
    );
    for end in &ends {
        end.send(event.clone()).expect("an open stream");
    }
    for (stream, _) in streams {
        let heard: Value = stream.event().await.expect("the news").json();
        assert_eq!(heard["method"], news["method"]);
    }
}
