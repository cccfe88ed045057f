//! Every refusal, as one table: HTTP status, JSON-RPC code, the words that the client reads, the metric's label.
//!
//! The words are fixed here. None is made of anything that a client, a token or an upstream said (but for the revision
//! that a client asked for, which its era wants repeated), so that no answer tells more than the caller may know. What happened in detail stands in the audit event of the same reference.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use uuid::Uuid;

use crate::auth::problem::Problem;
use crate::exchange::{ANSWER, Asks, Way};
use crate::rewrite::RewriteError;
use crate::rewrite::rounds::UNKNOWN_STATE;
use crate::upstream::UpstreamError;

/// How long a client should wait when the audit trail or the upstream is out of reach.
const RETRY_AFTER_SECONDS: u16 = 5;

/// The nonce for the client's next proof (RFC 9449 §8.1).
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No, a bad or an ended token, or a second factor is asked for; holds the challenge.
    Unauthorized(HeaderValue),
    /// The same, with a nonce that the next proof must carry (RFC 9449 §9).
    NonceWanted {
        /// The challenge.
        challenge: HeaderValue,
        /// The nonce.
        nonce: String,
    },
    /// A second factor is asked for, which the person can prove on a page here.
    SecondFactor(Box<Way>),
    /// `Origin` or `Host` is none of ours.
    ForeignOrigin,
    /// Nothing is served at this path.
    NotFound,
    /// The method is not one of the transport's.
    MethodNotAllowed,
    /// The MCP session is unknown, ended or another principal's.
    UnknownSession,
    /// The request's framing or a header is ambiguous or malformed.
    BadRequest(&'static str),
    /// Header or body larger than its bound.
    TooLarge,
    /// The body did not arrive in time.
    TooSlow,
    /// The body is no JSON.
    MediaType,
    /// A revision of MCP that this endpoint does not carry.
    Revision,
    /// A revision of MCP that the upstream does not speak, of a client whose era it does (MCP 2026-07-28, Versioning).
    UnsupportedRevision {
        /// What it speaks.
        supported: Vec<String>,
        /// What the client asked for, in its own words, which were bounded.
        requested: String,
    },
    /// The headers do not say what the body says (MCP 2026-07-28, Server Validation); in words that name the header.
    HeaderMismatch(&'static str),
    /// A method that the request's revision does not have.
    NoSuchMethod,
    /// A `requestState` that was not given out to this principal for this request, or too long ago.
    UnknownState,
    /// The body can't be parsed.
    Parse,
    /// The message is ambiguous, or not what its method takes.
    InvalidRequest(&'static str),
    /// The policy said no.
    Denied,
    /// A record's integrity could not be established.
    Integrity,
    /// A PHI value could not be sealed or opened.
    Vault,
    /// The event could not be made durable.
    Audit,
    /// The identity provider's keys are out of reach, so that no token can be judged.
    IdentityProvider,
    /// The upstream is down, slow or broken.
    Upstream(UpstreamError),
    /// The upstream refused the request as HTTP, in words that nobody judged.
    UpstreamRefused(StatusCode),
    /// The user has as many login sessions as may be (`sessions.at_limit: refuse_new`): another login would not help.
    TooManySessions,
    /// More requests at once than `listen.limits.requests_max`.
    Busy,
    /// An endpoint of OAuth's says no, in its own words.
    OAuth(Problem),
}

/// Refusals as JSON-RPC errors carry these codes.
mod code {
    pub(super) const PARSE: i32 = -32700;
    pub(super) const INVALID: i32 = -32600;
    pub(super) const NO_SUCH_METHOD: i32 = -32601;
    pub(super) const INVALID_PARAMS: i32 = -32602;
    pub(super) const HEADER_MISMATCH: i32 = -32020;
    pub(super) const UNSUPPORTED_REVISION: i32 = -32022;
    /// MCP 2025-11-25, URL Elicitation Required Error.
    pub(super) const ELICITATION: i32 = -32042;
    pub(super) const DENIED: i32 = -32050;
    pub(super) const INTEGRITY: i32 = -32051;
    pub(super) const VAULT: i32 = -32052;
    pub(super) const AUDIT: i32 = -32053;
    pub(super) const UPSTREAM: i32 = -32054;
}

/// One row of the table.
struct Row {
    status: StatusCode,
    /// None where the answer is HTTP's alone.
    code: Option<i32>,
    label: &'static str,
    message: &'static str,
}

const fn row(
    status: StatusCode,
    code: Option<i32>,
    label: &'static str,
    message: &'static str,
) -> Row {
    Row {
        status,
        code,
        label,
        message,
    }
}

impl Refusal {
    /// The JSON-RPC error's code; none where the answer is HTTP's alone.
    pub fn code(&self) -> Option<i32> {
        self.row().code
    }

    fn row(&self) -> Row {
        use StatusCode as S;
        match self {
            Self::Unauthorized(_) | Self::NonceWanted { .. } => row(
                S::UNAUTHORIZED,
                None,
                "unauthorized",
                "authentication is required",
            ),
            // In the words of a client that opens pages it is no refusal of HTTP's, which it would meet with another login.
            Self::SecondFactor(way) => match way.asks {
                Asks::Error | Asks::Result => row(
                    S::OK,
                    Some(code::ELICITATION),
                    "unauthorized",
                    "a second factor is needed: open the page, then try again",
                ),
                Asks::Challenge => row(
                    S::UNAUTHORIZED,
                    None,
                    "unauthorized",
                    "a second factor is needed",
                ),
            },
            Self::ForeignOrigin => row(
                S::FORBIDDEN,
                None,
                "foreign_origin",
                "Origin or Host is not allowed here",
            ),
            Self::NotFound => row(S::NOT_FOUND, None, "not_found", "nothing is served here"),
            Self::MethodNotAllowed => row(
                S::METHOD_NOT_ALLOWED,
                None,
                "method",
                "use POST, GET or DELETE",
            ),
            Self::UnknownSession => row(
                S::NOT_FOUND,
                Some(code::INVALID),
                "session",
                "no such MCP session: initialize again",
            ),
            Self::BadRequest(what) => row(S::BAD_REQUEST, Some(code::INVALID), "framing", what),
            Self::TooLarge => row(
                S::PAYLOAD_TOO_LARGE,
                Some(code::INVALID),
                "too_large",
                "the request is larger than allowed",
            ),
            Self::TooSlow => row(
                S::REQUEST_TIMEOUT,
                Some(code::INVALID),
                "too_slow",
                "the request did not arrive in time",
            ),
            Self::MediaType => row(
                S::UNSUPPORTED_MEDIA_TYPE,
                Some(code::INVALID),
                "media_type",
                "send Content-Type: application/json",
            ),
            // Plain text on purpose: clients of newer revisions fall back to `initialize` only if this is no JSON-RPC.
            Self::Revision => row(
                S::BAD_REQUEST,
                None,
                "revision",
                "this revision of MCP is not served here: initialize",
            ),
            Self::UnsupportedRevision { .. } => row(
                S::BAD_REQUEST,
                Some(code::UNSUPPORTED_REVISION),
                "revision",
                "Unsupported protocol version",
            ),
            Self::HeaderMismatch(what) => row(
                S::BAD_REQUEST,
                Some(code::HEADER_MISMATCH),
                "header_mismatch",
                what,
            ),
            Self::NoSuchMethod => row(
                S::NOT_FOUND,
                Some(code::NO_SUCH_METHOD),
                "no_such_method",
                "Method not found",
            ),
            Self::UnknownState => row(
                S::NOT_FOUND,
                Some(code::INVALID_PARAMS),
                "state",
                "no such requestState: send the request anew without it",
            ),
            Self::Parse => row(
                S::BAD_REQUEST,
                Some(code::PARSE),
                "parse",
                "the body is not one valid JSON text",
            ),
            Self::InvalidRequest(what) => row(S::BAD_REQUEST, Some(code::INVALID), "invalid", what),
            Self::Denied => row(
                S::OK,
                Some(code::DENIED),
                "denied",
                "not permitted by policy",
            ),
            Self::Integrity => row(
                S::OK,
                Some(code::INTEGRITY),
                "integrity",
                "the record's integrity could not be established: nothing of it is released",
            ),
            Self::Vault => row(
                S::OK,
                Some(code::VAULT),
                "vault",
                "a protected value could not be sealed or opened",
            ),
            Self::Audit => row(
                S::SERVICE_UNAVAILABLE,
                Some(code::AUDIT),
                "audit",
                "the audit trail can't be written: nothing is released without its record",
            ),
            Self::IdentityProvider => row(
                S::SERVICE_UNAVAILABLE,
                None,
                "identity_provider",
                "the identity provider's keys are out of reach",
            ),
            Self::Upstream(UpstreamError::TooSlow) => row(
                S::GATEWAY_TIMEOUT,
                Some(code::UPSTREAM),
                "upstream",
                "the MCP server did not answer in time",
            ),
            // Nobody reads it.
            Self::Upstream(UpstreamError::Cancelled) => row(
                S::BAD_REQUEST,
                Some(code::UPSTREAM),
                "cancelled",
                "the client cancelled the request",
            ),
            Self::Upstream(_) => row(
                S::BAD_GATEWAY,
                Some(code::UPSTREAM),
                "upstream",
                "the MCP server gave no usable answer",
            ),
            Self::UpstreamRefused(status) => row(
                *status,
                Some(code::UPSTREAM),
                "upstream_refused",
                "the MCP server refused the request",
            ),
            Self::TooManySessions => row(
                S::FORBIDDEN,
                None,
                "too_many_sessions",
                "as many sessions of yours are open as may be: end one, or wait until one is over",
            ),
            Self::Busy => row(
                S::SERVICE_UNAVAILABLE,
                None,
                "busy",
                "too many requests at once: try again",
            ),
            Self::OAuth(problem) => row(problem.status, None, problem.error, problem.description),
        }
    }

    /// The metric's label for the outcome: one of a closed set.
    pub fn label(&self) -> &'static str {
        self.row().label
    }

    /// Whether it can answer one message among several, or on a stream: else it is about the whole HTTP request.
    pub fn is_answer(&self) -> bool {
        self.row().code.is_some() && *self != Self::UnknownSession
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.row().status
    }

    /// The answer to a request whose JSON-RPC id stands in `id` as it was written; none answers a notification,
    /// a GET or a DELETE, where a policy's no is HTTP's 403.
    pub fn answer(&self, id: Option<&[u8]>, reference: Uuid) -> Reply {
        if let Self::OAuth(problem) = self {
            return problem.reply();
        }
        let row = self.row();
        let status = match self {
            Self::Denied if id.is_none() => StatusCode::FORBIDDEN,
            _ => row.status,
        };
        let mut headers = HeaderMap::new();
        self.headers(&mut headers);
        let (body, media) = match row.code {
            Some(_) => (self.message(id, reference), "application/json"),
            None => (
                format!("{}\n", row.message).into_bytes(),
                "text/plain; charset=utf-8",
            ),
        };
        put(&mut headers, header::CONTENT_TYPE, media);
        Reply {
            status,
            headers,
            body: Bytes::from(body),
        }
    }

    /// The refusal as one JSON-RPC error message, for a stream that is already under way.
    pub fn message(&self, id: Option<&[u8]>, reference: Uuid) -> Vec<u8> {
        let row = self.row();
        let mut data = format!(r#""reference":"{reference}""#).into_bytes();
        if let Self::UnsupportedRevision {
            supported,
            requested,
        } = self
        {
            data.extend_from_slice(br#","supported":["#);
            for (position, revision) in supported.iter().enumerate() {
                data.extend_from_slice(if position == 0 { b"" } else { b"," });
                safeguard_wire::json::quote_into(revision, &mut data);
            }
            data.extend_from_slice(br#"],"requested":"#);
            safeguard_wire::json::quote_into(requested, &mut data);
        }
        if let Self::SecondFactor(way) = self {
            if way.asks == Asks::Result {
                return input_required(id, way);
            }
            data.extend_from_slice(br#","elicitations":["#);
            elicitation(way, &mut data);
            data.push(b']');
        }
        error(id, row.code.unwrap_or(code::DENIED), row.message, &data)
    }

    fn headers(&self, headers: &mut HeaderMap) {
        match self {
            Self::Unauthorized(challenge) => {
                headers.insert(header::WWW_AUTHENTICATE, challenge.clone());
            }
            Self::SecondFactor(way) if way.asks == Asks::Challenge => {
                headers.insert(header::WWW_AUTHENTICATE, way.challenge.clone());
            }
            Self::NonceWanted { challenge, nonce } => {
                headers.insert(header::WWW_AUTHENTICATE, challenge.clone());
                put(headers, DPOP_NONCE, nonce);
            }
            Self::MethodNotAllowed => put(headers, header::ALLOW, "POST, GET, DELETE"),
            Self::Audit
            | Self::Busy
            | Self::IdentityProvider
            | Self::Upstream(UpstreamError::Unreachable) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
            }
            _ => {}
        }
    }
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn error(id: Option<&[u8]>, code: i32, message: &str, data: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(160);
    body.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    body.extend_from_slice(id.unwrap_or(b"null"));
    body.extend_from_slice(format!(r#","error":{{"code":{code},"message":"#).as_bytes());
    safeguard_wire::json::quote_into(message, &mut body);
    body.extend_from_slice(br#","data":{"#);
    body.extend_from_slice(data);
    body.extend_from_slice(b"}}}");
    body
}

/// What a client is asked: the parameters of an elicitation by URL.
fn elicitation(way: &Way, to: &mut Vec<u8>) {
    let quote = safeguard_wire::json::quote_into;
    to.extend_from_slice(br#"{"mode":"url","elicitationId":"#);
    quote(&way.id, to);
    to.extend_from_slice(br#","url":"#);
    quote(&way.url, to);
    to.extend_from_slice(br#","message":"#);
    quote(way.message(), to);
    to.push(b'}');
}

/// The same as a result of the modern revision (MCP 2026-07-28, Multi Round-Trip Requests).
fn input_required(id: Option<&[u8]>, way: &Way) -> Vec<u8> {
    let mut body = br#"{"jsonrpc":"2.0","id":"#.to_vec();
    body.extend_from_slice(id.unwrap_or(b"null"));
    body.extend_from_slice(br#","result":{"resultType":"input_required","inputRequests":{"#);
    safeguard_wire::json::quote_into(ANSWER, &mut body);
    body.extend_from_slice(br#":{"method":"elicitation/create","params":"#);
    elicitation(way, &mut body);
    body.extend_from_slice(b"}}}}");
    body
}

/// A whole answer of our own.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// Headers, without those of the framing.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl From<UpstreamError> for Refusal {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
    }
}

impl From<&RewriteError> for Refusal {
    fn from(error: &RewriteError) -> Self {
        match error {
            RewriteError::Denied(UNKNOWN_STATE) => Self::UnknownState,
            RewriteError::Denied(_) => Self::Denied,
            RewriteError::Integrity(_) => Self::Integrity,
            RewriteError::Vault(_) => Self::Vault,
            RewriteError::Invalid(what) => Self::InvalidRequest(what),
            RewriteError::Upstream(_) => Self::Upstream(UpstreamError::Invalid),
        }
    }
}

/// The longest that any wait for an own answer's bytes to leave may take.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn body(refusal: &Refusal, id: Option<&[u8]>) -> serde_json::Value {
        serde_json::from_slice(&refusal.answer(id, Uuid::nil()).body).unwrap()
    }

    #[test]
    fn a_denial_is_a_result_for_a_request_and_forbidden_for_a_notification() {
        let request = Refusal::Denied.answer(Some(b"7"), Uuid::nil());
        assert_eq!(request.status, StatusCode::OK);
        assert_eq!(body(&Refusal::Denied, Some(b"7"))["error"]["code"], -32050);
        assert_eq!(body(&Refusal::Denied, Some(b"7"))["id"], 7);
        assert_eq!(
            Refusal::Denied.answer(None, Uuid::nil()).status,
            StatusCode::FORBIDDEN
        );
    }

    #[test]
    fn codes_and_statuses_are_the_contracts() {
        let rows = [
            (Refusal::Integrity, 200, -32051),
            (Refusal::Vault, 200, -32052),
            (Refusal::Audit, 503, -32053),
            (Refusal::Upstream(UpstreamError::Broken), 502, -32054),
            (Refusal::Upstream(UpstreamError::TooSlow), 504, -32054),
            (Refusal::Parse, 400, -32700),
            (Refusal::InvalidRequest("x"), 400, -32600),
            (Refusal::TooLarge, 413, -32600),
        ];
        for (refusal, status, code) in rows {
            assert_eq!(refusal.status().as_u16(), status, "{refusal:?}");
            assert_eq!(
                body(&refusal, Some(b"\"a\""))["error"]["code"],
                code,
                "{refusal:?}"
            );
        }
    }

    #[test]
    fn a_newer_revision_is_refused_in_words_that_are_no_json_rpc() {
        let reply = Refusal::Revision.answer(Some(b"1"), Uuid::nil());
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert!(serde_json::from_slice::<serde_json::Value>(&reply.body).is_err());
    }

    #[test]
    fn an_unwritable_trail_tells_when_to_come_back() {
        assert!(
            Refusal::Audit
                .answer(Some(b"1"), Uuid::nil())
                .headers
                .contains_key(header::RETRY_AFTER)
        );
    }
}
