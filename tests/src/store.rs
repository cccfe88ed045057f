//! A store of one test's own: a real MinIO over TLS, with a bucket in it, and Amazon's own client to look at it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::clinic::free_port;
use crate::configuration::Setup;
use crate::pki::Authority;
use crate::real;
use crate::wait::eventually;

/// The bucket.
pub const BUCKET: &str = "audit-of-one-test";
/// The secret of the store's only user: no log line, metric or event may hold it.
pub const SECRET: &str = "canary-secret-access-key-of-the-tests";
const USER: &str = "AKIATESTS";
/// A key of the store's own, for server-side encryption.
const KMS_KEY: &str = "tests:bWluaW8ta21zLWtleS1vZi10aGUtdGVzdHMtMDEyMzQ=";

/// It runs from [`Store::up`] to [`Store::down`].
#[derive(Debug)]
pub struct Store {
    folder: TempDir,
    /// The authorities that boto3 trusts.
    trusted: PathBuf,
    port: u16,
    is_encrypting: bool,
    server: Option<Child>,
}

impl Store {
    /// One that is not running yet, to which `setup` delivers: an object is complete after a second, its lock can be bypassed by its owner.
    ///
    /// # Panics
    /// If its files can't be written.
    pub fn of(setup: &mut Setup) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let certificates = folder.path().join("certs");
        std::fs::create_dir(&certificates).expect("a folder");
        let server = setup.authority.server(&["localhost"]);
        std::fs::write(certificates.join("public.crt"), &server.certificate_pem).expect("a file");
        std::fs::write(certificates.join("private.key"), &server.key_pem).expect("a file");
        std::fs::write(folder.path().join("ca.pem"), &setup.authority.pem).expect("a file");
        let store = Self {
            trusted: folder.path().join("ca.pem"),
            folder,
            port: free_port(),
            is_encrypting: true,
            server: None,
        };
        store.output(setup, &store.endpoint(), "");
        setup.set("AWS_ACCESS_KEY_ID", USER);
        setup.set("AWS_SECRET_ACCESS_KEY", SECRET);
        store
    }

    /// Without a key for server-side encryption.
    #[must_use]
    pub fn without_encryption(mut self) -> Self {
        self.is_encrypting = false;
        self
    }

    /// With one.
    #[must_use]
    pub fn with_encryption(mut self) -> Self {
        self.is_encrypting = true;
        self
    }

    /// Puts a certificate of another authority in place of its own, for the next start, and lets boto3 trust it. The authority's PEM.
    ///
    /// # Panics
    /// If it can't be written.
    pub fn renew_certificate(&mut self) -> String {
        let authority = Authority::new("another");
        let server = authority.server(&["localhost"]);
        let certificates = self.path("certs");
        std::fs::write(certificates.join("public.crt"), &server.certificate_pem).expect("a file");
        std::fs::write(certificates.join("private.key"), &server.key_pem).expect("a file");
        self.trusted = self.path("new-ca.pem");
        std::fs::write(&self.trusted, &authority.pem).expect("a file");
        authority.pem
    }

    /// The file from which the sidecar reads the authority.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Where it keeps what it has.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Writes the output to a configuration whose outputs are cut, at another endpoint, with further lines of YAML.
    pub fn output(&self, setup: &mut Setup, endpoint: &str, more: &str) {
        setup.cut_outputs_to(&format!(
            "  output:\n    - type: s3\n      bucket: {BUCKET}\n      endpoint: {endpoint}\n      ca_file: {}\n      lock_mode: GOVERNANCE\n      object_seconds_max: 1\n{more}",
            self.path("ca.pem").display()
        ));
    }

    /// Its URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it, and waits until it answers.
    ///
    /// # Panics
    /// If it does not: `tests/run` builds MinIO.
    pub async fn up(&mut self) {
        let log = std::fs::File::create(self.path("log")).expect("a log");
        let mut command = Command::new(real::minio());
        command
            .args(["server", "--quiet", "--address"])
            .arg(format!("127.0.0.1:{}", self.port))
            .arg("--certs-dir")
            .arg(self.path("certs"))
            .arg(self.path("data"))
            .env_clear()
            .env("HOME", self.folder.path())
            .env("MINIO_ROOT_USER", USER)
            .env("MINIO_ROOT_PASSWORD", SECRET)
            .env("MINIO_BROWSER", "off")
            .stdout(Stdio::null())
            .stderr(log);
        if self.is_encrypting {
            command.env("MINIO_KMS_SECRET_KEY", KMS_KEY);
        }
        self.server = Some(command.spawn().expect("minio starts"));
        eventually("minio answers", || async {
            match self.asked(&["versions"]).await {
                Err(why) if !why.contains("NoSuchBucket") => None,
                _ => Some(()),
            }
        })
        .await;
    }

    /// Starts it with the bucket, made with Object Lock.
    pub async fn up_with_bucket(&mut self) {
        self.up().await;
        self.ask(&["make", "lock"]).await;
    }

    /// Kills it, as an outage does.
    ///
    /// # Panics
    /// If it can't be killed.
    pub fn down(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().expect("minio is killed");
            server.wait().expect("minio ends");
        }
    }

    /// What `bucket.py` says of its bucket.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn ask(&self, arguments: &[&str]) -> String {
        match self.asked(arguments).await {
            Ok(text) => text,
            Err(why) => panic!("{arguments:?}: {why}"),
        }
    }

    /// The same.
    ///
    /// # Errors
    /// The store's refusal.
    ///
    /// # Panics
    /// If boto3 does not start.
    pub async fn asked(&self, arguments: &[&str]) -> Result<String, String> {
        let output = tokio::process::Command::new(real::boto())
            .arg(real::fixture("s3/bucket.py"))
            .args([&self.endpoint(), BUCKET])
            .args(arguments)
            .env("AWS_ACCESS_KEY_ID", USER)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .env("AWS_CA_BUNDLE", &self.trusted)
            .output()
            .await
            .expect("python with boto3");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    /// Every version and marker, as boto3 sees them.
    ///
    /// # Panics
    /// If they can't be listed.
    pub async fn versions(&self) -> Vec<Value> {
        let text = self.ask(&["versions"]).await;
        text.lines()
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.down();
    }
}
