//! Where PHI can stand in MCP messages: each place, and how to read it.
//!
//! The functions walk the shapes that the protocol defines (revisions 2024-11-05 to 2026-07-28) and name every place
//! by its shape. They know no policy. Two rules make them safe against messages that are not as they should be:
//! a member that the protocol does not know is a place whose own name is judged, and a known member of the wrong
//! kind (a `text` that is an object, a `type` that is a sentence) is judged as well. The places never overlap and
//! together hold every scalar of the message but member names.
//!
//! Members are told apart by name, not by a block's `type`: a block that lies about its type hides nothing.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::json::{DuplicateMember, Kind, Value};

/// Longest string that counts as one of the protocol's words (block types, roles, media types), in bytes.
const WORD_BYTES_MAX: usize = 128;

/// How to read a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// JSON whose members are judged by name.
    Json,
    /// A string: JSON in text, or free text.
    Text,
    /// A string: base64 of content of the place's media type.
    Blob,
    /// A string: a URI, which may hold identifiers or be a `data:` URI.
    Uri,
    /// The protocol's own structure: leave as it is.
    Opaque,
}

/// One place of a message.
#[derive(Debug, Clone)]
pub struct Place<'t> {
    /// What stands there.
    pub value: Value<'t>,
    /// How to read it.
    pub shape: Shape,
    /// Whether its own member name is the sender's, not the protocol's, and is to be judged too. Only with [`Shape::Json`].
    pub named: bool,
    /// The content block, or resource content, it sits in.
    pub block: Option<Value<'t>>,
    /// The media type declared beside it.
    pub mime: Option<Cow<'t, str>>,
}

/// Places in the result of `tools/call` (also from `tasks/result`).
///
/// # Errors
/// [`DuplicateMember`] if a media type is declared twice, here as in the other functions.
pub fn tool_result(result: Value<'_>) -> Result<Vec<Place<'_>>, DuplicateMember> {
    walk(result, Role::Members(TOOL_RESULT))
}

/// Places in the result of `resources/read`.
///
/// # Errors
/// See [`tool_result`].
pub fn resource_result(result: Value<'_>) -> Result<Vec<Place<'_>>, DuplicateMember> {
    walk(result, Role::Members(RESOURCE_RESULT))
}

/// Places in the result of `prompts/get`.
///
/// # Errors
/// See [`tool_result`].
pub fn prompt_result(result: Value<'_>) -> Result<Vec<Place<'_>>, DuplicateMember> {
    walk(result, Role::Members(PROMPT_RESULT))
}

/// Places in the result of any method: the three above, lists, completions, tasks, `initialize`; for a method
/// that the protocol does not know every member is judged by name.
///
/// # Errors
/// See [`tool_result`].
pub fn result<'t>(method: &str, result: Value<'t>) -> Result<Vec<Place<'t>>, DuplicateMember> {
    let table = match method {
        "tools/call" | "tasks/result" => TOOL_RESULT,
        "resources/read" => RESOURCE_RESULT,
        "prompts/get" => PROMPT_RESULT,
        "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list" => {
            LIST_RESULT
        }
        "completion/complete" => COMPLETION_RESULT,
        "initialize" | "server/discover" => SERVER_RESULT,
        "tasks/get" | "tasks/list" | "tasks/cancel" | "tasks/update" => TASK_RESULT,
        _ => UNKNOWN,
    };
    walk(result, Role::Members(table))
}

/// Places in a JSON-RPC error object.
///
/// # Errors
/// See [`tool_result`].
pub fn error(error: Value<'_>) -> Result<Vec<Place<'_>>, DuplicateMember> {
    walk(error, Role::Members(ERROR))
}

/// Places in a notification's `params`.
///
/// # Errors
/// See [`tool_result`].
pub fn notification<'t>(
    method: &str,
    params: Value<'t>,
) -> Result<Vec<Place<'t>>, DuplicateMember> {
    let table = match method {
        "notifications/progress"
        | "notifications/message"
        | "notifications/cancelled"
        | "notifications/resources/updated"
        | "notifications/tasks"
        | "notifications/tasks/status"
        | "notifications/elicitation/complete" => NOTIFICATION,
        _ => UNKNOWN,
    };
    walk(params, Role::Members(table))
}

/// Places in the `params` of a request from the server: `sampling/createMessage`, `elicitation/create`, `roots/list`.
///
/// # Errors
/// See [`tool_result`].
pub fn server_request(params: Value<'_>) -> Result<Vec<Place<'_>>, DuplicateMember> {
    walk(params, Role::Members(SERVER_PARAMS))
}

/// What is due in a place.
#[derive(Clone, Copy)]
enum Role {
    /// JSON under a name of the protocol's.
    Json,
    /// JSON, or free text if it is a string.
    JsonOrText,
    /// JSON under a name of the sender's.
    Unknown,
    Text,
    /// An array of texts.
    Texts,
    Blob,
    Uri,
    /// Structure of any kind: schemas, capabilities.
    Structure,
    /// A string or number that the sender only wants to get back: ids, cursors, time stamps.
    Token,
    /// One of the protocol's words.
    Word,
    /// An array of such.
    Words,
    Number,
    Flag,
    /// An object of this kind.
    Members(Table),
    /// An array of such objects, or one alone.
    Items(Table),
    /// An object whose members are such objects.
    Map(Table),
}

/// A kind of object: what its members are, by name.
#[derive(Clone, Copy)]
struct Table {
    role: fn(&str) -> Role,
    /// Whether such an object is the block of the places in it.
    block: bool,
}

impl Table {
    const fn of(role: fn(&str) -> Role) -> Self {
        Self { role, block: false }
    }
}

const TOOL_RESULT: Table = Table::of(|name| match name {
    "content" => Role::Items(BLOCK),
    "structuredContent" => Role::Json,
    "isError" => Role::Flag,
    "task" => Role::Members(TASK_RESULT),
    _ => result_member(name),
});

const RESOURCE_RESULT: Table = Table::of(|name| match name {
    "contents" => Role::Items(BLOCK),
    _ => result_member(name),
});

const PROMPT_RESULT: Table = Table::of(|name| match name {
    "description" => Role::Text,
    "messages" => Role::Items(PROMPT_MESSAGE),
    _ => result_member(name),
});

const PROMPT_MESSAGE: Table = Table::of(|name| match name {
    "role" => Role::Word,
    "content" => Role::Items(BLOCK),
    "_meta" => Role::Json,
    _ => Role::Unknown,
});

const LIST_RESULT: Table = Table::of(|name| match name {
    "tools" | "prompts" | "resources" | "resourceTemplates" => Role::Items(LISTED),
    "nextCursor" => Role::Token,
    _ => result_member(name),
});

/// A tool, prompt, resource or template in a list; a prompt's argument; the server's description of itself.
const LISTED: Table = Table::of(|name| match name {
    "name" | "uriTemplate" | "version" => Role::Token,
    "title" | "description" => Role::Text,
    "uri" | "websiteUrl" => Role::Uri,
    "inputSchema" | "outputSchema" | "execution" => Role::Structure,
    "arguments" => Role::Items(LISTED),
    "required" => Role::Flag,
    "mimeType" => Role::Word,
    "size" => Role::Number,
    "annotations" => Role::Members(ANNOTATIONS),
    "icons" => Role::Items(ICON),
    "_meta" => Role::Json,
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
    "supportedVersions" | "capabilities" => Role::Structure,
    "serverInfo" => Role::Members(LISTED),
    "instructions" => Role::Text,
    _ => result_member(name),
});

const TASK_RESULT: Table = Table::of(|name| match name {
    "tasks" => Role::Items(TASK_RESULT),
    "nextCursor" => Role::Token,
    "result" => Role::Members(TOOL_RESULT),
    "error" => Role::Members(ERROR),
    _ => result_member(name),
});

/// Members that any result may have.
fn result_member(name: &str) -> Role {
    match name {
        "_meta" => Role::Json,
        "resultType" | "cacheScope" | "status" => Role::Word,
        "requestState" | "taskId" | "createdAt" | "lastUpdatedAt" => Role::Token,
        "ttlMs" | "ttl" | "pollInterval" | "pollIntervalMs" => Role::Number,
        "statusMessage" => Role::Text,
        "inputRequests" => Role::Map(SERVER_REQUEST),
        _ => Role::Unknown,
    }
}

/// A content block of any type.
const BLOCK: Table = Table {
    role: content_member,
    block: true,
};

/// The contents of a resource inside a block.
const RESOURCE: Table = Table::of(content_member);

fn content_member(name: &str) -> Role {
    match name {
        "type" | "mimeType" => Role::Word,
        "text" | "name" | "title" | "description" => Role::Text,
        "data" | "blob" => Role::Blob,
        "uri" => Role::Uri,
        "resource" => Role::Members(RESOURCE),
        "content" => Role::Items(BLOCK),
        "structuredContent" | "input" | "_meta" => Role::Json,
        "annotations" => Role::Members(ANNOTATIONS),
        "icons" => Role::Items(ICON),
        "id" | "toolUseId" => Role::Token,
        "size" => Role::Number,
        "isError" => Role::Flag,
        _ => Role::Unknown,
    }
}

const ANNOTATIONS: Table = Table::of(|name| match name {
    "audience" => Role::Words,
    "priority" => Role::Number,
    "lastModified" => Role::Token,
    "title" => Role::Text,
    "readOnlyHint" | "destructiveHint" | "idempotentHint" | "openWorldHint" => Role::Flag,
    _ => Role::Unknown,
});

const ICON: Table = Table::of(|name| match name {
    "src" => Role::Uri,
    "mimeType" | "theme" => Role::Word,
    "sizes" => Role::Structure,
    _ => Role::Unknown,
});

const ERROR: Table = Table::of(|name| match name {
    "code" => Role::Number,
    "message" => Role::Text,
    "data" => Role::JsonOrText,
    _ => Role::Unknown,
});

const NOTIFICATION: Table = Table::of(|name| match name {
    "progressToken" | "requestId" | "elicitationId" => Role::Token,
    "progress" | "total" => Role::Number,
    "message" | "reason" | "logger" => Role::Text,
    "level" => Role::Word,
    "data" => Role::JsonOrText,
    "uri" => Role::Uri,
    "result" => Role::Members(TOOL_RESULT),
    "error" => Role::Members(ERROR),
    _ => result_member(name),
});

/// Parameters of a method that the protocol does not know: nothing in them is structure.
const UNKNOWN: Table = Table::of(|name| match name {
    "_meta" => Role::Json,
    "message" | "text" | "reason" | "title" | "description" => Role::Text,
    "uri" => Role::Uri,
    _ => Role::Unknown,
});

/// A request of the server's inside a result.
const SERVER_REQUEST: Table = Table::of(|name| match name {
    "method" => Role::Word,
    "params" => Role::Members(SERVER_PARAMS),
    "_meta" => Role::Json,
    _ => Role::Unknown,
});

const SERVER_PARAMS: Table = Table::of(|name| match name {
    "messages" => Role::Items(PROMPT_MESSAGE),
    "systemPrompt" | "message" => Role::Text,
    "requestedSchema" | "metadata" | "tools" | "_meta" => Role::Json,
    "modelPreferences" | "stopSequences" | "toolChoice" | "task" => Role::Structure,
    "maxTokens" | "temperature" => Role::Number,
    "includeContext" | "mode" => Role::Word,
    "elicitationId" => Role::Token,
    "url" => Role::Uri,
    _ => Role::Unknown,
});

/// A value still to be looked at.
struct Pending<'t> {
    value: Value<'t>,
    role: Role,
    block: Option<Value<'t>>,
    mime: Option<Cow<'t, str>>,
}

/// Walks from `value` down, with a list in place of recursion: blocks may hold blocks.
fn walk(value: Value<'_>, role: Role) -> Result<Vec<Place<'_>>, DuplicateMember> {
    let mut places = Vec::with_capacity(8);
    let mut pending = vec![Pending {
        value,
        role,
        block: None,
        mime: None,
    }];
    while let Some(here) = pending.pop() {
        match here.role {
            Role::Members(table) if here.value.kind() == Kind::Object => {
                members(&here, table, &mut pending)?;
            }
            Role::Items(table) if here.value.kind() == Kind::Array => {
                each(&here, Role::Members(table), &mut pending);
            }
            Role::Items(table) => pending.push(Pending {
                role: Role::Members(table),
                ..here
            }),
            Role::Map(table) if here.value.kind() == Kind::Object => {
                each(&here, Role::Members(table), &mut pending);
            }
            Role::Texts if here.value.kind() == Kind::Array => {
                each(&here, Role::Text, &mut pending);
            }
            role => places.push(place(here, role)),
        }
    }
    places.sort_unstable_by_key(|place| place.value.index());
    Ok(places)
}

fn members<'t>(
    here: &Pending<'t>,
    table: Table,
    pending: &mut Vec<Pending<'t>>,
) -> Result<(), DuplicateMember> {
    let object = here.value;
    let block = if table.block {
        Some(object)
    } else {
        here.block
    };
    // Every place in here gets a copy: one that is too long to be a media type must not be multiplied.
    let mime = object.get("mimeType")?.and_then(Value::string);
    let mime = mime.filter(|mime| mime.len() <= WORD_BYTES_MAX);
    for value in object.children() {
        let role = value
            .key()
            .map_or(Role::Unknown, |name| (table.role)(&name));
        pending.push(Pending {
            value,
            role,
            block,
            mime: mime.clone(),
        });
    }
    Ok(())
}

fn each<'t>(here: &Pending<'t>, role: Role, pending: &mut Vec<Pending<'t>>) {
    pending.extend(here.value.children().map(|value| Pending {
        value,
        role,
        block: here.block,
        mime: here.mime.clone(),
    }));
}

/// A value that is not walked into. One of the wrong kind is text if it can be, else judged by its members and name.
fn place(here: Pending<'_>, role: Role) -> Place<'_> {
    let is_string = here.value.kind() == Kind::String;
    let (shape, named) = match role {
        Role::Text if is_string => (Shape::Text, false),
        Role::Blob if is_string => (Shape::Blob, false),
        Role::Uri if is_string => (Shape::Uri, false),
        Role::JsonOrText if is_string => (Shape::Text, false),
        Role::Json | Role::JsonOrText => (Shape::Json, false),
        Role::Unknown => (Shape::Json, true),
        _ if is_structure(here.value, role) => (Shape::Opaque, false),
        _ if is_string => (Shape::Text, false),
        _ => (Shape::Json, true),
    };
    Place {
        value: here.value,
        shape,
        named,
        block: here.block,
        mime: here.mime,
    }
}

/// Whether a value is the structure that is due. Null stands for a member that is not there.
fn is_structure(value: Value<'_>, role: Role) -> bool {
    match (role, value.kind()) {
        (Role::Structure, _) | (_, Kind::Null) => true,
        (Role::Token, Kind::String | Kind::Number) => true,
        (Role::Number, Kind::Number) | (Role::Flag, Kind::Bool) => true,
        (Role::Word, Kind::String) => is_word(value),
        (Role::Words, Kind::Array) => value.children().all(is_word),
        _ => false,
    }
}

/// Whether a string can be one of the protocol's words: a letter first, then what methods and media types are made of;
/// a space only in front of a media type's parameter.
fn is_word(value: Value<'_>) -> bool {
    value.string().is_some_and(|text| {
        let bytes = text.bytes().zip(std::iter::once(0).chain(text.bytes()));
        text.len() <= WORD_BYTES_MAX
            && text.starts_with(|first: char| first.is_ascii_alphabetic())
            && bytes.into_iter().all(|(byte, before)| {
                byte.is_ascii_alphanumeric()
                    || b"_-/.+;=".contains(&byte)
                    || (byte == b' ' && before == b';')
            })
    })
}
