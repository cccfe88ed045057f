//! `${VAR}`, `${VAR:-default}` and `${file:/path}` in string scalars, after parsing: what is put in can never become
//! structure. `$${` stands for `${`.

use zeroize::Zeroizing;

use super::Environment;
use super::report::Report;
use super::tree::{Kind, Node, Place, Scalar, Value};
use crate::finding::codes;

/// Puts variables into every scalar below `node`.
pub(crate) fn interpolate(node: &mut Node, env: &dyn Environment, report: &mut Report<'_>) {
    let place = node.place;
    match &mut node.kind {
        Kind::Null => {}
        Kind::Scalar(scalar) if scalar.written.contains("${") => {
            scalar.value = expand(scalar, place, env, report);
        }
        Kind::Scalar(_) => {}
        Kind::List(items) => items.iter_mut().for_each(|n| interpolate(n, env, report)),
        Kind::Map(entries) => entries
            .iter_mut()
            .for_each(|e| interpolate(&mut e.value, env, report)),
    }
}

fn expand(scalar: &Scalar, place: Place, env: &dyn Environment, report: &mut Report<'_>) -> Value {
    let mut text = Zeroizing::new(String::new());
    let mut rest = scalar.written.as_str();
    let mut foreign = false;
    let mut known = true;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            text.push_str(before);
            text.push_str("${");
            rest = after;
            continue;
        }
        text.push_str(before);
        let Some((inside, after)) = after.split_once('}') else {
            report
                .error(codes::BAD_INTERPOLATION, place, "`${` is not closed")
                .fix("close it with `}`, or write `$${` for the characters themselves");
            return Value::Unknown;
        };
        foreign = true;
        match lookup(inside, place, env, report) {
            Some(value) => text.push_str(&value),
            None => known = false,
        }
        rest = after;
    }
    text.push_str(rest);
    match (known, foreign) {
        (false, _) => Value::Unknown,
        (true, true) => Value::Interpolated(text),
        (true, false) => Value::Unescaped(text.to_string()),
    }
}

fn lookup(
    inside: &str,
    place: Place,
    env: &dyn Environment,
    report: &mut Report<'_>,
) -> Option<Zeroizing<String>> {
    if let Some(path) = inside.strip_prefix("file:") {
        return match env.file(path) {
            Ok(None) => {
                report.unopened = report.unopened.or(Some(place));
                None
            }
            Ok(text) => text.map(|t| Zeroizing::new(t.trim_end_matches(['\n', '\r']).to_owned())),
            Err(why) => {
                report
                    .error(
                        codes::UNSET,
                        place,
                        format!("the file {path} cannot be read: {why}"),
                    )
                    .fix("mount the file where the process can read it");
                None
            }
        };
    }
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(letters) {
        report
            .error(codes::BAD_INTERPOLATION, place, "`${…}` names no variable")
            .fix("write ${NAME}, ${NAME:-default} or ${file:/path}");
        return None;
    }
    let value = env.var(name).map(Zeroizing::new);
    match (value, default) {
        (Some(value), None) => Some(value),
        (Some(value), Some(_)) if !value.is_empty() => Some(value),
        (_, Some(default)) => Some(Zeroizing::new(default.to_owned())),
        (None, None) => {
            report
                .error(
                    codes::UNSET,
                    place,
                    format!("the variable {name} is not set"),
                )
                .fix(format!("set {name}, or give a default: ${{{name}:-…}}"));
            None
        }
    }
}
