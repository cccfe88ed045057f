//! Rules of methods, held against the example's policy.

use crate::decide::{Operation, View};
use crate::explain::explain;
use crate::field::TextView;
use crate::finding::{Finding, codes};
use crate::load::tests::{example, example_env};
use crate::{Loaded, load};

fn loaded(methods: &str) -> Loaded {
    let mut sources = example();
    sources[4].text.push_str("methods:\n");
    sources[4].text.push_str(methods);
    load(&sources, &example_env())
}

/// The errors that methods alone can have caused.
fn errors(methods: &str) -> Vec<Finding> {
    let mut found = loaded(methods).findings;
    found.retain(Finding::is_error);
    found
}

#[test]
fn a_method_that_no_rule_can_permit_is_an_error_that_says_what_was_meant() {
    for (name, fix) in [
        ("completion/complet", "did you mean `completion/complete`?"),
        (
            "sampling/create_message",
            "did you mean `sampling/createMessage`?",
        ),
        ("tools/call", "name what may be asked for under `tools`"),
        ("ping", "remove it: it is always allowed"),
        ("tasks/result", "write the rule for `tasks/get`"),
        (
            "resources/unsubscribe",
            "write the rule for `resources/subscribe`",
        ),
    ] {
        let found = errors(&format!("  {name}: {{ roles: [nurse] }}\n"));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(found[0].code, codes::UNKNOWN_METHOD);
        assert_eq!(found[0].fix.as_deref(), Some(fix));
    }
    let found = errors("  banana: { roles: [nurse] }\n");
    assert!(found[0].fix.as_deref().unwrap().contains("tasks/list"));
}

#[test]
fn a_rule_needs_roles_that_exist_and_completion_a_patient_or_none() {
    let codes_of = |methods| -> Vec<_> { errors(methods).iter().map(|f| f.code).collect() };
    assert_eq!(codes_of("  logging/setLevel: {}\n"), [codes::MISSING_KEY]);
    assert_eq!(
        codes_of("  logging/setLevel: { roles: [nurs] }\n"),
        [codes::UNDEFINED_ROLE]
    );
    let completion = "  completion/complete: { roles: [physician] }\n";
    assert_eq!(codes_of(completion), [codes::MISSING_KEY]);
    assert!(codes_of("  completion/complete: { roles: [physician], patient: none }\n").is_empty());
    let path = "  completion/complete: { roles: [physician], patient: uri.id }\n";
    assert_eq!(codes_of(path), [codes::BAD_PATH]);
    assert!(codes_of("  elicitation/create: { roles: [physician] }\n").is_empty());
    let condition = "  elicitation/create: { roles: any, when: \"uri.x == 'a'\" }\n";
    assert_eq!(codes_of(condition), [codes::BAD_CONDITION]);
}

#[test]
fn what_carries_content_is_a_read_and_its_text_is_the_policys_unless_the_rule_says_otherwise() {
    let policy = loaded(
        "  sampling/createMessage: { roles: [nurse], text: reveal }\n  \
         elicitation/create: { roles: [nurse], operation: none }\n  \
         notifications/message: { roles: [nurse] }\n  \
         roots/list: { roles: [nurse] }\n",
    );
    let policy = policy.configuration.unwrap().policy;
    let rule = |name| explain(&policy, "nurse", name, None);
    let sampling = rule("sampling/createMessage");
    assert_eq!(sampling.operation, Some(Operation::Read));
    assert_eq!(sampling.text, TextView::Reveal);
    assert_eq!(sampling.purpose.as_deref(), Some("TREAT"));
    let fields = &sampling.clients[0].fields;
    let diagnosis = fields.iter().find(|f| f.field == "diagnosis").unwrap();
    assert_eq!(diagnosis.view, View::Withhold);
    assert_eq!(rule("elicitation/create").text, TextView::Reveal);
    assert_eq!(rule("notifications/message").text, policy.phi().text);
    assert_eq!(rule("roots/list").operation, Some(Operation::None));
    assert_eq!(rule("tasks/get").rule, None);
    assert_eq!(
        policy.methods(),
        [
            "elicitation/create",
            "notifications/message",
            "roots/list",
            "sampling/createMessage"
        ]
    );
}
