//! Tests of the JSON room: fixed cases here, generated ones against `serde_json` beside.

mod differential;
mod documents;
mod splicing;

use super::*;

fn parse(text: &str) -> Result<Tree<'_>, JsonError> {
    Tree::parse(text.as_bytes(), &Limits::default())
}

fn keys<'t>(value: Value<'t>) -> Vec<String> {
    value
        .children()
        .filter_map(Value::key)
        .map(|key| key.into_owned())
        .collect()
}

#[test]
fn spans_cover_exactly_the_value_and_the_name() {
    let text = " { \"a\" : [ 1 , -2.50e+1 ] ,\n\"b\\n\":\"x\" } ";
    let tree = parse(text).unwrap();
    let raw: Vec<_> = tree
        .root()
        .descendants()
        .map(|value| std::str::from_utf8(value.raw()).unwrap())
        .collect();
    assert_eq!(
        raw,
        [
            "{ \"a\" : [ 1 , -2.50e+1 ] ,\n\"b\\n\":\"x\" }",
            "[ 1 , -2.50e+1 ]",
            "1",
            "-2.50e+1",
            "\"x\""
        ]
    );
    let names: Vec<_> = tree
        .root()
        .children()
        .map(|value| value.key_raw().unwrap())
        .collect();
    assert_eq!(names, [&b"\"a\""[..], &b"\"b\\n\""[..]]);
    assert_eq!(keys(tree.root()), ["a", "b\n"]);
    for value in tree.root().descendants() {
        assert_eq!(&text.as_bytes()[value.span()], value.raw());
        assert_eq!(value.index() == 0, value.parent().is_none());
    }
}

#[test]
fn grammar_is_exactly_rfc_8259() {
    let accepted = [
        "0",
        "-0",
        "1e999",
        "-1.5E-400",
        "123456789012345678901234567890",
        "\"\"",
        "\"\\ud800\"",
        "\"\\uDC00x\"",
        "\"\u{7f}\u{2028}\"",
        "[]",
        "{}",
        " [ ] ",
        "{\"a\":1,\"a\":2}",
        "[[],{}]",
        "\"\\/\\b\\f\\n\\r\\t\\\"\\\\\"",
    ];
    for text in accepted {
        assert!(parse(text).is_ok(), "{text}");
    }
    let refused = [
        "",
        " ",
        "00",
        "01",
        "-",
        "-01",
        "+1",
        "1.",
        ".5",
        "1e",
        "1e+",
        "0x1",
        "NaN",
        "Infinity",
        "-Infinity",
        "tru",
        "True",
        "nul",
        "nulll",
        "\"",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"a\nb\"",
        "\"a\u{1f}\"",
        "\"\0\"",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1]]",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "{1:1}",
        "{\"a\" 1}",
        "{\"a\":1]",
        "[1}",
        "1 2",
        "{}x",
        "{}\0",
        "'a'",
        "/**/1",
        "\u{b}1",
        "\u{a0}1",
    ];
    for text in refused {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn errors_say_where_and_never_what() {
    let secret = "123-45-6789";
    let cases = [
        (
            format!("{{\"ssn\":\"{secret}\" x"),
            JsonError::Expected {
                at: 21,
                what: "`,` or `}`",
            },
        ),
        (
            format!("\"{secret}\n\""),
            JsonError::ControlCharacter { at: 12 },
        ),
        (
            format!("\"{secret}\\q\""),
            JsonError::InvalidEscape { at: 12 },
        ),
        (format!("\"{secret}"), JsonError::UnexpectedEnd),
        (
            format!("[{secret}]"),
            JsonError::Expected {
                at: 4,
                what: "`,` or `]`",
            },
        ),
        (
            format!("\"{secret}\"0"),
            JsonError::TrailingBytes { at: 13 },
        ),
        ("[01]".to_owned(), JsonError::InvalidNumber { at: 1 }),
        ("\u{feff}1".to_owned(), JsonError::ByteOrderMark),
    ];
    for (text, expected) in cases {
        let error = parse(&text).unwrap_err();
        assert_eq!(error, expected);
        assert!(!format!("{error} {error:?}").contains(secret));
    }
    let invalid = Tree::parse(b"[\"ab\xff\"]", &Limits::default()).unwrap_err();
    assert_eq!(invalid, JsonError::InvalidUtf8 { at: 4 });
    let tree = format!("[\"{secret}\"]");
    let tree = parse(&tree).unwrap();
    let mut splice = Splice::new(&tree);
    splice.replace(tree.root(), secret);
    assert!(!format!("{tree:?} {:?} {splice:?}", tree.root()).contains(secret));
}

#[test]
fn every_truncation_of_a_document_is_refused() {
    let text = r#"{"a":[1.5e3,true,{"b":null}],"c\u00e9":"d\"\ud83d\ude00é"}"#;
    assert!(parse(text).is_ok());
    for end in 0..text.len() {
        let cut = Tree::parse(&text.as_bytes()[..end], &Limits::default());
        let expected = matches!(
            cut,
            Err(JsonError::UnexpectedEnd | JsonError::InvalidUtf8 { .. })
        );
        assert!(expected, "cut at {end}: {cut:?}");
    }
}

#[test]
fn nesting_stops_at_the_limit_without_recursion() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert!(parse(&nested(128)).is_ok());
    assert_eq!(
        parse(&nested(129)).unwrap_err(),
        JsonError::TooDeep {
            at: 128,
            depth_max: 128
        }
    );
    assert!(matches!(
        parse(&nested(100_000)),
        Err(JsonError::TooDeep { .. })
    ));
    assert!(matches!(
        parse(&"{\"a\":".repeat(100_000)),
        Err(JsonError::TooDeep { .. })
    ));
    // Even with the limit lifted there is no stack to exhaust, neither in parsing nor in walking nor in editing.
    let limits = Limits {
        depth_max: u32::MAX,
        ..Limits::default()
    };
    let text = nested(100_000);
    let tree = Tree::parse(text.as_bytes(), &limits).unwrap();
    assert!(!tree.root().has_duplicates());
    let last = tree.root().descendants().last().unwrap();
    let mut splice = Splice::new(&tree);
    splice.remove(last);
    assert_eq!(splice.apply(), nested(99_999).into_bytes());
}

#[test]
fn number_of_values_stops_at_the_limit() {
    let elements = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
    let exact = elements(Limits::NODES_MAX as usize - 1);
    assert_eq!(
        parse(&exact).unwrap().node_count(),
        Limits::NODES_MAX as usize
    );
    let over = elements(Limits::NODES_MAX as usize);
    assert!(matches!(
        parse(&over),
        Err(JsonError::TooManyNodes {
            nodes_max: Limits::NODES_MAX,
            ..
        })
    ));
    let none = Limits {
        nodes_max: 0,
        ..Limits::default()
    };
    assert!(matches!(
        Tree::parse(b"1", &none),
        Err(JsonError::TooManyNodes { .. })
    ));
}

#[test]
fn strings_are_found_at_every_offset_of_the_eight_byte_step() {
    for stop in ["\"", "\\n\"", "\\u0041\""] {
        for length in 0..40 {
            for fill in ["a", "é", "\u{7f}", "!", "#", "[", "]", " "] {
                let inner = fill.repeat(length);
                let text = format!("\"{inner}{stop}");
                let value = parse(&text).unwrap().root().string().unwrap().into_owned();
                assert_eq!(value, serde_json::from_str::<String>(&text).unwrap());
                let control = format!("\"{inner}\u{1f}\"");
                assert_eq!(
                    parse(&control).unwrap_err(),
                    JsonError::ControlCharacter {
                        at: inner.len() + 1
                    }
                );
            }
        }
    }
}

#[test]
fn members_are_found_by_decoded_name() {
    let tree = parse(r#"{"\u0073sn":1,"mrn":2,"":3,"\ud800":4}"#).unwrap();
    let raw = |name: &str| tree.root().get(name).unwrap().map(Value::raw);
    assert_eq!(raw("ssn"), Some(&b"1"[..]));
    assert_eq!(raw("mrn"), Some(&b"2"[..]));
    assert_eq!(raw(""), Some(&b"3"[..]));
    assert_eq!(raw("\u{fffd}"), Some(&b"4"[..]));
    assert_eq!(raw("dob"), None);
    assert_eq!(tree.root().children().next().unwrap().get("x"), Ok(None));
}

#[test]
fn duplicate_members_are_all_visible_and_never_chosen_from() {
    let tree = parse(r#"{"a":1,"b":{"c":1,"\u0063":2},"a":3}"#).unwrap();
    assert_eq!(keys(tree.root()), ["a", "b", "a"]);
    assert_eq!(tree.root().get("a"), Err(DuplicateMember { at: 30 }));
    let inner = tree.root().get("b").unwrap().unwrap();
    assert!(inner.has_duplicates());
    assert!(inner.get("c").is_err());
    assert!(!inner.children().next().unwrap().has_duplicates());
}

#[test]
fn duplicates_are_found_in_small_and_large_objects() {
    for count in [1, 2, 15, 16, 17, 100, 5_000] {
        let members: Vec<_> = (0..count)
            .map(|number| format!("\"k{number}\":{number}"))
            .collect();
        let unique = format!("[{{{}}}]", members.join(","));
        assert!(!parse(&unique).unwrap().root().has_duplicates(), "{count}");
        let double = format!("[{{{},\"\\u006b0\":0}}]", members.join(","));
        assert!(parse(&double).unwrap().root().has_duplicates(), "{count}");
    }
}

#[test]
fn scalars_give_their_value_only_as_what_they_are() {
    let tree =
        parse(r#"[true,false,18446744073709551615,-9223372036854775808,1.0,1e2,"5",null,-0]"#)
            .unwrap();
    let values: Vec<_> = tree.root().children().collect();
    assert_eq!(
        (
            values[0].as_bool(),
            values[1].as_bool(),
            values[7].as_bool()
        ),
        (Some(true), Some(false), None)
    );
    assert_eq!(
        (values[2].as_u64(), values[2].as_i64()),
        (Some(u64::MAX), None)
    );
    assert_eq!(
        (values[3].as_u64(), values[3].as_i64()),
        (None, Some(i64::MIN))
    );
    for value in &values[4..8] {
        assert_eq!((value.as_u64(), value.as_i64()), (None, None));
    }
    assert_eq!(values[8].as_i64(), Some(0));
    assert_eq!(values[6].string().as_deref(), Some("5"));
    assert_eq!(values[5].string(), None);
}

#[test]
fn lone_surrogates_pass_but_give_no_text() {
    for text in [
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#""\ud83dx""#,
        r#""\ud83d\n""#,
        r#""\ud83d\ud83d\ude00""#,
    ] {
        let tree = parse(text).unwrap();
        assert_eq!(tree.root().string(), None, "{text}");
        assert_eq!(unquote(text.as_bytes()), None);
    }
    let tree = parse(r#"{"a\ud83d\ud83d\ude00b":0}"#).unwrap();
    assert_eq!(keys(tree.root()), ["a\u{fffd}\u{1f600}b"]);
}

#[test]
fn unquote_takes_one_literal_and_nothing_beside_it() {
    assert_eq!(unquote(br#""a\u00e9""#).as_deref(), Some("aé"));
    for literal in [
        &b"a"[..],
        b"",
        b"\"",
        b" \"a\"",
        b"\"a\" ",
        b"\"a\"b\"",
        b"\"\xff\"",
        b"1",
    ] {
        assert_eq!(unquote(literal), None);
    }
}
