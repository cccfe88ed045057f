//! What a server says of itself: its lists, asked for as a client of MCP 2025-11-25 would, page by page and bounded.

#![expect(
    clippy::indexing_slicing,
    reason = "reading serde_json's Value by name gives null for what is absent"
)]

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use safeguard_wire::sse::Framer;
use serde_json::{Value, json};

use crate::cli::CliError;
use crate::gate::{PROTOCOL_VERSION, SESSION_ID};
use crate::upstream::{Upstream, UpstreamError, UpstreamSettings};

/// The revision that is asked for.
const REVISION: &str = "2025-11-25";
/// The largest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Pages of one list.
const PAGES_MAX: usize = 100;
/// Items of one list.
const ITEMS_MAX: usize = 4096;
/// The whole conversation.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a server lists, each definition as it stands.
#[derive(Debug, Default)]
pub(super) struct Lists {
    pub(super) server: String,
    pub(super) tools: Vec<Value>,
    pub(super) templates: Vec<Value>,
    pub(super) prompts: Vec<Value>,
}

/// Asks a server for its lists.
pub(super) async fn ask(settings: UpstreamSettings) -> Result<Lists, CliError> {
    let upstream = Upstream::new(settings);
    let asking = Talk::begin(&upstream);
    let asked = async {
        let (mut talk, server, offers) = asking.await?;
        let mut lists = Lists {
            server,
            ..Lists::default()
        };
        let has = |name: &str| offers.get(name).is_some();
        lists.tools = talk.list("tools/list", "tools").await?;
        if has("resources") {
            lists.templates = talk
                .list("resources/templates/list", "resourceTemplates")
                .await?;
        }
        if has("prompts") {
            lists.prompts = talk.list("prompts/list", "prompts").await?;
        }
        Ok(lists)
    };
    tokio::time::timeout(PATIENCE, asked)
        .await
        .map_err(|_| unavailable("it took too long"))?
}

struct Talk<'u> {
    upstream: &'u Upstream,
    headers: HeaderMap,
    id: u64,
}

impl<'u> Talk<'u> {
    /// The handshake; what the server is called, and what it offers.
    async fn begin(upstream: &'u Upstream) -> Result<(Self, String, Value), CliError> {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        let both = HeaderValue::from_static("application/json, text/event-stream");
        headers.insert(header::ACCEPT, both);
        let mut talk = Self {
            upstream,
            headers,
            id: 0,
        };
        let client = json!({ "name": "safeguard-learn", "version": env!("CARGO_PKG_VERSION") });
        let params =
            json!({ "protocolVersion": REVISION, "capabilities": {}, "clientInfo": client });
        let result = talk.request("initialize", &params).await?;
        let spoken = result["protocolVersion"].as_str().unwrap_or(REVISION);
        talk.header(&PROTOCOL_VERSION, spoken)?;
        talk.notify("notifications/initialized").await?;
        let of = |name: &str| result["serverInfo"][name].as_str().unwrap_or("").to_owned();
        let server = format!("{} {}", of("name"), of("version"));
        Ok((talk, server, result["capabilities"].clone()))
    }

    fn header(&mut self, name: &HeaderName, value: &str) -> Result<(), CliError> {
        let value = HeaderValue::from_str(value).map_err(|_| unavailable("it speaks no MCP"))?;
        self.headers.insert(name.clone(), value);
        Ok(())
    }

    async fn list(&mut self, method: &str, member: &str) -> Result<Vec<Value>, CliError> {
        let mut items = Vec::new();
        let mut params = json!({});
        for _ in 0..PAGES_MAX {
            let mut result = self.request(method, &params).await?;
            if result.is_null() {
                return Ok(items);
            }
            let Some(Value::Array(page)) = result.get_mut(member).map(Value::take) else {
                return Err(unavailable(&format!("its answer to {method} is no list")));
            };
            items.extend(page);
            if items.len() > ITEMS_MAX {
                break;
            }
            match result.get("nextCursor").and_then(Value::as_str) {
                Some(cursor) => params = json!({ "cursor": cursor }),
                None => return Ok(items),
            }
        }
        Err(unavailable(&format!("its answers to {method} do not end")))
    }

    async fn notify(&mut self, method: &str) -> Result<(), CliError> {
        let message = json!({ "jsonrpc": "2.0", "method": method });
        self.send(&message).await.map(drop)
    }

    async fn request(&mut self, method: &str, params: &Value) -> Result<Value, CliError> {
        self.id += 1;
        let message =
            json!({ "jsonrpc": "2.0", "id": self.id, "method": method, "params": params });
        let answer = self.send(&message).await?;
        let mut answer = message_of(&answer, self.id).ok_or_else(|| {
            unavailable(&format!(
                "it does not answer {method} as MCP {REVISION} does"
            ))
        })?;
        Ok(answer
            .get_mut("result")
            .map(Value::take)
            .unwrap_or_default())
    }

    /// Sends a message; the media type and the body of the answer.
    async fn send(&mut self, message: &Value) -> Result<(String, Bytes), CliError> {
        let body = message.to_string().into_bytes();
        let sent = self
            .upstream
            .send(&Method::POST, &self.headers, Some(&body), true);
        let answer = sent.await.map_err(failed)?;
        let status = answer.status();
        if !status.is_success() {
            return Err(unavailable(&format!(
                "it answers with status {}",
                status.as_u16()
            )));
        }
        if let Some(session) = answer.header(&SESSION_ID).cloned() {
            self.headers.insert(SESSION_ID.clone(), session);
        }
        let media = answer.media_type();
        Ok((media, answer.whole(ANSWER_BYTES_MAX).await.map_err(failed)?))
    }
}

/// "Method not found" (JSON-RPC 2.0 §5.1): servers say that they have resources, and have no templates.
const NO_SUCH_METHOD: i64 = -32601;

/// The answer to a request, as JSON or as one of a stream's events; none without a result or that one error.
fn message_of((media, body): &(String, Bytes), id: u64) -> Option<Value> {
    let is_answer = |message: &Value| {
        let answers = message.get("result").is_some() || message["error"]["code"] == NO_SUCH_METHOD;
        message["id"] == id && answers
    };
    if media != "text/event-stream" {
        return serde_json::from_slice(body).ok().filter(is_answer);
    }
    let mut framer = Framer::new(ANSWER_BYTES_MAX);
    framer.push(body).ok()?;
    for event in framer {
        let message = event
            .data()
            .and_then(|data| serde_json::from_slice(&data).ok());
        if let Some(message) = message.filter(is_answer) {
            return Some(message);
        }
    }
    None
}

fn failed(error: UpstreamError) -> CliError {
    CliError::Unavailable(error.to_string())
}

fn unavailable(why: &str) -> CliError {
    CliError::Unavailable(format!("the MCP server can't be learnt from: {why}"))
}
