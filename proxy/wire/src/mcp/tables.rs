//! What a server sends: results, notifications, errors, and the content that these are made of.

use super::Part;
use super::requests::{FILTER, SERVER_REQUEST};
use super::schema::SCHEMA;
use super::walk::{Role, Table};
use super::words;

pub(super) fn of_result(method: &str) -> (Table, Part) {
    match method {
        "tools/call" | "tasks/result" => (TOOL_RESULT, Part::Outcome),
        "resources/read" => (RESOURCE_RESULT, Part::Outcome),
        "prompts/get" => (PROMPT_RESULT, Part::Outcome),
        "completion/complete" => (COMPLETION_RESULT, Part::Outcome),
        "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list" => {
            (LIST_RESULT, Part::Description)
        }
        "initialize" | "server/discover" => (SERVER_RESULT, Part::Description),
        "tasks/get" | "tasks/list" | "tasks/cancel" | "tasks/update" => (TASK, Part::Report),
        "ping"
        | "logging/setLevel"
        | "resources/subscribe"
        | "resources/unsubscribe"
        | "subscriptions/listen" => (Table::of(result_member), Part::Outcome),
        _ => (UNKNOWN, Part::Outcome),
    }
}

pub(super) fn of_notification(method: &str) -> (Table, Part) {
    match method {
        "notifications/progress"
        | "notifications/message"
        | "notifications/cancelled"
        | "notifications/initialized"
        | "notifications/resources/updated"
        | "notifications/resources/list_changed"
        | "notifications/tools/list_changed"
        | "notifications/prompts/list_changed"
        | "notifications/roots/list_changed"
        | "notifications/subscriptions/acknowledged"
        | "notifications/tasks"
        | "notifications/tasks/status"
        | "notifications/elicitation/complete" => (NOTIFICATION, Part::Report),
        _ => (UNKNOWN, Part::Report),
    }
}

/// What stands beside `params`, `result` and `error`.
pub(super) const ENVELOPE: Table = Table::of(|name| match name {
    "jsonrpc" => Role::Word(&["2.0"]),
    "id" => Role::Token,
    "method" => Role::In(Part::Target, &Role::Token),
    "params" | "result" | "error" => Role::Elsewhere,
    _ => Role::Unknown,
});

pub(super) const TOOL_RESULT: Table = Table::of(|name| match name {
    "content" => Role::Items(BLOCK),
    "structuredContent" => Role::Json,
    "isError" => Role::Flag,
    "task" => Role::In(Part::Report, &Role::Members(TASK)),
    _ => result_member(name),
});

pub(super) const RESOURCE_RESULT: Table = Table::of(|name| match name {
    "contents" => Role::Items(BLOCK),
    _ => result_member(name),
});

pub(super) const PROMPT_RESULT: Table = Table::of(|name| match name {
    "description" => Role::Text,
    "messages" => Role::Items(MESSAGE),
    _ => result_member(name),
});

/// A message of a prompt or of sampling.
pub(super) const MESSAGE: Table = Table::of(|name| match name {
    "role" => Role::Word(words::ROLES),
    "content" => Role::Items(BLOCK),
    "_meta" => META,
    _ => Role::Unknown,
});

const LIST_RESULT: Table = Table::of(|name| match name {
    "tools" | "prompts" => Role::Items(OFFER),
    "resources" | "resourceTemplates" => Role::Items(RESOURCE),
    "nextCursor" => Role::Token,
    _ => result_member(name),
});

/// A tool or prompt in a list. Its name is what the policy knows it by.
pub(super) const OFFER: Table = Table::of(|name| match name {
    "name" => Role::Token,
    "inputSchema" | "outputSchema" => Role::Members(SCHEMA),
    "execution" => Role::Members(EXECUTION),
    "arguments" => Role::Items(PROMPT_ARGUMENT),
    _ => described(name),
});

/// A resource or template in a list: its name is whatever the server calls it, a patient's among it.
const RESOURCE: Table = Table::of(|name| match name {
    "name" => Role::Text,
    "uri" | "uriTemplate" => Role::Uri,
    "mimeType" => Role::MediaType,
    "size" => Role::Number,
    _ => described(name),
});

/// A client or a server about itself.
pub(super) const IMPLEMENTATION: Table = Table::of(|name| match name {
    "name" | "version" => Role::Text,
    "websiteUrl" => Role::Uri,
    _ => described(name),
});

const PROMPT_ARGUMENT: Table = Table {
    role: |name| match name {
        "name" => Role::Token,
        "required" => Role::Flag,
        _ => described(name),
    },
    block: false,
    subject: true,
};

/// Members of whatever is described to people.
fn described(name: &str) -> Role {
    match name {
        "title" | "description" => Role::Text,
        "annotations" => Role::Members(ANNOTATIONS),
        "icons" => Role::Items(ICON),
        "_meta" => META,
        _ => Role::Unknown,
    }
}

const EXECUTION: Table = Table::of(|name| match name {
    "taskSupport" => Role::Word(words::SUPPORTS),
    _ => Role::Unknown,
});

const COMPLETION_RESULT: Table = Table::of(|name| match name {
    "completion" => Role::Members(COMPLETION),
    _ => result_member(name),
});

const COMPLETION: Table = Table::of(|name| match name {
    "values" => Role::Texts,
    "total" => Role::Number,
    "hasMore" => Role::Flag,
    _ => Role::Unknown,
});

const SERVER_RESULT: Table = Table::of(|name| match name {
    "protocolVersion" => Role::Token,
    "supportedVersions" => Role::Tokens,
    "capabilities" => Role::Members(CAPABILITIES),
    "serverInfo" => Role::Members(IMPLEMENTATION),
    "instructions" => Role::Text,
    _ => result_member(name),
});

/// Of a client or a server; what is experimental or an extension's may be anything.
pub(super) const CAPABILITIES: Table = Table::of(|name| match name {
    "roots" | "sampling" | "elicitation" | "tasks" | "logging" | "completions" | "prompts"
    | "resources" | "tools" => Role::Flags,
    "experimental" | "extensions" => Role::Json,
    _ => Role::Unknown,
});

/// A task: of 2025-11-25 in `task` or `tasks`, of the extension the result itself.
pub(super) const TASK: Table = Table::of(|name| match name {
    "tasks" => Role::Items(TASK),
    "nextCursor" => Role::Token,
    "result" => Role::In(Part::Outcome, &Role::Members(TOOL_RESULT)),
    "error" => Role::Members(ERROR),
    _ => result_member(name),
});

/// Members that any result may have.
pub(super) fn result_member(name: &str) -> Role {
    match name {
        "_meta" => META,
        "resultType" => Role::Word(words::RESULTS),
        "cacheScope" => Role::Word(words::SCOPES),
        "status" => Role::In(Part::Report, &Role::Word(words::STATUSES)),
        "statusMessage" => Role::In(Part::Report, &Role::Text),
        "requestState" | "taskId" => Role::Token,
        "createdAt" | "lastUpdatedAt" => Role::Time,
        "ttlMs" | "ttl" | "pollInterval" | "pollIntervalMs" => Role::Number,
        "inputRequests" => Role::In(Part::Question, &Role::Map(SERVER_REQUEST)),
        _ => Role::Unknown,
    }
}

/// A content block of any type.
pub(super) const BLOCK: Table = Table {
    role: content_member,
    block: true,
    subject: false,
};

/// The contents of a resource inside a block.
const EMBEDDED: Table = Table::of(content_member);

fn content_member(name: &str) -> Role {
    match name {
        "type" => Role::Word(words::BLOCKS),
        "mimeType" => Role::MediaType,
        "text" | "name" | "title" | "description" => Role::Text,
        "data" | "blob" => Role::Blob,
        "uri" => Role::Uri,
        "resource" => Role::Members(EMBEDDED),
        "content" => Role::Items(BLOCK),
        "structuredContent" | "input" => Role::Json,
        "_meta" => META,
        "annotations" => Role::Members(ANNOTATIONS),
        "icons" => Role::Items(ICON),
        "id" | "toolUseId" => Role::Token,
        "size" => Role::Number,
        "isError" => Role::Flag,
        _ => Role::Unknown,
    }
}

const ANNOTATIONS: Table = Table::of(|name| match name {
    "audience" => Role::Words(words::ROLES),
    "priority" => Role::Number,
    "lastModified" => Role::Time,
    "title" => Role::Text,
    "readOnlyHint" | "destructiveHint" | "idempotentHint" | "openWorldHint" => Role::Flag,
    _ => Role::Unknown,
});

const ICON: Table = Table::of(|name| match name {
    "src" => Role::Uri,
    "mimeType" => Role::MediaType,
    "theme" => Role::Word(words::THEMES),
    "sizes" => Role::Sizes,
    _ => Role::Unknown,
});

pub(super) const ERROR: Table = Table::of(|name| match name {
    "code" => Role::Number,
    "message" => Role::Text,
    "data" => Role::JsonOrText,
    _ => Role::Unknown,
});

const NOTIFICATION: Table = Table::of(|name| match name {
    "progressToken" | "requestId" | "elicitationId" => Role::Token,
    "progress" | "total" => Role::Number,
    "message" | "reason" | "logger" => Role::Text,
    "level" => Role::Word(words::LEVELS),
    "data" => Role::JsonOrText,
    "uri" => Role::Uri,
    "notifications" => Role::Members(FILTER),
    "result" => Role::In(Part::Outcome, &Role::Members(TOOL_RESULT)),
    "error" => Role::Members(ERROR),
    _ => result_member(name),
});

/// Parameters of a method that the protocol does not know: nothing in them is structure.
pub(super) const UNKNOWN: Table = Table::of(|name| match name {
    "_meta" => META,
    "message" | "text" | "reason" | "title" | "description" => Role::Text,
    "uri" => Role::Uri,
    _ => Role::Unknown,
});

/// `_meta` of anything.
pub(super) const META: Role = Role::In(Part::Meta, &Role::Members(META_MEMBERS));

/// The names that the protocol reserves in `_meta`; any other is the sender's. `baggage` and `tracestate` carry what
/// applications put there.
const META_MEMBERS: Table = Table::of(|name| match name {
    "progressToken"
    | "io.modelcontextprotocol/protocolVersion"
    | "io.modelcontextprotocol/subscriptionId" => Role::Token,
    "io.modelcontextprotocol/clientInfo" | "io.modelcontextprotocol/serverInfo" => {
        Role::Members(IMPLEMENTATION)
    }
    "io.modelcontextprotocol/clientCapabilities" => Role::Members(CAPABILITIES),
    "io.modelcontextprotocol/logLevel" => Role::Word(words::LEVELS),
    "io.modelcontextprotocol/related-task" => Role::Members(RELATED_TASK),
    "traceparent" => Role::TraceParent,
    "tracestate" | "baggage" => Role::Text,
    _ => Role::Unknown,
});

const RELATED_TASK: Table = Table::of(|name| match name {
    "taskId" => Role::Token,
    _ => Role::Unknown,
});
