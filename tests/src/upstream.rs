//! An MCP server that is a recorder: it keeps every byte that reached it and answers as the test says, well or badly.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The method.
    pub method: String,
    /// The request target.
    pub path: String,
    /// The header block, from the request line on, as it stood.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Recorded {
    /// The body as a JSON-RPC message; null if it is none.
    #[must_use]
    pub fn message(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// A header's value, its name in lower case; `None` if it isn't there.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let line = self
            .head
            .lines()
            .skip(1)
            .find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
        line.split_once(':').map(|(_, value)| value.trim())
    }

    fn is_call_of(&self, method: &str) -> bool {
        self.message()["method"] == method
    }
}

/// How the recorder answers one request.
#[derive(Debug)]
pub enum Reply {
    /// A JSON-RPC result for the request's id, as `application/json`.
    Result(Value),
    /// A JSON-RPC error for the request's id.
    Error(Value),
    /// A whole HTTP body, with its content type.
    Body(u16, &'static str, Vec<u8>),
    /// A stream of events that stays open until the sender is dropped: each text is written as it is.
    Events(mpsc::UnboundedReceiver<String>),
    /// Bytes in place of HTTP; then the connection is closed.
    Raw(Vec<u8>),
    /// The head of a JSON answer of this many bytes, and then spaces without end until the reader has enough.
    Endless(u64),
    /// Bytes in place of HTTP; then the connection stays open for the next request.
    Open(Vec<u8>),
    /// Bytes, and then a space each time so many milliseconds have passed, without end.
    Drip(Vec<u8>, u64),
    /// Nothing: the connection stays open and silent.
    Silence,
}

type Handler = dyn Fn(&Recorded) -> Option<Reply> + Send + Sync;

/// A running recorder.
#[derive(Debug)]
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    recorded: Arc<Mutex<Vec<Recorded>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Upstream {
    /// Starts one. `handler` answers first; what it leaves (`None`) is answered as an MCP server of `tools` would.
    pub async fn start(
        tools: Value,
        handler: impl Fn(&Recorded) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        Self::start_at(0, tools, handler).await
    }

    /// The same on a port that was chosen before; 0: a free one.
    pub async fn start_at(
        port: u16,
        tools: Value,
        handler: impl Fn(&Recorded) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port))
            .await
            .expect("a loopback port");
        let address = listener.local_addr().expect("its address");
        let recorded = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&recorded);
        let handler: Arc<Handler> =
            Arc::new(move |request| handler(request).or_else(|| ordinary(request, &tools)));
        let task = tokio::spawn(async move {
            // Dropped with this task: its connections end with it.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(serve(socket, Arc::clone(&log), Arc::clone(&handler)));
            }
        });
        Self {
            address,
            recorded,
            task,
        }
    }

    /// One whose only tools are those of `policy.yaml`, all answered with `result`.
    pub async fn answering(result: Value) -> Self {
        Self::start(tools_of_the_policy(), move |request| {
            request
                .is_call_of("tools/call")
                .then(|| Reply::Result(result.clone()))
        })
        .await
    }

    /// The same, keeping nothing of what it received: for a load without end.
    pub async fn forgetful(result: Value) -> Self {
        let upstream = Self::answering(result).await;
        let log = Arc::clone(&upstream.recorded);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(100));
            // Until the recorder is gone and this is its log's last holder.
            while Arc::strong_count(&log) > 1 {
                ticks.tick().await;
                log.lock().expect("no test panicked here").clear();
            }
        });
        upstream
    }

    /// Its MCP endpoint.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Everything that arrived so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.recorded.lock().expect("no test panicked here").clone()
    }

    /// The messages of one method that arrived so far.
    #[must_use]
    pub fn messages(&self, method: &str) -> Vec<Value> {
        self.requests()
            .iter()
            .filter(|request| request.is_call_of(method))
            .map(Recorded::message)
            .collect()
    }

    /// All that arrived, as one text to search.
    #[must_use]
    pub fn everything(&self) -> String {
        self.requests()
            .iter()
            .map(|request| {
                format!(
                    "{}{}\n",
                    request.head,
                    String::from_utf8_lossy(&request.body)
                )
            })
            .collect()
    }
}

/// The tools that `policy.yaml` names, and one that it doesn't.
#[must_use]
pub fn tools_of_the_policy() -> Value {
    let names = [
        "find_patient",
        "read_record",
        "store_record",
        "export_records",
        "delete_record",
        "list_departments",
        "maintenance",
    ];
    names
        .iter()
        .map(|name| json!({"name": name, "inputSchema": {"type": "object"}}))
        .collect()
}

/// A tool's result as the SDKs write it: the structure, and the same as JSON text.
#[must_use]
pub fn structured(content: &Value) -> Value {
    let text = serde_json::to_string_pretty(content).expect("JSON");
    json!({"content": [{"type": "text", "text": text}], "structuredContent": content, "isError": false})
}

fn ordinary(request: &Recorded, tools: &Value) -> Option<Reply> {
    let message = request.message();
    let method = message["method"].as_str();
    Some(match (request.method.as_str(), method) {
        ("POST", Some("initialize")) => Reply::Result(json!({
            "protocolVersion": message["params"]["protocolVersion"], "serverInfo": {"name": "recorder", "version": "1"},
            "capabilities": {"tools": {}, "resources": {}, "prompts": {}},
        })),
        ("POST", Some("tools/list")) => Reply::Result(json!({"tools": tools})),
        ("POST", Some("ping")) => Reply::Result(json!({})),
        ("POST", Some(_)) if message.get("id").is_none() => {
            Reply::Body(202, "text/plain", Vec::new())
        }
        ("POST", None) => Reply::Body(202, "text/plain", Vec::new()),
        ("DELETE", _) => Reply::Body(200, "text/plain", Vec::new()),
        ("GET", _) => Reply::Body(405, "text/plain", Vec::new()),
        _ => Reply::Error(json!({"code": -32601, "message": "method not found"})),
    })
}

async fn serve(mut socket: TcpStream, log: Arc<Mutex<Vec<Recorded>>>, handler: Arc<Handler>) {
    let mut rest = Vec::new();
    while let Some(request) = read_request(&mut socket, &mut rest).await {
        log.lock()
            .expect("no test panicked here")
            .push(request.clone());
        let reply = handler(&request).unwrap_or(Reply::Silence);
        if answer(&mut socket, &request, reply).await.is_err() {
            return;
        }
    }
}

/// Reads one request; the sidecar always says how long a body is.
async fn read_request(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Recorded> {
    let head_end = loop {
        if let Some(position) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break position + 4;
        }
        read_some(socket, buffer).await?;
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let mut words = head.split(' ').map(str::to_owned);
    let mut request = Recorded {
        method: words.next()?,
        path: words.next()?,
        head,
        body: Vec::new(),
    };
    let length: usize = request
        .header("content-length")
        .and_then(|value| value.parse().ok())
        .unwrap_or(0);
    while buffer.len() < head_end + length {
        read_some(socket, buffer).await?;
    }
    request.body = buffer[head_end..head_end + length].to_vec();
    buffer.drain(..head_end + length);
    Some(request)
}

async fn read_some(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    match socket.read_buf(buffer).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(()),
    }
}

async fn answer(socket: &mut TcpStream, request: &Recorded, reply: Reply) -> std::io::Result<()> {
    let id = &request.message()["id"];
    match reply {
        Reply::Result(result) => {
            let body = json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string();
            // A session that is the principal's own, so that the binding of sessions can be tried.
            let session = if request.is_call_of("initialize") {
                format!("mcp-session-id: {}\r\n", uuid::Uuid::new_v4())
            } else {
                String::new()
            };
            write(socket, 200, "application/json", &session, body.as_bytes()).await
        }
        Reply::Error(error) => {
            let body = json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string();
            write(socket, 200, "application/json", "", body.as_bytes()).await
        }
        Reply::Body(status, content_type, body) => {
            write(socket, status, content_type, "", &body).await
        }
        Reply::Events(mut events) => {
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            while let Some(event) = events.recv().await {
                socket
                    .write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())
                    .await?;
            }
            socket.write_all(b"0\r\n\r\n").await
        }
        Reply::Raw(bytes) => {
            socket.write_all(&bytes).await?;
            Err(std::io::ErrorKind::ConnectionAborted.into())
        }
        Reply::Open(bytes) => socket.write_all(&bytes).await,
        Reply::Drip(bytes, step) => {
            socket.write_all(&bytes).await?;
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(step));
            loop {
                ticks.tick().await;
                socket.write_all(b" ").await?;
            }
        }
        Reply::Endless(length) => {
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
            );
            socket.write_all(head.as_bytes()).await?;
            let spaces = [b' '; 64 * 1024];
            let mut left = length;
            while left > 0 {
                let part = left.min(spaces.len() as u64);
                socket
                    .write_all(&spaces[..usize::try_from(part).expect("a small part")])
                    .await?;
                left -= part;
            }
            Ok(())
        }
        Reply::Silence => {
            let mut end = Vec::new();
            while read_some(socket, &mut end).await.is_some() {}
            Err(std::io::ErrorKind::ConnectionAborted.into())
        }
    }
}

async fn write(
    socket: &mut TcpStream,
    status: u16,
    content_type: &str,
    more: &str,
    body: &[u8],
) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} OK\r\ncontent-type: {content_type}\r\n{more}content-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(&[head.as_bytes(), body].concat()).await
}
