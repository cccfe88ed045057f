//! Login sessions in a Redis or Valkey that replicas share.
//!
//! Every decision is one script there ([`super::scripts`]), so that two replicas never judge by different tables. A replica
//! keeps nothing but what its own requests and streams hold, and looks after those every [`LOOK_INTERVAL`]: whatever ended
//! elsewhere ends here, too. Where Redis does not answer no request is let in, and after [`STALE_MAX`] what is
//! open ends: it might have been ended elsewhere.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::{FromRedisValue, Script};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::clock::Clock;
use super::live::{EndReason, InSession, Live};
use super::scripts::{BATCH_MAX, MARGIN, Scripts};
use super::sealed::SessionSeal;
use super::table::{
    Admitted, EventKind, Listed, Refusal, Refused, SessionEvent, SessionLimits, hex, login_id,
    session_key, sid_key, user_key, user_key_of,
};
use crate::authn::Authenticated;
use crate::redis::{Redis, Unavailable};

/// Between two looks at the sessions of open requests and streams.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(300);
/// How long open streams go on while nobody can tell whether their sessions do.
pub const STALE_MAX: Duration = Duration::from_secs(5);

/// The store gave no answer. What was asked of it may have been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store of login sessions does not answer")]
pub struct Unreachable;

/// What ended: id, reason, sealed principal.
type Ended = Vec<(String, String, Vec<u8>)>;

/// The store.
pub(super) struct Shared {
    redis: Redis,
    prefix: String,
    scripts: Scripts,
    seal: SessionSeal,
    limits: SessionLimits,
    absolute: i64,
    idle: i64,
    clock: Arc<Clock>,
    /// The sessions that requests and streams here are in, by id.
    held: Mutex<HashMap<Arc<str>, Arc<Live>>>,
    /// Events whose asker went away before he was told of them: the next sweep's.
    untold: Mutex<Vec<SessionEvent>>,
    active: AtomicUsize,
    heard: Mutex<Instant>,
    up: AtomicBool,
}

impl Shared {
    pub(super) fn new(
        limits: SessionLimits,
        now_unix: i64,
        redis: Redis,
        prefix: &str,
        seal: SessionSeal,
    ) -> Self {
        let seconds = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX).max(1);
        Self {
            redis,
            prefix: prefix.to_owned(),
            scripts: Scripts::new(),
            seal,
            absolute: seconds(limits.absolute),
            idle: seconds(limits.idle),
            limits,
            clock: Arc::new(Clock::starting_at(now_unix)),
            held: Mutex::default(),
            untold: Mutex::default(),
            active: AtomicUsize::new(0),
            heard: Mutex::new(Instant::now()),
            up: AtomicBool::new(false),
        }
    }

    /// Runs a script with the common arguments before its own.
    async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        now: i64,
        own: impl FnOnce(&mut redis::ScriptInvocation<'_>),
    ) -> Result<T, Unreachable> {
        let mut call = script.key(&self.prefix);
        call.arg(now)
            .arg(self.clock.steady())
            .arg(self.absolute)
            .arg(self.idle)
            .arg(MARGIN)
            .arg(BATCH_MAX);
        own(&mut call);
        let answer = self.redis.script(&call).await;
        answer.map_err(|why| self.down(&why))
    }

    /// Said once, when it begins.
    fn down(&self, why: &Unavailable) -> Unreachable {
        if self.up.swap(false, Ordering::Relaxed) {
            log::error!("login sessions: {why}; requests are refused until it answers");
        }
        Unreachable
    }

    /// See [`SessionTable::admit`](super::SessionTable::admit).
    pub(super) async fn admit(
        self: &Arc<Self>,
        who: &Arc<Authenticated>,
        certificate: Option<&[u8; 32]>,
        now_unix: i64,
    ) -> Result<Admitted, Refused> {
        let refused = |refusal| Refused {
            refusal,
            events: Vec::new(),
        };
        let now = self.clock.now(now_unix);
        if now >= who.expires_at() {
            return Err(refused(Refusal::Ended(EndReason::TokenExpired)));
        }
        if who.bound_certificate().is_some() && who.bound_certificate() != certificate {
            return Err(refused(Refusal::CertificateMismatch));
        }
        let (store, asker) = (Arc::clone(self), Arc::clone(who));
        let asked = self
            .told(async move { store.ask_admit(&asker, now).await })
            .await;
        let (verdict, events) = asked.map_err(|_| refused(Refusal::Unavailable))?;
        match verdict {
            Ok(session) => Ok(Admitted { session, events }),
            Err(refusal) => Err(Refused { refusal, events }),
        }
    }

    async fn ask_admit(
        &self,
        who: &Arc<Authenticated>,
        now: i64,
    ) -> Result<(Result<InSession, Refusal>, Vec<SessionEvent>), Unreachable> {
        let id: Arc<str> = hex(&session_key(who)).into();
        let sealed = self.seal.seal(&id, who).ok_or(Unreachable)?;
        let sid = who.sid().map(|sid| hex(&sid_key(who.login_issuer(), sid)));
        let since = who.authenticated_at().unwrap_or_else(|| who.issued_at());
        // Software without a person has as many sessions as it has tokens.
        let per_user = match who.is_service() {
            true => 0,
            false => self.limits.per_user.max(1),
        };
        let (word, reason, last, absolute_end, ended): (String, String, i64, i64, Ended) = self
            .run(&self.scripts.admit, now, |call| {
                call.arg(&*id)
                    .arg(hex(&user_key(who)))
                    .arg(sid.unwrap_or_default())
                    .arg(who.authenticated_at().unwrap_or(-1))
                    .arg(since)
                    .arg(who.expires_at())
                    .arg(per_user)
                    .arg(self.limits.table_max)
                    .arg(sealed)
                    .arg(i64::from(self.limits.refuses_new));
            })
            .await?;
        let mut events = self.ended(ended);
        let begun = word == "begun";
        if begun {
            events.push(SessionEvent {
                kind: EventKind::Login,
                who: Arc::clone(who),
                session: Arc::clone(&id),
            });
        }
        let verdict = match word.as_str() {
            "begun" | "live" => Ok(InSession {
                live: self.hold(&id, begun, last, absolute_end),
                id,
                token_end: who.expires_at(),
            }),
            "full" => Err(Refusal::TableFull),
            "many" => Err(Refusal::TooMany),
            _ => Err(Refusal::Ended(EndReason::from_code(&reason))),
        };
        Ok((verdict, events))
    }

    /// What requests and streams of a session share here. A session that began anew shares nothing with the one before it.
    fn hold(&self, id: &Arc<str>, begun: bool, last: i64, absolute_end: i64) -> Arc<Live> {
        let mut held = self.held.lock();
        if let Some(live) = held.get(id)
            && !begun
            && live.ended.borrow().is_none()
        {
            live.last.fetch_max(last, Ordering::Relaxed);
            live.absolute_end.fetch_max(absolute_end, Ordering::Relaxed);
            return Arc::clone(live);
        }
        let live = Live::new(&self.clock, last, absolute_end, self.idle);
        if let Some(before) = held.insert(Arc::clone(id), Arc::clone(&live)) {
            end_here(&before, EndReason::Displaced);
        }
        live
    }

    /// The events of what a script ended; streams of it that are open here end at once.
    fn ended(&self, ended: Ended) -> Vec<SessionEvent> {
        let mut events = Vec::new();
        for (id, reason, sealed) in ended {
            let reason = EndReason::from_code(&reason);
            if let Some(live) = self.held.lock().remove(id.as_str()) {
                end_here(&live, reason);
            }
            match self.seal.open(&id, &sealed) {
                Some(who) => events.push(SessionEvent {
                    kind: EventKind::Ended(reason),
                    who,
                    session: id.into(),
                }),
                None => log::error!(
                    "login sessions: session {id} ended ({}), and who it was of can't be read: do all replicas have the same keys.audit?",
                    reason.code()
                ),
            }
        }
        events
    }

    /// Goes on though the asker leaves: what happened is told to him, else by the next sweep.
    async fn told<T: Told>(
        self: &Arc<Self>,
        asked: impl Future<Output = Result<T, Unreachable>> + Send + 'static,
    ) -> Result<T, Unreachable> {
        let (tell, answer) = oneshot::channel();
        let store = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(Ok(untold)) = tell.send(asked.await) {
                store.untold.lock().extend(untold.events());
            }
        });
        answer.await.map_err(|_| Unreachable)?
    }

    /// See [`SessionTable::sweep`](super::SessionTable::sweep).
    pub(super) async fn sweep(&self, now_unix: i64) -> Vec<SessionEvent> {
        let mut events = std::mem::take(&mut *self.untold.lock());
        let now = self.clock.now(now_unix);
        let swept = self.run(&self.scripts.sweep, now, |_| {}).await;
        if let Ok((active, ended)) = swept {
            self.active.store(active, Ordering::Relaxed);
            events.extend(self.ended(ended));
        }
        events
    }

    /// Ends sessions as the script's `what` and `key` name them, those whose login is not later than `upto`.
    async fn end_what(
        self: &Arc<Self>,
        what: &'static str,
        key: String,
        upto: i64,
        reason: EndReason,
        now_unix: i64,
    ) -> Result<Vec<SessionEvent>, Unreachable> {
        let store = Arc::clone(self);
        let now = self.clock.now(now_unix);
        self.told(async move {
            let ended = store.run(&store.scripts.end, now, |call| {
                call.arg(reason.code())
                    .arg(what)
                    .arg(key)
                    .arg(upto)
                    .arg(store.limits.table_max);
            });
            Ok(store.ended(ended.await?))
        })
        .await
    }

    pub(super) async fn end_logins(
        self: &Arc<Self>,
        issuer: &str,
        subject: &str,
        upto: i64,
        reason: EndReason,
        now_unix: i64,
    ) -> Result<Vec<SessionEvent>, Unreachable> {
        let key = hex(&user_key_of(issuer, subject));
        self.end_what("user", key, upto, reason, now_unix).await
    }

    pub(super) async fn end_sid(
        self: &Arc<Self>,
        issuer: &str,
        sid: &str,
        reason: EndReason,
        now_unix: i64,
    ) -> Result<Vec<SessionEvent>, Unreachable> {
        let key = hex(&sid_key(issuer, sid));
        self.end_what("sid", key, i64::MAX, reason, now_unix).await
    }

    pub(super) async fn end(
        self: &Arc<Self>,
        who: &Authenticated,
        reason: EndReason,
        now_unix: i64,
    ) -> Result<Vec<SessionEvent>, Unreachable> {
        let id = hex(&session_key(who));
        self.end_what("id", id, i64::MAX, reason, now_unix).await
    }

    pub(super) async fn end_id(
        self: &Arc<Self>,
        id: &str,
        reason: EndReason,
        now_unix: i64,
    ) -> Result<Vec<SessionEvent>, Unreachable> {
        self.end_what("id", id.to_owned(), i64::MAX, reason, now_unix)
            .await
    }

    pub(super) async fn end_all(
        self: &Arc<Self>,
        reason: EndReason,
        now_unix: i64,
    ) -> Result<Vec<SessionEvent>, Unreachable> {
        self.end_what("all", "all".to_owned(), i64::MAX, reason, now_unix)
            .await
    }

    /// The live sessions, at most [`BATCH_MAX`] of them.
    pub(super) async fn list(&self, now_unix: i64) -> Result<Vec<Listed>, Unreachable> {
        let now = self.clock.now(now_unix);
        let rows: Vec<(String, i64, i64, Vec<u8>)> = self
            .run(&self.scripts.list, now, |call| {
                call.arg(BATCH_MAX);
            })
            .await?;
        let listed = rows.into_iter().filter_map(|(id, last, end, sealed)| {
            Some(Listed {
                who: self.seal.open(&id, &sealed)?,
                id: id.into(),
                silent: now.saturating_sub(last).max(0),
                left: end.saturating_sub(now).max(0),
            })
        });
        let mut listed: Vec<_> = listed.collect();
        listed.sort_by_key(|session| std::cmp::Reverse(session.silent));
        Ok(listed)
    }

    async fn looked(&self, ids: &[Arc<str>]) -> Result<Vec<Looked>, Unreachable> {
        self.run(&self.scripts.look, self.clock.steady(), |call| {
            for id in ids {
                call.arg(&**id);
            }
        })
        .await
    }

    async fn state(&self, id: String) -> Option<String> {
        let looked = self.looked(&[id.into()]).await.ok()?;
        looked.into_iter().next().map(|(state, ..)| state)
    }

    pub(super) async fn is_live(&self, who: &Authenticated) -> bool {
        self.state(hex(&session_key(who))).await.as_deref() == Some("live")
    }

    pub(super) async fn knows_login(&self, issuer: &str, subject: &str, sid: &str) -> bool {
        let state = self.state(login_id(issuer, subject, sid)).await;
        state.is_some_and(|state| state != "gone")
    }

    pub(super) fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    pub(super) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// One look at every session that a request or stream here is in. To be called every [`LOOK_INTERVAL`].
    pub(super) async fn look(&self) {
        let held: Vec<_> = {
            let mut held = self.held.lock();
            held.retain(|_, live| Arc::strong_count(live) > 1);
            let pairs = held.iter();
            pairs
                .map(|(id, live)| (Arc::clone(id), Arc::clone(live)))
                .collect()
        };
        let mut first = true;
        let mut chunks = held.chunks(BATCH_MAX);
        while let Some(chunk) = chunks.next().or_else(|| first.then_some(&[][..])) {
            first = false;
            let ids: Vec<_> = chunk.iter().map(|(id, _)| Arc::clone(id)).collect();
            let Ok(looked) = self.looked(&ids).await else {
                return self.give_up();
            };
            for ((_, live), found) in chunk.iter().zip(looked) {
                brought_up(live, &found);
            }
        }
        *self.heard.lock() = Instant::now();
        if !self.up.swap(true, Ordering::Relaxed) {
            log::info!("login sessions: the store answers");
        }
    }

    /// Ends what is open here, if nobody has known for too long whether it goes on.
    fn give_up(&self) {
        if self.heard.lock().elapsed() < STALE_MAX {
            return;
        }
        for (_, live) in self.held.lock().drain() {
            end_here(&live, EndReason::StoreDown);
        }
    }
}

/// State, reason of the end, last request, absolute end.
type Looked = (String, String, i64, i64);

fn brought_up(live: &Live, (state, reason, last, absolute_end): &Looked) {
    match state.as_str() {
        "live" => {
            live.last.fetch_max(*last, Ordering::Relaxed);
            live.absolute_end
                .fetch_max(*absolute_end, Ordering::Relaxed);
        }
        "ended" => end_here(live, EndReason::from_code(reason)),
        // Forgotten, by a server that lost what it kept.
        _ => end_here(live, EndReason::StoreDown),
    }
}

/// The first reason stays.
fn end_here(live: &Live, reason: EndReason) {
    live.ended.send_if_modified(|told| {
        let is_first = told.is_none();
        told.get_or_insert(reason);
        is_first
    });
}

/// An answer with events in it.
trait Told: Send + 'static {
    fn events(self) -> Vec<SessionEvent>;
}

impl Told for Vec<SessionEvent> {
    fn events(self) -> Vec<SessionEvent> {
        self
    }
}

impl Told for (Result<InSession, Refusal>, Vec<SessionEvent>) {
    fn events(self) -> Vec<SessionEvent> {
        self.1
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shared({} active)", self.active())
    }
}
