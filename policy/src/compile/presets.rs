//! `phi.presets`: versioned lists of fields that come with the program. What the operator writes beats them: a name or
//! a field of his own keeps its meaning and its group, and the preset adds what is still free.

use super::fields::Fields;
use crate::document::keys::PRESET;
use crate::document::read::Section;
use crate::document::report::Report;
use crate::document::tree::{Node, Place};
use crate::document::yaml;
use crate::finding::codes;
use crate::names::nearest;
use crate::place::FieldPlace;
use crate::policy::{FieldClass, FieldId, Policy};

/// Each preset by its name and version, and its text.
pub(crate) const PRESETS: [(&str, &str); 2] = [
    (
        "safe-harbor@1",
        include_str!("../../presets/safe-harbor@1.yaml"),
    ),
    ("fhir-r4@1", include_str!("../../presets/fhir-r4@1.yaml")),
];

/// Adds the presets that are named.
pub(super) fn presets(phi: Section<'_>, fields: &mut Fields, report: &mut Report<'_>) {
    for node in phi.items("presets") {
        let Some(name) = node.text() else { continue };
        match PRESETS.iter().find(|(known, _)| *known == name) {
            Some((known, text)) => add(known, text, node.place, fields, report),
            None => unknown(node, report),
        }
    }
}

fn unknown(node: &Node, report: &mut Report<'_>) {
    let names: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
    report
        .error(
            codes::BAD_VALUE,
            node.place,
            format!("`{}` is no preset", node.shown()),
        )
        .meant(nearest(node.shown(), names.iter().copied()))
        .fix(format!("write one of: {}", names.join(", ")));
}

fn add(name: &'static str, text: &str, place: Place, fields: &mut Fields, report: &mut Report<'_>) {
    // What comes with the program is in order, which a test sees to; a finding here would point nowhere.
    let mut inner = Report::new(&[]);
    let Some(tree) = yaml::parse(0, text, &mut inner) else {
        report.error(
            codes::SYNTAX,
            place,
            format!("the preset `{name}` can't be read"),
        );
        return;
    };
    let preset = Section::new(&tree, PRESET);
    for entry in preset.named("fields") {
        let section = Section::new(&entry.value, crate::document::keys::FIELD);
        let Some(id) = fields.own(&entry.name, section.text("group"), name) else {
            let message = format!(
                "with the preset `{name}` there are more than {} fields",
                Policy::FIELDS_MAX
            );
            report.error(codes::BAD_VALUE, place, message);
            return;
        };
        let class = FieldClass::Phi(id);
        let names = section.items("also").iter().filter_map(Node::text);
        for also in std::iter::once(entry.name.as_str()).chain(names) {
            meaning(also, class, fields);
        }
    }
    for also in preset.items("not_phi").iter().filter_map(Node::text) {
        meaning(also, FieldClass::NotPhi, fields);
    }
}

/// Gives a name or a place its meaning, unless it has one.
fn meaning(text: &str, class: FieldClass, fields: &mut Fields) {
    if !FieldPlace::is_place(text) {
        fields.claim_free(text, class);
        return;
    }
    if let Ok(place) = FieldPlace::parse(text, class) {
        fields.place_free(place, text);
    }
}

impl Fields {
    /// The number of a field, which is made if there is none of this name; none if there are too many.
    fn own(&mut self, name: &str, group: Option<&str>, preset: &'static str) -> Option<FieldId> {
        let known = self
            .ids()
            .find(|(_, own)| crate::names::same(own, name))
            .map(|(id, _)| id);
        if let Some(id) = known {
            if let Some(empty) = self
                .groups
                .get_mut(id.index())
                .filter(|group| group.is_none())
            {
                *empty = group.map(str::to_owned);
            }
            return Some(id);
        }
        let number = u16::try_from(self.names.len()).ok()?;
        if self.names.len() >= Policy::FIELDS_MAX {
            return None;
        }
        self.names.push(name.to_owned());
        self.groups.push(group.map(str::to_owned));
        self.searchable.push(None);
        self.aliases.push(vec![name.to_owned()]);
        self.told.push(preset.to_owned());
        Some(FieldId(number))
    }
}
