//! From a value and what is due in it to places.

use std::borrow::Cow;

use super::schema::SCHEMA;
use super::words::{self, WORD_BYTES_MAX};
use super::{Part, Place, Places, Shape, requests};
use crate::json::{DuplicateMember, Kind, Value};

/// What is due in a place.
#[derive(Clone, Copy)]
pub(super) enum Role {
    /// JSON under a name of the protocol's.
    Json,
    /// JSON, or free text if it is a string.
    JsonOrText,
    /// JSON under a name of the sender's.
    Unknown,
    Text,
    Texts,
    Blob,
    Uri,
    Uris,
    /// A string or number that the sender only wants to get back: ids, cursors.
    Token,
    Tokens,
    /// One of the protocol's words.
    Word(&'static [&'static str]),
    /// One, or an array of them.
    Words(&'static [&'static str]),
    MediaType,
    Time,
    TraceParent,
    /// An array of names of members.
    Names,
    Sizes,
    Number,
    Flag,
    /// Objects in each other whose leaves are flags.
    Flags,
    /// An object of this kind.
    Members(Table),
    /// An array of such objects, or one alone.
    Items(Table),
    /// An object whose members are such objects, under names that only connect.
    Map(Table),
    /// An object whose members are schemas, under the names of what they describe.
    Schemas,
    /// The client's answer to a question of unknown method.
    Answer,
    /// An object whose members are such answers, under names that only connect.
    Answers,
    /// Due as the second, in this part of the message.
    In(Part, &'static Role),
    /// Looked at by another function.
    Elsewhere,
}

/// A kind of object: what its members are, by name.
#[derive(Clone, Copy)]
pub(super) struct Table {
    pub(super) role: fn(&str) -> Role,
    /// Whether such an object is the block of the places in it.
    pub(super) block: bool,
    /// Whether its member `name` says what the others are about.
    pub(super) subject: bool,
}

impl Table {
    pub(super) const fn of(role: fn(&str) -> Role) -> Self {
        Self {
            role,
            block: false,
            subject: false,
        }
    }
}

/// A value still to be looked at.
#[derive(Clone)]
struct Pending<'t> {
    value: Value<'t>,
    role: Role,
    part: Part,
    subject: Option<Cow<'t, str>>,
    block: Option<Value<'t>>,
    mime: Option<Cow<'t, str>>,
}

/// Walks from `value` down, with a list in place of recursion: blocks may hold blocks.
pub(super) fn walk(value: Value<'_>, role: Role, part: Part) -> Places<'_> {
    let mut places = Vec::with_capacity(8);
    let mut pending = Vec::with_capacity(8);
    pending.push(Pending {
        value,
        role,
        part,
        subject: None,
        block: None,
        mime: None,
    });
    while let Some(mut here) = pending.pop() {
        while let Role::In(part, inner) = here.role {
            here.part = part;
            here.role = *inner;
        }
        step(here, &mut pending, &mut places)?;
    }
    places.sort_unstable_by_key(|place| place.value.index());
    Ok(places)
}

fn step<'t>(
    here: Pending<'t>,
    pending: &mut Vec<Pending<'t>>,
    places: &mut Vec<Place<'t>>,
) -> Result<(), DuplicateMember> {
    let kind = here.value.kind();
    match (here.role, kind) {
        (Role::Elsewhere, _) => {}
        (Role::Members(table), Kind::Object) => members(&here, table, pending)?,
        (Role::Items(table), Kind::Array) => each(&here, Role::Members(table), pending),
        (Role::Map(table), Kind::Object) => each(&here, Role::Members(table), pending),
        (Role::Answers, Kind::Object) => each(&here, Role::Answer, pending),
        (Role::Schemas, Kind::Object) => {
            pending.extend(here.value.children().map(|value| Pending {
                value,
                role: Role::Members(SCHEMA),
                subject: value.key().filter(|name| name.len() <= WORD_BYTES_MAX),
                ..here.clone()
            }));
        }
        (Role::Texts, Kind::Array) => each(&here, Role::Text, pending),
        (Role::Uris, Kind::Array) => each(&here, Role::Uri, pending),
        (Role::Tokens, Kind::Array) => each(&here, Role::Token, pending),
        (Role::Items(table), _) => again(here, Role::Members(table), pending),
        (Role::Texts, _) => again(here, Role::Text, pending),
        (Role::Uris, _) => again(here, Role::Uri, pending),
        (Role::Tokens, _) => again(here, Role::Token, pending),
        (Role::Answer, _) => {
            let table = requests::answer_table(here.value)?;
            again(here, Role::Members(table), pending);
        }
        (role, _) => places.push(place(here, role)),
    }
    Ok(())
}

fn again<'t>(here: Pending<'t>, role: Role, pending: &mut Vec<Pending<'t>>) {
    pending.push(Pending { role, ..here });
}

fn each<'t>(here: &Pending<'t>, role: Role, pending: &mut Vec<Pending<'t>>) {
    pending.extend(here.value.children().map(|value| Pending {
        value,
        role,
        ..here.clone()
    }));
}

fn members<'t>(
    here: &Pending<'t>,
    table: Table,
    pending: &mut Vec<Pending<'t>>,
) -> Result<(), DuplicateMember> {
    let object = here.value;
    let block = if table.block {
        Some(object)
    } else {
        here.block
    };
    // Every place in here gets a copy: one that is too long to be a name or a media type must not be multiplied.
    let short = |name| -> Result<_, DuplicateMember> {
        let text = object.get(name)?.and_then(Value::string);
        Ok(text.filter(|text| text.len() <= WORD_BYTES_MAX))
    };
    let mime = short("mimeType")?;
    let subject = match table.subject {
        true => short("name")?,
        false => here.subject.clone(),
    };
    for value in object.children() {
        let role = value
            .key()
            .map_or(Role::Unknown, |name| (table.role)(&name));
        pending.push(Pending {
            value,
            role,
            part: here.part,
            subject: subject.clone(),
            block,
            mime: mime.clone(),
        });
    }
    Ok(())
}

/// A value that is not walked into. One of the wrong kind is text if it can be, else judged by its members and name.
fn place(here: Pending<'_>, role: Role) -> Place<'_> {
    let is_string = here.value.kind() == Kind::String;
    let (shape, named) = match role {
        Role::Text if is_string => (Shape::Text, false),
        Role::Blob if is_string => (Shape::Blob, false),
        Role::Uri if is_string => (Shape::Uri, false),
        Role::JsonOrText if is_string => (Shape::Text, false),
        Role::Json | Role::JsonOrText => (Shape::Json, false),
        Role::Unknown => (Shape::Json, true),
        _ if is_structure(here.value, role) => (Shape::Opaque, false),
        _ if is_string => (Shape::Text, false),
        _ => (Shape::Json, true),
    };
    Place {
        value: here.value,
        shape,
        part: here.part,
        named,
        subject: here.subject,
        block: here.block,
        mime: here.mime,
    }
}

/// Whether a value is the structure that is due. Null stands for a member that is not there.
fn is_structure(value: Value<'_>, role: Role) -> bool {
    match (role, value.kind()) {
        (_, Kind::Null) => true,
        (Role::Token, Kind::String | Kind::Number) => true,
        (Role::Number, Kind::Number) | (Role::Flag, Kind::Bool) => true,
        (Role::Word(words), _) => words::is_one_of(value, words),
        (Role::Words(words), _) => words::are_of(value, words),
        (Role::MediaType, _) => words::is_media_type(value),
        (Role::Time, _) => words::is_time(value),
        (Role::TraceParent, _) => words::is_trace_parent(value),
        (Role::Names, _) => words::are_names(value),
        (Role::Sizes, _) => words::are_sizes(value),
        (Role::Flags, _) => words::are_flags(value),
        _ => false,
    }
}
