//! What browsers are told, so that a page of another origin can be an MCP client: the Fetch standard's CORS protocol.
//!
//! Origins are named one by one; `*` is none. A request of one is marked before anything else is looked at, and every
//! answer to a marked request, refusals too, may be read by its page: a challenge that the page can't read would
//! leave it without a way to sign in.

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};

use crate::gate::Face;
use crate::refuse::Reply;

/// What pages may read of an answer's headers beside those that Fetch always shows.
const EXPOSED: &str = "Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate, Retry-After";
/// The methods of the transport.
const METHODS: &str = "GET, POST, DELETE";
/// How long a browser may remember a preflight, in seconds: as long as the shortest of them does.
const REMEMBERED_SECONDS: &str = "600";
/// The headers of MCP's transports that pages may send; with [`PARAMETERS`], whatever begins with it.
const SENT: [&str; 10] = [
    "accept",
    "authorization",
    "content-type",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "traceparent",
    "tracestate",
];
/// Mirrored parameters (MCP 2026-07-28).
const PARAMETERS: &str = "mcp-param-";

/// The origin of a request whose page may read the answer.
#[derive(Debug, Clone)]
struct Reader(HeaderValue);

/// Marks a request of an origin whose pages may read what is answered.
pub fn mark(request: &mut RequestHeader, face: &Face) {
    let reader = request.headers.get(header::ORIGIN).filter(|origin| {
        let named = |ours: &String| origin.as_bytes().eq_ignore_ascii_case(ours.as_bytes());
        face.readers.iter().any(named)
    });
    if let Some(reader) = reader.cloned() {
        request.extensions_mut().insert(Reader(reader));
    }
}

/// Adds what lets the page read this answer.
pub fn allow(request: &RequestHeader, answer: &mut ResponseHeader) -> Option<()> {
    let Some(Reader(origin)) = request.extensions.get() else {
        return Some(());
    };
    let rows = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()),
        // Client certificates are credentials: without this a page can't send its own.
        (
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        ),
        (
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(EXPOSED),
        ),
        (header::VARY, HeaderValue::from_static("Origin")),
    ];
    for (name, value) in rows {
        answer.insert_header(name, value).ok()?;
    }
    Some(())
}

/// The answer to a preflight of a marked request; none where this is no preflight. It needs neither token nor
/// certificate, for browsers send none, and says nothing but what this file says.
pub fn preflight(request: &RequestHeader) -> Option<Reply> {
    let is_preflight = request.method == Method::OPTIONS
        && request.extensions.get::<Reader>().is_some()
        && request
            .headers
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if !is_preflight {
        return None;
    }
    let mut headers = HeaderMap::new();
    let mut put = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    put(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    put(header::ACCESS_CONTROL_MAX_AGE, REMEMBERED_SECONDS);
    let asked = request.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let asked = asked.and_then(|names| names.to_str().ok()).unwrap_or("");
    let granted: Vec<String> = asked
        .split(',')
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| SENT.contains(&name.as_str()) || name.starts_with(PARAMETERS))
        .collect();
    if let Ok(granted) = HeaderValue::from_str(&granted.join(", ")) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, granted);
    }
    Some(Reply {
        status: StatusCode::NO_CONTENT,
        headers,
        body: bytes::Bytes::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face() -> Face {
        Face {
            authority: "agents.example.com".into(),
            origins: vec!["https://agents.example.com".into()],
            readers: vec!["https://app.example.com".into()],
            path: "/mcp".into(),
            account_hosts: vec!["agents.example.com".into(), "sidecar.clinic.svc".into()],
            revisions: None,
        }
    }

    fn request(method: &str, headers: &[(&'static str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build(method, b"/mcp", None).unwrap();
        for (name, value) in headers {
            request.append_header(*name, *value).unwrap();
        }
        mark(&mut request, &face());
        request
    }

    fn allowed(origin: &str) -> Option<String> {
        let request = request("POST", &[("origin", origin)]);
        let mut answer = ResponseHeader::build(401, None).unwrap();
        allow(&request, &mut answer).unwrap();
        let value = answer.headers.get("access-control-allow-origin")?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn an_origin_is_allowed_exactly_or_not_at_all() {
        let ours = "https://app.example.com";
        assert_eq!(allowed(ours).as_deref(), Some(ours));
        for other in [
            "null",
            "https://app.example.com.evil.example",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://agents.example.com",
            "*",
        ] {
            assert_eq!(allowed(other), None, "{other}");
        }
    }

    #[test]
    fn a_preflight_is_granted_the_transports_headers_and_no_other() {
        let request = request(
            "OPTIONS",
            &[
                ("origin", "https://app.example.com"),
                ("access-control-request-method", "POST"),
                (
                    "access-control-request-headers",
                    "Authorization,mcp-session-id, x-patient ,Mcp-Param-region",
                ),
            ],
        );
        let reply = preflight(&request).unwrap();
        assert_eq!(
            reply.headers["access-control-allow-headers"],
            "authorization, mcp-session-id, mcp-param-region"
        );
        assert_eq!(reply.headers["access-control-allow-methods"], METHODS);
    }

    #[test]
    fn an_options_request_that_is_no_preflight_or_of_no_named_origin_is_none() {
        let origin = ("origin", "https://app.example.com");
        let method = ("access-control-request-method", "POST");
        assert!(preflight(&request("OPTIONS", &[origin])).is_none());
        assert!(preflight(&request("POST", &[origin, method])).is_none());
        let foreign = ("origin", "https://evil.example.com");
        assert!(preflight(&request("OPTIONS", &[foreign, method])).is_none());
    }
}
