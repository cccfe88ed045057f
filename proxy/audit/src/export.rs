//! A bundle of events that can be handed over: the events, what proves them, and a signed list of it all.
//!
//! ```text
//! events.jsonl     the records as the log has them, one a line
//! events.FORMAT    the same in another format, if one was asked for
//! proofs/UID       the proof of each event, of at most [`PROOFS_MAX`]
//! manifest.note    what was asked, of what, when, and each file with its length and SHA-256 (C2SP signed note)
//! ```
//! The signature is that of the key that signs checkpoints. It says that the holder of the audit key has made this answer;
//! a proof says that the event is in the log, which the holder could not have made up afterwards without other checkpoints than were told.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::checkpoint::{VerifierKey, note_text};
use crate::event::time_text;
use crate::keys::{AuditKeys, KeyError, hex};
use crate::proof::InclusionProof;
use crate::record::Record;
use crate::render::EventFormat;

/// Events that are each proved: a proof is a walk through the log.
pub const PROOFS_MAX: usize = 100;
/// The first line of a manifest, which no checkpoint begins with.
const HEADER: &str = "safeguard/audit/export/v1";
const RECORDS: &str = "events.jsonl";
const PROOFS: &str = "proofs";
const MANIFEST: &str = "manifest.note";
/// The longest manifest that is read, in bytes.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;
/// The longest file of a bundle that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 30;

/// What a bundle is of.
#[derive(Debug)]
pub struct About<'a> {
    /// Where the events were read.
    pub place: &'a str,
    /// What was asked for.
    pub query: &'a str,
    /// When, in seconds since 1970.
    pub now_unix: i64,
    /// Another format beside the records.
    pub format: Option<EventFormat>,
}

/// Why no bundle was made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The directory is there already, or can't be written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The ring has no key yet.
    #[error("{0}")]
    Key(#[from] KeyError),
}

/// What is wrong with a bundle.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportFault {
    /// No such bundle, or a part of it can't be read.
    #[error("{0} can't be read: {1}")]
    Unreadable(String, String),
    /// The manifest is none.
    #[error("manifest.note is no manifest of an export")]
    Manifest,
    /// Signed by no key that is trusted here, or changed.
    #[error("manifest.note is not signed with a key that is trusted here, or was changed")]
    Signature,
    /// A file is not as it was signed.
    #[error("{0} is not as it was when the export was made")]
    Changed(String),
    /// A file that the manifest does not name.
    #[error("{0} is not of the export")]
    Foreign(String),
    /// A proof proves nothing, or another event.
    #[error("{0} proves no event of the export")]
    Unproved(String),
}

/// A bundle that is as it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Its events.
    pub events: usize,
    /// How many of them are proved to be in the log.
    pub proved: usize,
    /// What the manifest says, without the files.
    pub about: Vec<String>,
}

/// Makes a bundle in a directory that is not there yet (0700).
///
/// # Errors
/// [`ExportError`]; what was written until then stays.
pub fn write(
    directory: &Path,
    records: &[Record],
    proofs: &[InclusionProof],
    about: &About<'_>,
    keys: &AuditKeys,
) -> Result<(), ExportError> {
    let signer = keys.sealing(about.now_unix)?.signer();
    let signer = signer.ok_or(KeyError::NoneYet)?;
    let mut folder = DirBuilder::new();
    folder.mode(0o700).create(directory)?;
    folder.create(directory.join(PROOFS))?;
    let one_line = |text: &str| text.replace(char::is_control, " ");
    let mut manifest = format!(
        "{HEADER}\nmade {} by safeguard {}\nfrom {}\nasked {}\nevents {}\n",
        time_text(about.now_unix.saturating_mul(1_000_000)),
        env!("CARGO_PKG_VERSION"),
        one_line(about.place),
        one_line(about.query),
        records.len()
    );
    let mut put = |name: &str, content: &[u8]| -> io::Result<()> {
        write_new(&directory.join(name), content)?;
        let digest = hex(&Sha256::digest(content));
        manifest.push_str(&format!("file {digest} {} {name}\n", content.len()));
        Ok(())
    };
    put(RECORDS, &lines(records, EventFormat::Native))?;
    if let Some(format) = about.format.filter(|format| *format != EventFormat::Native) {
        let word = EventFormat::ALL.iter().find(|(_, known)| *known == format);
        let name = format!("events.{}", word.map_or("txt", |(word, _)| word));
        put(&name, &lines(records, format))?;
    }
    for proof in proofs {
        let name = format!("{PROOFS}/{}", proof.record.uid().hyphenated());
        put(&name, proof.text().as_bytes())?;
    }
    write_new(&directory.join(MANIFEST), signer.note(&manifest).as_bytes())?;
    Ok(())
}

fn lines(records: &[Record], format: EventFormat) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        out.extend(format.render(record));
        out.push(b'\n');
    }
    out
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Judges a bundle with public keys alone.
///
/// # Errors
/// [`ExportFault`]: the first thing that is wrong with it.
pub fn verify(directory: &Path, keys: &[VerifierKey]) -> Result<Exported, ExportFault> {
    let note = read(directory, MANIFEST, MANIFEST_BYTES_MAX)?;
    let note = String::from_utf8(note).map_err(|_| ExportFault::Manifest)?;
    if !note.starts_with(&format!("{HEADER}\n")) {
        return Err(ExportFault::Manifest);
    }
    let text = note_text(&note, keys).ok_or(ExportFault::Signature)?;
    let (mut about, mut names) = (Vec::new(), BTreeSet::new());
    for line in text.lines().skip(1) {
        match line.strip_prefix("file ") {
            Some(file) => names.insert(as_signed(directory, file)?),
            None => {
                about.push(line.to_owned());
                true
            }
        };
    }
    nothing_else(directory, &names)?;
    let records = records(directory)?;
    let proved = names.iter().filter(|name| name.starts_with(PROOFS));
    let mut count = 0;
    for name in proved {
        let text = String::from_utf8_lossy(&read(directory, name, FILE_BYTES_MAX)?).into_owned();
        let proof = InclusionProof::verified(&text, keys);
        let of_it = proof.is_ok_and(|proof| records.contains(proof.record.bytes()));
        if !of_it {
            return Err(ExportFault::Unproved(name.clone()));
        }
        count += 1;
    }
    Ok(Exported {
        events: records.len(),
        proved: count,
        about,
    })
}

/// The file of a manifest's line, whose content is what was signed.
fn as_signed(directory: &Path, line: &str) -> Result<String, ExportFault> {
    let mut words = line.splitn(3, ' ');
    let (Some(digest), Some(length), Some(name)) = (words.next(), words.next(), words.next())
    else {
        return Err(ExportFault::Manifest);
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let inner = name.strip_prefix("proofs/").unwrap_or(name);
    if inner.is_empty() || inner.starts_with('.') || !inner.chars().all(plain) {
        return Err(ExportFault::Manifest);
    }
    let content = read(directory, name, FILE_BYTES_MAX)?;
    if content.len().to_string() != length || hex(&Sha256::digest(&content)) != digest {
        return Err(ExportFault::Changed(name.to_owned()));
    }
    Ok(name.to_owned())
}

/// What was put beside the signed files would be taken for one of them.
fn nothing_else(directory: &Path, names: &BTreeSet<String>) -> Result<(), ExportFault> {
    for (folder, prefix) in [
        (directory.to_owned(), ""),
        (directory.join(PROOFS), "proofs/"),
    ] {
        let unreadable = |error: io::Error| {
            ExportFault::Unreadable(folder.display().to_string(), error.to_string())
        };
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            let name = format!("{prefix}{}", name.to_string_lossy());
            if name != MANIFEST && name != PROOFS && !names.contains(&name) {
                return Err(ExportFault::Foreign(name));
            }
        }
    }
    Ok(())
}

/// The canonical bytes of the events.
fn records(directory: &Path) -> Result<BTreeSet<Vec<u8>>, ExportFault> {
    let content = read(directory, RECORDS, FILE_BYTES_MAX)?;
    let lines = content
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let record = Record::parse(line);
            record.map(|record| record.bytes().to_vec())
        })
        .collect::<Result<_, _>>()
        .map_err(|_| ExportFault::Changed(RECORDS.to_owned()))
}

fn read(directory: &Path, name: &str, bytes_max: u64) -> Result<Vec<u8>, ExportFault> {
    let unreadable = |why: String| ExportFault::Unreadable(name.to_owned(), why);
    let file = File::open(directory.join(name)).map_err(|error| unreadable(error.to_string()))?;
    let mut content = Vec::new();
    file.take(bytes_max + 1)
        .read_to_end(&mut content)
        .map_err(|error| unreadable(error.to_string()))?;
    if content.len() as u64 > bytes_max {
        return Err(unreadable(format!("longer than {bytes_max} bytes")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::proof::prove;
    use crate::spool::model::keys;
    use crate::verify::tests::Log;

    fn bundle(folder: &Path) -> (PathBuf, usize) {
        let log = Log::checked(9, 3);
        let records = log.records();
        let proof = |record: &Record| {
            let made = prove(&log.spool, &log.state, &keys(), record.uid()).unwrap();
            made.unwrap()
        };
        let proofs: Vec<_> = records[..3].iter().map(proof).collect();
        let directory = folder.join("bundle");
        let about = About {
            place: "the spool\nfile x",
            query: "all",
            now_unix: 1_800_000_000,
            format: Some(EventFormat::Ocsf18),
        };
        write(&directory, &records, &proofs, &about, &keys()).unwrap();
        (directory, records.len())
    }

    #[test]
    fn a_bundle_is_judged_with_the_public_key_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (directory, events) = bundle(folder.path());
        let exported = verify(&directory, &keys().verifier_keys()).unwrap();
        assert_eq!((exported.events, exported.proved), (events, 3));
        assert!(
            exported.about.contains(&"from the spool file x".to_owned()),
            "{exported:?}"
        );
        assert_eq!(verify(&directory, &[]).unwrap_err(), ExportFault::Signature);
        let again = write(
            &directory,
            &[],
            &[],
            &About {
                place: "",
                query: "",
                now_unix: 1_800_000_000,
                format: None,
            },
            &keys(),
        );
        assert!(
            matches!(again, Err(ExportError::Io(_))),
            "nothing is written over"
        );
    }

    #[test]
    fn every_change_of_a_bundle_is_found_and_named() {
        let trusted = keys().verifier_keys();
        let changed = |change: &dyn Fn(&Path)| {
            let folder = tempfile::tempdir().unwrap();
            let (directory, _) = bundle(folder.path());
            change(&directory);
            verify(&directory, &trusted).unwrap_err()
        };
        let flip = |name: &'static str| {
            move |directory: &Path| {
                let mut content = fs::read(directory.join(name)).unwrap();
                let middle = content.len() / 2;
                content[middle] ^= 1;
                fs::write(directory.join(name), content).unwrap();
            }
        };
        assert_eq!(
            changed(&flip(RECORDS)),
            ExportFault::Changed(RECORDS.to_owned())
        );
        assert_eq!(
            changed(&flip("events.ocsf")),
            ExportFault::Changed("events.ocsf".to_owned())
        );
        assert!(matches!(
            changed(&flip(MANIFEST)),
            ExportFault::Signature | ExportFault::Manifest
        ));
        let gone = changed(&|directory| fs::remove_file(directory.join(RECORDS)).unwrap());
        assert!(matches!(gone, ExportFault::Unreadable(name, _) if name == RECORDS));
        let more = changed(&|directory| fs::write(directory.join("proofs/other"), "x").unwrap());
        assert_eq!(more, ExportFault::Foreign("proofs/other".to_owned()));
    }
}
