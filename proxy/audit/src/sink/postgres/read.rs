//! The table read back: pages of rows, newest first, each proved by its own payload before it is believed.
//!
//! A row's payload is opened in its place, hashed, and its clear columns are compared with it. Where two rows of a chain follow one
//! another the later one must hold the hash of the earlier. What a filter, the selection of events or a thief left out between two
//! rows can't be told apart here: such places are counted as gaps, and `audit verify` of the spool tells.
//!
//! Reads as a role that may only read: one that may change the table is refused before the first row.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_postgres::Client;
use tokio_postgres_rustls::MakeRustlsConnect;
use uuid::Uuid;

use super::{BATCH_MAX, CONNECT_MAX, PostgresError, PostgresSettings, Row, sink_error};
use crate::keys::AuditKeys;
use crate::query::{LIMIT_DEFAULT, Query};
use crate::record::Record;
use crate::sink::links::{Fork, Gap, Links};
use crate::sink::tls::client_config;
use crate::sink::{SinkError, open_payload};

/// Rows of one page.
const PAGE_ROWS: usize = 500;
/// The largest payload that is fetched, in bytes; a larger one counts as one that does not open.
const PAYLOAD_BYTES_MAX: i32 = 4 * 1024 * 1024;
/// Chains whose last row is remembered; beyond it links of further chains are not checked.
const CHAINS_MAX: usize = 4096;
const OPTIONS: &str = "-c statement_timeout=30s -c default_transaction_read_only=on -c application_name=safeguard-audit-query";

/// All pages are of one state of the table.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
/// Problems and notices that are told in words; all are counted.
const TOLD_MAX: usize = 20;

/// Why the table can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The settings can't work.
    #[error(transparent)]
    Settings(#[from] PostgresError),
    /// The server can't be reached, or refused.
    #[error("{0}")]
    Server(SinkError),
    /// The role may change the table.
    #[error(
        "the role `{0}` may write the audit table: read it as a role that is only a member of `audit_reader`"
    )]
    MayWrite(String),
    /// The role may not read.
    #[error("the role `{0}` may not read the audit table: GRANT audit_reader TO it")]
    MayNotRead(String),
    /// A time that is none.
    #[error("`{0}` is no time")]
    Time(String),
}

impl From<tokio_postgres::Error> for ReadError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(sink_error(&error))
    }
}

/// What the table answered, and what reading it proved.
#[derive(Debug, Default)]
pub struct TableAnswer {
    /// The records, oldest first.
    pub records: Vec<Record>,
    /// Neighbours of one chain whose hashes fit.
    pub links: u64,
    /// Places where rows of a chain are not neighbours.
    pub gaps: u64,
    /// The newest of them: chain, and the numbers on both sides.
    pub gap: Option<String>,
    /// Rows that are not sealed though they should be.
    pub unsealed: u64,
    /// Rows that are not what they say; none of them is among the records.
    pub problems: u64,
    /// The newest of them.
    pub problem: Option<String>,
}

impl TableAnswer {
    fn wrong(&mut self, place: &Place, what: &str) {
        self.problems += 1;
        self.problem.get_or_insert_with(|| place.told(what));
    }
}

/// Where a row stands, in the order of pages.
struct Place {
    time: SystemTime,
    chain: String,
    seq: i64,
}

impl Place {
    fn of(row: &Row<'_>) -> Self {
        Self {
            time: row.time,
            chain: row.chain.to_owned(),
            seq: row.seq,
        }
    }

    fn told(&self, what: &str) -> String {
        format!("chain {} number {}: {what}", self.chain, self.seq)
    }
}

/// Asks the table. Needs rustls's process default provider and a tokio runtime.
///
/// # Errors
/// The server can't be reached or refuses, or the role is not one that only reads.
pub async fn query(
    settings: &PostgresSettings,
    keys: &AuditKeys,
    query: &Query,
) -> Result<TableAnswer, ReadError> {
    let client = connect(settings).await?;
    only_reads(&client, settings).await?;
    client.batch_execute(SNAPSHOT).await?;
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    let mut reading = Reading {
        keys,
        query,
        is_sealed: settings.encrypted,
        later: HashMap::new(),
        answer: TableAnswer::default(),
    };
    let bounds = (instant(&query.since)?, instant(&query.until)?);
    let mut last: Option<Place> = None;
    while reading.answer.records.len() < limit {
        let wanted = PAGE_ROWS.min(limit - reading.answer.records.len());
        let rows = page(&client, settings, query, bounds, last.as_ref(), wanted).await?;
        for row in &rows {
            last = Some(reading.take(row)?);
        }
        if rows.len() < wanted {
            break;
        }
    }
    reading.answer.records.reverse();
    Ok(reading.answer)
}

/// What reading the whole table found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct TableReport {
    /// Distinct events that are what their rows say.
    pub events: u64,
    /// Runs that they are of.
    pub chains: usize,
    /// Neighbours of one chain whose hashes fit.
    pub links: u64,
    /// Rows that are not sealed though they should be.
    pub unsealed: u64,
    /// How many things are wrong.
    pub problems: u64,
    /// The first of them.
    pub problem_words: Vec<String>,
    /// What is worth knowing and no fault.
    pub notices: Vec<String>,
}

impl TableReport {
    fn wrong(&mut self, words: String) {
        self.problems += 1;
        if self.problem_words.len() < TOLD_MAX {
            self.problem_words.push(words);
        }
    }

    fn gap(&mut self, gap: &Gap, is_every_event: bool) {
        if is_every_event {
            self.wrong(format!("missing: {gap}"));
        } else if self.notices.len() < TOLD_MAX {
            let words = "not selected by audit_logging.events, or removed";
            self.notices
                .push(format!("not in the table: {gap}: {words}"));
        }
    }
}

/// Reads the whole table in one snapshot, and proves each row and that none is missing between the first and the last of each run.
/// Needs rustls's process default provider and a tokio runtime.
///
/// `is_every_event`: `audit_logging.events` leaves none out, so that a gap is a finding.
///
/// # Errors
/// As [`query`]; what is wrong with the table stands in the report.
pub async fn verify(
    settings: &PostgresSettings,
    keys: &AuditKeys,
    is_every_event: bool,
) -> Result<TableReport, ReadError> {
    let client = connect(settings).await?;
    only_reads(&client, settings).await?;
    client.batch_execute(SNAPSHOT).await?;
    let everything = Query::default();
    let mut reading = Reading {
        keys,
        query: &everything,
        is_sealed: settings.encrypted,
        later: HashMap::new(),
        answer: TableAnswer::default(),
    };
    let mut report = TableReport::default();
    let mut links = Links::default();
    let mut last: Option<Place> = None;
    loop {
        let bounds = (None, None);
        let rows = page(
            &client,
            settings,
            &everything,
            bounds,
            last.as_ref(),
            PAGE_ROWS,
        )
        .await?;
        for row in &rows {
            let stored = stored(row)?;
            let place = Place::of(&stored);
            let fits = reading.proved(&stored).and_then(|record| {
                let taken = links.take(std::slice::from_ref(&record));
                taken.map_err(|Fork { seq }| {
                    format!("number {seq} does not follow the one before it: two writers, or one of them was changed")
                })
            });
            if let Err(what) = fits {
                report.wrong(place.told(&what));
            }
            last = Some(place);
        }
        if rows.len() < PAGE_ROWS {
            break;
        }
    }
    for gap in &links.gaps() {
        report.gap(gap, is_every_event);
    }
    report.events = links.events();
    report.chains = links.chains();
    report.links = links.links;
    report.unsealed = reading.answer.unsealed;
    Ok(report)
}

/// Can the server be reached, and is the role's connection taken? Asks for no row.
///
/// # Errors
/// It can't.
pub async fn reach(settings: &PostgresSettings) -> Result<(), ReadError> {
    connect(settings).await.map(drop)
}

async fn connect(settings: &PostgresSettings) -> Result<Client, ReadError> {
    if settings.host.is_empty() || settings.host.starts_with('/') {
        return Err(PostgresError::Socket.into());
    }
    let tls = MakeRustlsConnect::new(
        client_config(&settings.ca_pem, settings.client_pem.as_ref())
            .map_err(PostgresError::from)?,
    );
    let config = super::config(settings, OPTIONS);
    let connecting = tokio::time::timeout(CONNECT_MAX, config.connect(tls));
    let (client, connection) = connecting
        .await
        .map_err(|_| ReadError::Server(super::timed_out("connecting")))??;
    // Ends when the client is dropped; its error reaches the client's next call.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

async fn only_reads(client: &Client, settings: &PostgresSettings) -> Result<(), ReadError> {
    let table = settings.table.to_string();
    let row = client
        .query_one(
            "SELECT has_table_privilege($1::text, 'SELECT'), has_table_privilege($1::text, 'INSERT, UPDATE, DELETE, TRUNCATE')",
            &[&table],
        )
        .await?;
    let (may_read, may_write): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    match (may_read, may_write) {
        (_, true) => Err(ReadError::MayWrite(settings.user.clone())),
        (false, _) => Err(ReadError::MayNotRead(settings.user.clone())),
        (true, false) => Ok(()),
    }
}

async fn page(
    client: &Client,
    settings: &PostgresSettings,
    query: &Query,
    (since, until): (Option<SystemTime>, Option<SystemTime>),
    last: Option<&Place>,
    rows: usize,
) -> Result<Vec<tokio_postgres::Row>, ReadError> {
    let statement = format!(
        "SELECT event_time, chain, seq, uid, event, outcome, severity, sub, client, tool, array_to_string(patients, ' '), purpose, configuration_hash, prev_hash, hash, \
         CASE WHEN octet_length(payload) <= {PAYLOAD_BYTES_MAX} THEN payload ELSE ''::bytea END, key_id FROM {table} \
         WHERE ($1::timestamptz IS NULL OR event_time >= $1) AND ($2::timestamptz IS NULL OR event_time < $2) \
         AND ($3::text[] IS NULL OR event = ANY ($3)) AND ($4::text IS NULL OR sub = $4) AND ($5::text IS NULL OR tool = $5) \
         AND ($6::text IS NULL OR outcome = $6) AND ($7::text IS NULL OR patients @> ARRAY[$7::text]) \
         AND ($8::timestamptz IS NULL OR (event_time, chain, seq) < ($8, $9::text, $10::bigint)) \
         ORDER BY event_time DESC, chain DESC, seq DESC LIMIT $11::bigint",
        table = settings.table
    );
    let events = (!query.events.is_empty()).then(|| {
        let names = query.events.iter().map(|name| name.as_str().to_owned());
        names.collect::<Vec<_>>()
    });
    let outcome = query.outcome.map(|outcome| outcome.as_str());
    let patient = query.patient.map(|patient| patient.to_string());
    let time = last.map(|place| place.time);
    let chain = last.map(|place| place.chain.as_str());
    let seq = last.map(|place| place.seq);
    let rows = i64::try_from(rows).unwrap_or(i64::MAX);
    let parameters: [super::Parameter<'_>; 11] = [
        &since,
        &until,
        &events,
        &query.subject,
        &query.tool,
        &outcome,
        &patient,
        &time,
        &chain,
        &seq,
        &rows,
    ];
    let reading = client.query(&statement, &parameters);
    let read = tokio::time::timeout(BATCH_MAX, reading).await;
    Ok(read.map_err(|_| ReadError::Server(super::timed_out("reading")))??)
}

/// What a query has seen so far.
struct Reading<'a> {
    keys: &'a AuditKeys,
    query: &'a Query,
    is_sealed: bool,
    /// Of each chain the number and the `prev` of the row seen last, which is later in time.
    later: HashMap<String, (u64, [u8; 32])>,
    answer: TableAnswer,
}

impl Reading<'_> {
    /// Proves a row and keeps its record; its place in any case.
    fn take(&mut self, row: &tokio_postgres::Row) -> Result<Place, ReadError> {
        let stored = stored(row)?;
        let place = Place::of(&stored);
        match self.proved(&stored) {
            Ok(record) => {
                if self.linked(&record) {
                    self.answer.records.push(record);
                } else {
                    let what = "the row behind it does not hold its hash: one of them was changed";
                    self.answer.wrong(&place, what);
                }
            }
            Err(what) => self.answer.wrong(&place, &what),
        }
        Ok(place)
    }

    fn proved(&mut self, row: &Row<'_>) -> Result<Record, String> {
        let bytes = if row.key_id.is_some() {
            let seq = u64::try_from(row.seq).map_err(|_| "its number is negative".to_owned())?;
            open_payload(self.keys, row.chain, seq, row.uid, row.payload)
                .map_err(|error| error.to_string())?
        } else {
            self.answer.unsealed += u64::from(self.is_sealed);
            row.payload.to_vec()
        };
        let record = Record::parse(&bytes).map_err(|error| error.to_string())?;
        let told = Row::of(&record, row.payload, row.key_id);
        let is_same = told == *row;
        if !is_same || !self.query.matches(&record) {
            return Err("its columns are not those of its payload: it was changed".to_owned());
        }
        Ok(record)
    }

    /// Whether a record fits the one of its chain that was read before it, which is later.
    fn linked(&mut self, record: &Record) -> bool {
        let (seq, prev) = (record.seq(), *record.prev());
        let later = match self.later.get(record.chain()) {
            None if self.later.len() >= CHAINS_MAX => return true,
            None => None,
            Some(later) => Some(*later),
        };
        self.later.insert(record.chain().to_owned(), (seq, prev));
        match later {
            None => true,
            Some((number, prev)) if number == seq.saturating_add(1) => {
                self.answer.links += 1;
                prev == record.hash()
            }
            Some((number, _)) => {
                self.answer.gaps += 1;
                self.answer.gap.get_or_insert_with(|| {
                    format!("chain {} between {seq} and {number}", record.chain())
                });
                true
            }
        }
    }
}

fn stored(row: &tokio_postgres::Row) -> Result<Row<'_>, tokio_postgres::Error> {
    Ok(Row {
        time: row.try_get(0)?,
        chain: row.try_get(1)?,
        seq: row.try_get(2)?,
        uid: row.try_get::<_, Uuid>(3)?,
        event: row.try_get(4)?,
        outcome: row.try_get(5)?,
        severity: row.try_get(6)?,
        sub: row.try_get(7)?,
        client: row.try_get(8)?,
        tool: row.try_get(9)?,
        patients: Cow::Borrowed(row.try_get(10)?),
        purpose: row.try_get(11)?,
        configuration: row.try_get(12)?,
        prev: row.try_get(13)?,
        hash: row.try_get(14)?,
        payload: row.try_get(15)?,
        key_id: row.try_get(16)?,
    })
}

/// The first instant whose text is not before the beginning of a time (`2026-1`: October).
fn instant(beginning: &Option<String>) -> Result<Option<SystemTime>, ReadError> {
    const FORM: &str = "0000-00-00T00:00:00.000000";
    let Some(text) = beginning else {
        return Ok(None);
    };
    let bare = text.strip_suffix('Z').unwrap_or(text);
    let mut whole: String = bare.to_owned();
    whole.extend(FORM.chars().skip(bare.chars().count()));
    // No month and no day is 00: the first that there is comes next.
    let whole = whole
        .replacen("-00-", "-01-", 1)
        .replacen("-00T", "-01T", 1);
    let parsed = OffsetDateTime::parse(&format!("{whole}Z"), &Rfc3339);
    let parsed = parsed.map_err(|_| ReadError::Time(text.clone()))?;
    Ok(Some(SystemTime::from(parsed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_time_is_its_first_instant() {
        let at = |text: &str| instant(&Some(text.to_owned())).unwrap().unwrap();
        for (beginning, whole) in [
            ("2026", "2026-01-01T00:00:00.000000"),
            ("2026-1", "2026-10-01T00:00:00.000000"),
            ("2026-11-0", "2026-11-01T00:00:00.000000"),
            ("2026-11-22T2", "2026-11-22T20:00:00.000000"),
            ("2026-11-22T22:22:22.5", "2026-11-22T22:22:22.500000"),
        ] {
            assert_eq!(at(beginning), at(whole), "{beginning}");
        }
        assert!(at("2026-01") < at("2026-02"));
        assert!(instant(&Some("2026-13".to_owned())).is_err());
        assert_eq!(instant(&None).unwrap(), None);
    }
}
