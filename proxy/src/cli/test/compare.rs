//! What a case expects against what was seen.

use serde_json::Value;

/// Stands for a sealed value of any content.
const SEALED: &str = "(sealed)";
/// Stands for a token of any content.
const TOKEN: &str = "(token)";
/// Stands for any value.
const ANY: &str = "(any)";
/// Stands for a member that is not there.
const ABSENT: &str = "(absent)";

/// How the sidecar's own texts begin: sealed values in either format, and tokens.
const SEALED_PREFIXES: [&str; 3] = ["hs1.", "hs1s.", "gAAAA"];
const TOKEN_PREFIX: &str = "sgt1.";

/// Appends every difference, each with its place below `at`.
pub(super) fn compare(at: &str, expected: &Value, seen: &Value, out: &mut Vec<String>) {
    match (expected, seen) {
        (Value::String(word), _) if stands_for(word, seen) => {}
        (Value::Object(expected), Value::Object(seen)) => {
            for (name, value) in expected {
                let place = format!("{at}.{name}");
                match seen.get(name) {
                    Some(seen) => compare(&place, value, seen, out),
                    None if value == ABSENT => {}
                    None => out.push(format!("{place}: expected {value}, and it is not there")),
                }
            }
            let more = seen
                .iter()
                .filter(|(name, _)| !expected.contains_key(*name));
            out.extend(
                more.map(|(name, value)| format!("{at}.{name}: is there unexpected: {value}")),
            );
        }
        (Value::Array(expected), Value::Array(seen)) if expected.len() == seen.len() => {
            for (number, (expected, seen)) in expected.iter().zip(seen).enumerate() {
                compare(&format!("{at}[{number}]"), expected, seen, out);
            }
        }
        _ if expected == seen => {}
        _ => out.push(format!("{at}: expected {expected}, saw {seen}")),
    }
}

/// Whether a word of the cases stands for what was seen.
fn stands_for(word: &str, seen: &Value) -> bool {
    let text = seen.as_str().unwrap_or_default();
    match word {
        ANY => true,
        TOKEN => text.starts_with(TOKEN_PREFIX),
        SEALED => {
            seen.get("_encrypted") == Some(&Value::Bool(true))
                || SEALED_PREFIXES
                    .iter()
                    .any(|prefix| text.starts_with(prefix))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differences(expected: &Value, seen: &Value) -> Vec<String> {
        let mut out = Vec::new();
        compare("client", expected, seen, &mut out);
        out
    }

    #[test]
    fn words_stand_for_what_the_sidecar_makes() {
        let expected = json!({ "a": "(sealed)", "b": "(token)", "c": "(any)", "d": "(absent)", "e": ["(sealed)"] });
        let seen = json!({ "a": { "_encrypted": true, "_value": "hs1.x" }, "b": "sgt1.x", "c": null, "e": ["gAAAAx"] });
        assert_eq!(differences(&expected, &seen), Vec::<String>::new());
        let clear = json!({ "a": "x", "b": "x", "c": 1, "d": 1, "e": ["x"] });
        assert_eq!(differences(&expected, &clear).len(), 4);
    }

    #[test]
    fn what_is_missing_more_or_other_is_told_with_its_place() {
        let told = differences(
            &json!({ "a": [1, { "b": 2 }], "c": 3 }),
            &json!({ "a": [1, { "b": 3 }], "d": 4 }),
        );
        assert_eq!(
            told,
            [
                "client.a[1].b: expected 2, saw 3",
                "client.c: expected 3, and it is not there",
                "client.d: is there unexpected: 4",
            ]
        );
        assert_eq!(differences(&json!([1]), &json!([1, 2])).len(), 1);
    }
}
