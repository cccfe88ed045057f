//! An opened value and the one error for whatever does not open.

use crate::json::Document;
use std::fmt;
use zeroize::Zeroizing;

/// The sealed value does not open.
///
/// One error without a reason: malformed, of an unknown key, of another domain, field or patient, tampered with,
/// or not JSON inside all look alike, so that a caller can't be used as an oracle.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
#[error("sealed value does not open")]
pub struct OpenError;

/// The JSON text of an opened value. Wiped when dropped; `Debug` shows nothing of it.
pub struct Plaintext(Zeroizing<String>);

impl Plaintext {
    /// Takes authenticated bytes if they are one JSON text that Python's `json` reads to a finite value: a caller
    /// splices it into a document, so anything else would let a writer with a key break out of the value.
    pub(crate) fn from_authenticated(bytes: &[u8]) -> Result<Self, OpenError> {
        let document = Document::parse(bytes).map_err(|_| OpenError)?;
        Ok(Self(Zeroizing::new(document.text().to_owned())))
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

    #[test]
    fn only_one_whole_json_text_is_taken() {
        assert_eq!(
            Plaintext::from_authenticated(b"\"a\"").unwrap().expose(),
            "\"a\""
        );
        for bad in [
            &b""[..],
            b"1,2",
            b"\"a",
            b"NaN",
            b"\"\\ud800\"",
            b"\xff",
            b"1e400",
        ] {
            assert_eq!(Plaintext::from_authenticated(bad).err(), Some(OpenError));
        }
    }

    #[test]
    fn debug_shows_nothing_of_the_value() {
        let value = Plaintext::from_authenticated(b"\"123-45-6789\"").unwrap();
        assert_eq!(format!("{value:?}"), "Plaintext(..)");
        assert_eq!(
            format!("{OpenError} {OpenError:?}"),
            "sealed value does not open OpenError"
        );
    }
}
