//! All keys of a configuration that come from elsewhere, had together or not at all.

use std::sync::Arc;
use std::time::Duration;

use safeguard_policy::{
    AwsCredentials, InfisicalLogin, Key, KeyBytes, KeySources, Keys, Secret, SourceKind,
    SourceText, TransitLogin,
};
use safeguard_vault::KeyMaterial;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::aws_kms::AwsKmsSource;
use super::infisical::InfisicalSource;
use super::pkcs11::Pkcs11Source;
use super::transit::TransitSource;
use super::{KeySource, SourceError, Unresolved};

/// Attempts for one key, while the source is unavailable.
pub const ATTEMPTS_MAX: u32 = 3;
/// The pause after the first of them; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_millis(200);

/// Which rings are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rings {
    /// Those that a reload replaces.
    PhiAndIntegrity,
    /// That of the trail, which stays for a whole run.
    Audit,
}

/// The sources that are set up. One whose settings stay is kept over reloads, with the token of its last login.
#[derive(Default)]
pub struct Resolver {
    built: Vec<Built>,
}

struct Built {
    kind: SourceKind,
    fingerprint: [u8; 32],
    source: Arc<dyn KeySource>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kinds = self.built.iter().map(|built| built.kind.word());
        f.debug_list().entries(kinds).finish()
    }
}

impl Resolver {
    /// Puts the keys of these rings that come from elsewhere into their places.
    ///
    /// # Errors
    /// The first key that can't be had; then none was put anywhere.
    pub async fn resolve(
        &mut self,
        keys: &mut Keys,
        rings: Rings,
        sources: &KeySources,
    ) -> Result<(), Unresolved> {
        let mut chosen: Vec<(&'static str, &mut Vec<Key>)> = match rings {
            Rings::PhiAndIntegrity => {
                vec![("phi", &mut keys.phi), ("integrity", &mut keys.integrity)]
            }
            Rings::Audit => vec![("audit", &mut keys.audit)],
        };
        let deadline = tokio::time::Instant::now() + sources.timeout;
        let mut had: Vec<(usize, usize, KeyBytes)> = Vec::new();
        for (place, (ring, keys)) in chosen.iter().enumerate() {
            for (number, key) in keys.iter().enumerate() {
                let Some(text) = key.remote.as_ref().filter(|_| key.key.is_none()) else {
                    continue;
                };
                let found = self.key(text, sources);
                let found = tokio::time::timeout_at(deadline, found).await;
                let late = SourceError::Unavailable("it did not answer in time");
                match found.unwrap_or(Err(late)) {
                    Ok(found) => had.push((place, number, bytes(&found))),
                    Err(error) => {
                        return Err(Unresolved {
                            ring,
                            number,
                            id: key.id.clone(),
                            kind: text.kind,
                            error,
                        });
                    }
                }
            }
        }
        for (place, number, bytes) in had {
            let key = chosen
                .get_mut(place)
                .and_then(|(_, keys)| keys.get_mut(number));
            if let Some(key) = key {
                key.key = Some(bytes);
            }
        }
        warn_of_shared(keys);
        Ok(())
    }

    /// Asks for every key that comes from elsewhere, and keeps those that came: for looking at a configuration.
    pub async fn each(&mut self, keys: &mut Keys, sources: &KeySources) -> Vec<Unresolved> {
        let mut missing = Vec::new();
        let rings = [
            ("phi", &mut keys.phi),
            ("integrity", &mut keys.integrity),
            ("audit", &mut keys.audit),
        ];
        for (ring, keys) in rings {
            for (number, key) in keys.iter_mut().enumerate() {
                let Some(text) = &key.remote else { continue };
                match self.key(text, sources).await {
                    Ok(found) => key.key = Some(bytes(&found)),
                    Err(error) => missing.push(Unresolved {
                        ring,
                        number,
                        id: key.id.clone(),
                        kind: text.kind,
                        error,
                    }),
                }
            }
        }
        missing
    }

    /// One key, with a few attempts.
    async fn key(
        &mut self,
        text: &SourceText,
        sources: &KeySources,
    ) -> Result<KeyMaterial, SourceError> {
        let source = self.source(text.kind, sources)?;
        let mut pause = PAUSE_FIRST;
        for _ in 1..ATTEMPTS_MAX {
            match source.resolve(text).await {
                Err(error) if error.may_pass() => tokio::time::sleep(pause).await,
                ended => return ended,
            }
            pause *= 2;
        }
        source.resolve(text).await
    }

    /// The source of a kind, made anew if its settings are other ones.
    fn source(
        &mut self,
        kind: SourceKind,
        sources: &KeySources,
    ) -> Result<Arc<dyn KeySource>, SourceError> {
        let fingerprint = fingerprint(kind, sources);
        let known = self.built.iter().find(|built| built.kind == kind);
        if let Some(built) = known.filter(|built| built.fingerprint == fingerprint) {
            return Ok(Arc::clone(&built.source));
        }
        let source = source_of(kind, sources)?;
        self.built.retain(|built| built.kind != kind);
        self.built.push(Built {
            kind,
            fingerprint,
            source: Arc::clone(&source),
        });
        Ok(source)
    }
}

/// One key in two rings: what opens one opens the other. The loader says so of keys that it sees.
fn warn_of_shared(keys: &Keys) {
    let rings = [
        ("phi", &keys.phi),
        ("integrity", &keys.integrity),
        ("audit", &keys.audit),
    ];
    let mut seen: Vec<(&str, &Key)> = Vec::new();
    for (ring, keys) in rings {
        for key in keys {
            let Some(bytes) = key.key.as_ref().map(KeyBytes::expose) else {
                continue;
            };
            let is_same = |(other, known): &&(&str, &Key)| {
                let both_given = known.remote.is_none() && key.remote.is_none();
                let known = known.key.as_ref().map(KeyBytes::expose);
                *other != ring && !both_given && known == Some(bytes)
            };
            if let Some((other, _)) = seen.iter().find(is_same) {
                log::warn!(
                    "keys.{ring} `{}` serves keys.{other} too: give each ring keys of its own",
                    key.id
                );
            }
            seen.push((ring, key));
        }
    }
}

/// Sets up a source.
///
/// # Errors
/// When a file that it names does not serve.
pub fn source_of(
    kind: SourceKind,
    sources: &KeySources,
) -> Result<Arc<dyn KeySource>, SourceError> {
    let missing =
        || SourceError::Settings(format!("key_sources.{} is not configured", kind.section()));
    Ok(match kind {
        SourceKind::Infisical => {
            let settings = sources.infisical.as_ref().ok_or_else(missing)?;
            Arc::new(InfisicalSource::new(settings)?)
        }
        SourceKind::Transit => {
            let settings = sources.transit.as_ref().ok_or_else(missing)?;
            Arc::new(TransitSource::new(settings)?)
        }
        SourceKind::AwsKms => {
            let settings = sources.aws_kms.as_ref().ok_or_else(missing)?;
            Arc::new(AwsKmsSource::new(settings)?)
        }
        SourceKind::Pkcs11 => {
            let settings = sources.pkcs11.as_ref().ok_or_else(missing)?;
            Arc::new(Pkcs11Source::new(settings))
        }
    })
}

fn bytes(key: &KeyMaterial) -> KeyBytes {
    let mut bytes = Zeroizing::new([0; KeyBytes::LENGTH]);
    bytes.copy_from_slice(key.expose());
    KeyBytes::new(bytes)
}

/// What a source was set up with, its secrets too: for telling a change, never shown. `Debug` shows all but the secrets.
fn fingerprint(kind: SourceKind, sources: &KeySources) -> [u8; 32] {
    let mut hash = Sha256::new();
    let (text, secrets) = match kind {
        SourceKind::Infisical => {
            let settings = sources.infisical.as_deref();
            let secret = settings.and_then(|settings| match &settings.login {
                InfisicalLogin::Universal { client_secret, .. } => client_secret.as_ref(),
                InfisicalLogin::Kubernetes { .. } => None,
            });
            (format!("{settings:?}"), vec![secret])
        }
        SourceKind::Transit => {
            let settings = sources.transit.as_deref();
            let secret = settings.and_then(|settings| match &settings.login {
                TransitLogin::Token(secret) => secret.as_ref(),
                TransitLogin::AppRole { secret_id, .. } => secret_id.as_ref(),
                TransitLogin::Kubernetes { .. } => None,
            });
            (format!("{settings:?}"), vec![secret])
        }
        SourceKind::AwsKms => {
            let settings = sources.aws_kms.as_deref();
            let secrets = settings.map_or(Vec::new(), |settings| match &*settings.credentials {
                AwsCredentials::Static {
                    secret_access_key,
                    session_token,
                    ..
                } => vec![Some(secret_access_key), session_token.as_ref()],
                AwsCredentials::WebIdentity { .. } | AwsCredentials::Absent => Vec::new(),
            });
            (format!("{settings:?}"), secrets)
        }
        SourceKind::Pkcs11 => {
            let settings = sources.pkcs11.as_deref();
            let pin = settings.and_then(|settings| settings.pin.as_ref());
            (format!("{settings:?}"), vec![pin])
        }
    };
    hash.update(text.as_bytes());
    for secret in secrets {
        let secret = secret.map_or("", Secret::expose);
        hash.update(secret.len().to_be_bytes());
        hash.update(secret.as_bytes());
    }
    hash.finalize().into()
}
