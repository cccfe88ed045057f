//! The steps of a decision that look at the caller alone: client, candidates, purpose.

use std::sync::Arc;

use super::{DenialReason, Principal};
use crate::policy::{Client, Grant, Operation, Policy, RoleSet};

/// What the caller brings to a rule.
pub(super) struct Standing {
    pub client: Arc<str>,
    pub at_most: Option<usize>,
    pub roles: RoleSet,
    pub purpose: Option<Arc<str>>,
    /// The one patient of the emergency that made it so.
    pub only_patient: Option<String>,
}

impl Policy {
    pub(super) fn standing(
        &self,
        principal: &Principal<'_>,
        grant: &Grant,
        leaves_open: bool,
    ) -> Result<Standing, DenialReason> {
        let client = self.client_of(principal.certificate_names);
        if client.is_none() && self.client_certificates {
            return Err(DenialReason::ClientUnknown);
        }
        if principal.service != client.is_some_and(|client| client.service) {
            return Err(DenialReason::ServiceMismatch);
        }
        let own = client.and_then(|client| client.roles);
        let at_most = client.and_then(|client| client.at_most);
        let client = client.map_or_else(|| Arc::from(""), |client| Arc::clone(&client.name));
        let candidates = self.role_set(principal.roles) & grant.roles & own.unwrap_or(RoleSet::MAX);
        if candidates == 0 {
            return Err(DenialReason::RoleNotAllowed);
        }
        let (roles, purpose) = match grant.operation {
            Operation::None => (candidates, None),
            _ => match self.for_purpose(candidates, principal.purpose) {
                // A later call may name any purpose that a candidate has: as little is seen as any of them shows.
                Err(DenialReason::PurposeMissing)
                    if leaves_open
                        && self.purpose_from.call
                        && self.roles_in(candidates).any(|r| !r.purposes.is_empty()) =>
                {
                    (0, None)
                }
                found => found?,
            },
        };
        Ok(Standing {
            client,
            at_most,
            roles,
            purpose,
            only_patient: None,
        })
    }

    /// Whether the client that one of the names belongs to is software without a person.
    #[must_use]
    pub fn serves_software(&self, certificate_names: &[String]) -> bool {
        self.client_of(certificate_names)
            .is_some_and(|client| client.service)
    }

    /// Whether tokens of the client that one of the names belongs to must be bound to a key (RFC 9449).
    #[must_use]
    pub fn asks_for_bound_key(&self, certificate_names: &[String]) -> bool {
        self.client_of(certificate_names)
            .is_some_and(|client| client.dpop)
    }

    /// The client that one of the names belongs to: an exact name first, then a `*` for one label. Without any name it is
    /// the one for those who show no certificate.
    pub(crate) fn client_of(&self, names: &[String]) -> Option<&Client> {
        if names.is_empty() {
            return self.clients.iter().find(|one| one.without_certificate);
        }
        let find = |fits: fn(&str, &str) -> bool| {
            self.clients.iter().find(|client| {
                let any = |pattern: &String| names.iter().any(|name| fits(pattern, name));
                client.certificates.iter().any(any)
            })
        };
        // A certificate for a whole domain names no software: its own `*` matches nothing.
        let exact =
            |pattern: &str, name: &str| !name.contains('*') && pattern.eq_ignore_ascii_case(name);
        find(exact).or_else(|| find(wildcard))
    }

    /// The bits of the roles that this policy defines; others grant nothing.
    pub(crate) fn role_set(&self, roles: &[String]) -> RoleSet {
        roles
            .iter()
            .filter_map(|role| self.role_numbers.get(role))
            .fold(0, |set, number| set | (1 << number))
    }

    /// The candidates that hold the purpose, and the purpose.
    pub(crate) fn for_purpose(
        &self,
        candidates: RoleSet,
        asked: Option<&str>,
    ) -> Result<(RoleSet, Option<Arc<str>>), DenialReason> {
        let mut purposes = self.roles_in(candidates).flat_map(|r| &r.purposes);
        let purpose = match asked {
            Some(asked) => purposes
                .find(|p| p.as_ref() == asked)
                .ok_or(DenialReason::PurposeNotAllowed)?,
            None if !self.purpose_from.only => return Err(DenialReason::PurposeMissing),
            None => {
                let only = purposes.next().ok_or(DenialReason::PurposeMissing)?;
                if purposes.any(|other| other != only) {
                    return Err(DenialReason::PurposeMissing);
                }
                only
            }
        };
        let mut holders = 0;
        for (number, role) in self.roles.iter().enumerate() {
            if candidates & (1 << number) != 0 && role.purposes.contains(purpose) {
                holders |= 1 << number;
            }
        }
        Ok((holders, Some(Arc::clone(purpose))))
    }
}

/// Whether `*.example.com` stands for the name: one label, as RFC 9525 §6.3 has it.
pub(crate) fn wildcard(pattern: &str, name: &str) -> bool {
    let Some(suffix) = pattern.strip_prefix("*.") else {
        return false;
    };
    name.split_once('.').is_some_and(|(label, rest)| {
        !label.is_empty() && !label.contains('*') && rest.eq_ignore_ascii_case(suffix)
    })
}
