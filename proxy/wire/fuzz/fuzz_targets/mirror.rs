//! Headers made from a message are taken for it; whatever a header holds is decoded to what encodes back, or refused.
//!
//! Input: a message, a schema and a header, a line each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use safeguard_wire::json::{Limits, Tree};
use safeguard_wire::jsonrpc::Message;
use safeguard_wire::mirror::{self, Annotations};

fuzz_target!(|input: &[u8]| {
    let mut lines = input.splitn(3, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (message, schema, header) = (line(), line(), line());
    if let Ok(text) = mirror::decode(header) {
        assert_eq!(mirror::decode(mirror::encode(&text).as_bytes()).as_deref(), Ok(&*text));
    }
    let Ok(tree) = Tree::parse(message, &Limits::default()) else {
        return;
    };
    let Ok(message) = Message::parse(tree.root()) else {
        return;
    };
    let schema = Tree::parse(schema, &Limits::default());
    let known = schema.map(|schema| Annotations::of_schema(schema.root()));
    let mut annotations = known.ok().and_then(Result::ok).unwrap_or_default();
    let params = match &message {
        Message::Request { params, .. } => *params,
        Message::Notification { .. } | Message::Response { .. } => None,
    };
    let arguments = params.and_then(|params| params.get("arguments").ok()?);
    if let Some(arguments) = arguments {
        let _ = annotations.learn(arguments, "Mcp-Param-Learned", header);
    }
    let Ok(mirrors) = mirror::mirrors(&message, &annotations) else {
        return;
    };
    let made: Vec<_> = mirrors
        .iter()
        .map(|mirror| (mirror.name().to_owned(), mirror.header_value().into_owned()))
        .collect();
    for (name, value) in &made {
        assert!(mirror::is_mirror(name));
        assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')));
    }
    let sent = made.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    assert_eq!(mirror::check(&mirrors, sent), Ok(()));
});
