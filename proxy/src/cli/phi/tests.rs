//! Against the vectors of the Python side, and what is refused.

use clap::Parser;
use serde_json::{Value, json};

use crate::cli::Cli;
use crate::cli::Exit;
use crate::cli::key_file::tests::key_file;
use crate::cli::terminal::tests::run;

const KEY: &[u8] = b"cGhpLWtleS1vZi10aGUtdGVzdHMtMDEyMzQ1Njc4OWE=";
const NATIVE: [&str; 4] = ["--key-id", "k", "--domain", "d"];

fn vectors(name: &str) -> Vec<Value> {
    let path = format!(
        "{}/../tests/fixtures/vectors/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn text<'c>(case: &'c Value, name: &str) -> &'c str {
    case[name].as_str().unwrap()
}

#[test]
fn every_fernet_record_of_python_opens_to_what_it_was() {
    for case in vectors("fernet_fields.jsonl") {
        let (_folder, key) = key_file(text(&case, "key").as_bytes());
        let opened = run(
            &["phi", "open", "--key-file", &key],
            text(&case, "encrypted"),
        );
        assert_eq!(opened.exit, Exit::Well, "{}", opened.err);
        let (ours, theirs): (Value, Value) = (
            serde_json::from_str(&opened.out).unwrap(),
            serde_json::from_str(text(&case, "record")).unwrap(),
        );
        assert_eq!(ours, theirs);

        let sealed = run(
            &["phi", "seal", "--format", "fernet", "--key-file", &key],
            text(&case, "record"),
        );
        let (ours, theirs): (Value, Value) = (
            serde_json::from_str(&sealed.out).unwrap(),
            serde_json::from_str(text(&case, "encrypted")).unwrap(),
        );
        for (field, value) in theirs.as_object().unwrap() {
            assert_eq!(
                ours[field].get("_value").is_some(),
                value.get("_value").is_some(),
                "{field}"
            );
        }
        let back = run(&["phi", "open", "--key-file", &key], &sealed.out);
        let back: Value = serde_json::from_str(&back.out).unwrap();
        assert_eq!(
            back,
            serde_json::from_str::<Value>(text(&case, "record")).unwrap()
        );
    }
}

#[test]
fn every_native_token_opens_in_its_place_and_nowhere_else() {
    for case in vectors("hs1.jsonl") {
        let (_folder, key) = key_file(text(&case, "key").as_bytes());
        let field = text(&case, "field");
        let record = json!({ field: { "_encrypted": true, "_value": case["token"] } }).to_string();
        let mut arguments = vec![
            "phi",
            "open",
            "--key-file",
            &key,
            "--key-id",
            text(&case, "key_id"),
            "--domain",
            text(&case, "domain"),
        ];
        if let Some(patient) = case["patient"].as_str() {
            arguments.extend(["--patient", patient]);
        }
        for more in [&[][..], &["--field", field]] {
            let opened = run(&[&arguments[..], more].concat(), &record);
            let value: Value = serde_json::from_str(&opened.out).unwrap();
            assert_eq!(
                value[field],
                serde_json::from_str::<Value>(text(&case, "plaintext")).unwrap()
            );
        }
        arguments.extend(["--field", field, "--patient", "somebody else"]);
        if case["patient"].is_null() {
            let refused = run(&arguments, &record);
            assert_eq!((refused.exit, refused.out.as_str()), (Exit::Finding, ""));
        }
    }
}

#[test]
fn what_is_sealed_opens_again_and_the_rest_keeps_its_bytes() {
    let (_folder, key) = key_file(KEY);
    let record = r#"{ "ssn" : "123-45-6789", "test_results":0,"other":[1.0, "ü"] }"#;
    let arguments = |verb| [&["phi", verb, "--key-file", &key][..], &NATIVE].concat();
    let sealed = run(&arguments("seal"), record).out;
    assert!(
        !sealed.contains("6789") && sealed.ends_with("\"other\":[1.0, \"ü\"] }\n"),
        "{sealed}"
    );
    assert_eq!(run(&arguments("open"), &sealed).out.trim_end(), record);
    let only = [&arguments("open")[..], &["--field", "ssn"]].concat();
    let part: Value = serde_json::from_str(&run(&only, &sealed).out).unwrap();
    assert!(part["ssn"] == "123-45-6789" && part["test_results"]["_encrypted"] == true);
}

#[test]
fn lines_stay_lines_and_the_first_bad_one_ends_it() {
    let (_folder, key) = key_file(KEY);
    let arguments = [
        &[
            "phi",
            "seal",
            "--lines",
            "--key-file",
            &key,
            "--field",
            "note",
        ][..],
        &NATIVE,
    ]
    .concat();
    let ended = run(
        &arguments,
        "{\"note\":1}\n{\"note\":2}\n{\"note\":secret}\n{\"note\":4}\n",
    );
    assert_eq!((ended.exit, ended.out.lines().count()), (Exit::Finding, 2));
    assert!(
        ended.err.starts_with("error: line 3: ") && !ended.err.contains("secret"),
        "{}",
        ended.err
    );
}

#[test]
fn native_without_its_binding_is_a_wrong_usage() {
    let (_folder, key) = key_file(KEY);
    for more in [&[][..], &["--key-id", "k"], &["--domain", ""]] {
        let arguments = [&["phi", "seal", "--key-file", &key][..], more].concat();
        let ended = run(&arguments, "{}");
        assert_eq!(ended.exit, Exit::Usage, "{more:?}");
        assert!(ended.err.contains("--key-id and --domain"), "{}", ended.err);
    }
    let half = [
        "safeguard",
        "phi",
        "open",
        "--key-file",
        &key,
        "--key-id",
        "x",
    ];
    assert!(Cli::try_parse_from(half).is_err());
}
