use crate::cli::config::tests::example;
use crate::cli::exit::Exit;
use crate::cli::terminal::tests::run;

const CASES: &str = r#"
cases:
  - name: a physician reads a record whole
    as: { roles: [physician] }
    client: chart-web
    call: { tool: read_record, arguments: { patient_id: p-1 } }
    answer: { structured: { record: { patient_id: p-1, data: { ssn: "123-45-6789", date_of_birth: "1971-02-03" } } } }
    expect:
      rule: tools.read_record
      listed: true
      server: { patient_id: p-1 }
      client: { record: { patient_id: p-1, data: { ssn: "123-45-6789", date_of_birth: "1971-02-03" }, integrity_hash: (any), created_at: (any), created_by: test, version: 1 } }
  - name: a record of another patient is not released
    as: { roles: [physician] }
    client: chart-web
    call: { tool: read_record, arguments: { patient_id: p-1 } }
    answer: { result: { structuredContent: { record: { patient_id: p-2, data: {}, integrity_hash: "00" } } } }
    expect: { code: -32051 }
  - name: what is stored goes up sealed
    as: { roles: [physician], claims: { department: icu } }
    client: chart-web
    call: { tool: store_record, arguments: { patient_id: p-1, department: icu, record: { patient_id: p-1, data: { ssn: "123-45-6789" } } } }
    expect:
      server: { patient_id: p-1, department: icu, record: { patient_id: p-1, data: { ssn: (sealed) }, integrity_hash: (any), created_at: (any), created_by: test, version: 1 } }
  - name: a nurse exports nothing
    as: { roles: [nurse] }
    client: chart-web
    call: { tool: export_records }
    expect: { decision: deny, reason: role_not_allowed, listed: false }
"#;

fn cases(text: &str, more: &[&str]) -> (crate::cli::terminal::tests::Ended, tempfile::TempDir) {
    let folder = example();
    let file = folder.path().join("cases.txt");
    std::fs::write(&file, text).unwrap();
    let config = folder.path().to_str().unwrap().to_owned();
    let mut arguments = vec!["test", "--config", config.as_str(), file.to_str().unwrap()];
    arguments.extend(more);
    (run(&arguments, ""), folder)
}

#[test]
fn cases_that_hold_are_well_and_say_which_rules_were_not_asked() {
    let (ended, _folder) = cases(CASES, &[]);
    assert_eq!(ended.exit, Exit::Well, "{}{}", ended.out, ended.err);
    assert!(
        ended.out.contains("ok     a nurse exports nothing"),
        "{}",
        ended.out
    );
    assert!(ended.out.contains("4 cases, 0 failed"));
    assert!(
        ended
            .out
            .contains("rules that no case asks: tools.delete_record"),
        "{}",
        ended.out
    );
    let (ended, _folder) = cases(CASES, &["--all-rules"]);
    assert_eq!(ended.exit, Exit::Finding);
}

#[test]
fn a_case_that_does_not_hold_is_a_failure_with_its_place_and_what_differs() {
    for (from, to, told) in [
        (
            "integrity_hash: (any), created_at: (any), created_by: test, version: 1 } }\n  - name: a record",
            "version: 2 } }\n  - name: a record",
            "client.record.version: expected 2, saw 1",
        ),
        (
            "reason: role_not_allowed",
            "reason: not_listed",
            "reason: expected not_listed, saw role_not_allowed",
        ),
        (
            "decision: deny, reason: role_not_allowed, listed: false",
            "listed: true",
            "decision: expected permit, saw deny (role_not_allowed)",
        ),
        (
            "ssn: (sealed)",
            "ssn: \"123-45-6789\"",
            "server.record.data.ssn: expected \"123-45-6789\", saw {",
        ),
        (
            "code: -32051",
            "code: -32050",
            "code: expected -32050, saw -32051",
        ),
        (
            "rule: tools.read_record",
            "rule: tools.lab_*",
            "rule: expected tools.lab_*, saw tools.read_record",
        ),
        (
            "client: chart-web\n    call: { tool: export_records }",
            "client: chart-wep\n    call: { tool: export_records }",
            "`chart-wep` is none of the policy's",
        ),
    ] {
        assert!(CASES.contains(from), "{from}");
        let (ended, _folder) = cases(&CASES.replacen(from, to, 1), &[]);
        assert_eq!(ended.exit, Exit::Finding, "{to}");
        assert!(ended.out.contains(told), "{told}: {}", ended.out);
        assert!(ended.out.contains("cases.txt:"), "{}", ended.out);
    }
}

#[test]
fn machines_get_a_suite_a_file() {
    let junit = tempfile::tempdir().unwrap();
    let file = junit.path().join("junit.xml");
    let wrong = CASES.replace("code: -32051", "code: -32050");
    let (ended, _folder) = cases(&wrong, &["--junit", file.to_str().unwrap()]);
    assert_eq!(ended.exit, Exit::Finding);
    let text = std::fs::read_to_string(file).unwrap();
    assert!(
        text.contains("tests=\"4\" skipped=\"0\" failures=\"1\"") && text.contains("<failure "),
        "{text}"
    );
}

#[test]
fn a_file_that_is_no_case_is_told_with_its_place() {
    let (ended, _folder) = cases("cases:\n  - nmae: x\n", &[]);
    assert_eq!(ended.exit, Exit::Finding);
    assert!(ended.err.contains("cases.txt:2:5"), "{}", ended.err);
    let (ended, _folder) = cases("cases: []\n", &[]);
    assert_eq!(ended.exit, Exit::Usage);
}

#[test]
fn the_documented_cases_hold_for_the_example() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/policy-tests.md");
    let page = std::fs::read_to_string(page).unwrap();
    let documented = page.split("```yaml\n").nth(1).unwrap();
    let (documented, _) = documented.split_once("```").unwrap();
    let (ended, _folder) = cases(documented, &[]);
    assert_eq!(ended.exit, Exit::Well, "{}{}", ended.out, ended.err);
}

#[test]
fn a_case_may_be_of_somebody_who_broke_the_glass_for_one_patient() {
    let case = |name: &str, patient: &str, sees: &str| {
        format!(
            "  - name: {name}\n    as: {{ roles: [nurse], emergency: p-1 }}\n    client: chart-web\n    call: {{ tool: read_record, arguments: {{ patient_id: {patient} }} }}\n    answer: {{ structured: {{ record: {{ patient_id: {patient}, data: {{ ssn: \"123-45-6789\" }} }} }} }}\n    expect:\n      client: {{ record: {{ patient_id: {patient}, data: {{ ssn: \"{sees}\" }}, integrity_hash: (any), created_at: (any), created_by: test, version: 1 }} }}\n"
        )
    };
    let own = case("the patient is seen whole", "p-1", "123-45-6789");
    let other = case("nobody else is", "p-2", "***-**-6789");
    let folder = example();
    let file = folder.path().join("cases.txt");
    std::fs::write(&file, format!("cases:\n{own}{other}")).unwrap();
    let section =
        "emergency: { roles: [nurse], grants: { view: physician, tools: [read_record] } }\n";
    std::fs::write(folder.path().join("emergency.yaml"), section).unwrap();
    let config = folder.path().to_str().unwrap();
    let ended = run(&["test", "--config", config, file.to_str().unwrap()], "");
    assert_eq!(ended.exit, Exit::Well, "{}{}", ended.out, ended.err);
}
