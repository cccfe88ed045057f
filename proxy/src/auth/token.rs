//! `/auth/token`: a verified login at the identity provider becomes a local token (RFC 8693), and a refresh token
//! another one (RFC 6749 §6).
//!
//! A local token is never more than the login that it was had for: the same person, roles, methods and purpose, bound to
//! the client's certificate, in the same login session, and over when the session is. Whoever asks is authenticated by
//! that certificate; there are no client secrets here.

use std::time::Duration;

use http::StatusCode;
use pingora::protocols::http::ServerSession;
use serde_json::json;
use zeroize::Zeroizing;

use super::Asked;
use super::desk::{Desk, SESSION_OVER, UNAVAILABLE};
use super::form::Form;
use super::problem::Problem;
use crate::authn::tokens::{Carried, Family, NotCarried, NotKept, RefreshToken, carried};
use crate::authn::{Authenticated, BearerToken, Issued};
use crate::exchange::Exchange;
use crate::refuse::{Refusal, Reply};
use crate::session::InSession;

/// `grant_type` of RFC 8693 §2.1.
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// `grant_type` of RFC 6749 §6.
const REFRESH: &str = "refresh_token";
/// The one token type here, RFC 8693 §3.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// What `/auth/token` was configured with. Where there is none, nothing is served there.
#[derive(Debug)]
pub struct TokenSettings {
    /// `listen.public_url`: the one `resource` (RFC 8707).
    pub resource: String,
    /// `authentication.jwt.audience`: the one `audience`.
    pub audience: String,
    /// `refresh_expiration`, where refresh tokens are issued.
    pub refresh: Option<Duration>,
}

/// Answers a request for a token.
pub(super) async fn answer(
    exchange: &mut Exchange<'_>,
    http: &mut ServerSession,
    asked: &Asked,
) -> Result<Reply, Refusal> {
    let sidecar = exchange.sidecar();
    let settings = sidecar.auth.tokens.as_ref().ok_or(Refusal::NotFound)?;
    let form = Form::read(&http.req_header().headers, &asked.body)?;
    let desk = Desk::new(exchange, asked, settings);
    match form.required("grant_type", "grant_type is missing")? {
        TOKEN_EXCHANGE => desk.exchanged(&form).await,
        REFRESH => desk.refreshed(&form).await,
        _ => Err(Problem::unsupported_grant_type(
            "grant_type is neither token-exchange nor refresh_token",
        )
        .into()),
    }
}

/// What an answer gives out.
struct Granted {
    issued: Issued,
    carried: Carried,
    refresh: Option<Zeroizing<String>>,
}

impl Desk<'_, '_> {
    async fn exchanged(&self, form: &Form) -> Result<Reply, Refusal> {
        let subject = self.subject_token(form)?;
        let now = self.asked.now_unix;
        let token = BearerToken::from_bytes(subject.as_bytes());
        let token = token.map_err(|error| self.not_authenticated(&error))?;
        let sidecar = self.exchange.sidecar();
        let who = sidecar.authenticator.authenticate(&token, now).await;
        let who = who.map_err(|error| self.not_authenticated(&error))?;
        let carried = carried(&who, self.certificate(), form.one("scope")?);
        let carried = carried.map_err(|why| self.not_carried(&who, why))?;
        let session = self.admitted(&who).await?;
        let issued = self.issued(&carried, session.ends_at()).await?;
        let refresh = self.first_refresh(&carried, &session).await;
        self.counted("exchanged");
        Ok(answered(
            &Granted {
                issued,
                carried,
                refresh,
            },
            now,
        ))
    }

    /// The token that is to be exchanged, once everything beside it is as it must be.
    fn subject_token<'f>(&self, form: &'f Form) -> Result<&'f str, Problem> {
        let token = form.required("subject_token", "subject_token is missing")?;
        let kind = form.required("subject_token_type", "subject_token_type is missing")?;
        let wanted = form.one("requested_token_type")?.unwrap_or(ACCESS_TOKEN);
        if kind != ACCESS_TOKEN || wanted != ACCESS_TOKEN {
            return Err(Problem::invalid_request(
                "subject_token_type and requested_token_type are access_token here",
            ));
        }
        if form.one("actor_token")?.is_some() {
            return Err(Problem::invalid_request(
                "nobody acts for another here: no actor_token",
            ));
        }
        let url =
            |text: &str| text.trim_end_matches('/') == self.settings.resource.trim_end_matches('/');
        if !form.all("resource").all(url) {
            return Err(Problem::invalid_target(
                "the one resource here is the MCP endpoint's URL",
            ));
        }
        let named = |text: &str| text == self.settings.audience || url(text);
        if !form.all("audience").all(named) {
            return Err(Problem::invalid_target(
                "the one audience here is authentication.jwt.audience",
            ));
        }
        Ok(token)
    }

    fn not_carried(&self, who: &Authenticated, why: NotCarried) -> Refusal {
        let (code, problem) = match why {
            NotCarried::Local => (
                "subject_token_local",
                Problem::invalid_request("a local token is not exchanged: only a login is"),
            ),
            NotCarried::NoSession => (
                "subject_token_without_session",
                Problem::invalid_request("the subject token names no session (sid)"),
            ),
            NotCarried::Scope => (
                "scope_refused",
                Problem::invalid_scope("the scope is wider than the subject token's"),
            ),
        };
        self.refuse(who, code, problem)
    }

    async fn refreshed(&self, form: &Form) -> Result<Reply, Refusal> {
        if self.settings.refresh.is_none() {
            return Err(
                Problem::unsupported_grant_type("no refresh tokens are issued here").into(),
            );
        }
        let now = self.asked.now_unix;
        let token = form.required("refresh_token", "refresh_token is missing")?;
        let (token, family) = self.family(token).await?;
        let carried = family.carried().ok_or(UNAVAILABLE)?;
        if form
            .one("scope")?
            .is_some_and(|scope| Some(scope) != carried.scope())
        {
            return Err(
                Problem::invalid_scope("a refresh keeps the scope that was granted").into(),
            );
        }
        let issued = self.issued(&carried, family.ends_at).await?;
        // The session is asked before the family turns: a client that is told to wait still has its token.
        if let Err(refusal) = self.admitted(&issued.who).await {
            if refusal != SESSION_OVER.into() {
                return Err(refusal);
            }
            self.families().end_session(&family.session).await;
            return Err(Problem::invalid_grant("the session has ended: sign in again").into());
        }
        let keys = self.keys()?;
        let turned = match self.families().turn(&token, self.shown(&keys)).await {
            Ok(turned) => turned,
            Err(unusable) => return Err(self.unusable(unusable).await),
        };
        self.counted("refreshed");
        Ok(answered(
            &Granted {
                issued,
                carried,
                refresh: Some(turned.next.text()),
            },
            now,
        ))
    }

    /// The first refresh token of an exchange. None where none are issued, where nothing would bind it, or where there
    /// is no room: the client exchanges its login again then.
    async fn first_refresh(
        &self,
        carried: &Carried,
        session: &InSession,
    ) -> Option<Zeroizing<String>> {
        let sidecar = self.exchange.sidecar();
        let life = self.settings.refresh?;
        let bound = self.certificate().is_some() || !sidecar.tls().needs_certificates();
        if !bound || (carried.is_bound_to_key() && self.certificate().is_none()) {
            return None;
        }
        let now = self.asked.now_unix;
        let life = i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
        let token = RefreshToken::first().ok()?;
        let family = Family {
            session: session.hashed_id().into(),
            carried: carried.to_bytes().into(),
            certificate: self.certificate().copied(),
            current: token.hash(),
            previous: None,
            turned_at: now,
            ends_at: now.saturating_add(life).min(session.ends_at()),
        };
        match self.families().begin(&token, family, now).await {
            Ok(()) => {}
            Err(NotKept::Full) => {
                sidecar.limit_reached("refresh_families");
                return None;
            }
            Err(NotKept::Unreachable) => return None,
        }
        Some(token.text())
    }
}

/// RFC 6749 §5.1, RFC 8693 §2.2.1.
fn answered(granted: &Granted, now: i64) -> Reply {
    let bound_to_key = granted.carried.is_bound_to_key();
    let mut answer = json!({
        "access_token": granted.issued.token.as_str(),
        "issued_token_type": ACCESS_TOKEN,
        "token_type": if bound_to_key { "DPoP" } else { "Bearer" },
        "expires_in": granted.issued.who.expires_at().saturating_sub(now),
    });
    let optional = [
        ("scope", granted.carried.scope()),
        (
            "refresh_token",
            granted.refresh.as_ref().map(|token| token.as_str()),
        ),
    ];
    for (name, value) in optional {
        if let (Some(value), Some(members)) = (value, answer.as_object_mut()) {
            members.insert(name.to_owned(), value.into());
        }
    }
    super::json(StatusCode::OK, &answer)
}
