//! Findings for people (text with a caret), programs (JSON) and code hosts (SARIF 2.1.0).

mod machine;
mod text;

pub use machine::{to_json, to_sarif};
pub use text::{Colour, render};

#[cfg(test)]
mod tests;
