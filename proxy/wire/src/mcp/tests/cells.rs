//! The table of where PHI can stand in MCP, as a test: each cell a message with a canary planted in it, which must be
//! found in exactly one place, of the right shape, in the right part of the message.
//!
//! The rows follow the protocol's methods; a cell that may not be edited (ids, cursors, states) is `Opaque` here.

use super::*;

/// What stands for PHI. No word of the protocol, no media type, no time; base64 and URIs may hold it.
const CANARY: &str = "Jane-40718265";

/// Which function reads the cell's message.
#[derive(Debug, Clone, Copy)]
enum Reader {
    Request,
    Result,
    Error,
    Notification,
    ServerRequest,
    ClientResult,
    Envelope,
}

impl Reader {
    fn read<'t>(self, method: &str, value: Value<'t>) -> Vec<Place<'t>> {
        match self {
            Self::Request => request(method, value),
            Self::Result => result(method, value),
            Self::Error => error(value),
            Self::Notification => notification(method, value),
            Self::ServerRequest => server_request(method, value),
            Self::ClientResult => client_result(method, value),
            Self::Envelope => envelope(value),
        }
        .unwrap()
    }
}

/// Reader, method, shape, part, what the place is about, and the message: `@` is the canary in a string.
type Row = (
    Reader,
    &'static str,
    Shape,
    Part,
    Option<&'static str>,
    &'static str,
);

use Part::{Answer, Arguments, Beside, Description, Meta, Outcome, Question, Report, Target};
use Reader::{ClientResult, Notification, Request, ServerRequest};
use Shape::{Blob, Json, Opaque, Text, Uri};

#[rustfmt::skip]
const EVERY_MESSAGE: &[Row] = &[
    (Reader::Envelope, "", Opaque, Beside, None, r#"{"jsonrpc":"2.0","id":@,"method":"ping"}"#),
    (Reader::Envelope, "", Json, Beside, None, r#"{"jsonrpc":"2.0","id":1,"result":{},"vendor":@}"#),
    (Request, "tools/call", Opaque, Meta, None, r#"{"_meta":{"progressToken":@}}"#),
    (Request, "tools/call", Text, Meta, None, r#"{"_meta":{"baggage":@}}"#),
    (Request, "tools/call", Text, Meta, None, r#"{"_meta":{"tracestate":@}}"#),
    (Request, "tools/call", Text, Meta, None, r#"{"_meta":{"traceparent":@}}"#),
    (Request, "tools/call", Json, Meta, None, r#"{"_meta":{"vendor/key":{"deep":[@]}}}"#),
    (Request, "tools/call", Text, Meta, None, r#"{"_meta":{"io.modelcontextprotocol/clientInfo":{"name":@}}}"#),
    (Request, "tools/call", Json, Meta, None, r#"{"_meta":{"io.modelcontextprotocol/clientCapabilities":{"experimental":{"a":@}}}}"#),
    (Request, "tools/call", Opaque, Meta, None, r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":@}}"#),
    (Request, "tools/call", Text, Meta, None, r#"{"_meta":{"io.modelcontextprotocol/logLevel":@}}"#),
    (Request, "tools/call", Opaque, Meta, None, r#"{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":@}}}"#),
    (Reader::Result, "ping", Json, Meta, None, r#"{"_meta":{"vendor":@}}"#),
    (Reader::Result, "tools/call", Text, Meta, None, r#"{"_meta":{"io.modelcontextprotocol/serverInfo":{"title":@}}}"#),
    (Notification, "notifications/message", Json, Meta, None, r#"{"_meta":{"vendor":@}}"#),
    (Reader::Result, "tools/call", Json, Meta, None, r#"{"content":[{"type":"text","text":"","_meta":{"vendor":@}}]}"#),
    (Reader::Result, "tools/call", Json, Meta, None, r#"{"content":[{"type":"resource","resource":{"uri":"a:b","_meta":{"vendor":@}}}]}"#),
    (Reader::Error, "", Text, Report, None, r#"{"code":-32603,"message":@}"#),
    (Reader::Error, "", Text, Report, None, r#"{"code":-32603,"message":"","data":@}"#),
    (Reader::Error, "", Json, Report, None, r#"{"code":-32602,"message":"","data":{"input":[@]}}"#),
    (Reader::Error, "", Json, Report, None, r#"{"code":-32603,"message":"","vendor":@}"#),
];

#[rustfmt::skip]
const LIFECYCLE_AND_LISTS: &[Row] = &[
    (Request, "initialize", Text, Description, None, r#"{"clientInfo":{"name":@,"version":"1"}}"#),
    (Request, "initialize", Text, Description, None, r#"{"clientInfo":{"name":"a","version":@}}"#),
    (Request, "initialize", Uri, Description, None, r#"{"clientInfo":{"name":"a","websiteUrl":@}}"#),
    (Request, "initialize", Json, Description, None, r#"{"capabilities":{"experimental":{"a":{"b":@}}}}"#),
    (Request, "initialize", Json, Description, None, r#"{"capabilities":{"roots":{"listChanged":@}}}"#),
    (Request, "initialize", Json, Description, None, r#"{"capabilities":{"vendor":@}}"#),
    (Reader::Result, "initialize", Text, Description, None, r#"{"instructions":@}"#),
    (Reader::Result, "server/discover", Text, Description, None, r#"{"instructions":@}"#),
    (Reader::Result, "server/discover", Opaque, Description, None, r#"{"supportedVersions":["2026-07-28",@]}"#),
    (Reader::Result, "initialize", Text, Description, None, r#"{"serverInfo":{"name":"a","title":@}}"#),
    (Reader::Result, "initialize", Json, Description, None, r#"{"capabilities":{"extensions":{"vendor/a":{"b":@}}}}"#),
    (Request, "tools/list", Opaque, Beside, None, r#"{"cursor":@}"#),
    (Reader::Result, "tools/list", Opaque, Description, None, r#"{"tools":[],"nextCursor":@}"#),
    (Reader::Result, "tools/list", Opaque, Description, None, r#"{"tools":[{"name":@}]}"#),
    (Reader::Result, "tools/list", Text, Description, None, r#"{"tools":[{"name":"a","title":@}]}"#),
    (Reader::Result, "tools/list", Text, Description, None, r#"{"tools":[{"name":"a","description":@}]}"#),
    (Reader::Result, "tools/list", Text, Description, None, r#"{"tools":[{"name":"a","annotations":{"title":@}}]}"#),
    (Reader::Result, "tools/list", Uri, Description, None, r#"{"tools":[{"name":"a","icons":[{"src":@}]}]}"#),
    (Reader::Result, "tools/list", Text, Description, None, r#"{"tools":[{"name":"a","icons":[{"src":"a:b","mimeType":@}]}]}"#),
    (Reader::Result, "tools/list", Json, Description, None, r#"{"tools":[{"name":"a","icons":[{"src":"a:b","sizes":[@]}]}]}"#),
    (Reader::Result, "tools/list", Json, Meta, None, r#"{"tools":[{"name":"a","_meta":{"vendor":@}}]}"#),
    (Reader::Result, "tools/list", Text, Description, None, r#"{"tools":[{"name":"a","execution":{"taskSupport":@}}]}"#),
    (Reader::Result, "tools/list", Json, Description, Some("ssn"), r#"{"tools":[{"inputSchema":{"properties":{"ssn":{"enum":[@]}}}}]}"#),
    (Reader::Result, "tools/list", Json, Description, Some("ssn"), r#"{"tools":[{"inputSchema":{"properties":{"ssn":{"default":@}}}}]}"#),
    (Reader::Result, "tools/list", Json, Description, Some("ssn"), r#"{"tools":[{"inputSchema":{"properties":{"ssn":{"examples":[@]}}}}]}"#),
    (Reader::Result, "tools/list", Json, Description, Some("ssn"), r#"{"tools":[{"inputSchema":{"properties":{"ssn":{"const":@}}}}]}"#),
    (Reader::Result, "tools/list", Json, Description, Some("ssn"), r#"{"tools":[{"inputSchema":{"properties":{"ssn":{"anyOf":[{"items":{"const":@}}]}}}}]}"#),
    (Reader::Result, "tools/list", Text, Description, Some("ssn"), r#"{"tools":[{"outputSchema":{"properties":{"ssn":{"description":@}}}}]}"#),
    (Reader::Result, "tools/list", Text, Description, Some("ssn"), r#"{"tools":[{"outputSchema":{"properties":{"ssn":{"pattern":@}}}}]}"#),
    (Reader::Result, "tools/list", Json, Description, Some("a"), r#"{"tools":[{"outputSchema":{"$defs":{"a":{"prefixItems":[{"const":@}]}}}}]}"#),
    (Reader::Result, "tools/list", Text, Description, None, r#"{"tools":[{"outputSchema":{"$comment":@}}]}"#),
    (Reader::Result, "tools/list", Uri, Description, None, r#"{"tools":[{"outputSchema":{"$ref":@}}]}"#),
    (Reader::Result, "tools/list", Text, Description, None, r#"{"tools":[{"outputSchema":{"type":@}}]}"#),
    (Reader::Result, "tools/list", Json, Description, None, r#"{"tools":[{"outputSchema":{"x-vendor":@}}]}"#),
    (Reader::Result, "tools/list", Text, Description, None, r#"{"tools":[],"cacheScope":@}"#),
    (Reader::Result, "resources/list", Uri, Description, None, r#"{"resources":[{"uri":@,"name":"a"}]}"#),
    (Reader::Result, "resources/list", Text, Description, None, r#"{"resources":[{"uri":"a:b","name":@}]}"#),
    (Reader::Result, "resources/list", Text, Description, None, r#"{"resources":[{"uri":"a:b","title":@}]}"#),
    (Reader::Result, "resources/list", Text, Description, None, r#"{"resources":[{"uri":"a:b","description":@}]}"#),
    (Reader::Result, "resources/list", Text, Description, None, r#"{"resources":[{"uri":"a:b","annotations":{"lastModified":@}}]}"#),
    (Reader::Result, "resources/list", Json, Description, None, r#"{"resources":[{"uri":"a:b","annotations":{"audience":[@]}}]}"#),
    (Reader::Result, "resources/templates/list", Uri, Description, None, r#"{"resourceTemplates":[{"uriTemplate":@,"name":"a"}]}"#),
    (Reader::Result, "resources/templates/list", Text, Description, None, r#"{"resourceTemplates":[{"uriTemplate":"a:{b}","name":@}]}"#),
    (Reader::Result, "prompts/list", Text, Description, None, r#"{"prompts":[{"name":"a","description":@}]}"#),
    (Reader::Result, "prompts/list", Text, Description, Some("mrn"), r#"{"prompts":[{"name":"a","arguments":[{"name":"mrn","description":@}]}]}"#),
    (Request, "logging/setLevel", Text, Beside, None, r#"{"level":@}"#),
];

#[rustfmt::skip]
const CALLS: &[Row] = &[
    (Request, "tools/call", Opaque, Target, None, r#"{"name":@}"#),
    (Request, "tools/call", Json, Arguments, None, r#"{"name":"a","arguments":{"deep":{"deeper":[{"ssn":@}]}}}"#),
    (Request, "tools/call", Opaque, Beside, None, r#"{"name":"a","requestState":@}"#),
    (Request, "tools/call", Json, Beside, None, r#"{"name":"a","vendor":@}"#),
    (Request, "tools/call", Text, Beside, None, r#"{"name":"a","task":{"ttl":@}}"#),
    (Request, "tools/call", Json, Answer, None, r#"{"inputResponses":{"q":{"action":"accept","content":{"ssn":@}}}}"#),
    (Request, "tools/call", Text, Answer, None, r#"{"inputResponses":{"q":{"action":@}}}"#),
    (Request, "tools/call", Text, Answer, None, r#"{"inputResponses":{"q":{"role":"user","content":{"type":"text","text":@},"model":"m"}}}"#),
    (Request, "tools/call", Text, Answer, None, r#"{"inputResponses":{"q":{"role":"user","model":@}}}"#),
    (Request, "tools/call", Uri, Answer, None, r#"{"inputResponses":{"q":{"roots":[{"uri":@}]}}}"#),
    (Request, "tools/call", Text, Answer, None, r#"{"inputResponses":{"q":@}}"#),
    (Reader::Result, "tools/call", Text, Outcome, None, r#"{"content":[{"type":"text","text":@}]}"#),
    (Reader::Result, "tools/call", Text, Outcome, None, r#"{"content":[{"type":"text","text":@}],"isError":true}"#),
    (Reader::Result, "tools/call", Text, Outcome, None, r#"{"isError":@}"#),
    (Reader::Result, "tools/call", Blob, Outcome, None, r#"{"content":[{"type":"image","data":@,"mimeType":"image/png"}]}"#),
    (Reader::Result, "tools/call", Blob, Outcome, None, r#"{"content":[{"type":"audio","data":@,"mimeType":"audio/wav"}]}"#),
    (Reader::Result, "tools/call", Uri, Outcome, None, r#"{"content":[{"type":"resource","resource":{"uri":@,"text":""}}]}"#),
    (Reader::Result, "tools/call", Text, Outcome, None, r#"{"content":[{"type":"resource","resource":{"uri":"a:b","text":@}}]}"#),
    (Reader::Result, "tools/call", Blob, Outcome, None, r#"{"content":[{"type":"resource","resource":{"uri":"a:b","blob":@}}]}"#),
    (Reader::Result, "tools/call", Uri, Outcome, None, r#"{"content":[{"type":"resource_link","uri":@,"name":"a"}]}"#),
    (Reader::Result, "tools/call", Text, Outcome, None, r#"{"content":[{"type":"resource_link","uri":"a:b","name":@}]}"#),
    (Reader::Result, "tools/call", Text, Outcome, None, r#"{"content":[{"type":"resource_link","uri":"a:b","title":@}]}"#),
    (Reader::Result, "tools/call", Text, Outcome, None, r#"{"content":[{"type":"resource_link","uri":"a:b","description":@}]}"#),
    (Reader::Result, "tools/call", Uri, Outcome, None, r#"{"content":[{"type":"resource_link","uri":"a:b","icons":[{"src":@}]}]}"#),
    (Reader::Result, "tools/call", Text, Outcome, None, r#"{"content":[{"type":"text","text":"","annotations":{"lastModified":@}}]}"#),
    (Reader::Result, "tools/call", Text, Outcome, None, r#"{"content":[{"type":@}]}"#),
    (Reader::Result, "tools/call", Json, Outcome, None, r#"{"content":[{"type":"vendor","vendor":@}]}"#),
    (Reader::Result, "tools/call", Json, Outcome, None, r#"{"content":[],"structuredContent":{"result":[{"ssn":@}]}}"#),
    (Reader::Result, "tools/call", Json, Outcome, None, r#"{"content":[],"structuredContent":@}"#),
    (Reader::Result, "tools/call", Text, Question, None, r#"{"inputRequests":{"q":{"method":"elicitation/create","params":{"message":@}}}}"#),
    (Reader::Result, "tools/call", Text, Question, None, r#"{"inputRequests":{"q":{"method":@}}}"#),
    (Reader::Result, "tools/call", Text, Question, None, r#"{"inputRequests":{"q":{"method":"sampling/createMessage","params":{"systemPrompt":@}}}}"#),
    (Reader::Result, "tools/call", Opaque, Outcome, None, r#"{"requestState":@}"#),
    (Reader::Result, "tools/call", Text, Report, None, r#"{"resultType":"task","taskId":"t","statusMessage":@}"#),
    (Reader::Result, "tools/call", Text, Report, None, r#"{"task":{"taskId":"t","statusMessage":@}}"#),
    (Reader::Result, "tools/call", Text, Outcome, None, r#"{"resultType":@}"#),
    (Reader::Result, "tools/call", Json, Outcome, None, r#"{"content":[],"vendor":@}"#),
    (Request, "resources/read", Uri, Target, None, r#"{"uri":@}"#),
    (Request, "resources/subscribe", Uri, Target, None, r#"{"uri":@}"#),
    (Request, "resources/unsubscribe", Uri, Target, None, r#"{"uri":@}"#),
    (Request, "subscriptions/listen", Uri, Target, None, r#"{"notifications":{"resourceSubscriptions":["a:b",@]}}"#),
    (Request, "subscriptions/listen", Opaque, Target, None, r#"{"notifications":{"taskIds":[@]}}"#),
    (Reader::Result, "resources/read", Uri, Outcome, None, r#"{"contents":[{"uri":@,"text":""}]}"#),
    (Reader::Result, "resources/read", Text, Outcome, None, r#"{"contents":[{"uri":"a:b","text":@}]}"#),
    (Reader::Result, "resources/read", Blob, Outcome, None, r#"{"contents":[{"uri":"a:b","blob":@}]}"#),
    (Reader::Result, "resources/read", Text, Outcome, None, r#"{"contents":[{"uri":"a:b","mimeType":@}]}"#),
    (Reader::Result, "resources/read", Json, Meta, None, r#"{"contents":[{"uri":"a:b","_meta":{"vendor":@}}]}"#),
    (Request, "prompts/get", Json, Arguments, None, r#"{"name":"a","arguments":{"mrn":@}}"#),
    (Reader::Result, "prompts/get", Text, Outcome, None, r#"{"description":@,"messages":[]}"#),
    (Reader::Result, "prompts/get", Text, Outcome, None, r#"{"messages":[{"role":"user","content":{"type":"text","text":@}}]}"#),
    (Reader::Result, "prompts/get", Text, Outcome, None, r#"{"messages":[{"role":@}]}"#),
    (Request, "completion/complete", Text, Arguments, Some("ssn"), r#"{"argument":{"name":"ssn","value":@}}"#),
    (Request, "completion/complete", Json, Arguments, None, r#"{"context":{"arguments":{"mrn":@}}}"#),
    (Request, "completion/complete", Uri, Target, None, r#"{"ref":{"type":"ref/resource","uri":@}}"#),
    (Request, "completion/complete", Opaque, Target, None, r#"{"ref":{"type":"ref/prompt","name":@}}"#),
    (Request, "completion/complete", Text, Target, None, r#"{"ref":{"type":"ref/prompt","name":"a","title":@}}"#),
    (Reader::Result, "completion/complete", Text, Outcome, None, r#"{"completion":{"values":["a",@]}}"#),
    (Request, "vendor/method", Json, Beside, None, r#"{"any":{"thing":@}}"#),
    (Reader::Result, "vendor/method", Json, Outcome, None, r#"{"any":{"thing":@}}"#),
];

#[rustfmt::skip]
const BACK_AND_FORTH: &[Row] = &[
    (ServerRequest, "sampling/createMessage", Text, Question, None, r#"{"messages":[{"role":"user","content":{"type":"text","text":@}}]}"#),
    (ServerRequest, "sampling/createMessage", Text, Question, None, r#"{"messages":[{"role":"user","content":[{"type":"text","text":@}]}]}"#),
    (ServerRequest, "sampling/createMessage", Text, Question, None, r#"{"systemPrompt":@}"#),
    (ServerRequest, "sampling/createMessage", Json, Question, None, r#"{"metadata":{"a":@}}"#),
    (ServerRequest, "sampling/createMessage", Text, Question, None, r#"{"tools":[{"name":"a","description":@}]}"#),
    (ServerRequest, "sampling/createMessage", Json, Question, Some("ssn"), r#"{"tools":[{"name":"a","inputSchema":{"properties":{"ssn":{"default":@}}}}]}"#),
    (ServerRequest, "sampling/createMessage", Json, Question, None, r#"{"messages":[{"role":"assistant","content":{"type":"tool_use","id":"1","name":"a","input":{"ssn":@}}}]}"#),
    (ServerRequest, "sampling/createMessage", Text, Question, None, r#"{"messages":[{"role":"user","content":{"type":"tool_result","toolUseId":"1","content":[{"type":"text","text":@}]}}]}"#),
    (ServerRequest, "sampling/createMessage", Json, Question, None, r#"{"messages":[{"role":"user","content":{"type":"tool_result","toolUseId":"1","structuredContent":{"ssn":@}}}]}"#),
    (ServerRequest, "sampling/createMessage", Text, Question, None, r#"{"stopSequences":[@]}"#),
    (ServerRequest, "sampling/createMessage", Text, Question, None, r#"{"modelPreferences":{"hints":[{"name":@}]}}"#),
    (ServerRequest, "sampling/createMessage", Text, Question, None, r#"{"toolChoice":{"mode":@}}"#),
    (ServerRequest, "sampling/createMessage", Text, Question, None, r#"{"includeContext":@}"#),
    (ServerRequest, "elicitation/create", Text, Question, None, r#"{"message":@}"#),
    (ServerRequest, "elicitation/create", Text, Question, Some("ssn"), r#"{"requestedSchema":{"properties":{"ssn":{"title":@}}}}"#),
    (ServerRequest, "elicitation/create", Json, Question, Some("ssn"), r#"{"requestedSchema":{"properties":{"ssn":{"enum":[@]}}}}"#),
    (ServerRequest, "elicitation/create", Json, Question, Some("ssn"), r#"{"requestedSchema":{"properties":{"ssn":{"default":@}}}}"#),
    (ServerRequest, "elicitation/create", Json, Question, Some("ssn"), r#"{"requestedSchema":{"properties":{"ssn":{"oneOf":[{"const":@}]}}}}"#),
    (ServerRequest, "elicitation/create", Uri, Question, None, r#"{"mode":"url","url":@}"#),
    (ServerRequest, "elicitation/create", Opaque, Question, None, r#"{"mode":"url","elicitationId":@}"#),
    (ServerRequest, "elicitation/create", Json, Meta, None, r#"{"_meta":{"vendor":@}}"#),
    (ServerRequest, "roots/list", Json, Meta, None, r#"{"_meta":{"vendor":@}}"#),
    (ServerRequest, "tasks/get", Opaque, Target, None, r#"{"taskId":@}"#),
    (ServerRequest, "vendor/method", Json, Question, None, r#"{"any":@}"#),
    (ClientResult, "elicitation/create", Json, Answer, None, r#"{"action":"accept","content":{"ssn":@}}"#),
    (ClientResult, "elicitation/create", Json, Answer, None, r#"{"action":"accept","content":{"type":"text","text":@}}"#),
    (ClientResult, "elicitation/create", Text, Answer, None, r#"{"action":@}"#),
    (ClientResult, "sampling/createMessage", Text, Answer, None, r#"{"role":"assistant","content":{"type":"text","text":@},"model":"m"}"#),
    (ClientResult, "sampling/createMessage", Json, Answer, None, r#"{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"a","input":{"ssn":@}}],"model":"m"}"#),
    (ClientResult, "sampling/createMessage", Blob, Answer, None, r#"{"role":"assistant","content":{"type":"image","data":@},"model":"m"}"#),
    (ClientResult, "sampling/createMessage", Text, Answer, None, r#"{"role":"assistant","model":@}"#),
    (ClientResult, "sampling/createMessage", Text, Answer, None, r#"{"role":"assistant","stopReason":@}"#),
    (ClientResult, "roots/list", Uri, Answer, None, r#"{"roots":[{"uri":@}]}"#),
    (ClientResult, "roots/list", Text, Answer, None, r#"{"roots":[{"uri":"file:///a","name":@}]}"#),
    (ClientResult, "roots/list", Json, Meta, None, r#"{"roots":[{"uri":"file:///a","_meta":{"vendor":@}}]}"#),
    (ClientResult, "tasks/result", Json, Answer, None, r#"{"action":"accept","content":{"ssn":@}}"#),
    (ClientResult, "tasks/get", Text, Report, None, r#"{"taskId":"t","statusMessage":@}"#),
    (ClientResult, "vendor/method", Json, Answer, None, r#"{"any":@}"#),
    (Notification, "notifications/progress", Text, Report, None, r#"{"progressToken":1,"progress":1,"message":@}"#),
    (Notification, "notifications/progress", Opaque, Report, None, r#"{"progressToken":@}"#),
    (Notification, "notifications/message", Text, Report, None, r#"{"level":"info","data":@}"#),
    (Notification, "notifications/message", Json, Report, None, r#"{"level":"info","data":{"ssn":@}}"#),
    (Notification, "notifications/message", Text, Report, None, r#"{"level":"info","logger":@}"#),
    (Notification, "notifications/message", Text, Report, None, r#"{"level":@}"#),
    (Notification, "notifications/cancelled", Text, Report, None, r#"{"requestId":1,"reason":@}"#),
    (Notification, "notifications/resources/updated", Uri, Report, None, r#"{"uri":@}"#),
    (Notification, "notifications/subscriptions/acknowledged", Uri, Report, None, r#"{"notifications":{"resourceSubscriptions":[@]}}"#),
    (Notification, "notifications/elicitation/complete", Opaque, Report, None, r#"{"elicitationId":@}"#),
    (Notification, "notifications/roots/list_changed", Json, Meta, None, r#"{"_meta":{"vendor":@}}"#),
    (Notification, "notifications/tools/list_changed", Json, Report, None, r#"{"vendor":@}"#),
    (Notification, "notifications/vendor", Json, Report, None, r#"{"vendor":@}"#),
];

#[rustfmt::skip]
const TASKS: &[Row] = &[
    (Request, "tasks/get", Opaque, Target, None, r#"{"taskId":@}"#),
    (Request, "tasks/update", Json, Answer, None, r#"{"taskId":"t","inputResponses":{"q":{"action":"accept","content":{"ssn":@}}}}"#),
    (Reader::Result, "tasks/get", Text, Report, None, r#"{"taskId":"t","statusMessage":@}"#),
    (Reader::Result, "tasks/get", Text, Report, None, r#"{"taskId":"t","status":@}"#),
    (Reader::Result, "tasks/get", Text, Report, None, r#"{"taskId":"t","createdAt":@}"#),
    (Reader::Result, "tasks/get", Json, Outcome, None, r#"{"taskId":"t","result":{"structuredContent":{"ssn":@}}}"#),
    (Reader::Result, "tasks/get", Text, Outcome, None, r#"{"taskId":"t","result":{"content":[{"type":"text","text":@}]}}"#),
    (Reader::Result, "tasks/get", Text, Report, None, r#"{"taskId":"t","error":{"code":1,"message":@}}"#),
    (Reader::Result, "tasks/get", Json, Report, None, r#"{"taskId":"t","error":{"code":1,"data":{"a":@}}}"#),
    (Reader::Result, "tasks/get", Text, Question, None, r#"{"taskId":"t","inputRequests":{"q":{"method":"elicitation/create","params":{"message":@}}}}"#),
    (Reader::Result, "tasks/result", Text, Outcome, None, r#"{"content":[{"type":"text","text":@}]}"#),
    (Reader::Result, "tasks/list", Text, Report, None, r#"{"tasks":[{"taskId":"t","statusMessage":@}]}"#),
    (Reader::Result, "tasks/cancel", Text, Report, None, r#"{"taskId":"t","statusMessage":@}"#),
    (Notification, "notifications/tasks/status", Text, Report, None, r#"{"taskId":"t","statusMessage":@}"#),
    (Notification, "notifications/tasks", Json, Outcome, None, r#"{"taskId":"t","result":{"structuredContent":{"ssn":@}}}"#),
    (Notification, "notifications/tasks", Text, Question, None, r#"{"taskId":"t","inputRequests":{"q":{"method":"elicitation/create","params":{"message":@}}}}"#),
];

fn rows() -> impl Iterator<Item = &'static Row> {
    let tables = [
        EVERY_MESSAGE,
        LIFECYCLE_AND_LISTS,
        CALLS,
        BACK_AND_FORTH,
        TASKS,
    ];
    tables.into_iter().flatten()
}

#[test]
fn a_canary_in_any_cell_is_in_exactly_one_place_of_its_shape_and_part() {
    for &(reader, method, shape, part, subject, cell) in rows() {
        let text = cell.replace('@', &format!("\"{CANARY}\""));
        let tree = parse(&text);
        let places = reader.read(method, tree.root());
        let holding: Vec<_> = places
            .iter()
            .filter(|place| String::from_utf8_lossy(place.value.raw()).contains(CANARY))
            .collect();
        let [place] = holding.as_slice() else {
            panic!(
                "{} places hold it: {reader:?} {method} {cell}",
                holding.len()
            );
        };
        assert_eq!(
            (place.shape, place.part, place.subject.as_deref()),
            (shape, part, subject),
            "{reader:?} {method} {cell}"
        );
    }
}

#[test]
fn a_value_of_any_kind_in_any_cell_is_judged_or_structure() {
    // A number, a flag, a list or an object where a string is due hides nothing, and a canary in it is found.
    for &(reader, method, shape, _, _, cell) in rows() {
        for wrong in [r#"{"ssn":"@"}"#, r#"["@"]"#] {
            let text = cell.replace('@', &wrong.replace('@', CANARY));
            let tree = parse(&text);
            let places = reader.read(method, tree.root());
            let found = places
                .iter()
                .filter(|place| String::from_utf8_lossy(place.value.raw()).contains(CANARY));
            let shapes: Vec<_> = found.map(|place| place.shape).collect();
            assert_eq!(shapes.len(), 1, "{reader:?} {method} {text}");
            assert!(
                !shapes.contains(&Opaque),
                "hidden as structure (due: {shape:?}): {reader:?} {method} {text}"
            );
        }
    }
}

#[test]
fn words_of_the_protocol_are_structure() {
    let rows = [
        (
            Reader::Result,
            "tools/call",
            r#"{"content":[{"type":"image","mimeType":"image/png","annotations":{"audience":["user","assistant"],"priority":0.5,"lastModified":"2026-11-22T08:15:00Z"}}],"resultType":"input_required","isError":true,"ttlMs":1}"#,
        ),
        (
            Reader::Result,
            "tasks/get",
            r#"{"taskId":"a","status":"working","createdAt":"2026-11-22T08:15:00.123+01:00","lastUpdatedAt":"2026-11-22T08:15:00Z","ttl":null,"pollInterval":5}"#,
        ),
        (
            Reader::Result,
            "tools/list",
            r#"{"tools":[{"name":"a","inputSchema":{"type":"object","properties":{"a":{"type":["string","null"],"format":"date","minLength":1,"uniqueItems":true}},"required":["a","date_of_birth"]},"execution":{"taskSupport":"optional"},"icons":[{"mimeType":"image/svg+xml","theme":"dark","sizes":["any","48x48"]}]}],"cacheScope":"private"}"#,
        ),
        (
            Reader::Result,
            "initialize",
            r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true},"tasks":{"requests":{"tools":{"call":{}}}},"logging":{}}}"#,
        ),
        (
            Request,
            "tools/call",
            r#"{"name":"a","task":{"ttl":5},"requestState":"b","_meta":{"progressToken":7,"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}"#,
        ),
        (
            ClientResult,
            "sampling/createMessage",
            r#"{"role":"assistant","stopReason":"endTurn"}"#,
        ),
        (
            ClientResult,
            "elicitation/create",
            r#"{"action":"decline"}"#,
        ),
        (
            ServerRequest,
            "sampling/createMessage",
            r#"{"maxTokens":5,"temperature":0.1,"includeContext":"none","toolChoice":{"mode":"auto"},"modelPreferences":{"costPriority":1}}"#,
        ),
    ];
    for (reader, method, text) in rows {
        let tree = parse(text);
        let told = told(&reader.read(method, tree.root()));
        assert!(told.is_empty(), "{method}: {told:?}");
    }
}

#[test]
fn what_only_looks_like_a_word_is_judged() {
    for text in [
        r#"{"content":[{"mimeType":"Jane/Doe"}]}"#,
        r#"{"content":[{"mimeType":"text/plain; name=\"Jane Doe\""}]}"#,
        r#"{"content":[{"annotations":{"lastModified":"1957-03-28"}}]}"#,
        r#"{"content":[{"type":"Text"}]}"#,
        r#"{"content":[{"type":"MRN-40718265"}]}"#,
        r#"{"content":[{"icons":[{"sizes":["407x182655"]}]}]}"#,
        r#"{"createdAt":"T"}"#,
    ] {
        assert_eq!(tool(text).len(), 1, "{text}");
    }
}
