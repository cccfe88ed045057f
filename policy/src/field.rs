//! How a field is shown: the views, from widest to narrowest, and the table of them that a permit carries.

use crate::policy::FieldId;

/// What stays of a masked value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mask {
    /// Every letter and digit but the last four becomes `*`.
    Last4,
    /// The four digits of a date's year.
    Year,
}

impl Mask {
    /// The word of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Last4 => "last4",
            Self::Year => "year",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        match word {
            "last4" => Some(Self::Last4),
            "year" => Some(Self::Year),
            _ => None,
        }
    }
}

/// What a role gets to see of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum View {
    /// The value.
    Reveal,
    /// A part of it.
    Mask(Mask),
    /// An opaque string that stands for it and can be handed back.
    Token,
    /// Nothing.
    #[default]
    Withhold,
}

impl View {
    /// The word of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reveal => "reveal",
            Self::Mask(_) => "mask",
            Self::Token => "token",
            Self::Withhold => "withhold",
        }
    }

    fn width(self) -> u8 {
        match self {
            Self::Reveal => 3,
            Self::Mask(_) => 2,
            Self::Token => 1,
            Self::Withhold => 0,
        }
    }

    /// The wider of two views. Two masks of one field are equal: the loader refuses anything else.
    #[must_use]
    pub fn widest(self, other: Self) -> Self {
        if other.width() > self.width() {
            other
        } else {
            self
        }
    }

    /// This view under a cap.
    #[must_use]
    pub fn at_most(self, cap: Self) -> Self {
        if cap.width() < self.width() {
            cap
        } else {
            self
        }
    }
}

/// What becomes of a member that the policy names nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Unlisted {
    /// It passes as it is.
    Reveal,
    /// Text passes without what looks like an identifier in it: in an answer that is shown by the detector's view, in
    /// a request it is refused. What is no text passes.
    Detect,
    /// In an answer it is withheld, in a request refused.
    #[default]
    Withhold,
}

/// What becomes of text that is no JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TextView {
    /// It passes as it is.
    Reveal,
    /// What looks like an identifier in it is shown by the detector's view.
    Detect,
    /// It is replaced.
    #[default]
    Withhold,
}

impl TextView {
    /// The word of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reveal => "reveal",
            Self::Detect => "detect",
            Self::Withhold => "withhold",
        }
    }
}

/// What becomes of content that can't be read: images, audio, PDF, DICOM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BinaryView {
    /// It passes as it is.
    Reveal,
    /// It is left out.
    #[default]
    Withhold,
}

/// How a find of a detector is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Shown {
    /// By the caller's view of this field.
    As(FieldId),
    /// As it is: it is no PHI here.
    Plainly,
    /// Not at all.
    #[default]
    Not,
}

/// The view of every PHI field for one set of roles and one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Views {
    pub(crate) fields: Box<[View]>,
    pub(crate) results: Unlisted,
    pub(crate) arguments: Unlisted,
}

impl Views {
    /// The view of a field; a number that is not of this policy is withheld.
    #[must_use]
    pub fn of(&self, field: FieldId) -> View {
        self.fields.get(field.index()).copied().unwrap_or_default()
    }

    /// What becomes of unlisted members of answers.
    #[must_use]
    pub fn unlisted_results(&self) -> Unlisted {
        self.results
    }

    /// What becomes of unlisted members of arguments.
    #[must_use]
    pub fn unlisted_arguments(&self) -> Unlisted {
        self.arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_order_reveal_mask_token_withhold() {
        let order = [
            View::Reveal,
            View::Mask(Mask::Last4),
            View::Token,
            View::Withhold,
        ];
        for (i, wide) in order.iter().enumerate() {
            for narrow in &order[i..] {
                assert_eq!(wide.widest(*narrow), *wide);
                assert_eq!(narrow.widest(*wide), *wide);
                assert_eq!(wide.at_most(*narrow), *narrow);
                assert_eq!(narrow.at_most(*wide), *narrow);
            }
        }
    }
}
