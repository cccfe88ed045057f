//! How worn the PHI keys are: each key's operations as a metric, and a warning long before NIST's limits.

use std::collections::HashSet;

use safeguard_vault::ring::{Kid, OPERATIONS_ALERT};

use crate::sidecar::Sidecar;

/// What was told already: a warning a key is enough.
#[derive(Debug, Default)]
pub struct Wear {
    told: HashSet<Kid>,
}

impl Wear {
    /// Takes the counts of the ring in force over to the metric, and warns of keys that should be rotated.
    pub fn look(&mut self, sidecar: &Sidecar) {
        let live = sidecar.live.load();
        for key in live.workshop.ring.keys() {
            let kid = key.kid();
            let operations = key.operations();
            let counter = &sidecar.metrics.key_operations_total;
            let counter = counter.with_label_values(&[&kid.to_string()]);
            // The ring counts on over reloads; a ring without an ancestor begins anew, and the metric waits for it.
            counter.inc_by(operations.total().saturating_sub(counter.get()));
            if operations.alert() && self.told.insert(kid) {
                log::warn!(
                    "the PHI key {:?} sealed {OPERATIONS_ALERT} values in this process: rotate it (`safeguard keys rotate`), long before it reaches any limit",
                    key.id()
                );
            }
        }
    }
}
