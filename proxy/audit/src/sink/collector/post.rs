//! What is sent to a collector, and what it may say. Who sends has the credential and the connection ([`Post`]).

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use crate::sink::SinkError;

/// The longest answer that is read, in bytes: a few numbers, whatever else it says.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// From connecting until the answer is there whole: a slow collector is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(40);

/// One `POST`.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The path behind the collector's base, with a query where there is one.
    pub path: String,
    /// Beside the credential; names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: Bytes,
    /// Bytes of the longest answer.
    pub answer_bytes_max: usize,
    /// Until it is answered whole.
    pub deadline: Duration,
}

impl Ask {
    pub(super) fn new(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self {
            path: path.into(),
            headers: Vec::new(),
            body: body.into(),
            answer_bytes_max: ANSWER_BYTES_MAX,
            deadline: ANSWER_MAX,
        }
    }
}

/// What the collector said, whatever its status.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header `retry-after`, as it stands.
    pub retry_after: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// Sends: with the credential it has, over TLS whose files it reads anew, and gives back any answer that comes whole.
pub trait Post: Send + Sync {
    /// One exchange, within the question's bounds.
    ///
    /// # Errors
    /// No answer was had.
    fn post(&self, ask: Ask) -> impl Future<Output = Result<Answer, SinkError>> + Send;
}

impl<P: Post> Post for std::sync::Arc<P> {
    fn post(&self, ask: Ask) -> impl Future<Output = Result<Answer, SinkError>> + Send {
        self.as_ref().post(ask)
    }
}
