//! One test a sentence of the contract's words on fields, views, requests and integrity, over the example's policy
//! with a real vault; and properties over generated messages.

mod answers;
mod detecting;
mod integrity;
mod limits;
mod lists;
mod methods;
mod places;
mod properties;
mod requests;
mod resealing;
mod schemas;
mod sealing;
mod shredding;
mod texts;

use std::sync::Arc;

use safeguard_policy::action::Action;
use safeguard_policy::decide::{Decision, Permit, Principal, decide};
use safeguard_policy::{Environment, Policy, Source, load};
use safeguard_vault::carry::Binding;
use safeguard_vault::mac::{RecordMac, RecordMacRing, RingMac};
use safeguard_vault::ring::{KeyRing, RingKey};
use safeguard_vault::{Format, KeyMaterial, Sealer, Wrap};
use safeguard_wire::json::Tree;
use serde_json::{Value, json};

use super::answer::{Call, Method, RewrittenAnswer, answer};
use super::request::{RewrittenRequest, Stamp, request};
use super::shapes::Absence;
use super::{HeldKey, Holder, LIMITS, RewriteError, Workshop};

/// 2027-01-15, in seconds.
const NOW: i64 = 1_800_000_000;
/// Whose call it is.
const HOLDER: Holder<'_> = Holder {
    patient: Some("p-1"),
    session: Some(b"session-1"),
    round: None,
    key: HeldKey::Unavailable,
};

/// A value that must not be seen.
const CANARY: &str = "123-45-6789";

struct Variables;

impl Environment for Variables {
    fn var(&self, name: &str) -> Option<String> {
        Some(match name {
            "PHI_KEY" => format!("hex:{}", "a1".repeat(32)),
            "INTEGRITY_KEY" => format!("hex:{}", "b2".repeat(32)),
            "AUDIT_KEY" => format!("hex:{}", "c3".repeat(32)),
            "JWT_SECRET" | "KEYCLOAK_CLIENT_SECRET" | "PGUSER" | "PGPASSWORD" => {
                "only-for-tests-0123456789-0123456789".to_owned()
            }
            _ => return None,
        })
    }

    fn file(&self, _path: &str) -> Result<Option<String>, String> {
        Ok(None)
    }
}

/// A policy with its keys, and who asks.
pub(crate) struct World {
    pub(crate) workshop: Workshop,
    absence: Absence,
}

fn policy(change: impl Fn(&str) -> String) -> Policy {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/config");
    let sources = ["auth", "keycloak", "audit", "tls", "policy"].map(|name| {
        let text = std::fs::read_to_string(format!("{folder}/{name}.yaml")).unwrap();
        Source {
            name: format!("{name}.yaml"),
            text: if name == "policy" {
                change(&text)
            } else {
                text
            },
        }
    });
    let loaded = load(&sources, &Variables);
    let lines: Vec<String> = loaded.findings.iter().map(ToString::to_string).collect();
    loaded
        .configuration
        .unwrap_or_else(|| panic!("{lines:#?}"))
        .policy
}

/// Tools that the example has no use for and the contract has words for.
const MORE_TOOLS: &str = r#"
  look: { operation: read, roles: any, patient: args.patient_id }
  say: { operation: read, roles: any, patient: args.patient_id, text: reveal }
  change: { operation: update, roles: any, patient: args.patient_id }
  plain: { operation: none, roles: any, patient: none }
resources:
"#;

impl World {
    pub(crate) fn new() -> Self {
        Self::with(str::to_owned)
    }

    /// The example's policy, changed, with more tools.
    pub(crate) fn with(change: impl Fn(&str) -> String) -> Self {
        let policy = policy(|text| change(&text.replace("\nresources:\n", MORE_TOOLS)));
        let key = RingKey {
            id: "phi-2026-11".to_owned(),
            from_unix: 0,
            key: KeyMaterial::from_raw(&[0xa1; 32]).unwrap(),
        };
        let ring = Arc::new(KeyRing::new(vec![key]).unwrap());
        let macs = RecordMacRing::new(vec![RingMac {
            id: "int-2026-11".to_owned(),
            from_unix: 0,
            mac: RecordMac::new(&[0xb2; 32]),
        }]);
        Self {
            workshop: Workshop::new(Arc::new(policy), ring, macs).unwrap(),
            absence: Absence::Anything,
        }
    }

    fn permit(&self, role: &str, action: &Action<'_>) -> Permit {
        self.permit_of(role, &json!({ "department": "icu" }), action)
    }

    fn permit_of(&self, role: &str, claims: &Value, action: &Action<'_>) -> Permit {
        let roles = [role.to_owned()];
        let names = ["web.healthcare.example.com".to_owned()];
        let principal = Principal {
            subject: "subject-1",
            issuer: "issuer",
            roles: &roles,
            claims,
            purpose: None,
            certificate_names: &names,
            service: false,
            second_factor: true,
            authenticated_at: Some(NOW - 10),
            acr: None,
            emergency: None,
        };
        match decide(&self.workshop.policy, &principal, action, NOW) {
            Decision::Permit(permit) => permit,
            Decision::Denial(denial) => panic!("{role}: {denial:?}"),
        }
    }

    fn tool(&self, role: &str, name: &str) -> Permit {
        let args = json!({ "patient_id": "p-1", "department": "icu" });
        self.permit(role, &Action::Tool { name, args: &args })
    }

    /// The value, sealed for a field, as JSON.
    fn sealed(&self, field: &str, value: &Value) -> Value {
        self.sealed_as(field, value, Format::Native, Wrap::Object)
    }

    fn sealed_as(&self, field: &str, value: &Value, format: Format, wrap: Wrap) -> Value {
        let domain = &self.workshop.policy.phi().domain;
        let mut sealer = Sealer::new(&self.workshop.ring, domain, format, wrap, NOW).unwrap();
        let mut out = Vec::new();
        sealer
            .seal(field, None, value.to_string().as_bytes(), &mut out)
            .unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    /// What an envelope or its string form holds.
    fn opened(&self, field: &str, sealed: &Value) -> Value {
        let token = sealed.get("_value").unwrap_or(sealed).as_str().unwrap();
        let plain = self.workshop.opener.open(token, field, None).unwrap();
        serde_json::from_str(plain.expose()).unwrap()
    }

    fn token(&self, field: &str, value: &Value) -> String {
        let text = value.to_string();
        self.workshop
            .carrier
            .issue(field, Binding::default(), text.as_bytes(), NOW)
            .unwrap()
    }

    /// A call's message through the request's side.
    fn up(&self, permit: &Permit, text: &str) -> Result<RewrittenRequest, RewriteError> {
        let tree = Tree::parse(text.as_bytes(), &LIMITS).unwrap();
        let stamp = Stamp {
            created_by: "subject-1",
            now_micros: NOW * 1_000_000 + 7,
        };
        request(
            &tree,
            &["params", "arguments"],
            permit,
            &self.workshop,
            HOLDER,
            stamp,
            false,
        )
    }

    /// The arguments as the upstream gets them.
    fn sent(&self, permit: &Permit, arguments: &Value) -> Result<Value, RewriteError> {
        let text = call(arguments).to_string();
        let rewritten = self.up(permit, &text)?;
        let body = rewritten.body.unwrap_or_else(|| text.into_bytes());
        let body: Value = serde_json::from_slice(&body).unwrap();
        Ok(body["params"]["arguments"].clone())
    }

    /// An answer's message through the answer's side, as the client gets it.
    fn down(
        &self,
        permit: &Permit,
        method: Method,
        text: &str,
    ) -> Result<RewrittenAnswer, RewriteError> {
        let tree = Tree::parse(text.as_bytes(), &LIMITS).unwrap();
        let about = Call {
            method,
            permit,
            holder: HOLDER,
            uri: (method == Method::Resource).then_some("patient://p-1/summary"),
            absence: self.absence.clone(),
            now_unix: NOW,
        };
        let mut rewritten = answer(&tree, &about, &self.workshop)?;
        rewritten
            .body
            .get_or_insert_with(|| text.as_bytes().to_vec());
        Ok(rewritten)
    }

    /// A tool's result as the client gets it.
    fn shown(&self, permit: &Permit, result: &Value) -> Result<Value, RewriteError> {
        let text = json!({ "jsonrpc": "2.0", "id": 1, "result": result }).to_string();
        let rewritten = self.down(permit, Method::Tool, &text)?;
        let body: Value = serde_json::from_slice(rewritten.body.as_ref().unwrap()).unwrap();
        Ok(body["result"].clone())
    }

    /// Structured content as the client gets it.
    fn structured(&self, permit: &Permit, content: &Value) -> Result<Value, RewriteError> {
        let shown = self.shown(permit, &json!({ "structuredContent": content }))?;
        Ok(shown["structuredContent"].clone())
    }
}

fn call(arguments: &Value) -> Value {
    json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "look", "arguments": arguments },
    })
}

fn text_block(text: &str) -> Value {
    json!({ "content": [{ "type": "text", "text": text }] })
}
