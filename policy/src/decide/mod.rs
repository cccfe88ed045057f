//! The decision: a policy, a principal, an action and the time in; a permit with its obligations or a denial out.
//!
//! # How a call is decided
//! 1. the rule that names the action, or the one pattern that fits a tool; no rule, or two patterns: denied (lifecycle, `ping` and the lists are built in; a subscription
//!    needs its method's rule and its resource's);
//! 2. the client, by the certificate's names; an unknown one is denied, a person where the client is software without one, and such software anywhere else;
//! 3. the second factor, where every login needs one (software has none: its token is bound to its certificate);
//! 4. the candidates: the token's roles that the rule lists (`any`: all that the policy defines) and the client may use;
//! 5. the purpose: the token's, else the only one that the candidates have; then the candidates that hold it
//!    (`operation: none` needs no purpose and no patient);
//! 6. the patient that the rule's path names must be there (and be one of the bearer's own, where the rule says so), so
//!    must an export's recipient, and the condition must be true;
//! 7. the step-up that the rule asks for, last, so that nobody is challenged for what would be denied anyway.
//!
//! An emergency that the caller began (`emergency` of the configuration) takes the place of steps 4 and 5 for its own patient,
//! tools and time, and nothing else: the second factor, the client, the condition and the step-up are judged as ever.
//!
//! [`visible`] walks the same steps with what a later call may still bring (arguments, a fresh second factor) left
//! open: a list never hides what a call would permit.

mod emergency;
mod method;
mod patients;
mod request;
mod select;
#[cfg(test)]
mod tests;
mod views;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use crate::action::{Action, Listed};
use crate::field::{BinaryView, TextView, Views};
pub use crate::field::{Mask, Unlisted, View};
pub use crate::method::OPEN_METHODS;
use crate::path::Path;
use crate::place::FieldPlace;
pub use crate::policy::{Operation, Policy, Rule, StepUp};
pub use crate::principal::Principal;
pub use emergency::{may_begin, may_list};
pub use request::{ListedViews, decide, listed, still, visible};
pub(crate) use select::wildcard;

/// What was decided.
#[derive(Debug, Clone)]
pub enum Decision {
    /// The action may go on, with obligations.
    Permit(Permit),
    /// It may not.
    Denial(Denial),
}

impl Decision {
    /// The permit, if it is one.
    #[must_use]
    pub fn permit(&self) -> Option<&Permit> {
        match self {
            Self::Permit(permit) => Some(permit),
            Self::Denial(_) => None,
        }
    }

    /// The denial, if it is one.
    #[must_use]
    pub fn denial(&self) -> Option<&Denial> {
        match self {
            Self::Permit(_) => None,
            Self::Denial(denial) => Some(denial),
        }
    }
}

/// What the sidecar is obliged to do for an action that may go on.
#[derive(Debug, Clone)]
pub struct Permit {
    /// The rule that permits.
    pub rule: Rule,
    /// What the action does with PHI.
    pub operation: Operation,
    /// The purpose of use; none only for `operation: none`.
    pub purpose: Option<Arc<str>>,
    /// The client's name; empty only where client certificates are off (`profile: development`).
    pub client: Arc<str>,
    /// Roles that counted: candidates that hold the purpose.
    pub roles: Vec<Arc<str>>,
    /// How each PHI field is shown.
    pub views: Arc<Views>,
    /// Where the record stands that is hashed (`args`) or verified (`result`).
    pub record: Option<Arc<Path>>,
    /// Where the patient is named.
    pub patient: Option<Arc<Path>>,
    /// The patient that a resource's URI names (`patient: uri.…`).
    pub patient_value: Option<String>,
    /// What a resource's URI holds in its template's variables, by their names.
    pub uri_values: Vec<(String, String)>,
    /// Text that is no JSON.
    pub text: TextView,
    /// Content that can't be read.
    pub binary: BinaryView,
    /// The tool's own meaning of places, which beats every other.
    pub places: Arc<[FieldPlace]>,
    /// How many patients one answer may hold.
    pub max_patients: Option<u32>,
    /// The only patients whom an answer may be about; none: any.
    pub only_patients: Option<Arc<BTreeSet<String>>>,
    /// Where the call says who receives what it exports.
    pub recipient: Option<Arc<Path>>,
    /// An event that the rule asks for beside those of its operation (`role_assigned`, …).
    pub event: Option<Arc<str>>,
    /// Whether an emergency of the caller's made it so: then the purpose is BTG.
    pub emergency: bool,
    /// Whether an exception lets arguments go up in clear: the server behind this tool holds them so.
    pub clear: bool,
}

/// Why an action may not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The reason, for the audit trail; the caller is not told more than that it is not allowed.
    pub reason: DenialReason,
    /// The rule that was asked, if there is one. Not for the caller either.
    pub rule: Option<Rule>,
    /// Set where a fresh or stronger authentication would help: the challenge of RFC 9470.
    pub step_up: Option<StepUp>,
}

/// The reasons of a denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DenialReason {
    /// No rule names the tool, resource, prompt or method.
    NotListed,
    /// Two resource rules match the URI.
    AmbiguousResource,
    /// Two patterns fit the tool's name.
    AmbiguousTool,
    /// No client has one of the certificate's names.
    ClientUnknown,
    /// A person where the client is software without one, or software where it is not.
    ServiceMismatch,
    /// The token proves no second factor.
    SecondFactorMissing,
    /// None of the token's roles is listed by the rule.
    RoleNotAllowed,
    /// No purpose: the token has none, and its roles leave more than one.
    PurposeMissing,
    /// None of the candidates holds the purpose.
    PurposeNotAllowed,
    /// The rule's patient path finds nobody.
    PatientMissing,
    /// The token does not say whose records its bearer may see, and the rule asks for that.
    PatientsUnknown,
    /// The patient is none of those whose records the bearer may see.
    OtherPatient,
    /// The call does not say who receives what it exports.
    RecipientMissing,
    /// Nobody has reviewed the tool as the server now defines it. Told by whoever knows the server's lists, not by this engine.
    ToolUnreviewed,
    /// `when` is false.
    ConditionFalse,
    /// `when` failed: an absent name, a wrong type, too many steps.
    ConditionFailed,
    /// The authentication is too old, or its time is not known.
    AuthenticationTooOld,
    /// The token's `acr` is not the one that the rule asks for.
    AcrInsufficient,
}

impl DenialReason {
    /// All of them, for closed label sets.
    pub const ALL: [Self; 18] = [
        Self::NotListed,
        Self::AmbiguousResource,
        Self::AmbiguousTool,
        Self::ClientUnknown,
        Self::ServiceMismatch,
        Self::SecondFactorMissing,
        Self::RoleNotAllowed,
        Self::PurposeMissing,
        Self::PurposeNotAllowed,
        Self::PatientMissing,
        Self::PatientsUnknown,
        Self::OtherPatient,
        Self::RecipientMissing,
        Self::ToolUnreviewed,
        Self::ConditionFalse,
        Self::ConditionFailed,
        Self::AuthenticationTooOld,
        Self::AcrInsufficient,
    ];

    /// The stable snake_case code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NotListed => "not_listed",
            Self::AmbiguousResource => "ambiguous_resource",
            Self::AmbiguousTool => "ambiguous_tool",
            Self::ClientUnknown => "client_unknown",
            Self::ServiceMismatch => "service_mismatch",
            Self::SecondFactorMissing => "second_factor_missing",
            Self::RoleNotAllowed => "role_not_allowed",
            Self::PurposeMissing => "purpose_missing",
            Self::PurposeNotAllowed => "purpose_not_allowed",
            Self::PatientMissing => "patient_missing",
            Self::PatientsUnknown => "patients_unknown",
            Self::OtherPatient => "other_patient",
            Self::RecipientMissing => "recipient_missing",
            Self::ToolUnreviewed => "tool_unreviewed",
            Self::ConditionFalse => "condition_false",
            Self::ConditionFailed => "condition_failed",
            Self::AuthenticationTooOld => "authentication_too_old",
            Self::AcrInsufficient => "acr_insufficient",
        }
    }
}
