//! The JSON Schema (2020-12) of the whole configuration, printed from the table that the loader checks against.

use serde_json::{Map, Value, json};

use crate::document::keys::cases::CASES;
use crate::document::keys::{Built, Choice, Key, ROOT, Shape};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of a file of cases for `safeguard test`.
#[must_use]
pub fn of_cases() -> Value {
    let mut schema = mapping(CASES);
    if let Value::Object(members) = &mut schema {
        members.insert("$schema".to_owned(), json!(DIALECT));
        members.insert("title".to_owned(), json!("Safeguard policy cases"));
    }
    schema
}

/// The schema. Any scalar may also be written as `${VAR}`, `${VAR:-default}` or `${file:/path}`.
#[must_use]
pub fn schema() -> Value {
    let mut schema = mapping(ROOT);
    let head = [
        ("$schema", json!(DIALECT)),
        ("title", json!("Safeguard configuration")),
        (
            "description",
            json!(
                "Files merge by key; required keys may stand in any of them. Scalars take ${VAR}, ${VAR:-default} and ${file:/path}."
            ),
        ),
        (
            "$defs",
            json!({ "interpolated": {
                "type": "string",
                "pattern": "\\$\\{[^}]+\\}",
                "description": "a text that a variable or file is put into",
            }}),
        ),
    ];
    if let Value::Object(members) = &mut schema {
        for (name, value) in head {
            members.insert(name.to_owned(), value);
        }
    }
    schema
}

fn mapping(keys: &[Key]) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|k| (k.name.to_owned(), property(k)))
        .collect();
    let required: Vec<&str> = keys.iter().filter(|k| k.required).map(|k| k.name).collect();
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "required": required,
    })
}

/// What a key is about, and whether it is built.
fn about(key: &Key) -> String {
    match key.built {
        Built::Yes => key.about.to_owned(),
        Built::Restricts => format!("{} (reserved: not built yet, refused)", key.about),
        Built::Permits => format!("{} (reserved: not built yet, without effect)", key.about),
    }
}

fn property(key: &Key) -> Value {
    let mut schema = shape(&key.shape);
    let about = about(key);
    if let Value::Object(members) = &mut schema {
        members.insert("description".to_owned(), Value::String(about));
        if let Some(default) = key.default {
            members.insert("default".to_owned(), default_of(&key.shape, default));
        }
    }
    schema
}

fn default_of(shape: &Shape, text: &str) -> Value {
    match shape {
        Shape::Bool => Value::Bool(text == "true"),
        Shape::Integer(..) | Shape::Days(..) => {
            text.parse::<i64>().map_or(Value::Null, Value::from)
        }
        _ => Value::String(text.to_owned()),
    }
}

fn or_interpolated(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "$ref": "#/$defs/interpolated" }] })
}

fn shape(of: &Shape) -> Value {
    match of {
        Shape::Text | Shape::Secret => json!({ "type": "string", "minLength": 1 }),
        Shape::Bool => or_interpolated(json!({ "type": "boolean" })),
        Shape::Integer(low, high) => {
            or_interpolated(json!({ "type": "integer", "minimum": low, "maximum": high }))
        }
        Shape::Days(low, high) => or_interpolated(json!({ "anyOf": [
            { "type": "integer", "minimum": low, "maximum": high },
            { "type": "string", "pattern": "^[0-9]+(y|_days)?$" }
        ] })),
        Shape::Word(choices) => or_interpolated(json!({ "enum": words(choices) })),
        Shape::Date => or_interpolated(json!({ "type": "string", "format": "date" })),
        Shape::Address => or_interpolated(json!({ "type": "string", "pattern": "^.+:[0-9]+$" })),
        Shape::List(inner) => json!({ "type": "array", "items": shape(inner) }),
        Shape::Map(keys) => mapping(keys),
        Shape::Named(inner) => json!({ "type": "object", "additionalProperties": shape(inner) }),
        Shape::WordOr(word, inner) => json!({ "anyOf": [{ "const": word }, shape(inner)] }),
        Shape::TextOr(inner) => {
            json!({ "anyOf": [{ "type": "string", "minLength": 1 }, shape(inner)] })
        }
        Shape::Typed(variants) => {
            let one_of: Vec<Value> = variants
                .iter()
                .map(|(name, keys)| typed(name, keys))
                .collect();
            json!({ "oneOf": one_of })
        }
        Shape::Anything => json!({}),
    }
}

/// Words that are not refused, and the numbers and flags that some of them look like without quotes.
fn words(choices: &[Choice]) -> Vec<Value> {
    let taken = || choices.iter().filter(|c| c.1 != Built::Restricts);
    let mut words: Vec<Value> = taken().map(|c| json!(c.0)).collect();
    let numbers = taken().filter_map(|c| c.0.parse::<serde_json::Number>().ok());
    words.extend(numbers.map(Value::Number));
    let flags = taken().filter_map(|c| c.0.parse::<bool>().ok());
    words.extend(flags.map(Value::Bool));
    words
}

fn typed(name: &str, keys: &[Key]) -> Value {
    let mut schema = mapping(keys);
    if let Some(kind) = schema.pointer_mut("/properties/type") {
        let about = kind.get("description").cloned().unwrap_or_default();
        *kind = json!({ "const": name, "description": about });
    }
    schema
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
