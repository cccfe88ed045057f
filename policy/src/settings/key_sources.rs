//! `key_sources`: servers and modules that keep keys, or the keys that wrap them.

pub(crate) mod read;
mod reference;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::secret::Secret;

pub(crate) use read::key_sources;
pub(crate) use reference::is_reference;
pub(super) use reference::reference;
pub use reference::{SourceKind, SourceText};

/// `key_sources`. Shared, for what resolves keys outlives the configuration that it came from.
#[derive(Debug)]
pub struct KeySources {
    /// Infisical.
    pub infisical: Option<Arc<Infisical>>,
    /// The transit engine of OpenBao or Vault.
    pub transit: Option<Arc<Transit>>,
    /// AWS KMS.
    pub aws_kms: Option<Arc<AwsKms>>,
    /// A hardware security module.
    pub pkcs11: Option<Arc<Pkcs11>>,
    /// For all keys of a configuration together, retries included. 1 s to an hour.
    pub timeout: Duration,
}

/// `key_sources.infisical`
#[derive(Debug)]
pub struct Infisical {
    /// Base URL, https (http on loopback), without a slash at its end.
    pub url: String,
    /// The project's id.
    pub project: String,
    /// The environment's slug.
    pub environment: String,
    /// The folder of the secrets.
    pub path: String,
    /// PEM of the authorities for the server's certificate; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// Who asks.
    pub login: InfisicalLogin,
}

/// How a machine identity of Infisical shows that it is itself.
#[derive(Debug)]
pub enum InfisicalLogin {
    /// `universal_auth`
    Universal {
        /// The identity's client id.
        client_id: String,
        /// Its secret. `None` only in `check`.
        client_secret: Option<Secret>,
    },
    /// `kubernetes_auth`
    Kubernetes {
        /// The identity's id.
        identity_id: String,
        /// The service account token's file.
        token_file: PathBuf,
    },
}

/// `key_sources.transit`
#[derive(Debug)]
pub struct Transit {
    /// Base URL, https (http on loopback), without a slash at its end.
    pub url: String,
    /// Where the engine is mounted, without slashes at its ends.
    pub mount: String,
    /// The name of the key that wraps.
    pub key: String,
    /// The namespace.
    pub namespace: Option<String>,
    /// PEM of the authorities for the server's certificate; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// Who asks.
    pub login: TransitLogin,
}

/// How the sidecar comes to a token of OpenBao or Vault.
#[derive(Debug)]
pub enum TransitLogin {
    /// `token`. `None` only in `check`.
    Token(Option<Secret>),
    /// `kubernetes`
    Kubernetes {
        /// The role to log in as.
        role: String,
        /// Where the method is mounted.
        mount: String,
        /// The service account token's file.
        token_file: PathBuf,
    },
    /// `approle`
    AppRole {
        /// The role's id.
        role_id: String,
        /// Its secret. `None` only in `check`.
        secret_id: Option<Secret>,
        /// Where the method is mounted.
        mount: String,
    },
}

/// `key_sources.aws_kms`
#[derive(Debug)]
pub struct AwsKms {
    /// The region.
    pub region: String,
    /// Id, ARN or alias of the key that wraps.
    pub key_id: Option<String>,
    /// Of KMS: https (http on loopback), without a slash at its end.
    pub endpoint: String,
    /// Of STS, the same.
    pub sts_endpoint: String,
    /// PEM of the authorities for their certificates; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// Who asks.
    pub credentials: Arc<AwsCredentials>,
}

/// AWS credentials, from the standard variables.
#[derive(Debug)]
pub enum AwsCredentials {
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`
    Static {
        /// The access key's id.
        access_key_id: String,
        /// Its secret.
        secret_access_key: Secret,
        /// The token of temporary credentials.
        session_token: Option<Secret>,
    },
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_ARN`, `AWS_ROLE_SESSION_NAME`
    WebIdentity {
        /// The role to assume.
        role_arn: String,
        /// The identity token's file, read at each login.
        token_file: PathBuf,
        /// The session's name.
        session_name: String,
    },
    /// None of these variables is set.
    Absent,
}

/// `key_sources.pkcs11`
#[derive(Debug)]
pub struct Pkcs11 {
    /// The vendor's library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The user's PIN. `None` only in `check`.
    pub pin: Option<Secret>,
    /// The label of the key that wraps.
    pub key: String,
}

#[cfg(test)]
mod tests;
