//! What others find out about values of a configuration, said at the places where those stand.

use super::read;
use crate::document::Source;
use crate::document::keys::{ROOT, Shape, find};
use crate::document::report::Report;
use crate::document::tree::{Node, Place};
use crate::finding::{Finding, Severity};

/// Something found out about a value: by opening what it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Error or warning.
    pub severity: Severity,
    /// One of [`codes`](crate::codes).
    pub code: &'static str,
    /// The value's path: `tls.cert_file`, `audit_logging.output[0].host`, `…output[postgresql].host`.
    /// What is not written stands for the nearest around it that is.
    pub path: String,
    /// What was found out. No secret.
    pub message: String,
    /// What to do.
    pub fix: Option<String>,
}

/// Remarks as findings, each at its place in the sources, in their order.
#[must_use]
pub fn findings_at(sources: &[Source], remarks: &[Remark]) -> Vec<Finding> {
    let mut report = Report::new(sources);
    let mut unread = Report::new(sources);
    let tree = read(sources, &mut unread);
    if let Some(tree) = &tree {
        hide_secrets(tree, &mut report);
    }
    for remark in remarks {
        let place = tree
            .as_ref()
            .map_or(Place::default(), |tree| place_of(tree, &remark.path));
        let added = match remark.severity {
            Severity::Error => report.error(remark.code, place, remark.message.as_str()),
            Severity::Warning => report.warning(remark.code, place, remark.message.as_str()),
        };
        if let Some(fix) = &remark.fix {
            let _ = added.fix(fix.as_str());
        }
    }
    report.finish()
}

/// Where the value of a path stands, or the nearest around it; nowhere if nothing of it is written.
fn place_of(tree: &Node, path: &str) -> Place {
    let mut node = tree;
    let mut place = Place::default();
    for step in path.split(['.', '[']) {
        let inner = match step.strip_suffix(']') {
            Some(chosen) => item(node, chosen),
            None => node.entry(step).map(|entry| &entry.value),
        };
        let Some(inner) = inner else { break };
        place = match node.entry(step) {
            Some(entry) if inner.scalar().is_none() => entry.place,
            _ => inner.place,
        };
        node = inner;
    }
    place
}

/// An item of a list: by its number, or the first whose `type` is this word.
fn item<'t>(list: &'t Node, chosen: &str) -> Option<&'t Node> {
    let is_meant = |item: &&Node| {
        let kind = item.entry("type").and_then(|entry| entry.value.text());
        kind == Some(chosen)
    };
    match chosen.parse::<usize>() {
        Ok(number) => list.items().get(number),
        Err(_) => list.items().iter().find(is_meant),
    }
}

/// No excerpt shows a literal secret: those of the sections that have some.
fn hide_secrets(tree: &Node, report: &mut Report<'_>) {
    fn below(node: &Node, shape: &'static Shape, report: &mut Report<'_>) {
        match shape {
            Shape::Secret => report.hide_all(node),
            Shape::Map(keys) => {
                for entry in node.entries() {
                    if let Some(key) = find(keys, &entry.name) {
                        below(&entry.value, &key.shape, report);
                    }
                }
            }
            Shape::Named(inner) => {
                for entry in node.entries() {
                    below(&entry.value, inner, report);
                }
            }
            Shape::List(inner) | Shape::TextOr(inner) | Shape::WordOr(_, inner) => {
                for item in node.items() {
                    below(item, inner, report);
                }
            }
            Shape::Typed(variants) => {
                for (_, keys) in *variants {
                    for entry in node.entries() {
                        if let Some(key) = find(keys, &entry.name) {
                            below(&entry.value, &key.shape, report);
                        }
                    }
                }
            }
            _ => {}
        }
    }
    for entry in tree.entries() {
        if let Some(key) = find(ROOT, &entry.name) {
            below(&entry.value, &key.shape, report);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes;

    fn at(text: &str, path: &str) -> Finding {
        let source = Source {
            name: "a.yaml".to_owned(),
            text: text.to_owned(),
        };
        let remark = Remark {
            severity: Severity::Error,
            code: codes::UNREACHABLE,
            path: path.to_owned(),
            message: "nobody answers".to_owned(),
            fix: Some("start it".to_owned()),
        };
        findings_at(&[source], &[remark]).remove(0)
    }

    #[test]
    fn a_remark_stands_at_its_value_or_the_nearest_around_it() {
        let text = "tls:\n  cert_file: /a\naudit_logging:\n  output:\n    - type: siem\n    - type: postgresql\n      table: t\n";
        let place = |path: &str| {
            let finding = at(text, path);
            (finding.line, finding.column)
        };
        assert_eq!(place("tls.cert_file"), (2, 14));
        assert_eq!(place("tls.ca_file"), (1, 1));
        assert_eq!(place("audit_logging.output[1].table"), (7, 14));
        assert_eq!(place("audit_logging.output[postgresql].table"), (7, 14));
        assert_eq!(place("audit_logging.output[1].host"), (6, 7));
        assert_eq!(place("upstream.url"), (0, 0));
        let finding = at(text, "tls.cert_file");
        assert_eq!(finding.fix.as_deref(), Some("start it"));
        assert_eq!(finding.excerpt, "  cert_file: /a");
    }

    #[test]
    fn no_excerpt_shows_a_secret() {
        let text = "keys: { phi: [{ id: a, from: 2026-01-01, source: hunter2 }] }\n";
        let finding = at(text, "keys.phi[0].id");
        assert!(!finding.excerpt.contains("hunter2"), "{}", finding.excerpt);
    }
}
