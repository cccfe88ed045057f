//! A first policy for a server, to be filled in: every tool, resource and prompt that it lists, each with a guess and the guess's
//! reason. Nobody may call anything (`roles: []`) until a person has written who.

#![expect(
    clippy::indexing_slicing,
    reason = "reading serde_json's Value by name gives null for what is absent"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use safeguard_policy::guess;
use serde_json::Value;

use super::client::Lists;

/// Words of a description that are repeated, at most.
const WORDS_CHARS_MAX: usize = 100;
/// How deep schemas are looked into, in levels.
const LEVELS_MAX: usize = 16;

/// Names that most often name whose record it is.
const PATIENT_NAMES: [&str; 8] = [
    "patient_id",
    "patientId",
    "patient",
    "subject_id",
    "subjectId",
    "mrn",
    "member_id",
    "memberId",
];

/// What the first word of a tool's name lets one guess of its operation.
const VERBS: [(&str, &[&str]); 6] = [
    ("search", &["search", "find", "lookup", "list", "query"]),
    (
        "read",
        &[
            "get",
            "read",
            "fetch",
            "show",
            "view",
            "describe",
            "summarize",
        ],
    ),
    (
        "create",
        &["create", "add", "store", "insert", "new", "register"],
    ),
    (
        "update",
        &["update", "set", "edit", "change", "patch", "write", "put"],
    ),
    ("delete", &["delete", "remove", "clear", "purge"]),
    ("export", &["export", "download", "send", "share", "print"]),
];

/// The draft as YAML.
pub(super) fn draft(lists: &Lists) -> String {
    let mut out = format!(
        "# Drafted by `safeguard learn` from {}. A start, not a policy: nobody may call anything until you say who.\n\
         # 1. Fill in `roles`, and `tools.*.roles` with who may call each; a line that you delete denies its tool.\n\
         # 2. Look at every guess (each says why); what is PHI and named nowhere is withheld from answers.\n\
         # 3. `safeguard check`, then cases for `safeguard test`.\n",
        one_line(&lists.server, WORDS_CHARS_MAX)
    );
    phi(lists, &mut out);
    out.push_str("\nroles: {}   # physician: { purposes: [TREAT], reveal: [ssn] }\n");
    out.push_str("\nclients: {}   # chart-web: { certificate: web.example.com }\n");
    tools(lists, &mut out);
    resources(lists, &mut out);
    prompts(lists, &mut out);
    out
}

/// The PHI that the schemas name, by the field that each name is guessed to be.
fn phi(lists: &Lists, out: &mut String) {
    let mut fields: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for tool in &lists.tools {
        let name = tool["name"].as_str().unwrap_or_default();
        for side in ["inputSchema", "outputSchema"] {
            for (member, schema) in members(&tool[side]) {
                if let Some((field, why)) = guessed(&member, schema) {
                    let place = format!("{name}'s {side}: {why}");
                    fields
                        .entry(field)
                        .or_default()
                        .entry(member)
                        .or_insert(place);
                }
            }
        }
    }
    out.push_str("\nphi:\n  domain: CHANGE-ME   # who shares sealed values, such as the hospital's name\n  unlisted: { results: withhold, arguments: withhold }\n  fields:");
    if fields.is_empty() {
        out.push_str(
            " {}   # no name in the schemas is one of PHI: name what the server's texts hold\n",
        );
        return;
    }
    out.push('\n');
    for (field, names) in fields {
        let also: Vec<String> = names
            .keys()
            .filter(|name| **name != field)
            .map(|name| quoted(name))
            .collect();
        let also = if also.is_empty() {
            String::new()
        } else {
            format!(" also: [{}] ", also.join(", "))
        };
        let why = names
            .values()
            .next()
            .map(String::as_str)
            .unwrap_or_default();
        let _ = writeln!(
            out,
            "    {}: {{{also}}}   # {}",
            quoted(&field),
            one_line(why, WORDS_CHARS_MAX)
        );
    }
}

fn tools(lists: &Lists, out: &mut String) {
    if lists.tools.is_empty() {
        return;
    }
    out.push_str("\ntools:\n");
    for tool in &lists.tools {
        let name = tool["name"].as_str().unwrap_or_default();
        let said = tool["description"].as_str().unwrap_or_default();
        if !said.is_empty() {
            let _ = writeln!(out, "  # {}", one_line(said, WORDS_CHARS_MAX));
        }
        let (operation, why) = operation(name, tool);
        let _ = writeln!(
            out,
            "  {}:\n    operation: {operation}   # {why}\n    roles: []",
            quoted(name)
        );
        if operation != "none" {
            let names: Vec<String> = members(&tool["inputSchema"])
                .into_iter()
                .map(|(name, _)| name)
                .collect();
            match PATIENT_NAMES.iter().find(|known| names.iter().any(|name| name == *known)) {
                Some(patient) => {
                    let _ = writeln!(out, "    patient: args.{patient}   # its name");
                }
                None => out.push_str("    patient: none   # no argument names one: result.patients[*].id if the answer does\n"),
            }
        }
    }
}

fn resources(lists: &Lists, out: &mut String) {
    if lists.templates.is_empty() {
        return;
    }
    out.push_str("\nresources:\n");
    for template in &lists.templates {
        let uri = template["uriTemplate"].as_str().unwrap_or_default();
        let variable = uri
            .split_once('{')
            .and_then(|(_, rest)| rest.split_once('}'))
            .map(|(name, _)| name);
        let patient = variable.map_or_else(|| "none".to_owned(), |name| format!("uri.{name}"));
        let _ = writeln!(
            out,
            "  {}:\n    operation: read\n    roles: []\n    patient: {}   # the first variable of the template",
            quoted(uri),
            quoted(&patient)
        );
    }
}

fn prompts(lists: &Lists, out: &mut String) {
    if lists.prompts.is_empty() {
        return;
    }
    out.push_str("\nprompts:\n");
    for prompt in &lists.prompts {
        let name = prompt["name"].as_str().unwrap_or_default();
        let _ = writeln!(
            out,
            "  {}:\n    operation: read\n    roles: []\n    patient: none   # args.NAME if an argument names one",
            quoted(name)
        );
    }
}

/// What a tool does, and why one thinks so. In doubt it writes: that is recorded before it is sent.
fn operation(name: &str, tool: &Value) -> (&'static str, String) {
    let touches = ["inputSchema", "outputSchema"]
        .iter()
        .flat_map(|side| members(&tool[*side]))
        .any(|(member, schema)| {
            guessed(&member, schema).is_some() || PATIENT_NAMES.contains(&member.as_str())
        });
    let reads = tool["annotations"]["readOnlyHint"] == true;
    if !touches && tool["outputSchema"].is_object() {
        return ("none", "no name in its schemas is one of PHI".to_owned());
    }
    let first = name
        .split(['_', '-', '.', '/'])
        .next()
        .unwrap_or_default()
        .to_lowercase();
    let verb = VERBS
        .iter()
        .find(|(_, words)| words.iter().any(|word| first.starts_with(word)));
    match verb {
        Some((operation, _)) => (
            operation,
            format!("its name begins with {}", one_line(&first, 20)),
        ),
        None if reads => ("read", "it says readOnlyHint".to_owned()),
        None => (
            "update",
            "nothing says what it does; none, if it has nothing to do with patients".to_owned(),
        ),
    }
}

/// The field that a member is guessed to be, and why.
fn guessed(member: &str, schema: &Value) -> Option<(String, String)> {
    if let Some((field, preset)) = guess::field(member) {
        return Some((field, format!("its name, which {preset} knows")));
    }
    match schema["format"].as_str() {
        Some("email" | "idn-email") => Some(("email".to_owned(), "its format is email".to_owned())),
        Some("date") if member.to_lowercase().contains("birth") => Some((
            "date_of_birth".to_owned(),
            "a date with birth in its name".to_owned(),
        )),
        _ => None,
    }
}

/// Every named member of a schema, at any depth that is looked at.
fn members(schema: &Value) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    let mut open = vec![(schema, 0)];
    while let Some((schema, level)) = open.pop() {
        if level > LEVELS_MAX {
            continue;
        }
        match schema {
            Value::Object(object) => {
                if let Some(Value::Object(properties)) = object.get("properties") {
                    found.extend(
                        properties
                            .iter()
                            .map(|(name, schema)| (name.clone(), schema)),
                    );
                }
                open.extend(object.values().map(|value| (value, level + 1)));
            }
            Value::Array(items) => open.extend(items.iter().map(|value| (value, level + 1))),
            _ => {}
        }
    }
    found
}

/// A text as one line of a comment.
fn one_line(text: &str, chars_max: usize) -> String {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(chars_max) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or_default()),
        None => line,
    }
}

/// A text as a YAML key or value that can mean nothing else.
fn quoted(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        && !["true", "false", "null", "yes", "no", "on", "off"]
            .contains(&text.to_lowercase().as_str());
    match plain {
        true => text.to_owned(),
        false => Value::String(text.to_owned()).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn drafted() -> String {
        let tools = vec![
            json!({ "name": "get_patient", "description": "Reads\none: patient #1", "inputSchema": { "properties": { "patient_id": {} } }, "outputSchema": { "properties": { "ssn": {}, "contact": { "properties": { "mail": { "format": "email" } } } } } }),
            json!({ "name": "echo", "inputSchema": { "properties": { "message": {} } }, "outputSchema": { "properties": { "message": {} } } }),
            json!({ "name": "do it: now", "inputSchema": {} }),
        ];
        draft(&Lists {
            server: "clinic 1.0".to_owned(),
            tools,
            templates: vec![json!({ "uriTemplate": "patient://{id}/summary" })],
            prompts: vec![json!({ "name": "letter" })],
        })
    }

    #[test]
    fn a_guess_says_why_and_permits_nobody() {
        let text = drafted();
        for line in [
            "    ssn: {}   # get_patient's outputSchema: its name, which safe-harbor@1 knows",
            "  # Reads one: patient #1\n  get_patient:\n    operation: read   # its name begins with get\n    roles: []\n    patient: args.patient_id   # its name",
            "  echo:\n    operation: none   # no name in its schemas is one of PHI\n    roles: []\n",
            "  \"do it: now\":\n    operation: update   # nothing says what it does",
            "  \"patient://{id}/summary\":\n    operation: read\n    roles: []\n    patient: uri.id",
        ] {
            assert!(text.contains(line), "{line}\n---\n{text}");
        }
        assert!(
            text.contains("email") && !text.contains("roles: [a"),
            "{text}"
        );
    }

    #[test]
    fn a_draft_is_yaml_whatever_a_server_says() {
        let hostile = [
            "a\n- b", "'", "\"", "# x", "{", "*", "&a", "!t", "\u{0}", "- ", "a: b", "true", "",
        ];
        let tools = hostile.map(|text| json!({ "name": text, "description": text, "inputSchema": { "properties": { text: {} } } }));
        let text = draft(&Lists {
            server: "x\ny: z".to_owned(),
            tools: tools.to_vec(),
            ..Lists::default()
        });
        let found = safeguard_policy::load(
            &[safeguard_policy::Source {
                name: "draft".to_owned(),
                text,
            }],
            &Nothing,
        );
        assert!(
            found
                .findings
                .iter()
                .all(|finding| finding.code != "syntax"),
            "{:#?}",
            found.findings
        );
    }

    struct Nothing;

    impl safeguard_policy::Environment for Nothing {
        fn var(&self, _: &str) -> Option<String> {
            None
        }

        fn file(&self, _: &str) -> Result<Option<String>, String> {
            Ok(None)
        }
    }
}
