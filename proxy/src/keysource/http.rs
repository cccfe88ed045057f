//! HTTP to a source: the client of `authn::fetch`, with answers that are wiped.

use std::path::Path;

use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use zeroize::Zeroizing;

use super::SourceError;
use crate::authn::fetch::Fetcher;
use crate::authn::{FetchError, SettingsError};

/// What the sidecar calls itself.
const AGENT: &str = concat!("safeguard/", env!("CARGO_PKG_VERSION"));
pub(crate) const JSON: &str = "application/json";

/// The client of one source.
pub(crate) struct Http(Fetcher);

/// A question.
pub(crate) struct Ask<'a> {
    pub method: Method,
    pub url: String,
    pub headers: Vec<(HeaderName, Zeroizing<String>)>,
    pub media: &'a str,
    pub body: Zeroizing<Vec<u8>>,
}

impl<'a> Ask<'a> {
    pub(crate) fn get(url: String) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: Vec::new(),
            media: JSON,
            body: Zeroizing::default(),
        }
    }

    /// A question with a JSON body.
    pub(crate) fn post(url: String, body: &impl serde::Serialize) -> Result<Self, SourceError> {
        let mut text = Zeroizing::new(Vec::with_capacity(BODY_BYTES));
        serde_json::to_writer(&mut *text, body)
            .map_err(|_| SourceError::Answer("the question can't be written"))?;
        Ok(Self {
            method: Method::POST,
            body: text,
            ..Self::get(url)
        })
    }

    pub(crate) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, Zeroizing::new(value.into())));
        self
    }
}

/// Room for a question, so that its text does not move while it grows.
const BODY_BYTES: usize = 64 * 1024;

/// An answer, wiped when dropped.
pub(crate) struct Answer {
    pub status: StatusCode,
    pub body: Zeroizing<Vec<u8>>,
}

impl Http {
    pub(crate) fn new(ca_file: Option<&Path>) -> Result<Self, SourceError> {
        let fetcher = Fetcher::new(ca_file).map_err(|error| {
            SourceError::Settings(match error {
                SettingsError::CaFile(words) => format!("ca_file {words}"),
                SettingsError::NoRoots => {
                    "the system has no usable root certificates: name a ca_file".to_owned()
                }
                _ => "the TLS client can't be made".to_owned(),
            })
        })?;
        Ok(Self(fetcher))
    }

    pub(crate) async fn ask(&self, ask: Ask<'_>) -> Result<Answer, SourceError> {
        let mut request = Request::builder()
            .method(ask.method)
            .uri(&ask.url)
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, JSON);
        if !ask.body.is_empty() {
            request = request.header(CONTENT_TYPE, ask.media);
        }
        for (name, value) in &ask.headers {
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| SourceError::Credential("a credential can't stand in a header"))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let request = request
            .body(ask.body.to_vec())
            .map_err(|_| SourceError::Settings("its URL is none".to_owned()))?;
        let answer = self.0.fetch(request).await.map_err(unavailable)?;
        let (parts, body) = answer.into_parts();
        Ok(Answer {
            status: parts.status,
            body: Zeroizing::new(body),
        })
    }
}

fn unavailable(error: FetchError) -> SourceError {
    match error {
        FetchError::Url => SourceError::Settings("its URL is not https".to_owned()),
        FetchError::Connect => SourceError::Unavailable("there is no connection to it"),
        FetchError::Tls => SourceError::Unavailable("the TLS handshake with it failed"),
        FetchError::TooLarge => SourceError::Answer("it is too long"),
        FetchError::Deadline => SourceError::Unavailable("it did not answer in time"),
        _ => SourceError::Unavailable("its answer broke off"),
    }
}

impl Answer {
    /// The body of an answer that says that all is well; what any other says of itself is not repeated.
    pub(crate) fn well(self) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        match self.status.as_u16() {
            200..=299 => Ok(self.body),
            401 | 403 => Err(SourceError::Denied),
            404 => Err(SourceError::Missing),
            400 | 422 => Err(SourceError::Refused),
            408 | 429 | 500..=599 => {
                Err(SourceError::Unavailable("it says that it can't answer now"))
            }
            _ => Err(SourceError::Answer("its status")),
        }
    }
}

/// Reads JSON without copying its texts out of the wiped buffer.
pub(crate) fn read<'b, T: serde::Deserialize<'b>>(body: &'b [u8]) -> Result<T, SourceError> {
    serde_json::from_slice(body).map_err(|_| SourceError::Answer("it is not the expected document"))
}

/// A text as a segment or a value of a URL: all but unreserved characters percent-encoded (RFC 3986 §2.3).
pub(crate) fn encoded(text: &str) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    let mut encoded = String::with_capacity(text.len());
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    encoded
}

/// The same for a path of several segments.
pub(crate) fn encoded_path(path: &str) -> String {
    path.split('/').map(encoded).collect::<Vec<_>>().join("/")
}
