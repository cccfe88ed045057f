//! The sidecar as a process: started, reached over mTLS, signalled, killed, started again.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::process::{Child, Command};

use crate::client::{Client, Connection, Target, plain_request};
use crate::configuration::{AGENT, Setup, WEB};
use crate::pki::Identity;
use crate::real;
use crate::wait::{PATIENCE, eventually, within};

/// A sidecar that runs.
#[derive(Debug)]
pub struct Sidecar {
    /// What it was started with.
    pub setup: Setup,
    /// The certificate of the client `chart-web`: a person reads the screen.
    pub web: Identity,
    /// The certificate of the client `care-agent`.
    pub agent: Identity,
    process: Child,
}

impl Sidecar {
    /// Starts one and waits until it is ready.
    ///
    /// # Panics
    /// If it ends instead: with its log.
    pub async fn start(setup: Setup) -> Self {
        let mut sidecar = Self::launch(setup);
        sidecar.ready().await;
        sidecar
    }

    /// Starts one, not yet awaited.
    #[must_use]
    pub fn launch(setup: Setup) -> Self {
        setup.write();
        let process = launch(&setup);
        let (web, agent) = (setup.authority.client(WEB), setup.authority.client(AGENT));
        Self {
            setup,
            web,
            agent,
            process,
        }
    }

    /// Waits until it serves, ready or not: while it asks for its keys it answers probes, and has no metrics yet.
    pub async fn serves(&self) {
        let admin = self.admin();
        let alive = || async {
            tokio::net::TcpStream::connect(&admin).await.ok()?;
            let (status, _) = plain_request(&admin, "GET", "/metrics", &[], Vec::new()).await;
            (status == 200).then_some(())
        };
        eventually("a sidecar that serves", alive).await;
    }

    /// Waits until `/readyz` says so.
    ///
    /// # Panics
    /// If it ends instead: with its log.
    pub async fn ready(&mut self) {
        let admin = self.admin();
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        let ready = async {
            loop {
                ticks.tick().await;
                if let Some(status) = self.process.try_wait().expect("a process") {
                    return Some(status);
                }
                let listens = tokio::net::TcpStream::connect(&admin).await.is_ok();
                if listens
                    && plain_request(&admin, "GET", "/readyz", &[], Vec::new())
                        .await
                        .0
                        == 200
                {
                    return None;
                }
            }
        };
        match tokio::time::timeout(PATIENCE, ready).await {
            Ok(None) => {}
            Ok(Some(status)) => panic!("the sidecar ended ({status}):\n{}", self.log()),
            Err(_) => panic!("the sidecar did not become ready:\n{}", self.log()),
        }
    }

    /// What `/readyz` says now; one that does not answer is not ready.
    pub async fn is_ready(&self) -> bool {
        let admin = self.admin();
        if tokio::net::TcpStream::connect(&admin).await.is_err() {
            return false;
        }
        let (status, _) = plain_request(&admin, "GET", "/readyz", &[], Vec::new()).await;
        status == 200
    }

    /// Where clients connect.
    #[must_use]
    pub fn target(&self) -> Target {
        Target {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, self.setup.port)),
            server_name: "localhost".to_owned(),
            host: format!("localhost:{}", self.setup.port),
            path: "/mcp".to_owned(),
        }
    }

    /// What SDKs are given.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://localhost:{}/mcp", self.setup.port)
    }

    /// The authority of the metrics and probes.
    #[must_use]
    pub fn admin(&self) -> String {
        format!("127.0.0.1:{}", self.setup.admin_port)
    }

    /// TLS as a good client has it.
    #[must_use]
    pub fn tls(&self, identity: &Identity) -> ClientConfig {
        self.setup
            .authority
            .client_config(Some(identity), &[&rustls::version::TLS13])
    }

    /// A connection with the certificate of `chart-web`.
    pub async fn connect(&self) -> Connection {
        Connection::open(&self.target(), self.tls(&self.web))
            .await
            .expect("a connection")
    }

    /// A client of the software `chart-web` with a token, past its handshake.
    pub async fn client(&self, token: &str) -> Client {
        self.client_as(&self.web, token).await
    }

    /// The same with any certificate.
    pub async fn client_as(&self, identity: &Identity, token: &str) -> Client {
        let connection = Connection::open(&self.target(), self.tls(identity))
            .await
            .expect("a connection");
        let mut client = Client::new(connection, token);
        client.initialize().await;
        client
    }

    /// One more connection of a client's principal and MCP session.
    pub async fn another(&self, client: &Client) -> Client {
        let mut another = Client::new(self.connect().await, &client.token);
        another.session = client.session.clone();
        another
    }

    /// The text of `/metrics`.
    pub async fn metrics(&self) -> String {
        let (status, body) = plain_request(&self.admin(), "GET", "/metrics", &[], Vec::new()).await;
        assert_eq!(status, 200, "metrics are served");
        String::from_utf8(body.to_vec()).expect("UTF-8")
    }

    /// The sum of the samples of a metric whose labels hold all of `labels`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.metrics().await;
        let samples = text.lines().filter(|line| {
            line.split(['{', ' ']).next() == Some(name)
                && labels.iter().all(|label| line.contains(label))
        });
        samples
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// The events of its spool.
    #[must_use]
    pub fn events(&self) -> Vec<serde_json::Value> {
        crate::spool::events(&self.setup.spool())
    }

    /// Waits until an event is in the spool for which `matches` holds.
    pub async fn event(
        &self,
        name: &str,
        matches: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        eventually(name, || async {
            self.events()
                .into_iter()
                .find(|event| event["event"] == name && matches(event))
        })
        .await
    }

    /// What it wrote to its standard output and error.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.setup.folder.path().join("log")).unwrap_or_default()
    }

    /// Sends a signal by its name, without SIG.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = std::process::Command::new("sh")
            .args(["-c", "kill -\"$0\" \"$1\"", name, &pid])
            .status();
        assert!(status.expect("sh").success(), "{name} to {pid}");
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id().expect("a process that runs")
    }

    /// Lets no file of its process grow beyond so many bytes (none: no limit any more): to it the disk is full.
    ///
    /// # Panics
    /// If the kernel refuses, or the setup does not outlive it.
    pub fn limit_files(&self, bytes: Option<u64>) {
        assert!(self.setup.outlives_file_limit, "the signal would end it");
        let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        let status = std::process::Command::new("prlimit")
            .args(["--pid", &self.pid().to_string()])
            .arg(format!("--fsize={limit}:"))
            .status();
        assert!(status.expect("prlimit").success(), "a limit of {limit}");
    }

    /// Bytes of memory that are its own now.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("its status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("its size");
        line.trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .expect("a number")
            * 1024
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        within("the end of the sidecar", self.process.wait())
            .await
            .expect("a process")
    }

    /// Ends it without warning.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("a process");
    }

    /// Drains it, and its exit status.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Starts it again with the same files, not yet awaited.
    pub fn launch_again(&mut self) {
        self.process = launch(&self.setup);
    }

    /// Runs another subcommand with the same configuration and environment.
    pub async fn command(&self, arguments: &[&str]) -> Output {
        command(&self.setup, arguments).await
    }
}

/// Runs a subcommand in the environment of a setup.
pub async fn command(setup: &Setup, arguments: &[&str]) -> Output {
    command_in(setup, &setup.environment, arguments).await
}

/// Runs a subcommand in another environment.
pub async fn command_in(
    setup: &Setup,
    environment: &BTreeMap<String, String>,
    arguments: &[&str],
) -> Output {
    let child = Command::new(real::binary())
        .args(arguments)
        .env_clear()
        .envs(environment)
        .current_dir(setup.folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary");
    within("a subcommand", child.wait_with_output())
        .await
        .expect("a process")
}

/// Runs a subcommand with a text on its standard input; its standard output, if it ended well.
pub async fn filter(arguments: &[&str], input: &str) -> Result<String, String> {
    filter_in(&BTreeMap::new(), arguments, input).await
}

/// The same in an environment.
pub async fn filter_in(
    environment: &BTreeMap<String, String>,
    arguments: &[&str],
    input: &str,
) -> Result<String, String> {
    use tokio::io::AsyncWriteExt;
    let mut child = Command::new(real::binary())
        .args(arguments)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary");
    let mut stdin = child.stdin.take().expect("a pipe");
    let text = input.as_bytes().to_vec();
    // Written beside the reading: both pipes may fill.
    let writer = tokio::spawn(async move {
        let _ended_early = stdin.write_all(&text).await;
    });
    let output = within("a subcommand", child.wait_with_output())
        .await
        .expect("a process");
    writer.await.expect("the writer");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

/// Waits until a metric reaches a value.
pub async fn metric_reaches(sidecar: &Sidecar, name: &str, labels: &[&str], least: f64) {
    eventually(name, || async {
        (sidecar.metric(name, labels).await >= least).then_some(())
    })
    .await;
}

/// A folder and its files, for `--config`.
#[must_use]
pub fn path_text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn launch(setup: &Setup) -> Child {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(setup.folder.path().join("log"))
        .expect("a log file");
    let mut command = match setup.outlives_file_limit {
        true => {
            let mut shell = Command::new("sh");
            shell
                .args(["-c", r#"trap '' XFSZ; exec "$0" "$@""#])
                .arg(real::binary());
            shell
        }
        false => Command::new(real::binary()),
    };
    command
        .arg("run")
        .arg("--config")
        .arg(setup.config())
        .env_clear()
        .envs(&setup.environment)
        .current_dir(setup.folder.path())
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log file"))
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .expect("the binary")
}
