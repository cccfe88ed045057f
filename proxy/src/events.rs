//! What happened, as events of the trail: one function per happening, which records *and* counts.
//!
//! Nothing here takes a value, a token or a body: names, codes, counts and pseudonyms only.

use std::net::IpAddr;
use std::sync::Arc;

use safeguard_audit::{Event, EventName, Mcp, NotDurable, Outcome, Pending, Subject, Trail};
use safeguard_policy::decide::{Denial, Permit};
use safeguard_policy::policy::{Operation, Rule};
use uuid::Uuid;

use crate::authn::Authenticated;
use crate::exchange::Caller;
use crate::exchange::asked::{Call, method_name};
use crate::listener::Connection;
use crate::live::{KEY_AWAITED, Live};
use crate::metrics::Metrics;
use crate::rewrite::answer::RewrittenAnswer;
use crate::rewrite::{
    PATIENT_KEY_ABSENT, PATIENT_KEY_DESTROYED, PATIENT_KEY_UNAVAILABLE, RewriteError, Touched,
};
use crate::session::{EndReason, EventKind, SessionEvent};
use crate::upstream::UpstreamError;

/// Records events and counts them.
pub struct Recorder {
    trail: Trail,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recorder")
    }
}

/// The outcome event of an operation, by the contract's table.
fn outcome_name(operation: Operation) -> EventName {
    match operation {
        Operation::None | Operation::Search | Operation::Read => EventName::PhiRead,
        Operation::Create => EventName::PhiCreate,
        Operation::Update => EventName::PhiUpdate,
        Operation::Delete => EventName::PhiDelete,
        Operation::Export => EventName::PhiExport,
    }
}

impl Recorder {
    /// A recorder into this trail.
    pub fn new(trail: Trail, metrics: Arc<Metrics>) -> Self {
        Self { trail, metrics }
    }

    /// Records an event of a peer that proved who it is.
    pub fn record(&self, event: Event<'_>) -> Pending {
        self.trail.record(event)
    }

    /// Records what nobody waits for: it is in the trail's queue, in order, or the trail has counted it as refused and says so in its health.
    pub fn send(&self, event: Event<'_>) {
        let _counted = self.trail.note(event);
    }

    /// The patient's stand-in for events.
    pub(crate) fn pseudonym(&self, patient: &str) -> safeguard_audit::Pseudonym {
        self.trail.pseudonym(patient)
    }

    /// Records what an unauthenticated peer caused: limited per source and overall by the trail.
    fn record_stranger(&self, event: Event<'_>) {
        // Its receipt is nobody's to wait for: the trail limits and keeps it.
        let _counted = self.trail.note_unauthenticated(event);
    }

    /// No connection came of a handshake.
    pub fn handshake_failed(&self, source: IpAddr, reason: &'static str) {
        let mut event =
            Event::new(EventName::NodeAuthenticationFailed, Outcome::Denied).reason(reason);
        event.source = Some(source);
        self.record_stranger(event);
    }

    /// An open connection's certificate is not trusted any more.
    pub fn peer_refused(&self, source: IpAddr, reason: &'static str) {
        self.handshake_failed(source, reason);
    }

    /// A token was presented and refused.
    pub fn failed_login(&self, connection: &Connection, reference: Uuid, reason: &'static str) {
        let mut event = Event::new(EventName::FailedLoginAttempt, Outcome::Denied).reason(reason);
        self.about_connection(&mut event, connection, reference);
        self.record_stranger(event);
    }

    /// A step-up challenge was sent.
    pub fn mfa_challenge(&self, login: &Login<'_>, reason: &'static str) {
        self.login_refused(EventName::MfaChallenge, login, reason);
    }

    /// A second factor was judged on the page: a proof passes the challenge, anything else is a failed login.
    pub fn second_factor(
        &self,
        login: &Login<'_>,
        outcome: Outcome,
        reason: &'static str,
        method: Option<&'static str>,
    ) {
        let name = match outcome {
            Outcome::Success => EventName::MfaChallenge,
            _ => EventName::FailedLoginAttempt,
        };
        let mut event = Event::new(name, outcome).reason(reason);
        self.about_connection(&mut event, login.connection, login.reference);
        let mut about = subject(login.who, login.name, None);
        about.second_factor.extend(method.map(Into::into));
        event.subject = Some(about);
        self.send(event);
    }

    /// Somebody enrolled a second factor: issuer and subject, and its kind.
    pub fn factor_enrolled(&self, (iss, sub): (&str, &str), source: IpAddr, kind: &'static str) {
        let mut event = Event::new(EventName::ConfigurationChange, Outcome::Success)
            .reason("second_factor_enrolled")
            .detail("kind", kind);
        event.source = Some(source);
        event.subject = Some(Subject {
            sub: sub.into(),
            iss: iss.into(),
            ..Subject::default()
        });
        self.send(event);
    }

    /// A valid token whose session has ended.
    pub fn session_refused(&self, login: &Login<'_>, reason: &'static str) {
        self.login_refused(EventName::FailedLoginAttempt, login, reason);
    }

    /// A token that was used twice was revoked, and whatever was had with it.
    pub fn token_revoked(&self, login: &Login<'_>, reason: &'static str) {
        self.login_refused(EventName::TokenRevoked, login, reason);
    }

    fn login_refused(&self, event: EventName, login: &Login<'_>, reason: &'static str) {
        let mut event = Event::new(event, Outcome::Denied).reason(reason);
        self.about_connection(&mut event, login.connection, login.reference);
        event.subject = Some(subject(login.who, login.name, None));
        self.send(event);
    }

    /// Sessions that began or ended.
    pub fn session_events(&self, events: &[SessionEvent], source: Option<IpAddr>) {
        for happened in events {
            let (name, reason) = match happened.kind {
                EventKind::Login => (EventName::UserLogin, None),
                EventKind::Ended(EndReason::Terminated) => (EventName::SessionTerminated, None),
                EventKind::Ended(reason) => (EventName::UserLogout, Some(reason.code())),
            };
            let mut event = Event::new(name, Outcome::Success);
            event.reason = reason.map(Into::into);
            event.source = source;
            event.session = Some(happened.session.to_string().into());
            event.subject = Some(subject(&happened.who, None, None));
            self.send(event);
        }
    }

    /// The policy said no.
    pub fn denied(
        &self,
        caller: &Caller,
        live: &Live,
        method: &'static str,
        tool: &str,
        request_id: Option<&str>,
        denial: &Denial,
    ) {
        let mut event =
            Event::new(EventName::PhiAccessDenied, Outcome::Denied).reason(denial.reason.code());
        about_caller(&mut event, caller, None);
        event.rule = denial.rule.as_ref().map(|rule| rule_text(rule).into());
        event.configuration_hash = Some(live.hash);
        event.mcp = Some(mcp(method, tool, request_id));
        self.send(event);
    }

    /// The call was permitted, and its arguments were not.
    pub fn request_refused(
        &self,
        caller: &Caller,
        live: &Live,
        about: &Refused<'_>,
        error: &RewriteError,
    ) {
        let (name, outcome, reason) = match error {
            RewriteError::Integrity(what) => {
                (EventName::IntegrityViolation, Outcome::Failure, *what)
            }
            RewriteError::Vault(what) => (
                EventName::DecryptFailure,
                Outcome::Failure,
                vault_reason(what),
            ),
            RewriteError::Denied(what) => (EventName::PhiAccessDenied, Outcome::Denied, *what),
            RewriteError::Invalid(_) | RewriteError::Upstream(_) => (
                EventName::PhiAccessDenied,
                Outcome::Denied,
                "arguments_invalid",
            ),
        };
        let mut event = Event::new(name, outcome).reason(reason);
        about_caller(&mut event, caller, Some(about.permit));
        event.configuration_hash = Some(live.hash);
        event.mcp = Some(Mcp {
            operation: Some(about.permit.operation.as_str().into()),
            ..mcp(about.method, &about.tool, Some(about.request_id))
        });
        event.patients = about
            .patient
            .iter()
            .map(|patient| self.trail.pseudonym(patient))
            .collect();
        self.send(event);
    }

    /// A permitted call is about to happen, and waits for its record.
    pub fn intent(&self, call: &Call, live: &Live) -> Pending {
        self.record(self.granted(call, live))
    }

    /// A permitted call is about to happen whose outcome alone is waited for.
    ///
    /// # Errors
    /// The intent could not even be put on its way.
    pub fn note_intent(&self, call: &Call, live: &Live) -> Result<(), NotDurable> {
        self.trail.note(self.granted(call, live))
    }

    fn granted<'a>(&self, call: &'a Call, live: &'a Live) -> Event<'a> {
        let mut event = self.about_call(EventName::PhiAccessGranted, Outcome::Success, call, live);
        event.fields = call.touched.for_event(&live.policy);
        event
    }

    /// A permitted call has its answer.
    pub fn outcome(&self, call: &Call, live: &Live, answer: &RewrittenAnswer) -> Pending {
        let ended = if answer.failed {
            Outcome::Failure
        } else {
            Outcome::Success
        };
        let mut event = self.about_call(outcome_name(call.permit.operation), ended, call, live);
        if answer.failed {
            event.reason = Some("upstream_error".into());
        } else if answer.records.unverified > 0 {
            event.reason = Some("record_unverified".into());
        }
        let mut touched = call.touched.clone();
        touched.merge(&answer.touched);
        if answer.dropped > 0 {
            event = event.detail("dropped_of_other_patients", i64::from(answer.dropped));
        }
        event.fields = touched.for_event(&live.policy);
        for patient in &answer.patients {
            let pseudonym = self.trail.pseudonym(patient);
            if !event.patients.contains(&pseudonym) {
                event.patients.push(pseudonym);
            }
        }
        self.record(event)
    }

    /// The event that the policy marks a tool with (`user_created`, `role_assigned`, …), once it has worked.
    pub fn marked(&self, call: &Call, live: &Live) {
        let name = call.permit.event.as_deref().and_then(EventName::parse);
        if let Some(name) = name {
            self.send(self.about_call(name, Outcome::Success, call, live));
        }
    }

    /// An answer that may not be released.
    pub fn answer_refused(&self, call: &Call, live: &Live, error: &RewriteError) -> Pending {
        let own = outcome_name(call.permit.operation);
        let (name, outcome, reason) = match error {
            RewriteError::Integrity(what) => {
                (EventName::IntegrityViolation, Outcome::Failure, *what)
            }
            RewriteError::Vault(what) => (
                EventName::DecryptFailure,
                Outcome::Failure,
                vault_reason(what),
            ),
            RewriteError::Denied(what) => (EventName::PhiAccessDenied, Outcome::Denied, *what),
            RewriteError::Upstream(what) => (own, Outcome::Failure, *what),
            RewriteError::Invalid(_) => (own, Outcome::Failure, "answer_invalid"),
        };
        let mut event = self.about_call(name, outcome, call, live).reason(reason);
        event.fields = call.touched.for_event(&live.policy);
        if name != outcome_name(call.permit.operation) && call.concerns_phi() {
            // The intent has its outcome whatever else is said of it.
            let outcome = self.about_call(
                outcome_name(call.permit.operation),
                Outcome::Failure,
                call,
                live,
            );
            self.send(outcome.reason(name.as_str()));
        }
        self.record(event)
    }

    /// The upstream gave no usable answer to a permitted call.
    pub fn upstream_failed(&self, call: &Call, live: &Live, error: UpstreamError) {
        let reason = match error {
            UpstreamError::Unreachable => "upstream_unreachable",
            UpstreamError::Broken => "upstream_broken",
            UpstreamError::TooSlow => "upstream_too_slow",
            UpstreamError::TooLarge => "upstream_answer_too_large",
            UpstreamError::Redirected => "upstream_redirected",
            UpstreamError::Invalid => "upstream_answer_invalid",
            UpstreamError::Cancelled => "client_cancelled",
        };
        self.not_released(call, live, reason);
    }

    /// A permitted call whose answer, if there was one, was not released.
    pub fn not_released(&self, call: &Call, live: &Live, reason: &'static str) {
        if call.concerns_phi() {
            let name = outcome_name(call.permit.operation);
            self.send(
                self.about_call(name, Outcome::Failure, call, live)
                    .reason(reason),
            );
        }
    }

    /// Counts what became of fields.
    pub fn fields(&self, touched: &Touched, outcome: &str) {
        for (action, count) in touched.counts() {
            self.metrics
                .phi_fields_total
                .with_label_values(&[action.as_str(), outcome])
                .inc_by(u64::from(count));
        }
    }

    fn about_call<'a>(
        &self,
        name: EventName,
        outcome: Outcome,
        call: &'a Call,
        live: &Live,
    ) -> Event<'a> {
        let mut event = Event::new(name, outcome);
        about_caller(&mut event, &call.caller, Some(&call.permit));
        event.configuration_hash = Some(live.hash);
        event.mcp = Some(Mcp {
            operation: Some(call.permit.operation.as_str().into()),
            ..mcp(method_name(call.method), &call.told, Some(&call.request_id))
        });
        event.patients = call
            .patient
            .iter()
            .map(|patient| self.trail.pseudonym(patient))
            .collect();
        match &call.recipient {
            Some(recipient) => event.detail("recipient", recipient.clone()),
            None => event,
        }
    }

    fn about_connection(&self, event: &mut Event<'_>, connection: &Connection, reference: Uuid) {
        event.source = Some(connection.source());
        event.exchange = Some(reference);
    }
}

/// Somebody whose token verified, and who was not let in all the same.
#[derive(Debug, Clone, Copy)]
pub struct Login<'a> {
    /// What the token says.
    pub who: &'a Authenticated,
    /// The verified name in the client certificate.
    pub name: Option<&'a str>,
    /// The connection.
    pub connection: &'a Connection,
    /// The request.
    pub reference: Uuid,
}

/// What a refused request was about.
#[derive(Debug)]
pub struct Refused<'a> {
    /// The MCP method.
    pub method: &'static str,
    /// The rule's name.
    pub tool: String,
    /// What had been permitted.
    pub permit: &'a Permit,
    /// The JSON-RPC id.
    pub request_id: &'a str,
    /// The patient that the arguments name.
    pub patient: Option<&'a str>,
}

/// The stable code of what a value could not be.
fn vault_reason(what: &str) -> &'static str {
    match what {
        "sealed" => "value_not_sealed",
        "hashed" => "record_not_hashed",
        KEY_AWAITED => "key_source_unavailable",
        PATIENT_KEY_DESTROYED => "patient_key_destroyed",
        PATIENT_KEY_ABSENT | PATIENT_KEY_UNAVAILABLE => "patient_key_unavailable",
        "canary" => "canary_leak",
        _ => "value_not_opened",
    }
}

/// A rule as events name it: its name and where it is written.
fn rule_text(rule: &Rule) -> String {
    let line = rule.line.to_string();
    [&*rule.name, " (", &*rule.file, ":", &line, ")"].concat()
}

fn mcp<'a>(method: &'a str, tool: &'a str, request_id: Option<&'a str>) -> Mcp<'a> {
    Mcp {
        method: method.into(),
        tool: (!tool.is_empty()).then(|| tool.into()),
        operation: None,
        request_id: request_id.filter(|id| !id.is_empty()).map(Into::into),
    }
}

pub(crate) fn about_caller<'a>(
    event: &mut Event<'a>,
    caller: &'a Caller,
    permit: Option<&'a Permit>,
) {
    let name = caller.peer.as_ref().map(|peer| peer.name.as_str());
    event.subject = Some(subject(&caller.authenticated, name, permit));
    event.source = Some(caller.source);
    event.session = Some(caller.session.hashed_id().into());
    event.trace_id = caller.trace_id.as_deref().map(Into::into);
    event.exchange = Some(caller.reference);
    if let Some(permit) = permit {
        event.rule = Some(rule_text(&permit.rule).into());
        event.purpose = permit.purpose.as_deref().map(Into::into);
    }
}

fn subject<'a>(
    who: &'a Authenticated,
    mtls_name: Option<&'a str>,
    permit: Option<&'a Permit>,
) -> Subject<'a> {
    let words = |words: &'a [String]| words.iter().map(|word| word.as_str().into()).collect();
    let roles = match permit {
        Some(permit) => permit.roles.iter().map(|role| (&**role).into()).collect(),
        None => words(who.roles()),
    };
    let client = permit
        .map(|permit| &*permit.client)
        .filter(|client| !client.is_empty());
    Subject {
        sub: who.subject().into(),
        iss: who.issuer().into(),
        roles,
        client: client.or_else(|| who.authorized_party()).map(Into::into),
        mtls_name: mtls_name.map(Into::into),
        second_factor: who.second_factor().map(words).unwrap_or_default(),
        auth_time: who.authenticated_at(),
    }
}
