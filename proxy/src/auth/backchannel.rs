//! `/auth/backchannel-logout`: the identity provider says that a login is over (OpenID Connect Back-Channel Logout 1.0).
//!
//! The session ends at once, its open streams with it, and what was had for it (refresh tokens). A session that no request
//! has shown yet is refused from then on.

use http::{StatusCode, header};
use pingora::protocols::http::ServerSession;

use super::Asked;
use super::desk::STORE_DOWN;
use super::form::Form;
use super::problem::Problem;
use crate::authn::AuthnError;
use crate::exchange::Exchange;
use crate::refuse::{Refusal, Reply};
use crate::session::EndReason;

const REFUSED: Problem = Problem::invalid_request("the logout token is not one to be taken");
const KEYS: Problem = Problem::unavailable("the identity provider's keys are out of reach");

/// 200 where the logout is done, 400 where the token is refused (§2.8), 503 where it can't be judged.
pub(super) async fn answer(
    exchange: &Exchange<'_>,
    http: &ServerSession,
    asked: &Asked,
) -> Result<Reply, Refusal> {
    let headers = &http.req_header().headers;
    if headers.contains_key(header::ORIGIN) {
        // A page in a browser is no identity provider.
        return Err(REFUSED.into());
    }
    let form = Form::read(headers, &asked.body)?;
    let token = form.required("logout_token", "logout_token is missing")?;
    let sidecar = exchange.sidecar();
    let judged = sidecar.authenticator.logout(token, asked.now_unix).await;
    let logout = judged.map_err(|error| {
        let (connection, reference) = (exchange.connection(), exchange.reference());
        let recorder = &sidecar.recorder;
        recorder.failed_login(connection, reference, error.code());
        match error {
            AuthnError::KeysUnavailable => Refusal::from(KEYS),
            _ => REFUSED.into(),
        }
    })?;
    let (sessions, reason) = (&sidecar.sessions, EndReason::Logout);
    let ended = match (&logout.sid, &logout.subject) {
        (Some(sid), _) => {
            sessions
                .end_sid(&logout.issuer, sid, reason, asked.now_unix)
                .await
        }
        (None, Some(subject)) => {
            sessions
                .end_user(&logout.issuer, subject, reason, asked.now_unix)
                .await
        }
        (None, None) => return Err(REFUSED.into()),
    };
    // The provider logs that it was not told, and the session ends by its limits.
    let ended = ended.map_err(|_| STORE_DOWN)?;
    for event in &ended {
        sidecar.auth.families.end_session(&event.session).await;
    }
    let source = Some(exchange.connection().source());
    sidecar.recorder.session_events(&ended, source);
    Ok(super::empty(StatusCode::OK))
}
