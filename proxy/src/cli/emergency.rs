//! `emergency`: how emergency access was used, and its review, over a running sidecar's control socket.

use clap::{Args, Subcommand, ValueEnum};

use super::control::SocketArgs;
use super::{CliError, Exit, Terminal};
use crate::control::Request;
use crate::emergency::Verdict;

#[derive(Debug, Subcommand)]
pub(super) enum EmergencyCommand {
    /// Show uses of emergency access that wait for a review
    List(ListArgs),
    /// Note the review of one: who reviewed it, and what they found
    Review(ReviewArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Show those that were reviewed, too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    sidecar: SocketArgs,
}

#[derive(Debug, Args)]
pub(super) struct ReviewArgs {
    /// Its id, as `list` shows it
    #[arg(value_name = "ID")]
    id: String,
    /// Who reviewed it: never who used it
    #[arg(long, value_name = "NAME")]
    reviewer: String,
    /// What they found
    #[arg(long, value_enum)]
    verdict: Found,
    /// In words, which name no patient
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    #[command(flatten)]
    sidecar: SocketArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Found {
    /// There was an emergency, and access was used for it alone
    Justified,
    /// There was none, or access was used for more
    Unjustified,
}

pub(super) fn run(
    command: &EmergencyCommand,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, CliError> {
    match command {
        EmergencyCommand::List(arguments) => {
            let request = Request::ListEmergencies { all: arguments.all };
            arguments.sidecar.print(&request, terminal)
        }
        EmergencyCommand::Review(arguments) => {
            let request = Request::ReviewEmergency {
                id: arguments.id.clone(),
                reviewer: arguments.reviewer.clone(),
                verdict: match arguments.verdict {
                    Found::Justified => Verdict::Justified,
                    Found::Unjustified => Verdict::Unjustified,
                },
                note: arguments.note.clone(),
            };
            arguments.sidecar.print(&request, terminal)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::terminal::tests::run;
    use crate::cli::{Cli, Exit};

    #[test]
    fn a_review_has_a_reviewer_and_a_verdict() {
        let socket = ["--socket", "/nonexistent/control.sock"];
        let review = ["review", "0", "--reviewer", "eve", "--verdict", "justified"];
        for command in [&["list"][..], &["list", "--all"], &review] {
            let ended = run(&[&["emergency"], command, &socket].concat(), "");
            assert_eq!(ended.exit, Exit::Unavailable, "{}", ended.err);
        }
        for wrong in [&review[..2], &review[..4], &["review"]] {
            let line = [&["safeguard", "emergency"], wrong, &socket].concat();
            assert!(Cli::try_parse_from(line).is_err(), "{wrong:?}");
        }
    }
}
