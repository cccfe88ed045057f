//! Versions of a key: the newest one whose date is reached seals, all of them open.

use crate::fernet::FernetKey;
use crate::key::KeyMaterial;
use sha2::{Digest, Sha256};
use std::fmt;

/// Most keys in a ring: an opener of Fernet values tries one after the other.
pub const RING_KEYS_MAX: usize = 64;

/// Why keys make no ring.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum RingError {
    /// There is no key at all.
    #[error("key ring is empty: give it at least one key")]
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
    fernet: FernetKey,
}

impl Held {
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

    pub(crate) fn material(&self) -> &KeyMaterial {
        &self.key.key
    }

    pub(crate) fn fernet(&self) -> &FernetKey {
        &self.fernet
    }
}

/// Keys in the order newest first.
#[derive(Debug)]
pub struct KeyRing {
    newest_first: Vec<Held>,
}

impl KeyRing {
    /// Builds a ring. Of two keys with the same date the one whose id is greater counts as the newer one, so that
    /// every replica seals with the same key.
    ///
    /// # Errors
    /// [`RingError`] if there is no key, there are too many, or two of them can't be told apart.
    pub fn new(keys: Vec<RingKey>) -> Result<Self, RingError> {
        match keys.len() {
            0 => return Err(RingError::Empty),
            found if found > RING_KEYS_MAX => return Err(RingError::TooMany { found }),
            _ => {}
        }
        let mut newest_first: Vec<Held> = Vec::with_capacity(keys.len());
        for key in keys {
            let kid = Kid::of(&key.id);
            if let Some(other) = newest_first.iter().find(|held| held.kid == kid) {
                return Err(RingError::SameKid {
                    first: other.key.id.clone(),
                    second: key.id,
                });
            }
            let fernet = FernetKey::new(&key.key);
            newest_first.push(Held { key, kid, fernet });
        }
        newest_first
            .sort_by(|a, b| (b.key.from_unix, &b.key.id).cmp(&(a.key.from_unix, &a.key.id)));
        Ok(Self { newest_first })
    }

    /// The key that seals now: the newest one whose date is reached. `None` while every key is of the future.
    pub fn sealing(&self, now_unix: i64) -> Option<&Held> {
        self.newest_first
            .iter()
            .find(|held| held.key.from_unix <= now_unix)
    }

    /// Every key, newest first.
    pub fn keys(&self) -> impl Iterator<Item = &Held> {
        self.newest_first.iter()
    }

    /// The kid of every key, newest first.
    pub fn kids(&self) -> impl Iterator<Item = Kid> {
        self.newest_first.iter().map(Held::kid)
    }

    pub(crate) fn by_kid(&self, kid: &[u8; Kid::BYTES]) -> Option<&Held> {
        self.newest_first.iter().find(|held| held.kid.0 == *kid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str, from_unix: i64) -> RingKey {
        RingKey {
            id: id.to_owned(),
            from_unix,
            key: KeyMaterial::from_raw(&[7; 32]).unwrap(),
        }
    }

    #[test]
    fn the_newest_key_whose_date_is_reached_seals() {
        let ring = KeyRing::new(vec![key("b", 200), key("a", 100), key("c", 300)]).unwrap();
        let sealing = |now| ring.sealing(now).map(Held::id);
        assert_eq!(
            (sealing(99), sealing(100), sealing(299)),
            (None, Some("a"), Some("b"))
        );
        assert_eq!(sealing(i64::MAX), Some("c"));
        assert_eq!(
            ring.keys().map(Held::id).collect::<Vec<_>>(),
            ["c", "b", "a"]
        );
    }

    #[test]
    fn of_two_keys_with_one_date_the_greater_id_seals_whatever_their_order() {
        for keys in [
            vec![key("a", 1), key("b", 1)],
            vec![key("b", 1), key("a", 1)],
        ] {
            assert_eq!(
                KeyRing::new(keys).unwrap().sealing(1).map(Held::id),
                Some("b")
            );
        }
    }

    #[test]
    fn keys_that_cannot_be_told_apart_are_refused() {
        let refused = KeyRing::new(vec![key("same", 1), key("same", 2)]).err();
        assert_eq!(
            refused,
            Some(RingError::SameKid {
                first: "same".into(),
                second: "same".into()
            })
        );
        assert_eq!(KeyRing::new(Vec::new()).err(), Some(RingError::Empty));
        let many = (0..65).map(|i| key(&i.to_string(), 0)).collect();
        assert_eq!(
            KeyRing::new(many).err(),
            Some(RingError::TooMany { found: 65 })
        );
    }

    #[test]
    fn a_kid_is_shown_in_hexadecimal() {
        assert_eq!(Kid::of("").to_string(), "e3b0c44298fc1c14");
    }

    #[test]
    fn debug_of_a_ring_shows_no_key() {
        let ring = KeyRing::new(vec![key("a", 1)]).unwrap();
        let shown = format!("{ring:?}");
        assert!(
            shown.contains("KeyMaterial(..)")
                && shown.contains("FernetKey(..)")
                && !shown.contains("7, 7"),
            "{shown}"
        );
    }
}
