//! The transport HTTP+SSE of 2024-11-05: a stream that the client opens first, and a path to post to, which the stream's
//! first event names. Answers to what is posted come on the stream.
//!
//! The server's own path and session id stay inside: the client is given a path of ours with an id of ours, bound to
//! its principal as every MCP session is. What is refused is told on the stream too, for there the client waits.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode};
use parking_lot::Mutex;
use pingora::protocols::http::ServerSession;
use safeguard_wire::json::Tree;
use safeguard_wire::jsonrpc::Message;
use safeguard_wire::sse::{self, Event};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::modern::Headers;
use super::post::Outgoing;
use super::stream::Course;
use super::{Bound, Caller, Exchange, Known};
use crate::downstream::Downstream;
use crate::era;
use crate::gate;
use crate::refuse::{Refusal, Reply};
use crate::rewrite::LIMITS;
use crate::session::mcp::{Owner, PendingError, is_session_id};
use crate::sidecar::Sidecar;
use crate::upstream::UpstreamError;

/// The member of our path's query that holds the session's id, as the SDKs call it.
const MEMBER: &str = "session_id=";
/// The longest path that a server may name, in bytes.
const PATH_BYTES_MAX: usize = 2048;
/// Refusals that wait to be told on one stream.
const WORDS_MAX: usize = 64;
/// How much of what a server says to a post is read away, in bytes; it means nothing.
const SAID_BYTES_MAX: usize = 64 * 1024;

/// Where one session posts to, and how its stream is told something.
#[derive(Debug, Clone)]
struct Post {
    path: PathAndQuery,
    words: mpsc::Sender<Bytes>,
}

/// The open channels, by our id of their session. No more than there are open streams.
#[derive(Debug, Default)]
pub struct Channels(Mutex<HashMap<String, Post>>);

impl Channels {
    fn find(&self, id: &str) -> Option<Post> {
        self.0.lock().get(id).cloned()
    }

    /// Where the server is posted to in a session of this transport.
    pub(super) fn path_of(&self, id: &str) -> Option<PathAndQuery> {
        self.find(id).map(|post| post.path)
    }
}

/// The stream's own end of a channel.
pub(super) struct Channel {
    bound: Bound,
    sender: mpsc::Sender<Bytes>,
    receiver: mpsc::Receiver<Bytes>,
    is_named: bool,
}

/// Ends a channel and its session when the stream ends, however it does.
struct Ending<'s> {
    sidecar: &'s Sidecar,
    id: String,
    owner: Owner,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.sidecar.channels.0.lock().remove(&self.id);
        let _ = self.sidecar.mcp_sessions.close(&self.id, self.owner);
    }
}

/// The server names no path of its own to post to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoEndpoint;

impl Channel {
    /// A channel of a new session of this caller's.
    fn open(sidecar: &Sidecar, caller: &Caller) -> Result<Self, Refusal> {
        let id = Uuid::new_v4().simple().to_string();
        let session = sidecar
            .mcp_sessions
            .open(&id, caller.owner())
            .map_err(|_| Refusal::Busy)?;
        let (sender, receiver) = mpsc::channel(WORDS_MAX);
        Ok(Self {
            bound: Bound { id, session },
            sender,
            receiver,
            is_named: false,
        })
    }

    /// Whether the client knows where to post.
    pub(super) fn is_named(&self) -> bool {
        self.is_named
    }

    /// Takes the event that names where to post; what the client is told in its place. None for a comment.
    ///
    /// # Errors
    /// When another event comes first, or it names no path of the server's own.
    pub(super) fn name(
        &mut self,
        event: &Event,
        sidecar: &Sidecar,
        path: &str,
    ) -> Result<Option<Bytes>, NoEndpoint> {
        let Some(data) = event.data() else {
            return Ok(None);
        };
        let own = std::str::from_utf8(&data)
            .ok()
            .filter(|named| event.name() == Some(b"endpoint") && named.len() <= PATH_BYTES_MAX)
            .and_then(|named| sidecar.upstream.own_path(named.trim()));
        let path_up = own.ok_or(NoEndpoint)?;
        let words = self.sender.clone();
        let post = Post {
            path: path_up,
            words,
        };
        let id = &self.bound.id;
        // Before the client learns of it: its first message may be here at once.
        sidecar.channels.0.lock().insert(id.clone(), post);
        self.is_named = true;
        let path = if path.is_empty() { "/" } else { path };
        let told = format!("event: endpoint\ndata: {path}?{MEMBER}{id}\n\n");
        Ok(Some(Bytes::from(told)))
    }

    /// How many posted requests are still unanswered.
    pub(super) fn pending(&self) -> usize {
        self.bound.session.pending()
    }

    /// What was posted and is still unanswered, once.
    pub(super) fn unanswered(&self) -> Vec<Known> {
        self.bound.session.drain()
    }
}

/// The next thing that a stream is told to say; without a channel, never anything.
pub(super) async fn said(channel: &mut Option<Channel>) -> Bytes {
    match channel {
        // The channel holds a sender itself, so that there is always one.
        Some(channel) => match channel.receiver.recv().await {
            Some(words) => words,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// The id in an answer, as the server wrote it.
pub(super) fn answered(event: &Event) -> Option<Vec<u8>> {
    let data = event.data()?;
    let tree = Tree::parse(&data, &LIMITS).ok()?;
    match Message::parse(tree.root()) {
        Ok(Message::Response { id, .. }) => Some(id.raw().to_vec()),
        Ok(Message::Request { .. } | Message::Notification { .. }) | Err(_) => None,
    }
}

impl Exchange<'_> {
    /// `GET`: opens the stream, and with it a session.
    pub(super) async fn channel(&mut self, http: &mut ServerSession) -> Result<(), Refusal> {
        let headers = &http.req_header().headers;
        self.revision = headers.get(&gate::PROTOCOL_VERSION).cloned();
        let caller = self.caller(headers).await?;
        if era::claim(headers, self.spoken())? != era::Claim::Legacy {
            return Err(Refusal::MethodNotAllowed);
        }
        let up = without_session(headers);
        let upstream = &self.sidecar.upstream;
        let answer = upstream.send(&Method::GET, &up, None, true).await?;
        let is_stream = answer.status() == StatusCode::OK
            && answer.media_type() == "text/event-stream"
            && !answer.is_encoded();
        if !is_stream {
            return self.pass_status(http, answer).await;
        }
        let channel = Channel::open(self.sidecar, &caller)?;
        let _ending = Ending {
            sidecar: self.sidecar,
            id: channel.bound.id.clone(),
            owner: caller.owner(),
        };
        let mut course = Course::new(&caller, Some(channel.bound.clone()), None);
        course.channel = Some(channel);
        self.stream_of(http, &caller, answer, course).await
    }

    /// `POST`: one message to the path that a stream named.
    pub(super) async fn posted(&mut self, http: &mut ServerSession) -> Result<(), Refusal> {
        let request = http.req_header();
        let headers = &request.headers;
        self.revision = headers.get(&gate::PROTOCOL_VERSION).cloned();
        let caller = self.caller(headers).await?;
        gate::media_type(headers)?;
        let claim = match era::claim(headers, self.spoken()) {
            Err(Refusal::Revision) => None,
            claim => Some(claim?),
        };
        // Clients of newer transports try the endpoint itself first, and open the stream when they are told this.
        let id = session_of(request.uri.query()).ok_or(Refusal::MethodNotAllowed)?;
        let session = self.sidecar.mcp_sessions.find(&id, caller.owner());
        let session = session.map_err(|_| Refusal::UnknownSession)?;
        let post = self.sidecar.channels.find(&id);
        let post = post.ok_or(Refusal::UnknownSession)?;
        let bound = Bound { id, session };
        let up = claim.map(|claim| Headers::new(claim, headers, without_session(headers)));
        let limits = self.sidecar.limits;
        let body = Downstream::new(http)
            .body(limits.body_bytes_max, limits.body)
            .await?;
        let sent = match up {
            Some(up) => self.judge_posted(&caller, body, (&post, &bound), up).await,
            None => Err(self.probed(&body)),
        };
        if let Err(refusal) = sent {
            self.tell(&post, refusal)?;
        }
        let reply = Reply {
            status: StatusCode::ACCEPTED,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        Downstream::new(http).reply(reply).await
    }

    async fn judge_posted(
        &mut self,
        caller: &Arc<Caller>,
        body: Bytes,
        (post, bound): (&Post, &Bound),
        mut up: Headers,
    ) -> Result<(), Refusal> {
        let body = self.capable(caller, &up.claim, &body)?.unwrap_or(body);
        match self.judge(caller, body, Some(bound), &mut up).await {
            Ok(Outgoing {
                known: Known::Answered(answer),
                ..
            }) => self.say(post, &answer),
            Ok(outgoing) => self.hand_over(post, bound, &up.up, outgoing).await,
            // Of its body alone it is of a revision that is not spoken here.
            Err(Refusal::Revision) => Err(Refusal::NoSuchMethod),
            Err(refusal) => Err(refusal),
        }
    }

    /// What a client is told that asks by a revision which is not spoken here: over this transport, where an HTTP error
    /// ends the connection, the answer of a server that does not know the method. From that it falls back.
    fn probed(&mut self, body: &[u8]) -> Refusal {
        let Ok(tree) = Tree::parse(body, &LIMITS) else {
            return Refusal::Parse;
        };
        if let Ok(Message::Request { id, .. }) = Message::parse(tree.root()) {
            self.request_id = Some(id.raw().to_vec());
            return Refusal::NoSuchMethod;
        }
        Refusal::Revision
    }

    /// Sends what was permitted; its answer is awaited on the stream.
    async fn hand_over(
        &mut self,
        post: &Post,
        bound: &Bound,
        headers: &HeaderMap,
        outgoing: Outgoing,
    ) -> Result<(), Refusal> {
        let Outgoing {
            body,
            known,
            repeatable,
        } = outgoing;
        let key = self.request_key.clone();
        if let Some(key) = &key {
            let noted = bound.session.begin(key, known.clone());
            noted.map_err(|error| match error {
                PendingError::Duplicate => {
                    Refusal::InvalidRequest("a request with this id is still under way")
                }
                PendingError::Full => Refusal::Busy,
            })?;
        }
        let upstream = &self.sidecar.upstream;
        let sent = upstream
            .send_to(&post.path, &Method::POST, headers, Some(&body), repeatable)
            .await;
        let refusal = match sent {
            Ok((answer, _)) if answer.status().is_success() => {
                // What the server says to a post means nothing; it is read only to give the connection back.
                let _ = answer.whole(SAID_BYTES_MAX).await;
                return Ok(());
            }
            Ok((answer, _)) if answer.status() == StatusCode::NOT_FOUND => {
                self.failed_as(&known, UpstreamError::Invalid, Refusal::UnknownSession)
            }
            Ok((answer, _)) if answer.status().is_client_error() => {
                let refusal = Refusal::UpstreamRefused(answer.status());
                self.failed_as(&known, UpstreamError::Invalid, refusal)
            }
            Ok(_) => self.failed_as(
                &known,
                UpstreamError::Invalid,
                Refusal::Upstream(UpstreamError::Invalid),
            ),
            Err(error) => self.failed_as(&known, error, Refusal::Upstream(error)),
        };
        if let Some(key) = &key {
            let _ = bound.session.take(key);
        }
        Err(refusal)
    }

    /// Says what the sidecar itself answers where the client waits for it.
    fn say(&self, post: &Post, message: &[u8]) -> Result<(), Refusal> {
        let said = post.words.try_send(Bytes::from(sse::message(message)));
        said.map_err(|_| {
            self.sidecar.limit_reached("refusals_waiting");
            Refusal::Busy
        })
    }

    /// Tells a refusal where the client waits for it; what has no place there is HTTP's answer.
    fn tell(&mut self, post: &Post, refusal: Refusal) -> Result<(), Refusal> {
        let Some(id) = self.request_id.as_deref().filter(|_| refusal.is_answer()) else {
            return Err(refusal);
        };
        let message = refusal.message(Some(id), self.reference);
        let told = post.words.try_send(Bytes::from(sse::message(&message)));
        if told.is_err() {
            self.sidecar.limit_reached("refusals_waiting");
            return Err(Refusal::Busy);
        }
        self.refused(&refusal);
        Ok(())
    }
}

/// What goes up, without a session of Streamable HTTP, which this transport does not have.
fn without_session(headers: &HeaderMap) -> HeaderMap {
    let mut up = gate::forwarded(headers);
    up.remove(&gate::SESSION_ID);
    up.remove(&gate::LAST_EVENT_ID);
    up
}

fn session_of(query: Option<&str>) -> Option<String> {
    let mut members = query?.split('&');
    let id = members.find_map(|member| member.strip_prefix(MEMBER))?;
    is_session_id(id).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_of_a_post_stands_in_its_query() {
        assert_eq!(session_of(Some("session_id=ab")).as_deref(), Some("ab"));
        assert_eq!(session_of(Some("x=1&session_id=ab")).as_deref(), Some("ab"));
        for none in [None, Some(""), Some("session_id="), Some("session=ab")] {
            assert_eq!(session_of(none), None, "{none:?}");
        }
    }
}
