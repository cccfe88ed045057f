//! Text that came from the environment or a file and must not be seen again.
//!
//! A [`Secret`] is wiped when dropped, shows nothing of itself in `Debug`, and is neither `Clone`, `Display` nor
//! serializable, so that a log line or an error cannot carry it by accident.

use std::fmt;

use zeroize::Zeroizing;

/// A secret's UTF-8 text, wiped on drop.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself. Every call is a place to look at in a review.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Length in bytes: what a check of strength may know.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no text at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A 256-bit key as the configuration's text decoded to it, wiped on drop.
pub struct KeyBytes(Zeroizing<[u8; KeyBytes::LENGTH]>);

impl KeyBytes {
    /// Bytes in a key.
    pub const LENGTH: usize = 32;

    /// Takes the bytes over.
    #[must_use]
    pub fn new(bytes: Zeroizing<[u8; Self::LENGTH]>) -> Self {
        Self(bytes)
    }

    /// The key itself.
    #[must_use]
    pub fn expose(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }
}

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyBytes(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_secret_shows_nothing_of_it() {
        let secret = Secret::new("canary-4711".into());
        let key = KeyBytes::new(Zeroizing::new([0x41; 32]));
        let shown = format!("{secret:?} {key:?}");
        assert!(!shown.contains("canary") && !shown.contains("65") && !shown.contains("AAAA"));
    }
}
