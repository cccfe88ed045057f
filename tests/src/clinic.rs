//! Real MCP servers as processes: the clinic on the Python SDK, the everything-servers of the Go and the TypeScript SDK.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::real;
use crate::wait::eventually;

/// The first port that tests hand out: below what the kernel picks for connections and for port 0.
const PORTS_FROM: u32 = 20_000;
/// How many ports there are before the kernel's own begin (32768).
const PORTS: u32 = 12_768;

/// A loopback port that was free a moment ago and that no other test of this process is given: a server that binds it
/// a little later must not find another one's server there.
#[must_use]
pub fn free_port() -> u16 {
    static HANDED_OUT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(97);
    (0..PORTS)
        .map(|_| first.wrapping_add(HANDED_OUT.fetch_add(1, Ordering::Relaxed)) % PORTS)
        .filter_map(|place| u16::try_from(PORTS_FROM + place).ok())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a loopback port")
}

/// A process that ends with the test.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    _process: Child,
    _folder: TempDir,
}

impl Server {
    /// Its MCP endpoint.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// The everything-server of the Go SDK, with sessions.
    pub async fn go_everything() -> Self {
        Self::start("the Go everything-server", |port, _| {
            let mut command = Command::new(real::go_everything());
            command.args(["-http", &format!("127.0.0.1:{port}"), "-stateless=false"]);
            command
        })
        .await
    }

    /// The same without sessions: it speaks 2026-07-28, too.
    pub async fn go_stateless() -> Self {
        Self::start("the Go everything-server", |port, _| {
            let mut command = Command::new(real::go_everything());
            command.args(["-http", &format!("127.0.0.1:{port}")]);
            command
        })
        .await
    }

    /// The everything-server of the TypeScript SDK.
    pub async fn npm_everything() -> Self {
        Self::start("the npm everything-server", |port, _| {
            let mut command = Command::new("node");
            command
                .arg(
                    real::node_modules()
                        .join("@modelcontextprotocol/server-everything/dist/index.js"),
                )
                .arg("streamableHttp");
            command.env("PORT", port.to_string());
            command
        })
        .await
    }

    /// The everything-server of the TypeScript SDK over the transport of 2024-11-05.
    pub async fn npm_everything_older() -> Self {
        Self::start("the npm everything-server over SSE", |port, _| {
            let mut command = Command::new("node");
            command
                .arg(
                    real::node_modules()
                        .join("@modelcontextprotocol/server-everything/dist/index.js"),
                )
                .arg("sse");
            command.env("PORT", port.to_string());
            command
        })
        .await
    }

    /// `fhir-mcp` with its bundled patients, over the transport of 2024-11-05.
    pub async fn fhir_older() -> Self {
        Self::start("fhir-mcp over SSE", |port, folder| {
            let mut command = Command::new(real::python1().join("fhir-mcp"));
            command
                .args(["serve", "--transport", "sse", "--port", &port.to_string()])
                .env("HOME", folder)
                .current_dir(folder);
            command
        })
        .await
    }

    /// The everything-server over standard input and output, behind the bridge `mcp-proxy`.
    pub async fn bridged() -> Self {
        Self::start("mcp-proxy", |port, _| {
            let mut command = Command::new(real::python1().join("mcp-proxy"));
            command.args(["--port", &port.to_string(), "--", "node"]);
            command
                .arg(
                    real::node_modules()
                        .join("@modelcontextprotocol/server-everything/dist/index.js"),
                )
                .arg("stdio");
            command
        })
        .await
    }

    /// The stream of the transport of 2024-11-05.
    #[must_use]
    pub fn older_url(&self) -> String {
        format!("http://{}/sse", self.address)
    }

    /// WSO2's `fhir-mcp-server`, in front of a FHIR server of ours. Its SDK is older than the newest revision, and broken by it.
    pub async fn fhir() -> [Self; 2] {
        let data = Self::start("a FHIR server", |port, _| {
            let mut command = Command::new(real::python());
            command
                .arg(real::fixture("fhir/server.py"))
                .arg(port.to_string());
            command
        })
        .await;
        let base = format!("http://{}", data.address);
        let server = Self::start("fhir-mcp-server", |port, _| {
            let mut command = Command::new(real::fhir().join("fhir-mcp-server"));
            command
                .env("FHIR_SERVER_BASE_URL", base)
                .env("FHIR_SERVER_DISABLE_AUTHORIZATION", "true")
                .env("FHIR_MCP_HOST", "127.0.0.1")
                .env("FHIR_MCP_PORT", port.to_string());
            command
        })
        .await;
        [server, data]
    }

    async fn start(name: &str, command: impl FnOnce(u16, &Path) -> Command) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let log = std::fs::File::create(folder.path().join("log")).expect("a log file");
        let process = command(port, folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        eventually(
            name,
            || async move { TcpStream::connect(address).await.ok() },
        )
        .await;
        Self {
            address,
            _process: process,
            _folder: folder,
        }
    }
}

/// The clinic on the Python SDK: an ordinary MCP server with a file for a database.
#[derive(Debug)]
pub struct Clinic {
    /// The server.
    pub server: Server,
    store: PathBuf,
}

impl Clinic {
    /// One that answers in events, as the SDK does by itself.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// One that answers in plain JSON.
    pub async fn start_json() -> Self {
        Self::start_with(&["json"]).await
    }

    async fn start_with(options: &[&str]) -> Self {
        let mut store = PathBuf::new();
        let server = Server::start("the clinic", |port, folder| {
            store = folder.join("store.json");
            let mut command = Command::new(real::python());
            command
                .arg(real::fixture("clinic/server.py"))
                .arg(port.to_string())
                .arg(&store)
                .args(options);
            command
        })
        .await;
        Self { server, store }
    }

    /// What it stores, as text to search.
    #[must_use]
    pub fn stored_text(&self) -> String {
        std::fs::read_to_string(&self.store).unwrap_or_default()
    }

    /// What it stores: `{patient_id: {department, record}}`.
    #[must_use]
    pub fn stored(&self) -> Value {
        serde_json::from_str(&self.stored_text()).expect("the clinic writes JSON")
    }

    /// Changes what is stored behind everyone's back.
    pub fn tamper(&self, change: impl FnOnce(&mut Value)) {
        let mut stored = self.stored();
        change(&mut stored);
        std::fs::write(&self.store, stored.to_string()).expect("the clinic's file");
    }
}
