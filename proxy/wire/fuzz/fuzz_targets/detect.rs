//! Finds are ordered spans of whole characters, and a text without its finds has none.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use safeguard_wire::detect::{Detectors, Wanted};

static DETECTORS: LazyLock<Detectors> = LazyLock::new(|| {
    let pattern = ("mrn".to_owned(), "MRN-?[0-9]{7}".to_owned());
    Detectors::new(&[pattern], Wanted::ALL).expect("a pattern")
});

fuzz_target!(|text: &str| {
    let mut finds = Vec::new();
    DETECTORS.find(text, &mut finds);
    let mut redacted = String::new();
    let mut from = 0;
    for find in &finds {
        assert!(find.span.start < find.span.end);
        redacted.push_str(&text[from..find.span.start]);
        redacted.push_str("[withheld]");
        assert!(text.is_char_boundary(find.span.end));
        from = find.span.end;
    }
    redacted.push_str(&text[from..]);
    DETECTORS.find(&redacted, &mut finds);
    assert!(finds.is_empty(), "left in {redacted:?}: {finds:?}");
});
