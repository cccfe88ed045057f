//! The identifiers with classes of characters or check digits.

use super::Random;
use super::identifiers::{Led, disguised, lead};

/// A code of ten or eleven characters with dashes after four and seven.
fn parted(code: &str) -> String {
    let (first, rest) = code.split_at(4);
    let (second, third) = rest.split_at(3);
    format!("{first}-{second}-{third}")
}

pub(super) fn mbi(random: &mut Random) -> Led {
    const LETTERS: &str = "ACDEFGHJKMNPQRTUVWXY";
    let mixed = format!("{LETTERS}0123456789");
    let class = |random: &mut Random, class: char| match class {
        'C' => random.letter("123456789"),
        'A' => random.letter(LETTERS),
        'M' => random.letter(&mixed),
        _ => random.letter("0123456789"),
    };
    let mbi: String = "CAMNAMNAANN".chars().map(|c| class(random, c)).collect();
    let mbi = match random.number(0, 4) {
        0 | 1 => parted(&mbi),
        2 => mbi.to_lowercase(),
        _ => mbi,
    };
    (
        lead(
            random,
            &["MBI ", "Medicare # ", "Medicare ID: ", "Beneficiary "],
        ),
        mbi,
    )
}

/// The digit that makes a Luhn sum whole.
fn with_luhn(digits: &str, more: u32) -> String {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, byte)| {
            let digit = u32::from(byte - b'0') << ((place + 1) % 2);
            digit / 10 + digit % 10
        })
        .sum();
    format!("{digits}{}", (10 - (sum + more) % 10) % 10)
}

pub(super) fn npi(random: &mut Random) -> Led {
    let npi = with_luhn(&format!("{}{}", random.number(1, 2), random.digits(8)), 24);
    let npi = if random.once_in(12) {
        parted(&npi)
    } else {
        npi
    };
    (
        lead(
            random,
            &[
                "NPI ",
                "NPI: ",
                "NPI# ",
                "Referring provider ",
                "Dr. Ortiz, NPI ",
            ],
        ),
        npi,
    )
}

pub(super) fn dea(random: &mut Random) -> Led {
    let digits: Vec<u64> = (0..6).map(|_| random.number(0, 9)).collect();
    let check = (digits[0] + digits[2] + digits[4] + 2 * (digits[1] + digits[3] + digits[5])) % 10;
    let written: String = digits
        .iter()
        .chain([&check])
        .map(ToString::to_string)
        .collect();
    let name = if random.once_in(10) {
        '9'
    } else {
        random.letter("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    };
    let gap = if random.once_in(12) { " " } else { "" };
    let dea = format!("{}{name}{gap}{written}", random.letter("ABFGMP"));
    (
        lead(random, &["DEA ", "DEA# ", "DEA: ", "Prescriber DEA no. "]),
        dea,
    )
}

pub(super) fn vin(random: &mut Random) -> Led {
    const USED: &str = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789";
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let mut vin: Vec<char> = (0..12).map(|_| random.letter(USED)).collect();
    vin.extend(random.digits(5).chars());
    let value = |c: char| {
        c.to_digit(10).unwrap_or_else(|| {
            let place = "ABCDEFGH JKLMN P R STUVWXYZ".replace(' ', "").find(c);
            let values = [
                1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9,
            ];
            values[place.expect("a letter in use")]
        })
    };
    let sum: u32 = vin
        .iter()
        .zip(WEIGHTS)
        .map(|(c, weight)| value(*c) * weight)
        .sum();
    vin[8] = if sum % 11 == 10 {
        'X'
    } else {
        char::from_digit(sum % 11, 10).expect("a digit")
    };
    (
        lead(
            random,
            &["VIN ", "vehicle ", "MVC, car VIN: ", "Insurance claim for "],
        ),
        vin.into_iter().collect(),
    )
}

pub(super) fn card(random: &mut Random) -> Led {
    let (prefix, length) = *random.one(&[
        &("4", 16),
        &("4", 16),
        &("51", 16),
        &("55", 16),
        &("2345", 16),
        &("34", 15),
        &("37", 15),
        &("6011", 16),
        &("3530", 16),
        &("36", 14),
    ]);
    let digits = format!("{prefix}{}", random.digits(length - 1 - prefix.len()));
    let card = with_luhn(&digits, 0);
    let separator = random.one(&["", " ", "-"]);
    let cuts: &[usize] = if length == 16 { &[4, 8, 12] } else { &[4, 10] };
    let card = card
        .chars()
        .enumerate()
        .map(|(place, digit)| {
            let cut = if cuts.contains(&place) { separator } else { "" };
            format!("{cut}{digit}")
        })
        .collect();
    (
        lead(
            random,
            &["Card ", "copay on card ", "Visa ", "paid with ", "cc: "],
        ),
        disguised(random, card),
    )
}
