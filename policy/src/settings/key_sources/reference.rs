//! Texts that refer to a source. None is a secret: it names a secret, or is a key that only the source can unwrap.

use std::fmt;

use crate::document::read::Section;
use crate::document::report::Report;
use crate::document::tree::Place;
use crate::finding::codes;
use crate::settings::keys::{base64, digits};

/// Bytes of a text that refers to a source: the longest that AWS KMS and transit make is far below.
const REFERENCE_BYTES_MAX: usize = 16 * 1024;

/// Which source a text refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceKind {
    /// A secret of Infisical, by its name.
    Infisical,
    /// What the transit engine wrapped.
    Transit,
    /// What AWS KMS wrapped.
    AwsKms,
    /// What a hardware security module wrapped.
    Pkcs11,
}

impl SourceKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Infisical, Self::Transit, Self::AwsKms, Self::Pkcs11];

    /// The word before the colon of a text that refers to it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Infisical => "infisical",
            Self::Transit => "transit",
            Self::AwsKms => "aws-kms",
            Self::Pkcs11 => "pkcs11",
        }
    }

    /// Its section of the configuration.
    #[must_use]
    pub fn section(self) -> &'static str {
        match self {
            Self::AwsKms => "aws_kms",
            _ => self.word(),
        }
    }

    fn of(text: &str) -> Option<(Self, &str)> {
        let (word, rest) = text.split_once(':')?;
        let kind = Self::ALL.into_iter().find(|kind| kind.word() == word)?;
        Some((kind, rest))
    }

    /// Whether what follows the colon can be right, and what it should be.
    fn accepts(self, rest: &str) -> Result<(), &'static str> {
        let (fits, expected) = match self {
            Self::Infisical => (
                !rest
                    .chars()
                    .any(|c| c.is_whitespace() || c.is_control() || c == '/'),
                "the name of a secret, as in infisical:PHI_KEY",
            ),
            Self::Transit => (
                rest.strip_prefix("vault:v").is_some_and(|rest| {
                    rest.split_once(':').is_some_and(|(version, sealed)| {
                        version.parse::<u32>().is_ok() && is_base64(sealed)
                    })
                }),
                "a ciphertext of transit, as in transit:vault:v1:…",
            ),
            Self::AwsKms => (is_base64(rest), "the CiphertextBlob in base64"),
            Self::Pkcs11 => (is_base64(rest), "the wrapped key in base64"),
        };
        if fits && !rest.is_empty() && rest.len() <= REFERENCE_BYTES_MAX {
            Ok(())
        } else {
            Err(expected)
        }
    }
}

fn is_base64(text: &str) -> bool {
    let bare = text.trim_end_matches('=');
    !bare.is_empty() && text.len() - bare.len() <= 2 && digits(bare.as_bytes(), 6, base64).is_some()
}

/// A text that refers to a source: which one, and what is asked of it.
pub struct SourceText {
    /// The source.
    pub kind: SourceKind,
    /// A secret's name, or a wrapped key. No secret itself.
    pub text: String,
}

impl fmt::Debug for SourceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceText({}:…)", self.kind.word())
    }
}

/// Whether a text refers to a source, well or badly.
pub(crate) fn is_reference(text: &str) -> bool {
    SourceKind::of(text).is_some()
}

/// Reads a text that refers to a source; `sources` is the section `key_sources`.
pub(in crate::settings) fn reference(
    text: &str,
    place: Place,
    ring: &'static str,
    sources: Section<'_>,
    report: &mut Report<'_>,
) -> Option<SourceText> {
    let (kind, rest) = SourceKind::of(text)?;
    if let Err(expected) = kind.accepts(rest) {
        let word = kind.word();
        report
            .error(
                codes::BAD_KEY,
                place,
                format!("`keys.{ring}` has a source that {word} can't have made"),
            )
            .fix(format!("behind `{word}:` stands {expected}"));
        return None;
    }
    let section = kind.section();
    if !sources.section(section).is_written() {
        report
            .error(
                codes::MISSING_KEY,
                place,
                format!("`keys.{ring}` has a source in `key_sources.{section}`, which is missing"),
            )
            .fix(format!("add key_sources: {{ {section}: {{ … }} }}"));
        return None;
    }
    Some(SourceText {
        kind,
        text: rest.to_owned(),
    })
}
