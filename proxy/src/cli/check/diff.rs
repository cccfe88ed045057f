//! `check --diff OLD NEW`: who sees more, who sees less.

use std::path::{Path, PathBuf};

use safeguard_policy::Policy;
use safeguard_policy::diff::{Difference, difference};
use serde_json::json;

use super::super::config::{Mode, load};
use super::super::{CliError, Exit, Terminal};
use super::Format;

pub(super) fn compare(
    two: &[PathBuf],
    format: Format,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, CliError> {
    let [old, new] = two else {
        return Err(CliError::Usage("name two: --diff OLD NEW".to_owned()));
    };
    let found = difference(&policy(old, terminal)?, &policy(new, terminal)?);
    let text = match format {
        Format::Text => words(&found),
        Format::Json => format!(
            "{:#}\n",
            json!({ "more": found.more, "less": found.less, "unordered": found.unordered })
        ),
        Format::Sarif => {
            return Err(CliError::Usage(
                "a difference has no place in a file: take --format text or json".to_owned(),
            ));
        }
    };
    terminal.out.write_all(text.as_bytes())?;
    Ok(match found.is_no_wider() {
        true => Exit::Well,
        false => Exit::Finding,
    })
}

fn policy(path: &Path, terminal: &Terminal<'_>) -> Result<Policy, CliError> {
    let chosen = load(&[path.to_path_buf()], Mode::Check)?;
    Ok(chosen.ready(terminal)?.configuration.policy)
}

fn words(found: &Difference) -> String {
    if found.is_none() {
        return "nobody sees more and nobody sees less\n".to_owned();
    }
    let parts = [
        ("sees more", &found.more),
        (
            "is different, and nobody but a person can tell whether anyone sees more",
            &found.unordered,
        ),
        ("sees less", &found.less),
    ];
    let mut out = String::new();
    for (title, lines) in parts.into_iter().filter(|(_, lines)| !lines.is_empty()) {
        out.push_str(title);
        out.push('\n');
        for line in lines {
            out.push_str("  ");
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}
