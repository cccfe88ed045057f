//! What a server says by itself on its way to the client: questions (sampling, elicitation) and notifications. Their
//! `params` are judged like an answer's result.

use safeguard_wire::json::{Splice, Tree, Value};
use safeguard_wire::mcp::{self, Place};

use super::answer::{Call, RewrittenAnswer, open_message, parse};
use super::record::Checked;
use super::show::Shower;
use super::{RewriteError, Touched, Workshop};

/// Whether an answer is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// A request of the server's.
    Question,
    /// A notification.
    News,
}

/// Rewrites a request or notification of the server's for who is asked or told.
///
/// # Errors
/// When a value can't be opened, the message is ambiguous where it is read, or what it can't be without is withheld
/// (the address that a person is sent to). Then nothing of it may be released.
pub fn told(
    tree: &Tree<'_>,
    method: &str,
    told: Told,
    call: &Call<'_>,
    workshop: &Workshop,
) -> Result<RewrittenAnswer, RewriteError> {
    let mut touched = Touched::default();
    let opened = {
        let all = places(tree, method, told)?;
        open_message(tree, &all, call, workshop, &mut touched)?
    };
    let body = match &opened {
        Some(text) => show(&parse(text)?, (method, told), call, workshop, &mut touched)?,
        None => show(tree, (method, told), call, workshop, &mut touched)?,
    };
    Ok(RewrittenAnswer {
        body: body.or(opened),
        touched,
        patients: Vec::new(),
        dropped: 0,
        records: Checked::default(),
        failed: false,
    })
}

fn show(
    tree: &Tree<'_>,
    (method, told): (&str, Told),
    call: &Call<'_>,
    workshop: &Workshop,
    touched: &mut Touched,
) -> Result<Option<Vec<u8>>, RewriteError> {
    let mut splice = Splice::new(tree);
    let mut shower = Shower::new(call, workshop, touched);
    for place in &places(tree, method, told)? {
        shower.place(place, &mut splice)?;
    }
    if let Some(params) = params(tree)? {
        shower.name_withheld(params, &mut splice)?;
    }
    Ok((!splice.is_empty()).then(|| splice.apply()))
}

fn params<'t>(tree: &'t Tree<'_>) -> Result<Option<Value<'t>>, RewriteError> {
    let ambiguous = |_| RewriteError::Upstream("duplicate_members");
    tree.root().get("params").map_err(ambiguous)
}

fn places<'t>(
    tree: &'t Tree<'_>,
    method: &str,
    told: Told,
) -> Result<Vec<Place<'t>>, RewriteError> {
    let ambiguous = |_| RewriteError::Upstream("duplicate_members");
    let mut all = mcp::envelope(tree.root()).map_err(ambiguous)?;
    if let Some(params) = params(tree)? {
        let found = match told {
            Told::Question => mcp::server_request(method, params),
            Told::News => mcp::notification(method, params),
        };
        all.extend(found.map_err(ambiguous)?);
    }
    Ok(all)
}
