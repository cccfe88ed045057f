//! The lists: what the principal may not call is not in them, and a tool's schemas say what views do to its output.
//!
//! The filter asks the same decision that the call obeys. Everything that stays is byte for byte the upstream's,
//! except that a schema which a view, a token or a null would break is widened (`schema`).

use safeguard_policy::decide::ListedViews;
use safeguard_wire::json::{Splice, Tree, Value};

use super::schema::{Side, Widening};
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
pub fn filter(
    tree: &Tree<'_>,
    list: List,
    workshop: &Workshop,
    shapes: &Shapes,
    listed: impl Fn(&str) -> Option<ListedViews>,
) -> Result<Vec<u8>, RewriteError> {
    let Some(result) = member(tree.root(), "result")? else {
        return Ok(tree.text().to_vec());
    };
    let mut splice = Splice::new(tree);
    if let Some(items) = member(result, list.member())? {
        for item in items.children() {
            let name = member(item, list.identifier())?.and_then(Value::string);
            let name = name.ok_or(RewriteError::Upstream("nameless_item"))?;
            let Some(shown) = listed(&name) else {
                splice.remove(item);
                continue;
            };
            if list == List::Tools {
                let output = member(item, "outputSchema")?;
                shapes.learn(&name, output);
                let input = member(item, "inputSchema")?;
                for (side, schema) in [(Side::Output, output), (Side::Input, input)] {
                    let Some(schema) = schema else { continue };
                    let widening = Widening {
                        shown: &shown,
                        workshop,
                        splice: &mut splice,
                        side,
                    };
                    widening.root(schema);
                }
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
