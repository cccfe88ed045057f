//! The request's side: what a client says on its way to the upstream.
//!
//! A PHI argument that the caller may reveal is sealed (or passes in clear, where the upstream's storage is clear);
//! one that it may not reveal is refused, unless it is a token that was issued for that very field. An envelope from
//! a client is refused. A record gets its hash and metadata, over its data in clear.
//!
//! What stands beside the arguments (`_meta`, members that no revision knows, in `params` and around it) is judged by
//! its PHI names just the same; only what is named nowhere passes there, for the protocol's own words are among it.

use safeguard_audit::FieldAction;
use safeguard_policy::decide::Permit;
use safeguard_policy::field::{Unlisted, View};
use safeguard_policy::policy::{FieldClass, FieldId, Operation, PURPOSE_MEMBER, Storage};
use safeguard_policy::{Policy, Root};
use safeguard_vault::carry::looks_carried;
use safeguard_vault::search::SearchError;
use safeguard_vault::{Sealer, Wrap, looks_sealed};
use safeguard_wire::json::{Kind, Splice, Tree, Value};
use safeguard_wire::mcp::{self, Part};

use super::inside::{self, Inside};
use super::marks::Marks;
use super::redeem::{Redeemer, normalize};
use super::{Holder, LIMITS, RewriteError, Touched, Workshop, record, rounds};

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
    pub(super) fn now_unix(&self) -> i64 {
        self.now_micros.div_euclid(1_000_000)
    }
}

/// Rewrites the message of a permitted call.
///
/// `path` leads to the arguments, or to `params` where the method takes none (`resources/read`). Prompts take strings
/// only, so their sealed values take the string form.
///
/// # Errors
/// When the caller may not send a value, a record lacks what is hashed, or a value can't be sealed.
pub fn request(
    tree: &Tree<'_>,
    path: &[&str],
    permit: &Permit,
    workshop: &Workshop,
    holder: Holder<'_>,
    stamp: Stamp<'_>,
    strings_only: bool,
) -> Result<RewrittenRequest, RewriteError> {
    let mut touched = Touched::default();
    let redeemer = Redeemer {
        workshop,
        permit,
        holder,
        now_unix: stamp.now_unix(),
    };
    let mut splice = Splice::new(tree);
    let arguments = arguments(tree, path)?;
    let record = permit.record.as_deref();
    let record = record.filter(|path| path.root == Root::Args);
    let records = match (record, arguments) {
        (Some(record), Some(arguments)) => record::select(arguments, record)?,
        _ => Vec::new(),
    };
    let holders = record::holders(&records, &workshop.policy)?;
    let mut walk = Walk {
        holders: &holders,
        ..Walk::new(
            permit,
            workshop,
            (holder, stamp),
            strings_only,
            &mut touched,
        )
    };
    walk.uri(tree)?;
    rounds::open(tree, holder.round, workshop, stamp.now_unix(), &mut splice)?;
    let meant = arguments.map(|arguments| (Root::Args, arguments));
    let marks = Marks::of(tree.root(), meant, &permit.places, &workshop.policy);
    walk.beside(tree, arguments, Standing::beside(&marks), &mut splice)?;
    if let Some(arguments) = arguments {
        walk.container(arguments, Standing::arguments(&marks), &mut splice)?;
    }
    if let Some(params) = locate(tree, &["params"])? {
        walk.responses(tree, params, &mut splice)?;
    }
    // After the walk: of two edits of one value the last is carried out, and these are the sidecar's own.
    if let Some(record) = record {
        let differs = touched.has(FieldAction::Redeemed) || workshop.policy.has_searchable();
        let in_clear = match differs {
            true => redeemer.in_clear(tree, arguments)?,
            false => None,
        };
        let below = match &in_clear {
            Some(text) => Some(parse(text)?),
            None => None,
        };
        let in_clear = match &below {
            Some(tree) => match locate(tree, path)? {
                Some(arguments) => record::select(arguments, record)?,
                None => Vec::new(),
            },
            None => records.clone(),
        };
        record::stamp(
            &records,
            &in_clear,
            holder.patient,
            workshop,
            stamp,
            &mut splice,
        )?;
    }
    let body = (!splice.is_empty()).then(|| splice.apply());
    Ok(RewrittenRequest { body, touched })
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

/// The arguments: an object, or none at all.
fn arguments<'t>(tree: &'t Tree<'_>, path: &[&str]) -> Result<Option<Value<'t>>, RewriteError> {
    if path.last() != Some(&"arguments") {
        return Ok(None);
    }
    match locate(tree, path)? {
        None => Ok(None),
        Some(value) if value.kind() == Kind::Null => Ok(None),
        Some(value) if value.kind() == Kind::Object => Ok(Some(value)),
        Some(_) => Err(RewriteError::Invalid("arguments are an object")),
    }
}

fn parse(text: &[u8]) -> Result<Tree<'_>, RewriteError> {
    Tree::parse(text, &LIMITS).map_err(|_| RewriteError::Invalid("too deep or too large"))
}

/// Where a value stands: what it is judged by if it has no name of its own.
#[derive(Clone, Copy)]
pub(super) struct Standing<'m> {
    /// What the values of this tree mean.
    marks: &'m Marks,
    /// Whether it stands under a name of `not_phi`.
    not_phi: bool,
    /// Whether what is named nowhere is judged, too: in the arguments, not beside them.
    strict: bool,
    /// How deep in text.
    level: u32,
}

impl<'m> Standing<'m> {
    /// Among the arguments.
    pub(super) fn arguments(marks: &'m Marks) -> Self {
        Self {
            marks,
            not_phi: false,
            strict: true,
            level: 0,
        }
    }

    /// Beside them.
    pub(super) fn beside(marks: &'m Marks) -> Self {
        Self {
            strict: false,
            ..Self::arguments(marks)
        }
    }
}

pub(super) struct Walk<'w, 't> {
    permit: &'w Permit,
    /// Where records get their hash: what the client says of their integrity is replaced, not judged.
    holders: &'w [Value<'t>],
    workshop: &'w Workshop,
    wrap: Wrap,
    pub(super) redeemer: Redeemer<'w>,
    now_unix: i64,
    /// One a body, made for the first value.
    sealer: Option<Sealer<'w>>,
    touched: &'w mut Touched,
}

impl<'w, 't> Walk<'w, 't> {
    /// A walk for one message.
    pub(super) fn new(
        permit: &'w Permit,
        workshop: &'w Workshop,
        (holder, stamp): (Holder<'w>, Stamp<'_>),
        strings_only: bool,
        touched: &'w mut Touched,
    ) -> Self {
        let now_unix = stamp.now_unix();
        Self {
            permit,
            holders: &[],
            workshop,
            wrap: if strings_only {
                Wrap::String
            } else {
                workshop.wrap()
            },
            redeemer: Redeemer {
                workshop,
                permit,
                holder,
                now_unix,
            },
            now_unix,
            sealer: None,
            touched,
        }
    }
}

impl Walk<'_, '_> {
    /// A URI is written to logs by every server: no PHI goes up in one, no token and nothing sealed comes in one.
    fn uri(&self, tree: &Tree<'_>) -> Result<(), RewriteError> {
        let uri = locate(tree, &["params", "uri"])?.and_then(Value::string);
        if uri.is_some_and(|uri| holds_opaque(&uri)) {
            return Err(RewriteError::Denied("token_in_uri"));
        }
        for (name, _) in &self.permit.uri_values {
            let FieldClass::Phi(field) = self.workshop.policy.classify(name) else {
                continue;
            };
            if self.permit.views.of(field) != View::Reveal {
                return Err(RewriteError::Denied("field_not_revealed"));
            }
            if !self.is_clear() {
                return Err(RewriteError::Denied("phi_in_uri"));
            }
        }
        Ok(())
    }

    /// What stands in `params` beside the arguments, and beside `params`.
    fn beside<'t>(
        &mut self,
        tree: &'t Tree<'_>,
        arguments: Option<Value<'t>>,
        standing: Standing<'_>,
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        let own = ["jsonrpc", "id", "method"];
        for member in tree.root().children() {
            if own.iter().any(|name| member.is_named(name)) {
                continue;
            }
            if !member.is_named("params") {
                self.child(member, standing, splice)?;
                continue;
            }
            for member in member.children() {
                // What is called is the policy's to judge, and was; the server's state is its own.
                let own = ["name", "uri", "requestState", "inputResponses"];
                let is_own = own.iter().any(|name| member.is_named(name));
                if is_own || Some(member) == arguments {
                    continue;
                }
                if member.is_named("_meta") && member.children().any(|m| self.is_purpose(m)) {
                    let rest = member.children().filter(|child| !self.is_purpose(*child));
                    for child in rest.collect::<Vec<_>>() {
                        self.child(child, standing, splice)?;
                    }
                    continue;
                }
                self.child(member, standing, splice)?;
            }
        }
        Ok(())
    }

    /// Whether a member of `_meta` names the call's purpose, by a word of the policy's.
    fn is_purpose(&self, member: Value<'_>) -> bool {
        let policy = &self.workshop.policy;
        policy.takes_purpose_of_calls()
            && member.is_named(PURPOSE_MEMBER)
            && member
                .string()
                .is_some_and(|word| policy.has_purpose(&word))
    }

    /// What a person or a model answered the server (`inputResponses`): theirs are arguments like any other, the
    /// protocol's own words around them are not.
    fn responses<'t>(
        &mut self,
        tree: &'t Tree<'_>,
        params: Value<'t>,
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        if params
            .get("inputResponses")
            .map_err(|_| RewriteError::Invalid("duplicate member"))?
            .is_none()
        {
            return Ok(());
        }
        let method = locate(tree, &["method"])?.and_then(Value::string);
        let places = mcp::request(&method.unwrap_or_default(), params)
            .map_err(|_| RewriteError::Invalid("duplicate member"))?;
        let answers: Vec<_> = places
            .into_iter()
            .filter(|place| place.part == Part::Answer)
            .collect();
        // A form's values are typed: what is sealed in one stays a text.
        let of_arguments = (self.wrap, self.sealer.take());
        self.wrap = Wrap::String;
        let judged = self.places(&answers, splice);
        (self.wrap, self.sealer) = of_arguments;
        judged
    }

    pub(super) fn container<'t>(
        &mut self,
        container: Value<'t>,
        standing: Standing<'_>,
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        let in_record = self
            .holders
            .binary_search_by_key(&container.index(), |holder| holder.index())
            .is_ok();
        let in_record = in_record && standing.strict && standing.level == 0;
        for child in container.children() {
            if in_record
                && child
                    .key()
                    .is_some_and(|name| Policy::is_integrity_member(&name))
            {
                continue;
            }
            if child.is_named("_encrypted") {
                return Err(RewriteError::Denied("envelope_from_client"));
            }
            self.child(child, standing, splice)?;
        }
        Ok(())
    }

    pub(super) fn child<'t>(
        &mut self,
        child: Value<'t>,
        standing: Standing<'_>,
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        let inherited = if standing.not_phi {
            FieldClass::NotPhi
        } else {
            FieldClass::Unlisted
        };
        let policy = &self.workshop.policy;
        let not_phi = match standing.marks.class(child, inherited, policy) {
            FieldClass::Phi(field) => return self.phi(child, field, splice),
            class => class == FieldClass::NotPhi,
        };
        self.plain(
            child,
            Standing {
                not_phi,
                ..standing
            },
            splice,
        )
    }

    pub(super) fn phi<'t>(
        &mut self,
        value: Value<'t>,
        field: FieldId,
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        if value.descendants().any(is_sealed) {
            return Err(RewriteError::Denied("envelope_from_client"));
        }
        if let Some(plain) = self.redeemer.carried(value, field)? {
            self.touched.add(field, FieldAction::Redeemed);
            if self.is_clear() {
                splice.replace(value, plain.expose().as_bytes());
                return Ok(());
            }
            return self.seal(value, field, plain.expose().as_bytes(), splice);
        }
        if self.permit.views.of(field) != View::Reveal {
            return Err(RewriteError::Denied("field_not_revealed"));
        }
        if self.is_clear() {
            self.touched.add(field, FieldAction::Revealed);
            return Ok(());
        }
        self.seal(value, field, value.raw(), splice)
    }

    /// Whether the server holds what it is called with in clear: all of them, or this tool's by an exception.
    fn is_clear(&self) -> bool {
        self.permit.clear || self.workshop.policy.phi().storage == Storage::Clear
    }

    fn seal<'t>(
        &mut self,
        value: Value<'t>,
        field: FieldId,
        plain: &[u8],
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        let policy = &self.workshop.policy;
        let name = policy.field_name(field);
        self.redeemer.holder.alive(policy)?;
        if let Some(how) = policy.searchable(field) {
            let searcher = &self.workshop.searcher;
            let sealed = splice.replace_with(value, |out| {
                searcher.seal_into(name, plain, normalize(how), Wrap::String, out)
            });
            match sealed {
                Ok(()) => {
                    self.touched.add(field, FieldAction::Sealed);
                    return Ok(());
                }
                // A list or a text that is no number has no form to search by: it is sealed like any other.
                Err(SearchError::NotSearchable | SearchError::TooLong) => {}
                Err(_) => return Err(RewriteError::Vault("sealed")),
            }
        }
        let patient = self.redeemer.holder.sealed_for(policy, "sealed")?;
        let sealer = match &mut self.sealer {
            Some(sealer) => sealer,
            none => {
                let holder = self.redeemer.holder;
                none.insert(self.workshop.sealer(holder, self.wrap, self.now_unix)?)
            }
        };
        splice
            .replace_with(value, |out| sealer.seal(name, patient, plain, out))
            .map_err(|_| RewriteError::Vault("sealed"))?;
        self.touched.add(field, FieldAction::Sealed);
        Ok(())
    }

    pub(super) fn plain<'t>(
        &mut self,
        value: Value<'t>,
        standing: Standing<'_>,
        splice: &mut Splice<'t>,
    ) -> Result<(), RewriteError> {
        match value.kind() {
            Kind::Object | Kind::Array => return self.container(value, standing, splice),
            Kind::String if is_sealed(value) => {
                return Err(RewriteError::Denied("envelope_from_client"));
            }
            Kind::String => {
                let below = Standing {
                    level: standing.level + 1,
                    ..standing
                };
                let redeemer = self.redeemer;
                let inner = inside::enter(value, standing.level, |root, inner| {
                    let marks = redeemer.marks(root, false);
                    let below = Standing {
                        marks: &marks,
                        ..below
                    };
                    self.container(root, below, inner)
                })?;
                match inner {
                    Inside::Judged(Some(text)) => splice.replace(value, text),
                    Inside::Judged(None) => {}
                    Inside::Unreadable => {
                        return Err(RewriteError::Denied("unreadable_json_in_text"));
                    }
                    Inside::Prose => return self.scalar(value, standing),
                }
                return Ok(());
            }
            Kind::Null | Kind::Bool | Kind::Number => {}
        }
        self.scalar(value, standing)
    }

    /// Whether a leaf looks like an identifier, by itself or with its name before it; what can't be read may be one.
    fn identifies(&self, value: Value<'_>) -> bool {
        let text = match value.kind() {
            Kind::Null | Kind::Bool => return false,
            Kind::String => match value.string() {
                Some(text) => text.into_owned(),
                None => return true,
            },
            Kind::Number | Kind::Array | Kind::Object => {
                String::from_utf8_lossy(value.raw()).into_owned()
            }
        };
        let name = value.key().unwrap_or_default().replace(['_', '-'], " ");
        let prose = &self.workshop.prose;
        prose.identifies(&text) || prose.identifies(&format!("{name}: {text}"))
    }

    /// A leaf that is named nowhere follows `unlisted.arguments`.
    pub(super) fn scalar(
        &self,
        value: Value<'_>,
        standing: Standing<'_>,
    ) -> Result<(), RewriteError> {
        if standing.not_phi || !standing.strict {
            return Ok(());
        }
        let views = &self.permit.views;
        // A reader was shown null for what it may not see; writing that null back would erase the value.
        if value.kind() == Kind::Null
            && self.permit.operation == Operation::Update
            && views.unlisted_results() == Unlisted::Withhold
        {
            return Err(RewriteError::Denied("null_for_withheld"));
        }
        match views.unlisted_arguments() {
            Unlisted::Reveal => Ok(()),
            Unlisted::Withhold => Err(RewriteError::Denied("argument_not_listed")),
            Unlisted::Detect if self.identifies(value) => {
                Err(RewriteError::Denied("argument_looks_like_an_identifier"))
            }
            Unlisted::Detect => Ok(()),
        }
    }
}

/// Whether a value claims to be sealed: a member of an envelope, or a string that begins like a sealed value.
fn is_sealed(value: Value<'_>) -> bool {
    value.is_named("_encrypted") || value.string().is_some_and(|text| looks_sealed(&text))
}

/// Whether a sealed value or an agent's token stands anywhere in a URI, percent-encoded or not.
pub(super) fn holds_opaque(uri: &str) -> bool {
    let decoded = percent_encoding::percent_decode_str(uri).decode_utf8_lossy();
    [uri, decoded.as_ref()].iter().any(|text| {
        let mut rests = text.char_indices().filter_map(|(at, _)| text.get(at..));
        rests.any(|rest| looks_carried(rest) || looks_sealed(rest))
    })
}
