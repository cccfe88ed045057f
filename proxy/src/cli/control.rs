//! `drain` and `log-level`: what is asked of a running sidecar, over its control socket.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};

use super::config::{Mode, load};
use super::{CliError, Exit, Terminal};
use crate::control::{self, ClientError, Request};

/// Which sidecar.
#[derive(Debug, Args)]
pub(super) struct SocketArgs {
    /// The configuration of the sidecar, which names state.directory
    #[arg(long = "config", value_name = "PATH", num_args = 1.., action = ArgAction::Append, required_unless_present = "socket")]
    config: Vec<PathBuf>,
    /// Its control socket, in place of the configuration
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    #[command(flatten)]
    sidecar: SocketArgs,
    /// How long to wait for the end
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

#[derive(Debug, Args)]
pub(super) struct LogLevelArgs {
    /// What is logged from now on, until the next restart
    level: Level,
    #[command(flatten)]
    sidecar: SocketArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl SocketArgs {
    pub(super) fn path(&self, terminal: &Terminal<'_>) -> Result<PathBuf, CliError> {
        if let Some(socket) = &self.socket {
            return Ok(socket.clone());
        }
        let ready = load(&self.config, Mode::Check)?.ready(terminal)?;
        Ok(control::socket_in(&ready.configuration.state.directory))
    }

    /// Asks the sidecar for something, and prints what it says.
    pub(super) fn print(
        &self,
        request: &Request,
        terminal: &mut Terminal<'_>,
    ) -> Result<Exit, CliError> {
        let socket = self.path(terminal)?;
        let text = control::ask_for_text(&socket, request);
        let text = text.map_err(|error| failed(&socket, &error))?;
        write!(terminal.out, "{text}")?;
        Ok(Exit::Well)
    }
}

/// Begins the drain and waits until the sidecar has ended.
pub(super) fn drain(arguments: &DrainArgs, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    let socket = arguments.sidecar.path(terminal)?;
    let wait = Duration::from_secs(arguments.timeout);
    control::ask_until_the_end(&socket, &Request::Drain {}, wait)
        .map_err(|error| failed(&socket, &error))?;
    writeln!(terminal.out, "drained")?;
    Ok(Exit::Well)
}

pub(super) fn log_level(
    arguments: &LogLevelArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, CliError> {
    let socket = arguments.sidecar.path(terminal)?;
    let level = arguments
        .level
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default();
    control::ask(&socket, &Request::LogLevel { level }).map_err(|error| failed(&socket, &error))?;
    Ok(Exit::Well)
}

pub(super) fn failed(socket: &std::path::Path, error: &ClientError) -> CliError {
    CliError::Unavailable(format!("{}: {error}", socket.display()))
}

#[cfg(test)]
mod tests {
    use crate::cli::Exit;
    use crate::cli::terminal::tests::run;

    #[test]
    fn without_a_sidecar_nothing_is_drained() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        let socket = socket.to_str().unwrap();
        for command in [&["drain"][..], &["log-level", "debug"]] {
            let ended = run(&[command, &["--socket", socket]].concat(), "");
            assert_eq!(ended.exit, Exit::Unavailable, "{}", ended.err);
            assert!(ended.err.contains("no sidecar"), "{}", ended.err);
        }
    }
}
