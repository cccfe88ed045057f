//! The table of login sessions of one process.
//!
//! One slot a session, from its first request until nothing could revive it: a slot is *live*, then *ended*. An ended slot
//! refuses its session's tokens until they have expired; only a login after the end
//! (a later `auth_time` in the same `sid`) opens it again. Because the slots of both kinds share one bound,
//! ending a session never needs room that isn't there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::clock::Clock;
use super::live::{EndReason, InSession, Live};
use crate::authn::Authenticated;

/// Slots of the table, by default.
pub const SESSIONS_MAX_DEFAULT: usize = 65_536;

/// The limits of login sessions: `keycloak.session_timeout`, `idle_timeout`, `max_sessions_per_user`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// The longest session, from `auth_time`, else from its first request's `iat`. Whole seconds.
    pub absolute: Duration,
    /// The longest time without a request. Whole seconds.
    pub idle: Duration,
    /// Sessions of one user at a time, at least one.
    pub per_user: usize,
    /// Whether a login above that is refused; else it ends the user's oldest session.
    pub refuses_new: bool,
    /// Slots, of live and of ended sessions together.
    pub table_max: usize,
}

impl Default for SessionLimits {
    /// The seed's: 900 s, 300 s, one session.
    fn default() -> Self {
        Self {
            absolute: Duration::from_secs(900),
            idle: Duration::from_secs(300),
            per_user: 1,
            refuses_new: false,
            table_max: SESSIONS_MAX_DEFAULT,
        }
    }
}

/// What happened to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Its first accepted request: `user_login`.
    Login,
    /// Its end: `user_logout` (`session_terminated` for [`EndReason::Terminated`]) with the reason.
    Ended(EndReason),
}

/// Something for the audit log.
#[derive(Debug, Clone)]
pub struct SessionEvent {
    /// What happened.
    pub kind: EventKind,
    /// The principal as of the session's last login.
    pub who: Arc<Authenticated>,
    /// As [`InSession::hashed_id`].
    pub session: Arc<str>,
}

/// A request that may go on, and what to record.
#[derive(Debug)]
pub struct Admitted {
    /// The proof.
    pub session: InSession,
    /// In the order in which they happened.
    pub events: Vec<SessionEvent>,
}

/// Why a request with a good token may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its session is over: 401.
    #[error("{0}")]
    Ended(EndReason),
    /// The token is bound to another client certificate (RFC 8705 §3): 401.
    #[error("the token is bound to another client certificate")]
    CertificateMismatch,
    /// The store does not answer: 503.
    #[error("the store of login sessions does not answer: try again later")]
    Unavailable,
    /// The user has as many sessions as may be, and the oldest are kept: 403.
    #[error("as many sessions of this user are open as may be: end one, or wait until one is over")]
    TooMany,
    /// No room for another session: 503.
    #[error("there is no room for another session: try again later")]
    TableFull,
}

impl Refusal {
    /// A stable snake_case word, for audit and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Ended(reason) => reason.code(),
            Self::CertificateMismatch => "certificate_mismatch",
            Self::Unavailable => "session_store_down",
            Self::TooMany => "too_many_sessions",
            Self::TableFull => "session_table_full",
        }
    }
}

/// A refusal, and what to record: the session may have been found over just now.
#[derive(Debug, thiserror::Error)]
#[error("{refusal}")]
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// In the order in which they happened.
    pub events: Vec<SessionEvent>,
}

/// A live session, as an administrator sees it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// As [`InSession::hashed_id`].
    pub id: Arc<str>,
    /// Whose.
    pub who: Arc<Authenticated>,
    /// Seconds since its last request.
    pub silent: i64,
    /// Seconds until its absolute limit.
    pub left: i64,
}

pub(crate) type SessionKey = [u8; 32];
pub(super) type UserKey = [u8; 32];

/// Login sessions in memory.
pub(super) struct Memory {
    limits: SessionLimits,
    absolute: i64,
    idle: i64,
    clock: Arc<Clock>,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    /// Logouts of users and providers' sessions, known whether or not a request has shown them yet.
    barriers: HashMap<[u8; 32], Barrier>,
    /// A barrier for everybody, up to this login: where all logouts end, and those for which there was no room.
    everybody: Option<Barrier>,
    sessions: HashMap<SessionKey, Slot>,
    /// The live sessions of each user, oldest login first.
    users: HashMap<UserKey, Vec<SessionKey>>,
}

/// Sessions that began no later than this are over, though no request was seen in them.
#[derive(Clone, Copy)]
struct Barrier {
    reason: EndReason,
    /// The latest login that it holds.
    upto: i64,
    /// After this nothing that it holds could be within the absolute limit.
    keep_until: i64,
}

enum Slot {
    Live(Open),
    Ended(Closed),
}

struct Open {
    live: Arc<Live>,
    who: Arc<Authenticated>,
    id: Arc<str>,
    user: UserKey,
    /// The latest end of the tokens seen.
    tokens_end: i64,
    /// The latest login seen; before all time if no token told.
    login: i64,
}

struct Closed {
    reason: EndReason,
    /// Only a login after this opens the session anew.
    login_after: i64,
    keep_until: i64,
}

impl Memory {
    /// An empty table. `now_unix` is the wall clock's now: the table's clock never goes behind it again.
    pub(super) fn new(limits: SessionLimits, now_unix: i64) -> Self {
        let seconds = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX).max(1);
        Self {
            absolute: seconds(limits.absolute),
            idle: seconds(limits.idle),
            limits,
            clock: Arc::new(Clock::starting_at(now_unix)),
            slots: Mutex::new(Slots::default()),
        }
    }

    /// Takes a request into its session, which begins here with its first request.
    /// `certificate` is the SHA-256 of the peer's leaf certificate.
    ///
    /// # Errors
    /// [`Refused`]. Its events and those of [`Admitted`] are told nowhere else: record them.
    pub(super) fn admit(
        &self,
        who: &Arc<Authenticated>,
        certificate: Option<&[u8; 32]>,
        now_unix: i64,
    ) -> Result<Admitted, Refused> {
        let now = self.clock.now(now_unix);
        let mut events = Vec::new();
        let refusal = match self.try_admit(who, certificate, now, &mut events) {
            Ok(session) => return Ok(Admitted { session, events }),
            Err(refusal) => refusal,
        };
        Err(Refused { refusal, events })
    }

    fn try_admit(
        &self,
        who: &Arc<Authenticated>,
        certificate: Option<&[u8; 32]>,
        now: i64,
        events: &mut Vec<SessionEvent>,
    ) -> Result<InSession, Refusal> {
        if now >= who.expires_at() {
            return Err(Refusal::Ended(EndReason::TokenExpired));
        }
        if who.bound_certificate().is_some() && who.bound_certificate() != certificate {
            return Err(Refusal::CertificateMismatch);
        }
        let key = session_key(who);
        let mut slots = self.slots.lock();
        slots.end_if_over(&key, now, self.absolute, events);
        match slots.sessions.get_mut(&key) {
            Some(Slot::Live(open)) => return Ok(self.go_on(open, who, now)),
            Some(Slot::Ended(closed)) if !closed.is_reopened_by(who) => {
                closed.keep_until = closed.keep_until.max(who.expires_at());
                return Err(Refusal::Ended(closed.reason));
            }
            _ => {}
        }
        self.begin(&mut slots, key, who, now, events)
    }

    /// A further request of a live session. A later `auth_time` is a fresh login in it: the absolute limit moves.
    fn go_on(&self, open: &mut Open, who: &Arc<Authenticated>, now: i64) -> InSession {
        open.live.last.fetch_max(now, Ordering::Relaxed);
        open.tokens_end = open.tokens_end.max(who.expires_at());
        if let Some(auth_time) = who.authenticated_at() {
            open.login = open.login.max(auth_time);
            let end = auth_time.min(now).saturating_add(self.absolute);
            open.live.absolute_end.fetch_max(end, Ordering::Relaxed);
        }
        open.in_session(who)
    }

    fn begin(
        &self,
        slots: &mut Slots,
        key: SessionKey,
        who: &Arc<Authenticated>,
        now: i64,
        events: &mut Vec<SessionEvent>,
    ) -> Result<InSession, Refusal> {
        let since = who.authenticated_at().unwrap_or_else(|| who.issued_at());
        let absolute_end = since.min(now).saturating_add(self.absolute);
        if now >= absolute_end {
            return Err(Refusal::Ended(EndReason::AbsoluteLimit));
        }
        if slots.sessions.len() >= self.limits.table_max && !slots.sessions.contains_key(&key) {
            slots.forget(self.clock.steady());
            if slots.sessions.len() >= self.limits.table_max {
                return Err(Refusal::TableFull);
            }
        }
        let user = user_key(who);
        if let Some(reason) = slots.barred(who, &user, since) {
            return Err(Refusal::Ended(reason));
        }
        // Software without a person has as many sessions as it has tokens.
        if !who.is_service() {
            slots.make_room_for(&user, &self.limits, now, self.absolute, events)?;
        }
        let open = Open {
            live: Live::new(&self.clock, now, absolute_end, self.idle),
            who: Arc::new(who.remembered()),
            id: hex(&key).into(),
            user,
            tokens_end: who.expires_at(),
            login: who.authenticated_at().unwrap_or(i64::MIN),
        };
        let session = open.in_session(who);
        events.push(open.event(EventKind::Login));
        slots.sessions.insert(key, Slot::Live(open));
        slots.users.entry(user).or_default().push(key);
        Ok(session)
    }

    /// Ends what is over and forgets what nothing could revive. To be called every second or so:
    /// it is how sessions that are merely left get their event.
    pub(super) fn sweep(&self, now_unix: i64) -> Vec<SessionEvent> {
        let now = self.clock.now(now_unix);
        let mut events = Vec::new();
        let mut slots = self.slots.lock();
        slots.end_where(now, self.absolute, &mut events, |open| open.over(now));
        slots.forget(self.clock.steady());
        events
    }

    /// Whether this principal's session is one that goes on.
    pub(super) fn is_live(&self, who: &Authenticated) -> bool {
        matches!(
            self.slots.lock().sessions.get(&session_key(who)),
            Some(Slot::Live(_))
        )
    }

    /// Whether a login of the provider's was ever shown here, as far as the table remembers.
    pub(super) fn knows_login(&self, issuer: &str, subject: &str, sid: &str) -> bool {
        let key = login_key(issuer, subject, b"sid", sid.as_bytes());
        self.slots.lock().sessions.contains_key(&key)
    }

    /// Ends every session of a user.
    pub(super) fn end_user(
        &self,
        issuer: &str,
        subject: &str,
        reason: EndReason,
        now_unix: i64,
    ) -> Vec<SessionEvent> {
        self.end_logins(issuer, subject, i64::MAX, reason, now_unix)
    }

    /// Ends the sessions of a user whose login is not later than `upto`, in seconds since the epoch: what was told late ends nothing younger.
    pub(super) fn end_logins(
        &self,
        issuer: &str,
        subject: &str,
        upto: i64,
        reason: EndReason,
        now_unix: i64,
    ) -> Vec<SessionEvent> {
        let barrier = Some(user_key_of(issuer, subject));
        self.end_matching(barrier, upto, reason, now_unix, |open| {
            open.who.login_issuer() == issuer && open.who.subject() == subject && open.login <= upto
        })
    }

    /// Ends the sessions of a provider's `sid`, whosever they are (a logout token may come without `sub`).
    pub(super) fn end_sid(
        &self,
        issuer: &str,
        sid: &str,
        reason: EndReason,
        now_unix: i64,
    ) -> Vec<SessionEvent> {
        let barrier = Some(sid_key(issuer, sid));
        self.end_matching(barrier, i64::MAX, reason, now_unix, |open| {
            open.who.login_issuer() == issuer && open.who.sid() == Some(sid)
        })
    }

    /// Ends the session of this id, as events and [`InSession::hashed_id`] name it.
    pub(super) fn end_id(&self, id: &str, reason: EndReason, now_unix: i64) -> Vec<SessionEvent> {
        // Its slot is its barrier: what has no slot has no id that anybody was told.
        let now = self.clock.now(now_unix);
        let mut events = Vec::new();
        let mut slots = self.slots.lock();
        slots.end_where(now, self.absolute, &mut events, |open| {
            (*open.id == *id).then_some(reason)
        });
        events
    }

    /// Ends every session of everybody, and those that no request has shown yet.
    pub(super) fn end_all(&self, reason: EndReason, now_unix: i64) -> Vec<SessionEvent> {
        self.end_matching(None, i64::MAX, reason, now_unix, |_| true)
    }

    /// The live sessions, the longest silent first.
    pub(super) fn list(&self, now_unix: i64) -> Vec<Listed> {
        let now = self.clock.now(now_unix);
        let slots = self.slots.lock();
        let live = slots.sessions.values().filter_map(|slot| match slot {
            Slot::Live(open) => Some(open.listed(now)),
            Slot::Ended(_) => None,
        });
        let mut listed: Vec<_> = live.collect();
        listed.sort_by_key(|session| std::cmp::Reverse(session.silent));
        listed
    }

    /// Ends the session that this principal is in: `/auth/logout`.
    pub(super) fn end(
        &self,
        who: &Authenticated,
        reason: EndReason,
        now_unix: i64,
    ) -> Vec<SessionEvent> {
        let now = self.clock.now(now_unix);
        let mut events = Vec::new();
        let mut slots = self.slots.lock();
        slots.close(&session_key(who), reason, now, self.absolute, &mut events);
        events
    }

    /// Live sessions: `safeguard_sessions_active`.
    pub(super) fn active(&self) -> usize {
        self.slots.lock().users.values().map(Vec::len).sum()
    }

    #[cfg(test)]
    pub(super) fn slot_count(&self) -> usize {
        self.slots.lock().sessions.len()
    }

    /// Ends the live sessions that match, and bars those that no request has shown yet: everybody's without a key.
    fn end_matching(
        &self,
        barrier: Option<[u8; 32]>,
        upto: i64,
        reason: EndReason,
        now_unix: i64,
        matches: impl Fn(&Open) -> bool,
    ) -> Vec<SessionEvent> {
        let now = self.clock.now(now_unix);
        let mut events = Vec::new();
        let mut slots = self.slots.lock();
        slots.end_where(now, self.absolute, &mut events, |open| {
            matches(open).then_some(reason)
        });
        let raised = Barrier {
            reason,
            upto: upto.min(now),
            keep_until: now.saturating_add(self.absolute),
        };
        slots.raise(barrier, raised, self.clock.steady(), self.limits.table_max);
        events
    }
}

impl Slots {
    fn end_if_over(
        &mut self,
        key: &SessionKey,
        now: i64,
        absolute: i64,
        events: &mut Vec<SessionEvent>,
    ) {
        if let Some(Slot::Live(open)) = self.sessions.get(key)
            && let Some(reason) = open.over(now)
        {
            self.close(key, reason, now, absolute, events);
        }
    }

    fn end_where(
        &mut self,
        now: i64,
        absolute: i64,
        events: &mut Vec<SessionEvent>,
        reason: impl Fn(&Open) -> Option<EndReason>,
    ) {
        let ending: Vec<_> = self
            .sessions
            .iter()
            .filter_map(|(key, slot)| match slot {
                Slot::Live(open) => reason(open).map(|reason| (*key, reason)),
                Slot::Ended(_) => None,
            })
            .collect();
        for (key, reason) in ending {
            self.close(&key, reason, now, absolute, events);
        }
    }

    /// Ends a user's oldest sessions until one more fits. Those that are over anyway end for their own reason.
    fn make_room_for(
        &mut self,
        user: &UserKey,
        limits: &SessionLimits,
        now: i64,
        absolute: i64,
        events: &mut Vec<SessionEvent>,
    ) -> Result<(), Refusal> {
        for key in self.users.get(user).cloned().unwrap_or_default() {
            self.end_if_over(&key, now, absolute, events);
        }
        let live = self.users.get(user).cloned().unwrap_or_default();
        let surplus = (live.len() + 1).saturating_sub(limits.per_user.max(1));
        if surplus > 0 && limits.refuses_new {
            return Err(Refusal::TooMany);
        }
        for key in live.iter().take(surplus) {
            self.close(key, EndReason::Displaced, now, absolute, events);
        }
        Ok(())
    }

    /// Turns a live slot into an ended one. What is ended already is left alone.
    fn close(
        &mut self,
        key: &SessionKey,
        reason: EndReason,
        now: i64,
        absolute: i64,
        events: &mut Vec<SessionEvent>,
    ) {
        let Some(slot) = self.sessions.get_mut(key) else {
            return;
        };
        let Slot::Live(open) = slot else {
            return;
        };
        open.live.ended.send_replace(Some(reason));
        events.push(open.event(EventKind::Ended(reason)));
        let user = open.user;
        let login_after = open.login_that_reopens(reason, now, absolute);
        *slot = Slot::Ended(Closed {
            reason,
            login_after,
            // Tokens of the session may exist that were never shown here; `absolute` is what they had left at most.
            keep_until: open.tokens_end.max(now.saturating_add(absolute)),
        });
        if let Entry::Occupied(mut of_user) = self.users.entry(user) {
            of_user.get_mut().retain(|other| other != key);
            if of_user.get().is_empty() {
                of_user.remove();
            }
        }
    }

    /// Where there is no room for one more barrier it holds everybody: a logout is never forgotten.
    fn raise(&mut self, key: Option<[u8; 32]>, barrier: Barrier, steady: i64, max: usize) {
        if self.barriers.len() >= max {
            self.forget(steady);
        }
        match key {
            Some(key) if self.barriers.len() < max || self.barriers.contains_key(&key) => {
                let known = self.barriers.entry(key).or_insert(barrier);
                if known.upto <= barrier.upto {
                    *known = barrier;
                }
            }
            _ => {
                let known = self.everybody.get_or_insert(barrier);
                if known.upto <= barrier.upto {
                    *known = barrier;
                }
            }
        }
    }

    /// Why a session that began at `since` and has no slot is over all the same.
    fn barred(&self, who: &Authenticated, user: &UserKey, since: i64) -> Option<EndReason> {
        let sid = who.sid().map(|sid| sid_key(who.login_issuer(), sid));
        let of_sid = sid.and_then(|sid| self.barriers.get(&sid));
        [of_sid, self.barriers.get(user), self.everybody.as_ref()]
            .into_iter()
            .flatten()
            .find(|barrier| since <= barrier.upto)
            .map(|barrier| barrier.reason)
    }

    /// Frees the slots of sessions whose tokens have all expired, by the steady clock:
    /// a wall clock that is ahead for a moment must not free them early.
    fn forget(&mut self, steady: i64) {
        self.barriers
            .retain(|_, barrier| steady < barrier.keep_until);
        self.everybody = self.everybody.filter(|barrier| steady < barrier.keep_until);
        self.sessions.retain(|_, slot| match slot {
            Slot::Live(_) => true,
            Slot::Ended(closed) => steady < closed.keep_until,
        });
    }
}

impl Open {
    fn over(&self, now: i64) -> Option<EndReason> {
        let token_over = self.who.sid().is_none() && now >= self.tokens_end;
        // Without a `sid` no further token can continue the session.
        self.live
            .over(now)
            .or(token_over.then_some(EndReason::TokenExpired))
    }

    /// After what a login must be to open the session anew: the last request for one that idled out, the last login for one
    /// that grew too old, the end itself for one that was ended. Never a login that was already seen, though its
    /// issuer's clock be ahead.
    fn login_that_reopens(&self, reason: EndReason, now: i64, absolute: i64) -> i64 {
        let after = match reason {
            EndReason::Idle => self.live.last.load(Ordering::Relaxed),
            EndReason::AbsoluteLimit => {
                let end = self.live.absolute_end.load(Ordering::Relaxed);
                end.saturating_sub(absolute)
            }
            _ => now,
        };
        after.max(self.login)
    }

    fn listed(&self, now: i64) -> Listed {
        let last = self.live.last.load(Ordering::Relaxed);
        let end = self.live.absolute_end.load(Ordering::Relaxed);
        Listed {
            id: Arc::clone(&self.id),
            who: Arc::clone(&self.who),
            silent: now.saturating_sub(last).max(0),
            left: end.saturating_sub(now).max(0),
        }
    }

    fn in_session(&self, who: &Authenticated) -> InSession {
        InSession {
            live: Arc::clone(&self.live),
            id: Arc::clone(&self.id),
            token_end: who.expires_at(),
        }
    }

    fn event(&self, kind: EventKind) -> SessionEvent {
        SessionEvent {
            kind,
            who: Arc::clone(&self.who),
            session: Arc::clone(&self.id),
        }
    }
}

impl Closed {
    /// Only a later login opens a session anew; a refreshed token doesn't.
    fn is_reopened_by(&self, who: &Authenticated) -> bool {
        who.authenticated_at()
            .is_some_and(|time| time > self.login_after)
    }
}

/// Which session a principal is in.
pub(crate) fn session_key(who: &Authenticated) -> SessionKey {
    let (kind, id): (&[u8], &[u8]) = match (who.sid(), who.jti()) {
        (Some(sid), _) => (b"sid", sid.as_bytes()),
        (None, Some(jti)) => (b"jti", jti.as_bytes()),
        (None, None) => (b"token", who.token_digest()),
    };
    login_key(who.login_issuer(), who.subject(), kind, id)
}

fn login_key(issuer: &str, subject: &str, kind: &[u8], id: &[u8]) -> SessionKey {
    key(&[
        b"safeguard login session",
        issuer.as_bytes(),
        subject.as_bytes(),
        kind,
        id,
    ])
}

/// The id that events give the session of a provider's `sid`, whether or not it was ever shown here.
pub fn login_id(issuer: &str, subject: &str, sid: &str) -> String {
    hex(&login_key(issuer, subject, b"sid", sid.as_bytes()))
}

pub(super) fn user_key(who: &Authenticated) -> UserKey {
    user_key_of(who.login_issuer(), who.subject())
}

pub(super) fn user_key_of(issuer: &str, subject: &str) -> UserKey {
    key(&[b"safeguard user", issuer.as_bytes(), subject.as_bytes()])
}

pub(super) fn sid_key(issuer: &str, sid: &str) -> [u8; 32] {
    key(&[b"safeguard sid", issuer.as_bytes(), sid.as_bytes()])
}

/// SHA-256 of the parts, each behind its length: no two lists of parts look the same.
pub(super) fn key(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// The hex SHA-256 of the parts, as [`key`] keeps them apart.
pub(crate) fn digest(parts: &[&[u8]]) -> String {
    hex(&key(parts))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Memory({} active)", self.active())
    }
}
