//! The long test: a crowd that does nothing, how soon frames arrive, load over time in flat memory, an outage of PostgreSQL in the middle of it, and then many ends without warning.
//!
//! Run by `tests/soak MINUTES`, which starts the real parts.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use safeguard_tests::clinic::Server;
use safeguard_tests::configuration::Setup;
use safeguard_tests::database::Database;
use safeguard_tests::endings::{Trial, endure};
use safeguard_tests::load::Load;
use safeguard_tests::memory::{Course, Report, Sample};
use safeguard_tests::relay::Relay;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::upstream::{Upstream, structured};
use safeguard_tests::{arrival, crowd};
use serde_json::json;

/// Clients that call at once.
const CLIENTS: usize = 8;
/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_secs(1);
/// How long everything is used for the first time, but no more than a fifth of the load.
const WARM_UP: Duration = Duration::from_secs(120);
/// An output that has no event older than this, in seconds, has caught up.
const CAUGHT_UP_SECONDS: f64 = 2.0;
/// How often the sidecar is killed at the end, unless `SAFEGUARD_KILLS` says otherwise.
const KILLS: usize = 1000;
/// Events that each output misses meanwhile, unless `SAFEGUARD_MISSED` says otherwise: an hour's, ten a second.
const MISSED: usize = 36_000;

#[tokio::main]
async fn main() -> ExitCode {
    let minutes = std::env::args()
        .nth(1)
        .and_then(|text| text.parse::<u32>().ok());
    let Some(minutes) = minutes.filter(|minutes| *minutes > 0) else {
        eprintln!("usage: soak MINUTES");
        return ExitCode::from(2);
    };
    let crowd = idle_crowd().await;
    println!("{crowd}");
    println!("{}", arrivals().await);
    let database = Database::create().await;
    let port = database.port();
    let relay = Relay::start(port).await;
    let upstream = Upstream::forgetful(structured(
        &json!({"patients": [{"patient_id": "p-1", "ssn": "123-45-6789"}]}),
    ))
    .await;
    let mut setup = Setup::new(&upstream.url()).with_database(&database);
    setup.set("PGPORT", &relay.port.to_string());
    let mut sidecar = Sidecar::start(setup).await;

    let report = memory_over_time(&sidecar, &relay, Duration::from_secs(60) * minutes).await;
    println!("{report}");
    assert!(sidecar.stop().await.success(), "it drains");
    // On a log of its own: every event of it is read and compared at the end, and minutes of load leave millions.
    println!("{}", endure(Trial::of(KILLS, MISSED)).await);
    ExitCode::from(u8::from(!report.is_flat() || !crowd.is_bounded()))
}

/// What thousands of clients cost that do nothing.
async fn idle_crowd() -> crowd::Report {
    let (upstream, ends) = crowd::listening_upstream().await;
    let mut sidecar = Sidecar::start(Setup::new(&upstream.url())).await;
    let report = crowd::gather(&sidecar, &ends).await;
    assert!(sidecar.stop().await.success(), "it drains");
    report
}

/// When the frames of a real server's stream arrive.
async fn arrivals() -> arrival::Report {
    let server = Server::go_stateless().await;
    let setup = Setup::new(&server.url()).extended(arrival::POLICY);
    let sidecar = Sidecar::start(setup).await;
    arrival::measure(&server, &sidecar).await
}

/// Load for so long, without PostgreSQL in the middle third.
async fn memory_over_time(sidecar: &Sidecar, relay: &Relay, length: Duration) -> Report {
    let mut load = Load::start(sidecar, CLIENTS);
    let mut course = Course {
        warm: WARM_UP.min(length / 5),
        cut: length / 3,
        mended: length * 2 / 3,
        caught_up: None,
    };
    let mut samples = Vec::new();
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(SAMPLE);
    while begun.elapsed() < length {
        ticks.tick().await;
        load.answers(1).await;
        let at = begun.elapsed();
        if (course.cut..course.mended).contains(&at) {
            relay.cut();
        } else {
            relay.mend();
        }
        let bytes = sidecar.memory();
        samples.push(Sample { at, bytes });
        if at > course.mended && course.caught_up.is_none() && has_caught_up(sidecar).await {
            course.caught_up = Some(begun.elapsed());
        }
    }
    relay.mend();
    let answered = load.stop().await;
    println!("{} calls were answered", answered.len());
    Report::new(samples, course)
}

async fn has_caught_up(sidecar: &Sidecar) -> bool {
    let name = "safeguard_audit_oldest_unsent_age_seconds";
    sidecar.metric(name, &[]).await < CAUGHT_UP_SECONDS
}
