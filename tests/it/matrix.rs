//! A canary in every cell of the table of where PHI can stand in MCP, sent by a real sidecar's upstream and by its
//! client, as JSON and as events: nobody gets to see it who may not, and no log, metric, probe or event holds it.

use safeguard_tests::client::{Client, plain_request};
use safeguard_tests::configuration::Setup;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::tokens::{claims, physician, sign};
use safeguard_tests::upstream::{Recorded, Reply, Upstream};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// What stands for PHI: in no word of any protocol, and of no form that a detector knows.
const CANARY: &str = "Quillfeather-40718265";

/// A record with the canary under a name of PHI, in text, deeper, and under a name that says nothing.
fn record() -> Value {
    // A member's name that can't be an identifier may be a value; one that can be is taken for a name.
    let sentence = format!("seen by {CANARY}");
    let deep = json!([{ "Diagnoses": [CANARY] }]);
    let plain = json!({ "ssn": CANARY, "note": CANARY, sentence: 1, "deep": deep });
    let twice = json!([plain.to_string()]).to_string();
    json!({ "record": plain, "text": plain.to_string(), "twice": twice })
}

fn blob() -> String {
    base64_simd::STANDARD.encode_to_string(record().to_string())
}

/// Every result of `tools/call`: one cell each.
fn tool_results() -> Vec<Value> {
    let text = |text: &str| json!({ "type": "text", "text": text });
    let resource = |inner: Value| json!({ "type": "resource", "resource": inner });
    let uri = format!("x://{CANARY}");
    let blocks = [
        text(CANARY),
        text(&record().to_string()),
        text(&format!("{:#}", record())),
        json!({ "type": "text", "text": "t", "_meta": record(), "annotations": { "audience": [CANARY] } }),
        json!({ "type": "image", "data": blob(), "mimeType": "application/json" }),
        json!({ "type": "image", "data": base64_simd::STANDARD.encode_to_string(CANARY), "mimeType": "image/png" }),
        json!({ "type": "audio", "data": CANARY, "mimeType": CANARY }),
        resource(
            json!({ "uri": "x:y", "mimeType": "application/json", "text": record().to_string() }),
        ),
        resource(
            json!({ "uri": "x:y", "mimeType": "text/plain", "text": CANARY, "_meta": record() }),
        ),
        resource(json!({ "uri": "x:y", "blob": blob() })),
        resource(json!({ "uri": uri, "text": "t" })),
        json!({ "type": "resource_link", "uri": uri, "name": CANARY, "title": CANARY, "description": CANARY }),
        json!({ "type": CANARY, "text": CANARY, "vendor": record() }),
    ];
    let mut results: Vec<Value> = blocks
        .into_iter()
        .map(|block| json!({ "content": [block] }))
        .collect();
    results.push(json!({ "content": [], "structuredContent": record() }));
    results.push(json!({ "content": [text(CANARY)], "isError": true }));
    results.push(json!({ "content": [], "_meta": record(), "vendor": CANARY }));
    results.push(json!({ "content": CANARY, "structuredContent": CANARY }));
    results
}

/// Every other thing that an upstream may say in answer to a call.
fn other_answers() -> Vec<Value> {
    vec![
        json!({ "error": { "code": -32000, "message": CANARY, "data": record() } }),
        json!({ "error": { "code": -32000, "message": record().to_string(), "data": CANARY } }),
        json!({ "error": { "code": -32000, "message": "m", "vendor": record() } }),
        json!({ "result": { "content": [] }, "vendor": record() }),
        json!({ "result": { "task": { "taskId": "t", "statusMessage": CANARY, "vendor": record() } } }),
    ]
}

/// What an upstream may say beside an answer: each goes before it, on a stream.
fn interjections() -> Vec<Value> {
    let notification = |method: &str, params: Value| json!({ "jsonrpc": "2.0", "method": method, "params": params });
    let request = |method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": 9, "method": method, "params": params });
    vec![
        notification(
            "notifications/progress",
            json!({ "progressToken": 7, "progress": 1, "message": CANARY, "_meta": record() }),
        ),
        notification(
            "notifications/message",
            json!({ "level": "info", "logger": CANARY, "data": record() }),
        ),
        notification(
            "notifications/resources/updated",
            json!({ "uri": format!("x://{CANARY}") }),
        ),
        notification(
            "notifications/cancelled",
            json!({ "requestId": 1, "reason": CANARY }),
        ),
        notification(
            "notifications/tasks/status",
            json!({ "taskId": "t", "status": "working", "statusMessage": CANARY, "result": record() }),
        ),
        notification(
            "notifications/elicitation/complete",
            json!({ "elicitationId": CANARY }),
        ),
        notification("notifications/tools/list_changed", record()),
        notification(CANARY, record()),
        request(
            "sampling/createMessage",
            json!({ "messages": [{ "role": "user", "content": { "type": "text", "text": CANARY } }], "systemPrompt": CANARY, "metadata": record() }),
        ),
        request(
            "elicitation/create",
            json!({ "message": CANARY, "requestedSchema": { "type": "object", "properties": { "a": { "type": "string", "default": CANARY } } } }),
        ),
        request(
            "elicitation/create",
            json!({ "message": "m", "_meta": record(), "vendor": CANARY, "requestedSchema": { "type": "object", "title": CANARY, "properties": {
                "ssn": { "type": "string", "title": CANARY, "description": CANARY, "default": CANARY, "examples": [CANARY] },
                "pick": { "type": "string", "enum": [CANARY], "enumNames": [CANARY] },
                "titled": { "oneOf": [{ "const": CANARY, "title": CANARY }] },
                "more": { "type": "array", "items": { "type": "string", "enum": [CANARY] }, "default": [CANARY] } } } }),
        ),
        request(
            "elicitation/create",
            json!({ "mode": "url", "message": CANARY, "elicitationId": "e", "url": format!("https://example.com/{CANARY}") }),
        ),
        request(
            "sampling/createMessage",
            json!({ "messages": [
                { "role": "assistant", "content": { "type": "tool_use", "id": "1", "name": "t", "input": record() } },
                { "role": "user", "content": [{ "type": "tool_result", "toolUseId": "1", "content": [{ "type": "text", "text": record().to_string() }], "structuredContent": record() }] },
                { "role": "user", "content": { "type": "image", "data": blob(), "mimeType": "application/json" } }],
                "stopSequences": [CANARY], "modelPreferences": { "hints": [{ "name": CANARY }] }, "tools": [{ "name": "t", "description": CANARY, "inputSchema": { "type": "object", "properties": { "ssn": { "default": CANARY } } } }], "maxTokens": 1 }),
        ),
        request("roots/list", record()),
        request("ping", record()),
        request(CANARY, record()),
        json!({ "jsonrpc": "2.0", "id": "of nobody", "result": record() }),
        json!({ "neither": record() }),
    ]
}

fn events(messages: &[Value]) -> Reply {
    let (sender, receiver) = mpsc::unbounded_channel();
    for message in messages {
        sender
            .send(format!("event: message\ndata: {message}\n\n"))
            .expect("a receiver");
    }
    Reply::Events(receiver)
}

/// An upstream that answers call number `n` with cell number `n`, the first time as JSON, the second as events.
async fn upstream(cells: Vec<Value>) -> Upstream {
    crate::methods::upstream(move |request: &Recorded| {
        let message = request.message();
        let arguments = &message["params"]["arguments"];
        let cell = cells.get(usize::try_from(arguments["department"].as_u64()?).ok()?)?;
        let mut answer = json!({ "jsonrpc": "2.0", "id": message["id"] });
        for (name, value) in cell.as_object()? {
            answer[name] = value.clone();
        }
        let before = match arguments["status"].as_u64() {
            None => {
                return Some(Reply::Body(
                    200,
                    "application/json",
                    answer.to_string().into_bytes(),
                ));
            }
            Some(number) => interjections()
                .into_iter()
                .nth(usize::try_from(number).ok()?),
        };
        let messages: Vec<Value> = before.into_iter().chain([answer]).collect();
        Some(events(&messages))
    })
    .await
}

fn assert_absent(what: &str, text: &str) {
    let encoded = base64_simd::STANDARD.encode_to_string(CANARY);
    for form in [
        CANARY,
        &CANARY.to_lowercase(),
        encoded.get(..20).expect("base64"),
    ] {
        assert!(!text.contains(form), "{what} holds {form:?}: {text}");
    }
}

async fn whole(client: &mut Client, message: &Value) -> String {
    let answer = client.post(message).await;
    // A stream that stays open would never end: the upstream's sender is dropped with its last event.
    String::from_utf8_lossy(&answer.bytes().await).into_owned()
}

async fn assert_nothing_kept(sidecar: &mut Sidecar) {
    let metrics = sidecar.metrics().await;
    let (_, ready) =
        plain_request(&sidecar.admin(), "GET", "/readyz?verbose", &[], Vec::new()).await;
    sidecar.stop().await;
    assert_absent("the metrics", &metrics);
    assert_absent("the probe", &String::from_utf8_lossy(&ready));
    assert_absent("the log", &sidecar.log());
    assert_absent("the spool", &Setup::contents(&sidecar.setup.spool()));
    let folder = sidecar.setup.folder.path();
    let dumps: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok())
        .filter(|name| name.starts_with("core"))
        .collect();
    assert_eq!(dumps, Vec::<String>::new(), "no core dump");
}

/// Rules that let everybody do everything that is shown by views.
const RULES: &str = r"methods:
  completion/complete: { roles: any, patient: none }
  sampling/createMessage: { roles: any }
  elicitation/create: { roles: any }
  roots/list: { roles: any, operation: read }
  logging/setLevel: { roles: any }
  notifications/message: { roles: any }
  resources/subscribe: { roles: any }
  tasks/get: { roles: any }
  tasks/list: { roles: any }
  tasks/cancel: { roles: any }
";

/// Without rules of methods, and with all of them.
const POLICIES: [&str; 2] = ["", RULES];

async fn traced(url: &str, rules: &str) -> Sidecar {
    let mut setup = Setup::new(url);
    if !rules.is_empty() {
        setup = setup.extended(rules);
    }
    setup.set("RUST_LOG", "trace");
    setup.set("SAFEGUARD_LOG", "trace");
    Sidecar::start(setup).await
}

#[tokio::test]
async fn no_cell_of_an_answer_shows_a_value_to_who_may_not_see_it() {
    let results = tool_results()
        .into_iter()
        .map(|result| json!({ "result": result }));
    let cells: Vec<Value> = results.chain(other_answers()).collect();
    for rules in POLICIES {
        no_cell_is_seen(cells.clone(), rules).await;
    }
}

async fn no_cell_is_seen(cells: Vec<Value>, rules: &str) {
    let count = cells.len();
    let upstream = upstream(cells).await;
    let mut sidecar = traced(&upstream.url(), rules).await;
    let mut client = sidecar
        .client(&sign(&claims("care.matrix", "care_agent", "TREAT")))
        .await;
    for cell in 0..count {
        for interjection in [None, Some(cell % interjections().len())] {
            let arguments = json!({ "department": cell, "status": interjection });
            let message = client.request_message("tools/call", &json!({ "name": "find_patient", "arguments": arguments, "_meta": { "progressToken": 7 } }));
            let seen = whole(&mut client, &message).await;
            assert!(!seen.is_empty(), "cell {cell} is answered");
            assert_absent(&format!("the answer to cell {cell}"), &seen);
        }
    }
    assert_nothing_kept(&mut sidecar).await;
}

#[tokio::test]
async fn nothing_that_an_upstream_says_beside_an_answer_shows_a_value() {
    for rules in POLICIES {
        let released = interjections_are_shown(rules).await;
        // Every question and notification that a rule permits goes on, rewritten; the rest does not.
        let permitted = match rules.is_empty() {
            true => 4,
            false => 11,
        };
        assert_eq!(released, permitted, "with the rules {rules:?}");
    }
}

/// Sends every interjection; how many went on.
async fn interjections_are_shown(rules: &str) -> usize {
    let mut released = 0;
    let handle = json!({ "result": { "task": { "taskId": "t", "status": "working" } } });
    let cells = vec![json!({ "result": { "content": [] } }), handle];
    let upstream = upstream(cells).await;
    let mut sidecar = traced(&upstream.url(), rules).await;
    let mut client = sidecar
        .client(&sign(&claims("care.beside", "care_agent", "TREAT")))
        .await;
    // The task that is told of is this client's.
    client
        .call("find_patient", &json!({ "department": 1 }))
        .await;
    for number in 0..interjections().len() {
        let arguments = json!({ "department": 0, "status": number });
        let message = client.request_message("tools/call", &json!({ "name": "find_patient", "arguments": arguments, "_meta": { "progressToken": 7 } }));
        let seen = whole(&mut client, &message).await;
        assert!(
            seen.contains("\"content\""),
            "the answer comes all the same: {seen}"
        );
        assert_absent(&format!("interjection {number}"), &seen);
        released += seen.matches("\"method\"").count();
    }
    assert_nothing_kept(&mut sidecar).await;
    released
}

#[tokio::test]
async fn no_cell_of_a_request_reaches_the_upstream_in_clear() {
    for rules in POLICIES {
        no_cell_goes_up_in_clear(rules).await;
    }
}

async fn no_cell_goes_up_in_clear(rules: &str) {
    let upstream = Upstream::answering(json!({ "content": [] })).await;
    let mut sidecar = traced(&upstream.url(), rules).await;
    let mut client = sidecar.client(&sign(&physician("dr.matrix"))).await;
    let named = json!({ "ssn": CANARY, "deep": [{ "DOB": CANARY }], "text": json!({ "mrn": CANARY }).to_string() });
    let requests = [
        (
            "tools/call",
            json!({ "name": "find_patient", "arguments": named }),
        ),
        (
            "tools/call",
            json!({ "name": "find_patient", "arguments": {}, "_meta": { "vendor": named } }),
        ),
        (
            "tools/call",
            json!({ "name": "find_patient", "arguments": {}, "vendor": named }),
        ),
        ("tools/call", json!({ "name": CANARY, "arguments": {} })),
        (
            "prompts/get",
            json!({ "name": "discharge_letter", "arguments": { "patient_id": "p-1", "ssn": CANARY } }),
        ),
        (
            "resources/read",
            json!({ "uri": format!("other://{CANARY}") }),
        ),
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/prompt", "name": "discharge_letter" }, "argument": { "name": "ssn", "value": CANARY } }),
        ),
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/prompt", "name": "discharge_letter" }, "argument": { "name": "x", "value": json!({ "ssn": CANARY }).to_string() }, "context": { "arguments": named }, "_meta": { "vendor": named }, "vendor": named }),
        ),
        ("logging/setLevel", json!({ "level": CANARY })),
        (
            "logging/setLevel",
            json!({ "level": "info", "vendor": named, "_meta": named }),
        ),
        ("tasks/list", json!({ "vendor": named, "_meta": named })),
        ("ping", json!({ "_meta": { "vendor": named } })),
        ("tools/list", json!({ "_meta": named, "vendor": named })),
        ("resources/list", json!({ "vendor": named })),
        (
            "initialize",
            json!({ "protocolVersion": "2025-11-25", "capabilities": { "experimental": { "x": named } }, "clientInfo": { "name": "n", "version": "1", "vendor": named } }),
        ),
        ("resources/subscribe", json!({ "uri": CANARY })),
        ("tasks/get", json!({ "taskId": CANARY })),
        (CANARY, named.clone()),
    ];
    for (method, params) in requests {
        let message = client.request_message(method, &params);
        whole(&mut client, &message).await;
    }
    for notification in ["notifications/progress", "notifications/message", CANARY] {
        let message = json!({ "jsonrpc": "2.0", "method": notification, "params": { "message": CANARY, "ssn": CANARY } });
        whole(&mut client, &message).await;
    }
    for notification in ["notifications/cancelled", "notifications/initialized"] {
        let params =
            json!({ "requestId": 1, "reason": named.to_string(), "_meta": named, "vendor": named });
        let message = json!({ "jsonrpc": "2.0", "method": notification, "params": params });
        whole(&mut client, &message).await;
    }
    let answer =
        json!({ "jsonrpc": "2.0", "id": 9, "result": { "action": "accept", "content": named } });
    whole(&mut client, &answer).await;
    let token = client.token.clone();
    let bearer = format!("Bearer {token}");
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-name", CANARY),
        ("mcp-param-ssn", CANARY),
        ("baggage", CANARY),
    ];
    let mut connection = sidecar.connect().await;
    for path in [
        "/mcp",
        &format!("/mcp?patient={CANARY}"),
        &format!("/mcp/{CANARY}"),
    ] {
        let _seen = connection.send("POST", path, &headers, list.clone()).await;
    }
    for request in upstream.requests() {
        assert_absent("the upstream", &format!("{request:?}"));
        assert_absent("the upstream", &String::from_utf8_lossy(&request.body));
    }
    assert_nothing_kept(&mut sidecar).await;
}

#[tokio::test]
async fn no_cell_of_a_clients_answer_reaches_the_upstream_in_clear() {
    let questions = interjections()
        .into_iter()
        .filter(|told| told.get("id") == Some(&json!(9)));
    let count = interjections().len();
    assert!(questions.count() >= 6);
    let upstream = upstream(vec![json!({ "result": { "content": [] } })]).await;
    let mut sidecar = traced(&upstream.url(), RULES).await;
    let mut client = sidecar.client(&sign(&physician("dr.answers"))).await;
    let named = json!({ "ssn": CANARY, "deep": [{ "DOB": CANARY }], "text": json!({ "mrn": CANARY }).to_string() });
    let text = json!({ "type": "text", "text": named.to_string(), "_meta": named });
    let answers = [
        json!({ "result": { "action": "accept", "content": named, "_meta": named, "vendor": named } }),
        json!({ "result": { "role": "assistant", "content": text, "model": "m" } }),
        json!({ "result": { "role": "assistant", "content": [{ "type": "tool_use", "id": "1", "name": "t", "input": named }], "model": "m" } }),
        json!({ "result": { "roots": [{ "uri": "file:///a", "name": "n", "_meta": named }] } }),
        json!({ "error": { "code": -1, "message": named.to_string(), "data": named } }),
        json!({ "result": {}, "vendor": named }),
    ];
    let mut passed = 0;
    for number in 0..count {
        for answer in &answers {
            let arguments = json!({ "department": 0, "status": number });
            let message = client.request_message(
                "tools/call",
                &json!({ "name": "find_patient", "arguments": arguments }),
            );
            whole(&mut client, &message).await;
            let mut reply = json!({ "jsonrpc": "2.0", "id": 9 });
            for (name, value) in answer.as_object().expect("members") {
                reply[name] = value.clone();
            }
            passed += usize::from(client.post(&reply).await.status == 202);
        }
    }
    assert!(passed >= 24, "{passed} answers went up");
    for request in upstream.requests() {
        assert_absent("the upstream", &String::from_utf8_lossy(&request.body));
    }
    assert_nothing_kept(&mut sidecar).await;
}
