//! A record in the words of others: OCSF for SIEMs, FHIR's AuditEvent (IHE BALP), DICOM's audit message (ATNA), CEF.
//!
//! One record, pure functions from it, and one table ([`codes`]) of what each event is called in each format. The record as the spool
//! has it is the truth; what can't be said in a format stands in that format's place for such, and the record's hash goes with every
//! one of them, so that whoever has the rendering finds the record.

mod cef;
mod codes;
mod dicom;
mod facts;
mod fhir;
mod ocsf;
#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::record::Record;

/// A format of audit events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EventFormat {
    /// The record's canonical bytes, as the spool has them: a reader computes the hash again.
    Native,
    /// OCSF 1.8.0, as JSON.
    #[default]
    Ocsf18,
    /// OCSF 1.9.0 with the profile `record_integrity`, as JSON.
    Ocsf19,
    /// FHIR R4 AuditEvent by IHE Basic Audit Log Patterns 1.1, as JSON.
    Fhir,
    /// DICOM PS3.15 A.5 audit message, which IHE ATNA carries, as XML.
    Dicom,
    /// ArcSight's Common Event Format, one line.
    Cef,
}

/// JSON with the members of every object in order, whether or not this build's serde_json keeps the order in which they were put in
/// (a dependency of the binary has it do so): the same event is the same bytes everywhere, and those are what a fingerprint covers.
fn sorted(mut event: Value) -> Vec<u8> {
    event.sort_all_objects();
    serde_json::to_vec(&event).unwrap_or_default()
}

impl EventFormat {
    /// Every format, with the word by which the configuration and the command line ask for it.
    pub const ALL: [(&'static str, Self); 6] = [
        ("native", Self::Native),
        ("ocsf", Self::Ocsf18),
        ("ocsf-1.9", Self::Ocsf19),
        ("fhir", Self::Fhir),
        ("dicom", Self::Dicom),
        ("cef", Self::Cef),
    ];

    /// The format of this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(name, _)| *name == word)
            .map(|(_, format)| *format)
    }

    /// The media type of one event.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Native | Self::Ocsf18 | Self::Ocsf19 => "application/json",
            Self::Fhir => "application/fhir+json",
            Self::Dicom => "application/xml",
            Self::Cef => "text/plain",
        }
    }

    /// The record in this format: one line without a line break.
    #[must_use]
    pub fn render(self, record: &Record) -> Vec<u8> {
        self.render_within(record, usize::MAX)
    }

    /// The same in as few of its parts as `bytes_max` has room for: what is shed is first the copy of the record, then long lists.
    /// Who, what, when and with which outcome stay, whatever the room.
    #[must_use]
    pub fn render_within(self, record: &Record, bytes_max: usize) -> Vec<u8> {
        let facts = facts::Facts::of(record);
        facts::Shed::ALL
            .iter()
            .map(|shed| self.rendered(&facts, *shed))
            .find(|text| text.len() <= bytes_max)
            .unwrap_or_else(|| self.rendered(&facts, facts::Shed::Lists))
    }

    fn rendered(self, facts: &facts::Facts<'_>, shed: facts::Shed) -> Vec<u8> {
        match self {
            Self::Native => facts.record().bytes().to_vec(),
            Self::Ocsf18 => ocsf::render(facts, shed, ocsf::Version::V1_8),
            Self::Ocsf19 => ocsf::render(facts, shed, ocsf::Version::V1_9),
            Self::Fhir => fhir::render(facts, shed),
            Self::Dicom => dicom::render(facts, shed),
            Self::Cef => cef::render(facts, shed),
        }
    }
}
