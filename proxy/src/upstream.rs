//! The one upstream: the unmodified MCP server on loopback.
//!
//! Drives Pingora's HTTP/1.1 client connector directly, so that nothing goes up before the verdict, lengths are
//! exact and no request is ever repeated behind our back.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use pingora::connectors::http::v1::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use thiserror::Error;

/// How long an unused connection is kept. Shorter than the five seconds after which the common Python and Node
/// servers close theirs, so that a request rarely meets a connection that is just being closed.
const IDLE_CONNECTION: Duration = Duration::from_secs(4);

/// Where the upstream is and how long it may take.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// Address and port on loopback.
    pub address: std::net::SocketAddr,
    /// The `Host` that the upstream expects: its own authority.
    pub authority: String,
    /// Path of the MCP endpoint.
    pub path: String,
    /// How long connecting may take.
    pub connect: Duration,
    /// How long the answer's headers, or the next piece of a whole body, may take.
    pub answer: Duration,
}

/// Why the upstream gave no usable answer. Holds nothing that the upstream said.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamError {
    /// No connection to the upstream.
    #[error("the MCP server does not accept connections")]
    Unreachable,
    /// The connection broke before the answer was whole.
    #[error("the MCP server broke the connection")]
    Broken,
    /// The answer did not come in time.
    #[error("the MCP server did not answer in time")]
    TooSlow,
    /// The answer is larger than its bound.
    #[error("the MCP server's answer is larger than `listen.limits.answer_bytes_max`")]
    TooLarge,
    /// The answer is not what MCP's transport allows.
    #[error("the MCP server's answer is not valid MCP")]
    Invalid,
}

/// The connector and the address of the upstream.
pub struct Upstream {
    connector: Connector,
    peer: HttpPeer,
    settings: UpstreamSettings,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream")
            .field("address", &self.settings.address)
            .finish_non_exhaustive()
    }
}

impl Upstream {
    /// A connector for the upstream of the configuration.
    pub fn new(settings: UpstreamSettings) -> Self {
        let mut peer = HttpPeer::new(settings.address, false, String::new());
        peer.options.connection_timeout = Some(settings.connect);
        peer.options.total_connection_timeout = Some(settings.connect);
        peer.options.idle_timeout = Some(IDLE_CONNECTION);
        Self {
            connector: Connector::new(None),
            peer,
            settings,
        }
    }

    /// Sends one request and reads the answer's headers.
    ///
    /// `repeatable` says that sending it twice changes nothing: then a pooled connection which the upstream closed
    /// meanwhile is replaced by a new one, once, if not a byte of an answer came.
    ///
    /// # Errors
    /// When the upstream can't be reached, breaks off or is too slow.
    pub async fn send(
        &self,
        method: &Method,
        headers: &HeaderMap,
        body: Option<Bytes>,
        repeatable: bool,
    ) -> Result<Answer<'_>, UpstreamError> {
        let (outcome, reused) = self.try_send(method, headers, body.clone()).await;
        match outcome {
            Err(UpstreamError::Broken) if reused && repeatable => {
                self.try_send(method, headers, body).await.0
            }
            outcome => outcome,
        }
    }

    async fn try_send(
        &self,
        method: &Method,
        headers: &HeaderMap,
        body: Option<Bytes>,
    ) -> (Result<Answer<'_>, UpstreamError>, bool) {
        let (mut session, reused) = match self.connector.get_http_session(&self.peer).await {
            Ok(found) => found,
            Err(_) => return (Err(UpstreamError::Unreachable), false),
        };
        session.read_timeout = Some(self.settings.answer);
        session.write_timeout = Some(self.settings.answer);
        let outcome = self.exchange(&mut session, method, headers, body).await;
        // A whole body has a deadline of its own; a stream may be silent for as long as its session lives.
        session.read_timeout = None;
        (
            outcome.map(|()| Answer {
                upstream: self,
                session: Some(session),
            }),
            reused,
        )
    }

    async fn exchange(
        &self,
        session: &mut HttpSession,
        method: &Method,
        headers: &HeaderMap,
        body: Option<Bytes>,
    ) -> Result<(), UpstreamError> {
        let request = self.request(method, headers, body.as_ref().map(Bytes::len))?;
        session
            .write_request_header(request)
            .await
            .map_err(|_| UpstreamError::Broken)?;
        if let Some(body) = body {
            session
                .write_body(&body)
                .await
                .map_err(|_| UpstreamError::Broken)?;
        }
        session
            .finish_body()
            .await
            .map_err(|_| UpstreamError::Broken)?;
        loop {
            session
                .read_response()
                .await
                .map_err(|error| of_read(&error))?;
            let informational = session
                .get_status()
                .is_some_and(|status| status.is_informational());
            // 1xx answers announce, they do not answer; switching protocols was never asked for.
            match session.get_status() {
                Some(StatusCode::SWITCHING_PROTOCOLS) => return Err(UpstreamError::Invalid),
                _ if informational => {}
                _ => return Ok(()),
            }
        }
    }

    fn request(
        &self,
        method: &Method,
        headers: &HeaderMap,
        length: Option<usize>,
    ) -> Result<Box<RequestHeader>, UpstreamError> {
        let invalid = |_| UpstreamError::Invalid;
        let mut request = RequestHeader::build(
            method.clone(),
            self.settings.path.as_bytes(),
            Some(headers.len() + 3),
        )
        .map_err(invalid)?;
        request
            .insert_header(http::header::HOST, self.settings.authority.as_str())
            .map_err(invalid)?;
        // What the upstream compresses could not be judged.
        request
            .insert_header(http::header::ACCEPT_ENCODING, "identity")
            .map_err(invalid)?;
        if let Some(length) = length {
            request
                .insert_header(http::header::CONTENT_LENGTH, length)
                .map_err(invalid)?;
        }
        for (name, value) in headers {
            request
                .append_header(name.clone(), value.clone())
                .map_err(invalid)?;
        }
        Ok(Box::new(request))
    }
}

fn of_read(error: &pingora::Error) -> UpstreamError {
    match error.etype() {
        pingora::ErrorType::ReadTimedout => UpstreamError::TooSlow,
        pingora::ErrorType::InvalidHTTPHeader => UpstreamError::Invalid,
        _ => UpstreamError::Broken,
    }
}

/// An answer whose headers have arrived. Dropping it closes the connection; only one read to its end is pooled again.
pub struct Answer<'u> {
    upstream: &'u Upstream,
    session: Option<HttpSession>,
}

impl std::fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl Answer<'_> {
    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.session
            .as_ref()
            .and_then(HttpSession::get_status)
            .unwrap_or(StatusCode::BAD_GATEWAY)
    }

    /// One header of the answer.
    pub fn header(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.session
            .as_ref()
            .and_then(|session| session.get_header(name))
    }

    /// The media type without its parameters, in lower case.
    pub fn media_type(&self) -> String {
        let value = self
            .header(&http::header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("");
        value
            .split(';')
            .next()
            .unwrap_or("")
            .trim()
            .to_ascii_lowercase()
    }

    /// Whether the body was encoded although identity was asked for.
    pub fn is_encoded(&self) -> bool {
        self.header(&http::header::CONTENT_ENCODING)
            .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
    }

    /// The next piece of the body; none at its end.
    ///
    /// # Errors
    /// When the connection breaks or the next piece takes too long.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        let Some(session) = self.session.as_mut() else {
            return Ok(None);
        };
        session
            .read_body_bytes()
            .await
            .map_err(|error| of_read(&error))
    }

    /// The whole body, at most `bytes_max` of it.
    ///
    /// # Errors
    /// As [`Answer::chunk`], and when the body is larger, or takes longer as a whole than the upstream may.
    pub async fn whole(mut self, bytes_max: usize) -> Result<Bytes, UpstreamError> {
        let patience = self.upstream.settings.answer;
        let body = tokio::time::timeout(patience, self.read_all(bytes_max))
            .await
            .map_err(|_| UpstreamError::TooSlow)??;
        self.release().await;
        Ok(body)
    }

    async fn read_all(&mut self, bytes_max: usize) -> Result<Bytes, UpstreamError> {
        let Some(first) = self.chunk().await? else {
            return Ok(Bytes::new());
        };
        if first.len() > bytes_max {
            return Err(UpstreamError::TooLarge);
        }
        let Some(second) = self.chunk().await? else {
            return Ok(first);
        };
        let mut body = BytesMut::from(first);
        let mut next = Some(second);
        while let Some(piece) = next {
            if body.len() + piece.len() > bytes_max {
                return Err(UpstreamError::TooLarge);
            }
            body.extend_from_slice(&piece);
            next = self.chunk().await?;
        }
        Ok(body.freeze())
    }

    /// Gives the connection back to the pool. Call it only when the body was read to its end.
    pub async fn release(mut self) {
        let upstream = self.upstream;
        if let Some(mut session) = self.session.take()
            && session.is_body_done()
        {
            upstream
                .connector
                .release_http_session(session, &upstream.peer, Some(IDLE_CONNECTION))
                .await;
        }
    }
}
