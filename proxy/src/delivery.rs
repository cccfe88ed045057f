//! The audit outputs of the configuration, each a task that carries events from the spool to its sink.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use safeguard_audit::delivery::{Delivery, DeliverySettings, Selection};
use safeguard_audit::sink::collector::Collector;
use safeguard_audit::sink::postgres::{Postgres, PostgresSettings, TableName};
use safeguard_audit::sink::s3::{Encryption, LockMode, S3, S3Settings, bucket};
use safeguard_audit::sink::syslog::{Syslog, SyslogSettings};
use safeguard_audit::sink::{ClientPem, Material, Sink, SinkError, Taken, TlsMaterial};
use safeguard_audit::{EventFormat, EventName, Record, Trail};
use safeguard_policy::{
    Configuration, Output, Postgresql, S3Encryption, S3Lock, Siem, SiemProtocol,
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::aws::s3::S3Store;

mod http;

use http::HttpPost;

/// The largest certificate or key file that is read, in bytes.
const PEM_BYTES_MAX: u64 = 1024 * 1024;
/// Least time between two batches to a collector that were not full: each is a connection of its own.
const SIEM_LINGER: Duration = Duration::from_secs(1);
/// Events of a batch for a bucket: more than its bytes hold of events as long as most are.
const S3_BATCH_MAX: usize = 65_536;
/// How long a start waits for the bucket's word on Object Lock.
const ADMIT_MAX: Duration = Duration::from_secs(10);

/// The tasks of all outputs.
#[derive(Debug)]
pub struct Deliveries {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Deliveries {
    /// Starts a task for each output. Must be called inside the runtime.
    ///
    /// # Errors
    /// When an output's settings or files are unusable; the text says which and how to mend it.
    pub fn start(configuration: &Configuration, trail: &Trail) -> Result<Self, String> {
        let names: Vec<EventName> = configuration
            .audit
            .events
            .iter()
            .filter_map(|name| EventName::parse(name))
            .collect();
        let settings = DeliverySettings {
            selection: Selection::new(&names),
            ..DeliverySettings::default()
        };
        let mut deliveries = Self {
            stop: watch::Sender::new(false),
            tasks: JoinSet::new(),
        };
        for output in &configuration.audit.outputs {
            match output {
                Output::Postgresql(output) => {
                    let sink = Postgres::new(postgres(output)?, trail)
                        .map_err(|error| error.to_string())?
                        .renewed_by(files([
                            output.ca_file.clone(),
                            output.cert_file.clone(),
                            output.key_file.clone(),
                        ]));
                    deliveries.serve(trail, sink, settings.clone())?;
                }
                Output::Siem(output) => {
                    // What breaks off comes again from its beginning: so much is sent again at most.
                    let batch_bytes_max = match &output.protocol {
                        SiemProtocol::Syslog { .. } => settings.batch_bytes_max,
                        SiemProtocol::Otlp(http) | SiemProtocol::Hec(http, _) => {
                            http.request_bytes_max
                        }
                    };
                    let settings = DeliverySettings {
                        batch_bytes_max,
                        linger: SIEM_LINGER,
                        ..settings.clone()
                    };
                    deliveries.serve(trail, SiemSink::of(output)?, settings)?;
                }
                Output::S3(output) => {
                    let sink = S3::new(S3Store::new(output)?, s3(output), trail);
                    let settings = DeliverySettings {
                        batch_max: S3_BATCH_MAX,
                        batch_bytes_max: output.object_bytes_max,
                        linger: output.object_age_max,
                        ..settings.clone()
                    };
                    deliveries.serve(trail, sink, settings)?;
                }
            }
        }
        Ok(deliveries)
    }

    fn serve(
        &mut self,
        trail: &Trail,
        sink: impl Sink + Sync + 'static,
        settings: DeliverySettings,
    ) -> Result<(), String> {
        let delivery = Delivery::new(trail, sink, settings).map_err(|error| error.to_string())?;
        let mut stop = self.stop.subscribe();
        self.tasks.spawn(delivery.run(async move {
            // A sender that is gone has stopped too.
            let _ = stop.wait_for(|stop| *stop).await;
        }));
        Ok(())
    }

    /// Lets every sink take what is durable, for at most `deadline`; the cursors keep the rest for the next run.
    pub async fn stop(mut self, deadline: std::time::Duration) {
        let _ = self.stop.send(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(deadline, all).await.is_err() {
            log::warn!(
                "an audit output has not taken every event yet: the next run goes on from its cursor"
            );
        }
    }
}

/// What it takes to reach the table of an output.
///
/// # Errors
/// A name or file that can't be used; the text says which and how to mend it.
pub(crate) fn postgres(output: &Postgresql) -> Result<PostgresSettings, String> {
    let table = TableName::parse(&output.table)
        .map_err(|error| format!("audit_logging.output.table: {error}"))?;
    let TlsMaterial { ca_pem, client_pem } = material(
        output.ca_file.as_deref(),
        output.cert_file.as_deref(),
        output.key_file.as_deref(),
    )?;
    Ok(PostgresSettings {
        host: output.host.clone(),
        port: output.port,
        database: output.database.clone(),
        user: output.user.clone(),
        password: output
            .password
            .as_ref()
            .map(|secret| Zeroizing::new(secret.expose().to_owned())),
        channel_binding: output.channel_binding,
        ca_pem,
        client_pem,
        table,
        encrypted: output.encrypted,
    })
}

/// May the sidecar start with these outputs? Only a bucket that says that it has no Object Lock, where that is required, keeps it from it: whatever else is wrong with a
/// sink may pass, and the spool keeps its events.
///
/// # Errors
/// Such a bucket.
pub(crate) async fn admit(configuration: &Configuration) -> Result<(), String> {
    for output in &configuration.audit.outputs {
        let Output::S3(output) = output else { continue };
        let (store, settings) = (S3Store::new(output)?, s3(output));
        let asking = tokio::time::timeout(ADMIT_MAX, bucket::admit(&store, &settings));
        match asking.await {
            Ok(Err(error)) if error.code == bucket::NO_OBJECT_LOCK => {
                return Err(format!(
                    "audit_logging.output[s3] {}: {error}",
                    output.bucket
                ));
            }
            Ok(Err(error)) => log::warn!("the sink s3: {error}; the spool keeps its events"),
            Ok(Ok(())) => {}
            Err(_) => log::warn!("the sink s3 did not answer in time; the spool keeps its events"),
        }
    }
    Ok(())
}

/// What becomes of events in a bucket.
pub(crate) fn s3(output: &safeguard_policy::S3) -> S3Settings {
    S3Settings {
        prefix: output.prefix.clone(),
        encrypted: output.encrypted,
        encryption: match &output.encryption {
            S3Encryption::Aes256 => Encryption::Aes256,
            S3Encryption::Kms(key) => Encryption::Kms(key.clone()),
        },
        lock: output.lock.map(|lock| match lock {
            S3Lock::Compliance => LockMode::Compliance,
            S3Lock::Governance => LockMode::Governance,
        }),
        keep_days: output.keep_days,
        object_bytes_max: output.object_bytes_max,
    }
}

/// A log collector, by the protocol that it speaks. Its files are read at each connection.
#[derive(Debug)]
pub(crate) enum SiemSink {
    Syslog(Syslog),
    Http(Collector<HttpPost>),
}

impl SiemSink {
    /// The sink of an output, not connected yet.
    ///
    /// # Errors
    /// Settings or files that can't be used; the text says which and how to mend it.
    pub(crate) fn of(output: &Siem) -> Result<Self, String> {
        let material = files([
            output.ca_file.clone(),
            output.cert_file.clone(),
            output.key_file.clone(),
        ]);
        match &output.protocol {
            SiemProtocol::Syslog { host, port } => {
                let settings = SyslogSettings {
                    host: host.clone(),
                    port: *port,
                    material,
                    format: EventFormat::parse(&output.format).unwrap_or_default(),
                    message_bytes_max: output.message_bytes_max,
                };
                let sink = Syslog::new(settings).map_err(|error| error.to_string())?;
                Ok(Self::Syslog(sink))
            }
            SiemProtocol::Otlp(at) => http::collector(output, at, None, material).map(Self::Http),
            SiemProtocol::Hec(at, hec) => {
                http::collector(output, at, Some(hec), material).map(Self::Http)
            }
        }
    }

    /// Whether the collector is there and takes what comes from us; sends no event.
    ///
    /// # Errors
    /// It is not, or does not.
    pub(crate) async fn reach(&self) -> Result<(), SinkError> {
        match self {
            Self::Syslog(sink) => sink.reach().await,
            Self::Http(sink) => sink.reach().await,
        }
    }
}

impl Sink for SiemSink {
    fn name(&self) -> &str {
        match self {
            Self::Syslog(sink) => sink.name(),
            Self::Http(sink) => sink.name(),
        }
    }

    async fn take(&mut self, batch: &[Record]) -> Result<Taken, SinkError> {
        match self {
            Self::Syslog(sink) => sink.take(batch).await,
            Self::Http(sink) => sink.take(batch).await,
        }
    }
}

/// The authorities, certificate and key of a sink, read anew each time.
fn files(files: [Option<PathBuf>; 3]) -> Material {
    Arc::new(move || {
        let [ca, certificate, key] = files.each_ref().map(Option::as_deref);
        material(ca, certificate, key)
    })
}

/// The files of a sink's TLS, the system's authorities where none are named.
fn material(
    ca: Option<&Path>,
    certificate: Option<&Path>,
    key: Option<&Path>,
) -> Result<TlsMaterial, String> {
    let ca_pem = match ca {
        Some(path) => read(path, "ca_file")?.to_vec(),
        None => system_roots()?,
    };
    let client_pem: Option<ClientPem> = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((
            read(certificate, "cert_file")?.to_vec(),
            read(key, "key_file")?,
        )),
        _ => None,
    };
    Ok(TlsMaterial { ca_pem, client_pem })
}

fn read(path: &Path, key: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let words =
        |error: std::io::Error| format!("audit_logging.output.{key}: {}: {error}", path.display());
    let length = std::fs::metadata(path).map_err(words)?.len();
    if length > PEM_BYTES_MAX {
        return Err(format!(
            "audit_logging.output.{key}: {}: larger than {PEM_BYTES_MAX} bytes",
            path.display()
        ));
    }
    std::fs::read(path).map(Zeroizing::new).map_err(words)
}

/// The system's certificate authorities, as PEM.
fn system_roots() -> Result<Vec<u8>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut pem = Vec::new();
    for certificate in &found.certs {
        pem.extend_from_slice(b"-----BEGIN CERTIFICATE-----\n");
        let encoded = base64_simd::STANDARD.encode_to_string(certificate.as_ref());
        for line in encoded.as_bytes().chunks(64) {
            pem.extend_from_slice(line);
            pem.push(b'\n');
        }
        pem.extend_from_slice(b"-----END CERTIFICATE-----\n");
    }
    if pem.is_empty() {
        return Err(
            "audit_logging.output.ca_file: the system has no certificate authorities: name a file"
                .to_owned(),
        );
    }
    Ok(pem)
}
