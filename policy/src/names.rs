//! Names: folding (case and separators ignored) and the nearest known name.

use std::cmp::min;

/// Names up to this many bytes are folded without an allocation.
pub const INLINE_BYTES: usize = 64;

/// A name's folded bytes.
#[derive(Debug)]
pub enum Folded {
    /// Within [`INLINE_BYTES`].
    Inline([u8; INLINE_BYTES], usize),
    /// Longer, or not ASCII.
    Heap(Vec<u8>),
}

impl Folded {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline(bytes, len) => bytes.get(..*len).unwrap_or_default(),
            Self::Heap(bytes) => bytes,
        }
    }
}

/// Whether two names are one once case and separators are ignored.
#[must_use]
pub fn same(one: &str, other: &str) -> bool {
    fold(one).as_bytes() == fold(other).as_bytes()
}

fn is_separator(c: char) -> bool {
    matches!(c, '_' | '-' | '.' | ' ')
}

/// Folds a name: letters in lower case, `_`, `-`, `.` and spaces left out, so that `dateOfBirth`, `Date-Of-Birth`
/// and `date_of_birth` are one name.
#[must_use]
pub fn fold(name: &str) -> Folded {
    if name.len() <= INLINE_BYTES && name.is_ascii() {
        let mut bytes = [0; INLINE_BYTES];
        let mut len = 0;
        for c in name.bytes().filter(|c| !is_separator(char::from(*c))) {
            if let Some(slot) = bytes.get_mut(len) {
                *slot = c.to_ascii_lowercase();
                len += 1;
            }
        }
        return Folded::Inline(bytes, len);
    }
    let folded: String = name
        .chars()
        .filter(|c| !is_separator(*c))
        .flat_map(char::to_lowercase)
        .collect();
    Folded::Heap(folded.into_bytes())
}

/// The folded bytes of an ASCII name, one by one.
pub(crate) fn folded_ascii(name: &str) -> impl Iterator<Item = u8> + '_ {
    let kept = name.bytes().filter(|byte| !is_separator(char::from(*byte)));
    kept.map(|byte| byte.to_ascii_lowercase())
}

/// Characters of a name that are compared for a suggestion; longer ones get none.
const COMPARED_MAX: usize = 64;

/// The known name nearest to `name`, if it is near enough to be what was meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.chars().count() > COMPARED_MAX {
        return None;
    }
    let folded = |n: &str| String::from_utf8_lossy(fold(n).as_bytes()).into_owned();
    let meant = folded(name);
    let allowed = 1 + meant.chars().count() / 4;
    known
        .into_iter()
        .filter(|k| k.len() <= COMPARED_MAX)
        .map(|k| (distance(&meant, &folded(k)), k))
        .filter(|(d, _)| *d <= allowed)
        .min_by_key(|(d, _)| *d)
        .map(|(_, k)| k)
}

/// Edits (insert, remove, replace, swap two neighbours) from one text to the other: optimal string alignment.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX / 2);
            let mut d = min(at(&last, j + 1), at(&row, j)) + 1;
            d = min(d, at(&last, j) + usize::from(ca != cb));
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(cb) && b.get(j - 1) == Some(ca);
            if swapped {
                d = min(d, at(&before, j - 1) + 1);
            }
            row.push(d);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_separators_are_ignored() {
        let one = fold("date_of_birth");
        for same in [
            "dateOfBirth",
            "Date-Of-Birth",
            "DATE OF BIRTH",
            "date.of.birth",
        ] {
            assert_eq!(fold(same).as_bytes(), one.as_bytes(), "{same}");
        }
        assert_ne!(fold("date_of_birth2").as_bytes(), one.as_bytes());
        assert_eq!(fold("ÄRZTIN_name").as_bytes(), "ärztinname".as_bytes());
        let long = "a_".repeat(100);
        assert_eq!(fold(&long).as_bytes(), "a".repeat(100).as_bytes());
    }

    #[test]
    fn a_slip_finds_the_name_and_a_stranger_does_not() {
        let known = ["session_timeout", "idle_timeout", "realm"];
        assert_eq!(nearest("sesion_timeout", known), Some("session_timeout"));
        assert_eq!(nearest("idleTimeout", known), Some("idle_timeout"));
        assert_eq!(nearest("raelm", known), Some("realm"));
        assert_eq!(nearest("banana", known), None);
    }
}
