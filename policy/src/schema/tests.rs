use super::*;
use crate::document::keys::OUTPUTS;
use crate::document::read::used;
use crate::document::report::Report;
use crate::document::tree::{Kind, Node};
use crate::document::yaml;
use crate::load::tests::{example, example_env};
use crate::{Source, load};

/// Every key of the table, with its path.
fn all(keys: &'static [Key], path: &str, found: &mut Vec<(String, &'static [Key], &'static Key)>) {
    for key in keys {
        let inner = format!("{path}.{}", key.name);
        found.push((inner.clone(), keys, key));
        below(&key.shape, &inner, found);
    }
}

fn below(
    shape: &'static Shape,
    path: &str,
    found: &mut Vec<(String, &'static [Key], &'static Key)>,
) {
    match shape {
        Shape::Map(keys) => all(keys, path, found),
        Shape::Named(inner)
        | Shape::List(inner)
        | Shape::WordOr(_, inner)
        | Shape::TextOr(inner) => {
            below(inner, path, found);
        }
        Shape::Typed(variants) => {
            for (name, keys) in *variants {
                all(keys, &format!("{path}[{name}]"), found);
            }
        }
        _ => {}
    }
}

fn table() -> Vec<(String, &'static [Key], &'static Key)> {
    let mut found = Vec::new();
    all(ROOT, "", &mut found);
    found
}

#[test]
fn every_key_has_a_description() {
    for (path, _, key) in table() {
        assert!(key.about.len() > 5, "{path}");
    }
}

#[test]
fn every_default_is_of_its_shape() {
    for (path, _, key) in table() {
        let Some(default) = key.default else { continue };
        let fits = match &key.shape {
            Shape::Bool => matches!(default, "true" | "false"),
            Shape::Integer(low, high) | Shape::Days(low, high) => {
                (*low..=*high).contains(&default.parse::<i64>().unwrap())
            }
            Shape::Word(choices) => choices.iter().any(|c| c.0 == default),
            Shape::Address => default.parse::<std::net::SocketAddr>().is_ok(),
            Shape::Text | Shape::Secret => true,
            _ => false,
        };
        assert!(fits, "{path}: {default}");
    }
}

#[test]
fn the_loader_reads_every_built_key_of_the_table() {
    let mut sources = example();
    // What the example leaves out: a prompt's and a resource's optional keys are those of tools.
    sources.push(Source {
        name: "more.yaml".into(),
        text: "exceptions: [{ allow: storage_clear, for: tools.read_record, because: x, approved_by: y, until: 2027-03-31 }]\nemergency: { roles: [nurse], grants: { view: physician, tools: [read_record] } }\nmethods: { completion/complete: { roles: [nurse], patient: none } }\nphi: { patient_keys: { directory: /keys } }\nauthentication: { mfa: { enrolment: { directory: /factors } } }\nidentity: { issuers: { partner: { issuer: \"https://idp.example.org\", roles: [nurse], roles_from: roles } } }\n".into(),
    });
    let _ = load(&sources, &example_env());
    for (path, keys, key) in table() {
        if path.contains("output[") && path.ends_with("].type") {
            continue;
        }
        assert!(
            used::contains(keys, key.name),
            "{path} is in the table but nobody reads it"
        );
    }
    assert_eq!(OUTPUTS.len(), 3);
}

/// A JSON value for a tree, as a YAML 1.2 reader would make it.
fn json_of(node: &Node) -> Value {
    match &node.kind {
        Kind::Null => Value::Null,
        Kind::Scalar(s) if s.plain => match s.written.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            text => text
                .parse::<serde_json::Number>()
                .map_or_else(|_| json!(text), Value::Number),
        },
        Kind::Scalar(s) => json!(s.written),
        Kind::List(items) => items.iter().map(json_of).collect(),
        Kind::Map(entries) => Value::Object(
            entries
                .iter()
                .map(|e| (e.name.clone(), json_of(&e.value)))
                .collect(),
        ),
    }
}

/// The part of JSON Schema that [`schema`] prints. Says where a value does not fit.
fn fits(value: &Value, schema: &Value, root: &Value, path: &str) -> Result<(), String> {
    let fail = || Err(format!("{path}: {value} does not fit {schema}"));
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        return fits(
            value,
            root.pointer(target.trim_start_matches('#')).unwrap(),
            root,
            path,
        );
    }
    for word in ["anyOf", "oneOf"] {
        if let Some(options) = schema.get(word).and_then(Value::as_array) {
            let count = options
                .iter()
                .filter(|s| fits(value, s, root, path).is_ok())
                .count();
            if count == 0 || word == "oneOf" && count > 1 {
                return fail();
            }
        }
    }
    if schema.get("const").is_some_and(|c| c != value) {
        return fail();
    }
    if schema
        .get("enum")
        .and_then(Value::as_array)
        .is_some_and(|e| !e.contains(value))
    {
        return fail();
    }
    let right = match schema.get("type").and_then(Value::as_str) {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64(),
        _ => true,
    };
    if !right {
        return fail();
    }
    if schema
        .get("pattern")
        .is_some_and(|p| p.as_str().unwrap().contains("\\{"))
        && !value.as_str().unwrap().contains("${")
    {
        return fail();
    }
    let number = value.as_i64();
    let low = schema.get("minimum").and_then(Value::as_i64);
    let high = schema.get("maximum").and_then(Value::as_i64);
    if number.is_some_and(|n| low.is_some_and(|l| n < l) || high.is_some_and(|h| n > h)) {
        return fail();
    }
    for item in value.as_array().into_iter().flatten() {
        if let Some(items) = schema.get("items") {
            fits(item, items, root, path)?;
        }
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        let inner = format!("{path}.{name}");
        match (
            schema.pointer("/properties").and_then(|p| p.get(name)),
            schema.get("additionalProperties"),
        ) {
            (Some(schema), _) => fits(member, schema, root, &inner)?,
            (None, Some(Value::Bool(false))) => {
                return Err(format!("{inner} is not in the schema"));
            }
            (None, Some(schema)) => fits(member, schema, root, &inner)?,
            (None, None) => {}
        }
    }
    Ok(())
}

fn tree(source: &Source) -> Value {
    let sources = [source.clone()];
    let mut report = Report::new(&sources);
    json_of(&yaml::parse(0, &source.text, &mut report).unwrap())
}

#[test]
fn the_example_files_fit_the_schema() {
    let schema = schema();
    for source in example() {
        fits(&tree(&source), &schema, &schema, &source.name).unwrap();
    }
}

#[test]
fn the_reserved_keys_of_the_full_policy_are_in_the_schema() {
    let text = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/fixtures/policy-full.yaml"
    ))
    .unwrap();
    let schema = schema();
    let name = "policy-full.yaml".into();
    fits(&tree(&Source { name, text }), &schema, &schema, "full").unwrap();
}

#[test]
fn a_misspelled_key_does_not_fit_the_schema() {
    let schema = schema();
    let value = json!({ "listen": { "adress": "0.0.0.0:1" } });
    assert!(fits(&value, &schema, &schema, "").is_err());
}
