//! Free text and unlisted members under `detect`.

use super::*;

fn detecting() -> World {
    World::with(|text| {
        text.replace("text: withhold  ", "text: detect  ")
            .replace("unlisted: { results: withhold, arguments: pass }", "unlisted: { results: detect, arguments: detect }")
            .replace("phi:\n  domain", "phi:\n  detect: { url: reveal, date: date_of_birth }\n  patterns: { mrn: \"MRN-[0-9]{7}\" }\n  domain")
    })
}

const NOTE: &str = "Seen 03/04/1985, SSN 123-45-6789, MRN-0012345, call (212) 555-0187, see https://example.org/a. INR 2.5 on 5 mg.";

#[test]
fn what_looks_like_an_identifier_is_shown_by_the_field_that_it_is() {
    let world = detecting();
    let note = |role: &str| {
        let shown = world
            .shown(&world.tool(role, "look"), &text_block(NOTE))
            .unwrap();
        shown["content"][0]["text"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        note("physician"),
        NOTE.replace("(212) 555-0187", "[withheld phone]")
    );
    let nurse = "Seen 03/04/1985, SSN ***-**-6789, MRN-0012345, call [withheld phone], see https://example.org/a. INR 2.5 on 5 mg.";
    assert_eq!(note("nurse"), nurse);
    let billing = "Seen 1985, SSN ***-**-6789, MRN-0012345, call [withheld phone], see https://example.org/a. INR 2.5 on 5 mg.";
    assert_eq!(note("billing"), billing);
    let agent = "Seen [withheld date], SSN [withheld ssn], [withheld mrn], call [withheld phone], see https://example.org/a. INR 2.5 on 5 mg.";
    assert_eq!(note("care_agent"), agent);
}

#[test]
fn unlisted_members_pass_without_what_looks_like_an_identifier() {
    let world = detecting();
    let permit = world.tool("care_agent", "look");
    let content = json!({ "note": NOTE, "dose": "5 mg", "count": 7, "flag": true, "rows": ["123-45-6789", "b"], "123-45-6789": 1 });
    let mut result = text_block(&content.to_string());
    result["structuredContent"] = content;
    let shown = world.shown(&permit, &result).unwrap();
    let structured = &shown["structuredContent"];
    assert!(
        structured["note"]
            .as_str()
            .unwrap()
            .contains("SSN [withheld ssn]")
    );
    assert_eq!(
        (
            &structured["dose"],
            &structured["count"],
            &structured["flag"]
        ),
        (&json!("5 mg"), &json!(7), &json!(true))
    );
    assert_eq!(structured["rows"], json!(["[withheld ssn]", "b"]));
    assert!(!shown.to_string().contains(CANARY), "{shown}");
    let twin: Value = serde_json::from_str(shown["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(&twin, structured, "both copies agree");
    let withheld = shown["_meta"]["safeguard/withheld"].to_string();
    for name in ["ssn", "phone", "medical_record_number", "date_of_birth"] {
        assert!(withheld.contains(name), "{name}: {withheld}");
    }
}

#[test]
fn errors_resources_and_blobs_are_read_too() {
    let world = detecting();
    let permit = world.tool("care_agent", "look");
    let blob = base64_simd::STANDARD.encode_to_string(NOTE);
    let block = json!({ "content": [{ "type": "resource", "resource": { "uri": "note:1", "mimeType": "text/plain", "blob": blob } }] });
    let shown = world.shown(&permit, &block).unwrap();
    let seen = shown["content"][0]["resource"]["blob"].as_str().unwrap();
    let seen = String::from_utf8(base64_simd::STANDARD.decode_to_vec(seen).unwrap()).unwrap();
    assert!(seen.contains("SSN [withheld ssn]"), "{seen}");
    let link = json!({ "content": [{ "type": "resource_link", "uri": "note://123-45-6789", "name": "n" }] });
    assert!(
        !world
            .shown(&permit, &link)
            .unwrap()
            .to_string()
            .contains(CANARY)
    );
    let error = json!({ "jsonrpc": "2.0", "id": 1, "error": { "code": -1, "message": NOTE, "data": { "input": NOTE } } }).to_string();
    let shown = world
        .down(&permit, Method::Tool, &error)
        .unwrap()
        .body
        .unwrap();
    assert!(!String::from_utf8(shown).unwrap().contains(CANARY));
}

#[test]
fn an_argument_that_looks_like_an_identifier_is_refused_and_any_other_passes_untouched() {
    let world = detecting();
    let permit = world.tool("physician", "look");
    for argument in [
        json!({ "note": NOTE }),
        json!({ "rows": [["123-45-6789"]] }),
        json!({ "social_security": 123_456_789 }),
        json!({ "text": "{\"note\":\"mail j@example.org\"}" }),
    ] {
        let sent = world.sent(&permit, &argument);
        assert_eq!(
            sent,
            Err(RewriteError::Denied("argument_looks_like_an_identifier")),
            "{argument}"
        );
    }
    let plain = json!({ "query": "potassium above 5.5", "limit": 25, "url": "https://example.org/a", "code": "I10", "department": "icu" });
    let text = call(&plain).to_string();
    assert!(world.up(&permit, &text).unwrap().body.is_none());
    // A field of its own is sealed, whatever it looks like.
    assert!(world.sent(&permit, &json!({ "ssn": CANARY })).is_ok());
}
