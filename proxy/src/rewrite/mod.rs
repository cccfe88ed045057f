//! Carrying out the policy's obligations on bytes: what goes up is sealed, what comes down is opened, verified and
//! shown by view.
//!
//! `request` and `answer` take one parsed message and a [`Permit`](safeguard_policy::decide::Permit) and give the
//! bytes that go on. Every byte outside the values that must change is the same: the work is done by splicing
//! spans, never by printing a parsed tree. Nothing here does I/O; what can't be done is an error, and the caller
//! releases nothing.

pub mod answer;
pub mod client;
mod held;
mod inside;
mod limit;
pub mod lists;
mod marks;
pub mod prose;
pub mod record;
mod redeem;
pub mod request;
pub mod reseal;
pub mod rounds;
mod schema;
pub mod shapes;
mod show;
mod suggest;
#[cfg(test)]
pub(crate) mod tests;
pub mod told;
mod view;

use std::sync::Arc;

use safeguard_audit::{FieldAction, FieldTouched};
use safeguard_policy::Policy;
use safeguard_policy::policy::{FernetReading, FieldId};
use safeguard_vault::carry::Carrier;
use safeguard_vault::fernet::Reading;
use safeguard_vault::mac::RecordMacRing;
use safeguard_vault::patient_keys::PatientKey;
use safeguard_vault::ring::KeyRing;
use safeguard_vault::search::Searcher;
use safeguard_vault::{Format, Opener, Sealer, Wrap};
use safeguard_wire::detect::PatternError;
use safeguard_wire::json::Limits;

pub use self::held::{
    HeldKey, Holder, PATIENT_KEY_ABSENT, PATIENT_KEY_DESTROYED, PATIENT_KEY_UNAVAILABLE,
    PatientRing,
};
use self::prose::Prose;
use thiserror::Error;

/// How deep a message may nest, in levels.
pub const DEPTH_MAX: u32 = 128;
/// How many values one message may hold.
pub const NODES_MAX: u32 = 1 << 20;

/// The bounds of every parse of a message or of JSON text inside it.
pub const LIMITS: Limits = Limits {
    depth_max: DEPTH_MAX,
    nodes_max: NODES_MAX,
};

/// Why a message could not be rewritten. Each is a refusal; none holds a value.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum RewriteError {
    /// The caller may not send this: an argument that it may not reveal, a foreign token, an envelope.
    #[error("the policy does not let this caller send this argument ({0})")]
    Denied(&'static str),
    /// A record's hash is absent or does not match, or the record is another patient's.
    #[error("the record's integrity could not be established ({0})")]
    Integrity(&'static str),
    /// A PHI value could not be sealed or opened.
    #[error("a PHI value could not be {0}")]
    Vault(&'static str),
    /// The client's message is ambiguous or not what the method takes.
    #[error("the message is ambiguous or malformed ({0})")]
    Invalid(&'static str),
    /// The upstream's answer is ambiguous or not what the method gives.
    #[error("the MCP server's answer is ambiguous or malformed ({0})")]
    Upstream(&'static str),
}

/// The keys and the policy with which one configuration rewrites. Shared by all requests.
pub struct Workshop {
    /// The policy's names and views.
    pub policy: Arc<Policy>,
    /// The PHI ring; none only in a development profile with sealing switched off.
    pub ring: Arc<KeyRing>,
    /// Opens `hs1` and Fernet values.
    pub opener: Opener,
    /// Issues and redeems the tokens of the view `token`.
    pub carrier: Carrier,
    /// Judges free text under the view `detect`.
    pub prose: Prose,
    /// Seals what the upstream searches by.
    pub searcher: Searcher,
    /// The record MAC.
    pub macs: RecordMacRing,
    /// The synthetic patient's key, where the policy gives each patient one.
    pub own: Option<PatientRing>,
}

impl std::fmt::Debug for Workshop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Workshop")
    }
}

impl Workshop {
    /// A workshop with these keys for a policy.
    ///
    /// # Errors
    /// A detector's pattern that is not bounded; the loader has refused it before.
    pub fn new(
        policy: Arc<Policy>,
        ring: Arc<KeyRing>,
        macs: RecordMacRing,
    ) -> Result<Self, PatternError> {
        let phi = policy.phi();
        let reading = match phi.fernet {
            FernetReading::Strict => Reading::Strict,
            FernetReading::Lenient => Reading::Lenient,
        };
        Ok(Self {
            opener: Opener::new(Arc::clone(&ring), &phi.domain).reading_fernet(reading),
            carrier: Carrier::new(Arc::clone(&ring), &phi.domain),
            searcher: Searcher::new(Arc::clone(&ring), &phi.domain),
            prose: Prose::new(&phi.detection)?,
            own: phi.patient_keys.as_ref().and_then(|_| {
                let key = PatientKey::generate(&phi.domain, "canary").ok()?;
                PatientRing::new(key, &phi.domain).ok()
            }),
            macs,
            ring,
            policy,
        })
    }

    /// A sealer for one body of this holder's, in the policy's format.
    pub(crate) fn sealer<'w>(
        &'w self,
        holder: Holder<'w>,
        wrap: Wrap,
        now_unix: i64,
    ) -> Result<Sealer<'w>, RewriteError> {
        let phi = self.policy.phi();
        let format = match phi.format {
            safeguard_policy::policy::Format::Native => Format::Native,
            safeguard_policy::policy::Format::Fernet => Format::Fernet,
            safeguard_policy::policy::Format::Jwe => Format::Jwe,
        };
        Sealer::new(
            holder.sealing_ring(self)?,
            &phi.domain,
            format,
            wrap,
            now_unix,
        )
        .map_err(|_| RewriteError::Vault("sealed"))
    }

    /// The policy's wrap for tool arguments.
    pub(crate) fn wrap(&self) -> Wrap {
        match self.policy.phi().wrap {
            safeguard_policy::policy::Wrap::Object => Wrap::Object,
            safeguard_policy::policy::Wrap::String => Wrap::String,
        }
    }
}

/// What became of which fields: names and counts, never values. Ordered, so that events are reproducible.
#[derive(Debug, Default, Clone)]
pub struct Touched(Vec<((FieldId, FieldAction), u32)>);

impl Touched {
    pub(crate) fn add(&mut self, field: FieldId, action: FieldAction) {
        self.add_many((field, action), 1);
    }

    fn add_many(&mut self, key: (FieldId, FieldAction), more: u32) {
        match self.0.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(place) => {
                if let Some((_, count)) = self.0.get_mut(place) {
                    *count = count.saturating_add(more);
                }
            }
            Err(place) => self.0.insert(place, (key, more)),
        }
    }

    /// Whether this became of any field.
    pub(crate) fn has(&self, action: FieldAction) -> bool {
        self.0.iter().any(|((_, of), _)| *of == action)
    }

    /// Adds what another part of the same exchange touched.
    pub fn merge(&mut self, other: &Self) {
        for (key, count) in &other.0 {
            self.add_many(*key, *count);
        }
    }

    /// Each action with its count, for the metric.
    pub fn counts(&self) -> impl Iterator<Item = (FieldAction, u32)> + '_ {
        self.0.iter().map(|((_, action), count)| (*action, *count))
    }

    /// For the event, by the policy's names.
    pub fn for_event<'p>(&self, policy: &'p Policy) -> Vec<FieldTouched<'p>> {
        self.0
            .iter()
            .map(|((field, action), count)| FieldTouched {
                name: policy.field_name(*field).into(),
                action: *action,
                count: *count,
            })
            .collect()
    }
}
