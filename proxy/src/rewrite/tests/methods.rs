//! What is no call: completions, the server's questions and news, and what the client answers.

use safeguard_policy::field::TextView;
use safeguard_policy::policy::FieldClass;
use safeguard_wire::mcp;

use super::*;
use crate::rewrite::client;
use crate::rewrite::told::{Told, told};

impl World {
    fn told(
        &self,
        permit: &Permit,
        method: &'static str,
        params: &Value,
    ) -> Result<Value, RewriteError> {
        let text =
            json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let tree = Tree::parse(text.as_bytes(), &LIMITS).unwrap();
        let about = Call {
            method: Method::Other(method),
            permit,
            holder: HOLDER,
            uri: None,
            absence: Absence::Anything,
            now_unix: NOW,
        };
        let kind = if method.starts_with("notifications/") {
            Told::News
        } else {
            Told::Question
        };
        let rewritten = told(&tree, method, kind, &about, &self.workshop)?;
        let body = rewritten.body.unwrap_or_else(|| text.clone().into_bytes());
        let body: Value = serde_json::from_slice(&body).unwrap();
        Ok(body["params"].clone())
    }

    fn replied(
        &self,
        permit: &Permit,
        method: &str,
        result: &Value,
    ) -> Result<Value, RewriteError> {
        let text = json!({ "jsonrpc": "2.0", "id": 1, "result": result }).to_string();
        let tree = Tree::parse(text.as_bytes(), &LIMITS).unwrap();
        let stamp = Stamp {
            created_by: "subject-1",
            now_micros: NOW * 1_000_000,
        };
        let rewritten = client::answer(&tree, method, permit, &self.workshop, HOLDER, stamp)?;
        let body = rewritten.body.unwrap_or_else(|| text.clone().into_bytes());
        let body: Value = serde_json::from_slice(&body).unwrap();
        Ok(body["result"].clone())
    }

    fn completed(&self, permit: &Permit, argument: &str, values: &Value) -> Value {
        let method = Method::Completion(self.workshop.policy.classify(argument));
        let result = json!({ "completion": { "values": values, "total": 2, "hasMore": true } });
        let text = json!({ "jsonrpc": "2.0", "id": 1, "result": result }).to_string();
        let rewritten = self.down(permit, method, &text).unwrap();
        let body: Value = serde_json::from_slice(&rewritten.body.unwrap()).unwrap();
        body["result"].clone()
    }
}

#[test]
fn a_completion_is_shown_by_its_arguments_view_and_uncounted_where_one_is_left_out() {
    let world = World::new();
    let values = json!([CANARY, "222-33-4444"]);
    let nurse = world.tool("nurse", "look");
    let masked = world.completed(&nurse, "SSN", &values);
    assert_eq!(
        masked["completion"]["values"],
        json!(["***-**-6789", "***-**-4444"])
    );
    assert_eq!(masked["completion"]["total"], 2);
    let hidden = world.completed(&nurse, "diagnosis", &values);
    assert_eq!(hidden["completion"], json!({ "values": [] }));
    assert_eq!(hidden["_meta"]["safeguard/withheld"], json!(["diagnosis"]));
    // A year is no mask of what has none: the value is not there, rather than null.
    let billing = world.tool("billing", "look");
    let years = world.completed(&billing, "date_of_birth", &json!(["1980-02-29", "unknown"]));
    assert_eq!(years["completion"]["values"], json!(["1980"]));
    // What the upstream holds sealed is suggested in clear to who may see it.
    let sealed = world.sealed_as("ssn", &json!(CANARY), Format::Native, Wrap::String);
    let physician = world.tool("physician", "look");
    let opened = world.completed(&physician, "ssn", &json!([sealed]));
    assert_eq!(opened["completion"]["values"], json!([CANARY]));
}

#[test]
fn a_completion_of_no_field_is_text() {
    let world = World::new();
    let values = json!([CANARY, json!({ "ssn": CANARY }).to_string()]);
    let mut permit = world.tool("nurse", "look");
    let hidden = world.completed(&permit, "name", &values);
    let shown = hidden["completion"]["values"].as_array().unwrap();
    assert_eq!(
        shown.len(),
        1,
        "JSON in text is judged by its members: {shown:?}"
    );
    assert!(!hidden.to_string().contains(CANARY));
    permit.text = TextView::Reveal;
    let revealed = world.completed(&permit, "name", &json!([CANARY]));
    assert_eq!(revealed["completion"]["values"], json!([CANARY]));
    permit.text = TextView::Detect;
    let detected = world.completed(&permit, "name", &json!([CANARY, "ward three"]));
    assert_eq!(detected["completion"]["values"], json!(["ward three"]));
}

#[test]
fn a_form_stays_a_form_whatever_is_withheld_of_it() {
    let world = World::new();
    let property = |kind: &str, more: Value| {
        let mut property = more;
        property["type"] = json!(kind);
        property
    };
    let properties = json!({
        "ssn": property("string", json!({ "default": CANARY })),
        "diagnosis": property("string", json!({ "enum": [CANARY], "enumNames": [CANARY], "default": CANARY })),
        "medications": property("string", json!({ "enum": ["a", "b"] })),
        "colour": property("string", json!({ "enum": ["red"], "default": "red", "maxLength": 9 })),
        "agree": property("boolean", json!({ "default": true })),
    });
    let params = json!({ "message": CANARY, "mode": "form", "requestedSchema": { "type": "object", "properties": properties, "required": ["ssn"] } });
    let nurse = world.tool("nurse", "look");
    let shown = world.told(&nurse, "elicitation/create", &params).unwrap();
    let form = &shown["requestedSchema"];
    assert_eq!(shown["message"], "[withheld]");
    assert_eq!(shown["mode"], "form");
    assert_eq!(form["required"], json!(["ssn"]));
    assert_eq!(
        form["properties"],
        json!({
            "ssn": { "type": "string", "default": "***-**-6789" },
            "diagnosis": { "type": "string" },
            "medications": { "type": "string", "enum": ["a", "b"] },
            "colour": { "type": "string", "maxLength": 9 },
            "agree": { "type": "boolean" },
        })
    );
    let agent = world.tool("care_agent", "look");
    let choices =
        json!({ "requestedSchema": { "properties": { "ssn": { "enum": [CANARY, "x"] } } } });
    let shown = world.told(&agent, "elicitation/create", &choices).unwrap();
    let tokens = shown["requestedSchema"]["properties"]["ssn"]["enum"]
        .as_array()
        .unwrap();
    assert!(
        tokens
            .iter()
            .all(|token| token.as_str().unwrap().starts_with("sgt1."))
    );
    // A token that was chosen is what it stands for, to the server.
    let chosen = json!({ "action": "accept", "content": { "ssn": tokens[0] } });
    let sent = world
        .replied(&agent, "elicitation/create", &chosen)
        .unwrap();
    assert_eq!(world.opened("ssn", &sent["content"]["ssn"]), json!(CANARY));
}

#[test]
fn nobody_is_sent_to_an_address_that_may_not_be_seen() {
    let world = World::new();
    let mut permit = world.tool("nurse", "look");
    let url = json!({ "mode": "url", "message": "m", "elicitationId": "e", "url": format!("https://x.example/{CANARY}") });
    let refused = world.told(&permit, "elicitation/create", &url);
    assert_eq!(refused.unwrap_err(), RewriteError::Denied("url_withheld"));
    permit.text = TextView::Detect;
    assert!(world.told(&permit, "elicitation/create", &url).is_err());
    // An address is itself among the identifiers of 45 CFR 164.514, whatever it says.
    permit.text = TextView::Reveal;
    let clean = json!({ "mode": "url", "message": "m", "elicitationId": "e", "url": "https://x.example/form" });
    let shown = world.told(&permit, "elicitation/create", &clean).unwrap();
    assert_eq!(shown, clean);
}

#[test]
fn what_a_client_answers_is_sealed_or_refused_by_its_names() {
    let world = World::new();
    let physician = world.tool("physician", "look");
    let content = json!({ "ssn": CANARY, "count": 7, "note": "ward three" });
    let result = json!({ "action": "accept", "content": content });
    let sent = world
        .replied(&physician, "elicitation/create", &result)
        .unwrap();
    assert_eq!(sent["action"], "accept");
    assert_eq!(sent["content"]["count"], 7);
    assert_eq!(sent["content"]["note"], "ward three");
    assert_eq!(world.opened("ssn", &sent["content"]["ssn"]), json!(CANARY));

    let nurse = world.tool("nurse", "look");
    let refused = world.replied(&nurse, "elicitation/create", &result);
    assert_eq!(
        refused.unwrap_err(),
        RewriteError::Denied("field_not_revealed")
    );
    let envelope =
        json!({ "action": "accept", "content": { "x": { "_encrypted": true, "_value": "y" } } });
    let refused = world.replied(&physician, "elicitation/create", &envelope);
    assert_eq!(
        refused.unwrap_err(),
        RewriteError::Denied("envelope_from_client")
    );
    let token = world.token("ssn", &json!(CANARY));
    let roots = json!({ "roots": [{ "uri": format!("file:///{token}"), "name": "n" }] });
    let refused = world.replied(&physician, "roots/list", &roots);
    assert_eq!(refused.unwrap_err(), RewriteError::Denied("token_in_uri"));
    let image = json!({ "role": "assistant", "model": "m", "content": { "type": "image", "mimeType": "image/png", "data": "AAAA" } });
    let refused = world.replied(&physician, "sampling/createMessage", &image);
    assert_eq!(
        refused.unwrap_err(),
        RewriteError::Denied("binary_not_readable")
    );
}

#[test]
fn a_log_message_is_shown_by_the_views() {
    let world = World::new();
    let nurse = world.tool("nurse", "look");
    let data = json!({ "ssn": CANARY, "medications": "aspirin", "diagnosis": "d", "other": 1 });
    let params = json!({ "level": "warning", "logger": "db", "data": data });
    let shown = world
        .told(&nurse, "notifications/message", &params)
        .unwrap();
    assert_eq!(shown["level"], "warning");
    assert_eq!(shown["logger"], "[withheld]");
    assert_eq!(
        shown["data"],
        json!({ "ssn": "***-**-6789", "medications": "aspirin" })
    );
    let words = json!({ "level": "info", "data": CANARY });
    let shown = world.told(&nurse, "notifications/message", &words).unwrap();
    assert_eq!(shown["data"], "[withheld]");
}

#[test]
fn a_tasks_handle_needs_no_record_and_its_result_does() {
    let world = World::new();
    let permit = world.tool("physician", "read_record");
    let task = json!({ "taskId": "t", "status": "working", "statusMessage": CANARY });
    let handle = world.shown(&permit, &json!({ "task": task })).unwrap();
    assert_eq!(handle["task"]["taskId"], "t");
    assert_eq!(handle["task"]["statusMessage"], "[withheld]");
    let flat = json!({ "resultType": "task", "taskId": "t", "status": "working" });
    assert!(world.shown(&permit, &flat).is_ok());
    // A handle beside content is content.
    let both = json!({ "task": { "taskId": "t" }, "structuredContent": { "ssn": CANARY } });
    let refused = world.shown(&permit, &both);
    assert_eq!(
        refused.unwrap_err(),
        RewriteError::Integrity("record_missing")
    );
    let text = |result: Value| json!({ "jsonrpc": "2.0", "id": 1, "result": result }).to_string();
    let result = text(json!({ "content": [], "structuredContent": {} }));
    let of_task = world.down(&permit, Method::Other("tasks/result"), &result);
    assert_eq!(
        of_task.unwrap_err(),
        RewriteError::Integrity("record_missing")
    );
    let done = text(
        json!({ "taskId": "t", "status": "completed", "result": { "structuredContent": {} } }),
    );
    let of_get = world.down(&permit, Method::Other("tasks/get"), &done);
    assert_eq!(
        of_get.unwrap_err(),
        RewriteError::Integrity("record_missing")
    );
    let working = text(json!({ "taskId": "t", "status": "working" }));
    assert!(
        world
            .down(&permit, Method::Other("tasks/get"), &working)
            .is_ok()
    );
}

#[test]
fn an_argument_that_is_completed_is_a_place_about_its_name() {
    let world = World::new();
    let text = json!({ "jsonrpc": "2.0", "id": 1, "method": "completion/complete", "params": {
        "ref": { "type": "ref/prompt", "name": "p" }, "argument": { "name": "ssn", "value": CANARY },
        "context": { "arguments": { "date_of_birth": "1980-02-29", "ward": "3" } } } })
    .to_string();
    let tree = Tree::parse(text.as_bytes(), &LIMITS).unwrap();
    let stamp = Stamp {
        created_by: "subject-1",
        now_micros: NOW * 1_000_000,
    };
    let sent = |role| {
        let permit = world.tool(role, "look");
        client::request(
            &tree,
            "completion/complete",
            &permit,
            &world.workshop,
            HOLDER,
            stamp,
        )
    };
    let rewritten = sent("physician").unwrap();
    let body: Value = serde_json::from_slice(&rewritten.body.unwrap()).unwrap();
    let params = &body["params"];
    assert_eq!(
        world.opened("ssn", &params["argument"]["value"]),
        json!(CANARY)
    );
    assert!(!body.to_string().contains("1980"));
    assert_eq!(params["context"]["arguments"]["ward"], "3");
    assert!(matches!(
        sent("nurse"),
        Err(RewriteError::Denied("field_not_revealed"))
    ));
    // The table of places and the policy agree on what the argument is.
    let params = tree.root().get("params").unwrap().unwrap();
    let places = mcp::request("completion/complete", params).unwrap();
    let value = places
        .iter()
        .find(|place| place.value.is_named("value"))
        .unwrap();
    let subject = value.subject.as_deref().unwrap();
    assert!(matches!(
        world.workshop.policy.classify(subject),
        FieldClass::Phi(_)
    ));
}
