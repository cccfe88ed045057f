//! How many patients an answer may hold, and whose (`max_patients`, `only_patients`).
//!
//! The rule's `patient` path says where patients are named, as in `result.patients[*].patient_id`: then each element of the
//! path's last array is somebody's. With `only_patients` what is another's, or nobody's, is taken out of the answer; with
//! `max_patients` alone it is refused. What stands beside those elements is nobody's, so no PHI may: neither by name
//! there, nor in JSON that stands in a text, nor in content that is neither text nor picture.

use std::collections::BTreeSet;

use safeguard_policy::{FieldClass, Path, Root, Step};
use safeguard_wire::json::{Kind, Splice, Tree, Value};

use super::answer::{Call, marks, member, outcome};
use super::inside::{self, Inside, Reading};
use super::marks::Marks;
use super::{RewriteError, Workshop};
use crate::paths;

/// More patients than the rule allows.
const TOO_MANY: RewriteError = RewriteError::Denied("too_many_patients");
/// The answer as a whole is about another patient.
const OTHER: RewriteError = RewriteError::Denied("other_patient");
/// Something that may be a patient's and does not say whose.
const NOBODYS: RewriteError = RewriteError::Denied("patient_not_told");

/// An answer within its limits.
#[derive(Debug, Default)]
pub(super) struct Limited {
    /// The message without what was taken out; none where nothing was.
    pub body: Option<Vec<u8>>,
    /// How many elements were taken out, of the copy that had the most.
    pub dropped: u32,
}

/// Holds an answer, everything in clear, to its rule's limits.
///
/// # Errors
/// `Denied` for what goes beyond them.
pub(super) fn limit(
    tree: &Tree<'_>,
    call: &Call<'_>,
    workshop: &Workshop,
) -> Result<Limited, RewriteError> {
    let permit = call.permit;
    let path = permit
        .patient
        .as_deref()
        .filter(|path| path.root == Root::Result);
    let (Some(path), Some(result)) = (path, member(tree.root(), "result")?) else {
        return Ok(Limited::default());
    };
    if permit.max_patients.is_none() && permit.only_patients.is_none() {
        return Ok(Limited::default());
    }
    let Some(outcome) = outcome(call.method, result)? else {
        return Ok(Limited::default());
    };
    let mut limiter = Limiter {
        call,
        workshop,
        path,
        patients: BTreeSet::new(),
        dropped: 0,
    };
    let mut splice = Splice::new(tree);
    limiter.outcome(outcome, &mut splice)?;
    let most = permit.max_patients.unwrap_or(u32::MAX);
    if limiter.patients.len() as u64 > u64::from(most) {
        return Err(TOO_MANY);
    }
    Ok(Limited {
        body: (!splice.is_empty()).then(|| splice.apply()),
        dropped: limiter.dropped,
    })
}

struct Limiter<'l> {
    call: &'l Call<'l>,
    workshop: &'l Workshop,
    path: &'l Path,
    patients: BTreeSet<String>,
    dropped: u32,
}

impl Limiter<'_> {
    /// Every copy of the result: the structured one, and each text that is one.
    fn outcome<'t>(
        &mut self,
        outcome: Value<'t>,
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        if let Some(root) = member(outcome, "structuredContent")? {
            self.document(root, splice)?;
        }
        let Some(content) = member(outcome, "content")? else {
            return Ok(());
        };
        let alone = (content.kind() == Kind::Object).then_some(content);
        for block in alone.into_iter().chain(content.children()) {
            // One block that stands without its array has members, not blocks, for children.
            if block.kind() == Kind::Object {
                self.block(block, splice)?;
            }
        }
        Ok(())
    }

    fn block<'t>(&mut self, block: Value<'t>, splice: &mut Splice<'t>) -> Result<(), RewriteError> {
        let kind = member(block, "type")?.and_then(Value::string);
        match kind.as_deref() {
            Some("text") => {}
            // What can't be read is withheld: the rule was not loaded else.
            Some("image" | "audio") => return Ok(()),
            _ => return Err(NOBODYS),
        }
        let Some(text) = member(block, "text")? else {
            return Ok(());
        };
        match inside::enter(text, 0, |root, inner| self.document(root, inner))? {
            Inside::Judged(Some(changed)) => {
                splice.replace(text, changed);
                Ok(())
            }
            Inside::Judged(None) | Inside::Prose => Ok(()),
            Inside::Unreadable => Err(NOBODYS),
        }
    }

    /// One copy of the result.
    fn document<'t>(
        &mut self,
        root: Value<'t>,
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        let (elements, whose) = elements(root, self.path)?;
        let marks = marks(root, true, self.call, self.workshop);
        self.beside(root, FieldClass::Unlisted, &elements, &marks)?;
        let mut dropped = 0;
        for element in elements {
            let named = names(element, whose)?;
            if self.may_stay(named.as_deref())? {
                self.patients.extend(named.unwrap_or_default());
            } else if element.index() == root.index() {
                return Err(OTHER);
            } else {
                splice.remove(element);
                dropped += 1;
            }
        }
        self.dropped = self.dropped.max(dropped);
        Ok(())
    }

    /// Whether an element may stay, by whose it is.
    fn may_stay(&self, named: Option<&[String]>) -> Result<bool, RewriteError> {
        let named = named.filter(|named| !named.is_empty());
        match (&self.call.permit.only_patients, named) {
            (Some(own), Some(named)) => Ok(named.iter().all(|patient| own.contains(patient))),
            (Some(_), None) => Ok(false),
            (None, Some(_)) => Ok(true),
            (None, None) => Err(NOBODYS),
        }
    }

    /// Refuses PHI that stands beside the elements.
    fn beside(
        &self,
        value: Value<'_>,
        class: FieldClass,
        elements: &[Value<'_>],
        marks: &Marks,
    ) -> Result<(), RewriteError> {
        let is_element = |element: &Value<'_>| element.index() == value.index();
        if elements.iter().any(is_element) {
            return Ok(());
        }
        if matches!(class, FieldClass::Phi(_)) && value.kind() != Kind::Null {
            return Err(NOBODYS);
        }
        if let Some(text) = value.string() {
            return match inside::read(&text) {
                Reading::Prose => Ok(()),
                Reading::Unreadable => Err(NOBODYS),
                Reading::Json(tree) => {
                    let root = tree.root();
                    let marks = super::answer::marks(root, false, self.call, self.workshop);
                    self.beside(root, FieldClass::Unlisted, &[], &marks)
                }
            };
        }
        value.children().try_for_each(|child| {
            let class = marks.class(child, class, &self.workshop.policy);
            self.beside(child, class, elements, marks)
        })
    }
}

/// The elements that are each somebody's, and the steps from one to the name of whose it is.
fn elements<'t, 'p>(
    root: Value<'t>,
    path: &'p Path,
) -> Result<(Vec<Value<'t>>, &'p [Step]), RewriteError> {
    let Some(last) = path.steps.iter().rposition(|step| *step == Step::Each) else {
        return Ok((vec![root], &path.steps));
    };
    let (to, whose) = path.steps.split_at(last + 1);
    Ok((follow(root, to)?, whose))
}

/// Where steps lead to.
fn follow<'t>(root: Value<'t>, steps: &[Step]) -> Result<Vec<Value<'t>>, RewriteError> {
    paths::follow(root, steps).map_err(|_| RewriteError::Upstream("duplicate_members"))
}

/// Whose an element is; none where anything but names stands there.
fn names(element: Value<'_>, whose: &[Step]) -> Result<Option<Vec<String>>, RewriteError> {
    let found = follow(element, whose)?;
    Ok(found.into_iter().map(paths::scalar_text).collect())
}
