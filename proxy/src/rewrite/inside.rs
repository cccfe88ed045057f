//! JSON that stands in strings: read, judged like any other, and put back so that only what changed differs.
//!
//! A text that looks like JSON and can't be read as such (nested too deep, `NaN`, lone surrogates) is neither judged
//! nor taken for prose: a more lenient reader behind us may well find members in it.

use std::collections::BTreeMap;

use safeguard_wire::json::{JsonError, Kind, Splice, Tree, Value, quote, quote_into, unquote};

use super::{LIMITS, RewriteError};

/// How deep JSON may stand inside JSON text, in levels. The escapes double with each level, so real ones are shallow.
pub(super) const LEVELS_MAX: u32 = 4;

/// Bytes of `\u00e9`.
const UNICODE_ESCAPE: usize = 6;

/// What a text is.
pub(super) enum Reading<'x> {
    /// An object or an array.
    Json(Tree<'x>),
    /// No JSON, or a scalar, which is text.
    Prose,
    /// It looks like JSON and can't be judged.
    Unreadable,
}

/// What became of a string that was entered.
pub(super) enum Inside {
    /// It held JSON, which was judged; the literal to put in its place, if anything changed.
    Judged(Option<Vec<u8>>),
    /// It holds no JSON.
    Prose,
    /// It can't be judged.
    Unreadable,
}

/// Reads a text.
pub(super) fn read(text: &str) -> Reading<'_> {
    let lead = text
        .trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\u{feff}')
        .bytes()
        .next();
    // Most strings are no JSON: they are not parsed.
    if !matches!(lead, Some(b'{' | b'[')) {
        return Reading::Prose;
    }
    match Tree::parse(text.as_bytes(), &LIMITS) {
        Ok(tree) => Reading::Json(tree),
        Err(JsonError::TooDeep { .. } | JsonError::TooManyNodes { .. } | JsonError::TooLong) => {
            Reading::Unreadable
        }
        Err(_) if has_members(text) => Reading::Unreadable,
        Err(_) => Reading::Prose,
    }
}

/// Whether a text has something like a quoted name behind a brace; `{name} was stored` and `[see](here)` have not.
fn has_members(text: &str) -> bool {
    text.split_once('{')
        .is_some_and(|(_, behind)| behind.contains(['"', '\'']))
}

/// Whether a string with a lone surrogate reads like JSON to who takes U+FFFD in its place.
fn may_hide_members(value: Value<'_>) -> bool {
    let Ok(mut rest) = std::str::from_utf8(value.raw()) else {
        return true;
    };
    let mut mended = String::with_capacity(rest.len());
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at_checked(at).unwrap_or((rest, ""));
        let (form, behind) = escape
            .split_at_checked(escape_length(escape))
            .unwrap_or((escape, ""));
        mended.push_str(plain);
        let is_character = unquote(format!("\"{form}\"").as_bytes()).is_some();
        mended.push_str(if is_character { form } else { "\\ufffd" });
        // What looked like the second half of a pair is judged by itself.
        rest = if is_character || form.len() <= UNICODE_ESCAPE {
            behind
        } else {
            escape.get(UNICODE_ESCAPE..).unwrap_or_default()
        };
    }
    mended.push_str(rest);
    let Some(text) = unquote(mended.as_bytes()) else {
        return true;
    };
    !matches!(read(&text), Reading::Prose)
}

/// Judges the JSON that a string value holds, by `work`.
pub(super) fn enter(
    value: Value<'_>,
    level: u32,
    work: impl for<'x> FnOnce(Value<'x>, &mut Splice<'x>) -> Result<(), RewriteError>,
) -> Result<Inside, RewriteError> {
    if value.kind() != Kind::String {
        return Ok(Inside::Prose);
    }
    let Some(text) = value.string() else {
        return Ok(if may_hide_members(value) {
            Inside::Unreadable
        } else {
            Inside::Prose
        });
    };
    let changed = match judged(&text, level, work)? {
        Judged::Changed(changed) => changed,
        Judged::Same => return Ok(Inside::Judged(None)),
        Judged::Not(inside) => return Ok(inside),
    };
    let changed = String::from_utf8(changed).map_err(|_| RewriteError::Upstream("not_utf8"))?;
    Ok(Inside::Judged(Some(requote(value.raw(), &changed))))
}

/// Judges the JSON that a base64 string holds, by `work`.
pub(super) fn enter_blob(
    value: Value<'_>,
    level: u32,
    work: impl for<'x> FnOnce(Value<'x>, &mut Splice<'x>) -> Result<(), RewriteError>,
) -> Result<Inside, RewriteError> {
    let Some(text) = text_of_blob(value) else {
        return Ok(Inside::Prose);
    };
    Ok(match judged(&text, level, work)? {
        Judged::Changed(changed) => Inside::Judged(Some(quote(&blob_of_text(changed)))),
        Judged::Same => Inside::Judged(None),
        Judged::Not(inside) => inside,
    })
}

/// The text that a base64 string holds; none where it holds anything else.
pub(super) fn text_of_blob(value: Value<'_>) -> Option<String> {
    let text = value.string()?;
    let bytes = base64_simd::forgiving_decode_to_vec(text.as_bytes()).ok()?;
    String::from_utf8(bytes).ok()
}

/// A text in base64.
pub(super) fn blob_of_text(text: impl AsRef<[u8]>) -> String {
    base64_simd::STANDARD.encode_to_string(text)
}

enum Judged {
    Changed(Vec<u8>),
    Same,
    Not(Inside),
}

fn judged(
    text: &str,
    level: u32,
    work: impl for<'x> FnOnce(Value<'x>, &mut Splice<'x>) -> Result<(), RewriteError>,
) -> Result<Judged, RewriteError> {
    let tree = match read(text) {
        Reading::Json(tree) if level < LEVELS_MAX => tree,
        Reading::Json(_) | Reading::Unreadable => return Ok(Judged::Not(Inside::Unreadable)),
        Reading::Prose => return Ok(Judged::Not(Inside::Prose)),
    };
    let mut splice = Splice::new(&tree);
    work(tree.root(), &mut splice)?;
    Ok(if splice.is_empty() {
        Judged::Same
    } else {
        Judged::Changed(splice.apply())
    })
}

/// The literal of a changed text, in the escapes of the literal that it stood in (`\/`, `\u003c`, `\u00e9`), so that
/// what did not change is byte for byte the same.
pub(super) fn requote(raw: &[u8], text: &str) -> Vec<u8> {
    let forms = unusual_escapes(raw);
    if forms.is_empty() {
        return quote(text);
    }
    let mut out = Vec::with_capacity(text.len() + text.len() / 4 + 2);
    let mut buffer = [0_u8; 4];
    let mut literal = Vec::with_capacity(8);
    out.push(b'"');
    for c in text.chars() {
        if let Some(form) = forms.get(&c) {
            out.extend_from_slice(form.as_bytes());
            continue;
        }
        literal.clear();
        quote_into(c.encode_utf8(&mut buffer), &mut literal);
        out.extend(unquoted(&literal));
    }
    out.push(b'"');
    out
}

/// The characters that a literal escapes otherwise than [`quote`] does, each with its form.
fn unusual_escapes(raw: &[u8]) -> BTreeMap<char, &str> {
    let mut forms = BTreeMap::new();
    let Ok(mut rest) = std::str::from_utf8(raw) else {
        return forms;
    };
    while let Some(at) = rest.find('\\') {
        let (_, escape) = rest.split_at_checked(at).unwrap_or((rest, ""));
        let length = escape_length(escape);
        let (form, behind) = escape.split_at_checked(length).unwrap_or((escape, ""));
        rest = behind;
        let literal = format!("\"{form}\"");
        let resolved = unquote(literal.as_bytes()).and_then(|text| text.chars().next());
        if let Some(c) = resolved
            && quote(c.encode_utf8(&mut [0; 4])) != literal.as_bytes()
        {
            forms.insert(c, form);
        }
    }
    forms
}

/// Bytes of the escape that a text begins with: `\n`, `\u00e9`, or a pair of surrogates.
fn escape_length(escape: &str) -> usize {
    const PLAIN: usize = 2;
    if !escape.starts_with("\\u") {
        return PLAIN;
    }
    let is_high = escape
        .get(PLAIN..UNICODE_ESCAPE)
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .is_some_and(|unit| (0xd800..0xdc00).contains(&unit));
    if is_high
        && escape
            .get(UNICODE_ESCAPE..)
            .is_some_and(|next| next.starts_with("\\u"))
    {
        2 * UNICODE_ESCAPE
    } else {
        UNICODE_ESCAPE
    }
}

fn unquoted(literal: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let inner = literal.len().saturating_sub(2);
    literal.iter().skip(1).take(inner).copied()
}
