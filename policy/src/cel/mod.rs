//! Conditions: the part of CEL that a `when` needs, bounded in every direction.
//!
//! Supported as the CEL specification defines it: literals, lists, maps, `args`, `claims` and `uri` with selection and
//! indexing, `! - * / % + == != < <= > >= in && || ?:`, `has`, `all`, `exists`, `exists_one`, `filter`, `map`, `size`,
//! `contains`, `startsWith`, `endsWith`, `matches` (a literal pattern, linear time), `int`, `string`. Anything else
//! doesn't compile, so nothing is found out at the first call.
//!
//! Our own evaluator, because a condition must be bounded in *steps*, must not panic, and must be able to leave the
//! arguments of a call open for lists: general CEL crates offer none of the three.

mod eval;
mod lex;
mod parse;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;

use serde_json::Value;

use parse::Expr;

/// Bounds of conditions.
pub mod limits {
    /// Bytes of a condition's text.
    pub const SOURCE_BYTES_MAX: usize = 4096;
    /// Nodes of its syntax tree.
    pub const NODES_MAX: usize = 512;
    /// Levels of its syntax tree.
    pub const DEPTH_MAX: usize = 32;
    /// Macros (`all`, `exists`, …) within each other.
    pub const NESTED_MACROS_MAX: usize = 2;
    /// Steps of one evaluation: a node, a list element or [`BYTES_PER_STEP`] bytes of text each.
    pub const STEPS_MAX: u32 = 20_000;
    /// Bytes of text that cost one step.
    pub const BYTES_PER_STEP: usize = 32;
    /// Bytes of a text that `matches` looks at; a longer one is an error.
    pub const MATCHED_BYTES_MAX: usize = 4096;
    /// Bytes of a compiled pattern.
    pub const PATTERN_BYTES_MAX: usize = 64 * 1024;
}

/// A condition, compiled.
#[derive(Debug)]
pub struct Condition {
    expr: Expr,
    text: String,
}

/// What a condition may look at; `None` is open: not known yet.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// `args`
    pub args: Option<&'a Value>,
    /// `claims`
    pub claims: Option<&'a Value>,
    /// `uri`
    pub uri: Option<&'a Value>,
}

/// What a condition came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It depends on facts that are open.
    Open,
}

/// Why a text does not compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    /// Characters before the place.
    pub at: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CompileError {}

/// Why an evaluation has no result. All of them deny.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// A name or key that is not there.
    Absent,
    /// An operand of a type that the operator does not take, or a result that is no bool.
    WrongType,
    /// A number out of its range, or a division by zero.
    Arithmetic,
    /// More than [`limits::STEPS_MAX`] steps.
    OutOfSteps,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "a name in the condition is absent",
            Self::WrongType => "a value in the condition has the wrong type",
            Self::Arithmetic => "a number in the condition left its range",
            Self::OutOfSteps => "the condition takes too many steps",
        })
    }
}

impl std::error::Error for Failure {}

impl Condition {
    /// Compiles a text.
    ///
    /// # Errors
    /// Where and why it does not compile, or which of [`limits`] it exceeds.
    pub fn compile(text: &str) -> Result<Self, CompileError> {
        let tokens = lex::tokens(text)?;
        Ok(Self {
            expr: parse::parse(&tokens)?,
            text: text.to_owned(),
        })
    }

    /// The condition as it is written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Evaluates it: at most [`limits::STEPS_MAX`] steps, no panic.
    ///
    /// # Errors
    /// An absent name, a wrong type, an overflow, too many steps: the caller denies.
    pub fn evaluate(&self, facts: &Facts<'_>) -> Result<Truth, Failure> {
        eval::truth(&self.expr, facts)
    }

    /// Whether it reads anything below a root (`args`, `claims`, `uri`).
    #[must_use]
    pub fn reads(&self, root: &str) -> bool {
        self.expr.reads(root)
    }
}
