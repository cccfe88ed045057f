//! The answer's side: results on their way to the client.
//!
//! Three passes over one message, each a splice of the one before: sealed values are opened where the policy has a
//! name for them; the record is verified and the patients are read, in clear; then every value is shown by the
//! caller's view. Structured content and its text twin are judged by the same names, so they stay equal.

use std::borrow::Cow;

use safeguard_audit::FieldAction;
use safeguard_policy::decide::Permit;
use safeguard_policy::field::{TextView, View};
use safeguard_policy::policy::{FieldClass, FieldId};
use safeguard_policy::{Path, Root};
use safeguard_vault::canonical::canonicalize;
use safeguard_wire::json::{Kind, Splice, Tree, Value, quote};
use safeguard_wire::mcp::{self, Place, Shape};

use super::shapes::Absence;
use super::show::Shower;
use super::view::{json_in, sealed_token};
use super::{LIMITS, RewriteError, Touched, Workshop, record, request};

/// What stands for a text that the caller may not read.
pub const WITHHELD_TEXT: &str = "[withheld]";
/// The member of `_meta` that names what was withheld.
pub const WITHHELD_MEMBER: &str = "safeguard/withheld";
/// How deep JSON may stand inside JSON text.
pub(super) const TEXT_LEVELS_MAX: u32 = 2;

/// Whose answer this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `tools/call`
    Tool,
    /// `resources/read`
    Resource,
    /// `prompts/get`
    Prompt,
}

/// What the rewriting needs to know about the call that is answered.
#[derive(Debug)]
pub struct Call<'a> {
    /// What was called.
    pub method: Method,
    /// What the policy permitted.
    pub permit: &'a Permit,
    /// The patient that the arguments or the URI name.
    pub patient: Option<&'a str>,
    /// Whether a withheld member may be left out, by the tool's output schema.
    pub absence: Absence,
    /// Seconds since the Unix epoch.
    pub now_unix: i64,
}

/// An answer that may be released.
#[derive(Debug)]
pub struct RewrittenAnswer {
    /// The message's bytes.
    pub body: Vec<u8>,
    /// What became of which fields.
    pub touched: Touched,
    /// The patients that the answer's path names.
    pub patients: Vec<String>,
    /// Records whose hash was verified.
    pub records_verified: u32,
    /// Whether the upstream reported an error (a JSON-RPC error, or a tool result with `isError`).
    pub failed: bool,
}

/// Rewrites the answer to a permitted call.
///
/// # Errors
/// When a value can't be opened, a record does not verify, the two copies of the result differ, or the message is
/// ambiguous where the policy reads it. Then nothing of it may be released.
pub fn answer(
    text: &[u8],
    call: &Call<'_>,
    workshop: &Workshop,
) -> Result<RewrittenAnswer, RewriteError> {
    let mut touched = Touched::default();
    let opened = open_message(text, call, workshop, &mut touched)?;
    let clear: &[u8] = opened.as_deref().unwrap_or(text);
    let tree = parse(clear)?;
    let Some(result) = member(tree.root(), "result")? else {
        return error_answer(&tree, call, workshop, touched);
    };
    let failed = member(result, "isError")?.and_then(Value::as_bool) == Some(true);
    let found = if failed {
        Found::default()
    } else {
        examine(result, call, workshop)?
    };
    let mut splice = Splice::new(&tree);
    let mut shower = Shower::new(call, workshop, &mut touched);
    for place in places(call.method, result)? {
        shower.place(place, &mut splice)?;
    }
    shower.name_withheld(result, &mut splice)?;
    let body = splice.apply();
    Ok(RewrittenAnswer {
        body,
        touched,
        patients: found.patients,
        records_verified: found.verified,
        failed,
    })
}

fn parse(text: &[u8]) -> Result<Tree<'_>, RewriteError> {
    Tree::parse(text, &LIMITS).map_err(|_| RewriteError::Upstream("not JSON"))
}

pub(super) fn member<'t>(value: Value<'t>, name: &str) -> Result<Option<Value<'t>>, RewriteError> {
    value
        .get(name)
        .map_err(|_| RewriteError::Upstream("duplicate member"))
}

fn places<'t>(method: Method, result: Value<'t>) -> Result<Vec<Place<'t>>, RewriteError> {
    let found = match method {
        Method::Tool => mcp::tool_result(result),
        Method::Resource => mcp::resource_result(result),
        Method::Prompt => mcp::prompt_result(result),
    };
    found.map_err(|_| RewriteError::Upstream("duplicate member"))
}

// ---- first pass: open

/// The message with every sealed value in clear; none where nothing was sealed.
fn open_message(
    text: &[u8],
    call: &Call<'_>,
    workshop: &Workshop,
    touched: &mut Touched,
) -> Result<Option<Vec<u8>>, RewriteError> {
    let tree = parse(text)?;
    let Some(result) = member(tree.root(), "result")? else {
        return Ok(None);
    };
    let mut splice = Splice::new(&tree);
    let mut opener = Opening {
        call,
        workshop,
        touched,
    };
    for place in places(call.method, result)? {
        match place.shape {
            Shape::Json => opener.value(
                place.value,
                class_of_place(&place, workshop),
                &mut splice,
                0,
            )?,
            Shape::Text => opener.text(place.value, &mut splice, 0)?,
            Shape::Blob | Shape::Uri | Shape::Opaque => {}
        }
    }
    Ok((!splice.is_empty()).then(|| splice.apply()))
}

/// What a place's own name means, where the sender chose it; structure's names mean nothing.
pub(super) fn class_of_place(place: &Place<'_>, workshop: &Workshop) -> FieldClass {
    if place.named {
        class(place.value, FieldClass::Unlisted, workshop)
    } else {
        FieldClass::Unlisted
    }
}

pub(super) fn class(value: Value<'_>, inherited: FieldClass, workshop: &Workshop) -> FieldClass {
    match value.key() {
        Some(name) => workshop.policy.classify(&name),
        None => inherited,
    }
}

struct Opening<'o> {
    call: &'o Call<'o>,
    workshop: &'o Workshop,
    touched: &'o mut Touched,
}

impl Opening<'_> {
    fn value<'t>(
        &mut self,
        value: Value<'t>,
        class_of_value: FieldClass,
        splice: &mut Splice<'t>,
        level: u32,
    ) -> Result<(), RewriteError> {
        if let FieldClass::Phi(field) = class_of_value {
            return self.phi(value, field, splice);
        }
        match value.kind() {
            Kind::Object | Kind::Array => {
                for child in value.children() {
                    let inherited = if class_of_value == FieldClass::NotPhi {
                        FieldClass::NotPhi
                    } else {
                        FieldClass::Unlisted
                    };
                    self.value(child, class(child, inherited, self.workshop), splice, level)?;
                }
                Ok(())
            }
            Kind::String => self.text(value, splice, level),
            Kind::Null | Kind::Bool | Kind::Number => Ok(()),
        }
    }

    fn phi<'t>(
        &mut self,
        value: Value<'t>,
        field: FieldId,
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        if let Some(token) = sealed_token(value)? {
            // What nobody will see and no hash covers stays sealed.
            if self.call.permit.views.of(field) == View::Withhold
                && self.call.permit.record.is_none()
            {
                return Ok(());
            }
            let name = self.workshop.policy.field_name(field);
            let plain = self
                .workshop
                .opener
                .open(&token, name, None)
                .map_err(|_| RewriteError::Vault("opened"))?;
            splice.replace(value, plain.expose().as_bytes().to_vec());
            self.touched.add(field, FieldAction::Opened);
            return Ok(());
        }
        // A list under a PHI name may hold sealed elements (a service that sealed each one).
        if value.kind() == Kind::Array {
            for element in value.children() {
                self.phi(element, field, splice)?;
            }
        }
        Ok(())
    }

    fn text<'t>(
        &mut self,
        value: Value<'t>,
        splice: &mut Splice<'t>,
        level: u32,
    ) -> Result<(), RewriteError> {
        if level >= TEXT_LEVELS_MAX {
            return Ok(());
        }
        let Some(text) = value.string() else {
            return Ok(());
        };
        let Some(inner) = json_in(&text) else {
            return Ok(());
        };
        let mut inside = Splice::new(&inner);
        self.value(inner.root(), FieldClass::Unlisted, &mut inside, level + 1)?;
        if !inside.is_empty() {
            splice.replace(value, requote(inside.apply())?);
        }
        Ok(())
    }
}

pub(super) fn requote(json: Vec<u8>) -> Result<Vec<u8>, RewriteError> {
    let text = String::from_utf8(json).map_err(|_| RewriteError::Upstream("not UTF-8"))?;
    Ok(quote(&text))
}

// ---- second pass: verify and read

#[derive(Default)]
struct Found {
    patients: Vec<String>,
    verified: u32,
}

/// Verifies the record and reads the patients, where the rule says that they stand in the result.
fn examine(result: Value<'_>, call: &Call<'_>, workshop: &Workshop) -> Result<Found, RewriteError> {
    let permit = call.permit;
    let record_path = permit
        .record
        .as_ref()
        .filter(|path| path.root == Root::Result);
    let patient_path = permit
        .patient
        .as_ref()
        .filter(|path| path.root == Root::Result);
    if record_path.is_none() && patient_path.is_none() {
        return Ok(Found::default());
    }
    let differ = if record_path.is_some() {
        RewriteError::Integrity("structured content and its text copy differ")
    } else {
        RewriteError::Upstream("structured content and its text copy differ")
    };
    let structured =
        member(result, "structuredContent")?.filter(|value| value.kind() == Kind::Object);
    let text = text_document(result)?;
    let inner = text.as_deref().and_then(json_in);
    let twin = inner
        .as_ref()
        .map(Tree::root)
        .filter(|value| value.kind() == Kind::Object);
    if let (Some(structured), Some(twin)) = (structured, twin) {
        same(structured, twin).then_some(()).ok_or(differ)?;
    }
    let missing = RewriteError::Integrity("no record where the policy names one");
    let Some(root) = structured.or(twin) else {
        return if record_path.is_some() {
            Err(missing)
        } else {
            Ok(Found::default())
        };
    };
    let mut found = Found::default();
    if let Some(path) = record_path {
        found.verified = record::verify(root, path, call.patient, workshop)?;
    }
    if let Some(path) = patient_path {
        found.patients = patients(root, path)?;
    }
    Ok(found)
}

fn patients(root: Value<'_>, path: &Path) -> Result<Vec<String>, RewriteError> {
    let values = root
        .select(&crate::paths::steps(path))
        .map_err(|_| RewriteError::Upstream("duplicate member"))?;
    Ok(values
        .into_iter()
        .filter_map(crate::paths::scalar_text)
        .collect())
}

/// The one text block of a tool result, where there is exactly one.
fn text_document(result: Value<'_>) -> Result<Option<Cow<'_, str>>, RewriteError> {
    let Some(content) = member(result, "content")? else {
        return Ok(None);
    };
    let mut documents = Vec::new();
    for block in content.children() {
        let is_text = member(block, "type")?.and_then(Value::string).as_deref() == Some("text");
        let text = if is_text {
            member(block, "text")?.and_then(Value::string)
        } else {
            None
        };
        documents.extend(
            text.filter(|text| {
                json_in(text).is_some_and(|tree| tree.root().kind() == Kind::Object)
            }),
        );
    }
    let first = documents.pop();
    Ok(if documents.is_empty() { first } else { None })
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

// ---- errors

/// A JSON-RPC error of the upstream: its code stays, its words are text (servers echo what they were sent).
fn error_answer(
    tree: &Tree<'_>,
    call: &Call<'_>,
    _workshop: &Workshop,
    touched: Touched,
) -> Result<RewrittenAnswer, RewriteError> {
    let error =
        member(tree.root(), "error")?.ok_or(RewriteError::Upstream("neither result nor error"))?;
    let mut splice = Splice::new(tree);
    if call.permit.text == TextView::Withhold {
        if let Some(message) = member(error, "message")? {
            splice.replace(message, quote(WITHHELD_TEXT));
        }
        if let Some(data) = member(error, "data")? {
            splice.remove(data);
        }
    }
    Ok(RewrittenAnswer {
        body: splice.apply(),
        touched,
        patients: Vec::new(),
        records_verified: 0,
        failed: true,
    })
}

/// The argument (or URI variable) that names the patient, as text.
///
/// # Errors
/// When the path is ambiguous.
pub fn patient_of_arguments(
    tree: &Tree<'_>,
    arguments: &[&str],
    path: &Path,
) -> Result<Option<String>, RewriteError> {
    let Some(root) = request::locate(tree, arguments)? else {
        return Ok(None);
    };
    let found = root
        .select(&crate::paths::steps(path))
        .map_err(|_| RewriteError::Invalid("duplicate member"))?;
    Ok(found.into_iter().find_map(crate::paths::scalar_text))
}
