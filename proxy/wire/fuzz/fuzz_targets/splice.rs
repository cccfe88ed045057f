//! Whatever is edited, the result is JSON, and a document without edits is untouched.
#![no_main]

use libfuzzer_sys::fuzz_target;
use safeguard_wire::json::{Limits, Splice, Tree};

fuzz_target!(|input: (Vec<(u16, u8)>, Vec<u8>)| {
    let (edits, text) = input;
    let Ok(tree) = Tree::parse(&text, &Limits::default()) else {
        return;
    };
    let mut splice = Splice::new(&tree);
    let mut wraps = 0;
    for (pick, edit) in edits.iter().take(16) {
        let Some(value) = tree
            .root()
            .descendants()
            .nth(usize::from(*pick) % tree.node_count())
        else {
            return;
        };
        match edit % 4 {
            0 => splice.replace(value, "\"new\""),
            1 => splice.remove(value),
            2 => splice.insert_member(value, "name", b"1"),
            _ => {
                wraps += 1;
                splice.wrap(value, b"[", b"]");
            }
        }
    }
    let untouched = splice.is_empty();
    let out = splice.apply();
    if untouched {
        assert_eq!(out, text);
    }
    let limits = Limits {
        depth_max: Limits::DEPTH_MAX + wraps,
        ..Limits::default()
    };
    assert!(Tree::parse(&out, &limits).is_ok());
});
