//! The payload column: the whole event, sealed before it leaves, so that the database holds only what it needs to be searched.
//!
//! `0x01 ‖ key id 8 ‖ salt 24 ‖ nonce 12 ‖ ciphertext ‖ tag 16`: AES-256-GCM under a key derived (HKDF-SHA256) from the audit key and the salt, one salt a batch, so that
//! no key comes near 2^32 random nonces (SP 800-38D). The associated data is chain ‖ `|` ‖ seq ‖ `|` ‖ uid: a payload opens in its own row only.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, AeadInOut, KeyInit, Nonce, Payload};
use rand::Rng;
use uuid::Uuid;

use crate::keys::{AuditKeys, Derived, KID_BYTES};
use crate::record::Record;

const VERSION: u8 = 1;
const SALT_BYTES: usize = 24;
const NONCE_BYTES: usize = 12;
/// Bytes of a payload beside the record's own.
pub(crate) const OVERHEAD_BYTES: usize = 1 + KID_BYTES + SALT_BYTES + NONCE_BYTES + 16;

/// A payload can't be opened. One answer for all causes.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum OpenPayloadError {
    /// No key of the ring sealed it.
    #[error("the payload was sealed with a key that is not in the ring `keys.audit`")]
    UnknownKey,
    /// Changed, cut, or moved from another row.
    #[error("the payload does not open in this row: it was changed or moved")]
    Invalid,
}

/// Could not seal: no random bytes, or the cipher refused.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("an audit payload can't be sealed")]
pub(crate) struct SealError;

/// Seals the payloads of one batch.
pub(crate) struct BatchSealer<'a> {
    key: &'a Derived,
    salt: [u8; SALT_BYTES],
    cipher: Aes256Gcm,
}

impl<'a> BatchSealer<'a> {
    pub(crate) fn new(key: &'a Derived) -> Result<Self, SealError> {
        let mut salt = [0; SALT_BYTES];
        rand::rng().fill_bytes(&mut salt);
        let cipher =
            Aes256Gcm::new_from_slice(key.seal_key(&salt).as_slice()).map_err(|_| SealError)?;
        Ok(Self { key, salt, cipher })
    }

    /// Appends a record's payload to those of the batch.
    pub(crate) fn seal(&self, record: &Record, out: &mut Vec<u8>) -> Result<(), SealError> {
        let mut nonce = [0; NONCE_BYTES];
        rand::rng().fill_bytes(&mut nonce);
        out.reserve(OVERHEAD_BYTES + record.bytes().len());
        out.push(VERSION);
        out.extend_from_slice(&self.key.kid);
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&nonce);
        let start = out.len();
        out.extend_from_slice(record.bytes());
        let content = out.get_mut(start..).ok_or(SealError)?;
        let aad = aad(record.chain(), record.seq(), record.uid());
        let tag = self
            .cipher
            .encrypt_inout_detached(
                &Nonce::<Aes256Gcm>::from(nonce),
                aad.as_bytes(),
                content.into(),
            )
            .map_err(|_| SealError)?;
        out.extend_from_slice(&tag);
        Ok(())
    }
}

/// Opens a payload that a sink holds: the canonical bytes of the record in this row.
///
/// # Errors
/// The key is not in the ring, or the bytes are not those that were sealed for this row.
pub fn open_payload(
    keys: &AuditKeys,
    chain: &str,
    seq: u64,
    uid: Uuid,
    payload: &[u8],
) -> Result<Vec<u8>, OpenPayloadError> {
    let invalid = OpenPayloadError::Invalid;
    let (version, rest) = payload.split_first().ok_or(invalid)?;
    let (kid, rest) = rest.split_first_chunk::<KID_BYTES>().ok_or(invalid)?;
    let (salt, rest) = rest.split_first_chunk::<SALT_BYTES>().ok_or(invalid)?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(invalid)?;
    if *version != VERSION {
        return Err(invalid);
    }
    let key = keys.find(kid).ok_or(OpenPayloadError::UnknownKey)?;
    let cipher = Aes256Gcm::new_from_slice(key.seal_key(salt).as_slice()).map_err(|_| invalid)?;
    let aad = aad(chain, seq, uid);
    cipher
        .decrypt(
            &Nonce::<Aes256Gcm>::from(*nonce),
            Payload {
                msg: sealed,
                aad: aad.as_bytes(),
            },
        )
        .map_err(|_| invalid)
}

const OBJECT_VERSION: u8 = 2;
/// Bytes of a sealed object before its ciphertext.
const OBJECT_HEAD_BYTES: usize = 1 + KID_BYTES + SALT_BYTES;
/// Every object has a key of its own, so one nonce serves.
const OBJECT_NONCE: [u8; NONCE_BYTES] = [0; NONCE_BYTES];

/// Seals an object, always to the same bytes: `0x02 ‖ key id 8 ‖ salt 24 ‖ ciphertext ‖ tag 16`.
pub(crate) fn seal_object(
    key: &Derived,
    aad: &[u8],
    content: Vec<u8>,
) -> Result<Vec<u8>, SealError> {
    let salt = key.object_salt(aad, &content);
    let salt = salt.first_chunk::<SALT_BYTES>().ok_or(SealError)?;
    let mut sealed = Vec::with_capacity(OBJECT_HEAD_BYTES + content.len() + 16);
    sealed.push(OBJECT_VERSION);
    sealed.extend_from_slice(&key.kid);
    sealed.extend_from_slice(salt);
    sealed.extend_from_slice(&content);
    let cipher =
        Aes256Gcm::new_from_slice(key.object_key(salt).as_slice()).map_err(|_| SealError)?;
    let content = sealed.get_mut(OBJECT_HEAD_BYTES..).ok_or(SealError)?;
    let nonce = Nonce::<Aes256Gcm>::from(OBJECT_NONCE);
    let tag = cipher
        .encrypt_inout_detached(&nonce, aad, content.into())
        .map_err(|_| SealError)?;
    sealed.extend_from_slice(&tag);
    Ok(sealed)
}

/// Opens an object.
pub(crate) fn open_object(
    keys: &AuditKeys,
    aad: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, OpenPayloadError> {
    let invalid = OpenPayloadError::Invalid;
    let (version, rest) = sealed.split_first().ok_or(invalid)?;
    let (kid, rest) = rest.split_first_chunk::<KID_BYTES>().ok_or(invalid)?;
    let (salt, msg) = rest.split_first_chunk::<SALT_BYTES>().ok_or(invalid)?;
    if *version != OBJECT_VERSION {
        return Err(invalid);
    }
    let key = keys.find(kid).ok_or(OpenPayloadError::UnknownKey)?;
    let cipher = Aes256Gcm::new_from_slice(key.object_key(salt).as_slice()).map_err(|_| invalid)?;
    let nonce = Nonce::<Aes256Gcm>::from(OBJECT_NONCE);
    cipher
        .decrypt(&nonce, Payload { msg, aad })
        .map_err(|_| invalid)
}

fn aad(chain: &str, seq: u64, uid: Uuid) -> String {
    let mut aad = String::with_capacity(chain.len() + 60);
    aad.push_str(chain);
    aad.push('|');
    aad.push_str(itoa::Buffer::new().format(seq));
    aad.push('|');
    aad.push_str(uid.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
    aad
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{
        canonical,
        tests::{full, place},
    };
    use crate::keys::AuditKey;

    #[test]
    fn a_payload_opens_in_its_own_row_only_and_unchanged() {
        let keys = AuditKeys::new(vec![AuditKey::new("a", 0, [1; 32])]).unwrap();
        let record = Record::parse(&canonical(&full(), &place(3, &[0; 32]))).unwrap();
        let sealer = BatchSealer::new(keys.sealing(0).unwrap()).unwrap();
        let seal = || {
            let mut out = b"before".to_vec();
            sealer.seal(&record, &mut out).unwrap();
            assert_eq!(out.len(), 6 + OVERHEAD_BYTES + record.bytes().len());
            out.split_off(6)
        };
        let sealed = seal();
        let open =
            |seq, bytes: &[u8]| open_payload(&keys, record.chain(), seq, record.uid(), bytes);
        assert_eq!(open(3, &sealed).as_deref(), Ok(record.bytes()));
        assert_eq!(open(4, &sealed), Err(OpenPayloadError::Invalid));
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(open(3, &bad).is_err(), "byte {at}");
            assert!(open(3, &sealed[..at]).is_err(), "cut at {at}");
        }
        assert_ne!(seal(), sealed);
        assert!(!String::from_utf8_lossy(&sealed).contains("alice"));
    }
}
