//! Whoever's message it is and of whatever method: every scalar is in exactly one place, of a shape that fits it.
//!
//! Input: which method (a byte), the message or its parameters.
#![no_main]

use libfuzzer_sys::fuzz_target;
use safeguard_wire::json::{Kind, Limits, Tree, Value};
use safeguard_wire::jsonrpc::Message;
use safeguard_wire::mcp::{self, Place, Shape};

/// Methods of each walk; what a function does not know it takes as unknown.
const METHODS: [&str; 16] = [
    "tools/call",
    "resources/read",
    "prompts/get",
    "tools/list",
    "completion/complete",
    "initialize",
    "tasks/get",
    "tasks/result",
    "subscriptions/listen",
    "sampling/createMessage",
    "elicitation/create",
    "roots/list",
    "notifications/message",
    "notifications/tasks",
    "ping",
    "vendor/method",
];

fuzz_target!(|input: &[u8]| {
    let Some((pick, text)) = input.split_first() else {
        return;
    };
    let Ok(tree) = Tree::parse(text, &Limits::default()) else {
        return;
    };
    let root = tree.root();
    let _ = Message::parse(root);
    let method = METHODS[usize::from(*pick) % METHODS.len()];
    let walks = [
        mcp::request(method, root),
        mcp::result(method, root),
        mcp::notification(method, root),
        mcp::server_request(method, root),
        mcp::client_result(method, root),
        mcp::error(root),
    ];
    for places in walks.into_iter().flatten() {
        holds_all(root, &places);
        for place in &places {
            let string = place.value.kind() == Kind::String;
            assert!(string || !matches!(place.shape, Shape::Text | Shape::Blob | Shape::Uri));
            assert!(!place.named || place.shape == Shape::Json);
        }
    }
});

/// Places are in order and do not overlap, so that one pass over the scalars tells.
fn holds_all(root: Value<'_>, places: &[Place<'_>]) {
    let mut places = places.iter().peekable();
    for scalar in root.descendants().filter(|value| value.kind() < Kind::Array) {
        let span = scalar.span();
        while places.next_if(|place| place.value.span().end <= span.start).is_some() {}
        let held = places
            .peek()
            .is_some_and(|place| place.value.span().start <= span.start && span.end <= place.value.span().end);
        assert!(held);
    }
}
