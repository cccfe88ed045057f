//! The rules of tools: by their names, and by patterns for tools that only read.
//!
//! An exact name wins over every pattern. A name that two patterns fit has no rule: which of them its author meant,
//! nobody can tell. Patterns fit only what MCP lets a tool be called, so that no client's words pass for a name.

use std::collections::HashMap;

use crate::decide::DenialReason;
use crate::policy::{Grant, Operation};

/// The longest name of a tool, in bytes (MCP 2025-11-25, Tools, Tool Names).
pub const NAME_BYTES_MAX: usize = 128;
/// How many patterns a policy may have.
pub const PATTERNS_MAX: usize = 64;
/// What stands for any text, even none.
const ANY: char = '*';

/// What a pattern may permit: whatever a server adds under its names later changes nothing.
pub(crate) const PATTERN_OPERATIONS: [Operation; 3] =
    [Operation::None, Operation::Search, Operation::Read];

/// The rules of tools.
#[derive(Debug, Default)]
pub(crate) struct Tools {
    pub named: HashMap<String, Grant>,
    pub patterns: Vec<(Pattern, Grant)>,
}

impl Tools {
    /// The one rule of a tool.
    pub(crate) fn find(&self, name: &str) -> Result<&Grant, DenialReason> {
        if let Some(grant) = self.named.get(name) {
            return Ok(grant);
        }
        let mut fitting = self
            .patterns
            .iter()
            .filter(|(pattern, _)| pattern.fits(name));
        match (fitting.next(), fitting.next()) {
            (None, _) => Err(DenialReason::NotListed),
            (Some((_, grant)), None) => Ok(grant),
            (Some(_), Some(_)) => Err(DenialReason::AmbiguousTool),
        }
    }

    /// The rule that is written under a name or a pattern.
    pub(crate) fn written(&self, name: &str) -> Option<&Grant> {
        let pattern = || self.patterns.iter().find(|(p, _)| p.as_str() == name);
        self.named
            .get(name)
            .or_else(|| pattern().map(|(_, grant)| grant))
    }

    /// The same, to be changed while the policy is made.
    pub(crate) fn written_mut(&mut self, name: &str) -> Option<&mut Grant> {
        if let Some(grant) = self.named.get_mut(name) {
            return Some(grant);
        }
        let pattern = self.patterns.iter_mut().find(|(p, _)| p.as_str() == name);
        pattern.map(|(_, grant)| grant)
    }

    /// Names and patterns, as they are written.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let patterns = self.patterns.iter().map(|(pattern, _)| pattern.as_str());
        self.named.keys().map(String::as_str).chain(patterns)
    }
}

/// A name with `*` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern(String);

impl Pattern {
    /// Whether a name is a pattern.
    pub(crate) fn is_one(name: &str) -> bool {
        name.contains(ANY)
    }

    /// The pattern; none for a text that fits no name of a tool.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let fits = text.chars().all(|c| c == ANY || is_of_a_name(c));
        (Self::is_one(text) && text.len() <= NAME_BYTES_MAX && fits).then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether every name fits.
    pub(crate) fn fits_all(&self) -> bool {
        self.0.chars().all(|c| c == ANY)
    }

    /// Whether a name fits.
    pub(crate) fn fits(&self, name: &str) -> bool {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_of_a_name) {
            return false;
        }
        let Some((first, rest)) = self.0.split_once(ANY) else {
            return self.0 == name;
        };
        let (middle, last) = rest.rsplit_once(ANY).unwrap_or(("", rest));
        let between = name.strip_prefix(first).and_then(|n| n.strip_suffix(last));
        let Some(mut between) = between else {
            return false;
        };
        // What stands between is found as early as it can be: if any choice fits, the earliest does.
        middle
            .split(ANY)
            .all(|part| match between.split_once(part) {
                Some((_, behind)) => {
                    between = behind;
                    true
                }
                None => false,
            })
    }

    /// Whether some name fits both.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        let (one, other) = (self.0.as_bytes(), other.0.as_bytes());
        // `row[j]`: some text fits the first i bytes of one pattern and the first j of the other.
        let mut row = vec![false; other.len() + 1];
        for i in 0..=one.len() {
            let mut above_left = false;
            for j in 0..=other.len() {
                let above = row.get(j).copied().unwrap_or(false) && i > 0;
                let left = j > 0 && row.get(j - 1).copied().unwrap_or(false);
                let a = i.checked_sub(1).and_then(|i| one.get(i)).copied();
                let b = j.checked_sub(1).and_then(|j| other.get(j)).copied();
                let fits = match (a, b) {
                    (None, None) => true,
                    // A star takes nothing, or whatever the other has there.
                    (Some(b'*'), _) | (_, Some(b'*')) => above || left,
                    (Some(a), Some(b)) => above_left && a == b,
                    _ => false,
                };
                above_left = above;
                if let Some(place) = row.get_mut(j) {
                    *place = fits;
                }
            }
        }
        row.last().copied().unwrap_or(false)
    }
}

/// The characters of a tool's name (MCP 2025-11-25, Tools, Tool Names), and `/`, which servers before it used.
fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).expect("a pattern")
    }

    #[test]
    fn a_star_is_any_text_even_none() {
        for (text, fits, not) in [
            (
                "lab_*",
                vec!["lab_", "lab_list", "lab_a.b"],
                vec!["lab", "xlab_", "Lab_x", ""],
            ),
            ("*_read", vec!["_read", "x_read"], vec!["read", "x_read2"]),
            (
                "a*b*c",
                vec!["abc", "axxbyyc", "abbc", "abcc"],
                vec!["acb", "ab", "abcd"],
            ),
            ("*a*", vec!["a", "bab"], vec!["b"]),
            ("ab*ba", vec!["abba", "abxba"], vec!["aba", "ab", "ba"]),
            ("*", vec!["x"], vec!["", "a b", "ä", "a\n"]),
        ] {
            for name in fits {
                assert!(pattern(text).fits(name), "{text} {name}");
            }
            for name in not {
                assert!(!pattern(text).fits(name), "{text} {name}");
            }
        }
        assert!(!pattern("*").fits(&"a".repeat(NAME_BYTES_MAX + 1)));
    }

    #[test]
    fn patterns_that_share_a_name_meet() {
        for (one, other, meet) in [
            ("lab_*", "*_list", true),
            ("lab_*", "rad_*", false),
            ("a*", "*", true),
            ("a*b", "a*c", false),
            ("*a*", "*b*", true),
            ("ab*", "a*b", true),
        ] {
            assert_eq!(pattern(one).meets(&pattern(other)), meet, "{one} {other}");
            assert_eq!(pattern(other).meets(&pattern(one)), meet, "{other} {one}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn a_pattern_fits_what_a_regular_expression_would(text in "[ab*]{0,6}\\*[ab*]{0,6}", name in "[ab]{1,10}") {
            let same = format!("(?-u)\\A{}\\z", text.replace('*', "[ab]*"));
            let same = regex_lite::Regex::new(&same).expect("a regular expression");
            prop_assert_eq!(pattern(&text).fits(&name), same.is_match(&name));
        }

        #[test]
        fn patterns_that_fit_one_name_meet(one in "[ab*]{0,4}\\*[ab*]{0,4}", other in "[ab*]{0,4}\\*[ab*]{0,4}", name in "[ab]{1,8}") {
            let (one, other) = (pattern(&one), pattern(&other));
            prop_assert!(!(one.fits(&name) && other.fits(&name)) || one.meets(&other));
        }
    }
}
