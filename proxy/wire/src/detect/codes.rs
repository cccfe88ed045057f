//! Codes of digits and letters: Medicare beneficiaries, the Drug Enforcement Administration's registrants, vehicles.

use std::ops::Range;

use super::context::Context;
use super::scan::Number;
use super::text::is_word;

/// The characters of a vehicle identification number (49 CFR 565.13).
const VIN_LEN: usize = 17;
/// The weights of a vehicle identification number's places (49 CFR 565.15, table IV); the ninth is its check digit.
const VIN_WEIGHTS: [u32; VIN_LEN] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
/// The values of the letters A to Z there; zero for I, O and Q, which are not used.
const VIN_VALUES: [u32; 26] = [
    1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 2, 3, 4, 5, 0, 7, 0, 9, 2, 3, 4, 5, 6, 7, 8, 9,
];

/// A Medicare beneficiary: eleven characters, each of its own class, that may be parted after four and seven (CMS, "Understanding the MBI format").
pub(super) fn mbi(number: &Number<'_>) -> Option<Range<usize>> {
    let text = number.text;
    if is_word(text.before(number.start)) {
        return None;
    }
    let mut i = number.start;
    for (place, class) in b"CANNANNAANN".iter().enumerate() {
        if matches!(place, 4 | 7) && matches!(text.at(i), b'-' | b' ') {
            i += 1;
        }
        let byte = text.at(i).to_ascii_uppercase();
        let letter =
            byte.is_ascii_uppercase() && !matches!(byte, b'S' | b'L' | b'O' | b'I' | b'B' | b'Z');
        let fits = match (class, place) {
            (b'C', _) => matches!(byte, b'1'..=b'9'),
            (b'A', _) => letter,
            // The third and the sixth may be either.
            (_, 2 | 5) => letter || byte.is_ascii_digit(),
            _ => byte.is_ascii_digit(),
        };
        if !fits {
            return None;
        }
        i += 1;
    }
    (!is_word(text.at(i))).then_some(number.start..i)
}

/// A registrant of the DEA: a code letter, a letter of the name or 9, six digits and their check digit (21 CFR 1301.13; the sum is the DEA's).
pub(super) fn dea(number: &Number<'_>) -> Option<Range<usize>> {
    let text = number.text;
    if !matches!(number.end - number.start, 7 | 8) {
        return None;
    }
    let says_so = number.context() == Context::Dea;
    // With 9 for the name's letter the number begins at the 9.
    let nine = number.run.first().len() == 8 && number.run.digits(0, 1) == [9];
    let gap = usize::from(says_so && matches!(text.before(number.start), b' ' | b'-'));
    let letters = number.start.checked_sub(if nine { 1 } else { 2 + gap })?;
    let code = text.at(letters).to_ascii_uppercase();
    let name = nine || text.at(letters + 1).is_ascii_alphabetic();
    if !matches!(code, b'A'..=b'H' | b'J'..=b'N' | b'P'..=b'U' | b'X') || !name {
        return None;
    }
    let from = usize::from(nine);
    let &[a, b, c, d, e, f, check] = number.run.digits(from, from + 7) else {
        return None;
    };
    let end = number.end;
    let sum = u32::from(a) + u32::from(c) + u32::from(e);
    let twice = u32::from(b) + u32::from(d) + u32::from(f);
    let right = (sum + 2 * twice) % 10 == u32::from(check);
    let whole = number.run.first().len() == 7 + from;
    (right && whole && text.stands_alone(letters, end)).then_some(letters..end)
}

/// A vehicle: seventeen letters and digits, at least one of each, none of I, O and Q, and the right check digit.
pub(super) fn vin(number: &Number<'_>) -> Option<Range<usize>> {
    let text = number.text;
    let start = text.skip_back(number.start, VIN_LEN, is_word);
    let end = text.skip(number.end, VIN_LEN, is_word);
    let word = text.span(start, end);
    if word.len() != VIN_LEN || is_word(text.before(start)) {
        return None;
    }
    let mut sum = 0;
    for (byte, weight) in word.iter().zip(VIN_WEIGHTS) {
        sum += vin_value(byte.to_ascii_uppercase())? * weight;
    }
    let check = match sum % 11 {
        10 => b'X',
        rest => b'0' + u8::try_from(rest).ok()?,
    };
    let right = word
        .get(8)
        .is_some_and(|byte| byte.to_ascii_uppercase() == check);
    let letters = word.iter().any(u8::is_ascii_alphabetic);
    (right && letters).then_some(start..end)
}

fn vin_value(byte: u8) -> Option<u32> {
    match byte {
        b'0'..=b'9' => Some(u32::from(byte - b'0')),
        b'A'..=b'Z' => VIN_VALUES
            .get(usize::from(byte - b'A'))
            .copied()
            .filter(|value| *value != 0),
        _ => None,
    }
}
