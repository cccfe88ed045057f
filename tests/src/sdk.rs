//! The official clients as processes: each takes steps, a line each, and answers each with a line.
//!
//! What a step may ask, and what its answer holds, is said in `fixtures/clients/client.mjs`; all of them know the same words.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::real;
use crate::sidecar::Sidecar;
use crate::wait::within;

/// An official client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sdk {
    /// The Python SDK, 2.x.
    Python,
    /// The Python SDK, 1.x.
    Python1,
    /// The TypeScript SDK, 1.x.
    TypeScript1,
    /// The TypeScript SDK, 2.x, which asks for the newest revision first.
    TypeScript2,
    /// The TypeScript SDK, 2.x, as it is without being told.
    TypeScript2Legacy,
    /// The Go SDK.
    Go,
    /// The inspector's command line: a connection a step; it neither subscribes nor cancels.
    Inspector,
}

impl Sdk {
    /// Those that can show a certificate, and so need no front.
    pub const SECURE: [Self; 4] = [Self::Python, Self::TypeScript1, Self::TypeScript2, Self::Go];
    /// Those that also speak the older transport with its two endpoints.
    pub const OLDER: [Self; 6] = [
        Self::Python1,
        Self::TypeScript1,
        Self::TypeScript2,
        Self::TypeScript2Legacy,
        Self::Go,
        Self::Inspector,
    ];
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Python,
        Self::Python1,
        Self::TypeScript1,
        Self::TypeScript2,
        Self::TypeScript2Legacy,
        Self::Go,
        Self::Inspector,
    ];

    /// Carries out the steps over mTLS as the client `chart-web`; the answers.
    ///
    /// # Panics
    /// If it can't, or does not answer each step.
    pub async fn run(self, sidecar: &Sidecar, token: &str, steps: &[Value]) -> Vec<Value> {
        let folder = sidecar.setup.folder.path();
        sidecar.web.write(folder, "web");
        let ca = folder.join("authority.pem");
        std::fs::write(&ca, &sidecar.setup.authority.pem).expect("a file");
        let mut command = self.command(&sidecar.url());
        if matches!(self, Self::TypeScript1 | Self::TypeScript2) {
            command.env("NODE_EXTRA_CA_CERTS", &ca);
        } else {
            command.arg(&ca);
        }
        command
            .arg(folder.join("web.pem"))
            .arg(folder.join("web.key"))
            .env("MCP_TOKEN", token);
        self.converse(command, steps, &|| sidecar.log()).await
    }

    /// Carries out the steps at a plain URL, of a server or of a [`Front`](crate::front::Front); the answers.
    ///
    /// # Panics
    /// If it can't, or does not answer each step.
    pub async fn run_at(self, url: &str, steps: &[Value]) -> Vec<Value> {
        if self == Self::Inspector {
            return inspected(url, "http", steps).await;
        }
        self.converse(self.command(url), steps, &String::new).await
    }

    /// The same by the transport of 2024-11-05, for a client of [`OLDER`](Self::OLDER).
    ///
    /// # Panics
    /// If it can't, or does not answer each step.
    pub async fn run_older_at(self, url: &str, steps: &[Value]) -> Vec<Value> {
        if self == Self::Inspector {
            return inspected(url, "sse", steps).await;
        }
        let mut command = self.command(url);
        if self == Self::Python1 {
            command.arg("sse");
        }
        command.env("MCP_TRANSPORT", "sse");
        self.converse(command, steps, &String::new).await
    }

    /// Whether it asks for the newest revision before any other.
    #[must_use]
    pub fn asks_for_the_newest(self) -> bool {
        matches!(
            self,
            Self::Python | Self::TypeScript2 | Self::Go | Self::Inspector
        )
    }

    /// Whether it can carry out a step of this kind.
    #[must_use]
    pub fn knows(self, step: &Value) -> bool {
        self != Self::Inspector
            || !["subscribe", "cancel"].contains(&step["op"].as_str().unwrap_or_default())
    }

    fn command(self, url: &str) -> Command {
        let generation = match self {
            Self::Python => return script(&real::python(), "clients/client.py", &[url]),
            Self::Python1 => {
                return script(
                    &real::python1().join("python"),
                    "clients/client1.py",
                    &[url],
                );
            }
            Self::Go => {
                let mut command = Command::new(real::go_client());
                command.arg(url);
                return command;
            }
            Self::TypeScript1 => "1",
            Self::TypeScript2 => "2",
            Self::TypeScript2Legacy => "2-legacy",
            Self::Inspector => unreachable!("a process a step"),
        };
        let modules = real::node_modules();
        let modules = modules.to_str().expect("a path in UTF-8");
        script(
            Path::new("node"),
            "clients/client.mjs",
            &[modules, generation, url],
        )
    }

    async fn converse(
        self,
        mut command: Command,
        steps: &[Value],
        log: &dyn Fn() -> String,
    ) -> Vec<Value> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{self:?}: {error}"));
        let lines: String = steps.iter().map(|step| format!("{step}\n")).collect();
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(lines.as_bytes()).await.expect("the steps");
        drop(stdin);
        let output = within("an SDK", child.wait_with_output()).await;
        let output = output.expect("a process");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let answers: Vec<_> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(
            answers.len(),
            steps.len(),
            "{self:?} answers every step: {text}\n{}\n{}",
            String::from_utf8_lossy(&output.stderr),
            log()
        );
        answers
    }
}

fn script(interpreter: &Path, file: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(interpreter);
    command.arg(real::fixture(file)).args(arguments);
    command
}

async fn inspected(url: &str, transport: &str, steps: &[Value]) -> Vec<Value> {
    let home = tempfile::tempdir().expect("a temporary folder");
    let mut answers = Vec::new();
    for step in steps {
        answers.push(inspect(home.path(), url, transport, step).await);
    }
    answers
}

/// One step of the inspector, a process of its own.
async fn inspect(home: &Path, url: &str, transport: &str, step: &Value) -> Value {
    let text = |member: &str| step[member].as_str().unwrap_or_default().to_owned();
    let pairs = || {
        let arguments = step["arguments"].as_object().into_iter().flatten();
        arguments.map(|(name, value)| match value {
            Value::String(text) => format!("{name}={text}"),
            value => format!("{name}={value}"),
        })
    };
    let (method, mut more) = match step["op"].as_str().unwrap_or_default() {
        "tools" => ("tools/list", vec![]),
        "resources" => ("resources/list", vec![]),
        "templates" => ("resources/templates/list", vec![]),
        "prompts" => ("prompts/list", vec![]),
        "call" => ("tools/call", vec!["--tool-name".to_owned(), text("name")]),
        "read" => ("resources/read", vec!["--uri".to_owned(), text("uri")]),
        "prompt" => (
            "prompts/get",
            vec!["--prompt-name".to_owned(), text("name")],
        ),
        other => panic!("the inspector does not know {other}"),
    };
    let arguments: Vec<_> = pairs().collect();
    if !arguments.is_empty() {
        more.push(
            if method == "tools/call" {
                "--tool-arg"
            } else {
                "--prompt-args"
            }
            .to_owned(),
        );
        more.extend(arguments);
    }
    let launcher = "@modelcontextprotocol/inspector/clients/launcher/build/index.js";
    let child = Command::new(real::modern_node())
        .arg(real::node_modules().join(launcher))
        .args([
            "--cli",
            url,
            "--transport",
            transport,
            "--protocol-era",
            if transport == "sse" { "legacy" } else { "auto" },
            "--method",
            method,
        ])
        .args(&more)
        .env("HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the inspector");
    let output = within("the inspector", child.wait_with_output()).await;
    let output = output.expect("a process");
    match serde_json::from_slice::<Value>(&output.stdout) {
        Ok(result) if output.status.success() => json!({ "result": result }),
        said => json!({ "error": {
            "message": format!("{said:?} {}", String::from_utf8_lossy(&output.stderr)),
        } }),
    }
}
