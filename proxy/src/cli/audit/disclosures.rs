//! `audit disclosures`: the accounting that a patient may ask for (45 CFR 164.528).

use clap::Args;
use safeguard_audit::query::{self, Query, is_accounted, is_disclosure};
use safeguard_audit::{EventName, Outcome, Pseudonym, Record};

use super::found::Found;
use super::{Format, SourceArgs, pseudonym, recorded, time};
use crate::cli::{CliError, Exit, Terminal};
use crate::clock::now_unix;

/// How far an accounting goes back (164.528(a)(1)): six years, leap days included.
const SECONDS: i64 = 2192 * 86_400;
/// Exports of one patient that one accounting holds; what would be more is refused, not cut.
const EXPORTS_MAX: usize = 100_000;

#[derive(Debug, Args)]
pub(in crate::cli) struct DisclosuresArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// The patient, by the identifier in the records
    #[arg(
        long,
        value_name = "ID",
        conflicts_with = "pseudonym",
        required_unless_present = "pseudonym"
    )]
    patient: Option<String>,
    /// The patient, by the pseudonym in the log
    #[arg(long, value_name = "HEX", value_parser = pseudonym)]
    pseudonym: Option<Pseudonym>,
    /// Not before this time; without it six years ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<String>,
    /// Those for treatment, payment and operations and to the person too, which need no accounting
    #[arg(long)]
    all: bool,
    /// How they are written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(super) fn disclosures(
    arguments: &DisclosuresArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, CliError> {
    let (log, from) = arguments.source.open(terminal)?;
    let patient = arguments.pseudonym.or_else(|| {
        arguments
            .patient
            .as_deref()
            .map(|id| log.keys.pseudonym(id))
    });
    let asked = Query {
        since: Some(
            arguments
                .since
                .clone()
                .unwrap_or_else(|| query::time_of(now_unix() - SECONDS)),
        ),
        until: arguments.until.clone(),
        events: vec![EventName::PhiExport],
        outcome: Some(Outcome::Success),
        patient,
        limit: Some(EXPORTS_MAX),
        ..Query::default()
    };
    let found = Found::ask(from, &log, &arguments.source.reader, &asked)?;
    if found.records().len() == EXPORTS_MAX {
        return Err(CliError::Usage(format!(
            "{EXPORTS_MAX} exports or more: ask for less time with --since and --until"
        )));
    }
    let is_listed = if arguments.all {
        is_disclosure
    } else {
        is_accounted
    };
    let listed: Vec<Record> = found
        .records()
        .iter()
        .filter(|record| is_listed(record))
        .cloned()
        .collect();
    let words = format!(
        "disclosures since={} until={} pseudonym={}",
        asked.since.as_deref().unwrap_or_default(),
        asked.until.as_deref().unwrap_or_default(),
        patient
            .map(|patient| patient.to_string())
            .unwrap_or_default()
    );
    let is_recorded = recorded(&words, &log, listed.len(), &found.place)?;
    query::render_disclosures(&listed, arguments.format.of_answer(), &mut terminal.out)?;
    terminal.out.flush()?;
    tell(&found, listed.len(), arguments.all, is_recorded, terminal)?;
    found.judge(&asked, terminal)?;
    Ok(Exit::Well)
}

/// What the list does not say.
fn tell(
    found: &Found,
    listed: usize,
    all: bool,
    is_recorded: bool,
    terminal: &mut Terminal<'_>,
) -> Result<(), CliError> {
    let omitted = found.records().len() - listed;
    writeln!(terminal.err, "notice: read from {}", found.place)?;
    if omitted > 0 && !all {
        writeln!(
            terminal.err,
            "notice: {omitted} for treatment, payment or operations, or to the person, are not listed: 45 CFR 164.528(a)(1) asks for no accounting of them (--all)"
        )?;
    }
    let nameless = found
        .records()
        .iter()
        .filter(|record| record.text(&["details", "recipient"]).is_none());
    let nameless = nameless.count();
    if nameless > 0 {
        writeln!(
            terminal.err,
            "notice: {nameless} name no recipient, and an accounting must: give the tools that export a `recipient` in the policy"
        )?;
    }
    super::tell_of_access(is_recorded, terminal)
}
