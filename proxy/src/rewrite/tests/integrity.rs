//! Records: hashed on their way up, verified on their way down.

use super::*;

fn record() -> Value {
    json!({ "patient_id": "p-1", "data": { "ssn": CANARY, "n": 1.50, "name": "é" } })
}

fn store(world: &World, record: &Value) -> Result<Value, RewriteError> {
    let permit = world.tool("physician", "store_record");
    let arguments = json!({ "patient_id": "p-1", "department": "icu", "record": record });
    Ok(world.sent(&permit, &arguments)?["record"].clone())
}

/// The result of `read_record` for what was stored, in both copies.
fn both(record: &Value) -> Value {
    let content = json!({ "record": record });
    let mut result = text_block(&content.to_string());
    result["structuredContent"] = content;
    result
}

fn read(world: &World, result: &Value) -> Result<Value, RewriteError> {
    world.shown(&world.tool("physician", "read_record"), result)
}

fn is_violation(result: Result<Value, RewriteError>) -> bool {
    matches!(result, Err(RewriteError::Integrity(_)))
}

#[test]
fn what_was_stored_is_verified_and_shown_as_it_was() {
    let world = World::new();
    let stored = store(&world, &record()).unwrap();
    assert!(!stored.to_string().contains(CANARY));
    let shown = read(&world, &both(&stored)).unwrap();
    let seen = &shown["structuredContent"]["record"];
    assert_eq!(seen["data"]["ssn"], json!(CANARY));
    assert_eq!(seen["integrity_hash"], stored["integrity_hash"]);
    let text = shown["content"][0]["text"].as_str().unwrap();
    let twin: Value = serde_json::from_str(text).unwrap();
    assert_eq!(twin, shown["structuredContent"]);
}

#[test]
fn the_sidecar_replaces_what_the_caller_supplied() {
    let world = World::new();
    let mut supplied = record();
    supplied["integrity_hash"] = json!("00");
    supplied["created_at"] = json!("1999-01-01");
    supplied["created_by"] = json!("somebody");
    supplied["version"] = json!(41);
    let stored = store(&world, &supplied).unwrap();
    assert_eq!(stored["created_by"], json!("subject-1"));
    assert_eq!(stored["created_at"], json!("2027-01-15T08:00:00.000007"));
    assert_eq!(stored["version"], json!(42));
    let fresh = store(&world, &record()).unwrap();
    assert_eq!(stored["integrity_hash"], fresh["integrity_hash"]);
    assert_eq!(fresh["version"], json!(1));
}

#[test]
fn integrity_members_are_no_unlisted_arguments() {
    let world = World::with(|text| text.replace("arguments: pass", "arguments: refuse"));
    let mut supplied = json!({ "patient_id": "p-1", "data": { "ssn": CANARY } });
    supplied["version"] = json!(1);
    assert_eq!(store(&world, &supplied).unwrap()["version"], json!(2));
}

#[test]
fn the_hash_covers_what_a_token_carries() {
    let world = World::new();
    let mut carried = record();
    carried["data"]["ssn"] = json!(world.token("ssn", &json!(CANARY)));
    let stored = store(&world, &carried).unwrap();
    let plain = store(&world, &record()).unwrap();
    assert_eq!(stored["integrity_hash"], plain["integrity_hash"]);
    assert_eq!(world.opened("ssn", &stored["data"]["ssn"]), json!(CANARY));
}

#[test]
fn a_record_without_data_or_with_ambiguous_data_is_refused() {
    let world = World::new();
    assert!(is_violation(store(&world, &json!({ "patient_id": "p-1" }))));
    let permit = world.tool("physician", "store_record");
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{"record":{"data":{"a":1,"\u0061":2}}}}}"#;
    assert!(world.up(&permit, text).is_err());
    assert!(
        world
            .sent(&permit, &json!({ "patient_id": "p-1" }))
            .is_err()
    );
}

#[test]
fn a_record_of_another_patient_is_refused_both_ways() {
    let world = World::new();
    let mut other = record();
    other["patient_id"] = json!("p-2");
    assert!(is_violation(store(&world, &other)));
    let mut stored = store(&world, &record()).unwrap();
    stored["patient_id"] = json!("p-2");
    assert!(is_violation(read(&world, &both(&stored))));
}

#[test]
fn a_changed_or_hashless_record_is_refused() {
    let world = World::new();
    let stored = store(&world, &record()).unwrap();
    let mut changed = stored.clone();
    changed["data"]["n"] = json!(2);
    let mut hashless = stored.clone();
    hashless.as_object_mut().unwrap().remove("integrity_hash");
    let mut wrong = stored;
    wrong["integrity_hash"] = json!("0".repeat(64));
    for bad in [changed, hashless, wrong] {
        assert!(is_violation(read(&world, &both(&bad))));
        assert!(is_violation(read(
            &world,
            &text_block(&json!({ "record": bad }).to_string())
        )));
    }
}

#[test]
fn a_copy_that_says_something_else_is_refused() {
    let world = World::new();
    let stored = store(&world, &record()).unwrap();
    let mut tampered = stored.clone();
    tampered["data"]["n"] = json!(9);
    let tampered = json!({ "record": tampered }).to_string();
    let mut result = both(&stored);
    result["content"][0]["text"] = json!(tampered);
    assert!(is_violation(read(&world, &result)));
    // Nor may a third copy, or a block that stands without its array.
    let mut result = both(&stored);
    let block = json!({ "type": "text", "text": tampered });
    result["content"]
        .as_array_mut()
        .unwrap()
        .push(block.clone());
    assert!(is_violation(read(&world, &result)));
    let mut result = both(&stored);
    result["content"] = block;
    assert!(is_violation(read(&world, &result)));
}

#[test]
fn a_path_that_matches_nothing_is_refused_on_success() {
    let world = World::new();
    assert!(is_violation(read(
        &world,
        &json!({ "structuredContent": {} })
    )));
    assert!(is_violation(read(&world, &text_block("not found"))));
    let mut error = text_block("not found");
    error["isError"] = json!(true);
    assert!(read(&world, &error).is_ok());
}

#[test]
fn a_record_in_an_error_is_verified_too() {
    let world = World::new();
    let mut stored = store(&world, &record()).unwrap();
    stored["data"]["n"] = json!(2);
    let mut result = both(&stored);
    result["isError"] = json!(true);
    assert!(is_violation(read(&world, &result)));
}

#[test]
fn phi_in_an_integrity_member_is_shown_by_its_view() {
    let world = World::new();
    let mut stored = store(&world, &record()).unwrap();
    stored["created_by"] = json!({ "ssn": CANARY });
    let permit = world.tool("care_agent", "read_record");
    let shown = world.shown(&permit, &both(&stored)).unwrap();
    assert!(!shown.to_string().contains(CANARY));
}

#[test]
fn fernet_records_of_the_seed_open_and_verify() {
    let world = World::with(|text| text.replace("format: native", "format: fernet"));
    let stored = store(&world, &record()).unwrap();
    let token = stored["data"]["ssn"]["_value"].as_str().unwrap();
    assert!(token.starts_with("gAAAA"));
    let shown = World::new();
    let shown = read(&shown, &both(&stored)).unwrap();
    assert_eq!(
        shown["structuredContent"]["record"]["data"]["ssn"],
        json!(CANARY)
    );
}

#[test]
fn every_record_of_a_list_is_verified() {
    let world =
        World::with(|text| text.replace("record: result.record", "record: result.records[*]"));
    let stored = store(&world, &record()).unwrap();
    let mut bad = stored.clone();
    bad["data"]["n"] = json!(3);
    let good = json!({ "structuredContent": { "records": [stored, stored] } });
    assert!(read(&world, &good).is_ok());
    let mixed = json!({ "structuredContent": { "records": [stored, bad] } });
    assert!(is_violation(read(&world, &mixed)));
}
