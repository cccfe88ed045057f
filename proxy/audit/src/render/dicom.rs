//! DICOM's audit message (PS3.15 A.5.1), which IHE ATNA carries.
//!
//! Attributes only, and no text: nothing stands between the elements. The patient stands there by its pseudonym, as everywhere in the trail.

use quick_xml::Writer;
use quick_xml::events::{BytesEnd, BytesStart, Event as Xml};

use super::codes::{self, Atna, Dcm};
use super::facts::{Facts, Operation, Shed};
use crate::event::Outcome;

/// Attributes of an element.
type Attributes<'a> = Vec<(&'static str, &'a str)>;

pub(super) fn render(facts: &Facts<'_>, shed: Shed) -> Vec<u8> {
    let mut xml = Message(Writer::new(Vec::new()));
    let atna = codes::atna(facts);
    xml.open("AuditMessage", Vec::new());
    identification(&mut xml, facts, &atna);
    participants(&mut xml, facts);
    xml.open(
        "AuditSourceIdentification",
        vec![("AuditSourceID", facts.pod())],
    );
    // An application server process (PS3.15 A.5.2.3).
    xml.empty(
        "AuditSourceTypeCode",
        vec![
            ("csd-code", "4"),
            ("codeSystemName", "DCM"),
            ("originalText", "Application Server Process or Thread"),
        ],
    );
    xml.close("AuditSourceIdentification");
    objects(&mut xml, facts, shed);
    xml.close("AuditMessage");
    xml.0.into_inner()
}

struct Message(Writer<Vec<u8>>);

impl Message {
    fn open(&mut self, name: &str, attributes: Attributes<'_>) {
        self.write(Xml::Start(element(name, attributes)));
    }

    fn empty(&mut self, name: &str, attributes: Attributes<'_>) {
        self.write(Xml::Empty(element(name, attributes)));
    }

    fn close(&mut self, name: &str) {
        self.write(Xml::End(BytesEnd::new(name)));
    }

    fn code(&mut self, name: &str, code: Dcm) {
        self.empty(
            name,
            vec![
                ("csd-code", code.0),
                ("codeSystemName", "DCM"),
                ("originalText", code.1),
            ],
        );
    }

    fn write(&mut self, event: Xml<'_>) {
        // A vector takes every byte.
        let _infallible = self.0.write_event(event);
    }
}

fn element<'a>(name: &'a str, attributes: Attributes<'a>) -> BytesStart<'a> {
    let mut element = BytesStart::new(name);
    for (name, value) in attributes {
        // XML 1.0 knows no control characters, not even escaped.
        let plain: String = value
            .chars()
            .map(|c| {
                if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') {
                    ' '
                } else {
                    c
                }
            })
            .collect();
        element.push_attribute((name, plain.as_str()));
    }
    element
}

/// 0 success, 4 minor failure, 8 serious, 12 major (PS3.15 A.5.2.1).
pub(super) fn outcome_indicator(facts: &Facts<'_>) -> &'static str {
    use crate::catalogue::{EventName as E, Severity};
    match (facts.name(), facts.outcome()) {
        (E::IntegrityViolation | E::BulkAccessAlert, _) => "8",
        (E::SinkFailed, _) => "12",
        (_, Outcome::Success) => "0",
        _ if facts.severity() == Severity::Critical => "8",
        _ => "4",
    }
}

fn identification(xml: &mut Message, facts: &Facts<'_>, atna: &Atna) {
    let action = atna.action.to_string();
    xml.open(
        "EventIdentification",
        vec![
            ("EventActionCode", action.as_str()),
            ("EventDateTime", facts.record().time()),
            ("EventOutcomeIndicator", outcome_indicator(facts)),
        ],
    );
    xml.code("EventID", atna.id);
    if let Some(kind) = atna.kind {
        xml.code("EventTypeCode", kind);
    }
    let own = [
        ("csd-code", facts.name().as_str()),
        ("codeSystemName", "safeguard"),
        ("originalText", facts.name().as_str()),
    ];
    xml.empty("EventTypeCode", own.to_vec());
    if let Some(purpose) = facts.text(&["purpose"]) {
        xml.empty(
            "PurposeOfUse",
            vec![
                ("csd-code", purpose),
                ("codeSystemName", "2.16.840.1.113883.5.8"),
                ("originalText", purpose),
            ],
        );
    }
    xml.close("EventIdentification");
}

/// The person or program that asked, and this sidecar.
fn participants(xml: &mut Message, facts: &Facts<'_>) {
    let asks = facts.sub().is_some() || facts.source().is_some();
    if asks {
        let id = facts.sub().unwrap_or("unknown");
        let mut attributes = vec![("UserID", id)];
        attributes.extend(
            facts
                .text(&["subject", "client"])
                .map(|client| ("AlternativeUserID", client)),
        );
        attributes.push(("UserIsRequestor", "true"));
        attributes.extend(
            facts
                .source()
                .map(|source| ("NetworkAccessPointID", source)),
        );
        // 2: an address.
        attributes.extend(facts.source().map(|_| ("NetworkAccessPointTypeCode", "2")));
        xml.open("ActiveParticipant", attributes);
        for role in facts.of_subject("roles") {
            xml.empty(
                "RoleIDCode",
                vec![
                    ("csd-code", role),
                    ("codeSystemName", "safeguard"),
                    ("originalText", role),
                ],
            );
        }
        xml.close("ActiveParticipant");
    }
    let requestor = if asks { "false" } else { "true" };
    xml.open(
        "ActiveParticipant",
        vec![("UserID", facts.pod()), ("UserIsRequestor", requestor)],
    );
    let role = match facts.operation() {
        Operation::Create | Operation::Update => ("110152", "Destination Role ID"),
        Operation::Read | Operation::Search | Operation::Export => ("110153", "Source Role ID"),
        Operation::Delete | Operation::Other => ("110150", "Application"),
    };
    xml.code("RoleIDCode", role);
    xml.close("ActiveParticipant");
}

fn objects(xml: &mut Message, facts: &Facts<'_>, shed: Shed) {
    for patient in facts.patients(shed) {
        xml.open(
            "ParticipantObjectIdentification",
            vec![
                ("ParticipantObjectID", patient),
                ("ParticipantObjectTypeCode", "1"),
                ("ParticipantObjectTypeCodeRole", "1"),
            ],
        );
        xml.empty(
            "ParticipantObjectIDTypeCode",
            vec![
                ("csd-code", "2"),
                ("codeSystemName", "RFC-3881"),
                ("originalText", "Patient Number"),
            ],
        );
        xml.close("ParticipantObjectIdentification");
    }
    let tool = facts.text(&["mcp", "tool"]);
    if let Some(tool) = tool {
        object(
            xml,
            tool,
            ("safeguard-tool", "safeguard", "MCP tool"),
            facts,
            shed,
        );
    } else {
        let record = facts.record().uid().hyphenated().to_string();
        object(
            xml,
            &record,
            ("safeguard-record", "safeguard", "Audit record"),
            facts,
            shed,
        );
    }
}

/// What was used: its details say where the record is.
fn object(xml: &mut Message, id: &str, kind: (&str, &str, &str), facts: &Facts<'_>, shed: Shed) {
    xml.open(
        "ParticipantObjectIdentification",
        vec![
            ("ParticipantObjectID", id),
            ("ParticipantObjectTypeCode", "2"),
            ("ParticipantObjectTypeCodeRole", "20"),
        ],
    );
    xml.empty(
        "ParticipantObjectIDTypeCode",
        vec![
            ("csd-code", kind.0),
            ("codeSystemName", kind.1),
            ("originalText", kind.2),
        ],
    );
    let place = format!("{}/{}", facts.record().chain(), facts.record().seq());
    let uid = facts.record().uid().hyphenated().to_string();
    let mut details = vec![("uid", uid.as_str()), ("chain", place.as_str())];
    let hash = facts.hash();
    details.push(("hash", hash.as_str()));
    details.extend(
        ["reason", "rule", "session", "exchange", "configuration"]
            .iter()
            .filter_map(|name| Some((*name, facts.text(&[name])?))),
    );
    let fields = facts.member("fields").map(ToString::to_string);
    if shed < Shed::Lists {
        details.extend(fields.as_deref().map(|fields| ("fields", fields)));
    }
    for (name, value) in details {
        let value = base64_simd::STANDARD.encode_to_string(value);
        xml.empty(
            "ParticipantObjectDetail",
            vec![("type", name), ("value", value.as_str())],
        );
    }
    xml.close("ParticipantObjectIdentification");
}
