//! Which event ids an MCP session was given: the ones it may resume a stream from.
//!
//! An event id names a place in the upstream's store of events, and some stores are shared by all sessions of a server.
//! So an id counts only in the session that it was given to; anywhere else it is as if it did not exist.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use parking_lot::Mutex;

/// Event ids of one session that are remembered, the newest: a client resumes from the last one that it saw.
pub const GIVEN_MAX: usize = 1024;

/// Keys that nobody outside knows: no id can be made to pass for another.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The ids that were given, as hashes.
#[derive(Debug, Default)]
pub(super) struct Given(Mutex<VecDeque<u64>>);

impl Given {
    /// Notes an id, before it goes to the client.
    pub(super) fn note(&self, id: &[u8]) {
        let hash = HASHER.hash_one(id);
        let mut given = self.0.lock();
        // A server that numbers all its streams alike says one id often.
        if given.back() == Some(&hash) {
            return;
        }
        if given.len() >= GIVEN_MAX {
            given.pop_front();
        }
        given.push_back(hash);
    }

    /// Whether an id was given, and not so long ago that it is forgotten.
    pub(super) fn knows(&self, id: &[u8]) -> bool {
        self.0.lock().contains(&HASHER.hash_one(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_where_it_was_given_until_many_newer_ones_were() {
        let (one, other) = (Given::default(), Given::default());
        one.note(b"a");
        assert!(one.knows(b"a") && !one.knows(b"b") && !other.knows(b"a"));
        for number in 0..GIVEN_MAX {
            one.note(number.to_string().as_bytes());
        }
        assert!(!one.knows(b"a"), "forgotten");
        assert!(one.knows(b"0"));
        assert!(one.0.lock().len() <= GIVEN_MAX);
    }
}
