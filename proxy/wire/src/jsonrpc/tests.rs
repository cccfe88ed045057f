//! What is a message, what is two at once, and which ids are one.

use super::*;
use crate::json::{Limits, Tree};

/// What a message is, in words that can be compared.
fn read(text: &str) -> Result<String, InvalidMessage> {
    let tree = Tree::parse(text.as_bytes(), &Limits::default()).unwrap();
    Ok(match Message::parse(tree.root())? {
        Message::Request { id, method, params } => {
            format!("request {} {method} {}", id.key(), params.is_some())
        }
        Message::Notification { method, params } => {
            format!("notification {method} {}", params.is_some())
        }
        Message::Response { id, outcome } => match outcome {
            Outcome::Result(_) => format!("result {}", id.key()),
            Outcome::Error(_) => format!("error {}", id.key()),
        },
    })
}

#[test]
fn messages_are_told_apart() {
    let cases = [
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#,
            "request n:1 tools/call true",
        ),
        (
            r#"{"id":"a","method":"ping","jsonrpc":"2.0","extra":[]}"#,
            "request s:a ping false",
        ),
        (
            r#"{"jsonrpc":"2.0","method":"notifications/\u0069nitialized"}"#,
            "notification notifications/initialized false",
        ),
        (r#"{"jsonrpc":"2.0","id":-7,"result":null}"#, "result n:-7"),
        (
            r#"{"jsonrpc":"2.0","id":"x","error":{"code":1}}"#,
            "error s:x",
        ),
        (r#"{"jsonrpc":"2.0","id":null,"error":{}}"#, "error null"),
        (r#"{"jsonrpc":"2.0","error":{}}"#, "error null"),
        (
            r#"{"\u006asonrpc":"2.\u0030","id":0,"method":"ping"}"#,
            "request n:0 ping false",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_not_exactly_one_message_is_refused() {
    use InvalidMessage::{Batch, Empty, Error, Id, Method, Mixed, NotAnObject, Params, Version};
    let cases = [
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, Batch),
        ("[]", Batch),
        ("1", NotAnObject),
        ("null", NotAnObject),
        (r#"{"id":1,"method":"ping"}"#, Version),
        (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, Version),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, Version),
        (r#"{"jsonrpc":"2.0"}"#, Empty),
        (r#"{"jsonrpc":"2.0","id":1}"#, Empty),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
            Mixed,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","error":{}}"#,
            Mixed,
        ),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#, Mixed),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"params":{}}"#, Mixed),
        (r#"{"jsonrpc":"2.0","id":1,"error":{},"params":{}}"#, Mixed),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, Method),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a\ud800"}"#, Method),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#,
            Params,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#,
            Params,
        ),
        (r#"{"jsonrpc":"2.0","id":1,"error":"x"}"#, Error),
        (r#"{"jsonrpc":"2.0","result":{}}"#, Id),
        (r#"{"jsonrpc":"2.0","id":null,"result":{}}"#, Id),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, Id),
        (r#"{"jsonrpc":"2.0","id":1.0,"method":"ping"}"#, Id),
        (r#"{"jsonrpc":"2.0","id":1e0,"method":"ping"}"#, Id),
        (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, Id),
        (r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#, Id),
        (r#"{"jsonrpc":"2.0","id":"\udc00","error":{}}"#, Id),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text), Err(expected), "{text}");
    }
}

#[test]
fn duplicates_are_refused_in_the_envelope_and_anywhere_in_params() {
    let refused = [
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"\u0069d":2,"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","x":1,"x":2}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"name":"a","name":"b"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"arguments":{"a":[{"b":1,"\u0062":2}]}}}"#,
    ];
    for text in refused {
        assert!(
            matches!(read(text), Err(InvalidMessage::Duplicate(_))),
            "{text}"
        );
    }
    // In an answer each of them is judged, so they pass here.
    assert!(read(r#"{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2}}"#).is_ok());
}

#[test]
fn members_disguised_by_case_are_refused() {
    let refused = [
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"ping","param\u017f":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","Name":"b"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","ARGUMENTS":{}}}"#,
    ];
    for text in refused {
        assert!(
            matches!(read(text), Err(InvalidMessage::Disguised { .. })),
            "{text}"
        );
    }
    // Below the first level names are the tool's own business.
    let arguments = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{"Name":1,"name":2}}}"#;
    assert!(read(arguments).is_ok());
}

#[test]
fn ids_of_one_meaning_share_one_key() {
    let id = |raw: &str| {
        let text = format!(r#"{{"jsonrpc":"2.0","id":{raw},"result":1}}"#);
        let tree = Tree::parse(text.as_bytes(), &Limits::default()).unwrap();
        let Ok(Message::Response { id, .. }) = Message::parse(tree.root()) else {
            return None;
        };
        assert_eq!(id.raw(), raw.as_bytes());
        assert!(!format!("{id:?}").contains("123"));
        Some((id.key(), String::from_utf8(id.canonical()).unwrap()))
    };
    let pair = |key: &str, canonical: &str| Some((key.to_owned(), canonical.to_owned()));
    assert_eq!(id("\"\\u0061bc\""), pair("s:abc", "\"abc\""));
    assert_eq!(id("\"1\""), pair("s:1", "\"1\""));
    assert_eq!(id("1"), pair("n:1", "1"));
    assert_eq!(id("-0"), pair("n:0", "0"));
    assert_eq!(
        id("12345678901234567890123"),
        pair("n:12345678901234567890123", "12345678901234567890123")
    );
    assert!(id(&format!("\"{}\"", "a".repeat(ID_BYTES_MAX - 2))).is_some());
    assert!(id(&format!("\"{}\"", "a".repeat(ID_BYTES_MAX - 1))).is_none());
}
