//! The question that decides the demo: is any PHI value of its input in what the upstream
//! received or stored?

use std::collections::BTreeSet;

use serde_json::Value;

use super::cast::PHI_FIELDS;

/// Shorter texts than this, in characters, would be found by chance in ciphertext.
const VALUE_CHARS_MIN: usize = 4;

/// Every scalar under a PHI name anywhere in `input`, as text, at least four characters long.
pub(crate) fn phi_values(input: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(input, false, &mut found);
    found
}

fn collect(value: &Value, phi: bool, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                collect(member, phi || PHI_FIELDS.contains(&name.as_str()), found);
            }
        }
        Value::Array(elements) => elements
            .iter()
            .for_each(|element| collect(element, phi, found)),
        Value::Null => {}
        scalar if phi => {
            let text = scalar
                .as_str()
                .map_or_else(|| scalar.to_string(), str::to_owned);
            if text.chars().count() >= VALUE_CHARS_MIN {
                found.insert(text);
            }
        }
        _ => {}
    }
}

/// The values that stand in `text`, which is JSON: as they are, whatever the case, or as JSON
/// would escape them, once or twice (a text block holds JSON within JSON).
pub(crate) fn found_in(values: &BTreeSet<String>, text: &str) -> BTreeSet<String> {
    let text = text.to_lowercase();
    values
        .iter()
        .filter(|value| forms(value).iter().any(|form| text.contains(form)))
        .cloned()
        .collect()
}

fn forms(value: &str) -> [String; 3] {
    let plain = value.to_lowercase();
    let once = escaped(&plain);
    let twice = escaped(&once);
    [plain, once, twice]
}

fn escaped(text: &str) -> String {
    let quoted = Value::String(text.to_owned()).to_string();
    let inner = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scalars_under_phi_names_are_values_at_any_depth() {
        let input = json!({"a": [{"data": {"status": "admitted", "ssn": "987-65-4320",
            "test_results": {"inr": 2.75, "n": 7, "notes": ["said \"no\""]}}}]});
        let found: Vec<String> = phi_values(&input).into_iter().collect();
        assert_eq!(found, ["2.75", "987-65-4320", "said \"no\""]);
    }

    #[test]
    fn a_value_is_found_whatever_its_case_or_escaping() {
        let values = BTreeSet::from(["Said \"No\"".to_owned(), "absent".to_owned()]);
        for text in [
            "said \"no\"",
            r#"{"t":"said \"no\""}"#,
            r#"{"t":"{\"t\":\"said \\\"no\\\"\"}"}"#,
        ] {
            assert_eq!(found_in(&values, text).len(), 1, "{text}");
        }
    }

    #[test]
    fn sealed_text_holds_no_value() {
        let values = phi_values(&super::super::cast::first_record());
        assert!(values.len() >= 8);
        assert!(found_in(&values, r#"{"_encrypted":true,"_value":"hs1.AQIDBAUG"}"#).is_empty());
    }

    #[test]
    fn the_demos_own_input_is_found_where_it_stands_clear() {
        let input = super::super::cast::first_record();
        let values = phi_values(&input);
        assert_eq!(found_in(&values, &input.to_string()), values);
    }
}
