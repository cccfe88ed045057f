//! `tools` by pattern: what may be one, and which names would have two.

use crate::document::report::Report;
use crate::document::tree::Entry;
use crate::finding::codes;
use crate::policy::Grant;
use crate::tools::{NAME_BYTES_MAX, PATTERN_OPERATIONS, PATTERNS_MAX, Pattern};

/// Adds the rule of a pattern to those before it.
pub(super) fn add(
    entry: &Entry,
    grant: Grant,
    known: &mut Vec<(Pattern, Grant)>,
    report: &mut Report<'_>,
) {
    let Some(pattern) = Pattern::parse(&entry.name) else {
        report
            .error(
                codes::BAD_VALUE,
                entry.place,
                format!("`tools.{}` fits the name of no tool", entry.name),
            )
            .fix(format!(
                "a name has letters, digits, `_`, `-`, `.` and `/`, at most {NAME_BYTES_MAX} of them; `*` stands for any of them"
            ));
        return;
    };
    if known.len() == PATTERNS_MAX {
        report
            .error(
                codes::BAD_VALUE,
                entry.place,
                format!("more than {PATTERNS_MAX} patterns of tools"),
            )
            .fix("join some, or name the tools");
        return;
    }
    if !PATTERN_OPERATIONS.contains(&grant.operation) {
        report
            .error(
                codes::CONTRADICTION,
                entry.place,
                format!(
                    "`tools.{}` is a pattern and permits to {}",
                    entry.name,
                    grant.operation.as_str()
                ),
            )
            .fix("name each tool that changes or exports something: what a server adds later must not come in by its name");
        return;
    }
    warn_of_width(entry, &pattern, known, report);
    known.push((pattern, grant));
}

fn warn_of_width(
    entry: &Entry,
    pattern: &Pattern,
    known: &[(Pattern, Grant)],
    report: &mut Report<'_>,
) {
    if pattern.fits_all() {
        report
            .warning(
                codes::WIDE_RULE,
                entry.place,
                format!(
                    "`tools.{}` permits every tool that the server has or will ever have",
                    entry.name
                ),
            )
            .fix("begin it with what its tools' names begin with");
    }
    if let Some((other, _)) = known.iter().find(|(other, _)| pattern.meets(other)) {
        report
            .warning(
                codes::NAME_CLASH,
                entry.place,
                format!(
                    "`tools.{}` and `tools.{}` fit some names both: those tools are denied",
                    entry.name,
                    other.as_str()
                ),
            )
            .fix("give such a tool a rule of its own name, which wins");
    }
}
