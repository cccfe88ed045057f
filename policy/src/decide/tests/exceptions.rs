//! An exception holds for its rule through its last day, and for nothing else.

use super::*;

const DAY: i64 = 24 * 3600;

#[test]
fn an_exception_holds_for_its_rule_to_the_end_of_its_last_day_and_then_not() {
    let policy = policy_with(|text| {
        format!(
            "{text}\nexceptions:\n  - {{ allow: storage_clear, for: tools.read_record, because: x, approved_by: ciso, until: 2027-01-15 }}\n"
        )
    });
    let physician = caller(&["physician"]);
    let end = policy.exceptions().first().unwrap().ends_unix;
    assert!((NOW..NOW + DAY).contains(&end));
    let clear = |name, now| {
        let args = &json!({ "patient_id": "p-1" });
        let action = Action::Tool { name, args };
        let decision = decide(&policy, &physician.principal(), &action, now);
        decision.permit().map(|permit| permit.clear)
    };
    assert_eq!(clear("read_record", end - 1), Some(true));
    assert_eq!(clear("read_record", end), Some(false));
    assert_eq!(clear("find_patient", end - 1), Some(false));
}
