//! Derived keys of recent bodies, so that a body of many values costs one derivation when it is opened.

use crate::aead::Derived;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Derived keys that an opener keeps unless told otherwise; each takes about a kilobyte.
pub const DERIVED_KEYS_MAX: usize = 1024;

/// What names a derived key: version, kid and salt.
type Name = [u8; 33];

/// A bounded map, first in first out: the values of a body arrive together, so recency of use adds nothing.
/// A key that is evicted is wiped as soon as its last user is done with it.
pub(crate) struct DerivedCache {
    keys_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_name: HashMap<Name, Arc<Derived>>,
    oldest_first: VecDeque<Name>,
}

impl DerivedCache {
    pub(crate) fn new(keys_max: usize) -> Self {
        Self {
            keys_max,
            kept: Mutex::default(),
        }
    }

    pub(crate) fn get(&self, name: &Name) -> Option<Arc<Derived>> {
        self.kept().by_name.get(name).map(Arc::clone)
    }

    pub(crate) fn put(&self, name: Name, derived: &Arc<Derived>) {
        if self.keys_max == 0 {
            return;
        }
        let mut kept = self.kept();
        if kept.by_name.insert(name, Arc::clone(derived)).is_some() {
            return;
        }
        kept.oldest_first.push_back(name);
        while kept.oldest_first.len() > self.keys_max {
            if let Some(oldest) = kept.oldest_first.pop_front() {
                kept.by_name.remove(&oldest);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let kept = self.kept();
        assert_eq!(kept.by_name.len(), kept.oldest_first.len());
        kept.by_name.len()
    }

    /// A panic elsewhere while the lock was held leaves at worst a key too many or too few.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for DerivedCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DerivedCache(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aead::ENVELOPE;
    use crate::key::KeyMaterial;
    use crate::ring::{KeyRing, RingKey};

    fn derived() -> Arc<Derived> {
        let key = RingKey {
            id: "k".into(),
            from_unix: 0,
            key: KeyMaterial::from_raw(&[1; 32]).unwrap(),
        };
        let ring = KeyRing::new(vec![key]).unwrap();
        Arc::new(Derived::new(&ENVELOPE, ring.sealing(0).unwrap(), &[0; 24]).unwrap())
    }

    #[test]
    fn the_oldest_key_is_dropped_when_the_bound_is_reached() {
        let cache = DerivedCache::new(2);
        let first = derived();
        cache.put([1; 33], &first);
        cache.put([1; 33], &first);
        let gone = Arc::downgrade(&first);
        drop(first);
        assert!(gone.upgrade().is_some());
        cache.put([2; 33], &derived());
        cache.put([3; 33], &derived());
        assert!(gone.upgrade().is_none(), "evicted but still held");
        assert_eq!(
            [1, 2, 3].map(|i| cache.get(&[i; 33]).is_some()),
            [false, true, true]
        );
        assert_eq!(cache.len(), 2);
    }

    #[test]
    fn a_bound_of_zero_keeps_nothing() {
        let cache = DerivedCache::new(0);
        cache.put([1; 33], &derived());
        assert_eq!(cache.len(), 0);
    }
}
