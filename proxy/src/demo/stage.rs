//! The working directory: configuration, certificates, keys, tokens and the free ports of one run.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use safeguard_certs::dev::{self, DevError, Leaf};

use super::Workshop;
use super::cast::{CARE_AGENT, CHART_WEB, DEPARTMENT, Persona};

/// The name in the sidecar's certificate.
pub(crate) const SERVER_NAME: &str = "localhost";
const ISSUER: &str = "safeguard-demo";
const AUDIENCE: &str = "healthcare-agents";

/// The configuration as the sidecar gets it, with places to fill in.
const FILES: [(&str, &str); 4] = [
    ("policy.yaml", include_str!("config/policy.yaml")),
    ("audit.yaml", include_str!("config/audit.yaml")),
    ("auth.yaml", include_str!("config/auth.yaml")),
    ("tls.yaml", include_str!("config/tls.yaml")),
];

/// A local token that the demo asks for: HS256, valid for the configured lifetime at most,
/// `auth_time` now.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// `iss`
    pub issuer: &'static str,
    /// `aud`
    pub audience: &'static str,
    /// `sub`
    pub subject: &'static str,
    /// `roles`
    pub roles: Vec<&'static str>,
    /// `amr` (RFC 8176)
    pub amr: Vec<&'static str>,
    /// `purpose_of_use`
    pub purpose: &'static str,
    /// Further claims: name and text.
    pub claims: Vec<(&'static str, &'static str)>,
}

/// What stopped the demo before the sidecar could do anything.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StageError {
    #[error("can't write the working directory: {0}")]
    Io(#[from] io::Error),
    #[error("can't make certificates: {0}")]
    Certificates(DevError),
    #[error("can't make a key: {0}")]
    Key(String),
    #[error("can't sign a token: {0}")]
    Token(String),
}

/// Where everything of one run is.
pub(crate) struct Stage {
    pub(crate) directory: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    secret: String,
    environment: Vec<(&'static str, String)>,
}

impl Stage {
    /// Makes keys and certificates in `directory`, which is empty and the demo's alone.
    pub(crate) fn set(directory: PathBuf, workshop: &dyn Workshop) -> Result<Stage, StageError> {
        let tls = directory.join("tls");
        fs::create_dir(&tls)?;
        certificates(&tls).map_err(StageError::Certificates)?;
        let key = || workshop.key().map_err(StageError::Key);
        let secret = key()?;
        let environment = vec![
            ("PHI_KEY", key()?),
            ("INTEGRITY_KEY", key()?),
            ("AUDIT_KEY", key()?),
            ("JWT_SECRET", secret.clone()),
        ];
        let (listen, admin) = free_addresses()?;
        Ok(Stage {
            directory,
            listen,
            admin,
            secret,
            environment,
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// `DIR/tls/NAME.pem` and `DIR/tls/NAME.key`.
    pub(crate) fn certificate(&self, name: &str) -> (PathBuf, PathBuf) {
        let tls = self.path("tls");
        (
            tls.join(format!("{name}.pem")),
            tls.join(format!("{name}.key")),
        )
    }

    pub(crate) fn public_url(&self) -> String {
        format!("https://{SERVER_NAME}:{}/mcp", self.listen.port())
    }

    /// The keys, for the environment of the sidecar and of the commands that read its log.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        self.environment.clone()
    }

    /// Writes `config/`, once the upstream's address is known.
    pub(crate) fn configure(&self, upstream: &str) -> Result<PathBuf, StageError> {
        let config = self.path("config");
        fs::create_dir(&config)?;
        let places = [
            ("@UPSTREAM@", upstream.to_owned()),
            ("@LISTEN@", self.listen.to_string()),
            ("@PUBLIC_URL@", self.public_url()),
            ("@ADMIN@", self.admin.to_string()),
            ("@SPOOL@", self.path("spool").display().to_string()),
            ("@TLS@", self.path("tls").display().to_string()),
            ("@ISSUER@", ISSUER.to_owned()),
            ("@AUDIENCE@", AUDIENCE.to_owned()),
        ];
        for (name, template) in FILES {
            let text = places
                .iter()
                .fold(template.to_owned(), |text, (place, value)| {
                    text.replace(place, value)
                });
            fs::write(config.join(name), text)?;
        }
        Ok(config)
    }

    /// A token for a persona who logged in with password and one-time code.
    pub(crate) fn token(
        &self,
        workshop: &dyn Workshop,
        who: &Persona,
    ) -> Result<String, StageError> {
        let wanted = TokenRequest {
            issuer: ISSUER,
            audience: AUDIENCE,
            subject: who.subject,
            roles: vec![who.role],
            amr: vec!["pwd", "otp"],
            purpose: who.purpose,
            claims: vec![("department", DEPARTMENT)],
        };
        workshop
            .mint(&self.secret, &wanted)
            .map_err(StageError::Token)
    }

    /// Writes a file that only its owner reads: keys and tokens for `--keep`.
    pub(crate) fn write_secret(&self, name: &str, text: &str) -> Result<PathBuf, StageError> {
        let path = self.path(name);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(text.as_bytes())?;
        Ok(path)
    }
}

/// A throwaway CA, the sidecar's certificate, and one for each kind of software in the cast.
fn certificates(directory: &Path) -> Result<(), DevError> {
    dev::init(directory, &[SERVER_NAME.to_owned()], CHART_WEB)?;
    for name in [CHART_WEB, CARE_AGENT] {
        dev::issue(directory, name, &Leaf::client(name))?;
    }
    Ok(())
}

/// Where ports are looked for: below those that the kernel gives to whoever connects meanwhile (32768 on).
const PORTS: RangeInclusive<u16> = 12_000..=15_999;

/// How many ports apart two demos with neighbouring process ids begin to look for free ones.
const APART: usize = 97;

/// Two addresses on loopback that were free a moment ago, both bound at once so that they differ.
fn free_addresses() -> io::Result<(SocketAddr, SocketAddr)> {
    // Demos that start together have ids next to each other: they begin far enough apart to meet no port of another's.
    let id = usize::try_from(std::process::id()).unwrap_or_default();
    let first = id.wrapping_mul(APART) % PORTS.len();
    let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok();
    let ports = PORTS.cycle().skip(first).take(PORTS.len());
    let mut free = ports.filter_map(free);
    match (free.next(), free.next()) {
        (Some(one), Some(other)) => Ok((one.local_addr()?, other.local_addr()?)),
        _ => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "no two ports of 127.0.0.1 from 12000 to 15999 are free: end what listens there",
        )),
    }
}

/// Changes the stored record of `patient` behind everybody's back, as somebody with access to the
/// upstream's database could: one member that is no PHI, and so stands in clear.
pub(crate) fn tamper(store: &Path, patient: &str) -> io::Result<()> {
    let text = fs::read_to_string(store)?;
    let mut records: serde_json::Value = serde_json::from_str(&text)?;
    let status = records
        .get_mut(patient)
        .and_then(|record| record.pointer_mut("/data/status"));
    match status {
        Some(status) => *status = "discharged".into(),
        None => {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "no such record in the store",
            ));
        }
    }
    fs::write(store, records.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::tests::Bench;
    use super::*;

    #[test]
    fn the_configuration_is_filled_in_and_holds_no_key() {
        let dir = tempfile::tempdir().unwrap();
        let stage = Stage::set(dir.path().to_owned(), &Bench).unwrap();
        let config = stage.configure("127.0.0.1:3000").unwrap();
        for (name, _) in FILES {
            let text = fs::read_to_string(config.join(name)).unwrap();
            assert!(!text.contains('@'), "{name}: {text}");
            for (_, key) in stage.environment() {
                assert!(!text.contains(&key));
            }
        }
        let policy = fs::read_to_string(config.join("policy.yaml")).unwrap();
        assert!(policy.contains("url: http://127.0.0.1:3000/mcp"));
        assert!(policy.contains(&format!(
            "public_url: https://localhost:{}/mcp",
            stage.listen.port()
        )));
    }

    #[test]
    fn tampering_changes_one_member_of_one_record() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store.json");
        fs::write(
            &store,
            r#"{"a":{"data":{"status":"x","ssn":"s"}},"b":{"data":{"status":"x"}}}"#,
        )
        .unwrap();
        tamper(&store, "a").unwrap();
        let after = fs::read_to_string(&store).unwrap();
        let after: serde_json::Value = serde_json::from_str(&after).unwrap();
        let changed = serde_json::json!({"a": {"data": {"status": "discharged", "ssn": "s"}}, "b": {"data": {"status": "x"}}});
        assert_eq!(after, changed);
        assert!(tamper(&store, "c").is_err());
    }
}
