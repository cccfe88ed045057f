//! Waiting for keys: how often they are asked for again, and what the admin port says while those of the trail are missing.
//!
//! Without its own key the trail records nothing, and then nothing may happen: the MCP endpoint stays closed. Probes are
//! answered all the same, so that an operator sees which source is missing and the process is not taken for dead.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use safeguard_policy::Configuration;
use tokio::net::{TcpListener, TcpStream};

use super::{Resolver, Rings, Unresolved};

/// The pause after the first attempt that brought no keys.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// The longest pause: what came back is noticed within it.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A probe is short: whoever holds the port open longer is cut.
const PROBE_DEADLINE: Duration = Duration::from_secs(10);

/// When to ask again.
#[derive(Debug)]
pub struct Backoff {
    due: Instant,
    pause: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            due: Instant::now() + PAUSE_FIRST,
            pause: PAUSE_FIRST,
        }
    }
}

impl Backoff {
    /// Whether it is time.
    pub fn is_due(&self) -> bool {
        Instant::now() >= self.due
    }

    /// After an attempt in vain: twice as long, up to a minute.
    pub fn later(&mut self) {
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        self.due = Instant::now() + self.pause;
    }
}

/// Puts the keys of the trail into the configuration, however long their source takes.
///
/// # Errors
/// When waiting can't help.
pub async fn trail_keys(
    resolver: &mut Resolver,
    configuration: &mut Configuration,
    admin: &TcpListener,
) -> Result<(), Unresolved> {
    let mut words = "the keys of the trail are asked for".to_owned();
    let mut backoff = Backoff::default();
    loop {
        let sources = &configuration.key_sources;
        let attempt = resolver.resolve(&mut configuration.keys, Rings::Audit, sources);
        match while_probed(admin, &words, attempt).await {
            Ok(()) => return Ok(()),
            Err(why) if why.is_lasting() => return Err(why),
            Err(why) => {
                log::error!("{why}; until it comes, nothing is recorded and nothing is served");
                words = why.to_string();
            }
        }
        let pause = backoff.due.saturating_duration_since(Instant::now());
        while_probed(admin, &words, tokio::time::sleep(pause)).await;
        backoff.later();
    }
}

/// Does some work, and meanwhile answers probes: alive, and not ready because of these words.
pub async fn while_probed<T>(admin: &TcpListener, words: &str, work: impl Future<Output = T>) -> T {
    let words = Arc::from(words);
    tokio::select! {
        done = work => done,
        never = probes(admin, &words) => match never {},
    }
}

/// Answers probes for as long as it is polled.
async fn probes(admin: &TcpListener, words: &Arc<str>) -> Infallible {
    loop {
        let Ok((socket, _)) = admin.accept().await else {
            continue;
        };
        tokio::spawn(probe(socket, Arc::clone(words)));
    }
}

async fn probe(socket: TcpStream, words: Arc<str>) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(request.method(), request.uri().path(), &words);
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(socket), service);
    let _ended = tokio::time::timeout(PROBE_DEADLINE, connection).await;
}

fn answer(method: &Method, path: &str, words: &str) -> Response<Full<Bytes>> {
    let (status, text) = match (method, path) {
        (&Method::GET, "/livez") => (StatusCode::OK, "ok\n".to_owned()),
        (&Method::GET, "/readyz") => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("[-] key_sources: {words}\nnot ready\n"),
        ),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned()),
    };
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer
}
