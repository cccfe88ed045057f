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
use safeguard_policy::field::{TextView, Unlisted};
use safeguard_policy::policy::FieldClass;
use safeguard_wire::json::{Kind, Splice, Tree};
use safeguard_wire::jsonrpc::Message;
use safeguard_wire::sse::{self, Event, Framer};

use super::asked::Listening;
use super::batch::Batch;
use super::emergency::emergency_of;
use super::legacy::{self, Channel, NoEndpoint};
use super::modern;
use super::send::put_session;
use super::{Bound, Caller, Exchange, Known};
use crate::clock;
use crate::downstream::{Downstream, Gone};
use crate::gate;
use crate::refuse::Refusal;
use crate::rewrite::LIMITS;
use crate::upstream::{Answer, UpstreamError};

/// How often a silent stream says that it lives, so that no proxy in between closes it.
const KEEPALIVE: Duration = Duration::from_secs(25);
/// A comment line, which every SSE client ignores.
const KEEPALIVE_COMMENT: &[u8] = b": keepalive\n\n";

/// What is known of a stream while it runs.
pub(super) struct Course {
    pub(super) caller: Arc<Caller>,
    pub(super) session: Option<Bound>,
    /// The POST's own request, until its answer came.
    pub(super) known: Option<Known>,
    /// Whether events carry ids, so that the client may come back for what it missed.
    resumable: bool,
    /// Whether this is a client that came back.
    resumes: bool,
    /// Of the transport HTTP+SSE: where the client posts to, and what it is told here.
    pub(super) channel: Option<Channel>,
    /// Of a batch: what is unanswered.
    pub(super) batch: Batch,
}

impl Course {
    /// The course of a stream that has just begun.
    pub(super) fn new(caller: &Arc<Caller>, session: Option<Bound>, known: Option<Known>) -> Self {
        Self {
            caller: Arc::clone(caller),
            session,
            known,
            resumable: false,
            resumes: false,
            channel: None,
            batch: Batch::default(),
        }
    }

    /// Whether nobody waits for an answer on this stream.
    fn is_idle(&self) -> bool {
        let posted = self.channel.as_ref().map_or(0, Channel::pending);
        self.known.is_none() && self.batch.is_empty() && posted == 0
    }

    /// The patient whom the call is about that this stream answers.
    pub(super) fn patient(&self) -> Option<String> {
        match &self.known {
            Some(Known::Call(call)) => call.patient.clone(),
            Some(_) | None => None,
        }
    }
}

/// What a stream's loop woke up for.
enum Next {
    /// The session ended, the client went or the sidecar drains.
    Over,
    /// The configuration or the certificates changed.
    Changed,
    /// The upstream said something, closed or broke.
    Chunk(Result<Option<Bytes>, UpstreamError>),
    /// Something of ours is to be told.
    Said(Bytes),
    /// Nothing happened for a while.
    Silence,
}

async fn draining(shutdown: &mut ShutdownWatch) {
    // A sender that is gone has stopped too.
    let _ = shutdown.wait_for(|ending| *ending).await;
}

/// What is done with one event.
pub(super) enum Verdict {
    /// It goes on as it is.
    Pass,
    /// It goes on with other data.
    Rewritten(Vec<u8>),
    /// It does not go on.
    Drop,
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
        answer: Answer<'_>,
        session: Option<Bound>,
        known: Option<Known>,
    ) -> Result<(), Refusal> {
        let course = Course::new(caller, session, known);
        self.stream_of(http, caller, answer, course).await
    }

    /// The same of any course.
    pub(super) async fn stream_of(
        &mut self,
        http: &mut ServerSession,
        caller: &Arc<Caller>,
        mut answer: Answer<'_>,
        mut course: Course,
    ) -> Result<(), Refusal> {
        let limits = self.sidecar.limits;
        let streams = &self.sidecar.streams;
        let Some(_open) = streams.open(caller.session.hashed_id(), limits.streams_per_session_max)
        else {
            self.sidecar.limit_reached("streams_per_session");
            self.unanswered(&mut course);
            return Err(Refusal::Busy);
        };
        // The older transport begins anew each time.
        let named = http.req_header().headers.contains_key(&gate::LAST_EVENT_ID);
        course.resumes = named && course.channel.is_none();
        let _aside = self.sidecar.step_aside();
        self.streamed = true;
        let mut downstream = Downstream::new(http);
        // The older transport's session has no header: it stands in the path.
        let shown = course.session.as_ref();
        let headers = stream_headers(shown.filter(|_| course.channel.is_none()));
        if downstream.begin_stream(&headers).await.is_ok() {
            self.relay(&mut downstream, caller, &mut answer, &mut course)
                .await;
        }
        self.unanswered(&mut course);
        answer.release().await;
        let _ = downstream.write(Bytes::new(), true).await;
        Ok(())
    }

    /// A call whose stream ended without its answer: what may still come on a resumed stream is awaited, the rest is
    /// over, and the trail says so.
    fn unanswered(&self, course: &mut Course) {
        match &course.session {
            Some(bound) if course.resumable => course.batch.park(bound),
            session => self.give_up(&mut course.batch, session.as_ref(), "stream_ended"),
        }
        let posted = course.channel.as_ref().map(Channel::unanswered);
        for known in posted.unwrap_or_default() {
            if let Known::Call(call) = known {
                let recorder = &self.sidecar.recorder;
                recorder.not_released(&call, &self.live, "stream_ended");
            }
        }
        let Some(known) = &course.known else {
            return;
        };
        if let (Some(bound), Some(key)) = (&course.session, &self.request_key) {
            let waiting = bound.session.take(key);
            if let (Some(waiting), true) = (waiting, course.resumable) {
                bound.session.park(key, waiting);
            }
        }
        if course.resumable {
            return;
        }
        if let Known::Call(call) = known {
            let recorder = &self.sidecar.recorder;
            recorder.not_released(call, &self.live, "stream_ended");
        }
    }

    async fn relay(
        &mut self,
        downstream: &mut Downstream<'_>,
        caller: &Arc<Caller>,
        answer: &mut Answer<'_>,
        course: &mut Course,
    ) {
        let mut framer = Framer::new(self.sidecar.limits.event_bytes_max);
        let mut generation = self.sidecar.generation.subscribe();
        if !self.is_in_force() {
            return;
        }
        let mut shutdown = self.shutdown.clone();
        let active = emergency_of(course);
        let ended = async {
            match &active {
                // What is said by the emergency's view ends with it.
                Some(active) => tokio::select! {
                    _ = caller.session.ended() => {}
                    () = active.over() => {}
                },
                None => {
                    caller.session.ended().await;
                }
            }
        };
        tokio::pin!(ended);
        for message in course.batch.refused() {
            let told = downstream.write(Bytes::from(sse::message(&message)), false);
            if told.await.is_err() {
                return;
            }
        }
        loop {
            let next = tokio::select! {
                biased;
                _ = &mut ended => Next::Over,
                _ = generation.changed() => Next::Changed,
                // A drain waits for the answer of a call that was begun, not for the server's own words.
                () = draining(&mut shutdown), if course.is_idle() => Next::Over,
                words = legacy::said(&mut course.channel) => Next::Said(words),
                chunk = answer.chunk() => Next::Chunk(chunk),
                () = downstream.closed() => Next::Over,
                () = tokio::time::sleep(KEEPALIVE) => Next::Silence,
            };
            let chunk = match next {
                Next::Changed if self.is_in_force() => continue,
                Next::Changed | Next::Over | Next::Chunk(Ok(None)) => return,
                Next::Said(words) => {
                    if downstream.write(words, false).await.is_err() {
                        return;
                    }
                    continue;
                }
                Next::Silence => {
                    let comment = Bytes::from_static(KEEPALIVE_COMMENT);
                    if downstream.write(comment, false).await.is_err() {
                        return;
                    }
                    continue;
                }
                Next::Chunk(Ok(Some(chunk))) => chunk,
                Next::Chunk(Err(error)) => {
                    return self.broken(downstream, course, error).await;
                }
            };
            if framer.push(&chunk).is_err() {
                self.sidecar.limit_reached("event_bytes");
                return self
                    .broken(downstream, course, UpstreamError::TooLarge)
                    .await;
            }
            for event in framer.by_ref() {
                if self.event(downstream, &event, course).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Whether what this stream was judged by still holds: the same configuration with the same keys, and a peer that is
    /// still trusted. What was decided under another policy is not carried on: the client comes again.
    fn is_in_force(&self) -> bool {
        let now = self.sidecar.live.load();
        let same = now.hash == self.live.hash && !now.keys_differ(&self.live);
        let peer = self.connection.peer(self.sidecar.tls(), clock::now_unix());
        same && peer.is_ok()
    }

    /// Judges and relays one event.
    async fn event(
        &mut self,
        downstream: &mut Downstream<'_>,
        event: &Event,
        course: &mut Course,
    ) -> Result<(), Gone> {
        if let (Some(id), Some(bound)) = (event.id(), &course.session) {
            course.resumable = true;
            bound.session.gave(id);
        }
        if let Some(channel) = course.channel.as_mut().filter(|one| !one.is_named()) {
            return match channel.name(event, self.sidecar, &self.live.face.path) {
                Ok(Some(told)) => downstream.write(told, false).await,
                Ok(None) => {
                    downstream
                        .write(Bytes::copy_from_slice(event.raw()), false)
                        .await
                }
                Err(NoEndpoint) => {
                    self.foreign("no_endpoint");
                    Err(Gone)
                }
            };
        }
        let bytes = match self.judge_event(event, course).await {
            Verdict::Drop => return Ok(()),
            Verdict::Pass => event.raw().to_vec(),
            Verdict::Rewritten(data) => event.with_data(&data),
            Verdict::Refused(refusal) => {
                self.refused(&refusal);
                // The answer's own id: it may be of a request that came by another way than this stream's.
                let id = legacy::answered(event).or_else(|| self.request_id.clone());
                event.with_data(&refusal.message(id.as_deref(), self.reference))
            }
        };
        downstream.write(Bytes::from(bytes), false).await
    }

    async fn judge_event(&self, event: &Event, course: &mut Course) -> Verdict {
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
                self.judge_answer(&data, &key, course).await
            }
            Ok(Message::Request { id, method, .. }) => {
                self.question(&tree, &id, &method, course).await
            }
            Ok(Message::Notification { method, .. }) => match &course.known {
                Some(Known::Listen(listening)) => self.judge_change(&tree, &method, listening),
                _ => self.news(&tree, &method, course).await,
            },
            Err(_) if !course.batch.is_empty() => {
                drop(tree);
                self.judge_answers(&data, course).await
            }
            Err(_) => self.foreign("not_json_rpc"),
        }
    }

    /// An answer settles what is known of its request: this POST's own, or one of this session's that waits for its
    /// answer, or is given it again, on a resumed stream. Anything else is nobody's.
    pub(super) async fn judge_answer(
        &self,
        data: &[u8],
        key: &str,
        course: &mut Course,
    ) -> Verdict {
        let session = course.session.as_ref().map(|bound| &bound.session);
        let waiting = session.and_then(|session| {
            let again = course.resumes;
            let parked = || again.then(|| session.parked(key)).flatten();
            session.take(key).or_else(parked)
        });
        let of_this_post = if self.request_key.as_deref() == Some(key) {
            course.known.take()
        } else {
            None
        };
        let of_batch = course.batch.take(key);
        let Some(known) = of_this_post.or(of_batch).or(waiting) else {
            return self.foreign("answer_to_nothing");
        };
        if let (Some(bound), true) = (&course.session, course.resumable) {
            // The client may not get it: its connection can end with this event.
            bound.session.park(key, known.again());
        }
        match self.settle(&known, data, Some(key)).await {
            Ok(Some(settled)) => Verdict::Rewritten(settled),
            Ok(None) => Verdict::Pass,
            Err(refusal) => Verdict::Refused(refusal),
        }
    }

    /// Progress and list changes pass, with the members that they are made of; what they say in words is text.
    /// Everything else is denied unless named.
    pub(super) fn judge_notification(
        &self,
        tree: &Tree<'_>,
        method: &str,
        known: Option<&Known>,
    ) -> Verdict {
        let (kept, words): (&[&str], &str) = match method {
            "notifications/tools/list_changed"
            | "notifications/resources/list_changed"
            | "notifications/prompts/list_changed" => (&[], ""),
            "notifications/progress" => (&["progressToken", "progress", "total"], "message"),
            "notifications/cancelled" => (&["requestId"], "reason"),
            _ => return self.foreign("notification"),
        };
        let permit = match known {
            Some(Known::Call(call)) => Some(&call.permit),
            Some(_) | None => None,
        };
        let text = permit.is_some_and(|permit| permit.text == TextView::Reveal);
        let unlisted =
            permit.is_some_and(|permit| permit.views.unlisted_results() == Unlisted::Reveal);
        if text && unlisted && !self.names_phi(tree) {
            return Verdict::Pass;
        }
        let words = if text { words } else { "" };
        strip(tree, kept, words)
    }

    /// A notification on the stream of a subscription.
    fn judge_change(&self, tree: &Tree<'_>, method: &str, listening: &Listening) -> Verdict {
        let id = self.request_id.as_deref().unwrap_or_default();
        match modern::cut(tree, method, listening, id) {
            None => self.foreign("notification"),
            Some(splice) if splice.is_empty() => Verdict::Pass,
            Some(splice) => Verdict::Rewritten(splice.apply()),
        }
    }

    /// Whether any member of a message has the name of a PHI field, or any text of it may hold such a member.
    pub(super) fn names_phi(&self, tree: &Tree<'_>) -> bool {
        tree.root().descendants().any(|value| {
            let policy = &self.live.policy;
            let phi = value.key().is_some_and(|name| {
                matches!(policy.classify(&name), FieldClass::Phi(_))
                    || policy.places().all().any(|place| place.may_end_at(&name))
            });
            phi || value.string().is_some_and(|text| may_be_json(&text))
        })
    }

    pub(super) fn foreign(&self, what: &'static str) -> Verdict {
        self.sidecar.limit_reached(what);
        log::warn!("an event of the MCP server was not released: {what}");
        Verdict::Drop
    }

    /// The upstream broke off: the client learns it as the answer to its request, the trail as the outcome.
    async fn broken(
        &mut self,
        downstream: &mut Downstream<'_>,
        course: &mut Course,
        error: UpstreamError,
    ) {
        let refusal = Refusal::Upstream(error);
        self.refused(&refusal);
        for (id, known) in self.unanswered_of(&mut course.batch, course.session.as_ref()) {
            let told = self.failed_as(&known, error, refusal.clone());
            let message = told.message(Some(&id), self.reference);
            let _ = downstream
                .write(Bytes::from(sse::message(&message)), false)
                .await;
        }
        let unanswered = course.known.take();
        if let Some(Known::Call(call)) = &unanswered {
            self.sidecar
                .recorder
                .upstream_failed(call, &self.live, error);
        }
        let Some(id) = self.request_id.clone().filter(|_| unanswered.is_some()) else {
            return;
        };
        if let (Some(bound), Some(key)) = (&course.session, &self.request_key) {
            let _ = bound.session.take(key);
        }
        let mut event = Vec::from(b"event: message\ndata: ");
        event.extend_from_slice(&refusal.message(Some(&id), self.reference));
        event.extend_from_slice(b"\n\n");
        // The stream ends here; a client that is gone does not need to know.
        let _ = downstream.write(Bytes::from(event), false).await;
    }
}

/// A message of the server's own with nothing in it but its envelope and the members of `params` that are kept, and
/// the one that holds words where those may be read and are no JSON.
pub(super) fn strip(tree: &Tree<'_>, kept: &[&str], words: &str) -> Verdict {
    let mut splice = Splice::new(tree);
    for member in tree.root().children() {
        let name = member.key().unwrap_or_default();
        if !["jsonrpc", "id", "method", "params"].contains(&name.as_ref()) {
            splice.remove(member);
        }
        if name != "params" {
            continue;
        }
        for parameter in member.children() {
            let name = parameter.key().unwrap_or_default();
            let readable =
                name == words && parameter.string().is_some_and(|text| !may_be_json(&text));
            let scalar = !matches!(parameter.kind(), Kind::Object | Kind::Array);
            if !(scalar && (readable || kept.contains(&name.as_ref()))) {
                splice.remove(parameter);
            }
        }
    }
    if splice.is_empty() {
        Verdict::Pass
    } else {
        Verdict::Rewritten(splice.apply())
    }
}

/// Whether a text could be read as a JSON object or array, by the strictest or the most lenient reader.
fn may_be_json(text: &str) -> bool {
    text.contains(['{', '['])
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

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(message: &str, kept: &[&str], words: &str) -> Option<String> {
        let tree = Tree::parse(message.as_bytes(), &LIMITS).unwrap();
        match strip(&tree, kept, words) {
            Verdict::Pass => None,
            Verdict::Rewritten(data) => Some(String::from_utf8(data).unwrap()),
            Verdict::Drop | Verdict::Refused(_) => panic!("neither passed nor rewritten"),
        }
    }

    const PROGRESS: &[&str] = &["progressToken", "progress", "total"];

    #[test]
    fn what_a_progress_notification_is_made_of_passes_untouched() {
        let plain = r#"{"jsonrpc": "2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1.0}}"#;
        assert_eq!(stripped(plain, PROGRESS, ""), None);
    }

    #[test]
    fn words_and_unknown_members_do_not_pass() {
        let wordy = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1,"message":"Jane Doe","ssn":"1","total":{"ssn":"1"}},"x":1}"#;
        let expected =
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}"#;
        assert_eq!(stripped(wordy, PROGRESS, "").unwrap(), expected);
    }

    #[test]
    fn words_that_may_be_read_pass_unless_they_hold_json() {
        let prose = r#"{"method":"notifications/progress","params":{"message":"half done"}}"#;
        assert_eq!(stripped(prose, PROGRESS, "message"), None);
        let json = r#"{"method":"notifications/progress","params":{"message":"{\"ssn\":1}"}}"#;
        let expected = r#"{"method":"notifications/progress","params":{}}"#;
        assert_eq!(stripped(json, PROGRESS, "message").unwrap(), expected);
    }
}
