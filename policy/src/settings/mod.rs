//! The configuration as the rest of the program uses it: every value typed, defaulted and checked.
//!
//! Each builder reads one section of the document and reports all that is wrong with it; what it cannot build is
//! `None`, and then there is an error among the findings.

mod audit;
mod authentication;
pub(crate) mod enrolment;
mod issuers;
mod key_sources;
mod keys;
mod transport;
mod types;
mod upstream;

pub use types::*;

pub(crate) use audit::audit_logging;
pub use audit::{ALWAYS_DELIVERED, SELECTABLE_EVENTS};
pub(crate) use authentication::{authentication, identity, keycloak, session_store, sessions};
pub use key_sources::{
    AwsCredentials, AwsKms, Infisical, InfisicalLogin, KeySources, Pkcs11, SourceKind, SourceText,
    Transit, TransitLogin,
};
pub(crate) use key_sources::{is_reference, key_sources};
pub(crate) use keys::keys;
pub(crate) use transport::{admin, listen, state, tls};
pub(crate) use upstream::upstream;

use crate::document::report::Report;
use crate::document::tree::Place;
use crate::finding::codes;
pub use crate::secret::KeyBytes;

/// Where protections are switched off; judged once profile and listener are known.
#[derive(Default)]
pub(crate) struct SwitchedOff(Vec<(Place, &'static str)>);

impl SwitchedOff {
    pub(crate) fn note(&mut self, place: Place, what: &'static str) {
        self.0.push((place, what));
    }

    /// Only a development profile on a loopback listener may go without.
    pub(crate) fn judge(self, profile: Profile, listen: Option<&Listen>, report: &mut Report<'_>) {
        let loopback = listen.is_some_and(|l| l.address.ip().is_loopback());
        if profile == Profile::Development && loopback {
            return;
        }
        for (place, what) in self.0 {
            report
                .error(
                    codes::UNSAFE_PROFILE,
                    place,
                    format!("{what}: only for development on a loopback listener"),
                )
                .fix("switch it on, or set profile: development and a listen.address of 127.0.0.1");
        }
    }
}

/// Whether a pattern is a DNS name, perhaps with `*` for its first label.
pub(crate) fn is_dns_pattern(pattern: &str) -> bool {
    let name = pattern.strip_prefix("*.").unwrap_or(pattern);
    let label = |l: &str| {
        let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        !l.is_empty() && l.len() <= 63 && l.chars().all(letters)
    };
    name.len() <= 253 && name.split('.').all(label)
}
