//! `phi`: the PHI of a record sealed or opened, standard input to standard output, as the Python class does it.

mod reseal;

use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use safeguard_vault::record::{self, Falsy, RecordError, SEED_FIELDS};
use safeguard_vault::ring::{KeyRing, RingKey};
use safeguard_vault::{Format, KeyMaterial, Opener, Sealer, Wrap, canonical};
use safeguard_wire::json::{Kind, Limits, Splice, Tree};
use zeroize::Zeroizing;

use super::key_file::KeyFileArgs;
use super::terminal::INPUT_BYTES_MAX;
use super::{CliError, Exit, Terminal};
use crate::clock;

#[derive(Debug, Subcommand)]
pub(super) enum PhiCommand {
    /// Seal fields of a record
    Seal(SealArgs),
    /// Open the envelopes of a record; hs1 and Fernet are told apart
    Open(OpenArgs),
    /// Seal the values of exported records anew, under the keys, format and binding of a configuration
    Reseal(reseal::ResealArgs),
}

#[derive(Debug, Args)]
pub(super) struct SealArgs {
    /// How values are sealed
    #[arg(long, value_enum, default_value_t = SealFormat::Native)]
    format: SealFormat,
    /// The key's id in the configuration (native)
    #[arg(long, value_name = "ID")]
    key_id: Option<String>,
    /// The domain that the values are bound to (native); it may be empty
    #[arg(long, value_name = "D")]
    domain: Option<String>,
    /// The patient that the values are bound to; it may be empty
    #[arg(long, value_name = "P")]
    patient: Option<String>,
    /// A field to be sealed; without any the six fields of the Python class
    #[arg(long = "field", value_name = "NAME")]
    fields: Vec<String>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
pub(super) struct OpenArgs {
    /// What the envelopes are; without it each one tells
    #[arg(long, value_enum)]
    format: Option<SealFormat>,
    /// The key's id in the configuration (native)
    #[arg(
        long,
        value_name = "ID",
        required_if_eq("format", "native"),
        requires = "domain"
    )]
    key_id: Option<String>,
    /// The domain that the values are bound to (native); it may be empty
    #[arg(long, value_name = "D", requires = "key_id")]
    domain: Option<String>,
    /// The patient that the values are bound to; it may be empty
    #[arg(long, value_name = "P")]
    patient: Option<String>,
    /// A field to be opened; without any every envelope
    #[arg(long = "field", value_name = "NAME")]
    fields: Vec<String>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct CommonArgs {
    #[command(flatten)]
    key: KeyFileArgs,
    /// Read and write one record a line
    #[arg(long)]
    lines: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SealFormat {
    /// hs1: AES-256-GCM, bound to domain, field and perhaps patient
    Native,
    /// Fernet, as the Python class writes it; falsy values stay as they are
    Fernet,
}

pub(super) fn phi(command: &PhiCommand, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    match command {
        PhiCommand::Seal(arguments) => {
            arguments.is_bound()?;
            let ring = ring(
                arguments.key_id.as_deref(),
                arguments.common.key.material()?,
            )?;
            each(&arguments.common, terminal, |text| {
                arguments.seal(&ring, text)
            })
        }
        PhiCommand::Reseal(arguments) => reseal::perform(arguments, terminal),
        PhiCommand::Open(arguments) => {
            let ring = ring(
                arguments.key_id.as_deref(),
                arguments.common.key.material()?,
            )?;
            let opener = Opener::new(
                Arc::new(ring),
                arguments.domain.as_deref().unwrap_or_default(),
            );
            each(&arguments.common, terminal, |text| {
                arguments.open(&opener, text)
            })
        }
    }
}

/// A ring of one key that seals at any time. A Fernet token names no key, so any id serves.
fn ring(key_id: Option<&str>, key: KeyMaterial) -> Result<KeyRing, CliError> {
    let key = RingKey {
        id: key_id.unwrap_or("fernet").to_owned(),
        from_unix: i64::MIN,
        key,
    };
    KeyRing::new(vec![key]).map_err(|error| CliError::Internal(error.to_string()))
}

/// Takes each record through `change`. Stops at the first that fails: nothing of that one is written.
fn each(
    common: &CommonArgs,
    terminal: &mut Terminal<'_>,
    mut change: impl FnMut(&[u8]) -> Result<Vec<u8>, String>,
) -> Result<Exit, CliError> {
    if !common.lines {
        let text = terminal.document(INPUT_BYTES_MAX)?;
        let changed = Zeroizing::new(change(&text).map_err(CliError::Finding)?);
        terminal.out.write_all(&changed)?;
        if changed.last() != Some(&b'\n') {
            terminal.out.write_all(b"\n")?;
        }
        return Ok(Exit::Well);
    }
    let mut number: u64 = 0;
    while let Some(line) = terminal.line()? {
        number += 1;
        let changed =
            change(&line).map_err(|why| CliError::Finding(format!("line {number}: {why}")))?;
        terminal.out.write_all(&Zeroizing::new(changed))?;
        terminal.out.write_all(b"\n")?;
    }
    Ok(Exit::Well)
}

impl SealArgs {
    /// A native value is bound to its key's id and its domain, so neither is guessed.
    fn is_bound(&self) -> Result<(), CliError> {
        let is_whole = self.key_id.is_some() && self.domain.is_some();
        if self.format == SealFormat::Native && !is_whole {
            let words = "the native format needs --key-id and --domain (or say --format fernet)";
            return Err(CliError::Usage(words.to_owned()));
        }
        Ok(())
    }

    fn seal(&self, ring: &KeyRing, text: &[u8]) -> Result<Vec<u8>, String> {
        let (format, falsy) = match self.format {
            SealFormat::Native => (Format::Native, Falsy::Seal),
            SealFormat::Fernet => (Format::Fernet, Falsy::Leave),
        };
        let domain = self.domain.as_deref().unwrap_or_default();
        let mut sealer = Sealer::new(ring, domain, format, Wrap::Object, clock::now_unix())
            .map_err(|error| error.to_string())?;
        let named: Vec<&str> = self.fields.iter().map(String::as_str).collect();
        let fields = if named.is_empty() {
            &SEED_FIELDS[..]
        } else {
            &named
        };
        record::seal(text, fields, falsy, self.patient.as_deref(), &mut sealer)
            .map_err(|error| error.to_string())
    }
}

impl OpenArgs {
    fn open(&self, opener: &Opener, text: &[u8]) -> Result<Vec<u8>, String> {
        let opened = match self.fields.is_empty() {
            true => record::open(text, self.patient.as_deref(), opener),
            false => self.open_named(opener, text),
        };
        opened.map_err(|error| match error {
            RecordError::Open(_) if self.key_id.is_none() => {
                format!("{error} with this key; hs1 needs --key-id and --domain too")
            }
            RecordError::Open(_) => format!("{error} with this key, key id, domain and patient"),
            other => other.to_string(),
        })
    }

    /// Only the named fields: each is opened as a record of its own, and put back in its place.
    fn open_named(&self, opener: &Opener, text: &[u8]) -> Result<Vec<u8>, RecordError> {
        // Says what is wrong with the whole before any part of it is looked at.
        canonical::canonicalize(text)?;
        let limits = Limits {
            depth_max: u32::MAX,
            nodes_max: u32::MAX,
        };
        let tree = Tree::parse(text, &limits).map_err(|_| RecordError::NotAnObject)?;
        if tree.root().kind() != Kind::Object {
            return Err(RecordError::NotAnObject);
        }
        let mut splice = Splice::new(&tree);
        for member in tree.root().children() {
            let (Some(name), Some(name_raw)) = (member.key(), member.key_raw()) else {
                continue;
            };
            if !self.fields.iter().any(|field| *field == name) {
                continue;
            }
            let head = [b"{", name_raw, b":"].concat();
            let alone = Zeroizing::new([&head, member.raw(), b"}"].concat());
            let opened = Zeroizing::new(record::open(&alone, self.patient.as_deref(), opener)?);
            let value = opened
                .strip_prefix(head.as_slice())
                .and_then(|rest| rest.strip_suffix(b"}"));
            splice.replace(member, value.unwrap_or(member.raw()));
        }
        Ok(splice.apply())
    }
}

#[cfg(test)]
mod tests;
