//! The lists: what the principal may not call is not in them, and a tool's schemas say what views do to its output.
//!
//! The filter asks the same decision that the call obeys. Everything that stays is byte for byte the upstream's,
//! except for the words about a resource, which are text like any other, and that a schema which a view, a token or a null would break is widened (`schema`).

use safeguard_policy::decide::ListedViews;
use safeguard_policy::field::TextView;
use safeguard_wire::json::{Kind, Splice, Tree, Value, quote};

use super::answer::WITHHELD_TEXT;
use super::schema::{Side, Widening};
use super::shapes::Shapes;
use super::{RewriteError, Workshop};
use crate::era::private;

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

/// Filters one list answer. `listed` gives the views of an item, by its name and as it stands, that the principal may call, none for
/// any other.
///
/// # Errors
/// When the answer is not a list, or is ambiguous.
pub fn filter(
    tree: &Tree<'_>,
    list: List,
    workshop: &Workshop,
    shapes: &Shapes,
    listed: impl Fn(&str, Value<'_>) -> Option<ListedViews>,
) -> Result<Vec<u8>, RewriteError> {
    let Some(result) = member(tree.root(), "result")? else {
        return Ok(tree.text().to_vec());
    };
    let mut splice = Splice::new(tree);
    private(result, &mut splice)?;
    if let Some(items) = member(result, list.member())? {
        for item in items.children() {
            let name = member(item, list.identifier())?.and_then(Value::string);
            let name = name.ok_or(RewriteError::Upstream("nameless_item"))?;
            let Some(shown) = listed(&name, item) else {
                splice.remove(item);
                continue;
            };
            if list == List::Resources {
                words(item, &shown, workshop, &mut splice);
            }
            if list == List::Tools {
                let output = member(item, "outputSchema")?;
                let input = member(item, "inputSchema")?;
                shapes.learn(&name, output, input);
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

/// What is said of a resource in words names whom it is about (`Jane Doe, summary`): it is text, and obeys the rule's
/// view of text. A name must be there, so it is replaced; a title and a description go.
fn words<'t>(item: Value<'t>, shown: &ListedViews, workshop: &Workshop, splice: &mut Splice<'t>) {
    if shown.text == TextView::Reveal {
        return;
    }
    for member in item.children() {
        let name = member.key().unwrap_or_default();
        if ["uri", "mimeType", "size"].contains(&name.as_ref()) && is_scalar(member) {
            continue;
        }
        let judged = match (shown.text, member.string()) {
            (TextView::Detect, Some(text)) => workshop.prose.judge(&text, &shown.views).text,
            _ => Some(WITHHELD_TEXT.to_owned()),
        };
        match judged {
            None => {}
            Some(text) if name == "name" => splice.replace(member, quote(&text)),
            Some(text) if shown.text == TextView::Detect && member.kind() == Kind::String => {
                splice.replace(member, quote(&text));
            }
            Some(_) => splice.remove(member),
        }
    }
}

fn is_scalar(value: Value<'_>) -> bool {
    !matches!(value.kind(), Kind::Array | Kind::Object)
}
