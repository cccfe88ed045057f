//! Tokens on their way back: what an agent carries is opened in its own field, for its own holder, in its time.

use safeguard_policy::Root;
use safeguard_policy::decide::Permit;
use safeguard_policy::policy::{FieldClass, FieldId, Operation};
use safeguard_vault::Plaintext;
use safeguard_vault::carry::{RedeemError, looks_carried};
use safeguard_wire::json::{Kind, Splice, Tree, Value};

use super::inside::{self, Inside};
use super::marks::Marks;
use super::{Holder, RewriteError, Workshop};

/// Opens what tokens carry, for one call.
#[derive(Clone, Copy)]
pub(super) struct Redeemer<'w> {
    pub workshop: &'w Workshop,
    pub permit: &'w Permit,
    pub holder: Holder<'w>,
    pub now_unix: i64,
}

impl Redeemer<'_> {
    /// The message with what its tokens carry, which is what a hash covers; none where no token stands in it.
    pub(super) fn in_clear(
        &self,
        tree: &Tree<'_>,
        arguments: Option<Value<'_>>,
    ) -> Result<Option<Vec<u8>>, RewriteError> {
        let mut splice = Splice::new(tree);
        if let Some(arguments) = arguments {
            let marks = self.marks(arguments, true);
            self.below(arguments, &marks, &mut splice, 0)?;
        }
        Ok((!splice.is_empty()).then(|| splice.apply()))
    }

    /// What the values below mean; `is_root` says whether these are the arguments.
    pub(super) fn marks(&self, root: Value<'_>, is_root: bool) -> Marks {
        let meant = is_root.then_some((Root::Args, root));
        Marks::of(root, meant, &self.permit.places, &self.workshop.policy)
    }

    /// Puts what every token carries in its place.
    fn below<'t>(
        &self,
        container: Value<'t>,
        marks: &Marks,
        splice: &mut Splice<'t>,
        level: u32,
    ) -> Result<(), RewriteError> {
        for child in container.children() {
            let class = marks.class(child, FieldClass::Unlisted, &self.workshop.policy);
            if let FieldClass::Phi(field) = class {
                if let Some(plain) = self.carried(child, field)? {
                    splice.replace(child, plain.expose().as_bytes());
                }
            } else if child.kind() == Kind::String {
                let inner = inside::enter(child, level, |root, inner| {
                    self.below(root, &self.marks(root, false), inner, level + 1)
                })?;
                if let Inside::Judged(Some(text)) = inner {
                    splice.replace(child, text);
                }
            } else {
                self.below(child, marks, splice, level)?;
            }
        }
        Ok(())
    }

    /// What the token carries that stands in a field; none where no token stands there.
    pub(super) fn carried(
        &self,
        value: Value<'_>,
        field: FieldId,
    ) -> Result<Option<Plaintext>, RewriteError> {
        let Some(token) = value.string().filter(|text| looks_carried(text)) else {
            return Ok(None);
        };
        // What leaves in bulk leaves by who may see it, not by who carries it.
        if self.permit.operation == Operation::Export {
            return Err(RewriteError::Denied("token_in_export"));
        }
        let policy = &self.workshop.policy;
        let binding = self.holder.binding(policy);
        let binding = binding.ok_or(RewriteError::Denied("token_not_valid"))?;
        let lasts = policy.phi().tokens.lasts_seconds;
        let name = policy.field_name(field);
        let redeemed = self
            .workshop
            .carrier
            .redeem(&token, name, binding, self.now_unix, lasts);
        match redeemed {
            Ok(redeemed) => Ok(Some(redeemed.value)),
            Err(RedeemError::Expired) => Err(RewriteError::Denied("token_expired")),
            Err(RedeemError::Forged) => Err(RewriteError::Denied("token_not_valid")),
        }
    }
}
