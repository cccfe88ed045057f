//! A writer of RFC 8785 (JCS) for objects whose members come sorted and whose leaves are integers and strings.
//!
//! Without floats the canonical form has no hard part left: no spaces, members by name, the shortest escapes. The writer
//! takes members in the order it is given (a test parses events back and compares the order), so nothing is sorted or built as a tree
//! per event. Every text that comes from outside is made safe here and in no other place: [`clip`].

use std::fmt::Write as _;
use std::io::Write as _;

/// Characters of one text, as it is written; the rest is cut and `…` stands for it.
pub(crate) const TEXT_CHARS_MAX: usize = 256;
/// Integers beyond this lose digits in other people's JSON readers (2^53 - 1), so they are held to it.
const INTEGER_MAX: i64 = 9_007_199_254_740_991;

/// Text as an event holds it: of bounded length, and without characters that could end a line, hide or reorder what a person reads.
pub(crate) fn clip(text: &str) -> String {
    let mut clipped = String::with_capacity(text.len().min(TEXT_CHARS_MAX * 4));
    let mut written = 0;
    for character in text.chars() {
        if written >= TEXT_CHARS_MAX {
            clipped.push('…');
            break;
        }
        if misleading(character) {
            let _infallible = write!(clipped, "\\u{:04x}", u32::from(character));
            written += 6;
        } else {
            clipped.push(character);
            written += 1;
        }
    }
    clipped
}

/// Controls, line and paragraph separators, and the marks that reorder text (CVE-2021-42574's).
fn misleading(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
}

/// Bytes of a usual event, so that its text grows into place once.
const USUAL_BYTES: usize = 1024;

/// Writes one value after another, into one buffer and without a text of its own for any of them.
#[derive(Debug)]
pub(crate) struct Writer {
    out: Vec<u8>,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            out: Vec::with_capacity(USUAL_BYTES),
        }
    }
}

impl Writer {
    pub(crate) fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Bytes written so far.
    pub(crate) fn at(&self) -> usize {
        self.out.len()
    }

    /// An object; `members` writes them by [`Writer::member`] in sorted order.
    pub(crate) fn object(&mut self, members: impl FnOnce(&mut Self)) {
        self.out.push(b'{');
        members(self);
        self.out.push(b'}');
    }

    /// A member whose value the caller writes next; names are the crate's own and need no escape.
    pub(crate) fn member(&mut self, name: &str) -> &mut Self {
        if self.out.last().is_some_and(|last| *last != b'{') {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self
    }

    pub(crate) fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut each: impl FnMut(&mut Self, T),
    ) {
        self.out.push(b'[');
        for (place, item) in items.into_iter().enumerate() {
            if place > 0 {
                self.out.push(b',');
            }
            each(self, item);
        }
        self.out.push(b']');
    }

    pub(crate) fn integer(&mut self, value: i64) {
        let mut digits = itoa::Buffer::new();
        let held = value.clamp(-INTEGER_MAX, INTEGER_MAX);
        self.out.extend_from_slice(digits.format(held).as_bytes());
    }

    pub(crate) fn counter(&mut self, value: u64) {
        self.integer(i64::try_from(value).unwrap_or(INTEGER_MAX));
    }

    /// Bytes as lower-case hexadecimal digits.
    pub(crate) fn hex(&mut self, bytes: &[u8]) {
        self.out.push(b'"');
        push_hex(&mut self.out, bytes);
        self.out.push(b'"');
    }

    /// A text of ours that needs no escape and no bound.
    pub(crate) fn plain(&mut self, text: &str) {
        self.out.push(b'"');
        self.ascii(text);
        self.out.push(b'"');
    }

    /// The same of a thing that displays itself so.
    pub(crate) fn display(&mut self, thing: impl std::fmt::Display) {
        self.out.push(b'"');
        let _infallible = write!(self.out, "{thing}");
        self.out.push(b'"');
    }

    /// A part of a text of ours.
    pub(crate) fn ascii(&mut self, part: &str) {
        self.out.extend_from_slice(part.as_bytes());
    }

    /// A part of a text of ours: `before`, then a number in so many digits, zeros first.
    pub(crate) fn digits(&mut self, before: &str, number: u32, digits: u32) {
        self.ascii(before);
        for place in (0..digits).rev() {
            let digit = number / 10_u32.pow(place) % 10;
            self.out.push(b'0' + u8::try_from(digit).unwrap_or(0));
        }
    }

    /// Ends an object whose start another writes.
    pub(crate) fn close(&mut self) {
        self.out.push(b'}');
    }

    /// Text from outside, clipped.
    pub(crate) fn text(&mut self, text: &str) {
        let bytes = text.as_bytes();
        // Without a way out of the loop it is compiled to a few vector instructions.
        let marked = bytes.iter().fold(false, |marked, byte| {
            marked | !(0x20..0x7f).contains(byte) | (*byte == b'"') | (*byte == b'\\')
        });
        if !marked && bytes.len() <= TEXT_CHARS_MAX {
            self.out.push(b'"');
            self.out.extend_from_slice(bytes);
            self.out.push(b'"');
        } else {
            self.quoted(&clip(text));
        }
    }

    /// Text that holds no control character.
    fn quoted(&mut self, text: &str) {
        self.out.push(b'"');
        for byte in text.bytes() {
            if matches!(byte, b'"' | b'\\') {
                self.out.push(b'\\');
            }
            self.out.push(byte);
        }
        self.out.push(b'"');
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble & 15)).copied();
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        out.extend(digit(byte >> 4));
        out.extend(digit(*byte));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quoted(text: &str) -> String {
        let mut writer = Writer::default();
        writer.text(text);
        String::from_utf8(writer.finish()).unwrap()
    }

    proptest! {
        #[test]
        fn any_text_is_one_valid_json_string_on_one_line(text in any::<String>()) {
            let written = quoted(&text);
            prop_assert!(written.chars().all(|c| !misleading(c)));
            let parsed: String = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(parsed, clip(&text));
        }
    }

    #[test]
    fn long_text_is_cut_with_a_mark() {
        let cut = clip(&"é".repeat(TEXT_CHARS_MAX + 1));
        assert_eq!(cut.chars().count(), TEXT_CHARS_MAX + 1);
        assert!(cut.ends_with('…'));
        assert_eq!(
            clip(&"é".repeat(TEXT_CHARS_MAX)),
            "é".repeat(TEXT_CHARS_MAX)
        );
    }

    #[test]
    fn line_breaks_and_reordering_marks_become_visible() {
        assert_eq!(clip("a\nb\u{202e}c\u{0}"), "a\\u000ab\\u202ec\\u0000");
    }

    #[test]
    fn integers_stay_where_json_readers_keep_them() {
        let mut writer = Writer::default();
        writer.integer(i64::MIN);
        assert_eq!(writer.finish(), b"-9007199254740991");
    }
}
