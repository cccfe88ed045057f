//! The README's first command, whole.

use safeguard_tests::real;
use serde_json::Value;
use tokio::process::Command;

async fn demo(arguments: &[&str]) -> std::process::Output {
    let folder = tempfile::tempdir().expect("a folder");
    let child = Command::new(real::binary())
        .arg("demo")
        .args(arguments)
        .env("TMPDIR", folder.path())
        .current_dir(folder.path())
        .kill_on_drop(true)
        .stdin(std::process::Stdio::null())
        .output();
    safeguard_tests::wait::within("the demo", child)
        .await
        .expect("a process")
}

fn messages<'a>(report: &'a Value, member: &str) -> &'a Vec<Value> {
    report[member]
        .as_array()
        .unwrap_or_else(|| panic!("{member} is a list"))
}

#[tokio::test]
async fn the_demo_shows_its_promises_kept() {
    let output = demo(&["--json"]).await;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for member in ["agent_saw", "upstream_saw", "upstream_stored"] {
        assert!(!messages(&report, member).is_empty(), "{member}");
    }
    for message in messages(&report, "agent_saw")
        .iter()
        .chain(messages(&report, "upstream_saw"))
    {
        assert_eq!(
            message["jsonrpc"], "2.0",
            "a parsed JSON-RPC message: {message}"
        );
    }
    assert_eq!(report["audit"]["verified"], true);
    assert!(!messages(&report["audit"], "events").is_empty());
    assert_eq!(report["integrity"]["tampered_record"], "refused");
    assert!(
        report["upstream_stored"].to_string().contains("_encrypted"),
        "the upstream stores envelopes"
    );
}

#[tokio::test]
async fn the_demo_is_readable_without_a_terminal() {
    let output = demo(&[]).await;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        !text.contains('\u{1b}'),
        "no colours where there is no terminal"
    );
    assert!(text.contains("hs1."), "it shows what the upstream holds");
}
