//! Whatever is edited, the result is JSON; and replaced values leave every byte outside their spans.
//!
//! Input: how many edits, three bytes for each (which value, little-endian, and what), the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use safeguard_wire::json::{Limits, Splice, Tree, Value};

/// What takes a value's place.
const NEW: &str = "\"new\"";

fuzz_target!(|input: &[u8]| {
    let Some((count, rest)) = input.split_first() else {
        return;
    };
    let Some((edits, text)) = rest.split_at_checked(usize::from(count % 16) * 3) else {
        return;
    };
    let Ok(tree) = Tree::parse(text, &Limits::default()) else {
        return;
    };
    let picked: Vec<(Value<'_>, u8)> = edits
        .chunks_exact(3)
        .filter_map(|edit| {
            let index = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % tree.node_count();
            Some((tree.root().descendants().nth(index)?, edit[2] % 4))
        })
        .collect();
    let mut splice = Splice::new(&tree);
    for (value, edit) in &picked {
        match edit {
            0 => splice.replace(*value, NEW),
            1 => splice.remove(*value),
            2 => splice.insert_member(*value, "name", b"1"),
            _ => splice.wrap(*value, b"[", b"]"),
        }
    }
    let untouched = splice.is_empty();
    let out = splice.apply();
    if untouched {
        assert_eq!(out, text);
    }
    let wraps = picked.iter().filter(|(_, edit)| *edit == 3).count();
    let limits = Limits {
        depth_max: Limits::DEPTH_MAX + u32::try_from(wraps).unwrap_or(u32::MAX),
        ..Limits::default()
    };
    assert!(Tree::parse(&out, &limits).is_ok());
    if picked.iter().all(|(_, edit)| *edit == 0) {
        assert_eq!(out, expected(text, picked.iter().map(|(value, _)| *value)));
    }
});

/// The outermost of the values replaced, by cutting the text.
fn expected<'t>(text: &[u8], values: impl Iterator<Item = Value<'t>>) -> Vec<u8> {
    let mut spans: Vec<_> = values.map(Value::span).collect();
    spans.sort_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
    let mut out = Vec::new();
    let mut at = 0;
    for span in spans {
        if span.start >= at {
            out.extend_from_slice(&text[at..span.start]);
            out.extend_from_slice(NEW.as_bytes());
            at = span.end;
        }
    }
    out.extend_from_slice(&text[at..]);
    out
}
