//! Edits against the same edits on `serde_json` values, and against fixed bytes.

use proptest::prelude::*;
use serde_json::Value as Model;

use super::differential::model;
use super::documents::document;
use super::*;

#[derive(Debug, Clone)]
enum Edit {
    Replace(&'static str),
    Remove,
    Insert,
    Wrap,
}

fn edits() -> impl Strategy<Value = Vec<(usize, Edit)>> {
    let edit = prop_oneof![
        3 => prop::sample::select(vec!["\"R\"", "{\"_encrypted\":true,\"_value\":\"hs1.x\"}", "[ ]", "-1.50"]).prop_map(Edit::Replace),
        4 => Just(Edit::Remove),
        2 => Just(Edit::Insert),
        2 => Just(Edit::Wrap),
    ];
    prop::collection::vec((any::<usize>(), edit), 0..8)
}

/// Does the edits as `Splice` should, on values: `None` if it is removed.
fn edited(value: Value<'_>, edits: &[(usize, Edit)]) -> Option<Model> {
    let own = || {
        edits
            .iter()
            .enumerate()
            .filter(|(_, (index, _))| *index == value.index())
    };
    if own().any(|(_, (_, edit))| matches!(edit, Edit::Remove)) {
        return (value.index() == 0).then_some(Model::Null);
    }
    let mut replacement = own().filter_map(|(_, (_, edit))| match edit {
        Edit::Replace(json) => Some(*json),
        _ => None,
    });
    let mut result = match (replacement.next_back(), value.kind()) {
        (Some(json), _) => serde_json::from_str(json).unwrap(),
        (None, Kind::Array) => Model::Array(
            value
                .children()
                .filter_map(|child| edited(child, edits))
                .collect(),
        ),
        (None, Kind::Object) => {
            let kept = value
                .children()
                .filter_map(|child| Some((child.key()?.into_owned(), edited(child, edits)?)));
            let added = own().filter(|(_, (_, edit))| matches!(edit, Edit::Insert));
            let added = added.map(|(call, _)| (format!("added {call}"), Model::from(call)));
            Model::Object(kept.chain(added).collect())
        }
        _ => model(value).unwrap_or_else(|| Model::String("unreadable".to_owned())),
    };
    for _ in own().filter(|(_, (_, edit))| matches!(edit, Edit::Wrap)) {
        result = Model::Array(vec![result]);
    }
    Some(result)
}

fn spliced(tree: &Tree<'_>, edits: &[(usize, Edit)]) -> Vec<u8> {
    let mut splice = Splice::new(tree);
    for (call, (index, edit)) in edits.iter().enumerate() {
        let value = tree.root().descendants().nth(*index).unwrap();
        match edit {
            // Both ways in turns, in one splice.
            Edit::Replace(json) if call % 2 == 0 => splice.replace(value, *json),
            Edit::Replace(json) => splice
                .replace_with(value, |out| {
                    out.extend_from_slice(json.as_bytes());
                    Ok::<_, ()>(())
                })
                .unwrap(),
            Edit::Remove => splice.remove(value),
            Edit::Insert => {
                splice.insert_member(value, &format!("added {call}"), call.to_string().as_bytes())
            }
            Edit::Wrap => splice.wrap(value, b"[", b"]"),
        }
    }
    splice.apply()
}

/// The largest values that no edit touches at, above or below, with their names.
fn untouched<'t>(tree: &'t Tree<'_>, edits: &[(usize, Edit)]) -> Vec<&'t [u8]> {
    let hit = |value: Value<'_>| edits.iter().any(|(index, _)| *index == value.index());
    let taken = |value: Value<'_>| {
        edits.iter().any(|(index, edit)| {
            *index == value.index() && matches!(edit, Edit::Replace(_) | Edit::Remove)
        })
    };
    let mut found = Vec::new();
    let mut pending = vec![tree.root()];
    while let Some(value) = pending.pop() {
        if !value.descendants().any(hit) {
            let start = value
                .key_raw()
                .map_or(value.span().start, |_| value.key_span().start);
            found.push(&tree.text()[start..value.span().end]);
        } else if !taken(value) {
            let mut children: Vec<_> = value.children().collect();
            children.reverse();
            pending.extend(children);
        }
    }
    found
}

fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn edits_mean_what_they_mean_on_values(text in document(), mut edits in edits()) {
        let tree = parse(&text).unwrap();
        for (index, _) in &mut edits {
            *index %= tree.node_count();
        }
        let out = spliced(&tree, &edits);
        let after = Tree::parse(&out, &Limits::default());
        prop_assert!(after.is_ok(), "{:?}: {}", after.err(), String::from_utf8_lossy(&out));
        let after = after.unwrap();
        if model(tree.root()).is_some() {
            prop_assert_eq!(model(after.root()), edited(tree.root(), &edits));
        }
        let mut rest = out.as_slice();
        for kept in untouched(&tree, &edits) {
            let at = position(rest, kept);
            prop_assert!(at.is_some(), "lost {}", String::from_utf8_lossy(kept));
            rest = &rest[at.unwrap() + kept.len()..];
        }
    }

    #[test]
    fn replaced_scalars_leave_every_other_byte(text in document(), picks in prop::collection::vec(any::<usize>(), 0..6)) {
        let tree = parse(&text).unwrap();
        let mut scalars: Vec<_> = tree.root().descendants().filter(|value| value.kind() < Kind::Array).collect();
        scalars.retain(|value| picks.iter().any(|pick| pick % tree.node_count() == value.index()));
        let mut expected = text.clone();
        for value in scalars.iter().rev() {
            expected.replace_range(value.span(), "<new>");
        }
        let mut splice = Splice::new(&tree);
        // Calls may come in any order.
        for value in scalars.iter().rev() {
            splice.replace(*value, "<new>");
        }
        prop_assert_eq!(splice.apply(), expected.into_bytes());
    }

    #[test]
    fn no_edit_changes_nothing(text in document()) {
        let tree = parse(&text).unwrap();
        prop_assert!(Splice::new(&tree).is_empty());
        prop_assert_eq!(Splice::new(&tree).apply(), text.into_bytes());
    }
}

/// Removes the children of these positions from the root.
fn without(text: &str, positions: &[usize]) -> String {
    let tree = parse(text).unwrap();
    let mut splice = Splice::new(&tree);
    for (position, child) in tree.root().children().enumerate() {
        if positions.contains(&position) {
            splice.remove(child);
        }
    }
    String::from_utf8(splice.apply()).unwrap()
}

#[test]
fn removal_takes_exactly_one_comma() {
    let text = "{ \"a\" : 1 , \"b\" : 2 , \"c\" : 3 }";
    assert_eq!(without(text, &[0]), "{ \"b\" : 2 , \"c\" : 3 }");
    assert_eq!(without(text, &[1]), "{ \"a\" : 1 , \"c\" : 3 }");
    assert_eq!(without(text, &[2]), "{ \"a\" : 1 , \"b\" : 2 }");
    assert_eq!(without(text, &[0, 1]), "{ \"c\" : 3 }");
    assert_eq!(without(text, &[0, 2]), "{ \"b\" : 2 }");
    assert_eq!(without(text, &[1, 2]), "{ \"a\" : 1 }");
    assert_eq!(without("{\"a\":1,\"b\":2}", &[0, 1]), "{}");
    assert_eq!(without("[1,2,3]", &[0, 1, 2]), "[]");
    assert_eq!(without("[1,2,3]", &[1]), "[1,3]");
}

#[test]
fn members_are_appended_whatever_else_happens() {
    let tree = parse(r#"{"a":1,"o":{}}"#).unwrap();
    let [a, o] = [0, 1].map(|nth| tree.root().children().nth(nth).unwrap());
    let mut splice = Splice::new(&tree);
    splice.insert_member(tree.root(), "x\"", b"1");
    splice.insert_member(o, "y", b"[2]");
    splice.insert_member(tree.root(), "z", b"3");
    splice.wrap(o, b"[", b"]");
    splice.insert_member(a, "ignored", b"4");
    assert_eq!(splice.apply(), br#"{"a":1,"o":[{"y":[2]}],"x\"":1,"z":3}"#);
    let mut splice = Splice::new(&tree);
    splice.remove(o);
    splice.insert_member(o, "lost", b"0");
    splice.insert_member(tree.root(), "x", b"1");
    splice.remove(a);
    splice.insert_member(tree.root(), "y", b"2");
    assert_eq!(splice.apply(), br#"{"x":1,"y":2}"#);
}

#[test]
fn the_outer_edit_wins() {
    let tree = parse(r#"{"a":{"b":1},"c":2}"#).unwrap();
    let a = tree.root().get("a").unwrap().unwrap();
    let b = a.get("b").unwrap().unwrap();
    let mut splice = Splice::new(&tree);
    splice.replace(b, "9");
    splice.replace(a, "\"first\"");
    splice.replace(a, "\"last\"");
    splice.remove(b);
    splice.wrap(b, b"[", b"]");
    assert_eq!(splice.apply(), br#"{"a":"last","c":2}"#);
    let mut splice = Splice::new(&tree);
    splice.replace(a, "7");
    splice.remove(a);
    splice.wrap(a, b"[", b"]");
    assert_eq!(splice.apply(), br#"{"c":2}"#);
    let mut splice = Splice::new(&tree);
    splice.remove(tree.root());
    splice.replace(tree.root(), "1");
    assert_eq!(splice.apply(), b"null");
}

#[test]
fn a_replacement_that_fails_leaves_the_value_and_the_other_edits() {
    let tree = parse("[1,2,3]").unwrap();
    let values: Vec<_> = tree.root().children().collect();
    let mut splice = Splice::new(&tree);
    let mut write = |at: usize, text: &[u8], result: Result<(), &str>| {
        splice
            .replace_with(values[at], |out| {
                out.extend_from_slice(text);
                result.map_err(str::to_owned)
            })
            .is_ok()
    };
    assert!(write(0, b"\"first\"", Ok(())));
    assert!(!write(1, b"\"half", Err("no key")));
    assert!(write(2, b"\"last\"", Ok(())));
    assert_eq!(splice.apply(), br#"["first",2,"last"]"#);
}

#[test]
fn a_replacement_that_takes_of_others_away_lets_nothing_out() {
    let tree = parse("[1,2]").unwrap();
    let values: Vec<_> = tree.root().children().collect();
    let mut splice = Splice::new(&tree);
    for (value, text) in values.into_iter().zip([b"[[7]]".as_slice(), b"8"]) {
        let written = splice.replace_with(value, |out| {
            out.clear();
            out.extend_from_slice(text);
            Ok::<_, ()>(())
        });
        assert_eq!(written, Ok(()));
    }
    assert_eq!(splice.apply(), b"null");
}

#[test]
fn later_wraps_go_outside() {
    let tree = parse("[1]").unwrap();
    let one = tree.root().children().next().unwrap();
    let mut splice = Splice::new(&tree);
    splice.wrap(one, b"{\"i\":", b"}");
    splice.wrap(one, b"{\"o\":", b"}");
    splice.replace(one, "2");
    assert_eq!(splice.apply(), br#"[{"o":{"i":2}}]"#);
}

#[test]
fn values_of_another_tree_let_nothing_out() {
    let (one, other) = (
        parse(r#"{"ssn":"123-45-6789"}"#).unwrap(),
        parse("{}").unwrap(),
    );
    let mut splice = Splice::new(&one);
    splice.remove(other.root());
    assert!(!splice.is_empty());
    assert_eq!(splice.apply(), b"null");
}

#[test]
fn texts_around_edits_keep_numbers_escapes_and_spacing() {
    let text =
        "{\"v\": 1.10,\t\"u\":\"\\u0041\\/\",\"big\" : 1e999 , \"ssn\": \"x\",\"ssn\":\"y\"}\n";
    let tree = parse(text).unwrap();
    let mut splice = Splice::new(&tree);
    for member in tree
        .root()
        .children()
        .filter(|member| member.is_named("ssn"))
    {
        splice.replace(member, "null");
    }
    let expected = text.replace("\"x\"", "null").replace("\"y\"", "null");
    assert_eq!(splice.apply(), expected.into_bytes());
}
