//! What counts as the protocol's own: words from closed sets, and text written like a media type, a time, a trace.
//!
//! Whatever is not recognised here is judged like any text. So a set that is too small costs a word that may be
//! withheld, one that is too wide would let a name pass as structure.

use crate::json::{Kind, Value};

/// Longest text that counts as a media type or a name, in bytes.
pub(super) const WORD_BYTES_MAX: usize = 128;
/// Longest text that counts as a time, in bytes.
const TIME_BYTES_MAX: usize = 40;
/// Most digits of an icon's width or height.
const SIZE_DIGITS_MAX: usize = 5;

/// `type` of content blocks.
pub(super) const BLOCKS: &[&str] = &[
    "text",
    "image",
    "audio",
    "resource",
    "resource_link",
    "tool_use",
    "tool_result",
];
pub(super) const ROLES: &[&str] = &["user", "assistant"];
/// `level` of log messages (RFC 5424).
pub(super) const LEVELS: &[&str] = &[
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];
/// `resultType`, and the tasks extension's.
pub(super) const RESULTS: &[&str] = &["complete", "input_required", "task"];
pub(super) const SCOPES: &[&str] = &["public", "private"];
/// `status` of tasks.
pub(super) const STATUSES: &[&str] = &[
    "working",
    "input_required",
    "completed",
    "failed",
    "cancelled",
];
pub(super) const SUPPORTS: &[&str] = &["forbidden", "optional", "required"];
pub(super) const THEMES: &[&str] = &["light", "dark"];
pub(super) const REFERENCES: &[&str] = &["ref/prompt", "ref/resource"];
/// `action` of an elicitation's answer.
pub(super) const ACTIONS: &[&str] = &["accept", "decline", "cancel"];
/// `mode` of an elicitation.
pub(super) const MODES: &[&str] = &["form", "url"];
/// `mode` of a sampling's `toolChoice`.
pub(super) const CHOICES: &[&str] = &["auto", "required", "none"];
pub(super) const CONTEXTS: &[&str] = &["none", "thisServer", "allServers"];
/// `stopReason` of a sampling's answer.
pub(super) const STOPS: &[&str] = &["endTurn", "stopSequence", "maxTokens", "toolUse"];
/// Methods that a server may ask for in `inputRequests`.
pub(super) const QUESTIONS: &[&str] = &[
    "sampling/createMessage",
    "elicitation/create",
    "roots/list",
    "ping",
];
/// `type` in JSON Schema.
pub(super) const TYPES: &[&str] = &[
    "null", "boolean", "object", "array", "number", "integer", "string",
];
/// `format` and `contentEncoding` in JSON Schema (2020-12, Validation §7.3, §8.3).
pub(super) const FORMATS: &[&str] = &[
    "date-time",
    "date",
    "time",
    "duration",
    "email",
    "idn-email",
    "hostname",
    "idn-hostname",
    "ipv4",
    "ipv6",
    "uri",
    "uri-reference",
    "iri",
    "iri-reference",
    "uuid",
    "uri-template",
    "json-pointer",
    "relative-json-pointer",
    "regex",
    "base64",
    "base64url",
    "binary",
    "byte",
    "int32",
    "int64",
    "float",
    "double",
    "password",
];

/// Registered top-level media types (RFC 6838 §4.2) and `x-`.
const MEDIA: [&str; 10] = [
    "application",
    "audio",
    "font",
    "haptics",
    "image",
    "message",
    "model",
    "multipart",
    "text",
    "video",
];

pub(super) fn is_one_of(value: Value<'_>, words: &[&str]) -> bool {
    value
        .string()
        .is_some_and(|text| words.contains(&text.as_ref()))
}

/// One of them, or an array of them.
pub(super) fn are_of(value: Value<'_>, words: &[&str]) -> bool {
    match value.kind() {
        Kind::Array => value.children().all(|word| is_one_of(word, words)),
        _ => is_one_of(value, words),
    }
}

/// `type/subtype` with parameters, as RFC 9110 §8.3.1 writes them but without quoted strings.
pub(super) fn is_media_type(value: Value<'_>) -> bool {
    value.string().is_some_and(|text| {
        let mut parts = text.split(';');
        let (kind, subtype) = parts
            .next()
            .and_then(|whole| whole.split_once('/'))
            .unwrap_or_default();
        let known = MEDIA.iter().any(|media| kind.eq_ignore_ascii_case(media));
        text.len() <= WORD_BYTES_MAX
            && known
            && is_media_token(subtype)
            && parts.all(|parameter| {
                let (name, value) = parameter.split_once('=').unwrap_or_default();
                is_media_token(name.strip_prefix(' ').unwrap_or(name)) && is_media_token(value)
            })
    })
}

fn is_media_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
}

/// A date with a time (RFC 3339): a date alone may be one of birth.
pub(super) fn is_time(value: Value<'_>) -> bool {
    value.string().is_some_and(|text| {
        let (date, time) = text.split_once(['T', 't']).unwrap_or_default();
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let date: Vec<&str> = date.split('-').collect();
        let lengths: Vec<usize> = date.iter().map(|part| part.len()).collect();
        text.len() <= TIME_BYTES_MAX
            && lengths == [4, 2, 2]
            && date.iter().all(|part| digits(part))
            && !time.is_empty()
            && time
                .bytes()
                .all(|byte| byte.is_ascii_digit() || b":.+-Zz".contains(&byte))
    })
}

/// `traceparent` (W3C Trace Context §3.2): `00-32 hex-16 hex-2 hex`.
pub(super) fn is_trace_parent(value: Value<'_>) -> bool {
    value.string().is_some_and(|text| {
        let lengths = text.split('-').map(str::len);
        lengths.eq([2, 32, 16, 2])
            && text
                .bytes()
                .all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
    })
}

/// An array of names of members.
pub(super) fn are_names(value: Value<'_>) -> bool {
    value.kind() == Kind::Array
        && value
            .children()
            .all(|name| name.string().is_some_and(|name| is_name(&name)))
}

/// Objects in each other whose leaves are flags: capabilities.
pub(super) fn are_flags(value: Value<'_>) -> bool {
    value.descendants().all(|inner| {
        let named = inner == value || inner.key().is_none_or(|name| is_name(&name));
        named && matches!(inner.kind(), Kind::Object | Kind::Bool | Kind::Null)
    })
}

/// Sizes of icons: `any` or `48x48`.
pub(super) fn are_sizes(value: Value<'_>) -> bool {
    let is_number = |text: &str| {
        (1..=SIZE_DIGITS_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let is_size = |text: &str| match text.split_once('x') {
        Some((width, height)) => is_number(width) && is_number(height),
        None => text == "any",
    };
    value.kind() == Kind::Array
        && value
            .children()
            .all(|size| size.string().is_some_and(|size| is_size(&size)))
}

/// Whether a text can be a member's name: a letter first, no space.
fn is_name(name: &str) -> bool {
    name.len() <= WORD_BYTES_MAX
        && name.starts_with(|first: char| first.is_alphabetic() || "_$@".contains(first))
        && name
            .chars()
            .all(|other| other.is_alphanumeric() || "_-.$:/@".contains(other))
}
