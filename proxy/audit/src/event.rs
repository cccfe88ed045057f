//! What is recorded: the facts of one event, and how they become canonical bytes.
//!
//! There is no place for a value: fields have a name and what became of them. Lists and texts are bounded on writing, and what was
//! left out is counted in the record's `truncated`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::canonical::Writer;
use crate::catalogue::{EventName, Severity};
use crate::keys::{Pseudonym, hex};

/// Roles or second factors kept of one event.
const NAMES_MAX: usize = 64;
/// Fields kept of one event.
const FIELDS_MAX: usize = 256;
/// Patients kept of one event: generous, because an accounting of disclosures is made of them.
const PATIENTS_MAX: usize = 4096;
/// Details kept of one event.
const DETAILS_MAX: usize = 32;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Done.
    Success,
    /// The policy or authentication said no.
    Denied,
    /// It was to be done and did not work.
    Failure,
}

impl Outcome {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denied => "denied",
            Self::Failure => "failure",
        }
    }

    /// The outcome of this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Success, Self::Denied, Self::Failure]
            .into_iter()
            .find(|o| o.as_str() == word)
    }
}

/// Who asked, as far as it was proved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// The token's `sub`.
    pub sub: String,
    /// The token's `iss`.
    pub iss: String,
    /// The roles of the call.
    pub roles: Vec<String>,
    /// The client as the policy names it, or the token's client id.
    pub client: Option<String>,
    /// The verified name in the client certificate.
    pub mtls_name: Option<String>,
    /// The second factors that the token proves.
    pub second_factor: Vec<String>,
    /// When the person last authenticated, Unix seconds.
    pub auth_time: Option<i64>,
}

/// What was asked of the MCP server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mcp {
    /// The JSON-RPC method.
    pub method: String,
    /// The tool, prompt or resource template, as the policy names it.
    pub tool: Option<String>,
    /// The JSON-RPC id as it stood.
    pub request_id: Option<String>,
}

/// What became of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FieldAction {
    /// Encrypted toward the upstream.
    Sealed,
    /// Decrypted, to be shown or passed on.
    Opened,
    /// Shown as it is.
    Revealed,
    /// Shown in part.
    Masked,
    /// Replaced by a token that its holder can't read.
    Tokenized,
    /// A token turned back into its value toward the upstream.
    Redeemed,
    /// Not shown.
    Withheld,
    /// The call was refused because of it.
    Refused,
}

impl FieldAction {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Opened => "opened",
            Self::Revealed => "revealed",
            Self::Masked => "masked",
            Self::Tokenized => "tokenized",
            Self::Redeemed => "redeemed",
            Self::Withheld => "withheld",
            Self::Refused => "refused",
        }
    }
}

/// A field by the policy's name for it, never its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldTouched {
    /// The policy's name.
    pub name: String,
    /// What became of it.
    pub action: FieldAction,
    /// How often.
    pub count: u32,
}

/// A further fact: a word or a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// A word: a code, a version, a fingerprint. Never a value of a record.
    Text(String),
    /// A count or a time.
    Integer(i64),
}

impl From<&str> for Detail {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
impl From<String> for Detail {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
impl From<i64> for Detail {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

/// One event, before the trail gives it its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub name: EventName,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, as a stable snake_case code.
    pub reason: Option<String>,
    /// How grave; [`Event::new`] takes the catalogue's.
    pub severity: Severity,
    /// Who asked.
    pub subject: Option<Subject>,
    /// What was asked.
    pub mcp: Option<Mcp>,
    /// The policy's rule that decided.
    pub rule: Option<String>,
    /// SHA-256 of the configuration in force.
    pub configuration_hash: Option<[u8; 32]>,
    /// Which fields were touched.
    pub fields: Vec<FieldTouched>,
    /// Whose records.
    pub patients: Vec<Pseudonym>,
    /// The purpose of use (HL7 ActReason).
    pub purpose: Option<String>,
    /// The peer's address.
    pub source: Option<IpAddr>,
    /// The session, hashed by the caller.
    pub session: Option<String>,
    /// The trace id (W3C, 32 hexadecimal digits).
    pub trace_id: Option<String>,
    /// What binds an intent to its outcome.
    pub exchange: Option<Uuid>,
    /// Further facts by a snake_case name.
    pub details: BTreeMap<&'static str, Detail>,
}

impl Event {
    /// An event with nothing but its name and outcome; the caller fills what it knows.
    #[must_use]
    pub fn new(name: EventName, outcome: Outcome) -> Self {
        Self {
            name,
            outcome,
            reason: None,
            severity: name.severity(),
            subject: None,
            mcp: None,
            rule: None,
            configuration_hash: None,
            fields: Vec::new(),
            patients: Vec::new(),
            purpose: None,
            source: None,
            session: None,
            trace_id: None,
            exchange: None,
            details: BTreeMap::new(),
        }
    }

    /// With this reason.
    #[must_use]
    pub fn reason(mut self, code: impl Into<String>) -> Self {
        self.reason = Some(code.into());
        self
    }

    /// With this further fact.
    #[must_use]
    pub fn detail(mut self, name: &'static str, value: impl Into<Detail>) -> Self {
        self.details.insert(name, value.into());
        self
    }
}

/// The place that the trail gives an event.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) uid: Uuid,
    pub(crate) micros: i64,
    pub(crate) chain: &'a str,
    pub(crate) seq: u64,
    pub(crate) prev: &'a [u8; 32],
    pub(crate) pod: &'a str,
    /// Caused by a peer that proved nothing.
    pub(crate) stranger: bool,
}

/// The canonical bytes of an event in its place (RFC 8785).
pub(crate) fn canonical(event: &Event, place: &Place<'_>) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.object(|w| members(event, place, w));
    writer.finish()
}

/// In the order of the names.
fn members(event: &Event, place: &Place<'_>, w: &mut Writer) {
    w.member("chain").text(place.chain);
    if let Some(hash) = &event.configuration_hash {
        w.member("configuration").text(&hex(hash));
    }
    if !event.details.is_empty() {
        w.member("details").object(|w| details(event, w));
    }
    w.member("event").text(event.name.as_str());
    if let Some(exchange) = &event.exchange {
        w.member("exchange").text(&exchange.to_string());
    }
    if !event.fields.is_empty() {
        w.member("fields")
            .list(event.fields.iter().take(FIELDS_MAX), field);
    }
    if let Some(mcp) = &event.mcp {
        w.member("mcp").object(|w| mcp_members(mcp, w));
    }
    w.member("outcome").text(event.outcome.as_str());
    if !event.patients.is_empty() {
        w.member("patients")
            .list(event.patients.iter().take(PATIENTS_MAX), |w, p| {
                w.text(&p.to_string())
            });
    }
    if place.stranger {
        w.member("peer").text("unauthenticated");
    }
    w.member("pod").text(place.pod);
    w.member("prev").text(&hex(place.prev));
    optional(w, "purpose", event.purpose.as_deref());
    optional(w, "reason", event.reason.as_deref());
    optional(w, "rule", event.rule.as_deref());
    w.member("seq").counter(place.seq);
    optional(w, "session", event.session.as_deref());
    w.member("severity").text(event.severity.as_str());
    if let Some(source) = event.source {
        w.member("source").text(&source.to_string());
    }
    if let Some(subject) = &event.subject {
        w.member("subject").object(|w| subject_members(subject, w));
    }
    w.member("time").text(&timestamp(place.micros));
    optional(w, "trace", event.trace_id.as_deref());
    let truncated = truncated(event);
    if truncated > 0 {
        w.member("truncated").counter(truncated);
    }
    w.member("uid").text(&place.uid.to_string());
    w.member("v").integer(1);
}

fn details(event: &Event, w: &mut Writer) {
    for (name, detail) in event.details.iter().take(DETAILS_MAX) {
        match detail {
            Detail::Text(text) => w.member(name).text(text),
            Detail::Integer(number) => w.member(name).integer(*number),
        }
    }
}

fn field(w: &mut Writer, field: &FieldTouched) {
    w.object(|w| {
        w.member("action").text(field.action.as_str());
        w.member("count").integer(i64::from(field.count));
        w.member("name").text(&field.name);
    });
}

fn mcp_members(mcp: &Mcp, w: &mut Writer) {
    optional(w, "id", mcp.request_id.as_deref());
    w.member("method").text(&mcp.method);
    optional(w, "tool", mcp.tool.as_deref());
}

fn subject_members(subject: &Subject, w: &mut Writer) {
    if let Some(seconds) = subject.auth_time {
        w.member("auth_time").integer(seconds);
    }
    optional(w, "client", subject.client.as_deref());
    w.member("iss").text(&subject.iss);
    optional(w, "mtls_name", subject.mtls_name.as_deref());
    w.member("roles")
        .list(subject.roles.iter().take(NAMES_MAX), |w, role| w.text(role));
    w.member("second_factor")
        .list(subject.second_factor.iter().take(NAMES_MAX), |w, factor| {
            w.text(factor)
        });
    w.member("sub").text(&subject.sub);
}

fn optional(w: &mut Writer, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        w.member(name).text(text);
    }
}

/// How many entries of lists the bounds left out.
fn truncated(event: &Event) -> u64 {
    let beyond = |length: usize, max: usize| length.saturating_sub(max) as u64;
    let names = event.subject.as_ref().map_or(0, |s| {
        beyond(s.roles.len(), NAMES_MAX) + beyond(s.second_factor.len(), NAMES_MAX)
    });
    names
        + beyond(event.fields.len(), FIELDS_MAX)
        + beyond(event.patients.len(), PATIENTS_MAX)
        + beyond(event.details.len(), DETAILS_MAX)
}

/// Microseconds since 1970 as `2026-11-22T22:22:22.000001Z`.
pub(crate) fn timestamp(micros: i64) -> String {
    let nanos = i128::from(micros) * 1000;
    let time =
        OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second, micro) = time.to_hms_micro();
    format!(
        "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micro:06}Z",
        u8::from(month)
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An event that has everything.
    pub(crate) fn full() -> Event {
        let mut event = Event::new(EventName::PhiRead, Outcome::Success)
            .reason("because")
            .detail("zebra", 1)
            .detail("apple", "x");
        event.subject = Some(Subject {
            sub: "alice".into(),
            iss: "https://idp".into(),
            roles: vec!["nurse".into()],
            client: Some("chart-web".into()),
            mtls_name: Some("web.example.com".into()),
            second_factor: vec!["otp".into()],
            auth_time: Some(5),
        });
        event.mcp = Some(Mcp {
            method: "tools/call".into(),
            tool: Some("read_record".into()),
            request_id: Some("7".into()),
        });
        event.rule = Some("read_record".into());
        event.configuration_hash = Some([7; 32]);
        event.fields = vec![FieldTouched {
            name: "ssn".into(),
            action: FieldAction::Masked,
            count: 2,
        }];
        event.patients = vec![Pseudonym::parse(&"ab".repeat(16)).unwrap()];
        event.purpose = Some("TREAT".into());
        event.source = Some("192.0.2.1".parse().unwrap());
        event.session = Some("5e55".into());
        event.trace_id = Some("1".repeat(32));
        event.exchange = Some(Uuid::nil());
        event
    }

    pub(crate) fn place(seq: u64, prev: &[u8; 32]) -> Place<'_> {
        Place {
            uid: Uuid::nil(),
            micros: 1_763_850_142_000_001,
            chain: "c-1",
            seq,
            prev,
            pod: "pod-0",
            stranger: true,
        }
    }

    #[test]
    fn members_are_sorted_at_every_level_and_nothing_is_lost_in_a_round_trip() {
        let mut event = full();
        event.subject.as_mut().unwrap().roles = vec!["r".into(); NAMES_MAX + 2];
        let bytes = canonical(&event, &place(3, &[9; 32]));
        // serde_json's map is ordered by name, so writing back the parsed tree sorts it.
        let parsed: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(serde_json::to_vec(&parsed).unwrap(), bytes);
        assert_eq!(parsed["truncated"], 2);
        assert_eq!(parsed.as_object().unwrap().len(), 25);
        assert_eq!(parsed["time"], "2025-11-22T22:22:22.000001Z");
    }

    #[test]
    fn the_smallest_event_has_its_place_and_no_more() {
        let event = Event::new(EventName::AuditStarted, Outcome::Success);
        let mut place = place(0, &[0; 32]);
        place.stranger = false;
        let parsed: serde_json::Value = serde_json::from_slice(&canonical(&event, &place)).unwrap();
        let names: Vec<_> = parsed.as_object().unwrap().keys().cloned().collect();
        assert_eq!(
            names,
            [
                "chain", "event", "outcome", "pod", "prev", "seq", "severity", "time", "uid", "v"
            ]
        );
    }

    #[test]
    fn the_largest_event_fits_a_frame() {
        let long = "\u{10ffff}".repeat(300);
        let mut event = full();
        let subject = event.subject.as_mut().unwrap();
        subject.roles = vec![long.clone(); 200];
        subject.second_factor = vec![long.clone(); 200];
        event.fields = vec![
            FieldTouched {
                name: long.clone(),
                action: FieldAction::Tokenized,
                count: u32::MAX
            };
            400
        ];
        event.patients = vec![event.patients[0]; 5000];
        assert!(
            canonical(&event, &place(3, &[9; 32])).len() < crate::spool::FRAME_BYTES_MAX / 4 * 3
        );
    }
}
