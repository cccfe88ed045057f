//! What the last `tools/list` said about each tool: of its output, so that what is withheld still fits it, and of the
//! arguments that headers mirror.
//!
//! A withheld member is left out where the output schema lets it, else it is null, and then the schema that the
//! client was shown says that it may be (the `lists` module sees to that).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::RwLock;
use safeguard_wire::json::{Kind, Value};
use safeguard_wire::mirror::Annotations;

/// How many tools' shapes are kept. A policy names far fewer; only listed tools that it names are kept.
pub const SHAPES_MAX: usize = 4096;
/// How many required names of one schema are kept; beyond it, every member counts as required.
pub const REQUIRED_MAX: usize = 4096;

/// Whether a member may be absent from a tool's structured output.
#[derive(Debug, Clone, Default)]
pub enum Absence {
    /// No list was seen yet: nothing may be absent.
    #[default]
    Unknown,
    /// The tool has no output schema (or the answer is no tool's): anything may be absent.
    Anything,
    /// Anything but these names.
    AllBut(Arc<HashSet<String>>),
}

impl Absence {
    /// Whether a member of this name may be left out.
    pub fn allows(&self, name: &str) -> bool {
        match self {
            Self::Unknown => false,
            Self::Anything => true,
            Self::AllBut(required) => !required.contains(name),
        }
    }
}

/// One tool as last listed.
#[derive(Debug)]
struct Shape {
    absence: Absence,
    mirrored: Arc<Annotations>,
}

/// The shapes of the upstream's tools, as last listed.
#[derive(Debug, Default)]
pub struct Shapes(RwLock<HashMap<String, Shape>>);

impl Shapes {
    /// What may be absent from this tool's output.
    pub fn of(&self, tool: &str) -> Absence {
        let shapes = self.0.read();
        let shape = shapes.get(tool);
        shape.map(|shape| shape.absence.clone()).unwrap_or_default()
    }

    /// Whether a list has shown this tool.
    pub fn knows(&self, tool: &str) -> bool {
        self.0.read().contains_key(tool)
    }

    /// Which arguments of this tool headers mirror; none where no list has shown it.
    pub fn mirrored(&self, tool: &str) -> Option<Arc<Annotations>> {
        let shapes = self.0.read();
        shapes.get(tool).map(|shape| Arc::clone(&shape.mirrored))
    }

    /// Keeps what a listed tool's `outputSchema` requires, and what its `inputSchema` says of headers. Annotations that
    /// are not valid say nothing: clients drop such a tool (MCP 2026-07-28, Custom Headers from Tool Parameters).
    pub fn learn(&self, tool: &str, output_schema: Option<Value<'_>>, input: Option<Value<'_>>) {
        let absence = match output_schema {
            None => Absence::Anything,
            Some(schema) => required(schema),
        };
        let mirrored = input.and_then(|schema| Annotations::of_schema(schema).ok());
        let shape = Shape {
            absence,
            mirrored: Arc::new(mirrored.unwrap_or_default()),
        };
        let mut shapes = self.0.write();
        if shapes.len() < SHAPES_MAX || shapes.contains_key(tool) {
            shapes.insert(tool.to_owned(), shape);
        }
    }
}

/// Every name that any `required` of the schema holds, at any depth, and what depends on other members: a superset, so
/// that null is chosen in doubt.
fn required(schema: Value<'_>) -> Absence {
    let mut names = HashSet::new();
    for value in schema.descendants() {
        match value.key().as_deref() {
            Some("required") => names.extend(strings(value)),
            Some("dependentRequired" | "dependencies") => {
                names.extend(value.children().flat_map(strings));
            }
            _ => {}
        }
        if names.len() > REQUIRED_MAX {
            return Absence::Unknown;
        }
    }
    Absence::AllBut(Arc::new(names))
}

/// The strings of an array; none of anything else.
fn strings(value: Value<'_>) -> impl Iterator<Item = String> + '_ {
    let list = (value.kind() == Kind::Array).then_some(value);
    list.into_iter()
        .flat_map(Value::children)
        .filter_map(Value::string)
        .map(std::borrow::Cow::into_owned)
}
