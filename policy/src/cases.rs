//! Cases for `safeguard test`: who calls what, what the MCP server answers, and what each side is to see of it. Only read
//! here; what carries them out is the proxy's.

use serde_json::{Map, Value};

use crate::document::keys::cases::CASES;
use crate::document::read::Section;
use crate::document::report::Report;
use crate::document::tree::{Entry, Kind, Node, Place, Scalar};
use crate::document::{Source, check, yaml};
use crate::finding::{Finding, codes};

/// One case, as it is written.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it shows, as a sentence.
    pub name: String,
    /// The source's name.
    pub file: String,
    /// The line on which it begins, from 1.
    pub line: u32,
    /// Who calls.
    pub who: Who,
    /// The software, by its name in `clients`.
    pub client: Option<String>,
    /// What is called.
    pub call: Asked,
    /// What the MCP server answers.
    pub answer: Option<Answer>,
    /// What is to come of it.
    pub expect: Expect,
}

/// Who calls.
#[derive(Debug, Clone)]
pub struct Who {
    /// `sub`
    pub subject: String,
    /// The token's roles.
    pub roles: Vec<String>,
    /// `purpose_of_use`
    pub purpose: Option<String>,
    /// All claims.
    pub claims: Value,
    /// Whether the token proves a second factor.
    pub second_factor: bool,
    /// Whether it is software without a person.
    pub service: bool,
    /// Seconds since the login.
    pub login_age: i64,
    /// `acr`
    pub acr: Option<String>,
    /// `emergency`: the patient of one that goes on.
    pub emergency: Option<String>,
}

/// What is called.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// A tool by its name, with its arguments.
    Tool(String, Value),
    /// A resource by its URI.
    Resource(String),
    /// A prompt by its name, with its arguments.
    Prompt(String, Value),
}

/// What the MCP server answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// `structuredContent`, and a copy of it as text.
    Structured(Value),
    /// One block of text.
    Text(String),
    /// The whole result.
    Result(Value),
}

/// What the policy is to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The call goes on.
    Permit,
    /// It does not.
    Deny,
    /// It would with a fresher or stronger login.
    StepUp,
}

/// What is to come of a case; what is none is not looked at.
#[derive(Debug, Clone)]
pub struct Expect {
    /// The decision.
    pub decision: Expected,
    /// Why it is denied.
    pub reason: Option<String>,
    /// The rule that decides.
    pub rule: Option<String>,
    /// Whether the caller's list has it.
    pub listed: Option<bool>,
    /// The arguments as the MCP server gets them.
    pub server: Option<Value>,
    /// The content as the caller gets it.
    pub client: Option<Value>,
    /// The first text as the caller gets it.
    pub text: Option<String>,
    /// The JSON-RPC error in place of an answer.
    pub code: Option<i64>,
}

/// Reads files of cases. No case of a file with an error is given; findings have their places.
#[must_use]
pub fn read(sources: &[Source]) -> (Vec<Case>, Vec<Finding>) {
    let mut report = Report::new(sources);
    let mut cases = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        let Some(tree) = yaml::parse(number, &source.text, &mut report) else {
            continue;
        };
        check::mapping(&tree, CASES, "", &mut report);
        for node in Section::new(&tree, CASES).items("cases") {
            if matches!(node.kind, Kind::Map(_)) {
                cases.extend(case(node, &mut report));
            }
        }
    }
    let broken = report.has_errors();
    (if broken { Vec::new() } else { cases }, report.finish())
}

fn case(node: &Node, report: &mut Report<'_>) -> Option<Case> {
    let section = Section::new(node, crate::document::keys::cases::CASE);
    let expect = section.section("expect");
    let case = Case {
        name: section.owned("name")?,
        file: report.file(node.place),
        line: node.place.line,
        who: who(section.section("as"))?,
        client: section.owned("client"),
        call: call(section.section("call"), report)?,
        answer: answer(section.section("answer"), report),
        expect: Expect {
            decision: match expect.text("decision") {
                Some("deny") => Expected::Deny,
                Some("step_up") => Expected::StepUp,
                _ => Expected::Permit,
            },
            reason: expect.owned("reason"),
            rule: expect.owned("rule"),
            listed: expect.entry_of("listed").map(|_| expect.flag("listed")),
            server: expect.node_of("server").map(json),
            client: expect.node_of("client").map(json),
            text: expect.owned("text"),
            code: expect.integer("code"),
        },
    };
    consistent(&case, expect, report);
    Some(case)
}

/// An expectation that nothing could meet is a mistake in the case, not in the policy.
fn consistent(case: &Case, section: Section<'_>, report: &mut Report<'_>) {
    let expect = &case.expect;
    let seen = expect.client.is_some() || expect.text.is_some();
    let denied = expect.decision != Expected::Permit;
    let wrong: Option<(&'static str, &str, &str)> = if denied && (seen || expect.server.is_some()) {
        Some((
            "decision",
            "a call that is denied shows nothing to either side",
            "remove server, client and text",
        ))
    } else if !denied && expect.reason.is_some() {
        Some((
            "reason",
            "a call that is permitted has no reason",
            "write decision: deny",
        ))
    } else if seen && expect.code.is_some() {
        Some((
            "code",
            "an error comes in place of an answer",
            "keep one of them",
        ))
    } else if seen && case.answer.is_none() {
        Some((
            "client",
            "the server answers nothing that the caller could see",
            "write answer: { structured: … }",
        ))
    } else {
        None
    };
    if let Some((key, what, fix)) = wrong {
        report
            .error(codes::CONTRADICTION, section.place_of(key), what)
            .fix(fix);
    }
}

fn who(section: Section<'_>) -> Option<Who> {
    let mut claims = section.node_of("claims").map_or(Value::Null, json);
    if claims.is_null() {
        claims = Value::Object(Map::new());
    }
    Some(Who {
        subject: section.owned("subject")?,
        roles: section.texts("roles"),
        purpose: section.owned("purpose"),
        claims,
        second_factor: section.flag("second_factor"),
        service: section.flag("service"),
        login_age: section.integer("login_age")?,
        acr: section.owned("acr"),
        emergency: section.owned("emergency"),
    })
}

fn call(section: Section<'_>, report: &mut Report<'_>) -> Option<Asked> {
    let arguments = section
        .node_of("arguments")
        .map_or_else(|| Value::Object(Map::new()), json);
    let asked = [
        section
            .owned("tool")
            .map(|name| Asked::Tool(name, arguments.clone())),
        section.owned("resource").map(Asked::Resource),
        section
            .owned("prompt")
            .map(|name| Asked::Prompt(name, arguments)),
    ];
    one(
        asked,
        section.place(),
        "a call names a tool, a resource or a prompt",
        report,
    )
}

fn answer(section: Section<'_>, report: &mut Report<'_>) -> Option<Answer> {
    let answers = [
        section
            .node_of("structured")
            .map(|node| Answer::Structured(json(node))),
        section.owned("text").map(Answer::Text),
        section
            .node_of("result")
            .map(|node| Answer::Result(json(node))),
    ];
    if !section.is_written() {
        return None;
    }
    one(
        answers,
        section.place(),
        "an answer is structured, text or a result",
        report,
    )
}

/// The one that is there.
fn one<T>(of: [Option<T>; 3], place: Place, what: &str, report: &mut Report<'_>) -> Option<T> {
    let mut there = of.into_iter().flatten();
    let found = there.next();
    if found.is_none() || there.next().is_some() {
        report
            .error(codes::BAD_VALUE, place, what)
            .fix("write one of them");
    }
    found
}

/// A value as JSON: unquoted `null`, `true`, `false` and numbers as YAML's core schema has them, all else text.
fn json(node: &Node) -> Value {
    match &node.kind {
        Kind::Null => Value::Null,
        Kind::Scalar(scalar) => scalar_as_json(scalar),
        Kind::List(items) => Value::Array(items.iter().map(json).collect()),
        Kind::Map(entries) => {
            let member = |entry: &Entry| (entry.name.clone(), json(&entry.value));
            Value::Object(entries.iter().map(member).collect())
        }
    }
}

fn scalar_as_json(scalar: &Scalar) -> Value {
    let text = scalar.written.as_str();
    let number = || {
        let begins = text.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        let number = begins.then(|| serde_json::from_str::<serde_json::Number>(text).ok());
        number.flatten().map(Value::Number)
    };
    match text {
        _ if !scalar.plain => Value::String(text.to_owned()),
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => number().unwrap_or_else(|| Value::String(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_one(text: &str) -> (Vec<Case>, Vec<String>) {
        let source = Source {
            name: "cases.yaml".to_owned(),
            text: text.to_owned(),
        };
        let (cases, findings) = read(&[source]);
        (cases, findings.iter().map(ToString::to_string).collect())
    }

    const GOOD: &str = r#"
cases:
  - name: a nurse sees the year
    as: { roles: [nurse], claims: { department: icu } }
    call: { tool: read_record, arguments: { patient_id: p-1, n: 3, x: 1.50, t: "3", z: null, b: true, d: 2026-01-02 } }
    answer: { structured: { record: { dob: "1971-02-03" } } }
    expect: { rule: tools.read_record, listed: false, client: { record: { dob: "1971" } } }
"#;

    #[test]
    fn a_case_is_read_with_its_place_and_yaml_is_what_json_would_be() {
        let (cases, findings) = read_one(GOOD);
        assert_eq!(findings, Vec::<String>::new());
        let case = &cases[0];
        assert_eq!((case.file.as_str(), case.line), ("cases.yaml", 3));
        let arguments = json!({ "patient_id": "p-1", "n": 3, "x": 1.5, "t": "3", "z": null, "b": true, "d": "2026-01-02" });
        assert_eq!(case.call, Asked::Tool("read_record".to_owned(), arguments));
        assert_eq!(case.expect.decision, Expected::Permit);
        assert_eq!(case.expect.listed, Some(false));
        assert!(case.who.second_factor && case.who.login_age == 10);
    }

    #[test]
    fn what_no_run_could_meet_is_a_finding_at_its_place() {
        for (from, to, wrong) in [
            (
                "rule: tools.read_record,",
                "decision: deny,",
                "shows nothing to either side",
            ),
            (
                "rule: tools.read_record,",
                "reason: not_listed,",
                "has no reason",
            ),
            (
                "rule: tools.read_record,",
                "code: -32051,",
                "in place of an answer",
            ),
            (
                "    answer: { structured: { record: { dob: \"1971-02-03\" } } }\n",
                "",
                "answers nothing",
            ),
            (
                "tool: read_record,",
                "",
                "names a tool, a resource or a prompt",
            ),
            (
                "tool: read_record,",
                "tool: a, prompt: b,",
                "names a tool, a resource or a prompt",
            ),
            ("roles: [nurse],", "role: nurse,", "unknown_key"),
            (
                "{ structured:",
                "{ text: x, structured:",
                "an answer is structured",
            ),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let (cases, findings) = read_one(&GOOD.replace(from, to));
            assert!(cases.is_empty(), "{to}");
            let told = findings.join("\n");
            assert!(
                told.contains(wrong) && told.contains("cases.yaml:"),
                "{told}"
            );
        }
    }
}
