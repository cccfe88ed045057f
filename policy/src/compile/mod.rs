//! The policy: names resolved to numbers, every cross check made.

mod clients;
mod emergency;
mod exceptions;
mod fields;
pub(crate) mod hash;
mod limits;
mod methods;
mod patient_keys;
mod patterns;
mod phi;
pub(crate) mod presets;
mod roles;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::RwLock;

use crate::document::keys::ISSUER;
use crate::document::read::Section;
use crate::document::report::Report;
use crate::finding::codes;
use crate::policy::{FieldClass, Integrity, IntegrityVersion, Policy, PurposeFrom};
use crate::settings::{MutualTls, SwitchedOff};

/// What the policy has to know of the rest of the configuration.
pub(crate) struct Around<'a> {
    pub second_factor: bool,
    pub clock_skew: u64,
    pub mutual_tls: Option<&'a MutualTls>,
    /// Directories that hold nothing but their own: the spool's and the state's, by their keys.
    pub directories: Vec<(&'static str, &'a Path)>,
    /// Whether replicas share their login sessions.
    pub shared_sessions: bool,
}

/// Compiles the policy; everything that is wrong is reported.
pub(crate) fn policy(
    root: Section<'_>,
    around: &Around<'_>,
    off: &mut SwitchedOff,
    report: &mut Report<'_>,
) -> Option<Policy> {
    let fields = fields::fields(root.section("phi"), report);
    let phi = phi::phi(root.section("phi"), &fields, off, report);
    if let Some(phi) = &phi {
        patient_keys::judge(
            root.section("phi"),
            phi,
            &fields,
            &around.directories,
            report,
        );
    }
    let integrity = integrity(root.section("integrity"), &fields, report);
    let roles = roles::roles(root, &fields, report);
    for entry in root.section("identity").named("issuers") {
        roles.listed(Section::new(&entry.value, ISSUER), report);
    }
    let clients = clients::clients(root, &roles, around.mutual_tls, report);
    let phi = phi?;
    let mut rules = rules::rules(root, &roles, &phi, &fields, report);
    let exceptions = exceptions::exceptions(root, &mut rules.tools, report);
    let emergency =
        emergency::emergency(root, &roles, &rules.tools, around.shared_sessions, report);
    let role_numbers = roles.numbers();
    Some(Policy {
        phi,
        field_names: fields.names,
        groups: fields.groups,
        classes: fields.classes.into_iter().collect(),
        places: fields.paths.into_iter().collect(),
        searchable: fields.searchable,
        integrity,
        names: fields.aliases,
        told: fields.told,
        not_phi: fields.not_phi,
        roles: roles.list,
        role_numbers,
        clients,
        client_certificates: around.mutual_tls.is_none_or(|m| m.required),
        second_factor: around.second_factor,
        clock_skew_seconds: i64::try_from(around.clock_skew).unwrap_or(0),
        tools: rules.tools,
        prompts: rules.prompts,
        resources: rules.resources,
        methods: rules.methods,
        views: RwLock::new(HashMap::new()),
        emergency,
        exceptions,
        purpose_from: purpose_from(root.section("identity")),
    })
}

/// `identity.purpose_from`.
fn purpose_from(identity: Section<'_>) -> PurposeFrom {
    let words = identity.texts("purpose_from");
    let has = |word| words.iter().any(|own| own == word);
    PurposeFrom {
        call: has("call"),
        only: has("only") || identity.node_of("purpose_from").is_none(),
    }
}

/// `integrity`.
fn integrity(section: Section<'_>, fields: &fields::Fields, report: &mut Report<'_>) -> Integrity {
    let is = |name, word| section.text(name) == Some(word);
    let member = section.owned("member");
    if let Some(name) = member
        .as_deref()
        .filter(|name| fields.class(name) != FieldClass::Unlisted || *name == "data")
    {
        report
            .error(
                codes::NAME_CLASH,
                section.place_of("member"),
                format!("`integrity.member: {name}` means something else"),
            )
            .fix("name a member that holds nothing but the integrity members");
    }
    Integrity {
        version: match section.text("version") {
            Some("v2") => IntegrityVersion::V2,
            Some("both") => IntegrityVersion::Both,
            _ => IntegrityVersion::Seed,
        },
        pass_missing: is("missing", "pass"),
        pass_unknown: is("unknown", "pass"),
        covers_record: is("covers", "record"),
        member,
    }
}
