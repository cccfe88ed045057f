//! What the bucket must be: with Object Lock where it is required, with versions, and with a lifecycle that ends what its locks let go.

use super::ask::{Ask, Store};
use super::{S3Settings, xml};
use crate::sink::SinkError;

/// The code of a bucket without Object Lock where it is required.
pub const NO_OBJECT_LOCK: &str = "no_object_lock";

/// May events go into this bucket? Asks only whether it has Object Lock, and nothing where that is not required.
///
/// # Errors
/// It has none ([`NO_OBJECT_LOCK`]), or the store does not say.
pub async fn admit(store: &impl Store, settings: &S3Settings) -> Result<(), SinkError> {
    if settings.lock.is_none() {
        return Ok(());
    }
    let answer = store.ask(question("object-lock")).await?;
    let enabled = ["ObjectLockConfiguration", "ObjectLockEnabled"];
    let is_locked =
        answer.is_well() && xml::text(&answer.body, &enabled).as_deref() == Some("Enabled");
    let is_missing = answer.is_well()
        || matches!(
            answer.code().as_str(),
            "ObjectLockConfigurationNotFoundError" | "NotImplemented"
        );
    match (is_locked, is_missing) {
        (true, _) => Ok(()),
        (false, true) => Err(SinkError {
            code: NO_OBJECT_LOCK.to_owned(),
            what: "the bucket has no Object Lock, which audit_logging.output.object_lock requires: make one with it (docs/operations.md)".to_owned(),
        }),
        (false, false) => Err(answer.refusal("whether the bucket has Object Lock")),
    }
}

/// What a look at the bucket found beside [`admit`]: each a sentence with its fix.
///
/// # Errors
/// The store does not answer, or the bucket may not be used.
pub async fn look(store: &impl Store, settings: &S3Settings) -> Result<Vec<String>, SinkError> {
    admit(store, settings).await?;
    let mut found = Vec::new();
    let answer = store.ask(question("versioning")).await?;
    let status = xml::text(&answer.body, &["VersioningConfiguration", "Status"]);
    if !answer.is_well() {
        let code = answer.code();
        found.push(format!(
            "whether the bucket keeps versions can't be told ({code}): allow s3:GetBucketVersioning"
        ));
    } else if status.as_deref() != Some("Enabled") {
        found.push(
            "the bucket keeps no versions: what is deleted is gone; enable versioning".to_owned(),
        );
    }
    let answer = store.ask(question("lifecycle")).await?;
    found.extend(match answer.code().as_str() {
        _ if answer.is_well() => lifecycle(&answer.body, settings),
        "NoSuchLifecycleConfiguration" | "NotImplemented" => {
            Some("the bucket has no lifecycle: nothing is ever deleted; apply the one of docs/operations.md".to_owned())
        }
        code => Some(format!("the bucket's lifecycle can't be read ({code}): allow s3:GetLifecycleConfiguration")),
    });
    Ok(found)
}

/// What a lifecycle does to our objects that it should not, or does not and should.
fn lifecycle(xml: &[u8], settings: &S3Settings) -> Option<String> {
    let rules = xml::expirations(xml)?;
    let ours = |rule: &&xml::Rule| {
        rule.is_enabled
            && (settings.prefix.starts_with(&rule.prefix)
                || rule.prefix.starts_with(&settings.prefix))
    };
    let days: Vec<u32> = rules
        .iter()
        .filter(ours)
        .filter_map(|rule| rule.current_days)
        .collect();
    if let Some(early) = days.iter().find(|days| **days <= settings.keep_days) {
        return Some(format!(
            "the bucket's lifecycle hides objects after {early} days, before their retention of {} ends: set it to {}",
            settings.keep_days,
            settings.keep_days + 1
        ));
    }
    let whole = rules
        .iter()
        .filter(ours)
        .filter(|rule| !rule.is_partial && settings.prefix.starts_with(&rule.prefix));
    let mut ends = whole.filter(|rule| rule.noncurrent_days.is_some());
    match (days.is_empty(), ends.next().is_some()) {
        (false, true) => None,
        (true, _) => Some("the bucket's lifecycle has no Expiration for the objects: they are kept for ever".to_owned()),
        (false, false) => Some("the bucket's lifecycle has no NoncurrentVersionExpiration: an expired object stays as an older version for ever".to_owned()),
    }
}

/// One about the bucket.
fn question(what: &'static str) -> Ask {
    Ask::of_bucket(vec![(what, String::new())])
}
