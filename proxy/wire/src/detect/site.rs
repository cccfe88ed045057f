//! The site's own detectors: regular expressions that can be trusted with hostile text.
//!
//! The engine is linear in the text for one match, but not for all of them: where a match is refused only at the end of the
//! text, looking for each next one reads to the end again. So a pattern must say how long it can get: then no search reads
//! further than that beyond its match, and all matches together cost the text times a constant.

use std::fmt;
use std::ops::Range;

use regex_automata::meta::{Config, Regex};
use regex_automata::nfa::thompson::WhichCaptures;
use regex_syntax::ParserBuilder;

use super::Kind;

/// How many patterns a site may have.
pub const PATTERNS_MAX: usize = 64;
/// How long a pattern's name may be, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// How long a pattern may be as it is written, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1024;
/// How long what a pattern matches may be, in bytes.
pub const MATCH_BYTES_MAX: usize = 256;
/// What a compiled pattern may take, in bytes.
pub const COMPILED_BYTES_MAX: usize = 512 * 1024;
/// What a search with one pattern may keep beside it, in bytes.
const CACHE_BYTES_MAX: usize = 256 * 1024;
/// How deep a pattern may nest.
const NEST_MAX: u32 = 32;

/// Why a site's pattern is refused. Messages hold the pattern's name, never text that was searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// More than [`PATTERNS_MAX`].
    TooMany(usize),
    /// A name that is not lower-case letters, digits, `_` and `-`, beginning with a letter, of at most [`NAME_BYTES_MAX`].
    Name(String),
    /// A name that a built-in detector or an earlier pattern has.
    Taken(String),
    /// A pattern above [`PATTERN_BYTES_MAX`].
    TooLong(String),
    /// No regular expression, and why.
    Syntax(String, String),
    /// It can match nothing at all.
    MatchesNothing(String),
    /// It can match more than [`MATCH_BYTES_MAX`].
    Unbounded(String),
    /// It compiles to more than [`COMPILED_BYTES_MAX`].
    TooBig(String),
}

impl PatternError {
    /// The pattern's name, where it is about one.
    #[must_use]
    pub fn pattern(&self) -> Option<&str> {
        match self {
            Self::TooMany(_) => None,
            Self::Name(name)
            | Self::Taken(name)
            | Self::TooLong(name)
            | Self::Syntax(name, _)
            | Self::MatchesNothing(name)
            | Self::Unbounded(name)
            | Self::TooBig(name) => Some(name),
        }
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany(count) => write!(
                f,
                "{count} patterns, {PATTERNS_MAX} at most; join some with `|`"
            ),
            Self::Name(name) => write!(
                f,
                "pattern {name:?}: a name is lower-case letters, digits, `_` and `-`, begins with a letter and has at most {NAME_BYTES_MAX} bytes"
            ),
            Self::Taken(name) => write!(
                f,
                "pattern {name:?}: a detector has this name; choose another"
            ),
            Self::TooLong(name) => write!(
                f,
                "pattern {name:?}: longer than {PATTERN_BYTES_MAX} bytes; split it in two"
            ),
            Self::Syntax(name, why) => {
                write!(f, "pattern {name:?}: not a regular expression: {why}")
            }
            Self::MatchesNothing(name) => write!(
                f,
                "pattern {name:?}: can match the empty text; require at least one character"
            ),
            Self::Unbounded(name) => write!(
                f,
                "pattern {name:?}: can match more than {MATCH_BYTES_MAX} bytes; write a bound, such as {{1,20}}, in place of `+` or `*`"
            ),
            Self::TooBig(name) => write!(
                f,
                "pattern {name:?}: compiles to more than {COMPILED_BYTES_MAX} bytes; write [0-9] or (?-u:\\w) in place of Unicode classes, or smaller bounds"
            ),
        }
    }
}

impl std::error::Error for PatternError {}

/// One pattern, compiled.
#[derive(Debug)]
pub(super) struct Site {
    name: String,
    regex: Regex,
}

impl Site {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The matches in a text or in its folded form.
    pub(super) fn spans<'s>(&'s self, bytes: &'s [u8]) -> impl Iterator<Item = Range<usize>> + 's {
        self.regex.find_iter(bytes).map(|found| found.range())
    }
}

/// Compiles the patterns of a site.
pub(super) fn compile(patterns: &[(String, String)]) -> Result<Vec<Site>, PatternError> {
    if patterns.len() > PATTERNS_MAX {
        return Err(PatternError::TooMany(patterns.len()));
    }
    let mut sites: Vec<Site> = Vec::with_capacity(patterns.len());
    for (name, pattern) in patterns {
        check_name(name, &sites)?;
        sites.push(Site {
            name: name.clone(),
            regex: regex(name, pattern)?,
        });
    }
    Ok(sites)
}

fn check_name(name: &str, earlier: &[Site]) -> Result<(), PatternError> {
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
    if !begins || name.len() > NAME_BYTES_MAX || !name.bytes().all(known) {
        return Err(PatternError::Name(
            name.chars().take(NAME_BYTES_MAX).collect(),
        ));
    }
    if Kind::from_word(name).is_some() || earlier.iter().any(|site| site.name == name) {
        return Err(PatternError::Taken(name.to_owned()));
    }
    Ok(())
}

fn regex(name: &str, pattern: &str) -> Result<Regex, PatternError> {
    let name = || name.to_owned();
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(PatternError::TooLong(name()));
    }
    let parsed = ParserBuilder::new()
        .nest_limit(NEST_MAX)
        .build()
        .parse(pattern)
        .map_err(|error| PatternError::Syntax(name(), why(&error)))?;
    if parsed.properties().minimum_len() == Some(0) {
        return Err(PatternError::MatchesNothing(name()));
    }
    let longest = parsed.properties().maximum_len();
    if longest.is_none_or(|longest| longest > MATCH_BYTES_MAX) {
        return Err(PatternError::Unbounded(name()));
    }
    let config = Config::new()
        .nfa_size_limit(Some(COMPILED_BYTES_MAX))
        .hybrid_cache_capacity(CACHE_BYTES_MAX)
        .which_captures(WhichCaptures::Implicit)
        .onepass(false)
        .dfa(false)
        .backtrack(false);
    Regex::builder()
        .configure(config)
        .build_from_hir(&parsed)
        .map_err(|_| PatternError::TooBig(name()))
}

fn why(error: &regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(error) => format!(
            "{}, at character {}",
            error.kind(),
            error.span().start.column
        ),
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        _ => "it can't be read".to_owned(),
    }
}
