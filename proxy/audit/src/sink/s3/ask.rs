//! What is asked of the store, and what its answers mean. Who asks has the credentials and the connection ([`Store`]).

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use super::xml;
use crate::sink::SinkError;

/// The longest error code that is repeated, in bytes.
const CODE_BYTES_MAX: usize = 64;
/// The longest answer that holds no object, in bytes: a list of 1000 versions takes some 600 KiB.
pub(super) const DOCUMENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Until a question about the bucket is answered.
pub(super) const QUESTION_MAX: Duration = Duration::from_secs(10);
/// Until an object is sent or fetched whole.
pub(super) const OBJECT_MAX: Duration = Duration::from_secs(60);

/// One question. Header names are lower-case.
#[derive(Debug, Clone)]
pub struct Ask {
    /// `GET`, `HEAD` or `PUT`.
    pub method: &'static str,
    /// The object's name; none: the bucket itself.
    pub name: Option<String>,
    /// Names and values, not encoded.
    pub query: Vec<(&'static str, String)>,
    /// Beside those that authenticate.
    pub headers: Vec<(&'static str, String)>,
    /// What is sent.
    pub body: Bytes,
    /// Bytes of the longest answer.
    pub answer_bytes_max: usize,
    /// Until it is answered whole.
    pub deadline: Duration,
}

impl Ask {
    pub(super) fn of_bucket(query: Vec<(&'static str, String)>) -> Self {
        Self {
            method: "GET",
            name: None,
            query,
            headers: Vec::new(),
            body: Bytes::new(),
            answer_bytes_max: DOCUMENT_BYTES_MAX,
            deadline: QUESTION_MAX,
        }
    }

    pub(super) fn of_object(method: &'static str, name: &str) -> Self {
        Self {
            method,
            name: Some(name.to_owned()),
            deadline: OBJECT_MAX,
            ..Self::of_bucket(Vec::new())
        }
    }
}

/// What the store said, whatever its status.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Header names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The store's code for why it refused, or the status. Letters only: whatever else a store says stays unsaid, for it may quote a credential.
    pub(super) fn code(&self) -> String {
        let named = xml::error_code(&self.body).filter(|code| {
            (1..=CODE_BYTES_MAX).contains(&code.len())
                && code.chars().all(|c| c.is_ascii_alphanumeric())
        });
        named.unwrap_or_else(|| self.status.to_string())
    }

    pub(super) fn is_well(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The same, or why not.
    pub(super) fn well(self, doing: &str) -> Result<Self, SinkError> {
        if self.is_well() {
            Ok(self)
        } else {
            Err(self.refusal(doing))
        }
    }

    pub(super) fn refusal(&self, doing: &str) -> SinkError {
        let code = self.code();
        let fix = match code.as_str() {
            "RequestTimeTooSkewed" => ": set the clock of this machine, or the store's",
            "AccessDenied"
            | "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "403" => ": correct the credentials, or what their role may do (docs/operations.md)",
            "NoSuchBucket" => ": there is no such bucket",
            "SlowDown" | "ServiceUnavailable" | "InternalError" => {
                ": it says that it can't take more now"
            }
            _ => "",
        };
        SinkError {
            what: format!(
                "the store answered {doing} with {} {code}{fix}",
                self.status
            ),
            code,
        }
    }
}

/// Asks the store: signs with the credentials it has, sends, and gives back any answer that comes whole.
pub trait Store: Send + Sync {
    /// One exchange, within the question's bounds.
    ///
    /// # Errors
    /// No answer was had.
    fn ask(&self, ask: Ask) -> impl Future<Output = Result<Answer, SinkError>> + Send;
}

impl<S: Store> Store for std::sync::Arc<S> {
    fn ask(&self, ask: Ask) -> impl Future<Output = Result<Answer, SinkError>> + Send {
        self.as_ref().ask(ask)
    }
}
