//! The policy's paths and conditions over a message: two crates that do not know each other, translated here.

use std::cell::OnceCell;

use safeguard_policy::action::Arguments;
use safeguard_policy::{Path, Step};
use safeguard_wire::json::{DuplicateMember, Kind, Value};

/// The values that a path leads to; what does not match yields nothing.
///
/// # Errors
/// A member on the way is there twice.
pub fn select<'t>(root: Value<'t>, path: &Path) -> Result<Vec<Value<'t>>, DuplicateMember> {
    follow(root, &path.steps)
}

/// The values that steps lead to; what does not match yields nothing.
///
/// # Errors
/// A member on the way is there twice.
pub fn follow<'t>(root: Value<'t>, steps: &[Step]) -> Result<Vec<Value<'t>>, DuplicateMember> {
    let mut here = vec![root];
    for step in steps {
        let mut there = Vec::with_capacity(here.len());
        for value in here {
            match step {
                Step::Member(name) => there.extend(value.get(name)?),
                Step::Each if value.kind() == Kind::Array => there.extend(value.children()),
                Step::Index(index) if value.kind() == Kind::Array => {
                    there.extend(value.children().nth(*index as usize));
                }
                Step::Each | Step::Index(_) => {}
            }
        }
        here = there;
    }
    Ok(here)
}

/// A call's arguments as the policy reads them, made into its own kind of value only if a condition asks.
#[derive(Debug)]
pub struct CallArguments<'t> {
    object: Option<Value<'t>>,
    value: OnceCell<serde_json::Value>,
}

impl<'t> CallArguments<'t> {
    /// The arguments; none where the call has none, or where they are not the policy's to read.
    pub fn new(object: Option<Value<'t>>) -> Self {
        Self {
            object,
            value: OnceCell::new(),
        }
    }
}

impl Arguments for CallArguments<'_> {
    fn value(&self) -> &serde_json::Value {
        self.value.get_or_init(|| {
            // Duplicates make conditions ambiguous: the policy sees no arguments, and a condition on them denies.
            let clear = self.object.filter(|object| !object.has_duplicates());
            clear.and_then(to_serde).unwrap_or_default()
        })
    }

    fn names_somebody(&self, path: &Path) -> bool {
        let Some(Ok(found)) = self.object.map(|object| select(object, path)) else {
            return false;
        };
        let is_name = |value: &Value<'_>| match value.kind() {
            Kind::String => value.string().is_some_and(|text| !text.is_empty()),
            Kind::Number => is_finite(*value),
            Kind::Null | Kind::Bool | Kind::Array | Kind::Object => false,
        };
        !found.is_empty() && found.iter().all(is_name)
    }

    fn names(&self, path: &Path) -> Option<Vec<String>> {
        let found = select(self.object?, path).ok()?;
        found.into_iter().map(scalar_text).collect()
    }
}

/// A string's text or a number's digits; none for anything that can't name a patient.
pub fn scalar_text(value: Value<'_>) -> Option<String> {
    match value.kind() {
        Kind::String => value.string().map(|text| text.into_owned()),
        Kind::Number => String::from_utf8(value.raw().to_vec()).ok(),
        Kind::Null | Kind::Bool | Kind::Array | Kind::Object => None,
    }
}

/// A value for the policy's conditions.
///
/// A number that no 64-bit type holds, and a string with a lone surrogate, are left out: a condition that reads an
/// absent name denies, and one that does not never sees the difference. Duplicates were refused before.
pub fn to_serde(value: Value<'_>) -> Option<serde_json::Value> {
    Some(match value.kind() {
        Kind::Null => serde_json::Value::Null,
        Kind::Bool => serde_json::Value::Bool(value.as_bool()?),
        Kind::Number => number(value)?,
        Kind::String => serde_json::Value::String(value.string()?.into_owned()),
        Kind::Array => {
            serde_json::Value::Array(value.children().map(to_serde).collect::<Option<_>>()?)
        }
        Kind::Object => {
            let members = value
                .children()
                .filter_map(|child| Some((child.key()?.into_owned(), to_serde(child)?)));
            serde_json::Value::Object(members.collect())
        }
    })
}

/// Whether a number is an integer of any size, or a fraction that a double holds: what overflows names nobody.
fn is_finite(value: Value<'_>) -> bool {
    let text = std::str::from_utf8(value.raw()).unwrap_or_default();
    is_integer(text) || text.parse::<f64>().is_ok_and(f64::is_finite)
}

fn is_integer(number: &str) -> bool {
    number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'-')
}

fn number(value: Value<'_>) -> Option<serde_json::Value> {
    if let Some(integer) = value.as_i64() {
        return Some(integer.into());
    }
    if let Some(integer) = value.as_u64() {
        return Some(integer.into());
    }
    let text = std::str::from_utf8(value.raw()).ok()?;
    if is_integer(text) {
        return None;
    }
    let float = text.parse::<f64>().ok().filter(|float| float.is_finite())?;
    serde_json::Number::from_f64(float).map(serde_json::Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::LIMITS;
    use safeguard_policy::{Root, Step};
    use safeguard_wire::json::Tree;

    fn names_somebody(arguments: &str) -> bool {
        let tree = Tree::parse(arguments.as_bytes(), &LIMITS).unwrap();
        let path = Path {
            root: Root::Args,
            steps: vec![Step::Member("patients".to_owned()), Step::Each],
        };
        CallArguments::new(Some(tree.root())).names_somebody(&path)
    }

    #[test]
    fn paths_select_what_matches_and_nothing_else() {
        let text = r#"{"entry":[{"id":"a"},{"id":"b"},7,{"other":1}],"x":{"id":"c","id":"d"}}"#;
        let tree = Tree::parse(text.as_bytes(), &LIMITS).unwrap();
        let member = |name: &str| Step::Member(name.to_owned());
        let selected = |steps: Vec<Step>| -> Vec<&[u8]> {
            let root = Root::Result;
            let found = select(tree.root(), &Path { root, steps }).unwrap();
            found.into_iter().map(Value::raw).collect()
        };
        assert_eq!(
            selected(vec![member("entry"), Step::Each, member("id")]),
            [b"\"a\"", b"\"b\""]
        );
        assert_eq!(selected(vec![member("entry"), Step::Index(2)]), [b"7"]);
        assert!(selected(vec![member("entry"), Step::Index(4)]).is_empty());
        assert!(selected(vec![member("x"), Step::Each]).is_empty());
        assert!(selected(vec![member("x"), Step::Index(0)]).is_empty());
        assert_eq!(selected(vec![]).len(), 1);
        let twice = Path {
            root: Root::Result,
            steps: vec![member("x"), member("id")],
        };
        assert!(select(tree.root(), &twice).is_err());
    }

    #[test]
    fn a_patient_is_named_by_text_or_by_a_number_that_holds() {
        for named in [
            r#"["p-1"]"#,
            r#"["p-1",2]"#,
            "[123456789012345678901234567890]",
            "[1.5]",
        ] {
            assert!(
                names_somebody(&format!(r#"{{"patients":{named}}}"#)),
                "{named}"
            );
        }
        for nobody in [
            "[]",
            r#"[""]"#,
            r#"["p-1",null]"#,
            "[1e400]",
            r#"["\ud800"]"#,
            "[[]]",
            "{}",
        ] {
            assert!(
                !names_somebody(&format!(r#"{{"patients":{nobody}}}"#)),
                "{nobody}"
            );
        }
        assert!(!names_somebody(
            r#"{"patients":["p-1"],"patients":["p-2"]}"#
        ));
    }

    #[test]
    fn a_condition_sees_no_arguments_where_a_name_stands_twice() {
        let clear = Tree::parse(br#"{"a":{"b":1},"c":2}"#, &LIMITS).unwrap();
        let value = CallArguments::new(Some(clear.root())).value().clone();
        assert_eq!(value, serde_json::json!({"a": {"b": 1}, "c": 2}));
        let twice = Tree::parse(br#"{"a":{"b":1,"b":1},"c":2}"#, &LIMITS).unwrap();
        assert!(CallArguments::new(Some(twice.root())).value().is_null());
    }
}
