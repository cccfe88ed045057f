//! A real spool, verified and asked.

use std::path::Path;

use safeguard_audit::{AuditKey, AuditKeys, Event, EventName, Outcome, SpoolSettings, Trail};

use crate::cli::Exit;
use crate::cli::config::tests::example;
use crate::cli::key_file::tests::key_file;
use crate::cli::terminal::tests::run;

const KEY: [u8; 32] = *b"audit-key-of-the-tests-012345678";

/// A log with three events beside its markers.
fn spool(folder: &Path) -> String {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let keys = AuditKeys::new(vec![AuditKey::new("aud", 0, KEY)]).unwrap();
        let patient = keys.pseudonym("p-1");
        let directory = folder.join("spool");
        let trail = Trail::open(
            SpoolSettings::new(&directory, folder.join("spool-state")),
            keys,
        )
        .unwrap();
        for (name, outcome) in [
            (EventName::UserLogin, Outcome::Success),
            (EventName::PhiRead, Outcome::Success),
            (EventName::PhiAccessDenied, Outcome::Denied),
        ] {
            let mut event = Event::new(name, outcome);
            if name == EventName::PhiRead {
                event.patients.push(patient);
            }
            trail.record(event).durable().await.unwrap();
        }
        trail.close().await.unwrap();
        directory.to_str().unwrap().to_owned()
    })
}

#[test]
fn a_log_is_verified_and_asked_with_a_key_file() {
    let folder = tempfile::tempdir().unwrap();
    let spool = spool(folder.path());
    let (_keys, key) = key_file(&KEY);
    let with = |verb: &str, more: &[&str]| {
        let arguments = [
            "audit",
            verb,
            "--spool",
            &spool,
            "--key-file",
            &key,
            "--key-format",
            "raw",
            "--key-id",
            "aud",
        ];
        run(&[&arguments[..], more].concat(), "")
    };
    let whole = with("verify", &[]);
    assert_eq!(whole.exit, Exit::Well, "{}", whole.err);
    assert!(whole.out.starts_with("whole: 5 records"), "{}", whole.out);
    assert_eq!(with("query", &["--format", "jsonl"]).out.lines().count(), 5);
    assert_eq!(
        with("query", &["--format", "jsonl", "--patient", "p-1"])
            .out
            .lines()
            .count(),
        1
    );
    assert_eq!(
        with("query", &["--format", "jsonl", "--outcome", "denied"])
            .out
            .lines()
            .count(),
        1
    );
    let both = with(
        "query",
        &[
            "--format",
            "csv",
            "--event",
            "phi_read",
            "--event",
            "user_login",
        ],
    );
    assert_eq!(both.out.lines().count(), 3, "a header and two");
    assert!(both.err.contains("not recorded"));
    assert!(with("query", &[]).out.contains("audit_stopped"));

    let segment = std::fs::read_dir(&spool)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    assert_eq!(with("verify", &[]).exit, Exit::Finding);
    assert_eq!(with("query", &["--format", "jsonl"]).exit, Exit::Finding);
}

#[test]
fn an_export_is_judged_with_the_public_key_alone() {
    let folder = tempfile::tempdir().unwrap();
    let spool = spool(folder.path());
    let (_keys, key) = key_file(&KEY);
    let log = [
        "--spool",
        &spool,
        "--key-file",
        &key,
        "--key-format",
        "raw",
        "--key-id",
        "aud",
    ];
    let public = run(&[&["audit", "public-key"], &log[..]].concat(), "").out;
    let out = folder.path().join("bundle");
    let out = out.to_str().unwrap();
    let export = ["--out", out, "--patient", "p-1", "--format", "fhir"];
    let made = run(&[&["audit", "export"], &log[..], &export].concat(), "");
    assert_eq!(made.exit, Exit::Well, "{}", made.err);
    assert!(made.out.starts_with("1 event in "), "{}", made.out);
    let judge = || {
        run(
            &["audit", "verify-export", out, "--public-key", public.trim()],
            "",
        )
    };
    let judged = judge();
    assert_eq!(judged.exit, Exit::Well, "{}", judged.err);
    assert!(
        judged.out.contains("as it was made: 1 event"),
        "{}",
        judged.out
    );
    assert!(
        !judged.out.contains("p-1"),
        "the patient by pseudonym only: {}",
        judged.out
    );
    let again = run(&[&["audit", "export"], &log[..], &export].concat(), "");
    assert_eq!(again.exit, Exit::Usage, "nothing is written over");
    std::fs::write(format!("{out}/events.fhir"), "{}").unwrap();
    let changed = judge();
    assert_eq!(changed.exit, Exit::Finding, "{}", changed.out);
    assert!(
        changed.err.contains("events.fhir is not as it was"),
        "{}",
        changed.err
    );
}

#[test]
fn the_configuration_names_the_log() {
    let folder = example();
    let path = folder.path().join("spool.yaml");
    let spool = folder.path().join("none");
    let text = format!(
        "state: {{ directory: {} }}\n",
        folder.path().join("state").display()
    );
    std::fs::write(path, text).unwrap();
    let ended = run(
        &[
            "audit",
            "verify",
            "--config",
            folder.path().to_str().unwrap(),
            "--spool",
            spool.to_str().unwrap(),
        ],
        "",
    );
    assert_eq!(ended.exit, Exit::Unavailable, "{}{}", ended.out, ended.err);
    let config = folder.path().to_str().unwrap();
    let spool = spool.to_str().unwrap();
    let named = ["audit", "query", "--config", config, "--spool", spool];
    let ended = run(&named, "");
    assert_eq!(ended.exit, Exit::Unavailable, "{}", ended.err);
    assert!(ended.err.contains(spool), "not PostgreSQL: {}", ended.err);
}

#[test]
fn the_sql_is_that_of_the_table() {
    assert!(
        run(&["audit", "schema"], "")
            .out
            .contains("CREATE TABLE IF NOT EXISTS \"audit_logs\"")
    );
    assert!(
        run(&["audit", "schema", "--table", "a.b"], "")
            .out
            .contains("\"a\".\"b\"")
    );
    assert_eq!(
        run(&["audit", "schema", "--table", "a.b.c"], "").exit,
        Exit::Usage
    );
    let folder = example();
    assert!(
        run(
            &[
                "audit",
                "schema",
                "--config",
                folder.path().to_str().unwrap()
            ],
            ""
        )
        .out
        .contains("\"audit_logs\"")
    );
}

#[test]
fn a_time_is_the_beginning_of_one_in_the_log() {
    for good in [
        "2026",
        "2026-11",
        "2026-11-22T22:30:00Z",
        "2026-11-22T22:30:00.000001Z",
    ] {
        assert_eq!(super::time(good).unwrap(), good.trim_end_matches('Z'));
    }
    for bad in [
        "",
        "26",
        "yesterday",
        "2026-11-22 22:30",
        "2026-11-22T22:30:00+01:00",
    ] {
        assert!(super::time(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_auditor_with_the_public_key_alone_verifies_a_copy_an_export_and_one_event() {
    let folder = tempfile::tempdir().unwrap();
    let spool = spool(folder.path());
    let (_keys, key) = key_file(&KEY);
    let log = ["--spool", &spool, "--key-file", &key, "--key-format", "raw"];
    let with = |verb: &str, more: &[&str]| {
        run(
            &[&["audit", verb, "--key-id", "aud"], &log[..], more].concat(),
            "",
        )
    };
    let public = with("public-key", &[]).out.trim().to_owned();
    assert!(public.starts_with("safeguard/audit/key/aud+"), "{public}");
    let offline = |more: &[&str], input: &str| {
        run(
            &[&["audit", "verify", "--public-key", &public], more].concat(),
            input,
        )
    };
    let copy = offline(&["--spool", &spool], "");
    assert_eq!(copy.exit, Exit::Well, "{}", copy.err);
    assert!(copy.out.contains("signed: 1 checkpoint"), "{}", copy.out);

    let export = with("query", &["--format", "jsonl"]).out;
    assert_eq!(offline(&["--records", "-"], &export).exit, Exit::Well);
    let changed = export.replacen("user_login", "user_logout", 1);
    let found = offline(&["--records", "-"], &changed);
    assert_eq!(found.exit, Exit::Finding);
    assert!(
        found.err.contains("line 2: it was changed"),
        "{}",
        found.err
    );

    // The end marker's checkpoint, kept elsewhere, is an anchor.
    let anchor = folder.path().join("anchor.jsonl");
    std::fs::write(&anchor, export.lines().last().unwrap()).unwrap();
    let anchor = anchor.to_str().unwrap();
    let held = with("verify", &["--anchor", anchor]);
    assert!(held.out.contains("anchors: 1 of 1 held"), "{}", held.out);
    let cut: String = export
        .lines()
        .take(2)
        .map(|line| format!("{line}\n"))
        .collect();
    let found = offline(&["--records", "-", "--anchor", anchor], &cut);
    assert_eq!(found.exit, Exit::Finding);
    assert!(
        found.err.contains("cut off or rolled back"),
        "{}",
        found.err
    );

    let event: serde_json::Value = serde_json::from_str(export.lines().nth(2).unwrap()).unwrap();
    let uid = event["uid"].as_str().unwrap();
    let proof = with("prove", &["--uid", uid]).out;
    let verified = |proof: &str| run(&["audit", "verify-proof", "--public-key", &public], proof);
    let proved = verified(&proof);
    assert_eq!(proved.exit, Exit::Well, "{}", proved.err);
    assert_eq!(proved.out.trim(), export.lines().nth(2).unwrap());
    let moved = proof.replacen("index 2", "index 1", 1);
    assert_eq!(verified(&moved).exit, Exit::Finding);

    let requests = folder.path().join("requests");
    std::fs::write(&requests, format!("{}\n", "0".repeat(32))).unwrap();
    let missing = with("verify", &["--requests", requests.to_str().unwrap()]);
    assert_eq!(missing.exit, Exit::Finding);
    assert!(missing.err.contains("1 of 1 requests"), "{}", missing.err);
}

#[test]
fn a_log_that_is_not_named_is_a_usage_error() {
    for arguments in [
        &["audit", "verify"][..],
        &["audit", "query"],
        &["audit", "verify", "--spool", "/nowhere"],
        &[
            "audit",
            "verify",
            "--public-key",
            "nonsense",
            "--spool",
            "/nowhere",
        ],
    ] {
        assert_eq!(run(arguments, "").exit, Exit::Usage, "{arguments:?}");
    }
}
