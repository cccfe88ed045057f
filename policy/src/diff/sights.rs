//! A policy laid out flat: who, at what, sees how much of which thing.

use std::collections::{BTreeMap, BTreeSet};

use crate::field::{BinaryView, TextView, Unlisted, View, Views};
use crate::path::Path;
use crate::place::FieldPlace;
use crate::policy::{Detection, FieldClass, Grant, Operation, Policy, Storage};

/// What a sight is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// A role and the client that it comes with; none for what concerns everybody.
    pub who: Option<(String, String)>,
    /// The tool, resource, prompt or method; or a section of the policy.
    pub at: String,
    /// The field, or another thing that a rule says.
    pub what: String,
}

impl Key {
    /// The key of the call itself.
    pub(super) fn call(&self) -> Self {
        Self {
            what: CALL.to_owned(),
            ..self.clone()
        }
    }
}

/// The call, among the things that a rule says.
const CALL: &str = "call";

/// How much is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sight {
    /// More is more; equal with other words: not to be ordered.
    pub rank: i64,
    /// In the configuration's words.
    pub words: String,
}

impl Default for Sight {
    /// What is not there is not seen.
    fn default() -> Self {
        Self {
            rank: 0,
            words: "nothing".to_owned(),
        }
    }
}

pub(super) type Sights = BTreeMap<Key, Sight>;

/// Everything that a policy lets anybody see. `other` only says which names, roles and items are worth looking at.
pub(super) fn of(policy: &Policy, other: &Policy) -> Sights {
    let mut sights = Sights::new();
    let names = names(policy, other);
    let told = |name: &str| told(policy, other, name);
    let mut put = |who: Option<(String, String)>, at: &str, what: &str, sight: Sight| {
        let key = Key {
            who,
            at: at.to_owned(),
            what: what.to_owned(),
        };
        sights.insert(key, sight);
    };
    whole(policy, other, &mut |at, what, sight| {
        put(None, at, what, sight)
    });
    for (at, grant) in items(policy, other) {
        let phi = grant.operation != Operation::None;
        for (number, role) in policy.roles.iter().enumerate() {
            let set = 1 << number;
            if grant.roles & set == 0 || phi && role.purposes.is_empty() {
                continue;
            }
            for client in &policy.clients {
                if client.roles.is_some_and(|own| own & set == 0) {
                    continue;
                }
                let who = (role.name.to_string(), client.name.to_string());
                let views = policy.views_of(set, client.at_most, phi);
                let mut put = |what: &str, sight| put(Some(who.clone()), &at, what, sight);
                rule(grant, &mut put);
                // Neither is more than the other: who may be here is somebody else.
                put(
                    "who asks",
                    sight(
                        0,
                        if client.service {
                            "software without a person"
                        } else {
                            "a person"
                        },
                    ),
                );
                if phi {
                    for purpose in &role.purposes {
                        put(&format!("for {purpose}"), sight(1, "permitted"));
                    }
                }
                shown(policy, &names, &views, &mut |name, sight| {
                    put(&told(name), sight)
                });
            }
        }
    }
    sights
}

fn sight(rank: i64, words: impl Into<String>) -> Sight {
    Sight {
        rank,
        words: words.into(),
    }
}

/// Names of members that either policy knows, as written.
fn names<'p>(one: &'p Policy, other: &'p Policy) -> BTreeSet<&'p str> {
    [one, other]
        .into_iter()
        .flat_map(|policy| policy.names.iter().flatten().chain(&policy.not_phi))
        .map(String::as_str)
        .filter(|name| !FieldPlace::is_place(name))
        .collect()
}

/// A member by its field's name where both policies give it the same field: spellings of one field are seen alike.
fn told(policy: &Policy, other: &Policy, name: &str) -> String {
    let field = |policy: &Policy| match policy.classify(name) {
        FieldClass::Phi(field) => Some(policy.field_name(field).to_owned()),
        FieldClass::NotPhi | FieldClass::Unlisted => None,
    };
    match (field(policy), field(other)) {
        (Some(one), Some(other)) if one == other => one,
        _ => name.to_owned(),
    }
}

/// Everything that a rule permits, by the name under which it is looked up: a tool that one policy names is looked up in both.
fn items<'p>(policy: &'p Policy, other: &Policy) -> Vec<(String, &'p Grant)> {
    let exact = policy.tools.named.keys().chain(other.tools.named.keys());
    let exact: BTreeSet<&String> = exact.collect();
    let tools = exact.into_iter().filter_map(|name| {
        let grant = policy.tools.find(name).ok()?;
        Some((format!("tools.{name}"), grant))
    });
    let patterns = policy.tools.patterns.iter();
    let patterns = patterns.map(|(pattern, grant)| (format!("tools.{}", pattern.as_str()), grant));
    let prompts = policy.prompts.iter();
    let prompts = prompts.map(|(name, grant)| (format!("prompts.{name}"), grant));
    let resources = policy.resources.iter();
    let resources = resources.map(|(uri, grant)| (format!("resources.{}", uri.as_str()), grant));
    let methods = policy.methods.iter();
    let methods = methods.map(|(name, grant)| (format!("methods.{name}"), grant));
    tools
        .chain(patterns)
        .chain(prompts)
        .chain(resources)
        .chain(methods)
        .collect()
}

/// What a rule says beside its roles.
fn rule(grant: &Grant, put: &mut impl FnMut(&str, Sight)) {
    put(CALL, sight(1, "permitted"));
    put("operation", sight(0, grant.operation.as_str()));
    let path = |path: Option<&Path>| path.map_or_else(|| "none".to_owned(), ToString::to_string);
    put("patient", sight(0, path(grant.patient.as_deref())));
    let verified = i64::from(grant.record.is_none());
    put(
        "record that is hashed or verified",
        sight(verified, path(grant.record.as_deref())),
    );
    put(
        "condition",
        match &grant.when {
            None => sight(1, "none"),
            Some(condition) => sight(0, condition.text()),
        },
    );
    let step_up = grant.step_up.as_ref();
    let age = step_up.and_then(|step_up| step_up.max_age);
    put(
        "age of the login",
        age.map_or_else(
            || sight(i64::MAX, "any"),
            |age| sight(age.into(), format!("{age} s")),
        ),
    );
    let acr = step_up.and_then(|step_up| step_up.acr.as_deref());
    put(
        "acr",
        acr.map_or_else(|| sight(1, "any"), |acr| sight(0, acr)),
    );
    let most = grant.max_patients;
    put(
        "patients in an answer",
        most.map_or_else(
            || sight(i64::MAX, "any number"),
            |most| sight(most.into(), most.to_string()),
        ),
    );
    let only = grant.only_patients.as_ref();
    put(
        "whose patients",
        only.map_or_else(|| sight(1, "any"), |claim| sight(0, claim.to_string())),
    );
    put(
        "recipient",
        sight(
            i64::from(grant.recipient.is_none()),
            path(grant.recipient.as_deref()),
        ),
    );
    put("text that is no JSON", of_text(grant.text));
    put("content that can't be read", of_binary(grant.binary));
    for place in grant.places.iter() {
        put(&format!("its place {place}"), of_class(place.class));
    }
}

/// What is shown of members.
fn shown(
    policy: &Policy,
    names: &BTreeSet<&str>,
    views: &Views,
    put: &mut impl FnMut(&str, Sight),
) {
    put(
        "unlisted members of answers",
        of_unlisted(views.unlisted_results()),
    );
    put(
        "unlisted members of arguments",
        of_unlisted(views.unlisted_arguments()),
    );
    for name in names {
        let seen = match policy.classify(name) {
            FieldClass::Phi(field) => of_view(views.of(field)),
            FieldClass::NotPhi => sight(4, "revealed"),
            FieldClass::Unlisted => of_unlisted(views.unlisted_results()),
        };
        put(name, seen);
    }
}

/// What concerns everybody.
fn whole(policy: &Policy, other: &Policy, put: &mut impl FnMut(&str, &str, Sight)) {
    let switch = |wide, [narrow_word, wide_word]: [&str; 2]| {
        sight(i64::from(wide), if wide { wide_word } else { narrow_word })
    };
    put(
        "login",
        "second factor",
        switch(!policy.second_factor, ["required", "not required"]),
    );
    put(
        "clients",
        "certificate",
        switch(!policy.client_certificates, ["required", "not required"]),
    );
    put(
        "phi",
        "storage",
        switch(policy.phi.storage == Storage::Clear, ["encrypted", "clear"]),
    );
    put(
        "phi",
        "sealed values",
        switch(
            !policy.phi.bind_patient,
            ["bound to their patient", "not bound to a patient"],
        ),
    );
    put("phi", "domain", sight(0, policy.phi.domain.as_str()));
    let integrity = policy.integrity();
    put(
        "integrity",
        "a record without a hash",
        switch(integrity.pass_missing, ["refused", "passes"]),
    );
    put(
        "integrity",
        "a hash of an unknown key",
        switch(integrity.pass_unknown, ["refused", "passes"]),
    );
    for client in &policy.clients {
        let name = match client.dpop {
            true => sight(1, format!("{}, by bound keys", client.name).as_str()),
            false => sight(2, client.name.as_ref()),
        };
        for certificate in &client.certificates {
            put("clients", certificate, name.clone());
        }
        if client.without_certificate {
            put("clients", "(without a certificate)", name);
        }
    }
    for word in Detection::WORDS {
        let shown = match policy.phi.detection.of(word) {
            crate::field::Shown::Plainly => sight(2, "shown"),
            crate::field::Shown::As(field) => sight(1, policy.field_name(field)),
            crate::field::Shown::Not => sight(0, "withheld"),
        };
        put("phi.detect", word, shown);
    }
    // A place that is PHI hides; one that only the other policy calls so does not.
    let places = |policy: &Policy| -> BTreeMap<String, String> {
        let of_field = policy.names.iter().zip(&policy.field_names);
        of_field
            .flat_map(|(names, field)| names.iter().map(move |name| (name.clone(), field.clone())))
            .filter(|(name, _)| FieldPlace::is_place(name))
            .collect()
    };
    let own = places(policy);
    for place in places(other).into_keys().chain(own.keys().cloned()) {
        let class = own.get(&place);
        let seen = class.map_or_else(
            || sight(1, "no PHI of its own"),
            |field| sight(0, field.as_str()),
        );
        put("phi", &place, seen);
    }
}

fn of_view(view: View) -> Sight {
    match view {
        View::Withhold => sight(0, "withheld"),
        View::Token => sight(1, "token"),
        View::Mask(mask) => sight(2, format!("mask {}", mask.as_str())),
        View::Reveal => sight(4, "revealed"),
    }
}

fn of_unlisted(unlisted: Unlisted) -> Sight {
    match unlisted {
        Unlisted::Withhold => sight(0, "withheld"),
        Unlisted::Detect => sight(3, "shown but for identifiers"),
        Unlisted::Reveal => sight(4, "revealed"),
    }
}

fn of_text(text: TextView) -> Sight {
    match text {
        TextView::Withhold => sight(0, "withheld"),
        TextView::Detect => sight(3, "shown but for identifiers"),
        TextView::Reveal => sight(4, "revealed"),
    }
}

fn of_binary(binary: BinaryView) -> Sight {
    match binary {
        BinaryView::Withhold => sight(0, "withheld"),
        BinaryView::Reveal => sight(4, "revealed"),
    }
}

fn of_class(class: FieldClass) -> Sight {
    match class {
        FieldClass::Phi(field) => sight(0, format!("field {}", field.index())),
        FieldClass::NotPhi => sight(4, "revealed"),
        FieldClass::Unlisted => sight(0, "unlisted"),
    }
}
