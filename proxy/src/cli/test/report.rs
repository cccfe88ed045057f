//! What came of the cases, for people and as `JUnit` XML for machines.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::Ran;
use crate::cli::CliError;

/// Every case, its differences below it, and what no case asked.
pub(super) fn text(ran: &[Ran<'_>], unasked: &[String], colour: bool) -> String {
    let paint = |code: &str, word: &str| match colour {
        true => format!("\u{1b}[{code}m{word}\u{1b}[0m"),
        false => word.to_owned(),
    };
    let mut out = String::new();
    for Ran { case, verdict, .. } in ran {
        let well = verdict.differences.is_empty();
        let word = match well {
            true => paint("32", "ok    "),
            false => paint("31", "FAILED"),
        };
        // Writing to a String does not fail.
        let _ = writeln!(out, "{word} {}", case.name);
        if !well {
            let _ = writeln!(out, "       {}:{}", case.file, case.line);
        }
        for difference in &verdict.differences {
            let _ = writeln!(out, "       {difference}");
        }
    }
    let failed = ran
        .iter()
        .filter(|ran| !ran.verdict.differences.is_empty())
        .count();
    let _ = writeln!(out, "\n{} cases, {failed} failed", ran.len());
    if !unasked.is_empty() {
        let _ = writeln!(out, "rules that no case asks: {}", unasked.join(", "));
    }
    out
}

/// Writes the cases as `JUnit` XML, a suite a file.
pub(super) fn junit(ran: &[Ran<'_>], file: &Path) -> Result<(), CliError> {
    let mut report = Report::new("safeguard test");
    for of_file in ran.chunk_by(|one, next| one.case.file == next.case.file) {
        let Some(first) = of_file.first() else {
            continue;
        };
        let mut suite = TestSuite::new(first.case.file.as_str());
        suite.add_test_cases(of_file.iter().map(junit_case));
        suite.set_time(of_file.iter().map(|ran| ran.took).sum::<Duration>());
        report.add_test_suite(suite);
    }
    let text = report
        .to_string()
        .map_err(|error| CliError::Internal(error.to_string()))?;
    std::fs::write(file, text)
        .map_err(|error| CliError::Usage(format!("{} can't be written: {error}", file.display())))
}

fn junit_case(ran: &Ran<'_>) -> TestCase {
    let differences = &ran.verdict.differences;
    let mut status = TestCaseStatus::success();
    if let Some(first) = differences.first() {
        status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_message(first.as_str());
        status.set_description(differences.join("\n"));
    }
    let mut case = TestCase::new(ran.case.name.as_str(), status);
    case.set_classname(format!("{}:{}", ran.case.file, ran.case.line));
    case.set_time(ran.took);
    case
}
