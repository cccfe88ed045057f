//! How an event becomes the canonical bytes of its record (RFC 8785), in two steps.
//!
//! [`Rendered::of`] writes all that the event itself says, on the thread of whoever records it. [`Rendered::append`] puts in what only the
//! one committer knows, the pod, the record's number and the hash of the record before it: a few copies, so that the thread that everybody waits for does little per event.
//! Both are one text with its members in the order of their names.

use time::OffsetDateTime;
use uuid::Uuid;

use super::{Detail, Event, FieldTouched, Mcp, Subject};
use crate::canonical::{Writer, push_hex};
use crate::catalogue::EventName;
use crate::record::{Members, Span};

/// Roles or second factors kept of one event.
pub(super) const NAMES_MAX: usize = 64;
/// Fields kept of one event.
pub(super) const FIELDS_MAX: usize = 256;
/// Patients kept of one event: generous, because an accounting of disclosures is made of them.
pub(super) const PATIENTS_MAX: usize = 4096;
/// Details kept of one event.
const DETAILS_MAX: usize = 32;

/// What the trail gives an event when it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) uid: Uuid,
    /// Microseconds since 1970.
    pub(crate) micros: i64,
    /// Caused by a peer that proved nothing.
    pub(crate) stranger: bool,
}

/// Where the committer puts it.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) chain: &'a str,
    /// The pod's name as JSON text.
    pub(crate) pod: &'a [u8],
    pub(crate) seq: u64,
    pub(crate) prev: &'a [u8; 32],
}

/// An event written out, but for its place in the chain.
#[derive(Debug)]
pub(crate) struct Rendered {
    name: EventName,
    stamp: Stamp,
    text: Vec<u8>,
    /// The members from here on come after `prev`.
    behind_prev: usize,
    /// The members from here on come after `seq`.
    behind_seq: usize,
    /// The places in `text` of what readers ask for.
    members: Members,
}

impl Rendered {
    pub(crate) fn of(event: &Event<'_>, stamp: Stamp) -> Self {
        let mut w = Writer::default();
        let mut members = Members::default();
        before_pod(event, stamp, &mut w, &mut members);
        let behind_prev = w.at();
        members.purpose = optional(&mut w, "purpose", event.purpose.as_deref());
        optional(&mut w, "reason", event.reason.as_deref());
        optional(&mut w, "rule", event.rule.as_deref());
        let behind_seq = w.at();
        after_seq(event, stamp, &mut w, &mut members);
        Self {
            name: event.name,
            stamp,
            text: w.finish(),
            behind_prev,
            behind_seq,
            members,
        }
    }

    pub(crate) fn name(&self) -> EventName {
        self.name
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Bytes of it so far.
    pub(crate) fn length(&self) -> usize {
        self.text.len()
    }

    /// Appends the record's bytes; the places of its members, counted from the record's start.
    pub(crate) fn append(&self, place: &Place<'_>, out: &mut Vec<u8>) -> Members {
        let start = out.len();
        let (first, rest) = self.text.split_at(self.behind_prev.min(self.text.len()));
        let middle = self.behind_seq.saturating_sub(self.behind_prev);
        let (middle, last) = rest.split_at(middle.min(rest.len()));
        out.extend_from_slice(b"{\"chain\":\"");
        let chain = Span::from(out.len() - start, place.chain.len());
        out.extend_from_slice(place.chain.as_bytes());
        out.extend_from_slice(b"\",");
        let shift_first = out.len() - start;
        out.extend_from_slice(first);
        out.extend_from_slice(b",\"pod\":");
        out.extend_from_slice(place.pod);
        out.extend_from_slice(b",\"prev\":\"");
        push_hex(out, place.prev);
        out.push(b'"');
        let shift_middle = out.len() - start - self.behind_prev;
        out.extend_from_slice(middle);
        out.extend_from_slice(b",\"seq\":");
        out.extend_from_slice(itoa::Buffer::new().format(place.seq).as_bytes());
        let shift_last = out.len() - start - self.behind_seq;
        out.extend_from_slice(last);
        let m = &self.members;
        Members {
            chain,
            configuration: m.configuration.shifted(shift_first),
            exchange: m.exchange.shifted(shift_first),
            outcome: m.outcome.shifted(shift_first),
            patients: m.patients.shifted(shift_first),
            tool: m.tool.shifted(shift_first),
            purpose: m.purpose.shifted(shift_middle),
            severity: m.severity.shifted(shift_last),
            client: m.client.shifted(shift_last),
            sub: m.sub.shifted(shift_last),
            time: m.time.shifted(shift_last),
        }
    }
}

/// The members between `chain` and `pod`.
fn before_pod(event: &Event<'_>, stamp: Stamp, w: &mut Writer, members: &mut Members) {
    if let Some(hash) = &event.configuration_hash {
        members.configuration = spanned(w.member("configuration"), |w| w.hex(hash));
    }
    if !event.details.is_empty() {
        w.member("details").object(|w| details(event, w));
    }
    w.member("event").plain(event.name.as_str());
    if let Some(exchange) = &event.exchange {
        members.exchange = spanned(w.member("exchange"), |w| uuid(w, exchange));
    }
    if !event.fields.is_empty() {
        w.member("fields")
            .list(event.fields.iter().take(FIELDS_MAX), field);
    }
    if let Some(mcp) = &event.mcp {
        w.member("mcp")
            .object(|w| members.tool = mcp_members(mcp, w));
    }
    members.outcome = spanned(w.member("outcome"), |w| w.plain(event.outcome.as_str()));
    if !event.patients.is_empty() {
        members.patients = spanned(w.member("patients"), |w| {
            w.list(event.patients.iter().take(PATIENTS_MAX), |w, p| {
                w.hex(p.as_bytes());
            });
        });
    }
    if stamp.stranger {
        w.member("peer").plain("unauthenticated");
    }
}

/// The members after `seq`.
fn after_seq(event: &Event<'_>, stamp: Stamp, w: &mut Writer, members: &mut Members) {
    optional(w, "session", event.session.as_deref());
    members.severity = spanned(w.member("severity"), |w| w.plain(event.severity.as_str()));
    if let Some(source) = event.source {
        w.member("source").display(source);
    }
    if let Some(subject) = &event.subject {
        w.member("subject")
            .object(|w| subject_members(subject, w, members));
    }
    members.time = spanned(w.member("time"), |w| time(w, stamp.micros));
    optional(w, "trace", event.trace_id.as_deref());
    let truncated = truncated(event);
    if truncated > 0 {
        w.member("truncated").counter(truncated);
    }
    uuid(w.member("uid"), &stamp.uid);
    w.member("v").integer(1);
    w.close();
}

fn details(event: &Event<'_>, w: &mut Writer) {
    for (name, detail) in event.details.iter().take(DETAILS_MAX) {
        match detail {
            Detail::Text(text) => w.member(name).text(text),
            Detail::Integer(number) => w.member(name).integer(*number),
        }
    }
}

fn field(w: &mut Writer, field: &FieldTouched<'_>) {
    w.object(|w| {
        w.member("action").plain(field.action.as_str());
        w.member("count").integer(i64::from(field.count));
        w.member("name").text(&field.name);
    });
}

/// The tool's place.
fn mcp_members(mcp: &Mcp<'_>, w: &mut Writer) -> Span {
    optional(w, "id", mcp.request_id.as_deref());
    w.member("method").text(&mcp.method);
    optional(w, "operation", mcp.operation.as_deref());
    optional(w, "tool", mcp.tool.as_deref())
}

fn subject_members(subject: &Subject<'_>, w: &mut Writer, members: &mut Members) {
    if let Some(seconds) = subject.auth_time {
        w.member("auth_time").integer(seconds);
    }
    members.client = optional(w, "client", subject.client.as_deref());
    w.member("iss").text(&subject.iss);
    optional(w, "mtls_name", subject.mtls_name.as_deref());
    w.member("roles")
        .list(subject.roles.iter().take(NAMES_MAX), |w, role| w.text(role));
    w.member("second_factor")
        .list(subject.second_factor.iter().take(NAMES_MAX), |w, factor| {
            w.text(factor);
        });
    members.sub = spanned(w.member("sub"), |w| w.text(&subject.sub));
}

fn optional(w: &mut Writer, name: &str, text: Option<&str>) -> Span {
    text.map_or_else(Span::default, |text| {
        spanned(w.member(name), |w| w.text(text))
    })
}

/// Where the value that `write` writes stands, without its quotes or brackets.
fn spanned(w: &mut Writer, write: impl FnOnce(&mut Writer)) -> Span {
    let start = w.at() + 1;
    write(w);
    Span::from(start, (w.at() - 1).saturating_sub(start))
}

fn uuid(w: &mut Writer, uuid: &Uuid) {
    w.plain(uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
}

/// How many entries of lists the bounds left out.
fn truncated(event: &Event<'_>) -> u64 {
    let beyond = |length: usize, max: usize| length.saturating_sub(max) as u64;
    let names = event.subject.as_ref().map_or(0, |s| {
        beyond(s.roles.len(), NAMES_MAX) + beyond(s.second_factor.len(), NAMES_MAX)
    });
    names
        + beyond(event.fields.len(), FIELDS_MAX)
        + beyond(event.patients.len(), PATIENTS_MAX)
        + beyond(event.details.len(), DETAILS_MAX)
}

/// A time as records write it.
pub(crate) fn time_text(micros: i64) -> String {
    let mut w = Writer::default();
    time(&mut w, micros);
    let quoted = String::from_utf8(w.finish()).unwrap_or_default();
    quoted.trim_matches('"').to_owned()
}

/// Microseconds since 1970 as `2026-11-22T22:22:22.000001Z`.
fn time(w: &mut Writer, micros: i64) {
    let nanos = i128::from(micros) * 1000;
    let time =
        OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second, micro) = time.to_hms_micro();
    w.digits("\"", u32::try_from(year).unwrap_or(0), 4);
    w.digits("-", u32::from(u8::from(month)), 2);
    w.digits("-", u32::from(day), 2);
    w.digits("T", u32::from(hour), 2);
    w.digits(":", u32::from(minute), 2);
    w.digits(":", u32::from(second), 2);
    w.digits(".", micro, 6);
    w.ascii("Z\"");
}
