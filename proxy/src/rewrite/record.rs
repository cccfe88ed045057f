//! Records: the hash and metadata that one gets on its way up, and what is verified before any of it comes down.
//!
//! The seed's hash is HMAC-SHA256 over Python's `json.dumps(data, sort_keys=True)` of the record's `data`, in clear.
//! `integrity_v2` covers patient, version, author and time as well. Which of them is written and demanded, what is
//! covered where there is no `data`, and where the members stand is the policy's `integrity`. The sidecar replaces
//! whatever the caller supplied for them, so that nobody can bring a hash, an author or a time of his own.

use safeguard_policy::decide::Permit;
use safeguard_policy::policy::Integrity;
use safeguard_policy::{Path, Policy, Root};
use safeguard_vault::canonical::canonicalize;
use safeguard_vault::mac::{RecordV2, VerifyError};
use safeguard_wire::json::{Kind, Splice, Tree, Value, quote, quote_into};

use super::request::Stamp;
use super::{LIMITS, RewriteError, Workshop};

/// The members that the sidecar writes and reads.
const INTEGRITY_HASH: &str = "integrity_hash";
const INTEGRITY_V2: &str = "integrity_v2";
const CREATED_AT: &str = "created_at";
const CREATED_BY: &str = "created_by";
const VERSION: &str = "version";

/// How many records of an answer were verified, and how many passed without, as the policy lets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// Every hash that the policy demands matched.
    pub verified: u32,
    /// A hash was missing or of an unknown key.
    pub unverified: u32,
}

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
    for (record, clear) in records.iter().zip(in_clear) {
        belongs_to(*clear, patient)?;
        let members = members(*clear, patient, workshop, stamp)?;
        put(*record, &members, workshop.policy.integrity(), splice)?;
    }
    Ok(())
}

/// A result as a server has it whose records were stored through a sidecar: each that has no hash yet gets one.
///
/// # Errors
/// The text is no JSON, or a record can't be hashed.
pub fn as_stored(
    result: &[u8],
    permit: &Permit,
    workshop: &Workshop,
    patient: Option<&str>,
    stamped: Stamp<'_>,
) -> Result<Vec<u8>, RewriteError> {
    let tree = Tree::parse(result, &LIMITS).map_err(|_| RewriteError::Upstream("not_json"))?;
    let path = permit
        .record
        .as_deref()
        .filter(|path| path.root == Root::Result);
    let mut splice = Splice::new(&tree);
    for record in path.map_or(Ok(Vec::new()), |path| select(tree.root(), path))? {
        let integrity = workshop.policy.integrity();
        let of_its_own = [INTEGRITY_HASH, INTEGRITY_V2]
            .iter()
            .any(|name| matches!(integrity_member(record, name, integrity), Ok(Some(_))));
        if !of_its_own {
            stamp(
                &[record],
                &[record],
                patient,
                workshop,
                stamped,
                &mut splice,
            )?;
        }
    }
    Ok(splice.apply())
}

/// The integrity members of one record, as names and JSON texts.
fn members(
    record: Value<'_>,
    patient: Option<&str>,
    workshop: &Workshop,
    stamp: Stamp<'_>,
) -> Result<Vec<(&'static str, Vec<u8>)>, RewriteError> {
    let policy = &workshop.policy;
    let integrity = policy.integrity();
    let data = covered(record, integrity)?;
    let created_at = timestamp(stamp.now_micros);
    let version = next_version(record, integrity)?;
    let now_unix = stamp.now_micros.div_euclid(1_000_000);
    let mut members = Vec::with_capacity(5);
    if integrity.version.seed() {
        let hash = workshop.macs.hex(&data, now_unix);
        let hash = hash.ok_or(RewriteError::Vault("hashed"))?;
        members.push((INTEGRITY_HASH, quote(&hash)));
    }
    if integrity.version.v2() {
        let named = named_patient(record)?;
        let covered = RecordV2 {
            domain: &policy.phi().domain,
            patient: patient.or(named.as_deref()),
            version,
            created_by: stamp.created_by,
            created_at: &created_at,
            data: &data,
        };
        let mac = workshop.macs.seal_v2(&covered, now_unix);
        let mac = mac.ok_or(RewriteError::Vault("hashed"))?;
        members.push((INTEGRITY_V2, quote(&mac)));
    }
    members.push((CREATED_AT, quote(&created_at)));
    members.push((CREATED_BY, quote(stamp.created_by)));
    members.push((VERSION, version.to_string().into_bytes()));
    Ok(members)
}

/// Verifies every record of an answer, already opened.
///
/// # Errors
/// When one has no hash, a wrong hash, ambiguous members or another patient.
pub(super) fn verify(
    records: &[Value<'_>],
    patient: Option<&str>,
    workshop: &Workshop,
) -> Result<Checked, RewriteError> {
    let mut checked = Checked::default();
    for record in records {
        let whole = seed(*record, workshop)? & second(*record, patient, workshop)?;
        if whole {
            checked.verified = checked.verified.saturating_add(1);
        } else {
            checked.unverified = checked.unverified.saturating_add(1);
        }
        belongs_to(*record, patient)?;
    }
    Ok(checked)
}

/// Verifies the seed's hash, where the policy demands it; false where it may be missing and is.
fn seed(record: Value<'_>, workshop: &Workshop) -> Result<bool, RewriteError> {
    let integrity = workshop.policy.integrity();
    if !integrity.version.seed() {
        return Ok(true);
    }
    let Some(hash) = text(record, INTEGRITY_HASH, integrity)? else {
        return missing(integrity);
    };
    if workshop.macs.verify(&covered(record, integrity)?, &hash) {
        Ok(true)
    } else {
        Err(RewriteError::Integrity("hash_mismatch"))
    }
}

/// Verifies `integrity_v2`, where the policy demands it; false where it may be missing or unknown and is.
fn second(
    record: Value<'_>,
    patient: Option<&str>,
    workshop: &Workshop,
) -> Result<bool, RewriteError> {
    let policy = &workshop.policy;
    let integrity = policy.integrity();
    if !integrity.version.v2() {
        return Ok(true);
    }
    let Some(mac) = text(record, INTEGRITY_V2, integrity)? else {
        return missing(integrity);
    };
    let mismatch = RewriteError::Integrity("hash_mismatch");
    let version = integrity_member(record, VERSION, integrity)?.and_then(Value::as_i64);
    let created_by = text(record, CREATED_BY, integrity)?;
    let created_at = text(record, CREATED_AT, integrity)?;
    let (Some(version), Some(created_by), Some(created_at)) = (version, created_by, created_at)
    else {
        return Err(mismatch);
    };
    let named = named_patient(record)?;
    let found = RecordV2 {
        domain: &policy.phi().domain,
        patient: patient.or(named.as_deref()),
        version,
        created_by: &created_by,
        created_at: &created_at,
        data: &covered(record, integrity)?,
    };
    match workshop.macs.verify_v2(&found, &mac) {
        Ok(()) => Ok(true),
        Err(VerifyError::UnknownKey) if integrity.pass_unknown => Ok(false),
        Err(VerifyError::UnknownKey) => Err(RewriteError::Integrity("hash_of_unknown_key")),
        Err(VerifyError::Mismatch) => Err(mismatch),
    }
}

fn missing(integrity: &Integrity) -> Result<bool, RewriteError> {
    if integrity.pass_missing {
        Ok(false)
    } else {
        Err(RewriteError::Integrity("hash_missing"))
    }
}

/// The records that a path names below the value that its root means.
pub(super) fn select<'t>(root: Value<'t>, path: &Path) -> Result<Vec<Value<'t>>, RewriteError> {
    crate::paths::select(root, path).map_err(|_| RewriteError::Integrity("duplicate_members"))
}

/// Where the integrity members of these records stand, in document order: the sidecar's own, which nobody judges.
pub(super) fn holders<'t>(
    records: &[Value<'t>],
    policy: &Policy,
) -> Result<Vec<Value<'t>>, RewriteError> {
    let Some(name) = policy.integrity().member.as_deref() else {
        return Ok(records.to_vec());
    };
    let mut holders = Vec::with_capacity(records.len());
    for record in records {
        holders.extend(member(*record, name)?.filter(|holder| holder.kind() == Kind::Object));
    }
    Ok(holders)
}

fn member<'t>(record: Value<'t>, name: &str) -> Result<Option<Value<'t>>, RewriteError> {
    record
        .get(name)
        .map_err(|_| RewriteError::Integrity("duplicate_members"))
}

/// One of the integrity members, from where the policy puts them.
fn integrity_member<'t>(
    record: Value<'t>,
    name: &str,
    integrity: &Integrity,
) -> Result<Option<Value<'t>>, RewriteError> {
    let holder = match integrity.member.as_deref() {
        Some(holder) => member(record, holder)?,
        None => Some(record),
    };
    match holder.filter(|holder| holder.kind() == Kind::Object) {
        Some(holder) => member(holder, name),
        None => Ok(None),
    }
}

fn text(
    record: Value<'_>,
    name: &str,
    integrity: &Integrity,
) -> Result<Option<String>, RewriteError> {
    let found = integrity_member(record, name, integrity)?.and_then(Value::string);
    Ok(found.map(std::borrow::Cow::into_owned))
}

/// The canonical form of what a record's hash covers.
fn covered(record: Value<'_>, integrity: &Integrity) -> Result<Vec<u8>, RewriteError> {
    if record.kind() != Kind::Object {
        return Err(RewriteError::Integrity("record_is_no_object"));
    }
    let ambiguous = RewriteError::Integrity("duplicate_members");
    match member(record, "data")? {
        Some(data) if data.has_duplicates() => Err(ambiguous),
        Some(data) => canonical(data.raw()),
        None if !integrity.covers_record => Err(RewriteError::Integrity("data_missing")),
        None if record.has_duplicates() => Err(ambiguous),
        None => canonical(&without_integrity(record, integrity)?),
    }
}

/// The record without what the sidecar writes into it.
fn without_integrity(record: Value<'_>, integrity: &Integrity) -> Result<Vec<u8>, RewriteError> {
    let unreadable = |_| RewriteError::Integrity("no_canonical_form");
    let tree = Tree::parse(record.raw(), &LIMITS).map_err(unreadable)?;
    let mut splice = Splice::new(&tree);
    for child in tree.root().children() {
        let name = child.key().unwrap_or_default();
        let own = match integrity.member.as_deref() {
            Some(holder) => *name == *holder,
            None => Policy::is_integrity_member(&name),
        };
        if own {
            splice.remove(child);
        }
    }
    Ok(splice.apply())
}

fn canonical(data: &[u8]) -> Result<Vec<u8>, RewriteError> {
    canonicalize(data).map_err(|_| RewriteError::Integrity("no_canonical_form"))
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

/// Whose record it says it is.
fn named_patient(record: Value<'_>) -> Result<Option<String>, RewriteError> {
    let named = member(record, "patient_id")?;
    Ok(named.and_then(crate::paths::scalar_text))
}

fn next_version(record: Value<'_>, integrity: &Integrity) -> Result<i64, RewriteError> {
    let supplied = integrity_member(record, VERSION, integrity)?.and_then(Value::as_i64);
    let next = supplied.and_then(|version| version.checked_add(1));
    Ok(next.unwrap_or(1))
}

/// Puts the members in their place, over what the caller supplied; a hash that is not written any more goes.
fn put<'t>(
    record: Value<'t>,
    members: &[(&'static str, Vec<u8>)],
    integrity: &Integrity,
    splice: &mut Splice<'t>,
) -> Result<(), RewriteError> {
    let holder = match integrity.member.as_deref() {
        None => record,
        Some(name) => match member(record, name)? {
            Some(holder) if holder.kind() == Kind::Object => holder,
            Some(other) => {
                splice.replace(other, object(members));
                return Ok(());
            }
            None => {
                splice.insert_member(record, name, &object(members));
                return Ok(());
            }
        },
    };
    for (name, raw) in members {
        match member(holder, name)? {
            Some(old) => splice.replace(old, raw.clone()),
            None => splice.insert_member(holder, name, raw),
        }
    }
    for name in [INTEGRITY_HASH, INTEGRITY_V2] {
        if let Some(stale) = member(holder, name)?
            && !members.iter().any(|(written, _)| *written == name)
        {
            splice.remove(stale);
        }
    }
    Ok(())
}

/// The members as an object of their own.
fn object(members: &[(&'static str, Vec<u8>)]) -> Vec<u8> {
    let mut text = Vec::from(b"{");
    for (position, (name, raw)) in members.iter().enumerate() {
        if position > 0 {
            text.push(b',');
        }
        quote_into(name, &mut text);
        text.push(b':');
        text.extend_from_slice(raw);
    }
    text.push(b'}');
    text
}

/// UTC in ISO 8601 with microseconds and no `Z`, as Python's `datetime.utcnow().isoformat()` writes it.
fn timestamp(micros: i64) -> String {
    let (date, time) = crate::clock::civil(micros);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}",
        date.0, date.1, date.2, time.0, time.1, time.2, time.3
    )
}
