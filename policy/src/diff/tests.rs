use super::difference;
use crate::load;
use crate::load::tests::{example_env, with};
use crate::policy::Policy;

fn policy(from: &str, to: &str) -> Policy {
    let loaded = load(&with("policy.yaml", from, to), &example_env());
    let lines: Vec<String> = loaded.findings.iter().map(ToString::to_string).collect();
    loaded
        .configuration
        .unwrap_or_else(|| panic!("{lines:#?}"))
        .policy
}

const PURPOSES: &str = "nurse:      { purposes: [TREAT],";

#[test]
fn a_policy_does_not_differ_from_itself() {
    let one = policy(PURPOSES, PURPOSES);
    assert!(difference(&one, &policy(PURPOSES, PURPOSES)).is_none());
}

/// Each change widens; turned around it narrows.
#[test]
fn whoever_sees_more_is_named_and_the_other_way_round_sees_less() {
    for (from, to, line) in [
        (
            "identity, medications, test_results], mask: { ssn: last4 } }",
            "identity, medications, test_results] }",
            "nurse (by chart-web) at resources.patient://{id}/summary, tools.find_patient, tools.list_departments, tools.read_record: ssn: mask last4 -> revealed",
        ),
        (
            "    roles: [physician]\n    patient: args.patient_id\n    record: args.record",
            "    roles: [physician, nurse]\n    patient: args.patient_id\n    record: args.record",
            "tools.store_record: call: nothing -> permitted",
        ),
        (
            PURPOSES,
            "nurse:      { purposes: [TREAT, HPAYMT],",
            "for HPAYMT: nothing -> permitted",
        ),
        (
            "not_phi: [patient_id,",
            "not_phi: [room, patient_id,",
            "room: withheld -> revealed",
        ),
        (
            "ssn: { group: identity, also: [patient_ssn, social_security_number] }",
            "ssn: { group: identity, also: [social_security_number] }",
            "patient_ssn",
        ),
        (
            "    when: \"claims.department == args.department\"",
            "",
            "condition: claims.department == args.department -> none",
        ),
        (
            "step_up: { max_age: 300 }",
            "step_up: { max_age: 600 }",
            "age of the login: 300 s -> 600 s",
        ),
        (
            "    record: result.record ",
            "    #",
            "record that is hashed or verified: result.record -> none",
        ),
        (
            "unlisted: { results: withhold",
            "unlisted: { results: reveal",
            "unlisted members of answers: withheld -> revealed",
        ),
        (
            "\nresources:\n",
            "\n  lab_*: { operation: none, roles: [nurse], patient: none }\nresources:\n",
            "tools.lab_*: call: nothing -> permitted",
        ),
    ] {
        let (old, new) = (policy(from, from), policy(from, to));
        let wider = difference(&old, &new);
        assert!(
            wider.more.iter().any(|told| told.contains(line)),
            "{line}: {wider:#?}"
        );
        assert!(!wider.is_no_wider());
        let narrower = difference(&new, &old);
        if line != "patient_ssn" {
            assert!(
                narrower.is_no_wider() && !narrower.less.is_empty(),
                "{line}: {narrower:#?}"
            );
        }
    }
}

#[test]
fn what_has_no_order_is_for_a_person_to_look_at() {
    for (from, to, line) in [
        (
            "claims.department == args.department",
            "claims.ward == args.department",
            "condition: claims.department == args.department -> claims.ward == args.department",
        ),
        (
            "mask: { ssn: last4, date_of_birth: year }",
            "mask: { ssn: last4, date_of_birth: last4 }",
            "date_of_birth: mask year -> mask last4",
        ),
    ] {
        let told = difference(&policy(from, from), &policy(from, to));
        assert!(
            told.unordered.iter().any(|told| told.contains(line)),
            "{told:#?}"
        );
        assert!(told.more.is_empty() && !told.is_no_wider());
    }
}

#[test]
fn a_limit_on_patients_only_narrows() {
    let patients = "    patient: result.patients[*].patient_id\n";
    let limited = format!("{patients}    max_patients: 25\n    only_patients: claims.patient\n");
    let told = difference(&policy(patients, patients), &policy(patients, &limited));
    assert!(told.is_no_wider() && told.less.len() == 2, "{told:#?}");
}
