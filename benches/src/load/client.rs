//! The load: connections with a client certificate that are kept, each with one request under way.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::Failure;

/// Failures in a row after which a connection gives up for this turn.
const FAILURES_MAX: u32 = 20;
/// The longest that one request may take.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// How much of a wrong answer a failure shows, in bytes.
const DIFFERENCE_BYTES: usize = 200;

/// One kept connection.
pub(super) type Connection = SendRequest<Full<Bytes>>;

/// What is sent to a target, and what must come back.
#[derive(Clone)]
pub(super) struct Client {
    tls: TlsConnector,
    port: u16,
    host: HeaderValue,
    authorization: HeaderValue,
    /// Sent in turn.
    bodies: Arc<[Bytes]>,
    answer: Bytes,
}

/// What one turn of a target brought.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Of every good answer, in microseconds.
    pub(super) latencies: Vec<u32>,
    /// Requests without a good answer.
    pub(super) failures: u64,
    /// What the first of them met.
    pub(super) first_failure: Option<String>,
}

impl Client {
    /// A client of the target at `port`, with a bearer token.
    pub(super) fn new(
        tls: Arc<ClientConfig>,
        port: u16,
        token: &str,
        bodies: &[String],
        answer: &str,
    ) -> Result<Self, Failure> {
        Ok(Self {
            tls: TlsConnector::from(tls),
            port,
            host: HeaderValue::try_from(format!("localhost:{port}"))?,
            authorization: HeaderValue::try_from(format!("Bearer {token}"))?,
            bodies: bodies
                .iter()
                .map(|body| Bytes::from(body.clone()))
                .collect(),
            answer: Bytes::from(answer.to_owned()),
        })
    }

    /// One more connection, past its handshakes.
    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))).await?;
        stream.set_nodelay(true)?;
        let stream = self
            .tls
            .connect(ServerName::try_from("localhost")?, stream)
            .await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Keeps all connections busy until `lasting` is over.
    pub(super) async fn turn(
        &self,
        connections: Vec<Connection>,
        lasting: Duration,
    ) -> (Vec<Connection>, Turn) {
        let until = Instant::now() + lasting;
        let mut tasks = JoinSet::new();
        for (number, connection) in connections.into_iter().enumerate() {
            let client = self.clone();
            tasks.spawn(async move { client.keep_busy(connection, number, until).await });
        }
        let (mut connections, mut sum) = (Vec::new(), Turn::default());
        while let Some(ended) = tasks.join_next().await {
            let Ok((connection, turn)) = ended else {
                continue;
            };
            connections.push(connection);
            sum.latencies.extend(turn.latencies);
            sum.failures += turn.failures;
            sum.first_failure = sum.first_failure.or(turn.first_failure);
        }
        (connections, sum)
    }

    async fn keep_busy(
        &self,
        mut connection: Connection,
        number: usize,
        until: Instant,
    ) -> (Connection, Turn) {
        let mut turn = Turn::default();
        let mut in_a_row = 0;
        let mut bodies = self
            .bodies
            .iter()
            .cycle()
            .skip(number % self.bodies.len().max(1));
        while in_a_row < FAILURES_MAX && Instant::now() < until {
            let Some(body) = bodies.next() else { break };
            let began = Instant::now();
            match self.call(&mut connection, body).await {
                Ok(()) => {
                    in_a_row = 0;
                    turn.latencies
                        .push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
                }
                Err(failure) => {
                    in_a_row += 1;
                    turn.failures += 1;
                    turn.first_failure
                        .get_or_insert_with(|| failure.to_string());
                    if let Ok(new) = self.connect().await {
                        connection = new;
                    }
                }
            }
        }
        (connection, turn)
    }

    /// Sends one body and wants the answer, byte for byte.
    pub(super) async fn call(
        &self,
        connection: &mut Connection,
        body: &Bytes,
    ) -> Result<(), Failure> {
        let exchange = async {
            connection.ready().await?;
            let answer = connection.send_request(self.request(body)?).await?;
            let status = answer.status();
            Ok::<_, Failure>((status, answer.into_body().collect().await?.to_bytes()))
        };
        let (status, answer) = tokio::time::timeout(REQUEST_DEADLINE, exchange).await??;
        if status == StatusCode::OK && answer == self.answer {
            return Ok(());
        }
        Err(self.difference(status, &answer).into())
    }

    /// Where an answer first differs from the one that is due. The values in both are made up.
    fn difference(&self, status: StatusCode, answer: &[u8]) -> String {
        let at = answer
            .iter()
            .zip(self.answer.iter())
            .take_while(|(got, due)| got == due)
            .count();
        let around = |text: &[u8]| {
            let part = text
                .iter()
                .copied()
                .skip(at.saturating_sub(40))
                .take(DIFFERENCE_BYTES);
            String::from_utf8_lossy(&part.collect::<Vec<u8>>()).into_owned()
        };
        format!(
            "status {status}, and from byte {at} on not the answer that is due: `{}` for `{}`",
            around(answer),
            around(&self.answer)
        )
    }

    fn request(&self, body: &Bytes) -> Result<Request<Full<Bytes>>, Failure> {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/mcp")
            .header(header::HOST, &self.host)
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-11-25")
            .body(Full::new(body.clone()))?;
        Ok(request)
    }
}

/// GET over plain HTTP on loopback: the status and the body.
pub(super) async fn get(port: u16, path: &str) -> Result<(StatusCode, Bytes), Failure> {
    let exchange = async {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::get(path)
            .header(header::HOST, format!("127.0.0.1:{port}"))
            .body(Full::<Bytes>::default())?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        Ok::<_, Failure>((status, answer.into_body().collect().await?.to_bytes()))
    };
    tokio::time::timeout(REQUEST_DEADLINE, exchange).await?
}
