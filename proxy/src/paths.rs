//! The policy's paths walked in a message: two crates that do not know each other, translated here.

use safeguard_policy::{Path, Step};
use safeguard_wire::json::{self, Kind, Value};

/// The path's steps as the JSON tree takes them.
pub fn steps(path: &Path) -> Vec<json::Step> {
    path.steps
        .iter()
        .map(|step| match step {
            Step::Member(name) => json::Step::Member(name.clone()),
            Step::Each => json::Step::Each,
            Step::Index(index) => json::Step::Index(*index),
        })
        .collect()
}

/// A string's text or a number's digits; none for anything that can't name a patient.
pub fn scalar_text(value: Value<'_>) -> Option<String> {
    match value.kind() {
        Kind::String => value.string().map(|text| text.into_owned()),
        Kind::Number => String::from_utf8(value.raw().to_vec()).ok(),
        Kind::Null | Kind::Bool | Kind::Array | Kind::Object => None,
    }
}

/// A value for the policy's conditions.
///
/// A number that no 64-bit type holds, and a string with a lone surrogate, are left out: a condition that reads an
/// absent name denies, and one that does not never sees the difference. Duplicates were refused before.
pub fn to_serde(value: Value<'_>) -> Option<serde_json::Value> {
    Some(match value.kind() {
        Kind::Null => serde_json::Value::Null,
        Kind::Bool => serde_json::Value::Bool(value.as_bool()?),
        Kind::Number => number(value)?,
        Kind::String => serde_json::Value::String(value.string()?.into_owned()),
        Kind::Array => {
            serde_json::Value::Array(value.children().map(to_serde).collect::<Option<_>>()?)
        }
        Kind::Object => {
            let members = value
                .children()
                .filter_map(|child| Some((child.key()?.into_owned(), to_serde(child)?)));
            serde_json::Value::Object(members.collect())
        }
    })
}

fn number(value: Value<'_>) -> Option<serde_json::Value> {
    if let Some(integer) = value.as_i64() {
        return Some(integer.into());
    }
    if let Some(integer) = value.as_u64() {
        return Some(integer.into());
    }
    let text = std::str::from_utf8(value.raw()).ok()?;
    let is_integer = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'-');
    if is_integer {
        return None;
    }
    let float = text.parse::<f64>().ok().filter(|float| float.is_finite())?;
    serde_json::Number::from_f64(float).map(serde_json::Value::Number)
}
