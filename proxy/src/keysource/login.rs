//! The token that a login brings: kept until shortly before its end, wiped when dropped.

use std::time::{Duration, Instant};

use zeroize::Zeroizing;

/// A token with less life than this is renewed before it is used: an attempt takes no longer.
pub(crate) const RENEWAL_MARGIN: Duration = Duration::from_secs(30);

/// A token of a source.
pub(crate) struct Token {
    pub text: Zeroizing<String>,
    until: Instant,
}

/// What a kept token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It can be used.
    Good,
    /// It ends soon, and can still be renewed.
    Ending,
    /// It is over.
    Over,
}

impl Token {
    /// A token that lives for some seconds from now on.
    pub(crate) fn new(text: &str, seconds: u64) -> Self {
        let now = Instant::now();
        let life = Duration::from_secs(seconds);
        Self {
            text: Zeroizing::new(text.to_owned()),
            until: now.checked_add(life).unwrap_or(now),
        }
    }

    pub(crate) fn life(&self) -> Life {
        match self.until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Life::Over,
            left if left < RENEWAL_MARGIN => Life::Ending,
            _ => Life::Good,
        }
    }
}
