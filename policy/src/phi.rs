//! What the sections `phi` and `integrity` say: how values are sealed, tokens bound, texts read, records hashed.

use std::path::PathBuf;

use crate::field::{BinaryView, Shown, TextView, Unlisted};

/// How the upstream stores PHI fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// Sealed.
    Encrypted,
    /// In clear; only with `profile: development` on a loopback listener.
    Clear,
}

/// The format of sealed values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `hs1`: AES-256-GCM.
    Native,
    /// The Python services' records.
    Fernet,
    /// JSON Web Encryption in its compact form (RFC 7516), `A256GCMKW` and `A256GCM`.
    Jwe,
}

/// How strictly a Fernet token is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FernetReading {
    /// As it is written: one text for one token.
    #[default]
    Strict,
    /// As Python's `cryptography` reads it: other alphabets, line breaks, characters that are no base64.
    Lenient,
}

/// How a searchable value is spelt before it is sealed, so that a search finds it however it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Normalize {
    /// As it stands.
    Exact,
    /// Its digits alone.
    Digits,
    /// Letters in upper case, separators left out.
    Upper,
    /// A date as YYYY-MM-DD.
    Date,
}

impl Normalize {
    /// The word of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Digits => "digits",
            Self::Upper => "upper",
            Self::Date => "date",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "exact" => Self::Exact,
            "digits" => Self::Digits,
            "upper" => Self::Upper,
            "date" => Self::Date,
            _ => return None,
        })
    }
}

/// What tokens for agents are bound to, beside domain and field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tokens {
    /// The patient of the rule.
    pub bind_patient: bool,
    /// The login session.
    pub bind_session: bool,
    /// How long one can be handed back, in seconds; none: for ever.
    pub lasts_seconds: Option<u32>,
}

/// A detector of the site's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Its name.
    pub name: String,
    /// A regular expression, compiled once to see that it can be.
    pub expression: String,
    /// How a find is shown.
    pub shown: Shown,
}

/// What detectors find in free text, and how it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Detection {
    /// In the order of [`Detection::WORDS`].
    pub built_in: Vec<Shown>,
    /// The site's own.
    pub patterns: Vec<Pattern>,
}

impl Detection {
    /// The built-in detectors, by the configuration's words.
    pub const WORDS: [&'static str; 14] = [
        "ssn",
        "phone",
        "fax",
        "email",
        "url",
        "ip",
        "date",
        "age_over_89",
        "zip",
        "mbi",
        "npi",
        "dea",
        "vin",
        "card",
    ];
    /// Patterns of one policy.
    pub const PATTERNS_MAX: usize = 64;
    /// Bytes of one pattern.
    pub const PATTERN_BYTES_MAX: usize = 1024;

    /// How a find of a built-in detector is shown.
    #[must_use]
    pub fn of(&self, word: &str) -> Shown {
        let place = Self::WORDS.iter().position(|known| *known == word);
        let shown = place.and_then(|place| self.built_in.get(place));
        shown.copied().unwrap_or_default()
    }
}

/// Which hash a record gets and must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IntegrityVersion {
    /// The seed's `integrity_hash` over its data.
    #[default]
    Seed,
    /// `integrity_v2`, which binds patient, version, author and time as well.
    V2,
    /// Both.
    Both,
}

impl IntegrityVersion {
    /// Whether `integrity_hash` is written and verified.
    #[must_use]
    pub fn seed(self) -> bool {
        matches!(self, Self::Seed | Self::Both)
    }

    /// Whether `integrity_v2` is written and verified.
    #[must_use]
    pub fn v2(self) -> bool {
        matches!(self, Self::V2 | Self::Both)
    }
}

/// `integrity`: how records are hashed and verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Integrity {
    /// Which hash.
    pub version: IntegrityVersion,
    /// Whether a record without a hash passes unverified.
    pub pass_missing: bool,
    /// Whether a record whose `integrity_v2` names a key that the ring doesn't have passes unverified.
    pub pass_unknown: bool,
    /// Whether a record without `data` is hashed whole, without the integrity members.
    pub covers_record: bool,
    /// The member of a record that holds the integrity members; none: they stand in the record itself.
    pub member: Option<String>,
}

/// The shape of a sealed value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrap {
    /// `{"_encrypted":true,"_value":…}`
    Object,
    /// The token alone, where the upstream types a field as string.
    String,
}

/// `phi.patient_keys`: a data key for each patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatientKeys {
    /// Where the wrapped keys are.
    pub directory: PathBuf,
    /// Keys that are kept opened in memory.
    pub cached: usize,
}

/// `phi`, without its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phi {
    /// Who shares sealed values.
    pub domain: String,
    /// What the upstream may hold.
    pub storage: Storage,
    /// The format of what is sealed from now on.
    pub format: Format,
    /// Its shape.
    pub wrap: Wrap,
    /// Unlisted members of answers.
    pub unlisted_results: Unlisted,
    /// Unlisted members of arguments.
    pub unlisted_arguments: Unlisted,
    /// Text that is no JSON.
    pub text: TextView,
    /// Content that can't be read.
    pub binary: BinaryView,
    /// How Fernet tokens are read.
    pub fernet: FernetReading,
    /// Whether sealed values are bound to the patient of the rule.
    pub bind_patient: bool,
    /// Keys of patients; none: values are sealed under the ring.
    pub patient_keys: Option<PatientKeys>,
    /// Tokens for agents.
    pub tokens: Tokens,
    /// Detectors of identifiers in text.
    pub detection: Detection,
}
