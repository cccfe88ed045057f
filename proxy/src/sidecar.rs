//! The sidecar as Pingora's HTTP sessions see it: the one place that touches their signatures.
//!
//! Reads a request's headers within a deadline, asks the gate, finds the route, and writes whatever the rooms behind
//! it answer. Implements [`HttpServerApp`] itself rather than `ProxyHttp`: the exchange with the upstream is ours
//! (`docs/decisions/0002-own-exchange.md`), so none of the stock proxy's phases would run.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::{Method, header};
use pingora::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::server::ShutdownWatch;
use safeguard_audit::Trail;
use safeguard_certs::ServerTls;
use tokio::sync::watch;
use uuid::Uuid;

use crate::auth::{self, Auth};
use crate::authn::Authenticator;
use crate::cors;
use crate::downstream::Downstream;
use crate::events::Recorder;
use crate::exchange::asked::Call;
use crate::exchange::{self, Known};
use crate::factor::Factors;
use crate::gate;
use crate::listener::{Connection, Door};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::patients::PatientKeys;
use crate::refuse::{Refusal, Reply};
use crate::session::SessionTable;
use crate::session::mcp::McpSessions;
use crate::session::tasks::Tasks;
use crate::upstream::Upstream;

/// How long an idle kept-alive connection waits for its next request.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// The same bound for HTTP/2, whose connections Pingora keeps.
static SERVER_OPTIONS: LazyLock<HttpServerOptions> = LazyLock::new(|| {
    let mut options = HttpServerOptions::default();
    options.h2_idle_timeout = Some(KEEPALIVE);
    options
});
/// Streams at once on one HTTP/2 connection.
const H2_STREAMS_MAX: u32 = 128;

/// The bounds of the data port, from `listen.limits`.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// A request's body, in bytes.
    pub body_bytes_max: usize,
    /// A whole answer of the upstream, in bytes.
    pub answer_bytes_max: usize,
    /// One server-sent event, in bytes.
    pub event_bytes_max: usize,
    /// How long a request's headers may take to arrive.
    pub header: Duration,
    /// How long a request's body may take to arrive.
    pub body: Duration,
    /// How old a connection may be when a request is answered on it with keep-alive.
    pub connection_age: Duration,
    /// Requests under way at once; open streams are not among them.
    pub requests_max: usize,
    /// Open streams of one login session.
    pub streams_per_session_max: usize,
}

/// Everything that outlives a request.
pub struct Sidecar {
    /// The configuration in force; a reload swaps it.
    pub live: ArcSwap<Live>,
    /// The listener's TLS material and trust.
    pub tls: ServerTls,
    /// Judges bearer tokens.
    pub authenticator: Arc<Authenticator>,
    /// What the endpoints below `/auth/` keep.
    pub auth: Auth,
    /// Failed logins, counted.
    pub bursts: crate::bursts::Bursts,
    /// Second factors that are verified here; none where only tokens prove them.
    pub factors: Option<Factors>,
    /// Emergency access: what goes on, and what waits for a review.
    pub emergencies: crate::emergency::Emergencies,
    /// Login sessions.
    pub sessions: Arc<SessionTable>,
    /// MCP sessions and the calls that wait for an answer in them.
    pub mcp_sessions: McpSessions<Known>,
    /// Where sessions of the transport HTTP+SSE post to.
    pub channels: exchange::Channels,
    /// Whose tasks are whose, and which calls made them.
    pub tasks: Tasks<Arc<Call>>,
    /// The audit trail.
    pub trail: Trail,
    /// Events on their way into it.
    pub recorder: Recorder,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The MCP server.
    pub upstream: Upstream,
    /// What it has said of the revisions that it speaks.
    pub learnt: crate::era::Learnt,
    /// How it last defined its tools, where only reviewed ones may be called.
    pub tools_listed: crate::tools_lock::Listed,
    /// What its tools' outputs require.
    pub shapes: crate::rewrite::shapes::Shapes,
    /// Bounds.
    pub limits: RequestLimits,
    /// Requests under way.
    pub inflight: AtomicUsize,
    /// Open streams, by login session.
    pub streams: crate::streams::Streams,
    /// Counts reloads of the policy and of certificates; open streams end when it moves.
    pub generation: watch::Sender<u64>,
    /// Set once a drain has begun.
    pub draining: AtomicBool,
    /// What the synthetic patient's last run found.
    pub canary: crate::canary::Canary,
}

impl std::fmt::Debug for Sidecar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sidecar")
    }
}

impl Sidecar {
    /// The listener's TLS material.
    pub fn tls(&self) -> &ServerTls {
        &self.tls
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Counts and audits a connection that never became a peer's.
    pub fn handshake_failed(&self, source: IpAddr, reason: &'static str) {
        self.metrics.handshake(reason);
        self.recorder.handshake_failed(source, reason);
    }

    /// Counts that a bound was reached.
    pub fn limit_reached(&self, limit: &str) {
        self.metrics
            .limits_reached_total
            .with_label_values(&[limit])
            .inc();
    }

    /// Takes an open stream out of the requests under way for as long as the guard lives: it has a bound of its own.
    pub fn step_aside(&self) -> Aside<'_> {
        self.inflight.fetch_sub(1, Ordering::AcqRel);
        Aside(self)
    }

    /// Whether a drain has begun.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Brings the gauges up to now, for a scrape.
    pub fn refresh_gauges(&self) {
        let metrics = &self.metrics;
        metrics.sessions_active.set(signed(self.sessions.active()));
        metrics.mcp_sessions.set(signed(self.mcp_sessions.len()));
        metrics.sse_streams.set(signed(self.streams.count()));
        // Of several providers the one that is worst off: that is what an alert is for.
        let providers = || self.authenticator.providers();
        if let Some(at) = providers().filter_map(|one| one.refreshed_at).min() {
            metrics.jwks_last_refresh_timestamp_seconds.set(at);
        }
        if providers().next().is_some() {
            let up = providers().all(|one| one.is_up);
            metrics.identity_provider_up.set(up.into());
        }
        for (of, until) in self.tls.expiries().iter() {
            metrics
                .certificate_expiry_timestamp_seconds
                .with_label_values(&[of])
                .set(until);
        }
        let patients = &self.live.load().patients;
        let cached = patients.as_ref().map_or(0, PatientKeys::cached);
        metrics.patient_keys_cached.set(signed(cached));
        let (active, pending, overdue) = self.emergencies.counts(crate::clock::now_unix());
        metrics.emergency_access_active.set(signed(active));
        metrics.emergency_reviews_pending.set(signed(pending));
        metrics.emergency_reviews_overdue.set(signed(overdue));
        self.refresh_audit_gauges();
    }

    fn refresh_audit_gauges(&self) {
        let metrics = &self.metrics;
        let audit = self.trail.metrics();
        metrics
            .audit_spool_bytes
            .set(i64::try_from(audit.spool_bytes).unwrap_or(i64::MAX));
        metrics
            .audit_recent_bytes
            .set(i64::try_from(audit.recent_bytes).unwrap_or(i64::MAX));
        metrics
            .audit_spool_records
            .set(i64::try_from(audit.spool_records).unwrap_or(i64::MAX));
        metrics
            .audit_last_checkpoint_timestamp_seconds
            .set(audit.last_checkpoint_micros.div_euclid(1_000_000));
        metrics.audit_events_total.reset();
        for (name, count) in &audit.events {
            metrics
                .audit_events_total
                .with_label_values(&[name.as_str()])
                .inc_by(*count);
        }
        metrics.audit_sink_events_total.reset();
        for (sink, numbers) in &audit.sinks {
            let results = [
                ("delivered", numbers.delivered),
                ("duplicate", numbers.duplicates),
                ("set_aside", numbers.set_aside),
                ("failure", numbers.failures),
                ("read_back", numbers.read_back),
            ];
            for (result, count) in results {
                metrics
                    .audit_sink_events_total
                    .with_label_values(&[sink.as_str(), result])
                    .inc_by(count);
            }
            let age = numbers.oldest_unsent_age_micros.unwrap_or(0);
            let seconds = Duration::from_micros(u64::try_from(age).unwrap_or(0)).as_secs_f64();
            metrics
                .audit_oldest_unsent_age_seconds
                .with_label_values(&[sink.as_str()])
                .set(seconds);
        }
    }

    async fn serve(
        &self,
        http: &mut ServerSession,
        connection: Arc<Connection>,
        shutdown: &ShutdownWatch,
    ) {
        let began = Instant::now();
        let reference = Uuid::now_v7();
        if connection.age() > self.limits.connection_age || *shutdown.borrow() {
            http.set_keepalive(None);
        }
        let live = self.live.load_full();
        let mut exchange =
            exchange::Exchange::new(self, live, connection, reference, began, shutdown.clone());
        let head = http.req_header();
        exchange = exchange.asking(head.method.clone(), head.uri.clone());
        if let Err(refusal) = self.route(http, &mut exchange).await {
            let reply = refusal.answer(exchange.request_id(), reference);
            exchange.refused(&refusal);
            let _ = Downstream::new(http).reply(reply).await;
        }
        exchange.finished();
    }

    async fn route(
        &self,
        http: &mut ServerSession,
        exchange: &mut exchange::Exchange<'_>,
    ) -> Result<(), Refusal> {
        let door = exchange.connection().door();
        if door == Door::Clients {
            cors::mark(http.req_header_mut(), &exchange.live().face);
        }
        let request = http.req_header();
        gate::framing(
            request,
            http.as_http1().map(|http| http.get_headers_raw_bytes()),
        )?;
        let face = &exchange.live().face;
        if door == Door::Accounts {
            gate::account_face(request, face)?;
            let endpoint = auth::account_endpoint(request.uri.path());
            let endpoint = endpoint.ok_or(Refusal::NotFound)?;
            return auth::serve(endpoint, exchange, http).await;
        }
        gate::face(request, face)?;
        let path = request.uri.path();
        let trimmed = path.strip_suffix('/').unwrap_or(path);
        if let Some(rest) = trimmed.strip_prefix("/.well-known/oauth-protected-resource") {
            let ours = rest.is_empty() || rest == face.path;
            if let Some(reply) = cors::preflight(request).filter(|_| ours) {
                return Downstream::new(http).reply(reply).await;
            }
            if ours && request.method == Method::GET {
                let reply = exchange.live().resource_metadata();
                return Downstream::new(http).reply(reply).await;
            }
            return Err(Refusal::NotFound);
        }
        if let Some(endpoint) = auth::endpoint(path) {
            return auth::serve(endpoint, exchange, http).await;
        }
        if trimmed != face.path {
            return Err(Refusal::NotFound);
        }
        if let Some(reply) = cors::preflight(request) {
            return Downstream::new(http).reply(reply).await;
        }
        match request.method {
            Method::POST => exchange.post(http).await,
            Method::GET => exchange.get(http).await,
            Method::DELETE => exchange.delete(http).await,
            _ => Err(Refusal::MethodNotAllowed),
        }
    }
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Marks a connection whose first request has been served: the wait for the next may be the keep-alive's.
struct Reused;

/// Counts a request as under way for as long as it lives.
struct Place<'s>(Option<&'s Sidecar>);

impl<'s> Place<'s> {
    /// Requests of accounts are bounded by their connections, each of which has one, and take no client's place.
    fn take(sidecar: &'s Sidecar, door: Door) -> Option<Self> {
        if door == Door::Accounts {
            return Some(Self(None));
        }
        let before = sidecar.inflight.fetch_add(1, Ordering::AcqRel);
        sidecar.metrics.inflight_requests.inc();
        let place = Self(Some(sidecar));
        (before < sidecar.limits.requests_max).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(sidecar) = self.0 {
            sidecar.inflight.fetch_sub(1, Ordering::AcqRel);
            sidecar.metrics.inflight_requests.dec();
        }
    }
}

/// An open stream, which is no request under way.
#[derive(Debug)]
pub struct Aside<'s>(&'s Sidecar);

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        self.0.inflight.fetch_add(1, Ordering::AcqRel);
    }
}

/// One connection's view of the sidecar: whoever is at the other end is known to every request on it.
pub struct Guest {
    sidecar: Arc<Sidecar>,
    connection: Arc<Connection>,
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guest")
    }
}

impl Guest {
    /// The sidecar as this connection's requests see it.
    pub fn new(sidecar: Arc<Sidecar>, connection: Arc<Connection>) -> Self {
        Self {
            sidecar,
            connection,
        }
    }

    /// Reads the next request's headers within their deadline; none when there is nothing to answer.
    async fn read_request(&self, http: &mut ServerSession, shutdown: &ShutdownWatch) -> Option<()> {
        let reused = http.take_connection_user_context().is_some();
        let header = self.sidecar.limits.header;
        let deadline = if reused { KEEPALIVE + header } else { header };
        let received = self.connection.received();
        let mut ending = shutdown.clone();
        let read = tokio::select! {
            biased;
            read = tokio::time::timeout(deadline, http.read_request()) => read,
            _ = ending.wait_for(|ending| *ending) => return None,
        };
        let refusal = match read {
            Ok(Ok(true)) => return Some(()),
            Ok(Err(error)) if *error.etype() == pingora::ErrorType::InvalidHTTPHeader => Some(
                Refusal::BadRequest("the request's headers are malformed or too large"),
            ),
            // A client that has sent nothing may be sending just now: it must not take a 408 for the answer.
            Err(_elapsed) if self.connection.received() > received => {
                self.sidecar.limit_reached("header_seconds");
                Some(Refusal::TooSlow)
            }
            Ok(Ok(false) | Err(_)) | Err(_) => None,
        };
        if let Some(refusal) = refusal {
            let reply = refusal.answer(None, Uuid::now_v7());
            Downstream::new(http).reply_to_no_request(reply).await;
            self.connection.linger();
        }
        http.shutdown().await;
        None
    }
}

#[async_trait]
impl HttpServerApp for Guest {
    async fn process_new_http(
        self: &Arc<Self>,
        mut http: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.read_request(&mut http, shutdown).await?;
        match Place::take(&self.sidecar, self.connection.door()) {
            Some(_place) => {
                let connection = Arc::clone(&self.connection);
                self.sidecar.serve(&mut http, connection, shutdown).await;
            }
            None => {
                self.sidecar.limit_reached("requests");
                let reply = Refusal::Busy.answer(None, Uuid::now_v7());
                let _ = Downstream::new(&mut http).reply(reply).await;
            }
        }
        if !http.is_body_done() {
            // An unread body would be read as the next request; better a new connection than a guess.
            http.set_keepalive(None);
        }
        let mut settings = HttpPersistentSettings::for_session(&http);
        settings.set_user_context(Box::new(Reused));
        match http.finish().await {
            Ok(Some(stream)) => Some(ReusedHttpStream::from_reusable_stream(stream, settings)),
            Ok(None) | Err(_) => None,
        }
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = H2Options::new();
        options
            .max_concurrent_streams(H2_STREAMS_MAX)
            .max_header_list_size(u32::try_from(gate::HEADER_BYTES_MAX).unwrap_or(u32::MAX));
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&SERVER_OPTIONS)
    }
}

impl Live {
    /// The answer at `/.well-known/oauth-protected-resource` (RFC 9728).
    fn resource_metadata(&self) -> Reply {
        let mut headers = http::HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/json"),
        );
        headers.insert(
            header::CACHE_CONTROL,
            http::HeaderValue::from_static("max-age=300"),
        );
        Reply {
            status: http::StatusCode::OK,
            headers,
            body: self.resource_metadata.clone(),
        }
    }
}
