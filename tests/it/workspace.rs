//! The law of imports: the compiler, not a reviewer, keeps keys and plaintext away from what need not see them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// The crates that never import each other.
const FIVE: [&str; 5] = [
    "safeguard-audit",
    "safeguard-vault",
    "safeguard-wire",
    "safeguard-policy",
    "safeguard-certs",
];

fn metadata(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The packages of the workspace, each with what it depends on (tests and build scripts too).
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = metadata(&["--no-deps"]);
    let name = |value: &Value| value["name"].as_str().expect("a name").to_owned();
    let packages = metadata["packages"].as_array().expect("packages").iter();
    packages
        .map(|package| {
            (
                name(package),
                package["dependencies"]
                    .as_array()
                    .expect("a list")
                    .iter()
                    .map(name)
                    .collect(),
            )
        })
        .collect()
}

#[test]
fn the_five_never_import_each_other() {
    let dependencies = dependencies();
    for package in FIVE {
        for other in FIVE.into_iter().chain(["safeguard"]) {
            assert!(
                !dependencies[package].contains(other),
                "{package} imports {other}"
            );
        }
    }
}

#[test]
fn the_binary_imports_exactly_the_five_of_the_workspace() {
    let dependencies = dependencies();
    let ours: BTreeSet<_> = dependencies["safeguard"]
        .iter()
        .filter(|name| name.starts_with("safeguard"))
        .map(String::as_str)
        .collect();
    assert_eq!(ours, FIVE.into_iter().collect());
}

#[test]
fn nothing_imports_the_tests_or_the_benches() {
    for (package, imports) in dependencies() {
        for last in ["safeguard-tests", "safeguard-benches"] {
            assert!(!imports.contains(last), "{package} imports {last}");
        }
    }
}

#[test]
fn the_pure_crates_know_neither_sockets_nor_threads_of_a_runtime() {
    let dependencies = dependencies();
    for package in ["safeguard-wire", "safeguard-vault", "safeguard-policy"] {
        for forbidden in [
            "tokio",
            "pingora",
            "hyper",
            "reqwest",
            "tokio-postgres",
            "rustls",
            "log",
            "tracing",
        ] {
            assert!(
                !dependencies[package].contains(forbidden),
                "{package} is pure, but imports {forbidden}"
            );
        }
    }
}

#[test]
fn every_package_keeps_the_workspace_lints_and_forbids_unsafe_code() {
    for package in metadata(&["--no-deps"])["packages"]
        .as_array()
        .expect("packages")
    {
        let manifest = package["manifest_path"].as_str().expect("a path");
        let text = std::fs::read_to_string(manifest).expect("a manifest");
        let inherits = text.contains("[lints]\nworkspace = true");
        assert!(
            inherits || text.contains("unsafe_code = \"forbid\""),
            "{manifest} has the lints"
        );
    }
}
