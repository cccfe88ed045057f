//! What a token says, and why it would be refused. The signature is judged, never shown.

use std::fmt;

use serde_json::{Map, Value};

use super::authenticator::Authenticator;
use super::bearer::BearerToken;
use super::error::AuthnError;
use super::jws::Jws;
use super::tokens::RefreshToken;

/// A token laid open for the person who holds it. Prints header, claims and verdict.
pub struct Inspection {
    /// The header, where it could be read.
    pub header: Option<Map<String, Value>>,
    /// The payload, where it could be read. Unverified if refused.
    pub claims: Option<Map<String, Value>>,
    /// Why the token would be refused now; `None` if it would be accepted.
    pub refusal: Option<AuthnError>,
    /// Whether it is a refresh token, which says nothing and serves at `/auth/token` alone.
    pub is_refresh: bool,
}

/// Lays a token open and judges it as a request's token would be.
pub async fn inspect(authenticator: &Authenticator, token: &str, now_unix: i64) -> Inspection {
    if RefreshToken::parse(token.trim()).is_some() {
        return Inspection {
            is_refresh: true,
            ..Inspection::unreadable(AuthnError::NotAToken)
        };
    }
    let token = match BearerToken::from_bytes(token.trim().as_bytes()) {
        Ok(token) => token,
        Err(error) => return Inspection::unreadable(error),
    };
    let refusal = authenticator.authenticate(&token, now_unix).await.err();
    match Jws::parse(token.expose()) {
        Ok(jws) => Inspection {
            header: Some(jws.header),
            claims: Some(jws.payload),
            refusal,
            is_refresh: false,
        },
        Err(error) => Inspection::unreadable(error),
    }
}

impl Inspection {
    fn unreadable(error: AuthnError) -> Self {
        Self {
            header: None,
            claims: None,
            refusal: Some(error),
            is_refresh: false,
        }
    }

    /// Whether the token would be accepted now.
    pub fn accepted(&self) -> bool {
        self.refusal.is_none()
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, part) in [("header", &self.header), ("claims", &self.claims)] {
            if let Some(part) = part {
                let text = serde_json::to_string_pretty(part).map_err(|_| fmt::Error)?;
                writeln!(f, "{title} {text}")?;
            }
        }
        if self.is_refresh {
            let words = "a refresh token: it says nothing, and serves at /auth/token alone";
            return writeln!(f, "refused (refresh_token): {words}");
        }
        match &self.refusal {
            None => writeln!(f, "accepted: the signature and every claim hold"),
            Some(error) => writeln!(f, "refused ({}): {error}", error.code()),
        }
    }
}

impl fmt::Debug for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Inspection({})",
            if self.accepted() {
                "accepted"
            } else {
                "refused"
            }
        )
    }
}
