//! The two eras of MCP on one endpoint, told apart request by request.
//!
//! *Legacy* revisions (to 2025-11-25) begin with `initialize` and have sessions; the *modern* one (2026-07-28) has
//! neither: each request says its revision, in a header and in its `_meta`, and mirrors what it asks for in headers.
//! Nothing is translated. A request of an era that the upstream does not speak never reaches it: servers have died
//! of less (a modern probe ends the session manager of some older SDKs).
//!
//! Which revisions the upstream speaks is configured (`upstream.protocol_versions`) or learnt without asking it
//! anything: the legacy ones count as spoken, the modern one once the upstream itself has named it, in the error by
//! which a server that speaks no other answers a client's `initialize`.

mod headers;
mod methods;
mod scope;

use std::sync::atomic::{AtomicBool, Ordering};

use http::HeaderMap;
use safeguard_wire::json::{Kind, Tree, Value};
use safeguard_wire::jsonrpc::Message;

pub use headers::{Mirrored, check, mirrored, up};
pub use methods::exists;
pub use scope::{own_revisions, private};

use crate::gate;
use crate::refuse::Refusal;

/// The modern revision.
pub const MODERN: &str = "2026-07-28";
/// The revisions that count as spoken where the configuration names none.
const LEGACY: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];
/// The longest revision that an error repeats, in bytes; any real one has ten.
const REVISION_BYTES_MAX: usize = 32;

/// The member of `params._meta` that says a modern request's revision.
const VERSION_MEMBER: &str = "io.modelcontextprotocol/protocolVersion";

/// What a request is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// Handshake and sessions.
    Legacy,
    /// Each request by itself.
    Modern,
}

/// What the upstream has said of its revisions.
#[derive(Debug, Default)]
pub struct Learnt(AtomicBool);

impl Learnt {
    /// Reads the error by which the upstream answers an `initialize`: `error.data.supported` names what it speaks
    /// (MCP 2026-07-28, Versioning). Says whether that is news.
    pub fn from_error(&self, answer: &Tree<'_>) -> bool {
        let path = ["error", "data", "supported"];
        let named = path
            .iter()
            .try_fold(answer.root(), |value, name| value.get(name).ok().flatten());
        let modern = named
            .filter(|list| list.kind() == Kind::Array)
            .is_some_and(|list| {
                list.children()
                    .any(|one| one.string().as_deref() == Some(MODERN))
            });
        modern && !self.0.swap(true, Ordering::AcqRel)
    }

    fn modern(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The revisions that the upstream speaks.
#[derive(Debug, Clone, Copy)]
pub struct Spoken<'s> {
    configured: Option<&'s [String]>,
    learnt: bool,
}

impl<'s> Spoken<'s> {
    /// By the configuration, or else by what was learnt.
    pub fn new(configured: Option<&'s [String]>, learnt: &Learnt) -> Self {
        Self {
            configured,
            learnt: learnt.modern(),
        }
    }

    /// All of them.
    pub fn revisions(self) -> Vec<&'s str> {
        match self.configured {
            Some(configured) => configured.iter().map(String::as_str).collect(),
            None => {
                let modern = self.learnt.then_some(MODERN);
                LEGACY.into_iter().chain(modern).collect()
            }
        }
    }

    /// Whether the upstream speaks one.
    pub fn has(self, revision: &str) -> bool {
        match self.configured {
            Some(configured) => configured.iter().any(|own| own == revision),
            None => LEGACY.contains(&revision) || self.learnt && revision == MODERN,
        }
    }

    /// Whether it speaks the modern one.
    pub fn modern(self) -> bool {
        self.has(MODERN)
    }

    /// Whether more may be learnt.
    pub fn learns(self) -> bool {
        self.configured.is_none()
    }
}

/// What a request's `MCP-Protocol-Version` claims, before its body is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// A legacy revision, or none.
    Legacy,
    /// The modern one.
    Modern,
    /// One that the upstream does not speak, which speaks the modern one: the answer says so in modern words.
    Unspoken(String),
}

/// Reads the claim.
///
/// # Errors
/// 400 for a revision that an upstream of the legacy era alone does not speak: in plain text, from which newer clients
/// fall back to `initialize`.
pub fn claim(headers: &HeaderMap, spoken: Spoken<'_>) -> Result<Claim, Refusal> {
    match gate::text(headers, &gate::PROTOCOL_VERSION)? {
        None => Ok(Claim::Legacy),
        Some(MODERN) if spoken.modern() => Ok(Claim::Modern),
        Some(revision) if spoken.has(revision) => Ok(Claim::Legacy),
        Some(revision) if spoken.modern() && revision.len() <= REVISION_BYTES_MAX => {
            Ok(Claim::Unspoken(revision.to_owned()))
        }
        Some(_) => Err(Refusal::Revision),
    }
}

/// The era of a request, by what it claims and by what its body says.
///
/// # Errors
/// 400 where the two differ, where the upstream does not speak it, or where the message has no place in its era.
pub fn of(claim: &Claim, message: &Message<'_>, spoken: Spoken<'_>) -> Result<Era, Refusal> {
    let said = revision_of(message)?;
    let is_modern = said.is_some() || methods::modern_alone(message);
    match claim {
        Claim::Legacy if !is_modern => Ok(Era::Legacy),
        Claim::Legacy if !spoken.modern() => Err(Refusal::Revision),
        Claim::Legacy => Err(Refusal::HeaderMismatch(
            "header mcp-protocol-version does not say what the body says",
        )),
        Claim::Unspoken(claimed) if said.as_deref() == Some(claimed.as_str()) => {
            let supported = spoken.revisions().into_iter().map(str::to_owned).collect();
            Err(Refusal::UnsupportedRevision {
                supported,
                requested: claimed.clone(),
            })
        }
        // A legacy request of a revision that nobody speaks: it never said it in its body.
        Claim::Unspoken(_) if !is_modern => Err(Refusal::Revision),
        Claim::Unspoken(_) => Err(Refusal::HeaderMismatch(
            "header mcp-protocol-version does not say what the body says",
        )),
        Claim::Modern => match message {
            Message::Response { .. } => Err(Refusal::InvalidRequest(
                "this revision has no answers from a client: send inputResponses with the request anew",
            )),
            Message::Request { .. } | Message::Notification { .. } => Ok(Era::Modern),
        },
    }
}

/// The revision that a message's `_meta` says.
fn revision_of(message: &Message<'_>) -> Result<Option<String>, Refusal> {
    let params = match message {
        Message::Request { params, .. } | Message::Notification { params, .. } => *params,
        Message::Response { .. } => None,
    };
    let Some(params) = params else {
        return Ok(None);
    };
    let twice = Refusal::InvalidRequest("a member of params or of its _meta stands twice");
    let meta = params.get("_meta").map_err(|_| twice.clone())?;
    let said = match meta {
        Some(meta) => meta.get(VERSION_MEMBER).map_err(|_| twice)?,
        None => None,
    };
    let revision = said.and_then(Value::string);
    Ok(revision.map(|revision| revision.into_owned()))
}

#[cfg(test)]
mod tests;
