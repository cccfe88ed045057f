//! What needs no more than a public key: a copy of the log judged, and one event proved.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;
use safeguard_audit::verify::{self, Anchors, Report};
use safeguard_audit::{InclusionProof, Record, VerifierKey, prove as proof_of};
use uuid::Uuid;

use super::{LogArgs, VerifyArgs, unreadable};
use crate::cli::{CliError, Exit, Terminal};

/// The largest file of anchors, trace ids or a proof, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, Args)]
pub(in crate::cli) struct PublicKeyArgs {
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ProveArgs {
    #[command(flatten)]
    log: LogArgs,
    /// The event
    #[arg(long, value_name = "UUID")]
    uid: Uuid,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyProofArgs {
    /// What `audit prove` printed; without it standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// A public key (`audit public-key`); repeatable
    #[arg(long = "public-key", value_name = "KEY", required = true)]
    public_keys: Vec<String>,
}

/// One line a key of the ring, the first is that of the ring's first key.
pub(super) fn public_key(
    arguments: &PublicKeyArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, CliError> {
    let log = arguments.log.open(terminal)?;
    for key in log.keys.verifier_keys() {
        writeln!(terminal.out, "{key}")?;
    }
    Ok(Exit::Well)
}

pub(super) fn prove(arguments: &ProveArgs, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    let log = arguments.log.open(terminal)?;
    let proof = proof_of(&log.directory, &log.state, &log.keys, arguments.uid)
        .map_err(|error| unreadable(&log, &error))?
        .map_err(|error| CliError::Finding(format!("{}: {error}", arguments.uid)))?;
    terminal.out.write_all(proof.text().as_bytes())?;
    Ok(Exit::Well)
}

pub(super) fn verify_proof(
    arguments: &VerifyProofArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, CliError> {
    let keys = public_keys(&arguments.public_keys)?;
    let text = match &arguments.file {
        Some(path) => text(path)?,
        None => {
            let input = terminal.document(FILE_BYTES_MAX)?;
            String::from_utf8_lossy(&input).into_owned()
        }
    };
    let proof = InclusionProof::verified(&text, &keys)
        .map_err(|error| CliError::Finding(error.to_string()))?;
    terminal.out.write_all(proof.record.bytes())?;
    let checkpoint = &proof.checkpoint.checkpoint;
    writeln!(terminal.out)?;
    writeln!(
        terminal.err,
        "proved: event {} of {}, one of the {} that the checkpoint of {} signs",
        proof.record.seq(),
        checkpoint.chain,
        checkpoint.size,
        checkpoint.time
    )?;
    Ok(Exit::Well)
}

/// `audit verify --public-key`.
pub(super) fn verify(
    arguments: &VerifyArgs,
    anchors: &Anchors,
    requests: &mut Requests,
    terminal: &mut Terminal<'_>,
) -> Result<Report, CliError> {
    let keys = public_keys(&arguments.public_keys)?;
    let see = |record: &Record| requests.see(record);
    let (place, report) = match (&arguments.records, &arguments.log.spool) {
        (Some(path), _) if path.as_os_str() == "-" => (
            PathBuf::from("standard input"),
            verify::lines(&mut terminal.input, &keys, anchors, see),
        ),
        (Some(path), _) => (
            path.clone(),
            File::open(path)
                .and_then(|file| verify::lines(&mut BufReader::new(file), &keys, anchors, see)),
        ),
        (None, Some(directory)) => (
            directory.clone(),
            verify::directory(directory, &keys, anchors, see),
        ),
        (None, None) => {
            return Err(CliError::Usage(
                "name the copy: --spool DIR (its segments), or --records FILE (a record a line)"
                    .to_owned(),
            ));
        }
    };
    report.map_err(|error| {
        CliError::Unavailable(format!("{}: can't be read: {error}", place.display()))
    })
}

pub(super) fn public_keys(words: &[String]) -> Result<Vec<VerifierKey>, CliError> {
    let keys = words.iter().map(|word| VerifierKey::parse(word));
    keys.collect::<Result<_, _>>()
        .map_err(|error| CliError::Usage(format!("--public-key: {error}")))
}

/// The checkpoints in these files.
pub(super) fn anchors(paths: &[PathBuf]) -> Result<Anchors, CliError> {
    let mut all = Anchors::default();
    for path in paths {
        let read = Anchors::read(&text(path)?);
        all.extend(
            read.map_err(|error| CliError::Usage(format!("--anchor {}: {error}", path.display())))?,
        );
    }
    Ok(all)
}

fn text(path: &Path) -> Result<String, CliError> {
    let words = |why: String| CliError::Usage(format!("{}: {why}", path.display()));
    let file = File::open(path).map_err(|error| words(error.to_string()))?;
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| words(error.to_string()))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(words(format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// Requests that another log has, and that no event was found for yet.
#[derive(Debug, Default)]
pub(super) struct Requests {
    asked: usize,
    missing: BTreeSet<String>,
}

impl Requests {
    pub(super) fn read(path: Option<&Path>) -> Result<Self, CliError> {
        let text = path.map(text).transpose()?.unwrap_or_default();
        let lines = text.lines().map(|line| line.trim().to_ascii_lowercase());
        let missing: BTreeSet<_> = lines.filter(|line| !line.is_empty()).collect();
        Ok(Self {
            asked: missing.len(),
            missing,
        })
    }

    pub(super) fn see(&mut self, record: &Record) {
        if !self.missing.is_empty()
            && let Some(trace) = record.text(&["trace"])
        {
            self.missing.remove(trace);
        }
    }

    pub(super) fn judge(&self) -> Result<(), CliError> {
        match self.missing.first() {
            None => Ok(()),
            Some(first) => Err(CliError::Finding(format!(
                "{} of {} requests have no event in the audit log, the first is the trace {first}",
                self.missing.len(),
                self.asked
            ))),
        }
    }
}
