//! The canonical form that the record MAC covers: `json.dumps(json.loads(text), sort_keys=True)` byte for byte.
//!
//! Refused are what has no JSON form or no single meaning: NaN and Infinity, floats that overflow, lone surrogates,
//! integers above 4,300 digits (Python refuses those itself), a byte order mark, and nesting deeper than
//! [`DEPTH_MAX`]. Of members with one name the last one counts, as in Python.

use crate::json::{self, Document, Order};

pub use crate::json::{DEPTH_MAX, INTEGER_DIGITS_MAX};

/// Why a text has no canonical form, with the offset in bytes. Never holds the text.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum CanonicalError {
    /// Not UTF-8.
    #[error("not valid utf-8 at byte {offset}")]
    NotUtf8 {
        /// Offset of the first bad byte.
        offset: usize,
    },
    /// Not JSON.
    #[error("not valid json at byte {offset}: expected {expected}")]
    Syntax {
        /// Offset of the byte that does not fit.
        offset: usize,
        /// What would have fitted.
        expected: &'static str,
    },
    /// NaN, Infinity, or a float beyond the range of doubles.
    #[error("number at byte {offset} is not finite: nan, infinity and overflow have no json form")]
    NotFinite {
        /// Offset of the number.
        offset: usize,
    },
    /// More than [`INTEGER_DIGITS_MAX`] digits.
    #[error("integer at byte {offset} has more than {INTEGER_DIGITS_MAX} digits")]
    IntegerTooLong {
        /// Offset of the number.
        offset: usize,
    },
    /// Half of a surrogate pair alone.
    #[error("escape at byte {offset} is a lone surrogate, which is no character")]
    LoneSurrogate {
        /// Offset of the escape's backslash.
        offset: usize,
    },
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("arrays and objects nest deeper than {DEPTH_MAX} at byte {offset}")]
    TooDeep {
        /// Offset of the bracket that is one too many.
        offset: usize,
    },
    /// 2 GiB or more.
    #[error("json text is too long: it must be below 2 GiB")]
    TooLong,
}

/// The canonical form of a JSON text.
///
/// # Errors
/// [`CanonicalError`] if it has none.
pub fn canonicalize(json: &[u8]) -> Result<Vec<u8>, CanonicalError> {
    Document::with(json, |document| {
        let mut out = Vec::with_capacity(json.len() + json.len() / 8 + 16);
        json::write(document, Order::Sorted, &mut out);
        out
    })
}

#[cfg(test)]
mod tests;
