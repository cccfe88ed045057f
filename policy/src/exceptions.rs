//! The `exceptions` section: the only place to loosen anything, each with why, who accepted it and its last day.
//!
//! An exception ends by itself: whatever asks compares the time with [`Exception::ends_unix`], so that it is strict again from
//! the day after, without a restart.

use std::sync::Arc;

/// How long before its end an exception alerts, in seconds: 14 days.
pub const ALERT_SECONDS: i64 = 14 * 24 * 3600;

/// What may be loosened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Allowed {
    /// The server behind a tool holds in clear what the tool is called with.
    StorageClear,
}

impl Allowed {
    /// The word of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StorageClear => "storage_clear",
        }
    }
}

/// One accepted risk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// What is loosened.
    pub allow: Allowed,
    /// The rule that it is for, as it is written: `tools.lab_*`.
    pub rule: Arc<str>,
    /// Why.
    pub because: String,
    /// Who accepted it.
    pub approved_by: String,
    /// Its last day, as it is written.
    pub until: String,
    /// The first moment at which it does not hold any more, in seconds since the epoch: midnight UTC behind its last day.
    pub ends_unix: i64,
}

/// How an exception stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It holds.
    Holds,
    /// It holds, and ends within [`ALERT_SECONDS`].
    EndsSoon,
    /// It is over: strict again.
    Over,
}

impl Exception {
    /// How it stands.
    #[must_use]
    pub fn standing(&self, now_unix: i64) -> Standing {
        match self.ends_unix.saturating_sub(now_unix) {
            ..=0 => Standing::Over,
            1..=ALERT_SECONDS => Standing::EndsSoon,
            _ => Standing::Holds,
        }
    }
}
