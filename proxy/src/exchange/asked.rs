//! What a message asks for, and what is known of a call while its answer is awaited.

use std::sync::Arc;

use safeguard_policy::decide::Permit;
use safeguard_policy::policy::Operation;
use safeguard_wire::json::Value;
use safeguard_wire::jsonrpc::Message;

use crate::exchange::Caller;
use crate::refuse::Refusal;
use crate::rewrite::answer::Method;
use crate::rewrite::lists::List;
use crate::rewrite::rounds::Round;
use crate::rewrite::{HeldKey, Holder, Touched};

/// What a client may ask for where a rule permits it.
const CLIENT_METHODS: [&str; 9] = [
    "completion/complete",
    "logging/setLevel",
    "resources/subscribe",
    "resources/unsubscribe",
    "tasks/get",
    "tasks/result",
    "tasks/list",
    "tasks/cancel",
    "tasks/update",
];

/// What a client's message asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// `initialize`: its answer may bring an MCP session.
    Initialize,
    /// `ping`.
    Ping,
    /// A list, whose answer is filtered.
    List(List),
    /// A tool, resource or prompt, by its name or URI.
    Call(Method, String),
    /// `server/discover`: which revisions are spoken, and what the server offers.
    Discover,
    /// `subscriptions/listen`: a stream of notifications of changes.
    Listen,
    /// Another method that a rule may permit.
    Method(&'static str),
    /// Another method, which no rule permits.
    Other(String),
    /// A notification that may pass.
    Notification,
    /// A notification that may not.
    ForeignNotification(String),
    /// The answer to a request of the server's, by its id.
    Response(String),
}

impl Asked {
    /// Reads a message.
    ///
    /// # Errors
    /// When a call does not say what it calls.
    pub fn of(message: &Message<'_>) -> Result<Self, Refusal> {
        match message {
            Message::Request { method, params, .. } => Self::request(method, *params),
            Message::Notification { method, .. } => Ok(match method.as_ref() {
                "notifications/initialized"
                | "notifications/cancelled"
                | "notifications/roots/list_changed" => Self::Notification,
                other => Self::ForeignNotification(other.to_owned()),
            }),
            Message::Response { id, .. } => Ok(Self::Response(id.key())),
        }
    }

    fn request(method: &str, params: Option<Value<'_>>) -> Result<Self, Refusal> {
        if let Some(list) = List::of_method(method) {
            return Ok(Self::List(list));
        }
        Ok(match method {
            "initialize" => Self::Initialize,
            "ping" => Self::Ping,
            "tools/call" => Self::Call(Method::Tool, named(params, "name")?),
            "resources/read" => Self::Call(Method::Resource, named(params, "uri")?),
            "prompts/get" => Self::Call(Method::Prompt, named(params, "name")?),
            "server/discover" => Self::Discover,
            "subscriptions/listen" => Self::Listen,
            other => match CLIENT_METHODS.into_iter().find(|known| *known == other) {
                Some(known) => Self::Method(known),
                None => Self::Other(other.to_owned()),
            },
        })
    }
}

pub(super) fn named(params: Option<Value<'_>>, member: &'static str) -> Result<String, Refusal> {
    let missing = Refusal::InvalidRequest("params lack the name or uri of what is called");
    let value = params
        .ok_or_else(|| missing.clone())?
        .get(member)
        .map_err(|_| missing.clone())?;
    value
        .and_then(Value::string)
        .map(|name| name.into_owned())
        .ok_or(missing)
}

/// The path of member names to a method's arguments, inside the message.
pub(super) fn arguments_of(method: Method) -> &'static [&'static str] {
    match method {
        Method::Tool | Method::Prompt => &["params", "arguments"],
        Method::Resource | Method::Completion(_) | Method::Other(_) => &["params"],
    }
}

/// The MCP method's name.
pub(crate) fn method_name(method: Method) -> &'static str {
    match method {
        Method::Tool => "tools/call",
        Method::Resource => "resources/read",
        Method::Prompt => "prompts/get",
        Method::Completion(_) => "completion/complete",
        Method::Other(name) => name,
    }
}

/// What is known of a request while its answer is awaited; on a resumed stream, all that is left of it.
#[derive(Debug, Clone)]
pub enum Known {
    /// A permitted call.
    Call(Arc<Call>),
    /// A list.
    List(List, Arc<Caller>),
    /// Whatever carries no PHI: lifecycle and ping.
    Plain,
    /// `initialize`, whose error may tell which revisions the upstream speaks.
    Initialize(Arc<Caller>),
    /// `server/discover`.
    Discover(Arc<Caller>),
    /// `subscriptions/listen`.
    Listen(Arc<Listening>),
    /// A request of the server's that was released to the client.
    ServerRequest,
    /// Nothing goes up: the sidecar itself has answered with this message.
    Answered(bytes::Bytes),
}

impl Known {
    /// What is known of a request whose answer went out already, should the client ask to have it again.
    pub fn again(&self) -> Self {
        match self {
            Self::Call(call) => Self::Call(Arc::new(call.again())),
            other => other.clone(),
        }
    }
}

/// A stream of notifications that was permitted.
#[derive(Debug)]
pub struct Listening {
    /// Who listens.
    pub caller: Arc<Caller>,
    /// The resources whose changes may be told: those that were asked for, each permitted.
    pub uris: Vec<String>,
}

/// A permitted call whose answer is awaited.
#[derive(Debug)]
pub struct Call {
    /// What was called.
    pub method: Method,
    /// The tool's or prompt's name, or the resource rule's template.
    pub tool: String,
    /// The same as events have it: a client's words only where the policy or the server's own list has them, else the
    /// pattern that they fit.
    pub told: String,
    /// What the policy permitted.
    pub permit: Permit,
    /// The patient that the arguments or the URI name.
    pub patient: Option<String>,
    /// Who receives what is exported.
    pub recipient: Option<String>,
    /// The URI that was asked for, of `resources/read`.
    pub uri: Option<String>,
    /// Who asked.
    pub caller: Arc<Caller>,
    /// What the request's rewriting touched.
    pub touched: Touched,
    /// The JSON-RPC id, as the client wrote it.
    pub request_id: String,
    /// What the server's state between the rounds of this call is bound to.
    pub round: Round,
    /// The hash of the configuration that it was judged by: what came of one is not shown by another.
    pub judged_by: [u8; 32],
}

impl Call {
    /// The same call, for an answer that comes again: it is read once more, and nothing is sent or changed.
    fn again(&self) -> Self {
        let mut permit = self.permit.clone();
        if permit.operation.writes() {
            permit.operation = Operation::Read;
        }
        Self {
            method: self.method,
            tool: self.tool.clone(),
            told: self.told.clone(),
            permit,
            patient: self.patient.clone(),
            recipient: self.recipient.clone(),
            uri: self.uri.clone(),
            caller: Arc::clone(&self.caller),
            touched: Touched::default(),
            request_id: self.request_id.clone(),
            round: self.round,
            judged_by: self.judged_by,
        }
    }

    /// Whose call it is, for what is bound to a patient or a login session; `key` is what is known of the patient's.
    pub fn holder<'a>(&'a self, key: HeldKey<'a>) -> Holder<'a> {
        Holder {
            patient: self.patient.as_deref(),
            session: Some(self.caller.session.hashed_id().as_bytes()),
            round: Some(self.round),
            key,
        }
    }

    /// Whether the call is about PHI, so that it has an intent and an outcome.
    pub fn concerns_phi(&self) -> bool {
        self.permit.operation != Operation::None
    }
}
