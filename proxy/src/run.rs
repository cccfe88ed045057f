//! The life of the process: build, serve, reload, drain.
//!
//! Everything that can refuse a start does so before the first socket accepts. Afterwards the configuration is looked
//! at again on SIGHUP and whenever a watched file changed: a good one replaces the old one at once, a bad one is
//! reported, audited and the old one kept.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora::apps::ServerApp;
use pingora::apps::http_app::HttpServer;
use pingora::protocols::l4::stream::Stream as L4Stream;
use safeguard_audit::{AuditKey, AuditKeys, SpoolSettings, Trail};
use safeguard_certs::ServerTls;
use safeguard_policy::Configuration;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};

use crate::admin::AdminApp;
use crate::auth::Auth;
use crate::authn::Authenticator;
use crate::authn::tokens::{Families, RedisStore};
use crate::clock;
use crate::control::Control;
use crate::delivery::{self, Deliveries};
use crate::emergency::Emergencies;
use crate::events::Recorder;
use crate::exceptions::Exceptions;
use crate::factor::Factors;
use crate::keysource::{self, Resolver, Rings, Unresolved};
use crate::listener::{self, ACCOUNT_CONNECTIONS_MAX, Door, Entrance, ListenerLimits};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::reload::{Reload, Reloader, Sections};
use crate::session::mcp::{McpLimits, McpSessions};
use crate::session::tasks::{TaskLimits, Tasks};
use crate::session::{LOOK_INTERVAL, SessionTable};
use crate::settings::{self, SettingsError};
use crate::sidecar::Sidecar;
use crate::upstream::Upstream;
use crate::wear::Wear;
use crate::workers::Workers;

/// Before all names in the store that replicas share. A deployment has a database of its own (`/N` in the URL).
const STORE_PREFIX: &str = "safeguard:";
/// Which source it was built from: what the build's environment says in `SAFEGUARD_REVISION`.
const REVISION: &str = match option_env!("SAFEGUARD_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
/// How often sessions that nobody uses are ended.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How long requests under way may take to finish at a drain, before their connections are cut.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(20);
/// How long the audit outputs may take at a drain for what is durable.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(5);
/// How often a drain looks whether the last request is answered.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// Why the sidecar does not start. Each text says what, where and how to mend it.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration can't be run here.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Authentication can't be set up.
    #[error("authentication: {0}")]
    Authn(#[from] crate::authn::SettingsError),
    /// The listener's TLS material is unusable.
    #[error("tls: {0}")]
    Tls(#[from] safeguard_certs::TlsError),
    /// The TLS provider can't offer what is configured.
    #[error("tls: {0}")]
    Provider(#[from] safeguard_certs::ProviderError),
    /// A source of keys can't be set up.
    #[error("{0}")]
    KeySource(#[from] Unresolved),
    /// The audit keys are unusable.
    #[error("{0}")]
    AuditKeys(#[from] safeguard_audit::KeyError),
    /// The spool can't be opened.
    #[error("audit spool {directory}: {error}")]
    Spool {
        /// Where it was to be.
        directory: PathBuf,
        /// Why not.
        error: safeguard_audit::OpenError,
    },
    /// The directory of the patients' keys does not serve.
    #[error("phi.patient_keys.directory: {0}")]
    PatientKeys(#[from] crate::patients::StoreError),
    /// The directory of second factors does not serve.
    #[error("authentication.mfa.enrolment.directory: {0}")]
    Factors(#[from] crate::factor::store::StoreError),
    /// The review queue of emergencies does not serve.
    #[error("emergencies: {0}")]
    Emergencies(#[from] crate::emergency::QueueError),
    /// The control socket can't be opened.
    #[error(transparent)]
    Control(#[from] crate::control::BindError),
    /// A sink's settings are unusable.
    #[error("audit output: {0}")]
    Sink(String),
    /// A port can't be bound.
    #[error("{what} {address}: {error} (is another process listening there?)")]
    Bind {
        /// Which setting.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's words.
        error: std::io::Error,
    },
    /// The process can't be set up.
    #[error("{0}")]
    System(String),
}

/// Runs until it is told to stop, and drains.
///
/// # Errors
/// Only before the first connection was accepted.
pub async fn run(
    configuration: Configuration,
    config_files: Vec<PathBuf>,
    reload: Reload,
) -> Result<(), StartError> {
    let Signals {
        mut terminate,
        mut interrupt,
        hangup,
    } = Signals::listen()?;
    let listeners = Listeners::bind(&configuration).await?;
    let listener_limits = settings::listener(&configuration);
    let sections = Sections::of(&configuration);
    let state = configuration.state.directory.clone();
    let mut resolver = Resolver::default();
    let mut configuration = configuration;
    let awaited = tokio::select! {
        had = all_keys(&mut resolver, &mut configuration, &listeners.admin) => had?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let words = "the outputs of the audit trail are looked at";
    keysource::while_probed(&listeners.admin, words, delivery::admit(&configuration))
        .await
        .map_err(StartError::Sink)?;
    let identity_events = settings::identity_events(&configuration)?;
    let (sidecar, deliveries) = build(configuration, awaited.as_ref())?;
    // After the spool was locked: a socket that lies there is nobody's.
    let control = Control::bind(&state)?;
    let reloader = Reloader::new(Arc::clone(&sidecar), sections, reload, resolver);
    let workers = Workers::start()
        .map_err(|error| StartError::System(format!("the workers can't be started: {error}")))?;
    let (stop, stopping) = watch::channel(false);
    let mut tasks = tokio::task::JoinSet::new();
    for entrance in Listeners::entrances(listeners.data, listeners.account, listener_limits) {
        tasks.spawn(listener::serve(
            entrance,
            Arc::clone(&sidecar),
            workers.handles().cloned().collect(),
            stopping.clone(),
        ));
    }
    tasks.spawn(admin(
        listeners.admin,
        Arc::clone(&sidecar),
        stopping.clone(),
    ));
    let drain_asked = Arc::new(Notify::new());
    tasks.spawn(control.serve(
        Arc::clone(&sidecar),
        Arc::clone(&drain_asked),
        stopping.clone(),
    ));
    tasks.spawn(sweep(Arc::clone(&sidecar), stopping.clone()));
    tasks.spawn(look(Arc::clone(&sidecar), stopping.clone()));
    tasks.spawn(fresh_keys(Arc::clone(&sidecar), stopping.clone()));
    tasks.spawn(crate::identity_events::keep(
        Arc::clone(&sidecar),
        identity_events,
        stopping.clone(),
    ));
    tasks.spawn(crate::canary::keep(Arc::clone(&sidecar), stopping.clone()));
    tasks.spawn(reloader.watch(config_files, hangup, stopping));
    log::info!("safeguard {} is ready", env!("CARGO_PKG_VERSION"));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = drain_asked.notified() => {}
    }
    drain(&sidecar, &stop).await;
    tasks.shutdown().await;
    if sidecar.trail.close().await.is_err() {
        log::error!("the audit log could not be closed with its end marker");
    }
    // After the end marker, so that the sinks get it too.
    deliveries.stop(DELIVERY_DEADLINE).await;
    Ok(())
}

/// The ports, bound before anything else is built.
struct Listeners {
    data: TcpListener,
    account: Option<TcpListener>,
    admin: TcpListener,
}

impl Listeners {
    async fn bind(configuration: &Configuration) -> Result<Self, StartError> {
        let bind = |what, address: SocketAddr| async move {
            TcpListener::bind(address)
                .await
                .map_err(|error| StartError::Bind {
                    what,
                    address,
                    error,
                })
        };
        let account = match &configuration.listen.account {
            Some(account) => Some(bind("listen.account.address", account.address).await?),
            None => None,
        };
        Ok(Self {
            data: bind("listen.address", configuration.listen.address).await?,
            account,
            admin: bind("admin.address", configuration.admin.address).await?,
        })
    }

    /// The listeners that connections of clients and accounts come to.
    fn entrances(
        data: TcpListener,
        account: Option<TcpListener>,
        limits: ListenerLimits,
    ) -> Vec<Entrance> {
        let clients = Entrance {
            listener: data,
            door: Door::Clients,
            limits,
        };
        let accounts = account.map(|listener| Entrance {
            listener,
            door: Door::Accounts,
            limits: ListenerLimits {
                connections_max: ACCOUNT_CONNECTIONS_MAX,
                ..limits
            },
        });
        std::iter::once(clients).chain(accounts).collect()
    }
}

/// The keys of every ring, with the admin port answering probes while their sources are asked.
async fn all_keys(
    resolver: &mut Resolver,
    configuration: &mut Configuration,
    admin: &TcpListener,
) -> Result<Option<Unresolved>, StartError> {
    keysource::trail_keys(resolver, configuration, admin).await?;
    let words = "the keys of phi and integrity are asked for";
    keysource::while_probed(admin, words, data_keys(resolver, configuration)).await
}

/// The keys that a reload may replace. Without them the sidecar runs, and refuses what touches PHI.
async fn data_keys(
    resolver: &mut Resolver,
    configuration: &mut Configuration,
) -> Result<Option<Unresolved>, StartError> {
    let sources = &configuration.key_sources;
    let had = resolver
        .resolve(&mut configuration.keys, Rings::PhiAndIntegrity, sources)
        .await;
    match had {
        Ok(()) => Ok(None),
        Err(why) if why.is_lasting() => Err(StartError::KeySource(why)),
        Err(why) => {
            log::error!("{why}; until it comes, every call about PHI is refused (-32052)");
            Ok(Some(why))
        }
    }
}

fn build(
    configuration: Configuration,
    awaited: Option<&Unresolved>,
) -> Result<(Arc<Sidecar>, Deliveries), StartError> {
    let metrics = Metrics::new().map_err(|error| StartError::System(error.to_string()))?;
    let tls_settings = settings::tls(&configuration);
    safeguard_certs::install_provider(&tls_settings.suites)?;
    let tls = ServerTls::load(tls_settings)?;
    for warning in tls.warnings().iter() {
        log::warn!("tls: {warning}");
    }
    let authenticator = Authenticator::new(settings::authn(&configuration)?)?;
    let trail = open_trail(&configuration)?;
    let deliveries = Deliveries::start(&configuration, &trail).map_err(StartError::Sink)?;
    let limits = settings::requests(&configuration);
    let upstream = Upstream::new(settings::upstream(&configuration)?);
    let authenticator = Arc::new(authenticator);
    let (sessions, families) = sessions(&configuration, &authenticator)?;
    let auth = Auth::new(settings::tokens(&configuration), families);
    let factors = match settings::factors(&configuration) {
        None => None,
        Some((settings, Some(seal))) => Some(Factors::open(settings, seal)?),
        Some((_, None)) => return Err(SettingsError::Missing("keys.audit").into()),
    };
    let seal = settings::emergency_seal(&configuration);
    let seal = seal.ok_or(SettingsError::Missing("keys.audit"))?;
    let emergencies = Emergencies::open(&configuration.state.directory, seal)?;
    let live = settings::live_or_waiting(configuration, awaited)?;
    if let Some(patients) = &live.patients {
        patients.store().prepare()?;
    }
    metrics
        .build_info
        .with_label_values(&[env!("CARGO_PKG_VERSION"), REVISION])
        .set(1);
    announce(&metrics, &live);
    metrics.identity_provider_up.set(1);
    let sidecar = Sidecar {
        live: ArcSwap::from_pointee(live),
        tls,
        authenticator,
        auth,
        bursts: crate::bursts::Bursts::default(),
        factors,
        emergencies,
        sessions: Arc::new(sessions),
        mcp_sessions: McpSessions::new(McpLimits {
            sessions_max: settings::MCP_SESSIONS_MAX,
            ..McpLimits::default()
        }),
        tasks: Tasks::new(TaskLimits::default()),
        channels: crate::exchange::Channels::default(),
        recorder: Recorder::new(trail.clone(), Arc::clone(&metrics)),
        trail,
        metrics,
        upstream,
        learnt: crate::era::Learnt::default(),
        tools_listed: crate::tools_lock::Listed::default(),
        shapes: crate::rewrite::shapes::Shapes::default(),
        limits,
        inflight: AtomicUsize::new(0),
        streams: crate::streams::Streams::default(),
        generation: watch::Sender::new(0),
        draining: AtomicBool::new(false),
        canary: crate::canary::Canary::default(),
    };
    crate::canary::before_start(&sidecar);
    sidecar.emergencies.tell_left_open(&sidecar.recorder);
    Ok((Arc::new(sidecar), deliveries))
}

/// Login sessions and what refresh tokens were had for them: here, or where all replicas keep theirs.
fn sessions(
    configuration: &Configuration,
    authenticator: &Arc<Authenticator>,
) -> Result<(SessionTable, Families), StartError> {
    let (limits, now) = (settings::sessions(configuration), clock::now_unix());
    let Some(redis) = settings::session_store(configuration)? else {
        return Ok((SessionTable::in_memory(limits, now), Families::default()));
    };
    let families = RedisStore::new(redis.clone(), STORE_PREFIX, Arc::clone(authenticator));
    let seal = settings::session_seal(configuration);
    let table = SessionTable::shared(limits, now, redis, STORE_PREFIX, seal);
    Ok((table, Families::kept_in(Box::new(families))))
}

/// The audit keys of a configuration.
///
/// # Errors
/// When a key has no value or the ring is unusable.
pub fn audit_keys(configuration: &Configuration) -> Result<AuditKeys, StartError> {
    let mut keys = Vec::new();
    for key in &configuration.keys.audit {
        let bytes = key
            .key
            .as_ref()
            .ok_or(SettingsError::Missing("keys.audit"))?;
        keys.push(AuditKey::new(&key.id, key.from_unix, *bytes.expose()));
    }
    Ok(AuditKeys::new(keys)?)
}

/// Where the spool of a configuration is.
pub fn spool_settings(configuration: &Configuration) -> SpoolSettings {
    let spool = &configuration.audit.spool;
    SpoolSettings {
        max_bytes: spool.max_bytes,
        segment_bytes: spool.segment_bytes,
        heartbeat: spool.heartbeat,
        pod: pod_name(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..SpoolSettings::new(&spool.directory, &configuration.state.directory)
    }
}

fn open_trail(configuration: &Configuration) -> Result<Trail, StartError> {
    let settings = spool_settings(configuration);
    let directory = settings.directory.clone();
    Trail::open(settings, audit_keys(configuration)?)
        .map_err(|error| StartError::Spool { directory, error })
}

/// The pod's name as Kubernetes gives it, else the host's.
fn pod_name() -> String {
    std::env::var("HOSTNAME")
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| {
            rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned()
        })
}

/// Says in the metrics which configuration and keys are in force.
pub(crate) fn announce(metrics: &Metrics, live: &Live) {
    let hash: String = live.hash_text().chars().take(16).collect();
    metrics.config_info.reset();
    metrics.config_info.with_label_values(&[&hash]).set(1);
    metrics.config_last_reload_successful.set(1);
    metrics
        .config_last_reload_success_timestamp_seconds
        .set(clock::now_unix());
    metrics.key_info.reset();
    metrics.keys_awaited.set(live.awaited.is_some().into());
    if live.awaited.is_some() {
        return;
    }
    let now = clock::now_unix();
    let sealing = live.workshop.ring.sealing(now).map(|key| key.kid());
    for key in live.workshop.ring.keys() {
        let state = if Some(key.kid()) == sealing {
            "active"
        } else {
            "decrypt_only"
        };
        metrics
            .key_info
            .with_label_values(&[&key.kid().to_string(), state])
            .set(1);
    }
}

async fn admin(listener: TcpListener, sidecar: Arc<Sidecar>, mut stopping: watch::Receiver<bool>) {
    let app = Arc::new(HttpServer::new_app(AdminApp::new(sidecar)));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.changed() => return,
        };
        let Ok((socket, _)) = accepted else { continue };
        let app = Arc::clone(&app);
        let stopping = stopping.clone();
        tokio::spawn(async move {
            // A probe or a scrape is short: whoever holds the port open longer is cut.
            let served = app.process_new(Box::new(L4Stream::from(socket)), &stopping);
            let _ = tokio::time::timeout(Duration::from_secs(60), served).await;
        });
    }
}

/// Ends sessions that ran out, so that each end is an event when it happens and not when somebody asks.
async fn sweep(sidecar: Arc<Sidecar>, mut stopping: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
    let (mut wear, mut exceptions) = (Wear::default(), Exceptions::default());
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopping.changed() => return,
        }
        wear.look(&sidecar);
        exceptions.look(&sidecar, clock::now_unix());
        let ended = sidecar.sessions.sweep(clock::now_unix()).await;
        sidecar.recorder.session_events(&ended, None);
        sidecar.auth.families.sweep(clock::now_unix());
        if let Some(factors) = &sidecar.factors {
            factors.sweep(std::time::Instant::now());
        }
        sidecar.emergencies.sweep(&sidecar.recorder).await;
        sidecar.mcp_sessions.sweep();
        sidecar.tasks.sweep();
        sidecar.upstream.sweep();
    }
}

/// Takes up what other replicas ended.
async fn look(sidecar: Arc<Sidecar>, mut stopping: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => sidecar.sessions.look().await,
            _ = stopping.changed() => return,
        }
    }
}

async fn fresh_keys(sidecar: Arc<Sidecar>, mut stopping: watch::Receiver<bool>) {
    tokio::select! {
        () = sidecar.authenticator.keep_keys_fresh() => {}
        _ = stopping.changed() => {}
    }
}

/// The signals that are handled, from before the first readiness probe can be answered.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> Result<Self, StartError> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| StartError::System(format!("signals can't be handled: {error}")))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }
}

/// No new connection, streams ended, requests under way answered.
async fn drain(sidecar: &Sidecar, stop: &watch::Sender<bool>) {
    log::info!("draining");
    sidecar.draining.store(true, Ordering::Release);
    let _ = stop.send(true);
    let idle = async {
        let mut ticks = tokio::time::interval(DRAIN_POLL);
        while sidecar.inflight.load(Ordering::Acquire) > 0 || sidecar.streams.count() > 0 {
            ticks.tick().await;
        }
    };
    if tokio::time::timeout(DRAIN_DEADLINE, idle).await.is_err() {
        log::warn!(
            "requests were still under way after {} s and are cut",
            DRAIN_DEADLINE.as_secs()
        );
    }
}
