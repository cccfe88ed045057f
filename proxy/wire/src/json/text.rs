//! String literals to text and back.

use std::borrow::Cow;

use super::scan::{plain_run, scan_string};

/// The JSON string literal of `text`: quotes, backslashes and control characters escaped, all else as it is.
pub fn quote(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    quote_into(text, &mut out);
    out
}

/// Appends the JSON string literal of `text` to `out`.
pub fn quote_into(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, tail) = rest.split_at(plain_run(rest));
        out.extend_from_slice(plain);
        let Some((&byte, tail)) = tail.split_first() else {
            break;
        };
        escape_into(byte, out);
        rest = tail;
    }
    out.push(b'"');
}

fn escape_into(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        b'"' | b'\\' => byte,
        _ => {
            let digit = |value: u8| {
                if value < 10 {
                    b'0' + value
                } else {
                    b'a' + value - 10
                }
            };
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[digit(byte >> 4), digit(byte & 0x0f)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// The text of a JSON string literal, which must stand alone with its quotes.
///
/// `None` if it is no such literal or holds a lone surrogate.
pub fn unquote(literal: &[u8]) -> Option<Cow<'_, str>> {
    let text = simdutf8::basic::from_utf8(literal).ok()?;
    let (end, escaped) = scan_string(literal).ok()?;
    if end != literal.len() {
        return None;
    }
    let inner = text.get(1..end - 1)?;
    if escaped {
        decode(inner, Lone::Refused).map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// What a surrogate without its partner becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lone {
    /// No text at all.
    Refused,
    /// U+FFFD.
    Replaced,
}

/// Resolves the escapes of what stands between the quotes of a scanned literal.
pub(super) fn decode(inner: &str, lone: Lone) -> Option<String> {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.push_str(plain);
        let mut chars = escape.chars();
        let resolved = match chars.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let (resolved, tail) = decode_unicode(escape.get(1..)?, lone)?;
                out.push(resolved);
                rest = tail;
                continue;
            }
            other => other,
        };
        out.push(resolved);
        rest = chars.as_str();
    }
    out.push_str(rest);
    Some(out)
}

/// Resolves `hhhh` or `hhhh\uhhhh` at the start of `digits`; gives what follows, too.
fn decode_unicode(digits: &str, lone: Lone) -> Option<(char, &str)> {
    let (unit, rest) = hex4(digits)?;
    if let Some(resolved) = char::from_u32(unit) {
        return Some((resolved, rest));
    }
    if unit < 0xdc00 {
        let low = rest.strip_prefix("\\u").and_then(hex4);
        if let Some((low @ 0xdc00..=0xdfff, rest)) = low {
            let scalar = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            return char::from_u32(scalar).map(|resolved| (resolved, rest));
        }
    }
    (lone == Lone::Replaced).then_some((char::REPLACEMENT_CHARACTER, rest))
}

fn hex4(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    u32::from_str_radix(digits, 16)
        .ok()
        .map(|unit| (unit, rest))
}
