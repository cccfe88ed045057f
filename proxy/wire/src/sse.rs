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

mod event;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;

use event::line_run;
pub use event::{Event, message};

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
        let raw = self.buffer.get(start..end).unwrap_or_default();
        self.ready.push_back(Event::new(raw.to_vec(), self.prefix));
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
