//! The store of the audit output `s3`: asks S3, or what speaks like it, signed and over verified TLS.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, USER_AGENT};
use http::{HeaderName, HeaderValue, Request};
use safeguard_audit::sink::SinkError;
use safeguard_audit::sink::s3::{Answer, Ask, Store};

use super::sigv4::{self, Credentials, Scope, Signed, authorization, time};
use super::{Identity, IdentitySettings};
use crate::authn::fetch::Fetcher;
use crate::authn::{FetchError, SettingsError};
use crate::clock;
use crate::keysource::http::{encoded, encoded_path};

/// What the sidecar calls itself.
const AGENT: &str = concat!("safeguard/", env!("CARGO_PKG_VERSION"));

/// One bucket, and who asks for it.
pub(crate) struct S3Store {
    /// Scheme and authority.
    base: String,
    /// What is before every object's path: nothing, or the bucket where it is no part of the host.
    root: String,
    region: String,
    identity: Identity,
    ca_file: Option<PathBuf>,
    /// Set up at the first question and again after a handshake failed, so that a new CA file is read.
    fetcher: Mutex<Option<Arc<Fetcher>>>,
}

impl std::fmt::Debug for S3Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Store")
            .field("base", &self.base)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

impl S3Store {
    /// The store of an output; nothing is asked yet.
    ///
    /// # Errors
    /// A CA file that can't be used.
    pub(crate) fn new(output: &safeguard_policy::S3) -> Result<Self, String> {
        let (base, root) = place(output);
        let identity = Identity::new(IdentitySettings {
            credentials: Arc::clone(&output.credentials),
            sts_endpoint: output.sts_endpoint.clone(),
            ca_file: output.ca_file.clone(),
        });
        let store = Self {
            base,
            root,
            region: output.region.clone(),
            identity: identity.map_err(|error| format!("audit_logging.output[s3]: {error}"))?,
            ca_file: output.ca_file.clone(),
            fetcher: Mutex::new(None),
        };
        store.fetcher()?;
        Ok(store)
    }

    fn fetcher(&self) -> Result<Arc<Fetcher>, String> {
        let mut kept = self.fetcher.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fetcher) = &*kept {
            return Ok(Arc::clone(fetcher));
        }
        let fetcher = Fetcher::new(self.ca_file.as_deref()).map_err(|error| match error {
            SettingsError::CaFile(words) => format!("audit_logging.output.ca_file {words}"),
            _ => "audit_logging.output.ca_file: the system has no usable root certificates: name a file".to_owned(),
        })?;
        Ok(Arc::clone(kept.insert(Arc::new(fetcher))))
    }

    fn forget_fetcher(&self) {
        *self.fetcher.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The path and the query of a question, encoded as they are signed.
    fn target(&self, ask: &Ask) -> (String, String) {
        let path = match &ask.name {
            Some(name) => format!("{}/{}", self.root, encoded_path(name)),
            None if self.root.is_empty() => "/".to_owned(),
            None => format!("{}/", self.root),
        };
        let mut pairs: Vec<String> = ask
            .query
            .iter()
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
            .collect();
        pairs.sort();
        (path, pairs.join("&"))
    }

    fn request(&self, ask: &Ask, credentials: &Credentials) -> Option<Request<Vec<u8>>> {
        let (path, query) = self.target(ask);
        let now = time(clock::now_micros());
        let digest = sigv4::digest(&ask.body);
        let host = self.base.split_once("://")?.1;
        let mut headers: Vec<(&str, &str)> = vec![
            ("host", host),
            ("x-amz-content-sha256", &digest),
            ("x-amz-date", &now),
        ];
        if let Some(token) = &credentials.session_token {
            headers.push(("x-amz-security-token", token));
        }
        headers.extend(
            ask.headers
                .iter()
                .map(|(name, value)| (*name, value.as_str())),
        );
        headers.sort_unstable();
        let scope = Scope {
            region: &self.region,
            service: "s3",
            time: &now,
        };
        let signed = Signed {
            method: ask.method,
            path: &path,
            query: &query,
            headers: &headers,
            body_digest: &digest,
        };
        let signature = authorization(&signed, credentials, &scope);
        let mark = if query.is_empty() { "" } else { "?" };
        let mut request = Request::builder()
            .method(ask.method)
            .uri(format!("{}{path}{mark}{query}", self.base))
            .header(USER_AGENT, AGENT);
        for (name, value) in headers.iter().filter(|(name, _)| *name != HOST.as_str()) {
            let mut value = HeaderValue::from_str(value).ok()?;
            value.set_sensitive(true);
            request = request.header(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
        }
        let mut signature = HeaderValue::from_str(&signature).ok()?;
        signature.set_sensitive(true);
        request
            .header(AUTHORIZATION, signature)
            .body(Vec::from(ask.body.clone()))
            .ok()
    }
}

impl Store for S3Store {
    async fn ask(&self, mut ask: Ask) -> Result<Answer, SinkError> {
        let credentials = self
            .identity
            .credentials()
            .await
            .map_err(|error| SinkError {
                code: error.code().replace("key_source", "credentials"),
                what: format!("the store's credentials: {error}"),
            })?;
        let (deadline, bytes_max) = (ask.deadline, ask.answer_bytes_max);
        let request = self.request(&ask, &credentials);
        // The request has a copy of its own.
        ask.body = Bytes::new();
        let request = request.ok_or_else(|| failed("the question can't be written"))?;
        let fetcher = self.fetcher().map_err(|what| SinkError {
            code: "unusable".to_owned(),
            what,
        })?;
        let answer = fetcher.fetch_within(request, deadline, bytes_max).await;
        let answer = answer.map_err(|error| {
            if error == FetchError::Tls {
                self.forget_fetcher();
            }
            unreachable(error)
        })?;
        let (parts, body) = answer.into_parts();
        if parts.status.as_u16() == 403 {
            self.identity.forget().await;
        }
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts
                .headers
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), text(value)))
                .collect(),
            body,
        })
    }
}

/// Where a bucket is: its own host at Amazon's, unless a dot in its name would not fit the certificate; elsewhere in the path.
fn place(output: &safeguard_policy::S3) -> (String, String) {
    let region = &output.region;
    let domain = match region.starts_with("cn-") {
        true => "amazonaws.com.cn",
        false => "amazonaws.com",
    };
    let in_path = |base: String| (base, format!("/{}", output.bucket));
    match &output.endpoint {
        Some(endpoint) => match endpoint
            .split_once("://")
            .and_then(|(_, rest)| rest.split_once('/'))
        {
            Some((authority, path)) => {
                let scheme = endpoint.split("://").next().unwrap_or_default();
                (
                    format!("{scheme}://{authority}"),
                    format!("/{path}/{}", output.bucket),
                )
            }
            None => in_path(endpoint.clone()),
        },
        None if output.bucket.contains('.') => in_path(format!("https://s3.{region}.{domain}")),
        None => (
            format!("https://{}.s3.{region}.{domain}", output.bucket),
            String::new(),
        ),
    }
}

fn failed(what: &str) -> SinkError {
    SinkError {
        code: "unreachable".to_owned(),
        what: format!("the store: {what}"),
    }
}

fn unreachable(error: FetchError) -> SinkError {
    failed(match error {
        FetchError::Url => "its URL is not https",
        FetchError::Connect => "there is no connection to it",
        FetchError::Tls => {
            "the TLS handshake with it failed: look at audit_logging.output.ca_file and the store's certificate"
        }
        FetchError::TooLarge => "its answer is too long",
        FetchError::Deadline => "it did not answer in time",
        _ => "its answer broke off",
    })
}
