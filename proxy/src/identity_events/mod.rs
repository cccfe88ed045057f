//! Keycloak's user and administrator events, in the audit trail: what people and administrators do where the sidecar is not asked.
//!
//! - **Each once.** Keycloak's id of an event is its id here (`details.identity_event`). An id is written as pending before its
//!   event is recorded, and as seen once the record is durable; what a crash leaves pending is looked for in the log (`cursor`).
//! - **None lost.** The lists are read from a time on, oldest first, with an overlap for what commits late. What can't be made
//!   durable is read again. What Keycloak has forgotten meanwhile (`eventsExpiration`) is lost: hence the lag as a metric.
//! - **Failed logins** are strangers' doing: the trail limits them, and tells the rest of a window as a count.
//! - **Ends.** Whoever was deleted, disabled, logged out, given other credentials or has lost a role is logged out here too.

mod cursor;
mod happened;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use safeguard_audit::query::{self, Query};
use safeguard_audit::{AuditKeys, Event, EventName, NotDurable, Subject};
use serde_json::Value;
use tokio::sync::watch;

use self::cursor::{Cursor, CursorFile, OVERLAP_MS};
use self::happened::{Ends, Happened};
pub use self::source::SourceSettings;
use self::source::{List, Source, SourceError};
use crate::clock;
use crate::session::{EndReason, login_id};
use crate::sidecar::Sidecar;

/// Until sessions are ended again at a store that did not answer.
const STORE_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
/// Pages of one list at a time; then the other one has its turn.
const PAGES_AT_ONCE: usize = 50;
/// The longest wait between two attempts while they fail.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Events of the log that are looked through for ids: the latest so many.
const RECORDED_MAX: usize = 100_000;
/// The events of the trail that can be Keycloak's.
const NAMES: [EventName; 8] = [
    EventName::UserLogin,
    EventName::UserLogout,
    EventName::FailedLoginAttempt,
    EventName::PasswordReset,
    EventName::PermissionChange,
    EventName::UserCreated,
    EventName::UserDeleted,
    EventName::RoleAssigned,
];
/// Keycloak's id of an event.
const ID: &str = "identity_event";
/// When it happened by Keycloak's clock, in Unix milliseconds.
const AT: &str = "occurred_ms";

/// What the reader needs.
pub struct Settings {
    /// Where the events are.
    pub source: SourceSettings,
    /// How often they are asked for.
    pub interval: Duration,
    /// The state directory.
    pub state: PathBuf,
    /// The log, to see what it holds after a crash.
    pub spool: PathBuf,
    /// Its keys.
    pub keys: AuditKeys,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Settings({:?})", self.source)
    }
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("{0}")]
    Source(#[from] SourceError),
    #[error("their audit records are not durable: {0}")]
    Audit(#[from] NotDurable),
    #[error("the cursor in the state directory: {0}")]
    Cursor(#[from] std::io::Error),
}

impl ReadError {
    fn label(&self) -> &'static str {
        match self {
            Self::Source(error) => error.label(),
            Self::Audit(_) => "audit",
            Self::Cursor(_) => "cursor",
        }
    }
}

/// Reads until the sidecar stops.
pub async fn keep(
    sidecar: Arc<Sidecar>,
    settings: Option<Settings>,
    mut stopping: watch::Receiver<bool>,
) {
    let Some(settings) = settings else { return };
    tokio::select! {
        () = read_on(sidecar, settings) => {}
        _ = stopping.changed() => {}
    }
}

async fn read_on(sidecar: Arc<Sidecar>, settings: Settings) {
    let interval = settings.interval;
    let mut reader = match Reader::new(sidecar, settings) {
        Ok(reader) => reader,
        Err(error) => {
            log::error!("identity events are not read: {error}");
            return;
        }
    };
    let mut failing: Option<&'static str> = None;
    let mut wait = interval;
    loop {
        let read = reader.read().await;
        let label = read.as_ref().map_or_else(ReadError::label, |()| "ok");
        reader.tell(label);
        match read {
            Ok(()) => {
                if failing.take().is_some() {
                    log::info!("identity events are read again");
                }
                wait = interval;
            }
            Err(error) => {
                if failing != Some(label) {
                    log::error!("identity events of {}: {error}", reader.source.issuer());
                }
                failing = Some(label);
                wait = (wait * 2).min(BACKOFF_MAX.max(interval));
            }
        }
        tokio::time::sleep(wait).await;
    }
}

struct Reader {
    sidecar: Arc<Sidecar>,
    source: Source,
    file: CursorFile,
    log: Arc<Log>,
    /// None before the first look.
    cursor: Option<Cursor>,
    /// Unix seconds: both lists were read to their end.
    last_success: i64,
}

/// The audit log, as it lies on the disk.
struct Log {
    spool: PathBuf,
    state: PathBuf,
    keys: AuditKeys,
}

impl Log {
    /// Keycloak's ids that stand in it, each with its time.
    fn recorded(&self) -> std::io::Result<BTreeMap<String, i64>> {
        let asked = Query {
            events: NAMES.to_vec(),
            limit: Some(RECORDED_MAX),
            ..Query::default()
        };
        let answer = query::spool(&self.spool, &self.state, &self.keys, &asked)?;
        let found = answer.records.iter().filter_map(|record| {
            let details = record.value().get("details")?;
            let id = details.get(ID)?.as_str()?.to_owned();
            Some((id, details.get(AT)?.as_i64()?))
        });
        Ok(found.collect())
    }
}

impl Reader {
    fn new(sidecar: Arc<Sidecar>, settings: Settings) -> Result<Self, crate::authn::SettingsError> {
        let file = CursorFile::new(&settings.state);
        let log = Log {
            spool: settings.spool,
            state: settings.state,
            keys: settings.keys,
        };
        Ok(Self {
            source: Source::new(settings.source)?,
            file,
            log: Arc::new(log),
            cursor: None,
            last_success: clock::now_unix(),
            sidecar,
        })
    }

    /// Brings the metrics up to now.
    fn tell(&mut self, result: &'static str) {
        let metrics = &self.sidecar.metrics;
        metrics
            .identity_events_reads_total
            .with_label_values(&[result])
            .inc();
        let now = clock::now_unix();
        if result == "ok" {
            self.last_success = now;
            metrics
                .identity_events_last_success_timestamp_seconds
                .set(now);
        }
        metrics
            .identity_events_lag_seconds
            .set(now.saturating_sub(self.last_success));
    }

    /// Both lists to their end.
    async fn read(&mut self) -> Result<(), ReadError> {
        if self.cursor.is_none() {
            let cursor = self.recall().await?;
            self.file.write(&cursor)?;
            self.cursor = Some(cursor);
        }
        let mut left = vec![List::User, List::Admin];
        while !left.is_empty() {
            for list in std::mem::take(&mut left) {
                if !self.read_list(list).await? {
                    left.push(list);
                }
            }
        }
        Ok(())
    }

    /// Where a former run stopped. Without its word the log tells, and without that it begins now.
    async fn recall(&self) -> Result<Cursor, ReadError> {
        let written = self.file.read()?;
        if let Some(cursor) = &written
            && cursor.pending.is_empty()
        {
            return Ok(cursor.clone());
        }
        let log = Arc::clone(&self.log);
        let recorded = tokio::task::spawn_blocking(move || log.recorded()).await;
        let recorded = recorded.map_err(std::io::Error::other)??;
        Ok(match written {
            Some(mut cursor) => {
                cursor.settle(&recorded.into_keys().collect::<BTreeSet<_>>());
                cursor
            }
            None => {
                let last = recorded.values().max().copied();
                let last = last.unwrap_or_else(|| clock::now_micros() / 1_000);
                Cursor::starting(last.saturating_sub(OVERLAP_MS), &recorded)
            }
        })
    }

    /// A number of pages of a list; whether that was its end.
    async fn read_list(&mut self, list: List) -> Result<bool, ReadError> {
        let mut from_ms = self.place(list).from_ms;
        let mut skip = 0;
        for _ in 0..PAGES_AT_ONCE {
            let page = self.source.page(list, from_ms, skip).await?;
            let last = page.events.iter().filter_map(happened::place).next_back();
            self.take(list, &page.events).await?;
            let Some((last_ms, _)) = last else {
                return Ok(true);
            };
            if !page.full {
                return Ok(true);
            }
            // The next page begins at the last time, for more may stand there; one that is all of one time is stepped over.
            if last_ms > from_ms {
                (from_ms, skip) = (last_ms, 0);
            } else {
                skip = skip.saturating_add(page.events.len());
            }
        }
        Ok(false)
    }

    fn place(&mut self, list: List) -> &mut cursor::Place {
        self.cursor.get_or_insert_default().of(list)
    }

    /// Records what is new in a page, and moves on behind it.
    async fn take(&mut self, list: List, events: &[Value]) -> Result<(), ReadError> {
        let mut batch = BTreeMap::new();
        let mut unread = 0_usize;
        for event in events {
            match happened::place(event) {
                Some((at_ms, id)) if !self.place(list).seen.contains_key(&id) => {
                    batch.insert((at_ms, id), event);
                }
                Some(_) => {}
                None => unread += 1,
            }
        }
        if unread > 0 {
            log::warn!("identity events: {unread} of a page are none: they are passed over");
        }
        let Some((newest, _)) = batch.keys().next_back().cloned() else {
            return Ok(());
        };
        let cursor = self.cursor.get_or_insert_default();
        cursor.pending = batch
            .keys()
            .map(|(at_ms, id)| (id.clone(), *at_ms))
            .collect();
        self.file.write(cursor)?;
        let refused = self.record_all(list, batch).await;
        let cursor = self.cursor.get_or_insert_default();
        cursor.pending.clear();
        if refused.is_none() {
            cursor.of(list).advance(newest);
        }
        self.file.write(cursor)?;
        refused.map_or(Ok(()), |why| Err(why.into()))
    }

    /// Records events, oldest first; those that are durable are done. Why one is not.
    async fn record_all(
        &mut self,
        list: List,
        batch: BTreeMap<(i64, String), &Value>,
    ) -> Option<NotDurable> {
        let mut waiting = Vec::with_capacity(batch.len());
        for ((at_ms, id), event) in batch {
            let pending = match happened::read(list, event) {
                Some(happened) => self.record(&happened).await,
                None => None,
            };
            waiting.push((id, at_ms, pending));
        }
        let mut refused = None;
        for (id, at_ms, pending) in waiting {
            let durable = match pending {
                Some(pending) => pending.durable().await.map(drop),
                None => Ok(()),
            };
            match durable {
                Ok(()) => self.place(list).done(id, at_ms),
                Err(why) => refused = Some(why),
            }
        }
        refused
    }

    /// Ends sessions, and puts an event on its way, unless the sidecar has seen the same itself.
    async fn record(&self, happened: &Happened) -> Option<safeguard_audit::Pending> {
        let issuer = self.source.issuer();
        let ended = self.end(issuer, happened).await;
        let login = happened.actor.as_deref().zip(happened.sid.as_deref());
        let known = match login {
            Some((user, sid)) => self.sidecar.sessions.knows_login(issuer, user, sid).await,
            None => false,
        };
        let is_session = matches!(happened.name, EventName::UserLogin | EventName::UserLogout);
        if is_session && known {
            return None;
        }
        if happened.name == EventName::FailedLoginAttempt {
            self.count_failure(happened);
        }
        let mut event = described(happened, issuer);
        event.session = login.map(|(user, sid)| login_id(issuer, user, sid).into());
        if ended > 0 {
            event = event.detail("sessions_ended", i64::try_from(ended).unwrap_or(i64::MAX));
        }
        if happened.name == EventName::FailedLoginAttempt {
            return self.sidecar.trail.record_unauthenticated(event);
        }
        Some(self.sidecar.recorder.record(event))
    }

    async fn end(&self, issuer: &str, happened: &Happened) -> usize {
        let (sessions, now) = (&self.sidecar.sessions, clock::now_unix());
        // A login after what happened stands, however late we read of it; in the second itself nobody can tell.
        let upto = happened.at_ms.div_euclid(1_000);
        let events = loop {
            let ended = match &happened.ends {
                Ends::Nothing => return 0,
                Ends::User(user) => {
                    sessions
                        .end_logins(issuer, user, upto, EndReason::ByProvider, now)
                        .await
                }
                Ends::Login(sid) => sessions.end_sid(issuer, sid, EndReason::Logout, now).await,
            };
            match ended {
                Ok(events) => break events,
                // Nobody is let in meanwhile; what was told must not be forgotten.
                Err(_) => tokio::time::sleep(STORE_PAUSE).await,
            }
        };
        self.sidecar.recorder.session_events(&events, None);
        events.len()
    }

    fn count_failure(&self, happened: &Happened) {
        let bursts = &self.sidecar.bursts;
        let user = happened.actor.as_deref();
        for by in bursts.failed(user, happened.source, std::time::Instant::now()) {
            self.sidecar
                .metrics
                .failed_login_bursts_total
                .with_label_values(&["identity_provider", by])
                .inc();
        }
    }
}

/// The event of the trail.
fn described<'a>(happened: &'a Happened, issuer: &'a str) -> Event<'a> {
    let mut event = Event::new(happened.name, happened.outcome)
        .reason(happened.reason.as_str())
        .detail("origin", "identity_provider")
        .detail(ID, happened.id.as_str())
        .detail(AT, happened.at_ms);
    event.source = happened.source;
    event.subject = happened.actor.as_deref().map(|actor| Subject {
        sub: actor.into(),
        // An administrator may be of another realm, whose name is not told.
        iss: if happened.actor_here {
            issuer
        } else {
            "another_realm"
        }
        .into(),
        client: happened.client.as_deref().map(Into::into),
        ..Subject::default()
    });
    if let Some(target) = &happened.target {
        event = event.detail("target", target.as_str());
    }
    if let Some(operation) = &happened.operation {
        event = event.detail("operation", operation.as_str());
    }
    if !happened.roles.is_empty() {
        event = event.detail("roles", happened.roles.join(","));
    }
    event
}
