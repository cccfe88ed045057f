//! The methods of MCP that the clinic answers: one JSON-RPC message in, one reply out.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::REVISIONS;
use super::store::{Records, Store};

const TOOLS: &str = include_str!("tools.json");
const PROMPTS: &str = include_str!("prompts.json");
const TEMPLATES: &str = include_str!("templates.json");

/// JSON-RPC 2.0 §5.1, and the resource error of MCP 2025-11-25.
const INVALID_REQUEST: i64 = -32600;
const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;
const INTERNAL: i64 = -32603;
const RESOURCE_NOT_FOUND: i64 = -32002;

/// A message as it came; what the clinic passes on stays raw.
#[derive(Deserialize)]
pub(crate) struct Incoming<'a> {
    #[serde(borrow)]
    pub(crate) id: Option<&'a RawValue>,
    pub(crate) method: Option<String>,
    #[serde(borrow)]
    pub(crate) params: Option<&'a RawValue>,
}

/// What goes back for one message.
pub(crate) enum Reply {
    /// A notification or a response of the client: nothing to say.
    Accepted,
    /// One JSON-RPC response.
    One(Vec<u8>),
    /// Notifications and then the response, as a stream of events.
    Stream(Vec<Vec<u8>>),
}

struct Fault {
    code: i64,
    message: String,
}

impl Fault {
    fn new(code: i64, message: impl Into<String>) -> Fault {
        Fault {
            code,
            message: message.into(),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(_: io::Error) -> Fault {
        Fault::new(INTERNAL, "the clinic's store can't be used")
    }
}

impl From<serde_json::Error> for Fault {
    fn from(_: serde_json::Error) -> Fault {
        Fault::new(
            INVALID_PARAMS,
            "params do not have the shape of this method",
        )
    }
}

type Answer = Result<Box<RawValue>, Fault>;

#[derive(Deserialize)]
struct ToolCall<'a> {
    name: String,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(default, borrow, rename = "_meta")]
    meta: Option<Meta<'a>>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, rename = "progressToken")]
    progress: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OfPatient {
    patient_id: String,
}

#[derive(Deserialize)]
struct OfDepartment {
    department: String,
}

#[derive(Deserialize)]
struct ToStore<'a> {
    patient_id: String,
    #[serde(borrow)]
    record: &'a RawValue,
}

/// The part of a record that the clinic itself understands.
#[derive(Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    data: BTreeMap<String, &'a RawValue>,
}

/// Answers one message.
pub(crate) fn answer(store: &Store, message: &Incoming<'_>) -> Reply {
    let (Some(id), Some(method)) = (message.id, message.method.as_deref()) else {
        return Reply::Accepted;
    };
    let params = message.params.map_or("{}", RawValue::get);
    let (before, outcome) = match method {
        "tools/call" => call(store, params),
        other => (Vec::new(), plain(store, other, params)),
    };
    let last = response(id, outcome);
    if before.is_empty() {
        Reply::One(last)
    } else {
        let mut frames = before;
        frames.push(last);
        Reply::Stream(frames)
    }
}

/// A response for a body that is no message at all.
pub(crate) fn invalid() -> Vec<u8> {
    let body = json!({"jsonrpc": "2.0", "id": null,
        "error": {"code": INVALID_REQUEST, "message": "not one JSON-RPC message"}});
    body.to_string().into_bytes()
}

fn response(id: &RawValue, outcome: Answer) -> Vec<u8> {
    #[derive(Serialize)]
    struct Good<'a> {
        jsonrpc: &'a str,
        id: &'a RawValue,
        result: Box<RawValue>,
    }
    let bad = |fault: Fault| {
        json!({"jsonrpc": "2.0", "id": id,
            "error": {"code": fault.code, "message": fault.message}})
        .to_string()
        .into_bytes()
    };
    match outcome {
        Ok(result) => {
            let jsonrpc = "2.0";
            serde_json::to_vec(&Good {
                jsonrpc,
                id,
                result,
            })
            .unwrap_or_else(|error| bad(error.into()))
        }
        Err(fault) => bad(fault),
    }
}

fn raw<T: Serialize + ?Sized>(value: &T) -> Answer {
    Ok(to_raw_value(value)?)
}

fn plain(store: &Store, method: &str, params: &str) -> Answer {
    match method {
        "initialize" => initialize(params),
        "ping" => raw(&json!({})),
        "tools/list" => listed("tools", TOOLS),
        "prompts/list" => listed("prompts", PROMPTS),
        "resources/templates/list" => listed("resourceTemplates", TEMPLATES),
        "resources/list" => resources(&store.load()?),
        "resources/read" => resource(&store.load()?, params),
        "prompts/get" => prompt(&store.load()?, params),
        _ => Err(Fault::new(METHOD_NOT_FOUND, "no such method")),
    }
}

fn initialize(params: &str) -> Answer {
    #[derive(Deserialize)]
    struct Hello {
        #[serde(rename = "protocolVersion")]
        revision: String,
    }
    let hello: Hello = serde_json::from_str(params)?;
    let [newest, ..] = REVISIONS;
    let revision = REVISIONS.into_iter().find(|known| *known == hello.revision);
    raw(&json!({
        "protocolVersion": revision.unwrap_or(newest),
        "capabilities": {"tools": {}, "resources": {}, "prompts": {}},
        "serverInfo": {"name": "sample-clinic", "version": env!("CARGO_PKG_VERSION")},
    }))
}

fn listed(name: &str, text: &'static str) -> Answer {
    let items: &RawValue = serde_json::from_str(text)?;
    raw(&BTreeMap::from([(name, items)]))
}

/// A tool's result: the events that go before it, and the result.
fn call(store: &Store, params: &str) -> (Vec<Vec<u8>>, Answer) {
    let call: ToolCall<'_> = match serde_json::from_str(params) {
        Ok(call) => call,
        Err(error) => return (Vec::new(), Err(error.into())),
    };
    let arguments = call.arguments.map_or("{}", RawValue::get);
    if call.name == "export_records" {
        let progress = call.meta.and_then(|meta| meta.progress);
        return export(store, arguments, progress);
    }
    let outcome = match call.name.as_str() {
        "find_patient" => find(store, arguments),
        "read_record" => read(store, arguments),
        "store_record" => put(store, arguments),
        "delete_record" => delete(store, arguments),
        "list_departments" => departments(store),
        _ => Err(Fault::new(INVALID_PARAMS, "no such tool")),
    };
    (Vec::new(), outcome)
}

/// The same data twice, as SDKs do: structured, and as JSON text for clients that know no better.
fn both<T: Serialize>(value: &T) -> Answer {
    #[derive(Serialize)]
    struct Both<'a> {
        content: Value,
        #[serde(rename = "structuredContent")]
        structured: &'a RawValue,
    }
    let structured: &RawValue = &to_raw_value(value)?;
    raw(&Both {
        content: json!([{"type": "text", "text": structured.get()}]),
        structured,
    })
}

/// A tool that ran and has bad news (MCP: an error of the tool, not of the protocol).
fn failed(text: &str) -> Answer {
    raw(&json!({"content": [{"type": "text", "text": text}], "isError": true}))
}

fn read(store: &Store, arguments: &str) -> Answer {
    let wanted: OfPatient = serde_json::from_str(arguments)?;
    match store.load()?.get(&wanted.patient_id) {
        Some(record) => both(&BTreeMap::from([("record", record)])),
        None => failed("no record of this patient"),
    }
}

fn put(store: &Store, arguments: &str) -> Answer {
    let given: ToStore<'_> = serde_json::from_str(arguments)?;
    store.put(&given.patient_id, given.record)?;
    raw(&json!({"content": [{"type": "text", "text": "stored"}]}))
}

fn delete(store: &Store, arguments: &str) -> Answer {
    let wanted: OfPatient = serde_json::from_str(arguments)?;
    if store.delete(&wanted.patient_id)? {
        both(&json!({"status": "deleted"}))
    } else {
        failed("no record of this patient")
    }
}

fn departments(store: &Store) -> Answer {
    let records = store.load()?;
    let mut names: Vec<String> = records.values().filter_map(|r| department(r)).collect();
    names.sort();
    names.dedup();
    both(&BTreeMap::from([("departments", names)]))
}

fn department(record: &RawValue) -> Option<String> {
    let stored: Stored<'_> = serde_json::from_str(record.get()).ok()?;
    serde_json::from_str(stored.data.get("department")?.get()).ok()
}

/// The members of a record's data that exist, by the names given.
fn some_of<'a>(
    record: &'a RawValue,
    names: &[&'static str],
) -> BTreeMap<&'static str, &'a RawValue> {
    let stored: Option<Stored<'a>> = serde_json::from_str(record.get()).ok();
    let data = stored.map(|stored| stored.data).unwrap_or_default();
    names
        .iter()
        .filter_map(|name| data.get(*name).map(|value| (*name, *value)))
        .collect()
}

fn find(store: &Store, arguments: &str) -> Answer {
    let wanted: OfDepartment = serde_json::from_str(arguments)?;
    let records = store.load()?;
    let of_department = records
        .iter()
        .filter(|(_, record)| department(record).as_ref() == Some(&wanted.department));
    let mut patients = Vec::new();
    for (patient, record) in of_department {
        let mut row = some_of(
            record,
            &[
                "department",
                "status",
                "medical_record_number",
                "date_of_birth",
            ],
        );
        let id = to_raw_value(patient)?;
        row.insert("patient_id", &id);
        patients.push(raw(&row)?);
    }
    both(&BTreeMap::from([("patients", patients)]))
}

fn export(store: &Store, arguments: &str, token: Option<&RawValue>) -> (Vec<Vec<u8>>, Answer) {
    let chosen = serde_json::from_str::<OfDepartment>(arguments)
        .map_err(Fault::from)
        .and_then(|wanted| {
            let mut records = store.load()?;
            records.retain(|_, record| department(record).as_ref() == Some(&wanted.department));
            Ok(records.into_values().collect::<Vec<_>>())
        });
    match chosen {
        Ok(records) => {
            let events = token
                .map(|token| progress(token, records.len()))
                .unwrap_or_default();
            (events, both(&BTreeMap::from([("records", records)])))
        }
        Err(fault) => (Vec::new(), Err(fault)),
    }
}

fn progress(token: &RawValue, total: usize) -> Vec<Vec<u8>> {
    let event = |done: usize| {
        json!({"jsonrpc": "2.0", "method": "notifications/progress",
            "params": {"progressToken": token, "progress": done, "total": total}})
        .to_string()
        .into_bytes()
    };
    (1..=total).map(event).collect()
}

fn summary(patient: &str, record: &RawValue) -> Answer {
    let id = to_raw_value(patient)?;
    let mut members = some_of(
        record,
        &["department", "status", "diagnosis", "medications"],
    );
    members.insert("patient_id", &id);
    raw(&members)
}

fn uri_of(patient: &str) -> String {
    format!("patient://{patient}/summary")
}

fn resources(records: &Records) -> Answer {
    let list: Vec<Value> = records
        .keys()
        .map(|patient| json!({"uri": uri_of(patient), "name": "summary", "mimeType": "application/json"}))
        .collect();
    raw(&BTreeMap::from([("resources", list)]))
}

fn contents(patient: &str, record: &RawValue) -> Result<Value, Fault> {
    let text = summary(patient, record)?;
    Ok(json!({"uri": uri_of(patient), "mimeType": "application/json", "text": text.get()}))
}

fn resource(records: &Records, params: &str) -> Answer {
    #[derive(Deserialize)]
    struct Wanted {
        uri: String,
    }
    let wanted: Wanted = serde_json::from_str(params)?;
    let found = records
        .iter()
        .find(|(patient, _)| uri_of(patient) == wanted.uri);
    let (patient, record) =
        found.ok_or_else(|| Fault::new(RESOURCE_NOT_FOUND, "no such resource"))?;
    raw(&json!({"contents": [contents(patient, record)?]}))
}

fn prompt(records: &Records, params: &str) -> Answer {
    #[derive(Deserialize)]
    struct Wanted {
        name: String,
        arguments: OfPatient,
    }
    let wanted: Wanted = serde_json::from_str(params)?;
    let patient = &wanted.arguments.patient_id;
    let record = records
        .get(patient)
        .filter(|_| wanted.name == "discharge_letter");
    let record = record.ok_or_else(|| Fault::new(INVALID_PARAMS, "no such prompt or patient"))?;
    raw(&json!({"messages": [
        {"role": "user", "content": {"type": "text", "text": "Write a discharge letter for this patient."}},
        {"role": "user", "content": {"type": "resource", "resource": contents(patient, record)?}},
    ]}))
}
