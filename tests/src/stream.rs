//! Answers as they arrive: status and headers at once, the body whole or event by event.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use crate::wait::within;

/// The head of an answer, its body still to come.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: http::HeaderMap,
    body: Incoming,
    /// What arrived and was not taken yet.
    buffer: Vec<u8>,
}

/// One event of an SSE stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The `id` field.
    pub id: Option<String>,
    /// The `data` lines, joined.
    pub data: String,
}

impl Event {
    /// The data as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        parse(self.data.as_bytes())
    }
}

impl Answer {
    pub(crate) fn new(response: http::Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            buffer: Vec::new(),
        }
    }

    /// A header's value, empty if it isn't there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The same, once its status is the one expected.
    ///
    /// # Panics
    /// If it's another: with the body.
    pub async fn expect_status(self, status: u16) -> Self {
        if self.status == status {
            return self;
        }
        let (got, challenge) = (self.status, self.header("www-authenticate").to_owned());
        panic!(
            "answered {got}, not {status}: {challenge} {}",
            String::from_utf8_lossy(&self.bytes().await)
        )
    }

    /// The whole body.
    pub async fn bytes(self) -> Bytes {
        let rest = within("the whole body", self.body.collect())
            .await
            .expect("a body that ends well")
            .to_bytes();
        [self.buffer.as_slice(), &rest].concat().into()
    }

    /// The whole body, or nothing if it broke off.
    pub async fn try_bytes(self) -> Option<Bytes> {
        let rest = within("the whole body", self.body.collect())
            .await
            .ok()?
            .to_bytes();
        Some([self.buffer.as_slice(), &rest].concat().into())
    }

    /// The whole body as JSON.
    pub async fn json(self) -> Value {
        parse(&self.bytes().await)
    }

    /// The next event that carries data, or `None` at the end of the stream, however it ended.
    pub async fn event(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = find(&self.buffer, b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                if let Some(event) = read_event(&String::from_utf8(block).expect("events in UTF-8"))
                {
                    return Some(event);
                }
            }
            let frame = within("the next event", self.body.frame()).await?.ok()?;
            self.buffer.extend(
                frame
                    .into_data()
                    .unwrap_or_default()
                    .iter()
                    .filter(|byte| **byte != b'\r'),
            );
        }
    }

    /// Whether nothing comes within `silence`: the stream is open and idle.
    pub async fn is_silent_for(&mut self, silence: Duration) -> bool {
        tokio::time::timeout(silence, self.event()).await.is_err()
    }

    /// The JSON-RPC answer in this body, which is JSON or a stream of events. Notifications and requests before it go to `others`.
    pub async fn message(mut self, others: &mut Vec<Value>) -> Value {
        if !self.header("content-type").starts_with("text/event-stream") {
            return self.json().await;
        }
        while let Some(event) = self.event().await {
            let message = event.json();
            if message.get("method").is_none() {
                return message;
            }
            others.push(message);
        }
        panic!("the stream ended without an answer; before it: {others:?}")
    }
}

fn read_event(block: &str) -> Option<Event> {
    let field = |name: &str| {
        let values = block
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        values
            .map(|value| value.strip_prefix(' ').unwrap_or(value))
            .collect::<Vec<_>>()
    };
    let data = field("data");
    let empty = data.iter().all(|line| line.is_empty());
    (!empty).then(|| Event {
        id: field("id").first().map(|id| (*id).to_owned()),
        data: data.join("\n"),
    })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

fn parse(text: &[u8]) -> Value {
    serde_json::from_slice(text)
        .unwrap_or_else(|error| panic!("not JSON ({error}): {}", String::from_utf8_lossy(text)))
}
