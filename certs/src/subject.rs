//! Distinguished names as text (RFC 4514), and other pieces of certificates as text.

use std::fmt::Write;

use time::OffsetDateTime;
use x509_parser::asn1_rs::{Any, Oid, ToDer};
use x509_parser::x509::X509Name;

/// The attribute types that RFC 4514 §3 gives a short name.
const SHORT_NAMES: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// A name as RFC 4514 writes it: the most specific part first, special characters escaped, so that
/// one text means one name.
pub(crate) fn rfc4514(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|rdn| {
            let attributes: Vec<String> = rdn
                .iter()
                .map(|attribute| {
                    format!(
                        "{}={}",
                        kind(attribute.attr_type()),
                        value(attribute.attr_value())
                    )
                })
                .collect();
            attributes.join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

fn kind(oid: &Oid<'_>) -> String {
    let dotted = oid.to_id_string();
    SHORT_NAMES
        .iter()
        .find(|(id, _)| *id == dotted)
        .map_or(dotted, |(_, short)| (*short).to_owned())
}

fn value(value: &Any<'_>) -> String {
    match value.as_str() {
        Ok(text) => escape(text),
        // RFC 4514 §2.4: what has no string form is shown as its encoding.
        Err(_) => format!("#{}", hex(&value.to_der_vec().unwrap_or_default())),
    }
}

/// RFC 4514 §2.4, and control characters as hex pairs so that a name stays on its line.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (place, c) in text.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => out.extend(['\\', c]),
            '#' if place == 0 => out.push_str("\\#"),
            ' ' if place == 0 || place == last => out.push_str("\\ "),
            _ if c.is_control() => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    // Writing to a string can't fail.
                    let _ = write!(out, "\\{byte:02x}");
                }
            }
            _ => out.push(c),
        }
    }
    out
}

/// Lower case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
}

/// Seconds since 1970 as RFC 3339 in UTC.
pub(crate) fn utc(unix: i64) -> String {
    match OffsetDateTime::from_unix_timestamp(unix) {
        Ok(t) => format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            t.year(),
            u8::from(t.month()),
            t.day(),
            t.hour(),
            t.minute(),
            t.second()
        ),
        Err(_) => format!("{unix} s after 1970"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_are_escaped() {
        for (text, expected) in [
            ("web", "web"),
            ("Clinic, North + Co", "Clinic\\, North \\+ Co"),
            ("#1", "\\#1"),
            (" a ", "\\ a\\ "),
            ("a\nCN=b", "a\\0aCN=b"),
            ("Ärztin", "Ärztin"),
        ] {
            assert_eq!(escape(text), expected);
        }
    }

    #[test]
    fn seconds_become_a_date() {
        assert_eq!(utc(1_700_000_000), "2023-11-14T22:13:20Z");
    }
}
