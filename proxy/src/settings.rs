//! From the configuration as checked to the objects that a run is made of. Nothing here opens a socket.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::HeaderValue;
use http::uri::PathAndQuery;
use rustls::pki_types::ServerName;
use safeguard_certs::{
    ClientTls, ClientTlsSettings, KeyPermissions, Mutual, Suite, TlsError, TlsSettings,
};
use safeguard_policy::{
    Binding, BoundTokens, CipherSuite, Configuration, Issuer, Key, KeyState, Keycloak, MfaProvider,
    Policy, Profile, Upstream, UpstreamPlace, UpstreamTls, UpstreamTransport,
};
use safeguard_vault::mac::{RecordMac, RecordMacRing, RingMac};
use safeguard_vault::ring::{Entry, KeyRing, RingKey};
use safeguard_vault::{KeyMaterial, random_key};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::auth::TokenSettings;
use crate::authn::{
    AuthnSettings, BindingSettings, CACHED_TOKENS_DEFAULT, Challenges, Demand,
    IntrospectionSettings, LocalSettings, PreviousSecret, ProviderSettings, REFRESH_MIN_INTERVAL,
    SecondFactorSettings, Secret, StepUp,
};
use crate::factor::FactorSettings;
use crate::factor::key::Site;
use crate::factor::seal::{self, Seal};
use crate::gate::{Face, without_default_port};
use crate::identity_events;
use crate::keysource::Unresolved;
use crate::listener::ListenerLimits;
use crate::live::Live;
use crate::patients::PatientKeys;
use crate::redis::{Redis, RedisSettings, RedisSettingsError};
use crate::rewrite::Workshop;
use crate::session::{SessionLimits, SessionSeal};
use crate::sidecar::RequestLimits;
use crate::tools_lock::{LockError, ToolsLock};
use crate::upstream::{Place, UpstreamSettings};

/// Login sessions in the table at once.
pub const SESSIONS_MAX: usize = 100_000;
/// The `Host` of a server behind a unix socket, which has none. With a port: the rebinding guard of the Python SDK knows
/// `localhost:*` alone.
const UNIX_AUTHORITY: &str = "localhost:80";
/// MCP sessions in the table at once.
pub const MCP_SESSIONS_MAX: usize = 10_000;

/// A configuration that was checked and still can't run here.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// A secret stands in a file that was not opened.
    #[error("{0} has no value")]
    Missing(&'static str),
    /// Two key ids of one ring can't be told apart, or none is there.
    #[error("keys.{0}: {1}")]
    Ring(&'static str, String),
    /// A detector of the site's own is not bounded.
    #[error("phi.patterns: {0}")]
    Pattern(String),
    /// `listen.public_url` can't be an endpoint.
    #[error("listen.public_url: not an absolute http(s) URL without a query")]
    PublicUrl,
    /// The upstream's address is not an address on loopback.
    #[error("upstream.url: `{0}` is not on loopback")]
    Upstream(String),
    /// The files of the upstream's TLS can't be used.
    #[error(transparent)]
    UpstreamTls(#[from] TlsError),
    /// The file of reviewed tools can't be used.
    #[error("upstream.tools_lock: {0}")]
    ToolsLock(#[from] LockError),
    /// The store of login sessions can't be used.
    #[error("sessions: {0}")]
    SessionStore(#[from] RedisSettingsError),
    /// A file for the store of login sessions can't be read.
    #[error("sessions: {0}: {1}")]
    SessionStoreFile(std::path::PathBuf, std::io::Error),
    /// The upstream's path can't stand in a request.
    #[error("upstream.url: `{0}` is no path of a request")]
    UpstreamPath(String),
}

/// What the listener's TLS is made of.
pub fn tls(configuration: &Configuration) -> TlsSettings {
    let tls = &configuration.tls;
    let strict = configuration.profile == Profile::Production;
    TlsSettings {
        cert_file: tls.cert_file.clone(),
        key_file: tls.key_file.clone(),
        ca_file: tls.ca_file.clone(),
        crl_file: tls.crl_file.clone(),
        suites: tls.cipher_suites.iter().copied().map(suite).collect(),
        mutual: match (&configuration.listen.cors, tls.mutual_tls.required) {
            (_, false) if tls.mutual_tls.accepted => Mutual::Accepted,
            (_, false) => Mutual::Off,
            (Some(cors), true) if cors.preflight_without_certificate => Mutual::Optional,
            (_, true) => Mutual::Required,
        },
        allowed_dns_names: tls.mutual_tls.allowed_dns_names.clone(),
        key_permissions: if strict {
            KeyPermissions::Enforce
        } else {
            KeyPermissions::Warn
        },
    }
}

fn suite(suite: CipherSuite) -> Suite {
    match suite {
        CipherSuite::Aes256GcmSha384 => Suite::Aes256GcmSha384,
        CipherSuite::Chacha20Poly1305Sha256 => Suite::Chacha20Poly1305Sha256,
        CipherSuite::Aes128GcmSha256 => Suite::Aes128GcmSha256,
    }
}

/// What tokens are judged by.
///
/// # Errors
/// When the secret of local tokens has no value.
pub fn authn(configuration: &Configuration) -> Result<AuthnSettings, SettingsError> {
    let authentication = &configuration.authentication;
    let local = local(configuration)?;
    let keycloak = configuration.keycloak.as_ref();
    let keycloak = keycloak.map(|keycloak| realm(keycloak, configuration));
    let further = configuration.identity.issuers.iter();
    let further = further.map(|issuer| further_issuer(issuer, configuration));
    let mfa = &authentication.mfa;
    Ok(AuthnSettings {
        local,
        providers: keycloak.into_iter().chain(further).collect(),
        second_factor: SecondFactorSettings {
            required: mfa.required,
            totp: mfa.providers.contains(&MfaProvider::Totp),
            webauthn: mfa.providers.contains(&MfaProvider::Webauthn),
            acr_values: mfa.acr.clone(),
        },
        binding: binding(&authentication.bound_tokens),
        public_url: configuration.listen.public_url.clone(),
        shared_subjects: configuration.identity.shared_subjects.clone(),
        clock_skew_seconds: seconds(authentication.clock_skew),
        cached_tokens_max: CACHED_TOKENS_DEFAULT,
    })
}

fn realm(keycloak: &Keycloak, configuration: &Configuration) -> ProviderSettings {
    let mut settings = ProviderSettings::new(
        &keycloak.server_url,
        &keycloak.realm,
        &configuration.listen.public_url,
    );
    settings.audiences.clone_from(&keycloak.audiences);
    settings.client_id.clone_from(&keycloak.client_id);
    settings.ca_file.clone_from(&keycloak.ca_file);
    settings.refresh_interval = keycloak.keys_refresh;
    settings.refresh_min_interval = settings.refresh_min_interval.min(keycloak.keys_refresh);
    settings.keys_stale_max = keycloak.keys_stale_max;
    settings.serves_new_when_down = keycloak.serves_new_when_down;
    settings.introspection = introspection(keycloak);
    let roles_from = &configuration.identity.roles_from;
    settings.roles_from.clone_from(roles_from);
    settings
}

fn further_issuer(issuer: &Issuer, configuration: &Configuration) -> ProviderSettings {
    ProviderSettings {
        issuer: issuer.issuer.clone(),
        resource: configuration.listen.public_url.clone(),
        audiences: issuer.audiences.clone(),
        client_id: issuer.client_id.clone(),
        roles_from: issuer.roles_from.clone(),
        roles: Some(issuer.roles.clone()),
        by_rfc9068: true,
        ca_file: issuer.ca_file.clone(),
        refresh_min_interval: REFRESH_MIN_INTERVAL.min(issuer.keys_refresh),
        refresh_interval: issuer.keys_refresh,
        keys_stale_max: issuer.keys_stale_max,
        serves_new_when_down: issuer.serves_new_when_down,
        introspection: None,
    }
}

/// The issuers of identity providers: where clients may log in.
fn authorization_servers(configuration: &Configuration) -> Vec<String> {
    let keycloak = configuration.keycloak.as_ref();
    let keycloak = keycloak.map(Keycloak::issuer);
    let further = configuration.identity.issuers.iter();
    let further = further.map(|issuer| issuer.issuer.clone());
    keycloak.into_iter().chain(further).collect()
}

fn introspection(keycloak: &Keycloak) -> Option<IntrospectionSettings> {
    let secret = keycloak.client_secret.as_ref()?;
    let period = keycloak.introspection?;
    Some(IntrospectionSettings {
        url: format!(
            "{}/protocol/openid-connect/token/introspect",
            keycloak.issuer()
        ),
        client_id: keycloak.client_id.clone(),
        client_secret: Secret::new(secret.expose().as_bytes().into()),
        cache_seconds: seconds(period),
    })
}

fn binding(bound: &BoundTokens) -> BindingSettings {
    let demand = |binding| match binding {
        Binding::Required => Demand::Required,
        Binding::Accepted => Demand::Accepted,
        Binding::Ignored => Demand::Ignored,
    };
    BindingSettings {
        dpop: demand(bound.dpop),
        certificate: demand(bound.certificate),
        nonce: bound.nonce,
    }
}

/// What local tokens are judged and made by, where they are taken.
///
/// # Errors
/// When a secret has no value.
pub fn local(configuration: &Configuration) -> Result<Option<LocalSettings>, SettingsError> {
    let jwt = &configuration.authentication.jwt;
    if !jwt.enabled {
        return Ok(None);
    }
    let bytes = |secret: &safeguard_policy::Secret| Secret::new(secret.expose().as_bytes().into());
    let secret = jwt.secret.as_ref();
    let secret = secret.ok_or(SettingsError::Missing("authentication.jwt.secret"))?;
    let previous = match jwt.previous.settings() {
        None => None,
        Some((None, _)) => {
            return Err(SettingsError::Missing("authentication.jwt.previous.secret"));
        }
        Some((Some(secret), until_unix)) => Some(PreviousSecret {
            secret: bytes(secret),
            until_unix,
        }),
    };
    Ok(Some(LocalSettings {
        secret: bytes(secret),
        previous,
        issuer: jwt.issuer.clone(),
        audience: jwt.audience.clone(),
        expiration_max: seconds(jwt.expiration),
        once: jwt.once,
    }))
}

/// What the reader of the provider's events needs; none where they are not read.
///
/// # Errors
/// When the client has no secret.
pub fn identity_events(
    configuration: &Configuration,
) -> Result<Option<identity_events::Settings>, crate::run::StartError> {
    let Some(keycloak) = &configuration.keycloak else {
        return Ok(None);
    };
    let Some(events) = keycloak.events else {
        return Ok(None);
    };
    let secret = keycloak.client_secret.as_ref();
    let secret = secret.ok_or(SettingsError::Missing("keycloak.client_secret"))?;
    Ok(Some(identity_events::Settings {
        source: identity_events::SourceSettings {
            issuer: keycloak.issuer(),
            admin: format!("{}/admin/realms/{}", keycloak.server_url, keycloak.realm),
            client_id: keycloak.client_id.clone(),
            client_secret: Zeroizing::new(secret.expose().to_owned()),
            ca_file: keycloak.ca_file.clone(),
        },
        interval: events.interval,
        state: configuration.state.directory.clone(),
        spool: configuration.audit.spool.directory.clone(),
        keys: crate::run::audit_keys(configuration)?,
    }))
}

/// What `/auth/token` gives: where local tokens are made and there is a provider whose logins become them.
pub fn tokens(configuration: &Configuration) -> Option<TokenSettings> {
    let jwt = &configuration.authentication.jwt;
    (jwt.enabled && !authorization_servers(configuration).is_empty()).then(|| TokenSettings {
        resource: configuration.listen.public_url.clone(),
        audience: jwt.audience.clone(),
        refresh: jwt.refresh_enabled.then_some(jwt.refresh_expiration),
    })
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// The client of the store that replicas share; none: login sessions are in this process.
///
/// # Errors
/// When its URL or certificates can't be used, or a file can't be read.
pub fn session_store(configuration: &Configuration) -> Result<Option<Redis>, SettingsError> {
    let Some(store) = &configuration.session_store else {
        return Ok(None);
    };
    let url = store.url.as_ref();
    let url = url.ok_or(SettingsError::Missing("sessions.store"))?;
    let read = |path: &std::path::PathBuf| {
        std::fs::read(path).map_err(|why| SettingsError::SessionStoreFile(path.clone(), why))
    };
    let certificate = match &store.certificate {
        Some((certificate, key)) => Some((read(certificate)?, Zeroizing::new(read(key)?))),
        None => None,
    };
    let secret = |secret: &safeguard_policy::Secret| Zeroizing::new(secret.expose().to_owned());
    let settings = RedisSettings {
        username: store.username.clone(),
        password: store.password.as_ref().map(secret),
        ca: store.ca_file.as_ref().map(read).transpose()?,
        certificate,
        ..RedisSettings::from(url)
    };
    Ok(Some(Redis::new(&settings)?))
}

/// What seals principals in the store that replicas share.
pub fn session_seal(configuration: &Configuration) -> SessionSeal {
    let keys = configuration.keys.audit.iter();
    let known = keys.filter_map(|key| key.key.as_ref());
    SessionSeal::derive(known.map(|key| key.expose().as_slice()))
}

/// What second factors of our own need, with what seals them; none where the configuration has none.
pub fn factors(configuration: &Configuration) -> Option<(FactorSettings, Option<Seal>)> {
    let mfa = &configuration.authentication.mfa;
    let enrolment = mfa.enrolment.as_ref().filter(|_| mfa.required)?;
    let settings = FactorSettings {
        directory: enrolment.directory.clone(),
        site: Site {
            origin: enrolment.origin.clone(),
            host: enrolment.host.clone(),
        },
        totp: mfa.providers.contains(&MfaProvider::Totp),
        webauthn: mfa.providers.contains(&MfaProvider::Webauthn),
        session: configuration.sessions.absolute,
    };
    Some((settings, seal(configuration, seal::FACTORS)))
}

/// What seals the review queue of emergencies; none where no audit key has a value.
pub fn emergency_seal(configuration: &Configuration) -> Option<Seal> {
    seal(configuration, crate::emergency::SEALED)
}

fn seal(configuration: &Configuration, kind: seal::Kind) -> Option<Seal> {
    let keys = configuration.keys.audit.iter();
    let known = keys.filter_map(|key| Some((&*key.id, key.key.as_ref()?.expose())));
    let mut known = known.peekable();
    known.peek()?;
    Seal::derive(kind, known)
}

/// The limits of login sessions.
pub fn sessions(configuration: &Configuration) -> SessionLimits {
    let sessions = &configuration.sessions;
    SessionLimits {
        absolute: sessions.absolute,
        idle: sessions.idle,
        per_user: usize::try_from(sessions.max_per_user).unwrap_or(usize::MAX),
        refuses_new: sessions.refuses_new,
        table_max: SESSIONS_MAX,
    }
}

/// The bounds of one request.
pub fn requests(configuration: &Configuration) -> RequestLimits {
    let limits = configuration.listen.limits;
    RequestLimits {
        body_bytes_max: bytes(limits.body_bytes_max),
        answer_bytes_max: bytes(limits.answer_bytes_max),
        event_bytes_max: bytes(limits.sse_event_bytes_max),
        header: limits.header,
        body: limits.body,
        connection_age: limits.connection_age,
        requests_max: usize::try_from(limits.requests_max).unwrap_or(usize::MAX),
        streams_per_session_max: usize::try_from(limits.streams_per_session_max)
            .unwrap_or(usize::MAX),
    }
}

/// The bounds of the listener. A connection is told to close at its age and cut at twice that.
pub fn listener(configuration: &Configuration) -> ListenerLimits {
    let limits = configuration.listen.limits;
    ListenerLimits {
        connections_max: usize::try_from(limits.connections_max).unwrap_or(usize::MAX),
        handshake: limits.handshake,
        connection_age: limits.connection_age * 2,
    }
}

fn bytes(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Where the upstream is. Reads the files of its TLS.
///
/// # Errors
/// When its host is not an address on loopback (the loader refuses it first), or its TLS can't be used.
pub fn upstream(configuration: &Configuration) -> Result<UpstreamSettings, SettingsError> {
    let upstream = &configuration.upstream;
    let limits = configuration.listen.limits;
    let (place, authority) = match &upstream.place {
        UpstreamPlace::Http { host, port } => loopback(host, *port)?,
        UpstreamPlace::Https { host, port, tls } => {
            let name = tls.server_name.as_deref().unwrap_or(host);
            let name = ServerName::try_from(name.to_owned())
                .map_err(|_| SettingsError::Upstream(host.clone()))?;
            let place = Place::Tls {
                host: host.clone(),
                port: *port,
                name,
                tls: Arc::new(ClientTls::load(upstream_tls(configuration, tls))?),
            };
            (
                place,
                without_default_port(&authority(host, *port)).to_owned(),
            )
        }
        UpstreamPlace::Unix(path) => (Place::Unix(path.clone()), UNIX_AUTHORITY.to_owned()),
    };
    Ok(UpstreamSettings {
        place,
        authority: HeaderValue::from_str(&authority)
            .map_err(|_| SettingsError::Upstream(authority.clone()))?,
        path: PathAndQuery::from_str(&upstream.path)
            .map_err(|_| SettingsError::UpstreamPath(upstream.path.clone()))?,
        connect: upstream.connect_timeout,
        answer: upstream.timeout,
        decoded_bytes_max: bytes(limits.answer_bytes_max.max(limits.sse_event_bytes_max)),
        legacy: upstream.transport == UpstreamTransport::Sse,
        batches: upstream.batches,
    })
}

/// A server in the clear on this host, with the bounds that nothing configured.
///
/// # Errors
/// When the URL is none of http on loopback.
pub fn upstream_on_this_host(url: &str) -> Result<UpstreamSettings, SettingsError> {
    let wrong = || SettingsError::Upstream(url.to_owned());
    let uri: http::Uri = url.parse().map_err(|_| wrong())?;
    let host = uri.host().map(|host| host.trim_matches(['[', ']']));
    let plain = uri.scheme_str() == Some("http");
    let host = host.filter(|_| plain).ok_or_else(wrong)?;
    let (place, authority) = loopback(host, uri.port_u16().unwrap_or(80))?;
    let is_here = matches!(&place, Place::Loopback(address) if address.ip().is_loopback());
    let path = uri.path_and_query().filter(|_| is_here).ok_or_else(wrong)?;
    Ok(UpstreamSettings {
        place,
        authority: HeaderValue::from_str(&authority).map_err(|_| wrong())?,
        path: path.clone(),
        connect: Duration::from_secs(5),
        answer: Duration::from_secs(60),
        decoded_bytes_max: 32 * 1024 * 1024,
        legacy: false,
        batches: false,
    })
}

fn loopback(host: &str, port: u16) -> Result<(Place, String), SettingsError> {
    let address = match host {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        host => host
            .parse()
            .map_err(|_| SettingsError::Upstream(host.to_owned()))?,
    };
    let place = Place::Loopback(SocketAddr::new(address, port));
    Ok((place, authority(host, port)))
}

/// Host and port as `Host` has them.
fn authority(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn upstream_tls(configuration: &Configuration, tls: &UpstreamTls) -> ClientTlsSettings {
    let listener = self::tls(configuration);
    ClientTlsSettings {
        ca_file: tls.ca_file.clone(),
        identity: tls.identity.clone(),
        suites: listener.suites,
        key_permissions: listener.key_permissions,
    }
}

/// Everything that a reload replaces; `before` is what it replaces, whose keys count on.
///
/// # Errors
/// When a key has no value, a ring is unusable, or the public URL is none.
pub fn live(configuration: Configuration, before: Option<&Live>) -> Result<Live, SettingsError> {
    let before = before.map(|live| Arc::clone(&live.workshop.ring));
    build(configuration, None, before.as_deref())
}

/// The same, or without keys while a source does not give them: then calls about PHI are refused.
///
/// # Errors
/// As [`live`].
pub fn live_or_waiting(
    configuration: Configuration,
    awaited: Option<&Unresolved>,
) -> Result<Live, SettingsError> {
    build(configuration, awaited, None)
}

fn build(
    configuration: Configuration,
    awaited: Option<&Unresolved>,
    before: Option<&KeyRing>,
) -> Result<Live, SettingsError> {
    let face = face(&configuration);
    let servers = authorization_servers(&configuration);
    let mfa = &configuration.authentication.mfa;
    let scopes: Vec<_> = ["openid".to_owned()]
        .into_iter()
        .chain(mfa.scope.clone())
        .collect();
    let challenges = Challenges::new(&configuration.listen.public_url, &scopes, &servers)
        .map_err(|_| SettingsError::PublicUrl)?;
    // An older login would only be refused again, for its session is over.
    let longest = configuration.sessions.absolute.as_secs();
    let second_factor = StepUp {
        acr_values: mfa.acr.clone(),
        max_age: u32::try_from(longest).ok(),
    };
    let resource_metadata = Bytes::from(challenges.metadata().to_string());
    let hash = configuration.hash;
    let keys_fingerprint = fingerprint(
        configuration
            .keys
            .phi
            .iter()
            .chain(&configuration.keys.integrity),
    );
    let tools_lock = configuration.upstream.tools_lock.as_deref();
    let tools_lock = tools_lock.map(ToolsLock::read).transpose()?;
    let policy = Arc::new(configuration.policy);
    let keys = &configuration.keys;
    let workshop = match awaited {
        None => workshop(Arc::clone(&policy), &keys.phi, &keys.integrity, before)?,
        Some(_) => idle_workshop(Arc::clone(&policy))?,
    };
    let phi = policy.phi();
    let patients = phi.patient_keys.as_ref().map(|settings| {
        let ring = Arc::clone(&workshop.ring);
        PatientKeys::new(settings, ring, &phi.domain)
    });
    Ok(Live {
        hash,
        keys_fingerprint,
        awaited: awaited.map(|why| ArcSwap::from_pointee(why.to_string())),
        policy,
        workshop,
        tools_lock,
        patients,
        face,
        second_factor,
        challenges,
        resource_metadata,
    })
}

fn fingerprint<'k>(keys: impl Iterator<Item = &'k Key>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for bytes in keys.filter_map(|key| key.key.as_ref()) {
        hash.update(bytes.expose());
    }
    hash.finalize().into()
}

fn face(configuration: &Configuration) -> Face {
    let listen = &configuration.listen;
    let authority = without_default_port(&listen.host).to_ascii_lowercase();
    let mut origins = vec![format!("https://{authority}")];
    origins.extend(
        listen
            .allowed_origins
            .iter()
            .map(|origin| origin.to_ascii_lowercase()),
    );
    let readers = listen.cors.iter().flat_map(|cors| &cors.origins);
    let readers = readers.map(|origin| origin.to_ascii_lowercase()).collect();
    let path = listen
        .path
        .strip_suffix('/')
        .unwrap_or(&listen.path)
        .to_owned();
    let account = listen.account.iter().flat_map(|account| &account.hosts);
    Face {
        authority,
        origins,
        readers,
        path,
        account_hosts: account.map(|name| name.to_ascii_lowercase()).collect(),
        revisions: revisions(&configuration.upstream),
    }
}

/// The revisions that the upstream speaks, where that is known. One of the older transport speaks none that is newer
/// than the transport's successor; nothing more is learnt of it.
fn revisions(upstream: &Upstream) -> Option<Vec<String>> {
    let older = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
    match (&upstream.protocol_versions, upstream.transport) {
        (Some(configured), _) => Some(configured.clone()),
        (None, UpstreamTransport::Sse) => Some(older.map(str::to_owned).to_vec()),
        (None, UpstreamTransport::Streamable) => None,
    }
}

fn workshop(
    policy: Arc<Policy>,
    phi: &[Key],
    integrity: &[Key],
    before: Option<&KeyRing>,
) -> Result<Workshop, SettingsError> {
    let mut keys = Vec::with_capacity(phi.len());
    for key in phi {
        keys.push(entry(key, |key| {
            Ok(RingKey {
                id: key.id.clone(),
                from_unix: key.from_unix,
                key: material(key, "keys.phi")?,
            })
        })?);
    }
    let mut macs = Vec::with_capacity(integrity.len());
    for key in integrity {
        macs.push(entry(key, |key| {
            let bytes = key.key.as_ref();
            let bytes = bytes.ok_or(SettingsError::Missing("keys.integrity"))?;
            Ok(RingMac {
                id: key.id.clone(),
                from_unix: key.from_unix,
                mac: RecordMac::new(bytes.expose()),
            })
        })?);
    }
    workshop_of(policy, keys, macs, before)
}

/// A workshop whose keys are awaited: a ring that seals nothing and has sealed nothing. Calls about PHI are refused
/// before they come to it.
fn idle_workshop(policy: Arc<Policy>) -> Result<Workshop, SettingsError> {
    let stand_in = RingKey {
        id: "awaited".to_owned(),
        from_unix: i64::MAX,
        key: random_key().map_err(|error| SettingsError::Ring("phi", error.to_string()))?,
    };
    workshop_of(policy, vec![Entry::DecryptOnly(stand_in)], Vec::new(), None)
}

fn workshop_of(
    policy: Arc<Policy>,
    keys: Vec<Entry<RingKey>>,
    macs: Vec<Entry<RingMac>>,
    before: Option<&KeyRing>,
) -> Result<Workshop, SettingsError> {
    let ring = KeyRing::with_states(keys);
    let ring = ring.map_err(|error| SettingsError::Ring("phi", error.to_string()))?;
    // A configuration that is read anew is no reason to forget how worn a key is.
    let ring = Arc::new(match before {
        Some(before) => ring.counting_on(before),
        None => ring,
    });
    Workshop::new(policy, ring, RecordMacRing::with_states(macs))
        .map_err(|error| SettingsError::Pattern(error.to_string()))
}

/// A key with its state, as the vault's rings take it.
fn entry<K>(
    key: &Key,
    make: impl FnOnce(&Key) -> Result<K, SettingsError>,
) -> Result<Entry<K>, SettingsError> {
    Ok(match key.state {
        KeyState::Active => Entry::Active(make(key)?),
        KeyState::DecryptOnly => Entry::DecryptOnly(make(key)?),
        KeyState::Destroyed => Entry::Destroyed { id: key.id.clone() },
    })
}

/// A key's bytes in the vault's type.
///
/// # Errors
/// When the key stands in a file that was not opened.
pub fn material(key: &Key, ring: &'static str) -> Result<KeyMaterial, SettingsError> {
    let bytes = key.key.as_ref().ok_or(SettingsError::Missing(ring))?;
    KeyMaterial::from_raw(bytes.expose())
        .map_err(|error| SettingsError::Ring(ring, error.to_string()))
}
