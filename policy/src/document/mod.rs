//! What the operator wrote: YAML with the place of every key and value, several sources merged by key, variables put
//! in, and everything held against the one table of known keys.

pub(crate) mod check;
pub(crate) mod interpolate;
pub(crate) mod keys;
pub(crate) mod merge;
pub(crate) mod read;
pub(crate) mod report;
pub(crate) mod tree;
pub(crate) mod yaml;

/// One text of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// How findings name it: usually the path.
    pub name: String,
    /// The YAML.
    pub text: String,
}

/// Where `${…}` comes from. The loader itself opens nothing.
pub trait Environment {
    /// A variable's value; `None` if it is not set.
    fn var(&self, name: &str) -> Option<String>;

    /// A file's text; `Ok(None)` if files are not opened (`check`): what stands there is then not looked at.
    ///
    /// # Errors
    /// Why the file cannot be read, without its contents.
    fn file(&self, path: &str) -> Result<Option<String>, String>;
}

/// Bounds of a document.
pub mod limits {
    /// Bytes of one source.
    pub const SOURCE_BYTES_MAX: usize = 1024 * 1024;
    /// Levels of mappings and lists.
    pub const DEPTH_MAX: usize = 24;
    /// Scalars, lists and mappings of one source.
    pub const NODES_MAX: usize = 100_000;
    /// Findings that are reported; more are counted.
    pub const FINDINGS_MAX: usize = 500;
}
