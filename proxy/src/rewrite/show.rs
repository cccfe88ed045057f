//! The third pass over an answer: every value as its caller may see it.

use std::collections::BTreeSet;

use safeguard_policy::Root;
use safeguard_policy::field::{TextView, Unlisted};
use safeguard_policy::policy::{FieldClass, FieldId};
use safeguard_wire::json::{Kind, Splice, Value, quote};
use safeguard_wire::mcp::{Place, Shape};

use super::answer::{
    Call, TEXT_LEVELS_MAX, WITHHELD_MEMBER, WITHHELD_TEXT, class, class_of_place, member, requote,
};
use super::view::{self, Shown, json_in};
use super::{RewriteError, Touched, Workshop, record};

/// Walks the places of one message and keeps what it withheld.
pub(super) struct Shower<'s> {
    call: &'s Call<'s>,
    workshop: &'s Workshop,
    touched: &'s mut Touched,
    withheld: BTreeSet<String>,
}

/// Where a value stands: how deep in text, and below which verified records.
#[derive(Clone, Copy)]
struct Standing<'r> {
    level: u32,
    /// Indices of the records in this tree.
    records: &'r [usize],
    /// Whether the parent is one of them.
    in_record: bool,
}

impl<'s> Shower<'s> {
    pub(super) fn new(
        call: &'s Call<'s>,
        workshop: &'s Workshop,
        touched: &'s mut Touched,
    ) -> Self {
        Self {
            call,
            workshop,
            touched,
            withheld: BTreeSet::new(),
        }
    }

    pub(super) fn place<'t>(
        &mut self,
        place: Place<'t>,
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        match place.shape {
            Shape::Json => {
                let of = class_of_place(&place, self.workshop);
                let records = match place.value.key().as_deref() {
                    Some("structuredContent") => self.records_below(place.value)?,
                    _ => Vec::new(),
                };
                self.value(
                    place.value,
                    of,
                    splice,
                    Standing {
                        level: 0,
                        records: &records,
                        in_record: false,
                    },
                )
            }
            Shape::Text => self.block_text(place.value, splice),
            // What can't be read can't be judged: the whole block goes.
            Shape::Blob | Shape::Uri if self.call.permit.text == TextView::Withhold => {
                match place.block {
                    Some(block) => {
                        let text = format!("{{\"type\":\"text\",\"text\":\"{WITHHELD_TEXT}\"}}");
                        splice.replace(block, text.into_bytes());
                    }
                    None => splice.replace(place.value, quote("")),
                }
                self.withheld.insert("binary".to_owned());
                Ok(())
            }
            Shape::Blob | Shape::Uri | Shape::Opaque => Ok(()),
        }
    }

    /// Names what was withheld in the result's `_meta`; a claim of the upstream's own is replaced.
    pub(super) fn name_withheld<'t>(
        self,
        result: Value<'t>,
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        let meta = member(result, "_meta")?.filter(|meta| meta.kind() == Kind::Object);
        if let Some(claimed) = meta
            .map(|meta| member(meta, WITHHELD_MEMBER))
            .transpose()?
            .flatten()
        {
            splice.remove(claimed);
        }
        if self.withheld.is_empty() {
            return Ok(());
        }
        let mut list = Vec::from(b"[");
        for (position, name) in self.withheld.iter().enumerate() {
            if position > 0 {
                list.push(b',');
            }
            list.extend_from_slice(&quote(name));
        }
        list.push(b']');
        match meta {
            Some(meta) => splice.insert_member(meta, WITHHELD_MEMBER, &list),
            None => {
                let mut object = Vec::from(b"{");
                object.extend_from_slice(&quote(WITHHELD_MEMBER));
                object.push(b':');
                object.extend_from_slice(&list);
                object.push(b'}');
                splice.insert_member(result, "_meta", &object);
            }
        }
        Ok(())
    }

    fn records_below(&self, root: Value<'_>) -> Result<Vec<usize>, RewriteError> {
        match self
            .call
            .permit
            .record
            .as_ref()
            .filter(|path| path.root == Root::Result)
        {
            Some(path) if root.kind() == Kind::Object => Ok(record::select(root, path)?
                .into_iter()
                .map(Value::index)
                .collect()),
            _ => Ok(Vec::new()),
        }
    }

    fn value<'t>(
        &mut self,
        value: Value<'t>,
        of: FieldClass,
        splice: &mut Splice<'t>,
        standing: Standing<'_>,
    ) -> Result<(), RewriteError> {
        if standing.in_record
            && value
                .key()
                .is_some_and(|name| record::is_integrity_member(&name))
        {
            return Ok(());
        }
        match (of, value.kind()) {
            (FieldClass::Phi(field), _) => self.phi(value, field, splice),
            (_, Kind::Object | Kind::Array) => {
                let inherited = if of == FieldClass::NotPhi {
                    of
                } else {
                    FieldClass::Unlisted
                };
                let below = Standing {
                    in_record: standing.records.contains(&value.index()),
                    ..standing
                };
                for child in value.children() {
                    self.value(child, class(child, inherited, self.workshop), splice, below)?;
                }
                Ok(())
            }
            (_, Kind::String) if self.inner_json(value, splice, standing.level)? => Ok(()),
            (FieldClass::NotPhi, _) => Ok(()),
            (FieldClass::Unlisted, _) => {
                self.unlisted(value, splice);
                Ok(())
            }
        }
    }

    fn phi<'t>(
        &mut self,
        value: Value<'t>,
        field: FieldId,
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        let workshop = self.workshop;
        let name = workshop.policy.field_name(field);
        let view = self.call.permit.views.of(field);
        let (shown, action) = view::show(value, name, view, &workshop.carrier, self.call.now_unix)?;
        self.touched.add(field, action);
        match shown {
            Shown::AsIs => {}
            Shown::Instead(text) => splice.replace(value, text),
            Shown::Withheld => {
                self.withhold(value, splice);
                self.withheld.insert(name.to_owned());
            }
        }
        Ok(())
    }

    fn unlisted<'t>(&mut self, value: Value<'t>, splice: &mut Splice<'t>) {
        if self.call.permit.views.unlisted_results() == Unlisted::Withhold {
            if let Some(name) = value.key() {
                self.withheld.insert(name.into_owned());
            }
            self.withhold(value, splice);
        }
    }

    /// Leaves a member out where the schema lets it, else it becomes null; an array's element becomes null.
    fn withhold<'t>(&self, value: Value<'t>, splice: &mut Splice<'t>) {
        match value.key() {
            Some(name) if self.call.absence.allows(&name) => splice.remove(value),
            _ => splice.replace(value, b"null".to_vec()),
        }
    }

    /// Judges JSON that stands in a string by its members. False where the string holds none.
    fn inner_json<'t>(
        &mut self,
        value: Value<'t>,
        splice: &mut Splice<'t>,
        level: u32,
    ) -> Result<bool, RewriteError> {
        if level >= TEXT_LEVELS_MAX {
            return Ok(false);
        }
        let Some(text) = value.string() else {
            return Ok(false);
        };
        let Some(inner) = json_in(&text) else {
            return Ok(false);
        };
        let records = if level == 0 {
            self.records_below(inner.root())?
        } else {
            Vec::new()
        };
        let standing = Standing {
            level: level + 1,
            records: &records,
            in_record: false,
        };
        let mut inside = Splice::new(&inner);
        self.value(inner.root(), FieldClass::Unlisted, &mut inside, standing)?;
        if !inside.is_empty() {
            splice.replace(value, requote(inside.apply())?);
        }
        Ok(true)
    }

    /// A text block: JSON in it is judged by its members, prose by the rule's text view.
    fn block_text<'t>(
        &mut self,
        value: Value<'t>,
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        if !self.inner_json(value, splice, 0)? && self.call.permit.text == TextView::Withhold {
            splice.replace(value, quote(WITHHELD_TEXT));
            self.withheld.insert("text".to_owned());
        }
        Ok(())
    }
}
