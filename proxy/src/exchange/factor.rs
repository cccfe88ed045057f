//! What a caller is told whose second factor is missing or too old, where the sidecar verifies second factors itself: the
//! way to its page.
//!
//! Beside the challenge of RFC 9470 the way stands in `error_uri`. A client that said that it opens pages (MCP 2025-11-25,
//! `elicitation.url`) is asked to, by the error that this revision has for it: it knows what to do, and comes again.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderValue;
use pingora::protocols::http::ServerSession;
use safeguard_certs::PeerIdentity;
use safeguard_policy::decide::DenialReason;
use safeguard_policy::policy;
use safeguard_wire::json::{Splice, Tree, Value};
use safeguard_wire::jsonrpc::Message;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{Bound, Caller, Exchange};
use crate::authn::{Authenticated, AuthnError, StepUp};
use crate::downstream::Downstream;
use crate::era::{self, Claim};
use crate::factor::proofs::Holder;
use crate::gate;
use crate::refuse::Refusal;
use crate::rewrite::LIMITS;
use crate::session::mcp::Owner;

/// What the client's answer is called where it comes again (MCP 2026-07-28, `inputResponses`).
pub const ANSWER: &str = "safeguard_second_factor";
/// Characters of an elicitation's id.
const ID_CHARS: usize = 32;
/// The longest first message that is looked into for what its client can do, in bytes.
const FIRST_BYTES_MAX: usize = 64 * 1024;

/// How a client is asked to open the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// By the challenge alone: it said nothing of pages.
    Challenge,
    /// By the error of 2025-11-25.
    Error,
    /// By a result that needs input, of 2026-07-28.
    Result,
}

/// The way to the page. What leads there stands in answers alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Way {
    /// The challenge, which names the page.
    pub challenge: HeaderValue,
    /// The page.
    pub url: Zeroizing<String>,
    /// The elicitation's id: the same while the page is.
    pub id: String,
    /// How the client is asked.
    pub asks: Asks,
    /// Whose MCP sessions tell it.
    owner: Owner,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Way(..)")
    }
}

impl Way {
    fn new(challenge: HeaderValue, url: Zeroizing<String>, owner: Owner) -> Self {
        let hash = Sha256::digest(["safeguard elicitation", &url].concat());
        let id: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            challenge,
            url,
            owner,
            id: id.chars().take(ID_CHARS).collect(),
            asks: Asks::Challenge,
        }
    }

    /// What the client shows beside it.
    pub fn message(&self) -> &'static str {
        "Prove your second factor on this page, then go on."
    }

    /// The same, asked in another manner.
    #[must_use]
    pub fn asked(mut self: Box<Self>, asks: Asks) -> Box<Self> {
        self.asks = asks;
        self
    }
}

impl Exchange<'_> {
    /// Adds the second factor that the session proved here, whether its token shows another or none.
    pub(super) fn with_own_factor(
        &self,
        judged: Result<Arc<Authenticated>, AuthnError>,
        peer: Option<&PeerIdentity>,
    ) -> Result<Arc<Authenticated>, AuthnError> {
        let Some(factors) = &self.sidecar.factors else {
            return judged;
        };
        let who = match &judged {
            Ok(who) if !who.is_service() => who,
            Err(AuthnError::SecondFactorMissing(who)) => who,
            _ => return judged,
        };
        let certificate = peer.map(|peer| &peer.leaf_sha256);
        match factors.proof(who, certificate, Instant::now()) {
            Some(proved) => Ok(proved),
            None => judged,
        }
    }

    /// A challenge, with the way to the page where there is one.
    pub(super) fn with_way(
        &self,
        refusal: Refusal,
        asked: &StepUp,
        who: &Arc<Authenticated>,
        peer: Option<&PeerIdentity>,
    ) -> Refusal {
        let Some(factors) = &self.sidecar.factors else {
            return refusal;
        };
        let holder = Holder {
            who: Arc::clone(who),
            certificate: peer.map(|peer| peer.leaf_sha256),
            name: peer.map(|peer| peer.name.clone()),
            source: self.connection.source(),
        };
        let name = peer.map_or("", |peer| peer.name.as_str());
        let owner = Owner::new(who.issuer(), who.subject(), name);
        let Some(url) = factors.link(holder, Instant::now()) else {
            self.sidecar.limit_reached("factor_links");
            return refusal;
        };
        let challenge = self.live.challenges.step_up(asked, Some(&url));
        Refusal::SecondFactor(Box::new(Way::new(challenge, url, owner)))
    }

    /// Notes whether the client opens pages: it said so when its session began, or says so now.
    pub(super) fn note_pages(&mut self, session: Option<&Bound>, claim: &Claim, body: &[u8]) {
        if self.sidecar.factors.is_some() {
            let said_once = session.is_some_and(|bound| bound.session.opens_pages());
            self.asks = match said_once {
                true => Asks::Error,
                false => said(claim, body),
            };
        }
    }

    /// A message that comes again without the client's word that it opened the page: nobody else asked for that.
    pub(super) fn without_own_answer(&self, body: Bytes) -> Bytes {
        let is_there = || memchr::memmem::find(&body, ANSWER.as_bytes()).is_some();
        if self.sidecar.factors.is_none() || !is_there() {
            return body;
        }
        let Ok(tree) = Tree::parse(&body, &LIMITS) else {
            return body;
        };
        let answers = at(tree.root(), &["params", "inputResponses"]);
        let own = answers.and_then(|answers| at(answers, &[ANSWER]));
        let (Some(answers), Some(own)) = (answers, own) else {
            return body;
        };
        let mut splice = Splice::new(&tree);
        splice.remove(match answers.children().count() {
            1 => answers,
            _ => own,
        });
        Bytes::from(splice.apply())
    }

    /// A caller was refused before its message was read: it is read now, for what its client can do and for its id.
    pub(super) async fn shown_the_way(
        &mut self,
        http: &mut ServerSession,
        way: Box<Way>,
    ) -> Refusal {
        let headers = &http.req_header().headers;
        let known = self.opened_pages_before(headers, &way);
        let claim = era::claim(headers, self.spoken());
        let (Ok(()), Ok(claim)) = (gate::media_type(headers), claim) else {
            return Refusal::SecondFactor(way);
        };
        let limits = self.sidecar.limits;
        let mut downstream = Downstream::new(http);
        let body = match downstream.body(limits.body_bytes_max, limits.body).await {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        let Some(id) = id_of(&body) else {
            return Refusal::SecondFactor(way);
        };
        let asks = match known {
            true => Asks::Error,
            false => said(&claim, &body),
        };
        self.request_id = Some(id);
        Refusal::SecondFactor(way.asked(asks))
    }

    /// Whether the MCP session that a request names is this principal's, and of a client that opens pages.
    fn opened_pages_before(&self, headers: &http::HeaderMap, way: &Way) -> bool {
        let id = gate::session_id(headers).ok().flatten();
        let session = id.and_then(|id| self.sidecar.mcp_sessions.find(&id, way.owner).ok());
        session.is_some_and(|session| session.opens_pages())
    }
}

/// The value at a path of member names that stand once each.
fn at<'t>(root: Value<'t>, path: &[&str]) -> Option<Value<'t>> {
    path.iter()
        .try_fold(root, |value, name| value.get(name).ok().flatten())
}

/// Whether a proof on the page would turn this denial.
pub(super) fn cured_here(reason: DenialReason, step_up: &policy::StepUp, caller: &Caller) -> bool {
    let by_proof = matches!(
        reason,
        DenialReason::SecondFactorMissing | DenialReason::AuthenticationTooOld
    );
    let acr = step_up.acr.as_deref();
    by_proof && (acr.is_none() || acr == caller.authenticated.acr())
}

/// How the client of a message can be asked, as the message says: an `initialize` for its whole session, and a request of
/// the modern revision that may be answered with a question for itself.
fn said(claim: &Claim, body: &[u8]) -> Asks {
    const ONCE: [&str; 4] = ["params", "capabilities", "elicitation", "url"];
    const EACH_TIME: [&str; 5] = [
        "params",
        "_meta",
        "io.modelcontextprotocol/clientCapabilities",
        "elicitation",
        "url",
    ];
    const IN_ROUNDS: [&str; 3] = ["tools/call", "prompts/get", "resources/read"];
    if body.len() > FIRST_BYTES_MAX || memchr::memmem::find(body, b"elicitation").is_none() {
        return Asks::Challenge;
    }
    let Ok(tree) = Tree::parse(body, &LIMITS) else {
        return Asks::Challenge;
    };
    let root = tree.root();
    let Ok(Message::Request { method, .. }) = Message::parse(root) else {
        return Asks::Challenge;
    };
    let says = |path: &[&str]| at(root, path).is_some_and(|url| url.raw().first() == Some(&b'{'));
    match claim {
        Claim::Legacy if method == "initialize" && says(&ONCE) => Asks::Error,
        Claim::Modern if IN_ROUNDS.contains(&&*method) && says(&EACH_TIME) => Asks::Result,
        _ => Asks::Challenge,
    }
}

/// The id of a request, as it was written.
fn id_of(body: &[u8]) -> Option<Vec<u8>> {
    let tree = Tree::parse(body, &LIMITS).ok()?;
    match Message::parse(tree.root()) {
        Ok(Message::Request { id, .. }) => Some(id.raw().to_vec()),
        _ => None,
    }
}
