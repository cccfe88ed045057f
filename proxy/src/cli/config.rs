//! `--config`: which files are read, where variables come from, and what becomes of the findings.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{ArgAction, Args};
use safeguard_policy::document::limits::SOURCE_BYTES_MAX;
use safeguard_policy::{
    Colour, Configuration, Environment, Finding, KeySources, Remark, Severity, Source, codes,
    findings_at, render,
};
use zeroize::Zeroizing;

use super::{CliError, Terminal};
use crate::keysource::{Resolver, Rings};
use crate::rewrite::prose::Prose;

/// Files of a configuration.
const FILES_MAX: usize = 256;
/// The largest file that `${file:…}` reads, in bytes: keys and passwords are far smaller.
const SECRET_BYTES_MAX: usize = 64 * 1024;

/// `--config PATH…`
#[derive(Debug, Clone, Args)]
pub(super) struct ConfigArgs {
    /// Files, and directories whose *.yaml and *.yml files are read; they merge by key
    #[arg(long = "config", value_name = "PATH", required = true, num_args = 1.., action = ArgAction::Append)]
    pub(super) paths: Vec<PathBuf>,
}

/// What a configuration is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// To be looked at: no file that it names is opened.
    Check,
    /// To be used by a command, with its secrets.
    Use,
    /// To be run: a sink without its credential is an error.
    Run,
}

/// A configuration as read, with what there is to say about it.
#[derive(Debug)]
pub(super) struct Chosen {
    /// There is one exactly if no finding is an error.
    pub(super) configuration: Option<Configuration>,
    /// Everything there is to say.
    pub(super) findings: Vec<Finding>,
    /// The files that were read, those of `${file:…}` among them.
    pub(super) files: Vec<PathBuf>,
}

/// A configuration that serves.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) configuration: Configuration,
    pub(super) files: Vec<PathBuf>,
}

impl Chosen {
    /// The configuration, if no finding is an error; warnings are for `check` and `run` to show.
    ///
    /// # Errors
    /// Its findings, warnings too.
    pub(super) fn ready(self, terminal: &Terminal<'_>) -> Result<Ready, CliError> {
        match self.configuration {
            Some(configuration) => Ok(Ready {
                configuration,
                files: self.files,
            }),
            None => Err(CliError::Findings(render(
                &self.findings,
                terminal.err_colour,
            ))),
        }
    }
}

/// Reads a configuration anew: what `--config` named, as it is now. The error is the findings, laid out.
pub type Reload = Box<dyn Fn() -> Result<Configuration, String> + Send + Sync>;

/// What `run` starts with.
pub struct Start {
    /// The configuration, with every value that it needs.
    pub configuration: Configuration,
    /// The files that it was read from, those of `${file:…}` among them: to be watched.
    pub files: Vec<PathBuf>,
    /// Reads it again.
    pub reload: Reload,
}

impl std::fmt::Debug for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Start")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// What `run` starts with, from a configuration and the paths that it came from.
pub(super) fn start(ready: Ready, paths: Vec<PathBuf>) -> Start {
    let reload = Box::new(move || {
        let chosen = load(&paths, Mode::Run).map_err(|error| error.to_string())?;
        chosen
            .configuration
            .ok_or_else(|| render(&chosen.findings, Colour::Off))
    });
    Start {
        configuration: ready.configuration,
        files: ready.files,
        reload,
    }
}

/// Reads, merges and checks what the paths name.
///
/// # Errors
/// A path can't be read. What is wrong with the contents stands in the findings.
pub(super) fn load(paths: &[PathBuf], mode: Mode) -> Result<Chosen, CliError> {
    let mut files = files(paths)?;
    let sources = texts(&files)?;
    let loaded = match mode {
        Mode::Check => safeguard_policy::load(&sources, &CheckEnvironment),
        Mode::Use | Mode::Run => {
            let environment = RealEnvironment::default();
            let loaded = safeguard_policy::load(&sources, &environment);
            files.extend(environment.opened.into_inner());
            loaded
        }
    };
    let lock = loaded.configuration.as_ref();
    files.extend(lock.and_then(|configuration| configuration.upstream.tools_lock.clone()));
    let mut chosen = Chosen {
        configuration: loaded.configuration,
        findings: loaded.findings,
        files,
    };
    patterns(&mut chosen, &sources);
    if mode == Mode::Run {
        raise(&mut chosen);
    }
    Ok(chosen)
}

/// Holds the site's detectors against their bounds, which the policy's crate does not know.
fn patterns(chosen: &mut Chosen, sources: &[Source]) {
    let Some(configuration) = &chosen.configuration else {
        return;
    };
    let detection = &configuration.policy.phi().detection;
    let Err(error) = Prose::new(detection) else {
        return;
    };
    let remark = Remark {
        severity: Severity::Error,
        code: codes::BAD_VALUE,
        path: match error.pattern() {
            Some(name) => format!("phi.patterns.{name}"),
            None => "phi.patterns".to_owned(),
        },
        message: error.to_string(),
        fix: Some("bound what it matches, as in MRN-[0-9]{7}".to_owned()),
    };
    chosen.findings.extend(findings_at(sources, &[remark]));
    chosen.configuration = None;
}

/// The sources of keys that the paths configure; nothing else of the configuration need be whole.
///
/// # Errors
/// A path can't be read, or the section has errors.
pub(super) fn key_sources(
    paths: &[PathBuf],
    terminal: &Terminal<'_>,
) -> Result<KeySources, CliError> {
    let environment = RealEnvironment::default();
    let (found, findings) = safeguard_policy::load_key_sources(&sources(paths)?, &environment);
    found.ok_or_else(|| CliError::Findings(render(&findings, terminal.err_colour)))
}

/// Has the keys of the trail from their sources.
///
/// # Errors
/// The first that can't be had.
pub(super) fn trail_keys(configuration: &mut Configuration) -> Result<(), CliError> {
    let sources = &configuration.key_sources;
    let mut resolver = Resolver::default();
    let had = resolver.resolve(&mut configuration.keys, Rings::Audit, sources);
    runtime()?
        .block_on(had)
        .map_err(|why| CliError::Unavailable(why.to_string()))
}

/// Has the keys of PHI and of records from their sources.
///
/// # Errors
/// The first that can't be had.
fn data_keys(configuration: &mut Configuration) -> Result<(), CliError> {
    let sources = &configuration.key_sources;
    let mut resolver = Resolver::default();
    let had = resolver.resolve(&mut configuration.keys, Rings::PhiAndIntegrity, sources);
    runtime()?
        .block_on(had)
        .map_err(|why| CliError::Unavailable(why.to_string()))
}

/// A configuration for a command that seals and opens, with every key that it names.
///
/// # Errors
/// Its findings, or the first key that can't be had.
pub(super) fn with_keys(
    config: &ConfigArgs,
    terminal: &Terminal<'_>,
) -> Result<Configuration, CliError> {
    let ready = load(&config.paths, Mode::Use)?.ready(terminal)?;
    let mut configuration = ready.configuration;
    trail_keys(&mut configuration)?;
    data_keys(&mut configuration)?;
    Ok(configuration)
}

/// What waits for servers in a command.
///
/// # Errors
/// The system gives no runtime.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Internal(format!("the runtime can't be started: {error}")))
}

/// The texts of the files that the paths name.
///
/// # Errors
/// A path can't be read.
pub(super) fn sources(paths: &[PathBuf]) -> Result<Vec<Source>, CliError> {
    texts(&files(paths)?)
}

fn texts(files: &[PathBuf]) -> Result<Vec<Source>, CliError> {
    files.iter().map(|path| source(path)).collect()
}

/// `run` does not start with a sink that can never deliver.
fn raise(chosen: &mut Chosen) {
    for finding in &mut chosen.findings {
        if finding.code == codes::SINK_CREDENTIAL && finding.severity == Severity::Warning {
            *finding = finding.clone().raised();
            chosen.configuration = None;
        }
    }
}

/// The files that the paths name, in their order; those of a directory sorted by name.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut files = Vec::new();
    for path in paths {
        let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error.to_string()))?;
        if metadata.is_dir() {
            files.extend(in_directory(path)?);
        } else {
            files.push(path.clone());
        }
        if files.len() > FILES_MAX {
            return Err(CliError::Configuration(format!(
                "--config names more than {FILES_MAX} files"
            )));
        }
    }
    Ok(files)
}

/// The `*.yaml` and `*.yml` files of a directory. Hidden entries are skipped, and with them the `..data` and dated
/// directories that Kubernetes keeps beside the links to the files of a volume; so are subdirectories.
fn in_directory(directory: &Path) -> Result<Vec<PathBuf>, CliError> {
    let words = |error: std::io::Error| unreadable(directory, &error.to_string());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(words)? {
        let entry = entry.map_err(words)?;
        let path = entry.path();
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let is_yaml = path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        // A dangling link is kept: that it can't be read is worth an error.
        if !is_hidden && is_yaml && !path.is_dir() {
            files.push(path);
        }
        if files.len() > FILES_MAX {
            return Err(unreadable(
                directory,
                &format!("it holds more than {FILES_MAX} files"),
            ));
        }
    }
    if files.is_empty() {
        return Err(unreadable(directory, "it holds no *.yaml or *.yml file"));
    }
    files.sort();
    Ok(files)
}

fn source(path: &Path) -> Result<Source, CliError> {
    let text = text_of(path, SOURCE_BYTES_MAX).map_err(|why| unreadable(path, &why))?;
    Ok(Source {
        name: path.display().to_string(),
        text,
    })
}

fn unreadable(path: &Path, why: &str) -> CliError {
    CliError::Configuration(format!(
        "{}: {why}; name the configuration's files or directories with --config",
        path.display()
    ))
}

/// A bounded file's text. The error says why, without the contents.
fn text_of(path: &Path, bytes_max: usize) -> Result<String, String> {
    let mut bytes = Zeroizing::new(Vec::new());
    let limit = u64::try_from(bytes_max)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() > bytes_max {
        return Err(format!("it has more than {bytes_max} bytes"));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(format!("it is not UTF-8 at byte {}", error.valid_up_to())),
    }
}

/// Variables of the process, and files as they are.
#[derive(Debug, Default)]
struct RealEnvironment {
    opened: RefCell<Vec<PathBuf>>,
}

impl Environment for RealEnvironment {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &str) -> Result<Option<String>, String> {
        let mut text = text_of(Path::new(path), SECRET_BYTES_MAX)?;
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
        let mut opened = self.opened.borrow_mut();
        if !opened.iter().any(|known| known == Path::new(path)) {
            opened.push(PathBuf::from(path));
        }
        Ok(Some(text))
    }
}

/// Variables of the process; no file is opened.
struct CheckEnvironment;

impl Environment for CheckEnvironment {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, _path: &str) -> Result<Option<String>, String> {
        Ok(None)
    }
}

#[cfg(test)]
pub(super) mod tests;
