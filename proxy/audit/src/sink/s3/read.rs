//! The bucket read back: every version of every object, opened under its own name before it is believed.
//!
//! A simple delete only puts a marker over an object, and a put over it only a further version: so the versions are listed, not the objects.
//! At most one object is in memory at a time, and of what was seen no more than where its stretches begin and end (`links`).

use std::collections::VecDeque;

use time::{Date, Month, OffsetDateTime};

use super::S3Settings;
use super::ask::{Ask, Store};
use super::object::{Named, open};
use super::xml::{self, Version};
use crate::keys::AuditKeys;
use crate::query::{LIMIT_DEFAULT, Query};
use crate::record::Record;
use crate::sink::SinkError;
use crate::sink::links::{Fork, Links};
use crate::spool::FRAME_BYTES_MAX;

/// The largest object that is fetched, in bytes: what `object_bytes_max` may be at most, and one event more.
const OBJECT_BYTES_MAX: usize = (1 << 26) + FRAME_BYTES_MAX;
/// Versions of one page.
const PAGE_VERSIONS: usize = 1000;
/// Problems and notices that are told in words; all are counted.
const TOLD_MAX: usize = 20;

/// What is looked at.
#[derive(Debug, Clone, Default)]
pub struct Range {
    /// Not before this time, as in [`Query::since`].
    pub since: Option<String>,
    /// Before this time.
    pub until: Option<String>,
    /// Whether the outputs get every event, so that a gap is a finding.
    pub is_every_event: bool,
}

/// What reading the bucket found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct BucketReport {
    /// Objects that are what their names say.
    pub objects: u64,
    /// Distinct events in them.
    pub events: u64,
    /// Runs that they are of.
    pub chains: usize,
    /// Neighbours of one chain whose hashes fit.
    pub links: u64,
    /// Events that stand in two objects.
    pub duplicates: u64,
    /// Places where events of a chain are not there.
    pub gaps: u64,
    /// How many things are wrong.
    pub problems: u64,
    /// The first of them.
    pub problem_words: Vec<String>,
    /// What is worth knowing and no fault.
    pub notices: Vec<String>,
}

impl BucketReport {
    fn wrong(&mut self, words: String) {
        self.problems += 1;
        if self.problem_words.len() < TOLD_MAX {
            self.problem_words.push(words);
        }
    }
}

/// Why the bucket was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store.
    #[error("{0}")]
    Store(#[from] SinkError),
    /// A list that is none.
    #[error("the store's list of versions is not understood")]
    List,
}

/// Reads the bucket and shows each record that it believes, object by object.
///
/// # Errors
/// The store can't be asked; what is wrong with an object stands in the report.
pub async fn walk(
    store: &impl Store,
    settings: &S3Settings,
    keys: &AuditKeys,
    range: &Range,
    mut each: impl FnMut(Record),
) -> Result<BucketReport, ReadError> {
    let mut reading = Reading {
        store,
        settings,
        keys,
        range,
        links: Links::default(),
        report: BucketReport::default(),
        foreign: 0,
    };
    let mut next = None;
    let mut of_one_name: Vec<Version> = Vec::new();
    loop {
        let page = reading.page(next.as_ref()).await?;
        for version in page.versions {
            if of_one_name
                .first()
                .is_some_and(|one| one.name != version.name)
            {
                reading.name(&of_one_name, &mut each).await?;
                of_one_name.clear();
            }
            // The newest come first. Many versions of one name are a finding by themselves, and the oldest is what counts: it is kept in any case.
            if of_one_name.len() >= PAGE_VERSIONS {
                of_one_name.pop();
            }
            of_one_name.push(version);
        }
        if page.next.is_none() {
            break;
        }
        next = page.next;
    }
    reading.name(&of_one_name, &mut each).await?;
    Ok(reading.finish())
}

/// What a query found.
#[derive(Debug)]
pub struct BucketAnswer {
    /// The last ones that are asked for, oldest first.
    pub records: Vec<Record>,
    /// What reading found.
    pub report: BucketReport,
}

/// Asks the bucket.
///
/// # Errors
/// See [`walk`].
pub async fn query(
    store: &impl Store,
    settings: &S3Settings,
    keys: &AuditKeys,
    query: &Query,
) -> Result<BucketAnswer, ReadError> {
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    let mut found: VecDeque<Record> = VecDeque::new();
    let range = Range {
        since: query.since.clone(),
        until: query.until.clone(),
        is_every_event: false,
    };
    let report = walk(store, settings, keys, &range, |record| {
        if !query.matches(&record) {
            return;
        }
        let place = found.partition_point(|one| one.time() <= record.time());
        // An event that stands in two objects is one.
        let same = found.range(..place).rev();
        let mut same = same.take_while(|one| one.time() == record.time());
        if !same.any(|one| *one == record) {
            found.insert(place, record);
            if found.len() > limit {
                found.pop_front();
            }
        }
    });
    let report = report.await?;
    Ok(BucketAnswer {
        records: found.into(),
        report,
    })
}

struct Reading<'a, S> {
    store: &'a S,
    settings: &'a S3Settings,
    keys: &'a AuditKeys,
    range: &'a Range,
    links: Links,
    report: BucketReport,
    foreign: u64,
}

impl<S: Store> Reading<'_, S> {
    async fn page(&self, after: Option<&(String, String)>) -> Result<xml::Page, ReadError> {
        let mut query = vec![
            ("versions", String::new()),
            ("prefix", self.settings.prefix.clone()),
            ("max-keys", PAGE_VERSIONS.to_string()),
        ];
        match after {
            Some((name, id)) => {
                query.push(("key-marker", name.clone()));
                if !id.is_empty() {
                    query.push(("version-id-marker", id.clone()));
                }
            }
            // Names of earlier days come first.
            None => query.extend(self.begin().map(|name| ("key-marker", name))),
        }
        let answer = self.store.ask(Ask::of_bucket(query)).await?;
        let answer = answer.well("the list of its objects")?;
        xml::page(&answer.body).ok_or(ReadError::List)
    }

    fn begin(&self) -> Option<String> {
        let day = day_of(self.range.since.as_deref()?)?;
        Some(format!("{}dt={day}", self.settings.prefix))
    }

    /// Everything that lies under one name: it should be one version of one object.
    async fn name(
        &mut self,
        versions: &[Version],
        each: &mut impl FnMut(Record),
    ) -> Result<(), ReadError> {
        let Some(name) = versions.first().map(|version| version.name.as_str()) else {
            return Ok(());
        };
        let bare = name.strip_prefix(&self.settings.prefix).unwrap_or(name);
        let Some(named) = Named::parse(bare) else {
            self.foreign += 1;
            return Ok(());
        };
        if self.is_out_of_range(&named) {
            return Ok(());
        }
        let is_due = self.is_due(&named);
        if versions.iter().any(|version| version.is_marker) && !is_due {
            self.report.wrong(format!(
                "{name}: somebody deleted it before its time; its locked version is read"
            ));
        }
        let mut is_read = false;
        for version in versions.iter().rev().filter(|version| !version.is_marker) {
            match self.fetch(version, &named).await? {
                Ok(records) if is_read => {
                    self.report.wrong(format!(
                        "{name}: version {} is the same object once more",
                        version.id
                    ));
                    drop(records);
                }
                Ok(records) => {
                    is_read = true;
                    self.believe(name, records, each);
                }
                Err(what) => self
                    .report
                    .wrong(format!("{name}: version {}: {what}", version.id)),
            }
        }
        if !is_read && !is_due && versions.iter().all(|version| version.is_marker) {
            self.report
                .wrong(format!("{name}: no version of it is left"));
        }
        Ok(())
    }

    fn believe(&mut self, name: &str, records: Vec<Record>, each: &mut impl FnMut(Record)) {
        match self.links.take(&records) {
            Ok(()) => self.report.objects += 1,
            Err(Fork { seq }) => {
                let words = format!(
                    "{name}: number {seq} does not follow the one before it: two writers, or one of them was changed"
                );
                return self.report.wrong(words);
            }
        }
        records.into_iter().for_each(each);
    }

    async fn fetch(
        &self,
        version: &Version,
        named: &Named,
    ) -> Result<Result<Vec<Record>, String>, ReadError> {
        if version.bytes > OBJECT_BYTES_MAX as u64 {
            return Ok(Err(
                "it is larger than any that the sidecar makes".to_owned()
            ));
        }
        let mut ask = Ask::of_object("GET", &version.name);
        if version.id != "null" && !version.id.is_empty() {
            ask.query = vec![("versionId", version.id.clone())];
        }
        ask.answer_bytes_max = OBJECT_BYTES_MAX;
        let answer = self.store.ask(ask).await?;
        if answer.status == 404 {
            return Ok(Err("it was listed and is gone".to_owned()));
        }
        let answer = answer.well("an object")?;
        let records = open(named, &answer.body, self.keys, OBJECT_BYTES_MAX);
        Ok(records.map_err(|error| error.to_string()))
    }

    /// Whether its retention is over, so that the lifecycle may end it.
    fn is_due(&self, named: &Named) -> bool {
        let kept = time::Duration::days(i64::from(self.settings.keep_days));
        let today = OffsetDateTime::now_utc().date();
        day_of(&named.place.day)
            .and_then(|day| day.checked_add(kept))
            .is_some_and(|end| end < today)
    }

    /// Whether its day is behind the range.
    fn is_out_of_range(&self, named: &Named) -> bool {
        let until = self.range.until.as_deref();
        until.is_some_and(|until| named.place.day.as_str() >= until)
    }

    fn finish(mut self) -> BucketReport {
        let gaps = self.links.gaps();
        self.report.gaps = gaps.len() as u64;
        self.report.events = self.links.events();
        self.report.chains = self.links.chains();
        self.report.links = self.links.links;
        self.report.duplicates = self.links.duplicates;
        let is_whole = self.range.since.is_none() && self.range.until.is_none();
        for gap in &gaps {
            match self.range.is_every_event && is_whole {
                true => self.report.wrong(format!("missing: {gap}")),
                false if self.report.notices.len() < TOLD_MAX => self.report.notices.push(format!("not in the bucket: {gap}: not selected by audit_logging.events, out of the time asked for, or removed")),
                false => {}
            }
        }
        if self.report.duplicates > 0 {
            let words = format!(
                "{} events stand in two objects, each the same in both",
                self.report.duplicates
            );
            self.report.notices.push(words);
        }
        if self.foreign > 0 {
            let words = format!(
                "{} names under the prefix are no objects of the sidecar",
                self.foreign
            );
            self.report.notices.push(words);
        }
        self.report
    }
}

/// The first day of a time or of the beginning of one (`2026-1`: October).
fn day_of(text: &str) -> Option<Date> {
    const FORM: &str = "0000-00-00";
    let bare: String = text.chars().take(FORM.len()).collect();
    let mut whole = bare.clone();
    whole.extend(FORM.chars().skip(bare.chars().count()));
    let mut parts = whole.splitn(3, '-');
    let year = parts.next()?.parse().ok()?;
    let month: u8 = parts.next()?.parse().ok()?;
    let day: u8 = parts.next()?.parse().ok()?;
    Date::from_calendar_date(year, Month::try_from(month.max(1)).ok()?, day.max(1)).ok()
}
