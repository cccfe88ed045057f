//! Places in a structure, as `phi.fields.*.also` and `tools.*.fields` name them beside plain member names.
//!
//! The words are those of FHIRPath's simple paths: `Patient.identifier[system=us-ssn].value`,
//! `Observation.value[x]`, `Bundle.entry.resource.birthDate`. Arrays on the way are entered by themselves, as FHIRPath
//! does; `[*]` may be written. A first step in upper case is a FHIR resource's type (its `resourceType`), wherever such
//! a resource stands: in a bundle, contained, or alone; `Resource` is any of them. A first step in lower case is a
//! member's name at any depth. A tool's own places begin with `args` or `result`, at the root of what these mean.
//!
//! Names are exact, case and all: FHIR's are.

use std::collections::HashMap;
use std::fmt;

use crate::names::fold;
use crate::path::Root;
use crate::policy::FieldClass;

/// What a condition of a filter compares, by member names.
type Members = Box<[Box<str>]>;

/// Where a place's steps begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anchor {
    /// At a resource of this type; none: at a resource of any type.
    Resource(Option<Box<str>>),
    /// At any object.
    Anywhere,
    /// At the root of the arguments or of the result.
    Root(Root),
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaceStep {
    /// `.name`
    Member(Box<str>),
    /// `.value[x]`: a member whose name begins so and goes on in upper case.
    Choice(Box<str>),
    /// `[system=us-ssn]`, `[type.coding.code=MR]`: only what has such a member. A URI fits by its last part, too.
    Filter {
        /// The member's path.
        members: Members,
        /// The text that it is, or ends with behind `/` or `:`.
        value: Box<str>,
    },
}

/// A place and what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPlace {
    /// Where it begins.
    pub anchor: Anchor,
    /// From there; the last one is no filter.
    pub steps: Box<[PlaceStep]>,
    /// What stands there.
    pub class: FieldClass,
}

/// As it is written, but for `[*]`, which says nothing.
impl fmt::Display for FieldPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.anchor {
            Anchor::Resource(Some(name)) => f.write_str(name)?,
            Anchor::Resource(None) => f.write_str("Resource")?,
            Anchor::Root(root) => f.write_str(root.as_str())?,
            Anchor::Anywhere => {}
        }
        for (position, step) in self.steps.iter().enumerate() {
            let dot = if position == 0 && self.anchor == Anchor::Anywhere {
                ""
            } else {
                "."
            };
            match step {
                PlaceStep::Member(name) => write!(f, "{dot}{name}")?,
                PlaceStep::Choice(name) => write!(f, "{dot}{name}[x]")?,
                PlaceStep::Filter { members, value } => {
                    write!(f, "[{}={value}]", members.join("."))?;
                }
            }
        }
        Ok(())
    }
}

/// All places of a policy, by where they begin, so that a message is asked only what can apply to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    of_type: HashMap<Box<str>, Vec<FieldPlace>>,
    of_any_type: Vec<FieldPlace>,
    anywhere: Vec<FieldPlace>,
}

impl FromIterator<FieldPlace> for Places {
    fn from_iter<I: IntoIterator<Item = FieldPlace>>(places: I) -> Self {
        let mut all = Self::default();
        let mut places: Vec<FieldPlace> = places.into_iter().collect();
        // Of two places that lead to one value the last wins: the one with more conditions.
        places.sort_by_key(FieldPlace::conditions);
        for place in places {
            match &place.anchor {
                Anchor::Resource(Some(name)) => {
                    all.of_type.entry(name.clone()).or_default().push(place)
                }
                Anchor::Resource(None) => all.of_any_type.push(place),
                // A root is a tool's own: it has no meaning for every message.
                Anchor::Anywhere | Anchor::Root(_) => all.anywhere.push(place),
            }
        }
        all
    }
}

impl Places {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.of_type.is_empty() && self.of_any_type.is_empty() && self.anywhere.is_empty()
    }

    /// Those that begin at a resource of this type, its own behind those of any type.
    pub fn of_resource(&self, resource_type: &str) -> impl Iterator<Item = &FieldPlace> {
        let own = self.of_type.get(resource_type).into_iter().flatten();
        self.of_any_type.iter().chain(own)
    }

    /// Whether any begins at a resource.
    #[must_use]
    pub fn know_resources(&self) -> bool {
        !self.of_type.is_empty() || !self.of_any_type.is_empty()
    }

    /// Those that begin at any object.
    #[must_use]
    pub fn anywhere(&self) -> &[FieldPlace] {
        &self.anywhere
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &FieldPlace> {
        let typed = self.of_type.values().flatten();
        typed.chain(&self.of_any_type).chain(&self.anywhere)
    }
}

/// Why a text names no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceError {
    /// No step, or an empty name.
    EmptyName,
    /// A name with characters that no member of FHIR or of a program has.
    BadName,
    /// A `[` without its `]`, or one that is no filter.
    BadBracket,
    /// More than [`FieldPlace::STEPS_MAX`] steps.
    TooLong,
    /// It ends with a filter, so that it names a whole element by a condition alone.
    EndsInFilter,
    /// A tool's place that begins with neither `args` nor `result`.
    UnknownRoot,
}

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyName => "a step has no name",
            Self::BadName => "a step's name has a character that no member's name has",
            Self::BadBracket => "a bracket is [x], [*], or a filter as in [system=us-ssn]",
            Self::TooLong => "it has too many steps",
            Self::EndsInFilter => "it ends with a filter: name the member behind it",
            Self::UnknownRoot => "it begins with neither args nor result",
        })
    }
}

impl std::error::Error for PlaceError {}

impl FieldPlace {
    /// Steps of one place.
    pub const STEPS_MAX: usize = 16;

    /// Whether a text of `also` is a place and no plain name.
    #[must_use]
    pub fn is_place(text: &str) -> bool {
        text.contains(['.', '[', ']', '*', '/'])
    }

    /// Reads a place at any depth, or of a FHIR resource.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn parse(text: &str, class: FieldClass) -> Result<Self, PlaceError> {
        let mut steps = steps(text)?;
        let anchor = match steps.first() {
            Some(PlaceStep::Member(name)) if name.starts_with(char::is_uppercase) => {
                let anchor = Anchor::Resource(resource_type(name));
                steps.remove(0);
                anchor
            }
            _ => Anchor::Anywhere,
        };
        Self::new(anchor, steps, class)
    }

    /// Reads a tool's own place: `result.value`, `args.patient.name`.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn of_tool(text: &str, class: FieldClass) -> Result<Self, PlaceError> {
        let mut steps = steps(text)?;
        let root = match steps.first() {
            Some(PlaceStep::Member(name)) if &**name == "args" => Root::Args,
            Some(PlaceStep::Member(name)) if &**name == "result" => Root::Result,
            _ => return Err(PlaceError::UnknownRoot),
        };
        steps.remove(0);
        Self::new(Anchor::Root(root), steps, class)
    }

    fn new(anchor: Anchor, steps: Vec<PlaceStep>, class: FieldClass) -> Result<Self, PlaceError> {
        match steps.last() {
            None => Err(PlaceError::EmptyName),
            Some(PlaceStep::Filter { .. }) => Err(PlaceError::EndsInFilter),
            Some(PlaceStep::Member(_) | PlaceStep::Choice(_)) => Ok(Self {
                anchor,
                steps: steps.into(),
                class,
            }),
        }
    }

    /// Whether another place leads to the same values, whatever it says of them.
    #[must_use]
    pub fn leads_where(&self, other: &Self) -> bool {
        self.anchor == other.anchor && self.steps == other.steps
    }

    /// How many filters it has.
    fn conditions(&self) -> usize {
        let is_filter = |step: &&PlaceStep| matches!(step, PlaceStep::Filter { .. });
        self.steps.iter().filter(is_filter).count()
    }

    /// Whether a member of this name, folded, can be the last step.
    pub(crate) fn ends_like(&self, folded: &[u8]) -> bool {
        match self.steps.last() {
            Some(PlaceStep::Member(name)) => fold(name).as_bytes() == folded,
            Some(PlaceStep::Choice(prefix)) => folded.starts_with(fold(prefix).as_bytes()),
            Some(PlaceStep::Filter { .. }) | None => false,
        }
    }

    /// Whether a member of this name can be the last step.
    #[must_use]
    pub fn may_end_at(&self, member: &str) -> bool {
        self.steps.last().is_some_and(|step| step.names(member))
    }
}

impl PlaceStep {
    /// Whether it is a condition and no member.
    #[must_use]
    pub fn is_filter(&self) -> bool {
        matches!(self, Self::Filter { .. })
    }

    /// Whether a member of this name is this step.
    #[must_use]
    pub fn names(&self, member: &str) -> bool {
        match self {
            Self::Member(name) => **name == *member,
            Self::Choice(prefix) => member
                .strip_prefix(&**prefix)
                .is_some_and(|rest| rest.starts_with(char::is_uppercase)),
            Self::Filter { .. } => false,
        }
    }

    /// Whether a filter's text fits a member's: it is the same, or the last part of a URI.
    #[must_use]
    pub fn fits(wanted: &str, found: &str) -> bool {
        let part = found.strip_suffix(wanted);
        part.is_some_and(|before| before.is_empty() || before.ends_with(['/', ':']))
    }
}

/// `Resource` and `DomainResource`, from which FHIR derives all, are any type.
fn resource_type(name: &str) -> Option<Box<str>> {
    (!matches!(name, "Resource" | "DomainResource")).then(|| name.into())
}

fn steps(text: &str) -> Result<Vec<PlaceStep>, PlaceError> {
    let mut steps = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (member, after) = rest.split_at_checked(end).ok_or(PlaceError::EmptyName)?;
        rest = step(member, after, &mut steps)?;
        if steps.len() > FieldPlace::STEPS_MAX {
            return Err(PlaceError::TooLong);
        }
        match rest.strip_prefix('.') {
            Some(next) => rest = next,
            None if rest.is_empty() => return Ok(steps),
            None => return Err(PlaceError::BadBracket),
        }
    }
}

/// One member with the brackets behind it; gives what follows them.
fn step<'r>(
    member: &str,
    mut rest: &'r str,
    steps: &mut Vec<PlaceStep>,
) -> Result<&'r str, PlaceError> {
    let known = |c: char| c.is_alphanumeric() || "_-:@$".contains(c);
    match member {
        "" => return Err(PlaceError::EmptyName),
        _ if !member.chars().all(known) => return Err(PlaceError::BadName),
        _ => steps.push(PlaceStep::Member(member.into())),
    }
    while let Some(inside) = rest.strip_prefix('[') {
        let (content, after) = inside.split_once(']').ok_or(PlaceError::BadBracket)?;
        match content {
            "*" => {}
            "x" => {
                steps.pop();
                steps.push(PlaceStep::Choice(member.into()));
            }
            _ => steps.push(filter(content)?),
        }
        rest = after;
    }
    Ok(rest)
}

fn filter(content: &str) -> Result<PlaceStep, PlaceError> {
    let (path, value) = content.split_once('=').ok_or(PlaceError::BadBracket)?;
    let members: Members = path.trim().split('.').map(Box::from).collect();
    let value = value.trim().trim_matches(['\'', '"']);
    if value.is_empty() || members.iter().any(|name| name.is_empty()) {
        return Err(PlaceError::BadBracket);
    }
    Ok(PlaceStep::Filter {
        members,
        value: value.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<FieldPlace, PlaceError> {
        FieldPlace::parse(text, FieldClass::NotPhi)
    }

    fn member(name: &str) -> PlaceStep {
        PlaceStep::Member(name.into())
    }

    #[test]
    fn a_fhir_path_begins_at_its_resource_and_filters() {
        let place = parsed("Patient.identifier[system=us-ssn][*].value").unwrap();
        assert_eq!(place.anchor, Anchor::Resource(Some("Patient".into())));
        let filter = PlaceStep::Filter {
            members: Box::new(["system".into()]),
            value: "us-ssn".into(),
        };
        assert_eq!(
            *place.steps,
            [member("identifier"), filter, member("value")]
        );
        assert!(place.may_end_at("value") && !place.may_end_at("system"));
        let any = parsed("Resource.text.div").unwrap();
        assert_eq!(any.anchor, Anchor::Resource(None));
        let deep = parsed("Patient.identifier[type.coding.code='MR'].value").unwrap();
        assert!(
            matches!(&deep.steps[1], PlaceStep::Filter { members, value } if members.len() == 3 && **value == *"MR")
        );
    }

    #[test]
    fn a_choice_is_any_member_that_goes_on_in_upper_case() {
        let place = parsed("Observation.value[x]").unwrap();
        assert!(place.may_end_at("valueQuantity") && place.may_end_at("valueString"));
        assert!(!place.may_end_at("value") && !place.may_end_at("valueset"));
    }

    #[test]
    fn a_lower_case_path_begins_anywhere_and_a_tools_own_at_its_root() {
        assert_eq!(parsed("identity.number").unwrap().anchor, Anchor::Anywhere);
        let own = FieldPlace::of_tool("result.rows[*].value", FieldClass::NotPhi).unwrap();
        assert_eq!(own.anchor, Anchor::Root(Root::Result));
        assert_eq!(*own.steps, [member("rows"), member("value")]);
        let refused = FieldPlace::of_tool("claims.sub", FieldClass::NotPhi);
        assert_eq!(refused, Err(PlaceError::UnknownRoot));
    }

    #[test]
    fn what_names_no_place_is_refused() {
        for (text, why) in [
            ("", PlaceError::EmptyName),
            ("Patient", PlaceError::EmptyName),
            ("Patient..name", PlaceError::EmptyName),
            ("Patient.na me", PlaceError::BadName),
            ("Patient.identifier[system]", PlaceError::BadBracket),
            ("Patient.identifier[=x].value", PlaceError::BadBracket),
            ("Patient.identifier[system=x", PlaceError::BadBracket),
            ("Patient.identifier[system=x]value", PlaceError::BadBracket),
            (
                "Patient.identifier[system=us-ssn]",
                PlaceError::EndsInFilter,
            ),
        ] {
            assert_eq!(parsed(text), Err(why), "{text}");
        }
        let long = format!("Patient{}", ".a".repeat(20));
        assert_eq!(parsed(&long), Err(PlaceError::TooLong));
    }

    #[test]
    fn a_filter_fits_a_uri_by_its_last_part() {
        assert!(PlaceStep::fits("us-ssn", "http://hl7.org/fhir/sid/us-ssn"));
        assert!(PlaceStep::fits(
            "2.16.840.1.113883.4.1",
            "urn:oid:2.16.840.1.113883.4.1"
        ));
        assert!(PlaceStep::fits("us-ssn", "us-ssn"));
        assert!(!PlaceStep::fits("ssn", "http://hl7.org/fhir/sid/us-ssn"));
    }
}
