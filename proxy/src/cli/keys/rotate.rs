//! `keys rotate`: new keys for the rings of a configuration. What goes into the configuration is printed; the keys
//! themselves go to a file that only its owner reads, and nowhere else.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use safeguard_policy::{Key, Keys};
use safeguard_vault::random_key;
use safeguard_vault::ring::Kid;
use zeroize::Zeroizing;

use super::{Wrap, date};
use crate::cli::config::{ConfigArgs, Mode, key_sources, load};
use crate::cli::terminal::printable;
use crate::cli::{CliError, Exit, Terminal};
use crate::clock;

const SECONDS_PER_DAY: i64 = 24 * 60 * 60;
/// Days until a new key seals where `--from` doesn't say: a whole day at least to bring it to all replicas.
const DAYS_AHEAD: i64 = 2;
/// Only its owner reads the file.
const PRIVATE: u32 = 0o600;
/// Names tried for a new key before giving up.
const NAMES_MAX: u32 = 100;

#[derive(Debug, Args)]
pub(in crate::cli) struct RotateArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// After a rotation: wrap every patient's key (phi.patient_keys) anew under the key of keys.phi that seals now. Can
    /// be stopped and run again, also beside running sidecars. Values at the upstream: `phi reseal`
    #[arg(long, conflicts_with_all = ["rings", "from", "out", "wrap"])]
    pub(super) reseal: bool,
    /// The rings that get a new key; without it all
    #[arg(long = "ring", value_enum, value_name = "RING")]
    rings: Vec<Ring>,
    /// The day (UTC) from whose midnight on the new keys seal; without it the day after tomorrow
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = midnight)]
    from: Option<i64>,
    /// The file that the keys are written to, as NAME=KEY; made new, for its owner only
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present_any = ["wrap", "reseal"],
        conflicts_with = "wrap"
    )]
    out: Option<PathBuf>,
    /// Have the new keys wrapped by this source: what is printed holds them, and no file is written
    #[arg(long, value_enum, value_name = "SOURCE")]
    wrap: Option<Wrap>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ring {
    Phi,
    Integrity,
    Audit,
}

impl Ring {
    fn name(self) -> &'static str {
        match self {
            Self::Phi => "phi",
            Self::Integrity => "integrity",
            Self::Audit => "audit",
        }
    }

    fn of(self, keys: &Keys) -> &[Key] {
        match self {
            Self::Phi => &keys.phi,
            Self::Integrity => &keys.integrity,
            Self::Audit => &keys.audit,
        }
    }

    /// What is to be known before the configuration is changed.
    fn advice(self) -> &'static str {
        match self {
            Self::Phi => {
                "taken up by a reload; keep every key that sealed values which still exist"
            }
            Self::Integrity => "taken up by a reload; records of a key that is gone are refused",
            Self::Audit => {
                "needs a restart; the first key must stay first and stay: patients' pseudonyms come from it"
            }
        }
    }
}

/// A day as the second at which it begins.
fn midnight(text: &str) -> Result<i64, String> {
    let words = || "write a day as 2026-11-25".to_owned();
    let mut parts = text.splitn(3, '-').map(str::parse::<i64>);
    let mut part = || parts.next().and_then(Result::ok).ok_or_else(words);
    let (year, month, day) = (part()?, part()?, part()?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(words());
    }
    // Days from civil by Howard Hinnant, the inverse of what `clock` does; the way back tells days that don't exist.
    let shifted = if month > 2 { year } else { year - 1 };
    let era = shifted / 400;
    let of_era = shifted % 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let unix = days * SECONDS_PER_DAY;
    if date(unix) == text {
        Ok(unix)
    } else {
        Err(words())
    }
}

/// Prints what to add to the configuration, and writes the keys.
pub(super) fn rotate(
    arguments: &RotateArgs,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, CliError> {
    let keys = load(&arguments.config.paths, Mode::Check)?
        .ready(terminal)?
        .configuration
        .keys;
    let now = clock::now_unix();
    let today = now - now.rem_euclid(SECONDS_PER_DAY);
    let from = arguments
        .from
        .unwrap_or(today + DAYS_AHEAD * SECONDS_PER_DAY);
    let rings: &[Ring] = match arguments.rings.as_slice() {
        [] => Ring::value_variants(),
        chosen => chosen,
    };
    let sources = match arguments.wrap {
        Some(wrap) => Some((wrap, key_sources(&arguments.config.paths, terminal)?)),
        None => None,
    };
    let (mut secrets, mut words) = (Zeroizing::new(String::new()), String::new());
    for (number, ring) in rings.iter().enumerate() {
        if rings.iter().take(number).any(|earlier| earlier == ring) {
            continue;
        }
        let new = new_entry(*ring, ring.of(&keys), from)?;
        let source = match &sources {
            Some((wrap, sources)) => wrap.new_source(sources)?,
            None => {
                secrets = with_secret(&secrets, &new.variable)?;
                format!("${{{}}}", new.variable)
            }
        };
        let _ = writeln!(
            words,
            "# add behind the keys of keys.{}: {}\n{}",
            ring.name(),
            ring.advice(),
            new.line(&source)
        );
    }
    if let Some(out) = &arguments.out {
        keep(out, &secrets)?;
    }
    terminal.out.write_all(words.as_bytes())?;
    notices(arguments, from, now, terminal)?;
    Ok(Exit::Well)
}

/// The file's text with one more key. A text grows by moving: the old place would not be wiped.
fn with_secret(secrets: &str, variable: &str) -> Result<Zeroizing<String>, CliError> {
    let key = random_key().map_err(|error| CliError::Internal(error.to_string()))?;
    let mut longer = Zeroizing::new(String::with_capacity(secrets.len() + variable.len() + 64));
    longer.push_str(secrets);
    let _ = writeln!(longer, "{variable}={}", key.to_base64().as_str());
    Ok(longer)
}

fn notices(
    arguments: &RotateArgs,
    from: i64,
    now: i64,
    terminal: &mut Terminal<'_>,
) -> Result<(), CliError> {
    if let Some(out) = &arguments.out {
        writeln!(
            terminal.err,
            "notice: the keys are in {}: bring them to every replica's environment (or to files, with source: \"${{file:PATH}}\"), then remove it",
            out.display()
        )?;
    }
    if from <= now {
        writeln!(
            terminal.err,
            "notice: {} is not in the future: each replica seals with the new keys as soon as it has them, and one that has them not yet can't open that",
            date(from)
        )?;
    }
    Ok(())
}

/// A ring's new key: its id, the name of its variable, its day.
struct NewEntry {
    id: String,
    variable: String,
    from: i64,
}

impl NewEntry {
    /// The line for the configuration.
    fn line(&self, source: &str) -> String {
        let (id, from) = (&self.id, date(self.from));
        format!("- {{ id: {id}, from: {from}, source: \"{source}\" }}")
    }
}

fn new_entry(ring: Ring, keys: &[Key], from: i64) -> Result<NewEntry, CliError> {
    if let Some(later) = keys.iter().find(|key| key.from_unix >= from) {
        return Err(CliError::Usage(format!(
            "keys.{} has a key `{}` from {} on: a new one from {} would never seal; choose a later day with --from",
            ring.name(),
            printable(&later.id),
            date(later.from_unix),
            date(from)
        )));
    }
    let id = new_id(ring, keys, from)?;
    let bare = id.trim_start_matches(ring.name());
    let suffix: String = bare
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let variable = format!("{}_KEY{suffix}", ring.name().to_ascii_uppercase());
    Ok(NewEntry { id, variable, from })
}

/// An id that the ring has not had, nor its short form.
fn new_id(ring: Ring, keys: &[Key], from: i64) -> Result<String, CliError> {
    let first = format!("{}-{}", ring.name(), date(from));
    let more = (2..=NAMES_MAX).map(|number| format!("{first}-{number}"));
    std::iter::once(first.clone())
        .chain(more)
        .find(|id| keys.iter().all(|key| Kid::of(&key.id) != Kid::of(id)))
        .ok_or_else(|| {
            CliError::Usage(format!("keys.{} has no free id for a new key", ring.name()))
        })
}

/// Writes the file, durably, and never over another.
fn keep(path: &Path, secrets: &str) -> Result<(), CliError> {
    let words = |error: std::io::Error| {
        CliError::Usage(format!(
            "--out {}: {error} (it is made new, never written over)",
            path.display()
        ))
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PRIVATE)
        .open(path)
        .map_err(words)?;
    file.write_all(secrets.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(words)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use safeguard_policy::KeyState;

    use super::*;
    use crate::cli::config::tests::example;
    use crate::cli::terminal::tests::run;

    fn key(id: &str, from_unix: i64) -> Key {
        Key {
            id: id.into(),
            from_unix,
            state: KeyState::Active,
            key: None,
            remote: None,
        }
    }

    #[test]
    fn a_day_is_its_midnight_and_what_is_none_is_refused() {
        assert_eq!(midnight("1970-01-01"), Ok(0));
        assert_eq!(midnight("2026-11-01"), Ok(1_793_491_200));
        assert_eq!(midnight("2028-02-29"), Ok(1_835_395_200));
        for bad in [
            "2026-02-29",
            "2026-13-01",
            "2026-1-1",
            "soon",
            "2026-11-01T00",
            "1969-12-31",
        ] {
            assert!(midnight(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_new_key_is_later_than_all_and_its_id_is_new() {
        let from = midnight("2026-11-25").unwrap();
        let new = new_entry(Ring::Phi, &[key("phi-2026-11", 0)], from).unwrap();
        assert_eq!(new.variable, "PHI_KEY_2026_11_25");
        assert_eq!(
            new.line("${PHI_KEY_2026_11_25}"),
            "- { id: phi-2026-11-25, from: 2026-11-25, source: \"${PHI_KEY_2026_11_25}\" }"
        );
        let new = new_entry(Ring::Phi, &[key("phi-2026-11-25", 0)], from).unwrap();
        assert_eq!(new.id, "phi-2026-11-25-2");
        let refused = new_entry(Ring::Phi, &[key("later", from)], from);
        assert_eq!(refused.err().unwrap().exit(), Exit::Usage);
    }

    #[test]
    fn the_keys_are_in_the_private_file_only_and_the_configuration_takes_them() {
        let folder = example();
        let path = folder.path().to_str().unwrap();
        let out = folder.path().join("new.env");
        let arguments = [
            "keys",
            "rotate",
            "--config",
            path,
            "--out",
            out.to_str().unwrap(),
        ];
        let ended = run(&arguments, "");
        assert_eq!(ended.exit, Exit::Well, "{}", ended.err);
        let mode = std::fs::metadata(&out).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let secrets = std::fs::read_to_string(&out).unwrap();
        let mut policy = std::fs::read_to_string(folder.path().join("policy.yaml")).unwrap();
        for line in secrets.lines() {
            let (name, key) = line.split_once('=').unwrap();
            assert!(!ended.out.contains(key) && !ended.err.contains(key));
            assert_eq!(safeguard_vault::decode_base64(key).unwrap().len(), 32);
            let entry = ended.out.lines().find(|line| line.contains(name)).unwrap();
            let file = folder.path().join(name);
            std::fs::write(&file, key).unwrap();
            let entry = entry.replace(name, &format!("file:{}", file.display()));
            let ring = name.split('_').next().unwrap().to_ascii_lowercase();
            let flow = entry.trim_start_matches("- ");
            policy = policy
                .lines()
                .map(|line| match line.trim_start().starts_with(&format!("{ring}:")) {
                    true if line.contains("[{ id:") => line.replace("}]", &format!("}}, {flow}]")),
                    _ => line.to_owned(),
                } + "\n")
                .collect();
        }
        assert_eq!(secrets.lines().count(), 3);
        std::fs::write(folder.path().join("policy.yaml"), policy).unwrap();
        let chosen = load(&[folder.path().to_owned()], Mode::Use).unwrap();
        let keys = chosen.configuration.unwrap().keys;
        assert_eq!(
            (keys.phi.len(), keys.integrity.len(), keys.audit.len()),
            (2, 2, 2)
        );

        assert_eq!(run(&arguments, "").exit, Exit::Usage, "never written over");
        assert_eq!(std::fs::read_to_string(&out).unwrap(), secrets);
    }

    #[test]
    fn one_ring_alone_gets_a_key_from_the_day_that_is_asked_for() {
        let folder = example();
        let out = folder.path().join("new.env");
        let ended = run(
            &[
                "keys",
                "rotate",
                "--config",
                folder.path().to_str().unwrap(),
                "--ring",
                "integrity",
                "--from",
                "2999-01-01",
                "--out",
                out.to_str().unwrap(),
            ],
            "",
        );
        assert_eq!(ended.exit, Exit::Well, "{}", ended.err);
        let secrets = std::fs::read_to_string(&out).unwrap();
        assert!(secrets.starts_with("INTEGRITY_KEY_2999_01_01=") && secrets.lines().count() == 1);
        assert!(!ended.out.contains("keys.phi"), "{}", ended.out);
    }
}
