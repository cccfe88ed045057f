//! The configuration's hash: SHA-256 of the merged document as written.

use sha2::{Digest as _, Sha256};

use crate::document::report::Report;
use crate::document::tree::{Kind, Node};

/// Hashes a tree: mappings by sorted key, so that neither the order of keys nor that of files matters. Variables stay
/// as written (`${JWT_SECRET}`); a literal secret counts as its place in the tree alone.
pub(crate) fn of(tree: &Node, report: &Report<'_>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    node(tree, report, &mut hasher);
    hasher.finalize().into()
}

fn node(at: &Node, report: &Report<'_>, hasher: &mut Sha256) {
    match &at.kind {
        Kind::Null => hasher.update(b"0"),
        Kind::Scalar(_) if report.is_hidden(at.place) => hasher.update(b"*"),
        Kind::Scalar(scalar) => {
            // `1` and `"1"` are different values.
            hasher.update(if scalar.plain { b"p" } else { b"q" });
            text(&scalar.written, hasher);
        }
        Kind::List(items) => {
            hasher.update(b"l");
            count(items.len(), hasher);
            for item in items {
                node(item, report, hasher);
            }
        }
        Kind::Map(entries) => {
            hasher.update(b"m");
            count(entries.len(), hasher);
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by(|a, b| a.name.cmp(&b.name));
            for entry in sorted {
                text(&entry.name, hasher);
                node(&entry.value, report, hasher);
            }
        }
    }
}

fn text(text: &str, hasher: &mut Sha256) {
    count(text.len(), hasher);
    hasher.update(text.as_bytes());
}

fn count(n: usize, hasher: &mut Sha256) {
    hasher.update(u64::try_from(n).unwrap_or(u64::MAX).to_be_bytes());
}
