//! `exceptions`: accepted risks, each with why, who and until.

use std::sync::Arc;

use crate::document::check::date;
use crate::document::keys::EXCEPTION;
use crate::document::read::Section;
use crate::document::report::Report;
use crate::document::tree::Place;
use crate::exceptions::{Allowed, Exception};
use crate::finding::codes;
use crate::names::nearest;
use crate::policy::Operation;
use crate::tools::Tools;

const DAY_SECONDS: i64 = 24 * 3600;

/// Reads them, and notes at each rule until when it is loosened. Each is told, so that no report of `check` is silent about one.
pub(super) fn exceptions(
    root: Section<'_>,
    tools: &mut Tools,
    report: &mut Report<'_>,
) -> Vec<Exception> {
    let mut exceptions: Vec<Exception> = Vec::new();
    for node in root.items("exceptions") {
        let section = Section::new(node, EXCEPTION);
        let Some(exception) = exception(section) else {
            continue;
        };
        let place = section.place_of("for");
        if exceptions.iter().any(|one| one.rule == exception.rule) {
            let what = format!("`{}` has an exception already", exception.rule);
            report
                .error(codes::NAME_CLASH, place, what)
                .fix("keep one of them");
        } else if loosen(&exception, tools, place, report) {
            told(&exception, section.place(), report);
            exceptions.push(exception);
        }
    }
    exceptions
}

fn exception(section: Section<'_>) -> Option<Exception> {
    // There is one word, and another one has been reported.
    let allow = section
        .text("allow")
        .filter(|word| *word == Allowed::StorageClear.as_str());
    let until = section.owned("until")?;
    Some(Exception {
        allow: allow.map(|_| Allowed::StorageClear)?,
        rule: Arc::from(section.text("for")?),
        because: section.owned("because")?,
        approved_by: section.owned("approved_by")?,
        ends_unix: date(&until)?.saturating_add(DAY_SECONDS),
        until,
    })
}

fn loosen(exception: &Exception, tools: &mut Tools, place: Place, report: &mut Report<'_>) -> bool {
    let name = exception.rule.strip_prefix("tools.").unwrap_or_default();
    let Some(grant) = tools.written_mut(name) else {
        let meant = nearest(name, tools.names()).map(|name| format!("tools.{name}"));
        let what = format!("`{}` is no rule of a tool", exception.rule);
        report
            .error(codes::DEAD_RULE, place, what)
            .meant(meant.as_deref())
            .fix("write the rule as tools.NAME or tools.PATTERN");
        return false;
    };
    if !matches!(grant.operation, Operation::Search | Operation::Read) {
        let what = format!(
            "`{}` neither searches nor reads: what it writes would be kept in clear",
            exception.rule
        );
        report
            .error(codes::CONTRADICTION, place, what)
            .fix("let its server hold sealed values, or leave the tool out of the policy");
        return false;
    }
    grant.clear_until = Some(exception.ends_unix);
    true
}

fn told(exception: &Exception, place: Place, report: &mut Report<'_>) {
    let Exception {
        allow,
        rule,
        approved_by,
        until,
        because,
        ..
    } = exception;
    let what = format!(
        "{} for {rule} is accepted by {approved_by} until {until}: {because}",
        allow.as_str()
    );
    report
        .warning(codes::EXCEPTION, place, what)
        .fix("nothing before that day; from the day after the rule is strict again");
}

#[cfg(test)]
mod tests {
    use crate::exceptions::{ALERT_SECONDS, Standing};
    use crate::load;
    use crate::load::tests::{example_env, findings, with};

    const WHOLE: &str = "exceptions:\n  - { allow: storage_clear, for: tools.read_record, because: a facade, approved_by: ciso, until: 2027-03-31 }\n";
    /// Midnight UTC behind 2027-03-31.
    const END: i64 = 1_806_537_600;

    fn found(section: &str) -> Vec<String> {
        let text = format!("{section}identity:\n");
        findings(&with("policy.yaml", "identity:\n", &text), &example_env())
    }

    #[test]
    fn an_exception_is_told_with_who_and_until_and_holds_through_its_last_day() {
        let told =
            "storage_clear for tools.read_record is accepted by ciso until 2027-03-31: a facade";
        let is_told =
            |line: &String| line.starts_with("warning[exception]") && line.ends_with(told);
        let found = found(WHOLE);
        assert!(found.iter().any(is_told), "{found:#?}");
        let text = format!("{WHOLE}identity:\n");
        let loaded = load(&with("policy.yaml", "identity:\n", &text), &example_env());
        let policy = loaded.configuration.unwrap().policy;
        let [exception] = policy.exceptions() else {
            panic!("one exception");
        };
        for (now, standing) in [
            (END - ALERT_SECONDS - 1, Standing::Holds),
            (END - ALERT_SECONDS, Standing::EndsSoon),
            (END - 1, Standing::EndsSoon),
            (END, Standing::Over),
        ] {
            assert_eq!(exception.standing(now), standing, "{now}");
        }
    }

    #[test]
    fn what_would_loosen_more_than_that_is_refused() {
        for (from, to, words) in [
            ("storage_clear", "no_audit", "`exceptions.allow` is one of"),
            ("for: tools.read_record, ", "", "`exceptions.for`"),
            (
                "tools.read_record",
                "tools.reed_record",
                "is no rule of a tool",
            ),
            ("tools.read_record", "read_record", "is no rule of a tool"),
            (
                "tools.read_record",
                "tools.store_record",
                "neither searches nor reads",
            ),
            ("because: a facade, ", "", "`exceptions.because`"),
            ("approved_by: ciso, ", "", "`exceptions.approved_by`"),
            (", until: 2027-03-31", "", "`exceptions.until`"),
            ("2027-03-31", "tomorrow", "`exceptions.until`"),
            (
                "exceptions:\n",
                "exceptions:\n  - { allow: storage_clear, for: tools.read_record, because: x, approved_by: y, until: 2028-01-01 }\n",
                "has an exception already",
            ),
        ] {
            assert!(WHOLE.contains(from), "{from}");
            let found = found(&WHOLE.replace(from, to));
            let is_told = |line: &String| line.starts_with("error[") && line.contains(words);
            assert!(found.iter().any(is_told), "{to}: {found:#?}");
        }
    }
}
