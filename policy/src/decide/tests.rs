//! One test a sentence of the contract, and properties over generated policies and principals.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::load::tests::{example, example_env};
use crate::policy::FieldClass;
use crate::principal::ActiveEmergency;
use crate::{Source, load};

mod emergency;
mod exceptions;
mod purpose;

const NOW: i64 = 1_800_000_000;

fn policy_with(change: impl Fn(&str) -> String) -> Policy {
    let mut sources = example();
    sources[4].text = change(&sources[4].text);
    let loaded = load(&sources, &example_env());
    let lines: Vec<String> = loaded.findings.iter().map(ToString::to_string).collect();
    loaded
        .configuration
        .unwrap_or_else(|| panic!("{lines:#?}"))
        .policy
}

fn policy() -> Policy {
    policy_with(str::to_owned)
}

/// The example's policy with more tools.
fn with_tools(tools: &str) -> Policy {
    policy_with(|text| text.replace("\nresources:\n", &format!("\n{tools}resources:\n")))
}

fn method(policy: &Policy, c: &Caller, name: &str) -> Decision {
    let params = &Value::Null;
    decide(
        policy,
        &c.principal(),
        &Action::Method { name, params },
        NOW,
    )
}

#[derive(Clone)]
struct Caller {
    roles: Vec<String>,
    claims: Value,
    purpose: Option<String>,
    names: Vec<String>,
    second_factor: bool,
    service: bool,
    authenticated_at: Option<i64>,
    acr: Option<String>,
    emergency: Option<(String, i64)>,
}

/// Somebody at the chart's screen with fresh second factor.
fn caller(roles: &[&str]) -> Caller {
    Caller {
        roles: roles.iter().map(|r| (*r).to_owned()).collect(),
        claims: json!({ "department": "icu" }),
        purpose: None,
        names: vec!["web.healthcare.example.com".into()],
        second_factor: true,
        service: false,
        authenticated_at: Some(NOW - 10),
        acr: None,
        emergency: None,
    }
}

impl Caller {
    fn principal(&self) -> Principal<'_> {
        Principal {
            subject: "s",
            issuer: "i",
            roles: &self.roles,
            claims: &self.claims,
            purpose: self.purpose.as_deref(),
            certificate_names: &self.names,
            service: self.service,
            second_factor: self.second_factor,
            authenticated_at: self.authenticated_at,
            acr: self.acr.as_deref(),
            emergency: self
                .emergency
                .as_ref()
                .map(|(patient, until)| ActiveEmergency {
                    patient,
                    until_unix: *until,
                }),
        }
    }

    fn call(&self, policy: &Policy, name: &str, args: &Value) -> Result<Permit, Denial> {
        match decide(policy, &self.principal(), &Action::Tool { name, args }, NOW) {
            Decision::Permit(permit) => Ok(permit),
            Decision::Denial(denial) => Err(denial),
        }
    }

    fn denied(&self, policy: &Policy, name: &str, args: &Value) -> DenialReason {
        self.call(policy, name, args).unwrap_err().reason
    }

    fn sees(&self, policy: &Policy, name: &str) -> bool {
        visible(policy, &self.principal(), &Listed::Tool(name), NOW)
    }
}

fn view(policy: &Policy, permit: &Permit, field: &str) -> View {
    match policy.classify(field) {
        FieldClass::Phi(id) => permit.views.of(id),
        other => panic!("{field} is {other:?}"),
    }
}

fn patient() -> Value {
    json!({ "patient_id": "p-1" })
}

const LAB: &str = "  lab_*: { operation: read, roles: [nurse], patient: args.patient_id }\n";

#[test]
fn a_pattern_permits_what_fits_it_and_an_exact_name_wins() {
    let policy = with_tools(&format!(
        "{LAB}  lab_admin: {{ operation: read, roles: [physician], patient: args.patient_id }}\n  \"*_list\": {{ operation: none, roles: any, patient: none }}\n"
    ));
    let nurse = caller(&["nurse"]);
    let permit = nurse.call(&policy, "lab_results", &patient()).unwrap();
    assert_eq!(permit.rule.name.as_ref(), "tools.lab_*");
    assert!(nurse.sees(&policy, "lab_results"));
    for (tool, reason) in [
        ("lab_admin", DenialReason::RoleNotAllowed),
        ("lab_list", DenialReason::AmbiguousTool),
        ("lab_*", DenialReason::NotListed),
        ("lab_Jane Doe", DenialReason::NotListed),
        ("labs", DenialReason::NotListed),
    ] {
        assert_eq!(nurse.denied(&policy, tool, &patient()), reason, "{tool}");
        assert!(!nurse.sees(&policy, tool), "{tool}");
    }
}

#[test]
fn a_call_is_about_the_bearers_own_patients_alone_where_the_rule_says_so() {
    let policy = with_tools(
        "  portal: { operation: read, roles: [nurse], patient: \"args.ids[*]\", only_patients: claims.patient }\n",
    );
    let of = |claim: Value| {
        let mut caller = caller(&["nurse"]);
        caller.claims = json!({ "patient": claim });
        caller
    };
    let asked = |ids: Value| json!({ "ids": ids });
    let own = of(json!(["p-1", "p-2"]));
    assert!(own.call(&policy, "portal", &asked(json!(["p-2"]))).is_ok());
    let permit = own.call(&policy, "portal", &asked(json!(["p-1", "p-2"])));
    let whose = permit.unwrap().only_patients.unwrap();
    assert!(whose.iter().eq(["p-1", "p-2"]));
    assert_eq!(
        own.denied(&policy, "portal", &asked(json!(["p-1", "p-3"]))),
        DenialReason::OtherPatient
    );
    assert!(own.sees(&policy, "portal"));
    for nobody in [
        Value::Null,
        json!(""),
        json!([]),
        json!([{}]),
        json!({ "a": "p-1" }),
        json!([""]),
    ] {
        let caller = of(nobody.clone());
        let reason = caller.denied(&policy, "portal", &asked(json!(["p-1"])));
        assert_eq!(reason, DenialReason::PatientsUnknown, "{nobody}");
        assert!(!caller.sees(&policy, "portal"), "{nobody}");
    }
    let many: Vec<String> = (0..=1024).map(|n| format!("p-{n}")).collect();
    let reason = of(json!(many)).denied(&policy, "portal", &asked(json!(["p-1"])));
    assert_eq!(reason, DenialReason::PatientsUnknown);
}

#[test]
fn an_export_that_does_not_say_who_receives_it_is_denied() {
    let policy = with_tools(
        "  hand_out: { operation: export, roles: [physician], patient: args.patient_id, recipient: args.to }\n",
    );
    let physician = caller(&["physician"]);
    let to = |to: Value| json!({ "patient_id": "p-1", "to": to });
    assert!(
        physician
            .call(&policy, "hand_out", &to(json!("registry")))
            .is_ok()
    );
    for nobody in [Value::Null, json!(""), json!({}), json!([])] {
        let reason = physician.denied(&policy, "hand_out", &to(nobody));
        assert_eq!(reason, DenialReason::RecipientMissing);
    }
    assert!(physician.sees(&policy, "hand_out"));
}

#[test]
fn names_are_classified_whatever_their_case_or_separators() {
    let policy = policy();
    for name in [
        "ssn",
        "SSN",
        "patientSsn",
        "Social-Security.Number",
        "dateOfBirth",
        "DOB",
        "birth date",
        "MRN",
    ] {
        assert!(
            matches!(policy.classify(name), FieldClass::Phi(_)),
            "{name}"
        );
    }
    assert_eq!(policy.classify("patientId"), FieldClass::NotPhi);
    assert_eq!(policy.classify("notes"), FieldClass::Unlisted);
    assert_eq!(policy.classify(&"x".repeat(10_000)), FieldClass::Unlisted);
    assert!(Policy::is_integrity_member("integrity_hash") && !Policy::is_integrity_member("data"));
}

#[test]
fn a_tool_that_is_not_named_is_denied_and_hidden() {
    let (policy, c) = (policy(), caller(&["physician"]));
    let denial = c.call(&policy, "drop_database", &json!({})).unwrap_err();
    assert_eq!(
        (denial.reason, denial.rule, denial.step_up),
        (DenialReason::NotListed, None, None)
    );
    assert!(!c.sees(&policy, "drop_database"));
}

#[test]
fn candidates_are_the_roles_that_the_tool_lists() {
    let policy = policy();
    assert_eq!(
        caller(&["nurse"]).denied(&policy, "store_record", &patient()),
        DenialReason::RoleNotAllowed
    );
    assert_eq!(
        caller(&["stranger"]).denied(&policy, "list_departments", &json!({})),
        DenialReason::RoleNotAllowed
    );
    assert_eq!(
        caller(&[]).denied(&policy, "list_departments", &json!({})),
        DenialReason::RoleNotAllowed
    );
    let permit = caller(&["stranger", "nurse"])
        .call(&policy, "read_record", &patient())
        .unwrap();
    assert_eq!(permit.roles, vec![Arc::<str>::from("nurse")]);
    assert_eq!(permit.rule.name.as_ref(), "tools.read_record");
    assert_eq!(permit.client.as_ref(), "chart-web");
}

#[test]
fn the_purpose_is_the_tokens_or_the_only_one() {
    let policy = policy();
    let mut c = caller(&["nurse", "billing"]);
    assert_eq!(
        c.denied(&policy, "read_record", &patient()),
        DenialReason::PurposeMissing
    );
    c.purpose = Some("HPAYMT".into());
    let permit = c.call(&policy, "read_record", &patient()).unwrap();
    assert_eq!(permit.purpose.as_deref(), Some("HPAYMT"));
    assert_eq!(permit.roles, vec![Arc::<str>::from("billing")]);
    assert_eq!(
        view(&policy, &permit, "medications"),
        View::Withhold,
        "only those that hold the purpose count"
    );
    c.purpose = Some("HRESCH".into());
    assert_eq!(
        c.denied(&policy, "read_record", &patient()),
        DenialReason::PurposeNotAllowed
    );
    let permit = caller(&["nurse", "physician"])
        .call(&policy, "read_record", &patient())
        .unwrap();
    assert_eq!(permit.purpose.as_deref(), Some("TREAT"));
}

#[test]
fn a_field_takes_the_widest_view_and_the_client_caps_it() {
    let policy = policy();
    let nurse = caller(&["nurse"])
        .call(&policy, "read_record", &patient())
        .unwrap();
    assert_eq!(
        view(&policy, &nurse, "ssn"),
        View::Mask(Mask::Last4),
        "a field beats its group"
    );
    assert_eq!(view(&policy, &nurse, "dob"), View::Reveal);
    assert_eq!(view(&policy, &nurse, "diagnosis"), View::Withhold);
    let both = caller(&["nurse", "physician"])
        .call(&policy, "read_record", &patient())
        .unwrap();
    assert_eq!(view(&policy, &both, "ssn"), View::Reveal);
    let mut agent = caller(&["physician"]);
    agent.names = vec![
        "other.example.com".into(),
        "AGENT.healthcare.example.com".into(),
    ];
    let capped = agent.call(&policy, "read_record", &patient()).unwrap();
    assert_eq!(capped.client.as_ref(), "care-agent");
    assert_eq!(view(&policy, &capped, "ssn"), View::Token);
    assert_eq!(view(&policy, &capped, "dob"), View::Withhold);
    assert_eq!(view(&policy, &capped, "medications"), View::Reveal);
}

#[test]
fn an_unknown_client_is_denied_and_sees_nothing() {
    let policy = policy();
    let mut c = caller(&["physician"]);
    for names in [vec![], vec!["x.healthcare.example.com".to_owned()]] {
        c.names = names;
        assert_eq!(
            c.denied(&policy, "read_record", &patient()),
            DenialReason::ClientUnknown
        );
        assert!(!c.sees(&policy, "read_record"));
        let list = method(&policy, &c, "tools/list");
        assert_eq!(list.denial().unwrap().reason, DenialReason::ClientUnknown);
    }
}

#[test]
fn a_star_stands_for_one_label_and_an_exact_name_wins() {
    let policy = policy_with(|text| {
        text.replace(
            "web.healthcare.example.com }",
            "\"*.healthcare.example.com\" }",
        )
    });
    assert_eq!(policy.clients(), ["chart-web", "care-agent"]);
    let mut c = caller(&["physician"]);
    let client = |c: &Caller| {
        c.call(&policy, "list_departments", &json!({}))
            .map(|p| p.client.to_string())
    };
    c.names = vec!["any.healthcare.example.com".into()];
    assert_eq!(client(&c).unwrap(), "chart-web");
    c.names = vec!["agent.healthcare.example.com".into()];
    assert_eq!(client(&c).unwrap(), "care-agent");
    for name in [
        "a.b.healthcare.example.com",
        "healthcare.example.com",
        ".healthcare.example.com",
        "*.healthcare.example.com",
    ] {
        c.names = vec![name.into()];
        assert!(client(&c).is_err(), "{name}");
    }
}

#[test]
fn operation_none_needs_no_purpose_and_still_judges_phi() {
    let policy = policy();
    let permit = caller(&["nurse", "billing"])
        .call(&policy, "list_departments", &Value::Null)
        .unwrap();
    assert_eq!(permit.purpose, None);
    assert_eq!(permit.text, TextView::Reveal);
    assert_eq!(permit.views.unlisted_results(), Unlisted::Reveal);
    assert_eq!(view(&policy, &permit, "ssn"), View::Mask(Mask::Last4));
    let read = caller(&["nurse"])
        .call(&policy, "read_record", &patient())
        .unwrap();
    assert_eq!(read.text, TextView::Withhold);
    assert_eq!(read.views.unlisted_results(), Unlisted::Withhold);
    assert_eq!(read.views.unlisted_arguments(), Unlisted::Reveal);
}

#[test]
fn a_condition_must_be_true() {
    let (policy, mut c) = (policy(), caller(&["physician"]));
    let args =
        |department: &str| json!({ "patient_id": "p-1", "department": department, "record": {} });
    let permit = c.call(&policy, "store_record", &args("icu")).unwrap();
    assert_eq!(permit.record.unwrap().to_string(), "args.record");
    assert_eq!(permit.text, TextView::Reveal);
    assert_eq!(
        c.denied(&policy, "store_record", &args("er")),
        DenialReason::ConditionFalse
    );
    assert_eq!(
        c.denied(&policy, "store_record", &patient()),
        DenialReason::ConditionFailed
    );
    assert!(
        c.sees(&policy, "store_record"),
        "some arguments could permit it"
    );
    c.claims = json!({});
    assert_eq!(
        c.denied(&policy, "store_record", &args("icu")),
        DenialReason::ConditionFailed
    );
}

#[test]
fn a_condition_that_no_argument_can_help_hides_the_tool() {
    let policy = with_tools(
        "  icu_only: { operation: none, roles: any, patient: none, when: \"claims.department == 'icu'\" }\n",
    );
    let mut c = caller(&["nurse"]);
    assert!(c.sees(&policy, "icu_only"));
    c.claims = json!({ "department": "er" });
    assert!(!c.sees(&policy, "icu_only"));
    assert_eq!(
        c.denied(&policy, "icu_only", &json!({})),
        DenialReason::ConditionFalse
    );
}

#[test]
fn a_call_that_names_no_patient_is_denied() {
    let (policy, c) = (policy(), caller(&["nurse"]));
    for args in [
        json!({}),
        json!({ "patient_id": null }),
        json!({ "patient_id": "" }),
        json!({ "patient_id": [1] }),
        Value::Null,
    ] {
        assert_eq!(
            c.denied(&policy, "read_record", &args),
            DenialReason::PatientMissing,
            "{args}"
        );
    }
    assert!(
        c.call(&policy, "read_record", &json!({ "patient_id": 7 }))
            .is_ok()
    );
    assert!(
        c.call(&policy, "find_patient", &json!({})).is_ok(),
        "the answer names the patients"
    );
}

#[test]
fn step_up_wants_a_fresh_authentication() {
    let (policy, mut c) = (policy(), caller(&["physician"]));
    assert!(c.call(&policy, "delete_record", &patient()).is_ok());
    for at in [None, Some(NOW - 301), Some(NOW + 31), Some(i64::MIN)] {
        c.authenticated_at = at;
        let denial = c.call(&policy, "delete_record", &patient()).unwrap_err();
        assert_eq!(denial.reason, DenialReason::AuthenticationTooOld, "{at:?}");
        assert_eq!(denial.step_up.unwrap().max_age, Some(300));
        assert!(
            c.sees(&policy, "delete_record"),
            "a fresh second factor could permit it"
        );
    }
    for at in [NOW - 300, NOW + 30] {
        c.authenticated_at = Some(at);
        assert!(c.call(&policy, "delete_record", &patient()).is_ok(), "{at}");
    }
    c.authenticated_at = None;
    let nobody = c.call(&policy, "delete_record", &json!({})).unwrap_err();
    assert_eq!(
        nobody.step_up, None,
        "nobody is challenged for what would be denied anyway"
    );
}

#[test]
fn step_up_can_want_an_acr() {
    let policy = with_tools(
        "  wipe: { operation: none, roles: any, patient: none, step_up: { acr: gold } }\n",
    );
    let mut c = caller(&["nurse"]);
    assert_eq!(
        c.denied(&policy, "wipe", &json!({})),
        DenialReason::AcrInsufficient
    );
    c.acr = Some("gold".into());
    assert!(c.call(&policy, "wipe", &json!({})).is_ok());
}

#[test]
fn no_second_factor_is_a_challenge_and_the_list_stays() {
    let (policy, mut c) = (policy(), caller(&["physician"]));
    c.second_factor = false;
    let denial = c.call(&policy, "delete_record", &patient()).unwrap_err();
    assert_eq!(denial.reason, DenialReason::SecondFactorMissing);
    assert_eq!(denial.step_up.unwrap().max_age, Some(300));
    assert!(c.sees(&policy, "delete_record"));
}

#[test]
fn a_resource_is_matched_by_its_template() {
    let (policy, c) = (policy(), caller(&["nurse"]));
    let read = |uri: &str| decide(&policy, &c.principal(), &Action::Resource { uri }, NOW);
    let permit = read("patient://p%2D7/summary");
    let permit = permit.permit().unwrap();
    assert_eq!(permit.patient_value.as_deref(), Some("p-7"));
    assert_eq!(
        permit.rule.name.as_ref(),
        "resources.patient://{id}/summary"
    );
    assert_eq!(
        read("patient://p-7/notes").denial().unwrap().reason,
        DenialReason::NotListed
    );
    let sees = |item: Listed<'_>| visible(&policy, &c.principal(), &item, NOW);
    assert!(sees(Listed::Template("patient://{patient}/summary")));
    assert!(sees(Listed::Resource("patient://p-7/summary")));
    assert!(!sees(Listed::Template("patient://{id}/notes")));
    assert!(!sees(Listed::Resource("file:///etc/passwd")));
    let billing = caller(&["billing"]);
    assert!(!visible(
        &policy,
        &billing.principal(),
        &Listed::Resource("patient://p-7/summary"),
        NOW
    ));
}

#[test]
fn two_templates_that_fit_deny_and_an_exact_one_wins() {
    let policy = policy_with(|text| {
        let more = "  \"a://{x}/b\": { operation: none, roles: any }\n  \"a://c/{y}\": { operation: none, roles: any }\n  \"a://d/b\": { operation: none, roles: any }\nprompts:";
        text.replace("prompts:", more)
    });
    let c = caller(&["nurse"]);
    let read = |uri: &str| decide(&policy, &c.principal(), &Action::Resource { uri }, NOW);
    assert_eq!(
        read("a://c/b").denial().unwrap().reason,
        DenialReason::AmbiguousResource
    );
    assert_eq!(
        read("a://d/b").permit().unwrap().rule.name.as_ref(),
        "resources.a://d/b"
    );
    assert!(read("a://e/b").permit().is_some());
    assert!(!visible(
        &policy,
        &c.principal(),
        &Listed::Resource("a://c/b"),
        NOW
    ));
}

#[test]
fn prompts_have_rules_of_their_own() {
    let policy = policy();
    let args = patient();
    let get = |role: &str, name: &str| {
        let c = caller(&[role]);
        let action = Action::Prompt { name, args: &args };
        decide(&policy, &c.principal(), &action, NOW)
            .permit()
            .is_some()
    };
    assert!(get("physician", "discharge_letter"));
    assert!(!get("nurse", "discharge_letter"));
    assert!(
        !get("physician", "read_record"),
        "a tool's rule is no prompt's"
    );
}

#[test]
fn methods_are_denied_unless_they_are_open() {
    let (policy, c) = (policy(), caller(&["nurse"]));
    let ask = |name: &str| method(&policy, &c, name).permit().is_some();
    for name in OPEN_METHODS {
        assert!(ask(name), "{name}");
    }
    for name in [
        "completion/complete",
        "logging/setLevel",
        "tools/call",
        "resources/subscribe",
        "sampling/createMessage",
        "",
    ] {
        assert!(!ask(name), "{name}");
    }
}

#[test]
fn a_method_is_decided_by_its_rule_and_what_belongs_to_it_by_the_same() {
    let policy = policy_with(|text| {
        text.to_owned()
            + "methods:\n  completion/complete: { roles: [physician], patient: args.context.arguments.id, \
               when: \"args.ref.name == 'letter'\" }\n  tasks/get: { roles: [nurse] }\n"
    });
    let ask = |role: &str, name: &str, params: Value| {
        let c = caller(&[role]);
        let params = &params;
        let action = Action::Method { name, params };
        decide(&policy, &c.principal(), &action, NOW)
    };
    let reason = |decision: Decision| decision.denial().map(|d| d.reason);
    let letter = json!({ "ref": { "name": "letter" }, "context": { "arguments": { "id": "7" } } });
    let complete = "completion/complete";
    let permitted = ask("physician", complete, letter.clone());
    let permit = permitted.permit().unwrap();
    assert_eq!(permit.rule.name.as_ref(), "methods.completion/complete");
    assert_eq!(permit.operation, Operation::Read);
    assert_eq!(permit.purpose.as_deref(), Some("TREAT"));
    let denied = reason(ask("nurse", complete, letter));
    assert_eq!(denied, Some(DenialReason::RoleNotAllowed));
    let other = json!({ "ref": { "name": "x" }, "context": { "arguments": { "id": "7" } } });
    let denied = reason(ask("physician", complete, other));
    assert_eq!(denied, Some(DenialReason::ConditionFalse));
    let nobody = json!({ "ref": { "name": "letter" } });
    let denied = reason(ask("physician", complete, nobody));
    assert_eq!(denied, Some(DenialReason::PatientMissing));
    for method in ["tasks/get", "tasks/result", "notifications/tasks/status"] {
        assert!(ask("nurse", method, Value::Null).permit().is_some());
    }
    let cancel = reason(ask("nurse", "tasks/cancel", Value::Null));
    assert_eq!(cancel, Some(DenialReason::NotListed));
}

#[test]
fn a_subscription_needs_the_methods_rule_and_the_resources() {
    let rule = "methods:\n  resources/subscribe: { roles: [nurse, billing] }\n";
    let with_rule = policy_with(|text| text.to_owned() + rule);
    let ask = |policy: &Policy, role: &str, uri: &str| {
        let c = caller(&[role]);
        let action = Action::Subscription {
            method: "resources/unsubscribe",
            uri,
            params: &Value::Null,
        };
        decide(policy, &c.principal(), &action, NOW)
    };
    let uri = "patient://7/summary";
    let both = ask(&with_rule, "nurse", uri);
    assert_eq!(both.permit().unwrap().patient_value.as_deref(), Some("7"));
    assert!(ask(&policy(), "nurse", uri).denial().is_some());
    assert!(ask(&with_rule, "physician", uri).denial().is_some());
    assert!(
        ask(&with_rule, "nurse", "patient://7/other")
            .denial()
            .is_some()
    );
}

#[test]
fn what_goes_on_is_decided_again_for_whoever_asks_now() {
    let policy = policy();
    let now = |role: &str| {
        let c = caller(&[role]);
        still(&policy, &c.principal(), &Listed::Tool("read_record"), NOW)
    };
    let ssn = policy.fields().find(|(_, name)| *name == "ssn").unwrap().0;
    let physician = now("physician").unwrap().views.of(ssn);
    assert_ne!(physician, now("nurse").unwrap().views.of(ssn));
    let denied = still(
        &policy,
        &caller(&["auditor"]).principal(),
        &Listed::Tool("store_record"),
        NOW,
    );
    assert_eq!(denied.unwrap_err().reason, DenialReason::RoleNotAllowed);
}

#[test]
fn reasons_have_codes_of_their_own() {
    let mut codes: Vec<&str> = DenialReason::ALL.iter().map(|r| r.code()).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), DenialReason::ALL.len());
}

#[test]
fn views_are_kept_in_bounds_and_alike() {
    let policy = policy();
    let c = caller(&["nurse"]);
    let first = c.call(&policy, "read_record", &patient()).unwrap();
    let second = c.call(&policy, "find_patient", &json!({})).unwrap();
    assert!(Arc::ptr_eq(&first.views, &second.views));
    for n in 0..(Policy::VIEWS_KEPT_MAX + 10) {
        let _ = policy.views_of(1, Some(n), true);
    }
    assert!(policy.views.read().unwrap().len() <= Policy::VIEWS_KEPT_MAX);
}

/// What a random rule says: operation, roles, condition, step-up.
type RandomRule = (usize, u8, Option<usize>, bool);

/// A policy of random rules over three roles: a tool `t0`, a prompt `p0` and a resource `r0://{a}` for each.
fn generated(rules: &[RandomRule]) -> Policy {
    const WHEN: [&str; 6] = [
        "args.a == claims.a",
        "has(args.a) && args.a > 1",
        "claims.a == 1",
        "args.a == 1 || claims.missing",
        "!(args.a == 1)",
        "args.list.all(x, x == claims.a)",
    ];
    let operations = ["none", "read", "create", "export"];
    let rule = |(operation, roles, when, step_up): &RandomRule, patient: &str| {
        let names: Vec<&str> = ["physician", "nurse", "billing"]
            .into_iter()
            .enumerate()
            .filter(|(bit, _)| roles & (1 << bit) != 0)
            .map(|(_, name)| name)
            .collect();
        let operation = operations[operation % operations.len()];
        let when = when.map_or(String::new(), |when| {
            format!(", when: \"{}\"", WHEN[when % WHEN.len()])
        });
        let step_up = if *step_up {
            ", step_up: { max_age: 60 }"
        } else {
            ""
        };
        let roles = names.join(", ");
        format!(
            "{{ operation: {operation}, roles: [{roles}], patient: {patient}{when}{step_up} }}\n"
        )
    };
    let mut text = String::new();
    for (section, name, patient) in [
        ("tools", "t#", "args.a"),
        ("prompts", "p#", "args.a"),
        ("resources", "\"r#://{a}\"", "uri.a"),
    ] {
        text += &format!("{section}:\n");
        for (n, random) in rules.iter().enumerate() {
            let name = name.replace('#', &n.to_string());
            let own = rule(random, patient);
            // A resource has no arguments: its conditions read its URI.
            let own = match section {
                "resources" => own.replace("args.", "uri."),
                _ => own,
            };
            text += &format!("  {name}: {own}");
        }
    }
    policy_with(|original| {
        let (head, _) = original.split_once("tools: ").unwrap();
        format!("{head}{text}")
    })
}

/// What a random caller may see in the lists against what it may call.
fn assert_lists_are_calls(
    c: &Caller,
    fresh: &Caller,
    policy: &Policy,
    (n, (_, _, when, _)): (usize, &RandomRule),
    args: &Value,
) {
    let (tool, prompt, uri) = (format!("t{n}"), format!("p{n}"), format!("r{n}://x"));
    let template = format!("r{n}://{{other}}");
    let called = |c: &Caller, action: &Action<'_>| decide(policy, &c.principal(), action, NOW);
    let seen = |c: &Caller, item: &Listed<'_>| listed(policy, &c.principal(), item, NOW);
    let tool_call = Action::Tool { name: &tool, args };
    let prompt_call = Action::Prompt {
        name: &prompt,
        args,
    };
    let read = Action::Resource { uri: &uri };
    for (item, action) in [
        (Listed::Tool(&tool), tool_call),
        (Listed::Prompt(&prompt), prompt_call),
        (Listed::Resource(&uri), read),
        (Listed::Template(&template), read),
    ] {
        let shown = seen(c, &item);
        assert_eq!(
            shown.is_some(),
            seen(fresh, &item).is_some(),
            "a second factor changes no list: {item:?}"
        );
        if let Some(permit) = called(c, &action).permit() {
            let shown = shown.as_ref().expect("what is permitted is listed");
            assert!(Arc::ptr_eq(&shown.views, &permit.views), "{item:?}");
            assert!(!permit.roles.is_empty());
            assert_eq!(
                permit.purpose.is_none(),
                permit.operation == Operation::None
            );
        }
        // Where nothing is open but the second factor, the list is the decision.
        let whole = matches!(item, Listed::Resource(_)) || when.is_none();
        if whole && args["a"].as_i64().is_some() {
            let permitted = called(fresh, &action).permit().is_some();
            assert_eq!(shown.is_some(), permitted, "{item:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_list_is_what_could_be_called(
        rules in prop::collection::vec((0usize..4, 0u8..8, prop::option::of(0usize..6), any::<bool>()), 1..5),
        roles in prop::collection::vec(prop::sample::select(vec!["physician", "nurse", "billing", "x"]), 0..3),
        purpose in prop::option::of(prop::sample::select(vec!["TREAT", "HPAYMT", "X"])),
        name in prop::sample::select(vec!["web.healthcare.example.com", "agent.healthcare.example.com", "x.y"]),
        second_factor in any::<bool>(), age in prop::option::of(-100i64..100),
        a in prop::sample::select(vec![json!(1), json!(2), json!("1"), json!(null), json!([1])]),
        b in prop::sample::select(vec![json!(1), json!(2)]),
    ) {
        let policy = generated(&rules);
        let mut fresh = caller(&roles);
        fresh.purpose = purpose.map(str::to_owned);
        fresh.names = vec![name.to_owned()];
        fresh.claims = json!({ "a": b });
        let c = Caller {
            second_factor,
            authenticated_at: age.map(|age| NOW - age),
            ..fresh.clone()
        };
        for args in [json!({ "a": a, "list": [a] }), json!({}), json!({ "a": b, "list": [b] })] {
            for rule in rules.iter().enumerate() {
                assert_lists_are_calls(&c, &fresh, &policy, rule, &args);
            }
        }
    }

    #[test]
    fn a_cap_never_widens_and_more_roles_never_narrow(set in 0u128..16, more in 0u128..16, cap in prop::option::of(0usize..4)) {
        let policy = policy();
        let wide = policy.views_of(set, None, true);
        let capped = policy.views_of(set, cap, true);
        let wider = policy.views_of(set | more, cap, true);
        for (id, _) in policy.fields() {
            prop_assert_eq!(wide.of(id).widest(capped.of(id)), wide.of(id));
            prop_assert_eq!(wider.of(id).widest(capped.of(id)), wider.of(id));
        }
    }
}

#[test]
fn without_client_certificates_there_is_no_client() {
    let mut sources = example();
    sources[3].text = sources[3]
        .text
        .replace("    enabled: true", "    enabled: false");
    sources[4].text = sources[4].text.replace("0.0.0.0:8443", "127.0.0.1:8443");
    sources.push(Source {
        name: "dev.yaml".into(),
        text: "profile: development\n".into(),
    });
    let policy = load(&sources, &example_env()).configuration.unwrap().policy;
    let mut c = caller(&["nurse"]);
    c.names.clear();
    assert_eq!(
        c.call(&policy, "read_record", &patient())
            .unwrap()
            .client
            .as_ref(),
        ""
    );
}

#[test]
fn who_shows_no_certificate_has_narrower_views_and_must_prove_a_key_where_the_policy_says_so() {
    let mut sources = example();
    sources[3].text = sources[3]
        .text
        .replace("verify_client_cert: true", "verify_client_cert: false");
    sources[4].text = sources[4].text.replace("0.0.0.0:8443", "127.0.0.1:8443");
    sources[4].text = sources[4].text.replace(
        "\n  chart-web:",
        "\n  desktop: { without_certificate: true, at_most: care_agent, dpop: true }\n  chart-web:",
    );
    sources.push(Source {
        name: "dev.yaml".into(),
        text: "profile: development\n".into(),
    });
    let loaded = load(&sources, &example_env());
    let policy = loaded.configuration.expect("a configuration").policy;
    let mut desktop = caller(&["nurse"]);
    desktop.names.clear();
    let permit = desktop.call(&policy, "read_record", &patient()).unwrap();
    assert_eq!(permit.client.as_ref(), "desktop");
    let full = caller(&["nurse"]).call(&policy, "read_record", &patient());
    let full = full.unwrap();
    let differs = policy.fields().any(|(id, _)| {
        let (mine, theirs) = (permit.views.of(id), full.views.of(id));
        assert_eq!(mine.widest(theirs), theirs, "never wider");
        mine != theirs
    });
    assert!(differs, "the cap caps");
    assert!(policy.asks_for_bound_key(&[]));
    assert!(!policy.asks_for_bound_key(&["web.healthcare.example.com".to_owned()]));
}

#[test]
fn software_without_a_person_has_its_client_its_roles_and_no_second_factor() {
    let nightly = "\n  nightly: { certificate: sync.healthcare.example.com, service: true, roles: [billing] }\n  chart-web:";
    let policy = policy_with(|text| text.replace("\n  chart-web:", nightly));
    let mut sync = caller(&["billing", "physician"]);
    sync.names = vec!["sync.healthcare.example.com".into()];
    (sync.service, sync.second_factor, sync.authenticated_at) = (true, false, None);
    let args = json!({ "patient_id": "p" });
    let permit = sync.call(&policy, "find_patient", &args).unwrap();
    let roles: Vec<&str> = permit.roles.iter().map(AsRef::as_ref).collect();
    assert_eq!(roles, ["billing"], "the token has more than counts here");
    assert_eq!(permit.purpose.as_deref(), Some("HPAYMT"));
    let mut person = caller(&["billing", "physician"]);
    person.names = sync.names.clone();
    assert_eq!(
        person.denied(&policy, "find_patient", &args),
        DenialReason::ServiceMismatch
    );
    sync.names = caller(&[]).names;
    assert_eq!(
        sync.denied(&policy, "find_patient", &args),
        DenialReason::ServiceMismatch
    );
    assert!(!sync.sees(&policy, "find_patient"));
}
