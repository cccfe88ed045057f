//! Records that were changed behind the sidecar's back: nothing of them is released.

use safeguard_tests::clinic::Clinic;
use safeguard_tests::configuration::{KEYS, Setup};
use safeguard_tests::sidecar::{Sidecar, filter};
use safeguard_tests::tokens::{physician, sign};
use serde_json::{Value, json};

use crate::patients::{assert_no_value, data, to_store};

const VIOLATION: i64 = -32051;

async fn stored() -> (Clinic, Sidecar) {
    let clinic = Clinic::start().await;
    let sidecar = Sidecar::start(Setup::new(&clinic.server.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.integrity"))).await;
    for patient in ["p-1", "p-2"] {
        client.succeed("store_record", &to_store(patient)).await;
    }
    (clinic, sidecar)
}

#[tokio::test]
async fn a_record_goes_up_with_the_seeds_hash_and_metadata() {
    let (clinic, sidecar) = stored().await;
    let record = clinic.stored()["p-1"]["record"].clone();
    assert_eq!(record["created_by"], "dr.integrity");
    assert_eq!(record["version"], 1);
    let created = record["created_at"].as_str().expect("a time");
    assert_eq!(
        created.len(),
        "2026-11-22T22:22:22.000001".len(),
        "UTC, microseconds, no zone: {created}"
    );

    let key = sidecar.setup.folder.path().join("integrity.key");
    std::fs::write(&key, KEYS[1].1).expect("a key file");
    let hash = filter(
        &[
            "integrity",
            "hash",
            "--key-file",
            key.to_str().expect("UTF-8"),
        ],
        &data().to_string(),
    )
    .await
    .expect("a hash");
    assert_eq!(
        record["integrity_hash"],
        hash.trim(),
        "the hash covers the data in clear"
    );
}

#[tokio::test]
async fn what_the_caller_says_of_itself_is_replaced_and_the_version_counts_up() {
    let (clinic, sidecar) = stored().await;
    let mut client = sidecar.client(&sign(&physician("dr.forger"))).await;
    let mut arguments = to_store("p-1");
    for (name, value) in [
        ("integrity_hash", json!("00")),
        ("created_by", json!("somebody")),
        ("created_at", json!("1999")),
        ("version", json!(7)),
    ] {
        arguments["record"][name] = value;
    }
    client.succeed("store_record", &arguments).await;
    let record = clinic.stored()["p-1"]["record"].clone();
    assert_eq!(record["created_by"], "dr.forger");
    assert_eq!(record["version"], 8);
    assert_ne!(record["integrity_hash"], "00");
    client
        .succeed("read_record", &json!({"patient_id": "p-1"}))
        .await;

    arguments["record"]
        .as_object_mut()
        .expect("an object")
        .remove("data");
    let refused = client.call("store_record", &arguments).await;
    assert!(
        refused.get("error").is_some(),
        "a record without data is refused: {refused}"
    );
}

#[tokio::test]
async fn a_record_changed_behind_its_back_is_refused() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 8] = [
        ("a changed member", |store| {
            store["p-1"]["record"]["data"]["status"] = json!("dead")
        }),
        ("an added member", |store| {
            store["p-1"]["record"]["data"]["allergies"] = json!([])
        }),
        ("a removed member", |store| {
            store["p-1"]["record"]["data"]
                .as_object_mut()
                .expect("data")
                .remove("ssn");
        }),
        ("a changed hash", |store| {
            let hash = store["p-1"]["record"]["integrity_hash"]
                .as_str()
                .expect("a hash")
                .to_owned();
            let flipped = if hash.starts_with('0') { "1" } else { "0" };
            store["p-1"]["record"]["integrity_hash"] = json!(format!("{flipped}{}", &hash[1..]));
        }),
        ("no hash", |store| {
            store["p-1"]["record"]
                .as_object_mut()
                .expect("a record")
                .remove("integrity_hash");
        }),
        ("a hash that is null", |store| {
            store["p-1"]["record"]["integrity_hash"] = Value::Null
        }),
        ("another patient's whole record", |store| {
            store["p-1"] = store["p-2"].clone()
        }),
        ("no data", |store| {
            store["p-1"]["record"]
                .as_object_mut()
                .expect("a record")
                .remove("data");
        }),
    ];
    let (clinic, sidecar) = stored().await;
    let good = clinic.stored();
    let mut client = sidecar.client(&sign(&physician("dr.integrity"))).await;
    for (what, change) in changes {
        clinic.tamper(change);
        let answer = client
            .call("read_record", &json!({"patient_id": "p-1"}))
            .await;
        assert_eq!(answer["error"]["code"], VIOLATION, "{what}: {answer}");
        assert_no_value(&answer.to_string(), what);
        clinic.tamper(|store| *store = good.clone());
    }
    client
        .succeed("read_record", &json!({"patient_id": "p-1"}))
        .await;
    let violations: Vec<_> = sidecar
        .events()
        .into_iter()
        .filter(|event| event["event"] == "integrity_violation")
        .collect();
    assert_eq!(violations.len(), 8, "each is an event");
    for violation in violations {
        assert_eq!(violation["severity"], "critical");
        assert!(
            violation["patients"]
                .as_array()
                .is_some_and(|patients| !patients.is_empty()),
            "with the patient's pseudonym: {violation}"
        );
        assert!(!violation.to_string().contains("p-1"), "never the patient");
    }
    assert!(
        sidecar
            .metric("safeguard_integrity_checks_total", &[])
            .await
            >= 9.0
    );
}

#[tokio::test]
async fn a_sealed_value_opens_only_in_its_own_field() {
    let (clinic, sidecar) = stored().await;
    clinic.tamper(|store| {
        let ssn = store["p-1"]["record"]["data"]["ssn"].clone();
        store["p-1"]["record"]["data"]["diagnosis"] = ssn;
    });
    let mut client = sidecar.client(&sign(&physician("dr.integrity"))).await;
    let answer = client
        .call("read_record", &json!({"patient_id": "p-1"}))
        .await;
    let code = answer["error"]["code"].as_i64();
    assert_eq!(code, Some(-32052), "{answer}");
    assert_no_value(&answer.to_string(), "the refusal");

    clinic.tamper(|store| {
        let token = store["p-2"]["record"]["data"]["ssn"]["_value"]
            .as_str()
            .expect("a token")
            .to_owned();
        let cut = &token[..token.len() - 4];
        store["p-2"]["record"]["data"]["ssn"]["_value"] = json!(format!("{cut}AAAA"));
    });
    let answer = client.call("find_patient", &json!({})).await;
    assert_eq!(
        answer["error"]["code"], -32052,
        "what can't be opened is refused: {answer}"
    );
    sidecar.event("decrypt_failure", |_| true).await;
}
