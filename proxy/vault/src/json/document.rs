//! The parser: RFC 8259 as Python's `json.loads` takes it, less what has no JSON form (NaN, lone surrogates, floats
//! that overflow).

use super::{DEPTH_MAX, INTEGER_DIGITS_MAX, plain_run};
use crate::canonical::CanonicalError;
use std::ops::Range;
use zeroize::Zeroizing;

/// The characters of a string: a span of the text, or of the side buffer if escapes were resolved.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Text {
    start: u32,
    end: u32,
    resolved: bool,
    /// Every character may be written as it stands.
    plain: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Content {
    Null,
    True,
    False,
    /// The digits stand in the text.
    Integer,
    Float(f64),
    Text(Text),
    Array,
    Object,
}

/// A value. Nodes stand in the order of the text, a container before what it holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub(crate) content: Content,
    /// Its name, if it is a member of an object.
    pub(crate) name: Text,
    start: u32,
    end: u32,
    /// Index of the first node behind everything that it holds.
    pub(crate) next: u32,
}

impl Node {
    /// Where the value's token stands in the text.
    pub(crate) fn span(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A parsed JSON text.
pub(crate) struct Document<'a> {
    text: &'a str,
    nodes: Vec<Node>,
    /// Strings with their escapes resolved. They may be PHI.
    resolved: Zeroizing<Vec<u8>>,
}

impl<'a> Document<'a> {
    /// Parses one value with nothing but white space around it.
    pub(crate) fn parse(json: &'a [u8]) -> Result<Self, CanonicalError> {
        let text = std::str::from_utf8(json).map_err(|e| CanonicalError::NotUtf8 {
            offset: e.valid_up_to(),
        })?;
        // The last index is kept free, so that no span's end overflows.
        if u32::try_from(text.len()).is_ok_and(|length| length < u32::MAX) {
            let document = Self {
                text,
                nodes: Vec::with_capacity(text.len() / 12 + 4),
                resolved: Zeroizing::new(Vec::new()),
            };
            Parser {
                bytes: text.as_bytes(),
                at: 0,
                open: Vec::new(),
                document,
            }
            .run()
        } else {
            Err(CanonicalError::TooLong)
        }
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    pub(crate) fn node(&self, index: u32) -> Option<&Node> {
        self.nodes.get(index as usize)
    }

    pub(crate) fn root(&self) -> Option<&Node> {
        self.nodes.first()
    }

    /// The value's token as it stands.
    pub(crate) fn token(&self, node: &Node) -> &'a str {
        self.text.get(node.span()).unwrap_or_default()
    }

    /// The characters of a string in UTF-8, whose byte order is the order of code points.
    pub(crate) fn characters(&self, text: Text) -> &[u8] {
        let source = if text.resolved {
            self.resolved.as_slice()
        } else {
            self.text.as_bytes()
        };
        source
            .get(text.start as usize..text.end as usize)
            .unwrap_or_default()
    }

    /// The string with its quotes as it stands in the text, if it may be written so.
    pub(crate) fn literal(&self, text: Text) -> Option<&'a [u8]> {
        let quoted = (text.start as usize).checked_sub(1)?..text.end as usize + 1;
        if text.plain {
            self.text.as_bytes().get(quoted)
        } else {
            None
        }
    }

    /// The name of the member at `index`.
    pub(crate) fn name(&self, index: u32) -> &[u8] {
        self.node(index)
            .map_or(&[], |node| self.characters(node.name))
    }

    /// Indices of what the node at `index` holds directly, in the order of the text.
    pub(crate) fn children(&self, index: u32) -> impl Iterator<Item = u32> {
        let end = self.node(index).map_or(0, |node| node.next);
        let mut at = index + 1;
        std::iter::from_fn(move || {
            let child = (at < end).then_some(at)?;
            at = self.node(child)?.next;
            Some(child)
        })
    }
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The containers that are open: node index, and whether it is an object.
    open: Vec<(usize, bool)>,
    document: Document<'a>,
}

type Parsed<T> = Result<T, CanonicalError>;

impl<'a> Parser<'a> {
    fn run(mut self) -> Parsed<Document<'a>> {
        let mut name = Text::default();
        loop {
            self.blank();
            if self.value(name)? {
                let Some(next) = self.after_value()? else {
                    break;
                };
                name = next;
            } else {
                name = self.first()?;
            }
        }
        self.blank();
        if self.at == self.bytes.len() {
            Ok(self.document)
        } else {
            Err(self.expected("the end of the text"))
        }
    }

    /// Reads a scalar or an empty container whole (true), or opens a container that holds something (false).
    fn value(&mut self, name: Text) -> Parsed<bool> {
        match self.peek() {
            Some(b'"') => {
                let start = self.at;
                let text = self.string()?;
                self.push(Content::Text(text), name, start);
            }
            Some(b'{') => return self.container(Content::Object, name, b'}'),
            Some(b'[') => return self.container(Content::Array, name, b']'),
            Some(b'-' | b'0'..=b'9') => self.number(name)?,
            Some(b't') => self.word("true", Content::True, name)?,
            Some(b'f') => self.word("false", Content::False, name)?,
            Some(b'n') => self.word("null", Content::Null, name)?,
            Some(b'N' | b'I') => return Err(CanonicalError::NotFinite { offset: self.at }),
            _ => return Err(self.expected("a value")),
        }
        Ok(true)
    }

    fn container(&mut self, content: Content, name: Text, closing: u8) -> Parsed<bool> {
        if self.open.len() == DEPTH_MAX {
            return Err(CanonicalError::TooDeep { offset: self.at });
        }
        let start = self.at;
        self.at += 1;
        self.blank();
        let empty = self.peek() == Some(closing);
        if empty {
            self.at += 1;
        } else {
            self.open.push((self.document.nodes.len(), closing == b'}'));
        }
        self.push(content, name, start);
        Ok(empty)
    }

    /// The name of an object's first member; nothing for an array.
    fn first(&mut self) -> Parsed<Text> {
        if self.open.last().is_some_and(|(_, object)| *object) {
            self.name()
        } else {
            Ok(Text::default())
        }
    }

    /// Closes what ends here, then reads a comma and the name behind it. `None` when the root has ended.
    fn after_value(&mut self) -> Parsed<Option<Text>> {
        while let Some((container, object)) = self.open.last().copied() {
            self.blank();
            let byte = self.peek();
            if byte == Some(b',') {
                self.at += 1;
                self.blank();
                return self.first().map(Some);
            }
            if byte != Some(if object { b'}' } else { b']' }) {
                return Err(self.expected(if object { "`,` or `}`" } else { "`,` or `]`" }));
            }
            self.at += 1;
            self.open.pop();
            let (end, next) = (self.offset(), self.count());
            if let Some(node) = self.document.nodes.get_mut(container) {
                (node.end, node.next) = (end, next);
            }
        }
        Ok(None)
    }

    fn name(&mut self) -> Parsed<Text> {
        if self.peek() != Some(b'"') {
            return Err(self.expected("a member's name"));
        }
        let name = self.string()?;
        self.blank();
        if self.peek() != Some(b':') {
            return Err(self.expected("`:`"));
        }
        self.at += 1;
        Ok(name)
    }

    /// Reads a string from its opening quote on.
    fn string(&mut self) -> Parsed<Text> {
        self.at += 1;
        let start = self.at;
        let mut plain = true;
        loop {
            self.at += plain_run(self.rest());
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => return self.escaped(start),
                Some(0x7f..) => plain = false,
                _ => return Err(self.expected("a character or `\"`")),
            }
            self.at += 1;
        }
        let text = Text {
            start: narrow(start),
            end: self.offset(),
            resolved: false,
            plain,
        };
        self.at += 1;
        Ok(text)
    }

    /// Reads on from a string's first backslash, into the side buffer.
    fn escaped(&mut self, start: usize) -> Parsed<Text> {
        if self.document.resolved.capacity() == 0 {
            // Room for all strings at once: a buffer that grows would leave copies of PHI behind.
            self.document.resolved.reserve_exact(self.bytes.len());
        }
        let from = narrow(self.document.resolved.len());
        let mut copied = start;
        loop {
            self.at += plain_run(self.rest());
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.copy(copied);
                    let character = self.escape()?;
                    let mut utf8 = [0; 4];
                    self.document
                        .resolved
                        .extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
                    copied = self.at;
                }
                Some(0x7f..) => self.at += 1,
                _ => return Err(self.expected("a character or `\"`")),
            }
        }
        self.copy(copied);
        self.at += 1;
        Ok(Text {
            start: from,
            end: narrow(self.document.resolved.len()),
            resolved: true,
            plain: false,
        })
    }

    fn copy(&mut self, from: usize) {
        let part = self.bytes.get(from..self.at).unwrap_or_default();
        self.document.resolved.extend_from_slice(part);
    }

    /// Resolves the escape that begins here, a surrogate pair included.
    fn escape(&mut self) -> Parsed<char> {
        let start = self.at;
        self.at += 1;
        let letter = self.peek();
        self.at += 1;
        Ok(match letter {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let unit = self.unit(start)?;
                let lone = CanonicalError::LoneSurrogate { offset: start };
                if (0xd800..0xdc00).contains(&unit) {
                    if !self.rest().starts_with(b"\\u") {
                        return Err(lone);
                    }
                    self.at += 2;
                    let low = self.unit(start)?;
                    char::decode_utf16([unit, low])
                        .next()
                        .and_then(Result::ok)
                        .ok_or(lone)?
                } else {
                    char::from_u32(u32::from(unit)).ok_or(lone)?
                }
            }
            _ => {
                return Err(CanonicalError::Syntax {
                    offset: start,
                    expected: "a valid escape",
                });
            }
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self, escape: usize) -> Parsed<u16> {
        let digits = self.rest().first_chunk::<4>().into_iter().flatten();
        let (count, unit) = digits
            .map_while(|byte| char::from(*byte).to_digit(16))
            .fold((0, 0), |(count, unit), digit| {
                (count + 1, unit << 4 | digit)
            });
        if count != 4 {
            return Err(CanonicalError::Syntax {
                offset: escape,
                expected: "four hexadecimal digits",
            });
        }
        self.at += 4;
        u16::try_from(unit).map_err(|_| CanonicalError::LoneSurrogate { offset: escape })
    }

    fn number(&mut self, name: Text) -> Parsed<()> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'I') {
            return Err(CanonicalError::NotFinite { offset: start });
        }
        let digits = if self.peek() == Some(b'0') {
            self.skip(1)
        } else {
            self.digits()?
        };
        let mut float = false;
        if self.peek() == Some(b'.') {
            float = true;
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            float = true;
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        let content = if float {
            let token = self.document.text.get(start..self.at).unwrap_or_default();
            let finite = token.parse::<f64>().ok().filter(|value| value.is_finite());
            Content::Float(finite.ok_or(CanonicalError::NotFinite { offset: start })?)
        } else if digits > INTEGER_DIGITS_MAX {
            return Err(CanonicalError::IntegerTooLong { offset: start });
        } else {
            Content::Integer
        };
        self.push(content, name, start);
        Ok(())
    }

    /// At least one digit; how many.
    fn digits(&mut self) -> Parsed<usize> {
        let count = self
            .rest()
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if count == 0 {
            Err(self.expected("a digit"))
        } else {
            Ok(self.skip(count))
        }
    }

    fn skip(&mut self, count: usize) -> usize {
        self.at += count;
        count
    }

    fn word(&mut self, word: &'static str, content: Content, name: Text) -> Parsed<()> {
        let start = self.at;
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(self.expected("a value"));
        }
        self.at += word.len();
        self.push(content, name, start);
        Ok(())
    }

    fn push(&mut self, content: Content, name: Text, start: usize) {
        let (end, next) = (self.offset(), self.count() + 1);
        self.document.nodes.push(Node {
            content,
            name,
            start: narrow(start),
            end,
            next,
        });
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn offset(&self) -> u32 {
        narrow(self.at)
    }

    fn count(&self) -> u32 {
        narrow(self.document.nodes.len())
    }

    fn expected(&self, expected: &'static str) -> CanonicalError {
        CanonicalError::Syntax {
            offset: self.at,
            expected,
        }
    }
}

/// Offsets and counts are below the text's length, which was checked to fit.
fn narrow(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
