//! Bodies of the endpoints: `application/x-www-form-urlencoded` as OAuth's requests are (RFC 6749 appendix B), and JSON.
//!
//! Read strictly: a parameter that stands twice is refused unless its RFC lets it repeat, and so are bytes that are no
//! UTF-8 and percent signs that escape nothing. Values may be tokens: they are wiped when the form goes.

use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::problem::Problem;
use crate::refuse::Refusal;

/// Parameters of one form.
pub const PARAMETERS_MAX: usize = 64;

/// A form as it was sent.
pub struct Form(Vec<(String, Zeroizing<String>)>);

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Form({} parameters)", self.0.len())
    }
}

impl Form {
    /// Reads a body, which must say that it is a form.
    ///
    /// # Errors
    /// 415 for another media type, `invalid_request` for a malformed form.
    pub fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        is_media(headers, "application/x-www-form-urlencoded")?;
        Ok(Self::parse(body)?)
    }

    /// Reads the parameters of a body or a query.
    ///
    /// # Errors
    /// [`Problem`] `invalid_request`.
    pub fn parse(text: &[u8]) -> Result<Self, Problem> {
        const MALFORMED: Problem = Problem::invalid_request("the form is malformed");
        let text = std::str::from_utf8(text).map_err(|_| MALFORMED)?;
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let mut parameters = Vec::new();
        for pair in pairs {
            if parameters.len() == PARAMETERS_MAX {
                return Err(Problem::invalid_request("the form has too many parameters"));
            }
            let (name, value) = pair.split_once('=').ok_or(MALFORMED)?;
            let name = decode(name).ok_or(MALFORMED)?;
            let value = decode(value).ok_or(MALFORMED)?;
            parameters.push((name, Zeroizing::new(value)));
        }
        Ok(Self(parameters))
    }

    /// A parameter that stands once. One without a value is one that was left out (RFC 6749 §3.2).
    ///
    /// # Errors
    /// `invalid_request` where it stands twice.
    pub fn one(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.all(name);
        let first = values.next();
        match values.next() {
            Some(_) => Err(Problem::invalid_request("a parameter stands twice")),
            None => Ok(first),
        }
    }

    /// A parameter that must be there, once.
    ///
    /// # Errors
    /// `invalid_request` in `missing`'s words, or where it stands twice.
    pub fn required(&self, name: &str, missing: &'static str) -> Result<&str, Problem> {
        self.one(name)?.ok_or(Problem::invalid_request(missing))
    }

    /// Every value of a parameter that may repeat.
    pub fn all<'f>(&'f self, name: &str) -> impl Iterator<Item = &'f str> {
        let values = self.0.iter().filter(move |(own, _)| own == name);
        values
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }
}

/// Reads a JSON body into what it must be. Unknown members are the type's to judge.
///
/// # Errors
/// 415 for another media type, `invalid_request` for what is no such JSON.
pub fn json<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Refusal> {
    is_media(headers, "application/json")?;
    serde_json::from_slice(body)
        .map_err(|_| Problem::invalid_request("the body is not the JSON that is expected").into())
}

fn is_media(headers: &HeaderMap, expected: &str) -> Result<(), Refusal> {
    let value = headers.get(header::CONTENT_TYPE);
    let media = value.and_then(|value| value.to_str().ok());
    let media = media.and_then(|media| media.split(';').next());
    let named = media.is_some_and(|media| media.trim().eq_ignore_ascii_case(expected));
    match named && !headers.contains_key(header::CONTENT_ENCODING) {
        true => Ok(()),
        false => Err(Problem {
            status: http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ..Problem::invalid_request("the body has another media type than this endpoint takes")
        }
        .into()),
    }
}

/// `+` is a space, `%` and two hexadecimal digits a byte; the bytes are UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut escapes = text.split('%').skip(1);
    let whole = escapes.all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if !whole {
        return None;
    }
    let spaced = Zeroizing::new(text.replace('+', " "));
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Form {
        Form::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn values_are_decoded_and_empty_ones_are_as_if_left_out() {
        let form = form("grant_type=urn%3Ax&scope=a+b%20c&empty=&&x=%C3%A9");
        assert_eq!(form.one("grant_type").unwrap(), Some("urn:x"));
        assert_eq!(form.one("scope").unwrap(), Some("a b c"));
        assert_eq!(form.one("x").unwrap(), Some("é"));
        assert_eq!(form.one("empty").unwrap(), None);
        assert_eq!(
            form.required("none", "no none").unwrap_err().description,
            "no none"
        );
    }

    #[test]
    fn a_parameter_that_stands_twice_is_refused_unless_it_may_repeat() {
        let form = form("resource=a&resource=b&grant_type=x&grant_type=x");
        assert!(form.one("grant_type").is_err());
        assert_eq!(form.all("resource").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for bad in ["a", "a=%", "a=%2", "a=%zz", "a=%ff", "%=a"] {
            assert!(Form::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Form::parse(b"a=\xff").is_err());
        let many = "a=b&".repeat(PARAMETERS_MAX + 1);
        assert!(Form::parse(many.as_bytes()).is_err());
        assert!(Form::parse("a=b&".repeat(PARAMETERS_MAX).as_bytes()).is_ok());
    }

    #[test]
    fn a_body_must_say_what_it_is() {
        let mut headers = HeaderMap::new();
        assert!(Form::read(&headers, b"a=b").is_err());
        headers.insert("content-type", "application/json".parse().unwrap());
        assert!(Form::read(&headers, b"a=b").is_err());
        assert!(json::<serde_json::Value>(&headers, b"{}").is_ok());
        assert!(json::<serde_json::Value>(&headers, b"{").is_err());
        let media = "Application/X-WWW-Form-Urlencoded; charset=UTF-8";
        headers.insert("content-type", media.parse().unwrap());
        assert!(Form::read(&headers, b"a=b").is_ok());
        headers.insert("content-encoding", "gzip".parse().unwrap());
        assert!(Form::read(&headers, b"a=b").is_err());
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_encoded_is_read_as_it_was(name in "\\PC{1,20}", value in "\\PC{1,40}") {
            let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
            let text = format!("{}={}", encode(&name), encode(&value));
            let form = form(&text);
            proptest::prop_assert_eq!(form.one(&name).unwrap(), Some(value.as_str()));
        }

        #[test]
        fn no_bytes_are_too_odd_to_be_judged(bytes: Vec<u8>) {
            let _ = Form::parse(&bytes);
            let _ = crate::authn::tokens::RefreshToken::parse(&String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn debug_shows_no_value() {
        assert_eq!(
            format!("{:?}", form("refresh_token=canary")),
            "Form(1 parameters)"
        );
    }
}
