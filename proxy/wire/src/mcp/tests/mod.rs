//! Places of real message shapes, and the promise that nothing is left out.

mod cells;

use proptest::prelude::*;

use super::words::WORD_BYTES_MAX;
use super::*;
use crate::json::{Kind, Limits, Tree};

fn parse(text: &str) -> Tree<'_> {
    Tree::parse(text.as_bytes(), &Limits::default()).unwrap()
}

/// Places as `shape name`, `!` for a name that is judged; structure left out.
fn told(places: &[Place<'_>]) -> Vec<String> {
    let judged = places.iter().filter(|place| place.shape != Shape::Opaque);
    judged
        .map(|place| {
            let name = place.value.key().unwrap_or_default();
            format!(
                "{:?} {name}{}",
                place.shape,
                if place.named { "!" } else { "" }
            )
        })
        .collect()
}

fn tool(text: &str) -> Vec<String> {
    told(&tool_result(parse(text).root()).unwrap())
}

/// Every scalar (and empty container) is in exactly one place.
fn covered(root: Value<'_>, places: &[Place<'_>]) -> bool {
    let covering = |leaf: Value<'_>| {
        let holds = |place: &&Place<'_>| {
            place.value.span().start <= leaf.span().start
                && leaf.span().end <= place.value.span().end
        };
        places.iter().filter(holds).count()
    };
    let leaves = root
        .descendants()
        .filter(|value| !matches!(value.kind(), Kind::Array | Kind::Object));
    let mut leaves = leaves.map(covering);
    leaves.all(|count| count == 1)
}

#[test]
fn a_tool_result_shows_both_twins_and_what_is_around_them() {
    let text = r#"{"content":[{"type":"text","text":"{}","annotations":{"audience":["user"],"priority":1}}],
        "structuredContent":{"ssn":"1"},"isError":false,"_meta":{"x":1},"resultType":"complete","ssn":"2"}"#;
    assert_eq!(
        tool(text),
        [
            "Text text",
            "Json structuredContent",
            "Json x!",
            "Json ssn!"
        ]
    );
}

#[test]
fn every_kind_of_block_is_opened() {
    let text = r#"{"content":[
        {"type":"image","data":"AA==","mimeType":"image/png"},
        {"type":"audio","data":"AA==","mimeType":"audio/wav"},
        {"type":"resource","resource":{"uri":"ehr://p/1","mimeType":"application/fhir+json","text":"{}","_meta":{}}},
        {"type":"resource","resource":{"uri":"ehr://p/2","mimeType":"text/html;profile=mcp-app","blob":"AA=="}},
        {"type":"resource_link","uri":"ehr://p/3","name":"n","title":"t","description":"d","size":3,"icons":[{"src":"data:x"}]},
        {"type":"tool_use","id":"1","name":"n","input":{"ssn":1}},
        {"type":"tool_result","toolUseId":"1","content":[{"type":"text","text":"deep"}],"structuredContent":{}}
    ]}"#;
    let tree = parse(text);
    let places = tool_result(tree.root()).unwrap();
    assert_eq!(
        told(&places),
        [
            "Blob data",
            "Blob data",
            "Uri uri",
            "Text text",
            "Uri uri",
            "Blob blob",
            "Uri uri",
            "Text name",
            "Text title",
            "Text description",
            "Uri src",
            "Text name",
            "Json input",
            "Text text",
            "Json structuredContent",
        ]
    );
    let mimes: Vec<_> = places
        .iter()
        .filter(|place| place.shape == Shape::Blob)
        .map(|place| place.mime.as_deref())
        .collect();
    assert_eq!(
        mimes,
        [
            Some("image/png"),
            Some("audio/wav"),
            Some("text/html;profile=mcp-app")
        ]
    );
    let fhir = places
        .iter()
        .find(|place| place.value.raw() == b"\"{}\"")
        .unwrap();
    assert_eq!(fhir.mime.as_deref(), Some("application/fhir+json"));
    let block = fhir.block.unwrap();
    assert_eq!(
        block.get("type").unwrap().unwrap().string().as_deref(),
        Some("resource")
    );
    let deep = places
        .iter()
        .find(|place| place.value.raw() == b"\"deep\"")
        .unwrap();
    assert_eq!(
        deep.block
            .unwrap()
            .get("type")
            .unwrap()
            .unwrap()
            .string()
            .as_deref(),
        Some("text")
    );
}

#[test]
fn a_block_that_lies_about_its_type_hides_nothing() {
    let text = r#"{"content":[
        {"type":"image","text":"a","data":{"ssn":"b"}},
        {"type":"123-45-6789"},
        {"type":"John Doe"},
        {"text":["c"],"mimeType":"text/plain; charset=utf-8"},
        "d", 5, null
    ],"isError":"e","structuredContent":"f","_meta":7}"#;
    assert_eq!(
        tool(text),
        [
            "Text text",
            "Json data!",
            "Text type",
            "Text type",
            "Json text!",
            "Text ",
            "Json !",
            "Text isError",
            "Json structuredContent",
            "Json _meta!",
        ]
    );
    assert_eq!(
        tool(r#"{"content":{"type":"text","text":"alone"}}"#),
        ["Text text"]
    );
    assert_eq!(tool(r#"{"content":"alone"}"#), ["Text content"]);
    assert_eq!(tool("\"alone\""), ["Text "]);
    assert_eq!(tool("[{\"ssn\":1}]"), ["Json !"]);
}

#[test]
fn duplicate_places_are_all_judged_and_duplicate_media_types_refused() {
    let text = r#"{"content":[{"type":"text","text":"a","text":"b"}],"structuredContent":{},"structuredContent":{}}"#;
    assert_eq!(
        tool(text),
        [
            "Text text",
            "Text text",
            "Json structuredContent",
            "Json structuredContent"
        ]
    );
    let text = r#"{"content":[{"type":"image","mimeType":"a/b","mimeType":"c/d"}]}"#;
    assert!(tool_result(parse(text).root()).is_err());
}

#[test]
fn a_media_type_of_absurd_length_is_not_handed_on() {
    let long = format!("\\u0061{}", "b".repeat(WORD_BYTES_MAX));
    let text = format!(r#"{{"content":[{{"type":"image","mimeType":"{long}","data":"AA=="}}]}}"#);
    let tree = parse(&text);
    let places = tool_result(tree.root()).unwrap();
    assert!(places.iter().all(|place| place.mime.is_none()));
    assert_eq!(told(&places), ["Text mimeType", "Blob data"]);
}

#[test]
fn questions_inside_a_result_are_opened() {
    let text = r#"{"resultType":"input_required","requestState":"opaque","inputRequests":{
        "a":{"method":"elicitation/create","params":{"message":"m","requestedSchema":{"type":"object"},"mode":"form"}},
        "b":{"method":"sampling/createMessage","params":{"messages":[{"role":"user","content":{"type":"text","text":"t"}}],
             "systemPrompt":"s","maxTokens":5}}}}"#;
    assert_eq!(
        tool(text),
        ["Text message", "Text text", "Text systemPrompt"]
    );
}

#[test]
fn resources_and_prompts_are_opened() {
    let text = r#"{"contents":[{"uri":"ehr://1","mimeType":"text/plain","text":"a"},{"uri":"ehr://2","blob":"AA=="}],"ttlMs":5}"#;
    let tree = parse(text);
    let places = resource_result(tree.root()).unwrap();
    assert_eq!(
        told(&places),
        ["Uri uri", "Text text", "Uri uri", "Blob blob"]
    );
    assert!(
        places
            .iter()
            .filter(|place| place.shape == Shape::Text)
            .all(|place| place.block.is_some())
    );
    let text = r#"{"description":"d","messages":[{"role":"user","content":{"type":"text","text":"t"}},
        {"role":"assistant","content":{"type":"resource","resource":{"uri":"u","text":"v"}}}]}"#;
    let tree = parse(text);
    assert_eq!(
        told(&prompt_result(tree.root()).unwrap()),
        ["Text description", "Text text", "Uri uri", "Text text"]
    );
}

#[test]
fn errors_and_notifications_are_opened() {
    let tree = parse(r#"{"code":-32603,"message":"m","data":{"ssn":1},"more":2}"#);
    assert_eq!(
        told(&error(tree.root()).unwrap()),
        ["Text message", "Json data", "Json more!"]
    );
    let tree = parse(r#"{"code":-32603,"message":"m","data":"text"}"#);
    assert_eq!(
        told(&error(tree.root()).unwrap()),
        ["Text message", "Text data"]
    );
    let cases = [
        (
            "notifications/progress",
            r#"{"progressToken":1,"progress":0.5,"total":1,"message":"m"}"#,
            &["Text message"][..],
        ),
        (
            "notifications/message",
            r#"{"level":"info","logger":"l","data":{"ssn":1}}"#,
            &["Text logger", "Json data"],
        ),
        (
            "notifications/message",
            r#"{"level":"info","data":"free"}"#,
            &["Text data"],
        ),
        (
            "notifications/resources/updated",
            r#"{"uri":"ehr://1"}"#,
            &["Uri uri"],
        ),
        (
            "notifications/cancelled",
            r#"{"requestId":"1","reason":"r"}"#,
            &["Text reason"],
        ),
        (
            "notifications/tasks",
            r#"{"taskId":"1","status":"completed","result":{"content":[{"text":"t"}]}}"#,
            &["Text text"],
        ),
        (
            "notifications/vendor",
            r#"{"level":"info","message":"m","ssn":1}"#,
            &["Json level!", "Text message", "Json ssn!"],
        ),
    ];
    for (method, params, expected) in cases {
        let tree = parse(params);
        assert_eq!(
            told(&notification(method, tree.root()).unwrap()),
            expected,
            "{method}"
        );
    }
}

#[test]
fn other_results_are_opened_by_method() {
    let cases = [
        (
            "tools/list",
            r#"{"tools":[{"name":"n","title":"t","description":"d","inputSchema":{"properties":{"ssn":{}}}}],"nextCursor":"c"}"#,
            &["Text title", "Text description"][..],
        ),
        (
            "resources/list",
            r#"{"resources":[{"uri":"ehr://1","name":"n"}]}"#,
            &["Uri uri", "Text name"],
        ),
        (
            "completion/complete",
            r#"{"completion":{"values":["Jane","John"],"total":2,"hasMore":false}}"#,
            &["Text ", "Text "],
        ),
        (
            "initialize",
            r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"},"instructions":"i"}"#,
            &["Text name", "Text version", "Text instructions"],
        ),
        (
            "tasks/get",
            r#"{"taskId":"1","status":"working","statusMessage":"s","ttl":null}"#,
            &["Text statusMessage"],
        ),
        (
            "vendor/method",
            r#"{"isError":true,"content":[{"ssn":1}]}"#,
            &["Json isError!", "Json content!"],
        ),
    ];
    for (method, text, expected) in cases {
        let tree = parse(text);
        assert_eq!(
            told(&result(method, tree.root()).unwrap()),
            expected,
            "{method}"
        );
    }
}

/// Documents of the protocol's own member names in places right and wrong.
fn message() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "content",
        "structuredContent",
        "text",
        "data",
        "blob",
        "type",
        "uri",
        "resource",
        "messages",
        "contents",
        "_meta",
        "annotations",
        "audience",
        "mimeType",
        "inputRequests",
        "params",
        "task",
        "result",
        "error",
        "code",
        "isError",
        "completion",
        "values",
        "tools",
        "icons",
        "size",
        "ssn",
        "inputSchema",
        "properties",
        "default",
        "inputResponses",
        "action",
        "capabilities",
        "tasks",
        "argument",
        "name",
        "value",
        "ref",
        "notifications",
        "roots",
        "requestedSchema",
    ]);
    let scalar = prop::sample::select(vec![
        "null",
        "true",
        "1",
        "\"text\"",
        "\"a b\"",
        "\"image/png\"",
        "\"\\ud800\"",
    ]);
    scalar.prop_map(str::to_owned).prop_recursive(6, 40, 5, move |inner| {
        let member = (name.clone(), inner.clone()).prop_map(|(name, value)| format!("\"{name}\":{value}"));
        prop_oneof![
            1 => prop::collection::vec(inner, 0..5).prop_map(|elements| format!("[{}]", elements.join(","))),
            3 => prop::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

proptest! {
    #[test]
    fn every_scalar_is_in_exactly_one_place(text in message()) {
        let tree = parse(&text);
        let root = tree.root();
        let walks = [
            tool_result(root), resource_result(root), prompt_result(root), error(root),
            notification("notifications/message", root), notification("vendor", root), result("tools/list", root),
            result("completion/complete", root), result("initialize", root), result("tasks/get", root), result("vendor", root),
            request("tools/call", root), request("completion/complete", root), request("initialize", root),
            request("subscriptions/listen", root), request("vendor", root), server_request("elicitation/create", root),
            server_request("tasks/get", root), client_result("elicitation/create", root),
            client_result("sampling/createMessage", root), client_result("tasks/result", root), client_result("vendor", root),
        ];
        for places in walks.into_iter().flatten() {
            prop_assert!(covered(root, &places));
            for place in &places {
                let string = place.value.kind() == Kind::String;
                prop_assert!(string || !matches!(place.shape, Shape::Text | Shape::Blob | Shape::Uri));
                prop_assert!(!place.named || place.shape == Shape::Json);
            }
        }
    }
}
