//! Only tools that were reviewed as they are: `upstream.tools_lock`, the same for the list and the call.

use safeguard_audit::{Event, EventName, Outcome};
use safeguard_policy::decide::{Denial, DenialReason, Permit};
use safeguard_wire::json::Value;

use super::Exchange;
use crate::tools_lock;

impl Exchange<'_> {
    /// The permit, if the tool was reviewed as the server's last list has it.
    pub(super) fn reviewed(&self, tool: &str, permit: Permit) -> Result<Permit, Denial> {
        let listed = self.sidecar.tools_listed.of(tool);
        let lock = self.live.tools_lock.as_ref();
        if lock.is_none_or(|lock| lock.allows(tool, listed.as_ref())) {
            return Ok(permit);
        }
        Err(Denial {
            reason: DenialReason::ToolUnreviewed,
            rule: Some(permit.rule),
            step_up: None,
        })
    }

    /// Takes note of how the server defines a tool; whether it was reviewed so. A definition that was not, and is seen
    /// for the first time, is told to the operator and the trail.
    pub(super) fn reviewed_as_listed(&self, tool: &str, definition: Value<'_>) -> bool {
        let Some(lock) = &self.live.tools_lock else {
            return true;
        };
        let digest = tools_lock::digest(definition);
        let is_new = self.sidecar.tools_listed.note(tool, digest);
        let reviewed = digest.is_some_and(|digest| lock.has(tool, &digest));
        let listed = self.live.policy.listed_tool(tool);
        if let (true, false, Some(listed)) = (is_new, reviewed, listed) {
            log::warn!(
                "the MCP server's definition of {listed:?} was not reviewed: it is denied until upstream.tools_lock has it"
            );
            let event = Event::new(EventName::PermissionChange, Outcome::Denied);
            let event = event
                .reason("tool_unreviewed")
                .detail("tool", listed.to_owned());
            self.sidecar.recorder.send(event);
        }
        reviewed
    }
}
