//! Values of an evaluation: borrowed from the facts wherever they can be.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::rc::Rc;

use serde_json::Value;

use super::Failure;

#[derive(Debug, Clone)]
pub(super) enum Val<'a> {
    /// Not known yet.
    Open,
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Cow<'a, str>),
    List(Rc<Vec<Val<'a>>>),
    Map(Rc<Vec<(Val<'a>, Val<'a>)>>),
    /// An array or object of the facts.
    Json(&'a Value),
}

impl<'a> Val<'a> {
    pub(super) fn of(json: &'a Value) -> Self {
        match json {
            Value::Null => Self::Null,
            Value::Bool(b) => Self::Bool(*b),
            Value::String(text) => Self::Text(Cow::Borrowed(text)),
            Value::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
                (Some(i), _, _) => Self::Int(i),
                (None, Some(u), _) => Self::Uint(u),
                (None, None, d) => Self::Double(d.unwrap_or(f64::NAN)),
            },
            Value::Array(_) | Value::Object(_) => Self::Json(json),
        }
    }

    /// The elements of a list, or the keys of a map.
    pub(super) fn elements(&self) -> Result<Vec<Val<'a>>, Failure> {
        match self {
            Self::List(items) => Ok(items.as_ref().clone()),
            Self::Map(pairs) => Ok(pairs.iter().map(|(k, _)| k.clone()).collect()),
            Self::Json(Value::Array(items)) => Ok(items.iter().map(Self::of).collect()),
            Self::Json(Value::Object(members)) => Ok(members
                .keys()
                .map(|k| Self::Text(Cow::Borrowed(k)))
                .collect()),
            _ => Err(Failure::WrongType),
        }
    }

    /// Elements or members; characters of a text.
    pub(super) fn size(&self) -> Result<usize, Failure> {
        match self {
            Self::Text(text) => Ok(text.chars().count()),
            Self::List(items) => Ok(items.len()),
            Self::Map(pairs) => Ok(pairs.len()),
            Self::Json(Value::Array(items)) => Ok(items.len()),
            Self::Json(Value::Object(members)) => Ok(members.len()),
            _ => Err(Failure::WrongType),
        }
    }

    /// The member of a map.
    pub(super) fn member(&self, name: &str) -> Result<Option<Val<'a>>, Failure> {
        match self {
            Self::Json(Value::Object(members)) => Ok(members.get(name).map(Self::of)),
            Self::Map(pairs) => {
                let is = |key: &Val<'_>| matches!(key, Val::Text(text) if text == name);
                Ok(pairs.iter().find(|(k, _)| is(k)).map(|(_, v)| v.clone()))
            }
            _ => Err(Failure::WrongType),
        }
    }
}

/// The order of two numbers or two texts.
pub(super) fn compare(a: &Val<'_>, b: &Val<'_>) -> Result<Ordering, Failure> {
    match (a, b) {
        (Val::Text(a), Val::Text(b)) => Ok(a.as_ref().cmp(b.as_ref())),
        (Val::Bool(a), Val::Bool(b)) => Ok(a.cmp(b)),
        _ => numbers(a, b).ok_or(Failure::WrongType),
    }
}

/// The order of two numbers, exact where both are whole. `None` if one is no number (or not a number).
fn numbers(a: &Val<'_>, b: &Val<'_>) -> Option<Ordering> {
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => double(a)?.partial_cmp(&double(b)?),
    }
}

fn whole(v: &Val<'_>) -> Option<i128> {
    match v {
        Val::Int(i) => Some(i128::from(*i)),
        Val::Uint(u) => Some(i128::from(*u)),
        _ => None,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "CEL compares a whole number with a double as doubles"
)]
fn double(v: &Val<'_>) -> Option<f64> {
    match v {
        Val::Int(i) => Some(*i as f64),
        Val::Uint(u) => Some(*u as f64),
        Val::Double(d) => Some(*d),
        _ => None,
    }
}

/// Whether a value has the same meaning as another; different types are unequal, never an error.
pub(super) fn same_scalar(a: &Val<'_>, b: &Val<'_>) -> bool {
    match (a, b) {
        (Val::Null, Val::Null) => true,
        (Val::Bool(a), Val::Bool(b)) => a == b,
        (Val::Text(a), Val::Text(b)) => a == b,
        _ => numbers(a, b) == Some(Ordering::Equal),
    }
}
