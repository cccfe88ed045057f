//! `safeguard demo`: the product's main job, whole, on one machine and with nothing else installed.
//!
//! It sets a stage in a directory of its own (throwaway CA, keys, configuration), starts the sample
//! clinic and the sidecar as processes, plays a short script as several principals over mTLS,
//! tampers with a stored record, and then judges: exit 0 only if no PHI value of its input is in
//! what the clinic received or stored, the denied calls and the tampered record were refused, the
//! physician read back what was stored, and the audit log verifies.
//!
//! It talks to the rest of the product as a user would, through the command line and the network;
//! what it needs in-process ([`Workshop`]) is handed in.

mod cast;
mod children;
mod client;
mod clinic;
mod keep;
mod outcome;
mod screen;
mod script;
mod search;
mod stage;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use children::{ChildError, Program, Running};
use outcome::Outcome;
use screen::{Look, Screen};
use script::{ClinicFiles, ScriptError};
use stage::{Stage, StageError};

pub use clinic::{ClinicOptions, clinic};
pub use stage::TokenRequest;

/// What the demo borrows from the rest of the product.
pub trait Workshop: Send + Sync {
    /// A new 256-bit key as base64 text, of the system's random numbers.
    ///
    /// # Errors
    /// The system has no random numbers.
    fn key(&self) -> Result<String, String>;

    /// A signed local token; `secret` is what `JWT_SECRET` says.
    ///
    /// # Errors
    /// What went wrong, without the secret.
    fn mint(&self, secret: &str, wanted: &TokenRequest) -> Result<String, String>;
}

/// What `safeguard demo` is told.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Print the outcome as JSON and nothing else.
    pub json: bool,
    /// Leave everything running until Ctrl-C.
    pub keep: bool,
    /// This program, to be started as clinic, sidecar and audit reader.
    pub program: PathBuf,
}

/// The contract's exit codes.
const EXIT_FINDING: u8 = 1;
const EXIT_INTERNAL: u8 = 70;

/// Why there is no outcome to judge.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error(transparent)]
    Child(#[from] ChildError),
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error("the clinic did not say where it listens")]
    Clinic,
    #[error("audit query failed: {0}")]
    Query(String),
    #[error("can't use a file or the output: {0}")]
    Io(#[from] io::Error),
    #[error("interrupted")]
    Interrupted,
}

/// Runs the demo. The outcome goes to `out`, which is taken for standard output; progress and
/// trouble to `err`. Nothing that it started survives it.
pub async fn demo(
    options: DemoOptions,
    workshop: &dyn Workshop,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> ExitCode {
    let mut interrupts = Interrupts::listen();
    let ended = tokio::select! {
        ended = perform(&options, workshop, out, err) => ended,
        () = interrupts.next() => Err(DemoError::Interrupted),
    };
    let ended = match ended {
        Ok(Finished {
            good,
            kept: Some(kept),
        }) => {
            interrupts.next().await;
            let stopped = kept.sidecar.stop().await;
            drop(kept.clinic);
            stopped.map(|_| good).map_err(DemoError::from)
        }
        Ok(finished) => Ok(finished.good),
        Err(error) => Err(error),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_FINDING),
        Err(error) => {
            // Nobody is left to tell if the error stream is gone too.
            let _told = writeln!(err, "error: {error}");
            ExitCode::from(EXIT_INTERNAL)
        }
    }
}

/// SIGINT and SIGTERM, listened for from the beginning: one that arrives between two waits counts.
struct Interrupts(Option<(Signal, Signal)>);

impl Interrupts {
    fn listen() -> Interrupts {
        let interrupt = signal(SignalKind::interrupt());
        let terminate = signal(SignalKind::terminate());
        Interrupts(interrupt.ok().zip(terminate.ok()))
    }

    /// Completes at the next signal; never, if the system lets nobody listen.
    async fn next(&mut self) {
        match &mut self.0 {
            Some((interrupt, terminate)) => {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            }
            None => std::future::pending().await,
        }
    }
}

async fn perform(
    options: &DemoOptions,
    workshop: &dyn Workshop,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<Finished, DemoError> {
    let directory = tempfile::Builder::new()
        .prefix("safeguard-demo-")
        .tempdir()?;
    let files = ClinicFiles {
        store: directory.path().join("clinic-store.json"),
        recording: directory.path().join("clinic-received.jsonl"),
    };
    // The clinic first: its port is bound before the sidecar's are picked.
    let log = directory.path().join("clinic.log");
    let (clinic, upstream) = start_clinic(&options.program, &files, &log).await?;
    let stage = Stage::set(directory.path().to_owned(), workshop)?;
    let program = Program {
        path: options.program.clone(),
        environment: stage.environment(),
    };
    let config = stage.configure(&upstream)?.display().to_string();
    let sidecar = start_sidecar(&stage, &program, &config).await?;

    let play = script::play(&stage, workshop, &files).await?;
    let running = if options.keep {
        Some(sidecar)
    } else {
        sidecar.stop().await?;
        None
    };
    let outcome = collect(play, &program, &config, &files).await?;
    // From here on the files are the reader's; a run that fails earlier leaves nothing but its message.
    let directory = directory.keep();
    show(options, &outcome, &directory, out)?;
    let good = outcome.good();
    let Some(sidecar) = running else {
        return Ok(Finished { good, kept: None });
    };
    let notice: &mut dyn Write = if options.json { err } else { out };
    keep::explain(&stage, workshop, &options.program, notice)?;
    let kept = Some(Kept { sidecar, clinic });
    Ok(Finished { good, kept })
}

/// A run that was judged, and what still runs.
struct Finished {
    good: bool,
    kept: Option<Kept>,
}

struct Kept {
    sidecar: Running,
    clinic: Running,
}

async fn start_clinic(
    program: &Path,
    files: &ClinicFiles,
    log: &Path,
) -> Result<(Running, String), DemoError> {
    // No key of the sidecar is in the clinic's environment.
    let program = Program {
        path: program.to_owned(),
        environment: Vec::new(),
    };
    let store = files.store.display().to_string();
    let recording = files.recording.display().to_string();
    let address = ["demo-upstream", "--address", "127.0.0.1:0"];
    let arguments = [&address[..], &["--store", &store, "--record", &recording]].concat();
    let mut clinic = program.start("the clinic", &arguments, log)?;
    let url = clinic.first_line().await?;
    let authority = url
        .strip_prefix("http://")
        .and_then(|rest| rest.strip_suffix("/mcp"));
    let authority = authority.ok_or(DemoError::Clinic)?.to_owned();
    Ok((clinic, authority))
}

async fn start_sidecar(
    stage: &Stage,
    program: &Program,
    config: &str,
) -> Result<Running, DemoError> {
    let arguments = ["run", "--config", config];
    let mut sidecar = program.start("the sidecar", &arguments, &stage.path("sidecar.log"))?;
    let admin = stage.admin;
    sidecar.until(|| client::is_ready(admin)).await?;
    Ok(sidecar)
}

/// Reads the clinic's files and the audit log, after everything has happened.
async fn collect(
    play: script::Play,
    program: &Program,
    config: &str,
    files: &ClinicFiles,
) -> Result<Outcome, DemoError> {
    let verify = program
        .run("audit verify", &["audit", "verify", "--config", config])
        .await?;
    let query = ["audit", "query", "--format", "jsonl", "--config", config];
    let query = program.run("audit query", &query).await?;
    if !query.status.success() {
        let said = String::from_utf8_lossy(&query.stderr).trim().to_owned();
        return Err(DemoError::Query(said));
    }
    let events = outcome::json_lines(&String::from_utf8_lossy(&query.stdout));
    let recording = std::fs::read_to_string(&files.recording)?;
    let after = std::fs::read_to_string(&files.store)?;
    let before = play.store_text.clone();
    let verified = verify.status.success() && !events.is_empty();
    Ok(Outcome::new(
        play,
        &recording,
        &[&before, &after],
        events,
        verified,
    ))
}

fn show(
    options: &DemoOptions,
    outcome: &Outcome,
    directory: &Path,
    out: &mut dyn Write,
) -> Result<(), DemoError> {
    if options.json {
        writeln!(out, "{}", outcome.to_json())?;
    } else {
        let screen = Screen {
            look: Look::of_stdout(),
            directory,
            kept: options.keep,
        };
        out.write_all(screen.draw(outcome).as_bytes())?;
    }
    out.flush()?;
    Ok(())
}

/// Whether standard output is a terminal that may be coloured.
fn colour_wanted() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !refused
}

#[cfg(test)]
mod tests;
