//! FHIR R4 AuditEvent, by IHE Basic Audit Log Patterns 1.1 (BALP) where an event is one of its patterns.
//!
//! BALP's patterns are of successes: a failure is the same event without the profile's name. A search has its tool as the query and not
//! its parameters, which may name patients. The patient is a reference by pseudonym.

use serde_json::{Map, Value, json};

use super::codes::{self, Atna, Subtype};
use super::dicom::outcome_indicator;
use super::facts::{Facts, Operation, Shed, sentence};
use super::sorted;
use crate::catalogue::EventName;
use crate::event::Outcome;

const DCM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
const ENTITY_TYPE: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const OBJECT_ROLE: &str = "http://terminology.hl7.org/CodeSystem/object-role";
const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
const BALP: &str = "https://profiles.ihe.net/ITI/BALP/";
/// Names of ours: events, roles and identifiers that no one else numbers.
const OWN: &str = "urn:safeguard:";

pub(super) fn render(facts: &Facts<'_>, shed: Shed) -> Vec<u8> {
    let atna = codes::atna(facts);
    let mut event = json!({
        "resourceType": "AuditEvent",
        "id": facts.record().uid().hyphenated().to_string(),
        "type": kind(&atna),
        "subtype": subtypes(facts, &atna),
        "action": atna.action.to_string(),
        "recorded": facts.record().time(),
        "outcome": outcome_indicator(facts),
        "outcomeDesc": facts.text(&["reason"]).unwrap_or_else(|| sentence(facts.name())),
        "agent": agents(facts, &atna),
        "source": {
            "observer": { "display": facts.pod() },
            "type": [coding("http://terminology.hl7.org/CodeSystem/security-source-type", "4", "Application Server")],
        },
        "entity": entities(facts, &atna, shed),
    });
    if let Some(map) = event.as_object_mut() {
        if let Some(purpose) = facts.text(&["purpose"]) {
            map.insert(
                "purposeOfEvent".to_owned(),
                json!([{ "coding": [{ "system": ACT_REASON, "code": purpose }] }]),
            );
        }
        if let Some(profile) = profile(facts) {
            map.insert(
                "meta".to_owned(),
                json!({ "profile": [format!("{BALP}StructureDefinition/{profile}")] }),
            );
        }
    }
    sorted(event)
}

fn coding(system: &str, code: &str, display: &str) -> Value {
    json!({ "system": system, "code": code, "display": display })
}

fn concept(system: &str, code: &str, display: &str) -> Value {
    json!({ "coding": [coding(system, code, display)] })
}

/// Calls are RESTful to FHIR, but for an export; the rest has DICOM's event id.
fn kind(atna: &Atna) -> Value {
    match atna.subtype {
        Subtype::Rest(_) => coding(
            "http://terminology.hl7.org/CodeSystem/audit-event-type",
            "rest",
            "RESTful Operation",
        ),
        _ => coding(DCM, atna.id.0, atna.id.1),
    }
}

fn subtypes(facts: &Facts<'_>, atna: &Atna) -> Vec<Value> {
    let own = coding(
        &format!("{OWN}event"),
        facts.name().as_str(),
        facts.name().as_str(),
    );
    let foreign = match (atna.subtype, atna.kind) {
        (Subtype::Rest(code), _) => Some(coding(
            "http://hl7.org/fhir/restful-interaction",
            code,
            code,
        )),
        (Subtype::Role, _) => Some(coding(
            &format!("{BALP}CodeSystem/AuthZsubType"),
            "AuthZ-Role",
            "Authorization Decision using only Roles",
        )),
        (Subtype::Lifecycle(code), _) => Some(coding(
            "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle",
            code,
            "Disclose Record Lifecycle Event",
        )),
        (Subtype::Dicom | Subtype::Own, Some(kind)) => Some(coding(DCM, kind.0, kind.1)),
        (Subtype::Dicom | Subtype::Own, None) => None,
    };
    foreign.into_iter().chain([own]).collect()
}

/// The pattern that a success of the event fulfils.
fn profile(facts: &Facts<'_>) -> Option<&'static str> {
    if facts.outcome() != Outcome::Success
        || !is_call(facts.name())
        || facts.source().is_none()
        || facts.sub().is_none()
    {
        return None;
    }
    // The patterns of a patient want exactly one.
    let one = facts.patients(Shed::Nothing).len() == 1;
    match (facts.operation(), one) {
        (Operation::Create, true) => Some("IHE.BasicAudit.PatientCreate"),
        (Operation::Create, false) => Some("IHE.BasicAudit.Create"),
        (Operation::Read, true) => Some("IHE.BasicAudit.PatientRead"),
        (Operation::Read, false) => Some("IHE.BasicAudit.Read"),
        (Operation::Search, true) => Some("IHE.BasicAudit.PatientQuery"),
        (Operation::Search, false) => Some("IHE.BasicAudit.Query"),
        (Operation::Update, true) => Some("IHE.BasicAudit.PatientUpdate"),
        (Operation::Update, false) => Some("IHE.BasicAudit.Update"),
        (Operation::Delete, true) => Some("IHE.BasicAudit.PatientDelete"),
        (Operation::Delete, false) => Some("IHE.BasicAudit.Delete"),
        (Operation::Export, true) => Some("IHE.BasicAudit.PrivacyDisclosure.Source"),
        (Operation::Export, false) | (Operation::Other, _) => None,
    }
}

fn is_call(name: EventName) -> bool {
    matches!(
        name,
        EventName::PhiRead
            | EventName::PhiCreate
            | EventName::PhiUpdate
            | EventName::PhiDelete
            | EventName::PhiExport
    )
}

/// What client and server are to each other: which of them the data comes from.
fn directions(facts: &Facts<'_>) -> (Value, Value) {
    let from = || concept(DCM, "110153", "Source Role ID");
    let to = || concept(DCM, "110152", "Destination Role ID");
    match facts.operation() {
        _ if !is_call(facts.name()) => (
            concept(DCM, "110150", "Application"),
            concept(DCM, "110150", "Application"),
        ),
        Operation::Read | Operation::Export | Operation::Other => (to(), from()),
        Operation::Create | Operation::Update | Operation::Search => (from(), to()),
        Operation::Delete => (
            concept(DCM, "110150", "Application"),
            concept(
                "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
                "custodian",
                "Custodian",
            ),
        ),
    }
}

/// The client, this sidecar in the server's place, and the person. Exactly one of them asked.
fn agents(facts: &Facts<'_>, atna: &Atna) -> Vec<Value> {
    let (client_type, server_type) = directions(facts);
    let mut agents = Vec::new();
    if let Some(source) = facts.source() {
        let name = facts
            .text(&["subject", "mtls_name"])
            .or_else(|| facts.text(&["subject", "client"]))
            .unwrap_or("unknown");
        agents.push(json!({
            "type": client_type, "who": { "display": name }, "requestor": facts.sub().is_none(),
            "network": { "address": source, "type": "2" },
        }));
    }
    let nobody = facts.source().is_none() && facts.sub().is_none();
    agents.push(json!({
        "type": server_type, "who": { "display": facts.pod() }, "requestor": nobody,
        "network": { "address": facts.pod(), "type": "1" },
    }));
    if let Some(sub) = facts.sub() {
        agents.push(user(facts, sub, atna));
    }
    agents
}

fn user(facts: &Facts<'_>, sub: &str, atna: &Atna) -> Value {
    let role = match atna.action {
        'C' | 'U' | 'D' => concept(PARTICIPATION, "AUT", "author (originator)"),
        _ => concept(PARTICIPATION, "IRCP", "information recipient"),
    };
    let mut who = Map::new();
    let mut identifier = json!({ "value": sub });
    if let (Some(map), Some(issuer)) = (identifier.as_object_mut(), facts.text(&["subject", "iss"]))
    {
        // An issuer is a URL or a word; FHIR's system is a URI.
        if issuer.contains(':') {
            map.insert("system".to_owned(), json!(issuer));
        }
    }
    who.insert("identifier".to_owned(), identifier);
    let roles: Vec<Value> = facts
        .of_subject("roles")
        .into_iter()
        .map(|role| json!({ "coding": [{ "system": format!("{OWN}role"), "code": role }] }))
        .collect();
    let mut user = json!({ "type": role, "who": who, "requestor": true });
    if let Some(map) = user.as_object_mut() {
        // FHIR has no empty list.
        if !roles.is_empty() {
            map.insert("role".to_owned(), json!(roles));
        }
        if let Some(purpose) = facts.text(&["purpose"]) {
            map.insert(
                "purposeOfUse".to_owned(),
                json!([{ "coding": [{ "system": ACT_REASON, "code": purpose }] }]),
            );
        }
    }
    user
}

fn entities(facts: &Facts<'_>, atna: &Atna, shed: Shed) -> Vec<Value> {
    let mut entities = Vec::new();
    if let Some(exchange) = facts.text(&["exchange"]) {
        entities.push(json!({
            "type": { "system": format!("{BALP}CodeSystem/BasicAuditEntityType"), "code": "XrequestId" },
            "what": { "identifier": { "value": exchange } },
        }));
    }
    for patient in facts.patients(shed) {
        entities.push(json!({
            "type": coding(ENTITY_TYPE, "1", "Person"),
            "role": coding(OBJECT_ROLE, "1", "Patient"),
            "what": { "type": "Patient", "identifier": { "system": format!("{OWN}patient"), "value": patient } },
        }));
    }
    match atna.subtype {
        Subtype::Rest("search") => entities.push(query(facts)),
        _ => entities.push(data(facts, atna, shed)),
    }
    entities
}

/// What was used; its details say where the record is.
fn data(facts: &Facts<'_>, atna: &Atna, shed: Shed) -> Value {
    let tool = facts.text(&["mcp", "tool"]);
    let what = match tool {
        Some(tool) => json!({ "identifier": { "system": format!("{OWN}tool"), "value": tool } }),
        None => {
            json!({ "identifier": { "system": format!("{OWN}record"), "value": facts.record().uid().hyphenated().to_string() } })
        }
    };
    let mut data = json!({
        "type": coding(ENTITY_TYPE, "2", "System Object"),
        "role": coding(OBJECT_ROLE, "4", "Domain Resource"),
        "what": what,
        "detail": details(facts, shed),
    });
    if let (Some(map), Subtype::Lifecycle(_)) = (data.as_object_mut(), atna.subtype) {
        map.insert(
            "lifecycle".to_owned(),
            coding(
                "http://terminology.hl7.org/CodeSystem/dicom-audit-lifecycle",
                "10",
                "Export / Copy to target",
            ),
        );
    }
    data
}

/// A query by BALP has its words in base64, and neither `what` nor details.
fn query(facts: &Facts<'_>) -> Value {
    let method = facts.text(&["mcp", "method"]).unwrap_or("unknown");
    let tool = facts.text(&["mcp", "tool"]).unwrap_or("unknown");
    let words = base64_simd::STANDARD.encode_to_string(format!("{method} {tool}"));
    json!({
        "type": coding(ENTITY_TYPE, "2", "System Object"),
        "role": coding(OBJECT_ROLE, "24", "Query"),
        "description": "hash ".to_owned() + &facts.hash(),
        "query": words,
    })
}

fn details(facts: &Facts<'_>, shed: Shed) -> Vec<Value> {
    let place = format!("{}/{}", facts.record().chain(), facts.record().seq());
    let mut pairs = vec![
        ("chain".to_owned(), place),
        ("hash".to_owned(), facts.hash()),
    ];
    let known = ["rule", "session", "configuration", "trace"];
    pairs.extend(
        known
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), facts.text(&[name])?.to_owned()))),
    );
    if shed < Shed::Lists {
        pairs.extend(
            facts
                .member("fields")
                .map(|fields| ("fields".to_owned(), fields.to_string())),
        );
        let further = facts.details().into_iter().flatten();
        pairs.extend(further.map(|(name, value)| {
            (
                name.clone(),
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned),
            )
        }));
    }
    pairs
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| json!({ "type": name, "valueString": value }))
        .collect()
}
