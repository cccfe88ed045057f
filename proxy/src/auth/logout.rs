//! `/auth/logout`: whoever holds a token ends its login session, and with it every token of the session.
//!
//! An access token stands in `Authorization`. It is judged as at the MCP endpoint, second factor and certificate included,
//! so that nobody ends what they could not use; a session that no request has shown yet is opened and ended, so that its
//! tokens are refused from now on. A client whose access token has expired gives its refresh token back instead, as a form
//! with `token` (RFC 7009 §2.1).

use http::{StatusCode, header};
use pingora::protocols::http::ServerSession;

use super::Asked;
use super::desk::{Desk, STORE_DOWN};
use super::form::Form;
use super::problem::Problem;
use crate::exchange::Exchange;
use crate::refuse::{Refusal, Reply};
use crate::session::EndReason;

/// Ends the session: 204 for an access token's, 200 for a refresh token's; `user_logout` of reason `logout`.
pub(super) async fn answer(
    exchange: &mut Exchange<'_>,
    http: &mut ServerSession,
    asked: &Asked,
) -> Result<Reply, Refusal> {
    let headers = &http.req_header().headers;
    if !headers.contains_key(header::AUTHORIZATION) && !asked.body.is_empty() {
        return given_back(exchange, &Form::read(headers, &asked.body)?, asked).await;
    }
    let caller = exchange.caller(headers).await?;
    let sidecar = exchange.sidecar();
    let ended = sidecar
        .sessions
        .end(&caller.authenticated, EndReason::Logout, asked.now_unix)
        .await
        .map_err(|_| STORE_DOWN)?;
    sidecar
        .auth
        .families
        .end_session(caller.session.hashed_id())
        .await;
    sidecar
        .recorder
        .session_events(&ended, Some(exchange.connection().source()));
    Ok(super::empty(StatusCode::NO_CONTENT))
}

/// A refresh token that is of no use any more is answered as one that was (RFC 7009 §2.2).
async fn given_back(exchange: &Exchange<'_>, form: &Form, asked: &Asked) -> Result<Reply, Refusal> {
    let settings = exchange.sidecar().auth.tokens.as_ref();
    let settings = settings.ok_or(Refusal::NotFound)?;
    let token = form.required("token", "token is missing")?;
    let desk = Desk::new(exchange, asked, settings);
    match desk.family(token).await {
        Ok((_, family)) => {
            let who = desk.principal(&family).await?;
            desk.end_session(&who, &family.session, EndReason::Logout)
                .await?;
        }
        Err(Refusal::OAuth(Problem {
            status: StatusCode::BAD_REQUEST,
            ..
        })) => {}
        Err(other) => return Err(other),
    }
    Ok(super::empty(StatusCode::OK))
}
