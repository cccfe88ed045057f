//! The synthetic patient, and what must and must not be seen of it.

use std::fmt;

use safeguard_policy::decide::{Operation, Permit, Rule};
use safeguard_policy::field::{BinaryView, TextView, View, Views};
use safeguard_policy::policy::{FieldId, Storage};
use safeguard_vault::Wrap;
use safeguard_wire::json::Tree;
use serde_json::{Value, json};
use std::sync::Arc;

use super::messages::{ELICITATION, URI, answers, places};
use super::search::Needle;
use crate::rewrite::answer::{Call, Method, answer};
use crate::rewrite::request::{Stamp, request};
use crate::rewrite::shapes::Absence;
use crate::rewrite::told::{self, Told};
use crate::rewrite::{HeldKey, Holder, LIMITS, RewriteError, Workshop, client};

/// Fields that are sent through together, so that one message stays far below the bounds of a parse.
const FIELDS_PER_MESSAGE: usize = 64;
/// Hexadecimal digits of a value: no chance finds them in ciphertext.
const VALUE_DIGITS: usize = 32;
/// Where a client's values stand.
const SENT: [&str; 2] = ["tools/call arguments", "elicitation/create answer"];

/// Whose values they are, where the policy binds them.
fn holder(workshop: &Workshop) -> Holder<'_> {
    Holder {
        patient: Some("canary"),
        session: Some(b"canary"),
        round: None,
        key: workshop.own.as_ref().map_or(HeldKey::Absent, HeldKey::Held),
    }
}

/// What a run found. Names the path, the field and the role; no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The path.
    pub path: &'static str,
    /// The field; empty for prose.
    pub field: String,
    /// The role; empty where it concerns the upstream.
    pub role: String,
    /// What happened.
    pub what: What,
}

/// What happened to the synthetic patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Somebody would have seen a value against the policy.
    Leaked,
    /// Somebody would not have seen a value that the policy shows.
    Lost,
    /// The message was refused though nothing in it is to be.
    Refused,
    /// No random numbers for the values.
    NoEntropy,
}

impl Finding {
    /// Whether a value was seen by who must not see it.
    pub fn is_leak(&self) -> bool {
        self.what == What::Leaked
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            field,
            role,
            what,
        } = self;
        let what = match what {
            What::Leaked => "a value would have leaked",
            What::Lost => "a value that is to be shown was lost",
            What::Refused => "a message that is to pass was refused",
            What::NoEntropy => "no random numbers for a synthetic patient",
        };
        let role = if role.is_empty() {
            "the MCP server"
        } else {
            role
        };
        write!(f, "{what}: {path}, field {field:?}, toward {role}")
    }
}

/// What rewrites: the workshop, or in tests one that fails.
pub trait Rewriter {
    /// A request's bytes on their way up.
    ///
    /// # Errors
    /// What refuses it.
    fn up(&self, text: &[u8], permit: &Permit, now_unix: i64) -> Result<Vec<u8>, RewriteError>;

    /// An answer's bytes on their way down.
    ///
    /// # Errors
    /// What refuses it.
    fn down(
        &self,
        text: &[u8],
        permit: &Permit,
        method: Method,
        now_unix: i64,
    ) -> Result<Vec<u8>, RewriteError>;
}

impl Rewriter for Workshop {
    fn up(&self, text: &[u8], permit: &Permit, now_unix: i64) -> Result<Vec<u8>, RewriteError> {
        let tree = parse(text)?;
        let stamp = Stamp {
            created_by: "canary",
            now_micros: now_unix.saturating_mul(1_000_000),
        };
        let path = ["params", "arguments"];
        let is_answer = tree
            .root()
            .children()
            .any(|member| member.is_named("result"));
        let rewritten = match is_answer {
            true => client::answer(&tree, ELICITATION, permit, self, holder(self), stamp)?,
            false => request(&tree, &path, permit, self, holder(self), stamp, false)?,
        };
        Ok(rewritten.body.unwrap_or_else(|| text.to_vec()))
    }

    fn down(
        &self,
        text: &[u8],
        permit: &Permit,
        method: Method,
        now_unix: i64,
    ) -> Result<Vec<u8>, RewriteError> {
        let tree = parse(text)?;
        let call = Call {
            method,
            permit,
            holder: holder(self),
            uri: Some(URI),
            absence: Absence::Anything,
            now_unix,
        };
        let has = |name| tree.root().children().any(|member| member.is_named(name));
        let rewritten = match method {
            Method::Other(name) if has("params") => {
                let kind = if has("id") {
                    Told::Question
                } else {
                    Told::News
                };
                told::told(&tree, name, kind, &call, self)?
            }
            _ => answer(&tree, &call, self)?,
        };
        Ok(rewritten.body.unwrap_or_else(|| text.to_vec()))
    }
}

fn parse(text: &[u8]) -> Result<Tree<'_>, RewriteError> {
    Tree::parse(text, &LIMITS).map_err(|_| RewriteError::Invalid("canary"))
}

/// One field of the patient.
struct Planted<'p> {
    id: FieldId,
    name: &'p str,
    value: String,
    needle: Needle,
}

/// Sends the patient through `rewriter`, with the names and keys of `workshop`: the first leak, else the first finding.
pub(super) fn examine(
    workshop: &Workshop,
    rewriter: &dyn Rewriter,
    now_unix: i64,
) -> Result<(), Finding> {
    let policy = &workshop.policy;
    let mut fields = Vec::new();
    for (id, name) in policy.fields() {
        let value = value().ok_or_else(|| finding("start", name, "", What::NoEntropy))?;
        let needle = Needle::of(&value);
        fields.push(Planted {
            id,
            name,
            value,
            needle,
        });
    }
    let mut seen: Vec<Arc<Views>> = Vec::new();
    let mut lesser = None;
    for (role, views) in policy.role_views() {
        // Roles that see the same are one.
        if seen.iter().any(|known| **known == *views) {
            continue;
        }
        seen.push(Arc::clone(&views));
        for together in fields.chunks(FIELDS_PER_MESSAGE) {
            let visit = Visit {
                workshop,
                rewriter,
                role,
                permit: permit(&views),
                fields: together,
                now_unix,
            };
            for finding in visit.upward().into_iter().chain(visit.downward()) {
                if finding.is_leak() {
                    return Err(finding);
                }
                lesser.get_or_insert(finding);
            }
        }
    }
    lesser.map_or(Ok(()), Err)
}

/// A value of letters and digits that exists nowhere else.
fn value() -> Option<String> {
    let random = safeguard_vault::random_key().ok()?;
    let digits: String = random
        .expose()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    digits.get(..VALUE_DIGITS).map(str::to_owned)
}

fn permit(views: &Arc<Views>) -> Permit {
    Permit {
        rule: Rule {
            name: Arc::from("canary"),
            file: Arc::from(""),
            line: 0,
        },
        operation: Operation::Read,
        purpose: None,
        client: Arc::from("canary"),
        roles: Vec::new(),
        views: Arc::clone(views),
        record: None,
        patient: None,
        patient_value: None,
        uri_values: Vec::new(),
        text: TextView::Withhold,
        binary: BinaryView::Withhold,
        places: Arc::new([]),
        event: None,
        max_patients: None,
        only_patients: None,
        recipient: None,
        emergency: false,
        clear: false,
    }
}

fn finding(path: &'static str, field: &str, role: &str, what: What) -> Finding {
    Finding {
        path,
        field: field.to_owned(),
        role: role.to_owned(),
        what,
    }
}

/// One role's visit with some of the fields.
struct Visit<'v> {
    workshop: &'v Workshop,
    rewriter: &'v dyn Rewriter,
    role: &'v str,
    permit: Permit,
    fields: &'v [Planted<'v>],
    now_unix: i64,
}

impl Visit<'_> {
    fn view(&self, field: &Planted<'_>) -> View {
        self.permit.views.of(field.id)
    }

    /// What the role may send reaches the upstream sealed; what it may not is refused.
    fn upward(&self) -> Vec<Finding> {
        SENT.into_iter().flat_map(|path| self.sent(path)).collect()
    }

    fn sent(&self, path: &'static str) -> Vec<Finding> {
        let leaked = |field: &Planted<'_>| finding(path, field.name, "", What::Leaked);
        let may_send = |field: &&Planted<'_>| self.view(field) == View::Reveal;
        let (sendable, hidden): (Vec<_>, Vec<_>) = self.fields.iter().partition(may_send);
        let arguments = places(&members(sendable.iter().copied(), |field| {
            json!(field.value)
        }));
        let mut findings = match self.send(path, &arguments) {
            Err(_) => vec![finding(path, "", self.role, What::Refused)],
            Ok(_) if self.workshop.policy.phi().storage == Storage::Clear => Vec::new(),
            Ok(sent) => {
                let clear = sendable
                    .into_iter()
                    .filter(|field| field.needle.is_in(&sent));
                clear.map(leaked).collect()
            }
        };
        let accepted = |field: &&Planted<'_>| {
            self.send(path, &members([*field], |field| json!(field.value)))
                .is_ok()
        };
        findings.extend(hidden.into_iter().filter(accepted).map(leaked));
        findings
    }

    fn send(&self, path: &str, values: &Value) -> Result<Vec<u8>, RewriteError> {
        let message = match path.starts_with(ELICITATION) {
            true => {
                json!({ "jsonrpc": "2.0", "id": 1, "result": { "action": "accept", "content": values } })
            }
            false => {
                json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "canary", "arguments": values } })
            }
        };
        self.rewriter
            .up(message.to_string().as_bytes(), &self.permit, self.now_unix)
    }

    /// What an upstream answers, sealed or in clear, is seen as the role's views say, wherever it stands.
    fn downward(&self) -> Vec<Finding> {
        let refused = |path| finding(path, "", self.role, What::Refused);
        let Ok(sealed) = self.sealed() else {
            return vec![refused("sealing")];
        };
        let clear = members(self.fields, |field| json!(field.value));
        let mut findings = Vec::new();
        for record in [clear, sealed] {
            for (path, method, message) in answers(&record, &self.prose()) {
                let text = message.to_string();
                let shown =
                    self.rewriter
                        .down(text.as_bytes(), &self.permit, method, self.now_unix);
                match shown {
                    Ok(shown) => findings.extend(self.judge(path, &shown)),
                    Err(_) => findings.push(refused(path)),
                }
            }
        }
        findings
    }

    fn judge(&self, path: &'static str, shown: &[u8]) -> impl Iterator<Item = Finding> {
        self.fields.iter().filter_map(move |field| {
            let what = match (self.view(field) == View::Reveal, field.needle.is_in(shown)) {
                (true, false) => What::Lost,
                (false, true) => What::Leaked,
                (true, true) | (false, false) => return None,
            };
            Some(finding(path, field.name, self.role, what))
        })
    }

    /// Free text about the fields that this role may not see.
    fn prose(&self) -> String {
        let hidden = self
            .fields
            .iter()
            .filter(|field| self.view(field) != View::Reveal);
        hidden.fold("The patient: ".to_owned(), |text, field| {
            text + &field.value + ", "
        })
    }

    fn sealed(&self) -> Result<Value, RewriteError> {
        let mut sealer =
            self.workshop
                .sealer(holder(self.workshop), Wrap::Object, self.now_unix)?;
        let mut object = serde_json::Map::new();
        let bound = self.workshop.policy.phi().bind_patient;
        let patient = holder(self.workshop).patient.filter(|_| bound);
        for field in self.fields {
            let mut out = Vec::new();
            let text = json!(field.value).to_string();
            let sealed = sealer.seal(field.name, patient, text.as_bytes(), &mut out);
            sealed.map_err(|_| RewriteError::Vault("sealed"))?;
            let envelope =
                serde_json::from_slice(&out).map_err(|_| RewriteError::Vault("sealed"))?;
            object.insert(field.name.to_owned(), envelope);
        }
        Ok(Value::Object(object))
    }
}

fn members<'p>(
    fields: impl IntoIterator<Item = &'p Planted<'p>>,
    value: impl Fn(&Planted<'_>) -> Value,
) -> Value {
    let pairs = fields
        .into_iter()
        .map(|field| (field.name.to_owned(), value(field)));
    Value::Object(pairs.collect())
}
