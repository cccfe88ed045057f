//! Values that a server offers: the completions of an argument, and the defaults and choices of a form that it asks a
//! person to fill in. Which patients there are is itself a disclosure, so what may not be seen is not even counted.

use safeguard_policy::field::{TextView, Unlisted, View};
use safeguard_policy::policy::FieldClass;
use safeguard_wire::json::{Kind, Splice, Value};
use safeguard_wire::mcp::{Part, Place};

use super::RewriteError;
use super::answer::{Method, member};
use super::inside::Inside;
use super::show::Shower;

/// Keywords of a schema that hold values, not structure.
const VALUE_KEYWORDS: [&str; 6] = [
    "default",
    "const",
    "enum",
    "enumNames",
    "examples",
    "example",
];

/// Whether a place is a value that the schema of a question offers.
pub(super) fn is_schema_value(place: &Place<'_>) -> bool {
    place.part == Part::Question
        && !place.named
        && VALUE_KEYWORDS.iter().any(|name| place.value.is_named(name))
}

impl Shower<'_> {
    /// One value that is suggested for an argument: by the view of the field that the argument is, else text. What may
    /// not be seen is left out.
    pub(super) fn suggestion<'t>(
        &mut self,
        value: Value<'t>,
        of: FieldClass,
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        match of {
            FieldClass::Phi(field) => return self.phi(value, field, splice),
            FieldClass::NotPhi | FieldClass::Unlisted => {}
        }
        let shown = match self.inner_json(value, of, splice, 0)? {
            Inside::Judged(_) => true,
            Inside::Unreadable => false,
            Inside::Prose => match self.call.permit.text {
                _ if of == FieldClass::NotPhi => true,
                TextView::Reveal => true,
                TextView::Detect => value
                    .string()
                    .is_some_and(|text| self.detected(&text).is_none()),
                TextView::Withhold => false,
            },
        };
        if !shown {
            self.withheld.insert("completion".to_owned());
            splice.remove(value);
        }
        Ok(())
    }

    /// A default, a choice or an example of a form: by the view of the field that it is asked for. What is not whole
    /// any more is taken away with its keyword, so that a form stays a form.
    pub(super) fn schema_value<'t>(
        &mut self,
        place: &Place<'t>,
        of: FieldClass,
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        let value = place.value;
        match of {
            FieldClass::NotPhi => {}
            FieldClass::Phi(field) => match (self.call.permit.views.of(field), value.kind()) {
                (View::Token, Kind::Array) => {
                    for choice in value.children() {
                        self.phi(choice, field, splice)?;
                    }
                }
                _ => self.phi(value, field, splice)?,
            },
            FieldClass::Unlisted => {
                let hidden = match self.call.permit.views.unlisted_results() {
                    Unlisted::Reveal => return self.below_root(value, of, false, 0, splice),
                    Unlisted::Withhold => true,
                    Unlisted::Detect => {
                        let text = String::from_utf8_lossy(value.raw());
                        self.detected(&text).is_some()
                    }
                };
                if hidden {
                    self.withheld.insert("requestedSchema".to_owned());
                    splice.remove(value);
                }
            }
        }
        Ok(())
    }

    /// How many there are in all tells of those that were left out.
    pub(super) fn counts<'t>(
        &self,
        result: Value<'t>,
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        let is_completion = matches!(self.call.method, Method::Completion(_));
        if !is_completion || self.withheld.is_empty() {
            return Ok(());
        }
        let Some(completion) = member(result, "completion")? else {
            return Ok(());
        };
        for name in ["total", "hasMore"] {
            if let Some(count) = member(completion, name)? {
                splice.remove(count);
            }
        }
        Ok(())
    }
}
