//! What a tool's rule says of its patients beside who they are: how many, which ones, and who receives an export.

use super::rules::{Kind, Reader};
use crate::document::report::Report;
use crate::finding::codes;
use crate::path::{Path, Root, Step};
use crate::policy::{FieldClass, Operation};

/// What the limits have to know of the rest of the rule.
pub(super) struct About<'a> {
    pub operation: Operation,
    pub patient: Option<&'a Path>,
    /// Whether it shows text that is no JSON, or content that can't be read: nobody can tell whose that is.
    pub shows_all: bool,
}

/// The limits as they are written.
#[derive(Default)]
pub(super) struct Limits {
    pub max_patients: Option<u32>,
    pub only_patients: Option<Path>,
    pub recipient: Option<Path>,
}

impl Reader<'_> {
    pub(super) fn limits(&self, about: &About<'_>, report: &mut Report<'_>) -> Limits {
        if self.kind != Kind::Tool {
            return Limits::default();
        }
        Limits {
            max_patients: self.max_patients(about, report),
            only_patients: self.only_patients(about, report),
            recipient: self.recipient(about, report),
        }
    }

    fn max_patients(&self, about: &About<'_>, report: &mut Report<'_>) -> Option<u32> {
        let most = self.section.number("max_patients")?;
        if about.patient.is_none_or(|path| path.root != Root::Result) {
            self.contradiction(
                "max_patients",
                "counts patients in the answer, and `patient` does not say where they stand there",
                "write patient: result.patients[*].patient_id, or remove max_patients",
                report,
            );
        }
        self.shown(about, "max_patients", report);
        Some(most)
    }

    fn only_patients(&self, about: &About<'_>, report: &mut Report<'_>) -> Option<Path> {
        let node = self.section.node_of("only_patients")?;
        let path = self.path(node, report)?;
        self.root(&path, node, "only_patients", &[Root::Claims], report)?;
        match about.patient {
            None => self.contradiction(
                "only_patients",
                "says whose records may be seen, and `patient` does not say whose they are",
                "name the patient, or remove only_patients",
                report,
            ),
            Some(patient) if patient.root == Root::Result => {
                self.shown(about, "only_patients", report);
            }
            Some(_) => {}
        }
        Some(path)
    }

    /// What can't be attributed can't be limited.
    fn shown(&self, about: &About<'_>, key: &'static str, report: &mut Report<'_>) {
        if about.shows_all {
            self.contradiction(
                key,
                "limits whose data an answer holds, and nobody can tell whose text without form or unreadable content is",
                "write text: withhold and binary: withhold",
                report,
            );
        }
    }

    fn recipient(&self, about: &About<'_>, report: &mut Report<'_>) -> Option<Path> {
        let node = self.section.node_of("recipient")?;
        let path = self.path(node, report)?;
        self.root(&path, node, "recipient", &[Root::Args], report)?;
        if about.operation != Operation::Export {
            self.contradiction(
                "recipient",
                "belongs to an export, which this is not",
                "write operation: export, or remove recipient",
                report,
            );
        }
        let phi = |step: &Step| match step {
            Step::Member(name) => matches!(self.fields.class(name), FieldClass::Phi(_)),
            Step::Each | Step::Index(_) => false,
        };
        if path.steps.iter().any(phi) {
            self.contradiction(
                "recipient",
                "stands in the audit trail in clear, and its path names PHI",
                "name an argument that holds nothing of a patient",
                report,
            );
        }
        Some(path)
    }

    fn contradiction(&self, key: &'static str, why: &str, fix: &str, report: &mut Report<'_>) {
        let what = format!("`{}.{key}` {why}", self.name);
        report
            .error(codes::CONTRADICTION, self.section.place_of(key), what)
            .fix(fix);
    }
}
