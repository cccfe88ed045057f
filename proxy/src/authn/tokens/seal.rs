//! What a family carries of its login, sealed for a store that is not ours alone.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use super::families::{Family, FamilyId};
use super::refresh::mac;

const KEY_LABEL: &[u8] = b"safeguard refresh family seal v1";

/// Keys derived from the secrets of local tokens: the first seals, all open.
pub struct SealingKeys(Vec<Zeroizing<[u8; 32]>>);

impl std::fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKeys(..)")
    }
}

impl SealingKeys {
    /// Derived from the secrets of local tokens, the one in force first.
    pub(in crate::authn) fn derive<'s>(secrets: impl Iterator<Item = &'s [u8]>) -> Self {
        Self(
            secrets
                .filter_map(|secret| mac(secret, &[KEY_LABEL]))
                .collect(),
        )
    }
}

/// Nonce, ciphertext and tag of what the family carries.
pub(super) fn seal(keys: &SealingKeys, id: &FamilyId, family: &Family) -> Option<Vec<u8>> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, &**keys.0.first()?).ok()?;
    let mut text = family.carried.to_vec();
    let nonce = key.seal_in_place_append_tag(Aad::from(bound(id, family)), &mut text);
    let nonce = nonce.ok()?;
    Some([&nonce.as_ref()[..], &text].concat())
}

/// What was sealed; none for anything else.
pub(super) fn open(keys: &SealingKeys, id: &FamilyId, family: &Family) -> Option<Vec<u8>> {
    let (nonce, sealed) = family.carried.split_first_chunk::<NONCE_LEN>()?;
    keys.0.iter().find_map(|key| {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &**key).ok()?;
        let mut text = sealed.to_vec();
        let bound = Aad::from(bound(id, family));
        let opened = key.open_in_place(Nonce::from(nonce), bound, &mut text);
        opened.ok().map(|text| text.to_vec())
    })
}

/// What may not be changed beside it. Each part is of one length but the last.
fn bound(id: &FamilyId, family: &Family) -> Vec<u8> {
    let has_certificate = [u8::from(family.certificate.is_some())];
    let certificate = family.certificate.unwrap_or_default();
    [
        &id[..],
        &has_certificate,
        &certificate,
        &family.ends_at.to_be_bytes(),
        family.session.as_bytes(),
    ]
    .concat()
}
