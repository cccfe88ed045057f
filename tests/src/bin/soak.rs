//! The long test: load over time in flat memory, an outage of PostgreSQL in the middle of it, and then many ends without warning.
//!
//! Run by `tests/soak MINUTES`, which starts the real parts.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use safeguard_tests::configuration::Setup;
use safeguard_tests::database::Database;
use safeguard_tests::load::{Load, assert_recorded_once};
use safeguard_tests::relay::Relay;
use safeguard_tests::sidecar::Sidecar;
use safeguard_tests::upstream::{Upstream, structured};
use safeguard_tests::wait::eventually;
use serde_json::json;

/// Clients that call at once.
const CLIENTS: usize = 8;
/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_secs(5);
/// How much memory may grow once everything was in use, in bytes: what catching up after the outage reads at once is in it.
const GROWTH_MAX: u64 = 64 * 1024 * 1024;
/// How often the sidecar is killed at the end.
const KILLS: usize = 200;
/// Answers between two kills.
const ANSWERS: usize = 20;

#[tokio::main]
async fn main() -> ExitCode {
    let minutes = std::env::args()
        .nth(1)
        .and_then(|text| text.parse::<u32>().ok());
    let Some(minutes) = minutes.filter(|minutes| *minutes > 0) else {
        eprintln!("usage: soak MINUTES");
        return ExitCode::from(2);
    };
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

    let grown = memory_over_time(&sidecar, &relay, Duration::from_secs(60) * minutes).await;
    kills(&mut sidecar, &database).await;
    println!(
        "memory grew by {} KiB after the warm-up (at most {} KiB)",
        grown / 1024,
        GROWTH_MAX / 1024
    );
    ExitCode::from(u8::from(grown > GROWTH_MAX))
}

/// Load for so long, without PostgreSQL in the middle third; how much memory grew after the first sixth, in bytes.
async fn memory_over_time(sidecar: &Sidecar, relay: &Relay, length: Duration) -> u64 {
    let mut load = Load::start(sidecar, CLIENTS);
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(SAMPLE);
    let mut warm = None;
    let mut most = 0;
    while begun.elapsed() < length {
        ticks.tick().await;
        load.answers(1).await;
        let part = begun.elapsed().as_secs_f64() / length.as_secs_f64();
        if (1.0 / 3.0..2.0 / 3.0).contains(&part) {
            relay.cut()
        } else {
            relay.mend()
        }
        let memory = sidecar.memory();
        println!(
            "{:6.0} s  {:8} KiB",
            begun.elapsed().as_secs_f64(),
            memory / 1024
        );
        if part > 1.0 / 6.0 {
            most = most.max(memory);
            warm.get_or_insert(memory);
        }
    }
    relay.mend();
    let answered = load.stop().await;
    println!("{} calls were answered", answered.len());
    most.saturating_sub(warm.unwrap_or(most))
}

async fn kills(sidecar: &mut Sidecar, database: &Database) {
    let mut load = Load::start(sidecar, CLIENTS);
    for kill in 1..=KILLS {
        load.answers(ANSWERS).await;
        sidecar.kill().await;
        sidecar.launch_again();
        sidecar.ready().await;
        if kill % 20 == 0 {
            println!("{kill} kills");
        }
    }
    let answered = load.stop().await;
    let events = sidecar.events();
    assert_recorded_once(&events, &answered);
    let outcomes = events
        .iter()
        .filter(|event| event["event"] == "phi_read")
        .count();
    let outcomes = i64::try_from(outcomes).expect("a small number");
    eventually("all outcomes in PostgreSQL", || async {
        (database.count("phi_read").await >= outcomes).then_some(())
    })
    .await;
    database.assert_holds_once(&events).await;
    assert!(sidecar.stop().await.success(), "it drains");
    println!(
        "{} answered calls survived {KILLS} kills, each recorded once",
        answered.len()
    );
}
