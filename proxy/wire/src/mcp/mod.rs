//! Where PHI can stand in MCP messages: each place, how to read it, and whose part of the message it is.
//!
//! The functions walk the shapes that the protocol defines (revisions 2024-11-05 to 2026-07-28, the tasks extension
//! included) and name every place by its shape. They know no policy. Two rules make them safe against messages that
//! are not as they should be: a member that the protocol does not know is a place whose own name is judged, and a
//! known member of the wrong kind (a `text` that is an object, a `type` that is a sentence) is judged as well. The
//! places never overlap and together hold every scalar of the message but member names.
//!
//! Members are told apart by name, not by a block's `type`: a block that lies about its type hides nothing. What the
//! protocol only hands back and forth (ids, cursors, task ids, `requestState`, progress tokens) can't be edited
//! without breaking it and is [`Shape::Opaque`], as are numbers and flags in their own places; a word, a media type
//! or a time is so only if it is one that the protocol knows, or written like one.
//!
//! | module | holds |
//! |---|---|
//! | `tables`, `requests`, `schema` | what each kind of object may have, by name |
//! | `words` | what counts as the protocol's own word, media type, time |
//! | `walk` | from a value and its table to places |

mod requests;
mod schema;
mod tables;
mod walk;
mod words;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::json::{DuplicateMember, Value};
use walk::{Role, walk};

/// How to read a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// JSON whose members are judged by name.
    Json,
    /// A string: JSON in text, or free text.
    Text,
    /// A string: base64 of content of the place's media type.
    Blob,
    /// A string: a URI or URI template, which may hold identifiers or be a `data:` URI. See [`crate::uri`].
    Uri,
    /// The protocol's own structure: leave as it is.
    Opaque,
}

/// Whose part of a message a place is: who wrote it, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// What is asked for: the name of a tool or prompt, a URI, a task's id, a reference.
    Target,
    /// What the caller hands to it: `arguments`, the value that is to be completed and its context.
    Arguments,
    /// What came of it: content, structured content, resource contents, prompt messages, completed values.
    Outcome,
    /// What the server asks the client's person or model (elicitation, sampling), also as `inputRequests`.
    Question,
    /// What these answered, also as `inputResponses`.
    Answer,
    /// What describes a client, a server, or what the server offers: lists and their schemas, instructions.
    Description,
    /// How it goes: progress, log messages, a task's status, errors, subscriptions.
    Report,
    /// In `_meta`, wherever that stands.
    Meta,
    /// Beside all that the protocol knows.
    Beside,
}

/// One place of a message.
#[derive(Debug, Clone)]
pub struct Place<'t> {
    /// What stands there.
    pub value: Value<'t>,
    /// How to read it.
    pub shape: Shape,
    /// Whose part of the message it is.
    pub part: Part,
    /// Whether its own member name is the sender's, not the protocol's, and is to be judged too. Only with [`Shape::Json`].
    pub named: bool,
    /// The name that stands elsewhere and says what the place is about: a schema's property, the argument that is
    /// to be completed. To be judged like a member name.
    pub subject: Option<Cow<'t, str>>,
    /// The content block, or resource content, it sits in.
    pub block: Option<Value<'t>>,
    /// The media type declared beside it.
    pub mime: Option<Cow<'t, str>>,
}

/// What every function here gives.
pub type Places<'t> = Result<Vec<Place<'t>>, DuplicateMember>;

/// Places in the result of `tools/call` (also from `tasks/result`).
///
/// # Errors
/// [`DuplicateMember`] if a media type, or what tells two shapes apart, is there twice; here as in the other functions.
pub fn tool_result(result: Value<'_>) -> Places<'_> {
    walk(result, Role::Members(tables::TOOL_RESULT), Part::Outcome)
}

/// Places in the result of `resources/read`.
///
/// # Errors
/// See [`tool_result`].
pub fn resource_result(result: Value<'_>) -> Places<'_> {
    walk(
        result,
        Role::Members(tables::RESOURCE_RESULT),
        Part::Outcome,
    )
}

/// Places in the result of `prompts/get`.
///
/// # Errors
/// See [`tool_result`].
pub fn prompt_result(result: Value<'_>) -> Places<'_> {
    walk(result, Role::Members(tables::PROMPT_RESULT), Part::Outcome)
}

/// Places in the result of any method that a client asks for: the three above, lists, completions, tasks,
/// `initialize`; for a method that the protocol does not know every member is judged by name.
///
/// # Errors
/// See [`tool_result`].
pub fn result<'t>(method: &str, result: Value<'t>) -> Places<'t> {
    let (table, part) = tables::of_result(method);
    walk(result, Role::Members(table), part)
}

/// Places in a JSON-RPC error object, whoever sends it.
///
/// # Errors
/// See [`tool_result`].
pub fn error(error: Value<'_>) -> Places<'_> {
    walk(error, Role::Members(tables::ERROR), Part::Report)
}

/// Places in a notification's `params`, whoever sends it.
///
/// # Errors
/// See [`tool_result`].
pub fn notification<'t>(method: &str, params: Value<'t>) -> Places<'t> {
    let (table, part) = tables::of_notification(method);
    walk(params, Role::Members(table), part)
}

/// Places in the `params` of a request from the client.
///
/// # Errors
/// See [`tool_result`].
pub fn request<'t>(method: &str, params: Value<'t>) -> Places<'t> {
    walk(
        params,
        Role::Members(requests::of_request(method)),
        Part::Beside,
    )
}

/// Places in the `params` of a request from the server: `sampling/createMessage`, `elicitation/create`, `roots/list`,
/// and of 2025-11-25 `tasks/*` about what the client runs for it.
///
/// # Errors
/// See [`tool_result`].
pub fn server_request<'t>(method: &str, params: Value<'t>) -> Places<'t> {
    walk(
        params,
        Role::Members(requests::of_server_request(method)),
        Part::Question,
    )
}

/// Places in the client's result for a request from the server; `method` is that request's.
///
/// # Errors
/// See [`tool_result`].
pub fn client_result<'t>(method: &str, result: Value<'t>) -> Places<'t> {
    walk(result, requests::of_client_result(method), Part::Answer)
}

/// Places in a whole message outside `params`, `result` and `error`: the id, and members that JSON-RPC does not know.
///
/// # Errors
/// See [`tool_result`].
pub fn envelope(message: Value<'_>) -> Places<'_> {
    walk(message, Role::Members(tables::ENVELOPE), Part::Beside)
}
