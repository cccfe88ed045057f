//! Which login sessions proved a second factor here.
//!
//! A proof counts for the login that it was given for: the session, the client certificate, and no later `auth_time` than
//! it had. It is kept in memory, by a clock that nobody sets: after a restart, and at another replica, a person is asked again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::authn::Authenticated;
use crate::session::session_key;

/// Sessions whose proof is remembered at once: as many as there may be sessions.
pub const PROOFS_MAX: usize = 100_000;

/// What proved it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A one-time code (RFC 6238).
    Totp,
    /// A key that can't leave its device.
    Bound,
    /// A key that may be copied from one device to another.
    Copied,
}

impl Method {
    /// The method as `amr` names it (RFC 8176), for the policy and for events.
    pub fn amr(self) -> &'static str {
        match self {
            Self::Totp => "otp",
            Self::Bound => "hwk",
            Self::Copied => "swk",
        }
    }
}

/// A caller whose first factor was good: who a link and a proof are for.
#[derive(Debug, Clone)]
pub struct Holder {
    /// What its token says.
    pub who: Arc<Authenticated>,
    /// SHA-256 of the client's certificate.
    pub certificate: Option<[u8; 32]>,
    /// The verified name in it.
    pub name: Option<String>,
    /// Where the call came from.
    pub source: IpAddr,
}

impl Holder {
    /// What the holder is known by.
    pub(super) fn key(&self) -> HolderKey {
        key(&self.who, self.certificate.as_ref())
    }
}

/// A session and a certificate.
pub(super) type HolderKey = [u8; 32];

fn key(who: &Authenticated, certificate: Option<&[u8; 32]>) -> HolderKey {
    let mut hash = Sha256::new();
    // Of one length each.
    hash.update(session_key(who));
    hash.update(certificate.unwrap_or(&[0; 32]));
    hash.finalize().into()
}

/// The proofs.
#[derive(Debug)]
pub struct Proofs {
    life: Duration,
    table: Mutex<HashMap<HolderKey, Proof>>,
}

#[derive(Debug)]
struct Proof {
    method: Method,
    until: Instant,
    /// Unix seconds.
    at: i64,
    /// `auth_time` of the login that it was given for.
    login: Option<i64>,
    /// The principal with its proof, for the token that was seen last.
    made: Arc<Authenticated>,
}

impl Proofs {
    /// No session has proved anything. `life` is how old a proof may get.
    pub fn new(life: Duration) -> Self {
        Self {
            life,
            table: Mutex::default(),
        }
    }

    /// Notes a proof of this moment; false where there is no room.
    pub fn note(&self, holder: &Holder, method: Method, now: Instant, now_unix: i64) -> bool {
        let mut table = self.table.lock();
        let key = holder.key();
        if table.len() >= PROOFS_MAX && !table.contains_key(&key) {
            table.retain(|_, proof| now < proof.until);
            if table.len() >= PROOFS_MAX {
                return false;
            }
        }
        let proof = Proof {
            method,
            until: now + self.life,
            login: holder.who.authenticated_at(),
            at: now_unix,
            made: Arc::new(holder.who.proved_here(method.amr(), now_unix)),
        };
        table.insert(key, proof);
        true
    }

    /// The principal with its proof; none where nothing counts for it.
    pub fn of(
        &self,
        who: &Authenticated,
        certificate: Option<&[u8; 32]>,
        now: Instant,
    ) -> Option<Arc<Authenticated>> {
        let mut table = self.table.lock();
        if table.is_empty() {
            return None;
        }
        let proof = table.get_mut(&key(who, certificate))?;
        // A later login is another one, by the first factor alone.
        if now >= proof.until || who.authenticated_at() > proof.login {
            return None;
        }
        if proof.made.token_digest() != who.token_digest() {
            proof.made = Arc::new(who.proved_here(proof.method.amr(), proof.at));
        }
        Some(Arc::clone(&proof.made))
    }

    /// Forgets a person's.
    pub fn forget(&self, issuer: &str, subject: &str) {
        self.table.lock().retain(|_, proof| {
            proof.made.login_issuer() != issuer || proof.made.subject() != subject
        });
    }

    /// Forgets what ran out.
    pub fn sweep(&self, now: Instant) {
        self.table.lock().retain(|_, proof| now < proof.until);
    }
}
