//! Whose records a call may be about, as far as it is known before the answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::DenialReason;
use super::request::Call;
use crate::action::Arguments;
use crate::path::{Path, Root};
use crate::policy::Grant;
use crate::principal::Principal;

/// How many patients a claim may name: one who sees more has a role for it.
const OWN_PATIENTS_MAX: usize = 1024;

/// Judges the patient that is named before the answer, and who receives an export. What a list leaves open passes.
pub(super) fn judge(
    grant: &Grant,
    principal: &Principal<'_>,
    call: Call<'_>,
) -> Result<(), DenialReason> {
    if let Some(path) = grant.patient.as_deref()
        && facts(path, principal, call).is_some_and(|facts| !facts.names_somebody(path))
    {
        return Err(DenialReason::PatientMissing);
    }
    if let (Some(path), Some(args)) = (grant.recipient.as_deref(), call.args)
        && !args.names_somebody(path)
    {
        return Err(DenialReason::RecipientMissing);
    }
    let Some(own) = own(grant, principal)? else {
        return Ok(());
    };
    let Some(path) = grant.patient.as_deref() else {
        return Ok(());
    };
    let Some(facts) = facts(path, principal, call) else {
        return Ok(());
    };
    let asked = facts.names(path).unwrap_or_default();
    match asked.iter().all(|patient| own.contains(patient)) {
        true if !asked.is_empty() => Ok(()),
        _ => Err(DenialReason::OtherPatient),
    }
}

/// The only patients whom an answer may be about, where the rule says that a claim names them.
pub(super) fn own(
    grant: &Grant,
    principal: &Principal<'_>,
) -> Result<Option<Arc<BTreeSet<String>>>, DenialReason> {
    let Some(path) = &grant.only_patients else {
        return Ok(None);
    };
    let named = principal.claims.names(path).unwrap_or_default();
    // A claim may be one name or a list of names, whichever the provider writes.
    let each = Path {
        root: Root::Claims,
        steps: [path.steps.as_slice(), &[crate::path::Step::Each]].concat(),
    };
    let named = match named.is_empty() {
        true => principal.claims.names(&each).unwrap_or_default(),
        false => named,
    };
    let own: BTreeSet<String> = named.into_iter().filter(|name| !name.is_empty()).collect();
    if own.is_empty() || own.len() > OWN_PATIENTS_MAX {
        return Err(DenialReason::PatientsUnknown);
    }
    Ok(Some(Arc::new(own)))
}

/// What a path is looked up in; none where that is not known yet.
fn facts<'a>(
    path: &Path,
    principal: &'a Principal<'_>,
    call: Call<'a>,
) -> Option<&'a dyn Arguments> {
    match path.root {
        Root::Args => call.args,
        Root::Uri => call.uri.map(|uri| uri as &dyn Arguments),
        Root::Claims => Some(principal.claims),
        Root::Result => None,
    }
}
