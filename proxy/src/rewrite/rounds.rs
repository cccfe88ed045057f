//! Requests in several rounds (MCP 2026-07-28, Multi Round-Trip Requests): the server's `requestState` goes to the client
//! and comes back with the request that is sent anew.
//!
//! The state is the server's own and may hold whatever it was sent, so the client gets a token in its place: sealed,
//! and bound to the principal, to what is called and to an hour. Any replica opens it, and nothing is kept. Handed
//! back by another principal, for another call or too late it is as if it did not exist.

use safeguard_vault::carry::Binding;
use safeguard_wire::json::{Splice, Tree, Value, quote};
use sha2::{Digest, Sha256};

use super::answer::Call;
use super::request::locate;
use super::{RewriteError, Workshop};
use crate::session::mcp::Owner;

/// What the tokens are sealed for, where a field's name would stand. No field is called so: names have no slash.
const FIELD: &str = "mcp/requestState";
/// How long a token lasts, in seconds: a person answers within it, or the request begins anew.
pub const STATE_SECONDS: u32 = 3600;
/// The longest state, in bytes. The specification names no bound; servers keep a few hundred bytes in it.
pub const STATE_BYTES_MAX: usize = 256 * 1024;
/// What a state that can't be handed back is refused with.
pub const UNKNOWN_STATE: &str = "request_state_not_valid";

/// What a state is bound to: who asked, and what for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Round([u8; 32]);

impl std::fmt::Debug for Round {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Round")
    }
}

impl Round {
    /// The rounds of one principal's calls of `name` (a tool, a prompt, a URI) by `method`.
    pub fn new(owner: Owner, method: &str, name: &str) -> Self {
        let mut digest = Sha256::new();
        digest.update(owner.digest());
        for part in [method, name] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }

    fn binding(&self) -> Binding<'_> {
        Binding {
            patient: None,
            session: Some(&self.0),
        }
    }
}

/// Puts a token in a state's place.
pub(super) fn seal<'t>(
    state: Value<'t>,
    call: &Call<'_>,
    workshop: &Workshop,
    splice: &mut Splice<'t>,
) -> Result<(), RewriteError> {
    let (Some(round), Some(_)) = (call.holder.round, state.string()) else {
        return Err(RewriteError::Upstream("request_state"));
    };
    if state.raw().len() > STATE_BYTES_MAX {
        return Err(RewriteError::Upstream("request_state_too_long"));
    }
    let token = workshop
        .carrier
        .issue(FIELD, round.binding(), state.raw(), call.now_unix)
        .map_err(|_| RewriteError::Vault("sealed"))?;
    splice.replace(state, quote(&token));
    Ok(())
}

/// Puts the server's state back in its token's place, if the message brings one.
///
/// # Errors
/// [`UNKNOWN_STATE`] for whatever was not given out for this round.
pub(super) fn open<'t>(
    tree: &'t Tree<'_>,
    round: Option<Round>,
    workshop: &Workshop,
    now_unix: i64,
    splice: &mut Splice<'t>,
) -> Result<(), RewriteError> {
    let Some(token) = locate(tree, &["params", "requestState"])? else {
        return Ok(());
    };
    let unknown = RewriteError::Denied(UNKNOWN_STATE);
    let (Some(round), Some(text)) = (round, token.string()) else {
        return Err(unknown);
    };
    let state = workshop
        .carrier
        .redeem(&text, FIELD, round.binding(), now_unix, Some(STATE_SECONDS))
        .map_err(|_| unknown)?;
    splice.replace(token, state.value.expose().as_bytes());
    Ok(())
}
