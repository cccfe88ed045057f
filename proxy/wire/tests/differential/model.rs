//! What `serde_json` makes of a document, compared value by value and span by span.

use safeguard_wire::json::{Kind, Limits, Tree, Value};
use serde::de::IgnoredAny;
use serde_json::Value as Model;

/// Whether both accept, or why they differ where they may not.
pub(crate) fn agrees(text: &[u8]) -> Result<bool, String> {
    let ours = Tree::parse(text, &Limits::default());
    let grammar = std::str::from_utf8(text)
        .is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    let tree = match ours {
        Ok(_) if !grammar => return Err("only we accept".to_owned()),
        Err(error) if grammar => return Err(format!("only we refuse: {error}")),
        Err(_) => return Ok(false),
        Ok(tree) => tree,
    };
    match serde_json::from_slice::<Model>(text) {
        Ok(model) if !same(tree.root(), &model) => return Err("values differ".to_owned()),
        Err(error) if !is_known(&error.to_string()) => {
            return Err(format!("only they refuse: {error}"));
        }
        Ok(_) | Err(_) => {}
    }
    let stray = tree
        .root()
        .descendants()
        .find(|value| !is_whole(text, *value));
    match stray {
        Some(value) => Err(format!(
            "no value of theirs has the span {:?}",
            value.span()
        )),
        None => Ok(true),
    }
}

/// Whether what they read from where a value starts ends where it ends.
fn is_whole(text: &[u8], value: Value<'_>) -> bool {
    let span = value.span();
    let rest = std::str::from_utf8(&text[span.start..]).unwrap_or_default();
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
    let is_value = values.next().is_some_and(|value| value.is_ok());
    is_value && !rest.starts_with([' ', '\t', '\n', '\r']) && values.byte_offset() == span.len()
}

fn is_known(error: &str) -> bool {
    [
        "number out of range",
        "lone leading surrogate",
        "unexpected end of hex escape",
        "recursion limit",
    ]
    .iter()
    .any(|known| error.starts_with(known))
}

/// Of duplicate members the last one counts there.
pub(crate) fn same(ours: Value<'_>, theirs: &Model) -> bool {
    match (ours.kind(), theirs) {
        (Kind::Null, Model::Null) => true,
        (Kind::Bool, Model::Bool(truth)) => ours.as_bool() == Some(*truth),
        (Kind::Number, Model::Number(_)) => {
            serde_json::from_slice::<Model>(ours.raw()).is_ok_and(|number| number == *theirs)
        }
        (Kind::String, Model::String(text)) => ours.string().as_deref() == Some(text),
        (Kind::Array, Model::Array(elements)) => {
            ours.children().count() == elements.len()
                && ours
                    .children()
                    .zip(elements)
                    .all(|(ours, theirs)| same(ours, theirs))
        }
        (Kind::Object, Model::Object(members)) => {
            let names: std::collections::HashSet<_> = ours.children().map(Value::key).collect();
            names.len() == members.len()
                && members.iter().all(|(name, theirs)| {
                    let last = ours
                        .children()
                        .filter(|member| member.is_named(name))
                        .last();
                    last.is_some_and(|ours| same(ours, theirs))
                })
        }
        _ => false,
    }
}
