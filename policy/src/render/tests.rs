use super::*;
use crate::load::tests::{example, example_env};
use crate::{Source, load};

fn broken() -> Vec<Source> {
    let mut sources = example();
    sources[1].text = sources[1]
        .text
        .replace("session_timeout:", "sesion_timeout:");
    sources
}

#[test]
fn text_shows_place_caret_and_suggestion() {
    let loaded = load(&broken(), &example_env());
    let text = render(&loaded.findings, Colour::Off);
    let expected = "\
error[unknown_key]: `keycloak.sesion_timeout` is no key of the configuration
 --> keycloak.yaml:10:3
  |
10 |   sesion_timeout: 900  # 15 minutes
   |   ^^^^^^^^^^^^^^
   = help: did you mean `session_timeout`?
";
    let expected = expected
        .replace("\n --> ", "\n  --> ")
        .replace("\n  |\n", "\n   |\n");
    assert!(text.contains(&expected), "{text}");
    assert!(text.ends_with("1 error, 1 warning\n"), "{text}");
    assert!(!text.contains('\u{1b}'));
    assert!(render(&loaded.findings, Colour::On).contains("\u{1b}[1;31merror[unknown_key]"));
}

#[test]
fn no_finding_is_no_text() {
    assert_eq!(render(&[], Colour::Off), "");
}

#[test]
fn control_characters_of_a_document_do_not_reach_the_terminal() {
    let sources = [Source {
        name: "a\u{1b}[2J.yaml".into(),
        text: "\"x\\e[2J\u{202e}\": 1\n".into(),
    }];
    let text = render(&load(&sources, &example_env()).findings, Colour::Off);
    assert!(
        !text.contains('\u{1b}') && !text.contains('\u{202e}'),
        "{text}"
    );
}

#[test]
fn json_and_sarif_carry_code_and_place() {
    let findings = load(&broken(), &example_env()).findings;
    let json = to_json(&findings);
    assert_eq!(json["errors"], 1);
    assert_eq!(json["warnings"], 1);
    let error = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|f| f["severity"] == "error")
        .unwrap();
    assert_eq!(error["code"], "unknown_key");
    assert_eq!(
        (error["line"].as_u64(), error["column"].as_u64()),
        (Some(10), Some(3))
    );
    let sarif = to_sarif(&findings);
    assert_eq!(sarif["version"], "2.1.0");
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let error = results.iter().find(|r| r["level"] == "error").unwrap();
    let region = &error["locations"][0]["physicalLocation"]["region"];
    assert_eq!(region["startLine"], 10);
    assert_eq!(region["endColumn"], 17);
}
