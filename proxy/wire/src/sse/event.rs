//! One event: its fields read, its data rewritten, every other line left as it is.

use std::fmt;

use super::BOM;

/// One event as it stood in the stream, its blank line included.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    pub(super) raw: Vec<u8>,
    /// Bytes in front that are no part of the first line.
    pub(super) prefix: usize,
}

/// A line and what ended it.
#[derive(Clone, Copy)]
pub(super) struct Line<'e> {
    pub(super) text: &'e [u8],
    pub(super) ending: &'e [u8],
}

impl<'e> Line<'e> {
    /// Takes the first line off `rest`.
    fn take(rest: &mut &'e [u8]) -> Option<Self> {
        if rest.is_empty() {
            return None;
        }
        let (text, tail) = rest.split_at(line_run(rest));
        let (ending, tail) = tail.split_at(match tail {
            [b'\r', b'\n', ..] => 2,
            [] => 0,
            _ => 1,
        });
        *rest = tail;
        Some(Self { text, ending })
    }

    /// The value of the field of that name, and what stands in front of the value.
    pub(super) fn field(self, name: &[u8]) -> Option<(&'e [u8], &'e [u8])> {
        let value_at = match self.text.strip_prefix(name)? {
            [] => name.len(),
            [b':', b' ', ..] => name.len() + 2,
            [b':', ..] => name.len() + 1,
            _ => return None,
        };
        let (front, value) = self.text.split_at(value_at);
        Some((value, front))
    }
}

impl Event {
    pub(super) fn new(raw: Vec<u8>, prefix: usize) -> Self {
        Self { raw, prefix }
    }

    /// Its bytes in the stream.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Its bytes in the stream, by value.
    pub fn into_raw(self) -> Vec<u8> {
        self.raw
    }

    /// Its data: the data lines, joined by LF. `None` if it has no data field (a comment, a bare `retry`).
    pub fn data(&self) -> Option<Vec<u8>> {
        let mut lines = self.lines().filter_map(|line| line.field(b"data"));
        let mut data = lines.next()?.0.to_vec();
        for (value, _) in lines {
            data.push(b'\n');
            data.extend_from_slice(value);
        }
        Some(data)
    }

    /// Its id; the last one without a NUL counts (§9.2.6).
    pub fn id(&self) -> Option<&[u8]> {
        self.values(b"id").filter(|id| !id.contains(&0)).last()
    }

    /// Its type; the last one counts. Without one it is a `message`.
    pub fn name(&self) -> Option<&[u8]> {
        self.values(b"event").last()
    }

    /// The event with other data; every other line, and the line ends, stay as they are.
    ///
    /// Each line of `data` takes the place of a data line. Of data lines left over the first ones go: were the last
    /// to go, a CR before it and a LF behind it could meet and become one line end. Lines of `data` left over
    /// follow the last one in its manner. An event without a data field stays as it is.
    pub fn with_data(&self, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.raw.len() + data.len());
        out.extend_from_slice(self.raw.get(..self.prefix).unwrap_or_default());
        let old_count = self
            .lines()
            .filter(|line| line.field(b"data").is_some())
            .count();
        let mut old_left = old_count;
        let mut texts = data_lines(data);
        let mut surplus = old_left.saturating_sub(data_lines(data).count());
        for line in self.lines() {
            let Some((_, front)) = line.field(b"data") else {
                // Where a dropped line stood first in the stream, this one would be read without its byte order mark.
                if out.is_empty() && old_left < old_count && line.text.starts_with(BOM) {
                    out.extend_from_slice(b":\n");
                }
                out.extend_from_slice(line.text);
                out.extend_from_slice(line.ending);
                continue;
            };
            old_left -= 1;
            if surplus > 0 {
                surplus -= 1;
                continue;
            }
            for text in texts.by_ref() {
                data_line_into(front, text, line.ending, &mut out);
                if old_left > 0 {
                    break;
                }
            }
        }
        out
    }

    fn values(&self, name: &[u8]) -> impl Iterator<Item = &[u8]> {
        self.lines()
            .filter_map(move |line| line.field(name))
            .map(|(value, _)| value)
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let mut rest = self.raw.get(self.prefix..).unwrap_or_default();
        std::iter::from_fn(move || Line::take(&mut rest))
    }
}

/// Events may hold PHI: only the size is shown.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("bytes", &self.raw.len())
            .finish()
    }
}

/// An event of our own: `message` with this data.
pub fn message(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 24);
    out.extend_from_slice(b"event: message\n");
    for text in data_lines(data) {
        data_line_into(b"data: ", text, b"\n", &mut out);
    }
    out.push(b'\n');
    out
}

/// The lines that data makes: one more than it has line ends, so never none.
fn data_lines(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(data);
    std::iter::from_fn(move || {
        let mut tail = rest?;
        let line = Line::take(&mut tail).unwrap_or(Line {
            text: b"",
            ending: b"",
        });
        rest = (!line.ending.is_empty()).then_some(tail);
        Some(line.text)
    })
}

/// Writes a data line in the manner of an old one. A reader drops one space behind the colon: one that belongs
/// to the text needs another in front.
fn data_line_into(front: &[u8], text: &[u8], ending: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(front);
    if !front.ends_with(b" ") {
        if !text.is_empty() && !front.ends_with(b":") {
            out.push(b':');
        }
        if text.starts_with(b" ") {
            out.push(b' ');
        }
    }
    out.extend_from_slice(text);
    out.extend_from_slice(ending);
}

/// Number of leading bytes without CR or LF; eight at a step, as in the JSON scanner.
pub(super) fn line_run(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut run = 0;
    let mut rest = bytes;
    while let Some((chunk, tail)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let lf = word ^ (ONES * b'\n' as u64);
        let cr = word ^ (ONES * b'\r' as u64);
        let found = ((lf.wrapping_sub(ONES) & !lf) | (cr.wrapping_sub(ONES) & !cr)) & HIGH;
        if found != 0 {
            return run + (found.trailing_zeros() / 8) as usize;
        }
        run += 8;
        rest = tail;
    }
    run + rest
        .iter()
        .take_while(|&&byte| byte != b'\n' && byte != b'\r')
        .count()
}
