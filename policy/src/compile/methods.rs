//! `methods`: rules of what is no tool, resource or prompt.

use std::collections::HashMap;
use std::sync::Arc;

use super::fields::Fields;
use super::phi::{binary_view, text_view};
use super::roles::Roles;
use super::rules::{Kind, Reader};
use crate::document::keys::METHOD;
use crate::document::read::Section;
use crate::document::report::Report;
use crate::document::tree::Entry;
use crate::field::{BinaryView, TextView};
use crate::finding::codes;
use crate::method::{OPEN_METHODS, RULED_METHODS, RuledMethod, ruled_method};
use crate::names::nearest;
use crate::policy::{Grant, Operation, Phi};

/// Methods whose items have rules of their own, and where these stand.
const RULED_ELSEWHERE: [(&str, &str); 3] = [
    ("tools/call", "tools"),
    ("resources/read", "resources"),
    ("prompts/get", "prompts"),
];

pub(super) fn methods(
    root: Section<'_>,
    names: (&Roles, &Fields),
    phi: &Phi,
    report: &mut Report<'_>,
) -> HashMap<&'static str, Grant> {
    let mut known = HashMap::new();
    for entry in root.named("methods") {
        let method = RULED_METHODS
            .iter()
            .find(|method| method.name == entry.name);
        let Some(method) = method else {
            unknown(entry, report);
            continue;
        };
        let reader = Reader::new("methods", entry, METHOD, Kind::Method(method), names);
        known.insert(method.name, grant(&reader, method, phi, report));
    }
    known
}

/// A name that no rule can have: what was meant, as far as that can be told.
fn unknown(entry: &Entry, report: &mut Report<'_>) {
    let name = entry.name.as_str();
    let elsewhere = RULED_ELSEWHERE.iter().find(|(method, _)| *method == name);
    let names = RULED_METHODS.iter().map(|method| method.name);
    let (what, fix) = if let Some((_, section)) = elsewhere {
        (
            "has rules of its own",
            format!("name what may be asked for under `{section}`"),
        )
    } else if OPEN_METHODS.contains(&name) {
        (
            "needs no rule",
            "remove it: it is always allowed".to_owned(),
        )
    } else if let Some(method) = ruled_method(name) {
        (
            "is decided by another method's rule",
            format!("write the rule for `{}`", method.name),
        )
    } else {
        (
            "is no method that a rule can permit",
            match nearest(name, names.clone()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("name one of {}", names.collect::<Vec<_>>().join(", ")),
            },
        )
    };
    report
        .error(
            codes::UNKNOWN_METHOD,
            entry.place,
            format!("`methods.{name}` {what}"),
        )
        .fix(fix);
}

fn grant(
    reader: &Reader<'_>,
    method: &'static RuledMethod,
    phi: &Phi,
    report: &mut Report<'_>,
) -> Grant {
    let section = reader.section;
    let written = section.text("operation").and_then(Operation::parse);
    let operation = written.unwrap_or(method.operation);
    let none = operation == Operation::None;
    let roles = reader.roles(Some(operation), report);
    let patient = reader.patient(Some(operation), report);
    if method.names_patient && !none {
        reader.bound(phi, patient.as_ref(), report);
    }
    let text = match section.text("text") {
        Some(word) => text_view(word),
        None if none => TextView::Reveal,
        None => phi.text,
    };
    let binary = match section.text("binary") {
        Some(word) => binary_view(word),
        None if none => BinaryView::Reveal,
        None => phi.binary,
    };
    Grant {
        rule: reader.rule(report),
        operation,
        roles,
        patient: patient.map(Arc::new),
        record: None,
        text,
        binary,
        places: Arc::new([]),
        when: reader.when(report),
        step_up: reader.step_up(report),
        event: None,
        max_patients: None,
        only_patients: None,
        recipient: None,
        clear_until: None,
    }
}

#[cfg(test)]
mod tests;
