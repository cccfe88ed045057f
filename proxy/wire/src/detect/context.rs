//! The word that tells what a number is, where its form alone does not.

use super::text::{Text, is_word};

/// How far back a word may stand, in bytes.
const REACH: usize = 48;
/// How many words back it may stand.
const WORDS_MAX: usize = 6;
/// The longest word that is known, in bytes.
const WORD_MAX: usize = 12;

/// What the nearest known word before a number says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    /// No known word is near.
    None,
    Ssn,
    Phone,
    Fax,
    Age,
    Zip,
    Npi,
    Dea,
    Card,
    /// A date of birth or another date.
    Date,
    /// A version of software.
    Version,
    /// A number of another kind, to which the site may give a pattern.
    Other,
}

impl Context {
    /// The nearest word decides. Brackets end the look: a find that was written over stands in them.
    pub(super) fn before(text: Text<'_>, start: usize) -> Self {
        let floor = start.saturating_sub(REACH);
        let mut i = start;
        let mut words = 0;
        while i > floor && words < WORDS_MAX {
            match text.before(i) {
                b'[' | b']' => return Self::None,
                byte if is_word(byte) => {
                    let begin = text.skip_back(i, i - floor, is_word);
                    let known = Self::of(text.span(begin, i));
                    if known != Self::None {
                        return known;
                    }
                    i = begin;
                    words += 1;
                }
                _ => i -= 1,
            }
        }
        Self::None
    }

    fn of(word: &[u8]) -> Self {
        let mut lower = [0; WORD_MAX];
        let Some(lower) = lower.get_mut(..word.len()) else {
            return Self::None;
        };
        lower.copy_from_slice(word);
        lower.make_ascii_lowercase();
        match &*lower {
            b"ssn" | b"ssns" | b"ss" | b"social" | b"security" | b"soc" | b"socsec" | b"itin" => {
                Self::Ssn
            }
            b"phone" | b"phones" | b"telephone" | b"tel" | b"ph" | b"cell" | b"cellphone"
            | b"mobile" | b"call" | b"called" | b"calls" | b"calling" | b"callback" | b"dial"
            | b"pager" | b"beeper" | b"contact" | b"voicemail" | b"sms" | b"landline" => {
                Self::Phone
            }
            b"fax" | b"faxed" | b"faxes" | b"faxing" | b"facsimile" | b"telefax" | b"fx" => {
                Self::Fax
            }
            b"age" | b"aged" | b"ages" | b"turned" | b"turning" => Self::Age,
            b"zip" | b"zipcode" | b"postal" | b"postcode" => Self::Zip,
            b"npi" | b"npis" => Self::Npi,
            b"dea" => Self::Dea,
            b"card" | b"cards" | b"visa" | b"mastercard" | b"amex" | b"discover" | b"credit"
            | b"debit" => Self::Card,
            b"dob" | b"birth" | b"birthdate" | b"birthday" | b"born" | b"date" | b"dated"
            | b"dates" | b"dos" | b"dod" => Self::Date,
            b"version" | b"versions" | b"ver" | b"v" | b"release" | b"firmware" | b"build"
            | b"software" | b"rev" | b"section" => Self::Version,
            b"mrn" | b"account" | b"acct" | b"order" | b"accession" | b"encounter" | b"invoice"
            | b"claim" | b"policy" | b"room" | b"rm" | b"ref" | b"reference" | b"lot"
            | b"serial" | b"specimen" | b"case" | b"id" | b"loinc" | b"snomed" | b"cpt"
            | b"icd" | b"ndc" | b"member" | b"ticket" | b"csn" | b"har" | b"protocol"
            | b"study" | b"grant" | b"item" | b"model" | b"part" => Self::Other,
            _ => Self::None,
        }
    }
}
