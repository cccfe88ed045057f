//! What a server tells by itself (legacy revisions): log messages, changes of resources, how a task stands, that an
//! elicitation is over. Each is decided by its method's rule for the principal on whose stream it comes; what is denied
//! does not go on.

use safeguard_policy::action::Action;
use safeguard_policy::decide::Permit;
use safeguard_policy::field::{TextView, Unlisted, View};
use safeguard_policy::policy::FieldClass;
use safeguard_wire::json::{Tree, Value};

use super::asked::{Call, named};
use super::questions::elicitation_key;
use super::stream::{Course, Verdict, strip};
use super::{Exchange, Known};
use crate::clock;
use crate::paths::CallArguments;
use crate::rewrite::answer::{self, Method};
use crate::rewrite::request::locate;
use crate::rewrite::shapes::Absence;
use crate::rewrite::told::{self, Told};

/// What a server may tell where a rule permits it.
const NEWS: [&str; 5] = [
    "notifications/message",
    "notifications/resources/updated",
    "notifications/elicitation/complete",
    "notifications/tasks/status",
    "notifications/tasks",
];
/// How a call goes, in words of the server's.
const PROGRESS: [&str; 2] = ["notifications/progress", "notifications/cancelled"];

impl Exchange<'_> {
    /// Judges a notification of the server's.
    pub(super) async fn news(&self, tree: &Tree<'_>, method: &str, course: &Course) -> Verdict {
        let call = match &course.known {
            Some(Known::Call(call)) if call.permit.text == TextView::Detect => Some(call),
            _ => None,
        };
        let progress = PROGRESS.into_iter().find(|known| *known == method);
        if let (Some(name), Some(call)) = (progress, call) {
            let heard = self.heard(
                &call.caller,
                name,
                call.permit.clone(),
                call.patient.clone(),
                String::new(),
            );
            return self.in_words(tree, &heard).await;
        }
        let Some(name) = NEWS.into_iter().find(|known| *known == method) else {
            return self.judge_notification(tree, method, course.known.as_ref());
        };
        let Ok(params) = locate(tree, &["params"]) else {
            return self.foreign("notification");
        };
        let verdict = match name {
            "notifications/message" => self.log_message(tree, params, course).await,
            "notifications/resources/updated" => self.updated(tree, params, course).await,
            "notifications/elicitation/complete" => self.elicited(tree, params, course),
            _ => self.task_status(tree, (name, params), course).await,
        };
        verdict.unwrap_or_else(|| self.foreign("notification"))
    }

    fn permitted_news(
        &self,
        name: &'static str,
        params: Option<Value<'_>>,
        course: &Course,
    ) -> Option<Permit> {
        let about = CallArguments::new(params);
        let action = Action::Method {
            name,
            params: &about,
        };
        self.decided(&course.caller, &action).ok()
    }

    async fn log_message(
        &self,
        tree: &Tree<'_>,
        params: Option<Value<'_>>,
        course: &Course,
    ) -> Option<Verdict> {
        let name = "notifications/message";
        let permit = self.permitted_news(name, params, course)?;
        let patient = course.patient();
        let call = self.heard(&course.caller, name, permit, patient, String::new());
        Some(self.in_words(tree, &call).await)
    }

    /// Shows what is said in words. Where nothing but structure is left of it, nothing was disclosed and nothing is
    /// recorded: a server that talks much must not fill the trail.
    async fn in_words(&self, tree: &Tree<'_>, call: &Call) -> Verdict {
        let key = self.patient_key(call.patient.as_deref()).await;
        let about = answer::Call {
            method: call.method,
            permit: &call.permit,
            holder: call.holder(key.key()),
            uri: None,
            absence: Absence::Anything,
            now_unix: clock::now_unix(),
        };
        let name = super::asked::method_name(call.method);
        let rewritten = match told::told(tree, name, Told::News, &about, &self.live.workshop) {
            Ok(rewritten) => rewritten,
            Err(error) => {
                self.withhold(call, &error).await;
                return Verdict::Drop;
            }
        };
        if call.concerns_phi() && !self.sidecar.canary.sings() {
            return Verdict::Drop;
        }
        let discloses = call.permit.text != TextView::Withhold
            || call.permit.views.unlisted_results() != Unlisted::Withhold
            || rewritten.touched.counts().next().is_some();
        let body = match discloses {
            true => match self.release(call, rewritten).await {
                Ok(body) => body,
                Err(_) => return Verdict::Drop,
            },
            false => rewritten.body,
        };
        body.map_or(Verdict::Pass, Verdict::Rewritten)
    }

    /// That a resource changed is told to who may read it.
    async fn updated(
        &self,
        tree: &Tree<'_>,
        params: Option<Value<'_>>,
        course: &Course,
    ) -> Option<Verdict> {
        let name = "notifications/resources/updated";
        let decided = self.subscription(&course.caller, name, params).ok()?;
        let permit = decided.ok()?;
        let policy = &self.live.policy;
        let hidden = permit.uri_values.iter().any(|(name, _)| {
            let field = policy.classify(name);
            matches!(field, FieldClass::Phi(field) if permit.views.of(field) != View::Reveal)
        });
        if hidden {
            return None;
        }
        let patient = permit.patient_value.clone();
        let call = self.heard(&course.caller, name, permit, patient, String::new());
        self.on_record(&call, true).await.ok()?;
        Some(strip(tree, &["uri"], ""))
    }

    /// Only the end of an elicitation that this session was asked.
    fn elicited(
        &self,
        tree: &Tree<'_>,
        params: Option<Value<'_>>,
        course: &Course,
    ) -> Option<Verdict> {
        self.permitted_news("notifications/elicitation/complete", params, course)?;
        let key = elicitation_key(&named(params, "elicitationId").ok()?);
        course.session.as_ref()?.session.answered(&key)?;
        Some(strip(tree, &["elicitationId"], ""))
    }

    /// How a task stands, told to whose task it is, by the views of the call that made it.
    async fn task_status(
        &self,
        tree: &Tree<'_>,
        (name, params): (&'static str, Option<Value<'_>>),
        course: &Course,
    ) -> Option<Verdict> {
        self.permitted_news(name, params, course)?;
        let task = named(params, "taskId").ok()?;
        let call = self.task(&course.caller, Method::Other(name), &task, "");
        Some(self.in_words(tree, &call.ok()?).await)
    }
}
