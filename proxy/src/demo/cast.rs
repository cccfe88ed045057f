//! Who takes part and what they say: the principals, the two patients, and which of their words
//! are PHI. All of it is invented; the social security numbers are of a range never assigned.

use serde_json::{Value, json};

/// The certificate of software whose screen a person reads.
pub(crate) const CHART_WEB: &str = "web.healthcare.example.com";
/// The certificate of software that acts by itself.
pub(crate) const CARE_AGENT: &str = "agent.healthcare.example.com";

/// The patient whose record is stored, read and shown.
pub(crate) const PATIENT: &str = "pt-7041";
/// The patient whose stored record the demo tampers with.
pub(crate) const TAMPERED: &str = "pt-7042";
pub(crate) const DEPARTMENT: &str = "cardiology";

/// The members of a record that the policy names as PHI, in the order they are shown.
pub(crate) const PHI_FIELDS: [&str; 6] = [
    "ssn",
    "date_of_birth",
    "medical_record_number",
    "diagnosis",
    "medications",
    "test_results",
];

/// A principal and the software used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Persona {
    pub(crate) subject: &'static str,
    pub(crate) role: &'static str,
    pub(crate) purpose: &'static str,
    /// The name in the client's certificate.
    pub(crate) certificate: &'static str,
    /// The heading of the persona's column.
    pub(crate) title: &'static str,
}

pub(crate) const PHYSICIAN: Persona = Persona {
    subject: "dr.osei",
    role: "physician",
    purpose: "TREAT",
    certificate: CHART_WEB,
    title: "physician",
};
pub(crate) const NURSE: Persona = Persona {
    subject: "nurse.lindqvist",
    role: "nurse",
    purpose: "TREAT",
    certificate: CHART_WEB,
    title: "nurse",
};
pub(crate) const BILLING: Persona = Persona {
    subject: "billing.moreau",
    role: "billing",
    purpose: "HPAYMT",
    certificate: CHART_WEB,
    title: "billing",
};
/// A physician as well, but through an agent, which the policy caps at `care_agent`.
pub(crate) const AGENT: Persona = Persona {
    subject: "dr.haddad",
    role: "physician",
    purpose: "TREAT",
    certificate: CARE_AGENT,
    title: "care-agent",
};

/// The ones whose views of one record are compared, in the order of the columns.
pub(crate) const READERS: [Persona; 4] = [PHYSICIAN, NURSE, BILLING, AGENT];

/// The arguments that store [`PATIENT`]'s record.
pub(crate) fn first_record() -> Value {
    stored(
        PATIENT,
        json!({
            "ssn": "987-65-4320",
            "date_of_birth": "1961-04-17",
            "medical_record_number": "MRN-4471-0093",
            "diagnosis": "atrial fibrillation (I48.91)",
            "medications": ["apixaban 5 mg", "metoprolol 50 mg"],
            "test_results": {"troponin_ng_l": 11.73, "ecg": "irregular, no P waves"},
        }),
    )
}

/// The arguments that store [`TAMPERED`]'s record.
pub(crate) fn second_record() -> Value {
    stored(
        TAMPERED,
        json!({
            "ssn": "987-65-4329",
            "date_of_birth": "1987-11-02",
            "medical_record_number": "MRN-2210-7756",
            "diagnosis": "stable angina (I20.89)",
            "medications": ["nitroglycerin 0.4 mg"],
            "test_results": {"ldl_mg_dl": 161.5, "stress_test": "positive at stage 3"},
        }),
    )
}

fn stored(patient: &str, phi: Value) -> Value {
    let mut data = json!({"patient_id": patient, "department": DEPARTMENT, "status": "admitted"});
    if let (Value::Object(data), Value::Object(phi)) = (&mut data, phi) {
        data.extend(phi);
    }
    json!({
        "patient_id": patient, "department": DEPARTMENT,
        "record": {"patient_id": patient, "data": data},
    })
}
