//! What the renderers ask of a record, by the names that they share.

use serde_json::{Map, Value};

use crate::catalogue::{EventName, Severity};
use crate::event::Outcome;
use crate::keys::hex;
use crate::record::Record;

/// What is left out of a rendering that is too long, in steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shed {
    /// Nothing.
    Nothing,
    /// The copy of the record itself.
    Copy,
    /// Its lists too: patients but for the first, fields, details.
    Lists,
}

impl Shed {
    pub(super) const ALL: [Self; 3] = [Self::Nothing, Self::Copy, Self::Lists];
}

/// What a call does to a patient's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    Read,
    Search,
    Update,
    Delete,
    Export,
    /// None of a record, or not known.
    Other,
}

/// A record, and its members under one name each.
#[derive(Debug)]
pub(super) struct Facts<'r> {
    record: &'r Record,
    value: &'r Value,
}

impl<'r> Facts<'r> {
    pub(super) fn of(record: &'r Record) -> Self {
        Self {
            record,
            value: record.value(),
        }
    }

    pub(super) fn record(&self) -> &'r Record {
        self.record
    }

    pub(super) fn name(&self) -> EventName {
        self.record.name()
    }

    pub(super) fn text(&self, path: &[&str]) -> Option<&'r str> {
        self.record.text(path)
    }

    pub(super) fn member(&self, name: &str) -> Option<&'r Value> {
        self.value.get(name)
    }

    pub(super) fn outcome(&self) -> Outcome {
        let word = self.text(&["outcome"]).unwrap_or_default();
        // A word that a newer version has is at least no success.
        Outcome::parse(word).unwrap_or(Outcome::Failure)
    }

    pub(super) fn severity(&self) -> Severity {
        let word = self.text(&["severity"]);
        [
            Severity::Informational,
            Severity::Notice,
            Severity::Critical,
        ]
        .into_iter()
        .find(|severity| word == Some(severity.as_str()))
        .unwrap_or(Severity::Warning)
    }

    pub(super) fn sub(&self) -> Option<&'r str> {
        self.text(&["subject", "sub"])
    }

    pub(super) fn source(&self) -> Option<&'r str> {
        self.text(&["source"])
    }

    pub(super) fn pod(&self) -> &'r str {
        self.text(&["pod"])
            .filter(|pod| !pod.is_empty())
            .unwrap_or("safeguard")
    }

    pub(super) fn hash(&self) -> String {
        hex(self.record.hash_bytes())
    }

    /// A list of texts in the subject, such as `roles`.
    pub(super) fn of_subject(&self, list: &str) -> Vec<&'r str> {
        let list = self
            .member("subject")
            .and_then(|subject| subject.get(list))
            .and_then(Value::as_array);
        list.map_or_else(Vec::new, |list| {
            list.iter().filter_map(Value::as_str).collect()
        })
    }

    pub(super) fn details(&self) -> Option<&'r Map<String, Value>> {
        self.member("details").and_then(Value::as_object)
    }

    /// A detail that is a text.
    pub(super) fn detail(&self, name: &str) -> Option<&'r str> {
        self.details()?.get(name)?.as_str()
    }

    /// Whether somebody else did it than the subject's MCP call: an event that the identity provider told.
    pub(super) fn of_provider(&self) -> bool {
        self.detail("origin") == Some("identity_provider")
    }

    /// The pseudonyms of the patients, as many as are kept.
    pub(super) fn patients(&self, shed: Shed) -> Vec<&'r str> {
        let list = self.member("patients").and_then(Value::as_array);
        let most = if shed == Shed::Lists { 1 } else { usize::MAX };
        list.map_or_else(Vec::new, |list| {
            list.iter().filter_map(Value::as_str).take(most).collect()
        })
    }

    pub(super) fn operation(&self) -> Operation {
        match self.name() {
            EventName::PhiCreate => return Operation::Create,
            EventName::PhiUpdate => return Operation::Update,
            EventName::PhiDelete => return Operation::Delete,
            EventName::PhiExport => return Operation::Export,
            _ => {}
        }
        match self.text(&["mcp", "operation"]) {
            Some("create") => Operation::Create,
            Some("read") => Operation::Read,
            Some("search") => Operation::Search,
            Some("update") => Operation::Update,
            Some("delete") => Operation::Delete,
            Some("export") => Operation::Export,
            _ if self.name() == EventName::PhiRead => Operation::Read,
            _ => Operation::Other,
        }
    }
}

/// What a person sees of an event first.
pub(super) fn sentence(name: EventName) -> &'static str {
    name.when()
}
