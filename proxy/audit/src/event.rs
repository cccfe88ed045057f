//! What is recorded: the facts of one event, and how they become canonical bytes.
//!
//! There is no place for a value: fields have a name and what became of them. Lists and texts are bounded on writing, and what was
//! left out is counted in the record's `truncated`. An event borrows what its caller has: it is written out (`render`) on the caller's thread, and gone.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use uuid::Uuid;

use crate::catalogue::{EventName, Severity};
use crate::keys::Pseudonym;

mod render;

pub(crate) use render::{Place, Rendered, Stamp, time_text};
#[cfg(test)]
pub(crate) use tests::canonical;

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
pub struct Subject<'a> {
    /// The token's `sub`.
    pub sub: Cow<'a, str>,
    /// The token's `iss`.
    pub iss: Cow<'a, str>,
    /// The roles of the call.
    pub roles: Vec<Cow<'a, str>>,
    /// The client as the policy names it, or the token's client id.
    pub client: Option<Cow<'a, str>>,
    /// The verified name in the client certificate.
    pub mtls_name: Option<Cow<'a, str>>,
    /// The second factors that the token proves.
    pub second_factor: Vec<Cow<'a, str>>,
    /// When the person last authenticated, Unix seconds.
    pub auth_time: Option<i64>,
}

/// What was asked of the MCP server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mcp<'a> {
    /// The JSON-RPC method.
    pub method: Cow<'a, str>,
    /// The tool, prompt or resource template, as the policy names it.
    pub tool: Option<Cow<'a, str>>,
    /// What the tool does with a record, in the policy's word.
    pub operation: Option<Cow<'a, str>>,
    /// The JSON-RPC id as it stood.
    pub request_id: Option<Cow<'a, str>>,
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
pub struct FieldTouched<'a> {
    /// The policy's name.
    pub name: Cow<'a, str>,
    /// What became of it.
    pub action: FieldAction,
    /// How often.
    pub count: u32,
}

/// A further fact: a word or a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail<'a> {
    /// A word: a code, a version, a fingerprint. Never a value of a record.
    Text(Cow<'a, str>),
    /// A count or a time.
    Integer(i64),
}

impl<'a> From<&'a str> for Detail<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}
impl From<String> for Detail<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}
impl From<i64> for Detail<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

/// One event, before the trail gives it its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// What happened.
    pub name: EventName,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, as a stable snake_case code.
    pub reason: Option<Cow<'a, str>>,
    /// How grave; [`Event::new`] takes the catalogue's.
    pub severity: Severity,
    /// Who asked.
    pub subject: Option<Subject<'a>>,
    /// What was asked.
    pub mcp: Option<Mcp<'a>>,
    /// The policy's rule that decided.
    pub rule: Option<Cow<'a, str>>,
    /// SHA-256 of the configuration in force.
    pub configuration_hash: Option<[u8; 32]>,
    /// Which fields were touched.
    pub fields: Vec<FieldTouched<'a>>,
    /// Whose records.
    pub patients: Vec<Pseudonym>,
    /// The purpose of use (HL7 ActReason).
    pub purpose: Option<Cow<'a, str>>,
    /// The peer's address.
    pub source: Option<IpAddr>,
    /// The session, hashed by the caller.
    pub session: Option<Cow<'a, str>>,
    /// The trace id (W3C, 32 hexadecimal digits).
    pub trace_id: Option<Cow<'a, str>>,
    /// What binds an intent to its outcome.
    pub exchange: Option<Uuid>,
    /// Further facts by a snake_case name.
    pub details: BTreeMap<&'static str, Detail<'a>>,
}

impl<'a> Event<'a> {
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
    pub fn reason(mut self, code: impl Into<Cow<'a, str>>) -> Self {
        self.reason = Some(code.into());
        self
    }

    /// With this further fact.
    #[must_use]
    pub fn detail(mut self, name: &'static str, value: impl Into<Detail<'a>>) -> Self {
        self.details.insert(name, value.into());
        self
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::render::NAMES_MAX;
    use super::*;

    /// Everything that the trail gives an event.
    pub(crate) struct InPlace<'a> {
        pub(crate) stamp: Stamp,
        pub(crate) seq: u64,
        pub(crate) prev: &'a [u8; 32],
    }

    /// The canonical bytes of an event in its place, with the members that readers ask for.
    pub(crate) fn written(
        event: &Event<'_>,
        place: &InPlace<'_>,
    ) -> (Vec<u8>, crate::record::Members) {
        let mut out = b"before".to_vec();
        let members = Rendered::of(event, place.stamp).append(
            &Place {
                chain: "c-1",
                pod: b"\"pod-0\"",
                seq: place.seq,
                prev: place.prev,
            },
            &mut out,
        );
        (out.split_off(6), members)
    }

    pub(crate) fn canonical(event: &Event<'_>, place: &InPlace<'_>) -> Vec<u8> {
        written(event, place).0
    }

    /// An event that has everything.
    pub(crate) fn full() -> Event<'static> {
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
            operation: Some("read".into()),
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
        event.trace_id = Some("1".repeat(32).into());
        event.exchange = Some(Uuid::nil());
        event
    }

    pub(crate) fn place(seq: u64, prev: &[u8; 32]) -> InPlace<'_> {
        InPlace {
            stamp: Stamp {
                uid: Uuid::nil(),
                micros: 1_763_850_142_000_001,
                stranger: true,
            },
            seq,
            prev,
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
        place.stamp.stranger = false;
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
        subject.roles = vec![long.clone().into(); 200];
        subject.second_factor = vec![long.clone().into(); 200];
        event.fields = vec![
            FieldTouched {
                name: long.clone().into(),
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
