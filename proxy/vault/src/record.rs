//! Whole records, as the Python class `PHIEncryption` takes them: the members at the top level of one JSON object.
//!
//! Records are spliced: what is not sealed or opened keeps its bytes. For the command line; the sidecar finds PHI at
//! any depth by its policy.

use crate::canonical::CanonicalError;
use crate::envelope::{Opener, SealError, Sealer, looks_sealed};
use crate::json::{Content, Document, Node};
use crate::plaintext::OpenError;
use crate::python::is_truthy;

/// The fields that the Python class seals.
pub const SEED_FIELDS: [&str; 6] = [
    "ssn",
    "date_of_birth",
    "medical_record_number",
    "diagnosis",
    "medications",
    "test_results",
];

/// What becomes of values that Python holds for false (null, false, zero, empty).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Falsy {
    /// Sealed like all others: `test_results: 0` is PHI too.
    Seal,
    /// Left in clear, as the Python class does.
    Leave,
}

/// Why a record can't be sealed or opened. Names at most a field, never a value.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum RecordError {
    /// No JSON text, or one that is refused.
    #[error("record is refused: {0}")]
    Text(#[from] CanonicalError),
    /// Another JSON value than an object.
    #[error("record is no json object")]
    NotAnObject,
    /// A value can't be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// An envelope has no `_value`, or one that is no string.
    #[error("envelope of a field has no `_value` string")]
    NoValue,
    /// An envelope does not open with the given key, domain and patient.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Seals those members of a record whose names are `fields`.
///
/// # Errors
/// [`RecordError`]; nothing is sealed in part.
pub fn seal(
    record_json: &[u8],
    fields: &[&str],
    falsy: Falsy,
    patient: Option<&str>,
    sealer: &mut Sealer<'_>,
) -> Result<Vec<u8>, RecordError> {
    splice(record_json, |document, index, member, out| {
        let name = document.characters(member.name);
        let Some(field) = fields.iter().find(|field| field.as_bytes() == name) else {
            return Ok(false);
        };
        if falsy == Falsy::Leave && !is_truthy(document, index, member) {
            return Ok(false);
        }
        sealer.seal(field, patient, document.token(member).as_bytes(), out)?;
        Ok(true)
    })
}

/// Opens every envelope among the members of a record: objects whose `_encrypted` is true to Python, and strings that
/// are laid out as sealed values. Line breaks in an opened text become spaces (a string can't hold one), so that a
/// record in one line stays in one line.
///
/// # Errors
/// [`RecordError`] if any of them does not open.
pub fn open(
    record_json: &[u8],
    patient: Option<&str>,
    opener: &Opener,
) -> Result<Vec<u8>, RecordError> {
    splice(record_json, |document, index, member, out| {
        let Some(token) = sealed_token(document, index, member, opener)? else {
            return Ok(false);
        };
        let field = text_of(document.characters(member.name))?;
        let value = opener.open(token, field, patient)?;
        out.extend(value.expose().bytes().map(|byte| {
            if matches!(byte, b'\n' | b'\r') {
                b' '
            } else {
                byte
            }
        }));
        Ok(true)
    })
}

/// Copies a record, with the members that `edit` writes anew in the place of the old ones.
fn splice(
    record_json: &[u8],
    mut edit: impl FnMut(&Document<'_>, u32, &Node, &mut Vec<u8>) -> Result<bool, RecordError>,
) -> Result<Vec<u8>, RecordError> {
    let document = Document::parse(record_json)?;
    if !document
        .root()
        .is_some_and(|root| matches!(root.content, Content::Object))
    {
        return Err(RecordError::NotAnObject);
    }
    let mut out = Vec::with_capacity(record_json.len() * 2);
    let mut copied = 0;
    for index in document.children(0) {
        let Some(member) = document.node(index) else {
            continue;
        };
        let span = member.span();
        let before = out.len();
        out.extend_from_slice(record_json.get(copied..span.start).unwrap_or_default());
        if edit(&document, index, member, &mut out)? {
            copied = span.end;
        } else {
            out.truncate(before);
        }
    }
    out.extend_from_slice(record_json.get(copied..).unwrap_or_default());
    Ok(out)
}

/// The token in a member's value, if it is an envelope in either form.
fn sealed_token<'d>(
    document: &'d Document<'_>,
    index: u32,
    member: &Node,
    opener: &Opener,
) -> Result<Option<&'d str>, RecordError> {
    match member.content {
        Content::Text(text) => {
            let text = text_of(document.characters(text))?;
            Ok((looks_sealed(text) && opener.is_well_formed(text)).then_some(text))
        }
        Content::Object => {
            let marked = last_member(document, index, "_encrypted");
            if !marked.is_some_and(|(index, node)| is_truthy(document, index, node)) {
                return Ok(None);
            }
            match last_member(document, index, "_value").map(|(_, node)| node.content) {
                Some(Content::Text(text)) => text_of(document.characters(text)).map(Some),
                _ => Err(RecordError::NoValue),
            }
        }
        _ => Ok(None),
    }
}

/// The member of that name; of several the last one, as in Python.
fn last_member<'d>(document: &'d Document<'_>, object: u32, name: &str) -> Option<(u32, &'d Node)> {
    let members = document
        .children(object)
        .filter_map(|index| document.node(index).map(|node| (index, node)));
    members
        .filter(|(_, node)| document.characters(node.name) == name.as_bytes())
        .last()
}

/// Strings of a document are UTF-8 already; the check keeps `unsafe` out.
fn text_of(characters: &[u8]) -> Result<&str, RecordError> {
    std::str::from_utf8(characters).map_err(|_| RecordError::NoValue)
}

#[cfg(test)]
mod tests;
