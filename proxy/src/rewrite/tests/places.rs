//! PHI that its place tells and no name: FHIR's paths, and a tool's own meaning of a place.

use super::*;

/// The example with fields of FHIR: an SSN among the identifiers, what was observed, a narrative.
fn fhir() -> World {
    World::with(|text| {
        let text = text.replace(
            "also: [patient_ssn, social_security_number]",
            "also: [patient_ssn, \"Patient.identifier[system=us-ssn].value\"]",
        );
        let text = text.replace(
            "also: [mrn]",
            "also: [mrn, \"Patient.identifier[type.coding.code=MR].value\"]",
        );
        let text = text.replace("test_results: { group: clinical }", "test_results: { group: clinical, also: [\"Observation.value[x]\", \"Observation.component.value[x]\"] }");
        let text = text.replace(
            "diagnosis: { group: clinical, also: [diagnoses] }",
            "diagnosis: { group: clinical, also: [\"Resource.text.div\", \"Condition.code\"] }",
        );
        text.replace("results: withhold", "results: reveal")
    })
}

fn bundle() -> Value {
    json!({ "resourceType": "Bundle", "entry": [
        { "resource": { "resourceType": "Patient", "id": "p-1", "identifier": [
            { "system": "http://hl7.org/fhir/sid/us-ssn", "value": CANARY },
            { "type": { "coding": [{ "code": "XX" }, { "code": "MR" }] }, "value": "MRN-CANARY" },
            { "system": "urn:oid:1.2.3", "value": "a public number" },
        ], "text": { "status": "generated", "div": "<div>narrative canary</div>" } } },
        { "resource": { "resourceType": "Observation", "code": { "text": "INR" }, "valueQuantity": { "value": 2.75, "unit": "1" },
            "component": [{ "valueString": "component canary" }], "valueset": "kept" } },
        { "resource": { "resourceType": "Condition", "code": { "text": "condition canary" } } },
    ] })
}

const HIDDEN: [&str; 6] = [
    CANARY,
    "MRN-CANARY",
    "narrative canary",
    "2.75",
    "component canary",
    "condition canary",
];

#[test]
fn fhir_values_go_up_sealed_and_come_back_as_they_were() {
    let world = fhir();
    let permit = world.tool("physician", "look");
    let sent = world.sent(&permit, &json!({ "bundle": bundle() })).unwrap();
    let text = sent.to_string();
    for hidden in HIDDEN {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
    for kept in ["a public number", "\"kept\"", "us-ssn", "INR", "\"MR\""] {
        assert!(text.contains(kept), "{kept}: {text}");
    }
    let value = &sent["bundle"]["entry"][0]["resource"]["identifier"][0]["value"];
    assert_eq!(world.opened("ssn", value), json!(CANARY));
    let back = world.structured(&permit, &sent["bundle"]).unwrap();
    assert_eq!(back, bundle());
}

#[test]
fn fhir_values_are_shown_by_their_fields_views_wherever_the_resource_stands() {
    let world = fhir();
    let permit = world.tool("billing", "look");
    let nested = json!({ "a": [{ "contained": bundle() }] });
    let mut result = text_block(&nested.to_string());
    result["structuredContent"] = nested;
    result["_meta"] = json!({ "patient": bundle() });
    let shown = world.shown(&permit, &result).unwrap();
    let text = shown.to_string();
    for hidden in [CANARY, "2.75", "component canary"] {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
    let identifier =
        &shown["structuredContent"]["a"][0]["contained"]["entry"][0]["resource"]["identifier"];
    assert_eq!(identifier[0]["value"], json!("***-**-6789"));
    assert_eq!(identifier[1]["value"], json!("MRN-CANARY"));
    assert_eq!(identifier[2]["value"], json!("a public number"));
}

#[test]
fn a_fhir_value_that_the_caller_may_not_reveal_is_refused() {
    let world = fhir();
    let permit = world.tool("billing", "look");
    let sent = world.sent(&permit, &json!({ "text": bundle().to_string() }));
    assert!(matches!(
        sent,
        Err(RewriteError::Denied("field_not_revealed"))
    ));
}

#[test]
fn a_token_in_a_place_is_redeemed_there() {
    let world = fhir();
    let permit = world.tool("care_agent", "look");
    let shown = world.structured(&permit, &bundle()).unwrap();
    let token = shown["entry"][0]["resource"]["identifier"][0]["value"].clone();
    assert!(token.as_str().unwrap().starts_with("sgt1."), "{shown}");
    let back = json!({ "patient": { "resourceType": "Patient", "identifier": [{ "system": "us-ssn", "value": token }] } });
    let sent = world.sent(&permit, &back).unwrap();
    assert_eq!(
        world.opened("ssn", &sent["patient"]["identifier"][0]["value"]),
        json!(CANARY)
    );
}

#[test]
fn a_tools_own_meaning_beats_the_policys() {
    let own = |text: &str| {
        text.replace("  look: { operation: read, roles: any, patient: args.patient_id }", "  look: { operation: read, roles: any, patient: args.patient_id, fields: { result.rows.value: test_results, result.ssn: not_phi, args.code: diagnosis } }")
    };
    let world = World::with(own);
    let permit = world.tool("billing", "look");
    let content = json!({ "ssn": "a social service number", "rows": [{ "value": "result canary", "status": "final" }], "deeper": { "ssn": CANARY } });
    let mut result = text_block(&content.to_string());
    result["structuredContent"] = content;
    let shown = world.shown(&permit, &result).unwrap();
    let structured = &shown["structuredContent"];
    assert_eq!(structured["ssn"], json!("a social service number"));
    assert_eq!(structured["rows"], json!([{ "status": "final" }]));
    assert_eq!(structured["deeper"]["ssn"], json!("***-**-6789"));
    let twin: Value = serde_json::from_str(shown["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(&twin, structured);
    let physician = world.tool("physician", "look");
    let sent = world
        .sent(
            &physician,
            &json!({ "code": "I10", "deeper": { "code": "kept" } }),
        )
        .unwrap();
    assert_eq!(world.opened("diagnosis", &sent["code"]), json!("I10"));
    assert_eq!(sent["deeper"]["code"], json!("kept"));
}

#[test]
fn a_schema_is_widened_where_a_place_may_end() {
    let world = fhir();
    let permit = world.tool("billing", "look");
    let schema = json!({ "type": "object", "properties": { "value": { "type": "integer" }, "valueQuantity": { "type": "object" }, "system": { "type": "string" } } });
    let text = lists::list(&json!([{ "name": "look", "outputSchema": schema }]));
    let seen = lists::listed(
        &world,
        &crate::rewrite::shapes::Shapes::default(),
        &text,
        Some(&permit),
    );
    let seen: Value = serde_json::from_str(&seen).unwrap();
    let output = &seen["result"]["tools"][0]["outputSchema"]["properties"];
    assert_eq!(
        output["value"]["anyOf"][1],
        json!({ "type": ["string", "null"] })
    );
    assert_eq!(
        output["valueQuantity"]["anyOf"][1],
        json!({ "type": ["string", "null"] })
    );
    assert_eq!(output["system"], schema["properties"]["system"]);
}

/// A bundle of US Core resources with a canary in every place of PHI that a person would name.
fn us_core() -> (Value, Vec<String>) {
    let mut planted = Vec::new();
    let mut hide = |what: &str| {
        let canary = format!("CANARY-{what}");
        planted.push(canary.clone());
        canary
    };
    let bundle = json!({ "resourceType": "Bundle", "type": "searchset", "total": 4, "entry": [
        { "fullUrl": hide("full-url"), "search": { "mode": "match" }, "resource": { "resourceType": "Patient", "id": hide("id"), "active": true,
            "text": { "status": "generated", "div": hide("narrative") },
            "extension": [{ "url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race", "extension": [{ "url": "text", "valueString": hide("race") }] }],
            "identifier": [{ "use": "usual", "type": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR" }] }, "system": "http://hospital.example.org", "value": hide("mrn") },
                { "system": "http://hl7.org/fhir/sid/us-ssn", "value": hide("ssn") }, { "system": "urn:other", "value": hide("other-id") }],
            "name": [{ "use": "official", "family": hide("family"), "given": [hide("given")] }], "telecom": [{ "system": "phone", "value": hide("phone") }],
            "gender": hide("gender"), "birthDate": hide("birth"), "address": [{ "line": [hide("line")], "postalCode": hide("zip") }],
            "contact": [{ "name": { "text": hide("contact") } }], "deceasedDateTime": hide("death") } },
        { "resource": { "resourceType": "Observation", "status": "final", "code": { "coding": [{ "system": "http://loinc.org", "code": "6301-6", "display": "INR" }] },
            "subject": { "reference": hide("subject"), "display": hide("subject-name") }, "effectiveDateTime": hide("effective"), "valueQuantity": { "value": 2.5, "unit": hide("result") }, "note": [{ "text": hide("note") }] } },
        { "resource": { "resourceType": "Condition", "code": { "text": hide("condition") }, "onsetString": hide("onset"), "contained": [{ "resourceType": "RelatedPerson", "name": [{ "text": hide("relative") }] }] } },
        { "resource": { "resourceType": "MedicationRequest", "status": "active", "medicationCodeableConcept": { "text": hide("medication") }, "dosageInstruction": [{ "text": hide("dose") }] } },
    ] });
    (bundle, planted)
}

fn preset(unlisted: &str) -> World {
    World::with(|text| {
        text.replace(
            "phi:\n  domain",
            "phi:\n  presets: [safe-harbor@1, fhir-r4@1]\n  domain",
        )
        .replace("results: withhold", unlisted)
        .replace(
            "reveal: [identity, clinical] }",
            "reveal: [identity, clinical, contact, account, dates, biometric, demographics] }",
        )
    })
}

#[test]
fn us_core_bundles_go_up_sealed_and_come_back_whole_with_the_presets() {
    let world = preset("results: reveal");
    let permit = world.tool("physician", "look");
    let (bundle, planted) = us_core();
    let sent = world.sent(&permit, &json!({ "bundle": bundle })).unwrap();
    let text = sent.to_string();
    // Ids and references go up as they are: sealed, they would lead nowhere.
    let ids = ["CANARY-full-url", "CANARY-id", "CANARY-subject"];
    for canary in planted
        .iter()
        .filter(|canary| !ids.contains(&canary.as_str()))
    {
        assert!(!text.contains(canary.as_str()), "{canary}: {text}");
    }
    assert_eq!(world.structured(&permit, &sent["bundle"]).unwrap(), bundle);
}

#[test]
fn who_sees_nothing_of_a_us_core_bundle_sees_its_structure() {
    let world = preset("results: withhold");
    let permit = world.tool("care_agent", "look");
    let (bundle, planted) = us_core();
    let mut result = text_block(&bundle.to_string());
    result["structuredContent"] = bundle;
    let shown = world.shown(&permit, &result).unwrap();
    let text = shown.to_string();
    // What the role may see: it carries the MRN and the SSN as tokens, and reads medications and results.
    for canary in planted.iter().filter(|canary| {
        !["CANARY-result", "CANARY-medication", "CANARY-dose"].contains(&canary.as_str())
    }) {
        assert!(!text.contains(canary.as_str()), "{canary}: {text}");
    }
    let entry = &shown["structuredContent"]["entry"];
    assert_eq!(shown["structuredContent"]["resourceType"], json!("Bundle"));
    assert_eq!(
        entry[1]["resource"].get("code"),
        None,
        "what was measured says much by itself"
    );
    assert_eq!(
        entry[1]["resource"]["valueQuantity"]["unit"],
        json!("CANARY-result")
    );
    let identifier = &entry[0]["resource"]["identifier"];
    assert!(
        identifier[0]["value"]
            .as_str()
            .unwrap()
            .starts_with("sgt1."),
        "{identifier}"
    );
    assert!(
        identifier[1]["value"]
            .as_str()
            .unwrap()
            .starts_with("sgt1."),
        "{identifier}"
    );
    assert_eq!(identifier[2].get("value"), None);
}
