//! Byte for byte with Python: the vectors, and a live process with the seed's own two classes.

use std::path::{Path, PathBuf};

use safeguard_tests::real;
use safeguard_tests::sidecar::filter;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use crate::patients::data;

fn vectors(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(real::fixture("vectors").join(name)).expect("the vectors");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// A key in a file of its own.
struct KeyFile {
    _folder: TempDir,
    path: PathBuf,
}

impl KeyFile {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        std::fs::write(&path, text).expect("a key file");
        Self {
            _folder: folder,
            path,
        }
    }

    fn path(&self) -> &str {
        safeguard_tests::sidecar::path_text(&self.path)
    }
}

/// What the seed's classes answer to each request.
async fn seed(requests: &[Value]) -> Vec<Value> {
    let script: &Path = &real::fixture("seed/classes.py");
    let mut child = tokio::process::Command::new(real::python())
        .arg(script)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("python");
    let mut stdin = child.stdin.take().expect("a pipe");
    let text: String = requests
        .iter()
        .map(|request| format!("{request}\n"))
        .collect();
    let writer = tokio::spawn(async move { stdin.write_all(text.as_bytes()).await });
    let output = child.wait_with_output().await.expect("python");
    writer.await.expect("the writer").expect("a pipe");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let answers: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(answers.len(), requests.len(), "python answers everything");
    answers
}

fn text<'a>(case: &'a Value, member: &str) -> &'a str {
    case[member]
        .as_str()
        .unwrap_or_else(|| panic!("{member} in {case}"))
}

#[tokio::test]
async fn the_canonical_form_and_hash_are_those_of_the_vectors() {
    let cases = vectors("canonical_json.jsonl");
    let secret = text(&cases[0], "secret_hex").to_owned();
    let of_one_key: Vec<_> = cases
        .iter()
        .filter(|case| text(case, "secret_hex") == secret)
        .collect();
    let lines: String = of_one_key
        .iter()
        .map(|case| format!("{}\n", case["input"]))
        .collect();
    let key = KeyFile::new(&secret);
    let arguments = [
        "integrity",
        "hash",
        "--lines",
        "--key-format",
        "hex",
        "--key-file",
        key.path(),
    ];
    let hashes = filter(&arguments, &lines).await.expect("hashes");
    let canonical = filter(&[&arguments[..], &["--canonical"]].concat(), &lines)
        .await
        .expect("canonical forms");
    assert_eq!(hashes.lines().count(), of_one_key.len());
    for ((case, hash), canonical) in of_one_key.iter().zip(hashes.lines()).zip(canonical.lines()) {
        assert_eq!(hash, text(case, "hmac_sha256"), "{}", case["input"]);
        assert_eq!(canonical, text(case, "canonical"));
    }
}

#[tokio::test]
async fn a_live_python_computes_the_same_hash() {
    let secret = "00112233445566778899aabbccddeeff";
    let documents = [
        data().to_string(),
        r#"{"b":1.0,"a":1e400000,"c":-0.0}"#.replace("1e400000", "1e22"),
        r#"{"\u00fc":"ü","z":["😀","\ud83d\ude00"],"a":{"b":null,"A":true}}"#.to_owned(),
        r#"{"n":[1e16,1e-7,123456789012345678901234567890,0.1,5e-324,1.7976931348623157e308,-0]}"#
            .to_owned(),
        r#"{"dup":1,"dup":2,"control":"\u0000\u001f\u007f"}"#.to_owned(),
        "[]".to_owned(),
    ];
    let requests: Vec<_> = documents
        .iter()
        .map(|text| json!({"do": "hash", "secret": secret, "text": text}))
        .collect();
    let key = KeyFile::new(secret);
    for (document, expected) in documents.iter().zip(seed(&requests).await) {
        let arguments = [
            "integrity",
            "hash",
            "--key-format",
            "hex",
            "--key-file",
            key.path(),
        ];
        assert_eq!(
            filter(&arguments, document).await.expect("a hash").trim(),
            text(&expected, "hash"),
            "{document}"
        );
        let canonical = filter(&[&arguments[..], &["--canonical"]].concat(), document)
            .await
            .expect("a form");
        assert_eq!(
            canonical.trim_end_matches('\n'),
            text(&expected, "canonical")
        );
    }
}

#[tokio::test]
async fn what_python_refuses_is_refused() {
    let key = KeyFile::new("00");
    for document in [
        "",
        "{",
        "nan",
        "{\"a\":NaN}",
        "[Infinity]",
        "\"\\ud800\"",
        "1e999",
        "{\"a\":1}x",
    ] {
        let arguments = [
            "integrity",
            "hash",
            "--key-format",
            "hex",
            "--key-file",
            key.path(),
        ];
        let refusal = filter(&arguments, document).await.expect_err(document);
        assert!(refusal.starts_with("error: "), "{document}: {refusal}");
    }
}

#[tokio::test]
async fn fernet_records_open_both_ways_with_a_live_python() {
    let fernet_key = "cGhpLWtleS1vZi10aGUtdGVzdHMtMDEyMzQ1Njc4OWE=";
    let key = KeyFile::new(fernet_key);
    let records = [
        data(),
        json!({"ssn": "", "diagnosis": null, "medications": [], "test_results": {"a": [1.5, "ü", 1e22]}, "other": "stays"}),
        json!({"ssn": "\u{1F600}", "test_results": 12_345_678_901_234_567_u64}),
    ];
    for record in records {
        let seal = [
            "phi",
            "seal",
            "--format",
            "fernet",
            "--key-file",
            key.path(),
        ];
        let ours: Value =
            serde_json::from_str(&filter(&seal, &record.to_string()).await.expect("sealed"))
                .expect("JSON");
        let theirs = seed(&[json!({"do": "encrypt", "key": fernet_key, "record": record})])
            .await
            .remove(0);
        let back = seed(&[json!({"do": "decrypt", "key": fernet_key, "record": ours})])
            .await
            .remove(0);
        assert_eq!(back, record, "python opens what we sealed");
        let open = ["phi", "open", "--key-file", key.path()];
        let opened: Value =
            serde_json::from_str(&filter(&open, &theirs.to_string()).await.expect("opened"))
                .expect("JSON");
        assert_eq!(opened, record, "we open what python sealed");
        for (field, value) in record.as_object().expect("an object") {
            let sealed = ours[field].get("_value").and_then(Value::as_str);
            assert_eq!(
                sealed.is_some(),
                theirs[field].get("_value").is_some(),
                "{field}: falsy values stay, as in the class"
            );
            if let Some(token) = sealed {
                let inside = seed(&[json!({"do": "inside", "key": fernet_key, "token": token})])
                    .await
                    .remove(0);
                let dumps = seed(&[
                    json!({"do": "inside", "key": fernet_key, "token": theirs[field]["_value"]}),
                ])
                .await
                .remove(0);
                assert_eq!(inside, dumps, "the text inside is json.dumps of {value}");
            }
        }
    }
}

#[tokio::test]
async fn the_native_tokens_of_the_vectors_open_to_equal_values() {
    for case in vectors("hs1.jsonl") {
        let key = KeyFile::new(text(&case, "key"));
        let (field, id, domain) = (
            text(&case, "field"),
            text(&case, "key_id"),
            text(&case, "domain"),
        );
        let mut arguments = vec![
            "phi",
            "open",
            "--key-file",
            key.path(),
            "--key-id",
            id,
            "--domain",
            domain,
            "--field",
            field,
        ];
        if let Some(patient) = case["patient"].as_str() {
            arguments.extend(["--patient", patient]);
        }
        let record = json!({field: {"_encrypted": true, "_value": case["token"]}});
        let opened: Value = serde_json::from_str(
            &filter(&arguments, &record.to_string())
                .await
                .unwrap_or_else(|error| panic!("{case}: {error}")),
        )
        .expect("JSON");
        assert_eq!(
            opened[field],
            serde_json::from_str::<Value>(text(&case, "plaintext")).expect("JSON")
        );
    }
}
