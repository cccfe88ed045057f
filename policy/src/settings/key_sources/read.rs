//! From the section `key_sources` to its settings.

use std::path::PathBuf;
use std::sync::Arc;

use super::{
    AwsCredentials, AwsKms, Infisical, InfisicalLogin, KeySources, Pkcs11, Transit, TransitLogin,
};
use crate::document::Environment;
use crate::document::read::Section;
use crate::document::report::Report;
use crate::finding::codes;
use crate::secret::Secret;
use crate::settings::transport::{is_loopback_name, split_url};

pub(crate) fn key_sources(
    root: Section<'_>,
    env: &dyn Environment,
    report: &mut Report<'_>,
) -> Option<KeySources> {
    let section = root.section("key_sources");
    let infisical = infisical(section.section("infisical"), report);
    let transit = transit(section.section("transit"), report);
    let aws_kms = aws_kms(section.section("aws_kms"), env, report);
    let pkcs11 = pkcs11(section.section("pkcs11"), report);
    let timeout = section.seconds("timeout_seconds");
    Some(KeySources {
        infisical: infisical?,
        transit: transit?,
        aws_kms: aws_kms?,
        pkcs11: pkcs11?,
        timeout: timeout?,
    })
}

/// A section that may be left out: `Some(None)` then, `None` where it is wrong.
type Optional<T> = Option<Option<Arc<T>>>;

fn present<T>(section: Section<'_>, built: Option<T>) -> Optional<T> {
    if section.is_written() {
        built.map(|built| Some(Arc::new(built)))
    } else {
        Some(None)
    }
}

fn infisical(section: Section<'_>, report: &mut Report<'_>) -> Optional<Infisical> {
    let universal = section.section("universal_auth");
    let kubernetes = section.section("kubernetes_auth");
    let client_secret = secret(universal, "client_secret");
    let by_client = universal
        .owned("client_id")
        .map(|client_id| InfisicalLogin::Universal {
            client_id,
            client_secret,
        });
    let token_file = kubernetes.text("token_file").map(PathBuf::from);
    let by_pod = kubernetes.owned("identity_id").zip(token_file);
    let by_pod = by_pod.map(|(identity_id, token_file)| InfisicalLogin::Kubernetes {
        identity_id,
        token_file,
    });
    let logins = [
        ("universal_auth", universal.is_written()),
        ("kubernetes_auth", kubernetes.is_written()),
    ];
    let one = one_of(section, "key_sources.infisical", &logins, report);
    let url = url(section, "url", "key_sources.infisical.url", report);
    let (project, environment) = (section.owned("project"), section.owned("environment"));
    let path = section.owned("path");
    let ca_file = section.text("ca_file").map(PathBuf::from);
    let built = || {
        one?;
        Some(Infisical {
            url: url?,
            project: project?,
            environment: environment?,
            path: path?,
            ca_file,
            login: by_client.or(by_pod)?,
        })
    };
    present(section, built())
}

fn transit(section: Section<'_>, report: &mut Report<'_>) -> Optional<Transit> {
    let kubernetes = section.section("kubernetes");
    let approle = section.section("approle");
    let has_token = section.node_of("token").is_some();
    let by_token = has_token.then(|| TransitLogin::Token(secret(section, "token")));
    let place = path(kubernetes, "mount").zip(kubernetes.text("token_file").map(PathBuf::from));
    let by_pod = kubernetes.owned("role").zip(place);
    let by_pod = by_pod.map(|(role, (mount, token_file))| TransitLogin::Kubernetes {
        role,
        mount,
        token_file,
    });
    let secret_id = secret(approle, "secret_id");
    let by_role = approle.owned("role_id").zip(path(approle, "mount"));
    let by_role = by_role.map(|(role_id, mount)| TransitLogin::AppRole {
        role_id,
        secret_id,
        mount,
    });
    let logins = [
        ("token", has_token),
        ("kubernetes", kubernetes.is_written()),
        ("approle", approle.is_written()),
    ];
    let one = one_of(section, "key_sources.transit", &logins, report);
    let url = url(section, "url", "key_sources.transit.url", report);
    let (mount, key) = (path(section, "mount"), section.owned("key"));
    let namespace = section.owned("namespace");
    let ca_file = section.text("ca_file").map(PathBuf::from);
    let built = || {
        one?;
        Some(Transit {
            url: url?,
            mount: mount?,
            key: key?,
            namespace,
            ca_file,
            login: by_token.or(by_pod).or(by_role)?,
        })
    };
    present(section, built())
}

fn aws_kms(
    section: Section<'_>,
    env: &dyn Environment,
    report: &mut Report<'_>,
) -> Optional<AwsKms> {
    let variable = |name: &str| env.var(name).filter(|value| !value.is_empty());
    let region = section
        .owned("region")
        .or_else(|| variable("AWS_REGION"))
        .or_else(|| variable("AWS_DEFAULT_REGION"));
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let region = region.filter(|region| region.chars().all(letters));
    if section.is_written() && region.is_none() {
        report
            .error(
                codes::MISSING_KEY,
                section.place_of("region"),
                "`key_sources.aws_kms.region` is missing, or no region",
            )
            .fix("write region: eu-central-1, or set AWS_REGION");
    }
    let domain = match &region {
        Some(region) if region.starts_with("cn-") => "amazonaws.com.cn",
        _ => "amazonaws.com",
    };
    let default = |service: &str| Some(format!("https://{service}.{}.{domain}", region.as_ref()?));
    let mut endpoint = |name: &'static str, full: &str, service: &str| match section.text(name) {
        Some(_) => url(section, name, full, report),
        None => default(service),
    };
    let kms = endpoint("endpoint", "key_sources.aws_kms.endpoint", "kms");
    let sts = endpoint("sts_endpoint", "key_sources.aws_kms.sts_endpoint", "sts");
    let built = AwsKms {
        region: region.clone().unwrap_or_default(),
        key_id: section.owned("key_id"),
        endpoint: kms.clone().unwrap_or_default(),
        sts_endpoint: sts.clone().unwrap_or_default(),
        ca_file: section.text("ca_file").map(PathBuf::from),
        credentials: Arc::new(aws_credentials(&variable)),
    };
    let whole = region.is_some() && kms.is_some() && sts.is_some();
    present(section, whole.then_some(built))
}

pub(crate) fn aws_credentials(variable: &dyn Fn(&str) -> Option<String>) -> AwsCredentials {
    let pair = variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY"));
    if let Some((access_key_id, secret)) = pair {
        return AwsCredentials::Static {
            access_key_id,
            secret_access_key: Secret::new(secret),
            session_token: variable("AWS_SESSION_TOKEN").map(Secret::new),
        };
    }
    let web = variable("AWS_WEB_IDENTITY_TOKEN_FILE").zip(variable("AWS_ROLE_ARN"));
    match web {
        Some((token_file, role_arn)) => AwsCredentials::WebIdentity {
            role_arn,
            token_file: token_file.into(),
            session_name: variable("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "safeguard".into()),
        },
        None => AwsCredentials::Absent,
    }
}

fn pkcs11(section: Section<'_>, report: &mut Report<'_>) -> Optional<Pkcs11> {
    let module = section.text("module").map(PathBuf::from);
    if module.as_ref().is_some_and(|module| !module.is_absolute()) {
        report
            .error(
                codes::BAD_VALUE,
                section.place_of("module"),
                "`key_sources.pkcs11.module` is no absolute path",
            )
            .fix("write where the vendor's library is, as in /usr/lib/softhsm/libsofthsm2.so");
    }
    let (token, key) = (section.owned("token"), section.owned("key"));
    let pin = secret(section, "pin");
    let built = || {
        Some(Pkcs11 {
            module: module?,
            token: token?,
            pin,
            key: key?,
        })
    };
    present(section, built())
}

fn secret(section: Section<'_>, name: &'static str) -> Option<Secret> {
    section.text(name).map(|text| Secret::new(text.to_owned()))
}

/// A path inside an API: without slashes at its ends.
fn path(section: Section<'_>, name: &'static str) -> Option<String> {
    Some(section.text(name)?.trim_matches('/').to_owned())
}

fn one_of(
    section: Section<'_>,
    name: &str,
    logins: &[(&str, bool)],
    report: &mut Report<'_>,
) -> Option<()> {
    let written = logins.iter().filter(|(_, is_written)| *is_written).count();
    if written == 1 {
        return Some(());
    }
    if section.is_written() {
        let names: Vec<&str> = logins.iter().map(|(name, _)| *name).collect();
        report
            .error(
                codes::CONTRADICTION,
                section.place(),
                format!("`{name}` has {written} ways to log in, and needs one"),
            )
            .fix(format!("write one of: {}", names.join(", ")));
    }
    None
}

/// https, or http to this host.
pub(crate) fn url(
    section: Section<'_>,
    name: &'static str,
    full: &str,
    report: &mut Report<'_>,
) -> Option<String> {
    let text = section.text(name)?.trim_end_matches('/');
    let place = section.place_of(name);
    match split_url(text).map(|url| (url.scheme, is_loopback_name(url.host))) {
        Some(("https", _) | ("http", true)) => Some(text.to_owned()),
        Some(("http", false)) => {
            report
                .error(
                    codes::WEAK_TRANSPORT,
                    place,
                    format!("`{full}` is plain http to another host"),
                )
                .fix("use https");
            None
        }
        _ => {
            report
                .error(codes::BAD_VALUE, place, format!("`{full}` is no URL"))
                .fix("write it as https://vault.example.com:8200");
            None
        }
    }
}
