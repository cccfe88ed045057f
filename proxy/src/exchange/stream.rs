//! Event streams: a POST's answer or a GET's own, relayed event by event. Nothing waits for the end of a stream.
//!
//! A stream ends when the token expires, the session ends, the policy changes, the client goes or the sidecar
//! drains. An event of the upstream's that nobody may see never leaves; an answer is settled like any other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use safeguard_policy::field::TextView;
use safeguard_wire::json::{Splice, Tree};
use safeguard_wire::jsonrpc::Message;
use safeguard_wire::sse::{Event, Framer};

use super::post::{put_session, server_key};
use super::{Bound, Caller, Exchange, Known};
use crate::downstream::{Downstream, Gone};
use crate::refuse::Refusal;
use crate::rewrite::LIMITS;
use crate::upstream::{Answer, UpstreamError};

/// How often a silent stream says that it lives, so that no proxy in between closes it.
const KEEPALIVE: Duration = Duration::from_secs(25);
/// A comment line, which every SSE client ignores.
const KEEPALIVE_COMMENT: &[u8] = b": keepalive\n\n";

/// What a stream's loop woke up for.
enum Next {
    /// The session ended, the policy changed, the client went or the sidecar drains.
    Over,
    /// The upstream said something, closed or broke.
    Chunk(Result<Option<Bytes>, UpstreamError>),
    /// Nothing happened for a while.
    Silence,
}

async fn draining(shutdown: &mut ShutdownWatch) {
    // A sender that is gone has stopped too.
    let _ = shutdown.wait_for(|ending| *ending).await;
}

/// What is done with one event.
enum Verdict {
    /// It goes on as it is.
    Pass,
    /// It goes on with other data.
    Rewritten(Vec<u8>),
    /// It does not go on.
    Drop,
    /// It was the answer, and this goes on; a POST's stream has nothing to say after it.
    Answered(Option<Vec<u8>>),
    /// The answer may not be released.
    Refused(Refusal),
}

impl Exchange<'_> {
    /// Relays a stream to its end.
    ///
    /// # Errors
    /// Only before the first byte went down; later, a refusal is an event of its own.
    pub(super) async fn stream(
        &mut self,
        http: &mut ServerSession,
        caller: &Arc<Caller>,
        mut answer: Answer<'_>,
        session: Option<Bound>,
        known: Option<Known>,
    ) -> Result<(), Refusal> {
        let limits = self.sidecar.limits;
        let streams = &self.sidecar.streams;
        let Some(_open) = streams.open(caller.session.hashed_id(), limits.streams_per_session_max)
        else {
            self.sidecar.limit_reached("streams_per_session");
            return Err(Refusal::Busy);
        };
        let _aside = self.sidecar.step_aside();
        self.streamed = true;
        let mut downstream = Downstream::new(http);
        if downstream
            .begin_stream(&stream_headers(session.as_ref()))
            .await
            .is_err()
        {
            return Ok(());
        }
        self.relay(
            &mut downstream,
            caller,
            &mut answer,
            session.as_ref(),
            known,
        )
        .await;
        answer.release().await;
        let _ = downstream.write(Bytes::new(), true).await;
        Ok(())
    }

    async fn relay(
        &mut self,
        downstream: &mut Downstream<'_>,
        caller: &Arc<Caller>,
        answer: &mut Answer<'_>,
        session: Option<&Bound>,
        known: Option<Known>,
    ) {
        let mut framer = Framer::new(self.sidecar.limits.event_bytes_max);
        let mut generation = self.sidecar.generation.subscribe();
        let mut shutdown = self.shutdown.clone();
        let ended = caller.session.ended();
        tokio::pin!(ended);
        loop {
            let next = tokio::select! {
                biased;
                _ = &mut ended => Next::Over,
                _ = generation.changed() => Next::Over,
                () = draining(&mut shutdown) => Next::Over,
                chunk = answer.chunk() => Next::Chunk(chunk),
                () = downstream.closed() => Next::Over,
                () = tokio::time::sleep(KEEPALIVE) => Next::Silence,
            };
            let chunk = match next {
                Next::Over | Next::Chunk(Ok(None)) => return,
                Next::Silence => {
                    if downstream
                        .write(Bytes::from_static(KEEPALIVE_COMMENT), false)
                        .await
                        .is_err()
                    {
                        return;
                    }
                    continue;
                }
                Next::Chunk(Ok(Some(chunk))) => chunk,
                Next::Chunk(Err(error)) => {
                    self.broken(downstream, known.as_ref(), error).await;
                    return;
                }
            };
            if framer.push(&chunk).is_err() {
                self.sidecar.limit_reached("event_bytes");
                self.broken(downstream, known.as_ref(), UpstreamError::TooLarge)
                    .await;
                return;
            }
            for event in framer.by_ref() {
                match self
                    .event(downstream, &event, session, known.as_ref())
                    .await
                {
                    Ok(true) => {}
                    Ok(false) | Err(Gone) => return,
                }
            }
        }
    }

    /// Judges and relays one event. False: the stream is over.
    async fn event(
        &mut self,
        downstream: &mut Downstream<'_>,
        event: &Event,
        session: Option<&Bound>,
        known: Option<&Known>,
    ) -> Result<bool, Gone> {
        let (bytes, goes_on) = match self.judge_event(event, session, known).await {
            Verdict::Drop => return Ok(true),
            Verdict::Pass => (event.raw().to_vec(), true),
            Verdict::Rewritten(data) => (event.with_data(&data), true),
            // A POST's stream ends with its answer; the upstream closes it (MCP 2025-11-25, Transports).
            Verdict::Answered(None) => (event.raw().to_vec(), true),
            Verdict::Answered(Some(data)) => (event.with_data(&data), true),
            Verdict::Refused(refusal) => {
                self.refused(&refusal);
                (
                    event.with_data(&refusal.message(self.request_id.as_deref(), self.reference)),
                    true,
                )
            }
        };
        downstream.write(Bytes::from(bytes), false).await?;
        Ok(goes_on)
    }

    async fn judge_event(
        &self,
        event: &Event,
        session: Option<&Bound>,
        known: Option<&Known>,
    ) -> Verdict {
        // Priming events, ids, retry lines and comments carry no message.
        let Some(data) = event.data().filter(|data| !data.is_empty()) else {
            return Verdict::Pass;
        };
        let Ok(tree) = Tree::parse(&data, &LIMITS) else {
            return self.foreign("not_json");
        };
        match Message::parse(tree.root()) {
            Ok(Message::Response { id, .. }) => {
                let key = id.key();
                drop(tree);
                self.judge_answer(&data, &key, session, known).await
            }
            Ok(Message::Request { id, method, .. }) => match (method.as_ref(), session) {
                ("ping", Some(bound)) => {
                    let key = server_key(&id.key());
                    match bound.session.begin(&key, Known::ServerRequest) {
                        Ok(()) => Verdict::Pass,
                        Err(_) => self.foreign("too_many_server_requests"),
                    }
                }
                _ => self.foreign("server_request"),
            },
            Ok(Message::Notification { method, .. }) => {
                self.judge_notification(&tree, &method, known)
            }
            Err(_) => self.foreign("not_json_rpc"),
        }
    }

    async fn judge_answer(
        &self,
        data: &[u8],
        key: &str,
        session: Option<&Bound>,
        known: Option<&Known>,
    ) -> Verdict {
        let own = self.request_id.as_deref().map(super::post::id_key);
        let of_this_post = known.filter(|_| own.as_deref() == Some(key)).cloned();
        let waiting = session.and_then(|bound| bound.session.take(key));
        // A resumed stream may bring the answer to an older request of this session; anything else is nobody's.
        let Some(known) = (match session {
            Some(_) => waiting,
            None => of_this_post,
        }) else {
            return self.foreign("answer_to_nothing");
        };
        match self.settle(&known, data, Some(key)).await {
            Ok(settled) => Verdict::Answered(settled),
            Err(refusal) => Verdict::Refused(refusal),
        }
    }

    /// Progress and list changes pass; what they say in words is text. Everything else is denied unless named.
    fn judge_notification(&self, tree: &Tree<'_>, method: &str, known: Option<&Known>) -> Verdict {
        let words = match method {
            "notifications/tools/list_changed"
            | "notifications/resources/list_changed"
            | "notifications/prompts/list_changed" => return Verdict::Pass,
            "notifications/progress" => "message",
            "notifications/cancelled" => "reason",
            _ => return self.foreign("notification"),
        };
        let withheld = match known {
            Some(Known::Call(call)) => call.permit.text == TextView::Withhold,
            Some(Known::Plain | Known::List(..) | Known::ServerRequest) | None => true,
        };
        let params = tree.root().get("params").ok().flatten();
        let Some(text) = params
            .and_then(|params| params.get(words).ok().flatten())
            .filter(|_| withheld)
        else {
            return Verdict::Pass;
        };
        let mut splice = Splice::new(tree);
        splice.remove(text);
        Verdict::Rewritten(splice.apply())
    }

    fn foreign(&self, what: &'static str) -> Verdict {
        self.sidecar.limit_reached(what);
        log::warn!("an event of the MCP server was not released: {what}");
        Verdict::Drop
    }

    /// The upstream broke off: the client learns it as the answer to its request, the trail as the outcome.
    async fn broken(
        &mut self,
        downstream: &mut Downstream<'_>,
        known: Option<&Known>,
        error: UpstreamError,
    ) {
        let refusal = Refusal::Upstream(error);
        self.refused(&refusal);
        if let Some(Known::Call(call)) = known {
            self.sidecar
                .recorder
                .upstream_failed(call, &self.live, error);
        }
        if let Some(id) = self.request_id.clone() {
            let mut event = Vec::from(b"event: message\ndata: ");
            event.extend_from_slice(&refusal.message(Some(&id), self.reference));
            event.extend_from_slice(b"\n\n");
            let _ = downstream.write(Bytes::from(event), false).await;
        }
    }
}

fn stream_headers(session: Option<&Bound>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-store, no-transform"),
    );
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    put_session(&mut headers, session);
    headers
}
