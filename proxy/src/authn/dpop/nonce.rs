//! Nonces for proofs (RFC 9449 §9): a time under a key of this process, so that none has to be remembered.

use aws_lc_rs::{hmac, rand};

/// How long one nonce is given out, in seconds; it serves as long again.
pub const NONCE_SECONDS: i64 = 60;

/// The longest nonce that is looked at, in bytes.
const NONCE_BYTES_MAX: usize = 128;

/// Makes and knows nonces. Those of another replica are not known: the client just asks again with ours.
pub(super) struct Nonces(Option<hmac::Key>);

impl Nonces {
    pub(super) fn new() -> Self {
        // Without random bytes no nonce is ever known, and every proof is refused.
        Self(hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new()).ok())
    }

    /// The nonce of a time.
    pub(super) fn at(&self, now: i64) -> String {
        let slot = now.div_euclid(NONCE_SECONDS).to_be_bytes();
        let mut bytes = slot.to_vec();
        if let Some(key) = &self.0 {
            bytes.extend_from_slice(hmac::sign(key, &slot).as_ref());
        }
        base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
    }

    /// Whether a nonce is ours, of this slot or the one before it.
    pub(super) fn knows(&self, nonce: &str, now: i64) -> bool {
        let Some(key) = self.0.as_ref().filter(|_| nonce.len() <= NONCE_BYTES_MAX) else {
            return false;
        };
        let Ok(bytes) = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(nonce) else {
            return false;
        };
        let Some((slot, tag)) = bytes.split_first_chunk::<8>() else {
            return false;
        };
        let age = now
            .div_euclid(NONCE_SECONDS)
            .checked_sub(i64::from_be_bytes(*slot));
        matches!(age, Some(0 | 1)) && hmac::verify(key, slot, tag).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_serves_for_its_minute_and_the_next() {
        let nonces = Nonces::new();
        let nonce = nonces.at(600);
        assert!(nonces.knows(&nonce, 600) && nonces.knows(&nonce, 719));
        assert!(!nonces.knows(&nonce, 720) && !nonces.knows(&nonce, 599));
        assert!(!nonces.knows(&nonce, i64::MIN) && !nonces.knows(&nonce, i64::MAX));
    }

    #[test]
    fn only_our_own_nonces_are_known() {
        let nonces = Nonces::new();
        for other in [Nonces::new().at(600), String::new(), "AAAA".to_owned()] {
            assert!(!nonces.knows(&other, 600));
        }
        let long = "A".repeat(NONCE_BYTES_MAX + 4);
        assert!(!nonces.knows(&long, 600));
    }
}
