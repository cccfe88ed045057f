//! Answers still fit the schemas that the list shows: judged by a foreign validator of JSON Schema.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::lists::{list, listed};
use super::*;
use crate::rewrite::shapes::Shapes;

const ROLES: [&str; 4] = ["physician", "nurse", "billing", "care_agent"];
const NAMES: [&str; 8] = [
    "ssn",
    "dob",
    "diagnosis",
    "medications",
    "status",
    "note",
    "properties",
    "x 1",
];

/// A schema and a value that fits it.
type Pair = (Value, Value);

fn leaf() -> impl Strategy<Value = Pair> {
    prop_oneof![
        Just((
            json!({ "type": "string", "pattern": "^[0-9-]{11}$", "maxLength": 11 }),
            json!("123-45-6789")
        )),
        Just((
            json!({ "type": "string", "enum": ["1980-02-03", "b"] }),
            json!("1980-02-03")
        )),
        Just((json!({ "type": "integer", "minimum": 7 }), json!(2024))),
        Just((json!({ "const": true }), json!(true))),
        Just((json!({}), json!("anything"))),
        Just((json!({ "$ref": "#/$defs/word" }), json!("word"))),
        Just((json!(true), json!(1.5))),
    ]
}

fn array(element: Pair) -> Pair {
    let (schema, value) = element;
    let schema = json!({
        "type": "array", "prefixItems": [schema], "items": { "type": "integer" }, "contains": { "const": 4 },
        "minContains": 1, "uniqueItems": true, "minItems": 3,
    });
    (schema, json!([value, 4, 5]))
}

/// An object whose schema says a few strict things beside its properties.
fn object(members: BTreeMap<&str, Pair>, strict: [bool; 6]) -> Pair {
    let some = !members.is_empty();
    let [all_required, closed, counted, one_of, condition, dependent] = strict.map(|it| it && some);
    let properties: serde_json::Map<String, Value> = members
        .iter()
        .map(|(name, pair)| ((*name).to_owned(), pair.0.clone()))
        .collect();
    let value: serde_json::Map<String, Value> = members
        .iter()
        .map(|(name, pair)| ((*name).to_owned(), pair.1.clone()))
        .collect();
    let names: Vec<&str> = members.keys().copied().collect();
    let first = names.first().copied().unwrap_or("status");
    let mut schema = json!({ "type": "object", "properties": properties });
    let mut put = |when: bool, name: &str, keyword: Value| {
        if when {
            schema[name] = keyword;
        }
    };
    put(all_required, "required", json!(names));
    put(closed, "additionalProperties", json!(false));
    put(
        !closed,
        "additionalProperties",
        json!({ "type": ["string", "integer", "boolean", "number", "array", "object"] }),
    );
    put(counted, "minProperties", json!(names.len()));
    let impossible = json!({ "properties": { first: { "const": "never" } }, "required": [first] });
    put(
        one_of,
        "oneOf",
        json!([{ "properties": { first: properties.get(first) } }, impossible]),
    );
    put(
        condition,
        "if",
        json!({ "properties": { first: { "const": value.get(first) } } }),
    );
    put(
        condition,
        "then",
        json!({ "properties": { first: { "const": value.get(first) } } }),
    );
    put(
        condition,
        "not",
        json!({ "properties": { first: { "type": "null" } }, "required": [first] }),
    );
    put(dependent, "dependentRequired", json!({ first: names }));
    (schema, Value::Object(value))
}

fn pair() -> impl Strategy<Value = Pair> {
    let node = leaf().prop_recursive(4, 24, 4, |inner| {
        let members =
            prop::collection::btree_map(prop::sample::select(&NAMES[..]), inner.clone(), 0..5);
        prop_oneof![
            inner.prop_map(array),
            (members, any::<[bool; 6]>()).prop_map(|(members, strict)| object(members, strict)),
        ]
    });
    let members = prop::collection::btree_map(prop::sample::select(&NAMES[..]), node, 1..6);
    (members, any::<[bool; 6]>()).prop_map(|(members, strict)| {
        let (mut schema, value) = object(members, strict);
        schema["$defs"] = json!({ "word": { "type": "string", "minLength": 4, "format": "date" } });
        (schema, value)
    })
}

fn fits(schema: &Value, value: &Value) -> Result<(), String> {
    let validator = jsonschema::draft202012::new(schema).expect("a schema");
    validator
        .validate(value)
        .map_err(|error| format!("{error}: {value} under {schema}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_shown_answer_fits_the_listed_schema((schema, value) in pair(), role in prop::sample::select(&ROLES[..]), open: bool, seen: bool) {
        prop_assert!(fits(&schema, &value).is_ok(), "the pair itself: {:?}", fits(&schema, &value));
        let mut world = World::with(|text| if open { text.replace("results: withhold", "results: reveal") } else { text.to_owned() });
        let permit = world.tool(role, "look");
        let shapes = Shapes::default();
        let text = list(&json!([{ "name": "look", "inputSchema": { "type": "object" }, "outputSchema": schema }]));
        let told: Value = serde_json::from_str(&listed(&world, &shapes, &text, Some(&permit))).unwrap();
        // An answer may come before this sidecar saw the list that the client validates by. Then a member whose name may
        // be a value goes with its name, declared or not.
        prop_assume!(seen || open || !value.to_string().contains("x 1"));
        world.absence = if seen { shapes.of("look") } else { Absence::Unknown };
        let shown = world.structured(&permit, &value).unwrap();
        let verdict = fits(&told["result"]["tools"][0]["outputSchema"], &shown);
        prop_assert!(verdict.is_ok(), "{role}: {}", verdict.unwrap_err());
    }
}

#[test]
fn a_schema_that_no_view_touches_stays_byte_for_byte() {
    let world = World::with(|text| text.replace("results: withhold", "results: reveal"));
    let permit = world.tool("physician", "look");
    let text = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"look","outputSchema":{"type" : "object","properties":{"ssn":{"type":"string"},"n":{"not":{"type":"null"}}},"oneOf":[{}],"additionalProperties":{"type":"string"}}}]}}"#;
    let seen = listed(&world, &Shapes::default(), text, Some(&permit));
    assert_eq!(seen, text);
}

#[test]
fn what_only_looks_like_a_schema_is_left_alone() {
    let world = World::new();
    let permit = world.tool("care_agent", "look");
    let schema = json!({ "type": "object", "properties": { "status": { "default": { "properties": { "ssn": {} } }, "examples": [{ "items": {} }] } } });
    let text = list(&json!([{ "name": "look", "outputSchema": schema }]));
    let seen: Value =
        serde_json::from_str(&listed(&world, &Shapes::default(), &text, Some(&permit))).unwrap();
    assert_eq!(seen["result"]["tools"][0]["outputSchema"], schema);
}
