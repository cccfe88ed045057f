//! A document against the table of keys: unknown keys, missing keys, wrong types, words that are none, and what is
//! reserved.

use super::keys::{Built, Choice, Key, Shape, find};
use super::report::Report;
use super::tree::{Kind, Node, Place};
use crate::finding::codes;
use crate::names::nearest;
use crate::settings::is_reference;

/// Holds a mapping against its keys; everything is reported.
pub(crate) fn mapping(node: &Node, keys: &'static [Key], path: &str, report: &mut Report<'_>) {
    if !is_mapping(node, path, report) {
        return;
    }
    for entry in node.entries() {
        let inner = join(path, &entry.name);
        let Some(key) = find(keys, &entry.name) else {
            let meant = nearest(&entry.name, keys.iter().map(|k| k.name));
            report
                .error(
                    codes::UNKNOWN_KEY,
                    entry.place,
                    format!("`{inner}` is no key of the configuration"),
                )
                .meant(meant);
            // A misspelled key may hold a secret, unless the one that was meant holds none.
            let harmless = meant
                .and_then(|name| find(keys, name))
                .is_some_and(|k| !k.shape.is_secret() && !k.shape.is_nested());
            if !harmless {
                report.hide_all(&entry.value);
            }
            continue;
        };
        reserved(key, &inner, entry.place, &entry.value, report);
        value(&entry.value, &key.shape, &inner, report);
    }
    let missing = keys
        .iter()
        .filter(|k| k.required && node.entry(k.name).is_none());
    for key in missing {
        report
            .error(
                codes::MISSING_KEY,
                node.place,
                format!("`{}` is missing", join(path, key.name)),
            )
            .fix(format!("add `{}`: {}", key.name, key.about));
    }
}

fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        _ => format!("{path}.{name}"),
    }
}

/// Says what a reserved key means today.
fn reserved(key: &Key, path: &str, place: Place, node: &Node, report: &mut Report<'_>) {
    let text = node.text();
    let is_default = text == Some("false") || matches!(node.kind, Kind::Null);
    match key.built {
        _ if is_default => {}
        Built::Yes => {}
        Built::Restricts => {
            report
                .error(
                    codes::NOT_BUILT,
                    place,
                    format!("`{path}` is reserved: not built yet, and it would protect"),
                )
                .fix("remove it; what it asks for does not happen yet");
        }
        Built::Permits => {
            report
                .warning(
                    codes::NOT_BUILT,
                    place,
                    format!("`{path}` is reserved: not built yet, it does nothing"),
                )
                .fix("remove it, or leave it for a later version");
        }
    }
}

fn value(node: &Node, shape: &'static Shape, path: &str, report: &mut Report<'_>) {
    match shape {
        Shape::Map(keys) => mapping(node, keys, path, report),
        Shape::Named(inner) => {
            if is_mapping(node, path, report) {
                for entry in node.entries() {
                    value(&entry.value, inner, &join(path, &entry.name), report);
                }
            }
        }
        Shape::List(inner) => list(node, inner, path, report),
        Shape::Typed(variants) => typed(node, variants, path, report),
        Shape::TextOr(inner) | Shape::WordOr(_, inner) if matches!(node.kind, Kind::List(_)) => {
            value(node, inner, path, report);
        }
        Shape::TextOr(_) => scalar(node, &Shape::Text, path, report),
        Shape::WordOr(word, _) => {
            if node.text().is_some_and(|text| text != *word) {
                report
                    .error(
                        codes::WRONG_TYPE,
                        node.place,
                        format!("`{path}` is a list, or the word {word}"),
                    )
                    .fix(format!("write [a, b], or {word}"));
            } else if node.scalar().is_none() {
                wrong(node, path, "a list", report);
            }
        }
        Shape::Anything => {}
        _ => scalar(node, shape, path, report),
    }
}

fn is_mapping(node: &Node, path: &str, report: &mut Report<'_>) -> bool {
    let is_mapping = matches!(node.kind, Kind::Map(_));
    if !is_mapping {
        let name = if path.is_empty() {
            "the document"
        } else {
            path
        };
        wrong(node, name, "a mapping", report);
    }
    is_mapping
}

fn wrong(node: &Node, name: &str, expected: &str, report: &mut Report<'_>) {
    let message = format!("`{name}` is {expected}, not {}", node.what());
    report.error(codes::WRONG_TYPE, node.place, message);
}

fn list(node: &Node, inner: &'static Shape, path: &str, report: &mut Report<'_>) {
    if !matches!(node.kind, Kind::List(_)) {
        let message = format!("`{path}` is a list, not {}", node.what());
        report
            .error(codes::WRONG_TYPE, node.place, message)
            .fix("write [a, b], or a line with `- ` for each");
        return;
    }
    for item in node.items() {
        value(item, inner, path, report);
    }
}

fn typed(
    node: &Node,
    variants: &'static [(&'static str, &'static [Key])],
    path: &str,
    report: &mut Report<'_>,
) {
    if !is_mapping(node, path, report) {
        return;
    }
    let Some(entry) = node.entry("type") else {
        report
            .error(
                codes::MISSING_KEY,
                node.place,
                format!("`{path}.type` is missing"),
            )
            .fix("write type: postgresql");
        return;
    };
    let Some(kind) = entry.value.text() else {
        wrong(&entry.value, &join(path, "type"), "a word", report);
        return;
    };
    match variants.iter().find(|(name, _)| *name == kind) {
        Some((_, keys)) => mapping(node, keys, path, report),
        None => {
            let names = variants.iter().map(|(name, _)| *name);
            bad_word(&entry.value, &join(path, "type"), names, report);
        }
    }
}

fn scalar(node: &Node, shape: &'static Shape, path: &str, report: &mut Report<'_>) {
    let Some(scalar) = node.scalar() else {
        return wrong(node, path, expected(shape), report);
    };
    // What names or wraps a key is no secret itself, nor is a store's place without a password.
    let is_reference = (path.starts_with("keys.") && is_reference(&scalar.written))
        || (path == "sessions.store" && !scalar.written.contains('@'));
    if matches!(shape, Shape::Secret) && !scalar.is_foreign() && !is_reference {
        report.hide(node.place);
        report
            .warning(
                codes::SECRET_IN_FILE,
                node.place,
                format!("`{path}` is written into the file"),
            )
            .fix("put it in from outside: ${NAME} or ${file:/path}");
    }
    if matches!(shape, Shape::Secret) && scalar.written.contains(":-") {
        // A default is written out.
        report.hide(node.place);
    }
    let Some(text) = scalar.text() else { return };
    let place = node.place;
    match shape {
        Shape::Text | Shape::Secret if text.trim().is_empty() => {
            report.error(codes::BAD_VALUE, place, format!("`{path}` is empty"));
        }
        Shape::Bool if !scalar.is_bare() || !matches!(text, "true" | "false") => {
            let message = format!("`{path}` is true or false");
            let likely = match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => Some("true"),
                "false" | "no" | "off" => Some("false"),
                _ => None,
            };
            let added = report.error(codes::WRONG_TYPE, place, message);
            if let Some(word) = likely {
                added.fix(format!("write {word}, without quotes"));
            }
        }
        Shape::Integer(low, high) => integer(node, *low, *high, path, report),
        Shape::Days(low, high) if !days(text).is_some_and(|n| (*low..=*high).contains(&n)) => {
            report
                .error(
                    codes::BAD_VALUE,
                    place,
                    format!("`{path}` is no number of days between {low} and {high}"),
                )
                .fix("write it as 2555 or 7y");
        }
        Shape::Word(choices) => word(node, choices, path, report),
        Shape::Date if date(text).is_none() => {
            report
                .error(codes::BAD_VALUE, place, format!("`{path}` is no date"))
                .fix("write it as 2026-11-01");
        }
        Shape::Address if text.parse::<std::net::SocketAddr>().is_err() => {
            report
                .error(
                    codes::BAD_VALUE,
                    place,
                    format!("`{path}` is no IP address and port"),
                )
                .fix("write it as 0.0.0.0:8443 or \"[::1]:8443\"");
        }
        _ => {}
    }
}

fn expected(shape: &Shape) -> &'static str {
    match shape {
        Shape::Bool => "true or false",
        Shape::Integer(..) => "a whole number",
        Shape::Days(..) => "a number of days",
        Shape::Word(_) => "a word",
        Shape::Date => "a date",
        Shape::Address => "an IP address and port",
        _ => "a text",
    }
}

fn integer(node: &Node, low: i64, high: i64, path: &str, report: &mut Report<'_>) {
    let Some(scalar) = node.scalar() else { return };
    let number = scalar.text().and_then(|t| t.trim().parse::<i64>().ok());
    match number {
        Some(_) if !scalar.is_bare() => {
            report
                .error(
                    codes::WRONG_TYPE,
                    node.place,
                    format!("`{path}` is a whole number, not a quoted text"),
                )
                .fix("write it without quotes");
        }
        Some(n) if n < low || n > high => {
            report.error(
                codes::BAD_VALUE,
                node.place,
                format!("`{path}` is between {low} and {high}"),
            );
        }
        Some(_) => {}
        None => {
            report.error(
                codes::WRONG_TYPE,
                node.place,
                format!("`{path}` is a whole number between {low} and {high}"),
            );
        }
    }
}

fn word(node: &Node, choices: &'static [Choice], path: &str, report: &mut Report<'_>) {
    let Some(text) = node.text() else { return };
    match choices.iter().find(|c| c.0 == text) {
        None => bad_word(node, path, choices.iter().map(|c| c.0), report),
        Some(Choice(word, Built::Restricts)) => {
            let message =
                format!("`{path}: {word}` is reserved: not built yet, and it would protect");
            report.error(codes::NOT_BUILT, node.place, message);
        }
        Some(Choice(word, Built::Permits)) => {
            let message = format!("`{path}: {word}` is reserved: not built yet, it does nothing");
            report.warning(codes::NOT_BUILT, node.place, message);
        }
        Some(Choice(_, Built::Yes)) => {}
    }
}

/// A word that is none of these; the text is shown as written, never what a variable put in.
fn bad_word(
    node: &Node,
    path: &str,
    known: impl Iterator<Item = &'static str> + Clone,
    report: &mut Report<'_>,
) {
    let written = node.shown();
    let meant = nearest(written, known.clone());
    let list: Vec<&str> = known.collect();
    let message = format!("`{path}` is one of: {}", list.join(", "));
    let added = report.error(codes::BAD_VALUE, node.place, message);
    match meant {
        Some(_) => added.meant(meant),
        None => added.fix(format!("write one of: {}", list.join(", "))),
    };
}

/// Days: `2555`, `2555_days`, or calendar years, `7y`, at their longest: with one leap day in four of them, and one in what is left.
pub(crate) fn days(text: &str) -> Option<i64> {
    let text = text.trim();
    let number = |digits: &str| {
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| digits.parse::<i64>().ok()).flatten()
    };
    match text.strip_suffix('y') {
        Some(years) => {
            let years = number(years)?;
            years.checked_mul(365)?.checked_add((years + 3) / 4)
        }
        None => number(text.strip_suffix("_days").unwrap_or(text)),
    }
}

/// Midnight UTC of a date, in seconds since the epoch.
pub(crate) fn date(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() != 4 || month.len() != 2 || day.len() != 2 {
        return None;
    }
    let month = time::Month::try_from(month.parse::<u8>().ok()?).ok()?;
    let date = time::Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()?;
    Some(date.midnight().assume_utc().unix_timestamp())
}
