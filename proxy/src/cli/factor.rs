//! `factor`: the second factors that a running sidecar verifies itself, over its control socket.

use clap::{Args, Subcommand};

use super::control::SocketArgs;
use super::{CliError, Exit, Terminal};
use crate::control::{Request, Whose};

#[derive(Debug, Subcommand)]
pub(super) enum FactorCommand {
    /// Invite somebody to enrol a second factor: prints a link that serves once
    Invite(InviteArgs),
    /// Show who enrolled what
    List(ListArgs),
    /// Take away all that somebody enrolled, with any invitation and what was proved by it
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
pub(super) struct InviteArgs {
    #[command(flatten)]
    whose: WhoseArgs,
    /// How long the link serves
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400, value_parser = clap::value_parser!(u32).range(60..=604_800))]
    valid: u32,
    #[command(flatten)]
    sidecar: SocketArgs,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// This subject's alone
    #[arg(long, value_name = "SUB")]
    subject: Option<String>,
    #[command(flatten)]
    sidecar: SocketArgs,
}

#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    #[command(flatten)]
    whose: WhoseArgs,
    #[command(flatten)]
    sidecar: SocketArgs,
}

#[derive(Debug, Args)]
struct WhoseArgs {
    /// The subject, as its tokens name it
    #[arg(long, value_name = "SUB")]
    subject: String,
    /// The issuer of its logins, where the sidecar takes tokens of more than one
    #[arg(long, value_name = "ISS")]
    issuer: Option<String>,
}

impl WhoseArgs {
    fn whose(&self) -> Whose {
        Whose {
            subject: self.subject.clone(),
            issuer: self.issuer.clone(),
        }
    }
}

pub(super) fn run(command: &FactorCommand, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    let (sidecar, request) = match command {
        FactorCommand::Invite(arguments) => {
            let (whose, valid_seconds) = (arguments.whose.whose(), arguments.valid);
            let request = Request::InviteFactor {
                whose,
                valid_seconds,
            };
            (&arguments.sidecar, request)
        }
        FactorCommand::List(arguments) => {
            let subject = arguments.subject.clone();
            (&arguments.sidecar, Request::ListFactors { subject })
        }
        FactorCommand::Remove(arguments) => {
            let whose = arguments.whose.whose();
            (&arguments.sidecar, Request::RemoveFactors { whose })
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
    fn an_invitation_is_for_somebody_and_for_a_bounded_time() {
        let socket = ["--socket", "/nonexistent/control.sock"];
        for command in [
            &["invite", "--subject", "ann"][..],
            &[
                "invite",
                "--subject",
                "ann",
                "--issuer",
                "x",
                "--valid",
                "60",
            ],
            &["list"],
            &["remove", "--subject", "ann"],
        ] {
            let ended = run(&[&["factor"], command, &socket].concat(), "");
            assert_eq!(ended.exit, Exit::Unavailable, "{}", ended.err);
        }
        for wrong in [
            &["invite"][..],
            &["remove"],
            &["invite", "--subject", "ann", "--valid", "604801"],
        ] {
            let line = [&["safeguard", "factor"], wrong, &socket].concat();
            assert!(Cli::try_parse_from(line).is_err(), "{wrong:?}");
        }
    }
}
