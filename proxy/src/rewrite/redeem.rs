//! Tokens on their way back: what an agent carries is opened in its own field, for its own holder, in its time.

use safeguard_policy::Root;
use safeguard_policy::decide::Permit;
use safeguard_policy::policy::{self, FieldClass, FieldId, Operation, Storage};
use safeguard_vault::Plaintext;
use safeguard_vault::carry::{RedeemError, looks_carried};
use safeguard_vault::search::Normalize;
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
    /// The message as it will open again, with what its tokens carry and its searched values as they are spelt, which
    /// is what a hash covers; none where that is the message itself.
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

    /// Puts in every field's place what it will open to.
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
                self.as_it_will_open(child, field, splice)?;
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

    /// What a field's value will be when it comes back: what a token carries, spelt as it is searched for.
    fn as_it_will_open<'t>(
        &self,
        value: Value<'t>,
        field: FieldId,
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        let carried = self.carried(value, field)?;
        let plain = carried
            .as_ref()
            .map_or(value.raw(), |plain| plain.expose().as_bytes());
        let policy = &self.workshop.policy;
        let spelt = policy
            .searchable(field)
            .filter(|_| policy.phi().storage == Storage::Encrypted)
            .and_then(|how| normalize(how).normalized(plain).ok());
        match (&spelt, &carried) {
            (Some(spelt), _) => splice.replace(value, spelt.expose().as_bytes()),
            (None, Some(_)) => splice.replace(value, plain),
            (None, None) => {}
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
        self.holder.alive(policy)?;
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

/// The vault's word for how a searched value is spelt.
pub(super) fn normalize(how: policy::Normalize) -> Normalize {
    match how {
        policy::Normalize::Exact => Normalize::Exact,
        policy::Normalize::Digits => Normalize::Digits,
        policy::Normalize::Upper => Normalize::Upper,
        policy::Normalize::Date => Normalize::Date,
    }
}
