//! The control socket: whatever changes the state of a running sidecar from outside.
//!
//! A unix socket in `state.directory`, 0600 in a 0700 directory; besides, only the sidecar's own user and root are heard
//! (`SO_PEERCRED`). A connection carries one request and one answer, each a line of JSON of bounded length. Every change that
//! it makes is an event.

mod client;
mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use client::{ClientError, ask, ask_until_the_end};
pub use server::{BindError, Control};

/// The socket's name in `state.directory`.
pub const SOCKET_NAME: &str = "control.sock";
/// The longest line of a request or an answer, in bytes.
pub const LINE_BYTES_MAX: u64 = 16 * 1024;
/// Until a request is read whole, and until an answer is written.
pub const LINE_DEADLINE: Duration = Duration::from_secs(5);
/// Until an access record is durable, or the query is refused.
pub const ACCESS_DEADLINE: Duration = Duration::from_secs(10);
/// Connections at once; more wait to be accepted.
pub const CONNECTIONS_MAX: usize = 16;

/// What is asked of a sidecar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// End as on SIGTERM. The connection is closed when it is over.
    Drain {},
    /// Log this much from now on.
    LogLevel {
        /// `off`, `error`, `warn`, `info`, `debug` or `trace`.
        level: String,
    },
    /// Record that somebody is about to be shown the audit log; answered when it is durable.
    Access {
        /// What was asked for, without any identifier of a patient but a pseudonym.
        query: String,
        /// How many records are about to be shown.
        records: u64,
    },
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Whether it was done.
    pub ok: bool,
    /// Why not, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Answer {
    fn done() -> Self {
        Self {
            ok: true,
            error: None,
        }
    }

    fn refused(why: impl Into<String>) -> Self {
        Self {
            ok: false,
            error: Some(why.into()),
        }
    }
}

/// Where the socket of a sidecar with this state is.
pub fn socket_in(state: &Path) -> PathBuf {
    state.join(SOCKET_NAME)
}
