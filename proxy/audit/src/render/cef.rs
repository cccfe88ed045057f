//! ArcSight's Common Event Format, revision 26: `CEF:0|vendor|product|version|event|name|severity|extension`.
//!
//! One line. In the header a bar and a backslash are escaped, in the extension an equals sign and a backslash; a control character
//! becomes a space, so that no value can begin a line, a field or a key of its own.

use super::facts::{Facts, Shed, sentence};
use crate::catalogue::Severity;
use crate::event::Outcome;

pub(super) fn render(facts: &Facts<'_>, shed: Shed) -> Vec<u8> {
    let mut line = format!(
        "CEF:0|Safeguard|Safeguard|{}|{}|{}|{}|",
        env!("CARGO_PKG_VERSION"),
        facts.name().as_str(),
        header(sentence(facts.name())),
        severity(facts)
    );
    for (at, (key, value)) in extension(facts, shed).into_iter().enumerate() {
        if at > 0 {
            line.push(' ');
        }
        line.push_str(key);
        line.push('=');
        line.push_str(&escaped(&value));
    }
    line.into_bytes()
}

/// From 0 to 10.
fn severity(facts: &Facts<'_>) -> u8 {
    match facts.severity() {
        Severity::Informational => 1,
        Severity::Notice => 3,
        Severity::Warning => 6,
        Severity::Critical => 10,
    }
}

/// The keys of CEF's dictionary; the custom ones carry a label, as it asks.
fn extension(facts: &Facts<'_>, shed: Shed) -> Vec<(&'static str, String)> {
    let outcome = match facts.outcome() {
        Outcome::Success => "success",
        Outcome::Denied => "denied",
        Outcome::Failure => "failure",
    };
    let mut pairs = vec![
        ("rt", facts.record().micros().div_euclid(1000).to_string()),
        ("externalId", facts.record().uid().hyphenated().to_string()),
        ("dvchost", facts.pod().to_owned()),
        ("deviceProcessName", "safeguard".to_owned()),
        ("outcome", outcome.to_owned()),
    ];
    let source = facts.source();
    let (four, six) = match source {
        Some(address) if address.contains(':') => (None, source),
        _ => (source, None),
    };
    let known = [
        ("src", four),
        ("reason", facts.text(&["reason"])),
        ("suser", facts.sub()),
        ("sntdom", facts.text(&["subject", "iss"])),
        ("shost", facts.text(&["subject", "mtls_name"])),
        ("sourceServiceName", facts.text(&["subject", "client"])),
        ("act", facts.text(&["mcp", "method"])),
        ("destinationServiceName", facts.text(&["mcp", "tool"])),
        ("duid", facts.detail("target")),
    ];
    pairs.extend(
        known
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?.to_owned()))),
    );
    let patients = facts.patients(shed).join(",");
    let custom = [
        ("c6a2Label", "c6a2", "source", six.map(str::to_owned)),
        (
            "cs1Label",
            "cs1",
            "purpose",
            facts.text(&["purpose"]).map(str::to_owned),
        ),
        (
            "cs2Label",
            "cs2",
            "patients",
            (!patients.is_empty()).then_some(patients),
        ),
        (
            "cs3Label",
            "cs3",
            "rule",
            facts.text(&["rule"]).map(str::to_owned),
        ),
        (
            "cs4Label",
            "cs4",
            "session",
            facts.text(&["session"]).map(str::to_owned),
        ),
        (
            "cs5Label",
            "cs5",
            "chain",
            Some(format!(
                "{}/{}",
                facts.record().chain(),
                facts.record().seq()
            )),
        ),
        ("cs6Label", "cs6", "hash", Some(facts.hash())),
    ];
    for (label_key, key, label, value) in custom {
        if let Some(value) = value {
            pairs.push((label_key, label.to_owned()));
            pairs.push((key, value));
        }
    }
    pairs
}

fn header(text: &str) -> String {
    with_escapes(text, &['\\', '|'])
}

fn escaped(text: &str) -> String {
    with_escapes(text, &['\\', '='])
}

fn with_escapes(text: &str, special: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if special.contains(&character) {
            out.push('\\');
        }
        out.push(if character.is_control() {
            ' '
        } else {
            character
        });
    }
    out
}
