//! Second factors without an identity provider: enrolled and verified by the sidecar itself (`authentication.mfa.enrolment`).
//!
//! `store` keeps who has enrolled what, sealed (`seal`), one `record` a person; `links` are the one-time ways to the page;
//! `proofs` say which sessions proved a second factor; `totp` and `key` are the two kinds. The page is `auth::factor`, what a
//! caller without a second factor is told stands in `exchange::factor`, what an administrator does in `control::factors`.
//!
//! Promises (docs/decisions/0024-second-factors-of-our-own.md):
//! - nobody enrols without an administrator's invitation, which serves once;
//! - a proof is of one login session and one client certificate, no older than a session may be, and ends with a later login;
//! - a code serves once, wrong ones are counted across restarts, and too many lock the person out.

pub mod key;
pub mod links;
pub mod proofs;
pub mod record;
pub mod seal;
pub mod store;
pub mod totp;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::authn::Authenticated;
use key::Site;
use links::{For, Invitee, Link, Links};
use proofs::{Holder, Method, Proofs};
use record::Record;
use seal::Seal;
use store::{PersonId, Store, StoreError};

/// People whose enrolments are waited for at once; a disk that hangs holds no more threads than these.
pub const JOBS_MAX: usize = 16;
/// How long one of them is waited for.
pub const WAIT: Duration = Duration::from_secs(8);

/// What the configuration says.
#[derive(Debug, Clone)]
pub struct FactorSettings {
    /// Where the enrolments are.
    pub directory: std::path::PathBuf,
    /// Where the page is, and keys are bound to.
    pub site: Site,
    /// Whether one-time codes prove a second factor.
    pub totp: bool,
    /// Whether keys do.
    pub webauthn: bool,
    /// The longest login session: no proof is older.
    pub session: Duration,
}

/// The room. One for the process.
#[derive(Debug)]
pub struct Factors {
    settings: FactorSettings,
    store: Arc<Store>,
    links: Links,
    proofs: Proofs,
    jobs: Arc<Semaphore>,
}

/// Why nothing came of it, for whoever asked.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The enrolments can't be read or written.
    #[error(transparent)]
    Store(StoreError),
    /// The disk does not answer.
    #[error("the directory of the enrolments does not answer")]
    TooSlow,
}

/// An invitation's text: whose file it is of, and what proves it.
pub struct Invitation(PersonId, Zeroizing<String>);

impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Invitation(..)")
    }
}

impl Invitation {
    /// Reads what [`Factors::invitation_url`] wrote; none for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, secret) = text.split_once('.')?;
        Some(Self(
            PersonId::named(name)?,
            Zeroizing::new(secret.to_owned()),
        ))
    }

    /// Whose.
    pub fn person(&self) -> &PersonId {
        &self.0
    }

    /// What proves it.
    pub fn secret(&self) -> &Zeroizing<String> {
        &self.1
    }
}

impl Factors {
    /// Opens the directory.
    ///
    /// # Errors
    /// [`StoreError`]: it can't be made, or is open to others.
    pub fn open(settings: FactorSettings, seal: Seal) -> Result<Self, StoreError> {
        let store = Store::open(&settings.directory, seal)?;
        Ok(Self {
            proofs: Proofs::new(settings.session),
            links: Links::default(),
            store: Arc::new(store),
            settings,
            jobs: Arc::new(Semaphore::new(JOBS_MAX)),
        })
    }

    /// What the configuration says.
    pub fn settings(&self) -> &FactorSettings {
        &self.settings
    }

    /// The principal with the second factor that its session proved here; none if it proved none that still counts.
    pub fn proof(
        &self,
        who: &Authenticated,
        certificate: Option<&[u8; 32]>,
        now: Instant,
    ) -> Option<Arc<Authenticated>> {
        self.proofs.of(who, certificate, now)
    }

    /// The way to the page for this caller; none where there is no room for another.
    pub fn link(&self, holder: Holder, now: Instant) -> Option<Zeroizing<String>> {
        let ticket = self.links.offer(holder, now)?;
        Some(self.url("t", &ticket))
    }

    /// The way to the page for whom an administrator invited.
    pub fn invitation_url(&self, person: &PersonId, secret: &str) -> Zeroizing<String> {
        self.url("i", &Zeroizing::new(format!("{}.{secret}", person.name())))
    }

    fn url(&self, name: &str, value: &str) -> Zeroizing<String> {
        let (origin, path) = (&self.settings.site.origin, crate::auth::FACTOR_PATH);
        Zeroizing::new(format!("{origin}{path}?{name}={value}"))
    }

    /// A page for somebody who came with an invitation that was judged; none where there is no room.
    pub fn enrol(&self, invitee: Invitee, now: Instant) -> Option<Zeroizing<String>> {
        self.links.enrol(invitee, now)
    }

    /// The page that a ticket opens.
    pub fn opened(&self, ticket: &str, now: Instant) -> Option<Arc<Link>> {
        self.links.open(ticket, now)
    }

    /// Uses a page up, whatever it was for; false where another was first.
    pub fn used(&self, ticket: &str, now: Instant) -> bool {
        self.links.take(ticket, now).is_some()
    }

    /// Notes that a session proved a second factor; its link is used up. False where the link is over, or there is no room.
    pub fn proved(&self, ticket: &str, method: Method, now: Instant, now_unix: i64) -> bool {
        match self.links.take(ticket, now) {
            Some(link) => match link.whose() {
                For::Session(holder) => self.proofs.note(holder, method, now, now_unix),
                For::Enrolment(_) => false,
            },
            None => false,
        }
    }

    /// Looks at a person's enrolment, or changes it: `change` says what came of it. What it changed is durable before it is answered.
    ///
    /// # Errors
    /// [`Unavailable`]: nothing was changed, as far as is known.
    pub async fn with_record<T: Send + 'static>(
        &self,
        person: PersonId,
        change: impl FnOnce(&mut Record) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        self.job(move |store| store.change(&person, change)).await
    }

    /// Shows every enrolment to `look`, which says what to keep of it.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn all<T: Send + 'static>(
        &self,
        look: impl Fn(&Record) -> T + Send + 'static,
    ) -> Result<Vec<T>, Unavailable> {
        self.job(move |store| {
            let mut all = Vec::new();
            store.look(|record| all.push(look(record)))?;
            Ok(all)
        })
        .await
    }

    async fn job<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let store = Arc::clone(&self.store);
        let jobs = Arc::clone(&self.jobs);
        let work = async move {
            let place = jobs
                .acquire_owned()
                .await
                .map_err(|_| Unavailable::TooSlow)?;
            let done = tokio::task::spawn_blocking(move || {
                let done = job(&store);
                drop(place);
                done
            });
            done.await
                .map_err(|_| Unavailable::TooSlow)?
                .map_err(Unavailable::Store)
        };
        let done = tokio::time::timeout(WAIT, work).await;
        done.unwrap_or(Err(Unavailable::TooSlow))
    }

    /// Forgets the proofs of a person, whose factors were removed.
    pub fn forget(&self, issuer: &str, subject: &str) {
        self.proofs.forget(issuer, subject);
    }

    /// Forgets what ran out.
    pub fn sweep(&self, now: Instant) {
        self.links.sweep(now);
        self.proofs.sweep(now);
    }
}
