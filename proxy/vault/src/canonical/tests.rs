use super::*;
use crate::mac::RecordMac;
use serde_json::Value;

fn canonical(json: &str) -> String {
    String::from_utf8(canonicalize(json.as_bytes()).unwrap()).unwrap()
}

fn refusal(json: &str) -> CanonicalError {
    canonicalize(json.as_bytes()).unwrap_err()
}

#[test]
fn every_vector_has_python_s_form_and_mac() {
    let vectors = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/vectors/canonical_json.jsonl"
    ));
    let mut count = 0;
    for line in vectors.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let member = |name: &str| case[name].as_str().unwrap();
        let form = canonicalize(member("input").as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&form),
            member("canonical"),
            "{}",
            member("input")
        );
        let mac = RecordMac::new(&crate::decode_hex(member("secret_hex")).unwrap());
        assert_eq!(mac.hex(&form), member("hmac_sha256"));
        assert!(mac.verify(&form, member("hmac_sha256")));
        count += 1;
    }
    assert_eq!(count, 400);
}

#[test]
fn the_form_of_a_canonical_form_is_itself() {
    let once = canonical(r#" {"é":[1.50,{"b":1e2,"a":-0}],"a":"\u00e9\/\ud83d\ude00"} "#);
    assert_eq!(
        once,
        r#"{"a": "\u00e9/\ud83d\ude00", "\u00e9": [1.5, {"a": 0, "b": 100.0}]}"#
    );
    assert_eq!(canonical(&once), once);
}

#[test]
fn names_sort_by_code_point_and_not_by_utf_16_unit() {
    assert_eq!(
        canonical("{\"\u{10000}\":1,\"\u{ffff}\":2,\"10\":3,\"2\":4}"),
        r#"{"10": 3, "2": 4, "\uffff": 2, "\ud800\udc00": 1}"#
    );
    assert_eq!(
        canonical(r#"{"b":1,"\u0061":2,"":3,"ab":4}"#),
        r#"{"": 3, "a": 2, "ab": 4, "b": 1}"#
    );
}

#[test]
fn of_members_with_one_name_the_last_counts_whole() {
    assert_eq!(
        canonical(r#"{"a":{"x":1},"a":{"y":2}}"#),
        r#"{"a": {"y": 2}}"#
    );
    assert_eq!(
        canonical(r#"{"b":1,"a":1,"\u0061":2,"b":3,"a":{}}"#),
        r#"{"a": {}, "b": 3}"#
    );
}

#[test]
fn integers_keep_their_digits_and_minus_zero_is_zero() {
    let long = "9".repeat(4300);
    for (json, form) in [
        ("-0", "0"),
        ("[-0,-1,0]", "[0, -1, 0]"),
        (&long, &long),
        ("12345678901234567890123", "12345678901234567890123"),
    ] {
        assert_eq!(canonical(json), form);
    }
    assert_eq!(canonical(&format!("-{long}")), format!("-{long}"));
    assert_eq!(
        refusal(&format!("[-{long}9]")),
        CanonicalError::IntegerTooLong { offset: 1 }
    );
}

#[test]
fn strings_are_escaped_as_python_does() {
    assert_eq!(
        canonical("\"\u{7f}\u{80}\u{2028}/<>&'\\u001f\\b\\f\\n\\r\\t\\\"\\\\\""),
        r#""\u007f\u0080\u2028/<>&'\u001f\b\f\n\r\t\"\\""#
    );
    assert_eq!(
        canonical(r#""\u0041\uD83D\uDE00\u0000""#),
        r#""A\ud83d\ude00\u0000""#
    );
}

#[test]
fn lone_surrogates_are_refused_where_they_stand() {
    for json in [
        r#"["\ud800"]"#,
        r#"["\udc00"]"#,
        r#"["\ud800\ud800"]"#,
        r#"["\ud800\u0041"]"#,
        r#"["\ud800x"]"#,
        r#"["\ud800\n"]"#,
    ] {
        assert_eq!(
            refusal(json),
            CanonicalError::LoneSurrogate { offset: 2 },
            "{json}"
        );
    }
    assert_eq!(
        refusal(r#"{"\udfff":1}"#),
        CanonicalError::LoneSurrogate { offset: 2 }
    );
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    for json in [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "-1e400",
        "1e99999999999999999999",
    ] {
        assert_eq!(
            refusal(json),
            CanonicalError::NotFinite { offset: 0 },
            "{json}"
        );
    }
    assert_eq!(canonical("1e-400"), "0.0");
    assert_eq!(canonical("-1e-99999999999999999999"), "-0.0");
}

#[test]
fn what_is_no_json_is_refused() {
    for json in [
        "",
        " ",
        "{",
        "[",
        "]",
        "}",
        "[1",
        "[1,]",
        "[,1]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "{1:1}",
        "[1 2]",
        "1 2",
        "\"",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\u+123\"",
        "\"\n\"",
        "\"\t\"",
        "\"\0\"",
        "'a'",
        "tru",
        "True",
        "nul",
        "01",
        "-",
        "+1",
        "1.",
        ".5",
        "1e",
        "1e+",
        "-01",
        "0x1",
        "1_0",
        "--1",
        "[1}",
        "{\"a\":1]",
        "\u{feff}1",
        "\u{a0}1",
        "\u{b}1",
        "1\0",
    ] {
        assert!(canonicalize(json.as_bytes()).is_err(), "{json:?}");
    }
    assert_eq!(
        canonicalize(b"[\"\xff\"]"),
        Err(CanonicalError::NotUtf8 { offset: 2 })
    );
    assert_eq!(
        canonicalize(b"\"\xed\xa0\x80\""),
        Err(CanonicalError::NotUtf8 { offset: 1 })
    );
}

#[test]
fn nesting_is_bounded_and_never_overflows_the_stack() {
    let nested = |open: &str, close: &str, depth: usize| {
        format!("{}1{}", open.repeat(depth), close.repeat(depth))
    };
    assert_eq!(
        canonical(&nested("[", "]", DEPTH_MAX)),
        nested("[", "]", DEPTH_MAX)
    );
    assert_eq!(
        canonical(&nested("{\"a\":", "}", DEPTH_MAX)),
        nested("{\"a\": ", "}", DEPTH_MAX)
    );
    assert_eq!(
        refusal(&nested("[", "]", DEPTH_MAX + 1)),
        CanonicalError::TooDeep { offset: DEPTH_MAX }
    );
    assert_eq!(
        refusal(&"[".repeat(1_000_000)),
        CanonicalError::TooDeep { offset: DEPTH_MAX }
    );
}

#[test]
fn an_error_says_where_and_shows_nothing_of_the_text() {
    for json in [
        "{\"ssn\": \"123-45-6789\" \"x\"}",
        "[\"123-45-6789\\ud800\"]",
        "\"123-45-6789\n\"",
        "[123456789x]",
    ] {
        let error = refusal(json);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("123") && !shown.contains("ssn"), "{shown}");
    }
    assert_eq!(
        refusal("{\"a\": 1 \"b\"}").to_string(),
        "not valid json at byte 8: expected `,` or `}`"
    );
}
