//! What OAuth clients are told of a refusal (RFC 6749 §5.2, RFC 8693 §2.2.2).

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;

use crate::refuse::{Refusal, Reply};

/// An OAuth error answer. The words are fixed by whoever makes it, never made of anything that a client said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem {
    /// The status: 400 but where another says more.
    pub status: StatusCode,
    /// `error`: a word of RFC 6749, RFC 8693 or RFC 8707.
    pub error: &'static str,
    /// `error_description`: one of our own sentences, in the characters that RFC 6749 §5.2 allows.
    pub description: &'static str,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u16>,
}

impl Problem {
    const fn new(error: &'static str, description: &'static str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error,
            description,
            retry_after: None,
        }
    }

    /// A parameter is missing, twice there or malformed.
    pub const fn invalid_request(description: &'static str) -> Self {
        Self::new("invalid_request", description)
    }

    /// What was presented is expired, used, revoked or another's.
    pub const fn invalid_grant(description: &'static str) -> Self {
        Self::new("invalid_grant", description)
    }

    /// Another resource or audience than this one (RFC 8693 §2.2.2, RFC 8707 §2).
    pub const fn invalid_target(description: &'static str) -> Self {
        Self::new("invalid_target", description)
    }

    /// A scope that the presented token does not have.
    pub const fn invalid_scope(description: &'static str) -> Self {
        Self::new("invalid_scope", description)
    }

    /// A grant type that is not offered.
    pub const fn unsupported_grant_type(description: &'static str) -> Self {
        Self::new("unsupported_grant_type", description)
    }

    /// Something that must be there to answer is out of reach.
    pub const fn unavailable(description: &'static str) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            retry_after: Some(5),
            ..Self::new("temporarily_unavailable", description)
        }
    }

    /// More requests than the bound on their rate.
    pub const fn too_many(seconds: u16) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            retry_after: Some(seconds),
            ..Self::new(
                "temporarily_unavailable",
                "too many requests: wait, then try again",
            )
        }
    }

    /// The answer.
    pub fn reply(&self) -> Reply {
        let mut headers = HeaderMap::new();
        let media = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, media);
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        super::not_stored(&mut headers);
        let body = json!({ "error": self.error, "error_description": self.description });
        Reply {
            status: self.status,
            headers,
            body: Bytes::from(body.to_string()),
        }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::OAuth(problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_answer_is_json_that_no_cache_keeps() {
        let reply =
            Refusal::from(Problem::invalid_grant("used already")).answer(None, uuid::Uuid::nil());
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert_eq!(reply.headers["cache-control"], "no-store");
        assert_eq!(reply.headers["pragma"], "no-cache");
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body["error"], "invalid_grant");
        assert_eq!(body["error_description"], "used already");
    }

    #[test]
    fn a_client_that_asks_too_often_is_told_when_to_come_back() {
        let reply = Problem::too_many(3).reply();
        assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(reply.headers["retry-after"], "3");
    }
}
