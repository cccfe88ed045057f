//! Methods that are no tool, resource or prompt: by their rule, or open to all.

use std::sync::Arc;

use serde_json::Value;

use super::request::{Call, denial, permitted, resource};
use super::{Denial, DenialReason, Permit, Principal};
use crate::action::Arguments;
use crate::field::{BinaryView, TextView};
use crate::method::{OPEN_METHODS, ruled_method};
use crate::policy::{Grant, Operation, Policy, Rule, StepUp};

pub(super) fn method(
    policy: &Policy,
    principal: &Principal<'_>,
    name: &str,
    params: &dyn Arguments,
    now_unix: i64,
) -> Result<Permit, Denial> {
    if OPEN_METHODS.contains(&name) {
        return open(policy, principal, name);
    }
    permitted(
        policy,
        principal,
        rule_of(policy, name)?,
        about(params, now_unix),
    )
}

/// A subscription tells when a resource changes, and is told by its URI: whoever may not read it is not told. The permit
/// is the resource's.
pub(super) fn subscription(
    policy: &Policy,
    principal: &Principal<'_>,
    (name, uri): (&str, &str),
    params: &dyn Arguments,
    now_unix: i64,
) -> Result<Permit, Denial> {
    let grant = rule_of(policy, name)?;
    permitted(policy, principal, grant, about(params, now_unix))?;
    resource(policy, principal, uri, now_unix)
}

pub(super) fn rule_of<'p>(policy: &'p Policy, name: &str) -> Result<&'p Grant, Denial> {
    ruled_method(name)
        .and_then(|ruled| policy.methods.get(ruled.name))
        .ok_or_else(|| denial(None, DenialReason::NotListed, None))
}

fn about(params: &dyn Arguments, now_unix: i64) -> Call<'_> {
    Call {
        args: Some(params),
        uri: Some(&Value::Null),
        now_unix,
        goes_on: false,
    }
}

/// Whoever is known and has the second factor may.
fn open(policy: &Policy, principal: &Principal<'_>, name: &str) -> Result<Permit, Denial> {
    let refused = |reason, step_up| Err(denial(None, reason, step_up));
    let (client, at_most) = match policy.client_of(principal.certificate_names) {
        Some(client) => (Arc::clone(&client.name), client.at_most),
        None if policy.client_certificates => return refused(DenialReason::ClientUnknown, None),
        None => (Arc::from(""), None),
    };
    if policy.second_factor && !principal.second_factor {
        return refused(DenialReason::SecondFactorMissing, Some(StepUp::default()));
    }
    let roles = policy.role_set(principal.roles);
    Ok(Permit {
        rule: Rule {
            name: Arc::from(format!("methods.{name}")),
            file: Arc::from(""),
            line: 0,
        },
        operation: Operation::None,
        purpose: None,
        client,
        roles: policy
            .roles_in(roles)
            .map(|r| Arc::clone(&r.name))
            .collect(),
        views: policy.views_of(roles, at_most, false),
        record: None,
        patient: None,
        patient_value: None,
        uri_values: Vec::new(),
        text: TextView::Reveal,
        binary: BinaryView::Reveal,
        places: Arc::new([]),
        event: None,
        max_patients: None,
        only_patients: None,
        recipient: None,
        emergency: false,
        clear: false,
    })
}
