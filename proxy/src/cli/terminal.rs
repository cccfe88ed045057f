//! The one place where subcommands read and write: standard input, output and error, and whether colour is welcome.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use safeguard_policy::Colour;
use zeroize::Zeroizing;

use super::exit::CliError;

/// The largest document on standard input, and the longest line, in bytes.
pub const INPUT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Where a subcommand reads and writes.
pub struct Terminal<'t> {
    /// Standard input.
    pub input: &'t mut dyn BufRead,
    /// Standard output: what was asked for.
    pub out: &'t mut dyn Write,
    /// Standard error: what a person should know.
    pub err: &'t mut dyn Write,
    /// Colour on standard output.
    pub out_colour: Colour,
    /// Colour on standard error.
    pub err_colour: Colour,
}

impl std::fmt::Debug for Terminal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal").finish_non_exhaustive()
    }
}

impl Terminal<'_> {
    /// All of standard input, wiped when dropped.
    ///
    /// # Errors
    /// It can't be read, or has more than `bytes_max` bytes.
    pub fn document(&mut self, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, CliError> {
        let mut text = Zeroizing::new(Vec::new());
        let read = Read::take(&mut *self.input, bytes_max + 1)
            .read_to_end(&mut text)
            .map_err(unreadable)?;
        if u64::try_from(read).unwrap_or(u64::MAX) > bytes_max {
            return Err(CliError::Usage(format!(
                "standard input has more than {bytes_max} bytes"
            )));
        }
        Ok(text)
    }

    /// The next line of standard input without its end, wiped when dropped; none at the end.
    ///
    /// # Errors
    /// It can't be read, or the line has more than [`INPUT_BYTES_MAX`] bytes.
    pub fn line(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, CliError> {
        let mut line = Zeroizing::new(Vec::new());
        let read = Read::take(&mut *self.input, INPUT_BYTES_MAX + 2)
            .read_until(b'\n', &mut line)
            .map_err(unreadable)?;
        if read == 0 {
            return Ok(None);
        }
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        if u64::try_from(line.len()).unwrap_or(u64::MAX) > INPUT_BYTES_MAX {
            return Err(CliError::Usage(format!(
                "a line of standard input has more than {INPUT_BYTES_MAX} bytes"
            )));
        }
        Ok(Some(line))
    }
}

fn unreadable(error: io::Error) -> CliError {
    CliError::Internal(format!("standard input can't be read: {error}"))
}

/// Whether colour is welcome on a stream: on a terminal, unless `NO_COLOR` is set and not empty (no-color.org).
pub(super) fn colour(stream: &impl IsTerminal) -> Colour {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if stream.is_terminal() && !refused {
        Colour::On
    } else {
        Colour::Off
    }
}

/// A text from outside as a terminal may show it: control characters become `·`.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '·' } else { c })
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::{Cli, Command, Exit, Hooks, perform};
    use clap::Parser;
    use std::process::ExitCode;

    /// What a command wrote, and how it ended.
    pub(in crate::cli) struct Ended {
        pub(in crate::cli) exit: Exit,
        pub(in crate::cli) out: String,
        pub(in crate::cli) err: String,
    }

    /// Runs a command line in this process.
    pub(in crate::cli) fn run(arguments: &[&str], input: &str) -> Ended {
        let hooks = Hooks {
            run: |_| Ok(Exit::Well),
            demo: |_| ExitCode::SUCCESS,
            demo_upstream: |_| Ok(Exit::Well),
        };
        let cli = Cli::try_parse_from([&["safeguard"], arguments].concat()).unwrap();
        let Command::Work(work) = cli.command else {
            panic!("the demo has no terminal of its own")
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal = Terminal {
            input: &mut input.as_bytes(),
            out: &mut out,
            err: &mut err,
            out_colour: Colour::Off,
            err_colour: Colour::Off,
        };
        let exit = perform(*work, &hooks, &mut terminal);
        Ended {
            exit,
            out: String::from_utf8(out).unwrap(),
            err: String::from_utf8(err).unwrap(),
        }
    }

    #[test]
    fn lines_end_at_the_newline_and_a_document_is_bounded() {
        let mut input = &b"a\r\nb\n\nc"[..];
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut terminal = Terminal {
            input: &mut input,
            out: &mut out,
            err: &mut err,
            out_colour: Colour::Off,
            err_colour: Colour::Off,
        };
        let mut lines = Vec::new();
        while let Some(line) = terminal.line().unwrap() {
            lines.push(line.to_vec());
        }
        assert_eq!(lines, [&b"a"[..], b"b", b"", b"c"]);
        let mut longer = &b"12345"[..];
        terminal.input = &mut longer;
        assert_eq!(terminal.document(4).unwrap_err().exit(), Exit::Usage);
    }
}
