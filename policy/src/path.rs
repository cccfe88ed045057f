//! Paths in CEL's words: `args.record`, `result.patients[*].patient_id`, `claims.sub`, `uri.id`.
//!
//! A path selects; what does not match selects nothing. `[*]` is each element, `[0]` one element.

use std::fmt;

use serde_json::Value;

/// Where a path begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Root {
    /// `params.arguments` of the call.
    Args,
    /// `structuredContent`, or else the one text block that parses as a JSON object.
    Result,
    /// The token's claims.
    Claims,
    /// The variables of a resource's URI template.
    Uri,
}

impl Root {
    /// The word that stands for it in a path.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Args => "args",
            Self::Result => "result",
            Self::Claims => "claims",
            Self::Uri => "uri",
        }
    }
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// `.name`
    Member(String),
    /// `[*]`
    Each,
    /// `[3]`
    Index(u32),
}

/// A root and the steps from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path {
    /// Where it begins.
    pub root: Root,
    /// The steps, at least one, at most [`Path::STEPS_MAX`].
    pub steps: Vec<Step>,
}

impl Path {
    /// Steps of one path: deeper than any record that a person reviews.
    pub const STEPS_MAX: usize = 32;

    /// Reads a path.
    ///
    /// # Errors
    /// Says what is wrong with the text: an unknown root, an empty name, an unclosed bracket, too many steps.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let end = text.find(['.', '[']).unwrap_or(text.len());
        let (word, mut rest) = text.split_at_checked(end).ok_or(PathError::Empty)?;
        let root = match word {
            "args" => Root::Args,
            "result" => Root::Result,
            "claims" => Root::Claims,
            "uri" => Root::Uri,
            _ => return Err(PathError::UnknownRoot),
        };
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if steps.len() == Self::STEPS_MAX {
                return Err(PathError::TooLong);
            }
            let (step, after) = next_step(rest)?;
            steps.push(step);
            rest = after;
        }
        if steps.is_empty() {
            return Err(PathError::NoStep);
        }
        Ok(Self { root, steps })
    }

    /// Every value that the steps reach from `root` (the value that the path's root stands for).
    #[must_use]
    pub fn select<'v>(&self, root: &'v Value) -> Vec<&'v Value> {
        let mut found = vec![root];
        for step in &self.steps {
            found = match step {
                Step::Member(name) => found.iter().filter_map(|v| v.get(name)).collect(),
                Step::Index(at) => found
                    .iter()
                    .filter_map(|v| v.get(usize::try_from(*at).ok()?))
                    .collect(),
                Step::Each => found
                    .iter()
                    .filter_map(|v| v.as_array())
                    .flatten()
                    .collect(),
            };
        }
        found
    }
}

fn next_step(rest: &str) -> Result<(Step, &str), PathError> {
    if let Some(after) = rest.strip_prefix('.') {
        let end = after.find(['.', '[']).unwrap_or(after.len());
        let (name, after) = after.split_at_checked(end).ok_or(PathError::EmptyName)?;
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ':' | '@' | '$' | '/');
        return match name {
            "" => Err(PathError::EmptyName),
            _ if !name.chars().all(plain) => Err(PathError::BadName),
            _ => Ok((Step::Member(name.to_owned()), after)),
        };
    }
    let inside = rest.strip_prefix('[').ok_or(PathError::BadName)?;
    let (index, after) = inside.split_once(']').ok_or(PathError::Unclosed)?;
    if index == "*" {
        return Ok((Step::Each, after));
    }
    let quoted = index
        .strip_prefix('"')
        .and_then(|i| i.strip_suffix('"'))
        .or_else(|| index.strip_prefix('\'').and_then(|i| i.strip_suffix('\'')));
    match quoted {
        Some("") => Err(PathError::EmptyName),
        Some(name) => Ok((Step::Member(name.to_owned()), after)),
        None => index
            .parse()
            .map(|at| (Step::Index(at), after))
            .map_err(|_| PathError::BadIndex),
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.root.as_str())?;
        for step in &self.steps {
            match step {
                Step::Member(name) if name.contains(['.', '[', ' ']) => write!(f, "[\"{name}\"]")?,
                Step::Member(name) => write!(f, ".{name}")?,
                Step::Each => f.write_str("[*]")?,
                Step::Index(at) => write!(f, "[{at}]")?,
            }
        }
        Ok(())
    }
}

/// Why a text is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// There is no text.
    Empty,
    /// It begins with none of the roots.
    UnknownRoot,
    /// A root alone.
    NoStep,
    /// Two dots, or a dot at the end.
    EmptyName,
    /// A member name with a character that needs `["…"]`.
    BadName,
    /// `[` without `]`.
    Unclosed,
    /// Neither `*`, a number nor a quoted name between the brackets.
    BadIndex,
    /// More than [`Path::STEPS_MAX`] steps.
    TooLong,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the path is empty",
            Self::UnknownRoot => "a path begins with args, result, claims or uri",
            Self::NoStep => "the path names no member, as in args.patient_id",
            Self::EmptyName => "a member name in the path is empty",
            Self::BadName => "a member name in the path needs quoting, as in args[\"a b\"]",
            Self::Unclosed => "a bracket in the path is not closed",
            Self::BadIndex => "between brackets stands *, a number or a quoted name",
            Self::TooLong => "the path has more than 32 steps",
        })
    }
}

impl std::error::Error for PathError {}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_print_as_they_were_written() {
        for text in [
            "args.patient_id",
            "result.patients[*].patient_id",
            "claims.a.b[0].c",
            "uri.id",
            "args[\"a b\"].c",
        ] {
            assert_eq!(Path::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for (text, error) in [
            ("", PathError::UnknownRoot),
            ("args", PathError::NoStep),
            ("params.x", PathError::UnknownRoot),
            ("args..x", PathError::EmptyName),
            ("args.x.", PathError::EmptyName),
            ("args.x y", PathError::BadName),
            ("args.x[", PathError::Unclosed),
            ("args.x[y]", PathError::BadIndex),
        ] {
            assert_eq!(Path::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn each_selects_every_element_and_a_mismatch_nothing() {
        let value = json!({"patients": [{"id": "a"}, {"x": 1}, {"id": "b"}], "id": 3});
        let select = |text: &str| Path::parse(text).unwrap().select(&value).len();
        assert_eq!(select("result.patients[*].id"), 2);
        assert_eq!(select("result.patients[2].id"), 1);
        assert_eq!(select("result.id[*]"), 0);
        assert_eq!(select("result.none.id"), 0);
    }
}
