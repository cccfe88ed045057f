//! The methods of the modern revision.

use safeguard_wire::jsonrpc::Message;

/// The requests of 2026-07-28 and of its tasks extension (SEP-2663).
const METHODS: [&str; 13] = [
    "server/discover",
    "tools/list",
    "tools/call",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    "subscriptions/listen",
    "tasks/get",
    "tasks/update",
    "tasks/cancel",
];

/// Whether a method is one of the modern revision's: what is not is answered 404 with -32601, also where an older
/// revision has it (`initialize`, `ping`, `logging/setLevel`, `resources/subscribe`).
pub fn exists(method: &str) -> bool {
    METHODS.contains(&method)
}

/// Whether a message has no meaning before the modern revision.
pub(super) fn modern_alone(message: &Message<'_>) -> bool {
    matches!(
        message,
        Message::Request { method, .. } if matches!(method.as_ref(), "server/discover" | "subscriptions/listen")
    )
}
