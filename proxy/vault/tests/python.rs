//! Differential tests against a live CPython: the canonical form and, where the `cryptography` package is there,
//! Fernet, `hs1`, tokens of agents, searchable values, JWE and the record MAC's second version, read or written by
//! code of another language.
//!
//! `SAFEGUARD_DOCUMENTS` says how many documents are compared (24,000 unless said otherwise). `SAFEGUARD_PYTHON` names a Python with `cryptography`; where `CI` or `SAFEGUARD_REQUIRE_REAL` is set it must be
//! there. Elsewhere the `python3` of the path is used for what it can do.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test: its helpers may fail and say why"
)]

use safeguard_vault::carry::{Binding, Carrier};
use safeguard_vault::fernet::Reading;
use safeguard_vault::mac::{RecordMac, RecordMacRing, RecordV2, RingMac};
use safeguard_vault::ring::{KeyRing, RingKey};
use safeguard_vault::search::{Normalize, Searcher};
use safeguard_vault::{
    Format, KeyMaterial, Opener, Sealer, Wrap, canonical, fernet, python, random_key,
};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference.py");
const DOCUMENTS_DEFAULT: usize = 24_000;
/// Documents that are held in memory at once.
const DOCUMENTS_AT_ONCE: usize = 50_000;
const NOW: i64 = 1_800_000_000;

/// The interpreter to compare with. `None` only outside CI, on a machine without what the test needs.
fn interpreter(needs_cryptography: bool) -> Option<String> {
    let required =
        std::env::var_os("CI").is_some() || std::env::var_os("SAFEGUARD_REQUIRE_REAL").is_some();
    let named = std::env::var("SAFEGUARD_PYTHON").ok();
    assert!(
        named.is_some() || !required,
        "set SAFEGUARD_PYTHON to a python that has the cryptography package"
    );
    let python = named.clone().unwrap_or_else(|| "python3".to_owned());
    let probe = if needs_cryptography {
        "import cryptography"
    } else {
        "import json"
    };
    let works = Command::new(&python)
        .args(["-c", probe])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|it| it.success());
    assert!(works || named.is_none(), "SAFEGUARD_PYTHON can't `{probe}`");
    if !works {
        eprintln!("not compared with python: `{python}` can't `{probe}`");
    }
    works.then_some(python)
}

/// What the reference prints for the lines given to it.
fn reference(python: &str, arguments: &[&str], input: String) -> Vec<Value> {
    let mut child = Command::new(python)
        .arg(REFERENCE)
        .args(arguments)
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn documents(python: &str, seed: u64, count: usize) -> Vec<[String; 3]> {
    let lines = reference(
        python,
        &["documents", &seed.to_string(), &count.to_string()],
        String::new(),
    );
    assert_eq!(lines.len(), count);
    lines
        .into_iter()
        .map(|line| serde_json::from_value(line).unwrap())
        .collect()
}

/// A seed that changes from run to run, so that over time ever new documents are compared; shown on failure.
fn seed() -> u64 {
    let key = random_key().unwrap();
    u64::from_le_bytes(*key.expose().first_chunk().unwrap()) >> 1
}

#[test]
fn random_documents_have_the_forms_that_python_gives_them() {
    let Some(python) = interpreter(false) else {
        return;
    };
    let wanted = std::env::var("SAFEGUARD_DOCUMENTS").map(|count| count.parse().unwrap());
    let wanted = wanted.unwrap_or(DOCUMENTS_DEFAULT);
    let known = (wanted / 2).min(DOCUMENTS_AT_ONCE);
    compare_documents(&python, 7, known);
    for begun in (known..wanted).step_by(DOCUMENTS_AT_ONCE) {
        compare_documents(&python, seed(), DOCUMENTS_AT_ONCE.min(wanted - begun));
    }
}

fn compare_documents(python: &str, seed: u64, count: usize) {
    for [source, sorted, unsorted] in documents(python, seed, count) {
        let form = canonical::canonicalize(source.as_bytes());
        let form = form.map(|form| String::from_utf8(form).unwrap());
        assert_eq!(form, Ok(sorted), "seed {seed}: {source}");
        let form = python::dumps(source.as_bytes()).unwrap();
        assert_eq!(
            std::str::from_utf8(&form).unwrap(),
            unsorted,
            "seed {seed}: {source}"
        );
    }
}

#[test]
fn fernet_tokens_are_read_by_the_other_side_both_ways() {
    let Some(python) = interpreter(true) else {
        return;
    };
    let seed = seed();
    let (mut input, mut expected) = (String::new(), Vec::new());
    for [source, _, unsorted] in documents(&python, seed, 500) {
        let key = random_key().unwrap();
        let text = key.to_base64().to_string();
        let ring = ring("k", key);
        let token = seal(&ring, Format::Fernet, &source, None);
        input += &format!(
            "{}\n",
            json!({"key": text, "token": token, "value": source})
        );
        expected.push((ring, unsorted));
    }
    let answers = reference(&python, &["fernet"], input);
    assert_eq!(answers.len(), expected.len());
    for (answer, (ring, unsorted)) in answers.iter().zip(expected) {
        assert_eq!(answer["inside"].as_str().unwrap(), unsorted, "seed {seed}");
        let opener = Opener::new(Arc::clone(&ring), "clinic");
        let sealed = answer["sealed"].as_str().unwrap();
        assert!(fernet::is_well_formed(sealed, fernet::Reading::Strict));
        assert_eq!(
            opener.open(sealed, "ssn", None).unwrap().expose(),
            unsorted,
            "seed {seed}"
        );
    }
}

#[test]
fn hs1_tokens_are_read_by_a_reader_of_another_language() {
    let Some(python) = interpreter(true) else {
        return;
    };
    let seed = seed();
    let (mut input, mut expected) = (String::new(), Vec::new());
    for (index, [source, ..]) in documents(&python, seed, 500).into_iter().enumerate() {
        let key = random_key().unwrap();
        let text = key.to_base64().to_string();
        let patient = [None, Some(""), Some("p-1"), Some("é")][index % 4];
        let token = seal(&ring("phi-2026", key), Format::Native, &source, patient);
        let case = json!({"key": text, "key_id": "phi-2026", "token": token, "domain": "clinic", "field": "ssn", "patient": patient});
        input += &format!("{case}\n");
        expected.push(source);
    }
    let answers = reference(&python, &["hs1"], input);
    assert_eq!(answers.len(), expected.len());
    for (answer, source) in answers.iter().zip(expected) {
        assert_eq!(answer.as_str().unwrap(), source, "seed {seed}");
    }
}

#[test]
fn damaged_fernet_tokens_are_read_leniently_as_python_reads_them() {
    let Some(python) = interpreter(true) else {
        return;
    };
    let seed = seed();
    let (mut read, mut refused) = (0, 0);
    let arguments = ["lenient", &seed.to_string(), "20000"];
    for case in reference(&python, &arguments, String::new()) {
        let key = KeyMaterial::from_base64(text(&case, "key")).unwrap();
        let key = fernet::FernetKey::new(&key);
        let token = text(&case, "token");
        let inside = fernet::decrypt_any([&key], token, Reading::Lenient);
        let inside = inside.map(|it| String::from_utf8(it.to_vec()).unwrap());
        let expected = case["inside"].as_str();
        assert_eq!(inside.ok().as_deref(), expected, "seed {seed}: {token:?}");
        // What is read strictly is read alike.
        if let Ok(strict) = key.decrypt(token) {
            assert_eq!(Some(strict.as_slice()), expected.map(str::as_bytes));
        }
        *if expected.is_some() {
            &mut read
        } else {
            &mut refused
        } += 1;
    }
    assert!(read > 1000 && refused > 1000, "{read} {refused}");
}

#[test]
fn tokens_of_agents_are_read_by_a_reader_of_another_language() {
    let Some(python) = interpreter(true) else {
        return;
    };
    let seed = seed();
    let (mut input, mut expected) = (String::new(), Vec::new());
    for (index, [source, ..]) in documents(&python, seed, 300).into_iter().enumerate() {
        let key = random_key().unwrap();
        let key_text = key.to_base64().to_string();
        let patient = [None, Some(""), Some("p-1"), Some("é")][index % 4];
        let session = [None, Some(&b""[..]), Some(&b"\x00\xff"[..])][index % 3];
        let carrier = Carrier::new(ring("phi-2026", key), "clinic");
        let binding = Binding { patient, session };
        let token = carrier
            .issue("ssn", binding, source.as_bytes(), NOW)
            .unwrap();
        let session = session.map(|it| it.iter().map(|b| format!("{b:02x}")).collect::<String>());
        let case = json!({"key": key_text, "key_id": "phi-2026", "token": token, "domain": "clinic", "field": "ssn", "patient": patient, "session": session});
        input += &format!("{case}\n");
        expected.push(json!([NOW, source]));
    }
    let answers = reference(&python, &["sgt1"], input);
    assert_eq!(answers, expected, "seed {seed}");
}

#[test]
fn searchable_values_are_read_and_made_anew_by_another_language() {
    let Some(python) = interpreter(true) else {
        return;
    };
    let seed = seed();
    let (mut input, mut expected) = (String::new(), Vec::new());
    for [source, _, unsorted] in documents(&python, seed, 2000) {
        let key = random_key().unwrap();
        let key_text = key.to_base64().to_string();
        let searcher = Searcher::new(ring("phi-2026", key), "clinic");
        let Ok(token) = searcher.seal("ssn", source.as_bytes(), Normalize::Exact) else {
            continue;
        };
        let case = json!({"key": key_text, "key_id": "phi-2026", "token": token, "domain": "clinic", "field": "ssn"});
        input += &format!("{case}\n");
        expected.push(json!(unsorted));
    }
    assert!(expected.len() > 100, "seed {seed}");
    let answers = reference(&python, &["hsx1"], input);
    assert_eq!(answers, expected, "seed {seed}");
}

#[test]
fn jwes_are_read_by_the_other_side_both_ways() {
    let Some(python) = interpreter(true) else {
        return;
    };
    let seed = seed();
    let (mut input, mut expected) = (String::new(), Vec::new());
    for (index, [source, ..]) in documents(&python, seed, 300).into_iter().enumerate() {
        let key = random_key().unwrap();
        let key_text = key.to_base64().to_string();
        let patient = [None, Some(""), Some("p-1"), Some("é")][index % 4];
        let ring = ring("phi-2026", key);
        let token = seal(&ring, Format::Jwe, &source, patient);
        let case = json!({"key": key_text, "key_id": "phi-2026", "token": token, "domain": "clinic", "field": "ssn", "patient": patient, "value": source});
        input += &format!("{case}\n");
        expected.push((ring, patient, source));
    }
    let answers = reference(&python, &["jwe"], input);
    assert_eq!(answers.len(), expected.len());
    for (answer, (ring, patient, source)) in answers.iter().zip(expected) {
        assert_eq!(text(answer, "inside"), source, "seed {seed}");
        let opener = Opener::new(ring, "clinic");
        let opened = opener.open(text(answer, "sealed"), "ssn", patient);
        assert_eq!(opened.unwrap().expose(), source, "seed {seed}");
    }
}

#[test]
fn record_macs_of_the_second_version_are_computed_alike_by_another_language() {
    let Some(python) = interpreter(true) else {
        return;
    };
    let seed = seed();
    let (mut input, mut expected) = (String::new(), Vec::new());
    for (index, [_, sorted, _]) in documents(&python, seed, 300).into_iter().enumerate() {
        let key = random_key().unwrap();
        let patient = [None, Some(""), Some("p-1"), Some("é")][index % 4];
        let version = [1, 0, -1, i64::MAX, i64::MIN][index % 5];
        let record = RecordV2 {
            domain: "clinic",
            patient,
            version,
            created_by: "dr-é",
            created_at: "2026-11-23T05:06:07.000000",
            data: sorted.as_bytes(),
        };
        let case = json!({"key": key.to_base64().as_str(), "key_id": "i-1", "domain": "clinic", "patient": patient, "version": version,
            "created_by": record.created_by, "created_at": record.created_at, "data": sorted});
        input += &format!("{case}\n");
        let ring = RecordMacRing::new(vec![RingMac {
            id: "i-1".to_owned(),
            from_unix: 0,
            mac: RecordMac::new(key.expose()),
        }]);
        expected.push(json!(ring.seal_v2(&record, NOW).unwrap()));
    }
    let answers = reference(&python, &["iv2"], input);
    assert_eq!(answers, expected, "seed {seed}");
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap()
}

fn ring(id: &str, key: KeyMaterial) -> Arc<KeyRing> {
    Arc::new(
        KeyRing::new(vec![RingKey {
            id: id.to_owned(),
            from_unix: 0,
            key,
        }])
        .unwrap(),
    )
}

fn seal(ring: &KeyRing, format: Format, json: &str, patient: Option<&str>) -> String {
    let mut out = Vec::new();
    let mut sealer = Sealer::new(ring, "clinic", format, Wrap::String, NOW).unwrap();
    sealer
        .seal("ssn", patient, json.as_bytes(), &mut out)
        .unwrap();
    serde_json::from_slice(&out).unwrap()
}
