//! One case carried through the decision and the rewriting.

use std::sync::Arc;

use safeguard_policy::Policy;
use safeguard_policy::action::{Action, Listed};
use safeguard_policy::cases::{Answer, Asked, Case, Expected};
use safeguard_policy::decide::{self, Decision, Permit, Principal};
use safeguard_policy::principal::ActiveEmergency;
use safeguard_vault::mac::{RecordMac, RecordMacRing, RingMac};
use safeguard_vault::random_key;
use safeguard_vault::ring::{KeyRing, RingKey};
use safeguard_wire::json::Tree;
use serde_json::{Value, json};

use super::compare::compare;
use crate::cli::CliError;
use crate::clock;
use crate::refuse::Refusal;
use crate::rewrite::answer::{self, Call, Method, name_in_arguments};
use crate::rewrite::request::{Stamp, request};
use crate::rewrite::shapes::Absence;
use crate::rewrite::{HeldKey, Holder, LIMITS, RewriteError, Workshop, record};

/// Where the arguments stand in a message.
const ARGUMENTS: [&str; 2] = ["params", "arguments"];

/// What came of a case.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// The rule that was asked.
    pub(super) rule: Option<String>,
    /// Where it did not come out as expected.
    pub(super) differences: Vec<String>,
}

/// A policy with keys of its own, made for this run.
pub(super) struct Bench {
    workshop: Workshop,
    now: i64,
}

impl Bench {
    pub(super) fn new(policy: Policy) -> Result<Self, CliError> {
        let failed = |_| CliError::Internal("the system gives no random numbers".to_owned());
        let key = RingKey {
            id: "test".to_owned(),
            from_unix: 0,
            key: random_key().map_err(failed)?,
        };
        let ring =
            KeyRing::new(vec![key]).map_err(|error| CliError::Internal(error.to_string()))?;
        let mac = RingMac {
            id: "test".to_owned(),
            from_unix: 0,
            mac: RecordMac::new(random_key().map_err(failed)?.expose()),
        };
        let workshop = Workshop::new(
            Arc::new(policy),
            Arc::new(ring),
            RecordMacRing::new(vec![mac]),
        );
        Ok(Self {
            workshop: workshop.map_err(|error| CliError::Internal(error.to_string()))?,
            now: clock::now_unix(),
        })
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.workshop.policy
    }

    /// Carries one case out.
    pub(super) fn judge(&self, case: &Case) -> Verdict {
        let mut verdict = Verdict::default();
        let Some(names) = self.certificate(case, &mut verdict) else {
            return verdict;
        };
        let who = &case.who;
        let principal = Principal {
            subject: &who.subject,
            issuer: "test",
            roles: &who.roles,
            claims: &who.claims,
            purpose: who.purpose.as_deref(),
            certificate_names: &names,
            service: who.service,
            second_factor: who.second_factor,
            authenticated_at: Some(self.now - who.login_age),
            acr: who.acr.as_deref(),
            emergency: who.emergency.as_deref().map(|patient| ActiveEmergency {
                patient,
                until_unix: self.now.saturating_add(1),
            }),
        };
        let (action, listed) = asked(&case.call);
        let visible = decide::visible(self.policy(), &principal, &listed, self.now);
        if let Some(expected) = case.expect.listed.filter(|listed| *listed != visible) {
            let word = |listed| {
                if listed {
                    "is in the list"
                } else {
                    "is not in the list"
                }
            };
            verdict.differs("listed", word(expected), word(visible));
        }
        let decision = decide::decide(self.policy(), &principal, &action, self.now);
        if let Some(permit) = decided(case, &decision, &mut verdict) {
            self.exchange(case, permit, &mut verdict);
        }
        verdict
    }

    /// The names of the client's certificate; none, and a difference, where there is no such client.
    fn certificate(&self, case: &Case, verdict: &mut Verdict) -> Option<Vec<String>> {
        let clients = self.policy().clients();
        let name = match (&case.client, clients.as_slice()) {
            (Some(name), _) => name.as_str(),
            (None, [only]) => only,
            (None, _) => {
                let all = clients.join(", ");
                verdict
                    .differences
                    .push(format!("client: name one of {all}"));
                return None;
            }
        };
        let certificate = self.policy().certificate_of(name);
        if certificate.is_none() {
            verdict
                .differences
                .push(format!("client: `{name}` is none of the policy's"));
        }
        certificate.map(|name| vec![name])
    }

    /// What goes up, and what comes down.
    fn exchange(&self, case: &Case, permit: &Permit, verdict: &mut Verdict) {
        let message = message(&case.call).to_string();
        let patient = match patient(&message, permit) {
            Ok(patient) => patient,
            Err(error) => return refused(case, &error, verdict),
        };
        let holder = self.holder(patient.as_deref());
        let up = match self.up(&message, permit, holder) {
            Ok(up) => up,
            Err(error) => return refused(case, &error, verdict),
        };
        if let Some(expected) = &case.expect.server {
            let seen = up.pointer("/params/arguments").unwrap_or(&Value::Null);
            compare("server", expected, seen, &mut verdict.differences);
        }
        let Some(answered) = &case.answer else {
            return;
        };
        match self.down(answered, case, permit, holder) {
            Ok(result) => seen(case, &result, verdict),
            Err(error) => refused(case, &error, verdict),
        }
    }

    fn holder<'h>(&'h self, patient: Option<&'h str>) -> Holder<'h> {
        Holder {
            patient,
            session: Some(b"test"),
            round: None,
            key: self
                .workshop
                .own
                .as_ref()
                .map_or(HeldKey::Absent, HeldKey::Held),
        }
    }

    fn up(
        &self,
        message: &str,
        permit: &Permit,
        holder: Holder<'_>,
    ) -> Result<Value, RewriteError> {
        let tree =
            Tree::parse(message.as_bytes(), &LIMITS).map_err(|_| RewriteError::Invalid("case"))?;
        let rewritten = request(
            &tree,
            &ARGUMENTS,
            permit,
            &self.workshop,
            holder,
            self.stamp(),
            false,
        )?;
        let body = rewritten
            .body
            .unwrap_or_else(|| message.as_bytes().to_vec());
        serde_json::from_slice(&body).map_err(|_| RewriteError::Invalid("case"))
    }

    fn down(
        &self,
        answered: &Answer,
        case: &Case,
        permit: &Permit,
        holder: Holder<'_>,
    ) -> Result<Value, RewriteError> {
        let unreadable = |_| RewriteError::Upstream("case");
        let result = match answered {
            Answer::Text(text) => json!({ "content": [{ "type": "text", "text": text }] }),
            Answer::Result(result) => result.clone(),
            Answer::Structured(content) => {
                let content = self.with_hashes(content, permit, holder)?;
                self.of_structured(&case.call, &content)
            }
        };
        let text = json!({ "jsonrpc": "2.0", "id": 1, "result": result }).to_string();
        let tree =
            Tree::parse(text.as_bytes(), &LIMITS).map_err(|_| RewriteError::Upstream("case"))?;
        let (method, uri) = method(&case.call);
        let call = Call {
            method,
            permit,
            holder,
            uri,
            absence: Absence::Anything,
            now_unix: self.now,
        };
        let rewritten = answer::answer(&tree, &call, &self.workshop)?;
        let body = rewritten.body.unwrap_or_else(|| text.clone().into_bytes());
        let body: Value = serde_json::from_slice(&body).map_err(unreadable)?;
        Ok(body.get("result").cloned().unwrap_or_default())
    }

    /// Structured content as a tool gives it, or as JSON where there is none of it.
    fn of_structured(&self, call: &Asked, content: &Value) -> Value {
        let text = content.to_string();
        match call {
            Asked::Tool(..) => {
                json!({ "structuredContent": content, "content": [{ "type": "text", "text": text }] })
            }
            Asked::Resource(uri) => {
                json!({ "contents": [{ "uri": uri, "mimeType": "application/json", "text": text }] })
            }
            Asked::Prompt(..) => {
                json!({ "messages": [{ "role": "user", "content": { "type": "text", "text": text } }] })
            }
        }
    }

    /// The content with the hash that each of its records would have, had it been stored through the sidecar.
    fn with_hashes(
        &self,
        content: &Value,
        permit: &Permit,
        holder: Holder<'_>,
    ) -> Result<Value, RewriteError> {
        let text = content.to_string();
        let stamped = record::as_stored(
            text.as_bytes(),
            permit,
            &self.workshop,
            holder.patient,
            self.stamp(),
        )?;
        serde_json::from_slice(&stamped).map_err(|_| RewriteError::Upstream("case"))
    }

    fn stamp(&self) -> Stamp<'static> {
        Stamp {
            created_by: "test",
            now_micros: self.now.saturating_mul(1_000_000),
        }
    }
}

impl Verdict {
    fn differs(&mut self, at: &str, expected: &str, seen: &str) {
        self.differences
            .push(format!("{at}: expected {expected}, saw {seen}"));
    }
}

/// Compares the decision; the permit, if it is one and one was expected.
fn decided<'d>(case: &Case, decision: &'d Decision, verdict: &mut Verdict) -> Option<&'d Permit> {
    let word = |expected| match expected {
        Expected::Permit => "permit",
        Expected::Deny => "deny",
        Expected::StepUp => "step_up",
    };
    let (came, reason, rule) = match decision {
        Decision::Permit(permit) => (Expected::Permit, None, Some(&permit.rule)),
        Decision::Denial(denial) => {
            let came = match denial.step_up {
                Some(_) => Expected::StepUp,
                None => Expected::Deny,
            };
            (came, Some(denial.reason.code()), denial.rule.as_ref())
        }
    };
    verdict.rule = rule.map(|rule| rule.name.to_string());
    let expect = &case.expect;
    if came != expect.decision {
        let seen = match reason {
            Some(reason) => format!("{} ({reason})", word(came)),
            None => word(came).to_owned(),
        };
        verdict.differs("decision", word(expect.decision), &seen);
    } else if let Some(expected) = expect.reason.as_deref()
        && reason != Some(expected)
    {
        verdict.differs("reason", expected, reason.unwrap_or("none"));
    }
    let seen = verdict.rule.clone().unwrap_or_else(|| "none".to_owned());
    if let Some(expected) = expect.rule.as_deref().filter(|expected| *expected != seen) {
        verdict.differs("rule", expected, &seen);
    }
    decision.permit().filter(|_| came == expect.decision)
}

/// A refusal in place of what was to be seen, or the one that was expected.
fn refused(case: &Case, error: &RewriteError, verdict: &mut Verdict) {
    let code = Refusal::from(error).code().map(i64::from);
    if code.is_some() && code == case.expect.code {
        return;
    }
    let seen = code.map_or_else(|| "a refusal".to_owned(), |code| code.to_string());
    let expected = case
        .expect
        .code
        .map_or_else(|| "an answer".to_owned(), |code| code.to_string());
    verdict.differs("code", &expected, &format!("{seen}: {error}"));
}

/// Compares what the caller sees.
fn seen(case: &Case, result: &Value, verdict: &mut Verdict) {
    let expect = &case.expect;
    if let Some(code) = expect.code {
        verdict.differs("code", &code.to_string(), "an answer");
    }
    let text = [
        "/content/0/text",
        "/contents/0/text",
        "/messages/0/content/text",
    ]
    .iter()
    .find_map(|place| result.pointer(place)?.as_str());
    if let Some(expected) = expect.text.as_deref()
        && text != Some(expected)
    {
        verdict.differs("text", expected, text.unwrap_or("none"));
    }
    let Some(expected) = &expect.client else {
        return;
    };
    let of_text = || text.and_then(|text| serde_json::from_str(text).ok());
    let content = result.get("structuredContent").cloned().or_else(of_text);
    compare(
        "client",
        expected,
        &content.unwrap_or_default(),
        &mut verdict.differences,
    );
}

fn asked(call: &Asked) -> (Action<'_>, Listed<'_>) {
    match call {
        Asked::Tool(name, args) => (Action::Tool { name, args }, Listed::Tool(name)),
        Asked::Resource(uri) => (Action::Resource { uri }, Listed::Resource(uri)),
        Asked::Prompt(name, args) => (Action::Prompt { name, args }, Listed::Prompt(name)),
    }
}

fn method(call: &Asked) -> (Method, Option<&str>) {
    match call {
        Asked::Tool(..) => (Method::Tool, None),
        Asked::Resource(uri) => (Method::Resource, Some(uri)),
        Asked::Prompt(..) => (Method::Prompt, None),
    }
}

fn message(call: &Asked) -> Value {
    let (method, params) = match call {
        Asked::Tool(name, args) => ("tools/call", json!({ "name": name, "arguments": args })),
        Asked::Prompt(name, args) => ("prompts/get", json!({ "name": name, "arguments": args })),
        Asked::Resource(uri) => ("resources/read", json!({ "uri": uri })),
    };
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

/// The patient that the arguments or the URI name.
fn patient(message: &str, permit: &Permit) -> Result<Option<String>, RewriteError> {
    let Some(path) = permit
        .patient
        .as_deref()
        .filter(|_| permit.patient_value.is_none())
    else {
        return Ok(permit.patient_value.clone());
    };
    if path.root != safeguard_policy::Root::Args {
        return Ok(None);
    }
    let tree =
        Tree::parse(message.as_bytes(), &LIMITS).map_err(|_| RewriteError::Invalid("case"))?;
    name_in_arguments(&tree, &ARGUMENTS, path)
}
