//! URI templates of RFC 6570 level 1, the other way round: which URI a template could have made, and from what.
//!
//! A variable stands for one or more unreserved or percent-encoded characters (RFC 6570 §3.2.2), so what follows it
//! in the template must not begin with such a character: then a match is one pass, without backtracking.

use std::fmt;

/// A template that is matched unambiguously.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Variable(String),
}

/// Why a text is no template that serves here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateError {
    /// It has no scheme.
    NoScheme,
    /// Longer than [`Template::BYTES_MAX`].
    TooLong,
    /// A brace that is not closed, or closes nothing.
    Brace,
    /// Between braces stands no plain name: operators and lists are of higher levels.
    Level,
    /// A variable is followed by another one, or by a character that it could itself contain.
    Ambiguous,
    /// A variable twice.
    Twice,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoScheme => "a resource begins with a scheme, as in patient://{id}",
            Self::TooLong => "the template is longer than 2048 bytes",
            Self::Brace => "a brace is not closed, or closes nothing",
            Self::Level => "between braces stands one plain name (RFC 6570 level 1)",
            Self::Ambiguous => "what follows a variable could be a part of it",
            Self::Twice => "a variable stands twice",
        })
    }
}

impl std::error::Error for TemplateError {}

impl Template {
    /// Bytes of a template, and of a URI that is held against it.
    pub const BYTES_MAX: usize = 2048;

    /// Reads a template.
    ///
    /// # Errors
    /// Says why the text does not serve.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > Self::BYTES_MAX {
            return Err(TemplateError::TooLong);
        }
        let parts = parts(text)?;
        let scheme = text.split_once(':').map_or("", |(s, _)| s);
        let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        if scheme.is_empty() || !scheme.chars().all(letters) {
            return Err(TemplateError::NoScheme);
        }
        let mut names: Vec<&str> = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let Part::Variable(name) = part else { continue };
            if names.contains(&name.as_str()) {
                return Err(TemplateError::Twice);
            }
            names.push(name);
            match parts.get(at + 1) {
                Some(Part::Variable(_)) => return Err(TemplateError::Ambiguous),
                Some(Part::Literal(l)) if l.bytes().next().is_some_and(in_variable) => {
                    return Err(TemplateError::Ambiguous);
                }
                _ => {}
            }
        }
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }

    /// The template as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Names of the variables.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|p| match p {
            Part::Variable(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// The variables' values if the template could have made `uri`. A value that does not decode to UTF-8, or
    /// decodes to one with a slash, a backslash, a control character or nothing but dots, is no match: the server
    /// might read it as another path.
    #[must_use]
    pub fn matches(&self, uri: &str) -> Option<Vec<(&str, String)>> {
        if uri.len() > Self::BYTES_MAX {
            return None;
        }
        let mut rest = uri;
        let mut values = Vec::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => rest = rest.strip_prefix(literal.as_str())?,
                Part::Variable(name) => {
                    let end = rest.bytes().position(|c| !in_variable(c));
                    let (value, after) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
                    values.push((name.as_str(), decode(value)?));
                    rest = after;
                }
            }
        }
        rest.is_empty().then_some(values)
    }

    /// Whether another template has the same shape, whatever its variables are called.
    #[must_use]
    pub fn same_shape(&self, other: &str) -> bool {
        let Ok(other) = parts(other) else {
            return false;
        };
        self.parts.len() == other.len()
            && self.parts.iter().zip(&other).all(|pair| match pair {
                (Part::Literal(a), Part::Literal(b)) => a == b,
                (Part::Variable(_), Part::Variable(_)) => true,
                _ => false,
            })
    }
}

/// Unreserved (RFC 3986 §2.3) or the beginning of a percent-encoded character, or its digits.
fn in_variable(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b'~' | b'%')
}

fn parts(text: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (literal, after) = rest.split_once('{').unwrap_or((rest, ""));
        if literal.contains('}') {
            return Err(TemplateError::Brace);
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.to_owned()));
        }
        if literal.len() == rest.len() {
            break;
        }
        let (name, after) = after.split_once('}').ok_or(TemplateError::Brace)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(TemplateError::Level);
        }
        parts.push(Part::Variable(name.to_owned()));
        rest = after;
    }
    Ok(parts)
}

fn decode(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(c) = rest.next() {
        if c == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(c);
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    let hostile = text
        .chars()
        .any(|c| c.is_control() || matches!(c, '/' | '\\'))
        || text.chars().all(|c| c == '.');
    (!hostile).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(template: &str, uri: &str) -> Option<Vec<(String, String)>> {
        let template = Template::parse(template).unwrap();
        let values = template.matches(uri)?;
        Some(values.into_iter().map(|(n, v)| (n.to_owned(), v)).collect())
    }

    #[test]
    fn a_template_gives_back_what_made_the_uri() {
        let one = |v: &str| Some(vec![("id".to_owned(), v.to_owned())]);
        let t = "patient://{id}/summary";
        assert_eq!(values(t, "patient://p-1/summary"), one("p-1"));
        assert_eq!(values(t, "patient://p%C3%A4/summary"), one("pä"));
        assert_eq!(values("x:{id}", "x:7"), one("7"));
        assert_eq!(values("x:a", "x:a"), Some(Vec::new()));
    }

    #[test]
    fn another_path_is_no_match() {
        let t = "patient://{id}/summary";
        for uri in [
            "patient:///summary",
            "patient://a/b/summary",
            "patient://a%2Fb/summary",
            "patient://../summary",
            "patient://%2e%2e/summary",
            "patient://a%ff/summary",
            "patient://a%0a/summary",
            "patient://a%/summary",
            "patient://a/summary/",
            "patient://a/summary?x",
            "PATIENT://a/summary",
            "xpatient://a/summary",
        ] {
            assert_eq!(values(t, uri), None, "{uri}");
        }
    }

    #[test]
    fn templates_that_could_match_two_ways_are_refused() {
        for (text, error) in [
            ("x://{a}{b}", TemplateError::Ambiguous),
            ("x://{a}.json", TemplateError::Ambiguous),
            ("x://{a}/{a}", TemplateError::Twice),
            ("x://{+a}", TemplateError::Level),
            ("x://{a,b}", TemplateError::Level),
            ("x://{a", TemplateError::Brace),
            ("x://a}", TemplateError::Brace),
            ("/{a}", TemplateError::NoScheme),
            ("{a}:x", TemplateError::NoScheme),
        ] {
            assert_eq!(Template::parse(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn names_of_variables_do_not_matter_for_the_shape() {
        let t = Template::parse("patient://{id}/summary").unwrap();
        assert!(t.same_shape("patient://{patient_id}/summary"));
        assert!(!t.same_shape("patient://{+id}/summary"));
        assert!(!t.same_shape("patient://{id}/{x}"));
    }
}
