//! A log that the version before checkpoints has written: it verifies, opens, goes on, and is signed from then on.

#![cfg(test)]

use std::fs;
use std::path::Path;

use safeguard_audit::verify::{self, Anchors, Fault};
use safeguard_audit::{AuditKey, AuditKeys, Event, EventName, Outcome, SpoolSettings, Trail};

const FIXTURE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/without-checkpoints"
);

fn keys() -> AuditKeys {
    AuditKeys::new(vec![AuditKey::new("aud-bench", 0, [7; 32])]).unwrap()
}

fn copy(spool: &Path, state: &Path) {
    fs::create_dir(spool).unwrap();
    fs::create_dir(state).unwrap();
    let log = "00000000000000000000.log";
    fs::copy(Path::new(FIXTURE).join(log), spool.join(log)).unwrap();
    fs::copy(Path::new(FIXTURE).join("head"), state.join("head")).unwrap();
}

#[tokio::test]
async fn a_log_of_the_version_before_checkpoints_opens_goes_on_and_is_signed_from_then_on() {
    let root = tempfile::tempdir().unwrap();
    let (spool, state) = (root.path().join("spool"), root.path().join("state"));
    copy(&spool, &state);
    let judged = || verify::spool(&spool, &state, &keys()).unwrap();
    let by_auditor = || {
        let (public, anchors) = (keys().verifier_keys(), Anchors::default());
        verify::directory(&spool, &public, &anchors, |_| {}).unwrap()
    };
    let report = judged();
    assert!(report.whole() && report.notices.is_empty(), "{report:?}");
    assert_eq!((report.records, report.checkpoints), (5, 0));
    let unsigned = by_auditor().problem.map(|problem| problem.what);
    assert_eq!(unsigned, Some(Fault::Unsigned));

    let trail = Trail::open(SpoolSettings::new(&spool, &state), keys()).unwrap();
    let event = Event::new(EventName::PhiRead, Outcome::Success);
    trail.record(event).durable().await.unwrap();
    trail.close().await.unwrap();
    let report = judged();
    assert!(report.whole() && report.notices.is_empty(), "{report:?}");
    assert_eq!(report.chains, 2);
    assert!(report.records >= 8 && report.checkpoints >= 1);
    // The checkpoint covers the older run too, by the chain of hashes.
    assert!(by_auditor().whole());
}
