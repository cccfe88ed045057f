//! JSON-RPC 2.0 messages, read so strictly that no other reader can see another message in the same bytes.
//!
//! What the sidecar judges must be what the upstream carries out. So a message is refused where readers differ:
//! duplicate members (first or last one counts), batches (some upstreams run them), members that only some readers
//! take for the envelope's (`"Method"`: Go's `encoding/json` folds case), and shapes that are two messages at once.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use crate::json::{DuplicateMember, Kind, Value, quote};

/// Longest id taken, in bytes of its JSON text: ids are kept in tables while a call runs.
pub const ID_BYTES_MAX: usize = 1024;

/// Members of the envelope.
const ENVELOPE: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

/// Members of `params` that decide what is done, by any method of the protocol that is judged.
const PARAMETERS: [&str; 12] = [
    "name",
    "arguments",
    "uri",
    "ref",
    "argument",
    "context",
    "taskId",
    "inputResponses",
    "requestState",
    "notifications",
    "task",
    "_meta",
];

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'t> {
    /// Wants an answer.
    Request {
        /// What the answer will carry.
        id: Id<'t>,
        /// The method's name.
        method: Cow<'t, str>,
        /// An object, if there.
        params: Option<Value<'t>>,
    },
    /// Wants none.
    Notification {
        /// The method's name.
        method: Cow<'t, str>,
        /// An object, if there.
        params: Option<Value<'t>>,
    },
    /// Answers a request.
    Response {
        /// The request's; null only in errors.
        id: Id<'t>,
        /// Success or failure.
        outcome: Outcome<'t>,
    },
}

/// What a response says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'t> {
    /// The `result`.
    Result(Value<'t>),
    /// The `error` object.
    Error(Value<'t>),
}

/// Why a JSON value is no message. Never repeats content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidMessage {
    /// An array: batches are left out of MCP since 2025-06-18.
    Batch,
    /// Neither array nor object.
    NotAnObject,
    /// `jsonrpc` is missing or not `"2.0"`.
    Version,
    /// A member is there twice in the envelope, or anywhere in `params`.
    Duplicate(DuplicateMember),
    /// A member's name differs only in case from one that decides.
    Disguised {
        /// Byte offset of its name.
        at: usize,
    },
    /// Request and response at once, or result and error at once.
    Mixed,
    /// No method, result or error.
    Empty,
    /// `method` is no string, or one with a lone surrogate.
    Method,
    /// `params` is no object.
    Params,
    /// `error` is no object.
    Error,
    /// `id` is neither string nor integer, is null or missing where it must not be, or is longer than [`ID_BYTES_MAX`].
    Id,
}

impl fmt::Display for InvalidMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch => write!(f, "a json-rpc batch: send one message at a time"),
            Self::NotAnObject => write!(f, "a json-rpc message must be an object"),
            Self::Version => write!(f, "member `jsonrpc` must be \"2.0\""),
            Self::Duplicate(duplicate) => duplicate.fmt(f),
            Self::Disguised { at } => {
                write!(
                    f,
                    "member at byte {at} differs only in case from a reserved name"
                )
            }
            Self::Mixed => write!(
                f,
                "message is a request and a response, or a result and an error, at once"
            ),
            Self::Empty => write!(f, "message has neither method nor result nor error"),
            Self::Method => write!(f, "member `method` must be a string"),
            Self::Params => write!(f, "member `params` must be an object"),
            Self::Error => write!(f, "member `error` must be an object"),
            Self::Id => write!(
                f,
                "member `id` must be a string or an integer of at most {ID_BYTES_MAX} bytes"
            ),
        }
    }
}

impl std::error::Error for InvalidMessage {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Duplicate(duplicate) => Some(duplicate),
            _ => None,
        }
    }
}

impl From<DuplicateMember> for InvalidMessage {
    fn from(duplicate: DuplicateMember) -> Self {
        Self::Duplicate(duplicate)
    }
}

impl<'t> Message<'t> {
    /// Reads a message from a document's root. Unknown members are left alone.
    ///
    /// # Errors
    /// [`InvalidMessage`] for whatever is not exactly one JSON-RPC 2.0 message.
    pub fn parse(root: Value<'t>) -> Result<Self, InvalidMessage> {
        match root.kind() {
            Kind::Object => {}
            Kind::Array => return Err(InvalidMessage::Batch),
            _ => return Err(InvalidMessage::NotAnObject),
        }
        if let Some(duplicate) = root.own_duplicate() {
            return Err(InvalidMessage::Duplicate(duplicate));
        }
        let [version, id, method, params, result, error] = members(root, &ENVELOPE)?;
        if version.and_then(Value::string).as_deref() != Some("2.0") {
            return Err(InvalidMessage::Version);
        }
        match (method, result, error) {
            (Some(method), None, None) => Self::call(id, method, params),
            (None, Some(result), None) if params.is_none() => Ok(Self::Response {
                id: Id::of(id)?,
                outcome: Outcome::Result(result),
            }),
            (None, None, Some(error)) if params.is_none() => Self::failure(id, error),
            (None, None, None) => Err(InvalidMessage::Empty),
            _ => Err(InvalidMessage::Mixed),
        }
    }

    fn call(
        id: Option<Value<'t>>,
        method: Value<'t>,
        params: Option<Value<'t>>,
    ) -> Result<Self, InvalidMessage> {
        let method = method.string().ok_or(InvalidMessage::Method)?;
        if let Some(params) = params {
            if params.kind() != Kind::Object {
                return Err(InvalidMessage::Params);
            }
            if let Some(duplicate) = params.first_duplicate() {
                return Err(InvalidMessage::Duplicate(duplicate));
            }
            let _: [_; PARAMETERS.len()] = members(params, &PARAMETERS)?;
        }
        Ok(match id {
            Some(_) => Self::Request {
                id: Id::of(id)?,
                method,
                params,
            },
            None => Self::Notification { method, params },
        })
    }

    /// An error answer may have no id, or null, if the request's could not be read (JSON-RPC 2.0 §5).
    fn failure(id: Option<Value<'t>>, error: Value<'t>) -> Result<Self, InvalidMessage> {
        if error.kind() != Kind::Object {
            return Err(InvalidMessage::Error);
        }
        let id = match id {
            Some(value) if value.kind() != Kind::Null => Id::of(id)?,
            _ => Id::null(),
        };
        Ok(Self::Response {
            id,
            outcome: Outcome::Error(error),
        })
    }
}

/// The members of these names; twice or in disguise is refused.
fn members<'t, const N: usize>(
    object: Value<'t>,
    names: &[&str; N],
) -> Result<[Option<Value<'t>>; N], InvalidMessage> {
    let mut found = [None; N];
    for member in object.children() {
        let at = member.key_span().start;
        let slot = names
            .iter()
            .zip(&mut found)
            .find(|(name, _)| member.is_named(name));
        match slot {
            Some((_, Some(_))) => return Err(InvalidMessage::Duplicate(DuplicateMember { at })),
            Some((_, empty)) => *empty = Some(member),
            None if is_disguised(member, names) => return Err(InvalidMessage::Disguised { at }),
            None => {}
        }
    }
    Ok(found)
}

/// Whether a reader that folds case would take the member for one of these names.
fn is_disguised(member: Value<'_>, names: &[&str]) -> bool {
    let Some(key) = member.key() else {
        return false;
    };
    names.iter().any(|name| folded(&key).eq(folded(name)))
}

/// Upper case first: it also takes U+017F to `s`; lower case takes U+212A to `k`.
fn folded(name: &str) -> impl Iterator<Item = char> {
    name.chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
}

/// A request's id: a string, an integer, or (only in errors) null.
#[derive(Clone, PartialEq, Eq)]
pub struct Id<'t> {
    raw: &'t [u8],
    key: IdKey<'t>,
}

#[derive(Clone, PartialEq, Eq)]
enum IdKey<'t> {
    Null,
    Number(&'t str),
    Text(Cow<'t, str>),
}

impl<'t> Id<'t> {
    fn of(value: Option<Value<'t>>) -> Result<Self, InvalidMessage> {
        let value = value.ok_or(InvalidMessage::Id)?;
        let raw = value.raw();
        if raw.len() > ID_BYTES_MAX {
            return Err(InvalidMessage::Id);
        }
        let key = match value.kind() {
            Kind::String => value.string().map(IdKey::Text),
            Kind::Number => std::str::from_utf8(raw)
                .ok()
                .and_then(integer)
                .map(IdKey::Number),
            _ => None,
        };
        let key = key.ok_or(InvalidMessage::Id)?;
        Ok(Self { raw, key })
    }

    fn null() -> Self {
        Self {
            raw: b"null",
            key: IdKey::Null,
        }
    }

    /// Its JSON text as it stands; `null` if an error has none.
    pub fn raw(&self) -> &'t [u8] {
        self.raw
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        self.key == IdKey::Null
    }

    /// A key for tables: `n:1`, `s:abc` or `null`. Two ids have the same key exactly if they mean the same,
    /// whatever their escapes.
    pub fn key(&self) -> String {
        match &self.key {
            IdKey::Null => "null".to_owned(),
            IdKey::Number(digits) => format!("n:{digits}"),
            IdKey::Text(text) => format!("s:{text}"),
        }
    }

    /// Its JSON text, built anew: the same for all ids of one meaning.
    pub fn canonical(&self) -> Vec<u8> {
        match &self.key {
            IdKey::Null => b"null".to_vec(),
            IdKey::Number(digits) => digits.as_bytes().to_vec(),
            IdKey::Text(text) => quote(text),
        }
    }
}

/// Ids are the client's to choose and may hold anything: only the kind is shown.
impl fmt::Debug for Id<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.key {
            IdKey::Null => "Id(null)",
            IdKey::Number(_) => "Id(number)",
            IdKey::Text(_) => "Id(string)",
        })
    }
}

/// The digits of an integer, with its sign; minus zero is zero.
fn integer(number: &str) -> Option<&str> {
    let digits = number.strip_prefix('-').unwrap_or(number);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(if digits == "0" { digits } else { number })
}
