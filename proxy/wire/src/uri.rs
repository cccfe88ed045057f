//! URIs and URI templates as places that hold identifiers: `ehr://patients/40718265/labs?name=Doe#visit-3`.
//!
//! Any string can be split, for any string may stand where a URI is due: the components are those of RFC 3986's own
//! expression (appendix B), which no text fails. Paths fall into segments and matrix parameters, paths without a
//! slash (`urn:mrn:40718265`) at their colons, queries and fragments into pairs. What is in no [`Piece`] is a
//! delimiter, or the name of a pair. `{…}` (RFC 6570) is kept in one piece: it names variables and holds no value.

mod cut;
mod percent;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use cut::Cutter;
use percent::{decode, encode_into};

/// What a piece is of a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// In front of the first colon.
    Scheme,
    /// In front of the authority's `@`.
    UserInfo,
    /// The authority's name or address.
    Host,
    /// Behind the authority's last colon.
    Port,
    /// Between slashes of the path, or between colons of a path without any.
    Segment,
    /// The value of a matrix parameter of the path: `;name=value`.
    Parameter,
    /// A value of the query.
    Query,
    /// A value of the fragment.
    Fragment,
    /// An expression of a URI template, with its braces.
    Expression,
    /// All behind `data:` (RFC 2397); see [`data`].
    Data,
    /// All behind the first [`PIECES_MAX`] pieces.
    Rest,
}

/// Most pieces that one URI is cut into; what follows stays in one.
pub const PIECES_MAX: usize = 1024;

/// A piece of a URI that may hold a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// What it is.
    pub component: Component,
    /// Where it stands in the text, in bytes.
    pub span: Range<usize>,
    /// Where the name of its pair stands.
    pub name: Option<Range<usize>>,
}

/// A piece can't take another value: a scheme, a port, an expression, data; or the value would change the path's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotReplaceable;

impl fmt::Display for NotReplaceable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this part of a uri can't take another value: withhold the whole uri")
    }
}

impl std::error::Error for NotReplaceable {}

impl Piece {
    fn of(component: Component, span: Range<usize>) -> Self {
        Self {
            component,
            span,
            name: None,
        }
    }

    /// Its text with `%XX` resolved (and `+` in a query); `None` if that is no UTF-8.
    pub fn text<'u>(&self, uri: &'u str) -> Option<Cow<'u, str>> {
        let raw = uri.get(self.span.clone())?;
        decode(raw, self.component == Component::Query)
    }

    /// The name of its pair, resolved in the same way; `None` if it has none, or none that is text.
    pub fn name_text<'u>(&self, uri: &'u str) -> Option<Cow<'u, str>> {
        let raw = uri.get(self.name.clone()?)?;
        decode(raw, self.component == Component::Query)
    }

    fn can_hold(&self, text: &str) -> bool {
        match self.component {
            Component::Scheme
            | Component::Port
            | Component::Expression
            | Component::Data
            | Component::Rest => false,
            Component::Segment => !matches!(text, "" | "." | ".."),
            Component::Host => !text.is_empty(),
            Component::UserInfo | Component::Parameter | Component::Query | Component::Fragment => {
                true
            }
        }
    }
}

/// The pieces of a URI or URI template, in order; they never overlap, and none is empty. Linear time.
pub fn pieces(uri: &str) -> Vec<Piece> {
    let mut cut = Cutter::new(uri);
    let mut at = 0;
    if let Some(scheme) = scheme(uri) {
        cut.piece(Component::Scheme, 0..scheme.len(), None);
        at = scheme.len() + 1;
        if scheme.eq_ignore_ascii_case("data") {
            cut.piece(Component::Data, at..uri.len(), None);
            return cut.found;
        }
    }
    let hash = cut.find(at, uri.len(), b"#");
    let path_and_query = hash.unwrap_or(uri.len());
    let question = cut.find(at, path_and_query, b"?");
    let path_end = question.unwrap_or(path_and_query);
    if uri
        .get(at..path_end)
        .is_some_and(|rest| rest.starts_with("//"))
    {
        let end = cut.find(at + 2, path_end, b"/").unwrap_or(path_end);
        cut.authority(at + 2..end);
        at = end;
    }
    cut.path(at..path_end);
    if let Some(question) = question {
        cut.pairs(Component::Query, question + 1..path_and_query);
    }
    if let Some(hash) = hash {
        cut.pairs(Component::Fragment, hash + 1..uri.len());
    }
    cut.found
}

/// The URI with other values in some of its pieces, percent-encoded; every other byte stays. `new` gives a piece's new
/// text, or none where it stays. `None` if all stay.
///
/// # Errors
/// [`NotReplaceable`] where `new` gives a text to a piece that can't take it.
pub fn replaced(
    uri: &str,
    mut new: impl FnMut(&Piece) -> Option<String>,
) -> Result<Option<String>, NotReplaceable> {
    let mut out = String::new();
    let mut at = 0;
    for piece in pieces(uri) {
        let Some(text) = new(&piece) else { continue };
        if !piece.can_hold(&text) {
            return Err(NotReplaceable);
        }
        out.push_str(uri.get(at..piece.span.start).unwrap_or_default());
        encode_into(&text, &mut out);
        at = piece.span.end;
    }
    if at == 0 {
        return Ok(None);
    }
    out.push_str(uri.get(at..).unwrap_or_default());
    // In front of a colon the first segment would turn into a scheme.
    match scheme(uri) == scheme(&out) {
        true => Ok(Some(out)),
        false => Err(NotReplaceable),
    }
}

/// What a `data:` URI says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data<'u> {
    /// The media type; empty where it stands for `text/plain;charset=US-ASCII`.
    pub mime: &'u str,
    /// Whether the payload is base64, else percent-encoded text.
    pub base64: bool,
    /// Where the payload stands in the URI, in bytes.
    pub payload: Range<usize>,
}

/// Reads a `data:` URI (RFC 2397); `None` for any other text, and for one without a comma.
pub fn data(uri: &str) -> Option<Data<'_>> {
    let (scheme, rest) = uri.split_once(':')?;
    let (kind, _) = rest.split_once(',')?;
    if !scheme.eq_ignore_ascii_case("data") {
        return None;
    }
    let (mime, base64) = match kind.rsplit_once(';') {
        Some((mime, last)) if last.trim().eq_ignore_ascii_case("base64") => (mime, true),
        _ => (kind, false),
    };
    Some(Data {
        mime,
        base64,
        payload: scheme.len() + kind.len() + 2..uri.len(),
    })
}

/// What stands in front of the first colon, if that can be a scheme (RFC 3986 §3.1).
fn scheme(uri: &str) -> Option<&str> {
    let (scheme, _) = uri.split_once(':')?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme.then_some(scheme)
}
