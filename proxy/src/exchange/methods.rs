//! What a client asks for beside calls and lists: completions, a log level, subscriptions to resources, tasks. Each is
//! decided by its method's rule; what belongs to a resource or a task, by the rule of that as well.

use std::sync::Arc;

use bytes::Bytes;
use safeguard_policy::action::{Action, Listed};
use safeguard_policy::decide::{self, Decision, Denial, DenialReason, Permit};
use safeguard_policy::policy::Operation;
use safeguard_wire::json::{Kind, Splice, Tree, Value};

use super::asked::{Call, named};
use super::modern::Headers;
use super::post::{Outgoing, patient, rule_label};
use super::{Caller, Exchange};
use crate::paths::CallArguments;
use crate::refuse::Refusal;
use crate::rewrite::answer::Method;
use crate::rewrite::request::locate;
use crate::rewrite::rounds::Round;
use crate::rewrite::{RewriteError, Touched};
use crate::session::tasks::TaskError;
use crate::upstream::UpstreamError;

pub(super) const SUBSCRIBE: &str = "resources/subscribe";
pub(super) const UNSUBSCRIBE: &str = "resources/unsubscribe";
pub(super) const TASK_LIST: &str = "tasks/list";
pub(super) const TASK_RESULT: &str = "tasks/result";
/// The levels of `logging/setLevel` (RFC 5424).
const LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

impl Exchange<'_> {
    /// Decides and rewrites a request of a method that a rule may permit.
    pub(super) async fn method(
        &mut self,
        caller: &Arc<Caller>,
        message: (&Bytes, &Tree<'_>),
        name: &'static str,
        key: String,
        headers: &mut Headers,
    ) -> Result<Outgoing, Refusal> {
        let ambiguous = |error: RewriteError| Refusal::from(&error);
        let params = locate(message.1, &["params"]).map_err(ambiguous)?;
        // The method's own rule first: who may not ask at all is told nothing of how to ask.
        let ruled = self.ruled(caller, name, params);
        let mut permit =
            ruled.map_err(|denial| self.deny(caller, name, "", Some(&key), &denial))?;
        let method = self.method_of(name, params)?;
        let further = match name {
            SUBSCRIBE | UNSUBSCRIBE => self.subscription(caller, name, params)?.map(Some),
            "completion/complete" if !self.may_complete(caller, params) => Err(not_there(&permit)),
            TASK_LIST => Ok(None),
            _ if name.starts_with("tasks/") => {
                let task = named(params, "taskId")?;
                match self.task(caller, method, &task, &key) {
                    Ok(call) => return self.go_up(call, message, headers).await,
                    Err(denial) => Err(denial),
                }
            }
            _ => Ok(None),
        };
        match further {
            Ok(None) => {}
            Ok(Some(of_resource)) => permit = of_resource,
            Err(denial) => return Err(self.deny(caller, name, "", Some(&key), &denial)),
        }
        let tool = rule_label(&permit.rule);
        let call = Call {
            method,
            told: tool.clone(),
            tool,
            patient: patient(message.1, method, &permit).map_err(ambiguous)?,
            permit,
            recipient: None,
            uri: None,
            caller: Arc::clone(caller),
            touched: Touched::default(),
            request_id: key,
            round: Round::new(caller.owner(), name, ""),
            judged_by: self.live.hash,
        };
        self.go_up(call, message, headers).await
    }

    /// What is asked for, with what of it the answer depends on.
    fn method_of(&self, name: &'static str, params: Option<Value<'_>>) -> Result<Method, Refusal> {
        match name {
            "completion/complete" => {
                let argument = params.and_then(|params| params.get("argument").ok().flatten());
                let argument = named(argument, "name")?;
                Ok(Method::Completion(self.live.policy.classify(&argument)))
            }
            "logging/setLevel" => {
                let level = named(params, "level")?;
                match LEVELS.contains(&level.as_str()) {
                    true => Ok(Method::Other(name)),
                    false => Err(Refusal::InvalidRequest("there is no such log level")),
                }
            }
            _ => Ok(Method::Other(name)),
        }
    }

    /// The decision by a method's own rule.
    fn ruled(
        &self,
        caller: &Caller,
        name: &'static str,
        params: Option<Value<'_>>,
    ) -> Result<Permit, Denial> {
        let about = CallArguments::new(params);
        let action = Action::Method {
            name,
            params: &about,
        };
        self.decided(caller, &action)
    }

    /// Both rules of a subscription.
    pub(super) fn subscription(
        &self,
        caller: &Caller,
        method: &'static str,
        params: Option<Value<'_>>,
    ) -> Result<Result<Permit, Denial>, Refusal> {
        let uri = named(params, "uri")?;
        let about = CallArguments::new(params);
        let action = Action::Subscription {
            method,
            uri: &uri,
            params: &about,
        };
        Ok(self.decided(caller, &action))
    }

    pub(super) fn decided(&self, caller: &Caller, action: &Action<'_>) -> Result<Permit, Denial> {
        let principal = caller.principal();
        match decide::decide(&self.live.policy, &principal, action, caller.now_unix) {
            Decision::Permit(permit) => Ok(permit),
            Decision::Denial(denial) => Err(denial),
        }
    }

    /// Whether the prompt or the resource whose argument is completed is one that the caller may ask for.
    fn may_complete(&self, caller: &Caller, params: Option<Value<'_>>) -> bool {
        let reference = params.and_then(|params| params.get("ref").ok().flatten());
        let text = |name| {
            let value = reference.and_then(|reference| reference.get(name).ok().flatten());
            value.and_then(Value::string)
        };
        let visible = |item: Listed<'_>| {
            decide::visible(
                &self.live.policy,
                &caller.principal(),
                &item,
                caller.now_unix,
            )
        };
        match (text("type").as_deref(), text("name"), text("uri")) {
            (Some("ref/prompt"), Some(name), None) => visible(Listed::Prompt(&name)),
            (Some("ref/resource"), None, Some(uri)) => {
                visible(Listed::Template(&uri)) || visible(Listed::Resource(&uri))
            }
            _ => false,
        }
    }

    /// What a request about a task is: a call of the tool that made it, decided again for who asks now. A task that is
    /// another's, or unknown, is as if it did not exist.
    pub(super) fn task(
        &self,
        caller: &Arc<Caller>,
        method: Method,
        task: &str,
        key: &str,
    ) -> Result<Call, Denial> {
        let unknown = Denial {
            reason: DenialReason::NotListed,
            rule: None,
            step_up: None,
        };
        let made_by = self.sidecar.tasks.find(caller.owner(), task);
        let made_by = made_by.ok_or(unknown)?;
        let (policy, principal) = (&self.live.policy, caller.principal());
        let item = Listed::Tool(&made_by.tool);
        let permit = decide::still(policy, &principal, &item, caller.now_unix)?;
        let mut permit = self.reviewed(&made_by.tool, permit)?;
        permit.patient_value.clone_from(&made_by.patient);
        // How a task stands is read; what came of it is what was called for.
        if permit.operation != Operation::None && method != Method::Other(TASK_RESULT) {
            permit.operation = Operation::Read;
        }
        Ok(Call {
            method,
            tool: made_by.tool.clone(),
            told: made_by.told.clone(),
            permit,
            patient: made_by.patient.clone(),
            recipient: made_by.recipient.clone(),
            uri: None,
            caller: Arc::clone(caller),
            touched: Touched::default(),
            request_id: key.to_owned(),
            round: Round::new(caller.owner(), "tasks", task),
            judged_by: self.live.hash,
        })
    }

    /// Keeps whose task an answer to a tool's call hands out, before anybody learns its id.
    pub(super) fn keep_task(&self, call: &Arc<Call>, tree: &Tree<'_>) -> Result<(), Refusal> {
        if call.method != Method::Tool {
            return Ok(());
        }
        let id = match handle(tree) {
            Ok(Some(id)) => id,
            Ok(None) => return Ok(()),
            Err(error) => return Err(self.not_kept(call, "task_id_not_valid", error.into())),
        };
        let tasks = &self.sidecar.tasks;
        match tasks.keep(call.caller.owner(), &id, Arc::clone(call)) {
            Ok(()) => Ok(()),
            Err(TaskError::Full) => {
                self.sidecar.limit_reached("tasks");
                Err(self.not_kept(call, "tasks_full", Refusal::Busy))
            }
            Err(TaskError::IdInvalid | TaskError::IdTaken) => {
                Err(self.not_kept(call, "task_id_not_valid", UpstreamError::Invalid.into()))
            }
        }
    }

    fn not_kept(&self, call: &Call, reason: &'static str, refusal: Refusal) -> Refusal {
        self.sidecar.recorder.not_released(call, &self.live, reason);
        refusal
    }

    /// A list of tasks with the caller's own alone; none where all of them are.
    pub(super) fn own_tasks(
        &self,
        call: &Call,
        tree: &Tree<'_>,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let twice = |_| Refusal::from(UpstreamError::Invalid);
        let result = tree.root().get("result").map_err(twice)?;
        let tasks = match result {
            Some(result) => result.get("tasks").map_err(twice)?,
            None => None,
        };
        let owner = call.caller.owner();
        let mut splice = Splice::new(tree);
        for task in tasks.into_iter().flat_map(Value::children) {
            let id = task.get("taskId").map_err(twice)?.and_then(Value::string);
            if !id.is_some_and(|id| self.sidecar.tasks.is_of(owner, &id)) {
                splice.remove(task);
            }
        }
        Ok((!splice.is_empty()).then(|| splice.apply()))
    }
}

/// The id of the task that a result hands out: of 2025-11-25 in `task`, of the extension in the result itself.
fn handle(tree: &Tree<'_>) -> Result<Option<String>, UpstreamError> {
    let twice = |_| UpstreamError::Invalid;
    let Some(result) = tree.root().get("result").map_err(twice)? else {
        return Ok(None);
    };
    let task = result.get("task").map_err(twice)?;
    let kind = result.get("resultType").map_err(twice)?;
    let flat = kind.and_then(Value::string).as_deref() == Some("task");
    let of = match task.filter(|task| task.kind() == Kind::Object) {
        Some(task) => task,
        None if flat => result,
        None => return Ok(None),
    };
    let id = of.get("taskId").map_err(twice)?.and_then(Value::string);
    id.map(|id| Some(id.into_owned()))
        .ok_or(UpstreamError::Invalid)
}

/// What is not in the caller's lists is not there.
fn not_there(permit: &Permit) -> Denial {
    Denial {
        reason: DenialReason::NotListed,
        rule: Some(permit.rule.clone()),
        step_up: None,
    }
}
