//! Values: cheap handles into a tree, and the questions one can ask them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use super::Tree;
use super::scan::{NONE, Node};
use super::text::{Lone, decode};

/// Objects up to this many members are searched for duplicates pair by pair, larger ones through a set.
const PAIRWISE_MEMBERS_MAX: usize = 32;

/// Marks of names: some thirty members rarely share one.
const MARKS: usize = 4096;

/// A number below [`MARKS`] that is the same for the same name.
fn mark(name: &[u8]) -> usize {
    // An odd constant without structure, whose high bits depend on all of the factor's.
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = name.as_chunks::<8>();
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let mixed = words
        .iter()
        .chain([&last])
        .fold(name.len() as u64, |mixed, word| {
            (mixed.rotate_left(26) ^ u64::from_le_bytes(*word)).wrapping_mul(MIX)
        });
    (mixed >> (64 - MARKS.trailing_zeros())) as usize
}

/// What a value is; scalars order before containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number of any size and precision.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// An object has two members of one name where one was asked for: readers differ in which they take, so nobody guesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DuplicateMember {
    /// Byte offset of the second one's name.
    pub at: usize,
}

impl fmt::Display for DuplicateMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "duplicate member at byte {}: send each name once",
            self.at
        )
    }
}

impl std::error::Error for DuplicateMember {}

/// A value in a [`Tree`]. Two handles are equal if they are the same place of the same tree.
#[derive(Clone, Copy)]
pub struct Value<'t> {
    pub(super) tree: &'t Tree<'t>,
    pub(super) node: &'t Node,
    pub(super) index: u32,
}

/// Stands in where a tree had no node; a scanned tree always has one.
static NOTHING: Node = Node {
    start: 0,
    end: 0,
    key_start: NONE,
    key_end: NONE,
    next: 1,
    parent: NONE,
    kind: Kind::Null,
    escaped: false,
    key_escaped: false,
};

impl<'t> Value<'t> {
    pub(super) fn root(tree: &'t Tree<'_>) -> Self {
        let node = tree.nodes.first().unwrap_or(&NOTHING);
        Self {
            tree,
            node,
            index: 0,
        }
    }

    /// What it is.
    pub fn kind(self) -> Kind {
        self.node.kind
    }

    /// Its text as it stands.
    pub fn raw(self) -> &'t [u8] {
        self.slice(self.node.start, self.node.end).as_bytes()
    }

    /// Where [`Value::raw`] stands in the tree's text, in bytes.
    pub fn span(self) -> Range<usize> {
        self.node.start as usize..self.node.end as usize
    }

    /// Its number in document order; 0 is the root.
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// The container it stands in; `None` for the root.
    pub fn parent(self) -> Option<Value<'t>> {
        self.tree
            .nodes
            .get(self.node.parent as usize)
            .map(|node| Value {
                tree: self.tree,
                node,
                index: self.node.parent,
            })
    }

    /// The member name, escapes resolved; a lone surrogate becomes U+FFFD. `None` for elements and the root.
    pub fn key(self) -> Option<Cow<'t, str>> {
        if self.node.key_start == NONE {
            return None;
        }
        let inner = self.slice(self.node.key_start + 1, self.node.key_end - 1);
        if self.node.key_escaped {
            decode(inner, Lone::Replaced).map(Cow::Owned)
        } else {
            Some(Cow::Borrowed(inner))
        }
    }

    /// The member name's literal as it stands, with its quotes.
    pub fn key_raw(self) -> Option<&'t [u8]> {
        (self.node.key_start != NONE).then(|| {
            self.slice(self.node.key_start, self.node.key_end)
                .as_bytes()
        })
    }

    /// The elements or members in order, duplicates included; nothing for scalars.
    pub fn children(self) -> impl Iterator<Item = Value<'t>> {
        let tree = self.tree;
        let mut at = self.index + 1;
        let end = self.node.next;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let node = tree.nodes.get(at as usize)?;
            let child = Value {
                tree,
                node,
                index: at,
            };
            at = node.next;
            Some(child)
        })
    }

    /// Itself and all below it, in document order.
    pub fn descendants(self) -> impl Iterator<Item = Value<'t>> {
        let tree = self.tree;
        (self.index..self.node.next).filter_map(move |index| {
            let node = tree.nodes.get(index as usize)?;
            Some(Value { tree, node, index })
        })
    }

    /// The member of that name (decoded names are compared); `None` if there is none or this is no object.
    ///
    /// # Errors
    /// [`DuplicateMember`] if there are several.
    pub fn get(self, name: &str) -> Result<Option<Value<'t>>, DuplicateMember> {
        if self.kind() != Kind::Object {
            return Ok(None);
        }
        let mut named = self.children().filter(|member| member.is_named(name));
        let found = named.next();
        match named.next() {
            Some(second) => Err(second.duplicate()),
            None => Ok(found),
        }
    }

    /// Its text if it is a string; `None` if it is not, or holds a lone surrogate.
    pub fn string(self) -> Option<Cow<'t, str>> {
        if self.kind() != Kind::String {
            return None;
        }
        let inner = self.slice(self.node.start + 1, self.node.end - 1);
        if self.node.escaped {
            decode(inner, Lone::Refused).map(Cow::Owned)
        } else {
            Some(Cow::Borrowed(inner))
        }
    }

    /// Its truth if it is a boolean.
    pub fn as_bool(self) -> Option<bool> {
        (self.kind() == Kind::Bool).then(|| self.raw() == b"true")
    }

    /// Its value if it is a number written as an integer that fits.
    pub fn as_u64(self) -> Option<u64> {
        self.number()?.parse().ok()
    }

    /// Its value if it is a number written as an integer that fits.
    pub fn as_i64(self) -> Option<i64> {
        self.number()?.parse().ok()
    }

    /// Whether any object at or below it has two members of one decoded name.
    pub fn has_duplicates(self) -> bool {
        self.first_duplicate().is_some()
    }

    /// The first duplicate at or below it, as the error that a caller would give.
    pub fn first_duplicate(self) -> Option<DuplicateMember> {
        self.descendants()
            .filter(|value| value.kind() == Kind::Object)
            .find_map(Value::own_duplicate)
    }

    /// Whether it is a member of this decoded name.
    pub fn is_named(self, name: &str) -> bool {
        if self.node.key_escaped {
            return self.key().is_some_and(|key| key == name);
        }
        // Lengths differ for most names: no text is touched for these.
        self.node.key_start != NONE
            && (self.node.key_end - self.node.key_start) as usize == name.len() + 2
            && self.slice(self.node.key_start + 1, self.node.key_end - 1) == name
    }

    /// Where [`Value::key_raw`] stands in the tree's text; empty, at the value's start, if it has none.
    pub(crate) fn key_span(self) -> Range<usize> {
        if self.node.key_start == NONE {
            return self.span().start..self.span().start;
        }
        self.node.key_start as usize..self.node.key_end as usize
    }

    /// The first duplicate among its own members.
    pub(crate) fn own_duplicate(self) -> Option<DuplicateMember> {
        if self.kind() != Kind::Object || self.plainly_distinct() {
            return None;
        }
        if self.children().nth(PAIRWISE_MEMBERS_MAX).is_some() {
            let mut seen = HashSet::new();
            return self
                .children()
                .find(|member| !seen.insert(member.key()))
                .map(Value::duplicate);
        }
        let mut members = self.children().enumerate();
        members
            .find(|&(position, member)| {
                self.children()
                    .take(position)
                    .any(|earlier| earlier.same_name(member))
            })
            .map(|(_, member)| member.duplicate())
    }

    /// Whether no two names share a mark, so that none can be there twice. False says nothing: names with escapes,
    /// and different names with one mark, are compared.
    fn plainly_distinct(self) -> bool {
        let mut seen = [0_u64; MARKS / 64];
        self.children().all(|member| {
            let name = self.slice(member.node.key_start, member.node.key_end);
            let mark = mark(name.as_bytes());
            let (word, bit) = (mark / 64, 1 << (mark % 64));
            let fresh = seen.get(word).is_some_and(|seen| seen & bit == 0);
            if let Some(seen) = seen.get_mut(word) {
                *seen |= bit;
            }
            fresh && !member.node.key_escaped
        })
    }

    fn same_name(self, other: Value<'_>) -> bool {
        if self.node.key_escaped || other.node.key_escaped {
            self.key() == other.key()
        } else {
            self.key_raw() == other.key_raw()
        }
    }

    fn duplicate(self) -> DuplicateMember {
        DuplicateMember {
            at: self.key_span().start,
        }
    }

    fn number(self) -> Option<&'t str> {
        (self.kind() == Kind::Number).then(|| self.slice(self.node.start, self.node.end))
    }

    /// Spans come from the scanner and are always in the text and on character boundaries.
    fn slice(self, start: u32, end: u32) -> &'t str {
        self.tree
            .text
            .get(start as usize..end as usize)
            .unwrap_or_default()
    }
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && std::ptr::eq(self.node, other.node)
    }
}

impl Eq for Value<'_> {}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value")
            .field("kind", &self.kind())
            .field("span", &self.span())
            .finish()
    }
}
