//! Who asks: the certificate checked again, the token verified, the second factor proved, the session admitted.

use std::sync::Arc;

use http::HeaderMap;
use safeguard_certs::PeerIdentity;
use safeguard_policy::principal::Principal;
use uuid::Uuid;

use crate::authn::{Asked, Authenticated, AuthnError, BearerToken, ProofError, ProofHeader};
use crate::clock;
use crate::emergency::Active;
use crate::events::Login;
use crate::exchange::Exchange;
use crate::gate;
use crate::refuse::Refusal;
use crate::session::mcp::Owner;
use crate::session::{self, InSession};

/// A caller whom every check has passed. Only the exchange makes one.
#[derive(Debug)]
pub struct Caller {
    /// What the token says.
    pub authenticated: Arc<Authenticated>,
    /// The login session that this request is in.
    pub session: InSession,
    /// The peer's certificate; none where the configuration does not ask for one.
    pub peer: Option<Arc<PeerIdentity>>,
    /// The client's address.
    pub source: std::net::IpAddr,
    /// The W3C trace id.
    pub trace_id: Option<String>,
    /// Binds the events of one request.
    pub reference: Uuid,
    /// The emergency access that its session began, if that goes on.
    pub emergency: Option<Arc<Active>>,
    /// When the request was judged, in seconds since the Unix epoch.
    pub now_unix: i64,
}

impl Caller {
    /// The facts that the policy may see.
    pub fn principal(&self) -> Principal<'_> {
        let who = &self.authenticated;
        Principal {
            subject: who.subject(),
            issuer: who.issuer(),
            roles: who.roles(),
            claims: who.claims(),
            purpose: who.purpose(),
            certificate_names: self
                .peer
                .as_ref()
                .map_or(&[], |peer| peer.dns_names.as_slice()),
            service: who.is_service(),
            second_factor: who.second_factor().is_some(),
            authenticated_at: who.last_proved_at(),
            acr: who.acr(),
            emergency: self.emergency.as_ref().map(|active| active.fact()),
        }
    }

    /// The one to whom an MCP session belongs.
    pub fn owner(&self) -> Owner {
        let client = self.peer.as_ref().map_or("", |peer| peer.name.as_str());
        Owner::new(
            self.authenticated.issuer(),
            self.authenticated.subject(),
            client,
        )
    }
}

impl Exchange<'_> {
    /// Who the peer is, if its certificate still holds.
    pub(crate) fn peer(&self, now_unix: i64) -> Result<Option<Arc<PeerIdentity>>, Refusal> {
        let sidecar = self.sidecar;
        self.connection
            .peer(sidecar.tls(), now_unix)
            .map_err(|error| {
                sidecar
                    .recorder
                    .peer_refused(self.connection.source(), error.reason().code());
                let words = "the client certificate is not trusted any more";
                Refusal::Unauthorized(self.live.challenges.invalid_token(words))
            })
    }

    /// Judges who asks. Each step needs the one before it.
    pub(crate) async fn caller(&self, headers: &HeaderMap) -> Result<Arc<Caller>, Refusal> {
        let now_unix = clock::now_unix();
        let sidecar = self.sidecar;
        let peer = self.peer(now_unix)?;
        let name = peer.as_ref().map(|peer| peer.name.as_str());
        let judged = match BearerToken::from_headers(headers) {
            Ok(token) => {
                self.presented(&token, headers, peer.as_deref(), now_unix)
                    .await
            }
            Err(error) => Err(error),
        };
        let judged = self.with_own_factor(judged, peer.as_deref());
        let authenticated = judged.map_err(|error| {
            let refusal = self.not_authenticated(&error, name);
            match error {
                AuthnError::SecondFactorMissing(who) => {
                    let asked = self.live.second_factor.clone();
                    self.with_way(refusal, &asked, &who, peer.as_deref())
                }
                _ => refusal,
            }
        })?;
        sidecar
            .metrics
            .authentications_total
            .with_label_values(&["ok", "none"])
            .inc();
        if sidecar.authenticator.must_wait(&authenticated)
            && !sidecar.sessions.is_live(&authenticated).await
        {
            sidecar
                .metrics
                .authentications_total
                .with_label_values(&["refused", "identity_provider_down"])
                .inc();
            return Err(Refusal::IdentityProvider);
        }
        let certificate = peer.as_ref().map(|peer| peer.leaf_sha256);
        let session = match sidecar
            .sessions
            .admit(&authenticated, certificate.as_ref(), now_unix)
            .await
        {
            Ok(admitted) => {
                sidecar
                    .recorder
                    .session_events(&admitted.events, Some(self.connection.source()));
                admitted.session
            }
            Err(refused) => {
                let code = refused.refusal.code();
                sidecar
                    .metrics
                    .authentications_total
                    .with_label_values(&["refused", code])
                    .inc();
                sidecar
                    .recorder
                    .session_events(&refused.events, Some(self.connection.source()));
                let login = self.login(&authenticated, name);
                sidecar.recorder.session_refused(&login, code);
                match refused.refusal {
                    session::Refusal::TableFull | session::Refusal::Unavailable => {
                        return Err(Refusal::Busy);
                    }
                    session::Refusal::TooMany => return Err(Refusal::TooManySessions),
                    session::Refusal::CertificateMismatch | session::Refusal::Ended(_) => {}
                }
                let words = "the session has ended: sign in again";
                return Err(Refusal::Unauthorized(
                    self.live.challenges.invalid_token(words),
                ));
            }
        };
        let emergency = sidecar.emergencies.of(session.hashed_id());
        Ok(Arc::new(Caller {
            authenticated,
            emergency,
            session,
            peer,
            source: self.connection.source(),
            trace_id: gate::trace_id(headers),
            reference: self.reference,
            now_unix,
        }))
    }

    /// Verifies the token, its proof, and that a person or software stands behind it as the client is for.
    async fn presented(
        &self,
        token: &BearerToken<'_>,
        headers: &HeaderMap,
        peer: Option<&PeerIdentity>,
        now_unix: i64,
    ) -> Result<Arc<Authenticated>, AuthnError> {
        let proof = ProofHeader::from_headers(headers);
        let (method, path) = (self.asked.0.as_str(), self.asked.1.path());
        let asked = Asked { method, path };
        let authenticator = &self.sidecar.authenticator;
        let who = authenticator.present(token, proof, asked, now_unix).await?;
        // The policy says the same of each call; whoever can call nothing is not let in at all.
        let names = peer.map_or(&[][..], |peer| peer.dns_names.as_slice());
        if who.is_service() && !self.live.policy.serves_software(names) {
            return Err(AuthnError::NoPerson);
        }
        if who.bound_key().is_none() && self.live.policy.asks_for_bound_key(names) {
            return Err(AuthnError::Proof(ProofError::Unbound));
        }
        Ok(who)
    }

    /// A login of this request, for its event.
    pub(crate) fn login<'a>(&'a self, who: &'a Authenticated, name: Option<&'a str>) -> Login<'a> {
        Login {
            who,
            name,
            connection: &self.connection,
            reference: self.reference,
        }
    }

    /// Counts a failed login towards a burst of its source's, and its subject's where that is known.
    pub(crate) fn count_failure(&self, subject: Option<&str>) {
        let sidecar = self.sidecar;
        let (source, now) = (self.connection.source(), std::time::Instant::now());
        for by in sidecar.bursts.failed(subject, Some(source), now) {
            sidecar
                .metrics
                .failed_login_bursts_total
                .with_label_values(&["sidecar", by])
                .inc();
        }
    }

    /// A refused token is an event; a missing one only a challenge; a missing second factor both.
    fn not_authenticated(&self, error: &AuthnError, name: Option<&str>) -> Refusal {
        let sidecar = self.sidecar;
        sidecar
            .metrics
            .authentications_total
            .with_label_values(&["refused", error.code()])
            .inc();
        if let Some(who) = error.principal() {
            sidecar.metrics.mfa_challenges_total.inc();
            let login = self.login(who, name);
            sidecar.recorder.mfa_challenge(&login, error.code());
        } else if error.presented() {
            sidecar
                .recorder
                .failed_login(&self.connection, self.reference, error.code());
            self.count_failure(None);
        }
        if matches!(error, AuthnError::Proof(ProofError::Full)) {
            sidecar.limit_reached("dpop_proofs");
        }
        let nonce = matches!(error, AuthnError::Proof(_))
            .then(|| sidecar.authenticator.proof_nonce(clock::now_unix()))
            .flatten();
        match self.live.challenges.answer(error, &self.live.second_factor) {
            (_, Some(challenge)) => match nonce {
                Some(nonce) => Refusal::NonceWanted { challenge, nonce },
                None => Refusal::Unauthorized(challenge),
            },
            (_, None) => Refusal::IdentityProvider,
        }
    }
}
