//! What is listed, and what a schema says of it.

use std::sync::Arc;

use safeguard_policy::action::Listed;
use safeguard_policy::decide::{self, ListedViews};

use super::*;
use crate::rewrite::lists::{List, filter};
use crate::rewrite::shapes::Shapes;

fn shown(permit: &Permit) -> ListedViews {
    ListedViews {
        views: Arc::clone(&permit.views),
        places: Arc::clone(&permit.places),
        text: permit.text,
    }
}

pub(super) fn listed(world: &World, shapes: &Shapes, text: &str, views: Option<&Permit>) -> String {
    let tree = Tree::parse(text.as_bytes(), &LIMITS).unwrap();
    let filtered = filter(&tree, List::Tools, &world.workshop, shapes, |name, _| {
        views.filter(|_| name != "hidden").map(shown)
    });
    String::from_utf8(filtered.unwrap()).unwrap()
}

pub(super) fn list(tools: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": 1, "result": { "tools": tools } }).to_string()
}

#[test]
fn what_may_not_be_called_is_absent_and_the_rest_is_byte_for_byte_the_same() {
    let world = World::new();
    let permit = world.tool("physician", "look");
    let text = r#"{"jsonrpc":"2.0", "id":1,"result":{"tools":[{"name":"hidden"}, {"name" : "look","x":1.0}],"nextCursor":"c"}}"#;
    let seen = listed(&world, &Shapes::default(), text, Some(&permit));
    assert_eq!(seen, text.replace(r#"{"name":"hidden"}, "#, ""));
    let nobody = listed(&world, &Shapes::default(), text, None);
    assert!(nobody.contains(r#""tools":[]"#));
}

#[test]
fn a_view_that_breaks_a_schema_widens_it() {
    let world = World::new();
    let permit = world.tool("care_agent", "look");
    let schema = json!({ "type": "object", "properties": {
        "ssn": { "type": "integer" }, "diagnosis": { "type": "string" },
        "medications": { "type": "array" }, "status": { "type": "string" },
        "note": { "type": "string" }, "list": { "type": "array", "items": { "type": "array", "items": { "type": "string" } } },
    } });
    let text = list(&json!([{ "name": "look", "inputSchema": schema, "outputSchema": schema }]));
    let seen: Value =
        serde_json::from_str(&listed(&world, &Shapes::default(), &text, Some(&permit))).unwrap();
    let tool = &seen["result"]["tools"][0];
    let output = &tool["outputSchema"]["properties"];
    let null = json!({ "type": "null" });
    assert_eq!(
        output["ssn"]["anyOf"][1],
        json!({ "type": ["string", "null"] })
    );
    assert_eq!(output["diagnosis"]["anyOf"][1], null);
    assert_eq!(output["note"]["anyOf"][1], null);
    assert_eq!(output["list"]["items"]["items"]["anyOf"][1], null);
    assert_eq!(output["status"], schema["properties"]["status"]);
    assert_eq!(output["medications"], schema["properties"]["medications"]);
    let input = &tool["inputSchema"]["properties"];
    assert_eq!(input["ssn"]["anyOf"][1], json!({ "type": "string" }));
    assert_eq!(input["diagnosis"], schema["properties"]["diagnosis"]);
}

#[test]
fn what_a_schema_requires_is_learnt_from_the_list() {
    let world = World::new();
    let permit = world.tool("physician", "look");
    let shapes = Shapes::default();
    let schema = json!({ "$defs": { "p": { "required": ["n\u{e4}me"] } }, "required": ["id"] });
    let text = list(&json!([{ "name": "look", "outputSchema": schema }, { "name": "say" }]));
    listed(&world, &shapes, &text, Some(&permit));
    assert!(!shapes.of("look").allows("id"));
    assert!(!shapes.of("look").allows("näme"));
    assert!(shapes.of("look").allows("other"));
    assert!(shapes.of("say").allows("anything"));
    assert!(!shapes.of("unseen").allows("anything"));
}

#[test]
fn a_tool_is_listed_exactly_if_a_call_of_it_could_be_permitted() {
    let world = World::new();
    let policy = &world.workshop.policy;
    let mut names = policy.tools();
    names.push("unknown");
    let tools: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
    let text = list(&json!(tools));
    let tree = Tree::parse(text.as_bytes(), &LIMITS).unwrap();
    let args = json!({ "patient_id": "p-1", "department": "icu" });
    for role in ["physician", "nurse", "billing", "care_agent", "nobody"] {
        let roles = [role.to_owned()];
        let claims = json!({ "department": "icu" });
        let certificate = ["web.healthcare.example.com".to_owned()];
        let principal = Principal {
            subject: "s",
            issuer: "i",
            roles: &roles,
            claims: &claims,
            purpose: None,
            certificate_names: &certificate,
            service: false,
            second_factor: true,
            authenticated_at: Some(NOW - 10),
            acr: None,
            emergency: None,
        };
        let listed = |name: &str, _: safeguard_wire::json::Value<'_>| {
            decide::listed(policy, &principal, &Listed::Tool(name), NOW)
        };
        let shapes = Shapes::default();
        let seen = filter(&tree, List::Tools, &world.workshop, &shapes, listed).unwrap();
        let seen: Value = serde_json::from_slice(&seen).unwrap();
        let seen: Vec<&str> = seen["result"]["tools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tool| tool["name"].as_str().unwrap())
            .collect();
        let could: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| {
                let action = Action::Tool { name, args: &args };
                matches!(
                    decide(policy, &principal, &action, NOW),
                    Decision::Permit(_)
                )
            })
            .collect();
        assert_eq!(seen, could, "{role}");
    }
}

#[test]
fn words_about_a_resource_obey_the_view_of_text() {
    let item = json!({ "uri": "patient://p-1/summary", "name": "Jane Doe", "title": "Jane Doe", "description": "of 123-45-6789", "mimeType": "text/plain", "size": 7, "_meta": { "who": "Jane Doe" } });
    let text = json!({ "jsonrpc": "2.0", "id": 1, "result": { "resources": [item] } }).to_string();
    let seen = |view: &str| {
        let world =
            World::with(|text| text.replace("text: withhold  ", &format!("text: {view}  ")));
        let permit = world.permit(
            "nurse",
            &Action::Resource {
                uri: "patient://p-1/summary",
            },
        );
        let tree = Tree::parse(text.as_bytes(), &LIMITS).unwrap();
        let seen = filter(
            &tree,
            List::Resources,
            &world.workshop,
            &Shapes::default(),
            |_, _| Some(shown(&permit)),
        )
        .unwrap();
        serde_json::from_slice::<Value>(&seen).unwrap()["result"]["resources"][0].clone()
    };
    assert_eq!(seen("reveal"), item);
    assert_eq!(
        seen("withhold"),
        json!({ "uri": "patient://p-1/summary", "name": "[withheld]", "mimeType": "text/plain", "size": 7 })
    );
    let detected = seen("detect");
    assert_eq!(detected["description"], json!("of ***-**-6789"));
    assert_eq!(
        detected["name"],
        json!("Jane Doe"),
        "no detector finds a name"
    );
}
