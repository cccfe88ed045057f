//! `identity.issuers`: issuers of tokens beside `keycloak`.

use super::authentication::{claim_path, keys_stale_max, server};
use super::types::Issuer;
use crate::document::keys::ISSUER;
use crate::document::read::Section;
use crate::document::report::Report;
use crate::document::tree::{Entry, Place};
use crate::finding::codes;

/// Whether tokens of any identity provider are taken.
pub(super) fn has_provider(root: Section<'_>) -> bool {
    root.section("keycloak").is_written() || !root.section("identity").named("issuers").is_empty()
}

/// All that can be read; `roles_from` is that of `identity`.
pub(super) fn issuers(
    root: Section<'_>,
    roles_from: &[String],
    report: &mut Report<'_>,
) -> Vec<Issuer> {
    let mut taken = others(root);
    let entries = root.section("identity").named("issuers");
    entries
        .iter()
        .filter_map(|entry| {
            let section = Section::new(&entry.value, ISSUER);
            distinct(section, &mut taken, report);
            issuer(entry, section, roles_from, report)
        })
        .collect()
}

fn issuer(
    entry: &Entry,
    section: Section<'_>,
    roles_from: &[String],
    report: &mut Report<'_>,
) -> Option<Issuer> {
    let shown = format!("identity.issuers.{}", entry.name);
    server(section, "issuer", &format!("{shown}.issuer"), report)?;
    let roles = section.texts("roles");
    if section.entry_of("roles").is_some() && roles.is_empty() {
        report
            .warning(
                codes::DEAD_RULE,
                section.place_of("roles"),
                format!(
                    "`{shown}` grants no role: whoever it knows is let in, and may call nothing"
                ),
            )
            .fix("name the roles that it may grant");
    }
    let own_path = section.entry_of("roles_from").is_some();
    Some(Issuer {
        name: entry.name.clone(),
        issuer: section.owned("issuer")?,
        roles,
        roles_from: match own_path {
            true => claim_path(section, &format!("{shown}.roles_from"), report)?,
            false => roles_from.to_vec(),
        },
        audiences: section.texts("audiences"),
        client_id: section.owned("client_id").unwrap_or_default(),
        ca_file: section.text("ca_file").map(Into::into),
        keys_refresh: section.seconds("keys_refresh_seconds")?,
        keys_stale_max: keys_stale_max(section, &shown, report)?,
        serves_new_when_down: section.text("when_down") == Some("serve"),
    })
}

/// The issuers that the rest of the configuration names, and where.
fn others(root: Section<'_>) -> Vec<(String, Place)> {
    let mut others = Vec::new();
    let jwt = root.section("authentication").section("jwt");
    if let Some(issuer) = jwt.owned("issuer") {
        others.push((issuer, jwt.place_of("issuer")));
    }
    let keycloak = root.section("keycloak");
    if let (Some(server), Some(realm)) = (keycloak.text("server_url"), keycloak.text("realm")) {
        let issuer = format!("{}/realms/{realm}", server.trim_end_matches('/'));
        others.push((issuer, keycloak.place_of("realm")));
    }
    others
}

/// Which rules count for a token would be a guess where two have one issuer.
fn distinct(section: Section<'_>, taken: &mut Vec<(String, Place)>, report: &mut Report<'_>) {
    let Some(issuer) = section.owned("issuer") else {
        return;
    };
    let place = section.place_of("issuer");
    if let Some((_, first)) = taken.iter().find(|(other, _)| *other == issuer) {
        report
            .error(
                codes::CONTRADICTION,
                place,
                "this issuer is named twice: by whose rules its tokens are judged would be a guess",
            )
            .fix("keep one of the two")
            .related(*first, "the other");
    }
    taken.push((issuer, place));
}
