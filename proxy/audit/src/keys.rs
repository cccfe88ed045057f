//! The audit key and what is derived from it.
//!
//! Every use has a key of its own by HKDF-SHA256 (RFC 5869), so that a reader who is given one use gets no other:
//! frames (the MAC of a record), heads and cursors, sealing (the payload in a sink), pseudonyms, the signature of checkpoints
//! and the ratchet of their MAC. The last two are forgotten once the process's own run has begun.
//!
//! **Pseudonyms don't rotate.** They come from the *first* key of the ring, whichever key seals today: an accounting of
//! disclosures over six years must find the same patient under the same name. New keys are therefore put behind it, and the
//! first one stays in the ring for as long as its events do; the spool refuses to open when it was swapped.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Mutex;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::canonical::push_hex;
use crate::checkpoint::{SignedCheckpoint, Signer, VerifierKey};
use crate::spool::lock;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a key's short id: the first of SHA-256 of its name.
pub(crate) const KID_BYTES: usize = 8;
/// Bytes of a patient's pseudonym.
pub const PSEUDONYM_BYTES: usize = 16;

pub(crate) type Kid = [u8; KID_BYTES];
pub(crate) type Tag = [u8; 32];
type HmacSha256 = Hmac<Sha256>;

/// One key of the audit ring.
pub struct AuditKey {
    id: String,
    from_unix: i64,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

impl AuditKey {
    /// A key by its name, the second (Unix time) from which it seals, and its 32 bytes.
    #[must_use]
    pub fn new(id: impl Into<String>, from_unix: i64, bytes: [u8; KEY_BYTES]) -> Self {
        Self {
            id: id.into(),
            from_unix,
            bytes: Zeroizing::new(bytes),
        }
    }
}

/// The audit ring does not serve.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// No key at all.
    #[error("keys.audit holds no key: generate one with `safeguard keys generate`")]
    Empty,
    /// Two keys could not be told apart in a record.
    #[error("keys.audit: the keys `{0}` and `{1}` have the same short id: rename one")]
    Collision(String, String),
    /// Every key's time is still to come.
    #[error("keys.audit: no key is valid yet: every `from` lies in the future")]
    NoneYet,
}

/// Everything the trail needs of one key.
pub(crate) struct Derived {
    pub(crate) id: String,
    pub(crate) kid: Kid,
    from_unix: i64,
    frame: HmacSha256,
    head: HmacSha256,
    seal: Zeroizing<[u8; KEY_BYTES]>,
    receipt: Zeroizing<[u8; KEY_BYTES]>,
    verifier: VerifierKey,
    /// What a run begins with; none once [`AuditKeys::forget_beginnings`] was called.
    beginning: Mutex<Option<Beginning>>,
}

/// What checkpoints of a run are made with: its signing key's seed, and what its ratchet starts from.
#[derive(Clone)]
struct Beginning {
    sign: Zeroizing<[u8; KEY_BYTES]>,
    ratchet: Zeroizing<[u8; KEY_BYTES]>,
}

/// The key of a run's forward-secure MAC. Each checkpoint has a key of its own, from which the one before can't be had.
pub(crate) struct Ratchet {
    key: Zeroizing<[u8; KEY_BYTES]>,
    epoch: u64,
}

impl Ratchet {
    fn start(base: &[u8; KEY_BYTES], chain: &str) -> Self {
        Self {
            key: Zeroizing::new(tag(&mac_with(base), &[b"start", chain.as_bytes()])),
            epoch: 0,
        }
    }

    /// Keys before this one.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn tag(&self, text: &str) -> Tag {
        tag(&mac_with(&self.key), &[b"checkpoint", text.as_bytes()])
    }

    /// Constant time.
    pub(crate) fn holds(&self, text: &str, claimed: &Tag) -> bool {
        holds(
            &mac_with(&self.key),
            &[b"checkpoint", text.as_bytes()],
            claimed,
        )
    }

    /// The next key takes this one's place, which is erased.
    pub(crate) fn step(&mut self) {
        self.key = Zeroizing::new(tag(&mac_with(&self.key), &[b"next"]));
        self.epoch += 1;
    }
}

/// From what the key comes that signs receipts: 32 bytes of an audit key's own for this use. No `Debug` of its bytes.
pub struct ReceiptSeed {
    /// The audit key's id.
    pub key_id: String,
    /// The seed of an Ed25519 key (RFC 8032 §5.1.5).
    pub seed: Zeroizing<[u8; KEY_BYTES]>,
}

/// The audit ring, derived by use. The keys themselves are forgotten once it stands.
pub struct AuditKeys {
    keys: Vec<Derived>,
    pseudonym: HmacSha256,
    pseudonym_check: [u8; 8],
}

impl AuditKeys {
    /// Derives every use of every key; the order is the configuration's, the first key names patients.
    ///
    /// # Errors
    /// No key, or two whose short ids are equal.
    pub fn new(ring: Vec<AuditKey>) -> Result<Self, KeyError> {
        let first = ring.first().ok_or(KeyError::Empty)?;
        let pseudonym_key = expand(&first.bytes, "pseudonym");
        let pseudonym = mac_with(&pseudonym_key);
        let check = tag(&pseudonym, &[b"check"]);
        let mut pseudonym_check = [0; 8];
        pseudonym_check.copy_from_slice(check.first_chunk::<8>().unwrap_or(&[0; 8]));
        let mut seen = BTreeSet::new();
        let mut keys: Vec<Derived> = Vec::with_capacity(ring.len());
        for key in &ring {
            let kid = kid(&key.id);
            if !seen.insert(kid) {
                let other = keys.iter().find(|k| k.kid == kid).map(|k| k.id.clone());
                return Err(KeyError::Collision(
                    other.unwrap_or_default(),
                    key.id.clone(),
                ));
            }
            let sign = expand(&key.bytes, "checkpoint");
            keys.push(Derived {
                id: key.id.clone(),
                kid,
                from_unix: key.from_unix,
                frame: mac_with(&expand(&key.bytes, "frame")),
                head: mac_with(&expand(&key.bytes, "head")),
                seal: expand(&key.bytes, "seal"),
                receipt: expand(&key.bytes, "receipt"),
                verifier: Signer::new(&key.id, &sign).verifier(),
                beginning: Mutex::new(Some(Beginning {
                    sign,
                    ratchet: expand(&key.bytes, "ratchet"),
                })),
            });
        }
        Ok(Self {
            keys,
            pseudonym,
            pseudonym_check,
        })
    }

    /// The patient's name in the trail: keyed, so that nobody without the key can go through all record numbers.
    #[must_use]
    pub fn pseudonym(&self, patient: &str) -> Pseudonym {
        let full = tag(&self.pseudonym, &[b"patient", patient.as_bytes()]);
        let mut short = [0; PSEUDONYM_BYTES];
        short.copy_from_slice(
            full.first_chunk::<PSEUDONYM_BYTES>()
                .unwrap_or(&[0; PSEUDONYM_BYTES]),
        );
        Pseudonym(short)
    }

    /// The seed of what signs receipts at `now_unix` (Unix time in seconds).
    ///
    /// # Errors
    /// [`KeyError::NoneYet`].
    pub fn receipt_seed(&self, now_unix: i64) -> Result<ReceiptSeed, KeyError> {
        self.sealing(now_unix).map(Derived::receipt_seed)
    }

    /// The seed of what signed the receipts of the audit key with this id; none where the ring has no such key.
    #[must_use]
    pub fn receipt_seed_of(&self, key_id: &str) -> Option<ReceiptSeed> {
        let key = self.keys.iter().find(|key| key.id == key_id);
        key.map(Derived::receipt_seed)
    }

    /// The key that seals now: the latest whose time has come.
    pub(crate) fn sealing(&self, now_unix: i64) -> Result<&Derived, KeyError> {
        let come = self.keys.iter().filter(|key| key.from_unix <= now_unix);
        come.max_by_key(|key| key.from_unix)
            .ok_or(KeyError::NoneYet)
    }

    /// The public keys that checkpoints are verified with, one a key of the ring, in its order.
    #[must_use]
    pub fn verifier_keys(&self) -> Vec<VerifierKey> {
        self.keys.iter().map(|key| key.verifier.clone()).collect()
    }

    /// The key of the ring that signed a checkpoint.
    pub(crate) fn signer_of(&self, checkpoint: &SignedCheckpoint) -> Option<&Derived> {
        let mut keys = self.keys.iter();
        keys.find(|key| checkpoint.holds(&key.verifier))
    }

    /// Erases what runs begin with: from here on nothing in this process can make or check what earlier checkpoints hold.
    pub(crate) fn forget_beginnings(&self) {
        for key in &self.keys {
            drop(lock(&key.beginning).take());
        }
    }

    pub(crate) fn find(&self, kid: &Kid) -> Option<&Derived> {
        self.keys.iter().find(|key| key.kid == *kid)
    }

    pub(crate) fn pseudonym_check(&self) -> [u8; 8] {
        self.pseudonym_check
    }
}

impl Derived {
    /// What signs the checkpoints of a run.
    pub(crate) fn signer(&self) -> Option<Signer> {
        let beginning = lock(&self.beginning);
        beginning.as_ref().map(|b| Signer::new(&self.id, &b.sign))
    }

    /// The first key of a run's ratchet.
    pub(crate) fn ratchet(&self, chain: &str) -> Option<Ratchet> {
        let beginning = lock(&self.beginning);
        beginning
            .as_ref()
            .map(|b| Ratchet::start(&b.ratchet, chain))
    }

    fn receipt_seed(&self) -> ReceiptSeed {
        ReceiptSeed {
            key_id: self.id.clone(),
            seed: self.receipt.clone(),
        }
    }

    pub(crate) fn frame_tag(&self, header: &[u8], hash: &[u8; 32]) -> Tag {
        tag(&self.frame, &[header, hash])
    }

    /// Constant time.
    pub(crate) fn frame_holds(&self, header: &[u8], hash: &[u8; 32], claimed: &[u8]) -> bool {
        holds(&self.frame, &[header, hash], claimed)
    }

    /// `what` separates heads from cursors.
    pub(crate) fn head_tag(&self, what: &str, body: &[u8]) -> Tag {
        tag(&self.head, &[what.as_bytes(), body])
    }

    /// Constant time.
    pub(crate) fn head_holds(&self, what: &str, body: &[u8], claimed: &[u8]) -> bool {
        holds(&self.head, &[what.as_bytes(), body], claimed)
    }

    /// The key of one batch of sealed payloads.
    pub(crate) fn seal_key(&self, salt: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut okm = Zeroizing::new([0; KEY_BYTES]);
        // 32 bytes are far below HKDF's limit of 255 blocks, its only error.
        let _fits = Hkdf::<Sha256>::new(Some(salt), self.seal.as_slice())
            .expand(b"safeguard audit payload", okm.as_mut_slice());
        okm
    }

    /// The salt of a sealed object, and the key that it gives: a MAC over the content, so that the same content is sealed to the same bytes, and a key serves one content only.
    pub(crate) fn object_salt(&self, aad: &[u8], content: &[u8]) -> Tag {
        let key = expand(&self.seal, "object salt");
        tag(&mac_with(&key), &[aad, content])
    }

    /// The key of one sealed object.
    pub(crate) fn object_key(&self, salt: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut okm = Zeroizing::new([0; KEY_BYTES]);
        // 32 bytes are far below HKDF's limit of 255 blocks, its only error.
        let _fits = Hkdf::<Sha256>::new(Some(salt), self.seal.as_slice())
            .expand(b"safeguard audit object", okm.as_mut_slice());
        okm
    }
}

/// A patient's stable, keyed stand-in (HMAC-SHA256 shortened to 16 bytes).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pseudonym([u8; PSEUDONYM_BYTES]);

impl Pseudonym {
    /// Its bytes, as the column in PostgreSQL holds them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; PSEUDONYM_BYTES] {
        &self.0
    }

    /// From the 32 lower-case hexadecimal digits that [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        unhex::<PSEUDONYM_BYTES>(text).map(Self)
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pseudonym({self})")
    }
}

macro_rules! silent {
    ($($type:ident),+) => {$(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type)).finish_non_exhaustive()
            }
        }
    )+};
}
silent!(AuditKey, AuditKeys, Derived, Ratchet, ReceiptSeed);

pub(crate) fn kid(id: &str) -> Kid {
    let digest = Sha256::digest(id.as_bytes());
    let mut short = [0; KID_BYTES];
    short.copy_from_slice(digest.first_chunk::<KID_BYTES>().unwrap_or(&[0; KID_BYTES]));
    short
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut digits = Vec::new();
    push_hex(&mut digits, bytes);
    String::from_utf8(digits).unwrap_or_default()
}

pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let nibble = |at: usize| match pair.get(at) {
            Some(d @ b'0'..=b'9') => Some(d - b'0'),
            Some(d @ b'a'..=b'f') => Some(d - b'a' + 10),
            _ => None,
        };
        *byte = nibble(0)? << 4 | nibble(1)?;
    }
    Some(bytes)
}

fn expand(key: &[u8; KEY_BYTES], purpose: &str) -> Zeroizing<[u8; KEY_BYTES]> {
    let mut okm = Zeroizing::new([0; KEY_BYTES]);
    let info = format!("safeguard audit {purpose} 1");
    // 32 bytes are far below HKDF's limit of 255 blocks, its only error.
    let _fits = Hkdf::<Sha256>::new(None, key).expand(info.as_bytes(), okm.as_mut_slice());
    okm
}

#[expect(
    clippy::expect_used,
    reason = "HMAC takes a key of any length, so this constructor has no failing input"
)]
fn mac_with(key: &[u8; KEY_BYTES]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes any key length")
}

/// Length-prefixed parts, so that no two lists of parts are one message.
fn feed(mac: &HmacSha256, parts: &[&[u8]]) -> HmacSha256 {
    let mut mac = mac.clone();
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac
}

fn tag(mac: &HmacSha256, parts: &[&[u8]]) -> Tag {
    feed(mac, parts).finalize().into_bytes().into()
}

fn holds(mac: &HmacSha256, parts: &[&[u8]], claimed: &[u8]) -> bool {
    feed(mac, parts).verify_slice(claimed).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(ids: &[(&str, i64, u8)]) -> AuditKeys {
        AuditKeys::new(
            ids.iter()
                .map(|(id, from, byte)| AuditKey::new(*id, *from, [*byte; 32]))
                .collect(),
        )
        .unwrap()
    }

    #[test]
    fn pseudonym_stays_when_the_key_rotates() {
        let before = ring(&[("a", 0, 1)]);
        let after = ring(&[("a", 0, 1), ("b", 10, 2)]);
        assert_eq!(before.pseudonym("MRN-1"), after.pseudonym("MRN-1"));
        assert_ne!(before.pseudonym("MRN-1"), before.pseudonym("MRN-2"));
        assert_eq!(after.sealing(20).unwrap().id, "b");
        assert_eq!(after.sealing(5).unwrap().id, "a");
        assert_ne!(
            ring(&[("a", 0, 3)]).pseudonym("MRN-1"),
            before.pseudonym("MRN-1")
        );
    }

    #[test]
    fn a_receipt_is_signed_with_a_seed_of_its_own_audit_key() {
        let keys = ring(&[("a", 0, 1), ("b", 10, 2)]);
        let (then, now) = (
            keys.receipt_seed(5).unwrap(),
            keys.receipt_seed(20).unwrap(),
        );
        assert_eq!((&*then.key_id, &*now.key_id), ("a", "b"));
        assert_ne!(then.seed, now.seed);
        assert_eq!(keys.receipt_seed_of("a").unwrap().seed, then.seed);
        assert!(keys.receipt_seed_of("c").is_none());
    }

    #[test]
    fn a_ratchet_goes_on_from_key_to_key_and_never_back() {
        let keys = ring(&[("a", 0, 1)]);
        let key = keys.sealing(0).unwrap();
        let mut ratchet = key.ratchet("chain").unwrap();
        let first = ratchet.tag("text");
        assert!(ratchet.holds("text", &first) && !ratchet.holds("texts", &first));
        ratchet.step();
        assert_eq!(ratchet.epoch(), 1);
        assert!(!ratchet.holds("text", &first));
        assert_ne!(key.ratchet("other").unwrap().tag("text"), first);
        let again = key.ratchet("chain").unwrap();
        assert!(again.holds("text", &first));
    }

    #[test]
    fn what_runs_begin_with_can_be_forgotten_and_the_public_keys_stay() {
        let keys = ring(&[("a", 0, 1), ("b", 0, 2)]);
        let before = keys.verifier_keys();
        keys.forget_beginnings();
        assert_eq!(keys.verifier_keys(), before);
        let key = keys.sealing(0).unwrap();
        assert!(key.signer().is_none() && key.ratchet("chain").is_none());
    }

    #[test]
    fn uses_of_one_key_are_apart() {
        let keys = ring(&[("a", 0, 1)]);
        let key = keys.sealing(0).unwrap();
        let frame_tag = key.frame_tag(b"x", &[1; 32]);
        assert_ne!(frame_tag, key.head_tag("x", &[1; 32]));
        assert_ne!(key.head_tag("head", b"x"), key.head_tag("cursor", b"x"));
        assert!(key.frame_holds(b"x", &[1; 32], &frame_tag));
        assert!(!key.frame_holds(b"y", &[1; 32], &frame_tag));
        assert!(!key.frame_holds(b"x", &[2; 32], &frame_tag));
    }

    #[test]
    fn empty_future_and_doubled_rings_are_refused() {
        assert_eq!(AuditKeys::new(vec![]).err(), Some(KeyError::Empty));
        assert_eq!(
            ring(&[("a", 10, 1)]).sealing(9).err(),
            Some(KeyError::NoneYet)
        );
        let twice = AuditKeys::new(vec![
            AuditKey::new("a", 0, [1; 32]),
            AuditKey::new("a", 0, [2; 32]),
        ]);
        assert_eq!(
            twice.err(),
            Some(KeyError::Collision("a".into(), "a".into()))
        );
    }

    #[test]
    fn debug_shows_no_key() {
        let key = AuditKey::new("canary", 0, [0xAB; 32]);
        let keys = ring(&[("canary", 0, 0xAB)]);
        for shown in [
            format!("{key:?}"),
            format!("{keys:?}"),
            format!("{:?}", keys.sealing(0).unwrap()),
        ] {
            assert!(
                !shown.contains("171") && !shown.to_lowercase().contains("abab"),
                "{shown}"
            );
        }
    }

    #[test]
    fn pseudonym_text_parses_back() {
        let name = ring(&[("a", 0, 1)]).pseudonym("MRN-1");
        assert_eq!(Pseudonym::parse(&name.to_string()), Some(name));
        assert_eq!(Pseudonym::parse("zz"), None);
    }
}
