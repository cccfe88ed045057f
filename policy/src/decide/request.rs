//! [`decide`] and [`visible`]: one walk, once with the call's facts, once with them left open.

use std::sync::Arc;

use serde_json::Value;

use super::method::{method, rule_of, subscription};
use super::select::Standing;
use super::{Action, Decision, Denial, DenialReason, Listed, Permit, Principal};
use super::{emergency, patients};
use crate::action::Arguments;
use crate::cel::{Facts, Truth};
use crate::field::{TextView, Views};
use crate::path::{Path, Root, Step};
use crate::place::FieldPlace;
use crate::policy::{Grant, Operation, Policy, StepUp};
use crate::template::Template;

/// The action's own facts; `None` where a list leaves them open.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub args: Option<&'a dyn Arguments>,
    pub uri: Option<&'a Value>,
    pub now_unix: i64,
    /// Whether what was permitted before goes on: whose it is then stands nowhere.
    pub goes_on: bool,
}

/// Decides one action. Pure: the same arguments give the same decision.
#[must_use]
pub fn decide(policy: &Policy, p: &Principal<'_>, a: &Action<'_>, now_unix: i64) -> Decision {
    let outcome = match *a {
        Action::Method { name, params } => method(policy, p, name, params, now_unix),
        Action::Subscription {
            method,
            uri,
            params,
        } => subscription(policy, p, (method, uri), params, now_unix),
        Action::Tool { name, args } => named(policy.tools.find(name), p, policy, args, now_unix),
        Action::Prompt { name, args } => {
            let grant = policy.prompts.get(name).ok_or(DenialReason::NotListed);
            named(grant, p, policy, args, now_unix)
        }
        Action::Resource { uri } => resource(policy, p, uri, now_unix),
    };
    match outcome {
        Ok(permit) => Decision::Permit(permit),
        Err(denial) => Decision::Denial(denial),
    }
}

/// Whether an item belongs into this caller's list: whether some arguments, or a fresh second factor, could make
/// [`decide`] permit it. Unknown and denied items are alike.
#[must_use]
pub fn visible(policy: &Policy, p: &Principal<'_>, item: &Listed<'_>, now_unix: i64) -> bool {
    listed(policy, p, item, now_unix).is_some()
}

/// How a [`visible`] item's answers would be shown to this caller.
#[derive(Debug, Clone)]
pub struct ListedViews {
    /// The view of each field.
    pub views: Arc<Views>,
    /// The tool's own meaning of places.
    pub places: Arc<[FieldPlace]>,
    /// Text that is no JSON.
    pub text: TextView,
}

/// The views under which a [`visible`] item's answers would be shown to this caller; none for any other item.
#[must_use]
pub fn listed(
    policy: &Policy,
    p: &Principal<'_>,
    item: &Listed<'_>,
    now_unix: i64,
) -> Option<ListedViews> {
    let open = Call {
        args: None,
        uri: None,
        now_unix,
        goes_on: false,
    };
    let could = |grant: &Grant, call: Call<'_>| {
        let standing = judge(policy, p, grant, call).ok()?;
        let phi = grant.operation != Operation::None;
        Some(ListedViews {
            views: policy.views_of(standing.roles, standing.at_most, phi),
            places: Arc::clone(&grant.places),
            text: grant.text,
        })
    };
    match *item {
        Listed::Tool(name) => could(policy.tools.find(name).ok()?, open),
        Listed::Prompt(name) => could(policy.prompts.get(name)?, open),
        Listed::Method(name) => could(rule_of(policy, name).ok()?, open),
        Listed::Template(text) => policy
            .resources
            .iter()
            .filter(|(template, _)| template.same_shape(text))
            .find_map(|(_, grant)| could(grant, open)),
        Listed::Resource(uri) => {
            // A resource that is named whole leaves nothing open: it has no arguments.
            let (grant, values) = find_resource(policy, uri).ok()?;
            let whole = Call {
                args: Some(&Value::Null),
                uri: Some(&values),
                now_unix,
                goes_on: false,
            };
            could(grant, whole)
        }
    }
}

/// Decides again what was permitted before and goes on (a task's result, say): whether the same tool, resource or prompt
/// is still permitted to this principal, and how its answer is shown now. What the call brought was judged then.
///
/// # Errors
/// Why it is not permitted any more.
pub fn still(
    policy: &Policy,
    p: &Principal<'_>,
    item: &Listed<'_>,
    now_unix: i64,
) -> Result<Permit, Denial> {
    let open = Call {
        args: None,
        uri: None,
        now_unix,
        goes_on: true,
    };
    let without_rule = |reason| denial(None, reason, None);
    let unknown = || without_rule(DenialReason::NotListed);
    let grant = match *item {
        Listed::Tool(name) => policy.tools.find(name).map_err(without_rule)?,
        Listed::Prompt(name) => policy.prompts.get(name).ok_or_else(unknown)?,
        Listed::Method(name) => rule_of(policy, name)?,
        Listed::Resource(uri) => return resource(policy, p, uri, now_unix),
        Listed::Template(_) => return Err(unknown()),
    };
    permitted(policy, p, grant, open)
}

pub(super) fn denial(
    grant: Option<&Grant>,
    reason: DenialReason,
    step_up: Option<StepUp>,
) -> Denial {
    Denial {
        reason,
        rule: grant.map(|g| g.rule.clone()),
        step_up,
    }
}

fn named(
    grant: Result<&Grant, DenialReason>,
    principal: &Principal<'_>,
    policy: &Policy,
    args: &dyn Arguments,
    now_unix: i64,
) -> Result<Permit, Denial> {
    let grant = grant.map_err(|reason| denial(None, reason, None))?;
    let call = Call {
        args: Some(args),
        uri: Some(&Value::Null),
        now_unix,
        goes_on: false,
    };
    permitted(policy, principal, grant, call)
}

pub(super) fn resource(
    policy: &Policy,
    principal: &Principal<'_>,
    uri: &str,
    now_unix: i64,
) -> Result<Permit, Denial> {
    let (grant, values) =
        find_resource(policy, uri).map_err(|reason| denial(None, reason, None))?;
    let call = Call {
        args: Some(&Value::Null),
        uri: Some(&values),
        now_unix,
        goes_on: false,
    };
    let mut permit = permitted(policy, principal, grant, call)?;
    permit.patient_value = patient_in_uri(permit.patient.as_deref(), &values);
    permit.uri_values = texts(values);
    Ok(permit)
}

/// The one resource rule that a URI belongs to, and the values of its template's variables: a rule without
/// variables wins; two others that fit deny.
fn find_resource<'p>(policy: &'p Policy, uri: &str) -> Result<(&'p Grant, Value), DenialReason> {
    let mut found: Option<(&Grant, Value)> = None;
    for (template, grant) in &policy.resources {
        let Some(values) = variables(template, uri) else {
            continue;
        };
        if template.variables().next().is_none() {
            return Ok((grant, values));
        }
        if found.replace((grant, values)).is_some() {
            return Err(DenialReason::AmbiguousResource);
        }
    }
    found.ok_or(DenialReason::NotListed)
}

fn variables(template: &Template, uri: &str) -> Option<Value> {
    let pairs = template.matches(uri)?;
    let object = pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Value::String(value)));
    Some(Value::Object(object.collect()))
}

/// The variables of a template as names and texts.
fn texts(variables: Value) -> Vec<(String, String)> {
    let Value::Object(variables) = variables else {
        return Vec::new();
    };
    let text = |value| match value {
        Value::String(text) => Some(text),
        _ => None,
    };
    let pairs = variables.into_iter();
    pairs
        .filter_map(|(name, value)| Some((name, text(value)?)))
        .collect()
}

fn patient_in_uri(patient: Option<&Path>, values: &Value) -> Option<String> {
    match patient?.steps.as_slice() {
        [Step::Member(name)] if patient?.root == Root::Uri => {
            Some(values.get(name)?.as_str()?.to_owned())
        }
        _ => None,
    }
}

pub(super) fn permitted(
    policy: &Policy,
    principal: &Principal<'_>,
    grant: &Grant,
    call: Call<'_>,
) -> Result<Permit, Denial> {
    let standing = judge(policy, principal, grant, call)?;
    if policy.second_factor && !principal.second_factor && !principal.service {
        let reason = DenialReason::SecondFactorMissing;
        return Err(denial(Some(grant), reason, Some(wanted(grant))));
    }
    if let Some(reason) = stale(policy, principal, grant, call.now_unix) {
        return Err(denial(Some(grant), reason, Some(wanted(grant))));
    }
    let phi = grant.operation != Operation::None;
    let own = match &standing.only_patient {
        Some(patient) => Ok(Some(Arc::new(std::iter::once(patient.clone()).collect()))),
        None => patients::own(grant, principal),
    };
    let shown = emergency::shown(grant, &standing);
    Ok(Permit {
        rule: grant.rule.clone(),
        operation: grant.operation,
        purpose: standing.purpose,
        client: standing.client,
        roles: policy
            .roles_in(standing.roles)
            .map(|r| Arc::clone(&r.name))
            .collect(),
        views: policy.views_of(standing.roles, standing.at_most, phi),
        record: grant.record.clone(),
        patient: grant.patient.clone(),
        patient_value: None,
        uri_values: Vec::new(),
        text: shown.0,
        binary: shown.1,
        places: Arc::clone(&grant.places),
        max_patients: grant.max_patients,
        only_patients: own.map_err(|reason| denial(Some(grant), reason, None))?,
        recipient: grant.recipient.clone(),
        event: grant.event.clone(),
        emergency: standing.only_patient.is_some(),
        clear: grant.clear_until.is_some_and(|end| call.now_unix < end),
    })
}

/// What [`decide`] and [`visible`] share: everything but the second factor and its freshness, which a caller can
/// still bring. Facts that a list leaves open never deny.
fn judge(
    policy: &Policy,
    principal: &Principal<'_>,
    grant: &Grant,
    call: Call<'_>,
) -> Result<Standing, Denial> {
    let refused = |reason| denial(Some(grant), reason, None);
    let ordinary = policy.standing(principal, grant, call.args.is_none() && !call.goes_on);
    let standing = match emergency::standing(policy, principal, grant, call, ordinary.as_ref().ok())
    {
        Some(standing) => standing,
        None => {
            let standing = ordinary.map_err(refused)?;
            patients::judge(grant, principal, call).map_err(refused)?;
            standing
        }
    };
    if let Some(condition) = &grant.when {
        let facts = Facts {
            args: call.args.map(Arguments::value),
            claims: Some(principal.claims),
            uri: call.uri,
        };
        match condition.evaluate(&facts) {
            Ok(Truth::True | Truth::Open) => {}
            Ok(Truth::False) => return Err(refused(DenialReason::ConditionFalse)),
            Err(_) => return Err(refused(DenialReason::ConditionFailed)),
        }
    }
    Ok(standing)
}

fn wanted(grant: &Grant) -> StepUp {
    grant.step_up.clone().unwrap_or_default()
}

/// Why the authentication does not satisfy the rule's step-up, if it does not. A time in the future (beyond the
/// clock skew) proves nothing.
fn stale(
    policy: &Policy,
    principal: &Principal<'_>,
    grant: &Grant,
    now_unix: i64,
) -> Option<DenialReason> {
    let step_up = grant.step_up.as_ref()?;
    if let Some(max_age) = step_up.max_age {
        let age = principal
            .authenticated_at
            .and_then(|at| now_unix.checked_sub(at));
        let fresh =
            age.is_some_and(|age| age >= -policy.clock_skew_seconds && age <= i64::from(max_age));
        if !fresh {
            return Some(DenialReason::AuthenticationTooOld);
        }
    }
    let acr = step_up.acr.as_deref();
    (acr.is_some() && acr != principal.acr).then_some(DenialReason::AcrInsufficient)
}
