//! OTLP/HTTP in its JSON encoding (OTLP 1.x): an event is a `LogRecord`, its text the body, what finds and proves it the attributes.
//!
//! JSON because every receiver of OTLP/HTTP must take it and it needs no generated code. A text as the body, in every format, because only bytes that
//! stay as they are can be hashed again.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::post::Answer;
use super::verdict::{Verdict, failed, of_status};
use super::{Entry, pod};
use crate::canonical::push_hex;
use crate::catalogue::Severity;
use crate::record::Record;

/// Where logs go, behind the endpoint (OTLP, "OTLP/HTTP Request").
pub(super) const PATH: &str = "/v1/logs";
/// Letters of a trace's id (W3C Trace Context).
const TRACE_LETTERS: usize = 32;
const NANOS_PER_MICRO: i64 = 1000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogRecord<'a> {
    time_unix_nano: String,
    observed_time_unix_nano: String,
    severity_number: u8,
    severity_text: &'a str,
    event_name: &'a str,
    body: AnyValue<'a>,
    attributes: [KeyValue<'a>; 6],
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
}

#[derive(Serialize)]
struct KeyValue<'a> {
    key: &'static str,
    value: AnyValue<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum AnyValue<'a> {
    StringValue(&'a str),
    /// 64 bits stand as a text in ProtoJSON.
    IntValue(String),
}

/// The record as a `LogRecord`.
pub(super) fn entry(record: &Record, event: &[u8]) -> Option<Vec<u8>> {
    let severity = record.text(&["severity"]).unwrap_or_default();
    let nanos = record.micros().saturating_mul(NANOS_PER_MICRO).max(0);
    let (uid, mut hash) = (record.uid().to_string(), Vec::new());
    push_hex(&mut hash, record.hash_bytes());
    let text = |key, text| KeyValue {
        key,
        value: AnyValue::StringValue(text),
    };
    let record = LogRecord {
        time_unix_nano: nanos.to_string(),
        observed_time_unix_nano: nanos.to_string(),
        severity_number: number(severity),
        severity_text: severity,
        event_name: record.name().as_str(),
        body: AnyValue::StringValue(std::str::from_utf8(event).ok()?),
        attributes: [
            // By this name the semantic conventions let a collector drop what it has already.
            text("log.record.uid", &uid),
            text("safeguard.chain", record.chain()),
            KeyValue {
                key: "safeguard.seq",
                value: AnyValue::IntValue(record.seq().to_string()),
            },
            text("safeguard.event", record.name().as_str()),
            text(
                "safeguard.outcome",
                record.text(&["outcome"]).unwrap_or_default(),
            ),
            text("safeguard.hash", std::str::from_utf8(&hash).ok()?),
        ],
        trace_id: record.text(&["trace"]).filter(|id| is_trace(id)),
    };
    serde_json::to_vec(&record).ok()
}

/// The numbers that OpenTelemetry's data model gives syslog's severities: INFO, INFO2, WARN, ERROR2.
fn number(severity: &str) -> u8 {
    match severity {
        _ if severity == Severity::Informational.as_str() => 9,
        _ if severity == Severity::Notice.as_str() => 10,
        _ if severity == Severity::Critical.as_str() => 18,
        _ => 13,
    }
}

fn is_trace(id: &str) -> bool {
    id.len() == TRACE_LETTERS
        && id.bytes().all(|letter| letter.is_ascii_hexdigit())
        && id.bytes().any(|letter| letter != b'0')
}

/// A request of these: those of one pod behind one another are of one resource.
pub(super) fn body(entries: &[Entry<'_>]) -> Bytes {
    let room = entries.iter().map(|entry| entry.bytes.len() + 1);
    let mut out = Vec::with_capacity(room.sum::<usize>() + 512);
    out.extend_from_slice(b"{\"resourceLogs\":[");
    for (place, of_pod) in entries
        .chunk_by(|one, next| pod(one.record) == pod(next.record))
        .enumerate()
    {
        if place > 0 {
            out.push(b',');
        }
        let name = of_pod.first().map(|entry| pod(entry.record));
        out.extend_from_slice(resource(name.unwrap_or_default()).as_bytes());
        for (place, entry) in of_pod.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&entry.bytes);
        }
        out.extend_from_slice(b"]}]}");
    }
    out.extend_from_slice(b"]}");
    out.into()
}

/// A resource up to its first record.
fn resource(pod: &str) -> String {
    let pod = serde_json::Value::from(pod);
    format!(
        concat!(
            r#"{{"resource":{{"attributes":["#,
            r#"{{"key":"service.name","value":{{"stringValue":"safeguard"}}}},"#,
            r#"{{"key":"service.version","value":{{"stringValue":"{version}"}}}},"#,
            r#"{{"key":"service.instance.id","value":{{"stringValue":{pod}}}}},"#,
            r#"{{"key":"host.name","value":{{"stringValue":{pod}}}}}]}},"#,
            r#""scopeLogs":[{{"scope":{{"name":"safeguard.audit","version":"{version}"}},"logRecords":["#
        ),
        version = env!("CARGO_PKG_VERSION"),
        pod = pod,
    )
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExportResponse {
    #[serde(default)]
    partial_success: Option<PartialSuccess>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartialSuccess {
    #[serde(default)]
    rejected_log_records: Rejected,
}

/// ProtoJSON writes 64 bits as a text, and has both taken.
#[derive(Deserialize)]
#[serde(untagged)]
enum Rejected {
    Number(i64),
    Text(String),
}

impl Default for Rejected {
    fn default() -> Self {
        Self::Number(0)
    }
}

/// Of a request of so many records.
pub(super) fn verdict(answer: &Answer, sent: usize) -> Verdict {
    if let Some(verdict) = of_status(answer, &answer.status.to_string()) {
        return verdict;
    }
    // Loki, for one, answers 204.
    if answer.body.is_empty() {
        return Verdict::Taken(None);
    }
    let Ok(response) = serde_json::from_slice::<ExportResponse>(&answer.body) else {
        return failed(
            "unexpected",
            "its answer is none of OTLP: is audit_logging.output.endpoint a collector's?",
        );
    };
    let rejected = response
        .partial_success
        .map(|part| part.rejected_log_records);
    let rejected = match rejected.unwrap_or_default() {
        Rejected::Number(number) => Ok(number),
        Rejected::Text(text) => text.parse(),
    };
    match rejected {
        Ok(0) => Verdict::Taken(None),
        Ok(1..) if sent == 1 => Verdict::Refused("rejected".to_owned()),
        Ok(number) if usize::try_from(number).is_ok_and(|number| number >= sent) => {
            Verdict::Refused("rejected".to_owned())
        }
        Ok(1..) => Verdict::Partly,
        _ => failed("unexpected", "it rejects a number of records that is none"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, body: &str) -> Answer {
        Answer {
            status,
            retry_after: None,
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn rejected_records_are_no_success() {
        for (body, of_one, of_three) in [
            ("{}", Verdict::Taken(None), Verdict::Taken(None)),
            ("", Verdict::Taken(None), Verdict::Taken(None)),
            (
                r#"{"partialSuccess":{}}"#,
                Verdict::Taken(None),
                Verdict::Taken(None),
            ),
            (
                r#"{"partialSuccess":{"errorMessage":"a warning"}}"#,
                Verdict::Taken(None),
                Verdict::Taken(None),
            ),
            (
                r#"{"partialSuccess":{"rejectedLogRecords":"1"}}"#,
                Verdict::Refused("rejected".to_owned()),
                Verdict::Partly,
            ),
            (
                r#"{"partialSuccess":{"rejectedLogRecords":3}}"#,
                Verdict::Refused("rejected".to_owned()),
                Verdict::Refused("rejected".to_owned()),
            ),
        ] {
            assert_eq!(verdict(&said(200, body), 1), of_one, "{body}");
            assert_eq!(verdict(&said(200, body), 3), of_three, "{body}");
        }
    }

    #[test]
    fn who_is_no_collector_is_not_believed() {
        for body in [
            "<html>welcome</html>",
            "[]x",
            "ok",
            r#"{"partialSuccess":{"rejectedLogRecords":"many"}}"#,
            r#"{"partialSuccess":{"rejectedLogRecords":-1}}"#,
        ] {
            let verdict = verdict(&said(200, body), 3);
            assert!(matches!(verdict, Verdict::Failed(_)), "{body}: {verdict:?}");
        }
    }

    #[test]
    fn severities_are_those_of_the_data_model_and_a_trace_is_one() {
        assert_eq!(
            ["informational", "notice", "warning", "critical", "new"].map(number),
            [9, 10, 13, 18, 13]
        );
        assert!(is_trace(&"0a".repeat(16)));
        assert!(!is_trace(&"0".repeat(32)) && !is_trace("0a") && !is_trace(&"g".repeat(32)));
    }
}
