//! Which arguments of a tool are mirrored in which `Mcp-Param-*` header.

use std::fmt;

use super::{PARAM, Unmirrorable, value};
use crate::json::{DuplicateMember, Kind, Value};

/// Most annotations that one tool may have: each is a header of every call.
pub const ANNOTATIONS_MAX: usize = 64;

/// Longest path to an annotated property, in bytes of its names together.
pub const PATH_BYTES_MAX: usize = 4096;

/// The member of a property's schema that names its header.
const MEMBER: &str = "x-mcp-header";

/// The mirrored arguments of one tool.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Annotations {
    entries: Vec<Annotation>,
}

#[derive(Clone, PartialEq, Eq)]
struct Annotation {
    /// The header's whole name, in lower case.
    header: String,
    /// Names of members from the arguments down.
    path: Vec<String>,
}

/// Why a tool's annotations can't be used; a client must drop such a tool from the list. Never repeats content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidAnnotation {
    /// A member is there twice on the way.
    Duplicate(DuplicateMember),
    /// The name is no token (RFC 9110 §5.6.2).
    NotAToken,
    /// Two names differ at most in case.
    Repeated,
    /// The property is of a type that can't be mirrored: only string, integer and boolean can.
    Type,
    /// It stands where no chain of `properties` leads from the root.
    Unreachable,
    /// More than [`ANNOTATIONS_MAX`].
    TooMany,
    /// The names on the way to the property are longer than [`PATH_BYTES_MAX`] together.
    TooLong,
}

impl Annotations {
    /// Reads a tool's `inputSchema`.
    ///
    /// # Errors
    /// [`InvalidAnnotation`] for what the protocol's constraints do not allow.
    pub fn of_schema(schema: Value<'_>) -> Result<Self, InvalidAnnotation> {
        let mut found = Self::default();
        let mut reached = Vec::new();
        let mut pending = vec![schema];
        while let Some(here) = pending.pop() {
            let Some(properties) = here.get("properties")? else {
                continue;
            };
            if properties.kind() != Kind::Object {
                continue;
            }
            for property in properties.children() {
                if let Some(annotation) = property.get(MEMBER)? {
                    reached.push(annotation.index());
                    let path = path_of_property(property, schema);
                    let path = path.ok_or(InvalidAnnotation::TooLong)?;
                    found.add(property, annotation, path)?;
                }
                pending.push(property);
            }
        }
        let strays = schema.descendants().filter(|value| is_annotation(*value));
        if strays
            .into_iter()
            .any(|stray| !reached.contains(&stray.index()))
        {
            return Err(InvalidAnnotation::Unreachable);
        }
        found
            .entries
            .sort_unstable_by(|left, right| left.header.cmp(&right.header));
        Ok(found)
    }

    fn add(
        &mut self,
        property: Value<'_>,
        annotation: Value<'_>,
        path: Vec<String>,
    ) -> Result<(), InvalidAnnotation> {
        let name = annotation
            .string()
            .filter(|name| is_token(name))
            .ok_or(InvalidAnnotation::NotAToken)?;
        if !has_primitive_type(property)? {
            return Err(InvalidAnnotation::Type);
        }
        let header = format!("{PARAM}{}", name.to_ascii_lowercase());
        if self.entries.iter().any(|entry| entry.header == header) {
            return Err(InvalidAnnotation::Repeated);
        }
        if self.entries.len() >= ANNOTATIONS_MAX {
            return Err(InvalidAnnotation::TooMany);
        }
        self.entries.push(Annotation { header, path });
        Ok(())
    }

    /// For a header whose tool's schema nobody has seen: finds the one argument whose value it mirrors, and from then
    /// on knows it as that argument's. False if none or several have the value, or the annotations are too many:
    /// then nobody can say what the header is, and it must not go on.
    ///
    /// # Errors
    /// [`DuplicateMember`] if a member of the arguments is there twice.
    pub fn learn(
        &mut self,
        arguments: Value<'_>,
        header: &str,
        header_value: &[u8],
    ) -> Result<bool, DuplicateMember> {
        if let Some(duplicate) = arguments.first_duplicate() {
            return Err(duplicate);
        }
        let header = header.to_ascii_lowercase();
        let known = self.entries.iter().any(|entry| entry.header == header);
        if known || self.entries.len() >= ANNOTATIONS_MAX || !header.starts_with(PARAM) {
            return Ok(false);
        }
        let Ok(said) = value::decode(header_value) else {
            return Ok(false);
        };
        let number = value::integer(said.as_bytes());
        let mut paths = arguments
            .descendants()
            .filter(|leaf| is_said(*leaf, &said, number))
            .filter_map(|leaf| path_of(leaf, arguments));
        let (Some(path), None) = (paths.next(), paths.next()) else {
            return Ok(false);
        };
        self.entries.push(Annotation { header, path });
        Ok(true)
    }

    /// Whether nothing is mirrored.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The annotated arguments that are there, as (header, value).
    pub(super) fn values<'t>(
        &'t self,
        arguments: Value<'t>,
    ) -> Result<Vec<(&'t str, Value<'t>)>, Unmirrorable> {
        let mut found = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let mut here = Some(arguments);
            for name in &entry.path {
                here = match here {
                    Some(value) => value.get(name)?,
                    None => None,
                };
            }
            found.extend(here.map(|value| (entry.header.as_str(), value)));
        }
        Ok(found)
    }
}

/// Names of headers and properties are the server's: only how many is shown.
impl fmt::Debug for Annotations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Annotations")
            .field("entries", &self.entries.len())
            .finish()
    }
}

/// Whether a member is an annotation: not a property that happens to have the name, nor part of a value.
fn is_annotation(value: Value<'_>) -> bool {
    let is_map = |parent: Value<'_>| {
        ["properties", "patternProperties", "$defs", "definitions"]
            .iter()
            .any(|name| parent.is_named(name))
    };
    value.is_named(MEMBER)
        && !value.parent().is_some_and(is_map)
        && !std::iter::successors(value.parent(), |parent| parent.parent()).any(|parent| {
            ["default", "const", "enum", "examples"]
                .iter()
                .any(|name| parent.is_named(name))
        })
}

fn has_primitive_type(property: Value<'_>) -> Result<bool, DuplicateMember> {
    let Some(kind) = property.get("type")? else {
        return Ok(false);
    };
    let is_primitive = |word: Value<'_>| {
        matches!(
            word.string().as_deref(),
            Some("string" | "integer" | "boolean")
        )
    };
    let is_null = |word: &Value<'_>| word.string().as_deref() == Some("null");
    Ok(match kind.kind() {
        // Null is mirrored as no header.
        Kind::Array => {
            let mut words = kind.children().filter(|word| !is_null(word));
            words.next().is_some_and(is_primitive) && words.next().is_none()
        }
        _ => is_primitive(kind),
    })
}

/// Whether a scalar is what a header says, as text or as a number.
fn is_said(leaf: Value<'_>, said: &str, number: Option<i64>) -> bool {
    match leaf.kind() {
        Kind::String => leaf.string().is_some_and(|text| text == said),
        Kind::Bool => leaf.raw() == said.as_bytes(),
        Kind::Number => number.is_some() && value::integer(leaf.raw()) == number,
        Kind::Null | Kind::Array | Kind::Object => false,
    }
}

/// The names of members from `top` to a value; `None` if there is an array on the way.
fn path_of(value: Value<'_>, top: Value<'_>) -> Option<Vec<String>> {
    let mut path = Vec::new();
    let mut here = value;
    while here != top {
        path.push(here.key()?.into_owned());
        here = here.parent()?;
    }
    path.reverse();
    (!path.is_empty()).then_some(path)
}

/// The names from a schema's root down to a property, through `properties` alone; `None` if they are too long.
fn path_of_property(property: Value<'_>, root: Value<'_>) -> Option<Vec<String>> {
    let mut path = Vec::new();
    let mut bytes = 0;
    let mut here = property;
    while here != root {
        bytes += here.key_raw()?.len();
        if bytes > PATH_BYTES_MAX {
            return None;
        }
        path.push(here.key()?.into_owned());
        here = here.parent()?.parent()?;
    }
    path.reverse();
    Some(path)
}

fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

impl From<DuplicateMember> for InvalidAnnotation {
    fn from(duplicate: DuplicateMember) -> Self {
        Self::Duplicate(duplicate)
    }
}

impl fmt::Display for InvalidAnnotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate(duplicate) => duplicate.fmt(f),
            Self::NotAToken => f.write_str("x-mcp-header must be a token of rfc 9110"),
            Self::Repeated => f.write_str("two x-mcp-header differ at most in case"),
            Self::Type => f.write_str(
                "x-mcp-header stands at a property that is no string, integer or boolean",
            ),
            Self::Unreachable => f.write_str(
                "x-mcp-header stands where no chain of `properties` leads from the schema's root",
            ),
            Self::TooLong => write!(
                f,
                "the path to an x-mcp-header is longer than {PATH_BYTES_MAX} bytes"
            ),
            Self::TooMany => write!(f, "more than {ANNOTATIONS_MAX} x-mcp-header in one schema"),
        }
    }
}

impl std::error::Error for InvalidAnnotation {}
