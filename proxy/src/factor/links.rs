//! One-time ways to the page: what a caller without a second factor is given, and what an invitation opens.
//!
//! A ticket names no one: it is 256 random bits, kept as their hash. One of a *session* is for one login session and one
//! client certificate. It lets nobody in: whoever has it may try to prove the second factor *of that session's person*, and
//! is shown whose session it is. It must be opened within [`LIFE`], and then ends when it was used, after [`PAGE_LIFE`], and
//! after [`TRIES_MAX`] wrong answers. One of an *enrolment* is had with an invitation, and is on a page from its first moment.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64_simd::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::key::Ceremony;
use super::proofs::{Holder, HolderKey};
use super::store::PersonId;
use super::totp::Secret;

/// How long a link of a session waits to be opened.
pub const LIFE: Duration = Duration::from_secs(120);
/// How long its page serves.
pub const PAGE_LIFE: Duration = Duration::from_secs(600);
/// A caller is given the same link again while it has this long left.
const LEFT_MIN: Duration = Duration::from_secs(60);
/// Links that serve at once.
pub const LINKS_MAX: usize = 10_000;
/// Wrong answers that end a link.
pub const TRIES_MAX: u32 = 5;
/// Random bytes of a ticket.
const TICKET_BYTES: usize = 32;

type Hash = [u8; 32];

/// The links that serve.
#[derive(Default)]
pub struct Links(Mutex<Table>);

#[derive(Default)]
struct Table {
    links: HashMap<Hash, Arc<Link>>,
    /// The one that a caller is given again.
    offered: HashMap<HolderKey, (Zeroizing<String>, Instant)>,
}

/// Whose page it is.
#[derive(Debug, Clone)]
pub enum For {
    /// A session's whose second factor is to be proved.
    Session(Holder),
    /// A person's who was invited to enrol one.
    Enrolment(Invitee),
}

/// Somebody who came with an invitation.
#[derive(Clone)]
pub struct Invitee {
    /// Whose file.
    pub person: PersonId,
    /// The subject, to be shown.
    pub subject: String,
    /// The invitation.
    pub invitation: Arc<Zeroizing<String>>,
}

impl fmt::Debug for Invitee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Invitee(..)")
    }
}

/// One link.
pub struct Link {
    whose: For,
    state: Mutex<State>,
}

struct State {
    until: Instant,
    /// The link was opened: its life is the page's.
    opened: bool,
    tries: u32,
    /// The secret that the person's authenticator was shown.
    secret: Option<Arc<Secret>>,
    ceremony: Option<Ceremony>,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Links({})", self.0.lock().links.len())
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link(..)")
    }
}

impl Link {
    fn new(whose: For, until: Instant) -> Self {
        Self {
            whose,
            state: Mutex::new(State {
                until,
                opened: false,
                tries: 0,
                secret: None,
                ceremony: None,
            }),
        }
    }

    /// Whose page it is.
    pub fn whose(&self) -> &For {
        &self.whose
    }

    /// Notes a wrong answer; false where it was one too many.
    pub fn failed(&self) -> bool {
        let mut state = self.state.lock();
        state.tries = state.tries.saturating_add(1);
        state.tries < TRIES_MAX
    }

    /// The secret that this page's enrolment is of; none without randomness.
    pub fn secret(&self) -> Option<Arc<Secret>> {
        let mut state = self.state.lock();
        if state.secret.is_none() {
            state.secret = Secret::generate().map(Arc::new);
        }
        state.secret.clone()
    }

    /// Begins a ceremony in place of any other.
    pub fn begin(&self, ceremony: Ceremony) {
        self.state.lock().ceremony = Some(ceremony);
    }

    /// The ceremony that was begun, which serves once.
    pub fn ceremony(&self) -> Option<Ceremony> {
        self.state.lock().ceremony.take()
    }

    fn is_over(&self, now: Instant) -> bool {
        let state = self.state.lock();
        now >= state.until || state.tries >= TRIES_MAX
    }

    fn open(&self, now: Instant) {
        let mut state = self.state.lock();
        if !state.opened {
            state.opened = true;
            state.until = now + PAGE_LIFE;
        }
    }
}

impl Links {
    /// A link for this caller: the one it has, while that serves long enough. None where there is no room, or no randomness.
    pub fn offer(&self, holder: Holder, now: Instant) -> Option<Zeroizing<String>> {
        let mut table = self.0.lock();
        let key = holder.key();
        if let Some((ticket, until)) = table.offered.get(&key)
            && now + LEFT_MIN <= *until
            && table
                .links
                .get(&hash(ticket))
                .is_some_and(|link| !link.is_over(now))
        {
            return Some(ticket.clone());
        }
        let until = now + LIFE;
        let ticket = table.insert(Link::new(For::Session(holder), until), now)?;
        table.offered.insert(key, (ticket.clone(), until));
        Some(ticket)
    }

    /// A page for this invitee, in place of any that the person has. None where there is no room, or no randomness.
    pub fn enrol(&self, invitee: Invitee, now: Instant) -> Option<Zeroizing<String>> {
        let mut table = self.0.lock();
        table.links.retain(|_, link| match &link.whose {
            For::Enrolment(other) => other.person != invitee.person,
            For::Session(_) => true,
        });
        table.insert(Link::new(For::Enrolment(invitee), now + PAGE_LIFE), now)
    }

    /// The page of a ticket; none for one that is over, used or was never given.
    pub fn open(&self, ticket: &str, now: Instant) -> Option<Arc<Link>> {
        let table = self.0.lock();
        let link = table.links.get(&hash(ticket))?;
        if link.is_over(now) {
            return None;
        }
        link.open(now);
        Some(Arc::clone(link))
    }

    /// Uses a link up. Of two that use it at once, one does.
    pub fn take(&self, ticket: &str, now: Instant) -> Option<Arc<Link>> {
        let mut table = self.0.lock();
        let link = table.links.remove(&hash(ticket))?;
        if let For::Session(holder) = &link.whose {
            table.offered.remove(&holder.key());
        }
        (!link.is_over(now)).then_some(link)
    }

    /// Forgets what is over.
    pub fn sweep(&self, now: Instant) {
        self.0.lock().forget(now);
    }
}

impl Table {
    fn insert(&mut self, link: Link, now: Instant) -> Option<Zeroizing<String>> {
        if self.links.len() >= LINKS_MAX {
            self.forget(now);
        }
        if self.links.len() >= LINKS_MAX {
            return None;
        }
        let mut bytes = Zeroizing::new([0; TICKET_BYTES]);
        aws_lc_rs::rand::fill(bytes.as_mut()).ok()?;
        let ticket = Zeroizing::new(URL_SAFE_NO_PAD.encode_to_string(*bytes));
        self.links.insert(hash(&ticket), Arc::new(link));
        Some(ticket)
    }

    fn forget(&mut self, now: Instant) {
        self.links.retain(|_, link| !link.is_over(now));
        self.offered.retain(|_, (_, until)| now < *until);
    }
}

fn hash(ticket: &str) -> Hash {
    Sha256::digest(ticket).into()
}
