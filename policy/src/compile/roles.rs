//! `roles`: purposes, and one view a field. What names a field beats what names its group.

use std::collections::HashMap;
use std::sync::Arc;

use super::fields::{Fields, Named};
use crate::document::keys::ROLE;
use crate::document::read::Section;
use crate::document::report::Report;
use crate::document::tree::{Entry, Node, Place};
use crate::emergency::PURPOSE as BREAK_GLASS;
use crate::field::{Mask, View};
use crate::finding::codes;
use crate::names::{fold, nearest};
use crate::policy::{FieldId, Policy, Role, RoleSet};

/// Purposes that the product knows what to do with (HL7 PurposeOfUse).
const PURPOSES: [&str; 5] = ["TREAT", "HPAYMT", "HOPERAT", "ETREAT", "BTG"];

/// Others of HL7's PurposeOfUse: accepted with a warning.
const OTHER_PURPOSES: [&str; 22] = [
    "CAREMGT",
    "CLINTRCH",
    "COVERAGE",
    "DISASTER",
    "DONAT",
    "FAMRQT",
    "FRAUD",
    "GOV",
    "HACCRED",
    "HCOMPL",
    "HDIRECT",
    "HLEGAL",
    "HOUTCOMS",
    "HPRGRP",
    "HQUALIMP",
    "HRESCH",
    "HSYSADMIN",
    "PATADMIN",
    "PATRQT",
    "PATSFTY",
    "PUBHLTH",
    "THREAT",
];

pub(super) struct Roles {
    pub list: Vec<Role>,
}

impl Roles {
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        self.list.iter().position(|r| r.name.as_ref() == name)
    }

    pub(super) fn numbers(&self) -> HashMap<String, usize> {
        let numbered = self.list.iter().enumerate();
        numbered
            .map(|(n, role)| (role.name.to_string(), n))
            .collect()
    }

    pub(super) fn suggest(&self, name: &str) -> Option<&str> {
        nearest(name, self.list.iter().map(|r| r.name.as_ref()))
    }

    /// The bits of those that a section's `roles` lists; a name that is none is reported.
    pub(super) fn listed(&self, section: Section<'_>, report: &mut Report<'_>) -> RoleSet {
        let mut set = 0;
        for node in section.items("roles") {
            let Some(name) = node.text() else { continue };
            match self.number(name) {
                Some(number) => set |= 1 << number,
                None => {
                    report
                        .error(
                            codes::UNDEFINED_ROLE,
                            node.place,
                            format!("`{}` is no role", node.shown()),
                        )
                        .meant(self.suggest(name));
                }
            }
        }
        set
    }

    /// The bits of all roles.
    pub(super) fn all(&self) -> RoleSet {
        self.list
            .iter()
            .enumerate()
            .fold(0, |set, (n, _)| set | (1 << n))
    }
}

pub(super) fn roles(root: Section<'_>, fields: &Fields, report: &mut Report<'_>) -> Roles {
    let entries = root.named("roles");
    if entries.len() > Policy::ROLES_MAX {
        let message = format!("`roles` has more than {} roles", Policy::ROLES_MAX);
        report.error(codes::BAD_VALUE, root.place_of("roles"), message);
    }
    let mut list = Vec::new();
    let mut masks: HashMap<FieldId, (Mask, Place)> = HashMap::new();
    for entry in entries.iter().take(Policy::ROLES_MAX) {
        if entry.name == "any" {
            report
                .error(
                    codes::NAME_CLASH,
                    entry.place,
                    "`any` is a word of the rules, no name of a role",
                )
                .fix("give the role another name");
        }
        list.push(role(entry, fields, &mut masks, report));
    }
    Roles { list }
}

fn role(
    entry: &Entry,
    fields: &Fields,
    masks: &mut HashMap<FieldId, (Mask, Place)>,
    report: &mut Report<'_>,
) -> Role {
    let section = Section::new(&entry.value, ROLE);
    let mut views = Views {
        fields,
        by_field: HashMap::new(),
        by_group: HashMap::new(),
    };
    for node in section.items("reveal") {
        views.take(node.text(), node.shown(), node.place, View::Reveal, report);
    }
    for node in section.items("token") {
        views.take(node.text(), node.shown(), node.place, View::Token, report);
    }
    for masked in section.named("mask") {
        if let Some(mask) = masked.value.text().and_then(Mask::parse) {
            views.take(
                Some(&masked.name),
                &masked.name,
                masked.place,
                View::Mask(mask),
                report,
            );
            plausible(masked, mask, fields, report);
        }
    }
    let (views, places) = views.settle();
    for (id, place) in places {
        let Some(View::Mask(mask)) = views.get(id.index()) else {
            continue;
        };
        match masks.get(&id) {
            Some((other, first)) if other != mask => {
                let name = fields.names.get(id.index()).map_or("", String::as_str);
                report
                    .error(
                        codes::VIEW_CONFLICT,
                        place,
                        format!("`{name}` has two different masks"),
                    )
                    .fix("a caller may have both roles: give the field one mask")
                    .related(*first, "the other mask");
            }
            _ => {
                masks.insert(id, (*mask, place));
            }
        }
    }
    Role {
        name: Arc::from(entry.name.as_str()),
        purposes: purposes(section, report),
        views,
    }
}

/// The views of one role while they are read.
struct Views<'f> {
    fields: &'f Fields,
    by_field: HashMap<FieldId, (View, Place)>,
    by_group: HashMap<FieldId, (View, Place)>,
}

impl Views<'_> {
    fn take(
        &mut self,
        name: Option<&str>,
        shown: &str,
        place: Place,
        view: View,
        report: &mut Report<'_>,
    ) {
        let Some(name) = name else { return };
        let (level, ids) = match self.fields.resolve(name) {
            Some(Named::Field(id)) => (&mut self.by_field, vec![id]),
            Some(Named::Group(ids)) => (&mut self.by_group, ids),
            None => {
                report
                    .error(
                        codes::UNDEFINED_FIELD,
                        place,
                        format!("`{shown}` is no field or group"),
                    )
                    .meant(self.fields.suggest(shown));
                return;
            }
        };
        for id in ids {
            match level.get(&id) {
                Some((known, first)) if *known != view => {
                    report
                        .error(
                            codes::VIEW_CONFLICT,
                            place,
                            format!("`{shown}` is given two views by this role"),
                        )
                        .fix("name it once, under reveal, mask or token")
                        .related(*first, "the other view");
                    return;
                }
                _ => {
                    level.insert(id, (view, place));
                }
            }
        }
    }

    fn settle(self) -> (Box<[View]>, Vec<(FieldId, Place)>) {
        let mut views = vec![View::Withhold; self.fields.names.len()];
        let mut places = Vec::new();
        for (id, _) in self.fields.ids() {
            let found = self.by_field.get(&id).or_else(|| self.by_group.get(&id));
            if let (Some((view, place)), Some(slot)) = (found, views.get_mut(id.index())) {
                *slot = *view;
                places.push((id, *place));
            }
        }
        (views.into_boxed_slice(), places)
    }
}

/// `year` says something about dates only.
fn plausible(masked: &Entry, mask: Mask, fields: &Fields, report: &mut Report<'_>) {
    const OF_DATES: [&str; 6] = ["date", "birth", "dob", "day", "time", "year"];
    let Some(Named::Field(id)) = fields.resolve(&masked.name).filter(|_| mask == Mask::Year) else {
        return;
    };
    let aliases = fields.aliases.get(id.index());
    let dated = aliases.into_iter().flatten().any(|alias| {
        let folded = String::from_utf8_lossy(fold(alias).as_bytes()).into_owned();
        OF_DATES.iter().any(|word| folded.contains(word))
    });
    if !dated {
        report
            .warning(
                codes::MASK_MISMATCH,
                masked.place,
                format!(
                    "the mask year shows nothing of `{}` unless it is a date",
                    masked.name
                ),
            )
            .fix("use last4, or leave the field out");
    }
}

fn purposes(section: Section<'_>, report: &mut Report<'_>) -> Vec<Arc<str>> {
    let mut purposes: Vec<Arc<str>> = Vec::new();
    for node in section.items("purposes") {
        let Some(word) = node.text() else { continue };
        purpose(word, node, report);
        if word != BREAK_GLASS && !purposes.iter().any(|p| p.as_ref() == word) {
            purposes.push(Arc::from(word));
        }
    }
    if purposes.is_empty() && section.entry_of("purposes").is_some() {
        report
            .warning(
                codes::DEAD_RULE,
                section.place_of("purposes"),
                "a role without a purpose may call nothing that touches PHI",
            )
            .fix("name its purposes, as in [TREAT]");
    }
    purposes
}

fn purpose(word: &str, node: &Node, report: &mut Report<'_>) {
    if word == BREAK_GLASS {
        report
            .warning(
                codes::UNKNOWN_PURPOSE,
                node.place,
                "the purpose BTG comes by `emergency` alone: in a role it does nothing",
            )
            .fix("leave BTG out of the roles, and write who may break the glass into `emergency`");
    } else if OTHER_PURPOSES.contains(&word) {
        report
            .warning(
                codes::UNKNOWN_PURPOSE,
                node.place,
                format!("the purpose {word} is unusual for access to PHI"),
            )
            .fix("use TREAT, HPAYMT or HOPERAT if one of them is meant");
    } else if !PURPOSES.contains(&word) {
        let written = node.shown();
        let known = PURPOSES.into_iter().chain(OTHER_PURPOSES);
        let added = report.error(
            codes::UNKNOWN_PURPOSE,
            node.place,
            format!("`{written}` is no purpose of use"),
        );
        match nearest(written, known) {
            Some(name) => added.meant(Some(name)),
            None => added.fix("write one of: TREAT, HPAYMT, HOPERAT, ETREAT"),
        };
    }
}
