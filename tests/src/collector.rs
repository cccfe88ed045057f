//! A log collector of one test's own: a real rsyslog that takes syslog over TLS 1.3 from clients of the test's authority.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::clinic::free_port;
use crate::configuration::Setup;
use crate::real;

const DAEMON: &str = "/usr/sbin/rsyslogd";
/// The longest message, of its own and of the sink.
const MESSAGE_BYTES: usize = 65_536;
/// The name in the client certificate that it permits.
const PERMITTED: &str = "audit.healthcare.example.com";

/// It runs from [`Collector::up`] to [`Collector::down`].
#[derive(Debug)]
pub struct Collector {
    folder: TempDir,
    port: u16,
    daemon: Option<Child>,
}

impl Collector {
    /// One that is not running yet, to which `setup` delivers records as the spool has them.
    ///
    /// # Panics
    /// If its files can't be written.
    pub fn of(setup: &mut Setup) -> Self {
        Self::of_format(setup, "native")
    }

    /// The same in a format, with room for each event whole.
    ///
    /// # Panics
    /// If its files can't be written.
    pub fn of_format(setup: &mut Setup, format: &str) -> Self {
        let collector = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            port: free_port(),
            daemon: None,
        };
        let folder = collector.folder.path();
        setup
            .authority
            .server(&["localhost"])
            .write(folder, "server");
        setup.authority.client(PERMITTED).write(folder, "client");
        std::fs::write(folder.join("ca.pem"), &setup.authority.pem).expect("a file");
        collector.configure();
        let (port, folder) = (collector.port, folder.display());
        setup.add_output(&format!(
            "    - type: siem\n      endpoint: syslog+tls://localhost:{port}\n      protocol: syslog\n      format: {format}\n      message_bytes_max: {MESSAGE_BYTES}\n      ca_file: {folder}/ca.pem\n      cert_file: {folder}/client.pem\n      key_file: {folder}/client.key\n"
        ));
        collector
    }

    /// Starts it, and waits until it listens.
    ///
    /// # Panics
    /// If it does not: `tests/run` installs rsyslog and rsyslog-openssl.
    pub async fn up(&mut self) {
        let daemon = Command::new(DAEMON)
            .args(["-n", "-f"])
            .arg(self.path("conf"))
            .arg("-i")
            .arg(self.path("pid"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("rsyslogd starts");
        self.daemon = Some(daemon);
        real::listens("rsyslog", self.port).await;
    }

    /// Stops it as a service manager does: what it has read it writes. One that is killed may lose that, and no sender
    /// can know of it (decision 21).
    ///
    /// # Panics
    /// If it can't be stopped.
    pub fn down(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            real::stop(daemon);
        }
    }

    /// The messages that it has written, whole lines only.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("out")).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().map(str::trim_start);
        lines.map(str::to_owned).collect()
    }

    /// The events that it has written.
    ///
    /// # Panics
    /// If a line holds no event.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.lines()
            .iter()
            .map(|line| serde_json::from_str(line).expect("an event as JSON"))
            .collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self) {
        let (folder, port) = (self.folder.path().display(), self.port);
        let text = format!(
            r#"global(workDirectory="{folder}" maxMessageSize="{MESSAGE_BYTES}"
  defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{folder}/ca.pem"
  defaultNetstreamDriverCertFile="{folder}/server.pem" defaultNetstreamDriverKeyFile="{folder}/server.key")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/name"
  permittedPeer=["{PERMITTED}"] gnutlsPriorityString="MinProtocol=TLSv1.3")
input(type="imtcp" address="127.0.0.1" port="{port}")
template(name="event" type="list") {{ property(name="msg") constant(value="\n") }}
action(type="omfile" file="{folder}/out" template="event" asyncWriting="off" flushOnTXEnd="on")
"#
        );
        std::fs::write(self.path("conf"), text).expect("its configuration");
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.down();
    }
}
