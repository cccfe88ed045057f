//! Key material: 32 secret bytes, read from text or drawn at random, wiped when dropped.

use rand::TryRng;
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// Length in bytes of a key of a ring (AES-256; also the length of a Fernet key).
pub const KEY_BYTES: usize = 32;

/// Why a text is no key. Never holds the text.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// A character outside the base64 alphabets, wrong padding, or bits set behind the last byte.
    #[error("key is not base64: write it in the standard or the url-safe alphabet")]
    NotBase64,
    /// A character that is no hexadecimal digit, or an odd number of them.
    #[error("key is not hexadecimal: write two digits a byte")]
    NotHex,
    /// Another length than [`KEY_BYTES`].
    #[error("key has {found} bytes, it needs 32: make one with `safeguard keys generate`")]
    Length {
        /// Bytes found after decoding.
        found: usize,
    },
}

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
#[error("the operating system gave no random bytes")]
pub struct NoEntropy;

/// 32 secret bytes on the heap: moving the value leaves no copy behind, dropping it wipes them.
///
/// There is no `Clone` and no comparison; `Debug` shows nothing of the content.
pub struct KeyMaterial(Box<[u8; KEY_BYTES]>);

impl KeyMaterial {
    /// Decodes base64 in either alphabet, padded or not; white space around it is ignored.
    ///
    /// # Errors
    /// [`KeyError`] if it is not base64 or not 32 bytes long.
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        Self::from_raw(&decode_base64(text)?)
    }

    /// Decodes 64 hexadecimal digits of either case; white space around them is ignored.
    ///
    /// # Errors
    /// [`KeyError`] if it is not hexadecimal or not 32 bytes long.
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        Self::from_raw(&decode_hex(text)?)
    }

    /// Takes 32 bytes as they are.
    ///
    /// # Errors
    /// [`KeyError::Length`] for any other length.
    pub fn from_raw(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() != KEY_BYTES {
            return Err(KeyError::Length { found: bytes.len() });
        }
        let mut key = Self::zeroed();
        key.0.copy_from_slice(bytes);
        Ok(key)
    }

    /// The key as URL-safe base64 with padding (44 characters), the form that Fernet libraries take too.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(base64_simd::URL_SAFE.encode_to_string(self.0.as_slice()))
    }

    /// The secret bytes, for a derivation. Never log or store them.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    fn zeroed() -> Self {
        Self(Box::new([0; KEY_BYTES]))
    }
}

impl Drop for KeyMaterial {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyMaterial(..)")
    }
}

/// A new key from the operating system's random source (not from a process-wide generator: keys live for years).
///
/// # Errors
/// [`NoEntropy`] if the operating system has no random bytes to give.
pub fn random_key() -> Result<KeyMaterial, NoEntropy> {
    let mut key = KeyMaterial::zeroed();
    rand::rngs::SysRng
        .try_fill_bytes(key.0.as_mut_slice())
        .map_err(|_| NoEntropy)?;
    Ok(key)
}

/// Decodes a secret of any length from base64 in either alphabet, padded or not; white space around it is ignored.
///
/// # Errors
/// [`KeyError::NotBase64`].
pub fn decode_base64(text: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let text = text.trim_ascii();
    let bare = text.trim_end_matches('=');
    let padding = text.len() - bare.len();
    if padding != 0 && (padding > 2 || !text.len().is_multiple_of(4)) {
        return Err(KeyError::NotBase64);
    }
    let standard: Zeroizing<Vec<u8>> = Zeroizing::new(
        bare.bytes()
            .map(|byte| match byte {
                b'-' => b'+',
                b'_' => b'/',
                other => other,
            })
            .collect(),
    );
    let decoded = base64_simd::STANDARD_NO_PAD.decode_to_vec(standard.as_slice());
    decoded.map(Zeroizing::new).map_err(|_| KeyError::NotBase64)
}

/// Decodes a secret of any length from hexadecimal digits of either case; white space around them is ignored.
///
/// # Errors
/// [`KeyError::NotHex`].
pub fn decode_hex(text: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let (pairs, rest) = text.trim_ascii().as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(KeyError::NotHex);
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(pairs.len()));
    for [high, low] in pairs {
        bytes.push(digit(*high)? << 4 | digit(*low)?);
    }
    Ok(bytes)
}

fn digit(byte: u8) -> Result<u8, KeyError> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(KeyError::NotHex),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_alphabet_padded_or_not_gives_the_same_key() {
        let bytes: Vec<u8> = (0..32).map(|i| 0xf8 ^ i).collect();
        let url = base64_simd::URL_SAFE.encode_to_string(&bytes);
        let standard = base64_simd::STANDARD.encode_to_string(&bytes);
        for text in [
            url.clone(),
            standard.clone(),
            url.replace('=', ""),
            standard.replace('=', ""),
            format!(" {url}\n"),
        ] {
            assert_eq!(
                KeyMaterial::from_base64(&text).unwrap().expose().as_slice(),
                bytes
            );
        }
    }

    #[test]
    fn a_generated_key_reads_back() {
        let key = random_key().unwrap();
        let text = key.to_base64();
        assert_eq!((text.len(), text.ends_with('=')), (44, true));
        assert_eq!(
            KeyMaterial::from_base64(&text).unwrap().expose(),
            key.expose()
        );
        assert_ne!(random_key().unwrap().expose(), key.expose());
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_reason() {
        let full = "A".repeat(43);
        assert_eq!(
            KeyMaterial::from_base64("AA").err(),
            Some(KeyError::Length { found: 1 })
        );
        assert_eq!(
            KeyMaterial::from_base64("").err(),
            Some(KeyError::Length { found: 0 })
        );
        for bad in [
            "A",
            "AA=",
            "AA===",
            "====",
            "AB==",
            "A A=",
            &full.replace('A', "*"),
            &format!("{full}=="),
        ] {
            assert_eq!(
                KeyMaterial::from_base64(bad).err(),
                Some(KeyError::NotBase64),
                "{bad}"
            );
        }
        assert_eq!(KeyMaterial::from_hex("abc").err(), Some(KeyError::NotHex));
        assert_eq!(KeyMaterial::from_hex("zz").err(), Some(KeyError::NotHex));
        assert_eq!(
            KeyMaterial::from_hex(&"aF".repeat(32)).unwrap().expose(),
            &[0xaf; 32]
        );
    }

    #[test]
    fn debug_shows_nothing_of_the_key() {
        let key = KeyMaterial::from_raw(&[0x41; 32]).unwrap();
        assert_eq!(
            format!("{key:?} {key:#?}"),
            "KeyMaterial(..) KeyMaterial(..)"
        );
    }
}
