//! Byte-exact edits of a document.
//!
//! Edits are collected in any order and carried out in one pass over the text. They become cuts and insertions at
//! byte offsets; what lies between is copied as it stands.
//!
//! Who wins: an edit of a container that takes it away (replace, remove) swallows every edit below it. On one value,
//! remove beats replace, the last replace beats earlier ones, and wraps go around whatever is left, later ones outside.

use std::ops::Range;

use super::pieces::{Piece, Rank, emit};
use super::text::quote_into;
use super::{Kind, Tree, Value};

/// Edits on one tree, carried out by [`Splice::apply`].
///
/// Values must come from the tree it was made for. If one does not, offsets would mean nothing, and the result
/// is `null`: nothing of the document leaves.
pub struct Splice<'t> {
    tree: &'t Tree<'t>,
    edits: Vec<Edit>,
    /// What edits put in, one behind the other: one buffer for all, so that no edit costs an allocation of its own.
    written: Vec<u8>,
    /// Whether all edits are replacements in document order, as a walk makes them: then one pass needs no more.
    plain: bool,
    foreign: bool,
}

/// Its text stands in the buffer of all edits.
struct Edit {
    /// The value's index in the tree.
    index: u32,
    what: What,
    start: usize,
    /// Where the text behind a wrapped value starts.
    middle: usize,
    end: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Replace,
    Remove,
    /// `"name":value`, without a comma.
    Insert,
    Wrap,
}

impl<'t> Splice<'t> {
    /// No edits yet.
    pub fn new(tree: &'t Tree<'_>) -> Self {
        Self {
            tree,
            edits: Vec::new(),
            written: Vec::new(),
            plain: true,
            foreign: false,
        }
    }

    /// Puts `raw_json`, which must be one JSON value, in a value's place; a member keeps its name.
    pub fn replace(&mut self, value: Value<'t>, raw_json: impl AsRef<[u8]>) {
        let start = self.written.len();
        self.written.extend_from_slice(raw_json.as_ref());
        self.push(value, What::Replace, start, start);
    }

    /// As [`Splice::replace`], by what `write` appends to a buffer that all edits share.
    /// What stands in the buffer already belongs to other edits: if `write` takes of it away, the result is `null`.
    ///
    /// # Errors
    /// That of `write`; the value then stays as it is.
    pub fn replace_with<E>(
        &mut self,
        value: Value<'t>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.written.len();
        let result = write(&mut self.written);
        self.foreign |= self.written.len() < start;
        if result.is_ok() {
            self.push(value, What::Replace, start, start);
        } else {
            self.written.truncate(start);
        }
        result
    }

    /// Takes a member or element away, with its name and exactly one comma. The root becomes `null`.
    pub fn remove(&mut self, value: Value<'t>) {
        let start = self.written.len();
        self.push(value, What::Remove, start, start);
    }

    /// Appends a member to an object, behind those it has. The caller sees to it that the name is new.
    /// A value that is no object has no members and stays as it is.
    pub fn insert_member(&mut self, object: Value<'t>, name: &str, raw_json: &[u8]) {
        if object.kind() != Kind::Object {
            return;
        }
        let start = self.written.len();
        self.written.reserve(name.len() + raw_json.len() + 3);
        quote_into(name, &mut self.written);
        self.written.push(b':');
        self.written.extend_from_slice(raw_json);
        self.push(object, What::Insert, start, start);
    }

    /// Puts text around a value that stays (or around what replaces it).
    pub fn wrap(&mut self, value: Value<'t>, before: &[u8], after: &[u8]) {
        let start = self.written.len();
        self.written.extend_from_slice(before);
        let middle = self.written.len();
        self.written.extend_from_slice(after);
        self.push(value, What::Wrap, start, middle);
    }

    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty() && !self.foreign
    }

    /// The edited text. Every byte outside the edits is the original's.
    pub fn apply(mut self) -> Vec<u8> {
        if self.foreign {
            return b"null".to_vec();
        }
        if self.plain {
            return self.apply_plain();
        }
        // Stable: edits of one value stay in the order of their calls.
        self.edits.sort_by_key(|edit| edit.index);
        let mut pieces = self.pieces();
        pieces.sort_by_key(|piece| (piece.start, piece.rank));
        emit(self.tree.text(), &pieces)
    }

    /// Replacements in document order: what lies between is copied, what lies below one is passed over.
    fn apply_plain(&self) -> Vec<u8> {
        let text = self.tree.text();
        let mut out = Vec::with_capacity(text.len() + self.written.len());
        let mut at = 0;
        let mut swallowed_until = 0;
        for edit in &self.edits {
            let Some(node) = self.tree.nodes.get(edit.index as usize) else {
                continue;
            };
            if edit.index < swallowed_until {
                continue;
            }
            out.extend_from_slice(text.get(at..node.start as usize).unwrap_or_default());
            out.extend_from_slice(self.text(edit.start..edit.end));
            at = node.end as usize;
            swallowed_until = node.next;
        }
        out.extend_from_slice(text.get(at..).unwrap_or_default());
        out
    }

    /// Keeps an edit whose text is the buffer's from `start` on.
    fn push(&mut self, value: Value<'t>, what: What, start: usize, middle: usize) {
        self.foreign |= !std::ptr::eq(self.tree, value.tree);
        let behind = self
            .edits
            .last()
            .is_none_or(|last| last.index < value.index);
        self.plain &= behind && what == What::Replace;
        self.edits.push(Edit {
            index: value.index,
            what,
            start,
            middle,
            end: self.written.len(),
        });
    }

    /// Turns edits, sorted by value, into pieces that do not overlap.
    fn pieces(&self) -> Vec<Piece<'_>> {
        let mut pieces = Vec::with_capacity(self.edits.len() + 4);
        // Members and elements to take away, as (container, itself).
        let mut gone: Vec<(u32, u32)> = Vec::new();
        let mut inserted: Vec<(u32, &[u8])> = Vec::new();
        let mut swallowed_until = 0;
        for group in self.edits.chunk_by(|left, right| left.index == right.index) {
            let Some(value) = group.first().and_then(|edit| self.value(edit.index)) else {
                continue;
            };
            if value.index < swallowed_until {
                continue;
            }
            if group.iter().any(|edit| edit.what == What::Remove) {
                if value.parent().is_none() {
                    pieces.push(Piece::cut(value.node.start, value.node.end, b"null"));
                } else {
                    gone.push((value.node.parent, value.index));
                }
                swallowed_until = value.node.next;
                continue;
            }
            self.wraps(value, group, &mut pieces);
            let of = |what| group.iter().filter(move |edit| edit.what == what);
            if let Some(edit) = of(What::Replace).next_back() {
                let text = self.text(edit.start..edit.end);
                pieces.push(Piece::cut(value.node.start, value.node.end, text));
                swallowed_until = value.node.next;
                continue;
            }
            inserted.extend(
                of(What::Insert).map(|edit| (value.index, self.text(edit.start..edit.end))),
            );
        }
        gone.sort_unstable();
        self.cuts(&gone, &mut pieces);
        self.insertions(&inserted, &gone, &mut pieces);
        pieces
    }

    /// Takes away each child with one comma: the one before it if anything before it stays, else the one behind it.
    fn cuts(&self, gone: &[(u32, u32)], pieces: &mut Vec<Piece<'_>>) {
        for group in gone.chunk_by(|left, right| left.0 == right.0) {
            let Some(container) = group.first().and_then(|&(parent, _)| self.value(parent)) else {
                continue;
            };
            let mut left = group.iter().map(|&(_, index)| index).peekable();
            let mut stays_before = false;
            let mut end_before = 0;
            let mut children = container.children().peekable();
            while let Some(child) = children.next() {
                if left.next_if_eq(&child.index).is_none() {
                    stays_before = true;
                } else if stays_before {
                    pieces.push(Piece::cut(end_before, child.node.end, b""));
                } else {
                    let end = children.peek().map_or(child.node.end, |next| outset(*next));
                    pieces.push(Piece::cut(outset(child), end, b""));
                }
                end_before = child.node.end;
                if left.peek().is_none() {
                    break;
                }
            }
        }
    }

    /// Appends members before the closing brace; the first needs no comma if no member stays.
    fn insertions<'e>(
        &self,
        inserted: &[(u32, &'e [u8])],
        gone: &[(u32, u32)],
        pieces: &mut Vec<Piece<'e>>,
    ) {
        for group in inserted.chunk_by(|left, right| left.0 == right.0) {
            let Some(object) = group.first().and_then(|&(index, _)| self.value(index)) else {
                continue;
            };
            let stays = object
                .children()
                .any(|member| gone.binary_search(&(object.index, member.index)).is_err());
            let brace = object.node.end - 1;
            for (position, &(_, text)) in group.iter().enumerate() {
                pieces.push(Piece {
                    start: brace,
                    end: brace,
                    rank: Rank::Insert(position),
                    text,
                    comma: stays || position > 0,
                });
            }
        }
    }

    fn wraps<'e>(&'e self, value: Value<'_>, group: &[Edit], pieces: &mut Vec<Piece<'e>>) {
        for (call, edit) in group.iter().enumerate() {
            if edit.what != What::Wrap {
                continue;
            }
            let mut insert = |at: u32, rank: Rank, text: Range<usize>| {
                pieces.push(Piece {
                    start: at,
                    end: at,
                    rank,
                    text: self.text(text),
                    comma: false,
                });
            };
            let front = Rank::Before(std::cmp::Reverse(call));
            insert(value.node.start, front, edit.start..edit.middle);
            insert(value.node.end, Rank::After(call), edit.middle..edit.end);
        }
    }

    fn text(&self, range: Range<usize>) -> &[u8] {
        self.written.get(range).unwrap_or_default()
    }

    fn value(&self, index: u32) -> Option<Value<'t>> {
        let node = self.tree.nodes.get(index as usize)?;
        Some(Value {
            tree: self.tree,
            node,
            index,
        })
    }
}

impl std::fmt::Debug for Splice<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Splice")
            .field("edits", &self.edits.len())
            .finish()
    }
}

/// Where a member's name, or an element, starts.
fn outset(child: Value<'_>) -> u32 {
    child.node.key_start.min(child.node.start)
}
