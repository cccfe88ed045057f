//! The families of refresh tokens: one for each exchange, bounded, and turned by whoever comes first.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use super::carried::Carried;
use super::refresh::{RefreshToken, SuccessorKeys, Unusable, Worth, judge};

/// Families at once.
pub const FAMILIES_MAX: usize = 100_000;
/// What all families carry of their logins together, in bytes.
pub const FAMILIES_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Families of one login session: the oldest makes room.
pub const FAMILIES_PER_SESSION_MAX: usize = 16;
/// How often families that are over are looked for, in seconds.
const SWEEP_SECONDS: i64 = 30;

/// Names a family: random, and no secret.
pub type FamilyId = [u8; 16];

/// What is kept of a family. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// The login session: [`InSession::hashed_id`](crate::session::InSession::hashed_id).
    pub session: Arc<str>,
    /// [`Carried::to_bytes`].
    pub carried: Arc<[u8]>,
    /// The SHA-256 of the certificate of the client that it was issued to.
    pub certificate: Option<[u8; 32]>,
    /// The hash of the newest token.
    pub current: [u8; 32],
    /// The hash of the token before it.
    pub previous: Option<[u8; 32]>,
    /// When it was turned last.
    pub turned_at: i64,
    /// Its end: `refresh_expiration`, or that of the login session where that is sooner.
    pub ends_at: i64,
}

/// There is no room for another family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no room for another family of refresh tokens")]
pub struct Full;

/// The families of this process. They don't outlive it: after a restart a client exchanges its login again.
#[derive(Default)]
pub struct Families(Mutex<Table>);

#[derive(Default)]
struct Table {
    families: HashMap<FamilyId, Family>,
    /// Those of each session, the oldest first.
    sessions: HashMap<Arc<str>, VecDeque<FamilyId>>,
    bytes: usize,
    swept_at: i64,
}

impl std::fmt::Debug for Families {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Families({})", self.len())
    }
}

/// A family that was turned.
#[derive(Debug)]
pub struct Turned {
    /// The token to answer with.
    pub next: RefreshToken,
    /// The family, as it was.
    pub family: Family,
}

impl Families {
    /// Begins a family with its first token. A session's oldest makes room for it.
    ///
    /// # Errors
    /// [`Full`]: the answer then goes without a refresh token.
    pub fn begin(&self, token: &RefreshToken, family: Family, now: i64) -> Result<(), Full> {
        let mut table = self.0.lock();
        table.sweep(now);
        let own = table.sessions.get(&family.session);
        let surplus = own.filter(|own| own.len() >= FAMILIES_PER_SESSION_MAX);
        if let Some(oldest) = surplus.and_then(|own| own.front().copied()) {
            table.remove(&oldest);
        }
        let bytes = table.bytes.saturating_add(family.carried.len());
        if table.families.len() >= FAMILIES_MAX || bytes > FAMILIES_BYTES_MAX {
            return Err(Full);
        }
        table.bytes = bytes;
        let own = table.sessions.entry(Arc::clone(&family.session));
        own.or_default().push_back(*token.family());
        table.families.insert(*token.family(), family);
        Ok(())
    }

    /// What a token would give now, without using it.
    ///
    /// # Errors
    /// [`Unusable`]; a family that is too old or whose token was used before has ended then.
    pub fn look(
        &self,
        token: &RefreshToken,
        certificate: Option<&[u8; 32]>,
        now: i64,
        keys: &SuccessorKeys,
    ) -> Result<Family, Unusable> {
        let mut table = self.0.lock();
        table
            .judge(token, certificate, now, keys)
            .map(|(family, _)| family)
    }

    /// Uses a token. Of several who use the same one at once the first turns the family; the others get what he got.
    ///
    /// # Errors
    /// As [`Families::look`].
    pub fn turn(
        &self,
        token: &RefreshToken,
        certificate: Option<&[u8; 32]>,
        now: i64,
        keys: &SuccessorKeys,
    ) -> Result<Turned, Unusable> {
        let mut table = self.0.lock();
        let (family, worth) = table.judge(token, certificate, now, keys)?;
        let next = match worth {
            Worth::Newest(next) => {
                if let Some(own) = table.families.get_mut(token.family()) {
                    own.previous = Some(own.current);
                    own.current = next.hash();
                    own.turned_at = now;
                }
                next
            }
            Worth::Again(next) => next,
            Worth::Foreign | Worth::Expired | Worth::Reused => return Err(Unusable::Unknown),
        };
        Ok(Turned { next, family })
    }

    /// Ends the families of a session.
    pub fn end_session(&self, session: &str) {
        let mut table = self.0.lock();
        for id in table.sessions.remove(session).unwrap_or_default() {
            table.remove(&id);
        }
    }

    /// Forgets families that are over. To be called every second or so.
    pub fn sweep(&self, now: i64) {
        self.0.lock().sweep(now);
    }

    /// Families there are.
    pub fn len(&self) -> usize {
        self.0.lock().families.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Table {
    fn judge(
        &mut self,
        token: &RefreshToken,
        certificate: Option<&[u8; 32]>,
        now: i64,
        keys: &SuccessorKeys,
    ) -> Result<(Family, Worth), Unusable> {
        let family = self.families.get(token.family());
        let family = family.cloned().ok_or(Unusable::Unknown)?;
        let worth = judge(token, &family, certificate, now, keys).ok_or(Unusable::Unavailable)?;
        match worth {
            Worth::Foreign => Err(Unusable::Foreign),
            Worth::Expired => {
                self.remove(token.family());
                Err(Unusable::Expired)
            }
            Worth::Reused => {
                self.remove(token.family());
                Err(Unusable::Reused(Box::new(family)))
            }
            Worth::Newest(_) | Worth::Again(_) => Ok((family, worth)),
        }
    }

    fn remove(&mut self, id: &FamilyId) {
        let Some(family) = self.families.remove(id) else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(family.carried.len());
        if let Some(own) = self.sessions.get_mut(&family.session) {
            own.retain(|other| other != id);
            if own.is_empty() {
                self.sessions.remove(&family.session);
            }
        }
    }

    fn sweep(&mut self, now: i64) {
        if (0..SWEEP_SECONDS).contains(&now.saturating_sub(self.swept_at)) {
            return;
        }
        self.swept_at = now;
        let over = self
            .families
            .iter()
            .filter(|(_, family)| now >= family.ends_at);
        let over: Vec<_> = over.map(|(id, _)| *id).collect();
        for id in over {
            self.remove(&id);
        }
    }
}

impl Family {
    /// What its tokens carry; none where a store gave something else back.
    pub fn carried(&self) -> Option<Carried> {
        Carried::from_bytes(&self.carried)
    }
}
