//! What a key may still be used for, and how often it was.

use std::sync::atomic::{AtomicU64, Ordering};

/// Values sealed under one key, in one process, from which on an operator should rotate it: a sixteenth of the 2^32 that
/// NIST SP 800-38D §8.3 allows for random nonces under one key. Most keys never come near it: `hs1` values and tokens
/// are sealed under keys that are derived anew for each body; what counts in full are Fernet and JWE values.
pub const OPERATIONS_ALERT: u64 = 1 << 28;

/// What a key may still be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// It seals once its date is reached, and opens.
    Active,
    /// It opens only: what it sealed is to be sealed anew.
    DecryptOnly,
    /// It is gone: only its name is known, so that what it sealed can be told from what was tampered with.
    Destroyed,
}

impl KeyState {
    /// Every state, in the order of a key's life.
    pub const ALL: [Self; 3] = [Self::Active, Self::DecryptOnly, Self::Destroyed];

    /// The word of the configuration and of metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::DecryptOnly => "decrypt-only",
            Self::Destroyed => "destroyed",
        }
    }
}

/// A key with its state, as a ring is built from it. A destroyed key has no material.
#[derive(Debug)]
pub enum Entry<K> {
    /// [`KeyState::Active`].
    Active(K),
    /// [`KeyState::DecryptOnly`].
    DecryptOnly(K),
    /// [`KeyState::Destroyed`].
    Destroyed {
        /// Its name in the configuration.
        id: String,
    },
}

/// How often a key (or a key derived from it) sealed and opened since its ring was built, or since an older ring that
/// it counts on ([`super::KeyRing::counting_on`]). Relaxed counters: exact in sum, in no order with anything else.
#[derive(Debug, Default)]
pub struct Operations {
    sealed: AtomicU64,
    opened: AtomicU64,
}

impl Operations {
    /// Values sealed.
    pub fn sealed(&self) -> u64 {
        self.sealed.load(Ordering::Relaxed)
    }

    /// Values whose opening was tried, whether they opened or not.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Both.
    pub fn total(&self) -> u64 {
        self.sealed().saturating_add(self.opened())
    }

    /// Whether [`OPERATIONS_ALERT`] is reached by what was sealed: only sealing wears a key out.
    pub fn alert(&self) -> bool {
        self.sealed() >= OPERATIONS_ALERT
    }

    pub(crate) fn count_sealed(&self) {
        self.sealed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn set_sealed(&self, count: u64) {
        self.sealed.store(count, Ordering::Relaxed);
    }
}
