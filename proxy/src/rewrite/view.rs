//! One field's value as one caller may see it.

use safeguard_audit::FieldAction;
use safeguard_policy::field::{Mask, View};
use safeguard_vault::mask;
use safeguard_wire::json::{Kind, Value, quote};

use super::RewriteError;

/// What stands in the place of a clear PHI value.
pub(super) enum Shown {
    /// The value itself.
    AsIs,
    /// Other JSON text.
    Instead(Vec<u8>),
    /// Nothing that could be true: left out, or null.
    Withheld,
}

/// The view of one clear value, and what to call it in the event.
///
/// `token` gives the token for it, quoted, if there can be one.
pub(super) fn show(
    value: Value<'_>,
    view: View,
    token: impl FnOnce(&[u8]) -> Result<Option<Vec<u8>>, RewriteError>,
) -> Result<(Shown, FieldAction), RewriteError> {
    match view {
        View::Reveal => Ok((Shown::AsIs, FieldAction::Revealed)),
        View::Withhold => Ok((Shown::Withheld, FieldAction::Withheld)),
        View::Token => Ok(match token(value.raw())? {
            Some(token) => (Shown::Instead(token), FieldAction::Tokenized),
            None => (Shown::Withheld, FieldAction::Withheld),
        }),
        View::Mask(how) => Ok(match masked(value, how) {
            Some(text) => (Shown::Instead(quote(&text)), FieldAction::Masked),
            // What has no mask (a list, a date without a year) is not shown at all.
            None => (Shown::Withheld, FieldAction::Withheld),
        }),
    }
}

fn masked(value: Value<'_>, how: Mask) -> Option<String> {
    let text = match value.kind() {
        Kind::String => value.string()?.into_owned(),
        Kind::Number => String::from_utf8(value.raw().to_vec()).ok()?,
        Kind::Null | Kind::Bool | Kind::Array | Kind::Object => return None,
    };
    match how {
        Mask::Last4 => Some(mask::last4(&text)),
        Mask::Year => mask::year(&text),
    }
}

/// The envelope's token, where a value is one: `{"_encrypted":true,"_value":"…"}`, or the token alone as a string.
///
/// An object that claims to be sealed and has no token is an error: it can neither be opened nor shown.
pub(super) fn sealed_token(value: Value<'_>) -> Result<Option<String>, RewriteError> {
    match value.kind() {
        Kind::String => Ok(value
            .string()
            .filter(|text| safeguard_vault::looks_sealed(text))
            .map(Into::into)),
        Kind::Object => {
            let ambiguous = |_| RewriteError::Vault("opened");
            let Some(flag) = value.get("_encrypted").map_err(ambiguous)? else {
                return Ok(None);
            };
            if flag.as_bool() != Some(true) {
                return Ok(None);
            }
            let token = value
                .get("_value")
                .map_err(ambiguous)?
                .and_then(Value::string);
            token
                .map(|token| Some(token.into_owned()))
                .ok_or(RewriteError::Vault("opened"))
        }
        Kind::Null | Kind::Bool | Kind::Number | Kind::Array => Ok(None),
    }
}
