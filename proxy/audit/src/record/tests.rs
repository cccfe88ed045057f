//! What a record says, against the whole event as a tree.

use proptest::prelude::*;

use super::*;
use crate::event::{
    Event, canonical,
    tests::{full, place},
};

#[test]
fn a_written_event_reads_back() {
    let bytes = canonical(&full(), &place(3, &[9; 32]));
    let record = Record::parse(&bytes).unwrap();
    assert_eq!(
        (record.name(), record.seq(), record.chain(), record.prev()),
        (EventName::PhiRead, 3, "c-1", &[9; 32])
    );
    assert_eq!(record.text(&["subject", "sub"]), Some("alice"));
    assert_eq!(record.patients(), full().patients);
    assert_eq!(record.bytes(), bytes);
}

#[test]
fn what_is_no_record_is_refused() {
    assert_eq!(Record::parse(b"["), Err(RecordError::NotJson));
    assert_eq!(Record::parse(b"[\"chain\"]"), Err(RecordError::NotJson));
    assert_eq!(Record::parse(b"{}"), Err(RecordError::Member("event")));
    let missing = br#"{"event":"phi_read","chain":"c","seq":-1}"#;
    assert_eq!(Record::parse(missing), Err(RecordError::Member("seq")));
}

#[test]
fn a_text_that_is_no_text_and_a_list_in_place_of_an_object_are_absent() {
    let bytes = canonical(&full(), &place(3, &[9; 32]));
    let text = String::from_utf8(bytes).unwrap();
    for (whole, changed) in [
        (r#""purpose":"TREAT""#, r#""purpose":7"#),
        (
            r#""mcp":{"id":"7","method":"tools/call","operation":"read","tool":"read_record"}"#,
            r#""mcp":["read_record"]"#,
        ),
    ] {
        let changed = text.replace(whole, changed);
        assert_ne!(changed, text);
        let record = Record::parse(changed.as_bytes()).unwrap();
        same_as_the_tree(&record);
    }
}

/// Every member that is found by its place is the one that the tree has.
fn same_as_the_tree(record: &Record) {
    let tree: Value = serde_json::from_slice(record.bytes()).unwrap();
    assert_eq!(record.value(), &tree);
    let paths: [&[&str]; 13] = [
        &["chain"],
        &["configuration"],
        &["outcome"],
        &["purpose"],
        &["severity"],
        &["subject", "client"],
        &["subject", "sub"],
        &["time"],
        &["mcp", "tool"],
        &["mcp", "method"],
        &["reason"],
        &["peer"],
        &["nothing"],
    ];
    for path in paths {
        let in_tree = path.iter().try_fold(&tree, |value, name| value.get(name));
        assert_eq!(
            record.text(path),
            in_tree.and_then(Value::as_str),
            "{path:?}"
        );
    }
    assert_eq!(record.chain(), tree["chain"]);
    assert_eq!(record.seq(), tree["seq"].as_u64().unwrap());
    assert_eq!(record.uid().to_string(), tree["uid"]);
    assert_eq!(crate::keys::hex(record.prev()), tree["prev"]);
    assert_eq!(record.name().as_str(), tree["event"]);
    let time = OffsetDateTime::parse(tree["time"].as_str().unwrap(), &Rfc3339).unwrap();
    assert_eq!(
        i128::from(record.micros()) * 1000,
        time.unix_timestamp_nanos()
    );
    let patients: Vec<_> = tree["patients"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|word| word.as_str().unwrap())
        .collect();
    assert_eq!(record.patients_text(), patients.join(" "));
    let parsed: Vec<_> = record.patients().iter().map(ToString::to_string).collect();
    assert_eq!(parsed, patients);
    assert_eq!(record.hash(), fingerprint(record.bytes()));
}

/// An event with texts as hostile as they come, and any of its members absent.
pub(crate) fn any_event() -> impl Strategy<Value = Event<'static>> {
    let text = || proptest::option::of(any::<String>());
    let words = || proptest::collection::vec(any::<String>(), 0..3);
    (
        (text(), text(), text(), text(), text(), text()),
        (
            any::<bool>(),
            any::<bool>(),
            words(),
            words(),
            any::<Option<i64>>(),
        ),
        proptest::collection::vec("[0-9a-f]{32}", 0..4),
        proptest::option::of((any::<String>(), any::<i64>())),
    )
        .prop_map(|(texts, shape, patients, detail)| {
            let (reason, rule, purpose, session, first, second) = texts;
            let (subject, mcp, roles, factors, number) = shape;
            let mut event = full();
            event.reason = reason.map(Into::into);
            event.rule = rule.map(Into::into);
            event.purpose = purpose.map(Into::into);
            event.session = session.map(Into::into);
            let whole = event.subject.take().unwrap();
            event.subject = subject.then(|| crate::Subject {
                sub: first.clone().unwrap_or_default().into(),
                client: second.clone().map(Into::into),
                mtls_name: first.clone().map(Into::into),
                roles: roles.into_iter().map(Into::into).collect(),
                second_factor: factors.into_iter().map(Into::into).collect(),
                auth_time: number,
                ..whole
            });
            let whole = event.mcp.take().unwrap();
            event.mcp = mcp.then(|| crate::Mcp {
                tool: first.map(Into::into),
                request_id: second.map(Into::into),
                ..whole
            });
            event.patients = patients
                .iter()
                .filter_map(|p| Pseudonym::parse(p))
                .collect();
            event.details.clear();
            if let Some((text, number)) = detail {
                event = event.detail("text", text).detail("number", number);
            }
            event.configuration_hash = number.map(|n| [n.to_be_bytes()[7]; 32]);
            event
        })
}

proptest! {
    #[test]
    fn a_record_says_what_its_tree_says(event in any_event(), seq in 0..1_u64 << 53, prev in any::<[u8; 32]>()) {
        let bytes = canonical(&event, &place(seq, &prev));
        let parsed: Value = serde_json::from_slice(&bytes).unwrap();
        let mut names: Vec<_> = parsed.as_object().unwrap().keys().cloned().collect();
        names.sort();
        prop_assert_eq!(parsed.as_object().unwrap().len(), names.len());
        same_as_the_tree(&Record::parse(&bytes).unwrap());
    }

    #[test]
    fn the_places_that_writing_notes_are_those_that_reading_finds(event in any_event(), seq in any::<u64>(), prev in any::<[u8; 32]>()) {
        let (bytes, members) = crate::event::tests::written(&event, &place(seq, &prev));
        prop_assert_eq!(read(&bytes).unwrap().members, members);
    }
}
