//! The table of views for a set of roles under a client's cap, kept once computed.

use std::sync::{Arc, PoisonError};

use crate::field::{Unlisted, View, Views};
use crate::policy::{Policy, Role, RoleSet, ViewsKey};

impl Policy {
    /// The views that these roles have together under the cap. With `phi` false (`operation: none`) nothing that is
    /// unlisted is withheld, while PHI names are still judged.
    pub(crate) fn views_of(&self, roles: RoleSet, at_most: Option<usize>, phi: bool) -> Arc<Views> {
        let key: ViewsKey = (roles, at_most, phi);
        let known = self.views.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(views) = known.get(&key) {
            return Arc::clone(views);
        }
        drop(known);
        let views = Arc::new(self.compute(roles, at_most, phi));
        let mut known = self.views.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < Self::VIEWS_KEPT_MAX {
            known.insert(key, Arc::clone(&views));
        }
        views
    }

    fn compute(&self, roles: RoleSet, at_most: Option<usize>, phi: bool) -> Views {
        let mut fields = vec![View::Withhold; self.field_names.len()].into_boxed_slice();
        for role in self.roles_in(roles) {
            for (view, of_role) in fields.iter_mut().zip(&role.views) {
                *view = view.widest(*of_role);
            }
        }
        if let Some(cap) = at_most.and_then(|number| self.roles.get(number)) {
            for (view, of_cap) in fields.iter_mut().zip(&cap.views) {
                *view = view.at_most(*of_cap);
            }
        }
        let open = |unlisted| if phi { unlisted } else { Unlisted::Reveal };
        Views {
            fields,
            results: open(self.phi.unlisted_results),
            arguments: open(self.phi.unlisted_arguments),
        }
    }

    /// Every role and what it alone sees of an answer that concerns PHI, under no client's cap.
    pub fn role_views(&self) -> impl Iterator<Item = (&str, Arc<Views>)> {
        let numbered = self.roles.iter().enumerate();
        numbered.map(|(number, role)| (role.name.as_ref(), self.views_of(1 << number, None, true)))
    }

    /// The roles whose bits are set.
    pub(crate) fn roles_in(&self, set: RoleSet) -> impl Iterator<Item = &Role> {
        self.roles
            .iter()
            .enumerate()
            .filter(move |(number, _)| set & (1 << number) != 0)
            .map(|(_, role)| role)
    }
}
