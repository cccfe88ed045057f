//! Methods that are no call: completions, log levels, subscriptions, tasks, what the server asks and tells by itself.
//! Denied without a rule; with one, decided for the principal, shown by the views, and on record.

use std::sync::{Arc, Mutex};

use safeguard_tests::client::Client;
use safeguard_tests::configuration::Setup;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::tokens::{claims, physician, sign};
use safeguard_tests::upstream::{Recorded, Reply, Upstream, structured, tools_of_the_policy};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::patients::{VALUES, assert_no_value};

const DENIED: i64 = -32050;

/// Rules for everything.
const RULES: &str = r"methods:
  completion/complete: { roles: [physician, nurse, care_agent], patient: none }
  sampling/createMessage: { roles: [physician, nurse], text: reveal }
  elicitation/create: { roles: [physician, nurse], text: reveal }
  roots/list: { roles: [physician] }
  logging/setLevel: { roles: [physician] }
  notifications/message: { roles: [physician, nurse] }
  resources/subscribe: { roles: [physician, nurse, billing] }
  tasks/get: { roles: [physician, nurse, billing] }
  tasks/list: { roles: [physician, nurse] }
  tasks/cancel: { roles: [physician] }
";

/// An upstream with MCP sessions: each `initialize` gets the next id.
pub(crate) async fn upstream(
    handler: impl Fn(&Recorded) -> Option<Reply> + Send + Sync + 'static,
) -> Upstream {
    let sessions = Mutex::new(0);
    Upstream::start(tools_of_the_policy(), move |request: &Recorded| {
        let message = request.message();
        if message["method"] != "initialize" {
            return handler(request);
        }
        let mut number = sessions.lock().expect("no panic");
        *number += 1;
        let result = json!({
            "protocolVersion": message["params"]["protocolVersion"],
            "serverInfo": { "name": "recorder", "version": "1" },
            "capabilities": { "tools": {}, "resources": {}, "prompts": {} },
        });
        let body = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }).to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nmcp-session-id: s-{number}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        Some(Reply::Open((head + &body).into_bytes()))
    })
    .await
}

async fn ruled(upstream: &Upstream) -> Sidecar {
    Sidecar::start(Setup::new(&upstream.url()).extended(RULES)).await
}

async fn as_role(sidecar: &Sidecar, subject: &str, role: &str) -> Client {
    sidecar.client(&sign(&claims(subject, role, "TREAT"))).await
}

fn event(message: &Value) -> String {
    format!("event: message\ndata: {message}\n\n")
}

/// An upstream whose every call is answered by what a test sends, event by event.
async fn talking() -> (Upstream, mpsc::UnboundedSender<String>) {
    let (events, receiver) = mpsc::unbounded_channel();
    let receiver = Mutex::new(Some(receiver));
    let upstream = upstream(move |request| {
        (request.message()["method"] == "tools/call")
            .then(|| receiver.lock().expect("no panic").take().map(Reply::Events))
            .flatten()
    })
    .await;
    (upstream, events)
}

async fn events_named(sidecar: &Sidecar, name: &str, method: &str) -> Vec<Value> {
    sidecar
        .event(name, |event| event["mcp"]["method"] == method)
        .await;
    let mut events = sidecar.events();
    events.retain(|event| event["event"] == name && event["mcp"]["method"] == method);
    events
}

#[tokio::test]
async fn completions_are_shown_by_the_view_of_the_argument_they_are_for() {
    let upstream = upstream(|request| {
        (request.message()["method"] == "completion/complete").then(|| {
            let values = [VALUES[0], "222-33-4444"];
            Reply::Result(
                json!({ "completion": { "values": values, "total": 2, "hasMore": false } }),
            )
        })
    })
    .await;
    let sidecar = ruled(&upstream).await;
    let ask = |argument: &str, value: &str| {
        let reference = json!({ "type": "ref/resource", "uri": "patient://{id}/summary" });
        json!({ "ref": reference, "argument": { "name": argument, "value": value } })
    };
    let mut physician = as_role(&sidecar, "dr.complete", "physician").await;
    let seen = physician
        .request("completion/complete", &ask("ssn", "12"))
        .await;
    let completion = &seen["result"]["completion"];
    assert_eq!(completion["values"], json!([VALUES[0], "222-33-4444"]));
    assert_eq!(completion["total"], 2);
    // What is typed under a PHI name goes up sealed, the argument's name says so.
    let sent = upstream.messages("completion/complete").remove(0);
    let value = sent["params"]["argument"]["value"]
        .as_str()
        .expect("a text")
        .to_owned();
    assert!(value.starts_with("hs1."), "{value}");

    let mut nurse = as_role(&sidecar, "nurse.complete", "nurse").await;
    let refused = nurse
        .request("completion/complete", &ask("ssn", "12"))
        .await;
    assert_eq!(refused["error"]["code"], DENIED, "a nurse may not write it");
    // Text that is no field's is text: the policy withholds it, and how much there was.
    let seen = nurse.request("completion/complete", &ask("name", "")).await;
    assert_no_value(&seen.to_string(), "the completion");
    assert_eq!(seen["result"]["completion"], json!({ "values": [] }));
    assert_eq!(
        seen["result"]["_meta"]["safeguard/withheld"],
        json!(["completion"])
    );

    let reads = events_named(&sidecar, "phi_read", "completion/complete").await;
    assert_eq!(reads.len(), 2);
    assert_eq!(reads[0]["fields"][0]["name"], "ssn");
}

#[tokio::test]
async fn a_completion_is_for_what_the_caller_may_ask_for() {
    let upstream = upstream(|request| {
        (request.message()["method"] == "completion/complete")
            .then(|| Reply::Result(json!({ "completion": { "values": [] } })))
    })
    .await;
    let sidecar = ruled(&upstream).await;
    let mut nurse = as_role(&sidecar, "nurse.refs", "nurse").await;
    let argument = json!({ "name": "x", "value": "" });
    for reference in [
        json!({ "type": "ref/prompt", "name": "discharge_letter" }),
        json!({ "type": "ref/prompt", "name": "unknown" }),
        json!({ "type": "ref/resource", "uri": "other://{id}" }),
        json!({ "type": "ref/prompt", "name": "discharge_letter", "uri": "patient://{id}/summary" }),
        Value::Null,
    ] {
        let params = json!({ "ref": reference, "argument": argument });
        let answer = nurse.request("completion/complete", &params).await;
        assert_eq!(answer["error"]["code"], DENIED, "{reference}");
    }
    let mut billing = as_role(&sidecar, "bill.refs", "billing").await;
    let reference = json!({ "type": "ref/resource", "uri": "patient://{id}/summary" });
    let params = json!({ "ref": reference, "argument": argument });
    let answer = billing.request("completion/complete", &params).await;
    assert_eq!(answer["error"]["code"], DENIED, "no rule for this role");
    assert!(upstream.messages("completion/complete").is_empty());
}

#[tokio::test]
async fn without_rules_no_method_reaches_the_upstream() {
    let upstream = upstream(|_| None).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.none"))).await;
    for (method, params) in [
        (
            "completion/complete",
            json!({ "ref": { "type": "ref/prompt", "name": "discharge_letter" }, "argument": { "name": "x", "value": "" } }),
        ),
        ("logging/setLevel", json!({ "level": "info" })),
        (
            "resources/subscribe",
            json!({ "uri": "patient://p-1/summary" }),
        ),
        ("tasks/list", json!({})),
        ("tasks/get", json!({ "taskId": "t" })),
    ] {
        let answer = client.request(method, &params).await;
        assert_eq!(answer["error"]["code"], DENIED, "{method}");
        assert!(upstream.messages(method).is_empty(), "{method}");
    }
}

#[tokio::test]
async fn a_log_level_is_one_of_the_protocols_and_a_subscription_one_that_may_be_read() {
    let upstream = upstream(|request| {
        let method = request.message()["method"].clone();
        let known = [
            "logging/setLevel",
            "resources/subscribe",
            "resources/unsubscribe",
        ];
        known
            .iter()
            .any(|name| method == *name)
            .then(|| Reply::Result(json!({})))
    })
    .await;
    let sidecar = ruled(&upstream).await;
    let mut physician = as_role(&sidecar, "dr.levels", "physician").await;
    let set = physician
        .request("logging/setLevel", &json!({ "level": "debug" }))
        .await;
    assert_eq!(set["result"], json!({}));
    let message = physician.request_message("logging/setLevel", &json!({ "level": VALUES[0] }));
    let refused = physician
        .post(&message)
        .await
        .expect_status(400)
        .await
        .json()
        .await;
    assert_eq!(refused["error"]["code"], -32600);

    let uri = json!({ "uri": "patient://p-1/summary" });
    let subscribed = physician.request("resources/subscribe", &uri).await;
    assert_eq!(subscribed["result"], json!({}));
    physician.request("resources/unsubscribe", &uri).await;
    let foreign = physician
        .request("resources/subscribe", &json!({ "uri": "other://x" }))
        .await;
    assert_eq!(foreign["error"]["code"], DENIED);
    // Billing has the method's rule, and not the resource's.
    let mut billing = sidecar
        .client(&sign(&claims("bill.sub", "billing", "HPAYMT")))
        .await;
    let refused = billing.request("resources/subscribe", &uri).await;
    assert_eq!(refused["error"]["code"], DENIED);
    assert_eq!(upstream.messages("resources/subscribe").len(), 1);
    assert!(!upstream.everything().contains(VALUES[0]));
}

#[tokio::test]
async fn what_the_server_asks_is_shown_by_the_views_and_the_answer_is_sealed_on_its_way_back() {
    let (upstream, events) = talking().await;
    let sidecar = ruled(&upstream).await;
    let mut nurse = as_role(&sidecar, "nurse.asked", "nurse").await;
    let mut other = sidecar.another(&nurse).await;
    other.session.clone_from(&nurse.session);
    let call = nurse.request_message(
        "tools/call",
        &json!({ "name": "read_record", "arguments": { "patient_id": "p-7" } }),
    );
    let mut answer = nurse.post(&call).await.expect_status(200).await;
    let schema = json!({ "type": "object", "properties": {
        "ssn": { "type": "string", "default": VALUES[0] },
        "medications": { "type": "string", "default": "aspirin" },
        "diagnosis": { "type": "string", "enum": [VALUES[1]] },
    } });
    let question = json!({ "jsonrpc": "2.0", "id": 9, "method": "elicitation/create", "params": { "message": "Which one?", "requestedSchema": schema } });
    events.send(event(&question)).expect("an open stream");
    let asked = answer.event().await.expect("the question").json();
    let shown = &asked["params"]["requestedSchema"]["properties"];
    assert_eq!(asked["id"], 9);
    assert_eq!(asked["params"]["message"], "Which one?");
    assert_eq!(shown["medications"]["default"], "aspirin");
    assert_eq!(shown["ssn"]["default"], "***-**-6789");
    assert_eq!(shown["diagnosis"], json!({ "type": "string" }));

    // The same person answers, on another connection of the same session.
    let content = json!({ "medications": "ibuprofen 400", "note": "as discussed" });
    let reply =
        json!({ "jsonrpc": "2.0", "id": 9, "result": { "action": "accept", "content": content } });
    other.post(&reply).await.expect_status(202).await;
    let everything = upstream.everything();
    assert!(!everything.contains("ibuprofen"), "sealed on its way up");
    assert!(everything.contains("as discussed"));
    // Nobody answers twice.
    let again = other.post(&reply).await;
    assert_eq!(again.status, 403);

    let result =
        json!({ "jsonrpc": "2.0", "id": call["id"], "result": { "content": [], "isError": true } });
    events.send(event(&result)).expect("an open stream");
    answer.event().await.expect("the answer");
    let shown = events_named(&sidecar, "phi_read", "elicitation/create").await;
    assert_eq!(shown.len(), 1);
    assert!(
        !shown[0]["patients"]
            .as_array()
            .expect("patients")
            .is_empty()
    );
    let sent = events_named(&sidecar, "phi_access_granted", "elicitation/create").await;
    assert_eq!(sent[0]["fields"][0]["name"], "medications");
}

#[tokio::test]
async fn an_answer_that_the_caller_may_not_give_is_refused_and_the_server_hears_that_there_is_none()
{
    let (upstream, events) = talking().await;
    let sidecar = ruled(&upstream).await;
    let mut nurse = as_role(&sidecar, "nurse.refused", "nurse").await;
    let mut other = sidecar.another(&nurse).await;
    other.session.clone_from(&nurse.session);
    let call = nurse.request_message(
        "tools/call",
        &json!({ "name": "find_patient", "arguments": {} }),
    );
    let mut answer = nurse.post(&call).await.expect_status(200).await;
    let question = json!({ "jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": { "message": "Which?", "requestedSchema": { "type": "object", "properties": {} } } });
    events.send(event(&question)).expect("an open stream");
    answer.event().await.expect("the question");
    let reply = json!({ "jsonrpc": "2.0", "id": "q", "result": { "action": "accept", "content": { "ssn": VALUES[0] } } });
    assert_eq!(other.post(&reply).await.status, 403);
    let errors: Vec<Value> = upstream
        .requests()
        .iter()
        .map(Recorded::message)
        .filter(|message| message.get("error").is_some())
        .collect();
    assert_eq!(
        errors,
        [
            json!({ "jsonrpc": "2.0", "id": "q", "error": { "code": -32603, "message": "not available" } })
        ]
    );
    assert!(!upstream.everything().contains(VALUES[0]));
    drop(events);
}

#[tokio::test]
async fn a_question_that_is_denied_is_answered_in_the_clients_place() {
    let (upstream, events) = talking().await;
    let sidecar = ruled(&upstream).await;
    let mut agent = as_role(&sidecar, "care.denied", "care_agent").await;
    let call = agent.request_message(
        "tools/call",
        &json!({ "name": "find_patient", "arguments": {} }),
    );
    let mut answer = agent.post(&call).await.expect_status(200).await;
    let questions = [
        "sampling/createMessage",
        "elicitation/create",
        "roots/list",
        "tasks/get",
        "made/up",
    ];
    for (id, method) in questions.iter().enumerate() {
        let question = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": { "message": VALUES[0] } });
        events.send(event(&question)).expect("an open stream");
    }
    let result = json!({ "jsonrpc": "2.0", "id": call["id"], "result": structured(&json!({ "patients": [] })) });
    events.send(event(&result)).expect("an open stream");
    let seen = answer.event().await.expect("the answer").json();
    assert_eq!(seen["id"], call["id"], "nothing came before it");
    let refused: Vec<Recorded> = upstream
        .requests()
        .into_iter()
        .filter(|request| request.message().get("error").is_some())
        .collect();
    assert_eq!(refused.len(), questions.len());
    for (id, request) in refused.iter().enumerate() {
        let message = request.message();
        assert_eq!(message["id"], id);
        assert_eq!(message["error"]["code"], -32601);
        assert_eq!(request.header("mcp-session-id"), agent.session.as_deref());
        assert_eq!(request.header("mcp-protocol-version"), Some("2025-11-25"));
    }
    let denied = events_named(&sidecar, "phi_access_denied", "sampling/createMessage").await;
    assert_eq!(denied.len(), 1);
}

#[tokio::test]
async fn an_answer_to_a_question_that_nobody_asked_does_not_pass() {
    let upstream = upstream(|_| None).await;
    let sidecar = ruled(&upstream).await;
    let mut client = as_role(&sidecar, "dr.unasked", "physician").await;
    for id in [json!(9), json!("9"), json!(client.session)] {
        let reply =
            json!({ "jsonrpc": "2.0", "id": id, "result": { "action": "accept", "content": {} } });
        assert_eq!(client.post(&reply).await.status, 403);
    }
    assert!(
        upstream
            .requests()
            .iter()
            .all(|request| request.message().get("result").is_none())
    );
}

#[tokio::test]
async fn sampling_reaches_a_model_as_the_caller_may_see_it() {
    let (upstream, events) = talking().await;
    let sidecar = ruled(&upstream).await;
    let mut nurse = as_role(&sidecar, "nurse.sampling", "nurse").await;
    let mut other = sidecar.another(&nurse).await;
    other.session.clone_from(&nurse.session);
    let call = nurse.request_message(
        "tools/call",
        &json!({ "name": "find_patient", "arguments": {} }),
    );
    let mut answer = nurse.post(&call).await.expect_status(200).await;
    let record = json!({ "ssn": VALUES[0], "diagnosis": VALUES[1], "medications": ["aspirin"] });
    let question = json!({ "jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage", "params": {
        "messages": [{ "role": "user", "content": { "type": "text", "text": record.to_string() } }],
        "systemPrompt": "Summarise.", "maxTokens": 100, "metadata": record } });
    events.send(event(&question)).expect("an open stream");
    let asked = answer.event().await.expect("the question").json();
    let text = asked["params"]["messages"][0]["content"]["text"]
        .as_str()
        .expect("text");
    let shown: Value = serde_json::from_str(text).expect("JSON in text");
    assert_eq!(
        shown,
        json!({ "ssn": "***-**-6789", "medications": ["aspirin"] })
    );
    assert_eq!(asked["params"]["metadata"]["ssn"], "***-**-6789");
    assert_eq!(asked["params"]["systemPrompt"], "Summarise.");
    assert_eq!(asked["params"]["maxTokens"], 100);
    let content =
        json!({ "type": "text", "text": json!({ "medications": "aspirin" }).to_string() });
    let reply = json!({ "jsonrpc": "2.0", "id": 1, "result": { "role": "assistant", "content": content, "model": "m", "stopReason": "endTurn" } });
    other.post(&reply).await.expect_status(202).await;
    let sent = upstream.everything();
    assert!(
        sent.contains("endTurn") && !sent.contains("aspirin"),
        "{sent}"
    );
    drop(events);
}

#[tokio::test]
async fn what_the_server_tells_is_told_by_rule_and_view() {
    let (upstream, events) = talking().await;
    let sidecar = ruled(&upstream).await;
    let mut nurse = as_role(&sidecar, "nurse.news", "nurse").await;
    let call = nurse.request_message(
        "tools/call",
        &json!({ "name": "find_patient", "arguments": {} }),
    );
    let mut answer = nurse.post(&call).await.expect_status(200).await;
    let news = |method: &str, params: Value| {
        event(&json!({ "jsonrpc": "2.0", "method": method, "params": params }))
    };
    let data = json!({ "ssn": VALUES[0], "medications": "aspirin", "diagnosis": VALUES[1] });
    let log = news(
        "notifications/message",
        json!({ "level": "info", "logger": VALUES[2], "data": data }),
    );
    events.send(log).expect("an open stream");
    let told = answer.event().await.expect("the log message").json();
    assert_eq!(told["params"]["level"], "info");
    assert_eq!(
        told["params"]["data"],
        json!({ "ssn": "***-**-6789", "medications": "aspirin" })
    );
    assert_no_value(&told.to_string(), "the log message");

    for silent in [
        news(
            "notifications/resources/updated",
            json!({ "uri": "other://x" }),
        ),
        news(
            "notifications/elicitation/complete",
            json!({ "elicitationId": VALUES[0] }),
        ),
        news(
            "notifications/tasks/status",
            json!({ "taskId": "foreign", "status": "working" }),
        ),
    ] {
        events.send(silent).expect("an open stream");
    }
    let updated = news(
        "notifications/resources/updated",
        json!({ "uri": "patient://p-1/summary", "title": VALUES[3] }),
    );
    events.send(updated).expect("an open stream");
    let told = answer.event().await.expect("the change").json();
    assert_eq!(told["params"], json!({ "uri": "patient://p-1/summary" }));
    drop(events);
    let reads = events_named(&sidecar, "phi_read", "notifications/message").await;
    assert_eq!(reads.len(), 1);
    events_named(
        &sidecar,
        "phi_access_granted",
        "notifications/resources/updated",
    )
    .await;
}

/// An upstream that runs every call of `read_record` as the task that its caller names.
async fn working() -> Upstream {
    let record =
        Arc::new(json!({ "record": { "patient_id": "p-7", "data": {} }, "ssn": VALUES[0] }));
    upstream(move |request| {
        let message = request.message();
        let params = &message["params"];
        let task = |id: &Value| json!({ "taskId": id, "status": "working", "statusMessage": VALUES[1], "createdAt": "2026-11-23T00:00:00Z", "ttl": null });
        Some(Reply::Result(match message["method"].as_str()? {
            "tools/call" => json!({ "task": task(&params["task"]["name"]) }),
            "tasks/list" => json!({ "tasks": [task(&json!("of-ann")), task(&json!("of-bob"))] }),
            "tasks/get" | "tasks/cancel" => task(&params["taskId"]),
            "tasks/result" => structured(&record),
            _ => return None,
        }))
    })
    .await
}

async fn start_task(client: &mut Client, id: &str) -> Value {
    let params = json!({ "name": "find_patient", "arguments": {}, "task": { "name": id } });
    client.request("tools/call", &params).await
}

#[tokio::test]
async fn a_task_is_its_owners_and_its_result_is_settled_as_the_call_was() {
    let upstream = working().await;
    let sidecar = ruled(&upstream).await;
    let mut ann = as_role(&sidecar, "ann", "nurse").await;
    let mut bob = as_role(&sidecar, "bob", "physician").await;
    let handle = start_task(&mut ann, "of-ann").await;
    assert_eq!(handle["result"]["task"]["taskId"], "of-ann");
    assert_no_value(&handle.to_string(), "the handle");
    start_task(&mut bob, "of-bob").await;

    let get = json!({ "taskId": "of-ann" });
    let status = ann.request("tasks/get", &get).await;
    assert_eq!(status["result"]["status"], "working");
    assert_no_value(&status.to_string(), "the status");
    let result = ann.request("tasks/result", &get).await;
    assert_eq!(result["result"]["structuredContent"]["ssn"], "***-**-6789");

    // Another's is as if it did not exist: no word differs from an unknown one's.
    let reached = upstream.messages("tasks/result").len();
    let mut foreign = bob.request("tasks/result", &get).await;
    let mut unknown = bob
        .request("tasks/result", &json!({ "taskId": "never" }))
        .await;
    for answer in [&mut foreign, &mut unknown] {
        assert_eq!(answer["error"]["code"], DENIED);
        answer["id"] = Value::Null;
        answer["error"]["data"] = Value::Null;
    }
    assert_eq!(foreign, unknown);
    assert_eq!(upstream.messages("tasks/result").len(), reached);
    for method in ["tasks/get", "tasks/cancel"] {
        let refused = bob.request(method, &get).await;
        assert_eq!(refused["error"]["code"], DENIED, "{method}");
    }

    let list = ann.request("tasks/list", &json!({})).await;
    let tasks = list["result"]["tasks"].as_array().expect("tasks");
    assert_eq!(tasks.len(), 1);
    assert_eq!(tasks[0]["taskId"], "of-ann");
    assert_no_value(&list.to_string(), "the list");
    let refused = ann.request("tasks/cancel", &get).await;
    assert_eq!(
        refused["error"]["code"], DENIED,
        "a nurse has no rule for it"
    );
    let cancelled = bob
        .request("tasks/cancel", &json!({ "taskId": "of-bob" }))
        .await;
    assert_eq!(cancelled["result"]["taskId"], "of-bob");

    let reads = events_named(&sidecar, "phi_read", "tasks/result").await;
    assert_eq!(reads.len(), 1);
    assert_eq!(reads[0]["mcp"]["tool"], "find_patient");
}

#[tokio::test]
async fn a_task_id_that_two_principals_were_given_is_the_first_ones() {
    let upstream = working().await;
    let sidecar = ruled(&upstream).await;
    let mut ann = as_role(&sidecar, "ann.first", "nurse").await;
    let mut bob = as_role(&sidecar, "bob.second", "nurse").await;
    start_task(&mut ann, "shared").await;
    let message = bob.request_message(
        "tools/call",
        &json!({ "name": "find_patient", "arguments": {}, "task": { "name": "shared" } }),
    );
    let answer = bob
        .post(&message)
        .await
        .expect_status(502)
        .await
        .json()
        .await;
    assert_eq!(answer["error"]["code"], -32054);
    let status = ann
        .request("tasks/get", &json!({ "taskId": "shared" }))
        .await;
    assert_eq!(status["result"]["status"], "working");
}
