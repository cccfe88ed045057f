//! `audit export`: events to be handed over, and the judgement of whoever is handed them.

use std::path::PathBuf;

use clap::Args;
use safeguard_audit::export::{self, About, ExportError, PROOFS_MAX};
use safeguard_audit::query::LIMIT_DEFAULT;
use safeguard_audit::{EventFormat, InclusionProof, Record, prove};

use super::found::Found;
use super::{FilterArgs, From, Log, SourceArgs, counted, offline, recorded, unreadable};
use crate::cli::{CliError, Exit, Terminal};
use crate::clock::now_unix;

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// The last so many
    #[arg(long, value_name = "N", default_value_t = LIMIT_DEFAULT)]
    limit: usize,
    /// A further file with the same events in this format: ocsf, ocsf-1.9, fhir, dicom or cef
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<EventFormat>,
    /// The directory, which must not be there yet
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyExportArgs {
    /// The directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// A public key (`audit public-key`); repeatable
    #[arg(long = "public-key", value_name = "KEY", required = true)]
    public_keys: Vec<String>,
}

fn format(word: &str) -> Result<EventFormat, String> {
    EventFormat::parse(word)
        .filter(|format| *format != EventFormat::Native)
        .ok_or_else(|| "write ocsf, ocsf-1.9, fhir, dicom or cef".to_owned())
}

pub(super) fn export(
    arguments: &ExportArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, CliError> {
    let (log, from) = arguments.source.open(terminal)?;
    let asked = arguments.filter.query(&log.keys, arguments.limit);
    let found = Found::ask(from, &log, &arguments.source.reader, &asked)?;
    // Nothing is handed over of what is not as the sidecar left it.
    found.judge(&asked, terminal)?;
    let records = found.records();
    let proofs = match from {
        From::Spool if records.len() <= PROOFS_MAX => proofs(&log, records)?,
        _ => Vec::new(),
    };
    let words = format!(
        "export {}",
        arguments.filter.words(&log.keys, arguments.limit)
    );
    let is_recorded = recorded(&words, &log, records.len(), &found.place)?;
    let about = About {
        place: &found.place,
        query: &words,
        now_unix: now_unix(),
        format: arguments.format,
    };
    export::write(&arguments.out, records, &proofs, &about, &log.keys).map_err(|error| {
        let words = format!("{}: {error}", arguments.out.display());
        match error {
            ExportError::Io(_) => CliError::Usage(words),
            ExportError::Key(_) => CliError::Configuration(words),
        }
    })?;
    writeln!(
        terminal.out,
        "{} in {}, {} of them proved to be in the log",
        counted(records.len() as u64, "event"),
        arguments.out.display(),
        proofs.len()
    )?;
    if proofs.is_empty() && !records.is_empty() {
        writeln!(
            terminal.err,
            "notice: no event is proved: proofs are made from the spool, of at most {PROOFS_MAX} events"
        )?;
    }
    if records.len() == arguments.limit {
        writeln!(
            terminal.err,
            "notice: these are the last {}; there may be more (--limit)",
            arguments.limit
        )?;
    }
    super::tell_of_access(is_recorded, terminal)?;
    Ok(Exit::Well)
}

/// The proofs of those that a checkpoint covers.
fn proofs(log: &Log, records: &[Record]) -> Result<Vec<InclusionProof>, CliError> {
    let mut proofs = Vec::with_capacity(records.len());
    for record in records {
        let made = prove(&log.directory, &log.state, &log.keys, record.uid());
        proofs.extend(made.map_err(|error| unreadable(log, &error))?.ok());
    }
    Ok(proofs)
}

pub(super) fn verify(
    arguments: &VerifyExportArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, CliError> {
    let keys = offline::public_keys(&arguments.public_keys)?;
    let exported = export::verify(&arguments.directory, &keys).map_err(|fault| {
        CliError::Finding(format!("{}: {fault}", arguments.directory.display()))
    })?;
    for line in &exported.about {
        writeln!(terminal.out, "{line}")?;
    }
    writeln!(
        terminal.out,
        "as it was made: {}, {} of them proved to be in the log",
        counted(exported.events as u64, "event"),
        exported.proved
    )?;
    Ok(Exit::Well)
}
