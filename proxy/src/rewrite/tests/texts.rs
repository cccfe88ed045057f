//! Text: JSON in it, prose, blobs and URIs.

use super::*;

#[test]
fn json_in_text_is_judged_by_its_members_at_any_depth_of_text() {
    let world = World::new();
    let permit = world.tool("care_agent", "say");
    let mut text = json!({ "diagnosis": CANARY }).to_string();
    for _ in 0..9 {
        let shown = world.shown(&permit, &text_block(&text)).unwrap();
        assert!(!shown.to_string().contains(CANARY));
        let shown = world.structured(&permit, &json!({ "status": text, "x": [text] }));
        assert!(!shown.unwrap().to_string().contains(CANARY));
        text = json!([text]).to_string();
    }
}

#[test]
fn json_in_text_keeps_the_class_of_its_name() {
    let world = World::new();
    let permit = world.tool("nurse", "look");
    let content = json!({ "status": "[1, \"a\"]" });
    assert_eq!(world.structured(&permit, &content).unwrap(), content);
}

#[test]
fn text_that_is_no_json_is_withheld_unless_the_rule_reveals_it() {
    let world = World::new();
    for prose in [
        "stored",
        "[see](here)",
        "{name} was stored",
        "7",
        "\"a\"",
        "",
    ] {
        let shown = world.shown(&world.tool("physician", "look"), &text_block(prose));
        assert_eq!(shown.unwrap()["content"][0]["text"], json!("[withheld]"));
        let shown = world.shown(&world.tool("physician", "say"), &text_block(prose));
        assert_eq!(shown.unwrap(), text_block(prose));
    }
}

#[test]
fn json_that_only_a_lenient_reader_understands_is_withheld() {
    let world = World::new();
    let permit = world.tool("care_agent", "say");
    let deep = format!(
        "{}{{\"ssn\":\"{CANARY}\"}}{}",
        "[".repeat(200),
        "]".repeat(200)
    );
    for text in [
        format!(r#"{{"ssn": "{CANARY}", "x": NaN}}"#),
        format!("\u{feff}{{\"ssn\":\"{CANARY}\"}}"),
        format!("{{'ssn': '{CANARY}'}}"),
        format!("{{\"ssn\":\"{CANARY}\"}}\n{{\"ssn\":\"{CANARY}\"}}"),
        deep,
    ] {
        let shown = world.shown(&permit, &text_block(&text)).unwrap();
        assert!(!shown.to_string().contains(CANARY), "{text}");
        let shown = world.structured(&permit, &json!({ "status": text }));
        assert!(!shown.unwrap().to_string().contains(CANARY));
    }
    let lone = format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{{"type":"text","text":"{{\"ssn\":\"{CANARY}\",\"x\":\"\ud800\"}}"}}]}}}}"#
    );
    let body = world
        .down(&permit, Method::Tool, &lone)
        .unwrap()
        .body
        .unwrap();
    assert!(!String::from_utf8(body).unwrap().contains(CANARY));
}

#[test]
fn a_blob_of_json_is_read_and_any_other_withheld_with_text() {
    let world = World::new();
    let json = json!({ "diagnosis": CANARY, "status": "in" }).to_string();
    let blob = base64_simd::STANDARD.encode_to_string(json);
    let image = base64_simd::STANDARD.encode_to_string([0xff, 0xd8, 0xff]);
    for tool in ["look", "say"] {
        let permit = world.tool("care_agent", tool);
        let block = json!({ "content": [{ "type": "audio", "data": blob, "mimeType": "a/b" }] });
        let shown = world.shown(&permit, &block).unwrap();
        let data = shown["content"][0]["data"].as_str().unwrap();
        let seen = base64_simd::STANDARD.decode_to_vec(data).unwrap();
        assert_eq!(seen, br#"{"status":"in"}"#);
    }
    let block =
        json!({ "content": [{ "type": "image", "data": image, "mimeType": "image/jpeg" }] });
    let shown = world
        .shown(&world.tool("physician", "look"), &block)
        .unwrap();
    assert_eq!(
        shown["content"],
        json!([{ "type": "text", "text": "[withheld]" }])
    );
    let kept = world
        .shown(&world.tool("physician", "say"), &block)
        .unwrap();
    assert_eq!(kept["content"], shown["content"], "text is another matter");
}

#[test]
fn a_blob_of_text_is_judged_as_text() {
    let world = World::new();
    let text = base64_simd::STANDARD.encode_to_string("a note");
    let block = json!({ "content": [{ "type": "resource", "resource": { "uri": "x:y", "mimeType": "text/plain; charset=utf-8", "blob": text } }] });
    let read = |tool| {
        let shown = world.shown(&world.tool("physician", tool), &block).unwrap();
        shown["content"][0]["resource"]["blob"].clone()
    };
    assert_eq!(read("say"), json!(text));
    assert_eq!(read("look"), Value::Null, "the block is withheld");
}

#[test]
fn a_resource_is_shown_under_the_uri_that_was_asked_for() {
    let world = World::new();
    let uri = "patient://p-1/summary";
    let permit = world.permit("nurse", &Action::Resource { uri });
    let text = json!({ "ssn": CANARY, "diagnosis": "x", "status": "in" }).to_string();
    for named in [uri, "patient://123-45-6789/summary"] {
        let answer = json!({ "jsonrpc": "2.0", "id": 1, "result": { "contents": [
            { "uri": named, "mimeType": "application/json", "text": text },
            { "uri": named, "blob": "AAAA" },
        ] } });
        let body = world
            .down(&permit, Method::Resource, &answer.to_string())
            .unwrap()
            .body
            .unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let contents = &body["result"]["contents"];
        assert_eq!(contents[0]["uri"], json!(uri));
        assert_eq!(
            contents[0]["text"],
            json!(r#"{"ssn":"***-**-6789","status":"in"}"#)
        );
        assert_eq!(contents[1], json!({ "uri": uri, "blob": "" }));
    }
}

#[test]
fn a_prompts_messages_are_judged() {
    let world = World::new();
    let args = json!({ "patient_id": "p-1" });
    let permit = world.permit(
        "physician",
        &Action::Prompt {
            name: "discharge_letter",
            args: &args,
        },
    );
    let answer = json!({ "jsonrpc": "2.0", "id": 1, "result": {
        "description": format!("letter of {CANARY}"),
        "messages": [
            { "role": "user", "content": { "type": "text", "text": format!("dear {CANARY}") } },
            { "role": "user", "content": { "type": "text", "text": "{\"ssn\":\"1\",\"x\":\"2\"}" } },
        ],
    } });
    let body = world
        .down(&permit, Method::Prompt, &answer.to_string())
        .unwrap()
        .body
        .unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert!(!body.to_string().contains(CANARY));
    assert_eq!(
        body["result"]["messages"][1]["content"]["text"],
        json!("{\"ssn\":\"1\"}")
    );
}

#[test]
fn the_escapes_of_a_text_stay_as_they_were() {
    let world = World::new();
    let permit = world.tool("nurse", "look");
    let head = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"{\"status\":\"\u003ca\/b \u00e9 \ud83d\udc89 \t\\n\","#;
    let tail = r#""}]}}"#;
    let text = format!(r#"{head}\"ssn\":\"{CANARY}\"}}{tail}"#);
    let text = text.replace(r"\t", "");
    let body = world
        .down(&permit, Method::Tool, &text)
        .unwrap()
        .body
        .unwrap();
    assert_eq!(
        String::from_utf8(body).unwrap(),
        text.replace(CANARY, "***-**-6789")
    );
}

#[test]
fn many_records_take_no_square_of_time() {
    let world = World::new();
    let permit = world.tool("care_agent", "look");
    let row = json!({ "ssn": CANARY, "diagnosis": CANARY, "x": "[", "status": "in" });
    let rows = json!({ "rows": vec![row; 20_000] });
    let mut result = text_block(&rows.to_string());
    result["structuredContent"] = rows;
    let shown = world.shown(&permit, &result).unwrap();
    assert!(!shown.to_string().contains(CANARY));
}
