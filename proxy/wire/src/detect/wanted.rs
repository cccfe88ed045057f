//! A set of detectors.

use super::{Kind, What};

/// A set of detectors: the built-in ones and the site's patterns by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    kinds: u16,
    sites: u64,
}

impl Wanted {
    /// Every detector, and every pattern that there is.
    pub const ALL: Self = Self {
        kinds: u16::MAX,
        sites: u64::MAX,
    };

    /// No detector.
    pub const NONE: Self = Self { kinds: 0, sites: 0 };

    /// The set and one more.
    #[must_use]
    pub const fn with(self, what: What) -> Self {
        let (kinds, sites) = bits(what);
        Self {
            kinds: self.kinds | kinds,
            sites: self.sites | sites,
        }
    }

    /// The set without one.
    #[must_use]
    pub const fn without(self, what: What) -> Self {
        let (kinds, sites) = bits(what);
        Self {
            kinds: self.kinds & !kinds,
            sites: self.sites & !sites,
        }
    }

    /// What is in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            kinds: self.kinds & other.kinds,
            sites: self.sites & other.sites,
        }
    }

    /// Whether one is in the set.
    pub const fn has(self, what: What) -> bool {
        let (kinds, sites) = bits(what);
        self.kinds & kinds != 0 || self.sites & sites != 0
    }

    /// Whether a built-in one is in the set.
    pub(super) const fn kind(self, kind: Kind) -> bool {
        self.has(What::Kind(kind))
    }
}

const fn bits(what: What) -> (u16, u64) {
    match what {
        What::Kind(kind) => (1 << kind as u16, 0),
        What::Site(number) if number < 64 => (0, 1 << number),
        What::Site(_) | What::Unsettled => (0, 0),
    }
}
