//! What an emergency changes: for the patient it is for, the tools it is for and until its end, the caller has the view that
//! `emergency.grants.view` adds to its own, and the purpose BTG. Everywhere else it changes nothing, and it never narrows.
//!
//! Where the call names its patient (`patient: args.…`), it must name this one and nobody else. Where only the answer does
//! (`patient: result.…`), an emergency counts only for who may not call otherwise, and what is another's is dropped.

use std::sync::Arc;

use super::request::{Call, denial};
use super::select::Standing;
use super::{Denial, DenialReason, Principal};
use crate::emergency::{Emergency, PURPOSE};
use crate::field::{BinaryView, TextView};
use crate::path::Root;
use crate::policy::{Grant, Policy, RoleSet, StepUp};

impl Policy {
    /// The `emergency` section, if there is one.
    #[must_use]
    pub fn emergency(&self) -> Option<&Emergency> {
        self.emergency.as_ref()
    }

    /// The cap and the name of a person's client whose roles may break the glass.
    fn may_break(
        &self,
        principal: &Principal<'_>,
    ) -> Result<(&Emergency, Option<usize>, Arc<str>), DenialReason> {
        let emergency = self.emergency.as_ref().ok_or(DenialReason::NotListed)?;
        let client = self.client_of(principal.certificate_names);
        if client.is_none() && self.client_certificates {
            return Err(DenialReason::ClientUnknown);
        }
        // Software has nobody who could answer for it.
        if principal.service || client.is_some_and(|client| client.service) {
            return Err(DenialReason::ServiceMismatch);
        }
        let of_client = client.and_then(|c| c.roles).unwrap_or(RoleSet::MAX);
        if self.role_set(principal.roles) & emergency.roles & of_client == 0 {
            return Err(DenialReason::RoleNotAllowed);
        }
        let name = client.map_or_else(|| Arc::from(""), |client| Arc::clone(&client.name));
        Ok((emergency, client.and_then(|client| client.at_most), name))
    }
}

/// Whether this caller may begin an emergency: a person of one of its roles with a second factor, whatever else is
/// configured.
///
/// # Errors
/// Why not. Without a second factor: with the challenge that helps.
pub fn may_begin(policy: &Policy, principal: &Principal<'_>) -> Result<(), Denial> {
    policy
        .may_break(principal)
        .map_err(|reason| denial(None, reason, None))?;
    if !principal.second_factor {
        let reason = DenialReason::SecondFactorMissing;
        return Err(denial(None, reason, Some(StepUp::default())));
    }
    Ok(())
}

/// Whether the tools that begin and end an emergency belong into this caller's list: [`may_begin`] with the second factor left
/// open, as in every list.
#[must_use]
pub fn may_list(policy: &Policy, principal: &Principal<'_>) -> bool {
    policy.may_break(principal).is_ok()
}

/// What an emergency makes of the caller's standing with a rule; none where it changes nothing.
pub(super) fn standing(
    policy: &Policy,
    principal: &Principal<'_>,
    grant: &Grant,
    call: Call<'_>,
    ordinary: Option<&Standing>,
) -> Option<Standing> {
    let active = principal.emergency?;
    if call.goes_on || call.now_unix >= active.until_unix || !principal.second_factor {
        return None;
    }
    let (emergency, at_most, client) = policy.may_break(principal).ok()?;
    if !emergency.tools.contains(&grant.rule.name) {
        return None;
    }
    let path = grant.patient.as_deref()?;
    match (path.root, call.args) {
        // A list leaves the patient open.
        (Root::Args, None) => {}
        (Root::Args, Some(args)) => {
            let named = args.names(path)?;
            if named.is_empty() || named.iter().any(|name| name != active.patient) {
                return None;
            }
        }
        (Root::Result, _) if ordinary.is_none() => {}
        _ => return None,
    }
    // A list shows what may come of either way: the narrower view.
    if call.args.is_none() && ordinary.is_some() {
        return None;
    }
    Some(Standing {
        client,
        at_most,
        roles: ordinary.map_or(0, |standing| standing.roles) | emergency.view,
        purpose: Some(Arc::from(PURPOSE)),
        only_patient: Some(active.patient.to_owned()),
    })
}

/// How text without form and unreadable content are shown: what can't be attributed to the patient is withheld where only the
/// answer says whose it is.
pub(super) fn shown(grant: &Grant, standing: &Standing) -> (TextView, BinaryView) {
    let in_answer = grant.patient.as_deref().map(|path| path.root) == Some(Root::Result);
    match in_answer && standing.only_patient.is_some() {
        true => (TextView::Withhold, BinaryView::Withhold),
        false => (grant.text, grant.binary),
    }
}
