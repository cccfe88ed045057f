//! `upstream`: where the server is, how it is reached, and what it speaks.

use std::path::PathBuf;

use super::transport::{is_loopback_name, split_url};
use super::types::{Listen, Upstream, UpstreamPlace, UpstreamTls, UpstreamTransport};
use crate::document::read::Section;
use crate::document::report::Report;
use crate::finding::codes;

const LOOPBACK_FIX: &str = "run the server in the same pod and write http://127.0.0.1:PORT/path or unix:/path/of/socket:/mcp; or write https:// with upstream.tls";

pub(crate) fn upstream(
    root: Section<'_>,
    listen: Option<&Listen>,
    report: &mut Report<'_>,
) -> Option<Upstream> {
    let section = root.section("upstream");
    // Reserved, reported by the table.
    let _ = section.text("require_loopback");
    let text = section.text("url")?;
    let tls = tls(section.section("tls"), report);
    let (place, path) = match text.strip_prefix("unix:") {
        Some(rest) => unix(rest, section, report)?,
        None => tcp(text, tls.clone(), section, listen, report)?,
    };
    if tls.is_some() && !matches!(place, UpstreamPlace::Https { .. }) {
        report
            .error(
                codes::CONTRADICTION,
                section.place_of("tls"),
                "`upstream.tls` is written for an upstream.url that is not https",
            )
            .fix("write https:// or leave upstream.tls out");
    }
    let transport = match section.text("transport") {
        Some("sse") => UpstreamTransport::Sse,
        _ => UpstreamTransport::Streamable,
    };
    let batches = section.text("batches") == Some("allow");
    if batches && transport == UpstreamTransport::Sse {
        report
            .error(
                codes::CONTRADICTION,
                section.place_of("batches"),
                "`upstream.batches` is allow for the transport sse",
            )
            .fix("batches are of Streamable HTTP and 2025-03-26 only: leave the key out");
    }
    Some(Upstream {
        url: text.to_owned(),
        place,
        path,
        transport,
        batches,
        timeout: section.seconds("timeout_seconds")?,
        connect_timeout: section.seconds("connect_timeout_seconds")?,
        protocol_versions: protocol_versions(section, report),
        tools_lock: section.owned("tools_lock").map(PathBuf::from),
    })
}

/// `unix:/path/of/socket:/path/of/endpoint`; the last part may be missing.
fn unix(
    rest: &str,
    section: Section<'_>,
    report: &mut Report<'_>,
) -> Option<(UpstreamPlace, String)> {
    let (socket, path) = rest.split_once(':').unwrap_or((rest, "/"));
    let plain = |text: &str| {
        text.starts_with('/')
            && !text.contains(['?', '#'])
            && !text.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    if plain(socket) && plain(path) && socket.len() > 1 {
        return Some((UpstreamPlace::Unix(socket.into()), path.to_owned()));
    }
    report
        .error(
            codes::BAD_VALUE,
            section.place_of("url"),
            "`upstream.url` names no socket and endpoint",
        )
        .fix("write it as unix:/run/mcp/server.sock:/mcp");
    None
}

fn tcp(
    text: &str,
    tls: Option<UpstreamTls>,
    section: Section<'_>,
    listen: Option<&Listen>,
    report: &mut Report<'_>,
) -> Option<(UpstreamPlace, String)> {
    let place = section.place_of("url");
    let Some(url) = split_url(text) else {
        report
            .error(codes::BAD_VALUE, place, "`upstream.url` is no URL")
            .fix("write it as http://127.0.0.1:3000/mcp");
        return None;
    };
    let loopback = is_loopback_name(url.host);
    let port = url
        .port
        .unwrap_or(if url.scheme == "https" { 443 } else { 80 });
    if loopback && listen.is_some_and(|l| l.address.port() == port) {
        report
            .error(
                codes::CONTRADICTION,
                place,
                "`upstream.url` has the port of listen.address: the sidecar would call itself",
            )
            .fix("give the server a port of its own");
    }
    let host = url.host.to_owned();
    let path = if url.path.is_empty() { "/" } else { url.path }.to_owned();
    match (url.scheme, tls) {
        ("https", Some(tls)) => {
            if !loopback && tls.identity.is_none() {
                report
                    .error(
                        codes::WEAK_TRANSPORT,
                        section.place_of("tls"),
                        "`upstream.url` is not on loopback and upstream.tls shows no certificate",
                    )
                    .fix("name upstream.tls.certificate and key: a server elsewhere must know that it is the sidecar that calls");
            }
            Some((UpstreamPlace::Https { host, port, tls }, path))
        }
        ("https", None) => {
            report
                .error(
                    codes::MISSING_KEY,
                    place,
                    "`upstream.url` is https and `upstream.tls` is missing",
                )
                .fix("name upstream.tls.ca_file, and certificate and key unless the server is on loopback");
            None
        }
        ("http", _) if loopback => Some((UpstreamPlace::Http { host, port }, path)),
        _ => {
            report
                .error(
                    codes::WEAK_TRANSPORT,
                    place,
                    "`upstream.url` is not http on loopback",
                )
                .fix(LOOPBACK_FIX);
            None
        }
    }
}

fn tls(section: Section<'_>, report: &mut Report<'_>) -> Option<UpstreamTls> {
    let (certificate, key) = (section.text("certificate"), section.text("key"));
    let (ca_file, server_name) = (section.text("ca_file"), section.owned("server_name"));
    if certificate.is_some() != key.is_some() {
        report
            .error(
                codes::MISSING_KEY,
                section.place(),
                "`upstream.tls` has one of certificate and key",
            )
            .fix("name both, or neither");
    }
    Some(UpstreamTls {
        ca_file: ca_file?.into(),
        identity: certificate
            .zip(key)
            .map(|(certificate, key)| (PathBuf::from(certificate), PathBuf::from(key))),
        server_name,
    })
}

/// `upstream.protocol_versions`, if it is written: each once, and at least one.
fn protocol_versions(section: Section<'_>, report: &mut Report<'_>) -> Option<Vec<String>> {
    section.node_of("protocol_versions")?;
    let versions = section.texts("protocol_versions");
    let mut seen = std::collections::BTreeSet::new();
    if versions.is_empty() || !versions.iter().all(|version| seen.insert(version)) {
        report
            .error(
                codes::BAD_VALUE,
                section.place_of("protocol_versions"),
                "`upstream.protocol_versions` names no revision, or one twice",
            )
            .fix("name each revision that the server speaks once, or leave the key out");
    }
    Some(versions)
}
