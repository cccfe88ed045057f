//! The lists: what the principal may not call is not in them, and a tool's schemas say what views do to its output.
//!
//! The filter asks the same decision that the call obeys. Everything that stays is byte for byte the upstream's,
//! except that a schema which a view, a token or a null would break is widened (`anyOf`).

use safeguard_policy::field::{Unlisted, View, Views};
use safeguard_policy::policy::FieldClass;
use safeguard_wire::json::{Kind, Splice, Tree, Value};

use super::shapes::Shapes;
use super::{RewriteError, Workshop};

/// Which list is filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// `tools/list`
    Tools,
    /// `resources/list`
    Resources,
    /// `resources/templates/list`
    Templates,
    /// `prompts/list`
    Prompts,
}

impl List {
    /// The method whose answer this is.
    pub fn of_method(method: &str) -> Option<Self> {
        Some(match method {
            "tools/list" => Self::Tools,
            "resources/list" => Self::Resources,
            "resources/templates/list" => Self::Templates,
            "prompts/list" => Self::Prompts,
            _ => return None,
        })
    }

    fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
            Self::Prompts => "prompts",
        }
    }

    fn identifier(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }
}

/// Filters one list answer. `listed` gives the views of an item that the principal may call, none for any other.
///
/// # Errors
/// When the answer is not a list, or is ambiguous.
pub fn filter<V>(
    tree: &Tree<'_>,
    list: List,
    workshop: &Workshop,
    shapes: &Shapes,
    listed: impl Fn(&str) -> Option<V>,
) -> Result<Vec<u8>, RewriteError>
where
    V: std::ops::Deref<Target = Views>,
{
    let Some(result) = member(tree.root(), "result")? else {
        return Ok(tree.text().to_vec());
    };
    let mut splice = Splice::new(tree);
    if let Some(items) = member(result, list.member())? {
        for item in items.children() {
            let name = member(item, list.identifier())?.and_then(Value::string);
            let name = name.ok_or(RewriteError::Upstream("nameless_item"))?;
            let Some(views) = listed(&name) else {
                splice.remove(item);
                continue;
            };
            if list == List::Tools {
                let output = member(item, "outputSchema")?;
                shapes.learn(&name, output);
                Widening {
                    views: &views,
                    workshop,
                    splice: &mut splice,
                }
                .tool(item, output)?;
            }
        }
    }
    Ok(splice.apply())
}

fn member<'t>(value: Value<'t>, name: &str) -> Result<Option<Value<'t>>, RewriteError> {
    value
        .get(name)
        .map_err(|_| RewriteError::Upstream("duplicate_members"))
}

/// Widens schemas where this caller's views would break them.
struct Widening<'w, 't> {
    views: &'w Views,
    workshop: &'w Workshop,
    splice: &'w mut Splice<'t>,
}

/// How one place of a schema must be widened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Widen {
    Not,
    Null,
    StringOrNull,
}

impl<'t> Widening<'_, 't> {
    fn tool(&mut self, item: Value<'t>, output: Option<Value<'t>>) -> Result<(), RewriteError> {
        if let Some(schema) = output {
            self.schema(schema, true);
        }
        if let Some(schema) = member(item, "inputSchema")? {
            self.schema(schema, false);
        }
        Ok(())
    }

    /// Walks every `properties` of a schema, wherever it stands (`$defs`, `anyOf`, `items`, …).
    fn schema(&mut self, schema: Value<'t>, output: bool) {
        for value in schema.descendants() {
            if value.kind() != Kind::Object || value.key().as_deref() != Some("properties") {
                continue;
            }
            for property in value.children() {
                let Some(name) = property.key() else { continue };
                let class = self.workshop.policy.classify(&name);
                // An unlisted object or array is entered, not withheld.
                if class != FieldClass::Unlisted || !is_container(property) {
                    self.put(property, self.widening(class, output));
                }
                if output && class == FieldClass::Unlisted {
                    self.elements(property);
                }
            }
        }
    }

    fn widening(&self, class: FieldClass, output: bool) -> Widen {
        match (class, output) {
            (FieldClass::Phi(field), true) => match self.views.of(field) {
                View::Reveal => Widen::Not,
                View::Mask(_) | View::Token => Widen::StringOrNull,
                View::Withhold => Widen::Null,
            },
            // A token handed back must fit the input's schema, whatever its pattern or format.
            (FieldClass::Phi(field), false) if self.views.of(field) == View::Token => {
                Widen::StringOrNull
            }
            (FieldClass::Unlisted, true) if self.views.unlisted_results() == Unlisted::Withhold => {
                Widen::Null
            }
            _ => Widen::Not,
        }
    }

    /// An unlisted array's withheld elements become null, in arrays of arrays too.
    fn elements(&mut self, property: Value<'t>) {
        if self.views.unlisted_results() != Unlisted::Withhold {
            return;
        }
        let mut array = property;
        while let Ok(Some(items)) = array.get("items") {
            if !is_container(items) {
                self.put(items, Widen::Null);
            }
            if let Ok(Some(several)) = array.get("prefixItems") {
                for item in several.children().filter(|item| !is_container(*item)) {
                    self.put(item, Widen::Null);
                }
            }
            array = items;
        }
    }

    fn put(&mut self, schema: Value<'t>, widen: Widen) {
        let after: &[u8] = match widen {
            Widen::Not => return,
            Widen::Null => br#",{"type":"null"}]}"#,
            Widen::StringOrNull => br#",{"type":["string","null"]}]}"#,
        };
        self.splice.wrap(schema, br#"{"anyOf":["#, after);
    }
}

/// Whether a schema describes objects or arrays and says so itself.
fn is_container(schema: Value<'_>) -> bool {
    let kind = schema.get("type").ok().flatten().and_then(Value::string);
    matches!(kind.as_deref(), Some("object" | "array"))
}
