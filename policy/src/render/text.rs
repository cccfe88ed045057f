//! Text, laid out as rustc does.

use std::fmt::{self, Write as _};

use crate::finding::{Finding, Severity};

/// Whether escape sequences may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// On a terminal.
    On,
    /// Anywhere else, and with `NO_COLOR`.
    Off,
}

impl Colour {
    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::On => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Self::Off => text.to_owned(),
        }
    }
}

/// All findings and a line that counts them; nothing at all if there is no finding.
///
/// Control characters of the document are shown as `·`, so that a configuration cannot steer the terminal.
#[must_use]
pub fn render(findings: &[Finding], colour: Colour) -> String {
    let mut out = String::new();
    for finding in findings {
        // Writing to a String does not fail.
        let _ = one(&mut out, finding, colour);
    }
    let errors = findings.iter().filter(|f| f.is_error()).count();
    let warnings = findings.len() - errors;
    let count = |n: usize, what: &str| match n {
        1 => format!("1 {what}"),
        _ => format!("{n} {what}s"),
    };
    if !findings.is_empty() {
        let _ = writeln!(
            out,
            "{}, {}",
            count(errors, "error"),
            count(warnings, "warning")
        );
    }
    out
}

fn one(out: &mut String, finding: &Finding, colour: Colour) -> fmt::Result {
    let paint = match finding.severity {
        Severity::Error => "1;31",
        Severity::Warning => "1;33",
    };
    let head = format!("{}[{}]", finding.severity.as_str(), finding.code);
    writeln!(
        out,
        "{}: {}",
        colour.paint(paint, &head),
        clean(&finding.message)
    )?;
    let gutter = " ".repeat(finding.line.to_string().len());
    let bar = colour.paint("1;34", "|");
    if finding.line > 0 {
        let place = format!(
            "{}:{}:{}",
            clean(&finding.file),
            finding.line,
            finding.column
        );
        writeln!(out, "{gutter}{} {place}", colour.paint("1;34", "-->"))?;
    }
    if !finding.excerpt.is_empty() {
        writeln!(out, "{gutter} {bar}")?;
        writeln!(out, "{} {bar} {}", finding.line, clean(&finding.excerpt))?;
        let before = " ".repeat(usize::try_from(finding.column.saturating_sub(1)).unwrap_or(0));
        writeln!(
            out,
            "{gutter} {bar} {before}{}",
            colour.paint(paint, &carets(finding))
        )?;
    }
    for related in &finding.related {
        let place = format!(
            "{}:{}:{}",
            clean(&related.file),
            related.line,
            related.column
        );
        writeln!(out, "{gutter} = {place}: {}", clean(&related.message))?;
    }
    if let Some(fix) = &finding.fix {
        writeln!(
            out,
            "{gutter} = {}: {}",
            colour.paint("1;36", "help"),
            clean(fix)
        )?;
    }
    writeln!(out)
}

/// As many carets as the place is wide, within its line.
fn carets(finding: &Finding) -> String {
    let width = usize::try_from(finding.width).unwrap_or(1);
    let before = usize::try_from(finding.column.saturating_sub(1)).unwrap_or(0);
    let left = finding.excerpt.chars().count().saturating_sub(before);
    "^".repeat(width.min(left).max(1))
}

fn clean(text: &str) -> String {
    let steers =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .map(|c| if steers(c) { '·' } else { c })
        .collect()
}
