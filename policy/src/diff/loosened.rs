//! What loosens a policy as a whole: emergencies, exceptions, and whose word a purpose is.

use std::collections::BTreeSet;

use super::Difference;
use crate::policy::Policy;

/// Adds what one policy loosens and the other does not.
pub(super) fn compare(old: &Policy, new: &Policy, difference: &mut Difference) {
    match (emergency(old), emergency(new)) {
        (None, Some(is)) => difference.more.push(format!("emergency: nobody -> {is}")),
        (Some(was), None) => difference.less.push(format!("emergency: {was} -> nobody")),
        (Some(was), Some(is)) if was != is => {
            let change = format!("emergency: {was} -> {is}");
            difference.unordered.push(change);
        }
        _ => {}
    }
    let (before, after) = (exceptions(old), exceptions(new));
    let added = after.difference(&before);
    difference
        .more
        .extend(added.map(|one| format!("exceptions: {one} is new")));
    let gone = before.difference(&after);
    difference
        .less
        .extend(gone.map(|one| format!("exceptions: {one} is gone")));
    let words = |policy: &Policy| (policy.purpose_from.call, policy.purpose_from.only);
    let ((called, lonely), (calls, alone)) = (words(old), words(new));
    for (was, is, what) in [
        (called, calls, "what a call says of its purpose is believed"),
        (lonely, alone, "the only purpose of its roles is a call's"),
    ] {
        match (was, is) {
            (false, true) => difference
                .more
                .push(format!("identity.purpose_from: {what}")),
            (true, false) => difference
                .less
                .push(format!("identity.purpose_from: no more: {what}")),
            _ => {}
        }
    }
}

fn emergency(policy: &Policy) -> Option<String> {
    let emergency = policy.emergency()?;
    let named = |set| {
        let names = policy.roles_in(set).map(|role| role.name.as_ref());
        names.collect::<Vec<_>>().join(", ")
    };
    Some(format!(
        "{} may see as {} at {} for {} s, reviewed within {} s",
        named(emergency.roles),
        named(emergency.view),
        emergency.tools().join(", "),
        emergency.lasts_seconds,
        emergency.review_within_seconds
    ))
}

fn exceptions(policy: &Policy) -> BTreeSet<String> {
    let all = policy.exceptions().iter();
    all.map(|one| {
        format!(
            "{} for {} until {}",
            one.allow.as_str(),
            one.rule,
            one.until
        )
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::difference;
    use crate::load::tests::{example_env, with};
    use crate::{Policy, load};

    fn policy(section: &str) -> Policy {
        let text = format!("{section}identity:\n");
        let loaded = load(&with("policy.yaml", "identity:\n", &text), &example_env());
        loaded.configuration.unwrap().policy
    }

    #[test]
    fn an_emergency_an_exception_and_a_purpose_by_the_calls_word_are_told_as_more() {
        let plain = policy("");
        for section in [
            "emergency: { roles: [nurse], grants: { view: physician, tools: [read_record] } }\n",
            "exceptions: [{ allow: storage_clear, for: tools.read_record, because: x, approved_by: y, until: 2027-03-31 }]\n",
        ] {
            let wider = policy(section);
            let told = difference(&plain, &wider);
            assert_eq!(
                (told.more.len(), told.is_no_wider()),
                (1, false),
                "{told:?}"
            );
            let back = difference(&wider, &plain);
            assert_eq!((back.less.len(), back.is_no_wider()), (1, true), "{back:?}");
            assert!(difference(&wider, &wider).is_none());
        }
        let words = with(
            "policy.yaml",
            "identity:\n",
            "identity:\n  purpose_from: [token, call, only]\n",
        );
        let believing = load(&words, &example_env()).configuration.unwrap().policy;
        assert!(!difference(&plain, &believing).is_no_wider());
        let one = "emergency: { roles: [nurse], lasts: 10m, grants: { view: physician, tools: [read_record] } }\n";
        let longer = policy(&one.replace("10m", "20m"));
        assert_eq!(difference(&policy(one), &longer).unordered.len(), 1);
    }
}
