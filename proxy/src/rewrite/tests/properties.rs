//! Properties over generated messages, with values planted under names of PHI wherever a name can stand.

use proptest::prelude::*;

use super::*;

/// Names that mean the field `diagnosis`, and one that hides its letters.
const PHI_NAMES: [&str; 4] = ["diagnosis", "Diagnoses", "DIA-gnosis", "diagnosis_"];
const OTHER_NAMES: [&str; 5] = ["status", "department", "note", "rows", "text"];

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-zé\\\\\"\\[ ]{0,8}".prop_map(Value::from),
    ]
}

/// JSON whose members of PHI hold the canary, some of it in text.
fn planted() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(5, 40, 5, |inner| {
        let member = prop_oneof![
            (proptest::sample::select(&OTHER_NAMES[..]), inner.clone()),
            (proptest::sample::select(&PHI_NAMES[..]), canary()),
        ];
        let object = proptest::collection::vec(member, 0..5).prop_map(|members| {
            let members = members
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value));
            Value::Object(members.collect())
        });
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            object.clone(),
            object.clone().prop_map(|value| json!(value.to_string())),
            object,
        ]
    })
}

fn canary() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(CANARY)),
        Just(json!([CANARY, 1])),
        Just(json!({ "a": { "status": CANARY } })),
    ]
}

/// The text with every escape that a sender may choose in place of a letter.
fn disguised(text: &str) -> String {
    text.replace("iagnos", "\\u0069agn\\u006fs")
}

fn message(content: &Value) -> String {
    let object = json!({ "root": content });
    let mut result = text_block(&object.to_string());
    result["content"][0]["_meta"] = object.clone();
    result["unknown"] = object.clone();
    result["structuredContent"] = object;
    json!({ "jsonrpc": "2.0", "id": 1, "result": result }).to_string()
}

/// Reveals whatever stands in a message.
fn revealing() -> World {
    World::with(|text| text.replace("results: withhold", "results: reveal"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_value_is_seen_by_a_role_that_may_not_see_it(content in planted(), disguise: bool) {
        let world = World::new();
        let text = message(&content);
        let text = if disguise { disguised(&text) } else { text };
        for (role, tool) in [("nurse", "look"), ("care_agent", "say")] {
            let permit = world.tool(role, tool);
            let body = world.down(&permit, Method::Tool, &text).unwrap().body.unwrap();
            let body = String::from_utf8(body).unwrap();
            prop_assert!(!body.contains(CANARY));
            let shown: Value = serde_json::from_str(&body).unwrap();
            let twin = shown["result"]["content"][0]["text"].as_str().unwrap();
            let twin: Value = serde_json::from_str(twin).unwrap();
            prop_assert_eq!(&twin, &shown["result"]["structuredContent"]);
        }
    }

    #[test]
    fn who_may_see_everything_gets_the_same_bytes(content in planted(), disguise: bool) {
        let world = revealing();
        let text = message(&content);
        let text = if disguise { disguised(&text) } else { text };
        let permit = world.tool("physician", "say");
        let body = world.down(&permit, Method::Tool, &text).unwrap().body.unwrap();
        prop_assert_eq!(String::from_utf8(body).unwrap(), text);
    }

    #[test]
    fn nothing_goes_up_in_clear_and_it_comes_back_as_it_was(content in planted()) {
        let world = revealing();
        let physician = world.tool("physician", "say");
        let text = call(&json!({ "root": content })).to_string();
        let body = world.up(&physician, &text).unwrap().body.unwrap_or_else(|| text.into_bytes());
        let body = String::from_utf8(body).unwrap();
        prop_assert!(!body.contains(CANARY));
        let sent: Value = serde_json::from_str(&body).unwrap();
        let seen = world.structured(&physician, &sent["params"]["arguments"]).unwrap();
        prop_assert_eq!(seen, json!({ "root": content }));
    }

    #[test]
    fn who_may_not_reveal_sends_no_value(content in planted()) {
        let world = World::new();
        let permit = world.tool("nurse", "look");
        let text = call(&json!({ "root": content })).to_string();
        if let Ok(rewritten) = world.up(&permit, &text) {
            prop_assert!(rewritten.body.is_none());
            prop_assert!(!text.contains(CANARY));
        }
    }

    #[test]
    fn no_message_is_too_strange(text in "[\\[{}\\],:\"\\\\a-z0-9]{0,40}", shape in 0_usize..4) {
        let world = World::new();
        let permit = world.tool("nurse", "read_record");
        let quoted = Value::String(text.clone()).to_string();
        let text = match shape {
            0 => text,
            1 => format!(r#"{{"jsonrpc":"2.0","id":1,"result":{text}}}"#),
            2 => format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{{"text":{quoted}}}]}}}}"#),
            _ => format!(r#"{{"params":{{"arguments":{{"x":{quoted},"record":{quoted}}}}}}}"#),
        };
        if Tree::parse(text.as_bytes(), &LIMITS).is_ok() {
            let _ = world.down(&permit, Method::Tool, &text);
            let _ = world.down(&permit, Method::Prompt, &text);
            let _ = world.down(&permit, Method::Resource, &text);
            let _ = world.up(&permit, &text);
        }
    }
}
