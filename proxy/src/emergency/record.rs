//! What is kept of one emergency, until it is reviewed and for as long as there is room after.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Refused, Wish};
use crate::exchange::Caller;

/// The longest reviewer's name and note, in bytes.
pub const WORDS_BYTES_MAX: usize = 500;

/// Why one is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Its time was over.
    Expired,
    /// Whoever began it ended it.
    Stopped,
    /// Its login session ended, however.
    SessionEnded,
    /// The same session began another.
    Replaced,
    /// The process ended, or was ended.
    Restart,
}

impl End {
    /// The stable word of events.
    pub fn code(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Stopped => "stopped",
            Self::SessionEnded => "session_ended",
            Self::Replaced => "replaced",
            Self::Restart => "restart",
        }
    }
}

/// What a reviewer found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// There was an emergency, and it was used for that.
    Justified,
    /// There was none, or it was used for more.
    Unjustified,
}

impl Verdict {
    /// The stable word of events.
    pub fn code(self) -> &'static str {
        match self {
            Self::Justified => "justified",
            Self::Unjustified => "unjustified",
        }
    }
}

/// A review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// Who.
    pub reviewer: String,
    /// What was found.
    pub verdict: Verdict,
    /// In words, which name no patient.
    pub note: String,
    /// When, in seconds since the epoch.
    pub at_unix: i64,
}

/// One emergency. `Debug` shows neither patient nor reason.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// A UUID.
    pub id: String,
    /// Who began it: the token's subject and issuer.
    pub subject: String,
    /// The issuer.
    pub issuer: String,
    /// The verified name in the client certificate; empty without one.
    pub client: String,
    /// The login session, hashed.
    pub session: String,
    /// The patient.
    #[serde(with = "hidden")]
    pub patient: Zeroizing<String>,
    /// Why, in the person's words.
    #[serde(with = "hidden")]
    pub reason: Zeroizing<String>,
    /// When it began, in seconds since the epoch.
    pub began_unix: i64,
    /// When it ends by itself.
    pub until_unix: i64,
    /// Until when it must be reviewed.
    pub review_by_unix: i64,
    /// When and why it ended.
    pub ended: Option<(i64, End)>,
    /// Whether it was told that nobody reviewed it in time.
    pub alerted: bool,
    /// The review.
    pub review: Option<Review>,
}

/// Texts that are forgotten when they are let go.
mod hidden {
    use super::{Deserialize, Deserializer, Serializer, Zeroizing};

    pub(super) fn serialize<S: Serializer>(
        text: &Zeroizing<String>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Zeroizing<String>, D::Error> {
        String::deserialize(from).map(Zeroizing::new)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({})", self.id)
    }
}

impl Record {
    /// One that begins now.
    pub(super) fn begun(caller: &Caller, wish: &Wish, now_unix: i64) -> Self {
        let name = caller.peer.as_ref().map(|peer| peer.name.clone());
        let lasts = i64::from(wish.lasts_seconds);
        Self {
            id: Uuid::now_v7().to_string(),
            subject: caller.authenticated.subject().to_owned(),
            issuer: caller.authenticated.issuer().to_owned(),
            client: name.unwrap_or_default(),
            session: caller.session.hashed_id().to_owned(),
            patient: wish.patient.clone(),
            reason: wish.reason.clone(),
            began_unix: now_unix,
            until_unix: now_unix.saturating_add(lasts),
            review_by_unix: now_unix.saturating_add(i64::from(wish.review_within_seconds)),
            ended: None,
            alerted: false,
            review: None,
        }
    }

    /// Notes its end, once.
    pub(super) fn end(&mut self, why: End, now_unix: i64) {
        self.ended.get_or_insert((now_unix, why));
    }

    /// Whether nobody has reviewed it and its time for that is over.
    pub fn is_overdue(&self, now_unix: i64) -> bool {
        self.review.is_none() && now_unix >= self.review_by_unix
    }

    /// Notes a review, once, of somebody else.
    pub(super) fn review(&mut self, review: Review) -> Result<(), Refused> {
        let name = |text: &str| text.trim().to_lowercase();
        let refused = match &review.reviewer {
            _ if self.ended.is_none() => "it goes on: review it when it is over",
            _ if self.review.is_some() => "it was reviewed before",
            reviewer if name(reviewer) == name(&self.subject) => {
                "nobody reviews an emergency of their own"
            }
            _ => {
                self.review = Some(review);
                return Ok(());
            }
        };
        Err(Refused::No(refused))
    }
}
