//! `explain`: the rule that decides on a call, and what each field becomes.

use std::fmt::Write as _;

use clap::Args;
use safeguard_policy::explain::ClientView;
use safeguard_policy::field::{Unlisted, View};
use safeguard_policy::names::nearest;
use safeguard_policy::{Explanation, Policy};

use super::config::{ConfigArgs, Mode, load};
use super::{CliError, Exit, Terminal};

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The caller's role
    #[arg(long)]
    role: String,
    /// The tool, the prompt, or the template of a resource
    #[arg(long)]
    tool: String,
    /// The purpose of use; without it the only one that the role has
    #[arg(long)]
    purpose: Option<String>,
}

pub(super) fn explain(
    arguments: &ExplainArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, CliError> {
    let configuration = load(&arguments.config.paths, Mode::Check)?
        .ready(terminal)?
        .configuration;
    let policy = &configuration.policy;
    let roles = policy.roles();
    if !roles.contains(&arguments.role.as_str()) {
        return Err(unknown("role", &arguments.role, &roles));
    }
    let known = [policy.tools(), policy.prompts(), policy.resources()].concat();
    if !known.contains(&arguments.tool.as_str()) {
        return Err(unknown("tool, prompt or resource", &arguments.tool, &known));
    }
    let explanation = safeguard_policy::explain(
        policy,
        &arguments.role,
        &arguments.tool,
        arguments.purpose.as_deref(),
    );
    terminal
        .out
        .write_all(text(arguments, &explanation, policy).as_bytes())?;
    Ok(Exit::Well)
}

fn unknown(what: &str, name: &str, known: &[&str]) -> CliError {
    let meant = nearest(name, known.iter().copied()).map_or_else(
        || format!("the policy has {}", known.join(", ")),
        |meant| format!("did you mean `{meant}`?"),
    );
    CliError::Usage(format!(
        "no {what} `{name}` in the policy, so every call is denied: {meant}"
    ))
}

fn text(arguments: &ExplainArgs, explanation: &Explanation, policy: &Policy) -> String {
    let mut lines = vec![(
        "call",
        format!("{} of `{}`", arguments.role, arguments.tool),
    )];
    if let Some(rule) = &explanation.rule {
        lines.push(("rule", format!("{}:{} {}", rule.file, rule.line, rule.name)));
    }
    if let Some(operation) = explanation.operation {
        lines.push(("operation", operation.as_str().to_owned()));
    }
    match explanation.denied {
        Some(reason) => lines.push(("decision", format!("denied: {}", reason.code()))),
        None => lines.push(("decision", permitted(explanation))),
    }
    let optional = [
        ("purpose", &explanation.purpose),
        ("patient", &explanation.patient),
        ("record", &explanation.record),
    ];
    lines.extend(
        optional
            .into_iter()
            .filter_map(|(label, value)| Some((label, value.clone()?))),
    );
    if explanation.denied.is_none() {
        lines.push(("unlisted", unlisted(explanation)));
        lines.push(("text", explanation.text.as_str().to_owned()));
    }
    let mut out = String::new();
    for (label, value) in lines {
        // Writing to a String does not fail.
        let _ = writeln!(out, "{label:<10}{value}");
    }
    explanation
        .clients
        .iter()
        .for_each(|client| fields(&mut out, client, policy));
    out
}

fn permitted(explanation: &Explanation) -> String {
    let mut words = "permitted".to_owned();
    if explanation.conditional {
        words.push_str(", if the rule's `when` holds");
    }
    if let Some(step_up) = &explanation.step_up {
        if let Some(seconds) = step_up.max_age {
            let _ = write!(words, ", with a login of the last {seconds} s");
        }
        if let Some(acr) = &step_up.acr {
            let _ = write!(words, ", with acr {acr}");
        }
    }
    words
}

fn unlisted(explanation: &Explanation) -> String {
    let word = |of, pass| match of {
        Unlisted::Reveal => pass,
        Unlisted::Detect => "detect",
        Unlisted::Withhold => "withhold",
    };
    format!(
        "{} in results, {} in arguments",
        word(explanation.unlisted_results, "reveal"),
        word(explanation.unlisted_arguments, "pass")
    )
}

fn fields(out: &mut String, client: &ClientView, policy: &Policy) {
    let cap = client
        .at_most
        .as_ref()
        .map_or_else(String::new, |role| format!(" (at most what {role} sees)"));
    let _ = writeln!(out, "\nclient {}{cap}", client.client);
    let width = policy
        .fields()
        .map(|(_, name)| name.chars().count())
        .max()
        .unwrap_or(0);
    for field in &client.fields {
        let group = field
            .group
            .as_ref()
            .map_or_else(String::new, |group| format!("  [{group}]"));
        let _ = writeln!(
            out,
            "  {:<width$}  {:<12}{group}",
            field.field,
            view(field.view)
        );
    }
}

fn view(view: View) -> String {
    match view {
        View::Mask(mask) => format!("mask {}", mask.as_str()),
        View::Reveal | View::Token | View::Withhold => view.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::config::tests::example;
    use crate::cli::terminal::tests::run;

    #[test]
    fn the_rule_and_the_views_are_named_and_unknown_names_are_mended() {
        let folder = example();
        let ask = |role, tool| {
            let path = folder.path().to_str().unwrap();
            run(
                &["explain", "--config", path, "--role", role, "--tool", tool],
                "",
            )
        };
        let nurse = ask("nurse", "read_record").out;
        for part in [
            "policy.yaml:54 tools.read_record",
            "mask last4",
            "withhold",
            "client care-agent (at most",
        ] {
            assert!(nurse.contains(part), "{part}: {nurse}");
        }
        assert!(
            ask("nurse", "store_record")
                .out
                .contains("denied: role_not_allowed")
        );
        let unknown = ask("nurce", "read_record");
        assert_eq!(unknown.exit, Exit::Usage);
        assert!(
            unknown.err.contains("did you mean `nurse`"),
            "{}",
            unknown.err
        );
    }
}
