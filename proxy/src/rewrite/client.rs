//! The client's side beside calls: the arguments of other methods, and its answers to the server's questions. Every
//! place of the protocol is judged as a call's arguments are: by the name that it has or is about, else as text of the
//! client's own.

use safeguard_policy::decide::Permit;
use safeguard_policy::field::BinaryView;
use safeguard_policy::policy::FieldClass;
use safeguard_wire::json::{Kind, Splice, Tree, Value};
use safeguard_wire::mcp::{self, Place, Places, Shape};

use super::inside::{self, Inside};
use super::marks::Marks;
use super::request::{RewrittenRequest, Stamp, Standing, Walk, holds_opaque, locate};
use super::{Holder, RewriteError, Touched, Workshop, rounds};

/// Rewrites a client's request or notification that is no call: a completion, a log level, what concerns a task.
///
/// # Errors
/// When the caller may not send a value, the message is ambiguous, or a value can't be sealed.
pub fn request(
    tree: &Tree<'_>,
    method: &str,
    permit: &Permit,
    workshop: &Workshop,
    holder: Holder<'_>,
    stamp: Stamp<'_>,
) -> Result<RewrittenRequest, RewriteError> {
    let is_notification = locate(tree, &["id"])?.is_none();
    rewrite(
        tree,
        permit,
        workshop,
        (holder, stamp),
        |name, value| match name {
            "params" if is_notification => Some(mcp::notification(method, value)),
            "params" => Some(mcp::request(method, value)),
            _ => None,
        },
    )
}

/// Rewrites a client's answer to a question of the server's; `method` is that of the question.
///
/// # Errors
/// See [`request`].
pub fn answer(
    tree: &Tree<'_>,
    method: &str,
    permit: &Permit,
    workshop: &Workshop,
    holder: Holder<'_>,
    stamp: Stamp<'_>,
) -> Result<RewrittenRequest, RewriteError> {
    rewrite(
        tree,
        permit,
        workshop,
        (holder, stamp),
        |name, value| match name {
            "result" => Some(mcp::client_result(method, value)),
            "error" => Some(mcp::error(value)),
            _ => None,
        },
    )
}

fn rewrite<'t>(
    tree: &'t Tree<'_>,
    permit: &Permit,
    workshop: &Workshop,
    by: (Holder<'_>, Stamp<'_>),
    places_of: impl Fn(&str, Value<'t>) -> Option<Places<'t>>,
) -> Result<RewrittenRequest, RewriteError> {
    let ambiguous = |_| RewriteError::Invalid("duplicate member");
    let mut touched = Touched::default();
    let mut splice = Splice::new(tree);
    // The values are typed by a form or by hand: text stays text.
    let mut walk = Walk::new(permit, workshop, by, true, &mut touched);
    let mut all = mcp::envelope(tree.root()).map_err(ambiguous)?;
    for member in tree.root().children() {
        let name = member.key().unwrap_or_default();
        if let Some(places) = places_of(&name, member) {
            all.extend(places.map_err(ambiguous)?);
        }
    }
    walk.places(&all, &mut splice)?;
    rounds::open(tree, by.0.round, workshop, by.1.now_unix(), &mut splice)?;
    let body = (!splice.is_empty()).then(|| splice.apply());
    Ok(RewrittenRequest { body, touched })
}

impl Walk<'_, '_> {
    /// Judges what a client put into places of the protocol.
    pub(super) fn places<'t>(
        &mut self,
        places: &[Place<'t>],
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        for place in places {
            let value = place.value;
            match place.shape {
                Shape::Opaque => {}
                Shape::Uri => self.address(value)?,
                Shape::Blob => self.blob(value, splice)?,
                Shape::Json | Shape::Text => {
                    let marks = self.redeemer.marks(value, false);
                    let standing = Standing::arguments(&marks);
                    if let Some(field) = self.about(place) {
                        self.phi(value, field, splice)?;
                    } else if place.named {
                        // What no revision of the protocol knows stands beside what was typed.
                        self.child(value, Standing::beside(&marks), splice)?;
                    } else {
                        self.plain(value, standing, splice)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The field that a place is about by a name that stands elsewhere: the argument that is completed.
    fn about(&self, place: &Place<'_>) -> Option<safeguard_policy::FieldId> {
        let name = place.subject.as_deref().filter(|_| !place.named)?;
        match self.redeemer.workshop.policy.classify(name) {
            FieldClass::Phi(field) => Some(field),
            FieldClass::NotPhi | FieldClass::Unlisted => None,
        }
    }

    /// A URI is written to logs by every server: nothing that a token or an envelope carries stands in one.
    fn address(&self, value: Value<'_>) -> Result<(), RewriteError> {
        if value.string().is_none_or(|uri| holds_opaque(&uri)) {
            return Err(RewriteError::Denied("token_in_uri"));
        }
        self.scalar(value, Standing::arguments(&Marks::default()))
    }

    /// Content in base64: JSON in it is judged by its members; what can't be read passes where the rule reveals it.
    fn blob<'t>(&mut self, value: Value<'t>, splice: &mut Splice<'t>) -> Result<(), RewriteError> {
        let redeemer = self.redeemer;
        let inner = inside::enter_blob(value, 0, |root, inner| {
            let marks = redeemer.marks(root, false);
            match root.kind() {
                Kind::Object | Kind::Array => {
                    self.container(root, Standing::arguments(&marks), inner)
                }
                _ => Ok(()),
            }
        })?;
        match inner {
            Inside::Judged(Some(text)) => splice.replace(value, text),
            Inside::Judged(None) => {}
            Inside::Unreadable => return Err(RewriteError::Denied("unreadable_json_in_text")),
            Inside::Prose if self.redeemer.permit.binary == BinaryView::Withhold => {
                return Err(RewriteError::Denied("binary_not_readable"));
            }
            Inside::Prose => {
                return self.scalar(value, Standing::arguments(&Marks::default()));
            }
        }
        Ok(())
    }
}
