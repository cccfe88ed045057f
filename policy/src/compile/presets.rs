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
use crate::place::{Anchor, FieldPlace, PlaceStep};
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
        let shows = class == FieldClass::NotPhi && fields.hides(&place);
        if !shows {
            fields.place_free(place, text);
        }
    }
}

/// Whether two places can lead to one value: from there upwards they say the same, as far as both say anything.
fn may_meet(one: &FieldPlace, other: &FieldPlace) -> bool {
    let upwards = |place: &FieldPlace| -> Vec<PlaceStep> {
        let named = place.steps.iter().rev();
        named.filter(|step| !step.is_filter()).cloned().collect()
    };
    let (ours, theirs) = (upwards(one), upwards(other));
    let meets = |(a, b): (&PlaceStep, &PlaceStep)| match (a, b) {
        (PlaceStep::Choice(a), PlaceStep::Choice(b)) => a.starts_with(&**b) || b.starts_with(&**a),
        (step, PlaceStep::Member(name)) | (PlaceStep::Member(name), step) => step.names(name),
        _ => false,
    };
    let apart = matches!((&one.anchor, &other.anchor), (Anchor::Resource(Some(a)), Anchor::Resource(Some(b))) if a != b);
    !apart && ours.iter().zip(&theirs).all(meets)
}

impl Fields {
    /// Whether what stands at a place is already PHI, by its place or by a name that the operator wrote. A preset that
    /// calls the place no PHI must not show it: places beat names.
    fn hides(&self, place: &FieldPlace) -> bool {
        let is_phi = |class: &FieldClass| matches!(class, FieldClass::Phi(_));
        let mut placed = self.paths.iter().filter(|own| is_phi(&own.class));
        let mut named = self.operators_names();
        placed.any(|own| may_meet(own, place))
            || named.any(|(name, class)| is_phi(&class) && place.ends_like(name))
    }

    /// The number of a field, which is made if there is none of this name; none if there are too many. A field of the
    /// operator's that has the name among its others is meant, too: its views hold for what the preset adds.
    fn own(&mut self, name: &str, group: Option<&str>, preset: &'static str) -> Option<FieldId> {
        let known = self
            .ids()
            .find(|(_, own)| crate::names::same(own, name))
            .map(|(id, _)| id)
            .or_else(|| self.aliased(name));
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
