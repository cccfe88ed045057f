//! `keys rotate --reseal`: the patients' keys wrapped anew, so that an old key of `keys.phi` may go.

use crate::cli::config::{ConfigArgs, with_keys};
use crate::cli::{CliError, Exit, Terminal};
use crate::{clock, settings};

/// Wraps every patient's key anew that needs it, and says how many did.
pub(super) fn reseal(config: &ConfigArgs, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    let configuration = with_keys(config, terminal)?;
    let live = settings::live(configuration, None)
        .map_err(|error| CliError::Configuration(error.to_string()))?;
    let Some(patients) = &live.patients else {
        let words = "phi.patient_keys is not configured: there is no key to wrap anew. Values at the upstream are sealed anew when they are written, or by `phi reseal`";
        return Err(CliError::Configuration(words.to_owned()));
    };
    let store = patients.store();
    let words = |error: &dyn std::fmt::Display| CliError::Unavailable(error.to_string());
    store.prepare().map_err(|error| words(&error))?;
    let done = store
        .rewrap(clock::now_unix())
        .map_err(|error| words(&error))?;
    writeln!(
        terminal.out,
        "{} keys wrapped anew, {} were already, {} refused",
        done.anew, done.already, done.refused
    )?;
    for refused in &done.first_refused {
        writeln!(terminal.err, "{}: {}", refused.pseudonym, refused.error)?;
    }
    match done.refused {
        0 => Ok(Exit::Well),
        _ => Ok(Exit::Finding),
    }
}
