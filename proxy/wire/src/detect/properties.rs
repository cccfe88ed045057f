//! On any text: the work is linear, spans can be trusted, and nothing is left behind a find.

use proptest::prelude::*;

use super::Find;
use super::tests::{detectors, find, found, part};
use super::text::steps;

/// Pieces that together make hard texts: halves of identifiers, signs, invisible characters.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[0-9]{1,10}",
        "[0-9]{3}-[0-9]{2}-[0-9]{4}",
        "\\(?[2-9][0-9]{2}\\)? ?[2-9][0-9]{2}[-. ][0-9]{4}",
        "[a-z]{1,4}@[a-z.]{1,6}",
        Just("https://".to_owned()),
        Just("www.".to_owned()),
        "[-./: @,'()+_]{1,2}",
        "(ssn|fax|phone|age|zip|NY|March|may|dob|on|npi|dea|card|MRN)[ :]",
        "(-year-old|yo|th|T10|::1|fe80:)",
        "1EG4TE5MK73|1HGCM82633A004352|AB1234563|1234567893|4111111111111111",
        Just("\u{200b}".to_owned()),
        Just("\u{a0}".to_owned()),
        Just("３".to_owned()),
        "\\PC",
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// Spans are ordered, disjoint, not empty and on character boundaries.
fn check(text: &str) -> Vec<Find> {
    let finds = find(text);
    let mut from = 0;
    for find in &finds {
        assert!(find.span.start >= from && find.span.end > find.span.start);
        assert!(text.get(find.span.clone()).is_some());
        from = find.span.end;
    }
    finds
}

fn redacted(text: &str, finds: &[Find]) -> String {
    let mut out = String::new();
    let mut from = 0;
    for find in finds {
        out.push_str(part(text, from..find.span.start));
        out.push_str("[withheld]");
        from = find.span.end;
    }
    out + part(text, from..text.len())
}

fn steps_of_a_look(text: &str) -> usize {
    steps::taken();
    let detectors = detectors();
    detectors.look(detectors.enabled, text, &mut Vec::new());
    steps::taken()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn spans_can_be_trusted_on_any_text(text in "\\PC{0,64}") {
        check(&text);
    }

    #[test]
    fn what_was_redacted_is_not_found_again_and_nothing_else_appears(text in pieces()) {
        let finds = check(&text);
        let text = redacted(&text, &finds);
        prop_assert_eq!(found(&text), []);
    }

    #[test]
    fn the_work_is_linear_in_the_text(piece in pieces(), other in "\\PC{0,8}") {
        let piece = piece + &other;
        let small = piece.repeat(8);
        let large = piece.repeat(32);
        // One look of each: a longer text may need more of them, `LOOKS_MAX` at most.
        let (few, many) = (steps_of_a_look(&small), steps_of_a_look(&large));
        prop_assert!(many <= 5 * few + 4096, "{} steps of {}, {} of {}", few, small.len(), many, large.len());
        steps::taken();
        find(&large);
        let all = steps::taken();
        prop_assert!(all <= STEPS_A_BYTE * large.len(), "{} steps of {}", all, large.len());
    }
}

/// What a byte may cost, all looks together. The worst text known takes 150 a look, prose less than one.
const STEPS_A_BYTE: usize = 1200;

#[test]
fn a_chain_of_halves_of_addresses_leaves_none() {
    let text = ".::5.::..::5.::.::5.::55::.11.5.5.35.::55";
    let finds = check(text);
    assert_eq!(found(&redacted(text, &finds)), []);
}

#[test]
fn texts_made_to_be_slow_are_not() {
    for piece in [
        "1",
        "1 ",
        "1-",
        "a1",
        "@",
        "a@",
        "a@a.",
        "://",
        "a://",
        "www.",
        "www.a/",
        "1:",
        "::",
        "a:1",
        "12/",
        "99 ",
        "(1)",
        "１",
        "\u{ad}1",
        "March 1",
        "ssn ",
        "ssn 1 ",
        "[",
        "1 1\u{200b}",
        "phone 1.",
        "http://[::",
        "x1x",
        "MRN-123456",
    ] {
        let text = piece.repeat(20_000);
        steps::taken();
        check(&text);
        let steps = steps::taken();
        assert!(
            steps <= STEPS_A_BYTE * text.len(),
            "{piece:?}: {steps} steps for {} bytes",
            text.len()
        );
    }
}
