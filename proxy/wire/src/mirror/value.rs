//! Values of mirroring headers: as they are, or in base64 behind a sentinel.

use std::borrow::Cow;
use std::fmt;

use crate::json::{Kind, Limits, Tree};

const PREFIX: &str = "=?base64?";
const SUFFIX: &str = "?=";

/// The greatest integer that JavaScript holds exactly; larger ones may not be mirrored.
const INTEGER_MAX: u64 = (1 << 53) - 1;
/// Decimal digits that an integer of at most [`INTEGER_MAX`] can have.
const DIGITS_MAX: usize = 16;

/// Longest number that is looked at, in bytes: nobody writes 2^53 with more.
const LITERAL_BYTES_MAX: usize = 64;

/// A header's value holds bytes that no header may hold, or base64 that is none, or none of UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("header value is neither visible ascii nor base64 in =?base64?…?=")
    }
}

impl std::error::Error for Malformed {}

/// The header value of a text: as it is if it is visible ASCII, spaces and tabs inside included, and does not look
/// encoded; else the base64 of its UTF-8 between `=?base64?` and `?=`.
pub fn encode(text: &str) -> Cow<'_, str> {
    let looks_encoded = text.starts_with(PREFIX) && text.ends_with(SUFFIX);
    let is_trimmed = text.trim_matches([' ', '\t']).len() == text.len();
    if is_trimmed && !looks_encoded && text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let encoded = base64_simd::STANDARD.encode_to_string(text.as_bytes());
    Cow::Owned(format!("{PREFIX}{encoded}{SUFFIX}"))
}

/// The text of a header value; white space around it is HTTP's (RFC 9110 §5.5).
///
/// # Errors
/// [`Malformed`], also for base64 that is not in its one canonical form.
pub fn decode(header: &[u8]) -> Result<Cow<'_, str>, Malformed> {
    let header = std::str::from_utf8(header).map_err(|_| Malformed)?;
    let header = header.trim_matches([' ', '\t']);
    if !header.bytes().all(is_plain) {
        return Err(Malformed);
    }
    let inner = header
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_suffix(SUFFIX));
    let Some(inner) = inner else {
        return Ok(Cow::Borrowed(header));
    };
    let bytes = base64_simd::STANDARD
        .decode_to_vec(inner.as_bytes())
        .map_err(|_| Malformed)?;
    if base64_simd::STANDARD.encode_to_string(&bytes) != inner {
        return Err(Malformed);
    }
    String::from_utf8(bytes)
        .map(Cow::Owned)
        .map_err(|_| Malformed)
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t')
}

/// The integer that a JSON number is, however it is written (`42`, `42.0`, `4.2e1`); `None` if it is none, or too large.
pub(super) fn integer(number: &[u8]) -> Option<i64> {
    if number.len() > LITERAL_BYTES_MAX {
        return None;
    }
    let limits = Limits {
        depth_max: 0,
        nodes_max: 1,
    };
    let tree = Tree::parse(number, &limits).ok()?;
    if tree.root().kind() != Kind::Number || tree.root().raw() != number {
        return None;
    }
    let text = std::str::from_utf8(number).ok()?;
    let (text, negative) = match text.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    let exponent: i64 = exponent.parse().ok()?;
    let shift = exponent
        .checked_sub(i64::try_from(fraction.len()).ok()?)?
        .checked_add(i64::try_from(digits.len() - significant.len()).ok()?)?;
    let zeros = usize::try_from(shift).ok()?;
    if significant.len().checked_add(zeros)? > DIGITS_MAX {
        return None;
    }
    let value: u64 = format!("{significant}{}", "0".repeat(zeros)).parse().ok()?;
    let value = i64::try_from(value).ok().filter(|_| value <= INTEGER_MAX)?;
    Some(if negative { -value } else { value })
}
