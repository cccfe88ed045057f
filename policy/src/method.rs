//! MCP's methods that no tool, prompt or resource stands for: which of them a rule under `methods` may permit, and
//! which rule decides which message.

use crate::policy::Operation;

/// Methods that need no rule: lifecycle, `ping`, the lists (whose items are judged one by one) and notifications of
/// the client about its own requests.
pub const OPEN_METHODS: [&str; 9] = [
    "initialize",
    "notifications/cancelled",
    "notifications/initialized",
    "notifications/progress",
    "ping",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "tools/list",
];

/// A method that a rule may permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuledMethod {
    /// The rule's name under `methods`.
    pub name: &'static str,
    /// What the rule decides beside the method of its own name.
    pub also: &'static [&'static str],
    /// What it does with PHI, unless the rule says otherwise.
    pub operation: Operation,
    /// Whether the rule itself has to say whose record is touched. Elsewhere the call, the resource or the task says it.
    pub names_patient: bool,
}

const fn ruled(name: &'static str, operation: Operation) -> RuledMethod {
    RuledMethod {
        name,
        also: &[],
        operation,
        names_patient: false,
    }
}

impl RuledMethod {
    const fn also(self, also: &'static [&'static str]) -> Self {
        Self { also, ..self }
    }
}

/// All of them, in the order of the documentation.
pub const RULED_METHODS: [RuledMethod; 11] = [
    RuledMethod {
        names_patient: true,
        ..ruled("completion/complete", Operation::Read)
    },
    ruled("sampling/createMessage", Operation::Read),
    ruled("elicitation/create", Operation::Read).also(&["notifications/elicitation/complete"]),
    ruled("roots/list", Operation::None),
    ruled("logging/setLevel", Operation::None),
    ruled("notifications/message", Operation::Read),
    ruled("resources/subscribe", Operation::None)
        .also(&["resources/unsubscribe", "notifications/resources/updated"]),
    ruled("subscriptions/listen", Operation::None)
        .also(&["notifications/subscriptions/acknowledged"]),
    ruled("tasks/get", Operation::Read).also(&[
        "tasks/result",
        "tasks/update",
        "notifications/tasks",
        "notifications/tasks/status",
    ]),
    ruled("tasks/list", Operation::Read),
    ruled("tasks/cancel", Operation::Read),
];

/// The method whose rule decides a message of this method; none where no rule can.
#[must_use]
pub fn ruled_method(method: &str) -> Option<&'static RuledMethod> {
    RULED_METHODS
        .iter()
        .find(|ruled| ruled.name == method || ruled.also.contains(&method))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_decided_by_one_rule_and_none_of_them_is_open() {
        let mut all: Vec<&str> = RULED_METHODS
            .iter()
            .flat_map(|ruled| std::iter::once(ruled.name).chain(ruled.also.iter().copied()))
            .collect();
        let counted = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), counted);
        assert!(all.iter().all(|method| !OPEN_METHODS.contains(method)));
    }

    #[test]
    fn what_belongs_together_has_one_rule() {
        let rule = |method| ruled_method(method).map(|ruled| ruled.name);
        assert_eq!(rule("resources/unsubscribe"), Some("resources/subscribe"));
        assert_eq!(rule("tasks/result"), Some("tasks/get"));
        assert_eq!(rule("tasks/cancel"), Some("tasks/cancel"));
        assert_eq!(rule("tools/call"), None);
    }
}
