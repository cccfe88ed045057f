//! Findings on their way out: collected by place, given their excerpt, sorted.

use super::Source;
use super::limits::FINDINGS_MAX;
use super::tree::{Kind, Node, Place};
use crate::finding::{Finding, Related, Severity, codes};

pub(crate) struct Report<'s> {
    sources: &'s [Source],
    found: Vec<(Place, Finding)>,
    secrets: Vec<Place>,
    dropped: usize,
    /// The first value that stands in a file which was not opened.
    pub(crate) unopened: Option<Place>,
}

/// A finding that can still be given a fix or another place.
pub(crate) struct Added<'r, 's> {
    report: &'r mut Report<'s>,
    at: usize,
}

impl Added<'_, '_> {
    fn with(self, change: impl FnOnce(&mut Finding)) -> Self {
        if let Some((_, finding)) = self.report.found.get_mut(self.at) {
            change(finding);
        }
        self
    }

    pub(crate) fn fix(self, text: impl Into<String>) -> Self {
        let text = text.into();
        self.with(|finding| finding.fix = Some(text))
    }

    /// A fix that may not be there: a suggestion.
    pub(crate) fn meant(self, name: Option<&str>) -> Self {
        match name {
            Some(name) => self.fix(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    pub(crate) fn related(self, place: Place, message: &str) -> Self {
        let related = Related {
            file: self.report.file(place),
            line: place.line,
            column: place.column,
            message: message.to_owned(),
        };
        self.with(|finding| finding.related.push(related))
    }
}

fn name_of(sources: &[Source], place: Place) -> String {
    let source = sources.get(place.source).filter(|_| place.line > 0);
    source.map_or(String::new(), |s| s.name.clone())
}

impl<'s> Report<'s> {
    pub(crate) fn new(sources: &'s [Source]) -> Self {
        Self {
            sources,
            found: Vec::new(),
            secrets: Vec::new(),
            dropped: 0,
            unopened: None,
        }
    }

    pub(crate) fn file(&self, place: Place) -> String {
        name_of(self.sources, place)
    }

    pub(crate) fn error(
        &mut self,
        code: &'static str,
        at: Place,
        message: impl Into<String>,
    ) -> Added<'_, 's> {
        self.add(Severity::Error, code, at, message.into())
    }

    pub(crate) fn warning(
        &mut self,
        code: &'static str,
        at: Place,
        message: impl Into<String>,
    ) -> Added<'_, 's> {
        self.add(Severity::Warning, code, at, message.into())
    }

    fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        at: Place,
        message: String,
    ) -> Added<'_, 's> {
        if self.found.len() >= FINDINGS_MAX {
            // The last one is written over: the list stays bounded, and it is said that there were more.
            self.found.pop();
            self.dropped += 1;
        }
        let finding = Finding {
            severity,
            code,
            file: name_of(self.sources, at),
            line: at.line,
            column: at.column,
            width: at.width.max(1),
            excerpt: String::new(),
            message,
            fix: None,
            related: Vec::new(),
        };
        self.found.push((at, finding));
        let at = self.found.len() - 1;
        Added { report: self, at }
    }

    /// Remembers that a literal secret is written here, so that no excerpt shows it.
    pub(crate) fn hide(&mut self, place: Place) {
        self.secrets.push(place);
    }

    /// Whether the source has exactly this text on one line, some characters behind a place.
    pub(crate) fn holds(&self, place: Place, behind: usize, text: &str) -> bool {
        let source = self
            .sources
            .get(place.source)
            .map_or("", |s| s.text.as_str());
        let number = |n: u32| usize::try_from(n.saturating_sub(1)).unwrap_or(usize::MAX);
        let line = source.lines().nth(number(place.line)).unwrap_or_default();
        let mut chars = line
            .chars()
            .skip(number(place.column).saturating_add(behind));
        text.chars().all(|c| chars.next() == Some(c))
    }

    /// Hides every scalar at or below a node.
    pub(crate) fn hide_all(&mut self, node: &Node) {
        match &node.kind {
            Kind::Null => {}
            Kind::Scalar(scalar) if scalar.is_foreign() => {}
            Kind::Scalar(_) => self.hide(node.place),
            Kind::List(items) => items.iter().for_each(|n| self.hide_all(n)),
            Kind::Map(entries) => entries.iter().for_each(|e| self.hide_all(&e.value)),
        }
    }

    /// Whether a finding has this code.
    pub(crate) fn has(&self, code: &str) -> bool {
        self.found.iter().any(|(_, f)| f.code == code)
    }

    /// Whether a literal secret is written exactly here.
    pub(crate) fn is_hidden(&self, place: Place) -> bool {
        self.secrets.contains(&place)
    }

    /// Whether something in a list is an error already.
    pub(crate) fn has_errors_at(&self, node: &Node) -> bool {
        let within =
            |place: &Place| *place == node.place || node.items().iter().any(|i| i.place == *place);
        self.found.iter().any(|(p, f)| f.is_error() && within(p))
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.found.iter().any(|(_, f)| f.is_error())
    }

    pub(crate) fn finish(mut self) -> Vec<Finding> {
        self.found
            .sort_by_key(|(p, f)| (p.source, p.line, p.column, std::cmp::Reverse(f.severity)));
        let mut findings: Vec<Finding> = Vec::with_capacity(self.found.len());
        for (place, mut finding) in std::mem::take(&mut self.found) {
            finding.excerpt = self.excerpt(place);
            finding.width = width(&finding);
            if findings.last() != Some(&finding) {
                findings.push(finding);
            }
        }
        if self.dropped > 0 {
            let mut more = empty();
            more.message = format!("{} more findings are not shown", self.dropped);
            findings.push(more);
        }
        findings
    }

    fn excerpt(&self, place: Place) -> String {
        let Some(source) = self.sources.get(place.source).filter(|_| place.line > 0) else {
            return String::new();
        };
        let wanted = usize::try_from(place.line).unwrap_or(usize::MAX) - 1;
        let line = source.text.lines().nth(wanted).unwrap_or_default();
        let mut shown: Vec<char> = line.chars().take(EXCERPT_MAX).collect();
        blot_suspicious(&mut shown);
        for secret in self.secrets.iter().filter(|s| s.source == place.source) {
            blot(&mut shown, place.line, *secret);
        }
        shown.into_iter().collect()
    }
}

/// The width without the white space that the parser counts to a quoted scalar.
fn width(finding: &Finding) -> u32 {
    let before = usize::try_from(finding.column.saturating_sub(1)).unwrap_or(0);
    let width = usize::try_from(finding.width).unwrap_or(1);
    let under: String = finding.excerpt.chars().skip(before).take(width).collect();
    u32::try_from(under.trim_end().chars().count()).map_or(1, |w| w.max(1))
}

/// Characters of a line that an excerpt shows.
const EXCERPT_MAX: usize = 400;

fn empty() -> Finding {
    Finding {
        severity: Severity::Error,
        code: codes::SYNTAX,
        file: String::new(),
        line: 0,
        column: 0,
        width: 1,
        excerpt: String::new(),
        message: String::new(),
        fix: None,
        related: Vec::new(),
    }
}

/// Stars over the part of a line that a literal secret covers.
fn blot(shown: &mut [char], line: u32, secret: Place) {
    let (first, last) = (secret.line, secret.last_line.max(secret.line));
    if line < first || line > last {
        return;
    }
    let from = if line == first {
        secret.column.saturating_sub(1)
    } else {
        0
    };
    let to = if first == last {
        from.saturating_add(secret.width)
    } else {
        u32::MAX
    };
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    let to = usize::try_from(to).unwrap_or(usize::MAX);
    for c in shown
        .iter_mut()
        .take(to)
        .skip(from)
        .filter(|c| !c.is_whitespace())
    {
        *c = '*';
    }
}

/// Words that a secret may stand behind, even under a key that nobody knows or in a text that is no YAML.
const SUSPICIOUS: [&str; 6] = ["secret", "password", "passwd", "source", "token", "private"];

/// Stars over what stands behind a suspicious word and a colon, unless it is put in from outside anyway.
fn blot_suspicious(shown: &mut [char]) {
    let lower: String = shown.iter().map(char::to_ascii_lowercase).collect();
    for word in SUSPICIOUS {
        let mut from = 0;
        while let Some(found) = lower.get(from..).and_then(|rest| rest.find(word)) {
            let after = from + found + word.len();
            from = after;
            let rest = lower.get(after..).unwrap_or_default();
            let gap: String = rest.chars().take_while(|c| *c != ':').collect();
            let is_key = gap
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '"' | '\'' | ' '));
            let value = rest
                .get(gap.len()..)
                .and_then(|r| r.strip_prefix(':'))
                .unwrap_or_default();
            if !is_key
                || value
                    .trim_start()
                    .trim_start_matches(['"', '\''])
                    .starts_with("${")
            {
                continue;
            }
            let start = lower
                .get(..after + gap.len() + 1)
                .map_or(0, |head| head.chars().count());
            let scalar = value.trim_start().chars().next();
            if matches!(scalar, Some('[' | '{') | None) {
                continue;
            }
            let stop = |c: &char| matches!(c, ',' | '}' | '#');
            let mut rest = shown.iter_mut().skip(start).peekable();
            while let Some(c) = rest.next_if(|c| !stop(c)) {
                if !c.is_whitespace() {
                    *c = '*';
                }
            }
        }
    }
}
