//! The `Authorization` header's value, bounded and of the right alphabet.

use super::error::AuthnError;

/// The longest token that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

const SCHEME: &[u8] = b"bearer";
const PROVED: &[u8] = b"dpop";

/// A token as presented: unverified, where it stood in the request, never copied, never shown.
pub struct BearerToken<'h> {
    text: &'h str,
    /// Whether it came under the scheme `DPoP` (RFC 9449 §7.1).
    is_dpop: bool,
}

impl<'h> BearerToken<'h> {
    /// Takes the token out of a request's headers.
    ///
    /// # Errors
    /// [`AuthnError::Missing`] without the header, [`AuthnError::SeveralCredentials`] with two of them,
    /// else as [`BearerToken::parse`].
    pub fn from_headers(headers: &'h http::HeaderMap) -> Result<Self, AuthnError> {
        let mut values = headers.get_all(http::header::AUTHORIZATION).iter();
        let first = values.next().ok_or(AuthnError::Missing)?;
        if values.next().is_some() {
            return Err(AuthnError::SeveralCredentials);
        }
        Self::parse(first.as_bytes())
    }

    /// Parses one header value: `Bearer` or `DPoP`, in any case, spaces, and one token (RFC 6750 §2.1).
    ///
    /// # Errors
    /// [`AuthnError::SchemeRefused`], [`AuthnError::TooLarge`] or [`AuthnError::HeaderMalformed`].
    pub fn parse(value: &'h [u8]) -> Result<Self, AuthnError> {
        let value = value.trim_ascii();
        let scheme = value.split(|byte| *byte == b' ').next().unwrap_or_default();
        let is_dpop = scheme.eq_ignore_ascii_case(PROVED);
        if !is_dpop && !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(AuthnError::SchemeRefused);
        }
        let token = value.get(scheme.len()..).unwrap_or_default();
        let token = Self::from_bytes(token.trim_ascii_start())?;
        Ok(Self { is_dpop, ..token })
    }

    /// Takes a token that stands alone, as `token inspect` reads it.
    ///
    /// # Errors
    /// [`AuthnError::TooLarge`] or [`AuthnError::HeaderMalformed`].
    pub fn from_bytes(token: &'h [u8]) -> Result<Self, AuthnError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AuthnError::TooLarge);
        }
        let right = token
            .iter()
            .fold(true, |right, byte| right & is_token_byte(*byte));
        if token.is_empty() || !right {
            return Err(AuthnError::HeaderMalformed);
        }
        std::str::from_utf8(token)
            .map(|text| Self {
                text,
                is_dpop: false,
            })
            .map_err(|_| AuthnError::HeaderMalformed)
    }

    pub(in crate::authn) fn expose(&self) -> &'h str {
        self.text
    }

    pub(in crate::authn) fn is_dpop(&self) -> bool {
        self.is_dpop
    }
}

/// The alphabet of `b64token`, RFC 6750 §2.1. Without branches: every byte of every token is looked at, on every
/// request, and so the processor looks at many at once.
fn is_token_byte(byte: u8) -> bool {
    let is_mark = (byte == b'-') | (byte == b'.') | (byte == b'_') | (byte == b'~');
    let is_sign = (byte == b'+') | (byte == b'/') | (byte == b'=');
    byte.is_ascii_alphanumeric() | is_mark | is_sign
}

impl std::fmt::Debug for BearerToken<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BearerToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(value: &[u8]) -> &'static str {
        BearerToken::parse(value).map_or_else(|e| e.code(), |_| "ok")
    }

    #[test]
    fn the_scheme_is_read_in_any_case() {
        for value in [
            "Bearer a.b.c",
            "bearer a.b.c",
            "BEARER   a.b.c",
            " bEaReR a.b.c ",
        ] {
            assert_eq!(
                BearerToken::parse(value.as_bytes()).unwrap().expose(),
                "a.b.c"
            );
        }
    }

    #[test]
    fn other_schemes_and_junk_are_refused() {
        assert_eq!(code(b"Basic dXNlcjpwdw=="), "scheme_refused");
        assert_eq!(code(b""), "scheme_refused");
        assert_eq!(code(b"Bearera.b.c"), "scheme_refused");
        assert_eq!(code(b"Bearer"), "header_malformed");
        assert_eq!(code(b"Bearer a b"), "header_malformed");
        assert_eq!(code(b"Bearer a.b.c, Bearer d.e.f"), "header_malformed");
        assert_eq!(code("Bearer \u{e9}".as_bytes()), "header_malformed");
        assert_eq!(code(b"Bearer \xff"), "header_malformed");
    }

    #[test]
    fn a_token_above_the_bound_is_refused() {
        let long = format!("Bearer {}", "a".repeat(TOKEN_BYTES_MAX + 1));
        assert_eq!(code(long.as_bytes()), "token_too_large");
        let fits = format!("Bearer {}", "a".repeat(TOKEN_BYTES_MAX));
        assert_eq!(code(fits.as_bytes()), "ok");
    }

    #[test]
    fn two_headers_are_refused_and_none_is_missing() {
        let mut headers = http::HeaderMap::new();
        assert_eq!(
            BearerToken::from_headers(&headers).unwrap_err().code(),
            "token_missing"
        );
        headers.append("authorization", "Bearer a.b.c".parse().unwrap());
        assert!(BearerToken::from_headers(&headers).is_ok());
        headers.append("authorization", "Bearer a.b.c".parse().unwrap());
        let refused = BearerToken::from_headers(&headers).unwrap_err();
        assert_eq!(refused.code(), "several_credentials");
    }

    #[test]
    fn debug_shows_nothing_of_the_token() {
        let token = BearerToken::parse(b"Bearer canary-token").unwrap();
        assert_eq!(format!("{token:?}"), "BearerToken(..)");
    }
}
