//! The metrics of the contract, prefix `safeguard_`. Label values come from closed sets only: a tool's name is a
//! label where the policy lists it, any other is `other`.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{
    Encoder, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};
use safeguard_policy::method::RULED_METHODS;

/// Buckets of the durations, in seconds: from the sidecar's own tens of microseconds to a slow upstream's seconds.
const DURATION_BUCKETS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0,
];

macro_rules! metrics {
    ($( $(#[doc = $doc:literal])+ $field:ident : $kind:ident ( $name:literal $(, [$($label:literal),+])? ) ),+ $(,)?) => {
        /// Every metric of the product, registered once.
        pub struct Metrics {
            registry: Registry,
            $( $(#[doc = $doc])+ pub $field: $kind, )+
        }

        impl Metrics {
            /// Registers all metrics.
            ///
            /// # Errors
            /// When two metrics have one name, which a test rules out.
            pub fn new() -> Result<Arc<Self>, prometheus::Error> {
                let registry = Registry::new_custom(Some("safeguard".to_owned()), None)?;
                $(
                    let help = concat!($($doc),+).trim();
                    let $field = metrics!(@make $kind, $name, help $(, [$($label),+])?)?;
                    registry.register(Box::new($field.clone()))?;
                )+
                Ok(Arc::new(Self { registry, $($field),+ }))
            }
        }
    };
    (@make IntCounter, $name:literal, $help:ident) => { IntCounter::new($name, $help) };
    (@make IntGauge, $name:literal, $help:ident) => { IntGauge::new($name, $help) };
    (@make Histogram, $name:literal, $help:ident) => {
        Histogram::with_opts(HistogramOpts::new($name, $help).buckets(DURATION_BUCKETS.to_vec()))
    };
    (@make $kind:ident, $name:literal, $help:ident, [$($label:literal),+]) => {
        $kind::new(Opts::new($name, $help), &[$($label),+])
    };
}

metrics! {
    /// The build: always 1.
    build_info: IntGaugeVec("build_info", ["version", "revision"]),
    /// The configuration in force, by the first 16 digits of its hash: always 1.
    config_info: IntGaugeVec("config_info", ["hash"]),
    /// Whether the last reload took effect (1) or was refused and the old configuration kept (0).
    config_last_reload_successful: IntGauge("config_last_reload_successful"),
    /// When the configuration in force was loaded, in seconds since the Unix epoch.
    config_last_reload_success_timestamp_seconds: IntGauge("config_last_reload_success_timestamp_seconds"),
    /// Whether a key is awaited from its source (1): then no call about PHI is answered.
    keys_awaited: IntGauge("keys_awaited"),
    /// Requests by MCP method, tool and outcome.
    requests_total: IntCounterVec("requests_total", ["method", "tool", "outcome"]),
    /// From a request's headers to the end of its answer, in seconds; streams are not in it.
    request_duration_seconds: Histogram("request_duration_seconds"),
    /// What the sidecar added to a request, without the upstream's time, in seconds.
    proxy_overhead_seconds: Histogram("proxy_overhead_seconds"),
    /// From sending a request to the whole answer of the upstream, in seconds.
    upstream_duration_seconds: Histogram("upstream_duration_seconds"),
    /// Runs of the synthetic patient by what they found: `ok`, `leak`, `broken` (refused or not shown).
    canary_runs_total: IntCounterVec("canary_runs_total", ["result"]),
    /// Requests under way.
    inflight_requests: IntGauge("inflight_requests"),
    /// Event streams open.
    sse_streams: IntGauge("sse_streams"),
    /// Tokens judged, by result and reason.
    authentications_total: IntCounterVec("authentications_total", ["result", "reason"]),
    /// Step-up challenges sent.
    mfa_challenges_total: IntCounter("mfa_challenges_total"),
    /// Login sessions alive.
    sessions_active: IntGauge("sessions_active"),
    /// MCP sessions known.
    mcp_sessions: IntGauge("mcp_sessions"),
    /// When the identity provider's keys were last fetched, in seconds since the Unix epoch.
    jwks_last_refresh_timestamp_seconds: IntGauge("jwks_last_refresh_timestamp_seconds"),
    /// Whether the identity provider answers, by the last fetches of its keys; 1 too where none is configured.
    identity_provider_up: IntGauge("identity_provider_up"),
    /// Since when the identity provider's events have not been read to their end, in seconds.
    identity_events_lag_seconds: IntGauge("identity_events_lag_seconds"),
    /// When the identity provider's events were last read to their end, in seconds since the Unix epoch.
    identity_events_last_success_timestamp_seconds: IntGauge("identity_events_last_success_timestamp_seconds"),
    /// Looks at the identity provider's events: `ok`, `unreachable`, `no_token`, `forbidden`, `unexpected`, `audit`, `cursor`.
    identity_events_reads_total: IntCounterVec("identity_events_reads_total", ["result"]),
    /// Bursts of failed logins, by who refused them (`identity_provider`, `sidecar`) and by what they have in common (`subject`, `source`).
    failed_login_bursts_total: IntCounterVec("failed_login_bursts_total", ["origin", "by"]),
    /// Uses of emergency access that began.
    emergency_access_started_total: IntCounter("emergency_access_started_total"),
    /// Uses of emergency access that go on.
    emergency_access_active: IntGauge("emergency_access_active"),
    /// Uses of emergency access that wait for a review.
    emergency_reviews_pending: IntGauge("emergency_reviews_pending"),
    /// Those of them that wait for longer than `emergency.review_within`.
    emergency_reviews_overdue: IntGauge("emergency_reviews_overdue"),
    /// When an exception ends, in seconds since the Unix epoch: from then on its rule is strict again.
    exception_expiry_timestamp_seconds: IntGaugeVec("exception_expiry_timestamp_seconds", ["allow", "for"]),
    /// PHI fields by what became of them.
    phi_fields_total: IntCounterVec("phi_fields_total", ["action", "outcome"]),
    /// Records verified or stamped, by result.
    integrity_checks_total: IntCounterVec("integrity_checks_total", ["result"]),
    /// The keys of the rings, by the first 8 bytes of SHA-256 of their id, and state: always 1.
    key_info: IntGaugeVec("key_info", ["kid", "state"]),
    /// Values sealed, by key.
    key_operations_total: IntCounterVec("key_operations_total", ["kid"]),
    /// Look-ups of patients' keys, by what they gave: `found`, `created`, `absent`, `destroyed`, `late`, `unavailable`.
    patient_key_lookups_total: IntCounterVec("patient_key_lookups_total", ["result"]),
    /// Patients' keys that are kept opened in memory.
    patient_keys_cached: IntGauge("patient_keys_cached"),
    /// Events recorded, by name.
    audit_events_total: IntCounterVec("audit_events_total", ["event"]),
    /// Events delivered to a sink, by result.
    audit_sink_events_total: IntCounterVec("audit_sink_events_total", ["sink", "result"]),
    /// Bytes in the spool.
    audit_spool_bytes: IntGauge("audit_spool_bytes"),
    /// Bytes of the spool that are kept in memory for the sinks.
    audit_recent_bytes: IntGauge("audit_recent_bytes"),
    /// Records in the spool.
    audit_spool_records: IntGauge("audit_spool_records"),
    /// Age of the oldest event that a sink has not yet taken, in seconds.
    audit_oldest_unsent_age_seconds: GaugeVec("audit_oldest_unsent_age_seconds", ["sink"]),
    /// When the durable head was last written, in seconds since the Unix epoch.
    audit_last_checkpoint_timestamp_seconds: IntGauge("audit_last_checkpoint_timestamp_seconds"),
    /// TLS handshakes by result.
    tls_handshakes_total: IntCounterVec("tls_handshakes_total", ["result"]),
    /// When a certificate runs out, in seconds since the Unix epoch.
    certificate_expiry_timestamp_seconds: IntGaugeVec("certificate_expiry_timestamp_seconds", ["use"]),
    /// Requests refused because a bound was reached, by bound.
    limits_reached_total: IntCounterVec("limits_reached_total", ["limit"]),
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Counts one handshake.
    pub fn handshake(&self, result: &str) {
        self.tls_handshakes_total.with_label_values(&[result]).inc();
    }

    /// Counts one finished request.
    pub fn request(
        &self,
        method: &str,
        tool: &str,
        outcome: &str,
        took: Duration,
        upstream: Option<Duration>,
    ) {
        self.requests_total
            .with_label_values(&[method, tool, outcome])
            .inc();
        self.request_duration_seconds.observe(took.as_secs_f64());
        let upstream = upstream.unwrap_or_default();
        if !upstream.is_zero() {
            self.upstream_duration_seconds
                .observe(upstream.as_secs_f64());
        }
        self.proxy_overhead_seconds
            .observe(took.saturating_sub(upstream).as_secs_f64());
    }

    /// All metrics in Prometheus's text format.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(16 * 1024);
        // Writing to memory fails only on metrics that can't be printed; then what could be is shown.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        text
    }
}

/// The closed set of method labels.
pub fn method_label(method: &str) -> &'static str {
    const METHODS: [&str; 20] = [
        "initialize",
        "ping",
        "tools/list",
        "tools/call",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "prompts/list",
        "prompts/get",
        "notifications/initialized",
        "notifications/cancelled",
        "notifications/progress",
        "GET",
        "DELETE",
        "/auth/token",
        "/auth/logout",
        "/auth/backchannel-logout",
        "/auth/factor",
        "/auth/factor.js",
        "/auth/factor.css",
    ];
    let ruled = RULED_METHODS.iter().flat_map(|ruled| {
        let also = ruled.also.iter().copied();
        std::iter::once(ruled.name).chain(also)
    });
    METHODS
        .into_iter()
        .chain(ruled)
        .find(|known| *known == method)
        .unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_of_the_contract_is_registered_under_its_name() {
        let metrics = Metrics::new().unwrap();
        metrics.build_info.with_label_values(&["0", "x"]).set(1);
        metrics.request(
            "tools/call",
            "read_record",
            "ok",
            Duration::from_millis(1),
            None,
        );
        let text = String::from_utf8(metrics.render()).unwrap();
        for name in [
            "safeguard_build_info",
            "safeguard_requests_total",
            "safeguard_audit_spool_bytes",
        ] {
            assert!(text.contains(name), "{name}");
        }
    }

    #[test]
    fn an_unknown_method_has_no_label_of_its_own() {
        assert_eq!(method_label("patients/Jane Doe"), "other");
        assert_eq!(method_label("tools/call"), "tools/call");
        assert_eq!(method_label("tasks/result"), "tasks/result");
    }
}
