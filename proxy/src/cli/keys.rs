//! `keys`: a new key, and the rings of a configuration.

mod reseal;
mod rotate;
mod shred;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use safeguard_policy::{Key, KeySources, KeyState, SourceKind};
use safeguard_vault::random_key;
use safeguard_vault::ring::Kid;

use super::config::{ConfigArgs, Mode, key_sources, load, runtime};
use super::terminal::printable;
use super::{CliError, Exit, Terminal};
use crate::clock;
use crate::keysource::{SourceError, source_of};

const MICROS_PER_SECOND: i64 = 1_000_000;

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Print a new 256-bit key, URL-safe base64 with padding; it serves as a Fernet key too. With --wrap: one that only a
    /// source of the configuration can unwrap, ready for `source`
    Generate(GenerateArgs),
    /// List the key rings of a configuration: which key seals, which only open, and where each comes from
    List(ListArgs),
    /// Make new keys for the rings of a configuration: prints what to add to it, writes the keys to a private file
    Rotate(rotate::RotateArgs),
    /// Destroy one patient's data key, so that nothing that was sealed under it opens again; prints a signed receipt
    Shred(shred::ShredArgs),
    /// Verify the receipt of a destroyed key, on standard input
    VerifyReceipt(shred::VerifyReceiptArgs),
}

#[derive(Debug, Args)]
pub(super) struct GenerateArgs {
    /// Have the key wrapped by this source, as `key_sources` configures it
    #[arg(long, value_enum, value_name = "SOURCE", requires = "config")]
    wrap: Option<Wrap>,
    /// Files, and directories whose *.yaml and *.yml files are read, with `key_sources`; the rest need not be whole
    #[arg(long, value_name = "PATH", num_args = 1.., requires = "wrap")]
    config: Vec<PathBuf>,
}

/// What wraps keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wrap {
    Transit,
    AwsKms,
    Pkcs11,
}

impl Wrap {
    fn kind(self) -> SourceKind {
        match self {
            Self::Transit => SourceKind::Transit,
            Self::AwsKms => SourceKind::AwsKms,
            Self::Pkcs11 => SourceKind::Pkcs11,
        }
    }

    /// A new key, wrapped: the text of a `source`.
    fn new_source(self, sources: &KeySources) -> Result<String, CliError> {
        let kind = self.kind();
        let words = |error: SourceError| {
            let text = format!("{}: {error}", kind.word());
            match error {
                SourceError::Settings(_) | SourceError::Credential(_) => {
                    CliError::Configuration(text)
                }
                _ => CliError::Unavailable(text),
            }
        };
        let made = async { source_of(kind, sources)?.new_wrapped().await };
        let wrapped = runtime()?.block_on(made).map_err(words)?;
        Ok(format!("{}:{wrapped}", kind.word()))
    }
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn keys(command: &KeysCommand, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    match command {
        KeysCommand::Generate(GenerateArgs {
            wrap: Some(wrap),
            config,
        }) => {
            let source = wrap.new_source(&key_sources(config, terminal)?)?;
            writeln!(terminal.out, "{source}")?;
        }
        KeysCommand::Generate(_) => {
            let key = random_key()
                .map_err(|error| CliError::Internal(error.to_string()))?
                .to_base64();
            writeln!(terminal.out, "{}", key.as_str())?;
        }
        KeysCommand::List(arguments) => list(arguments, terminal)?,
        KeysCommand::Rotate(arguments) if arguments.reseal => {
            return reseal::reseal(&arguments.config, terminal);
        }
        KeysCommand::Rotate(arguments) => return rotate::rotate(arguments, terminal),
        KeysCommand::Shred(arguments) => return shred::shred(arguments, terminal),
        KeysCommand::VerifyReceipt(arguments) => {
            return shred::verify_receipt(arguments, terminal);
        }
    }
    Ok(Exit::Well)
}

/// Names and dates only, so no secret is opened for it.
fn list(arguments: &ListArgs, terminal: &mut Terminal<'_>) -> Result<(), CliError> {
    let keys = load(&arguments.config.paths, Mode::Check)?
        .ready(terminal)?
        .configuration
        .keys;
    let rings = [
        ("phi", &keys.phi),
        ("integrity", &keys.integrity),
        ("audit", &keys.audit),
    ];
    let width = rings
        .iter()
        .flat_map(|(_, ring)| ring.iter())
        .map(|key| key.id.chars().count())
        .max()
        .unwrap_or(0);
    writeln!(
        terminal.out,
        "{:<9}  {:<width$}  {:<16}  {:<10}  {:<10}  STATE",
        "RING", "ID", "KID", "FROM", "SOURCE"
    )?;
    for (name, ring) in rings {
        for row in rows(ring, clock::now_unix()) {
            let id = printable(&row.key.id);
            writeln!(
                terminal.out,
                "{name:<9}  {id:<width$}  {}  {}  {:<10}  {}",
                Kid::of(&row.key.id),
                date(row.key.from_unix),
                source(row.key),
                row.state
            )?;
        }
    }
    Ok(())
}

struct Row<'k> {
    key: &'k Key,
    state: &'static str,
}

/// The keys of a ring, newest first, each with what it does now.
fn rows(ring: &[Key], now_unix: i64) -> Vec<Row<'_>> {
    let mut keys: Vec<&Key> = ring.iter().collect();
    keys.sort_by(|a, b| (b.from_unix, &b.id).cmp(&(a.from_unix, &a.id)));
    let mut sealing = "seals";
    let state = |key: &Key| match key.state {
        KeyState::Destroyed => "destroyed",
        KeyState::DecryptOnly => "opens only",
        KeyState::Active if key.from_unix > now_unix => "not yet",
        KeyState::Active => std::mem::replace(&mut sealing, "opens only"),
    };
    let states: Vec<_> = keys.iter().copied().map(state).collect();
    keys.into_iter()
        .zip(states)
        .map(|(key, state)| Row { key, state })
        .collect()
}

/// Where a key comes from, in a word.
fn source(key: &Key) -> &'static str {
    match (&key.remote, key.state) {
        (Some(remote), _) => remote.kind.word(),
        (None, KeyState::Destroyed) => "none",
        (None, _) => "given",
    }
}

fn date(unix: i64) -> String {
    let ((year, month, day), _) = clock::civil(unix.saturating_mul(MICROS_PER_SECOND));
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::config::tests::example;
    use crate::cli::terminal::tests::run;

    #[test]
    fn a_new_key_is_another_one_each_time() {
        let key = run(&["keys", "generate"], "").out;
        assert_eq!(safeguard_vault::decode_base64(&key).unwrap().len(), 32);
        assert!(key.ends_with("=\n") && key != run(&["keys", "generate"], "").out);
    }

    #[test]
    fn the_newest_key_whose_date_is_reached_seals() {
        let key = |id: &str, from_unix| Key {
            id: id.into(),
            from_unix,
            state: KeyState::Active,
            key: None,
            remote: None,
        };
        let ring = [key("old", 10), key("future", 30), key("new", 20)];
        let states: Vec<_> = rows(&ring, 25)
            .iter()
            .map(|row| (row.key.id.as_str(), row.state))
            .collect();
        assert_eq!(
            states,
            [
                ("future", "not yet"),
                ("new", "seals"),
                ("old", "opens only")
            ]
        );
        assert_eq!(date(1_793_491_200), "2026-11-01");
    }

    #[test]
    fn a_key_that_only_opens_or_is_destroyed_never_seals() {
        let key = |id: &str, from_unix, state| Key {
            id: id.into(),
            from_unix,
            state,
            key: None,
            remote: None,
        };
        let ring = [
            key("active", 10, KeyState::Active),
            key("opens", 20, KeyState::DecryptOnly),
            key("gone", 30, KeyState::Destroyed),
        ];
        let states: Vec<_> = rows(&ring, 40).iter().map(|row| row.state).collect();
        assert_eq!(states, ["destroyed", "opens only", "seals"]);
        assert_eq!(
            rows(&ring, 40).first().map(|row| source(row.key)),
            Some("none")
        );
    }

    #[test]
    fn a_wrapped_key_needs_the_section_that_says_who_wraps() {
        let folder = example();
        let path = folder.path().to_str().unwrap();
        let arguments = ["keys", "generate", "--wrap", "transit", "--config", path];
        let ended = run(&arguments, "");
        assert_eq!(ended.exit, Exit::Configuration, "{}", ended.err);
        assert!(
            ended.err.contains("key_sources.transit is not configured"),
            "{}",
            ended.err
        );
    }

    #[test]
    fn without_keys_of_patients_there_is_none_to_destroy_or_to_wrap_anew() {
        let folder = example();
        let path = folder.path().to_str().unwrap();
        let ended = run(&["keys", "shred", "--config", path], "p-1\n");
        assert_eq!(ended.exit, Exit::Configuration, "{}", ended.err);
        assert!(ended.err.contains("phi.patient_keys is not configured"));
        assert!(!ended.err.contains("p-1") && ended.out.is_empty());
    }

    #[test]
    fn what_is_no_receipt_is_not_believed() {
        let public = "A".repeat(43) + "=";
        let arguments = ["keys", "verify-receipt", "--public-key", &public];
        for text in ["", "{}", "[1]", "{\"receipt\":{},\"signature\":{}}"] {
            let ended = run(&arguments, text);
            assert_eq!(ended.exit, Exit::Finding, "{text}: {}", ended.err);
            assert!(ended.err.contains("no receipt"), "{}", ended.err);
        }
        let short = run(&["keys", "verify-receipt", "--public-key", "AAAA"], "{}");
        assert_eq!(short.exit, Exit::Usage, "{}", short.err);
    }

    #[test]
    fn the_rings_are_listed_without_a_key() {
        let folder = example();
        let listed = run(
            &["keys", "list", "--config", folder.path().to_str().unwrap()],
            "",
        )
        .out;
        assert!(
            listed.contains("int-2026-11")
                && listed.contains("2026-11-01")
                && !listed.contains("qqqq"),
            "{listed}"
        );
    }
}
