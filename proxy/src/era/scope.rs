//! What an answer says of itself beside its content: who may keep it, and which revisions are spoken.

use safeguard_wire::json::{Kind, Splice, Value};

use super::Spoken;
use crate::rewrite::RewriteError;

/// Says that nobody else may be served this result from a cache: it was filtered or opened for one principal
/// (MCP 2026-07-28, Caching). A result without any word on caching stays without.
///
/// # Errors
/// When a word on caching stands twice.
pub fn private<'t>(result: Value<'t>, splice: &mut Splice<'t>) -> Result<(), RewriteError> {
    if result.kind() != Kind::Object {
        return Ok(());
    }
    let member = |name| {
        let found = result.get(name);
        found.map_err(|_| RewriteError::Upstream("duplicate_members"))
    };
    match (member("cacheScope")?, member("ttlMs")?) {
        (Some(scope), _) if scope.raw() == br#""private""# => {}
        (Some(scope), _) => splice.replace(scope, br#""private""#),
        (None, Some(_)) => splice.insert_member(result, "cacheScope", br#""private""#),
        (None, None) => {}
    }
    Ok(())
}

/// Leaves in the `supportedVersions` of a `server/discover` result what is carried here.
///
/// # Errors
/// When the member stands twice.
pub fn own_revisions<'t>(
    result: Value<'t>,
    spoken: Spoken<'_>,
    splice: &mut Splice<'t>,
) -> Result<(), RewriteError> {
    let versions = result
        .get("supportedVersions")
        .map_err(|_| RewriteError::Upstream("duplicate_members"))?;
    for version in versions.into_iter().flat_map(Value::children) {
        if !version.string().is_some_and(|one| spoken.has(&one)) {
            splice.remove(version);
        }
    }
    Ok(())
}
