//! Stored records sealed anew: every sealed value of a document opened and sealed as it would be today, by key, format
//! and binding. What is sealed so already stays byte for byte, so a pass over records can be run again.

use safeguard_policy::Root;
use safeguard_policy::policy::{FieldClass, FieldId, Format};
use safeguard_vault::ring::Kid;
use safeguard_vault::search::SearchError;
use safeguard_vault::{OpenRoom, Sealer, Wrap, sealed_with};
use safeguard_wire::json::{Kind, Splice, Tree, Value};
use zeroize::Zeroizing;

use super::inside::{self, Inside};
use super::marks::Marks;
use super::redeem::normalize;
use super::view::sealed_token;
use super::{Holder, RewriteError, Workshop};

/// What a searchable value's text begins with.
const SEARCHABLE: &str = "hsx1.";
/// What an `hs1` value's text begins with.
const NATIVE: &str = "hs1.";

/// A value's JSON text, opened.
type Clear = Zeroizing<String>;

/// A document that was gone through.
#[derive(Debug)]
pub struct Resealed {
    /// Its bytes; none where not a byte changed.
    pub body: Option<Vec<u8>>,
    /// Values sealed anew.
    pub anew: u64,
    /// Values that were as they would be sealed today.
    pub already: u64,
}

/// Whose document it is, and how it is gone through.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The patient and the patient's key.
    pub holder: Holder<'a>,
    /// Whether values that are bound to no patient are taken, to be bound from now on.
    pub unbound: bool,
    /// Unix time in seconds.
    pub now_unix: i64,
}

/// Seals the values of a stored document anew. Each is opened again before it takes its place.
///
/// # Errors
/// A value does not open or can't be sealed; then nothing of the document is to be written.
pub fn reseal(
    tree: &Tree<'_>,
    workshop: &Workshop,
    about: About<'_>,
) -> Result<Resealed, RewriteError> {
    let mut pass = Pass {
        workshop,
        about,
        sealers: [None, None],
        anew: 0,
        already: 0,
    };
    let mut splice = Splice::new(tree);
    let marks = pass.marks(tree.root(), true);
    pass.value(tree.root(), FieldClass::Unlisted, &mut splice, (0, &marks))?;
    let body = (!splice.is_empty()).then(|| splice.apply());
    Ok(Resealed {
        body,
        anew: pass.anew,
        already: pass.already,
    })
}

struct Pass<'w> {
    workshop: &'w Workshop,
    about: About<'w>,
    /// One a shape, made for the first value: objects and strings.
    sealers: [Option<Sealer<'w>>; 2],
    anew: u64,
    already: u64,
}

impl<'w> Pass<'w> {
    fn marks(&self, root: Value<'_>, is_root: bool) -> Marks {
        let meant = is_root.then_some((Root::Result, root));
        Marks::of(root, meant, &[], &self.workshop.policy)
    }

    fn value<'t>(
        &mut self,
        value: Value<'t>,
        class: FieldClass,
        splice: &mut Splice<'t>,
        (level, marks): (u32, &Marks),
    ) -> Result<(), RewriteError> {
        if let FieldClass::Phi(field) = class {
            return self.phi(value, field, splice, marks);
        }
        match value.kind() {
            Kind::Object | Kind::Array => {
                for child in value.children() {
                    let class = marks.class(child, class, &self.workshop.policy);
                    self.value(child, class, splice, (level, marks))?;
                }
            }
            Kind::String => {
                let inner = inside::enter(value, level, |root, inner| {
                    let marks = self.marks(root, false);
                    self.value(root, class, inner, (level + 1, &marks))
                })?;
                if let Inside::Judged(Some(text)) = inner {
                    splice.replace(value, text);
                }
            }
            Kind::Null | Kind::Bool | Kind::Number => {}
        }
        Ok(())
    }

    fn phi<'t>(
        &mut self,
        value: Value<'t>,
        field: FieldId,
        splice: &mut Splice<'t>,
        marks: &Marks,
    ) -> Result<(), RewriteError> {
        let Some(token) = sealed_token(value)? else {
            for child in value.children() {
                let own = match marks.class(child, FieldClass::Unlisted, &self.workshop.policy) {
                    FieldClass::Phi(own) => own,
                    FieldClass::NotPhi | FieldClass::Unlisted => field,
                };
                self.phi(child, own, splice, marks)?;
            }
            return Ok(());
        };
        let name = self.workshop.policy.field_name(field);
        let plain = self.open(&token, name)?;
        let wrap = match value.kind() {
            Kind::String => Wrap::String,
            _ => Wrap::Object,
        };
        match self.sealed(&token, field, &plain, wrap)? {
            Some(sealed) => {
                splice.replace(value, sealed);
                self.anew += 1;
            }
            None => self.already += 1,
        }
        Ok(())
    }

    fn open(&self, token: &str, name: &str) -> Result<Clear, RewriteError> {
        match self.bound(token, name) {
            Err(RewriteError::Vault("opened")) if self.about.unbound => {
                let unbound = self.workshop.opener.open(token, name, None);
                let unbound = unbound.map_err(|_| RewriteError::Vault("opened"))?;
                Ok(Zeroizing::new(unbound.expose().to_owned()))
            }
            opened => opened,
        }
    }

    /// A value as it is bound.
    fn bound(&self, token: &str, name: &str) -> Result<Clear, RewriteError> {
        let mut room = OpenRoom::default();
        let holder = self.about.holder;
        let text = holder.open(self.workshop, token, name, &mut room)?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// The value as it would be sealed today; none where it is so already.
    fn sealed(
        &mut self,
        token: &str,
        field: FieldId,
        plain: &str,
        wrap: Wrap,
    ) -> Result<Option<Vec<u8>>, RewriteError> {
        let workshop = self.workshop;
        let (policy, name) = (&workshop.policy, workshop.policy.field_name(field));
        let text = plain.as_bytes();
        let mut out = Vec::new();
        if let Some(how) = policy.searchable(field) {
            let first = workshop.ring.first().map(|held| held.kid());
            if token.starts_with(SEARCHABLE) && sealed_with(token) == first {
                return Ok(None);
            }
            let searcher = &workshop.searcher;
            match searcher.seal_into(name, text, normalize(how), Wrap::String, &mut out) {
                Ok(()) => {
                    self.reopened(&out, name)?;
                    return Ok(Some(out));
                }
                Err(SearchError::NotSearchable | SearchError::TooLong) => {}
                Err(_) => return Err(RewriteError::Vault("sealed")),
            }
        }
        let holder = self.about.holder;
        // Before anything is left as it is: a patient without a key gets one.
        let under = holder.sealing_ring(workshop)?.sealing(self.about.now_unix);
        let under = under.map(|held| held.kid());
        if self.is_current(token, under) && self.is_bound(token, name) {
            return Ok(None);
        }
        let patient = holder.sealed_for(policy, "sealed")?;
        let now_unix = self.about.now_unix;
        let [objects, strings] = &mut self.sealers;
        let sealer = match wrap {
            Wrap::Object => objects,
            Wrap::String => strings,
        };
        let sealer = match sealer {
            Some(sealer) => sealer,
            none => none.insert(workshop.sealer(holder, wrap, now_unix)?),
        };
        sealer
            .seal(name, patient, text, &mut out)
            .map_err(|_| RewriteError::Vault("sealed"))?;
        self.opens_to(&out, name, plain)?;
        Ok(Some(out))
    }

    /// Whether a value has today's key and form. A Fernet token names no key, so it is never known to be.
    fn is_current(&self, token: &str, under: Option<Kid>) -> bool {
        let form = match self.workshop.policy.phi().format {
            Format::Native => token.starts_with(NATIVE),
            Format::Jwe => !token.starts_with(NATIVE) && !token.starts_with(SEARCHABLE),
            Format::Fernet => false,
        };
        form && under.is_some() && sealed_with(token) == under
    }

    /// Whether it opened as it is bound, and not only unbound.
    fn is_bound(&self, token: &str, name: &str) -> bool {
        !self.about.unbound || self.bound(token, name).is_ok()
    }

    /// Nothing takes a value's place that does not open to it.
    fn opens_to(&self, sealed: &[u8], name: &str, plain: &str) -> Result<(), RewriteError> {
        let again = self.reopened(sealed, name)?;
        match *again == plain {
            true => Ok(()),
            // Fernet writes a value as Python does: the same value, perhaps spelt otherwise.
            false if self.workshop.policy.phi().format == Format::Fernet => Ok(()),
            false => Err(RewriteError::Vault("sealed")),
        }
    }

    fn reopened(&self, sealed: &[u8], name: &str) -> Result<Clear, RewriteError> {
        let broken = || RewriteError::Vault("sealed");
        let tree = Tree::parse(sealed, &super::LIMITS).map_err(|_| broken())?;
        let token = sealed_token(tree.root())?.ok_or_else(broken)?;
        self.bound(&token, name)
    }
}
