//! A log collector of one test's own that HTTP reaches: a real OpenTelemetry Collector (`fixtures/collector`), which takes OTLP or events of Splunk's kind over TLS 1.3
//! from clients of the test's authority that know its token, and writes what it has to a file.

use std::path::PathBuf;
use std::process::{Child, Command};

use serde_json::Value;
use tempfile::TempDir;

use crate::clinic::free_port;
use crate::configuration::Setup;
use crate::pki::Authority;
use crate::real;

/// The collector's token: no log line, metric or event may hold it.
pub const TOKEN: &str = "canary-token-of-the-collector-of-the-tests";
/// The name in the sink's client certificate.
const CLIENT: &str = "audit.healthcare.example.com";

/// The longest request, its own default.
const REQUEST_BYTES: usize = 20 * 1024 * 1024;

/// What it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// OTLP/HTTP.
    Otlp,
    /// The HTTP event collector's protocol, with indexer acknowledgement.
    Hec,
}

impl Speaks {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Otlp, Self::Hec];

    fn name(self) -> &'static str {
        match self {
            Self::Otlp => "otlp",
            Self::Hec => "hec",
        }
    }
}

/// It runs from [`Otel::up`] to [`Otel::down`].
#[derive(Debug)]
pub struct Otel {
    folder: TempDir,
    speaks: Speaks,
    port: u16,
    request_bytes_max: usize,
    daemon: Option<Child>,
}

/// One record as it has it.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// The record's chain and number.
    pub place: (String, u64),
    /// Its resource's attributes.
    pub resource: Value,
    /// All of it.
    pub record: Value,
}

impl Otel {
    /// One that is not running yet, to which `setup` delivers with further lines of YAML.
    ///
    /// # Panics
    /// If its files can't be written.
    pub fn of(setup: &mut Setup, speaks: Speaks, more: &str) -> Self {
        let collector = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            speaks,
            port: free_port(),
            request_bytes_max: REQUEST_BYTES,
            daemon: None,
        };
        collector.certify(&setup.authority);
        collector.write("client-ca.pem", &setup.authority.pem);
        collector.trust(&setup.authority);
        collector.configure();
        let folder = collector.folder.path().display();
        let acknowledge = match speaks {
            Speaks::Otlp => "",
            Speaks::Hec => "      acknowledge: true\n",
        };
        setup.add_output(&format!(
            "    - type: siem\n      endpoint: https://localhost:{}\n      protocol: {}\n      ca_file: {folder}/ca.pem\n      cert_file: {folder}/client.pem\n      key_file: {folder}/client.key\n{acknowledge}{more}",
            collector.port,
            speaks.name(),
        ));
        setup.set("SAFEGUARD_SIEM_TOKEN", TOKEN);
        collector
    }

    /// Lets it take requests of at most so many bytes from its next start on.
    pub fn limit_requests(&mut self, bytes: usize) {
        self.request_bytes_max = bytes;
        self.configure();
    }

    /// Gives it and the sink certificates of an authority, for its next start and the sink's next connection.
    pub fn certify(&self, authority: &Authority) {
        let server = authority.server(&["localhost"]);
        server.write(self.folder.path(), "server");
        let client = authority.client(CLIENT);
        client.write(self.folder.path(), "client");
        self.write("client-ca.pem", &authority.pem);
    }

    /// Lets the sink trust an authority.
    pub fn trust(&self, authority: &Authority) {
        self.write("ca.pem", &authority.pem);
    }

    /// Starts it, and waits until it listens.
    ///
    /// # Panics
    /// If it does not: `tests/run` builds it.
    pub async fn up(&mut self) {
        let log = std::fs::File::create(self.path("log")).expect("a log");
        let daemon = Command::new(real::otel())
            .arg("--config")
            .arg(format!("file:{}", self.path("config.yaml").display()))
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the collector starts");
        self.daemon = Some(daemon);
        real::listens("the collector", self.port).await;
    }

    /// Stops it as a service manager does: what it has answered it has written.
    ///
    /// # Panics
    /// If it can't be stopped.
    pub fn down(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            real::stop(daemon);
        }
    }

    /// What it has, in the order of arrival, whole lines only.
    ///
    /// # Panics
    /// If a line is none of its.
    #[must_use]
    pub fn arrived(&self) -> Vec<Arrived> {
        let text = self.text();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("a batch as JSON"));
        lines.flat_map(|batch| self.records(&batch)).collect()
    }

    /// All that it has written, as it stands.
    #[must_use]
    pub fn text(&self) -> String {
        std::fs::read_to_string(self.path("out")).unwrap_or_default()
    }

    fn records(&self, batch: &Value) -> Vec<Arrived> {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let mut arrived = Vec::new();
        for resource in list(&batch["resourceLogs"]) {
            for scope in list(&resource["scopeLogs"]) {
                for record in list(&scope["logRecords"]) {
                    arrived.push(Arrived {
                        place: self.place(&record),
                        resource: resource["resource"]["attributes"].clone(),
                        record,
                    });
                }
            }
        }
        arrived
    }

    /// Chain and number: of OTLP its attributes, of the other its indexed fields.
    fn place(&self, record: &Value) -> (String, u64) {
        let prefix = match self.speaks {
            Speaks::Otlp => "safeguard.",
            Speaks::Hec => "",
        };
        let attribute = |name: &str| text_of(&record["attributes"], &format!("{prefix}{name}"));
        let number = attribute("seq").parse().expect("a number");
        (attribute("chain"), number)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a file");
    }

    fn configure(&self) {
        let (folder, port) = (self.folder.path().display(), self.port);
        let bytes = self.request_bytes_max;
        let server = format!(
            "endpoint: 127.0.0.1:{port}, max_request_body_size: {bytes}, auth: {{ authenticator: bearertokenauth }}, tls: {{ cert_file: {folder}/server.pem, key_file: {folder}/server.key, client_ca_file: {folder}/client-ca.pem, min_version: '1.3' }}"
        );
        let (scheme, name, receiver) = match self.speaks {
            Speaks::Otlp => (
                "Bearer",
                "otlp",
                format!("{{ protocols: {{ http: {{ {server} }} }} }}"),
            ),
            Speaks::Hec => (
                "Splunk",
                "splunk_hec",
                format!("{{ {server}, ack: {{ path: /services/collector/ack, extension: ack }} }}"),
            ),
        };
        let text = format!(
            "extensions:
  ack:
  bearertokenauth: {{ scheme: {scheme}, token: {TOKEN} }}
receivers:
  {name}: {receiver}
exporters:
  file: {{ path: {folder}/out, append: true, flush_interval: 100ms }}
service:
  extensions: [ack, bearertokenauth]
  telemetry: {{ metrics: {{ level: none }}, logs: {{ level: warn }} }}
  pipelines:
    logs: {{ receivers: [{name}], exporters: [file] }}
"
        );
        self.write("config.yaml", &text);
    }
}

impl Drop for Otel {
    fn drop(&mut self) {
        self.down();
    }
}

/// The attribute of this name as a text; empty if there is none.
#[must_use]
pub fn text_of(attributes: &Value, name: &str) -> String {
    let mut all = attributes.as_array().into_iter().flatten();
    let value = all.find(|attribute| attribute["key"] == name);
    let value = value.map_or(&Value::Null, |attribute| &attribute["value"]);
    let text = ["stringValue", "intValue"].map(|kind| value[kind].as_str().unwrap_or_default());
    text.concat()
}
