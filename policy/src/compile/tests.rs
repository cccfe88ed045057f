//! What a policy says of places, searches, tokens, detectors and hashes; one test a sentence of the configuration's words.

use crate::field::{BinaryView, Shown, TextView, Unlisted};
use crate::load::tests::{example_env, findings, with};
use crate::place::Anchor;
use crate::policy::{Detection, FernetReading, FieldClass, Format, Normalize, Policy, Tokens};
use crate::{FieldId, Root, load};

const PHI: &str = "phi:\n  domain";
const MRN: &str = "also: [mrn]";

fn policy(from: &str, to: &str) -> Policy {
    let loaded = load(&with("policy.yaml", from, to), &example_env());
    let lines: Vec<String> = loaded.findings.iter().map(ToString::to_string).collect();
    loaded
        .configuration
        .unwrap_or_else(|| panic!("{lines:#?}"))
        .policy
}

/// The example's policy with more below `phi`.
fn phi(more: &str) -> Policy {
    policy(PHI, &format!("phi:\n  {more}\n  domain"))
}

fn found(from: &str, to: &str) -> Vec<String> {
    findings(&with("policy.yaml", from, to), &example_env())
}

fn id(policy: &Policy, name: &str) -> FieldId {
    policy.fields().find(|(_, own)| *own == name).unwrap().0
}

#[test]
fn what_is_not_written_is_as_strict_as_it_can_be() {
    let policy = policy(PHI, PHI);
    let phi = policy.phi();
    assert_eq!(phi.binary, BinaryView::Withhold);
    assert_eq!(phi.fernet, FernetReading::Strict);
    assert_eq!(phi.tokens, Tokens::default());
    assert!(!phi.bind_patient && policy.places().is_empty());
    assert!(
        policy
            .fields()
            .all(|(field, _)| policy.searchable(field).is_none())
    );
    let integrity = policy.integrity();
    assert!(integrity.version.seed() && !integrity.version.v2());
    assert!(!integrity.pass_missing && !integrity.pass_unknown && !integrity.covers_record);
    assert_eq!(integrity.member, None);
}

#[test]
fn the_words_of_phi_are_read() {
    let all = "binary: reveal\n  fernet: lenient\n  tokens: { bind: [session], lasts: 8h }";
    let policy = phi(all);
    let phi = policy.phi();
    assert_eq!(
        (phi.binary, phi.fernet),
        (BinaryView::Reveal, FernetReading::Lenient)
    );
    let tokens = Tokens {
        bind_patient: false,
        bind_session: true,
        lasts_seconds: Some(28_800),
    };
    assert_eq!(phi.tokens, tokens);
    assert_eq!(
        self::policy("format: native", "format: jwe").phi().format,
        Format::Jwe
    );
    assert_eq!(
        self::policy("text: withhold  ", "text: detect  ")
            .phi()
            .text,
        TextView::Detect
    );
    let detecting = self::policy(
        "unlisted: { results: withhold, arguments: pass }",
        "unlisted: { results: detect, arguments: detect }",
    );
    assert_eq!(detecting.phi().unlisted_results, Unlisted::Detect);
    assert_eq!(detecting.phi().unlisted_arguments, Unlisted::Detect);
}

#[test]
fn a_field_has_places_beside_its_names() {
    let policy = policy(
        MRN,
        "also: [mrn, \"Patient.identifier[type.coding.code=MR].value\", identity.number]",
    );
    let mrn = FieldClass::Phi(id(&policy, "medical_record_number"));
    let fhir = policy.places().of_resource("Patient").next().unwrap();
    let anywhere = &policy.places().anywhere()[0];
    assert_eq!(policy.places().all().count(), 2);
    assert_eq!((fhir.class, anywhere.class), (mrn, mrn));
    assert_eq!(fhir.anchor, Anchor::Resource(Some("Patient".into())));
    assert_eq!(anywhere.anchor, Anchor::Anywhere);
    assert_eq!(policy.classify("mrn"), mrn);
    let wrong = found(MRN, "also: [mrn, \"Patient.identifier[system]\"]");
    assert!(
        wrong[0].starts_with("error[bad_path] policy.yaml:24:59"),
        "{wrong:?}"
    );
}

#[test]
fn a_tool_has_its_own_meaning_of_places() {
    let rule = "list_departments: { operation: none, roles: any, patient: none";
    let policy = policy(
        rule,
        &format!(
            "{rule}, fields: {{ result.value: test_results, \"args.rows[*].unit\": not_phi }}"
        ),
    );
    let places = &policy.tools.named["list_departments"].places;
    assert_eq!(
        places[0].class,
        FieldClass::Phi(id(&policy, "test_results"))
    );
    assert_eq!(places[0].anchor, Anchor::Root(Root::Result));
    assert_eq!(
        (places[1].class, &places[1].anchor),
        (FieldClass::NotPhi, &Anchor::Root(Root::Args))
    );
    let wrong = found(
        rule,
        &format!("{rule}, fields: {{ result.value: test_result, claims.sub: ssn }}"),
    );
    assert!(
        wrong[0].contains("[undefined_field]") && wrong[1].contains("[bad_path]"),
        "{wrong:?}"
    );
}

#[test]
fn a_searchable_field_says_how_it_is_spelt() {
    for (word, how) in [
        ("true", Normalize::Exact),
        ("digits", Normalize::Digits),
        ("upper", Normalize::Upper),
        ("date", Normalize::Date),
    ] {
        let policy = policy(MRN, &format!("{MRN}, searchable: {word}"));
        assert_eq!(
            policy.searchable(id(&policy, "medical_record_number")),
            Some(how)
        );
        assert_eq!(policy.searchable(id(&policy, "ssn")), None);
    }
    assert!(
        found(MRN, "also: [mrn], searchable: maybe")
            .iter()
            .any(|f| f.contains("[bad_value]"))
    );
    let both = with("policy.yaml", MRN, "also: [mrn], searchable: true");
    let both: Vec<_> = both
        .into_iter()
        .map(|mut source| {
            source.text = source.text.replace("format: native", "format: fernet");
            source
        })
        .collect();
    let contradiction = findings(&both, &example_env());
    assert!(
        contradiction[0].starts_with("error[contradiction] policy.yaml:24:72"),
        "{contradiction:?}"
    );
    let clinical = found(
        "diagnosis: { group: clinical",
        "diagnosis: { group: clinical, searchable: true",
    );
    assert!(
        clinical[0].starts_with("warning[equal_values]"),
        "{clinical:?}"
    );
}

#[test]
fn what_is_bound_to_a_patient_needs_one_before_the_answer() {
    for (bound, key) in [
        ("bind: [patient]", "phi.bind"),
        ("tokens: { bind: [patient] }", "phi.tokens.bind"),
    ] {
        let wrong = found(PHI, &format!("phi:\n  {bound}\n  domain"));
        let tools: Vec<_> = wrong
            .iter()
            .filter(|f| f.starts_with("error[contradiction]"))
            .collect();
        assert_eq!(tools.len(), 2, "find_patient and export_records: {wrong:?}");
        assert!(tools.iter().all(|f| f.contains(key)), "{tools:?}");
    }
    assert!(found(PHI, "phi:\n  tokens: { bind: [session] }\n  domain").is_empty());
}

#[test]
fn a_token_lasts_a_duration() {
    let wrong = found(PHI, "phi:\n  tokens: { lasts: 8 hours }\n  domain");
    assert!(
        wrong[0].starts_with("error[bad_value] policy.yaml:15:20"),
        "{wrong:?}"
    );
}

#[test]
fn a_find_is_shown_by_the_field_of_its_detectors_name_unless_it_is_said_otherwise() {
    let policy = phi(
        "detect: { url: reveal, date: dob, fax: withhold, case: mrn }\n  patterns: { case: \"CASE-[0-9]{7}\", mrn: \"MRN-[0-9]{7}\" }",
    );
    let detection = &policy.phi().detection;
    let mrn = Shown::As(id(&policy, "medical_record_number"));
    assert_eq!(detection.of("ssn"), Shown::As(id(&policy, "ssn")));
    assert_eq!(
        detection.of("date"),
        Shown::As(id(&policy, "date_of_birth"))
    );
    assert_eq!(
        (
            detection.of("url"),
            detection.of("fax"),
            detection.of("card")
        ),
        (Shown::Plainly, Shown::Not, Shown::Not)
    );
    let own: Vec<_> = detection
        .patterns
        .iter()
        .map(|own| (own.name.as_str(), own.shown))
        .collect();
    assert_eq!(own, [("case", mrn), ("mrn", mrn)]);
    assert_eq!(detection.built_in.len(), Detection::WORDS.len());
}

#[test]
fn a_detector_that_is_none_and_a_pattern_that_is_none_are_told() {
    for (more, what) in [
        (
            "detect: { emial: withhold }",
            "`phi.detect.emial` is no detector",
        ),
        ("detect: { email: diagnos }", "`diagnos` is no field"),
        (
            "patterns: { x: \"(\" }",
            "`phi.patterns.x` is no regular expression",
        ),
        (
            "patterns: { x: \"a*\" }",
            "`phi.patterns.x` matches nothing at all, everywhere",
        ),
        (
            "patterns: { ssn: \"[0-9]\" }",
            "`phi.patterns.ssn` is a detector's own name",
        ),
    ] {
        let wrong = found(PHI, &format!("phi:\n  {more}\n  domain"));
        assert!(wrong[0].contains(what), "{wrong:?}");
    }
}

#[test]
fn the_words_of_integrity_are_read() {
    let with = |more: &str| policy("\nphi:\n", &format!("\nintegrity: {{ {more} }}\nphi:\n"));
    let policy =
        with("version: both, missing: pass, unknown: pass, covers: record, member: extension");
    let integrity = policy.integrity();
    assert!(integrity.version.seed() && integrity.version.v2());
    assert!(integrity.pass_missing && integrity.pass_unknown && integrity.covers_record);
    assert_eq!(integrity.member.as_deref(), Some("extension"));
    assert!(!with("version: v2").integrity().version.seed());
    for taken in ["ssn", "patient_id", "data"] {
        let wrong = found(
            "\nphi:\n",
            &format!("\nintegrity: {{ member: {taken} }}\nphi:\n"),
        );
        assert!(wrong[0].contains("[name_clash]"), "{wrong:?}");
    }
}

#[test]
fn a_rule_has_its_own_words_for_text_and_content() {
    let rule = "list_departments: { operation: none, roles: any, patient: none";
    let own = policy(rule, &format!("{rule}, text: detect, binary: withhold"));
    let grant = &own.tools.named["list_departments"];
    assert_eq!(
        (grant.text, grant.binary),
        (TextView::Detect, BinaryView::Withhold)
    );
    let example = policy(rule, rule);
    let grant = &example.tools.named["list_departments"];
    assert_eq!(
        (grant.text, grant.binary),
        (TextView::Reveal, BinaryView::Reveal)
    );
    assert_eq!(
        example.tools.named["read_record"].binary,
        BinaryView::Withhold
    );
}

/// Each preset parsed: fields with their names and places, and what is no PHI.
fn preset(name: &str) -> (Vec<(String, Vec<String>)>, Vec<String>) {
    let (_, text) = super::presets::PRESETS
        .into_iter()
        .find(|(known, _)| *known == name)
        .unwrap();
    let mut report = crate::document::report::Report::new(&[]);
    let tree = crate::document::yaml::parse(0, text, &mut report).unwrap();
    assert!(!report.has_errors(), "{name} is YAML");
    let texts = |node: &crate::document::tree::Node, key: &str| -> Vec<String> {
        let found = node.entry(key).map_or(&[][..], |entry| entry.value.items());
        found
            .iter()
            .map(|item| item.text().unwrap().to_owned())
            .collect()
    };
    let fields = tree.entry("fields").unwrap().value.entries().iter();
    let fields = fields.map(|field| {
        assert!(field.value.entry("group").is_some(), "{}", field.name);
        (field.name.clone(), texts(&field.value, "also"))
    });
    (fields.collect(), texts(&tree, "not_phi"))
}

#[test]
fn every_preset_is_in_order_and_none_contradicts_itself() {
    for (name, _) in super::presets::PRESETS {
        let (fields, not_phi) = preset(name);
        let mut seen: Vec<String> = Vec::new();
        for text in fields
            .iter()
            .flat_map(|(field, also)| std::iter::once(field).chain(also))
            .chain(&not_phi)
        {
            // Places are exact, names are folded.
            let folded = if crate::FieldPlace::is_place(text) {
                crate::FieldPlace::parse(text, FieldClass::NotPhi)
                    .unwrap_or_else(|why| panic!("{name}: {text}: {why}"));
                text.clone()
            } else {
                String::from_utf8(crate::names::fold(text).as_bytes().to_vec()).unwrap()
            };
            assert!(!seen.contains(&folded), "{name} has {text} twice");
            seen.push(folded);
        }
    }
}

#[test]
fn each_of_the_18_identifiers_of_safe_harbor_has_a_field() {
    let (fields, _) = preset("safe-harbor@1");
    let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    for (letter, field) in [
        ("A", "name"),
        ("B", "address"),
        ("C", "date_of_birth"),
        ("C", "date_of_death"),
        ("C", "age"),
        ("C", "service_date"),
        ("D", "phone"),
        ("E", "fax"),
        ("F", "email"),
        ("G", "ssn"),
        ("H", "medical_record_number"),
        ("I", "health_plan_number"),
        ("J", "account_number"),
        ("K", "license_number"),
        ("L", "vehicle_identifier"),
        ("M", "device_identifier"),
        ("N", "url"),
        ("O", "ip_address"),
        ("P", "biometric"),
        ("Q", "photo"),
        ("R", "unique_identifier"),
    ] {
        assert!(names.contains(&field), "({letter}) {field}");
    }
}

#[test]
fn a_preset_adds_what_the_operator_left_free() {
    let policy = phi("presets: [safe-harbor@1, fhir-r4@1]");
    let field = |name: &str| FieldClass::Phi(id(&policy, name));
    // His own field gets the preset's names and places.
    assert_eq!(policy.classify("itin"), field("ssn"));
    assert!(
        policy
            .places()
            .of_resource("Patient")
            .any(|place| place.class == field("ssn"))
    );
    // A field of the preset's own has its group.
    assert_eq!(policy.classify("zipCode"), field("address"));
    assert_eq!(
        policy.groups[id(&policy, "address").index()].as_deref(),
        Some("contact")
    );
    // His words stand.
    assert_eq!(policy.classify("patient_id"), FieldClass::NotPhi);
    assert_eq!(
        policy.groups[id(&policy, "ssn").index()].as_deref(),
        Some("identity")
    );
    let own = policy_of_own_meaning();
    assert_eq!(own.classify("city"), FieldClass::NotPhi);
}

fn policy_of_own_meaning() -> Policy {
    policy(
        "not_phi: [patient_id, department, status]",
        "not_phi: [patient_id, department, status, city]\n  presets: [safe-harbor@1]",
    )
}

#[test]
fn a_policy_needs_no_field_of_its_own_beside_a_preset() {
    let mut sources = with("policy.yaml", PHI, PHI);
    let text = &mut sources[4].text;
    let (before, rest) = text.split_once("  fields:").unwrap();
    let (_, after) = rest.split_once("  not_phi:").unwrap();
    *text = format!("{before}  presets: [safe-harbor@1, fhir-r4@1]\n  not_phi:{after}");
    assert_eq!(findings(&sources, &example_env()), Vec::<String>::new());
}

#[test]
fn an_unknown_preset_is_told() {
    let wrong = found(PHI, "phi:\n  presets: [safe-harbor@2]\n  domain");
    assert!(
        wrong[0].contains("`safe-harbor@2` is no preset"),
        "{wrong:?}"
    );
}

#[test]
fn a_name_that_means_something_else_is_not_explained_as_a_field() {
    let policy = policy(
        "not_phi: [patient_id, department, status]",
        "not_phi: [patient_id, department, status, name, surname]\n  presets: [safe-harbor@1]",
    );
    let fields = crate::explain_fields(&policy);
    let name = fields.iter().find(|field| field.field == "name").unwrap();
    assert!(!name.own_name && !name.also.iter().any(|also| also == "surname"));
    assert!(name.also.iter().any(|also| also == "full_name"));
    let rest = fields.iter().filter(|field| field.field != "name");
    assert!(rest.clone().count() > 10 && rest.clone().all(|field| field.own_name));
}

/// The example's policy with FHIR's preset and another meaning in place of `diagnosis: … also: [diagnoses]`.
fn beside_fhir(fields: &str) -> Policy {
    let presets = "phi:\n  presets: [safe-harbor@1, fhir-r4@1]\n  domain";
    let mut sources = with("policy.yaml", PHI, presets);
    for source in &mut sources {
        source.text = source.text.replace("also: [diagnoses]", fields);
    }
    load(&sources, &example_env()).configuration.unwrap().policy
}

/// The meanings of a place as it is written.
fn placed(policy: &Policy, text: &str) -> Vec<FieldClass> {
    let wanted = crate::FieldPlace::parse(text, FieldClass::NotPhi).unwrap();
    let all = policy.places().all();
    let same = all.filter(|own| own.anchor == wanted.anchor && own.steps == wanted.steps);
    same.map(|own| own.class).collect()
}

#[test]
fn a_preset_shows_nothing_that_the_operator_calls_phi_by_name() {
    let policy = beside_fhir("also: [diagnoses, priority, language]");
    for place in [
        "MedicationRequest.priority",
        "ServiceRequest.priority",
        "Resource.language",
    ] {
        assert_eq!(placed(&policy, place), [], "{place}");
    }
    assert_eq!(placed(&policy, "Resource.status"), [FieldClass::NotPhi]);
    assert_eq!(placed(&policy, "extension.url"), [FieldClass::NotPhi]);
}

#[test]
fn a_preset_shows_nothing_that_the_operator_calls_phi_by_place() {
    let policy = beside_fhir(
        "also: [Patient.language, Resource.priority, \"resource.meta.versionId\", AllergyIntolerance.type]",
    );
    for place in [
        "Resource.language",
        "MedicationRequest.priority",
        "Resource.meta.versionId",
        "AllergyIntolerance.type",
    ] {
        assert!(
            !placed(&policy, place).contains(&FieldClass::NotPhi),
            "{place}"
        );
    }
    for place in ["Resource.status", "Patient.identifier.type", "Bundle.type"] {
        assert_eq!(placed(&policy, place), [FieldClass::NotPhi], "{place}");
    }
}

#[test]
fn a_presets_field_that_the_operator_has_under_another_name_is_his() {
    let policy = beside_fhir("also: [diagnoses, fax]");
    let diagnosis = FieldClass::Phi(id(&policy, "diagnosis"));
    assert_eq!(policy.classify("fax_number"), diagnosis);
    assert!(policy.fields().all(|(_, name)| name != "fax"));
}

#[test]
fn a_preset_keeps_its_structure_where_the_operator_says_nothing_of_it() {
    let policy = phi("presets: [safe-harbor@1, fhir-r4@1]");
    let (_, not_phi) = preset("fhir-r4@1");
    for place in not_phi {
        assert_eq!(placed(&policy, &place), [FieldClass::NotPhi], "{place}");
    }
}

#[test]
fn two_meanings_of_one_place_are_told() {
    let twice = "not_phi: [Patient.language, patient_id, department, status]";
    let mut sources = with("policy.yaml", MRN, "also: [mrn, Patient.language]");
    for source in &mut sources {
        source.text = source
            .text
            .replace("not_phi: [patient_id, department, status]", twice);
    }
    let wrong = findings(&sources, &example_env());
    assert!(
        wrong[0].contains("[name_clash]") && wrong[0].contains("the place `Patient.language`"),
        "{wrong:?}"
    );
}

/// The example's `phi` with keys of patients, and what is to be found about it.
fn with_patient_keys(before: &str, keys: &str) -> Vec<String> {
    let all = found(
        PHI,
        &format!("phi:\n  {before}patient_keys: {keys}\n  domain"),
    );
    let of_rules = "does not know its patient before the answer";
    all.into_iter().filter(|f| !f.contains(of_rules)).collect()
}

#[test]
fn keys_of_patients_have_a_directory_of_their_own() {
    let bound = "bind: [patient]\n  ";
    let good = with_patient_keys(bound, "{ directory: /var/lib/safeguard/patient-keys }");
    assert_eq!(good, Vec::<String>::new());
    for (directory, words) in [
        ("keys", "by its absolute path"),
        ("/", "by its absolute path"),
        (
            "/var/lib/safeguard/spool/keys",
            "`audit_logging.spool.directory`",
        ),
        ("/var/lib/safeguard", "`audit_logging.spool.directory`"),
        ("/var/lib/safeguard/spool-state", "`state.directory`"),
    ] {
        let wrong = with_patient_keys(bound, &format!("{{ directory: {directory} }}"));
        assert!(
            wrong.iter().any(|f| f.contains(words)),
            "{directory}: {wrong:?}"
        );
    }
    for cached in ["0", "100001"] {
        let keys = format!("{{ directory: /keys, cached: {cached} }}");
        assert_eq!(with_patient_keys(bound, &keys).len(), 1);
    }
}

#[test]
fn keys_of_patients_need_values_that_are_bound_to_them() {
    let wrong = with_patient_keys("", "{ directory: /keys }");
    assert!(
        wrong.len() == 1 && wrong[0].contains("`phi.bind` does not bind them"),
        "{wrong:?}"
    );
}

#[test]
fn a_searchable_value_is_said_to_outlast_its_patients_key() {
    let mut files = with(
        "policy.yaml",
        "medical_record_number: { group: identity",
        "medical_record_number: { searchable: upper, group: identity",
    );
    for file in &mut files {
        file.text = file.text.replace(
            PHI,
            "phi:\n  bind: [patient]\n  patient_keys: { directory: /keys }\n  domain",
        );
    }
    let found = findings(&files, &example_env());
    assert!(
        found.iter().any(|f| f.starts_with("warning[not_shredded]")),
        "{found:?}"
    );
}

const SEARCH: &str = "    operation: search\n";
const RESOURCES: &str = "\nresources:\n";

#[test]
fn a_pattern_permits_to_read_and_says_what_it_covers() {
    let lab = "  lab_*: { operation: read, roles: [nurse], patient: args.x }";
    let fitting = policy(RESOURCES, &format!("\n{lab}\nresources:\n"));
    assert_eq!(fitting.listed_tool("lab_results"), Some("lab_*"));
    assert_eq!(fitting.listed_tool("laboratory"), None);
    assert_eq!(fitting.listed_tool("read_record"), Some("read_record"));
    assert!(fitting.tools().contains(&"lab_*"));
    for (tool, wrong) in [
        (
            "lab_*: { operation: update, roles: [nurse], patient: args.x }",
            "is a pattern and permits to update",
        ),
        (
            "lab_*: { operation: export, roles: [nurse], patient: args.x }",
            "is a pattern and permits to export",
        ),
        (
            "\"lab *\": { operation: read, roles: [nurse], patient: args.x }",
            "fits the name of no tool",
        ),
        (
            "\"*\": { operation: none, roles: any, patient: none }",
            "every tool that the server has or will ever have",
        ),
        (
            "lab_*: { operation: none, roles: any, patient: none }\n  \"*_list\": { operation: none, roles: any, patient: none }",
            "fit some names both",
        ),
    ] {
        let told = found(RESOURCES, &format!("\n  {tool}\nresources:\n"));
        assert!(
            told.len() == 1 && told[0].contains(wrong),
            "{tool}: {told:?}"
        );
    }
}

#[test]
fn a_limit_that_could_not_be_kept_is_refused() {
    for (key, wrong) in [
        (
            "max_patients: 25\n    text: detect",
            "nobody can tell whose text",
        ),
        (
            "max_patients: 25\n    binary: reveal",
            "nobody can tell whose text",
        ),
        (
            "only_patients: claims.patient\n    text: reveal",
            "nobody can tell whose text",
        ),
        ("only_patients: args.patient", "cannot begin with args"),
        ("recipient: args.recipient", "belongs to an export"),
    ] {
        let told = found(SEARCH, &format!("{SEARCH}    {key}\n"));
        assert!(
            told.len() == 1 && told[0].contains(wrong),
            "{key}: {told:?}"
        );
    }
    let export = "    operation: export\n";
    for (key, wrong) in [
        ("recipient: result.to", "cannot begin with result"),
        ("recipient: args.ssn", "its path names PHI"),
    ] {
        let told = found(export, &format!("{export}    {key}\n"));
        assert!(
            told.len() == 1 && told[0].contains(wrong),
            "{key}: {told:?}"
        );
    }
    let read = "    record: result.record";
    let told = found(read, &format!("    max_patients: 1\n{read}"));
    assert!(
        told.len() == 1 && told[0].contains("does not say where they stand"),
        "{told:?}"
    );
}
