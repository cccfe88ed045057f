//! The families of refresh tokens: one for each exchange, turned by whoever comes first.
//!
//! What is kept, and where, is a [`FamilyStore`]'s. What a token is worth is judged here, on a copy, and takes effect by one
//! exchange of the newest hash, so that several processes that share a store turn a family once, too.

use std::sync::Arc;

use async_trait::async_trait;

use super::carried::Carried;
use super::memory::MemoryStore;
use super::refresh::{RefreshToken, SuccessorKeys, Unusable, Worth, judge};

/// How often a turn is tried again that another one came before. What is found then is judged anew, and is no turn.
const TURNS_MAX: usize = 3;

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

impl Family {
    /// What its tokens carry; none where a store gave something else back.
    pub fn carried(&self) -> Option<Carried> {
        Carried::from_bytes(&self.carried)
    }
}

/// Why a store does not keep a family, or says nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// There is no room for another family.
    #[error("there is no room for another family of refresh tokens")]
    Full,
    /// It is out of reach.
    #[error("the families of refresh tokens are out of reach")]
    Unreachable,
}

/// Where families are kept: bounded, each until its end at most. Each call is one step of its own: whatever happens at
/// once happens in some order.
#[async_trait]
pub trait FamilyStore: Send + Sync {
    /// Keeps a new family. A session that has as many as it may loses its oldest.
    async fn put(&self, id: FamilyId, family: Family, now: i64) -> Result<(), NotKept>;
    /// The family, if it is kept.
    async fn get(&self, id: &FamilyId) -> Result<Option<Family>, NotKept>;
    /// Makes `next` the newest token, if `newest` still is; says whether it was.
    async fn turn(
        &self,
        id: &FamilyId,
        newest: &[u8; 32],
        next: [u8; 32],
        now: i64,
    ) -> Result<bool, NotKept>;
    /// Forgets a family.
    async fn remove(&self, id: &FamilyId) -> Result<(), NotKept>;
    /// Forgets the families of a session.
    async fn remove_session(&self, session: &str) -> Result<(), NotKept>;
    /// Forgets what is over.
    fn sweep(&self, now: i64);
}

/// The families. One for the process.
pub struct Families(Box<dyn FamilyStore>);

impl std::fmt::Debug for Families {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Families")
    }
}

/// In this process: they don't outlive it, and after a restart a client exchanges its login again.
impl Default for Families {
    fn default() -> Self {
        Self::kept_in(Box::new(MemoryStore::default()))
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

/// What a token is judged by beside its family.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'s> {
    /// The SHA-256 of the certificate of the client that shows it.
    pub certificate: Option<&'s [u8; 32]>,
    /// Unix seconds.
    pub now: i64,
    /// What turns tokens.
    pub keys: &'s SuccessorKeys,
}

impl Families {
    /// Families in a store.
    pub fn kept_in(store: Box<dyn FamilyStore>) -> Self {
        Self(store)
    }

    /// Begins a family with its first token. A session's oldest makes room for it.
    ///
    /// # Errors
    /// [`NotKept`]: the answer then goes without a refresh token.
    pub async fn begin(
        &self,
        token: &RefreshToken,
        family: Family,
        now: i64,
    ) -> Result<(), NotKept> {
        self.0.put(*token.family(), family, now).await
    }

    /// What a token would give now, without using it.
    ///
    /// # Errors
    /// [`Unusable`]; a family that is too old or whose token was used before has ended then.
    pub async fn look(&self, token: &RefreshToken, shown: Shown<'_>) -> Result<Family, Unusable> {
        self.judged(token, shown).await.map(|(family, _)| family)
    }

    /// Uses a token. Of several who use the same one at once the first turns the family; the others get what he got.
    ///
    /// # Errors
    /// As [`Families::look`].
    pub async fn turn(&self, token: &RefreshToken, shown: Shown<'_>) -> Result<Turned, Unusable> {
        for _ in 0..TURNS_MAX {
            let (family, usable) = self.judged(token, shown).await?;
            let next = match usable {
                Usable::Again(next) => return Ok(Turned { next, family }),
                Usable::Newest(next) => next,
            };
            let turned = self
                .0
                .turn(token.family(), &family.current, next.hash(), shown.now);
            if turned.await? {
                return Ok(Turned { next, family });
            }
        }
        Err(Unusable::Unavailable)
    }

    async fn judged(
        &self,
        token: &RefreshToken,
        shown: Shown<'_>,
    ) -> Result<(Family, Usable), Unusable> {
        let id = token.family();
        let family = self.0.get(id).await?.ok_or(Unusable::Unknown)?;
        match judge(token, &family, shown).ok_or(Unusable::Unavailable)? {
            Worth::Newest(next) => Ok((family, Usable::Newest(next))),
            Worth::Again(next) => Ok((family, Usable::Again(next))),
            Worth::Foreign => Err(Unusable::Foreign),
            Worth::Expired => {
                self.0.remove(id).await?;
                Err(Unusable::Expired)
            }
            Worth::Reused => {
                self.0.remove(id).await?;
                Err(Unusable::Reused(Box::new(family)))
            }
        }
    }

    /// Ends the families of a session. A store that is out of reach keeps them until their end; the session has ended
    /// all the same, and no token of theirs is worth anything without it.
    pub async fn end_session(&self, session: &str) {
        if let Err(error) = self.0.remove_session(session).await {
            log::warn!("{error}: those of a session that has ended stay until their end");
        }
    }

    /// Forgets families that are over. To be called every second or so.
    pub fn sweep(&self, now: i64) {
        self.0.sweep(now);
    }
}

/// What may be answered.
enum Usable {
    Newest(RefreshToken),
    Again(RefreshToken),
}

impl From<NotKept> for Unusable {
    fn from(_: NotKept) -> Self {
        Self::Unavailable
    }
}
