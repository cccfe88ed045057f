//! `key_sources`, and the texts that refer to them.
//!
//! A text that refers to a source is no secret: it names a secret, or is a key that only the source can unwrap.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::keys::{base64, digits};
use super::transport::{is_loopback_name, split_url};
use crate::document::Environment;
use crate::document::read::Section;
use crate::document::report::Report;
use crate::document::tree::Place;
use crate::finding::codes;
use crate::secret::Secret;

/// Bytes of a text that refers to a source: the longest that AWS KMS and transit make is far below.
const REFERENCE_BYTES_MAX: usize = 16 * 1024;

/// `key_sources`. Shared, for what resolves keys outlives the configuration that it came from.
#[derive(Debug)]
pub struct KeySources {
    /// Infisical.
    pub infisical: Option<Arc<Infisical>>,
    /// The transit engine of OpenBao or Vault.
    pub transit: Option<Arc<Transit>>,
    /// AWS KMS.
    pub aws_kms: Option<Arc<AwsKms>>,
    /// A hardware security module.
    pub pkcs11: Option<Arc<Pkcs11>>,
    /// For all keys of a configuration together, retries included. 1 s to an hour.
    pub timeout: Duration,
}

/// `key_sources.infisical`
#[derive(Debug)]
pub struct Infisical {
    /// Base URL, https (http on loopback), without a slash at its end.
    pub url: String,
    /// The project's id.
    pub project: String,
    /// The environment's slug.
    pub environment: String,
    /// The folder of the secrets.
    pub path: String,
    /// PEM of the authorities for the server's certificate; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// Who asks.
    pub login: InfisicalLogin,
}

/// How a machine identity of Infisical shows that it is itself.
#[derive(Debug)]
pub enum InfisicalLogin {
    /// `universal_auth`
    Universal {
        /// The identity's client id.
        client_id: String,
        /// Its secret. `None` only in `check`.
        client_secret: Option<Secret>,
    },
    /// `kubernetes_auth`
    Kubernetes {
        /// The identity's id.
        identity_id: String,
        /// The service account token's file.
        token_file: PathBuf,
    },
}

/// `key_sources.transit`
#[derive(Debug)]
pub struct Transit {
    /// Base URL, https (http on loopback), without a slash at its end.
    pub url: String,
    /// Where the engine is mounted, without slashes at its ends.
    pub mount: String,
    /// The name of the key that wraps.
    pub key: String,
    /// The namespace.
    pub namespace: Option<String>,
    /// PEM of the authorities for the server's certificate; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// Who asks.
    pub login: TransitLogin,
}

/// How the sidecar comes to a token of OpenBao or Vault.
#[derive(Debug)]
pub enum TransitLogin {
    /// `token`. `None` only in `check`.
    Token(Option<Secret>),
    /// `kubernetes`
    Kubernetes {
        /// The role to log in as.
        role: String,
        /// Where the method is mounted.
        mount: String,
        /// The service account token's file.
        token_file: PathBuf,
    },
    /// `approle`
    AppRole {
        /// The role's id.
        role_id: String,
        /// Its secret. `None` only in `check`.
        secret_id: Option<Secret>,
        /// Where the method is mounted.
        mount: String,
    },
}

/// `key_sources.aws_kms`
#[derive(Debug)]
pub struct AwsKms {
    /// The region.
    pub region: String,
    /// Id, ARN or alias of the key that wraps.
    pub key_id: Option<String>,
    /// Of KMS: https (http on loopback), without a slash at its end.
    pub endpoint: String,
    /// Of STS, the same.
    pub sts_endpoint: String,
    /// PEM of the authorities for their certificates; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// Who asks.
    pub credentials: AwsCredentials,
}

/// AWS credentials, from the standard variables.
#[derive(Debug)]
pub enum AwsCredentials {
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`
    Static {
        /// The access key's id.
        access_key_id: String,
        /// Its secret.
        secret_access_key: Secret,
        /// The token of temporary credentials.
        session_token: Option<Secret>,
    },
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_ARN`, `AWS_ROLE_SESSION_NAME`
    WebIdentity {
        /// The role to assume.
        role_arn: String,
        /// The identity token's file, read at each login.
        token_file: PathBuf,
        /// The session's name.
        session_name: String,
    },
    /// None of these variables is set.
    Absent,
}

/// `key_sources.pkcs11`
#[derive(Debug)]
pub struct Pkcs11 {
    /// The vendor's library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The user's PIN. `None` only in `check`.
    pub pin: Option<Secret>,
    /// The label of the key that wraps.
    pub key: String,
}

/// Which source a text refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceKind {
    /// A secret of Infisical, by its name.
    Infisical,
    /// What the transit engine wrapped.
    Transit,
    /// What AWS KMS wrapped.
    AwsKms,
    /// What a hardware security module wrapped.
    Pkcs11,
}

impl SourceKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Infisical, Self::Transit, Self::AwsKms, Self::Pkcs11];

    /// The word before the colon of a text that refers to it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Infisical => "infisical",
            Self::Transit => "transit",
            Self::AwsKms => "aws-kms",
            Self::Pkcs11 => "pkcs11",
        }
    }

    /// Its section of the configuration.
    #[must_use]
    pub fn section(self) -> &'static str {
        match self {
            Self::AwsKms => "aws_kms",
            _ => self.word(),
        }
    }

    fn of(text: &str) -> Option<(Self, &str)> {
        let (word, rest) = text.split_once(':')?;
        let kind = Self::ALL.into_iter().find(|kind| kind.word() == word)?;
        Some((kind, rest))
    }

    /// Whether what follows the colon can be right, and what it should be.
    fn accepts(self, rest: &str) -> Result<(), &'static str> {
        let (fits, expected) = match self {
            Self::Infisical => (
                !rest
                    .chars()
                    .any(|c| c.is_whitespace() || c.is_control() || c == '/'),
                "the name of a secret, as in infisical:PHI_KEY",
            ),
            Self::Transit => (
                rest.strip_prefix("vault:v").is_some_and(|rest| {
                    rest.split_once(':').is_some_and(|(version, sealed)| {
                        version.parse::<u32>().is_ok() && is_base64(sealed)
                    })
                }),
                "a ciphertext of transit, as in transit:vault:v1:…",
            ),
            Self::AwsKms => (is_base64(rest), "the CiphertextBlob in base64"),
            Self::Pkcs11 => (is_base64(rest), "the wrapped key in base64"),
        };
        if fits && !rest.is_empty() && rest.len() <= REFERENCE_BYTES_MAX {
            Ok(())
        } else {
            Err(expected)
        }
    }
}

fn is_base64(text: &str) -> bool {
    let bare = text.trim_end_matches('=');
    !bare.is_empty() && text.len() - bare.len() <= 2 && digits(bare.as_bytes(), 6, base64).is_some()
}

/// A text that refers to a source: which one, and what is asked of it.
pub struct SourceText {
    /// The source.
    pub kind: SourceKind,
    /// A secret's name, or a wrapped key. No secret itself.
    pub text: String,
}

impl fmt::Debug for SourceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceText({}:…)", self.kind.word())
    }
}

/// Whether a text refers to a source, well or badly.
pub(crate) fn is_reference(text: &str) -> bool {
    SourceKind::of(text).is_some()
}

/// Reads a text that refers to a source; `sources` is the section `key_sources`.
pub(super) fn reference(
    text: &str,
    place: Place,
    ring: &'static str,
    sources: Section<'_>,
    report: &mut Report<'_>,
) -> Option<SourceText> {
    let (kind, rest) = SourceKind::of(text)?;
    if let Err(expected) = kind.accepts(rest) {
        let word = kind.word();
        report
            .error(
                codes::BAD_KEY,
                place,
                format!("`keys.{ring}` has a source that {word} can't have made"),
            )
            .fix(format!("behind `{word}:` stands {expected}"));
        return None;
    }
    let section = kind.section();
    if !sources.section(section).is_written() {
        report
            .error(
                codes::MISSING_KEY,
                place,
                format!("`keys.{ring}` has a source in `key_sources.{section}`, which is missing"),
            )
            .fix(format!("add key_sources: {{ {section}: {{ … }} }}"));
        return None;
    }
    Some(SourceText {
        kind,
        text: rest.to_owned(),
    })
}

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
        credentials: aws_credentials(&variable),
    };
    let whole = region.is_some() && kms.is_some() && sts.is_some();
    present(section, whole.then_some(built))
}

fn aws_credentials(variable: &dyn Fn(&str) -> Option<String>) -> AwsCredentials {
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
fn url(
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

#[cfg(test)]
mod tests;
