//! Whose call it is, and under which key that patient's values are.
//!
//! Where the policy gives each patient a key (`phi.patient_keys`), a patient's values are sealed under it alone. What
//! was sealed under the ring before opens on, until it is written again. What is not known of a key is never guessed:
//! a key that could not be looked up seals and opens nothing, nor does anything of a patient whose key was destroyed.

use std::fmt;
use std::sync::Arc;

use safeguard_policy::Policy;
use safeguard_vault::carry::Binding;
use safeguard_vault::patient_keys::PatientKey;
use safeguard_vault::ring::{KeyRing, Kid, RingError};
use safeguard_vault::{OpenRoom, Opener, sealed_with};

use super::rounds::Round;
use super::{RewriteError, Workshop};

/// Why nothing was sealed for a patient who has no key yet: the caller makes one and rewrites again.
pub const PATIENT_KEY_ABSENT: &str = "sealed: the patient has no key yet";
/// Why nothing is sealed or opened for a patient whose key was destroyed.
pub const PATIENT_KEY_DESTROYED: &str = "sealed or opened: the patient's key was destroyed";
/// Why nothing is sealed or opened while the patient's key can't be looked up.
pub const PATIENT_KEY_UNAVAILABLE: &str = "sealed or opened: the patient's key can't be had";

/// Derived keys that are kept for one patient: the bodies of a patient are few.
const DERIVED_KEYS_MAX: usize = 8;

/// One patient's key, ready to seal and open with.
pub struct PatientRing {
    kid: Kid,
    ring: Arc<KeyRing>,
    opener: Opener,
}

impl fmt::Debug for PatientRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PatientRing")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl PatientRing {
    /// Takes a key into use for the values of a domain.
    ///
    /// # Errors
    /// [`RingError`], which does not occur for one key.
    pub fn new(key: PatientKey, domain: &str) -> Result<Self, RingError> {
        let kid = key.kid();
        let ring = Arc::new(key.into_ring()?);
        Ok(Self {
            kid,
            opener: Opener::with_cache(Arc::clone(&ring), domain, DERIVED_KEYS_MAX),
            ring,
        })
    }

    /// How sealed values name the key.
    #[must_use]
    pub fn kid(&self) -> Kid {
        self.kid
    }
}

/// What is known of a patient's key.
#[derive(Debug, Clone, Copy, Default)]
pub enum HeldKey<'a> {
    /// Nothing: it was not looked up, or could not be.
    #[default]
    Unavailable,
    /// The patient has none yet.
    Absent,
    /// This one.
    Held(&'a PatientRing),
    /// It was destroyed, and the patient gets no other.
    Destroyed,
}

/// Whose call it is, for what is bound to a patient or a login session.
#[derive(Clone, Copy, Default)]
pub struct Holder<'a> {
    /// The patient that the arguments or the URI name.
    pub patient: Option<&'a str>,
    /// What names the login session.
    pub session: Option<&'a [u8]>,
    /// What the server's state between two rounds of a request is bound to.
    pub round: Option<Round>,
    /// The patient's key; looked at only where the policy gives each patient one.
    pub key: HeldKey<'a>,
}

impl fmt::Debug for Holder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Holder")
    }
}

impl<'a> Holder<'a> {
    /// What the policy binds this call's tokens to; none where that is not known.
    pub(super) fn binding(self, policy: &Policy) -> Option<Binding<'a>> {
        let tokens = policy.phi().tokens;
        let patient = self.patient.filter(|_| tokens.bind_patient);
        let session = self.session.filter(|_| tokens.bind_session);
        let known =
            patient.is_some() == tokens.bind_patient && session.is_some() == tokens.bind_session;
        known.then_some(Binding { patient, session })
    }

    /// Nothing is done any more with a value of a patient whose key was destroyed, or may have been.
    pub(super) fn alive(self, policy: &Policy) -> Result<(), RewriteError> {
        if policy.phi().patient_keys.is_none() {
            return Ok(());
        }
        match self.key {
            HeldKey::Absent | HeldKey::Held(_) => Ok(()),
            HeldKey::Destroyed => Err(RewriteError::Vault(PATIENT_KEY_DESTROYED)),
            HeldKey::Unavailable => Err(RewriteError::Vault(PATIENT_KEY_UNAVAILABLE)),
        }
    }

    /// The patient that the policy binds sealed values to, if it does.
    pub(super) fn sealed_for(
        self,
        policy: &Policy,
        what: &'static str,
    ) -> Result<Option<&'a str>, RewriteError> {
        if !policy.phi().bind_patient {
            return Ok(None);
        }
        let patient = self.patient.ok_or(RewriteError::Vault(what))?;
        self.alive(policy)?;
        Ok(Some(patient))
    }

    /// The keys that this patient's values are sealed under.
    pub(super) fn sealing_ring(self, workshop: &'a Workshop) -> Result<&'a KeyRing, RewriteError> {
        if workshop.policy.phi().patient_keys.is_none() {
            return Ok(&workshop.ring);
        }
        self.alive(&workshop.policy)?;
        match self.key {
            HeldKey::Held(own) => Ok(&own.ring),
            HeldKey::Absent | HeldKey::Unavailable | HeldKey::Destroyed => {
                Err(RewriteError::Vault(PATIENT_KEY_ABSENT))
            }
        }
    }

    /// Opens a sealed value of a field into `room`: under the patient's key if it names that, else under the ring.
    pub(super) fn open<'r>(
        self,
        workshop: &Workshop,
        token: &str,
        field: &str,
        room: &'r mut OpenRoom,
    ) -> Result<&'r str, RewriteError> {
        let patient = self.sealed_for(&workshop.policy, "opened")?;
        let own = match self.key {
            HeldKey::Held(own) if workshop.policy.phi().patient_keys.is_some() => Some(own),
            _ => None,
        };
        // Without keys of patients nothing is read of the token here.
        let opener = match own.map(|own| (own, sealed_with(token))) {
            Some((own, Some(kid))) if kid == own.kid => &own.opener,
            // Fernet names no key.
            Some((own, None)) if own.opener.open(token, field, patient).is_ok() => &own.opener,
            _ => &workshop.opener,
        };
        let opened = opener.open_in(token, field, patient, room);
        opened.map_err(|_| RewriteError::Vault("opened"))
    }
}
