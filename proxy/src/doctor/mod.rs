//! `doctor`: is what stands around the sidecar as safe as its configuration asks? Item by item, with what mends each.
//!
//! It only reads. What it may not see is a finding, too: nobody knows then whether it is safe. An item says what was found
//! in words of its own or of the provider's settings, never a secret.

pub mod keycloak;
mod realm;

use serde_json::{Value, json};

/// How an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// As it is wanted.
    Well,
    /// Other than it is wanted.
    Finding,
    /// It can't be seen. Counts as a finding.
    Unknown,
    /// The configuration has no such part.
    NotConfigured,
}

impl Standing {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Finding => "finding",
            Self::Unknown => "unknown",
            Self::NotConfigured => "not configured",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What, as `keycloak.events`: the part and the item.
    pub what: &'static str,
    /// How it stands.
    pub standing: Standing,
    /// What is there.
    pub found: String,
    /// What should be.
    pub wanted: String,
    /// What makes it so; empty where nothing is to be done.
    pub mend: &'static str,
}

impl Item {
    /// An item that is well if `well`.
    pub fn judged(
        what: &'static str,
        well: bool,
        found: impl Into<String>,
        wanted: impl Into<String>,
        mend: &'static str,
    ) -> Self {
        Self {
            what,
            standing: if well {
                Standing::Well
            } else {
                Standing::Finding
            },
            found: found.into(),
            wanted: wanted.into(),
            mend: if well { "" } else { mend },
        }
    }

    /// An item that can't be seen.
    pub fn unknown(
        what: &'static str,
        found: impl Into<String>,
        wanted: impl Into<String>,
        mend: &'static str,
    ) -> Self {
        Self {
            what,
            standing: Standing::Unknown,
            found: found.into(),
            wanted: wanted.into(),
            mend,
        }
    }

    /// A part that the configuration does not have.
    pub fn not_configured(what: &'static str) -> Self {
        Self {
            what,
            standing: Standing::NotConfigured,
            found: String::new(),
            wanted: String::new(),
            mend: "",
        }
    }

    /// Whether something is to be done.
    pub fn is_finding(&self) -> bool {
        matches!(self.standing, Standing::Finding | Standing::Unknown)
    }

    /// As `--format json` prints it.
    pub fn to_json(&self) -> Value {
        json!({
            "what": self.what, "standing": self.standing.word(), "found": self.found, "wanted": self.wanted, "mend": self.mend,
        })
    }
}

/// A part that has to answer does not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);
