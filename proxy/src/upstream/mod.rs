//! The one upstream: the unmodified MCP server, on loopback, behind a unix socket, or over TLS.
//!
//! Connections, and what is written to them, are ours: a request goes out in one system call, nothing of it before the
//! verdict, its length exact, and never repeated behind our back. Answers are read by Pingora's HTTP/1.1 session.

mod decode;
mod place;
mod pool;
mod redirect;
mod stream;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use pingora::protocols::Stream;
use pingora::protocols::http::v1::client::HttpSession;
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use decode::{Coding, DecodeError, Decoder};
pub use place::Place;
use pool::Pool;
use redirect::Redirect;
use safeguard_certs::{ClientTls, TlsError};

/// Room for a request's head, without what it forwards, in bytes.
const HEAD_BYTES: usize = 512;

/// Where the upstream is and how long it may take.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// Where it listens.
    pub place: Place,
    /// The `Host` that the upstream expects: its own authority.
    pub authority: HeaderValue,
    /// Path of the MCP endpoint.
    pub path: PathAndQuery,
    /// How long connecting may take.
    pub connect: Duration,
    /// How long the answer's headers, or the next piece of a whole body, may take.
    pub answer: Duration,
    /// What one piece of an answer that is encoded all the same may become, in bytes.
    pub decoded_bytes_max: usize,
    /// Whether it speaks HTTP+SSE of 2024-11-05, with its stream at `path`.
    pub legacy: bool,
    /// Whether it is given batches of clients of 2025-03-26.
    pub batches: bool,
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
    /// The answer leads elsewhere.
    #[error("the MCP server redirects elsewhere: `upstream.url` is not where it serves MCP")]
    Redirected,
    /// The answer is not what MCP's transport allows.
    #[error("the MCP server's answer is not valid MCP")]
    Invalid,
    /// Nobody waits for the answer any more: the client cancelled its request by closing its connection.
    #[error("the client closed the connection, which cancels its request")]
    Cancelled,
}

/// The upstream, and the connections to it that wait for their next request.
pub struct Upstream {
    settings: UpstreamSettings,
    pool: Pool,
    /// Whether it serves at its path with a slash more, or less.
    slash: AtomicBool,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream")
            .field("place", &self.settings.place)
            .finish_non_exhaustive()
    }
}

impl Upstream {
    /// The upstream of the configuration; nothing is connected yet.
    pub fn new(settings: UpstreamSettings) -> Self {
        Self {
            settings,
            pool: Pool::new(),
            slash: AtomicBool::new(false),
        }
    }

    /// Closes connections that nobody has used for a while.
    pub fn sweep(&self) {
        self.pool.sweep();
    }

    /// Whether it speaks HTTP+SSE of 2024-11-05.
    pub fn is_legacy(&self) -> bool {
        self.settings.legacy
    }

    /// Whether it is given batches.
    pub fn takes_batches(&self) -> bool {
        self.settings.batches
    }

    /// The TLS material, if it is reached over TLS.
    pub fn tls(&self) -> Option<&ClientTls> {
        match &self.settings.place {
            Place::Tls { tls, .. } => Some(tls),
            Place::Loopback(_) | Place::Unix(_) => None,
        }
    }

    /// Takes renewed TLS material into use: no further request goes out on a connection of the old. Says whether
    /// anything is different.
    ///
    /// # Errors
    /// When the files can't be used; the old material stays.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let changed = self.tls().map(ClientTls::reload).transpose()?;
        let changed = changed.unwrap_or(false);
        if changed {
            self.pool.clear();
        }
        Ok(changed)
    }

    /// Sends one request to the MCP endpoint and reads the answer's headers. A redirect that only adds or takes a
    /// slash is followed once, and from then on known.
    ///
    /// `repeatable` says that sending it twice changes nothing: then a pooled connection which the upstream closed
    /// meanwhile is replaced by a new one, once, if not a byte of an answer came.
    ///
    /// # Errors
    /// When the upstream can't be reached, breaks off, is too slow, or redirects elsewhere.
    pub async fn send(
        &self,
        method: &Method,
        headers: &HeaderMap,
        body: Option<&[u8]>,
        repeatable: bool,
    ) -> Result<Answer<'_>, UpstreamError> {
        let learnt = self.slash.load(Ordering::Relaxed);
        let toggled = learnt.then(|| with_slash_toggled(&self.settings.path));
        let path = match &toggled {
            Some(Some(path)) => path,
            Some(None) | None => &self.settings.path,
        };
        let (answer, followed) = self
            .send_to(path, method, headers, body, repeatable)
            .await?;
        if followed {
            self.slash.store(!learnt, Ordering::Relaxed);
        }
        Ok(answer)
    }

    /// The same for a path of the upstream's own naming; says whether a slash was followed.
    ///
    /// # Errors
    /// As [`Upstream::send`].
    pub async fn send_to(
        &self,
        path: &PathAndQuery,
        method: &Method,
        headers: &HeaderMap,
        body: Option<&[u8]>,
        repeatable: bool,
    ) -> Result<(Answer<'_>, bool), UpstreamError> {
        let answer = self.once(path, method, headers, body, repeatable).await?;
        let judged = |answer: &Answer<'_>, path: &PathAndQuery| {
            let location = answer.header(&http::header::LOCATION);
            redirect::judge(answer.status(), location, &self.settings.authority, path)
        };
        let to = match judged(&answer, path) {
            Redirect::None => return Ok((answer, false)),
            Redirect::Elsewhere => return Err(UpstreamError::Redirected),
            Redirect::Slash(to) => to,
        };
        drop(answer);
        let answer = self.once(&to, method, headers, body, repeatable).await?;
        match judged(&answer, &to) {
            Redirect::None => Ok((answer, true)),
            Redirect::Elsewhere | Redirect::Slash(_) => Err(UpstreamError::Redirected),
        }
    }

    async fn once(
        &self,
        path: &PathAndQuery,
        method: &Method,
        headers: &HeaderMap,
        body: Option<&[u8]>,
        repeatable: bool,
    ) -> Result<Answer<'_>, UpstreamError> {
        let request = self.request(path, method, headers, body);
        if let Some(stream) = self.pool.take() {
            match self.exchange(stream, &request).await {
                Err(UpstreamError::Broken) if repeatable => {}
                outcome => return outcome,
            }
        }
        self.exchange(self.connect().await?, &request).await
    }

    async fn connect(&self) -> Result<Stream, UpstreamError> {
        let connecting = self.settings.place.connect();
        match timeout(self.settings.connect, connecting).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(_)) | Err(_) => Err(UpstreamError::Unreachable),
        }
    }

    /// A path that the upstream named in its own words, if it is one of its own: a path, or a URL of its authority.
    pub fn own_path(&self, named: &str) -> Option<PathAndQuery> {
        // A reference by network path (RFC 3986 §4.2) names another authority, and would be read as a path here.
        let uri: http::Uri = (!named.starts_with("//")).then(|| named.parse().ok())??;
        let own = uri.authority().is_none_or(|authority| {
            let ours = self.settings.authority.as_bytes();
            authority.as_str().as_bytes().eq_ignore_ascii_case(ours)
        });
        uri.path_and_query()
            .filter(|path| own && path.as_str().starts_with('/'))
            .cloned()
    }

    async fn exchange(
        &self,
        mut stream: Stream,
        request: &[u8],
    ) -> Result<Answer<'_>, UpstreamError> {
        match timeout(self.settings.answer, stream.write_all(request)).await {
            Ok(written) => written.map_err(|_: io::Error| UpstreamError::Broken)?,
            Err(_) => return Err(UpstreamError::TooSlow),
        }
        let mut session = HttpSession::new(stream);
        match timeout(self.settings.answer, head(&mut session)).await {
            Ok(read) => read?,
            Err(_) => return Err(UpstreamError::TooSlow),
        }
        let coding = Coding::of(session.get_header(http::header::CONTENT_ENCODING));
        Ok(Answer {
            upstream: self,
            decoder: Decoder::new(coding, self.settings.decoded_bytes_max),
            coding,
            session: Some(session),
        })
    }

    /// A request's bytes. No part of its head can hold a line's end: the types see to that.
    fn request(
        &self,
        path: &PathAndQuery,
        method: &Method,
        headers: &HeaderMap,
        body: Option<&[u8]>,
    ) -> Vec<u8> {
        let settings = &self.settings;
        let forwarded: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum();
        let room = HEAD_BYTES + path.as_str().len() + settings.authority.len() + forwarded;
        let mut request = Vec::with_capacity(room + body.map_or(0, <[u8]>::len));
        request.extend_from_slice(method.as_str().as_bytes());
        request.push(b' ');
        request.extend_from_slice(path.as_str().as_bytes());
        request.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        request.extend_from_slice(settings.authority.as_bytes());
        // What the upstream compresses all the same is decoded, within bounds.
        request.extend_from_slice(b"\r\nAccept-Encoding: identity\r\n");
        for (name, value) in headers {
            request.extend_from_slice(name.as_str().as_bytes());
            request.extend_from_slice(b": ");
            request.extend_from_slice(value.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        if let Some(body) = body {
            request.extend_from_slice(b"Content-Length: ");
            request.extend_from_slice(body.len().to_string().as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body.unwrap_or_default());
        request
    }
}

/// A path with the slash at its end taken away, or put there; none for the root, which has no other.
fn with_slash_toggled(path: &PathAndQuery) -> Option<PathAndQuery> {
    let (name, query) = (path.path(), path.query());
    let name = match name.strip_suffix('/') {
        Some("") => return None,
        Some(shorter) => shorter.to_owned(),
        None => format!("{name}/"),
    };
    let whole = match query {
        Some(query) => format!("{name}?{query}"),
        None => name,
    };
    whole.parse().ok()
}

/// Reads the answer's headers. 1xx answers announce, they do not answer; switching protocols was never asked for.
async fn head(session: &mut HttpSession) -> Result<(), UpstreamError> {
    loop {
        session
            .read_response()
            .await
            .map_err(|error| of_read(&error))?;
        match session.get_status() {
            Some(StatusCode::SWITCHING_PROTOCOLS) => return Err(UpstreamError::Invalid),
            Some(status) if status.is_informational() => {}
            _ => return Ok(()),
        }
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
    coding: Coding,
    decoder: Option<Decoder>,
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

    /// Whether the body is encoded in a way that nobody here can decode.
    pub fn is_encoded(&self) -> bool {
        self.coding != Coding::Identity && self.decoder.is_none()
    }

    /// The next piece of the body, decoded; none at its end.
    ///
    /// # Errors
    /// When the connection breaks, the next piece takes too long, is not encoded as it says, or becomes too large.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        while let Some(piece) = self.encoded_chunk().await? {
            let Some(decoder) = &mut self.decoder else {
                return Ok(Some(piece));
            };
            let decoded = decoder.push(&piece).map_err(|error| match error {
                DecodeError::Malformed => UpstreamError::Invalid,
                DecodeError::TooLarge => UpstreamError::TooLarge,
            })?;
            if !decoded.is_empty() {
                return Ok(Some(decoded));
            }
        }
        Ok(None)
    }

    async fn encoded_chunk(&mut self) -> Result<Option<Bytes>, UpstreamError> {
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
            session.respect_keepalive();
            if let Some(stream) = session.reuse().await {
                upstream.pool.put(stream);
            }
        }
    }
}
