//! Two policies against each other, in words: who sees more under the new one, who sees less, and what only looks different.
//!
//! Each policy is laid out as *sights*: who, at what, sees how much of which thing (`sights`). A sight that only one has is nothing
//! in the other. What has no order (another condition, another mask, another path to the patient) is told apart: a
//! program can't say whether anybody sees more, so a person must look.

mod loosened;
mod sights;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use self::sights::{Key, Sight, of};
use crate::policy::Policy;

/// What came of the comparison, each a line in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Who sees or may do more.
    pub more: Vec<String>,
    /// Who sees or may do less.
    pub less: Vec<String>,
    /// What is different and can't be ordered.
    pub unordered: Vec<String>,
}

impl Difference {
    /// Whether nobody sees more, for sure.
    #[must_use]
    pub fn is_no_wider(&self) -> bool {
        self.more.is_empty() && self.unordered.is_empty()
    }

    /// Whether the two decide alike.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.is_no_wider() && self.less.is_empty()
    }
}

/// How two sights of one thing compare.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    More,
    Less,
    Unordered,
}

/// Compares two policies, role by role and client by client.
#[must_use]
pub fn difference(old: &Policy, new: &Policy) -> Difference {
    let (before, after) = (of(old, new), of(new, old));
    let keys: BTreeSet<&Key> = before.keys().chain(after.keys()).collect();
    let nothing = Sight::default();
    // Of a call that only one of them permits, that is all there is to say.
    let may_call =
        |sights: &sights::Sights, key: &Key| key.who.is_none() || sights.contains_key(&key.call());
    // Who is told the same at one place; then the places at which the same people are told the same.
    let mut at_one: BTreeMap<(Order, String, &str), Who<'_>> = BTreeMap::new();
    for key in keys {
        let was = before.get(key).unwrap_or(&nothing);
        let is = after.get(key).unwrap_or(&nothing);
        let in_both = may_call(&before, key) && may_call(&after, key);
        if was != is && (in_both || *key == key.call()) {
            let change = format!("{}: {} -> {}", key.what, was.words, is.words);
            let who = at_one.entry((order(was, is), change, &key.at)).or_default();
            who.extend(
                key.who
                    .iter()
                    .map(|(role, client)| (role.as_str(), client.as_str())),
            );
        }
    }
    let mut lines: BTreeMap<(Order, String, Who<'_>), Vec<&str>> = BTreeMap::new();
    for ((order, change, at), who) in at_one {
        lines.entry((order, change, who)).or_default().push(at);
    }
    let mut difference = Difference::default();
    for ((order, change, who), at) in lines {
        let line = match who.is_empty() {
            true => format!("{}: {change}", at.join(", ")),
            false => format!("{} at {}: {change}", people(&who), at.join(", ")),
        };
        match order {
            Order::More => difference.more.push(line),
            Order::Less => difference.less.push(line),
            Order::Unordered => difference.unordered.push(line),
        }
    }
    loosened::compare(old, new, &mut difference);
    difference
}

/// Roles, each with the client that it comes with.
type Who<'k> = BTreeSet<(&'k str, &'k str)>;

/// Roles that come with the same clients are named together.
fn people(who: &Who<'_>) -> String {
    let mut clients_of: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (role, client) in who {
        clients_of.entry(role).or_default().push(client);
    }
    let mut roles_with: BTreeMap<Vec<&str>, Vec<&str>> = BTreeMap::new();
    for (role, clients) in clients_of {
        roles_with.entry(clients).or_default().push(role);
    }
    let named = roles_with.into_iter();
    let named =
        named.map(|(clients, roles)| format!("{} (by {})", roles.join(", "), clients.join(", ")));
    named.collect::<Vec<_>>().join(" and ")
}

fn order(was: &Sight, is: &Sight) -> Order {
    match is.rank.cmp(&was.rank) {
        std::cmp::Ordering::Greater => Order::More,
        std::cmp::Ordering::Less => Order::Less,
        std::cmp::Ordering::Equal => Order::Unordered,
    }
}
