//! How a subcommand ends: the exit codes, and the errors that lead to them.

use std::io;
use std::process::ExitCode;

use thiserror::Error;

/// The exit codes; 64 and above as `sysexits.h` has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is well.
    Well = 0,
    /// Something was found: a log that is not whole, a record that does not verify, a token that is refused.
    Finding = 1,
    /// The command line is wrong, or names a file that does not serve.
    Usage = 2,
    /// Something that the command needs is not there: a port, a directory of the log.
    Unavailable = 69,
    /// A fault of this program or of its system.
    Internal = 70,
    /// The configuration is not accepted.
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a subcommand did not do its work. The text says what, where and how to mend it, and holds no secret and no PHI.
#[derive(Debug, Error)]
pub enum CliError {
    /// The command line, or a file that it names.
    #[error("{0}")]
    Usage(String),
    /// What was given to judge did not hold.
    #[error("{0}")]
    Finding(String),
    /// Something outside is not there.
    #[error("{0}")]
    Unavailable(String),
    /// A fault of the program or its system.
    #[error("{0}")]
    Internal(String),
    /// The configuration, in one sentence.
    #[error("{0}")]
    Configuration(String),
    /// The configuration's findings, laid out already.
    #[error("{0}")]
    Findings(String),
    /// The output can't be written. A reader that went away is no fault.
    #[error("the output can't be written: {0}")]
    Output(#[from] io::Error),
}

impl CliError {
    /// The exit code that it leads to.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Finding(_) => Exit::Finding,
            Self::Unavailable(_) => Exit::Unavailable,
            Self::Internal(_) => Exit::Internal,
            Self::Configuration(_) | Self::Findings(_) => Exit::Configuration,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Well,
            Self::Output(_) => Exit::Internal,
        }
    }

    /// What stands on standard error; nothing for a reader that went away.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Findings(text) => text.clone(),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => String::new(),
            other => format!("error: {other}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_the_documentation() {
        let codes = [
            Exit::Well,
            Exit::Finding,
            Exit::Usage,
            Exit::Unavailable,
            Exit::Internal,
            Exit::Configuration,
        ];
        assert_eq!(codes.map(|exit| exit as u8), [0, 1, 2, 69, 70, 78]);
    }

    #[test]
    fn a_reader_that_went_away_is_a_quiet_end() {
        let gone = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((gone.exit(), gone.words()), (Exit::Well, String::new()));
        let full = CliError::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(full.exit(), Exit::Internal);
        assert!(full.words().starts_with("error: "));
    }
}
