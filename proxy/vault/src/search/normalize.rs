//! What makes two spellings of a value the same one, before it is sealed searchably.
//!
//! A normalization drops separators and case, never what tells one value from another: a text that holds something
//! else has no normalized form, so that two people's numbers can't become one.

use super::{SEARCH_VALUE_BYTES_MAX, SearchError};
use crate::json::{self, Content, Document, Order};
use crate::plaintext::Plaintext;
use zeroize::Zeroizing;

/// How a value is normalized. Strings and integers only; an integer stays as it is under each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Normalize {
    /// As it is; only how JSON spells it doesn't matter.
    Exact,
    /// The ASCII digits, without the separators between them (blanks and `-./()+`): social security, phone and card
    /// numbers. A text with anything else has no normalized form.
    Digits,
    /// ASCII letters in capitals, without separators (blanks and `-./_:#`); all else as it is: record numbers.
    Upper,
    /// A date of the Gregorian calendar as `YYYY-MM-DD`, out of ISO 8601's `YYYY-MM-DD` or `YYYYMMDD`, perhaps with a
    /// midnight behind it (`T00:00:00`, fraction and zone allowed). Any other time has no normalized form: it would
    /// be lost.
    Date,
}

impl Normalize {
    /// Every normalization.
    pub const ALL: [Self; 4] = [Self::Exact, Self::Digits, Self::Upper, Self::Date];

    /// The word of the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Digits => "digits",
            Self::Upper => "upper",
            Self::Date => "date",
        }
    }

    /// The JSON text of the normalized value: what a searchable value of these bytes opens to.
    ///
    /// # Errors
    /// [`SearchError::NotSearchable`] or [`SearchError::TooLong`], where sealing it searchably fails alike.
    pub fn normalized(self, value_json: &[u8]) -> Result<Plaintext, SearchError> {
        if value_json.len() > SEARCH_VALUE_BYTES_MAX {
            return Err(SearchError::TooLong);
        }
        // Room for all at once: a growing buffer would leave copies of the value behind.
        let mut out = Zeroizing::new(Vec::with_capacity(longest(value_json.len())));
        self.append(value_json, &mut out)?;
        Plaintext::from_authenticated(out).map_err(|_| SearchError::NotSearchable)
    }

    /// Appends the JSON text of the normalized value; `out` has room for [`longest`] bytes.
    pub(super) fn append(self, value_json: &[u8], out: &mut Vec<u8>) -> Result<(), SearchError> {
        if json::is_plain_string(value_json) {
            // Printable ASCII without escapes: need not be parsed.
            let quoted = value_json.split_first().and_then(|(_, it)| it.split_last());
            let (_, text) = quoted.ok_or(SearchError::NotSearchable)?;
            return self.append_plain(text, out);
        }
        Document::with(value_json, |document| self.append_parsed(document, out))?
    }

    fn append_parsed(self, document: &Document<'_>, out: &mut Vec<u8>) -> Result<(), SearchError> {
        let root = document.root().ok_or(SearchError::NotSearchable)?;
        match root.content {
            Content::Integer => {}
            Content::Text(text) if self == Self::Exact => {
                if document.characters(text).is_empty() {
                    return Err(SearchError::NotSearchable);
                }
            }
            Content::Text(text) => {
                return self.append_escaped(document.characters(text), out);
            }
            _ => return Err(SearchError::NotSearchable),
        }
        json::write(document, Order::Inserted, out);
        Ok(())
    }

    /// Of a text that may be written as it stands, and is then again one that may.
    fn append_plain(self, text: &[u8], out: &mut Vec<u8>) -> Result<(), SearchError> {
        out.push(b'"');
        let begin = out.len();
        self.append_text(text, out)?;
        if out.len() == begin {
            return Err(SearchError::NotSearchable);
        }
        out.push(b'"');
        Ok(())
    }

    /// Of a text that holds other characters, too: normalized, then quoted anew.
    fn append_escaped(self, text: &[u8], out: &mut Vec<u8>) -> Result<(), SearchError> {
        let mut normalized = zeroize::Zeroizing::new(Vec::with_capacity(text.len() + 2));
        self.append_text(text, &mut normalized)?;
        if normalized.is_empty() {
            return Err(SearchError::NotSearchable);
        }
        let text = std::str::from_utf8(&normalized).map_err(|_| SearchError::NotSearchable)?;
        json::quote(text, out);
        Ok(())
    }

    fn append_text(self, text: &[u8], out: &mut Vec<u8>) -> Result<(), SearchError> {
        match self {
            Self::Exact => out.extend_from_slice(text),
            Self::Digits => {
                for byte in text {
                    match byte {
                        b'0'..=b'9' => out.push(*byte),
                        b' ' | b'-' | b'.' | b'/' | b'(' | b')' | b'+' => {}
                        _ => return Err(SearchError::NotSearchable),
                    }
                }
            }
            Self::Upper => out.extend(
                text.iter()
                    .filter(|byte| !matches!(byte, b' ' | b'-' | b'.' | b'/' | b'_' | b':' | b'#'))
                    .map(u8::to_ascii_uppercase),
            ),
            Self::Date => {
                let date = date(text).ok_or(SearchError::NotSearchable)?;
                out.extend_from_slice(&date);
            }
        }
        Ok(())
    }
}

/// Most bytes that a JSON text of `length` bytes normalizes to: a character of one byte may become an escape of six
/// (U+007F), and a date may gain two hyphens.
pub(super) fn longest(length: usize) -> usize {
    length * 6 + 4
}

/// `YYYY-MM-DD`.
fn date(text: &[u8]) -> Option<[u8; 10]> {
    let (date, time) = match text
        .iter()
        .position(|byte| matches!(byte, b'T' | b't' | b' '))
    {
        Some(at) => text.split_at_checked(at)?,
        None => (text, &[][..]),
    };
    if !is_midnight(time) {
        return None;
    }
    let [y1, y2, y3, y4, m1, m2, d1, d2] = match *date {
        [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] => [y1, y2, y3, y4, m1, m2, d1, d2],
        _ => *date.first_chunk().filter(|_| date.len() == 8)?,
    };
    let year = number(&[y1, y2, y3, y4])?;
    let (month, day) = (number(&[m1, m2])?, number(&[d1, d2])?);
    let fits = (1..=days(year, month)).contains(&day);
    fits.then_some([y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2])
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |sum, digit| {
        digit
            .is_ascii_digit()
            .then(|| sum * 10 + u32::from(digit - b'0'))
    })
}

/// The days of a month; 0 for what is no month.
fn days(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        1..=12 => 31,
        _ => 0,
    }
}

/// Nothing, or a time with its separator in front that is midnight in its own zone.
fn is_midnight(time: &[u8]) -> bool {
    let Some((_, time)) = time.split_first() else {
        return true;
    };
    let zone = time
        .iter()
        .position(|byte| matches!(byte, b'Z' | b'z' | b'+' | b'-'));
    let Some((clock, zone)) = time.split_at_checked(zone.unwrap_or(time.len())) else {
        return false;
    };
    let (clock, fraction) = match clock.iter().position(|byte| matches!(byte, b'.' | b',')) {
        Some(at) => clock.split_at(at),
        None => (clock, &[][..]),
    };
    let zeros = |digits: &[u8]| !digits.is_empty() && digits.iter().all(|digit| *digit == b'0');
    matches!(clock, b"00:00" | b"00:00:00" | b"000000")
        && fraction
            .split_first()
            .is_none_or(|(_, digits)| zeros(digits))
        && is_zone(zone)
}

fn is_zone(zone: &[u8]) -> bool {
    match zone {
        [] | [b'Z' | b'z'] => true,
        [b'+' | b'-', rest @ ..] => {
            let digits = |pair: &[u8]| number(pair).is_some();
            match rest {
                [_, _] | [_, _, _, _] => digits(rest),
                [h1, h2, b':', m1, m2] => digits(&[*h1, *h2, *m1, *m2]),
                _ => false,
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
