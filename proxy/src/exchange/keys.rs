//! The key of a call's patient, where the policy gives each patient one: known before anything is rewritten.

use super::Exchange;
use crate::patients::Found;
use crate::rewrite::{HeldKey, PATIENT_KEY_ABSENT, RewriteError};

impl Exchange<'_> {
    /// What is known of a patient's key. Nothing is looked up where no patient has one, or none is named.
    pub(super) async fn patient_key(&self, patient: Option<&str>) -> Found {
        let (Some(patients), Some(patient)) = (&self.live.patients, patient) else {
            return Found::Unavailable;
        };
        // The ring that wraps them is awaited as well.
        if self.live.awaited.is_some() {
            return Found::Unavailable;
        }
        let found = patients.find(self.sidecar.trail.pseudonym(patient)).await;
        self.looked_up(&found, found.word());
        found
    }

    /// Rewrites what goes up with what is known of the patient's key. Only what has a value to seal makes one: asking
    /// for a patient makes none.
    pub(super) async fn with_key<T>(
        &self,
        patient: Option<&str>,
        rewrite: impl Fn(HeldKey<'_>) -> Result<T, RewriteError>,
    ) -> Result<T, RewriteError> {
        let found = self.patient_key(patient).await;
        match rewrite(found.key()) {
            Err(RewriteError::Vault(PATIENT_KEY_ABSENT)) => {
                rewrite(self.new_patient_key(patient).await.key())
            }
            rewritten => rewritten,
        }
    }

    /// The key of a patient who had none a moment ago: this call's, or another replica's that was faster.
    async fn new_patient_key(&self, patient: Option<&str>) -> Found {
        let (Some(patients), Some(patient)) = (&self.live.patients, patient) else {
            return Found::Unavailable;
        };
        let who = self.sidecar.trail.pseudonym(patient);
        let found = patients.find_or_create(who).await;
        let word = match &found {
            Found::Held(_) => "created",
            other => other.word(),
        };
        self.looked_up(&found, word);
        found
    }

    fn looked_up(&self, found: &Found, result: &str) {
        if matches!(found, Found::Late) {
            self.sidecar.limit_reached("patient_keys_wait");
        }
        let counter = &self.sidecar.metrics.patient_key_lookups_total;
        counter.with_label_values(&[result]).inc();
    }
}
