//! `audit query` and `audit verify` over the objects in S3.

use safeguard_audit::query::Query;
use safeguard_audit::sink::s3::read::{self, BucketAnswer, BucketReport, Range, ReadError};
use safeguard_audit::verify::Anchors;
use safeguard_policy::{Output, S3, SELECTABLE_EVENTS};

use super::{Log, checkpoints, counted};
use crate::aws::s3::S3Store;
use crate::cli::config::runtime;
use crate::cli::{CliError, Exit, Terminal};
use crate::delivery;

/// Whether `audit_logging.events` leaves none out.
pub(super) fn is_every_event(events: &[String]) -> bool {
    let mut selectable = SELECTABLE_EVENTS.iter();
    selectable.all(|name| events.iter().any(|event| event == name))
}

/// Asks the bucket that the configuration names; it needs credentials that may list and get.
pub(super) fn ask(log: &Log, query: &Query) -> Result<(BucketAnswer, String), CliError> {
    let output = output(log)?;
    let store = S3Store::new(output).map_err(CliError::Configuration)?;
    let settings = delivery::s3(output);
    let asking = read::query(&store, &settings, &log.keys, query);
    let answer = runtime()?.block_on(asking).map_err(refused)?;
    Ok((answer, place(output)))
}

/// Reads the whole bucket.
pub(super) fn verify(log: &Log, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    let output = output(log)?;
    let store = S3Store::new(output).map_err(CliError::Configuration)?;
    let range = Range {
        is_every_event: log.is_every_event,
        ..Range::default()
    };
    let settings = delivery::s3(output);
    let reading = read::walk(&store, &settings, &log.keys, &range, drop);
    let report = runtime()?.block_on(reading).map_err(refused)?;
    judge(&report)?;
    writeln!(
        terminal.out,
        "whole: {} in {} of {}, {}",
        counted(report.events, "event"),
        counted(report.objects, "object"),
        place(output),
        counted(u64::try_from(report.chains).unwrap_or(u64::MAX), "run")
    )?;
    notices(&report, terminal)?;
    Ok(Exit::Well)
}

/// The newest checkpoints that the bucket has.
pub(super) fn anchors(log: &Log) -> Result<Anchors, CliError> {
    let (answer, _) = ask(log, &checkpoints())?;
    judge(&answer.report)?;
    Ok(Anchors::of(&answer.records))
}

fn output(log: &Log) -> Result<&S3, CliError> {
    let mut outputs = log.outputs.iter();
    let found = outputs.find_map(|output| match output {
        Output::S3(output) => Some(output),
        Output::Postgresql(_) | Output::Siem(_) => None,
    });
    found.ok_or_else(|| {
        CliError::Usage(
            "audit_logging.output of the configuration has no s3: give --config with one, or --from spool"
                .to_owned(),
        )
    })
}

fn place(output: &S3) -> String {
    format!("the bucket {}", output.bucket)
}

fn refused(error: ReadError) -> CliError {
    CliError::Unavailable(format!(
        "{error}; reading needs s3:ListBucketVersions, s3:GetObject and s3:GetObjectVersion (docs/operations.md)"
    ))
}

/// Says what reading could not prove.
pub(super) fn notices(report: &BucketReport, terminal: &mut Terminal<'_>) -> Result<(), CliError> {
    for words in &report.notices {
        writeln!(terminal.err, "notice: {words}")?;
    }
    Ok(())
}

/// A finding if anything there is not as it was put.
pub(super) fn judge(report: &BucketReport) -> Result<(), CliError> {
    if report.problems == 0 {
        return Ok(());
    }
    Err(CliError::Finding(format!(
        "the bucket is not as the sidecar left it: {}: {}. Keep it and the spool as evidence",
        counted(report.problems, "problem"),
        report.problem_words.join("; ")
    )))
}
