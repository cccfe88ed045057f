//! A record as a syslog message (RFC 5424) in its frame (RFC 5425 §4.3: its length in bytes, a space, the message).
//!
//! Facility 13, *log audit*; the event's severity in syslog's words; MSGID is the event's name. The structured data names the record, so that a collector finds
//! repetitions and gaps without reading the message; that is the event in the configured format, or the record's canonical JSON as it stands in the spool.
//! No control character can begin a line of its own in any of them. What would be too long leaves out whole members and says so.

use crate::canonical::push_hex;
use crate::catalogue::Severity;
use crate::record::Record;
use crate::render::EventFormat;
use crate::sink::fitting::{fitted, shortened};

/// 13, "log audit" (RFC 5424 §6.2.1).
const FACILITY: u8 = 13;
/// 10, "security/authorization messages", and the MSGID that DICOM asks of its audit messages (PS3.15 A.6).
const FACILITY_OF_ATNA: u8 = 10;
const MSGID_OF_ATNA: &str = "DICOM+RFC3881";
/// Longest HOSTNAME (RFC 5424 §6).
const HOSTNAME_MAX: usize = 255;
/// Appends the framed message. `false`, and nothing appended: not even the shortened event fits `bytes_max`.
pub(super) fn push_framed(
    record: &Record,
    format: EventFormat,
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> bool {
    let message = match format {
        EventFormat::Native => message(record, bytes_max),
        format => rendered(record, format, bytes_max),
    };
    let Some(message) = message else {
        return false;
    };
    out.extend_from_slice(itoa::Buffer::new().format(message.len()).as_bytes());
    out.push(b' ');
    out.extend_from_slice(&message);
    true
}

/// The message with the event in another's words, of at most `bytes_max` bytes.
fn rendered(record: &Record, format: EventFormat, bytes_max: usize) -> Option<Vec<u8>> {
    let whole = head(record, format, false);
    let room = bytes_max.checked_sub(whole.len())?;
    fitted(record, format, room).map(|event| joined(whole, &event))
}

/// The message, of at most `bytes_max` bytes.
fn message(record: &Record, bytes_max: usize) -> Option<Vec<u8>> {
    let whole = head(record, EventFormat::Native, false);
    let room = bytes_max.checked_sub(whole.len())?;
    if record.bytes().len() <= room {
        return Some(joined(whole, record.bytes()));
    }
    let head = head(record, EventFormat::Native, true);
    let room = bytes_max.checked_sub(head.len())?;
    shortened(record, room).map(|event| joined(head, &event))
}

fn joined(mut head: Vec<u8>, event: &[u8]) -> Vec<u8> {
    head.extend_from_slice(event);
    head
}

/// All before the event, with the space behind it.
fn head(record: &Record, format: EventFormat, truncated: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(512 + record.bytes().len());
    let (facility, id) = match format {
        EventFormat::Dicom => (FACILITY_OF_ATNA, MSGID_OF_ATNA),
        _ => (FACILITY, record.name().as_str()),
    };
    let severity = level(record.text(&["severity"]));
    out.push(b'<');
    out.extend_from_slice(
        itoa::Buffer::new()
            .format(facility * 8 + severity)
            .as_bytes(),
    );
    out.extend_from_slice(b">1 ");
    word(record.time(), 32, &mut out);
    out.push(b' ');
    word(
        record.text(&["pod"]).unwrap_or_default(),
        HOSTNAME_MAX,
        &mut out,
    );
    out.extend_from_slice(b" safeguard - ");
    word(id, 32, &mut out);
    out.push(b' ');
    structured(record, truncated, &mut out);
    out.push(b' ');
    out
}

/// The structured data. 32473 is the number of documentation (RFC 5612): the product has none of its own.
fn structured(record: &Record, truncated: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"[origin software=\"safeguard\" swVersion=\"");
    out.extend_from_slice(env!("CARGO_PKG_VERSION").as_bytes());
    out.extend_from_slice(b"\"][audit@32473");
    parameter("chain", record.chain(), out);
    parameter("seq", itoa::Buffer::new().format(record.seq()), out);
    parameter("uid", &record.uid().hyphenated().to_string(), out);
    parameter(
        "outcome",
        record.text(&["outcome"]).unwrap_or_default(),
        out,
    );
    out.extend_from_slice(b" hash=\"");
    push_hex(out, record.hash_bytes());
    out.push(b'"');
    if truncated {
        parameter("truncated", "true", out);
    }
    out.push(b']');
}

/// A parameter, its value escaped (RFC 5424 §6.3.3).
fn parameter(name: &str, value: &str, out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    for byte in value.bytes().filter(|byte| !byte.is_ascii_control()) {
        if matches!(byte, b'"' | b'\\' | b']') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// A header's word: printable ASCII, without what is none, `-` if nothing is left.
fn word(text: &str, max: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend(text.bytes().filter(u8::is_ascii_graphic).take(max));
    if out.len() == start {
        out.push(b'-');
    }
}

/// Syslog's severity: informational 6, notice 5, warning 4, critical 2. An unknown word is treated as grave as a warning.
fn level(severity: Option<&str>) -> u8 {
    let is = |known: Severity| severity == Some(known.as_str());
    match severity {
        _ if is(Severity::Informational) => 6,
        _ if is(Severity::Notice) => 5,
        _ if is(Severity::Critical) => 2,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::catalogue::EventName;
    use crate::event::{
        canonical,
        tests::{full, place},
    };

    fn record() -> Record {
        Record::parse(&canonical(&full(), &place(3, &[0; 32]))).unwrap()
    }

    fn framed(record: &Record, max: usize) -> Option<String> {
        let mut out = Vec::new();
        push_framed(record, EventFormat::Native, max, &mut out)
            .then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_message_is_counted_in_bytes_and_ends_with_the_record_as_it_is() {
        let record = record();
        let framed = framed(&record, 8192).unwrap();
        let (length, message) = framed.split_once(' ').unwrap();
        assert_eq!(length.parse::<usize>().unwrap(), message.len());
        assert!(!length.starts_with('0'));
        let event = std::str::from_utf8(record.bytes()).unwrap();
        let head = message.strip_suffix(event).unwrap();
        let words: Vec<&str> = head.splitn(7, ' ').collect();
        assert!(
            words[0].starts_with('<') && words[0].ends_with(">1"),
            "{head}"
        );
        assert_eq!(words[1], record.time());
        assert_eq!(
            (words[3], words[4], words[5]),
            ("safeguard", "-", record.name().as_str())
        );
        assert!(
            words[6].contains(&format!(" seq=\"{}\"", record.seq())),
            "{head}"
        );
        assert!(!message.contains(['\n', '\r', '\0']));
    }

    #[test]
    fn a_message_in_another_format_keeps_its_head_and_within_its_bound() {
        for (_, format) in EventFormat::ALL.into_iter().skip(1) {
            let mut out = Vec::new();
            assert!(push_framed(&record(), format, 8192, &mut out));
            let text = String::from_utf8(out).unwrap();
            let (length, message) = text.split_once(' ').unwrap();
            assert_eq!(length.parse::<usize>().unwrap(), message.len());
            assert!(message.len() <= 8192 && !message.contains('\n'));
            let dicom = format == EventFormat::Dicom;
            assert_eq!(message.starts_with("<86>1 "), dicom, "{message}");
            assert_eq!(message.contains(" DICOM+RFC3881 ["), dicom, "{message}");
        }
    }

    #[test]
    fn a_long_event_loses_whole_members_and_says_so() {
        let record = record();
        let whole = framed(&record, 1 << 20).unwrap().len();
        let short = framed(&record, whole - 60).unwrap();
        assert!(short.len() < whole && short.contains(" truncated=\"true\"]"));
        let (_, event) = short.split_at(short.find('{').unwrap());
        let event: Value = serde_json::from_str(event).unwrap();
        assert_eq!(event["is_truncated"], true);
        assert_eq!(event["uid"], record.uid().to_string());
        assert_eq!(event.get("fields"), None);
    }

    #[test]
    fn what_fits_in_no_way_is_refused_and_appends_nothing() {
        let mut out = b"before".to_vec();
        assert!(!push_framed(&record(), EventFormat::Native, 300, &mut out));
        assert!(!push_framed(&record(), EventFormat::Ocsf18, 10, &mut out));
        assert_eq!(out, b"before");
    }

    #[test]
    fn nothing_can_break_out_of_a_parameter_or_a_header() {
        let mut out = Vec::new();
        parameter("a", "x\" ]\\\n\u{7f}é", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), " a=\"x\\\" \\]\\\\é\"");
        for (text, expected) in [
            ("pod 1\n<13>", "pod1<13>"),
            ("", "-"),
            ("é \0", "-"),
            ("abcdef", "abcd"),
        ] {
            let mut out = Vec::new();
            word(text, if text == "abcdef" { 4 } else { 48 }, &mut out);
            assert_eq!(out, expected.as_bytes());
        }
    }

    #[test]
    fn every_name_of_the_catalogue_is_a_msgid() {
        for name in EventName::ALL {
            assert!(name.as_str().len() <= 32, "{}", name.as_str());
        }
    }

    #[test]
    fn graver_events_have_smaller_numbers() {
        let levels = [
            Severity::Informational,
            Severity::Notice,
            Severity::Warning,
            Severity::Critical,
        ]
        .map(|severity| level(Some(severity.as_str())));
        assert_eq!(levels, [6, 5, 4, 2]);
        assert_eq!((level(None), level(Some("other"))), (4, 4));
    }
}
