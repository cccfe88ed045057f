//! `learn`: what a server lists, as a first policy and as a file of reviewed tools; and what has changed since.

#![expect(
    clippy::indexing_slicing,
    reason = "reading serde_json's Value by name gives null for what is absent"
)]

mod client;
mod draft;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use safeguard_wire::json::Tree;
use serde_json::Value;

use self::client::Lists;
use super::config::{Mode, load, runtime};
use super::{CliError, Exit, Terminal};
use crate::rewrite::LIMITS;
use crate::settings;
use crate::tools_lock::{self, LOCKED_MAX, ToolDigest};
use crate::upstream::UpstreamSettings;

#[derive(Debug, Args)]
pub(super) struct LearnArgs {
    /// The server's endpoint, http on this host, as in <http://127.0.0.1:3000/mcp>
    #[arg(
        long,
        value_name = "URL",
        required_unless_present = "config",
        conflicts_with = "config"
    )]
    upstream: Option<String>,
    /// A configuration: its upstream is asked
    #[arg(long, value_name = "PATH")]
    config: Vec<PathBuf>,
    /// Write a first policy to this new file; without it, to standard output
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// A file of reviewed tools: say what is new, changed or gone since, and exit 1 if anything is
    #[arg(long, value_name = "FILE", conflicts_with = "policy")]
    lock: Option<PathBuf>,
    /// Having looked at what --lock says: write the tools as they are now to that file
    #[arg(long, requires = "lock")]
    accept: bool,
}

/// Definitions by name.
type Tools = BTreeMap<String, (ToolDigest, Value)>;

pub(super) fn learn(arguments: &LearnArgs, terminal: &mut Terminal<'_>) -> Result<Exit, CliError> {
    let settings = upstream(arguments, terminal)?;
    let lists = runtime()?.block_on(client::ask(settings))?;
    match &arguments.lock {
        Some(lock) => review(lock, &lists, arguments.accept, terminal),
        None => first(arguments.policy.as_deref(), &lists, terminal),
    }
}

fn upstream(arguments: &LearnArgs, terminal: &Terminal<'_>) -> Result<UpstreamSettings, CliError> {
    let wrong = |error: settings::SettingsError| CliError::Usage(error.to_string());
    match &arguments.upstream {
        Some(url) => settings::upstream_on_this_host(url).map_err(wrong),
        None => {
            let ready = load(&arguments.config, Mode::Use)?.ready(terminal)?;
            settings::upstream(&ready.configuration).map_err(wrong)
        }
    }
}

/// The first policy.
fn first(
    file: Option<&Path>,
    lists: &Lists,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, CliError> {
    let text = draft::draft(lists);
    let Some(file) = file else {
        terminal.out.write_all(text.as_bytes())?;
        return Ok(Exit::Well);
    };
    let mut new = std::fs::OpenOptions::new();
    let written = new.write(true).create_new(true).open(file);
    let written =
        written.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
    written.map_err(|error| {
        CliError::Usage(format!("{} can't be written: {error}", file.display()))
    })?;
    writeln!(
        terminal.out,
        "{}: {} tools, {} resource templates, {} prompts; nobody may call any of them until you say who",
        file.display(),
        lists.tools.len(),
        lists.templates.len(),
        lists.prompts.len()
    )?;
    Ok(Exit::Well)
}

/// What differs from the tools that were reviewed.
fn review(
    file: &Path,
    lists: &Lists,
    accept: bool,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, CliError> {
    let now = tools(lists)?;
    let before = reviewed(file)?;
    let mut lines = Vec::new();
    for (name, (digest, tool)) in &now {
        match before.get(name) {
            None => lines.push(format!("new      {}", shown(name))),
            Some((old, _)) if old == digest => continue,
            Some((_, old)) => {
                lines.push(format!("changed  {}", shown(name)));
                differences("", old, tool, &mut lines);
                continue;
            }
        }
        differences("", &Value::Null, tool, &mut lines);
    }
    let gone = before.keys().filter(|name| !now.contains_key(*name));
    lines.extend(gone.map(|name| format!("gone     {}", shown(name))));
    for line in &lines {
        writeln!(terminal.out, "{line}")?;
    }
    if lines.is_empty() {
        writeln!(
            terminal.out,
            "{}: all {} tools are as they were reviewed",
            file.display(),
            now.len()
        )?;
        return Ok(Exit::Well);
    }
    if !accept {
        writeln!(
            terminal.out,
            "\nlook at each line, then take them with --accept: until then what is new or changed is denied"
        )?;
        return Ok(Exit::Finding);
    }
    replace(file, &tools_lock::lay_out(&now))?;
    writeln!(
        terminal.out,
        "\n{}: {} tools are reviewed",
        file.display(),
        now.len()
    )?;
    Ok(Exit::Well)
}

/// Puts a text in a file's place whole, so that a sidecar that watches it never reads half of it.
fn replace(file: &Path, text: &str) -> Result<(), CliError> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let failed = |error: std::io::Error| {
        CliError::Usage(format!("{} can't be written: {error}", file.display()))
    };
    let mut new =
        tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(failed)?;
    std::io::Write::write_all(&mut new, text.as_bytes()).map_err(failed)?;
    new.as_file().sync_all().map_err(failed)?;
    new.persist(file).map_err(|error| failed(error.error))?;
    Ok(())
}

/// What the lists define.
fn tools(lists: &Lists) -> Result<Tools, CliError> {
    let mut tools = Tools::new();
    for tool in &lists.tools {
        let name = tool["name"].as_str().unwrap_or_default().to_owned();
        let text = tool.to_string();
        let digest = Tree::parse(text.as_bytes(), &LIMITS)
            .ok()
            .and_then(|tree| tools_lock::digest(tree.root()));
        let digest = digest.ok_or_else(|| {
            CliError::Unavailable(format!(
                "the definition of {name:?} can't be read without ambiguity"
            ))
        })?;
        if tools.insert(name.clone(), (digest, tool.clone())).is_some() {
            return Err(CliError::Unavailable(format!(
                "the server lists {name:?} twice"
            )));
        }
    }
    if tools.len() > LOCKED_MAX {
        return Err(CliError::Unavailable(format!(
            "the server lists more than {LOCKED_MAX} tools"
        )));
    }
    Ok(tools)
}

/// What the file has; nothing where there is none yet.
fn reviewed(file: &Path) -> Result<Tools, CliError> {
    let wrong = |error: &dyn std::fmt::Display| CliError::Usage(error.to_string());
    if !file.exists() {
        return Ok(Tools::new());
    }
    let lock = tools_lock::ToolsLock::read(file).map_err(|error| wrong(&error))?;
    let text = std::fs::read(file).map_err(|error| wrong(&error))?;
    let whole: Value = serde_json::from_slice(&text).map_err(|error| wrong(&error))?;
    let definition = |(name, digest): (&str, &ToolDigest)| {
        (
            name.to_owned(),
            (*digest, whole["tools"][name]["tool"].clone()),
        )
    };
    Ok(lock.tools().map(definition).collect())
}

/// Every scalar that one definition has and the other has not, with its place.
fn differences(at: &str, old: &Value, new: &Value, lines: &mut Vec<String>) {
    match (old, new) {
        (_, Value::Object(members)) => {
            for (name, value) in members {
                differences(
                    &format!("{at}.{name}"),
                    old.get(name).unwrap_or(&Value::Null),
                    value,
                    lines,
                );
            }
            let gone = old
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(name, _)| !members.contains_key(*name));
            for (name, value) in gone {
                lines.push(format!(
                    "  - {}: {}",
                    shown(&format!("{at}.{name}")),
                    shown(&value.to_string())
                ));
            }
        }
        _ if old == new => {}
        (Value::Null, _) => lines.push(format!("  + {}: {}", shown(at), shown(&new.to_string()))),
        _ => {
            lines.push(format!("  - {}: {}", shown(at), shown(&old.to_string())));
            lines.push(format!("  + {}: {}", shown(at), shown(&new.to_string())));
        }
    }
}

/// A server's words on a terminal: nothing in them may move the cursor, hide or turn round what a person is to read.
fn shown(text: &str) -> String {
    let visible = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
    };
    text.chars()
        .map(|c| {
            if visible(c) {
                c.to_string()
            } else {
                format!("\\u{{{:x}}}", u32::from(c))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
