use super::*;
use crate::envelope::{Format, Wrap};
use crate::key::KeyMaterial;
use crate::ring::{KeyRing, RingKey};
use serde_json::Value;
use std::sync::Arc;

fn ring() -> Arc<KeyRing> {
    let key = KeyMaterial::from_raw(&[9; 32]).unwrap();
    Arc::new(
        KeyRing::new(vec![RingKey {
            id: "k".into(),
            from_unix: 0,
            key,
        }])
        .unwrap(),
    )
}

fn sealed(record: &str, format: Format, wrap: Wrap, falsy: Falsy) -> String {
    let ring = ring();
    let mut sealer = Sealer::new(&ring, "d", format, wrap, 1).unwrap();
    String::from_utf8(
        seal(
            record.as_bytes(),
            &SEED_FIELDS,
            falsy,
            Some("p"),
            &mut sealer,
        )
        .unwrap(),
    )
    .unwrap()
}

fn opened(record: &str) -> Result<String, RecordError> {
    let opener = Opener::new(ring(), "d");
    open(record.as_bytes(), Some("p"), &opener).map(|json| String::from_utf8(json).unwrap())
}

#[test]
fn a_record_comes_back_byte_for_byte_in_the_native_format() {
    let record = r#" {"id" : 7.10, "ssn": "1", "d\u0069agnosis":[ 1,2 ],"test_results":0, "note":{"ssn":"x"}, "ssn":null} "#;
    for wrap in [Wrap::Object, Wrap::String] {
        let sealed = sealed(record, Format::Native, wrap, Falsy::Seal);
        assert_eq!(sealed.matches("hs1.").count(), 4);
        assert!(
            sealed.starts_with(r#" {"id" : 7.10, "ssn": "#)
                && sealed.contains(r#""note":{"ssn":"x"}, "#),
            "{sealed}"
        );
        assert_eq!(opened(&sealed).unwrap(), record);
    }
}

#[test]
fn falsy_values_stay_in_clear_only_where_the_class_is_followed() {
    let record = r#"{"ssn":"","date_of_birth":0,"medical_record_number":-0.0,"diagnosis":[],"medications":{},"test_results":false}"#;
    assert_eq!(
        sealed(record, Format::Fernet, Wrap::Object, Falsy::Leave),
        record
    );
    assert_eq!(
        sealed(record, Format::Fernet, Wrap::Object, Falsy::Seal)
            .matches("gAAAA")
            .count(),
        6
    );
    assert_eq!(
        sealed(record, Format::Native, Wrap::Object, Falsy::Seal)
            .matches("hs1.")
            .count(),
        6
    );
    let truthy = r#"{"ssn":" ","diagnosis":[null],"test_results":"0"}"#;
    assert_eq!(
        sealed(truthy, Format::Fernet, Wrap::Object, Falsy::Leave)
            .matches("gAAAA")
            .count(),
        3
    );
}

#[test]
fn other_fields_can_be_named() {
    let ring = ring();
    let mut sealer = Sealer::new(&ring, "d", Format::Native, Wrap::Object, 1).unwrap();
    let out = seal(
        r#"{"ssn":1,"naïve":2}"#.as_bytes(),
        &["naïve"],
        Falsy::Seal,
        None,
        &mut sealer,
    )
    .unwrap();
    let out: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(
        (&out["ssn"], &out["naïve"]["_encrypted"]),
        (&Value::from(1), &Value::from(true))
    );
}

#[test]
fn every_envelope_at_the_top_level_opens_whatever_its_name() {
    let sealed = sealed(r#"{"ssn":"x"}"#, Format::Fernet, Wrap::Object, Falsy::Leave);
    let envelope = sealed
        .trim_start_matches(r#"{"ssn":"#)
        .strip_suffix('}')
        .unwrap();
    assert_eq!(
        opened(&format!(r#"{{"note":{envelope},"in":[{envelope}]}}"#)).unwrap(),
        format!(r#"{{"note":"x","in":[{envelope}]}}"#)
    );
    let truthy = envelope.replace("true", "\"yes\"");
    assert_eq!(
        opened(&format!(r#"{{"note":{truthy}}}"#)).unwrap(),
        r#"{"note":"x"}"#
    );
    let falsy = format!(r#"{{"note":{}}}"#, envelope.replace("true", "0"));
    assert_eq!(opened(&falsy).unwrap(), falsy);
}

#[test]
fn an_envelope_that_does_not_open_fails_the_record() {
    let sealed = sealed(r#"{"ssn":"x"}"#, Format::Native, Wrap::Object, Falsy::Seal);
    assert_eq!(
        opened(&sealed.replace("ssn", "diagnosis")),
        Err(RecordError::Open(OpenError::Refused))
    );
    let opener = Opener::new(ring(), "d");
    assert_eq!(
        open(sealed.as_bytes(), None, &opener),
        Err(RecordError::Open(OpenError::Refused))
    );
    for record in [
        r#"{"a":{"_encrypted":true}}"#,
        r#"{"a":{"_encrypted":true,"_value":7}}"#,
    ] {
        assert_eq!(opened(record), Err(RecordError::NoValue));
    }
    assert_eq!(
        opened(r#"{"a":{"_encrypted":true,"_value":"clear"}}"#),
        Err(RecordError::Open(OpenError::Refused))
    );
    let clear = r#"{"a":"hs1.hello","b":"gAAAA batteries","c":{"_value":"x"}}"#;
    assert_eq!(opened(clear).unwrap(), clear);
}

#[test]
fn a_record_in_one_line_stays_in_one_line_when_opened() {
    let ring = ring();
    let mut sealer = Sealer::new(&ring, "d", Format::Native, Wrap::Object, 1).unwrap();
    let mut envelope = Vec::new();
    sealer
        .seal("a", Some("p"), b"[1,\r\n 2,\"\\n\"]", &mut envelope)
        .unwrap();
    let record = format!(r#"{{"a":{}}}"#, String::from_utf8(envelope).unwrap());
    assert_eq!(opened(&record).unwrap(), r#"{"a":[1,   2,"\n"]}"#);
}

#[test]
fn what_is_no_record_is_refused() {
    for text in ["[]", "1", "\"ssn\"", "null"] {
        assert_eq!(opened(text), Err(RecordError::NotAnObject));
    }
    assert!(matches!(opened("{"), Err(RecordError::Text(_))));
    assert!(matches!(
        opened(r#"{"ssn":"\ud800"}"#),
        Err(RecordError::Text(_))
    ));
}
