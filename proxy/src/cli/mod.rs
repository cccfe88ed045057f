//! The command line: one file a subcommand.
//!
//! Owns the arguments, the exit codes and everything that is written for people and scripts. Commands get their
//! streams handed in ([`Terminal`]) and give back an [`Exit`] or a [`CliError`]; `run`, `demo` and `demo-upstream` are
//! the rest of the product, called through [`Hooks`].
//!
//! Promises: no command takes a secret as an argument or prints one that it was not asked to make; a pipe whose reader
//! went away is a quiet end; colour only on a terminal, never with `NO_COLOR`.

mod audit;
mod certs;
mod check;
mod config;
mod control;
mod demo;
mod doctor;
mod emergency;
mod exit;
mod explain;
mod factor;
mod integrity;
mod key_file;
mod keys;
mod learn;
mod phi;
pub mod process;
mod run;
mod schema;
mod selfcheck;
mod sessions;
mod shell;
mod terminal;
mod test;
mod token;

use std::io::{self, BufWriter};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use config::{Reload, Start};
pub use demo::{DemoArgs, DemoUpstreamArgs};
pub use exit::{CliError, Exit};
pub use terminal::{INPUT_BYTES_MAX, Terminal};

const EXAMPLES: &str = "\
Examples:
  safeguard demo                                      see the whole product do its job
  safeguard check --config config/                    every mistake at once, with its mending
  safeguard explain --config config/ --role nurse --tool read_record
  safeguard run --config config/                      the sidecar
  safeguard keys generate                             a new 256-bit key

Exit codes:
   0  well
   1  a finding: a check failed, or there is a difference
   2  the command line is wrong
  69  something that is needed is unavailable
  70  an internal fault
  78  the configuration is not accepted";

/// A compliance sidecar for MCP servers that hold PHI.
#[derive(Debug, Parser)]
#[command(name = "safeguard", version, about, long_about = None, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the whole product at work, with nothing else installed
    Demo(DemoArgs),
    #[command(flatten)]
    Work(Box<Work>),
}

/// Everything that works on the streams that it is handed.
#[derive(Debug, Subcommand)]
enum Work {
    /// Run the sidecar
    Run(run::RunArgs),
    /// Say everything that is wrong with a configuration; opens no file and no socket that it names, unless --online
    Check(check::CheckArgs),
    /// Say which rule decides on a call, and what each field becomes
    Explain(explain::ExplainArgs),
    /// Draft a policy from what a server lists, and say what has changed since its tools were reviewed
    Learn(learn::LearnArgs),
    /// Run cases against a policy: who calls what, and what each side sees of it
    Test(test::TestArgs),
    /// Print the JSON Schema of the configuration
    Schema(schema::SchemaArgs),
    /// The sample MCP server of the demo
    #[command(hide = true)]
    DemoUpstream(DemoUpstreamArgs),
    /// Make certificates for development, and read certificates
    #[command(subcommand)]
    Certs(certs::CertsCommand),
    /// Make local tokens for development, and read tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Make keys, list the rings of a configuration, and rotate them
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Seal or open the PHI of a record: standard input to standard output
    #[command(subcommand)]
    Phi(phi::PhiCommand),
    /// The integrity hash of a record: compute or verify it
    #[command(subcommand)]
    Integrity(integrity::IntegrityCommand),
    /// Ask the audit log, verify it, or print the SQL of its table
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Is what stands around the sidecar as safe as the configuration asks? Looks at Keycloak's realm, item by item; changes nothing
    Doctor(doctor::DoctorArgs),
    /// End a running sidecar as SIGTERM does, and wait until it has ended
    Drain(control::DrainArgs),
    /// Show the login sessions of a running sidecar, or end some
    #[command(subcommand)]
    Sessions(sessions::SessionsCommand),
    /// Uses of emergency access, and their review
    #[command(subcommand)]
    Emergency(emergency::EmergencyCommand),
    /// Second factors that a running sidecar verifies itself: invite somebody to enrol one, show or remove enrolments
    #[command(subcommand)]
    Factor(factor::FactorCommand),
    /// Change how much a running sidecar logs
    LogLevel(control::LogLevelArgs),
    /// Is the sidecar of this configuration ready? A probe for an image without a shell
    Selfcheck(selfcheck::SelfcheckArgs),
    /// Print the completions for a shell
    Completions(shell::CompletionsArgs),
    /// Print the manual page
    Man(shell::ManArgs),
}

/// The parts of the product that are more than a command.
#[derive(Debug, Clone, Copy)]
pub struct Hooks {
    /// Runs the sidecar until it is told to stop.
    pub run: fn(Start) -> Result<Exit, CliError>,
    /// Plays the demo, on the process's own streams.
    pub demo: fn(DemoArgs) -> ExitCode,
    /// Serves the demo's MCP server.
    pub demo_upstream: fn(DemoUpstreamArgs) -> Result<Exit, CliError>,
}

/// Parses the command line, runs the command and says how it ended.
pub fn main(hooks: &Hooks) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for, the rest is a usage error; a reader that went away needs neither.
            let _gone = error.print();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Well
            }
            .into();
        }
    };
    match cli.command {
        Command::Demo(arguments) => (hooks.demo)(arguments),
        Command::Work(work) => on_the_terminal(*work, hooks).into(),
    }
}

fn on_the_terminal(work: Work, hooks: &Hooks) -> Exit {
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let (out_colour, err_colour) = (terminal::colour(&stdout), terminal::colour(&stderr));
    // Not locked: the sidecar's log goes to standard error too.
    let (mut input, mut out, mut err) = (
        io::BufReader::new(io::stdin()),
        BufWriter::new(stdout),
        stderr,
    );
    let mut terminal = Terminal {
        input: &mut input,
        out: &mut out,
        err: &mut err,
        out_colour,
        err_colour,
    };
    perform(work, hooks, &mut terminal)
}

fn perform(work: Work, hooks: &Hooks, terminal: &mut Terminal<'_>) -> Exit {
    let ended = dispatch(work, hooks, terminal);
    let flushed = terminal.out.flush().map_err(CliError::from);
    match ended.and_then(|exit| flushed.map(|()| exit)) {
        Ok(exit) => exit,
        Err(error) => {
            // Nobody is left to tell if standard error is gone too.
            let _gone = terminal.err.write_all(error.words().as_bytes());
            error.exit()
        }
    }
}

fn dispatch(work: Work, hooks: &Hooks, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    match work {
        Work::Run(arguments) => run::run(&arguments, hooks, terminal),
        Work::Check(arguments) => check::check(&arguments, terminal),
        Work::Explain(arguments) => explain::explain(&arguments, terminal),
        Work::Learn(arguments) => learn::learn(&arguments, terminal),
        Work::Test(arguments) => test::test(&arguments, terminal),
        Work::Schema(arguments) => schema::schema(&arguments, terminal),
        Work::DemoUpstream(arguments) => (hooks.demo_upstream)(arguments),
        Work::Certs(command) => certs::certs(&command, terminal),
        Work::Token(command) => token::token(&command, terminal),
        Work::Keys(command) => keys::keys(&command, terminal),
        Work::Phi(command) => phi::phi(&command, terminal),
        Work::Integrity(command) => integrity::integrity(&command, terminal),
        Work::Audit(command) => audit::audit(&command, terminal),
        Work::Doctor(arguments) => doctor::doctor(&arguments, terminal),
        Work::Drain(arguments) => control::drain(&arguments, terminal),
        Work::Sessions(command) => sessions::run(&command, terminal),
        Work::Emergency(command) => emergency::run(&command, terminal),
        Work::Factor(command) => factor::run(&command, terminal),
        Work::LogLevel(arguments) => control::log_level(&arguments, terminal),
        Work::Selfcheck(arguments) => selfcheck::selfcheck(&arguments, terminal),
        Work::Completions(arguments) => shell::completions(&arguments, terminal),
        Work::Man(arguments) => shell::man(&arguments, terminal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wrong_usage_is_no_command() {
        for wrong in [
            &["run"][..],
            &["run", "--no-such-flag"],
            &["phi", "seal"],
            &["token", "mint", "--secret", "x"],
            &["nothing"],
        ] {
            let error = Cli::try_parse_from([&["safeguard"], wrong].concat()).unwrap_err();
            assert!(error.use_stderr(), "{wrong:?}");
        }
        let help = Cli::try_parse_from(["safeguard", "--help"]).unwrap_err();
        assert!(!help.use_stderr() && help.to_string().contains("Exit codes"));
    }
}
