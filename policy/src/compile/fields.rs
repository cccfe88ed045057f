//! `phi.fields` and `phi.not_phi`: names to numbers, each name one meaning.

use std::collections::HashMap;

use crate::document::keys::FIELD;
use crate::document::read::Section;
use crate::document::report::Report;
use crate::document::tree::{Node, Place};
use crate::finding::codes;
use crate::names::{fold, nearest};
use crate::place::{FieldPlace, PlaceError};
use crate::policy::{FieldClass, FieldId, Normalize, Policy};

use super::phi::normalize;
use super::presets::presets;

#[derive(Default)]
pub(super) struct Fields {
    pub names: Vec<String>,
    pub groups: Vec<Option<String>>,
    pub classes: HashMap<Box<[u8]>, FieldClass>,
    /// Places that names alone don't tell.
    pub paths: Vec<FieldPlace>,
    /// How a field is spelt that the upstream searches by.
    pub searchable: Vec<Option<Normalize>>,
    /// All names and places of a field as they are written.
    pub aliases: Vec<Vec<String>>,
    /// Where a field is written: a place in a file, or a preset.
    pub told: Vec<String>,
    /// Names and places of what is no PHI, as they are written.
    pub not_phi: Vec<String>,
    places: HashMap<Box<[u8]>, Place>,
}

/// What a name in a role stands for.
pub(super) enum Named {
    Field(FieldId),
    Group(Vec<FieldId>),
}

impl Fields {
    /// A field by its name (whatever the case or separators), or a group.
    pub(super) fn resolve(&self, name: &str) -> Option<Named> {
        let folded = fold(name);
        let field = self
            .ids()
            .find(|(_, own)| fold(own).as_bytes() == folded.as_bytes())
            .map(|(id, _)| Named::Field(id));
        field.or_else(|| {
            let members = self.ids().zip(&self.groups);
            let of_group: Vec<FieldId> = members
                .filter(|(_, group)| group.as_deref() == Some(name))
                .map(|((id, _), _)| id)
                .collect();
            (!of_group.is_empty()).then_some(Named::Group(of_group))
        })
    }

    /// The field that has this name among its others.
    pub(super) fn aliased(&self, name: &str) -> Option<FieldId> {
        match self.class(name) {
            FieldClass::Phi(id) => Some(id),
            FieldClass::NotPhi | FieldClass::Unlisted => None,
        }
    }

    /// The names that the operator wrote, folded; those of presets are not among them.
    pub(super) fn operators_names(&self) -> impl Iterator<Item = (&[u8], FieldClass)> {
        let classes = self.classes.iter();
        classes
            .filter(|(name, _)| self.places.contains_key(*name))
            .map(|(name, class)| (&**name, *class))
    }

    /// Gives a name a meaning if it has none.
    pub(super) fn claim_free(&mut self, name: &str, class: FieldClass) {
        let folded: Box<[u8]> = fold(name).as_bytes().into();
        if self.classes.contains_key(&folded) {
            return;
        }
        self.classes.insert(folded, class);
        self.called(name, class);
    }

    /// Gives a place a meaning if it has none.
    pub(super) fn place_free(&mut self, place: FieldPlace, text: &str) {
        if !self.paths.iter().any(|own| own.leads_where(&place)) {
            self.called(text, place.class);
            self.paths.push(place);
        }
    }

    /// Gives a place the operator's meaning; two meanings of one place are an error.
    fn claim_place(&mut self, place: Option<FieldPlace>, node: &Node, report: &mut Report<'_>) {
        let Some(place) = place else { return };
        let other = |own: &&FieldPlace| own.leads_where(&place) && own.class != place.class;
        if self.paths.iter().find(other).is_some() {
            report
                .error(
                    codes::NAME_CLASH,
                    node.place,
                    format!("the place `{}` already means something else", node.shown()),
                )
                .fix("give each place one meaning");
        }
        self.paths.push(place);
    }

    /// Notes another name or place of a field, or of what is none.
    fn called(&mut self, text: &str, class: FieldClass) {
        if class == FieldClass::NotPhi {
            self.not_phi.push(text.to_owned());
        }
        if let FieldClass::Phi(id) = class
            && let Some(names) = self.aliases.get_mut(id.index())
            && !names.iter().any(|own| own == text)
        {
            names.push(text.to_owned());
        }
    }

    /// What a member's name means.
    pub(super) fn class(&self, name: &str) -> FieldClass {
        let known = self.classes.get(fold(name).as_bytes());
        known.copied().unwrap_or(FieldClass::Unlisted)
    }

    /// A field's group.
    pub(super) fn group_of(&self, field: &str) -> Option<&str> {
        let at = self.names.iter().position(|name| name == field)?;
        self.groups.get(at)?.as_deref()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = (FieldId, &str)> {
        let numbered = self.names.iter().zip(0u16..);
        numbered.map(|(name, number)| (FieldId(number), name.as_str()))
    }

    /// The nearest field or group.
    pub(super) fn suggest(&self, name: &str) -> Option<&str> {
        let groups = self.groups.iter().flatten().map(String::as_str);
        nearest(name, self.names.iter().map(String::as_str).chain(groups))
    }

    fn claim(
        &mut self,
        name: &str,
        shown: &str,
        class: FieldClass,
        place: Place,
        report: &mut Report<'_>,
    ) {
        let folded: Box<[u8]> = fold(name).as_bytes().into();
        if folded.is_empty() {
            report.error(
                codes::BAD_VALUE,
                place,
                format!("`{shown}` holds nothing but separators"),
            );
            return;
        }
        match self.classes.get(&folded) {
            Some(known) if *known == class => {}
            Some(_) => {
                let first = self.places.get(&folded).copied().unwrap_or(place);
                report
                    .error(
                        codes::NAME_CLASH,
                        place,
                        format!("`{shown}` already means something else"),
                    )
                    .fix("case and separators are ignored: give each name one meaning")
                    .related(first, "it means this")
                    .related(place, "and this");
            }
            None => {
                self.classes.insert(folded.clone(), class);
                self.places.insert(folded, place);
            }
        }
    }
}

pub(super) fn fields(phi: Section<'_>, report: &mut Report<'_>) -> Fields {
    let mut fields = Fields::default();
    let entries = phi.named("fields");
    if entries.len() > Policy::FIELDS_MAX {
        let message = format!("`phi.fields` has more than {} fields", Policy::FIELDS_MAX);
        report.error(codes::BAD_VALUE, phi.place_of("fields"), message);
    }
    for (entry, number) in entries.iter().take(Policy::FIELDS_MAX).zip(0u16..) {
        let section = Section::new(&entry.value, FIELD);
        let class = FieldClass::Phi(FieldId(number));
        fields.claim(&entry.name, &entry.name, class, entry.place, report);
        let mut aliases = vec![entry.name.clone()];
        for node in section.items("also") {
            let Some(alias) = node.text() else { continue };
            if FieldPlace::is_place(alias) {
                let parsed = place(node, FieldPlace::parse(alias, class), report);
                fields.claim_place(parsed, node, report);
                aliases.push(alias.to_owned());
                continue;
            }
            fields.claim(alias, node.shown(), class, node.place, report);
            aliases.push(alias.to_owned());
        }
        fields.names.push(entry.name.clone());
        fields.groups.push(section.owned("group"));
        fields
            .searchable
            .push(normalize(section.text("searchable")));
        fields.aliases.push(aliases);
        let told = format!("{}:{}", report.file(entry.place), entry.place.line);
        fields.told.push(told);
    }
    for node in phi.items("not_phi") {
        let Some(name) = node.text() else { continue };
        fields.not_phi.push(name.to_owned());
        if FieldPlace::is_place(name) {
            let parsed = place(node, FieldPlace::parse(name, FieldClass::NotPhi), report);
            fields.claim_place(parsed, node, report);
        } else {
            fields.claim(name, node.shown(), FieldClass::NotPhi, node.place, report);
        }
    }
    presets(phi, &mut fields, report);
    if phi.is_written() && fields.names.is_empty() && entries.is_empty() {
        report
            .error(
                codes::BAD_VALUE,
                phi.place_of("fields"),
                "`phi.fields` names no field",
            )
            .fix("name what is PHI, or a preset: with no field nothing is sealed");
    }
    groups(phi, &fields, report);
    fields
}

/// A place, or a finding that says why the text is none.
pub(super) fn place(
    node: &Node,
    parsed: Result<FieldPlace, PlaceError>,
    report: &mut Report<'_>,
) -> Option<FieldPlace> {
    match parsed {
        Ok(place) => Some(place),
        Err(error) => {
            report
                .error(
                    codes::BAD_PATH,
                    node.place,
                    format!("`{}` names no place: {error}", node.shown()),
                )
                .fix("write it as Patient.identifier[system=us-ssn].value, Observation.value[x] or identity.number");
            None
        }
    }
}

/// A group's name must not be a field's: in a role it could mean either.
fn groups(phi: Section<'_>, fields: &Fields, report: &mut Report<'_>) {
    for entry in phi.named("fields") {
        let section = Section::new(&entry.value, FIELD);
        let Some(group) = section.text("group") else {
            continue;
        };
        let folded = fold(group);
        if fields
            .ids()
            .any(|(_, name)| fold(name).as_bytes() == folded.as_bytes())
        {
            report
                .error(
                    codes::NAME_CLASH,
                    section.place_of("group"),
                    format!(
                        "`{}` is a group and a field",
                        entry.value.entry("group").map_or("", |e| e.value.shown())
                    ),
                )
                .fix("give the group another name");
        }
    }
}
