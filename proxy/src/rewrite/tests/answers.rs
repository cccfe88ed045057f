//! What comes down: fields by their views.

use super::*;
use crate::rewrite::shapes::Shapes;
use safeguard_audit::FieldAction;

fn names(shown: &Value) -> Vec<&str> {
    let names = shown["_meta"]["safeguard/withheld"].as_array().unwrap();
    names.iter().map(|name| name.as_str().unwrap()).collect()
}

#[test]
fn a_sealed_value_is_opened_for_who_may_see_it_in_any_form() {
    let world = World::new();
    let permit = world.tool("physician", "look");
    for format in [Format::Native, Format::Fernet] {
        for wrap in [Wrap::Object, Wrap::String] {
            let sealed = world.sealed_as("ssn", &json!(CANARY), format, wrap);
            let seen = world.structured(&permit, &json!({ "a": [{ "SSN": sealed }] }));
            assert_eq!(seen.unwrap()["a"][0]["SSN"], json!(CANARY));
        }
    }
}

#[test]
fn elements_and_members_that_were_sealed_one_by_one_are_opened() {
    let world = World::new();
    let permit = world.tool("physician", "look");
    let content = json!({ "medications": [
        world.sealed("medications", &json!("a")),
        { "ssn": world.sealed("ssn", &json!(CANARY)), "dose": world.sealed("medications", &json!(2)) },
    ] });
    let seen = world.structured(&permit, &content).unwrap();
    assert_eq!(
        seen,
        json!({ "medications": ["a", { "ssn": CANARY, "dose": 2 }] })
    );
}

#[test]
fn a_sealed_value_that_does_not_open_is_refused() {
    let world = World::new();
    let permit = world.tool("physician", "look");
    let moved = world.sealed("ssn", &json!(CANARY));
    for content in [
        json!({ "diagnosis": moved }),
        json!({ "ssn": "hs1.AAAA" }),
        json!({ "ssn": "gAAAAA" }),
        json!({ "ssn": { "_encrypted": true } }),
    ] {
        let seen = world.structured(&permit, &content);
        assert!(matches!(seen, Err(RewriteError::Vault(_))), "{content}");
    }
}

#[test]
fn a_clear_value_is_shown_by_its_view_like_an_opened_one() {
    let world = World::new();
    let clear = json!({ "ssn": CANARY, "date_of_birth": "1971-02-03", "diagnosis": "x" });
    let sealed = json!({
        "ssn": world.sealed("ssn", &json!(CANARY)),
        "date_of_birth": world.sealed("date_of_birth", &json!("1971-02-03")),
        "diagnosis": world.sealed("diagnosis", &json!("x")),
    });
    for content in [clear, sealed] {
        let billing = world
            .structured(&world.tool("billing", "look"), &content)
            .unwrap();
        let expected = json!({ "ssn": "***-**-6789", "date_of_birth": "1971", "diagnosis": "x" });
        assert_eq!(billing, expected);
        let nurse = world
            .structured(&world.tool("nurse", "look"), &content)
            .unwrap();
        assert_eq!(
            nurse,
            json!({ "ssn": "***-**-6789", "date_of_birth": "1971-02-03" })
        );
    }
}

#[test]
fn what_has_no_mask_is_withheld() {
    let world = World::new();
    let permit = world.tool("billing", "look");
    for value in [
        json!([CANARY]),
        json!({ "a": CANARY }),
        json!(null),
        json!(true),
    ] {
        let seen = world.structured(&permit, &json!({ "ssn": value })).unwrap();
        assert_eq!(seen, json!({}));
    }
}

#[test]
fn a_token_stands_for_its_value_and_is_the_same_in_both_copies() {
    let world = World::new();
    let permit = world.tool("care_agent", "look");
    let content = json!({ "ssn": CANARY });
    let mut result = text_block(&content.to_string());
    result["structuredContent"] = content;
    let shown = world.shown(&permit, &result).unwrap();
    let token = shown["structuredContent"]["ssn"].as_str().unwrap();
    assert!(token.starts_with("sgt1."));
    assert!(
        shown["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains(token)
    );
    let sent = world.sent(&permit, &json!({ "ssn": token })).unwrap();
    assert_eq!(world.opened("ssn", &sent["ssn"]), json!(CANARY));
}

#[test]
fn a_withheld_member_is_left_out_or_null_as_the_output_schema_says() {
    let mut world = World::new();
    let permit = world.tool("care_agent", "look");
    let content = json!({ "diagnosis": "x", "status": "ok" });
    assert_eq!(
        world.structured(&permit, &content).unwrap(),
        json!({ "status": "ok" })
    );
    let shapes = Shapes::default();
    let schema =
        json!({ "properties": { "diagnosis": {} }, "required": ["diagnosis"] }).to_string();
    let tree = Tree::parse(schema.as_bytes(), &LIMITS).unwrap();
    shapes.learn("look", Some(tree.root()), None);
    for absence in [shapes.of("look"), shapes.of("never listed")] {
        world.absence = absence;
        let seen = world.structured(&permit, &content).unwrap();
        assert_eq!(seen, json!({ "diagnosis": null, "status": "ok" }));
    }
}

#[test]
fn the_names_of_what_was_withheld_stand_in_meta() {
    let world = World::new();
    let permit = world.tool("care_agent", "look");
    let content = json!({ "diagnosis": "x", "note": "y", "list": ["z"] });
    let mut result = text_block("prose");
    result["structuredContent"] = content;
    result["_meta"] = json!({ "safeguard/withheld": ["a lie"] });
    let shown = world.shown(&permit, &result).unwrap();
    assert_eq!(names(&shown), ["diagnosis", "note", "text"]);
    assert_eq!(shown["structuredContent"]["list"], json!([null]));
    result["_meta"] = json!("strange");
    let text = json!({ "jsonrpc": "2.0", "id": 1, "result": result }).to_string();
    let body = world
        .down(&permit, Method::Tool, &text)
        .unwrap()
        .body
        .unwrap();
    let tree = Tree::parse(&body, &LIMITS).unwrap();
    assert!(!tree.root().has_duplicates());
}

#[test]
fn an_unlisted_container_is_entered_and_its_leaves_withheld() {
    let world = World::new();
    let permit = world.tool("physician", "look");
    let content =
        json!({ "patients": [{ "name": CANARY, "status": "in", "ssn": CANARY }], "n": 1 });
    let seen = world.structured(&permit, &content).unwrap();
    assert_eq!(
        seen,
        json!({ "patients": [{ "status": "in", "ssn": CANARY }] })
    );
}

#[test]
fn phi_inside_a_container_of_not_phi_is_judged() {
    let world = World::new();
    let permit = world.tool("care_agent", "look");
    let content = json!({ "status": [{ "diagnosis": CANARY, "department": "icu" }, "open", 3] });
    let seen = world.structured(&permit, &content).unwrap();
    assert_eq!(
        seen,
        json!({ "status": [{ "department": "icu" }, "open", 3] })
    );
}

#[test]
fn a_member_name_that_is_a_value_does_not_pass() {
    let world = World::new();
    let permit = world.tool("physician", "look");
    for key in [CANARY, "1971-02-03", "Ann Smith", ""] {
        let content = json!({ key: { "status": "in" }, "by_id": { key: true } });
        let mut result = text_block(&content.to_string());
        result["structuredContent"] = content;
        for absence in [Absence::Anything, Absence::Unknown] {
            let world = World {
                absence,
                ..World::new()
            };
            let shown = world.shown(&permit, &result).unwrap();
            assert_eq!(shown["structuredContent"], json!({ "by_id": {} }));
            assert!(key.is_empty() || !shown.to_string().contains(key));
        }
    }
    assert!(world.shown(&permit, &json!({})).is_ok());
}

#[test]
fn each_of_two_duplicates_is_judged() {
    let world = World::new();
    let permit = world.tool("care_agent", "look");
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"structuredContent":{{"diagnosis":"{CANARY}","diagnos\u0069s":"{CANARY}","a":{{"ssn":"{CANARY}","ssn":"{CANARY}"}}}}}}}}"#
    );
    let body = world
        .down(&permit, Method::Tool, &text)
        .unwrap()
        .body
        .unwrap();
    assert!(!String::from_utf8(body).unwrap().contains(CANARY));
}

#[test]
fn members_that_the_protocol_does_not_know_are_judged_wherever_they_stand() {
    let world = World::new();
    let permit = world.tool("care_agent", "look");
    let text = json!({
        "jsonrpc": "2.0", "id": 1, "diagnosis": CANARY, "extra": { "diagnosis": CANARY },
        "result": {
            "diagnosis": CANARY, "other": { "diagnosis": CANARY }, "_meta": { "diagnosis": CANARY },
            "content": [{ "type": "text", "text": "{}", "diagnosis": CANARY, "_meta": { "x": CANARY } }],
        },
    });
    let body = world
        .down(&permit, Method::Tool, &text.to_string())
        .unwrap()
        .body
        .unwrap();
    assert!(!String::from_utf8(body).unwrap().contains(CANARY));
}

#[test]
fn errors_of_the_upstream_are_judged_like_results() {
    let world = World::new();
    let error = json!({ "jsonrpc": "2.0", "id": 1, "error": {
        "code": -32000, "message": format!("no patient {CANARY}"),
        "data": { "diagnosis": CANARY, "status": "gone", "echo": format!("{{\"diagnosis\":\"{CANARY}\"}}") },
    } });
    for tool in ["look", "say"] {
        let permit = world.tool("care_agent", tool);
        let mut error = error.clone();
        if tool == "say" {
            error["error"]["message"] = json!("a fixed word");
        }
        let rewritten = world
            .down(&permit, Method::Tool, &error.to_string())
            .unwrap();
        assert!(rewritten.failed);
        let body: Value = serde_json::from_slice(rewritten.body.as_ref().unwrap()).unwrap();
        assert!(!body.to_string().contains(CANARY));
        assert_eq!(body["error"]["code"], json!(-32000));
        assert_eq!(body["error"]["data"]["status"], json!("gone"));
    }
}

#[test]
fn operation_none_reveals_the_unlisted_and_text_but_judges_phi_names() {
    let world = World::new();
    let permit = world.permit(
        "nurse",
        &Action::Tool {
            name: "plain",
            args: &json!({}),
        },
    );
    let mut result = text_block("open from 8 to 17");
    result["structuredContent"] = json!({ "hours": "8-17", "deep": [{ "diagnosis": CANARY }] });
    let shown = world.shown(&permit, &result).unwrap();
    assert_eq!(shown["structuredContent"]["hours"], json!("8-17"));
    assert_eq!(shown["content"], result["content"]);
    assert!(!shown.to_string().contains(CANARY));
}

#[test]
fn what_was_touched_is_counted_by_field_and_action() {
    let world = World::new();
    let permit = world.tool("billing", "look");
    let content = json!({ "a": { "ssn": world.sealed("ssn", &json!(CANARY)) }, "ssn": CANARY });
    let text = json!({ "jsonrpc": "2.0", "id": 1, "result": { "structuredContent": content } });
    let rewritten = world
        .down(&permit, Method::Tool, &text.to_string())
        .unwrap();
    let counts: Vec<(FieldAction, u32)> = rewritten.touched.counts().collect();
    assert_eq!(counts, [(FieldAction::Opened, 1), (FieldAction::Masked, 2)]);
}

#[test]
fn patients_are_read_where_the_rule_says_even_if_nobody_sees_them() {
    let world =
        World::with(|text| text.replace("result.patients[*].patient_id", "result.patients[*].ssn"));
    let permit = world.tool("care_agent", "find_patient");
    let content =
        json!({ "patients": [{ "ssn": world.sealed("ssn", &json!(CANARY)) }, { "ssn": "2" }] });
    let text = json!({ "jsonrpc": "2.0", "id": 1, "result": { "structuredContent": content } });
    let rewritten = world
        .down(&permit, Method::Tool, &text.to_string())
        .unwrap();
    assert_eq!(rewritten.patients, [CANARY, "2"]);
}
