//! The folded bytes, read without ever going past their ends.

/// A letter outside ASCII, after folding.
pub(super) const LETTER: u8 = 0x80;
/// Anything else outside ASCII, after folding.
pub(super) const OTHER: u8 = 0x81;

/// Folded bytes. Beyond either end there are zeros.
#[derive(Clone, Copy)]
pub(super) struct Text<'t>(&'t [u8]);

impl<'t> Text<'t> {
    pub(super) const fn new(bytes: &'t [u8]) -> Self {
        Self(bytes)
    }

    /// The byte at `i`.
    pub(super) fn at(self, i: usize) -> u8 {
        #[cfg(test)]
        steps::count(1);
        self.0.get(i).copied().unwrap_or(0)
    }

    /// The byte before `i`.
    pub(super) fn before(self, i: usize) -> u8 {
        i.checked_sub(1).map_or(0, |i| self.at(i))
    }

    /// The bytes from `start` to `end`.
    pub(super) fn span(self, start: usize, end: usize) -> &'t [u8] {
        let bytes = self.0.get(start..end).unwrap_or_default();
        #[cfg(test)]
        steps::count(bytes.len());
        bytes
    }

    /// The next byte from `from` on where an identifier can be recognized: a digit, `@`, `:`, `.` (or `/`, to no use).
    pub(super) fn stop(self, from: usize) -> Option<usize> {
        let rest = self.0.get(from..)?;
        let mut chunks = rest.chunks_exact(CHUNK);
        let mut skipped = 0;
        // A whole chunk at a time: the compiler makes it a few vector instructions.
        for chunk in chunks.by_ref() {
            if chunk.iter().fold(false, |any, byte| any | stops(*byte)) {
                break;
            }
            skipped += CHUNK;
        }
        let rest = rest.get(skipped..)?;
        let found = rest.iter().position(|byte| stops(*byte))?;
        #[cfg(test)]
        steps::count(skipped / CHUNK + found % CHUNK + 1);
        Some(from + skipped + found)
    }

    /// The first place from `from` on, at most `limit` bytes away, whose byte is not of a class.
    pub(super) fn skip(self, from: usize, limit: usize, class: impl Fn(u8) -> bool) -> usize {
        let end = from.saturating_add(limit);
        let mut i = from;
        while i < end && class(self.at(i)) {
            i += 1;
        }
        i
    }

    /// Where the bytes of a class that end at `end` begin, at most `limit` bytes back.
    pub(super) fn skip_back(self, end: usize, limit: usize, class: impl Fn(u8) -> bool) -> usize {
        let floor = end.saturating_sub(limit);
        let mut i = end;
        while i > floor && class(self.before(i)) {
            i -= 1;
        }
        i
    }

    /// Whether neither neighbour of a span is a letter or a digit.
    pub(super) fn stands_alone(self, start: usize, end: usize) -> bool {
        !is_word(self.before(start)) && !is_word(self.at(end))
    }
}

/// How many bytes are looked at together where nothing is to be found.
const CHUNK: usize = 32;

const fn stops(byte: u8) -> bool {
    // `.`, `/`, the digits and `:` are neighbours in ASCII.
    byte.wrapping_sub(b'.') <= b':' - b'.' || byte == b'@'
}

/// A letter or a digit.
pub(super) const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == LETTER
}

/// White space of any kind, after folding.
pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Counts what the detectors read, so that a test can hold it linear.
#[cfg(test)]
pub(super) mod steps {
    use std::cell::Cell;

    thread_local!(static STEPS: Cell<usize> = const { Cell::new(0) });

    pub(in super::super) fn count(more: usize) {
        STEPS.with(|steps| steps.set(steps.get() + more));
    }

    /// The bytes read since the last time it was asked.
    pub(in super::super) fn taken() -> usize {
        STEPS.with(|steps| steps.replace(0))
    }
}
