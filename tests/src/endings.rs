//! The trial that the audit trail is judged by: a sidecar that delivers to all three outputs at once, under load, is killed at random moments;
//! each output is away while events pile up; the disk is full; a snapshot is restored. At the end every event is where it belongs.
//!
//! `tests/run` does it with 50 kills (`it/kills.rs`), `tests/soak` with 1,000: the same code. The moments come from a seed, which is printed first;
//! `SAFEGUARD_SEED` repeats them as far as a machine repeats anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::collector::Collector;
use crate::configuration::Setup;
use crate::database::Database;
use crate::load::{Load, assert_recorded_once};
use crate::relay::Relay;
use crate::sidecar::{Sidecar, path_text};
use crate::spool;
use crate::store::Store;
use crate::upstream::{Upstream, structured};
use crate::wait::eventually;

/// Clients that call at once.
const CLIENTS: usize = 4;
/// Answers between two kills are fewer than this.
const ANSWERS_MAX: u64 = 30;
/// Behind the last of them a kill comes within this.
const MOMENT_MAX: Duration = Duration::from_millis(30);
/// A sidecar that is killed while it starts has lived at most this long.
const START_MAX: Duration = Duration::from_millis(400);
/// One kill of so many comes while the sidecar starts.
const STARTING: u64 = 4;
/// Bytes that a full disk still takes: less than one call writes.
const ROOM_BYTES: u64 = 512;
/// How long the outputs may take for what they have missed.
const CATCHING_UP: Duration = Duration::from_secs(600);
/// How many events a query may show: all.
const EVERYTHING: &str = "100000000";

/// What is demanded.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    /// How often the sidecar is killed in all.
    pub kills: usize,
    /// Events that each output misses while it is away.
    pub events_missed: usize,
    /// Of the random moments.
    pub seed: u64,
}

impl Trial {
    /// These numbers, or those of `SAFEGUARD_KILLS` and `SAFEGUARD_MISSED`; the seed of `SAFEGUARD_SEED`, or a new one.
    ///
    /// # Panics
    /// If one of them is no number.
    #[must_use]
    pub fn of(kills: usize, events_missed: usize) -> Self {
        let given = |name: &str| {
            let text = std::env::var(name).ok()?;
            Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name}")))
        };
        let size = |number: u64| usize::try_from(number).expect("a small number");
        Self {
            kills: given("SAFEGUARD_KILLS").map_or(kills, size),
            events_missed: given("SAFEGUARD_MISSED").map_or(events_missed, size),
            seed: given("SAFEGUARD_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0),
        }
    }
}

/// What happened.
#[derive(Debug)]
pub struct Outcome {
    /// Calls that were answered.
    pub answered: usize,
    /// Events of them all.
    pub events: usize,
    /// Events that the collector got more than once.
    pub repeated: usize,
    kills: usize,
    took: Duration,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} answered calls and {} events survived {} kills, three outages, a full disk and a restored snapshot in {} s; {} events came to the collector again",
            self.answered,
            self.events,
            self.kills,
            self.took.as_secs(),
            self.repeated
        )
    }
}

/// The three outputs, by their names in metrics and events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    Postgresql,
    Siem,
    S3,
}

impl Output {
    const ALL: [Self; 3] = [Self::Postgresql, Self::Siem, Self::S3];

    fn label(self) -> &'static str {
        match self {
            Self::Postgresql => "sink=\"postgresql\"",
            Self::Siem => "sink=\"siem\"",
            Self::S3 => "sink=\"s3\"",
        }
    }
}

/// The sequence of splitmix64: a seed gives the same one for ever.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    /// A moment within a time: here chance is the point, and nothing is waited for.
    async fn moment(&mut self, within: Duration) {
        let micros = u64::try_from(within.as_micros()).expect("a short time");
        tokio::time::sleep(Duration::from_micros(self.below(micros))).await;
    }
}

struct Stage {
    sidecar: Sidecar,
    database: Database,
    relay: Relay,
    store: Store,
    collector: Collector,
    load: Load,
    random: Random,
    kills: usize,
}

/// Does all of it.
///
/// # Panics
/// If an event is lost, doubled or changed anywhere.
pub async fn endure(trial: Trial) -> Outcome {
    println!(
        "{} kills, SAFEGUARD_SEED={} repeats them",
        trial.kills, trial.seed
    );
    let began = Instant::now();
    let patients = json!({"patients": [{"patient_id": "p-1", "ssn": "123-45-6789"}]});
    let upstream = Upstream::forgetful(structured(&patients)).await;
    let mut stage = Stage::set(&upstream, trial.seed).await;
    let quarter = trial.kills.div_ceil(4);
    stage.kill_often(quarter).await;
    for output in Output::ALL {
        stage.outage(output, quarter, trial.events_missed).await;
    }
    stage.full_disk().await;
    stage.delivered().await;
    let (lost, mut answered) = stage.lose_to_a_snapshot().await;
    answered.extend(stage.load.end().await);
    stage.delivered().await;
    assert!(
        stage.sidecar.stop().await.success(),
        "{}",
        stage.sidecar.log()
    );
    let events = together(&lost, &spool::events(&stage.sidecar.setup.spool()));
    assert_recorded_once(&events, &answered);
    stage.assert_found(&lost).await;
    let repeated = stage.assert_arrived(&events).await;
    Outcome {
        answered: answered.len(),
        events: events.len(),
        repeated,
        kills: stage.kills,
        took: began.elapsed(),
    }
}

impl Stage {
    async fn set(upstream: &Upstream, seed: u64) -> Self {
        let database = Database::create().await;
        let relay = Relay::start(database.port()).await;
        let mut setup = Setup::new(&upstream.url());
        let mut store = Store::of(&mut setup);
        let mut collector = Collector::of(&mut setup);
        let mut setup = setup.and_database(&database);
        setup.set("PGPORT", &relay.port.to_string());
        setup.outlives_file_limit = true;
        store.up_with_bucket().await;
        collector.up().await;
        let sidecar = Sidecar::start(setup).await;
        let load = Load::start(&sidecar, CLIENTS);
        Self {
            sidecar,
            database,
            relay,
            store,
            collector,
            load,
            random: Random(seed),
            kills: 0,
        }
    }

    async fn kill_often(&mut self, kills: usize) {
        for _ in 0..kills {
            self.kill().await;
        }
    }

    /// Kills it at a random moment, and starts it again; sometimes it is killed before it is ready.
    async fn kill(&mut self) {
        if self.random.below(STARTING) == 0 {
            self.sidecar.kill().await;
            self.sidecar.launch_again();
            self.random.moment(START_MAX).await;
        } else {
            let answers = self.random.below(ANSWERS_MAX);
            let answers = usize::try_from(answers).expect("a small number");
            self.load.answers(answers).await;
            self.random.moment(MOMENT_MAX).await;
        }
        self.sidecar.kill().await;
        self.kills += 1;
        self.sidecar.launch_again();
        self.sidecar.ready().await;
    }

    /// One output is away while events pile up and the sidecar is killed; the others get theirs.
    async fn outage(&mut self, output: Output, kills: usize, events: usize) {
        match output {
            Output::Postgresql => self.relay.cut(),
            Output::Siem => self.collector.down(),
            Output::S3 => self.store.down(),
        }
        self.kill_often(kills).await;
        // Each call leaves an intent and an outcome.
        self.load.answers(events / 2).await;
        for other in Output::ALL.into_iter().filter(|other| *other != output) {
            self.metric_reaches("safeguard_audit_sink_events_total", other, 1.0)
                .await;
        }
        // The lag is a metric.
        self.metric_reaches("safeguard_audit_oldest_unsent_age_seconds", output, 1.0)
            .await;
        match output {
            Output::Postgresql => self.relay.mend(),
            Output::Siem => self.collector.up().await,
            Output::S3 => self.store.up().await,
        }
    }

    async fn metric_reaches(&self, name: &str, output: Output, least: f64) {
        crate::sidecar::metric_reaches(&self.sidecar, name, &[output.label()], least).await;
    }

    /// The disk takes nothing more; it is killed on it once, and room comes back twice.
    async fn full_disk(&mut self) {
        for is_killed in [false, true] {
            self.load.answers(1).await;
            let largest = spool::segments(&self.sidecar.setup.spool())
                .last()
                .map_or(0, |last| std::fs::metadata(last).expect("a segment").len());
            self.sidecar.limit_files(Some(largest + ROOM_BYTES));
            eventually("a sidecar that is not ready on a full disk", || async {
                (!self.sidecar.is_ready().await).then_some(())
            })
            .await;
            if is_killed {
                self.sidecar.kill().await;
                self.sidecar.launch_again();
            } else {
                self.sidecar.limit_files(None);
            }
            self.sidecar.ready().await;
            self.load.answers(10).await;
        }
    }

    /// Waits until every output has all that the sidecar has recorded.
    async fn delivered(&self) {
        let began = Instant::now();
        for output in Output::ALL {
            let name = "safeguard_audit_oldest_unsent_age_seconds";
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            while self.sidecar.metric(name, &[output.label()]).await > 2.0 {
                assert!(
                    began.elapsed() < CATCHING_UP,
                    "{output:?} does not catch up"
                );
                ticks.tick().await;
            }
        }
    }

    /// What was recorded behind a snapshot is lost with the volume, and the snapshot takes its place.
    /// The lost spool's folder, and the calls that were answered until then.
    async fn lose_to_a_snapshot(&mut self) -> (PathBuf, BTreeSet<String>) {
        let (spool, state) = (self.sidecar.setup.spool(), self.sidecar.setup.state());
        let folder = self.sidecar.setup.folder.path().to_owned();
        // A volume's snapshot is of one moment.
        self.sidecar.signal("STOP");
        copy(&spool, &folder.join("snapshot"));
        copy(&state, &folder.join("snapshot-state"));
        self.sidecar.signal("CONT");
        self.load.answers(50).await;
        self.kill().await;
        self.load.answers(50).await;
        let answered = self.load.end().await;
        assert!(self.sidecar.stop().await.success(), "it drains");
        self.assert_whole().await;
        let lost = folder.join("lost");
        std::fs::rename(&spool, &lost).expect("a folder");
        std::fs::rename(&state, folder.join("lost-state")).expect("a folder");
        std::fs::rename(folder.join("snapshot"), &spool).expect("a folder");
        std::fs::rename(folder.join("snapshot-state"), &state).expect("a folder");
        self.sidecar.launch_again();
        self.sidecar.ready().await;
        self.load = Load::start(&self.sidecar, CLIENTS);
        self.load.answers(50).await;
        (lost, answered)
    }

    /// All that was recorded verifies, wherever it is kept, and none of it is older than what another has.
    async fn assert_whole(&mut self) {
        self.become_reader().await;
        for arguments in [
            &[][..],
            &["--from", "s3"],
            &["--from", "postgresql"],
            &["--anchors-from", "s3"],
            &["--anchors-from", "postgresql"],
        ] {
            let (code, words) = self.verify(arguments).await;
            assert_eq!(code, Some(0), "{arguments:?}: {words}");
            assert!(!words.contains("stand in two objects"), "{words}");
        }
        self.become_writer();
    }

    /// The restored log is whole by itself; each output that has more than it shows that.
    async fn assert_found(&mut self, lost: &Path) {
        self.become_reader().await;
        let (code, words) = self.verify(&[]).await;
        assert_eq!(code, Some(0), "{words}");
        for output in ["s3", "postgresql"] {
            let (code, words) = self.verify(&["--anchors-from", output]).await;
            assert_eq!(code, Some(1), "{output} has what {lost:?} had: {words}");
        }
    }

    /// Every event is in each output; in PostgreSQL and in the bucket once. How many came to the collector more than once.
    async fn assert_arrived(&self, events: &[Value]) -> usize {
        self.database.assert_holds_once(events).await;
        let places = |events: &[Value]| -> BTreeMap<String, usize> {
            let mut places = BTreeMap::new();
            for event in events {
                *places.entry(event.to_string()).or_default() += 1;
            }
            places
        };
        let expected = places(events);
        let rows = self.asked("postgresql").await;
        let objects = self.asked("s3").await;
        for (output, found) in [("postgresql", &rows), ("s3", &objects)] {
            let found = places(found);
            let missing = expected.keys().find(|event| !found.contains_key(*event));
            assert_eq!(missing, None, "not in {output}");
            let double = found.iter().find(|(_, times)| **times > 1);
            assert_eq!(double, None, "twice in {output}");
        }
        let received = places(&self.collector.events());
        let missing = expected.keys().find(|event| !received.contains_key(*event));
        assert_eq!(missing, None, "not at the collector");
        received.values().filter(|times| **times > 1).count()
    }

    /// The events that an output gives back, each proved.
    async fn asked(&self, from: &str) -> Vec<Value> {
        let config = self.sidecar.setup.config();
        let output = self
            .sidecar
            .command(&[
                "audit",
                "query",
                "--from",
                from,
                "--format",
                "jsonl",
                "--limit",
                EVERYTHING,
                "--config",
                path_text(&config),
            ])
            .await;
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let event = |line| serde_json::from_str(line).expect("an event");
        text.lines().map(event).collect()
    }

    async fn verify(&self, more: &[&str]) -> (Option<i32>, String) {
        let config = self.sidecar.setup.config();
        let arguments = [&["audit", "verify", "--config", path_text(&config)], more].concat();
        let output = self.sidecar.command(&arguments).await;
        let words = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&words).into_owned(),
        )
    }

    async fn become_reader(&mut self) {
        for (name, value) in self.database.reader().await {
            self.sidecar.setup.set(name, &value);
        }
    }

    fn become_writer(&mut self) {
        for (name, value) in self.database.environment() {
            self.sidecar.setup.set(name, &value);
        }
        let port = self.relay.port.to_string();
        self.sidecar.setup.set("PGPORT", &port);
    }
}

/// The events of both logs, those that are in both once.
fn together(lost: &Path, restored: &[Value]) -> Vec<Value> {
    let mut events = spool::events(lost);
    let known: BTreeSet<String> = events
        .iter()
        .map(|event| event["uid"].to_string())
        .collect();
    let new = restored
        .iter()
        .filter(|event| !known.contains(&event["uid"].to_string()));
    events.extend(new.cloned());
    events
}

fn copy(from: &Path, to: &Path) {
    let mut command = std::process::Command::new("cp");
    let status = command.arg("-a").args([from, to]).status().expect("cp");
    assert!(status.success(), "a copy of {}", from.display());
}
