//! Numbers of digits alone: Social Security, telephone and fax, payment cards, national providers.

use std::ops::Range;

use super::context::Context;
use super::run::{Run, Separator};
use super::scan::Number;
use super::text::{is_space, is_word};

/// The digits of a Social Security number.
const SSN_DIGITS: usize = 9;
/// The digits of a North American telephone number.
const PHONE_DIGITS: usize = 10;
/// The digits of a telephone number without its area.
const LOCAL_DIGITS: usize = 7;
/// The digits of an international telephone number (ITU-T E.164, with the country's).
const INTERNATIONAL: Range<usize> = 8..16;
/// The digits of a payment card's number (ISO/IEC 7812-1, the lengths that are issued).
const CARD: Range<usize> = 13..20;
/// The digits of a national provider identifier (45 CFR 162.406).
const NPI_DIGITS: usize = 10;
/// What the Luhn sum of the prefix 80840 adds to an NPI's.
const NPI_PREFIX_SUM: u32 = 24;
/// The longest extension of a telephone number, in digits.
const EXTENSION_MAX: usize = 6;

/// Social Security: three, two and four digits that the rules of areas, groups and serials allow; any nine after a word that says so.
pub(super) fn ssn(number: &Number<'_>) -> Option<Range<usize>> {
    let run = &number.run;
    if run.total() < SSN_DIGITS {
        return None;
    }
    let says_so = number.context() == Context::Ssn;
    if says_so
        && let Some(last) = run.ends_with(SSN_DIGITS)
        && (run.is_even(last) || run.begins(&[3, 2, 4]))
    {
        return Some(number.start..last.end);
    }
    let last = run.group(2);
    let formed = run.begins(&[3, 2, 4])
        && is_ssn(run)
        && (run.group(1).separator == last.separator
            || (run.group(1).separator != Separator::Space && last.separator != Separator::Space));
    let inside = run.goes_on(3, last.separator) || number.continues(b"-.");
    (formed && !inside).then_some(number.start..last.end)
}

/// Area not 000, 666 or 900 and above, group not 00, serial not 0000 (Social Security Administration, since 2011).
fn is_ssn(run: &Run) -> bool {
    let area = run.value(0);
    area != 0 && area != 666 && area < 900 && run.value(1) != 0 && run.value(2) != 0
}

/// A telephone number, or a fax number where the nearest word says so.
pub(super) fn phone(number: &Number<'_>, fax: bool) -> Option<Range<usize>> {
    if number.run.total() < LOCAL_DIGITS || fax != (number.context() == Context::Fax) {
        return None;
    }
    let end = north_american(number).or_else(|| international(number))?;
    let text = number.text;
    let mut start = number.start;
    if text.before(start) == b'(' {
        start -= 1;
    }
    if text.before(start) == b'+' {
        start -= 1;
    }
    Some(start..extension(number, end))
}

fn north_american(number: &Number<'_>) -> Option<usize> {
    let run = &number.run;
    let says_so = matches!(number.context(), Context::Phone | Context::Fax);
    let plus = number.text.before(number.start) == b'+';
    let country = usize::from(run.digits(0, 1) == [1]);
    let whole = [PHONE_DIGITS + country, PHONE_DIGITS]
        .into_iter()
        .find_map(|total| run.ends_with(total).filter(|last| run.is_even(*last)));
    if (says_so || plus)
        && let Some(last) = whole
    {
        return Some(last.end);
    }
    let local = run.group(1);
    if says_so
        && run.begins(&[3, 4])
        && matches!(local.separator, Separator::Dash | Separator::Dot)
        && number.text.stands_alone(number.start, local.end)
    {
        return Some(local.end);
    }
    let skip = if run.begins(&[1, 3]) { country } else { 0 };
    let area = run.groups().get(skip..).unwrap_or_default();
    let mut lengths = area.iter().map(super::run::Group::len);
    let formed = match (lengths.next(), lengths.next(), lengths.next()) {
        (Some(3), Some(3), Some(4)) => 3,
        (Some(3), Some(7), _) if run.group(skip + 1).separator != Separator::Space => 2,
        _ => return None,
    };
    let last = run.group(skip + formed - 1);
    let allowed = says_so || is_nanp(run.digits(skip, skip + PHONE_DIGITS));
    let one_way = run.group(skip + 1).separator == Separator::Parenthesis
        || (run.group(skip + 1).separator == Separator::Space)
            == (last.separator == Separator::Space);
    let inside = run.goes_on(skip + formed, last.separator) || number.continues(b"-.");
    (allowed && one_way && !inside).then_some(last.end)
}

/// NXX-NXX-XXXX: neither area nor exchange begins with 0 or 1 or ends in 11, and no area has a 9 in its middle (NANPA).
fn is_nanp(digits: &[u8]) -> bool {
    let &[a, b, c, d, e, f, ..] = digits else {
        return false;
    };
    a >= 2 && b != 9 && (b, c) != (1, 1) && d >= 2 && (e, f) != (1, 1)
}

/// `+`, the country and the rest: as many groups as one number can have.
fn international(number: &Number<'_>) -> Option<usize> {
    let plus = number.text.before(number.start) == b'+';
    let fits = |group: &&super::run::Group| {
        INTERNATIONAL.contains(&group.total) && group.separator != Separator::Slash
    };
    (plus && number.run.digits(0, 1) != [0])
        .then(|| number.run.groups().iter().rev().find(fits))?
        .map(|group| group.end)
}

/// The end of a telephone number with its extension.
fn extension(number: &Number<'_>, end: usize) -> usize {
    let text = number.text;
    let word = text.skip(end, 3, |b| is_space(b) || b == b',');
    let word_end = text.skip(word, 9, |b| b.is_ascii_alphabetic());
    let known = [&b"x"[..], b"ext", b"extn", b"extension"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(text.span(word, word_end)));
    let digits = text.skip(word_end, 3, |b| {
        is_space(b) || matches!(b, b'.' | b':' | b'#')
    });
    let last = text.skip(digits, EXTENSION_MAX, |b| b.is_ascii_digit());
    if known && last > digits { last } else { end }
}

/// A payment card: the check digit, an issuer's range and its length; groups by one separator.
pub(super) fn card(number: &Number<'_>) -> Option<Range<usize>> {
    let run = &number.run;
    if run.total() < CARD.start {
        return None;
    }
    let says_so = number.context() == Context::Card;
    let mut candidates = run.groups().iter().enumerate().rev();
    candidates.find_map(|(count, last)| {
        let digits = run.digits(0, last.total);
        let groups = run.groups().get(..=count).unwrap_or_default();
        let separator = run.group(1).separator;
        let even = groups
            .iter()
            .skip(1)
            .all(|group| group.separator == separator && (says_so || group.len() >= 3));
        let alone = number.text.stands_alone(number.start, last.end);
        let card =
            CARD.contains(&digits.len()) && is_issued(digits) && luhn(digits).is_multiple_of(10);
        (card && alone && (even || says_so) && (says_so || run.first().len() >= 3))
            .then_some(number.start..last.end)
    })
}

/// The ranges of the issuers' networks and the lengths that each gives out (ISO/IEC 7812 as the networks publish them).
fn is_issued(digits: &[u8]) -> bool {
    let prefix = digits
        .iter()
        .take(6)
        .fold(0, |prefix, digit| prefix * 10 + u32::from(*digit));
    match prefix {
        400_000..=499_999 => matches!(digits.len(), 13 | 16 | 19),
        510_000..=559_999 | 222_100..=272_099 => digits.len() == 16,
        340_000..=349_999 | 370_000..=379_999 => digits.len() == 15,
        300_000..=305_999 | 360_000..=369_999 | 380_000..=399_999 => {
            matches!(digits.len(), 14 | 16)
        }
        352_800..=358_999 => digits.len() == 16,
        601_100..=601_199 | 644_000..=659_999 | 620_000..=629_999 => digits.len() >= 16,
        _ => false,
    }
}

/// The Luhn sum (ISO/IEC 7812-1 annex B).
fn luhn(digits: &[u8]) -> u32 {
    digits
        .iter()
        .rev()
        .zip([false, true].into_iter().cycle())
        .map(|(digit, doubled)| match u32::from(*digit) {
            digit if !doubled => digit,
            digit if digit < 5 => digit * 2,
            digit => digit * 2 - 9,
        })
        .sum()
}

/// A national provider: ten digits that begin with 1 or 2 and whose check digit is right behind the prefix 80840.
pub(super) fn npi(number: &Number<'_>) -> Option<Range<usize>> {
    let run = &number.run;
    if run.total() < NPI_DIGITS || !matches!(run.digits(0, 1), [1 | 2]) {
        return None;
    }
    let last = match number.context() {
        Context::Npi => run.ends_with(NPI_DIGITS)?,
        Context::Other | Context::Phone | Context::Fax => return None,
        _ if run.first().len() == NPI_DIGITS => run.first(),
        _ => return None,
    };
    let digits = run.digits(0, NPI_DIGITS);
    let right = (luhn(digits) + NPI_PREFIX_SUM).is_multiple_of(10);
    let alone = !is_word(number.text.before(number.start)) && !is_word(number.text.at(last.end));
    let inside = number.continues(b"-.") || run.goes_on(1, Separator::Dot);
    (right && alone && !inside).then_some(number.start..last.end)
}
