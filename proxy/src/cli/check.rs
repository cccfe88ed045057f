//! `check`: every finding at once. Opens no file that the configuration names, and no socket, unless it is told to.

mod diff;
mod online;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use safeguard_policy::exceptions::Standing;
use safeguard_policy::{
    Finding, Policy, Remark, Severity, codes, findings_at, render, to_json, to_sarif,
};

use super::config::{Chosen, ConfigArgs, Mode, load, sources};
use super::{CliError, Exit, Terminal};
use crate::clock;

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: Option<ConfigArgs>,
    /// Instead of findings, who sees more and who sees less under the second configuration than under the first: files or directories,
    /// as for --config. Exits 1 when anyone sees more, or when nobody can tell
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], conflicts_with_all = ["paths", "online"], required_unless_present = "paths")]
    diff: Option<Vec<PathBuf>>,
    /// How findings are written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Also open the files and reach the servers that it names, as `run` would: certificates, keys and their sources, the MCP
    /// server, Keycloak, PostgreSQL
    #[arg(long)]
    online: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Sarif,
}

pub(super) fn check(arguments: &CheckArgs, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    match (&arguments.diff, &arguments.config) {
        (Some(two), _) => diff::compare(two, arguments.format, terminal),
        (None, Some(config)) => findings(arguments, config, terminal),
        (None, None) => Err(CliError::Usage(
            "name --config, or --diff OLD NEW".to_owned(),
        )),
    }
}

fn findings(
    arguments: &CheckArgs,
    config: &ConfigArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, CliError> {
    let mode = if arguments.online {
        Mode::Use
    } else {
        Mode::Check
    };
    let mut chosen = load(&config.paths, mode)?;
    // Where a file was not opened the rest may be all right, though it is no configuration to run.
    let accepted = !chosen.findings.iter().any(Finding::is_error);
    let whole = chosen.configuration.is_some();
    dated(config, &mut chosen)?;
    let fails = arguments.online && look(config, &mut chosen)?;
    match arguments.format {
        Format::Text => terminal
            .out
            .write_all(render(&chosen.findings, terminal.out_colour).as_bytes())?,
        Format::Json => writeln!(terminal.out, "{:#}", to_json(&chosen.findings))?,
        Format::Sarif => writeln!(terminal.out, "{:#}", to_sarif(&chosen.findings))?,
    }
    if accepted && arguments.format == Format::Text {
        writeln!(
            terminal.out,
            "the configuration is accepted ({} files){}",
            chosen.files.len(),
            match (arguments.online, fails) {
                _ if !whole => ", as far as it stands in files that were opened",
                (false, _) => "",
                (true, false) => ", and what it names is there",
                (true, true) => ", but not everything that it names is there",
            }
        )?;
    }
    Ok(match (accepted, fails) {
        (false, _) => Exit::Configuration,
        (true, true) => Exit::Finding,
        (true, false) => Exit::Well,
    })
}

/// Says which exceptions end within 14 days, and which are over.
fn dated(config: &ConfigArgs, chosen: &mut Chosen) -> Result<(), CliError> {
    let Some(configuration) = &chosen.configuration else {
        return Ok(());
    };
    let remarks = exceptions(&configuration.policy, clock::now_unix());
    if !remarks.is_empty() {
        let found = findings_at(&sources(&config.paths)?, &remarks);
        chosen.findings.extend(found);
    }
    Ok(())
}

fn exceptions(policy: &Policy, now_unix: i64) -> Vec<Remark> {
    let dated = policy.exceptions().iter().enumerate();
    let remarks = dated.filter_map(|(number, exception)| {
        let (word, fix) = match exception.standing(now_unix) {
            Standing::Holds => return None,
            Standing::EndsSoon => (
                "ends soon, on",
                "mend what it is for, or have it accepted anew with another day",
            ),
            Standing::Over => ("was over after", "remove it: its rule is strict again"),
        };
        Some(Remark {
            severity: Severity::Warning,
            code: codes::EXCEPTION,
            path: format!("exceptions[{number}].until"),
            message: format!(
                "the exception for {} {word} {}",
                exception.rule, exception.until
            ),
            fix: Some(fix.to_owned()),
        })
    });
    remarks.collect()
}

/// Opens what the configuration names; whether anything of it fails.
fn look(config: &ConfigArgs, chosen: &mut Chosen) -> Result<bool, CliError> {
    let Some(configuration) = &mut chosen.configuration else {
        // Only what is accepted can be looked at.
        return Ok(false);
    };
    let remarks = online::look(configuration)?;
    let found = findings_at(&sources(&config.paths)?, &remarks);
    let fails = found.iter().any(Finding::is_error);
    chosen.findings.extend(found);
    Ok(fails)
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

    #[test]
    fn what_it_names_is_opened_only_when_asked_and_each_failure_has_its_place() {
        let folder = example();
        let path = folder.path().to_str().unwrap();
        let ended = run(&["check", "--online", "--config", path], "");
        assert_eq!(ended.exit, Exit::Finding, "{}{}", ended.out, ended.err);
        for part in [
            "error[unusable_file]",
            "tls.yaml:",
            "error[unreachable]: no connection to the MCP server",
            "policy.yaml:",
            "not everything that it names",
        ] {
            assert!(ended.out.contains(part), "{part}: {}", ended.out);
        }
        assert!(!ended.out.contains("qqqq"), "{}", ended.out);
        std::fs::remove_file(folder.path().join("PHI_KEY")).unwrap();
        let unread = run(&["check", "--online", "--config", path], "");
        assert_eq!(unread.exit, Exit::Configuration);
        assert!(unread.out.contains("PHI_KEY"), "{}", unread.out);
        // Nothing is wrong with what may not be opened.
        let policy = folder.path().join("policy.yaml");
        let text = std::fs::read_to_string(&policy).unwrap();
        let text = text.replace("clinic-a/ehr", "\"${file:/nowhere}\"");
        std::fs::write(&policy, text).unwrap();
        let unopened = run(&["check", "--config", path], "");
        assert_eq!(unopened.exit, Exit::Well, "{}", unopened.out);
        assert!(
            unopened.out.contains("files that were opened"),
            "{}",
            unopened.out
        );
    }

    #[test]
    fn a_pattern_without_a_bound_is_refused_where_it_stands() {
        let folder = example();
        let file = folder.path().join("policy.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(
            &file,
            text.replace(
                "phi:\n  domain",
                "phi:\n  patterns: { case: \"C[0-9]+\" }\n  domain",
            ),
        )
        .unwrap();
        let path = folder.path().to_str().unwrap();
        let checked = run(&["check", "--config", path], "");
        assert_eq!(checked.exit, Exit::Configuration);
        assert!(
            checked.out.contains("policy.yaml:15") || checked.err.contains("policy.yaml:15"),
            "{} {}",
            checked.out,
            checked.err
        );
    }

    #[test]
    fn an_exception_that_ends_soon_or_is_over_is_told_at_its_day() {
        let folder = example();
        let file = folder.path().join("policy.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let (path, exception) = (
            folder.path().to_str().unwrap(),
            "exceptions:\n  - { allow: storage_clear, for: tools.read_record, because: x, approved_by: ciso, until: ",
        );
        let ((year, month, day), _) = clock::civil((clock::now_unix() + 5 * 86_400) * 1_000_000);
        let soon = format!("{year:04}-{month:02}-{day:02}");
        for (until, word) in [
            ("2025-01-31", Some("was over after 2025-01-31")),
            (&*soon, Some("ends soon, on")),
            ("2999-12-31", None),
        ] {
            std::fs::write(&file, format!("{text}\n{exception}{until} }}\n")).unwrap();
            let checked = run(&["check", "--config", path], "");
            assert_eq!(checked.exit, Exit::Well, "{}", checked.out);
            assert!(checked.out.contains("is accepted by ciso until"), "listed");
            let dated = ["ends soon", "was over"]
                .iter()
                .any(|word| checked.out.contains(word));
            assert_eq!(dated, word.is_some(), "{}", checked.out);
            assert!(word.is_none_or(|word| checked.out.contains(word)));
        }
    }

    #[test]
    fn a_difference_says_who_sees_more_and_fails_then_alone() {
        let (old, new) = (example(), example());
        let file = new.path().join("policy.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let wider = text.replace("test_results], mask: { ssn: last4 } }", "test_results] }");
        assert_ne!(text, wider);
        std::fs::write(file, wider).unwrap();
        let (old, new) = (old.path().to_str().unwrap(), new.path().to_str().unwrap());
        let ended = run(&["check", "--diff", old, new], "");
        assert_eq!(ended.exit, Exit::Finding, "{}{}", ended.out, ended.err);
        assert!(
            ended.out.starts_with("sees more\n  nurse (by "),
            "{}",
            ended.out
        );
        assert!(ended.out.contains("ssn: mask last4 -> revealed"));
        let back = run(&["check", "--diff", new, old], "");
        assert_eq!(back.exit, Exit::Well, "{}", back.out);
        assert!(back.out.starts_with("sees less\n"));
        let same = run(&["check", "--diff", old, old], "");
        assert_eq!(
            (same.exit, same.out.as_str()),
            (Exit::Well, "nobody sees more and nobody sees less\n")
        );
        let json = run(&["check", "--diff", old, new, "--format", "json"], "");
        let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
        assert_eq!(json["less"], serde_json::json!([]));
    }
}
