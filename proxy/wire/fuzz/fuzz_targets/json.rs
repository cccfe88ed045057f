//! The scanner takes exactly what `serde_json`'s grammar takes, and everything built on it stays upright.
#![no_main]

use libfuzzer_sys::fuzz_target;
use safeguard_wire::json::{Limits, Tree};
use safeguard_wire::jsonrpc::Message;
use safeguard_wire::mcp;
use serde::de::IgnoredAny;

fuzz_target!(|text: &[u8]| {
    // Depth is ours alone: `IgnoredAny` has no bound.
    let limits = Limits {
        depth_max: u32::MAX,
        ..Limits::default()
    };
    let tree = Tree::parse(text, &limits);
    let grammar = std::str::from_utf8(text)
        .is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    assert_eq!(tree.is_ok(), grammar);
    let Ok(tree) = tree else { return };
    for value in tree.root().descendants() {
        assert_eq!(&text[value.span()], value.raw());
        let decoded = value.string();
        if decoded.is_some() {
            assert_eq!(
                decoded,
                serde_json::from_slice::<String>(value.raw())
                    .ok()
                    .map(Into::into)
            );
        }
    }
    let _ = Message::parse(tree.root());
    let _ = mcp::tool_result(tree.root());
});
