//! `audit`: the log verified and asked where it lies, and the SQL of its table.
//!
//! Only reads, and needs no running sidecar.

mod bucket;
mod disclosures;
mod export;
mod found;
mod offline;
mod table;

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand, ValueEnum};
use safeguard_audit::query::{self, LIMIT_DEFAULT, Query};
use safeguard_audit::sink::postgres::TableName;
use safeguard_audit::sink::postgres::schema::schema;
use safeguard_audit::verify::{self, Anchors, Report};
use safeguard_audit::{AuditKey, AuditKeys, EventFormat, EventName, Outcome, Pseudonym, Record};
use safeguard_policy::Output;

use self::found::Found;
use super::config::{Mode, load, trail_keys};
use super::key_file::{KeyFileArgs, KeyFormat};
use super::{CliError, Exit, Terminal};
use crate::control::{self, ClientError, Request};
use crate::run;

/// The table where the configuration names none.
const TABLE_DEFAULT: &str = "audit_logs";

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Is the log whole? Exit 1 if anything up to its durable head is missing or changed
    Verify(VerifyArgs),
    /// Show events of the spool, of PostgreSQL or of S3, each verified before it is believed
    Query(Box<QueryArgs>),
    /// List what of a patient went to whom in six years (45 CFR 164.528), verified as a query's answer is
    Disclosures(Box<disclosures::DisclosuresArgs>),
    /// Write events, their proofs and a signed list of it all to a directory, to be handed over
    Export(Box<export::ExportArgs>),
    /// Is an export as it was made, by the holder of the public key? exit 1 if not
    VerifyExport(export::VerifyExportArgs),
    /// Print the public keys that checkpoints and proofs are verified with
    PublicKey(offline::PublicKeyArgs),
    /// Print the proof that one event is in the log
    Prove(offline::ProveArgs),
    /// Is the event of a proof in the log that the public key belongs to? Prints the event; exit 1 if not
    VerifyProof(offline::VerifyProofArgs),
    /// Print the SQL for the owner of the table in PostgreSQL
    Schema(SchemaArgs),
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    log: LogArgs,
    /// postgresql, s3: verify what the table or the bucket holds, in place of the spool
    #[arg(long, value_enum, conflicts_with_all = ["public_keys", "anchors", "anchors_from", "requests"])]
    from: Option<Kept>,
    /// A public key (`audit public-key`): judge a copy without the key `keys.audit`; repeatable
    #[arg(long = "public-key", value_name = "KEY", conflicts_with_all = ["config", "key_file"])]
    public_keys: Vec<String>,
    /// With --public-key: an export with a record a line in place of a spool's directory; - is standard input
    #[arg(
        long,
        value_name = "FILE",
        requires = "public_keys",
        conflicts_with = "spool"
    )]
    records: Option<PathBuf>,
    /// Checkpoints that were kept elsewhere (notes, or records a line): the log must be what they were made from; repeatable
    #[arg(long = "anchor", value_name = "FILE")]
    anchors: Vec<PathBuf>,
    /// The same with the newest checkpoints that PostgreSQL or S3 has
    #[arg(long, value_enum, conflicts_with = "public_keys")]
    anchors_from: Option<Sink>,
    #[command(flatten)]
    reader: ReaderArgs,
    /// Trace ids, one a line, of requests that another log has: each must have an event
    #[arg(long, value_name = "FILE")]
    requests: Option<PathBuf>,
}

/// How long events are kept where no configuration says it, in days: its default.
const KEPT_DAYS: u32 = 2555;
/// The newest checkpoints that are read back as anchors.
const ANCHORS_MAX: usize = 4096;

/// The checkpoints that a sink is asked for.
fn checkpoints() -> Query {
    Query {
        events: vec![EventName::AuditCheckpoint, EventName::AuditStopped],
        limit: Some(ANCHORS_MAX),
        ..Query::default()
    }
}

/// Where checkpoints can be read back from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sink {
    Postgresql,
    S3,
}

/// Which log, and with which keys.
#[derive(Debug, Args)]
struct LogArgs {
    /// The configuration that names the spool and its keys
    #[arg(long = "config", value_name = "PATH", num_args = 1.., action = ArgAction::Append)]
    config: Vec<PathBuf>,
    /// A spool's directory, in place of the configuration's
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// The directory of its head; without it the spool's sibling
    #[arg(long, value_name = "DIR", requires = "spool")]
    state: Option<PathBuf>,
    /// The file of the audit key, where there is no configuration
    #[arg(
        long,
        value_name = "FILE",
        requires = "key_id",
        conflicts_with = "config"
    )]
    key_file: Option<PathBuf>,
    /// How the key is written there
    #[arg(long, value_enum, default_value_t = KeyFormat::Base64, requires = "key_file")]
    key_format: KeyFormat,
    /// The key's id in the configuration
    #[arg(long, value_name = "ID", requires = "key_file")]
    key_id: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// The last so many
    #[arg(long, value_name = "N", default_value_t = LIMIT_DEFAULT)]
    limit: usize,
    /// How events are written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Which log is asked, and where.
#[derive(Debug, Args)]
struct SourceArgs {
    #[command(flatten)]
    log: LogArgs,
    /// Where to read; without it the spool if it is on this machine, else PostgreSQL, else S3
    #[arg(long, value_enum)]
    from: Option<From>,
    #[command(flatten)]
    reader: ReaderArgs,
}

impl SourceArgs {
    /// Opens the log and asks it, where it is asked for, else where it is nearest.
    fn open(&self, terminal: &mut Terminal<'_>) -> Result<(Log, From), CliError> {
        let log = self.log.open(terminal)?;
        let from = self.from.unwrap_or_else(|| self.log.nearest(&log));
        Ok((log, from))
    }
}

/// Which events.
#[derive(Debug, Args)]
struct FilterArgs {
    /// Not before this time: RFC 3339 in UTC, or the beginning of one (2026-11)
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<String>,
    /// An event; several: any of them
    #[arg(long = "event", value_name = "NAME", value_parser = event)]
    events: Vec<EventName>,
    /// The subject
    #[arg(long, value_name = "S")]
    subject: Option<String>,
    /// The patient, by the identifier in the records
    #[arg(long, value_name = "ID", conflicts_with = "pseudonym")]
    patient: Option<String>,
    /// The patient, by the pseudonym in the log
    #[arg(long, value_name = "HEX", value_parser = pseudonym)]
    pseudonym: Option<Pseudonym>,
    /// The tool
    #[arg(long, value_name = "T")]
    tool: Option<String>,
    /// How it ended: success, denied or failure
    #[arg(long, value_name = "WORD", value_parser = outcome)]
    outcome: Option<Outcome>,
}

/// Who reads PostgreSQL.
#[derive(Debug, Args)]
struct ReaderArgs {
    /// PostgreSQL: a role that is a member of audit_reader; without it PGUSER or the configuration's
    #[arg(long, value_name = "ROLE")]
    pg_user: Option<String>,
    /// PostgreSQL: the file of its password; without it PGPASSWORD or the configuration's
    #[arg(long, value_name = "FILE")]
    pg_password_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    Spool,
    Postgresql,
    S3,
}

/// What can be verified whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kept {
    Spool,
    Postgresql,
    S3,
}

#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    /// The configuration whose table is meant
    #[arg(long = "config", value_name = "PATH", num_args = 1.., action = ArgAction::Append)]
    config: Vec<PathBuf>,
    /// The table, perhaps with its schema; without either `audit_logs`
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    table: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    /// The records as the spool has them, one a line
    Jsonl,
    Csv,
    /// OCSF 1.8, one a line
    Ocsf,
    /// OCSF 1.9 with record_integrity, one a line
    #[value(name = "ocsf-1.9")]
    Ocsf19,
    /// FHIR R4 AuditEvent (IHE BALP), one a line: NDJSON
    Fhir,
    /// DICOM audit messages (IHE ATNA), one a line
    Dicom,
    Cef,
}

impl Format {
    fn of_answer(self) -> query::Format {
        match self {
            Self::Table => query::Format::Table,
            Self::Jsonl => query::Format::Lines(EventFormat::Native),
            Self::Csv => query::Format::Csv,
            Self::Ocsf => query::Format::Lines(EventFormat::Ocsf18),
            Self::Ocsf19 => query::Format::Lines(EventFormat::Ocsf19),
            Self::Fhir => query::Format::Lines(EventFormat::Fhir),
            Self::Dicom => query::Format::Lines(EventFormat::Dicom),
            Self::Cef => query::Format::Lines(EventFormat::Cef),
        }
    }
}

fn event(word: &str) -> Result<EventName, String> {
    EventName::parse(word).ok_or_else(|| "no event has this name".to_owned())
}

/// The beginning of a time as the log writes it; times of the log and of the query are compared as texts.
fn time(word: &str) -> Result<String, String> {
    const FORM: &str = "0000-00-00T00:00:00.000000";
    let bare = word.strip_suffix('Z').unwrap_or(word);
    let fits = |(form, letter): (char, char)| match form {
        '0' => letter.is_ascii_digit(),
        mark => letter == mark,
    };
    let is_time =
        (4..=FORM.len()).contains(&bare.len()) && FORM.chars().zip(bare.chars()).all(fits);
    let words =
        "write a time in UTC or the beginning of one: 2026, 2026-11-22, 2026-11-22T22:30:00Z";
    is_time
        .then(|| bare.to_owned())
        .ok_or_else(|| words.to_owned())
}

fn pseudonym(word: &str) -> Result<Pseudonym, String> {
    Pseudonym::parse(word)
        .ok_or_else(|| "a pseudonym has 32 lower-case hexadecimal digits".to_owned())
}

fn outcome(word: &str) -> Result<Outcome, String> {
    Outcome::parse(word).ok_or_else(|| "write success, denied or failure".to_owned())
}

pub(super) fn audit(command: &AuditCommand, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    match command {
        AuditCommand::Verify(arguments) => verify(arguments, terminal),
        AuditCommand::Query(arguments) => query(arguments, terminal),
        AuditCommand::Disclosures(arguments) => disclosures::disclosures(arguments, terminal),
        AuditCommand::Export(arguments) => export::export(arguments, terminal),
        AuditCommand::VerifyExport(arguments) => export::verify(arguments, terminal),
        AuditCommand::PublicKey(arguments) => offline::public_key(arguments, terminal),
        AuditCommand::Prove(arguments) => offline::prove(arguments, terminal),
        AuditCommand::VerifyProof(arguments) => offline::verify_proof(arguments, terminal),
        AuditCommand::Schema(arguments) => sql(arguments, terminal),
    }
}

/// A log and what it takes to read it.
struct Log {
    directory: PathBuf,
    state: PathBuf,
    keys: AuditKeys,
    outputs: Vec<Output>,
    /// Whether the outputs get every event.
    is_every_event: bool,
}

impl LogArgs {
    fn open(&self, terminal: &mut Terminal<'_>) -> Result<Log, CliError> {
        let of_spool = |directory: &PathBuf| {
            let state = self.state.clone().unwrap_or_else(|| sibling(directory));
            (directory.clone(), state)
        };
        if let (Some(key_file), Some(id), Some(spool)) = (&self.key_file, &self.key_id, &self.spool)
        {
            let key = KeyFileArgs {
                key_file: key_file.clone(),
                key_format: self.key_format,
            }
            .material()?;
            let keys = AuditKeys::new(vec![AuditKey::new(id, i64::MIN, *key.expose())]);
            let keys = keys.map_err(|error| CliError::Usage(error.to_string()))?;
            let (directory, state) = of_spool(spool);
            return Ok(Log {
                directory,
                state,
                keys,
                outputs: Vec::new(),
                is_every_event: false,
            });
        }
        if self.config.is_empty() {
            return Err(CliError::Usage(
                "name the log: --config, or --spool with --key-file and --key-id".to_owned(),
            ));
        }
        let mut configuration = load(&self.config, Mode::Use)?
            .ready(terminal)?
            .configuration;
        trail_keys(&mut configuration)?;
        let keys = run::audit_keys(&configuration)
            .map_err(|error| CliError::Configuration(error.to_string()))?;
        let (directory, state) = match &self.spool {
            Some(spool) => of_spool(spool),
            None => (
                configuration.audit.spool.directory,
                configuration.state.directory,
            ),
        };
        Ok(Log {
            directory,
            state,
            keys,
            is_every_event: bucket::is_every_event(&configuration.audit.events),
            outputs: configuration.audit.outputs,
        })
    }
}

impl Log {
    /// The output to ask where there is no spool: a table before a bucket, for it has indexes.
    fn elsewhere(&self) -> Option<From> {
        let has = |wanted: fn(&Output) -> bool| self.outputs.iter().any(wanted);
        if has(|output| matches!(output, Output::Postgresql(_))) {
            Some(From::Postgresql)
        } else {
            has(|output| matches!(output, Output::S3(_))).then_some(From::S3)
        }
    }
}

impl LogArgs {
    /// The spool if it is named or on this machine, or if there is nothing else.
    fn nearest(&self, log: &Log) -> From {
        if self.spool.is_some() || log.directory.is_dir() {
            return From::Spool;
        }
        log.elsewhere().unwrap_or(From::Spool)
    }
}

/// Where the configuration puts the state of a spool: its sibling with `-state` behind the name.
fn sibling(spool: &std::path::Path) -> PathBuf {
    let mut name = spool.file_name().unwrap_or_default().to_owned();
    name.push("-state");
    spool.with_file_name(name)
}

fn unreadable(log: &Log, error: &std::io::Error) -> CliError {
    CliError::Unavailable(format!(
        "{}: the audit log can't be read: {error}",
        log.directory.display()
    ))
}

/// A number and its noun.
fn counted(number: impl Into<u64>, noun: &str) -> String {
    let number = number.into();
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

fn verify(arguments: &VerifyArgs, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    let mut requests = offline::Requests::read(arguments.requests.as_deref())?;
    let mut anchors = offline::anchors(&arguments.anchors)?;
    let report = if arguments.public_keys.is_empty() {
        let log = arguments.log.open(terminal)?;
        match arguments.from {
            Some(Kept::S3) => return bucket::verify(&log, terminal),
            Some(Kept::Postgresql) => return table::verify(&log, &arguments.reader, terminal),
            Some(Kept::Spool) | None => {}
        }
        match arguments.anchors_from {
            Some(Sink::Postgresql) => anchors.extend(table::anchors(&log, &arguments.reader)?),
            Some(Sink::S3) => anchors.extend(bucket::anchors(&log)?),
            None => {}
        }
        verify::anchored(&log.directory, &log.state, &log.keys, &anchors, |record| {
            requests.see(record)
        })
        .map_err(|error| unreadable(&log, &error))?
    } else {
        offline::verify(arguments, &anchors, &mut requests, terminal)?
    };
    judge(&report)?;
    tell(&report, &anchors, terminal)?;
    requests.judge()?;
    Ok(Exit::Well)
}

fn tell(report: &Report, anchors: &Anchors, terminal: &mut Terminal<'_>) -> Result<(), CliError> {
    writeln!(
        terminal.out,
        "whole: {}, {} bytes in {}, {}",
        counted(report.records, "record"),
        report.bytes,
        counted(report.segments, "segment"),
        counted(report.chains, "run")
    )?;
    if let Some(last) = &report.last {
        writeln!(terminal.out, "last: {last}")?;
    }
    if let Some(last) = &report.checkpoint {
        let checkpoints = counted(report.checkpoints, "checkpoint");
        writeln!(terminal.out, "signed: {checkpoints}, the last is {last}")?;
    }
    if anchors.count() > 0 {
        writeln!(
            terminal.out,
            "anchors: {} of {} held",
            report.anchors,
            anchors.count()
        )?;
    }
    for notice in &report.notices {
        writeln!(terminal.out, "notice: {notice}")?;
    }
    Ok(())
}

fn judge(report: &Report) -> Result<(), CliError> {
    match &report.problem {
        None => Ok(()),
        Some(problem) => Err(CliError::Finding(format!(
            "the audit log is not whole: {problem} ({} records before it are). Keep both directories as evidence",
            report.records
        ))),
    }
}

fn query(arguments: &QueryArgs, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    let (log, from) = arguments.source.open(terminal)?;
    let asked = arguments.filter.query(&log.keys, arguments.limit);
    let found = Found::ask(from, &log, &arguments.source.reader, &asked)?;
    show(arguments, &log, found.records(), &found.place, terminal)?;
    found.judge(&asked, terminal)?;
    Ok(Exit::Well)
}

/// Writes the records, and to standard error where they are from and what is not said by them.
fn show(
    arguments: &QueryArgs,
    log: &Log,
    records: &[Record],
    place: &str,
    terminal: &mut Terminal<'_>,
) -> Result<(), CliError> {
    let is_recorded = recorded(
        &arguments.filter.words(&log.keys, arguments.limit),
        log,
        records.len(),
        place,
    )?;
    query::render(records, arguments.format.of_answer(), &mut terminal.out)?;
    terminal.out.flush()?;
    writeln!(terminal.err, "notice: read from {place}")?;
    tell_of_access(is_recorded, terminal)?;
    if records.len() == arguments.limit {
        writeln!(
            terminal.err,
            "notice: these are the last {}; there may be more (--limit)",
            arguments.limit
        )?;
    }
    Ok(())
}

fn tell_of_access(is_recorded: bool, terminal: &mut Terminal<'_>) -> Result<(), CliError> {
    let words = if is_recorded {
        "notice: this access was recorded in the audit log (audit_log_accessed)"
    } else {
        "notice: this access was not recorded in the audit log: no sidecar runs here"
    };
    writeln!(terminal.err, "{words}")?;
    Ok(())
}

/// Whether the sidecar of this log has recorded the access durably. One that runs and can't is an error: nothing is shown then.
fn recorded(words: &str, log: &Log, records: usize, place: &str) -> Result<bool, CliError> {
    let request = Request::Access {
        query: format!("{place}: {words}"),
        records: u64::try_from(records).unwrap_or(u64::MAX),
    };
    match control::ask(&control::socket_in(&log.state), &request) {
        Ok(()) => Ok(true),
        Err(ClientError::Nobody(_)) => Ok(false),
        Err(error) => Err(CliError::Unavailable(format!(
            "{error}; nothing is shown without a record of it"
        ))),
    }
}

impl FilterArgs {
    /// What is asked for, as the access record has it: the patient by pseudonym only.
    fn words(&self, keys: &AuditKeys, limit: usize) -> String {
        let query = self.query(keys, limit);
        let events = query.events.iter().map(|event| event.as_str().to_owned());
        let events: Vec<String> = events.collect();
        let parts = [
            ("since", query.since),
            ("until", query.until),
            ("event", (!events.is_empty()).then(|| events.join(","))),
            ("subject", query.subject),
            (
                "pseudonym",
                query.patient.map(|patient| patient.to_string()),
            ),
            ("tool", query.tool),
            (
                "outcome",
                query.outcome.map(|word| word.as_str().to_owned()),
            ),
            ("limit", Some(limit.to_string())),
        ];
        let said = parts
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", value?)));
        said.collect::<Vec<_>>().join(" ")
    }

    fn query(&self, keys: &AuditKeys, limit: usize) -> Query {
        Query {
            since: self.since.clone(),
            until: self.until.clone(),
            events: self.events.clone(),
            subject: self.subject.clone(),
            patient: self.pseudonym.or_else(|| {
                self.patient
                    .as_deref()
                    .map(|patient| keys.pseudonym(patient))
            }),
            tool: self.tool.clone(),
            outcome: self.outcome,
            limit: Some(limit),
        }
    }
}

fn sql(arguments: &SchemaArgs, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    let mut tables: Vec<String> = arguments.table.iter().cloned().collect();
    let mut kept_days = KEPT_DAYS;
    if !arguments.config.is_empty() {
        let configuration = load(&arguments.config, Mode::Check)?
            .ready(terminal)?
            .configuration;
        kept_days = configuration.audit.retention_days;
        tables.extend(
            configuration
                .audit
                .outputs
                .into_iter()
                .filter_map(|output| match output {
                    Output::Postgresql(output) => Some(output.table),
                    Output::Siem(_) | Output::S3(_) => None,
                }),
        );
        if tables.is_empty() {
            return Err(CliError::Usage(
                "audit_logging.output of the configuration has no postgresql".to_owned(),
            ));
        }
    }
    if tables.is_empty() {
        tables.push(TABLE_DEFAULT.to_owned());
    }
    for table in tables {
        let name = TableName::parse(&table).map_err(|error| CliError::Usage(error.to_string()))?;
        terminal
            .out
            .write_all(schema(&name, kept_days).as_bytes())?;
    }
    Ok(Exit::Well)
}

#[cfg(test)]
mod tests;
