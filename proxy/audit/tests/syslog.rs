//! The syslog sink against a real rsyslog of its own, which asks for a client certificate of its own authority.
//!
//! Where `rsyslogd` is not installed the tests say so and pass, unless `SAFEGUARD_REQUIRE_REAL` is set: then they fail.

#![cfg(test)]

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use safeguard_audit::delivery::{Delivery, DeliverySettings};
use safeguard_audit::sink::syslog::{Syslog, SyslogSettings};
use safeguard_audit::sink::{Sink, TlsMaterial};
use safeguard_audit::{
    AuditKey, AuditKeys, Event, EventFormat, EventName, Outcome, Record, SpoolSettings, Subject,
    Trail,
};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

const DAEMON: &str = "/usr/sbin/rsyslogd";

fn keys() -> AuditKeys {
    AuditKeys::new(vec![AuditKey::new("aud-1", 0, [1; 32])]).unwrap()
}

/// A collector that takes clients named `sidecar` of its own authority, over TLS 1.3.
struct Collector {
    root: tempfile::TempDir,
    port: u16,
    authority: CertifiedIssuer<'static, KeyPair>,
    daemon: Option<Child>,
}

impl Collector {
    fn start() -> Option<Self> {
        let _other = rustls::crypto::aws_lc_rs::default_provider().install_default();
        if !Path::new(DAEMON).exists() {
            assert!(
                std::env::var_os("SAFEGUARD_REQUIRE_REAL").is_none(),
                "no {DAEMON}: install rsyslog and rsyslog-openssl"
            );
            println!("skipped: no {DAEMON}; install rsyslog and rsyslog-openssl");
            return None;
        }
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut collector = Self {
            root: tempfile::tempdir().unwrap(),
            port: listener.local_addr().unwrap().port(),
            authority,
            daemon: None,
        };
        drop(listener);
        fs::write(collector.path("ca.pem"), collector.authority.pem()).unwrap();
        collector.certify("server", "localhost");
        collector.certify("client", "sidecar");
        collector.configure("");
        collector.up();
        Some(collector)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The client's certificate becomes one of an authority that the collector does not know.
    fn forget_client(&self) {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["sidecar".to_owned()]).unwrap();
        let leaf = leaf.self_signed(&key).unwrap();
        fs::write(self.path("client.pem"), leaf.pem()).unwrap();
        fs::write(self.path("client.key"), key.serialize_pem()).unwrap();
    }

    /// `NAME.pem` and `NAME.key`.
    fn certify(&self, file: &str, name: &str) {
        let key = KeyPair::generate().unwrap();
        let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
        leaf.distinguished_name.push(DnType::CommonName, name);
        let leaf = leaf.signed_by(&key, &self.authority).unwrap();
        fs::write(self.path(&format!("{file}.pem")), leaf.pem()).unwrap();
        fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    fn configure(&self, more: &str) {
        let root = self.root.path().display();
        let port = self.port;
        let text = format!(
            r#"global(workDirectory="{root}" maxMessageSize="64k"
  defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{root}/ca.pem"
  defaultNetstreamDriverCertFile="{root}/server.pem" defaultNetstreamDriverKeyFile="{root}/server.key")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/name"
  permittedPeer=["sidecar"] gnutlsPriorityString="MinProtocol=TLSv1.3")
input(type="imtcp" address="127.0.0.1" port="{port}")
{more}
template(name="line" type="list") {{ property(name="pri") constant(value=" ") property(name="hostname") constant(value=" ")
  property(name="app-name") constant(value=" ") property(name="msgid") constant(value=" ") property(name="structured-data") constant(value=" ") property(name="msg") constant(value="\n") }}
action(type="omfile" file="{root}/out" template="line" asyncWriting="off" flushOnTXEnd="on")
"#
        );
        fs::write(self.path("conf"), text).unwrap();
    }

    fn up(&mut self) {
        let log = fs::File::create(self.path("log")).unwrap();
        let daemon = Command::new(DAEMON)
            .arg("-n")
            .arg("-f")
            .arg(self.path("conf"))
            .arg("-i")
            .arg(self.path("pid"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.daemon = Some(daemon);
        eventually("rsyslog listens", || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    /// As a service manager stops it: it writes what it has read.
    fn down(&mut self) {
        let Some(mut daemon) = self.daemon.take() else {
            return;
        };
        let pid = daemon.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        let _code = daemon.wait();
    }

    /// Each line that was written, whole ones only.
    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("out")).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(str::to_owned).collect()
    }

    /// How often each event arrived, by number.
    fn arrived(&self) -> BTreeMap<u64, usize> {
        let mut count = BTreeMap::new();
        for line in self.lines() {
            let record = Record::parse(event(&line).as_bytes()).unwrap();
            *count.entry(record.seq()).or_default() += 1;
        }
        count
    }

    fn settings(&self) -> SyslogSettings {
        let (ca, pem, key) = (
            self.path("ca.pem"),
            self.path("client.pem"),
            self.path("client.key"),
        );
        let read = |path: &Path| fs::read(path).map_err(|error| error.to_string());
        SyslogSettings {
            host: "localhost".to_owned(),
            port: self.port,
            material: Arc::new(move || {
                Ok(TlsMaterial {
                    ca_pem: read(&ca)?,
                    client_pem: Some((read(&pem)?, Zeroizing::new(read(&key)?))),
                })
            }),
            format: EventFormat::Native,
            message_bytes_max: 8192,
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// The event of a line, behind its structured data.
fn event(line: &str) -> &str {
    let at = line.find("] {").expect("structured data, then JSON");
    line.get(at + 2..).expect("JSON")
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within 30 s");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

struct Spool(tempfile::TempDir);

impl Spool {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> Trail {
        Trail::open(
            SpoolSettings::new(self.0.path().join("spool"), self.0.path().join("state")),
            keys(),
        )
        .unwrap()
    }
}

fn delivery(trail: &Trail, settings: SyslogSettings, batch_max: usize) -> Delivery<Syslog> {
    let serving = DeliverySettings {
        batch_max,
        linger: Duration::ZERO,
        backoff_min: Duration::from_millis(20),
        backoff_max: Duration::from_millis(100),
        ..DeliverySettings::default()
    };
    Delivery::new(trail, Syslog::new(settings).unwrap(), serving).unwrap()
}

/// Delivers what is durable, or stops at the first failure.
async fn drain(trail: &Trail, settings: SyslogSettings) {
    delivery(trail, settings, 2048)
        .run(std::future::ready(()))
        .await;
}

async fn record(trail: &Trail, times: usize) {
    let waiting: Vec<_> = (0..times)
        .map(|_| {
            let mut event = Event::new(EventName::PhiRead, Outcome::Success);
            event.subject = Some(Subject {
                sub: "alice \"]\\ é".into(),
                iss: "https://issuer.example".into(),
                ..Subject::default()
            });
            trail.record(event)
        })
        .collect();
    for pending in waiting {
        pending.durable().await.unwrap();
    }
}

fn metrics(trail: &Trail) -> safeguard_audit::SinkMetrics {
    trail.metrics().sinks[0].1.clone()
}

/// All that the trail has, each exactly once: `least` records, and the checkpoints among them.
#[track_caller]
fn each_once(arrived: &BTreeMap<u64, usize>, trail: &Trail, least: u64) {
    let delivered = metrics(trail).delivered;
    assert!(delivered >= least, "{delivered} of {least}");
    for seq in 0..delivered {
        assert_eq!(arrived.get(&seq), Some(&1), "record {seq}");
    }
    assert_eq!(arrived.len() as u64, delivered);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_arrives_once_with_the_bytes_that_were_hashed() {
    let Some(mut collector) = Collector::start() else {
        return;
    };
    let spool = Spool::new();
    let trail = spool.open();
    record(&trail, 5000).await;
    drain(&trail, collector.settings()).await;
    collector.down();
    each_once(&collector.arrived(), &trail, 5001);
    assert_eq!(metrics(&trail).failures, 0);
    assert_eq!(metrics(&trail).oldest_unsent_age_micros, None);
    let lines = collector.lines();
    let line = lines
        .iter()
        .find(|line| line.contains(" phi_read "))
        .unwrap();
    assert!(
        line.starts_with("110 "),
        "facility 13, informational: {line}"
    );
    let mut leaf = Sha256::new();
    leaf.update([0]);
    leaf.update(event(line).as_bytes());
    let hash: String = leaf
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert!(line.contains(&format!("hash=\"{hash}\"")), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_dies_and_comes_back_lacks_nothing_and_repeats_only_what_was_under_way() {
    let Some(mut collector) = Collector::start() else {
        return;
    };
    let spool = Spool::new();
    let trail = spool.open();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = delivery(&trail, collector.settings(), 50);
    let running = tokio::spawn(serving.run(async move { drop(stopped.await) }));
    for round in 1..=4 {
        record(&trail, 400).await;
        eventually("some arrive", || collector.lines().len() > round * 150);
        collector.down();
        record(&trail, 100).await;
        eventually("the outage is noticed", || !metrics(&trail).healthy);
        collector.up();
        eventually("the sink is well again", || metrics(&trail).healthy);
    }
    stop.send(()).unwrap();
    running.await.unwrap();
    trail.close().await.unwrap();
    drain(&trail, collector.settings()).await;
    collector.down();
    let arrived = collector.arrived();
    let last = trail.metrics().spool_records;
    assert_eq!(
        arrived.keys().copied().collect::<Vec<_>>(),
        (0..last).collect::<Vec<_>>()
    );
    let repeated = arrived.values().filter(|count| **count > 1).count() as u64;
    let failures = metrics(&trail).failures;
    assert!(
        repeated <= 50 * failures,
        "{repeated} repeated in {failures} failures"
    );
    let failed = collector
        .lines()
        .iter()
        .filter(|line| line.contains(" sink_failed "))
        .count();
    assert!(failed >= 4, "{failed} outages are told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_refuses_our_certificate_confirms_nothing() {
    let Some(collector) = Collector::start() else {
        return;
    };
    // Under TLS 1.3 the handshake is done on our side before rsyslog looks at our certificate.
    collector.forget_client();
    let spool = Spool::new();
    let trail = spool.open();
    record(&trail, 100).await;
    for _ in 0..10 {
        drain(&trail, collector.settings()).await;
    }
    assert_eq!(metrics(&trail).delivered, 0);
    assert_eq!(collector.lines().len(), 0);
    assert!(!metrics(&trail).healthy);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let Some(mut collector) = Collector::start() else {
        return;
    };
    let spool = Spool::new();
    let trail = spool.open();
    let mut sink = Syslog::new(collector.settings()).unwrap();
    record(&trail, 10).await;
    let reached = sink.reach().await;
    assert!(reached.is_ok(), "{reached:?}");
    collector.forget_client();
    let refused = sink.reach().await;
    assert!(refused.is_err(), "the files are read anew");
    // The authority goes on, the certificate is another.
    collector.certify("client", "sidecar");
    drain(&trail, collector.settings()).await;
    let answer = sink.take(&[]).await.unwrap();
    assert_eq!(answer.new, 0);
    collector.down();
    each_once(&collector.arrived(), &trail, 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_collector_is_waited_for() {
    let Some(mut collector) = Collector::start() else {
        return;
    };
    // Its queue holds ten messages and each is worked for half a millisecond: it must stop reading, and TCP stops us.
    collector.down();
    collector.configure("main_queue(queue.size=\"1000\" queue.highWatermark=\"900\" queue.workerThreads=\"1\" queue.dequeueBatchSize=\"1\" queue.dequeueSlowdown=\"500\" queue.timeoutEnqueue=\"60000\" queue.discardMark=\"1000\" queue.discardSeverity=\"8\" queue.timeoutShutdown=\"60000\")");
    collector.up();
    let spool = Spool::new();
    let trail = spool.open();
    record(&trail, 4000).await;
    drain(&trail, collector.settings()).await;
    assert_eq!(metrics(&trail).failures, 0);
    eventually("all are written", || collector.lines().len() >= 4001);
    collector.down();
    each_once(&collector.arrived(), &trail, 4001);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_fits_in_no_message_is_set_aside_and_named() {
    let Some(mut collector) = Collector::start() else {
        return;
    };
    let spool = Spool::new();
    let trail = spool.open();
    record(&trail, 1).await;
    let mut event = Event::new(EventName::PhiRead, Outcome::Success);
    event.reason = Some("\u{1F600}".repeat(256).into());
    trail.record(event).durable().await.unwrap();
    record(&trail, 1).await;
    let mut settings = collector.settings();
    settings.message_bytes_max = 1200;
    drain(&trail, settings).await;
    let set_aside = metrics(&trail).set_aside;
    trail.close().await.unwrap();
    let mut settings = collector.settings();
    settings.message_bytes_max = 1200;
    drain(&trail, settings).await;
    collector.down();
    assert_eq!(set_aside, 1);
    let arrived = collector.arrived();
    assert_eq!(arrived.get(&2), None);
    assert_eq!((arrived.get(&1), arrived.get(&3)), (Some(&1), Some(&1)));
    let lines = collector.lines();
    let told = lines
        .iter()
        .find(|line| line.contains(" sink_failed "))
        .unwrap();
    assert!(
        told.contains("\"refused_seq\":2") && told.contains("event_refused"),
        "{told}"
    );
}
