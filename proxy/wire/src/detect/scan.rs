//! The one pass over the folded bytes: where it stops, and which validators are asked there.

use std::cell::OnceCell;
use std::ops::Range;

use super::context::Context;
use super::run::Run;
use super::text::Text;
use super::{Find, Kind, Wanted, What};
use super::{codes, dates, network, numbers, places};

/// Reads a text once and appends what is found; finds may overlap where an address holds a number.
pub(super) fn scan(text: Text<'_>, wanted: Wanted, out: &mut Vec<Find>) {
    let mut from = 0;
    // The end of the last web address: no other begins in it, so none is read twice.
    let mut address = 0;
    while let Some(i) = text.stop(from) {
        let found = match text.at(i) {
            b'@' => network::email(text, i).map(|span| (Kind::Email, span)),
            b':' if i >= address => network::url(text, i)
                .map(|span| (Kind::Url, span))
                .or_else(|| network::ipv6(text, i).map(|span| (Kind::Ip, span))),
            b'.' if i >= address => network::www(text, i)
                .or_else(|| network::bare(text, i))
                .map(|span| (Kind::Url, span)),
            b'0'..=b'9' => {
                from = number(text, i, wanted, out);
                continue;
            }
            _ => None,
        };
        from = i + 1;
        let Some((kind, span)) = found else { continue };
        if kind == Kind::Url {
            address = span.end;
        }
        if wanted.kind(kind) {
            push(out, kind, span);
        }
    }
}

/// Judges the number that begins at a digit; where to go on.
fn number(text: Text<'_>, start: usize, wanted: Wanted, out: &mut Vec<Find>) -> usize {
    let end = text.skip(start, usize::MAX - start, |b| b.is_ascii_digit());
    if wanted == Wanted::NONE {
        return end;
    }
    let run = Run::read(text, start);
    let number = Number {
        text,
        start,
        end,
        context: OnceCell::new(),
        run,
    };
    let best = Kind::ALL
        .into_iter()
        .filter(|kind| wanted.kind(*kind))
        .filter_map(|kind| Some((kind, number.judged(kind)?)))
        .max_by_key(|(kind, span)| (span.len(), std::cmp::Reverse(*kind)));
    let Some((kind, span)) = best else { return end };
    let next = span.end.max(end);
    push(out, kind, span);
    next
}

fn push(out: &mut Vec<Find>, kind: Kind, span: Range<usize>) {
    out.push(Find {
        what: What::Kind(kind),
        span,
    });
}

/// A number in its surroundings, as the validators get it.
pub(super) struct Number<'t> {
    pub(super) text: Text<'t>,
    /// Its first digit.
    pub(super) start: usize,
    /// The end of its first group, which a run leaves out where it is longer than any number.
    pub(super) end: usize,
    context: OnceCell<Context>,
    pub(super) run: Run,
}

impl Number<'_> {
    /// What the words before it say that it is; looked for once, by the first that has to know.
    pub(super) fn context(&self) -> Context {
        *self
            .context
            .get_or_init(|| Context::before(self.text, self.start))
    }

    fn judged(&self, kind: Kind) -> Option<Range<usize>> {
        match kind {
            Kind::Ssn => numbers::ssn(self),
            Kind::Phone => numbers::phone(self, false),
            Kind::Fax => numbers::phone(self, true),
            Kind::Card => numbers::card(self),
            Kind::Npi => numbers::npi(self),
            Kind::Ip => network::ipv4(self),
            Kind::Date => dates::date(self),
            Kind::AgeOver89 => places::age(self),
            Kind::Zip => places::zip(self),
            Kind::Mbi => codes::mbi(self),
            Kind::Dea => codes::dea(self),
            Kind::Vin => codes::vin(self),
            Kind::Email | Kind::Url => None,
        }
    }

    /// Whether a digit and one mark stand right before it, as in the middle of a longer number.
    pub(super) fn continues(&self, marks: &[u8]) -> bool {
        marks.contains(&self.text.before(self.start))
            && self.start >= 2
            && self.text.before(self.start - 1).is_ascii_digit()
    }
}
