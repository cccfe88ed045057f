//! One-time codes (RFC 6238): SHA-1, six digits, steps of 30 seconds, one step early or late, as every authenticator has them.

use std::fmt;

use totp_rs::{Builder, Totp};
use zeroize::Zeroizing;

/// Bytes of a secret (RFC 4226 §4, R6).
pub const SECRET_BYTES: usize = 20;

/// The secret that a person's authenticator shares. Wiped when it goes.
pub struct Secret(Zeroizing<[u8; SECRET_BYTES]>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// A new one; none without randomness.
    pub fn generate() -> Option<Self> {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        aws_lc_rs::rand::fill(bytes.as_mut()).ok()?;
        Some(Self(bytes))
    }

    /// One that was kept; none if it's no secret.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }

    /// For the store, which seals it.
    pub fn expose(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    /// In base32, as people type it.
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(totp_rs::Secret::new_stack(*self.0).to_base32())
    }

    /// As authenticators scan it (the Key URI format): `issuer` is the place, `account` the person.
    pub fn uri(&self, issuer: &str, account: &str) -> Zeroizing<String> {
        let encode = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
        };
        let (issuer, account) = (encode(issuer), encode(account));
        Zeroizing::new(format!(
            "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}&algorithm=SHA1&digits=6&period=30",
            *self.text()
        ))
    }

    /// The step whose code this is, of those around `now_unix`; none for any other text. Takes as long whatever it is.
    pub fn step_of(&self, code: &str, now_unix: i64) -> Option<u64> {
        let now = u64::try_from(now_unix).ok()?;
        self.totp()?.check(code.trim(), now)
    }

    fn totp(&self) -> Option<Totp> {
        let secret = totp_rs::Secret::new_stack(*self.0);
        Builder::new().with_secret(secret).build().ok()
    }

    /// The code of a moment.
    #[cfg(test)]
    pub(crate) fn code_at(&self, now_unix: i64) -> String {
        let now = u64::try_from(now_unix).unwrap();
        self.totp().unwrap().generate(now).to_string()
    }
}
