//! Every event of the catalogue in every format. What foreign validators say of the same is in `tests/it/formats.rs`.

use serde_json::Value;
use uuid::Uuid;

use super::EventFormat;
use crate::catalogue::EventName;
use crate::event::tests::{full, place};
use crate::event::{Event, Outcome, canonical};
use crate::record::Record;

pub(super) fn recorded(event: &Event<'_>) -> Record {
    Record::parse(&canonical(event, &place(3, &[9; 32]))).unwrap()
}

/// Every event, with all that an event can have and with nothing.
fn all() -> Vec<Record> {
    let outcomes = [Outcome::Success, Outcome::Denied, Outcome::Failure];
    let each = EventName::ALL
        .iter()
        .flat_map(|name| outcomes.map(|outcome| (*name, outcome)));
    each.flat_map(|(name, outcome)| {
        let bare = Event::new(name, outcome);
        let mut whole = full();
        whole.name = name;
        whole.outcome = outcome;
        whole.severity = name.severity();
        [recorded(&bare), recorded(&whole)]
    })
    .collect()
}

fn json(format: EventFormat, record: &Record) -> Value {
    serde_json::from_slice(&format.render(record)).unwrap()
}

#[test]
fn every_event_has_every_format_in_one_line_and_says_its_name_its_uid_and_its_hash() {
    for record in all() {
        let hash = crate::keys::hex(&record.hash());
        for (word, format) in EventFormat::ALL {
            let text = String::from_utf8(format.render(&record)).unwrap();
            assert!(!text.contains(['\n', '\r']), "{word}: {text}");
            assert!(text.contains(record.name().as_str()), "{word}: {text}");
            let coded = base64_simd::STANDARD.encode_to_string(&hash);
            let has_hash = text.contains(&hash) || text.contains(&coded);
            assert!(has_hash || format == EventFormat::Native, "{word}: {text}");
            assert_eq!(EventFormat::parse(word), Some(format));
        }
    }
}

#[test]
fn ocsf_numbers_agree_with_each_other_and_hold_the_record_as_it_is() {
    for record in all() {
        for format in [EventFormat::Ocsf18, EventFormat::Ocsf19] {
            let event = json(format, &record);
            let (class, activity) = (
                event["class_uid"].as_u64().unwrap(),
                event["activity_id"].as_u64().unwrap(),
            );
            assert_eq!(event["type_uid"], class * 100 + activity);
            assert_eq!(event["category_uid"], class / 1000);
            assert_eq!(
                event["raw_data"].as_str().unwrap().as_bytes(),
                record.bytes()
            );
            assert_eq!(event["metadata"]["uid"], record.uid().to_string());
            assert_eq!(
                event["status_id"] == 1,
                record.text(&["outcome"]) == Some("success")
            );
        }
    }
}

#[test]
fn the_fingerprint_of_ocsf_1_9_is_that_of_the_event_without_it() {
    use sha2::{Digest as _, Sha256};
    for record in all() {
        let mut event = json(EventFormat::Ocsf19, &record);
        let attestation = event["attestation_list"][0].as_object_mut().unwrap();
        let said = attestation.remove("fingerprint").unwrap();
        event.sort_all_objects();
        let computed = Sha256::digest(serde_json::to_vec(&event).unwrap());
        assert_eq!(said["value"], crate::keys::hex(&computed));
    }
}

#[test]
fn fhir_has_exactly_one_requestor_and_no_empty_list() {
    fn no_empty(value: &Value) -> bool {
        match value {
            Value::Array(items) => !items.is_empty() && items.iter().all(no_empty),
            Value::Object(members) => !members.is_empty() && members.values().all(no_empty),
            Value::String(text) => !text.is_empty(),
            _ => true,
        }
    }
    for record in all() {
        let event = json(EventFormat::Fhir, &record);
        let requestors = event["agent"].as_array().unwrap().iter();
        let requestors = requestors
            .filter(|agent| agent["requestor"] == true)
            .count();
        assert_eq!(requestors, 1, "{event}");
        assert!(no_empty(&event), "{event}");
        assert_eq!(event["recorded"], record.time());
    }
}

/// What BALP 1.1 says of its patterns: `PatientRead.fsh` and the like.
#[test]
fn a_call_that_worked_is_its_pattern_of_balp() {
    let patterns = [
        (
            EventName::PhiRead,
            "PatientRead",
            "R",
            "110152",
            "110153",
            "IRCP",
        ),
        (
            EventName::PhiCreate,
            "PatientCreate",
            "C",
            "110153",
            "110152",
            "AUT",
        ),
        (
            EventName::PhiUpdate,
            "PatientUpdate",
            "U",
            "110153",
            "110152",
            "AUT",
        ),
        (
            EventName::PhiDelete,
            "PatientDelete",
            "D",
            "110150",
            "custodian",
            "AUT",
        ),
        (
            EventName::PhiExport,
            "PrivacyDisclosure.Source",
            "R",
            "110152",
            "110153",
            "IRCP",
        ),
    ];
    for (name, pattern, action, client, server, user) in patterns {
        let mut event = full();
        (event.name, event.outcome) = (name, Outcome::Success);
        let fhir = json(EventFormat::Fhir, &recorded(&event));
        let profile = fhir["meta"]["profile"][0].as_str().unwrap();
        assert!(
            profile.ends_with(&format!("IHE.BasicAudit.{pattern}")),
            "{profile}"
        );
        assert_eq!(
            (&fhir["action"], &fhir["outcome"]),
            (&action.into(), &"0".into())
        );
        let codes: Vec<&str> = fhir["agent"]
            .as_array()
            .unwrap()
            .iter()
            .map(|agent| agent["type"]["coding"][0]["code"].as_str().unwrap())
            .collect();
        assert_eq!(codes, [client, server, user]);
        for agent in fhir["agent"].as_array().unwrap() {
            assert!(agent["who"].is_object());
            assert_eq!(agent.get("network").is_some(), agent["requestor"] == false);
        }
        let types: Vec<&str> = fhir["entity"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entity| entity["type"]["code"].as_str().unwrap())
            .collect();
        assert_eq!(types, ["XrequestId", "1", "2"]);
        event.outcome = Outcome::Failure;
        let failed = json(EventFormat::Fhir, &recorded(&event));
        assert_eq!(failed.get("meta"), None, "BALP's patterns are of successes");
    }
    let mut search = full();
    search.mcp.as_mut().unwrap().operation = Some("search".into());
    let search = json(EventFormat::Fhir, &recorded(&search));
    let query = &search["entity"][2];
    assert_eq!(
        (
            &query["role"]["code"],
            query.get("what"),
            query.get("detail")
        ),
        (&"24".into(), None, None)
    );
    assert_eq!(search["action"], "E");
}

#[test]
fn what_is_too_long_loses_the_copy_first_and_then_the_lists() {
    let mut event = full();
    event.patients = vec![event.patients[0]; 200];
    let record = recorded(&event);
    let whole = EventFormat::Ocsf18.render(&record);
    let without_copy = EventFormat::Ocsf18.render_within(&record, whole.len() - 1);
    assert!(without_copy.len() < whole.len());
    let event: Value = serde_json::from_slice(&without_copy).unwrap();
    assert_eq!(event.get("raw_data"), None);
    assert_eq!(event["resources"].as_array().unwrap().len(), 201);
    let short = EventFormat::Ocsf18.render_within(&record, without_copy.len() - 1);
    let event: Value = serde_json::from_slice(&short).unwrap();
    assert_eq!(event["metadata"]["is_truncated"], true);
    assert_eq!(event["resources"].as_array().unwrap().len(), 2);
    for (_, format) in EventFormat::ALL.into_iter().skip(1) {
        assert!(
            format.render_within(&record, 8000).len() <= 8000,
            "{format:?}"
        );
    }
}

#[test]
fn no_word_breaks_out_of_its_place() {
    let hostile = "a|b=c\\d\n\r\u{0}<e>&\"'\u{2028}]é";
    let mut event = full();
    event.name = EventName::PhiDelete;
    event.reason = Some(hostile.into());
    event.rule = Some(hostile.into());
    let subject = event.subject.as_mut().unwrap();
    subject.sub = hostile.into();
    subject.roles = vec![hostile.into()];
    event.mcp.as_mut().unwrap().tool = Some(hostile.into());
    let record = recorded(&event);
    let cef = String::from_utf8(EventFormat::Cef.render(&record)).unwrap();
    // The record itself already writes control characters as the words for them.
    assert!(cef.contains("suser=a|b\\=c\\\\d\\\\u000a"), "{cef}");
    assert!(!cef.contains(" cs1Label=purpose cs1=a"), "{cef}");
    let xml = EventFormat::Dicom.render(&record);
    let mut reader = quick_xml::Reader::from_reader(xml.as_slice());
    loop {
        match reader.read_event() {
            Ok(quick_xml::events::Event::Eof) => break,
            Ok(quick_xml::events::Event::Text(text)) => panic!("{text:?}"),
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let fhir = json(EventFormat::Fhir, &record);
    assert_eq!(
        fhir["agent"][2]["who"]["identifier"]["value"],
        record.text(&["subject", "sub"]).unwrap()
    );
}

#[test]
fn an_event_of_the_identity_provider_names_whom_it_was_done_to() {
    let mut event = Event::new(EventName::RoleAssigned, Outcome::Success)
        .detail("origin", "identity_provider")
        .detail("target", "u-17")
        .detail("roles", "nurse");
    event.exchange = Some(Uuid::nil());
    let event = json(EventFormat::Ocsf18, &recorded(&event));
    assert_eq!(
        (&event["user"]["uid"], &event["privileges"][0]),
        (&"u-17".into(), &"nurse".into())
    );
}
