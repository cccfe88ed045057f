//! Every patient's key wrapped anew under the key of `keys.phi` that seals now: what a rotation needs before the old
//! key may be destroyed. What is done already is left, so a pass that was stopped is taken up by the next.

use std::fs;

use safeguard_audit::Pseudonym;
use safeguard_vault::patient_keys::wrapped_with;

use super::store::{KEY, Store, StoreError, at, read, unframed};

/// Refused files that are named one by one; more are counted.
const REFUSED_MAX: usize = 100;

/// A file that stayed as it was.
#[derive(Debug)]
pub struct Refused {
    /// Whose it is.
    pub pseudonym: Pseudonym,
    /// Why.
    pub error: StoreError,
}

/// What a pass did.
#[derive(Debug, Default)]
pub struct Rewrapped {
    /// Keys wrapped anew, each opened again before it replaced the old form.
    pub anew: u64,
    /// Keys that were under the newest key already.
    pub already: u64,
    /// Keys that stayed under an old one.
    pub refused: u64,
    /// The first of them.
    pub first_refused: Vec<Refused>,
}

impl Store {
    /// Wraps every key anew that is not under the key that seals at `now_unix` (Unix time in seconds).
    ///
    /// # Errors
    /// The directory can't be read, or no key seals. A single key that can't be had is counted, and the pass goes on.
    pub fn rewrap(&self, now_unix: i64) -> Result<Rewrapped, StoreError> {
        let mut done = Rewrapped::default();
        let directory = self.directory();
        for entry in fs::read_dir(directory).map_err(|error| at(directory, error))? {
            let entry = entry.map_err(|error| at(directory, error))?;
            let name = entry.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(KEY));
            let name = name.and_then(|name| name.strip_suffix('.'));
            let Some(pseudonym) = name.and_then(Pseudonym::parse) else {
                continue;
            };
            match self.rewrap_one(pseudonym, now_unix) {
                Ok(true) => done.anew += 1,
                Ok(false) => done.already += 1,
                Err(error) => {
                    done.refused += 1;
                    if done.first_refused.len() < REFUSED_MAX {
                        done.first_refused.push(Refused { pseudonym, error });
                    }
                }
            }
        }
        self.sync()?;
        Ok(done)
    }

    /// Whether a key had to be wrapped anew, and was.
    fn rewrap_one(&self, who: Pseudonym, now_unix: i64) -> Result<bool, StoreError> {
        if self.is_destroyed(who)? {
            self.erase(who)?;
            return Ok(false);
        }
        let path = self.path(who, KEY);
        let Some(text) = read(&path, false)? else {
            return Ok(false);
        };
        let under = unframed(&text).and_then(wrapped_with);
        let sealing = self.ring.sealing(now_unix).map(|held| held.kid());
        if under.is_some() && under == sealing {
            return Ok(false);
        }
        let damaged = || StoreError::Damaged(path.clone());
        let key = self.key(who, &text).ok_or_else(damaged)?;
        let text = self.text(&who.to_string(), &key, now_unix)?;
        // Before the old form goes: the new one holds the same key.
        let again = self.key(who, text.as_bytes()).ok_or_else(damaged)?;
        if again.id() != key.id() {
            return Err(damaged());
        }
        let new = self.write(who, text.as_bytes())?;
        fs::rename(&new, &path).map_err(|error| at(&path, error))?;
        // A key that was destroyed meanwhile does not come back by this.
        if self.is_destroyed(who)? {
            self.erase(who)?;
        }
        Ok(true)
    }
}
