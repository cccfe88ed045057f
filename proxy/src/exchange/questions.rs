//! What a server asks of the client (legacy revisions): sampling, elicitation, roots, ping; and what the client answers.
//!
//! A question is decided by its method's rule for the principal on whose stream it comes, shown by the views, and on
//! record before it leaves. The client's answer passes only to an open question of the same MCP session. A server that
//! asks what it may not is answered in the client's place, so that it does not wait for ever (decision 19).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method as Verb, header};
use safeguard_policy::Root;
use safeguard_policy::action::{Action, Listed};
use safeguard_policy::decide::{self, Permit};
use safeguard_wire::json::{Tree, Value};
use safeguard_wire::jsonrpc::Id;

use super::asked::{Call, method_name, named};
use super::post::{Outgoing, patient};
use super::stream::{Course, Verdict, strip};
use super::{Bound, Caller, Exchange, Known};
use crate::clock;
use crate::gate;
use crate::metrics::method_label;
use crate::paths::CallArguments;
use crate::refuse::Refusal;
use crate::rewrite::answer::{self, Method};
use crate::rewrite::request::{Stamp, locate};
use crate::rewrite::rounds::Round;
use crate::rewrite::shapes::Absence;
use crate::rewrite::told::{self, Told};
use crate::rewrite::{RewriteError, Touched, client};

/// What a server may ask where a rule permits it.
const QUESTIONS: [&str; 3] = ["sampling/createMessage", "elicitation/create", "roots/list"];
/// How long the server may take to hear that it is not answered.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(5);
/// What a server may say to that, in bytes; nobody reads it.
const ACKNOWLEDGEMENT_BYTES_MAX: usize = 16 * 1024;
/// JSON-RPC 2.0 §5.1, as a client without the capability answers.
const METHOD_NOT_FOUND: i32 = -32601;
/// JSON-RPC 2.0 §5.1: the client has answered, and it could not be passed on.
const INTERNAL_ERROR: i32 = -32603;

/// The name under which a session keeps the elicitation that a person was sent away for. No JSON-RPC id's key is alike.
pub(super) fn elicitation_key(id: &str) -> String {
    format!("elicitation {id}")
}

impl Exchange<'_> {
    /// Judges a request of the server's.
    pub(super) async fn question(
        &self,
        tree: &Tree<'_>,
        id: &Id<'_>,
        method: &str,
        course: &Course,
    ) -> Verdict {
        let Some(bound) = &course.session else {
            // Without a session there is no telling whose answer it would be.
            return self.foreign("server_request");
        };
        let key = id.key();
        if method == "ping" {
            return match bound.session.ask(&key, Known::ServerRequest) {
                Ok(()) => strip(tree, &[], ""),
                Err(_) => self.foreign("too_many_server_requests"),
            };
        }
        let asked = match self.asked_by_server(tree, id, method, course) {
            Some(call) => {
                let body = self.shown_to_client(&call, (tree, Told::Question)).await;
                body.map(|body| (call, body)).ok()
            }
            None => None,
        };
        let Some((call, body)) = asked else {
            self.answer_server(bound, id.raw(), METHOD_NOT_FOUND).await;
            return self.foreign("server_request");
        };
        if let Some(sent_away) = elicitation(tree) {
            let key = elicitation_key(&sent_away);
            // Without room for it the end of it is not told; the question itself can be answered.
            let _ = bound.session.ask(&key, Known::Plain);
        }
        if bound.session.ask(&key, Known::Call(call)).is_err() {
            self.answer_server(bound, id.raw(), METHOD_NOT_FOUND).await;
            return self.foreign("too_many_server_requests");
        }
        body.map_or(Verdict::Pass, Verdict::Rewritten)
    }

    /// The decision on a question; none where it is denied, which is an event.
    fn asked_by_server(
        &self,
        tree: &Tree<'_>,
        id: &Id<'_>,
        method: &str,
        course: &Course,
    ) -> Option<Arc<Call>> {
        let params = locate(tree, &["params"]).ok()?;
        let about = CallArguments::new(params);
        let action = Action::Method {
            name: method,
            params: &about,
        };
        let caller = &course.caller;
        let recorder = &self.sidecar.recorder;
        let name = QUESTIONS.into_iter().find(|known| *known == method);
        let (name, permit) = match (name, self.decided(caller, &action)) {
            (Some(name), Ok(permit)) => (name, permit),
            (None, Ok(_)) => return None,
            (_, Err(denial)) => {
                let label = method_label(method);
                recorder.denied(caller, &self.live, label, "", None, &denial);
                return None;
            }
        };
        let named = permit
            .patient
            .as_ref()
            .filter(|path| path.root == Root::Args);
        let patient = match named {
            Some(_) => patient(tree, Method::Other(name), &permit).ok()?,
            None => course.patient(),
        };
        Some(Arc::new(self.heard(
            caller,
            name,
            permit,
            patient,
            server_id(id),
        )))
    }

    /// What a server says by itself, as a call of its method for who hears it.
    pub(super) fn heard(
        &self,
        caller: &Arc<Caller>,
        name: &'static str,
        permit: Permit,
        patient: Option<String>,
        request_id: String,
    ) -> Call {
        let tool = super::post::rule_label(&permit.rule);
        Call {
            method: Method::Other(name),
            told: tool.clone(),
            tool,
            permit,
            patient,
            recipient: None,
            uri: None,
            caller: Arc::clone(caller),
            touched: Touched::default(),
            request_id,
            round: Round::new(caller.owner(), name, ""),
            judged_by: self.live.hash,
        }
    }

    /// Shows what a server says by itself by the views, and puts it on record. None where not a byte changed.
    pub(super) async fn shown_to_client(
        &self,
        call: &Call,
        (tree, told): (&Tree<'_>, Told),
    ) -> Result<Option<Vec<u8>>, Refusal> {
        if call.concerns_phi() && !self.sidecar.canary.sings() {
            return Err(Refusal::from(&RewriteError::Vault("canary")));
        }
        let key = self.patient_key(call.patient.as_deref()).await;
        let about = answer::Call {
            method: call.method,
            permit: &call.permit,
            holder: call.holder(key.key()),
            uri: None,
            absence: Absence::Anything,
            now_unix: clock::now_unix(),
        };
        let name = method_name(call.method);
        match told::told(tree, name, told, &about, &self.live.workshop) {
            Ok(rewritten) => self.release(call, rewritten).await,
            Err(error) => Err(self.withhold(call, &error).await),
        }
    }

    /// A client's answer may pass only to a question that the server really asked it, and obeys the views.
    pub(super) async fn answered(
        &self,
        caller: &Arc<Caller>,
        message: (&Bytes, &Tree<'_>),
        session: Option<&Bound>,
        id: &str,
    ) -> Result<Outgoing, Refusal> {
        let bound = session.ok_or(Refusal::Denied)?;
        let (name, patient) = match bound.session.answered(id) {
            Some(Known::ServerRequest) => ("ping", None),
            Some(Known::Call(asked)) => (method_name(asked.method), asked.patient.clone()),
            Some(_) | None => return Err(Refusal::Denied),
        };
        let answered = self.answer_to(caller, message, name, patient).await;
        if answered.is_err() {
            let id = locate(message.1, &["id"]).ok().flatten().map(Value::raw);
            let id = id.unwrap_or(b"null");
            self.answer_server(bound, id, INTERNAL_ERROR).await;
        }
        answered
    }

    async fn answer_to(
        &self,
        caller: &Arc<Caller>,
        (body, tree): (&Bytes, &Tree<'_>),
        name: &'static str,
        patient: Option<String>,
    ) -> Result<Outgoing, Refusal> {
        let permit = self.still_asked(caller, name).map_err(|denial| {
            let recorder = &self.sidecar.recorder;
            recorder.denied(caller, &self.live, name, "", None, &denial);
            Refusal::Denied
        })?;
        let mut call = self.heard(caller, name, permit, patient, String::new());
        let stamp = Stamp {
            created_by: caller.authenticated.subject(),
            now_micros: clock::now_micros(),
        };
        let workshop = &self.live.workshop;
        let rewritten = self
            .with_key(call.patient.as_deref(), |key| {
                self.keyed(&call.permit, || {
                    client::answer(tree, name, &call.permit, workshop, call.holder(key), stamp)
                })
            })
            .await;
        let rewritten = rewritten.map_err(|error| self.not_sent(&call, &error))?;
        call.touched = rewritten.touched;
        // What a person typed is on its way to somebody else's store: it waits for its record.
        self.on_record(&call, true).await?;
        self.sidecar.recorder.fields(&call.touched, "request");
        Ok(Outgoing {
            body: rewritten.body.map_or_else(|| body.clone(), Bytes::from),
            known: Known::Plain,
            repeatable: false,
        })
    }

    /// The question was decided when it was asked; the policy, or who may answer, can have changed since.
    pub(super) fn still_asked(
        &self,
        caller: &Caller,
        name: &'static str,
    ) -> Result<Permit, safeguard_policy::decide::Denial> {
        let principal = caller.principal();
        match name {
            "ping" => {
                let params = &serde_json::Value::Null;
                self.decided(caller, &Action::Method { name, params })
            }
            _ => decide::still(
                &self.live.policy,
                &principal,
                &Listed::Method(name),
                caller.now_unix,
            ),
        }
    }

    /// Answers the server in the client's place: an error, which says nothing but that.
    async fn answer_server(&self, bound: &Bound, id: &[u8], code: i32) {
        let mut headers = HeaderMap::new();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        let accepted = HeaderValue::from_static("application/json, text/event-stream");
        headers.insert(header::ACCEPT, accepted);
        // Of the older transport the session is in the path, and its id here is the sidecar's own.
        let path = self.sidecar.channels.path_of(&bound.id);
        let session = HeaderValue::from_str(&bound.id).ok();
        let session = session.filter(|_| path.is_none());
        put(&mut headers, &gate::SESSION_ID, session);
        put(&mut headers, &gate::PROTOCOL_VERSION, self.revision.clone());
        let mut body = Vec::from(br#"{"jsonrpc":"2.0","id":"#);
        body.extend_from_slice(id);
        let error = format!(r#","error":{{"code":{code},"message":"not available"}}}}"#);
        body.extend_from_slice(error.as_bytes());
        let telling = async {
            let upstream = &self.sidecar.upstream;
            let answer = match &path {
                Some(path) => {
                    let sent = upstream.send_to(path, &Verb::POST, &headers, Some(&body), false);
                    sent.await?.0
                }
                None => {
                    upstream
                        .send(&Verb::POST, &headers, Some(&body), false)
                        .await?
                }
            };
            answer.whole(ACKNOWLEDGEMENT_BYTES_MAX).await
        };
        let told = tokio::time::timeout(REFUSAL_DEADLINE, telling).await;
        if !matches!(told, Ok(Ok(_))) {
            self.sidecar.limit_reached("server_request_unanswered");
        }
    }
}

fn put(headers: &mut HeaderMap, name: &HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name.clone(), value);
    }
}

/// The elicitation that a person is sent to a URL for.
fn elicitation(tree: &Tree<'_>) -> Option<String> {
    let params = locate(tree, &["params"]).ok()?;
    named(params, "elicitationId").ok()
}

/// A server's id in an event: a number, or that it is a text, which may say anything.
fn server_id(id: &Id<'_>) -> String {
    match id.raw() {
        [b'"', ..] => "text".to_owned(),
        digits => String::from_utf8_lossy(digits).into_owned(),
    }
}
