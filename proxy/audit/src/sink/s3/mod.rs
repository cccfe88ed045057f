//! A bucket as a sink: objects that nobody can change or delete before their time.
//!
//! A batch becomes an object a chain and day, cut where it grows too long (`object`). Each is put once: its name is made of its content, and a put under a name that is taken
//! is refused by the store (`If-None-Match: *`), which makes a batch that comes again harmless. So that it is cut again as it was there is a `plan`.
//!
//! Nothing is believed that the store does not say: a bucket without Object Lock is refused where it is required (`bucket`), and so is a store that answers a put
//! without the server-side encryption that was asked for. The cursor moves only behind an answer that says all of it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use time::OffsetDateTime;

use super::{Sink, SinkError, Taken};
use crate::Trail;
use crate::keys::{AuditKeys, Kid};
use crate::record::Record;
use crate::trail::now_micros;

mod ask;
pub mod bucket;
mod object;
mod plan;
pub mod read;
mod xml;

pub use ask::{Answer, Ask, Store};
use object::Object;
use plan::{Plan, PlanFile};

/// How the store encrypts what it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// With keys of its own (SSE-S3).
    Aes256,
    /// With a key of KMS, by id or ARN; none: the account's own for S3.
    Kms(Option<String>),
}

impl Encryption {
    /// The word for it in headers.
    fn word(&self) -> &'static str {
        match self {
            Self::Aes256 => "AES256",
            Self::Kms(_) => "aws:kms",
        }
    }
}

/// The mode of Object Lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Nobody can shorten it.
    Compliance,
    /// Who may bypass it can.
    Governance,
}

/// What becomes of events in the bucket.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// What the names of objects begin with, with a slash at its end.
    pub prefix: String,
    /// Seal objects before they leave.
    pub encrypted: bool,
    /// What the store does beside that.
    pub encryption: Encryption,
    /// Lock each object; none: a bucket without Object Lock will do.
    pub lock: Option<LockMode>,
    /// Days that an object is kept.
    pub keep_days: u32,
    /// Bytes of events that make an object.
    pub object_bytes_max: usize,
}

/// The sink. Asks about the bucket before it puts the first object, and again after each failure.
pub struct S3<S> {
    store: S,
    settings: S3Settings,
    keys: Arc<AuditKeys>,
    file: PlanFile,
    is_checked: bool,
}

impl<S> fmt::Debug for S3<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// What became of one object.
enum Put {
    New,
    Duplicate,
    /// The store takes none of this size, with its code.
    TooLarge(String),
}

impl<S: Store> S3<S> {
    /// The sink, which has not asked for anything yet.
    pub fn new(store: S, settings: S3Settings, trail: &Trail) -> Self {
        let state: &Path = &trail.shared().settings.state_directory;
        Self {
            store,
            settings,
            keys: Arc::clone(trail.keys()),
            file: PlanFile::new(state),
            is_checked: false,
        }
    }

    /// The key that seals now, by its id; none where nothing is sealed.
    fn key(&self) -> Result<Option<Kid>, SinkError> {
        if !self.settings.encrypted {
            return Ok(None);
        }
        let key = self.keys.sealing(now_micros() / 1_000_000);
        key.map(|key| Some(key.kid)).map_err(|_| unmade())
    }

    /// The plan of this batch: the one that is kept if it is of this batch, else a new one.
    fn plan(&self, first: &Record) -> Result<Plan, SinkError> {
        let key = self.key()?;
        let kept = self.file.read().filter(|plan| {
            plan.begins(first)
                && plan.key.is_some() == key.is_some()
                && plan.key.is_none_or(|kid| self.keys.find(&kid).is_some())
        });
        Ok(kept.unwrap_or_else(|| Plan::beginning(first, key)))
    }

    /// The batch in parts, each with its place in it: of one chain and one day, no longer than an object may be, cut where the plan says.
    fn parts<'r>(&self, batch: &'r [Record], plan: &Plan) -> Vec<(usize, &'r [Record])> {
        let mut parts = Vec::new();
        let (mut begin, mut bytes) = (0, 0);
        for (place, record) in batch.iter().enumerate() {
            bytes += record.bytes().len() + 1;
            let ends = batch.get(place + 1).is_none_or(|next| {
                next.chain() != record.chain()
                    || object::day(next) != object::day(record)
                    || bytes + next.bytes().len() + 1 > self.settings.object_bytes_max
                    || plan.cuts(record)
            });
            if ends {
                parts.push((begin, batch.get(begin..=place).unwrap_or_default()));
                (begin, bytes) = (place + 1, 0);
            }
        }
        parts
    }

    /// Makes an object of records, on a thread of its own for as long as that takes.
    async fn object(&self, records: &[Record], key: Option<Kid>) -> Result<Object, SinkError> {
        let (keys, records) = (Arc::clone(&self.keys), records.to_vec());
        let making = tokio::task::spawn_blocking(move || {
            let key = key.and_then(|kid| keys.find(&kid));
            Object::of(&records, key)
        });
        making.await.map_err(|_| unmade())?.map_err(|_| unmade())
    }

    async fn put(&self, object: Object) -> Result<Put, SinkError> {
        let name = format!("{}{}", self.settings.prefix, object.name);
        let mut ask = Ask::of_object("PUT", &name);
        ask.headers = self.put_headers(&object.digest);
        ask.body = Bytes::from(object.bytes);
        let answer = self.store.ask(ask).await?;
        match answer.status {
            412 => {
                self.is_there(&name, &object.digest).await?;
                Ok(Put::Duplicate)
            }
            413 => Ok(Put::TooLarge(answer.code())),
            400 if answer.code() == "EntityTooLarge" => Ok(Put::TooLarge(answer.code())),
            _ => {
                let answer = answer.well("an object")?;
                self.encrypted_by_store(&answer)?;
                Ok(Put::New)
            }
        }
    }

    fn put_headers(&self, digest: &[u8; 32]) -> Vec<(&'static str, String)> {
        let settings = &self.settings;
        let mut headers = vec![
            ("content-type", "application/octet-stream".to_owned()),
            ("if-none-match", "*".to_owned()),
            ("x-amz-checksum-sha256", base64(digest)),
            (
                "x-amz-server-side-encryption",
                settings.encryption.word().to_owned(),
            ),
        ];
        if let Encryption::Kms(key) = &settings.encryption {
            headers.push((
                "x-amz-server-side-encryption-bucket-key-enabled",
                "true".to_owned(),
            ));
            headers.extend(
                key.clone()
                    .map(|key| ("x-amz-server-side-encryption-aws-kms-key-id", key)),
            );
        }
        if let Some(mode) = settings.lock {
            let mode = match mode {
                LockMode::Compliance => "COMPLIANCE",
                LockMode::Governance => "GOVERNANCE",
            };
            headers.push(("x-amz-object-lock-mode", mode.to_owned()));
            headers.push((
                "x-amz-object-lock-retain-until-date",
                retain_until(SystemTime::now(), settings.keep_days),
            ));
        }
        headers
    }

    /// The store must say that it encrypted; one that does not know the header takes the object and says nothing.
    fn encrypted_by_store(&self, answer: &Answer) -> Result<(), SinkError> {
        let wanted = self.settings.encryption.word();
        if answer.header("x-amz-server-side-encryption") == Some(wanted) {
            return Ok(());
        }
        Err(SinkError {
            code: "not_encrypted".to_owned(),
            what: format!(
                "the store took an object without the server-side encryption {wanted} that was asked for: use one that encrypts"
            ),
        })
    }

    /// An object of this name is there: is it ours? Who may not look believes the name, which holds a digest that needs our key.
    async fn is_there(&self, name: &str, digest: &[u8; 32]) -> Result<(), SinkError> {
        let mut ask = Ask::of_object("HEAD", name);
        ask.headers = vec![("x-amz-checksum-mode", "ENABLED".to_owned())];
        let answer = self.store.ask(ask).await?;
        if answer.status == 403 && self.settings.encrypted {
            return Ok(());
        }
        let answer = answer.well("a look at an object that is there already")?;
        let is_ours = answer
            .header("x-amz-checksum-sha256")
            .is_none_or(|found| found == base64(digest));
        if !is_ours {
            return Err(SinkError {
                code: "foreign_object".to_owned(),
                what: format!("another object lies under the name {name}: look who put it there"),
            });
        }
        self.encrypted_by_store(&answer)
    }

    /// Puts one part; where the store takes no object of its size, its halves, down to the one event that is too large.
    async fn put_or_halve(
        &self,
        begin: usize,
        records: &[Record],
        key: Option<Kid>,
        taken: &mut Taken,
    ) -> Result<(), SinkError> {
        let mut open = vec![(begin, records)];
        while let Some((place, records)) = open.pop() {
            let object = self.object(records, key).await?;
            let count = records.len() as u64;
            match self.put(object).await? {
                Put::New => taken.new += count,
                Put::Duplicate => taken.duplicates += count,
                Put::TooLarge(code) if count == 1 => taken.refused.push((place, code)),
                Put::TooLarge(_) => {
                    let (left, right) = records.split_at(records.len() / 2);
                    open.push((place + left.len(), right));
                    open.push((place, left));
                }
            }
        }
        Ok(())
    }

    async fn put_all(&self, batch: &[Record]) -> Result<Taken, SinkError> {
        let mut taken = Taken::default();
        let Some(first) = batch.first() else {
            return Ok(taken);
        };
        let mut plan = self.plan(first)?;
        for (begin, records) in self.parts(batch, &plan) {
            if let Some(last) = records.last()
                && plan.cut(last)
            {
                self.keep(&plan).await?;
            }
            self.put_or_halve(begin, records, plan.key, &mut taken)
                .await?;
        }
        Ok(taken)
    }

    async fn keep(&self, plan: &Plan) -> Result<(), SinkError> {
        let (file, plan) = (self.file.clone(), plan.clone());
        let writing = tokio::task::spawn_blocking(move || file.write(&plan));
        let written = writing.await.map_err(|_| unmade())?;
        written.map_err(|error| SinkError {
            code: "plan".to_owned(),
            what: format!("the plan of the sink s3 can't be written to state.directory: {error}"),
        })
    }
}

impl<S: Store> Sink for S3<S> {
    fn name(&self) -> &str {
        "s3"
    }

    async fn take(&mut self, batch: &[Record]) -> Result<Taken, SinkError> {
        if !self.is_checked {
            bucket::admit(&self.store, &self.settings).await?;
        }
        let taken = self.put_all(batch).await;
        // After an error nobody knows whose bucket it is by now.
        self.is_checked = taken.is_ok();
        taken
    }
}

fn unmade() -> SinkError {
    SinkError {
        code: "seal".to_owned(),
        what: "an audit object can't be made".to_owned(),
    }
}

/// The end of a retention that begins now, as S3 reads it.
fn retain_until(now: SystemTime, days: u32) -> String {
    let end = OffsetDateTime::from(now + Duration::from_secs(u64::from(days) * 86_400));
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        end.year(),
        u8::from(end.month()),
        end.day(),
        end.hour(),
        end.minute(),
        end.second()
    )
}

/// 32 bytes in base64.
fn base64(digest: &[u8; 32]) -> String {
    base64_simd::STANDARD.encode_to_string(digest)
}

#[cfg(test)]
mod tests;
