//! `/auth/logout`: whoever holds a token ends its login session, and with it every token of the session.
//!
//! The token is judged as at any other endpoint, second factor and certificate included, so that nobody ends what they
//! could not use. A session that no request has shown yet is opened and ended: its tokens are refused from now on.

use http::StatusCode;
use pingora::protocols::http::ServerSession;

use super::Asked;
use crate::exchange::Exchange;
use crate::refuse::{Refusal, Reply};
use crate::session::EndReason;

/// Ends the session of the token in `Authorization`: 204, and `user_logout` of reason `logout`.
pub(super) async fn answer(
    exchange: &mut Exchange<'_>,
    http: &mut ServerSession,
    asked: &Asked,
) -> Result<Reply, Refusal> {
    let caller = exchange.caller(&http.req_header().headers).await?;
    let sidecar = exchange.sidecar();
    let ended = sidecar
        .sessions
        .end(&caller.authenticated, EndReason::Logout, asked.now_unix);
    sidecar
        .recorder
        .session_events(&ended, Some(exchange.connection().source()));
    Ok(super::empty(StatusCode::NO_CONTENT))
}
