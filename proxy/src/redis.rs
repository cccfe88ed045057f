//! The client of the Redis or Valkey that replicas share: one multiplexed connection, made when it is first needed and made
//! again by itself whenever it breaks.
//!
//! Nobody waits longer than [`ANSWER_DEADLINE`] for a command: what is not answered by then is [`Unavailable`], and whoever asked
//! decides what that means. TLS is rustls's with the provider of the process; certificates are verified against `ca`, else
//! the system's.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue,
    IntoConnectionInfo, RedisError, ScriptInvocation, TlsCertificates,
};
use safeguard_policy::Secret;
use thiserror::Error;
use zeroize::Zeroizing;

/// Until a connection is made, TLS and the login included.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// Until a command is answered, a connection made for it included.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(3);
/// Until a command is answered on a connection that stands.
const RESPONSE_DEADLINE: Duration = Duration::from_secs(2);
/// The longest pause between two attempts to connect.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_millis(250);

/// Where the server is, and who we are to it. Nothing of it is shown by `Debug`.
#[derive(Default)]
pub struct RedisSettings {
    /// `redis://` or `rediss://`, with or without user, password and database.
    pub url: Zeroizing<String>,
    /// The ACL user; before the URL's.
    pub username: Option<String>,
    /// Its password; before the URL's.
    pub password: Option<Zeroizing<String>>,
    /// The authorities that the server's certificate must come from, in PEM; none: the system's.
    pub ca: Option<Vec<u8>>,
    /// Our certificate and its key, in PEM.
    pub certificate: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
}

impl std::fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RedisSettings(..)")
    }
}

/// Why no client can be made of the settings. None of it repeats the URL, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RedisSettingsError {
    /// Not such a URL.
    #[error(
        "the URL of Redis is none: write redis://HOST:PORT or rediss://USER:PASSWORD@HOST:PORT"
    )]
    Url,
    /// Without TLS, to another host.
    #[error("the URL of Redis is plain to another host: use rediss://")]
    Plain,
    /// Certificates without TLS.
    #[error("certificates for Redis are of use with rediss:// only: use rediss://")]
    CertificateWithoutTls,
    /// The certificates or the key.
    #[error(
        "the certificates for Redis are unusable: give PEM files, and a key that belongs to the certificate"
    )]
    Certificates,
}

/// The server gave no answer, or said no. Its words are for the log only: they hold no value of ours.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("Redis is not available: {0}")]
pub struct Unavailable(String);

impl Unavailable {
    fn late() -> Self {
        Self(format!("no answer within {} s", ANSWER_DEADLINE.as_secs()))
    }

    /// An answer of another shape than was asked for.
    pub fn malformed() -> Self {
        Self("its answer is malformed".to_owned())
    }
}

impl From<RedisError> for Unavailable {
    fn from(error: RedisError) -> Self {
        // The detail may repeat arguments; kind and code never do.
        let code = error.code().unwrap_or_default();
        Self(format!("{} {code}", error.category()).trim_end().to_owned())
    }
}

/// A client. Clones share the connection.
#[derive(Clone)]
pub struct Redis {
    manager: ConnectionManager,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redis(..)")
    }
}

impl Redis {
    /// A client that has not connected yet.
    ///
    /// # Errors
    /// [`RedisSettingsError`]: the settings can't be used. Whether the server is there shows with the first command.
    pub fn new(settings: &RedisSettings) -> Result<Self, RedisSettingsError> {
        let info = connection_info(settings)?;
        let client = match info.addr() {
            ConnectionAddr::TcpTls { .. } => Client::build_with_tls(info, certificates(settings))
                .map_err(|_| RedisSettingsError::Certificates)?,
            _ if settings.ca.is_some() || settings.certificate.is_some() => {
                return Err(RedisSettingsError::CertificateWithoutTls);
            }
            _ => Client::open(info).map_err(|_| RedisSettingsError::Url)?,
        };
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_DEADLINE))
            .set_response_timeout(Some(RESPONSE_DEADLINE))
            .set_max_delay(RECONNECT_PAUSE_MAX)
            .set_number_of_retries(1);
        let manager = client
            .get_connection_manager_lazy(config)
            .map_err(|_| RedisSettingsError::Url)?;
        Ok(Self { manager })
    }

    /// Sends a command and reads its answer. What it did is unknown if it fails: send only what may be sent twice.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Unavailable> {
        let mut connection = self.manager.clone();
        within(async { command.query_async(&mut connection).await }).await
    }

    /// Runs a script by its hash: one round trip, two where the server does not know it yet.
    ///
    /// # Errors
    /// [`Unavailable`]
    pub async fn script<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, Unavailable> {
        let mut connection = self.manager.clone();
        within(async { script.invoke_async(&mut connection).await }).await
    }
}

async fn within<T>(answer: impl Future<Output = Result<T, RedisError>>) -> Result<T, Unavailable> {
    match tokio::time::timeout(ANSWER_DEADLINE, answer).await {
        Ok(answer) => answer.map_err(Unavailable::from),
        Err(_) => Err(Unavailable::late()),
    }
}

fn connection_info(settings: &RedisSettings) -> Result<ConnectionInfo, RedisSettingsError> {
    let info = settings
        .url
        .as_str()
        .into_connection_info()
        .map_err(|_| RedisSettingsError::Url)?;
    match info.addr() {
        ConnectionAddr::Tcp(host, _) if !is_loopback(host) => {
            return Err(RedisSettingsError::Plain);
        }
        // `#insecure` in the URL asks for no verification at all.
        ConnectionAddr::TcpTls { insecure: true, .. } => return Err(RedisSettingsError::Url),
        _ => {}
    }
    let mut own = info.redis_settings().clone();
    if let Some(username) = &settings.username {
        own = own.set_username(username);
    }
    if let Some(password) = &settings.password {
        own = own.set_password(password.as_str());
    }
    Ok(info.set_redis_settings(own.set_skip_set_lib_name()))
}

fn is_loopback(host: &str) -> bool {
    let address: Result<std::net::IpAddr, _> = host.parse();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn certificates(settings: &RedisSettings) -> TlsCertificates {
    TlsCertificates {
        client_tls: settings
            .certificate
            .as_ref()
            .map(|(certificate, key)| ClientTlsConfig {
                client_cert: certificate.clone(),
                client_key: key.to_vec(),
            }),
        root_cert: settings.ca.clone(),
    }
}

/// The settings that a URL alone makes.
impl From<&Secret> for RedisSettings {
    fn from(url: &Secret) -> Self {
        Self {
            url: Zeroizing::new(url.expose().to_owned()),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> RedisSettings {
        RedisSettings {
            url: Zeroizing::new(url.to_owned()),
            ..RedisSettings::default()
        }
    }

    fn refused(settings: &RedisSettings) -> RedisSettingsError {
        Redis::new(settings).map(drop).unwrap_err()
    }

    #[tokio::test]
    async fn a_password_goes_to_another_host_in_tls_only() {
        for url in ["redis://u:p@10.1.2.3", "redis://cache.example.com:6379"] {
            assert_eq!(refused(&settings(url)), RedisSettingsError::Plain, "{url}");
        }
        for url in [
            "http://localhost",
            "",
            "rediss://h:1/#insecure",
            "localhost",
        ] {
            assert_eq!(refused(&settings(url)), RedisSettingsError::Url, "{url}");
        }
        for url in [
            "redis://127.0.0.1:1/3",
            "redis://localhost",
            "redis://[::1]:2",
        ] {
            assert!(Redis::new(&settings(url)).is_ok(), "{url}");
        }
    }

    #[tokio::test]
    async fn certificates_want_tls_and_must_be_some() {
        let mut with = settings("redis://localhost");
        with.ca = Some(b"-----BEGIN".to_vec());
        assert_eq!(refused(&with), RedisSettingsError::CertificateWithoutTls);
        with.url = Zeroizing::new("rediss://localhost".to_owned());
        with.certificate = Some((b"none".to_vec(), Zeroizing::new(b"none".to_vec())));
        assert_eq!(refused(&with), RedisSettingsError::Certificates);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_unavailable_and_no_secret_is_said() {
        let settings = settings("redis://canary-user:canary-password@127.0.0.1:1");
        let redis = Redis::new(&settings).unwrap();
        let answer = redis.command::<String>(&redis::cmd("PING")).await;
        let text = format!("{:?} {redis:?} {settings:?}", answer.unwrap_err());
        assert!(!text.contains("canary"), "{text}");
    }
}
