//! Addresses of people and machines on the net: e-mail, web, IP.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::context::Context;
use super::run::Separator;
use super::scan::Number;
use super::text::{LETTER, OTHER, Text, is_word};

/// The longest local part that is looked at; RFC 5321 §4.5.3.1.1 allows 64 bytes, and what is longer is none to be left half.
const LOCAL_MAX: usize = 256;
/// The longest domain (RFC 5321 §4.5.3.1.2), in bytes.
const DOMAIN_MAX: usize = 255;
/// The longest scheme of an address, in bytes.
const SCHEME_MAX: usize = 12;
/// The longest text form of an IPv6 address (RFC 4291 §2.2), in bytes.
const IPV6_MAX: usize = 45;

/// The longest text form of an IPv4 address, in bytes.
const IPV4_MAX: usize = 15;

/// An address around an `@`: `local@domain.tld`, one blank allowed on either side of the sign.
pub(super) fn email(text: Text<'_>, sign: usize) -> Option<Range<usize>> {
    let gap = usize::from(text.before(sign) == b' ');
    let local = |b: u8| is_word(b) || b"!#$%&'*+-/=?^_`{|}~.".contains(&b);
    let mut start = text.skip_back(sign - gap, LOCAL_MAX, local);
    start = text.skip(start, LOCAL_MAX, |b| !is_word(b) && local(b));
    let from = sign + 1 + usize::from(text.at(sign + 1) == b' ');
    let mut end = text.skip(from, DOMAIN_MAX, |b| {
        is_word(b) || matches!(b, b'-' | b'.' | b'_')
    });
    end = text.skip_back(end, end - from, |b| !is_word(b));
    let domain = text.span(from, end);
    let top = domain.iter().rposition(|b| *b == b'.')?;
    let top = domain.get(top + 1..).unwrap_or_default();
    let named = top.len() >= 2 && top.iter().all(|b| b.is_ascii_alphabetic() || *b == LETTER);
    let whole = !domain.starts_with(b".") && start + gap < sign;
    (named && whole).then_some(start..end)
}

/// An address with its scheme, around the `:` of `://`.
pub(super) fn url(text: Text<'_>, colon: usize) -> Option<Range<usize>> {
    if text.at(colon + 1) != b'/' || text.at(colon + 2) != b'/' {
        return None;
    }
    let scheme = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    let start = text.skip_back(colon, SCHEME_MAX, scheme);
    let start = text.skip(start, SCHEME_MAX, |b| !b.is_ascii_alphabetic());
    if start >= colon {
        return None;
    }
    let end = address_end(text, colon + 3);
    (end > colon + 3).then_some(start..end)
}

/// An address that begins `www.`, at its dot.
pub(super) fn www(text: Text<'_>, dot: usize) -> Option<Range<usize>> {
    let start = dot.checked_sub(3)?;
    let called = text.span(start, dot).eq_ignore_ascii_case(b"www");
    if !called || is_word(text.before(start)) || !is_word(text.at(dot + 1)) {
        return None;
    }
    let end = address_end(text, dot + 1);
    text.span(dot + 1, end)
        .contains(&b'.')
        .then_some(start..end)
}

/// An address without any of that, by the end of its host: `example.org`, `clinic.example.com/path`, at the last dot.
pub(super) fn bare(text: Text<'_>, dot: usize) -> Option<Range<usize>> {
    let end = text.skip(dot + 1, 5, |b| b.is_ascii_alphabetic());
    let known = [&b"com"[..], b"org", b"net", b"edu", b"gov", b"info"]
        .iter()
        .any(|top| top.eq_ignore_ascii_case(text.span(dot + 1, end)));
    let goes_on = is_word(text.at(end)) || text.at(end) == b'.' && is_word(text.at(end + 1));
    if !known || goes_on || !is_word(text.before(dot)) {
        return None;
    }
    let host = |b: u8| is_word(b) || matches!(b, b'-' | b'.' | b'_');
    let start = text.skip_back(dot, DOMAIN_MAX, host);
    let start = text.skip(start, DOMAIN_MAX, |b| !is_word(b));
    let path = matches!(text.at(end), b'/' | b':' | b'?' | b'#');
    (start < dot).then(|| start..if path { address_end(text, end) } else { end })
}

/// Where an address ends that goes on from its host: before white space, quotes and brackets, and before the sentence's own marks.
fn address_end(text: Text<'_>, host: usize) -> usize {
    let mut from = host;
    if text.at(host) == b'[' {
        let inner = text.skip(host + 1, IPV6_MAX, |b| {
            b.is_ascii_hexdigit() || matches!(b, b':' | b'.')
        });
        if text.at(inner) != b']' {
            return host;
        }
        from = inner + 1;
    }
    let rest = text.skip(from, usize::MAX - from, |b| {
        (b.is_ascii_graphic() && !b"\"<>[]{}|\\^`".contains(&b)) || b == LETTER || b == OTHER
    });
    text.skip_back(rest, rest - from, |b| {
        b".,;:!?'()*_~/".contains(&b) && b != b'/'
    })
}

/// Four numbers of at most 255 with dots between, no version.
pub(super) fn ipv4(number: &Number<'_>) -> Option<Range<usize>> {
    let groups = number.run.groups().get(..4)?;
    let last = groups.last()?;
    let dotted = groups
        .iter()
        .skip(1)
        .all(|group| group.tight && group.separator == Separator::Dot);
    if !dotted || number.context() == Context::Version || number.continues(b".") {
        return None;
    }
    let text = number.text;
    let written = std::str::from_utf8(text.span(number.start, last.end)).ok()?;
    let right = written.parse::<Ipv4Addr>().is_ok();
    let longer = text.at(last.end) == b'.' && text.at(last.end + 1).is_ascii_digit();
    (right && !longer && text.stands_alone(number.start, last.end))
        .then_some(number.start..last.end)
}

/// An IPv6 address around its first `:`, with a digit in it.
pub(super) fn ipv6(text: Text<'_>, colon: usize) -> Option<Range<usize>> {
    if text.at(colon + 1) != b':' && !text.at(colon + 1).is_ascii_hexdigit() {
        return None;
    }
    let start = text.skip_back(colon, 4, |b| b.is_ascii_hexdigit());
    if is_word(text.before(start)) || text.before(start) == b':' {
        return None;
    }
    let end = text.skip(colon, IPV6_MAX, |b| b.is_ascii_hexdigit() || b == b':');
    let trimmed = text.skip_back(end, end - colon, |b| b == b':');
    // An IPv4 address as its last part (RFC 4291 §2.2, 3).
    let mixed = text.skip(end, IPV4_MAX, |b| b.is_ascii_digit() || b == b'.');
    let mixed = text.skip_back(mixed, mixed - end, |b| b == b'.');
    let parses = |end: usize| {
        let written = std::str::from_utf8(text.span(start, end)).ok()?;
        let address: Ipv6Addr = written.parse().ok()?;
        let digit = written.bytes().any(|b| b.is_ascii_digit());
        (digit && !address.is_unspecified() && !is_word(text.at(end))).then_some(start..end)
    };
    parses(mixed)
        .or_else(|| parses(end))
        .or_else(|| parses(trimmed))
}
