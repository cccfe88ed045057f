//! Which field a member's name may be, by the presets that come with the program: for drafts, never for a decision.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::compile::presets::PRESETS;
use crate::document::keys::PRESET;
use crate::document::read::Section;
use crate::document::report::Report;
use crate::document::tree::Node;
use crate::document::yaml;
use crate::names::fold;
use crate::place::FieldPlace;

/// Field and preset by folded name.
static KNOWN: LazyLock<HashMap<Vec<u8>, (String, &'static str)>> = LazyLock::new(|| {
    let mut known = HashMap::new();
    for (preset, text) in PRESETS {
        let mut report = Report::new(&[]);
        let Some(tree) = yaml::parse(0, text, &mut report) else {
            continue;
        };
        for entry in Section::new(&tree, PRESET).named("fields") {
            let also = entry
                .value
                .entry("also")
                .map_or(&[][..], |also| also.value.items());
            let names = also.iter().filter_map(Node::text);
            for name in std::iter::once(entry.name.as_str()).chain(names) {
                if !FieldPlace::is_place(name) {
                    let folded = fold(name).as_bytes().to_vec();
                    known.entry(folded).or_insert((entry.name.clone(), preset));
                }
            }
        }
    }
    known
});

/// The field that a name may be, and the preset that says so.
#[must_use]
pub fn field(name: &str) -> Option<(String, &'static str)> {
    KNOWN.get(fold(name).as_bytes()).cloned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_of_the_presets_are_known_in_any_spelling() {
        assert_eq!(
            super::field("SSN").map(|(_, preset)| preset),
            Some("safe-harbor@1")
        );
        assert!(super::field("dateOfBirth").is_some());
        assert_eq!(super::field("message"), None);
    }
}
