//! Who a session is of, sealed for a store that is not ours alone.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::authn::Authenticated;

const KEY_LABEL: &[u8] = b"safeguard shared session seal v1";

/// Keys derived from those of the audit trail, which all replicas have: the last seals, all open.
pub struct SessionSeal(Vec<Zeroizing<[u8; 32]>>);

impl std::fmt::Debug for SessionSeal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionSeal(..)")
    }
}

impl SessionSeal {
    /// Derived from each of `keys` (HMAC-SHA256 with a label of its own), the newest last.
    pub fn derive<'k>(keys: impl Iterator<Item = &'k [u8]>) -> Self {
        let derived = keys.filter_map(|key| {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
            mac.update(KEY_LABEL);
            Some(Zeroizing::new(mac.finalize().into_bytes().into()))
        });
        Self(derived.collect())
    }

    /// Nonce, ciphertext and tag, bound to the session's id.
    pub(super) fn seal(&self, id: &str, who: &Authenticated) -> Option<Vec<u8>> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &**self.0.last()?).ok()?;
        let mut text = who.to_remembered();
        let nonce = key.seal_in_place_append_tag(Aad::from(id.as_bytes()), &mut text);
        Some([&nonce.ok()?.as_ref()[..], &text].concat())
    }

    /// Who was sealed; none for anything else.
    pub(super) fn open(&self, id: &str, sealed: &[u8]) -> Option<Arc<Authenticated>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let text = self.0.iter().rev().find_map(|key| {
            let key = RandomizedNonceKey::new(&AES_256_GCM, &**key).ok()?;
            let mut text = Zeroizing::new(sealed.to_vec());
            let aad = Aad::from(id.as_bytes());
            let opened = key.open_in_place(Nonce::from(nonce), aad, &mut text).ok()?;
            Some(Zeroizing::new(opened.to_vec()))
        })?;
        Authenticated::from_remembered(&text).map(Arc::new)
    }
}
