//! A real process under load, killed with SIGKILL at moments it does not choose, again and again on one log: what it was told is durable is there, once, and under the head.
//!
//! The test starts itself as the process (see [`recorder`]); that one writes the uid of every event to its standard output once it is acknowledged, and not before.

#![cfg(test)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use safeguard_audit::query::{self, Query};
use safeguard_audit::verify::Notice;
use safeguard_audit::{
    AuditKey, AuditKeys, Event, EventName, Outcome, Receipt, SpoolSettings, Trail,
};
use uuid::Uuid;

/// Names the directory in which the started process records.
const RECORD_IN: &str = "SAFEGUARD_TEST_RECORD_IN";
const NAME: &str = "a_process_killed_at_any_moment_loses_nothing_that_it_acknowledged";
const KILLS: u64 = 20;
const WAITERS: usize = 24;
/// Acknowledgements that a process may give before it is killed.
const ACKNOWLEDGED_MAX: u64 = 400;

fn keys() -> AuditKeys {
    AuditKeys::new(vec![AuditKey::new("aud-1", 0, [1; 32])]).unwrap()
}

fn settings(root: &Path) -> SpoolSettings {
    let mut settings = SpoolSettings::new(root.join("spool"), root.join("state"));
    // Small, so that segments change while it is killed.
    settings.segment_bytes = 64 << 10;
    settings
}

#[test]
fn a_process_killed_at_any_moment_loses_nothing_that_it_acknowledged() {
    if let Some(root) = std::env::var_os(RECORD_IN) {
        return recorder(&PathBuf::from(root));
    }
    let root = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for kill in 0..KILLS {
        // The first is killed as it starts; the others after a number of acknowledgements drawn from a uid's random bits.
        let after = match kill {
            0 => 0,
            _ => Uuid::new_v4().as_u64_pair().1 % ACKNOWLEDGED_MAX,
        };
        let told = run_and_kill(root.path(), after);
        assert!(told.len() as u64 >= after, "the process ended by itself");
        for uid in told {
            assert!(acknowledged.insert(uid), "{uid} was acknowledged twice");
        }
        check(root.path(), &acknowledged);
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let trail = Trail::open(settings(root.path()), keys()).unwrap();
    runtime.block_on(trail.close()).unwrap();
    check(root.path(), &acknowledged);
}

/// What the process had acknowledged when it was dead.
fn run_and_kill(root: &Path, after: u64) -> Vec<Uuid> {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(RECORD_IN, root)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut told = Vec::new();
    let mut next = |told: &mut Vec<Uuid>| match lines.next() {
        Some(line) => {
            // The test harness writes lines of its own.
            told.extend(
                line.unwrap()
                    .strip_prefix("ack ")
                    .map(|uid| Uuid::parse_str(uid).expect("a line is written whole")),
            );
            true
        }
        None => false,
    };
    while (told.len() as u64) < after && next(&mut told) {}
    process.kill().unwrap();
    while next(&mut told) {}
    process.wait().unwrap();
    told
}

/// The log is whole and holds each acknowledged event exactly once, before the head's end.
fn check(root: &Path, acknowledged: &BTreeSet<Uuid>) {
    let (spool, state) = (root.join("spool"), root.join("state"));
    if !spool.exists() || !state.exists() {
        // Killed before it had made its directories.
        assert!(acknowledged.is_empty());
        return;
    }
    let everything = Query {
        limit: Some(usize::MAX),
        ..Query::default()
    };
    let answer = query::spool(&spool, &state, &keys(), &everything).unwrap();
    let young = acknowledged.is_empty() && answer.records.is_empty();
    assert!(
        answer.report.whole() || young,
        "{:?}",
        answer.report.problem
    );
    let behind = answer
        .report
        .notices
        .iter()
        .find_map(|notice| match notice {
            Notice::BehindHead(records) => Some(usize::try_from(*records).unwrap()),
            _ => None,
        });
    let covered = answer.records.len() - behind.unwrap_or(0);
    let uids: Vec<_> = answer.records.iter().map(|record| record.uid()).collect();
    let all: BTreeSet<_> = uids.iter().copied().collect();
    assert_eq!(all.len(), uids.len(), "an event is there twice");
    let proved: BTreeSet<_> = uids[..covered].iter().copied().collect();
    let lost: Vec<_> = acknowledged.difference(&proved).collect();
    assert!(lost.is_empty(), "not under the head: {lost:?}");
}

/// The process: records from many tasks until it is killed.
fn recorder(root: &Path) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let trail = Trail::open(settings(root), keys()).unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..WAITERS)
            .map(|_| tokio::spawn(record(trail.clone())))
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

async fn record(trail: Trail) {
    loop {
        let event = Event::new(EventName::PhiRead, Outcome::Success);
        let receipt: Receipt = trail.record(event).durable().await.unwrap();
        let line = format!("ack {}\n", receipt.uid());
        if std::io::stdout().write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}
