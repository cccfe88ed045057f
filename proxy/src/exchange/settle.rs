//! Settling one answer: rewritten, recorded durably, and only then released. JSON bodies, event streams and resumed
//! streams all settle here, by what is known of the call.

use std::sync::Arc;

use safeguard_policy::action::Listed;
use safeguard_policy::decide;
use safeguard_wire::json::{Tree, Value};
use safeguard_wire::jsonrpc::{Message, Outcome};

use super::asked::Call;
use super::methods::{TASK_LIST, TASK_RESULT};
use super::{Caller, Exchange, Known};
use crate::era::MODERN;
use crate::refuse::Refusal;
use crate::rewrite::answer::{self, Method, RewrittenAnswer};
use crate::rewrite::lists::{self, List};
use crate::rewrite::record::Checked;
use crate::rewrite::shapes::Absence;
use crate::rewrite::{LIMITS, RewriteError};
use crate::upstream::UpstreamError;

impl Exchange<'_> {
    /// Settles one message of the upstream's that answers what is `known`. Gives none where not a byte changed.
    ///
    /// `expected` is the table key of the id that was asked; another id is not this client's answer.
    ///
    /// # Errors
    /// When nothing of the message may be released: it is no answer, it does not verify, it can't be opened, or its
    /// record can't be made durable.
    pub(super) async fn settle(
        &self,
        known: &Known,
        text: &[u8],
        expected: Option<&str>,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let tree = Tree::parse(text, &LIMITS).map_err(|_| UpstreamError::Invalid);
        let answered = tree.and_then(|tree| is_answer(&tree, expected).map(|error| (tree, error)));
        let (tree, is_error) = match answered {
            Ok(answered) => answered,
            Err(error) => {
                if let Known::Call(call) = known {
                    self.sidecar
                        .recorder
                        .upstream_failed(call, &self.live, error);
                }
                return Err(error.into());
            }
        };
        if let Some(refusal) = self.over(known) {
            return Err(refusal);
        }
        // Only on a resumed stream: numbers of fields and views are those of one configuration.
        if let Known::Call(call) = known
            && call.judged_by != self.live.hash
        {
            let recorder = &self.sidecar.recorder;
            recorder.not_released(call, &self.live, "policy_changed");
            return Err(Refusal::Denied);
        }
        match known {
            Known::Plain | Known::ServerRequest | Known::Answered(_) => Ok(None),
            Known::Initialize(_) if is_error => {
                if self.spoken().learns() && self.sidecar.learnt.from_error(&tree) {
                    log::info!("the MCP server says that it speaks {MODERN}: its clients may, too");
                }
                Ok(None)
            }
            Known::Initialize(caller) => self.offered(caller, &tree),
            Known::Discover(caller) => self.settle_discover(caller, &tree),
            // Its answer is the end of the stream, and says nothing but whose.
            Known::Listen(_) => Ok(None),
            Known::List(_, _) if is_error => Ok(None),
            Known::List(list, caller) => self.settle_list(*list, caller, &tree).map(Some),
            Known::Call(call) => self.settle_call(call, &tree).await,
        }
    }

    /// A session that ended while the upstream worked gets nothing any more; the trail keeps that the call happened.
    fn over(&self, known: &Known) -> Option<Refusal> {
        let (caller, call) = match known {
            Known::Call(call) => (&call.caller, Some(call)),
            Known::List(_, caller) => (caller, None),
            Known::Listen(listening) => (&listening.caller, None),
            Known::Plain
            | Known::Initialize(_)
            | Known::Discover(_)
            | Known::ServerRequest
            | Known::Answered(_) => {
                return None;
            }
        };
        if let Some(refusal) = call.and_then(|call| self.emergency_over(call)) {
            return Some(refusal);
        }
        let reason = caller.session.is_over()?;
        if let Some(call) = call {
            self.sidecar
                .recorder
                .not_released(call, &self.live, reason.code());
        }
        let words = "the session has ended: sign in again";
        Some(Refusal::Unauthorized(
            self.live.challenges.invalid_token(words),
        ))
    }

    fn settle_list(
        &self,
        list: List,
        caller: &Caller,
        tree: &Tree<'_>,
    ) -> Result<Vec<u8>, Refusal> {
        let principal = caller.principal();
        let policy = &self.live.policy;
        let listed = |name: &str, definition: Value<'_>| {
            if list == List::Tools && !self.reviewed_as_listed(name, definition) {
                return None;
            }
            if list == List::Tools && self.is_own(name) {
                return None;
            }
            let item = match list {
                List::Tools => Listed::Tool(name),
                List::Resources => Listed::Resource(name),
                List::Templates => Listed::Template(name),
                List::Prompts => Listed::Prompt(name),
            };
            decide::listed(policy, &principal, &item, caller.now_unix)
        };
        let filtered = lists::filter(
            tree,
            list,
            &self.live.workshop,
            &self.sidecar.shapes,
            listed,
        );
        let filtered = filtered.map_err(|error| Refusal::from(&error))?;
        Ok(match list {
            List::Tools => self.with_own_tools(caller, filtered),
            List::Resources | List::Templates | List::Prompts => filtered,
        })
    }

    async fn settle_call(
        &self,
        call: &Arc<Call>,
        tree: &Tree<'_>,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        self.questions(call, tree)?;
        if call.method == Method::Other(TASK_LIST)
            && let Some(own) = self.own_tasks(call, tree)?
        {
            let tree = Tree::parse(&own, &LIMITS).map_err(|_| UpstreamError::Invalid)?;
            return self
                .shown(call, &tree)
                .await
                .map(|shown| shown.or(Some(own.clone())));
        }
        self.shown(call, tree).await
    }

    /// Shows an answer by the caller's views, and keeps whose task it hands out.
    async fn shown(&self, call: &Arc<Call>, tree: &Tree<'_>) -> Result<Option<Vec<u8>>, Refusal> {
        let absence = match call.method {
            Method::Tool => self.sidecar.shapes.of(&call.tool),
            Method::Other(TASK_RESULT) => self.sidecar.shapes.of(&call.tool),
            Method::Resource | Method::Prompt | Method::Completion(_) | Method::Other(_) => {
                Absence::Anything
            }
        };
        // Asked again: what was destroyed since the call went up opens no more.
        let key = self.patient_key(call.patient.as_deref()).await;
        let about = answer::Call {
            method: call.method,
            permit: &call.permit,
            holder: call.holder(key.key()),
            uri: call.uri.as_deref(),
            absence,
            now_unix: crate::clock::now_unix(),
        };
        match answer::answer(tree, &about, &self.live.workshop) {
            Ok(rewritten) => {
                self.keep_task(call, tree)?;
                self.release(call, rewritten).await
            }
            Err(error) => Err(self.withhold(call, &error).await),
        }
    }

    /// Law 1: the outcome is on disk before the answer is released. The intent is older in the same order, so it is too.
    pub(super) async fn release(
        &self,
        call: &Call,
        rewritten: RewrittenAnswer,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        self.sidecar.recorder.fields(&call.touched, "request");
        self.sidecar.recorder.fields(&rewritten.touched, "answer");
        let Checked {
            verified,
            unverified,
        } = rewritten.records;
        let checks = &self.sidecar.metrics.integrity_checks_total;
        for (result, count) in [("ok", verified), ("unverified", unverified)] {
            if count > 0 {
                checks.with_label_values(&[result]).inc_by(u64::from(count));
            }
        }
        if call.concerns_phi() {
            let outcome = self.sidecar.recorder.outcome(call, &self.live, &rewritten);
            outcome.durable().await.map_err(|_| Refusal::Audit)?;
        }
        if !rewritten.failed {
            self.sidecar.recorder.marked(call, &self.live);
        }
        Ok(rewritten.body)
    }

    pub(super) async fn withhold(&self, call: &Call, error: &RewriteError) -> Refusal {
        let recorded = self
            .sidecar
            .recorder
            .answer_refused(call, &self.live, error);
        if matches!(error, RewriteError::Integrity(_)) {
            self.sidecar
                .metrics
                .integrity_checks_total
                .with_label_values(&["violation"])
                .inc();
        }
        // Nothing is released either way; the wait only keeps the refusal from being seen before its event.
        match recorded.durable().await {
            Ok(_) => Refusal::from(error),
            Err(_) => Refusal::Audit,
        }
    }
}

/// Whether a message is an answer to this request; true where it is an error answer.
fn is_answer(tree: &Tree<'_>, expected: Option<&str>) -> Result<bool, UpstreamError> {
    match Message::parse(tree.root()) {
        Ok(Message::Response { id, outcome }) => {
            let is_error = matches!(outcome, Outcome::Error(_));
            // An error that could not read the id answers with null (JSON-RPC 2.0 §5).
            let nobody = is_error && id.raw() == b"null";
            if nobody || expected == Some(id.key().as_str()) {
                Ok(is_error)
            } else {
                Err(UpstreamError::Invalid)
            }
        }
        Ok(Message::Request { .. } | Message::Notification { .. }) | Err(_) => {
            Err(UpstreamError::Invalid)
        }
    }
}
