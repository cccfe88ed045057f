//! JSON texts as Python's `json` module reads and writes them: a strict parser to a flat list of nodes, and a writer.
//!
//! Neither of them recurses, and no value is built: strings are spans of the text (or of a side buffer, where an
//! escape had to be resolved), so that a canonical form costs a parse, a sort of key spans and a copy.

use crate::canonical::CanonicalError;

mod document;
mod float;
mod parse;
mod write;

pub(crate) use document::{Content, Document, Node};
pub(crate) use write::{Order, quote, write};

/// Deepest nesting of arrays and objects; Python's own limit is near 1000.
pub const DEPTH_MAX: usize = 500;
/// Most digits of an integer, as Python's `int` reads (`sys.int_info.default_max_str_digits`).
pub const INTEGER_DIGITS_MAX: usize = 4300;

/// Longest value that [`is_plain_string`] answers for, in bytes; longer ones are parsed.
const PLAIN_STRING_BYTES_MAX: usize = 4096;

/// Whether a text is one short string of printable ASCII without escapes: valid JSON beyond doubt, as most PHI values
/// are, so that it need not be parsed.
pub(crate) fn is_plain_string(json: &[u8]) -> bool {
    match json {
        [b'"', inner @ .., b'"'] if json.len() <= PLAIN_STRING_BYTES_MAX => {
            plain_run(inner) == inner.len()
        }
        _ => false,
    }
}

/// Whether a text is one JSON value that may be sealed or shown; says why not.
pub(crate) fn check(json: &[u8]) -> Result<(), CanonicalError> {
    if is_plain_string(json) {
        return Ok(());
    }
    Document::with(json, |_| ())
}

/// How many bytes at the start of `bytes` are written as they stand: printable ASCII without quote and backslash.
pub(crate) fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zero_in = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The lowest bit that is set marks the first such byte; higher ones may be carries of the subtraction.
        let special = (word & HIGHS)
            | (word.wrapping_sub(ONES * 0x20) & !word & HIGHS)
            | zero_in(word ^ (ONES * 0x22))
            | zero_in(word ^ (ONES * 0x5c))
            | zero_in(word ^ (ONES * 0x7f));
        if special != 0 {
            return index * 8 + (special.trailing_zeros() / 8) as usize;
        }
    }
    words.len() * 8 + rest.iter().take_while(|byte| is_plain(**byte)).count()
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_string_is_always_json_and_nothing_else_is_taken_for_one() {
        for byte in 0..=255_u8 {
            for text in [
                vec![b'"', byte, b'"'],
                vec![b'"', b'a', byte],
                vec![byte, b'a', b'"'],
                [b"\"0123456789".as_slice(), &[byte], b"abc\""].concat(),
            ] {
                let read = Document::parse(&text).is_ok();
                assert!(read || !is_plain_string(&text), "{text:?}");
                let ends = text.first() == Some(&b'"') && text.last() == Some(&b'"');
                let plain = ends && text.len() > 2 && read && byte != 0x7f && byte < 0x80;
                assert_eq!(is_plain_string(&text), plain, "{text:?}");
            }
        }
        assert!(is_plain_string(b"\"\"") && !is_plain_string(b"\"") && !is_plain_string(b""));
        let longest = format!("\"{}\"", "a".repeat(PLAIN_STRING_BYTES_MAX - 2));
        assert!(is_plain_string(longest.as_bytes()));
        assert!(!is_plain_string(
            format!("\"a{}", longest.get(1..).unwrap()).as_bytes()
        ));
    }

    #[test]
    fn the_run_of_plain_bytes_ends_at_the_first_special_one_wherever_it_stands() {
        for special in 0..=255_u8 {
            for at in 0..24 {
                let mut bytes = vec![b'a'; 24];
                bytes[at] = special;
                let expected = if is_plain(special) { 24 } else { at };
                assert_eq!(plain_run(&bytes), expected, "{special:#x} at {at}");
            }
        }
        assert_eq!(plain_run(b""), 0);
    }
}
