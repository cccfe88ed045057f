//! What a request must satisfy before anybody asks who sends it: unambiguous framing, bounded headers, a `Host` and
//! an `Origin` that are ours.

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};
use pingora::http::RequestHeader;

use crate::refuse::Refusal;
use crate::session::mcp::is_session_id;

/// All header names and values of one request together, in bytes.
pub const HEADER_BYTES_MAX: usize = 32 * 1024;
/// Headers of one request.
pub const HEADERS_MAX: usize = 100;

/// `Mcp-Session-Id` (MCP 2025-11-25, Transports).
pub static SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// `MCP-Protocol-Version` (MCP 2025-11-25, Transports).
pub static PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// `Last-Event-ID` (WHATWG HTML, Server-sent events).
pub static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The only headers that go up: whatever else a client sends could be a token or PHI, and no upstream needs it.
static FORWARDED: [&HeaderName; 6] = [
    &header::ACCEPT,
    &header::CONTENT_TYPE,
    &SESSION_ID,
    &PROTOCOL_VERSION,
    &LAST_EVENT_ID,
    &TRACEPARENT,
];

/// What of the configuration the gate looks at.
#[derive(Debug, Clone)]
pub struct Face {
    /// `host[:port]` of `listen.public_url`, in lower case, without the scheme's default port.
    pub authority: String,
    /// Origins that browsers may come from, in lower case: that of the public URL first.
    pub origins: Vec<String>,
    /// Origins whose pages may also read what is answered (`listen.cors`), in lower case.
    pub readers: Vec<String>,
    /// The endpoint's path, without a trailing slash.
    pub path: String,
    /// Names, in lower case and without a port, by which the listener of accounts is called.
    pub account_hosts: Vec<String>,
    /// The revisions of MCP that the upstream speaks, where the configuration says so.
    pub revisions: Option<Vec<String>>,
}

/// Refuses what two parsers could read in two ways, and what is larger than its bound.
///
/// # Errors
/// 400 for ambiguous framing (RFC 9112 §6.1), 413 for headers over their bounds.
///
/// `raw` is an HTTP/1.1 request's head as it stood on the wire: Pingora drops a `Content-Length` that stands beside
/// `Transfer-Encoding`, so that only the wire shows both.
pub fn framing(request: &RequestHeader, raw: Option<Bytes>) -> Result<(), Refusal> {
    let headers = &request.headers;
    if headers.contains_key(header::TRANSFER_ENCODING) && raw.is_none_or(|raw| names_length(&raw)) {
        return Err(Refusal::BadRequest(
            "Content-Length together with Transfer-Encoding is ambiguous",
        ));
    }
    if headers.contains_key(header::UPGRADE) {
        return Err(Refusal::BadRequest(
            "upgrading the connection is not offered",
        ));
    }
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if bytes > HEADER_BYTES_MAX || headers.len() > HEADERS_MAX {
        return Err(Refusal::TooLarge);
    }
    if request
        .uri
        .query()
        .is_some_and(|query| query.contains("access_token="))
    {
        return Err(Refusal::BadRequest(
            "a token never stands in a URL: send it in Authorization",
        ));
    }
    for single in [
        &header::AUTHORIZATION,
        &header::HOST,
        &header::ORIGIN,
        &SESSION_ID,
        &PROTOCOL_VERSION,
        &header::CONTENT_TYPE,
    ] {
        if headers.get_all(single).iter().nth(1).is_some() {
            return Err(Refusal::BadRequest(
                "a header that must stand once stands twice",
            ));
        }
    }
    Ok(())
}

/// Whether a request's head names `Content-Length`.
fn names_length(head: &[u8]) -> bool {
    head.split(|byte| *byte == b'\n').any(|line| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"content-length")
    })
}

/// Refuses a foreign `Host` or `Origin` (DNS rebinding; MCP 2025-11-25, Transports, Security Warning).
///
/// # Errors
/// 403 for either.
pub fn face(request: &RequestHeader, face: &Face) -> Result<(), Refusal> {
    let host = match request.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => request
            .headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok()),
    };
    let host = host.map(without_default_port);
    if !host.is_some_and(|host| host.eq_ignore_ascii_case(&face.authority)) {
        return Err(Refusal::ForeignOrigin);
    }
    match request.headers.get(header::ORIGIN) {
        None => Ok(()),
        Some(origin)
            if face
                .origins
                .iter()
                .chain(&face.readers)
                .any(|ours| origin.as_bytes().eq_ignore_ascii_case(ours.as_bytes())) =>
        {
            Ok(())
        }
        Some(_) => Err(Refusal::ForeignOrigin),
    }
}

/// The same for the listener of accounts, which a provider calls by a name of its own and a browser from our own pages
/// alone. Its port is nobody's secret: a foreign page can't choose the name.
///
/// # Errors
/// 403 for either.
pub fn account_face(request: &RequestHeader, face: &Face) -> Result<(), Refusal> {
    let host = request.headers.get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let is_ours = |ours: &String| ours.eq_ignore_ascii_case(name);
    let own = request.headers.get(header::ORIGIN).is_none_or(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        let authority = origin.strip_prefix("https://").unwrap_or_default();
        without_default_port(authority).eq_ignore_ascii_case(without_default_port(host))
    });
    match own && face.account_hosts.iter().any(is_ours) {
        true => Ok(()),
        false => Err(Refusal::ForeignOrigin),
    }
}

/// An authority as it is compared: https's own port says nothing.
pub fn without_default_port(authority: &str) -> &str {
    authority.strip_suffix(":443").unwrap_or(authority)
}

/// The body of a POST is JSON.
///
/// # Errors
/// 415 for any other media type, a body in another character set, or an encoded one.
pub fn media_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let value = text(headers, &header::CONTENT_TYPE)?.unwrap_or_default();
    let mut parts = value.split(';').map(str::trim);
    let json = parts
        .next()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let charset = parts.all(|part| match part.split_once('=') {
        Some((name, set)) if name.eq_ignore_ascii_case("charset") => {
            set.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    if json && charset && !headers.contains_key(header::CONTENT_ENCODING) {
        Ok(())
    } else {
        Err(Refusal::MediaType)
    }
}

/// The MCP session that a request names.
///
/// # Errors
/// 400 for an id that the transport does not allow (visible ASCII, bounded).
pub fn session_id(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    match text(headers, &SESSION_ID)? {
        None => Ok(None),
        Some(id) if is_session_id(id) => Ok(Some(id.to_owned())),
        Some(_) => Err(Refusal::BadRequest(
            "Mcp-Session-Id is not visible ASCII of at most 256 characters",
        )),
    }
}

/// The trace id of a W3C `traceparent`, for the events.
pub fn trace_id(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(&TRACEPARENT)?.to_str().ok()?;
    let id = value.split('-').nth(1)?;
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .then(|| id.to_ascii_lowercase())
}

/// What of a request's headers goes to the upstream, whatever its era.
pub fn forwarded(headers: &HeaderMap) -> HeaderMap {
    let mut up = HeaderMap::with_capacity(FORWARDED.len());
    for name in FORWARDED {
        if let Some(value) = headers.get(name) {
            up.insert(name.clone(), value.clone());
        }
    }
    if up.get(&TRACEPARENT).is_some() && trace_id(headers).is_none() {
        up.remove(&TRACEPARENT);
    }
    up
}

/// One header as text.
///
/// # Errors
/// 400 for bytes that are none.
pub(crate) fn text<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h str>, Refusal> {
    headers
        .get(name)
        .map(HeaderValue::to_str)
        .transpose()
        .map_err(|_| Refusal::BadRequest("a header holds bytes that are no text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&'static str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build("POST", b"/mcp", None).unwrap();
        for (name, value) in headers {
            request.append_header(*name, *value).unwrap();
        }
        request
    }

    fn ours() -> Face {
        Face {
            authority: "agents.example.com".into(),
            origins: vec!["https://agents.example.com".into()],
            readers: Vec::new(),
            path: "/mcp".into(),
            account_hosts: vec!["agents.example.com".into(), "sidecar.clinic.svc".into()],
            revisions: None,
        }
    }

    #[test]
    fn length_with_transfer_encoding_is_refused() {
        let chunked = request(&[("transfer-encoding", "chunked")]);
        let both =
            b"POST /mcp HTTP/1.1\r\nTransfer-Encoding: chunked\r\ncontent-LENGTH : 3\r\n\r\n";
        let both = framing(&chunked, Some(Bytes::from_static(both)));
        assert!(matches!(both, Err(Refusal::BadRequest(_))));
        let one =
            b"POST /mcp HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX: content-length: 3\r\n\r\n";
        assert_eq!(framing(&chunked, Some(Bytes::from_static(one))), Ok(()));
    }

    #[test]
    fn two_tokens_are_refused() {
        let two = request(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]);
        assert!(matches!(framing(&two, None), Err(Refusal::BadRequest(_))));
    }

    #[test]
    fn headers_over_their_bound_are_refused() {
        let large = request(&[("x-filler", &"a".repeat(HEADER_BYTES_MAX))]);
        assert_eq!(framing(&large, None), Err(Refusal::TooLarge));
    }

    #[test]
    fn a_foreign_host_or_origin_is_refused_and_the_default_port_says_nothing() {
        assert_eq!(
            face(&request(&[("host", "agents.example.com:443")]), &ours()),
            Ok(())
        );
        assert_eq!(
            face(&request(&[("host", "evil.example.com")]), &ours()),
            Err(Refusal::ForeignOrigin)
        );
        assert_eq!(face(&request(&[]), &ours()), Err(Refusal::ForeignOrigin));
        let foreign = request(&[("host", "agents.example.com"), ("origin", "null")]);
        assert_eq!(face(&foreign, &ours()), Err(Refusal::ForeignOrigin));
    }

    #[test]
    fn accounts_come_by_a_name_of_ours_at_any_port_and_from_our_own_pages() {
        let host = "agents.example.com:8444";
        for good in [
            &[("host", host)][..],
            &[("host", "SIDECAR.clinic.svc")],
            &[
                ("host", host),
                ("origin", "https://agents.example.com:8444"),
            ],
        ] {
            assert_eq!(account_face(&request(good), &ours()), Ok(()), "{good:?}");
        }
        for bad in [
            &[][..],
            &[("host", "evil.example.com")],
            &[("host", "agents.example.com.evil.example.com")],
            &[("host", host), ("origin", "https://agents.example.com")],
            &[("host", host), ("origin", "http://agents.example.com:8444")],
            &[("host", host), ("origin", "null")],
        ] {
            let refused = account_face(&request(bad), &ours());
            assert_eq!(refused, Err(Refusal::ForeignOrigin), "{bad:?}");
        }
    }

    #[test]
    fn only_json_in_utf_8_is_a_body() {
        assert_eq!(
            media_type(&request(&[("content-type", "application/json; charset=UTF-8")]).headers),
            Ok(())
        );
        for bad in ["text/plain", "application/json; charset=utf-16", ""] {
            assert_eq!(
                media_type(&request(&[("content-type", bad)]).headers),
                Err(Refusal::MediaType),
                "{bad}"
            );
        }
    }

    #[test]
    fn neither_token_nor_cookie_nor_unknown_header_goes_up() {
        let all = request(&[
            ("authorization", "Bearer secret"),
            ("cookie", "a=b"),
            ("origin", "https://agents.example.com"),
            ("x-patient", "Jane"),
            ("accept", "text/event-stream"),
            ("traceparent", "not-a-trace"),
        ]);
        let up = forwarded(&all.headers);
        assert_eq!(up.len(), 1);
        assert!(up.contains_key("accept"));
    }
}
