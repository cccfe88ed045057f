//! Streamable HTTP, as MCP 2025-11-25 has it ("Transports"): POST takes one message and answers
//! with JSON or a stream of events, DELETE ends a session, GET is not offered.

use std::collections::HashSet;
use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, ORIGIN};
use http::{Method, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, channel::Channel};
use hyper::body::Incoming as Received;
use hyper::{Request, Response};

use super::REVISIONS;
use super::rpc::{self, Incoming, Reply};
use super::store::Store;

/// The largest message that is taken, in bytes.
const BODY_MAX: usize = 4 << 20;
/// Sessions kept at once; the demo has a handful.
const SESSIONS_MAX: usize = 1024;
/// Events waiting for a slow reader of a stream.
const STREAM_FRAMES: usize = 8;

const SESSION: &str = "mcp-session-id";
const REVISION: &str = "mcp-protocol-version";

type Body = BoxBody<Bytes, Infallible>;

/// The clinic behind its endpoint.
pub(crate) struct Clinic {
    store: Store,
    recording: Mutex<File>,
    sessions: Mutex<HashSet<String>>,
}

impl Clinic {
    pub(crate) fn open(store: PathBuf, recording: &Path) -> io::Result<Clinic> {
        let recording = OpenOptions::new()
            .create(true)
            .append(true)
            .open(recording)?;
        Ok(Clinic {
            store: Store::new(store),
            recording: Mutex::new(recording),
            sessions: Mutex::new(HashSet::new()),
        })
    }

    pub(crate) async fn handle(
        &self,
        request: Request<Received>,
    ) -> Result<Response<Body>, Infallible> {
        let (parts, body) = request.into_parts();
        if parts.uri.path() != "/mcp" {
            return Ok(status(StatusCode::NOT_FOUND));
        }
        if let Err(refused) = self.admit(&parts.headers) {
            return Ok(status(refused));
        }
        Ok(match parts.method {
            Method::POST => match Limited::new(body, BODY_MAX).collect().await {
                Ok(body) => self.post(&parts.headers, &body.to_bytes()),
                Err(_) => status(StatusCode::PAYLOAD_TOO_LARGE),
            },
            Method::DELETE => self.end(&parts.headers),
            _ => status(StatusCode::METHOD_NOT_ALLOWED),
        })
    }

    /// Names of this host only (against DNS rebinding), a revision it speaks, a session it knows.
    fn admit(&self, headers: &HeaderMap) -> Result<(), StatusCode> {
        let host = text(headers, HOST.as_str());
        let origin = text(headers, ORIGIN.as_str());
        let near = host.is_some_and(is_loopback);
        let same = origin.is_none_or(|o| o.split_once("://").is_some_and(|(_, h)| is_loopback(h)));
        if !near || !same {
            return Err(StatusCode::FORBIDDEN);
        }
        if text(headers, REVISION).is_some_and(|r| !REVISIONS.contains(&r)) {
            return Err(StatusCode::BAD_REQUEST);
        }
        match text(headers, SESSION) {
            Some(id) if !self.sessions().contains(id) => Err(StatusCode::NOT_FOUND),
            _ => Ok(()),
        }
    }

    fn post(&self, headers: &HeaderMap, body: &[u8]) -> Response<Body> {
        let Ok(message) = serde_json::from_slice::<Incoming<'_>>(body) else {
            return json(StatusCode::BAD_REQUEST, rpc::invalid());
        };
        if self.keep(body).is_err() {
            return status(StatusCode::INTERNAL_SERVER_ERROR);
        }
        let begins = message.method.as_deref() == Some("initialize");
        if !begins && text(headers, SESSION).is_none() {
            return status(StatusCode::BAD_REQUEST);
        }
        match rpc::answer(&self.store, &message) {
            Reply::Accepted => status(StatusCode::ACCEPTED),
            Reply::One(answer) if begins => self.begin(answer),
            Reply::One(answer) => json(StatusCode::OK, answer),
            Reply::Stream(frames) => stream(frames),
        }
    }

    /// Appends a message to the recording, on a line of its own.
    fn keep(&self, body: &[u8]) -> io::Result<()> {
        // Line breaks between JSON tokens are white space; inside strings they can't stand.
        let mut line: Vec<u8> = body
            .iter()
            .map(|byte| {
                if matches!(byte, b'\n' | b'\r') {
                    b' '
                } else {
                    *byte
                }
            })
            .collect();
        line.push(b'\n');
        let mut file = self
            .recording
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line)
    }

    fn begin(&self, answer: Vec<u8>) -> Response<Body> {
        let id = uuid::Uuid::new_v4().to_string();
        let mut sessions = self.sessions();
        if sessions.len() >= SESSIONS_MAX {
            return status(StatusCode::SERVICE_UNAVAILABLE);
        }
        let mut response = json(StatusCode::OK, answer);
        if let Ok(value) = id.parse() {
            response.headers_mut().insert(SESSION, value);
            sessions.insert(id);
        }
        response
    }

    fn end(&self, headers: &HeaderMap) -> Response<Body> {
        match text(headers, SESSION).map(|id| self.sessions().remove(id)) {
            Some(true) => status(StatusCode::OK),
            _ => status(StatusCode::BAD_REQUEST),
        }
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn is_loopback(authority: &str) -> bool {
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host);
    matches!(host, "127.0.0.1" | "localhost" | "[::1]")
}

fn status(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(Full::default().boxed());
    *response.status_mut() = code;
    response
}

fn json(code: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Full::from(body).boxed());
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}

/// One event a message, sent as the reader takes them.
fn stream(frames: Vec<Vec<u8>>) -> Response<Body> {
    let (mut sender, channel) = Channel::<Bytes, Infallible>::new(STREAM_FRAMES);
    tokio::spawn(async move {
        for (number, frame) in frames.into_iter().enumerate() {
            let mut event = format!("event: message\nid: {number}\ndata: ").into_bytes();
            event.extend_from_slice(&frame);
            event.extend_from_slice(b"\n\n");
            if sender.send_data(Bytes::from(event)).await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(channel.boxed());
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        http::HeaderValue::from_static("text/event-stream"),
    );
    response
}
