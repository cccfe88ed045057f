//! A number as people write it: groups of digits with light separators between them.

use super::text::{Text, is_space};

/// The digits of the longest number that is looked for (a card's 19), and one to see that there are more.
const DIGITS_MAX: usize = 20;
/// White space taken for one separator: enough for `\r\n` and a blank.
const SPACES_MAX: usize = 3;

/// What stands between two groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Separator {
    /// Nothing: the first group.
    #[default]
    None,
    /// White space only.
    Space,
    /// A dash, or two.
    Dash,
    /// A dot.
    Dot,
    /// A slash.
    Slash,
    /// Parentheses.
    Parenthesis,
    /// An underscore.
    Underscore,
}

/// Digits that stand together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Group {
    pub(super) start: usize,
    pub(super) end: usize,
    /// What stands before it.
    pub(super) separator: Separator,
    /// Whether that is one byte, no white space around it.
    pub(super) tight: bool,
    /// How many digits the run has up to this group's end.
    pub(super) total: usize,
}

impl Group {
    pub(super) const fn len(&self) -> usize {
        self.end - self.start
    }
}

/// The groups from one digit on, as many as could be one number.
#[derive(Debug)]
pub(super) struct Run {
    digits: [u8; DIGITS_MAX],
    groups: [Group; DIGITS_MAX],
    count: usize,
}

impl Run {
    /// The run that begins at a digit. A group that would make it longer than any number is not part of it.
    pub(super) fn read(text: Text<'_>, start: usize) -> Self {
        let mut run = Self {
            digits: [0; DIGITS_MAX],
            groups: [Group::default(); DIGITS_MAX],
            count: 0,
        };
        let (mut next, mut separator, mut tight, mut total) = (start, Separator::None, true, 0);
        loop {
            let end = text.skip(next, DIGITS_MAX + 1 - total, |b| b.is_ascii_digit());
            let group = text.span(next, end);
            let Some(places) = run.digits.get_mut(total..total + group.len()) else {
                return run;
            };
            for (place, digit) in places.iter_mut().zip(group) {
                *place = digit - b'0';
            }
            total += group.len();
            let Some(slot) = run.groups.get_mut(run.count) else {
                return run;
            };
            *slot = Group {
                start: next,
                end,
                separator,
                tight,
                total,
            };
            run.count += 1;
            let Some(found) = separator_at(text, end) else {
                return run;
            };
            (next, separator) = found;
            tight = next == end + 1;
        }
    }

    /// The groups; the first is empty only if the run is.
    pub(super) fn groups(&self) -> &[Group] {
        self.groups.get(..self.count).unwrap_or_default()
    }

    /// How many digits there are.
    pub(super) fn total(&self) -> usize {
        self.groups().last().map_or(0, |group| group.total)
    }

    pub(super) fn first(&self) -> Group {
        self.group(0)
    }

    /// A group, or an empty one beyond the last.
    pub(super) fn group(&self, number: usize) -> Group {
        self.groups().get(number).copied().unwrap_or_default()
    }

    /// The digits' values from one place to another.
    pub(super) fn digits(&self, from: usize, to: usize) -> &[u8] {
        self.digits.get(from..to).unwrap_or_default()
    }

    /// The number that a group's digits write, of at most four digits; else a value that no calendar has.
    pub(super) fn value(&self, number: usize) -> u32 {
        let group = self.group(number);
        if group.len() == 0 || group.len() > 4 {
            return u32::MAX;
        }
        self.digits(group.total - group.len(), group.total)
            .iter()
            .fold(0, |value, digit| value * 10 + u32::from(*digit))
    }

    /// Whether the first groups have these lengths.
    pub(super) fn begins(&self, lengths: &[usize]) -> bool {
        self.count >= lengths.len()
            && self
                .groups()
                .iter()
                .zip(lengths)
                .all(|(group, length)| group.len() == *length)
    }

    /// The group that ends the first `total` digits, if one does.
    pub(super) fn ends_with(&self, total: usize) -> Option<Group> {
        self.groups()
            .iter()
            .find(|group| group.total == total)
            .copied()
    }

    /// Whether the groups up to one are parted by one and the same separator, and it is no date's slash.
    pub(super) fn is_even(&self, last: Group) -> bool {
        let separator = self.group(1).separator;
        let mut parted = self.groups().iter().skip(1);
        last.start == self.first().start
            || separator != Separator::Slash
                && parted
                    .by_ref()
                    .take_while(|group| group.start <= last.start)
                    .all(|group| group.separator == separator)
    }

    /// Whether the number goes on after its first `count` groups by the separator that it was written with.
    pub(super) fn goes_on(&self, count: usize, separator: Separator) -> bool {
        let next = self.group(count);
        separator != Separator::Space && next.tight && next.separator == separator
    }
}

/// The separator that begins at `start` and the digit after it.
fn separator_at(text: Text<'_>, start: usize) -> Option<(usize, Separator)> {
    let mut i = text.skip(start, SPACES_MAX, is_space);
    let mut separator = if i > start {
        Separator::Space
    } else {
        Separator::None
    };
    if text.at(i) == b')' {
        separator = Separator::Parenthesis;
        i = text.skip(i + 1, SPACES_MAX, is_space);
    }
    let mark = match text.at(i) {
        b'-' => Separator::Dash,
        b'.' => Separator::Dot,
        b'/' => Separator::Slash,
        b'_' => Separator::Underscore,
        _ => Separator::None,
    };
    if mark != Separator::None {
        i += 1;
        if mark == Separator::Dash && text.at(i) == b'-' {
            i += 1;
        }
        if separator != Separator::Parenthesis {
            separator = mark;
        }
        i = text.skip(i, SPACES_MAX, is_space);
    }
    if text.at(i) == b'(' {
        separator = Separator::Parenthesis;
        i += 1;
    }
    (separator != Separator::None && text.at(i).is_ascii_digit()).then_some((i, separator))
}
