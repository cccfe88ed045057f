//! Dates with more than their year: by numbers, and by the names of months in English.

use std::ops::Range;

use super::context::Context;
use super::run::Separator;
use super::scan::Number;
use super::text::{Text, is_space, is_word};

/// The years that are taken for years.
const YEARS: Range<u32> = 1850..2100;
/// What may follow a date of ISO 8601 as its time, in bytes (`T10:30:00.000000+05:00`).
const TIME_MAX: usize = 24;
/// The months, by the letters that tell them and their full names.
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// A date that begins at a number or at the month before it.
pub(super) fn date(number: &Number<'_>) -> Option<Range<usize>> {
    let inside = number.continues(b"-./");
    [
        (!inside).then(|| iso(number)).flatten(),
        (!inside).then(|| by_slashes(number)).flatten(),
        after_month(number),
        (!inside).then(|| before_month(number)).flatten(),
        written_together(number),
    ]
    .into_iter()
    .flatten()
    .max_by_key(Range::len)
}

const fn is_month(month: u32) -> bool {
    matches!(month, 1..=12)
}

const fn is_day(day: u32) -> bool {
    matches!(day, 1..=31)
}

/// `2024-03-12` with or without its time, `2024/3/12`, `2024-03`.
fn iso(number: &Number<'_>) -> Option<Range<usize>> {
    let run = &number.run;
    let (month, day) = (run.group(1), run.group(2));
    let whole = number.end - number.start == 4 && YEARS.contains(&run.value(0));
    if !whole || !month.tight || month.len() > 2 || !is_month(run.value(1)) {
        return None;
    }
    let parted = |by: &[Separator]| by.contains(&month.separator);
    let three = day.tight && day.separator == month.separator;
    if three && day.len() <= 2 && is_day(run.value(2)) {
        let dated = parted(&[Separator::Dash, Separator::Slash, Separator::Dot]);
        return dated.then(|| number.start..time(number.text, day.end));
    }
    let two = parted(&[Separator::Dash, Separator::Slash])
        && month.len() == 2
        && number.text.stands_alone(number.start, month.end)
        && !matches!(number.context(), Context::Other | Context::Version)
        && !three;
    two.then_some(number.start..month.end)
}

/// The end of a date with the time that a `T` joins to it.
fn time(text: Text<'_>, end: usize) -> usize {
    if !text.at(end).eq_ignore_ascii_case(&b'T') || !text.at(end + 1).is_ascii_digit() {
        return end;
    }
    let last = text.skip(end + 1, TIME_MAX, |b| {
        b.is_ascii_digit() || matches!(b, b':' | b'.' | b'+' | b'-' | b'Z')
    });
    text.skip_back(last, last - end, |b| matches!(b, b'.' | b':' | b'+' | b'-'))
}

/// `3/12/2024`, `03-12-24`, `12.3.2024` (either order), `3/2024`, and `3/12` where the word before it tells a date.
fn by_slashes(number: &Number<'_>) -> Option<Range<usize>> {
    let run = &number.run;
    let (second, year) = (run.group(1), run.group(2));
    let parted = matches!(
        second.separator,
        Separator::Slash | Separator::Dash | Separator::Dot
    );
    if run.first().len() > 2 || number.end != run.first().end || !parted {
        return None;
    }
    let days = is_month(run.value(0)) && is_day(run.value(1))
        || is_day(run.value(0)) && is_month(run.value(1));
    let alike = second.separator == year.separator && second.len() <= 2 && days;
    let long = year.len() == 4 && YEARS.contains(&run.value(2));
    if alike && long {
        return Some(number.start..year.end);
    }
    let tight = second.tight && !run.goes_on(3, second.separator);
    let dated = number.context() == Context::Date || second.separator != Separator::Dot;
    if alike && year.len() == 2 && tight && year.tight && dated {
        let plain = number.text.stands_alone(number.start, year.end);
        return plain.then_some(number.start..year.end);
    }
    let month_only = second.tight
        && second.separator != Separator::Dot
        && is_month(run.value(0))
        && second.len() == 4
        && YEARS.contains(&run.value(1))
        && !run.goes_on(2, second.separator);
    if month_only && number.text.stands_alone(number.start, second.end) {
        return Some(number.start..second.end);
    }
    month_and_day(number)
}

/// `3/12` behind a word that tells a date, before none that tells a share or a score.
fn month_and_day(number: &Number<'_>) -> Option<Range<usize>> {
    let (run, text) = (&number.run, number.text);
    let second = run.group(1);
    let formed = second.tight
        && second.separator == Separator::Slash
        && second.len() <= 2
        && is_month(run.value(0))
        && is_day(run.value(1))
        && !run.goes_on(2, Separator::Slash)
        && text.stands_alone(number.start, second.end);
    if !formed {
        return None;
    }
    let told = number.context() == Context::Date || follows_preposition(text, number.start);
    let next = text.skip(second.end, 2, |b| is_space(b) || b == b'-');
    let next_end = text.skip(next, 12, |b| b.is_ascii_alphabetic());
    let measured = text.at(second.end) == b'%'
        || [
            &b"pain"[..],
            b"tab",
            b"tablet",
            b"tablets",
            b"cup",
            b"dose",
            b"strength",
            b"score",
            b"scale",
            b"pill",
            b"inch",
            b"inches",
            b"teaspoon",
            b"strain",
            b"normal",
            b"positive",
            b"of",
        ]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(text.span(next, next_end)));
    (told && !measured).then_some(number.start..second.end)
}

/// Whether the word right before a number is one that dates follow.
fn follows_preposition(text: Text<'_>, start: usize) -> bool {
    let end = text.skip_back(start, 2, |b| is_space(b) || b == b':');
    let word = text.span(text.skip_back(end, 12, is_word), end);
    [
        &b"on"[..],
        b"since",
        b"until",
        b"till",
        b"through",
        b"thru",
        b"seen",
        b"visit",
        b"admitted",
        b"discharged",
        b"scheduled",
        b"appointment",
        b"appt",
        b"dated",
        b"from",
        b"by",
        b"of",
    ]
    .iter()
    .any(|known| known.eq_ignore_ascii_case(word))
}

/// `20240312`, `03121980` and HL7 timestamps, after a word that says so.
fn written_together(number: &Number<'_>) -> Option<Range<usize>> {
    let run = &number.run;
    let length = run.first().len();
    if !matches!(length, 8 | 12 | 14)
        || number.context() != Context::Date && !follows_preposition(number.text, number.start)
    {
        return None;
    }
    let part = |from: usize, to: usize| {
        let digits = run.digits(from, to).iter();
        digits.fold(0, |value, digit| value * 10 + u32::from(*digit))
    };
    let year_first = YEARS.contains(&part(0, 4)) && is_month(part(4, 6)) && is_day(part(6, 8));
    let year_last =
        length == 8 && is_month(part(0, 2)) && is_day(part(2, 4)) && YEARS.contains(&part(4, 8));
    (year_first || year_last).then_some(number.start..number.end)
}

/// `March 3, 2024`, `Mar. 3rd`, `March 3-5, 2024`, `March 2024`, `Mar-03-2024`.
fn after_month(number: &Number<'_>) -> Option<Range<usize>> {
    let (run, text) = (&number.run, number.text);
    let end = text.skip_back(number.start, 3, is_joint);
    let start = text.skip_back(end, 10, |b| b.is_ascii_alphabetic());
    let month = text.span(start, end);
    if is_word(text.before(start)) || !is_month_name(month) {
        return None;
    }
    let length = number.end - number.start;
    if length == 4 && YEARS.contains(&run.value(0)) {
        return Some(start..number.end);
    }
    if length > 2 || !is_day(run.value(0)) || text.at(number.end) == b'%' {
        return None;
    }
    let mut day = ordinal(text, number.end);
    let second = run.group(1);
    if matches!(second.separator, Separator::Dash) && second.len() <= 2 && is_day(run.value(1)) {
        day = ordinal(text, second.end);
    }
    if let Some(year) = year_after(text, day) {
        return Some(start..year);
    }
    let decimal = text.at(day) == b'.' && text.at(day + 1).is_ascii_digit();
    let verb = (month.eq_ignore_ascii_case(b"may") || month.eq_ignore_ascii_case(b"march"))
        && !month.starts_with(b"M");
    (!verb && !decimal && !is_word(text.at(day))).then_some(start..day)
}

/// `3 March 2024`, `3rd of March`, `03-MAR-2024`, `3Mar24`.
fn before_month(number: &Number<'_>) -> Option<Range<usize>> {
    let text = number.text;
    if number.end - number.start > 2 || !is_day(number.run.value(0)) {
        return None;
    }
    let mut from = text.skip(ordinal(text, number.end), 2, is_joint);
    if text.span(from, from + 3).eq_ignore_ascii_case(b"of ") {
        from += 3;
    }
    let end = text.skip(from, 10, |b| b.is_ascii_alphabetic());
    let month = text.span(from, end);
    if !is_month_name(month) {
        return None;
    }
    if let Some(year) = year_after(text, end) {
        return Some(number.start..year);
    }
    let verb = month.eq_ignore_ascii_case(b"may") && !month.starts_with(b"M");
    (!verb && !is_word(text.at(end))).then_some(number.start..end)
}

/// What may stand between the parts of a written date.
const fn is_joint(byte: u8) -> bool {
    is_space(byte) || matches!(byte, b'.' | b',' | b'-' | b'/' | b'\'')
}

/// The end of `st`, `nd`, `rd` or `th`.
fn ordinal(text: Text<'_>, end: usize) -> usize {
    let suffix = text.span(end, end + 2);
    let known = [b"st", b"nd", b"rd", b"th"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(suffix));
    if known && !is_word(text.at(end + 2)) {
        end + 2
    } else {
        end
    }
}

/// The end of a year of four digits, or of two behind an apostrophe, a dash or nothing at all.
fn year_after(text: Text<'_>, end: usize) -> Option<usize> {
    let from = text.skip(end, 3, is_joint);
    let last = text.skip(from, 5, |b| b.is_ascii_digit());
    let short = matches!(text.before(from), b'\'' | b'-' | b'/') || from == end;
    match text.span(from, last) {
        [b'1', b'8' | b'9', _, _] | [b'2', b'0', _, _] => Some(last),
        [_, _] if short && last > end => Some(last),
        _ => None,
    }
}

/// A month's name, or its first three letters (four of September's).
fn is_month_name(word: &[u8]) -> bool {
    let Some(begin) = word.first_chunk::<3>() else {
        return false;
    };
    let begins = |month: &&&str| {
        month
            .as_bytes()
            .first_chunk::<3>()
            .is_some_and(|month| month.eq_ignore_ascii_case(begin))
    };
    MONTHS.iter().find(begins).is_some_and(|month| {
        word.len() == 3
            || month.as_bytes().eq_ignore_ascii_case(word)
            || word.eq_ignore_ascii_case(b"sept")
    })
}
