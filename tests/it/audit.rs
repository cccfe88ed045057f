//! The audit trail: what is in it, that it holds, that it reaches PostgreSQL, and that nobody changes it unseen.

use std::path::Path;
use std::process::Output;

use safeguard_tests::clinic::Clinic;
use safeguard_tests::configuration::Setup;
use safeguard_tests::database::Database;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::spool;
use safeguard_tests::tokens::{physician, sign};
use safeguard_tests::upstream::{Upstream, structured};
use safeguard_tests::wait::eventually;
use serde_json::{Value, json};

use crate::patients::{assert_no_value, to_store};

/// `audit verify` over the configuration's spool: exit code and words.
pub async fn verify(sidecar: &Sidecar) -> (Option<i32>, String) {
    let config = sidecar.setup.config();
    let output = sidecar
        .command(&[
            "audit",
            "verify",
            "--config",
            safeguard_tests::sidecar::path_text(&config),
        ])
        .await;
    let words = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&words).into_owned(),
    )
}

/// `audit query` in lines of JSON.
pub async fn query(sidecar: &Sidecar, more: &[&str]) -> Vec<Value> {
    let config = sidecar.setup.config();
    let arguments = [
        &[
            "audit",
            "query",
            "--format",
            "jsonl",
            "--config",
            safeguard_tests::sidecar::path_text(&config),
        ][..],
        more,
    ]
    .concat();
    let output = sidecar.command(&arguments).await;
    lines(&output)
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = std::str::from_utf8(&output.stdout).expect("UTF-8");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// Waits until PostgreSQL has as many outcomes as the spool.
pub async fn delivered(sidecar: &Sidecar, database: &Database) {
    let outcomes = spool::names(&sidecar.setup.spool())
        .iter()
        .filter(|name| *name == "phi_read")
        .count();
    let outcomes = i64::try_from(outcomes).expect("a small number");
    eventually("all outcomes in PostgreSQL", || async {
        (database.count("phi_read").await >= outcomes).then_some(())
    })
    .await;
}

/// A sidecar that has worked and was drained.
pub async fn worked() -> Sidecar {
    let patients = json!({"patients": [{"patient_id": "p-1", "ssn": "123-45-6789"}]});
    let upstream = Upstream::answering(structured(&patients)).await;
    let mut sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.audit"))).await;
    for _ in 0..20 {
        client
            .succeed("find_patient", &json!({"ssn": "123-45-6789"}))
            .await;
    }
    assert!(
        sidecar.stop().await.success(),
        "it drains: {}",
        sidecar.log()
    );
    sidecar
}

#[tokio::test]
async fn a_call_leaves_an_intent_and_an_outcome_that_belong_together() {
    let clinic = Clinic::start().await;
    let sidecar = Sidecar::start(Setup::new(&clinic.server.url())).await;
    let mut client = sidecar.client(&sign(&physician("dr.events"))).await;
    client.succeed("store_record", &to_store("p-1")).await;
    client
        .succeed("read_record", &json!({"patient_id": "p-1"}))
        .await;
    let outcome = sidecar
        .event("phi_read", |event| event["mcp"]["tool"] == "read_record")
        .await;
    let events = sidecar.events();
    let intent = events
        .iter()
        .find(|event| {
            event["event"] == "phi_access_granted" && event["exchange"] == outcome["exchange"]
        })
        .expect("an intent");
    assert!(
        intent["seq"].as_u64() < outcome["seq"].as_u64(),
        "the intent comes first"
    );
    for event in [intent, &outcome] {
        assert_eq!(event["subject"]["sub"], "dr.events");
        assert_eq!(event["subject"]["client"], "chart-web");
        assert_eq!(event["subject"]["mtls_name"], "web.healthcare.example.com");
        assert_eq!(event["mcp"]["method"], "tools/call");
        assert_eq!(event["purpose"], "TREAT");
        assert_eq!(event["source"], "127.0.0.1");
        assert_eq!(event["outcome"], "success");
        assert_eq!(event["configuration"].as_str().map(str::len), Some(64));
        for member in ["uid", "chain", "seq", "time", "rule", "session", "patients"] {
            assert!(!event[member].is_null(), "{member} in {event}");
        }
    }
    let revealed = outcome["fields"]
        .as_array()
        .expect("fields")
        .iter()
        .filter(|field| field["action"] == "revealed");
    assert_eq!(
        revealed.count(),
        6,
        "each field, and what became of it: {}",
        outcome["fields"]
    );
    let all = Value::from(events).to_string();
    assert_no_value(&all, "the audit trail");
    assert!(!all.contains("p-1"), "patients have pseudonyms");
}

#[tokio::test]
async fn a_drained_trail_verifies_and_begins_and_ends_with_its_markers() {
    let sidecar = worked().await;
    let names = spool::names(&sidecar.setup.spool());
    assert_eq!(names.first().map(String::as_str), Some("audit_started"));
    assert_eq!(names.last().map(String::as_str), Some("audit_stopped"));
    assert_eq!(names.iter().filter(|name| *name == "phi_read").count(), 20);
    let (code, words) = verify(&sidecar).await;
    assert_eq!(code, Some(0), "{words}");
}

#[tokio::test]
async fn a_flipped_byte_a_removed_event_a_swapped_pair_and_a_cut_tail_are_found() {
    let sidecar = worked().await;
    let segment = spool::segments(&sidecar.setup.spool())
        .pop()
        .expect("a segment");
    let good = std::fs::read(&segment).expect("a segment");
    let frames = spool::frames(&segment);
    let whole = |frames: &[Vec<u8>]| frames.concat();
    let mut removed = frames.clone();
    removed.remove(7);
    let mut swapped = frames.clone();
    swapped.swap(7, 8);
    let last = frames.last().expect("a frame").len();
    let mut forgeries = vec![
        ("a removed event", whole(&removed)),
        ("the first event removed", whole(&frames[1..])),
        ("a swapped pair", whole(&swapped)),
        (
            "an event twice",
            whole(&[&frames[..8], &frames[7..]].concat()),
        ),
        ("the last event cut", good[..good.len() - last].to_vec()),
        (
            "half the last event cut",
            good[..good.len() - last / 2].to_vec(),
        ),
        ("one byte cut", good[..good.len() - 1].to_vec()),
        ("everything cut", Vec::new()),
    ];
    for position in (0..good.len()).step_by(good.len() / 40 + 1) {
        let mut flipped = good.clone();
        flipped[position] ^= 1;
        forgeries.push(("a flipped bit", flipped));
    }
    for (what, bytes) in forgeries {
        std::fs::write(&segment, &bytes).expect("a segment");
        let (code, words) = verify(&sidecar).await;
        assert_eq!(code, Some(1), "{what}: {words}");
    }
    std::fs::remove_file(&segment).expect("a segment");
    assert_eq!(verify(&sidecar).await.0, Some(1), "a removed segment");
    std::fs::write(&segment, &good).expect("a segment");
    let (code, words) = verify(&sidecar).await;
    assert_eq!(code, Some(0), "whole again: {words}");
}

#[tokio::test]
async fn a_query_answers_from_the_spool_without_a_server() {
    let sidecar = worked().await;
    let events = query(&sidecar, &[]).await;
    assert_eq!(
        events
            .iter()
            .filter(|event| event["event"] == "phi_read")
            .count(),
        20
    );
    assert_no_value(&Value::from(events).to_string(), "the answer");
}

#[tokio::test]
async fn every_event_reaches_postgresql_once_sealed_and_by_a_role_that_may_only_insert() {
    let database = Database::create().await;
    let patients = json!({"patients": [{"patient_id": "p-1", "ssn": "123-45-6789"}]});
    let upstream = Upstream::answering(structured(&patients)).await;
    let mut sidecar = Sidecar::start(Setup::new(&upstream.url()).with_database(&database)).await;
    let mut client = sidecar.client(&sign(&physician("dr.database"))).await;
    for _ in 0..10 {
        client.succeed("find_patient", &json!({})).await;
    }
    eventually("ten outcomes in PostgreSQL", || async {
        (database.count("phi_read").await == 10).then_some(())
    })
    .await;
    assert!(sidecar.stop().await.success());
    let rows = database.rows().await;
    assert_no_value(&Value::from(rows.clone()).to_string(), "the table");
    for row in rows {
        let payload = row["payload"].as_str().expect("bytes").to_owned();
        for clear in ["audit", "event", "web.healthcare.example.com"] {
            let hex: String = clear.bytes().map(|byte| format!("{byte:02x}")).collect();
            assert!(!payload.contains(&hex), "the payload is sealed");
        }
    }
    assert_eq!(database.count("phi_access_granted").await, 10);

    let writer = database.writer().await;
    for statement in [
        "UPDATE audit_logs SET seq = 0",
        "DELETE FROM audit_logs",
        "TRUNCATE audit_logs",
        "DROP TABLE audit_logs",
        "SELECT * FROM audit_logs",
    ] {
        let refusal = writer.batch_execute(statement).await.expect_err(statement);
        let code = refusal
            .as_db_error()
            .map(|error| error.code().code().to_owned());
        assert_eq!(
            code.as_deref(),
            Some("42501"),
            "{statement}: permission denied, not {refusal:?}"
        );
    }
}

#[tokio::test]
async fn an_outage_of_postgresql_loses_nothing() {
    let database = Database::create().await;
    let upstream = Upstream::answering(structured(&json!({"patients": []}))).await;
    let mut setup = Setup::new(&upstream.url()).with_database(&database);
    // Nobody listens there: the sink is down from the start.
    let port = setup.environment["PGPORT"].clone();
    setup.set("PGPORT", &safeguard_tests::clinic::free_port().to_string());
    let mut sidecar = Sidecar::start(setup).await;
    let mut client = sidecar.client(&sign(&physician("dr.outage"))).await;
    for _ in 0..5 {
        client.succeed("find_patient", &json!({})).await;
    }
    sidecar
        .event("sink_failed", |event| {
            event["details"]["sink"] == "postgresql"
        })
        .await;
    sidecar.kill().await;
    sidecar.setup.set("PGPORT", &port);
    sidecar.launch_again();
    sidecar.ready().await;
    eventually("five outcomes in PostgreSQL", || async {
        (database.count("phi_read").await == 5).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_durable_audit_no_phi_passes() {
    let upstream = Upstream::answering(structured(&json!({"patients": []}))).await;
    // The smallest spool there is, which a few hundred events fill.
    let mut setup = Setup::new(&upstream.url());
    setup.replace(
        "tests.yaml",
        "  spool:\n",
        "  spool:\n    max_bytes: 1048576\n    segment_bytes: 65536\n",
    );
    let sidecar = Sidecar::start(setup).await;
    let mut client = sidecar.client(&sign(&physician("dr.full"))).await;
    let call = client.request_message(
        "tools/call",
        &json!({"name": "find_patient", "arguments": {}}),
    );
    let mut refused = None;
    for _ in 0..2000 {
        let answer = client.post(&call).await;
        if answer.status != 200 {
            refused = Some((
                answer.status,
                answer.header("retry-after").to_owned(),
                answer.json().await,
            ));
            break;
        }
        answer.bytes().await;
    }
    let (status, retry_after, answer) = refused.expect("a full spool refuses");
    assert_eq!(status, 503);
    assert!(!retry_after.is_empty(), "with Retry-After");
    assert_eq!(answer["error"]["code"], -32053);
    let went_up = upstream.messages("tools/call").len();
    assert_eq!(client.post(&call).await.status, 503);
    assert_eq!(
        upstream.messages("tools/call").len(),
        went_up,
        "nothing goes up without its event"
    );
    let (status, _) =
        safeguard_tests::client::plain_request(&sidecar.admin(), "GET", "/readyz", &[], Vec::new())
            .await;
    assert_eq!(status, 503, "readiness fails");
}

#[tokio::test]
async fn the_spool_is_closed_to_others_and_holds_nothing_but_the_log() {
    use std::os::unix::fs::PermissionsExt;
    let sidecar = worked().await;
    let mode = |path: &Path| {
        std::fs::metadata(path)
            .expect("metadata")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(&sidecar.setup.spool()), 0o700);
    for segment in spool::segments(&sidecar.setup.spool()) {
        assert_eq!(mode(&segment) & 0o077, 0, "{}", segment.display());
        let frames: usize = spool::frames(&segment).iter().map(Vec::len).sum();
        let size = std::fs::metadata(&segment).expect("metadata").len();
        assert_eq!(
            u64::try_from(frames).expect("a size"),
            size,
            "every byte belongs to an event"
        );
    }
}

#[tokio::test]
async fn a_query_of_postgresql_by_a_reader_shows_what_the_spool_shows() {
    let database = Database::create().await;
    let upstream = Upstream::answering(structured(&json!({"patients": []}))).await;
    let mut sidecar = Sidecar::start(Setup::new(&upstream.url()).with_database(&database)).await;
    let mut client = sidecar.client(&sign(&physician("dr.reader"))).await;
    for _ in 0..5 {
        client.succeed("find_patient", &json!({})).await;
    }
    delivered(&sidecar, &database).await;
    assert!(sidecar.stop().await.success());
    let of_reads = ["--from", "postgresql", "--event", "phi_read"];
    let config = sidecar.setup.config();
    let arguments = [
        &[
            "audit",
            "query",
            "--config",
            safeguard_tests::sidecar::path_text(&config),
        ][..],
        &of_reads,
    ]
    .concat();
    let refused = sidecar.command(&arguments).await;
    assert_eq!(refused.status.code(), Some(2), "the writer does not read");

    let role = format!("auditor_{}", uuid::Uuid::new_v4().simple());
    let make = format!("CREATE ROLE {role} LOGIN PASSWORD 'for-this-test' IN ROLE audit_reader");
    let owner = database.owner().await;
    owner.batch_execute(&make).await.expect("a reader");
    sidecar.setup.set("PGUSER", &role);
    sidecar.setup.set("PGPASSWORD", "for-this-test");
    let table = query(&sidecar, &of_reads).await;
    let spool = query(&sidecar, &["--event", "phi_read"]).await;
    assert_eq!(table.len(), 5);
    assert_eq!(table, spool);
}

#[tokio::test]
async fn who_asks_the_log_of_a_running_sidecar_is_in_the_log_before_the_answer() {
    let upstream = Upstream::answering(structured(&json!({"patients": []}))).await;
    let sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    query(&sidecar, &["--patient", "MRN-of-nobody", "--limit", "7"]).await;
    let accesses: Vec<_> = sidecar
        .events()
        .into_iter()
        .filter(|event| event["event"] == "audit_log_accessed")
        .collect();
    assert_eq!(accesses.len(), 1);
    let text = accesses[0].to_string();
    assert!(text.contains("limit=7") && text.contains("uid:"), "{text}");
    assert!(!text.contains("MRN-of-nobody"), "by pseudonym only: {text}");
}

#[tokio::test]
async fn a_query_of_postgresql_tells_a_removed_row_and_refuses_to_show_a_changed_one() {
    let database = Database::create().await;
    let upstream = Upstream::answering(structured(&json!({"patients": []}))).await;
    let mut sidecar = Sidecar::start(Setup::new(&upstream.url()).with_database(&database)).await;
    let mut client = sidecar.client(&sign(&physician("dr.tampered"))).await;
    for _ in 0..6 {
        client.succeed("find_patient", &json!({})).await;
    }
    delivered(&sidecar, &database).await;
    assert!(sidecar.stop().await.success());
    let role = format!("auditor_{}", uuid::Uuid::new_v4().simple());
    let owner = database.owner().await;
    let make = format!("CREATE ROLE {role} LOGIN PASSWORD 'for-this-test' IN ROLE audit_reader");
    owner.batch_execute(&make).await.expect("a reader");
    sidecar.setup.set("PGUSER", &role);
    sidecar.setup.set("PGPASSWORD", "for-this-test");
    let config = sidecar.setup.config();
    let config = safeguard_tests::sidecar::path_text(&config);
    let arguments = ["audit", "query", "--from", "postgresql", "--config", config];
    let ask = async || {
        let output = sidecar.command(&arguments).await;
        let notices = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), notices)
    };
    let verify = [
        "audit",
        "verify",
        "--from",
        "postgresql",
        "--config",
        config,
    ];
    let judged = async || {
        let output = sidecar.command(&verify).await;
        let words = [output.stdout, output.stderr].concat();
        let words = String::from_utf8_lossy(&words).into_owned();
        (output.status.code(), words)
    };
    assert_eq!(ask().await.0, Some(0));
    let (code, words) = judged().await;
    assert_eq!(code, Some(0), "{words}");
    assert!(words.starts_with("whole: "), "{words}");

    // Whoever owns the server can switch the triggers off.
    let of_reads = "(SELECT seq FROM audit_logs WHERE event = 'phi_read' ORDER BY seq";
    let remove = format!(
        "SET session_replication_role = replica; DELETE FROM audit_logs WHERE seq = {of_reads} OFFSET 2 LIMIT 1)"
    );
    owner.batch_execute(&remove).await.expect("a row less");
    let (code, notices) = ask().await;
    assert_eq!(code, Some(0), "{notices}");
    assert!(notices.contains("gap"), "{notices}");
    let (code, words) = judged().await;
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("1 problem: missing: numbers "), "{words}");

    let change =
        format!("UPDATE audit_logs SET sub = 'dr.other' WHERE seq = {of_reads} DESC LIMIT 1)");
    owner.batch_execute(&change).await.expect("a changed row");
    let (code, notices) = ask().await;
    assert_eq!(code, Some(1), "{notices}");
    assert!(notices.contains("1 row did not verify"), "{notices}");
    let (code, words) = judged().await;
    assert_eq!(code, Some(1), "{words}");
    assert!(
        words.contains("its columns are not those of its payload"),
        "{words}"
    );
}
