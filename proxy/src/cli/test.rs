//! `test`: cases beside a policy, each carried through the policy's decision and the sidecar's own rewriting, with keys
//! that nothing else has. No server is needed, and none is asked.

mod compare;
mod judge;
mod report;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use safeguard_policy::cases::{self, Case};
use safeguard_policy::{Colour, Policy, render};

use self::judge::{Bench, Verdict};
use super::config::{Mode, load, sources};
use super::{CliError, Exit, Terminal};

#[derive(Debug, Args)]
pub(super) struct TestArgs {
    /// A file, or a directory whose *.yaml and *.yml files are read; repeatable, they merge by key
    #[arg(long, value_name = "PATH", required = true)]
    config: Vec<PathBuf>,
    /// Files of cases, and directories of them. They hold invented patients only: what differs is shown
    #[arg(required = true, value_name = "CASES")]
    cases: Vec<PathBuf>,
    /// Write the results as `JUnit` XML to this file, too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// A rule that no case asks is a failure
    #[arg(long)]
    all_rules: bool,
}

/// A case and what came of it.
struct Ran<'c> {
    case: &'c Case,
    verdict: Verdict,
    took: std::time::Duration,
}

pub(super) fn test(arguments: &TestArgs, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    let configuration = load(&arguments.config, Mode::Check)?
        .ready(terminal)?
        .configuration;
    let (cases, findings) = cases::read(&sources(&arguments.cases)?);
    if findings.iter().any(safeguard_policy::Finding::is_error) {
        return Err(CliError::Finding(render(&findings, terminal.err_colour)));
    }
    if cases.is_empty() {
        return Err(CliError::Usage(
            "the files hold no case: write one below `cases:`".to_owned(),
        ));
    }
    let bench = Bench::new(configuration.policy)?;
    let ran: Vec<Ran<'_>> = cases
        .iter()
        .map(|case| {
            let began = Instant::now();
            let verdict = bench.judge(case);
            Ran {
                case,
                verdict,
                took: began.elapsed(),
            }
        })
        .collect();
    if let Some(file) = &arguments.junit {
        report::junit(&ran, file)?;
    }
    let unasked = unasked(bench.policy(), &ran);
    let text = report::text(&ran, &unasked, terminal.out_colour == Colour::On);
    terminal.out.write_all(text.as_bytes())?;
    let failed = ran.iter().any(|ran| !ran.verdict.differences.is_empty());
    Ok(match failed || arguments.all_rules && !unasked.is_empty() {
        true => Exit::Finding,
        false => Exit::Well,
    })
}

/// The rules that no case asked, by their names.
fn unasked(policy: &Policy, ran: &[Ran<'_>]) -> Vec<String> {
    let asked: BTreeSet<&str> = ran
        .iter()
        .filter_map(|ran| ran.verdict.rule.as_deref())
        .collect();
    let tools = policy
        .tools()
        .into_iter()
        .map(|name| format!("tools.{name}"));
    let resources = policy
        .resources()
        .into_iter()
        .map(|uri| format!("resources.{uri}"));
    let prompts = policy
        .prompts()
        .into_iter()
        .map(|name| format!("prompts.{name}"));
    tools
        .chain(resources)
        .chain(prompts)
        .filter(|rule| !asked.contains(rule.as_str()))
        .collect()
}

#[cfg(test)]
mod tests;
