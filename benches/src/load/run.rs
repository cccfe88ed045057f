//! One run: everything started, each target seen to work, then loaded in turns.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use safeguard_vault::Opener;
use tempfile::TempDir;

use super::Failure;
use super::arguments::Run;
use super::client::{self, Client, Connection};
use super::cpu;
use super::issuer::Issuer;
use super::postgresql::Postgresql;
use super::process::{Process, accepts, free_port};
use super::report::{Report, Round, Row};
use super::targets::{Ground, Kind, Target};
use super::tls;
use crate::configuration::Work;
use crate::messages;

/// How long each turn runs before it counts.
const WARM_UP: Duration = Duration::from_millis(700);
/// How often a target is looked at after a turn, until it rests.
const LOOK: Duration = Duration::from_millis(200);
/// How many looks at the most.
const LOOKS_MAX: u32 = 50;
/// A target rests if it used less than this between two looks, in seconds of CPU.
const REST: f64 = 0.011;
/// Sealed answers that the MCP server gives in turn: more than the sidecar keeps derived keys for, so that it derives
/// one for every answer, as with records that are seldom read twice.
const SEALED_ANSWERS: usize = 4096;

/// Runs the bench and prints its report.
///
/// # Errors
/// When something can't be started, or a target does not do what it is measured for.
pub fn run(arguments: &Run) -> Result<(), Failure> {
    for name in &arguments.only {
        if !Kind::ALL.iter().any(|kind| kind.short() == name) {
            let names = Kind::ALL.map(Kind::short).join(", ");
            return Err(format!("--only {name}: no such target (there are {names})").into());
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let folder = tempfile::Builder::new()
        .prefix("safeguard-load-")
        .tempdir()?;
    let report = runtime.block_on(measure(arguments, folder.path()))?;
    report.print(arguments.json)?;
    if arguments.keep {
        eprintln!(
            "configurations and logs: {}",
            TempDir::keep(folder).display()
        );
    }
    Ok(())
}

async fn measure(arguments: &Run, folder: &Path) -> Result<Report, Failure> {
    let certificates = folder.join("tls");
    tls::init(&certificates)?;
    let issuer = Issuer::start().await?;
    let (upstream, _process) = upstream(folder).await?;
    let (database, mut notes) = database(arguments, &certificates).await;
    let threads = arguments
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from));
    let ground = Ground {
        arguments,
        folder,
        tls: &certificates,
        upstream,
        issuer: &issuer,
        database: database.as_ref().map(Postgresql::environment),
        threads,
    };
    let mut lanes = Vec::new();
    for kind in Kind::ALL {
        if !arguments.only.is_empty() && !arguments.only.iter().any(|name| name == kind.short()) {
            continue;
        }
        match Lane::start(kind, &ground).await {
            Ok(lane) => lanes.push(lane),
            Err(failure) => notes.push(format!("NOT MEASURED: {}: {failure}", kind.title())),
        }
    }
    let bench = Bench {
        arguments,
        database: database.as_ref(),
    };
    for round in 0..arguments.rounds {
        // There and back, so that no target always follows the same one.
        let mut order: Vec<&mut Lane> = lanes.iter_mut().collect();
        if !round.is_multiple_of(2) {
            order.reverse();
        }
        for lane in order {
            bench.turn(lane).await?;
            eprintln!(
                "round {} of {}: {}",
                round + 1,
                arguments.rounds,
                lane.progress()
            );
        }
    }
    let events = match &database {
        Some(database) => Some(database.rows().await?),
        None => None,
    };
    for lane in &mut lanes {
        lane.target
            .process
            .stop(if lane.target.kind == Kind::Nginx {
                "QUIT"
            } else {
                "KILL"
            })
            .await?;
    }
    if let Some(database) = database {
        database.stop().await?;
    }
    Ok(Report {
        rows: lanes.into_iter().map(Lane::into_row).collect(),
        notes,
        events,
        connections: arguments.connections,
        seconds: arguments.seconds,
        threads,
    })
}

/// The MCP server, with its answers: its port and its process.
async fn upstream(folder: &Path) -> Result<(u16, Process), Failure> {
    let (ring, integrity) = (messages::ring(), messages::integrity());
    let sealed = messages::sealed_answers(SEALED_ANSWERS, &ring, &integrity);
    let opener = Opener::new(ring, messages::DOMAIN);
    if !sealed
        .first()
        .is_some_and(|answer| messages::opens(answer, &opener))
    {
        return Err("the sealed answers do not open".into());
    }
    let port = free_port()?;
    let (clear_file, sealed_file) = (folder.join("clear.json"), folder.join("sealed.jsonl"));
    std::fs::write(&clear_file, messages::clear_answer(&integrity))?;
    std::fs::write(&sealed_file, sealed.join("\n"))?;
    let arguments = [
        "upstream".to_owned(),
        format!("--port={port}"),
        format!("--clear={}", clear_file.display()),
        format!("--sealed={}", sealed_file.display()),
    ];
    let mut process = Process::start(
        folder,
        "upstream",
        &std::env::current_exe()?,
        &arguments,
        &BTreeMap::new(),
    )?;
    process.await_ready(async || accepts(port).await).await?;
    Ok((port, process))
}

async fn database(arguments: &Run, certificates: &Path) -> (Option<Postgresql>, Vec<String>) {
    let Some(safeguard) = arguments.safeguard.as_ref().filter(|_| arguments.postgres) else {
        return (
            None,
            vec![
                "NO POSTGRESQL: events stay in the spool, nothing drains (give --postgres)"
                    .to_owned(),
            ],
        );
    };
    match Postgresql::start(safeguard, certificates).await {
        Ok(database) => (Some(database), Vec::new()),
        Err(failure) => (
            None,
            vec![format!(
                "NO POSTGRESQL: events stay in the spool, nothing drains: {failure}"
            )],
        ),
    }
}

/// A target with its client and what was measured so far.
struct Lane {
    target: Target,
    client: Client,
    rounds: Vec<Round>,
}

impl Lane {
    async fn start(kind: Kind, ground: &Ground<'_>) -> Result<Self, Failure> {
        let target = Target::start(kind, ground).await?;
        let bodies = [messages::update_call(), messages::read_call()];
        let answer = messages::clear_answer(&messages::integrity());
        let client = Client::new(
            tls::client(ground.tls)?,
            target.port,
            &ground.issuer.token()?,
            &bodies,
            &answer,
        )?;
        let mut connection = client.connect().await?;
        for body in &bodies {
            client.call(&mut connection, &body.clone().into()).await?;
            if kind == Kind::Sidecar(Work::Everything) {
                sealed_upstream(ground.upstream, body == &bodies[0]).await?;
            }
        }
        eprintln!("{} answers as it should: {}", kind.title(), target.version);
        Ok(Self {
            target,
            client,
            rounds: Vec::new(),
        })
    }

    fn progress(&self) -> String {
        let round = self.rounds.last().map(Round::to_string).unwrap_or_default();
        format!("{}: {round}", self.target.kind.short())
    }

    fn into_row(self) -> Row {
        Row {
            name: self.target.kind.short(),
            title: self.target.kind.title(),
            version: self.target.version,
            rounds: self.rounds,
        }
    }
}

/// What the sidecar sent up holds six envelopes and no PHI, and the record its hash.
async fn sealed_upstream(upstream: u16, has_record: bool) -> Result<(), Failure> {
    let (_status, body) = client::get(upstream, "/last").await?;
    let text = String::from_utf8_lossy(&body);
    let envelopes = text.matches("\"_encrypted\":true").count();
    let found = messages::SECRETS
        .iter()
        .filter(|secret| text.contains(**secret))
        .count();
    let hashed = text.contains("\"integrity_hash\":\"");
    if found > 0 || envelopes != messages::PHI.len() || hashed != has_record {
        return Err(format!(
            "the MCP server received {envelopes} envelopes, {found} PHI values, hash: {hashed}"
        )
        .into());
    }
    Ok(())
}

struct Bench<'a> {
    arguments: &'a Run,
    database: Option<&'a Postgresql>,
}

impl Bench<'_> {
    async fn turn(&self, lane: &mut Lane) -> Result<(), Failure> {
        let mut connections: Vec<Connection> = Vec::new();
        for _ in 0..self.arguments.connections {
            connections.push(lane.client.connect().await?);
        }
        let (connections, _warm) = lane.client.turn(connections, WARM_UP).await;
        self.rest(&lane.target).await?;

        let pid = lane.target.process.pid();
        let (target, ours, busy) = (cpu::used(pid), cpu::used(std::process::id()), cpu::busy());
        let began = Instant::now();
        let lasting = Duration::from_secs(u64::from(self.arguments.seconds));
        let (_connections, mut turn) = lane.client.turn(connections, lasting).await;
        let seconds = began.elapsed().as_secs_f64();
        let foreign = (cpu::busy() - busy) - (cpu::used(std::process::id()).cpu - ours.cpu);
        // What is left to do behind the answers, as delivering events, belongs to them.
        self.rest(&lane.target).await?;
        let after = cpu::used(pid);
        turn.latencies.sort_unstable();
        lane.rounds.push(Round {
            seconds,
            cpu: after.cpu - target.cpu,
            memory: after.memory,
            foreign_cores: (foreign / seconds).max(0.0),
            latencies: turn.latencies,
            failures: turn.failures,
            first_failure: turn.first_failure,
        });
        Ok(())
    }

    /// Waits until a target has nothing more to do, and its events have arrived.
    async fn rest(&self, target: &Target) -> Result<(), Failure> {
        let everything = target.kind == Kind::Sidecar(Work::Everything);
        let database = self.database.filter(|_| everything);
        let mut ticks = tokio::time::interval(LOOK);
        ticks.tick().await;
        let (mut last, mut last_rows) = (cpu::used(target.process.pid()).cpu, 0);
        for _ in 0..LOOKS_MAX {
            ticks.tick().await;
            let now = cpu::used(target.process.pid()).cpu;
            let rows = match database {
                Some(database) => database.rows().await?,
                None => 0,
            };
            if now - last < REST && rows == last_rows {
                return Ok(());
            }
            (last, last_rows) = (now, rows);
        }
        eprintln!(
            "{} did not come to rest: what it did later is not counted",
            target.kind.title()
        );
        Ok(())
    }
}
