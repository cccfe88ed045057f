//! A tool's schemas, widened where this caller's views would break them.
//!
//! Clients validate `structuredContent` against `outputSchema` and arguments against `inputSchema` (JSON Schema
//! 2020-12, draft-07 read as well), so the list must say what the views do: a withheld value may be null, a mask or a token is a string whatever
//! the field's type, pattern, format, enum or length. Schemas are walked by keyword, so that a `default`, a `const`
//! or a property that is itself called `properties` is never taken for a schema.
//!
//! Some keywords turn around what stands below them: of `oneOf` two branches may fit once both are wider, `not` and
//! `if` may change sides, `uniqueItems` and `contains` count values of which several are now null, `minProperties`
//! members of which some are left out. Where something
//! below them was widened they are widened too, or taken away. A schema only ever becomes more permissive.

use safeguard_policy::decide::ListedViews;
use safeguard_policy::field::{Unlisted, View};
use safeguard_policy::policy::{FieldClass, FieldId};
use safeguard_wire::json::{Kind, Splice, Value};

use super::Workshop;
use super::show::is_name;

/// The member of a property's schema that names the header which mirrors it (MCP 2026-07-28).
const MIRRORED: &str = "x-mcp-header";

/// Which of a tool's schemas is walked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// What the client may send.
    Input,
    /// What the client gets.
    Output,
}

/// Widens one schema.
pub(super) struct Widening<'w, 't> {
    pub shown: &'w ListedViews,
    pub workshop: &'w Workshop,
    pub splice: &'w mut Splice<'t>,
    pub side: Side,
}

/// How one place of a schema must be widened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Widen {
    Not,
    Null,
    String,
    StringOrNull,
}

/// Whether anything at or below a place was widened.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Touched(bool);

impl std::ops::BitOrAssign for Touched {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl<'t> Widening<'_, 't> {
    /// Widens the schema of a whole tool. Its root stays an object's, as the protocol wants it.
    pub(super) fn root(mut self, schema: Value<'t>) {
        self.schema(schema, FieldClass::Unlisted);
    }

    /// Walks a schema whose values have the class `of` where they have no name of their own.
    fn schema(&mut self, schema: Value<'t>, of: FieldClass) -> Touched {
        let mut touched = Touched::default();
        if schema.kind() != Kind::Object {
            return touched;
        }
        for keyword in schema.children() {
            let name = keyword.key().unwrap_or_default();
            touched |= match name.as_ref() {
                "properties" => each(keyword, |property| self.property(property)),
                "patternProperties" => each(keyword, |values| self.unknown_names(values)),
                "additionalProperties" | "unevaluatedProperties" => self.unknown_names(keyword),
                "items" | "additionalItems" | "unevaluatedItems" | "prefixItems" => {
                    self.elements(keyword, of)
                }
                "allOf" | "anyOf" => each(keyword, |branch| self.schema(branch, of)),
                "oneOf" => self.one_of(keyword, of),
                "then" | "else" => self.schema(keyword, of),
                "not" | "if" | "contains" => self.turning(keyword, of),
                "$defs" | "definitions" | "dependentSchemas" | "dependencies" => {
                    each(keyword, |inner| self.schema(inner, FieldClass::Unlisted))
                }
                _ => Touched::default(),
            };
        }
        if self.side == Side::Output && (touched.0 || self.nulls(of)) {
            self.uncount(schema);
        }
        touched
    }

    /// A named value.
    fn property(&mut self, property: Value<'t>) -> Touched {
        let name = property.key().unwrap_or_default();
        let class = self.workshop.policy.classify(&name);
        let widen = match class {
            FieldClass::Phi(field) => self.field(field),
            // Where a place may end, a field may stand.
            _ if self.may_be_a_field(&name) => match self.side {
                Side::Input => Widen::String,
                Side::Output => Widen::StringOrNull,
            },
            // An unlisted object or array is entered, unless its name may itself be a value.
            FieldClass::Unlisted
                if self.nulls(class) && !(is_container(property) && is_name(&name)) =>
            {
                self.leaf()
            }
            FieldClass::Unlisted | FieldClass::NotPhi => Widen::Not,
        };
        let mut touched = self.put(property, widen);
        if !matches!(class, FieldClass::Phi(_)) {
            touched |= self.schema(property, class);
        }
        touched
    }

    fn field(&self, field: FieldId) -> Widen {
        match (self.shown.views.of(field), self.side) {
            (View::Reveal, _) => Widen::Not,
            (View::Mask(_) | View::Token, Side::Output) => Widen::StringOrNull,
            (View::Withhold, Side::Output) => Widen::Null,
            // A token handed back must fit the input's schema.
            (View::Token, Side::Input) => Widen::String,
            (View::Mask(_) | View::Withhold, Side::Input) => Widen::Not,
        }
    }

    /// Whether a place of a field that this caller does not see as it is may end at a member of this name.
    fn may_be_a_field(&self, member: &str) -> bool {
        let places = self.workshop.policy.places().all();
        let mut ending = places
            .chain(self.shown.places.iter())
            .filter(|place| place.may_end_at(member));
        ending.any(|place| match place.class {
            FieldClass::Phi(field) => self.field(field) != Widen::Not,
            FieldClass::NotPhi | FieldClass::Unlisted => false,
        })
    }

    /// Values under names that the schema does not know: any field may be among them.
    fn unknown_names(&mut self, values: Value<'t>) -> Touched {
        let mut fields = self.workshop.policy.fields();
        let changed = fields.any(|(field, _)| match self.side {
            Side::Output => self.shown.views.of(field) != View::Reveal,
            Side::Input => self.shown.views.of(field) == View::Token,
        });
        let widen = match self.side {
            Side::Output if changed || self.nulls(FieldClass::Unlisted) => Widen::StringOrNull,
            Side::Input if changed => Widen::String,
            Side::Output | Side::Input => Widen::Not,
        };
        let mut touched = self.put(values, widen);
        touched |= self.schema(values, FieldClass::Unlisted);
        touched
    }

    /// The schema of an array's elements, or one for each.
    fn elements(&mut self, keyword: Value<'t>, of: FieldClass) -> Touched {
        if keyword.kind() == Kind::Array {
            return each(keyword, |element| self.element(element, of));
        }
        self.element(keyword, of)
    }

    /// An element has no name: it is judged as its array is. Withheld, it becomes null.
    fn element(&mut self, element: Value<'t>, of: FieldClass) -> Touched {
        let widen = if self.nulls(of) && !is_container(element) {
            self.leaf()
        } else {
            Widen::Not
        };
        let mut touched = self.put(element, widen);
        touched |= self.schema(element, of);
        touched
    }

    /// Of wider branches more than one may fit: then any will do.
    fn one_of(&mut self, branches: Value<'t>, of: FieldClass) -> Touched {
        let touched = each(branches, |branch| self.schema(branch, of));
        if touched.0 {
            self.splice.wrap(branches, br#"[{"anyOf":"#, b"}]");
        }
        touched
    }

    /// What is true of the clear value may be false of the one that is shown.
    fn turning(&mut self, keyword: Value<'t>, of: FieldClass) -> Touched {
        let mut touched = self.schema(keyword, of);
        touched |= Touched(keyword.is_named("contains") && self.nulls(of));
        if touched.0 {
            self.splice.remove(keyword);
        }
        touched
    }

    /// Takes away what counts members that may be absent, values that may be equal now, or what `contains` counted.
    fn uncount(&mut self, schema: Value<'t>) {
        for keyword in schema.children() {
            let counts = ["uniqueItems", "minContains", "maxContains", "minProperties"];
            if counts.iter().any(|name| keyword.is_named(name)) {
                self.splice.remove(keyword);
            }
        }
    }

    /// What becomes of a leaf that is named nowhere: null, or under `detect` perhaps another text.
    fn leaf(&self) -> Widen {
        match self.shown.views.unlisted_results() {
            Unlisted::Detect => Widen::StringOrNull,
            Unlisted::Reveal | Unlisted::Withhold => Widen::Null,
        }
    }

    /// Whether values of this class may be null in place of what they are.
    fn nulls(&self, of: FieldClass) -> bool {
        self.side == Side::Output
            && of == FieldClass::Unlisted
            && self.shown.views.unlisted_results() != Unlisted::Reveal
    }

    fn put(&mut self, schema: Value<'t>, widen: Widen) -> Touched {
        let after: &[u8] = match widen {
            Widen::Not => return Touched(false),
            // `true` allows everything, and what `false` stands for never comes; but a member may now be absent.
            _ if schema.kind() != Kind::Object => return Touched(true),
            Widen::Null => br#",{"type":"null"}]}"#,
            Widen::String => br#",{"type":"string"}]}"#,
            Widen::StringOrNull => br#",{"type":["string","null"]}]}"#,
        };
        let before = match schema.get(MIRRORED) {
            Ok(Some(annotation)) => self.hoisted(schema, annotation),
            Ok(None) | Err(_) => Vec::new(),
        };
        self.splice.wrap(
            schema,
            &[b"{", before.as_slice(), br#""anyOf":["#].concat(),
            after,
        );
        Touched(true)
    }

    /// What says that a header mirrors an argument, taken from its schema so that it stands beside the choice: it must
    /// be reached through `properties` alone, at a property of a primitive type. Where a token is of another type than
    /// the argument, nothing is said to the client, and the sidecar mirrors in its stead.
    fn hoisted(&mut self, schema: Value<'t>, annotation: Value<'t>) -> Vec<u8> {
        self.splice.remove(annotation);
        let kind = schema.get("type").ok().flatten().and_then(Value::string);
        match kind.as_deref() {
            Some("string") => {
                let name = annotation.raw();
                [br#""type":"string","x-mcp-header":"#, name, b","].concat()
            }
            _ => Vec::new(),
        }
    }
}

/// Walks each member or element of a keyword.
fn each<'t>(keyword: Value<'t>, mut walk: impl FnMut(Value<'t>) -> Touched) -> Touched {
    let mut touched = Touched::default();
    for inner in keyword.children() {
        touched |= walk(inner);
    }
    touched
}

/// Whether a schema describes objects or arrays and says so itself.
fn is_container(schema: Value<'_>) -> bool {
    let kind = schema.get("type").ok().flatten().and_then(Value::string);
    matches!(kind.as_deref(), Some("object" | "array"))
}
