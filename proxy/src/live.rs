//! The configuration in force: everything that a reload replaces at once, so that a request sees one of them whole.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use safeguard_policy::Policy;
use safeguard_policy::policy::Storage;

use crate::authn::{Challenges, StepUp};
use crate::gate::Face;
use crate::patients::PatientKeys;
use crate::rewrite::Workshop;
use crate::tools_lock::ToolsLock;

/// Why a PHI value can't be sealed or opened while its key is awaited from its source.
pub const KEY_AWAITED: &str = "sealed or opened: its key is awaited";

/// One configuration, ready to judge by.
pub struct Live {
    /// SHA-256 of the merged document.
    pub hash: [u8; 32],
    /// SHA-256 over the bytes of the PHI and integrity keys: for telling a rotation, never shown.
    pub keys_fingerprint: [u8; 32],
    /// Which key does not come from its source, and why: then no call about PHI is answered.
    pub awaited: Option<ArcSwap<String>>,
    /// Who may see what.
    pub policy: Arc<Policy>,
    /// Keys and names for rewriting.
    pub workshop: Workshop,
    /// The tools that were reviewed, where only those may be called.
    pub tools_lock: Option<ToolsLock>,
    /// The keys of patients, where the policy gives each one.
    pub patients: Option<PatientKeys>,
    /// What clients see of this endpoint.
    pub face: Face,
    /// What a missing second factor is asked for with.
    pub second_factor: StepUp,
    /// The `WWW-Authenticate` values.
    pub challenges: Challenges,
    /// The RFC 9728 document.
    pub resource_metadata: Bytes,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Live")
    }
}

impl Live {
    /// The hash as hexadecimal digits.
    pub fn hash_text(&self) -> String {
        self.hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether another configuration's rings hold other keys: a secret may rotate while the document stays.
    pub fn keys_differ(&self, other: &Self) -> bool {
        self.keys_fingerprint != other.keys_fingerprint
    }

    /// Whether PHI can be sealed now: a key of the ring is in force, or the upstream's storage is clear.
    pub fn can_seal(&self, now_unix: i64) -> bool {
        self.awaited.is_none()
            && (self.policy.phi().storage == Storage::Clear
                || self.workshop.ring.sealing(now_unix).is_some())
    }

    /// The name under which the policy lists what is called; empty for what it does not list, so that no event and no
    /// label repeats a client's words.
    pub fn policy_label(&self, method: &str, name: &str) -> String {
        let policy = &self.policy;
        match method {
            "tools/call" => policy.listed_tool(name),
            "prompts/get" => policy.prompts().into_iter().find(|prompt| *prompt == name),
            _ => None,
        }
        .unwrap_or("")
        .to_owned()
    }
}
