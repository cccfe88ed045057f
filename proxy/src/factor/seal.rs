//! Enrolments on disk are sealed: AES-256-GCM under keys derived from those of `keys.audit`, bound to the person's file.
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

/// What a file begins with.
pub const HEAD: &str = "safeguard second factor 1\n";
const SALT: &[u8] = b"safeguard second factor seal v1";
const ID_BYTES: usize = 8;

/// The keys, the one that seals last.
pub struct Seal(Vec<Derived>);

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
    pub fn derive<'k>(ring: impl Iterator<Item = (&'k str, &'k [u8; 32])>) -> Option<Self> {
        let keys = ring.map(|(name, key)| derive(name, key));
        keys.collect::<Option<Vec<_>>>().map(Self)
    }

    /// Seals a text for the file of this name.
    pub fn seal(&self, file: &str, text: &[u8]) -> Option<Vec<u8>> {
        let derived = self.0.last()?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &*derived.key).ok()?;
        let mut sealed = text.to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(bound(file)), &mut sealed);
        let nonce = nonce.ok()?;
        let whole = [&derived.id[..], nonce.as_ref(), &sealed].concat();
        Some(format!("{HEAD}{}\n", URL_SAFE_NO_PAD.encode_to_string(whole)).into_bytes())
    }

    /// What was sealed for the file of this name; none for anything else.
    pub fn open(&self, file: &str, text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let text = std::str::from_utf8(text).ok()?;
        let text = text.strip_prefix(HEAD)?.strip_suffix('\n')?;
        let whole = URL_SAFE_NO_PAD.decode_to_vec(text).ok()?;
        let (id, rest) = whole.split_first_chunk::<ID_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let derived = self.0.iter().find(|derived| derived.id == *id)?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &*derived.key).ok()?;
        let mut text = Zeroizing::new(sealed.to_vec());
        let opened = key.open_in_place(Nonce::from(nonce), Aad::from(bound(file)), &mut text);
        let length = opened.ok()?.len();
        text.truncate(length);
        Some(text)
    }
}

fn derive(name: &str, key: &[u8; 32]) -> Option<Derived> {
    let mut derived = Derived {
        id: [0; ID_BYTES],
        key: Zeroizing::new([0; 32]),
    };
    let hash = Sha256::digest(name);
    derived.id.copy_from_slice(hash.get(..ID_BYTES)?);
    let extracted = Salt::new(HKDF_SHA256, SALT).extract(key);
    let info = [name.as_bytes()];
    let expanded = extracted.expand(&info, Length).ok()?;
    expanded.fill(derived.key.as_mut()).ok()?;
    Some(derived)
}

fn bound(file: &str) -> Vec<u8> {
    [HEAD.as_bytes(), file.as_bytes()].concat()
}
