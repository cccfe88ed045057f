//! Unicode text to bytes in which a validator can't be fooled by how a character looks.
//!
//! Every character becomes one byte or none: digits of all scripts and the full-width forms their ASCII twins, spaces,
//! dashes, dots and slashes one of each, letters and the rest one byte that stands for them, and characters that are not
//! seen (soft hyphen, zero-width, direction marks, combining marks) nothing.

use std::ops::Range;

use super::text::{LETTER, OTHER};

/// The zero of each script's decimal digits outside ASCII (Unicode 16, category Nd); the nine others follow it.
const ZEROS: [u32; 70] = [
    0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66,
    0x0DE6, 0x0E50, 0x0ED0, 0x0F20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90,
    0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10,
    0x104A0, 0x10D30, 0x10D40, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0,
    0x11650, 0x116C0, 0x11730, 0x118E0, 0x11950, 0x11BF0, 0x11C50, 0x11D50, 0x11DA0, 0x11F50,
    0x16A60, 0x16AC0, 0x16B50, 0x1CCF0, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140,
    0x1E2F0, 0x1E4F0, 0x1E950, 0x1FBF0,
];

/// A folded text and the way back to its places.
pub(super) struct Folded<'t> {
    text: &'t str,
    bytes: Vec<u8>,
    /// From this folded offset on, the text's offset is that one and as much more.
    turns: Vec<(usize, usize)>,
}

impl<'t> Folded<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let mut folded = Self {
            text,
            bytes: Vec::with_capacity(text.len()),
            turns: Vec::new(),
        };
        let mut from = 0;
        while let Some(rest) = text.get(from..) {
            let plain = rest.bytes().position(|byte| !byte.is_ascii());
            let (ascii, other) = rest.split_at(plain.unwrap_or(rest.len()));
            folded.bytes.extend_from_slice(ascii.as_bytes());
            let Some(first) = other.chars().next() else {
                break;
            };
            folded.bytes.extend(fold(first));
            from += ascii.len() + first.len_utf8();
            folded.turns.push((folded.bytes.len(), from));
        }
        folded
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The span of the text that a span of the folded bytes stands for, whole characters.
    pub(super) fn place(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.offset(span.start);
        let last = self.offset(span.end.saturating_sub(1)).max(start);
        let width = self.text.get(last..).and_then(|rest| rest.chars().next());
        start..last + width.map_or(0, char::len_utf8)
    }

    fn offset(&self, folded: usize) -> usize {
        let next = self.turns.partition_point(|turn| turn.0 <= folded);
        let turn = next
            .checked_sub(1)
            .and_then(|last| self.turns.get(last))
            .copied();
        let (from, place) = turn.unwrap_or((0, 0));
        place + (folded - from)
    }
}

/// What a character outside ASCII becomes.
fn fold(character: char) -> Option<u8> {
    let code = u32::from(character);
    match code {
        _ if is_unseen(code) => None,
        // Full-width forms of `!` to `~`.
        0xFF01..=0xFF5E => u8::try_from(code - 0xFF01 + 0x21).ok(),
        0xA0 | 0x1680 | 0x2000..=0x200A | 0x2028 | 0x2029 | 0x202F | 0x205F | 0x3000 | 0x85 => {
            Some(b' ')
        }
        0x058A
        | 0x05BE
        | 0x1806
        | 0x2010..=0x2015
        | 0x2043
        | 0x2212
        | 0x2E3A
        | 0x2E3B
        | 0x301C
        | 0x3030
        | 0x30FC
        | 0xFE58
        | 0xFE63 => Some(b'-'),
        0xB7 | 0x2022 | 0x2024 | 0x2027 | 0x2219 | 0x22C5 | 0x3002 | 0x30FB | 0xFE52 | 0xFF61 => {
            Some(b'.')
        }
        0x2044 | 0x2215 | 0x29F8 => Some(b'/'),
        0x2018 | 0x2019 | 0x02BC => Some(b'\''),
        0xFE55 | 0x2236 => Some(b':'),
        0xFE6B => Some(b'@'),
        _ => Some(digit(code).unwrap_or(if character.is_alphabetic() {
            LETTER
        } else {
            OTHER
        })),
    }
}

fn digit(code: u32) -> Option<u8> {
    let script = ZEROS
        .partition_point(|zero| *zero <= code)
        .checked_sub(1)
        .and_then(|script| ZEROS.get(script))?;
    let value = u8::try_from(code - script).ok()?;
    (value < 10).then(|| b'0' + value)
}

/// Format characters, combining marks and variation selectors: between two digits they change nothing that is seen.
const fn is_unseen(code: u32) -> bool {
    matches!(
        code,
        0xAD | 0x34F
            | 0x300..=0x36F
            | 0x61C
            | 0x115F
            | 0x1160
            | 0x17B4
            | 0x17B5
            | 0x180B..=0x180F
            | 0x200B..=0x200F
            | 0x202A..=0x202E
            | 0x2060..=0x206F
            | 0x20D0..=0x20F0
            | 0x3164
            | 0xFE00..=0xFE0F
            | 0xFEFF
            | 0xFFA0
            | 0xFFF9..=0xFFFB
            | 0xE0000..=0xE0FFF
    )
}
