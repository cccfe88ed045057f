//! A small MCP client: one principal's session over one connection, TLS 1.3 with a client
//! certificate toward the sidecar. It keeps every message that it receives.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long one call may take, to the end of its answer.
const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// The largest answer that is read, in bytes.
const ANSWER_MAX: usize = 8 << 20;
/// The revision of MCP that the client asks for.
const REVISION: &str = "2025-11-25";

/// Why a call got no JSON-RPC answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("can't connect to the endpoint: {0}")]
    Connect(io::Error),
    #[error("certificate or key of the client can't be used: {0}")]
    Certificate(String),
    #[error("the connection failed: {0}")]
    Http(#[from] hyper::Error),
    #[error("the request can't be built: {0}")]
    Request(#[from] http::Error),
    #[error("the endpoint answered {status} {challenge}")]
    Status {
        status: StatusCode,
        challenge: String,
    },
    #[error("the answer is not a message of JSON-RPC")]
    Answer,
    #[error("no answer within {} s", CALL_DEADLINE.as_secs())]
    Slow,
}

/// Where the endpoint is and whom the client trusts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endpoint<'a> {
    pub(crate) address: SocketAddr,
    /// The name that its certificate must carry, also sent as `Host` with the port.
    pub(crate) name: &'a str,
    pub(crate) ca: &'a Path,
}

/// One principal's session with the server.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
    authorization: Option<HeaderValue>,
    session: Option<HeaderValue>,
    next: u64,
    seen: Vec<Value>,
}

impl Client {
    /// Connects over TLS 1.3 with the certificate and key given, both PEM.
    pub(crate) async fn connect(
        endpoint: Endpoint<'_>,
        certificate: &Path,
        key: &Path,
        token: &str,
    ) -> Result<Client, ClientError> {
        let config = Arc::new(tls(endpoint.ca, certificate, key)?);
        let tcp = TcpStream::connect(endpoint.address)
            .await
            .map_err(ClientError::Connect)?;
        let name = ServerName::try_from(endpoint.name.to_owned())
            .map_err(|error| ClientError::Certificate(error.to_string()))?;
        let stream = TlsConnector::from(config)
            .connect(name, tcp)
            .await
            .map_err(ClientError::Connect)?;
        let host = format!("{}:{}", endpoint.name, endpoint.address.port());
        Client::over(stream, &host, Some(token)).await
    }

    /// Speaks over a connection that stands.
    pub(crate) async fn over<S>(
        stream: S,
        host: &str,
        token: Option<&str>,
    ) -> Result<Client, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let header =
            |text: &str| HeaderValue::from_str(text).map_err(|e| ClientError::Request(e.into()));
        let authorization = token
            .map(|token| header(&format!("Bearer {token}")))
            .transpose()?;
        Ok(Client {
            sender,
            host: header(host)?,
            authorization,
            session: None,
            next: 1,
            seen: Vec::new(),
        })
    }

    /// The lifecycle's first two messages.
    pub(crate) async fn initialize(&mut self) -> Result<(), ClientError> {
        let params = json!({
            "protocolVersion": REVISION, "capabilities": {},
            "clientInfo": {"name": "safeguard-demo", "version": env!("CARGO_PKG_VERSION")},
        });
        self.request("initialize", params).await?;
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        within(self.post(&initialized)).await.map(|_| ())
    }

    /// Calls a tool; the whole response, an error of the protocol too.
    pub(crate) async fn tool(
        &mut self,
        name: &str,
        arguments: Value,
    ) -> Result<Value, ClientError> {
        let meta = json!({"progressToken": self.next});
        let params = json!({"name": name, "arguments": arguments, "_meta": meta});
        self.request("tools/call", params).await
    }

    /// Sends a request; its response, after whatever notifications came before it.
    pub(crate) async fn request(
        &mut self,
        method: &str,
        params: Value,
    ) -> Result<Value, ClientError> {
        let id = self.next;
        self.next += 1;
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let received = within(self.post(&message)).await?;
        let answer = received
            .iter()
            .find(|m| m.get("id").and_then(Value::as_u64) == Some(id));
        let answer = answer.cloned().ok_or(ClientError::Answer);
        self.seen.extend(received);
        answer
    }

    /// Every message received so far.
    pub(crate) fn into_seen(self) -> Vec<Value> {
        self.seen
    }

    async fn post(&mut self, message: &Value) -> Result<Vec<Value>, ClientError> {
        let request = self.build(message)?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let (parts, body) = response.into_parts();
        let header = |name| {
            parts
                .headers
                .get(name)
                .and_then(|v: &HeaderValue| v.to_str().ok())
        };
        if !parts.status.is_success() {
            let challenge = header(WWW_AUTHENTICATE).unwrap_or_default().to_owned();
            let status = parts.status;
            return Err(ClientError::Status { status, challenge });
        }
        if let Some(session) = parts.headers.get("mcp-session-id") {
            self.session = Some(session.clone());
        }
        let streamed =
            header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/event-stream"));
        let body = Limited::new(body, ANSWER_MAX).collect().await;
        let body = body.map_err(|_| ClientError::Answer)?.to_bytes();
        if parts.status == StatusCode::ACCEPTED || body.is_empty() {
            Ok(Vec::new())
        } else if streamed {
            events(&body)
        } else {
            let message = serde_json::from_slice(&body).map_err(|_| ClientError::Answer)?;
            Ok(vec![message])
        }
    }

    fn build(&self, message: &Value) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::post("/mcp")
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        // Every message but `initialize` itself, which is the first and brings the session.
        if self.next > 2 || self.session.is_some() {
            request = request.header("mcp-protocol-version", REVISION);
        }
        Ok(request.body(Full::from(message.to_string()))?)
    }
}

/// Whether `/readyz` of the admin address answers 200.
pub(crate) async fn is_ready(admin: SocketAddr) -> bool {
    let asked = async {
        let tcp = TcpStream::connect(admin).await.ok()?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await.ok()?;
        tokio::spawn(connection);
        let request = Request::get("/readyz").header(HOST, admin.to_string());
        let request = request.body(Full::<Bytes>::default()).ok()?;
        let response = sender.send_request(request).await.ok()?;
        Some(response.status() == StatusCode::OK)
    };
    asked.await.unwrap_or(false)
}

async fn within<T>(call: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    timeout(CALL_DEADLINE, call)
        .await
        .unwrap_or(Err(ClientError::Slow))
}

/// The messages of a stream of events (WHATWG HTML §9.2): `data` lines joined, others left aside.
fn events(body: &[u8]) -> Result<Vec<Value>, ClientError> {
    let text = std::str::from_utf8(body).map_err(|_| ClientError::Answer)?;
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut messages = Vec::new();
    for event in text.split("\n\n") {
        let data: Vec<&str> = event
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(|data| data.strip_prefix(' ').unwrap_or(data))
            .collect();
        if data.iter().any(|line| !line.is_empty()) {
            let message = serde_json::from_str(&data.join("\n"));
            messages.push(message.map_err(|_| ClientError::Answer)?);
        }
    }
    Ok(messages)
}

fn tls(ca: &Path, certificate: &Path, key: &Path) -> Result<ClientConfig, ClientError> {
    let bad = |path: &Path, why: &dyn std::fmt::Display| {
        ClientError::Certificate(format!("{}: {why}", path.display()))
    };
    let chain = |path: &Path| -> Result<Vec<CertificateDer<'static>>, ClientError> {
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
        read.map_err(|error| bad(path, &error))
    };
    let mut roots = RootCertStore::empty();
    for root in chain(ca)? {
        roots.add(root).map_err(|error| bad(ca, &error))?;
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| bad(certificate, &error))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain(certificate)?, private)
        .map_err(|error| bad(certificate, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_messages_and_priming_events_are_none() {
        let body = b"id: 0\ndata:\n\nevent: message\ndata: {\"a\":1}\n\ndata: {\"b\":\ndata: 2}\r\n\r\n: note\n\n";
        assert_eq!(events(body).unwrap(), [json!({"a": 1}), json!({"b": 2})]);
    }

    #[test]
    fn an_event_that_is_no_json_is_an_error() {
        assert!(matches!(
            events(b"data: hello\n\n"),
            Err(ClientError::Answer)
        ));
    }

    /// A TLS server that wants a client certificate and says whether the token came along.
    async fn sidecar_stand_in(dir: &Path) -> SocketAddr {
        let pem = |name: &str| dir.join(name);
        let chain = CertificateDer::pem_file_iter(pem("server.pem")).unwrap();
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_file(pem("server.key")).unwrap();
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(pem("ca.pem")).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
            Arc::new(roots),
            Arc::clone(&provider),
        );
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let stream = acceptor.accept(tcp).await.unwrap();
            let service =
                hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async move {
                    let headers = request.headers();
                    let entitled = headers
                        .get(AUTHORIZATION)
                        .is_some_and(|t| t == "Bearer t0ken");
                    let body = json!({"jsonrpc": "2.0", "id": 1, "result": {"entitled": entitled}});
                    Ok::<_, std::convert::Infallible>(http::Response::new(Full::<Bytes>::from(
                        body.to_string(),
                    )))
                });
            let connection = hyper::server::conn::http1::Builder::new();
            let _ended = connection
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        address
    }

    #[tokio::test]
    async fn a_call_goes_over_mutual_tls_with_its_token() {
        use safeguard_certs::dev;
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("tls");
        dev::init(
            &dir,
            &["localhost".to_owned()],
            "web.healthcare.example.com",
        )
        .unwrap();
        let address = sidecar_stand_in(&dir).await;
        let ca = dir.join("ca.pem");
        let endpoint = Endpoint {
            address,
            name: "localhost",
            ca: &ca,
        };
        let (certificate, key) = (dir.join("client.pem"), dir.join("client.key"));
        let mut client = Client::connect(endpoint, &certificate, &key, "t0ken")
            .await
            .unwrap();
        let answer = client.request("ping", json!({})).await.unwrap();
        assert_eq!(answer["result"]["entitled"], true);
    }
}
