//! The layout of a value in the frame of `hs1`, and of the associated data that goes with it.

use super::{
    Bound, COMMIT_BYTES, CONTEXT_BYTES_MAX, HEAD_BYTES, NONCE_BYTES, SALT_BYTES, Scheme, TAG_BYTES,
    TooLong, VERSION,
};
use crate::ring::Kid;
use zeroize::Zeroizing;

pub(super) fn decode(scheme: &Scheme, text: &str) -> Option<Vec<u8>> {
    base64_simd::URL_SAFE_NO_PAD
        .decode_to_vec(text.strip_prefix(scheme.prefix)?)
        .ok()
}

/// As [`decode`], in place of what `raw` held.
pub(super) fn decode_into(scheme: &Scheme, text: &str, raw: &mut Zeroizing<Vec<u8>>) -> Option<()> {
    let body = text.strip_prefix(scheme.prefix)?;
    if raw.capacity() < body.len() {
        // Not grown but replaced: growing would leave a copy of an opened value behind.
        *raw = Zeroizing::new(Vec::with_capacity(body.len()));
    }
    raw.clear();
    base64_simd::URL_SAFE_NO_PAD
        .decode_append(body, &mut **raw)
        .ok()
}

/// A sealed value taken apart.
pub(super) struct Parts<'a> {
    /// Version, kid and salt as they stand: they begin the AAD, and name the derived key.
    pub(super) head: &'a [u8; HEAD_BYTES],
    pub(super) kid: &'a [u8; Kid::BYTES],
    pub(super) salt: &'a [u8; SALT_BYTES],
    pub(super) nonce: &'a [u8; NONCE_BYTES],
    pub(super) commit: &'a [u8; COMMIT_BYTES],
    pub(super) ciphertext: &'a [u8],
    pub(super) tag: &'a [u8; TAG_BYTES],
}

impl<'a> Parts<'a> {
    pub(super) fn split(raw: &'a [u8]) -> Option<Self> {
        let (head, rest) = raw.split_first_chunk::<HEAD_BYTES>()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (commit, rest) = rest.split_first_chunk()?;
        let (ciphertext, tag) = rest.split_last_chunk()?;
        let (version, named) = head.split_first()?;
        let (kid, salt) = named.split_first_chunk()?;
        let salt = salt.first_chunk()?;
        (*version == VERSION).then_some(Self {
            head,
            kid,
            salt,
            nonce,
            commit,
            ciphertext,
            tag,
        })
    }
}

pub(super) fn head(kid: Kid, salt: &[u8; SALT_BYTES]) -> [u8; HEAD_BYTES] {
    let mut head = [VERSION; HEAD_BYTES];
    for (to, from) in head.iter_mut().skip(1).zip(kid.0.iter().chain(salt)) {
        *to = *from;
    }
    head
}

pub(super) fn begin_aad(
    aad: &mut Vec<u8>,
    head: &[u8],
    commit: &[u8],
    domain: &str,
) -> Result<(), TooLong> {
    aad.extend_from_slice(head);
    aad.extend_from_slice(commit);
    push_bound(aad, domain)
}

pub(super) fn end_aad(scheme: &Scheme, aad: &mut Vec<u8>, bound: Bound<'_>) -> Result<(), TooLong> {
    push_bound(aad, bound.field)?;
    if scheme.flagged {
        aad.push(u8::from(bound.patient.is_some()) | u8::from(bound.session.is_some()) << 1);
    }
    for part in [bound.patient.map(str::as_bytes), bound.session] {
        part.map_or(Ok(()), |part| push_bytes(aad, part))?;
    }
    Ok(())
}

/// Appends a text's length (u32, big-endian) and its bytes.
pub(crate) fn push_bound(to: &mut Vec<u8>, text: &str) -> Result<(), TooLong> {
    push_bytes(to, text.as_bytes())
}

fn push_bytes(to: &mut Vec<u8>, bytes: &[u8]) -> Result<(), TooLong> {
    if bytes.len() > CONTEXT_BYTES_MAX {
        return Err(TooLong);
    }
    let length = u32::try_from(bytes.len()).map_err(|_| TooLong)?;
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(bytes);
    Ok(())
}
