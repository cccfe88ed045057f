//! The log's tree, checkpoints and proofs in the hands of a program that is none of ours: Go's own note and tlog.

use std::path::Path;
use std::process::Command;

use safeguard_tests::real;
use safeguard_tests::sidecar::{Sidecar, path_text};
use serde_json::Value;

use crate::audit::worked;

async fn printed(sidecar: &Sidecar, arguments: &[&str]) -> String {
    let config = sidecar.setup.config();
    let arguments = [arguments, &["--config", path_text(&config)]].concat();
    let output = sidecar.command(&arguments).await;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

fn foreign(key: &str, export: &Path, proofs: &[String]) -> Result<String, String> {
    let output = Command::new(real::tlog())
        .arg(key)
        .arg(export)
        .args(proofs)
        .output()
        .expect("the verifier");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

#[tokio::test]
async fn gos_note_and_tlog_find_every_proof_right_and_every_change_wrong() {
    let sidecar = worked().await;
    let key = printed(&sidecar, &["audit", "public-key"]).await;
    let key = key.lines().next().expect("a key");
    let query = ["audit", "query", "--format", "jsonl", "--limit", "100000"];
    let export = printed(&sidecar, &query).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("export.jsonl");
    std::fs::write(&file, &export).expect("written");
    let mut proofs = Vec::new();
    for (number, line) in export.lines().enumerate().step_by(7).take(5) {
        let event: Value = serde_json::from_str(line).expect("JSON");
        let uid = event["uid"].as_str().expect("a uid");
        let proof = printed(&sidecar, &["audit", "prove", "--uid", uid]).await;
        let path = folder.path().join(format!("{number}.tlog-proof"));
        std::fs::write(&path, proof).expect("written");
        proofs.push(path_text(&path).to_owned());
    }
    let held = foreign(key, &file, &proofs).expect("everything holds");
    assert_eq!(held.trim(), "5 proofs hold");

    // One letter of one event.
    let changed = export.replacen("find_patient", "find_patienT", 1);
    assert_ne!(changed, export);
    std::fs::write(&file, changed).expect("written");
    let refused = foreign(key, &file, &proofs).expect_err("another tree");
    assert!(refused.contains("signs the root"), "{refused}");
    std::fs::write(&file, &export).expect("written");

    let proof = std::fs::read_to_string(&proofs[1]).expect("a proof");
    std::fs::write(&proofs[1], proof.replacen("index 7", "index 6", 1)).expect("written");
    let refused = foreign(key, &file, &proofs).expect_err("another place");
    assert!(refused.contains("proof of inclusion"), "{refused}");

    let stranger = "safeguard/audit/key/x+9d4e3a5c+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    foreign(stranger, &file, &proofs).expect_err("another key");
}
