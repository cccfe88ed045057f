//! `check`: every finding at once. Opens no file that the configuration names, and no socket.

use clap::{Args, ValueEnum};
use safeguard_policy::{render, to_json, to_sarif};

use super::config::{ConfigArgs, Mode, load};
use super::{CliError, Exit, Terminal};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// How findings are written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Sarif,
}

pub(super) fn check(arguments: &CheckArgs, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    let chosen = load(&arguments.config.paths, Mode::Check)?;
    match arguments.format {
        Format::Text => terminal
            .out
            .write_all(render(&chosen.findings, terminal.out_colour).as_bytes())?,
        Format::Json => writeln!(terminal.out, "{:#}", to_json(&chosen.findings))?,
        Format::Sarif => writeln!(terminal.out, "{:#}", to_sarif(&chosen.findings))?,
    }
    let accepted = chosen.configuration.is_some();
    if accepted && arguments.format == Format::Text {
        writeln!(
            terminal.out,
            "the configuration is accepted ({} files)",
            chosen.files.len()
        )?;
    }
    Ok(if accepted {
        Exit::Well
    } else {
        Exit::Configuration
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::config::tests::example;
    use crate::cli::terminal::tests::run;

    #[test]
    fn warnings_are_well_and_errors_are_not() {
        let folder = example();
        let path = folder.path().to_str().unwrap();
        let good = run(&["check", "--config", path], "");
        assert_eq!(good.exit, Exit::Well, "{}", good.out);
        assert!(good.out.contains("accepted"));
        std::fs::write(folder.path().join("more.yaml"), "tsl: {}\n").unwrap();
        let bad = run(&["check", "--config", path], "");
        assert_eq!(bad.exit, Exit::Configuration);
        assert!(
            bad.out.contains("more.yaml:1:1") && bad.out.contains("did you mean `tls`"),
            "{}",
            bad.out
        );
        for format in ["json", "sarif"] {
            let ended = run(&["check", "--config", path, "--format", format], "");
            assert!(serde_json::from_str::<serde_json::Value>(&ended.out).is_ok());
            assert_eq!(ended.exit, Exit::Configuration);
        }
    }
}
