//! Typed access to a checked tree. What is not written has the default of the table; what is wrong is `None`, and has
//! been reported.

use super::check::days;
use super::keys::{Key, Shape, find};
use super::tree::{Entry, Node, Place};

/// A mapping that may not be written at all.
#[derive(Clone, Copy)]
pub(crate) struct Section<'t> {
    node: Option<&'t Node>,
    keys: &'static [Key],
    /// Where to point if nothing is written.
    fallback: Place,
}

impl<'t> Section<'t> {
    pub(crate) fn new(node: &'t Node, keys: &'static [Key]) -> Self {
        Self {
            node: Some(node),
            keys,
            fallback: node.place,
        }
    }

    pub(crate) fn is_written(&self) -> bool {
        self.node.is_some()
    }

    pub(crate) fn place(&self) -> Place {
        self.node.map_or(self.fallback, |n| n.place)
    }

    /// Where a key's value is, or else where it would belong.
    pub(crate) fn place_of(&self, name: &'static str) -> Place {
        self.node_of(name).map_or(self.place(), |n| n.place)
    }

    fn key(&self, name: &'static str) -> Option<&'static Key> {
        let key = find(self.keys, name);
        debug_assert!(key.is_some(), "the table has no key {name}");
        #[cfg(test)]
        used::note(self.keys, name);
        key
    }

    pub(crate) fn node_of(&self, name: &'static str) -> Option<&'t Node> {
        self.key(name)?;
        self.node?.entry(name).map(|e| &e.value)
    }

    pub(crate) fn entry_of(&self, name: &'static str) -> Option<&'t Entry> {
        self.key(name)?;
        self.node?.entry(name)
    }

    /// A text, or its default.
    pub(crate) fn text(&self, name: &'static str) -> Option<&'t str> {
        match self.node_of(name) {
            Some(node) => node.text(),
            None => self.key(name)?.default,
        }
    }

    pub(crate) fn owned(&self, name: &'static str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    pub(crate) fn integer(&self, name: &'static str) -> Option<i64> {
        let text = self.text(name)?;
        let (number, low, high) = match self.key(name)?.shape {
            Shape::Integer(low, high) => (text.trim().parse().ok()?, low, high),
            Shape::Days(low, high) => (days(text)?, low, high),
            _ => return None,
        };
        (low..=high).contains(&number).then_some(number)
    }

    pub(crate) fn number<N: TryFrom<i64>>(&self, name: &'static str) -> Option<N> {
        N::try_from(self.integer(name)?).ok()
    }

    pub(crate) fn seconds(&self, name: &'static str) -> Option<std::time::Duration> {
        self.number(name).map(std::time::Duration::from_secs)
    }

    /// A bool; what is wrong reads as its default, and has been reported.
    pub(crate) fn flag(&self, name: &'static str) -> bool {
        let default = self.key(name).and_then(|k| k.default) == Some("true");
        match self.text(name) {
            Some("true") => true,
            Some("false") => false,
            _ => default,
        }
    }

    pub(crate) fn items(&self, name: &'static str) -> &'t [Node] {
        self.node_of(name).map_or(&[], Node::items)
    }

    /// Texts of a list.
    pub(crate) fn texts(&self, name: &'static str) -> Vec<String> {
        let texts = self.items(name).iter().filter_map(Node::text);
        texts.map(str::to_owned).collect()
    }

    /// One text or a list of them, as nodes.
    pub(crate) fn one_or_more(&self, name: &'static str) -> Vec<&'t Node> {
        match self.node_of(name) {
            Some(node) if node.scalar().is_some() => vec![node],
            Some(node) => node.items().iter().collect(),
            None => Vec::new(),
        }
    }

    /// Entries of a mapping whose names are the operator's.
    pub(crate) fn named(&self, name: &'static str) -> &'t [Entry] {
        self.node_of(name).map_or(&[], Node::entries)
    }

    /// A mapping below.
    pub(crate) fn section(&self, name: &'static str) -> Section<'t> {
        let keys = match self.key(name).map(|k| &k.shape) {
            Some(Shape::Map(keys)) => *keys,
            _ => &[],
        };
        Section {
            node: self.node_of(name),
            keys,
            fallback: self.place(),
        }
    }
}

/// Which keys the readers have asked for: a test holds this against the table.
#[cfg(test)]
pub(crate) mod used {
    use super::Key;
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    thread_local! {
        static USED: RefCell<BTreeSet<(usize, &'static str)>> = const { RefCell::new(BTreeSet::new()) };
    }

    pub(crate) fn note(keys: &'static [Key], name: &'static str) {
        USED.with_borrow_mut(|used| used.insert((keys.as_ptr().addr(), name)));
    }

    pub(crate) fn contains(keys: &'static [Key], name: &'static str) -> bool {
        USED.with_borrow(|used| used.contains(&(keys.as_ptr().addr(), name)))
    }
}
