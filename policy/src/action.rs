//! What is asked for: a method, tool, resource or prompt as typed facts.

use std::fmt;

use serde_json::Value;

use crate::path::Path;

/// The arguments of a call, read only as far as its rule needs: most rules ask for a patient, few have a condition.
pub trait Arguments: fmt::Debug {
    /// All of them, for a condition; null where they are ambiguous, so that whatever reads them denies.
    fn value(&self) -> &Value;

    /// Whether a path below them leads to somebody: to one value at least, and each a text that is not empty, or a
    /// number.
    fn names_somebody(&self, path: &Path) -> bool;

    /// The texts (or numbers' digits) that a path below them leads to; none where anything else is among them.
    fn names(&self, path: &Path) -> Option<Vec<String>>;
}

impl Arguments for Value {
    fn value(&self) -> &Value {
        self
    }

    fn names_somebody(&self, path: &Path) -> bool {
        let found = path.select(self);
        let is_name = |value: &&Value| match value {
            Value::String(text) => !text.is_empty(),
            Value::Number(_) => true,
            _ => false,
        };
        !found.is_empty() && found.iter().all(is_name)
    }

    fn names(&self, path: &Path) -> Option<Vec<String>> {
        let found = path.select(self).into_iter();
        found
            .map(|value| match value {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            })
            .collect()
    }
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub enum Action<'a> {
    /// `tools/call`
    Tool {
        /// `params.name`
        name: &'a str,
        /// `params.arguments`; null or an empty object where the call has none.
        args: &'a dyn Arguments,
    },
    /// `resources/read` (and a subscription to it).
    Resource {
        /// `params.uri`
        uri: &'a str,
    },
    /// `prompts/get`
    Prompt {
        /// `params.name`
        name: &'a str,
        /// `params.arguments`
        args: &'a dyn Arguments,
    },
    /// A subscription to a resource, or its end: the method's own rule and the resource's must both permit.
    Subscription {
        /// `resources/subscribe`, `resources/unsubscribe`, or `notifications/resources/updated`.
        method: &'a str,
        /// `params.uri`
        uri: &'a str,
        /// `params`
        params: &'a dyn Arguments,
    },
    /// Any other method, whoever sends it.
    Method {
        /// The method.
        name: &'a str,
        /// `params`, which the rules of methods call `args`.
        params: &'a dyn Arguments,
    },
}

/// One item of a list, judged by the same decision with its arguments left open.
#[derive(Debug, Clone, Copy)]
pub enum Listed<'a> {
    /// A tool's name in `tools/list`.
    Tool(&'a str),
    /// A URI in `resources/list`.
    Resource(&'a str),
    /// A `uriTemplate` in `resources/templates/list`.
    Template(&'a str),
    /// A prompt's name in `prompts/list`.
    Prompt(&'a str),
    /// A method that a rule permits; in no list, but what goes on is decided by it again.
    Method(&'a str),
}
