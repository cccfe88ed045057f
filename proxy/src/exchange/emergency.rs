//! The sidecar's own tools: an emergency is begun and ended here, and nothing of it goes up.

use std::sync::Arc;

use bytes::Bytes;
use safeguard_policy::decide;
use safeguard_policy::emergency::{START_TOOL, is_own_tool};
use safeguard_wire::json::Tree;

use super::asked::{Call, arguments_of};
use super::post::Outgoing;
use super::stream::Course;
use super::{Caller, Exchange, Known};
use crate::emergency::{Active, End, QueueError, Refused, tools};
use crate::era::Era;
use crate::refuse::Refusal;
use crate::rewrite::answer::Method;
use crate::rewrite::{RewriteError, request};

/// The emergency that a stream shows its call's answer by.
pub(super) fn emergency_of(course: &Course) -> Option<Arc<Active>> {
    match &course.known {
        Some(Known::Call(call)) if call.permit.emergency => call.caller.emergency.clone(),
        Some(_) | None => None,
    }
}

impl Exchange<'_> {
    /// Whether a tool is the sidecar's own.
    pub(super) fn is_own(&self, name: &str) -> bool {
        is_own_tool(name) && self.live.policy.emergency().is_some()
    }

    /// The list with the sidecar's own tools, for whom the policy lets break the glass.
    pub(super) fn with_own_tools(&self, caller: &Caller, list: Vec<u8>) -> Vec<u8> {
        let policy = &self.live.policy;
        let may = decide::may_list(policy, &caller.principal());
        let whole = may.then(|| tools::listed(&list, policy)).flatten();
        whole.unwrap_or(list)
    }

    /// Nothing is shown by an emergency that is over: the trail keeps that the call happened.
    pub(super) fn emergency_over(&self, call: &Call) -> Option<Refusal> {
        let goes_on = || {
            let active = call.caller.emergency.as_ref();
            active.is_some_and(|active| !active.is_over())
        };
        if !call.permit.emergency || goes_on() {
            return None;
        }
        let recorder = &self.sidecar.recorder;
        recorder.not_released(call, &self.live, "emergency_over");
        Some(Refusal::Denied)
    }

    /// Answers a call of an own tool.
    ///
    /// # Errors
    /// As any other tool is denied; or the trail can't be written.
    pub(super) async fn own_tool(
        &mut self,
        caller: &Arc<Caller>,
        tree: &Tree<'_>,
        name: &str,
        key: &str,
    ) -> Result<Outgoing, Refusal> {
        if let Err(denial) = decide::may_begin(&self.live.policy, &caller.principal()) {
            return Err(self.deny(caller, "tools/call", name, Some(key), &denial));
        }
        name.clone_into(&mut self.tool);
        let (words, is_error) = match name {
            START_TOOL => self.begin(caller, tree).await?,
            _ => self.stop(caller).await?,
        };
        let is_modern = self.era == Era::Modern;
        let answer = tools::answer(key.as_bytes(), &words, is_error, is_modern);
        Ok(Outgoing {
            body: Bytes::new(),
            known: Known::Answered(Bytes::from(answer)),
            repeatable: false,
        })
    }

    async fn begin(&self, caller: &Caller, tree: &Tree<'_>) -> Result<(String, bool), Refusal> {
        let arguments = request::locate(tree, arguments_of(Method::Tool));
        let arguments = arguments.map_err(|error| Refusal::from(&error))?;
        let wish = match tools::wish(arguments, &self.live.policy) {
            Ok(wish) => wish,
            Err(why) => return Ok((format!("Nothing has begun: {why}."), true)),
        };
        let sidecar = self.sidecar;
        if !sidecar.canary.sings() {
            return Err(Refusal::from(&RewriteError::Vault("canary")));
        }
        if !sidecar.trail.health().ready() {
            return Err(Refusal::Audit);
        }
        let begun = sidecar
            .emergencies
            .begin(&sidecar.recorder, caller, self.live.hash, wish);
        match begun.await {
            Ok(active) => {
                sidecar.metrics.emergency_access_started_total.inc();
                let seconds = active.until_unix.saturating_sub(caller.now_unix);
                Ok((
                    format!(
                        "Emergency access to this patient's records has begun and ends in {seconds} s, or with the login session. It was recorded as {} and will be reviewed. List the tools again: there may be more. End it with safeguard_emergency_stop.",
                        active.id
                    ),
                    false,
                ))
            }
            Err(error) => Err(self.not_begun(&error)),
        }
    }

    async fn stop(&self, caller: &Caller) -> Result<(String, bool), Refusal> {
        let sidecar = self.sidecar;
        let session = caller.session.hashed_id();
        let ended = sidecar
            .emergencies
            .end_of(&sidecar.recorder, session, End::Stopped);
        match ended.await {
            Ok(true) => Ok(("Emergency access has ended.".to_owned(), false)),
            Ok(false) => Ok(("There was no emergency access.".to_owned(), true)),
            Err(error) => Err(self.not_begun(&error)),
        }
    }

    fn not_begun(&self, error: &Refused) -> Refusal {
        if matches!(error, Refused::Queue(QueueError::Full)) {
            self.sidecar.limit_reached("emergency_queue");
        }
        log::error!("emergency access: {error}");
        Refusal::Audit
    }
}
