//! Whether a value stands in bytes, in any form in which it could be read back.

use base64_simd::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Bytes of one group of base64, and the characters that it becomes.
const GROUP_BYTES: usize = 3;
const GROUP_CHARS: usize = 4;

/// One value in every form that is looked for.
pub(super) struct Needle(Vec<Vec<u8>>);

impl Needle {
    /// The forms of a value of ASCII letters and digits, which neither JSON nor a URI escapes: as it is and in base64,
    /// however it falls into its groups.
    pub(super) fn of(value: &str) -> Self {
        let mut forms = vec![value.as_bytes().to_vec()];
        for skipped in 0..GROUP_BYTES {
            let Some(rest) = value.as_bytes().get(skipped..) else {
                continue;
            };
            // Only whole groups look the same whatever follows.
            let whole = rest.len() / GROUP_BYTES * GROUP_BYTES;
            let (groups, _) = rest.split_at(whole);
            if groups.len() / GROUP_BYTES * GROUP_CHARS >= GROUP_CHARS * 2 {
                forms.push(STANDARD_NO_PAD.encode_to_string(groups).into_bytes());
                forms.push(URL_SAFE_NO_PAD.encode_to_string(groups).into_bytes());
            }
        }
        Self(forms)
    }

    /// Whether any form stands in the text.
    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        self.0
            .iter()
            .any(|form| memchr::memmem::find(text, form).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64_simd::STANDARD;

    #[test]
    fn a_value_is_found_as_it_is_and_in_base64_wherever_it_falls() {
        let needle = Needle::of("CANARY0123456789");
        assert!(needle.is_in(b"{\"ssn\":\"CANARY0123456789\"}"));
        for before in ["", "x", "xy", "xyz"] {
            for after in ["", "1", "12", "123"] {
                let text = format!("{before}CANARY0123456789{after}");
                assert!(
                    needle.is_in(STANDARD.encode_to_string(text).as_bytes()),
                    "{before} {after}"
                );
            }
        }
        assert!(!needle.is_in(b"CANARY012345678"));
    }
}
