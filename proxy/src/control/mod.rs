//! The control socket: whatever changes the state of a running sidecar from outside.
//!
//! A unix socket in `state.directory`, 0600 in a 0700 directory; besides, only the sidecar's own user and root are heard
//! (`SO_PEERCRED`). A connection carries one request and one answer, each a line of JSON of bounded length. Every change that
//! it makes is an event.

mod client;
mod emergencies;
mod factors;
mod server;
mod sessions;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::emergency::Verdict;

pub use client::{ClientError, ask, ask_for_text, ask_until_the_end};
pub use factors::Whose;
pub use server::{BindError, Control};
pub use sessions::{LISTED_MAX, Which};

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
    /// Show the live login sessions.
    ListSessions {},
    /// End login sessions, and what was had for them.
    EndSessions {
        /// Whose.
        which: Which,
    },
    /// Open an invitation to enrol a second factor; answered with the link.
    InviteFactor {
        /// Whose.
        whose: Whose,
        /// How long it serves.
        valid_seconds: u32,
    },
    /// Show who enrolled what.
    ListFactors {
        /// This subject's alone.
        subject: Option<String>,
    },
    /// Take away all that somebody enrolled.
    RemoveFactors {
        /// Whose.
        whose: Whose,
    },
    /// Show uses of emergency access.
    ListEmergencies {
        /// Those that were reviewed, too.
        all: bool,
    },
    /// Note the review of one; answered when it is durable.
    ReviewEmergency {
        /// Its id.
        id: String,
        /// Who reviews it.
        reviewer: String,
        /// What was found.
        verdict: Verdict,
        /// In words that name no patient.
        note: String,
    },
    /// Destroy a patient's key; answered with the signed receipt once both are durable.
    Shred {
        /// Whose.
        patient: PatientId,
        /// Why, in words that name nobody.
        reason: String,
    },
}

/// A patient's id on its way to the sidecar. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct PatientId(pub Zeroizing<String>);

impl fmt::Debug for PatientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PatientId(..)")
    }
}

impl Serialize for PatientId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PatientId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(Zeroizing::new(text)))
    }
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
    /// What was asked for, where it is a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Answer {
    fn done() -> Self {
        Self {
            ok: true,
            error: None,
            text: None,
        }
    }

    fn with_text(text: String) -> Self {
        Self {
            text: Some(text),
            ..Self::done()
        }
    }

    fn refused(why: impl Into<String>) -> Self {
        Self {
            ok: false,
            error: Some(why.into()),
            text: None,
        }
    }
}

/// Where the socket of a sidecar with this state is.
pub fn socket_in(state: &Path) -> PathBuf {
    state.join(SOCKET_NAME)
}
