//! The writer: Python's `json.dumps` with its default separators and ASCII escapes.

use super::document::Text;
use super::{Content, Document, Node, float, plain_run};
use std::cell::Cell;

/// In which order an object's members are written. Of a name that stands twice the last value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// By code points (`sort_keys=True`).
    Sorted,
    /// As a Python dict keeps them: where a name first stood.
    Inserted,
}

/// Appends the document's text to `out`.
pub(crate) fn write(document: &Document<'_>, order: Order, out: &mut Vec<u8>) {
    let (mut pending, mut frames) = ROOM.take();
    if pending.capacity() > ROOM_PENDING_MAX {
        pending = Vec::new();
    }
    pending.clear();
    frames.clear();
    let mut writer = Writer {
        document,
        order,
        out,
        pending,
        frames,
    };
    writer.run();
    ROOM.set((writer.pending, writer.frames));
}

/// Most members and elements that a thread keeps room for between texts (16 bytes each).
const ROOM_PENDING_MAX: usize = 4096;

thread_local! {
    /// What writing needs to remember, kept from text to text so that none costs an allocation. Indices and the
    /// beginnings of names: no value.
    static ROOM: Cell<(Vec<Pending>, Vec<Frame>)> = const { Cell::new((Vec::new(), Vec::new())) };
}

struct Writer<'d, 'a> {
    document: &'d Document<'a>,
    order: Order,
    out: &'d mut Vec<u8>,
    /// What the open containers hold, one behind the other, in the order of writing.
    pending: Vec<Pending>,
    frames: Vec<Frame>,
}

/// An element or member that is still to be written.
#[derive(Debug, Clone, Copy)]
struct Pending {
    /// How its name begins: most comparisons of names end with it.
    prefix: u64,
    index: u32,
}

impl Pending {
    fn at(index: u32) -> Self {
        Self { prefix: 0, index }
    }
}

/// The first eight bytes of a name as a number: in the order of the names, where it differs.
fn prefix(name: &[u8]) -> u64 {
    match name.first_chunk() {
        Some(first) => u64::from_be_bytes(*first),
        // Built in a register: bytes that are put together in memory and read as one word stall the processor.
        None => {
            let short = name
                .iter()
                .fold(0, |word, byte| word << 8 | u64::from(*byte));
            short.checked_shl(64 - 8 * narrow(name.len())).unwrap_or(0)
        }
    }
}

/// A length below eight.
fn narrow(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(0)
}

/// A container that is being written: its share of `pending`.
struct Frame {
    base: usize,
    at: usize,
    end: usize,
    object: bool,
}

impl Writer<'_, '_> {
    fn run(&mut self) {
        self.value(0);
        while let Some(frame) = self.frames.last_mut() {
            if frame.at == frame.end {
                self.out.push(if frame.object { b'}' } else { b']' });
                self.pending.truncate(frame.base);
                self.frames.pop();
                continue;
            }
            if frame.at > frame.base {
                self.out.extend_from_slice(b", ");
            }
            let child = self.pending.get(frame.at).map_or(0, |member| member.index);
            let object = frame.object;
            frame.at += 1;
            if object && let Some(node) = self.document.node(child) {
                self.string(node.name);
                self.out.extend_from_slice(b": ");
            }
            self.value(child);
        }
    }

    fn value(&mut self, index: u32) {
        let Some(node) = self.document.node(index) else {
            return;
        };
        match node.content {
            Content::Null => self.out.extend_from_slice(b"null"),
            Content::True => self.out.extend_from_slice(b"true"),
            Content::False => self.out.extend_from_slice(b"false"),
            Content::Integer => self.integer(node),
            Content::Float(value) => float::write(value, self.out),
            Content::Text(text) => self.string(text),
            Content::Array => self.open(index, false),
            Content::Object => self.open(index, true),
        }
    }

    fn integer(&mut self, node: &Node) {
        let digits = match self.document.token(node) {
            "-0" => "0",
            token => token,
        };
        self.out.extend_from_slice(digits.as_bytes());
    }

    fn open(&mut self, index: u32, object: bool) {
        let base = self.pending.len();
        self.pending
            .extend(self.document.children(index).map(Pending::at));
        if object {
            match self.order {
                Order::Sorted => self.sort(base),
                Order::Inserted => self.keep_last(base),
            }
        }
        self.out.push(if object { b'{' } else { b'[' });
        self.frames.push(Frame {
            base,
            at: base,
            end: self.pending.len(),
            object,
        });
    }

    /// Sorts the members from `base` on by name, and drops all but the last of each.
    fn sort(&mut self, base: usize) {
        let document = self.document;
        let members = self.pending.get_mut(base..).unwrap_or_default();
        for member in members.iter_mut() {
            member.prefix = prefix(document.name(member.index));
        }
        let compare = |a: &Pending, b: &Pending| {
            let names = || document.name(a.index).cmp(document.name(b.index));
            a.prefix.cmp(&b.prefix).then_with(names)
        };
        if members.is_sorted_by(|a, b| compare(a, b).is_lt()) {
            return;
        }
        members.sort_unstable_by(|a, b| compare(a, b).then(a.index.cmp(&b.index)));
        let mut kept = base;
        for at in base..self.pending.len() {
            let (this, next) = (self.pending.get(at).copied(), self.pending.get(at + 1));
            let Some(this) = this else { break };
            if next.is_none_or(|next| compare(next, &this).is_ne()) {
                if let Some(slot) = self.pending.get_mut(kept) {
                    *slot = this;
                }
                kept += 1;
            }
        }
        self.pending.truncate(kept);
    }

    /// Of members with one name keeps the last value, at the place of the first.
    fn keep_last(&mut self, base: usize) {
        let document = self.document;
        let members = self.pending.get(base..).unwrap_or_default();
        let mut sorted: Vec<u32> = members.iter().map(|member| member.index).collect();
        sorted.sort_unstable_by(|a, b| document.name(*a).cmp(document.name(*b)).then(a.cmp(b)));
        let mut placed: Vec<(u32, u32)> = Vec::with_capacity(sorted.len());
        for same in sorted.chunk_by(|a, b| document.name(*a) == document.name(*b)) {
            if let (Some(first), Some(last)) = (same.first(), same.last()) {
                placed.push((*first, *last));
            }
        }
        placed.sort_unstable();
        self.pending.truncate(base);
        self.pending
            .extend(placed.iter().map(|(_, last)| Pending::at(*last)));
    }

    fn string(&mut self, text: Text) {
        match self.document.literal(text) {
            Some(literal) => self.out.extend_from_slice(literal),
            None => quote_bytes(self.document.characters(text), self.out),
        }
    }
}

/// Appends a text as a JSON string of ASCII characters.
pub(crate) fn quote(text: &str, out: &mut Vec<u8>) {
    quote_bytes(text.as_bytes(), out);
}

/// As [`quote`], of bytes that are UTF-8.
fn quote_bytes(mut rest: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    while !rest.is_empty() {
        let (run, behind) = rest.split_at(plain_run(rest));
        out.extend_from_slice(run);
        rest = escape(behind, out);
    }
    out.push(b'"');
}

/// Writes the character that `bytes` begins with, which is no plain one; gives what follows it.
fn escape<'b>(bytes: &'b [u8], out: &mut Vec<u8>) -> &'b [u8] {
    let Some((first, rest)) = bytes.split_first() else {
        return bytes;
    };
    let short = match first {
        b'"' => b"\\\"",
        b'\\' => b"\\\\",
        b'\n' => b"\\n",
        b'\r' => b"\\r",
        b'\t' => b"\\t",
        0x0c => b"\\f",
        0x08 => b"\\b",
        0..0x80 => {
            unit(u16::from(*first), out);
            return rest;
        }
        0x80.. => return escape_wide(bytes, out),
    };
    out.extend_from_slice(short);
    rest
}

fn escape_wide<'b>(bytes: &'b [u8], out: &mut Vec<u8>) -> &'b [u8] {
    let length = match bytes.first() {
        Some(0xf0..) => 4,
        Some(0xe0..) => 3,
        _ => 2,
    };
    // Cut at a character, both parts stay valid UTF-8.
    let (character, rest) = bytes.split_at(length.min(bytes.len()));
    let mut units = [0; 2];
    for c in std::str::from_utf8(character).unwrap_or_default().chars() {
        for part in c.encode_utf16(&mut units) {
            unit(*part, out);
        }
    }
    rest
}

fn unit(unit: u16, out: &mut Vec<u8>) {
    let digit = |shift: u16| {
        let nibble = (unit >> shift & 15) as u8;
        if nibble < 10 {
            b'0' + nibble
        } else {
            b'a' + nibble - 10
        }
    };
    out.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
}
