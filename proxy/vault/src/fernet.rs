//! Fernet tokens, written strictly, and read strictly or as Python reads them ([`Reading`]).
//!
//! `base64url(0x80 ‖ u64 time ‖ IV 16 ‖ AES-128-CBC(PKCS #7) ‖ HMAC-SHA256)`, padded
//! (<https://github.com/fernet/spec/blob/master/Spec.md>). A key is 32 bytes: 16 for the HMAC, then 16 for AES.
//! Python's decoder takes much that is no base64url (other alphabets, junk, stray bits); read strictly, a token is
//! exactly what an encoder writes, so that it has one text. Either way the same bytes are authenticated. No time to
//! live is checked: stored values don't expire.

mod lenient;

use crate::key::KeyMaterial;
use crate::plaintext::OpenError;
use crate::ring::{Held, KeyRing};
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit};
use aes::{Aes128Dec, Aes128Enc};
use hmac::{Hmac, Mac};
use rand::Rng;
use sha2::Sha256;
use std::fmt;
use zeroize::Zeroizing;

const VERSION: u8 = 0x80;
const IV_BYTES: usize = 16;
const BLOCK_BYTES: usize = 16;
const MAC_BYTES: usize = 32;
const HEAD_BYTES: usize = 1 + 8 + IV_BYTES;

/// The token does not decrypt: malformed, of another key, or changed. One error for all.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
#[error("fernet token does not decrypt")]
pub struct FernetError;

/// What all Fernet tokens begin with: version 0x80 and the zeros that head a time of this epoch.
const PREFIX: &str = "gAAAA";

/// Which texts are read as a Fernet token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reading {
    /// Those that an encoder writes: URL-safe base64 with padding, nothing else.
    #[default]
    Strict,
    /// Those that Python's `cryptography` takes: both alphabets, junk characters and line breaks anywhere, padding
    /// that is too long, unused bits set, anything behind the padding. Missing padding is refused there too. For data
    /// that was damaged on its way; the text of a token then identifies nothing.
    Lenient,
}

/// A Fernet key, expanded once. Wiped when dropped; `Debug` shows nothing of it.
pub struct FernetKey {
    mac: Hmac<Sha256>,
    seal: Aes128Enc,
    open: Aes128Dec,
}

impl FernetKey {
    /// Splits and expands the 32 bytes.
    pub fn new(key: &KeyMaterial) -> Self {
        let (signing, encryption) = halves(key.expose());
        Self {
            mac: crate::mac::keyed(&*signing),
            seal: Aes128Enc::new((&*encryption).into()),
            open: Aes128Dec::new((&*encryption).into()),
        }
    }

    /// A new token of `plaintext`, dated `now_unix` (Unix time in seconds, in clear in the token).
    pub fn encrypt(&self, plaintext: &[u8], now_unix: u64) -> String {
        let mut token = Vec::new();
        self.encrypt_into(plaintext, now_unix, &mut token);
        // Base64 is ASCII: nothing is ever replaced.
        String::from_utf8_lossy(&token).into_owned()
    }

    pub(crate) fn encrypt_into(&self, plaintext: &[u8], now_unix: u64, out: &mut Vec<u8>) {
        let mut iv = [0; IV_BYTES];
        rand::rng().fill_bytes(&mut iv);
        self.encrypt_with_iv(plaintext, now_unix, &iv, out);
    }

    fn encrypt_with_iv(
        &self,
        plaintext: &[u8],
        now_unix: u64,
        iv: &[u8; IV_BYTES],
        out: &mut Vec<u8>,
    ) {
        let padded = plaintext.len() + BLOCK_BYTES - plaintext.len() % BLOCK_BYTES;
        let mut raw = Zeroizing::new(Vec::with_capacity(HEAD_BYTES + padded + MAC_BYTES));
        raw.push(VERSION);
        raw.extend_from_slice(&now_unix.to_be_bytes());
        raw.extend_from_slice(iv);
        raw.extend_from_slice(plaintext);
        raw.resize(HEAD_BYTES + padded, 0);
        let (_, body) = raw.split_at_mut(HEAD_BYTES);
        let cbc = cbc::Encryptor::inner_iv_init(self.seal.clone(), iv.into());
        // The buffer has exactly the room for the padding, so this never fails; were it to, no clear text may leave.
        if cbc.encrypt_padded::<Pkcs7>(body, plaintext.len()).is_err() {
            body.fill(0);
        }
        let mac = self
            .mac
            .clone()
            .chain_update(raw.as_slice())
            .finalize()
            .into_bytes();
        raw.extend_from_slice(&mac);
        base64_simd::URL_SAFE.encode_append(raw.as_slice(), out);
    }

    /// The plaintext of a token of any date, read strictly.
    ///
    /// # Errors
    /// [`FernetError`], the same for every reason.
    pub fn decrypt(&self, token: &str) -> Result<Zeroizing<Vec<u8>>, FernetError> {
        decrypt_any([self], token, Reading::Strict)
    }

    /// Checks the MAC (in constant time) before anything is decrypted or unpadded.
    fn decrypt_raw(&self, raw: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (signed, mac) = raw.split_last_chunk::<MAC_BYTES>()?;
        self.mac
            .clone()
            .chain_update(signed)
            .verify(mac.into())
            .ok()?;
        let (head, body) = signed.split_first_chunk::<HEAD_BYTES>()?;
        let iv: &[u8; IV_BYTES] = head.last_chunk()?;
        let mut body = Zeroizing::new(body.to_vec());
        let cbc = cbc::Decryptor::inner_iv_init(self.open.clone(), iv.into());
        let length = cbc.decrypt_padded::<Pkcs7>(&mut body).ok()?.len();
        body.truncate(length);
        Some(body)
    }
}

impl fmt::Debug for FernetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FernetKey(..)")
    }
}

/// Tries keys in the order given, as Python's `MultiFernet` does.
///
/// # Errors
/// [`FernetError`] if none of them decrypts the token.
pub fn decrypt_any<'k>(
    keys: impl IntoIterator<Item = &'k FernetKey>,
    token: &str,
    reading: Reading,
) -> Result<Zeroizing<Vec<u8>>, FernetError> {
    let raw = decode(token, reading).ok_or(FernetError)?;
    keys.into_iter()
        .find_map(|key| key.decrypt_raw(&raw))
        .ok_or(FernetError)
}

/// Opens a token with whichever key of a ring it is of. A token names no key, so one of a destroyed key is refused
/// like any other.
pub(crate) fn open(
    ring: &KeyRing,
    token: &str,
    reading: Reading,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let raw = decode(token, reading).ok_or(OpenError::Refused)?;
    let open = |held: &Held| {
        let opened = held.fernet().decrypt_raw(&raw)?;
        held.operations().count_opened();
        Some(opened)
    };
    ring.keys().find_map(open).ok_or(OpenError::Refused)
}

/// Whether a text is laid out as a Fernet token (its authenticity is not looked at).
pub fn is_well_formed(token: &str, reading: Reading) -> bool {
    decode(token, reading).is_some()
}

/// Whether a text begins like a Fernet token.
pub(crate) fn begins(text: &str, reading: Reading) -> bool {
    match reading {
        Reading::Strict => text.starts_with(PREFIX),
        Reading::Lenient => lenient::begins(text, PREFIX),
    }
}

/// The bytes of a token with its version and lengths checked.
fn decode(token: &str, reading: Reading) -> Option<Vec<u8>> {
    let raw = match reading {
        Reading::Strict => base64_simd::URL_SAFE.decode_to_vec(token).ok()?,
        Reading::Lenient => lenient::decode(token.as_bytes())?,
    };
    let body = raw.len().checked_sub(HEAD_BYTES + MAC_BYTES)?;
    (raw.first() == Some(&VERSION) && body > 0 && body.is_multiple_of(BLOCK_BYTES)).then_some(raw)
}

fn halves(key: &[u8; 32]) -> (Zeroizing<[u8; 16]>, Zeroizing<[u8; 16]>) {
    let (mut first, mut second) = (Zeroizing::new([0; 16]), Zeroizing::new([0; 16]));
    let (a, b) = key.split_at(16);
    first.copy_from_slice(a);
    second.copy_from_slice(b);
    (first, second)
}

#[cfg(test)]
mod tests;
