//! The policy: names resolved to numbers, every cross check made.

mod clients;
mod fields;
pub(crate) mod hash;
mod roles;
mod rules;

use std::collections::HashMap;
use std::sync::RwLock;

use crate::document::read::Section;
use crate::document::report::Report;
use crate::field::{TextView, Unlisted};
use crate::policy::{Format, Phi, Policy, Storage, Wrap};
use crate::settings::{MutualTls, SwitchedOff};

/// What the policy has to know of the rest of the configuration.
pub(crate) struct Around<'a> {
    pub second_factor: bool,
    pub clock_skew: u64,
    pub mutual_tls: Option<&'a MutualTls>,
}

/// Compiles the policy; everything that is wrong is reported.
pub(crate) fn policy(
    root: Section<'_>,
    around: &Around<'_>,
    off: &mut SwitchedOff,
    report: &mut Report<'_>,
) -> Option<Policy> {
    let phi = phi(root.section("phi"), off);
    let fields = fields::fields(root.section("phi"), report);
    let roles = roles::roles(root, &fields, report);
    let clients = clients::clients(root, &roles, around.mutual_tls, report);
    let phi = phi?;
    let rules = rules::rules(root, &roles, &phi, report);
    let role_numbers = roles.numbers();
    Some(Policy {
        phi,
        field_names: fields.names,
        groups: fields.groups,
        classes: fields.classes.into_iter().collect(),
        roles: roles.list,
        role_numbers,
        clients,
        client_certificates: around.mutual_tls.is_none_or(|m| m.required),
        second_factor: around.second_factor,
        clock_skew_seconds: i64::try_from(around.clock_skew).unwrap_or(0),
        tools: rules.tools,
        prompts: rules.prompts,
        resources: rules.resources,
        views: RwLock::new(HashMap::new()),
    })
}

fn phi(section: Section<'_>, off: &mut SwitchedOff) -> Option<Phi> {
    let unlisted = section.section("unlisted");
    // Reserved, reported by the table.
    let _ = (
        section.text("binary"),
        section.items("bind"),
        section.items("presets"),
    );
    let _ = section.section("tokens").is_written();
    let storage = match section.text("storage")? {
        "clear" => Storage::Clear,
        _ => Storage::Encrypted,
    };
    if storage == Storage::Clear {
        off.note(section.place_of("storage"), "sealing is switched off");
    }
    Some(Phi {
        domain: section.owned("domain")?,
        storage,
        format: match section.text("format")? {
            "fernet" => Format::Fernet,
            _ => Format::Native,
        },
        wrap: match section.text("wrap")? {
            "string" => Wrap::String,
            _ => Wrap::Object,
        },
        unlisted_results: match unlisted.text("results")? {
            "reveal" => Unlisted::Reveal,
            _ => Unlisted::Withhold,
        },
        unlisted_arguments: match unlisted.text("arguments")? {
            "pass" => Unlisted::Reveal,
            _ => Unlisted::Withhold,
        },
        text: match section.text("text")? {
            "reveal" => TextView::Reveal,
            _ => TextView::Withhold,
        },
    })
}
