//! Base64 as Python's `base64.urlsafe_b64decode` reads it (CPython's `binascii.a2b_base64`, not strict).

/// The bytes of a text; `None` where Python raises an error: what stands in front of the end is no whole number of
/// quartets.
///
/// Both alphabets are read, whatever is in neither is skipped, a `=` where none may stand is skipped too, and nothing
/// behind a complete padding is looked at. Bits that no byte needs are dropped.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let (mut in_quartet, mut padding, mut left) = (0_u8, 0_u8, 0_u8);
    for byte in text {
        if *byte == b'=' {
            if in_quartet >= 2 {
                padding += 1;
                if in_quartet + padding >= 4 {
                    return Some(out);
                }
            }
            continue;
        }
        let Some(bits) = value(*byte) else { continue };
        padding = 0;
        match in_quartet {
            0 => {}
            1 => out.push(left << 2 | bits >> 4),
            2 => out.push(left << 4 | bits >> 2),
            _ => out.push(left << 6 | bits),
        }
        left = bits;
        in_quartet = (in_quartet + 1) % 4;
    }
    (in_quartet == 0).then_some(out)
}

/// Whether the characters of a text that are read begin with `prefix`.
pub(super) fn begins(text: &str, prefix: &str) -> bool {
    let mut read = text.bytes().filter(|byte| value(*byte).is_some());
    prefix.bytes().all(|expected| read.next() == Some(expected))
}

fn value(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_python_reads_them() {
        let cases: [(&str, Option<&[u8]>); 16] = [
            ("", Some(b"")),
            ("YWJj", Some(b"abc")),
            ("YW\nJ j", Some(b"abc")),
            ("YWI=", Some(b"ab")),
            ("YWJ=", Some(b"ab")),
            ("YQ==", Some(b"a")),
            ("YR==", Some(b"a")),
            ("YQ=", None),
            ("YQ", None),
            ("Y", None),
            ("Y===", None),
            ("=YWJj", Some(b"abc")),
            ("YQ=I=", Some(b"a\x02")),
            ("YQ==YWJj", Some(b"a")),
            ("-_+/", Some(b"\xfb\xff\xbf")),
            ("YWJj====", Some(b"abc")),
        ];
        for (text, bytes) in cases {
            assert_eq!(decode(text.as_bytes()).as_deref(), bytes, "{text:?}");
        }
        assert_eq!(decode(b"\xffYW\xc3\xa9Jj").as_deref(), Some(&b"abc"[..]));
    }

    #[test]
    fn junk_in_front_of_a_prefix_is_skipped() {
        assert!(begins(" \n=g A!AAAx", "gAAAA") && !begins("xgAAAA", "gAAAA"));
        assert!(!begins("gAAA", "gAAAA"));
    }
}
