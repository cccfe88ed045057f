//! A session that lives, and the proof that a request is in one.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::watch;

use super::clock::Clock;

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// No request for `idle_timeout`.
    Idle,
    /// Older than `session_timeout`.
    AbsoluteLimit,
    /// The user logged in once more than `max_sessions_per_user`.
    Displaced,
    /// The user, or the identity provider, ended it.
    Logout,
    /// An operator ended it.
    Terminated,
    /// The identity provider said that the person was changed: disabled, deleted, logged out, given other credentials, or less roles.
    ByProvider,
    /// The token expired.
    TokenExpired,
    /// A refresh token of the session was used twice.
    RefreshReused,
    /// The store that replicas share is away, so that nobody knows whether it goes on. Only requests and streams end by it.
    StoreDown,
}

impl EndReason {
    /// A stable snake_case word, for audit and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::AbsoluteLimit => "absolute_limit",
            Self::Displaced => "displaced",
            Self::Logout => "logout",
            Self::Terminated => "terminated",
            Self::ByProvider => "identity_provider",
            Self::TokenExpired => "token_expired",
            Self::RefreshReused => "refresh_token_reused",
            Self::StoreDown => "session_store_down",
        }
    }
}

impl EndReason {
    const ALL: [Self; 9] = [
        Self::Idle,
        Self::AbsoluteLimit,
        Self::Displaced,
        Self::Logout,
        Self::Terminated,
        Self::TokenExpired,
        Self::RefreshReused,
        Self::ByProvider,
        Self::StoreDown,
    ];

    /// The reason of a word that [`EndReason::code`] gave; of any other: an operator's.
    pub(super) fn from_code(code: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|reason| reason.code() == code)
            .unwrap_or(Self::Terminated)
    }
}

impl std::fmt::Display for EndReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ByProvider => "the identity provider changed the person",
            Self::Idle => "the session was idle for too long",
            Self::AbsoluteLimit => "the session reached its absolute limit",
            Self::Displaced => "the session was displaced by a newer login",
            Self::Logout => "the session was logged out",
            Self::Terminated => "the session was terminated",
            Self::TokenExpired => "the token has expired",
            Self::RefreshReused => "a refresh token of the session was used twice",
            Self::StoreDown => "the store of login sessions does not answer",
        })
    }
}

/// What the table and the requests of one session share. Times are Unix seconds of the table's [`Clock`].
pub(super) struct Live {
    pub(super) clock: Arc<Clock>,
    pub(super) last: AtomicI64,
    pub(super) absolute_end: AtomicI64,
    pub(super) idle: i64,
    pub(super) ended: watch::Sender<Option<EndReason>>,
}

impl Live {
    pub(super) fn new(clock: &Arc<Clock>, now: i64, absolute_end: i64, idle: i64) -> Arc<Self> {
        Arc::new(Self {
            clock: Arc::clone(clock),
            last: AtomicI64::new(now),
            absolute_end: AtomicI64::new(absolute_end),
            idle,
            ended: watch::Sender::new(None),
        })
    }

    /// Why the session is over at `now`, if it is.
    pub(super) fn over(&self, now: i64) -> Option<EndReason> {
        if now >= self.absolute_end.load(Ordering::Relaxed) {
            return Some(EndReason::AbsoluteLimit);
        }
        (now >= self.idle_end()).then_some(EndReason::Idle)
    }

    fn idle_end(&self) -> i64 {
        self.last.load(Ordering::Relaxed).saturating_add(self.idle)
    }

    /// The next moment at which something could end the session, and what.
    fn next_end(&self, token_end: i64) -> (i64, EndReason) {
        [
            (token_end, EndReason::TokenExpired),
            (
                self.absolute_end.load(Ordering::Relaxed),
                EndReason::AbsoluteLimit,
            ),
            (self.idle_end(), EndReason::Idle),
        ]
        .into_iter()
        .min_by_key(|(at, _)| *at)
        .unwrap_or((token_end, EndReason::TokenExpired))
    }
}

/// The proof that a request is in a live login session. Open streams hold it and await [`InSession::ended`].
#[derive(Clone)]
pub struct InSession {
    pub(super) live: Arc<Live>,
    pub(super) id: Arc<str>,
    pub(super) token_end: i64,
}

impl InSession {
    /// The session's id as audit may hold it: the hex SHA-256 of issuer, subject and `sid` (else `jti`).
    pub fn hashed_id(&self) -> &str {
        &self.id
    }

    /// The latest moment, in Unix seconds, at which this request may still be served:
    /// the token's end or the absolute limit, whichever is first.
    pub fn until(&self) -> i64 {
        self.token_end
            .min(self.live.absolute_end.load(Ordering::Relaxed))
    }

    /// The session's absolute limit, in Unix seconds.
    pub fn ends_at(&self) -> i64 {
        self.live.absolute_end.load(Ordering::Relaxed)
    }

    /// Why the session is over, if it is: a look without waiting.
    pub fn is_over(&self) -> Option<EndReason> {
        let now = self.live.clock.steady();
        (*self.live.ended.borrow())
            .or_else(|| (now >= self.token_end).then_some(EndReason::TokenExpired))
            .or_else(|| self.live.over(now))
    }

    /// Resolves when the session, or this request's token, ends. Cancel-safe. The session's
    /// event is told by the table ([`SessionTable::sweep`](super::SessionTable::sweep)), not here.
    pub async fn ended(&self) -> EndReason {
        let mut told = self.live.ended.subscribe();
        loop {
            if let Some(reason) = *told.borrow_and_update() {
                return reason;
            }
            let (at, reason) = self.live.next_end(self.token_end);
            let Some(at) = self.live.clock.instant_of(at) else {
                return reason;
            };
            tokio::select! {
                biased;
                changed = told.changed() => if changed.is_err() {
                    return EndReason::Terminated;
                },
                () = tokio::time::sleep_until(at) => {}
            }
        }
    }
}

impl std::fmt::Debug for InSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InSession({})", self.id)
    }
}
