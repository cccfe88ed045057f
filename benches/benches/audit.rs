//! The audit trail: from an event to its durable receipt with 1, 8, 64 and 512 callers waiting at once, the
//! pseudonym of a patient, and the verification of a spool.
//!
//! Every caller waits for its own receipt before it records the next event, so that the group commit does what it does
//! under load. Beside the time on the wall stands the CPU time of the whole process, without and with a delivery that hands each event to a sink which only
//! looks at it, and the share of whoever records. The disk is the one that holds the temporary folder; `BENCH_SPOOL` names another folder.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rustix::time::{ClockId, clock_gettime};
use safeguard_audit::delivery::{Delivery, DeliverySettings};
use safeguard_audit::sink::{Sink, SinkError, Taken};
use safeguard_audit::{
    AuditKey, AuditKeys, Event, EventName, FieldAction, FieldTouched, Mcp, Outcome, Record,
    SpoolSettings, Subject, Trail, verify,
};
use safeguard_benches::messages::PHI;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// The sidecar's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events recorded in a row where nobody waits.
const NOTED: usize = 1000;

/// Records in the spool that is verified.
const VERIFIED: u64 = 20_000;

struct Spool {
    _folder: TempDir,
    directory: PathBuf,
    state: PathBuf,
}

impl Spool {
    fn new() -> Self {
        let parent = std::env::var_os("BENCH_SPOOL").map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = tempfile::tempdir_in(parent).expect("a temporary folder");
        let (directory, state) = (folder.path().join("spool"), folder.path().join("state"));
        Self {
            _folder: folder,
            directory,
            state,
        }
    }

    fn open(&self) -> Trail {
        Trail::open(SpoolSettings::new(&self.directory, &self.state), keys()).expect("a spool")
    }
}

fn keys() -> AuditKeys {
    AuditKeys::new(vec![AuditKey::new("aud-bench", 0, [7; 32])]).expect("one key")
}

/// The outcome of a call with six fields, as the sidecar writes it.
fn event(trail: &Trail) -> Event<'static> {
    let mut event = Event::new(EventName::PhiRead, Outcome::Success);
    event.subject = Some(Subject {
        sub: "2f6f1b6e-8b57-4f3c-9d53-4f0b2a9d7c11".into(),
        iss: "https://auth.bench.example/realms/bench".into(),
        roles: vec!["physician".into()],
        client: Some("chart-web".into()),
        mtls_name: Some("web.bench.example".into()),
        second_factor: vec!["otp".into()],
        auth_time: Some(1_795_305_600),
    });
    event.mcp = Some(Mcp {
        method: "tools/call".into(),
        tool: Some("read_record".into()),
        operation: Some("read".into()),
        request_id: Some("1".into()),
    });
    event.rule = Some("tools.read_record".into());
    event.configuration_hash = Some([9; 32]);
    event.fields = PHI
        .iter()
        .map(|(name, _)| FieldTouched {
            name: (*name).into(),
            action: FieldAction::Revealed,
            count: 1,
        })
        .collect();
    event.patients = vec![trail.pseudonym("p-000123")];
    event.purpose = Some("TREAT".into());
    event.source = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    event
}

/// The time in which `waiters` callers had `events` durable receipts in all, at the least one each.
async fn durable(trail: &Trail, event: &Event<'static>, waiters: u64, events: u64) -> Duration {
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for waiter in 0..waiters {
        let mine = events / waiters + u64::from(waiter < events % waiters);
        let (trail, event) = (trail.clone(), event.clone());
        tasks.spawn(async move {
            for _ in 0..mine {
                trail
                    .record(event.clone())
                    .durable()
                    .await
                    .expect("durable");
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a caller");
    }
    began.elapsed()
}

fn recording(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let spool = Spool::new();
    let trail = runtime.block_on(async { spool.open() });
    let event = event(&trail);
    let mut group = criterion.benchmark_group("audit, event to durable");
    group.throughput(Throughput::Elements(1));
    for waiters in [1_u64, 8, 64, 512] {
        group.bench_function(BenchmarkId::new("waiters", waiters), |b| {
            // Whole rounds of all callers, and the time scaled to what was asked for.
            b.iter_custom(|events| {
                let rounds = events.div_ceil(waiters).max(4);
                let took = runtime.block_on(durable(&trail, &event, waiters, rounds * waiters));
                took.mul_f64(count(events) / count(rounds * waiters))
            });
        });
    }
    group.finish();
    criterion.bench_function("audit, pseudonym", |b| {
        b.iter(|| trail.pseudonym(black_box("p-000123")))
    });
    runtime.block_on(trail.close()).expect("an end marker");
}

/// CPU time, of this thread or of all.
fn cpu_time(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

/// A sink that has everything at once.
#[derive(Debug)]
struct Nowhere;

impl Sink for Nowhere {
    fn name(&self) -> &str {
        "nowhere"
    }

    async fn take(&mut self, batch: &[Record]) -> Result<Taken, SinkError> {
        let subjects = batch
            .iter()
            .filter(|r| r.text(&["subject", "sub"]).is_some());
        black_box(subjects.count());
        Ok(Taken {
            new: batch.len() as u64,
            ..Taken::default()
        })
    }
}

/// CPU time of the process an event, from the event to its receipt.
fn cpu(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    for delivered in [false, true] {
        let spool = Spool::new();
        let trail = runtime.block_on(async { spool.open() });
        let event = event(&trail);
        let (stop, stopped) = oneshot::channel::<()>();
        let delivery = delivered.then(|| {
            let delivery = Delivery::new(&trail, Nowhere, DeliverySettings::default());
            let delivery = delivery.expect("a cursor");
            runtime.spawn(delivery.run(async move { drop(stopped.await) }))
        });
        let name = if delivered {
            "CPU an event, delivered"
        } else {
            "CPU an event"
        };
        let mut group = criterion.benchmark_group(format!("audit, {name}"));
        for waiters in [1_u64, 8, 16, 64] {
            group.bench_function(BenchmarkId::new("waiters", waiters), |b| {
                b.iter_custom(|events| {
                    let rounds = events.div_ceil(waiters).max(4);
                    let began = cpu_time(ClockId::ProcessCPUTime);
                    runtime.block_on(durable(&trail, &event, waiters, rounds * waiters));
                    let took = cpu_time(ClockId::ProcessCPUTime).saturating_sub(began);
                    took.mul_f64(count(events) / count(rounds * waiters))
                });
            });
        }
        group.finish();
        if !delivered {
            criterion.bench_function("audit, CPU an event, whoever records", |b| {
                b.iter_custom(|events| {
                    let mut took = Duration::ZERO;
                    for _ in 0..events {
                        let began = cpu_time(ClockId::ThreadCPUTime);
                        let noted = (0..NOTED).filter(|_| trail.note(event.clone()).is_ok());
                        assert_eq!(black_box(noted.count()), NOTED);
                        took += cpu_time(ClockId::ThreadCPUTime).saturating_sub(began);
                        runtime.block_on(durable(&trail, &event, 1, 1));
                    }
                    took / u32::try_from(NOTED).unwrap_or(1)
                });
            });
        }
        drop(stop);
        if let Some(delivery) = delivery {
            runtime.block_on(delivery).expect("a delivery");
        }
        runtime.block_on(trail.close()).expect("an end marker");
    }
}

fn verifying(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let spool = Spool::new();
    let trail = runtime.block_on(async { spool.open() });
    let event = event(&trail);
    runtime.block_on(durable(&trail, &event, 512, VERIFIED));
    runtime.block_on(trail.close()).expect("an end marker");
    let report = || verify::spool(&spool.directory, &spool.state, &keys()).expect("a report");
    let (records, bytes) = (report().records, report().bytes);
    assert!(report().whole() && records >= VERIFIED);
    let mut group = criterion.benchmark_group("audit, verify");
    group.throughput(Throughput::Bytes(bytes));
    group.bench_function(format!("{records} records"), |b| {
        b.iter(|| black_box(report().whole()))
    });
    group.finish();
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn count(number: u64) -> f64 {
    number as f64
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(10)
}

criterion_group! { name = benches; config = short(); targets = recording, cpu, verifying }
criterion_main!(benches);
