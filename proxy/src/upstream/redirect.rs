//! Redirects of the upstream: one that only adds or takes a slash is followed here, any other is refused.
//!
//! Servers that route `/mcp/` answer `/mcp` with a redirect, and build its `Location` of what they believe to be their
//! address: relayed, it would show that address and lead clients to plain HTTP.

use http::uri::PathAndQuery;
use http::{HeaderValue, StatusCode, Uri};

/// What an answer's status and `Location` say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    /// It is no redirect.
    None,
    /// The same place but for a slash at its end.
    Slash(PathAndQuery),
    /// Anywhere else.
    Elsewhere,
}

/// Judges an answer to a request for `asked` of the server that is called `authority`.
pub(super) fn judge(
    status: StatusCode,
    location: Option<&HeaderValue>,
    authority: &HeaderValue,
    asked: &PathAndQuery,
) -> Redirect {
    if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
        return Redirect::None;
    }
    // The others let a client make a GET of a POST.
    let keeps = matches!(
        status,
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
    );
    let uri = location
        .filter(|_| keeps)
        .and_then(|location| location.to_str().ok())
        .and_then(|location| location.parse::<Uri>().ok());
    let Some(uri) = uri else {
        return Redirect::Elsewhere;
    };
    let own = uri.authority().is_none_or(|named| {
        named
            .as_str()
            .as_bytes()
            .eq_ignore_ascii_case(authority.as_bytes())
    });
    match uri.path_and_query() {
        Some(to) if own && is_slash_apart(asked, to) => Redirect::Slash(to.clone()),
        _ => Redirect::Elsewhere,
    }
}

fn is_slash_apart(asked: &PathAndQuery, to: &PathAndQuery) -> bool {
    let apart = |longer: &str, shorter: &str| longer.strip_suffix('/') == Some(shorter);
    let (one, other) = (asked.path(), to.path());
    (apart(one, other) || apart(other, one)) && asked.query() == to.query()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, location: &str, asked: &'static str) -> Redirect {
        judge(
            StatusCode::from_u16(status).unwrap(),
            Some(&HeaderValue::from_str(location).unwrap()),
            &HeaderValue::from_static("127.0.0.1:3000"),
            &PathAndQuery::from_static(asked),
        )
    }

    #[test]
    fn a_slash_more_or_less_is_followed() {
        for location in ["/mcp/", "http://127.0.0.1:3000/mcp/"] {
            let path = PathAndQuery::from_static("/mcp/");
            assert_eq!(judged(307, location, "/mcp"), Redirect::Slash(path));
        }
        let path = PathAndQuery::from_static("/mcp");
        assert_eq!(judged(308, "/mcp", "/mcp/"), Redirect::Slash(path));
    }

    #[test]
    fn any_other_place_is_not() {
        for location in [
            "/other/",
            "/mcp//",
            "/mcp",
            "/mcp/?a=b",
            "//evil.example.com/mcp/",
            "http://evil.example.com/mcp/",
            "http://127.0.0.1:3001/mcp/",
            "http://127.0.0.1:3000@evil.example.com/mcp/",
            "mcp/",
            "not a place",
        ] {
            assert_eq!(
                judged(307, location, "/mcp"),
                Redirect::Elsewhere,
                "{location}"
            );
        }
        for status in [301, 302, 303, 300] {
            assert_eq!(
                judged(status, "/mcp/", "/mcp"),
                Redirect::Elsewhere,
                "{status}"
            );
        }
    }
}
