//! `sessions`: the login sessions of a running sidecar, over its control socket.

use clap::{Args, Subcommand};

use super::control::SocketArgs;
use super::{CliError, Exit, Terminal};
use crate::control::{Request, Which};

#[derive(Debug, Subcommand)]
pub(super) enum SessionsCommand {
    /// Show the live sessions, the longest silent first
    List(ListArgs),
    /// End sessions at once, with their open streams and refresh tokens
    End(EndArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    sidecar: SocketArgs,
}

#[derive(Debug, Args)]
pub(super) struct EndArgs {
    #[command(flatten)]
    which: WhichArgs,
    #[command(flatten)]
    sidecar: SocketArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct WhichArgs {
    /// Those of this subject, and whatever else that user logged in to before now
    #[arg(long, value_name = "SUB")]
    user: Option<String>,
    /// The one of this id, as `sessions list` and the audit log show it
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Everybody's: only logins after this moment are let in
    #[arg(long)]
    all: bool,
}

impl WhichArgs {
    fn which(&self) -> Which {
        match (&self.user, &self.session) {
            (Some(user), _) => Which::User(user.clone()),
            (None, Some(session)) => Which::Session(session.clone()),
            (None, None) => Which::All,
        }
    }
}

pub(super) fn run(
    command: &SessionsCommand,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, CliError> {
    let (sidecar, request) = match command {
        SessionsCommand::List(arguments) => (&arguments.sidecar, Request::ListSessions {}),
        SessionsCommand::End(arguments) => {
            let which = arguments.which.which();
            (&arguments.sidecar, Request::EndSessions { which })
        }
    };
    sidecar.print(&request, terminal)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::terminal::tests::run;
    use crate::cli::{Cli, Exit};

    #[test]
    fn one_kind_of_sessions_is_ended_and_it_must_be_said() {
        let socket = ["--socket", "/nonexistent/control.sock"];
        for which in [&["--user", "ann"][..], &["--session", "ab"], &["--all"]] {
            let ended = run(&[&["sessions", "end"], which, &socket].concat(), "");
            assert_eq!(ended.exit, Exit::Unavailable, "{}", ended.err);
        }
        for wrong in [&[][..], &["--all", "--user", "ann"]] {
            let line = [&["safeguard", "sessions", "end"], wrong, &socket].concat();
            assert!(Cli::try_parse_from(line).is_err(), "{wrong:?}");
        }
    }
}
