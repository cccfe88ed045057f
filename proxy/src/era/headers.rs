//! The mirrored headers of a modern request: checked as they come, made anew for what goes up.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use safeguard_vault::carry::looks_carried;
use safeguard_wire::json::Value;
use safeguard_wire::jsonrpc::Message;
use safeguard_wire::mirror::{self, Annotations, Mirror, Mismatch, Unmirrorable};

use crate::gate;
use crate::refuse::Refusal;

/// The mirrored headers of one request, as they came.
pub type Mirrored = Vec<(HeaderName, HeaderValue)>;

/// Those of a request's headers that mirror its message.
pub fn mirrored(headers: &HeaderMap) -> Mirrored {
    headers
        .iter()
        .filter(|(name, _)| mirror::is_mirror(name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Checks a request's headers against its message. `known` are the tool's annotations, if a list has shown them; else
/// each `Mcp-Param-*` must be the one argument that has its value. Gives the annotations that hold for what goes up.
///
/// # Errors
/// 400 with -32020: on that clients ask for the list again, and the next request finds it known.
pub fn check(
    headers: &Mirrored,
    message: &Message<'_>,
    known: Option<Arc<Annotations>>,
) -> Result<Arc<Annotations>, Refusal> {
    let annotations = match known {
        Some(known) => known,
        None => Arc::new(learnt(headers, message)?),
    };
    let mut wanted = mirror::mirrors(message, &annotations).map_err(|error| refused(&error))?;
    let there = |mirror: &Mirror<'_>| headers.iter().any(|(name, _)| name == mirror.name());
    // Where an argument takes a token that its own type does not allow, the list that the client was shown has no
    // annotation: it can't mirror what it carries.
    wanted.retain(|mirror| there(mirror) || !looks_carried(mirror.value()));
    let pairs = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    mirror::check(&wanted, pairs).map_err(|mismatch| Refusal::HeaderMismatch(words(mismatch)))?;
    Ok(annotations)
}

/// What each `Mcp-Param-*` mirrors, told from the arguments alone.
fn learnt(headers: &Mirrored, message: &Message<'_>) -> Result<Annotations, Refusal> {
    let mut annotations = Annotations::default();
    let params = headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with(mirror::PARAM));
    for (name, value) in params {
        let arguments = arguments(message)?;
        let told = match arguments {
            Some(arguments) => annotations
                .learn(arguments, name.as_str(), value.as_bytes())
                .map_err(|_| Refusal::InvalidRequest("a member of the arguments stands twice"))?,
            None => false,
        };
        if !told {
            return Err(Refusal::HeaderMismatch(
                "header mcp-param-* mirrors no argument that is known to be mirrored: list the tools first",
            ));
        }
    }
    Ok(annotations)
}

fn arguments<'t>(message: &Message<'t>) -> Result<Option<Value<'t>>, Refusal> {
    let Message::Request {
        params: Some(params),
        ..
    } = message
    else {
        return Ok(None);
    };
    params
        .get("arguments")
        .map_err(|_| Refusal::InvalidRequest("a member of params stands twice"))
}

/// The headers that go up with a modern message: those of `forwarded` that are the revision's, and what mirrors the
/// message as it goes.
///
/// # Errors
/// When a value of the message has become one that no header can mirror (a sealed value in its object form).
pub fn up(
    forwarded: &HeaderMap,
    message: &Message<'_>,
    annotations: &Annotations,
) -> Result<HeaderMap, Unmirrorable> {
    let mut up = forwarded.clone();
    up.remove(&gate::SESSION_ID);
    up.remove(&gate::LAST_EVENT_ID);
    for mirror in mirror::mirrors(message, annotations)? {
        let name = HeaderName::from_bytes(mirror.name().as_bytes());
        let value = HeaderValue::from_str(&mirror.header_value());
        let (Ok(name), Ok(mut value)) = (name, value) else {
            return Err(Unmirrorable::NotPlain);
        };
        value.set_sensitive(true);
        up.insert(name, value);
    }
    Ok(up)
}

fn refused(error: &Unmirrorable) -> Refusal {
    match error {
        Unmirrorable::Duplicate(_) => {
            Refusal::InvalidRequest("a member that a header mirrors stands twice")
        }
        Unmirrorable::NotPrimitive | Unmirrorable::NotPlain | _ => Refusal::HeaderMismatch(
            "what a header mirrors must be a string, a boolean or an integer of at most 2^53-1",
        ),
    }
}

/// A mismatch in fixed words; of the parameters' headers not even the name is repeated.
fn words(mismatch: Mismatch) -> &'static str {
    match mismatch {
        Mismatch::Missing(mirror::METHOD) => "header mcp-method is missing",
        Mismatch::Missing(mirror::NAME) => "header mcp-name is missing",
        Mismatch::Missing(_) => {
            "a header mcp-param-* is missing: list the tools and send what their schemas say"
        }
        Mismatch::Repeated(_) => "a header that mirrors the body stands twice",
        Mismatch::Differs(mirror::VERSION) => {
            "header mcp-protocol-version does not say what the body says"
        }
        Mismatch::Differs(mirror::METHOD) => "header mcp-method does not say what the body says",
        Mismatch::Differs(mirror::NAME) => "header mcp-name does not say what the body says",
        Mismatch::Malformed(_) => {
            "a header that mirrors the body is neither visible ascii nor base64 in =?base64?…?="
        }
        Mismatch::Differs(_) | Mismatch::Unexpected(_) | _ => {
            "a header mcp-param-* does not say what the body says: list the tools and send what their schemas say"
        }
    }
}
