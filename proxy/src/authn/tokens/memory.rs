//! The families of one process, in its memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::families::{Family, FamilyId, FamilyStore, NotKept};

/// Families at once.
pub const FAMILIES_MAX: usize = 100_000;
/// What all families carry of their logins together, in bytes.
pub const FAMILIES_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Families of one login session: the oldest makes room.
pub const FAMILIES_PER_SESSION_MAX: usize = 16;
/// How often families that are over are looked for, in seconds.
const SWEEP_SECONDS: i64 = 30;

/// The store.
#[derive(Default)]
pub struct MemoryStore(Mutex<Table>);

#[derive(Default)]
struct Table {
    families: HashMap<FamilyId, Family>,
    /// Those of each session, the oldest first.
    sessions: HashMap<Arc<str>, VecDeque<FamilyId>>,
    bytes: usize,
    swept_at: i64,
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MemoryStore({} families)", self.len())
    }
}

impl MemoryStore {
    /// Families there are.
    pub fn len(&self) -> usize {
        self.0.lock().families.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[async_trait]
impl FamilyStore for MemoryStore {
    async fn put(&self, id: FamilyId, family: Family, now: i64) -> Result<(), NotKept> {
        let mut table = self.0.lock();
        table.sweep(now);
        let own = table.sessions.get(&family.session);
        let surplus = own.filter(|own| own.len() >= FAMILIES_PER_SESSION_MAX);
        if let Some(oldest) = surplus.and_then(|own| own.front().copied()) {
            table.remove(&oldest);
        }
        let bytes = table.bytes.saturating_add(family.carried.len());
        if table.families.len() >= FAMILIES_MAX || bytes > FAMILIES_BYTES_MAX {
            return Err(NotKept::Full);
        }
        table.bytes = bytes;
        let own = table.sessions.entry(Arc::clone(&family.session));
        own.or_default().push_back(id);
        table.families.insert(id, family);
        Ok(())
    }

    async fn get(&self, id: &FamilyId) -> Result<Option<Family>, NotKept> {
        Ok(self.0.lock().families.get(id).cloned())
    }

    async fn turn(
        &self,
        id: &FamilyId,
        newest: &[u8; 32],
        next: [u8; 32],
        now: i64,
    ) -> Result<bool, NotKept> {
        let mut table = self.0.lock();
        let family = table.families.get_mut(id);
        let Some(family) = family.filter(|family| family.current == *newest) else {
            return Ok(false);
        };
        family.previous = Some(family.current);
        family.current = next;
        family.turned_at = now;
        Ok(true)
    }

    async fn remove(&self, id: &FamilyId) -> Result<(), NotKept> {
        self.0.lock().remove(id);
        Ok(())
    }

    async fn remove_session(&self, session: &str) -> Result<(), NotKept> {
        let mut table = self.0.lock();
        for id in table.sessions.remove(session).unwrap_or_default() {
            table.remove(&id);
        }
        Ok(())
    }

    fn sweep(&self, now: i64) {
        self.0.lock().sweep(now);
    }
}

impl Table {
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
        let over = self.families.iter();
        let over = over.filter(|(_, family)| now >= family.ends_at);
        let over: Vec<_> = over.map(|(id, _)| *id).collect();
        for id in over {
            self.remove(&id);
        }
    }
}
