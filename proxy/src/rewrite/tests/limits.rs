//! How many patients an answer may hold, and whose.

use super::*;

const SEARCH: &str = "    patient: result.patients[*].patient_id\n";

/// The example's policy, its search limited.
fn limited(limits: &str) -> World {
    World::with(|text| text.replace(SEARCH, &format!("{SEARCH}{limits}")))
}

/// The search, for somebody who may see these patients.
fn search(world: &World, own: &Value) -> Permit {
    let action = Action::Tool {
        name: "find_patient",
        args: &json!({}),
    };
    world.permit_of("physician", &json!({ "patient": own }), &action)
}

/// Both copies of a result.
fn copies(patients: &Value) -> Value {
    let result = json!({ "patients": patients, "total": 2 });
    json!({ "structuredContent": result, "content": [{ "type": "text", "text": result.to_string() }] })
}

fn patient(id: &str) -> Value {
    json!({ "patient_id": id, "ssn": CANARY })
}

#[test]
fn an_answer_of_more_patients_than_the_rule_allows_is_refused() {
    let world = limited("    max_patients: 2\n");
    let permit = search(&world, &Value::Null);
    let two = copies(&json!([patient("p-1"), patient("p-2"), patient("p-1")]));
    let seen = world.shown(&permit, &two).unwrap();
    let seen = seen["structuredContent"]["patients"].as_array().unwrap();
    assert_eq!(seen.len(), 3, "two patients, one of them twice");
    let three = copies(&json!([patient("p-1"), patient("p-2"), patient("p-3")]));
    assert_eq!(
        world.shown(&permit, &three),
        Err(RewriteError::Denied("too_many_patients"))
    );
}

#[test]
fn patients_are_counted_over_all_copies_together() {
    let world = limited("    max_patients: 2\n");
    let permit = search(&world, &Value::Null);
    let text =
        |id| json!({ "type": "text", "text": json!({ "patients": [patient(id)] }).to_string() });
    let result = json!({ "content": [text("p-1"), text("p-2"), text("p-3")] });
    assert_eq!(
        world.shown(&permit, &result),
        Err(RewriteError::Denied("too_many_patients"))
    );
}

#[test]
fn another_patient_is_taken_out_of_every_copy_and_counted() {
    let world = limited("    only_patients: claims.patient\n");
    for own in [json!("p-2"), json!(["p-2", "p-9"])] {
        let permit = search(&world, &own);
        let all = json!([patient("p-1"), patient("p-2"), { "ssn": CANARY }, patient("p-3")]);
        let text = json!({ "jsonrpc": "2.0", "id": 1, "result": copies(&all) }).to_string();
        let rewritten = world.down(&permit, Method::Tool, &text).unwrap();
        assert_eq!(
            (rewritten.dropped, rewritten.patients),
            (3, vec!["p-2".to_owned()])
        );
        let body: Value = serde_json::from_slice(&rewritten.body.unwrap()).unwrap();
        let expected = json!({ "patients": [patient("p-2")] });
        assert_eq!(body["result"]["structuredContent"], expected);
        let twin = body["result"]["content"][0]["text"].as_str().unwrap();
        assert_eq!(serde_json::from_str::<Value>(twin).unwrap(), expected);
    }
}

#[test]
fn a_sealed_element_is_judged_in_clear() {
    let world = limited("    only_patients: claims.patient\n");
    let permit = search(&world, &json!("p-2"));
    let sealed = |id| json!({ "patient_id": id, "ssn": world.sealed("ssn", &json!(CANARY)) });
    let seen = world.structured(
        &permit,
        &json!({ "patients": [sealed("p-1"), sealed("p-2")] }),
    );
    assert_eq!(seen.unwrap(), json!({ "patients": [patient("p-2")] }));
}

#[test]
fn phi_that_stands_beside_the_patients_is_refused_wherever_it_stands() {
    for limits in [
        "    max_patients: 9\n",
        "    only_patients: claims.patient\n",
    ] {
        let world = limited(limits);
        let permit = search(&world, &json!("p-1"));
        let inside = json!({ "ssn": CANARY }).to_string();
        for beside in [
            json!({ "patients": [patient("p-1")], "ssn": CANARY }),
            json!({ "patients": [patient("p-1")], "next": { "ssn": CANARY } }),
            json!({ "patients": [patient("p-1")], "raw": inside }),
            json!({ "patients": { "p-1": patient("p-1") } }),
            json!({ "records": [patient("p-1")] }),
        ] {
            let text = [json!({ "type": "text", "text": beside.to_string() })];
            for result in [
                json!({ "structuredContent": beside }),
                json!({ "content": text }),
            ] {
                let shown = world.shown(&permit, &result);
                assert_eq!(
                    shown,
                    Err(RewriteError::Denied("patient_not_told")),
                    "{result}"
                );
            }
        }
        let resource =
            json!({ "uri": "patient://p-1", "mimeType": "application/json", "text": inside });
        let result = json!({ "content": [{ "type": "resource", "resource": resource }] });
        let shown = world.shown(&permit, &result);
        assert_eq!(shown, Err(RewriteError::Denied("patient_not_told")));
    }
}

#[test]
fn without_a_limit_on_whom_an_element_of_nobody_is_refused_not_taken_out() {
    let world = limited("    max_patients: 9\n");
    let permit = search(&world, &Value::Null);
    for nobody in [
        json!({ "ssn": CANARY }),
        json!({ "patient_id": null }),
        json!({ "patient_id": ["p-1"] }),
    ] {
        let shown = world.shown(&permit, &copies(&json!([patient("p-1"), nobody])));
        assert_eq!(shown, Err(RewriteError::Denied("patient_not_told")));
    }
}

#[test]
fn an_answer_that_is_one_patients_is_refused_where_it_is_another_ones() {
    let world = World::with(|text| {
        text.replace(
            SEARCH,
            "    patient: result.patient_id\n    only_patients: claims.patient\n",
        )
    });
    let permit = search(&world, &json!("p-1"));
    assert!(world.structured(&permit, &patient("p-1")).is_ok());
    assert_eq!(
        world.structured(&permit, &patient("p-2")),
        Err(RewriteError::Denied("other_patient"))
    );
}

#[test]
fn an_error_that_names_nobody_passes_the_limits() {
    let world = limited("    only_patients: claims.patient\n    max_patients: 1\n");
    let permit = search(&world, &json!("p-1"));
    let mut result = text_block("no such patient");
    result["isError"] = json!(true);
    assert_eq!(world.shown(&permit, &result).unwrap()["isError"], true);
    let shown = world.shown(&permit, &copies(&json!([]))).unwrap();
    assert_eq!(shown["structuredContent"]["patients"], json!([]));
}
