//! What the values of one tree mean: by the policy's places first, then by their names.
//!
//! Places (`Patient.identifier[system=us-ssn].value`) are looked up once a tree, and only if the policy has any; names
//! are asked for one by one. A tool's own places beat the policy's, and both beat names.

use safeguard_policy::policy::FieldClass;
use safeguard_policy::{Anchor, FieldPlace, PlaceStep, Policy, Root};
use safeguard_wire::json::{Kind, Value};

/// The meaning of what names alone don't tell, by node of one tree.
#[derive(Debug, Default)]
pub(super) struct Marks(Vec<(usize, FieldClass)>);

/// Marks as they are found.
struct Finder<'p> {
    policy: &'p Policy,
    marked: Vec<(usize, FieldClass)>,
    /// What stands below a place that is no PHI and has no meaning of its own.
    below: Vec<(usize, FieldClass)>,
}

impl Marks {
    /// Looks up the places below `root`. `meant` is what `args` or `result` mean, if that stands there.
    pub(super) fn of(
        root: Value<'_>,
        meant: Option<(Root, Value<'_>)>,
        own: &[FieldPlace],
        policy: &Policy,
    ) -> Self {
        if policy.places().is_empty() && own.is_empty() {
            return Self::default();
        }
        let mut finder = Finder {
            policy,
            marked: Vec::new(),
            below: Vec::new(),
        };
        finder.everywhere(root);
        for place in own {
            if let (Anchor::Root(wanted), Some((of, value))) = (&place.anchor, meant)
                && *wanted == of
            {
                finder.follow(value, &place.steps, place.class);
            }
        }
        finder.marks()
    }

    /// What a value means: marked, or by its name, or as what it stands in.
    pub(super) fn class(
        &self,
        value: Value<'_>,
        inherited: FieldClass,
        policy: &Policy,
    ) -> FieldClass {
        if !self.0.is_empty()
            && let Ok(at) = self
                .0
                .binary_search_by_key(&value.index(), |(index, _)| *index)
            && let Some((_, class)) = self.0.get(at)
        {
            return *class;
        }
        match value.key() {
            Some(name) => policy.classify(&name),
            None => inherited,
        }
    }
}

impl Finder<'_> {
    /// Of several meanings of one node the last that was found wins, and any wins over what it stands in.
    fn marks(mut self) -> Marks {
        self.marked.reverse();
        self.marked.append(&mut self.below);
        self.marked.sort_by_key(|(index, _)| *index);
        self.marked.dedup_by_key(|(index, _)| *index);
        Marks(self.marked)
    }

    fn everywhere(&mut self, root: Value<'_>) {
        let places = self.policy.places();
        if places.is_empty() {
            return;
        }
        for object in std::iter::once(root).chain(root.descendants()) {
            if object.kind() != Kind::Object {
                continue;
            }
            for place in places.anywhere() {
                self.follow(object, &place.steps, place.class);
            }
            if !places.know_resources() {
                continue;
            }
            // A resource with two types is each of them.
            let types = object
                .children()
                .filter(|child| child.is_named("resourceType"));
            for name in types.filter_map(Value::string) {
                for place in places.of_resource(&name) {
                    self.follow(object, &place.steps, place.class);
                }
            }
        }
    }

    /// Marks what the steps lead to. Arrays on the way are entered; the last member is marked whole.
    fn follow(&mut self, value: Value<'_>, steps: &[PlaceStep], class: FieldClass) {
        let Some((step, rest)) = steps.split_first() else {
            return;
        };
        if value.kind() == Kind::Array {
            for element in value.children() {
                self.follow(element, steps, class);
            }
            return;
        }
        if let PlaceStep::Filter {
            members,
            value: wanted,
        } = step
        {
            if has(value, members, wanted) {
                self.follow(value, rest, class);
            }
            return;
        }
        if value.kind() != Kind::Object {
            return;
        }
        for child in value.children() {
            if !child.key().is_some_and(|name| step.names(&name)) {
                continue;
            }
            if rest.is_empty() {
                self.mark(child, class);
            } else {
                self.follow(child, rest, class);
            }
        }
    }

    fn mark(&mut self, value: Value<'_>, class: FieldClass) {
        self.marked.push((value.index(), class));
        if class != FieldClass::NotPhi {
            return;
        }
        // What is no PHI is none below, either, but for what has a meaning of its own.
        for inner in value.descendants() {
            let own = inner.key().map(|name| self.policy.classify(&name));
            if matches!(own, None | Some(FieldClass::Unlisted)) {
                self.below.push((inner.index(), class));
            }
        }
    }
}

/// Whether a member at this path has a text that fits.
fn has(value: Value<'_>, members: &[Box<str>], wanted: &str) -> bool {
    if value.kind() == Kind::Array {
        return value
            .children()
            .any(|element| has(element, members, wanted));
    }
    let Some((name, rest)) = members.split_first() else {
        return value
            .string()
            .is_some_and(|found| PlaceStep::fits(wanted, &found));
    };
    let mut named = value.children().filter(|child| child.is_named(name));
    named.any(|child| has(child, rest, wanted))
}
