//! Pieces of a URI are in order and leave only delimiters and names; a new value reads back and changes nothing else.
//!
//! Input: which piece (a byte), its new text up to a line end, the URI.
#![no_main]

use libfuzzer_sys::fuzz_target;
use safeguard_wire::uri;

fuzz_target!(|input: &[u8]| {
    let Some((pick, rest)) = input.split_first() else {
        return;
    };
    let Some((new, text)) = std::str::from_utf8(rest).ok().and_then(|rest| rest.split_once('\n')) else {
        return;
    };
    let _ = uri::data(text);
    let pieces = uri::pieces(text);
    let mut at = 0;
    for piece in &pieces {
        assert!(!piece.span.is_empty() && piece.span.start >= at);
        let _ = (piece.text(text), piece.name_text(text));
        at = piece.span.end;
    }
    let Some(picked) = pieces.get(usize::from(*pick) % pieces.len().max(1)) else {
        return;
    };
    let out = uri::replaced(text, |piece| (piece == picked).then(|| new.to_owned()));
    let Ok(Some(out)) = out else { return };
    assert!(out.starts_with(&text[..picked.span.start]) && out.ends_with(&text[picked.span.end..]));
    // A piece without a value is none.
    if new.is_empty() {
        return;
    }
    let after = uri::pieces(&out);
    let back = after.iter().find(|piece| piece.span.start == picked.span.start);
    assert_eq!(back.and_then(|piece| piece.text(&out)).as_deref(), Some(new));
});
