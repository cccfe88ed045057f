//! An opened value and the one error for whatever does not open.

use crate::json;
use std::fmt;
use zeroize::Zeroizing;

/// The sealed value does not open.
///
/// One error without a reason for whatever is wrong with the value: malformed, of an unknown key, of another domain,
/// field or patient, tampered with, or not JSON inside all look alike, so that a caller can't be used as an oracle.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// It does not open.
    #[error("sealed value does not open")]
    Refused,
    /// It names a key that the ring holds as destroyed, so nobody can tell what it was. For the audit log; whoever
    /// asked is answered as for [`OpenError::Refused`]: the name is not authenticated.
    #[error("sealed value's key was destroyed")]
    Destroyed,
}

/// The JSON text of an opened value. Wiped when dropped; `Debug` shows nothing of it.
pub struct Plaintext(Zeroizing<String>);

impl Plaintext {
    /// Takes authenticated bytes if they are one JSON text that Python's `json` reads to a finite value: a caller
    /// splices it into a document, so anything else would let a writer with a key break out of the value.
    pub(crate) fn from_authenticated(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, OpenError> {
        json::check(&bytes).map_err(|_| OpenError::Refused)?;
        // Moved, not copied; what is no UTF-8 comes back to be wiped.
        match String::from_utf8(std::mem::take(&mut *bytes)) {
            Ok(text) => Ok(Self(Zeroizing::new(text))),
            Err(refused) => {
                *bytes = refused.into_bytes();
                Err(OpenError::Refused)
            }
        }
    }

    /// The value's JSON text, as it was when it was sealed.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plaintext(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bytes: &[u8]) -> Result<Plaintext, OpenError> {
        Plaintext::from_authenticated(Zeroizing::new(bytes.to_vec()))
    }

    #[test]
    fn only_one_whole_json_text_is_taken() {
        assert_eq!(taken(b"\"a\"").unwrap().expose(), "\"a\"");
        for bad in [
            &b""[..],
            b"1,2",
            b"\"a",
            b"NaN",
            b"\"\\ud800\"",
            b"\xff",
            b"1e400",
        ] {
            assert_eq!(taken(bad).err(), Some(OpenError::Refused));
        }
    }

    #[test]
    fn debug_shows_nothing_of_the_value() {
        let value = taken(b"\"123-45-6789\"").unwrap();
        assert_eq!(format!("{value:?}"), "Plaintext(..)");
        assert_eq!(
            format!("{} {:?}", OpenError::Refused, OpenError::Refused),
            "sealed value does not open Refused"
        );
    }
}
