//! The outcome on one screen: what the agent sent and saw beside what the clinic received and
//! stores, one record as four readers see it, the refusals, the audit events, the verdict.

mod events;
pub(crate) mod paint;

use std::path::Path;

use serde_json::Value;

use super::cast::PHI_FIELDS;
use super::outcome::Outcome;
use paint::{Cell, Ink, Page, cell};

/// Below this many columns, what would stand side by side is stacked.
const SIDE_BY_SIDE_MIN: usize = 80;
/// Wider screens are not filled: lines would be hard to follow.
const WIDTH_MAX: usize = 120;
/// The width where there is no terminal.
const WIDTH_DEFAULT: usize = 100;
/// The width of a column of field names.
const NAMES: usize = 26;
/// How many characters of a sealed value are shown, at its beginning and at its end.
const ENDS: (usize, usize) = (16, 12);
/// The non-PHI member that is shown among the others, for comparison.
const PLAIN_FIELD: &str = "status";

/// What the screen can show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// In columns.
    pub(crate) width: usize,
    pub(crate) colour: bool,
}

impl Look {
    /// The terminal at standard output, or a plain page.
    pub(crate) fn of_stdout() -> Look {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
        let width = size
            .map(|size| usize::from(size.ws_col))
            .filter(|width| *width > 0);
        let width = width.unwrap_or(WIDTH_DEFAULT).min(WIDTH_MAX);
        Look {
            width,
            colour: super::colour_wanted(),
        }
    }
}

/// The outcome's page.
pub(crate) struct Screen<'a> {
    pub(crate) look: Look,
    pub(crate) directory: &'a Path,
    /// Whether everything stays running.
    pub(crate) kept: bool,
}

impl Screen<'_> {
    /// The whole page.
    pub(crate) fn draw(&self, outcome: &Outcome) -> String {
        let colour = self.look.colour;
        let mut page = Page {
            colour,
            width: self.look.width,
            text: String::new(),
        };
        self.banner(&mut page);
        self.pair(&mut page, &store_pair(outcome));
        self.pair(&mut page, &read_pair(outcome));
        self.readers(&mut page, outcome);
        self.refusals(&mut page, outcome);
        events::draw(&mut page, &outcome.events);
        self.verdict(&mut page, outcome);
        page.text
    }

    fn banner(&self, page: &mut Page) {
        page.line(
            " SAFEGUARD  agent ══ TLS 1.3, client certificate, token ══▶ sidecar ══ loopback ══▶ clinic (unaware)",
            Ink::Bold);
        page.row(&[
            (cell(" clear to the entitled", Ink::Clear), 24),
            (cell("in part, or a token", Ink::Partial), 22),
            (cell("sealed", Ink::Sealed), 9),
            (cell("withheld", Ink::Dim), 9),
        ]);
    }

    /// Two sides of one call.
    fn pair(&self, page: &mut Page, pair: &Pair) {
        page.blank();
        if self.look.width < SIDE_BY_SIDE_MIN {
            self.stacked(page, pair);
            return;
        }
        let names = NAMES;
        let left = (self.look.width - names - 3) * 2 / 5;
        let right = self.look.width - names - 3 - left;
        page.row(&[
            (cell(format!(" {}", pair.title), Ink::Bold), names),
            (cell(pair.left.clone(), Ink::Bold), left),
            (cell(" │ ", Ink::Dim), 3),
            (cell(pair.right.clone(), Ink::Bold), right),
        ]);
        for (name, one, other) in &pair.rows {
            page.row(&[
                (cell(format!("   {name}"), Ink::Plain), names),
                (one.clone(), left),
                (cell(" │ ", Ink::Dim), 3),
                (other.clone(), right),
            ]);
        }
    }

    fn stacked(&self, page: &mut Page, pair: &Pair) {
        let width = self.look.width;
        page.line(format!(" {}", pair.title), Ink::Bold);
        let sides = [(&pair.left, 0_usize), (&pair.right, 1)];
        for (heading, side) in sides {
            page.line(format!("  {heading}"), Ink::Bold);
            for (name, one, other) in &pair.rows {
                let shown = if side == 0 { one } else { other };
                let rest = width.saturating_sub(NAMES);
                page.row(&[
                    (cell(format!("   {name}"), Ink::Plain), NAMES),
                    (shown.clone(), rest),
                ]);
            }
        }
    }

    /// One record, a column a reader.
    fn readers(&self, page: &mut Page, outcome: &Outcome) {
        page.blank();
        let readers = &outcome.play.read;
        let column = self.look.width.saturating_sub(NAMES) / readers.len().max(1);
        let mut heading = vec![(cell(" the same record, for a", Ink::Bold), NAMES)];
        heading.extend(
            readers
                .iter()
                .map(|(who, _)| (cell(who.title, Ink::Bold), column)),
        );
        page.row(&heading);
        for field in PHI_FIELDS {
            let mut row = vec![(cell(format!("   {field}"), Ink::Plain), NAMES)];
            for (_, answer) in readers {
                let mut shown = value_cell(outcome, field, Outcome::shown(answer));
                shown.text = paint::fit(&shown.text, column.saturating_sub(1));
                row.push((shown, column));
            }
            page.row(&row);
        }
        let mut tools = vec![(cell("   tools listed", Ink::Dim), NAMES)];
        tools.extend(
            outcome
                .play
                .tools
                .iter()
                .map(|count| (cell(count.to_string(), Ink::Dim), column)),
        );
        page.row(&tools);
    }

    fn refusals(&self, page: &mut Page, outcome: &Outcome) {
        page.blank();
        page.line(" refused", Ink::Bold);
        let tampered = outcome
            .play
            .tampered
            .iter()
            .map(|refusal| (refusal, "its stored record was tampered with"));
        let denied = outcome
            .play
            .denied
            .iter()
            .map(|refusal| (refusal, "not permitted: the clinic never saw it"));
        for (refusal, why) in denied.chain(tampered) {
            let (mark, ink) = mark(refusal.holds());
            let code = refusal
                .code()
                .map_or_else(|| "not refused".to_owned(), |code| code.to_string());
            let who = format!("{} {}", refusal.who.title, refusal.what);
            page.row(&[
                (cell(format!(" {mark} "), ink), 3),
                (cell(who, Ink::Plain), 34),
                (cell(code, Ink::Bad), 13),
                (cell(why, Ink::Dim), self.look.width.saturating_sub(50)),
            ]);
        }
    }

    fn verdict(&self, page: &mut Page, outcome: &Outcome) {
        page.blank();
        for verdict in outcome.verdicts() {
            let (mark, ink) = mark(verdict.good);
            let text = cell(
                verdict.text,
                if verdict.good { Ink::Plain } else { Ink::Bad },
            );
            page.row(&[
                (cell(format!(" {mark} "), ink), 3),
                (text, self.look.width.saturating_sub(3)),
            ]);
        }
        let files = self.directory.display();
        page.uncut(&format!(" files: {files}"));
        page.line(
            "        config/ tls/ spool/ clinic-store.json clinic-received.jsonl",
            Ink::Dim,
        );
        if !self.kept {
            page.line(
                " next:  `demo --keep` to try it with your own MCP client; README: your own server",
                Ink::Dim,
            );
        }
    }
}

/// Two columns and what stands in them.
struct Pair {
    title: &'static str,
    left: String,
    right: String,
    rows: Vec<(String, Cell, Cell)>,
}

fn store_pair(outcome: &Outcome) -> Pair {
    let sent = outcome.play.sent.pointer("/record/data");
    let got = outcome.received().and_then(|record| record.get("data"));
    let fields = PHI_FIELDS.iter().chain([&PLAIN_FIELD]);
    let mut rows: Vec<(String, Cell, Cell)> = fields
        .map(|field| {
            (
                (*field).to_owned(),
                value_cell(outcome, field, sent),
                clinic_cell(outcome, field, got),
            )
        })
        .collect();
    for added in ["integrity_hash", "created_by"] {
        let kept = outcome.kept().and_then(|record| record.get(added));
        let shown = kept.map_or_else(
            || cell("missing", Ink::Bad),
            |value| cell(text_of(value), Ink::Plain),
        );
        rows.push((added.to_owned(), cell("", Ink::Plain), shown));
    }
    Pair {
        title: "store_record",
        left: "the agent sent (physician)".to_owned(),
        right: "the clinic received, and stores".to_owned(),
        rows,
    }
}

fn read_pair(outcome: &Outcome) -> Pair {
    let saw = outcome
        .play
        .read
        .first()
        .and_then(|(_, answer)| Outcome::shown(answer));
    let stored = outcome.kept().and_then(|record| record.get("data"));
    let fields = ["ssn", "diagnosis", PLAIN_FIELD];
    let rows = fields
        .into_iter()
        .map(|field| {
            (
                field.to_owned(),
                value_cell(outcome, field, saw),
                clinic_cell(outcome, field, stored),
            )
        })
        .collect();
    Pair {
        title: "read_record",
        left: "the agent saw (physician)".to_owned(),
        right: "the clinic answered".to_owned(),
        rows,
    }
}

/// A field as the clinic has it, where PHI in clear is what must not be.
fn clinic_cell(outcome: &Outcome, field: &str, data: Option<&Value>) -> Cell {
    let shown = value_cell(outcome, field, data);
    let ink = match shown.ink {
        Ink::Clear | Ink::Partial => Ink::Bad,
        other => other,
    };
    Cell { ink, ..shown }
}

/// A field of a record's data in its colour.
fn value_cell(outcome: &Outcome, field: &str, data: Option<&Value>) -> Cell {
    let Some(data) = data else {
        return cell("refused", Ink::Bad);
    };
    let value = data.get(field).filter(|value| !value.is_null());
    let Some(value) = value else {
        return cell("withheld", Ink::Dim);
    };
    let sealed = value.get("_value").and_then(Value::as_str);
    if let Some(token) = sealed {
        return cell(ends(token), Ink::Sealed);
    }
    let shown = text_of(value);
    if !PHI_FIELDS.contains(&field) {
        return cell(shown, Ink::Plain);
    }
    let original = outcome
        .play
        .sent
        .pointer("/record/data")
        .and_then(|data| data.get(field));
    let ink = if original == Some(value) {
        Ink::Clear
    } else {
        Ink::Partial
    };
    cell(shown, ink)
}

/// A sealed value by its two ends: the beginning tells the format and the key, the end one from another.
fn ends(token: &str) -> String {
    let count = token.chars().count();
    if count <= ENDS.0 + ENDS.1 {
        return token.to_owned();
    }
    let head: String = token.chars().take(ENDS.0).collect();
    let tail: String = token.chars().skip(count - ENDS.1).collect();
    format!("{head}…{tail}")
}

/// A value as a person would write it down.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(elements) => elements.iter().map(text_of).collect::<Vec<_>>().join(", "),
        Value::Object(members) => {
            let pairs = members
                .iter()
                .map(|(name, value)| format!("{name} {}", text_of(value)));
            pairs.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// The sign before a line.
fn mark(good: bool) -> (&'static str, Ink) {
    if good {
        ("✓", Ink::Clear)
    } else {
        ("✗", Ink::Bad)
    }
}

#[cfg(test)]
mod tests;
