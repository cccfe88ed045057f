//! What is asked for: a method, tool, resource or prompt as typed facts.

use serde_json::Value;

/// One request.
#[derive(Debug, Clone, Copy)]
pub enum Action<'a> {
    /// `tools/call`
    Tool {
        /// `params.name`
        name: &'a str,
        /// `params.arguments`; null or an empty object where the call has none.
        args: &'a Value,
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
        args: &'a Value,
    },
    /// Any other method, by its name.
    Method(&'a str),
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
}
