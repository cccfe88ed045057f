//! The keys of patients (`phi.patient_keys`): looked up before a message is rewritten, made for the first value that is
//! sealed, destroyed when a patient's values are to be unreadable for good.
//!
//! `store` is the directory, `receipt` the signed word that a key is gone, `rewrap` the pass over all keys after a
//! rotation, `shred` a destruction from its order to its answer. Here is what stands between the store and a request: a bounded memory of opened keys, and a bounded wait
//! for the disk, off the threads that serve connections.
//!
//! A key in memory is asked for anew after [`FRESH`]: so long may another replica go on with a key that was destroyed
//! elsewhere. The sidecar that destroys it forgets it at once.

pub mod receipt;
mod rewrap;
pub mod shred;
mod store;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use safeguard_audit::Pseudonym;
use safeguard_policy::policy;
use safeguard_vault::ring::KeyRing;
use tokio::sync::Semaphore;

use crate::clock;
use crate::rewrite::{HeldKey, PatientRing};

pub use rewrap::{Refused, Rewrapped};
pub use store::{Gone, Store, StoreError, Stored};

/// How long a key in memory serves before the store is asked whether it still stands.
pub const FRESH: Duration = Duration::from_secs(1);
/// How long a request waits for the store.
pub const WAIT: Duration = Duration::from_secs(2);
/// How long the destruction of a key is waited for.
pub const SHRED_WAIT: Duration = Duration::from_secs(8);
/// Requests that ask the store at once; a disk that hangs holds no more threads than these.
pub const JOBS_MAX: usize = 16;

/// The keys of all patients of one configuration. Shared by all requests.
pub struct PatientKeys {
    store: Arc<Store>,
    cache: Cache<Pseudonym, Entry>,
    /// Counts destructions: what was read before one is not kept after it.
    destroyed: AtomicU64,
    jobs: Arc<Semaphore>,
}

/// A key in memory.
#[derive(Clone)]
struct Entry {
    ring: Arc<PatientRing>,
    asked: Instant,
}

/// What a look-up gave.
#[derive(Debug, Clone)]
pub enum Found {
    /// It can't be said.
    Unavailable,
    /// The disk did not answer in time.
    Late,
    /// The patient has no key yet.
    Absent,
    /// This key.
    Held(Arc<PatientRing>),
    /// It was destroyed.
    Destroyed,
}

impl Found {
    /// As the rewriting takes it.
    #[must_use]
    pub fn key(&self) -> HeldKey<'_> {
        match self {
            Self::Unavailable | Self::Late => HeldKey::Unavailable,
            Self::Absent => HeldKey::Absent,
            Self::Held(ring) => HeldKey::Held(ring),
            Self::Destroyed => HeldKey::Destroyed,
        }
    }

    /// A word for the metric.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Late => "late",
            Self::Absent => "absent",
            Self::Held(_) => "found",
            Self::Destroyed => "destroyed",
        }
    }
}

impl fmt::Debug for PatientKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PatientKeys")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl PatientKeys {
    /// The keys in the directory of `settings`, wrapped under `ring`. Nothing is opened yet.
    #[must_use]
    pub fn new(settings: &policy::PatientKeys, ring: Arc<KeyRing>, domain: &str) -> Self {
        Self {
            store: Arc::new(Store::new(&settings.directory, ring, domain)),
            cache: Cache::new(settings.cached),
            destroyed: AtomicU64::new(0),
            jobs: Arc::new(Semaphore::new(JOBS_MAX)),
        }
    }

    /// The directory.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Keys in memory.
    #[must_use]
    pub fn cached(&self) -> usize {
        self.cache.len()
    }

    /// The key of a patient, if there is one.
    pub async fn find(&self, who: Pseudonym) -> Found {
        if let Some(entry) = self.cache.get(&who) {
            if entry.asked.elapsed() < FRESH {
                return Found::Held(entry.ring);
            }
            match self.job(WAIT, move |store| store.stands(who)).await {
                Ok(true) => return self.keep(who, entry.ring, None),
                Ok(false) => self.cache.remove(&who),
                Err(error) => return unavailable(&error),
            };
        }
        let before = self.destroyed.load(Ordering::Acquire);
        let had = self.job(WAIT, move |store| store.load(who)).await;
        self.had(who, had, before)
    }

    /// The key of a patient, made where there is none.
    pub async fn find_or_create(&self, who: Pseudonym) -> Found {
        let before = self.destroyed.load(Ordering::Acquire);
        let now_unix = clock::now_unix();
        let had = self.job(WAIT, move |store| store.create(who, now_unix));
        let had = had.await;
        self.had(who, had, before)
    }

    fn had(&self, who: Pseudonym, had: Result<Stored, StoreError>, before: u64) -> Found {
        match had {
            Ok(Stored::Absent) => Found::Absent,
            Ok(Stored::Destroyed) => Found::Destroyed,
            Ok(Stored::Key(key)) => match PatientRing::new(*key, self.store.domain()) {
                Ok(ring) => self.keep(who, Arc::new(ring), Some(before)),
                Err(_) => Found::Unavailable,
            },
            Err(error) => unavailable(&error),
        }
    }

    /// Keeps a key in memory, unless one was destroyed since it was read: it may be this one.
    fn keep(&self, who: Pseudonym, ring: Arc<PatientRing>, before: Option<u64>) -> Found {
        let now = self.destroyed.load(Ordering::Acquire);
        if before.is_none_or(|before| before == now) {
            let entry = Entry {
                ring: Arc::clone(&ring),
                asked: Instant::now(),
            };
            self.cache.insert(who, entry);
        }
        if self.destroyed.load(Ordering::Acquire) != now {
            self.cache.remove(&who);
        }
        Found::Held(ring)
    }

    /// Destroys a patient's key; `receipt` makes the text that is left in its place. Gives that text, also where the
    /// key was destroyed before.
    ///
    /// # Errors
    /// There is no key, or the store did not do it.
    pub async fn shred(
        &self,
        who: Pseudonym,
        receipt: impl FnOnce(&Gone) -> Result<String, StoreError> + Send + 'static,
    ) -> Result<String, StoreError> {
        let done = self
            .job(SHRED_WAIT, move |store| store.destroy(who, receipt))
            .await;
        // Whatever came of it: what was in memory is asked for anew.
        self.destroyed.fetch_add(1, Ordering::AcqRel);
        self.cache.remove(&who);
        done
    }

    /// Asks the store, on a thread that may wait for a disk.
    async fn job<T: Send + 'static>(
        &self,
        wait: Duration,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (jobs, store) = (Arc::clone(&self.jobs), Arc::clone(&self.store));
        let run = async move {
            let place = jobs.acquire_owned().await;
            let place = place.map_err(|_| StoreError::TooSlow)?;
            let ran = tokio::task::spawn_blocking(move || {
                let _until_it_ends = place;
                work(&store)
            });
            ran.await.map_err(|_| StoreError::TooSlow)?
        };
        let ran = tokio::time::timeout(wait, run).await;
        ran.unwrap_or(Err(StoreError::TooSlow))
    }
}

/// A key that can't be had is said in the log: no pseudonym in it is a patient's id.
fn unavailable(error: &StoreError) -> Found {
    log::error!("a patient's key can't be had: {error}");
    match error {
        StoreError::TooSlow => Found::Late,
        _ => Found::Unavailable,
    }
}
