//! Edits on generated documents, against what the spans say and the same edits on `serde_json` values.

use safeguard_wire::json::{Kind, Limits, Splice, Tree, Value};
use serde_json::Value as Model;

use super::generator::{Random, document};
use super::model::same;

/// What takes values' places.
const NEW: [&str; 4] = ["null", "\"new\"", "{\"_encrypted\":true}", "[1, 2.50]"];

/// Replaces some values and removes others: bytes outside the spans stay, and what comes out says what it should.
pub(crate) fn hold(seed: u64, count: usize) {
    let mut random = Random::new(seed);
    for _ in 0..count {
        let text = document(&mut random);
        let tree = Tree::parse(text.as_bytes(), &Limits::default()).unwrap();
        let edits = edits(&mut random, &tree);
        let out = spliced(&tree, &edits);
        if let Some(expected) = cut(&tree, &edits) {
            assert_eq!(out, expected, "seed {seed}: {text}");
        }
        let after = Tree::parse(&out, &Limits::default());
        let after = after.unwrap_or_else(|error| panic!("seed {seed}: {error}: {text}"));
        if let Some(expected) = edited(tree.root(), &edits) {
            assert!(same(after.root(), &expected), "seed {seed}: {text}");
        }
    }
}

/// By index of the value: what takes its place, or none where it goes.
type Edits = Vec<(usize, Option<&'static str>)>;

/// Some values, none of them twice, in any order.
fn edits(random: &mut Random, tree: &Tree<'_>) -> Edits {
    let mut edits: Edits = Vec::new();
    let removing = random.below(2) == 0;
    for _ in 0..random.below(5) {
        let index = random.below(tree.node_count());
        if edits.iter().all(|(taken, _)| *taken != index) {
            let goes = removing && random.below(2) == 0;
            let new = (!goes).then(|| random.pick(&NEW));
            edits.push((index, new));
        }
    }
    edits
}

fn spliced(tree: &Tree<'_>, edits: &Edits) -> Vec<u8> {
    let mut splice = Splice::new(tree);
    for (index, new) in edits {
        let value = tree.root().descendants().nth(*index).unwrap();
        match new {
            Some(new) => splice.replace(value, new),
            None => splice.remove(value),
        }
    }
    splice.apply()
}

/// What replacements alone make of a text, by cutting it at the outermost spans: every other byte stays.
/// `None` where something was removed, too: a comma and white space go with it, and meaning tells.
fn cut(tree: &Tree<'_>, edits: &Edits) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut at, mut behind) = (0, 0);
    let mut sorted = edits.clone();
    sorted.sort_unstable();
    for (index, new) in sorted {
        let new = new?;
        if index >= behind {
            let value = tree.root().descendants().nth(index)?;
            behind = index + value.descendants().count();
            out.extend_from_slice(&tree.text()[at..value.span().start]);
            out.extend_from_slice(new.as_bytes());
            at = value.span().end;
        }
    }
    out.extend_from_slice(&tree.text()[at..]);
    Some(out)
}

/// The same edits on values: `None` where `serde_json` can't have the document.
fn edited(root: Value<'_>, edits: &Edits) -> Option<Model> {
    match edits.iter().find(|(index, _)| *index == root.index()) {
        Some((_, Some(new))) => return serde_json::from_str(new).ok(),
        Some((_, None)) => return Some(Model::Null),
        None => {}
    }
    let stays = |value: &Value<'_>| !edits.contains(&(value.index(), None));
    Some(match root.kind() {
        Kind::Array => {
            let elements = root.children().filter(stays);
            Model::Array(
                elements
                    .map(|value| edited(value, edits))
                    .collect::<Option<_>>()?,
            )
        }
        Kind::Object => {
            let members = root.children().filter(stays);
            let member =
                |value: Value<'_>| Some((value.key()?.into_owned(), edited(value, edits)?));
            Model::Object(members.map(member).collect::<Option<_>>()?)
        }
        Kind::String => Model::String(root.string()?.into_owned()),
        Kind::Null | Kind::Bool | Kind::Number => serde_json::from_slice(root.raw()).ok()?,
    })
}
