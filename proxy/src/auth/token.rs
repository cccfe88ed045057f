//! `/auth/token`: a verified login at the identity provider becomes a local token (RFC 8693), and a refresh token
//! another one (RFC 6749 §6).
//!
//! A local token is never more than the login that it was had for: the same person, roles, methods and purpose, bound to
//! the client's certificate, in the same login session, and over when the session is. Whoever asks is authenticated by
//! that certificate; there are no client secrets here.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use pingora::protocols::http::ServerSession;
use serde_json::json;
use zeroize::Zeroizing;

use super::form::Form;
use super::problem::Problem;
use super::{Asked, Auth};
use crate::authn::tokens::{
    Carried, Families, Family, NotKept, RefreshToken, Shown, SuccessorKeys, Unusable, carried,
};
use crate::authn::{Authenticated, AuthnError, BearerToken, Fault, Issued, NotIssued};
use crate::exchange::Exchange;
use crate::refuse::{Refusal, Reply};
use crate::session::{self, EndReason, InSession};

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
    let desk = Desk {
        exchange,
        asked,
        settings,
    };
    match form.required("grant_type", "grant_type is missing")? {
        TOKEN_EXCHANGE => desk.exchanged(&form).await,
        REFRESH => desk.refreshed(&form).await,
        _ => Err(Problem::unsupported_grant_type(
            "grant_type is neither token-exchange nor refresh_token",
        )
        .into()),
    }
}

/// One request, with what it is judged by.
pub(super) struct Desk<'d, 's> {
    exchange: &'d Exchange<'s>,
    asked: &'d Asked,
    settings: &'d TokenSettings,
}

/// What an answer gives out.
struct Granted {
    issued: Issued,
    carried: Carried,
    refresh: Option<Zeroizing<String>>,
}

impl<'d, 's> Desk<'d, 's> {
    /// For the endpoint that takes refresh tokens back.
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

    fn certificate(&self) -> Option<&[u8; 32]> {
        self.asked.peer.as_ref().map(|peer| &peer.leaf_sha256)
    }

    fn auth(&self) -> &Auth {
        &self.exchange.sidecar().auth
    }

    async fn exchanged(&self, form: &Form) -> Result<Reply, Refusal> {
        let subject = self.subject_token(form)?;
        let now = self.asked.now_unix;
        let token = BearerToken::from_bytes(subject.as_bytes());
        let token = token.map_err(|error| self.not_authenticated(&error))?;
        let sidecar = self.exchange.sidecar();
        let who = sidecar.authenticator.authenticate(&token, now).await;
        let who = who.map_err(|error| self.not_authenticated(&error))?;
        let carried = carried(&who, self.certificate(), form.one("scope")?).map_err(|why| {
            use crate::authn::tokens::NotCarried;
            let (code, problem) = match why {
                NotCarried::Local => ("subject_token_local", Problem::invalid_request("the subject token is a local one: only a login at the identity provider is exchanged")),
                NotCarried::NoSession => ("subject_token_without_session", Problem::invalid_request("the subject token names no session (sid)")),
                NotCarried::Scope => ("scope_refused", Problem::invalid_scope("the scope is wider than the subject token's")),
            };
            self.refuse(&who, code, problem)
        })?;
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

    async fn unusable(&self, unusable: Unusable) -> Refusal {
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
                    self.end_session(&who, &family.session, EndReason::RefreshReused)
                        .await;
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
    pub(super) async fn end_session(&self, who: &Authenticated, session: &str, why: EndReason) {
        let sidecar = self.exchange.sidecar();
        self.families().end_session(session).await;
        let ended = sidecar.sessions.end(who, why, self.asked.now_unix);
        let source = self.exchange.connection().source();
        sidecar.recorder.session_events(&ended, Some(source));
    }

    fn keys(&self) -> Result<SuccessorKeys, Problem> {
        let keys = self.exchange.sidecar().authenticator.successor_keys();
        keys.ok_or(UNAVAILABLE)
    }

    fn shown<'k>(&'k self, keys: &'k SuccessorKeys) -> Shown<'k> {
        Shown {
            certificate: self.certificate(),
            now: self.asked.now_unix,
            keys,
        }
    }

    fn families(&self) -> &Families {
        &self.auth().families
    }

    /// Takes the principal into its login session, as a request at the MCP endpoint would.
    async fn admitted(&self, who: &Arc<Authenticated>) -> Result<InSession, Refusal> {
        let sidecar = self.exchange.sidecar();
        let source = Some(self.exchange.connection().source());
        let now = self.asked.now_unix;
        match sidecar.sessions.admit(who, self.certificate(), now) {
            Ok(admitted) => {
                sidecar.recorder.session_events(&admitted.events, source);
                Ok(admitted.session)
            }
            Err(refused) => {
                sidecar.recorder.session_events(&refused.events, source);
                let problem = match refused.refusal {
                    session::Refusal::TableFull => BUSY,
                    session::Refusal::CertificateMismatch => Problem::invalid_request(
                        "the subject token is bound to another client certificate",
                    ),
                    session::Refusal::Ended(_) => SESSION_OVER,
                };
                Err(self.refuse(who, refused.refusal.code(), problem))
            }
        }
    }

    async fn issued(&self, carried: &Carried, ends_at: i64) -> Result<Issued, Refusal> {
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

    /// The first refresh token of an exchange. None where none are issued, where nothing would bind it, or where there
    /// is no room: the client exchanges its login again then.
    async fn first_refresh(
        &self,
        carried: &Carried,
        session: &InSession,
    ) -> Option<Zeroizing<String>> {
        let sidecar = self.exchange.sidecar();
        let life = self.settings.refresh?;
        let bound = self.certificate().is_some() || !sidecar.tls().asks_for_certificates();
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

    fn not_authenticated(&self, error: &AuthnError) -> Refusal {
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
    fn refuse(&self, who: &Authenticated, code: &'static str, problem: Problem) -> Refusal {
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

    fn counted(&self, result: &str) {
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

const UNAVAILABLE: Problem = Problem::unavailable("tokens can't be issued now");
const BUSY: Problem = Problem::unavailable("there is no room for another session");
const SESSION_OVER: Problem = Problem::invalid_request("the session has ended: sign in again");

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
