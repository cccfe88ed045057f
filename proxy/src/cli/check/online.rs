//! `check --online`: opens what the configuration names, and says at which value what was found.
//!
//! Files are read as `run` reads them; servers are reached as `run` reaches them, and nothing is asked of them but whether
//! they are there. Ports are not bound: the sidecar may be running on them.

use std::path::Path;
use std::time::Duration;

use safeguard_audit::sink::postgres::read::{self, ReadError};
use safeguard_audit::sink::s3::bucket;
use safeguard_certs::ServerTls;
use safeguard_policy::{
    Configuration, Output, Postgresql, Remark, Severity, Siem, SiemProtocol, UpstreamPlace, codes,
};
use tokio::time::timeout;

use crate::authn::Authenticator;
use crate::aws::s3::S3Store;
use crate::cli::CliError;
use crate::cli::config::runtime;
use crate::delivery::SiemSink;
use crate::keysource::{Resolver, SourceError};
use crate::tools_lock::ToolsLock;
use crate::{clock, delivery, run, settings};

/// Until an identity provider has answered with its document and its keys.
const PROVIDER_DEADLINE: Duration = Duration::from_secs(15);
/// What is warned of when a certificate or a list ends within it, in seconds.
const ENDS_SOON: i64 = 7 * 24 * 60 * 60;
const OUTPUT: &str = "audit_logging.output[postgresql]";
const OUTPUT_S3: &str = "audit_logging.output[s3]";

/// Everything found out.
pub(super) fn look(configuration: &mut Configuration) -> Result<Vec<Remark>, CliError> {
    let runtime = runtime()?;
    let mut found = Found(Vec::new());
    found.tls(configuration);
    runtime.block_on(found.key_sources(configuration));
    let configuration = &*configuration;
    found.keys(configuration);
    for (path, directory) in [
        (
            "audit_logging.spool.directory",
            &configuration.audit.spool.directory,
        ),
        ("state.directory", &configuration.state.directory),
    ] {
        found.directory(path, directory);
    }
    if let Some(enrolment) = &configuration.authentication.mfa.enrolment {
        let path = "authentication.mfa.enrolment.directory";
        found.directory(path, &enrolment.directory);
    }
    runtime.block_on(async {
        found.upstream(configuration).await;
        found.provider(configuration).await;
        for output in &configuration.audit.outputs {
            match output {
                Output::Postgresql(output) => found.postgresql(output).await,
                Output::Siem(output) => found.siem(output).await,
                Output::S3(output) => found.s3(output).await,
            }
        }
    });
    Ok(found.0)
}

struct Found(Vec<Remark>);

impl Found {
    fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        path: &str,
        message: String,
        fix: &str,
    ) {
        self.0.push(Remark {
            severity,
            code,
            path: path.to_owned(),
            message,
            fix: (!fix.is_empty()).then(|| fix.to_owned()),
        });
    }

    fn unusable(&mut self, path: &str, message: impl std::fmt::Display) {
        self.add(
            Severity::Error,
            codes::UNUSABLE_FILE,
            path,
            message.to_string(),
            "",
        );
    }

    fn unreachable(&mut self, path: &str, message: String, fix: &str) {
        self.add(Severity::Error, codes::UNREACHABLE, path, message, fix);
    }

    /// Certificate, key, authorities and revocation lists: readable, fitting each other, in time.
    fn tls(&mut self, configuration: &Configuration) {
        let tls_settings = settings::tls(configuration);
        if let Err(error) = safeguard_certs::install_provider(&tls_settings.suites) {
            return self.unusable("tls.cipher_suites", error);
        }
        let tls = match ServerTls::load(tls_settings) {
            Ok(tls) => tls,
            Err(error) => {
                let words = error.to_string();
                let setting = words.split(':').next().unwrap_or_default();
                let path = if setting.starts_with("tls.") {
                    setting
                } else {
                    "tls"
                };
                return self.unusable(path, &words);
            }
        };
        for warning in tls.warnings().iter() {
            self.add(
                Severity::Warning,
                codes::UNUSABLE_FILE,
                "tls",
                warning.clone(),
                "",
            );
        }
        self.ends(&tls, clock::now_unix());
    }

    fn ends(&mut self, tls: &ServerTls, now: i64) {
        let expiries = tls.expiries();
        let ends = [
            ("tls.cert_file", Some(expiries.server)),
            ("tls.ca_file", expiries.ca),
            ("tls.crl_file", expiries.crl),
        ];
        for (path, end) in ends {
            let Some(left) = end.map(|end| end.saturating_sub(now)) else {
                continue;
            };
            if left <= 0 {
                self.unusable(path, "it has run out: renew it");
            } else if left < ENDS_SOON {
                let hours = left / 3600;
                let message = format!("it runs out in {hours} h: renew it");
                self.add(Severity::Warning, codes::UNUSABLE_FILE, path, message, "");
            }
        }
    }

    /// Each key that comes from elsewhere is asked for once.
    async fn key_sources(&mut self, configuration: &mut Configuration) {
        let sources = &configuration.key_sources;
        let missing = Resolver::default()
            .each(&mut configuration.keys, sources)
            .await;
        for why in missing {
            let path = format!("keys.{}[{}].source", why.ring, why.number);
            let code = match why.error {
                SourceError::Refused | SourceError::NotAKey => codes::BAD_KEY,
                SourceError::Settings(_) => codes::UNUSABLE_FILE,
                _ => codes::UNREACHABLE,
            };
            let message = format!(
                "the key can't be had from {}: {}",
                why.kind.word(),
                why.error
            );
            self.add(Severity::Error, code, &path, message, "");
        }
    }

    /// Keys in files were opened when the configuration was read; here they must serve.
    fn keys(&mut self, configuration: &Configuration) {
        if configuration.keys.audit.iter().any(|key| key.key.is_none()) {
            // Said already: its source does not give it.
            return;
        }
        if let Err(error) = run::audit_keys(configuration) {
            self.unusable("keys.audit", error);
        }
    }

    /// A directory of ours: there and a directory, or to be made in one that is there.
    fn directory(&mut self, path: &str, directory: &Path) {
        let known = directory.ancestors().find(|place| place.exists());
        match known {
            Some(place) if !place.is_dir() => {
                self.unusable(path, format!("{} is no directory", place.display()));
            }
            Some(place) => {
                let is_closed = std::fs::metadata(place)
                    .is_ok_and(|metadata| metadata.permissions().readonly());
                if is_closed {
                    self.unusable(path, format!("{} can't be written", place.display()));
                }
            }
            // A relative path: the working directory.
            None => {}
        }
    }

    async fn upstream(&mut self, configuration: &Configuration) {
        let upstream = &configuration.upstream;
        if let Some(path) = &upstream.tools_lock
            && let Err(error) = ToolsLock::read(path)
        {
            self.unusable("upstream.tools_lock", error);
        }
        let settings = match settings::upstream(configuration) {
            Ok(settings) => settings,
            Err(error) => return self.unusable("upstream.tls", error),
        };
        let why = match timeout(upstream.connect_timeout, settings.place.reach()).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        let place = match &upstream.place {
            UpstreamPlace::Http { host, port } | UpstreamPlace::Https { host, port, .. } => {
                format!("{host}:{port}")
            }
            UpstreamPlace::Unix(path) => path.display().to_string(),
        };
        self.unreachable(
            "upstream.url",
            format!("no connection to the MCP server at {place}: {why}"),
            "start it, or correct the URL",
        );
    }

    async fn provider(&mut self, configuration: &Configuration) {
        let authn = match settings::authn(configuration) {
            Ok(authn) => authn,
            Err(error) => return self.unusable("authentication", error),
        };
        let authenticator = match Authenticator::new(authn) {
            Ok(authenticator) => authenticator,
            Err(error) => return self.unusable("keycloak.ca_file", error),
        };
        if let Some(keycloak) = &configuration.keycloak {
            self.issuer(
                &authenticator,
                &keycloak.issuer(),
                "keycloak.server_url",
                "correct server_url, realm or ca_file, or start Keycloak: until then its tokens are refused",
            )
            .await;
        }
        for further in &configuration.identity.issuers {
            self.issuer(
                &authenticator,
                &further.issuer,
                &format!("identity.issuers.{}.issuer", further.name),
                "correct issuer or ca_file, or start the provider: until then its tokens are refused",
            )
            .await;
        }
    }

    async fn issuer(&mut self, asks: &Authenticator, issuer: &str, path: &str, fix: &str) {
        let why = match timeout(PROVIDER_DEADLINE, asks.ask_provider(issuer)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it did not answer in time".to_owned(),
        };
        self.unreachable(
            path,
            format!("the discovery document and keys of {issuer} can't be had: {why}"),
            fix,
        );
    }

    async fn siem(&mut self, output: &Siem) {
        let sink = match SiemSink::of(output) {
            Ok(sink) => sink,
            Err(error) => return self.unusable(OUTPUT, error),
        };
        if let Err(error) = sink.reach().await {
            self.unreachable(
                OUTPUT,
                format!("{}: {error}", place_of(&output.protocol)),
                "until it can be reached, events stay in the spool",
            );
        }
    }

    /// The bucket: with Object Lock where it is required, with versions and a lifecycle.
    async fn s3(&mut self, output: &safeguard_policy::S3) {
        let store = match S3Store::new(output) {
            Ok(store) => store,
            Err(why) => return self.unusable(OUTPUT_S3, why),
        };
        match bucket::look(&store, &delivery::s3(output)).await {
            Ok(remarks) => {
                for words in remarks {
                    let code = codes::UNLOCKED;
                    self.add(Severity::Warning, code, OUTPUT_S3, words, "");
                }
            }
            Err(error) if error.code == bucket::NO_OBJECT_LOCK => {
                self.add(Severity::Error, codes::UNLOCKED, OUTPUT_S3, error.what, "");
            }
            Err(error) => self.unreachable(
                OUTPUT_S3,
                format!("the bucket {}: {error}", output.bucket),
                "until it can be reached, events stay in the spool",
            ),
        }
    }

    async fn postgresql(&mut self, output: &Postgresql) {
        if output.user.is_empty() {
            // Said already: it has no credential.
            return;
        }
        let destination = match delivery::postgres(output) {
            Ok(destination) => destination,
            Err(why) => return self.unusable(OUTPUT, why),
        };
        match read::reach(&destination).await {
            Ok(()) => {}
            Err(ReadError::Settings(error)) => self.unusable(OUTPUT, error),
            Err(error) => self.unreachable(
                OUTPUT,
                format!("{}:{}: {error}", output.host, output.port),
                "until it can be reached, events stay in the spool",
            ),
        }
    }
}

/// Where a collector is, as it is written.
fn place_of(protocol: &SiemProtocol) -> String {
    match protocol {
        SiemProtocol::Syslog { host, port } => format!("{host}:{port}"),
        SiemProtocol::Otlp(http) | SiemProtocol::Hec(http, _) => http.base.clone(),
    }
}
