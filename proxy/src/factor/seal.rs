//! Enrolments on disk are sealed: AES-256-GCM under keys derived from those of `keys.audit`, bound to the person's file. The
//! review queue of emergencies is sealed likewise, under keys of its own.
//!
//! `HEAD ‖ base64url(key's id, 8 bytes ‖ nonce, 12 bytes ‖ ciphertext ‖ tag, 16 bytes) ‖ "\n"`, with HEAD and the file's
//! name as additional data. The last key of the ring seals, all open; every change of a file seals it anew. Of `keys.audit`
//! and not of `keys.phi`, because no reload changes it and none of it is ever awaited while the sidecar runs.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use base64_simd::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// What a file of enrolments begins with.
pub const HEAD: &str = "safeguard second factor 1\n";
/// What is sealed: nothing of one kind opens as the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// What a file begins with.
    pub head: &'static str,
    /// The salt of its keys.
    pub salt: &'static [u8],
}

/// Enrolments.
pub const FACTORS: Kind = Kind {
    head: HEAD,
    salt: b"safeguard second factor seal v1",
};
const ID_BYTES: usize = 8;

/// The keys, the one that seals last.
pub struct Seal(Kind, Vec<Derived>);

struct Derived {
    id: [u8; ID_BYTES],
    key: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(..)")
    }
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

impl Seal {
    /// Derived from the keys of a ring, by their ids. None where a key can't be.
    pub fn derive<'k>(
        kind: Kind,
        ring: impl Iterator<Item = (&'k str, &'k [u8; 32])>,
    ) -> Option<Self> {
        let keys = ring.map(|(name, key)| derive(kind, name, key));
        let keys = keys.collect::<Option<Vec<_>>>();
        keys.map(|keys| Self(kind, keys))
    }

    /// Seals a text for the file of this name.
    pub fn seal(&self, file: &str, text: &[u8]) -> Option<Vec<u8>> {
        let derived = self.1.last()?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &*derived.key).ok()?;
        let mut sealed = text.to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(self.bound(file)), &mut sealed);
        let nonce = nonce.ok()?;
        let whole = [&derived.id[..], nonce.as_ref(), &sealed].concat();
        Some(
            format!(
                "{}{}\n",
                self.0.head,
                URL_SAFE_NO_PAD.encode_to_string(whole)
            )
            .into_bytes(),
        )
    }

    /// What was sealed for the file of this name; none for anything else.
    pub fn open(&self, file: &str, text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let text = std::str::from_utf8(text).ok()?;
        let text = text.strip_prefix(self.0.head)?.strip_suffix('\n')?;
        let whole = URL_SAFE_NO_PAD.decode_to_vec(text).ok()?;
        let (id, rest) = whole.split_first_chunk::<ID_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let derived = self.1.iter().find(|derived| derived.id == *id)?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &*derived.key).ok()?;
        let mut text = Zeroizing::new(sealed.to_vec());
        let opened = key.open_in_place(Nonce::from(nonce), Aad::from(self.bound(file)), &mut text);
        let length = opened.ok()?.len();
        text.truncate(length);
        Some(text)
    }

    fn bound(&self, file: &str) -> Vec<u8> {
        [self.0.head.as_bytes(), file.as_bytes()].concat()
    }
}

fn derive(kind: Kind, name: &str, key: &[u8; 32]) -> Option<Derived> {
    let mut derived = Derived {
        id: [0; ID_BYTES],
        key: Zeroizing::new([0; 32]),
    };
    let hash = Sha256::digest(name);
    derived.id.copy_from_slice(hash.get(..ID_BYTES)?);
    let extracted = Salt::new(HKDF_SHA256, kind.salt).extract(key);
    let info = [name.as_bytes()];
    let expanded = extracted.expand(&info, Length).ok()?;
    expanded.fill(derived.key.as_mut()).ok()?;
    Some(derived)
}
