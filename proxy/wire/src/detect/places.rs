//! ZIP codes and ages: short numbers that only their surroundings tell.

use std::ops::Range;

use super::context::Context;
use super::run::Separator;
use super::scan::Number;
use super::text::{Text, is_space, is_word};

/// The ages that identify (45 CFR 164.514(b)(2)(i)(C)), as far as people get.
const AGES: Range<u32> = 90..126;

/// States with the last word of their names and the first three digits that their ZIP codes begin with (USPS Publication 65).
const STATES: [(&str, &str, Range<u32>); 60] = [
    ("AL", "alabama", 350..370),
    ("AK", "alaska", 995..1000),
    ("AZ", "arizona", 850..866),
    ("AR", "arkansas", 716..730),
    ("CA", "california", 900..962),
    ("CO", "colorado", 800..817),
    ("CT", "connecticut", 60..70),
    ("DE", "delaware", 197..200),
    ("DC", "columbia", 200..206),
    ("FL", "florida", 320..350),
    ("GA", "georgia", 300..320),
    ("GA", "georgia", 398..400),
    ("HI", "hawaii", 967..969),
    ("ID", "idaho", 832..839),
    ("IL", "illinois", 600..630),
    ("IN", "indiana", 460..480),
    ("IA", "iowa", 500..529),
    ("KS", "kansas", 660..680),
    ("KY", "kentucky", 400..428),
    ("LA", "louisiana", 700..715),
    ("ME", "maine", 39..50),
    ("MD", "maryland", 206..220),
    ("MA", "massachusetts", 10..28),
    ("MA", "massachusetts", 55..56),
    ("MI", "michigan", 480..500),
    ("MN", "minnesota", 550..568),
    ("MS", "mississippi", 386..398),
    ("MO", "missouri", 630..659),
    ("MT", "montana", 590..600),
    ("NE", "nebraska", 680..694),
    ("NV", "nevada", 889..899),
    ("NH", "hampshire", 30..39),
    ("NJ", "jersey", 70..90),
    ("NM", "mexico", 870..885),
    ("NY", "york", 100..150),
    ("NY", "york", 5..6),
    ("NY", "york", 63..64),
    ("NC", "carolina", 270..290),
    ("ND", "dakota", 580..589),
    ("OH", "ohio", 430..460),
    ("OK", "oklahoma", 730..750),
    ("OR", "oregon", 970..980),
    ("PA", "pennsylvania", 150..197),
    ("PR", "rico", 6..10),
    ("RI", "island", 28..30),
    ("SC", "carolina", 290..300),
    ("SD", "dakota", 570..578),
    ("TN", "tennessee", 370..386),
    ("TX", "texas", 750..800),
    ("TX", "texas", 885..886),
    ("UT", "utah", 840..848),
    ("VT", "vermont", 50..60),
    ("VI", "islands", 8..9),
    ("VA", "virginia", 201..202),
    ("VA", "virginia", 220..247),
    ("WA", "washington", 980..995),
    ("WV", "virginia", 247..269),
    ("WI", "wisconsin", 530..550),
    ("WY", "wyoming", 820..832),
    ("GU", "guam", 969..970),
];

/// Five digits behind a state that has them or a word that says ZIP; with four more, by themselves.
pub(super) fn zip(number: &Number<'_>) -> Option<Range<usize>> {
    let (run, text) = (&number.run, number.text);
    let first = run.first();
    if first.len() != 5 || number.continues(b"-./") || is_word(text.before(number.start)) {
        return None;
    }
    let prefix = run
        .digits(0, 3)
        .iter()
        .fold(0, |value, digit| value * 10 + u32::from(*digit));
    let told = number.context() == Context::Zip || follows_state(text, number.start, prefix);
    let more = run.group(1);
    let nine = more.len() == 4
        && more.separator == Separator::Dash
        && !is_word(text.at(more.end))
        && !run.goes_on(2, Separator::Dash);
    if nine && (told || more.tight && prefix >= 5 && number.context() != Context::Other) {
        return Some(number.start..more.end);
    }
    let after = (text.at(first.end), text.at(first.end + 1));
    let goes_on = matches!(after.0, b'-' | b'.' | b',' | b'/') && after.1.is_ascii_digit();
    (told && !goes_on && !is_word(after.0)).then_some(number.start..first.end)
}

/// Whether a state stands right before a number that begins with three digits of its own.
fn follows_state(text: Text<'_>, start: usize, prefix: u32) -> bool {
    let end = text.skip_back(start, 3, |b| is_space(b) || matches!(b, b',' | b'.' | b'-'));
    let begin = text.skip_back(end, 14, |b| b.is_ascii_alphabetic());
    let word = text.span(begin, end);
    if word.len() < 2 || end == start || is_word(text.before(begin)) {
        return false;
    }
    STATES.iter().any(|(short, name, prefixes)| {
        let named = short.as_bytes() == word || name.as_bytes().eq_ignore_ascii_case(word);
        named && prefixes.contains(&prefix)
    })
}

/// An age of 90 or more: behind `age`, before `years old` and its short forms, or a decade behind `her`.
pub(super) fn age(number: &Number<'_>) -> Option<Range<usize>> {
    let text = number.text;
    let (start, end) = (number.start, number.end);
    let age = end - start <= 3 && AGES.contains(&number.run.value(0));
    let before = text.before(start);
    if !age || is_word(before) || matches!(before, b'.' | b'/') || number.continues(b"-,") {
        return None;
    }
    let after = (text.at(end), text.at(end + 1));
    let goes_on = matches!(after.0, b'.' | b',' | b'/' | b':') && after.1.is_ascii_digit();
    let told = number.context() == Context::Age && !goes_on && after.0 != b'%' && !is_word(after.0);
    let shown =
        is_years_old(text, end) || is_decade(text, start, end) || is_stated(text, start, end);
    (told || shown).then_some(start..end)
}

/// `she is 95` with the clause's end, or another person or clause, behind it: no unit, no share.
fn is_stated(text: Text<'_>, start: usize, end: usize) -> bool {
    let (from, verb) = word_before(text, start);
    let (_, person) = word_before(text, from);
    let next = text.skip(end, 1, is_space);
    let next = text.span(next, text.skip(next, 6, |b| b.is_ascii_alphabetic()));
    let ends =
        matches!(text.at(end), b'.' | b',' | b';' | b')') && !text.at(end + 1).is_ascii_digit();
    is(verb, &[b"is", b"was"])
        && is(
            person,
            &[
                b"he", b"she", b"who", b"patient", b"pt", b"mother", b"father", b"mom", b"dad",
            ],
        )
        && (ends || is(next, &[b"and", b"with", b"who", b"but", b"now"]))
}

/// Whether a word is one of these, whatever its case.
fn is(word: &[u8], known: &[&[u8]]) -> bool {
    known.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// The word that ends one blank or dash before a place, and where it begins.
fn word_before(text: Text<'_>, end: usize) -> (usize, &[u8]) {
    let to = text.skip_back(end, 1, |b| is_space(b) || b == b'-');
    let from = text.skip_back(to, 8, |b| b.is_ascii_alphabetic());
    (from, text.span(from, to))
}

/// `-year-old`, ` years old`, ` yrs of age`, ` year female`, `yo`, `y/o`, `y.o.`.
fn is_years_old(text: Text<'_>, end: usize) -> bool {
    let from = text.skip(end, 2, |b| is_space(b) || b == b'-');
    let to = text.skip(from, 6, |b| b.is_ascii_alphabetic());
    let word = text.span(from, to);
    if is(word, &[b"yo", b"yof", b"yom"]) {
        return true;
    }
    let mut next = text.skip(to, 2, |b| is_space(b) || matches!(b, b'.' | b'-' | b'/'));
    let mut next_end = text.skip(next, 10, |b| b.is_ascii_alphabetic());
    if is(word, &[b"y"]) {
        return is(text.span(next, next_end), &[b"o"]);
    }
    if is(text.span(next, next_end), &[b"of"]) {
        next = text.skip(next_end, 1, is_space);
        next_end = text.skip(next, 10, |b| b.is_ascii_alphabetic());
    }
    let person: &[&[u8]] = &[
        b"old",
        b"age",
        b"female",
        b"male",
        b"man",
        b"woman",
        b"lady",
        b"gentleman",
        b"patient",
    ];
    is(word, &[b"year", b"years", b"yr", b"yrs"]) && is(text.span(next, next_end), person)
}

/// `90s` behind a person's word, as in "in her late 90s".
fn is_decade(text: Text<'_>, start: usize, end: usize) -> bool {
    let apostrophe = usize::from(text.at(end) == b'\'');
    let decade = text.at(end + apostrophe) == b's' && !is_word(text.at(end + apostrophe + 1));
    let (from, word) = word_before(text, start);
    let person = if is(word, &[b"early", b"mid", b"late", b"upper"]) {
        word_before(text, from).1
    } else {
        word
    };
    decade && is(person, &[b"his", b"her", b"their"])
}
