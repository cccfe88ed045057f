//! `doctor`: what stands around the sidecar, held against the configuration. Reads only.

use clap::{Args, ValueEnum};
use serde_json::json;

use super::config::{ConfigArgs, Mode, load, runtime};
use super::{CliError, Exit, Terminal};
use crate::doctor::{Item, Standing, Unavailable, keycloak};

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// How items are written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Also say what is well
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(super) fn doctor(
    arguments: &DoctorArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, CliError> {
    let ready = load(&arguments.config.paths, Mode::Use)?.ready(terminal)?;
    let looked = runtime()?.block_on(keycloak::examine(&ready.configuration));
    let items = looked.map_err(|Unavailable(why)| CliError::Unavailable(why))?;
    let findings = items.iter().filter(|item| item.is_finding()).count();
    match arguments.format {
        Format::Text => {
            for item in &items {
                text(item, arguments.all, terminal)?;
            }
            writeln!(terminal.out, "{findings} of {} items to mend", items.len())?;
        }
        Format::Json => {
            let items: Vec<_> = items.iter().map(Item::to_json).collect();
            let report = json!({"findings": findings, "items": items});
            writeln!(terminal.out, "{report:#}")?;
        }
    }
    Ok(if findings == 0 {
        Exit::Well
    } else {
        Exit::Finding
    })
}

fn text(item: &Item, all: bool, terminal: &mut Terminal<'_>) -> Result<(), CliError> {
    match item.standing {
        Standing::NotConfigured => {
            writeln!(terminal.out, "{}: not configured", item.what)?;
        }
        Standing::Well if all => writeln!(terminal.out, "{}: well ({})", item.what, item.found)?,
        Standing::Well => {}
        Standing::Finding | Standing::Unknown => {
            let (what, word) = (item.what, item.standing.word());
            writeln!(
                terminal.out,
                "{what}: {word}: {}; wanted: {}\n  mend: {}",
                item.found, item.wanted, item.mend
            )?;
        }
    }
    Ok(())
}
