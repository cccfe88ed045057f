//! `emergency`: who may break the glass, for what and for how long.

use std::collections::HashSet;

use super::phi::duration;
use super::roles::Roles;
use crate::document::read::Section;
use crate::document::report::Report;
use crate::document::tree::Node;
use crate::emergency::{Emergency, START_TOOL, STOP_TOOL};
use crate::finding::codes;
use crate::names::nearest;
use crate::path::Root;
use crate::policy::{Grant, Operation};
use crate::tools::Tools;

/// The longest emergency, in seconds: beyond a shift's half it is no emergency any more.
const LASTS_SECONDS_MAX: u32 = 4 * 3600;
/// The latest review, in seconds.
const REVIEW_SECONDS_MAX: u32 = 30 * 24 * 3600;

pub(super) fn emergency(
    root: Section<'_>,
    roles: &Roles,
    tools: &Tools,
    shared_sessions: bool,
    report: &mut Report<'_>,
) -> Option<Emergency> {
    let section = root.section("emergency");
    if !section.is_written() {
        return None;
    }
    own_names(root, report);
    needs(section, report);
    if shared_sessions {
        report
            .error(
                codes::CONTRADICTION,
                section.place(),
                "`emergency` and `sessions.store`: an emergency is known to the replica that it began at alone",
            )
            .fix("run one replica without sessions.store, or leave emergency access to another way");
    }
    let who = roles.listed(section, report);
    if who == 0
        && section
            .node_of("roles")
            .is_some_and(|n| !report.has_errors_at(n))
    {
        report
            .error(
                codes::DEAD_RULE,
                section.place_of("roles"),
                "`emergency.roles` names nobody",
            )
            .fix("name the roles that may break the glass");
    }
    let grants = section.section("grants");
    let view = view(grants, roles, report);
    let granted = granted(root, tools, report);
    let lasts = within(section, "lasts", LASTS_SECONDS_MAX, "4h, as in 30m", report);
    let review = within(
        section,
        "review_within",
        REVIEW_SECONDS_MAX,
        "30d, as in 72h",
        report,
    );
    Some(Emergency {
        roles: who,
        view: 1 << view?,
        tools: granted
            .iter()
            .map(|grant| grant.rule.name.clone())
            .collect::<HashSet<_>>(),
        tool_names: grants.texts("tools"),
        lasts_seconds: lasts?,
        review_within_seconds: review?,
    })
}

/// The sidecar's own tools have their names for themselves.
fn own_names(root: Section<'_>, report: &mut Report<'_>) {
    for entry in root.named("tools") {
        if [START_TOOL, STOP_TOOL].contains(&entry.name.as_str()) {
            report
                .error(
                    codes::NAME_CLASH,
                    entry.place,
                    format!(
                        "`tools.{}` is the sidecar's own tool where `emergency` is written",
                        entry.name
                    ),
                )
                .fix("let the server name its tool otherwise");
        }
    }
}

fn needs(section: Section<'_>, report: &mut Report<'_>) {
    let Some(node) = section.node_of("needs") else {
        return;
    };
    let has = |word| node.items().iter().any(|item| item.text() == Some(word));
    if !(has("reason") && has("patient")) {
        report
            .error(
                codes::BAD_VALUE,
                node.place,
                "`emergency.needs` leaves something out: no emergency begins without a reason and a patient",
            )
            .fix("write needs: [reason, patient], or leave it away");
    }
}

fn view(grants: Section<'_>, roles: &Roles, report: &mut Report<'_>) -> Option<usize> {
    let node = grants.node_of("view")?;
    let name = node.text()?;
    let number = roles.number(name);
    if number.is_none() {
        report
            .error(
                codes::UNDEFINED_ROLE,
                node.place,
                format!("`{}` is no role", node.shown()),
            )
            .meant(roles.suggest(name));
    }
    number
}

/// The rules of the tools that are granted.
fn granted<'t>(root: Section<'_>, tools: &'t Tools, report: &mut Report<'_>) -> Vec<&'t Grant> {
    let grants = root.section("emergency").section("grants");
    let mut found = Vec::new();
    for node in grants.items("tools") {
        let Some(name) = node.text() else { continue };
        match tools.written(name) {
            Some(grant) => {
                fits(grant, node, report);
                found.push(grant);
            }
            // A rule that could not be read has been reported.
            None if root.named("tools").iter().any(|entry| entry.name == name) => {}
            None => {
                report
                    .error(
                        codes::DEAD_RULE,
                        node.place,
                        format!("`{}` is no tool that has a rule", node.shown()),
                    )
                    .meant(nearest(name, tools.names()))
                    .fix("write the name or the pattern of a rule below `tools`");
            }
        }
    }
    let written = grants.node_of("tools");
    if let Some(node) = written.filter(|node| node.items().is_empty()) {
        report
            .error(
                codes::DEAD_RULE,
                node.place,
                "`emergency.grants.tools` names no tool",
            )
            .fix("name the tools that an emergency is for");
    }
    found
}

/// What an emergency is for can be held to one patient, and changes nothing at the server.
fn fits(grant: &Grant, node: &Node, report: &mut Report<'_>) {
    let (what, fix) = if !matches!(grant.operation, Operation::Search | Operation::Read) {
        (
            "neither searches nor reads: an emergency lets somebody see, not change",
            "leave it out",
        )
    } else if !matches!(
        grant.patient.as_deref().map(|path| path.root),
        Some(Root::Args | Root::Result)
    ) {
        (
            "does not say by args or result whose records it is about, so that nobody could hold it to one patient",
            "name its patient, or leave it out",
        )
    } else {
        return;
    };
    report
        .error(
            codes::CONTRADICTION,
            node.place,
            format!("`{}` {what}", node.shown()),
        )
        .fix(fix);
}

fn within(
    section: Section<'_>,
    key: &'static str,
    most: u32,
    words: &str,
    report: &mut Report<'_>,
) -> Option<u32> {
    let seconds = section.text(key).and_then(duration);
    let seconds = seconds.filter(|seconds| *seconds <= most);
    if seconds.is_none() {
        report
            .error(
                codes::BAD_VALUE,
                section.place_of(key),
                format!("`emergency.{key}` is no duration of at most {words}"),
            )
            .fix("write a number and its unit: s, m, h or d");
    }
    seconds
}

#[cfg(test)]
mod tests {
    use crate::load;
    use crate::load::tests::{example_env, findings, with};

    const WHOLE: &str =
        "emergency: { roles: [nurse], grants: { view: physician, tools: [read_record] } }\n";

    fn found(section: &str) -> Vec<String> {
        let text = format!("{section}identity:\n");
        findings(&with("policy.yaml", "identity:\n", &text), &example_env())
    }

    #[test]
    fn an_emergency_lasts_half_an_hour_and_is_reviewed_within_three_days_unless_said() {
        let text = format!("{WHOLE}identity:\n");
        let loaded = load(&with("policy.yaml", "identity:\n", &text), &example_env());
        let policy = loaded.configuration.unwrap().policy;
        let emergency = policy.emergency().unwrap();
        assert_eq!(emergency.lasts_seconds(), 1_800);
        assert_eq!(emergency.review_within_seconds(), 259_200);
        assert_eq!(emergency.tools(), ["read_record"]);
        assert!(found(WHOLE).iter().all(|line| !line.contains("emergency")));
    }

    #[test]
    fn what_would_make_an_emergency_more_than_one_is_refused() {
        let change = |from: &str, to: &str| {
            assert!(WHOLE.contains(from), "{from}");
            WHOLE.replace(from, to)
        };
        for (section, words) in [
            (change("[nurse]", "[nurze]"), "`nurze` is no role"),
            (change("[nurse]", "[]"), "names nobody"),
            (change("view: physician", "view: boss"), "`boss` is no role"),
            (change("view: physician, ", ""), "emergency.grants.view"),
            (change("roles: [nurse], ", ""), "emergency.roles"),
            (
                change("[read_record]", "[read_rekord]"),
                "is no tool that has a rule",
            ),
            (change("[read_record]", "[]"), "names no tool"),
            (
                change("[read_record]", "[store_record]"),
                "neither searches nor reads",
            ),
            (
                change("[read_record]", "[list_departments]"),
                "neither searches nor reads",
            ),
            (
                change(" grants:", " needs: [reason], grants:"),
                "leaves something out",
            ),
            (change(" grants:", " lasts: 5h, grants:"), "at most 4h"),
            (change(" grants:", " lasts: soon, grants:"), "at most 4h"),
            (
                change(" grants:", " review_within: 31d, grants:"),
                "at most 30d",
            ),
            (
                format!("sessions: {{ store: \"redis://127.0.0.1:6379\" }}\n{WHOLE}"),
                "an emergency is known to the replica",
            ),
        ] {
            let found = found(&section);
            let is_told = |line: &String| line.starts_with("error[") && line.contains(words);
            assert!(found.iter().any(is_told), "{section}: {found:#?}");
        }
    }

    #[test]
    fn no_rule_takes_the_name_of_the_sidecars_own_tool() {
        let rule = "\ntools:\n  safeguard_emergency_start: { operation: none, roles: any, patient: none }\n";
        let mut sources = with("policy.yaml", "\ntools:", rule);
        let without = findings(&sources, &example_env());
        assert!(
            without.iter().all(|line| !line.contains("name_clash")),
            "{without:?}"
        );
        sources[4].text.push_str(WHOLE);
        let found = findings(&sources, &example_env());
        let clash = |line: &String| line.contains("name_clash") && line.contains("own tool");
        assert!(found.iter().any(clash), "{found:?}");
    }
}
