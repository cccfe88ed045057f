//! The sidecar's configuration in the load bench: what it is written as, and that it is a good one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use safeguard_policy::{Configuration, Environment, Source, load};

use crate::messages::{
    AUDIT_KEY, DOMAIN, INTEGRITY_KEY, NOT_PHI, PHI, PHI_KEY, PHI_KEY_ID, READ, UPDATE,
};

/// The audience of the bench's tokens.
pub const AUDIENCE: &str = "mcp-bench";
/// The realm of the bench's issuer.
pub const REALM: &str = "bench";
/// The DNS name in the load client's certificate.
pub const CLIENT: &str = "web.bench.example";

/// What a sidecar of the bench is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Client certificate, token, parsing and the decision; bodies go through as they are, no event a call.
    Pass,
    /// All of it: six PHI fields sealed and opened, record hashes made and verified, two durable events a call.
    Everything,
}

/// Where one sidecar of the bench finds everything.
#[derive(Debug, Clone)]
pub struct Places<'a> {
    /// Holds `server.pem`, `server.key` and `ca.pem`.
    pub tls: &'a Path,
    /// Where its spool goes; its state directory stands beside it.
    pub spool: &'a Path,
    /// `listen.address`.
    pub port: u16,
    /// `admin.address`.
    pub admin_port: u16,
    /// The MCP server's URL.
    pub upstream: &'a str,
    /// Base URL of the issuer.
    pub issuer: &'a str,
    /// Whether events go on to PostgreSQL, which the standard variables name.
    pub postgresql: bool,
}

/// The one file of a sidecar of the bench.
#[must_use]
pub fn yaml(work: Work, places: &Places<'_>) -> String {
    let mut text = common(places);
    text.push_str(&match work {
        Work::Pass => pass(),
        Work::Everything => everything(),
    });
    text
}

fn common(places: &Places<'_>) -> String {
    let tls = places.tls.display();
    let output = if places.postgresql {
        "[{ type: postgresql, table: audit_logs, encrypted: true }]"
    } else {
        "[]"
    };
    format!(
        r#"version: 1
authentication:
  jwt: {{ enabled: false }}
  mfa: {{ enabled: true, providers: [totp], grace_period: 0 }}
keycloak:
  realm: {REALM}
  server_url: {issuer}
  client_id: mcp-server
  require_mfa: true
  session_timeout: 86400
  idle_timeout: 86400
  max_sessions_per_user: 1
  audiences: [{AUDIENCE}]
identity: {{ roles_from: realm_access.roles }}
audit_logging:
  enabled: true
  retention_days: 2555
  output: {output}
  spool: {{ directory: "{spool}" }}
tls:
  min_version: "1.3"
  cipher_suites: [TLS_AES_256_GCM_SHA384]
  cert_file: "{tls}/server.pem"
  key_file: "{tls}/server.key"
  ca_file: "{tls}/ca.pem"
  mutual_tls: {{ enabled: true, verify_client_cert: true, allowed_dns_names: ["{CLIENT}"] }}
keys:
  phi: [{{ id: {PHI_KEY_ID}, from: 2026-01-01, source: "{PHI_KEY}" }}]
  integrity: [{{ id: int-bench, from: 2026-01-01, source: "{INTEGRITY_KEY}" }}]
  audit: [{{ id: aud-bench, from: 2026-01-01, source: "{AUDIT_KEY}" }}]
listen: {{ address: "127.0.0.1:{port}", public_url: "https://localhost:{port}/mcp" }}
admin: {{ address: "127.0.0.1:{admin}" }}
upstream: {{ url: "{upstream}" }}
clients:
  chart-web: {{ certificate: {CLIENT} }}
"#,
        issuer = places.issuer,
        spool = places.spool.display(),
        port = places.port,
        admin = places.admin_port,
        upstream = places.upstream,
    )
}

/// No name in the messages is PHI here, so that nothing is rewritten.
fn pass() -> String {
    format!(
        r#"phi:
  domain: {DOMAIN}
  storage: encrypted
  unlisted: {{ results: withhold, arguments: pass }}
  text: reveal
  fields:
    not_in_any_message: {{ group: other }}
roles:
  physician: {{ purposes: [TREAT], reveal: [other] }}
tools:
  {UPDATE}: {{ operation: none, roles: any, patient: none }}
  {READ}: {{ operation: none, roles: any, patient: none }}
"#
    )
}

fn everything() -> String {
    let mut text = format!(
        r"phi:
  domain: {DOMAIN}
  storage: encrypted
  format: native
  wrap: object
  unlisted: {{ results: withhold, arguments: pass }}
  text: reveal
  fields:
"
    );
    for (name, _) in PHI {
        let _written = writeln!(text, "    {name}: {{ group: clinical }}");
    }
    let _written = write!(
        text,
        r"  not_phi: [{}]
roles:
  physician: {{ purposes: [TREAT], reveal: [clinical] }}
  nurse: {{ purposes: [TREAT], reveal: [medications], mask: {{ ssn: last4 }} }}
tools:
  {UPDATE}: {{ operation: update, roles: [physician], patient: args.patient_id, record: args.record }}
  {READ}: {{ operation: read, roles: [physician, nurse], patient: args.patient_id, record: result.record }}
",
        NOT_PHI.join(", ")
    );
    text
}

/// Nothing but these variables, and no files.
#[derive(Debug, Default)]
pub struct Variables(pub BTreeMap<String, String>);

impl Environment for Variables {
    fn var(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn file(&self, _path: &str) -> Result<Option<String>, String> {
        Ok(None)
    }
}

/// The configuration of these texts, named by their first halves.
///
/// # Errors
/// What is wrong with it, a line each.
pub fn parsed(texts: &[(&str, String)], variables: &Variables) -> Result<Configuration, String> {
    let sources: Vec<Source> = texts
        .iter()
        .map(|(name, text)| Source {
            name: (*name).to_owned(),
            text: text.clone(),
        })
        .collect();
    let loaded = load(&sources, variables);
    let said: Vec<String> = loaded
        .findings
        .iter()
        .map(|finding| format!("{}:{}: {}", finding.file, finding.line, finding.message))
        .collect();
    loaded.configuration.ok_or_else(|| said.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places<'static> {
        Places {
            tls: Path::new("/run/bench/tls"),
            spool: Path::new("/run/bench/spool"),
            port: 8443,
            admin_port: 9464,
            upstream: "http://127.0.0.1:3000/sealed",
            issuer: "http://127.0.0.1:3001",
            postgresql: false,
        }
    }

    #[test]
    fn both_configurations_are_good() {
        for work in [Work::Pass, Work::Everything] {
            let text = yaml(work, &places());
            let parsed = parsed(&[("bench.yaml", text)], &Variables::default());
            assert_eq!(parsed.err(), None);
        }
    }
}
