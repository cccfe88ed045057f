//! The scanner against `serde_json`.
//!
//! As grammar its `IgnoredAny` agrees with us on every text. Its `Value` refuses three things that we pass, and no
//! more: numbers beyond `f64`, lone surrogates, and the 128th level of nesting (we stop behind it).

use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value as Model;

use super::documents::{document, literal, mutation};
use super::*;

/// A value as `serde_json` would have it: the last duplicate counts. `None` where it would refuse.
pub(super) fn model(value: Value<'_>) -> Option<Model> {
    Some(match value.kind() {
        Kind::Array => Model::Array(value.children().map(model).collect::<Option<_>>()?),
        Kind::Object => {
            let member = |value: Value<'_>| Some((value.key()?.into_owned(), model(value)?));
            Model::Object(value.children().map(member).collect::<Option<_>>()?)
        }
        Kind::String => Model::String(value.string()?.into_owned()),
        Kind::Number | Kind::Bool | Kind::Null => serde_json::from_slice(value.raw()).ok()?,
    })
}

fn agree(text: &[u8]) -> Result<(), TestCaseError> {
    let ours = Tree::parse(text, &Limits::default());
    let grammar = std::str::from_utf8(text)
        .is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    prop_assert_eq!(ours.is_ok(), grammar, "{:?}", ours.err());
    let theirs = serde_json::from_slice::<Model>(text);
    match (ours, theirs) {
        (Ok(tree), Ok(theirs)) => prop_assert_eq!(model(tree.root()), Some(theirs)),
        (Err(_), Err(_)) => {}
        (Err(error), Ok(_)) => prop_assert!(false, "only we refuse: {}", error),
        (Ok(_), Err(error)) => {
            let known = [
                "number out of range",
                "lone leading surrogate",
                "unexpected end of hex escape",
                "recursion limit",
            ];
            let error = error.to_string();
            prop_assert!(
                known.iter().any(|known| error.starts_with(known)),
                "only they refuse: {}",
                error
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn generated_documents_are_read_as_serde_json_does(text in document()) {
        prop_assert!(parse(&text).is_ok());
        agree(text.as_bytes())?;
    }

    #[test]
    fn mutated_documents_are_judged_as_serde_json_does(
        text in document(),
        mutations in prop::collection::vec(mutation(), 1..4),
    ) {
        let mut bytes = text.into_bytes();
        for mutation in &mutations {
            mutation.apply(&mut bytes);
        }
        agree(&bytes)?;
    }

    #[test]
    fn random_bytes_are_judged_as_serde_json_does(bytes in prop::collection::vec(any::<u8>(), 0..24)) {
        agree(&bytes)?;
    }

    #[test]
    fn names_and_strings_decode_as_serde_json_does(literal in literal()) {
        let theirs = serde_json::from_str::<String>(&literal).ok();
        let object = format!("{{{literal}:{literal}}}");
        let tree = parse(&object).unwrap();
        let member = tree.root().children().next().unwrap();
        let (ours, unquoted) = (member.string(), unquote(literal.as_bytes()));
        prop_assert_eq!(ours.as_deref(), theirs.as_deref());
        prop_assert_eq!(unquoted.as_deref(), theirs.as_deref());
        prop_assert_eq!(member.key_raw(), Some(literal.as_bytes()));
        let key = member.key().unwrap();
        prop_assert!(member.is_named(&key));
        match theirs {
            Some(theirs) => prop_assert_eq!(key, theirs),
            None => prop_assert!(key.contains(char::REPLACEMENT_CHARACTER)),
        }
    }

    #[test]
    fn quoted_text_is_what_serde_json_writes_and_reads(text in any::<String>()) {
        let quoted = quote(&text);
        prop_assert_eq!(&quoted, &serde_json::to_vec(&text).unwrap());
        let back = unquote(&quoted);
        prop_assert_eq!(back.as_deref(), Some(text.as_str()));
    }

    #[test]
    fn duplicates_are_those_that_a_set_of_decoded_names_finds(text in document()) {
        let tree = parse(&text).unwrap();
        for object in tree.root().descendants() {
            let mut seen = std::collections::HashSet::new();
            let names = object.children().filter_map(Value::key);
            let distinct = names.into_iter().all(|name| seen.insert(name));
            prop_assert_eq!(object.own_duplicate().is_none(), distinct, "{}", text);
        }
    }

    #[test]
    fn the_tree_holds_together(text in document()) {
        let tree = parse(&text).unwrap();
        for value in tree.root().descendants() {
            prop_assert_eq!(&text.as_bytes()[value.span()], value.raw());
            for child in value.children() {
                prop_assert_eq!(child.parent(), Some(value));
                prop_assert!(child.span().start > value.span().start && child.span().end < value.span().end);
            }
            let below: usize = 1 + value.children().map(|child| child.descendants().count()).sum::<usize>();
            prop_assert_eq!(below, value.descendants().count());
        }
    }
}

#[test]
fn serde_json_values_refuse_what_we_knowingly_pass() {
    let nested = "[".repeat(128) + &"]".repeat(128);
    for text in ["1e999", "\"\\ud800\"", "\"\\ud800\\n\"", &nested] {
        assert!(parse(text).is_ok());
        assert!(serde_json::from_str::<Model>(text).is_err());
    }
}
