//! The request's side: arguments on their way to the upstream.
//!
//! A PHI argument that the caller may reveal is sealed (or passes in clear, where the upstream's storage is clear);
//! one that it may not reveal is refused, unless it is a token that was issued for that very field. An envelope from
//! a client is refused. A record gets its hash and metadata before it is sealed.

use std::borrow::Cow;

use safeguard_audit::FieldAction;
use safeguard_policy::Root;
use safeguard_policy::decide::Permit;
use safeguard_policy::field::{Unlisted, View};
use safeguard_policy::policy::{FieldClass, FieldId, Operation, Storage};
use safeguard_vault::{Sealer, Wrap, looks_sealed};
use safeguard_wire::json::{Kind, Splice, Tree, Value};

use super::{LIMITS, RewriteError, Touched, Workshop, record};

/// What every token of the view `token` begins with.
const TOKEN_PREFIX: &str = "sgt1.";

/// A request that may go on.
#[derive(Debug)]
pub struct RewrittenRequest {
    /// The message's bytes; none where not a byte changed.
    pub body: Option<Vec<u8>>,
    /// What became of which fields.
    pub touched: Touched,
}

/// Who stamps a record, and when.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// The subject.
    pub created_by: &'a str,
    /// Microseconds since the Unix epoch.
    pub now_micros: i64,
}

impl Stamp<'_> {
    fn now_unix(&self) -> i64 {
        self.now_micros.div_euclid(1_000_000)
    }
}

/// Rewrites `params` of a permitted call.
///
/// `arguments` names the member of `params` that holds the arguments (none for `resources/read`); prompts take
/// strings only, so their sealed values take the string form.
///
/// # Errors
/// When the caller may not send a value, a record lacks what is hashed, or a value can't be sealed.
pub fn request(
    text: &[u8],
    params: &[&str],
    permit: &Permit,
    workshop: &Workshop,
    patient: Option<&str>,
    stamp: Stamp<'_>,
    strings_only: bool,
) -> Result<RewrittenRequest, RewriteError> {
    let mut touched = Touched::default();
    let mut clear: Cow<'_, [u8]> = Cow::Borrowed(text);
    let redeemed = {
        let tree = parse(text)?;
        let arguments = locate(&tree, params)?;
        match arguments {
            Some(arguments) => redeem(&tree, arguments, workshop, &mut touched)?,
            None => None,
        }
    };
    let from_token = redeemed
        .as_ref()
        .map(|(_, fields)| fields.clone())
        .unwrap_or_default();
    if let Some((body, _)) = redeemed {
        clear = Cow::Owned(body);
    }
    let tree = parse(&clear)?;
    let mut splice = Splice::new(&tree);
    if let Some(arguments) = locate(&tree, params)? {
        if let Some(path) = permit
            .record
            .as_ref()
            .filter(|path| path.root == Root::Args)
        {
            record::stamp(arguments, path, patient, workshop, stamp, &mut splice)?;
        }
        let wrap = if strings_only {
            Wrap::String
        } else {
            workshop.wrap()
        };
        let sealer = match workshop.policy.phi().storage {
            Storage::Encrypted => Some(workshop.sealer(wrap, stamp.now_unix())?),
            Storage::Clear => None,
        };
        let mut walk = Walk {
            permit,
            workshop,
            sealer,
            splice: &mut splice,
            touched: &mut touched,
            from_token,
        };
        walk.members(arguments, Inherited::Unlisted)?;
    }
    let spliced = (!splice.is_empty()).then(|| splice.apply());
    let body = match (spliced, clear) {
        (Some(spliced), _) => Some(spliced),
        (None, Cow::Owned(clear)) => Some(clear),
        (None, Cow::Borrowed(_)) => None,
    };
    Ok(RewrittenRequest { body, touched })
}

fn parse(text: &[u8]) -> Result<Tree<'_>, RewriteError> {
    Tree::parse(text, &LIMITS).map_err(|_| RewriteError::Invalid("not JSON"))
}

/// The value at a path of member names; a duplicate on the way is ambiguous.
pub(crate) fn locate<'t>(
    tree: &'t Tree<'_>,
    path: &[&str],
) -> Result<Option<Value<'t>>, RewriteError> {
    let mut value = tree.root();
    for name in path {
        match value
            .get(name)
            .map_err(|_| RewriteError::Invalid("duplicate member"))?
        {
            Some(next) => value = next,
            None => return Ok(None),
        }
    }
    Ok(Some(value))
}

/// What an array's elements are judged by: the name of the array.
#[derive(Clone, Copy)]
enum Inherited {
    NotPhi,
    Unlisted,
}

fn class_of(child: Value<'_>, inherited: Inherited, workshop: &Workshop) -> FieldClass {
    match child.key() {
        Some(name) => workshop.policy.classify(&name),
        None => match inherited {
            Inherited::NotPhi => FieldClass::NotPhi,
            Inherited::Unlisted => FieldClass::Unlisted,
        },
    }
}

/// Replaces every token that stands under its own field by the value it carries.
///
/// Gives none where there was no token, so that the common request is parsed once.
#[expect(
    clippy::type_complexity,
    reason = "a pair of the new text and the spans' owners, used once"
)]
fn redeem(
    tree: &Tree<'_>,
    arguments: Value<'_>,
    workshop: &Workshop,
    touched: &mut Touched,
) -> Result<Option<(Vec<u8>, Vec<(usize, FieldId)>)>, RewriteError> {
    let mut splice = Splice::new(tree);
    let mut fields = Vec::new();
    let mut ordinal = 0_usize;
    redeem_members(
        arguments,
        workshop,
        touched,
        &mut splice,
        &mut fields,
        &mut ordinal,
    )?;
    if splice.is_empty() {
        return Ok(None);
    }
    Ok(Some((splice.apply(), fields)))
}

fn redeem_members<'t>(
    container: Value<'t>,
    workshop: &Workshop,
    touched: &mut Touched,
    splice: &mut Splice<'t>,
    fields: &mut Vec<(usize, FieldId)>,
    ordinal: &mut usize,
) -> Result<(), RewriteError> {
    for child in container.children() {
        let class = child.key().map(|name| workshop.policy.classify(&name));
        if let Some(FieldClass::Phi(field)) = class {
            // PHI members are numbered in the order of the text, which redeeming does not change.
            let number = *ordinal;
            *ordinal += 1;
            let Some(token) = child.string().filter(|text| text.starts_with(TOKEN_PREFIX)) else {
                continue;
            };
            let name = workshop.policy.field_name(field);
            let plain = workshop
                .carrier
                .redeem(&token, name)
                .map_err(|_| RewriteError::Denied("token_not_valid"))?;
            splice.replace(child, plain.expose().as_bytes().to_vec());
            fields.push((number, field));
            touched.add(field, FieldAction::Redeemed);
        } else {
            redeem_members(child, workshop, touched, splice, fields, ordinal)?;
        }
    }
    Ok(())
}

struct Walk<'w, 's, 't> {
    permit: &'w Permit,
    workshop: &'w Workshop,
    sealer: Option<Sealer<'w>>,
    splice: &'s mut Splice<'t>,
    touched: &'s mut Touched,
    /// The PHI members (by their order in the text) that came as tokens: they need no right to reveal.
    from_token: Vec<(usize, FieldId)>,
}

impl<'t> Walk<'_, '_, 't> {
    fn members(&mut self, arguments: Value<'t>, inherited: Inherited) -> Result<(), RewriteError> {
        let mut ordinal = 0;
        self.container(arguments, inherited, &mut ordinal)
    }

    fn container(
        &mut self,
        container: Value<'t>,
        inherited: Inherited,
        ordinal: &mut usize,
    ) -> Result<(), RewriteError> {
        if is_envelope(container) {
            return Err(RewriteError::Denied("envelope_from_client"));
        }
        for child in container.children() {
            match class_of(child, inherited, self.workshop) {
                FieldClass::Phi(field) => {
                    let number = *ordinal;
                    *ordinal += 1;
                    let redeemed = self.from_token.contains(&(number, field));
                    self.phi(child, field, redeemed)?;
                }
                FieldClass::NotPhi => self.plain(child, Inherited::NotPhi, ordinal)?,
                FieldClass::Unlisted => self.plain(child, Inherited::Unlisted, ordinal)?,
            }
        }
        Ok(())
    }

    fn phi(
        &mut self,
        value: Value<'t>,
        field: FieldId,
        redeemed: bool,
    ) -> Result<(), RewriteError> {
        if is_sealed(value) {
            return Err(RewriteError::Denied("envelope_from_client"));
        }
        if !redeemed && self.permit.views.of(field) != View::Reveal {
            return Err(RewriteError::Denied("field_not_revealed"));
        }
        let Some(sealer) = self.sealer.as_mut() else {
            self.touched.add(field, FieldAction::Revealed);
            return Ok(());
        };
        let mut sealed = Vec::with_capacity(value.raw().len() + 160);
        sealer
            .seal(
                self.workshop.policy.field_name(field),
                None,
                value.raw(),
                &mut sealed,
            )
            .map_err(|_| RewriteError::Vault("sealed"))?;
        self.splice.replace(value, sealed);
        self.touched.add(field, FieldAction::Sealed);
        Ok(())
    }

    fn plain(
        &mut self,
        value: Value<'t>,
        class: Inherited,
        ordinal: &mut usize,
    ) -> Result<(), RewriteError> {
        match value.kind() {
            Kind::Object | Kind::Array => self.container(value, class, ordinal),
            Kind::String if is_sealed(value) => Err(RewriteError::Denied("envelope_from_client")),
            // A reader was shown null for what it may not see; writing that null back would erase the value.
            Kind::Null
                if matches!(class, Inherited::Unlisted)
                    && self.permit.operation == Operation::Update
                    && self.permit.views.unlisted_results() == Unlisted::Withhold =>
            {
                Err(RewriteError::Denied("null_for_withheld"))
            }
            _ if matches!(class, Inherited::Unlisted)
                && self.permit.views.unlisted_arguments() == Unlisted::Withhold =>
            {
                Err(RewriteError::Denied("argument_not_listed"))
            }
            _ => Ok(()),
        }
    }
}

/// An object that claims to be sealed, whatever it claims it with.
fn is_envelope(value: Value<'_>) -> bool {
    value.kind() == Kind::Object
        && value
            .children()
            .any(|member| member.key().is_some_and(|name| name == "_encrypted"))
}

fn is_sealed(value: Value<'_>) -> bool {
    is_envelope(value) || value.string().is_some_and(|text| looks_sealed(&text))
}
