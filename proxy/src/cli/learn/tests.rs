use serde_json::json;

use super::*;

#[test]
fn every_scalar_that_differs_is_told_with_its_place() {
    let old = json!({ "description": "a", "inputSchema": { "type": "object", "required": ["x"] } });
    let new = json!({ "description": "b", "inputSchema": { "type": "object" }, "title": "t" });
    let mut lines = Vec::new();
    differences("", &old, &new, &mut lines);
    lines.sort();
    assert_eq!(
        lines,
        [
            "  + .description: \"b\"",
            "  + .title: \"t\"",
            "  - .description: \"a\"",
            "  - .inputSchema.required: [\"x\"]",
        ]
    );
}

#[test]
fn a_servers_words_hide_nothing_on_a_terminal() {
    let hidden = "read\u{1b}[8m me\u{202e}txt\u{200b}\r\u{e0041}";
    assert_eq!(
        shown(hidden),
        "read\\u{1b}[8m me\\u{202e}txt\\u{200b}\\u{d}\\u{e0041}"
    );
}

#[test]
fn a_tool_that_is_listed_twice_is_no_list() {
    let tool = json!({ "name": "a" });
    let lists = Lists {
        tools: vec![tool.clone(), tool],
        ..Lists::default()
    };
    assert!(tools(&lists).is_err());
}
