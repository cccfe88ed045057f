//! A private PostgreSQL for the sidecar's events, with TLS and the table that `safeguard audit schema` prints.
//!
//! It does not sync to disk: in production it stands on another machine, and here its disk must not wait together
//! with the sidecar's spool.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Failure;
use super::process::{Process, free_port, output};

/// The role that `audit schema` makes for the sidecar.
const WRITER: &str = "audit_writer";
const PASSWORD: &str = "bench-only-database-password";

/// A cluster that runs.
pub(super) struct Postgresql {
    process: Process,
    folder: TempDir,
    bin: PathBuf,
    port: u16,
    certificate_authority: PathBuf,
}

impl Postgresql {
    /// Starts one with certificates of `tls`; the table's SQL is the sidecar's own.
    pub(super) async fn start(safeguard: &Path, tls: &Path) -> Result<Self, Failure> {
        let bin = newest_bin().ok_or("PostgreSQL is not installed (apt-get install postgresql)")?;
        let folder = tempfile::Builder::new()
            .prefix("bench-postgresql-")
            .tempdir()?;
        let home = folder.path();
        for name in ["server.pem", "server.key"] {
            std::fs::copy(tls.join(name), home.join(name))?;
        }
        if is_root() {
            // PostgreSQL refuses to run as root.
            output(Path::new("chown"), &["-R", "postgres:", &text(home)]).await?;
        }
        let data = text(&home.join("data"));
        let initdb = as_postgres(
            &bin.join("initdb"),
            &[
                "-D",
                &data,
                "-U",
                "postgres",
                "--auth=reject",
                "--no-sync",
                "-E",
                "UTF8",
            ],
        );
        output(
            Path::new(&initdb[0]),
            &initdb[1..].iter().map(String::as_str).collect::<Vec<_>>(),
        )
        .await?;
        let rules = home.join("data/pg_hba.conf");
        std::fs::write(
            &rules,
            "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n",
        )?;
        let (port, socket) = (free_port()?, text(home));
        let certificate = format!("ssl_cert_file={socket}/server.pem");
        let key = format!("ssl_key_file={socket}/server.key");
        let settings = [
            "-D",
            &data,
            "-k",
            &socket,
            "-h",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-c",
            "fsync=off",
            "-c",
            "ssl=on",
            "-c",
            "ssl_min_protocol_version=TLSv1.3",
            "-c",
            &certificate,
            "-c",
            &key,
        ];
        let command = as_postgres(&bin.join("postgres"), &settings);
        let mut process = Process::start(
            tls,
            "postgresql",
            Path::new(&command[0]),
            &command[1..],
            &BTreeMap::new(),
        )?;
        let ready = bin.join("pg_isready");
        process
            .await_ready(async || {
                output(
                    &ready,
                    &[
                        "-q",
                        "-h",
                        &socket,
                        "-p",
                        &port.to_string(),
                        "-U",
                        "postgres",
                    ],
                )
                .await
                .is_ok()
            })
            .await?;
        let cluster = Self {
            process,
            folder,
            bin,
            port,
            certificate_authority: tls.join("ca.pem"),
        };
        cluster.sql("CREATE DATABASE bench", "postgres").await?;
        cluster
            .sql(&output(safeguard, &["audit", "schema"]).await?, "bench")
            .await?;
        cluster
            .sql(
                &format!("ALTER ROLE {WRITER} LOGIN PASSWORD '{PASSWORD}'"),
                "bench",
            )
            .await?;
        Ok(cluster)
    }

    /// The standard variables by which the sidecar finds it.
    pub(super) fn environment(&self) -> BTreeMap<String, String> {
        [
            ("PGHOST", "localhost".to_owned()),
            ("PGPORT", self.port.to_string()),
            ("PGDATABASE", "bench".to_owned()),
            ("PGUSER", WRITER.to_owned()),
            ("PGPASSWORD", PASSWORD.to_owned()),
            (
                "PGSSLROOTCERT",
                self.certificate_authority.display().to_string(),
            ),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    /// Events that have arrived.
    pub(super) async fn rows(&self) -> Result<u64, Failure> {
        Ok(self
            .sql("SELECT count(*) FROM audit_logs", "bench")
            .await?
            .trim()
            .parse()?)
    }

    /// Ends it at once, clients or not.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        self.process.stop("INT").await
    }

    async fn sql(&self, sql: &str, database: &str) -> Result<String, Failure> {
        let (socket, port) = (text(self.folder.path()), self.port.to_string());
        let arguments = [
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            &socket,
            "-p",
            &port,
            "-U",
            "postgres",
            "-d",
            database,
            "-c",
            sql,
        ];
        output(&self.bin.join("psql"), &arguments).await
    }
}

/// Debian's folder of the newest version.
fn newest_bin() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let version = |path: &Path| {
        path.file_name()
            .and_then(|name| name.to_str()?.parse::<u32>().ok())
    };
    let newest = versions
        .map(|entry| entry.path())
        .max_by_key(|path| version(path))?;
    Some(newest.join("bin")).filter(|bin| bin.join("initdb").exists())
}

fn as_postgres(program: &Path, arguments: &[&str]) -> Vec<String> {
    let drop: &[&str] = if is_root() {
        &[
            "setpriv",
            "--reuid",
            "postgres",
            "--regid",
            "postgres",
            "--init-groups",
            "--",
        ]
    } else {
        &[]
    };
    let program = text(program);
    drop.iter()
        .copied()
        .chain([program.as_str()])
        .chain(arguments.iter().copied())
        .map(str::to_owned)
        .collect()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
