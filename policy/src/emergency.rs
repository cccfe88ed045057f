//! The `emergency` section: who may break the glass, and what it shows them (45 CFR 164.312(a)(2)(ii)).
//!
//! What has begun is a fact of the principal ([`crate::principal::ActiveEmergency`]); whether and how it counts is decided in
//! `decide::emergency`. The sidecar begins, ends and reviews emergencies; nothing of that is here.

use std::collections::HashSet;
use std::sync::Arc;

use crate::policy::RoleSet;

/// The purpose of use of whatever an emergency permits (HL7 v3 PurposeOfUse: break the glass).
pub const PURPOSE: &str = "BTG";
/// The sidecar's own tool that begins one.
pub const START_TOOL: &str = "safeguard_emergency_start";
/// The sidecar's own tool that ends one.
pub const STOP_TOOL: &str = "safeguard_emergency_stop";

/// The section, names resolved.
#[derive(Debug)]
pub struct Emergency {
    /// Who may break the glass.
    pub(crate) roles: RoleSet,
    /// The role whose view is added, as a set of one.
    pub(crate) view: RoleSet,
    /// The rules of the tools, by their names (`tools.read_record`).
    pub(crate) tools: HashSet<Arc<str>>,
    /// Its tools as they are written, in order.
    pub(crate) tool_names: Vec<String>,
    pub(crate) lasts_seconds: u32,
    pub(crate) review_within_seconds: u32,
}

impl Emergency {
    /// How long one lasts, in seconds.
    #[must_use]
    pub fn lasts_seconds(&self) -> u32 {
        self.lasts_seconds
    }

    /// Until when one must be reviewed, in seconds from its start.
    #[must_use]
    pub fn review_within_seconds(&self) -> u32 {
        self.review_within_seconds
    }

    /// The tools that it is for, as they are written.
    #[must_use]
    pub fn tools(&self) -> &[String] {
        &self.tool_names
    }
}

/// Whether a tool of this name is the sidecar's own, where emergencies are configured.
#[must_use]
pub fn is_own_tool(name: &str) -> bool {
    matches!(name, START_TOOL | STOP_TOOL)
}
