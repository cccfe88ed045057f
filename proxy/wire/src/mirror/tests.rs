//! Mirrored headers by the protocol's own examples, and the promise that what is made is what is taken.

use proptest::prelude::*;

use super::*;
use crate::json::{Limits, Tree};

fn parse(text: &str) -> Tree<'_> {
    Tree::parse(text.as_bytes(), &Limits::default()).unwrap()
}

fn call(params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#)
}

/// The headers of a message, as `name: value`.
fn headers(message: &str, schema: &str) -> Result<Vec<String>, Unmirrorable> {
    let (tree, schema) = (parse(message), parse(schema));
    let annotations = Annotations::of_schema(schema.root()).unwrap();
    let message = Message::parse(tree.root()).unwrap();
    let mirrors = mirrors(&message, &annotations)?;
    Ok(mirrors
        .iter()
        .map(|mirror| format!("{}: {}", mirror.name(), mirror.header_value()))
        .collect())
}

fn checked(message: &str, schema: &str, sent: &[(&str, &str)]) -> Result<(), Mismatch> {
    let (tree, schema) = (parse(message), parse(schema));
    let annotations = Annotations::of_schema(schema.root()).unwrap();
    let message = Message::parse(tree.root()).unwrap();
    let mirrors = mirrors(&message, &annotations).unwrap();
    check(
        &mirrors,
        sent.iter().map(|(name, value)| (*name, value.as_bytes())),
    )
}

const SCHEMA: &str = r#"{"type":"object","properties":{
    "region":{"type":"string","x-mcp-header":"Region"},
    "query":{"type":"string"},
    "patient":{"type":"object","properties":{"mrn":{"type":["string","null"],"x-mcp-header":"Mrn"},"age":{"type":"integer","x-mcp-header":"Age"}}},
    "urgent":{"type":"boolean","x-mcp-header":"X.Urgent"},
    "x-mcp-header":{"type":"number","default":{"x-mcp-header":"no annotation"}}}}"#;

#[test]
fn a_message_has_the_headers_that_the_protocol_says() {
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
    let message = call(&format!(
        r#"{{"name":"get_weather","arguments":{{"region":"us-west1","query":"q","patient":{{"mrn":" MRN ","age":4.2e1}},"urgent":true}},{meta}}}"#
    ));
    assert_eq!(
        headers(&message, SCHEMA).unwrap(),
        [
            "mcp-method: tools/call",
            "mcp-protocol-version: 2026-07-28",
            "mcp-name: get_weather",
            "mcp-param-age: 42",
            "mcp-param-mrn: =?base64?IE1STiA=?=",
            "mcp-param-region: us-west1",
            "mcp-param-x.urgent: true",
        ]
    );
    let absent = call(r#"{"name":"a","arguments":{"region":null,"patient":{"mrn":null}}}"#);
    assert_eq!(
        headers(&absent, SCHEMA).unwrap(),
        ["mcp-method: tools/call", "mcp-name: a"]
    );
    let cases = [
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///ü"}}"#,
            &[
                "mcp-method: resources/read",
                "mcp-name: =?base64?ZmlsZTovLy/DvA==?=",
            ][..],
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"code_review","uri":"x"}}"#,
            &["mcp-method: prompts/get", "mcp-name: code_review"],
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tasks/update","params":{"taskId":"t","name":"x"}}"#,
            &["mcp-method: tasks/update", "mcp-name: t"],
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"name":"x"}}"#,
            &["mcp-method: completion/complete"],
        ),
        (
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            &["mcp-method: notifications/initialized"],
        ),
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, &[]),
    ];
    for (message, expected) in cases {
        assert_eq!(headers(message, "{}").unwrap(), expected, "{message}");
    }
}

#[test]
fn values_are_encoded_as_in_the_protocols_table() {
    let cases = [
        ("us-west1", "us-west1"),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ("=?BASE64?literal?=", "=?BASE64?literal?="),
        ("a\tb c", "a\tb c"),
        ("", ""),
        ("\u{7f}", "=?base64?fw==?="),
    ];
    for (text, header) in cases {
        assert_eq!(encode(text), header);
        assert_eq!(decode(header.as_bytes()).unwrap(), text);
    }
    for malformed in [
        &b"a\nb"[..],
        b"\xff",
        "ü".as_bytes(),
        b"a\0",
        b"=?base64?!?=",
        b"=?base64?YQ?=",
        b"=?base64?YR==?=",
        b"=?base64?/w==?=",
        b"=?base64?Y Q==?=",
    ] {
        assert_eq!(decode(malformed), Err(Malformed), "{malformed:?}");
    }
    assert_eq!(decode(b" a ").unwrap(), "a");
    assert_eq!(decode(b"=?base64?=").unwrap(), "=?base64?=");
}

#[test]
fn headers_that_say_what_the_body_says_are_taken() {
    let message = call(
        r#"{"name":"größe","arguments":{"region":"a b","patient":{"age":42},"urgent":false}}"#,
    );
    let right = [
        ("Mcp-Method", "tools/call"),
        ("MCP-NAME", "=?base64?Z3LDtsOfZQ==?="),
        ("Mcp-Param-Region", "=?base64?YSBi?="),
        ("Mcp-Param-Age", "42.0"),
        ("mcp-param-x.urgent", "false"),
        ("Accept", "anything"),
        ("MCP-Protocol-Version", "2026-07-28"),
    ];
    assert_eq!(checked(&message, SCHEMA, &right), Ok(()));
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#;
    assert_eq!(checked(notification, "{}", &[]), Ok(()));
    let wrong: [(usize, (&str, &str), Mismatch); 9] = [
        (0, ("x", ""), Mismatch::Missing(METHOD)),
        (0, ("Mcp-Method", "tools/list"), Mismatch::Differs(METHOD)),
        (0, ("Mcp-Method", "TOOLS/CALL"), Mismatch::Differs(METHOD)),
        (1, ("Mcp-Name", "grosse"), Mismatch::Differs(NAME)),
        (1, ("Mcp-Name", "größe"), Mismatch::Malformed(NAME)),
        (
            2,
            ("Mcp-Param-Region", "A B"),
            Mismatch::Differs("mcp-param-*"),
        ),
        (
            3,
            ("Mcp-Param-Age", "042"),
            Mismatch::Differs("mcp-param-*"),
        ),
        (
            5,
            ("Mcp-Param-Query", "q"),
            Mismatch::Unexpected("mcp-param-*"),
        ),
        (5, ("mcp-method", "tools/call"), Mismatch::Repeated(METHOD)),
    ];
    for (at, header, expected) in wrong {
        let mut sent = right;
        sent[at] = header;
        assert_eq!(
            checked(&message, SCHEMA, &sent),
            Err(expected),
            "{header:?}"
        );
        assert!(!expected.to_string().contains("Region"));
    }
    let other = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    assert_eq!(
        checked(other, "{}", &[("mcp-method", "ping"), ("mcp-name", "a")]),
        Err(Mismatch::Unexpected(NAME))
    );
}

#[test]
fn the_version_in_header_and_body_must_be_one() {
    let message =
        call(r#"{"name":"a","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#);
    let sent = |version| {
        [
            ("mcp-method", "tools/call"),
            ("mcp-name", "a"),
            ("MCP-Protocol-Version", version),
        ]
    };
    assert_eq!(checked(&message, "{}", &sent("2026-07-28")), Ok(()));
    assert_eq!(
        checked(&message, "{}", &sent("2025-11-25")),
        Err(Mismatch::Differs(VERSION))
    );
    assert_eq!(
        checked(&message, "{}", &sent("2026-07-28")[..2]),
        Err(Mismatch::Missing(VERSION))
    );
}

#[test]
fn what_no_header_can_say_is_refused() {
    let cases = [
        (r#"{"name":1}"#, Unmirrorable::NotPrimitive),
        (r#"{"name":"\ud800"}"#, Unmirrorable::NotPrimitive),
        (
            r#"{"name":"a","arguments":{"region":{"_encrypted":true}}}"#,
            Unmirrorable::NotPrimitive,
        ),
        (
            r#"{"name":"a","arguments":{"patient":{"age":1.5}}}"#,
            Unmirrorable::NotPrimitive,
        ),
        (
            r#"{"name":"a","arguments":{"patient":{"age":9007199254740992}}}"#,
            Unmirrorable::NotPrimitive,
        ),
        (
            r#"{"name":"a","_meta":{"io.modelcontextprotocol/protocolVersion":"2026 07"}}"#,
            Unmirrorable::NotPlain,
        ),
    ];
    for (params, expected) in cases {
        assert_eq!(headers(&call(params), SCHEMA), Err(expected), "{params}");
    }
    let method = r#"{"jsonrpc":"2.0","id":1,"method":"tools\ncall"}"#;
    assert_eq!(headers(method, "{}"), Err(Unmirrorable::NotPlain));
}

#[test]
fn integers_are_compared_as_numbers() {
    let cases: [(&str, Option<i64>); 14] = [
        ("42", Some(42)),
        ("42.0", Some(42)),
        ("4.2e1", Some(42)),
        ("420E-1", Some(42)),
        ("-0", Some(0)),
        ("0e999999999999999999999", Some(0)),
        ("-9007199254740991", Some(-9007199254740991)),
        ("9007199254740992", None),
        ("1e999999999", None),
        ("1e99999999999999999999", None),
        ("0.1", None),
        ("042", None),
        (" 42", None),
        ("+1", None),
    ];
    for (text, expected) in cases {
        assert_eq!(value::integer(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn annotations_that_the_protocol_forbids_are_refused() {
    let property = |schema: &str| format!(r#"{{"properties":{{"a":{schema}}}}}"#);
    let cases = [
        (property(r#"{"type":"string","x-mcp-header":""}"#), InvalidAnnotation::NotAToken),
        (property(r#"{"type":"string","x-mcp-header":"a b"}"#), InvalidAnnotation::NotAToken),
        (property(r#"{"type":"string","x-mcp-header":"a\r\n"}"#), InvalidAnnotation::NotAToken),
        (property(r#"{"type":"string","x-mcp-header":7}"#), InvalidAnnotation::NotAToken),
        (property(r#"{"type":"number","x-mcp-header":"A"}"#), InvalidAnnotation::Type),
        (property(r#"{"x-mcp-header":"A"}"#), InvalidAnnotation::Type),
        (property(r#"{"type":["string","integer"],"x-mcp-header":"A"}"#), InvalidAnnotation::Type),
        (
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}}"#.to_owned(),
            InvalidAnnotation::Repeated,
        ),
        (r#"{"x-mcp-header":"A","type":"string"}"#.to_owned(), InvalidAnnotation::Unreachable),
        (property(r#"{"items":{"type":"string","x-mcp-header":"A"}}"#), InvalidAnnotation::Unreachable),
        (property(r#"{"anyOf":[{"type":"string","x-mcp-header":"A"}]}"#), InvalidAnnotation::Unreachable),
        (
            r#"{"$defs":{"a":{"type":"string","x-mcp-header":"A"}}}"#.to_owned(),
            InvalidAnnotation::Unreachable,
        ),
    ];
    for (schema, expected) in cases {
        let tree = parse(&schema);
        assert_eq!(
            Annotations::of_schema(tree.root()),
            Err(expected),
            "{schema}"
        );
        assert!(!expected.to_string().is_empty());
    }
    let long = format!(
        r#"{{"properties":{{"{}":{{"type":"string","x-mcp-header":"A"}}}}}}"#,
        "a".repeat(PATH_BYTES_MAX)
    );
    assert_eq!(
        Annotations::of_schema(parse(&long).root()),
        Err(InvalidAnnotation::TooLong)
    );
    let many: Vec<String> = (0..=ANNOTATIONS_MAX)
        .map(|n| format!(r#""p{n}":{{"type":"string","x-mcp-header":"H{n}"}}"#))
        .collect();
    let many = format!(r#"{{"properties":{{{}}}}}"#, many.join(","));
    assert_eq!(
        Annotations::of_schema(parse(&many).root()),
        Err(InvalidAnnotation::TooMany)
    );
}

#[test]
fn a_header_whose_schema_is_unknown_belongs_to_the_one_argument_that_it_mirrors() {
    let before = r#"{"region":"eu","patient":{"mrn":"MRN 1","age":42},"list":["in a list"],"one":"same","two":"same"}"#;
    let tree = parse(before);
    let mut annotations = Annotations::default();
    let mut learn = |header, value: &str| annotations.learn(tree.root(), header, value.as_bytes());
    assert_eq!(learn("Mcp-Param-M", "MRN 1"), Ok(true));
    assert_eq!(learn("Mcp-Param-Age", "42.0"), Ok(true));
    assert_eq!(learn("mcp-param-m", "eu"), Ok(false), "known already");
    assert_eq!(learn("mcp-param-x", "elsewhere"), Ok(false));
    assert_eq!(
        learn("mcp-param-x", "same"),
        Ok(false),
        "two could be meant"
    );
    assert_eq!(learn("mcp-param-x", "in a list"), Ok(false));
    assert_eq!(learn("x-other", "eu"), Ok(false));
    // After the rewrite the same arguments make the headers.
    let after =
        call(r#"{"name":"a","arguments":{"region":"eu","patient":{"mrn":"hs1.abc","age":null}}}"#);
    let tree = parse(&after);
    let message = Message::parse(tree.root()).unwrap();
    let mirrors = mirrors(&message, &annotations).unwrap();
    let shown: Vec<_> = mirrors
        .iter()
        .map(|mirror| (mirror.name(), mirror.header_value()))
        .collect();
    assert_eq!(shown[2..], [("mcp-param-m", Cow::Borrowed("hs1.abc"))]);
    assert_eq!(shown.len(), 3);
    assert!(!format!("{mirrors:?} {annotations:?}").contains("hs1"));
}

proptest! {
    #[test]
    fn any_text_comes_back_from_its_header(text in any::<String>()) {
        let header = encode(&text);
        prop_assert!(header.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')));
        prop_assert_eq!(header.trim_matches([' ', '\t']), header.as_ref());
        let back = decode(header.as_bytes());
        prop_assert_eq!(back.as_deref(), Ok(text.as_str()));
    }

    #[test]
    fn headers_made_from_a_message_are_taken_for_it(region in any::<String>(), age in -(1_i64 << 53) + 1..1 << 53, urgent in any::<bool>()) {
        let arguments = serde_json::json!({"region": region, "patient": {"age": age}, "urgent": urgent});
        let text = call(&format!(r#"{{"name":"größe","arguments":{arguments}}}"#));
        let (tree, schema) = (parse(&text), parse(SCHEMA));
        let annotations = Annotations::of_schema(schema.root()).unwrap();
        let message = Message::parse(tree.root()).unwrap();
        let mirrors = mirrors(&message, &annotations).unwrap();
        let made: Vec<_> = mirrors.iter().map(|mirror| (mirror.name().to_owned(), mirror.header_value().into_owned())).collect();
        let sent = made.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        prop_assert_eq!(check(&mirrors, sent), Ok(()));
    }

    #[test]
    fn any_header_bytes_are_judged_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(text) = decode(&bytes) {
            let back = decode(encode(&text).as_bytes()).map(Cow::into_owned);
            prop_assert_eq!(back, Ok(text.into_owned()));
        }
    }
}
