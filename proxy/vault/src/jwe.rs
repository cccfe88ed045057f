//! JSON Web Encryption in compact form (RFC 7516), for readers that have a JOSE library and no reader of `hs1`.
//!
//! ```text
//! base64url(header) . base64url(wrapped key) . base64url(iv) . base64url(ciphertext) . base64url(tag)
//! header = {"alg":"A256GCMKW","enc":"A256GCM","kid":"<kid in hexadecimal>","iv":"…","tag":"…",
//!           "domain":"…","field":"…"[,"patient":"…"]}
//! key-encryption key 32 ‖ patient key 32 = HKDF-SHA256(ring key, no salt, "jwe" ‖ kid)
//! patient = base64url of the first 16 bytes of HMAC-SHA256(patient key, header's iv ‖ L(domain) ‖ L(patient))
//! ```
//!
//! Both algorithms are pinned (RFC 7518 §4.7, §5.3): a header that names another one is refused, and so is `zip`
//! (lengths that depend on content), any `crit` (none is understood here), a member that stands twice, and whatever
//! is longer than the bounds below. Each value has a content key of its own, drawn at random, so the limit of
//! NIST SP 800-38D §8.3 counts values of a ring key: see [`crate::ring::OPERATIONS_ALERT`].
//!
//! Domain and field stand in the protected header, are authenticated with it and must be those of the reader. They
//! can be read by anybody, as kid and lengths can; the patient cannot: a keyed hash stands for it, which is different
//! in each value. The ring key itself is never a key of JOSE: a foreign reader is given the derived one
//! ([`key_encryption_key`]).

mod header;

use crate::aead::{Bound, NONCE_BYTES, TooLong, push_bound};
use crate::key::KeyMaterial;
use crate::mac::keyed;
use crate::plaintext::OpenError;
use crate::ring::{Held, KeyRing, Kid};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use header::Header;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use rand::Rng;
use sha2::Sha256;
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Longest header in bytes before base64: domain and field are most of it.
pub const HEADER_BYTES_MAX: usize = 8 * 1024;
/// Longest value in bytes before base64.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What the base64 of a JSON object begins with that has a member and no white space in front of it.
pub(crate) const PREFIX: &str = "eyJ";
const LABEL: &[u8] = b"jwe";
const TAG_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
const PATIENT_BYTES: usize = 16;
const URL: base64_simd::Base64 = base64_simd::URL_SAFE_NO_PAD;

/// The keys of a ring key's JWEs. The cipher wipes its key schedule when dropped.
pub(crate) struct JweKeys {
    wrap: Aes256Gcm,
    patient: Hmac<Sha256>,
}

impl JweKeys {
    pub(crate) fn derive(key: &KeyMaterial, kid: Kid) -> Option<Self> {
        let okm = derive(key, kid)?;
        let (wrap, patient) = okm.split_first_chunk::<KEY_BYTES>()?;
        Some(Self {
            wrap: Aes256Gcm::new(wrap.into()),
            patient: keyed(patient),
        })
    }

    /// What stands in the header for a patient.
    fn patient(
        &self,
        iv: &[u8; NONCE_BYTES],
        domain: &str,
        patient: &str,
    ) -> Result<[u8; PATIENT_BYTES], TooLong> {
        let mut bound = iv.to_vec();
        push_bound(&mut bound, domain)?;
        push_bound(&mut bound, patient)?;
        let mac = self.patient.clone().chain_update(&bound);
        let mac: [u8; 32] = mac.finalize().into_bytes().into();
        mac.first_chunk().copied().ok_or(TooLong)
    }
}

impl fmt::Debug for JweKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JweKeys(..)")
    }
}

fn derive(key: &KeyMaterial, kid: Kid) -> Option<Zeroizing<[u8; 2 * KEY_BYTES]>> {
    let mut okm = Zeroizing::new([0u8; 2 * KEY_BYTES]);
    Hkdf::<Sha256>::new(None, key.expose())
        .expand_multi_info(&[LABEL, &kid.0], okm.as_mut_slice())
        .ok()?;
    Some(okm)
}

/// The key that a JOSE library opens the JWEs of a ring key with (`A256GCMKW`): to be handed to a reader that is to
/// read them without this program. It opens nothing else.
///
/// # Errors
/// [`crate::KeyError::Length`], which does not occur: HKDF gives the bytes it is asked for.
pub fn key_encryption_key(held: &Held) -> Result<KeyMaterial, crate::KeyError> {
    let okm = derive(held.material(), held.kid());
    let key = okm.as_ref().and_then(|okm| okm.first_chunk::<KEY_BYTES>());
    KeyMaterial::from_raw(key.map_or(&[][..], |key| key))
}

/// Appends the JWE of a value to `out`.
pub(crate) fn seal(
    held: &Held,
    domain: &str,
    bound: Bound<'_>,
    plaintext: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    let mut content_key = Zeroizing::new([0; KEY_BYTES]);
    let (mut wrap_iv, mut iv) = ([0; NONCE_BYTES], [0; NONCE_BYTES]);
    let mut random = rand::rng();
    random.fill_bytes(content_key.as_mut_slice());
    random.fill_bytes(&mut wrap_iv);
    random.fill_bytes(&mut iv);
    let fresh = Fresh {
        content_key,
        wrap_iv,
        iv,
    };
    seal_with(held, domain, bound, plaintext, fresh, out)
}

/// What is drawn for one value.
struct Fresh {
    content_key: Zeroizing<[u8; KEY_BYTES]>,
    wrap_iv: [u8; NONCE_BYTES],
    iv: [u8; NONCE_BYTES],
}

fn seal_with(
    held: &Held,
    domain: &str,
    bound: Bound<'_>,
    plaintext: &[u8],
    fresh: Fresh,
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    if plaintext.len() > VALUE_BYTES_MAX {
        return Err(TooLong);
    }
    let keys = held.jwe().ok_or(TooLong)?;
    let cipher = Aes256Gcm::new((&*fresh.content_key).into());
    let mut wrapped = fresh.content_key;
    let wrap_iv = Nonce::from(fresh.wrap_iv);
    let wrap_tag = keys
        .wrap
        .encrypt_inout_detached(&wrap_iv, &[], wrapped.as_mut_slice().into())
        .map_err(|_| TooLong)?;
    let patient = bound
        .patient
        .map(|patient| keys.patient(&fresh.wrap_iv, domain, patient))
        .transpose()?;
    let header = Header {
        kid: held.kid(),
        iv: fresh.wrap_iv,
        tag: wrap_tag.into(),
        domain: domain.into(),
        field: bound.field.into(),
        patient,
    };
    let start = out.len();
    URL.encode_append(header.write()?, out);
    let aad = out.get(start..).unwrap_or_default().to_vec();
    let mut body = Zeroizing::new(plaintext.to_vec());
    let tag = cipher
        .encrypt_inout_detached(&Nonce::from(fresh.iv), &aad, body.as_mut_slice().into())
        .map_err(|_| TooLong)?;
    for part in [&wrapped[..], &fresh.iv, &body, &tag] {
        out.push(b'.');
        URL.encode_append(part, out);
    }
    held.operations().count_sealed();
    Ok(())
}

/// Opens a JWE that stands in a field of a domain.
pub(crate) fn open(
    ring: &KeyRing,
    domain: &str,
    bound: Bound<'_>,
    token: &str,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let parts = Parts::split(token).ok_or(OpenError::Refused)?;
    let header = Header::read(parts.header).ok_or(OpenError::Refused)?;
    let held = ring.opening(&header.kid.0)?;
    let keys = held.jwe().ok_or(OpenError::Refused)?;
    held.operations().count_opened();
    parts
        .open(keys, &header, domain, bound)
        .ok_or(OpenError::Refused)
}

/// The kid that a JWE names, if it is one of ours by its layout and header.
pub(crate) fn kid(token: &str) -> Option<Kid> {
    let parts = Parts::split(token)?;
    Header::read(parts.header).map(|header| header.kid)
}

/// The five parts, as they stand.
struct Parts<'t> {
    header: &'t str,
    wrapped: &'t str,
    iv: &'t str,
    ciphertext: &'t str,
    tag: &'t str,
}

impl<'t> Parts<'t> {
    /// Cuts at the dots, and checks every length before anything is decoded.
    fn split(token: &'t str) -> Option<Self> {
        const FIXED: usize = encoded(KEY_BYTES) + encoded(NONCE_BYTES) + encoded(TAG_BYTES) + 4;
        if token.len() > FIXED + encoded(HEADER_BYTES_MAX) + encoded(VALUE_BYTES_MAX) {
            return None;
        }
        let mut parts = token.split('.');
        let mut next = || parts.next();
        let found = Self {
            header: next()?,
            wrapped: next()?,
            iv: next()?,
            ciphertext: next()?,
            tag: next()?,
        };
        let whole = next().is_none()
            && found.header.len() <= encoded(HEADER_BYTES_MAX)
            && found.wrapped.len() == encoded(KEY_BYTES)
            && found.iv.len() == encoded(NONCE_BYTES)
            && found.ciphertext.len() <= encoded(VALUE_BYTES_MAX)
            && found.tag.len() == encoded(TAG_BYTES);
        whole.then_some(found)
    }

    /// `None` for every reason alike.
    fn open(
        &self,
        keys: &JweKeys,
        header: &Header<'_>,
        domain: &str,
        bound: Bound<'_>,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let patient = match bound.patient {
            Some(patient) => Some(keys.patient(&header.iv, domain, patient).ok()?),
            None => None,
        };
        let same = match (&patient, &header.patient) {
            (Some(expected), Some(named)) => bool::from(expected.ct_eq(named)),
            (None, None) => true,
            _ => false,
        };
        if !same || header.domain != domain || header.field != bound.field {
            return None;
        }
        let mut content_key = Zeroizing::new(fixed::<KEY_BYTES>(self.wrapped)?);
        keys.wrap
            .decrypt_inout_detached(
                &Nonce::from(header.iv),
                &[],
                content_key.as_mut_slice().into(),
                &Tag::from(header.tag),
            )
            .ok()?;
        let mut body = Zeroizing::new(URL.decode_to_vec(self.ciphertext).ok()?);
        Aes256Gcm::new((&*content_key).into())
            .decrypt_inout_detached(
                &Nonce::from(fixed(self.iv)?),
                self.header.as_bytes(),
                body.as_mut_slice().into(),
                &Tag::from(fixed(self.tag)?),
            )
            .ok()?;
        Some(body)
    }
}

/// Characters of base64 without padding.
const fn encoded(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

fn fixed<const N: usize>(text: &str) -> Option<[u8; N]> {
    URL.decode_to_vec(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests;
