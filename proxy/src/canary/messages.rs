//! The messages that the synthetic patient travels in: every place of each holds the record, or prose about it.

use base64_simd::STANDARD;
use serde_json::{Value, json};

use crate::rewrite::answer::Method;

/// What a server asks a person, and the person answers.
pub(super) const ELICITATION: &str = "elicitation/create";
/// A URI that names nobody.
pub(super) const URI: &str = "canary://patient";

/// One record in every way that arguments can hold it: as it is, deeper, under other spellings of its names, in text.
pub(super) fn places(record: &Value) -> Value {
    let mut all = record.clone();
    let shouted = respelled(record);
    if let Some(object) = all.as_object_mut() {
        object.insert("deeper".to_owned(), json!({ "rows": [[shouted]] }));
        object.insert("text".to_owned(), json!(record.to_string()));
        object.insert(
            "twice".to_owned(),
            json!(json!({ "text": record.to_string() }).to_string()),
        );
    }
    all
}

/// The same members, their names in capitals with hyphens.
fn respelled(record: &Value) -> Value {
    let members = record.as_object().into_iter().flatten();
    let respelled =
        members.map(|(name, value)| (name.to_uppercase().replace('_', "-"), value.clone()));
    Value::Object(respelled.collect())
}

/// Every kind of answer with the record in every place that it has. The prose stands where text can.
pub(super) fn answers(record: &Value, prose: &str) -> Vec<(&'static str, Method, Value)> {
    let all = places(record);
    let text = all.to_string();
    let blob = STANDARD.encode_to_string(&text);
    let resource = json!({ "uri": URI, "mimeType": "application/json", "text": text });
    let binary = json!({ "uri": URI, "mimeType": "application/json", "blob": blob });
    let blocks = json!([
        { "type": "text", "text": text }, { "type": "text", "text": prose, "_meta": all },
        { "type": "resource", "resource": resource }, { "type": "resource", "resource": binary },
        { "type": "resource_link", "uri": format!("canary://{prose}"), "name": prose, "description": prose },
        { "type": "image", "data": STANDARD.encode_to_string(prose), "mimeType": "image/png" },
    ]);
    let result = |result: Value| json!({ "jsonrpc": "2.0", "id": 1, "result": result });
    let tool = json!({ "structuredContent": all, "content": blocks, "_meta": all, "unknown": all });
    let messages = json!([{ "role": "user", "content": { "type": "text", "text": text } }]);
    let prompt = json!({ "description": prose, "messages": messages, "_meta": all });
    let error = json!({ "code": -32000, "message": prose, "data": all });
    let form = json!({ "type": "object", "description": prose, "properties": { "choice": { "type": "string", "title": prose } } });
    let sampling = json!({ "messages": messages, "systemPrompt": prose, "metadata": all });
    let elicitation = json!({ "message": prose, "requestedSchema": form, "_meta": all });
    let log = json!({ "level": "info", "logger": prose, "data": all });
    let asks = |method: &str, params: Value| json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    vec![
        ("tools/call result", Method::Tool, result(tool.clone())),
        (
            "resources/read result",
            Method::Resource,
            result(json!({ "contents": [resource, binary] })),
        ),
        ("prompts/get result", Method::Prompt, result(prompt)),
        (
            "error",
            Method::Tool,
            json!({ "jsonrpc": "2.0", "id": 1, "error": error }),
        ),
        (
            "tasks/result result",
            Method::Other("tasks/result"),
            result(tool),
        ),
        (
            "sampling/createMessage request",
            Method::Other("sampling/createMessage"),
            asks("sampling/createMessage", sampling),
        ),
        (
            "elicitation/create request",
            Method::Other(ELICITATION),
            asks(ELICITATION, elicitation),
        ),
        (
            "notifications/message",
            Method::Other("notifications/message"),
            json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": log }),
        ),
    ]
}
