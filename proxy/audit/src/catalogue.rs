//! The closed list of events: one table, held by tests over the whole table.
//!
//! The first 17 rows are the seed document's; operators choose which of those go to the outputs. The rest is always delivered.

/// How grave an event is, in steps that every SIEM knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The ordinary course of things.
    Informational,
    /// Worth a look in the weekly review: a denial, a change.
    Notice,
    /// Somebody should look today.
    Warning,
    /// Somebody should look now.
    Critical,
}

impl Severity {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

macro_rules! catalogue {
    ($($variant:ident, $name:literal, $seed:literal, $severity:ident, $doc:literal;)+) => {
        /// What an event is called.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventName { $(#[doc = $doc] $variant,)+ }

        impl EventName {
            /// Every event, in the table's order; [`EventName::index`] is the place in it.
            pub const ALL: &'static [EventName] = &[$(EventName::$variant,)+];

            /// The name on the wire, in metrics and in the configuration.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Whether the seed document lists it, so that `audit_logging.events` may leave it out of the outputs.
            #[must_use]
            pub fn seed(self) -> bool {
                match self { $(Self::$variant => $seed,)+ }
            }

            /// How grave it is unless the event says otherwise.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)+ }
            }

            /// When it is recorded, in a sentence.
            #[must_use]
            pub fn when(self) -> &'static str {
                match self { $(Self::$variant => $doc,)+ }
            }
        }
    };
}

catalogue! {
    UserLogin, "user_login", true, Informational, "First accepted request of an issuer, subject and session.";
    UserLogout, "user_logout", true, Informational, "Logout, idle or absolute limit, displacement, with the reason.";
    FailedLoginAttempt, "failed_login_attempt", true, Warning, "A token was presented and refused.";
    MfaChallenge, "mfa_challenge", true, Notice, "A step-up challenge was sent.";
    PasswordReset, "password_reset", true, Notice, "A password was reset.";
    PhiAccessGranted, "phi_access_granted", true, Informational, "The intent of a permitted PHI call, durable before the call.";
    PhiAccessDenied, "phi_access_denied", true, Warning, "The policy denied.";
    PermissionChange, "permission_change", true, Notice, "Roles or tools of the policy, or a person's permissions, changed.";
    PhiRead, "phi_read", true, Informational, "PHI was read or searched.";
    PhiCreate, "phi_create", true, Informational, "A record with PHI was created.";
    PhiUpdate, "phi_update", true, Informational, "A record with PHI was updated.";
    PhiDelete, "phi_delete", true, Warning, "A record with PHI was deleted.";
    PhiExport, "phi_export", true, Notice, "PHI left for another place.";
    ConfigurationChange, "configuration_change", true, Notice, "Configuration, certificates or keys changed.";
    UserCreated, "user_created", true, Notice, "A user was created.";
    UserDeleted, "user_deleted", true, Notice, "A user was deleted.";
    RoleAssigned, "role_assigned", true, Notice, "A role was assigned.";
    IntegrityViolation, "integrity_violation", false, Critical, "A record failed its hash.";
    DecryptFailure, "decrypt_failure", false, Warning, "A sealed value could not be opened, or one could not be sealed.";
    SessionTerminated, "session_terminated", false, Notice, "A session was ended from outside.";
    TokenRevoked, "token_revoked", false, Notice, "A token was revoked.";
    NodeAuthenticationFailed, "node_authentication_failed", false, Warning, "No, bad or revoked client certificate, an older TLS, a failed handshake.";
    EmergencyAccessStart, "emergency_access_start", false, Critical, "Break-glass access began.";
    EmergencyAccessStop, "emergency_access_stop", false, Warning, "Break-glass access ended.";
    EmergencyReviewed, "emergency_reviewed", false, Notice, "Somebody reviewed a use of break-glass access.";
    EmergencyReviewOverdue, "emergency_review_overdue", false, Critical, "Nobody reviewed a use of break-glass access in time.";
    AuditStarted, "audit_started", false, Notice, "A run of the trail began: the genesis of its chain.";
    AuditStopped, "audit_stopped", false, Notice, "A run of the trail ended cleanly: the end marker of its chain.";
    AuditCheckpoint, "audit_checkpoint", false, Informational, "A signed head of the tree over the run's records so far: every second or 1,024 records, and when nothing happens.";
    AuditLogAccessed, "audit_log_accessed", false, Notice, "Somebody read the trail.";
    KeyRotated, "key_rotated", false, Notice, "A key ring seals with another key now.";
    PolicyReloadRejected, "policy_reload_rejected", false, Warning, "A new configuration was refused; the old one stays.";
    SinkFailed, "sink_failed", false, Warning, "A sink took no events, or refused one.";
    SinkRecovered, "sink_recovered", false, Notice, "A sink takes events again.";
    BulkAccessAlert, "bulk_access_alert", false, Critical, "One principal touched unusually many patients.";
}

impl EventName {
    /// The event of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|event| event.as_str() == name)
    }

    /// Its place in [`EventName::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_seed_lists_seventeen_and_eighteen_are_added() {
        assert_eq!(EventName::ALL.iter().filter(|e| e.seed()).count(), 17);
        assert_eq!(EventName::ALL.len(), 35);
    }

    #[test]
    fn every_name_is_unique_snake_case_and_parses_back() {
        let names: BTreeSet<_> = EventName::ALL.iter().map(|e| e.as_str()).collect();
        assert_eq!(names.len(), EventName::ALL.len());
        for event in EventName::ALL {
            assert!(
                event
                    .as_str()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_')
            );
            assert_eq!(EventName::parse(event.as_str()), Some(*event));
            assert!(event.when().ends_with('.'));
        }
        assert_eq!(EventName::parse("phi_peek"), None);
    }

    #[test]
    fn index_is_the_place_in_the_table() {
        for (place, event) in EventName::ALL.iter().enumerate() {
            assert_eq!(event.index(), place);
        }
    }

    #[test]
    fn every_seed_event_comes_before_every_added_one() {
        assert!(EventName::ALL.is_sorted_by_key(|e| !e.seed()));
    }

    #[test]
    fn a_failed_record_hash_is_critical() {
        assert_eq!(EventName::IntegrityViolation.severity(), Severity::Critical);
    }
}
