//! How long who stays: login sessions, in memory or in a Redis that replicas share, and MCP sessions, in memory.
//!
//! A *login session* is an (issuer, subject, `sid`, else `jti`) from its first accepted request on. Its limits hold on every
//! request and on open streams. An *MCP session* is an `Mcp-Session-Id`, bound to the principal that got it.
//!
//! Promises:
//! - a session that ended stays ended, though its token is still valid and whatever the wall clock does;
//! - every table is bounded and refuses when full: a live session never makes room for another user's;
//! - each end of a session is told exactly once, as a [`SessionEvent`].

mod clock;
mod given;
mod live;
pub mod mcp;
mod scripts;
mod sealed;
mod shared;
mod store;
mod table;
pub mod tasks;

#[cfg(test)]
mod tests;

pub use given::GIVEN_MAX;
pub use live::{EndReason, InSession};
pub use sealed::SessionSeal;
pub use shared::{LOOK_INTERVAL, STALE_MAX, Unreachable};
pub use store::SessionTable;
pub use table::{
    Admitted, EventKind, Listed, Refusal, Refused, SESSIONS_MAX_DEFAULT, SessionEvent,
    SessionLimits, login_id,
};
pub(crate) use table::{digest, session_key};
