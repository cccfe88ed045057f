//! The few documents of S3 that are read. Bounded by what was fetched; entities beyond XML's own five are refused by the reader.

use quick_xml::Reader;
use quick_xml::events::Event;

/// Elements deeper than any of these documents has.
const DEPTH_MAX: usize = 16;

/// One version of an object, or a marker that says that the name was deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Version {
    pub name: String,
    pub id: String,
    pub is_latest: bool,
    pub is_marker: bool,
    pub bytes: u64,
}

/// One page of `ListObjectVersions`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub versions: Vec<Version>,
    /// Where the next one begins: name and version.
    pub next: Option<(String, String)>,
}

/// The texts of a document, each with the names of the elements around it.
fn texts(xml: &[u8], mut each: impl FnMut(&[String], &str)) -> Option<()> {
    walk(xml, |path, word| {
        if let Some(text) = word {
            each(path, text);
        }
    })
}

/// Every text (`Some`) and every end of an element (`None`), with the elements around it.
fn walk(xml: &[u8], mut each: impl FnMut(&[String], Option<&str>)) -> Option<()> {
    let mut reader = Reader::from_str(std::str::from_utf8(xml).ok()?);
    reader.config_mut().expand_empty_elements = true;
    let (mut path, mut text): (Vec<String>, String) = (Vec::new(), String::new());
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                if path.len() >= DEPTH_MAX {
                    return None;
                }
                path.push(start.local_name().as_ref().to_owned());
                text.clear();
            }
            Event::Text(part) => text.push_str(&part),
            Event::CData(part) => text.push_str(&part),
            Event::GeneralRef(part) => text.push(entity(&part)?),
            Event::End(_) => {
                if !text.trim().is_empty() {
                    each(&path, Some(text.trim()));
                }
                each(&path, None);
                path.pop();
                text.clear();
            }
            Event::Eof => return path.is_empty().then_some(()),
            _ => {}
        }
    }
}

fn entity(part: &quick_xml::events::BytesRef<'_>) -> Option<char> {
    if let Some(char) = part.resolve_char_ref().ok()? {
        return Some(char);
    }
    Some(match &**part {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => return None,
    })
}

/// The code of an error.
pub(super) fn error_code(xml: &[u8]) -> Option<String> {
    let mut code = None;
    texts(xml, |path, text| {
        if path == ["Error", "Code"] {
            code = Some(text.to_owned());
        }
    })?;
    code
}

/// The text of the element of that path.
pub(super) fn text(xml: &[u8], wanted: &[&str]) -> Option<String> {
    let mut found = None;
    texts(xml, |path, text| {
        if path == wanted {
            found = Some(text.to_owned());
        }
    })?;
    found
}

/// Reads a page.
pub(super) fn page(xml: &[u8]) -> Option<Page> {
    let mut page = Page::default();
    let mut version = Version::default();
    let (mut is_cut, mut name, mut id) = (false, String::new(), String::new());
    walk(xml, |path, word| {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match (path.as_slice(), word) {
            (["ListVersionsResult", "Version" | "DeleteMarker", member], Some(text)) => {
                match *member {
                    "Key" => text.clone_into(&mut version.name),
                    "VersionId" => text.clone_into(&mut version.id),
                    "IsLatest" => version.is_latest = text == "true",
                    "Size" => version.bytes = text.parse().unwrap_or(u64::MAX),
                    _ => {}
                }
            }
            (["ListVersionsResult", kind @ ("Version" | "DeleteMarker")], None) => {
                version.is_marker = *kind == "DeleteMarker";
                page.versions.push(std::mem::take(&mut version));
            }
            (["ListVersionsResult", "IsTruncated"], Some(text)) => is_cut = text == "true",
            (["ListVersionsResult", "NextKeyMarker"], Some(text)) => text.clone_into(&mut name),
            (["ListVersionsResult", "NextVersionIdMarker"], Some(text)) => {
                text.clone_into(&mut id);
            }
            _ => {}
        }
    })?;
    if is_cut {
        // A list that goes on and does not say where can't be read.
        if name.is_empty() {
            return None;
        }
        page.next = Some((name, id));
    }
    Some(page)
}

/// The days of each `NoncurrentVersionExpiration` and `Expiration` of the rules that are enabled.
pub(super) fn expirations(xml: &[u8]) -> Option<Vec<Rule>> {
    let mut rules = Vec::new();
    let mut rule = Rule::default();
    walk(xml, |path, word| {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match (path.as_slice(), word) {
            (["LifecycleConfiguration", "Rule", rest @ ..], Some(text)) => match rest {
                ["Status"] => rule.is_enabled = text == "Enabled",
                ["Prefix"] | ["Filter", "Prefix"] | ["Filter", "And", "Prefix"] => {
                    text.clone_into(&mut rule.prefix);
                }
                ["Filter", "Tag", ..] | ["Filter", "And", "Tag", ..] => rule.is_partial = true,
                ["Expiration", "Days"] => rule.current_days = text.parse().ok(),
                ["NoncurrentVersionExpiration", "NoncurrentDays"] => {
                    rule.noncurrent_days = text.parse().ok();
                }
                _ => {}
            },
            (["LifecycleConfiguration", "Rule"], None) => rules.push(std::mem::take(&mut rule)),
            _ => {}
        }
    })?;
    Some(rules)
}

/// One rule of a bucket's lifecycle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rule {
    pub is_enabled: bool,
    pub prefix: String,
    /// Whether it is for tagged objects only.
    pub is_partial: bool,
    pub current_days: Option<u32>,
    pub noncurrent_days: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_gives_versions_and_markers_in_order_and_where_the_next_one_begins() {
        let xml = br#"<?xml version="1.0"?><ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
            <Name>b</Name><IsTruncated>true</IsTruncated><NextKeyMarker>a/&amp;z</NextKeyMarker><NextVersionIdMarker>v9</NextVersionIdMarker>
            <DeleteMarker><Key>a/1</Key><VersionId>v2</VersionId><IsLatest>true</IsLatest><Owner><ID>o</ID></Owner></DeleteMarker>
            <Version><Key>a/1</Key><VersionId>v1</VersionId><IsLatest>false</IsLatest><Size>7</Size><StorageClass/></Version></ListVersionsResult>"#;
        let page = page(xml).unwrap();
        assert_eq!(page.next, Some(("a/&z".into(), "v9".into())));
        let [marker, version] = page.versions.as_slice() else {
            panic!("two: {page:?}")
        };
        assert!(marker.is_marker && marker.is_latest && !version.is_marker && !version.is_latest);
        assert_eq!(
            (&*version.name, &*version.id, version.bytes),
            ("a/1", "v1", 7)
        );
    }

    #[test]
    fn what_is_no_whole_document_gives_nothing() {
        for xml in [
            "<ListVersionsResult><Version>",
            "<ListVersionsResult><IsTruncated>true</IsTruncated></ListVersionsResult>",
            "<Error><Code>&unknown;</Code></Error>",
            "<a><b></a></b>",
        ] {
            assert_eq!(page(xml.as_bytes()), None, "{xml}");
            assert_eq!(error_code(xml.as_bytes()), None, "{xml}");
        }
        let deep = format!("{}{}", "<a>".repeat(40), "</a>".repeat(40));
        assert_eq!(error_code(deep.as_bytes()), None);
        assert_eq!(
            error_code(b"<Error><Code>SlowDown</Code><Message>m</Message></Error>").as_deref(),
            Some("SlowDown")
        );
    }

    #[test]
    fn rules_of_a_lifecycle_are_read_with_their_days() {
        let xml = b"<LifecycleConfiguration><Rule><ID>a</ID><Filter><Prefix>audit/</Prefix></Filter><Status>Enabled</Status>\
            <Expiration><Days>2556</Days></Expiration><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration></Rule>\
            <Rule><Status>Disabled</Status><Prefix/><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>";
        let rules = expirations(xml).unwrap();
        assert_eq!(rules.len(), 2);
        assert!(rules[0].is_enabled && rules[0].prefix == "audit/" && !rules[1].is_enabled);
        assert_eq!(
            (rules[0].current_days, rules[0].noncurrent_days),
            (Some(2556), Some(1))
        );
    }
}
