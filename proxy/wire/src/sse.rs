//! Server-sent events (WHATWG HTML §9.2), framed as they arrive and rewritten without touching what is not data.
//!
//! The framer cuts a stream into events; put together again, their raw bytes are the stream. Lines end with LF,
//! CRLF or CR, also mixed; a byte order mark may open the stream; an event ends with a blank line. The cuts do not
//! depend on how the bytes were split on arrival. A blank line on its own is an event without data, so that
//! nothing is held back.
//!
//! CR at the end of what has arrived may be half a CRLF. The framer waits for the next byte, except after a line
//! that ended with CR alone: there the event is given out at once, and a LF that follows opens the next raw event,
//! where it means nothing. Without that a stream of CR lines would always be one event late.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// An event grew beyond the bound that the framer was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTooLarge {
    /// The bound in bytes.
    pub event_bytes_max: usize,
}

impl fmt::Display for EventTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let max = self.event_bytes_max;
        write!(
            f,
            "server-sent event is larger than {max} bytes: raise the bound or send smaller events"
        )
    }
}

impl std::error::Error for EventTooLarge {}

/// Cuts a byte stream into events: [`Framer::push`] what arrives, then take events by iterating until `None`.
pub struct Framer {
    /// What has arrived and is in no event yet.
    buffer: Vec<u8>,
    /// Where the current line starts in `buffer`.
    line: usize,
    /// Up to where the current line is known to have no end.
    scanned: usize,
    /// Bytes that open the current event and are no part of its lines.
    prefix: usize,
    opening: Opening,
    /// Whether the line before ended with CR alone.
    cr_alone: bool,
    ended: bool,
    failed: bool,
    event_bytes_max: usize,
    ready: VecDeque<Event>,
}

/// What may open the current event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opening {
    /// A byte order mark: nothing has been read yet.
    Bom,
    /// The LF of a CRLF whose CR ended the event before.
    Lf,
    Nothing,
}

impl Framer {
    /// A framer for one stream; no event may be larger than the bound, its blank line included.
    pub fn new(event_bytes_max: usize) -> Self {
        Self {
            buffer: Vec::new(),
            line: 0,
            scanned: 0,
            prefix: 0,
            opening: Opening::Bom,
            cr_alone: false,
            ended: false,
            failed: false,
            event_bytes_max,
            ready: VecDeque::new(),
        }
    }

    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// [`EventTooLarge`], now and from then on; events that were complete before can still be taken.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), EventTooLarge> {
        if !self.failed {
            self.buffer.extend_from_slice(bytes);
            self.scan();
        }
        if self.failed {
            return Err(EventTooLarge {
                event_bytes_max: self.event_bytes_max,
            });
        }
        Ok(())
    }

    /// Says that the stream is over: a CR that stood last was a line end. Take events once more, then [`Framer::finish`].
    pub fn end(&mut self) {
        self.ended = true;
        if !self.failed {
            self.scan();
        }
    }

    /// The incomplete rest, which a client would throw away. Events not taken are lost.
    pub fn finish(self) -> Option<Vec<u8>> {
        (!self.buffer.is_empty()).then_some(self.buffer)
    }

    fn scan(&mut self) {
        let mut start = 0;
        while self.open_event(start)
            && let Some(end) = self.line_end()
        {
            let blank = self.scanned == self.line;
            self.line = end;
            self.scanned = end;
            if blank && !self.give_out(start, end) {
                return;
            }
            if blank {
                start = end;
            }
        }
        self.buffer.drain(..start);
        self.line -= start;
        self.scanned -= start;
        if self.buffer.len() > self.event_bytes_max {
            self.fail();
        }
    }

    /// Steps over what may open an event; false if more bytes are needed to tell.
    fn open_event(&mut self, start: usize) -> bool {
        let rest = self.buffer.get(start..).unwrap_or_default();
        self.prefix = match self.opening {
            Opening::Nothing => return true,
            Opening::Bom if rest.starts_with(BOM) => BOM.len(),
            Opening::Bom if BOM.starts_with(rest) && !self.ended => return false,
            Opening::Bom => 0,
            Opening::Lf if rest.is_empty() => return false,
            Opening::Lf if rest.starts_with(b"\n") => {
                self.cr_alone = false;
                1
            }
            Opening::Lf => 0,
        };
        self.opening = Opening::Nothing;
        self.line = start + self.prefix;
        self.scanned = self.line;
        true
    }

    /// Moves `scanned` to the current line's end; gives where the next line starts if that is known.
    fn line_end(&mut self) -> Option<usize> {
        self.scanned += line_run(self.buffer.get(self.scanned..).unwrap_or_default());
        let at = self.scanned;
        if *self.buffer.get(at)? == b'\n' {
            self.cr_alone = false;
            return Some(at + 1);
        }
        if at == self.line && self.cr_alone {
            self.opening = Opening::Lf;
            return Some(at + 1);
        }
        let next = self.buffer.get(at + 1);
        if next.is_none() && !self.ended {
            return None;
        }
        self.cr_alone = next != Some(&b'\n');
        Some(if self.cr_alone { at + 1 } else { at + 2 })
    }

    fn give_out(&mut self, start: usize, end: usize) -> bool {
        if end - start > self.event_bytes_max {
            self.fail();
            return false;
        }
        self.ready.push_back(Event {
            raw: self.buffer.get(start..end).unwrap_or_default().to_vec(),
            prefix: self.prefix,
        });
        self.prefix = 0;
        true
    }

    fn fail(&mut self) {
        self.failed = true;
        self.buffer = Vec::new();
    }
}

impl Iterator for Framer {
    type Item = Event;

    /// The next complete event; `None` until more bytes are pushed.
    fn next(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }
}

impl fmt::Debug for Framer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framer")
            .field("buffered_bytes", &self.buffer.len())
            .field("ready", &self.ready.len())
            .finish()
    }
}

/// Number of leading bytes without CR or LF; eight at a step, as in the JSON scanner.
fn line_run(bytes: &[u8]) -> usize {
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

/// One event as it stood in the stream, its blank line included.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    raw: Vec<u8>,
    /// Bytes in front that are no part of the first line.
    prefix: usize,
}

/// A line and what ended it.
#[derive(Clone, Copy)]
struct Line<'e> {
    text: &'e [u8],
    ending: &'e [u8],
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
    fn field(self, name: &[u8]) -> Option<(&'e [u8], &'e [u8])> {
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

    /// Its id; the last one counts, and one with a NUL does not (§9.2.6).
    pub fn id(&self) -> Option<&[u8]> {
        self.last(b"id").filter(|id| !id.contains(&0))
    }

    /// Its type; the last one counts. Without one it is a `message`.
    pub fn name(&self) -> Option<&[u8]> {
        self.last(b"event")
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

    fn last(&self, name: &[u8]) -> Option<&[u8]> {
        self.lines()
            .filter_map(|line| line.field(name))
            .last()
            .map(|(value, _)| value)
    }

    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
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
