//! JSON-RPC batches, of 2025-03-26 alone and where the configuration lets them through: each element is read, decided,
//! rewritten, recorded and settled by itself, and only what is permitted goes up.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use pingora::protocols::http::ServerSession;
use safeguard_wire::json::{Kind, Tree, Value};
use safeguard_wire::jsonrpc::Message;

use super::modern::Headers;
use super::post::Outgoing;
use super::send::put_session;
use super::stream::{Course, Verdict};
use super::{Bound, Caller, Exchange, Known};
use crate::downstream::Downstream;
use crate::era::Claim;
use crate::gate;
use crate::refuse::{Refusal, Reply};
use crate::rewrite::LIMITS;
use crate::session::mcp::PendingError;
use crate::upstream::{Answer, UpstreamError};

/// The only revision of Streamable HTTP that has batches; a request that names none is of it.
const REVISION: &str = "2025-03-26";
/// Elements of one batch.
const ELEMENTS_MAX: usize = 64;

/// A request of a batch that went up.
#[derive(Debug)]
struct Waiting {
    /// Its id as the client wrote it.
    id: Vec<u8>,
    known: Known,
}

/// What is left of a batch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Requests whose answers are awaited, by the key of their id.
    waiting: HashMap<String, Waiting>,
    /// What answers those that did not go up.
    refused: Vec<Vec<u8>>,
}

impl Batch {
    /// Takes what is known of a request whose answer came.
    pub(super) fn take(&mut self, key: &str) -> Option<Known> {
        self.waiting.remove(key).map(|waiting| waiting.known)
    }

    /// The messages that answer what did not go up, once.
    pub(super) fn refused(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.refused)
    }

    /// Keeps what is unanswered for a client that resumes the stream.
    pub(super) fn park(&mut self, bound: &Bound) {
        for (key, _) in self.waiting.drain() {
            if let Some(known) = bound.session.take(&key) {
                bound.session.park(&key, known);
            }
        }
    }

    /// Whether nothing is awaited.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// All that is unanswered, with the ids, once.
    pub(super) fn unanswered(&mut self) -> Vec<(Vec<u8>, Known)> {
        let waiting = self.waiting.drain();
        waiting.map(|(_, one)| (one.id, one.known)).collect()
    }
}

/// Whether a body is an array. White space before it is JSON's.
pub(super) fn is_batch(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'[')
}

impl Exchange<'_> {
    /// Answers a batch.
    ///
    /// # Errors
    /// 400 where batches are not let through; whatever refuses all of it.
    pub(super) async fn batch(
        &mut self,
        http: &mut ServerSession,
        caller: &Arc<Caller>,
        body: Bytes,
        session: Option<Bound>,
        mut headers: Headers,
    ) -> Result<(), Refusal> {
        self.named("batch");
        let of_revision = headers.up.get(&gate::PROTOCOL_VERSION);
        let of_revision = of_revision.is_none_or(|named| named.as_bytes() == REVISION.as_bytes());
        let spoken = headers.claim == Claim::Legacy && self.spoken().has(REVISION);
        if !(self.sidecar.upstream.takes_batches() && of_revision && spoken) {
            return Err(Refusal::InvalidRequest(
                "batches are not part of this revision: send one message",
            ));
        }
        let elements = self.elements(&body)?;
        let mut batch = Batch::default();
        let judged = self
            .judge_each(caller, elements, session.as_ref(), &mut headers, &mut batch)
            .await;
        let (up, repeatable) = match judged {
            Ok(judged) => judged,
            Err(refusal) => {
                self.give_up(&mut batch, session.as_ref(), "batch_refused");
                return Err(refusal);
            }
        };
        (self.request_id, self.request_key) = (None, None);
        if up.is_empty() {
            return reply(http, batch.refused(), None).await;
        }
        let upstream = &self.sidecar.upstream;
        let sent = upstream
            .send(&Method::POST, &headers.up, Some(&array(&up)), repeatable)
            .await;
        let answer = match sent {
            Ok(answer) => answer,
            Err(error) => return Err(self.lost(&mut batch, session.as_ref(), error)),
        };
        self.batch_answer(http, caller, answer, session, batch)
            .await
    }

    /// The elements of a batch, each as it stands in the body.
    fn elements(&self, body: &Bytes) -> Result<Vec<Bytes>, Refusal> {
        let tree = Tree::parse(body, &LIMITS).map_err(|_| Refusal::Parse)?;
        let elements: Vec<Bytes> = tree
            .root()
            .children()
            .take(ELEMENTS_MAX + 1)
            .map(|element| body.slice(element.span()))
            .collect();
        match elements.len() {
            0 => Err(Refusal::InvalidRequest("the batch is empty")),
            1..=ELEMENTS_MAX => Ok(elements),
            _ => {
                self.sidecar.limit_reached("batch_elements");
                Err(Refusal::InvalidRequest(
                    "the batch has more than 64 elements",
                ))
            }
        }
    }

    /// Judges each element by itself. Gives what goes up, and whether sending it twice changes nothing.
    async fn judge_each(
        &mut self,
        caller: &Arc<Caller>,
        elements: Vec<Bytes>,
        session: Option<&Bound>,
        headers: &mut Headers,
        batch: &mut Batch,
    ) -> Result<(Vec<Bytes>, bool), Refusal> {
        let (mut up, mut all_repeatable) = (Vec::new(), true);
        for element in elements {
            (self.request_id, self.request_key) = (None, None);
            let judged = self.judge(caller, element, session, headers).await;
            let judged = judged.and_then(|outgoing| match outgoing.known {
                Known::Initialize(_) => Err(Refusal::InvalidRequest(
                    "initialize is never part of a batch",
                )),
                _ => Ok(outgoing),
            });
            match judged {
                Ok(Outgoing {
                    known: Known::Answered(answer),
                    ..
                }) => batch.refused.push(answer.to_vec()),
                Ok(Outgoing {
                    body,
                    known,
                    repeatable,
                }) => {
                    all_repeatable &= repeatable;
                    self.await_answer(known, session, batch)?;
                    up.push(body);
                }
                // A challenge, or a trail that can't be written, is about all of them.
                Err(refusal) if !refusal.is_answer() || refusal == Refusal::Audit => {
                    return Err(refusal);
                }
                Err(refusal) => {
                    self.refused(&refusal);
                    // What is no request is answered only if it is no message at all (JSON-RPC 2.0 §6).
                    let malformed = matches!(refusal, Refusal::InvalidRequest(_));
                    if self.request_id.is_some() || malformed {
                        let id = self.request_id.as_deref();
                        batch.refused.push(refusal.message(id, self.reference));
                    }
                }
            }
        }
        Ok((up, all_repeatable))
    }

    fn await_answer(
        &self,
        known: Known,
        session: Option<&Bound>,
        batch: &mut Batch,
    ) -> Result<(), Refusal> {
        let (Some(id), Some(key)) = (&self.request_id, &self.request_key) else {
            return Ok(());
        };
        let twice = Refusal::InvalidRequest("a request with this id is still under way");
        let noted = match session {
            Some(bound) => bound.session.begin(key, known.clone()),
            None => Ok(()),
        };
        let waiting = Waiting {
            id: id.clone(),
            known,
        };
        let before = match noted {
            Ok(()) => batch.waiting.insert(key.clone(), waiting),
            // It is recorded with the others, which are given up: none of them goes up.
            Err(error) => {
                batch.waiting.insert(format!("refused:{key}"), waiting);
                return Err(match error {
                    PendingError::Duplicate => twice,
                    PendingError::Full => Refusal::Busy,
                });
            }
        };
        match before {
            None => Ok(()),
            Some(before) => {
                batch.waiting.insert(format!("refused:{key}"), before);
                Err(twice)
            }
        }
    }

    async fn batch_answer(
        &mut self,
        http: &mut ServerSession,
        caller: &Arc<Caller>,
        answer: Answer<'_>,
        session: Option<Bound>,
        mut batch: Batch,
    ) -> Result<(), Refusal> {
        let status = answer.status();
        if answer.is_encoded() {
            return Err(self.lost(&mut batch, session.as_ref(), UpstreamError::Invalid));
        }
        match (status, answer.media_type().as_str()) {
            (StatusCode::OK, "text/event-stream") => {
                let mut course = Course::new(caller, session, None);
                course.batch = batch;
                self.stream_of(http, caller, answer, course).await
            }
            (StatusCode::OK, "application/json") => {
                let text = match answer.whole(self.sidecar.limits.answer_bytes_max).await {
                    Ok(text) => text,
                    Err(error) => return Err(self.lost(&mut batch, session.as_ref(), error)),
                };
                let answers = self.settle_all(&text, session.as_ref(), &mut batch).await;
                reply(http, answers, session.as_ref()).await
            }
            (StatusCode::ACCEPTED | StatusCode::NO_CONTENT, _) if batch.waiting.is_empty() => {
                reply(http, batch.refused(), None).await
            }
            (StatusCode::NOT_FOUND, _) if session.is_some() => {
                let _ = self.lost(&mut batch, session.as_ref(), UpstreamError::Invalid);
                Err(Refusal::UnknownSession)
            }
            _ => Err(self.lost(&mut batch, session.as_ref(), UpstreamError::Invalid)),
        }
    }

    /// Settles every answer of a whole body; what is left without one is answered as the upstream's failure.
    async fn settle_all(
        &mut self,
        text: &[u8],
        session: Option<&Bound>,
        batch: &mut Batch,
    ) -> Vec<Vec<u8>> {
        let mut answers = batch.refused();
        for (key, id, answer) in answers_of(text) {
            let Some(known) = batch.take(&key) else {
                self.sidecar.limit_reached("answer_to_nothing");
                continue;
            };
            let _ = session.and_then(|bound| bound.session.take(&key));
            answers.push(match self.settle(&known, &answer, Some(&key)).await {
                Ok(settled) => settled.unwrap_or(answer),
                Err(refusal) => {
                    self.refused(&refusal);
                    refusal.message(Some(&id), self.reference)
                }
            });
        }
        let error = UpstreamError::Invalid;
        for (id, known) in self.unanswered_of(batch, session) {
            let refusal = self.failed_as(&known, error, Refusal::Upstream(error));
            self.refused(&refusal);
            answers.push(refusal.message(Some(&id), self.reference));
        }
        answers
    }

    /// An event that holds several answers at once, as this revision lets a server write them.
    pub(super) async fn judge_answers(&self, data: &[u8], course: &mut Course) -> Verdict {
        let mut settled = Vec::new();
        for (key, id, answer) in answers_of(data) {
            settled.push(match self.judge_answer(&answer, &key, course).await {
                Verdict::Pass => answer,
                Verdict::Rewritten(answer) => answer,
                Verdict::Refused(refusal) => refusal.message(Some(&id), self.reference),
                Verdict::Drop => continue,
            });
        }
        match settled.is_empty() {
            true => self.foreign("not_json_rpc"),
            false => Verdict::Rewritten(array(&settled).to_vec()),
        }
    }

    /// The upstream failed all of it.
    fn lost(
        &mut self,
        batch: &mut Batch,
        session: Option<&Bound>,
        error: UpstreamError,
    ) -> Refusal {
        for (_, known) in self.unanswered_of(batch, session) {
            let _ = self.failed_as(&known, error, Refusal::Upstream(error));
        }
        Refusal::Upstream(error)
    }

    /// Nothing of it went up, or nobody waits any more: the trail says so of each call that was permitted.
    pub(super) fn give_up(&self, batch: &mut Batch, session: Option<&Bound>, reason: &'static str) {
        for (_, known) in self.unanswered_of(batch, session) {
            if let Known::Call(call) = known {
                let recorder = &self.sidecar.recorder;
                recorder.not_released(&call, &self.live, reason);
            }
        }
    }

    /// Takes all that is unanswered out of the batch and out of the session.
    pub(super) fn unanswered_of(
        &self,
        batch: &mut Batch,
        session: Option<&Bound>,
    ) -> Vec<(Vec<u8>, Known)> {
        if let Some(bound) = session {
            for key in batch.waiting.keys() {
                let _ = bound.session.take(key);
            }
        }
        batch.unanswered()
    }
}

/// The answers in a body, an array or a single one: the key of each id, the id, and the answer.
pub(super) fn answers_of(text: &[u8]) -> Vec<(String, Vec<u8>, Vec<u8>)> {
    let Ok(tree) = Tree::parse(text, &LIMITS) else {
        return Vec::new();
    };
    let root = tree.root();
    let answer = |value: Value<'_>| match Message::parse(value) {
        Ok(Message::Response { id, .. }) => {
            Some((id.key(), id.raw().to_vec(), value.raw().to_vec()))
        }
        Ok(Message::Request { .. } | Message::Notification { .. }) | Err(_) => None,
    };
    if root.kind() == Kind::Array {
        root.children().filter_map(answer).collect()
    } else {
        answer(root).into_iter().collect()
    }
}

/// Messages as one array.
pub(super) fn array<M: AsRef<[u8]>>(messages: &[M]) -> Bytes {
    let mut body = BytesMut::new();
    body.extend_from_slice(b"[");
    for (position, message) in messages.iter().enumerate() {
        body.extend_from_slice(if position == 0 { b"" } else { b"," });
        body.extend_from_slice(message.as_ref());
    }
    body.extend_from_slice(b"]");
    body.freeze()
}

async fn reply(
    http: &mut ServerSession,
    answers: Vec<Vec<u8>>,
    session: Option<&Bound>,
) -> Result<(), Refusal> {
    let mut headers = HeaderMap::new();
    put_session(&mut headers, session);
    let (status, body) = if answers.is_empty() {
        (StatusCode::ACCEPTED, Bytes::new())
    } else {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        (StatusCode::OK, array(&answers))
    };
    Downstream::new(http)
        .reply(Reply {
            status,
            headers,
            body,
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_a_batch_whatever_stands_before_it() {
        assert!(is_batch(b"[{}]") && is_batch(b" \r\n\t["));
        assert!(!is_batch(b"{}") && !is_batch(b"") && !is_batch(b" 1"));
    }

    #[test]
    fn answers_are_told_apart_and_what_is_none_is_left_out() {
        let text = br#"[{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0","id":"1","result":{}},{"jsonrpc":"2.0","method":"x"},7]"#;
        let keys: Vec<String> = answers_of(text)
            .into_iter()
            .map(|(key, _, _)| key)
            .collect();
        assert_eq!(keys.len(), 2);
        assert_ne!(keys[0], keys[1], "1 and \"1\" differ");
        assert!(answers_of(b"not json").is_empty());
    }

    #[test]
    fn messages_become_an_array() {
        assert_eq!(array(&[b"{}".to_vec(), b"1".to_vec()]), "[{},1]");
        assert_eq!(array::<Vec<u8>>(&[]), "[]");
    }
}
