//! Writing to the client and reading from it, each within its bound.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, Version, header};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;

use crate::cors;
use crate::refuse::{Refusal, Reply, WRITE_DEADLINE};

/// How much of an unread body is read and thrown away so that the connection can be kept.
const DISCARD_BYTES_MAX: usize = 64 * 1024;
/// How much is read and thrown away behind a refusal, so that a client which is still sending can read it.
const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long either may take.
const DISCARD_DEADLINE: Duration = Duration::from_secs(2);

/// The client's side of one exchange.
pub struct Downstream<'h> {
    http: &'h mut ServerSession,
    /// Whether the request's head came whole: Pingora panics when it is asked for one that did not.
    has_head: bool,
}

impl std::fmt::Debug for Downstream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Downstream")
    }
}

/// The client is gone, or does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

impl<'h> Downstream<'h> {
    /// The client's side of `http`.
    pub fn new(http: &'h mut ServerSession) -> Self {
        Self {
            http,
            has_head: true,
        }
    }

    /// The whole body, bounded in size and time.
    ///
    /// # Errors
    /// 413, 408, or 400 for a body that breaks off.
    pub async fn body(&mut self, bytes_max: usize, deadline: Duration) -> Result<Bytes, Refusal> {
        if declared_length(self.http).is_some_and(|length| length > bytes_max) {
            return Err(Refusal::TooLarge);
        }
        let read = async {
            self.encourage().await?;
            self.read_all(bytes_max).await
        };
        tokio::time::timeout(deadline, read)
            .await
            .map_err(|_| Refusal::TooSlow)?
    }

    /// Tells a client that waits for it to go on with its body (RFC 9110 §10.1.1).
    async fn encourage(&mut self) -> Result<(), Refusal> {
        let head = self.http.req_header();
        let expects = head.headers.get(header::EXPECT);
        let waits =
            expects.is_some_and(|what| what.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        if waits && head.version == Version::HTTP_11 {
            let go_on = self.http.write_continue_response().await;
            go_on.map_err(|_| Refusal::BadRequest("the body breaks off"))?;
        }
        Ok(())
    }

    async fn read_all(&mut self, bytes_max: usize) -> Result<Bytes, Refusal> {
        let mut whole: Option<Bytes> = None;
        let mut gathered = BytesMut::new();
        loop {
            let piece = self
                .http
                .read_request_body()
                .await
                .map_err(|_| Refusal::BadRequest("the body breaks off"))?;
            let Some(piece) = piece else { break };
            if gathered.len() + whole.as_ref().map_or(0, Bytes::len) + piece.len() > bytes_max {
                return Err(Refusal::TooLarge);
            }
            match whole.take() {
                None if gathered.is_empty() => whole = Some(piece),
                None => gathered.extend_from_slice(&piece),
                Some(first) => {
                    gathered.extend_from_slice(&first);
                    gathered.extend_from_slice(&piece);
                }
            }
        }
        Ok(whole.unwrap_or_else(|| gathered.freeze()))
    }

    /// Writes a whole answer. A client that is gone is no error of ours.
    ///
    /// # Errors
    /// Never a refusal: the type is what a route returns.
    pub async fn reply(&mut self, reply: Reply) -> Result<(), Refusal> {
        self.discard().await;
        self.write_whole(reply).await;
        self.linger().await;
        Ok(())
    }

    /// Writes an answer to a request whose head never came whole, so that it has no body either.
    pub async fn reply_to_no_request(&mut self, reply: Reply) {
        self.has_head = false;
        self.http.set_keepalive(None);
        self.write_whole(reply).await;
    }

    async fn write_whole(&mut self, reply: Reply) {
        let Some(mut head) = self.head(reply.status, &reply.headers) else {
            return;
        };
        if reply.status != StatusCode::ACCEPTED && reply.status != StatusCode::NO_CONTENT
            || !reply.body.is_empty()
        {
            let _ = head.insert_header(header::CONTENT_LENGTH, reply.body.len());
        } else {
            let _ = head.insert_header(header::CONTENT_LENGTH, 0);
        }
        let write = async {
            self.http.write_response_header(head).await?;
            self.http.write_response_body(reply.body, true).await
        };
        if !matches!(
            tokio::time::timeout(WRITE_DEADLINE, write).await,
            Ok(Ok(()))
        ) {
            self.http.set_keepalive(None);
        }
    }

    /// Begins an event stream.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn begin_stream(&mut self, headers: &HeaderMap) -> Result<(), Gone> {
        let mut head = self.head(StatusCode::OK, headers).ok_or(Gone)?;
        if !self.http.is_http2() {
            // Without it the stream's end would be the connection's.
            head.insert_header(header::TRANSFER_ENCODING, "chunked")
                .map_err(|_| Gone)?;
        }
        let write = self.http.write_response_header(head);
        tokio::time::timeout(WRITE_DEADLINE, write)
            .await
            .map_err(|_| Gone)?
            .map_err(|_| Gone)
    }

    /// Writes one piece of a stream, and nothing behind it waits for more.
    ///
    /// # Errors
    /// When the client is gone or does not read.
    pub async fn write(&mut self, bytes: Bytes, end: bool) -> Result<(), Gone> {
        let write = self.http.write_response_body(bytes, end);
        tokio::time::timeout(WRITE_DEADLINE, write)
            .await
            .map_err(|_| Gone)?
            .map_err(|_| Gone)
    }

    /// Resolves when the client closes its side (or sends what it must not).
    pub async fn closed(&mut self) {
        loop {
            match self.http.read_body_or_idle(true).await {
                Ok(Some(_)) => {}
                // A half-closed HTTP/1.1 client may still read; the write tells.
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn head(&self, status: StatusCode, headers: &HeaderMap) -> Option<Box<ResponseHeader>> {
        let mut head = ResponseHeader::build_no_case(status, Some(headers.len() + 8)).ok()?;
        for (name, value) in headers {
            head.append_header(name.clone(), value.clone()).ok()?;
        }
        // Whatever passes here may be PHI: no cache keeps it.
        if !headers.contains_key(header::CACHE_CONTROL) {
            head.insert_header(header::CACHE_CONTROL, "no-store").ok()?;
        }
        if self.has_head {
            cors::allow(self.http.req_header(), &mut head)?;
        }
        Some(Box::new(head))
    }

    /// Reads the rest of a small body away before the answer; a larger one means the connection's end.
    async fn discard(&mut self) {
        if self.http.is_body_done() {
            return;
        }
        let small = declared_length(self.http).is_none_or(|length| length <= DISCARD_BYTES_MAX);
        if !small || !self.throw_away(DISCARD_BYTES_MAX).await {
            self.http.set_keepalive(None);
        }
    }

    /// Reads on behind an answer that closes the connection: closing at once would reset it under the client's hands
    /// before it has read the answer.
    async fn linger(&mut self) {
        if !self.http.is_body_done() {
            let _ = self.throw_away(LINGER_BYTES_MAX).await;
        }
    }

    /// Whether the body ended within the bounds.
    async fn throw_away(&mut self, bytes_max: usize) -> bool {
        let read = async {
            let mut seen = 0;
            while let Ok(Some(piece)) = self.http.read_request_body().await {
                seen += piece.len();
                if seen > bytes_max {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(DISCARD_DEADLINE, read)
            .await
            .unwrap_or(false)
    }
}

fn declared_length(http: &ServerSession) -> Option<usize> {
    http.get_header(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}
