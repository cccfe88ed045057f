//! The sink against an inbox that knows the rules of both protocols and fails as it is told. What real collectors do with the same requests is held in `tests/it/collectors.rs`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::{Deserializer, Value};

use super::*;
use crate::event::{
    canonical,
    tests::{full, place},
};

/// A record whose number is among these makes a request refused.
#[derive(Default)]
struct Inbox {
    poison: Vec<u64>,
    /// OTLP takes the others of a request with a poison event, and says how many it rejects.
    is_partial: bool,
    /// Answers that are given first, in place of the truth.
    faults: Mutex<VecDeque<Answer>>,
    /// Questions about acknowledgements that are answered with *not yet*.
    unindexed: Mutex<usize>,
    bytes_max: Option<usize>,
    asked: Mutex<Vec<Ask>>,
    has: Mutex<Vec<u64>>,
}

fn answer(status: u16, body: &str) -> Answer {
    Answer {
        status,
        retry_after: None,
        body: body.as_bytes().to_vec(),
    }
}

/// The numbers of the records in a request.
fn numbers(ask: &Ask) -> Vec<u64> {
    if ask.path == hec::PATH {
        let objects = Deserializer::from_slice(&ask.body).into_iter::<Value>();
        let number = |object: Value| object["fields"]["seq"].as_str()?.parse().ok();
        return objects
            .filter_map(|object| number(object.unwrap()))
            .collect();
    }
    let body: Value = serde_json::from_slice(&ask.body).unwrap();
    let resources = body["resourceLogs"].as_array().unwrap().iter();
    let logs = resources.flat_map(|one| one["scopeLogs"][0]["logRecords"].as_array().unwrap());
    logs.map(|log| {
        let number = &log["attributes"][2];
        assert_eq!(number["key"], "safeguard.seq");
        number["value"]["intValue"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    })
    .collect()
}

impl Inbox {
    fn failing(faults: Vec<Answer>) -> Self {
        Self {
            faults: Mutex::new(faults.into()),
            ..Self::default()
        }
    }

    fn with_poison(poison: &[u64], is_partial: bool) -> Self {
        Self {
            poison: poison.to_vec(),
            is_partial,
            ..Self::default()
        }
    }

    fn obey(&self, ask: &Ask) -> Answer {
        if ask.path.starts_with("/services/collector/ack?channel=") {
            let mut left = self.unindexed.lock().unwrap();
            let done = *left == 0;
            *left = left.saturating_sub(1);
            return answer(200, &format!("{{\"acks\":{{\"7\":{done}}}}}"));
        }
        if self.bytes_max.is_some_and(|max| ask.body.len() > max) {
            return answer(413, "");
        }
        let (poison, well): (Vec<u64>, Vec<u64>) = numbers(ask)
            .into_iter()
            .partition(|number| self.poison.contains(number));
        let is_hec = ask.path == hec::PATH;
        if !poison.is_empty() && !self.is_partial {
            let body = if is_hec {
                r#"{"code":6}"#
            } else {
                r#"{"code":3}"#
            };
            return answer(400, body);
        }
        self.has.lock().unwrap().extend(well);
        let rejected = poison.len();
        match is_hec {
            true => answer(200, r#"{"text":"Success","code":0,"ackId":7}"#),
            false => answer(
                200,
                &format!("{{\"partialSuccess\":{{\"rejectedLogRecords\":\"{rejected}\"}}}}"),
            ),
        }
    }

    /// What it has, each once and in order.
    fn has(&self) -> Vec<u64> {
        let mut has = self.has.lock().unwrap().clone();
        has.sort_unstable();
        has.dedup();
        has
    }

    fn requests(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Post for Inbox {
    async fn post(&self, ask: Ask) -> Result<Answer, SinkError> {
        let fault = self.faults.lock().unwrap().pop_front();
        let answer = fault.unwrap_or_else(|| self.obey(&ask));
        self.asked.lock().unwrap().push(ask);
        Ok(answer)
    }
}

fn hec_of(acknowledge: bool) -> Protocol {
    Protocol::Hec(HecSettings {
        source: "safeguard".to_owned(),
        sourcetype: "safeguard:audit".to_owned(),
        index: Some("main".to_owned()),
        acknowledge,
    })
}

fn both() -> [Protocol; 2] {
    [Protocol::Otlp, hec_of(false)]
}

fn sink(inbox: &Arc<Inbox>, protocol: Protocol) -> Collector<Arc<Inbox>> {
    let settings = CollectorSettings {
        protocol,
        format: EventFormat::Native,
        message_bytes_max: 65_536,
        request_bytes_max: 1 << 20,
    };
    Collector::new(Arc::clone(inbox), settings)
}

fn batch(count: u64) -> Vec<Record> {
    let one = |seq| Record::parse(&canonical(&full(), &place(seq, &[0; 32]))).unwrap();
    (0..count).map(one).collect()
}

fn refused(taken: &Taken) -> Vec<usize> {
    taken.refused.iter().map(|(place, _)| *place).collect()
}

#[tokio::test]
async fn a_batch_arrives_in_its_order_and_in_requests_of_bounded_bytes() {
    for protocol in both() {
        let inbox = Arc::new(Inbox::default());
        let mut sink = sink(&inbox, protocol);
        sink.settings.request_bytes_max = 10_000;
        let taken = sink.take(&batch(40)).await.unwrap();
        assert_eq!((taken.new, taken.refused.len()), (40, 0));
        assert_eq!(*inbox.has.lock().unwrap(), (0..40).collect::<Vec<_>>());
        assert!(inbox.requests() > 3);
        let asked = inbox.asked.lock().unwrap();
        assert!(asked.iter().all(|ask| ask.body.len() < 11_000));
    }
}

#[tokio::test]
async fn a_poison_event_is_found_and_the_others_arrive() {
    for protocol in both() {
        for poison in [&[0][..], &[99], &[50], &[3, 4, 70]] {
            let inbox = Arc::new(Inbox::with_poison(poison, false));
            let taken = sink(&inbox, protocol.clone()).take(&batch(100)).await;
            let taken = taken.unwrap();
            let places: Vec<u64> = refused(&taken).iter().map(|place| *place as u64).collect();
            assert_eq!(places, poison);
            assert_eq!(taken.new, 100 - poison.len() as u64);
            assert_eq!(inbox.has().len(), 100 - poison.len());
            assert!(inbox.requests() < 60, "{}", inbox.requests());
        }
    }
}

#[tokio::test]
async fn rejected_records_of_a_partial_success_are_found_by_number() {
    let inbox = Arc::new(Inbox::with_poison(&[7, 21], true));
    let taken = sink(&inbox, Protocol::Otlp).take(&batch(32)).await.unwrap();
    assert_eq!(refused(&taken), [7, 21]);
    assert_eq!((taken.new, inbox.has().len()), (30, 30));
    assert!(taken.refused.iter().all(|(_, code)| code == "rejected"));
}

#[tokio::test]
async fn a_collector_that_refuses_everything_has_no_event_set_aside() {
    for protocol in both() {
        let all: Vec<u64> = (0..2048).collect();
        let inbox = Arc::new(Inbox::with_poison(&all, false));
        for count in [1, 2, 2048] {
            let before = inbox.requests();
            let error = sink(&inbox, protocol.clone()).take(&batch(count)).await;
            assert!(error.unwrap_err().what.contains("every event"));
            assert!(inbox.requests() - before <= REFUSALS_MAX);
        }
    }
}

#[tokio::test]
async fn what_is_no_fault_of_an_event_leaves_the_batch_where_it_is() {
    for protocol in both() {
        for (status, body) in [
            (401, ""),
            (403, r#"{"code":4}"#),
            (404, "not here"),
            (302, ""),
            (500, ""),
            (200, "<html>"),
        ] {
            let inbox = Arc::new(Inbox::failing(vec![answer(status, body)]));
            let taken = sink(&inbox, protocol.clone()).take(&batch(3)).await;
            assert!(taken.is_err(), "{status}");
            assert_eq!((inbox.requests(), inbox.has().len()), (1, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_collector_is_left_alone_for_as_long_as_it_says() {
    for protocol in both() {
        for status in [429, 503] {
            let busy = Answer {
                retry_after: Some("30".to_owned()),
                ..answer(status, r#"{"code":9}"#)
            };
            let inbox = Arc::new(Inbox::failing(vec![busy]));
            let mut sink = sink(&inbox, protocol.clone());
            assert_eq!(sink.take(&batch(2)).await.unwrap_err().code, "busy");
            tokio::time::advance(Duration::from_secs(29)).await;
            assert_eq!(sink.take(&batch(2)).await.unwrap_err().code, "busy");
            assert_eq!(inbox.requests(), 1);
            tokio::time::advance(Duration::from_secs(2)).await;
            assert_eq!(sink.take(&batch(2)).await.unwrap().new, 2);
        }
    }
}

#[tokio::test]
async fn a_request_that_is_too_long_for_the_collector_is_halved() {
    for protocol in both() {
        let inbox = Arc::new(Inbox {
            bytes_max: Some(8000),
            ..Inbox::default()
        });
        let taken = sink(&inbox, protocol).take(&batch(20)).await.unwrap();
        assert_eq!((taken.new, taken.refused.len()), (20, 0));
        assert_eq!(*inbox.has.lock().unwrap(), (0..20).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn an_event_that_is_too_long_is_set_aside_without_a_question() {
    for protocol in both() {
        let inbox = Arc::new(Inbox::default());
        let mut sink = sink(&inbox, protocol);
        sink.settings.message_bytes_max = 200;
        let taken = sink.take(&batch(2)).await.unwrap();
        assert_eq!((refused(&taken), inbox.requests()), (vec![0, 1], 0));
    }
}

#[tokio::test(start_paused = true)]
async fn with_acknowledgement_only_what_is_indexed_counts() {
    let inbox = Arc::new(Inbox {
        unindexed: Mutex::new(4),
        ..Inbox::default()
    });
    assert_eq!(
        sink(&inbox, hec_of(true))
            .take(&batch(2))
            .await
            .unwrap()
            .new,
        2
    );
    assert_eq!(inbox.requests(), 6);
    let never = Arc::new(Inbox {
        unindexed: Mutex::new(usize::MAX),
        ..Inbox::default()
    });
    let error = sink(&never, hec_of(true)).take(&batch(2)).await;
    assert_eq!(error.unwrap_err().code, "unacknowledged");
}

#[test]
fn every_format_is_whole_in_both_protocols() {
    let record = batch(1).remove(0);
    for (_, format) in EventFormat::ALL {
        let text = String::from_utf8(format.render(&record)).unwrap();
        let log: Value =
            serde_json::from_slice(&otlp::entry(&record, text.as_bytes()).unwrap()).unwrap();
        assert_eq!(log["body"]["stringValue"], text);
        assert_eq!(log["eventName"], "phi_read");
        assert_eq!(log["timeUnixNano"], format!("{}", record.micros() * 1000));
        let collector = sink(&Arc::default(), hec_of(false));
        let bytes = collector
            .hec
            .as_ref()
            .unwrap()
            .entry(&record, format, text.as_bytes());
        let bytes = bytes.unwrap();
        let object: Value = serde_json::from_slice(&bytes).unwrap();
        match &object["event"] {
            Value::String(event) => assert_eq!(*event, text),
            _ => assert!(String::from_utf8(bytes).unwrap().contains(&text)),
        }
        assert_eq!(object["fields"]["uid"], record.uid().to_string());
        assert_eq!(
            (&object["index"], &object["host"]),
            (&"main".into(), &pod(&record).into())
        );
    }
}

#[tokio::test]
async fn a_collector_is_asked_without_an_event_whether_it_is_there() {
    for (protocol, well, ill) in [
        (Protocol::Otlp, answer(200, "{}"), answer(401, "")),
        (
            hec_of(false),
            answer(400, r#"{"text":"No data","code":5}"#),
            answer(403, r#"{"text":"Invalid token","code":4}"#),
        ),
    ] {
        let inbox = Arc::new(Inbox::failing(vec![well, ill]));
        let sink = sink(&inbox, protocol);
        sink.reach().await.unwrap();
        assert!(sink.reach().await.unwrap_err().what.contains("token"));
    }
}
