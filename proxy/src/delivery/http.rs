//! The connection of an audit output to a collector that HTTP reaches: one a request, over TLS whose files are read anew each time, so that renewed certificates need no restart.

use std::sync::Arc;

use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Method, Request};
use rustls::{ClientConfig, RootCertStore};
use safeguard_audit::sink::collector::{Answer, Ask, Collector, CollectorSettings, Post, Protocol};
use safeguard_audit::sink::{Material, SinkError, client_config};
use safeguard_audit::{EventFormat, sink::collector::HecSettings};
use safeguard_policy::{Siem, SiemHec, SiemHttp};
use zeroize::Zeroizing;

use crate::authn::FetchError;
use crate::authn::fetch::Fetcher;

/// What the sidecar calls itself.
const AGENT: &str = concat!("safeguard/", env!("CARGO_PKG_VERSION"));

/// A collector's place, and by which credential it takes events.
pub(crate) struct HttpPost {
    base: String,
    authorization: Option<Zeroizing<String>>,
    material: Material,
}

impl std::fmt::Debug for HttpPost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpPost")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

/// The sink of an output that speaks OTLP, or with `hec` that of an event collector.
///
/// # Errors
/// A file that can't be used; the text says which and how to mend it.
pub(super) fn collector(
    output: &Siem,
    http: &SiemHttp,
    hec: Option<&SiemHec>,
    material: Material,
) -> Result<Collector<HttpPost>, String> {
    let scheme = hec.map_or("Bearer", |_| "Splunk");
    let authorization = http.token.as_ref().map(|token| {
        let mut text = Zeroizing::new(String::with_capacity(scheme.len() + 1 + token.len()));
        text.push_str(scheme);
        text.push(' ');
        text.push_str(token.expose());
        text
    });
    let post = HttpPost {
        base: http.base.clone(),
        authorization,
        material,
    };
    post.config()
        .map_err(|why| format!("audit_logging.output[siem]: {why}"))?;
    let protocol = hec.map_or(Protocol::Otlp, |hec| {
        Protocol::Hec(HecSettings {
            source: hec.source.clone(),
            sourcetype: hec.sourcetype.clone(),
            index: hec.index.clone(),
            acknowledge: hec.acknowledge,
        })
    });
    let settings = CollectorSettings {
        protocol,
        format: EventFormat::parse(&output.format).unwrap_or_default(),
        message_bytes_max: output.message_bytes_max,
        request_bytes_max: http.request_bytes_max,
    };
    Ok(Collector::new(post, settings))
}

impl HttpPost {
    fn config(&self) -> Result<ClientConfig, String> {
        config_of(&self.base, &self.material)
    }

    fn request(&self, ask: &Ask) -> Option<Request<Vec<u8>>> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{}", self.base, ask.path))
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            let mut value = HeaderValue::from_str(authorization).ok()?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        request.body(Vec::from(ask.body.clone())).ok()
    }
}

/// TLS as the files are now. In clear, which is for development on loopback, none of them is asked for.
fn config_of(base: &str, material: &Material) -> Result<ClientConfig, String> {
    if base.starts_with("http://") {
        return Ok(ClientConfig::builder()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth());
    }
    let material = material()?;
    client_config(&material.ca_pem, material.client_pem.as_ref()).map_err(|error| error.to_string())
}

impl Post for HttpPost {
    async fn post(&self, ask: Ask) -> Result<Answer, SinkError> {
        let (base, material) = (self.base.clone(), Arc::clone(&self.material));
        let reading = tokio::task::spawn_blocking(move || config_of(&base, &material));
        let config = reading.await.map_err(|error| unusable(error.to_string()))?;
        let fetcher = Fetcher::of(config.map_err(unusable)?);
        let request = self.request(&ask);
        let request = request.ok_or_else(|| unusable("the request can't be written".to_owned()))?;
        let answer = fetcher.fetch_within(request, ask.deadline, ask.answer_bytes_max);
        let (parts, body) = answer.await.map_err(unreachable)?.into_parts();
        let retry_after = parts.headers.get(RETRY_AFTER);
        Ok(Answer {
            status: parts.status.as_u16(),
            retry_after: retry_after
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned),
            body,
        })
    }
}

fn unusable(what: String) -> SinkError {
    SinkError {
        code: "unusable".to_owned(),
        what: format!("the siem collector: {what}"),
    }
}

fn unreachable(error: FetchError) -> SinkError {
    let what = match error {
        FetchError::Url => "its URL is not https, or http to another host",
        FetchError::Connect => "there is no connection to it",
        FetchError::Tls => {
            "the TLS handshake with it failed: look at audit_logging.output.ca_file and the collector's certificate"
        }
        FetchError::TooLarge => "its answer is too long",
        FetchError::Deadline => "it did not answer in time",
        _ => {
            "it broke off before its answer was whole: look at its log for why, perhaps our client certificate, or a request longer than it takes"
        }
    };
    SinkError {
        code: "unreachable".to_owned(),
        what: format!("the siem collector: {what}"),
    }
}
