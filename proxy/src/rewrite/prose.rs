//! Free text under the view `detect`: what looks like an identifier in it is shown by the detector's view, the rest
//! stays as it is. Detectors find forms, no names (`docs/detection.md` says how well).

use safeguard_policy::decide::View;
use safeguard_policy::field::{Mask, Shown, Views};
use safeguard_policy::policy::{Detection, FieldId};
use safeguard_vault::mask;
use safeguard_wire::detect::{Detectors, Find, Kind, PatternError, Wanted, What};

/// The detectors of a policy, and how their finds are shown.
#[derive(Debug)]
pub struct Prose {
    detectors: Detectors,
    shown: Vec<(What, Shown)>,
}

/// A text with its finds shown as they are to be.
pub(super) struct Judged {
    /// The text; none where nothing was found.
    pub text: Option<String>,
    /// Fields of which something was masked or left out.
    pub masked: Vec<FieldId>,
    /// The fields that were left out, and the words of detectors that belong to none.
    pub withheld: Vec<Left>,
}

/// What was left out of a text.
pub(super) enum Left {
    /// A field's value.
    Field(FieldId),
    /// What a detector without a field found.
    Detector(String),
}

impl Prose {
    /// The detectors of a policy.
    ///
    /// # Errors
    /// A pattern of the site that is not bounded, or badly named.
    pub fn new(detection: &Detection) -> Result<Self, PatternError> {
        let patterns: Vec<(String, String)> = detection
            .patterns
            .iter()
            .map(|own| (own.name.clone(), own.expression.clone()))
            .collect();
        let built_in = Kind::ALL
            .into_iter()
            .map(|kind| (What::Kind(kind), detection.of(kind.word())));
        let own = (0..)
            .map(What::Site)
            .zip(detection.patterns.iter().map(|own| own.shown));
        Ok(Self {
            detectors: Detectors::new(&patterns, Wanted::ALL)?,
            shown: built_in.chain(own).collect(),
        })
    }

    fn shown(&self, what: What) -> Shown {
        let known = self.shown.iter().find(|(known, _)| *known == what);
        known.map_or(Shown::Not, |(_, shown)| *shown)
    }

    /// What is looked for: everything but what `passes` says may be seen.
    fn wanted(&self, passes: impl Fn(Shown) -> bool) -> Wanted {
        let hidden = self.shown.iter().filter(|(_, shown)| !passes(*shown));
        hidden.fold(Wanted::NONE, |wanted, (what, _)| wanted.with(*what))
    }

    /// Whether a text that goes up holds anything that the policy calls an identifier.
    pub(super) fn identifies(&self, text: &str) -> bool {
        let mut finds = Vec::new();
        let wanted = self.wanted(|shown| shown == Shown::Plainly);
        self.detectors.find_among(wanted, text, &mut finds);
        !finds.is_empty()
    }

    /// A text as a caller with these views may see it.
    pub(super) fn judge(&self, text: &str, views: &Views) -> Judged {
        let sees = |shown| match shown {
            Shown::Plainly => true,
            Shown::As(field) => views.of(field) == View::Reveal,
            Shown::Not => false,
        };
        let mut finds = Vec::new();
        self.detectors
            .find_among(self.wanted(sees), text, &mut finds);
        let mut judged = Judged {
            text: None,
            masked: Vec::new(),
            withheld: Vec::new(),
        };
        let mut out = String::with_capacity(text.len());
        let mut from = 0;
        for find in &finds {
            out.push_str(text.get(from..find.span.start).unwrap_or_default());
            let found = text.get(find.span.clone()).unwrap_or_default();
            out.push_str(&self.instead(find, found, views, &mut judged));
            from = find.span.end;
        }
        if !finds.is_empty() {
            out.push_str(text.get(from..).unwrap_or_default());
            judged.text = Some(out);
        }
        judged
    }

    /// What stands in a find's place: its mask, or the word for what was left out. A token stands in no prose.
    fn instead(&self, find: &Find, found: &str, views: &Views, judged: &mut Judged) -> String {
        let word = self.word(find.what);
        let left = format!("[withheld {word}]");
        let Shown::As(field) = self.shown(find.what) else {
            judged.withheld.push(Left::Detector(word));
            return left;
        };
        let masked = match views.of(field) {
            View::Mask(Mask::Last4) => Some(mask::last4(found)),
            View::Mask(Mask::Year) => mask::year(found),
            View::Reveal | View::Token | View::Withhold => None,
        };
        match masked {
            Some(masked) => {
                judged.masked.push(field);
                masked
            }
            None => {
                judged.withheld.push(Left::Field(field));
                left
            }
        }
    }

    fn word(&self, what: What) -> String {
        match what {
            What::Kind(kind) => kind.word().to_owned(),
            What::Site(number) => self
                .detectors
                .site_name(number)
                .unwrap_or_default()
                .to_owned(),
            What::Unsettled => "text".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configurations_words_are_the_detectors_own() {
        let words: Vec<&str> = Kind::ALL.into_iter().map(Kind::word).collect();
        assert_eq!(words, Detection::WORDS);
    }
}
