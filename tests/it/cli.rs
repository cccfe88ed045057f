//! The subcommands that need no running sidecar.

use safeguard_tests::configuration::{KEYS, Setup};
use safeguard_tests::sidecar::{command, filter, path_text};
use serde_json::Value;

fn setup() -> Setup {
    let setup = Setup::new("http://127.0.0.1:3000/mcp");
    setup.write();
    setup
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[tokio::test]
async fn check_takes_the_example_unchanged_with_no_environment_but_its_secrets() {
    let mut setup = setup();
    setup.set("KEYCLOAK_CLIENT_SECRET", "a-secret-of-keycloak");
    let example = safeguard_tests::real::fixture("config");
    let output = command(&setup, &["check", "--config", path_text(&example)]).await;
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    let words = text(&output.stdout) + &text(&output.stderr);
    for secret in KEYS
        .iter()
        .map(|(_, value)| *value)
        .chain(["a-secret-of-keycloak", safeguard_tests::tokens::SECRET])
    {
        assert!(!words.contains(secret), "no secret is printed");
    }
}

#[tokio::test]
async fn check_says_every_mistake_at_once_with_its_place_and_its_mending() {
    let mut setup = setup();
    for (from, to) in [
        ("operation: search", "operatoin: search"),
        (
            "roles: [physician]\n    patient: args.patient_id\n    record: args.record",
            "roles: [physican]\n    patient: args.patient_id\n    record: args.record",
        ),
        (
            "claims.department == args.department",
            "claims.department = args.department",
        ),
        ("storage: encrypted", "storage: plain"),
        ("retention_days: 2555", "retention_days: 2191"),
        ("enabled: true\n  retention", "enabled: false\n  retention"),
    ] {
        let file = if from.contains("retention") {
            "audit.yaml"
        } else {
            "policy.yaml"
        };
        setup.replace(file, from, to);
    }
    setup = setup.extended("tls:\n  min_version: \"1.3\"\n");
    setup.write();
    let config = setup.config();
    let output = command(
        &setup,
        &["check", "--format", "json", "--config", path_text(&config)],
    )
    .await;
    assert_eq!(output.status.code(), Some(78));
    let findings: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let words = findings.to_string();
    for part in ["operatoin", "physican", "2192", "given twice"] {
        assert!(words.contains(part), "{part} is found: {words}");
    }
    let readable = command(&setup, &["check", "--config", path_text(&config)]).await;
    let words = text(&readable.stdout) + &text(&readable.stderr);
    assert!(
        words.contains("policy.yaml:") && words.contains('^') && words.contains("did you mean"),
        "{words}"
    );
    let run = command(&setup, &["run", "--config", path_text(&config)]).await;
    assert_eq!(run.status.code(), Some(78), "run refuses the same");
}

#[tokio::test]
async fn a_missing_variable_and_a_wrong_usage_have_their_exit_codes() {
    let mut setup = setup();
    setup.environment.remove("PHI_KEY");
    let config = setup.config();
    let output = command(&setup, &["run", "--config", path_text(&config)]).await;
    assert_eq!(output.status.code(), Some(78), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("PHI_KEY"));
    let usage = command(&setup, &["run", "--no-such-flag"]).await;
    assert_eq!(usage.status.code(), Some(2));
}

#[tokio::test]
async fn explain_names_the_rule_and_each_fields_view() {
    let setup = setup();
    let config = setup.config();
    let output = command(
        &setup,
        &[
            "explain",
            "--config",
            path_text(&config),
            "--role",
            "nurse",
            "--tool",
            "read_record",
            "--purpose",
            "TREAT",
        ],
    )
    .await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let words = text(&output.stdout);
    for part in [
        "policy.yaml:",
        "ssn",
        "last4",
        "diagnosis",
        "withhold",
        "medications",
        "reveal",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
}

#[tokio::test]
async fn the_schema_is_a_json_schema_that_the_example_satisfies() {
    let setup = setup();
    let output = command(&setup, &["schema"]).await;
    assert_eq!(output.status.code(), Some(0));
    let schema: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    let file = setup.folder.path().join("schema.json");
    std::fs::write(&file, &output.stdout).expect("a file");
    let script = "import json, sys, jsonschema; jsonschema.Draft202012Validator.check_schema(json.load(open(sys.argv[1])))";
    let checked = tokio::process::Command::new(safeguard_tests::real::python())
        .args(["-c", script])
        .arg(&file)
        .output()
        .await
        .expect("python");
    assert!(checked.status.success(), "{}", text(&checked.stderr));
}

#[tokio::test]
async fn certs_init_makes_a_ca_that_certs_show_reads() {
    let setup = setup();
    let folder = setup.folder.path().join("dev");
    let output = command(
        &setup,
        &[
            "certs",
            "init",
            path_text(&folder),
            "--dns",
            "localhost",
            "--client",
            "web.healthcare.example.com",
        ],
    )
    .await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for name in [
        "ca.pem",
        "ca.key",
        "server.pem",
        "server.key",
        "client.pem",
        "client.key",
    ] {
        assert!(folder.join(name).is_file(), "{name}");
    }
    let shown = command(
        &setup,
        &["certs", "show", path_text(&folder.join("client.pem"))],
    )
    .await;
    assert!(
        text(&shown.stdout).contains("web.healthcare.example.com"),
        "{}",
        text(&shown.stdout)
    );
}

#[tokio::test]
async fn a_minted_token_is_taken_and_inspected() {
    let setup = setup();
    let config = setup.config();
    let arguments = [
        "token",
        "mint",
        "--config",
        path_text(&config),
        "--sub",
        "dr.mint",
        "--role",
        "physician",
        "--amr",
        "otp",
        "--purpose",
        "TREAT",
        "--claim",
        "department=\"cardiology\"",
    ];
    let output = command(&setup, &arguments).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let token = text(&output.stdout).trim().to_owned();
    assert_eq!(token.split('.').count(), 3);

    let upstream =
        safeguard_tests::upstream::Upstream::answering(serde_json::json!({"content": []})).await;
    let sidecar = safeguard_tests::sidecar::Sidecar::start(Setup::new(&upstream.url())).await;
    let mut client = sidecar.client(&token).await;
    client
        .succeed("list_departments", &serde_json::json!({}))
        .await;
}

#[tokio::test]
async fn a_generated_key_is_32_bytes_for_a_ring_and_for_fernet() {
    let first = filter(&["keys", "generate"], "").await.expect("a key");
    let second = filter(&["keys", "generate"], "").await.expect("a key");
    assert_ne!(first, second);
    let bytes = base64_simd::URL_SAFE
        .decode_to_vec(first.trim())
        .expect("URL-safe base64 with padding");
    assert_eq!(bytes.len(), 32);
}

#[tokio::test]
async fn check_online_finds_what_is_there_and_what_is_not() {
    let upstream =
        safeguard_tests::upstream::Upstream::answering(serde_json::json!({"content": []})).await;
    let database = safeguard_tests::database::Database::create().await;
    let mut setup = Setup::new(&upstream.url()).with_database(&database);
    setup.write();
    let config = setup.config();
    let arguments = ["check", "--online", "--config", path_text(&config)];
    let well = command(&setup, &arguments).await;
    let words = text(&well.stdout) + &text(&well.stderr);
    assert_eq!(well.status.code(), Some(0), "{words}");
    assert!(words.contains("what it names is there"), "{words}");
    for (_, value) in KEYS {
        assert!(!words.contains(value), "no secret is printed");
    }

    setup.set("PGPASSWORD", "not-the-password");
    let key = setup.folder.path().join("tls/key.pem");
    std::fs::remove_file(key).expect("the server's key");
    let bad = command(&setup, &[&arguments[..], &["--format", "json"]].concat()).await;
    assert_eq!(bad.status.code(), Some(1), "{}", text(&bad.stderr));
    let findings: Value = serde_json::from_slice(&bad.stdout).expect("JSON");
    let at = |code: &str| {
        let all = findings["findings"].as_array().expect("findings").iter();
        let errors = all.filter(|finding| finding["severity"] == "error");
        let files = errors.filter(|finding| finding["code"] == code);
        files
            .map(|finding| finding["file"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let named = |files: &[String], name: &str| files.iter().any(|file| file.ends_with(name));
    assert!(named(&at("unusable_file"), "tls.yaml"), "{findings}");
    assert!(named(&at("unreachable"), ".yaml"), "{findings}");
    let offline = command(&setup, &["check", "--config", path_text(&config)]).await;
    assert_eq!(offline.status.code(), Some(0), "nothing is opened");
}
