//! `keys`: rings of 256-bit keys.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::key_sources::{is_reference, reference};
use super::types::{Key, KeyState, Keys};
use crate::document::check::date;
use crate::document::keys::KEY;
use crate::document::read::Section;
use crate::document::report::Report;
use crate::document::tree::{Node, Place};
use crate::finding::codes;
use crate::secret::KeyBytes;

/// Keys of one ring.
const RING_KEYS_MAX: usize = 64;

/// A ring under construction.
#[derive(Clone, Copy)]
struct Ring<'t> {
    name: &'static str,
    /// `key_sources`, which its sources need.
    sources: Section<'t>,
}

pub(crate) fn keys(root: Section<'_>, report: &mut Report<'_>) -> Option<Keys> {
    let section = root.section("keys");
    let sources = root.section("key_sources");
    let mut ring = |name| ring(section, Ring { name, sources }, report);
    let (phi, integrity, audit) = (ring("phi"), ring("integrity"), ring("audit"));
    let keys = Keys {
        phi: phi?,
        integrity: integrity?,
        audit: audit?,
    };
    shared(section, &keys, report);
    Some(keys)
}

fn ring(section: Section<'_>, ring: Ring<'_>, report: &mut Report<'_>) -> Option<Vec<Key>> {
    let name = ring.name;
    let node = section.node_of(name)?;
    if node.items().is_empty() || node.items().len() > RING_KEYS_MAX {
        report
            .error(
                codes::BAD_VALUE,
                node.place,
                format!("`keys.{name}` has between 1 and {RING_KEYS_MAX} keys"),
            )
            .fix("write [{ id: …, from: 2026-11-01, source: \"${…}\" }]");
        return None;
    }
    let mut keys = Vec::new();
    let mut kids: HashMap<[u8; 8], Place> = HashMap::new();
    let mut whole = true;
    for item in node.items() {
        match key(item, ring, report) {
            Some((key, place)) => {
                if let Some(first) = kids.insert(kid(&key.id), place) {
                    report
                        .error(
                            codes::KID_COLLISION,
                            place,
                            format!("two ids of `keys.{name}` have the same short form"),
                        )
                        .fix("give one of them another id")
                        .related(first, "the other one");
                }
                keys.push(key);
            }
            None => whole = false,
        }
    }
    if whole && keys.iter().all(|key| key.state != KeyState::Active) {
        report
            .error(
                codes::CONTRADICTION,
                node.place,
                format!("`keys.{name}` has no active key"),
            )
            .fix("add a new one: `safeguard keys rotate` makes it");
        return None;
    }
    whole.then_some(keys)
}

/// The first eight bytes of SHA-256 of an id: what an envelope carries.
fn kid(id: &str) -> [u8; 8] {
    let digest = Sha256::digest(id.as_bytes());
    let mut kid = [0; 8];
    for (byte, of) in kid.iter_mut().zip(digest.iter()) {
        *byte = *of;
    }
    kid
}

fn key(item: &Node, ring: Ring<'_>, report: &mut Report<'_>) -> Option<(Key, Place)> {
    let section = Section::new(item, KEY);
    let id = section.owned("id")?;
    let from_unix = date(section.text("from")?)?;
    let state = match section.text("state")? {
        "decrypt-only" => KeyState::DecryptOnly,
        "destroyed" => KeyState::Destroyed,
        _ => KeyState::Active,
    };
    let mut key = Key {
        id,
        from_unix,
        state,
        key: None,
        remote: None,
    };
    let place = section.place_of("id");
    if state == KeyState::Destroyed {
        destroyed(section, ring.name, report)?;
        return Some((key, place));
    }
    let Some(source) = section.node_of("source") else {
        report
            .error(
                codes::MISSING_KEY,
                item.place,
                format!("`keys.{}.source` is missing", ring.name),
            )
            .fix("add `source`, or set state: destroyed if the key is gone for good");
        return None;
    };
    match source
        .text()
        .map(|text| text.trim_end_matches(['\n', '\r']))
    {
        None => {}
        Some(text) if is_reference(text) => {
            key.remote = Some(reference(
                text,
                source.place,
                ring.name,
                ring.sources,
                report,
            )?);
        }
        Some(text) => {
            key.key = decode(text);
            if key.key.is_none() {
                report
                    .error(
                        codes::BAD_KEY,
                        source.place,
                        format!("`keys.{}` has a source that is not 32 bytes", ring.name),
                    )
                    .fix("take a new one from `safeguard keys generate`; hex:… and raw:… are accepted too, and infisical:…, transit:…, aws-kms:… and pkcs11:… say where it comes from");
                return None;
            }
        }
    }
    Some((key, place))
}

/// A destroyed key has no source any more, and the audit ring has none: its log would not verify.
fn destroyed(section: Section<'_>, ring: &str, report: &mut Report<'_>) -> Option<()> {
    if section.node_of("source").is_some() {
        report
            .error(
                codes::CONTRADICTION,
                section.place_of("source"),
                format!("`keys.{ring}` has a destroyed key with a source"),
            )
            .fix("remove the source, here and where it is kept; or take back state: destroyed");
        return None;
    }
    if ring == "audit" {
        report
            .error(
                codes::CONTRADICTION,
                section.place_of("state"),
                "a key of `keys.audit` can't be destroyed: the log and patients' pseudonyms need it",
            )
            .fix("leave its source where it is; state: decrypt-only keeps it from recording");
        return None;
    }
    Some(())
}

/// 32 bytes from base64 (either alphabet, padded or not), `hex:` or `raw:`.
fn decode(text: &str) -> Option<KeyBytes> {
    let bytes = if let Some(hex) = text.strip_prefix("hex:") {
        digits(hex.as_bytes(), 4, |c| char::from(c).to_digit(16))?
    } else if let Some(raw) = text.strip_prefix("raw:") {
        Zeroizing::new(raw.as_bytes().to_vec())
    } else {
        let bare = text.strip_suffix('=').unwrap_or(text);
        digits(bare.as_bytes(), 6, base64)?
    };
    let mut key = Zeroizing::new([0; KeyBytes::LENGTH]);
    if bytes.len() != KeyBytes::LENGTH {
        return None;
    }
    key.copy_from_slice(&bytes);
    Some(KeyBytes::new(key))
}

pub(super) fn base64(c: u8) -> Option<u32> {
    let value = match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

/// Digits of some bits each to bytes; bits left over must be zero.
pub(super) fn digits(
    text: &[u8],
    bits: u32,
    value: impl Fn(u8) -> Option<u32>,
) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let (mut held, mut count) = (0u32, 0u32);
    for c in text {
        held = (held << bits) | value(*c)?;
        count += bits;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((held >> count) & 0xff).ok()?);
            held &= (1 << count) - 1;
        }
    }
    (held == 0 && count < bits).then_some(bytes)
}

/// One key in two rings: what opens one opens the other.
fn shared(section: Section<'_>, keys: &Keys, report: &mut Report<'_>) {
    let rings = [
        ("phi", &keys.phi),
        ("integrity", &keys.integrity),
        ("audit", &keys.audit),
    ];
    let mut seen: Vec<(&str, &[u8; KeyBytes::LENGTH])> = Vec::new();
    for (name, ring) in rings {
        for bytes in ring
            .iter()
            .filter_map(|k| k.key.as_ref())
            .map(KeyBytes::expose)
        {
            if seen
                .iter()
                .any(|(other, known)| *other != name && *known == bytes)
            {
                let message = format!("a key of `keys.{name}` serves another ring too");
                report
                    .warning(codes::BAD_KEY, section.place_of(name), message)
                    .fix("give each ring keys of its own");
            }
            seen.push((name, bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_decode_from_either_alphabet_hex_and_raw() {
        let bytes = [0xfb; 32];
        for text in [
            "+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=",
            "-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s",
            &format!("hex:{}", "fb".repeat(32)),
        ] {
            assert_eq!(decode(text).unwrap().expose(), &bytes, "{text}");
        }
        let raw = decode(&format!("raw:{}", "x".repeat(32))).unwrap();
        assert_eq!(raw.expose(), b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    }

    #[test]
    fn what_is_not_32_bytes_is_no_key() {
        for text in [
            "",
            "abc",
            "hex:ff",
            "raw:short",
            "hex:zz",
            &"A".repeat(44),
            &format!("{}B", "A".repeat(42)),
        ] {
            assert!(decode(text).is_none(), "{text}");
        }
    }
}
