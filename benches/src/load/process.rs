//! Processes that a run starts, each with a log of its own, and ends again.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::Failure;

/// How long a process may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(50);
/// How much of a log a failure shows, in lines.
const LOG_LINES: usize = 30;

/// A process that ends with this value.
pub(super) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program in `folder` with an environment of its own; its output goes to `folder/NAME.log`.
    pub(super) fn start<A: AsRef<OsStr>>(
        folder: &Path,
        name: &str,
        program: &Path,
        arguments: &[A],
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, Failure> {
        let log = folder.join(format!("{name}.log"));
        let file = std::fs::File::create(&log)?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(environment)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true);
        let child = command
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        Ok(Self { child, log })
    }

    /// Its process id; 0, which is nobody's, once it has ended.
    pub(super) fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Asks for its end by a signal and waits for it; without one in time it is killed.
    pub(super) async fn stop(&mut self, signal: &str) -> Result<(), Failure> {
        let pid = self.pid().to_string();
        let _asked = Command::new("kill")
            .args(["-s", signal, &pid])
            .status()
            .await?;
        if tokio::time::timeout(Duration::from_secs(10), self.child.wait())
            .await
            .is_err()
        {
            self.child.kill().await?;
        }
        Ok(())
    }

    /// Waits until `ready` says so.
    pub(super) async fn await_ready(
        &mut self,
        ready: impl AsyncFn() -> bool,
    ) -> Result<(), Failure> {
        let mut ticks = tokio::time::interval(LOOK);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < deadline {
            ticks.tick().await;
            if let Some(status) = self.child.try_wait()? {
                return Err(self.failure(&format!("ended with {status}")));
            }
            if ready().await {
                return Ok(());
            }
        }
        Err(self.failure("did not come up"))
    }

    fn failure(&self, what: &str) -> Failure {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines
            .get(lines.len().saturating_sub(LOG_LINES)..)
            .unwrap_or_default();
        format!("{what}; its log:\n{}", last.join("\n")).into()
    }
}

/// Runs a program to its end; its standard output.
///
/// # Errors
/// With its standard error, when it doesn't end well.
pub(super) async fn output(program: &Path, arguments: &[&str]) -> Result<String, Failure> {
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, child)
        .await
        .map_err(|_| format!("{} did not end", program.display()))?
        .map_err(|error| format!("{}: {error}", program.display()))?;
    if !output.status.success() {
        return Err(format!(
            "{}: {}",
            program.display(),
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Whether something accepts at a port of loopback.
pub(super) async fn accepts(port: u16) -> bool {
    tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .is_ok()
}

/// A port of loopback that was free a moment ago.
pub(super) fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}
