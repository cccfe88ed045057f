//! The patients of the tests: values to look for where they must not be.

use serde_json::{Value, json};

/// Every PHI value of [`record`], as text.
pub const VALUES: [&str; 6] = [
    "123-45-6789",
    "1980-02-29",
    "MRN-0041789",
    "hypertension stage two",
    "lisinopril 10 mg",
    "6.1375",
];

/// What stands under `data` in a record: one value for each field of the policy, and one under a name that is nowhere in it.
pub fn data() -> Value {
    json!({
        "ssn": VALUES[0], "date_of_birth": VALUES[1], "medical_record_number": VALUES[2],
        "diagnosis": VALUES[3], "medications": [VALUES[4]], "test_results": {"hba1c": 6.1375, "taken": "2026-03-01"},
        "status": "active",
    })
}

/// A record as a client hands it to `store_record`.
pub fn record(patient: &str) -> Value {
    json!({"patient_id": patient, "data": data()})
}

/// The arguments of `store_record` for a patient of cardiology.
pub fn to_store(patient: &str) -> Value {
    json!({"patient_id": patient, "department": "cardiology", "record": record(patient)})
}

/// Asserts that a text holds none of [`VALUES`].
#[track_caller]
pub fn assert_no_value(text: &str, what: &str) {
    for value in VALUES {
        assert!(
            !text.contains(value),
            "{what} holds no PHI value, but it has {value:?}"
        );
    }
}
