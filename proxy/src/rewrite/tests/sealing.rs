//! What values and tokens are bound to, how searched ones are spelt, which hash a record has.

use super::*;

/// A call of another patient, and one of another login session.
fn held<'a>(patient: &'a str, session: &'a [u8]) -> Holder<'a> {
    Holder {
        patient: Some(patient),
        session: Some(session),
        round: None,
        key: HeldKey::Unavailable,
    }
}

fn sent_by(
    world: &World,
    permit: &Permit,
    arguments: &Value,
    holder: Holder<'_>,
    now: i64,
) -> Result<Value, RewriteError> {
    let text = call(arguments).to_string();
    let tree = Tree::parse(text.as_bytes(), &LIMITS).unwrap();
    let stamp = Stamp {
        created_by: "subject-1",
        now_micros: now * 1_000_000,
    };
    let path = ["params", "arguments"];
    let rewritten = request(&tree, &path, permit, &world.workshop, holder, stamp, false)?;
    let body = rewritten.body.unwrap_or_else(|| text.clone().into_bytes());
    let body: Value = serde_json::from_slice(&body).unwrap();
    Ok(body["params"]["arguments"].clone())
}

/// The example without the tools that know no patient before their answer, and with more below `phi`.
fn bound(more: &str) -> World {
    World::with(|text| {
        text.replace("phi:\n  domain", &format!("phi:\n  {more}\n  domain"))
            .replace(
                "patient: result.patients[*].patient_id",
                "patient: args.patient_id",
            )
            .replace(
                "patient: result.records[*].patient_id",
                "patient: args.patient_id",
            )
    })
}

/// An SSN as this caller carries it, in its field.
fn carried(world: &World, permit: &Permit) -> Value {
    let shown = world.structured(permit, &json!({ "ssn": CANARY })).unwrap();
    json!({ "ssn": shown["ssn"] })
}

#[test]
fn a_token_serves_only_the_patient_and_the_session_that_it_is_bound_to() {
    let world = bound("tokens: { bind: [patient, session] }");
    let permit = world.tool("care_agent", "look");
    let back = carried(&world, &permit);
    assert!(sent_by(&world, &permit, &back, HOLDER, NOW).is_ok());
    let moved = Err(RewriteError::Denied("token_not_valid"));
    let other_session: &[u8] = b"session-2";
    for holder in [
        held("p-2", b"session-1"),
        held("p-1", other_session),
        Holder {
            patient: None,
            ..HOLDER
        },
    ] {
        assert_eq!(sent_by(&world, &permit, &back, holder, NOW), moved);
    }
}

#[test]
fn a_token_that_nothing_can_bind_is_not_issued() {
    let world = bound("tokens: { bind: [session] }");
    let permit = world.tool("care_agent", "look");
    let text =
        json!({ "jsonrpc": "2.0", "id": 1, "result": { "structuredContent": { "ssn": CANARY } } })
            .to_string();
    let tree = Tree::parse(text.as_bytes(), &LIMITS).unwrap();
    let about = Call {
        method: Method::Tool,
        permit: &permit,
        holder: Holder::default(),
        uri: None,
        absence: Absence::Anything,
        now_unix: NOW,
    };
    let shown = answer(&tree, &about, &world.workshop)
        .unwrap()
        .body
        .unwrap();
    let shown: Value = serde_json::from_slice(&shown).unwrap();
    assert_eq!(shown["result"]["structuredContent"], json!({}));
}

#[test]
fn a_token_serves_as_long_as_the_policy_says() {
    let world = bound("tokens: { lasts: 8h }");
    let permit = world.tool("care_agent", "look");
    let back = carried(&world, &permit);
    assert!(sent_by(&world, &permit, &back, HOLDER, NOW + 8 * 3600).is_ok());
    for late in [NOW + 8 * 3600 + 1, NOW - 61] {
        assert_eq!(
            sent_by(&world, &permit, &back, HOLDER, late),
            Err(RewriteError::Denied("token_expired"))
        );
    }
}

#[test]
fn a_value_that_is_bound_to_its_patient_opens_for_no_other() {
    let world = bound("bind: [patient]");
    let permit = world.tool("physician", "look");
    let sealed = world.sent(&permit, &json!({ "ssn": CANARY })).unwrap();
    assert_eq!(
        world.structured(&permit, &sealed).unwrap()["ssn"],
        json!(CANARY)
    );
    let text =
        json!({ "jsonrpc": "2.0", "id": 1, "result": { "structuredContent": sealed } }).to_string();
    let tree = Tree::parse(text.as_bytes(), &LIMITS).unwrap();
    for holder in [held("p-2", b"session-1"), Holder::default()] {
        let about = Call {
            method: Method::Tool,
            permit: &permit,
            holder,
            uri: None,
            absence: Absence::Anything,
            now_unix: NOW,
        };
        let refused = answer(&tree, &about, &world.workshop).map(|_| ());
        assert_eq!(refused, Err(RewriteError::Vault("opened")));
    }
    let unbound = sent_by(
        &world,
        &permit,
        &json!({ "ssn": CANARY }),
        Holder::default(),
        NOW,
    );
    assert_eq!(unbound, Err(RewriteError::Vault("sealed")));
}

#[test]
fn a_searched_value_is_the_same_each_time_however_it_is_spelt() {
    let world = World::with(|text| text.replace("also: [mrn]", "also: [mrn], searchable: upper"));
    let permit = world.tool("physician", "look");
    let spelt = |mrn: &str| world.sent(&permit, &json!({ "mrn": mrn })).unwrap()["mrn"].clone();
    let stored = spelt("mrn 00-417");
    assert!(stored.as_str().unwrap().starts_with("hsx1."), "{stored}");
    assert_eq!(stored, spelt("MRN00417"));
    assert_ne!(stored, spelt("MRN00418"));
    assert_eq!(
        world
            .structured(&permit, &json!({ "medical_record_number": stored }))
            .unwrap(),
        json!({ "medical_record_number": "MRN00417" })
    );
    // A list has no form to search by: it is sealed all the same.
    let list = world
        .sent(&permit, &json!({ "mrn": ["MRN-CANARY"] }))
        .unwrap();
    assert_eq!(
        world.opened("medical_record_number", &list["mrn"]),
        json!(["MRN-CANARY"])
    );
}

#[test]
fn values_of_a_web_token_format_open_like_any_other() {
    let world = World::with(|text| text.replace("format: native", "format: jwe"));
    let permit = world.tool("physician", "look");
    let sealed = world.sent(&permit, &json!({ "ssn": CANARY })).unwrap();
    assert!(
        sealed["ssn"]["_value"].as_str().unwrap().starts_with("eyJ"),
        "{sealed}"
    );
    assert_eq!(
        world.structured(&permit, &sealed).unwrap()["ssn"],
        json!(CANARY)
    );
}

#[test]
fn content_that_cannot_be_read_passes_only_where_the_policy_says_so() {
    let image = json!({ "content": [{ "type": "image", "data": "iVBORw0KGgo=", "mimeType": "image/png" }] });
    let world = World::new();
    let shown = world
        .shown(&world.tool("physician", "say"), &image)
        .unwrap();
    assert_eq!(
        shown["content"][0],
        json!({ "type": "text", "text": "[withheld]" })
    );
    let world = World::with(|text| {
        text.replace(
            "patient: args.patient_id, text: reveal }",
            "patient: args.patient_id, binary: reveal }",
        )
    });
    let shown = world
        .shown(&world.tool("physician", "say"), &image)
        .unwrap();
    assert_eq!(shown, image);
}

/// A record as the sidecar stamps it, under some words of `integrity`.
fn stamped(words: &str, record: &Value) -> (World, Value) {
    let world = World::with(|text| {
        text.replace("\nphi:\n", &format!("\nintegrity: {{ {words} }}\nphi:\n"))
    });
    let permit = world.tool("physician", "store_record");
    let arguments = json!({ "patient_id": "p-1", "department": "icu", "record": record });
    let sent = world.sent(&permit, &arguments).unwrap();
    let record = sent["record"].clone();
    (world, record)
}

fn read(world: &World, record: &Value) -> Result<Value, RewriteError> {
    let permit = world.tool("physician", "read_record");
    world.structured(&permit, &json!({ "record": record }))
}

#[test]
fn the_second_hash_binds_patient_version_author_and_time() {
    for words in ["version: v2", "version: both"] {
        let (world, record) = stamped(
            words,
            &json!({ "patient_id": "p-1", "data": { "ssn": CANARY } }),
        );
        assert!(
            record["integrity_v2"].as_str().unwrap().starts_with("iv2."),
            "{record}"
        );
        assert_eq!(
            record.get("integrity_hash").is_some(),
            words.contains("both")
        );
        assert!(read(&world, &record).is_ok());
        for (member, other) in [
            ("version", json!(2)),
            ("created_by", json!("someone")),
            ("created_at", json!("2020-01-01T00:00:00.000000")),
        ] {
            let mut changed = record.clone();
            changed[member] = other;
            assert_eq!(
                read(&world, &changed),
                Err(RewriteError::Integrity("hash_mismatch")),
                "{member}"
            );
        }
        let mut moved = record.clone();
        moved.as_object_mut().unwrap().remove("patient_id");
        assert!(
            read(&world, &moved).is_ok(),
            "the rule's own patient is the same"
        );
        let mut bare = record.clone();
        bare.as_object_mut().unwrap().remove("integrity_v2");
        assert_eq!(
            read(&world, &bare),
            Err(RewriteError::Integrity("hash_missing"))
        );
    }
}

#[test]
fn a_caller_brings_no_hash_of_the_version_that_is_not_written() {
    let (_, record) = stamped(
        "version: seed",
        &json!({ "integrity_v2": "iv2.forged", "data": {} }),
    );
    assert_eq!(record.get("integrity_v2"), None);
}

#[test]
fn a_missing_or_unknown_hash_passes_only_where_the_policy_says_so() {
    let plain = json!({ "data": { "status": "x" } });
    let world =
        World::with(|text| text.replace("\nphi:\n", "\nintegrity: { missing: pass }\nphi:\n"));
    assert!(read(&world, &plain).is_ok());
    assert_eq!(
        read(&World::new(), &plain),
        Err(RewriteError::Integrity("hash_missing"))
    );
    let (strict, record) = stamped("version: v2", &plain);
    let mut unknown = record;
    let mac = unknown["integrity_v2"].as_str().unwrap().to_owned();
    // Another key's id in the token: a character among those of the id.
    let mut other = mac.into_bytes();
    other[8] = if other[8] == b'A' { b'B' } else { b'A' };
    unknown["integrity_v2"] = json!(String::from_utf8(other).unwrap());
    assert_eq!(
        read(&strict, &unknown),
        Err(RewriteError::Integrity("hash_of_unknown_key"))
    );
    let lenient = World::with(|text| {
        text.replace(
            "\nphi:\n",
            "\nintegrity: { version: v2, unknown: pass }\nphi:\n",
        )
    });
    assert!(read(&lenient, &unknown).is_ok());
}

#[test]
fn a_record_without_data_is_hashed_whole_where_the_policy_says_so() {
    let (world, record) = stamped(
        "covers: record",
        &json!({ "patient_id": "p-1", "ssn": CANARY, "note": "x" }),
    );
    assert!(!record.to_string().contains(CANARY));
    assert_eq!(
        read(&world, &record).unwrap()["record"]["ssn"],
        json!(CANARY)
    );
    let mut changed = record;
    changed["note"] = json!("y");
    assert_eq!(
        read(&world, &changed),
        Err(RewriteError::Integrity("hash_mismatch"))
    );
}

#[test]
fn the_metadata_go_where_the_policy_puts_them() {
    for given in [
        json!({ "data": { "ssn": CANARY } }),
        json!({ "data": { "ssn": CANARY }, "extension": { "url": "u", "version": 4 } }),
        json!({ "data": { "ssn": CANARY }, "extension": 7 }),
    ] {
        let (world, record) = stamped("member: extension", &given);
        assert_eq!(record.get("integrity_hash"), None, "{record}");
        let holder = &record["extension"];
        assert!(holder["integrity_hash"].is_string() && holder["created_by"].is_string());
        let before = given["extension"]["version"].as_i64().unwrap_or(0);
        assert_eq!(holder["version"], json!(before + 1));
        let shown = read(&world, &record).unwrap();
        assert_eq!(
            shown["record"]["extension"]["integrity_hash"],
            holder["integrity_hash"]
        );
        let mut changed = record.clone();
        changed["extension"]["integrity_hash"] = json!("0".repeat(64));
        assert_eq!(
            read(&world, &changed),
            Err(RewriteError::Integrity("hash_mismatch"))
        );
    }
}

#[test]
fn the_hash_of_a_record_covers_its_searched_values_as_they_come_back() {
    let world = World::with(|text| text.replace("also: [mrn]", "also: [mrn], searchable: upper"));
    let permit = world.tool("physician", "store_record");
    let data = json!({ "mrn": "mrn 00-417", "text": json!({ "MRN": "mrn 00-418" }).to_string(), "rows": [{ "mrn": ["a list"] }] });
    let arguments = json!({ "patient_id": "p-1", "department": "icu", "record": { "data": data } });
    let stored = world.sent(&permit, &arguments).unwrap()["record"].clone();
    let shown = read(&world, &stored).unwrap();
    assert_eq!(shown["record"]["data"]["mrn"], json!("MRN00417"));
    assert_eq!(
        shown["record"]["data"]["rows"],
        json!([{ "mrn": ["a list"] }])
    );
}
