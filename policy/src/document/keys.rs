//! The one table of every key: its shape, default, meaning, and whether it is built. The loader checks documents
//! against it, the readers take their defaults from it, and the JSON Schema is printed from it.

pub(crate) mod cases;
mod sources;

pub(crate) use sources::KEY_SOURCES;

use crate::policy::Operation;

/// A key of a mapping.
#[derive(Debug)]
pub(crate) struct Key {
    pub name: &'static str,
    pub shape: Shape,
    pub about: &'static str,
    pub required: bool,
    pub default: Option<&'static str>,
    pub built: Built,
}

/// Whether a key does something yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Built {
    Yes,
    /// Reserved, and it would restrict or protect: an error.
    Restricts,
    /// Reserved, and it would only permit more: inert, with a warning.
    Permits,
}

/// What a value looks like.
#[derive(Debug)]
pub(crate) enum Shape {
    /// A text that is not empty.
    Text,
    /// A text that nobody may see.
    Secret,
    /// `true` or `false`.
    Bool,
    /// A whole number between two bounds.
    Integer(i64, i64),
    /// Days between two bounds: `2555`, `2555_days`, or `7y`, which are calendar years at their longest.
    Days(i64, i64),
    /// One of these words.
    Word(&'static [Choice]),
    /// `2026-11-01`
    Date,
    /// An IP address and a port.
    Address,
    /// A list of one shape.
    List(&'static Shape),
    /// A mapping with these keys.
    Map(&'static [Key]),
    /// A mapping from names of the operator to one shape.
    Named(&'static Shape),
    /// A mapping whose key `type` says which keys it has.
    Typed(&'static [(&'static str, &'static [Key])]),
    /// This word in place of a list.
    WordOr(&'static str, &'static Shape),
    /// Any one text in place of a list of them.
    TextOr(&'static Shape),
    /// Reserved: looked at when it is built.
    Anything,
}

impl Shape {
    /// Whether nobody may see the value.
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self, Self::Secret)
    }

    /// Whether other values stand below it.
    pub(crate) fn is_nested(&self) -> bool {
        !matches!(
            self,
            Self::Text
                | Self::Secret
                | Self::Bool
                | Self::Integer(..)
                | Self::Days(..)
                | Self::Word(_)
                | Self::Date
                | Self::Address
        )
    }
}

/// A word and whether it does something yet.
#[derive(Debug)]
pub(crate) struct Choice(pub &'static str, pub Built);

const fn yes(word: &'static str) -> Choice {
    Choice(word, Built::Yes)
}

const fn key(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key {
        name,
        shape,
        about,
        required: false,
        default: None,
        built: Built::Yes,
    }
}

impl Key {
    const fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }

    const fn default(self, text: &'static str) -> Self {
        Self {
            default: Some(text),
            ..self
        }
    }

    const fn permits(self) -> Self {
        Self {
            built: Built::Permits,
            ..self
        }
    }
}

const TEXTS: Shape = Shape::List(&Shape::Text);

/// The revisions of MCP that have been released, but for 2024-11-05 with its other transport.
const REVISIONS: &[Choice] = &[
    yes("2024-11-05"),
    yes("2025-03-26"),
    yes("2025-06-18"),
    yes("2025-11-25"),
    yes("2026-07-28"),
];
const ON_OFF: Shape = Shape::Bool;
const BINDING: Shape = Shape::Word(&[yes("required"), yes("accepted"), yes("ignored")]);
/// Seconds of a deadline: up to an hour.
const DEADLINE: Shape = Shape::Integer(1, 3600);
/// Bytes of a buffer: 1 KiB to 1 GiB.
const BUFFER: Shape = Shape::Integer(1024, 1 << 30);

/// The whole document.
pub(crate) static ROOT: &[Key] = &[
    key("version", Shape::Word(&[yes("1")]), "version of the configuration's language").default("1"),
    key(
        "profile",
        Shape::Word(&[yes("production"), yes("development")]),
        "development allows MFA, client certificates and sealing to be off, on a loopback listener only",
    )
    .default("production"),
    key("authentication", Shape::Map(AUTHENTICATION), "local tokens and the second factor"),
    key("keycloak", Shape::Map(KEYCLOAK), "the identity provider; without it only local tokens are taken"),
    key("audit_logging", Shape::Map(AUDIT), "the audit trail"),
    key("tls", Shape::Map(TLS), "the listener's TLS").required(),
    key("identity", Shape::Map(IDENTITY), "where roles and purposes come from"),
    key("sessions", Shape::Map(SESSIONS), "where login sessions are kept"),
    key("integrity", Shape::Map(INTEGRITY), "how records are hashed and verified"),
    key("keys", Shape::Map(KEYS), "the key rings: a key seals from its date on, all of a ring open").required(),
    key("key_sources", Shape::Map(KEY_SOURCES), "where keys come from that are neither in the environment nor in a file"),
    key("phi", Shape::Map(PHI), "what is PHI and how it is sealed").required(),
    key("roles", Shape::Named(&Shape::Map(ROLE)), "purposes and views of each role").required(),
    key("clients", Shape::Named(&Shape::Map(CLIENT)), "the software that asks, by its certificate; any other is denied")
        .required(),
    key("emergency", Shape::Map(EMERGENCY), "break-glass, and the only way to the purpose BTG: somebody of these roles may see more of one patient for a while, gives a reason, and is reviewed"),
    key("exceptions", Shape::List(&Shape::Map(EXCEPTION)), "accepted risks, each with why, who and its last day; nothing can be loosened elsewhere"),
    key("upstream", Shape::Map(UPSTREAM), "the MCP server behind").required(),
    key("listen", Shape::Map(LISTEN), "where clients connect").required(),
    key("admin", Shape::Map(ADMIN), "metrics and probes"),
    key("state", Shape::Map(STATE), "sockets, locks and cursors"),
    key("tools", Shape::Named(&Shape::Map(TOOL)), "rules of tools; a tool that is not named is denied and hidden"),
    key("resources", Shape::Named(&Shape::Map(RULE)), "rules of resources, by URI template (RFC 6570 level 1)"),
    key("prompts", Shape::Named(&Shape::Map(RULE)), "rules of prompts"),
    key("methods", Shape::Named(&Shape::Map(METHOD)), "rules of completion, sampling, elicitation, logging, tasks and subscriptions, denied unless named"),
];

pub(crate) static AUTHENTICATION: &[Key] = &[
    key("jwt", Shape::Map(JWT), "local HS256 tokens"),
    key("mfa", Shape::Map(MFA), "the second factor"),
    key(
        "bound_tokens",
        Shape::Map(BOUND_TOKENS),
        "what tokens must be bound to, so that a stolen one is of no use",
    ),
    key(
        "clock_skew_seconds",
        Shape::Integer(0, 60),
        "how far a token's times may be off",
    )
    .default("30"),
];

pub(crate) static BOUND_TOKENS: &[Key] = &[
    key(
        "dpop",
        BINDING,
        "a key of the client, whose proof comes with each request (RFC 9449); ignored: bound tokens pass unproved, for development only",
    )
    .default("accepted"),
    key(
        "certificate",
        BINDING,
        "the client's certificate (RFC 8705); ignored as above",
    )
    .default("accepted"),
    key(
        "nonce",
        ON_OFF,
        "whether each proof must carry a nonce that the sidecar gave at most two minutes before",
    )
    .default("false"),
];

pub(crate) static JWT: &[Key] = &[
    key(
        "enabled",
        ON_OFF,
        "whether local tokens are taken and issued",
    )
    .default("true"),
    key(
        "secret",
        Shape::Secret,
        "the HMAC key, its UTF-8 bytes, at least 32",
    ),
    key(
        "previous",
        Shape::Map(JWT_PREVIOUS),
        "the secret before it, which still verifies for a while; both are taken up without a restart",
    ),
    key("issuer", Shape::Text, "`iss` of local tokens"),
    key(
        "audience",
        Shape::Text,
        "`aud` that a local token must name",
    ),
    key(
        "expiration",
        Shape::Integer(1, 86_400),
        "longest life of an access token in seconds",
    )
    .default("3600"),
    key(
        "once",
        ON_OFF,
        "whether each token serves one request only, by its `jti`: for tokens that are made for one call, not for a client that keeps one",
    )
    .default("false"),
    key(
        "refresh_enabled",
        ON_OFF,
        "whether refresh tokens are issued",
    )
    .default("false"),
    key(
        "refresh_expiration",
        Shape::Integer(1, 2_592_000),
        "life of a refresh token in seconds",
    )
    .default("86400"),
];

pub(crate) static JWT_PREVIOUS: &[Key] = &[
    key(
        "secret",
        Shape::Secret,
        "the HMAC key that `secret` replaced",
    )
    .required(),
    key(
        "until",
        Shape::Date,
        "its last day (UTC): tokens that it signed are refused afterwards",
    )
    .required(),
];

pub(crate) static MFA: &[Key] = &[
    key(
        "enabled",
        ON_OFF,
        "whether every login needs a second factor; `keycloak.require_mfa` does the same",
    )
    .default("true"),
    key(
        "providers",
        Shape::List(&Shape::Word(&[yes("totp"), yes("webauthn")])),
        "what proves it: totp by amr `otp` or `totp`, webauthn by `hwk`, `swk` or `webauthn`; default both",
    ),
    key(
        "grace_period",
        Shape::Integer(0, 31_536_000),
        "only 0: a second factor is needed from the first call",
    )
    .default("0"),
    key(
        "acr",
        TEXTS,
        "`acr` values that prove it for a person's login; default none",
    ),
    key(
        "scope",
        Shape::Text,
        "a scope that makes the provider ask for it, told to every client; default none",
    ),
    key(
        "enrolment",
        Shape::Map(ENROLMENT),
        "the sidecar enrols and verifies second factors itself, on a page at /auth/factor; default: only what a token says proves one",
    ),
];

pub(crate) static ENROLMENT: &[Key] = &[
    key(
        "directory",
        Shape::Text,
        "an absolute path; created 0700; one sealed file a person; kept and backed up as the audit log is; not with sessions.store, for proofs are this process's",
    )
    .required(),
    key(
        "url",
        Shape::Text,
        "the origin at which people's browsers reach /auth/factor; default the host of listen.public_url, at listen.account's port where there is one",
    ),
];

pub(crate) static KEYCLOAK: &[Key] = &[
    key("realm", Shape::Text, "the realm's name").required(),
    key("server_url", Shape::Text, "the server's base URL, https").required(),
    key("client_id", Shape::Text, "the sidecar's own client").required(),
    key("client_secret", Shape::Secret, "the client's secret"),
    key(
        "require_mfa",
        ON_OFF,
        "whether every login needs a second factor",
    )
    .default("true"),
    key(
        "session_timeout",
        Shape::Integer(1, 86_400),
        "longest login session in seconds",
    )
    .default("900"),
    key(
        "idle_timeout",
        Shape::Integer(1, 86_400),
        "longest silence of a login session in seconds",
    )
    .default("300"),
    key(
        "max_sessions_per_user",
        Shape::Integer(1, 1000),
        "login sessions of a user at once",
    )
    .default("1"),
    key(
        "audiences",
        TEXTS,
        "audiences that are accepted beside listen.public_url; default none",
    ),
    key(
        "ca_file",
        Shape::Text,
        "PEM of the authorities for the server's certificate; default the system's",
    ),
    key(
        "keys_refresh_seconds",
        Shape::Integer(1, 3600),
        "how often the realm's signing keys are fetched, which is also how soon its absence is seen",
    )
    .default("300"),
    key(
        "keys_stale_max_seconds",
        Shape::Integer(1, 86_400),
        "how long the keys serve while Keycloak can't be reached; then no token of it is taken",
    )
    .default("3600"),
    key(
        "when_down",
        Shape::Word(&[yes("refuse_new"), yes("serve")]),
        "logins that begin while Keycloak can't be reached: refused (503), or served by the keys that are known",
    )
    .default("refuse_new"),
    key(
        "introspection",
        Shape::Map(INTROSPECTION),
        "the server is asked whether each token is still good (RFC 7662)",
    ),
    key(
        "events",
        Shape::Map(KEYCLOAK_EVENTS),
        "the realm's user and administrator events, read into the audit trail",
    ),
];

static INTROSPECTION: &[Key] = &[
    key(
        "enabled",
        ON_OFF,
        "whether it is asked; needs `client_secret`. Without an answer a token is refused (503)",
    )
    .default("false"),
    key(
        "cache_seconds",
        Shape::Integer(1, 300),
        "how long an answer serves, which is how long a revoked token may still serve",
    )
    .default("10"),
];

static KEYCLOAK_EVENTS: &[Key] = &[
    key(
        "enabled",
        ON_OFF,
        "whether they are read; needs `client_secret`, and the role view-events for the client's service account",
    )
    .default("false"),
    key(
        "interval_seconds",
        Shape::Integer(1, 3600),
        "how often they are asked for",
    )
    .default("5"),
];

pub(crate) static AUDIT: &[Key] = &[
    key("enabled", ON_OFF, "only true").default("true"),
    key(
        "retention_days",
        Shape::Days(1, 36_500),
        "how long events are kept: at least 2192 days, or 6y, the six years for which HIPAA has documentation kept (45 CFR 164.316(b)(2)(i)); it names no period for audit logs, and 2555 days, seven years, are this product's choice",
    )
    .default("2555"),
    key(
        "short_retention_reason",
        Shape::Text,
        "why events may be kept for less than six years; without it that is refused",
    ),
    key(
        "events",
        TEXTS,
        "which of the 17 selectable events go to the outputs; default all. The spool records every one",
    ),
    key(
        "output",
        Shape::List(&Shape::Typed(OUTPUTS)),
        "where events are delivered; default: they stay in the spool",
    ),
    key("spool", Shape::Map(SPOOL), "the durable queue on disk"),
];

pub(crate) static OUTPUTS: &[(&str, &[Key])] =
    &[("postgresql", POSTGRESQL), ("siem", SIEM), ("s3", S3)];

pub(crate) static POSTGRESQL: &[Key] = &[
    key("type", Shape::Text, "postgresql: a table").required(),
    key("table", Shape::Text, "the table, perhaps with its schema").default("audit_logs"),
    key("encrypted", ON_OFF, "whether the payload is sealed").default("true"),
    key(
        "host",
        Shape::Text,
        "the server's host name, which its certificate must be for; default PGHOST, else localhost",
    ),
    key(
        "port",
        Shape::Integer(1, 65_535),
        "default PGPORT, else 5432",
    ),
    key(
        "database",
        Shape::Text,
        "default PGDATABASE, else the user's name",
    ),
    key(
        "user",
        Shape::Text,
        "a role that may only insert; default PGUSER",
    ),
    key("password", Shape::Secret, "default PGPASSWORD"),
    key(
        "channel_binding",
        Shape::Word(&[yes("require"), yes("prefer")]),
        "whether a password is shown to no server that does not prove by it that the TLS connection is its own (SCRAM-SHA-256-PLUS); prefer: for a pooler that can't. A client certificate needs none",
    )
    .default("require"),
    key(
        "ca_file",
        Shape::Text,
        "PEM of the authorities for the server's certificate; default PGSSLROOTCERT, else the system's",
    ),
    key(
        "cert_file",
        Shape::Text,
        "PEM of the sink's client certificate; default PGSSLCERT",
    ),
    key("key_file", Shape::Text, "PEM of its key; default PGSSLKEY"),
];

pub(crate) static SIEM: &[Key] = &[
    key(
        "type",
        Shape::Text,
        "siem: a log collector",
    )
    .required(),
    key(
        "endpoint",
        Shape::Text,
        "where it listens, as in syslog+tls://siem.example.com:6514 (without a port 6514); of otlp and hec the base URL, as in https://siem.example.com:8088, behind which the protocol's own path comes; https, or http on loopback in development",
    )
    .required(),
    key(
        "protocol",
        Shape::Word(&[yes("syslog"), yes("otlp"), yes("hec")]),
        "syslog: RFC 5424 over TLS 1.3 (RFC 5425); otlp: OTLP/HTTP logs in JSON (/v1/logs); hec: Splunk's HTTP event collector (/services/collector/event)",
    )
    .default("syslog"),
    key(
        "format",
        Shape::Word(&[
            yes("native"),
            yes("ocsf"),
            yes("ocsf-1.9"),
            yes("fhir"),
            yes("dicom"),
            yes("cef"),
        ]),
        "how an event is written: OCSF 1.8, OCSF 1.9 with record_integrity, FHIR R4 AuditEvent (IHE BALP), DICOM (IHE ATNA), CEF, or the record as the spool has it",
    )
    .default("ocsf"),
    key(
        "message_bytes_max",
        Shape::Integer(2048, 1_048_576),
        "bytes of the longest message that the collector takes; longer events leave out whole members and say so; default 8192, of otlp and hec 65536",
    ),
    key(
        "token",
        Shape::Secret,
        "of hec its token, of otlp a bearer token if the collector wants one; default SAFEGUARD_SIEM_TOKEN",
    ),
    key(
        "request_bytes_max",
        Shape::Integer(65_536, 16_777_216),
        "of otlp and hec, bytes of the longest request that the collector takes; default 1048576",
    ),
    key(
        "source",
        Shape::Text,
        "of hec, `source` of each event; default safeguard",
    ),
    key(
        "sourcetype",
        Shape::Text,
        "of hec, `sourcetype` of each event; default safeguard:audit",
    ),
    key(
        "index",
        Shape::Text,
        "of hec, `index` of each event; default the token's own",
    ),
    key(
        "acknowledge",
        ON_OFF,
        "of hec, whether only what the collector says is indexed is believed: its token needs indexer acknowledgement; default false",
    ),
    key(
        "ca_file",
        Shape::Text,
        "PEM of the authorities for the collector's certificate; default SAFEGUARD_SIEM_CA, else the system's",
    ),
    key(
        "cert_file",
        Shape::Text,
        "PEM of the sink's client certificate; default SAFEGUARD_SIEM_CERT",
    ),
    key(
        "key_file",
        Shape::Text,
        "PEM of its key; default SAFEGUARD_SIEM_KEY",
    ),
];

pub(crate) static S3: &[Key] = &[
    key(
        "type",
        Shape::Text,
        "s3: objects in a bucket that nobody can delete; credentials from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN",
    )
    .required(),
    key("bucket", Shape::Text, "the bucket's name").required(),
    key(
        "prefix",
        Shape::Text,
        "what the names of all objects begin with",
    )
    .default("audit/"),
    key(
        "region",
        Shape::Text,
        "default AWS_REGION, else AWS_DEFAULT_REGION; with an endpoint of your own else us-east-1",
    ),
    key(
        "endpoint",
        Shape::Text,
        "the base URL of a store that is not Amazon's, the bucket in its path; https, or http on loopback; default Amazon's",
    ),
    key(
        "sts_endpoint",
        Shape::Text,
        "the base URL of STS for web identities; default Amazon's",
    ),
    key(
        "ca_file",
        Shape::Text,
        "PEM of the authorities for the store's certificate; default AWS_CA_BUNDLE, else the system's",
    ),
    key(
        "encrypted",
        ON_OFF,
        "whether objects are sealed before they leave",
    )
    .default("true"),
    key(
        "encryption",
        Shape::Word(&[yes("AES-256"), yes("aws:kms")]),
        "server-side encryption; a store that does not confirm it is refused",
    )
    .default("AES-256"),
    key(
        "kms_key_id",
        Shape::Text,
        "with encryption aws:kms, id or ARN of the key; default the account's own for S3",
    ),
    key(
        "object_lock",
        Shape::Word(&[yes("required"), yes("none")]),
        "required: each object is locked until its retention ends, and a bucket without Object Lock is refused; none: nobody keeps objects from being deleted",
    )
    .default("required"),
    key(
        "lock_mode",
        Shape::Word(&[yes("COMPLIANCE"), yes("GOVERNANCE")]),
        "COMPLIANCE: nobody can shorten it, the account's owner included; GOVERNANCE: who has a permission of its own can",
    )
    .default("COMPLIANCE"),
    key(
        "lifecycle",
        Shape::Text,
        "how long each object is locked, as in 2555_days or 7y; default retention_days",
    ),
    key(
        "object_bytes_max",
        Shape::Integer(1 << 16, 1 << 26),
        "bytes of events that make an object, before compression",
    )
    .default("8388608"),
    key(
        "object_seconds_max",
        Shape::Integer(1, 3600),
        "seconds that events wait for an object to fill",
    )
    .default("60"),
];

pub(crate) static SPOOL: &[Key] = &[
    key(
        "directory",
        Shape::Text,
        "created 0700, holds nothing but the log",
    )
    .default("/var/lib/safeguard/spool"),
    key(
        "max_bytes",
        Shape::Integer(1 << 20, 1 << 44),
        "bytes that the spool may take; when full, no PHI passes",
    )
    .default("10737418240"),
    key(
        "segment_bytes",
        Shape::Integer(1 << 16, 1 << 30),
        "bytes of one segment file",
    )
    .default("67108864"),
    key(
        "checkpoint_heartbeat_seconds",
        Shape::Integer(10, 3600),
        "the longest time without a signed checkpoint while nothing is recorded",
    )
    .default("300"),
];

pub(crate) static TLS: &[Key] = &[
    key("min_version", Shape::Word(&[yes("1.3")]), "only 1.3").default("1.3"),
    key(
        "cipher_suites",
        Shape::List(&Shape::Word(&[
            yes("TLS_AES_256_GCM_SHA384"),
            yes("TLS_CHACHA20_POLY1305_SHA256"),
            yes("TLS_AES_128_GCM_SHA256"),
        ])),
        "TLS 1.3 suites in the order of preference; default all three",
    ),
    key("cert_file", Shape::Text, "PEM of the server's chain").required(),
    key("key_file", Shape::Text, "PEM of its key").required(),
    key(
        "ca_file",
        Shape::Text,
        "PEM of the authorities that client certificates must come from",
    ),
    key(
        "crl_file",
        Shape::Text,
        "PEM of revocation lists; default none",
    ),
    key("mutual_tls", Shape::Map(MUTUAL_TLS), "client certificates"),
];

pub(crate) static MUTUAL_TLS: &[Key] = &[
    key(
        "enabled",
        ON_OFF,
        "whether a client certificate is demanded",
    )
    .default("true"),
    key("verify_client_cert", ON_OFF, "whether it is verified").default("true"),
    key(
        "allowed_dns_names",
        TEXTS,
        "names that it must carry one of: exact, or with `*` for the first label; without one nobody is let in",
    ),
];

pub(crate) static IDENTITY: &[Key] = &[
    key(
        "issuers",
        Shape::Named(&Shape::Map(ISSUER)),
        "further issuers of tokens, each by a name of yours: other realms, or providers whose access tokens follow RFC 9068; default none",
    ),
    key(
        "roles_from",
        Shape::Text,
        "the one claim that grants roles in a Keycloak token (local tokens: `roles`)",
    )
    .default("realm_access.roles"),
    key(
        "shared_subjects",
        TEXTS,
        "names that several people share: no token whose `sub` or `preferred_username` is one of them is taken; default admin, administrator, anonymous, generic, guest, nobody, root, service, shared, system, test, user",
    ),
    key(
        "purpose_from",
        Shape::List(&Shape::Word(&[yes("token"), yes("only"), yes("call")])),
        "where a purpose comes from: the token, else the call (its `_meta` member safeguard/purpose: the caller's own word), else the only one that the roles leave; token is always among them; default [token, only]",
    ),
];

pub(crate) static ISSUER: &[Key] = &[
    key(
        "issuer",
        Shape::Text,
        "the exact `iss` of its tokens, https; its discovery document is below it",
    )
    .required(),
    key(
        "roles",
        TEXTS,
        "the only roles that it grants; whatever else its tokens name counts for nothing",
    )
    .required(),
    key(
        "roles_from",
        Shape::Text,
        "the one claim of its tokens that grants them; default identity.roles_from",
    ),
    key(
        "audiences",
        TEXTS,
        "audiences that are accepted beside listen.public_url; default none",
    ),
    key(
        "client_id",
        Shape::Text,
        "the sidecar's client there, for which logout tokens without a session are; default none",
    ),
    key(
        "ca_file",
        Shape::Text,
        "PEM of the authorities for its server's certificate; default the system's",
    ),
    key(
        "keys_refresh_seconds",
        Shape::Integer(1, 3600),
        "how often its signing keys are fetched, which is also how soon its absence is seen",
    )
    .default("300"),
    key(
        "keys_stale_max_seconds",
        Shape::Integer(1, 86_400),
        "how long the keys serve while it can't be reached; then no token of it is taken",
    )
    .default("3600"),
    key(
        "when_down",
        Shape::Word(&[yes("refuse_new"), yes("serve")]),
        "logins that begin while it can't be reached: refused (503), or served by the keys that are known",
    )
    .default("refuse_new"),
];

pub(crate) static SESSIONS: &[Key] = &[
    key(
        "store",
        Shape::Secret,
        "where login sessions and refresh tokens are kept: `memory`, of this process, or the URL of a Redis or Valkey that all replicas share, `rediss://HOST:PORT` (plain `redis://` on this host only)",
    )
    .default("memory"),
    key("username", Shape::Text, "the ACL user; default the URL's"),
    key("password", Shape::Secret, "its password; default the URL's"),
    key(
        "ca_file",
        Shape::Text,
        "PEM of the authorities for the store's certificate; default the system's",
    ),
    key(
        "certificate_file",
        Shape::Text,
        "PEM of our certificate for the store; needs `key_file`",
    ),
    key("key_file", Shape::Text, "PEM of its key"),
    key(
        "at_limit",
        Shape::Word(&[yes("end_oldest"), yes("refuse_new")]),
        "a login of somebody who has `keycloak.max_sessions_per_user` sessions already: it ends the oldest, or is refused (403)",
    )
    .default("end_oldest"),
    key(
        "replicas",
        Shape::Integer(1, 1000),
        "how many sidecars stand beside each other; more than one need a store that they share",
    )
    .default("1"),
    key(
        "when_down",
        Shape::Word(&[yes("refuse")]),
        "what happens without the store: every request is refused, and open streams end",
    )
    .default("refuse"),
];

pub(crate) static KEYS: &[Key] = &[
    key("phi", Shape::List(&Shape::Map(KEY)), "seals and opens PHI").required(),
    key("integrity", Shape::List(&Shape::Map(KEY)), "record hashes").required(),
    key(
        "audit",
        Shape::List(&Shape::Map(KEY)),
        "the audit trail: chain, payloads, pseudonyms",
    )
    .required(),
];

pub(crate) static KEY: &[Key] = &[
    key("id", Shape::Text, "its name, kept in what it sealed").required(),
    key(
        "from",
        Shape::Date,
        "the day from which on it seals (midnight UTC)",
    )
    .required(),
    key(
        "state",
        Shape::Word(&[yes("active"), yes("decrypt-only"), yes("destroyed")]),
        "active seals and opens, decrypt-only opens only, destroyed has no source and does neither",
    )
    .default("active"),
    key(
        "source",
        Shape::Secret,
        "32 bytes: base64 of either alphabet, or `hex:…`, or `raw:…`; or where they come from: `infisical:NAME`, `transit:CIPHERTEXT`, `aws-kms:BASE64`, `pkcs11:BASE64`",
    ),
];

pub(crate) static PHI: &[Key] = &[
    key(
        "domain",
        Shape::Text,
        "who shares sealed values; never rename it",
    )
    .required(),
    key(
        "storage",
        Shape::Word(&[yes("encrypted"), yes("clear")]),
        "what the upstream may hold",
    )
    .default("encrypted"),
    key(
        "format",
        Shape::Word(&[yes("native"), yes("fernet"), yes("jwe")]),
        "the format of what is sealed from now on; all are opened",
    )
    .default("native"),
    key(
        "fernet",
        Shape::Word(&[yes("strict"), yes("lenient")]),
        "how Fernet tokens are read: lenient as Python's cryptography does, for data that was copied about",
    )
    .default("strict"),
    key(
        "wrap",
        Shape::Word(&[yes("object"), yes("string")]),
        "the shape of a sealed value",
    )
    .default("object"),
    key(
        "unlisted",
        Shape::Map(UNLISTED),
        "what becomes of a member that is named nowhere",
    ),
    key(
        "text",
        Shape::Word(TEXT_VIEWS),
        "text that is no JSON, error texts too",
    )
    .default("withhold"),
    key(
        "fields",
        Shape::Named(&Shape::Map(FIELD)),
        "PHI, at any depth, whatever the case or separators; may be left out where presets name it",
    ),
    key(
        "not_phi",
        TEXTS,
        "reviewed names and places: whoever may call may see them",
    ),
    key(
        "binary",
        Shape::Word(&[yes("withhold"), yes("reveal")]),
        "content that can't be read: images, audio, PDF, DICOM",
    )
    .default("withhold"),
    key(
        "bind",
        Shape::List(&Shape::Word(&[yes("patient")])),
        "what a sealed value is bound to beside domain and field; default nothing. Values sealed before open no more",
    ),
    key(
        "patient_keys",
        Shape::Map(PATIENT_KEYS),
        "a data key for each patient, kept wrapped in a directory, so that one patient's values can be made unreadable for good; default: none, values are sealed under keys.phi. Needs bind: [patient]",
    ),
    key(
        "tokens",
        Shape::Map(TOKENS),
        "what tokens for agents are bound to, and how long they serve",
    ),
    key(
        "detect",
        Shape::Named(&Shape::Text),
        "how a detector's find in text is shown: a field's name (by the caller's view of it), withhold or reveal; default the field of the detector's own name, else withhold",
    ),
    key(
        "patterns",
        Shape::Named(&Shape::Text),
        "the site's own detectors: regular expressions, by name",
    ),
    key(
        "presets",
        TEXTS,
        "versioned lists of fields: safe-harbor@1, fhir-r4@1; `explain --fields` shows them. What is written here beats them",
    ),
];

/// A preset's own document.
pub(crate) static PRESET: &[Key] = &[
    key("fields", Shape::Named(&Shape::Map(FIELD)), "as phi.fields"),
    key("not_phi", TEXTS, "as phi.not_phi"),
];

const TEXT_VIEWS: &[Choice] = &[yes("withhold"), yes("reveal"), yes("detect")];

pub(crate) static INTEGRITY: &[Key] = &[
    key(
        "version",
        Shape::Word(&[yes("seed"), yes("v2"), yes("both")]),
        "seed: integrity_hash over the data; v2: integrity_v2, which binds patient, version, author and time as well",
    )
    .default("seed"),
    key(
        "missing",
        Shape::Word(&[yes("refuse"), yes("pass")]),
        "a record without a hash",
    )
    .default("refuse"),
    key(
        "unknown",
        Shape::Word(&[yes("refuse"), yes("pass")]),
        "a record whose integrity_v2 names a key that the ring doesn't have",
    )
    .default("refuse"),
    key(
        "covers",
        Shape::Word(&[yes("data"), yes("record")]),
        "what is hashed: a record's `data`, and with `record` the whole record where it has none",
    )
    .default("data"),
    key(
        "member",
        Shape::Text,
        "an object in the record that holds the integrity members, for an upstream that refuses unknown ones; default the record itself",
    ),
];

pub(crate) static UNLISTED: &[Key] = &[
    key("results", Shape::Word(TEXT_VIEWS), "members of answers").default("withhold"),
    key(
        "arguments",
        Shape::Word(&[yes("pass"), yes("refuse"), yes("detect")]),
        "members of arguments; detect: pass unless it looks like an identifier",
    )
    .default("pass"),
];

pub(crate) static PATIENT_KEYS: &[Key] = &[
    key(
        "directory",
        Shape::Text,
        "an absolute path; created 0700; one file a patient, named by a pseudonym, shared by all replicas. A file system with hard links, and backed up: a key that is lost is a patient whose values are lost",
    )
    .required(),
    key(
        "cached",
        Shape::Integer(1, 100_000),
        "patients' keys that are kept opened in memory",
    )
    .default("1000"),
];

pub(crate) static TOKENS: &[Key] = &[
    key(
        "bind",
        Shape::List(&Shape::Word(&[yes("patient"), yes("session")])),
        "what a token is bound to beside domain and field; default nothing",
    ),
    key(
        "lasts",
        Shape::Text,
        "how long a token can be handed back, as in 8h; default for ever",
    ),
];

pub(crate) static FIELD: &[Key] = &[
    key("group", Shape::Text, "the group that it belongs to"),
    key(
        "also",
        TEXTS,
        "other names of the same thing, and places: Patient.identifier[system=us-ssn].value, Observation.value[x], identity.number",
    ),
    key(
        "searchable",
        Shape::Word(&[
            yes("true"),
            yes("false"),
            yes("exact"),
            yes("digits"),
            yes("upper"),
            yes("date"),
        ]),
        "whether the upstream can find records by it, and how it is spelt for that (true: exact). Equal values are then equal at the upstream",
    )
    .default("false"),
];

pub(crate) static ROLE: &[Key] = &[
    key(
        "purposes",
        TEXTS,
        "purposes of use: TREAT, HPAYMT, HOPERAT, ETREAT",
    )
    .required(),
    key("reveal", TEXTS, "fields and groups whose values it sees"),
    key(
        "mask",
        Shape::Named(&Shape::Word(&[yes("last4"), yes("year")])),
        "fields and groups of which it sees a part",
    ),
    key(
        "token",
        TEXTS,
        "fields and groups that it carries but cannot read",
    ),
];

pub(crate) static CLIENT: &[Key] = &[
    key(
        "certificate",
        Shape::TextOr(&TEXTS),
        "DNS names of its certificate: exact, or with `*` for the first label; required unless it may come without one",
    ),
    key(
        "without_certificate",
        ON_OFF,
        "this is whoever shows no certificate, where `tls.mutual_tls.verify_client_cert` is false (profile development, on loopback)",
    )
    .default("false"),
    key(
        "dpop",
        ON_OFF,
        "its tokens must be bound to a key, with a proof at each request (RFC 9449)",
    )
    .default("false"),
    key(
        "at_most",
        Shape::Text,
        "a role that caps every view of this client",
    ),
    key(
        "service",
        ON_OFF,
        "software without a person: in place of a second factor its token must be bound to its certificate; a person is denied here, and needs `roles`",
    )
    .default("false"),
    key(
        "roles",
        TEXTS,
        "the only roles that count with this client, of those that the token has",
    ),
];

pub(crate) static EMERGENCY: &[Key] = &[
    key("roles", TEXTS, "who may break the glass").required(),
    key("grants", Shape::Map(EMERGENCY_GRANTS), "what it grants").required(),
    key(
        "needs",
        Shape::List(&Shape::Word(&[yes("reason"), yes("patient")])),
        "what must be given; both always are, and a list without one of them is refused",
    ),
    key(
        "lasts",
        Shape::Text,
        "how long one lasts, at most 4h: 30m is what is usual",
    )
    .default("30m"),
    key(
        "review_within",
        Shape::Text,
        "when somebody else must have reviewed it, at most 30d; from then on it alerts",
    )
    .default("72h"),
];

pub(crate) static EMERGENCY_GRANTS: &[Key] = &[
    key(
        "view",
        Shape::Text,
        "the role whose view is added to the caller's own; a client's at_most still caps it",
    )
    .required(),
    key(
        "tools",
        TEXTS,
        "the tools, by the names or patterns of their rules: those that search or read, and whose rule names the patient",
    )
    .required(),
];

pub(crate) static EXCEPTION: &[Key] = &[
    key(
        "allow",
        Shape::Word(&[yes("storage_clear")]),
        "the risk; storage_clear: the server holds in clear what the tool is called with",
    )
    .required(),
    key(
        "for",
        Shape::Text,
        "the rule that it is for, of a tool that searches or reads: tools.NAME, or tools.PATTERN as it is written",
    )
    .required(),
    key("because", Shape::Text, "why it is accepted").required(),
    key("approved_by", Shape::Text, "who accepted it").required(),
    key("until", Shape::Date, "its last day (UTC): it is told 14 days before, and the rule is strict again from the day after").required(),
];

pub(crate) static UPSTREAM: &[Key] = &[
    key(
        "url",
        Shape::Text,
        "the MCP endpoint of the server: http on loopback, https, or unix:/path/of/socket:/mcp",
    )
    .required(),
    key(
        "tls",
        Shape::Map(UPSTREAM_TLS),
        "of an https url: whom it trusts, and the certificate that it shows",
    ),
    key(
        "transport",
        Shape::Word(&[yes("streamable"), yes("sse")]),
        "Streamable HTTP, or sse: the HTTP+SSE transport of 2024-11-05, whose stream is at url",
    )
    .default("streamable"),
    key(
        "batches",
        Shape::Word(&[yes("refuse"), yes("allow")]),
        "JSON-RPC batches of clients of 2025-03-26, the only revision that has them; allow: each element is judged by itself",
    )
    .default("refuse"),
    key(
        "timeout_seconds",
        DEADLINE,
        "until the answer's head is there",
    )
    .default("60"),
    key(
        "connect_timeout_seconds",
        Shape::Integer(1, 60),
        "until the connection stands",
    )
    .default("2"),
    key(
        "require_loopback",
        Shape::Word(&[
            yes("enforce"),
            Choice("warn", Built::Permits),
            Choice("off", Built::Permits),
        ]),
        "enforce, which is done anyway",
    )
    .permits(),
    key(
        "protocol_versions",
        Shape::List(&Shape::Word(REVISIONS)),
        "revisions of MCP that the server speaks; default those before 2026-07-28, and that one once the server itself has said that it speaks it",
    ),
    key(
        "tools_lock",
        Shape::Text,
        "a file of reviewed tools, as `safeguard learn` makes it: a tool that is not in it, or that the server now defines otherwise, is denied until it is reviewed; default none",
    ),
];

pub(crate) static UPSTREAM_TLS: &[Key] = &[
    key(
        "ca_file",
        Shape::Text,
        "PEM: the authorities that the server's certificate must come from; no other is trusted",
    )
    .required(),
    key(
        "certificate",
        Shape::Text,
        "PEM: the certificate shown to the server, then its intermediates; needed unless it is on loopback",
    ),
    key("key", Shape::Text, "PEM: its private key"),
    key(
        "server_name",
        Shape::Text,
        "the name that the server's certificate must carry; default the host of url",
    ),
];

pub(crate) static CORS: &[Key] = &[
    key(
        "origins",
        TEXTS,
        "origins whose pages may call the endpoint and read its answers: scheme, host and port, each exactly",
    )
    .required(),
    key(
        "preflight_without_certificate",
        Shape::Bool,
        "whether a handshake without a client certificate is let through to a preflight and to the resource metadata, and to nothing else: browsers show none there",
    )
    .default("false"),
];

pub(crate) static LISTEN: &[Key] = &[
    key("address", Shape::Address, "where the listener binds").required(),
    key(
        "public_url",
        Shape::Text,
        "the https URL that clients use, with the MCP endpoint's path",
    )
    .required(),
    key(
        "allowed_origins",
        TEXTS,
        "origins that browsers may come from beside that of public_url; default none",
    ),
    key(
        "cors",
        Shape::Map(CORS),
        "what browsers are told, so that pages of other origins can be MCP clients; default nothing",
    ),
    key(
        "account",
        Shape::Map(ACCOUNT),
        "a second listener, without client certificates, for back-channel logout and the pages of the second factor; default none",
    ),
    key(
        "limits",
        Shape::Map(LIMITS),
        "bounds on what clients and the upstream send",
    ),
];

pub(crate) static ACCOUNT: &[Key] = &[
    key("address", Shape::Address, "where it binds").required(),
    key(
        "hosts",
        TEXTS,
        "names that it is called by beside that of public_url, as the identity provider in the cluster may; default none",
    ),
];

pub(crate) static LIMITS: &[Key] = &[
    key("body_bytes_max", BUFFER, "bytes of one request body").default("4194304"),
    key(
        "answer_bytes_max",
        BUFFER,
        "bytes of one JSON answer of the upstream",
    )
    .default("16777216"),
    key(
        "sse_event_bytes_max",
        BUFFER,
        "bytes of one SSE event of the upstream",
    )
    .default("16777216"),
    key(
        "header_seconds",
        DEADLINE,
        "until a request's header is complete",
    )
    .default("10"),
    key(
        "body_seconds",
        DEADLINE,
        "until a request's body is complete",
    )
    .default("30"),
    key(
        "handshake_seconds",
        DEADLINE,
        "until the TLS handshake is complete",
    )
    .default("10"),
    key(
        "connections_max",
        Shape::Integer(1, 1_000_000),
        "open connections",
    )
    .default("10000"),
    key(
        "connection_age_seconds",
        Shape::Integer(1, 86_400),
        "the oldest that a connection gets",
    )
    .default("3600"),
    key(
        "requests_max",
        Shape::Integer(1, 100_000),
        "requests being worked on",
    )
    .default("1024"),
    key(
        "streams_per_session_max",
        Shape::Integer(1, 1000),
        "open streams of one login session",
    )
    .default("16"),
];

pub(crate) static ADMIN: &[Key] = &[key(
    "address",
    Shape::Address,
    "where /metrics, /livez and /readyz are served",
)
.default("127.0.0.1:9464")];

pub(crate) static STATE: &[Key] = &[key(
    "directory",
    Shape::Text,
    "created 0700; default: the spool's sibling, its name with `-state` behind it",
)];

const OPERATIONS: &[Choice] = &[
    yes("none"),
    yes("search"),
    yes("read"),
    yes("create"),
    yes("update"),
    yes("delete"),
    yes("export"),
];

/// The words of [`OPERATIONS`] are those of the type.
const _: () = assert!(OPERATIONS.len() == Operation::WORDS.len());

const ROLES: Shape = Shape::WordOr("any", &TEXTS);

pub(crate) static STEP_UP: &[Key] = &[
    key(
        "max_age",
        Shape::Integer(1, 86_400),
        "the oldest authentication that serves, in seconds",
    ),
    key("acr", Shape::Text, "the `acr` that serves"),
];

macro_rules! rule_keys {
    ($($more:expr),* $(,)?) => {
        &[
            key("operation", Shape::Word(OPERATIONS), "what it does with PHI").required(),
            key("roles", ROLES, "who may call it; `any`: every role of this policy").required(),
            key("patient", Shape::Text, "the path to whose record it touches, or none"),
            key("record", Shape::Text, "the path to the record that is hashed or verified"),
            key("text", Shape::Word(TEXT_VIEWS), "text that is no JSON; default phi.text"),
            key("binary", Shape::Word(&[yes("withhold"), yes("reveal")]), "content that can't be read; default phi.binary"),
            key("when", Shape::Text, "a CEL condition over args, claims and uri; an absent name or an error denies"),
            key("step_up", Shape::Map(STEP_UP), "a fresher or stronger authentication that it needs"),
            key(
                "event",
                Shape::Word(&[
                    yes("password_reset"),
                    yes("permission_change"),
                    yes("user_created"),
                    yes("user_deleted"),
                    yes("role_assigned"),
                ]),
                "an event of identity that a successful call is recorded as, beside those of its operation",
            ),
            $($more),*
        ]
    };
}

/// A resource or prompt.
pub(crate) static RULE: &[Key] = rule_keys!();

pub(crate) static TOOL: &[Key] = rule_keys!(
    key(
        "max_patients",
        Shape::Integer(1, 1_000_000),
        "how many patients one answer may hold; one that holds more, or a patient whom `patient` does not name, is refused"
    ),
    key(
        "recipient",
        Shape::Text,
        "the path to who receives an export, as in args.recipient: recorded for the accounting of disclosures (45 CFR 164.528)"
    ),
    key(
        "only_patients",
        Shape::Text,
        "the claim that names the only patients whom the caller may see, as in claims.patient: another one is denied where the call names it, and taken out of an answer; no claim: denied"
    ),
    key(
        "fields",
        Shape::Named(&Shape::Text),
        "this tool's own meaning of a place: result.value: test_results, result.unit: not_phi"
    ),
);

pub(crate) static METHOD: &[Key] = &[
    key(
        "operation",
        Shape::Word(OPERATIONS),
        "what it does with PHI; default: read for completion/complete, sampling/createMessage, elicitation/create, notifications/message and tasks/*, else none",
    ),
    key(
        "roles",
        ROLES,
        "who may call it, or be asked or told by the server; `any`: every role of this policy",
    )
    .required(),
    key(
        "patient",
        Shape::Text,
        "the path to whose record it touches, or none; only of completion/complete, elsewhere the call, the resource or the task says it",
    ),
    key(
        "text",
        Shape::Word(TEXT_VIEWS),
        "text that is no JSON; default phi.text",
    ),
    key(
        "binary",
        Shape::Word(&[yes("withhold"), yes("reveal")]),
        "content that can't be read; default phi.binary",
    ),
    key(
        "when",
        Shape::Text,
        "a CEL condition over args (the message's params) and claims; an absent name or an error denies",
    ),
    key(
        "step_up",
        Shape::Map(STEP_UP),
        "a fresher or stronger authentication that it needs",
    ),
];

/// The key of a name in a mapping.
pub(crate) fn find(keys: &'static [Key], name: &str) -> Option<&'static Key> {
    keys.iter().find(|k| k.name == name)
}
