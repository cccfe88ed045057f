//! The answer's side: results on their way to the client.
//!
//! Three passes over one message, each a splice of the one before: sealed values are opened where the policy has a
//! name for them; the record is verified and the patients are read, in clear; then every value is shown by the
//! caller's view. Structured content and its text twin are judged by the same names, so they stay equal.

use std::borrow::Cow;

use safeguard_audit::FieldAction;
use safeguard_policy::decide::Permit;
use safeguard_policy::field::View;
use safeguard_policy::policy::{FieldClass, FieldId};
use safeguard_policy::{Path, Root};
use safeguard_vault::OpenRoom;
use safeguard_vault::canonical::canonicalize;
use safeguard_wire::json::{Kind, Splice, Tree, Value};
use safeguard_wire::mcp::{self, Part, Place, Shape};

use super::inside::{self, Inside, Reading};
use super::marks::Marks;
use super::record::Checked;
use super::shapes::Absence;
use super::show::Shower;
use super::view::sealed_token;
use super::{Holder, LIMITS, RewriteError, Touched, Workshop, limit, record, request, rounds};
use crate::era::private;

/// What stands for a text that the caller may not read.
pub const WITHHELD_TEXT: &str = "[withheld]";
/// The member of `_meta` that names what was withheld.
pub const WITHHELD_MEMBER: &str = "safeguard/withheld";

/// Whose answer this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `tools/call`
    Tool,
    /// `resources/read`
    Resource,
    /// `prompts/get`
    Prompt,
    /// `completion/complete`, and what the argument that is completed means.
    Completion(FieldClass),
    /// Another method that a rule permits, or a request or notification of the server's, by its name.
    Other(&'static str),
}

/// What the rewriting needs to know about the call that is answered.
#[derive(Debug)]
pub struct Call<'a> {
    /// What was called.
    pub method: Method,
    /// What the policy permitted.
    pub permit: &'a Permit,
    /// Whose call it is.
    pub holder: Holder<'a>,
    /// The URI that was asked for, of `resources/read`: the one that an answer may repeat.
    pub uri: Option<&'a str>,
    /// Whether a withheld member may be left out, by the tool's output schema.
    pub absence: Absence,
    /// Seconds since the Unix epoch.
    pub now_unix: i64,
}

/// An answer that may be released.
#[derive(Debug)]
pub struct RewrittenAnswer {
    /// The message's bytes; none where not a byte changed.
    pub body: Option<Vec<u8>>,
    /// What became of which fields.
    pub touched: Touched,
    /// The patients that the answer's path names.
    pub patients: Vec<String>,
    /// Elements that were another patient's and were taken out.
    pub dropped: u32,
    /// Records whose hash was verified, and those that passed without.
    pub records: Checked,
    /// Whether the upstream reported an error (a JSON-RPC error, or a tool result with `isError`).
    pub failed: bool,
}

/// Rewrites the answer to a permitted call.
///
/// # Errors
/// When a value can't be opened, a record does not verify, the two copies of the result differ, or the message is
/// ambiguous where the policy reads it. Then nothing of it may be released.
pub fn answer(
    tree: &Tree<'_>,
    call: &Call<'_>,
    workshop: &Workshop,
) -> Result<RewrittenAnswer, RewriteError> {
    let mut touched = Touched::default();
    let all = places(call.method, tree)?;
    let Some(opened) = open_message(tree, &all, call, workshop, &mut touched)? else {
        return within_limits(tree, call, workshop, touched);
    };
    let mut rewritten = within_limits(&parse(&opened)?, call, workshop, touched)?;
    rewritten.body.get_or_insert(opened);
    Ok(rewritten)
}

/// Takes out what the rule's limits do not let in, and shows the rest.
fn within_limits(
    tree: &Tree<'_>,
    call: &Call<'_>,
    workshop: &Workshop,
    touched: Touched,
) -> Result<RewrittenAnswer, RewriteError> {
    let limited = limit::limit(tree, call, workshop)?;
    let Some(body) = limited.body else {
        return in_clear(tree, &places(call.method, tree)?, call, workshop, touched);
    };
    let mut rewritten = {
        let tree = parse(&body)?;
        in_clear(&tree, &places(call.method, &tree)?, call, workshop, touched)?
    };
    rewritten.body.get_or_insert(body);
    rewritten.dropped = limited.dropped;
    Ok(rewritten)
}

/// The second and the third pass: whatever was sealed is open.
fn in_clear<'t>(
    tree: &'t Tree<'_>,
    places: &[Place<'t>],
    call: &Call<'_>,
    workshop: &Workshop,
    mut touched: Touched,
) -> Result<RewrittenAnswer, RewriteError> {
    let result = member(tree.root(), "result")?;
    let reported = match result {
        Some(result) => member(result, "isError")?.and_then(Value::as_bool) == Some(true),
        None => true,
    };
    let found = match result {
        Some(result) => examine(result, reported, call, workshop)?,
        None => Found::default(),
    };
    let mut splice = Splice::new(tree);
    let mut shower = Shower::new(call, workshop, &mut touched);
    for place in places {
        shower.place(place, &mut splice)?;
    }
    if let Some(result) = result {
        shower.counts(result, &mut splice)?;
        shower.name_withheld(result, &mut splice)?;
        private(result, &mut splice)?;
        if let Some(state) = member(result, "requestState")? {
            rounds::seal(state, call, workshop, &mut splice)?;
        }
    }
    let body = (!splice.is_empty()).then(|| splice.apply());
    Ok(RewrittenAnswer {
        body,
        touched,
        patients: found.patients,
        dropped: 0,
        records: found.records,
        failed: reported,
    })
}

pub(super) fn parse(text: &[u8]) -> Result<Tree<'_>, RewriteError> {
    Tree::parse(text, &LIMITS).map_err(|_| RewriteError::Upstream("not_json"))
}

pub(super) fn member<'t>(value: Value<'t>, name: &str) -> Result<Option<Value<'t>>, RewriteError> {
    value
        .get(name)
        .map_err(|_| RewriteError::Upstream("duplicate_members"))
}

/// Every place of an answer where a value can stand: in its result or error, and beside them.
fn places<'t>(method: Method, tree: &'t Tree<'_>) -> Result<Vec<Place<'t>>, RewriteError> {
    let mut all = Vec::new();
    let mut answered = false;
    for value in tree.root().children() {
        let found = if value.is_named("result") {
            answered = true;
            match method {
                Method::Tool => mcp::tool_result(value),
                Method::Resource => mcp::resource_result(value),
                Method::Prompt => mcp::prompt_result(value),
                Method::Completion(_) => mcp::result("completion/complete", value),
                Method::Other(name) => mcp::result(name, value),
            }
        } else if value.is_named("error") {
            answered = true;
            // Servers echo in errors what they were sent.
            mcp::error(value)
        } else {
            continue;
        };
        all.extend(found.map_err(|_| RewriteError::Upstream("duplicate_members"))?);
    }
    let beside = mcp::envelope(tree.root());
    all.extend(beside.map_err(|_| RewriteError::Upstream("duplicate_members"))?);
    if answered {
        Ok(all)
    } else {
        Err(RewriteError::Upstream("neither_result_nor_error"))
    }
}

// ---- first pass: open

/// The message with every sealed value in clear; none where nothing was sealed.
pub(super) fn open_message<'t>(
    tree: &'t Tree<'_>,
    places: &[Place<'t>],
    call: &Call<'_>,
    workshop: &Workshop,
    touched: &mut Touched,
) -> Result<Option<Vec<u8>>, RewriteError> {
    let reads_result = [&call.permit.record, &call.permit.patient]
        .into_iter()
        .flatten()
        .any(|path| path.root == Root::Result);
    let mut splice = Splice::new(tree);
    let mut opener = Opening {
        call,
        workshop,
        reads_result,
        touched,
        room: OpenRoom::default(),
    };
    for place in places {
        let class = class_of_place(place, workshop);
        if let Some(FieldClass::Phi(field)) = suggested(place, call.method) {
            opener.phi(place.value, field, &mut splice, &Marks::default())?;
            continue;
        }
        match place.shape {
            Shape::Json => {
                let is_root = place.value.is_named("structuredContent");
                let marks = marks(place.value, is_root, call, workshop);
                opener.value(place.value, class, &mut splice, (0, &marks))?;
            }
            Shape::Text => opener.text(place.value, class, &mut splice, 0)?,
            Shape::Blob => {
                let inner = inside::enter_blob(place.value, 0, |root, inner| {
                    let marks = marks(root, false, call, workshop);
                    opener.value(root, FieldClass::Unlisted, inner, (1, &marks))
                })?;
                put_inside(place.value, inner, &mut splice);
            }
            Shape::Uri | Shape::Opaque => {}
        }
    }
    Ok((!splice.is_empty()).then(|| splice.apply()))
}

/// Puts changed text in its place. What is prose or unreadable stays, for the third pass to judge.
fn put_inside<'t>(value: Value<'t>, inner: Inside, splice: &mut Splice<'t>) {
    if let Inside::Judged(Some(text)) = inner {
        splice.replace(value, text);
    }
}

/// What a place's own name means, where the sender chose it, or that of what it is about; structure's names mean
/// nothing.
pub(super) fn class_of_place(place: &Place<'_>, workshop: &Workshop) -> FieldClass {
    let name = match (&place.subject, place.shape) {
        _ if place.named => place.value.key(),
        (Some(subject), Shape::Json) => Some(Cow::Borrowed(subject.as_ref())),
        _ => None,
    };
    name.map_or(FieldClass::Unlisted, |name| workshop.policy.classify(&name))
}

/// What the argument means that a place suggests a value for; none where it suggests none.
pub(super) fn suggested(place: &Place<'_>, method: Method) -> Option<FieldClass> {
    let is_value =
        place.part == Part::Outcome && place.shape == Shape::Text && place.value.key().is_none();
    match method {
        Method::Completion(class) if is_value => Some(class),
        _ => None,
    }
}

/// What the values below mean; `is_root` says whether this is what the rule's `result` means.
pub(super) fn marks(root: Value<'_>, is_root: bool, call: &Call<'_>, workshop: &Workshop) -> Marks {
    let meant = is_root.then_some((Root::Result, root));
    Marks::of(root, meant, &call.permit.places, &workshop.policy)
}

struct Opening<'o> {
    call: &'o Call<'o>,
    workshop: &'o Workshop,
    /// Whether a rule reads the result: then what nobody will see is opened, too.
    reads_result: bool,
    touched: &'o mut Touched,
    /// What the values are opened in, one after the other.
    room: OpenRoom,
}

impl Opening<'_> {
    fn value<'t>(
        &mut self,
        value: Value<'t>,
        class_of_value: FieldClass,
        splice: &mut Splice<'t>,
        (level, marks): (u32, &Marks),
    ) -> Result<(), RewriteError> {
        if let FieldClass::Phi(field) = class_of_value {
            return self.phi(value, field, splice, marks);
        }
        match value.kind() {
            Kind::Object | Kind::Array => {
                for child in value.children() {
                    let class = marks.class(child, class_of_value, &self.workshop.policy);
                    self.value(child, class, splice, (level, marks))?;
                }
                Ok(())
            }
            Kind::String => self.text(value, class_of_value, splice, level),
            Kind::Null | Kind::Bool | Kind::Number => Ok(()),
        }
    }

    fn phi<'t>(
        &mut self,
        value: Value<'t>,
        field: FieldId,
        splice: &mut Splice<'t>,
        marks: &Marks,
    ) -> Result<(), RewriteError> {
        // What nobody will see and no rule reads stays sealed.
        if self.call.permit.views.of(field) == View::Withhold && !self.reads_result {
            return Ok(());
        }
        let Some(token) = sealed_token(value)? else {
            // A service may have sealed the elements or members one by one, each under the nearest name of PHI.
            for child in value.children() {
                let own = match marks.class(child, FieldClass::Unlisted, &self.workshop.policy) {
                    FieldClass::Phi(own) => own,
                    FieldClass::NotPhi | FieldClass::Unlisted => field,
                };
                self.phi(child, own, splice, marks)?;
            }
            return Ok(());
        };
        let policy = &self.workshop.policy;
        let name = policy.field_name(field);
        let holder = self.call.holder;
        let plain = holder.open(self.workshop, &token, name, &mut self.room)?;
        splice.replace(value, plain);
        self.touched.add(field, FieldAction::Opened);
        Ok(())
    }

    fn text<'t>(
        &mut self,
        value: Value<'t>,
        class: FieldClass,
        splice: &mut Splice<'t>,
        level: u32,
    ) -> Result<(), RewriteError> {
        let inner = inside::enter(value, level, |root, inner| {
            let marks = marks(root, level == 0, self.call, self.workshop);
            self.value(root, class, inner, (level + 1, &marks))
        })?;
        put_inside(value, inner, splice);
        Ok(())
    }
}

// ---- second pass: verify and read

#[derive(Default)]
struct Found {
    patients: Vec<String>,
    records: Checked,
}

/// Verifies the record and reads the patients, where the rule says that they stand in the result.
///
/// An error that the upstream reports needs no record, but one that it brings is verified all the same.
fn examine(
    result: Value<'_>,
    is_error: bool,
    call: &Call<'_>,
    workshop: &Workshop,
) -> Result<Found, RewriteError> {
    let in_result = |path: &&Path| path.root == Root::Result;
    let record_path = call.permit.record.as_deref().filter(in_result);
    let patient_path = call.permit.patient.as_deref().filter(in_result);
    if record_path.is_none() && patient_path.is_none() {
        return Ok(Found::default());
    }
    let Some(result) = outcome(call.method, result)? else {
        return Ok(Found::default());
    };
    let differ = "copies_differ";
    let differ = match record_path {
        Some(_) => RewriteError::Integrity(differ),
        None => RewriteError::Upstream(differ),
    };
    let structured =
        member(result, "structuredContent")?.filter(|value| value.kind() == Kind::Object);
    let texts = texts(call.method, result)?;
    let documents: Vec<Tree<'_>> = texts.iter().filter_map(|text| document(text)).collect();
    let root = match (structured, documents.as_slice()) {
        (Some(root), [twin]) if !same(root, twin.root()) => return Err(differ),
        // Which of several texts is the copy, nobody can tell: with a record, none may say anything else.
        (Some(root), several) if record_path.is_some() => {
            let alike = several.iter().all(|twin| same(root, twin.root()));
            alike.then_some(root).ok_or(differ).map(Some)?
        }
        (Some(root), _) => Some(root),
        (None, [one]) => Some(one.root()),
        (None, _) => None,
    };
    let mut found = Found::default();
    if let Some(path) = record_path {
        let records = match root {
            Some(root) => record::select(root, path)?,
            None => Vec::new(),
        };
        // Several documents and no record among them that could be told: nothing of them was verified.
        let unknown = root.is_none() && !documents.is_empty();
        if unknown || (records.is_empty() && !is_error) {
            return Err(RewriteError::Integrity("record_missing"));
        }
        found.records = record::verify(&records, call.holder.patient, workshop)?;
    }
    if let (Some(root), Some(path)) = (root, patient_path) {
        found.patients = patients(root, path)?;
    }
    Ok(found)
}

/// Where the outcome of what was called stands: in the result itself, or in the task that it describes; none where there
/// is no outcome yet.
pub(super) fn outcome(
    method: Method,
    result: Value<'_>,
) -> Result<Option<Value<'_>>, RewriteError> {
    match method {
        Method::Tool if is_handle(result)? => Ok(None),
        Method::Other(name) if name != "tasks/result" => member(result, "result"),
        Method::Tool
        | Method::Resource
        | Method::Prompt
        | Method::Completion(_)
        | Method::Other(_) => Ok(Some(result)),
    }
}

/// Whether a result is the handle of a task and nothing else (2025-11-25 `task`, the extension's `resultType`). One that
/// has other members too is judged as an outcome.
fn is_handle(result: Value<'_>) -> Result<bool, RewriteError> {
    let task = member(result, "task")?.filter(|task| task.kind() == Kind::Object);
    let flat = member(result, "resultType")?.and_then(Value::string);
    let own: &[&str] = match task {
        Some(_) => &["task", "resultType", "_meta"],
        None if flat.as_deref() == Some("task") => &HANDLE,
        None => return Ok(false),
    };
    Ok(result
        .children()
        .all(|child| own.iter().any(|name| child.is_named(name))))
}

/// Members of a handle of the tasks extension.
const HANDLE: [&str; 12] = [
    "resultType",
    "taskId",
    "status",
    "statusMessage",
    "createdAt",
    "lastUpdatedAt",
    "ttl",
    "ttlMs",
    "pollInterval",
    "pollIntervalMs",
    "requestState",
    "_meta",
];

fn patients(root: Value<'_>, path: &Path) -> Result<Vec<String>, RewriteError> {
    let values = crate::paths::select(root, path)
        .map_err(|_| RewriteError::Upstream("duplicate_members"))?;
    Ok(values
        .into_iter()
        .filter_map(crate::paths::scalar_text)
        .collect())
}

/// The texts of an answer's content.
fn texts<'t>(method: Method, result: Value<'t>) -> Result<Vec<Cow<'t, str>>, RewriteError> {
    let name = match method {
        Method::Tool | Method::Other(_) => "content",
        Method::Resource => "contents",
        // No rule of a prompt or a completion reads its result.
        Method::Prompt | Method::Completion(_) => return Ok(Vec::new()),
    };
    let Some(content) = member(result, name)? else {
        return Ok(Vec::new());
    };
    // One block may stand without its array.
    let alone = (content.kind() == Kind::Object).then_some(content);
    let mut texts = Vec::new();
    for block in content.children().chain(alone) {
        texts.extend(member(block, "text")?.and_then(Value::string));
    }
    Ok(texts)
}

/// The JSON object that a text is.
fn document(text: &str) -> Option<Tree<'_>> {
    match inside::read(text) {
        Reading::Json(tree) if tree.root().kind() == Kind::Object => Some(tree),
        Reading::Json(_) | Reading::Prose | Reading::Unreadable => None,
    }
}

fn same(one: Value<'_>, other: Value<'_>) -> bool {
    if one.raw() == other.raw() {
        return !one.has_duplicates();
    }
    if one.has_duplicates() || other.has_duplicates() {
        return false;
    }
    matches!((canonicalize(one.raw()), canonicalize(other.raw())), (Ok(one), Ok(other)) if one == other)
}

/// The argument that names somebody (a patient, a recipient), as text.
///
/// # Errors
/// When the path is ambiguous.
pub fn name_in_arguments(
    tree: &Tree<'_>,
    arguments: &[&str],
    path: &Path,
) -> Result<Option<String>, RewriteError> {
    let Some(root) = request::locate(tree, arguments)? else {
        return Ok(None);
    };
    let found =
        crate::paths::select(root, path).map_err(|_| RewriteError::Invalid("duplicate member"))?;
    Ok(found.into_iter().find_map(crate::paths::scalar_text))
}
