//! What was judged goes up, and its answer comes down: whole, as a stream, or as a refusal.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method as Verb, StatusCode, header};
use pingora::protocols::http::ServerSession;

use super::post::Outgoing;
use super::{Asks, Bound, Caller, Exchange, Known};
use crate::downstream::Downstream;
use crate::era::Era;
use crate::gate;
use crate::refuse::{Refusal, Reply};
use crate::session::mcp::{McpSessionError, PendingError};
use crate::upstream::{Answer, UpstreamError};

impl Exchange<'_> {
    pub(super) async fn send(
        &mut self,
        http: &mut ServerSession,
        forwarded: &HeaderMap,
        caller: &Arc<Caller>,
        outgoing: Outgoing,
        session: Option<Bound>,
    ) -> Result<(), Refusal> {
        let Outgoing {
            body,
            known,
            repeatable,
        } = outgoing;
        let key = self.request_key.clone();
        if let (Some(bound), Some(key)) = (&session, &key) {
            bound
                .session
                .begin(key, known.clone())
                .map_err(|error| match error {
                    PendingError::Duplicate => {
                        Refusal::InvalidRequest("a request with this id is still under way")
                    }
                    PendingError::Full => Refusal::Busy,
                })?;
        }
        let began = Instant::now();
        let upstream = &self.sidecar.upstream;
        let sending = upstream.send(&Verb::POST, forwarded, Some(&body), repeatable);
        let answer = self.unless_gone(http, sending).await;
        self.upstream_time = Some(began.elapsed());
        let answered = match answer {
            Ok(answer) => {
                self.answer(http, caller, answer, session.clone(), &known, began)
                    .await
            }
            Err(error) => Err(self.failed(&known, error)),
        };
        if let (Some(bound), Some(key), false) = (&session, &key, self.streamed) {
            let _ = bound.session.take(key);
        }
        answered
    }

    /// Waits for the upstream. A modern client that goes has cancelled its request (MCP 2026-07-28, Cancellation): the
    /// upstream learns it by the end of its connection, at once. A legacy client that goes has not.
    async fn unless_gone<T>(
        &self,
        http: &mut ServerSession,
        waiting: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        if self.era == Era::Legacy {
            return waiting.await;
        }
        let mut downstream = Downstream::new(http);
        tokio::select! {
            biased;
            done = waiting => done,
            () = downstream.closed() => Err(UpstreamError::Cancelled),
        }
    }

    async fn answer(
        &mut self,
        http: &mut ServerSession,
        caller: &Arc<Caller>,
        answer: Answer<'_>,
        session: Option<Bound>,
        known: &Known,
        began: Instant,
    ) -> Result<(), Refusal> {
        let status = answer.status();
        let new_session = self.new_session(&answer, caller)?;
        if answer.is_encoded() {
            return Err(self.failed(known, UpstreamError::Invalid));
        }
        match (status, answer.media_type().as_str()) {
            (StatusCode::OK, "text/event-stream") => {
                let session = new_session.or(session);
                self.stream(http, caller, answer, session, Some(known.clone()))
                    .await
            }
            (StatusCode::ACCEPTED | StatusCode::NO_CONTENT, _) if self.request_id.is_none() => {
                self.pass_status(http, answer).await
            }
            (StatusCode::NOT_FOUND, _) if session.is_some() => {
                Err(self.failed_as(known, UpstreamError::Invalid, Refusal::UnknownSession))
            }
            (status, "application/json")
                if status == StatusCode::OK || status.is_client_error() =>
            {
                let reading = answer.whole(self.sidecar.limits.answer_bytes_max);
                let text = match self.unless_gone(http, reading).await {
                    Ok(text) => text,
                    Err(error) => return Err(self.failed(known, error)),
                };
                self.upstream_time = Some(began.elapsed());
                self.whole(http, status, known, text, new_session).await
            }
            (status, _) if status.is_client_error() => Err(self.failed_as(
                known,
                UpstreamError::Invalid,
                Refusal::UpstreamRefused(status),
            )),
            _ => Err(self.failed(known, UpstreamError::Invalid)),
        }
    }

    async fn whole(
        &mut self,
        http: &mut ServerSession,
        status: StatusCode,
        known: &Known,
        text: Bytes,
        new_session: Option<Bound>,
    ) -> Result<(), Refusal> {
        let expected = self.request_key.as_deref();
        let settled = self.settle(known, &text, expected).await?;
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        put_session(&mut headers, new_session.as_ref());
        let body = settled.map_or(text, Bytes::from);
        Downstream::new(http)
            .reply(Reply {
                status,
                headers,
                body,
            })
            .await
    }

    /// Binds the MCP session that an answer brings to this principal.
    fn new_session(&self, answer: &Answer<'_>, caller: &Caller) -> Result<Option<Bound>, Refusal> {
        let Some(id) = answer.header(&gate::SESSION_ID) else {
            return Ok(None);
        };
        let id = id.to_str().map_err(|_| UpstreamError::Invalid)?;
        // The modern revision has no sessions: what an answer says of one is nobody's.
        if !answer.status().is_success() || self.era == Era::Modern {
            return Ok(None);
        }
        match self.sidecar.mcp_sessions.open(id, caller.owner()) {
            Ok(session) => {
                if self.asks == Asks::Error {
                    session.note_opens_pages();
                }
                Ok(Some(Bound {
                    id: id.to_owned(),
                    session,
                }))
            }
            Err(McpSessionError::Full) => Err(Refusal::Busy),
            Err(
                McpSessionError::NotFound | McpSessionError::IdTaken | McpSessionError::IdInvalid,
            ) => Err(UpstreamError::Invalid.into()),
        }
    }

    fn failed(&self, known: &Known, error: UpstreamError) -> Refusal {
        self.failed_as(known, error, Refusal::Upstream(error))
    }

    pub(super) fn failed_as(
        &self,
        known: &Known,
        error: UpstreamError,
        refusal: Refusal,
    ) -> Refusal {
        if let Known::Call(call) = known {
            self.sidecar
                .recorder
                .upstream_failed(call, &self.live, error);
        }
        refusal
    }
}

/// What a stream's or answer's headers say of the MCP session.
pub(super) fn put_session(headers: &mut HeaderMap, session: Option<&Bound>) {
    if let Some(value) = session.and_then(|bound| HeaderValue::from_str(&bound.id).ok()) {
        headers.insert(gate::SESSION_ID.clone(), value);
    }
}
