//! Versions of a key: the newest active one whose date is reached seals, all that are not destroyed open.
//!
//! Searchable values are the exception: they are sealed under the oldest active key ([`KeyRing::first`]), because a
//! query finds only what was sealed under the same key as itself.

mod state;

pub use state::{Entry, KeyState, OPERATIONS_ALERT, Operations};

use crate::fernet::FernetKey;
use crate::jwe::JweKeys;
use crate::key::{KeyMaterial, decode_hex};
use crate::plaintext::OpenError;
use crate::search::SearchKeys;
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Most keys in a ring: an opener of Fernet values tries one after the other.
pub const RING_KEYS_MAX: usize = 64;

/// Why keys make no ring.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum RingError {
    /// There is no key with material.
    #[error("key ring is empty: give it at least one key that is not destroyed")]
    Empty,
    /// More than [`RING_KEYS_MAX`] keys.
    #[error(
        "key ring has {found} keys, at most {RING_KEYS_MAX} are allowed: drop those that no stored value needs"
    )]
    TooMany {
        /// Keys given.
        found: usize,
    },
    /// Two keys have the same key id, or two ids whose SHA-256 begins with the same 8 bytes.
    #[error(
        "keys `{first}` and `{second}` can't be told apart in sealed values: rename one of them"
    )]
    SameKid {
        /// Id of the one.
        first: String,
        /// Id of the other.
        second: String,
    },
}

/// One version of a key.
#[derive(Debug)]
pub struct RingKey {
    /// Its name in the configuration; sealed values carry a hash of it.
    pub id: String,
    /// It seals from this moment on (Unix time in seconds); it opens at any time.
    pub from_unix: i64,
    /// The secret.
    pub key: KeyMaterial,
}

/// The first 8 bytes of SHA-256(key id): how a sealed value names its key. Shown in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kid(pub(crate) [u8; Kid::BYTES]);

impl Kid {
    /// Its length in bytes.
    pub const BYTES: usize = 8;

    /// The kid of a key id.
    pub fn of(key_id: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(key_id.as_bytes()).into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        Self([a, b, c, d, e, f, g, h])
    }

    /// Reads 16 hexadecimal digits in lower case, as [`Kid`] is shown.
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) || text.len() != 2 * Self::BYTES {
            return None;
        }
        let bytes = decode_hex(text).ok()?;
        bytes.first_chunk().map(|kid| Self(*kid))
    }
}

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kid({self})")
    }
}

/// A key of a ring with what is computed from it once.
#[derive(Debug)]
pub struct Held {
    key: RingKey,
    kid: Kid,
    state: KeyState,
    fernet: FernetKey,
    /// Derived when first needed: most rings never do.
    search: OnceLock<Option<SearchKeys>>,
    jwe: OnceLock<Option<JweKeys>>,
    operations: Arc<Operations>,
}

impl Held {
    fn new(key: RingKey, state: KeyState) -> Self {
        Self {
            kid: Kid::of(&key.id),
            fernet: FernetKey::new(&key.key),
            key,
            state,
            search: OnceLock::new(),
            jwe: OnceLock::new(),
            operations: Arc::default(),
        }
    }

    /// The key's id in the configuration.
    pub fn id(&self) -> &str {
        &self.key.id
    }

    /// How sealed values name it.
    pub fn kid(&self) -> Kid {
        self.kid
    }

    /// It seals from this moment on (Unix time in seconds).
    pub fn from_unix(&self) -> i64 {
        self.key.from_unix
    }

    /// [`KeyState::Active`] or [`KeyState::DecryptOnly`]: a destroyed key is not held.
    pub fn state(&self) -> KeyState {
        self.state
    }

    /// How often it was used in this process.
    pub fn operations(&self) -> &Operations {
        &self.operations
    }

    fn is_active(&self) -> bool {
        self.state == KeyState::Active
    }

    pub(crate) fn counter(&self) -> &Arc<Operations> {
        &self.operations
    }

    /// The keys of its searchable values.
    pub(crate) fn search(&self) -> Option<&SearchKeys> {
        let derive = || SearchKeys::derive(self.material(), self.kid);
        self.search.get_or_init(derive).as_ref()
    }

    /// The keys of its JWEs.
    pub(crate) fn jwe(&self) -> Option<&JweKeys> {
        let derive = || JweKeys::derive(self.material(), self.kid);
        self.jwe.get_or_init(derive).as_ref()
    }

    pub(crate) fn material(&self) -> &KeyMaterial {
        &self.key.key
    }

    pub(crate) fn fernet(&self) -> &FernetKey {
        &self.fernet
    }
}

/// A key that is gone: its name only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destroyed {
    /// Its id in the configuration.
    pub id: String,
    /// How sealed values name it.
    pub kid: Kid,
}

/// Keys in the order newest first.
#[derive(Debug)]
pub struct KeyRing {
    newest_first: Vec<Held>,
    destroyed: Vec<Destroyed>,
}

impl KeyRing {
    /// Builds a ring of active keys; see [`KeyRing::with_states`].
    ///
    /// # Errors
    /// [`RingError`] if there is no key, there are too many, or two of them can't be told apart.
    pub fn new(keys: Vec<RingKey>) -> Result<Self, RingError> {
        Self::with_states(keys.into_iter().map(Entry::Active).collect())
    }

    /// Builds a ring. Of two keys with the same date the one whose id is greater counts as the newer one, so that
    /// every replica seals with the same key.
    ///
    /// # Errors
    /// [`RingError`] if there is no key with material, there are too many, or two of them (destroyed ones too) can't
    /// be told apart.
    pub fn with_states(entries: Vec<Entry<RingKey>>) -> Result<Self, RingError> {
        if entries.len() > RING_KEYS_MAX {
            let found = entries.len();
            return Err(RingError::TooMany { found });
        }
        let mut ring = Self {
            newest_first: Vec::with_capacity(entries.len()),
            destroyed: Vec::new(),
        };
        for entry in entries {
            ring.add(entry)?;
        }
        if ring.newest_first.is_empty() {
            return Err(RingError::Empty);
        }
        ring.newest_first
            .sort_by(|a, b| (b.key.from_unix, &b.key.id).cmp(&(a.key.from_unix, &a.key.id)));
        Ok(ring)
    }

    fn add(&mut self, entry: Entry<RingKey>) -> Result<(), RingError> {
        let (Entry::Active(RingKey { id, .. })
        | Entry::DecryptOnly(RingKey { id, .. })
        | Entry::Destroyed { id }) = &entry;
        let kid = Kid::of(id);
        if let Some(first) = self.id_of(kid) {
            return Err(RingError::SameKid {
                first: first.to_owned(),
                second: id.clone(),
            });
        }
        match entry {
            Entry::Active(key) => self.newest_first.push(Held::new(key, KeyState::Active)),
            Entry::DecryptOnly(key) => self
                .newest_first
                .push(Held::new(key, KeyState::DecryptOnly)),
            Entry::Destroyed { id } => self.destroyed.push(Destroyed { id, kid }),
        }
        Ok(())
    }

    /// Lets the keys that `old` holds too count on where they stand there: a configuration that is read anew is no
    /// reason to forget how worn a key is. The counters are shared, so that what still runs with `old` counts here.
    #[must_use]
    pub fn counting_on(mut self, old: &Self) -> Self {
        for held in &mut self.newest_first {
            if let Some(before) = old.by_kid(&held.kid.0) {
                held.operations = Arc::clone(&before.operations);
            }
        }
        self
    }

    /// The id behind a kid, also of a destroyed key.
    pub fn id_of(&self, kid: Kid) -> Option<&str> {
        let held = self.by_kid(&kid.0).map(Held::id);
        held.or_else(|| {
            let gone = self.destroyed.iter().find(|gone| gone.kid == kid);
            gone.map(|gone| gone.id.as_str())
        })
    }

    /// The key that seals now: the newest active one whose date is reached. `None` while there is none.
    pub fn sealing(&self, now_unix: i64) -> Option<&Held> {
        self.newest_first
            .iter()
            .find(|held| held.is_active() && held.key.from_unix <= now_unix)
    }

    /// The oldest active key, whatever its date: searchable values are sealed under it ([`crate::search`]).
    pub fn first(&self) -> Option<&Held> {
        self.newest_first.iter().rfind(|held| held.is_active())
    }

    /// Every key that is held, newest first.
    pub fn keys(&self) -> impl Iterator<Item = &Held> {
        self.newest_first.iter()
    }

    /// The kid of every key that is held, newest first.
    pub fn kids(&self) -> impl Iterator<Item = Kid> {
        self.newest_first.iter().map(Held::kid)
    }

    /// Every key that is destroyed, as configured.
    pub fn destroyed(&self) -> &[Destroyed] {
        &self.destroyed
    }

    /// Whether a kid names a destroyed key.
    pub fn is_destroyed(&self, kid: Kid) -> bool {
        self.destroyed.iter().any(|gone| gone.kid == kid)
    }

    pub(crate) fn by_kid(&self, kid: &[u8; Kid::BYTES]) -> Option<&Held> {
        self.newest_first.iter().find(|held| held.kid.0 == *kid)
    }

    /// The key that a sealed value names.
    pub(crate) fn opening(&self, kid: &[u8; Kid::BYTES]) -> Result<&Held, OpenError> {
        self.by_kid(kid).ok_or(if self.is_destroyed(Kid(*kid)) {
            OpenError::Destroyed
        } else {
            OpenError::Refused
        })
    }
}

#[cfg(test)]
mod tests;
