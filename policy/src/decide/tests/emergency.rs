//! An emergency widens for its patient, its tools and its time, and for nothing else.

use super::*;

const EMERGENCY: &str = "emergency:\n  roles: [physician, nurse, billing]\n  grants: { view: physician, tools: [find_patient, read_record, unit_read] }\n";
/// Nobody's tool but an emergency's.
const UNIT_READ: &str = "  unit_read: { operation: read, roles: [care_agent], patient: args.patient_id, when: \"claims.department == 'icu'\" }\n";

fn breakable() -> Policy {
    policy_with(|text| {
        let text = text.replace("\nresources:\n", &format!("\n{UNIT_READ}resources:\n"));
        format!("{text}\n{EMERGENCY}")
    })
}

/// The caller with an emergency for `p-1` that lasts for another minute.
fn begun(mut caller: Caller) -> Caller {
    caller.emergency = Some(("p-1".to_owned(), NOW + 60));
    caller
}

fn of(patient: &str) -> Value {
    json!({ "patient_id": patient })
}

#[test]
fn an_emergency_shows_the_granted_view_of_its_patient_and_of_nobody_else() {
    let policy = breakable();
    let nurse = begun(caller(&["nurse"]));
    let permit = nurse.call(&policy, "read_record", &of("p-1")).unwrap();
    assert!(permit.emergency);
    assert_eq!(permit.purpose.as_deref(), Some("BTG"));
    for field in ["ssn", "diagnosis", "medications"] {
        assert_eq!(view(&policy, &permit, field), View::Reveal, "{field}");
    }
    let other = nurse.call(&policy, "read_record", &of("p-2")).unwrap();
    assert!(!other.emergency);
    assert_eq!(other.purpose.as_deref(), Some("TREAT"));
    assert_eq!(view(&policy, &other, "diagnosis"), View::Withhold);
    assert_eq!(view(&policy, &other, "ssn"), View::Mask(Mask::Last4));
}

#[test]
fn an_emergency_ends_to_the_second() {
    let policy = breakable();
    let mut nurse = caller(&["nurse"]);
    for (until, counts) in [(NOW + 1, true), (NOW, false), (NOW - 1, false)] {
        nurse.emergency = Some(("p-1".to_owned(), until));
        let permit = nurse.call(&policy, "read_record", &of("p-1")).unwrap();
        assert_eq!(permit.emergency, counts, "{until}");
    }
}

#[test]
fn a_tool_that_is_not_the_callers_is_open_to_an_emergency_and_stays_as_it_was_for_others() {
    let policy = breakable();
    let without = caller(&["nurse"]);
    let reason = DenialReason::RoleNotAllowed;
    assert_eq!(without.denied(&policy, "unit_read", &of("p-1")), reason);
    assert!(!without.sees(&policy, "unit_read"));
    let nurse = begun(without);
    assert!(nurse.sees(&policy, "unit_read"));
    assert!(nurse.call(&policy, "unit_read", &of("p-1")).is_ok());
    assert_eq!(nurse.denied(&policy, "unit_read", &of("p-2")), reason);
    for other in [
        json!({}),
        json!({ "patient_id": ["p-1"] }),
        of("p-1 "),
        of(""),
    ] {
        assert_eq!(
            nurse.denied(&policy, "unit_read", &other),
            reason,
            "{other}"
        );
    }
}

#[test]
fn a_search_that_is_not_the_callers_finds_the_emergencys_patient_alone() {
    let policy = breakable();
    let tools = "find_patient:                         # operation: none | search | read | create | update | delete | export\n    operation: search\n    roles: [physician, nurse, billing, care_agent]";
    let narrow = policy_with(|text| {
        let text = text.replace("\nresources:\n", &format!("\n{UNIT_READ}resources:\n"));
        assert!(text.contains(tools));
        let own = tools.replace("physician, nurse, billing, ", "");
        format!("{}\n{EMERGENCY}", text.replace(tools, &own))
    });
    let nurse = begun(caller(&["nurse"]));
    let permit = nurse.call(&narrow, "find_patient", &json!({})).unwrap();
    let only: Vec<_> = permit.only_patients.unwrap().iter().cloned().collect();
    assert_eq!(only, ["p-1"]);
    assert_eq!(permit.text, TextView::Withhold);
    // Where it is the caller's anyway, it finds whom it found before.
    let own = nurse.call(&policy, "find_patient", &json!({})).unwrap();
    assert!(!own.emergency && own.only_patients.is_none());
}

#[test]
fn condition_second_factor_client_and_its_cap_hold_in_an_emergency_too() {
    let policy = breakable();
    let mut nurse = begun(caller(&["nurse"]));
    nurse.claims = json!({ "department": "ward" });
    let reason = DenialReason::ConditionFalse;
    assert_eq!(nurse.denied(&policy, "unit_read", &of("p-1")), reason);
    let mut nurse = begun(caller(&["nurse"]));
    nurse.second_factor = false;
    let reason = DenialReason::RoleNotAllowed;
    assert_eq!(nurse.denied(&policy, "unit_read", &of("p-1")), reason);
    let mut agent = begun(caller(&["nurse"]));
    agent.names = vec!["agent.healthcare.example.com".into()];
    let permit = agent.call(&policy, "read_record", &of("p-1")).unwrap();
    assert!(permit.emergency);
    assert_eq!(view(&policy, &permit, "diagnosis"), View::Withhold);
    agent.names = vec!["other.example.com".into()];
    let reason = DenialReason::ClientUnknown;
    assert_eq!(agent.denied(&policy, "read_record", &of("p-1")), reason);
}

#[test]
fn the_glass_is_broken_by_persons_of_its_roles_with_a_second_factor_and_a_known_client() {
    let policy = breakable();
    let reason = |caller: &Caller| {
        may_begin(&policy, &caller.principal())
            .err()
            .map(|d| d.reason)
    };
    let listed = |caller: &Caller| may_list(&policy, &caller.principal());
    let nurse = caller(&["nurse"]);
    assert_eq!(reason(&nurse), None);
    assert!(listed(&nurse));
    let mut without = nurse.clone();
    without.second_factor = false;
    assert_eq!(reason(&without), Some(DenialReason::SecondFactorMissing));
    assert!(listed(&without), "a list leaves the second factor open");
    let agent = caller(&["care_agent"]);
    assert_eq!(reason(&agent), Some(DenialReason::RoleNotAllowed));
    assert!(!listed(&agent));
    let mut software = nurse.clone();
    software.service = true;
    assert_eq!(reason(&software), Some(DenialReason::ServiceMismatch));
    let mut stranger = nurse.clone();
    stranger.names = vec!["other.example.com".into()];
    assert_eq!(reason(&stranger), Some(DenialReason::ClientUnknown));
    let unwritten = policy_with(str::to_owned);
    let denied = may_begin(&unwritten, &nurse.principal()).unwrap_err();
    assert_eq!(denied.reason, DenialReason::NotListed);
}

#[test]
fn what_goes_on_after_a_call_goes_on_without_the_emergency() {
    let policy = breakable();
    let nurse = begun(caller(&["nurse"]));
    let tool = Listed::Tool("read_record");
    let permit = still(&policy, &nurse.principal(), &tool, NOW).unwrap();
    assert!(!permit.emergency);
    let tool = Listed::Tool("unit_read");
    assert!(still(&policy, &nurse.principal(), &tool, NOW).is_err());
}

#[test]
fn whose_own_patients_are_named_by_the_token_may_see_the_emergencys_too() {
    let policy = policy_with(|text| {
        let tool = "  portal: { operation: read, roles: [nurse], patient: args.patient_id, only_patients: claims.patient }\n";
        let text = text.replace(
            "\nresources:\n",
            &format!("\n{UNIT_READ}{tool}resources:\n"),
        );
        format!(
            "{text}\n{}",
            EMERGENCY.replace("read_record,", "read_record, portal,")
        )
    });
    let mut nurse = begun(caller(&["nurse"]));
    nurse.claims = json!({ "department": "icu", "patient": "p-9" });
    let permit = nurse.call(&policy, "portal", &of("p-1")).unwrap();
    let only: Vec<_> = permit.only_patients.unwrap().iter().cloned().collect();
    assert_eq!((permit.emergency, only), (true, vec!["p-1".to_owned()]));
    let own = nurse.call(&policy, "portal", &of("p-9")).unwrap();
    assert!(!own.emergency);
    let reason = DenialReason::OtherPatient;
    assert_eq!(nurse.denied(&policy, "portal", &of("p-2")), reason);
}

const TOOLS: [&str; 7] = [
    "find_patient",
    "read_record",
    "store_record",
    "export_records",
    "delete_record",
    "list_departments",
    "unit_read",
];

fn rank(view: View) -> u8 {
    match view {
        View::Withhold => 0,
        View::Token => 1,
        View::Mask(_) => 2,
        View::Reveal => 3,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// The whole promise: other patient, other tool, other time or no emergency: as without one. Else never less than without one.
    #[test]
    fn an_emergency_never_narrows_and_widens_its_patient_tools_and_time_alone(
        roles in proptest::sample::subsequence(vec!["physician", "nurse", "billing", "care_agent"], 0..=4),
        tool in proptest::sample::select(TOOLS.to_vec()),
        asked in proptest::sample::select(vec!["p-1", "p-2"]),
        until in NOW - 2..NOW + 3,
        second_factor: bool,
        purpose in proptest::sample::select(vec![None, Some("TREAT"), Some("HPAYMT"), Some("BTG")]),
    ) {
        let policy = breakable();
        let mut plain = caller(&roles);
        plain.second_factor = second_factor;
        plain.purpose = purpose.map(str::to_owned);
        let mut begun = plain.clone();
        begun.emergency = Some(("p-1".to_owned(), until));
        let args = json!({ "patient_id": asked, "department": "icu" });
        let (before, with) = (plain.call(&policy, tool, &args), begun.call(&policy, tool, &args));
        prop_assert!(!plain.sees(&policy, tool) || begun.sees(&policy, tool));
        let is_its = ["find_patient", "read_record", "unit_read"].contains(&tool) && until > NOW && second_factor
            && (asked == "p-1" || tool == "find_patient");
        match (&before, &with) {
            (Ok(before), Ok(with)) => {
                for (id, name) in policy.fields() {
                    let (was, is) = (before.views.of(id), with.views.of(id));
                    prop_assert!(rank(is) >= rank(was), "{name}");
                    prop_assert!(is == was || with.emergency, "{name}");
                }
                prop_assert!(with.emergency || before.purpose == with.purpose);
            }
            (Ok(_), Err(_)) => prop_assert!(false, "narrowed"),
            (Err(_), Ok(with)) => prop_assert!(with.emergency),
            (Err(before), Err(with)) => prop_assert_eq!(before.reason, with.reason),
        }
        if let Ok(with) = with {
            prop_assert!(!with.emergency || is_its);
            if with.emergency {
                prop_assert_eq!(with.purpose.as_deref(), Some("BTG"));
            }
        }
    }
}
