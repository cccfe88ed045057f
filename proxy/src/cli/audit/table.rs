//! `audit query` and `audit verify` over the table in PostgreSQL.

use std::path::Path;

use safeguard_audit::query::Query;
use safeguard_audit::sink::postgres::PostgresSettings;
use safeguard_audit::sink::postgres::read::{self, ReadError, TableAnswer};
use safeguard_audit::verify::Anchors;
use safeguard_certs::Suite;
use safeguard_policy::{Output, Postgresql};
use zeroize::Zeroizing;

use super::{Log, ReaderArgs, checkpoints, counted};
use crate::cli::config::runtime;
use crate::cli::{CliError, Exit, Terminal};
use crate::delivery;

/// The largest file of a password, in bytes.
const PASSWORD_BYTES_MAX: u64 = 4096;

/// Asks the table that the configuration names, as a role that may only read.
pub(super) fn ask(
    log: &Log,
    reader: &ReaderArgs,
    query: &Query,
) -> Result<(TableAnswer, String), CliError> {
    let (settings, place) = settings(log, reader)?;
    let answer = runtime()?.block_on(read::query(&settings, &log.keys, query));
    Ok((answer.map_err(refused)?, place))
}

/// Where the table is and who reads it, and its place in words.
fn settings(log: &Log, reader: &ReaderArgs) -> Result<(PostgresSettings, String), CliError> {
    let output = output(log)?;
    let mut settings = delivery::postgres(output).map_err(CliError::Configuration)?;
    reader.become_in(&mut settings)?;
    let place = format!(
        "{} in the database {} on {}",
        settings.table, settings.database, settings.host
    );
    safeguard_certs::install_provider(&Suite::ALL)
        .map_err(|error| CliError::Internal(error.to_string()))?;
    Ok((settings, place))
}

/// Reads the whole table.
pub(super) fn verify(
    log: &Log,
    reader: &ReaderArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, CliError> {
    let (settings, place) = settings(log, reader)?;
    let reading = read::verify(&settings, &log.keys, log.is_every_event);
    let report = runtime()?.block_on(reading).map_err(refused)?;
    if report.problems > 0 {
        return Err(CliError::Finding(format!(
            "the audit table is not as the sidecar left it: {}: {}. Keep the table and the spool as evidence",
            counted(report.problems, "problem"),
            report.problem_words.join("; ")
        )));
    }
    writeln!(
        terminal.out,
        "whole: {} in {place}, {}",
        counted(report.events, "event"),
        counted(u64::try_from(report.chains).unwrap_or(u64::MAX), "run")
    )?;
    for words in &report.notices {
        writeln!(terminal.err, "notice: {words}")?;
    }
    unsealed(report.unsealed, terminal)
}

/// The newest checkpoints that the table has.
pub(super) fn anchors(log: &Log, reader: &ReaderArgs) -> Result<Anchors, CliError> {
    let (answer, _) = ask(log, reader, &checkpoints())?;
    judge(&answer)?;
    Ok(Anchors::of(&answer.records))
}

fn output(log: &Log) -> Result<&Postgresql, CliError> {
    log.outputs
        .iter()
        .find_map(|output| match output {
            Output::Postgresql(output) => Some(output),
            Output::Siem(_) | Output::S3(_) => None,
        })
        .ok_or_else(|| {
            CliError::Usage(
                "audit_logging.output of the configuration has no postgresql: give --config with one, or --from spool"
                    .to_owned(),
            )
        })
}

fn refused(error: ReadError) -> CliError {
    match error {
        ReadError::Settings(_) => CliError::Configuration(error.to_string()),
        ReadError::Time(_) => CliError::Usage(error.to_string()),
        ReadError::MayWrite(_) | ReadError::MayNotRead(_) => CliError::Usage(format!(
            "{error}; name it with PGUSER or --pg-user (docs/operations.md)"
        )),
        ReadError::Server(_) => CliError::Unavailable(error.to_string()),
    }
}

impl ReaderArgs {
    /// The role that reads in place of the one that writes.
    fn become_in(&self, settings: &mut PostgresSettings) -> Result<(), CliError> {
        if let Some(user) = &self.pg_user {
            settings.user.clone_from(user);
            // The writer's secrets are not the reader's.
            settings.password = std::env::var("PGPASSWORD").ok().map(Zeroizing::new);
        }
        if let Some(path) = &self.pg_password_file {
            settings.password = Some(password(path)?);
        }
        Ok(())
    }
}

fn password(path: &Path) -> Result<Zeroizing<String>, CliError> {
    let words =
        |why: String| CliError::Usage(format!("--pg-password-file {}: {why}", path.display()));
    let length = std::fs::metadata(path).map_err(|error| words(error.to_string()))?;
    if length.len() > PASSWORD_BYTES_MAX {
        return Err(words(format!("larger than {PASSWORD_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|error| words(error.to_string()))?;
    Ok(Zeroizing::new(
        text.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}

/// Says what reading proved, and what it could not.
pub(super) fn notices(
    answer: &TableAnswer,
    asked: &Query,
    terminal: &mut Terminal<'_>,
) -> Result<(), CliError> {
    // A filter leaves gaps of its own, which say nothing.
    if let Some(gap) = answer.gap.as_ref().filter(|_| is_whole(asked)) {
        writeln!(
            terminal.err,
            "notice: {} between rows of a chain ({gap}, and earlier): not selected by audit_logging.events, not delivered yet, or removed; `safeguard audit verify` of the spool tells. {} were checked",
            counted(answer.gaps, "gap"),
            counted(answer.links, "link")
        )?;
    }
    unsealed(answer.unsealed, terminal).map(drop)
}

fn unsealed(rows: u64, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    if rows > 0 {
        writeln!(
            terminal.err,
            "notice: {} not sealed, though audit_logging.output.encrypted is true: older than that, or not the sidecar's",
            counted(rows, "row")
        )?;
    }
    Ok(Exit::Well)
}

/// Whether every event of a time is asked for.
fn is_whole(asked: &Query) -> bool {
    let every = Query {
        since: asked.since.clone(),
        until: asked.until.clone(),
        limit: asked.limit,
        ..Query::default()
    };
    *asked == every
}

/// A finding if any row was not what it says.
pub(super) fn judge(answer: &TableAnswer) -> Result<(), CliError> {
    match &answer.problem {
        None => Ok(()),
        Some(problem) => Err(CliError::Finding(format!(
            "the audit table was changed: {} did not verify and are not shown; the newest: {problem}. Keep the table and the spool as evidence",
            counted(answer.problems, "row")
        ))),
    }
}
