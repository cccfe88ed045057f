//! `json.dumps(json.loads(text))` without sorting: what stands inside the Fernet tokens of the Python class.

use crate::canonical::CanonicalError;
use crate::json::{self, Content, Document, Node, Order};
use zeroize::Zeroizing;

/// A JSON text as `json.dumps` writes it: members in their order, `", "` and `": "`, ASCII escapes, Python's floats.
///
/// # Errors
/// [`CanonicalError`] for a text that Python's `json` does not read, or that has no finite value.
pub fn dumps(json: &[u8]) -> Result<Zeroizing<Vec<u8>>, CanonicalError> {
    Document::with(json, |document| {
        let mut out = Zeroizing::new(Vec::with_capacity(json.len() + json.len() / 8 + 16));
        json::write(document, Order::Inserted, &mut out);
        out
    })
}

/// Whether `bool(json.loads(text))` is true for the value of a node: not null, false, zero, or empty.
pub(crate) fn is_truthy(document: &Document<'_>, index: u32, node: &Node) -> bool {
    match node.content {
        Content::Null | Content::False => false,
        Content::True => true,
        Content::Integer => !matches!(document.token(node), "0" | "-0"),
        Content::Float(value) => value != 0.0,
        Content::Text(text) => !document.characters(text).is_empty(),
        Content::Array | Content::Object => node.next > index + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dumped(json: &str) -> String {
        String::from_utf8(dumps(json.as_bytes()).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn members_keep_their_order_and_the_last_of_a_name_stands_where_the_first_stood() {
        assert_eq!(
            dumped(r#"{"b":1,"a":[2,{}],"b":3}"#),
            r#"{"b": 3, "a": [2, {}]}"#
        );
        assert_eq!(
            dumped(r#"{"\u0061":1,"c":{"z":1,"y":2},"a":"é"}"#),
            r#"{"a": "\u00e9", "c": {"z": 1, "y": 2}}"#
        );
    }

    #[test]
    fn truth_is_that_of_python() {
        let truth = |json: &str| {
            let document = Document::parse(json.as_bytes()).unwrap();
            is_truthy(&document, 0, document.root().unwrap())
        };
        for falsy in [
            "null", "false", "0", "-0", "0.0", "-0.0", "0e5", "1e-400", r#""""#, "[]", "{ }",
        ] {
            assert!(!truth(falsy), "{falsy}");
        }
        for truthy in [
            "true",
            "1",
            "-1",
            "0.1",
            "5e-324",
            r#""0""#,
            r#"" ""#,
            "[null]",
            r#"{"":0}"#,
            r#""\u0000""#,
        ] {
            assert!(truth(truthy), "{truthy}");
        }
    }
}
