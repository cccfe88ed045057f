//! `phi reseal`: exported records taken through today's keys, to be brought back by the upstream's own import.

use clap::Args;
use safeguard_audit::{AuditKeys, Pseudonym};
use safeguard_policy::Path;
use safeguard_wire::json::Tree;
use zeroize::Zeroizing;

use crate::cli::config::{ConfigArgs, with_keys};
use crate::cli::terminal::INPUT_BYTES_MAX;
use crate::cli::{CliError, Exit, Terminal};
use crate::live::Live;
use crate::patients::{PatientKeys, StoreError, Stored};
use crate::rewrite::reseal::{About, Resealed, reseal};
use crate::rewrite::{HeldKey, Holder, LIMITS, PATIENT_KEY_ABSENT, PatientRing, RewriteError};
use crate::{clock, paths, run, settings};

#[derive(Debug, Args)]
pub(in crate::cli) struct ResealArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Where each record names its patient, as members from the outside in: record.patient_id. Needed with phi.bind
    #[arg(long, value_name = "PATH")]
    patient_at: Option<String>,
    /// Take values that are bound to no patient, and bind them: for records from before phi.bind: [patient]
    #[arg(long, requires = "patient_at")]
    unbound: bool,
    /// Read and write one record a line. Stops at the first that fails, and says which: what was written before it is
    /// whole, and what is sealed as it should be stays as it is, so the rest can be done after
    #[arg(long)]
    lines: bool,
}

/// One configuration's way through records.
struct Run {
    live: Live,
    audit: AuditKeys,
    patient_at: Option<Path>,
    unbound: bool,
    anew: u64,
    already: u64,
}

/// Seals the values of records anew, standard input to standard output.
pub(super) fn perform(
    arguments: &ResealArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, CliError> {
    let mut run = Run::new(arguments, terminal)?;
    let mut records: u64 = 0;
    if arguments.lines {
        while let Some(line) = terminal.line()? {
            records += 1;
            let new = run.record(&line);
            let new = new.map_err(|why| CliError::Finding(format!("line {records}: {why}")))?;
            terminal.out.write_all(&new)?;
            terminal.out.write_all(b"\n")?;
        }
    } else {
        let text = terminal.document(INPUT_BYTES_MAX)?;
        let new = run.record(&text).map_err(CliError::Finding)?;
        terminal.out.write_all(new.trim_ascii_end())?;
        terminal.out.write_all(b"\n")?;
        records = 1;
    }
    terminal.out.flush()?;
    writeln!(
        terminal.err,
        "notice: {records} records, {} values sealed anew, {} were already",
        run.anew, run.already
    )?;
    Ok(Exit::Well)
}

impl Run {
    fn new(arguments: &ResealArgs, terminal: &Terminal<'_>) -> Result<Self, CliError> {
        let configuration = with_keys(&arguments.config, terminal)?;
        let wrong = |error: &dyn std::fmt::Display| CliError::Configuration(error.to_string());
        let audit = run::audit_keys(&configuration).map_err(|error| wrong(&error))?;
        let live = settings::live(configuration, None).map_err(|error| wrong(&error))?;
        if let Some(patients) = &live.patients {
            let prepared = patients.store().prepare();
            prepared.map_err(|error| CliError::Unavailable(error.to_string()))?;
        }
        let patient_at = match &arguments.patient_at {
            Some(text) => {
                let path = Path::parse(&format!("result.{text}"));
                let words = |error| CliError::Usage(format!("--patient-at {text}: {error}"));
                Some(path.map_err(words)?)
            }
            None if live.policy.phi().bind_patient => {
                let words = "phi.bind binds values to the patient: say with --patient-at where a record names its own";
                return Err(CliError::Usage(words.to_owned()));
            }
            None => None,
        };
        Ok(Self {
            live,
            audit,
            patient_at,
            unbound: arguments.unbound,
            anew: 0,
            already: 0,
        })
    }

    /// A record with its values sealed as they would be today.
    fn record(&mut self, text: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
        let tree = Tree::parse(text, &LIMITS).map_err(|_| {
            "it is no JSON text without anything behind it, or too deep or large".to_owned()
        })?;
        let patient = match &self.patient_at {
            Some(path) => Some(named(&tree, path)?),
            None => None,
        };
        let done = self
            .resealed(&tree, patient.as_deref())
            .map_err(|error| words(&error))?;
        self.anew += done.anew;
        self.already += done.already;
        Ok(Zeroizing::new(done.body.unwrap_or_else(|| text.to_vec())))
    }

    fn resealed(&self, tree: &Tree<'_>, patient: Option<&str>) -> Result<Resealed, Failure> {
        let about = |key| About {
            holder: Holder {
                patient,
                key,
                ..Holder::default()
            },
            unbound: self.unbound,
            now_unix: clock::now_unix(),
        };
        let workshop = &self.live.workshop;
        let (Some(patients), Some(patient)) = (&self.live.patients, patient) else {
            return Ok(reseal(tree, workshop, about(HeldKey::Unavailable))?);
        };
        let who = self.audit.pseudonym(patient);
        let found = Key::of(patients, patients.store().load(who)?)?;
        match reseal(tree, workshop, about(found.held())) {
            Err(RewriteError::Vault(PATIENT_KEY_ABSENT)) => {
                let made = made(patients, who)?;
                Ok(reseal(tree, workshop, about(made.held()))?)
            }
            done => Ok(done?),
        }
    }
}

/// A patient's key, opened.
enum Key {
    Absent,
    Destroyed,
    Held(PatientRing),
}

impl Key {
    fn of(patients: &PatientKeys, stored: Stored) -> Result<Self, Failure> {
        Ok(match stored {
            Stored::Absent => Self::Absent,
            Stored::Destroyed => Self::Destroyed,
            Stored::Key(key) => {
                let ring = PatientRing::new(*key, patients.store().domain());
                Self::Held(ring.map_err(|_| RewriteError::Vault("opened"))?)
            }
        })
    }

    fn held(&self) -> HeldKey<'_> {
        match self {
            Self::Absent => HeldKey::Absent,
            Self::Destroyed => HeldKey::Destroyed,
            Self::Held(ring) => HeldKey::Held(ring),
        }
    }
}

fn made(patients: &PatientKeys, who: Pseudonym) -> Result<Key, Failure> {
    let made = patients.store().create(who, clock::now_unix())?;
    Key::of(patients, made)
}

/// Why a record was not done.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is wrong, with what mends it; never a value.
fn words(error: &Failure) -> String {
    match error {
        Failure::Rewrite(RewriteError::Vault("opened")) => {
            "a sealed value does not open under the keys of this configuration, in its field and for its patient (records from before phi.bind: --unbound)".to_owned()
        }
        other => other.to_string(),
    }
}

/// The patient that a record names.
fn named(tree: &Tree<'_>, path: &Path) -> Result<String, String> {
    let found = paths::select(tree.root(), path)
        .map_err(|_| "it has two members of one name on the way to its patient".to_owned())?;
    let named: Vec<String> = found.into_iter().filter_map(paths::scalar_text).collect();
    match named.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err("it names no patient at --patient-at".to_owned()),
        _ => Err("it names several patients at --patient-at: a record is one patient's".to_owned()),
    }
}
