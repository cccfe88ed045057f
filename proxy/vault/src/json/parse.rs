//! The parser: RFC 8259 as Python's `json.loads` takes it, less what has no JSON form (NaN, lone surrogates, floats
//! that overflow).

use super::document::{Content, Node, Room, SPAN_MAX, Text};
use super::{DEPTH_MAX, INTEGER_DIGITS_MAX, plain_run};
use crate::canonical::CanonicalError;

/// Parses a text into a room that is empty; gives the text.
pub(super) fn fill<'a>(json: &'a [u8], room: &mut Room) -> Result<&'a str, CanonicalError> {
    let text = std::str::from_utf8(json).map_err(|e| CanonicalError::NotUtf8 {
        offset: e.valid_up_to(),
    })?;
    if text.len() as u64 >= SPAN_MAX {
        return Err(CanonicalError::TooLong);
    }
    room.nodes.reserve(text.len() / 12 + 4);
    let parser = Parser {
        text,
        bytes: text.as_bytes(),
        at: 0,
        room,
    };
    parser.run()?;
    Ok(text)
}

struct Parser<'a, 'r> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    room: &'r mut Room,
}

type Parsed<T> = Result<T, CanonicalError>;

impl<'a> Parser<'a, '_> {
    fn run(mut self) -> Parsed<()> {
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
            Ok(())
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
        if self.room.open.len() == DEPTH_MAX {
            return Err(CanonicalError::TooDeep { offset: self.at });
        }
        let start = self.at;
        self.at += 1;
        self.blank();
        let empty = self.peek() == Some(closing);
        if empty {
            self.at += 1;
        } else {
            self.room
                .open
                .push((self.room.nodes.len(), closing == b'}'));
        }
        self.push(content, name, start);
        Ok(empty)
    }

    /// The name of an object's first member; nothing for an array.
    fn first(&mut self) -> Parsed<Text> {
        if self.room.open.last().is_some_and(|(_, object)| *object) {
            self.name()
        } else {
            Ok(Text::default())
        }
    }

    /// Closes what ends here, then reads a comma and the name behind it. `None` when the root has ended.
    fn after_value(&mut self) -> Parsed<Option<Text>> {
        while let Some((container, object)) = self.room.open.last().copied() {
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
            self.room.open.pop();
            let (end, next) = (self.offset(), self.count());
            if let Some(node) = self.room.nodes.get_mut(container) {
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

    /// Reads a string from its opening quote on. Inlined: a result that goes through memory stalls what reads it.
    #[inline(always)]
    fn string(&mut self) -> Parsed<Text> {
        self.at += 1;
        let start = self.at;
        let mut flags = Text::PLAIN;
        loop {
            self.at += plain_run(self.rest());
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => return self.escaped(start),
                Some(0x7f..) => flags = 0,
                _ => return Err(self.expected("a character or `\"`")),
            }
            self.at += 1;
        }
        let text = Text::new(narrow(start), self.offset(), flags);
        self.at += 1;
        Ok(text)
    }

    /// Reads on from a string's first backslash, into the side buffer.
    fn escaped(&mut self, start: usize) -> Parsed<Text> {
        if self.room.resolved.capacity() == 0 {
            // Room for all strings at once: a buffer that grows would leave copies of PHI behind.
            self.room.resolved.reserve_exact(self.bytes.len());
        }
        let from = narrow(self.room.resolved.len());
        let mut copied = start;
        loop {
            self.at += plain_run(self.rest());
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.copy(copied);
                    let character = self.escape()?;
                    let mut utf8 = [0; 4];
                    self.room
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
        let end = narrow(self.room.resolved.len());
        Ok(Text::new(from, end, Text::RESOLVED))
    }

    fn copy(&mut self, from: usize) {
        let part = self.bytes.get(from..self.at).unwrap_or_default();
        self.room.resolved.extend_from_slice(part);
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
            let token = self.text.get(start..self.at).unwrap_or_default();
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
        self.room.nodes.push(Node {
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
        narrow(self.room.nodes.len())
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
