//! Where a purpose comes from: the token, the call where the policy believes it, the only one that is left.

use super::*;

fn with_sources(words: &str) -> Policy {
    policy_with(|text| {
        text.replace(
            "identity:\n",
            &format!("identity:\n  purpose_from: {words}\n"),
        )
    })
}

#[test]
fn a_list_shows_what_a_call_could_name_its_purpose_for_and_the_least_of_what_it_would_see() {
    let both = caller(&["nurse", "billing"]);
    let denied = DenialReason::PurposeMissing;
    let without = with_sources("[token, only]");
    assert_eq!(both.denied(&without, "read_record", &patient()), denied);
    assert!(!both.sees(&without, "read_record"));

    let policy = with_sources("[token, call, only]");
    assert_eq!(both.denied(&policy, "read_record", &patient()), denied);
    assert!(both.sees(&policy, "read_record"));
    let shown = listed(
        &policy,
        &both.principal(),
        &Listed::Tool("read_record"),
        NOW,
    );
    let views = shown.unwrap().views;
    assert!(
        policy
            .fields()
            .all(|(id, _)| views.of(id) == View::Withhold)
    );
    for (named, view_of_diagnosis) in [("TREAT", View::Withhold), ("HPAYMT", View::Reveal)] {
        let mut naming = both.clone();
        naming.purpose = Some(named.to_owned());
        let permit = naming.call(&policy, "read_record", &patient()).unwrap();
        assert_eq!(permit.purpose.as_deref(), Some(named));
        assert_eq!(view(&policy, &permit, "diagnosis"), view_of_diagnosis);
    }
    let nobody = caller(&["stranger"]);
    assert!(!nobody.sees(&policy, "read_record"));
    assert!(!caller(&["billing"]).sees(&policy, "store_record"));
}

#[test]
fn without_the_word_only_a_purpose_is_always_said() {
    let policy = with_sources("[token]");
    let mut nurse = caller(&["nurse"]);
    let denied = DenialReason::PurposeMissing;
    assert_eq!(nurse.denied(&policy, "read_record", &patient()), denied);
    nurse.purpose = Some("TREAT".to_owned());
    assert!(nurse.call(&policy, "read_record", &patient()).is_ok());
    let text = "identity:\n  purpose_from: [call]\n";
    let mut sources = example();
    sources[4].text = sources[4].text.replace("identity:\n", text);
    let findings = load(&sources, &example_env()).findings;
    let told = |f: &crate::Finding| f.is_error() && f.message.contains("leaves out token");
    assert!(findings.iter().any(told));
}
