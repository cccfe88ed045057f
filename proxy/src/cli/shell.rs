//! `completions` and `man`: what a shell and a reader need, made from the arguments themselves.

use std::path::PathBuf;

use clap::{Args, CommandFactory};

use super::{Cli, CliError, Exit, Terminal};

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write a page for each subcommand into this directory instead
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn completions(
    arguments: &CompletionsArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, CliError> {
    // The generator panics where it can't write, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Cli::command(),
        "safeguard",
        &mut script,
    );
    terminal.out.write_all(&script)?;
    Ok(Exit::Well)
}

pub(super) fn man(arguments: &ManArgs, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    match &arguments.dir {
        Some(dir) => clap_mangen::generate_to(Cli::command(), dir).map_err(|error| {
            CliError::Usage(format!(
                "{}: the pages can't be written: {error}",
                dir.display()
            ))
        })?,
        None => clap_mangen::Man::new(Cli::command()).render(&mut terminal.out)?,
    }
    Ok(Exit::Well)
}

#[cfg(test)]
mod tests {
    use crate::cli::terminal::tests::run;

    #[test]
    fn both_know_the_subcommands() {
        assert!(run(&["completions", "bash"], "").out.contains("integrity"));
        assert!(run(&["man"], "").out.contains("safeguard\\-integrity"));
        let folder = tempfile::tempdir().unwrap();
        run(&["man", "--dir", folder.path().to_str().unwrap()], "");
        assert!(folder.path().join("safeguard-phi-seal.1").is_file());
    }
}
