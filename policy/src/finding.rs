//! What the loader has to say about a configuration: severity, stable code, place, message and fix.
//!
//! A finding never holds a value that came from the environment or a file, and its excerpt of the source has
//! literal secrets blotted out.

use std::fmt;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing is refused; the exit status stays 0.
    Warning,
    /// There is no [`Configuration`](crate::Configuration).
    Error,
}

impl Severity {
    /// `warning` or `error`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// The stable codes that other crates and scripts may compare with; see `docs` of each.
pub mod codes {
    /// The text is no YAML, or YAML that is not accepted (anchors, tags, several documents, too deep).
    pub const SYNTAX: &str = "syntax";
    /// A key that the table does not know.
    pub const UNKNOWN_KEY: &str = "unknown_key";
    /// A value given twice, in one source or in two.
    pub const GIVEN_TWICE: &str = "given_twice";
    /// A key that must be there is not.
    pub const MISSING_KEY: &str = "missing_key";
    /// A number where a list belongs, and the like.
    pub const WRONG_TYPE: &str = "wrong_type";
    /// The right type, but a word, number or form that is not allowed.
    pub const BAD_VALUE: &str = "bad_value";
    /// A variable that is not set, or a file that cannot be read.
    pub const UNSET: &str = "unset";
    /// A value in a file that `check` does not open, on which too much depends to build a configuration.
    pub const UNOPENED: &str = "unopened";
    /// `${` that is not closed or names nothing.
    pub const BAD_INTERPOLATION: &str = "bad_interpolation";
    /// A reserved key or value. As an error it would restrict or protect; as a warning it is inert.
    pub const NOT_BUILT: &str = "not_built";
    /// An output keeps nobody from deleting what it holds.
    pub const UNLOCKED: &str = "unlocked";
    /// Events are kept for less than the law's six years, for a reason that is given.
    pub const SHORT_RETENTION: &str = "short_retention";
    /// A sink lacks its credential: a warning here, an error for `run`.
    pub const SINK_CREDENTIAL: &str = "sink_credential";
    /// A protection is switched off outside `profile: development` on a loopback listener.
    pub const UNSAFE_PROFILE: &str = "unsafe_profile";
    /// Two settings that cannot both hold.
    pub const CONTRADICTION: &str = "contradiction";
    /// A key or secret that does not decode or is too short.
    pub const BAD_KEY: &str = "bad_key";
    /// A secret written into the file itself.
    pub const SECRET_IN_FILE: &str = "secret_in_file";
    /// Two key ids that share their eight-byte short form.
    pub const KID_COLLISION: &str = "kid_collision";
    /// A role that is not defined.
    pub const UNDEFINED_ROLE: &str = "undefined_role";
    /// A field or group that is not defined.
    pub const UNDEFINED_FIELD: &str = "undefined_field";
    /// Two names that are the same once case and separators are ignored.
    pub const NAME_CLASH: &str = "name_clash";
    /// Two different views or masks of one field.
    pub const VIEW_CONFLICT: &str = "view_conflict";
    /// A purpose outside the accepted list.
    pub const UNKNOWN_PURPOSE: &str = "unknown_purpose";
    /// A `when` that does not compile.
    pub const BAD_CONDITION: &str = "bad_condition";
    /// A path that is none, or begins where it must not.
    pub const BAD_PATH: &str = "bad_path";
    /// A URI template that is not matched unambiguously.
    pub const BAD_TEMPLATE: &str = "bad_template";
    /// A rule under `methods` for what has none there.
    pub const UNKNOWN_METHOD: &str = "unknown_method";
    /// A rule that can never permit anything.
    pub const DEAD_RULE: &str = "dead_rule";
    /// A rule that permits more than anybody has seen.
    pub const WIDE_RULE: &str = "wide_rule";
    /// A PHI operation whose patient is not named.
    pub const NO_PATIENT: &str = "no_patient";
    /// An accepted risk, which `exceptions` has.
    pub const EXCEPTION: &str = "exception";
    /// A mask on a field that it says nothing about.
    pub const MASK_MISMATCH: &str = "mask_mismatch";
    /// A transport that is weaker than it looks.
    pub const WEAK_TRANSPORT: &str = "weak_transport";
    /// A searchable field whose equal values tell more than the search needs.
    pub const EQUAL_VALUES: &str = "equal_values";
    /// A value that the destruction of its patient's key does not reach.
    pub const NOT_SHREDDED: &str = "not_shredded";
    /// `check --online`: a file that the configuration names can't be used.
    pub const UNUSABLE_FILE: &str = "unusable_file";
    /// `check --online`: a server that the configuration names does not answer, or refuses.
    pub const UNREACHABLE: &str = "unreachable";
}

/// Another place that belongs to a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// The source's name.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// What is there.
    pub message: String,
}

/// One thing to say about the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Error or warning.
    pub severity: Severity,
    /// One of [`codes`].
    pub code: &'static str,
    /// The source's name; empty if there is no source at all.
    pub file: String,
    /// From 1; 0 if the finding is about the whole.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// Characters to underline, at least 1.
    pub width: u32,
    /// The source's line, literal secrets blotted out; empty if there is none.
    pub excerpt: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub fix: Option<String>,
    /// Other places.
    pub related: Vec<Related>,
}

impl Finding {
    /// Makes an error of a warning: what `check` warns of and `run` refuses.
    #[must_use]
    pub fn raised(mut self) -> Self {
        self.severity = Severity::Error;
        self
    }

    /// Whether it is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        }
        write!(
            f,
            "{}[{}]: {}",
            self.severity.as_str(),
            self.code,
            self.message
        )
    }
}
