//! What client and server tell each other that they can do, without what the policy lets neither do.
//!
//! A server that is told of a client's `sampling` asks for samples and waits; a client that is told of a server's
//! `logging` sets a level and gives up when that is denied. So a capability goes on only where the rule of its method
//! could permit it to this principal: the same decision as for the method itself.

use bytes::Bytes;
use safeguard_policy::action::Listed;
use safeguard_policy::decide;
use safeguard_wire::json::{DuplicateMember, Splice, Tree, Value};

use super::{Caller, Exchange};
use crate::era::{Claim, Era};
use crate::refuse::Refusal;
use crate::rewrite::LIMITS;
use crate::upstream::UpstreamError;

/// A capability by its path, and the method whose rule decides it.
type Capability = (&'static [&'static str], &'static str);

/// What a client may be asked.
const OF_CLIENT: [Capability; 4] = [
    (&["sampling"], "sampling/createMessage"),
    (&["elicitation"], "elicitation/create"),
    (&["roots"], "roots/list"),
    (&["tasks"], "tasks/get"),
];

/// What a server of the legacy era offers beside what it lists.
const OF_LEGACY_SERVER: [Capability; 4] = [
    (&["logging"], "logging/setLevel"),
    (&["completions"], "completion/complete"),
    (&["resources", "subscribe"], "resources/subscribe"),
    (&["tasks"], "tasks/get"),
];

/// The same of the modern era, where every notification of a change needs a subscription.
const OF_MODERN_SERVER: [Capability; 7] = [
    (&["logging"], "notifications/message"),
    (&["completions"], "completion/complete"),
    (&["resources", "subscribe"], "subscriptions/listen"),
    (&["resources", "listChanged"], "subscriptions/listen"),
    (&["tools", "listChanged"], "subscriptions/listen"),
    (&["prompts", "listChanged"], "subscriptions/listen"),
    (
        &["extensions", "io.modelcontextprotocol/tasks"],
        "tasks/get",
    ),
];

/// Where a client says what it can do: once, or with every request of the modern era.
const SAID_ONCE: [&str; 2] = ["params", "capabilities"];
const SAID_EACH_TIME: [&str; 3] = [
    "params",
    "_meta",
    "io.modelcontextprotocol/clientCapabilities",
];

/// The longest `initialize` that is looked into, in bytes. A longer one passes with all it says: what it offers is
/// denied when it is used.
const INITIALIZE_BYTES_MAX: usize = 64 * 1024;

impl Exchange<'_> {
    /// A client's message without the capabilities that the server could only use in vain; none where all may be used.
    pub(super) fn capable(
        &self,
        caller: &Caller,
        claim: &Claim,
        body: &[u8],
    ) -> Result<Option<Bytes>, Refusal> {
        let path: &[&str] = match claim {
            Claim::Modern => &SAID_EACH_TIME,
            Claim::Legacy if may_initialize(body) => &SAID_ONCE,
            Claim::Legacy | Claim::Unspoken(_) => return Ok(None),
        };
        // What does not parse, or says a thing twice, is refused by those who read it next.
        let Ok(tree) = Tree::parse(body, &LIMITS) else {
            return Ok(None);
        };
        let trimmed = self.trim(caller, &tree, path, &OF_CLIENT);
        let trimmed = trimmed.map_err(|_| {
            Refusal::InvalidRequest("a member on the way to capabilities stands twice")
        });
        Ok(trimmed?.map(Bytes::from))
    }

    /// A server's word on itself without the capabilities that the client could only use in vain.
    pub(super) fn offered(
        &self,
        caller: &Caller,
        tree: &Tree<'_>,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let table: &[Capability] = match self.era {
            Era::Legacy => &OF_LEGACY_SERVER,
            Era::Modern => &OF_MODERN_SERVER,
        };
        self.trim(caller, tree, &["result", "capabilities"], table)
            .map_err(|_| UpstreamError::Invalid.into())
    }

    fn trim(
        &self,
        caller: &Caller,
        tree: &Tree<'_>,
        path: &[&str],
        table: &[Capability],
    ) -> Result<Option<Vec<u8>>, DuplicateMember> {
        let Some(capabilities) = at(tree.root(), path)? else {
            return Ok(None);
        };
        let mut splice = Splice::new(tree);
        for (capability, method) in table {
            if let Some(said) = at(capabilities, capability)?
                && !self.could(caller, method)
            {
                splice.remove(said);
            }
        }
        Ok((!splice.is_empty()).then(|| splice.apply()))
    }

    /// Whether a rule could permit a method to this principal, whatever it is called with.
    fn could(&self, caller: &Caller, method: &str) -> bool {
        let principal = caller.principal();
        let item = Listed::Method(method);
        decide::listed(&self.live.policy, &principal, &item, caller.now_unix).is_some()
    }
}

/// Whether a legacy message may be an `initialize`; one that is written in escapes passes with all it says.
fn may_initialize(body: &[u8]) -> bool {
    body.len() <= INITIALIZE_BYTES_MAX && memchr::memmem::find(body, b"initialize").is_some()
}

/// The value at a path of member names.
fn at<'t>(root: Value<'t>, path: &[&str]) -> Result<Option<Value<'t>>, DuplicateMember> {
    path.iter().try_fold(Some(root), |value, name| match value {
        Some(value) => value.get(name),
        None => Ok(None),
    })
}
