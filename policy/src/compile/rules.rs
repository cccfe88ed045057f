//! `tools`, `resources`, `prompts`: rules with their names resolved.

use std::collections::HashMap;
use std::sync::Arc;

use super::fields::Fields;
use super::phi::{binary_view, text_view};
use super::roles::Roles;
use super::{limits, patterns};
use crate::cel::Condition;
use crate::document::keys::{Key, RULE, TOOL};
use crate::document::read::Section;
use crate::document::report::Report;
use crate::document::tree::{Entry, Node, Place, Scalar};
use crate::field::{BinaryView, TextView};
use crate::finding::codes;
use crate::method::RuledMethod;
use crate::path::{Path, Root, Step};
use crate::place::FieldPlace;
use crate::policy::{FieldClass, Grant, Operation, Phi, RoleSet, Rule, StepUp};
use crate::template::Template;
use crate::tools::{Pattern, Tools};

#[derive(Default)]
pub(super) struct Rules {
    pub tools: Tools,
    pub prompts: HashMap<String, Grant>,
    pub resources: Vec<(Template, Grant)>,
    pub methods: HashMap<&'static str, Grant>,
}

/// What a rule is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'t> {
    Tool,
    Prompt,
    Resource(&'t Template),
    Method(&'static RuledMethod),
}

pub(super) fn rules(
    root: Section<'_>,
    roles: &Roles,
    phi: &Phi,
    fields: &Fields,
    report: &mut Report<'_>,
) -> Rules {
    let mut rules = Rules::default();
    for entry in root.named("tools") {
        let reader = Reader::new("tools", entry, TOOL, Kind::Tool, (roles, fields));
        let Some(grant) = reader.grant(phi, report) else {
            continue;
        };
        if Pattern::is_one(&entry.name) {
            patterns::add(entry, grant, &mut rules.tools.patterns, report);
        } else {
            rules.tools.named.insert(entry.name.clone(), grant);
        }
    }
    for entry in root.named("prompts") {
        let reader = Reader::new("prompts", entry, RULE, Kind::Prompt, (roles, fields));
        rules
            .prompts
            .extend(reader.grant(phi, report).map(|g| (entry.name.clone(), g)));
    }
    for entry in root.named("resources") {
        resource(entry, (roles, fields), phi, &mut rules.resources, report);
    }
    rules.methods = super::methods::methods(root, (roles, fields), phi, report);
    rules
}

fn resource(
    entry: &Entry,
    names: (&Roles, &Fields),
    phi: &Phi,
    known: &mut Vec<(Template, Grant)>,
    report: &mut Report<'_>,
) {
    let template = match Template::parse(&entry.name) {
        Ok(template) => template,
        Err(error) => {
            report
                .error(
                    codes::BAD_TEMPLATE,
                    entry.place,
                    format!("`{}` is no URI template: {error}", entry.name),
                )
                .fix("write it as patient://{id}/summary");
            return;
        }
    };
    if known.iter().any(|(t, _)| t.same_shape(&entry.name)) {
        report
            .error(
                codes::NAME_CLASH,
                entry.place,
                format!("`{}` matches the same as another resource", entry.name),
            )
            .fix("keep one of them");
    }
    let reader = Reader::new("resources", entry, RULE, Kind::Resource(&template), names);
    if let Some(grant) = reader.grant(phi, report) {
        known.push((template, grant));
    }
}

pub(super) struct Reader<'t> {
    pub(super) name: String,
    place: Place,
    pub(super) section: Section<'t>,
    pub(super) kind: Kind<'t>,
    roles: &'t Roles,
    pub(super) fields: &'t Fields,
}

impl<'t> Reader<'t> {
    pub(super) fn new(
        of: &str,
        entry: &'t Entry,
        keys: &'static [Key],
        kind: Kind<'t>,
        (roles, fields): (&'t Roles, &'t Fields),
    ) -> Self {
        Self {
            name: format!("{of}.{}", entry.name),
            place: entry.place,
            section: Section::new(&entry.value, keys),
            kind,
            roles,
            fields,
        }
    }

    fn grant(&self, phi: &Phi, report: &mut Report<'_>) -> Option<Grant> {
        let operation = self.section.text("operation").and_then(Operation::parse);
        let roles = self.roles(operation, report);
        let patient = self.patient(operation, report);
        let record = self.record(operation, report);
        let when = self.when(report);
        let step_up = self.step_up(report);
        let operation = operation?;
        let none = operation == Operation::None;
        let text = match self.section.text("text") {
            Some(word) => text_view(word),
            None if none => TextView::Reveal,
            None => phi.text,
        };
        let binary = match self.section.text("binary") {
            Some(word) => binary_view(word),
            None if none => BinaryView::Reveal,
            None => phi.binary,
        };
        if !none {
            self.bound(phi, patient.as_ref(), report);
        }
        let about = limits::About {
            operation,
            patient: patient.as_ref(),
            shows_all: text != TextView::Withhold || binary != BinaryView::Withhold,
        };
        let limits = self.limits(&about, report);
        Some(Grant {
            rule: self.rule(report),
            operation,
            roles,
            patient: patient.map(Arc::new),
            record: record.map(Arc::new),
            text,
            binary,
            places: self.places(report).into(),
            when,
            step_up,
            event: self.section.text("event").map(Arc::from),
            max_patients: limits.max_patients,
            only_patients: limits.only_patients,
            recipient: limits.recipient.map(Arc::new),
            clear_until: None,
        })
    }

    pub(super) fn rule(&self, report: &Report<'_>) -> Rule {
        Rule {
            name: Arc::from(self.name.as_str()),
            file: Arc::from(report.file(self.place)),
            line: self.place.line,
        }
    }

    /// A tool's own meaning of places.
    fn places(&self, report: &mut Report<'_>) -> Vec<FieldPlace> {
        if self.kind != Kind::Tool {
            return Vec::new();
        }
        let mut places = Vec::new();
        for entry in self.section.named("fields") {
            let class = match entry.value.text() {
                None => continue,
                Some("not_phi") => Some(FieldClass::NotPhi),
                Some(name) => self.fields.aliased(name).map(FieldClass::Phi),
            };
            let Some(class) = class else {
                report
                    .error(
                        codes::UNDEFINED_FIELD,
                        entry.value.place,
                        format!("`{}` is no field", entry.value.shown()),
                    )
                    .meant(self.fields.suggest(entry.value.shown()))
                    .fix("write a field's name, or not_phi");
                continue;
            };
            match FieldPlace::of_tool(&entry.name, class) {
                Ok(place) => places.push(place),
                Err(error) => {
                    report
                        .error(
                            codes::BAD_PATH,
                            entry.place,
                            format!(
                                "`{}.fields.{}` names no place: {error}",
                                self.name, entry.name
                            ),
                        )
                        .fix("write it as result.value or args.rows[*].value");
                }
            }
        }
        places
    }

    /// What is bound to a patient needs one that is known before anything is sealed or opened.
    pub(super) fn bound(&self, phi: &Phi, patient: Option<&Path>, report: &mut Report<'_>) {
        let wanted = match (phi.bind_patient, phi.tokens.bind_patient) {
            (true, _) => "phi.bind",
            (false, true) => "phi.tokens.bind",
            (false, false) => return,
        };
        if patient.is_some_and(|path| path.root != Root::Result) {
            return;
        }
        let place = self.section.place_of("patient");
        report
            .error(
                codes::CONTRADICTION,
                place,
                format!("`{}` does not know its patient before the answer, and `{wanted}` binds to the patient", self.name),
            )
            .fix("name the patient by args, uri or claims, or bind to no patient");
    }

    pub(super) fn roles(&self, operation: Option<Operation>, report: &mut Report<'_>) -> RoleSet {
        let Some(node) = self.section.node_of("roles") else {
            return 0;
        };
        if node.text() == Some("any") {
            return self.roles.all();
        }
        let mut set = 0;
        for item in node.items() {
            let Some(name) = item.text() else { continue };
            match self.roles.number(name) {
                Some(number) => set |= 1 << number,
                None => {
                    report
                        .error(
                            codes::UNDEFINED_ROLE,
                            item.place,
                            format!("`{}` is no role", item.shown()),
                        )
                        .meant(self.roles.suggest(item.shown()));
                }
            }
        }
        let useful = |(n, role): (usize, &crate::policy::Role)| {
            set & (1 << n) != 0 && !role.purposes.is_empty()
        };
        let none = operation == Some(Operation::None);
        let dead = set == 0 || !none && !self.roles.list.iter().enumerate().any(useful);
        if dead && !report.has_errors_at(node) {
            report
                .warning(
                    codes::DEAD_RULE,
                    node.place,
                    format!("`{}` permits nobody", self.name),
                )
                .fix("name a role that has a purpose, or remove the rule");
        }
        set
    }

    pub(super) fn patient(
        &self,
        operation: Option<Operation>,
        report: &mut Report<'_>,
    ) -> Option<Path> {
        let touches = operation.is_some_and(|o| o != Operation::None);
        let Some(node) = self.section.node_of("patient") else {
            if touches && self.says_patient() {
                report
                    .error(
                        codes::MISSING_KEY,
                        self.section.place(),
                        format!("`{}.patient` is missing", self.name),
                    )
                    .fix("name whose record it touches, as in args.patient_id");
            }
            return None;
        };
        if node.text()? == "none" {
            if touches && self.says_patient() {
                report
                    .warning(
                        codes::NO_PATIENT,
                        node.place,
                        format!(
                            "`{}` touches PHI of no patient: its accesses are recorded without one",
                            self.name
                        ),
                    )
                    .fix("name whose record it touches, or write operation: none");
            }
            return None;
        }
        let path = self.path(node, report)?;
        let allowed: &[Root] = match self.kind {
            Kind::Tool if matches!(operation, Some(Operation::Update | Operation::Delete)) => {
                &[Root::Args, Root::Claims]
            }
            Kind::Tool => &[Root::Args, Root::Result, Root::Claims],
            Kind::Prompt | Kind::Method(_) => &[Root::Args, Root::Claims],
            Kind::Resource(_) => &[Root::Uri, Root::Result, Root::Claims],
        };
        self.root(&path, node, "patient", allowed, report)?;
        touches.then_some(path)
    }

    /// Whether nothing but this rule can say whose record is touched.
    fn says_patient(&self) -> bool {
        match self.kind {
            Kind::Method(method) => method.names_patient,
            Kind::Tool | Kind::Prompt | Kind::Resource(_) => true,
        }
    }

    fn record(&self, operation: Option<Operation>, report: &mut Report<'_>) -> Option<Path> {
        let node = self.section.node_of("record")?;
        let path = self.path(node, report)?;
        let allowed: &[Root] = match (operation?, self.kind) {
            (_, Kind::Prompt | Kind::Method(_)) | (Operation::None | Operation::Delete, _) => &[],
            (Operation::Create | Operation::Update, Kind::Tool) => &[Root::Args],
            _ => &[Root::Result],
        };
        if allowed.is_empty() {
            report
                .error(
                    codes::CONTRADICTION,
                    node.place,
                    format!(
                        "`{}` has no record that could be hashed or verified",
                        self.name
                    ),
                )
                .fix("remove record: it goes with tools that read or write one");
            return None;
        }
        self.root(&path, node, "record", allowed, report)?;
        Some(path)
    }

    pub(super) fn path(&self, node: &Node, report: &mut Report<'_>) -> Option<Path> {
        match Path::parse(node.text()?) {
            Ok(path) => Some(path),
            Err(error) => {
                report
                    .error(
                        codes::BAD_PATH,
                        node.place,
                        format!("`{}`: {error}", self.name),
                    )
                    .fix("write it as args.patient_id or result.patients[*].patient_id");
                None
            }
        }
    }

    /// Whether a path begins where it may, and a `uri` variable exists.
    pub(super) fn root(
        &self,
        path: &Path,
        node: &Node,
        what: &str,
        allowed: &[Root],
        report: &mut Report<'_>,
    ) -> Option<()> {
        if !allowed.contains(&path.root) {
            let words: Vec<&str> = allowed.iter().map(|r| r.as_str()).collect();
            report
                .error(
                    codes::BAD_PATH,
                    node.place,
                    format!(
                        "`{}.{what}` cannot begin with {}",
                        self.name,
                        path.root.as_str()
                    ),
                )
                .fix(format!("begin it with {}", words.join(" or ")));
            return None;
        }
        let Kind::Resource(template) = self.kind else {
            return Some(());
        };
        if path.root != Root::Uri {
            return Some(());
        }
        let known = match path.steps.as_slice() {
            [Step::Member(name)] => template.variables().any(|v| v == name),
            _ => false,
        };
        if !known {
            let names: Vec<&str> = template.variables().collect();
            report
                .error(
                    codes::BAD_PATH,
                    node.place,
                    format!(
                        "`{}.{what}` names no variable of the URI template",
                        self.name
                    ),
                )
                .fix(format!("it has: {}", names.join(", ")));
        }
        known.then_some(())
    }

    pub(super) fn when(&self, report: &mut Report<'_>) -> Option<Condition> {
        let node = self.section.node_of("when")?;
        let text = node.text()?;
        match Condition::compile(text) {
            Ok(condition) => {
                let absent = match self.kind {
                    Kind::Resource(_) => "args",
                    _ => "uri",
                };
                if condition.reads(absent) {
                    report
                        .error(
                            codes::BAD_CONDITION,
                            node.place,
                            format!(
                                "`{}.when` reads {absent}, which this rule does not have",
                                self.name
                            ),
                        )
                        .fix("tools, prompts and methods have args, resources have uri, all have claims");
                }
                Some(condition)
            }
            Err(error) => {
                let place = within(node, error.at, report);
                // What a variable put in is not repeated.
                let why = match node.scalar().is_some_and(Scalar::is_foreign) {
                    true => String::new(),
                    false => format!(": {error}"),
                };
                report.error(
                    codes::BAD_CONDITION,
                    place,
                    format!("`{}.when` does not compile{why}", self.name),
                );
                None
            }
        }
    }

    pub(super) fn step_up(&self, report: &mut Report<'_>) -> Option<StepUp> {
        let section = self.section.section("step_up");
        if !section.is_written() {
            return None;
        }
        let step_up = StepUp {
            max_age: section.number("max_age"),
            acr: section.owned("acr"),
        };
        if step_up == StepUp::default() && section.entry_of("max_age").is_none() {
            report
                .error(
                    codes::BAD_VALUE,
                    section.place(),
                    format!("`{}.step_up` asks for nothing", self.name),
                )
                .fix("write { max_age: 300 }, or remove it");
        }
        Some(step_up)
    }
}

/// The place of a character within a scalar that stands on one line without escapes; else the scalar's.
fn within(node: &Node, at: usize, report: &Report<'_>) -> Place {
    let Some(scalar) = node.scalar().filter(|s| !s.is_foreign()) else {
        return node.place;
    };
    let quote = usize::from(!scalar.plain);
    if !report.holds(node.place, quote, &scalar.written) {
        return node.place;
    }
    Place {
        column: node
            .place
            .column
            .saturating_add(u32::try_from(quote + at).unwrap_or(0)),
        width: 1,
        ..node.place
    }
}
