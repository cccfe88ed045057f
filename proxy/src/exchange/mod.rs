//! One request and its answer, in typed stages: who asks (`caller`), what is asked (`asked`), what the policy says,
//! the durable intent, the upstream, the settled answer.
//!
//! The upstream exchange is driven by ourselves: nothing goes up before the verdict, and nothing comes down before
//! its record is on disk.

pub(crate) mod asked;
mod batch;
mod caller;
mod capabilities;
mod emergency;
mod factor;
mod keys;
mod legacy;
mod methods;
mod modern;
mod news;
mod post;
mod questions;
mod reviewed;
mod said;
mod send;
mod settle;
mod stream;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use uuid::Uuid;

pub use asked::{Asked, Known};
pub use caller::Caller;
pub use factor::{ANSWER, Asks, Way};
pub use legacy::Channels;

use crate::downstream::Downstream;
use crate::era::{self, Era, Spoken};
use crate::gate;
use crate::listener::Connection;
use crate::live::Live;
use crate::metrics::method_label;
use crate::refuse::{Refusal, Reply};
use crate::session::mcp::McpSession;
use crate::sidecar::Sidecar;
use crate::upstream::Answer;

/// An MCP session that is this principal's.
#[derive(Debug, Clone)]
struct Bound {
    id: String,
    session: Arc<McpSession<Known>>,
}

/// One request on its way through the house.
pub struct Exchange<'s> {
    sidecar: &'s Sidecar,
    live: Arc<Live>,
    connection: Arc<Connection>,
    reference: Uuid,
    began: Instant,
    shutdown: ShutdownWatch,
    /// The JSON-RPC id as the client wrote it, once known.
    request_id: Option<Vec<u8>>,
    /// The same id as the tables of pending calls hold it.
    request_key: Option<String>,
    method: &'static str,
    tool: String,
    outcome: &'static str,
    upstream_time: Option<Duration>,
    streamed: bool,
    /// The era that the request is of, once its body has been read.
    era: Era,
    /// `MCP-Protocol-Version` as it came.
    revision: Option<HeaderValue>,
    /// The request's method and target: what a proof of possession must be for.
    asked: (Method, http::Uri),
    /// How the client can be asked to open a page.
    asks: Asks,
}

impl std::fmt::Debug for Exchange<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange")
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}

impl<'s> Exchange<'s> {
    /// A request that has just arrived.
    pub fn new(
        sidecar: &'s Sidecar,
        live: Arc<Live>,
        connection: Arc<Connection>,
        reference: Uuid,
        began: Instant,
        shutdown: ShutdownWatch,
    ) -> Self {
        Self {
            sidecar,
            live,
            connection,
            reference,
            began,
            shutdown,
            request_id: None,
            request_key: None,
            method: "other",
            tool: String::new(),
            outcome: "ok",
            upstream_time: None,
            streamed: false,
            era: Era::Legacy,
            revision: None,
            asked: (Method::default(), http::Uri::default()),
            asks: Asks::Challenge,
        }
    }

    /// Notes what is asked for.
    #[must_use]
    pub fn asking(mut self, method: Method, target: http::Uri) -> Self {
        self.asked = (method, target);
        self
    }

    /// The configuration that this request is judged by, from its first step to its last.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// The JSON-RPC id to answer with, once the body has been read.
    pub fn request_id(&self) -> Option<&[u8]> {
        self.request_id.as_deref()
    }

    /// Notes that the request ended in a refusal.
    pub fn refused(&mut self, refusal: &Refusal) {
        self.outcome = refusal.label();
    }

    /// Counts the request.
    pub fn finished(&self) {
        let took = if self.streamed {
            Duration::ZERO
        } else {
            self.began.elapsed()
        };
        self.sidecar.metrics.request(
            self.method,
            &self.tool,
            self.outcome,
            took,
            self.upstream_time,
        );
    }

    /// The revisions that the upstream speaks.
    fn spoken(&self) -> Spoken<'_> {
        let configured = self.live.face.revisions.as_deref();
        Spoken::new(configured, &self.sidecar.learnt)
    }

    /// What outlives the request.
    pub(crate) fn sidecar(&self) -> &'s Sidecar {
        self.sidecar
    }

    /// Where the request came from.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// What binds the events of this request.
    pub(crate) fn reference(&self) -> Uuid {
        self.reference
    }

    /// Names the method in the metrics.
    pub(crate) fn named(&mut self, method: &str) {
        self.method = method_label(method);
    }

    /// `GET`: the stream on which the server speaks by itself.
    ///
    /// # Errors
    /// Whatever refuses the caller or the upstream.
    pub async fn get(&mut self, http: &mut ServerSession) -> Result<(), Refusal> {
        self.named("GET");
        if self.sidecar.upstream.is_legacy() {
            return self.channel(http).await;
        }
        self.revision = http
            .req_header()
            .headers
            .get(&gate::PROTOCOL_VERSION)
            .cloned();
        let (caller, session, answer) = self.without_body(http, &Method::GET).await?;
        if answer.status() == StatusCode::OK
            && answer.media_type() == "text/event-stream"
            && !answer.is_encoded()
        {
            return self.stream(http, &caller, answer, session, None).await;
        }
        self.pass_status(http, answer).await
    }

    /// `DELETE`: the client ends its MCP session.
    ///
    /// # Errors
    /// Whatever refuses the caller or the upstream.
    pub async fn delete(&mut self, http: &mut ServerSession) -> Result<(), Refusal> {
        self.named("DELETE");
        if self.sidecar.upstream.is_legacy() {
            return Err(Refusal::MethodNotAllowed);
        }
        let (caller, session, answer) = self.without_body(http, &Method::DELETE).await?;
        if let (true, Some(bound)) = (answer.status().is_success(), session) {
            // Another DELETE may have been first; either way it is closed.
            let _ = self.sidecar.mcp_sessions.close(&bound.id, caller.owner());
        }
        self.pass_status(http, answer).await
    }

    /// Judges who asks and sends a request that has no body.
    async fn without_body(
        &self,
        http: &ServerSession,
        method: &Method,
    ) -> Result<(Arc<Caller>, Option<Bound>, Answer<'s>), Refusal> {
        let headers = &http.req_header().headers;
        let caller = self.caller(headers).await?;
        if era::claim(headers, self.spoken())? != era::Claim::Legacy {
            return Err(Refusal::MethodNotAllowed);
        }
        let session = self.mcp_session(headers, &caller)?;
        resumes_its_own(headers, session.as_ref())?;
        let up = gate::forwarded(headers);
        let answer = self.sidecar.upstream.send(method, &up, None, true).await?;
        Ok((caller, session, answer))
    }

    /// The MCP session that the request names, if it is this principal's.
    fn mcp_session(&self, headers: &HeaderMap, caller: &Caller) -> Result<Option<Bound>, Refusal> {
        let Some(id) = gate::session_id(headers)? else {
            return Ok(None);
        };
        let session = self
            .sidecar
            .mcp_sessions
            .find(&id, caller.owner())
            .map_err(|_| Refusal::UnknownSession)?;
        Ok(Some(Bound { id, session }))
    }

    /// An upstream's status without its body, which nobody judged.
    async fn pass_status(
        &mut self,
        http: &mut ServerSession,
        answer: Answer<'_>,
    ) -> Result<(), Refusal> {
        let status = answer.status();
        let reply = match status {
            StatusCode::NOT_FOUND => return Err(Refusal::UnknownSession),
            status if status.is_success() || status.is_client_error() => Reply {
                status,
                headers: HeaderMap::new(),
                body: bytes::Bytes::new(),
            },
            _ => return Err(Refusal::Upstream(crate::upstream::UpstreamError::Invalid)),
        };
        // The body is read to its end only to give the connection back; it goes nowhere.
        let _ = answer.whole(self.sidecar.limits.answer_bytes_max).await;
        Downstream::new(http).reply(reply).await
    }
}

/// A stream is resumed only from an event that this session was given: another's is as if it did not exist.
fn resumes_its_own(headers: &HeaderMap, session: Option<&Bound>) -> Result<(), Refusal> {
    let Some(id) = headers.get(&gate::LAST_EVENT_ID) else {
        return Ok(());
    };
    match session {
        Some(bound) if bound.session.was_given(id.as_bytes()) => Ok(()),
        Some(_) | None => Err(Refusal::UnknownSession),
    }
}
