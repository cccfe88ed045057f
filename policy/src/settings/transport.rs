//! `tls`, `listen`, `admin`, `state`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::types::{
    Account, Admin, CipherSuite, Cors, Limits, Listen, MutualTls, Spool, State, Tls,
};
use super::{SwitchedOff, is_dns_pattern};
use crate::document::read::Section;
use crate::document::report::Report;
use crate::finding::codes;

/// The parts of a URL that matter here.
pub(super) struct Url<'a> {
    pub scheme: &'a str,
    /// Without the brackets of an IPv6 address.
    pub host: &'a str,
    pub port: Option<u16>,
    /// Empty, or with its slash.
    pub path: &'a str,
}

/// Splits a URL. `None` if it has user information, a query, a fragment, white space or no host.
pub(super) fn split_url(text: &str) -> Option<Url<'_>> {
    if text.contains(['?', '#', '@', '\\'])
        || text.contains(|c: char| c.is_whitespace() || c.is_control())
    {
        return None;
    }
    let (scheme, rest) = text.split_once("://")?;
    let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
    let (host, port) = match authority.strip_prefix('[') {
        Some(inside) => {
            let (host, after) = inside.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            match after {
                "" => (host, None),
                _ => (host, Some(after.strip_prefix(':')?)),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        Some(port) => Some(port.parse::<u16>().ok().filter(|p| *p > 0)?),
        None => None,
    };
    let named = host.parse::<IpAddr>().is_ok() || is_dns_pattern(host);
    (named && !host.contains('*')).then_some(Url {
        scheme,
        host,
        port,
        path,
    })
}

/// Whether a host is this host: 127/8, ::1 or `localhost`.
pub(super) fn is_loopback_name(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

pub(crate) fn tls(
    root: Section<'_>,
    off: &mut SwitchedOff,
    report: &mut Report<'_>,
) -> Option<Tls> {
    let section = root.section("tls");
    let _ = section.text("min_version");
    let mutual = section.section("mutual_tls");
    let required = mutual.flag("enabled") && mutual.flag("verify_client_cert");
    if !required {
        let name = if mutual.flag("enabled") {
            "verify_client_cert"
        } else {
            "enabled"
        };
        off.note(
            mutual.place_of(name),
            "client certificates are switched off",
        );
    }
    let ca_file: Option<PathBuf> = section.text("ca_file").map(Into::into);
    if required && section.is_written() && section.entry_of("ca_file").is_none() {
        report
            .error(
                codes::MISSING_KEY,
                section.place(),
                "`tls.ca_file` is missing",
            )
            .fix("name the authorities that client certificates must come from");
    }
    if required && section.is_written() && mutual.items("allowed_dns_names").is_empty() {
        report
            .error(
                codes::MISSING_KEY,
                mutual.place_of("allowed_dns_names"),
                "`tls.mutual_tls.allowed_dns_names` names no client, so every one would be refused",
            )
            .fix("list the DNS names of the clients' certificates; `*` stands for a first label");
    }
    for node in mutual.items("allowed_dns_names") {
        if node.text().is_some_and(|name| !is_dns_pattern(name)) {
            report
                .error(
                    codes::BAD_VALUE,
                    node.place,
                    "`tls.mutual_tls.allowed_dns_names` has an entry that is no DNS name",
                )
                .fix("write a name, or one with `*` for its first label, as in *.example.com");
        }
    }
    Some(Tls {
        cipher_suites: suites(section, report),
        cert_file: section.text("cert_file")?.into(),
        key_file: section.text("key_file")?.into(),
        crl_file: section.text("crl_file").map(Into::into),
        mutual_tls: MutualTls {
            required,
            accepted: !required
                && mutual.flag("enabled")
                && ca_file.is_some()
                && !mutual.items("allowed_dns_names").is_empty(),
            allowed_dns_names: mutual.texts("allowed_dns_names"),
        },
        ca_file,
    })
}

fn suites(section: Section<'_>, report: &mut Report<'_>) -> Vec<CipherSuite> {
    let Some(list) = section.node_of("cipher_suites") else {
        return vec![
            CipherSuite::Aes256GcmSha384,
            CipherSuite::Chacha20Poly1305Sha256,
            CipherSuite::Aes128GcmSha256,
        ];
    };
    let mut suites: Vec<CipherSuite> = Vec::new();
    for node in list.items() {
        let suite = match node.text() {
            Some("TLS_AES_256_GCM_SHA384") => CipherSuite::Aes256GcmSha384,
            Some("TLS_CHACHA20_POLY1305_SHA256") => CipherSuite::Chacha20Poly1305Sha256,
            Some("TLS_AES_128_GCM_SHA256") => CipherSuite::Aes128GcmSha256,
            _ => continue,
        };
        if suites.contains(&suite) {
            report
                .error(
                    codes::GIVEN_TWICE,
                    node.place,
                    "a cipher suite is given twice",
                )
                .fix("keep one of them");
        } else {
            suites.push(suite);
        }
    }
    if list.items().is_empty() {
        report
            .error(codes::BAD_VALUE, list.place, "`tls.cipher_suites` is empty")
            .fix("name at least one suite, or remove the key");
    }
    suites
}

pub(crate) fn listen(root: Section<'_>, report: &mut Report<'_>) -> Option<Listen> {
    let section = root.section("listen");
    let limits = limits(section.section("limits"));
    origins(section, "allowed_origins", "listen.allowed_origins", report);
    let cors = cors(section.section("cors"), report);
    let text = section.text("public_url")?;
    let Some(url) = split_url(text).filter(|url| url.scheme == "https") else {
        report
            .error(
                codes::BAD_VALUE,
                section.place_of("public_url"),
                "`listen.public_url` is no https URL",
            )
            .fix("write it as https://agents.example.com/mcp");
        return None;
    };
    let host = if url.host.contains(':') {
        format!("[{}]", url.host)
    } else {
        url.host.to_owned()
    };
    let path = url.path.trim_end_matches('/');
    let own = ["/auth", "/.well-known"];
    if own
        .iter()
        .any(|own| path == *own || path.starts_with(&format!("{own}/")))
    {
        report
            .error(
                codes::CONTRADICTION,
                section.place_of("public_url"),
                "`listen.public_url` has a path below /auth or /.well-known, where the sidecar answers itself",
            )
            .fix("give the MCP endpoint another path, as in https://agents.example.com/mcp");
    }
    Some(Listen {
        address: section.text("address")?.parse().ok()?,
        public_url: text.trim_end_matches('/').to_owned(),
        path: if path.is_empty() {
            "/".to_owned()
        } else {
            path.to_owned()
        },
        host: match url.port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        },
        allowed_origins: section.texts("allowed_origins"),
        cors,
        account: account(section, url.host, report),
        limits: limits?,
    })
}

/// `listen.account`, which is called by the name of `public_url` and by those that it lists.
fn account(listen: Section<'_>, host: &str, report: &mut Report<'_>) -> Option<Account> {
    let section = listen.section("account");
    for node in section.items("hosts") {
        let is_name = |text: &str| {
            let name = is_dns_pattern(text) && !text.contains('*');
            name || text.parse::<IpAddr>().is_ok()
        };
        if node.text().is_some_and(|text| !is_name(text)) {
            report
                .error(
                    codes::BAD_VALUE,
                    node.place,
                    "`listen.account.hosts` has an entry that is no host name",
                )
                .fix("write the name alone, as in safeguard.clinic.svc");
        }
    }
    let mut hosts = vec![host.to_owned()];
    hosts.extend(section.texts("hosts"));
    let address: SocketAddr = section.text("address")?.parse().ok()?;
    let main: Option<SocketAddr> = listen.text("address").and_then(|text| text.parse().ok());
    if main.is_some_and(|main| address.port() != 0 && main.port() == address.port()) {
        report
            .error(
                codes::CONTRADICTION,
                section.place_of("address"),
                "`listen.account.address` and listen.address have the same port",
            )
            .fix("give each a port of its own");
    }
    Some(Account { address, hosts })
}

/// Says which entries of a list are no origins.
fn origins(section: Section<'_>, name: &'static str, path: &str, report: &mut Report<'_>) {
    for node in section.items(name) {
        let Some(text) = node.text() else { continue };
        let origin = split_url(text)
            .is_some_and(|url| url.path.is_empty() && matches!(url.scheme, "http" | "https"));
        if !origin {
            report
                .error(
                    codes::BAD_VALUE,
                    node.place,
                    format!("`{path}` has an entry that is no origin"),
                )
                .fix("write scheme, host and port only, as in https://app.example.com");
        }
    }
}

fn cors(section: Section<'_>, report: &mut Report<'_>) -> Option<Cors> {
    origins(section, "origins", "listen.cors.origins", report);
    let cors = Cors {
        origins: section.texts("origins"),
        preflight_without_certificate: section.flag("preflight_without_certificate"),
    };
    section.is_written().then_some(cors)
}

fn limits(section: Section<'_>) -> Option<Limits> {
    Some(Limits {
        body_bytes_max: section.number("body_bytes_max")?,
        answer_bytes_max: section.number("answer_bytes_max")?,
        sse_event_bytes_max: section.number("sse_event_bytes_max")?,
        header: section.seconds("header_seconds")?,
        body: section.seconds("body_seconds")?,
        handshake: section.seconds("handshake_seconds")?,
        connections_max: section.number("connections_max")?,
        connection_age: section.seconds("connection_age_seconds")?,
        requests_max: section.number("requests_max")?,
        streams_per_session_max: section.number("streams_per_session_max")?,
    })
}

pub(crate) fn admin(
    root: Section<'_>,
    listen: Option<&Listen>,
    report: &mut Report<'_>,
) -> Option<Admin> {
    let section = root.section("admin");
    let address: SocketAddr = section.text("address")?.parse().ok()?;
    let account = listen.and_then(|listen| listen.account.as_ref());
    let others = [
        (
            listen.map(|listen| listen.address),
            "`admin.address` and listen.address have the same port",
        ),
        (
            account.map(|account| account.address),
            "`admin.address` and listen.account.address have the same port",
        ),
    ];
    for (other, words) in others {
        if other.is_some_and(|other| address.port() != 0 && other.port() == address.port()) {
            report
                .error(codes::CONTRADICTION, section.place_of("address"), words)
                .fix("give each a port of its own");
        }
    }
    Some(Admin { address })
}

/// `state.directory`, or the spool's sibling: its name with `-state` behind it.
pub(crate) fn state(
    root: Section<'_>,
    spool: Option<&Spool>,
    report: &mut Report<'_>,
) -> Option<State> {
    let section = root.section("state");
    let spool = &spool?.directory;
    let directory: PathBuf = match section.text("directory") {
        Some(text) => text.into(),
        None => sibling(spool)?,
    };
    if directory.starts_with(spool) || spool.starts_with(&directory) {
        report
            .error(
                codes::CONTRADICTION,
                section.place_of("directory"),
                "`state.directory` and the spool's directory are within one another",
            )
            .fix("the spool holds nothing but the log: keep them apart");
    }
    Some(State { directory })
}

fn sibling(spool: &Path) -> Option<PathBuf> {
    let mut name = spool.file_name()?.to_os_string();
    name.push("-state");
    Some(spool.with_file_name(name))
}
