//! Splunk's HTTP Event Collector, and what speaks like it: an object an event, one behind the other.
//!
//! *Success* means that the events are in the collector's memory. Where its token has indexer acknowledgement, the number that comes with it can be asked about until they
//! are on disk; only that is a receipt, and only then does the cursor move (`acknowledge: true`).

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use super::post::{Answer, Ask};
use super::verdict::{Verdict, failed, of_status};
use super::{Entry, pod};
use crate::canonical::push_hex;
use crate::record::Record;
use crate::render::EventFormat;

/// Where events go, behind the endpoint.
pub(super) const PATH: &str = "/services/collector/event";
const ACK_PATH: &str = "/services/collector/ack";
const MICROS_PER_SECOND: i64 = 1_000_000;
/// "Success".
const SUCCESS: u64 = 0;
/// "No data": what it says to an empty request of a token that it knows.
const NO_DATA: u64 = 5;
/// What it says of the token, the index and the channel, with 400: no fault of an event.
const OF_CONFIGURATION: [u64; 8] = [1, 2, 3, 4, 7, 10, 11, 14];

/// How events are filed.
#[derive(Debug, Clone)]
pub struct HecSettings {
    /// `source` of each.
    pub source: String,
    /// `sourcetype` of each.
    pub sourcetype: String,
    /// `index` of each; none: the token's own.
    pub index: Option<String>,
    /// Whether only what is indexed is believed.
    pub acknowledge: bool,
}

/// The settings, and the channel that acknowledgements are of.
#[derive(Debug)]
pub(super) struct Hec {
    settings: HecSettings,
    channel: Uuid,
}

#[derive(Serialize)]
struct Event<'a> {
    time: &'a RawValue,
    host: &'a str,
    source: &'a str,
    sourcetype: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<&'a str>,
    event: &'a RawValue,
    fields: Fields<'a>,
}

/// Indexed fields: texts, as Splunk has them.
#[derive(Serialize)]
struct Fields<'a> {
    chain: &'a str,
    event_name: &'a str,
    hash: &'a str,
    outcome: &'a str,
    seq: String,
    uid: String,
}

#[derive(Deserialize)]
struct Said {
    code: u64,
    #[serde(default, rename = "ackId")]
    ack_id: Option<u64>,
}

#[derive(Deserialize)]
struct Acks {
    acks: BTreeMap<String, bool>,
}

impl Hec {
    pub(super) fn new(settings: HecSettings) -> Self {
        Self {
            settings,
            channel: Uuid::new_v4(),
        }
    }

    /// The record as an event object: JSON stays JSON in it, other formats are a text.
    pub(super) fn entry(
        &self,
        record: &Record,
        format: EventFormat,
        event: &[u8],
    ) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(event).ok()?;
        let event = if format.media_type().ends_with("json") {
            RawValue::from_string(text.to_owned()).ok()?
        } else {
            to_raw_value(text).ok()?
        };
        let micros = record.micros().max(0);
        let (seconds, rest) = (micros / MICROS_PER_SECOND, micros % MICROS_PER_SECOND);
        let mut hash = Vec::new();
        push_hex(&mut hash, record.hash_bytes());
        let object = Event {
            time: &RawValue::from_string(format!("{seconds}.{rest:06}")).ok()?,
            host: pod(record),
            source: &self.settings.source,
            sourcetype: &self.settings.sourcetype,
            index: self.settings.index.as_deref(),
            event: &event,
            fields: Fields {
                chain: record.chain(),
                event_name: record.name().as_str(),
                hash: std::str::from_utf8(&hash).ok()?,
                outcome: record.text(&["outcome"]).unwrap_or_default(),
                seq: record.seq().to_string(),
                uid: record.uid().to_string(),
            },
        };
        serde_json::to_vec(&object).ok()
    }

    /// A request of these.
    pub(super) fn ask(&self, entries: &[Entry<'_>]) -> Ask {
        let texts: Vec<&[u8]> = entries.iter().map(|entry| entry.bytes.as_slice()).collect();
        let mut ask = Ask::new(PATH, texts.join(&b"\n"[..]));
        if self.settings.acknowledge {
            ask.headers
                .push(("x-splunk-request-channel", self.channel.to_string()));
        }
        ask
    }

    /// Asks whether what has these numbers is indexed.
    pub(super) fn ask_acks(&self, numbers: &[u64]) -> Ask {
        let body = serde_json::json!({ "acks": numbers }).to_string();
        let path = format!("{ACK_PATH}?channel={}", self.channel);
        let mut ask = Ask::new(path, Bytes::from(body));
        ask.headers
            .push(("x-splunk-request-channel", self.channel.to_string()));
        ask
    }

    /// Of a request of events.
    pub(super) fn verdict(&self, answer: &Answer) -> Verdict {
        let said = serde_json::from_slice::<Said>(&answer.body).ok();
        let word = said.as_ref().map(|said| format!("hec_{}", said.code));
        let word = word.unwrap_or_else(|| answer.status.to_string());
        if answer.status == 400
            && let Some(said) = &said
            && OF_CONFIGURATION.contains(&said.code)
        {
            let what = format!(
                "it answered {} with code {}: correct audit_logging.output.token, index or acknowledge",
                answer.status, said.code
            );
            return failed(&word, what);
        }
        if let Some(verdict) = of_status(answer, &word) {
            return verdict;
        }
        match said {
            Some(said) if said.code == SUCCESS => match said.ack_id {
                None if self.settings.acknowledge => failed(
                    "unacknowledged",
                    "it gives no number to ask about: switch on indexer acknowledgement for the token, or audit_logging.output.acknowledge off",
                ),
                number => Verdict::Taken(number.filter(|_| self.settings.acknowledge)),
            },
            _ => failed(
                "unexpected",
                "its answer is none of an HTTP event collector: correct audit_logging.output.endpoint",
            ),
        }
    }

    /// Whether an answer to an empty request shows a collector that knows our token.
    pub(super) fn is_there(answer: &Answer) -> bool {
        let said = serde_json::from_slice::<Said>(&answer.body);
        said.is_ok_and(|said| matches!(said.code, SUCCESS | NO_DATA))
    }
}

/// The numbers that are indexed, of those asked about; none: that is no answer.
pub(super) fn acknowledged(answer: &Answer) -> Option<Vec<u64>> {
    let acks: Acks = serde_json::from_slice(&answer.body).ok()?;
    let indexed = acks.acks.into_iter().filter(|(_, indexed)| *indexed);
    Some(
        indexed
            .filter_map(|(number, _)| number.parse().ok())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hec(acknowledge: bool) -> Hec {
        Hec::new(HecSettings {
            source: "safeguard".to_owned(),
            sourcetype: "safeguard:audit".to_owned(),
            index: None,
            acknowledge,
        })
    }

    fn said(status: u16, body: &str) -> Answer {
        Answer {
            status,
            retry_after: None,
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn only_success_is_success_and_with_acknowledgement_only_its_number() {
        let plain = said(200, r#"{"text":"Success","code":0}"#);
        let numbered = said(200, r#"{"text":"Success","code":0,"ackId":7}"#);
        assert_eq!(hec(false).verdict(&plain), Verdict::Taken(None));
        assert_eq!(hec(false).verdict(&numbered), Verdict::Taken(None));
        assert_eq!(hec(true).verdict(&numbered), Verdict::Taken(Some(7)));
        assert!(matches!(hec(true).verdict(&plain), Verdict::Failed(_)));
        for body in ["", "ok", "{}", r#"{"text":"HEC is healthy","code":17}"#] {
            let verdict = hec(false).verdict(&said(200, body));
            assert!(matches!(verdict, Verdict::Failed(_)), "{body}");
        }
    }

    #[test]
    fn a_wrong_index_or_token_is_no_fault_of_an_event() {
        let verdict =
            |status, code| hec(false).verdict(&said(status, &format!(r#"{{"code":{code}}}"#)));
        for code in [6, 12, 13, 15] {
            assert_eq!(verdict(400, code), Verdict::Refused(format!("hec_{code}")));
        }
        for code in OF_CONFIGURATION {
            assert!(matches!(verdict(400, code), Verdict::Failed(_)), "{code}");
        }
        assert!(matches!(verdict(403, 4), Verdict::Failed(_)));
        assert!(matches!(verdict(503, 9), Verdict::Busy(_)));
        assert!(matches!(verdict(500, 8), Verdict::Failed(_)));
    }

    #[test]
    fn what_is_indexed_is_named_by_number() {
        let answer = said(200, r#"{"acks":{"0":true,"1":false,"12":true}}"#);
        assert_eq!(acknowledged(&answer), Some(vec![0, 12]));
        assert_eq!(acknowledged(&said(200, "{}")), None);
    }
}
