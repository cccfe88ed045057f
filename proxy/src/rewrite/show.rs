//! The third pass over an answer: every value as its caller may see it.

use std::collections::{BTreeSet, HashMap};

use safeguard_audit::FieldAction;
use safeguard_policy::field::{BinaryView, TextView, Unlisted};
use safeguard_policy::policy::{FieldClass, FieldId};
use safeguard_policy::{Policy, Root};
use safeguard_wire::json::{Kind, Splice, Value, quote};
use safeguard_wire::mcp::{Place, Shape};

use super::answer::{
    Call, Method, WITHHELD_MEMBER, WITHHELD_TEXT, class_of_place, marks, member, suggested,
};
use super::inside::{self, Inside};
use super::marks::Marks;
use super::prose::Left;
use super::shapes::Absence;
use super::suggest::is_schema_value;
use super::view::{self, Shown};
use super::{RewriteError, Touched, Workshop, record};

/// Walks the places of one message and keeps what it withheld.
pub(super) struct Shower<'s> {
    pub(super) call: &'s Call<'s>,
    workshop: &'s Workshop,
    touched: &'s mut Touched,
    pub(super) withheld: BTreeSet<String>,
    /// The tokens of this answer: a value gets the same one in both copies of a result.
    tokens: HashMap<(FieldId, Box<[u8]>), Vec<u8>>,
}

/// What `withheld` calls a member whose name may be a value itself.
const UNNAMED: &str = "unlisted";
/// Longest name of a member that is taken for a name, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// Where a value stands: how deep in text, and below which verified records.
#[derive(Clone, Copy)]
struct Standing<'r> {
    level: u32,
    /// Indices of what holds the integrity members of the records in this tree.
    records: &'r [usize],
    /// What its values mean.
    marks: &'r Marks,
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
            tokens: HashMap::new(),
        }
    }

    pub(super) fn place<'t>(
        &mut self,
        place: &Place<'t>,
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        if let Some(of) = suggested(place, self.call.method) {
            return self.suggestion(place.value, of, splice);
        }
        let of = class_of_place(place, self.workshop);
        match place.shape {
            Shape::Json if is_schema_value(place) => self.schema_value(place, of, splice),
            Shape::Json => {
                let is_root = place.value.is_named("structuredContent");
                self.below_root(place.value, of, is_root, 0, splice)
            }
            Shape::Text => self.block_text(place.value, splice),
            Shape::Uri => self.uri(place, splice),
            Shape::Blob => self.blob(place, splice),
            Shape::Opaque => Ok(()),
        }
    }

    /// A URI may hold identifiers. Where text is withheld, the only one shown is the caller's own.
    fn uri<'t>(&mut self, place: &Place<'t>, splice: &mut Splice<'t>) -> Result<(), RewriteError> {
        let text = self.call.permit.text;
        let named = place.value.string().unwrap_or_default();
        let views = &self.call.permit.views;
        let clean = || self.workshop.prose.judge(&named, views).text.is_none();
        if text == TextView::Reveal || text == TextView::Detect && clean() {
            return Ok(());
        }
        let asked = match self.call.method {
            Method::Resource => self.call.uri,
            Method::Tool | Method::Prompt | Method::Completion(_) | Method::Other(_) => None,
        };
        match asked {
            Some(asked) if place.value.string().as_deref() == Some(asked) => {}
            Some(asked) => {
                splice.replace(place.value, quote(asked));
                self.withheld.insert("uri".to_owned());
            }
            // A person would be sent nowhere.
            None if place.value.is_named("url") => {
                return Err(RewriteError::Denied("url_withheld"));
            }
            None => self.withhold_block(place, "uri", splice),
        }
        Ok(())
    }

    /// What can't be read can't be judged: the whole block goes. JSON in base64 is read.
    fn blob<'t>(&mut self, place: &Place<'t>, splice: &mut Splice<'t>) -> Result<(), RewriteError> {
        let inner = inside::enter_blob(place.value, 0, |root, inner| {
            self.below_root(root, FieldClass::Unlisted, false, 1, inner)
        })?;
        match inner {
            Inside::Judged(None) => {}
            Inside::Judged(Some(text)) => splice.replace(place.value, text),
            Inside::Prose if self.passes(place) => {}
            Inside::Prose if is_text(place) && self.call.permit.text == TextView::Detect => {
                self.detected_blob(place, splice);
            }
            Inside::Prose | Inside::Unreadable => self.withhold_block(place, "binary", splice),
        }
        Ok(())
    }

    /// Whether content that holds no JSON passes: text by the view of text, anything else by that of binary content.
    fn passes(&self, place: &Place<'_>) -> bool {
        if is_text(place) {
            self.call.permit.text == TextView::Reveal
        } else {
            self.call.permit.binary == BinaryView::Reveal
        }
    }

    /// Text in base64, without what looks like an identifier in it.
    fn detected_blob<'t>(&mut self, place: &Place<'t>, splice: &mut Splice<'t>) {
        let Some(text) = inside::text_of_blob(place.value) else {
            self.withhold_block(place, "binary", splice);
            return;
        };
        if let Some(shown) = self.detected(&text) {
            splice.replace(place.value, quote(&inside::blob_of_text(&shown)));
        }
    }

    /// A text as the caller may see it under `detect`; none where nothing was found in it.
    pub(super) fn detected(&mut self, text: &str) -> Option<String> {
        let workshop = self.workshop;
        let judged = workshop.prose.judge(text, &self.call.permit.views);
        for field in judged.masked {
            self.touched.add(field, FieldAction::Masked);
        }
        for left in judged.withheld {
            match left {
                Left::Field(field) => {
                    self.touched.add(field, FieldAction::Withheld);
                    let name = workshop.policy.field_name(field);
                    self.withheld.insert(name.to_owned());
                }
                Left::Detector(word) => {
                    self.withheld.insert(word);
                }
            }
        }
        judged.text
    }

    fn withhold_block<'t>(&mut self, place: &Place<'t>, what: &str, splice: &mut Splice<'t>) {
        self.withheld.insert(what.to_owned());
        match place.block {
            // A resource's contents are no content blocks; they take an empty value.
            Some(block) if self.call.method != Method::Resource => {
                let text = format!("{{\"type\":\"text\",\"text\":\"{WITHHELD_TEXT}\"}}");
                splice.replace(block, text.into_bytes());
            }
            Some(_) | None => splice.replace(place.value, quote("")),
        }
    }

    /// Names what was withheld in the result's `_meta`; a claim of the upstream's own is replaced.
    pub(super) fn name_withheld<'t>(
        self,
        result: Value<'t>,
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        let meta = member(result, "_meta")?;
        // What is no object can't hold the names; it would be a second `_meta` beside ours.
        if let Some(strange) = meta.filter(|meta| meta.kind() != Kind::Object) {
            splice.remove(strange);
        }
        let meta = meta.filter(|meta| meta.kind() == Kind::Object);
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

    /// Judges a whole tree, or a place of the message; `is_root` says whether the rule's record may stand in it.
    pub(super) fn below_root<'t>(
        &mut self,
        root: Value<'t>,
        of: FieldClass,
        is_root: bool,
        level: u32,
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        let path = self.call.permit.record.as_ref();
        let records = match path.filter(|path| path.root == Root::Result) {
            Some(path) if is_root && root.kind() == Kind::Object => {
                let records = record::select(root, path)?;
                record::holders(&records, &self.workshop.policy)?
            }
            _ => Vec::new(),
        };
        let records: Vec<usize> = records.into_iter().map(Value::index).collect();
        let marks = marks(root, is_root, self.call, self.workshop);
        let standing = Standing {
            level,
            records: &records,
            marks: &marks,
            in_record: false,
        };
        self.value(root, of, splice, standing)
    }

    fn value<'t>(
        &mut self,
        value: Value<'t>,
        of: FieldClass,
        splice: &mut Splice<'t>,
        standing: Standing<'_>,
    ) -> Result<(), RewriteError> {
        let is_integrity = standing.in_record
            && value
                .key()
                .is_some_and(|name| Policy::is_integrity_member(&name));
        let of = if is_integrity { FieldClass::NotPhi } else { of };
        if let FieldClass::Phi(field) = of {
            return self.phi(value, field, splice);
        }
        if of == FieldClass::Unlisted && self.is_nameless(value) {
            self.nameless(value, splice);
            return Ok(());
        }
        if matches!(value.kind(), Kind::Object | Kind::Array) {
            // In document order, as paths select them.
            let in_record = standing.records.binary_search(&value.index()).is_ok();
            let below = Standing {
                in_record,
                ..standing
            };
            for child in value.children() {
                let of = standing.marks.class(child, of, &self.workshop.policy);
                self.value(child, of, splice, below)?;
            }
            return Ok(());
        }
        match self.inner_json(value, of, splice, standing.level)? {
            Inside::Judged(_) => {}
            Inside::Unreadable => self.withhold_named(value, splice),
            Inside::Prose if of == FieldClass::Unlisted => self.unlisted(value, splice),
            Inside::Prose => {}
        }
        Ok(())
    }

    /// A leaf that is named nowhere.
    fn unlisted<'t>(&mut self, value: Value<'t>, splice: &mut Splice<'t>) {
        match (self.call.permit.views.unlisted_results(), value.kind()) {
            (Unlisted::Reveal, _) | (Unlisted::Detect, Kind::Null | Kind::Bool) => {}
            (Unlisted::Withhold, _) => self.withhold_named(value, splice),
            (Unlisted::Detect, Kind::String) => match value.string() {
                Some(text) => {
                    if let Some(shown) = self.detected(&text) {
                        splice.replace(value, quote(&shown));
                    }
                }
                // A text with half a surrogate can't be read.
                None => self.withhold_named(value, splice),
            },
            (Unlisted::Detect, Kind::Number | Kind::Array | Kind::Object) => {
                let digits = String::from_utf8_lossy(value.raw());
                if self.detected(&digits).is_some() {
                    self.withhold_named(value, splice);
                }
            }
        }
    }

    /// Whether a member's name may itself be a value that the caller may not see.
    fn is_nameless(&self, value: Value<'_>) -> bool {
        match self.call.permit.views.unlisted_results() {
            Unlisted::Reveal => false,
            Unlisted::Withhold => !has_name(value),
            Unlisted::Detect => value.key().is_some_and(|name| {
                let views = &self.call.permit.views;
                self.workshop.prose.judge(&name, views).text.is_some()
            }),
        }
    }

    pub(super) fn phi<'t>(
        &mut self,
        value: Value<'t>,
        field: FieldId,
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        let workshop = self.workshop;
        let name = workshop.policy.field_name(field);
        let view = self.call.permit.views.of(field);
        let (shown, action) = view::show(value, view, |raw| self.token(field, raw))?;
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

    /// The token for a value, quoted; none where nothing says what to bind it to.
    fn token(&mut self, field: FieldId, raw: &[u8]) -> Result<Option<Vec<u8>>, RewriteError> {
        let key = (field, Box::from(raw));
        if let Some(token) = self.tokens.get(&key) {
            return Ok(Some(token.clone()));
        }
        let policy = &self.workshop.policy;
        let Some(binding) = self.call.holder.binding(policy) else {
            return Ok(None);
        };
        let name = policy.field_name(field);
        let token = self
            .workshop
            .carrier
            .issue(name, binding, raw, self.call.now_unix)
            .map_err(|_| RewriteError::Vault("sealed"))?;
        let token = quote(&token);
        self.tokens.insert(key, token.clone());
        Ok(Some(token))
    }

    fn withhold_named<'t>(&mut self, value: Value<'t>, splice: &mut Splice<'t>) {
        if let Some(name) = value.key() {
            let name = if is_name(&name) { &name } else { UNNAMED };
            self.withheld.insert(name.to_owned());
        }
        self.withhold(value, splice);
    }

    /// A member whose name may be a value (a date, a number, a sentence) goes with its name, unless a schema asks for it.
    fn nameless<'t>(&mut self, value: Value<'t>, splice: &mut Splice<'t>) {
        let required = match &self.call.absence {
            Absence::AllBut(required) => value.key().is_some_and(|name| required.contains(&*name)),
            Absence::Unknown | Absence::Anything => false,
        };
        if required {
            splice.replace(value, b"null");
        } else {
            splice.remove(value);
        }
        self.withheld.insert(UNNAMED.to_owned());
    }

    /// Leaves a member out where the schema lets it, else it becomes null; an array's element becomes null.
    pub(super) fn withhold<'t>(&self, value: Value<'t>, splice: &mut Splice<'t>) {
        match value.key() {
            Some(name) if self.call.absence.allows(&name) => splice.remove(value),
            // Of the values that are suggested, one that may not be seen is not there.
            None if matches!(self.call.method, Method::Completion(_)) => splice.remove(value),
            Some(_) | None => splice.replace(value, b"null"),
        }
    }

    /// Judges JSON that stands in a string by its members.
    pub(super) fn inner_json<'t>(
        &mut self,
        value: Value<'t>,
        of: FieldClass,
        splice: &mut Splice<'t>,
        level: u32,
    ) -> Result<Inside, RewriteError> {
        let inner = inside::enter(value, level, |root, inner| {
            self.below_root(root, of, level == 0, level + 1, inner)
        })?;
        if let Inside::Judged(Some(text)) = &inner {
            splice.replace(value, text.clone());
        }
        Ok(inner)
    }

    /// A text block: JSON in it is judged by its members, prose by the rule's text view.
    fn block_text<'t>(
        &mut self,
        value: Value<'t>,
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        match self.inner_json(value, FieldClass::Unlisted, splice, 0)? {
            Inside::Judged(_) => return Ok(()),
            Inside::Prose if self.call.permit.text == TextView::Reveal => return Ok(()),
            Inside::Prose if self.call.permit.text == TextView::Detect => {
                // What is no string, or has half a surrogate, can't be read.
                if let Some(text) = value.string() {
                    if let Some(shown) = self.detected(&text) {
                        splice.replace(value, quote(&shown));
                    }
                    return Ok(());
                }
            }
            Inside::Prose | Inside::Unreadable => {}
        }
        splice.replace(value, quote(WITHHELD_TEXT));
        self.withheld.insert("text".to_owned());
        Ok(())
    }
}

/// Whether content says of itself that it is text.
fn is_text(place: &Place<'_>) -> bool {
    let mime = place.mime.as_deref().unwrap_or_default();
    mime.starts_with("text/")
}

/// Whether a value stands under a name, or under none at all.
fn has_name(value: Value<'_>) -> bool {
    value.key().is_none_or(|name| is_name(&name))
}

/// Whether a member's name reads like one: `totalCount`, `_meta`, `io.example/trace-id`, `@type`.
pub(super) fn is_name(name: &str) -> bool {
    if let [first, rest @ ..] = name.as_bytes()
        && name.len() <= NAME_BYTES_MAX
        && (first.is_ascii_alphabetic() || b"_$@".contains(first))
        && rest.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'_')
    {
        return true;
    }
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_alphabetic() || "_$@".contains(c))
        && name
            .chars()
            .all(|c| c.is_alphanumeric() || "_-.$:/@".contains(c))
}
