//! A disk that is really full: a small tmpfs in a mount namespace of its own, which ends with the process.
//!
//! Where the machine forbids such a namespace (most containers do), the kernel's limit on the size of a file stands for
//! it: writes beyond it fail as they do on a full disk, with a part of them written. One of the two must be possible.

#![cfg(test)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use safeguard_audit::query::{self, Query};
use safeguard_audit::{
    AuditKey, AuditKeys, Event, EventName, NotDurable, Outcome, SpoolSettings, SpoolState, Trail,
};
use uuid::Uuid;

/// Names the small disk for the process inside the namespace.
const SMALL_DISK: &str = "SAFEGUARD_TEST_SMALL_DISK";
/// Names the folder for the process whose files stay small.
const SMALL_FILES: &str = "SAFEGUARD_TEST_SMALL_FILES";
const NAME: &str = "a_full_disk_refuses_loses_nothing_and_mends_itself";
const DISK: &str = "size=256k";
const BALLAST_BYTES: usize = 64 << 10;
const SMALL_FILE_BYTES: usize = 192 << 10;

fn keys() -> AuditKeys {
    AuditKeys::new(vec![AuditKey::new("aud-1", 0, [1; 32])]).unwrap()
}

fn event() -> Event<'static> {
    Event::new(EventName::PhiRead, Outcome::Success)
}

/// Runs a command with a small tmpfs over `place`; none: not possible here.
fn on_small_disk(place: &Path, program: &Path, arguments: &[&str]) -> Option<bool> {
    let script = format!(r#"mount -t tmpfs -o {DISK} small "$0" || exit 99; exec "$@""#);
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", &script]);
    command.arg(place).arg(program).args(arguments);
    let status = command.env(SMALL_DISK, place).status().ok()?;
    (status.code() != Some(99)).then_some(status.success())
}

/// Runs a command none of whose files may grow beyond [`SMALL_FILE_BYTES`]. The signal that comes with that is
/// ignored, so that the write fails instead.
fn with_small_files(place: &Path, program: &Path, arguments: &[&str]) -> Output {
    let script = format!(r#"trap '' XFSZ; exec prlimit --fsize={SMALL_FILE_BYTES}: "$@""#);
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).arg(program);
    command.args(arguments).env(SMALL_FILES, place);
    command.output().unwrap()
}

#[test]
fn a_full_disk_refuses_loses_nothing_and_mends_itself() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Some(disk) = std::env::var_os(SMALL_DISK) {
        let ballast = Path::new(&disk).join("ballast");
        fs::write(&ballast, vec![1; BALLAST_BYTES]).unwrap();
        let mend = || fs::remove_file(&ballast).unwrap();
        return runtime.block_on(fill(Path::new(&disk), mend));
    }
    if let Some(place) = std::env::var_os(SMALL_FILES) {
        return runtime.block_on(fill(Path::new(&place), let_files_grow));
    }
    let place = tempfile::tempdir().unwrap();
    let itself = std::env::current_exe().unwrap();
    let this = ["--exact", NAME, "--nocapture"];
    if on_small_disk(place.path(), Path::new("true"), &[]) == Some(true) {
        assert_eq!(on_small_disk(place.path(), &itself, &this), Some(true));
    }
    let place = tempfile::tempdir().unwrap();
    let output = with_small_files(place.path(), &itself, &this);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
}

/// Lets the files of this process grow a little more.
fn let_files_grow() {
    let limit = format!("--fsize={}:", SMALL_FILE_BYTES + BALLAST_BYTES);
    let mut command = Command::new("prlimit");
    command.args(["--pid", &std::process::id().to_string(), &limit]);
    assert!(command.status().unwrap().success());
}

/// Records until nothing goes any more, several at a time; the acknowledged ones.
async fn record_until_refused(trail: &Trail) -> Vec<Uuid> {
    let mut acknowledged = Vec::new();
    loop {
        let waiting: Vec<_> = (0..8).map(|_| trail.record(event())).collect();
        let mut refused = None;
        for pending in waiting {
            match pending.durable().await {
                Ok(receipt) => acknowledged.push(receipt.uid()),
                Err(error) => refused = Some(error),
            }
        }
        if let Some(error) = refused {
            assert_eq!(error, NotDurable::Failed);
            return acknowledged;
        }
    }
}

async fn fill(disk: &Path, mend: impl FnOnce()) {
    let settings = SpoolSettings::new(disk.join("spool"), disk.join("state"));
    let trail = Trail::open(settings.clone(), keys()).unwrap();
    let mut acknowledged = record_until_refused(&trail).await;
    assert!(acknowledged.len() > 50, "{}", acknowledged.len());
    assert_eq!(trail.health().state, SpoolState::Failed);
    assert!(!trail.health().ready());
    assert_eq!(
        trail.record(event()).durable().await,
        Err(NotDurable::Failed)
    );
    mend();
    let more = record_until_refused(&trail).await;
    assert!(more.len() > 20, "space came back and nothing was taken");
    acknowledged.extend(more);
    drop(trail);
    let everything = Query {
        limit: Some(usize::MAX),
        ..Query::default()
    };
    let answer = query::spool(
        &settings.directory,
        &settings.state_directory,
        &keys(),
        &everything,
    )
    .unwrap();
    assert!(answer.report.whole(), "{:?}", answer.report.problem);
    let present: Vec<_> = answer.records.iter().map(|record| record.uid()).collect();
    for uid in &acknowledged {
        let times = present.iter().filter(|present| *present == uid).count();
        assert_eq!(times, 1, "{uid}");
    }
}
