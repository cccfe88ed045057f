//! `authentication.mfa.enrolment`: second factors that the sidecar enrols and verifies itself.

use std::net::IpAddr;
use std::path::Path;

use super::transport::{Url, split_url};
use super::types::{Enrolment, Listen};
use crate::document::read::Section;
use crate::document::report::Report;
use crate::finding::codes;

/// https's own port, which an origin does not name.
const HTTPS_PORT: u16 = 443;

fn section(root: Section<'_>) -> Section<'_> {
    let mfa = root.section("authentication").section("mfa");
    mfa.section("enrolment")
}

pub(super) fn read(
    root: Section<'_>,
    required: bool,
    report: &mut Report<'_>,
) -> Option<Enrolment> {
    let section = section(root);
    if !section.is_written() {
        return None;
    }
    if !required {
        report
            .warning(
                codes::CONTRADICTION,
                section.place(),
                "`authentication.mfa.enrolment` does nothing: no second factor is required",
            )
            .fix("write authentication.mfa.enabled: true, or remove enrolment");
    }
    let (origin, host) = match section.text("url") {
        Some(text) => written(section, text, report)?,
        None => reached(root)?,
    };
    Some(Enrolment {
        directory: section.text("directory")?.into(),
        origin,
        host,
    })
}

/// The origin as it is written: of https, and nothing behind it.
fn written(section: Section<'_>, text: &str, report: &mut Report<'_>) -> Option<(String, String)> {
    let url = split_url(text).filter(|url| url.scheme == "https" && url.path.is_empty());
    if url.is_none() {
        report
            .error(
                codes::BAD_VALUE,
                section.place_of("url"),
                "`authentication.mfa.enrolment.url` is no origin of https",
            )
            .fix("write scheme, host and port only, as in https://agents.example.com:8444");
    }
    url.map(|url| origin(&url, url.port))
}

/// Where browsers come to without a word of the operator's: `listen.account`, else the listener of clients.
fn reached(root: Section<'_>) -> Option<(String, String)> {
    let listen = root.section("listen");
    let url = split_url(listen.text("public_url")?)?;
    let account = listen.section("account").text("address");
    let port = match account {
        Some(address) => Some(address.parse::<std::net::SocketAddr>().ok()?.port()),
        None => url.port,
    };
    Some(origin(&url, port))
}

fn origin(url: &Url<'_>, port: Option<u16>) -> (String, String) {
    let host = url.host.to_ascii_lowercase();
    let shown = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.clone(),
    };
    let origin = match port.filter(|port| *port != HTTPS_PORT) {
        Some(port) => format!("https://{shown}:{port}"),
        None => format!("https://{shown}"),
    };
    (origin, host)
}

/// What else stands in the way of the page and its directory.
pub(crate) fn judge(
    root: Section<'_>,
    enrolment: &Enrolment,
    around: &Around<'_>,
    report: &mut Report<'_>,
) {
    let section = section(root);
    directory(section, &enrolment.directory, around.directories, report);
    if around.webauthn && enrolment.host.parse::<IpAddr>().is_ok() {
        report
            .error(
                codes::CONTRADICTION,
                section.place_of("url"),
                "passkeys are bound to a name, and the page of `authentication.mfa.enrolment` has an address",
            )
            .fix("give it a url with a name, or leave webauthn out of authentication.mfa.providers");
    }
    if around.shared {
        report
            .error(
                codes::CONTRADICTION,
                section.place(),
                "`authentication.mfa.enrolment` and `sessions.store`: a proof is known to the replica that it was given to alone",
            )
            .fix("run one replica without sessions.store, or let an identity provider ask for second factors");
    }
    let Some(listen) = around.listen else { return };
    match &listen.account {
        None if reached(root).is_some_and(|(origin, _)| origin != enrolment.origin) => {
            report
                .error(
                    codes::CONTRADICTION,
                    section.place_of("url"),
                    "`authentication.mfa.enrolment.url` is not the origin of listen.public_url, and there is no listen.account",
                )
                .fix("add listen.account, or leave the url out");
        }
        None if around.certificates => {
            report
                .warning(
                    codes::CONTRADICTION,
                    section.place(),
                    "the page of `authentication.mfa.enrolment` opens only in browsers that have a client certificate",
                )
                .fix("add listen.account, which asks for none");
        }
        None => {}
        Some(account)
            if account
                .hosts
                .iter()
                .any(|host| host.eq_ignore_ascii_case(&enrolment.host)) => {}
        Some(_) => {
            report
                .error(
                    codes::CONTRADICTION,
                    section.place_of("url"),
                    "`authentication.mfa.enrolment.url` has a host that listen.account is not called by",
                )
                .fix("add it to listen.account.hosts");
        }
    }
}

/// What of the rest of the configuration matters here.
pub(crate) struct Around<'a> {
    /// Directories that hold nothing but their own, by their keys.
    pub directories: &'a [(&'static str, &'a Path)],
    /// Whether passkeys prove a second factor.
    pub webauthn: bool,
    /// Whether replicas share their login sessions.
    pub shared: bool,
    /// Whether clients need certificates.
    pub certificates: bool,
    /// The listeners.
    pub listen: Option<&'a Listen>,
}

fn directory(
    section: Section<'_>,
    own: &Path,
    others: &[(&'static str, &Path)],
    report: &mut Report<'_>,
) {
    let place = section.place_of("directory");
    if !own.is_absolute() || own.file_name().is_none() {
        report
            .error(
                codes::BAD_VALUE,
                place,
                "`authentication.mfa.enrolment.directory` names no directory of its own by its absolute path",
            )
            .fix("write a path such as /var/lib/safeguard/factors");
    }
    for (name, other) in others {
        if own.starts_with(other) || other.starts_with(own) {
            report
                .error(
                    codes::CONTRADICTION,
                    place,
                    format!(
                        "`authentication.mfa.enrolment.directory` and `{name}` are within one another"
                    ),
                )
                .fix("keep the enrolments in a directory of their own");
        }
    }
}
