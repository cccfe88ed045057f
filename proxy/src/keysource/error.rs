//! Why a key can't be had. Never holds what a source answered.

use safeguard_policy::SourceKind;
use thiserror::Error;

/// Why one attempt at a source brought no key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SourceError {
    /// The source can't be set up: a file that it names, its TLS.
    #[error("it can't be set up: {0}")]
    Settings(String),
    /// A credential is not there.
    #[error("{0}")]
    Credential(&'static str),
    /// The source refused who asks, or what it asks for.
    #[error("access was refused: correct the credentials, or what they may do there")]
    Denied,
    /// The source knows no such secret, key or place.
    #[error("what is asked for is not there: correct its name and place")]
    Missing,
    /// The source has another key than the one that wrapped this, or it was changed.
    #[error("it can't unwrap this key: another key wrapped it, or it was altered")]
    Refused,
    /// What came is not a key of 32 bytes.
    #[error("what it gives is not 32 bytes: make a new one with `safeguard keys generate`")]
    NotAKey,
    /// Nothing useful came; the next attempt may succeed.
    #[error("it is unavailable: {0}")]
    Unavailable(&'static str),
    /// The answer is none of this source.
    #[error("its answer is not understood: {0}")]
    Answer(&'static str),
    /// This source only keeps secrets.
    #[error("it wraps no keys: store a key from `safeguard keys generate` there by its own tools")]
    WrapsNothing,
}

impl SourceError {
    /// The same, of a login: a bad or unknown credential is refused, however the source words it.
    pub(crate) fn of_login(self) -> Self {
        match self {
            Self::Refused | Self::Missing => Self::Denied,
            other => other,
        }
    }

    /// Whether another attempt at once may succeed.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// A word for events and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Settings(_) | Self::Credential(_) | Self::WrapsNothing => "key_source_unusable",
            Self::Denied => "key_source_denied",
            Self::Missing => "key_source_missing",
            Self::Refused | Self::NotAKey => "key_source_refused",
            Self::Unavailable(_) | Self::Answer(_) => "key_source_unavailable",
        }
    }
}

impl Unresolved {
    /// Whether waiting can't help: the configuration itself must be mended.
    pub fn is_lasting(&self) -> bool {
        matches!(
            self.error,
            SourceError::Settings(_) | SourceError::WrapsNothing
        )
    }
}

/// A key of a ring that can't be had: which, from where, and why.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("keys.{ring} `{id}` from {word}: {error}", word = kind.word())]
pub struct Unresolved {
    /// The ring.
    pub ring: &'static str,
    /// The key's place in it, from 0.
    pub number: usize,
    /// The key's id.
    pub id: String,
    /// The source.
    pub kind: SourceKind,
    /// Why.
    pub error: SourceError,
}
