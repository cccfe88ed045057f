//! `integrity`: the Python middleware's HMAC-SHA256 over the canonical form, computed or verified.

use std::borrow::Cow;

use clap::{Args, Subcommand};
use safeguard_vault::canonical::canonicalize;
use safeguard_vault::mac::RecordMac;
use safeguard_wire::json::{Limits, Tree, Value, unquote};
use zeroize::Zeroizing;

use super::key_file::KeyFileArgs;
use super::terminal::INPUT_BYTES_MAX;
use super::{CliError, Exit, Terminal};

#[derive(Debug, Subcommand)]
pub(super) enum IntegrityCommand {
    /// A JSON document on standard input, its hash on standard output
    Hash(HashArgs),
    /// A record on standard input: does its `integrity_hash` hold for its `data`?
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
pub(super) struct HashArgs {
    #[command(flatten)]
    key: KeyFileArgs,
    /// Print the canonical form in place of the hash
    #[arg(long)]
    canonical: bool,
    /// Read lines that are each a JSON string holding one document; print a line for each
    #[arg(long)]
    lines: bool,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    key: KeyFileArgs,
    /// The hash that the whole document must have, in place of a record's own
    #[arg(long, value_name = "HEX")]
    hash: Option<String>,
    /// Print the canonical form in place of `ok`
    #[arg(long)]
    canonical: bool,
    /// Read lines that are each a JSON string holding one document; print a line for each
    #[arg(long)]
    lines: bool,
}

type Answer = Result<Zeroizing<Vec<u8>>, String>;

pub(super) fn integrity(
    command: &IntegrityCommand,
    terminal: &mut Terminal<'_>,
) -> Result<Exit, CliError> {
    match command {
        IntegrityCommand::Hash(arguments) => {
            let mac = RecordMac::new(&arguments.key.bytes()?);
            each(arguments.lines, terminal, |document| {
                let form = canonical(document)?;
                Ok(if arguments.canonical {
                    form
                } else {
                    Zeroizing::new(mac.hex(&form).into_bytes())
                })
            })
        }
        IntegrityCommand::Verify(arguments) => {
            let mac = RecordMac::new(&arguments.key.bytes()?);
            each(arguments.lines, terminal, |document| {
                arguments.verify(&mac, document)
            })
        }
    }
}

/// Answers the document, or each line; a refusal of a line stands in its place.
fn each(
    lines: bool,
    terminal: &mut Terminal<'_>,
    answer: impl Fn(&[u8]) -> Answer,
) -> Result<Exit, CliError> {
    if !lines {
        let answer = answer(&terminal.document(INPUT_BYTES_MAX)?).map_err(CliError::Finding)?;
        terminal.out.write_all(&answer)?;
        terminal.out.write_all(b"\n")?;
        return Ok(Exit::Well);
    }
    let mut exit = Exit::Well;
    while let Some(line) = terminal.line()? {
        let document = unquote(line.trim_ascii())
            .ok_or_else(|| "the line is no JSON string that holds a document".to_owned());
        match document
            .and_then(|document| answer(&Zeroizing::new(document.into_owned().into_bytes())))
        {
            Ok(answer) => terminal.out.write_all(&answer)?,
            Err(why) => {
                exit = Exit::Finding;
                write!(terminal.out, "error: {why}")?;
            }
        }
        terminal.out.write_all(b"\n")?;
    }
    Ok(exit)
}

fn canonical(document: &[u8]) -> Answer {
    canonicalize(document)
        .map(Zeroizing::new)
        .map_err(|error| error.to_string())
}

impl VerifyArgs {
    fn verify(&self, mac: &RecordMac, document: &[u8]) -> Answer {
        let whole = canonical(document)?;
        let (form, claimed) = match &self.hash {
            Some(hash) => (whole, hash.clone()),
            None => of_record(document)?,
        };
        if !mac.verify(&form, &claimed) {
            return Err(
                "the hash does not match: the data was changed, or hashed with another key"
                    .to_owned(),
            );
        }
        Ok(if self.canonical {
            form
        } else {
            Zeroizing::new(b"ok".to_vec())
        })
    }
}

/// The canonical form of a record's `data`, and the hash that it carries. Of duplicates the last wins, as in Python.
fn of_record(document: &[u8]) -> Result<(Zeroizing<Vec<u8>>, String), String> {
    let limits = Limits {
        depth_max: u32::MAX,
        nodes_max: u32::MAX,
    };
    let tree = Tree::parse(document, &limits).map_err(|error| error.to_string())?;
    let data = last(tree.root(), "data")
        .ok_or("the record has no `data` (for a bare document give --hash)")?;
    let claimed = last(tree.root(), "integrity_hash").and_then(Value::string);
    let claimed = claimed
        .map(Cow::into_owned)
        .ok_or("the record has no `integrity_hash` string")?;
    Ok((canonical(data.raw())?, claimed))
}

fn last<'t>(object: Value<'t>, name: &str) -> Option<Value<'t>> {
    object
        .children()
        .filter(|member| member.key().as_deref() == Some(name))
        .last()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::key_file::tests::key_file;
    use crate::cli::terminal::tests::run;
    use serde_json::json;

    fn vectors() -> Vec<serde_json::Value> {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/fixtures/vectors/canonical_json.jsonl"
        );
        let text = std::fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn every_vector_has_its_canonical_form_and_hash() {
        for case in vectors() {
            let of = |name: &str| case[name].as_str().unwrap();
            let (_folder, key) = key_file(of("secret_hex").as_bytes());
            let arguments = [
                "integrity",
                "hash",
                "--key-format",
                "hex",
                "--key-file",
                &key,
            ];
            assert_eq!(
                run(&arguments, of("input")).out.trim_end(),
                of("hmac_sha256"),
                "{}",
                case["input"]
            );
            let lines = [&arguments[..], &["--lines", "--canonical"]].concat();
            assert_eq!(
                run(&lines, &case["input"].to_string()).out,
                format!("{}\n", of("canonical"))
            );
            let verify = [
                "integrity",
                "verify",
                "--key-format",
                "hex",
                "--key-file",
                &key,
                "--hash",
                of("hmac_sha256"),
            ];
            assert_eq!(run(&verify, of("input")).exit, Exit::Well);
        }
    }

    #[test]
    fn what_python_refuses_is_refused_in_its_own_line() {
        let (_folder, key) = key_file(b"00");
        let arguments = [
            "integrity",
            "hash",
            "--key-format",
            "hex",
            "--key-file",
            &key,
        ];
        let bad = [
            "",
            "{",
            "nan",
            "{\"a\":NaN}",
            "[Infinity]",
            "\"\\ud800\"",
            "1e999",
            "{\"a\":1}x",
        ];
        let mut lines = String::new();
        for document in bad {
            let refused = run(&arguments, document);
            assert_eq!(
                (refused.exit, refused.out.as_str()),
                (Exit::Finding, ""),
                "{document}"
            );
            assert!(refused.err.starts_with("error: "));
            lines += &format!("{}\n", json!(document));
        }
        lines += "[]\nnot a string\n\"[]\"\n";
        let ended = run(&[&arguments[..], &["--lines"]].concat(), &lines);
        assert_eq!(
            (ended.exit, ended.out.lines().count()),
            (Exit::Finding, bad.len() + 3)
        );
        assert!(
            ended
                .out
                .lines()
                .take(bad.len() + 2)
                .all(|line| line.starts_with("error: ")),
            "{}",
            ended.out
        );
        assert_eq!(ended.out.lines().last().unwrap().len(), 64);
    }

    #[test]
    fn a_record_verifies_until_its_data_changes() {
        let (_folder, key) = key_file(b"a2V5");
        let data = "{\"b\":1.0,\"a\":\"ü\",\"a\":\"x\"}";
        let hash = run(&["integrity", "hash", "--key-file", &key], data).out;
        let record = format!(
            "{{\"data\":{data},\"integrity_hash\":\"{}\",\"version\":1}}",
            hash.trim()
        );
        let verify = |record: &str| run(&["integrity", "verify", "--key-file", &key], record);
        assert_eq!(
            (verify(&record).exit, verify(&record).out.as_str()),
            (Exit::Well, "ok\n")
        );
        assert_eq!(verify(&record.replace("1.0", "1")).exit, Exit::Finding);
        assert_eq!(verify(data).exit, Exit::Finding);
        assert_eq!(
            verify(&record.replace("version", "data")).exit,
            Exit::Finding,
            "the last `data` counts"
        );
    }
}
