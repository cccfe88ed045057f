//! JSON as spans: a strict scanner, a flat tree over the text, and edits that leave every other byte alone.
//!
//! A document object model would rewrite numbers, drop all but one of duplicate members and lose the order
//! and the spacing; FHIR decimals, record MACs and other readers' choice of duplicate all depend on these.
//! So the text stays, and a [`Tree`] says where each value stands in it.
//!
//! Accepted is exactly RFC 8259 (one value, UTF-8, no byte order mark) within [`Limits`]. Numbers of any size and
//! precision pass as text. `\ud800` without its partner is grammatical (RFC 8259 §8.2) and passes too, but
//! [`Value::string`] gives no text for it. Duplicate members are kept: [`Value::children`] shows each of them,
//! [`Value::get`] refuses to choose.

mod pieces;
mod scan;
mod splice;
mod text;
mod value;

#[cfg(test)]
mod tests;

use std::fmt;

use scan::Node;

pub use splice::Splice;
pub use text::{quote, quote_into, unquote};
pub use value::{DuplicateMember, Kind, Value};

/// Bounds on what [`Tree::parse`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Greatest number of arrays and objects that may stand inside each other.
    pub depth_max: u32,
    /// Greatest number of values in one document, arrays and objects counted too. A value costs 28 bytes of memory.
    pub nodes_max: u32,
}

impl Limits {
    /// Nesting taken by default; most JSON readers stop near it.
    pub const DEPTH_MAX: u32 = 128;
    /// Values taken by default in one document.
    pub const NODES_MAX: u32 = 1 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth_max: Self::DEPTH_MAX,
            nodes_max: Self::NODES_MAX,
        }
    }
}

/// Why a text is no JSON for us. `at` is a byte offset; the text itself is never repeated, for it may hold PHI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonError {
    /// Longer than the 4 GiB that a span can address.
    TooLong,
    /// The bytes are not UTF-8 from here on.
    InvalidUtf8 {
        /// Byte offset.
        at: usize,
    },
    /// A byte order mark stands in front (RFC 8259 §8.1 forbids it).
    ByteOrderMark,
    /// The text ends inside a value, or is empty.
    UnexpectedEnd,
    /// Something else was due here.
    Expected {
        /// Byte offset.
        at: usize,
        /// What was due.
        what: &'static str,
    },
    /// A raw control character inside a string.
    ControlCharacter {
        /// Byte offset.
        at: usize,
    },
    /// A backslash with no meaning behind it.
    InvalidEscape {
        /// Byte offset.
        at: usize,
    },
    /// A number that RFC 8259 §6 does not know: leading zero, no digit, plus sign.
    InvalidNumber {
        /// Byte offset.
        at: usize,
    },
    /// More text behind the value.
    TrailingBytes {
        /// Byte offset.
        at: usize,
    },
    /// Deeper than [`Limits::depth_max`].
    TooDeep {
        /// Byte offset.
        at: usize,
        /// The limit.
        depth_max: u32,
    },
    /// More values than [`Limits::nodes_max`].
    TooManyNodes {
        /// Byte offset.
        at: usize,
        /// The limit.
        nodes_max: u32,
    },
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooLong => write!(f, "text is longer than 4 GiB"),
            Self::InvalidUtf8 { at } => write!(f, "text is not utf-8 at byte {at}"),
            Self::ByteOrderMark => write!(f, "text starts with a byte order mark: send it without"),
            Self::UnexpectedEnd => write!(f, "text ends before its json value does"),
            Self::Expected { at, what } => write!(f, "expected {what} at byte {at}"),
            Self::ControlCharacter { at } => {
                write!(
                    f,
                    "raw control character in a string at byte {at}: escape it"
                )
            }
            Self::InvalidEscape { at } => write!(f, "invalid escape at byte {at}"),
            Self::InvalidNumber { at } => write!(f, "invalid number at byte {at}"),
            Self::TrailingBytes { at } => {
                write!(f, "text goes on behind its json value at byte {at}")
            }
            Self::TooDeep { at, depth_max } => {
                write!(f, "nested deeper than {depth_max} levels at byte {at}")
            }
            Self::TooManyNodes { at, nodes_max } => {
                write!(f, "more than {nodes_max} values at byte {at}")
            }
        }
    }
}

impl std::error::Error for JsonError {}

/// A parsed document: its text, and where each value stands in it.
pub struct Tree<'a> {
    text: &'a str,
    nodes: Vec<Node>,
}

impl<'a> Tree<'a> {
    /// Parses `text`, which must be exactly one JSON value with nothing but white space around it.
    ///
    /// One allocation, sized from the length of the text; linear time; no recursion.
    ///
    /// # Errors
    /// A [`JsonError`] for whatever RFC 8259 does not allow, and for what goes beyond `limits`.
    pub fn parse(text: &'a [u8], limits: &Limits) -> Result<Self, JsonError> {
        if u32::try_from(text.len()).is_err() {
            return Err(JsonError::TooLong);
        }
        let text = simdutf8::basic::from_utf8(text).map_err(|_| JsonError::InvalidUtf8 {
            at: utf8_prefix(text),
        })?;
        if text.starts_with('\u{feff}') {
            return Err(JsonError::ByteOrderMark);
        }
        Ok(Self {
            text,
            nodes: scan::scan(text, limits)?,
        })
    }

    /// The whole document's value.
    pub fn root(&self) -> Value<'_> {
        Value::root(self)
    }

    /// The text as it was given.
    pub fn text(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// Number of values, arrays and objects counted too.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }
}

impl fmt::Debug for Tree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree")
            .field("bytes", &self.text.len())
            .field("nodes", &self.nodes.len())
            .finish()
    }
}

/// Length of the part of `text` that is UTF-8; only errors need it.
fn utf8_prefix(text: &[u8]) -> usize {
    match std::str::from_utf8(text) {
        Ok(valid) => valid.len(),
        Err(error) => error.valid_up_to(),
    }
}
