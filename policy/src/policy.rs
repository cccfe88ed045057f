//! The compiled policy: names resolved to numbers, ready to be asked.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use crate::cel::Condition;
use crate::emergency::Emergency;
use crate::exceptions::Exception;
use crate::field::{BinaryView, TextView, View, Views};
use crate::names::{fold, folded_ascii};
use crate::path::Path;
pub use crate::phi::{
    Detection, FernetReading, Format, Integrity, IntegrityVersion, Normalize, PatientKeys, Pattern,
    Phi, Storage, Tokens, Wrap,
};
use crate::place::{FieldPlace, Places};
use crate::template::Template;
use crate::tools::Tools;

/// A PHI field of this policy, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldId(pub(crate) u16);

impl FieldId {
    /// The number, counted from 0 in the order of the configuration.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What a member name means to the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldClass {
    /// A PHI field.
    Phi(FieldId),
    /// Reviewed: whoever may call may see it.
    NotPhi,
    /// Named nowhere.
    Unlisted,
}

/// What a tool does with PHI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// It has nothing to do with PHI: no purpose, no patient.
    None,
    /// Finds patients; audited as a read.
    Search,
    /// Reads.
    Read,
    /// Writes something new.
    Create,
    /// Changes.
    Update,
    /// Removes.
    Delete,
    /// Hands much out.
    Export,
}

impl Operation {
    /// The words of the configuration, in the order of the contract.
    pub const WORDS: &'static [&'static str] = &[
        "none", "search", "read", "create", "update", "delete", "export",
    ];

    /// The word of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Search => "search",
            Self::Read => "read",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Export => "export",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "none" => Self::None,
            "search" => Self::Search,
            "read" => Self::Read,
            "create" => Self::Create,
            "update" => Self::Update,
            "delete" => Self::Delete,
            "export" => Self::Export,
            _ => return None,
        })
    }

    /// Whether it changes what the upstream holds.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Delete)
    }
}

/// What a rule stands on: its name and where it is written. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `tools.read_record`, `resources.patient://{id}/summary`, `prompts.x`, `methods.x`
    pub name: Arc<str>,
    /// The source's name; empty for what is built in.
    pub file: Arc<str>,
    /// From 1; 0 for what is built in.
    pub line: u32,
}

/// A second step that a rule asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepUp {
    /// The oldest authentication that serves, in seconds.
    pub max_age: Option<u32>,
    /// The `acr` that serves.
    pub acr: Option<String>,
}

/// A set of roles, a bit each.
pub(crate) type RoleSet = u128;

#[derive(Debug)]
pub(crate) struct Role {
    pub name: Arc<str>,
    pub purposes: Vec<Arc<str>>,
    pub views: Box<[View]>,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub name: Arc<str>,
    pub certificates: Vec<String>,
    pub at_most: Option<usize>,
    /// Whoever shows no certificate.
    pub without_certificate: bool,
    /// Its tokens are bound to a key.
    pub dpop: bool,
    /// Software without a person, and nobody else.
    pub service: bool,
    /// The only roles that count here.
    pub roles: Option<RoleSet>,
}

/// Everything a rule says, names resolved.
#[derive(Debug)]
pub(crate) struct Grant {
    pub rule: Rule,
    pub operation: Operation,
    pub roles: RoleSet,
    pub patient: Option<Arc<Path>>,
    pub record: Option<Arc<Path>>,
    pub text: TextView,
    pub binary: BinaryView,
    /// This tool's own meaning of places.
    pub places: Arc<[FieldPlace]>,
    pub when: Option<Condition>,
    pub step_up: Option<StepUp>,
    pub event: Option<Arc<str>>,
    /// How many patients one answer may hold.
    pub max_patients: Option<u32>,
    /// The claim that names the only patients whom a call may be about.
    pub only_patients: Option<Path>,
    /// Where the call says who receives what it exports.
    pub recipient: Option<Arc<Path>>,
    /// The end of the exception by which its server holds arguments in clear, in seconds since the epoch.
    pub clear_until: Option<i64>,
}

/// Classes by folded name: those of one length stand together, sorted. Most names of a message are told apart from the
/// few that the policy knows by their length alone, and every name of every message is asked for.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    by_length: Vec<Vec<(Box<[u8]>, FieldClass)>>,
}

impl FromIterator<(Box<[u8]>, FieldClass)> for Classes {
    fn from_iter<I: IntoIterator<Item = (Box<[u8]>, FieldClass)>>(names: I) -> Self {
        let mut by_length: Vec<Vec<(Box<[u8]>, FieldClass)>> = Vec::new();
        for (name, class) in names {
            if by_length.len() <= name.len() {
                by_length.resize_with(name.len() + 1, Vec::new);
            }
            if let Some(alike) = by_length.get_mut(name.len()) {
                alike.push((name, class));
            }
        }
        for alike in &mut by_length {
            alike.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        }
        Self { by_length }
    }
}

impl Classes {
    /// The class of a name as a message has it.
    fn of(&self, name: &str) -> FieldClass {
        if name.is_ascii() {
            return self.find(folded_ascii(name).count(), || folded_ascii(name));
        }
        let folded = fold(name);
        let bytes = folded.as_bytes();
        self.find(bytes.len(), || bytes.iter().copied())
    }

    fn find<I: Iterator<Item = u8>>(&self, length: usize, folded: impl Fn() -> I) -> FieldClass {
        let alike = self.by_length.get(length);
        let alike = alike.map_or(&[][..], Vec::as_slice);
        alike
            .binary_search_by(|(name, _)| name.iter().copied().cmp(folded()))
            .ok()
            .and_then(|place| alike.get(place))
            .map_or(FieldClass::Unlisted, |(_, class)| *class)
    }
}

/// Who may see what.
#[derive(Debug)]
pub struct Policy {
    pub(crate) phi: Phi,
    pub(crate) field_names: Vec<String>,
    pub(crate) groups: Vec<Option<String>>,
    /// All names and places of each field, as written.
    pub(crate) names: Vec<Vec<String>>,
    /// Where each field is written.
    pub(crate) told: Vec<String>,
    /// Names and places of what is no PHI, as written.
    pub(crate) not_phi: Vec<String>,
    pub(crate) classes: Classes,
    pub(crate) places: Places,
    pub(crate) searchable: Vec<Option<Normalize>>,
    pub(crate) integrity: Integrity,
    pub(crate) roles: Vec<Role>,
    pub(crate) role_numbers: HashMap<String, usize>,
    pub(crate) clients: Vec<Client>,
    pub(crate) client_certificates: bool,
    pub(crate) second_factor: bool,
    pub(crate) clock_skew_seconds: i64,
    pub(crate) tools: Tools,
    pub(crate) prompts: HashMap<String, Grant>,
    pub(crate) resources: Vec<(Template, Grant)>,
    /// By the names of [`crate::method::RULED_METHODS`].
    pub(crate) methods: HashMap<&'static str, Grant>,
    pub(crate) views: RwLock<HashMap<ViewsKey, Arc<Views>>>,
    pub(crate) emergency: Option<Emergency>,
    pub(crate) exceptions: Vec<Exception>,
    pub(crate) purpose_from: PurposeFrom,
}

/// Where a purpose comes from beside the token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PurposeFrom {
    /// The caller's own word, with each call.
    pub call: bool,
    /// The only one that the candidates have.
    pub only: bool,
}

/// The member of a call's `_meta` that names its purpose, where `identity.purpose_from` has `call`.
pub const PURPOSE_MEMBER: &str = "safeguard/purpose";

/// What a table of views depends on: the roles that count, the client's cap, and whether PHI is at stake at all.
pub(crate) type ViewsKey = (RoleSet, Option<usize>, bool);

/// The members that the sidecar itself puts into a record; in a record they are no PHI.
pub const INTEGRITY_MEMBERS: [&str; 5] = [
    "integrity_hash",
    "integrity_v2",
    "created_at",
    "created_by",
    "version",
];

impl Policy {
    /// Roles of one policy: as many as a set of them has bits.
    pub const ROLES_MAX: usize = 128;
    /// Fields of one policy.
    pub const FIELDS_MAX: usize = 4096;
    /// Tables of views kept; more combinations than this are computed each time.
    pub const VIEWS_KEPT_MAX: usize = 1024;

    /// What a member name means, whatever its case or separators. Nothing is allocated for an ASCII name.
    #[must_use]
    pub fn classify(&self, member_name: &str) -> FieldClass {
        self.classes.of(member_name)
    }

    /// Whether a member of a *record* is one that the sidecar itself writes. Exact names: elsewhere they mean nothing.
    #[must_use]
    pub fn is_integrity_member(member_name: &str) -> bool {
        INTEGRITY_MEMBERS.contains(&member_name)
    }

    /// The policy's name for a field; empty for a number that is not of this policy.
    #[must_use]
    pub fn field_name(&self, field: FieldId) -> &str {
        self.field_names
            .get(field.index())
            .map_or("", String::as_str)
    }

    /// All PHI fields.
    pub fn fields(&self) -> impl Iterator<Item = (FieldId, &str)> {
        self.field_names
            .iter()
            .zip(0u16..)
            .map(|(name, number)| (FieldId(number), name.as_str()))
    }

    /// Places of PHI that names alone don't tell, for every rule.
    #[must_use]
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// How a searchable field is spelt; none for a field that the upstream can't search by.
    #[must_use]
    pub fn searchable(&self, field: FieldId) -> Option<Normalize> {
        self.searchable.get(field.index()).copied().flatten()
    }

    /// Whether the upstream searches by any field.
    #[must_use]
    pub fn has_searchable(&self) -> bool {
        self.searchable.iter().any(Option::is_some)
    }

    /// The `integrity` section.
    #[must_use]
    pub fn integrity(&self) -> &Integrity {
        &self.integrity
    }

    /// Whether a call may name its purpose itself, in its `_meta` ([`PURPOSE_MEMBER`]).
    #[must_use]
    pub fn takes_purpose_of_calls(&self) -> bool {
        self.purpose_from.call
    }

    /// Whether a role has this purpose.
    #[must_use]
    pub fn has_purpose(&self, word: &str) -> bool {
        let mut purposes = self.roles.iter().flat_map(|role| &role.purposes);
        purposes.any(|purpose| purpose.as_ref() == word)
    }

    /// The accepted risks, in the order of the configuration.
    #[must_use]
    pub fn exceptions(&self) -> &[Exception] {
        &self.exceptions
    }

    /// The `phi` section.
    #[must_use]
    pub fn phi(&self) -> &Phi {
        &self.phi
    }

    /// Names of the tools and patterns of names, as written, sorted: a closed set for metrics.
    #[must_use]
    pub fn tools(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.tools.names().collect();
        names.sort_unstable();
        names
    }

    /// The name or pattern under which a tool is listed; none for a tool that has no rule.
    #[must_use]
    pub fn listed_tool(&self, name: &str) -> Option<&str> {
        let grant = self.tools.find(name).ok()?;
        grant.rule.name.strip_prefix("tools.")
    }

    /// Names of the prompts, sorted.
    #[must_use]
    pub fn prompts(&self) -> Vec<&str> {
        sorted(self.prompts.keys())
    }

    /// The resources' URI templates as written, in the order of the configuration.
    #[must_use]
    pub fn resources(&self) -> Vec<&str> {
        self.resources.iter().map(|(t, _)| t.as_str()).collect()
    }

    /// Names of the methods that have a rule, sorted.
    #[must_use]
    pub fn methods(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.methods.keys().copied().collect();
        names.sort_unstable();
        names
    }

    /// Names of the roles, in the order of the configuration.
    #[must_use]
    pub fn roles(&self) -> Vec<&str> {
        self.roles.iter().map(|r| r.name.as_ref()).collect()
    }

    /// A name that the certificate of a client may have; none for a client that is not of this policy.
    #[must_use]
    pub fn certificate_of(&self, client: &str) -> Option<String> {
        let client = self.clients.iter().find(|c| c.name.as_ref() == client)?;
        Some(client.certificates.first()?.replacen('*', "any", 1))
    }

    /// Names of the clients, in the order of the configuration.
    #[must_use]
    pub fn clients(&self) -> Vec<&str> {
        self.clients.iter().map(|c| c.name.as_ref()).collect()
    }
}

fn sorted<'a>(names: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let mut names: Vec<&str> = names.map(String::as_str).collect();
    names.sort_unstable();
    names
}
