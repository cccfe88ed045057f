//! What is asked: by the client of the server, by the server of the client, and what the client answers.

use super::Part;
use super::schema::SCHEMA;
use super::tables::{
    BLOCK, CAPABILITIES, IMPLEMENTATION, MESSAGE, META, OFFER, TASK, UNKNOWN, result_member,
};
use super::walk::{Role, Table};
use super::words;
use crate::json::{DuplicateMember, Value};

/// The table of `params` of a request from the client.
pub(super) fn of_request(method: &str) -> Table {
    match method {
        "tools/call" | "prompts/get" => CALL,
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => RESOURCE,
        "completion/complete" => COMPLETE,
        "initialize" => INITIALIZE,
        "tasks/get" | "tasks/result" | "tasks/cancel" | "tasks/update" => ABOUT_TASK,
        "subscriptions/listen" => LISTEN,
        "tools/list"
        | "prompts/list"
        | "resources/list"
        | "resources/templates/list"
        | "tasks/list"
        | "logging/setLevel"
        | "ping"
        | "server/discover" => PLAIN,
        _ => UNKNOWN,
    }
}

/// The table of `params` of a request from the server.
pub(super) fn of_server_request(method: &str) -> Table {
    match method {
        "sampling/createMessage" | "elicitation/create" | "roots/list" | "ping" => QUESTION,
        "tasks/get" | "tasks/result" | "tasks/cancel" | "tasks/list" => ABOUT_TASK,
        _ => UNKNOWN,
    }
}

/// What the client's result is due to be, by the method that the server asked for.
pub(super) fn of_client_result(method: &str) -> Role {
    match method {
        "elicitation/create" => Role::Members(ELICITED),
        "sampling/createMessage" => Role::Members(SAMPLED),
        "roots/list" => Role::Members(ROOTS),
        "tasks/result" => Role::Answer,
        "tasks/get" | "tasks/cancel" | "tasks/list" => Role::Members(CLIENT_TASK),
        "ping" => Role::Members(Table::of(result_member)),
        _ => Role::Members(UNKNOWN),
    }
}

/// Which answer an object is. An elicitation always has an action; its content is then a form that a person filled in
/// and judged by its names, where a sampling's is a block.
pub(super) fn answer_table(answer: Value<'_>) -> Result<Table, DuplicateMember> {
    Ok(match answer.get("action")? {
        Some(_) => ELICITED,
        None => SAMPLED,
    })
}

/// Members that the `params` of any request may have.
fn parameter(name: &str) -> Role {
    match name {
        "_meta" => META,
        "inputResponses" => Role::In(Part::Answer, &Role::Answers),
        "requestState" | "cursor" => Role::Token,
        "level" => Role::Word(words::LEVELS),
        "task" => Role::Members(TASK_WISH),
        _ => Role::Unknown,
    }
}

const PLAIN: Table = Table::of(parameter);

/// `tools/call`, `prompts/get`.
const CALL: Table = Table::of(|name| match name {
    "name" => Role::In(Part::Target, &Role::Token),
    "arguments" => Role::In(Part::Arguments, &Role::Json),
    _ => parameter(name),
});

const RESOURCE: Table = Table::of(|name| match name {
    "uri" => Role::In(Part::Target, &Role::Uri),
    _ => parameter(name),
});

const COMPLETE: Table = Table::of(|name| match name {
    "ref" => Role::In(Part::Target, &Role::Members(REFERENCE)),
    "argument" => Role::In(Part::Arguments, &Role::Members(ARGUMENT)),
    "context" => Role::In(Part::Arguments, &Role::Members(CONTEXT)),
    _ => parameter(name),
});

const REFERENCE: Table = Table::of(|name| match name {
    "type" => Role::Word(words::REFERENCES),
    "name" => Role::Token,
    "title" => Role::Text,
    "uri" => Role::Uri,
    _ => Role::Unknown,
});

/// The argument that is to be completed: its name says what its value is.
const ARGUMENT: Table = Table {
    role: |name| match name {
        "name" => Role::Token,
        "value" => Role::Text,
        _ => Role::Unknown,
    },
    block: false,
    subject: true,
};

const CONTEXT: Table = Table::of(|name| match name {
    "arguments" => Role::Json,
    _ => Role::Unknown,
});

const INITIALIZE: Table = Table::of(|name| match name {
    "protocolVersion" => Role::Token,
    "capabilities" => Role::In(Part::Description, &Role::Members(CAPABILITIES)),
    "clientInfo" => Role::In(Part::Description, &Role::Members(IMPLEMENTATION)),
    _ => parameter(name),
});

const ABOUT_TASK: Table = Table::of(|name| match name {
    "taskId" => Role::In(Part::Target, &Role::Token),
    _ => parameter(name),
});

const LISTEN: Table = Table::of(|name| match name {
    "notifications" => Role::In(Part::Target, &Role::Members(FILTER)),
    "taskIds" => Role::In(Part::Target, &Role::Tokens),
    _ => parameter(name),
});

/// What a client wants to hear of.
pub(super) const FILTER: Table = Table::of(|name| match name {
    "toolsListChanged" | "promptsListChanged" | "resourcesListChanged" => Role::Flag,
    "resourceSubscriptions" => Role::Uris,
    "taskIds" => Role::Tokens,
    _ => Role::Unknown,
});

/// The wish that a request be run as a task (2025-11-25).
const TASK_WISH: Table = Table::of(|name| match name {
    "ttl" => Role::Number,
    _ => Role::Unknown,
});

/// A request of the server's inside a result.
pub(super) const SERVER_REQUEST: Table = Table::of(|name| match name {
    "method" => Role::Word(words::QUESTIONS),
    "params" => Role::Members(QUESTION),
    "_meta" => META,
    _ => Role::Unknown,
});

/// What a server asks: for a sample, for a form or a visit to a URL, for roots.
const QUESTION: Table = Table::of(|name| match name {
    "messages" => Role::Items(MESSAGE),
    "systemPrompt" | "message" => Role::Text,
    "requestedSchema" => Role::Members(SCHEMA),
    "metadata" => Role::Json,
    "tools" => Role::Items(OFFER),
    "toolChoice" => Role::Members(CHOICE),
    "modelPreferences" => Role::Members(PREFERENCES),
    "stopSequences" => Role::Texts,
    "maxTokens" | "temperature" => Role::Number,
    "includeContext" => Role::Word(words::CONTEXTS),
    "mode" => Role::Word(words::MODES),
    "elicitationId" => Role::Token,
    "url" => Role::Uri,
    _ => parameter(name),
});

const CHOICE: Table = Table::of(|name| match name {
    "mode" => Role::Word(words::CHOICES),
    _ => Role::Unknown,
});

const PREFERENCES: Table = Table::of(|name| match name {
    "hints" => Role::Items(HINT),
    "costPriority" | "speedPriority" | "intelligencePriority" => Role::Number,
    _ => Role::Unknown,
});

const HINT: Table = Table::of(|name| match name {
    "name" => Role::Text,
    _ => Role::Unknown,
});

/// What a person answered: a form.
const ELICITED: Table = Table::of(|name| match name {
    "action" => Role::Word(words::ACTIONS),
    "content" => Role::Json,
    _ => client_member(name),
});

/// What a model answered, or the client about its roots.
const SAMPLED: Table = Table::of(|name| match name {
    "role" => Role::Word(words::ROLES),
    "content" => Role::Items(BLOCK),
    "model" => Role::Text,
    "stopReason" => Role::Word(words::STOPS),
    _ => client_member(name),
});

const ROOTS: Table = Table::of(client_member);

fn client_member(name: &str) -> Role {
    match name {
        "roots" => Role::Items(ROOT),
        "task" => Role::In(Part::Report, &Role::Members(TASK)),
        _ => result_member(name),
    }
}

const ROOT: Table = Table::of(|name| match name {
    "uri" => Role::Uri,
    "name" => Role::Text,
    "_meta" => META,
    _ => Role::Unknown,
});

/// A task that the client runs for the server; its result is an answer.
const CLIENT_TASK: Table = Table::of(|name| match name {
    "result" => Role::Answer,
    _ => (TASK.role)(name),
});
