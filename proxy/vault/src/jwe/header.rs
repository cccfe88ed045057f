//! The protected header of a JWE: what is written, and what is taken.

use super::{HEADER_BYTES_MAX, NONCE_BYTES, PATIENT_BYTES, TAG_BYTES, URL, fixed};
use crate::aead::TooLong;
use crate::json::{Content, Document, Node, quote};
use crate::ring::Kid;
use std::borrow::Cow;

const ALGORITHM: &str = "A256GCMKW";
const ENCRYPTION: &str = "A256GCM";

pub(super) struct Header<'a> {
    pub(super) kid: Kid,
    /// Of the key wrap.
    pub(super) iv: [u8; NONCE_BYTES],
    /// Of the key wrap.
    pub(super) tag: [u8; TAG_BYTES],
    pub(super) domain: Cow<'a, str>,
    pub(super) field: Cow<'a, str>,
    pub(super) patient: Option<[u8; PATIENT_BYTES]>,
}

impl Header<'_> {
    /// The JSON text.
    pub(super) fn write(&self) -> Result<Vec<u8>, TooLong> {
        let mut out = format!(
            r#"{{"alg":"{ALGORITHM}","enc":"{ENCRYPTION}","kid":"{}","iv":"{}","tag":"{}","domain":"#,
            self.kid,
            URL.encode_to_string(self.iv),
            URL.encode_to_string(self.tag),
        )
        .into_bytes();
        quote(&self.domain, &mut out);
        out.extend_from_slice(b",\"field\":");
        quote(&self.field, &mut out);
        if let Some(patient) = &self.patient {
            out.extend_from_slice(b",\"patient\":\"");
            URL.encode_append(patient, &mut out);
            out.push(b'"');
        }
        out.push(b'}');
        if out.len() > HEADER_BYTES_MAX {
            return Err(TooLong);
        }
        Ok(out)
    }

    /// The header in base64. Members that are not known are ignored, as RFC 7516 §4 asks, but for those that change
    /// what the rest means: `zip` and `crit`.
    pub(super) fn read(text: &str) -> Option<Header<'static>> {
        let json = URL.decode_to_vec(text).ok()?;
        let document = Document::parse(&json).ok()?;
        let members = Members::of(&document)?;
        if members.text("alg")? != ALGORITHM
            || members.text("enc")? != ENCRYPTION
            || members.has("zip")
            || members.has("crit")
        {
            return None;
        }
        Some(Header {
            kid: Kid::from_hex(members.text("kid")?)?,
            iv: fixed(members.text("iv")?)?,
            tag: fixed(members.text("tag")?)?,
            domain: Cow::Owned(members.text("domain")?.to_owned()),
            field: Cow::Owned(members.text("field")?.to_owned()),
            patient: if members.has("patient") {
                Some(fixed(members.text("patient")?)?)
            } else {
                None
            },
        })
    }
}

/// The members of an object in which no name stands twice.
struct Members<'d> {
    document: &'d Document<'d>,
    sorted: Vec<(&'d [u8], &'d Node)>,
}

impl<'d> Members<'d> {
    fn of(document: &'d Document<'d>) -> Option<Self> {
        if !matches!(document.root()?.content, Content::Object) {
            return None;
        }
        let mut sorted: Vec<_> = document
            .children(0)
            .filter_map(|index| document.node(index))
            .map(|node| (document.characters(node.name), node))
            .collect();
        sorted.sort_unstable_by_key(|(name, _)| *name);
        let twice = sorted.array_windows().any(|[(a, _), (b, _)]| a == b);
        (!twice).then_some(Self { document, sorted })
    }

    fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The characters of a member that is a string.
    fn text(&self, name: &str) -> Option<&'d str> {
        match self.find(name)?.content {
            Content::Text(text) => std::str::from_utf8(self.document.characters(text)).ok(),
            _ => None,
        }
    }

    fn find(&self, name: &str) -> Option<&'d Node> {
        let found = self
            .sorted
            .binary_search_by_key(&name.as_bytes(), |(name, _)| name);
        let (_, node) = self.sorted.get(found.ok()?)?;
        Some(node)
    }
}
