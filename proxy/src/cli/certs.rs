//! `certs`: a development CA, and what a certificate allows.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use safeguard_certs::dev;

use super::{CliError, Exit, Terminal};

#[derive(Debug, Subcommand)]
pub(super) enum CertsCommand {
    /// Make a development CA with a server's and a client's certificate
    Init(InitArgs),
    /// Show what a certificate or a revocation list says and allows
    Show(ShowArgs),
}

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Where ca.pem, server.pem, client.pem and their keys are written; no file is overwritten
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// A DNS name of the server; localhost and the loopback addresses are always there
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// The DNS name of the client
    #[arg(long, value_name = "NAME", default_value = dev::DEFAULT_CLIENT)]
    client: String,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// PEM or DER
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn certs(command: &CertsCommand, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    match command {
        CertsCommand::Init(arguments) => {
            let files = dev::init(&arguments.dir, &arguments.dns, &arguments.client)
                .map_err(|error| CliError::Usage(error.to_string()))?;
            for file in [
                files.ca,
                files.ca_key,
                files.server,
                files.server_key,
                files.client,
                files.client_key,
            ] {
                writeln!(terminal.out, "{}", file.display())?;
            }
        }
        CertsCommand::Show(arguments) => {
            let shown = safeguard_certs::show::show(&arguments.file)
                .map_err(|error| CliError::Usage(error.to_string()))?;
            write!(terminal.out, "{shown}")?;
        }
    }
    Ok(Exit::Well)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::tests::run;

    #[test]
    fn a_ca_is_made_once_and_shown() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("dev");
        let text = dir.to_str().unwrap();
        let made = run(&["certs", "init", text, "--client", "web.example.com"], "");
        assert_eq!(
            (made.exit, made.out.lines().count()),
            (Exit::Well, 6),
            "{}",
            made.err
        );
        assert_eq!(
            run(&["certs", "init", text], "").exit,
            Exit::Usage,
            "nothing is overwritten"
        );
        let client = dir.join("client.pem");
        assert!(
            run(&["certs", "show", client.to_str().unwrap()], "")
                .out
                .contains("web.example.com")
        );
        let key = run(
            &["certs", "show", dir.join("client.key").to_str().unwrap()],
            "",
        );
        assert_eq!(key.exit, Exit::Usage);
        assert!(!key.err.contains("BEGIN"));
    }
}
