//! The processes that the demo starts. Each is killed when its guard is dropped, on every way out;
//! each has a process group of its own, so that Ctrl-C reaches the demo alone and the demo decides.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, interval, timeout};

/// How long a process may take until it listens or is ready.
const READY_DEADLINE: Duration = Duration::from_secs(20);
/// How often readiness is asked for.
const READY_INTERVAL: Duration = Duration::from_millis(25);
/// How long the sidecar may drain after SIGTERM.
const DRAIN_DEADLINE: Duration = Duration::from_secs(20);
/// How long `audit verify` and `audit query` may take.
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);
/// How much of a log is quoted when a process fails, in lines.
const LOG_LINES: usize = 12;

/// A process that did not do what the demo needs of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChildError {
    #[error("can't start {name}: {source}")]
    Start {
        name: &'static str,
        source: io::Error,
    },
    #[error("{name} ended with {status}; the end of its log:\n{log}")]
    Ended {
        name: &'static str,
        status: ExitStatus,
        log: String,
    },
    #[error("{name} is not ready within {} s; the end of its log:\n{log}", READY_DEADLINE.as_secs())]
    NotReady { name: &'static str, log: String },
    #[error("{name} does not end within {} s of SIGTERM", DRAIN_DEADLINE.as_secs())]
    Stuck { name: &'static str },
    #[error("{name} does not end within {} s", COMMAND_DEADLINE.as_secs())]
    Slow { name: &'static str },
}

/// How to start this very program again.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Program {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        command
    }

    /// Starts a process that stays; its error output goes to `log`.
    pub(crate) fn start(
        &self,
        name: &'static str,
        arguments: &[&str],
        log: &Path,
    ) -> Result<Running, ChildError> {
        let failed = |source| ChildError::Start { name, source };
        let file = File::create(log).map_err(failed)?;
        let child = self
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::from(file))
            .spawn()
            .map_err(failed)?;
        let log = log.to_owned();
        Ok(Running { name, child, log })
    }

    /// Runs a command to its end.
    pub(crate) async fn run(
        &self,
        name: &'static str,
        arguments: &[&str],
    ) -> Result<Output, ChildError> {
        let output = self.command(arguments).output();
        let ended = timeout(COMMAND_DEADLINE, output).await;
        let ended = ended.map_err(|_| ChildError::Slow { name })?;
        ended.map_err(|source| ChildError::Start { name, source })
    }
}

/// A process that is killed when this is dropped.
pub(crate) struct Running {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// The first line that it prints; the rest of its output is read and left aside.
    pub(crate) async fn first_line(&mut self) -> Result<String, ChildError> {
        let mut line = String::new();
        if let Some(stdout) = self.child.stdout.take() {
            let mut reader = BufReader::new(stdout);
            let read = timeout(READY_DEADLINE, reader.read_line(&mut line)).await;
            tokio::spawn(drain(reader));
            if matches!(read, Ok(Ok(count)) if count > 0) {
                return Ok(line.trim_end().to_owned());
            }
        }
        Err(self.failure().await)
    }

    /// Waits until `probe` says that it is ready, it ends, or the deadline passes.
    pub(crate) async fn until<F>(&mut self, probe: impl Fn() -> F) -> Result<(), ChildError>
    where
        F: Future<Output = bool>,
    {
        if let Some(stdout) = self.child.stdout.take() {
            tokio::spawn(drain(BufReader::new(stdout)));
        }
        let deadline = Instant::now() + READY_DEADLINE;
        let mut ticks = interval(READY_INTERVAL);
        while Instant::now() < deadline {
            ticks.tick().await;
            if let Ok(Some(_)) = self.child.try_wait() {
                break;
            }
            if matches!(timeout(READY_DEADLINE, probe()).await, Ok(true)) {
                return Ok(());
            }
        }
        Err(self.failure().await)
    }

    /// Asks it to end (SIGTERM) and waits for that.
    pub(crate) async fn stop(mut self) -> Result<ExitStatus, ChildError> {
        let name = self.name;
        let failed = |source: io::Error| ChildError::Start { name, source };
        if let Some(pid) = self.pid() {
            kill_process(pid, Signal::TERM).map_err(|error| failed(error.into()))?;
        }
        match timeout(DRAIN_DEADLINE, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(status),
            Ok(Ok(status)) => {
                let log = tail(&self.log);
                Err(ChildError::Ended { name, status, log })
            }
            Ok(Err(source)) => Err(failed(source)),
            Err(_) => Err(ChildError::Stuck { name }),
        }
    }

    fn pid(&self) -> Option<Pid> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        id.and_then(Pid::from_raw)
    }

    async fn failure(&mut self) -> ChildError {
        let name = self.name;
        let log = tail(&self.log);
        // A process that closed its output is about to end: its status tells more than silence.
        match timeout(Duration::from_secs(1), self.child.wait()).await {
            Ok(Ok(status)) => ChildError::Ended {
                name,
                status,
                log: tail(&self.log),
            },
            _ => ChildError::NotReady { name, log },
        }
    }
}

async fn drain(mut reader: impl tokio::io::AsyncRead + Unpin) {
    let mut scrap = [0_u8; 4096];
    while matches!(reader.read(&mut scrap).await, Ok(count) if count > 0) {}
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(LOG_LINES);
    let last: Vec<&str> = lines.into_iter().skip(skipped).collect();
    last.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell() -> Program {
        Program {
            path: "/bin/sh".into(),
            environment: vec![("GREETING", "hello".to_owned())],
        }
    }

    #[tokio::test]
    async fn a_process_is_started_with_its_environment_and_stopped_by_sigterm() {
        let dir = tempfile::tempdir().unwrap();
        let script = "trap 'kill $!; exit 0' TERM; tail -f /dev/null & echo $GREETING; wait";
        let mut child = shell()
            .start("sh", &["-c", script], &dir.path().join("log"))
            .unwrap();
        assert_eq!(child.first_line().await.unwrap(), "hello");
        assert!(child.stop().await.unwrap().success());
    }

    #[tokio::test]
    async fn a_process_that_ends_early_is_reported_with_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let script = "echo no such file >&2; exit 78";
        let mut child = shell()
            .start("sh", &["-c", script], &dir.path().join("log"))
            .unwrap();
        let error = child
            .until(|| async { false })
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("78") && error.contains("no such file"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_dropped_process_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let script = "echo started; exec tail -f /dev/null";
        let mut child = shell()
            .start("sh", &["-c", script], &dir.path().join("log"))
            .unwrap();
        child.first_line().await.unwrap();
        let pid = child.pid().unwrap();
        drop(child);
        // The runtime reaps it soon after; until then it is a zombie, which no longer runs.
        let mut ticks = interval(Duration::from_millis(10));
        loop {
            ticks.tick().await;
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
            if stat.map_or(true, |stat| stat.contains(") Z ")) {
                break;
            }
        }
    }
}
