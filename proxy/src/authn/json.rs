//! JSON objects without ambiguity: a member that stands twice, at any depth, is refused.
//!
//! Two verifiers that read different ones of two equal members disagree about what was signed;
//! serde_json alone would silently keep the last.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::error::AuthnError;

const DUPLICATE: &str = "duplicate member";

/// Parses one JSON object.
///
/// # Errors
/// [`AuthnError::DuplicateMember`], or [`AuthnError::NotAToken`] for everything that is no JSON object
/// (depth above 128 and numbers beyond a double included).
pub(super) fn object(text: &[u8]) -> Result<Map<String, Value>, AuthnError> {
    serde_json::from_slice::<Unambiguous>(text).map_err(|e| {
        if e.to_string().starts_with(DUPLICATE) {
            AuthnError::DuplicateMember
        } else {
            AuthnError::NotAToken
        }
    })?;
    serde_json::from_slice(text).map_err(|_| AuthnError::NotAToken)
}

/// Walks a value and keeps nothing of it.
struct Unambiguous;

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = Unambiguous;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_str<E>(self, _: &str) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_unit<E>(self) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Unambiguous, A::Error> {
        while seq.next_element::<Unambiguous>()?.is_some() {}
        Ok(Unambiguous)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unambiguous, A::Error> {
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !seen.insert(name) {
                return Err(A::Error::custom(DUPLICATE));
            }
            map.next_value::<Unambiguous>()?;
        }
        Ok(Unambiguous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> &'static str {
        object(text.as_bytes()).map_or_else(|e| e.code(), |_| "ok")
    }

    #[test]
    fn duplicates_are_found_at_any_depth_and_behind_escapes() {
        assert_eq!(code(r#"{"a":1,"b":{"a":1}}"#), "ok");
        assert_eq!(code(r#"{"a":1,"a":1}"#), "duplicate_member");
        assert_eq!(code(r#"{"a":1,"\u0061":2}"#), "duplicate_member");
        assert_eq!(code(r#"{"x":[{"a":1,"a":2}]}"#), "duplicate_member");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in [
            "",
            "[]",
            "1",
            "{\"a\":1}x",
            "{\"a\":1e400}",
            "{\"a\":\"\\ud800\"}",
            "nul",
        ] {
            assert_eq!(code(text), "not_a_token", "{text}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(code(&deep), "not_a_token");
    }
}
