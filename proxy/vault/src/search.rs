//! Searchable values: sealed so that equal values have equal tokens, and an upstream that holds no value in clear can
//! still find one.
//!
//! ```text
//! "hsx1." ‖ base64url(0x01 ‖ kid 8 ‖ index 16 ‖ 0x00 0x00 ‖ ciphertext ‖ tag 16)              no padding
//! index key 32 ‖ cipher key 32 = HKDF-SHA256(ring key, no salt, "hsx1" ‖ kid)
//! index = first 16 bytes of HMAC-SHA256(index key, L(domain) ‖ L(field) ‖ L(value))
//! ciphertext ‖ tag = AES-256-GCM(cipher key, nonce = first 12 bytes of the index, value),
//!     AAD = 0x01 ‖ kid ‖ index ‖ 0x00 0x00 ‖ L(domain) ‖ L(field)          L = u32 big-endian length, then the bytes
//! ```
//!
//! `value` is the JSON text of the normalized value ([`Normalize`]). The two zero bytes make the head 27 bytes long,
//! so that the first 36 characters behind the prefix are the blind index with its key: an upstream may index them.
//!
//! **Why it is safe.** It is a synthetic-IV construction: a PRF of everything that is sealed and bound gives the
//! nonce. So two different inputs have different nonces, but for a collision of 96 bits of HMAC output (chance 2^-33
//! at 2^32 different values of one key, the bound of NIST SP 800-38D §8.3 for random nonces); and the same input
//! gives the same token, under whose nonce nothing else is ever sealed. The keys serve nothing else. When a value is
//! opened, the index is computed again and compared in constant time: the value is authenticated by GCM's tag and by
//! 16 bytes of HMAC, which also commits to the key. No random bytes are drawn.
//!
//! **What it gives away.** Whoever sees the tokens sees which are equal within a field, how often each occurs, and how
//! long the normalized value is. For fields with few values or telling frequencies (a diagnosis, a sex, a date of
//! birth beside a ZIP code) that may be the value itself. Nobody without the key can test a guess; whoever may call
//! the tool can. A field of another name or domain has unrelated tokens. A searchable value is not bound to a patient:
//! it could not be found then.
//!
//! **What it is not.** It is not RFC 5297 (AES-SIV: there CMAC gives the IV of AES-CTR) and not RFC 8452
//! (AES-GCM-SIV): those need primitives that FIPS 140 modules don't offer. There are no order, ranges or prefixes.
//!
//! All values are sealed under the ring's oldest active key ([`KeyRing::first`]): a value is found only by a query
//! under the same key. Making that key decrypt-only moves the next one up; what was sealed before is then found again
//! only after it was sealed anew.

mod normalize;

pub use normalize::Normalize;

use crate::aead::{NONCE_BYTES, TooLong, push_bound};
use crate::canonical::CanonicalError;
use crate::envelope::Wrap;
use crate::key::KeyMaterial;
use crate::mac::keyed;
use crate::plaintext::OpenError;
use crate::ring::{Held, KeyRing, Kid};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Longest value in bytes of JSON text that is made searchable, as given and as normalized.
pub const SEARCH_VALUE_BYTES_MAX: usize = 4096;

pub(crate) const PREFIX: &str = "hsx1.";
const LABEL: &[u8] = b"hsx1";
const VERSION: u8 = 1;
const INDEX_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
const HEAD_BYTES: usize = 1 + Kid::BYTES + INDEX_BYTES + 2;

/// Why a value can't be made searchable. Never holds the value.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum SearchError {
    /// No key of the ring is active.
    #[error("no key of the ring is active: searchable values need one")]
    NoActiveKey,
    /// The value has no form that could be found without losing what it says: another JSON type than a string or an
    /// integer, nothing left by the normalization, or something that it would have to drop. Seal it unsearchably.
    #[error("value has no normalized form: it can be sealed, not be searched for")]
    NotSearchable,
    /// The value is longer than [`SEARCH_VALUE_BYTES_MAX`], or domain or field are too long.
    #[error("domain, field or value is too long to be searched for")]
    TooLong,
    /// The value is no JSON text.
    #[error("value to be searched for is refused: {0}")]
    Value(#[from] CanonicalError),
}

impl From<TooLong> for SearchError {
    fn from(_: TooLong) -> Self {
        Self::TooLong
    }
}

/// The keys of a ring key's searchable values. The cipher wipes its key schedule when dropped.
pub(crate) struct SearchKeys {
    index: Hmac<Sha256>,
    cipher: Aes256Gcm,
}

impl SearchKeys {
    pub(crate) fn derive(key: &KeyMaterial, kid: Kid) -> Option<Self> {
        let mut okm = Zeroizing::new([0u8; 64]);
        Hkdf::<Sha256>::new(None, key.expose())
            .expand_multi_info(&[LABEL, &kid.0], okm.as_mut_slice())
            .ok()?;
        let (index, cipher) = okm.split_first_chunk::<32>()?;
        let cipher: &[u8; 32] = cipher.first_chunk()?;
        Some(Self {
            index: keyed(index),
            cipher: Aes256Gcm::new(cipher.into()),
        })
    }

    /// `context` is L(domain) ‖ L(field).
    fn index(&self, context: &[u8], value: &[u8]) -> Option<[u8; INDEX_BYTES]> {
        let length = u32::try_from(value.len()).ok()?;
        let mac = self.index.clone().chain_update(context);
        let mac: [u8; 32] = mac
            .chain_update(length.to_be_bytes())
            .chain_update(value)
            .finalize()
            .into_bytes()
            .into();
        mac.first_chunk().copied()
    }
}

impl fmt::Debug for SearchKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SearchKeys(..)")
    }
}

/// Seals the searchable values of one domain. Shared by threads.
#[derive(Debug)]
pub struct Searcher {
    ring: Arc<KeyRing>,
    domain: String,
}

/// Buffers of a thread, so that no value costs an allocation. What was in clear in them is wiped at once.
#[derive(Default)]
struct Buffers {
    aad: Vec<u8>,
    raw: Zeroizing<Vec<u8>>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

impl Searcher {
    /// A searcher for `domain`, with the keys of `ring`.
    pub fn new(ring: Arc<KeyRing>, domain: &str) -> Self {
        Self {
            ring,
            domain: domain.to_owned(),
        }
    }

    /// The token of a value (its JSON text) of `field`: the same one for all values that are equal when normalized.
    ///
    /// What the token opens to is the normalized value, not the value as it stood.
    ///
    /// # Errors
    /// [`SearchError`].
    pub fn seal(
        &self,
        field: &str,
        value_json: &[u8],
        normalize: Normalize,
    ) -> Result<String, SearchError> {
        let mut token = Vec::new();
        self.token(field, value_json, normalize, &mut token)?;
        // Base64 is ASCII: nothing is ever replaced.
        Ok(String::from_utf8_lossy(&token).into_owned())
    }

    /// As [`Searcher::seal`], appended to `out` as JSON, as [`crate::Sealer::seal`] does. On an error `out` is as it
    /// was.
    ///
    /// # Errors
    /// [`SearchError`].
    pub fn seal_into(
        &self,
        field: &str,
        value_json: &[u8],
        normalize: Normalize,
        wrap: Wrap,
        out: &mut Vec<u8>,
    ) -> Result<(), SearchError> {
        wrap.around(out, |out| self.token(field, value_json, normalize, out))
    }

    fn token(
        &self,
        field: &str,
        value_json: &[u8],
        normalize: Normalize,
        out: &mut Vec<u8>,
    ) -> Result<(), SearchError> {
        if value_json.len() > SEARCH_VALUE_BYTES_MAX {
            return Err(SearchError::TooLong);
        }
        let held = self.ring.first().ok_or(SearchError::NoActiveKey)?;
        BUFFERS.with_borrow_mut(|buffers| {
            let sealed = self.seal_in(buffers, held, field, value_json, normalize, out);
            if sealed.is_err() {
                // What failed may have left the value in clear.
                buffers.raw = Zeroizing::default();
            }
            sealed
        })
    }

    fn seal_in(
        &self,
        Buffers { aad, raw }: &mut Buffers,
        held: &Held,
        field: &str,
        value_json: &[u8],
        normalize: Normalize,
        out: &mut Vec<u8>,
    ) -> Result<(), SearchError> {
        let keys = held.search().ok_or(SearchError::NoActiveKey)?;
        raw.clear();
        // Room for all at once: a growing buffer would leave copies of the value behind.
        raw.reserve_exact(HEAD_BYTES + normalize::longest(value_json.len()) + TAG_BYTES);
        raw.resize(HEAD_BYTES, 0);
        normalize.append(value_json, raw)?;
        let context = begin_aad(aad, &self.domain, field)?;
        let (head, value) = raw.split_at_mut(HEAD_BYTES);
        // Escapes may have made it longer; what is opened must be what may be sealed again.
        if value.len() > SEARCH_VALUE_BYTES_MAX {
            return Err(SearchError::TooLong);
        }
        let (bound, _) = aad.split_at(context);
        let index = keys.index(bound, value).ok_or(SearchError::TooLong)?;
        let made = make_head(held.kid(), &index);
        head.copy_from_slice(&made);
        aad.extend_from_slice(&made);
        aad.rotate_left(context);
        let tag = keys
            .cipher
            .encrypt_inout_detached(&nonce(&index), aad, value.into())
            .map_err(|_| SearchError::TooLong)?;
        raw.extend_from_slice(&tag);
        held.operations().count_sealed();
        out.extend_from_slice(PREFIX.as_bytes());
        base64_simd::URL_SAFE_NO_PAD.encode_append(raw.as_slice(), out);
        Ok(())
    }
}

/// Opens a searchable value of `field`.
pub(crate) fn open(
    ring: &KeyRing,
    domain: &str,
    field: &str,
    token: &str,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let mut raw = Zeroizing::new(decode(token).ok_or(OpenError::Refused)?);
    let (head, kid, index, tag) = split(&raw).ok_or(OpenError::Refused)?;
    let held = ring.opening(&kid)?;
    let keys = held.search().ok_or(OpenError::Refused)?;
    let mut aad = Vec::with_capacity(HEAD_BYTES + domain.len() + field.len() + 8);
    let context = begin_aad(&mut aad, domain, field).map_err(|_| OpenError::Refused)?;
    aad.extend_from_slice(&head);
    aad.rotate_left(context);
    let length = raw.len() - HEAD_BYTES - TAG_BYTES;
    raw.copy_within(HEAD_BYTES..HEAD_BYTES + length, 0);
    raw.truncate(length);
    held.operations().count_opened();
    keys.cipher
        .decrypt_inout_detached(&nonce(&index), &aad, raw.as_mut_slice().into(), &tag)
        .map_err(|_| OpenError::Refused)?;
    let (_, bound) = aad.split_at(HEAD_BYTES);
    let expected = keys.index(bound, &raw).ok_or(OpenError::Refused)?;
    if bool::from(expected.ct_eq(&index)) {
        Ok(raw)
    } else {
        Err(OpenError::Refused)
    }
}

/// The kid that a token names, if it is laid out as a searchable value.
pub(crate) fn kid(token: &str) -> Option<Kid> {
    let raw = decode(token)?;
    split(&raw).map(|(_, kid, ..)| Kid(kid))
}

/// Replaces what `aad` holds by L(domain) ‖ L(field); gives its length.
fn begin_aad(aad: &mut Vec<u8>, domain: &str, field: &str) -> Result<usize, TooLong> {
    aad.clear();
    push_bound(aad, domain)?;
    push_bound(aad, field)?;
    Ok(aad.len())
}

fn make_head(kid: Kid, index: &[u8; INDEX_BYTES]) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    let parts = [VERSION].into_iter().chain(kid.0).chain(*index);
    for (to, from) in head.iter_mut().zip(parts) {
        *to = from;
    }
    head
}

fn nonce(index: &[u8; INDEX_BYTES]) -> Nonce<aes_gcm::aead::consts::U12> {
    let mut nonce = [0; NONCE_BYTES];
    for (to, from) in nonce.iter_mut().zip(index) {
        *to = *from;
    }
    Nonce::from(nonce)
}

fn decode(token: &str) -> Option<Vec<u8>> {
    let body = token.strip_prefix(PREFIX)?;
    base64_simd::URL_SAFE_NO_PAD.decode_to_vec(body).ok()
}

type Split = (
    [u8; HEAD_BYTES],
    [u8; Kid::BYTES],
    [u8; INDEX_BYTES],
    Tag<aes_gcm::aead::consts::U16>,
);

/// Head, kid, index and tag.
fn split(raw: &[u8]) -> Option<Split> {
    let (head, rest) = raw.split_first_chunk::<HEAD_BYTES>()?;
    let (_, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
    let (version, named) = head.split_first()?;
    let (kid, named) = named.split_first_chunk::<{ Kid::BYTES }>()?;
    let (index, zeros) = named.split_first_chunk::<INDEX_BYTES>()?;
    (*version == VERSION && zeros == [0, 0]).then(|| (*head, *kid, *index, Tag::from(*tag)))
}

#[cfg(test)]
mod tests;
