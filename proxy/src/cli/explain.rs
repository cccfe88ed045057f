//! `explain`: the rule that decides on a call, and what each field becomes.

use std::fmt::Write as _;

use clap::Args;
use safeguard_policy::explain::ClientView;
use safeguard_policy::field::{Unlisted, View};
use safeguard_policy::names::nearest;
use safeguard_policy::{Explanation, FieldExplanation, Policy, Surroundings, explain_surroundings};

use super::config::{ConfigArgs, Mode, load};
use super::{CliError, Exit, Terminal};

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The caller's role
    #[arg(long, required_unless_present = "fields")]
    role: Option<String>,
    /// The tool, the prompt, the template of a resource, or the method (completion/complete)
    #[arg(long, required_unless_present = "fields", conflicts_with = "fields")]
    tool: Option<String>,
    /// Instead of a call, every PHI field: its group, names and places, where it is written, and what each role sees
    #[arg(long)]
    fields: bool,
    /// With --fields: a table, or JSON
    #[arg(long, value_enum, default_value_t = Form::Text, requires = "fields")]
    format: Form,
    /// The purpose of use; without it the only one that the role has
    #[arg(long)]
    purpose: Option<String>,
}

/// How fields are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    Text,
    Json,
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
    if let Some(role) = arguments
        .role
        .as_deref()
        .filter(|role| !roles.contains(role))
    {
        return Err(unknown("role", role, &roles));
    }
    if arguments.fields {
        let only = arguments.role.as_deref();
        let printed = match arguments.format {
            Form::Text => fields_table(policy, only),
            Form::Json => fields_json(policy, only),
        };
        terminal.out.write_all(printed.as_bytes())?;
        return Ok(Exit::Well);
    }
    let (Some(role), Some(tool)) = (arguments.role.as_deref(), arguments.tool.as_deref()) else {
        return Err(CliError::Usage(
            "name a --role and a --tool, or ask for --fields".to_owned(),
        ));
    };
    let known = [
        policy.tools(),
        policy.prompts(),
        policy.resources(),
        policy.methods(),
    ]
    .concat();
    if !known.contains(&tool) {
        return Err(unknown("tool, prompt, resource or method", tool, &known));
    }
    let purpose = arguments.purpose.as_deref();
    let explanation = safeguard_policy::explain(policy, role, tool, purpose);
    let printed = text(role, tool, &explanation, policy);
    terminal.out.write_all(printed.as_bytes())?;
    Ok(Exit::Well)
}

/// Every field with what the roles (or one of them) see of it.
fn of_roles(policy: &Policy, only: Option<&str>) -> Vec<FieldExplanation> {
    let mut fields = safeguard_policy::explain_fields(policy);
    for field in &mut fields {
        field
            .views
            .retain(|(role, _)| only.is_none_or(|only| only == role));
    }
    fields
}

fn fields_table(policy: &Policy, only: Option<&str>) -> String {
    let mut out = String::new();
    for field in of_roles(policy, only) {
        let group = field
            .group
            .map_or_else(String::new, |group| format!("  [{group}]"));
        // Writing to a String does not fail.
        let _ = writeln!(out, "{}{group}  {}", field.field, field.told);
        if !field.own_name {
            let _ = writeln!(
                out,
                "  (a member of this very name means something else here)"
            );
        }
        let by_view: Vec<String> = field
            .views
            .iter()
            .map(|(role, of)| format!("{role}: {}", view(*of)))
            .collect();
        let _ = writeln!(out, "  {}", by_view.join("   "));
        if let Some(how) = field.searchable {
            let _ = writeln!(out, "  searchable, spelt {}", how.as_str());
        }
        wrapped(&mut out, &field.also);
    }
    around(&mut out, &explain_surroundings(policy));
    out
}

/// What stands beside the fields.
fn around(out: &mut String, beside: &Surroundings) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "\nnot PHI: whoever may call may see");
    wrapped(out, &beside.not_phi);
    for (tool, place, field) in &beside.places {
        let field = field.as_deref().unwrap_or("not PHI");
        let _ = writeln!(out, "tool {tool}: {place} is {field}");
    }
    for (client, role) in &beside.caps {
        let _ = writeln!(out, "client {client}: sees at most what {role} sees");
    }
}

/// Columns of a line of names.
const COLUMNS: usize = 110;

/// Names in lines of a terminal's width.
fn wrapped(out: &mut String, names: &[String]) {
    let mut line = String::new();
    for name in names {
        if !line.is_empty() && line.len() + name.len() + 2 > COLUMNS {
            let _ = writeln!(out, "    {line}");
            line.clear();
        }
        let comma = if line.is_empty() { "" } else { ", " };
        line = format!("{line}{comma}{name}");
    }
    if !line.is_empty() {
        let _ = writeln!(out, "    {line}");
    }
}

fn fields_json(policy: &Policy, only: Option<&str>) -> String {
    let fields: Vec<serde_json::Value> = of_roles(policy, only)
        .into_iter()
        .map(|field| {
            let views: serde_json::Map<String, serde_json::Value> = field.views.iter().map(|(role, of)| (role.clone(), view(*of).into())).collect();
            serde_json::json!({
                "field": field.field, "group": field.group, "from": field.told, "own_name": field.own_name, "also": field.also,
                "searchable": field.searchable.map(safeguard_policy::policy::Normalize::as_str), "views": views,
            })
        })
        .collect();
    let beside = explain_surroundings(policy);
    let places: Vec<serde_json::Value> = beside
        .places
        .iter()
        .map(|(tool, place, field)| serde_json::json!({ "tool": tool, "place": place, "field": field }))
        .collect();
    let caps: serde_json::Map<String, serde_json::Value> = beside
        .caps
        .iter()
        .map(|(client, role)| (client.clone(), role.as_str().into()))
        .collect();
    let all = serde_json::json!({
        "fields": fields, "not_phi": beside.not_phi, "tools": places, "at_most": caps,
    });
    format!("{all:#}\n")
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

fn text(role: &str, tool: &str, explanation: &Explanation, policy: &Policy) -> String {
    let mut lines = vec![("call", format!("{role} of `{tool}`"))];
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
        ("patients", &explanation.limits),
        ("recipient", &explanation.recipient),
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

    #[test]
    fn every_field_is_shown_with_its_names_and_views_also_those_of_presets() {
        let folder = example();
        let policy = folder.path().join("policy.yaml");
        let text = std::fs::read_to_string(&policy).unwrap();
        let text = text.replace("phi:\n  domain", "phi:\n  presets: [fhir-r4@1]\n  domain");
        let rule = "  read_record:\n";
        let own = "    fields: { \"result.record.code[system=loinc].text\": diagnosis, result.unit: not_phi }\n";
        let text = text.replace(rule, &format!("{rule}{own}"));
        std::fs::write(&policy, text).unwrap();
        let path = folder.path().to_str().unwrap();
        let shown = run(&["explain", "--config", path, "--fields"], "").out;
        for part in [
            "ssn  [identity]",
            "policy.yaml:",
            "nurse: mask last4",
            "patient_ssn",
            "Patient.identifier[system=us-ssn].value",
            "telecom  [contact]  fhir-r4@1",
            "    patient_id, department, status",
            "tool read_record: result.record.code[system=loinc].text is diagnosis",
            "tool read_record: result.unit is not PHI",
            "client care-agent: sees at most what care_agent sees",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        let json = run(
            &[
                "explain", "--config", path, "--fields", "--role", "nurse", "--format", "json",
            ],
            "",
        )
        .out;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            json["fields"][0]["views"],
            serde_json::json!({ "nurse": "mask last4" })
        );
    }
}
