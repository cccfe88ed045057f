//! An MCP client of our own, bare enough to send what no SDK would, and a connection below it for what is no MCP at all.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::proof::Holder;
use crate::stream::Answer;
use crate::wait::within;

/// The revision that [`Client`] speaks.
pub const REVISION: &str = "2025-11-25";

/// Where to connect and what to call it.
#[derive(Debug, Clone)]
pub struct Target {
    /// The socket.
    pub address: SocketAddr,
    /// The name in the server's certificate.
    pub server_name: String,
    /// The `Host` header.
    pub host: String,
    /// The path of the MCP endpoint.
    pub path: String,
}

/// Why an exchange came to nothing: the connection, the handshake or the protocol failed.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A TLS connection to do with as one likes.
pub async fn open_tls(
    target: &Target,
    mut config: ClientConfig,
    protocols: &[&str],
) -> Result<TlsStream<TcpStream>, Failure> {
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let name = ServerName::try_from(target.server_name.clone())?;
    let socket = TcpStream::connect(target.address).await?;
    socket.set_nodelay(true)?;
    Ok(TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await?)
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

/// One HTTP connection, kept open between requests.
#[expect(
    missing_debug_implementations,
    reason = "hyper's senders say nothing of use"
)]
pub struct Connection {
    sender: Sender,
    target: Target,
    config: ClientConfig,
}

impl Connection {
    /// Opens one that speaks HTTP/1.1.
    pub async fn open(target: &Target, config: ClientConfig) -> Result<Self, Failure> {
        let tls = open_tls(target, config.clone(), &["http/1.1"]).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
        tokio::spawn(connection);
        Ok(Self {
            sender: Sender::One(sender),
            target: target.clone(),
            config,
        })
    }

    /// Opens one that speaks HTTP/2.
    pub async fn open_http2(target: &Target, config: ClientConfig) -> Result<Self, Failure> {
        let tls = open_tls(target, config.clone(), &["h2"]).await?;
        assert_eq!(
            tls.get_ref().1.alpn_protocol(),
            Some(b"h2".as_slice()),
            "the server speaks HTTP/2"
        );
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await?;
        tokio::spawn(connection);
        Ok(Self {
            sender: Sender::Two(sender),
            target: target.clone(),
            config,
        })
    }

    async fn reopen(&mut self) -> Result<(), Failure> {
        *self = match self.sender {
            Sender::One(_) => Self::open(&self.target, self.config.clone()).await?,
            Sender::Two(_) => Self::open_http2(&self.target, self.config.clone()).await?,
        };
        Ok(())
    }

    /// Whether the server closed it since the last answer.
    pub async fn is_closed(&mut self) -> bool {
        match &mut self.sender {
            Sender::One(sender) => sender.is_closed() || sender.ready().await.is_err(),
            Sender::Two(sender) => sender.is_closed() || sender.ready().await.is_err(),
        }
    }

    /// Resolves when the server has closed it, or has said that it takes no further request.
    pub async fn closed(&mut self) {
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
        while !self.is_closed().await {
            ticks.tick().await;
        }
    }

    /// Sends one request and waits for the head of its answer.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, Failure> {
        let mut request = http::Request::builder().method(method);
        request = match self.sender {
            Sender::One(_) => request.uri(path).header("host", &self.target.host),
            Sender::Two(_) => request.uri(format!("https://{}{path}", self.target.host)),
        };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into()))?;
        let response = match &mut self.sender {
            Sender::One(sender) => {
                within("a connection ready for a request", sender.ready()).await?;
                within("an answer", sender.send_request(request)).await?
            }
            Sender::Two(sender) => within("an answer", sender.send_request(request)).await?,
        };
        Ok(Answer::new(response))
    }
}

fn never_sent(failure: &hyper::Error) -> bool {
    failure.is_canceled() || failure.is_closed()
}

/// An MCP client: one principal, one connection, one MCP session.
#[expect(missing_debug_implementations, reason = "it holds a token")]
pub struct Client {
    /// The connection, for requests that this client would not send.
    pub connection: Connection,
    /// The bearer token.
    pub token: String,
    /// The key that the token is bound to, and the URL that its proofs are for.
    pub holder: Option<(Holder, String)>,
    /// The MCP session, once initialized.
    pub session: Option<String>,
    /// What the server sent on the way to answers: notifications and requests.
    pub others: Vec<Value>,
    next_id: u64,
}

impl Client {
    /// A client that has not said anything yet.
    #[must_use]
    pub fn new(connection: Connection, token: &str) -> Self {
        Self {
            connection,
            token: token.to_owned(),
            holder: None,
            session: None,
            others: Vec::new(),
            next_id: 1,
        }
    }

    /// The handshake of MCP; what the server says of itself.
    pub async fn initialize(&mut self) -> Value {
        let answer = self
            .post(&json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
                "protocolVersion": REVISION, "capabilities": {}, "clientInfo": {"name": "tests", "version": "1"}}}))
            .await
            .expect_status(200)
            .await;
        self.session =
            Some(answer.header("mcp-session-id").to_owned()).filter(|session| !session.is_empty());
        let result = answer.message(&mut self.others).await["result"].clone();
        self.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
            .await
            .expect_status(202)
            .await
            .bytes()
            .await;
        result
    }

    /// Posts one message.
    pub async fn post(&mut self, message: &Value) -> Answer {
        self.post_bytes(message.to_string()).await
    }

    /// Posts any bytes as a message.
    pub async fn post_bytes(&mut self, body: impl Into<Bytes>) -> Answer {
        self.exchange("POST", body.into()).await.expect("an answer")
    }

    /// Opens the stream of the server's own messages.
    pub async fn listen(&mut self) -> Answer {
        self.exchange("GET", Bytes::new()).await.expect("an answer")
    }

    /// Ends the MCP session.
    pub async fn end(&mut self) -> Answer {
        self.exchange("DELETE", Bytes::new())
            .await
            .expect("an answer")
    }

    /// One request of this client, which may fail on the way.
    pub async fn exchange(&mut self, method: &str, body: Bytes) -> Result<Answer, Failure> {
        let scheme = if self.holder.is_some() {
            "DPoP"
        } else {
            "Bearer"
        };
        let authorization = format!("{scheme} {}", self.token);
        let proof = self
            .holder
            .as_ref()
            .map(|(holder, url)| holder.proof(method, url, Some(&self.token)));
        let session = self.session.clone();
        let mut headers = vec![
            ("authorization", authorization.as_str()),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
        ];
        headers.extend(proof.as_deref().map(|proof| ("dpop", proof)));
        if let Some(session) = &session {
            headers.push(("mcp-session-id", session));
            headers.push(("mcp-protocol-version", REVISION));
        }
        let path = self.connection.target.path.clone();
        let sent = self
            .connection
            .send(method, &path, &headers, body.clone())
            .await;
        match sent {
            // The server closed the connection after its last answer, as it may: not a byte of this request went out.
            Err(failure) if failure.downcast_ref().is_some_and(never_sent) => {
                self.connection.reopen().await?;
                self.connection.send(method, &path, &headers, body).await
            }
            sent => sent,
        }
    }

    /// A JSON-RPC request, not yet sent.
    pub fn request_message(&mut self, method: &str, params: &Value) -> Value {
        self.next_id += 1;
        json!({"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params})
    }

    /// Sends a request; the whole answer, a result or an error.
    pub async fn request(&mut self, method: &str, params: &Value) -> Value {
        let message = self.request_message(method, params);
        let answer = self.post(&message).await.expect_status(200).await;
        let answer = answer.message(&mut self.others).await;
        assert_eq!(
            answer["id"], message["id"],
            "the answer to {method} is this request's"
        );
        answer
    }

    /// Calls a tool; the whole answer.
    pub async fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        self.request("tools/call", &json!({"name": tool, "arguments": arguments}))
            .await
    }

    /// Calls a tool that is permitted; its result.
    ///
    /// # Panics
    /// If it's answered with an error.
    pub async fn succeed(&mut self, tool: &str, arguments: &Value) -> Value {
        let answer = self.call(tool, arguments).await;
        assert!(
            answer.get("error").is_none(),
            "{tool} is permitted: {answer}"
        );
        answer["result"].clone()
    }

    /// Calls a tool that is refused; the code.
    ///
    /// # Panics
    /// If it's answered with a result.
    pub async fn refused(&mut self, tool: &str, arguments: &Value) -> i64 {
        let answer = self.call(tool, arguments).await;
        answer["error"]["code"]
            .as_i64()
            .unwrap_or_else(|| panic!("{tool} is refused: {answer}"))
    }

    /// The names in a list: of `tools`, `prompts`, `resourceTemplates`…
    pub async fn names(&mut self, method: &str, member: &str) -> Vec<String> {
        let answer = self.request(method, &json!({})).await;
        let listed = answer["result"][member]
            .as_array()
            .unwrap_or_else(|| panic!("{method} lists {member}: {answer}"));
        listed
            .iter()
            .map(|item| item["name"].as_str().expect("a name").to_owned())
            .collect()
    }
}

/// One request without TLS; status and body.
///
/// # Panics
/// If there is no answer.
pub async fn plain_request(
    authority: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> (u16, Bytes) {
    let answer = plain_answer(authority, method, path, headers, body).await;
    answer.unwrap_or_else(|| panic!("{authority} answers"))
}

/// The same of somebody who may be going: none where nobody answers.
///
/// # Panics
/// If the answer does not come in its time.
pub async fn plain_answer(
    authority: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Option<(u16, Bytes)> {
    let socket = TcpStream::connect(authority).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.ok()?;
    tokio::spawn(connection);
    let mut request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("host", authority);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request
        .body(Full::new(Bytes::from(body)))
        .expect("a request");
    let response = within("an answer", sender.send_request(request))
        .await
        .ok()?;
    Some((
        response.status().as_u16(),
        response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes(),
    ))
}
