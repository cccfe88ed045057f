//! `phi.patient_keys`: what a data key for each patient asks of the rest.

use std::path::Path;

use super::fields::Fields;
use crate::document::keys::FIELD;
use crate::document::read::Section;
use crate::document::report::Report;
use crate::finding::codes;
use crate::policy::{PatientKeys, Phi, Storage};

pub(super) fn read(phi: Section<'_>) -> Option<PatientKeys> {
    let section = phi.section("patient_keys");
    if !section.is_written() {
        return None;
    }
    Some(PatientKeys {
        directory: section.text("directory")?.into(),
        cached: section.number("cached")?,
    })
}

/// Whether the keys can be had for every value, and where they are kept holds nothing else.
pub(super) fn judge(
    section: Section<'_>,
    phi: &Phi,
    fields: &Fields,
    directories: &[(&'static str, &Path)],
    report: &mut Report<'_>,
) {
    let Some(keys) = &phi.patient_keys else {
        return;
    };
    let place = section.place_of("patient_keys");
    if !phi.bind_patient {
        report
            .error(
                codes::CONTRADICTION,
                place,
                "`phi.patient_keys` seals each patient's values under a key of its own, and `phi.bind` does not bind them to the patient",
            )
            .fix("write bind: [patient]: then every rule names its patient before the call");
    }
    if phi.storage == Storage::Clear {
        report
            .error(
                codes::CONTRADICTION,
                place,
                "`phi.patient_keys` has nothing to seal: `phi.storage` is clear",
            )
            .fix("write storage: encrypted, or remove patient_keys");
    }
    directory(section, keys, directories, report);
    reached(section, fields, report);
}

fn directory(
    section: Section<'_>,
    keys: &PatientKeys,
    directories: &[(&'static str, &Path)],
    report: &mut Report<'_>,
) {
    let place = section.section("patient_keys").place_of("directory");
    let own = &keys.directory;
    if !own.is_absolute() || own.file_name().is_none() {
        report
            .error(
                codes::BAD_VALUE,
                place,
                "`phi.patient_keys.directory` names no directory of its own by its absolute path",
            )
            .fix("write a path such as /var/lib/safeguard/patient-keys");
    }
    for (name, other) in directories {
        if own.starts_with(other) || other.starts_with(own) {
            report
                .error(
                    codes::CONTRADICTION,
                    place,
                    format!("`phi.patient_keys.directory` and `{name}` are within one another"),
                )
                .fix("keep the keys of patients in a directory of their own");
        }
    }
}

/// A searchable value is sealed alike for all patients: a search has no patient yet.
fn reached(section: Section<'_>, fields: &Fields, report: &mut Report<'_>) {
    for (entry, how) in section.named("fields").iter().zip(&fields.searchable) {
        if how.is_none() {
            continue;
        }
        let place = Section::new(&entry.value, FIELD).place_of("searchable");
        report
            .warning(
                codes::NOT_SHREDDED,
                place,
                format!("`phi.fields.{}` is searchable: its values are sealed under keys.phi, not under the patient's key, and outlast its destruction", entry.name),
            )
            .fix("delete the upstream's record as well when a patient's key is destroyed, or write searchable: false");
    }
}
