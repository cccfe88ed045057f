//! Identifiers in free text: what has a form that code can check, and nothing else.
//!
//! The kinds are those of the Safe Harbor list (45 CFR 164.514(b)(2)) that a validator can tell: numbers with rules or a
//! check digit, addresses of machines, dates, ages, ZIP codes, and what a site writes as a pattern of its own.
//! **A name, a street, a city, a face in words has no form and is not found**; `docs/detection.md` says it with numbers.
//!
//! The text is first folded (`detect/fold.rs`): every Unicode digit is a digit, every dash a dash, and what no reader sees is gone,
//! so that `１２３‑45‑6789` is what it looks like. One pass over the folded bytes then stops at digits, `@`, `:` and `.` alone,
//! and a validator looks a bounded way to both sides: the work is linear in the text, whatever the text.

mod codes;
mod context;
mod dates;
mod fold;
mod network;
mod numbers;
mod places;
mod run;
mod scan;
mod site;
mod text;
mod wanted;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod measured;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use site::{
    COMPILED_BYTES_MAX, MATCH_BYTES_MAX, NAME_BYTES_MAX, PATTERN_BYTES_MAX, PATTERNS_MAX,
    PatternError,
};
pub use wanted::Wanted;

use fold::Folded;
use site::Site;
use text::Text;

/// How often a text is looked at again with the finds of the looks before blanked out, because a find may have hidden
/// its neighbour. One more look is the rule; a text that is made to need more than these is one find, whole.
const LOOKS_MAX: usize = 8;

/// What a find is written over with before the next look: a byte that no identifier holds and no context word crosses.
const BLANK: &str = "]";

/// A built-in detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A Social Security number.
    Ssn,
    /// A telephone number of the North American plan, or an international one that begins with `+`.
    Phone,
    /// A telephone number that a word before it calls a fax.
    Fax,
    /// An e-mail address.
    Email,
    /// A web address with its scheme, or one that begins `www.`.
    Url,
    /// An IPv4 or IPv6 address.
    Ip,
    /// A date with more than its year.
    Date,
    /// An age of 90 or more.
    AgeOver89,
    /// A ZIP code of five or nine digits.
    Zip,
    /// A Medicare beneficiary identifier.
    Mbi,
    /// A national provider identifier.
    Npi,
    /// A registration number of the Drug Enforcement Administration.
    Dea,
    /// A vehicle identification number.
    Vin,
    /// A payment card's number.
    Card,
}

impl Kind {
    /// All of them, in the order of the configuration's documentation.
    pub const ALL: [Self; 14] = [
        Self::Ssn,
        Self::Phone,
        Self::Fax,
        Self::Email,
        Self::Url,
        Self::Ip,
        Self::Date,
        Self::AgeOver89,
        Self::Zip,
        Self::Mbi,
        Self::Npi,
        Self::Dea,
        Self::Vin,
        Self::Card,
    ];

    /// The configuration's word for it (`phi.detect`).
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ssn => "ssn",
            Self::Phone => "phone",
            Self::Fax => "fax",
            Self::Email => "email",
            Self::Url => "url",
            Self::Ip => "ip",
            Self::Date => "date",
            Self::AgeOver89 => "age_over_89",
            Self::Zip => "zip",
            Self::Mbi => "mbi",
            Self::Npi => "npi",
            Self::Dea => "dea",
            Self::Vin => "vin",
            Self::Card => "card",
        }
    }

    /// The detector that a word of the configuration names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// Who found it: a built-in detector, or a pattern of the site by its number in the list given to [`Detectors::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// A pattern of the site. It stands first: of two finds of one length the site's own word counts.
    Site(u8),
    /// A built-in detector.
    Kind(Kind),
    /// The whole text: each look found what the one before had not, up to the bound. Nobody knows what is left in it.
    Unsettled,
}

/// A place in the text. Its bytes are the caller's; a find holds none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Find {
    /// Who found it. Where finds overlapped it is the longest one's word, and the span covers them all.
    pub what: What,
    /// Byte offsets into the text, on character boundaries.
    pub span: Range<usize>,
}

/// The detectors of one configuration: built once, shared by all.
#[derive(Debug)]
pub struct Detectors {
    sites: Vec<Site>,
    enabled: Wanted,
}

impl Detectors {
    /// Detectors for `enabled`, with the site's `patterns` (name, regular expression) numbered as they stand.
    ///
    /// # Errors
    /// The first pattern that is too many, badly named, no regular expression, or not bounded in length and size.
    pub fn new(patterns: &[(String, String)], enabled: Wanted) -> Result<Self, PatternError> {
        let sites = site::compile(patterns)?;
        Ok(Self { sites, enabled })
    }

    /// The name of a site pattern by its number.
    pub fn site_name(&self, number: u8) -> Option<&str> {
        self.sites.get(usize::from(number)).map(Site::name)
    }

    /// Replaces `out` by what all enabled detectors find in `text`: ordered, not overlapping, on character boundaries.
    pub fn find(&self, text: &str, out: &mut Vec<Find>) {
        self.find_among(self.enabled, text, out);
    }

    /// As [`Self::find`], for those of the enabled that are also in `wanted`. What a caller may see must not be wanted, else
    /// it could be the longer find around another that the caller may not see (a web address that holds an SSN).
    pub fn find_among(&self, wanted: Wanted, text: &str, out: &mut Vec<Find>) {
        out.clear();
        let wanted = wanted.and(self.enabled);
        self.look(wanted, text, out);
        if out.is_empty() {
            return;
        }
        merge(out);
        let mut more = Vec::new();
        for _ in 1..LOOKS_MAX {
            self.look(wanted, &blanked(text, out), &mut more);
            more.retain(|find| !covered(out, &find.span));
            if more.is_empty() {
                return;
            }
            out.append(&mut more);
            merge(out);
        }
        out.clear();
        out.push(Find {
            what: What::Unsettled,
            span: 0..text.len(),
        });
    }

    /// One look at a text: candidates in no order, that may overlap.
    fn look(&self, wanted: Wanted, text: &str, out: &mut Vec<Find>) {
        self.look_for_patterns(wanted, text.as_bytes(), out);
        if text.is_ascii() {
            scan::scan(Text::new(text.as_bytes()), wanted, out);
            return;
        }
        let folded = Folded::new(text);
        let mut found = Vec::new();
        self.look_for_patterns(wanted, folded.bytes(), &mut found);
        scan::scan(Text::new(folded.bytes()), wanted, &mut found);
        out.extend(found.into_iter().map(|find| Find {
            what: find.what,
            span: folded.place(&find.span),
        }));
    }

    fn look_for_patterns(&self, wanted: Wanted, bytes: &[u8], out: &mut Vec<Find>) {
        for (number, site) in (0..).zip(&self.sites) {
            let what = What::Site(number);
            if wanted.has(what) {
                out.extend(site.spans(bytes).map(|span| Find { what, span }));
            }
        }
    }
}

/// Puts finds in order and makes overlapping ones one, under the name of the longest, so that no end of either is left.
fn merge(finds: &mut Vec<Find>) {
    finds.sort_unstable_by_key(|find| (find.span.start, find.span.end, find.what));
    let mut longest = 0;
    finds.dedup_by(|next, kept| {
        if next.span.start >= kept.span.end {
            longest = 0;
            return false;
        }
        if longest == 0 {
            longest = kept.span.len();
        }
        let length = next.span.len();
        if length > longest || (length == longest && next.what < kept.what) {
            kept.what = next.what;
            longest = length;
        }
        kept.span.end = kept.span.end.max(next.span.end);
        true
    });
}

/// Whether a span lies wholly in what is found already (ordered, not overlapping).
fn covered(finds: &[Find], span: &Range<usize>) -> bool {
    let next = finds.partition_point(|find| find.span.end < span.end);
    finds
        .get(next)
        .is_some_and(|find| find.span.start <= span.start)
}

/// The text with every find written over, byte for byte, so that offsets stay.
fn blanked(text: &str, finds: &[Find]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for find in finds {
        out.push_str(text.get(from..find.span.start).unwrap_or_default());
        out.extend(std::iter::repeat_n(BLANK, find.span.len()));
        from = find.span.end;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}
