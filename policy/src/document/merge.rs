//! Several sources become one tree: mappings merge by key, everything else may be given once.

use super::report::Report;
use super::tree::{Entry, Kind, Node};
use crate::finding::codes;

/// Merges `more` into `whole`; what is given twice is reported, and the first one counts.
pub(crate) fn merge(whole: &mut Node, more: Node, name: &str, report: &mut Report<'_>) {
    match (&mut whole.kind, more.kind) {
        (_, Kind::Null) => {}
        (kind @ Kind::Null, other) => {
            *kind = other;
            whole.place = more.place;
        }
        (Kind::Map(entries), Kind::Map(others)) => {
            for entry in others {
                add(entries, entry, report);
            }
        }
        _ => {
            let what = if name.is_empty() {
                "the document"
            } else {
                name
            };
            report
                .error(
                    codes::GIVEN_TWICE,
                    more.place,
                    format!("`{what}` is given twice"),
                )
                .fix("keep one of them")
                .related(whole.place, "first given here");
        }
    }
}

fn add(entries: &mut Vec<Entry>, entry: Entry, report: &mut Report<'_>) {
    match entries.iter_mut().find(|e| e.name == entry.name) {
        None => entries.push(entry),
        Some(first) => {
            let both_maps = matches!(
                (&first.value.kind, &entry.value.kind),
                (Kind::Map(_), Kind::Map(_))
            );
            if both_maps {
                merge(&mut first.value, entry.value, &entry.name, report);
                return;
            }
            report
                .error(
                    codes::GIVEN_TWICE,
                    entry.place,
                    format!("`{}` is given twice", entry.name),
                )
                .fix("keep one of them")
                .related(first.place, "first given here");
        }
    }
}
