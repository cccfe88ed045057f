//! MCP sessions: whose an `Mcp-Session-Id` is, and which calls of it are pending.
//!
//! The upstream makes the ids; here each is bound to the principal and the software that it was made for. An id that is
//! unknown, idle for too long or another's is answered alike: [`McpSessionError::NotFound`], HTTP 404.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::given::Given;
use super::table::key;

/// The longest session id, in bytes.
pub const SESSION_ID_BYTES_MAX: usize = 256;
/// MCP sessions, by default.
pub const MCP_SESSIONS_MAX: usize = 16_384;
/// MCP sessions of one owner, by default.
pub const MCP_SESSIONS_PER_OWNER_MAX: usize = 256;
/// How long a session may go without a request or an open stream, by default.
pub const MCP_SESSION_IDLE: Duration = Duration::from_secs(1800);
/// Pending calls of one session, by default.
pub const PENDING_CALLS_MAX: usize = 1024;

/// Questions of the server's that one session may leave open.
pub const QUESTIONS_MAX: usize = 64;
/// How long a question may be open: a person answers within it, or the server asks again.
pub const QUESTION_LIFE: Duration = Duration::from_secs(1800);

/// Calls of one session whose answers may still come, or come again, on a resumed stream. The oldest makes room.
pub const PARKED_MAX: usize = 16;
/// How long that may be.
pub const PARKED_LIFE: Duration = Duration::from_secs(600);

/// The bounds of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct McpLimits {
    /// Sessions in the table.
    pub sessions_max: usize,
    /// Sessions of one owner.
    pub per_owner_max: usize,
    /// The longest time without use.
    pub idle: Duration,
    /// Pending calls of one session.
    pub pending_max: usize,
}

impl Default for McpLimits {
    fn default() -> Self {
        Self {
            sessions_max: MCP_SESSIONS_MAX,
            per_owner_max: MCP_SESSIONS_PER_OWNER_MAX,
            idle: MCP_SESSION_IDLE,
            pending_max: PENDING_CALLS_MAX,
        }
    }
}

/// Whose a session is: principal and client, as a digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Owner([u8; 32]);

impl Owner {
    /// The owner of what `subject` of `issuer` does with the software `client` (the policy's name for it).
    pub fn new(issuer: &str, subject: &str, client: &str) -> Self {
        Self(key(&[
            b"safeguard mcp session",
            issuer.as_bytes(),
            subject.as_bytes(),
            client.as_bytes(),
        ]))
    }

    /// The digest, for binding more than a session to its owner.
    pub fn digest(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Owner(..)")
    }
}

/// Why there is no such session for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum McpSessionError {
    /// Unknown, ended, or another's: the caller can't tell which. HTTP 404.
    #[error("there is no such mcp session")]
    NotFound,
    /// The upstream gave an id out twice, to two owners: it stays the first one's. HTTP 502.
    #[error("the upstream gave the same session id to two principals")]
    IdTaken,
    /// The upstream's id isn't 1 to [`SESSION_ID_BYTES_MAX`] visible ASCII characters. HTTP 502.
    #[error("the upstream's session id is not valid")]
    IdInvalid,
    /// The table, or the owner's share of it, is full. HTTP 503.
    #[error("there is no room for another mcp session")]
    Full,
}

/// Why a call can't be noted as pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PendingError {
    /// Another call with this JSON-RPC id is pending: its answer would be ambiguous.
    #[error("a call with this id is pending already")]
    Duplicate,
    /// Too many calls are pending.
    #[error("too many calls are pending in this session")]
    Full,
}

/// The table. `T` is what is remembered of a pending call.
pub struct McpSessions<T> {
    limits: McpLimits,
    table: Mutex<Table<T>>,
}

struct Table<T> {
    sessions: HashMap<String, Arc<McpSession<T>>>,
    owners: HashMap<Owner, usize>,
}

/// One session. Whoever holds it (an open stream does) keeps it from idling out.
pub struct McpSession<T> {
    owner: Owner,
    pending_max: usize,
    used: Mutex<Instant>,
    calls: Mutex<HashMap<String, T>>,
    /// What the server asked the client, by the server's ids: an id space of its own.
    questions: Mutex<HashMap<String, (Instant, T)>>,
    /// Calls whose stream is over: what is due to a client that resumes it.
    parked: Mutex<HashMap<String, (Instant, T)>>,
    /// The event ids that its streams brought.
    given: Given,
    /// Its client opens pages that it is asked to (MCP 2025-11-25, `elicitation.url`).
    opens_pages: AtomicBool,
}

impl<T> McpSessions<T> {
    /// An empty table.
    pub fn new(limits: McpLimits) -> Self {
        Self {
            limits,
            table: Mutex::new(Table {
                sessions: HashMap::new(),
                owners: HashMap::new(),
            }),
        }
    }

    /// Binds an id that the upstream just gave out. The same id to the same owner again is the same session.
    ///
    /// # Errors
    /// All but [`McpSessionError::NotFound`]: the answer with the id must not be released then.
    pub fn open(&self, id: &str, owner: Owner) -> Result<Arc<McpSession<T>>, McpSessionError> {
        if !is_session_id(id) {
            return Err(McpSessionError::IdInvalid);
        }
        let mut table = self.table.lock();
        table.drop_idle(self.limits.idle);
        if let Some(session) = table.sessions.get(id) {
            return session.of(&owner).ok_or(McpSessionError::IdTaken);
        }
        let owned = table.owners.get(&owner).copied().unwrap_or(0);
        if table.sessions.len() >= self.limits.sessions_max || owned >= self.limits.per_owner_max {
            return Err(McpSessionError::Full);
        }
        let session = Arc::new(McpSession {
            owner,
            pending_max: self.limits.pending_max,
            used: Mutex::new(Instant::now()),
            calls: Mutex::new(HashMap::new()),
            questions: Mutex::new(HashMap::new()),
            parked: Mutex::new(HashMap::new()),
            opens_pages: AtomicBool::new(false),
            given: Given::default(),
        });
        table.sessions.insert(id.to_owned(), Arc::clone(&session));
        table.owners.insert(owner, owned + 1);
        Ok(session)
    }

    /// The owner's session with this id; its idle time starts anew.
    ///
    /// # Errors
    /// [`McpSessionError::NotFound`].
    pub fn find(&self, id: &str, owner: Owner) -> Result<Arc<McpSession<T>>, McpSessionError> {
        let mut table = self.table.lock();
        let session = table
            .sessions
            .get(id)
            .and_then(|session| session.of(&owner))
            .ok_or(McpSessionError::NotFound)?;
        // The table's reference and this one: nobody else holds it.
        if Arc::strong_count(&session) <= 2 && session.idle_for() >= self.limits.idle {
            table.remove(id);
            return Err(McpSessionError::NotFound);
        }
        *session.used.lock() = Instant::now();
        Ok(session)
    }

    /// Removes the owner's session: DELETE, or the upstream's 404.
    ///
    /// # Errors
    /// [`McpSessionError::NotFound`].
    pub fn close(&self, id: &str, owner: Owner) -> Result<(), McpSessionError> {
        let mut table = self.table.lock();
        table
            .sessions
            .get(id)
            .and_then(|session| session.of(&owner))
            .ok_or(McpSessionError::NotFound)?;
        table.remove(id);
        Ok(())
    }

    /// Removes what idled out; says how many.
    pub fn sweep(&self) -> usize {
        self.table.lock().drop_idle(self.limits.idle)
    }

    /// Sessions in the table.
    pub fn len(&self) -> usize {
        self.table.lock().sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Table<T> {
    fn drop_idle(&mut self, idle: Duration) -> usize {
        let over: Vec<String> = self
            .sessions
            .iter()
            .filter(|(_, session)| Arc::strong_count(session) == 1 && session.idle_for() >= idle)
            .map(|(id, _)| id.clone())
            .collect();
        for id in &over {
            self.remove(id);
        }
        over.len()
    }

    fn remove(&mut self, id: &str) {
        let Some(session) = self.sessions.remove(id) else {
            return;
        };
        if let Some(owned) = self.owners.get_mut(&session.owner) {
            *owned = owned.saturating_sub(1);
            if *owned == 0 {
                self.owners.remove(&session.owner);
            }
        }
    }
}

impl<T> McpSession<T> {
    /// Notes a call as pending. `id` is the JSON-RPC id in a form in which `1` and `"1"` differ.
    ///
    /// # Errors
    /// [`PendingError`].
    pub fn begin(&self, id: &str, call: T) -> Result<(), PendingError> {
        let mut calls = self.calls.lock();
        if calls.contains_key(id) {
            return Err(PendingError::Duplicate);
        }
        if calls.len() >= self.pending_max {
            return Err(PendingError::Full);
        }
        calls.insert(id.to_owned(), call);
        // An id that is used again means the new call alone.
        self.parked.lock().remove(id);
        Ok(())
    }

    /// Takes a pending call out: its answer came, or nobody waits any more.
    pub fn take(&self, id: &str) -> Option<T> {
        self.calls.lock().remove(id)
    }

    /// Keeps a call for a client that resumes the stream which its answer was on, or should have been.
    pub fn park(&self, id: &str, call: T) {
        let mut parked = self.parked.lock();
        parked.retain(|_, (since, _)| since.elapsed() < PARKED_LIFE);
        if parked.len() >= PARKED_MAX && !parked.contains_key(id) {
            let oldest = parked.iter().min_by_key(|(_, (since, _))| *since);
            let oldest = oldest.map(|(id, _)| id.clone());
            oldest.and_then(|id| parked.remove(&id));
        }
        parked.insert(id.to_owned(), (Instant::now(), call));
    }

    /// Takes out a call whose answer comes on a resumed stream.
    pub fn parked(&self, id: &str) -> Option<T> {
        let (since, call) = self.parked.lock().remove(id)?;
        (since.elapsed() < PARKED_LIFE).then_some(call)
    }

    /// Notes that its client opens pages that it is asked to.
    pub fn note_opens_pages(&self) {
        self.opens_pages.store(true, Ordering::Relaxed);
    }

    /// Whether it does.
    pub fn opens_pages(&self) -> bool {
        self.opens_pages.load(Ordering::Relaxed)
    }

    /// Notes an event id that goes to the client.
    pub fn gave(&self, event_id: &[u8]) {
        self.given.note(event_id);
    }

    /// Whether a stream of this session brought an event id: only then may it be resumed from there.
    pub fn was_given(&self, event_id: &[u8]) -> bool {
        self.given.knows(event_id)
    }

    /// Takes out every pending call: nobody waits any more.
    pub fn drain(&self) -> Vec<T> {
        let mut calls = self.calls.lock();
        calls.drain().map(|(_, call)| call).collect()
    }

    /// Notes a question of the server's that goes to the client. One that is asked again (on a resumed stream) is one
    /// question.
    ///
    /// # Errors
    /// [`PendingError::Full`] where [`QUESTIONS_MAX`] of them are open.
    pub fn ask(&self, id: &str, question: T) -> Result<(), PendingError> {
        let mut questions = self.questions.lock();
        questions.retain(|_, (asked, _)| asked.elapsed() < QUESTION_LIFE);
        if questions.len() >= QUESTIONS_MAX && !questions.contains_key(id) {
            return Err(PendingError::Full);
        }
        questions.insert(id.to_owned(), (Instant::now(), question));
        Ok(())
    }

    /// Takes out the question that the client answers; none where none with this id is open.
    pub fn answered(&self, id: &str) -> Option<T> {
        let (asked, question) = self.questions.lock().remove(id)?;
        (asked.elapsed() < QUESTION_LIFE).then_some(question)
    }

    /// Pending calls.
    pub fn pending(&self) -> usize {
        self.calls.lock().len()
    }

    fn of(self: &Arc<Self>, owner: &Owner) -> Option<Arc<Self>> {
        (self.owner == *owner).then(|| Arc::clone(self))
    }

    fn idle_for(&self) -> Duration {
        self.used.lock().elapsed()
    }
}

impl<T: Clone> McpSession<T> {
    /// A copy of what is remembered of a pending call.
    pub fn get(&self, id: &str) -> Option<T> {
        self.calls.lock().get(id).cloned()
    }
}

/// Visible ASCII, as the MCP transport demands.
pub fn is_session_id(id: &str) -> bool {
    (1..=SESSION_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
}

impl<T> std::fmt::Debug for McpSessions<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "McpSessions({})", self.len())
    }
}

impl<T> std::fmt::Debug for McpSession<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "McpSession({} pending)", self.pending())
    }
}
