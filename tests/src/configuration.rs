//! A sidecar's configuration for one test: the fixture files, which are the example's, with other ports, paths and keys.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::clinic::free_port;
use crate::database::Database;
use crate::pki::{Authority, Identity};
use crate::{keycloak, real, tokens};

/// The certificate name of the client `chart-web`.
pub const WEB: &str = "web.healthcare.example.com";
/// The certificate name of the client `care-agent`.
pub const AGENT: &str = "agent.healthcare.example.com";

/// `${PHI_KEY}`, `${INTEGRITY_KEY}` and `${AUDIT_KEY}` of every test.
pub const KEYS: [(&str, &str); 3] = [
    ("PHI_KEY", "cGhpLWtleS1vZi10aGUtdGVzdHMtMDEyMzQ1Njc4OWE="),
    (
        "INTEGRITY_KEY",
        "aW50ZWdyaXR5LWtleS1vZi10aGUtdGVzdHMtMDEyMzQ=",
    ),
    ("AUDIT_KEY", "YXVkaXQta2V5LW9mLXRoZS10ZXN0cy0wMTIzNDU2Nzg="),
];

/// What a sidecar is started with. `folder` holds all of its files.
#[derive(Debug)]
pub struct Setup {
    /// Holds `config`, `tls`, the spool and the log.
    pub folder: TempDir,
    /// Signed the server's certificate, and is the one that clients must come from.
    pub authority: Authority,
    /// The port of the MCP endpoint.
    pub port: u16,
    /// The port of metrics and probes.
    pub admin_port: u16,
    /// What the process finds in its environment, and nothing else.
    pub environment: BTreeMap<String, String>,
    /// Whether a write beyond the limit of a file's size fails for `run` as on a full disk, in place of the signal that ends a process.
    pub outlives_file_limit: bool,
    files: BTreeMap<&'static str, String>,
}

impl Setup {
    /// The example's configuration in front of the server at `url`: local tokens only, the audit trail in the spool only.
    #[must_use]
    pub fn new(url: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (port, admin_port) = (free_port(), free_port());
        let tls = folder.path().join("tls");
        let environment = KEYS
            .iter()
            .chain(&[("JWT_SECRET", tokens::SECRET)])
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut setup = Self {
            authority: Authority::new("tests"),
            port,
            admin_port,
            environment: environment.collect(),
            outlives_file_limit: false,
            files: BTreeMap::new(),
            folder,
        };
        for name in ["auth.yaml", "audit.yaml", "tls.yaml", "policy.yaml"] {
            let text =
                std::fs::read_to_string(real::fixture("config").join(name)).expect("a fixture");
            setup.files.insert(name, text);
        }
        setup.replace(
            "tls.yaml",
            "/secrets/tls",
            tls.to_str().expect("a path in UTF-8"),
        );
        setup.replace("policy.yaml", "http://127.0.0.1:3000/mcp", url);
        setup.replace("policy.yaml", "0.0.0.0:8443", &format!("127.0.0.1:{port}"));
        setup.replace(
            "policy.yaml",
            "https://agents.healthcare.example.com/mcp",
            &format!("https://localhost:{port}/mcp"),
        );
        setup.replace(
            "policy.yaml",
            "0.0.0.0:9464",
            &format!("127.0.0.1:{admin_port}"),
        );
        setup.cut_outputs();
        setup.files.insert(
            "tests.yaml",
            format!(
                "audit_logging:\n  spool:\n    directory: {}\n",
                setup.spool().display()
            ),
        );
        std::fs::create_dir(&tls).expect("a folder");
        setup.write_tls(
            &setup.authority.server(&["localhost"]),
            &setup.authority.pem,
        );
        setup
    }

    /// With the example's `keycloak.yaml`, for the real one.
    #[must_use]
    pub fn with_keycloak(mut self) -> Self {
        let text =
            std::fs::read_to_string(real::fixture("config/keycloak.yaml")).expect("a fixture");
        self.files.insert("keycloak.yaml", text);
        self.replace(
            "keycloak.yaml",
            "https://auth.healthcare.example.com",
            &real::variable("SAFEGUARD_KEYCLOAK_URL"),
        );
        self.set("KEYCLOAK_CLIENT_SECRET", keycloak::CLIENT_SECRET);
        let more = format!(
            "keycloak:\n  audiences: [\"{}\"]\n  ca_file: {}\n",
            keycloak::AUDIENCE,
            real::ca().display()
        );
        self.extended(&more)
    }

    /// With the example's `audit.yaml` as it is but for the bucket, and the real PostgreSQL by its standard variables.
    #[must_use]
    pub fn with_database(mut self, database: &Database) -> Self {
        let text = std::fs::read_to_string(real::fixture("config/audit.yaml")).expect("a fixture");
        // The collector and the bucket of the example are nowhere.
        let (text, _nowhere) = text
            .split_once("    - type: siem\n")
            .expect("the example's second output");
        self.files.insert("audit.yaml", text.to_owned());
        for (name, value) in database.environment() {
            self.set(name, &value);
        }
        self
    }

    /// One output more: lines of YAML, a member of the list.
    ///
    /// # Panics
    /// If the outputs are the example's.
    pub fn add_output(&mut self, yaml: &str) {
        let text = self.files.get_mut("audit.yaml").expect("a fixture");
        assert!(!text.contains("hipaa-audit-logs"), "the example's outputs");
        match text.strip_suffix("  output: []\n") {
            Some(before) => *text = format!("{before}  output:\n{yaml}"),
            None => text.push_str(yaml),
        }
    }

    /// With the real PostgreSQL among the outputs, by its standard variables.
    #[must_use]
    pub fn and_database(mut self, database: &Database) -> Self {
        self.add_output("    - type: postgresql\n      table: audit_logs\n      encrypted: true\n");
        for (name, value) in database.environment() {
            self.set(name, &value);
        }
        self
    }

    /// With further keys, in a file of their own.
    #[must_use]
    pub fn extended(mut self, yaml: &str) -> Self {
        let name: &'static str = ["more-a.yaml", "more-b.yaml", "more-c.yaml"]
            .into_iter()
            .find(|name| !self.files.contains_key(name))
            .expect("three at most");
        self.files.insert(name, yaml.to_owned());
        self
    }

    /// With one text of `policy.yaml` replaced by another.
    #[must_use]
    pub fn with_policy(mut self, from: &str, to: &str) -> Self {
        self.replace("policy.yaml", from, to);
        self
    }

    /// Replaces a text of a file.
    ///
    /// # Panics
    /// If the file doesn't hold it: a variation that varies nothing proves nothing.
    pub fn replace(&mut self, file: &'static str, from: &str, to: &str) {
        let text = self
            .files
            .get_mut(file)
            .expect("a file of the configuration");
        assert!(text.contains(from), "{file} holds {from:?}");
        *text = text.replace(from, to);
    }

    /// Sets an environment variable of the process.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    /// Writes the files for `--config`; the folder to name.
    pub fn write(&self) -> PathBuf {
        let folder = self.config();
        std::fs::create_dir_all(&folder).expect("a folder");
        for (name, text) in &self.files {
            std::fs::write(folder.join(name), text).expect("a file of the configuration");
        }
        folder
    }

    /// Writes the server's certificate and the authorities that clients must come from.
    pub fn write_tls(&self, server: &Identity, authorities: &str) {
        let tls = self.folder.path().join("tls");
        std::fs::write(tls.join("cert.pem"), &server.certificate_pem).expect("a file");
        crate::pki::write_secret(&tls.join("key.pem"), &server.key_pem);
        std::fs::write(tls.join("ca.pem"), authorities).expect("a file");
    }

    /// With certificates that Keycloak trusts.
    #[must_use]
    pub fn trusted_by_keycloak(mut self) -> Self {
        self.authority = crate::pki::Authority::of_the_parts();
        self.write_tls(&self.authority.server(&["localhost"]), &self.authority.pem);
        self
    }

    /// Where the configuration is.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    /// Where the audit trail is spooled.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    /// Where the head, the lock and the cursors of the audit trail are.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("spool-state")
    }

    /// All bytes of the files below a folder, as one text to search.
    #[must_use]
    pub fn contents(folder: &Path) -> String {
        let mut text = String::new();
        for entry in std::fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
        {
            if entry.is_dir() {
                text.push_str(&Self::contents(&entry));
            } else if let Ok(bytes) = std::fs::read(&entry) {
                writeln!(text, "{}", String::from_utf8_lossy(&bytes)).expect("a text");
            }
        }
        text
    }

    fn cut_outputs(&mut self) {
        self.cut_outputs_to("  output: []\n");
    }

    /// Replaces all outputs.
    pub(crate) fn cut_outputs_to(&mut self, outputs: &str) {
        let text = self.files.get_mut("audit.yaml").expect("a fixture");
        let begin = text.find("  output:").expect("outputs");
        text.truncate(begin);
        text.push_str(outputs);
    }
}
