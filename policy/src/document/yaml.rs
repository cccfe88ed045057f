//! YAML 1.2 events to the positioned tree. Anchors, aliases, tags and several documents are refused: nothing in a
//! configuration may mean more than it shows.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

use super::limits::{DEPTH_MAX, NODES_MAX, SOURCE_BYTES_MAX};
use super::report::Report;
use super::tree::{Entry, Kind, Node, Place, Scalar, Value};
use crate::finding::codes;

/// Reads one source. `None` if it holds nothing or is not accepted (which is reported).
pub(crate) fn parse(source: usize, text: &str, report: &mut Report<'_>) -> Option<Node> {
    let whole = Place {
        source,
        line: 1,
        column: 1,
        width: 1,
        last_line: 1,
    };
    if text.len() > SOURCE_BYTES_MAX {
        report.error(
            codes::SYNTAX,
            whole,
            format!("the source is larger than {SOURCE_BYTES_MAX} bytes"),
        );
        return None;
    }
    let mut builder = Builder {
        source,
        report,
        open: Vec::new(),
        nodes: 0,
        root: None,
        documents: 0,
    };
    for event in Parser::new_from_str(text) {
        let outcome = match event {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => {
                let place = at_marker(source, error.marker());
                builder.fail(place, &format!("this is no YAML: {}", plain(error.info())))
            }
        };
        outcome?;
    }
    builder.root
}

/// The parser's words without what they quote: that could be a secret.
fn plain(info: &str) -> String {
    let words = info.split(['\'', '"', '`']).step_by(2);
    words.collect::<Vec<_>>().join("…").trim().to_lowercase()
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn at_marker(source: usize, marker: &Marker) -> Place {
    Place {
        source,
        line: number(marker.line().max(1)),
        column: number(marker.col() + 1),
        width: 1,
        last_line: number(marker.line().max(1)),
    }
}

/// A list or mapping that is not complete yet.
enum Open {
    List(Place, Vec<Node>),
    Map(Place, Vec<Entry>, Option<(String, Place)>),
}

struct Builder<'r, 's> {
    source: usize,
    report: &'r mut Report<'s>,
    open: Vec<Open>,
    nodes: usize,
    root: Option<Node>,
    documents: usize,
}

impl Builder<'_, '_> {
    fn fail(&mut self, place: Place, message: &str) -> Option<()> {
        self.report.error(codes::SYNTAX, place, message);
        None
    }

    fn place(&self, span: Span) -> Place {
        let mut place = at_marker(self.source, &span.start);
        place.last_line = number(span.end.line().max(span.start.line()));
        if span.end.line() == span.start.line() {
            place.width = number(span.end.col().saturating_sub(span.start.col()).max(1));
        }
        place
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        let place = self.place(span);
        match event {
            Event::Alias(_) => self.fail(place, "aliases are not accepted"),
            Event::Scalar(_, _, anchor, ref tag) if anchor > 0 || tag.is_some() => {
                self.decorated(place)
            }
            Event::SequenceStart(anchor, ref tag) | Event::MappingStart(anchor, ref tag)
                if anchor > 0 || tag.is_some() =>
            {
                self.decorated(place)
            }
            Event::DocumentStart(_) => {
                self.documents += 1;
                match self.documents {
                    1 => Some(()),
                    _ => self.fail(place, "a source holds one document"),
                }
            }
            Event::Scalar(text, style, ..) => self.scalar(&text, style, place),
            Event::SequenceStart(..) => self.start(Open::List(short(place), Vec::new()), place),
            Event::MappingStart(..) => self.start(Open::Map(short(place), Vec::new(), None), place),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Some(()),
        }
    }

    fn decorated(&mut self, place: Place) -> Option<()> {
        self.fail(place, "anchors and tags are not accepted")
    }

    fn start(&mut self, open: Open, place: Place) -> Option<()> {
        if matches!(self.open.last(), Some(Open::Map(_, _, None))) {
            return self.fail(place, "a key is a plain text");
        }
        if self.open.len() >= DEPTH_MAX {
            return self.fail(place, "the document is nested too deeply");
        }
        self.open.push(open);
        Some(())
    }

    fn end(&mut self) -> Option<()> {
        let (place, kind) = match self.open.pop()? {
            Open::List(place, items) => (place, Kind::List(items)),
            Open::Map(place, entries, _) => (place, Kind::Map(entries)),
        };
        self.add(Node { place, kind })
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, mut place: Place) -> Option<()> {
        let is_plain = style == ScalarStyle::Plain;
        if is_plain && place.last_line == place.line {
            place.width = number(text.chars().count().max(1));
        }
        if let Some(Open::Map(_, entries, key @ None)) = self.open.last_mut() {
            if let Some(first) = entries.iter().find(|e| e.name == text) {
                let first = first.place;
                self.report
                    .error(
                        codes::GIVEN_TWICE,
                        place,
                        format!("`{text}` is given twice"),
                    )
                    .fix("keep one of them")
                    .related(first, "first given here");
            }
            *key = Some((text.to_owned(), place));
            return Some(());
        }
        let is_null = is_plain && matches!(text, "" | "~" | "null" | "Null" | "NULL");
        let kind = match is_null {
            true => Kind::Null,
            false => Kind::Scalar(Scalar {
                written: text.to_owned(),
                plain: is_plain,
                value: Value::AsWritten,
            }),
        };
        self.add(Node { place, kind })
    }

    fn add(&mut self, node: Node) -> Option<()> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return self.fail(node.place, "the document has too many values");
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, entries, key)) => {
                let (name, place) = key.take()?;
                // A key given twice is reported already; the first one counts.
                if entries.iter().all(|e| e.name != name) {
                    let value = node;
                    entries.push(Entry { name, place, value });
                }
            }
        }
        Some(())
    }
}

/// The first character of a list or mapping stands for it.
fn short(place: Place) -> Place {
    Place { width: 1, ..place }
}
