//! The table of login sessions as the other rooms see it: one interface, whoever keeps the sessions.

use std::sync::Arc;

use super::live::EndReason;
use super::sealed::SessionSeal;
use super::shared::{Shared, Unreachable};
use super::table::{Admitted, Listed, Memory, Refused, SessionEvent, SessionLimits};
use crate::authn::Authenticated;
use crate::redis::Redis;

/// Login sessions. One for the process.
#[derive(Debug)]
pub struct SessionTable(Store);

#[derive(Debug)]
enum Store {
    /// In this process alone.
    Memory(Box<Memory>),
    /// In a Redis that replicas share.
    Shared(Arc<Shared>),
}

impl SessionTable {
    /// A table in memory. `now_unix` is the wall clock's now: the table's clock never goes behind it again.
    pub fn in_memory(limits: SessionLimits, now_unix: i64) -> Self {
        Self(Store::Memory(Box::new(Memory::new(limits, now_unix))))
    }

    /// A table in `redis`, whose names begin with `prefix`; principals are sealed there. Call
    /// [`SessionTable::look`] every [`LOOK_INTERVAL`](super::LOOK_INTERVAL).
    pub fn shared(
        limits: SessionLimits,
        now_unix: i64,
        redis: Redis,
        prefix: &str,
        seal: SessionSeal,
    ) -> Self {
        let shared = Shared::new(limits, now_unix, redis, prefix, seal);
        Self(Store::Shared(Arc::new(shared)))
    }

    /// Takes a request into its session, which begins here with its first request.
    /// `certificate` is the SHA-256 of the peer's leaf certificate.
    ///
    /// # Errors
    /// [`Refused`]. Its events and those of [`Admitted`] are told nowhere else: record them.
    pub async fn admit(
        &self,
        who: &Arc<Authenticated>,
        certificate: Option<&[u8; 32]>,
        now_unix: i64,
    ) -> Result<Admitted, Refused> {
        match &self.0 {
            Store::Memory(table) => table.admit(who, certificate, now_unix),
            Store::Shared(table) => table.admit(who, certificate, now_unix).await,
        }
    }

    /// Ends what is over and forgets what nothing could revive. To be called every second or so:
    /// it is how sessions that are merely left get their event.
    pub async fn sweep(&self, now_unix: i64) -> Vec<SessionEvent> {
        match &self.0 {
            Store::Memory(table) => table.sweep(now_unix),
            Store::Shared(table) => table.sweep(now_unix).await,
        }
    }

    /// Ends every session of a user.
    ///
    /// # Errors
    /// [`Unreachable`]: the shared store does not answer.
    pub async fn end_user(
        &self,
        issuer: &str,
        subject: &str,
        reason: EndReason,
        now_unix: i64,
    ) -> Result<Vec<SessionEvent>, Unreachable> {
        match &self.0 {
            Store::Memory(table) => Ok(table.end_user(issuer, subject, reason, now_unix)),
            Store::Shared(table) => {
                table
                    .end_logins(issuer, subject, i64::MAX, reason, now_unix)
                    .await
            }
        }
    }

    /// Ends the sessions of a user whose login is not later than `upto`, in seconds since the epoch.
    ///
    /// # Errors
    /// [`Unreachable`]: the shared store does not answer.
    pub async fn end_logins(
        &self,
        issuer: &str,
        subject: &str,
        upto: i64,
        reason: EndReason,
        now_unix: i64,
    ) -> Result<Vec<SessionEvent>, Unreachable> {
        match &self.0 {
            Store::Memory(table) => Ok(table.end_logins(issuer, subject, upto, reason, now_unix)),
            Store::Shared(table) => {
                table
                    .end_logins(issuer, subject, upto, reason, now_unix)
                    .await
            }
        }
    }

    /// Whether this principal's session is one that goes on.
    pub async fn is_live(&self, who: &Authenticated) -> bool {
        match &self.0 {
            Store::Memory(table) => table.is_live(who),
            Store::Shared(table) => table.is_live(who).await,
        }
    }

    /// Whether a login of the provider's was ever shown here, as far as the table remembers.
    pub async fn knows_login(&self, issuer: &str, subject: &str, sid: &str) -> bool {
        match &self.0 {
            Store::Memory(table) => table.knows_login(issuer, subject, sid),
            Store::Shared(table) => table.knows_login(issuer, subject, sid).await,
        }
    }

    /// Ends the sessions of a provider's `sid`, whosever they are (a logout token may come without `sub`).
    ///
    /// # Errors
    /// [`Unreachable`]: the shared store does not answer.
    pub async fn end_sid(
        &self,
        issuer: &str,
        sid: &str,
        reason: EndReason,
        now_unix: i64,
    ) -> Result<Vec<SessionEvent>, Unreachable> {
        match &self.0 {
            Store::Memory(table) => Ok(table.end_sid(issuer, sid, reason, now_unix)),
            Store::Shared(table) => table.end_sid(issuer, sid, reason, now_unix).await,
        }
    }

    /// Ends the session that this principal is in: `/auth/logout`.
    ///
    /// # Errors
    /// [`Unreachable`]: the shared store does not answer.
    pub async fn end(
        &self,
        who: &Authenticated,
        reason: EndReason,
        now_unix: i64,
    ) -> Result<Vec<SessionEvent>, Unreachable> {
        match &self.0 {
            Store::Memory(table) => Ok(table.end(who, reason, now_unix)),
            Store::Shared(table) => table.end(who, reason, now_unix).await,
        }
    }

    /// Ends the session of this id, as events and [`InSession::hashed_id`](super::InSession::hashed_id) name it.
    ///
    /// # Errors
    /// [`Unreachable`]: the shared store does not answer.
    pub async fn end_id(
        &self,
        id: &str,
        reason: EndReason,
        now_unix: i64,
    ) -> Result<Vec<SessionEvent>, Unreachable> {
        match &self.0 {
            Store::Memory(table) => Ok(table.end_id(id, reason, now_unix)),
            Store::Shared(table) => table.end_id(id, reason, now_unix).await,
        }
    }

    /// Ends every session of everybody: only logins after this moment are let in.
    ///
    /// # Errors
    /// [`Unreachable`]: the shared store does not answer.
    pub async fn end_all(
        &self,
        reason: EndReason,
        now_unix: i64,
    ) -> Result<Vec<SessionEvent>, Unreachable> {
        match &self.0 {
            Store::Memory(table) => Ok(table.end_all(reason, now_unix)),
            Store::Shared(table) => table.end_all(reason, now_unix).await,
        }
    }

    /// The live sessions, the longest silent first.
    ///
    /// # Errors
    /// [`Unreachable`]: the shared store does not answer.
    pub async fn list(&self, now_unix: i64) -> Result<Vec<Listed>, Unreachable> {
        match &self.0 {
            Store::Memory(table) => Ok(table.list(now_unix)),
            Store::Shared(table) => table.list(now_unix).await,
        }
    }

    /// Live sessions: `safeguard_sessions_active`.
    pub fn active(&self) -> usize {
        match &self.0 {
            Store::Memory(table) => table.active(),
            Store::Shared(table) => table.active(),
        }
    }

    /// Whether the store answers, as far as the last look at it tells.
    pub fn is_up(&self) -> bool {
        match &self.0 {
            Store::Memory(_) => true,
            Store::Shared(table) => table.is_up(),
        }
    }

    /// One look at what ended elsewhere, for the requests and streams here. A table in memory need not look.
    pub async fn look(&self) {
        match &self.0 {
            Store::Memory(_) => {}
            Store::Shared(table) => table.look().await,
        }
    }
}
