//! The canary: a synthetic patient who goes through every path of the rewriting, at start, after each reload and on a
//! schedule, with the keys and the policy in force.
//!
//! Each PHI field of the policy gets a random value that exists nowhere else. It is sent up in arguments and comes down
//! in every place of an answer, once for each role's views. A value that the upstream would have got in clear, or that a
//! role would have seen against its view, is a leak: `/readyz` fails, an `integrity_violation` is written, and calls that
//! concern PHI are refused until a later run finds nothing. A value that a role may see and does not get is told as well.
//!
//! The canary is no test of the upstream: nothing of it leaves the process.

mod messages;
mod patient;
mod search;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use safeguard_audit::{Event, EventName, Outcome};
use tokio::sync::watch;

use crate::live::Live;
use crate::rewrite::Workshop;
use crate::sidecar::Sidecar;

pub use patient::{Finding, Rewriter};

/// How often the canary runs while nothing changes.
pub const EVERY: Duration = Duration::from_secs(300);

/// What the last run found.
#[derive(Debug, Default)]
pub struct Canary {
    leaked: AtomicBool,
}

impl Canary {
    /// Whether the last run found no leak.
    pub fn sings(&self) -> bool {
        !self.leaked.load(Ordering::Acquire)
    }
}

/// Runs the canary through one configuration. Some milliseconds of work for a policy of a few roles.
///
/// # Errors
/// The first leak, else the first finding. It names the path, the field and the role; no value.
pub fn run(workshop: &Workshop, now_unix: i64) -> Result<(), Finding> {
    patient::examine(workshop, workshop, now_unix)
}

/// One run, with everything that follows from what it finds.
fn visit(sidecar: &Sidecar, live: &Live) {
    let now = crate::clock::now_unix();
    // Without a key nothing is sealed or opened: readiness says so by itself, and every call is refused.
    if !live.can_seal(now) {
        return;
    }
    let found = run(&live.workshop, now);
    let result = match &found {
        Ok(()) => "ok",
        Err(finding) if finding.is_leak() => "leak",
        Err(_) => "broken",
    };
    let runs = &sidecar.metrics.canary_runs_total;
    runs.with_label_values(&[result]).inc();
    let leaks = found.as_ref().is_err_and(Finding::is_leak);
    let leaked_before = sidecar.canary.leaked.swap(leaks, Ordering::AcqRel);
    let Err(finding) = found else {
        if leaked_before {
            log::warn!("canary: the last leak is mended");
        }
        return;
    };
    log::error!("canary: {finding}");
    if finding.is_leak() && !leaked_before {
        let event = Event::new(EventName::IntegrityViolation, Outcome::Failure);
        sidecar.recorder.send(event.reason("canary_leak"));
    }
}

/// The first run, before the listener accepts.
pub fn before_start(sidecar: &Sidecar) {
    visit(sidecar, &sidecar.live.load());
}

/// Runs the canary after each reload and every [`EVERY`], until the sidecar stops.
pub async fn keep(sidecar: Arc<Sidecar>, mut stopping: watch::Receiver<bool>) {
    let mut generation = sidecar.generation.subscribe();
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            changed = generation.changed() => if changed.is_err() { return },
            _ = stopping.changed() => return,
        }
        let run = Arc::clone(&sidecar);
        // It is work for the processor alone: not on a thread that serves connections.
        let ran = tokio::task::spawn_blocking(move || visit(&run, &run.live.load_full()));
        if ran.await.is_err() {
            log::error!("canary: the run did not come to its end");
        }
    }
}
