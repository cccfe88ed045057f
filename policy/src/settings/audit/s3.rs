//! `audit_logging.output[type: s3]`: which bucket, how its objects are encrypted, and how long nobody may delete them.

use std::sync::Arc;
use std::time::Duration;

use super::Retention;
use crate::document::Environment;
use crate::document::check::days;
use crate::document::read::Section;
use crate::document::report::Report;
use crate::finding::codes;
use crate::settings::SwitchedOff;
use crate::settings::key_sources::AwsCredentials;
use crate::settings::key_sources::read::{aws_credentials, url};
use crate::settings::types::{Output, S3, S3Encryption, S3Lock};

/// The region that a signature names where the store knows none.
const REGION_OF_OTHERS: &str = "us-east-1";
/// The longest prefix, in bytes: S3 takes names of 1024, ours end with up to 600 more.
const PREFIX_BYTES_MAX: usize = 256;

pub(super) fn s3(
    section: Section<'_>,
    retention: Retention,
    env: &dyn Environment,
    off: &mut SwitchedOff,
    report: &mut Report<'_>,
) -> Option<Output> {
    let _ = section.text("type");
    let encrypted = section.flag("encrypted");
    if !encrypted {
        off.note(
            section.place_of("encrypted"),
            "sealing of audit objects is switched off",
        );
    }
    let variable = |name: &str| env.var(name).filter(|value| !value.is_empty());
    let endpoint = match section.entry_of("endpoint") {
        Some(_) => Some(url(
            section,
            "endpoint",
            "audit_logging.output.endpoint",
            report,
        )?),
        None => None,
    };
    let credentials = aws_credentials(&variable);
    if matches!(credentials, AwsCredentials::Absent) {
        report
            .warning(
                codes::SINK_CREDENTIAL,
                section.place_of("type"),
                "the sink s3 has no credential",
            )
            .fix("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN");
    }
    let region = region(section, &variable, endpoint.is_some(), report)?;
    let sts_endpoint = match section.entry_of("sts_endpoint") {
        Some(_) => url(
            section,
            "sts_endpoint",
            "audit_logging.output.sts_endpoint",
            report,
        )?,
        None => format!("https://sts.{region}.{}", domain(&region)),
    };
    Some(Output::S3(S3 {
        bucket: bucket(section, report)?,
        prefix: prefix(section, report)?,
        region,
        endpoint,
        sts_endpoint,
        ca_file: section
            .owned("ca_file")
            .or_else(|| variable("AWS_CA_BUNDLE"))
            .map(Into::into),
        encrypted,
        encryption: encryption(section, report)?,
        lock: lock(section, report)?,
        keep_days: keep_days(section, retention, report)?,
        object_bytes_max: section.number("object_bytes_max")?,
        object_age_max: Duration::from_secs(section.number("object_seconds_max")?),
        credentials: Arc::new(credentials),
    }))
}

/// Where Amazon's services of a region are.
fn domain(region: &str) -> &'static str {
    match region.starts_with("cn-") {
        true => "amazonaws.com.cn",
        false => "amazonaws.com",
    }
}

fn region(
    section: Section<'_>,
    variable: &dyn Fn(&str) -> Option<String>,
    is_own_store: bool,
    report: &mut Report<'_>,
) -> Option<String> {
    const FIX: &str = "write region: eu-central-1, or set AWS_REGION";
    let known = section
        .owned("region")
        .or_else(|| variable("AWS_REGION"))
        .or_else(|| variable("AWS_DEFAULT_REGION"))
        .or_else(|| is_own_store.then(|| REGION_OF_OTHERS.to_owned()));
    let Some(region) = known else {
        let what = "the sink s3 has no region";
        let place = section.place_of("type");
        report.warning(codes::SINK_CREDENTIAL, place, what).fix(FIX);
        return Some(String::new());
    };
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !region.chars().all(letters) {
        let what = "`audit_logging.output.region` is no region";
        let place = section.place_of("region");
        report.error(codes::BAD_VALUE, place, what).fix(FIX);
        return None;
    }
    Some(region)
}

/// The rules of S3 for names of buckets, as far as they keep a name from being a piece of a URL.
fn bucket(section: Section<'_>, report: &mut Report<'_>) -> Option<String> {
    let name = section.owned("bucket")?;
    let letters =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '_');
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let is_name = (3..=63).contains(&name.len())
        && name.chars().all(letters)
        && ends(name.chars().next())
        && ends(name.chars().next_back())
        && !name.contains("..");
    if !is_name {
        report
            .error(
                codes::BAD_VALUE,
                section.place_of("bucket"),
                "`audit_logging.output.bucket` is no name of a bucket",
            )
            .fix("write 3 to 63 lower-case letters, digits, - and .");
        return None;
    }
    Some(name)
}

fn prefix(section: Section<'_>, report: &mut Report<'_>) -> Option<String> {
    let prefix = section.owned("prefix")?;
    let letters = |c: char| c.is_ascii_alphanumeric() || "-_.=/".contains(c);
    let is_plain = prefix.len() <= PREFIX_BYTES_MAX
        && prefix.chars().all(letters)
        && !prefix.starts_with('/')
        && prefix.ends_with('/')
        && !prefix
            .trim_end_matches('/')
            .split('/')
            .any(|part| matches!(part, "" | "." | ".."));
    if !is_plain {
        report
            .error(
                codes::BAD_VALUE,
                section.place_of("prefix"),
                "`audit_logging.output.prefix` is no folder's name",
            )
            .fix("write letters, digits, -, _, . and = with a slash at the end: audit/");
        return None;
    }
    Some(prefix)
}

fn encryption(section: Section<'_>, report: &mut Report<'_>) -> Option<S3Encryption> {
    let key = section.owned("kms_key_id");
    if section.text("encryption")? == "aws:kms" {
        return Some(S3Encryption::Kms(key));
    }
    if key.is_some() {
        report
            .error(
                codes::CONTRADICTION,
                section.place_of("kms_key_id"),
                "`audit_logging.output.kms_key_id` stands beside encryption AES-256, which uses no key of KMS",
            )
            .fix("write encryption: aws:kms, or remove kms_key_id");
    }
    Some(S3Encryption::Aes256)
}

fn lock(section: Section<'_>, report: &mut Report<'_>) -> Option<Option<S3Lock>> {
    let mode = match section.text("lock_mode")? {
        "GOVERNANCE" => S3Lock::Governance,
        _ => S3Lock::Compliance,
    };
    if section.text("object_lock")? == "required" {
        return Some(Some(mode));
    }
    report
        .warning(
            codes::UNLOCKED,
            section.place_of("object_lock"),
            "the objects of the sink s3 are not locked: whoever may delete them can remove the trail",
        )
        .fix("remove object_lock, and make the bucket with Object Lock (docs/operations.md)");
    Some(None)
}

fn keep_days(section: Section<'_>, retention: Retention, report: &mut Report<'_>) -> Option<u32> {
    let Some(text) = section.text("lifecycle") else {
        return retention.days;
    };
    let place = section.place_of("lifecycle");
    let is_told = text.ends_with("_days") || text.ends_with('y');
    let days = days(text).filter(|_| is_told);
    let days = days.and_then(|days| u32::try_from(days).ok());
    let Some(days) = days.filter(|days| *days <= 36_500) else {
        report
            .error(
                codes::BAD_VALUE,
                place,
                "`audit_logging.output.lifecycle` is no number of days",
            )
            .fix("write it as 2555_days or 7y");
        return None;
    };
    if days < retention.least {
        report
            .error(
                codes::BAD_VALUE,
                place,
                "`audit_logging.output.lifecycle` is under 2192 days, six years",
            )
            .fix("write 2192_days or more");
    } else if retention.days.is_some_and(|least| days < least) {
        report
            .error(
                codes::CONTRADICTION,
                place,
                "`audit_logging.output.lifecycle` is shorter than retention_days",
            )
            .fix("make it at least as long");
    }
    Some(days)
}
