//! Every event of the catalogue in every format, before validators and parsers that are none of ours.
//!
//! The records are made by a trail in a spool of the test's own and read back from there. Each validator is shown records that are
//! spoilt, too: one that finds nothing wrong in those would prove nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use safeguard_audit::query::{self, Query};
use safeguard_audit::{
    AuditKey, AuditKeys, Event, EventFormat, EventName, FieldAction, FieldTouched, Mcp, Outcome,
    Record, SpoolSettings, Subject, Trail,
};
use safeguard_tests::collector::Collector;
use safeguard_tests::configuration::Setup;
use safeguard_tests::otel::{Otel, Speaks};
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::upstream::{Upstream, structured};
use safeguard_tests::wait::eventually;
use safeguard_tests::{real, spool};
use serde_json::{Value, json};
use uuid::Uuid;

/// What a person may be called who wants to break a format.
const HOSTILE: &str = "a|b=c\\d] e=f <g>&\"' src=10.6.6.6 \u{202e}é\u{1f600}";

const OPERATIONS: [&str; 7] = [
    "create", "read", "search", "update", "delete", "export", "none",
];

fn whole(name: EventName, outcome: Outcome, operation: &'static str) -> Event<'static> {
    let mut event = Event::new(name, outcome)
        .reason("because")
        .detail("origin", "identity_provider")
        .detail("target", "u-17")
        .detail("roles", "nurse,physician");
    event.subject = Some(Subject {
        sub: "alice".into(),
        iss: "https://idp.example.com/realms/clinic".into(),
        roles: vec!["nurse".into(), "physician".into()],
        client: Some("chart-web".into()),
        mtls_name: Some("web.example.com".into()),
        second_factor: vec!["otp".into(), "webauthn".into(), "sms".into()],
        auth_time: Some(5),
    });
    event.mcp = Some(Mcp {
        method: "tools/call".into(),
        tool: Some("read_record".into()),
        operation: Some(operation.into()),
        request_id: Some("7".into()),
    });
    event.rule = Some("read_record".into());
    event.configuration_hash = Some([7; 32]);
    event.fields = vec![FieldTouched {
        name: "ssn".into(),
        action: FieldAction::Masked,
        count: 2,
    }];
    event.purpose = Some("TREAT".into());
    event.source = Some("2001:db8::1".parse().expect("an address"));
    event.session = Some("5e55".into());
    event.trace_id = Some("1".repeat(32).into());
    event.exchange = Some(Uuid::new_v4());
    event
}

/// Every event of the catalogue with every outcome: bare, and with everything for every operation; and one of hostile words.
/// Checkpoints and the end are the trail's own to make: these are more than the 1,024 events after which it makes one.
fn events(trail: &Trail) -> Vec<Event<'static>> {
    let own = [EventName::AuditCheckpoint, EventName::AuditStopped];
    let mut events = Vec::new();
    for name in EventName::ALL
        .iter()
        .copied()
        .filter(|name| !own.contains(name))
    {
        for outcome in [Outcome::Success, Outcome::Denied, Outcome::Failure] {
            events.push(Event::new(name, outcome));
            for operation in OPERATIONS {
                let mut event = whole(name, outcome, operation);
                events.push(event.clone());
                event.patients = vec![trail.pseudonym("p-1")];
                events.push(event);
            }
            let mut of_two = whole(name, outcome, "read");
            of_two.details.remove("origin");
            of_two.source = Some("192.0.2.1".parse().expect("an address"));
            of_two.patients = vec![trail.pseudonym("p-1"), trail.pseudonym("p-2")];
            events.push(of_two);
        }
    }
    let mut hostile = whole(EventName::PhiDelete, Outcome::Denied, "delete").reason(HOSTILE);
    let subject = hostile.subject.as_mut().expect("a subject");
    subject.sub = HOSTILE.into();
    subject.roles = vec![HOSTILE.into()];
    subject.client = Some(HOSTILE.into());
    let mcp = hostile.mcp.as_mut().expect("a call");
    (mcp.tool, mcp.request_id) = (Some(HOSTILE.into()), Some(HOSTILE.into()));
    events.push(hostile);
    events
}

/// The same as the spool has them, with what the trail adds by itself.
async fn records() -> Vec<Record> {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = SpoolSettings::new(folder.path().join("spool"), folder.path().join("state"));
    let keys =
        || AuditKeys::new(vec![AuditKey::new("aud-1", 0, [1; 32])]).expect("a ring of one key");
    let trail = Trail::open(settings.clone(), keys()).expect("a trail");
    let pending: Vec<_> = events(&trail)
        .into_iter()
        .map(|event| trail.record(event))
        .collect();
    for event in pending {
        event.durable().await.expect("durable");
    }
    trail.close().await.expect("closed");
    let query = Query {
        limit: Some(usize::MAX),
        ..Query::default()
    };
    let answer = query::spool(
        &settings.directory,
        &settings.state_directory,
        &keys(),
        &query,
    )
    .expect("read");
    assert!(answer.report.whole(), "{:?}", answer.report);
    let names: BTreeSet<EventName> = answer.records.iter().map(Record::name).collect();
    assert_eq!(
        names,
        EventName::ALL.iter().copied().collect(),
        "every event of the catalogue"
    );
    answer.records
}

fn rendered(records: &[Record], format: EventFormat) -> Vec<String> {
    records
        .iter()
        .map(|record| String::from_utf8(format.render(record)).expect("text"))
        .collect()
}

/// What a foreign program says of each line that it has something to say of.
fn judged(format: &str, lines: &[String]) -> BTreeMap<usize, Vec<String>> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("events");
    std::fs::write(&file, lines.join("\n") + "\n").expect("written");
    let parts = real::formats();
    let mut command = match format {
        "fhir" | "dicom" => {
            let mut command = Command::new("java");
            let classes = format!("{0}/java/classes:{0}/java/lib/*", parts.display());
            command.args(["-Dfile.encoding=UTF-8", "-cp", &classes, "Validator"]);
            command
        }
        _ => {
            let mut command = Command::new(parts.join("bin/python"));
            command
                .arg(real::fixture("formats/judge.py"))
                .env("PYTHONIOENCODING", "utf-8");
            command
        }
    };
    let output = command
        .arg(format)
        .arg(&file)
        .output()
        .expect("a validator: tests/run installs it");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{format}: {errors}");
    let mut verdicts: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).expect("text").lines() {
        let Some((number, what)) = line.split_once('\t') else {
            continue;
        };
        let number = number.parse().expect("a number");
        verdicts.entry(number).or_default().push(what.to_owned());
    }
    verdicts
}

/// Nothing is wrong with any event; each of the spoilt ones, made of a rendering, is refused.
fn holds(format: &str, lines: &[String], spoilt: &[String]) {
    let all = [lines, spoilt].concat();
    let verdicts = judged(format, &all);
    let kinds: BTreeMap<&String, (usize, &String)> = verdicts
        .range(..lines.len())
        .flat_map(|(number, found)| found.iter().map(|what| (what, (*number, &lines[*number]))))
        .collect();
    assert!(kinds.is_empty(), "{format}: {kinds:#?}");
    for (number, line) in all.iter().enumerate().skip(lines.len()) {
        assert!(verdicts.contains_key(&number), "{format}: {line}");
    }
}

/// A rendering with one change.
fn changed(line: &str, change: impl Fn(&mut Value)) -> String {
    let mut event: Value = serde_json::from_str(line).expect("JSON");
    change(&mut event);
    event.to_string()
}

fn without(line: &str, member: &str) -> String {
    changed(line, |event| {
        let members = event.as_object_mut().expect("an object");
        assert!(members.remove(member).is_some(), "{member}");
    })
}

/// One of each kind that FHIR tells apart: an operation counts where the event is of a call.
fn of_each_kind(records: Vec<Record>) -> Vec<Record> {
    let mut seen = BTreeSet::new();
    let kind = |record: &Record| {
        let operation = record.text(&["mcp", "operation"]);
        let of_call = record.name().as_str().starts_with("phi_");
        (
            record.name(),
            record.text(&["outcome"]).map(str::to_owned),
            operation.filter(|_| of_call).map(str::to_owned),
            operation.is_some(),
            record.patients().len().min(if of_call { 2 } else { 0 }),
            record.text(&["reason"]) == Some(HOSTILE),
        )
    };
    records
        .into_iter()
        .filter(|record| seen.insert(kind(record)))
        .collect()
}

/// The line of a call with everything.
fn of_call(lines: &[String], records: &[Record]) -> String {
    let at = records.iter().position(|record| {
        record.name() == EventName::PhiRead && record.text(&["mcp", "operation"]) == Some("read")
    });
    lines[at.expect("a call")].clone()
}

#[tokio::test]
async fn ocsf_1_8_is_valid_for_every_event_and_what_is_not_is_found() {
    let records = records().await;
    let lines = rendered(&records, EventFormat::Ocsf18);
    let call = of_call(&lines, &records);
    let spoilt = [
        without(&call, "api"),
        changed(&call, |event| event["severity_id"] = 42.into()),
        changed(&call, |event| event["patient"] = "p-1".into()),
        changed(&call, |event| {
            event["actor"]["user"]["type_id"] = "1".into()
        }),
    ];
    holds("ocsf", &lines, &spoilt);
}

#[tokio::test]
async fn ocsf_1_9_is_valid_as_far_as_published_schemas_go() {
    let records = records().await;
    let lines = rendered(&records, EventFormat::Ocsf19);
    let call = of_call(&lines, &records);
    let finding = lines
        .iter()
        .find(|line| line.contains(r#""class_uid":2004"#))
        .expect("a finding");
    let spoilt = [
        without(&call, "api"),
        without(&call, "attestation_list"),
        without(finding, "finding_info"),
        changed(finding, |event| {
            event["attestation_list"][0]["fingerprint"]["algorithm_id"] = "SHA-256".into();
        }),
    ];
    holds("ocsf-1.9", &lines, &spoilt);
}

#[tokio::test]
async fn fhir_is_valid_for_every_event_and_every_code_is_one() {
    let records = of_each_kind(records().await);
    let lines = rendered(&records, EventFormat::Fhir);
    let call = of_call(&lines, &records);
    let spoilt = [
        without(&call, "recorded"),
        changed(&call, |event| event["action"] = "X".into()),
        changed(&call, |event| event["subtype"][0]["code"] = "reads".into()),
        changed(&call, |event| {
            event["agent"][0]["type"]["coding"][0]["code"] = "999999".into();
        }),
        changed(&call, |event| event["patient"] = "p-1".into()),
    ];
    holds("fhir", &lines, &spoilt);
}

#[tokio::test]
async fn dicom_is_valid_for_every_event_and_a_parser_reads_who_asked() {
    let records = records().await;
    let lines = rendered(&records, EventFormat::Dicom);
    let call = of_call(&lines, &records);
    let spoilt = [
        call.replacen("EventActionCode=\"R\"", "EventActionCode=\"X\"", 1),
        call.replacen("EventDateTime=", "EventDate=", 1),
        call.replacen("<AuditSourceTypeCode", "<AuditSource", 1),
        call.replacen("</AuditMessage>", "text</AuditMessage>", 1),
    ];
    let verdicts = judged("dicom", &[lines.clone(), spoilt.to_vec()].concat());
    for (number, record) in records.iter().enumerate() {
        let asks = record.text(&["source"]).map(|_| "unknown");
        let asked = record.text(&["subject", "sub"]).or(asks);
        let asked = asked.or_else(|| record.text(&["pod"])).expect("somebody");
        let read = format!("user {}", base64_simd::STANDARD.encode_to_string(asked));
        assert_eq!(verdicts[&number], [read], "{}", lines[number]);
    }
    for number in lines.len()..lines.len() + spoilt.len() {
        let verdict = &verdicts[&number][0];
        assert!(verdict.starts_with("refused"), "{verdict}");
    }
}

#[tokio::test]
async fn a_parser_of_cef_reads_what_the_record_says_whatever_the_words() {
    let records = records().await;
    let lines = rendered(&records, EventFormat::Cef);
    let verdicts = judged(
        "cef",
        &[lines.clone(), vec!["CEF:0|Safeguard||1||".to_owned()]].concat(),
    );
    assert_eq!(verdicts[&lines.len()], ["refused"], "the parser can refuse");
    for (number, record) in records.iter().enumerate() {
        let read = verdicts[&number][0].strip_prefix("read ").expect("read");
        let read: Value = serde_json::from_str(read).expect("JSON");
        let pairs = [
            ("DeviceEventClassID", Some(record.name().as_str())),
            ("Name", Some(record.name().when())),
            ("suser", record.text(&["subject", "sub"])),
            ("sourceServiceName", record.text(&["subject", "client"])),
            ("destinationServiceName", record.text(&["mcp", "tool"])),
            ("act", record.text(&["mcp", "method"])),
            ("reason", record.text(&["reason"])),
            ("purpose", record.text(&["purpose"])),
            ("session", record.text(&["session"])),
            ("outcome", record.text(&["outcome"])),
        ];
        for (member, said) in pairs {
            assert_eq!(read[member].as_str(), said, "{member} of {}", lines[number]);
        }
        assert_eq!(read["externalId"], record.uid().to_string());
    }
}

/// A real log collector, by the protocol that it is reached by.
enum Carrier {
    Syslog(Collector),
    Http(Otel),
}

impl Carrier {
    fn of(setup: &mut Setup, speaks: Option<Speaks>, format: &str) -> Self {
        let line = format!("      format: {format}\n");
        match speaks {
            None => Self::Syslog(Collector::of_format(setup, format)),
            Some(speaks) => Self::Http(Otel::of(setup, speaks, &line)),
        }
    }

    async fn up(&mut self) {
        match self {
            Self::Syslog(collector) => collector.up().await,
            Self::Http(collector) => collector.up().await,
        }
    }

    /// The events as it has them; of what it has taken apart (JSON that came as JSON) nothing but that it is there.
    fn lines(&self) -> Vec<String> {
        match self {
            Self::Syslog(collector) => collector.lines(),
            Self::Http(collector) => {
                let text = |one: &Value| one["body"]["stringValue"].as_str().map(str::to_owned);
                let arrived = collector.arrived();
                let lines = arrived.iter().map(|one| text(&one.record));
                lines.map(Option::unwrap_or_default).collect()
            }
        }
    }
}

/// What a collector has of a sidecar's events in a format, once it has all of them, and what they are when rendered from the spool.
async fn carried(
    speaks: Option<Speaks>,
    word: &str,
    format: EventFormat,
) -> (Vec<String>, Vec<String>) {
    let patients = json!({"patients": [{"patient_id": "p-1", "ssn": "123-45-6789"}]});
    let upstream = Upstream::answering(structured(&patients)).await;
    let mut setup = Setup::new(&upstream.url());
    let mut carrier = Carrier::of(&mut setup, speaks, word);
    carrier.up().await;
    let sidecar = Sidecar::start(setup).await;
    let mut client = sidecar.client(&sign(&physician(HOSTILE))).await;
    client.succeed("find_patient", &json!({})).await;
    let records: Vec<Record> = spool::records(&sidecar.setup.spool())
        .iter()
        .map(|bytes| Record::parse(bytes).expect("a record"))
        .collect();
    let lines = rendered(&records, format);
    let has = eventually("as many events at the collector", || async {
        let has = carrier.lines();
        (has.len() >= lines.len()).then_some(has)
    })
    .await;
    (has, lines)
}

#[tokio::test]
async fn what_real_collectors_have_is_what_was_rendered_byte_for_byte_and_valid() {
    for speaks in [None, Some(Speaks::Otlp)] {
        for (word, format) in EventFormat::ALL {
            let (has, lines) = carried(speaks, word, format).await;
            assert_eq!(has[..lines.len()], lines, "{speaks:?} {word}");
            // The same bytes need no second verdict.
            if word == "native" || speaks.is_some() {
                continue;
            }
            let verdicts = judged(word, &has);
            let read = match word {
                "dicom" => Some("user "),
                "cef" => Some("read "),
                _ => None,
            };
            match read {
                None => assert!(verdicts.is_empty(), "{word}: {verdicts:?}"),
                Some(read) => {
                    assert_eq!(verdicts.len(), has.len());
                    let mut all = verdicts.values();
                    assert!(all.all(|verdict| verdict[0].starts_with(read)), "{word}");
                }
            }
        }
    }
}

#[tokio::test]
async fn an_event_collector_has_every_format_and_texts_as_they_were() {
    for (word, format) in EventFormat::ALL {
        let (has, lines) = carried(Some(Speaks::Hec), word, format).await;
        if !format.media_type().ends_with("json") {
            assert_eq!(has[..lines.len()], lines, "{word}");
        }
    }
}
