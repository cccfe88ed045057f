//! `keys shred`: one patient's key destroyed for good, by the sidecar that runs or, where none does, here. And
//! `keys verify-receipt`: whether the word that it is gone is ours.

use std::fs;
use std::path::PathBuf;

use clap::{ArgAction, Args};
use safeguard_audit::{AuditKeys, Subject, Trail};
use safeguard_policy::Configuration;
use safeguard_vault::decode_base64;
use zeroize::Zeroizing;

use crate::cli::config::{ConfigArgs, Mode, load, runtime, trail_keys, with_keys};
use crate::cli::terminal::printable;
use crate::cli::{CliError, Exit, Terminal};
use crate::clock;
use crate::control::{self, ClientError, PatientId, Request};
use crate::patients::receipt::{self, Trust};
use crate::patients::shred::{PATIENT_BYTES_MAX, Wish};
use crate::{run, settings};

/// The largest receipt that is read, in bytes.
const RECEIPT_BYTES_MAX: u64 = 16 * 1024;

#[derive(Debug, Args)]
pub(in crate::cli) struct ShredArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Where the patient's id is read from: `-`, standard input. An id never stands on the command line, where every
    /// user of the host reads it
    #[arg(long, value_name = "-", conflicts_with = "patient_file", value_parser = ["-"])]
    patient: Option<String>,
    /// The file whose first line is the patient's id
    #[arg(long, value_name = "FILE")]
    patient_file: Option<PathBuf>,
    /// Why, in a few words that name nobody: they stand in the audit log and in the receipt
    #[arg(long, value_name = "TEXT", default_value = "not given")]
    reason: String,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyReceiptArgs {
    /// The configuration whose keys.audit signed it
    #[arg(long = "config", value_name = "PATH", num_args = 1.., action = ArgAction::Append, required_unless_present = "public_key")]
    config: Vec<PathBuf>,
    /// The public key that was handed over before, in base64, in place of the configuration
    #[arg(long, value_name = "BASE64", conflicts_with = "config")]
    public_key: Option<String>,
}

/// Destroys the key and prints the receipt.
pub(super) fn shred(arguments: &ShredArgs, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    let ready = load(&arguments.config.paths, Mode::Check)?.ready(terminal)?;
    if ready.configuration.policy.phi().patient_keys.is_none() {
        let words = "phi.patient_keys is not configured: no patient has a key of their own";
        return Err(CliError::Configuration(words.to_owned()));
    }
    let patient = arguments.patient(terminal)?;
    let socket = control::socket_in(&ready.configuration.state.directory);
    let request = Request::Shred {
        patient: PatientId(patient.clone()),
        reason: arguments.reason.clone(),
    };
    let receipt = match control::ask_for_text(&socket, &request) {
        Ok(receipt) => receipt,
        Err(ClientError::Nobody(_)) => here(arguments, patient, terminal)?,
        Err(ClientError::Refused(why)) => return Err(CliError::Finding(why)),
        Err(error) => {
            let words = format!("{}: {error}", socket.display());
            return Err(CliError::Unavailable(words));
        }
    };
    writeln!(terminal.out, "{}", receipt.trim_end())?;
    writeln!(
        terminal.err,
        "notice: the key is gone from its directory; it is destroyed only once no backup or snapshot of that directory holds it (docs/operations.md)"
    )?;
    Ok(Exit::Well)
}

impl ShredArgs {
    fn patient(&self, terminal: &mut Terminal<'_>) -> Result<Zeroizing<String>, CliError> {
        let words = || {
            CliError::Usage(format!(
                "the patient's id is one line of UTF-8 with at most {PATIENT_BYTES_MAX} bytes"
            ))
        };
        let bytes = match &self.patient_file {
            Some(path) => {
                let read = fs::read(path).map(Zeroizing::new);
                read.map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))?
            }
            None => terminal.line()?.unwrap_or_default(),
        };
        let line = bytes.split(|byte| *byte == b'\n').next();
        let line = line.unwrap_or_default().trim_ascii();
        let text = std::str::from_utf8(line).map_err(|_| words())?;
        match text.len() {
            1..=PATIENT_BYTES_MAX => Ok(Zeroizing::new(text.to_owned())),
            _ => Err(words()),
        }
    }
}

/// Without a sidecar: this process takes the spool's lock, records and destroys.
fn here(
    arguments: &ShredArgs,
    patient: Zeroizing<String>,
    terminal: &mut Terminal<'_>,
) -> Result<String, CliError> {
    let configuration = with_keys(&arguments.config, terminal)?;
    let audit_keys = audit_keys(&configuration)?;
    let spool = run::spool_settings(&configuration);
    let directory = spool.directory.clone();
    let live = settings::live(configuration, None)
        .map_err(|error| CliError::Configuration(error.to_string()))?;
    let patients = live.patients.as_ref();
    let patients = patients.ok_or_else(|| CliError::Internal("no patient keys".to_owned()))?;
    let wish = Wish {
        patient,
        reason: arguments.reason.clone(),
        by: Subject {
            sub: format!("uid:{}", rustix::process::geteuid().as_raw()).into(),
            iss: "unix".into(),
            ..Subject::default()
        },
    };
    let store = patients.store();
    store.prepare().map_err(|error| refused(&error))?;
    runtime()?.block_on(async {
        let trail = Trail::open(spool, audit_keys).map_err(|error| {
            CliError::Unavailable(format!("audit spool {}: {error}", directory.display()))
        })?;
        let done = crate::patients::shred::shred(&trail, patients, &wish).await;
        let closed = trail.close().await;
        let receipt = done.map_err(|error| refused(&error))?;
        closed.map_err(|error| CliError::Unavailable(error.to_string()))?;
        Ok(receipt)
    })
}

fn refused(error: &impl std::fmt::Display) -> CliError {
    CliError::Finding(error.to_string())
}

fn audit_keys(configuration: &Configuration) -> Result<AuditKeys, CliError> {
    run::audit_keys(configuration).map_err(|error| CliError::Configuration(error.to_string()))
}

/// Says what a receipt on standard input says, if it holds.
pub(super) fn verify_receipt(
    arguments: &VerifyReceiptArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, CliError> {
    let text = terminal.document(RECEIPT_BYTES_MAX)?;
    let keys;
    let trust = match &arguments.public_key {
        Some(key) => Trust::Key(public_key(key)?),
        None => {
            let ready = load(&arguments.config, Mode::Use)?.ready(terminal)?;
            let mut configuration = ready.configuration;
            trail_keys(&mut configuration)?;
            keys = audit_keys(&configuration)?;
            Trust::Ring(&keys)
        }
    };
    let said = receipt::verify(&text, &trust).map_err(|error| refused(&error))?;
    let ((year, month, day), (hour, minute, second, _)) = clock::civil(said.shredded_unix_micros);
    writeln!(
        terminal.out,
        "the receipt holds: {} of patient {} in {} was destroyed on {year:04}-{month:02}-{day:02} at {hour:02}:{minute:02}:{second:02} UTC by {}: {}",
        printable(&said.key_id),
        printable(&said.pseudonym),
        printable(&said.domain),
        printable(&said.by),
        printable(&said.reason),
    )?;
    Ok(Exit::Well)
}

fn public_key(text: &str) -> Result<[u8; 32], CliError> {
    let bytes = decode_base64(text).ok();
    let bytes = bytes.and_then(|bytes| bytes.as_slice().try_into().ok());
    bytes.ok_or_else(|| CliError::Usage("--public-key is 32 bytes in base64".to_owned()))
}
