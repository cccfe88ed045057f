//! `clients`: certificates to names and caps.

use std::sync::Arc;

use super::roles::Roles;
use crate::decide::wildcard;
use crate::document::keys::CLIENT;
use crate::document::read::Section;
use crate::document::report::Report;
use crate::document::tree::{Entry, Place};
use crate::finding::codes;
use crate::policy::{Client, RoleSet};
use crate::settings::{MutualTls, is_dns_pattern};

pub(super) fn clients(
    root: Section<'_>,
    roles: &Roles,
    mutual: Option<&MutualTls>,
    report: &mut Report<'_>,
) -> Vec<Client> {
    let mut clients = Vec::new();
    let mut seen: Vec<(String, Place)> = Vec::new();
    let mut without: Option<Place> = None;
    let proofs = root.section("authentication").section("bound_tokens");
    let proofs_count = proofs.text("dpop") != Some("ignored");
    for entry in root.named("clients") {
        clients.push(client(entry, roles, mutual, &mut seen, report));
        let section = Section::new(&entry.value, CLIENT);
        without_certificate(section, entry, mutual, &mut without, report);
        if section.flag("dpop") && !proofs_count {
            report
                .error(
                    codes::CONTRADICTION,
                    section.place_of("dpop"),
                    format!("`clients.{}.dpop` asks for proofs, and authentication.bound_tokens.dpop ignores them", entry.name),
                )
                .fix("let authentication.bound_tokens.dpop be accepted or required");
        }
    }
    if clients.is_empty() && root.entry_of("clients").is_some() {
        report
            .warning(
                codes::DEAD_RULE,
                root.place_of("clients"),
                "no client is named: every call is denied",
            )
            .fix("name the software that asks, by its certificate");
    }
    clients
}

fn client(
    entry: &Entry,
    roles: &Roles,
    mutual: Option<&MutualTls>,
    seen: &mut Vec<(String, Place)>,
    report: &mut Report<'_>,
) -> Client {
    let section = Section::new(&entry.value, CLIENT);
    let mut certificates = Vec::new();
    for node in section.one_or_more("certificate") {
        let Some(name) = node.text() else { continue };
        let lower = name.to_ascii_lowercase();
        if !is_dns_pattern(name) {
            report
                .error(
                    codes::BAD_VALUE,
                    node.place,
                    format!("`clients.{}.certificate` is no DNS name", entry.name),
                )
                .fix("write a name, or one with `*` for its first label, as in *.example.com");
        } else if let Some((_, first)) = seen.iter().find(|(n, _)| *n == lower) {
            report
                .error(
                    codes::CONTRADICTION,
                    node.place,
                    "two clients have the same certificate name",
                )
                .fix("a name stands for one client")
                .related(*first, "the other client");
        } else if mutual.is_some_and(|m| !admitted(m, name)) {
            report
                .warning(codes::DEAD_RULE, node.place, format!("`clients.{}` can never connect: tls.mutual_tls.allowed_dns_names has no name for it", entry.name))
                .fix("add its name there");
        }
        seen.push((lower, node.place));
        certificates.push(name.to_owned());
    }
    let without_certificate = section.flag("without_certificate");
    if section.entry_of("certificate").is_none() && !without_certificate {
        report
            .error(
                codes::MISSING_KEY,
                entry.place,
                format!("`clients.{}.certificate` is missing", entry.name),
            )
            .fix("write the DNS name of its certificate");
    }
    if section.entry_of("certificate").is_some() && certificates.is_empty() {
        report
            .warning(
                codes::DEAD_RULE,
                section.place_of("certificate"),
                format!(
                    "`clients.{}` has no certificate: it is never recognised",
                    entry.name
                ),
            )
            .fix("name its certificate");
    }
    let at_most = section.node_of("at_most").and_then(|node| {
        let (role, shown) = (node.text()?, node.shown());
        let number = roles.number(role);
        if number.is_none() {
            report
                .error(
                    codes::UNDEFINED_ROLE,
                    section.place_of("at_most"),
                    format!("`{shown}` is no role"),
                )
                .meant(roles.suggest(shown));
        }
        number
    });
    Client {
        name: Arc::from(entry.name.as_str()),
        certificates,
        at_most,
        without_certificate,
        dpop: section.flag("dpop"),
        service: service(section, entry, report),
        roles: own_roles(section, roles, report),
    }
}

/// One client at most is whoever shows no certificate, where that is let in at all.
fn without_certificate(
    section: Section<'_>,
    entry: &Entry,
    mutual: Option<&MutualTls>,
    first: &mut Option<Place>,
    report: &mut Report<'_>,
) {
    if !section.flag("without_certificate") {
        return;
    }
    let place = section.place_of("without_certificate");
    if let Some(first) = first.replace(place) {
        report
            .error(
                codes::CONTRADICTION,
                place,
                "two clients are whoever shows no certificate",
            )
            .fix("nothing tells them apart: keep one")
            .related(first, "the other client");
    }
    if section.flag("service") {
        report
            .error(
                codes::CONTRADICTION,
                place,
                format!("`clients.{}` is software without a person, which is known by its certificate alone", entry.name),
            )
            .fix("name its certificate, and remove without_certificate");
    }
    if mutual.is_some_and(|mutual| mutual.required) {
        report
            .warning(
                codes::DEAD_RULE,
                place,
                format!(
                    "`clients.{}` can never connect: everybody must show a certificate",
                    entry.name
                ),
            )
            .fix("remove it, or see tls.mutual_tls.verify_client_cert");
    }
}

/// Software without a person has roles of its own: those of an identity provider are easily given to too many.
fn service(section: Section<'_>, entry: &Entry, report: &mut Report<'_>) -> bool {
    let service = section.flag("service");
    if service && section.entry_of("roles").is_none() {
        report
            .error(
                codes::CONTRADICTION,
                section.place_of("service"),
                format!(
                    "`clients.{}` is software without a person, and its roles are not named",
                    entry.name
                ),
            )
            .fix("name the few that it needs, as in roles: [sync]");
    }
    service
}

fn own_roles(section: Section<'_>, roles: &Roles, report: &mut Report<'_>) -> Option<RoleSet> {
    section.entry_of("roles")?;
    Some(roles.listed(section, report))
}

/// Whether the listener lets any certificate with such a name in.
fn admitted(mutual: &MutualTls, name: &str) -> bool {
    let names = &mutual.allowed_dns_names;
    let concrete = name.replacen('*', "x", 1);
    !mutual.required
        || names.is_empty()
        || names.iter().any(|allowed| {
            let same = allowed.eq_ignore_ascii_case(name);
            let below = name.starts_with("*.") && wildcard(name, allowed);
            same || below || wildcard(allowed, &concrete)
        })
}
