//! The positioned tree.

use std::fmt;

use zeroize::Zeroizing;

/// Where something is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    /// The source, by number.
    pub source: usize,
    /// From 1; 0 is nowhere.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// Characters, at least 1.
    pub width: u32,
    /// The last line of what is written over several.
    pub last_line: u32,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub place: Place,
    pub kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub name: String,
    pub place: Place,
    pub value: Node,
}

/// A scalar: the text as written and, where variables were put in, what came of it.
pub(crate) struct Scalar {
    pub written: String,
    pub plain: bool,
    pub value: Value,
}

pub(crate) enum Value {
    AsWritten,
    /// `$${` became `${`: not from outside.
    Unescaped(String),
    Interpolated(Zeroizing<String>),
    /// It stands in a file that was not opened, or its variable is not set (which is a finding already).
    Unknown,
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scalar(…)")
    }
}

impl Scalar {
    /// The text that counts; `None` if it is not known.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::AsWritten => Some(&self.written),
            Value::Unescaped(text) => Some(text),
            Value::Interpolated(text) => Some(text),
            Value::Unknown => None,
        }
    }

    /// Whether its text came from outside the document, and must not be shown.
    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self.value, Value::Interpolated(_) | Value::Unknown)
    }

    /// Whether it may be read as a number or bool: unquoted, or from outside.
    pub(crate) fn is_bare(&self) -> bool {
        self.plain || self.is_foreign()
    }
}

impl Node {
    pub(crate) fn scalar(&self) -> Option<&Scalar> {
        match &self.kind {
            Kind::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// How a message may name it: as written, never what a variable put in.
    pub(crate) fn shown(&self) -> &str {
        self.scalar().map_or("", |s| s.written.as_str())
    }

    pub(crate) fn text(&self) -> Option<&str> {
        self.scalar()?.text()
    }

    pub(crate) fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::List(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries().iter().find(|e| e.name == name)
    }

    /// What it is, in words.
    pub(crate) fn what(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "nothing",
            Kind::Scalar(scalar) if !scalar.plain => "a quoted text",
            Kind::Scalar(_) => "a text or number",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }
}
