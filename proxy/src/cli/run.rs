//! `run`: the configuration read and checked, then the sidecar.

use clap::Args;
use safeguard_policy::render;

use super::config::{ConfigArgs, Mode, load, start};
use super::{CliError, Exit, Hooks, Terminal};

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Warnings are shown, then the sidecar starts.
pub(super) fn run(
    arguments: &RunArgs,
    hooks: &Hooks,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, CliError> {
    let chosen = load(&arguments.config.paths, Mode::Run)?;
    let findings = render(&chosen.findings, terminal.err_colour);
    let ready = chosen.ready(terminal)?;
    terminal.err.write_all(findings.as_bytes())?;
    (hooks.run)(start(ready, arguments.config.paths.clone()))
}
