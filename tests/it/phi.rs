//! The way up: whatever is PHI is sealed before the upstream receives it, and nothing else changes.

use safeguard_tests::clinic::Clinic;
use safeguard_tests::configuration::{KEYS, Setup};
use safeguard_tests::sidecar::{Sidecar, filter};
use safeguard_tests::tokens::{claims, physician, sign};
use safeguard_tests::upstream::{Upstream, structured};
use serde_json::{Value, json};

use crate::patients::{VALUES, assert_no_value, data, to_store};

const REFUSED: i64 = -32050;

async fn recorder() -> (Upstream, Sidecar) {
    let upstream =
        Upstream::answering(json!({"content": [{"type": "text", "text": "stored"}]})).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    (upstream, sidecar)
}

/// The value inside an envelope, opened by the product's own command.
async fn opened(envelope: &Value, field: &str) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key");
    std::fs::write(&key, KEYS[0].1).expect("a key file");
    let arguments = [
        "phi",
        "open",
        "--key-file",
        key.to_str().expect("UTF-8"),
        "--key-id",
        "phi-2026-11",
        "--domain",
        "clinic-a/ehr",
        "--field",
        field,
    ];
    let record = json!({field: envelope}).to_string();
    let text = filter(&arguments, &record)
        .await
        .unwrap_or_else(|error| panic!("{field} opens: {error}"));
    serde_json::from_str::<Value>(&text).expect("JSON")[field].clone()
}

#[tokio::test]
async fn what_a_real_server_receives_and_stores_holds_no_value() {
    for clinic in [Clinic::start().await, Clinic::start_json().await] {
        let sidecar = Sidecar::start(Setup::new(&clinic.server.url())).await;
        let mut physician = sidecar.client(&sign(&physician("dr.store"))).await;
        let result = physician.succeed("store_record", &to_store("p-1")).await;
        assert_eq!(
            result["content"][0]["text"], "stored",
            "its text is a fixed word"
        );
        assert_no_value(&clinic.stored_text(), "what the clinic stores");

        let stored = clinic.stored()["p-1"]["record"].clone();
        for (field, value) in data().as_object().expect("an object") {
            if field == "status" {
                assert_eq!(stored["data"][field], *value, "what is no PHI stays");
                continue;
            }
            assert_eq!(
                stored["data"][field]["_encrypted"], true,
                "{field} is an envelope"
            );
            assert!(
                stored["data"][field]["_value"]
                    .as_str()
                    .is_some_and(|token| token.starts_with("hs1.")),
                "{field}"
            );
            assert_eq!(
                opened(&stored["data"][field], field).await,
                *value,
                "{field} opens to what was sent"
            );
        }
        let read = physician
            .succeed("read_record", &json!({"patient_id": "p-1"}))
            .await;
        assert_eq!(
            read["structuredContent"]["record"]["data"],
            data(),
            "and the physician reads it as it was"
        );
        let events = sidecar.events();
        for event in ["phi_access_granted", "phi_create", "phi_read"] {
            assert!(
                events.iter().any(|found| found["event"] == event),
                "{event} is recorded"
            );
        }
        assert_no_value(&Setup::contents(&sidecar.setup.spool()), "the audit spool");
    }
}

#[tokio::test]
async fn every_spelling_of_a_field_at_any_depth_is_sealed() {
    let (upstream, sidecar) = recorder().await;
    let mut client = sidecar.client(&sign(&physician("dr.spelling"))).await;
    let ssn = VALUES[0];
    let body = |arguments: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"find_patient","arguments":{arguments}}}}}"#
        )
    };
    for arguments in [
        format!(r#"{{"ssn":"{ssn}"}}"#),
        format!(r#"{{"SSN":"{ssn}"}}"#),
        format!(r#"{{"patient_ssn":"{ssn}"}}"#),
        format!(r#"{{"Patient-SSN":"{ssn}"}}"#),
        format!(r#"{{"patientSsn":"{ssn}"}}"#),
        format!(r#"{{"socialSecurityNumber":"{ssn}"}}"#),
        format!(r#"{{"\u0073s\u006e":"{ssn}"}}"#),
        format!(r#"{{"a":{{"b":[[{{"c":{{"ssn":"{ssn}"}}}}]]}}}}"#),
        format!(r#"{{"ssn":["{ssn}",{{"x":"{ssn}"}}]}}"#),
        format!(r#"{{"ssn":{{"value":"{ssn}"}}}}"#),
        format!(r#"{{"x":1,"ssn":"first","ssn":"{ssn}"}}"#),
        format!(r#"{{"filter":[{{"ssn":"{ssn}"}},{{"SSN":"{ssn}"}}]}}"#),
    ] {
        let answer = client.post_bytes(body(&arguments)).await;
        // A member that stands twice anywhere in `params` is ambiguous.
        let twice = arguments.contains(r#""first","ssn""#);
        assert_eq!(answer.status, if twice { 400 } else { 200 }, "{arguments}");
        answer.bytes().await;
    }
    assert!(
        !upstream.everything().contains(ssn),
        "the upstream received no value"
    );
    assert!(
        upstream.messages("tools/call").len() >= 11,
        "and yet the calls went up"
    );
}

#[tokio::test]
async fn falsy_values_are_sealed_too() {
    let (upstream, sidecar) = recorder().await;
    let mut client = sidecar.client(&sign(&physician("dr.falsy"))).await;
    let falsy = json!({"ssn": "", "diagnosis": false, "medications": [], "test_results": 0, "date_of_birth": {}, "mrn": null});
    client.succeed("find_patient", &falsy).await;
    let sent = upstream.messages("tools/call")[0]["params"]["arguments"].clone();
    for (name, value) in falsy.as_object().expect("an object") {
        assert_eq!(sent[name]["_encrypted"], true, "{name}");
        let field = if name == "mrn" {
            "medical_record_number"
        } else {
            name
        };
        let record = json!({"_encrypted": true, "_value": sent[name]["_value"]});
        assert_eq!(opened(&record, field).await, *value, "{name}");
    }
}

#[tokio::test]
async fn every_other_byte_goes_up_as_it_came() {
    let (upstream, sidecar) = recorder().await;
    let mut client = sidecar.client(&sign(&physician("dr.bytes"))).await;
    let before = "{ \"jsonrpc\" : \"2.0\",\n\t\"id\":\"\\u00e9-1\" , \"method\":\"tools/call\",\"params\":{\"name\":\"find_patient\", \"arguments\":{\"n\":[1.0,1e5,-0,12345678901234567890123,0.10000000000000000555],\"t\":\"\\u00fc\\/\u{1F600}\\ud83d\\ude00\", \"ssn\" : ";
    let after = " ,\"z\":{ },\"y\":[] },\"_meta\":{\"vendor\":true}} }";
    let body = format!("{before}\"{}\"{after}", VALUES[0]);
    client
        .post_bytes(body)
        .await
        .expect_status(200)
        .await
        .bytes()
        .await;
    let requests = upstream.requests();
    let sent = &requests
        .iter()
        .find(|request| request.message()["method"] == "tools/call")
        .expect("the call")
        .body;
    let text = std::str::from_utf8(sent).expect("UTF-8");
    assert!(text.starts_with(before), "{text}");
    assert!(text.ends_with(after), "{text}");
    let envelope: Value = serde_json::from_str(&text[before.len()..text.len() - after.len()])
        .expect("an envelope in between");
    assert_eq!(opened(&envelope, "ssn").await, VALUES[0]);
}

#[tokio::test]
async fn phi_that_the_caller_may_not_reveal_is_not_written() {
    let (upstream, sidecar) = recorder().await;
    let mut nurse = sidecar
        .client(&sign(&claims("nurse.writes", "nurse", "TREAT")))
        .await;
    let known = upstream.requests().len();
    for arguments in [
        json!({"ssn": VALUES[0]}),
        json!({"ssn": "***-**-6789"}),
        json!({"diagnosis": "x"}),
        json!({"deep": [{"diagnoses": ["x"]}]}),
    ] {
        assert_eq!(
            nurse.refused("find_patient", &arguments).await,
            REFUSED,
            "{arguments}"
        );
    }
    nurse
        .succeed("find_patient", &json!({"medications": ["aspirin"]}))
        .await;
    assert_eq!(
        upstream.requests().len(),
        known + 1,
        "only the last went up"
    );
}

#[tokio::test]
async fn an_envelope_of_the_clients_own_is_refused() {
    let (upstream, sidecar) = recorder().await;
    let mut client = sidecar.client(&sign(&physician("dr.envelope"))).await;
    client
        .succeed("find_patient", &json!({"ssn": VALUES[0]}))
        .await;
    let envelope = upstream.messages("tools/call")[0]["params"]["arguments"]["ssn"].clone();
    for arguments in [
        json!({"ssn": envelope}),
        json!({"ssn": envelope["_value"]}),
        json!({"diagnosis": envelope}),
        json!({"note": envelope}),
        json!({"note": {"_encrypted": true, "_value": "gAAAAA"}}),
    ] {
        let code = client.refused("find_patient", &arguments).await;
        assert_eq!(code, REFUSED, "{arguments}");
    }
    assert_eq!(upstream.messages("tools/call").len(), 1);
}

#[tokio::test]
async fn a_token_is_carried_back_into_its_own_field_only() {
    let record = json!({"patients": [{"patient_id": "p-1", "ssn": VALUES[0], "medical_record_number": VALUES[2], "status": "active"}]});
    let upstream = Upstream::answering(structured(&record)).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut agent = sidecar
        .client_as(&sidecar.agent, &sign(&physician("dr.agent")))
        .await;
    let found = agent.succeed("find_patient", &json!({})).await;
    let patient = &found["structuredContent"]["patients"][0];
    let token = patient["ssn"].as_str().expect("a token").to_owned();
    assert!(token.starts_with("sgt1."), "{token}");

    agent.succeed("find_patient", &json!({"ssn": token})).await;
    let sent =
        upstream.messages("tools/call").last().expect("the call")["params"]["arguments"].clone();
    assert_eq!(
        opened(&sent["ssn"], "ssn").await,
        VALUES[0],
        "the token became the value, sealed"
    );

    let known = upstream.messages("tools/call").len();
    let mut forged = token.clone().into_bytes();
    let last = forged.last_mut().expect("a byte");
    *last = if *last == b'A' { b'B' } else { b'A' };
    for arguments in [
        json!({"medical_record_number": token}),
        json!({"ssn": String::from_utf8(forged).expect("ASCII")}),
        json!({"ssn": format!("{token} ")}),
        json!({"ssn": VALUES[0]}),
    ] {
        let code = agent.refused("find_patient", &arguments).await;
        assert_eq!(code, REFUSED, "{arguments}");
    }
    assert_eq!(upstream.messages("tools/call").len(), known);

    // In a place that is no field of its own it stays a text, never opened.
    agent.succeed("find_patient", &json!({"note": token})).await;
    assert!(!upstream.everything().contains(VALUES[0]));
}

#[tokio::test]
async fn an_upstream_whose_storage_is_clear_gets_values() {
    let upstream = Upstream::answering(structured(
        &json!({"patients": [{"patient_id": "p-1", "ssn": VALUES[0]}]}),
    ))
    .await;
    let sidecar = Sidecar::start(
        Setup::new(&upstream.url())
            .with_policy("storage: encrypted", "storage: clear    ")
            .extended(
                "profile: development
",
            ),
    )
    .await;
    let mut agent = sidecar
        .client_as(&sidecar.agent, &sign(&physician("dr.clear")))
        .await;
    let found = agent.succeed("find_patient", &json!({})).await;
    let token = found["structuredContent"]["patients"][0]["ssn"]
        .as_str()
        .expect("a token")
        .to_owned();
    agent.succeed("find_patient", &json!({"ssn": token})).await;
    assert_eq!(
        upstream.messages("tools/call").last().expect("the call")["params"]["arguments"]["ssn"],
        VALUES[0]
    );
}

#[tokio::test]
async fn a_search_by_record_number_works_on_a_server_that_holds_none() {
    for clinic in [Clinic::start().await, Clinic::start_json().await] {
        let mut setup = Setup::new(&clinic.server.url());
        setup.replace(
            "policy.yaml",
            "also: [mrn]",
            "also: [mrn], searchable: upper",
        );
        let sidecar = Sidecar::start(setup).await;
        let mut client = sidecar.client(&sign(&physician("dr.search"))).await;
        client.succeed("store_record", &to_store("p-1")).await;
        assert_no_value(&clinic.stored_text(), "what the clinic stores");
        for (spelt, found) in [(VALUES[2], 1), ("mrn 0041789", 1), ("MRN-0041780", 0)] {
            let query = json!({"medical_record_number": spelt});
            let patients =
                client.succeed("find_patient", &query).await["structuredContent"]["patients"]
                    .clone();
            assert_eq!(
                patients.as_array().map(Vec::len),
                Some(found),
                "{spelt}: {patients}"
            );
        }
        let record = client
            .succeed("read_record", &json!({"patient_id": "p-1"}))
            .await;
        assert_eq!(
            record["structuredContent"]["record"]["data"]["medical_record_number"],
            "MRN0041789"
        );
    }
}
