//! The headers that mirror a message (MCP 2026-07-28, Streamable HTTP: Standard Request Headers, Custom Headers).
//!
//! A gateway in front may route by them while the server obeys the body, so both must say the same: what a message's
//! headers have to be follows from the message alone, and from the `x-mcp-header` annotations of a tool's
//! `inputSchema`. The same function serves for checking what a client sent and for making them anew after a rewrite.
//! A header that mirrors nothing in the body is a mismatch as well: nobody could say what it means.
//!
//! Values may be PHI; errors name only the header, and of `Mcp-Param-*` not even that.

mod annotations;
mod value;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use crate::json::{DuplicateMember, Kind, Value};
use crate::jsonrpc::Message;

pub use annotations::{ANNOTATIONS_MAX, Annotations, InvalidAnnotation, PATH_BYTES_MAX};
pub use value::{Malformed, decode, encode};

/// `MCP-Protocol-Version`, in lower case as header maps have names.
pub const VERSION: &str = "mcp-protocol-version";
/// `Mcp-Method`.
pub const METHOD: &str = "mcp-method";
/// `Mcp-Name`.
pub const NAME: &str = "mcp-name";
/// What the name of every `Mcp-Param-*` begins with.
pub const PARAM: &str = "mcp-param-";

/// The member of `params._meta` that `MCP-Protocol-Version` mirrors.
const VERSION_MEMBER: &str = "io.modelcontextprotocol/protocolVersion";

/// One header that a message must have.
#[derive(Clone, PartialEq, Eq)]
pub struct Mirror<'t> {
    name: Cow<'t, str>,
    value: Cow<'t, str>,
    kind: MirrorKind,
    required: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum MirrorKind {
    /// A word as it is.
    Plain,
    /// Text, in base64 where it has to be.
    Text,
    /// As text, compared as a number.
    Integer,
}

/// Why no headers can be made for a message. Never repeats content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unmirrorable {
    /// A member on the way to a value is there twice.
    Duplicate(DuplicateMember),
    /// An annotated argument is neither string, boolean nor integer of at most 2^53-1; or a name or URI is no string.
    NotPrimitive,
    /// A method or version that no header can hold as it is.
    NotPlain,
}

/// How headers and message differ. Never repeats content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mismatch {
    /// A header is missing.
    Missing(&'static str),
    /// A header is there twice.
    Repeated(&'static str),
    /// A header says something else than the body.
    Differs(&'static str),
    /// A header holds what no header may, or base64 that is none.
    Malformed(&'static str),
    /// A header mirrors nothing that stands in the body.
    Unexpected(&'static str),
}

/// The headers that a message must have; for a notification `Mcp-Method` may be missing, and a response has none.
///
/// # Errors
/// [`Unmirrorable`]: then the message must not go on.
pub fn mirrors<'t>(
    message: &'t Message<'_>,
    annotations: &'t Annotations,
) -> Result<Vec<Mirror<'t>>, Unmirrorable> {
    let (method, params, required) = match message {
        Message::Request { method, params, .. } => (method, *params, true),
        Message::Notification { method, params } => (method, *params, false),
        Message::Response { .. } => return Ok(Vec::new()),
    };
    let mut found = vec![Mirror {
        required,
        ..Mirror::plain(METHOD, Cow::Borrowed(method.as_ref()))?
    }];
    let Some(params) = params else {
        return Ok(found);
    };
    if let Some(meta) = params.get("_meta")?
        && let Some(version) = meta.get(VERSION_MEMBER)?
    {
        let version = version.string().ok_or(Unmirrorable::NotPlain)?;
        found.push(Mirror::plain(VERSION, version)?);
    }
    if let Some(member) = named_by(method)
        && let Some(name) = params.get(member)?
    {
        let name = name.string().ok_or(Unmirrorable::NotPrimitive)?;
        found.push(Mirror::of(Cow::Borrowed(NAME), name, MirrorKind::Text));
    }
    if method == "tools/call"
        && let Some(arguments) = params.get("arguments")?
    {
        for (header, value) in annotations.values(arguments)? {
            found.extend(Mirror::of_argument(header, value)?);
        }
    }
    Ok(found)
}

/// Which member of `params` `Mcp-Name` mirrors.
fn named_by(method: &str) -> Option<&'static str> {
    match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" => Some("uri"),
        // SEP-2663, tasks extension.
        "tasks/get" | "tasks/update" | "tasks/cancel" => Some("taskId"),
        _ => None,
    }
}

/// Compares the headers of a request, as (name in any case, value), with what they must be. Other headers are passed over.
///
/// # Errors
/// The first [`Mismatch`]; the answer to it is 400 with -32020.
pub fn check<'h>(
    mirrors: &[Mirror<'_>],
    headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
) -> Result<(), Mismatch> {
    let mut seen = vec![false; mirrors.len()];
    for (name, value) in headers {
        let Some(shown) = shown(name) else { continue };
        let mirror = mirrors
            .iter()
            .zip(&mut seen)
            .find(|(mirror, _)| mirror.name.eq_ignore_ascii_case(name));
        let Some((mirror, seen)) = mirror else {
            // Older revisions have the version in the header alone.
            if shown == VERSION {
                continue;
            }
            return Err(Mismatch::Unexpected(shown));
        };
        if std::mem::replace(seen, true) {
            return Err(Mismatch::Repeated(shown));
        }
        match mirror.is_mirrored_by(value) {
            Ok(true) => {}
            Ok(false) => return Err(Mismatch::Differs(shown)),
            Err(Malformed) => return Err(Mismatch::Malformed(shown)),
        }
    }
    let missing = mirrors
        .iter()
        .zip(&seen)
        .find(|(mirror, seen)| mirror.required && !**seen);
    match missing.and_then(|(mirror, _)| shown(&mirror.name)) {
        Some(name) => Err(Mismatch::Missing(name)),
        None => Ok(()),
    }
}

/// Whether a header, its name in any case, is one of those that mirror a message.
pub fn is_mirror(name: &str) -> bool {
    shown(name).is_some()
}

/// The name that an error may show; `None` for headers that mirror nothing.
fn shown(name: &str) -> Option<&'static str> {
    let starts = |prefix: &str| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    [VERSION, METHOD, NAME]
        .into_iter()
        .find(|known| name.eq_ignore_ascii_case(known))
        .or_else(|| starts(PARAM).then_some("mcp-param-*"))
}

impl<'t> Mirror<'t> {
    fn of(name: Cow<'t, str>, value: Cow<'t, str>, kind: MirrorKind) -> Self {
        Self {
            name,
            value,
            kind,
            required: true,
        }
    }

    fn plain(name: &'static str, value: Cow<'t, str>) -> Result<Self, Unmirrorable> {
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Unmirrorable::NotPlain);
        }
        Ok(Self::of(Cow::Borrowed(name), value, MirrorKind::Plain))
    }

    /// Null mirrors as no header at all.
    fn of_argument(header: &'t str, value: Value<'t>) -> Result<Option<Self>, Unmirrorable> {
        let (text, kind) = match value.kind() {
            Kind::Null => return Ok(None),
            Kind::String => (value.string(), MirrorKind::Text),
            Kind::Bool => (
                std::str::from_utf8(value.raw()).ok().map(Cow::Borrowed),
                MirrorKind::Text,
            ),
            Kind::Number => (
                value::integer(value.raw()).map(|number| Cow::Owned(number.to_string())),
                MirrorKind::Integer,
            ),
            Kind::Array | Kind::Object => (None, MirrorKind::Text),
        };
        let text = text.ok_or(Unmirrorable::NotPrimitive)?;
        Ok(Some(Self::of(Cow::Borrowed(header), text, kind)))
    }

    /// The header's name, in lower case.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What stands in the body, as text. May be PHI.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The header's value, in base64 where the text can't stand in a header as it is. May be PHI.
    pub fn header_value(&self) -> Cow<'_, str> {
        match self.kind {
            MirrorKind::Plain => Cow::Borrowed(&self.value),
            MirrorKind::Text | MirrorKind::Integer => encode(&self.value),
        }
    }

    /// Whether a header's value says what the body says.
    ///
    /// # Errors
    /// [`Malformed`] if it says nothing that a header may say.
    pub fn is_mirrored_by(&self, header: &[u8]) -> Result<bool, Malformed> {
        match self.kind {
            MirrorKind::Plain => Ok(header.trim_ascii() == self.value.as_bytes()),
            MirrorKind::Text => Ok(decode(header)? == self.value),
            MirrorKind::Integer => {
                let number = value::integer(decode(header)?.as_bytes());
                Ok(number.is_some_and(|number| number.to_string() == self.value))
            }
        }
    }
}

/// Values may be PHI, and so may a parameter's name.
impl fmt::Debug for Mirror<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror")
            .field("name", &shown(&self.name))
            .finish_non_exhaustive()
    }
}

impl From<DuplicateMember> for Unmirrorable {
    fn from(duplicate: DuplicateMember) -> Self {
        Self::Duplicate(duplicate)
    }
}

impl fmt::Display for Unmirrorable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate(duplicate) => duplicate.fmt(f),
            Self::NotPrimitive => f.write_str(
                "what a header mirrors must be a string, a boolean or an integer of at most 2^53-1",
            ),
            Self::NotPlain => f.write_str("method and version must be visible ascii"),
        }
    }
}

impl std::error::Error for Unmirrorable {}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "header {name} is missing: mirror the body in it"),
            Self::Repeated(name) => write!(f, "header {name} is there twice: send it once"),
            Self::Differs(name) => write!(f, "header {name} does not say what the body says"),
            Self::Malformed(name) => write!(
                f,
                "header {name} is neither visible ascii nor base64 in =?base64?…?="
            ),
            Self::Unexpected(name) => write!(f, "header {name} mirrors nothing in the body"),
        }
    }
}

impl std::error::Error for Mismatch {}
