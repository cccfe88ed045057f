//! Proofs that were used already, bounded in time and number.
//!
//! Two generations of one window each: a proof is remembered for at least the time in which it could be taken. What is
//! forgotten is refused by its time from then on, so that no jump of the clock lets one through twice.

use std::collections::HashSet;

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::ProofError;

/// Proofs that are remembered per window. Above it further ones are refused.
pub const PROOFS_MAX: usize = 262_144;

/// The first half of a SHA-256: what a proof is known by.
pub(in crate::authn) type ProofId = [u8; 16];

/// What something is known by that these texts name.
pub(in crate::authn) fn id(parts: &[&str]) -> ProofId {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(hash.finalize().iter()) {
        *to = *from;
    }
    id
}

/// The memory.
pub(in crate::authn) struct Replays {
    window: i64,
    most: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    began: i64,
    current: Generation,
    previous: Generation,
    /// Proofs of this time and before may have been forgotten.
    forgotten: Option<i64>,
}

#[derive(Default)]
struct Generation {
    seen: HashSet<ProofId>,
    newest: Option<i64>,
}

impl Replays {
    /// For proofs that can be taken for `window` seconds.
    pub(in crate::authn) fn new(window: i64) -> Self {
        Self::bounded(window, PROOFS_MAX)
    }

    fn bounded(window: i64, most: usize) -> Self {
        Self {
            window,
            most,
            inner: Mutex::new(Inner::default()),
        }
    }

    /// Takes a proof, once.
    pub(in crate::authn) fn take(
        &self,
        id: ProofId,
        issued_at: i64,
        now: i64,
    ) -> Result<(), ProofError> {
        let mut inner = self.inner.lock();
        if now.saturating_sub(inner.began) > self.window {
            inner.turn(now);
        }
        if inner.forgotten.is_some_and(|time| issued_at <= time) {
            return Err(ProofError::Stale);
        }
        if inner.previous.seen.contains(&id) || inner.current.seen.contains(&id) {
            return Err(ProofError::Replayed);
        }
        if inner.current.seen.len() >= self.most {
            return Err(ProofError::Full);
        }
        inner.current.seen.insert(id);
        inner.current.newest = inner.current.newest.max(Some(issued_at));
        Ok(())
    }
}

impl Inner {
    fn turn(&mut self, now: i64) {
        let current = std::mem::take(&mut self.current);
        let old = std::mem::replace(&mut self.previous, current);
        self.forgotten = self.forgotten.max(old.newest);
        self.began = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_taken_once_while_it_could_be_taken() {
        let replays = Replays::bounded(65, 10);
        assert_eq!(replays.take([1; 16], 1000, 1000), Ok(()));
        for now in [1000, 1060, 1065, 1066, 1100] {
            assert_eq!(
                replays.take([1; 16], 1000, now),
                Err(ProofError::Replayed),
                "{now}"
            );
        }
    }

    #[test]
    fn what_was_forgotten_is_not_taken_after_the_clock_has_jumped() {
        let replays = Replays::bounded(65, 10);
        assert_eq!(replays.take([1; 16], 1000, 1000), Ok(()));
        assert_eq!(replays.take([2; 16], 2000, 2000), Ok(()));
        assert_eq!(replays.take([3; 16], 3000, 3000), Ok(()));
        assert_eq!(replays.take([1; 16], 1000, 1000), Err(ProofError::Stale));
    }

    #[test]
    fn more_proofs_than_the_bound_are_refused_until_their_time_is_over() {
        let replays = Replays::bounded(65, 2);
        assert_eq!(replays.take([1; 16], 1000, 1000), Ok(()));
        assert_eq!(replays.take([2; 16], 1000, 1000), Ok(()));
        assert_eq!(replays.take([3; 16], 1000, 1000), Err(ProofError::Full));
        assert_eq!(replays.take([3; 16], 1070, 1070), Ok(()));
    }
}
