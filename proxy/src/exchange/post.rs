//! `POST`: one JSON-RPC message from the client, read, judged and rewritten; `send` does the rest.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use pingora::protocols::http::ServerSession;
use safeguard_policy::action::Action;
use safeguard_policy::decide::{self, Decision, Denial, Permit};
use safeguard_policy::policy::{Operation, PURPOSE_MEMBER, Rule};
use safeguard_policy::{Policy, Root};
use safeguard_wire::json::{Tree, Value};
use safeguard_wire::jsonrpc::{InvalidMessage, Message};

use super::asked::{Call, arguments_of, method_name};
use super::batch::is_batch;
use super::factor::cured_here;
use super::methods::{SUBSCRIBE, UNSUBSCRIBE};
use super::modern::Headers;
use super::{Asked, Bound, Caller, Exchange, Known};
use crate::authn::StepUp;
use crate::clock;
use crate::downstream::Downstream;
use crate::era::{self, Claim, Era};
use crate::events::Refused;
use crate::gate;
use crate::live::KEY_AWAITED;
use crate::paths::CallArguments;
use crate::refuse::{Refusal, Reply};
use crate::rewrite::answer::{Method, name_in_arguments};
use crate::rewrite::request::{self, RewrittenRequest, Stamp};
use crate::rewrite::rounds::Round;
use crate::rewrite::{HeldKey, LIMITS, RewriteError, Touched, Workshop, client};

/// The longest name of who receives an export, in bytes.
const RECIPIENT_BYTES_MAX: usize = 256;

/// What goes up, and what its answer will be settled by.
pub(super) struct Outgoing {
    pub(super) body: Bytes,
    pub(super) known: Known,
    /// Whether sending it twice changes nothing.
    pub(super) repeatable: bool,
}

impl Exchange<'_> {
    /// Answers one POST.
    ///
    /// # Errors
    /// Whatever refuses the caller, the message or the upstream; nothing refused reaches the upstream.
    pub async fn post(&mut self, http: &mut ServerSession) -> Result<(), Refusal> {
        if self.sidecar.upstream.is_legacy() {
            return self.posted(http).await;
        }
        let headers = &http.req_header().headers;
        self.revision = headers.get(&gate::PROTOCOL_VERSION).cloned();
        let caller = match self.caller(headers).await {
            Err(Refusal::SecondFactor(way)) => return Err(self.shown_the_way(http, way).await),
            judged => judged?,
        };
        gate::media_type(headers)?;
        let claim = era::claim(headers, self.spoken())?;
        // The modern revision has no sessions: an id that comes all the same is nobody's.
        let session = match claim {
            Claim::Legacy => self.mcp_session(headers, &caller)?,
            Claim::Modern | Claim::Unspoken(_) => None,
        };
        let mut up = Headers::new(claim, headers, gate::forwarded(headers));
        let limits = self.sidecar.limits;
        let body = Downstream::new(http)
            .body(limits.body_bytes_max, limits.body)
            .await?;
        let body = self.without_own_answer(body);
        self.note_pages(session.as_ref(), &up.claim, &body);
        if is_batch(&body) {
            return self.batch(http, &caller, body, session, up).await;
        }
        let outgoing = self.judge(&caller, body, session.as_ref(), &mut up).await?;
        if let Known::Answered(answer) = outgoing.known {
            return reply(http, answer).await;
        }
        self.send(http, &up.up, &caller, outgoing, session).await
    }

    /// Reads the message and decides it.
    pub(super) async fn judge(
        &mut self,
        caller: &Arc<Caller>,
        body: Bytes,
        session: Option<&Bound>,
        headers: &mut Headers,
    ) -> Result<Outgoing, Refusal> {
        let trimmed = match session {
            None => self.capable(caller, &headers.claim, &body)?,
            Some(_) => None,
        };
        let body = trimmed.unwrap_or(body);
        let tree = Tree::parse(&body, &LIMITS).map_err(|_| Refusal::Parse)?;
        let message = Message::parse(tree.root()).map_err(|error| invalid(&error))?;
        self.named(method_of(&message));
        let key = match &message {
            Message::Request { id, .. } => {
                self.request_id = Some(id.raw().to_vec());
                self.request_key = Some(id.key());
                Some(String::from_utf8_lossy(id.raw()).into_owned())
            }
            Message::Notification { .. } | Message::Response { .. } => None,
        };
        self.settle_era(headers, &message)?;
        let asked = Asked::of(&message)?;
        self.in_era(caller, &message)?;
        let said = match asked {
            Asked::Call(..)
            | Asked::Method(_)
            | Asked::Response(_)
            | Asked::Other(_)
            | Asked::ForeignNotification(_) => body.clone(),
            _ => {
                let said = self.said(caller, (&body, &tree), &message).await?;
                self.mirror(headers, &said)
                    .map_err(|error| Refusal::from(&error))?;
                said
            }
        };
        let plain = |known, repeatable| Outgoing {
            body: said.clone(),
            known,
            repeatable,
        };
        match asked {
            Asked::Initialize => Ok(plain(Known::Initialize(Arc::clone(caller)), false)),
            Asked::Discover => Ok(plain(Known::Discover(Arc::clone(caller)), true)),
            Asked::Listen => {
                let listening = self.listen(caller, params_of(&message))?;
                Ok(plain(Known::Listen(Arc::new(listening)), true))
            }
            Asked::Ping => Ok(plain(Known::Plain, true)),
            Asked::List(list) => Ok(plain(Known::List(list, Arc::clone(caller)), true)),
            Asked::Notification => Ok(plain(Known::Plain, false)),
            Asked::Response(id) => self.answered(caller, (&body, &tree), session, &id).await,
            Asked::Method(name) => {
                let key = key.unwrap_or_default();
                self.method(caller, (&body, &tree), name, key, headers)
                    .await
            }
            Asked::Call(Method::Tool, name) if self.is_own(&name) => {
                let key = key.unwrap_or_default();
                self.own_tool(caller, &tree, &name, &key).await
            }
            Asked::Call(method, name) => {
                let key = key.unwrap_or_default();
                self.call(caller, (&body, &tree), method, name, key, headers)
                    .await
            }
            Asked::Other(method) => Err(self.other(caller, &method)),
            Asked::ForeignNotification(method) => Err(self.other(caller, &method)),
        }
    }

    /// A method that the request's revision does not have is answered as such, whatever the policy says of it.
    fn in_era(&mut self, caller: &Arc<Caller>, message: &Message<'_>) -> Result<(), Refusal> {
        match message {
            Message::Request { method, .. } if self.era == Era::Modern && !era::exists(method) => {
                let _ = self.other(caller, method);
                Err(Refusal::NoSuchMethod)
            }
            _ => Ok(()),
        }
    }

    fn other(&mut self, caller: &Arc<Caller>, method: &str) -> Refusal {
        let decision = decide::decide(
            &self.live.policy,
            &caller.principal(),
            &Action::Method {
                name: method,
                params: &serde_json::Value::Null,
            },
            caller.now_unix,
        );
        let denial = match decision {
            Decision::Denial(denial) => denial,
            // No rule of this slice permits another method; a permit without its rules is no permit.
            Decision::Permit(_) => return Refusal::Denied,
        };
        self.deny(
            caller,
            crate::metrics::method_label(method),
            "",
            None,
            &denial,
        )
    }

    async fn call(
        &mut self,
        caller: &Arc<Caller>,
        (body, tree): (&Bytes, &Tree<'_>),
        method: Method,
        name: String,
        key: String,
        headers: &mut Headers,
    ) -> Result<Outgoing, Refusal> {
        let permit = match self.decide(caller, tree, method, &name) {
            Ok(permit) => permit,
            Err(denial) => {
                return Err(self.deny(caller, method_name(method), &name, Some(&key), &denial));
            }
        };
        let patient = patient(tree, method, &permit).map_err(|error| Refusal::from(&error))?;
        let recipient = recipient(tree, method, &permit).map_err(|error| Refusal::from(&error))?;
        let listed = rule_label(&permit.rule);
        let (tool, told) = match method {
            Method::Tool if self.sidecar.shapes.knows(&name) => (name.clone(), name.clone()),
            Method::Tool => (name.clone(), listed),
            _ => (listed.clone(), listed),
        };
        let call = Call {
            method,
            tool,
            told,
            permit,
            patient,
            recipient,
            round: Round::new(caller.owner(), method_name(method), &name),
            judged_by: self.live.hash,
            uri: (method == Method::Resource).then_some(name),
            caller: Arc::clone(caller),
            touched: Touched::default(),
            request_id: key,
        };
        self.go_up(call, (body, tree), headers).await
    }

    /// Rewrites a permitted request and puts it on record.
    pub(super) async fn go_up(
        &mut self,
        mut call: Call,
        (body, tree): (&Bytes, &Tree<'_>),
        headers: &mut Headers,
    ) -> Result<Outgoing, Refusal> {
        self.tool = rule_label(&call.permit.rule);
        let stamp = Stamp {
            created_by: call.caller.authenticated.subject(),
            now_micros: clock::now_micros(),
        };
        let rewritten = self
            .with_key(call.patient.as_deref(), |key| {
                self.keyed(&call.permit, || {
                    rewrite(tree, &call, &self.live.workshop, key, stamp)
                })
            })
            .await;
        let rewritten = rewritten.and_then(|rewritten| {
            let body = rewritten.body.map_or_else(|| body.clone(), Bytes::from);
            self.mirror(headers, &body)?;
            Ok((body, rewritten.touched))
        });
        let (body, touched) = match rewritten {
            Ok(rewritten) => rewritten,
            Err(error) => return Err(self.not_sent(&call, &error)),
        };
        call.touched = touched;
        self.on_record(&call, call.permit.operation.writes())
            .await?;
        let repeatable = matches!(
            call.permit.operation,
            Operation::None | Operation::Search | Operation::Read
        );
        Ok(Outgoing {
            body,
            known: Known::Call(Arc::new(call)),
            repeatable,
        })
    }

    /// What was permitted can't be sent as it is: an event, and the client's refusal.
    pub(super) fn not_sent(&self, call: &Call, error: &RewriteError) -> Refusal {
        let about = Refused {
            method: method_name(call.method),
            tool: call.told.clone(),
            permit: &call.permit,
            request_id: &call.request_id,
            patient: call.patient.as_deref(),
        };
        let recorder = &self.sidecar.recorder;
        recorder.request_refused(&call.caller, &self.live, &about, error);
        Refusal::from(error)
    }

    /// Law 1: what changes anything upstream waits for its record; a read's record overlaps the upstream.
    pub(super) async fn on_record(&self, call: &Call, waits: bool) -> Result<(), Refusal> {
        if !call.concerns_phi() {
            return Ok(());
        }
        // What leaked the synthetic patient's values would leak anybody's.
        if !self.sidecar.canary.sings() {
            return Err(Refusal::from(&RewriteError::Vault("canary")));
        }
        let recorder = &self.sidecar.recorder;
        if waits {
            let intent = recorder.intent(call, &self.live);
            intent.durable().await.map_err(|_| Refusal::Audit)?;
        } else if recorder.note_intent(call, &self.live).is_err()
            || !self.sidecar.trail.health().ready()
        {
            return Err(Refusal::Audit);
        }
        Ok(())
    }

    /// While keys are awaited, nothing that needs one is done: no call about PHI, and no argument that must change.
    pub(super) fn keyed(
        &self,
        permit: &Permit,
        rewrite: impl FnOnce() -> Result<RewrittenRequest, RewriteError>,
    ) -> Result<RewrittenRequest, RewriteError> {
        let awaited = RewriteError::Vault(KEY_AWAITED);
        if self.live.awaited.is_none() {
            return rewrite();
        }
        if permit.operation != Operation::None {
            return Err(awaited);
        }
        match rewrite()? {
            rewritten if rewritten.body.is_none() => Ok(rewritten),
            _ => Err(awaited),
        }
    }

    /// The one decision.
    fn decide(
        &self,
        caller: &Caller,
        tree: &Tree<'_>,
        method: Method,
        name: &str,
    ) -> Result<Permit, Denial> {
        let arguments = match request::locate(tree, arguments_of(method)) {
            Ok(arguments) if method != Method::Resource => arguments,
            Ok(_) | Err(_) => None,
        };
        let arguments = CallArguments::new(arguments);
        let action = match method {
            Method::Tool => Action::Tool {
                name,
                args: &arguments,
            },
            Method::Resource => Action::Resource { uri: name },
            Method::Prompt => Action::Prompt {
                name,
                args: &arguments,
            },
            Method::Completion(_) | Method::Other(_) => Action::Method {
                name: method_name(method),
                params: &arguments,
            },
        };
        let named = purpose_named(&self.live.policy, tree);
        let mut principal = caller.principal();
        principal.purpose = principal.purpose.or(named.as_deref());
        match decide::decide(&self.live.policy, &principal, &action, caller.now_unix) {
            Decision::Permit(permit) if method == Method::Tool => self.reviewed(name, permit),
            Decision::Permit(permit) => Ok(permit),
            Decision::Denial(denial) => Err(denial),
        }
    }

    /// A denial is an event; one that a fresh login would cure is a challenge.
    pub(super) fn deny(
        &mut self,
        caller: &Arc<Caller>,
        method: &'static str,
        name: &str,
        key: Option<&str>,
        denial: &Denial,
    ) -> Refusal {
        let listed = self.live.policy_label(method, name);
        self.tool.clone_from(&listed);
        self.sidecar
            .recorder
            .denied(caller, &self.live, method, &listed, key, denial);
        match &denial.step_up {
            Some(step_up) => {
                self.sidecar.metrics.mfa_challenges_total.inc();
                let name = caller.peer.as_ref().map(|peer| peer.name.as_str());
                let login = self.login(&caller.authenticated, name);
                self.sidecar.recorder.mfa_challenge(&login, "step_up");
                let asked = StepUp {
                    acr_values: step_up.acr.iter().cloned().collect(),
                    max_age: step_up.max_age,
                };
                let challenge = self.live.challenges.step_up(&asked, None);
                let refusal = Refusal::Unauthorized(challenge);
                if !cured_here(denial.reason, step_up, caller) {
                    return refusal;
                }
                let (who, peer) = (&caller.authenticated, caller.peer.as_deref());
                match self.with_way(refusal, &asked, who, peer) {
                    Refusal::SecondFactor(way) => Refusal::SecondFactor(way.asked(self.asks)),
                    refusal => refusal,
                }
            }
            None => Refusal::Denied,
        }
    }
}

/// One message as the whole answer.
async fn reply(http: &mut ServerSession, message: Bytes) -> Result<(), Refusal> {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    let status = StatusCode::OK;
    Downstream::new(http)
        .reply(Reply {
            status,
            headers,
            body: message,
        })
        .await
}

/// The rule's name without its kind: a tool's name, a resource's template. A method's name says nothing more.
pub(super) fn rule_label(rule: &Rule) -> String {
    match rule.name.split_once('.') {
        Some(("methods", _)) => String::new(),
        Some((_, name)) => name.to_owned(),
        None => rule.name.as_ref().to_owned(),
    }
}

fn method_of<'m>(message: &'m Message<'_>) -> &'m str {
    match message {
        Message::Request { method, .. } | Message::Notification { method, .. } => method,
        Message::Response { .. } => "response",
    }
}

fn params_of<'t>(message: &Message<'t>) -> Option<Value<'t>> {
    match message {
        Message::Request { params, .. } | Message::Notification { params, .. } => *params,
        Message::Response { .. } => None,
    }
}

fn invalid(error: &InvalidMessage) -> Refusal {
    match error {
        InvalidMessage::Batch => {
            Refusal::InvalidRequest("batches are not part of this revision: send one message")
        }
        _ => Refusal::InvalidRequest(
            "the body is not one JSON-RPC 2.0 message without duplicate members",
        ),
    }
}

/// The request as it goes up.
fn rewrite(
    tree: &Tree<'_>,
    call: &Call,
    workshop: &Workshop,
    key: HeldKey<'_>,
    stamp: Stamp<'_>,
) -> Result<RewrittenRequest, RewriteError> {
    let (method, permit, holder) = (call.method, &call.permit, call.holder(key));
    match method {
        Method::Tool
        | Method::Resource
        | Method::Prompt
        | Method::Other(SUBSCRIBE | UNSUBSCRIBE) => {
            let path = arguments_of(method);
            let strings_only = method == Method::Prompt;
            request::request(tree, path, permit, workshop, holder, stamp, strings_only)
        }
        Method::Completion(_) | Method::Other(_) => {
            client::request(tree, method_name(method), permit, workshop, holder, stamp)
        }
    }
}

/// Who receives what is exported, as the arguments name them.
fn recipient(
    tree: &Tree<'_>,
    method: Method,
    permit: &Permit,
) -> Result<Option<String>, RewriteError> {
    let Some(path) = &permit.recipient else {
        return Ok(None);
    };
    let found = name_in_arguments(tree, arguments_of(method), path)?;
    let found = found.filter(|name| (1..=RECIPIENT_BYTES_MAX).contains(&name.len()));
    found.map(Some).ok_or(RewriteError::Invalid(
        "the argument that names the recipient is missing or too long",
    ))
}

/// The purpose that a call names itself, where the policy believes it.
fn purpose_named(policy: &Policy, tree: &Tree<'_>) -> Option<String> {
    if !policy.takes_purpose_of_calls() {
        return None;
    }
    let meta = request::locate(tree, &["params", "_meta"]).ok()??;
    let named = meta.get(PURPOSE_MEMBER).ok()??.string()?;
    Some(named.into_owned())
}

/// The patient that the arguments or the URI name.
pub(super) fn patient(
    tree: &Tree<'_>,
    method: Method,
    permit: &Permit,
) -> Result<Option<String>, RewriteError> {
    let Some(path) = &permit.patient else {
        return Ok(None);
    };
    match path.root {
        Root::Uri => Ok(permit.patient_value.clone()),
        Root::Args => {
            let found = name_in_arguments(tree, arguments_of(method), path)?;
            found.map(Some).ok_or(RewriteError::Invalid(
                "the argument that names the patient is missing",
            ))
        }
        Root::Result | Root::Claims => Ok(permit.patient_value.clone()),
    }
}
