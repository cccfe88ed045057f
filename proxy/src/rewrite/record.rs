//! Records: the hash and metadata that one gets on its way up, and what is verified before any of it comes down.
//!
//! The hash is the seed's: HMAC-SHA256 over Python's `json.dumps(data, sort_keys=True)` of the record's `data`, in
//! clear. The sidecar replaces whatever the caller supplied for the integrity members, so that nobody can bring a
//! hash, an author or a time of his own.

use safeguard_policy::Path;
use safeguard_vault::canonical::canonicalize;
use safeguard_wire::json::{Kind, Splice, Value, quote};

use super::request::Stamp;
use super::{RewriteError, Workshop};

/// The members that the sidecar writes and reads.
const INTEGRITY_HASH: &str = "integrity_hash";
const CREATED_AT: &str = "created_at";
const CREATED_BY: &str = "created_by";
const VERSION: &str = "version";

/// Gives every record its hash and metadata. `in_clear` are the same records with what their tokens carry.
pub(super) fn stamp<'t>(
    records: &[Value<'t>],
    in_clear: &[Value<'_>],
    patient: Option<&str>,
    workshop: &Workshop,
    stamp: Stamp<'_>,
    splice: &mut Splice<'t>,
) -> Result<(), RewriteError> {
    if records.is_empty() || records.len() != in_clear.len() {
        return Err(RewriteError::Integrity("record_missing"));
    }
    let created_at = quote(&timestamp(stamp.now_micros));
    let created_by = quote(stamp.created_by);
    for (record, clear) in records.iter().zip(in_clear) {
        let data = hashed_part(*clear)?;
        belongs_to(*clear, patient)?;
        let hash = workshop
            .macs
            .hex(&canonical(data)?, stamp.now_micros.div_euclid(1_000_000))
            .ok_or(RewriteError::Vault("hashed"))?;
        let version = next_version(*clear)?;
        put(*record, INTEGRITY_HASH, quote(&hash), splice)?;
        put(*record, CREATED_AT, created_at.clone(), splice)?;
        put(*record, CREATED_BY, created_by.clone(), splice)?;
        put(*record, VERSION, version.into_bytes(), splice)?;
    }
    Ok(())
}

/// Verifies every record of an answer, already opened.
///
/// # Errors
/// When one has no hash, a wrong hash, ambiguous members or another patient.
pub(super) fn verify(
    records: &[Value<'_>],
    patient: Option<&str>,
    workshop: &Workshop,
) -> Result<u32, RewriteError> {
    for record in records {
        let data = hashed_part(*record)?;
        let hash = member(*record, INTEGRITY_HASH)?.and_then(Value::string);
        let hash = hash.ok_or(RewriteError::Integrity("hash_missing"))?;
        if !workshop.macs.verify(&canonical(data)?, &hash) {
            return Err(RewriteError::Integrity("hash_mismatch"));
        }
        belongs_to(*record, patient)?;
    }
    Ok(u32::try_from(records.len()).unwrap_or(u32::MAX))
}

/// The records that a path names below the value that its root means.
pub(super) fn select<'t>(root: Value<'t>, path: &Path) -> Result<Vec<Value<'t>>, RewriteError> {
    crate::paths::select(root, path).map_err(|_| RewriteError::Integrity("duplicate_members"))
}

fn member<'t>(record: Value<'t>, name: &str) -> Result<Option<Value<'t>>, RewriteError> {
    record
        .get(name)
        .map_err(|_| RewriteError::Integrity("duplicate_members"))
}

fn hashed_part<'t>(record: Value<'t>) -> Result<Value<'t>, RewriteError> {
    if record.kind() != Kind::Object {
        return Err(RewriteError::Integrity("record_is_no_object"));
    }
    let data = member(record, "data")?.ok_or(RewriteError::Integrity("data_missing"))?;
    if data.has_duplicates() {
        return Err(RewriteError::Integrity("duplicate_members"));
    }
    Ok(data)
}

fn canonical(data: Value<'_>) -> Result<Vec<u8>, RewriteError> {
    canonicalize(data.raw()).map_err(|_| RewriteError::Integrity("no_canonical_form"))
}

/// A record that says whose it is must say the patient of the rule.
fn belongs_to(record: Value<'_>, patient: Option<&str>) -> Result<(), RewriteError> {
    let Some(patient) = patient else {
        return Ok(());
    };
    match member(record, "patient_id")?.map(crate::paths::scalar_text) {
        Some(Some(named)) if named == patient => Ok(()),
        Some(_) => Err(RewriteError::Integrity("other_patient")),
        None => Ok(()),
    }
}

fn next_version(record: Value<'_>) -> Result<String, RewriteError> {
    let supplied = member(record, VERSION)?.and_then(Value::as_i64);
    Ok(supplied
        .and_then(|version| version.checked_add(1))
        .unwrap_or(1)
        .to_string())
}

fn put<'t>(
    record: Value<'t>,
    name: &str,
    raw: Vec<u8>,
    splice: &mut Splice<'t>,
) -> Result<(), RewriteError> {
    match member(record, name)? {
        Some(old) => splice.replace(old, raw),
        None => splice.insert_member(record, name, &raw),
    }
    Ok(())
}

/// UTC in ISO 8601 with microseconds and no `Z`, as Python's `datetime.utcnow().isoformat()` writes it.
fn timestamp(micros: i64) -> String {
    let (date, time) = crate::clock::civil(micros);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}",
        date.0, date.1, date.2, time.0, time.1, time.2, time.3
    )
}
