//! OCSF 1.8.0 and 1.9.0 (schema.ocsf.io).
//!
//! The objects allow no member that the schema does not know: what OCSF has no name for stands in `unmapped`, and the record itself,
//! byte for byte, in `raw_data`, so that its hash can be computed again wherever the event arrives. 1.9's `record_integrity` is the hash
//! of this OCSF event (RFC 8785, without the fingerprint itself), as its schema says, and not that of the record.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::codes::{self, Ocsf};
use super::facts::{Facts, Shed, sentence};
use super::sorted;
use crate::catalogue::{EventName, Severity};
use crate::event::Outcome;
use crate::keys::hex;

/// Which version of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1_8,
    V1_9,
}

/// Actions of the profile `security_control`.
const ALLOWED: u32 = 1;
const DENIED: u32 = 2;
const OBSERVED: u32 = 3;

/// Members of the record that have no place in OCSF.
const UNMAPPED: [&str; 8] = [
    "chain",
    "prev",
    "outcome",
    "rule",
    "purpose",
    "configuration",
    "peer",
    "trace",
];
/// The same of those that can be long.
const UNMAPPED_LISTS: [&str; 2] = ["fields", "details"];

pub(super) fn render(facts: &Facts<'_>, shed: Shed, version: Version) -> Vec<u8> {
    let modern = version == Version::V1_9;
    let code = codes::ocsf(facts, modern);
    let mut event = Map::new();
    classify(&mut event, facts, code);
    event.insert("metadata".to_owned(), metadata(facts, shed, modern));
    event.insert("unmapped".to_owned(), unmapped(facts, shed));
    if shed == Shed::Nothing {
        let text = String::from_utf8_lossy(facts.record().bytes());
        event.insert("raw_data".to_owned(), json!(text));
    }
    decided(&mut event, facts);
    of_class(&mut event, facts, shed, code.class);
    if modern {
        attest(&mut event, facts);
    }
    sorted(Value::Object(event))
}

fn classify(event: &mut Map<String, Value>, facts: &Facts<'_>, code: Ocsf) {
    let status = match facts.outcome() {
        Outcome::Success => 1,
        Outcome::Denied | Outcome::Failure => 2,
    };
    let severity = match facts.severity() {
        Severity::Informational => 1,
        Severity::Notice => 2,
        Severity::Warning => 3,
        Severity::Critical => 5,
    };
    let members = [
        ("class_uid", json!(code.class)),
        ("class_name", json!(codes::class_name(code.class))),
        ("category_uid", json!(code.class / 1000)),
        ("activity_id", json!(code.activity)),
        ("activity_name", json!(code.caption)),
        ("type_uid", json!(code.class * 100 + code.activity)),
        ("time", json!(facts.record().micros().div_euclid(1000))),
        ("severity_id", json!(severity)),
        ("status_id", json!(status)),
        ("message", json!(sentence(facts.name()))),
    ];
    event.extend(members.map(|(name, value)| (name.to_owned(), value)));
    if let Some(reason) = facts.text(&["reason"]) {
        event.insert("status_detail".to_owned(), json!(reason));
    }
}

fn metadata(facts: &Facts<'_>, shed: Shed, modern: bool) -> Value {
    let mut profiles = Vec::new();
    if decision(facts).is_some() {
        profiles.push("security_control");
    }
    if modern {
        profiles.push("record_integrity");
    }
    let mut metadata = json!({
        "version": if modern { "1.9.0" } else { "1.8.0" },
        "product": { "name": "Safeguard", "vendor_name": "Safeguard", "version": env!("CARGO_PKG_VERSION") },
        "uid": facts.record().uid().hyphenated().to_string(),
        "sequence": facts.record().seq(),
        "event_code": facts.name().as_str(),
        "log_name": "audit",
        "log_provider": facts.pod(),
        "profiles": profiles,
    });
    if let Some(map) = metadata.as_object_mut() {
        if let Some(exchange) = facts.text(&["exchange"]) {
            map.insert("correlation_uid".to_owned(), json!(exchange));
        }
        if shed > Shed::Copy {
            map.insert("is_truncated".to_owned(), json!(true));
        }
    }
    metadata
}

fn unmapped(facts: &Facts<'_>, shed: Shed) -> Value {
    let lists: &[&str] = if shed == Shed::Lists {
        &[]
    } else {
        &UNMAPPED_LISTS
    };
    let mut unmapped: Map<String, Value> = UNMAPPED
        .iter()
        .chain(lists)
        .filter_map(|name| Some(((*name).to_owned(), facts.member(name)?.clone())))
        .collect();
    unmapped.insert("hash".to_owned(), json!(facts.hash()));
    if let Some(name) = facts.text(&["subject", "mtls_name"]) {
        unmapped.insert("mtls_name".to_owned(), json!(name));
    }
    Value::Object(unmapped)
}

/// What was decided, as the profile `security_control` says it: action and disposition; none where nothing was to decide.
fn decision(facts: &Facts<'_>) -> Option<(u32, u32)> {
    match (facts.name(), facts.outcome()) {
        (EventName::MfaChallenge, _) => Some((DENIED, 23)),
        (EventName::FailedLoginAttempt | EventName::NodeAuthenticationFailed, _) => {
            Some((DENIED, 26))
        }
        (EventName::BulkAccessAlert, Outcome::Success) => Some((OBSERVED, 19)),
        (EventName::IntegrityViolation | EventName::DecryptFailure, _) | (_, Outcome::Denied) => {
            Some((DENIED, 2))
        }
        (EventName::PhiAccessGranted, _) => Some((ALLOWED, 1)),
        _ => None,
    }
}

fn decided(event: &mut Map<String, Value>, facts: &Facts<'_>) {
    let Some((action, disposition)) = decision(facts) else {
        return;
    };
    event.insert("action_id".to_owned(), json!(action));
    event.insert("disposition_id".to_owned(), json!(disposition));
    event.insert(
        "is_alert".to_owned(),
        json!(facts.severity() >= Severity::Warning),
    );
}

/// What the class has of its own.
fn of_class(event: &mut Map<String, Value>, facts: &Facts<'_>, shed: Shed, class: u32) {
    let mut put = |name: &str, value: Value| {
        event.insert(name.to_owned(), value);
    };
    match class {
        codes::AUTHENTICATION => {
            put("user", user(facts));
            put("service", json!({ "name": "safeguard" }));
            put("src_endpoint", source(facts));
            put("session", session(facts));
            put("auth_protocol_id", json!(4));
            put(
                "is_mfa",
                json!(!facts.of_subject("second_factor").is_empty()),
            );
            put("auth_factors", json!(factors(facts)));
        }
        codes::AUTHORIZE_SESSION => {
            put("user", user(facts));
            put("session", session(facts));
            put("privileges", json!(["emergency_access"]));
        }
        codes::ENTITY_MANAGEMENT => {
            put("actor", actor(facts));
            put("entity", entity(facts));
        }
        codes::ACCOUNT_CHANGE | codes::USER_MANAGEMENT => {
            put("actor", actor(facts));
            put("user", target(facts));
        }
        codes::USER_ACCESS => {
            put("actor", actor(facts));
            put("user", target(facts));
            put(
                "privileges",
                json!([facts.detail("roles").unwrap_or("unknown")]),
            );
        }
        codes::WEB_RESOURCES => {
            put("src_endpoint", source(facts));
            put("web_resources", json!(resources(facts, shed)));
        }
        codes::API_ACTIVITY => {
            put("actor", actor(facts));
            put("api", api(facts));
            put("src_endpoint", source(facts));
            put("resources", json!(resources(facts, shed)));
        }
        codes::APPLICATION_LIFECYCLE => {
            put(
                "app",
                json!({ "name": "safeguard", "version": env!("CARGO_PKG_VERSION") }),
            );
        }
        _ => {
            put("finding_info", finding(facts));
            put("resources", json!(resources(facts, shed)));
        }
    }
}

/// Who asked; a peer that proved nothing is nobody.
fn user(facts: &Facts<'_>) -> Value {
    let Some(sub) = facts.sub() else {
        return json!({ "name": "unknown", "type_id": 0 });
    };
    let groups: Vec<Value> = facts
        .of_subject("roles")
        .into_iter()
        .map(|role| json!({ "name": role, "type": "role" }))
        .collect();
    json!({ "name": sub, "uid": sub, "type_id": 1, "groups": groups })
}

/// Whom it was done to, where the identity provider tells of it.
fn target(facts: &Facts<'_>) -> Value {
    match facts.detail("target") {
        Some(target) => json!({ "name": target, "uid": target, "type_id": 1 }),
        None => json!({ "name": "unknown", "type_id": 0 }),
    }
}

fn actor(facts: &Facts<'_>) -> Value {
    let mut actor = json!({ "user": user(facts), "session": session(facts) });
    if let (Some(map), Some(client)) = (actor.as_object_mut(), facts.text(&["subject", "client"])) {
        map.insert("app_name".to_owned(), json!(client));
    }
    actor
}

fn session(facts: &Facts<'_>) -> Value {
    let mut session = Map::new();
    if let Some(id) = facts.text(&["session"]) {
        session.insert("uid".to_owned(), json!(id));
    }
    if let Some(issuer) = facts.text(&["subject", "iss"]) {
        session.insert("issuer".to_owned(), json!(issuer));
    }
    session.insert(
        "is_mfa".to_owned(),
        json!(!facts.of_subject("second_factor").is_empty()),
    );
    Value::Object(session)
}

/// The second factors: a one-time code, a key by WebAuthn, or what the token calls it.
fn factors(facts: &Facts<'_>) -> Vec<Value> {
    let factor = |word: &str| match word {
        "otp" | "totp" => json!({ "factor_type_id": 7, "is_totp": true }),
        "hwk" | "swk" | "webauthn" => json!({ "factor_type_id": 10 }),
        other => json!({ "factor_type_id": 99, "factor_type": other }),
    };
    facts
        .of_subject("second_factor")
        .into_iter()
        .map(factor)
        .collect()
}

fn source(facts: &Facts<'_>) -> Value {
    match facts.source() {
        Some(ip) => json!({ "ip": ip }),
        None => json!({ "name": "unknown" }),
    }
}

fn api(facts: &Facts<'_>) -> Value {
    let operation = facts.text(&["mcp", "method"]).unwrap_or("unknown");
    let mut api = json!({ "operation": operation, "service": { "name": "mcp" } });
    if let (Some(map), Some(id)) = (api.as_object_mut(), facts.text(&["mcp", "id"])) {
        map.insert("request".to_owned(), json!({ "uid": id }));
    }
    api
}

/// The tool and the patients.
fn resources(facts: &Facts<'_>, shed: Shed) -> Vec<Value> {
    let tool = facts.text(&["mcp", "tool"]).unwrap_or("unknown");
    let patients = facts
        .patients(shed)
        .into_iter()
        .map(|patient| json!({ "type": "Patient", "uid": patient }));
    std::iter::once(json!({ "type": "tool", "name": tool }))
        .chain(patients)
        .collect()
}

/// What was changed or read.
fn entity(facts: &Facts<'_>) -> Value {
    let kind = match facts.name() {
        EventName::AuditLogAccessed => "audit log",
        EventName::KeyRotated => "key",
        EventName::PermissionChange => "policy",
        _ => "configuration",
    };
    let mut entity = json!({ "type": kind, "name": kind });
    if let (Some(map), Some(hash)) = (entity.as_object_mut(), facts.text(&["configuration"])) {
        map.insert("version".to_owned(), json!(hash));
    }
    entity
}

fn finding(facts: &Facts<'_>) -> Value {
    json!({
        "uid": facts.record().uid().hyphenated().to_string(),
        "title": facts.name().as_str(),
        "desc": sentence(facts.name()),
    })
}

/// The fingerprint of the event as it is by now.
fn attest(event: &mut Map<String, Value>, facts: &Facts<'_>) {
    let uid = facts.record().uid().hyphenated().to_string();
    let list = |attestation: Value| json!([attestation]);
    let name = "attestation_list".to_owned();
    event.insert(name.clone(), list(json!({ "uid": uid })));
    // Texts and integers alone, members in order: serde_json's bytes are RFC 8785's.
    let value = hex(&Sha256::digest(sorted(Value::Object(event.clone()))));
    let fingerprint =
        json!({ "algorithm_id": 3, "encoding_id": 1, "serialization_id": 2, "value": value });
    event.insert(
        name,
        list(json!({ "uid": uid, "fingerprint": fingerprint })),
    );
}
