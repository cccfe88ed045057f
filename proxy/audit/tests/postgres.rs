//! The PostgreSQL sink against a real server of its own: TLS with certificates made here, SCRAM or client certificates, an insert-only role.
//!
//! The server's programs are looked for in `SAFEGUARD_PG_BIN` and the distribution's places. Without them the tests say so and pass,
//! unless `SAFEGUARD_REQUIRE_REAL` is set: then they fail.

#![cfg(test)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use safeguard_audit::delivery::{Delivery, DeliverySettings};
use safeguard_audit::query::Query;
use safeguard_audit::sink::open_payload;
use safeguard_audit::sink::postgres::read::{self, ReadError, TableAnswer};
use safeguard_audit::sink::postgres::schema::schema;
use safeguard_audit::sink::postgres::{Postgres, PostgresSettings, TableName};
use safeguard_audit::sink::{Material, Sink, TlsMaterial};
use safeguard_audit::{
    AuditKey, AuditKeys, Event, EventName, Outcome, Record, SpoolSettings, Subject, Trail,
};
use zeroize::Zeroizing;

const PASSWORD: &str = "for-this-test-only";

fn keys() -> AuditKeys {
    AuditKeys::new(vec![AuditKey::new("aud-1", 0, [1; 32])]).unwrap()
}

fn programs() -> Option<PathBuf> {
    let named = std::env::var_os("SAFEGUARD_PG_BIN").map(PathBuf::from);
    let places = (13..=18)
        .rev()
        .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")));
    let found = named
        .into_iter()
        .chain(places)
        .find(|place| place.join("initdb").exists());
    assert!(
        found.is_some() || std::env::var_os("SAFEGUARD_REQUIRE_REAL").is_none(),
        "no PostgreSQL: set SAFEGUARD_PG_BIN"
    );
    if found.is_none() {
        println!("skipped: no PostgreSQL; set SAFEGUARD_PG_BIN");
    }
    found
}

/// A private cluster, stopped and deleted at the end.
struct Server {
    root: tempfile::TempDir,
    programs: PathBuf,
    port: u16,
    client_pem: (Vec<u8>, Zeroizing<Vec<u8>>),
}

impl Server {
    fn start() -> Option<Self> {
        let programs = programs()?;
        // The provider may have been installed by another test of this process.
        let _other = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let client_pem = certificates(root.path());
        let server = Self {
            root,
            programs,
            port,
            client_pem,
        };
        if is_root() {
            assert!(
                Command::new("chown")
                    .args(["-R", "postgres"])
                    .arg(server.root.path())
                    .status()
                    .unwrap()
                    .success()
            );
        }
        server.run(
            "initdb",
            &[
                "-D",
                &server.path("data"),
                "-A",
                "trust",
                "-U",
                "postgres",
                "--no-sync",
            ],
        );
        server.write("data/pg_hba.conf", "local all postgres trust\nhostssl audit audit_writer,auditor all scram-sha-256\nhostssl audit_cert audit_writer all cert clientcert=verify-full\n");
        let configuration = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{root}'\nssl = on\nssl_min_protocol_version = 'TLSv1.3'\n\
             ssl_ca_file = '{root}/ca.pem'\nssl_cert_file = '{root}/server.pem'\nssl_key_file = '{root}/server.key'\nfsync = off\n",
            root = server.root.path().display()
        );
        server.write("data/postgresql.auto.conf", &configuration);
        server.up();
        for database in ["audit", "audit_cert"] {
            server
                .sql("postgres", &format!("CREATE DATABASE {database}"))
                .unwrap();
            let table = schema(&table(), 2555);
            server.sql(database, &table).unwrap();
            server.sql(database, &table).expect("the schema runs twice");
        }
        server
            .sql(
                "postgres",
                &format!(
                    "ALTER ROLE audit_writer PASSWORD '{PASSWORD}'; CREATE ROLE auditor LOGIN PASSWORD '{PASSWORD}' IN ROLE audit_reader"
                ),
            )
            .unwrap();
        Some(server)
    }

    fn path(&self, name: &str) -> String {
        self.root.path().join(name).display().to_string()
    }

    /// As the cluster's owner, who is not root.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        if !is_root() {
            return Command::new(program);
        }
        let mut command = Command::new("runuser");
        command
            .args(["-u", "postgres", "--"])
            .arg(program)
            .current_dir(self.root.path());
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let output = self.command(program).args(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn up(&self) {
        // The server keeps its parent's pipes open, so they go to a file.
        let log = self.path("log");
        let mut start = self.command("pg_ctl");
        start
            .args(["-D", &self.path("data"), "-l", &log, "-w", "start"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        assert!(
            start.status().unwrap().success(),
            "{}",
            fs::read_to_string(log).unwrap_or_default()
        );
    }

    fn down(&self) {
        let mut stop = self.command("pg_ctl");
        let _stopped = stop
            .args(["-D", &self.path("data"), "-m", "immediate", "-w", "stop"])
            .output();
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.root.path().join(name), text).unwrap();
    }

    fn psql(&self, database: &str, sql: &str) -> Output {
        let port = self.port.to_string();
        let root = self.root.path().display().to_string();
        self.command("psql")
            .args([
                "-X",
                "-q",
                "-tA",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                &root,
                "-p",
                &port,
                "-U",
                "postgres",
                "-d",
                database,
                "-c",
                sql,
            ])
            .output()
            .unwrap()
    }

    fn sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let output = self.psql(database, sql);
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    fn settings(&self) -> PostgresSettings {
        PostgresSettings {
            host: "localhost".to_owned(),
            port: self.port,
            database: "audit".to_owned(),
            user: "audit_writer".to_owned(),
            password: Some(Zeroizing::new(PASSWORD.to_owned())),
            channel_binding: true,
            ca_pem: fs::read(self.root.path().join("ca.pem")).unwrap(),
            client_pem: None,
            table: table(),
            encrypted: true,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.down();
    }
}

fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout == b"0\n")
}

fn table() -> TableName {
    TableName::parse("audit_logs").unwrap()
}

/// `ca.pem`, `server.pem`, `server.key` for `localhost`, and a client certificate for the role.
fn certificates(root: &Path) -> (Vec<u8>, Zeroizing<Vec<u8>>) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    fs::write(root.join("ca.pem"), authority.pem()).unwrap();
    fs::write(root.join("server.pem"), server.pem()).unwrap();
    fs::write(root.join("server.key"), key.serialize_pem()).unwrap();
    fs::set_permissions(root.join("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut client = CertificateParams::new(Vec::new()).unwrap();
    client
        .distinguished_name
        .push(DnType::CommonName, "audit_writer");
    let client = client.signed_by(&key, &authority).unwrap();
    (
        client.pem().into_bytes(),
        Zeroizing::new(key.serialize_pem().into_bytes()),
    )
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

fn delivery(trail: &Trail, settings: PostgresSettings) -> Delivery<Postgres> {
    let serving = DeliverySettings {
        backoff_min: Duration::from_millis(20),
        backoff_max: Duration::from_millis(100),
        ..DeliverySettings::default()
    };
    Delivery::new(trail, Postgres::new(settings, trail).unwrap(), serving).unwrap()
}

/// Delivers what is durable, or stops at the first failure.
async fn drain(trail: &Trail, settings: PostgresSettings) {
    delivery(trail, settings).run(std::future::ready(())).await;
}

fn read<'a>(trail: &Trail, sub: &'a str) -> Event<'a> {
    let mut event = Event::new(EventName::PhiRead, Outcome::Success);
    event.subject = Some(Subject {
        sub: sub.into(),
        ..Subject::default()
    });
    event.patients = vec![trail.pseudonym("MRN-1"), trail.pseudonym("MRN-2")];
    event.purpose = Some("TREAT".into());
    event
}

async fn record(trail: &Trail, sub: &str, times: usize) {
    let waiting: Vec<_> = (0..times).map(|_| trail.record(read(trail, sub))).collect();
    for pending in waiting {
        pending.durable().await.unwrap();
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).unwrap()).unwrap();
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_there_once_sealed_and_by_an_insert_only_role() {
    let Some(server) = Server::start() else {
        return;
    };
    let spool = Spool::new();
    let trail = spool.open();
    record(&trail, "alice", 3000).await;
    drain(&trail, server.settings()).await;
    let count = || {
        server.sql("audit", "SELECT count(*), count(DISTINCT uid), count(DISTINCT (chain, seq)) FROM audit_logs WHERE event <> 'audit_checkpoint'").unwrap()
    };
    assert_eq!(count(), "3001|3001|3001");
    let whole = server
        .sql("audit", "SELECT count(*) FROM audit_logs")
        .unwrap();
    assert!(trail.metrics().sinks[0].1.healthy);
    // A crash between the sink's commit and the cursor: everything comes again.
    drop(trail);
    fs::remove_file(spool.0.path().join("state/postgresql.cursor")).unwrap();
    let trail = spool.open();
    drain(&trail, server.settings()).await;
    assert_eq!(count(), "3002|3002|3002");
    let duplicates = trail.metrics().sinks[0].1.duplicates;
    assert_eq!(duplicates.to_string(), whole);

    // The row's own bytes open, and only there; the patient is found by pseudonym.
    let by_patient = format!(
        "SELECT chain, seq, uid, encode(payload, 'hex'), encode(hash, 'hex') FROM audit_logs WHERE '{}' = ANY (patients) AND seq = 7",
        trail.pseudonym("MRN-2")
    );
    let row = server.sql("audit", &by_patient).unwrap();
    let cells: Vec<_> = row.split('|').collect();
    let (uid, payload) = (cells[2].parse().unwrap(), unhex(cells[3]));
    let opened =
        Record::parse(&open_payload(&keys(), cells[0], 7, uid, &payload).unwrap()).unwrap();
    assert_eq!(opened.text(&["subject", "sub"]), Some("alice"));
    assert_eq!(opened.hash().to_vec(), unhex(cells[4]));
    assert!(open_payload(&keys(), cells[0], 8, uid, &payload).is_err());
    let partition = server
        .sql(
            "audit",
            "SELECT DISTINCT tableoid::regclass::text FROM audit_logs",
        )
        .unwrap();
    assert!(partition.starts_with("audit_logs_2"), "{partition}");

    // The writer writes and nothing else; the owner is stopped by triggers.
    for statement in [
        "SELECT * FROM audit_logs",
        "UPDATE audit_logs SET sub = ''",
        "DELETE FROM audit_logs",
        "TRUNCATE audit_logs",
        &format!("INSERT INTO {partition} SELECT"),
    ] {
        let refused = server
            .sql("audit", &format!("SET ROLE audit_writer; {statement}"))
            .unwrap_err();
        assert!(
            refused.contains("permission denied"),
            "{statement}: {refused}"
        );
    }
    for statement in [
        "UPDATE audit_logs SET sub = ''",
        "DELETE FROM audit_logs",
        "TRUNCATE audit_logs",
        &format!("TRUNCATE {partition}"),
        &format!("DELETE FROM {partition}"),
    ] {
        let refused = server.sql("audit", statement).unwrap_err();
        assert!(
            refused.contains("neither changed nor deleted"),
            "{statement}: {refused}"
        );
    }
    assert_eq!(
        server
            .sql(
                "audit",
                "SET ROLE audit_reader; SELECT count(*) FROM audit_logs WHERE event <> 'audit_checkpoint'"
            )
            .unwrap(),
        "3002"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refused_row_is_set_aside_and_the_others_arrive() {
    let Some(server) = Server::start() else {
        return;
    };
    server
        .sql(
            "audit",
            "ALTER TABLE audit_logs ADD CONSTRAINT no_poison CHECK (sub <> 'poison')",
        )
        .unwrap();
    let spool = Spool::new();
    let trail = spool.open();
    record(&trail, "alice", 50).await;
    record(&trail, "poison", 1).await;
    record(&trail, "alice", 50).await;
    drain(&trail, server.settings()).await;
    drain(&trail, server.settings()).await;
    let counts = server.sql("audit", "SELECT count(*) FILTER (WHERE event = 'phi_read'), count(*) FILTER (WHERE event = 'sink_failed') FROM audit_logs").unwrap();
    assert_eq!(counts, "100|1");
    assert_eq!(trail.metrics().sinks[0].1.set_aside, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_loses_nothing_and_is_recorded_once_at_each_end() {
    let Some(server) = Server::start() else {
        return;
    };
    let spool = Spool::new();
    let trail = spool.open();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running =
        tokio::spawn(delivery(&trail, server.settings()).run(async move { drop(stopped.await) }));
    record(&trail, "before", 10).await;
    server.down();
    record(&trail, "during", 10).await;
    while trail.metrics().sinks[0].1.failures < 2 {
        tokio::task::yield_now().await;
    }
    server.up();
    let wanted = "SELECT count(*) FILTER (WHERE event = 'phi_read'), count(*) FILTER (WHERE event = 'sink_failed'), count(*) FILTER (WHERE event = 'sink_recovered') FROM audit_logs";
    while server.sql("audit", wanted).unwrap() != "20|1|1" {
        tokio::task::yield_now().await;
    }
    stop.send(()).unwrap();
    running.await.unwrap();
}

/// Somebody who keeps the table to himself until his connection is closed.
fn hold_table(server: &Server) -> Child {
    let mut command = server.command("psql");
    let port = server.port.to_string();
    let root = server.root.path().display().to_string();
    command
        .args(["-X", "-q", "-h", &root, "-p", &port])
        .args(["-U", "postgres", "-d", "audit"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut holder = command.spawn().unwrap();
    let lock = b"BEGIN; LOCK TABLE audit_logs IN ACCESS EXCLUSIVE MODE;\n\\echo held\n";
    holder.stdin.as_mut().unwrap().write_all(lock).unwrap();
    let mut held = [0; 5];
    holder
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut held)
        .unwrap();
    assert_eq!(&held, b"held\n");
    holder
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_server_holds_up_nothing_but_its_own_delivery() {
    let Some(server) = Server::start() else {
        return;
    };
    let spool = Spool::new();
    let trail = spool.open();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    record(&trail, "before", 10).await;
    let mut holder = hold_table(&server);
    let running =
        tokio::spawn(delivery(&trail, server.settings()).run(async move { drop(stopped.await) }));
    until(|| {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'safeguard-audit' AND wait_event_type = 'Lock'";
        server.sql("postgres", waiting).unwrap() != "0"
    })
    .await;
    // Durable while the server makes its client wait.
    record(&trail, "during", 1_000).await;
    drop(holder.stdin.take());
    holder.wait().unwrap();
    let counts =
        "SELECT count(*), count(DISTINCT uid) FROM audit_logs WHERE sub IN ('before', 'during')";
    until(|| server.sql("audit", counts).unwrap() == "1010|1010").await;
    stop.send(()).unwrap();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_is_waited_for_and_no_event_is_taken_for_poison() {
    let Some(server) = Server::start() else {
        return;
    };
    // What a full disk of the server looks like to its client.
    let full = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$; \
                CREATE TRIGGER full_disk BEFORE INSERT ON audit_logs FOR EACH STATEMENT EXECUTE FUNCTION full_disk()";
    server.sql("audit", full).unwrap();
    let spool = Spool::new();
    let trail = spool.open();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    record(&trail, "waits", 100).await;
    let running =
        tokio::spawn(delivery(&trail, server.settings()).run(async move { drop(stopped.await) }));
    until(|| trail.metrics().sinks[0].1.failures >= 3).await;
    assert_eq!(trail.metrics().sinks[0].1.set_aside, 0);
    server
        .sql("audit", "DROP TRIGGER full_disk ON audit_logs")
        .unwrap();
    let counts = "SELECT count(*), count(DISTINCT uid) FROM audit_logs WHERE sub = 'waits'";
    until(|| server.sql("audit", counts).unwrap() == "100|100").await;
    assert_eq!(trail.metrics().sinks[0].1.set_aside, 0);
    stop.send(()).unwrap();
    running.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_for_a_server_that_binds_it_to_the_connection_alone() {
    let Some(server) = Server::start() else {
        return;
    };
    let delivered = async |channel_binding| {
        let spool = Spool::new();
        let trail = spool.open();
        let settings = PostgresSettings {
            channel_binding,
            ..server.settings()
        };
        drain(&trail, settings).await;
        trail.metrics().sinks[0].1.delivered > 0
    };
    assert!(delivered(true).await, "by SCRAM-SHA-256-PLUS");
    server.write(
        "data/pg_hba.conf",
        "local all postgres trust\nhostssl audit audit_writer,auditor all password\n",
    );
    server
        .sql("postgres", "SELECT pg_reload_conf()")
        .expect("it rereads who may come in");
    // The server asks for the password itself, as one in the middle would.
    assert!(!delivered(true).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_serves_in_place_of_a_password() {
    let Some(server) = Server::start() else {
        return;
    };
    let spool = Spool::new();
    let trail = spool.open();
    let settings = PostgresSettings {
        database: "audit_cert".to_owned(),
        password: None,
        client_pem: Some(server.client_pem.clone()),
        ..server.settings()
    };
    drain(&trail, settings).await;
    assert_eq!(
        server
            .sql(
                "audit_cert",
                "SELECT count(*) FROM audit_logs WHERE event <> 'audit_checkpoint'"
            )
            .unwrap(),
        "1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_authority_of_the_server_needs_no_restart() {
    let Some(server) = Server::start() else {
        return;
    };
    let spool = Spool::new();
    let trail = spool.open();
    let foreign = tempfile::tempdir().unwrap();
    certificates(foreign.path());
    let ca = foreign.path().join("ca.pem");
    let settings = PostgresSettings {
        ca_pem: fs::read(&ca).unwrap(),
        ..server.settings()
    };
    let source = ca.clone();
    let material: Material = std::sync::Arc::new(move || {
        Ok(TlsMaterial {
            ca_pem: fs::read(&source).map_err(|error| error.to_string())?,
            client_pem: None,
        })
    });
    let mut sink = Postgres::new(settings, &trail)
        .unwrap()
        .renewed_by(material);
    assert!(sink.take(&[]).await.is_err(), "another authority");
    fs::remove_file(&ca).unwrap();
    assert_eq!(sink.take(&[]).await.unwrap_err().code, "tls_material");
    fs::copy(server.root.path().join("ca.pem"), &ca).unwrap();
    sink.take(&[]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_prove_its_name_gets_nothing() {
    let Some(server) = Server::start() else {
        return;
    };
    let foreign = tempfile::tempdir().unwrap();
    certificates(foreign.path());
    let cases = [
        PostgresSettings {
            ca_pem: fs::read(foreign.path().join("ca.pem")).unwrap(),
            ..server.settings()
        },
        PostgresSettings {
            host: "127.0.0.1".to_owned(),
            ..server.settings()
        },
        PostgresSettings {
            password: Some(Zeroizing::new("wrong".to_owned())),
            ..server.settings()
        },
        PostgresSettings {
            client_pem: None,
            database: "audit_cert".to_owned(),
            ..server.settings()
        },
    ];
    for settings in cases {
        let spool = Spool::new();
        let trail = spool.open();
        drain(&trail, settings).await;
        let sink = &trail.metrics().sinks[0].1;
        assert!(!sink.healthy && sink.failures > 0 && sink.delivered == 0);
        assert!(sink.oldest_unsent_age_micros.is_some());
    }
    for database in ["audit", "audit_cert"] {
        assert_eq!(
            server
                .sql(database, "SELECT count(*) FROM audit_logs")
                .unwrap(),
            "0"
        );
    }
}

async fn ask(server: &Server, query: &Query) -> TableAnswer {
    let settings = PostgresSettings {
        user: "auditor".to_owned(),
        ..server.settings()
    };
    read::query(&settings, &keys(), query).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_reads_back_over_pages_what_was_recorded_and_sees_what_was_changed() {
    let Some(server) = Server::start() else {
        return;
    };
    let spool = Spool::new();
    let trail = spool.open();
    record(&trail, "alice", 600).await;
    record(&trail, "bob", 3).await;
    drain(&trail, server.settings()).await;

    let all = ask(&server, &Query::default()).await;
    let numbers: Vec<u64> = all.records.iter().map(Record::seq).collect();
    // The genesis, what was recorded, and perhaps checkpoints.
    let rows = numbers.len();
    assert!((604..610).contains(&rows), "{rows}");
    assert_eq!(
        numbers,
        (0..rows as u64).collect::<Vec<_>>(),
        "oldest first"
    );
    assert_eq!((all.links, all.gaps, all.problems), (rows as u64 - 1, 0, 0));
    let of_bob = Query {
        subject: Some("bob".to_owned()),
        events: vec![EventName::PhiRead],
        outcome: Some(Outcome::Success),
        patient: Some(trail.pseudonym("MRN-1")),
        since: Some("2025".to_owned()),
        limit: Some(2),
        ..Query::default()
    };
    let bob = ask(&server, &of_bob).await;
    assert_eq!(bob.records.len(), 2);
    assert_eq!(bob.records[1].text(&["subject", "sub"]), Some("bob"));

    let writer = read::query(&server.settings(), &keys(), &Query::default()).await;
    assert!(matches!(writer, Err(ReadError::MayWrite(_))), "{writer:?}");

    let alter = "ALTER TABLE audit_logs DISABLE TRIGGER USER; ";
    server
        .sql("audit", &format!("{alter}DELETE FROM audit_logs WHERE seq = 7; UPDATE audit_logs SET sub = 'eve' WHERE seq = 9"))
        .unwrap();
    let changed = ask(&server, &Query::default()).await;
    assert_eq!(changed.records.len(), rows - 2);
    assert_eq!(changed.problems, 1);
    assert!(changed.problem.unwrap().contains("number 9"));
    assert_eq!(
        changed.gaps, 2,
        "behind what was removed, and around what was changed"
    );
}

#[test]
fn whole_partitions_go_when_their_time_is_over_and_no_legal_hold_covers_them() {
    let Some(server) = Server::start() else {
        return;
    };
    let old = |month: &str, next: &str, sub: &str| {
        server.sql("audit", &format!(
            "CREATE TABLE audit_logs_{month} PARTITION OF audit_logs FOR VALUES FROM ('{from}-01 00:00+00') TO ('{to}-01 00:00+00'); \
             INSERT INTO audit_logs SELECT timestamptz '{from}-10 12:00+00' + n * interval '1 second', 'c', n, gen_random_uuid(), 'phi_read', 'success', 'info', '{sub}', NULL, NULL, '{{aa}}', NULL, NULL, '', '', '', NULL FROM generate_series(1, 3) n",
            from = month.replace('_', "-"), to = next.replace('_', "-"))).unwrap();
    };
    old("2012_01", "2012_02", "alice");
    old("2012_02", "2012_03", "bob");
    old("2012_03", "2012_04", "carol");
    server.sql("audit", "INSERT INTO audit_logs_holds (sub, reason) VALUES ('bob', 'matter 7'); INSERT INTO audit_logs_holds (patient, since, until, reason) VALUES ('aa', '2012-03-01', '2012-04-01', 'matter 8')").unwrap();
    let retire = |days: &str| {
        server.sql(
            "audit",
            &format!("SELECT partition_name, fate FROM audit_logs_retire({days})"),
        )
    };
    let refused = retire("2191").unwrap_err();
    assert!(refused.contains("2192 days at least"), "{refused}");
    assert_eq!(
        retire("").unwrap(),
        "audit_logs_2012_01|retired: 3 events\naudit_logs_2012_02|kept: legal hold 1\naudit_logs_2012_03|kept: legal hold 2"
    );
    // A hold is released once, with a reason, and neither changed nor deleted.
    for statement in [
        "DELETE FROM audit_logs_holds",
        "TRUNCATE audit_logs_holds",
        "UPDATE audit_logs_holds SET sub = 'nobody'",
        "UPDATE audit_logs_holds SET released_at = now()",
        "UPDATE audit_logs_holds SET release_reason = 'x', until = '2000-01-01'",
        "DELETE FROM audit_logs_retired",
        "SET ROLE audit_writer; INSERT INTO audit_logs_holds (reason) VALUES ('x')",
        "SET ROLE audit_writer; SELECT audit_logs_retire()",
        "SET ROLE audit_reader; SELECT audit_logs_ahead()",
    ] {
        assert!(server.sql("audit", statement).is_err(), "{statement}");
    }
    let release = "UPDATE audit_logs_holds SET release_reason = 'settled' WHERE id = 1";
    server.sql("audit", release).unwrap();
    assert!(server.sql("audit", release).is_err(), "released once");
    assert_eq!(
        retire("3000").unwrap(),
        "audit_logs_2012_02|retired: 3 events\naudit_logs_2012_03|kept: legal hold 2"
    );
    let left = server.sql("audit", "SET ROLE audit_reader; SELECT string_agg(DISTINCT sub, ','), (SELECT string_agg(partition_name || ' ' || events, ',' ORDER BY since) FROM audit_logs_retired) FROM audit_logs").unwrap();
    assert_eq!(left, "carol|audit_logs_2012_01 3,audit_logs_2012_02 3");
}

#[test]
fn partitions_are_made_ahead_once_and_what_has_none_falls_into_the_default() {
    let Some(server) = Server::start() else {
        return;
    };
    let ask = |sql: &str| server.sql("audit", sql).unwrap();
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'audit_logs'::regclass";
    assert_eq!(
        ask(partitions),
        "26",
        "this month, 24 more, and the default"
    );
    assert_eq!(ask("SELECT audit_logs_ahead()"), "0");
    assert_eq!(ask("SELECT audit_logs_ahead(30)"), "6");
    assert_eq!(ask(partitions), "32");
    let refused = server
        .sql("audit", "DO $$ DECLARE p text; BEGIN SELECT max(inhrelid::regclass::text) INTO p FROM pg_inherits WHERE inhparent = 'audit_logs'::regclass AND inhrelid <> 'audit_logs_default'::regclass; EXECUTE 'TRUNCATE ' || p; END $$")
        .unwrap_err();
    assert!(refused.contains("neither changed nor deleted"), "{refused}");
    ask(
        "INSERT INTO audit_logs SELECT timestamptz '2012-01-10 12:00+00', 'c', 1, gen_random_uuid(), 'phi_read', 'success', 'info', NULL, NULL, NULL, '{}', NULL, NULL, '', '', '', NULL",
    );
    assert_eq!(
        ask("SELECT tableoid::regclass::text FROM audit_logs"),
        "audit_logs_default"
    );
    assert_eq!(
        ask("SELECT fate FROM audit_logs_retire()"),
        "kept: 1 events are older, in the default partition"
    );
}

#[test]
fn settings_show_no_password() {
    let settings = PostgresSettings {
        host: "h".to_owned(),
        port: 1,
        database: "d".to_owned(),
        user: "u".to_owned(),
        password: Some(Zeroizing::new("canary".to_owned())),
        channel_binding: true,
        ca_pem: Vec::new(),
        client_pem: Some((b"canary".to_vec(), Zeroizing::new(b"canary".to_vec()))),
        table: table(),
        encrypted: true,
    };
    assert!(
        !format!("{settings:?}").contains("canary") && !format!("{settings:?}").contains("99, 97")
    );
}
