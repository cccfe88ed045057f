//! Checkpoints: the size and the root of a run's tree, signed, so that whoever has one can tell whether the log before it was
//! changed, and needs no more than a public key for that.
//!
//! A checkpoint is a signed note (C2SP signed-note, Ed25519) whose text is a C2SP tlog-checkpoint:
//! ```text
//! safeguard/audit/<chain>            the tree: one a run
//! <records before it>
//! <base64 of the tree's root>
//! event audit_checkpoint <uid> <time>
//! last <base64 of the last record's hash>
//! mac <epoch> <base64 of the MAC over the lines above, under the epoch's key>
//!
//! — safeguard/audit/key/<key id> <base64 of key hash and signature>
//! ```
//! It stands in the log as an event of its own, `audit_checkpoint`, or as the end marker, `audit_stopped`, which is one too. The event
//! holds what its place does not say: root, MAC and signature. The other way round the note says everything that the event holds, so that no byte of the
//! event is without the signature. The lines behind the root let a copy that begins in the middle of a run be checked too.

use std::fmt;

use base64_simd::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::catalogue::EventName;
use crate::event::{Event, Outcome, Place, Rendered, Stamp, time_text};
use crate::keys::{KEY_BYTES, Ratchet, Tag};
use crate::record::Record;
use crate::tree::Hash;

/// What the origin of every checkpoint begins with; the chain follows.
const ORIGIN: &str = "safeguard/audit/";
/// What the name of every signing key begins with; the audit key's id follows.
const KEY_NAME: &str = "safeguard/audit/key/";
/// The signature type of Ed25519 (C2SP signed-note).
const ED25519: u8 = 1;
/// Characters of an audit key's id in the name; keys with one name are told apart by their hash.
const KEY_ID_CHARS_MAX: usize = 128;
const KEY_HASH_BYTES: usize = 4;
const SIGNATURE_BYTES: usize = 64;
/// Bytes of the longest note that is read.
pub(crate) const NOTE_BYTES_MAX: usize = 4096;

/// The text is no checkpoint of this program, or no key of one.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum NoteError {
    /// Not a signed note with a checkpoint in it.
    #[error("no checkpoint: expected a signed note (C2SP signed-note) as the audit log makes it")]
    Note,
    /// Not a verifier key.
    #[error("no public key: expected `name+hash+key` as `safeguard audit public-key` prints it")]
    Key,
}

/// A run's tree at one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The run.
    pub chain: String,
    /// Records of the run before it, which is also its own number.
    pub size: u64,
    /// The root of the tree over them.
    pub root: [u8; 32],
    /// `audit_checkpoint`, or `audit_stopped` at the run's end.
    pub event: EventName,
    /// The event's uid.
    pub uid: Uuid,
    /// When, as records write it.
    pub time: String,
    /// The hash of the last record before it.
    pub last: [u8; 32],
    /// Checkpoints of the run before it.
    pub epoch: u64,
    pub(crate) mac: Tag,
}

impl Checkpoint {
    /// The lines that the MAC covers.
    fn core(&self) -> String {
        format!(
            "{ORIGIN}{}\n{}\n{}\nevent {} {} {}\nlast {}\n",
            self.chain,
            self.size,
            STANDARD.encode_to_string(self.root),
            self.event.as_str(),
            self.uid,
            self.time,
            STANDARD.encode_to_string(self.last),
        )
    }

    /// The lines that the signature covers.
    fn text(&self) -> String {
        let mac = STANDARD.encode_to_string(self.mac);
        format!("{}mac {} {mac}\n", self.core(), self.epoch)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let chain = lines.next()?.strip_prefix(ORIGIN)?.to_owned();
        let size = number(lines.next()?)?;
        let root = bytes(lines.next()?)?;
        let mut event = lines.next()?.strip_prefix("event ")?.split(' ');
        let (name, uid, time) = (event.next()?, event.next()?, event.next()?);
        let last = bytes(lines.next()?.strip_prefix("last ")?)?;
        let (epoch, mac) = lines.next()?.strip_prefix("mac ")?.split_once(' ')?;
        let parsed = Self {
            chain,
            size,
            root,
            event: EventName::parse(name).filter(|name| signs(*name))?,
            uid: Uuid::try_parse(uid).ok()?,
            time: time.to_owned(),
            last,
            epoch: number(epoch)?,
            mac: bytes(mac)?,
        };
        // One text for one checkpoint, and nothing behind it.
        (parsed.text() == text).then_some(parsed)
    }

    /// Whether the forward-secure MAC is the one of this key, whose turn must have come.
    pub(crate) fn mac_holds(&self, ratchet: &Ratchet) -> bool {
        self.epoch == ratchet.epoch() && ratchet.holds(&self.core(), &self.mac)
    }
}

/// Whether events of this name are checkpoints.
fn signs(name: EventName) -> bool {
    matches!(name, EventName::AuditCheckpoint | EventName::AuditStopped)
}

/// A checkpoint with its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// What is signed.
    pub checkpoint: Checkpoint,
    /// The name of the key that signed it.
    pub signer: String,
    signature: [u8; KEY_HASH_BYTES + SIGNATURE_BYTES],
}

impl SignedCheckpoint {
    /// The note, as other programs read it.
    #[must_use]
    pub fn note(&self) -> String {
        let signature = STANDARD.encode_to_string(self.signature);
        let text = self.checkpoint.text();
        format!("{text}\n\u{2014} {} {signature}\n", self.signer)
    }

    /// Reads a note with one signature of ours; further ones, of witnesses, are passed over.
    ///
    /// # Errors
    /// It is no such note.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        Self::read(note).ok_or(NoteError::Note)
    }

    fn read(note: &str) -> Option<Self> {
        let (text, signatures) = (note.len() <= NOTE_BYTES_MAX)
            .then(|| note.split_once("\n\n"))
            .flatten()?;
        let mut signatures = signatures.lines().filter_map(|line| {
            let (name, signature) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
            name.starts_with(KEY_NAME)
                .then(|| Some((name.to_owned(), bytes(signature)?)))?
        });
        let (signer, signature) = signatures.next()?;
        Some(Self {
            checkpoint: Checkpoint::parse(&format!("{text}\n"))?,
            signer,
            signature,
        })
    }

    /// The checkpoint that a record holds; none where it holds none.
    pub(crate) fn of(record: &Record) -> Option<Result<Self, NoteError>> {
        let signature = record.text(&["details", "signature"]);
        match record.name() {
            EventName::AuditCheckpoint => {}
            EventName::AuditStopped if signature.is_some() => {}
            _ => return None,
        }
        let detail = |name| record.text(&["details", name]);
        let epoch = record.value().get("details")?.get("epoch");
        let signed = || {
            Some(Self {
                checkpoint: Checkpoint {
                    chain: record.chain().to_owned(),
                    size: record.seq(),
                    root: bytes(detail("root")?)?,
                    event: record.name(),
                    uid: record.uid(),
                    time: record.time().to_owned(),
                    last: *record.prev(),
                    epoch: epoch?.as_u64()?,
                    mac: bytes(detail("mac")?)?,
                },
                signer: detail("key")?.to_owned(),
                signature: bytes(signature?)?,
            })
        };
        Some(signed().ok_or(NoteError::Note))
    }

    /// Whether the signature is this key's.
    #[must_use]
    pub fn holds(&self, key: &VerifierKey) -> bool {
        let (hash, signature) = self.signature.split_at(KEY_HASH_BYTES);
        let signature = Signature::from_slice(signature);
        let text = self.checkpoint.text();
        hash == key.hash
            && self.signer == key.name
            && signature.is_ok_and(|s| key.key.verify_strict(text.as_bytes(), &s).is_ok())
    }

    /// Whether the signature names this key.
    pub(crate) fn is_of(&self, key: &VerifierKey) -> bool {
        self.signer == key.name && self.signature.starts_with(&key.hash)
    }

    /// The event that holds it.
    fn event(&self) -> Event<'_> {
        let c = &self.checkpoint;
        Event::new(c.event, Outcome::Success)
            .detail("epoch", i64::try_from(c.epoch).unwrap_or(i64::MAX))
            .detail("key", self.signer.as_str())
            .detail("mac", STANDARD.encode_to_string(c.mac))
            .detail("root", STANDARD.encode_to_string(c.root))
            .detail("signature", STANDARD.encode_to_string(self.signature))
    }

    /// Whether a record is the event of this checkpoint to the byte, in a run of the pod with this name (as JSON text).
    pub(crate) fn is_whole(&self, record: &Record, pod: &[u8]) -> bool {
        let c = &self.checkpoint;
        let stamp = Stamp {
            uid: c.uid,
            micros: record.micros(),
            stranger: false,
        };
        let place = Place {
            chain: &c.chain,
            pod,
            seq: c.size,
            prev: &c.last,
        };
        let mut out = Vec::with_capacity(record.bytes().len());
        Rendered::of(&self.event(), stamp).append(&place, &mut out);
        out == record.bytes()
    }
}

/// Where a checkpoint will stand.
#[derive(Debug)]
pub(crate) struct Here<'a> {
    pub(crate) chain: &'a str,
    pub(crate) size: u64,
    pub(crate) root: Hash,
    pub(crate) event: EventName,
    pub(crate) stamp: Stamp,
    pub(crate) last: Hash,
}

/// What makes the checkpoints of one run.
#[derive(Debug)]
pub(crate) struct Sealer {
    signer: Signer,
    ratchet: Ratchet,
}

impl Sealer {
    pub(crate) fn new(signer: Signer, ratchet: Ratchet) -> Self {
        Self { signer, ratchet }
    }

    /// A checkpoint, written out but for its place.
    pub(crate) fn seal(&self, here: &Here<'_>) -> Rendered {
        let mut checkpoint = Checkpoint {
            chain: here.chain.to_owned(),
            size: here.size,
            root: here.root,
            event: here.event,
            uid: here.stamp.uid,
            time: time_text(here.stamp.micros),
            last: here.last,
            epoch: self.ratchet.epoch(),
            mac: Tag::default(),
        };
        checkpoint.mac = self.ratchet.tag(&checkpoint.core());
        let signature = self.signer.sign(&checkpoint.text());
        let signed = SignedCheckpoint {
            checkpoint,
            signer: self.signer.name.clone(),
            signature,
        };
        Rendered::of(&signed.event(), here.stamp)
    }

    /// The last checkpoint stands: its key is erased.
    pub(crate) fn step(&mut self) {
        self.ratchet.step();
    }
}

/// A signing key, which is erased when it goes.
pub(crate) struct Signer {
    name: String,
    key: SigningKey,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// The key of this seed, named after the audit key that it comes from.
    pub(crate) fn new(key_id: &str, seed: &[u8; KEY_BYTES]) -> Self {
        // The name of a note's key holds neither spaces nor `+`; an event's text is of bounded length.
        let plain = |c: char| c.is_ascii_graphic() && c != '+';
        let id: String = key_id
            .chars()
            .take(KEY_ID_CHARS_MAX)
            .map(|c| if plain(c) { c } else { '_' })
            .collect();
        Self {
            name: format!("{KEY_NAME}{id}"),
            key: SigningKey::from_bytes(seed),
        }
    }

    pub(crate) fn verifier(&self) -> VerifierKey {
        VerifierKey::new(self.name.clone(), self.key.verifying_key())
    }

    /// A text of ours as a signed note. It must end with a line break, and hold no empty line.
    pub(crate) fn note(&self, text: &str) -> String {
        let signature = STANDARD.encode_to_string(self.sign(text));
        format!("{text}\n\u{2014} {} {signature}\n", self.name)
    }

    fn sign(&self, text: &str) -> [u8; KEY_HASH_BYTES + SIGNATURE_BYTES] {
        let mut signature = [0; KEY_HASH_BYTES + SIGNATURE_BYTES];
        let (hash, rest) = signature.split_at_mut(KEY_HASH_BYTES);
        hash.copy_from_slice(&key_hash(&self.name, &self.key.verifying_key()));
        rest.copy_from_slice(&self.key.sign(text.as_bytes()).to_bytes());
        signature
    }
}

/// The public key of checkpoints: `name+hash+key` (C2SP signed-note).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    hash: [u8; KEY_HASH_BYTES],
    key: VerifyingKey,
}

impl VerifierKey {
    fn new(name: String, key: VerifyingKey) -> Self {
        let hash = key_hash(&name, &key);
        Self { name, hash, key }
    }

    /// Its name, which signatures carry.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads what [`fmt::Display`] writes.
    ///
    /// # Errors
    /// It is no such text, or its hash is another key's.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        Self::read(text.trim()).ok_or(NoteError::Key)
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '+');
        let (name, hash, encoded) = (parts.next()?, parts.next()?, parts.next()?);
        let [ED25519, raw @ ..] = bytes::<{ 1 + KEY_BYTES }>(encoded)? else {
            return None;
        };
        let key = VerifyingKey::from_bytes(&raw).ok()?;
        let read = Self::new(name.to_owned(), key);
        (name.starts_with(KEY_NAME) && crate::keys::unhex(hash) == Some(read.hash)).then_some(read)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut encoded = vec![ED25519];
        encoded.extend_from_slice(self.key.as_bytes());
        let (hash, key) = (
            crate::keys::hex(&self.hash),
            STANDARD.encode_to_string(encoded),
        );
        write!(f, "{}+{hash}+{key}", self.name)
    }
}

/// The first bytes of SHA-256 over the name, a line break, the type and the key.
fn key_hash(name: &str, key: &VerifyingKey) -> [u8; KEY_HASH_BYTES] {
    let digest = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', ED25519])
        .chain_update(key.as_bytes())
        .finalize();
    digest
        .first_chunk::<KEY_HASH_BYTES>()
        .copied()
        .unwrap_or_default()
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let decoded = STANDARD.decode_to_vec(text).ok()?;
    decoded.try_into().ok()
}

/// The text of a note that one of these keys has signed.
pub(crate) fn note_text<'n>(note: &'n str, keys: &[VerifierKey]) -> Option<&'n str> {
    let end = note.find("\n\n")? + 1;
    let (text, rest) = note.split_at_checked(end)?;
    let is_signed = rest.lines().any(|line| {
        let signed = line
            .strip_prefix("\u{2014} ")
            .and_then(|line| line.split_once(' '));
        let Some((name, encoded)) = signed else {
            return false;
        };
        let Some(signature) = bytes::<{ KEY_HASH_BYTES + SIGNATURE_BYTES }>(encoded) else {
            return false;
        };
        let (hash, signature) = signature.split_at(KEY_HASH_BYTES);
        keys.iter().any(|key| {
            key.name == name
                && key.hash == hash
                && Signature::from_slice(signature).is_ok_and(|signature| {
                    key.key.verify_strict(text.as_bytes(), &signature).is_ok()
                })
        })
    });
    is_signed.then_some(text)
}

/// A number in digits, without leading zeros.
pub(crate) fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests;
