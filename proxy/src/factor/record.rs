//! What is kept of a person: what was enrolled, the invitation that is open, and how often a proof failed.

use std::fmt;

use base64_simd::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::key::{Handle, Key};
use super::proofs::Method;
use super::totp::Secret;

/// Failures in a row after which each one locks the person out for [`LOCK_SECONDS`].
pub const FAILURES_FREE: u32 = 5;
/// How long.
pub const LOCK_SECONDS: i64 = 300;
/// Failures in a row after which only a new invitation helps.
pub const FAILURES_MAX: u32 = 50;
/// Keys of one person; one more takes the place of the oldest.
pub const KEYS_MAX: usize = 5;
/// Random bytes of an invitation.
const INVITATION_BYTES: usize = 20;

/// Everything about one person.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Whose it is.
    pub issuer: String,
    /// The subject.
    pub subject: String,
    #[serde(default)]
    totp: Option<Totp>,
    #[serde(default)]
    keys: Vec<Key>,
    /// What the person's keys know it by; made with the first of them.
    #[serde(default)]
    handle: Option<Handle>,
    #[serde(default)]
    invitation: Option<Invitation>,
    /// Since the last proof.
    #[serde(default)]
    failures: u32,
    /// Unix seconds.
    #[serde(default)]
    locked_until: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Totp {
    secret: Kept,
    /// The step whose code served last: none up to it serves again.
    step: u64,
    /// Unix seconds.
    enrolled_at: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Invitation {
    /// SHA-256 of the text.
    hash: [u8; 32],
    /// Unix seconds.
    until: i64,
}

/// Why a proof or an invitation is refused. The words are for the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too many failures; in how many seconds the next try counts.
    #[error("Too many wrong answers. Wait a few minutes, then try again.")]
    Locked(i64),
    /// Far too many failures.
    #[error("Too many wrong answers. Ask your administrator for a new invitation.")]
    Blocked,
    /// Nothing of the kind is enrolled.
    #[error("You have not enrolled this. Ask your administrator for an invitation.")]
    NotEnrolled,
    /// Not the code of now.
    #[error("This code is wrong. Type the one that your app shows now.")]
    Wrong,
    /// The code of now, a second time.
    #[error("This code was used already. Wait for the next one.")]
    Used,
    /// Not a proof by one of the person's keys.
    #[error("This key did not prove that it is yours.")]
    WrongKey,
    /// No invitation is open, or it's another one, or too old.
    #[error(
        "This invitation was used, replaced or is too old. Ask your administrator for a new one."
    )]
    NotInvited,
}

impl Refused {
    /// A stable snake_case word, for events.
    pub fn code(self) -> &'static str {
        match self {
            Self::Locked(_) => "second_factor_locked",
            Self::Blocked => "second_factor_blocked",
            Self::NotEnrolled => "second_factor_not_enrolled",
            Self::Wrong | Self::WrongKey => "second_factor_wrong",
            Self::Used => "second_factor_used",
            Self::NotInvited => "invitation_refused",
        }
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Record(..)")
    }
}

impl Record {
    /// Nothing, of a person.
    pub fn of(issuer: String, subject: String) -> Self {
        Self {
            issuer,
            subject,
            ..Self::default()
        }
    }

    /// Whether one-time codes are enrolled.
    pub fn has_totp(&self) -> bool {
        self.totp.is_some()
    }

    /// The keys that are enrolled.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// When the latest factor was enrolled, in Unix seconds.
    pub fn enrolled_at(&self) -> Option<i64> {
        let totp = self.totp.as_ref().map(|totp| totp.enrolled_at);
        let keys = self.keys.iter().map(|key| key.enrolled_at);
        keys.chain(totp).max()
    }

    /// Whether nothing of it is worth a file.
    pub fn is_empty(&self) -> bool {
        self.totp.is_none()
            && self.keys.is_empty()
            && self.invitation.is_none()
            && self.failures == 0
    }

    /// Whether proofs count now, and why not.
    pub fn standing(&self, now_unix: i64) -> Result<(), Refused> {
        if self.failures >= FAILURES_MAX {
            return Err(Refused::Blocked);
        }
        match self.locked_until.saturating_sub(now_unix) {
            left if left > 0 => Err(Refused::Locked(left)),
            _ => Ok(()),
        }
    }

    /// Whether an invitation is open.
    pub fn is_invited(&self, now_unix: i64) -> bool {
        let open = self.invitation.as_ref();
        open.is_some_and(|invitation| now_unix < invitation.until)
    }

    /// Opens an invitation in place of any other; its text, which is shown once. What failed before is forgiven.
    pub fn invite(&mut self, until_unix: i64) -> Option<Zeroizing<String>> {
        let mut bytes = Zeroizing::new([0; INVITATION_BYTES]);
        aws_lc_rs::rand::fill(bytes.as_mut()).ok()?;
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode_to_string(*bytes));
        self.invitation = Some(Invitation {
            hash: Sha256::digest(&*text).into(),
            until: until_unix,
        });
        (self.failures, self.locked_until) = (0, 0);
        Some(text)
    }

    /// Takes away all that was enrolled, the invitation, and what failed; whether there was anything.
    pub fn clear(&mut self) -> bool {
        let had = !self.is_empty();
        let issuer = std::mem::take(&mut self.issuer);
        let subject = std::mem::take(&mut self.subject);
        *self = Self::of(issuer, subject);
        had
    }

    /// Judges a one-time code, which serves once.
    ///
    /// # Errors
    /// [`Refused`], counted.
    pub fn prove(&mut self, code: &str, now_unix: i64) -> Result<Method, Refused> {
        self.standing(now_unix)?;
        let Some(totp) = &mut self.totp else {
            return Err(Refused::NotEnrolled);
        };
        let judged = match totp.secret.0.step_of(code, now_unix) {
            Some(step) if step > totp.step => {
                totp.step = step;
                Ok(Method::Totp)
            }
            Some(_) => Err(Refused::Used),
            None => Err(Refused::Wrong),
        };
        self.counted(judged, now_unix)
    }

    /// Judges a proof by one of the person's keys: `judge` says what it proves.
    ///
    /// # Errors
    /// [`Refused`], counted.
    pub fn prove_by_key(
        &mut self,
        judge: impl FnOnce(Handle, &mut [Key]) -> Option<Method>,
        now_unix: i64,
    ) -> Result<Method, Refused> {
        self.standing(now_unix)?;
        let Some(handle) = self.handle.filter(|_| !self.keys.is_empty()) else {
            return Err(Refused::NotEnrolled);
        };
        let judged = judge(handle, &mut self.keys).ok_or(Refused::WrongKey);
        self.counted(judged, now_unix)
    }

    /// Judges an invitation, which goes on serving until something was enrolled with it. Nobody guesses 160 bits, so that
    /// what failed is not counted.
    ///
    /// # Errors
    /// [`Refused::NotInvited`].
    pub fn invited(&self, text: &str, now_unix: i64) -> Result<(), Refused> {
        let hash: [u8; 32] = Sha256::digest(text).into();
        let open = self.invitation.as_ref();
        // Hashes are compared: the time that it takes tells nothing of the text.
        let good = open.is_some_and(|open| open.hash == hash && now_unix < open.until);
        match good {
            true => Ok(()),
            false => Err(Refused::NotInvited),
        }
    }

    /// Enrols one-time codes by an invitation, which is used up. `code` shows that the authenticator has the secret; it and
    /// those before it serve no more.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn enrol(
        &mut self,
        invitation: &str,
        secret: &Secret,
        code: &str,
        now_unix: i64,
    ) -> Result<(), Refused> {
        self.invited(invitation, now_unix)?;
        let step = secret.step_of(code, now_unix).ok_or(Refused::Wrong)?;
        let secret = Secret::from_bytes(secret.expose()).map(Kept);
        self.totp = Some(Totp {
            secret: secret.ok_or(Refused::Wrong)?,
            step,
            enrolled_at: now_unix,
        });
        self.invitation = None;
        Ok(())
    }

    /// The handle that a new key is made for; none without randomness.
    pub fn handle(&mut self) -> Option<Handle> {
        if self.handle.is_none() {
            let mut handle = Handle::default();
            aws_lc_rs::rand::fill(&mut handle).ok()?;
            self.handle = Some(handle);
        }
        self.handle
    }

    /// Enrols a key by an invitation, which is used up.
    ///
    /// # Errors
    /// [`Refused::NotInvited`].
    pub fn enrol_key(&mut self, invitation: &str, key: Key, now_unix: i64) -> Result<(), Refused> {
        self.invited(invitation, now_unix)?;
        if self.keys.len() >= KEYS_MAX {
            self.keys.remove(0);
        }
        self.keys.push(key);
        self.invitation = None;
        Ok(())
    }

    fn counted<T>(&mut self, judged: Result<T, Refused>, now_unix: i64) -> Result<T, Refused> {
        match judged {
            Ok(_) => (self.failures, self.locked_until) = (0, 0),
            Err(_) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= FAILURES_FREE {
                    self.locked_until = now_unix.saturating_add(LOCK_SECONDS);
                }
            }
        }
        judged
    }
}

/// A secret in a record: base64 in the text that is sealed.
struct Kept(Secret);

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode_to_string(self.0.expose()));
        to.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(from)?);
        let bytes = URL_SAFE_NO_PAD
            .decode_to_vec(text.as_bytes())
            .map(Zeroizing::new);
        let secret = bytes.ok().and_then(|bytes| Secret::from_bytes(&bytes));
        secret
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("no secret"))
    }
}
