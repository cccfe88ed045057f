//! Why a call of a role would be permitted or denied, and what each field becomes: the decision's steps with what a
//! call brings left open.

use std::sync::Arc;

use crate::decide::DenialReason;
use crate::field::{TextView, Unlisted, View};
use crate::method::ruled_method;
use crate::place::FieldPlace;
use crate::policy::{FieldClass, FieldId, Grant, Normalize, Operation, Policy, Rule, StepUp};

/// What `explain` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The rule that decides; `None` if the tool is not listed.
    pub rule: Option<Rule>,
    /// What the tool does with PHI.
    pub operation: Option<Operation>,
    /// Why it is denied whatever the call brings, if it is.
    pub denied: Option<DenialReason>,
    /// The purpose that the call has.
    pub purpose: Option<String>,
    /// Where the patient is named.
    pub patient: Option<String>,
    /// How many patients an answer may hold, and of whom alone.
    pub limits: Option<String>,
    /// Where the call says who receives an export.
    pub recipient: Option<String>,
    /// Where the record stands.
    pub record: Option<String>,
    /// Whether a condition must hold too.
    pub conditional: bool,
    /// What a call needs beside the second factor.
    pub step_up: Option<StepUp>,
    /// Text that is no JSON.
    pub text: TextView,
    /// Unlisted members of answers.
    pub unlisted_results: Unlisted,
    /// Unlisted members of arguments.
    pub unlisted_arguments: Unlisted,
    /// What each field becomes, one entry a client, in the order of the configuration.
    pub clients: Vec<ClientView>,
}

/// What each field becomes for one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientView {
    /// The client's name.
    pub client: String,
    /// The role that caps its views.
    pub at_most: Option<String>,
    /// Field, group, and view.
    pub fields: Vec<FieldView>,
}

/// What one field becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldView {
    /// The policy's name for it.
    pub field: String,
    /// Its group.
    pub group: Option<String>,
    /// What the caller sees.
    pub view: View,
}

/// Explains a tool (or prompt, resource by its template, or method) for a role and, if given, a purpose.
#[must_use]
pub fn explain(policy: &Policy, role: &str, tool: &str, purpose: Option<&str>) -> Explanation {
    let grant = policy
        .tools
        .written(tool)
        .or_else(|| policy.tools.find(tool).ok())
        .or_else(|| policy.prompts.get(tool))
        .or_else(|| {
            let by_template = policy.resources.iter().find(|(t, _)| t.as_str() == tool);
            by_template.map(|(_, grant)| grant)
        })
        .or_else(|| policy.methods.get(ruled_method(tool)?.name));
    let Some(grant) = grant else {
        return unlisted(policy);
    };
    let roles = policy.role_set(&[role.to_owned()]) & grant.roles;
    let phi = grant.operation != Operation::None;
    let standing = match roles {
        0 => Err(DenialReason::RoleNotAllowed),
        _ if !phi => Ok((roles, None)),
        _ => policy.for_purpose(roles, purpose),
    };
    let (roles, purpose, denied) = match standing {
        Ok((roles, purpose)) => (roles, purpose, None),
        Err(reason) => (0, None, Some(reason)),
    };
    let views = policy.views_of(roles, None, phi);
    let clients = match denied {
        Some(_) => Vec::new(),
        None => clients(policy, |cap| policy.views_of(roles, cap, phi)),
    };
    Explanation {
        denied,
        purpose: purpose.map(|p| p.to_string()),
        unlisted_results: views.unlisted_results(),
        unlisted_arguments: views.unlisted_arguments(),
        clients,
        ..of_grant(grant)
    }
}

fn unlisted(policy: &Policy) -> Explanation {
    Explanation {
        rule: None,
        operation: None,
        denied: Some(DenialReason::NotListed),
        purpose: None,
        patient: None,
        limits: None,
        recipient: None,
        record: None,
        conditional: false,
        step_up: None,
        text: policy.phi.text,
        unlisted_results: policy.phi.unlisted_results,
        unlisted_arguments: policy.phi.unlisted_arguments,
        clients: Vec::new(),
    }
}

fn of_grant(grant: &Grant) -> Explanation {
    Explanation {
        rule: Some(grant.rule.clone()),
        operation: Some(grant.operation),
        denied: None,
        purpose: None,
        patient: grant.patient.as_ref().map(ToString::to_string),
        limits: limits(grant),
        recipient: grant.recipient.as_ref().map(ToString::to_string),
        record: grant.record.as_ref().map(ToString::to_string),
        conditional: grant.when.is_some(),
        step_up: grant.step_up.clone(),
        text: grant.text,
        unlisted_results: Unlisted::Withhold,
        unlisted_arguments: Unlisted::Withhold,
        clients: Vec::new(),
    }
}

fn limits(grant: &Grant) -> Option<String> {
    let most = grant.max_patients.map(|most| format!("at most {most}"));
    let only = grant.only_patients.as_ref();
    let only = only.map(|claim| format!("only those of {claim}"));
    let words: Vec<String> = most.into_iter().chain(only).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

fn clients(
    policy: &Policy,
    views: impl Fn(Option<usize>) -> Arc<crate::field::Views>,
) -> Vec<ClientView> {
    let of_client = |client: &crate::policy::Client| {
        let views = views(client.at_most);
        let cap = client.at_most.and_then(|n| policy.roles.get(n));
        let fields = policy.fields().zip(&policy.groups);
        ClientView {
            client: client.name.to_string(),
            at_most: cap.map(|role| role.name.to_string()),
            fields: fields
                .map(|((id, name), group)| FieldView {
                    field: name.to_owned(),
                    group: group.clone(),
                    view: views.of(id),
                })
                .collect(),
        }
    };
    policy.clients.iter().map(of_client).collect()
}

/// A field and what every role sees of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldExplanation {
    /// The field.
    pub field: String,
    /// Its group.
    pub group: Option<String>,
    /// Where it is written: a file and line, or a preset.
    pub told: String,
    /// Its other names and its places, as written.
    pub also: Vec<String>,
    /// Whether a member of the field's own name is this field. Not so where the operator gave the name another
    /// meaning than a preset does.
    pub own_name: bool,
    /// How it is spelt, if the upstream searches by it.
    pub searchable: Option<Normalize>,
    /// Each role and its view, under no client's cap.
    pub views: Vec<(String, View)>,
}

/// Explains every field, in the order of the configuration, those of presets behind the operator's own.
#[must_use]
pub fn explain_fields(policy: &Policy) -> Vec<FieldExplanation> {
    let views: Vec<(String, Arc<crate::field::Views>)> = policy
        .role_views()
        .map(|(role, views)| (role.to_owned(), views))
        .collect();
    let of_field = |(id, name): (FieldId, &str)| {
        let at = id.index();
        let names = policy.names.get(at).into_iter().flatten();
        FieldExplanation {
            field: name.to_owned(),
            group: policy.groups.get(at).cloned().flatten(),
            told: policy.told.get(at).cloned().unwrap_or_default(),
            also: names
                .filter(|own| *own != name && means(policy, own, id))
                .cloned()
                .collect(),
            own_name: means(policy, name, id),
            searchable: policy.searchable(id),
            views: views
                .iter()
                .map(|(role, views)| (role.clone(), views.of(id)))
                .collect(),
        }
    };
    policy.fields().map(of_field).collect()
}

/// What stands beside the fields: what is reviewed and no PHI, what tools mean by places of their own, and which
/// software sees less than its callers' roles.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// Names and places of `not_phi`, as written, those of presets behind the operator's own.
    pub not_phi: Vec<String>,
    /// A tool, one of its places, and the field that stands there; none for what is no PHI. Sorted by tool.
    pub places: Vec<(String, String, Option<String>)>,
    /// A client, and the role that caps it.
    pub caps: Vec<(String, String)>,
}

/// Explains what stands beside the fields.
#[must_use]
pub fn explain_surroundings(policy: &Policy) -> Surroundings {
    let means = |class| match class {
        FieldClass::Phi(id) => Some(policy.field_name(id).to_owned()),
        FieldClass::NotPhi | FieldClass::Unlisted => None,
    };
    let of_tool = |tool: &str| {
        let places = policy
            .tools
            .written(tool)
            .map(|grant| Arc::clone(&grant.places));
        let places = places.iter().flat_map(|places| places.iter());
        let shown = places.map(|place| (tool.to_owned(), place.to_string(), means(place.class)));
        shown.collect::<Vec<_>>()
    };
    let cap = |client: &crate::policy::Client| {
        let role = policy.roles.get(client.at_most?)?;
        Some((client.name.to_string(), role.name.to_string()))
    };
    Surroundings {
        not_phi: policy.not_phi.clone(),
        places: policy.tools().into_iter().flat_map(of_tool).collect(),
        caps: policy.clients.iter().filter_map(cap).collect(),
    }
}

/// Whether a text means a field: a place always, a name unless another meaning beat it.
fn means(policy: &Policy, text: &str, id: FieldId) -> bool {
    FieldPlace::is_place(text) || policy.classify(text) == FieldClass::Phi(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Mask;
    use crate::load::tests::{example, example_env};

    fn policy() -> Policy {
        let loaded = crate::load(&example(), &example_env());
        loaded.configuration.unwrap().policy
    }

    fn view(e: &Explanation, client: usize, field: &str) -> View {
        let fields = &e.clients[client].fields;
        fields.iter().find(|f| f.field == field).unwrap().view
    }

    #[test]
    fn a_nurse_sees_the_last_four_of_an_ssn_and_no_diagnosis() {
        let e = explain(&policy(), "nurse", "read_record", None);
        let rule = e.rule.clone().unwrap();
        assert_eq!(
            (rule.name.as_ref(), rule.file.as_ref(), rule.line),
            ("tools.read_record", "policy.yaml", 54)
        );
        assert_eq!(e.purpose.as_deref(), Some("TREAT"));
        assert_eq!(view(&e, 0, "ssn"), View::Mask(Mask::Last4));
        assert_eq!(view(&e, 0, "diagnosis"), View::Withhold);
        assert_eq!(view(&e, 0, "medications"), View::Reveal);
    }

    #[test]
    fn a_capped_client_sees_no_more_than_its_cap() {
        let e = explain(&policy(), "physician", "read_record", Some("TREAT"));
        assert_eq!(e.clients[1].at_most.as_deref(), Some("care_agent"));
        assert_eq!(view(&e, 0, "ssn"), View::Reveal);
        assert_eq!(view(&e, 1, "ssn"), View::Token);
        assert_eq!(view(&e, 1, "diagnosis"), View::Withhold);
        assert_eq!(view(&e, 1, "medications"), View::Reveal);
    }

    #[test]
    fn what_denies_is_named() {
        let policy = policy();
        let denied = |role, tool, purpose| explain(&policy, role, tool, purpose).denied;
        assert_eq!(
            denied("nurse", "drop_table", None),
            Some(DenialReason::NotListed)
        );
        assert_eq!(
            denied("nurse", "store_record", None),
            Some(DenialReason::RoleNotAllowed)
        );
        assert_eq!(
            denied("nurse", "read_record", Some("HPAYMT")),
            Some(DenialReason::PurposeNotAllowed)
        );
        assert_eq!(denied("nurse", "list_departments", None), None);
    }
}
