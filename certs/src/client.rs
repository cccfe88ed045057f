//! What the sidecar shows to a server and whom it believes there, and its swap while it serves.
//!
//! The whole `rustls::ClientConfig` is replaced: what trusts a new authority also shows the new certificate.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::client::Resumption;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest, Sha256};

use crate::identity::parse;
use crate::material::{self, KeyPermissions, TlsError};
use crate::provider::{self, Suite};
use crate::read::{self, Content, Stat};
use crate::subject::utc;
use crate::watch::now_unix;

/// How often the files are read again because one was replaced meanwhile.
const READ_ATTEMPTS_MAX: u32 = 5;

const CA: &str = "upstream.tls.ca_file";
const CERTIFICATE: &str = "upstream.tls.certificate";
const KEY: &str = "upstream.tls.key";

/// The section `upstream.tls` of the configuration.
#[derive(Clone, Debug)]
pub struct ClientTlsSettings {
    /// PEM: the only authorities that are trusted.
    pub ca_file: PathBuf,
    /// PEM: the certificate with its intermediates, and its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The suites offered.
    pub suites: Vec<Suite>,
    /// What becomes of a key file that other users may read.
    pub key_permissions: KeyPermissions,
}

impl ClientTlsSettings {
    /// The files that are read.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let identity = self.identity.iter();
        let pair = identity.flat_map(|(certificate, key)| [certificate.clone(), key.clone()]);
        std::iter::once(self.ca_file.clone()).chain(pair).collect()
    }
}

/// A client's side of TLS 1.3, reloadable.
#[derive(Debug)]
pub struct ClientTls {
    settings: ClientTlsSettings,
    used: ArcSwap<ClientConfig>,
    /// SHA-256 over the files in use; held through a reload, so that two don't mix.
    seen: Mutex<[u8; 32]>,
}

impl ClientTls {
    /// Reads and checks all files. Blocking.
    ///
    /// # Errors
    /// Anything that would make handshakes fail later, with the file and the fix.
    pub fn load(settings: ClientTlsSettings) -> Result<ClientTls, TlsError> {
        let (config, seen) = build(&settings)?;
        Ok(ClientTls {
            settings,
            used: ArcSwap::from_pointee(config),
            seen: Mutex::new(seen),
        })
    }

    /// What rustls connects with from now on.
    #[must_use]
    pub fn client_config(&self) -> Arc<ClientConfig> {
        self.used.load_full()
    }

    /// Reads all files again and swaps them in, if all are good. Says whether anything is different. Blocking.
    ///
    /// # Errors
    /// As [`ClientTls::load`]; what was in use stays in use.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (config, found) = build(&self.settings)?;
        if found == *seen {
            return Ok(false);
        }
        self.used.store(Arc::new(config));
        *seen = found;
        Ok(true)
    }

    /// The files to watch, as [`crate::Watch::new`] takes them.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        self.settings.files()
    }
}

/// The files' content, all of one moment, in the order of [`ClientTlsSettings::files`].
fn read_together(settings: &ClientTlsSettings) -> Result<Vec<Content>, TlsError> {
    let paths = settings.files();
    for _ in 0..READ_ATTEMPTS_MAX {
        let contents: Vec<Content> = paths
            .iter()
            .zip([CA, CERTIFICATE, KEY])
            .map(|(path, setting)| {
                read::read(path).map_err(|source| TlsError::Read { setting, source })
            })
            .collect::<Result<_, _>>()?;
        let same = paths
            .iter()
            .zip(&contents)
            .all(|(path, content)| Stat::now(path).as_ref() == Some(&content.stat));
        if same {
            return Ok(contents);
        }
    }
    Err(TlsError::Unstable)
}

fn build(settings: &ClientTlsSettings) -> Result<(ClientConfig, [u8; 32]), TlsError> {
    let contents = read_together(settings)?;
    let mut hash = Sha256::new();
    for content in &contents {
        hash.update((content.bytes.len() as u64).to_be_bytes());
        hash.update(content.bytes.as_slice());
    }
    let mut contents = contents.iter();
    let mut roots = RootCertStore::empty();
    if let Some(ca) = contents.next() {
        trust(&settings.ca_file, ca, &mut roots)?;
    }
    let provider = Arc::new(provider::provider(&settings.suites)?);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| TlsError::Setup(error.to_string()))?
        .with_root_certificates(roots);
    let mut config = match (&settings.identity, contents.next(), contents.next()) {
        (Some((certificate, key)), Some(chain), Some(secret)) => {
            let shown = identity(settings, (certificate, chain), (key, secret))?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
        }
        _ => builder.with_no_client_auth(),
    };
    // A resumed session checks no certificate: neither the server's nor ours.
    config.resumption = Resumption::disabled();
    Ok((config, hash.finalize().into()))
}

fn trust(path: &Path, file: &Content, roots: &mut RootCertStore) -> Result<(), TlsError> {
    for der in material::certificates(CA, path, &file.bytes)? {
        let is_ca = parse(&der).is_ok_and(|certificate| certificate.is_ca());
        if !is_ca || roots.add(der).is_err() {
            let why = "holds a certificate of no CA; list only CAs there".to_owned();
            return Err(material::content(CA, path, why));
        }
    }
    Ok(())
}

fn identity(
    settings: &ClientTlsSettings,
    (certificate, chain): (&Path, &Content),
    (key, secret): (&Path, &Content),
) -> Result<CertifiedKey, TlsError> {
    let chain = material::certificates(CERTIFICATE, certificate, &chain.bytes)?;
    for der in &chain {
        let bad = |why| material::content(CERTIFICATE, certificate, why);
        let parsed = parse(der).map_err(|_| bad("has a malformed certificate".to_owned()))?;
        let until = parsed.validity().not_after.timestamp();
        if now_unix() > until {
            return Err(bad(format!("expired at {}; renew it", utc(until))));
        }
    }
    let mut warnings = Vec::new();
    material::permissions(KEY, key, settings.key_permissions, secret, &mut warnings)?;
    let signing = material::private_key(KEY, key, &secret.bytes)?;
    let certified = CertifiedKey::new(chain, signing);
    certified.keys_match().map_err(|_| TlsError::Mismatch {
        setting: KEY,
        certificate: certificate.to_owned(),
        key: key.to_owned(),
    })?;
    Ok(certified)
}
