//! Answers from the log: which events, and how they are shown.

use std::io;
use std::path::Path;

use crate::catalogue::EventName;
use crate::event::Outcome;
use crate::keys::{AuditKeys, Pseudonym};
use crate::record::Record;
use crate::render::EventFormat;
use crate::verify::{Report, walk};

/// Events that a query without a limit of its own answers with.
pub const LIMIT_DEFAULT: usize = 1000;

/// Which events. What is none asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Not before this time: RFC 3339 UTC, or the start of one (`2026-11`).
    pub since: Option<String>,
    /// Before this time, in the same form.
    pub until: Option<String>,
    /// Any of these events; empty: all.
    pub events: Vec<EventName>,
    /// The subject's `sub`.
    pub subject: Option<String>,
    /// The patient, by pseudonym ([`AuditKeys::pseudonym`]).
    pub patient: Option<Pseudonym>,
    /// The tool.
    pub tool: Option<String>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// The last so many.
    pub limit: Option<usize>,
}

impl Query {
    /// Whether a record is asked for.
    #[must_use]
    pub fn matches(&self, record: &Record) -> bool {
        let same = |asked: &Option<String>, path: &[&str]| {
            asked
                .as_deref()
                .is_none_or(|asked| record.text(path) == Some(asked))
        };
        self.since
            .as_deref()
            .is_none_or(|since| record.time() >= since)
            && self
                .until
                .as_deref()
                .is_none_or(|until| record.time() < until)
            && (self.events.is_empty() || self.events.contains(&record.name()))
            && same(&self.subject, &["subject", "sub"])
            && same(&self.tool, &["mcp", "tool"])
            && self
                .outcome
                .is_none_or(|outcome| record.text(&["outcome"]) == Some(outcome.as_str()))
            && self
                .patient
                .is_none_or(|patient| record.patients().contains(&patient))
    }
}

/// What a query found, and whether the log that it read is whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The records, oldest first.
    pub records: Vec<Record>,
    /// What verifying on the way found: records behind a problem are not read.
    pub report: Report,
}

/// Asks a spool. Every record is verified before it is believed.
///
/// # Errors
/// A directory or file can't be read.
pub fn spool(
    directory: &Path,
    state: &Path,
    keys: &AuditKeys,
    query: &Query,
) -> io::Result<Answer> {
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    let mut found = std::collections::VecDeque::new();
    let report = walk(directory, state, keys, |record| {
        if query.matches(record) {
            found.push_back(record.clone());
            if found.len() > limit {
                found.pop_front();
            }
        }
    })?;
    Ok(Answer {
        records: found.into(),
        report,
    })
}

/// A time in seconds since 1970 as records write it, to ask [`Query::since`] for.
#[must_use]
pub fn time_of(unix: i64) -> String {
    crate::event::time_text(unix.saturating_mul(1_000_000))
}

/// How an answer is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns for people.
    Table,
    /// An event a line, in one of the formats of others or as the spool has it.
    Lines(EventFormat),
    /// RFC 4180 with a header; texts that a spreadsheet could run are quoted with an apostrophe.
    Csv,
}

type Column = (&'static str, fn(&Record) -> String);

/// The columns of the table and of CSV, in order.
const COLUMNS: &[Column] = &[
    ("time", |r| r.time().to_owned()),
    ("event", |r| r.name().as_str().to_owned()),
    ("outcome", |r| text(r, &["outcome"])),
    ("reason", |r| text(r, &["reason"])),
    ("subject", |r| text(r, &["subject", "sub"])),
    ("client", |r| text(r, &["subject", "client"])),
    ("tool", |r| text(r, &["mcp", "tool"])),
    ("purpose", |r| text(r, &["purpose"])),
    ("patients", patients),
    ("fields", fields),
    ("source", |r| text(r, &["source"])),
    ("seq", |r| r.seq().to_string()),
    ("chain", |r| r.chain().to_owned()),
    ("uid", |r| r.uid().to_string()),
];
/// Columns of the table; CSV has all.
const TABLE_COLUMNS: usize = 10;

/// What an accounting of disclosures says of each (45 CFR 164.528(b)(2)): when, to whom, what, and what for; and who did it.
const DISCLOSURE_COLUMNS: &[Column] = &[
    ("time", |r| r.time().to_owned()),
    ("recipient", |r| {
        let recipient = text(r, &["details", "recipient"]);
        if recipient.is_empty() {
            "not named".to_owned()
        } else {
            recipient
        }
    }),
    ("disclosed", disclosed),
    ("purpose", |r| text(r, &["purpose"])),
    ("tool", |r| text(r, &["mcp", "tool"])),
    ("by", |r| text(r, &["subject", "sub"])),
    ("client", |r| text(r, &["subject", "client"])),
    ("uid", |r| r.uid().to_string()),
];

/// Purposes whose disclosures need no accounting: treatment, payment, health care operations (45 CFR 164.528(a)(1)(i)), and to the
/// person (ii).
pub const UNACCOUNTED_PURPOSES: [&str; 5] = ["TREAT", "ETREAT", "HPAYMT", "HOPERAT", "PATRQT"];

/// Whether a record is a disclosure that a patient's accounting must list.
#[must_use]
pub fn is_accounted(record: &Record) -> bool {
    let purpose = record.text(&["purpose"]);
    is_disclosure(record) && !purpose.is_some_and(|purpose| UNACCOUNTED_PURPOSES.contains(&purpose))
}

/// Whether a record is of PHI that went to another place.
#[must_use]
pub fn is_disclosure(record: &Record) -> bool {
    record.name() == EventName::PhiExport
        && record.text(&["outcome"]) == Some(Outcome::Success.as_str())
}

/// The names of the fields that were let out in a form that can be read.
fn disclosed(record: &Record) -> String {
    let list = record
        .value()
        .get("fields")
        .and_then(serde_json::Value::as_array);
    let mut names: Vec<&str> = list
        .into_iter()
        .flatten()
        .filter(|field| {
            let action = field.get("action").and_then(serde_json::Value::as_str);
            matches!(action, Some("revealed" | "opened" | "masked"))
        })
        .filter_map(|field| field.get("name")?.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    names.join(" ")
}

fn text(record: &Record, path: &[&str]) -> String {
    record.text(path).unwrap_or_default().to_owned()
}

fn patients(record: &Record) -> String {
    record
        .patients()
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

fn fields(record: &Record) -> String {
    let list = record
        .value()
        .get("fields")
        .and_then(serde_json::Value::as_array);
    let word = |field: &serde_json::Value, name: &str| {
        field
            .get(name)
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    list.into_iter()
        .flatten()
        .map(|field| format!("{}:{}", word(field, "name"), word(field, "action")))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Writes records in a format.
///
/// # Errors
/// The output's own.
pub fn render(records: &[Record], format: Format, out: &mut impl io::Write) -> io::Result<()> {
    let columns = match format {
        Format::Table => COLUMNS.get(..TABLE_COLUMNS).unwrap_or(COLUMNS),
        _ => COLUMNS,
    };
    written(records, columns, format, out)
}

/// Writes the disclosures among records in a format.
///
/// # Errors
/// The output's own.
pub fn render_disclosures(
    records: &[Record],
    format: Format,
    out: &mut impl io::Write,
) -> io::Result<()> {
    written(records, DISCLOSURE_COLUMNS, format, out)
}

fn written(
    records: &[Record],
    columns: &[Column],
    format: Format,
    out: &mut impl io::Write,
) -> io::Result<()> {
    match format {
        Format::Lines(format) => records.iter().try_for_each(|record| {
            out.write_all(&format.render(record))?;
            out.write_all(b"\n")
        }),
        Format::Csv => csv(records, columns, out),
        Format::Table => table(records, columns, out),
    }
}

fn csv(records: &[Record], columns: &[Column], out: &mut impl io::Write) -> io::Result<()> {
    let header: Vec<_> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    write!(out, "{}\r\n", header.join(","))?;
    for record in records {
        let cells: Vec<_> = columns
            .iter()
            .map(|(_, of)| csv_cell(&of(record)))
            .collect();
        write!(out, "{}\r\n", cells.join(","))?;
    }
    Ok(())
}

fn csv_cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@']) {
        "'"
    } else {
        ""
    };
    if guard.is_empty() && !text.contains([',', '"', '\r', '\n']) {
        return text.to_owned();
    }
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

fn table(records: &[Record], columns: &[Column], out: &mut impl io::Write) -> io::Result<()> {
    let titles = columns.iter().map(|(name, _)| name.to_uppercase());
    let mut rows: Vec<Vec<String>> = vec![titles.collect()];
    let cells = |record| columns.iter().map(|(_, of)| of(record)).collect();
    rows.extend(records.iter().map(cells));
    let widths: Vec<usize> = (0..columns.len())
        .map(|at| {
            rows.iter()
                .filter_map(|row| row.get(at))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    for row in &rows {
        let cells: Vec<_> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{
        Event, canonical,
        tests::{full, place},
    };

    fn record(event: &Event<'_>) -> Record {
        Record::parse(&canonical(event, &place(3, &[0; 32]))).unwrap()
    }

    #[test]
    fn each_filter_alone_keeps_and_drops() {
        let read = record(&full());
        let keep = |query: Query| query.matches(&read);
        assert!(keep(Query::default()));
        assert!(keep(Query {
            since: Some("2025-11".into()),
            until: Some("2025-12".into()),
            ..Query::default()
        }));
        assert!(!keep(Query {
            since: Some("2025-12".into()),
            ..Query::default()
        }));
        assert!(!keep(Query {
            until: Some("2025-11-22T22:22:22.000001Z".into()),
            ..Query::default()
        }));
        assert!(keep(Query {
            events: vec![EventName::PhiRead],
            ..Query::default()
        }));
        assert!(!keep(Query {
            events: vec![EventName::UserLogin],
            ..Query::default()
        }));
        assert!(keep(Query {
            subject: Some("alice".into()),
            tool: Some("read_record".into()),
            ..Query::default()
        }));
        assert!(!keep(Query {
            subject: Some("bob".into()),
            ..Query::default()
        }));
        assert!(!keep(Query {
            outcome: Some(Outcome::Denied),
            ..Query::default()
        }));
        assert!(keep(Query {
            patient: Pseudonym::parse(&"ab".repeat(16)),
            ..Query::default()
        }));
        assert!(!keep(Query {
            patient: Pseudonym::parse(&"ac".repeat(16)),
            ..Query::default()
        }));
    }

    fn shown(format: Format, event: &Event<'_>) -> String {
        let mut out = Vec::new();
        render(&[record(event)], format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_lines_are_the_canonical_bytes() {
        assert_eq!(
            shown(Format::Lines(EventFormat::Native), &full())
                .trim_end()
                .as_bytes(),
            record(&full()).bytes()
        );
    }

    #[test]
    fn csv_cannot_run_in_a_spreadsheet() {
        let mut event = full();
        event.subject.as_mut().unwrap().sub = "=cmd|' /C calc'!A0".into();
        event.reason = Some("a,\"b\"".into());
        let csv = shown(Format::Csv, &event);
        assert!(csv.contains(r#","'=cmd|' /C calc'!A0","#), "{csv}");
        assert!(csv.contains(r#""a,""b""""#), "{csv}");
        assert_eq!(csv.lines().count(), 2);
    }

    #[test]
    fn the_table_has_one_line_a_record() {
        let mut event = full();
        event.reason = Some("two\nlines".into());
        let table = shown(Format::Table, &event);
        assert_eq!(table.lines().count(), 2);
        assert!(
            table.contains("ssn:masked") && table.contains("two\\u000alines"),
            "{table}"
        );
    }

    #[test]
    fn an_accounting_lists_what_left_for_other_than_treatment_payment_and_operations() {
        let mut event = full();
        event.name = EventName::PhiExport;
        event.purpose = Some("PUBHLTH".into());
        event = event.detail("recipient", "county health office");
        assert!(is_accounted(&record(&event)));
        let mut out = Vec::new();
        render_disclosures(&[record(&event)], Format::Csv, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains(",county health office,ssn,PUBHLTH,read_record,alice,"),
            "{text}"
        );
        for purpose in UNACCOUNTED_PURPOSES {
            event.purpose = Some(purpose.into());
            assert!(!is_accounted(&record(&event)) && is_disclosure(&record(&event)));
        }
        event.purpose = None;
        assert!(is_accounted(&record(&event)), "in doubt it is listed");
        event.outcome = Outcome::Failure;
        assert!(!is_disclosure(&record(&event)), "nothing left");
        event.outcome = Outcome::Success;
        event.name = EventName::PhiRead;
        assert!(!is_disclosure(&record(&event)));
    }
}
