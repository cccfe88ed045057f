//! Which DNS names of a client certificate are allowed in (`tls.mutual_tls.allowed_dns_names`).
//!
//! A `*` stands for exactly one whole label and may stand for any label. Names are compared without
//! regard to case (RFC 4343); a final dot is ignored. Only names of the certificate's
//! subjectAltName count, never its common name (RFC 9525 §2), and a certificate's own wildcard is
//! no name of a client: it would match a pattern by accident.

/// Longest name in octets (RFC 1035 §2.3.4), written without the final dot.
const NAME_BYTES_MAX: usize = 253;
/// Longest label in octets (RFC 1035 §2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// Why a pattern can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{pattern}` in allowed_dns_names is not usable: {why}; write a DNS name whose labels are letters, digits, `-`, `_` or a whole `*`"
)]
pub struct PatternError {
    /// As the configuration has it.
    pub pattern: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// A compiled list of patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedNames {
    /// Lower case, without the final dot.
    patterns: Vec<String>,
}

impl AllowedNames {
    /// Compiles the configured patterns. An empty list allows nobody.
    ///
    /// # Errors
    /// The first pattern that is no DNS name with whole-label wildcards.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<AllowedNames, PatternError> {
        let patterns = patterns
            .iter()
            .map(|pattern| compile(pattern.as_ref()))
            .collect::<Result<_, _>>()?;
        Ok(AllowedNames { patterns })
    }

    /// True if no name at all is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether one of the patterns matches `name`, a name as a certificate has it.
    #[must_use]
    pub fn allow(&self, name: &str) -> bool {
        normal(name).is_some_and(|name| self.patterns.iter().any(|p| matches(p, &name)))
    }
}

/// A certificate's DNS name in the form that is compared: lower case, without the final dot.
/// None if it is no plain name: a wildcard, an empty label, a character that DNS names don't have.
pub(crate) fn normal(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    fault(name, false)
        .is_none()
        .then(|| name.to_ascii_lowercase())
}

fn compile(written: &str) -> Result<String, PatternError> {
    let pattern = written.strip_suffix('.').unwrap_or(written);
    match fault(pattern, true) {
        None => Ok(pattern.to_ascii_lowercase()),
        Some(why) => Err(PatternError {
            pattern: written.to_owned(),
            why,
        }),
    }
}

/// What keeps `name` from being a DNS name, or, with `wildcards`, a pattern of one.
fn fault(name: &str, wildcards: bool) -> Option<&'static str> {
    if name.len() > NAME_BYTES_MAX {
        return Some("it is longer than 253 characters");
    }
    name.split('.').find_map(|label| match label {
        "" => Some("a label is empty"),
        "*" if wildcards => None,
        _ if label.len() > LABEL_BYTES_MAX => Some("a label is longer than 63 characters"),
        _ if label.contains('*') => Some("a `*` stands for one whole label only"),
        _ if label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') =>
        {
            None
        }
        _ => Some("it has a character that DNS names don't have"),
    })
}

fn matches(pattern: &str, name: &str) -> bool {
    let mut labels = name.split('.');
    let each = pattern.split('.').all(|wanted| match labels.next() {
        Some(label) => wanted == "*" || wanted == label,
        None => false,
    });
    each && labels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_whole_label() {
        #[rustfmt::skip]
        let table = [
            ("*.healthcare.example.com", "web.healthcare.example.com", true),
            ("*.healthcare.example.com", "WEB.Healthcare.Example.COM", true),
            ("*.healthcare.example.com", "web.healthcare.example.com.", true),
            ("*.HEALTHCARE.example.com.", "web.healthcare.example.com", true),
            ("*.healthcare.example.com", "healthcare.example.com", false),
            ("*.healthcare.example.com", "a.web.healthcare.example.com", false),
            ("*.healthcare.example.com", "web.healthcare.example.com.evil.org", false),
            ("*.healthcare.example.com", "webhealthcare.example.com", false),
            ("*.healthcare.example.com", ".healthcare.example.com", false),
            ("*.healthcare.example.com", "*.healthcare.example.com", false),
            ("*.healthcare.example.com", "w*.healthcare.example.com", false),
            ("*.healthcare.example.com", "web\0.healthcare.example.com", false),
            ("*.healthcare.example.com", "web .healthcare.example.com", false),
            ("*.healthcare.example.com", "", false),
            ("*.*.example.com", "a.b.example.com", true),
            ("*.*.example.com", "b.example.com", false),
            ("web.*.example.com", "web.north.example.com", true),
            ("web.*.example.com", "app.north.example.com", false),
            ("web.example.com", "web.example.com", true),
            ("web.example.com", "web.example.org", false),
            ("web.example.com", "xweb.example.com", false),
            ("*", "localhost", true),
            ("*", "web.example.com", false),
            ("xn--rztin-ira.example.com", "XN--rztin-ira.example.com", true),
        ];
        for (pattern, name, expected) in table {
            let allowed = AllowedNames::new(&[pattern]).expect("a pattern");
            assert_eq!(allowed.allow(name), expected, "{pattern} against {name:?}");
        }
    }

    #[test]
    fn a_pattern_that_is_no_name_is_refused() {
        for pattern in [
            "",
            ".",
            "a..b",
            "web*.example.com",
            "*web.com",
            "a b",
            "ärztin.example",
            "**",
        ] {
            assert!(AllowedNames::new(&[pattern]).is_err(), "{pattern:?}");
        }
        assert!(AllowedNames::new(&["a".repeat(64)]).is_err());
        assert!(AllowedNames::new(&[format!("{}a", "a.".repeat(127))]).is_err());
    }

    #[test]
    fn an_empty_list_allows_nobody() {
        let none: [&str; 0] = [];
        let allowed = AllowedNames::new(&none).expect("empty is a list");
        assert!(allowed.is_empty() && !allowed.allow("web.example.com"));
    }
}
