//! What `/auth/token` and `/auth/logout` have in common: one request with what it is judged by, its refusals counted and
//! recorded, the login session asked.

use std::sync::Arc;

use super::Asked;
use super::problem::Problem;
use super::token::TokenSettings;
use crate::authn::tokens::{
    Carried, Families, Family, RefreshToken, Shown, SuccessorKeys, Unusable,
};
use crate::authn::{Authenticated, AuthnError, Fault, Issued, NotIssued};
use crate::exchange::Exchange;
use crate::refuse::Refusal;
use crate::session::{self, EndReason, InSession};

/// Local tokens can't be made, or refresh tokens not judged.
pub(super) const UNAVAILABLE: Problem = Problem::unavailable("tokens can't be issued now");
const BUSY: Problem = Problem::unavailable("there is no room for another session");
/// The store of login sessions does not answer.
pub(super) const STORE_DOWN: Problem =
    Problem::unavailable("the store of login sessions does not answer");
/// `sessions.at_limit: refuse_new`
const TOO_MANY: Problem =
    Problem::invalid_request("as many sessions of this user are open as may be: end one first");
/// The login session is over, whatever the token says.
pub(super) const SESSION_OVER: Problem =
    Problem::invalid_request("the session has ended: sign in again");

/// One request, with what it is judged by.
pub(super) struct Desk<'d, 's> {
    pub(super) exchange: &'d Exchange<'s>,
    pub(super) asked: &'d Asked,
    pub(super) settings: &'d TokenSettings,
}

impl<'d, 's> Desk<'d, 's> {
    /// A request at its desk.
    pub(super) fn new(
        exchange: &'d Exchange<'s>,
        asked: &'d Asked,
        settings: &'d TokenSettings,
    ) -> Self {
        Self {
            exchange,
            asked,
            settings,
        }
    }

    pub(super) fn certificate(&self) -> Option<&[u8; 32]> {
        self.asked.peer.as_ref().map(|peer| &peer.leaf_sha256)
    }

    /// The family of a refresh token that could be used now.
    ///
    /// # Errors
    /// `invalid_grant`. One that was used before has ended its family and its session.
    pub(super) async fn family(&self, text: &str) -> Result<(RefreshToken, Family), Refusal> {
        let keys = self.keys()?;
        let looked = match RefreshToken::parse(text) {
            None => Err(Unusable::Unknown),
            Some(token) => {
                let looked = self.families().look(&token, self.shown(&keys)).await;
                looked.map(|family| (token, family))
            }
        };
        match looked {
            Ok(found) => Ok(found),
            Err(unusable) => Err(self.unusable(unusable).await),
        }
    }

    pub(super) async fn unusable(&self, unusable: Unusable) -> Refusal {
        let code = unusable.code();
        let sidecar = self.exchange.sidecar();
        self.count_refused(code);
        let words = match unusable {
            Unusable::Unavailable => return UNAVAILABLE.into(),
            Unusable::Expired => "the refresh token has expired: sign in again",
            Unusable::Foreign => "the refresh token is bound to another client certificate",
            Unusable::Unknown => "the refresh token is not known: sign in again",
            Unusable::Reused(family) => {
                if let Ok(who) = self.principal(&family).await {
                    let name = self.asked.peer.as_ref().map(|peer| peer.name.as_str());
                    sidecar
                        .recorder
                        .token_revoked(&self.exchange.login(&who, name), code);
                    let reason = EndReason::RefreshReused;
                    let ended = self.end_session(&who, &family.session, reason).await;
                    if let Err(refusal) = ended {
                        return refusal;
                    }
                }
                return Problem::invalid_grant("the refresh token was used before: sign in again")
                    .into();
            }
        };
        let (connection, reference) = (self.exchange.connection(), self.exchange.reference());
        sidecar.recorder.failed_login(connection, reference, code);
        Problem::invalid_grant(words).into()
    }

    /// Who a family's tokens are for.
    pub(super) async fn principal(&self, family: &Family) -> Result<Arc<Authenticated>, Refusal> {
        let carried = family.carried().ok_or(UNAVAILABLE)?;
        Ok(self.issued(&carried, family.ends_at).await?.who)
    }

    /// Ends a login session with all that was had for it.
    ///
    /// # Errors
    /// The store of sessions does not answer.
    pub(super) async fn end_session(
        &self,
        who: &Authenticated,
        session: &str,
        why: EndReason,
    ) -> Result<(), Refusal> {
        let sidecar = self.exchange.sidecar();
        self.families().end_session(session).await;
        let ended = sidecar.sessions.end(who, why, self.asked.now_unix).await;
        let ended = ended.map_err(|_| STORE_DOWN)?;
        let source = self.exchange.connection().source();
        sidecar.recorder.session_events(&ended, Some(source));
        Ok(())
    }

    pub(super) fn keys(&self) -> Result<SuccessorKeys, Problem> {
        let keys = self.exchange.sidecar().authenticator.successor_keys();
        keys.ok_or(UNAVAILABLE)
    }

    pub(super) fn shown<'k>(&'k self, keys: &'k SuccessorKeys) -> Shown<'k> {
        Shown {
            certificate: self.certificate(),
            now: self.asked.now_unix,
            keys,
        }
    }

    pub(super) fn families(&self) -> &Families {
        &self.exchange.sidecar().auth.families
    }

    /// Takes the principal into its login session, as a request at the MCP endpoint would.
    pub(super) async fn admitted(&self, who: &Arc<Authenticated>) -> Result<InSession, Refusal> {
        let sidecar = self.exchange.sidecar();
        let source = Some(self.exchange.connection().source());
        let now = self.asked.now_unix;
        if sidecar.authenticator.must_wait(who) && !sidecar.sessions.is_live(who).await {
            return Err(self.refuse(who, "identity_provider_down", UNAVAILABLE));
        }
        let admitted = sidecar.sessions.admit(who, self.certificate(), now).await;
        match admitted {
            Ok(admitted) => {
                sidecar.recorder.session_events(&admitted.events, source);
                Ok(admitted.session)
            }
            Err(refused) => {
                sidecar.recorder.session_events(&refused.events, source);
                let problem = match refused.refusal {
                    session::Refusal::TableFull => BUSY,
                    session::Refusal::Unavailable => STORE_DOWN,
                    session::Refusal::TooMany => TOO_MANY,
                    session::Refusal::CertificateMismatch => Problem::invalid_request(
                        "the subject token is bound to another client certificate",
                    ),
                    session::Refusal::Ended(_) => SESSION_OVER,
                };
                Err(self.refuse(who, refused.refusal.code(), problem))
            }
        }
    }

    pub(super) async fn issued(&self, carried: &Carried, ends_at: i64) -> Result<Issued, Refusal> {
        let authenticator = &self.exchange.sidecar().authenticator;
        let issued = authenticator
            .issue(carried, ends_at, self.asked.now_unix)
            .await;
        issued.map_err(|why| match why {
            NotIssued::Off => UNAVAILABLE.into(),
            NotIssued::Unmade(_) | NotIssued::Refused(_) => {
                self.count_refused("token_not_issued");
                log::warn!("a login's local token can't be made: {why}");
                Problem::invalid_request("no local token can be made of this login").into()
            }
        })
    }

    pub(super) fn not_authenticated(&self, error: &AuthnError) -> Refusal {
        let sidecar = self.exchange.sidecar();
        if let Some(who) = error.principal() {
            let words = "the login has no second factor: sign in with one";
            return self.refuse(who, error.code(), Problem::invalid_request(words));
        }
        self.count_refused(error.code());
        if error.fault() == Fault::IdentityProvider {
            return Problem::unavailable("the identity provider's keys are out of reach").into();
        }
        let (connection, reference) = (self.exchange.connection(), self.exchange.reference());
        sidecar
            .recorder
            .failed_login(connection, reference, error.code());
        Problem::invalid_request("the subject token is not valid").into()
    }

    /// Somebody whose token verified, and who gets none all the same.
    pub(super) fn refuse(
        &self,
        who: &Authenticated,
        code: &'static str,
        problem: Problem,
    ) -> Refusal {
        self.count_refused(code);
        let name = self.asked.peer.as_ref().map(|peer| peer.name.as_str());
        let login = self.exchange.login(who, name);
        self.exchange
            .sidecar()
            .recorder
            .session_refused(&login, code);
        problem.into()
    }

    fn count_refused(&self, code: &str) {
        self.count("refused", code);
    }

    pub(super) fn counted(&self, result: &str) {
        self.count(result, "none");
    }

    fn count(&self, result: &str, reason: &str) {
        let metrics = &self.exchange.sidecar().metrics;
        let labels = [result, reason];
        metrics
            .authentications_total
            .with_label_values(&labels)
            .inc();
    }
}
