//! A synthetic corpus of clinical prose: sentences with one labelled identifier each, in the shapes that people write, and
//! sentences whose numbers are none. Made from a seed, so that every machine measures the same.
//!
//! It also writes what no detector here can find (an age in words, a bare number without a word beside it), as often as a
//! guess says that people do: a corpus in which everything is found would measure nothing.

use std::ops::Range;

use super::Kind;

mod checked;
mod identifiers;
mod negatives;

/// A sentence, and the identifier that it holds.
pub(super) struct Sentence {
    pub(super) text: String,
    pub(super) label: Option<(Kind, Range<usize>)>,
}

/// Sentences of one seed: `each` of every kind, in every one of which the label is the only identifier, and as many
/// negatives as of all kinds together.
pub(super) fn corpus(seed: u64, each: usize) -> Vec<Sentence> {
    let mut random = Random(seed);
    let mut sentences = Vec::new();
    for kind in Kind::ALL {
        for _ in 0..each {
            sentences.push(labelled(kind, &mut random));
            let text = negatives::negative(&mut random);
            sentences.push(Sentence { text, label: None });
        }
    }
    sentences
}

fn labelled(kind: Kind, random: &mut Random) -> Sentence {
    let (lead, identifier, tail) = identifiers::identifier(kind, random);
    let start = lead.len();
    let end = start + identifier.len();
    Sentence {
        text: lead + &identifier + &tail,
        label: Some((kind, start..end)),
    }
}

/// SplitMix64: enough to shuffle, the same everywhere.
pub(super) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from `from` to `to`, both included.
    fn number(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from + 1)
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[usize::try_from(self.next() % of.len() as u64).expect("an index")]
    }

    /// True once in so many.
    fn once_in(&mut self, times: u64) -> bool {
        self.next().is_multiple_of(times)
    }

    fn digits(&mut self, count: usize) -> String {
        (0..count)
            .map(|_| self.one(&["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]))
            .collect()
    }

    fn letter(&mut self, of: &str) -> char {
        let at = self.next() % of.len() as u64;
        of.chars()
            .nth(usize::try_from(at).expect("an index"))
            .expect("a letter")
    }
}
