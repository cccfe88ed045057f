//! Cutting a URI at its delimiters, expressions of templates kept whole.

use std::ops::Range;

use super::{Component, PIECES_MAX, Piece};

/// Collects pieces.
pub(super) struct Cutter<'u> {
    uri: &'u str,
    /// Where expressions stand, in order.
    expressions: Vec<Range<usize>>,
    pub(super) found: Vec<Piece>,
}

impl<'u> Cutter<'u> {
    pub(super) fn new(uri: &'u str) -> Self {
        Self {
            uri,
            expressions: expressions(uri),
            found: Vec::with_capacity(8),
        }
    }

    /// Keeps what is not empty; expressions in it stand apart.
    pub(super) fn piece(
        &mut self,
        component: Component,
        span: Range<usize>,
        name: Option<Range<usize>>,
    ) {
        let mut at = span.start;
        let mut first = self
            .expressions
            .partition_point(|expression| expression.start < span.start);
        while component != Component::Data
            && let Some(expression) = self.expressions.get(first).cloned()
            && expression.end <= span.end
        {
            self.keep(component, at..expression.start, name.clone());
            self.keep(Component::Expression, expression.clone(), name.clone());
            at = expression.end;
            first += 1;
        }
        self.keep(component, at..span.end, name);
    }

    fn keep(&mut self, component: Component, span: Range<usize>, name: Option<Range<usize>>) {
        match self.found.len() {
            _ if span.is_empty() => {}
            0..PIECES_MAX => self.found.push(Piece {
                name,
                ..Piece::of(component, span)
            }),
            PIECES_MAX => {
                // From the name on, which is no piece's else.
                let start = name.map_or(span.start, |name| name.start);
                let start = self
                    .found
                    .last()
                    .map_or(start, |last| start.max(last.span.end));
                self.found
                    .push(Piece::of(Component::Rest, start..self.uri.len()));
            }
            _ => {}
        }
    }

    pub(super) fn authority(&mut self, span: Range<usize>) {
        let host = match self.find_last(span.clone(), b'@') {
            Some(at) => {
                self.piece(Component::UserInfo, span.start..at, None);
                at + 1
            }
            None => span.start,
        };
        // The colons of an IPv6 address stand in brackets.
        let is_port = |at: &usize| {
            let port = self.uri.get(at + 1..span.end).unwrap_or_default();
            port.bytes().all(|byte| byte.is_ascii_digit())
        };
        match self.find_last(host..span.end, b':').filter(is_port) {
            Some(colon) => {
                self.piece(Component::Host, host..colon, None);
                self.piece(Component::Port, colon + 1..span.end, None);
            }
            None => self.piece(Component::Host, host..span.end, None),
        }
    }

    pub(super) fn path(&mut self, span: Range<usize>) {
        let slash = self.find(span.start, span.end, b"/");
        let delimiters: &[u8] = if slash.is_some() { b"/" } else { b":" };
        self.split(span, delimiters, |cut, segment| {
            let end = cut
                .find(segment.start, segment.end, b";")
                .unwrap_or(segment.end);
            cut.piece(Component::Segment, segment.start..end, None);
            cut.pairs(Component::Parameter, end..segment.end);
        });
    }

    /// `name=value` with `&` or `;` between; without one of both, all is value.
    pub(super) fn pairs(&mut self, component: Component, span: Range<usize>) {
        self.split(span, b"&;", |cut, pair| {
            match cut.find(pair.start, pair.end, b"=") {
                Some(equals) if equals + 1 < pair.end => {
                    cut.piece(component, equals + 1..pair.end, Some(pair.start..equals));
                }
                Some(equals) => cut.piece(component, pair.start..equals, None),
                None => cut.piece(component, pair, None),
            }
        });
    }

    /// Hands over what stands between delimiters; those in an expression (`{?from,to}`, `{&page}`) divide nothing.
    fn split(
        &mut self,
        span: Range<usize>,
        delimiters: &[u8],
        mut each: impl FnMut(&mut Self, Range<usize>),
    ) {
        let mut start = span.start;
        while let Some(end) = self.find(start, span.end, delimiters) {
            each(self, start..end);
            start = end + 1;
        }
        each(self, start..span.end);
    }

    /// The first of these bytes in a part of the URI that stands in no expression; all are ASCII.
    pub(super) fn find(&self, start: usize, end: usize, bytes: &[u8]) -> Option<usize> {
        let text = self.uri.as_bytes().get(..end)?;
        let mut at = start;
        while let Some(byte) = text.get(at) {
            if bytes.contains(byte) {
                return Some(at);
            }
            let expression = match byte {
                b'{' => self
                    .expressions
                    .binary_search_by_key(&at, |here| here.start),
                _ => Err(0),
            };
            at = match expression
                .ok()
                .and_then(|index| self.expressions.get(index))
            {
                Some(expression) => expression.end,
                None => at + 1,
            };
        }
        None
    }

    /// The last such byte that stands in no expression.
    fn find_last(&self, span: Range<usize>, byte: u8) -> Option<usize> {
        let mut last = None;
        let mut at = span.start;
        while let Some(found) = self.find(at, span.end, &[byte]) {
            last = Some(found);
            at = found + 1;
        }
        last
    }
}

/// Where the expressions of a template stand: from a brace to the next that closes.
fn expressions(uri: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = uri.get(at..).and_then(|rest| rest.find('{'))
        && let Some(length) = uri.get(at + open..).and_then(|rest| rest.find('}'))
    {
        let end = at + open + length + 1;
        found.push(at + open..end);
        at = end;
    }
    found
}
