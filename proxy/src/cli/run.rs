//! `run`: the configuration read and checked, then the sidecar.

use std::io::Write;

use clap::Args;

use super::config::{ConfigArgs, Mode, load, start};
use super::{CliError, Exit, Hooks, Terminal};

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Warnings are shown, then the sidecar starts.
pub(super) fn run(arguments: &RunArgs, hooks: &Hooks, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    let ready = load(&arguments.config.paths, Mode::Run)?.ready(terminal)?;
    terminal.err.flush()?;
    (hooks.run)(start(ready, arguments.config.paths.clone()))
}
