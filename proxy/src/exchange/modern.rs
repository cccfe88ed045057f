//! What the exchange does for the modern revision alone: headers that mirror the message, discovery, subscriptions.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use safeguard_policy::action::Action;
use safeguard_policy::decide::{self, Decision, Denial};
use safeguard_wire::json::{Kind, Splice, Tree, Value};
use safeguard_wire::jsonrpc::Message;
use safeguard_wire::mirror::Annotations;

use super::asked::{Call, Listening};
use super::{Caller, Exchange};
use crate::era::{self, Claim, Era, Mirrored};
use crate::metrics::method_label;
use crate::paths::CallArguments;
use crate::refuse::Refusal;
use crate::rewrite::{LIMITS, RewriteError};
use crate::upstream::UpstreamError;

/// The member of `_meta` that names the subscription which a notification belongs to.
const SUBSCRIPTION_MEMBER: &str = "io.modelcontextprotocol/subscriptionId";
/// The method that opens a subscription.
const LISTEN: &str = "subscriptions/listen";
/// What a server may ask in place of an answer.
const QUESTIONS: [&str; 3] = ["sampling/createMessage", "elicitation/create", "roots/list"];
/// Resources of one subscription.
const SUBSCRIBED_MAX: usize = 1024;

/// What came in a request's headers and what goes up in them.
#[derive(Debug)]
pub(super) struct Headers {
    pub claim: Claim,
    /// Those that mirror the message, as they came.
    pub mirrored: Mirrored,
    /// Those that go up.
    pub up: HeaderMap,
    /// Which arguments are mirrored.
    annotations: Arc<Annotations>,
}

impl Headers {
    pub(super) fn new(claim: Claim, headers: &HeaderMap, up: HeaderMap) -> Self {
        let mirrored = match claim {
            Claim::Modern => era::mirrored(headers),
            Claim::Legacy | Claim::Unspoken(_) => Mirrored::new(),
        };
        Self {
            claim,
            mirrored,
            up,
            annotations: Arc::default(),
        }
    }
}

impl Exchange<'_> {
    /// The era of the request; of a modern one the headers are held against the message.
    pub(super) fn settle_era(
        &mut self,
        headers: &mut Headers,
        message: &Message<'_>,
    ) -> Result<(), Refusal> {
        self.era = era::of(&headers.claim, message, self.spoken())?;
        if self.era == Era::Legacy {
            return Ok(());
        }
        let known = called_tool(message).and_then(|tool| self.sidecar.shapes.mirrored(&tool));
        headers.annotations = era::check(&headers.mirrored, message, known)?;
        Ok(())
    }

    /// Makes the headers of what goes up anew. A legacy request's stay.
    pub(super) fn mirror(&self, headers: &mut Headers, body: &Bytes) -> Result<(), RewriteError> {
        if self.era == Era::Legacy {
            return Ok(());
        }
        let unmirrored = RewriteError::Vault("mirrored in a header: set `wrap: string` for it");
        let tree = Tree::parse(body, &LIMITS).map_err(|_| unmirrored.clone())?;
        let message = Message::parse(tree.root()).map_err(|_| unmirrored.clone())?;
        headers.up =
            era::up(&headers.up, &message, &headers.annotations).map_err(|_| unmirrored)?;
        Ok(())
    }

    /// `subscriptions/listen`: permitted by the method's rule, and each resource by its own.
    pub(super) fn listen(
        &mut self,
        caller: &Arc<Caller>,
        params: Option<Value<'_>>,
    ) -> Result<Listening, Refusal> {
        let name = LISTEN;
        let about = CallArguments::new(params);
        let action = Action::Method {
            name,
            params: &about,
        };
        self.permitted(caller, &action)
            .map_err(|denial| self.deny(caller, method_label(name), "", None, &denial))?;
        let filter = match params {
            Some(params) => params.get("notifications"),
            None => Ok(None),
        };
        let twice = Refusal::InvalidRequest("a member of the filter stands twice");
        let filter = filter.map_err(|_| twice.clone())?;
        let member = |name| match filter {
            Some(filter) => filter.get(name).map_err(|_| twice.clone()),
            None => Ok(None),
        };
        // Whose task an id is, this stream can't tell.
        if member("taskIds")?.is_some_and(|ids| ids.children().next().is_some()) {
            return Err(Refusal::Denied);
        }
        let mut uris = Vec::new();
        for uri in member("resourceSubscriptions")?
            .into_iter()
            .flat_map(Value::children)
        {
            let uri = uri
                .string()
                .ok_or(Refusal::InvalidRequest("a subscription is no URI"))?;
            if uris.len() >= SUBSCRIBED_MAX {
                self.sidecar.limit_reached("subscribed_resources");
                return Err(Refusal::InvalidRequest(
                    "more than 1024 resources in one subscription",
                ));
            }
            let action = Action::Subscription {
                method: name,
                uri: &uri,
                params: &about,
            };
            self.permitted(caller, &action)
                .map_err(|denial| self.deny(caller, method_label(name), "", None, &denial))?;
            uris.push(uri.into_owned());
        }
        Ok(Listening {
            caller: Arc::clone(caller),
            uris,
        })
    }

    fn permitted(&self, caller: &Caller, action: &Action<'_>) -> Result<(), Denial> {
        let principal = caller.principal();
        match decide::decide(&self.live.policy, &principal, action, caller.now_unix) {
            Decision::Permit(_) => Ok(()),
            Decision::Denial(denial) => Err(denial),
        }
    }

    /// What the server asks the client's person or model in place of an answer: each by its method's rule. What is in
    /// the questions is the call's answer, and obeys its views.
    pub(super) fn questions(&self, call: &Call, tree: &Tree<'_>) -> Result<(), Refusal> {
        let twice = |_| Refusal::from(UpstreamError::Invalid);
        let result = tree.root().get("result").map_err(twice)?;
        let asked = match result {
            Some(result) => result.get("inputRequests").map_err(twice)?,
            None => None,
        };
        for question in asked.into_iter().flat_map(Value::children) {
            let method = question
                .get("method")
                .map_err(twice)?
                .and_then(Value::string);
            let method = method.unwrap_or_default();
            let about = CallArguments::new(question.get("params").map_err(twice)?);
            let action = Action::Method {
                name: &method,
                params: &about,
            };
            let denial = match self.permitted(&call.caller, &action) {
                Ok(()) if QUESTIONS.contains(&method.as_ref()) => continue,
                Ok(()) => return Err(UpstreamError::Invalid.into()),
                Err(denial) => denial,
            };
            let id = Some(call.request_id.as_str());
            let recorder = &self.sidecar.recorder;
            recorder.denied(
                &call.caller,
                &self.live,
                method_label(&method),
                "",
                id,
                &denial,
            );
            recorder.not_released(call, &self.live, "server_request_denied");
            return Err(Refusal::Denied);
        }
        Ok(())
    }

    /// Names in the answer to `server/discover` what is carried here and could be used, and keeps it out of shared caches.
    pub(super) fn settle_discover(
        &self,
        caller: &Caller,
        tree: &Tree<'_>,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        if let Some(offered) = self.offered(caller, tree)? {
            let tree = Tree::parse(&offered, &LIMITS).map_err(|_| UpstreamError::Invalid)?;
            return Ok(self.discovered(&tree)?.or(Some(offered)));
        }
        self.discovered(tree)
    }

    fn discovered(&self, tree: &Tree<'_>) -> Result<Option<Vec<u8>>, Refusal> {
        let mut splice = Splice::new(tree);
        let result = tree.root().get("result");
        let result = result.map_err(|_| Refusal::from(UpstreamError::Invalid))?;
        if let Some(result) = result {
            era::private(result, &mut splice)
                .and_then(|()| era::own_revisions(result, self.spoken(), &mut splice))
                .map_err(|error| Refusal::from(&error))?;
        }
        Ok((!splice.is_empty()).then(|| splice.apply()))
    }
}

/// The tool that a message calls.
fn called_tool(message: &Message<'_>) -> Option<String> {
    match message {
        Message::Request {
            method,
            params: Some(params),
            ..
        } if method == "tools/call" => {
            let name = params.get("name").ok().flatten()?;
            Some(name.string()?.into_owned())
        }
        _ => None,
    }
}

/// Cuts a notification of a subscription to what it is made of. None where it may not pass: it is no kind of
/// notification that is subscribed to, or tells of a resource that was not asked for.
pub(super) fn cut<'t>(
    tree: &'t Tree<'_>,
    method: &str,
    listening: &Listening,
    id: &[u8],
) -> Option<Splice<'t>> {
    let asked = |uri: Value<'_>| {
        let uri = uri.string();
        uri.is_some_and(|uri| listening.uris.iter().any(|own| *own == uri))
    };
    let members: &[&str] = match method {
        "notifications/tools/list_changed"
        | "notifications/resources/list_changed"
        | "notifications/prompts/list_changed" => &[],
        "notifications/resources/updated" => &["uri"],
        "notifications/subscriptions/acknowledged" => &["notifications"],
        _ => return None,
    };
    let mut splice = Splice::new(tree);
    for member in tree.root().children() {
        let name = member.key().unwrap_or_default();
        if !["jsonrpc", "method", "params"].contains(&name.as_ref()) {
            splice.remove(member);
        }
        if name != "params" {
            continue;
        }
        for parameter in member.children() {
            match parameter.key().unwrap_or_default().as_ref() {
                "_meta" => keep_subscription(parameter, id, &mut splice),
                "uri" if members.contains(&"uri") => {
                    if !asked(parameter) {
                        return None;
                    }
                }
                "notifications" if members.contains(&"notifications") => {
                    acknowledged(parameter, asked, &mut splice);
                }
                _ => splice.remove(parameter),
            }
        }
    }
    Some(splice)
}

/// Leaves in `_meta` the subscription's id, if it is this one's.
fn keep_subscription<'t>(meta: Value<'t>, id: &[u8], splice: &mut Splice<'t>) {
    for member in meta.children() {
        if !(member.is_named(SUBSCRIPTION_MEMBER) && member.raw() == id) {
            splice.remove(member);
        }
    }
    if !matches!(meta.kind(), Kind::Object) {
        splice.remove(meta);
    }
}

/// Leaves in an acknowledged filter its flags and the resources that were asked for.
fn acknowledged<'t>(filter: Value<'t>, asked: impl Fn(Value<'_>) -> bool, splice: &mut Splice<'t>) {
    if filter.kind() != Kind::Object {
        splice.remove(filter);
    }
    for member in filter.children() {
        match (member.key().unwrap_or_default().as_ref(), member.kind()) {
            ("toolsListChanged" | "promptsListChanged" | "resourcesListChanged", Kind::Bool) => {}
            ("resourceSubscriptions", Kind::Array) => {
                for uri in member.children().filter(|uri| !asked(*uri)) {
                    splice.remove(uri);
                }
            }
            _ => splice.remove(member),
        }
    }
}
