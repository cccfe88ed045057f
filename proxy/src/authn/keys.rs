//! The provider's keys over time: discovery, rotation without restart, staleness.
//!
//! - A token with an unknown `kid` makes the keys be fetched anew, once for all who wait, and at most once per
//!   `refresh_min_interval`, so that made-up ids cost the provider nothing.
//! - While the provider can't be reached the last keys serve, at most for `keys_stale_max`; then nothing is verified.
//! - The provider counts as down once [`DOWN_AFTER`] fetches in a row have failed: one lost connection is no outage.
//! - Nothing is fetched at the start: the sidecar comes up without the provider and recovers by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::Algorithm;
use openidconnect::core::CoreProviderMetadata;
use openidconnect::{DiscoveryError, IssuerUrl};
use parking_lot::RwLock;
use tokio::time::Instant;

use super::error::AuthnError;
use super::fetch::{FetchError, Fetcher};
use super::jws::Jws;
use super::key_set::KeySet;
use super::settings::{ProviderSettings, SettingsError};

const NEVER: i64 = i64::MIN;
/// Fetches in a row that must fail before the provider counts as down. They are `refresh_min_interval` apart at least.
const DOWN_AFTER: u32 = 2;

/// One provider's keys.
pub(super) struct ProviderKeys {
    issuer: IssuerUrl,
    fetcher: Arc<Fetcher>,
    refresh_min_interval: std::time::Duration,
    refresh_interval: std::time::Duration,
    keys_stale_max: std::time::Duration,
    current: RwLock<Option<Current>>,
    /// Held while fetching: those who come meanwhile wait for the same answer.
    attempt: tokio::sync::Mutex<Option<Instant>>,
    last_success_unix: AtomicI64,
    failures: AtomicU32,
}

/// The keys of the last good fetch.
#[derive(Clone)]
struct Current {
    keys: Arc<KeySet>,
    /// Counts the changes of the set, not the fetches.
    generation: u64,
    fetched: Instant,
}

impl ProviderKeys {
    pub(super) fn new(settings: &ProviderSettings) -> Result<Self, SettingsError> {
        let unfit = || SettingsError::IssuerUrl(settings.issuer.clone());
        let issuer = IssuerUrl::new(settings.issuer.clone()).map_err(|_| unfit())?;
        if !super::fetch::may_fetch(&settings.issuer) {
            return Err(unfit());
        }
        Ok(Self {
            issuer,
            fetcher: Arc::new(Fetcher::new(settings.ca_file.as_deref())?),
            refresh_min_interval: settings.refresh_min_interval,
            refresh_interval: settings.refresh_interval,
            keys_stale_max: settings.keys_stale_max,
            current: RwLock::new(None),
            attempt: tokio::sync::Mutex::new(None),
            last_success_unix: AtomicI64::new(NEVER),
            failures: AtomicU32::new(0),
        })
    }

    /// What asks the provider.
    pub(super) fn fetcher(&self) -> Arc<Fetcher> {
        Arc::clone(&self.fetcher)
    }

    /// The generation of the keys, while they may be used.
    pub(super) fn generation(&self) -> Option<u64> {
        let current = self.current.read();
        let current = current.as_ref()?;
        self.is_usable(current).then_some(current.generation)
    }

    /// Whether the provider answers, by the last fetches of its keys.
    pub(super) fn is_up(&self) -> bool {
        self.failures.load(Ordering::Relaxed) < DOWN_AFTER
    }

    /// When the keys were last fetched, in Unix seconds.
    pub(super) fn last_refresh_unix(&self) -> Option<i64> {
        let unix = self.last_success_unix.load(Ordering::Relaxed);
        (unix != NEVER).then_some(unix)
    }

    /// Verifies a token's signature; says under which generation.
    pub(super) async fn verify(self: &Arc<Self>, jws: &Jws<'_>) -> Result<u64, AuthnError> {
        if jws.algorithm == Algorithm::HS256 {
            return Err(AuthnError::AlgorithmRefused);
        }
        let kid = jws.kid.as_deref().ok_or(AuthnError::UnknownKey)?;
        let seen = self.usable();
        if let Some(current) = &seen {
            match current.keys.find(kid, jws.algorithm) {
                Err(AuthnError::UnknownKey) => {}
                found => return jws.verify(found?).map(|()| current.generation),
            }
        }
        // In a task of its own: a caller who gives up must not waste the one attempt that all wait for.
        let this = Arc::clone(self);
        let before = seen.map(|current| current.fetched);
        let fetched = tokio::spawn(async move { this.refresh(before, false).await }).await;
        if let Ok(Err(error)) = fetched {
            log::warn!("keys of the identity provider: {error}");
        }
        let current = self.usable().ok_or(AuthnError::KeysUnavailable)?;
        let key = match current.keys.find(kid, jws.algorithm) {
            // It may be one of the provider's newest: nobody can tell until it is back.
            Err(AuthnError::UnknownKey) if !self.is_up() => Err(AuthnError::KeysUnavailable),
            found => found,
        };
        jws.verify(key?)?;
        Ok(current.generation)
    }

    /// Fetches the keys again and again; never returns.
    pub(super) async fn keep_fresh(&self) {
        loop {
            let wait = match self.refresh(None, true).await {
                Ok(()) => self.refresh_interval,
                Err(error) => {
                    log::warn!("keys of the identity provider: {error}");
                    self.refresh_min_interval
                }
            };
            let next = Instant::now() + wait.max(std::time::Duration::from_millis(100));
            tokio::time::sleep_until(next).await;
        }
    }

    fn usable(&self) -> Option<Current> {
        let current = self.current.read();
        current.as_ref().filter(|c| self.is_usable(c)).cloned()
    }

    fn is_usable(&self, current: &Current) -> bool {
        current.fetched.elapsed() < self.keys_stale_max
    }

    /// Fetches, unless someone else did since `seen`, or the last attempt is too recent and none is `due`.
    async fn refresh(&self, seen: Option<Instant>, due: bool) -> Result<(), FetchError> {
        let mut attempt = self.attempt.lock().await;
        let fetched = self.current.read().as_ref().map(|c| c.fetched);
        if !due {
            let by_another = fetched.is_some() && fetched != seen && self.usable().is_some();
            let too_soon = attempt.is_some_and(|at| at.elapsed() < self.refresh_min_interval);
            if by_another || too_soon {
                return Ok(());
            }
        }
        *attempt = Some(Instant::now());
        match self.discover().await {
            Ok(keys) => {
                self.replace(keys);
                if self.failures.swap(0, Ordering::Relaxed) >= DOWN_AFTER {
                    log::info!("the identity provider is back: its keys were fetched");
                }
                Ok(())
            }
            Err(error) => {
                let before = self.failures.load(Ordering::Relaxed);
                self.failures
                    .store(before.saturating_add(1), Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// The keys that the provider has now, by its discovery document.
    pub(super) async fn discover(&self) -> Result<KeySet, FetchError> {
        let found = CoreProviderMetadata::discover_async(self.issuer.clone(), &*self.fetcher)
            .await
            .map_err(|e| match e {
                DiscoveryError::Request(error) => error,
                DiscoveryError::Validation(_) => FetchError::OtherIssuer,
                _ => FetchError::Unexpected,
            })?;
        if found.issuer().as_str() != self.issuer.as_str() {
            return Err(FetchError::OtherIssuer);
        }
        KeySet::of(found.jwks())
    }

    fn replace(&self, keys: KeySet) {
        let mut current = self.current.write();
        let fetched = Instant::now();
        *current = Some(match current.take() {
            Some(old) if old.keys.same_as(&keys) => Current { fetched, ..old },
            old => Current {
                keys: Arc::new(keys),
                generation: old.map_or(1, |old| old.generation.saturating_add(1)),
                fetched,
            },
        });
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|since| i64::try_from(since.as_secs()).ok());
        self.last_success_unix
            .store(unix.unwrap_or(NEVER), Ordering::Relaxed);
    }
}
