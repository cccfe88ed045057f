//! The proof that one event is in the log: with the public key alone, and without any other event.
//!
//! Its form is C2SP tlog-proof: the event's number, the hashes that lead from it to the root (RFC 6962 §2.1.1), and the checkpoint that signs the root. The
//! event itself stands in front, as the format's `extra` data, so that the one file is enough.
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <base64 of the event's canonical bytes>
//! index <its number>
//! <base64 of a hash> …
//!
//! <the checkpoint>
//! ```

use std::io;
use std::path::Path;

use base64_simd::STANDARD;
use uuid::Uuid;

use crate::checkpoint::{SignedCheckpoint, VerifierKey, number};
use crate::keys::AuditKeys;
use crate::record::{Record, fingerprint};
use crate::spool::FRAME_BYTES_MAX;
use crate::tree::{Hash, PROOF_HASHES_MAX, Prover, root_of};
use crate::verify::{Report, walk};

const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// Bytes of the longest proof that is read: an event in base64, and little else.
const PROOF_BYTES_MAX: usize = FRAME_BYTES_MAX * 2;

/// An event with what proves it.
#[derive(Debug, Clone)]
pub struct InclusionProof {
    /// The event.
    pub record: Record,
    /// The checkpoint that covers it.
    pub checkpoint: SignedCheckpoint,
    hashes: Vec<Hash>,
}

/// There is no proof of this event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProveError {
    /// No such event.
    #[error("the log holds no event of this uid")]
    Unknown,
    /// The log is not whole, and what is not can't be proved.
    #[error("the log is not whole, so nothing of it is proved: run `safeguard audit verify`")]
    NotWhole(Box<Report>),
    /// It is too young, or the last of a run that crashed.
    #[error(
        "no checkpoint of its run covers this event: one follows within a second as long as the sidecar runs; at the end of a run that did not end cleanly there is none"
    )]
    NotCovered,
    /// Its run's first records were let go.
    #[error("the first records of its run are not in this log any more")]
    Incomplete,
}

/// The proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Another format.
    #[error("no proof: expected the text that `safeguard audit prove` writes")]
    Unreadable,
    /// The checkpoint's signature.
    #[error("its checkpoint is not signed with a key that is trusted here")]
    Signature,
    /// The event is not where it says that it is.
    #[error("the event is not in the tree that the checkpoint signs: one of them was changed")]
    NotIncluded,
}

/// Makes the proof of one event from a spool, which is verified on the way.
///
/// # Errors
/// A directory or file can't be read; [`ProveError`] where the event can't be proved.
pub fn prove(
    directory: &Path,
    state: &Path,
    keys: &AuditKeys,
    uid: Uuid,
) -> io::Result<Result<InclusionProof, ProveError>> {
    let mut event: Option<Record> = None;
    let mut checkpoint: Option<SignedCheckpoint> = None;
    let mut first = None;
    let mut run = (String::new(), 0);
    let report = walk(directory, state, keys, |record| {
        if run.0 != record.chain() {
            run = (record.chain().to_owned(), record.seq());
        }
        if let Some(event) = &event
            && checkpoint.is_none()
            && event.chain() == record.chain()
        {
            checkpoint = SignedCheckpoint::of(record).and_then(Result::ok);
        }
        if record.uid() == uid && event.is_none() {
            (event, first) = (Some(record.clone()), Some(run.1));
        }
    })?;
    if !report.whole() {
        return Ok(Err(ProveError::NotWhole(Box::new(report))));
    }
    let Some(event) = event else {
        return Ok(Err(ProveError::Unknown));
    };
    let Some(checkpoint) = checkpoint else {
        return Ok(Err(ProveError::NotCovered));
    };
    let prover = Prover::new(event.seq(), checkpoint.checkpoint.size).filter(|_| first == Some(0));
    let Some(mut prover) = prover else {
        return Ok(Err(ProveError::Incomplete));
    };
    walk(directory, state, keys, |record| {
        if record.chain() == event.chain() {
            prover.see(record.seq(), record.hash());
        }
    })?;
    Ok(prover
        .proof()
        .ok_or(ProveError::Incomplete)
        .map(|hashes| InclusionProof {
            record: event,
            checkpoint,
            hashes,
        }))
}

impl InclusionProof {
    /// The proof as a text.
    #[must_use]
    pub fn text(&self) -> String {
        let extra = STANDARD.encode_to_string(self.record.bytes());
        let mut text = format!("{HEADER}\nextra {extra}\nindex {}\n", self.record.seq());
        for hash in &self.hashes {
            text.push_str(&STANDARD.encode_to_string(hash));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint.note());
        text
    }

    /// Reads a proof and believes it only if the checkpoint is signed with one of these keys and the event is in its tree.
    ///
    /// # Errors
    /// See [`ProofError`].
    pub fn verified(text: &str, keys: &[VerifierKey]) -> Result<Self, ProofError> {
        let (proof, index) = Self::read(text).ok_or(ProofError::Unreadable)?;
        if !keys.iter().any(|key| proof.checkpoint.holds(key)) {
            return Err(ProofError::Signature);
        }
        let said = &proof.checkpoint.checkpoint;
        let leaf = fingerprint(proof.record.bytes());
        let is_there = index == proof.record.seq()
            && proof.record.chain() == said.chain
            && root_of(leaf, index, said.size, &proof.hashes) == Some(said.root);
        is_there.then_some(proof).ok_or(ProofError::NotIncluded)
    }

    fn read(text: &str) -> Option<(Self, u64)> {
        if text.len() > PROOF_BYTES_MAX {
            return None;
        }
        let (head, note) = text.split_once("\n\n")?;
        let mut lines = head.split('\n');
        if lines.next()? != HEADER {
            return None;
        }
        let record = STANDARD.decode_to_vec(lines.next()?.strip_prefix("extra ")?);
        let index = number(lines.next()?.strip_prefix("index ")?)?;
        let mut hashes = Vec::new();
        for line in lines {
            hashes.push(STANDARD.decode_to_vec(line).ok()?.try_into().ok()?);
            if hashes.len() > PROOF_HASHES_MAX {
                return None;
            }
        }
        let proof = Self {
            record: Record::parse(&record.ok()?).ok()?,
            checkpoint: SignedCheckpoint::parse(note).ok()?,
            hashes,
        };
        Some((proof, index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::EventName;
    use crate::spool::model::keys;
    use crate::verify::tests::Log;

    #[test]
    fn every_event_that_a_checkpoint_covers_is_proved_to_whoever_has_the_public_key() {
        let log = Log::checked(9, 3);
        let mut proved = 0;
        for record in log.records() {
            let made = prove(&log.spool, &log.state, &keys(), record.uid()).unwrap();
            if record.name() == EventName::AuditStopped {
                assert_eq!(made.err(), Some(ProveError::NotCovered));
                continue;
            }
            let text = made.unwrap().text();
            let read = InclusionProof::verified(&text, &keys().verifier_keys()).unwrap();
            assert_eq!(read.record, record);
            proved += 1;
        }
        assert!(proved > 8);
        let unknown = prove(&log.spool, &log.state, &keys(), Uuid::nil()).unwrap();
        assert_eq!(unknown.err(), Some(ProveError::Unknown));
    }

    #[test]
    fn a_changed_proof_proves_nothing() {
        let log = Log::checked(9, 4);
        let uid = log.records()[2].uid();
        let proof = prove(&log.spool, &log.state, &keys(), uid)
            .unwrap()
            .unwrap();
        let (text, trusted) = (proof.text(), keys().verifier_keys());
        assert!(InclusionProof::verified(&text, &trusted).is_ok());
        let letters: Vec<char> = text.chars().collect();
        for at in 0..letters.len() {
            let mut changed = letters.clone();
            changed[at] = if letters[at] == 'A' { 'B' } else { 'A' };
            let changed: String = changed.iter().collect();
            assert!(
                InclusionProof::verified(&changed, &trusted).is_err(),
                "letter {at}"
            );
        }
        assert_eq!(
            InclusionProof::verified(&text, &[]).err(),
            Some(ProofError::Signature)
        );
        let mut other = proof.clone();
        other.record = log.records()[1].clone();
        assert_eq!(
            InclusionProof::verified(&other.text(), &trusted).err(),
            Some(ProofError::NotIncluded)
        );
    }

    #[test]
    fn of_a_log_that_is_not_whole_nothing_is_proved() {
        let log = Log::checked(9, 3);
        let uid = log.records()[1].uid();
        log.flip_last_byte(0);
        let made = prove(&log.spool, &log.state, &keys(), uid).unwrap();
        assert!(matches!(made.err(), Some(ProveError::NotWhole(_))));
    }
}
