//! A parsed JSON text: a flat list of nodes over the text, in a room that is used again.

use super::parse::fill;
use crate::canonical::CanonicalError;
use std::cell::Cell;
use std::ops::Range;
use zeroize::{Zeroize, Zeroizing};

/// Most nodes that a thread keeps room for between texts (40 bytes each).
const ROOM_NODES_MAX: usize = 4096;
/// Most bytes of resolved strings that a thread keeps room for between texts.
const ROOM_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    static ROOM: Cell<Option<Box<Room>>> = const { Cell::new(None) };
}

/// The characters of a string: a span of the text, or of the side buffer if escapes were resolved.
///
/// One word (start and end of 31 bits each, two flags): what is written in parts and read back whole stalls the
/// processor.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Text(u64);

impl Text {
    pub(super) const RESOLVED: u64 = 1 << 62;
    /// Every character may be written as it stands.
    pub(super) const PLAIN: u64 = 1 << 63;

    pub(super) fn new(start: u32, end: u32, flags: u64) -> Self {
        Self(u64::from(start) | u64::from(end) << 31 | flags)
    }

    fn start(self) -> usize {
        (self.0 & SPAN_MAX) as usize
    }

    fn end(self) -> usize {
        (self.0 >> 31 & SPAN_MAX) as usize
    }

    fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }
}

/// Greatest offset that a span holds.
pub(super) const SPAN_MAX: u64 = (1 << 31) - 1;

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
    pub(super) start: u32,
    pub(super) end: u32,
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
    room: Box<Room>,
}

/// What parsing needs to remember, kept from text to text so that none costs an allocation.
#[derive(Default)]
pub(crate) struct Room {
    pub(super) nodes: Vec<Node>,
    /// Strings with their escapes resolved. They may be PHI.
    pub(super) resolved: Zeroizing<Vec<u8>>,
    /// The containers that are open: node index, and whether it is an object.
    pub(super) open: Vec<(usize, bool)>,
}

impl Room {
    /// Empties the room, wipes what may be PHI, and gives back what a large text took.
    pub(super) fn clear(&mut self) {
        if self.nodes.capacity() > ROOM_NODES_MAX || self.resolved.capacity() > ROOM_BYTES_MAX {
            *self = Self::default();
        }
        self.nodes.clear();
        self.open.clear();
        if !self.resolved.is_empty() {
            self.resolved.zeroize();
        }
    }
}

impl<'a> Document<'a> {
    /// Parses one value with nothing but white space around it.
    pub(crate) fn parse(json: &'a [u8]) -> Result<Self, CanonicalError> {
        let mut room = Box::<Room>::default();
        let text = fill(json, &mut room)?;
        Ok(Self { text, room })
    }

    /// What `read` makes of a document that is parsed in the thread's own room.
    pub(crate) fn with<T>(
        json: &'a [u8],
        read: impl FnOnce(&Self) -> T,
    ) -> Result<T, CanonicalError> {
        // Taken, not borrowed: what `read` calls may parse, too.
        let mut room = ROOM.take().unwrap_or_default();
        let (made, mut room) = match fill(json, &mut room) {
            Ok(text) => {
                let document = Self { text, room };
                (Ok(read(&document)), document.room)
            }
            Err(error) => (Err(error), room),
        };
        room.clear();
        ROOM.set(Some(room));
        made
    }

    pub(crate) fn node(&self, index: u32) -> Option<&Node> {
        self.room.nodes.get(index as usize)
    }

    pub(crate) fn root(&self) -> Option<&Node> {
        self.room.nodes.first()
    }

    /// The value's token as it stands.
    pub(crate) fn token(&self, node: &Node) -> &'a str {
        self.text.get(node.span()).unwrap_or_default()
    }

    /// The characters of a string in UTF-8, whose byte order is the order of code points.
    pub(crate) fn characters(&self, text: Text) -> &[u8] {
        let source = if text.has(Text::RESOLVED) {
            self.room.resolved.as_slice()
        } else {
            self.text.as_bytes()
        };
        source.get(text.start()..text.end()).unwrap_or_default()
    }

    /// The string with its quotes as it stands in the text, if it may be written so.
    pub(crate) fn literal(&self, text: Text) -> Option<&'a [u8]> {
        let quoted = text.start().checked_sub(1)?..text.end() + 1;
        if text.has(Text::PLAIN) {
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
