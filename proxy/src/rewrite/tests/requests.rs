//! What goes up.

use super::*;

fn denied(result: Result<Value, RewriteError>) -> &'static str {
    match result {
        Err(RewriteError::Denied(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_argument_under_a_phi_name_is_sealed_for_that_field() {
    let world = World::new();
    let permit = world.tool("physician", "look");
    for name in ["ssn", "SSN", "patient_ssn", "social-security_Number"] {
        let sent = world.sent(&permit, &json!({ name: CANARY })).unwrap();
        assert_eq!(world.opened("ssn", &sent[name]), json!(CANARY), "{name}");
    }
}

#[test]
fn falsy_values_are_sealed_too() {
    let world = World::new();
    let permit = world.tool("physician", "look");
    for value in [
        json!(null),
        json!(0),
        json!(""),
        json!(false),
        json!([]),
        json!({}),
    ] {
        let sent = world.sent(&permit, &json!({ "ssn": value })).unwrap();
        assert_eq!(world.opened("ssn", &sent["ssn"]), value);
    }
}

#[test]
fn an_array_or_object_under_a_phi_name_is_sealed_as_a_whole() {
    let world = World::new();
    let permit = world.tool("physician", "look");
    let value = json!([{ "department": "icu", "ssn": CANARY }, CANARY]);
    let sent = world
        .sent(&permit, &json!({ "medications": value }))
        .unwrap();
    assert_eq!(world.opened("medications", &sent["medications"]), value);
}

#[test]
fn phi_names_are_found_at_any_depth_escaped_or_not() {
    let world = World::new();
    let permit = world.tool("physician", "look");
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"look","arguments":{{"a":[[{{"b":{{"\u0073s\u006e":"{CANARY}"}}}}]]}}}}}}"#
    );
    let body = world.up(&permit, &text).unwrap().body.unwrap();
    let body = String::from_utf8(body).unwrap();
    assert!(!body.contains(CANARY));
    assert!(body.contains(r#""\u0073s\u006e":{"_encrypted":true"#));
}

#[test]
fn json_text_inside_an_argument_is_judged_by_its_members() {
    let world = World::new();
    let permit = world.tool("physician", "look");
    let inner = json!({ "patient": { "ssn": CANARY } }).to_string();
    let twice = json!([inner]).to_string();
    for text in [inner.clone(), twice] {
        let sent = world.sent(&permit, &json!({ "note": text })).unwrap();
        assert!(!sent.to_string().contains(CANARY));
    }
    let nurse = world.tool("billing", "look");
    let sent = world.sent(&nurse, &json!({ "note": inner }));
    assert_eq!(denied(sent), "field_not_revealed");
}

#[test]
fn json_text_that_only_a_lenient_reader_understands_is_refused() {
    let world = World::new();
    let permit = world.tool("physician", "look");
    let deep = format!("{}{{\"ssn\":1}}{}", "[".repeat(200), "]".repeat(200));
    for text in [r#"{"ssn": "123-45-6789", "x": NaN}"#, &deep] {
        let sent = world.sent(&permit, &json!({ "note": text }));
        assert_eq!(denied(sent), "unreadable_json_in_text");
    }
    let lone = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{"note":"{\"ssn\":\"1\",\"x\":\"\ud800\"}"}}}"#;
    assert!(world.up(&permit, lone).is_err());
}

#[test]
fn prose_arguments_pass_byte_for_byte() {
    let world = World::new();
    let permit = world.tool("physician", "look");
    let text = r#"{ "jsonrpc":"2.0", "id":1,"method":"tools/call","params":{"name":"look","arguments":{"note":"caf\u00e9 \ud800 [see] {this}","n":1e400,"n":12345678901234567890}}}"#;
    assert!(world.up(&permit, text).unwrap().body.is_none());
}

#[test]
fn what_stands_beside_the_arguments_is_judged_by_its_phi_names() {
    let world = World::new();
    let physician = world.tool("physician", "look");
    let billing = world.tool("billing", "look");
    let mut beside = call(&json!({}));
    beside["params"]["_meta"] = json!({ "progressToken": 7, "patient": { "ssn": CANARY } });
    let mut outside = call(&json!({}));
    outside["extra"] = json!([{ "ssn": CANARY }]);
    for message in [beside, outside] {
        let text = message.to_string();
        let body = world.up(&physician, &text).unwrap().body.unwrap();
        assert!(!String::from_utf8(body).unwrap().contains(CANARY));
        assert!(world.up(&billing, &text).is_err());
    }
}

#[test]
fn an_argument_that_the_caller_may_not_reveal_is_refused() {
    let world = World::new();
    for (role, field) in [
        ("nurse", "ssn"),       // mask
        ("nurse", "diagnosis"), // withhold
        ("care_agent", "ssn"),  // token
        ("billing", "medications"),
    ] {
        let permit = world.tool(role, "look");
        let sent = world.sent(&permit, &json!({ "a": [{ field: CANARY }] }));
        assert_eq!(denied(sent), "field_not_revealed", "{role} {field}");
    }
}

#[test]
fn a_token_is_redeemed_in_its_own_field_whoever_brings_it() {
    let world = World::new();
    let token = world.token("ssn", &json!(CANARY));
    for role in ["care_agent", "nurse", "physician"] {
        let permit = world.tool(role, "look");
        let sent = world.sent(&permit, &json!({ "a": [{ "patientSsn": token }] }));
        let sent = sent.unwrap();
        assert_eq!(
            world.opened("ssn", &sent["a"][0]["patientSsn"]),
            json!(CANARY)
        );
    }
}

#[test]
fn a_token_in_another_field_or_damaged_is_refused() {
    let world = World::new();
    let permit = world.tool("physician", "look");
    let token = world.token("ssn", &json!(CANARY));
    let other = world.sent(&permit, &json!({ "medical_record_number": token }));
    assert_eq!(denied(other), "token_not_valid");
    let damaged = world.sent(&permit, &json!({ "ssn": format!("{token}A") }));
    assert_eq!(denied(damaged), "token_not_valid");
}

#[test]
fn a_token_in_free_text_or_in_a_list_is_not_opened() {
    let world = World::new();
    let permit = world.tool("care_agent", "look");
    let token = world.token("ssn", &json!(CANARY));
    let free = json!({ "note": token, "department": token });
    assert_eq!(world.sent(&permit, &free).unwrap(), free);
    let list = world.sent(&permit, &json!({ "ssn": [token] }));
    assert_eq!(denied(list), "field_not_revealed");
}

#[test]
fn a_token_goes_up_in_clear_where_storage_is_clear() {
    let world = World::with(|text| {
        text.replace("storage: encrypted", "storage: clear")
            .replace("version: 1", "version: 1\nprofile: development")
            .replace("0.0.0.0:8443", "127.0.0.1:8443")
    });
    let permit = world.tool("care_agent", "look");
    let token = world.token("ssn", &json!(CANARY));
    let sent = world.sent(&permit, &json!({ "ssn": token })).unwrap();
    assert_eq!(sent["ssn"], json!(CANARY));
}

#[test]
fn an_envelope_from_a_client_is_refused_wherever_it_stands() {
    let world = World::new();
    let permit = world.tool("physician", "look");
    let envelope = world.sealed("ssn", &json!(CANARY));
    let token = envelope["_value"].clone();
    for arguments in [
        json!({ "ssn": envelope }),
        json!({ "ssn": token }),
        json!({ "note": envelope }),
        json!({ "note": token }),
        json!({ "medications": [{ "deep": envelope }] }),
        json!({ "medications": [{ "deep": token }] }),
        json!({ "department": [token] }),
        json!({ "note": json!({ "x": envelope }).to_string() }),
        json!({ "_encrypted": true, "_value": token }),
        json!({ "ssn": { "_encrypted": "yes" } }),
    ] {
        let sent = world.sent(&permit, &arguments);
        assert_eq!(denied(sent), "envelope_from_client", "{arguments}");
    }
}

#[test]
fn unlisted_arguments_follow_their_word() {
    let refuse = World::with(|text| text.replace("arguments: pass", "arguments: refuse"));
    let permit = refuse.tool("physician", "look");
    let sent = refuse.sent(&permit, &json!({ "a": { "b": [1] } }));
    assert_eq!(denied(sent), "argument_not_listed");
    let listed = json!({ "department": ["icu"], "ssn": CANARY });
    assert!(refuse.sent(&permit, &listed).is_ok());
    let mut message = call(&listed);
    message["params"]["_meta"] = json!({ "progressToken": 1 });
    assert!(refuse.up(&permit, &message.to_string()).is_ok());
}

#[test]
fn a_null_under_a_withheld_name_is_refused_in_an_update_only() {
    let world = World::new();
    let update = world.tool("physician", "change");
    let read = world.tool("physician", "look");
    for arguments in [json!({ "note": null }), json!({ "tags": ["a", null] })] {
        assert_eq!(denied(world.sent(&update, &arguments)), "null_for_withheld");
        assert!(world.sent(&read, &arguments).is_ok());
    }
    assert!(world.sent(&update, &json!({ "department": null })).is_ok());
}

#[test]
fn arguments_that_are_no_object_are_refused() {
    let world = World::new();
    let permit = world.tool("physician", "look");
    for arguments in [json!([{ "ssn": CANARY }]), json!("{\"ssn\":1}"), json!(7)] {
        assert!(world.sent(&permit, &arguments).is_err());
    }
    assert!(world.up(&permit, &call(&json!(null)).to_string()).is_ok());
}

#[test]
fn a_prompts_argument_takes_the_string_form() {
    let world = World::new();
    let permit = world.tool("physician", "look");
    let text = call(&json!({ "ssn": CANARY })).to_string();
    let tree = Tree::parse(text.as_bytes(), &LIMITS).unwrap();
    let stamp = Stamp {
        created_by: "s",
        now_micros: NOW * 1_000_000,
    };
    let path = ["params", "arguments"];
    let sent = request(&tree, &path, &permit, &world.workshop, HOLDER, stamp, true).unwrap();
    let sent: Value = serde_json::from_slice(&sent.body.unwrap()).unwrap();
    let token = &sent["params"]["arguments"]["ssn"];
    assert!(token.as_str().unwrap().starts_with("hs1."));
}

#[test]
fn a_resources_uri_is_no_argument() {
    let world = World::with(|text| text.replace("arguments: pass", "arguments: refuse"));
    let uri = "patient://p-1/summary";
    let permit = world.permit("physician", &Action::Resource { uri });
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{{"uri":"{uri}"}}}}"#
    );
    let tree = Tree::parse(text.as_bytes(), &LIMITS).unwrap();
    let stamp = Stamp {
        created_by: "s",
        now_micros: NOW * 1_000_000,
    };
    let sent = request(
        &tree,
        &["params"],
        &permit,
        &world.workshop,
        HOLDER,
        stamp,
        false,
    );
    assert!(sent.unwrap().body.is_none());
}

#[test]
fn every_byte_outside_a_sealed_value_is_the_same() {
    let world = World::new();
    let permit = world.tool("physician", "look");
    let head = r#" {"jsonrpc" : "2.0","id":1,"method":"tools\/call", "params":{"arguments":{"x":1.50,"x":1.5, "ssn" :"#;
    let tail = r#" ,"y":"\u00e9"} , "name":"look"}}
"#;
    let body = world
        .up(&permit, &format!("{head}\"{CANARY}\"{tail}"))
        .unwrap();
    let body = String::from_utf8(body.body.unwrap()).unwrap();
    let inner = body.strip_prefix(head).unwrap().strip_suffix(tail).unwrap();
    let sealed: Value = serde_json::from_str(inner).unwrap();
    assert_eq!(world.opened("ssn", &sealed), json!(CANARY));
}

#[test]
fn a_token_is_not_opened_for_an_export() {
    let world = World::with(|text| {
        text.replace(
            "    roles: [physician]\n    patient: result.records",
            "    roles: [physician, care_agent]\n    patient: result.records",
        )
    });
    let token = world.token("ssn", &json!(CANARY));
    let permit = world.tool("care_agent", "export_records");
    assert_eq!(
        denied(world.sent(&permit, &json!({ "ssn": token }))),
        "token_in_export"
    );
    let permit = world.tool("care_agent", "look");
    assert!(world.sent(&permit, &json!({ "ssn": token })).is_ok());
}

/// The request's side of a read of a resource.
fn read(world: &World, role: &str, uri: &str) -> Result<RewrittenRequest, RewriteError> {
    let permit = world.permit(role, &Action::Resource { uri });
    let message =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": { "uri": uri } })
            .to_string();
    let tree = Tree::parse(message.as_bytes(), &LIMITS).unwrap();
    let stamp = Stamp {
        created_by: "s",
        now_micros: NOW * 1_000_000,
    };
    request(
        &tree,
        &["params"],
        &permit,
        &world.workshop,
        HOLDER,
        stamp,
        false,
    )
}

#[test]
fn neither_a_token_nor_anything_sealed_stands_in_a_uri() {
    let world = World::new();
    let token = world.token("ssn", &json!(CANARY));
    let sealed = world.sealed_as("ssn", &json!(CANARY), Format::Native, Wrap::String);
    let encoded = token.replace('s', "%73");
    for opaque in [
        token.as_str(),
        sealed.as_str().unwrap(),
        &encoded,
        &format!("x{token}"),
    ] {
        let refused = read(&world, "physician", &format!("patient://{opaque}/summary"));
        assert_eq!(
            refused.unwrap_err(),
            RewriteError::Denied("token_in_uri"),
            "{opaque}"
        );
    }
    assert!(
        read(&world, "physician", "patient://p-1/summary")
            .unwrap()
            .body
            .is_none()
    );
}

#[test]
fn no_phi_goes_up_in_a_uri_unless_the_upstream_may_hold_it() {
    let named = |text: &str| {
        text.replace("\"patient://{id}/summary\"", "\"patient://{mrn}/summary\"")
            .replace("patient: uri.id", "patient: uri.mrn")
    };
    let world = World::with(named);
    let refused = |role| read(&world, role, "patient://MRN-7/summary").unwrap_err();
    assert_eq!(refused("physician"), RewriteError::Denied("phi_in_uri"));
    let narrow = World::with(|text| {
        named(text).replace(
            "nurse:      { purposes: [TREAT], reveal: [identity, medications",
            "nurse:      { purposes: [TREAT], reveal: [medications",
        )
    });
    let refused = read(&narrow, "nurse", "patient://MRN-7/summary").unwrap_err();
    assert_eq!(refused, RewriteError::Denied("field_not_revealed"));
}

#[test]
fn an_exception_lets_its_tools_arguments_up_in_clear_and_nothing_up_that_the_caller_may_not_reveal()
{
    let until = |day: &str| {
        World::with(|text| {
            format!(
                "{text}\nexceptions:\n  - {{ allow: storage_clear, for: tools.look, because: x, approved_by: y, until: {day} }}\n"
            )
        })
    };
    let world = until("2027-01-15");
    let arguments = json!({ "patient_id": "p-1", "ssn": CANARY });
    let sent = world.sent(&world.tool("physician", "look"), &arguments);
    assert_eq!(sent.unwrap()["ssn"], CANARY);
    let nurse = world.tool("nurse", "look");
    assert_eq!(denied(world.sent(&nurse, &arguments)), "field_not_revealed");
    let other = world.tool("physician", "say");
    let sent = world.sent(&other, &arguments).unwrap();
    assert_eq!(world.opened("ssn", &sent["ssn"]), json!(CANARY));
    let over = until("2027-01-14");
    let sent = over.sent(&over.tool("physician", "look"), &arguments);
    assert_eq!(over.opened("ssn", &sent.unwrap()["ssn"]), json!(CANARY));
}
