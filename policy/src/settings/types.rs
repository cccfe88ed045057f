//! The settings, one struct a section of the document. Durations carry their unit in their type.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::key_sources::{AwsCredentials, KeySources, SourceText};
use crate::policy::Policy;
use crate::secret::{KeyBytes, Secret};

/// Everything that one process needs to know. It exists only if the loader found no error.
#[derive(Debug)]
pub struct Configuration {
    /// `production` unless said otherwise.
    pub profile: Profile,
    /// Where roles come from.
    pub identity: Identity,
    /// Local tokens and the second factor.
    pub authentication: Authentication,
    /// The identity provider; without it only local tokens are taken.
    pub keycloak: Option<Keycloak>,
    /// Limits of login sessions, from `keycloak` or its defaults.
    pub sessions: Sessions,
    /// The store that replicas share; none: login sessions are in this process alone.
    pub session_store: Option<SessionStore>,
    /// The audit trail.
    pub audit: AuditLogging,
    /// The listener's TLS.
    pub tls: Tls,
    /// Where clients connect, and the bounds on what they send.
    pub listen: Listen,
    /// Where metrics and probes are served.
    pub admin: Admin,
    /// The MCP server behind.
    pub upstream: Upstream,
    /// Where sockets, locks and cursors live.
    pub state: State,
    /// The key rings.
    pub keys: Keys,
    /// Where keys come from that are neither in the environment nor in a file.
    pub key_sources: KeySources,
    /// Who may see what.
    pub policy: Policy,
    /// SHA-256 of the merged document as written: interpolated and literal secrets are not in it.
    pub hash: [u8; 32],
}

/// Whether protections may be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Nothing may be switched off.
    Production,
    /// MFA, client certificates and sealing may be off, on a loopback listener only.
    Development,
}

/// `identity`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The member names that lead to the one claim that grants roles in a Keycloak token: `realm_access.roles`.
    /// A local token's claim is `roles`.
    pub roles_from: Vec<String>,
    /// Names that several people share, in lower case.
    pub shared_subjects: Vec<String>,
    /// Further issuers, beside `keycloak`.
    pub issuers: Vec<Issuer>,
}

/// `identity.issuers.NAME`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The operator's name for it.
    pub name: String,
    /// The exact `iss`.
    pub issuer: String,
    /// The only roles that it grants.
    pub roles: Vec<String>,
    /// As [`Identity::roles_from`], for its tokens.
    pub roles_from: Vec<String>,
    /// Audiences that are accepted beside `listen.public_url`.
    pub audiences: Vec<String>,
    /// The sidecar's own client there; empty: none.
    pub client_id: String,
    /// PEM of the authorities for the server's certificate; without it the system's.
    pub ca_file: Option<PathBuf>,
    /// How often its keys are fetched.
    pub keys_refresh: Duration,
    /// How long they serve while it can't be reached.
    pub keys_stale_max: Duration,
    /// Whether logins that begin while it can't be reached are let in.
    pub serves_new_when_down: bool,
}

/// `authentication`
#[derive(Debug)]
pub struct Authentication {
    /// Local HS256 tokens.
    pub jwt: Jwt,
    /// The second factor.
    pub mfa: Mfa,
    /// What tokens must be bound to.
    pub bound_tokens: BoundTokens,
    /// How far a token's times may be off. At most 60 s.
    pub clock_skew: Duration,
}

/// `authentication.bound_tokens`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundTokens {
    /// To a key of the client, with DPoP (RFC 9449).
    pub dpop: Binding,
    /// To the client's certificate (RFC 8705 §3).
    pub certificate: Binding,
    /// Whether a DPoP proof must carry a nonce of the sidecar's.
    pub nonce: bool,
}

/// What is made of a token's binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// A token without it is refused.
    Required,
    /// It is checked where it is.
    Accepted,
    /// It is not looked at.
    Ignored,
}

/// `authentication.jwt`
#[derive(Debug)]
pub struct Jwt {
    /// Whether local tokens are taken and issued.
    pub enabled: bool,
    /// The HMAC key's UTF-8 bytes, at least 32. `None` if local tokens are off, or in `check` where it stands in a
    /// file that was not opened.
    pub secret: Option<Secret>,
    /// The secret before it. A running sidecar takes another one, and another `secret`, without a restart.
    pub previous: PreviousSecret,
    /// `iss` of local tokens.
    pub issuer: String,
    /// `aud` that a local token must name.
    pub audience: String,
    /// The longest life of an access token.
    pub expiration: Duration,
    /// Whether a token serves one request only.
    pub once: bool,
    /// Whether refresh tokens are issued.
    pub refresh_enabled: bool,
    /// The life of a refresh token.
    pub refresh_expiration: Duration,
}

/// `authentication.jwt.previous`: the secret that signed local tokens before the last rotation. Its `Debug` is the same
/// whatever it holds, for a rotation is no change that needs a restart.
#[derive(Default)]
pub struct PreviousSecret(Option<(Option<Secret>, i64)>);

impl PreviousSecret {
    pub(crate) fn new(secret: Option<Secret>, until_unix: i64) -> Self {
        Self(Some((secret, until_unix)))
    }

    /// The secret, where its file was opened, and the Unix second from which on it verifies nothing; none without one.
    #[must_use]
    pub fn settings(&self) -> Option<(Option<&Secret>, i64)> {
        let (secret, until) = self.0.as_ref()?;
        Some((secret.as_ref(), *until))
    }
}

impl std::fmt::Debug for PreviousSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PreviousSecret(…)")
    }
}

/// `authentication.mfa`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mfa {
    /// Whether every login needs a second factor: `mfa.enabled` or `keycloak.require_mfa`.
    pub required: bool,
    /// What proves it.
    pub providers: Vec<MfaProvider>,
    /// `acr` values that prove it for a person's login.
    pub acr: Vec<String>,
    /// The scope by which the provider is made to ask for it (RFC 6749 §3.3: one token, no spaces).
    pub scope: Option<String>,
    /// Where the sidecar enrols and verifies them itself.
    pub enrolment: Option<Enrolment>,
}

/// `authentication.mfa.enrolment`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// Where the enrolments are.
    pub directory: PathBuf,
    /// The origin of the page: scheme, host and, where it is not the scheme's own, port. No slash at its end.
    pub origin: String,
    /// The host of the origin: what passkeys are bound to (WebAuthn level 3, §5.1.2: the RP ID).
    pub host: String,
}

/// A kind of second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MfaProvider {
    /// Proved by `amr` `otp` or `totp`.
    Totp,
    /// Proved by `amr` `hwk`, `swk` or `webauthn`.
    Webauthn,
}

impl MfaProvider {
    /// The `amr` values (RFC 8176 and Keycloak's) that prove it.
    #[must_use]
    pub fn amr(self) -> &'static [&'static str] {
        match self {
            Self::Totp => &["otp", "totp"],
            Self::Webauthn => &["hwk", "swk", "webauthn"],
        }
    }
}

/// `keycloak`
#[derive(Debug)]
pub struct Keycloak {
    /// The realm's name.
    pub realm: String,
    /// The server's base URL, without the realm, without a slash at its end.
    pub server_url: String,
    /// The sidecar's own client.
    pub client_id: String,
    /// Its secret. `None` if not written, or in `check` where it stands in a file that was not opened.
    pub client_secret: Option<Secret>,
    /// Audiences that are accepted beside `listen.public_url`.
    pub audiences: Vec<String>,
    /// PEM of the authorities for the server's certificate; without it the system's.
    pub ca_file: Option<PathBuf>,
    /// How often the realm's keys are fetched.
    pub keys_refresh: Duration,
    /// How long they serve while the server can't be reached.
    pub keys_stale_max: Duration,
    /// Whether logins that begin while the server can't be reached are let in.
    pub serves_new_when_down: bool,
    /// How long an answer about a token serves, where the server is asked about each (`keycloak.introspection`).
    pub introspection: Option<Duration>,
    /// `keycloak.events`, where they are read.
    pub events: Option<IdentityEvents>,
}

/// `keycloak.events`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentityEvents {
    /// How often they are asked for.
    pub interval: Duration,
}

impl Keycloak {
    /// The issuer that tokens of the realm name: `server_url` + `/realms/` + `realm`.
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("{}/realms/{}", self.server_url, self.realm)
    }
}

/// The Redis or Valkey that replicas share: `sessions` with a URL.
#[derive(Debug)]
pub struct SessionStore {
    /// `redis://` or `rediss://`. `None` in `check` where it stands in a file that was not opened.
    pub url: Option<Secret>,
    /// The ACL user; before the URL's.
    pub username: Option<String>,
    /// Its password; before the URL's.
    pub password: Option<Secret>,
    /// PEM of the authorities for its certificate; none: the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM files of our certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// Limits of a login session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sessions {
    /// The longest session (`session_timeout`).
    pub absolute: Duration,
    /// The longest silence (`idle_timeout`).
    pub idle: Duration,
    /// Sessions at once per user (`max_sessions_per_user`).
    pub max_per_user: u32,
    /// Whether a login above that is refused, and does not end the oldest session (`sessions.at_limit`).
    pub refuses_new: bool,
}

/// `audit_logging`
#[derive(Debug)]
pub struct AuditLogging {
    /// How long events are kept, at least 2192 days.
    pub retention_days: u32,
    /// Which events go to the outputs. The spool records every event.
    pub events: Vec<String>,
    /// The outputs whose sinks are built.
    pub outputs: Vec<Output>,
    /// The local queue.
    pub spool: Spool,
}

/// One output of the audit trail. Outputs whose sink is not built leave a warning and are not here.
#[derive(Debug)]
pub enum Output {
    /// A table in PostgreSQL.
    Postgresql(Postgresql),
    /// A log collector.
    Siem(Siem),
    /// A bucket.
    S3(S3),
}

/// `audit_logging.output[type: s3]`. Credentials may be absent in `check`, which warns of it; `run` refuses them.
#[derive(Debug)]
pub struct S3 {
    /// Its name.
    pub bucket: String,
    /// What the objects' names begin with: `audit/`.
    pub prefix: String,
    /// Empty where none is known (with a finding `sink_credential`).
    pub region: String,
    /// Base URL of a store that is not Amazon's, without a slash at its end; the bucket is in the path then.
    pub endpoint: Option<String>,
    /// Base URL of STS, the same.
    pub sts_endpoint: String,
    /// PEM of the authorities for their certificates. Default: `AWS_CA_BUNDLE`, else the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether objects are sealed before they leave.
    pub encrypted: bool,
    /// What the store does beside that.
    pub encryption: S3Encryption,
    /// How objects are locked; `None`: not at all.
    pub lock: Option<S3Lock>,
    /// Days that an object is kept.
    pub keep_days: u32,
    /// Bytes of events that make an object.
    pub object_bytes_max: usize,
    /// How long events wait for an object to fill.
    pub object_age_max: Duration,
    /// Who asks.
    pub credentials: Arc<AwsCredentials>,
}

/// Server-side encryption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum S3Encryption {
    /// `AES-256`: with keys of the store (SSE-S3).
    Aes256,
    /// `aws:kms`: with a key of KMS, the account's own for S3 if none is named.
    Kms(Option<String>),
}

/// The mode of Object Lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum S3Lock {
    /// Nobody can shorten it.
    Compliance,
    /// Who may bypass it can.
    Governance,
}

/// `audit_logging.output[type: siem]`: a log collector.
#[derive(Debug)]
pub struct Siem {
    /// What it speaks, and where.
    pub protocol: SiemProtocol,
    /// How an event is written, in the configuration's word.
    pub format: String,
    /// Bytes of the longest message.
    pub message_bytes_max: usize,
    /// PEM of the authorities for the collector's certificate. Default: `SAFEGUARD_SIEM_CA`, else the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM of the sink's client certificate. Default: `SAFEGUARD_SIEM_CERT`.
    pub cert_file: Option<PathBuf>,
    /// PEM of its key. Default: `SAFEGUARD_SIEM_KEY`.
    pub key_file: Option<PathBuf>,
}

/// What a log collector speaks.
#[derive(Debug)]
pub enum SiemProtocol {
    /// Syslog (RFC 5424) over TLS (RFC 5425).
    Syslog {
        /// Host name or address; the certificate must be for it.
        host: String,
        /// The endpoint's, else 6514.
        port: u16,
    },
    /// OTLP/HTTP logs.
    Otlp(SiemHttp),
    /// Splunk's HTTP event collector. The token may be absent in `check`, which warns of it; `run` refuses that.
    Hec(SiemHttp, SiemHec),
}

/// A collector that is reached by HTTP.
#[derive(Debug)]
pub struct SiemHttp {
    /// https, or http on loopback in development; what is before the protocol's own path, without a slash at its end.
    pub base: String,
    /// Its credential. Default: `SAFEGUARD_SIEM_TOKEN`.
    pub token: Option<Secret>,
    /// Bytes of the longest request.
    pub request_bytes_max: usize,
}

/// How an HTTP event collector files events.
#[derive(Debug)]
pub struct SiemHec {
    /// `source` of each.
    pub source: String,
    /// `sourcetype` of each.
    pub sourcetype: String,
    /// `index` of each; `None`: the token's own.
    pub index: Option<String>,
    /// Whether only what is indexed is believed.
    pub acknowledge: bool,
}

/// `audit_logging.output[type: postgresql]`
#[derive(Debug)]
pub struct Postgresql {
    /// The table, perhaps with its schema: `audit_logs`.
    pub table: String,
    /// Whether the payload is sealed.
    pub encrypted: bool,
    /// Host name; the certificate must be for it. Default: `PGHOST`, else `localhost`.
    pub host: String,
    /// Default: `PGPORT`, else 5432.
    pub port: u16,
    /// Default: `PGDATABASE`, else the user's name.
    pub database: String,
    /// Default: `PGUSER`, else empty (with a finding `sink_credential`).
    pub user: String,
    /// Default: `PGPASSWORD`.
    pub password: Option<Secret>,
    /// Whether the password needs SCRAM with channel binding.
    pub channel_binding: bool,
    /// PEM of the authorities for the server's certificate. Default: `PGSSLROOTCERT`, else the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM of the sink's client certificate. Default: `PGSSLCERT`.
    pub cert_file: Option<PathBuf>,
    /// PEM of its key. Default: `PGSSLKEY`.
    pub key_file: Option<PathBuf>,
}

/// `audit_logging.spool`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spool {
    /// Created 0700; holds nothing but the log.
    pub directory: PathBuf,
    /// Bytes that the spool may take; full means no PHI passes.
    pub max_bytes: u64,
    /// Bytes of one segment file.
    pub segment_bytes: u64,
    /// The longest time without a signed checkpoint while nothing is recorded.
    pub heartbeat: Duration,
}

/// `tls`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// TLS 1.3 suites in the order of preference.
    pub cipher_suites: Vec<CipherSuite>,
    /// PEM of the server's chain.
    pub cert_file: PathBuf,
    /// PEM of its key.
    pub key_file: PathBuf,
    /// PEM of the authorities that client certificates must come from; `None` only where they are off.
    pub ca_file: Option<PathBuf>,
    /// PEM of revocation lists.
    pub crl_file: Option<PathBuf>,
    /// Client certificates.
    pub mutual_tls: MutualTls,
}

/// A TLS 1.3 suite (RFC 8446 §B.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CipherSuite {
    /// `TLS_AES_256_GCM_SHA384`
    Aes256GcmSha384,
    /// `TLS_CHACHA20_POLY1305_SHA256`
    Chacha20Poly1305Sha256,
    /// `TLS_AES_128_GCM_SHA256`
    Aes128GcmSha256,
}

/// `tls.mutual_tls`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MutualTls {
    /// Whether a client certificate is demanded and verified (`enabled` and `verify_client_cert`).
    pub required: bool,
    /// Whether one that is shown is verified, though none is demanded (`enabled` without `verify_client_cert`).
    pub accepted: bool,
    /// Names that a client certificate must carry one of: exact, or `*.` for one label. Empty: any name.
    pub allowed_dns_names: Vec<String>,
}

/// `listen`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Where the listener binds.
    pub address: SocketAddr,
    /// The URL that clients use, with the MCP endpoint's path, without a slash at its end.
    pub public_url: String,
    /// The path of `public_url`: `/mcp`, or `/`.
    pub path: String,
    /// The authority of `public_url`: what `Host` must be.
    pub host: String,
    /// Origins (scheme, host and port) that browsers may come from beside that of `public_url`.
    pub allowed_origins: Vec<String>,
    /// What pages of other origins may do; none: nothing.
    pub cors: Option<Cors>,
    /// The listener without client certificates.
    pub account: Option<Account>,
    /// Bounds.
    pub limits: Limits,
}

/// `listen.account`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Where it binds.
    pub address: SocketAddr,
    /// Names (without a port) that `Host` may be: that of `public_url` first.
    pub hosts: Vec<String>,
}

/// `listen.cors`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Origins (scheme, host and port) whose pages may call and read.
    pub origins: Vec<String>,
    /// Whether a handshake without a client certificate is let through to preflights and resource metadata alone.
    pub preflight_without_certificate: bool,
}

/// `listen.limits`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one request body.
    pub body_bytes_max: u64,
    /// Bytes of one JSON answer of the upstream.
    pub answer_bytes_max: u64,
    /// Bytes of one SSE event of the upstream.
    pub sse_event_bytes_max: u64,
    /// From the first byte of a request to the end of its header.
    pub header: Duration,
    /// From the end of the header to the end of the body.
    pub body: Duration,
    /// From the accepted socket to the end of the handshake.
    pub handshake: Duration,
    /// Open connections.
    pub connections_max: u32,
    /// The oldest that a connection gets before it is drained.
    pub connection_age: Duration,
    /// Requests being worked on.
    pub requests_max: u32,
    /// Open streams of one login session.
    pub streams_per_session_max: u32,
}

/// `admin`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where `/metrics`, `/livez` and `/readyz` are served.
    pub address: SocketAddr,
}

/// `upstream`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The URL as written.
    pub url: String,
    /// Where it listens.
    pub place: UpstreamPlace,
    /// How it speaks.
    pub transport: UpstreamTransport,
    /// Whether batches of 2025-03-26 are taken apart and let through; else refused.
    pub batches: bool,
    /// Path, `/` if not written.
    pub path: String,
    /// From the connection to the head of the answer.
    pub timeout: Duration,
    /// To establish the connection.
    pub connect_timeout: Duration,
    /// The revisions of MCP that it speaks; none where it is to be learnt.
    pub protocol_versions: Option<Vec<String>>,
    /// The file of reviewed tools.
    pub tools_lock: Option<PathBuf>,
}

/// Where the upstream listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamPlace {
    /// In the clear, on loopback.
    Http {
        /// As written: `127.0.0.1`, `::1` (no brackets) or `localhost`.
        host: String,
        /// 80 if not written.
        port: u16,
    },
    /// Over TLS 1.3.
    Https {
        /// A name, or an address (no brackets).
        host: String,
        /// 443 if not written.
        port: u16,
        /// Whom it trusts and what it shows.
        tls: UpstreamTls,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

/// `upstream.tls`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// PEM: the only authorities trusted.
    pub ca_file: PathBuf,
    /// PEM: certificate and key shown to the server.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that the server's certificate must carry, if it is not the host of the URL.
    pub server_name: Option<String>,
}

/// `upstream.transport`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamTransport {
    /// Streamable HTTP: one endpoint.
    Streamable,
    /// HTTP+SSE of 2024-11-05: a stream, whose first event names where to post.
    Sse,
}

/// `state`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// A 0700 directory; default: the spool's sibling, its name with `-state` behind it.
    pub directory: PathBuf,
}

/// `keys`
#[derive(Debug)]
pub struct Keys {
    /// Seals and opens PHI.
    pub phi: Vec<Key>,
    /// Record hashes.
    pub integrity: Vec<Key>,
    /// The audit trail: chain, payloads, pseudonyms (separated by HKDF).
    pub audit: Vec<Key>,
}

/// One key of a ring.
#[derive(Debug)]
pub struct Key {
    /// Its name, kept in what it sealed by the first eight bytes of its SHA-256.
    pub id: String,
    /// From when on it seals, in seconds since the epoch (midnight UTC of the date).
    pub from_unix: i64,
    /// What it may still do.
    pub state: KeyState,
    /// The key. `None` if it is destroyed, if it comes from `remote` and was not had yet, and in `check`, where it
    /// stands in a file that was not opened.
    pub key: Option<KeyBytes>,
    /// Where it comes from, if the text is not the key itself.
    pub remote: Option<SourceText>,
}

/// What a key of a ring may still do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Seals from its date on, and opens.
    Active,
    /// Opens only.
    DecryptOnly,
    /// Does neither: what it sealed is lost. Its id stays taken.
    Destroyed,
}
