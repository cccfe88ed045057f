//! The scanner: text to a flat list of nodes in document order.
//!
//! A container's children follow it, and `next` leaps over them; `parent` both serves edits and stands in for a stack,
//! so that hostile nesting can cost neither stack nor a second allocation.
//!
//! The steps are inlined by force: left to the compiler, results travel through memory and a body takes a third longer.

use super::{JsonError, Kind, Limits};

/// Marks "no node" and "no key"; no text of ours has so many bytes or nodes.
pub(super) const NONE: u32 = u32::MAX;

/// Text bytes a value takes in typical MCP bodies: the first guess at the list's size.
const BYTES_PER_NODE: usize = 10;

/// One value. Spans are byte offsets, end exclusive.
#[derive(Clone, Copy)]
pub(super) struct Node {
    pub(super) start: u32,
    pub(super) end: u32,
    /// The member name's literal with its quotes; `NONE` for elements and the root.
    pub(super) key_start: u32,
    pub(super) key_end: u32,
    /// Index of the node behind this one and everything below it.
    pub(super) next: u32,
    /// Index of the container, `NONE` for the root.
    pub(super) parent: u32,
    pub(super) kind: Kind,
    /// Whether the string value has a backslash.
    pub(super) escaped: bool,
    /// Whether the member name has a backslash.
    pub(super) key_escaped: bool,
}

/// Where a member name stands.
#[derive(Clone, Copy)]
struct Key {
    start: u32,
    end: u32,
    escaped: bool,
}

impl Key {
    const NO: Self = Self {
        start: NONE,
        end: NONE,
        escaped: false,
    };
}

/// Scans a whole text of at most `u32::MAX` bytes.
pub(super) fn scan(text: &str, limits: &Limits) -> Result<Vec<Node>, JsonError> {
    let guess = text.len() / BYTES_PER_NODE + 4;
    let mut scanner = Scanner {
        bytes: text.as_bytes(),
        at: 0,
        nodes: Vec::with_capacity(guess.min(limits.nodes_max as usize)),
        open: NONE,
        open_kind: Kind::Null,
        depth: 0,
        limits: *limits,
    };
    scanner.document()?;
    Ok(scanner.nodes)
}

/// Scans the string literal at the start of `bytes`; gives its length and whether it has a backslash.
pub(super) fn scan_string(bytes: &[u8]) -> Result<(usize, bool), JsonError> {
    if bytes.first() != Some(&b'"') {
        return Err(JsonError::Expected {
            at: 0,
            what: "a string",
        });
    }
    string_end(bytes, 0)
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    /// The innermost container that is still open.
    open: u32,
    open_kind: Kind,
    depth: u32,
    limits: Limits,
}

impl Scanner<'_> {
    fn document(&mut self) -> Result<(), JsonError> {
        self.space();
        let mut first = self.value(Key::NO)?;
        while self.open != NONE {
            self.space();
            let in_object = self.open_kind == Kind::Object;
            if self.peek() == if in_object { b'}' } else { b']' } {
                self.close();
                first = false;
                continue;
            }
            if !first {
                let what = if in_object {
                    "`,` or `}`"
                } else {
                    "`,` or `]`"
                };
                self.token(b',', what)?;
                self.space();
            }
            let key = if in_object { self.key()? } else { Key::NO };
            first = self.value(key)?;
        }
        self.space();
        if self.at < self.bytes.len() {
            return Err(JsonError::TrailingBytes { at: self.at });
        }
        Ok(())
    }

    /// Reads a scalar, or opens a container (then true: its first child or its end is due).
    #[inline(always)]
    fn value(&mut self, key: Key) -> Result<bool, JsonError> {
        let start = self.at;
        match self.peek() {
            b'"' => {
                let (end, escaped) = string_end(self.bytes, start)?;
                self.at = end;
                self.push(Kind::String, start, key, escaped)?;
            }
            b'{' => return self.open(Kind::Object, key),
            b'[' => return self.open(Kind::Array, key),
            b'-' | b'0'..=b'9' => {
                self.at = number_end(self.bytes, start)?;
                self.push(Kind::Number, start, key, false)?;
            }
            b't' => self.literal(b"true", Kind::Bool, key)?,
            b'f' => self.literal(b"false", Kind::Bool, key)?,
            b'n' => self.literal(b"null", Kind::Null, key)?,
            _ => return Err(self.expected("a value")),
        }
        Ok(false)
    }

    fn open(&mut self, kind: Kind, key: Key) -> Result<bool, JsonError> {
        if self.depth >= self.limits.depth_max {
            return Err(JsonError::TooDeep {
                at: self.at,
                depth_max: self.limits.depth_max,
            });
        }
        let start = self.at;
        let index = self.nodes.len() as u32;
        self.at += 1;
        self.push(kind, start, key, false)?;
        self.depth += 1;
        self.open = index;
        self.open_kind = kind;
        Ok(true)
    }

    fn close(&mut self) {
        self.at += 1;
        let next = self.nodes.len() as u32;
        let Some(node) = self.nodes.get_mut(self.open as usize) else {
            return;
        };
        node.end = self.at as u32;
        node.next = next;
        self.open = node.parent;
        self.depth -= 1;
        if let Some(outer) = self.nodes.get(self.open as usize) {
            self.open_kind = outer.kind;
        }
    }

    #[inline(always)]
    fn push(&mut self, kind: Kind, start: usize, key: Key, escaped: bool) -> Result<(), JsonError> {
        let index = self.nodes.len() as u32;
        if index >= self.limits.nodes_max {
            return Err(JsonError::TooManyNodes {
                at: start,
                nodes_max: self.limits.nodes_max,
            });
        }
        self.nodes.push(Node {
            start: start as u32,
            end: self.at as u32,
            key_start: key.start,
            key_end: key.end,
            next: index + 1,
            parent: self.open,
            kind,
            escaped,
            key_escaped: key.escaped,
        });
        Ok(())
    }

    /// Reads a member name and its colon, up to where the value starts.
    #[inline(always)]
    fn key(&mut self) -> Result<Key, JsonError> {
        if self.peek() != b'"' {
            return Err(self.expected("a member name"));
        }
        let start = self.at;
        let (end, escaped) = string_end(self.bytes, start)?;
        self.at = end;
        self.space();
        self.token(b':', "`:`")?;
        self.space();
        Ok(Key {
            start: start as u32,
            end: end as u32,
            escaped,
        })
    }

    fn literal(&mut self, word: &[u8], kind: Kind, key: Key) -> Result<(), JsonError> {
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        if !rest.starts_with(word) {
            // A word cut off by the end of the text is told apart from a wrong one.
            return Err(if word.starts_with(rest) {
                JsonError::UnexpectedEnd
            } else {
                self.expected("a value")
            });
        }
        self.at += word.len();
        self.push(kind, start, key, false)
    }

    #[inline(always)]
    fn token(&mut self, byte: u8, what: &'static str) -> Result<(), JsonError> {
        if self.peek() != byte {
            return Err(self.expected(what));
        }
        self.at += 1;
        Ok(())
    }

    /// The byte due next; 0, which no grammar rule takes, at the end.
    #[inline(always)]
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Most bodies are printed without white space: one comparison tells.
    #[inline(always)]
    fn space(&mut self) {
        while self.peek() <= b' ' && matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    fn expected(&self, what: &'static str) -> JsonError {
        if self.at >= self.bytes.len() {
            JsonError::UnexpectedEnd
        } else {
            JsonError::Expected { at: self.at, what }
        }
    }
}

/// The end of the string literal whose opening quote stands at `start`, and whether it has a backslash.
#[inline(always)]
fn string_end(bytes: &[u8], start: usize) -> Result<(usize, bool), JsonError> {
    let mut at = start + 1;
    let mut escaped = false;
    loop {
        at += plain_run(bytes.get(at..).unwrap_or_default());
        match bytes.get(at) {
            Some(b'"') => return Ok((at + 1, escaped)),
            Some(b'\\') => {
                escaped = true;
                at = escape_end(bytes, at)?;
            }
            Some(_) => return Err(JsonError::ControlCharacter { at }),
            None => return Err(JsonError::UnexpectedEnd),
        }
    }
}

/// Number of leading bytes that a string literal can hold as they are: no quote, backslash or control character.
///
/// Eight bytes at a step: `x - 0x01…01 & !x & 0x80…80` marks zero bytes of `x`; marks above the lowest one may be
/// wrong by a borrow, the lowest is right, and only the lowest is used.
#[inline]
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut run = 0;
    let mut rest = bytes;
    while let Some((chunk, tail)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (ONES * b'"' as u64);
        let slash = word ^ (ONES * b'\\' as u64);
        let found = ((quote.wrapping_sub(ONES) & !quote)
            | (slash.wrapping_sub(ONES) & !slash)
            | (word.wrapping_sub(ONES * 0x20) & !word))
            & HIGH;
        if found != 0 {
            return run + (found.trailing_zeros() / 8) as usize;
        }
        run += 8;
        rest = tail;
    }
    run + rest
        .iter()
        .take_while(|&&byte| byte >= 0x20 && byte != b'"' && byte != b'\\')
        .count()
}

/// The end of the escape whose backslash stands at `at`.
fn escape_end(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => {
            let digits = bytes.get(at + 2..).unwrap_or_default();
            let hex = digits
                .iter()
                .take(4)
                .take_while(|byte| byte.is_ascii_hexdigit());
            match hex.count() {
                4 => Ok(at + 6),
                got if got == digits.len() => Err(JsonError::UnexpectedEnd),
                _ => Err(JsonError::InvalidEscape { at }),
            }
        }
        Some(_) => Err(JsonError::InvalidEscape { at }),
        None => Err(JsonError::UnexpectedEnd),
    }
}

/// The end of the number that starts at `start`: `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`.
#[inline]
fn number_end(bytes: &[u8], start: usize) -> Result<usize, JsonError> {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let mut at = start;
    if byte(at) == b'-' {
        at += 1;
    }
    let whole = at;
    at = digits_end(bytes, at)?;
    if byte(whole) == b'0' && at > whole + 1 {
        return Err(JsonError::InvalidNumber { at: whole });
    }
    if byte(at) == b'.' {
        at = digits_end(bytes, at + 1)?;
    }
    if matches!(byte(at), b'e' | b'E') {
        at += 1;
        if matches!(byte(at), b'+' | b'-') {
            at += 1;
        }
        at = digits_end(bytes, at)?;
    }
    Ok(at)
}

/// The end of the digits at `at`, of which at least one is due.
#[inline]
fn digits_end(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    let rest = bytes.get(at..).unwrap_or_default();
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match (count, rest.is_empty()) {
        (0, true) => Err(JsonError::UnexpectedEnd),
        (0, false) => Err(JsonError::InvalidNumber { at }),
        _ => Ok(at + count),
    }
}
